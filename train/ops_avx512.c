// SPDX-License-Identifier: MIT
#include "train/ops_levels.h"

#include "kernels/target.h"

#if defined(INKI_HAVE_X86)
#include <immintrin.h>

INKI_TARGET_BEGIN_AVX512

#define OPS(name) name##_avx512
#define OPS_LEVEL "avx512"
enum { OPS_W = 16, OPS_WIDE = 8 };
typedef __m512 lanes;
typedef uint32_t lane_bits __attribute__((vector_size(64)));
typedef __m512d wide_lanes;

INKI_TEMPLATE __mmask16 first_lanes(size_t n) { return (__mmask16)((1u << n) - 1); }
INKI_TEMPLATE lanes splat(float f) { return _mm512_set1_ps(f); }
INKI_TEMPLATE lanes load_all(const float *p) { return _mm512_loadu_ps(p); }
INKI_TEMPLATE lanes load_some(const float *p, size_t n, lanes rest) {
    return _mm512_mask_loadu_ps(rest, first_lanes(n), p);
}
INKI_TEMPLATE void store_all(float *p, lanes v) { _mm512_storeu_ps(p, v); }
INKI_TEMPLATE void store_some(float *p, lanes v, size_t n) {
    _mm512_mask_storeu_ps(p, first_lanes(n), v);
}
INKI_TEMPLATE lanes muladd(lanes a, lanes b, lanes c) { return _mm512_fmadd_ps(a, b, c); }
INKI_TEMPLATE lanes max_of(lanes a, lanes b) { return _mm512_max_ps(a, b); }
INKI_TEMPLATE lanes min_of(lanes a, lanes b) { return _mm512_min_ps(a, b); }
INKI_TEMPLATE lanes root(lanes v) { return _mm512_sqrt_ps(v); }
INKI_TEMPLATE lanes times_power(lanes p, lanes shifted, lanes n) {
    (void)shifted;
    return _mm512_scalef_ps(p, n);
}
INKI_TEMPLATE lanes zero_below(lanes v, lane_bits random, uint32_t limit) {
    const __m512i limits = _mm512_set1_epi32((int)limit);
    return _mm512_maskz_mov_ps(_mm512_cmpge_epu32_mask((__m512i)random, limits), v);
}
INKI_TEMPLATE lane_bits splat_bits(uint32_t u) { return (lane_bits)_mm512_set1_epi32((int)u); }
INKI_TEMPLATE lane_bits lane_numbers(void) {
    return (lane_bits){0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
}
INKI_TEMPLATE __m128 halves(__m256 v) {
    return _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
}
INKI_TEMPLATE float fold_sum(lanes v) {
    const __m128 four =
        halves(_mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1)));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
INKI_TEMPLATE float fold_max(lanes v) { return _mm512_reduce_max_ps(v); }
INKI_TEMPLATE wide_lanes wide_zero(void) { return _mm512_setzero_pd(); }
INKI_TEMPLATE wide_lanes wide_load(const float *p) { return _mm512_cvtps_pd(_mm256_loadu_ps(p)); }
INKI_TEMPLATE wide_lanes wide_muladd(wide_lanes a, wide_lanes b, wide_lanes c) {
    return _mm512_fmadd_pd(a, b, c);
}
INKI_TEMPLATE double wide_fold(wide_lanes v) {
    double d[OPS_WIDE];
    _mm512_storeu_pd(d, v);
    return ((d[0] + d[4]) + (d[2] + d[6])) + ((d[1] + d[5]) + (d[3] + d[7]));
}

#include "train/ops_body.h"

#undef OPS
#undef OPS_LEVEL

INKI_TARGET_END
#endif
