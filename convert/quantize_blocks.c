// SPDX-License-Identifier: MIT
// Blocks of 32 with one scale, or a scale and a minimum.
// Source of the layouts: ggml (ggml-common.h).
#include "convert/quantize_fit.h"
#include "convert/quantize_rows.h"

#include <string.h>

enum { BLOCK = 32 };

// Takes the half if it does better than what was found so far.
static void try_half(const inki_scaled_block *b, const inki_fit_job *job, uint16_t half,
                     uint16_t *best, float *least) {
    if ((half & 0x7fff) >= 0x7c00) return;
    const float error = inki_fit_error(job, (inki_fit){inki_scaled_worth(b, half), 0});
    if (*least >= 0 && !(error < *least)) return;
    *best = half;
    *least = error;
}

// The scale as it is stored, and the integers that suit that one.
static uint16_t fit_block(const inki_scaled_block *b, float low, float high, int16_t *q) {
    const inki_fit_job job = {b->x, b->w, BLOCK, low, high};
    const uint16_t half = inki_scaled_half(b, inki_fit_symmetric(&job).scale);
    uint16_t best = half;
    float least = -1;
    try_half(b, &job, half, &best, &least);
    try_half(b, &job, (uint16_t)(half + 1), &best, &least);
    if ((half & 0x7fff) > 0) try_half(b, &job, (uint16_t)(half - 1), &best, &least);
    // Plain rounding, so that the search is never worse.
    try_half(b, &job, inki_scaled_half(b, inki_fit_largest(&job).scale), &best, &least);
    inki_fit_integers(&job, (inki_fit){inki_scaled_worth(b, best), 0}, q);
    return best;
}

void inki_quantize_block_q8_0(uint8_t *out, const inki_scaled_block *b) {
    int16_t q[BLOCK];
    const uint16_t d = fit_block(b, -127, 127, q);
    memcpy(out, &d, sizeof d);
    for (size_t i = 0; i < BLOCK; i++) out[2 + i] = (uint8_t)(q[i] & 0xff);
}

void inki_quantize_block_q4_0(uint8_t *out, const inki_scaled_block *b) {
    int16_t q[BLOCK];
    const uint16_t d = fit_block(b, -8, 7, q);
    memcpy(out, &d, sizeof d);
    for (size_t i = 0; i < 16; i++) out[2 + i] = (uint8_t)((q[i] + 8) | (q[16 + i] + 8) << 4);
}

// Integers of five bits: the fifth bits of all stand together in front of the nibbles.
static void put_fives(uint8_t *out, const int16_t *q, int offset) {
    uint32_t fifths = 0;
    for (size_t i = 0; i < BLOCK; i++) fifths |= (uint32_t)((q[i] + offset) >> 4 & 1) << i;
    for (size_t i = 0; i < 4; i++) out[i] = (uint8_t)(fifths >> (8 * i) & 0xff);
    for (size_t i = 0; i < 16; i++)
        out[4 + i] = (uint8_t)(((q[i] + offset) & 15) | ((q[16 + i] + offset) & 15) << 4);
}

void inki_quantize_block_q5_0(uint8_t *out, const inki_scaled_block *b) {
    int16_t q[BLOCK];
    const uint16_t d = fit_block(b, -16, 15, q);
    memcpy(out, &d, sizeof d);
    put_fives(out + 2, q, 16);
}

typedef struct half_pair {
    uint16_t d, m;
    float error;
} half_pair;

static void try_pair(const inki_scaled_block *b, const inki_fit_job *job, uint16_t d, uint16_t m,
                     half_pair *best) {
    if ((m & 0x7fff) >= 0x7c00) return;
    const inki_fit fit = {inki_scaled_worth(b, d), inki_scaled_worth(b, m)};
    const float error = inki_fit_error(job, fit);
    if (best->error >= 0 && !(error < best->error)) return;
    *best = (half_pair){d, m, error};
}

void inki_quantize_block_q5_1(uint8_t *out, const inki_scaled_block *b) {
    const inki_fit_job job = {b->x, b->w, BLOCK, 0, 31};
    const inki_fit fit = inki_fit_affine(&job, 0);
    const uint16_t d = inki_scaled_half(b, fit.scale), m = inki_scaled_half(b, fit.min);
    half_pair best = {d, m, -1};
    // A minimum moves all values, so its rounding shows: the scale is fitted to what became of it.
    for (int step = -1; step <= 1; step++) {
        const uint16_t near = (uint16_t)((m & 0x7fff) == 0 && step < 0 ? m : m + step);
        const inki_fit kept = inki_fit_scale(&job, fit.scale, inki_scaled_worth(b, near));
        try_pair(b, &job, d, near, &best);
        try_pair(b, &job, inki_scaled_half(b, kept.scale), near, &best);
    }
    const inki_fit plain = inki_fit_range(&job, 0);
    try_pair(b, &job, inki_scaled_half(b, plain.scale), inki_scaled_half(b, plain.min), &best);
    int16_t q[BLOCK];
    inki_fit_integers(&job, (inki_fit){inki_scaled_worth(b, best.d), inki_scaled_worth(b, best.m)},
                      q);
    memcpy(out, &best.d, sizeof best.d);
    memcpy(out + 2, &best.m, sizeof best.m);
    put_fives(out + 4, q, 0);
}
