// SPDX-License-Identifier: MIT
// What the NEON kernels share: ends of rows, sixteen sums, exp. Private to them.
#ifndef INKI_KERNELS_NEON_INLINE_H
#define INKI_KERNELS_NEON_INLINE_H

#include "kernels/lanes.h"
#include "kernels/target.h"

#if defined(INKI_HAVE_NEON)
#include <arm_neon.h>
#include <string.h>

// No load crosses this. A compiler that loads what comes next too early, or keeps what will be
// needed again, runs out of registers; where the memory is in the nearest cache, loading late costs
// nothing.
static inline void inki_neon_afresh(void) { __asm__ volatile("" ::: "memory"); }

// The first n <= 4 of four; the others load as zero and are not stored.
static inline float32x4_t inki_neon_load_n(const float *p, size_t n) {
    if (n >= 4) return vld1q_f32(p);
    float end[4] = {0};
    for (size_t i = 0; i < n; i++) end[i] = p[i];
    return vld1q_f32(end);
}
static inline void inki_neon_store_n(float *p, float32x4_t v, size_t n) {
    if (n >= 4) {
        vst1q_f32(p, v);
        return;
    }
    float end[4];
    vst1q_f32(end, v);
    for (size_t i = 0; i < n; i++) p[i] = end[i];
}

// Sixteen values; those of them that a row of `n` more has, the others zero.
INKI_TEMPLATE void inki_neon_load16(float32x4_t v[4], const float *p, size_t n) {
    if (n >= 16) {
        for (int i = 0; i < 4; i++) v[i] = vld1q_f32(p + 4 * i);
        return;
    }
    float end[16] = {0};
    memcpy(end, p, n * sizeof *p);
    for (int i = 0; i < 4; i++) v[i] = vld1q_f32(end + 4 * i);
}
INKI_TEMPLATE void inki_neon_halves16(float32x4_t v[4], const uint8_t *p, size_t n) {
    uint16_t end[16] = {0};
    if (n < 16) {
        memcpy(end, p, 2 * n);
        p = (const uint8_t *)end;
    }
    const float16x8_t low = vreinterpretq_f16_u8(vld1q_u8(p));
    const float16x8_t high = vreinterpretq_f16_u8(vld1q_u8(p + 16));
    v[0] = vcvt_f32_f16(vget_low_f16(low));
    v[1] = vcvt_high_f32_f16(low);
    v[2] = vcvt_f32_f16(vget_low_f16(high));
    v[3] = vcvt_high_f32_f16(high);
}
// All sixteen are there.
INKI_TEMPLATE void inki_neon_bytes16(float32x4_t v[4], const int8_t *p) {
    const int8x16_t q = vld1q_s8(p);
    const int16x8_t low = vmovl_s8(vget_low_s8(q)), high = vmovl_high_s8(q);
    v[0] = vcvtq_f32_s32(vmovl_s16(vget_low_s16(low)));
    v[1] = vcvtq_f32_s32(vmovl_high_s16(low));
    v[2] = vcvtq_f32_s32(vmovl_s16(vget_low_s16(high)));
    v[3] = vcvtq_f32_s32(vmovl_high_s16(high));
}

// Sums 0 to 15 lie in s[0] to s[3]; s[i] += s[i + 8], then + 4, + 2, + 1, as everywhere.
static inline float32x2_t inki_neon_fold2(float32x4_t a, float32x4_t b, float32x4_t c,
                                          float32x4_t d) {
    const float32x4_t four = vaddq_f32(vaddq_f32(a, c), vaddq_f32(b, d));
    return vadd_f32(vget_low_f32(four), vget_high_f32(four));
}
static inline float inki_neon_fold(const float32x4_t s[4]) {
    const float32x2_t two = inki_neon_fold2(s[0], s[1], s[2], s[3]);
    return vget_lane_f32(vpadd_f32(two, two), 0);
}

// inki_exp (exp_inline.h) with fused multiply-adds: the same limits, an error that is no larger.
// FMIN and FMAX pass a NaN on; its conversion to an integer is 0.
static inline float32x4_t inki_neon_exp(float32x4_t x) {
    x = vminq_f32(vmaxq_f32(x, vdupq_n_f32(-104.0f)), vdupq_n_f32(89.0f));
    const float32x4_t n = vrndnq_f32(vmulq_n_f32(x, 1.44269504f));
    float32x4_t r = vfmsq_f32(x, n, vdupq_n_f32(0.693359375f));
    r = vfmaq_f32(r, n, vdupq_n_f32(2.12194440e-4f));
    float32x4_t p = vdupq_n_f32(1.39262134e-3f);
    p = vfmaq_f32(vdupq_n_f32(8.36320297e-3f), p, r);
    p = vfmaq_f32(vdupq_n_f32(4.16665544e-2f), p, r);
    p = vfmaq_f32(vdupq_n_f32(0.166665768f), p, r);
    p = vfmaq_f32(vdupq_n_f32(0.5f), p, r);
    p = vfmaq_f32(r, vmulq_f32(r, r), p);
    p = vaddq_f32(p, vdupq_n_f32(1.0f));
    const int32x4_t i = vcvtq_s32_f32(n), half = vshrq_n_s32(i, 1);
    const int32x4_t bias = vdupq_n_s32(127);
    const int32x4_t first = vshlq_n_s32(vaddq_s32(half, bias), 23);
    const int32x4_t second = vshlq_n_s32(vaddq_s32(vsubq_s32(i, half), bias), 23);
    return vmulq_f32(vmulq_f32(p, vreinterpretq_f32_s32(first)), vreinterpretq_f32_s32(second));
}
#endif

#endif
