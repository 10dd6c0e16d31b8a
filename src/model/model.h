// SPDX-License-Identifier: MIT
// What a model is made of: sizes and tensors found in a GGUF file and checked. Views only.
#ifndef INKI_MODEL_H
#define INKI_MODEL_H

#include "gguf/gguf.h"
#include "kernels/kernels.h"

// weights [n_rows, n_cols]; a vector has one row.
typedef struct inki_tensor {
    const void *data;
    const char *name; // borrowed from the container
    uint32_t type;
    uint32_t n_rows, n_cols;
    size_t row_bytes;
    uint32_t adapted; // 1 + its place among the matrices that adapters change (lora.h); 0: none
} inki_tensor;

typedef struct inki_layer {
    const float *attn_norm_gain, *attn_norm_bias; // [n_embd]
    inki_tensor qkv;                              // [3 n_embd, n_embd]
    const float *qkv_bias;
    inki_tensor attn_out; // [n_embd, n_embd]
    const float *attn_out_bias;
    const float *ffn_norm_gain, *ffn_norm_bias;
    inki_tensor ffn_up; // [n_ff, n_embd]
    const float *ffn_up_bias;
    inki_tensor ffn_down; // [n_embd, n_ff]
    const float *ffn_down_bias;
} inki_layer;

// Limits of the sizes; more is INK_E_LIMIT. They keep every product below inside size_t and
// uint32_t.
enum {
    INKI_MAX_CTX = 1 << 20,
    INKI_MAX_EMBD = 1 << 16,
    INKI_MAX_FF = 1 << 18,
    INKI_MAX_LAYERS = 1 << 12,
    INKI_MAX_VOCAB = 1 << 22
};

typedef struct inki_weights {
    uint32_t n_ctx, n_vocab, n_embd, n_layer, n_head, head_dim, n_ff;
    float norm_eps;
    inki_tensor token_embd; // [n_vocab, n_embd]
    inki_tensor pos_embd;   // [n_ctx, n_embd]
    inki_layer *layers;     // [n_layer]
    const float *out_norm_gain, *out_norm_bias;
    inki_tensor head; // [n_vocab, n_embd]; token_embd when tied
    inki_mem mem;
} inki_weights;

// Finds and checks every tensor of the architecture that the file names. n_vocab is the rows of
// token_embd and must equal the number of tokens (checked by the engine against the tokenizer).
// Errors: INK_E_UNSUPPORTED (architecture; a type without kernels), INK_E_FORMAT (missing tensor or
// key, wrong shape: message names it and what was expected), INK_E_LIMIT, INK_E_NOMEM.
ink_status inki_weights_open(inki_weights *out, const inki_gguf *gguf, const inki_kernels *kernels,
                             const inki_mem *mem, ink_error *error);
void inki_weights_close(inki_weights *weights);

// The first tensor that holds a NaN or an infinity: its name and the element's index, or NULL.
// Reads all weights: only for explaining a failure, and for convert.
const char *inki_weights_find_nonfinite(const inki_gguf *gguf, const inki_kernels *kernels,
                                        uint64_t *index);

#endif
