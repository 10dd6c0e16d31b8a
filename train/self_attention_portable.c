// SPDX-License-Identifier: MIT
// Vectors of four, which every compiler makes something of. exp, dropout and turning go number by
// number: short loops, which are vectorised where that pays.
#include "kernels/lanes.h"
#include "kernels/target.h"
#include "train/self_attention_parts.h"

#include <math.h>
#include <string.h>

#include "base/exp_inline.h"

#define LEVEL(name) name##_portable
#define VEC         inki_f4
#define KEPT        lanes_portable
#define WIDTH       4
// SSE2 has 16 registers, NEON 32.
#if defined(__aarch64__)
#define WIDE_ROWS    4
#define WIDE_VECTORS 4
#else
#define WIDE_ROWS    4
#define WIDE_VECTORS 2
#endif
#define PAIR_ROWS 4

typedef struct lanes_portable {
    uint32_t mask[WIDTH];
} lanes_portable;

INKI_TEMPLATE inki_f4 load_portable(const float *p) { return inki_f4_load(p); }
INKI_TEMPLATE void store_portable(float *p, inki_f4 v) { inki_f4_store(p, v); }
INKI_TEMPLATE inki_f4 splat_portable(float x) { return inki_f4_splat(x); }
INKI_TEMPLATE inki_f4 add_portable(inki_f4 a, inki_f4 b) { return inki_f4_add(a, b); }
INKI_TEMPLATE inki_f4 mul_portable(inki_f4 a, inki_f4 b) { return inki_f4_mul(a, b); }
INKI_TEMPLATE inki_f4 sub_portable(inki_f4 a, inki_f4 b) {
    return inki_f4_add(a, inki_f4_mul(b, inki_f4_splat(-1.0f)));
}
INKI_TEMPLATE inki_f4 fma_portable(inki_f4 a, inki_f4 b, inki_f4 c) {
    return inki_f4_add(c, inki_f4_mul(a, b));
}

INKI_TEMPLATE inki_f4 max_portable(inki_f4 a, inki_f4 b) {
    float x[WIDTH], y[WIDTH];
    inki_f4_store(x, a);
    inki_f4_store(y, b);
    for (int i = 0; i < WIDTH; i++) x[i] = inki_f32_select(x[i] > y[i], x[i], y[i]);
    return inki_f4_load(x);
}
INKI_TEMPLATE float fold_max_portable(inki_f4 v) {
    float x[WIDTH];
    inki_f4_store(x, v);
    const float a = x[0] > x[2] ? x[0] : x[2], b = x[1] > x[3] ? x[1] : x[3];
    return a > b ? a : b;
}
INKI_TEMPLATE float fold_sum_portable(inki_f4 v) {
    float x[WIDTH];
    inki_f4_store(x, v);
    return (x[0] + x[2]) + (x[1] + x[3]);
}
INKI_TEMPLATE inki_f4 exp_portable(inki_f4 v) {
    float x[WIDTH];
    inki_f4_store(x, v);
    for (int i = 0; i < WIDTH; i++) x[i] = inki_exp(x[i]);
    return inki_f4_load(x);
}

// inki_train_hash of four neighbours, and which of them are kept.
INKI_TEMPLATE lanes_portable kept_portable(const inki_attention_drop *drop, uint32_t seed,
                                           const uint32_t *steps) {
    lanes_portable kept;
    for (int i = 0; i < WIDTH; i++) {
        uint32_t x = (seed + steps[i]) ^ drop->key_high;
        x = (x ^ (x >> 16)) * 0x21f0aaadu;
        x = (x ^ (x >> 15)) * 0x735a2d97u;
        x ^= x >> 15;
        kept.mask[i] = 0u - (uint32_t)(x >= drop->threshold);
    }
    return kept;
}
INKI_TEMPLATE inki_f4 only_portable(lanes_portable kept, inki_f4 v) {
    float x[WIDTH];
    inki_f4_store(x, v);
    for (int i = 0; i < WIDTH; i++) x[i] = inki_f32_from_bits(inki_f32_bits(x[i]) & kept.mask[i]);
    return inki_f4_load(x);
}

// Four neighbours of four rows become parts of four rows of 64.
INKI_TEMPLATE void turn_portable(float *to, const float *x, size_t stride) {
    for (size_t d = 0; d < 4; d++)
        for (size_t i = 0; i < 4; i++) to[d * ATTENTION_KEYS + i] = x[i * stride + d];
}

#include "train/self_attention_body.h"

void inki_attention_portable(inki_attention_fns *fns) {
    *fns = (inki_attention_fns){"portable", forward_portable, backward_portable};
}

#undef LEVEL
#undef VEC
#undef KEPT
#undef WIDTH
#undef WIDE_ROWS
#undef WIDE_VECTORS
#undef PAIR_ROWS
