// SPDX-License-Identifier: MIT
// exp for floats, without libm (whose last bits differ between systems), branches or fused
// multiply-adds, so that loops of it vectorise and give the same bytes everywhere.
#ifndef INKI_BASE_EXP_INLINE_H
#define INKI_BASE_EXP_INLINE_H

#include "base/half.h"

// A choice by masks: the conditional operator becomes a branch in some compilers, which then give
// up on the loop around it.
static inline float inki_f32_select(int condition, float yes, float no) {
    const uint32_t mask = 0u - (uint32_t)condition;
    return inki_f32_from_bits((inki_f32_bits(yes) & mask) | (inki_f32_bits(no) & ~mask));
}

// x = n ln 2 + r with |r| <= ln 2 / 2; n is in the low bits of *shifted, above 0x4b400000. Returns
// exp(r), a polynomial of degree 6.
static inline float inki_exp_reduce(float x, float *shifted) {
    const float magic = 12582912.0f; // 1.5 * 2^23: adding it rounds to an integer
    *shifted = x * 1.44269504f + magic;
    const float n = *shifted - magic;
    // ln 2 in two parts; the first has few bits, so that n times it is exact.
    const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    // (exp(r) - 1 - r) / r^2, interpolated at the Chebyshev points of the interval.
    float p = 1.39262134e-3f;
    p = p * r + 8.36320297e-3f;
    p = p * r + 4.16665544e-2f;
    p = p * r + 0.166665768f;
    p = p * r + 0.5f;
    p = (r * r) * p + r;
    return p + 1.0f;
}

// Relative error below 1.0e-7 where the result is a normal number; where it is a subnormal one, an
// absolute error below 2^-149, the smallest of them. exp(-inf) and all below -104 are 0,
// all above 88.8 infinity, NaN stays NaN. 2^n is applied as two factors, since one cannot hold
// 2^-149 or 2^128.
static inline float inki_exp(float x) {
    x = inki_f32_select(x < -104.0f, -104.0f, x); // NaN passes both
    x = inki_f32_select(x > 89.0f, 89.0f, x);
    float shifted;
    const float p = inki_exp_reduce(x, &shifted);
    const uint32_t i = inki_f32_bits(shifted) - 0x4b400000u; // n, as two's complement
    const uint32_t half = ((i + 512u) >> 1) - 256u;          // floor(n / 2)
    const float first = inki_f32_from_bits((half + 127u) << 23);
    const float second = inki_f32_from_bits((i - half + 127u) << 23);
    return p * first * second;
}

#endif
