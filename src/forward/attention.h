// SPDX-License-Identifier: MIT
// Attention over the pages of the KV cache. Private to src/forward.
#ifndef INKI_FORWARD_ATTENTION_H
#define INKI_FORWARD_ATTENTION_H

#include "forward/forward.h"

// Stores the keys and values of qkv [n_rows, 3 n_embd] in the rows' caches, then
// out [n_rows, n_embd] = each head's softmax(q k / sqrt(head_dim)) v over its row's positions.
void inki_forward_attention(const inki_forward *forward, const inki_row *rows, uint32_t n_rows,
                            uint32_t layer, const float *qkv, float *out);

#endif
