// SPDX-License-Identifier: MIT
// Weights in blocks of 256, whose groups of 16 or 32 have integer scales (and minimums) of their
// own, under a half (or two) for the whole block.
// Source: ggml, ggml-common.h and ggml-quants.c (block_q2_K and the like).
#include "kernels/blocks_portable.h"
#include "kernels/levels.h"

// Two bits a weight, in halves of 128: weight 32 j + i of a half is bits 2 j and 2 j + 1 of byte i
// of the half's 32.
INKI_TEMPLATE void unpack_two_bits(int16_t *restrict q, const uint8_t *restrict w) {
    for (int half = 0; half < 2; half++, w += 32)
        for (int shift = 0; shift < 8; shift += 2, q += 32)
            for (int i = 0; i < 32; i++) q[i] = (int16_t)(w[i] >> shift & 3);
}

// Four bits a weight, in quarters of 64: the low nibbles of 32 bytes, then the high ones.
INKI_TEMPLATE void unpack_quarters(int16_t *restrict q, const uint8_t *restrict w) {
    for (int quarter = 0; quarter < 4; quarter++, w += 32, q += 64) {
        for (int i = 0; i < 32; i++) q[i] = (int16_t)(w[i] & 15);
        for (int i = 0; i < 32; i++) q[32 + i] = (int16_t)(w[i] >> 4);
    }
}

// scales [16]: low nibble the scale, high nibble the minimum of sixteen; qs [64]; d, dmin.
static void unpack_q2_k_c(block_piece *restrict p, const uint8_t *restrict block, size_t n) {
    for (size_t j = 0; j < n; j++, block += 84) {
        const float d = block_half(block + 80), dmin = block_half(block + 82);
        for (size_t g = 0; g < 16; g++) {
            p->scale[16 * j + g] = d * (float)(block[g] & 15);
            p->min[16 * j + g] = dmin * (float)(block[g] >> 4);
        }
        unpack_two_bits(p->q + 256 * j, block + 16);
    }
}

// hmask [32], qs [64], scales [12], d. A weight is its two bits, less 4 where bit (column / 32) of
// hmask[column % 32] is clear. Scale g, above 32, has its low nibble in scales[g % 8] (the byte's
// low half for g < 8) and two more bits in scales[8 + g % 4].
static void unpack_q3_k_c(block_piece *restrict p, const uint8_t *restrict block, size_t n) {
    for (size_t j = 0; j < n; j++, block += 110) {
        const float d = block_half(block + 108);
        const uint8_t *restrict s = block + 96;
        for (size_t g = 0; g < 16; g++) {
            const int low = s[g % 8] >> (g < 8 ? 0 : 4) & 15;
            const int high = s[8 + g % 4] >> 2 * (g / 4) & 3;
            p->scale[16 * j + g] = d * (float)((low | high << 4) - 32);
        }
        int16_t *restrict q = p->q + 256 * j;
        unpack_two_bits(q, block + 32);
        for (int bit = 0; bit < 8; bit++, q += 32)
            for (int i = 0; i < 32; i++) q[i] = (int16_t)(q[i] + ((block[i] >> bit & 1) << 2) - 4);
    }
}

// d, dmin, then six bits for each of eight scales and eight minimums in 12 bytes: the first four of
// both are bytes 0-3 and 4-7 without their two highest bits, which belong to the other four; those
// have their low nibbles in bytes 8-11.
INKI_TEMPLATE void unpack_scales_min(block_piece *restrict p, const uint8_t *restrict block,
                                     size_t j) {
    const float d = block_half(block), dmin = block_half(block + 2);
    const uint8_t *restrict s = block + 4;
    for (size_t g = 0; g < 4; g++) {
        p->scale[8 * j + g] = d * (float)(s[g] & 63);
        p->min[8 * j + g] = dmin * (float)(s[4 + g] & 63);
        p->scale[8 * j + 4 + g] = d * (float)((s[8 + g] & 15) | s[g] >> 6 << 4);
        p->min[8 * j + 4 + g] = dmin * (float)(s[8 + g] >> 4 | s[4 + g] >> 6 << 4);
    }
}

// Scales as above, qs [128].
static void unpack_q4_k_c(block_piece *restrict p, const uint8_t *restrict block, size_t n) {
    for (size_t j = 0; j < n; j++, block += 144) {
        unpack_scales_min(p, block, j);
        unpack_quarters(p->q + 256 * j, block + 16);
    }
}

// Scales as above, qh [32], qs [128]. The fifth bit of a weight is bit (column / 32) of
// qh[column % 32].
static void unpack_q5_k_c(block_piece *restrict p, const uint8_t *restrict block, size_t n) {
    for (size_t j = 0; j < n; j++, block += 176) {
        unpack_scales_min(p, block, j);
        int16_t *restrict q = p->q + 256 * j;
        unpack_quarters(q, block + 48);
        for (int bit = 0; bit < 8; bit++, q += 32)
            for (int i = 0; i < 32; i++) q[i] = (int16_t)(q[i] + ((block[16 + i] >> bit & 1) << 4));
    }
}

// ql [128], qh [64], scales [16], d. In halves of 128 columns: nibbles as low and high halves of 64
// bytes, two more bits as Q2_K has its weights.
static void unpack_q6_k_c(block_piece *restrict p, const uint8_t *restrict block, size_t n) {
    for (size_t j = 0; j < n; j++, block += 210) {
        const float d = block_half(block + 208);
        for (size_t g = 0; g < 16; g++) p->scale[16 * j + g] = d * (float)(int8_t)block[192 + g];
        int16_t *restrict q = p->q + 256 * j;
        unpack_two_bits(q, block + 128);
        const uint8_t *restrict low = block;
        for (int half = 0; half < 2; half++, q += 128, low += 64) {
            for (int i = 0; i < 64; i++) q[i] = (int16_t)(q[i] * 16 + (low[i] & 15) - 32);
            for (int i = 0; i < 64; i++) q[64 + i] = (int16_t)(q[64 + i] * 16 + (low[i] >> 4) - 32);
        }
    }
}

BLOCK_SLOTS(q2_k, 256, 84, 16, true)
BLOCK_SLOTS(q3_k, 256, 110, 16, false)
BLOCK_SLOTS(q4_k, 256, 144, 32, true)
BLOCK_SLOTS(q5_k, 256, 176, 32, true)
BLOCK_SLOTS(q6_k, 256, 210, 16, false)

void inki_kernels_kblocks_portable(inki_kernels *table) {
    table->matmul[INKI_Q2_K] = matmul_q2_k_c;
    table->matmul[INKI_Q3_K] = matmul_q3_k_c;
    table->matmul[INKI_Q4_K] = matmul_q4_k_c;
    table->matmul[INKI_Q5_K] = matmul_q5_k_c;
    table->matmul[INKI_Q6_K] = matmul_q6_k_c;
    table->dequantize[INKI_Q2_K] = dequantize_q2_k_c;
    table->dequantize[INKI_Q3_K] = dequantize_q3_k_c;
    table->dequantize[INKI_Q4_K] = dequantize_q4_k_c;
    table->dequantize[INKI_Q5_K] = dequantize_q5_k_c;
    table->dequantize[INKI_Q6_K] = dequantize_q6_k_c;
}
