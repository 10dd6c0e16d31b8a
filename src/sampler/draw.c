// SPDX-License-Identifier: MIT
//
// Sixteen candidates at a time, in loops that compilers make vectors of, of whatever width. Each
// has its own operations and sums have a fixed order, so the bytes are the same everywhere.
#include "sampler/draw.h"

#include "base/exp_inline.h"

#include <float.h>
#include <math.h>
#include <string.h>

// -INFINITY for those whose bit is set.
static void copy_others(float *restrict to, const float *restrict from, uint32_t gone) {
    static const uint32_t bits[INKI_DRAW_BLOCK] = {
        1,      1 << 1, 1 << 2,  1 << 3,  1 << 4,  1 << 5,  1 << 6,  1 << 7,
        1 << 8, 1 << 9, 1 << 10, 1 << 11, 1 << 12, 1 << 13, 1 << 14, 1 << 15,
    };
    for (int k = 0; k < INKI_DRAW_BLOCK; k++)
        to[k] = inki_f32_select((gone & bits[k]) == 0, from[k], -INFINITY);
}

static void copy_logits(float *restrict to, const inki_candidate *restrict c, uint32_t n) {
    if (n == INKI_DRAW_BLOCK)
        for (int k = 0; k < INKI_DRAW_BLOCK; k++) to[k] = c[k].logit;
    else
        for (uint32_t k = 0; k < n; k++) to[k] = c[k].logit;
}

bool inki_block_next(const inki_draw_state *d, inki_block *b) {
    const inki_draw *in = d->in;
    const bool raw = d->form == INKI_DRAW_RAW;
    const uint32_t n_all = inki_draw_most(d);
    while (b->next < n_all) {
        const uint32_t at = b->next, left = n_all - at,
                       n = left < INKI_DRAW_BLOCK ? left : INKI_DRAW_BLOCK;
        uint32_t gone = 0;
        b->at = at;
        b->next = at + INKI_DRAW_BLOCK;
        b->n = n;
        b->x = b->own;
        if (raw) {
            if (in->allowed != NULL) gone = (uint32_t)(~in->allowed[at / 64] >> at % 64) & 0xffff;
            if (gone == 0xffff) continue;
            const uint32_t banned = (uint32_t)in->banned - at;
            if (banned < INKI_DRAW_BLOCK) gone |= 1u << banned;
            for (; b->ban < in->n_bans && in->bans[b->ban] < (int32_t)b->next; b->ban++)
                if (in->bans[b->ban] >= (int32_t)at)
                    gone |= 1u << (in->bans[b->ban] & (INKI_DRAW_BLOCK - 1));
            const float *x = (d->own ? inki_draw_own(d) : in->logits) + at;
            if (n == INKI_DRAW_BLOCK && gone == 0 && !d->own) {
                b->x = x;
                return true;
            }
            if (n == INKI_DRAW_BLOCK) {
                copy_others(b->own, x, gone);
                return true;
            }
            memcpy(b->own, x, n * sizeof *x);
        } else {
            copy_logits(b->own, d->c + at, n);
        }
        gone |= ~0u << n;
        for (int k = 0; gone << 16 != 0 && k < INKI_DRAW_BLOCK; k++)
            if (gone >> k & 1) b->own[k] = -INFINITY;
        return true;
    }
    return false;
}

static bool any_above(const float *x, float bound) {
    int any = 0;
    for (int k = 0; k < INKI_DRAW_BLOCK; k++) any |= x[k] > bound;
    return any != 0;
}

// Where hardly a block has one: several at once are passed over, whatever the caller rules out of
// them. Those among which there is one are not looked at together again.
static void pass_over(const inki_draw_state *d, inki_block *b, float bound) {
    enum { AT_ONCE = 4 * INKI_DRAW_BLOCK };
    const uint32_t n = d->in->n_vocab;
    if (b->next < b->mixed) return;
    const float *x = d->own ? inki_draw_own(d) : d->in->logits;
    for (; b->next < n && n - b->next >= AT_ONCE; b->next += AT_ONCE) {
        const float *y = x + b->next;
        int any = 0;
        for (int k = 0; k < AT_ONCE; k++) any |= y[k] > bound;
        b->mixed = b->next + AT_ONCE;
        if (any != 0) return;
    }
}

bool inki_block_next_above(const inki_draw_state *d, inki_block *b, float bound) {
    do {
        if (d->form == INKI_DRAW_RAW && bound > -INFINITY) pass_over(d, b, bound);
        if (!inki_block_next(d, b)) return false;
    } while (!any_above(b->x, bound));
    return true;
}

// What overflows is infinite, as IEEE 754 has it, and far below the best one: it stays as low as a
// logit may be.
void inki_block_scale(const float *restrict x, double base, double factor, float *restrict y) {
    for (int k = 0; k < INKI_DRAW_BLOCK; k++) {
        const float v = (float)(((double)x[k] - base) * factor);
        const float kept = inki_f32_select(v >= -FLT_MAX, v, -FLT_MAX);
        y[k] = inki_f32_select(x[k] > -INFINITY, kept, x[k]);
    }
}

// e^off of what is at most 86 below the best one, 0 of others, whose share no sum would show, and
// off = 0. The relative error is below 1e-7.
double inki_block_weigh(const float *restrict x, float best, float *restrict weights,
                        double *below) {
    float off[INKI_DRAW_BLOCK];
    for (int k = 0; k < INKI_DRAW_BLOCK; k++) {
        const float o = x[k] - best;
        const uint32_t counts = 0u - (uint32_t)(o >= -86.0f);
        const float v = inki_f32_from_bits(inki_f32_bits(o) & counts);
        float shifted;
        const float p = inki_exp_reduce(v, &shifted);
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
