// SPDX-License-Identifier: MIT
// Quantisers of weights. Rounding follows the reference quantisers of ggml, so that both programs
// make the same bytes from the same weights. Source: ggml, quantize_row_q8_0_ref and
// quantize_row_q4_0_ref.
#include "kernels/kernels.h"

#include "base/half.h"

#include <math.h>
#include <string.h>

// The conversion of a NaN or of a value out of range is undefined in C; such a value becomes 0.
static int defined_int(float f) { return f >= -1024.0f && f <= 1024.0f ? (int)f : 0; }

static void quantize_block_q8_0(uint8_t *block, const float *x) {
    float max = 0;
    for (int i = 0; i < 32; i++) max = fabsf(x[i]) > max ? fabsf(x[i]) : max;
    const float d = max / 127.0f;
    const float inverse = d != 0 ? 1.0f / d : 0.0f;
    const uint16_t half = inki_f32_to_f16(d);
    memcpy(block, &half, sizeof half);
    for (int i = 0; i < 32; i++) block[2 + i] = (uint8_t)defined_int(roundf(x[i] * inverse));
}

static void quantize_block_q4_0(uint8_t *block, const float *x) {
    float max = 0; // the value of largest magnitude, with its sign: it becomes -8 exactly
    for (int i = 0; i < 32; i++)
        if (fabsf(x[i]) > fabsf(max)) max = x[i];
    const float d = max / -8.0f;
    const float inverse = d != 0 ? 1.0f / d : 0.0f;
    const uint16_t half = inki_f32_to_f16(d);
    memcpy(block, &half, sizeof half);
    for (int i = 0; i < 16; i++) {
        const int low = defined_int(x[i] * inverse + 8.5f);
        const int high = defined_int(x[16 + i] * inverse + 8.5f);
        block[2 + i] = (uint8_t)((low < 15 ? low : 15) | (high < 15 ? high : 15) << 4);
    }
}

bool inki_quantize_row(uint32_t type, void *row, const float *x, size_t n) {
    uint8_t *out = (uint8_t *)row;
    uint16_t half;
    switch (type) {
    case INKI_F32: memcpy(out, x, n * sizeof *x); return true;
    case INKI_F16:
        for (size_t i = 0; i < n; i++) {
            half = inki_f32_to_f16(x[i]);
            memcpy(out + 2 * i, &half, sizeof half);
        }
        return true;
    case INKI_BF16:
        for (size_t i = 0; i < n; i++) {
            half = inki_f32_to_bf16(x[i]);
            memcpy(out + 2 * i, &half, sizeof half);
        }
        return true;
    case INKI_Q8_0:
        if (n % 32 != 0) return false;
        for (size_t k = 0; k < n; k += 32) quantize_block_q8_0(out + k / 32 * 34, x + k);
        return true;
    case INKI_Q4_0:
        if (n % 32 != 0) return false;
        for (size_t k = 0; k < n; k += 32) quantize_block_q4_0(out + k / 32 * 18, x + k);
        return true;
    default: return false;
    }
}

bool inki_quantize_holds(uint32_t type, float largest) {
    const uint16_t half_infinity = 0x7c00, bf16_infinity = 0x7f80;
    switch (type) {
    case INKI_F16: return inki_f32_to_f16(largest) != half_infinity;
    case INKI_BF16: return inki_f32_to_bf16(largest) != bf16_infinity;
    case INKI_Q8_0: return inki_f32_to_f16(largest / 127.0f) != half_infinity;
    case INKI_Q4_0: return inki_f32_to_f16(largest / 8.0f) != half_infinity;
    default: return true;
    }
}
