// SPDX-License-Identifier: MIT
// Weights in blocks of 32: a half as scale, for Q4_1 and Q5_1 a half as minimum
// after it, then for Q5_* 32 bits with the highest bit of each weight, then the
// weights: bytes, or nibbles, where the low ones are the first sixteen weights
// and the high ones the others. Source: ggml, ggml-common.h and ggml-quants.c
// (block_q8_0 and the like).
#include "kernels/blocks_portable.h"
#include "kernels/levels.h"

enum { BLOCK_TILE = 32 };

static inline int32_t block_dot(const int16_t *restrict w, const int8_t *restrict x) {
    int32_t sum = 0; // exact, so its order is the compiler's to choose
    for (int i = 0; i < 32; i++) sum += w[i] * (int16_t)x[i];
    return sum;
}
static inline int32_t block_dot_half(const int16_t *restrict w, const int8_t *restrict x) {
    int32_t sum = 0;
#if defined(__GNUC__)
#pragma GCC unroll 1 // gcc would unroll it before it could vectorise it
#endif
    for (int i = 0; i < 16; i++) sum += w[i] * (int16_t)x[i];
    return sum;
}

// The sum of n groups of a piece with one activation row, added to `sum`; a
// group's product first, then its minimum.
INKI_TEMPLATE float block_sum(float sum, const block_piece *p, const int8_t *x,
                              const float *x_scale, const int16_t *x_sum, size_t n, size_t group,
                              bool has_min) {
    for (size_t i = 0; i < n; i++, x += group) {
        const float d = x_scale[i * group / INKI_Q8_BLOCK];
        const int32_t dot =
            group == 32 ? block_dot(p->q + i * group, x) : block_dot_half(p->q + i * group, x);
        sum += p->scale[i] * d * (float)dot;
        if (!has_min) continue;
        const int q_sum = group == 32 ? x_sum[2 * i] + x_sum[2 * i + 1] : x_sum[i];
        sum -= p->min[i] * (d * (float)q_sum);
    }
    return sum;
}

// The same for the columns from k on, as many as fill a piece, of an activation
// row.
static float block_act(float sum, const block_piece *p, const uint8_t *act, size_t n_cols, size_t k,
                       size_t n, const block_form *form) {
    const int8_t *x = (const int8_t *)act + k;
    const float *d = inki_act_scales(act, n_cols) + k / INKI_Q8_BLOCK;
    const int16_t *q_sum = inki_act_sums(act, n_cols) + k / 16;
    if (form->group == 16) return block_sum(sum, p, x, d, q_sum, n / 16, 16, form->has_min);
    if (form->has_min) return block_sum(sum, p, x, d, q_sum, n / 32, 32, true);
    return block_sum(sum, p, x, d, q_sum, n / 32, 32, false);
}

// sums [n_batch] = a weight row times the activation rows from b on; n_batch <=
// BLOCK_TILE.
static void block_row(float *sums, const block_product *m, const block_form *form, const uint8_t *w,
                      size_t b, size_t n_batch) {
    block_piece piece;
    const size_t n_cols = m->n_cols;
    for (size_t i = 0; i < n_batch; i++) sums[i] = 0;
    for (size_t k = 0; k < n_cols; k += BLOCK_PIECE) {
        const size_t n = n_cols - k < BLOCK_PIECE ? n_cols - k : BLOCK_PIECE;
        form->unpack(&piece, w + k / form->elems * form->bytes, n / form->elems);
        for (size_t i = 0; i < n_batch; i++)
            sums[i] =
                block_act(sums[i], &piece, m->acts + (b + i) * m->act_stride, n_cols, k, n, form);
    }
}

void inki_kernels_block_matmul(const block_product *m, const block_form *form) {
    for (size_t b = 0; b < m->n_batch; b += BLOCK_TILE) {
        const size_t n = m->n_batch - b < BLOCK_TILE ? m->n_batch - b : BLOCK_TILE;
        for (size_t r = 0; r < m->n_rows; r++) {
            float sums[BLOCK_TILE];
            block_row(sums, m, form, m->weights + r * m->row_bytes, b, n);
            for (size_t i = 0; i < n; i++)
                m->out[(b + i) * m->out_stride + r] =
                    m->bias != NULL ? sums[i] + m->bias[r] : sums[i];
        }
    }
}

void inki_kernels_block_dequantize(float *restrict out, const uint8_t *row, size_t n,
                                   const block_form *form) {
    block_piece piece;
    for (size_t k = 0; k < n; k += form->elems, row += form->bytes) {
        form->unpack(&piece, row, 1);
        for (size_t g = 0; g < form->elems;
             g += 16) { // a fixed count inside: vectorised at -O2 too
            const size_t group = g / form->group;
            const float scale = piece.scale[group];
            for (size_t i = 0; i < 16; i++) out[k + g + i] = scale * (float)piece.q[g + i];
            if (!form->has_min) continue;
            for (size_t i = 0; i < 16; i++) out[k + g + i] -= piece.min[group];
        }
    }
}

static void unpack_q8_0_c(block_piece *restrict p, const uint8_t *restrict block, size_t n) {
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

static void unpack_q4_0_c(block_piece *restrict p, const uint8_t *restrict block, size_t n) {
    for (size_t j = 0; j < n; j++, block += 18) {
        p->scale[j] = block_half(block);
        unpack_nibbles(p->q + 32 * j, block + 2, 8);
    }
}

static void unpack_q4_1_c(block_piece *restrict p, const uint8_t *restrict block, size_t n) {
    for (size_t j = 0; j < n; j++, block += 20) {
        p->scale[j] = block_half(block);
        p->min[j] = -block_half(block + 2); // kept as what is added
        unpack_nibbles(p->q + 32 * j, block + 4, 0);
    }
}

static void unpack_q5_0_c(block_piece *restrict p, const uint8_t *restrict block, size_t n) {
    for (size_t j = 0; j < n; j++, block += 22) {
        p->scale[j] = block_half(block);
        unpack_nibbles(p->q + 32 * j, block + 6, 16);
        unpack_high_bits(p->q + 32 * j, block + 2);
    }
}

static void unpack_q5_1_c(block_piece *restrict p, const uint8_t *restrict block, size_t n) {
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
