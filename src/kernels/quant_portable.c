// SPDX-License-Identifier: MIT
// Between floats and the forms in which weights, activations, keys and values are kept.
#include "kernels/levels.h"

#include "base/half.h"
#include "inkling/inkling.h"

#include <string.h>

enum { QUANT_RUN = 16 }; // loops of a fixed count vectorise at -O2 too

static void dequantize_f32_c(float *out, const void *row, size_t n) {
    memcpy(out, row, n * sizeof *out);
}

static void dequantize_f16_c(float *restrict out, const void *row, size_t n) {
    const uint16_t *restrict h = (const uint16_t *)row;
    size_t k = 0;
    for (; k + QUANT_RUN <= n; k += QUANT_RUN)
        for (size_t i = 0; i < QUANT_RUN; i++) out[k + i] = inki_f16_to_f32(h[k + i]);
    for (; k < n; k++) out[k] = inki_f16_to_f32(h[k]);
}

static void dequantize_bf16_c(float *restrict out, const void *row, size_t n) {
    const uint16_t *restrict h = (const uint16_t *)row;
    size_t k = 0;
    for (; k + QUANT_RUN <= n; k += QUANT_RUN)
        for (size_t i = 0; i < QUANT_RUN; i++) out[k + i] = inki_bf16_to_f32(h[k + i]);
    for (; k < n; k++) out[k] = inki_bf16_to_f32(h[k]);
}

// The largest magnitude of a block. Compared as bits, where infinities and NaN count as the largest
// of all: they come out as the scale and reach the logits, where they are noticed.
static float block_largest(const float *restrict x) {
    int32_t max = 0;
    for (int i = 0; i < INKI_Q8_BLOCK; i++) {
        const int32_t bits = (int32_t)(inki_f32_bits(x[i]) & 0x7fffffff);
        max = bits > max ? bits : max;
    }
    return inki_f32_from_bits((uint32_t)max);
}

// q = x * factor, rounded to nearest, ties to even: the addition of 1.5 * 2^23 rounds and leaves
// the integer in the low bits. Unlike a conversion it is defined for a NaN.
static void round_block(int8_t *restrict q, const float *restrict x, float factor) {
    for (int i = 0; i < INKI_Q8_BLOCK; i++)
        q[i] = (int8_t)(uint8_t)(inki_f32_bits(x[i] * factor + 12582912.0f) & 0xff);
}

static int16_t sum_of_16(const int8_t *restrict q) {
    int sum = 0;
    for (int i = 0; i < 16; i++) sum += q[i];
    return (int16_t)sum;
}

static void quantize_act_c(void *out, const float *x, size_t n) {
    int8_t *q = (int8_t *)out;
    float *d = (float *)(void *)(q + n);
    int16_t *sum = (int16_t *)(void *)(q + n + n / 8);
    for (size_t k = 0; k < n; k += INKI_Q8_BLOCK) {
        const float max = block_largest(x + k);
        // Below that 127 / max would overflow; such a block counts as zero.
        const bool tiny = max < 0x1p-100f;
        round_block(q + k, x + k, tiny ? 0.0f : 127.0f / max);
        d[k / INKI_Q8_BLOCK] = tiny ? 0.0f : max / 127.0f;
        sum[k / 16] = sum_of_16(q + k);
        sum[k / 16 + 1] = sum_of_16(q + k + 16);
    }
}

// How many columns a key writes: where it is the first of sixteen, the others become zero.
static size_t key_columns(size_t pos) { return pos % 16 == 0 ? 16 : 1; }

static void store_key_f32_c(void *keys, size_t pos, const float *x, size_t head_dim) {
    float *k = (float *)keys + pos;
    const size_t n = key_columns(pos);
    for (size_t i = 0; i < head_dim; i++, k += INKI_TILE) {
        k[0] = x[i];
        for (size_t j = 1; j < n; j++) k[j] = 0;
    }
}

static void store_value_f32_c(void *values, size_t pos, const float *x, size_t head_dim) {
    memcpy((float *)values + pos * head_dim, x, head_dim * sizeof *x);
}

static void store_key_f16_c(void *keys, size_t pos, const float *x, size_t head_dim) {
    uint16_t *k = (uint16_t *)keys + pos;
    const size_t n = key_columns(pos);
    for (size_t i = 0; i < head_dim; i++, k += INKI_TILE) {
        k[0] = inki_f32_to_f16(x[i]);
        for (size_t j = 1; j < n; j++) k[j] = 0;
    }
}

static void store_value_f16_c(void *values, size_t pos, const float *x, size_t head_dim) {
    uint16_t *v = (uint16_t *)values + pos * head_dim;
    for (size_t i = 0; i < head_dim; i++) v[i] = inki_f32_to_f16(x[i]);
}

// The n <= 32 values of a block; the others count as zeros.
static uint16_t kv_block_q8_0(int8_t q[INKI_Q8_BLOCK], const float *x, size_t n) {
    float padded[INKI_Q8_BLOCK] = {0};
    memcpy(padded, x, (n < INKI_Q8_BLOCK ? n : INKI_Q8_BLOCK) * sizeof *x);
    // Values are divided by the scale that is kept, not by the one before its rounding.
    const uint16_t d = inki_f32_to_f16(block_largest(padded) / 127.0f);
    const float scale = inki_f16_to_f32(d);
    for (int i = 0; i < INKI_Q8_BLOCK; i++) {
        // A rounded-down subnormal scale may be half of the true one.
        const float limit = scale * 127.0f;
        padded[i] = padded[i] > limit ? limit : padded[i];
        padded[i] = padded[i] < -limit ? -limit : padded[i];
    }
    round_block(q, padded, scale > 0.0f ? 1.0f / scale : 0.0f);
    return d;
}

static void store_key_q8_0_c(void *keys, size_t pos, const float *x, size_t head_dim) {
    uint8_t *block = (uint8_t *)keys;
    const size_t n = key_columns(pos);
    for (size_t k = 0; k < head_dim; k += INKI_Q8_BLOCK, block += 34 * INKI_TILE) {
        int8_t q[INKI_Q8_BLOCK];
        uint16_t d[16] = {kv_block_q8_0(q, x + k, head_dim - k)};
        memcpy(block + 2 * pos, d, n * sizeof *d);
        int8_t *column = (int8_t *)block + 2 * INKI_TILE + pos;
        for (int i = 0; i < INKI_Q8_BLOCK; i++, column += INKI_TILE) {
            column[0] = q[i];
            for (size_t j = 1; j < n; j++) column[j] = 0;
        }
    }
}

static void store_value_q8_0_c(void *values, size_t pos, const float *x, size_t head_dim) {
    uint8_t *block = (uint8_t *)values + pos * inki_kv_row_bytes(INK_KV_Q8_0, head_dim);
    for (size_t k = 0; k < head_dim; k += INKI_Q8_BLOCK, block += 34) {
        int8_t q[INKI_Q8_BLOCK];
        const uint16_t d = kv_block_q8_0(q, x + k, head_dim - k);
        memcpy(block, &d, sizeof d);
        memcpy(block + 2, q, sizeof q);
    }
}

void inki_kernels_quant_portable(inki_kernels *table) {
    table->dequantize[INKI_F32] = dequantize_f32_c;
    table->dequantize[INKI_F16] = dequantize_f16_c;
    table->dequantize[INKI_BF16] = dequantize_bf16_c;
    table->quantize_act = quantize_act_c;
    table->store_key[INK_KV_F32] = store_key_f32_c;
    table->store_key[INK_KV_F16] = store_key_f16_c;
    table->store_key[INK_KV_Q8_0] = store_key_q8_0_c;
    table->store_value[INK_KV_F32] = store_value_f32_c;
    table->store_value[INK_KV_F16] = store_value_f16_c;
    table->store_value[INK_KV_Q8_0] = store_value_q8_0_c;
}
