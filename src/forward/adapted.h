// SPDX-License-Identifier: MIT
// What adapters add to a stage over weights (model/lora.h). Private to src/forward.
#ifndef INKI_FORWARD_ADAPTED_H
#define INKI_FORWARD_ADAPTED_H

#include "forward/forward.h"

// scratch->low: scale * (alpha / rank) * A x for each of the rows' adapters, x [n_rows, w.n_cols].
// Where w wants x as bytes, scratch->act has them already.
void inki_forward_low(const inki_forward *forward, const float *x, const inki_tensor *w,
                      size_t n_rows);
// out [n_rows, w.n_rows] += B times that, columns [begin, end) only.
void inki_forward_add_low(const inki_forward *forward, float *out, const inki_tensor *w,
                          size_t begin, size_t end, size_t n_rows);

#endif
