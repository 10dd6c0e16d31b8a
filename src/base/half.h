// SPDX-License-Identifier: MIT
// 16-bit floats. Exact to read; round to nearest, ties to even, to write.
#ifndef INKI_BASE_HALF_H
#define INKI_BASE_HALF_H

#include <stdint.h>
#include <string.h>

static inline uint32_t inki_f32_bits(float f) {
    uint32_t u;
    memcpy(&u, &f, 4);
    return u;
}
static inline float inki_f32_from_bits(uint32_t u) {
    float f;
    memcpy(&f, &u, 4);
    return f;
}

static inline float inki_bf16_to_f32(uint16_t h) { return inki_f32_from_bits((uint32_t)h << 16); }
static inline uint16_t inki_f32_to_bf16(float f) {
    const uint32_t u = inki_f32_bits(f);
    if ((u & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(u >> 16 | 0x40); // a NaN stays one
    return (uint16_t)((u + 0x7fffu + (u >> 16 & 1)) >> 16);
}

// Without branches on the data, so that a loop of it vectorises: shift exponent and mantissa into
// place and let a multiplication by 2^112 move the bias; that is exact, subnormals included. What
// had the highest exponent (infinity, NaN) gets the rest of it added.
static inline float inki_f16_to_f32(uint16_t h) {
    const uint32_t magnitude = (uint32_t)(h & 0x7fff) << 13;
    const float scaled = inki_f32_from_bits(magnitude) * 0x1p112f;
    const uint32_t special = magnitude >= 0x0f800000u ? 0x7f800000u : 0;
    return inki_f32_from_bits(inki_f32_bits(scaled) | special | (uint32_t)(h & 0x8000) << 16);
}

static inline uint16_t inki_f32_to_f16(float f) {
    const uint32_t u = inki_f32_bits(f);
    const uint32_t sign = u >> 16 & 0x8000;
    const uint32_t a = u & 0x7fffffff;
    if (a > 0x7f800000u) return (uint16_t)(sign | 0x7e00);  // NaN
    if (a >= 0x477ff000u) return (uint16_t)(sign | 0x7c00); // rounds to 65520 or more: infinity
    if (a < 0x38800000u) { // below 2^-14: the addition shifts the mantissa out and rounds it
        const float shifted = inki_f32_from_bits(a) + 0.5f;
        return (uint16_t)(sign | (inki_f32_bits(shifted) - 0x3f000000u));
    }
    return (uint16_t)(sign | ((a - 0x38000000u + 0xfffu + (a >> 13 & 1)) >> 13));
}

#endif
