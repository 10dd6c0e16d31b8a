// SPDX-License-Identifier: MIT
// Products of float weights, in the orders of floats_avx512.c: the bytes are the same. The sixteen
// sums of an output are two registers, its lower half and its upper half; two weight rows with
// three activation rows are all that sixteen registers hold.
#include "kernels/levels.h"
#include "kernels/target.h"

#include "base/prefetch.h"

#if defined(INKI_HAVE_X86)
#include <immintrin.h>
#include <string.h>

INKI_TARGET_BEGIN_AVX2
// Keeps a vector that is used more than once in a register; gcc would load it again for each use.
#define KEEP_AVX2(v) __asm__("" : "+x"(v))

enum {
    FLOATS_ROWS_AVX2 = 4,          // weight rows at once for one activation row
    FLOATS_TILE_AVX2 = 3,          // activation rows at once, with two weight rows
    FLOATS_BLOCK_AVX2 = 256 << 10, // bytes of weights that several tiles of activation rows meet
    FLOATS_AHEAD_AVX2 = 2048,      // bytes that are asked for before they are needed
};

// Eight weights as floats; in the second form only the first n are read, the others are 0.
typedef __m256 (*load_avx2)(const uint8_t *w);
typedef __m256 (*load_end_avx2)(const uint8_t *w, size_t n);

INKI_TEMPLATE __m256i end_lanes_avx2(size_t n) {
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), lane);
}
INKI_TEMPLATE __m128i end_halves_avx2(const uint8_t *w, size_t n) {
    uint16_t end[8] = {0}; // there is no load of 16-bit lanes under a mask
    memcpy(end, w, n * sizeof *end);
    return _mm_loadu_si128((const __m128i *)(const void *)end);
}
INKI_TEMPLATE __m256 load_f32_avx2(const uint8_t *w) {
    return _mm256_loadu_ps((const float *)(const void *)w);
}
static __m256 load_end_f32_avx2(const uint8_t *w, size_t n) {
    return _mm256_maskload_ps((const float *)(const void *)w, end_lanes_avx2(n));
}
INKI_TEMPLATE __m256 load_f16_avx2(const uint8_t *w) {
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)w));
}
static __m256 load_end_f16_avx2(const uint8_t *w, size_t n) {
    return _mm256_cvtph_ps(end_halves_avx2(w, n));
}
INKI_TEMPLATE __m256 widen_bf16_avx2(__m128i w) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(w), 16));
}
INKI_TEMPLATE __m256 load_bf16_avx2(const uint8_t *w) {
    return widen_bf16_avx2(_mm_loadu_si128((const __m128i *)(const void *)w));
}
static __m256 load_end_bf16_avx2(const uint8_t *w, size_t n) {
    return widen_bf16_avx2(end_halves_avx2(w, n));
}

// Of n elements that are left, those in the lower and in the upper half of sixteen.
INKI_TEMPLATE size_t in_half_avx2(size_t n, size_t half) {
    const size_t m = n > 8 * half ? n - 8 * half : 0;
    return m < 8 ? m : 8;
}

typedef struct product_avx2 {
    float *out;
    size_t out_stride;
    const uint8_t *w;
    size_t row_bytes;
    const uint8_t *x;
    size_t act_stride;
    const float *bias;
    size_t n_rows, n_cols, n_batch;
} product_avx2;

// The n rows of group `index`: one of each n-th part of the matrix. After the parts there may be a
// group of fewer; then the last one stands for those that are missing.
INKI_TEMPLATE void group_avx2(size_t at[FLOATS_ROWS_AVX2], size_t n_rows, size_t index, size_t n) {
    const size_t part = n_rows / n, rest = n_rows % n;
    INKI_UNROLL
    for (size_t i = 0; i < n; i++)
        at[i] = index < part ? index + i * part : n * part + (i < rest ? i : rest - 1);
}

// Folds the sums of two rows, lane + 8, + 4, + 2, + 1, and writes the outputs; s: lower and upper
// half of each.
INKI_TEMPLATE void store_pair_avx2(float *out, const size_t at[2], const float *bias,
                                   const __m256 s[2][2]) {
    const __m256 a = _mm256_add_ps(s[0][0], s[0][1]), b = _mm256_add_ps(s[1][0], s[1][1]);
    const __m256 four =
        _mm256_add_ps(_mm256_permute2f128_ps(a, b, 0x20), _mm256_permute2f128_ps(a, b, 0x31));
    const __m256 two = _mm256_add_ps(four, _mm256_permute_ps(four, 0x4e));
    const __m256 one = _mm256_add_ps(two, _mm256_permute_ps(two, 0xb1));
    // Adding -0 changes no number, 0 and -0 included. A row that stands for another holds the same.
    const __m128 first = _mm_set_ss(bias != NULL ? bias[at[0]] : -0.0f);
    const __m128 second = _mm_set_ss(bias != NULL ? bias[at[1]] : -0.0f);
    _mm_store_ss(out + at[0], _mm_add_ss(_mm256_castps256_ps128(one), first));
    _mm_store_ss(out + at[1], _mm_add_ss(_mm256_extractf128_ps(one, 1), second));
}

// The last columns from k on and the outputs of the rows of a group: s [n_batch][n_at_once] are the
// sums so far. Apart from the tiles, since few models have rows that are no multiple of sixteen.
INKI_APART void finish_avx2(const product_avx2 *p, const size_t *at, size_t k,
                            __m256 s[][FLOATS_ROWS_AVX2][2], size_t n_at_once, size_t n_batch,
                            size_t elem_bytes, load_end_avx2 load_end) {
    for (size_t b = 0; b < n_batch; b++)
        for (size_t half = 0; half < 2 && k + 8 * half < p->n_cols; half++) {
            const size_t n = in_half_avx2(p->n_cols - k, half), at_k = k + 8 * half;
            const __m256 u = load_end_f32_avx2(p->x + b * p->act_stride + at_k * sizeof(float), n);
            for (size_t i = 0; i < n_at_once; i++) {
                const __m256 w = load_end(p->w + at[i] * p->row_bytes + at_k * elem_bytes, n);
                s[b][i][half] = _mm256_fmadd_ps(w, u, s[b][i][half]);
            }
        }
    for (size_t b = 0; b < n_batch; b++)
        for (size_t i = 0; i < n_at_once; i += 2)
            store_pair_avx2(p->out + b * p->out_stride, at + i, p->bias, &s[b][i]);
}

// All weight rows, n_at_once together, times n_batch activation rows.
INKI_TEMPLATE void tile_avx2(const product_avx2 *p, size_t elem_bytes, size_t n_at_once,
                             size_t n_batch, load_avx2 load, load_end_avx2 load_end) {
    const uint8_t *x[FLOATS_TILE_AVX2];
    INKI_UNROLL
    for (size_t b = 0; b < n_batch; b++) x[b] = p->x + b * p->act_stride;
    const size_t n_cols = p->n_cols;
    for (size_t r = 0; r < (p->n_rows + n_at_once - 1) / n_at_once; r++) {
        size_t at[FLOATS_ROWS_AVX2], k = 0;
        const uint8_t *rows[FLOATS_ROWS_AVX2];
        __m256 s[FLOATS_TILE_AVX2][FLOATS_ROWS_AVX2][2], w[FLOATS_ROWS_AVX2];
        group_avx2(at, p->n_rows, r, n_at_once);
        INKI_UNROLL
        for (size_t i = 0; i < n_at_once; i++) {
            rows[i] = p->w + at[i] * p->row_bytes;
            INKI_UNROLL
            for (size_t b = 0; b < n_batch; b++) s[b][i][0] = s[b][i][1] = _mm256_setzero_ps();
        }
        for (; k + 16 <= n_cols; k += 16) {
            INKI_UNROLL
            for (size_t i = 0; i < n_at_once; i++)
                inki_prefetch((uintptr_t)(rows[i] + k * elem_bytes) + FLOATS_AHEAD_AVX2, 1);
            INKI_UNROLL
            for (size_t half = 0; half < 2; half++) {
                INKI_UNROLL
                for (size_t i = 0; i < n_at_once; i++)
                    w[i] = load(rows[i] + (k + 8 * half) * elem_bytes);
                INKI_UNROLL
                for (size_t b = 0; b < n_batch; b++) {
                    __m256 u = load_f32_avx2(x[b] + (k + 8 * half) * sizeof(float));
                    KEEP_AVX2(u);
                    INKI_UNROLL
                    for (size_t i = 0; i < n_at_once; i++)
                        s[b][i][half] = _mm256_fmadd_ps(w[i], u, s[b][i][half]);
                }
            }
        }
        if (k < n_cols) {
            __m256 kept[FLOATS_TILE_AVX2][FLOATS_ROWS_AVX2][2]; // s itself stays in registers
            INKI_UNROLL
            for (size_t b = 0; b < n_batch; b++) {
                INKI_UNROLL
                for (size_t i = 0; i < n_at_once; i++) {
                    kept[b][i][0] = s[b][i][0];
                    kept[b][i][1] = s[b][i][1];
                }
            }
            finish_avx2(p, at, k, kept, n_at_once, n_batch, elem_bytes, load_end);
            continue;
        }
        INKI_UNROLL
        for (size_t b = 0; b < n_batch; b++) {
            INKI_UNROLL
            for (size_t i = 0; i < n_at_once; i += 2)
                store_pair_avx2(p->out + b * p->out_stride, at + i, p->bias, &s[b][i]);
        }
    }
}

typedef void (*tile_fn_avx2)(const product_avx2 *p);

// tiles: for 1, 2, 3 activation rows.
static void product_tiles_avx2(const product_avx2 *p, const tile_fn_avx2 tiles[FLOATS_TILE_AVX2]) {
    size_t block = p->n_rows;
    if (p->n_batch > FLOATS_TILE_AVX2) block = FLOATS_BLOCK_AVX2 / p->row_bytes / 16 * 16 + 16;
    for (size_t r = 0; r < p->n_rows; r += block)
        for (size_t b = 0; b < p->n_batch;) {
            const size_t left = p->n_batch - b, n = left > 4 || left == 3 ? 3 : left > 1 ? 2 : 1;
            product_avx2 part = *p;
            part.out += b * p->out_stride + r;
            part.w += r * p->row_bytes;
            part.x += b * p->act_stride;
            if (p->bias != NULL) part.bias += r;
            part.n_rows = p->n_rows - r < block ? p->n_rows - r : block;
            tiles[n - 1](&part);
            b += n;
        }
}

#define TILE_AVX2(type, elem_bytes, n_at_once, n_batch)                                            \
    static void tile_##n_batch##_##type##_avx2(const product_avx2 *p) {                            \
        tile_avx2(p, elem_bytes, n_at_once, n_batch, load_##type##_avx2, load_end_##type##_avx2);  \
    }
#define MATMUL_SLOT_AVX2(type, elem_bytes)                                                         \
    TILE_AVX2(type, elem_bytes, 4, 1)                                                              \
    TILE_AVX2(type, elem_bytes, 2, 2)                                                              \
    TILE_AVX2(type, elem_bytes, 2, 3)                                                              \
    static void matmul_##type##_avx2(                                                              \
        float *out, size_t out_stride, const void *weights, size_t row_bytes, const void *acts,    \
        size_t act_stride, const float *bias, size_t n_rows, size_t n_cols, size_t n_batch) {      \
        static const tile_fn_avx2 tiles[FLOATS_TILE_AVX2] = {                                      \
            tile_1_##type##_avx2, tile_2_##type##_avx2, tile_3_##type##_avx2};                     \
        const product_avx2 p = {out,        out_stride, weights, row_bytes, acts,                  \
                                act_stride, bias,       n_rows,  n_cols,    n_batch};              \
        product_tiles_avx2(&p, tiles);                                                             \
    }
MATMUL_SLOT_AVX2(f32, 4)
MATMUL_SLOT_AVX2(f16, 2)
MATMUL_SLOT_AVX2(bf16, 2)
#undef MATMUL_SLOT_AVX2
#undef TILE_AVX2
#undef KEEP_AVX2
INKI_TARGET_END

void inki_floats_avx2(inki_kernels *table) {
    table->matmul[INKI_F32] = matmul_f32_avx2;
    table->matmul[INKI_F16] = matmul_f16_avx2;
    table->matmul[INKI_BF16] = matmul_bf16_avx2;
}
#endif
