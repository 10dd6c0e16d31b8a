// SPDX-License-Identifier: MIT
// The tensors of a GPT-2: what each is called in a checkpoint and in GGUF, its shape, and how it is
// laid out there and here.
#ifndef INKI_CONVERT_GPT2_NAMES_H
#define INKI_CONVERT_GPT2_NAMES_H

#include "convert/hf_config.h"

#include <stddef.h>

typedef struct inki_gpt2_name {
    char source[64], name[64]; // "h.0.attn.c_attn.weight", "blk.0.attn_qkv.weight"
    uint32_t rows, cols;       // in GGUF; a vector has one row
    bool vector;
    bool transposed; // in the checkpoint [cols, rows]: Conv1D keeps its weights as [in, out]
    bool wide;       // stays F32 whatever is asked for
    bool head;       // a head of its own
} inki_gpt2_name;

// How many there are beside a head of its own.
size_t inki_gpt2_n_names(const inki_hf_config *config);
// Those in the order of the file; index inki_gpt2_n_names: the head of its own.
inki_gpt2_name inki_gpt2_name_of(const inki_hf_config *config, size_t index);

#endif
