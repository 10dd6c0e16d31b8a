// SPDX-License-Identifier: MIT
#include "convert/quantize_rows.h"

#include "base/half.h"
#include "base/tensor_type.h"

#include <math.h>
#include <string.h>

// What an error counts. Least squares makes rows a little too short, as it must when values are
// rounded to what explains them best: nothing with fine integers, but with sixteen of them it shows
// in the logits. Weights that grow with the value hold against it.
typedef enum error_weight {
    EVEN,    // 1
    BY_POWER // x^2 + m, m the mean of x^2 in the block
} error_weight;

typedef struct row_quantizer {
    void (*block)(uint8_t *out, const inki_scaled_block *b);
    float reach;
    error_weight weight;
} row_quantizer;

#define HALF_MAX 65504.0f
static const row_quantizer quantizers[INKI_TENSOR_TYPES] = {
    [INKI_Q8_0] = {inki_quantize_block_q8_0, HALF_MAX * 127, EVEN},
    [INKI_Q4_0] = {inki_quantize_block_q4_0, HALF_MAX * 7, BY_POWER},
    [INKI_Q5_0] = {inki_quantize_block_q5_0, HALF_MAX * 15, EVEN},
    [INKI_Q5_1] = {inki_quantize_block_q5_1, HALF_MAX, EVEN}, // its minimum is a half by itself
    [INKI_Q4_K] = {inki_quantize_block_q4_k, HALF_MAX * 63, EVEN},
    [INKI_Q5_K] = {inki_quantize_block_q5_k, HALF_MAX * 63, EVEN},
    [INKI_Q6_K] = {inki_quantize_block_q6_k, HALF_MAX * 127 * 31, EVEN},
};

float inki_quantize_reach(uint32_t type) {
    return type < INKI_TENSOR_TYPES ? quantizers[type].reach : 0;
}

uint16_t inki_scaled_half(const inki_scaled_block *b, float scale) {
    const uint16_t half = inki_f32_to_f16(ldexpf(scale, b->exponent));
    return (half & 0x7fff) >= 0x7c00 ? (uint16_t)((half & 0x8000) | 0x7bff) : half;
}

float inki_scaled_worth(const inki_scaled_block *b, uint16_t half) {
    return ldexpf(inki_f16_to_f32(half), -b->exponent);
}

static void fill_weights(inki_scaled_block *b, size_t n, error_weight kind) {
    float mean = 0;
    for (size_t i = 0; i < n; i++) mean += b->x[i] * b->x[i];
    mean /= (float)n;
    for (size_t i = 0; i < n; i++) b->w[i] = kind == EVEN ? 1.0f : b->x[i] * b->x[i] + mean;
}

// False when a value is not finite.
static bool prepare(inki_scaled_block *b, const float *x, size_t n, error_weight kind) {
    uint32_t largest = 0;
    for (size_t i = 0; i < n; i++) {
        const uint32_t bits = inki_f32_bits(x[i]) & 0x7fffffff;
        largest = bits > largest ? bits : largest;
    }
    if (largest >= 0x7f800000) return false;
    b->exponent = 0;
    if (largest > 0) frexpf(inki_f32_from_bits(largest), &b->exponent);
    // In two steps, since 2^-exponent of the smallest numbers is no float.
    const float first = ldexpf(1.0f, -(b->exponent / 2));
    const float second = ldexpf(1.0f, -(b->exponent - b->exponent / 2));
    for (size_t i = 0; i < n; i++) b->x[i] = x[i] * first * second;
    fill_weights(b, n, kind);
    return true;
}

bool inki_quantize_row_fit(uint32_t type, void *row, const float *x, size_t n) {
    const inki_type_info info = inki_type_of(type);
    if (inki_quantize_reach(type) == 0 || n % info.block_elems != 0) return false;
    uint8_t *out = (uint8_t *)row;
    inki_scaled_block b;
    for (size_t k = 0; k < n; k += info.block_elems, out += info.block_bytes) {
        if (!prepare(&b, x + k, info.block_elems, quantizers[type].weight)) return false;
        quantizers[type].block(out, &b);
    }
    return true;
}
