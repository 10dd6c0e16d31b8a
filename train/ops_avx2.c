// SPDX-License-Identifier: MIT
#include "train/ops_levels.h"

#include "kernels/target.h"

#if defined(INKI_HAVE_X86)
#include <immintrin.h>

INKI_TARGET_BEGIN_AVX2

#define OPS(name) name##_avx2
#define OPS_LEVEL "avx2"
enum { OPS_W = 8, OPS_WIDE = 4 };
typedef __m256 lanes;
typedef uint32_t lane_bits __attribute__((vector_size(32)));
typedef __m256d wide_lanes;

INKI_TEMPLATE __m256i first_lanes(size_t n) {
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), lane);
}
INKI_TEMPLATE lanes splat(float f) { return _mm256_set1_ps(f); }
INKI_TEMPLATE lanes load_all(const float *p) { return _mm256_loadu_ps(p); }
INKI_TEMPLATE lanes load_some(const float *p, size_t n, lanes rest) {
    const __m256i there = first_lanes(n);
    return _mm256_blendv_ps(rest, _mm256_maskload_ps(p, there), _mm256_castsi256_ps(there));
}
INKI_TEMPLATE void store_all(float *p, lanes v) { _mm256_storeu_ps(p, v); }
INKI_TEMPLATE void store_some(float *p, lanes v, size_t n) {
    _mm256_maskstore_ps(p, first_lanes(n), v);
}
INKI_TEMPLATE lanes muladd(lanes a, lanes b, lanes c) { return _mm256_fmadd_ps(a, b, c); }
INKI_TEMPLATE lanes max_of(lanes a, lanes b) { return _mm256_max_ps(a, b); }
INKI_TEMPLATE lanes min_of(lanes a, lanes b) { return _mm256_min_ps(a, b); }
INKI_TEMPLATE lanes root(lanes v) { return _mm256_sqrt_ps(v); }
INKI_TEMPLATE lane_bits splat_bits(uint32_t u) { return (lane_bits)_mm256_set1_epi32((int)u); }
INKI_TEMPLATE lanes times_power(lanes p, lanes shifted, lanes n) {
    (void)n;
    const lane_bits i = (lane_bits)shifted - splat_bits(0x4b400000u); // n, as two's complement
    const lane_bits half = ((i + splat_bits(512u)) >> 1) - splat_bits(256u); // floor(n / 2)
    const lanes first = (lanes)((half + splat_bits(127u)) << 23);
    return p * first * (lanes)((i - half + splat_bits(127u)) << 23);
}
INKI_TEMPLATE lanes zero_below(lanes v, lane_bits random, uint32_t limit) {
    return (lanes)((lane_bits)v & (lane_bits)(random >= splat_bits(limit)));
}
INKI_TEMPLATE lane_bits lane_numbers(void) { return (lane_bits){0, 1, 2, 3, 4, 5, 6, 7}; }
INKI_TEMPLATE __m128 fold_half(__m128 v) { return _mm_add_ps(v, _mm_movehl_ps(v, v)); }
INKI_TEMPLATE float fold_sum(lanes v) {
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    const __m128 two = fold_half(four);
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
INKI_TEMPLATE float fold_max(lanes v) {
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}
INKI_TEMPLATE wide_lanes wide_zero(void) { return _mm256_setzero_pd(); }
INKI_TEMPLATE wide_lanes wide_load(const float *p) { return _mm256_cvtps_pd(_mm_loadu_ps(p)); }
INKI_TEMPLATE wide_lanes wide_muladd(wide_lanes a, wide_lanes b, wide_lanes c) {
    return _mm256_fmadd_pd(a, b, c);
}
INKI_TEMPLATE double wide_fold(wide_lanes v) {
    double d[OPS_WIDE];
    _mm256_storeu_pd(d, v);
    return (d[0] + d[2]) + (d[1] + d[3]);
}

#include "train/ops_body.h"

#undef OPS
#undef OPS_LEVEL

INKI_TARGET_END
#endif
