// SPDX-License-Identifier: MIT
//
// Sixteen candidates at a time, in loops that compilers make vectors of, of whatever width. Each
// has its own operations and sums have a fixed order, so the bytes are the same everywhere.
#include "sampler/draw.h"

#include "base/half.h"

#include <float.h>
#include <math.h>

bool inki_block_above(const float *x, float bound) {
    int any = 0;
    for (int k = 0; k < INKI_DRAW_BLOCK; k++) any |= x[k] > bound;
    return any != 0;
}

static float if_bits(float value, int condition, float other) {
    const uint32_t is = 0u - (uint32_t)condition;
    return inki_f32_from_bits((inki_f32_bits(value) & is) | (inki_f32_bits(other) & ~is));
}

void inki_block_copy(float *restrict to, const float *restrict from, uint32_t gone) {
    static const uint32_t bits[INKI_DRAW_BLOCK] = {
        1,      1 << 1, 1 << 2,  1 << 3,  1 << 4,  1 << 5,  1 << 6,  1 << 7,
        1 << 8, 1 << 9, 1 << 10, 1 << 11, 1 << 12, 1 << 13, 1 << 14, 1 << 15,
    };
    for (int k = 0; k < INKI_DRAW_BLOCK; k++)
        to[k] = if_bits(from[k], (gone & bits[k]) == 0, -INFINITY);
}

// What overflows is infinite, as IEEE 754 has it, and far below the best one: it stays as low as a
// logit may be.
void inki_block_scale(const float *restrict x, double base, double factor, float *restrict y) {
    for (int k = 0; k < INKI_DRAW_BLOCK; k++) {
        const float v = (float)(((double)x[k] - base) * factor);
        y[k] = if_bits(if_bits(v, v >= -FLT_MAX, -FLT_MAX), x[k] > -INFINITY, x[k]);
    }
}

// e^off of what is at most 86 below the best one, 0 of others, whose share no sum would show, and
// off = 0. The relative error is below 1e-7; exp_inline.h of the kernels has the same steps.
double inki_block_weigh(const float *restrict x, float best, float *restrict weights,
                        double *below) {
    float off[INKI_DRAW_BLOCK];
    for (int k = 0; k < INKI_DRAW_BLOCK; k++) {
        const float o = x[k] - best;
        const uint32_t counts = 0u - (uint32_t)(o >= -86.0f);
        const float v = inki_f32_from_bits(inki_f32_bits(o) & counts);
        const float shifted = v * 1.44269504f + 12582912.0f; // the multiple of ln 2 in its low bits
        const float multiple = shifted - 12582912.0f;
        const float r = (v - multiple * 0.693359375f) + multiple * 2.12194440e-4f;
        float p = 1.39262134e-3f;
        p = p * r + 8.36320297e-3f;
        p = p * r + 4.16665544e-2f;
        p = p * r + 0.166665768f;
        p = p * r + 0.5f;
        p = (r * r) * p + r;
        p = p + 1.0f;
        const uint32_t bits = inki_f32_bits(p) + (inki_f32_bits(shifted) << 23);
        off[k] = v;
        weights[k] = inki_f32_from_bits(bits & counts);
    }
    double sums[4] = {0}, by_weight[4] = {0};
    for (int k = 0; k < INKI_DRAW_BLOCK; k += 4)
        for (int j = 0; j < 4; j++) {
            sums[j] += (double)weights[k + j];
            by_weight[j] += (double)weights[k + j] * (double)off[k + j];
        }
    *below += (by_weight[0] + by_weight[2]) + (by_weight[1] + by_weight[3]);
    return (sums[0] + sums[2]) + (sums[1] + sums[3]);
}

bool inki_block_eighths(const float *restrict x, float middle, int32_t first, int32_t last,
                        int32_t *restrict eighths) {
    int any = 0;
    for (int k = 0; k < INKI_DRAW_BLOCK; k++) {
        eighths[k] = inki_draw_eighths(x[k], middle);
        any |= (eighths[k] >= first) & (eighths[k] <= last);
    }
    return any != 0;
}

// Not counted: hardly an eighth has one candidate only.
void inki_block_sort(const float *weights, const int32_t *eighths, inki_bucket *table) {
    for (int k = 0; k < INKI_DRAW_BLOCK; k++) table[eighths[k]].weight += (double)weights[k];
}
