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
// x [n_rows, n] in place.
void inki_forward_gelu(const inki_forward *forward, float *x, size_t n_rows, size_t n);
// x += y [n_rows, n_embd].
void inki_forward_add(const inki_forward *forward, float *x, float *y, size_t n_rows);
// out [n_rows, w.n_rows] = x [n_rows, w.n_cols] times w transposed, + bias (may be NULL).
// out NULL: row b goes to scratch->wanted[b]->logits.
void inki_forward_linear(const inki_forward *forward, float *out, float *x, const inki_tensor *w,
                         const float *bias, size_t n_rows);

#endif
