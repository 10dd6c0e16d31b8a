// SPDX-License-Identifier: MIT
// Products of float weights. An output has sixteen sums, the lanes of a vector: element k of a row
// goes to sum k % 16 by a fused multiply-add; the end of a row is filled up with zeros; the sums
// are folded in halves.
//
// Four weight rows are at work at once, each in a quarter of its own of the matrix: memory gives
// more to four long streams than to one, and least of all to rows side by side, in whose pages its
// prefetchers lose themselves.
//
// One activation row: weights come straight from memory, whose speed is the limit. More of them:
// a chunk of the four rows is widened once and meets tiles of up to six activation rows, whose sums
// wait in memory between chunks; that changes no order.
#include "kernels/levels.h"
#include "kernels/target.h"

#if defined(INKI_HAVE_X86)
#include <immintrin.h>

INKI_TARGET_BEGIN_AVX512
#define INLINE_AVX512 static inline __attribute__((always_inline))

enum {
    FLOATS_ROWS_AVX512 = 4,
    FLOATS_TILE_AVX512 = 6,
    FLOATS_CHUNK_AVX512 = 512,  // columns: 8 KB of widened weights
    FLOATS_BATCH_AVX512 = 48,   // activation rows whose sums wait: 12 KB
    FLOATS_AHEAD_AVX512 = 2048, // bytes that are asked for before they are needed
};

// Sixteen weights as floats; in the second form only those of the mask are read, the others are 0.
typedef __m512 (*load_avx512)(const uint8_t *w);
typedef __m512 (*load_end_avx512)(__mmask16 there, const uint8_t *w);

INLINE_AVX512 __m512 load_f32_avx512(const uint8_t *w) { return _mm512_loadu_ps(w); }
INLINE_AVX512 __m512 load_end_f32_avx512(__mmask16 there, const uint8_t *w) {
    return _mm512_maskz_loadu_ps(there, w);
}
INLINE_AVX512 __m512 load_f16_avx512(const uint8_t *w) {
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)w));
}
INLINE_AVX512 __m512 load_end_f16_avx512(__mmask16 there, const uint8_t *w) {
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(there, w));
}
INLINE_AVX512 __m512 widen_bf16_avx512(__m256i w) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(w), 16));
}
INLINE_AVX512 __m512 load_bf16_avx512(const uint8_t *w) {
    return widen_bf16_avx512(_mm256_loadu_si256((const __m256i *)(const void *)w));
}
INLINE_AVX512 __m512 load_end_bf16_avx512(__mmask16 there, const uint8_t *w) {
    return widen_bf16_avx512(_mm256_maskz_loadu_epi16(there, w));
}

// The first n < 16 lanes.
INLINE_AVX512 __mmask16 end_lanes_avx512(size_t n) { return (__mmask16)((1u << n) - 1); }
INLINE_AVX512 void ask_avx512(const uint8_t *w) {
    _mm_prefetch((const char *)w + FLOATS_AHEAD_AVX512, _MM_HINT_T0);
}

// Four weight rows: where they are, and where among the outputs. At the end of a matrix there may
// be fewer; then the last one stands for those that are missing.
typedef struct rows_avx512 {
    const uint8_t *w[FLOATS_ROWS_AVX512];
    size_t at[FLOATS_ROWS_AVX512];
    size_t n;
    __m128 bias;
} rows_avx512;

INLINE_AVX512 rows_avx512 rows_of_avx512(const uint8_t *w, size_t row_bytes, const float *bias,
                                         size_t first, size_t apart, size_t n) {
    rows_avx512 rows = {.n = n, .bias = _mm_setzero_ps()};
    INKI_UNROLL
    for (size_t i = 0; i < FLOATS_ROWS_AVX512; i++) {
        rows.at[i] = first + (i < n ? i : n - 1) * apart;
        rows.w[i] = w + rows.at[i] * row_bytes;
    }
    if (bias != NULL)
        rows.bias =
            _mm_setr_ps(bias[rows.at[0]], bias[rows.at[1]], bias[rows.at[2]], bias[rows.at[3]]);
    return rows;
}

// Folds the sums of four rows, lane + 8, + 4, + 2, + 1, and writes the outputs.
INLINE_AVX512 void store_rows_avx512(float *out, const rows_avx512 *rows, bool has_bias, __m512 a,
                                     __m512 b, __m512 c, __m512 d) {
    const __m512 ab =
        _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xee));
    const __m512 cd =
        _mm512_add_ps(_mm512_shuffle_f32x4(c, d, 0x44), _mm512_shuffle_f32x4(c, d, 0xee));
    __m512 s =
        _mm512_add_ps(_mm512_shuffle_f32x4(ab, cd, 0x88), _mm512_shuffle_f32x4(ab, cd, 0xdd));
    s = _mm512_add_ps(s, _mm512_permute_ps(s, 0x4e));
    s = _mm512_add_ps(s, _mm512_permute_ps(s, 0xb1));
    const __m512i first = _mm512_castsi128_si512(_mm_setr_epi32(0, 4, 8, 12));
    __m128 total = _mm512_castps512_ps128(_mm512_permutexvar_ps(first, s));
    if (has_bias) total = _mm_add_ps(total, rows->bias);
    _mm_store_ss(out + rows->at[0], total); // rows that stand for others hold the same number
    _mm_store_ss(out + rows->at[1], _mm_permute_ps(total, 1));
    _mm_store_ss(out + rows->at[2], _mm_permute_ps(total, 2));
    _mm_store_ss(out + rows->at[3], _mm_permute_ps(total, 3));
}

// --- one activation row ------------------------------------------------------------------------

INLINE_AVX512 void decode_avx512(float *out, const rows_avx512 *rows, bool has_bias,
                                 size_t elem_bytes, const float *x, size_t n_cols, load_avx512 load,
                                 load_end_avx512 load_end) {
    __m512 s[FLOATS_ROWS_AVX512];
    INKI_UNROLL
    for (size_t i = 0; i < FLOATS_ROWS_AVX512; i++) s[i] = _mm512_setzero_ps();
    size_t k = 0;
    for (; k + 32 <= n_cols; k += 32) {
        const __m512 v = _mm512_loadu_ps(x + k), u = _mm512_loadu_ps(x + k + 16);
        INKI_UNROLL
        for (size_t i = 0; i < FLOATS_ROWS_AVX512; i++) {
            const uint8_t *w = rows->w[i] + k * elem_bytes;
            ask_avx512(w);
            if (elem_bytes == 4) ask_avx512(w + 64);
            s[i] = _mm512_fmadd_ps(load(w), v, s[i]);
            s[i] = _mm512_fmadd_ps(load(w + 16 * elem_bytes), u, s[i]);
        }
    }
    for (; k < n_cols; k += 16) {
        const __mmask16 there = n_cols - k < 16 ? end_lanes_avx512(n_cols - k) : 0xffff;
        const __m512 v = _mm512_maskz_loadu_ps(there, x + k);
        INKI_UNROLL
        for (size_t i = 0; i < FLOATS_ROWS_AVX512; i++)
            s[i] = _mm512_fmadd_ps(load_end(there, rows->w[i] + k * elem_bytes), v, s[i]);
    }
    store_rows_avx512(out, rows, has_bias, s[0], s[1], s[2], s[3]);
}

// --- more activation rows ----------------------------------------------------------------------

// Four rows of a chunk times n_batch activation rows. sums: those of the four rows for each.
// ahead: what is needed after this chunk, elem_bytes a column.
INLINE_AVX512 void tile_avx512(__m512 *sums, const float *const v[FLOATS_ROWS_AVX512],
                               const uint8_t *const ahead[FLOATS_ROWS_AVX512], size_t elem_bytes,
                               const uint8_t *x, size_t act_stride, size_t n, size_t n_batch) {
    __m512 s[FLOATS_TILE_AVX512][FLOATS_ROWS_AVX512], w[FLOATS_ROWS_AVX512];
    INKI_UNROLL
    for (size_t b = 0; b < n_batch; b++) INKI_UNROLL
    for (size_t i = 0; i < FLOATS_ROWS_AVX512; i++) s[b][i] = sums[b * FLOATS_ROWS_AVX512 + i];
    size_t k = 0;
    for (; k + 16 <= n; k += 16) {
        INKI_UNROLL
        for (size_t i = 0; i < FLOATS_ROWS_AVX512; i++) {
            w[i] = _mm512_loadu_ps(v[i] + k);
            _mm_prefetch((const char *)ahead[i] + k * elem_bytes, _MM_HINT_T0);
        }
        INKI_UNROLL
        for (size_t b = 0; b < n_batch; b++) {
            const __m512 u = _mm512_loadu_ps(x + b * act_stride + k * sizeof(float));
            INKI_UNROLL
            for (size_t i = 0; i < FLOATS_ROWS_AVX512; i++)
                s[b][i] = _mm512_fmadd_ps(w[i], u, s[b][i]);
        }
    }
    if (k < n) {
        const __mmask16 there = end_lanes_avx512(n - k);
        INKI_UNROLL
        for (size_t i = 0; i < FLOATS_ROWS_AVX512; i++)
            w[i] = _mm512_maskz_loadu_ps(there, v[i] + k);
        INKI_UNROLL
        for (size_t b = 0; b < n_batch; b++) {
            const __m512 u = _mm512_maskz_loadu_ps(there, x + b * act_stride + k * sizeof(float));
            INKI_UNROLL
            for (size_t i = 0; i < FLOATS_ROWS_AVX512; i++)
                s[b][i] = _mm512_fmadd_ps(w[i], u, s[b][i]);
        }
    }
    INKI_UNROLL
    for (size_t b = 0; b < n_batch; b++) INKI_UNROLL
    for (size_t i = 0; i < FLOATS_ROWS_AVX512; i++) sums[b * FLOATS_ROWS_AVX512 + i] = s[b][i];
}

#define TILE_AVX512(n_batch)                                                                       \
    static void tile_##n_batch##_avx512(__m512 *sums, const float *const v[FLOATS_ROWS_AVX512],    \
                                        const uint8_t *const ahead[FLOATS_ROWS_AVX512],            \
                                        size_t elem_bytes, const uint8_t *x, size_t act_stride,    \
                                        size_t n) {                                                \
        tile_avx512(sums, v, ahead, elem_bytes, x, act_stride, n, n_batch);                        \
    }
TILE_AVX512(1)
TILE_AVX512(2)
TILE_AVX512(3)
TILE_AVX512(4)
TILE_AVX512(5)
TILE_AVX512(6)
#undef TILE_AVX512

// How many of n activation rows the next tile takes: no tile of one or two is left over if a
// smaller one before it avoids that.
static inline size_t tile_rows_avx512(size_t n) { return n > 8 || n == 6 ? 6 : n > 6 ? 4 : n; }

// Tiles of the whole batch over one chunk of n columns.
static void chunk_avx512(__m512 *sums, const float *const v[FLOATS_ROWS_AVX512],
                         const uint8_t *const ahead[FLOATS_ROWS_AVX512], size_t elem_bytes,
                         const uint8_t *x, size_t act_stride, size_t n, size_t n_batch) {
    static void (*const tiles[FLOATS_TILE_AVX512])(__m512 *, const float *const *,
                                                   const uint8_t *const *, size_t, const uint8_t *,
                                                   size_t, size_t) = {
        tile_1_avx512, tile_2_avx512, tile_3_avx512, tile_4_avx512, tile_5_avx512, tile_6_avx512};
    for (size_t b = 0; b < n_batch;) {
        const size_t m = tile_rows_avx512(n_batch - b);
        tiles[m - 1](sums + b * FLOATS_ROWS_AVX512, v, ahead, elem_bytes, x + b * act_stride,
                     act_stride, n);
        b += m;
    }
}

INLINE_AVX512 void batch_avx512(float *out, size_t out_stride, const rows_avx512 *rows,
                                bool has_bias, size_t elem_bytes, const uint8_t *x,
                                size_t act_stride, size_t n_cols, size_t n_batch, load_avx512 load,
                                load_end_avx512 load_end) {
    __m512 sums[FLOATS_BATCH_AVX512 * FLOATS_ROWS_AVX512];
    _Alignas(64) float wide[FLOATS_ROWS_AVX512][FLOATS_CHUNK_AVX512];
    for (size_t i = 0; i < n_batch * FLOATS_ROWS_AVX512; i++) sums[i] = _mm512_setzero_ps();
    for (size_t c = 0; c < n_cols; c += FLOATS_CHUNK_AVX512) {
        const size_t n = n_cols - c < FLOATS_CHUNK_AVX512 ? n_cols - c : FLOATS_CHUNK_AVX512;
        const float *v[FLOATS_ROWS_AVX512];
        const uint8_t *ahead[FLOATS_ROWS_AVX512];
        for (size_t i = 0; i < FLOATS_ROWS_AVX512; i++) {
            const uint8_t *w = rows->w[i] + c * elem_bytes;
            ahead[i] = w + n * elem_bytes;
            v[i] = elem_bytes == 4 ? (const float *)(const void *)w : wide[i];
            if (elem_bytes == 4) continue;
            size_t k = 0;
            for (; k + 16 <= n; k += 16) _mm512_store_ps(wide[i] + k, load(w + k * elem_bytes));
            if (k < n)
                _mm512_store_ps(wide[i] + k, load_end(end_lanes_avx512(n - k), w + k * elem_bytes));
        }
        chunk_avx512(sums, v, ahead, elem_bytes, x + c * sizeof(float), act_stride, n, n_batch);
    }
    for (size_t b = 0; b < n_batch; b++) {
        const __m512 *s = sums + b * FLOATS_ROWS_AVX512;
        store_rows_avx512(out + b * out_stride, rows, has_bias, s[0], s[1], s[2], s[3]);
    }
}

// --- slots -------------------------------------------------------------------------------------

// n_batch <= FLOATS_BATCH_AVX512.
INLINE_AVX512 void matmul_avx512(float *out, size_t out_stride, const uint8_t *w, size_t row_bytes,
                                 size_t elem_bytes, const uint8_t *x, size_t act_stride,
                                 const float *bias, size_t n_rows, size_t n_cols, size_t n_batch,
                                 load_avx512 load, load_end_avx512 load_end) {
    const size_t quarter = n_rows / FLOATS_ROWS_AVX512, rest = n_rows % FLOATS_ROWS_AVX512;
    for (size_t r = 0; r < quarter + (rest > 0); r++) {
        const rows_avx512 rows =
            r < quarter ? rows_of_avx512(w, row_bytes, bias, r, quarter, FLOATS_ROWS_AVX512)
                        : rows_of_avx512(w, row_bytes, bias, FLOATS_ROWS_AVX512 * quarter, 1, rest);
        if (n_batch == 1)
            decode_avx512(out, &rows, bias != NULL, elem_bytes, (const float *)(const void *)x,
                          n_cols, load, load_end);
        else
            batch_avx512(out, out_stride, &rows, bias != NULL, elem_bytes, x, act_stride, n_cols,
                         n_batch, load, load_end);
    }
}

#define MATMUL_SLOT_AVX512(type, elem_bytes)                                                       \
    static void matmul_##type##_avx512(                                                            \
        float *out, size_t out_stride, const void *weights, size_t row_bytes, const void *acts,    \
        size_t act_stride, const float *bias, size_t n_rows, size_t n_cols, size_t n_batch) {      \
        for (size_t b = 0; b < n_batch; b += FLOATS_BATCH_AVX512)                                  \
            matmul_avx512(out + b * out_stride, out_stride, (const uint8_t *)weights, row_bytes,   \
                          elem_bytes, (const uint8_t *)acts + b * act_stride, act_stride, bias,    \
                          n_rows, n_cols,                                                          \
                          n_batch - b < FLOATS_BATCH_AVX512 ? n_batch - b : FLOATS_BATCH_AVX512,   \
                          load_##type##_avx512, load_end_##type##_avx512);                         \
    }
MATMUL_SLOT_AVX512(f32, 4)
MATMUL_SLOT_AVX512(f16, 2)
MATMUL_SLOT_AVX512(bf16, 2)
#undef MATMUL_SLOT_AVX512
#undef INLINE_AVX512
INKI_TARGET_END

void inki_floats_avx512(inki_kernels *table) {
    table->matmul[INKI_F32] = matmul_f32_avx512;
    table->matmul[INKI_F16] = matmul_f16_avx512;
    table->matmul[INKI_BF16] = matmul_bf16_avx512;
}
#endif
