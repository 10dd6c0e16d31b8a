// SPDX-License-Identifier: MIT
// Weights of a small GPT-2 built in memory, a plain reference of its arithmetic in double
// precision, and a runner of the real forward pass. For tests below the model and engine rooms.
#ifndef TESTS_FORWARD_MODEL_H
#define TESTS_FORWARD_MODEL_H

#include "forward/forward.h"

typedef struct forward_shape {
    uint32_t n_embd, n_head, n_layer, n_ctx, n_ff, n_vocab;
    uint32_t type; // of the matrices
    uint64_t seed;
    const inki_kernels *kernels; // NULL: the best that this machine has
} forward_shape;

enum { FORWARD_MAX_LAYERS = 8, FORWARD_MAX_BLOCKS = 128 };

// A matrix as the reference sees it: the values that the stored bytes stand for.
typedef struct forward_matrix {
    float *values; // [n_rows, n_cols]
    uint32_t n_rows, n_cols;
} forward_matrix;

typedef struct forward_model {
    inki_weights weights;
    inki_kernels kernels;
    inki_layer layers[FORWARD_MAX_LAYERS];
    forward_matrix token_embd, pos_embd, qkv[FORWARD_MAX_LAYERS], attn_out[FORWARD_MAX_LAYERS],
        ffn_up[FORWARD_MAX_LAYERS], ffn_down[FORWARD_MAX_LAYERS];
    void *blocks[FORWARD_MAX_BLOCKS];
    uint32_t n_blocks;
    // Where numbers come from: n floats to out. `spread`: how far from `middle` random ones may be.
    void (*next)(struct forward_model *m, float *out, size_t n, float middle, float spread);
    void *user;
    uint64_t random;
} forward_model;

// Random weights, or those that `next` gives (in the order of the Hub's names, matrices transposed
// to [out, in]). Free with forward_model_free.
void forward_model_init(forward_model *m, const forward_shape *shape,
                        void (*next)(forward_model *, float *, size_t, float, float), void *user);
void forward_model_free(forward_model *m);
uint64_t forward_random(uint64_t *state);

// logits [n, n_vocab] of ids [n] at positions 0..n-1, in double precision, step by step as the
// paper has it: no pages, no tiles, no online softmax, tanh from libm. Where docs/NUMERICS.md has a
// number rounded, it is rounded here too (in other code): keys and values to kv_type (-1: not at
// all), the inputs of block types to bytes.
void forward_reference(const forward_model *m, const int32_t *ids, uint32_t n, int kv_type,
                       double *logits);

// The real pass, with memory of its own.
typedef struct forward_runner {
    forward_model *model;
    inki_pool *pool;
    inki_scratch scratch;
    void *memory;
    size_t memory_bytes;
    uint32_t n_rows;
    bool (*cancelled)(const void *arg);
    const void *cancelled_arg;
} forward_runner;
void forward_runner_init(forward_runner *r, forward_model *m, uint32_t n_threads, uint32_t n_rows);
void forward_runner_free(forward_runner *r);
ink_status forward_runner_rows(forward_runner *r, const inki_row *rows, uint32_t n,
                               ink_error *error);
// ids [n] from position `past` on, in pieces of at most `piece` rows; logits [n, n_vocab] or NULL.
ink_status forward_runner_ids(forward_runner *r, inki_kv *kv, const int32_t *ids, uint32_t n,
                              uint32_t past, uint32_t piece, float *logits, ink_error *error);

// A cache with a table from malloc.
void forward_kv_new(inki_kv *kv, const forward_model *m, uint32_t kv_type, bool reserve);
void forward_kv_delete(inki_kv *kv);

#endif
