// SPDX-License-Identifier: MIT
#include "kernels/target.h"
#include "train/self_attention_parts.h"

#if defined(INKI_HAVE_X86)
#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "base/exp_inline.h"

INKI_TARGET_BEGIN_AVX2

#define LEVEL(name) name##_avx2
#define VEC         __m256
#define KEPT        __m256
#define WIDTH       8
// 16 registers: twelve sums, three of the right side, one of the left.
#define WIDE_ROWS    4
#define WIDE_VECTORS 3
#define PAIR_ROWS    4

INKI_TEMPLATE __m256 load_avx2(const float *p) { return _mm256_loadu_ps(p); }
INKI_TEMPLATE void store_avx2(float *p, __m256 v) { _mm256_storeu_ps(p, v); }
INKI_TEMPLATE __m256 splat_avx2(float x) { return _mm256_set1_ps(x); }
INKI_TEMPLATE __m256 add_avx2(__m256 a, __m256 b) { return _mm256_add_ps(a, b); }
INKI_TEMPLATE __m256 sub_avx2(__m256 a, __m256 b) { return _mm256_sub_ps(a, b); }
INKI_TEMPLATE __m256 mul_avx2(__m256 a, __m256 b) { return _mm256_mul_ps(a, b); }
INKI_TEMPLATE __m256 max_avx2(__m256 a, __m256 b) { return _mm256_max_ps(a, b); }
INKI_TEMPLATE __m256 fma_avx2(__m256 a, __m256 b, __m256 c) { return _mm256_fmadd_ps(a, b, c); }
INKI_TEMPLATE float fold_max_avx2(__m256 v) {
    __m128 m = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    m = _mm_max_ps(m, _mm_movehl_ps(m, m));
    return _mm_cvtss_f32(_mm_max_ss(m, _mm_movehdup_ps(m)));
}
INKI_TEMPLATE float fold_sum_avx2(__m256 v) {
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

// The steps of inki_exp for x below 89.
INKI_TEMPLATE __m256 exp_avx2(__m256 x) {
    x = _mm256_max_ps(_mm256_set1_ps(-104.0f), x); // the second where one is a NaN
    const __m256 magic = _mm256_set1_ps(12582912.0f);
    const __m256 shifted = _mm256_fmadd_ps(x, _mm256_set1_ps(1.44269504f), magic);
    const __m256 n = _mm256_sub_ps(shifted, magic);
    __m256 r = _mm256_fnmadd_ps(n, _mm256_set1_ps(0.693359375f), x);
    r = _mm256_fmadd_ps(n, _mm256_set1_ps(2.12194440e-4f), r);
    __m256 p = _mm256_set1_ps(1.39262134e-3f);
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(8.36320297e-3f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(4.16665544e-2f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(0.166665768f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(0.5f));
    p = _mm256_fmadd_ps(_mm256_mul_ps(r, r), p, r);
    p = _mm256_add_ps(p, _mm256_set1_ps(1.0f));
    const __m256i i = _mm256_sub_epi32(_mm256_castps_si256(shifted), _mm256_set1_epi32(0x4b400000));
    const __m256i half = _mm256_srai_epi32(i, 1), bias = _mm256_set1_epi32(127);
    const __m256i first = _mm256_slli_epi32(_mm256_add_epi32(half, bias), 23);
    const __m256i second = _mm256_slli_epi32(_mm256_add_epi32(_mm256_sub_epi32(i, half), bias), 23);
    p = _mm256_mul_ps(p, _mm256_castsi256_ps(first));
    return _mm256_mul_ps(p, _mm256_castsi256_ps(second));
}

// inki_train_hash of eight neighbours, and which of them are kept.
INKI_TEMPLATE __m256 kept_avx2(const inki_attention_drop *drop, uint32_t seed,
                               const uint32_t *steps) {
    __m256i x = _mm256_loadu_si256((const __m256i *)(const void *)steps);
    x = _mm256_add_epi32(x, _mm256_set1_epi32((int)seed));
    x = _mm256_xor_si256(x, _mm256_set1_epi32((int)drop->key_high));
    x = _mm256_xor_si256(x, _mm256_srli_epi32(x, 16));
    x = _mm256_mullo_epi32(x, _mm256_set1_epi32(0x21f0aaad));
    x = _mm256_xor_si256(x, _mm256_srli_epi32(x, 15));
    x = _mm256_mullo_epi32(x, _mm256_set1_epi32(0x735a2d97));
    x = _mm256_xor_si256(x, _mm256_srli_epi32(x, 15));
    const __m256i least = _mm256_set1_epi32((int)drop->threshold);
    return _mm256_castsi256_ps(_mm256_cmpeq_epi32(_mm256_max_epu32(x, least), x));
}
INKI_TEMPLATE __m256 only_avx2(__m256 kept, __m256 v) { return _mm256_and_ps(kept, v); }

// Four neighbours of two rows, four rows apart.
INKI_TEMPLATE __m256 load_lanes_avx2(const float *x, size_t stride) {
    return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(x)),
                                _mm_loadu_ps(x + 4 * stride), 1);
}
// Four neighbours of eight rows become parts of four rows of 64.
INKI_TEMPLATE void turn_avx2(float *to, const float *x, size_t stride) {
    const __m256 a = load_lanes_avx2(x, stride), b = load_lanes_avx2(x + stride, stride);
    const __m256 c = load_lanes_avx2(x + 2 * stride, stride);
    const __m256 d = load_lanes_avx2(x + 3 * stride, stride);
    const __m256d ab = _mm256_castps_pd(_mm256_unpacklo_ps(a, b));
    const __m256d cd = _mm256_castps_pd(_mm256_unpacklo_ps(c, d));
    const __m256d ab2 = _mm256_castps_pd(_mm256_unpackhi_ps(a, b));
    const __m256d cd2 = _mm256_castps_pd(_mm256_unpackhi_ps(c, d));
    _mm256_storeu_ps(to, _mm256_castpd_ps(_mm256_unpacklo_pd(ab, cd)));
    _mm256_storeu_ps(to + ATTENTION_KEYS, _mm256_castpd_ps(_mm256_unpackhi_pd(ab, cd)));
    _mm256_storeu_ps(to + 2 * ATTENTION_KEYS, _mm256_castpd_ps(_mm256_unpacklo_pd(ab2, cd2)));
    _mm256_storeu_ps(to + 3 * ATTENTION_KEYS, _mm256_castpd_ps(_mm256_unpackhi_pd(ab2, cd2)));
}

#include "train/self_attention_body.h"

INKI_TARGET_END

void inki_attention_avx2(inki_attention_fns *fns) {
    *fns = (inki_attention_fns){"avx2", forward_avx2, backward_avx2};
}

#undef LEVEL
#undef VEC
#undef KEPT
#undef WIDTH
#undef WIDE_ROWS
#undef WIDE_VECTORS
#undef PAIR_ROWS
#endif
