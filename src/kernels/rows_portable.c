// SPDX-License-Identifier: MIT
// Work on rows of floats. Elementwise slots make every element by the same operations wherever it
// stands, so that a row may be cut anywhere.
#include "base/exp_inline.h"
#include "kernels/lanes.h"
#include "kernels/levels.h"

#include <math.h>

// Sum over x, and over (x - mean)^2, in the order of lanes.h.
static float sum_row(const float *x, size_t n) {
    inki_lanes s = inki_lanes_splat(0);
    size_t k = 0;
    for (; k + INKI_LANES <= n; k += INKI_LANES) s = inki_lanes_add(s, inki_lanes_load(x + k));
    if (k < n) s = inki_lanes_add(s, inki_lanes_load_n(x + k, n - k));
    return inki_lanes_fold(s);
}

static float sum_squares(const float *x, float mean, size_t n) {
    const inki_lanes shift = inki_lanes_splat(-mean);
    inki_lanes s = inki_lanes_splat(0);
    size_t k = 0;
    for (; k + INKI_LANES <= n; k += INKI_LANES) {
        const inki_lanes v = inki_lanes_add(inki_lanes_load(x + k), shift);
        s = inki_lanes_madd(s, v, v);
    }
    float end[INKI_LANES] = {0}; // the difference of what is not there must be zero, not -mean
    for (size_t i = 0; k + i < n; i++) end[i] = x[k + i] + -mean;
    s = inki_lanes_madd(s, inki_lanes_load(end), inki_lanes_load(end));
    return inki_lanes_fold(s);
}

// Two passes, since E[x^2] - mean^2 loses everything to cancellation when the mean is large.
static void layer_norm_c(float *restrict out, const float *restrict x, const float *restrict gain,
                         const float *restrict bias, size_t n, float eps) {
    const float mean = sum_row(x, n) / (float)n;
    const float factor = 1.0f / sqrtf(sum_squares(x, mean, n) / (float)n + eps);
    size_t k = 0;
    for (; k + INKI_LANES <= n; k += INKI_LANES)
        for (size_t i = k; i < k + INKI_LANES; i++)
            out[i] = (x[i] - mean) * factor * gain[i] + bias[i];
    for (; k < n; k++) out[k] = (x[k] - mean) * factor * gain[k] + bias[k];
}

// 0.5 x (1 + tanh(u)) with u = sqrt(2 / pi) (x + 0.044715 x^3) is x / (1 + exp(-2 u)): one exp, and
// no cancellation where x is very negative.
static inline float gelu_one(float x) {
    const float minus_2u = x * (-1.59576912f - 0.0713548163f * (x * x));
    return x / (1.0f + inki_exp(minus_2u));
}

static void gelu_c(float *restrict x, size_t n) {
    size_t k = 0;
    for (; k + INKI_LANES <= n; k += INKI_LANES)
        for (size_t i = 0; i < INKI_LANES; i++) x[k + i] = gelu_one(x[k + i]);
    for (; k < n; k++) x[k] = gelu_one(x[k]);
}

static void add_c(float *restrict x, const float *restrict y, float factor, size_t n) {
    size_t k = 0;
    for (; k + INKI_LANES <= n; k += INKI_LANES)
        for (size_t i = 0; i < INKI_LANES; i++) x[k + i] += factor * y[k + i];
    for (; k < n; k++) x[k] += factor * y[k];
}

static void scale_c(float *x, float factor, size_t n) {
    size_t k = 0;
    for (; k + INKI_LANES <= n; k += INKI_LANES)
        for (size_t i = 0; i < INKI_LANES; i++) x[k + i] *= factor;
    for (; k < n; k++) x[k] *= factor;
}

static int all_finite_c(const float *x, size_t n) {
    uint32_t bad = 0; // the highest exponent plus one carries into the sign
    size_t k = 0;
    for (; k + INKI_LANES <= n; k += INKI_LANES)
        for (size_t i = 0; i < INKI_LANES; i++)
            bad |= (inki_f32_bits(x[k + i]) & 0x7f800000u) + 0x00800000u;
    for (; k < n; k++) bad |= (inki_f32_bits(x[k]) & 0x7f800000u) + 0x00800000u;
    return (bad & 0x80000000u) == 0;
}

void inki_kernels_rows_portable(inki_kernels *table) {
    table->layer_norm = layer_norm_c;
    table->gelu = gelu_c;
    table->add = add_c;
    table->scale = scale_c;
    table->all_finite = all_finite_c;
}
