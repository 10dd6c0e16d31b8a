// SPDX-License-Identifier: MIT
// Products of rows of float weights with activation rows. A chunk of a weight
// row is widened once and then meets up to MATMUL_TILE activation rows, whose
// sums wait in memory between chunks: neither the chunks nor the tile change
// the order in which an output's terms are added.
#include "kernels/lanes.h"
#include "kernels/levels.h"

#include "base/half.h"

enum { MATMUL_CHUNK = 512, MATMUL_TILE = 32 };

// The n <= MATMUL_CHUNK weights at w as floats.
typedef void (*widen_fn)(float *restrict wide, const uint8_t *restrict w, size_t n);

static void widen_f16(float *restrict wide, const uint8_t *restrict w, size_t n) {
    const uint16_t *restrict h = (const uint16_t *)(const void *)w;
    size_t k = 0;
    for (; k + INKI_LANES <= n; k += INKI_LANES) // a fixed count inside: vectorised at -O2 too
        for (size_t i = 0; i < INKI_LANES; i++) wide[k + i] = inki_f16_to_f32(h[k + i]);
    for (; k < n; k++) wide[k] = inki_f16_to_f32(h[k]);
}

static void widen_bf16(float *restrict wide, const uint8_t *restrict w, size_t n) {
    const uint16_t *restrict h = (const uint16_t *)(const void *)w;
    size_t k = 0;
    for (; k + INKI_LANES <= n; k += INKI_LANES)
        for (size_t i = 0; i < INKI_LANES; i++) wide[k + i] = inki_bf16_to_f32(h[k + i]);
    for (; k < n; k++) wide[k] = inki_bf16_to_f32(h[k]);
}

// Two activation rows at a time: each weight is loaded once for both.
static inline void dot_pair(inki_lanes sums[2], const float *w, const float *x, const float *y,
                            size_t n) {
    inki_lanes s = sums[0], t = sums[1];
    size_t k = 0;
    for (; k + INKI_LANES <= n; k += INKI_LANES) {
        const inki_lanes v = inki_lanes_load(w + k);
        s = inki_lanes_madd(s, v, inki_lanes_load(x + k));
        t = inki_lanes_madd(t, v, inki_lanes_load(y + k));
    }
    if (k < n) {
        const inki_lanes v = inki_lanes_load_n(w + k, n - k);
        s = inki_lanes_madd(s, v, inki_lanes_load_n(x + k, n - k));
        t = inki_lanes_madd(t, v, inki_lanes_load_n(y + k, n - k));
    }
    sums[0] = s;
    sums[1] = t;
}

static inline void dot_one(inki_lanes *sum, const float *w, const float *x, size_t n) {
    inki_lanes s = *sum;
    size_t k = 0;
    for (; k + INKI_LANES <= n; k += INKI_LANES)
        s = inki_lanes_madd(s, inki_lanes_load(w + k), inki_lanes_load(x + k));
    if (k < n)
        s = inki_lanes_madd(s, inki_lanes_load_n(w + k, n - k), inki_lanes_load_n(x + k, n - k));
    *sum = s;
}

typedef struct float_product {
    float *out;
    size_t out_stride;
    const uint8_t *weights;
    size_t row_bytes;
    const uint8_t *acts;
    size_t act_stride;
    const float *bias;
    size_t n_rows, n_cols, n_batch;
} float_product;

// sums [n_batch] = a weight row times the activation rows at x; n_batch <=
// MATMUL_TILE.
static void row_of_floats(float *sums, const float_product *m, const uint8_t *w, const uint8_t *x,
                          size_t n_batch, size_t elem_bytes, widen_fn widen) {
    inki_lanes lanes[MATMUL_TILE];
    float wide[MATMUL_CHUNK];
    for (size_t b = 0; b < n_batch; b++) lanes[b] = inki_lanes_splat(0);
    for (size_t k = 0; k < m->n_cols; k += MATMUL_CHUNK, x += MATMUL_CHUNK * sizeof(float)) {
        const size_t n = m->n_cols - k < MATMUL_CHUNK ? m->n_cols - k : MATMUL_CHUNK;
        const float *v = (const float *)(const void *)(w + k * elem_bytes);
        if (widen != NULL) {
            widen(wide, w + k * elem_bytes, n);
            v = wide;
        }
        size_t b = 0;
        for (; b + 2 <= n_batch; b += 2)
            dot_pair(&lanes[b], v, (const float *)(const void *)(x + b * m->act_stride),
                     (const float *)(const void *)(x + (b + 1) * m->act_stride), n);
        if (b < n_batch)
            dot_one(&lanes[b], v, (const float *)(const void *)(x + b * m->act_stride), n);
    }
    for (size_t b = 0; b < n_batch; b++) sums[b] = inki_lanes_fold(lanes[b]);
}

static void product_of_floats(const float_product *m, size_t elem_bytes, widen_fn widen) {
    for (size_t b = 0; b < m->n_batch; b += MATMUL_TILE) {
        const size_t n = m->n_batch - b < MATMUL_TILE ? m->n_batch - b : MATMUL_TILE;
        for (size_t r = 0; r < m->n_rows; r++) {
            float sums[MATMUL_TILE];
            row_of_floats(sums, m, m->weights + r * m->row_bytes, m->acts + b * m->act_stride, n,
                          elem_bytes, widen);
            for (size_t i = 0; i < n; i++)
                m->out[(b + i) * m->out_stride + r] =
                    m->bias != NULL ? sums[i] + m->bias[r] : sums[i];
        }
    }
}

#define MATMUL_SLOT(name, elem_bytes, widen)                                                       \
    static void name(float *out, size_t out_stride, const void *weights, size_t row_bytes,         \
                     const void *acts, size_t act_stride, const float *bias, size_t n_rows,        \
                     size_t n_cols, size_t n_batch) {                                              \
        const float_product m = {out,        out_stride, weights, row_bytes, acts,                 \
                                 act_stride, bias,       n_rows,  n_cols,    n_batch};             \
        product_of_floats(&m, elem_bytes, widen);                                                  \
    }
MATMUL_SLOT(matmul_f32_c, 4, NULL)
MATMUL_SLOT(matmul_f16_c, 2, widen_f16)
MATMUL_SLOT(matmul_bf16_c, 2, widen_bf16)
#undef MATMUL_SLOT

void inki_kernels_matmul_portable(inki_kernels *table) {
    table->matmul[INKI_F32] = matmul_f32_c;
    table->matmul[INKI_F16] = matmul_f16_c;
    table->matmul[INKI_BF16] = matmul_bf16_c;
}
