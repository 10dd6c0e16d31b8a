// SPDX-License-Identifier: MIT
// The tensors of a GPT-2: found in a checkpoint, checked, given a type, written into a GGUF file.
#ifndef INKI_CONVERT_GPT2_WEIGHTS_H
#define INKI_CONVERT_GPT2_WEIGHTS_H

#include "convert/checkpoint.h"
#include "convert/convert.h"
#include "convert/hf_config.h"
#include "gguf/gguf.h"

typedef struct inki_planned_tensor {
    char name[INKI_GGUF_MAX_NAME + 1];
    const inki_source_tensor *source;
    uint32_t rows, cols; // as written; a vector has one row
    bool vector;
    bool transposed; // the source is [cols, rows]: Conv1D keeps its weights as [in, out]
    bool wide;       // stays F32 whatever is asked for
    bool head;       // logits come from it
    uint32_t type;   // inki_tensor_type
} inki_planned_tensor;

// What the weights need of the conversion as a whole.
typedef struct inki_weights_job {
    const inki_convert_options *options;
    const inki_hf_config *config;
    const inki_checkpoint *checkpoint;
    inki_planned_tensor *tensors; // [n], in the order of the file
    size_t n, room;
    uint64_t elems_done, elems_total; // progress: every element is looked at once and written once
    float *strip;                     // [INKI_STRIP_ELEMS] rows on their way
    uint8_t *row;                     // one row as written
    size_t row_bytes;
    inki_mem mem;
} inki_weights_job;

enum { INKI_STRIP_ELEMS = 1 << 20 };

// Finds every tensor and reads all of them once: NaN and infinity end the conversion before
// anything is written, and what a type cannot hold gets another. Notes go to options->note. Errors:
// INK_E_FORMAT (missing, wrong shape), INK_E_UNSUPPORTED (element type; a tensor that is none of
// GPT-2), INK_E_NUMERIC, INK_E_IO, INK_E_NOMEM, INK_E_CANCELLED.
ink_status inki_gpt2_plan(inki_weights_job *job, ink_error *error);
// The list of tensors, and, after inki_gguf_writer_begin, their bytes.
void inki_gpt2_declare(const inki_weights_job *job, inki_gguf_writer *writer);
ink_status inki_gpt2_write(inki_weights_job *job, inki_gguf_writer *writer, ink_error *error);
void inki_gpt2_free(inki_weights_job *job); // zeroed and freed ones are allowed

#endif
