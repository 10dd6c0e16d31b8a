// SPDX-License-Identifier: MIT
// Causal attention of one head over one sequence, forward and backward, on one thread.
#ifndef INKI_TRAIN_SELF_ATTENTION_H
#define INKI_TRAIN_SELF_ATTENTION_H

#include "base/error.h"
#include "base/mem.h"

// Rows are those of one sequence, `stride` floats apart: q, k, v point at the head's columns in
// rows of [q | k | v] (stride 3 n_embd), out at its columns in rows of n_embd. out [n, head_dim] =
// dropout(softmax(q k^T * scale, causal)) v
typedef struct inki_attention_head {
    const float *q, *k, *v;
    size_t stride; // floats between rows of q, k, v and of dq, dk, dv
    float *out;
    size_t out_stride;   // of out and dout
    float *log_sum;      // [n] log of the sum of exp(score) of each row; written forward, read back
    const float *dout;   // backward only:
    float *dq, *dk, *dv; // overwritten, not added to
    size_t n, head_dim;
    float scale, dropout;
    uint64_t key, first; // of dropout, see inki_train_hash: element (i, j) is first + i * n + j
} inki_attention_head;

typedef struct inki_attention_fns {
    const char *name;
    // work: inki_attention_work_bytes(n, head_dim), aligned to 64, the thread's own; nothing is
    // kept in it between calls. The pass backward reads what the pass forward wrote: out and
    // log_sum. What is summed, and in which order, depends on nothing but the head: the same bytes
    // each time.
    void (*forward)(const inki_attention_head *head, void *work);
    void (*backward)(const inki_attention_head *head, void *work);
} inki_attention_fns;
size_t inki_attention_work_bytes(size_t n, size_t head_dim);
void inki_attention_init(inki_attention_fns *fns, uint32_t level); // level: as inki_train_ops_init

#endif
