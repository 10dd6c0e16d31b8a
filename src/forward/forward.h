// SPDX-License-Identifier: MIT
// The forward pass: token ids in, logits out. Knows weights, pages and threads; no sessions.
#ifndef INKI_FORWARD_H
#define INKI_FORWARD_H

#include "forward/kv_pages.h"
#include "model/lora.h"
#include "os/pool.h"

// One token at one position of one cache. Rows of one cache come in rising, gapless positions.
typedef struct inki_row {
    inki_kv *kv; // prepared for writing at pos
    uint32_t pos;
    int32_t token; // inside the vocabulary
    float *logits; // [n_vocab], NULL: not wanted
    float *hidden; // [n_embd] the final hidden state, behind the last norm; NULL: not wanted
    const inki_lora_list *loras; // adapters; NULL: none
} inki_row;

// Working memory of a pass over at most n_rows rows, carved from the owner's arena.
typedef struct inki_scratch {
    uint32_t n_rows;
    float *x;      // [n_rows, n_embd] the residual stream
    float *norm;   // [n_rows, n_embd] normalised, then the attention's output
    size_t n_wide; // max(3 n_embd, n_ff)
    float *wide;   // [n_rows, n_wide] q k v, then the feed-forward's middle; logits on their way
    void *act;     // [n_rows] quantised activation rows
    size_t act_stride;
    const struct inki_row **wanted; // [n_rows] rows whose logits are wanted
    uint8_t *low;                   // [n_rows] A x of adapters; NULL: no row has any
    size_t low_stride;
} inki_scratch;
// All but `low`, which is the owner's to carve: at least the low_bytes of every row's adapters.
void inki_scratch_carve(inki_scratch *scratch, inki_arena *arena, const inki_weights *weights,
                        uint32_t n_rows);

typedef struct inki_forward {
    const inki_weights *weights;
    const inki_kernels *kernels;
    inki_pool *pool;    // NULL: this thread alone
    uint32_t n_threads; // at most; 0: all of the pool
    inki_scratch *scratch;
    const inki_row *adapted; // the pass's rows if one of them has adapters; inki_forward_run's own
    bool (*cancelled)(const void *arg); // asked after each layer; true: stop. NULL: never
    const void *cancelled_arg;
} inki_forward;

// One pass over rows [n_rows], n_rows <= scratch->n_rows. Writes keys, values and the wanted
// logits. Allocates nothing. Errors: INK_E_CANCELLED; INK_E_NUMERIC when a wanted row's logits are
// not finite (the caller finds the tensor to blame).
ink_status inki_forward_run(const inki_forward *forward, const inki_row *rows, uint32_t n_rows,
                            ink_error *error);

#endif
