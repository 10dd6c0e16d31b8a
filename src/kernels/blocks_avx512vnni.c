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

static inline const uint8_t *act_bytes_avx512vnni(const acts_avx512vnni *a, size_t b,
                                                  size_t block) {
    return a->q + b * a->stride + block * INKI_Q8_BLOCK;
}
static inline float act_scale_avx512vnni(const acts_avx512vnni *a, size_t b, size_t block) {
    float d;
    memcpy(&d, a->q + b * a->stride + a->n_cols + 4 * block, sizeof d);
    return d;
}
// The block's two sums of sixteen, as they lie.
static inline __m512i act_sums_avx512vnni(const acts_avx512vnni *a, size_t b, size_t block) {
    int32_t pair;
    memcpy(&pair, a->q + b * a->stride + a->n_cols + a->n_cols / 8 + 4 * block, sizeof pair);
    return _mm512_set1_epi32(pair);
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

// Adds block `block` of activation row b times w [8] to the row's sum; j: the block in its chunk.
INKI_INLINE_AVX512VNNI __m512 add_block_avx512vnni(const type_avx512vnni *type, __m512 sum,
                                                   const __m512i *w, const scales_avx512vnni *s,
                                                   size_t j, __m512 d, const acts_avx512vnni *a,
                                                   size_t b, size_t block) {
    const uint8_t *x = act_bytes_avx512vnni(a, b, block);
    const float dx = act_scale_avx512vnni(a, b, block);
    const __m512i sums = act_sums_avx512vnni(a, b, block), none = _mm512_setzero_si512();
    const __m512i low = _mm512_set1_epi32((uint16_t)-type->zero);
    const __m512i both = _mm512_set1_epi16((int16_t)-type->zero);
    if (type->fine) {
        const __m512i high = _mm512_slli_epi32(low, 16);
        const __m512i dot0 = dot_avx512vnni(_mm512_dpwssd_epi32(none, sums, low), w, x, 4);
        const __m512i dot1 = dot_avx512vnni(_mm512_dpwssd_epi32(none, sums, high), w + 4, x + 16, 4);
        sum = scale_avx512vnni(sum, dot0, _mm512_loadu_ps(s->d[2 * j]), dx);
        return scale_avx512vnni(sum, dot1, _mm512_loadu_ps(s->d[2 * j + 1]), dx);
    }
    const __m512i above = type->zero != 0 ? _mm512_dpwssd_epi32(none, sums, both) : none;
    sum = scale_avx512vnni(sum, dot_avx512vnni(above, w, x, 8), d, dx);
    if (!type->has_min) return sum;
    const __m512i total = _mm512_dpwssd_epi32(none, sums, _mm512_set1_epi16(1));
    return _mm512_fmadd_ps(_mm512_loadu_ps(s->min[j]),
                           _mm512_mul_ps(_mm512_set1_ps(dx), _mm512_cvtepi32_ps(total)), sum);
}

// --- few activation rows -----------------------------------------------------------------------

// sums [n_batch] = sixteen weight rows times each activation row. `next` is fetched meanwhile.
INKI_INLINE_AVX512VNNI void direct_group_avx512vnni(const type_avx512vnni *type, __m512 *sums,
                                                    rows_avx512vnni r, const acts_avx512vnni *a,
                                                    size_t n_batch, const uint8_t *next) {
    const size_t n_blocks = a->n_cols / INKI_Q8_BLOCK;
    const size_t unit_bytes = VNNI_ROWS * type->chunk_bytes / VNNI_CHUNK_BLOCKS * type->unit_blocks;
    for (size_t b = 0; b < n_batch; b++) sums[b] = _mm512_setzero_ps();
    for (size_t first = 0; first < n_blocks; first += VNNI_CHUNK_BLOCKS) {
        const size_t n =
            n_blocks - first < VNNI_CHUNK_BLOCKS ? n_blocks - first : VNNI_CHUNK_BLOCKS;
        scales_avx512vnni s;
        type->scales(&s, &r, n);
        for (size_t j = 0; j < n; j += type->unit_blocks, next += unit_bytes) {
            for (size_t i = 0; i < unit_bytes; i += 64) _mm_prefetch((const char *)next + i, _MM_HINT_T0);
            __m512i w[8 * VNNI_MAX_UNIT_BLOCKS];
            type->unpack(w, &r, j / type->unit_blocks);
            for (size_t u = 0; u < type->unit_blocks; u++) {
                const __m512 d =
                    type->has_half
                        ? _mm512_cvtph_ps(_mm256_loadu_si256((const void *)s.half[j + u]))
                        : _mm512_loadu_ps(s.d[j + u]);
                for (size_t b = 0; b < n_batch; b++)
                    sums[b] = add_block_avx512vnni(type, sums[b], w + 8 * u, &s, j + u, d, a, b,
                                                   first + j + u);
            }
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
