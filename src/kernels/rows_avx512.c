// SPDX-License-Identifier: MIT
// Work on rows of floats, activations to bytes, weights to floats. Sums go over sixty-four lanes:
// element k to sum k % 64, folded in halves. One chain of additions would have to wait for each of
// them; a row of 768 has nothing else to do meanwhile.
#include "kernels/levels.h"
#include "kernels/target.h"

#if defined(INKI_HAVE_X86)
#include <immintrin.h>
#include <math.h>
#include <string.h>

INKI_TARGET_BEGIN_AVX512

// The first n lanes; all of them for n >= 16.
static inline __mmask16 first_lanes_avx512(size_t n) {
    return (__mmask16)(n < 16 ? (1u << n) - 1 : 0xffffu);
}
static inline size_t lanes_after_avx512(size_t n, size_t used) { return n > used ? n - used : 0; }

typedef struct row_sums_avx512 {
    __m512 a, b, c, d;
} row_sums_avx512;

static inline float fold_row_avx512(row_sums_avx512 s) {
    const __m512 sixteen = _mm512_add_ps(_mm512_add_ps(s.a, s.c), _mm512_add_ps(s.b, s.d));
    const __m256 eight =
        _mm256_add_ps(_mm512_castps512_ps256(sixteen), _mm512_extractf32x8_ps(sixteen, 1));
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

static inline float sum_row_avx512(const float *x, size_t n) {
    const __m512 zero = _mm512_setzero_ps();
    row_sums_avx512 s = {zero, zero, zero, zero};
    size_t k = 0;
    for (; k + 64 <= n; k += 64) {
        s.a = _mm512_add_ps(s.a, _mm512_loadu_ps(x + k));
        s.b = _mm512_add_ps(s.b, _mm512_loadu_ps(x + k + 16));
        s.c = _mm512_add_ps(s.c, _mm512_loadu_ps(x + k + 32));
        s.d = _mm512_add_ps(s.d, _mm512_loadu_ps(x + k + 48));
    }
    if (k < n) {
        const size_t m = n - k;
        x += k;
        s.a = _mm512_add_ps(s.a, _mm512_maskz_loadu_ps(first_lanes_avx512(m), x));
        s.b = _mm512_add_ps(
            s.b, _mm512_maskz_loadu_ps(first_lanes_avx512(lanes_after_avx512(m, 16)), x + 16));
        s.c = _mm512_add_ps(
            s.c, _mm512_maskz_loadu_ps(first_lanes_avx512(lanes_after_avx512(m, 32)), x + 32));
        s.d = _mm512_add_ps(
            s.d, _mm512_maskz_loadu_ps(first_lanes_avx512(lanes_after_avx512(m, 48)), x + 48));
    }
    return fold_row_avx512(s);
}

static inline __m512 add_square_avx512(__m512 sum, __m512 x, __m512 mean) {
    const __m512 v = _mm512_sub_ps(x, mean);
    return _mm512_fmadd_ps(v, v, sum);
}
// The difference of what is not there must be zero, not -mean.
static inline __m512 add_square_end_avx512(__m512 sum, const float *x, size_t n, __m512 mean) {
    const __mmask16 there = first_lanes_avx512(n);
    const __m512 v = _mm512_maskz_sub_ps(there, _mm512_maskz_loadu_ps(there, x), mean);
    return _mm512_fmadd_ps(v, v, sum);
}

static inline float sum_squares_avx512(const float *x, __m512 mean, size_t n) {
    const __m512 zero = _mm512_setzero_ps();
    row_sums_avx512 s = {zero, zero, zero, zero};
    size_t k = 0;
    for (; k + 64 <= n; k += 64) {
        s.a = add_square_avx512(s.a, _mm512_loadu_ps(x + k), mean);
        s.b = add_square_avx512(s.b, _mm512_loadu_ps(x + k + 16), mean);
        s.c = add_square_avx512(s.c, _mm512_loadu_ps(x + k + 32), mean);
        s.d = add_square_avx512(s.d, _mm512_loadu_ps(x + k + 48), mean);
    }
    if (k < n) {
        const size_t m = n - k;
        s.a = add_square_end_avx512(s.a, x + k, m, mean);
        s.b = add_square_end_avx512(s.b, x + k + 16, lanes_after_avx512(m, 16), mean);
        s.c = add_square_end_avx512(s.c, x + k + 32, lanes_after_avx512(m, 32), mean);
        s.d = add_square_end_avx512(s.d, x + k + 48, lanes_after_avx512(m, 48), mean);
    }
    return fold_row_avx512(s);
}

// Two passes, as in the portable level.
static void layer_norm_avx512(float *out, const float *x, const float *gain, const float *bias,
                              size_t n, float eps) {
    const __m512 mean = _mm512_set1_ps(sum_row_avx512(x, n) / (float)n);
    const float variance = sum_squares_avx512(x, mean, n) / (float)n;
    const __m512 factor = _mm512_set1_ps(1.0f / sqrtf(variance + eps));
    size_t k = 0;
    for (; k + 16 <= n; k += 16) {
        const __m512 z = _mm512_mul_ps(_mm512_sub_ps(_mm512_loadu_ps(x + k), mean), factor);
        _mm512_storeu_ps(out + k,
                         _mm512_fmadd_ps(z, _mm512_loadu_ps(gain + k), _mm512_loadu_ps(bias + k)));
    }
    if (k < n) {
        const __mmask16 there = first_lanes_avx512(n - k);
        const __m512 v = _mm512_maskz_loadu_ps(there, x + k);
        const __m512 z = _mm512_mul_ps(_mm512_sub_ps(v, mean), factor);
        _mm512_mask_storeu_ps(out + k, there,
                              _mm512_fmadd_ps(z, _mm512_maskz_loadu_ps(there, gain + k),
                                              _mm512_maskz_loadu_ps(there, bias + k)));
    }
}

// Without optimisation the rounding intrinsics are macros, which convert where nobody asked for it.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wsign-conversion"
// x / (1 + exp(-2 u)), as in the portable level, but the exponential has the base 2 from the start:
// t = -2 u / ln 2 is an integer n, at once exact, and a rest f of at most 1/2, whose 2^f is a
// polynomial of degree 6 (relative error 4e-9 before rounding). For an infinite t the rest is 0,
// and the scaling takes any n.
static inline __m512 gelu_16_avx512(__m512 x) {
    const __m512 one = _mm512_set1_ps(1.0f), slope = _mm512_set1_ps(-0.102943242f);
    const __m512 t =
        _mm512_mul_ps(x, _mm512_fmadd_ps(_mm512_mul_ps(x, x), slope, _mm512_set1_ps(-2.30220819f)));
    const __m512 n = _mm512_roundscale_ps(t, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const __m512 f = _mm512_reduce_ps(t, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const __m512 f2 = _mm512_mul_ps(f, f);
    __m512 p = _mm512_fmadd_ps(_mm512_set1_ps(1.53243149e-4f), f, _mm512_set1_ps(1.33909588e-3f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(9.61851794e-3f));
    p = _mm512_fmadd_ps(
        p, f2, _mm512_fmadd_ps(_mm512_set1_ps(5.55035956e-2f), f, _mm512_set1_ps(0.240226477f)));
    p = _mm512_fmadd_ps(p, f2, _mm512_fmadd_ps(_mm512_set1_ps(0.693147182f), f, one));
    return _mm512_div_ps(x, _mm512_add_ps(_mm512_scalef_ps(p, n), one));
}
#pragma GCC diagnostic pop

static void gelu_avx512(float *x, size_t n) {
    size_t k = 0;
    for (; k + 16 <= n; k += 16) _mm512_storeu_ps(x + k, gelu_16_avx512(_mm512_loadu_ps(x + k)));
    if (k < n) {
        const __mmask16 there = first_lanes_avx512(n - k);
        const __m512 v = _mm512_maskz_loadu_ps(there, x + k);
        _mm512_mask_storeu_ps(x + k, there, gelu_16_avx512(v));
    }
}

static void add_avx512(float *x, const float *y, float factor, size_t n) {
    const __m512 f = _mm512_set1_ps(factor);
    size_t k = 0;
    for (; k + 16 <= n; k += 16)
        _mm512_storeu_ps(x + k, _mm512_fmadd_ps(f, _mm512_loadu_ps(y + k), _mm512_loadu_ps(x + k)));
    if (k < n) {
        const __mmask16 there = first_lanes_avx512(n - k);
        const __m512 v = _mm512_maskz_loadu_ps(there, x + k);
        _mm512_mask_storeu_ps(x + k, there,
                              _mm512_fmadd_ps(f, _mm512_maskz_loadu_ps(there, y + k), v));
    }
}

static void scale_avx512(float *x, float factor, size_t n) {
    const __m512 f = _mm512_set1_ps(factor);
    size_t k = 0;
    for (; k + 16 <= n; k += 16) _mm512_storeu_ps(x + k, _mm512_mul_ps(_mm512_loadu_ps(x + k), f));
    if (k < n) {
        const __mmask16 there = first_lanes_avx512(n - k);
        const __m512 v = _mm512_maskz_loadu_ps(there, x + k);
        _mm512_mask_storeu_ps(x + k, there, _mm512_mul_ps(v, f));
    }
}

// Shifted left by one, the bits of what is not finite are the largest of all: from 0xff000000 up.
static inline __m512i larger_avx512(__m512i max, __m512i bits) {
    return _mm512_max_epu32(max, _mm512_add_epi32(bits, bits));
}

static int all_finite_avx512(const float *x, size_t n) {
    __m512i a = _mm512_setzero_si512(), b = a, c = a, d = a;
    size_t k = 0;
    for (; k + 64 <= n; k += 64) {
        a = larger_avx512(a, _mm512_loadu_si512(x + k));
        b = larger_avx512(b, _mm512_loadu_si512(x + k + 16));
        c = larger_avx512(c, _mm512_loadu_si512(x + k + 32));
        d = larger_avx512(d, _mm512_loadu_si512(x + k + 48));
    }
    for (; k < n; k += 16)
        a = larger_avx512(a, _mm512_maskz_loadu_epi32(first_lanes_avx512(n - k), x + k));
    const __m512i max = _mm512_max_epu32(_mm512_max_epu32(a, b), _mm512_max_epu32(c, d));
    return _mm512_cmpge_epu32_mask(max, _mm512_set1_epi32((int)0xff000000u)) == 0;
}

// --- activations to bytes ----------------------------------------------------------------------

static inline __m512i magnitudes_avx512(__m512 low, __m512 high) {
    const __m512i mask = _mm512_set1_epi32(0x7fffffff);
    return _mm512_max_epi32(_mm512_and_si512(_mm512_castps_si512(low), mask),
                            _mm512_and_si512(_mm512_castps_si512(high), mask));
}

// The largest of each of a, b, c, d, in this order in each 128 bits.
static inline __m512i largest_of_four_avx512(__m512i a, __m512i b, __m512i c, __m512i d) {
    const __m512i ab = _mm512_max_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    const __m512i cd = _mm512_max_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
    __m512i m = _mm512_max_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
    m = _mm512_max_epi32(m, _mm512_shuffle_i32x4(m, m, 0x4e));
    return _mm512_max_epi32(m, _mm512_shuffle_i32x4(m, m, 0xb1));
}

// x * factor to the nearest integer, ties to even, as an unsigned byte in 32 bits: the bits that
// the portable level takes, also of a NaN.
static inline __m512i round_avx512(__m512 x, __m512 factor) {
    const __m512 shifted = _mm512_add_ps(_mm512_mul_ps(x, factor), _mm512_set1_ps(12582912.0f));
    return _mm512_and_si512(_mm512_castps_si512(shifted), _mm512_set1_epi32(0xff));
}

// The bytes of two blocks in order.
static inline __m512i pack_blocks_avx512(__m512i a, __m512i b, __m512i c, __m512i d) {
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    return _mm512_permutexvar_epi32(
        order, _mm512_packus_epi16(_mm512_packus_epi32(a, b), _mm512_packus_epi32(c, d)));
}

// Sums of sixteen signed bytes: the instruction sums eight unsigned ones.
static inline __m128i sums_of_bytes_avx512(__m512i first, __m512i second) {
    const __m512i flip = _mm512_set1_epi8((char)-128), zero = _mm512_setzero_si512();
    const __m512i s = _mm512_sad_epu8(_mm512_xor_si512(first, flip), zero);
    const __m512i t = _mm512_sad_epu8(_mm512_xor_si512(second, flip), zero);
    const __m512i even = _mm512_setr_epi64(0, 2, 4, 6, 8, 10, 12, 14);
    const __m512i odd = _mm512_setr_epi64(1, 3, 5, 7, 9, 11, 13, 15);
    const __m512i sum = _mm512_add_epi64(_mm512_permutex2var_epi64(s, even, t),
                                         _mm512_permutex2var_epi64(s, odd, t));
    return _mm_sub_epi16(_mm512_cvtepi64_epi16(sum), _mm_set1_epi16(16 * 128));
}

// Up to four blocks at once, whose two divisions are then one each. What is not there counts as
// zero and is not written.
static inline __attribute__((always_inline)) void
quantize_four_avx512(int8_t *q, float *d, int16_t *sum, const float *x, size_t n_blocks) {
    __m512 v[8];
    for (size_t i = 0; i < 8; i++)
        v[i] = _mm512_maskz_loadu_ps((__mmask16)(i / 2 < n_blocks ? 0xffff : 0), x + 16 * i);
    const __m512i largest =
        largest_of_four_avx512(magnitudes_avx512(v[0], v[1]), magnitudes_avx512(v[2], v[3]),
                               magnitudes_avx512(v[4], v[5]), magnitudes_avx512(v[6], v[7]));
    const __m128 max = _mm_castsi128_ps(_mm512_castsi512_si128(largest)),
                 steps = _mm_set1_ps(127.0f);
    // Not less: a NaN keeps its place.
    const __mmask8 counts = _mm_cmp_ps_mask(max, _mm_set1_ps(0x1p-100f), _CMP_NLT_UQ);
    const __m512 f = _mm512_broadcast_f32x4(_mm_maskz_div_ps(counts, steps, max));
    const __m512 f0 = _mm512_permute_ps(f, 0x00), f1 = _mm512_permute_ps(f, 0x55),
                 f2 = _mm512_permute_ps(f, 0xaa), f3 = _mm512_permute_ps(f, 0xff);
    const __m512i first = pack_blocks_avx512(round_avx512(v[0], f0), round_avx512(v[1], f0),
                                             round_avx512(v[2], f1), round_avx512(v[3], f1));
    const __m512i second = pack_blocks_avx512(round_avx512(v[4], f2), round_avx512(v[5], f2),
                                              round_avx512(v[6], f3), round_avx512(v[7], f3));
    const __m128 scales = _mm_maskz_div_ps(counts, max, steps);
    const __m128i sums = sums_of_bytes_avx512(first, second);
    if (n_blocks >= 4) {
        _mm512_storeu_si512(q, first);
        _mm512_storeu_si512(q + 64, second);
        _mm_storeu_ps(d, scales);
        _mm_storeu_si128((__m128i *)(void *)sum, sums);
        return;
    }
    _mm256_storeu_si256((__m256i *)(void *)q, _mm512_castsi512_si256(first));
    if (n_blocks >= 2)
        _mm256_storeu_si256((__m256i *)(void *)(q + 32), _mm512_extracti64x4_epi64(first, 1));
    if (n_blocks >= 3)
        _mm256_storeu_si256((__m256i *)(void *)(q + 64), _mm512_castsi512_si256(second));
    const __mmask8 there = (__mmask8)((1u << n_blocks) - 1);
    _mm_mask_storeu_ps(d, there, scales);
    _mm_mask_storeu_epi16(sum, (__mmask8)((1u << 2 * n_blocks) - 1), sums);
}

static void quantize_act_avx512(void *out, const float *x, size_t n) {
    int8_t *q = (int8_t *)out;
    float *d = (float *)(void *)(q + n);
    int16_t *sum = (int16_t *)(void *)(q + n + n / 8);
    size_t k = 0;
    for (; k + 4 * INKI_Q8_BLOCK <= n; k += 4 * INKI_Q8_BLOCK)
        quantize_four_avx512(q + k, d + k / 32, sum + k / 16, x + k, 4);
    if (k < n) quantize_four_avx512(q + k, d + k / 32, sum + k / 16, x + k, (n - k) / 32);
}

// --- weights to floats -------------------------------------------------------------------------

static void dequantize_f16_avx512(float *out, const void *row, size_t n) {
    const uint16_t *h = (const uint16_t *)row;
    size_t k = 0;
    for (; k + 16 <= n; k += 16)
        _mm512_storeu_ps(
            out + k, _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)(h + k))));
    if (k < n) {
        const __mmask16 there = first_lanes_avx512(n - k);
        _mm512_mask_storeu_ps(out + k, there,
                              _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(there, h + k)));
    }
}

static inline __m512 widen_bf16_rows_avx512(__m256i h) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
}

static void dequantize_bf16_avx512(float *out, const void *row, size_t n) {
    const uint16_t *h = (const uint16_t *)row;
    size_t k = 0;
    for (; k + 16 <= n; k += 16)
        _mm512_storeu_ps(out + k, widen_bf16_rows_avx512(
                                      _mm256_loadu_si256((const __m256i *)(const void *)(h + k))));
    if (k < n) {
        const __mmask16 there = first_lanes_avx512(n - k);
        _mm512_mask_storeu_ps(out + k, there,
                              widen_bf16_rows_avx512(_mm256_maskz_loadu_epi16(there, h + k)));
    }
}

static inline __m512 block_scale_avx512(const uint8_t *block) {
    uint16_t d;
    memcpy(&d, block, sizeof d);
    return _mm512_broadcastss_ps(_mm_cvtph_ps(_mm_cvtsi32_si128(d)));
}
static inline void store_bytes_avx512(float *out, __m512 d, __m128i q) {
    _mm512_storeu_ps(out, _mm512_mul_ps(d, _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(q))));
}

static void dequantize_q8_0_avx512(float *out, const void *row, size_t n) {
    const uint8_t *block = (const uint8_t *)row;
    for (size_t k = 0; k < n; k += 32, block += 34) {
        const __m512 d = block_scale_avx512(block);
        store_bytes_avx512(out + k, d, _mm_loadu_si128((const __m128i *)(const void *)(block + 2)));
        store_bytes_avx512(out + k + 16, d,
                           _mm_loadu_si128((const __m128i *)(const void *)(block + 18)));
    }
}

static void dequantize_q4_0_avx512(float *out, const void *row, size_t n) {
    const __m128i low = _mm_set1_epi8(15), eight = _mm_set1_epi8(8);
    const uint8_t *block = (const uint8_t *)row;
    for (size_t k = 0; k < n; k += 32, block += 18) {
        const __m512 d = block_scale_avx512(block);
        const __m128i q = _mm_loadu_si128((const __m128i *)(const void *)(block + 2));
        store_bytes_avx512(out + k, d, _mm_sub_epi8(_mm_and_si128(q, low), eight));
        store_bytes_avx512(out + k + 16, d,
                           _mm_sub_epi8(_mm_and_si128(_mm_srli_epi16(q, 4), low), eight));
    }
}

INKI_TARGET_END

void inki_rows_avx512(inki_kernels *table) {
    table->layer_norm = layer_norm_avx512;
    table->gelu = gelu_avx512;
    table->add = add_avx512;
    table->scale = scale_avx512;
    table->all_finite = all_finite_avx512;
    table->quantize_act = quantize_act_avx512;
    table->dequantize[INKI_F16] = dequantize_f16_avx512;
    table->dequantize[INKI_BF16] = dequantize_bf16_avx512;
    table->dequantize[INKI_Q8_0] = dequantize_q8_0_avx512;
    table->dequantize[INKI_Q4_0] = dequantize_q4_0_avx512;
}
#endif
