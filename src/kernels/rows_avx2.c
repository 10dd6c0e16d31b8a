// SPDX-License-Identifier: MIT
// Work on rows of floats, activations to bytes, weights to floats. Orders of sums and roundings are
// those of rows_avx512.c: the bytes are the same.
#include "kernels/levels.h"
#include "kernels/target.h"

#include "base/half.h"

#if defined(INKI_HAVE_X86)
#include <immintrin.h>
#include <math.h>
#include <string.h>

INKI_TARGET_BEGIN_AVX2

// Ones in the first n of eight lanes; in all of them for n >= 8.
static inline __m256i first_lanes_avx2(size_t n) {
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n < 8 ? (int)n : 8), lane);
}
static inline size_t lanes_after_avx2(size_t n, size_t used) { return n > used ? n - used : 0; }
static inline __m256i load_bits_avx2(const void *p) {
    return _mm256_loadu_si256((const __m256i *)p);
}
static inline __m128i load_half_bits_avx2(const void *p) {
    return _mm_loadu_si128((const __m128i *)p);
}

// s: the sixty-four sums.
static inline float fold_row_avx2(const __m256 s[8]) {
    const __m256 low = _mm256_add_ps(_mm256_add_ps(s[0], s[4]), _mm256_add_ps(s[2], s[6]));
    const __m256 high = _mm256_add_ps(_mm256_add_ps(s[1], s[5]), _mm256_add_ps(s[3], s[7]));
    const __m256 eight = _mm256_add_ps(low, high);
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

static inline float sum_row_avx2(const float *x, size_t n) {
    __m256 s[8];
    INKI_UNROLL
    for (int j = 0; j < 8; j++) s[j] = _mm256_setzero_ps();
    size_t k = 0;
    for (; k + 64 <= n; k += 64) {
        INKI_UNROLL
        for (int j = 0; j < 8; j++) s[j] = _mm256_add_ps(s[j], _mm256_loadu_ps(x + k + 8 * j));
    }
    if (k < n) {
        INKI_UNROLL
        for (size_t j = 0; j < 8; j++) {
            const __m256i there = first_lanes_avx2(lanes_after_avx2(n - k, 8 * j));
            s[j] = _mm256_add_ps(s[j], _mm256_maskload_ps(x + k + 8 * j, there));
        }
    }
    return fold_row_avx2(s);
}

static inline float sum_squares_avx2(const float *x, __m256 mean, size_t n) {
    __m256 s[8];
    INKI_UNROLL
    for (int j = 0; j < 8; j++) s[j] = _mm256_setzero_ps();
    size_t k = 0;
    for (; k + 64 <= n; k += 64) {
        INKI_UNROLL
        for (int j = 0; j < 8; j++) {
            const __m256 v = _mm256_sub_ps(_mm256_loadu_ps(x + k + 8 * j), mean);
            s[j] = _mm256_fmadd_ps(v, v, s[j]);
        }
    }
    if (k < n) { // the difference of what is not there must be zero, not -mean
        INKI_UNROLL
        for (size_t j = 0; j < 8; j++) {
            const __m256i there = first_lanes_avx2(lanes_after_avx2(n - k, 8 * j));
            const __m256 v =
                _mm256_and_ps(_mm256_castsi256_ps(there),
                              _mm256_sub_ps(_mm256_maskload_ps(x + k + 8 * j, there), mean));
            s[j] = _mm256_fmadd_ps(v, v, s[j]);
        }
    }
    return fold_row_avx2(s);
}

// Two passes, as in the portable level.
static void layer_norm_avx2(float *out, const float *x, const float *gain, const float *bias,
                            size_t n, float eps) {
    const __m256 mean = _mm256_set1_ps(sum_row_avx2(x, n) / (float)n);
    const float variance = sum_squares_avx2(x, mean, n) / (float)n;
    const __m256 factor = _mm256_set1_ps(1.0f / sqrtf(variance + eps));
    size_t k = 0;
    for (; k + 8 <= n; k += 8) {
        const __m256 z = _mm256_mul_ps(_mm256_sub_ps(_mm256_loadu_ps(x + k), mean), factor);
        _mm256_storeu_ps(out + k,
                         _mm256_fmadd_ps(z, _mm256_loadu_ps(gain + k), _mm256_loadu_ps(bias + k)));
    }
    if (k < n) {
        const __m256i there = first_lanes_avx2(n - k);
        const __m256 v = _mm256_maskload_ps(x + k, there);
        const __m256 z = _mm256_mul_ps(_mm256_sub_ps(v, mean), factor);
        _mm256_maskstore_ps(out + k, there,
                            _mm256_fmadd_ps(z, _mm256_maskload_ps(gain + k, there),
                                            _mm256_maskload_ps(bias + k, there)));
    }
}

// As in rows_avx512.c. Without an instruction that scales, p * 2^n is p * 2^(n - 1), whose exponent
// fits for all n from -100 to 128 and is that of infinity for 129, twice. Below 2^-100 nothing is
// left of it beside the 1.
static inline __m256 gelu_8_avx2(__m256 x) {
    const __m256 one = _mm256_set1_ps(1.0f), slope = _mm256_set1_ps(-0.102943242f);
    const __m256 magic =
        _mm256_set1_ps(12582912.0f); // 1.5 * 2^23: the sum is rounded to an integer
    __m256 t =
        _mm256_mul_ps(x, _mm256_fmadd_ps(_mm256_mul_ps(x, x), slope, _mm256_set1_ps(-2.30220819f)));
    t = _mm256_max_ps(_mm256_set1_ps(-100.0f), t); // the second operand if one is a NaN
    t = _mm256_min_ps(_mm256_set1_ps(129.0f), t);
    const __m256 n = _mm256_add_ps(t, magic);
    const __m256 f = _mm256_sub_ps(t, _mm256_sub_ps(n, magic));
    const __m256 f2 = _mm256_mul_ps(f, f);
    __m256 p = _mm256_fmadd_ps(_mm256_set1_ps(1.53243149e-4f), f, _mm256_set1_ps(1.33909588e-3f));
    p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(9.61851794e-3f));
    p = _mm256_fmadd_ps(
        p, f2, _mm256_fmadd_ps(_mm256_set1_ps(5.55035956e-2f), f, _mm256_set1_ps(0.240226477f)));
    p = _mm256_fmadd_ps(p, f2, _mm256_fmadd_ps(_mm256_set1_ps(0.693147182f), f, one));
    const __m256i power =
        _mm256_slli_epi32(_mm256_add_epi32(_mm256_castps_si256(n), _mm256_set1_epi32(126)), 23);
    p = _mm256_mul_ps(p, _mm256_castsi256_ps(power));
    return _mm256_div_ps(x, _mm256_fmadd_ps(p, _mm256_set1_ps(2.0f), one));
}

static void gelu_avx2(float *x, size_t n) {
    size_t k = 0;
    for (; k + 8 <= n; k += 8) _mm256_storeu_ps(x + k, gelu_8_avx2(_mm256_loadu_ps(x + k)));
    if (k < n) {
        const __m256i there = first_lanes_avx2(n - k);
        _mm256_maskstore_ps(x + k, there, gelu_8_avx2(_mm256_maskload_ps(x + k, there)));
    }
}

static void add_avx2(float *x, const float *y, float factor, size_t n) {
    const __m256 f = _mm256_set1_ps(factor);
    size_t k = 0;
    for (; k + 8 <= n; k += 8)
        _mm256_storeu_ps(x + k, _mm256_fmadd_ps(f, _mm256_loadu_ps(y + k), _mm256_loadu_ps(x + k)));
    if (k < n) {
        const __m256i there = first_lanes_avx2(n - k);
        const __m256 v = _mm256_maskload_ps(x + k, there);
        _mm256_maskstore_ps(x + k, there, _mm256_fmadd_ps(f, _mm256_maskload_ps(y + k, there), v));
    }
}

static void scale_avx2(float *x, float factor, size_t n) {
    const __m256 f = _mm256_set1_ps(factor);
    size_t k = 0;
    for (; k + 8 <= n; k += 8) _mm256_storeu_ps(x + k, _mm256_mul_ps(_mm256_loadu_ps(x + k), f));
    if (k < n) {
        const __m256i there = first_lanes_avx2(n - k);
        _mm256_maskstore_ps(x + k, there, _mm256_mul_ps(_mm256_maskload_ps(x + k, there), f));
    }
}

// Shifted left by one, the bits of what is not finite are the largest of all: from 0xff000000 up.
static inline __m256i larger_avx2(__m256i max, __m256i bits) {
    return _mm256_max_epu32(max, _mm256_add_epi32(bits, bits));
}

static int all_finite_avx2(const float *x, size_t n) {
    __m256i a = _mm256_setzero_si256(), b = a, c = a, d = a;
    size_t k = 0;
    for (; k + 32 <= n; k += 32) {
        a = larger_avx2(a, load_bits_avx2(x + k));
        b = larger_avx2(b, load_bits_avx2(x + k + 8));
        c = larger_avx2(c, load_bits_avx2(x + k + 16));
        d = larger_avx2(d, load_bits_avx2(x + k + 24));
    }
    for (; k < n; k += 8)
        a = larger_avx2(a, _mm256_castps_si256(_mm256_maskload_ps(x + k, first_lanes_avx2(n - k))));
    const __m256i max = _mm256_max_epu32(_mm256_max_epu32(a, b), _mm256_max_epu32(c, d));
    const __m256i least = _mm256_set1_epi32((int)0xff000000u);
    return _mm256_movemask_epi8(_mm256_cmpeq_epi32(_mm256_max_epu32(max, least), max)) == 0;
}

// --- activations to bytes ----------------------------------------------------------------------

// The largest magnitudes of a block, lane by lane.
static inline __m256i magnitudes_avx2(const float *x) {
    const __m256i mask = _mm256_set1_epi32(0x7fffffff);
    const __m256i a = _mm256_max_epi32(_mm256_and_si256(load_bits_avx2(x), mask),
                                       _mm256_and_si256(load_bits_avx2(x + 8), mask));
    const __m256i b = _mm256_max_epi32(_mm256_and_si256(load_bits_avx2(x + 16), mask),
                                       _mm256_and_si256(load_bits_avx2(x + 24), mask));
    return _mm256_max_epi32(a, b);
}

// The largest of each of four blocks in order.
static inline __m128 largest_of_four_avx2(const float *x) {
    const __m256i a = magnitudes_avx2(x), b = magnitudes_avx2(x + 32);
    const __m256i c = magnitudes_avx2(x + 64), d = magnitudes_avx2(x + 96);
    const __m256i ab = _mm256_max_epi32(_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
    const __m256i cd = _mm256_max_epi32(_mm256_unpacklo_epi32(c, d), _mm256_unpackhi_epi32(c, d));
    const __m256i m =
        _mm256_max_epi32(_mm256_unpacklo_epi64(ab, cd), _mm256_unpackhi_epi64(ab, cd));
    return _mm_castsi128_ps(
        _mm_max_epi32(_mm256_castsi256_si128(m), _mm256_extracti128_si256(m, 1)));
}

// x * factor to the nearest integer, ties to even, as an unsigned byte in 32 bits: the bits that
// the portable level takes, also of a NaN.
static inline __m256i round_avx2(const float *x, __m256 factor) {
    const __m256 shifted =
        _mm256_add_ps(_mm256_mul_ps(_mm256_loadu_ps(x), factor), _mm256_set1_ps(12582912.0f));
    return _mm256_and_si256(_mm256_castps_si256(shifted), _mm256_set1_epi32(0xff));
}

// Writes the bytes of a block and gives their sums, of eight each and 8 * 128 too large: the
// instruction sums unsigned bytes.
static inline __m256i round_block_avx2(int8_t *q, const float *x, __m256 factor) {
    const __m256i a = _mm256_packus_epi32(round_avx2(x, factor), round_avx2(x + 8, factor));
    const __m256i b = _mm256_packus_epi32(round_avx2(x + 16, factor), round_avx2(x + 24, factor));
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    const __m256i bytes = _mm256_permutevar8x32_epi32(_mm256_packus_epi16(a, b), order);
    _mm256_storeu_si256((__m256i *)(void *)q, bytes);
    return _mm256_sad_epu8(_mm256_xor_si256(bytes, _mm256_set1_epi8((char)-128)),
                           _mm256_setzero_si256());
}

// Sums of eight of two blocks to sums of sixteen: a, b of the lower halves, then of the upper ones.
static inline __m256i sums_of_two_avx2(__m256i a, __m256i b) {
    return _mm256_add_epi64(_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b));
}

// Four blocks at once, whose two divisions are then one each.
static inline void quantize_four_avx2(int8_t *q, float *d, int16_t *sum, const float *x) {
    const __m128 max = largest_of_four_avx2(x), steps = _mm_set1_ps(127.0f);
    // Not less: a NaN keeps its place.
    const __m128 counts = _mm_cmp_ps(max, _mm_set1_ps(0x1p-100f), _CMP_NLT_UQ);
    const __m128 f = _mm_and_ps(counts, _mm_div_ps(steps, max));
    const __m256 factors = _mm256_set_m128(f, f);
    const __m256i a = round_block_avx2(q, x, _mm256_permute_ps(factors, 0x00));
    const __m256i b = round_block_avx2(q + 32, x + 32, _mm256_permute_ps(factors, 0x55));
    const __m256i c = round_block_avx2(q + 64, x + 64, _mm256_permute_ps(factors, 0xaa));
    const __m256i e = round_block_avx2(q + 96, x + 96, _mm256_permute_ps(factors, 0xff));
    _mm_storeu_ps(d, _mm_and_ps(counts, _mm_div_ps(max, steps)));
    // Each sum lies alone in 64 bits: a c b e in each half, one below the other in 16 bits.
    const __m256i all =
        _mm256_or_si256(sums_of_two_avx2(a, b), _mm256_slli_epi64(sums_of_two_avx2(c, e), 32));
    const __m128i pairs = _mm_or_si128(_mm256_castsi256_si128(all),
                                       _mm_slli_epi32(_mm256_extracti128_si256(all, 1), 16));
    _mm_storeu_si128((__m128i *)(void *)sum,
                     _mm_sub_epi16(_mm_shuffle_epi32(pairs, 0xd8), _mm_set1_epi16(16 * 128)));
}

// The last blocks of a row, fewer than four.
static inline void quantize_end_avx2(int8_t *q, float *d, int16_t *sum, const float *x, size_t n) {
    float padded[4 * INKI_Q8_BLOCK] = {0};
    int8_t end_q[4 * INKI_Q8_BLOCK];
    float end_d[4];
    int16_t end_sum[8];
    memcpy(padded, x, n * sizeof *x);
    quantize_four_avx2(end_q, end_d, end_sum, padded);
    memcpy(q, end_q, n);
    memcpy(d, end_d, n / INKI_Q8_BLOCK * sizeof *d);
    memcpy(sum, end_sum, n / 16 * sizeof *sum);
}

static void quantize_act_avx2(void *out, const float *x, size_t n) {
    int8_t *q = (int8_t *)out;
    float *d = (float *)(void *)(q + n);
    int16_t *sum = (int16_t *)(void *)(q + n + n / 8);
    size_t k = 0;
    for (; k + 4 * INKI_Q8_BLOCK <= n; k += 4 * INKI_Q8_BLOCK)
        quantize_four_avx2(q + k, d + k / 32, sum + k / 16, x + k);
    if (k < n) quantize_end_avx2(q + k, d + k / 32, sum + k / 16, x + k, n - k);
}

// --- weights to floats -------------------------------------------------------------------------

static void dequantize_f16_avx2(float *out, const void *row, size_t n) {
    const uint16_t *h = (const uint16_t *)row;
    size_t k = 0;
    for (; k + 8 <= n; k += 8)
        _mm256_storeu_ps(out + k, _mm256_cvtph_ps(load_half_bits_avx2(h + k)));
    for (; k < n; k++) out[k] = inki_f16_to_f32(h[k]);
}

static void dequantize_bf16_avx2(float *out, const void *row, size_t n) {
    const uint16_t *h = (const uint16_t *)row;
    size_t k = 0;
    for (; k + 8 <= n; k += 8) {
        const __m256i wide = _mm256_cvtepu16_epi32(load_half_bits_avx2(h + k));
        _mm256_storeu_ps(out + k, _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16)));
    }
    for (; k < n; k++) out[k] = inki_bf16_to_f32(h[k]);
}

static inline __m256 block_scale_avx2(const uint8_t *block) {
    uint16_t d;
    memcpy(&d, block, sizeof d);
    return _mm256_broadcastss_ps(_mm_cvtph_ps(_mm_cvtsi32_si128(d)));
}
static inline void store_bytes_avx2(float *out, __m256 d, __m128i q) {
    const __m256i low = _mm256_cvtepi8_epi32(q);
    const __m256i high = _mm256_cvtepi8_epi32(_mm_unpackhi_epi64(q, q));
    _mm256_storeu_ps(out, _mm256_mul_ps(d, _mm256_cvtepi32_ps(low)));
    _mm256_storeu_ps(out + 8, _mm256_mul_ps(d, _mm256_cvtepi32_ps(high)));
}

static void dequantize_q8_0_avx2(float *out, const void *row, size_t n) {
    const uint8_t *block = (const uint8_t *)row;
    for (size_t k = 0; k < n; k += 32, block += 34) {
        const __m256 d = block_scale_avx2(block);
        store_bytes_avx2(out + k, d, load_half_bits_avx2(block + 2));
        store_bytes_avx2(out + k + 16, d, load_half_bits_avx2(block + 18));
    }
}

static void dequantize_q4_0_avx2(float *out, const void *row, size_t n) {
    const __m128i low = _mm_set1_epi8(15), eight = _mm_set1_epi8(8);
    const uint8_t *block = (const uint8_t *)row;
    for (size_t k = 0; k < n; k += 32, block += 18) {
        const __m256 d = block_scale_avx2(block);
        const __m128i q = load_half_bits_avx2(block + 2);
        store_bytes_avx2(out + k, d, _mm_sub_epi8(_mm_and_si128(q, low), eight));
        store_bytes_avx2(out + k + 16, d,
                         _mm_sub_epi8(_mm_and_si128(_mm_srli_epi16(q, 4), low), eight));
    }
}

INKI_TARGET_END

void inki_rows_avx2(inki_kernels *table) {
    table->layer_norm = layer_norm_avx2;
    table->gelu = gelu_avx2;
    table->add = add_avx2;
    table->scale = scale_avx2;
    table->all_finite = all_finite_avx2;
    table->quantize_act = quantize_act_avx2;
    table->dequantize[INKI_F16] = dequantize_f16_avx2;
    table->dequantize[INKI_BF16] = dequantize_bf16_avx2;
    table->dequantize[INKI_Q8_0] = dequantize_q8_0_avx2;
    table->dequantize[INKI_Q4_0] = dequantize_q4_0_avx2;
}
#endif
