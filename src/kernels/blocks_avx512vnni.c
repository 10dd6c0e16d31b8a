// SPDX-License-Identifier: MIT
// Products of block weights with byte activations. Lanes are weight rows: a group of sixteen rows
// has one float sum a lane and activation row, to which the blocks are added in rising order, so
// neither the number of rows nor that of activations changes the order of any output's terms.
//
// Few activation rows: sixteen weight rows at a time, straight from memory, whose speed is then the
// limit; while a group is computed, the next one is fetched in the order of its bytes. Many:
// weights are unpacked once into a panel on the stack that all activation rows meet.
#include "kernels/levels.h"
#include "kernels/target.h"

#if defined(INKI_HAVE_X86)
#include <immintrin.h>
#include <string.h>

#include "kernels/blocks_unpack_avx512vnni.h"

INKI_TARGET_BEGIN_AVX512VNNI

enum {
    VNNI_MAX_DIRECT = 16,    // more activation rows than this go through a panel
    VNNI_PANEL_ROWS = 32,    // two groups
    VNNI_PANEL_BLOCKS = 16,  // 512 columns
    VNNI_TILE = 6            // activation rows that meet a panel at a time
};

// Activations of a call: rows at q, `stride` bytes apart.
typedef struct acts_avx512vnni {
    const uint8_t *q;
    size_t stride, n_cols;
} acts_avx512vnni;

// A chunk of an activation row, what belongs to each block as one number: its scale; for each
// sixteen columns (one, or two where scales are fine) minus zero times their sum, from which the
// integer product starts; and scale times sum, for types with a minimum.
typedef struct act_chunk_avx512vnni {
    float d[VNNI_CHUNK_BLOCKS], d_sum[VNNI_CHUNK_BLOCKS];
    int32_t start[2][VNNI_CHUNK_BLOCKS];
} act_chunk_avx512vnni;

// n: blocks in the chunk that begins with block `first`.
INKI_INLINE_AVX512VNNI void act_chunk_avx512vnni_of(const type_avx512vnni *type,
                                                    act_chunk_avx512vnni *c,
                                                    const acts_avx512vnni *a, size_t b,
                                                    size_t first, size_t n) {
    const uint8_t *d_row = a->q + b * a->stride + a->n_cols, *sum_row = d_row + a->n_cols / 8;
    const __mmask8 mask = (__mmask8)((1u << n) - 1);
    const __m256 d = _mm256_maskz_loadu_ps(mask, d_row + 4 * first);
    const __m256i sums = _mm256_maskz_loadu_epi32(mask, sum_row + 4 * first);
    _mm256_storeu_ps(c->d, d);
    const __m256i low = _mm256_set1_epi32((uint16_t)-type->zero);
    if (type->fine) {
        _mm256_storeu_si256((void *)c->start[0], _mm256_madd_epi16(sums, low));
        _mm256_storeu_si256((void *)c->start[1],
                            _mm256_madd_epi16(sums, _mm256_slli_epi32(low, 16)));
    } else if (type->zero != 0) {
        const __m256i both = _mm256_set1_epi16((int16_t)-type->zero);
        _mm256_storeu_si256((void *)c->start[0], _mm256_madd_epi16(sums, both));
    }
    if (type->has_min) {
        const __m256i total = _mm256_madd_epi16(sums, _mm256_set1_epi16(1));
        _mm256_storeu_ps(c->d_sum, _mm256_mul_ps(d, _mm256_cvtepi32_ps(total)));
    }
}

// acc + w [n] times 4 n activations at x.
INKI_INLINE_AVX512VNNI __m512i dot_avx512vnni(__m512i acc, const __m512i *w, const uint8_t *x,
                                              size_t n) {
    for (size_t t = 0; t < n; t++) {
        int32_t four;
        memcpy(&four, x + 4 * t, sizeof four);
        acc = _mm512_dpbusd_epi32(acc, w[t], _mm512_set1_epi32(four));
    }
    return acc;
}

// sum + idot * (d * dx)
INKI_INLINE_AVX512VNNI __m512 scale_avx512vnni(__m512 sum, __m512i idot, __m512 d, float dx) {
    return _mm512_fmadd_ps(_mm512_cvtepi32_ps(idot), _mm512_mul_ps(d, _mm512_set1_ps(dx)), sum);
}

// Adds block j of a chunk, w [8] times 32 activations at x, to a row's sum.
INKI_INLINE_AVX512VNNI __m512 add_block_avx512vnni(const type_avx512vnni *type, __m512 sum,
                                                   const __m512i *w, const scales_avx512vnni *s,
                                                   __m512 d, const act_chunk_avx512vnni *c,
                                                   size_t j, const uint8_t *x) {
    const __m512i start = _mm512_set1_epi32(type->zero != 0 ? c->start[0][j] : 0);
    if (type->fine) {
        sum = scale_avx512vnni(sum, dot_avx512vnni(start, w, x, 4), d, c->d[j]);
        const __m512i dot = dot_avx512vnni(_mm512_set1_epi32(c->start[1][j]), w + 4, x + 16, 4);
        return scale_avx512vnni(sum, dot, _mm512_loadu_ps(s->d[2 * j + 1]), c->d[j]);
    }
    sum = scale_avx512vnni(sum, dot_avx512vnni(start, w, x, 8), d, c->d[j]);
    if (!type->has_min) return sum;
    return _mm512_fmadd_ps(_mm512_loadu_ps(s->min[j]), _mm512_set1_ps(c->d_sum[j]), sum);
}

// --- few activation rows -----------------------------------------------------------------------

// sums [n_batch] = sixteen weight rows times each activation row. `next` is fetched meanwhile.
INKI_INLINE_AVX512VNNI void direct_group_avx512vnni(const type_avx512vnni *type, __m512 *sums,
                                                    rows_avx512vnni r, const acts_avx512vnni *a,
                                                    size_t n_batch, const uint8_t *next) {
    const size_t n_blocks = a->n_cols / INKI_Q8_BLOCK;
    const size_t unit_bytes = VNNI_ROWS * type->chunk_bytes / VNNI_CHUNK_BLOCKS * type->unit_blocks;
    const uint8_t *x = a->q;
    for (size_t b = 0; b < n_batch; b++) sums[b] = _mm512_setzero_ps();
    for (size_t first = 0; first < n_blocks; first += VNNI_CHUNK_BLOCKS) {
        const size_t n =
            n_blocks - first < VNNI_CHUNK_BLOCKS ? n_blocks - first : VNNI_CHUNK_BLOCKS;
        scales_avx512vnni s;
        type->scales(&s, &r, n);
        act_chunk_avx512vnni c[VNNI_MAX_DIRECT];
        for (size_t b = 0; b < n_batch; b++) act_chunk_avx512vnni_of(type, &c[b], a, b, first, n);
        for (size_t j = 0; j < n; j += type->unit_blocks, next += unit_bytes) {
            for (size_t i = 0; i < unit_bytes; i += 64)
                _mm_prefetch((const char *)next + i, _MM_HINT_T0);
            __m512i w[8 * VNNI_MAX_UNIT_BLOCKS];
            type->unpack(w, &r, j / type->unit_blocks);
            for (size_t u = 0; u < type->unit_blocks; u++) {
                const __m512 d = _mm512_loadu_ps(s.d[type->fine ? 2 * (j + u) : j + u]);
                for (size_t b = 0; b < n_batch; b++)
                    sums[b] = add_block_avx512vnni(type, sums[b], w + 8 * u, &s, d, &c[b], j + u,
                                                   x + b * a->stride + u * INKI_Q8_BLOCK);
            }
            x += type->unit_blocks * INKI_Q8_BLOCK;
        }
        for (int i = 0; i < 4; i++) r.at[i] += type->chunk_bytes;
    }
}

INKI_INLINE_AVX512VNNI void direct_avx512vnni(const type_avx512vnni *type, float *out,
                                              size_t out_stride, const uint8_t *weights,
                                              size_t row_bytes, acts_avx512vnni a,
                                              const float *bias, size_t n_rows, size_t n_batch) {
    // The last group ends with the last row: some rows are computed twice, to the same numbers.
    // Where there are fewer than sixteen, all lanes take the same row.
    const bool narrow = n_rows < VNNI_ROWS;
    const size_t last = narrow ? n_rows - 1 : n_rows - VNNI_ROWS;
    const __mmask16 mask = narrow ? 1 : 0xffff;
    for (size_t row = 0, i = 0; i < n_rows; i += narrow ? 1 : VNNI_ROWS) {
        row = i < last ? i : last;
        const uint8_t *w = weights + row * row_bytes;
        rows_avx512vnni r = {{w, w, w, w}, 0};
        if (!narrow) {
            r.stride = row_bytes;
            for (size_t k = 1; k < 4; k++) r.at[k] = w + 4 * k * row_bytes;
        }
        __m512 sums[VNNI_MAX_DIRECT];
        const uint8_t *next = row + VNNI_ROWS <= last ? w + VNNI_ROWS * row_bytes : w;
        direct_group_avx512vnni(type, sums, r, &a, n_batch, next);
        for (size_t b = 0; b < n_batch; b++) {
            if (bias != NULL)
                sums[b] = _mm512_add_ps(sums[b], _mm512_maskz_loadu_ps(mask, bias + row));
            _mm512_mask_storeu_ps(out + b * out_stride + row, mask, sums[b]);
        }
    }
}

#define VNNI_SLOT(name, type)                                                                      \
    static void name(float *out, size_t out_stride, const void *weights, size_t row_bytes,         \
                     const void *acts, size_t act_stride, const float *bias, size_t n_rows,        \
                     size_t n_cols, size_t n_batch) {                                              \
        acts_avx512vnni a = {(const uint8_t *)acts, act_stride, n_cols};                           \
        if (n_batch == 1) {                                                                        \
            direct_avx512vnni(&type, out, out_stride, weights, row_bytes, a, bias, n_rows, 1);     \
            return;                                                                                \
        }                                                                                          \
        for (size_t b = 0; b < n_batch; b += VNNI_MAX_DIRECT) {                                    \
            const size_t n = n_batch - b < VNNI_MAX_DIRECT ? n_batch - b : VNNI_MAX_DIRECT;        \
            a.q = (const uint8_t *)acts + b * act_stride;                                          \
            direct_avx512vnni(&type, out + b * out_stride, out_stride, weights, row_bytes, a,      \
                              bias, n_rows, n);                                                    \
        }                                                                                          \
    }
VNNI_SLOT(matmul_q8_0_avx512vnni, type_q8_0_avx512vnni)
VNNI_SLOT(matmul_q4_0_avx512vnni, type_q4_0_avx512vnni)
VNNI_SLOT(matmul_q5_0_avx512vnni, type_q5_0_avx512vnni)
VNNI_SLOT(matmul_q4_k_avx512vnni, type_q4_k_avx512vnni)
VNNI_SLOT(matmul_q5_k_avx512vnni, type_q5_k_avx512vnni)
VNNI_SLOT(matmul_q6_k_avx512vnni, type_q6_k_avx512vnni)
#undef VNNI_SLOT

INKI_TARGET_END

void inki_blocks_avx512vnni(inki_kernels *table) {
    table->matmul[INKI_Q8_0] = matmul_q8_0_avx512vnni;
    table->matmul[INKI_Q4_0] = matmul_q4_0_avx512vnni;
    table->matmul[INKI_Q5_0] = matmul_q5_0_avx512vnni;
    table->matmul[INKI_Q4_K] = matmul_q4_k_avx512vnni;
    table->matmul[INKI_Q5_K] = matmul_q5_k_avx512vnni;
    table->matmul[INKI_Q6_K] = matmul_q6_k_avx512vnni;
}
#endif
