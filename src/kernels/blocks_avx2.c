// SPDX-License-Identifier: MIT
// Products of block weights with byte activations, sixteen weight rows at a time, which are the
// lanes of two vectors. Packing turns a piece of those rows into a panel of unsigned bytes: step t
// has columns 4 t to 4 t + 3 of eight rows, a row in each lane of 32 bits. A tile multiplies the
// panel with up to four activation rows, whose four bytes of a step are broadcast. Integers are
// exact, so only the floats' order is of interest: a lane is one sum, blocks in rising order.
#include "kernels/lanes.h" // INKI_TEMPLATE
#include "kernels/levels.h"
#include "kernels/target.h"

#if defined(INKI_HAVE_X86)
#include <immintrin.h>

INKI_TARGET_BEGIN_AVX2

// At most 512 columns of eight rows. `scale` is that of 32 or 16 columns, `min` what is added for
// each 1 of the activations' sum over 32 columns: the negative minimum.
enum { AVX2_STEPS = 128, AVX2_BATCH = 128, AVX2_ROWS = 16 };
typedef struct block_panel_avx2 {
    __m256i w[AVX2_STEPS];
    __m256 scale[32], min[16];
} block_panel_avx2;

// Fills the panel from n blocks of eight rows from byte `at` on, and asks for the cache lines from
// `ahead` on, as many bytes as it reads.
typedef void (*block_pack_avx2)(block_panel_avx2 *p, const uint8_t *const row[8], size_t at,
                                size_t n, const uint8_t *ahead);
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
                               const block_acts_avx2 *x, const uint8_t *ahead);
typedef struct block_kind_avx2 {
    size_t block_elems, block_bytes;
    block_pack_avx2 pack;
    block_tile_avx2 tile1, tile2, tile4;
    block_one_avx2 one; // or NULL
} block_kind_avx2;

// --- packing -----------------------------------------------------------------------------------

// 16 bytes of eight rows: t[i] has bytes 4 i to 4 i + 3 of each.
INKI_TEMPLATE void turn16_avx2(__m256i t[4], const uint8_t *const row[8], size_t at) {
    __m256i a[4];
    for (int i = 0; i < 4; i++)
        a[i] = _mm256_inserti128_si256(
            _mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)(row[i] + at))),
            _mm_loadu_si128((const __m128i *)(const void *)(row[i + 4] + at)), 1);
    const __m256i u0 = _mm256_unpacklo_epi32(a[0], a[1]), u1 = _mm256_unpackhi_epi32(a[0], a[1]);
    const __m256i u2 = _mm256_unpacklo_epi32(a[2], a[3]), u3 = _mm256_unpackhi_epi32(a[2], a[3]);
    t[0] = _mm256_unpacklo_epi64(u0, u2);
    t[1] = _mm256_unpackhi_epi64(u0, u2);
    t[2] = _mm256_unpacklo_epi64(u1, u3);
    t[3] = _mm256_unpackhi_epi64(u1, u3);
}

static inline int block_u16_avx2(const uint8_t *p) {
    uint16_t u;
    memcpy(&u, p, sizeof u);
    return u;
}
static inline int block_i32_avx2(const uint8_t *p) {
    int32_t i;
    memcpy(&i, p, sizeof i);
    return i;
}

// The halves at byte `at` of eight rows, as floats.
INKI_TEMPLATE __m256 eight_halves_avx2(const uint8_t *const row[8], size_t at) {
    __m128i h = _mm_cvtsi32_si128(block_u16_avx2(row[0] + at));
    h = _mm_insert_epi16(h, block_u16_avx2(row[1] + at), 1);
    h = _mm_insert_epi16(h, block_u16_avx2(row[2] + at), 2);
    h = _mm_insert_epi16(h, block_u16_avx2(row[3] + at), 3);
    h = _mm_insert_epi16(h, block_u16_avx2(row[4] + at), 4);
    h = _mm_insert_epi16(h, block_u16_avx2(row[5] + at), 5);
    h = _mm_insert_epi16(h, block_u16_avx2(row[6] + at), 6);
    h = _mm_insert_epi16(h, block_u16_avx2(row[7] + at), 7);
    return _mm256_cvtph_ps(h);
}

INKI_TEMPLATE void block_ahead_avx2(const uint8_t *p, size_t bytes) {
    for (size_t i = 0; i < bytes; i += 64) _mm_prefetch((const char *)p + i, _MM_HINT_T0);
}

INKI_TEMPLATE __m256i low_nibbles_avx2(__m256i v) {
    return _mm256_and_si256(v, _mm256_set1_epi8(15));
}
INKI_TEMPLATE __m256i high_nibbles_avx2(__m256i v) {
    return _mm256_and_si256(_mm256_srli_epi16(v, 4), _mm256_set1_epi8(15));
}

// Steps 8 j to 8 j + 7 of a panel are the 32 columns of group j.
INKI_TEMPLATE void put_q4_avx2(__m256i w[8], const __m256i t[4]) {
    for (int i = 0; i < 4; i++) {
        w[i] = low_nibbles_avx2(t[i]);
        w[4 + i] = high_nibbles_avx2(t[i]);
    }
}

// Four bits of each row's `high` become the fifth bits of its four bytes of a step: the byte that
// holds them is copied into all four, where a comparison tells one bit from the others.
INKI_TEMPLATE __m256i fifth_avx2(__m256i w, __m256i high, int step) {
    const __m256i copy = _mm256_add_epi8(_mm256_setr_epi32(0, 0x04040404, 0x08080808, 0x0c0c0c0c, 0,
                                                           0x04040404, 0x08080808, 0x0c0c0c0c),
                                         _mm256_set1_epi8((int8_t)(step / 2)));
    const __m256i bits = _mm256_set1_epi32(step % 2 == 0 ? 0x08040201 : (int)0x80402010);
    const __m256i there = _mm256_and_si256(_mm256_shuffle_epi8(high, copy), bits);
    const __m256i set = _mm256_cmpeq_epi8(there, bits);
    return _mm256_or_si256(w, _mm256_and_si256(set, _mm256_set1_epi8(16)));
}

// A block of 32 columns of eight rows: its eight steps and its scales.
typedef __m256 (*block_unpack_avx2)(__m256i w[8], const uint8_t *const row[8], size_t at);

INKI_TEMPLATE __m256 unpack_q4_0_avx2(__m256i w[8], const uint8_t *const row[8], size_t at) {
    __m256i t[4];
    turn16_avx2(t, row, at + 2);
    put_q4_avx2(w, t);
    return eight_halves_avx2(row, at);
}

INKI_TEMPLATE __m256 unpack_q5_0_avx2(__m256i w[8], const uint8_t *const row[8], size_t at) {
    const __m256i high =
        _mm256_setr_epi32(block_i32_avx2(row[0] + at + 2), block_i32_avx2(row[1] + at + 2),
                          block_i32_avx2(row[2] + at + 2), block_i32_avx2(row[3] + at + 2),
                          block_i32_avx2(row[4] + at + 2), block_i32_avx2(row[5] + at + 2),
                          block_i32_avx2(row[6] + at + 2), block_i32_avx2(row[7] + at + 2));
    __m256i t[4];
    turn16_avx2(t, row, at + 6);
    put_q4_avx2(w, t);
    for (int i = 0; i < 8; i++) w[i] = fifth_avx2(w[i], high, i);
    return eight_halves_avx2(row, at);
}

INKI_TEMPLATE __m256 unpack_q8_0_avx2(__m256i w[8], const uint8_t *const row[8], size_t at) {
    turn16_avx2(w, row, at + 2);
    turn16_avx2(w + 4, row, at + 18);
    return eight_halves_avx2(row, at);
}

INKI_TEMPLATE void pack_blocks_avx2(block_panel_avx2 *p, const uint8_t *const row[8], size_t at,
                                    size_t n, const uint8_t *ahead, size_t bytes,
                                    block_unpack_avx2 unpack) {
    const uint8_t *r[8]; // of its own: what the panel gets cannot change it
    memcpy(r, row, sizeof r);
    for (size_t j = 0; j < n; j++, at += bytes, ahead += 8 * bytes) {
        block_ahead_avx2(ahead, 8 * bytes);
        p->scale[j] = unpack(p->w + 8 * j, r, at);
    }
}

// Byte g % 4 of each lane as a float.
INKI_TEMPLATE __m256 lane_byte_avx2(__m256i v, int g) {
    const __m256i b = _mm256_srl_epi32(v, _mm_cvtsi32_si128(8 * (g % 4)));
    return _mm256_cvtepi32_ps(_mm256_and_si256(b, _mm256_set1_epi32(255)));
}

// The first 16 bytes of Q4_K and Q5_K: d, dmin and 8 scales and 8 minimums of six bits.
INKI_TEMPLATE void put_scales_avx2(__m256 scale[8], __m256 min[8], const uint8_t *const row[8],
                                   size_t at) {
    __m256i t[4];
    turn16_avx2(t, row, at);
    const __m256i six = _mm256_set1_epi8(63), two = _mm256_set1_epi8(0x30);
    const __m256i s0 = _mm256_and_si256(t[1], six), m0 = _mm256_and_si256(t[2], six);
    const __m256i s1 =
        _mm256_or_si256(low_nibbles_avx2(t[3]), _mm256_and_si256(_mm256_srli_epi16(t[1], 2), two));
    const __m256i m1 =
        _mm256_or_si256(high_nibbles_avx2(t[3]), _mm256_and_si256(_mm256_srli_epi16(t[2], 2), two));
    // d of rows 0-3, dmin of those, then of rows 4-7.
    const __m256i halves = _mm256_permute4x64_epi64(
        _mm256_packus_epi32(_mm256_and_si256(t[0], _mm256_set1_epi32(0xffff)),
                            _mm256_srli_epi32(t[0], 16)),
        0xd8);
    const __m256 d = _mm256_cvtph_ps(_mm256_castsi256_si128(halves));
    const __m256 dmin =
        _mm256_xor_ps(_mm256_cvtph_ps(_mm256_extracti128_si256(halves, 1)), _mm256_set1_ps(-0.0f));
    for (int g = 0; g < 8; g++) {
        scale[g] = _mm256_mul_ps(d, lane_byte_avx2(g < 4 ? s0 : s1, g));
        min[g] = _mm256_mul_ps(dmin, lane_byte_avx2(g < 4 ? m0 : m1, g));
    }
}

static void pack_q4_k_avx2(block_panel_avx2 *p, const uint8_t *const row[8], size_t at, size_t n,
                           const uint8_t *ahead) {
    for (size_t j = 0; j < n; j++, at += 144) {
        put_scales_avx2(p->scale + 8 * j, p->min + 8 * j, row, at);
        __m256i *w = p->w + 64 * j;
        for (size_t i = 0; i < 8; i++, ahead += 144) { // 16 bytes: parts of two groups
            __m256i t[4];
            block_ahead_avx2(ahead, 144);
            turn16_avx2(t, row, at + 16 + 16 * i);
            const size_t to = i / 2 * 16 + i % 2 * 4;
            for (size_t k = 0; k < 4; k++) {
                w[to + k] = low_nibbles_avx2(t[k]);
                w[to + 8 + k] = high_nibbles_avx2(t[k]);
            }
        }
    }
}

static void pack_q5_k_avx2(block_panel_avx2 *p, const uint8_t *const row[8], size_t at, size_t n,
                           const uint8_t *ahead) {
    const __m256i bit = _mm256_set1_epi8(16);
    for (size_t j = 0; j < n; j++, at += 176) {
        put_scales_avx2(p->scale + 8 * j, p->min + 8 * j, row, at);
        __m256i *w = p->w + 64 * j, high[8];
        turn16_avx2(high, row, at + 16);
        turn16_avx2(high + 4, row, at + 32);
        for (size_t i = 0; i < 8; i++, ahead += 176) {
            __m256i t[4];
            block_ahead_avx2(ahead, 176);
            turn16_avx2(t, row, at + 48 + 16 * i);
            const size_t to = i / 2 * 16 + i % 2 * 4;
            for (size_t k = 0; k < 4; k++) {
                // Bits i / 2 * 2 and the next one; they leave at the bottom from pair to pair.
                __m256i *h = high + i % 2 * 4 + k;
                const __m256i h0 = _mm256_and_si256(_mm256_slli_epi16(*h, 4), bit);
                const __m256i h1 = _mm256_and_si256(_mm256_slli_epi16(*h, 3), bit);
                *h = _mm256_srli_epi16(*h, 2);
                w[to + k] = _mm256_or_si256(low_nibbles_avx2(t[k]), h0);
                w[to + 8 + k] = _mm256_or_si256(high_nibbles_avx2(t[k]), h1);
            }
        }
    }
}

// Half a block of Q6_K: 64 bytes of nibbles at `low`, 32 of two bits at `high`.
INKI_TEMPLATE void put_q6_avx2(__m256i w[32], const uint8_t *const row[8], size_t low,
                               size_t high) {
    const __m256i two = _mm256_set1_epi8(0x30);
    for (size_t i = 0; i < 2; i++) { // columns 16 i to 16 i + 15 of each of four groups
        __m256i h[4], a[4], b[4];
        turn16_avx2(h, row, high + 16 * i);
        turn16_avx2(a, row, low + 16 * i);
        turn16_avx2(b, row, low + 32 + 16 * i);
        for (size_t k = 0; k < 4; k++) {
            __m256i *to = w + 4 * i + k;
            const __m256i h0 = _mm256_slli_epi16(h[k], 4), h1 = _mm256_slli_epi16(h[k], 2);
            const __m256i h3 = _mm256_srli_epi16(h[k], 2);
            to[0] = _mm256_or_si256(low_nibbles_avx2(a[k]), _mm256_and_si256(h0, two));
            to[8] = _mm256_or_si256(low_nibbles_avx2(b[k]), _mm256_and_si256(h1, two));
            to[16] = _mm256_or_si256(high_nibbles_avx2(a[k]), _mm256_and_si256(h[k], two));
            to[24] = _mm256_or_si256(high_nibbles_avx2(b[k]), _mm256_and_si256(h3, two));
        }
    }
}

static void pack_q6_k_avx2(block_panel_avx2 *p, const uint8_t *const row[8], size_t at, size_t n,
                           const uint8_t *ahead) {
    for (size_t j = 0; j < n; j++, at += 210, ahead += 8 * 210) {
        __m256i s[4];
        const __m256 d = eight_halves_avx2(row, at + 208);
        turn16_avx2(s, row, at + 192);
        for (size_t g = 0; g < 16; g++) {
            const __m256i high =
                _mm256_sll_epi32(s[g / 4], _mm_cvtsi32_si128(24 - 8 * (int)(g % 4)));
            const __m256i byte = _mm256_srai_epi32(high, 24);
            p->scale[16 * j + g] = _mm256_mul_ps(d, _mm256_cvtepi32_ps(byte));
        }
        block_ahead_avx2(ahead, 4 * 210);
        put_q6_avx2(p->w + 64 * j, row, at, at + 128);
        block_ahead_avx2(ahead + 4 * 210, 4 * 210);
        put_q6_avx2(p->w + 64 * j + 32, row, at + 64, at + 160);
    }
}

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
        for (int b = 0; b < n_b; b++) acc[0][b] = acc[1][b] = _mm256_setzero_si256();
        for (int t = 0; t < 8; t++) {
            const __m256i a0 = _mm256_abs_epi8(w0[t]), a1 = _mm256_abs_epi8(w1[t]);
            for (int b = 0; b < n_b; b++) {
                const __m256i v = splat_four_avx2(q + (size_t)b * stride + 4 * t);
                const __m256i m0 = _mm256_maddubs_epi16(a0, _mm256_sign_epi8(v, w0[t]));
                const __m256i m1 = _mm256_maddubs_epi16(a1, _mm256_sign_epi8(v, w1[t]));
                acc[0][b] = in_turn_avx2(_mm256_add_epi32(acc[0][b], _mm256_madd_epi16(m0, ones)));
                acc[1][b] = in_turn_avx2(_mm256_add_epi32(acc[1][b], _mm256_madd_epi16(m1, ones)));
            }
        }
        for (int b = 0; b < n_b; b++) {
            const __m256 xd = splat_float_avx2(d + (size_t)b * stride);
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
                                  const uint8_t *ahead, size_t bytes, block_unpack_avx2 unpack,
                                  const int bits, const int zero) {
    const __m256i less = _mm256_set1_epi16((int16_t)-zero);
    __m256 sum = _mm256_setzero_ps();
    for (size_t j = 0; j < n; j++, ahead += 8 * bytes) {
        __m256i w[8];
        block_ahead_avx2(ahead, 8 * bytes);
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
                                   size_t n, const uint8_t *ahead) {                               \
        pack_blocks_avx2(p, row, at, n, ahead, bytes, unpack_##type##_avx2);                       \
    }                                                                                              \
    static void one_##type##_avx2(float *sums, const uint8_t *const row[8], size_t n,              \
                                  const block_acts_avx2 *x, const uint8_t *ahead) {                \
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
                                    const uint8_t *const row[AVX2_ROWS], const uint8_t *ahead,
                                    size_t b0, size_t n_batch, size_t k) {
    const block_kind_avx2 *kind = m->kind;
    const size_t n = m->n_cols - k < 4 * AVX2_STEPS ? m->n_cols - k : 4 * AVX2_STEPS;
    const size_t at = k / kind->block_elems * kind->block_bytes;
    const size_t n_blocks = n / kind->block_elems;
    kind->pack(&p[0], row, at, n_blocks, ahead + 16 * at);
    kind->pack(&p[1], row + 8, at, n_blocks, ahead + 16 * at + 8 * n_blocks * kind->block_bytes);
    for (size_t b = 0; b < n_batch;) {
        const block_acts_avx2 x = block_acts_at_avx2(m, b0 + b, k);
        const size_t left = n_batch - b, n_b = left >= 4 ? 4 : left >= 2 ? 2 : 1;
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
    const uint8_t *ahead = last ? row[0] : row[0] + AVX2_ROWS * m->row_bytes;
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

#define AVX2_KIND(type, elems, bytes, one)                                                         \
    AVX2_TILE(type, 1)                                                                             \
    AVX2_TILE(type, 2)                                                                             \
    AVX2_TILE(type, 4)                                                                             \
    static const block_kind_avx2 kind_##type##_avx2 = {elems,                                      \
                                                       bytes,                                      \
                                                       pack_##type##_avx2,                         \
                                                       tile_##type##_1_avx2,                       \
                                                       tile_##type##_2_avx2,                       \
                                                       tile_##type##_4_avx2,                       \
                                                       one};                                       \
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
AVX2_KIND(q8_0, 32, 34, one_q8_0_avx2)
AVX2_KIND(q4_0, 32, 18, one_q4_0_avx2)
AVX2_KIND(q5_0, 32, 22, one_q5_0_avx2)
AVX2_KIND(q4_k, 256, 144, NULL)
AVX2_KIND(q5_k, 256, 176, NULL)
AVX2_KIND(q6_k, 256, 210, NULL)
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
