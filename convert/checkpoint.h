// SPDX-License-Identifier: MIT
// The tensors of a Hugging Face directory under one roof, whether they come from one safetensors
// file or from several with an index.
#ifndef INKI_CONVERT_CHECKPOINT_H
#define INKI_CONVERT_CHECKPOINT_H

#include "convert/safetensors.h"

enum { INKI_CHECKPOINT_MAX_SHARDS = 512 };

typedef struct inki_source_tensor {
    const char *name; // without a leading "transformer."
    const inki_safetensor *tensor;
    const inki_in_file *file;
} inki_source_tensor;

typedef struct inki_checkpoint {
    inki_safetensors *shards; // [n_shards]
    size_t n_shards;
    inki_source_tensor *tensors; // [n], sorted by name
    size_t n;
    uint8_t *raw; // working memory of reading
    inki_mem mem;
} inki_checkpoint;

// Errors: those of inki_safetensors_open; INK_E_NOT_FOUND (neither a single file nor an index);
// INK_E_FORMAT (the index disagrees with the shards; a shard's name that leads out of the
// directory; a tensor that is there twice).
ink_status inki_checkpoint_open(inki_checkpoint *out, const char *dir, const inki_mem *mem,
                                ink_error *error);
void inki_checkpoint_close(inki_checkpoint *checkpoint); // zeroed and closed ones are allowed

const inki_source_tensor *inki_checkpoint_find(const inki_checkpoint *checkpoint,
                                               const char *name); // or NULL

// out [n] = elements [first, first + n) of a tensor of type F32, F16 or BF16, in the file's order.
// Errors: INK_E_IO, INK_E_NUMERIC (NaN or infinity; the message names tensor and element).
ink_status inki_checkpoint_read(const inki_checkpoint *checkpoint, const inki_source_tensor *source,
                                uint64_t first, size_t n, float *out, ink_error *error);

#endif
