// SPDX-License-Identifier: MIT
// What was learnt, as files that the engine and llama.cpp read.
#ifndef INKI_TRAIN_EXPORT_H
#define INKI_TRAIN_EXPORT_H

#include "gguf/gguf.h"
#include "train/bpe_train.h"
#include "train/net.h"

typedef struct inki_export {
    const char *path;
    const char *name, *license; // NULL: not said
    uint32_t type; // of matrices: F32, F16, BF16, Q8_0 or Q4_0 (rows that do not fit: F16)
    // Where the vocabulary comes from: one that was learnt, or the metadata of a model file (all of
    // its tokenizer.* entries are copied).
    const inki_learned_vocab *vocab;
    const inki_gguf *like;
    const inki_mem *mem;
} inki_export;

// weights [n_values], in the net's order: all of them (no LoRA). Names and shapes: docs/FORMATS.md;
// token_embd is the head too; positions, norms and biases stay F32.
// Errors: those of inki_out_open and inki_out_write, INK_E_NUMERIC (NaN or infinity), INK_E_NOMEM.
ink_status inki_export_gguf(const inki_export *how, const inki_net *net, const float *weights,
                            ink_error *error);
// A LoRA adapter: general.type "adapter", adapter.type "lora", adapter.lora.alpha,
// general.architecture; tensors "<name>.lora_a" [rank, n_cols] and "<name>.lora_b" [n_rows, rank],
// F32 or F16 (type). Source: llama.cpp, convert_lora_to_gguf.py and src/llama-adapter.cpp.
ink_status inki_export_adapter(const inki_export *how, const inki_net *net, const float *weights,
                               ink_error *error);

// Bakes adapters into a model: W + scale * (alpha / rank) B A.
typedef struct inki_merge_adapter {
    const char *path;
    float scale;
} inki_merge_adapter;
typedef struct inki_merge {
    const char *in, *out; // out appears only when it is whole
    const inki_merge_adapter *adapters;
    size_t n; // 1 to 64
    // Of matrices: F32, F16, BF16, Q8_0 or Q4_0; UINT32_MAX: each keeps its own where that can be
    // written, else F16.
    uint32_t type;
    int (*progress)(void *user, double fraction, const char *what); // nonzero cancels; may be NULL
    void *user;
    const inki_mem *mem; // NULL: the C library's
} inki_merge;
// Metadata stays, and so does, byte for byte, what no adapter changes and no type is asked for.
// Errors: those of inki_os_open_path and inki_gguf_open; INK_E_FORMAT (no model or no adapter; an
// adapter of another model: message names the tensor), INK_E_UNSUPPORTED (another architecture or
// kind of adapter), INK_E_NUMERIC (NaN or infinity), INK_E_IO, INK_E_NOMEM, INK_E_CANCELLED.
ink_status inki_merge_files(const inki_merge *how, ink_error *error);

#endif
