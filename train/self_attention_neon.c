// SPDX-License-Identifier: MIT
#include "kernels/target.h"
#include "train/self_attention_parts.h"

#if defined(INKI_HAVE_NEON)
#include <arm_neon.h>
#include <math.h>
#include <string.h>

#include "base/exp_inline.h"
#include "kernels/neon_inline.h"

#define LEVEL(name) name##_neon
#define VEC         float32x4_t
#define KEPT        uint32x4_t
#define WIDTH       4
// 32 registers: sixteen sums, four of the right side.
#define WIDE_ROWS    4
#define WIDE_VECTORS 4
#define PAIR_ROWS    8

INKI_TEMPLATE float32x4_t load_neon(const float *p) { return vld1q_f32(p); }
INKI_TEMPLATE void store_neon(float *p, float32x4_t v) { vst1q_f32(p, v); }
INKI_TEMPLATE float32x4_t splat_neon(float x) { return vdupq_n_f32(x); }
INKI_TEMPLATE float32x4_t add_neon(float32x4_t a, float32x4_t b) { return vaddq_f32(a, b); }
INKI_TEMPLATE float32x4_t sub_neon(float32x4_t a, float32x4_t b) { return vsubq_f32(a, b); }
INKI_TEMPLATE float32x4_t mul_neon(float32x4_t a, float32x4_t b) { return vmulq_f32(a, b); }
INKI_TEMPLATE float32x4_t max_neon(float32x4_t a, float32x4_t b) { return vmaxq_f32(a, b); }
INKI_TEMPLATE float32x4_t fma_neon(float32x4_t a, float32x4_t b, float32x4_t c) {
    return vfmaq_f32(c, a, b);
}
INKI_TEMPLATE float fold_max_neon(float32x4_t v) { return vmaxvq_f32(v); }
INKI_TEMPLATE float fold_sum_neon(float32x4_t v) { return vaddvq_f32(v); }
INKI_TEMPLATE float32x4_t exp_neon(float32x4_t x) { return inki_neon_exp(x); }

// inki_train_hash of four neighbours, and which of them are kept.
INKI_TEMPLATE uint32x4_t kept_neon(const inki_attention_drop *drop, uint32_t seed,
                                   const uint32_t *steps) {
    uint32x4_t x = vaddq_u32(vld1q_u32(steps), vdupq_n_u32(seed));
    x = veorq_u32(x, vdupq_n_u32(drop->key_high));
    x = vmulq_n_u32(veorq_u32(x, vshrq_n_u32(x, 16)), 0x21f0aaadu);
    x = vmulq_n_u32(veorq_u32(x, vshrq_n_u32(x, 15)), 0x735a2d97u);
    x = veorq_u32(x, vshrq_n_u32(x, 15));
    return vcgeq_u32(x, vdupq_n_u32(drop->threshold));
}
INKI_TEMPLATE float32x4_t only_neon(uint32x4_t kept, float32x4_t v) {
    return vreinterpretq_f32_u32(vandq_u32(kept, vreinterpretq_u32_f32(v)));
}

// Four neighbours of four rows become parts of four rows of 64.
INKI_TEMPLATE void turn_neon(float *to, const float *x, size_t stride) {
    const float32x4_t a = vld1q_f32(x), b = vld1q_f32(x + stride);
    const float32x4_t c = vld1q_f32(x + 2 * stride), d = vld1q_f32(x + 3 * stride);
    const float64x2_t ab = vreinterpretq_f64_f32(vtrn1q_f32(a, b));
    const float64x2_t cd = vreinterpretq_f64_f32(vtrn1q_f32(c, d));
    const float64x2_t ab2 = vreinterpretq_f64_f32(vtrn2q_f32(a, b));
    const float64x2_t cd2 = vreinterpretq_f64_f32(vtrn2q_f32(c, d));
    vst1q_f32(to, vreinterpretq_f32_f64(vzip1q_f64(ab, cd)));
    vst1q_f32(to + ATTENTION_KEYS, vreinterpretq_f32_f64(vzip1q_f64(ab2, cd2)));
    vst1q_f32(to + 2 * ATTENTION_KEYS, vreinterpretq_f32_f64(vzip2q_f64(ab, cd)));
    vst1q_f32(to + 3 * ATTENTION_KEYS, vreinterpretq_f32_f64(vzip2q_f64(ab2, cd2)));
}

#include "train/self_attention_body.h"

void inki_attention_neon(inki_attention_fns *fns) {
    *fns = (inki_attention_fns){"neon", forward_neon, backward_neon};
}

#undef LEVEL
#undef VEC
#undef KEPT
#undef WIDTH
#undef WIDE_ROWS
#undef WIDE_VECTORS
#undef PAIR_ROWS
#endif
