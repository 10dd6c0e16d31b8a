// SPDX-License-Identifier: MIT
// From blocks to registers: sixteen weight rows side by side. Thirty-two columns of them become
// eight registers; lane r of register t holds columns 4 t to 4 t + 3 of row r as unsigned bytes,
// each `zero` above the weight. A chunk is 256 columns, the most that share a K-type's header.
// Include where blocks_avx512vnni.c does: it has the intrinsics and opens the target's region.
#ifndef INKI_KERNELS_BLOCKS_UNPACK_AVX512VNNI_H
#define INKI_KERNELS_BLOCKS_UNPACK_AVX512VNNI_H

#include "kernels/kernels.h"
#include "kernels/target.h"

#include <immintrin.h>
#include <string.h>

enum {
    VNNI_ROWS = 16,        // rows in a group
    VNNI_CHUNK_BLOCKS = 8, // blocks of 32 columns in a chunk
    VNNI_MAX_UNIT_BLOCKS = 4
};

INKI_TARGET_BEGIN_AVX512VNNI

// A chunk of sixteen rows: at[i] is row 4 i, `stride` bytes lie between neighbours.
typedef struct rows_avx512vnni {
    const uint8_t *at[4];
    size_t stride;
} rows_avx512vnni;

static inline rows_avx512vnni rows_of_avx512vnni(const uint8_t *first, size_t stride) {
    return (rows_avx512vnni){{first, first + 4 * stride, first + 8 * stride, first + 12 * stride},
                             stride};
}

// What a chunk's integers are multiplied with, for each row: d for each 32 columns (or 16) and,
// where the type has it, minus the minimum.
typedef struct scales_avx512vnni {
    _Alignas(64) float d[2 * VNNI_CHUNK_BLOCKS][VNNI_ROWS];
    float min[VNNI_CHUNK_BLOCKS][VNNI_ROWS];
} scales_avx512vnni;

// What is to be known of a type where its weights are unpacked already.
typedef struct facts_avx512vnni {
    size_t chunk_bytes, unit_blocks;
    int16_t zero;
    bool has_min;
    bool fine; // a scale for each 16 columns
} facts_avx512vnni;

typedef struct type_avx512vnni {
    // The scales of the chunk's first n_blocks blocks.
    void (*scales)(scales_avx512vnni *s, const rows_avx512vnni *r, size_t n_blocks);
    // Unit `unit` of the chunk: w [8 * unit_blocks].
    void (*unpack)(__m512i *w, const rows_avx512vnni *r, size_t unit);
    facts_avx512vnni is;
} type_avx512vnni;

// Sixteen bytes at `offset` of rows i, i + 4, i + 8, i + 12. A masked load needs no shuffle unit.
INKI_TEMPLATE __m512i load_rows_avx512vnni(const rows_avx512vnni *r, size_t i, size_t offset) {
    const size_t o = i * r->stride + offset;
    __m512i v = _mm512_castsi128_si512(_mm_loadu_si128((const void *)(r->at[0] + o)));
    v = _mm512_mask_broadcast_i32x4(v, 0x00f0, _mm_loadu_si128((const void *)(r->at[1] + o)));
    v = _mm512_mask_broadcast_i32x4(v, 0x0f00, _mm_loadu_si128((const void *)(r->at[2] + o)));
    return _mm512_mask_broadcast_i32x4(v, 0xf000, _mm_loadu_si128((const void *)(r->at[3] + o)));
}

// v[i], i < 4: sixteen bytes of rows i, i + 4, i + 8, i + 12; afterwards bytes 4 i to 4 i + 3 of
// all rows in order. Within each quarter of the registers it is the transposition of 4 x 4 dwords.
INKI_TEMPLATE void transpose_avx512vnni(__m512i *v) {
    const __m512i low01 = _mm512_unpacklo_epi32(v[0], v[1]);
    const __m512i low23 = _mm512_unpacklo_epi32(v[2], v[3]);
    const __m512i high01 = _mm512_unpackhi_epi32(v[0], v[1]);
    const __m512i high23 = _mm512_unpackhi_epi32(v[2], v[3]);
    v[0] = _mm512_unpacklo_epi64(low01, low23);
    v[1] = _mm512_unpackhi_epi64(low01, low23);
    v[2] = _mm512_unpacklo_epi64(high01, high23);
    v[3] = _mm512_unpackhi_epi64(high01, high23);
}

// t[i], i < 4: bytes 4 i to 4 i + 3 of the sixteen at `offset`.
INKI_TEMPLATE void load_columns_avx512vnni(__m512i *t, const rows_avx512vnni *r, size_t offset) {
    for (size_t i = 0; i < 4; i++) t[i] = load_rows_avx512vnni(r, i, offset);
    transpose_avx512vnni(t);
}

// The same for thirty-two bytes and t[i], i < 8. Half the loads, which limit the speed.
INKI_TEMPLATE void load_columns32_avx512vnni(__m512i *t, const rows_avx512vnni *r, size_t offset) {
    for (size_t i = 0; i < 8; i++) { // rows 0 to 3 | 4 to 7, then 8 to 11 | 12 to 15
        const size_t o = i % 4 * r->stride + offset;
        const __m256i low = _mm256_loadu_si256((const void *)(r->at[i / 4 * 2] + o));
        t[i] = _mm512_mask_broadcast_i32x8(
            _mm512_castsi256_si512(low), 0xff00,
            _mm256_loadu_si256((const void *)(r->at[i / 4 * 2 + 1] + o)));
    }
    transpose_avx512vnni(t);
    transpose_avx512vnni(t + 4);
    for (int i = 0; i < 4; i++) { // quarters 0 and 2 hold bytes below 16, 1 and 3 those above
        const __m512i first = t[i], second = t[4 + i];
        t[i] = _mm512_shuffle_i32x4(first, second, 0x88);
        t[4 + i] = _mm512_shuffle_i32x4(first, second, 0xdd);
    }
}

INKI_TEMPLATE __m512i nibbles_avx512vnni(__m512i bytes, unsigned shift) {
    return _mm512_and_si512(_mm512_srli_epi32(bytes, shift), _mm512_set1_epi8(15));
}

// The lower or upper half of each lane, a half float, as float.
INKI_TEMPLATE __m512 half_of_lanes_avx512vnni(__m512i v, unsigned shift) {
    return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_srli_epi32(v, shift)));
}

// The half floats at `offset` of all rows.
INKI_APART __m512 load_halves_avx512vnni(const rows_avx512vnni *r, size_t offset) {
    uint16_t half[VNNI_ROWS];
    for (size_t i = 0; i < VNNI_ROWS; i++)
        memcpy(&half[i], r->at[i / 4] + i % 4 * r->stride + offset, sizeof *half);
    return _mm512_cvtph_ps(_mm256_loadu_si256((const void *)half));
}

// --- one half float a block --------------------------------------------------------------------

// Words of rows i, i + 4, i + 8, i + 12 from 64 bytes at offset `from` and 64 at `to`: in each
// quarter of v, what `mask` (of eight bits) selects, v has the words' places; they are replaced by
// the words. A gather would take several times as long.
INKI_TEMPLATE __m512i pick_words_avx512vnni(__m512i v, __mmask32 mask, const rows_avx512vnni *r,
                                            size_t i, size_t from, size_t to) {
    for (int k = 0; k < 4; k++) {
        const uint8_t *row = r->at[k] + i * r->stride;
        v = _mm512_mask2_permutex2var_epi16(_mm512_loadu_si512(row + from), v, mask << 8 * k,
                                            _mm512_loadu_si512(row + to));
    }
    return v;
}

// Scales of blocks that begin with them. Four blocks' scales lie in the 64 bytes that the first of
// them begins and the 64 that end with the last.
INKI_TEMPLATE void scales_of_halves_avx512vnni(scales_avx512vnni *s, const rows_avx512vnni *r,
                                               size_t n_blocks, size_t block_bytes) {
    if (n_blocks < VNNI_CHUNK_BLOCKS) {
        for (size_t j = 0; j < n_blocks; j++)
            _mm512_storeu_ps(s->d[j], load_halves_avx512vnni(r, j * block_bytes));
        return;
    }
    uint64_t four = 0;
    const size_t to = 3 * block_bytes + 2 > 64 ? 3 * block_bytes + 2 - 64 : 0;
    for (size_t j = 0; j < 4; j++) {
        const size_t at = j * block_bytes;
        four |= (uint64_t)(at + 2 <= 64 ? at / 2 : 32 + (at - to) / 2) << 16 * j;
    }
    __m512i v[4];
    for (size_t i = 0; i < 4; i++) {
        v[i] = _mm512_set1_epi64((int64_t)four);
        v[i] = pick_words_avx512vnni(v[i], 0x0f, r, i, 0, to);
        v[i] = pick_words_avx512vnni(v[i], 0xf0, r, i, 4 * block_bytes, 4 * block_bytes + to);
    }
    transpose_avx512vnni(v);
    for (size_t j = 0; j < VNNI_CHUNK_BLOCKS; j++)
        _mm512_storeu_ps(s->d[j], half_of_lanes_avx512vnni(v[j / 2], j % 2 * 16));
}

INKI_APART void scales_q8_0_avx512vnni(scales_avx512vnni *s, const rows_avx512vnni *r,
                                       size_t n_blocks) {
    scales_of_halves_avx512vnni(s, r, n_blocks, 34);
}
INKI_TEMPLATE void unpack_q8_0_avx512vnni(__m512i *w, const rows_avx512vnni *r, size_t unit) {
    load_columns32_avx512vnni(w, r, 34 * unit + 2);
    for (int t = 0; t < 8; t++) w[t] = _mm512_xor_si512(w[t], _mm512_set1_epi8(-128));
}

INKI_APART void scales_q4_0_avx512vnni(scales_avx512vnni *s, const rows_avx512vnni *r,
                                       size_t n_blocks) {
    scales_of_halves_avx512vnni(s, r, n_blocks, 18);
}
INKI_TEMPLATE void unpack_q4_0_avx512vnni(__m512i *w, const rows_avx512vnni *r, size_t unit) {
    __m512i q[4];
    load_columns_avx512vnni(q, r, 18 * unit + 2);
    for (int t = 0; t < 4; t++) {
        w[t] = nibbles_avx512vnni(q[t], 0);
        w[4 + t] = nibbles_avx512vnni(q[t], 4);
    }
}

INKI_APART void scales_q5_0_avx512vnni(scales_avx512vnni *s, const rows_avx512vnni *r,
                                       size_t n_blocks) {
    scales_of_halves_avx512vnni(s, r, n_blocks, 22);
}

// Adds 16 to the bytes of w, columns 4 t to 4 t + 3, whose fifth bit is set in `high` (a bit for
// each of the row's 32 columns). The multishift cuts eight bits out of a pair of rows at any place:
// it puts a column's bit where 16 stands.
INKI_TEMPLATE __m512i fifth_bits_avx512vnni(__m512i w, __m512i high, int t) {
    // Its control bytes count modulo 64; those of column 0 are 4 below it.
    const int64_t from = 0x5f5e5d5c3f3e3d3c + t * 0x0404040404040404;
    const __m512i bits = _mm512_multishift_epi64_epi8(_mm512_set1_epi64(from), high);
    // w | (bits & 16)
    return _mm512_ternarylogic_epi32(w, bits, _mm512_set1_epi8(16), 0xf8);
}
INKI_TEMPLATE void unpack_q5_0_avx512vnni(__m512i *w, const rows_avx512vnni *r, size_t unit) {
    uint32_t high[VNNI_ROWS];
    for (size_t i = 0; i < VNNI_ROWS; i++)
        memcpy(&high[i], r->at[i / 4] + i % 4 * r->stride + 22 * unit + 2, 4);
    __m512i q[4];
    load_columns_avx512vnni(q, r, 22 * unit + 6);
    const __m512i h = _mm512_loadu_si512(high);
    for (int t = 0; t < 4; t++) {
        w[t] = fifth_bits_avx512vnni(nibbles_avx512vnni(q[t], 0), h, t);
        w[4 + t] = fifth_bits_avx512vnni(nibbles_avx512vnni(q[t], 4), h, 4 + t);
    }
}

// --- K types -----------------------------------------------------------------------------------

// Byte k of each lane, times factor: exact, since a half has 11 significant bits.
INKI_TEMPLATE __m512 byte_times_avx512vnni(__m512i v, unsigned k, __m512 factor) {
    const __m512i byte = _mm512_srli_epi32(_mm512_slli_epi32(v, 24 - 8 * k), 24);
    return _mm512_mul_ps(_mm512_cvtepi32_ps(byte), factor);
}

// The header of Q4_K and Q5_K: half d, half dmin, twelve bytes with eight scales and eight minimums
// of six bits. Dwords s, m, h: the first four scales (minimums) are the low six bits of the bytes
// of s (of m); the last four have their low four bits in the low (high) nibbles of h, and their
// high two where s (m) has its own highest.
INKI_APART void scales_q4_k_avx512vnni(scales_avx512vnni *out, const rows_avx512vnni *r,
                                       size_t n_blocks) {
    (void)n_blocks;
    __m512i v[4];
    load_columns_avx512vnni(v, r, 0);
    const __m512i s = v[1], m = v[2], h = v[3];
    const __m512i six = _mm512_set1_epi8(0x3f), two = _mm512_set1_epi8(0x30);
    const __m512i scales[2] = {
        _mm512_and_si512(s, six),
        _mm512_or_si512(nibbles_avx512vnni(h, 0), _mm512_and_si512(_mm512_srli_epi32(s, 2), two))};
    const __m512i mins[2] = {
        _mm512_and_si512(m, six),
        _mm512_or_si512(nibbles_avx512vnni(h, 4), _mm512_and_si512(_mm512_srli_epi32(m, 2), two))};
    const __m512 d = half_of_lanes_avx512vnni(v[0], 0);
    const __m512 minus_dmin =
        _mm512_xor_ps(_mm512_set1_ps(-0.0f), half_of_lanes_avx512vnni(v[0], 16));
    for (unsigned k = 0; k < 8; k++) {
        _mm512_storeu_ps(out->d[k], byte_times_avx512vnni(scales[k / 4], k % 4, d));
        _mm512_storeu_ps(out->min[k], byte_times_avx512vnni(mins[k / 4], k % 4, minus_dmin));
    }
}

// Sixty-four columns: low nibbles of 32 bytes, then their high ones.
INKI_TEMPLATE void unpack_q4_k_avx512vnni(__m512i *w, const rows_avx512vnni *r, size_t unit) {
    __m512i q[8];
    load_columns32_avx512vnni(q, r, 16 + 32 * unit);
    for (int t = 0; t < 8; t++) {
        w[t] = nibbles_avx512vnni(q[t], 0);
        w[8 + t] = nibbles_avx512vnni(q[t], 4);
    }
}

// The fifth bits of 256 columns are 32 bytes: bit j of byte i belongs to column 32 j + i.
INKI_TEMPLATE void unpack_q5_k_avx512vnni(__m512i *w, const rows_avx512vnni *r, size_t unit) {
    __m512i high[8], q[8];
    load_columns32_avx512vnni(high, r, 16);
    load_columns32_avx512vnni(q, r, 48 + 32 * unit);
    const __m512i sixteen = _mm512_set1_epi8(16);
    for (int t = 0; t < 8; t++) {
        const __m512i bits = _mm512_srli_epi32(high[t], (unsigned)(2 * unit));
        // low | (bits << 4 & 16); the second time the bit stands one higher
        w[t] = _mm512_ternarylogic_epi32(nibbles_avx512vnni(q[t], 0), _mm512_slli_epi32(bits, 4),
                                         sixteen, 0xf8);
        w[8 + t] = _mm512_ternarylogic_epi32(nibbles_avx512vnni(q[t], 4),
                                             _mm512_slli_epi32(bits, 3), sixteen, 0xf8);
    }
}

INKI_APART void scales_q6_k_avx512vnni(scales_avx512vnni *out, const rows_avx512vnni *r,
                                       size_t n_blocks) {
    (void)n_blocks;
    __m512i v[4];
    load_columns_avx512vnni(v, r, 192);
    const __m512 d = load_halves_avx512vnni(r, 208);
    for (unsigned k = 0; k < 16; k++) {
        const __m512i s = _mm512_srai_epi32(_mm512_slli_epi32(v[k / 4], 24 - 8 * (k % 4)), 24);
        _mm512_storeu_ps(out->d[k], _mm512_mul_ps(_mm512_cvtepi32_ps(s), d));
    }
}

// 128 columns: 64 bytes of low nibbles for the first 64 and high nibbles for the others, and 32
// bytes with two bits for a column of each 32.
INKI_TEMPLATE void unpack_q6_k_avx512vnni(__m512i *w, const rows_avx512vnni *r, size_t unit) {
    __m512i low[8], high[8];
    const __m512i two = _mm512_set1_epi8(0x30);
    load_columns32_avx512vnni(high, r, 128 + 32 * unit);
    load_columns32_avx512vnni(low, r, 64 * unit);
    for (int t = 0; t < 8; t++) { // low | (high bits & 0x30)
        const __m512i h = high[t];
        w[t] = _mm512_ternarylogic_epi32(nibbles_avx512vnni(low[t], 0), _mm512_slli_epi32(h, 4),
                                         two, 0xf8);
        w[16 + t] = _mm512_ternarylogic_epi32(nibbles_avx512vnni(low[t], 4), h, two, 0xf8);
    }
    load_columns32_avx512vnni(low, r, 64 * unit + 32);
    for (int t = 0; t < 8; t++) {
        const __m512i h = high[t];
        w[8 + t] = _mm512_ternarylogic_epi32(nibbles_avx512vnni(low[t], 0), _mm512_slli_epi32(h, 2),
                                             two, 0xf8);
        w[24 + t] = _mm512_ternarylogic_epi32(nibbles_avx512vnni(low[t], 4),
                                              _mm512_srli_epi32(h, 2), two, 0xf8);
    }
}

// The facts once more apart from the functions, which are for templates only: where a pointer leads
// to them, they would stand in the library for themselves.
#define VNNI_TYPE(name, scales, ...)                                                               \
    static const facts_avx512vnni facts_##name##_avx512vnni = {__VA_ARGS__};                       \
    static const type_avx512vnni type_##name##_avx512vnni = {                                      \
        scales_##scales##_avx512vnni, unpack_##name##_avx512vnni, {__VA_ARGS__}};
VNNI_TYPE(q8_0, q8_0, 8 * 34, 1, 128, false, false)
VNNI_TYPE(q4_0, q4_0, 8 * 18, 1, 8, false, false)
VNNI_TYPE(q5_0, q5_0, 8 * 22, 1, 16, false, false)
VNNI_TYPE(q4_k, q4_k, 144, 2, 0, true, false)
VNNI_TYPE(q5_k, q4_k, 176, 2, 0, true, false)
VNNI_TYPE(q6_k, q6_k, 210, 4, 32, false, true)
#undef VNNI_TYPE

INKI_TARGET_END
#endif
