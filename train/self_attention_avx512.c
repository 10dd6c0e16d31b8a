// SPDX-License-Identifier: MIT
#include "kernels/target.h"
#include "train/self_attention_parts.h"

#if defined(INKI_HAVE_X86)
#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "base/exp_inline.h"

INKI_TARGET_BEGIN_AVX512

#define LEVEL(name) name##_avx512
#define VEC         __m512
#define KEPT        __mmask16
#define WIDTH       16
// 32 registers: sixteen sums, four of the right side.
#define WIDE_ROWS    4
#define WIDE_VECTORS 4
#define PAIR_ROWS    8

INKI_TEMPLATE __m512 load_avx512(const float *p) { return _mm512_loadu_ps(p); }
INKI_TEMPLATE void store_avx512(float *p, __m512 v) { _mm512_storeu_ps(p, v); }
INKI_TEMPLATE __m512 splat_avx512(float x) { return _mm512_set1_ps(x); }
INKI_TEMPLATE __m512 add_avx512(__m512 a, __m512 b) { return _mm512_add_ps(a, b); }
INKI_TEMPLATE __m512 sub_avx512(__m512 a, __m512 b) { return _mm512_sub_ps(a, b); }
INKI_TEMPLATE __m512 mul_avx512(__m512 a, __m512 b) { return _mm512_mul_ps(a, b); }
INKI_TEMPLATE __m512 max_avx512(__m512 a, __m512 b) { return _mm512_max_ps(a, b); }
INKI_TEMPLATE __m512 fma_avx512(__m512 a, __m512 b, __m512 c) { return _mm512_fmadd_ps(a, b, c); }
INKI_TEMPLATE float fold_max_avx512(__m512 v) { return _mm512_reduce_max_ps(v); }
INKI_TEMPLATE float fold_sum_avx512(__m512 v) { return _mm512_reduce_add_ps(v); }

// The steps of inki_exp for x below 89: the power of two comes in one go and rounds what is
// subnormal.
INKI_TEMPLATE __m512 exp_avx512(__m512 x) {
    x = _mm512_max_ps(_mm512_set1_ps(-104.0f), x); // the second where one is a NaN
    const __m512 magic = _mm512_set1_ps(12582912.0f);
    const __m512 n = _mm512_sub_ps(_mm512_fmadd_ps(x, _mm512_set1_ps(1.44269504f), magic), magic);
    __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693359375f), x);
    r = _mm512_fmadd_ps(n, _mm512_set1_ps(2.12194440e-4f), r);
    __m512 p = _mm512_set1_ps(1.39262134e-3f);
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(8.36320297e-3f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(4.16665544e-2f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.166665768f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.5f));
    p = _mm512_fmadd_ps(_mm512_mul_ps(r, r), p, r);
    return _mm512_scalef_ps(_mm512_add_ps(p, _mm512_set1_ps(1.0f)), n);
}

// inki_train_hash of sixteen neighbours, and which of them are kept.
INKI_TEMPLATE __mmask16 kept_avx512(const inki_attention_drop *drop, uint32_t seed,
                                    const uint32_t *steps) {
    __m512i x = _mm512_add_epi32(_mm512_set1_epi32((int)seed), _mm512_loadu_si512(steps));
    x = _mm512_xor_si512(x, _mm512_set1_epi32((int)drop->key_high));
    x = _mm512_xor_si512(x, _mm512_srli_epi32(x, 16));
    x = _mm512_mullo_epi32(x, _mm512_set1_epi32(0x21f0aaad));
    x = _mm512_xor_si512(x, _mm512_srli_epi32(x, 15));
    x = _mm512_mullo_epi32(x, _mm512_set1_epi32(0x735a2d97));
    x = _mm512_xor_si512(x, _mm512_srli_epi32(x, 15));
    return _mm512_cmpge_epu32_mask(x, _mm512_set1_epi32((int)drop->threshold));
}
INKI_TEMPLATE __m512 only_avx512(__mmask16 kept, __m512 v) { return _mm512_maskz_mov_ps(kept, v); }

// Four neighbours of rows 4 apart, a row a lane of 128 bits.
INKI_TEMPLATE __m512 load_lanes_avx512(const float *x, size_t stride) {
    __m512 v = _mm512_castps128_ps512(_mm_loadu_ps(x));
    v = _mm512_insertf32x4(v, _mm_loadu_ps(x + 4 * stride), 1);
    v = _mm512_insertf32x4(v, _mm_loadu_ps(x + 8 * stride), 2);
    return _mm512_insertf32x4(v, _mm_loadu_ps(x + 12 * stride), 3);
}
// Four neighbours of sixteen rows become parts of four rows of 64.
INKI_TEMPLATE void turn_avx512(float *to, const float *x, size_t stride) {
    const __m512 a = load_lanes_avx512(x, stride), b = load_lanes_avx512(x + stride, stride);
    const __m512 c = load_lanes_avx512(x + 2 * stride, stride);
    const __m512 d = load_lanes_avx512(x + 3 * stride, stride);
    const __m512d ab = _mm512_castps_pd(_mm512_unpacklo_ps(a, b));
    const __m512d cd = _mm512_castps_pd(_mm512_unpacklo_ps(c, d));
    const __m512d ab2 = _mm512_castps_pd(_mm512_unpackhi_ps(a, b));
    const __m512d cd2 = _mm512_castps_pd(_mm512_unpackhi_ps(c, d));
    _mm512_storeu_ps(to, _mm512_castpd_ps(_mm512_unpacklo_pd(ab, cd)));
    _mm512_storeu_ps(to + ATTENTION_KEYS, _mm512_castpd_ps(_mm512_unpackhi_pd(ab, cd)));
    _mm512_storeu_ps(to + 2 * ATTENTION_KEYS, _mm512_castpd_ps(_mm512_unpacklo_pd(ab2, cd2)));
    _mm512_storeu_ps(to + 3 * ATTENTION_KEYS, _mm512_castpd_ps(_mm512_unpackhi_pd(ab2, cd2)));
}

#include "train/self_attention_body.h"

INKI_TARGET_END

void inki_attention_avx512(inki_attention_fns *fns) {
    *fns = (inki_attention_fns){"avx512", forward_avx512, backward_avx512};
}

#undef LEVEL
#undef VEC
#undef KEPT
#undef WIDTH
#undef WIDE_ROWS
#undef WIDE_VECTORS
#undef PAIR_ROWS
#endif
