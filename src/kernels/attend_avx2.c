// SPDX-License-Identifier: MIT
// Attention over a tile, and what is stored in it. Four queries share each load and
// widening of keys and values; a query on its own goes through the same operations in the same
// order.
//
// The orders are those of attend_avx512.c: a score is two sums, over the even and over the odd
// dimensions, a value two sums, over the even and over the odd positions, the weights' sum sixteen.
#include "kernels/levels.h"
#include "kernels/target.h"

#include "base/half.h"
#include "base/prefetch.h"
#include "inkling/inkling.h"

#if defined(INKI_HAVE_X86)
#include <immintrin.h>
#include <math.h>
#include <string.h>

INKI_TARGET_BEGIN_AVX2

// Up to four queries. Where there are fewer, the last one stands in for the others: it gives the
// same numbers again, and writes them to the same place.
typedef struct attend_block_avx2 {
    const uint8_t *keys, *values;
    size_t head_dim, row_bytes;
    float scale;
    _Alignas(64) float p[4][INKI_TILE];
    const float *q[4];
    float *acc[4];
    inki_softmax state[4];
    size_t n[4]; // positions seen, not falling
    float keep[4];
} attend_block_avx2;

// Eight neighbours of a key's row of columns.
INKI_TEMPLATE __m256 load_columns_avx2(uint32_t kv_type, const uint8_t *p) {
    if (kv_type == INK_KV_F32) return _mm256_loadu_ps((const float *)(const void *)p);
    if (kv_type == INK_KV_F16) return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p));
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)p)));
}

INKI_TEMPLATE size_t column_bytes_avx2(uint32_t kv_type) {
    return kv_type == INK_KV_F32 ? 4 : kv_type == INK_KV_F16 ? 2 : 1;
}

INKI_TEMPLATE void add_dimension_avx2(__m256 sum[4][4], const float *const *q, size_t d,
                                      const uint8_t *row, uint32_t kv_type, int n_q, int n_v) {
    __m256 k[4];
    INKI_UNROLL
    for (int j = 0; j < n_v; j++)
        k[j] = load_columns_avx2(kv_type, row + (size_t)j * 8 * column_bytes_avx2(kv_type));
    INKI_UNROLL
    for (int i = 0; i < n_q; i++) {
        const __m256 x = _mm256_broadcast_ss(q[i] + d);
        INKI_UNROLL
        for (int j = 0; j < n_v; j++) sum[i][j] = _mm256_fmadd_ps(x, k[j], sum[i][j]);
    }
}

// Dots of n_q queries' dimensions [begin, end) with 8 * n_v columns, `rows` being those of
// dimension `begin`. From `ahead` on as many bytes are fetched as this reads.
INKI_TEMPLATE void dot_columns_avx2(__m256 dot[4][4], const float *const *q, size_t begin,
                                    size_t end, const uint8_t *rows, uint32_t kv_type, int n_q,
                                    int n_v, uintptr_t ahead) {
    const size_t stride = INKI_TILE * column_bytes_avx2(kv_type);
    __m256 even[4][4], odd[4][4];
    INKI_UNROLL
    for (int i = 0; i < n_q; i++) {
        INKI_UNROLL
        for (int j = 0; j < n_v; j++) even[i][j] = odd[i][j] = _mm256_setzero_ps();
    }
    size_t d = begin;
    const size_t step = 2 * 8 * (size_t)n_v * column_bytes_avx2(kv_type);
    for (; d + 2 <= end; d += 2, rows += 2 * stride, ahead += step) {
        inki_prefetch(ahead, step);
        add_dimension_avx2(even, q, d, rows, kv_type, n_q, n_v);
        add_dimension_avx2(odd, q, d + 1, rows + stride, kv_type, n_q, n_v);
    }
    if (d < end) add_dimension_avx2(even, q, d, rows, kv_type, n_q, n_v);
    INKI_UNROLL
    for (int i = 0; i < n_q; i++) {
        INKI_UNROLL
        for (int j = 0; j < n_v; j++) dot[i][j] = _mm256_add_ps(even[i][j], odd[i][j]);
    }
}

// Scores of positions [first, first + 8 * n_v), whose values are fetched meanwhile.
INKI_TEMPLATE void score_avx2(attend_block_avx2 *b, size_t first, uint32_t kv_type, int n_q,
                              int n_v) {
    const uint8_t *keys = b->keys;
    const size_t head_dim = b->head_dim;
    uintptr_t ahead = (uintptr_t)b->values + first * b->row_bytes;
    __m256 sum[4][4], dot[4][4];
    if (kv_type != INK_KV_Q8_0) {
        dot_columns_avx2(sum, b->q, 0, head_dim, keys + first * column_bytes_avx2(kv_type), kv_type,
                         n_q, n_v, ahead);
    } else {
        INKI_UNROLL
        for (int i = 0; i < n_q; i++) {
            INKI_UNROLL
            for (int j = 0; j < n_v; j++) sum[i][j] = _mm256_setzero_ps();
        }
        for (size_t d = 0; d < head_dim; d += INKI_Q8_BLOCK, keys += 34 * INKI_TILE) {
            const size_t end = head_dim - d < INKI_Q8_BLOCK ? head_dim : d + INKI_Q8_BLOCK;
            dot_columns_avx2(dot, b->q, d, end, keys + 2 * INKI_TILE + first, kv_type, n_q, n_v,
                             ahead);
            ahead += 34 * 8 * (size_t)n_v;
            INKI_UNROLL
            for (int j = 0; j < n_v; j++) {
                const __m256 step =
                    load_columns_avx2(INK_KV_F16, keys + 2 * (first + 8 * (size_t)j));
                INKI_UNROLL
                for (int i = 0; i < n_q; i++)
                    sum[i][j] = _mm256_fmadd_ps(step, dot[i][j], sum[i][j]);
            }
        }
    }
    INKI_UNROLL
    for (int i = 0; i < n_q; i++) {
        INKI_UNROLL
        for (int j = 0; j < n_v; j++)
            _mm256_storeu_ps(b->p[i] + first + 8 * j,
                             _mm256_mul_ps(sum[i][j], _mm256_set1_ps(b->scale)));
    }
}

// The steps of inki_exp for x <= 0, with fused multiply-adds.
static inline __m256 exp_avx2(__m256 x) {
    x = _mm256_max_ps(_mm256_set1_ps(-104.0f), x); // the second where one is a NaN
    const __m256 magic = _mm256_set1_ps(12582912.0f);
    const __m256 shifted = _mm256_fmadd_ps(x, _mm256_set1_ps(1.44269504f), magic);
    const __m256 n = _mm256_sub_ps(shifted, magic);
    __m256 r = _mm256_fnmadd_ps(n, _mm256_set1_ps(0.693359375f), x);
    r = _mm256_fmadd_ps(n, _mm256_set1_ps(2.12194440e-4f), r);
    __m256 p = _mm256_set1_ps(1.39262134e-3f);
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(8.36320297e-3f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(4.16665544e-2f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(0.166665768f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(0.5f));
    p = _mm256_fmadd_ps(_mm256_mul_ps(r, r), p, r);
    p = _mm256_add_ps(p, _mm256_set1_ps(1.0f));
    const __m256i i = _mm256_sub_epi32(_mm256_castps_si256(shifted), _mm256_set1_epi32(0x4b400000));
    const __m256i half = _mm256_srai_epi32(i, 1), bias = _mm256_set1_epi32(127);
    const __m256i first = _mm256_slli_epi32(_mm256_add_epi32(half, bias), 23);
    const __m256i second = _mm256_slli_epi32(_mm256_add_epi32(_mm256_sub_epi32(i, half), bias), 23);
    p = _mm256_mul_ps(p, _mm256_castsi256_ps(first));
    return _mm256_mul_ps(p, _mm256_castsi256_ps(second));
}

// Of sixteen lanes, as two vectors: k + 8, k + 4, k + 2, k + 1.
static inline float fold_sum_avx2(__m256 low, __m256 high) {
    const __m256 v = _mm256_add_ps(low, high);
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

static inline float fold_max_avx2(__m256 v) {
    __m128 s = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_max_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}

// All ones in the first n <= 8 lanes.
static inline __m256i seen_lanes_avx2(size_t n) {
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), lane);
}

// Scores become weights; the state moves on, and keep is what remains of the old values. Scores of
// columns that the query does not see count as -infinity, whatever they hold.
INKI_APART void softmax_avx2(attend_block_avx2 *b, int i) {
    float *p = b->p[i];
    const inki_softmax old = b->state[i];
    const size_t n = b->n[i], n_full = n / 8 * 8;
    const __m256i seen = seen_lanes_avx2(n - n_full);
    __m256 max = _mm256_set1_ps(old.max); // never a NaN, and no NaN gets past it
    for (size_t t = 0; t < n_full; t += 8) max = _mm256_max_ps(_mm256_load_ps(p + t), max);
    if (n > n_full) {
        const __m256 s = _mm256_blendv_ps(_mm256_set1_ps(-INFINITY), _mm256_load_ps(p + n_full),
                                          _mm256_castsi256_ps(seen));
        _mm256_store_ps(p + n_full, s);
        max = _mm256_max_ps(s, max);
    }
    const float new_max = fold_max_avx2(max);
    max = _mm256_set1_ps(new_max);
    __m256 sum[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
    for (size_t t = 0; t < n; t += 16) {
        const __m256 low = exp_avx2(_mm256_sub_ps(_mm256_load_ps(p + t), max));
        _mm256_store_ps(p + t, low);
        sum[0] = _mm256_add_ps(sum[0], low);
        if (t + 8 >= n) break;
        const __m256 high = exp_avx2(_mm256_sub_ps(_mm256_load_ps(p + t + 8), max));
        _mm256_store_ps(p + t + 8, high);
        sum[1] = _mm256_add_ps(sum[1], high);
    }
    const __m256 keep = exp_avx2(_mm256_set1_ps(old.max - new_max));
    b->keep[i] = _mm256_cvtss_f32(keep);
    const __m128 all = _mm_fmadd_ss(_mm_set_ss(old.sum), _mm256_castps256_ps128(keep),
                                    _mm_set_ss(fold_sum_avx2(sum[0], sum[1])));
    b->state[i] = (inki_softmax){.max = new_max, .sum = _mm_cvtss_f32(all)};
}

INKI_TEMPLATE size_t value_offset_avx2(uint32_t kv_type, size_t at) {
    return kv_type == INK_KV_Q8_0 ? at / 32 * 34 : at * column_bytes_avx2(kv_type);
}

// Columns [at, at + 8) of a value's row. A multiple of a half and a signed byte is exact as a
// float.
INKI_TEMPLATE __m256 load_values_avx2(uint32_t kv_type, const uint8_t *row, size_t at) {
    if (kv_type != INK_KV_Q8_0)
        return load_columns_avx2(kv_type, row + at * column_bytes_avx2(kv_type));
    const uint8_t *block = row + at / 32 * 34; // rows end with a whole block
    const __m128i step = _mm_set1_epi16((short)(block[0] | (unsigned)block[1] << 8));
    return _mm256_mul_ps(_mm256_cvtph_ps(step),
                         load_columns_avx2(INK_KV_Q8_0, block + 2 + at % 32));
}

INKI_TEMPLATE void add_position_avx2(__m256 sum[4][4], const attend_block_avx2 *b, size_t t,
                                     const uint8_t *row, size_t at, uint32_t kv_type, int n_q,
                                     int n_v) {
    __m256 v[4];
    INKI_UNROLL
    for (int j = 0; j < n_v; j++) v[j] = load_values_avx2(kv_type, row, at + 8 * (size_t)j);
    INKI_UNROLL
    for (int i = 0; i < n_q; i++) {
        const __m256 p = _mm256_broadcast_ss(b->p[i] + t);
        INKI_UNROLL
        for (int j = 0; j < n_v; j++) sum[i][j] = _mm256_fmadd_ps(p, v[j], sum[i][j]);
    }
}

// The same for queries that see position t only; for the others it is not even multiplied by 0,
// since it may be a NaN.
INKI_TEMPLATE void add_seen_position_avx2(__m256 sum[4][4], const attend_block_avx2 *b, size_t t,
                                          const uint8_t *row, size_t at, uint32_t kv_type, int n_q,
                                          int n_v) {
    INKI_UNROLL
    for (int j = 0; j < n_v; j++) {
        const __m256 v = load_values_avx2(kv_type, row, at + 8 * (size_t)j);
        INKI_UNROLL
        for (int i = 0; i < n_q; i++) {
            const __m256 seen = _mm256_castsi256_ps(_mm256_set1_epi32(t < b->n[i] ? -1 : 0));
            const __m256 more = _mm256_fmadd_ps(_mm256_broadcast_ss(b->p[i] + t), v, sum[i][j]);
            sum[i][j] = _mm256_blendv_ps(sum[i][j], more, seen);
        }
    }
}

// Columns [at, at + 8 * n_v) of the queries' values, of which the mask's are kept.
// Meanwhile the same part of the keys that follow these in memory is fetched: the next head's, if
// the caller goes from head to head. For many queries too, which wait for arithmetic: it costs them
// nothing that could be measured.
INKI_TEMPLATE void add_values_avx2(const attend_block_avx2 *b, size_t at, __m256i mask,
                                   uint32_t kv_type, int n_q, int n_v) {
    __m256 even[4][4], odd[4][4];
    INKI_UNROLL
    for (int i = 0; i < n_q; i++) {
        INKI_UNROLL
        for (int j = 0; j < n_v; j++) {
            const __m256 old = _mm256_maskload_ps(b->acc[i] + at + 8 * j, mask);
            even[i][j] = _mm256_mul_ps(old, _mm256_set1_ps(b->keep[i]));
            odd[i][j] = _mm256_setzero_ps();
        }
    }
    const size_t n_all = b->n[0], n_some = b->n[n_q - 1];
    const size_t row_bytes = b->row_bytes, step = 2 * value_offset_avx2(kv_type, 8 * (size_t)n_v);
    const uint8_t *row = b->values;
    uintptr_t ahead = (uintptr_t)b->keys + INKI_TILE * (row_bytes + value_offset_avx2(kv_type, at));
    size_t t = 0;
    for (; t + 2 <= n_all; t += 2, row += 2 * row_bytes, ahead += step) {
        if (n_q == 4 || n_v == 4) inki_prefetch(ahead, step);
        add_position_avx2(even, b, t, row, at, kv_type, n_q, n_v);
        add_position_avx2(odd, b, t + 1, row + row_bytes, at, kv_type, n_q, n_v);
    }
    if (n_q == 1) { // nothing that one sees and another does not
        if (t < n_all) add_position_avx2(even, b, t, row, at, kv_type, n_q, n_v);
        t = n_some;
    }
    for (; t < n_some; t += 2, row += 2 * row_bytes) {
        add_seen_position_avx2(even, b, t, row, at, kv_type, n_q, n_v);
        if (t + 1 == n_some) break;
        add_seen_position_avx2(odd, b, t + 1, row + row_bytes, at, kv_type, n_q, n_v);
    }
    INKI_UNROLL
    for (int i = 0; i < n_q; i++) {
        INKI_UNROLL
        for (int j = 0; j < n_v; j++)
            _mm256_maskstore_ps(b->acc[i] + at + 8 * j, mask, _mm256_add_ps(even[i][j], odd[i][j]));
    }
}

// The values of rows that have less than eight columns, which no vector may read: one by one, by
// the operations of a lane.
INKI_APART void add_narrow_values_avx2(const attend_block_avx2 *b, uint32_t kv_type, size_t n_q) {
    for (size_t i = 0; i < n_q; i++) {
        if (i > 0 && b->acc[i] == b->acc[i - 1]) break; // a query that stands in for others
        for (size_t at = 0; at < b->head_dim; at++) {
            __m128 sum[2] = {_mm_mul_ss(_mm_load_ss(b->acc[i] + at), _mm_load_ss(&b->keep[i])),
                             _mm_setzero_ps()};
            const uint8_t *value = b->values + at * (kv_type == INK_KV_F32 ? 4 : 2);
            for (size_t t = 0; t < b->n[i]; t++, value += b->row_bytes) {
                uint16_t half;
                __m128 v;
                if (kv_type == INK_KV_F32) {
                    v = _mm_load_ss((const float *)(const void *)value);
                } else {
                    memcpy(&half, value, sizeof half);
                    v = _mm_cvtph_ps(_mm_cvtsi32_si128(half));
                }
                sum[t % 2] = _mm_fmadd_ss(_mm_load_ss(b->p[i] + t), v, sum[t % 2]);
            }
            _mm_store_ss(b->acc[i] + at, _mm_add_ss(sum[0], sum[1]));
        }
    }
}

// add_values_avx2 of a type, once for each number of queries and vectors.
typedef void (*add_fn_avx2)(const attend_block_avx2 *b, size_t at, __m256i mask);

// The last columns of a row from `at` on, fewer than eight. The ones before them are read again and
// left alone, which is cheaper than reading a part; Q8_0's rows have blocks, which a vector must
// not straddle, and end with a whole one.
INKI_APART void add_last_values_avx2(const attend_block_avx2 *b, size_t at, uint32_t kv_type,
                                     size_t n_q, add_fn_avx2 add) {
    const size_t head_dim = b->head_dim, n = head_dim - at;
    if (kv_type == INK_KV_Q8_0)
        add(b, at, seen_lanes_avx2(n));
    else if (head_dim < 8)
        add_narrow_values_avx2(b, kv_type, n_q);
    else
        add(b, head_dim - 8, _mm256_xor_si256(seen_lanes_avx2(8 - n), _mm256_set1_epi32(-1)));
}

INKI_TEMPLATE void attend_four_avx2(attend_block_avx2 *b, uint32_t kv_type, add_fn_avx2 add) {
    const size_t head_dim = b->head_dim;
    const __m256i all = _mm256_set1_epi32(-1);
    size_t at = 0;
    for (size_t t = 0; t < b->n[3]; t += 8) score_avx2(b, t, kv_type, 4, 1);
    for (int i = 0; i < 4; i++) softmax_avx2(b, i);
    for (; at + 8 <= head_dim; at += 8) add(b, at, all);
    if (at < head_dim) add_last_values_avx2(b, at, kv_type, 4, add);
}

INKI_TEMPLATE void attend_one_avx2(attend_block_avx2 *b, uint32_t kv_type, add_fn_avx2 add_four,
                                   add_fn_avx2 add_one) {
    const size_t head_dim = b->head_dim, n = b->n[0];
    const __m256i all = _mm256_set1_epi32(-1);
    size_t t = 0, at = 0;
    for (; t + 16 < n; t += 32) score_avx2(b, t, kv_type, 1, 4);
    if (t < n) score_avx2(b, t, kv_type, 1, 2);
    softmax_avx2(b, 0);
    for (; at + 32 <= head_dim; at += 32) add_four(b, at, all);
    for (; at + 8 <= head_dim; at += 8) add_one(b, at, all);
    if (at < head_dim) add_last_values_avx2(b, at, kv_type, 1, add_one);
}

INKI_TEMPLATE void attend_avx2(float *acc, size_t acc_stride, inki_softmax *state, const float *q,
                               size_t q_stride, size_t n_q, const uint8_t *keys,
                               const uint8_t *values, size_t n_pos, size_t head_dim, float scale,
                               uint32_t kv_type, const add_fn_avx2 add[3]) {
    attend_block_avx2 b; // not initialised as a whole: the scores alone take a kilobyte
    b.keys = keys;
    b.values = values;
    b.head_dim = head_dim;
    b.scale = scale;
    b.row_bytes = inki_kv_row_bytes(kv_type, head_dim);
    for (size_t first = 0; first < n_q; first += 4) {
        const size_t n = n_q - first < 4 ? n_q - first : 4;
        for (size_t i = 0; i < 4; i++) {
            const size_t at = first + (i < n ? i : n - 1);
            b.q[i] = q + at * q_stride;
            b.acc[i] = acc + at * acc_stride;
            b.state[i] = state[at];
            b.n[i] = n_pos + at < INKI_TILE ? n_pos + at : INKI_TILE;
        }
        if (n > 1)
            attend_four_avx2(&b, kv_type, add[0]);
        else
            attend_one_avx2(&b, kv_type, add[1], add[2]);
        for (size_t i = 0; i < n; i++) state[first + i] = b.state[i];
    }
}

#define ATTEND_ADD(name, kv_type, n_q, n_v)                                                        \
    INKI_APART void name(const attend_block_avx2 *b, size_t at, __m256i mask) {                    \
        add_values_avx2(b, at, mask, kv_type, n_q, n_v);                                           \
    }
#define ATTEND_SLOT(type, kv_type)                                                                 \
    ATTEND_ADD(add_##type##_4_1_avx2, kv_type, 4, 1)                                               \
    ATTEND_ADD(add_##type##_1_4_avx2, kv_type, 1, 4)                                               \
    ATTEND_ADD(add_##type##_1_1_avx2, kv_type, 1, 1)                                               \
    static void attend_##type##_avx2(float *acc, size_t acc_stride, inki_softmax *state,           \
                                     const float *q, size_t q_stride, size_t n_q,                  \
                                     const void *keys, const void *values, size_t n_pos,           \
                                     size_t head_dim, float scale) {                               \
        static const add_fn_avx2 add[3] = {add_##type##_4_1_avx2, add_##type##_1_4_avx2,           \
                                           add_##type##_1_1_avx2};                                 \
        attend_avx2(acc, acc_stride, state, q, q_stride, n_q, (const uint8_t *)keys,               \
                    (const uint8_t *)values, n_pos, head_dim, scale, kv_type, add);                \
    }
ATTEND_SLOT(f32, INK_KV_F32)
ATTEND_SLOT(f16, INK_KV_F16)
ATTEND_SLOT(q8_0, INK_KV_Q8_0)
#undef ATTEND_ADD
#undef ATTEND_SLOT

static inline __m128i to_halves_avx2(const float *x) {
    return _mm256_cvtps_ph(_mm256_loadu_ps(x), _MM_FROUND_TO_NEAREST_INT);
}

// Eight halves down a column.
INKI_TEMPLATE void store_column_avx2(uint16_t *k, __m128i halves, size_t n, bool clear) {
    uint16_t h[8];
    _mm_storeu_si128((__m128i *)(void *)h, halves);
    for (size_t i = 0; i < n; i++, k += INKI_TILE) {
        if (clear)
            _mm256_storeu_si256((__m256i *)(void *)k,
                                _mm256_zextsi128_si256(_mm_cvtsi32_si128(h[i])));
        else
            *k = h[i];
    }
}

INKI_TEMPLATE void store_columns_avx2(uint16_t *k, const float *x, size_t head_dim, bool clear) {
    size_t i = 0;
    for (; i + 8 <= head_dim; i += 8, k += 8 * INKI_TILE)
        store_column_avx2(k, to_halves_avx2(x + i), 8, clear);
    if (i == head_dim) return;
    float end[8] = {0};
    memcpy(end, x + i, (head_dim - i) * sizeof *x);
    store_column_avx2(k, to_halves_avx2(end), head_dim - i, clear);
}

static void store_key_f16_avx2(void *keys, size_t pos, const float *x, size_t head_dim) {
    uint16_t *k = (uint16_t *)keys + pos;
    if (pos % 16 == 0)
        store_columns_avx2(k, x, head_dim, true);
    else
        store_columns_avx2(k, x, head_dim, false);
}

static void store_value_f16_avx2(void *values, size_t pos, const float *x, size_t head_dim) {
    uint16_t *v = (uint16_t *)values + pos * head_dim;
    size_t i = 0;
    for (; i + 8 <= head_dim; i += 8)
        _mm_storeu_si128((__m128i *)(void *)(v + i), to_halves_avx2(x + i));
    if (i == head_dim) return;
    float end[8] = {0};
    uint16_t h[8];
    memcpy(end, x + i, (head_dim - i) * sizeof *x);
    _mm_storeu_si128((__m128i *)(void *)h, to_halves_avx2(end));
    memcpy(v + i, h, (head_dim - i) * sizeof *v);
}

// The largest magnitude of 32 values, compared as bits: NaN and infinity count as the largest.
static inline float largest_of_block_avx2(const __m256 v[4]) {
    const __m256i mask = _mm256_set1_epi32(0x7fffffff);
    __m256i max = _mm256_and_si256(_mm256_castps_si256(v[0]), mask);
    INKI_UNROLL
    for (int i = 1; i < 4; i++)
        max = _mm256_max_epi32(max, _mm256_and_si256(_mm256_castps_si256(v[i]), mask));
    __m128i m = _mm_max_epi32(_mm256_castsi256_si128(max), _mm256_extracti128_si256(max, 1));
    m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0x4e));
    m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0xb1));
    return _mm_cvtss_f32(_mm_castsi128_ps(m));
}

// The n values of a block, those after them being 0: the steps, and the bytes, of portable C.
static uint16_t quantize_block_avx2(int8_t q[INKI_Q8_BLOCK], const float *x, size_t n) {
    float padded[INKI_Q8_BLOCK] = {0};
    __m256 v[4];
    if (n < INKI_Q8_BLOCK) x = (const float *)memcpy(padded, x, n * sizeof *x);
    INKI_UNROLL
    for (int i = 0; i < 4; i++) v[i] = _mm256_loadu_ps(x + 8 * i);
    const uint16_t d = inki_f32_to_f16(largest_of_block_avx2(v) / 127.0f);
    const float scale = inki_f16_to_f32(d), limit = scale * 127.0f;
    const __m256 factor = _mm256_set1_ps(scale > 0.0f ? 1.0f / scale : 0.0f);
    __m256i k[4];
    INKI_UNROLL
    for (int i = 0; i < 4; i++) {
        v[i] = _mm256_min_ps(_mm256_set1_ps(limit), v[i]); // the second where one is a NaN
        v[i] = _mm256_max_ps(_mm256_set1_ps(-limit), v[i]);
        v[i] = _mm256_add_ps(_mm256_mul_ps(v[i], factor), _mm256_set1_ps(12582912.0f));
        k[i] = _mm256_and_si256(_mm256_castps_si256(v[i]), _mm256_set1_epi32(0xff));
    }
    // Packing works in each half of a vector on its own; the permutation puts groups of four right.
    const __m256i bytes =
        _mm256_packus_epi16(_mm256_packus_epi32(k[0], k[1]), _mm256_packus_epi32(k[2], k[3]));
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    _mm256_storeu_si256((__m256i *)(void *)q, _mm256_permutevar8x32_epi32(bytes, order));
    return d;
}

static void store_key_q8_0_avx2(void *keys, size_t pos, const float *x, size_t head_dim) {
    uint8_t *block = (uint8_t *)keys;
    for (size_t i = 0; i < head_dim; i += INKI_Q8_BLOCK, block += 34 * INKI_TILE) {
        int8_t q[INKI_Q8_BLOCK];
        const size_t n = head_dim - i < INKI_Q8_BLOCK ? head_dim - i : INKI_Q8_BLOCK;
        const uint16_t d[16] = {quantize_block_avx2(q, x + i, n)};
        uint8_t *column = block + 2 * INKI_TILE + pos;
        memcpy(block + 2 * pos, d, pos % 16 == 0 ? sizeof d : sizeof d[0]);
        if (pos % 16 == 0)
            for (int j = 0; j < INKI_Q8_BLOCK; j++, column += INKI_TILE)
                _mm_storeu_si128((__m128i *)(void *)column, _mm_cvtsi32_si128((uint8_t)q[j]));
        else
            for (int j = 0; j < INKI_Q8_BLOCK; j++, column += INKI_TILE) *column = (uint8_t)q[j];
    }
}

static void store_value_q8_0_avx2(void *values, size_t pos, const float *x, size_t head_dim) {
    uint8_t *block = (uint8_t *)values + pos * inki_kv_row_bytes(INK_KV_Q8_0, head_dim);
    for (size_t i = 0; i < head_dim; i += INKI_Q8_BLOCK, block += 34) {
        int8_t q[INKI_Q8_BLOCK];
        const size_t n = head_dim - i < INKI_Q8_BLOCK ? head_dim - i : INKI_Q8_BLOCK;
        const uint16_t d = quantize_block_avx2(q, x + i, n);
        memcpy(block, &d, sizeof d);
        memcpy(block + 2, q, sizeof q);
    }
}

INKI_TARGET_END

// Keys and values as floats are stored as in portable C.
void inki_attend_avx2(inki_kernels *table) {
    table->attend[INK_KV_F32] = attend_f32_avx2;
    table->attend[INK_KV_F16] = attend_f16_avx2;
    table->attend[INK_KV_Q8_0] = attend_q8_0_avx2;
    table->store_key[INK_KV_F16] = store_key_f16_avx2;
    table->store_value[INK_KV_F16] = store_value_f16_avx2;
    table->store_key[INK_KV_Q8_0] = store_key_q8_0_avx2;
    table->store_value[INK_KV_Q8_0] = store_value_q8_0_avx2;
}
#endif
