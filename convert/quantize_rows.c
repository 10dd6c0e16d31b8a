// SPDX-License-Identifier: MIT
#include "convert/quantize_rows.h"

#include "base/half.h"
#include "base/tensor_type.h"

#include <math.h>
#include <string.h>

typedef struct row_quantizer {
    void (*block)(uint8_t *out, const inki_scaled_block *b);
    float reach;
} row_quantizer;

#define HALF_MAX 65504.0f
static const row_quantizer quantizers[INKI_TENSOR_TYPES] = {
    [INKI_Q8_0] = {inki_quantize_block_q8_0, HALF_MAX * 127},
    [INKI_Q4_0] = {inki_quantize_block_q4_0, HALF_MAX * 7},
    [INKI_Q5_0] = {inki_quantize_block_q5_0, HALF_MAX * 15},
    [INKI_Q5_1] = {inki_quantize_block_q5_1, HALF_MAX}, // its minimum is a half by itself
    [INKI_Q4_K] = {inki_quantize_block_q4_k, HALF_MAX * 63},
    [INKI_Q5_K] = {inki_quantize_block_q5_k, HALF_MAX * 63},
    [INKI_Q6_K] = {inki_quantize_block_q6_k, HALF_MAX * 127 * 31},
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

// False when a value is not finite.
static bool prepare(inki_scaled_block *b, const float *x, const float *importance, size_t n) {
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
    for (size_t i = 0; i < n; i++) {
        b->x[i] = x[i] * first * second;
        b->w[i] = importance != NULL ? importance[i] : 1.0f;
    }
    return true;
}

bool inki_quantize_row_fit(uint32_t type, void *row, const float *x, const float *importance,
                           size_t n) {
    const inki_type_info info = inki_type_of(type);
    if (inki_quantize_reach(type) == 0 || n % info.block_elems != 0) return false;
    uint8_t *out = (uint8_t *)row;
    inki_scaled_block b;
    for (size_t k = 0; k < n; k += info.block_elems, out += info.block_bytes) {
        if (!prepare(&b, x + k, importance != NULL ? importance + k : NULL, info.block_elems))
            return false;
        quantizers[type].block(out, &b);
    }
    return true;
}
