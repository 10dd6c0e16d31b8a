// SPDX-License-Identifier: MIT
// Steps of the forward pass over all rows at once, shared among the pool's threads. Private to
// src/forward.
#ifndef INKI_FORWARD_STAGES_H
#define INKI_FORWARD_STAGES_H

#include "forward/forward.h"

// How many parts a stage of `work` multiplications is worth (at least 1).
uint32_t inki_forward_n_parts(const inki_forward *forward, size_t work);

// out [n_rows, n_embd] = layer norm of x [n_rows, n_embd].
void inki_forward_norm(const inki_forward *forward, float *out, float *x, const float *gain,
                       const float *bias, size_t n_rows);
// What a thread does with the outputs it has just made, while they are in its cache.
typedef enum inki_linear_end {
    INKI_LINEAR_PLAIN,
    INKI_LINEAR_GELU, // out = gelu(out)
    INKI_LINEAR_ADD   // residual += out; both [n_rows, w.n_rows]
} inki_linear_end;
// out [n_rows, w.n_rows] = x [n_rows, w.n_cols] times w transposed, + bias; then `end`, for which
// `residual` is there (else NULL). next: the matrix that comes after this one, or NULL; its first
// bytes are asked for while the threads go from stage to stage and memory would be idle.
void inki_forward_linear(const inki_forward *forward, float *out, float *x, const inki_tensor *w,
                         const float *bias, size_t n_rows, inki_linear_end end, float *residual,
                         const inki_tensor *next);
// The logits of the rows in scratch->wanted [n_rows] = x [n_rows, n_embd] times the head.
void inki_forward_head(const inki_forward *forward, float *x, size_t n_rows);

#endif
