// SPDX-License-Identifier: MIT
// Products of float weights. An output has sixteen sums, the lanes of a vector: element k of a row
// goes to sum k % 16 by a fused multiply-add; the end of a row is filled up with zeros; the sums
// are folded in halves.
//
// Weights come straight from memory, four rows at once, and are widened for up to six activation
// rows. Each of the four stands in a quarter of its own of the matrix: memory gives more to four
// long streams than to one, and least of all to rows side by side, in whose pages its prefetchers
// lose themselves. With more activation rows the first six bring a block of weights into the second
// cache for the others.
#include "kernels/levels.h"
#include "kernels/target.h"

#include "base/prefetch.h"

#if defined(INKI_HAVE_X86)
#include <immintrin.h>

INKI_TARGET_BEGIN_AVX512

enum {
    FLOATS_ROWS_AVX512 = 4,          // weight rows at once
    FLOATS_TILE_AVX512 = 6,          // activation rows at once
    FLOATS_BLOCK_AVX512 = 256 << 10, // bytes of weights that several tiles of activation rows meet
    FLOATS_AHEAD_AVX512 = 2048,      // bytes that are asked for before they are needed
};

// Sixteen weights as floats; in the second form only those of the mask are read, the others are 0.
typedef __m512 (*load_avx512)(const uint8_t *w);
typedef __m512 (*load_end_avx512)(__mmask16 there, const uint8_t *w);

INKI_TEMPLATE __m512 load_f32_avx512(const uint8_t *w) { return _mm512_loadu_ps(w); }
static __m512 load_end_f32_avx512(__mmask16 there, const uint8_t *w) {
    return _mm512_maskz_loadu_ps(there, w);
}
INKI_TEMPLATE __m512 load_f16_avx512(const uint8_t *w) {
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)w));
}
static __m512 load_end_f16_avx512(__mmask16 there, const uint8_t *w) {
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(there, w));
}
INKI_TEMPLATE __m512 floats_of_bf16_avx512(__m256i w) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(w), 16));
}
INKI_TEMPLATE __m512 load_bf16_avx512(const uint8_t *w) {
    return floats_of_bf16_avx512(_mm256_loadu_si256((const __m256i *)(const void *)w));
}
static __m512 load_end_bf16_avx512(__mmask16 there, const uint8_t *w) {
    return floats_of_bf16_avx512(_mm256_maskz_loadu_epi16(there, w));
}

// The first n < 16 lanes.
INKI_TEMPLATE __mmask16 end_lanes_avx512(size_t n) { return (__mmask16)((1u << n) - 1); }

typedef struct product_avx512 {
    float *out;
    size_t out_stride;
    const uint8_t *w;
    size_t row_bytes;
    const uint8_t *x;
    size_t act_stride;
    const float *bias;
    size_t n_rows, n_cols, n_batch;
} product_avx512;

// The rows of group `index`: one of each quarter of the matrix. After the quarters there may be a
// group of fewer; then the last one stands for those that are missing.
INKI_TEMPLATE void group_avx512(size_t at[FLOATS_ROWS_AVX512], size_t n_rows, size_t index) {
    const size_t part = n_rows / FLOATS_ROWS_AVX512, rest = n_rows % FLOATS_ROWS_AVX512;
    INKI_UNROLL
    for (size_t i = 0; i < FLOATS_ROWS_AVX512; i++)
        at[i] =
            index < part ? index + i * part : FLOATS_ROWS_AVX512 * part + (i < rest ? i : rest - 1);
}

// Adding -0 changes no number, 0 and -0 included.
INKI_TEMPLATE __m128 bias_avx512(const float *bias, const size_t at[FLOATS_ROWS_AVX512]) {
    return bias == NULL ? _mm_set1_ps(-0.0f)
                        : _mm_setr_ps(bias[at[0]], bias[at[1]], bias[at[2]], bias[at[3]]);
}

// Folds the sums of four rows, lane + 8, + 4, + 2, + 1, and writes the outputs.
INKI_TEMPLATE void store_rows_avx512(float *out, const size_t at[FLOATS_ROWS_AVX512], __m128 bias,
                                     const __m512 s[FLOATS_ROWS_AVX512]) {
    const __m512 ab = _mm512_add_ps(_mm512_shuffle_f32x4(s[0], s[1], 0x44),
                                    _mm512_shuffle_f32x4(s[0], s[1], 0xee));
    const __m512 cd = _mm512_add_ps(_mm512_shuffle_f32x4(s[2], s[3], 0x44),
                                    _mm512_shuffle_f32x4(s[2], s[3], 0xee));
    __m512 t =
        _mm512_add_ps(_mm512_shuffle_f32x4(ab, cd, 0x88), _mm512_shuffle_f32x4(ab, cd, 0xdd));
    t = _mm512_add_ps(t, _mm512_permute_ps(t, 0x4e));
    t = _mm512_add_ps(t, _mm512_permute_ps(t, 0xb1));
    const __m512i first = _mm512_castsi128_si512(_mm_setr_epi32(0, 4, 8, 12));
    const __m128 total = _mm_add_ps(_mm512_castps512_ps128(_mm512_permutexvar_ps(first, t)), bias);
    _mm_store_ss(out + at[0], total); // a row that stands for another holds the same number
    _mm_store_ss(out + at[1], _mm_permute_ps(total, 1));
    _mm_store_ss(out + at[2], _mm_permute_ps(total, 2));
    _mm_store_ss(out + at[3], _mm_permute_ps(total, 3));
}

// The last columns from k on, of which there may be none, and the outputs of the rows of a group:
// s [n_batch] are the sums so far. Once for all tiles; those of one and two activation rows come
// here only where rows are no multiple of sixteen, since the way costs them up to 5 %.
INKI_APART void finish_avx512(const product_avx512 *p, const size_t *at, size_t k,
                              __m512 s[][FLOATS_ROWS_AVX512], size_t n_batch, size_t elem_bytes,
                              load_end_avx512 load_end) {
    __m512 w[FLOATS_ROWS_AVX512];
    const __mmask16 there = end_lanes_avx512(p->n_cols - k);
    if (there != 0)
        for (size_t i = 0; i < FLOATS_ROWS_AVX512; i++)
            w[i] = load_end(there, p->w + at[i] * p->row_bytes + k * elem_bytes);
    const __m128 bias = bias_avx512(p->bias, at);
    for (size_t b = 0; b < n_batch; b++) {
        const size_t row = b < p->n_batch ? b : p->n_batch - 1;
        if (there != 0) {
            const __m512 u =
                _mm512_maskz_loadu_ps(there, p->x + row * p->act_stride + k * sizeof(float));
            for (size_t i = 0; i < FLOATS_ROWS_AVX512; i++)
                s[b][i] = _mm512_fmadd_ps(w[i], u, s[b][i]);
        }
        store_rows_avx512(p->out + row * p->out_stride, at, bias, s[b]);
    }
}

// All weight rows times n_batch activation rows; where p has one less, its last one is used twice.
INKI_TEMPLATE void tile_avx512(const product_avx512 *p, size_t elem_bytes, size_t n_batch,
                               load_avx512 load, load_end_avx512 load_end) {
    const uint8_t *x[FLOATS_TILE_AVX512];
    INKI_UNROLL
    for (size_t b = 0; b < n_batch; b++)
        x[b] = p->x + (b < p->n_batch ? b : p->n_batch - 1) * p->act_stride;
    const size_t n_cols = p->n_cols;
    for (size_t r = 0; r < (p->n_rows + FLOATS_ROWS_AVX512 - 1) / FLOATS_ROWS_AVX512; r++) {
        size_t at[FLOATS_ROWS_AVX512], k = 0;
        const uint8_t *rows[FLOATS_ROWS_AVX512];
        __m512 s[FLOATS_TILE_AVX512][FLOATS_ROWS_AVX512], w[FLOATS_ROWS_AVX512];
        group_avx512(at, p->n_rows, r);
        INKI_UNROLL
        for (size_t i = 0; i < FLOATS_ROWS_AVX512; i++) {
            rows[i] = p->w + at[i] * p->row_bytes;
            INKI_UNROLL
            for (size_t b = 0; b < n_batch; b++) s[b][i] = _mm512_setzero_ps();
        }
        for (; k + 16 <= n_cols; k += 16) {
            INKI_UNROLL
            for (size_t i = 0; i < FLOATS_ROWS_AVX512; i++) {
                inki_prefetch((uintptr_t)(rows[i] + k * elem_bytes) + FLOATS_AHEAD_AVX512, 1);
                w[i] = load(rows[i] + k * elem_bytes);
            }
            INKI_UNROLL
            for (size_t b = 0; b < n_batch; b++) {
                const __m512 u = _mm512_loadu_ps(x[b] + k * sizeof(float));
                INKI_UNROLL
                for (size_t i = 0; i < FLOATS_ROWS_AVX512; i++)
                    s[b][i] = _mm512_fmadd_ps(w[i], u, s[b][i]);
            }
        }
        if (n_batch > 2 || k < n_cols) {
            __m512 kept[FLOATS_TILE_AVX512][FLOATS_ROWS_AVX512]; // s itself stays in registers
            INKI_UNROLL
            for (size_t b = 0; b < n_batch; b++) {
                INKI_UNROLL
                for (size_t i = 0; i < FLOATS_ROWS_AVX512; i++) kept[b][i] = s[b][i];
            }
            finish_avx512(p, at, k, kept, n_batch, elem_bytes, load_end);
            continue;
        }
        const __m128 bias = bias_avx512(p->bias, at);
        INKI_UNROLL
        for (size_t b = 0; b < n_batch; b++)
            store_rows_avx512(p->out + b * p->out_stride, at, bias, s[b]);
    }
}

typedef void (*tile_fn_avx512)(const product_avx512 *p);

// Of n activation rows, those of the next tile.
static inline size_t tile_rows_avx512(size_t n) { return n > 8 ? 6 : n > 6 ? 4 : n; }

// tiles: for up to 1, 2, 4, 6 activation rows.
static void product_avx512_run(const product_avx512 *p, const tile_fn_avx512 tiles[4]) {
    size_t block = p->n_rows;
    if (p->n_batch > FLOATS_TILE_AVX512) block = FLOATS_BLOCK_AVX512 / p->row_bytes / 16 * 16 + 16;
    for (size_t r = 0; r < p->n_rows; r += block)
        for (size_t b = 0; b < p->n_batch;) {
            product_avx512 part = *p;
            part.out += b * p->out_stride + r;
            part.w += r * p->row_bytes;
            part.x += b * p->act_stride;
            if (p->bias != NULL) part.bias += r;
            part.n_rows = p->n_rows - r < block ? p->n_rows - r : block;
            part.n_batch = tile_rows_avx512(p->n_batch - b);
            tiles[part.n_batch > 2 ? (part.n_batch + 1) / 2 : part.n_batch - 1](&part);
            b += part.n_batch;
        }
}

#define TILE_AVX512(type, elem_bytes, n_batch)                                                     \
    static void tile_##n_batch##_##type##_avx512(const product_avx512 *p) {                        \
        tile_avx512(p, elem_bytes, n_batch, load_##type##_avx512, load_end_##type##_avx512);       \
    }
#define MATMUL_SLOT_AVX512(type, elem_bytes)                                                       \
    TILE_AVX512(type, elem_bytes, 1)                                                               \
    TILE_AVX512(type, elem_bytes, 2)                                                               \
    TILE_AVX512(type, elem_bytes, 4)                                                               \
    TILE_AVX512(type, elem_bytes, 6)                                                               \
    static void matmul_##type##_avx512(                                                            \
        float *out, size_t out_stride, const void *weights, size_t row_bytes, const void *acts,    \
        size_t act_stride, const float *bias, size_t n_rows, size_t n_cols, size_t n_batch) {      \
        static const tile_fn_avx512 tiles[4] = {tile_1_##type##_avx512, tile_2_##type##_avx512,    \
                                                tile_4_##type##_avx512, tile_6_##type##_avx512};   \
        const product_avx512 p = {out,        out_stride, weights, row_bytes, acts,                \
                                  act_stride, bias,       n_rows,  n_cols,    n_batch};            \
        product_avx512_run(&p, tiles);                                                             \
    }
MATMUL_SLOT_AVX512(f32, 4)
MATMUL_SLOT_AVX512(f16, 2)
MATMUL_SLOT_AVX512(bf16, 2)
#undef MATMUL_SLOT_AVX512
#undef TILE_AVX512
INKI_TARGET_END

void inki_floats_avx512(inki_kernels *table) {
    table->matmul[INKI_F32] = matmul_f32_avx512;
    table->matmul[INKI_F16] = matmul_f16_avx512;
    table->matmul[INKI_BF16] = matmul_bf16_avx512;
}
#endif
