// SPDX-License-Identifier: MIT
// Attention over a tile. Four queries share each load and widening of keys and values; a query on
// its own goes through the same operations in the same order. What is stored in tiles, AVX2 writes,
// and it attends to floats, which few keep: the bytes are the same, and 7 kB of code are spared.
//
// Orders: a score is two sums, over the even and over the odd dimensions, each in rising order by
// fused multiply-adds; their sum times the scale (Q8_0: the two sums for each block of 32, their
// sum added times the block's scale). The weights' sum: sixteen sums, folded in halves. A value:
// one sum over the even positions, which starts at the old value times what remains of it, and one
// over the odd ones, which starts at 0, each in rising order by fused multiply-adds; then their
// sum.
#include "kernels/levels.h"
#include "kernels/target.h"

#include "base/prefetch.h"
#include "inkling/inkling.h"

#if defined(INKI_HAVE_X86)
#include <immintrin.h>
#include <math.h>

INKI_TARGET_BEGIN_AVX512

// Up to four queries. Where there are fewer, the last one stands in for the others: it gives the
// same numbers again, and writes them to the same place.
typedef struct attend_block_avx512 {
    const uint8_t *keys, *values;
    size_t head_dim, row_bytes;
    float scale;
    const float *q[4];
    float *acc[4];
    inki_softmax *state[4];
    size_t n[4]; // positions seen, not falling
    _Alignas(64) float p[4][INKI_TILE];
    float keep[4];
} attend_block_avx512;

// Sixteen neighbours of a key's row of columns.
INKI_TEMPLATE __m512 load_columns_avx512(uint32_t kv_type, const uint8_t *p) {
    if (kv_type == INK_KV_F16) return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)p)));
}

INKI_TEMPLATE size_t column_bytes_avx512(uint32_t kv_type) { return kv_type == INK_KV_F16 ? 2 : 1; }

INKI_TEMPLATE void add_dimension_avx512(__m512 sum[4][4], const float *const *q, size_t d,
                                        const uint8_t *row, uint32_t kv_type, int n_q, int n_v) {
    __m512 k[4];
    INKI_UNROLL
    for (int j = 0; j < n_v; j++)
        k[j] = load_columns_avx512(kv_type, row + (size_t)j * 16 * column_bytes_avx512(kv_type));
    INKI_UNROLL
    for (int i = 0; i < n_q; i++) {
        const __m512 x = _mm512_set1_ps(q[i][d]);
        INKI_UNROLL
        for (int j = 0; j < n_v; j++) sum[i][j] = _mm512_fmadd_ps(x, k[j], sum[i][j]);
    }
}

// Dots of n_q queries' dimensions [begin, end) with 16 * n_v columns, `rows` being those of
// dimension `begin`. From `ahead` on as many bytes are fetched as this reads.
INKI_TEMPLATE void dot_columns_avx512(__m512 dot[4][4], const float *const *q, size_t begin,
                                      size_t end, const uint8_t *rows, uint32_t kv_type, int n_q,
                                      int n_v, uintptr_t ahead) {
    const size_t stride = INKI_TILE * column_bytes_avx512(kv_type);
    __m512 even[4][4], odd[4][4];
    INKI_UNROLL
    for (int i = 0; i < n_q; i++) {
        INKI_UNROLL
        for (int j = 0; j < n_v; j++) even[i][j] = odd[i][j] = _mm512_setzero_ps();
    }
    size_t d = begin;
    const size_t step = 2 * 16 * (size_t)n_v * column_bytes_avx512(kv_type);
    for (; d + 2 <= end; d += 2, rows += 2 * stride, ahead += step) {
        inki_prefetch(ahead, step);
        add_dimension_avx512(even, q, d, rows, kv_type, n_q, n_v);
        add_dimension_avx512(odd, q, d + 1, rows + stride, kv_type, n_q, n_v);
    }
    if (d < end) add_dimension_avx512(even, q, d, rows, kv_type, n_q, n_v);
    INKI_UNROLL
    for (int i = 0; i < n_q; i++) {
        INKI_UNROLL
        for (int j = 0; j < n_v; j++) dot[i][j] = _mm512_add_ps(even[i][j], odd[i][j]);
    }
}

// Scores of positions [first, first + 16 * n_v), whose values are fetched meanwhile.
INKI_TEMPLATE void score_avx512(attend_block_avx512 *b, size_t first, uint32_t kv_type, int n_q,
                                int n_v) {
    const uint8_t *keys = b->keys;
    const size_t head_dim = b->head_dim;
    uintptr_t ahead = (uintptr_t)b->values + first * b->row_bytes;
    __m512 sum[4][4], dot[4][4];
    if (kv_type != INK_KV_Q8_0) {
        dot_columns_avx512(sum, b->q, 0, head_dim, keys + first * column_bytes_avx512(kv_type),
                           kv_type, n_q, n_v, ahead);
    } else {
        INKI_UNROLL
        for (int i = 0; i < n_q; i++) {
            INKI_UNROLL
            for (int j = 0; j < n_v; j++) sum[i][j] = _mm512_setzero_ps();
        }
        for (size_t d = 0; d < head_dim; d += INKI_Q8_BLOCK, keys += 34 * INKI_TILE) {
            const size_t end = head_dim - d < INKI_Q8_BLOCK ? head_dim : d + INKI_Q8_BLOCK;
            dot_columns_avx512(dot, b->q, d, end, keys + 2 * INKI_TILE + first, kv_type, n_q, n_v,
                               ahead);
            ahead += 34 * 16 * (size_t)n_v;
            INKI_UNROLL
            for (int j = 0; j < n_v; j++) {
                const __m512 step =
                    load_columns_avx512(INK_KV_F16, keys + 2 * (first + 16 * (size_t)j));
                INKI_UNROLL
                for (int i = 0; i < n_q; i++)
                    sum[i][j] = _mm512_fmadd_ps(step, dot[i][j], sum[i][j]);
            }
        }
    }
    INKI_UNROLL
    for (int i = 0; i < n_q; i++) {
        INKI_UNROLL
        for (int j = 0; j < n_v; j++)
            _mm512_storeu_ps(b->p[i] + first + 16 * j,
                             _mm512_mul_ps(sum[i][j], _mm512_set1_ps(b->scale)));
    }
}

// The steps of inki_exp for x <= 0: the power of two comes in one go and rounds what is subnormal.
static inline __m512 exp_avx512(__m512 x) {
    x = _mm512_max_ps(_mm512_set1_ps(-104.0f), x); // the second where one is a NaN
    const __m512 magic = _mm512_set1_ps(12582912.0f);
    const __m512 n = _mm512_sub_ps(_mm512_fmadd_ps(x, _mm512_set1_ps(1.44269504f), magic), magic);
    __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693359375f), x);
    r = _mm512_fmadd_ps(n, _mm512_set1_ps(2.12194440e-4f), r);
    __m512 p = _mm512_set1_ps(1.39262134e-3f);
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(8.36320297e-3f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(4.16665544e-2f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.166665768f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.5f));
    p = _mm512_fmadd_ps(_mm512_mul_ps(r, r), p, r);
    return _mm512_scalef_ps(_mm512_add_ps(p, _mm512_set1_ps(1.0f)), n);
}

static inline __m128 add_halves_avx512(__m512 v) {
    const __m256 s = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    return _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
}

static inline __m128 max_halves_avx512(__m512 v) {
    const __m256 s = _mm256_max_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    return _mm_max_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
}

// Lane i is the sum of v[i]: k + 8, k + 4, k + 2, k + 1.
INKI_TEMPLATE __m128 fold_sums_avx512(const __m512 v[4]) {
    const __m128 a = add_halves_avx512(v[0]), b = add_halves_avx512(v[1]);
    const __m128 c = add_halves_avx512(v[2]), d = add_halves_avx512(v[3]);
    const __m128 ab = _mm_add_ps(_mm_unpacklo_ps(a, b), _mm_unpackhi_ps(a, b));
    const __m128 cd = _mm_add_ps(_mm_unpacklo_ps(c, d), _mm_unpackhi_ps(c, d));
    return _mm_add_ps(_mm_movelh_ps(ab, cd), _mm_movehl_ps(cd, ab));
}

INKI_TEMPLATE __m128 fold_maxima_avx512(const __m512 v[4]) {
    const __m128 a = max_halves_avx512(v[0]), b = max_halves_avx512(v[1]);
    const __m128 c = max_halves_avx512(v[2]), d = max_halves_avx512(v[3]);
    const __m128 ab = _mm_max_ps(_mm_unpacklo_ps(a, b), _mm_unpackhi_ps(a, b));
    const __m128 cd = _mm_max_ps(_mm_unpacklo_ps(c, d), _mm_unpackhi_ps(c, d));
    return _mm_max_ps(_mm_movelh_ps(ab, cd), _mm_movehl_ps(cd, ab));
}

// Scores of columns that query i does not see count as -infinity, whatever they hold.
static inline __m512 seen_scores_avx512(const attend_block_avx512 *b, int i, size_t first) {
    const __mmask16 seen = (__mmask16)(b->n[i] >= first + 16 ? 0xffffu
                                       : b->n[i] > first     ? (1u << (b->n[i] - first)) - 1
                                                             : 0);
    return _mm512_mask_loadu_ps(_mm512_set1_ps(-INFINITY), seen, b->p[i] + first);
}

// Scores become weights; the state moves on, and keep is what remains of the old values.
INKI_TEMPLATE void softmax_avx512(attend_block_avx512 *b, int n_q) {
    __m512 lanes[4];
    for (int i = 0; i < n_q; i++) {
        lanes[i] = _mm512_set1_ps(b->state[i]->max); // never a NaN, and no NaN gets past it
        for (size_t t = 0; t < INKI_TILE; t += 16)
            lanes[i] = _mm512_max_ps(seen_scores_avx512(b, i, t), lanes[i]);
    }
    for (int i = n_q; i < 4; i++) lanes[i] = lanes[0];
    float max[4];
    const __m128 new_max = fold_maxima_avx512(lanes);
    _mm_storeu_ps(max, new_max);
    for (int i = 0; i < n_q; i++) {
        const __m512 m = _mm512_set1_ps(max[i]);
        lanes[i] = _mm512_setzero_ps();
        for (size_t t = 0; t < INKI_TILE; t += 16) {
            const __m512 p = exp_avx512(_mm512_sub_ps(seen_scores_avx512(b, i, t), m));
            _mm512_storeu_ps(b->p[i] + t, p);
            lanes[i] = _mm512_add_ps(lanes[i], p);
        }
    }
    for (int i = n_q; i < 4; i++) lanes[i] = lanes[0];
    float old_max[4], old_sum[4], sum[4];
    for (int i = 0; i < 4; i++) old_max[i] = b->state[i]->max;
    for (int i = 0; i < 4; i++) old_sum[i] = b->state[i]->sum;
    const __m128 keep = _mm512_castps512_ps128(
        exp_avx512(_mm512_castps128_ps512(_mm_sub_ps(_mm_loadu_ps(old_max), new_max))));
    _mm_storeu_ps(b->keep, keep);
    _mm_storeu_ps(sum, _mm_fmadd_ps(_mm_loadu_ps(old_sum), keep, fold_sums_avx512(lanes)));
    for (int i = 0; i < n_q; i++) *b->state[i] = (inki_softmax){.max = max[i], .sum = sum[i]};
}

// Once for all types.
INKI_APART void softmax_four_avx512(attend_block_avx512 *b) { softmax_avx512(b, 4); }
INKI_APART void softmax_one_avx512(attend_block_avx512 *b) { softmax_avx512(b, 1); }

INKI_TEMPLATE size_t value_offset_avx512(uint32_t kv_type, size_t at) {
    return kv_type == INK_KV_Q8_0 ? at / 32 * 34 : at * column_bytes_avx512(kv_type);
}

// Sixteen columns of a value's row from `at` on, those of the mask. A multiple of a half and a
// signed byte is exact as a float.
INKI_TEMPLATE __m512 load_values_avx512(uint32_t kv_type, const uint8_t *row, size_t at,
                                        __mmask16 mask) {
    if (kv_type == INK_KV_F16) return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, row + 2 * at));
    const uint8_t *block = row + at / 32 * 34; // rows end with a whole block
    const __m512 step =
        _mm512_cvtph_ps(_mm256_set1_epi16((short)(block[0] | (unsigned)block[1] << 8)));
    return _mm512_mul_ps(step, load_columns_avx512(INK_KV_Q8_0, block + 2 + at % 32));
}

INKI_TEMPLATE void add_position_avx512(__m512 sum[4][4], const attend_block_avx512 *b, size_t t,
                                       const uint8_t *row, size_t at, __mmask16 mask,
                                       uint32_t kv_type, int n_q, int n_v) {
    __m512 v[4];
    INKI_UNROLL
    for (int j = 0; j < n_v; j++)
        v[j] = load_values_avx512(kv_type, row, at + 16 * (size_t)j, mask);
    INKI_UNROLL
    for (int i = 0; i < n_q; i++) {
        const __m512 p = _mm512_set1_ps(b->p[i][t]);
        INKI_UNROLL
        for (int j = 0; j < n_v; j++) sum[i][j] = _mm512_fmadd_ps(p, v[j], sum[i][j]);
    }
}

// The same for queries that see position t only; what the others must not see is not even
// multiplied by 0, since it may be a NaN.
INKI_TEMPLATE void add_seen_position_avx512(__m512 sum[4][4], const attend_block_avx512 *b,
                                            size_t t, const uint8_t *row, size_t at, __mmask16 mask,
                                            uint32_t kv_type, int n_q, int n_v) {
    INKI_UNROLL
    for (int j = 0; j < n_v; j++) {
        const __m512 v = load_values_avx512(kv_type, row, at + 16 * (size_t)j, mask);
        INKI_UNROLL
        for (int i = 0; i < n_q; i++) {
            const __mmask16 seen = t < b->n[i] ? 0xffff : 0;
            sum[i][j] = _mm512_mask3_fmadd_ps(_mm512_set1_ps(b->p[i][t]), v, sum[i][j], seen);
        }
    }
}

// Columns [at, at + 16 * n_v) of the queries' values, those of the mask.
// Meanwhile the same part of the keys that follow these in memory is fetched: the next head's, if
// the caller goes from head to head. For many queries too, which wait for arithmetic: it costs them
// nothing that could be measured.
INKI_TEMPLATE void add_values_avx512(const attend_block_avx512 *b, size_t at, __mmask16 mask,
                                     uint32_t kv_type, int n_q, int n_v) {
    __m512 even[4][4], odd[4][4];
    INKI_UNROLL
    for (int i = 0; i < n_q; i++) {
        INKI_UNROLL
        for (int j = 0; j < n_v; j++) {
            const __m512 old = _mm512_maskz_loadu_ps(mask, b->acc[i] + at + 16 * j);
            even[i][j] = _mm512_mul_ps(old, _mm512_set1_ps(b->keep[i]));
            odd[i][j] = _mm512_setzero_ps();
        }
    }
    const size_t n_all = b->n[0], n_some = b->n[n_q - 1];
    const size_t row_bytes = b->row_bytes,
                 step = 2 * value_offset_avx512(kv_type, 16 * (size_t)n_v);
    const uint8_t *row = b->values;
    uintptr_t ahead =
        (uintptr_t)b->keys + INKI_TILE * (row_bytes + value_offset_avx512(kv_type, at));
    size_t t = 0;
    for (; t + 2 <= n_all; t += 2, row += 2 * row_bytes, ahead += step) {
        if (n_q == 4 || n_v == 4) inki_prefetch(ahead, step);
        add_position_avx512(even, b, t, row, at, mask, kv_type, n_q, n_v);
        add_position_avx512(odd, b, t + 1, row + row_bytes, at, mask, kv_type, n_q, n_v);
    }
    if (n_q == 1) { // nothing that one sees and another does not
        if (t < n_all) add_position_avx512(even, b, t, row, at, mask, kv_type, n_q, n_v);
        t = n_some;
    }
    for (; t < n_some; t += 2, row += 2 * row_bytes) {
        add_seen_position_avx512(even, b, t, row, at, mask, kv_type, n_q, n_v);
        if (t + 1 == n_some) break;
        add_seen_position_avx512(odd, b, t + 1, row + row_bytes, at, mask, kv_type, n_q, n_v);
    }
    INKI_UNROLL
    for (int i = 0; i < n_q; i++) {
        INKI_UNROLL
        for (int j = 0; j < n_v; j++)
            _mm512_mask_storeu_ps(b->acc[i] + at + 16 * j, mask,
                                  _mm512_add_ps(even[i][j], odd[i][j]));
    }
}

INKI_TEMPLATE void attend_four_avx512(attend_block_avx512 *b, uint32_t kv_type) {
    const size_t head_dim = b->head_dim, n = b->n[3];
    size_t t = 0, at = 0;
    for (; t + 16 < n; t += 32) score_avx512(b, t, kv_type, 4, 2);
    if (t < n) score_avx512(b, t, kv_type, 4, 1);
    softmax_four_avx512(b);
    for (; at + 32 <= head_dim; at += 32) add_values_avx512(b, at, 0xffff, kv_type, 4, 2);
    for (; at < head_dim; at += 16) {
        const __mmask16 mask =
            (__mmask16)(head_dim - at < 16 ? (1u << (head_dim - at)) - 1 : 0xffffu);
        add_values_avx512(b, at, mask, kv_type, 4, 1);
    }
}

INKI_TEMPLATE void attend_one_avx512(attend_block_avx512 *b, uint32_t kv_type) {
    const size_t head_dim = b->head_dim, n = b->n[0];
    size_t t = 0, at = 0;
    if (n > 48) {
        score_avx512(b, 0, kv_type, 1, 4);
        t = INKI_TILE;
    }
    for (; t + 16 < n; t += 32) score_avx512(b, t, kv_type, 1, 2);
    if (t < n) score_avx512(b, t, kv_type, 1, 1);
    softmax_one_avx512(b);
    for (; at + 64 <= head_dim; at += 64) add_values_avx512(b, at, 0xffff, kv_type, 1, 4);
    for (; at + 32 <= head_dim; at += 32) add_values_avx512(b, at, 0xffff, kv_type, 1, 2);
    for (; at < head_dim; at += 16) {
        const __mmask16 mask =
            (__mmask16)(head_dim - at < 16 ? (1u << (head_dim - at)) - 1 : 0xffffu);
        add_values_avx512(b, at, mask, kv_type, 1, 1);
    }
}

INKI_TEMPLATE void attend_avx512(float *acc, size_t acc_stride, inki_softmax *state, const float *q,
                                 size_t q_stride, size_t n_q, const uint8_t *keys,
                                 const uint8_t *values, size_t n_pos, size_t head_dim, float scale,
                                 uint32_t kv_type) {
    attend_block_avx512 b; // not initialised as a whole: the scores alone take a kilobyte
    b.keys = keys;
    b.values = values;
    b.head_dim = head_dim;
    b.scale = scale;
    b.row_bytes = inki_kv_row_bytes(kv_type, head_dim);
    for (size_t first = 0; first < n_q; first += 4) {
        for (size_t i = 0; i < 4; i++) {
            const size_t at = first + i < n_q ? first + i : n_q - 1;
            b.q[i] = q + at * q_stride;
            b.acc[i] = acc + at * acc_stride;
            b.state[i] = state + at;
            b.n[i] = n_pos + at < INKI_TILE ? n_pos + at : INKI_TILE;
        }
        if (n_q - first > 1)
            attend_four_avx512(&b, kv_type);
        else
            attend_one_avx512(&b, kv_type);
    }
}

#define ATTEND_SLOT(name, kv_type)                                                                 \
    static void name(float *acc, size_t acc_stride, inki_softmax *state, const float *q,           \
                     size_t q_stride, size_t n_q, const void *keys, const void *values,            \
                     size_t n_pos, size_t head_dim, float scale) {                                 \
        attend_avx512(acc, acc_stride, state, q, q_stride, n_q, (const uint8_t *)keys,             \
                      (const uint8_t *)values, n_pos, head_dim, scale, kv_type);                   \
    }
ATTEND_SLOT(attend_f16_avx512, INK_KV_F16)
ATTEND_SLOT(attend_q8_0_avx512, INK_KV_Q8_0)
#undef ATTEND_SLOT

INKI_TARGET_END

void inki_attend_avx512(inki_kernels *table) {
    table->attend[INK_KV_F16] = attend_f16_avx512;
    table->attend[INK_KV_Q8_0] = attend_q8_0_avx512;
}
#endif
