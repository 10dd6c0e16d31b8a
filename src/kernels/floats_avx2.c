// SPDX-License-Identifier: MIT
// Products of float weights, in the orders of floats_avx512.c: the bytes are the same. The sixteen
// sums of an output are two registers, the lower half and the upper half. Beyond one activation row
// a chunk is gone through once for each half, so that a tile of four by three outputs needs no more
// than the sixteen registers.
#include "kernels/levels.h"
#include "kernels/target.h"

#if defined(INKI_HAVE_X86)
#include <immintrin.h>
#include <string.h>

INKI_TARGET_BEGIN_AVX2
#define INLINE_AVX2 static inline __attribute__((always_inline))

enum {
    FLOATS_ROWS_AVX2 = 4,
    FLOATS_TILE_AVX2 = 3,
    FLOATS_CHUNK_AVX2 = 512,  // columns: 8 KB of widened weights
    FLOATS_BATCH_AVX2 = 48,   // activation rows whose sums wait: 12 KB
    FLOATS_AHEAD_AVX2 = 2048, // bytes that are asked for before they are needed
};

// Eight weights as floats; in the second form only the first n are read, the others are 0.
typedef __m256 (*load_avx2)(const uint8_t *w);
typedef __m256 (*load_end_avx2)(const uint8_t *w, size_t n);

INLINE_AVX2 __m256i end_lanes_avx2(size_t n) {
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), lane);
}
INLINE_AVX2 __m128i end_halves_avx2(const uint8_t *w, size_t n) {
    uint16_t end[8] = {0}; // there is no load of 16-bit lanes under a mask
    memcpy(end, w, n * sizeof *end);
    return _mm_loadu_si128((const __m128i *)(const void *)end);
}
INLINE_AVX2 __m256 load_f32_avx2(const uint8_t *w) {
    return _mm256_loadu_ps((const float *)(const void *)w);
}
INLINE_AVX2 __m256 load_end_f32_avx2(const uint8_t *w, size_t n) {
    return _mm256_maskload_ps((const float *)(const void *)w, end_lanes_avx2(n));
}
INLINE_AVX2 __m256 load_f16_avx2(const uint8_t *w) {
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)w));
}
INLINE_AVX2 __m256 load_end_f16_avx2(const uint8_t *w, size_t n) {
    return _mm256_cvtph_ps(end_halves_avx2(w, n));
}
INLINE_AVX2 __m256 widen_bf16_avx2(__m128i w) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(w), 16));
}
INLINE_AVX2 __m256 load_bf16_avx2(const uint8_t *w) {
    return widen_bf16_avx2(_mm_loadu_si128((const __m128i *)(const void *)w));
}
INLINE_AVX2 __m256 load_end_bf16_avx2(const uint8_t *w, size_t n) {
    return widen_bf16_avx2(end_halves_avx2(w, n));
}

// Of n elements that are left, those in the lower and in the upper half of sixteen.
INLINE_AVX2 size_t in_half_avx2(size_t n, size_t half) {
    const size_t m = n > 8 * half ? n - 8 * half : 0;
    return m < 8 ? m : 8;
}
INLINE_AVX2 void ask_avx2(const uint8_t *w) {
    _mm_prefetch((const char *)w + FLOATS_AHEAD_AVX2, _MM_HINT_T0);
}

// Four weight rows: where they are, and where among the outputs. At the end of a matrix there may
// be fewer; then the last one stands for those that are missing.
typedef struct rows_avx2 {
    const uint8_t *w[FLOATS_ROWS_AVX2];
    size_t at[FLOATS_ROWS_AVX2];
    __m128 bias;
} rows_avx2;

INLINE_AVX2 rows_avx2 rows_of_avx2(const uint8_t *w, size_t row_bytes, const float *bias,
                                   size_t first, size_t apart, size_t n) {
    rows_avx2 rows = {.bias = _mm_setzero_ps()};
    INKI_UNROLL
    for (size_t i = 0; i < FLOATS_ROWS_AVX2; i++) {
        rows.at[i] = first + (i < n ? i : n - 1) * apart;
        rows.w[i] = w + rows.at[i] * row_bytes;
    }
    if (bias != NULL)
        rows.bias =
            _mm_setr_ps(bias[rows.at[0]], bias[rows.at[1]], bias[rows.at[2]], bias[rows.at[3]]);
    return rows;
}

// Folds the sums of four rows, each in two halves: lane + 8, + 4, + 2, + 1. Writes the outputs.
INLINE_AVX2 void store_rows_avx2(float *out, const rows_avx2 *rows, bool has_bias,
                                 const __m256 s[2 * FLOATS_ROWS_AVX2]) {
    const __m256 a = _mm256_add_ps(s[0], s[1]), b = _mm256_add_ps(s[2], s[3]);
    const __m256 c = _mm256_add_ps(s[4], s[5]), d = _mm256_add_ps(s[6], s[7]);
    const __m256 ab =
        _mm256_add_ps(_mm256_permute2f128_ps(a, b, 0x20), _mm256_permute2f128_ps(a, b, 0x31));
    const __m256 cd =
        _mm256_add_ps(_mm256_permute2f128_ps(c, d, 0x20), _mm256_permute2f128_ps(c, d, 0x31));
    const __m256 two =
        _mm256_add_ps(_mm256_shuffle_ps(ab, cd, 0x44), _mm256_shuffle_ps(ab, cd, 0xee));
    const __m256 one =
        _mm256_add_ps(_mm256_shuffle_ps(two, two, 0x88), _mm256_shuffle_ps(two, two, 0xdd));
    __m128 total = _mm_unpacklo_ps(_mm256_castps256_ps128(one), _mm256_extractf128_ps(one, 1));
    if (has_bias) total = _mm_add_ps(total, rows->bias);
    _mm_store_ss(out + rows->at[0], total); // rows that stand for others hold the same number
    _mm_store_ss(out + rows->at[1], _mm_permute_ps(total, 1));
    _mm_store_ss(out + rows->at[2], _mm_permute_ps(total, 2));
    _mm_store_ss(out + rows->at[3], _mm_permute_ps(total, 3));
}

// --- one activation row ------------------------------------------------------------------------

INLINE_AVX2 void decode_avx2(float *out, const rows_avx2 *rows, bool has_bias, size_t elem_bytes,
                             const float *x, size_t n_cols, load_avx2 load,
                             load_end_avx2 load_end) {
    __m256 s[2 * FLOATS_ROWS_AVX2];
    INKI_UNROLL
    for (size_t i = 0; i < 2 * FLOATS_ROWS_AVX2; i++) s[i] = _mm256_setzero_ps();
    size_t k = 0;
    for (; k + 16 <= n_cols; k += 16) {
        const __m256 v = _mm256_loadu_ps(x + k), u = _mm256_loadu_ps(x + k + 8);
        INKI_UNROLL
        for (size_t i = 0; i < FLOATS_ROWS_AVX2; i++) {
            const uint8_t *w = rows->w[i] + k * elem_bytes;
            ask_avx2(w);
            s[2 * i] = _mm256_fmadd_ps(load(w), v, s[2 * i]);
            s[2 * i + 1] = _mm256_fmadd_ps(load(w + 8 * elem_bytes), u, s[2 * i + 1]);
        }
    }
    for (size_t half = 0; half < 2 && k < n_cols; half++) {
        const size_t n = in_half_avx2(n_cols - k, half);
        const __m256 v = _mm256_maskload_ps(x + k + 8 * half, end_lanes_avx2(n));
        for (size_t i = 0; i < FLOATS_ROWS_AVX2; i++) {
            const uint8_t *w = rows->w[i] + (k + 8 * half) * elem_bytes;
            s[2 * i + half] = _mm256_fmadd_ps(load_end(w, n), v, s[2 * i + half]);
        }
    }
    store_rows_avx2(out, rows, has_bias, s);
}

// --- more activation rows ----------------------------------------------------------------------

// One half of the sums of four rows of a chunk times n_batch activation rows; v, x and sums begin
// at that half. ahead: what is needed after this chunk, elem_bytes a column.
INLINE_AVX2 void tile_avx2(__m256 *sums, const float *const v[FLOATS_ROWS_AVX2],
                           const uint8_t *const ahead[FLOATS_ROWS_AVX2], size_t elem_bytes,
                           const uint8_t *x, size_t act_stride, size_t n, size_t half,
                           size_t n_batch) {
    __m256 s[FLOATS_TILE_AVX2][FLOATS_ROWS_AVX2], u[FLOATS_TILE_AVX2];
    INKI_UNROLL
    for (size_t b = 0; b < n_batch; b++) {
        INKI_UNROLL
        for (size_t i = 0; i < FLOATS_ROWS_AVX2; i++)
            s[b][i] = sums[2 * (b * FLOATS_ROWS_AVX2 + i) + half];
    }
    size_t k = 0;
    for (; k + 16 <= n; k += 16) {
        INKI_UNROLL
        for (size_t b = 0; b < n_batch; b++)
            u[b] = load_f32_avx2(x + b * act_stride + (k + 8 * half) * sizeof(float));
        INKI_UNROLL
        for (size_t i = 0; i < FLOATS_ROWS_AVX2; i++) {
            const __m256 w = _mm256_loadu_ps(v[i] + k + 8 * half);
            if (half == 0) _mm_prefetch((const char *)ahead[i] + k * elem_bytes, _MM_HINT_T0);
            INKI_UNROLL
            for (size_t b = 0; b < n_batch; b++) s[b][i] = _mm256_fmadd_ps(w, u[b], s[b][i]);
        }
    }
    const size_t rest = in_half_avx2(n - k, half);
    if (rest > 0) {
        const __m256i there = end_lanes_avx2(rest);
        INKI_UNROLL
        for (size_t b = 0; b < n_batch; b++)
            u[b] = load_end_f32_avx2(x + b * act_stride + (k + 8 * half) * sizeof(float), rest);
        INKI_UNROLL
        for (size_t i = 0; i < FLOATS_ROWS_AVX2; i++) {
            const __m256 w = _mm256_maskload_ps(v[i] + k + 8 * half, there);
            INKI_UNROLL
            for (size_t b = 0; b < n_batch; b++) s[b][i] = _mm256_fmadd_ps(w, u[b], s[b][i]);
        }
    }
    INKI_UNROLL
    for (size_t b = 0; b < n_batch; b++) {
        INKI_UNROLL
        for (size_t i = 0; i < FLOATS_ROWS_AVX2; i++)
            sums[2 * (b * FLOATS_ROWS_AVX2 + i) + half] = s[b][i];
    }
}

#define TILE_AVX2(n_batch)                                                                         \
    static void tile_##n_batch##_avx2(__m256 *sums, const float *const v[FLOATS_ROWS_AVX2],        \
                                      const uint8_t *const ahead[FLOATS_ROWS_AVX2],                \
                                      size_t elem_bytes, const uint8_t *x, size_t act_stride,      \
                                      size_t n) {                                                  \
        tile_avx2(sums, v, ahead, elem_bytes, x, act_stride, n, 0, n_batch);                       \
        tile_avx2(sums, v, ahead, elem_bytes, x, act_stride, n, 1, n_batch);                       \
    }
TILE_AVX2(1)
TILE_AVX2(2)
TILE_AVX2(3)
#undef TILE_AVX2

// Tiles of the whole batch over one chunk of n columns.
static void chunk_avx2(__m256 *sums, const float *const v[FLOATS_ROWS_AVX2],
                       const uint8_t *const ahead[FLOATS_ROWS_AVX2], size_t elem_bytes,
                       const uint8_t *x, size_t act_stride, size_t n, size_t n_batch) {
    for (size_t b = 0; b < n_batch;) {
        const size_t left = n_batch - b, m = left > 4 || left == 3 ? 3 : left > 1 ? 2 : 1;
        (m == 3   ? tile_3_avx2
         : m == 2 ? tile_2_avx2
                  : tile_1_avx2)(sums + 2 * b * FLOATS_ROWS_AVX2, v, ahead, elem_bytes,
                                 x + b * act_stride, act_stride, n);
        b += m;
    }
}

INLINE_AVX2 void batch_avx2(float *out, size_t out_stride, const rows_avx2 *rows, bool has_bias,
                            size_t elem_bytes, const uint8_t *x, size_t act_stride, size_t n_cols,
                            size_t n_batch, load_avx2 load, load_end_avx2 load_end) {
    __m256 sums[FLOATS_BATCH_AVX2 * FLOATS_ROWS_AVX2 * 2];
    _Alignas(32) float wide[FLOATS_ROWS_AVX2][FLOATS_CHUNK_AVX2];
    for (size_t i = 0; i < n_batch * FLOATS_ROWS_AVX2 * 2; i++) sums[i] = _mm256_setzero_ps();
    for (size_t c = 0; c < n_cols; c += FLOATS_CHUNK_AVX2) {
        const size_t n = n_cols - c < FLOATS_CHUNK_AVX2 ? n_cols - c : FLOATS_CHUNK_AVX2;
        const float *v[FLOATS_ROWS_AVX2];
        const uint8_t *ahead[FLOATS_ROWS_AVX2];
        for (size_t i = 0; i < FLOATS_ROWS_AVX2; i++) {
            const uint8_t *w = rows->w[i] + c * elem_bytes;
            ahead[i] = w + n * elem_bytes;
            v[i] = elem_bytes == 4 ? (const float *)(const void *)w : wide[i];
            if (elem_bytes == 4) continue;
            size_t k = 0;
            for (; k + 8 <= n; k += 8) _mm256_store_ps(wide[i] + k, load(w + k * elem_bytes));
            if (k < n) _mm256_store_ps(wide[i] + k, load_end(w + k * elem_bytes, n - k));
        }
        chunk_avx2(sums, v, ahead, elem_bytes, x + c * sizeof(float), act_stride, n, n_batch);
    }
    for (size_t b = 0; b < n_batch; b++)
        store_rows_avx2(out + b * out_stride, rows, has_bias, sums + 2 * b * FLOATS_ROWS_AVX2);
}

// --- slots -------------------------------------------------------------------------------------

// n_batch <= FLOATS_BATCH_AVX2.
INLINE_AVX2 void matmul_avx2(float *out, size_t out_stride, const uint8_t *w, size_t row_bytes,
                             size_t elem_bytes, const uint8_t *x, size_t act_stride,
                             const float *bias, size_t n_rows, size_t n_cols, size_t n_batch,
                             load_avx2 load, load_end_avx2 load_end) {
    const size_t quarter = n_rows / FLOATS_ROWS_AVX2, rest = n_rows % FLOATS_ROWS_AVX2;
    for (size_t r = 0; r < quarter + (rest > 0); r++) {
        const rows_avx2 rows =
            r < quarter ? rows_of_avx2(w, row_bytes, bias, r, quarter, FLOATS_ROWS_AVX2)
                        : rows_of_avx2(w, row_bytes, bias, FLOATS_ROWS_AVX2 * quarter, 1, rest);
        if (n_batch == 1)
            decode_avx2(out, &rows, bias != NULL, elem_bytes, (const float *)(const void *)x,
                        n_cols, load, load_end);
        else
            batch_avx2(out, out_stride, &rows, bias != NULL, elem_bytes, x, act_stride, n_cols,
                       n_batch, load, load_end);
    }
}

#define MATMUL_SLOT_AVX2(type, elem_bytes)                                                         \
    static void matmul_##type##_avx2(                                                              \
        float *out, size_t out_stride, const void *weights, size_t row_bytes, const void *acts,    \
        size_t act_stride, const float *bias, size_t n_rows, size_t n_cols, size_t n_batch) {      \
        for (size_t b = 0; b < n_batch; b += FLOATS_BATCH_AVX2)                                    \
            matmul_avx2(out + b * out_stride, out_stride, (const uint8_t *)weights, row_bytes,     \
                        elem_bytes, (const uint8_t *)acts + b * act_stride, act_stride, bias,      \
                        n_rows, n_cols,                                                            \
                        n_batch - b < FLOATS_BATCH_AVX2 ? n_batch - b : FLOATS_BATCH_AVX2,         \
                        load_##type##_avx2, load_end_##type##_avx2);                               \
    }
MATMUL_SLOT_AVX2(f32, 4)
MATMUL_SLOT_AVX2(f16, 2)
MATMUL_SLOT_AVX2(bf16, 2)
#undef MATMUL_SLOT_AVX2
#undef INLINE_AVX2
INKI_TARGET_END

void inki_floats_avx2(inki_kernels *table) {
    table->matmul[INKI_F32] = matmul_f32_avx2;
    table->matmul[INKI_F16] = matmul_f16_avx2;
    table->matmul[INKI_BF16] = matmul_bf16_avx2;
}
#endif
