// SPDX-License-Identifier: MIT
// Work on rows of floats. add, scale and all_finite stay the portable ones: NEON is the baseline,
// and the compiler makes of them what could be written here.
#include "kernels/levels.h"
#include "kernels/neon_inline.h"

#if defined(INKI_HAVE_NEON)
#include <math.h>

static float row_sum_neon(const float *x, size_t n) {
    float32x4_t s[4] = {vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0)}, v[4];
    size_t k = 0;
    for (; k + 16 <= n; k += 16)
        for (size_t i = 0; i < 4; i++) s[i] = vaddq_f32(s[i], vld1q_f32(x + k + 4 * i));
    if (k < n) {
        inki_neon_load16(v, x + k, n - k);
        for (int i = 0; i < 4; i++) s[i] = vaddq_f32(s[i], v[i]);
    }
    return inki_neon_fold(s);
}

static float row_squares_neon(const float *x, float mean, size_t n) {
    const float32x4_t m = vdupq_n_f32(mean);
    float32x4_t s[4] = {vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0)}, v[4];
    size_t k = 0;
    for (; k + 16 <= n; k += 16)
        for (size_t i = 0; i < 4; i++) {
            const float32x4_t apart = vsubq_f32(vld1q_f32(x + k + 4 * i), m);
            s[i] = vfmaq_f32(s[i], apart, apart);
        }
    if (k < n) { // what is not there must be at the mean, not zero
        float end[16];
        for (int i = 0; i < 16; i++) end[i] = mean;
        memcpy(end, x + k, (n - k) * sizeof *x);
        inki_neon_load16(v, end, 16);
        for (int i = 0; i < 4; i++) {
            v[i] = vsubq_f32(v[i], m);
            s[i] = vfmaq_f32(s[i], v[i], v[i]);
        }
    }
    return inki_neon_fold(s);
}

static void layer_norm_neon(float *out, const float *x, const float *gain, const float *bias,
                            size_t n, float eps) {
    const float mean = row_sum_neon(x, n) / (float)n;
    const float factor = 1.0f / sqrtf(row_squares_neon(x, mean, n) / (float)n + eps);
    const float32x4_t m = vdupq_n_f32(mean);
    for (size_t k = 0; k < n; k += 4) {
        const size_t left = n - k;
        const float32x4_t v = vmulq_n_f32(vsubq_f32(inki_neon_load_n(x + k, left), m), factor);
        const float32x4_t y =
            vfmaq_f32(inki_neon_load_n(bias + k, left), v, inki_neon_load_n(gain + k, left));
        inki_neon_store_n(out + k, y, left);
    }
}

// x / (1 + exp(-2 u)), as in the portable kernel.
static void gelu_neon(float *x, size_t n) {
    const float32x4_t one = vdupq_n_f32(1.0f), first = vdupq_n_f32(-1.59576912f);
    for (size_t k = 0; k < n; k += 4) {
        const float32x4_t v = inki_neon_load_n(x + k, n - k);
        const float32x4_t inner = vfmaq_n_f32(first, vmulq_f32(v, v), -0.0713548163f);
        const float32x4_t e = inki_neon_exp(vmulq_f32(v, inner));
        inki_neon_store_n(x + k, vdivq_f32(v, vaddq_f32(one, e)), n - k);
    }
}

// The largest magnitude of 32 values as bits: infinities and NaN are the largest of all and become
// the scale.
static float act_largest_neon(const float32x4_t v[8]) {
    uint32x4_t max = vdupq_n_u32(0);
    for (int i = 0; i < 8; i++) max = vmaxq_u32(max, vreinterpretq_u32_f32(vabsq_f32(v[i])));
    return vget_lane_f32(vreinterpret_f32_u32(vdup_n_u32(vmaxvq_u32(max))), 0);
}

static void quantize_act_neon(void *out, const float *x, size_t n) {
    int8_t *q = (int8_t *)out;
    float *d = (float *)(void *)(q + n);
    int16_t *sum = (int16_t *)(void *)(q + n + n / 8);
    for (size_t k = 0; k < n; k += INKI_Q8_BLOCK) {
        float32x4_t v[8];
        for (size_t i = 0; i < 8; i++) v[i] = vld1q_f32(x + k + 4 * i);
        const float max = act_largest_neon(v);
        const bool tiny = max < 0x1p-100f; // 127 / max would overflow; such a block counts as zero
        const float factor = tiny ? 0.0f : 127.0f / max;
        d[k / INKI_Q8_BLOCK] = tiny ? 0.0f : max / 127.0f;
        int16x4_t s[8];
        for (int i = 0; i < 8; i++) s[i] = vqmovn_s32(vcvtnq_s32_f32(vmulq_n_f32(v[i], factor)));
        for (size_t i = 0; i < 2; i++) {
            const int8x16_t bytes =
                vcombine_s8(vqmovn_s16(vcombine_s16(s[4 * i], s[4 * i + 1])),
                            vqmovn_s16(vcombine_s16(s[4 * i + 2], s[4 * i + 3])));
            vst1q_s8(q + k + 16 * i, bytes);
            sum[k / 16 + i] = vaddlvq_s8(bytes);
        }
    }
}

void inki_rows_neon(inki_kernels *table) {
    table->layer_norm = layer_norm_neon;
    table->gelu = gelu_neon;
    table->quantize_act = quantize_act_neon;
}
#endif
