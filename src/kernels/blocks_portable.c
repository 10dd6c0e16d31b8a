// SPDX-License-Identifier: MIT
// Weights in blocks of 32: a half as scale, for Q4_1 and Q5_1 a half as minimum after it, then for
// Q5_* 32 bits with the highest bit of each weight, then the weights: bytes, or nibbles, where the
// low ones are the first sixteen weights and the high ones the others.
// Source: ggml, ggml-common.h and ggml-quants.c (block_q8_0 and the like).
#include "kernels/blocks_inline.h"
#include "kernels/levels.h"

INKI_TEMPLATE void unpack_q8_0_c(block_piece *restrict p, const uint8_t *restrict block, size_t n) {
    for (size_t j = 0; j < n; j++, block += 34) {
        p->scale[j] = block_half(block);
        const int8_t *restrict w = (const int8_t *)(block + 2);
        for (int i = 0; i < 32; i++) p->q[32 * j + (size_t)i] = w[i];
    }
}

INKI_TEMPLATE void unpack_nibbles(int16_t *restrict q, const uint8_t *restrict w, int zero) {
    for (int i = 0; i < 16; i++) q[i] = (int16_t)((w[i] & 15) - zero);
    for (int i = 0; i < 16; i++) q[16 + i] = (int16_t)((w[i] >> 4) - zero);
}

INKI_TEMPLATE void unpack_high_bits(int16_t *restrict q, const uint8_t *restrict bits) {
    uint32_t high;
    memcpy(&high, bits, sizeof high);
    for (int i = 0; i < 32; i++) q[i] = (int16_t)(q[i] + (int16_t)((high >> i & 1) << 4));
}

INKI_TEMPLATE void unpack_q4_0_c(block_piece *restrict p, const uint8_t *restrict block, size_t n) {
    for (size_t j = 0; j < n; j++, block += 18) {
        p->scale[j] = block_half(block);
        unpack_nibbles(p->q + 32 * j, block + 2, 8);
    }
}

INKI_TEMPLATE void unpack_q4_1_c(block_piece *restrict p, const uint8_t *restrict block, size_t n) {
    for (size_t j = 0; j < n; j++, block += 20) {
        p->scale[j] = block_half(block);
        p->min[j] = -block_half(block + 2); // kept as what is added
        unpack_nibbles(p->q + 32 * j, block + 4, 0);
    }
}

INKI_TEMPLATE void unpack_q5_0_c(block_piece *restrict p, const uint8_t *restrict block, size_t n) {
    for (size_t j = 0; j < n; j++, block += 22) {
        p->scale[j] = block_half(block);
        unpack_nibbles(p->q + 32 * j, block + 6, 16);
        unpack_high_bits(p->q + 32 * j, block + 2);
    }
}

INKI_TEMPLATE void unpack_q5_1_c(block_piece *restrict p, const uint8_t *restrict block, size_t n) {
    for (size_t j = 0; j < n; j++, block += 24) {
        p->scale[j] = block_half(block);
        p->min[j] = -block_half(block + 2);
        unpack_nibbles(p->q + 32 * j, block + 8, 0);
        unpack_high_bits(p->q + 32 * j, block + 4);
    }
}

BLOCK_SLOTS(q8_0, 32, 34, 32, false)
BLOCK_SLOTS(q4_0, 32, 18, 32, false)
BLOCK_SLOTS(q4_1, 32, 20, 32, true)
BLOCK_SLOTS(q5_0, 32, 22, 32, false)
BLOCK_SLOTS(q5_1, 32, 24, 32, true)

void inki_kernels_blocks_portable(inki_kernels *table) {
    table->matmul[INKI_Q8_0] = matmul_q8_0_c;
    table->matmul[INKI_Q4_0] = matmul_q4_0_c;
    table->matmul[INKI_Q4_1] = matmul_q4_1_c;
    table->matmul[INKI_Q5_0] = matmul_q5_0_c;
    table->matmul[INKI_Q5_1] = matmul_q5_1_c;
    table->dequantize[INKI_Q8_0] = dequantize_q8_0_c;
    table->dequantize[INKI_Q4_0] = dequantize_q4_0_c;
    table->dequantize[INKI_Q4_1] = dequantize_q4_1_c;
    table->dequantize[INKI_Q5_0] = dequantize_q5_0_c;
    table->dequantize[INKI_Q5_1] = dequantize_q5_1_c;
}
