// SPDX-License-Identifier: MIT
// Unpacking of block weights for AVX2, eight rows at a time. A panel has unsigned bytes (signed
// ones for Q8_0): step t has columns 4 t to 4 t + 3 of eight rows, a row in each lane of 32 bits.
// Included by blocks_avx2.c inside its target's region, behind the intrinsics' header.
#ifndef INKI_KERNELS_BLOCKS_AVX2_PACK_H
#define INKI_KERNELS_BLOCKS_AVX2_PACK_H

// At most 512 columns of eight rows. `scale` is that of 32 or 16 columns, `min` what is added for
// each 1 of the activations' sum over 32 columns: the negative minimum.
enum { AVX2_STEPS = 128 };
typedef struct block_panel_avx2 {
    __m256i w[AVX2_STEPS];
    __m256 scale[32], min[16];
} block_panel_avx2;

// Fills the panel from n blocks of eight rows from byte `at` on, and asks for the cache lines from
// `ahead` on, as many bytes as it reads.
typedef void (*block_pack_avx2)(block_panel_avx2 *p, const uint8_t *const row[8], size_t at,
                                size_t n, uintptr_t ahead);

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

// Without optimisation the intrinsic is a macro, which converts where nobody asked for it.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
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
#pragma GCC diagnostic pop

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
                                    size_t n, uintptr_t ahead, size_t bytes,
                                    block_unpack_avx2 unpack) {
    const uint8_t *r[8]; // of its own: what the panel gets cannot change it
    memcpy(r, row, sizeof r);
    for (size_t j = 0; j < n; j++, at += bytes, ahead += 8 * bytes) {
        inki_prefetch(ahead, 8 * bytes);
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
                           uintptr_t ahead) {
    for (size_t j = 0; j < n; j++, at += 144) {
        put_scales_avx2(p->scale + 8 * j, p->min + 8 * j, row, at);
        __m256i *w = p->w + 64 * j;
        for (size_t i = 0; i < 8; i++, ahead += 144) { // 16 bytes: parts of two groups
            __m256i t[4];
            inki_prefetch(ahead, 144);
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
                           uintptr_t ahead) {
    const __m256i bit = _mm256_set1_epi8(16);
    for (size_t j = 0; j < n; j++, at += 176) {
        put_scales_avx2(p->scale + 8 * j, p->min + 8 * j, row, at);
        __m256i *w = p->w + 64 * j, high[8];
        turn16_avx2(high, row, at + 16);
        turn16_avx2(high + 4, row, at + 32);
        for (size_t i = 0; i < 8; i++, ahead += 176) {
            __m256i t[4];
            inki_prefetch(ahead, 176);
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
                           uintptr_t ahead) {
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
        inki_prefetch(ahead, 4 * 210);
        put_q6_avx2(p->w + 64 * j, row, at, at + 128);
        inki_prefetch(ahead + 4 * 210, 4 * 210);
        put_q6_avx2(p->w + 64 * j + 32, row, at + 64, at + 160);
    }
}

#endif
