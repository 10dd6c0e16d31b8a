// SPDX-License-Identifier: MIT
// LoRA adapters: beside a matrix W of a model stand two small ones, and W x becomes
// W x + scale * (alpha / rank) * B (A x). A is a view, B is kept as floats.
// Source: Hu et al. 2021, arXiv 2106.09685; llama.cpp, convert_lora_to_gguf.py (names, shapes)
#ifndef INKI_MODEL_LORA_H
#define INKI_MODEL_LORA_H

#include "model/model.h"

enum {
    INKI_LORA_A_LAYER = 4, // attn_qkv, attn_output, ffn_up, ffn_down, in this order
    INKI_LORA_MAX_RANK = 4096,
    INKI_LORA_MAX = 16 // adapters at a time
};

typedef struct inki_lora_pair {
    inki_tensor a; // [rank, w.n_cols]; data NULL: the matrix stays as it is
    inki_tensor b; // [w.n_rows, rank]
    float *turned; // [rank, w.n_rows] B: what a number of A x adds lies side by side
} inki_lora_pair;

typedef struct inki_lora {
    inki_lora_pair *pairs; // [n_pairs], at inki_tensor.adapted - 1
    size_t n_pairs;
    float alpha;      // 0: counts as the rank
    size_t low_bytes; // most that A x of a pair takes
    float *values;    // [n_values] what the pairs have turned
    size_t n_values;
    inki_mem mem;
} inki_lora;

// Finds and checks the tensors of an adapter for the model of `weights`, which `model` holds; alpha
// is the caller's to fill. Errors: INK_E_FORMAT (a tensor that does not fit: message names it),
// INK_E_UNSUPPORTED (a tensor that no adapter may change; a type without kernels), INK_E_LIMIT
// (rank), INK_E_NOMEM.
ink_status inki_lora_open(inki_lora *out, const inki_gguf *adapter, const inki_gguf *model,
                          const inki_weights *weights, const inki_kernels *kernels,
                          const inki_mem *mem, ink_error *error);
void inki_lora_close(inki_lora *lora);

// What a row of a pass is made with, in this order.
typedef struct inki_lora_list {
    uint32_t n;
    size_t low_bytes; // of all together
    struct {
        const inki_lora *lora;
        float scale;
    } list[INKI_LORA_MAX];
} inki_lora_list;

#endif
