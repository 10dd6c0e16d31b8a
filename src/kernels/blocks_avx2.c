// SPDX-License-Identifier: MIT
// Products of block weights with byte activations, sixteen weight rows at a time, which are the
// lanes of two vectors. A piece of those rows is packed into panels, and a tile multiplies them
// with up to four activation rows, whose four bytes of a step are broadcast. Integers are exact, so
// only the floats' order is of interest: a lane is one sum, blocks in rising order.
#include "kernels/levels.h"
#include "kernels/target.h"

#include "base/prefetch.h"

#if defined(INKI_HAVE_X86)
#include <immintrin.h>
#include <string.h>

INKI_TARGET_BEGIN_AVX2

#include "kernels/blocks_avx2_pack.h"

enum { AVX2_BATCH = 128, AVX2_ROWS = 16 };

// A piece of activation rows, `stride` bytes apart: bytes, scales and sums.
typedef struct block_acts_avx2 {
    const uint8_t *q, *d, *sum;
    size_t stride;
} block_acts_avx2;
// sums [n_batch of the tile][16] += two panels of n groups of 32 columns times activation rows.
typedef void (*block_tile_avx2)(float *sums, const block_panel_avx2 p[2], const block_acts_avx2 *x,
                                size_t n);
// sums [8] = n whole blocks of eight rows times one activation row, without a panel.
typedef void (*block_one_avx2)(float *sums, const uint8_t *const row[8], size_t n,
                               const block_acts_avx2 *x, uintptr_t ahead);
typedef struct block_kind_avx2 {
    size_t block_elems, block_bytes;
    block_pack_avx2 pack;
    block_tile_avx2 tile1, tile2, tile4;
    block_one_avx2 one; // or NULL
} block_kind_avx2;

// --- tiles -------------------------------------------------------------------------------------

INKI_TEMPLATE __m256i splat_four_avx2(const uint8_t *p) {
    return _mm256_set1_epi32(block_i32_avx2(p));
}
INKI_TEMPLATE __m256 splat_float_avx2(const uint8_t *p) {
    float f;
    memcpy(&f, p, sizeof f);
    return _mm256_set1_ps(f);
}

// Integers may be added in any order, and gcc would make all products of a group before it adds
// one, far more than there are registers. Behind this the sum so far must be there.
INKI_TEMPLATE __m256i in_turn_avx2(__m256i v) {
    __asm__("" : "+x"(v));
    return v;
}

// acc [2][n_b] = the 16-bit sums of n steps, so few that they fit. q: the columns of the first
// step.
INKI_TEMPLATE void steps_avx2(__m256i acc[2][4], const __m256i *w0, const __m256i *w1,
                              const uint8_t *q, size_t stride, const int n, const int n_b) {
    for (int b = 0; b < n_b; b++) {
        const __m256i v = splat_four_avx2(q + (size_t)b * stride);
        acc[0][b] = in_turn_avx2(_mm256_maddubs_epi16(w0[0], v));
        acc[1][b] = in_turn_avx2(_mm256_maddubs_epi16(w1[0], v));
    }
    for (int t = 1; t < n; t++)
        for (int b = 0; b < n_b; b++) {
            const __m256i v = splat_four_avx2(q + (size_t)b * stride + 4 * t);
            acc[0][b] = in_turn_avx2(_mm256_add_epi16(acc[0][b], _mm256_maddubs_epi16(w0[t], v)));
            acc[1][b] = in_turn_avx2(_mm256_add_epi16(acc[1][b], _mm256_maddubs_epi16(w1[t], v)));
        }
}

INKI_TEMPLATE __m256 add_group_avx2(__m256 sum, __m256i dot, __m256 scale, __m256 xd) {
    return _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot), _mm256_mul_ps(scale, xd), sum);
}

// Weights of 4 bits: the eight steps of a group add up to at most 8 * 2 * 15 * 128 < 2^15; of 5
// bits: four steps do. zero: what is stored for a weight of 0.
INKI_TEMPLATE void tile_narrow_avx2(float *sums, const block_panel_avx2 *p,
                                    const block_acts_avx2 *x, size_t n, const int n_b,
                                    const int bits, const int zero, const bool has_min) {
    const uint8_t *q = x->q, *d = x->d, *sum = x->sum;
    const size_t stride = x->stride;
    const __m256i ones = _mm256_set1_epi16(1), less = _mm256_set1_epi16((int16_t)-zero);
    for (size_t j = 0; j < n; j++, q += 32, d += 4, sum += 4) {
        const __m256i *w0 = p[0].w + 8 * j, *w1 = p[1].w + 8 * j;
        __m256i acc[2][4], half[2][4];
        steps_avx2(acc, w0, w1, q, stride, bits == 4 ? 8 : 4, n_b);
        for (int b = 0; b < n_b; b++)
            for (int h = 0; h < 2; h++) acc[h][b] = _mm256_madd_epi16(acc[h][b], ones);
        if (bits == 5) {
            steps_avx2(half, w0 + 4, w1 + 4, q + 16, stride, 4, n_b);
            for (int b = 0; b < n_b; b++)
                for (int h = 0; h < 2; h++)
                    acc[h][b] = _mm256_add_epi32(acc[h][b], _mm256_madd_epi16(half[h][b], ones));
        }
        for (int b = 0; b < n_b; b++) {
            const __m256 xd = splat_float_avx2(d + (size_t)b * stride);
            const __m256i xs = splat_four_avx2(sum + (size_t)b * stride);
            const __m256i zeros = _mm256_madd_epi16(xs, less);
            const __m256 mins = _mm256_mul_ps(xd, _mm256_cvtepi32_ps(_mm256_madd_epi16(xs, ones)));
            for (int h = 0; h < 2; h++) {
                const __m256i dot = zero != 0 ? _mm256_add_epi32(acc[h][b], zeros) : acc[h][b];
                float *to = sums + 16 * b + 8 * h;
                __m256 v = add_group_avx2(_mm256_load_ps(to), dot, p[h].scale[j], xd);
                if (has_min) v = _mm256_fmadd_ps(p[h].min[j], mins, v);
                _mm256_store_ps(to, v);
            }
        }
    }
}
INKI_TEMPLATE void tile_q4_0_avx2(float *sums, const block_panel_avx2 *p, const block_acts_avx2 *x,
                                  size_t n, const int n_b) {
    tile_narrow_avx2(sums, p, x, n, n_b, 4, 8, false);
}
INKI_TEMPLATE void tile_q5_0_avx2(float *sums, const block_panel_avx2 *p, const block_acts_avx2 *x,
                                  size_t n, const int n_b) {
    tile_narrow_avx2(sums, p, x, n, n_b, 5, 16, false);
}
INKI_TEMPLATE void tile_q4_k_avx2(float *sums, const block_panel_avx2 *p, const block_acts_avx2 *x,
                                  size_t n, const int n_b) {
    tile_narrow_avx2(sums, p, x, n, n_b, 4, 0, true);
}
INKI_TEMPLATE void tile_q5_k_avx2(float *sums, const block_panel_avx2 *p, const block_acts_avx2 *x,
                                  size_t n, const int n_b) {
    tile_narrow_avx2(sums, p, x, n, n_b, 5, 0, true);
}

// Q6_K: sixteen columns share a scale, and only two steps fit into 16 bits.
INKI_TEMPLATE void tile_q6_k_avx2(float *sums, const block_panel_avx2 *p, const block_acts_avx2 *x,
                                  size_t n, const int n_b) {
    const uint8_t *q = x->q, *sum = x->sum;
    const size_t stride = x->stride;
    const __m256i ones = _mm256_set1_epi16(1);
    const __m256i less = _mm256_set1_epi32(-32 & 0xffff); // the lower sum of a pair
    for (size_t j = 0; j < 2 * n; j++, q += 16, sum += 2) {
        const __m256i *w0 = p[0].w + 4 * j, *w1 = p[1].w + 4 * j;
        __m256i acc[2][4], half[2][4];
        steps_avx2(acc, w0, w1, q, stride, 2, n_b);
        for (int b = 0; b < n_b; b++)
            for (int h = 0; h < 2; h++) acc[h][b] = _mm256_madd_epi16(acc[h][b], ones);
        steps_avx2(half, w0 + 2, w1 + 2, q + 8, stride, 2, n_b);
        for (int b = 0; b < n_b; b++)
            for (int h = 0; h < 2; h++)
                acc[h][b] = _mm256_add_epi32(acc[h][b], _mm256_madd_epi16(half[h][b], ones));
        for (int b = 0; b < n_b; b++) {
            const __m256 xd = splat_float_avx2(x->d + (size_t)b * stride + j / 2 * 4);
            const __m256i c = _mm256_madd_epi16(
                _mm256_set1_epi32(block_u16_avx2(sum + (size_t)b * stride)), less);
            for (int h = 0; h < 2; h++) {
                const __m256i dot = _mm256_add_epi32(acc[h][b], c);
                float *to = sums + 16 * b + 8 * h;
                _mm256_store_ps(to, add_group_avx2(_mm256_load_ps(to), dot, p[h].scale[j], xd));
            }
        }
    }
}

// Q8_0: |w| times the activation with the weight's sign. No two steps fit into 16 bits.
INKI_TEMPLATE void tile_q8_0_avx2(float *sums, const block_panel_avx2 *p, const block_acts_avx2 *x,
                                  size_t n, const int n_b) {
    const uint8_t *q = x->q, *d = x->d;
    const size_t stride = x->stride;
    const __m256i ones = _mm256_set1_epi16(1);
    for (size_t j = 0; j < n; j++, q += 32, d += 4) {
        const __m256i *w0 = p[0].w + 8 * j, *w1 = p[1].w + 8 * j;
        __m256i acc[2][4];
        INKI_UNROLL
        for (int b = 0; b < n_b; b++) acc[0][b] = acc[1][b] = _mm256_setzero_si256();
        INKI_UNROLL
        for (int t = 0; t < 8; t++) {
            const __m256i a0 = _mm256_abs_epi8(w0[t]), a1 = _mm256_abs_epi8(w1[t]);
            INKI_UNROLL
            for (int b = 0; b < n_b; b++) {
                const __m256i v = splat_four_avx2(q + (size_t)b * stride + 4 * t);
                const __m256i m0 = _mm256_maddubs_epi16(a0, _mm256_sign_epi8(v, w0[t]));
                const __m256i m1 = _mm256_maddubs_epi16(a1, _mm256_sign_epi8(v, w1[t]));
                acc[0][b] = in_turn_avx2(_mm256_add_epi32(acc[0][b], _mm256_madd_epi16(m0, ones)));
                acc[1][b] = in_turn_avx2(_mm256_add_epi32(acc[1][b], _mm256_madd_epi16(m1, ones)));
            }
        }
        INKI_UNROLL
        for (int b = 0; b < n_b; b++) {
            const __m256 xd = splat_float_avx2(d + (size_t)b * stride);
            INKI_UNROLL
            for (int h = 0; h < 2; h++) {
                float *to = sums + 16 * b + 8 * h;
                _mm256_store_ps(to,
                                add_group_avx2(_mm256_load_ps(to), acc[h][b], p[h].scale[j], xd));
            }
        }
    }
}

#define AVX2_TILE(type, n_b)                                                                       \
    static void tile_##type##_##n_b##_avx2(float *sums, const block_panel_avx2 p[2],               \
                                           const block_acts_avx2 *x, size_t n) {                   \
        tile_##type##_avx2(sums, p, x, n, n_b);                                                    \
    }

// --- one activation row ------------------------------------------------------------------------

// The exact dot product of 32 columns; bits: of a weight.
INKI_TEMPLATE __m256i dot_block_avx2(const __m256i w[8], const uint8_t *q, const int bits) {
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i sum[8];
    for (int t = 0; t < 8; t++) {
        const __m256i v = splat_four_avx2(q + 4 * t);
        sum[t] = bits == 8 ? _mm256_maddubs_epi16(_mm256_abs_epi8(w[t]), _mm256_sign_epi8(v, w[t]))
                           : _mm256_maddubs_epi16(w[t], v);
        if (bits == 8) sum[t] = _mm256_madd_epi16(sum[t], ones);
        // As many as fit into 16 bits.
        if (bits == 8 && t > 0) sum[0] = in_turn_avx2(_mm256_add_epi32(sum[0], sum[t]));
        if (bits == 5 && t % 4 > 0) sum[t / 4 * 4] = _mm256_add_epi16(sum[t / 4 * 4], sum[t]);
        if (bits == 4 && t > 0) sum[0] = in_turn_avx2(_mm256_add_epi16(sum[0], sum[t]));
    }
    if (bits == 8) return sum[0];
    if (bits == 4) return _mm256_madd_epi16(sum[0], ones);
    return _mm256_add_epi32(_mm256_madd_epi16(sum[0], ones), _mm256_madd_epi16(sum[4], ones));
}

// sums [8] = n blocks of eight rows times one activation row: read once, they need no panel.
INKI_TEMPLATE __m256 one_act_avx2(const uint8_t *const row[8], size_t n, const block_acts_avx2 *x,
                                  uintptr_t ahead, size_t bytes, block_unpack_avx2 unpack,
                                  const int bits, const int zero) {
    const __m256i less = _mm256_set1_epi16((int16_t)-zero);
    __m256 sum = _mm256_setzero_ps();
    for (size_t j = 0; j < n; j++, ahead += 8 * bytes) {
        __m256i w[8];
        inki_prefetch(ahead, 8 * bytes);
        const __m256 scale = unpack(w, row, j * bytes);
        __m256i dot = dot_block_avx2(w, x->q + 32 * j, bits);
        if (zero != 0)
            dot = _mm256_add_epi32(dot, _mm256_madd_epi16(splat_four_avx2(x->sum + 4 * j), less));
        sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot),
                              _mm256_mul_ps(scale, splat_float_avx2(x->d + 4 * j)), sum);
    }
    return sum;
}

#define AVX2_BLOCK(type, bytes, bits, zero)                                                        \
    static void pack_##type##_avx2(block_panel_avx2 *p, const uint8_t *const row[8], size_t at,    \
                                   size_t n, uintptr_t ahead) {                                    \
        pack_blocks_avx2(p, row, at, n, ahead, bytes, unpack_##type##_avx2);                       \
    }                                                                                              \
    static void one_##type##_avx2(float *sums, const uint8_t *const row[8], size_t n,              \
                                  const block_acts_avx2 *x, uintptr_t ahead) {                     \
        _mm256_store_ps(sums,                                                                      \
                        one_act_avx2(row, n, x, ahead, bytes, unpack_##type##_avx2, bits, zero));  \
    }
AVX2_BLOCK(q4_0, 18, 4, 8)
AVX2_BLOCK(q5_0, 22, 5, 16)
AVX2_BLOCK(q8_0, 34, 8, 0)
#undef AVX2_BLOCK

// --- the whole product -------------------------------------------------------------------------

typedef struct block_product_avx2 {
    const block_kind_avx2 *kind;
    float *out;
    size_t out_stride;
    const uint8_t *weights;
    size_t row_bytes;
    const uint8_t *acts;
    size_t act_stride;
    const float *bias;
    size_t n_rows, n_cols;
} block_product_avx2;

// n <= 8 floats of a vector, and plus the bias.
static inline void store_lanes_avx2(float *out, __m256 v, const float *bias, size_t n) {
    const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    const __m256i there = _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), lanes);
    if (bias != NULL) v = _mm256_add_ps(v, _mm256_maskload_ps(bias, there));
    _mm256_maskstore_ps(out, there, v);
}

static inline block_acts_avx2 block_acts_at_avx2(const block_product_avx2 *m, size_t b, size_t k) {
    const uint8_t *act = m->acts + b * m->act_stride;
    const uint8_t *d = act + m->n_cols + k / 8;
    return (block_acts_avx2){act + k, d, d + m->n_cols / 8, m->act_stride};
}

// The columns from k on, as many as fit into a panel.
static inline void block_piece_avx2(float *sums, block_panel_avx2 p[2], const block_product_avx2 *m,
                                    const uint8_t *const row[AVX2_ROWS], uintptr_t ahead, size_t b0,
                                    size_t n_batch, size_t k) {
    const block_kind_avx2 *kind = m->kind;
    const size_t n = m->n_cols - k < 4 * AVX2_STEPS ? m->n_cols - k : 4 * AVX2_STEPS;
    const size_t at = k / kind->block_elems * kind->block_bytes;
    const size_t n_blocks = n / kind->block_elems;
    kind->pack(&p[0], row, at, n_blocks, ahead + 16 * at);
    kind->pack(&p[1], row + 8, at, n_blocks, ahead + 16 * at + 8 * n_blocks * kind->block_bytes);
    for (size_t b = 0; b < n_batch;) {
        const block_acts_avx2 x = block_acts_at_avx2(m, b0 + b, k);
        const size_t left = n_batch - b, n_b = left >= 4                          ? 4
                                               : left >= 2 && kind->tile2 != NULL ? 2
                                                                                  : 1;
        const block_tile_avx2 tile = n_b == 4 ? kind->tile4 : n_b == 2 ? kind->tile2 : kind->tile1;
        tile(sums + AVX2_ROWS * b, p, &x, n / 32);
        b += n_b;
    }
}

// Rows [r, r + 16), as far as they are there, times activations [b0, b0 + n_batch).
static void block_rows_avx2(const block_product_avx2 *m, size_t r, size_t b0, size_t n_batch) {
    _Alignas(32) float sums[AVX2_BATCH * AVX2_ROWS];
    block_panel_avx2 panels[2];
    const block_kind_avx2 *kind = m->kind;
    const uint8_t *row[AVX2_ROWS];
    const size_t n_rows = m->n_rows - r < AVX2_ROWS ? m->n_rows - r : AVX2_ROWS;
    for (size_t i = 0; i < AVX2_ROWS; i++) // behind the last one: that again
        row[i] = m->weights + (r + (i < n_rows ? i : n_rows - 1)) * m->row_bytes;
    // The rows that come next are one stretch of memory: each piece asks for its share of it.
    const bool last = m->n_rows - r < 2 * AVX2_ROWS;
    const uintptr_t ahead = (uintptr_t)row[0] + (last ? 0 : AVX2_ROWS * m->row_bytes);
    if (n_batch == 1 && kind->one != NULL) {
        const block_acts_avx2 x = block_acts_at_avx2(m, b0, 0);
        const size_t n = m->n_cols / kind->block_elems;
        kind->one(sums, row, n, &x, ahead);
        if (n_rows > 8) kind->one(sums + 8, row + 8, n, &x, ahead + 8 * n * kind->block_bytes);
    } else {
        memset(sums, 0, n_batch * AVX2_ROWS * sizeof *sums);
        for (size_t k = 0; k < m->n_cols; k += 4 * AVX2_STEPS)
            block_piece_avx2(sums, panels, m, row, ahead, b0, n_batch, k);
    }
    for (size_t b = 0; b < n_batch; b++)
        for (size_t i = 0; i < n_rows; i += 8)
            store_lanes_avx2(
                m->out + (b0 + b) * m->out_stride + r + i, _mm256_load_ps(sums + AVX2_ROWS * b + i),
                m->bias != NULL ? m->bias + r + i : NULL, n_rows - i < 8 ? n_rows - i : 8);
}

static void block_matmul_avx2(const block_product_avx2 *m, size_t n_batch) {
    for (size_t b = 0; b < n_batch; b += AVX2_BATCH)
        for (size_t r = 0; r < m->n_rows; r += AVX2_ROWS)
            block_rows_avx2(m, r, b, n_batch - b < AVX2_BATCH ? n_batch - b : AVX2_BATCH);
}

#define AVX2_KIND(type, elems, bytes, one, tile2)                                                  \
    AVX2_TILE(type, 1)                                                                             \
    AVX2_TILE(type, 4)                                                                             \
    static const block_kind_avx2 kind_##type##_avx2 = {                                            \
        elems, bytes, pack_##type##_avx2, tile_##type##_1_avx2, tile2, tile_##type##_4_avx2, one}; \
    static void matmul_##type##_avx2(                                                              \
        float *out, size_t out_stride, const void *weights, size_t row_bytes, const void *acts,    \
        size_t act_stride, const float *bias, size_t n_rows, size_t n_cols, size_t n_batch) {      \
        const block_product_avx2 m = {&kind_##type##_avx2,                                         \
                                      out,                                                         \
                                      out_stride,                                                  \
                                      (const uint8_t *)weights,                                    \
                                      row_bytes,                                                   \
                                      (const uint8_t *)acts,                                       \
                                      act_stride,                                                  \
                                      bias,                                                        \
                                      n_rows,                                                      \
                                      n_cols};                                                     \
        block_matmul_avx2(&m, n_batch);                                                            \
    }
AVX2_TILE(q8_0, 2)
AVX2_KIND(q8_0, 32, 34, one_q8_0_avx2, tile_q8_0_2_avx2)
AVX2_TILE(q4_0, 2)
AVX2_KIND(q4_0, 32, 18, one_q4_0_avx2, tile_q4_0_2_avx2)
AVX2_KIND(q5_0, 32, 22, one_q5_0_avx2, NULL)
AVX2_KIND(q4_k, 256, 144, NULL, NULL)
AVX2_KIND(q5_k, 256, 176, NULL, NULL)
AVX2_KIND(q6_k, 256, 210, NULL, NULL)
#undef AVX2_TILE
#undef AVX2_KIND

INKI_TARGET_END

void inki_blocks_avx2(inki_kernels *table) {
    table->matmul[INKI_Q8_0] = matmul_q8_0_avx2;
    table->matmul[INKI_Q4_0] = matmul_q4_0_avx2;
    table->matmul[INKI_Q5_0] = matmul_q5_0_avx2;
    table->matmul[INKI_Q4_K] = matmul_q4_k_avx2;
    table->matmul[INKI_Q5_K] = matmul_q5_k_avx2;
    table->matmul[INKI_Q6_K] = matmul_q6_k_avx2;
}
#endif
