// SPDX-License-Identifier: MIT
// Blocks of 256 whose parts have small integers as scales. A part's scale is rounded with the
// others', so the parts are fitted alone first, then the rounded scales are moved by steps and the
// factors they share are refitted, as long as the error of the whole block falls.
// Source of the layouts: ggml (ggml-common.h, ggml-quants.c).
#include "convert/quantize_fit.h"
#include "convert/quantize_rows.h"

#include <math.h>
#include <string.h>

enum { K_BLOCK = 256, MAX_PARTS = 16, ROUNDS = 1, STEPS = 2 };

// The block in the making.
typedef struct k_block {
    const inki_scaled_block *b;
    size_t n_parts, part; // part: values of each
    float low, high;
    int low_scale, high_scale;
    bool has_min;
    uint16_t half, half_min; // the shared factors
    float d, dmin;           // what they are worth among the scaled values
    int scale[MAX_PARTS], min[MAX_PARTS];
    float errors[MAX_PARTS], error;
} k_block;

static inki_fit_job job_of(const k_block *k, size_t part) {
    return (inki_fit_job){k->b->x + part * k->part, k->b->w + part * k->part, k->part, k->low,
                          k->high};
}

static void set_factors(k_block *k, float d, float dmin) {
    k->half = inki_scaled_half(k->b, d);
    k->half_min = inki_scaled_half(k->b, dmin);
    k->d = inki_scaled_worth(k->b, k->half);
    k->dmin = inki_scaled_worth(k->b, k->half_min);
}

static inki_fit fit_of(const k_block *k, int scale, int min) {
    return (inki_fit){k->d * (float)scale, -k->dmin * (float)min};
}

static int rounded(float v, int low, int high) {
    if (!(v > (float)low)) return low;
    return v < (float)high ? (int)floorf(v + 0.5f) : high;
}

// Moves a part's integers by steps while that helps.
static void settle_part(k_block *k, size_t part) {
    const inki_fit_job job = job_of(k, part);
    float least = inki_fit_error(&job, fit_of(k, k->scale[part], k->min[part]));
    for (int moved = 1, tries = 0; moved && tries < STEPS; tries++) {
        const int scale = k->scale[part], min = k->min[part];
        moved = 0;
        for (int ds = -1; ds <= 1; ds++)
            for (int dm = -k->has_min; dm <= k->has_min; dm++) {
                const int s = scale + ds, m = min + dm;
                if ((ds == 0 && dm == 0) || s < k->low_scale || s > k->high_scale || m < 0 ||
                    m > k->high_scale)
                    continue;
                const float error = inki_fit_error(&job, fit_of(k, s, m));
                if (!(error < least)) continue;
                least = error;
                k->scale[part] = s;
                k->min[part] = m;
                moved = 1;
            }
    }
    k->errors[part] = least;
}

static void settle(k_block *k) {
    k->error = 0;
    for (size_t i = 0; i < k->n_parts; i++) {
        settle_part(k, i);
        k->error += k->errors[i];
    }
}

// The best shared factors for the integers as they are. False: there is nothing to choose.
static bool refit_shared(const k_block *k, float *d, float *dmin) {
    double aa = 0, ab = 0, bb = 0, ax = 0, bx = 0;
    for (size_t i = 0; i < k->n_parts; i++) {
        const inki_fit_job job = job_of(k, i);
        int16_t q[32];
        inki_fit_integers(&job, fit_of(k, k->scale[i], k->min[i]), q);
        const double m = -(double)k->min[i];
        for (size_t j = 0; j < k->part; j++) {
            const double w = (double)job.w[j], x = (double)job.x[j], a = k->scale[i] * (double)q[j];
            aa += w * a * a;
            ab += w * a * m;
            bb += w * m * m;
            ax += w * a * x;
            bx += w * m * x;
        }
    }
    const double det = aa * bb - ab * ab;
    if (bb > 0 && det > 1e-9 * aa * bb) {
        *d = (float)((ax * bb - bx * ab) / det);
        *dmin = (float)((bx * aa - ax * ab) / det);
        if (*dmin >= 0) return *d > 0;
    }
    *dmin = 0;
    *d = aa > 0 ? (float)(ax / aa) : 0;
    return aa > 0 && bb == 0;
}

static void improve(k_block *k) {
    settle(k);
    for (int i = 0; i < ROUNDS; i++) {
        float d, dmin;
        k_block next = *k;
        if (!refit_shared(k, &d, &dmin)) return;
        set_factors(&next, d, dmin);
        if (next.half == k->half && next.half_min == k->half_min) return;
        settle(&next);
        if (!(next.error < k->error)) return;
        *k = next;
    }
}

// Starts from the parts' own fits. `reach`: the integer that the largest scale becomes.
static void start(k_block *k, const inki_fit *fits, float reach) {
    float most = 0, least = 0;
    for (size_t i = 0; i < k->n_parts; i++) {
        if (fabsf(fits[i].scale) > fabsf(most)) most = fits[i].scale;
        least = fits[i].min < least ? fits[i].min : least;
    }
    set_factors(k, most / reach, -least / (float)k->high_scale);
    for (size_t i = 0; i < k->n_parts; i++) {
        k->scale[i] = k->d != 0 ? rounded(fits[i].scale / k->d, k->low_scale, k->high_scale) : 0;
        k->min[i] = k->dmin > 0 ? rounded(-fits[i].min / k->dmin, 0, k->high_scale) : 0;
    }
}

// From another start: kept if it ends better.
static void try_start(k_block *best, const k_block *fresh, const inki_fit *fits, float reach) {
    k_block k = *fresh;
    start(&k, fits, reach);
    improve(&k);
    if (k.error < best->error) *best = k;
}

// --- Q4_K, Q5_K: eight parts of 32, x = d scale q - dmin min, scales and minima of six bits ------

// Of the parts alone, and from their ranges: fits that are perfect alone may be far apart, and then
// the factors they share suit none of them.
static void fit_six_bits(k_block *k) {
    inki_fit fits[MAX_PARTS], ranges[MAX_PARTS];
    const k_block fresh = *k;
    for (size_t i = 0; i < k->n_parts; i++) {
        const inki_fit_job job = job_of(k, i);
        fits[i] = inki_fit_affine(&job, 1);
        ranges[i] = inki_fit_range(&job, 1);
    }
    start(k, fits, (float)k->high_scale);
    improve(k);
    try_start(k, &fresh, ranges, (float)k->high_scale);
}

// Twelve bytes: the low six bits of parts 0-3 lie whole in bytes 0-3 (scales) and 4-7 (minima),
// whose upper two bits are the upper ones of parts 4-7; their lower nibbles are in bytes 8-11.
static void put_six_bits(uint8_t *out, const k_block *k) {
    for (int i = 0; i < 4; i++) {
        const int s = k->scale[4 + i], m = k->min[4 + i];
        out[i] = (uint8_t)(k->scale[i] | s >> 4 << 6);
        out[4 + i] = (uint8_t)(k->min[i] | m >> 4 << 6);
        out[8 + i] = (uint8_t)((s & 15) | (m & 15) << 4);
    }
}

static void all_integers(const k_block *k, int16_t q[K_BLOCK]) {
    for (size_t i = 0; i < k->n_parts; i++) {
        const inki_fit_job job = job_of(k, i);
        inki_fit_integers(&job, fit_of(k, k->scale[i], k->min[i]), q + i * k->part);
    }
}

// d, dmin, twelve bytes of scales; then `fifths` (or NULL) and the nibbles are the caller's.
static void fit_affine_block(uint8_t *out, const inki_scaled_block *b, float high,
                             int16_t q[K_BLOCK]) {
    k_block k = {.b = b,
                 .n_parts = 8,
                 .part = 32,
                 .low = 0,
                 .high = high,
                 .low_scale = 0,
                 .high_scale = 63,
                 .has_min = true};
    fit_six_bits(&k);
    memcpy(out, &k.half, sizeof k.half);
    memcpy(out + 2, &k.half_min, sizeof k.half_min);
    put_six_bits(out + 4, &k);
    all_integers(&k, q);
}

// 64 values share 32 bytes: the first half of them has the low nibbles.
static void put_nibbles(uint8_t *out, const int16_t q[K_BLOCK]) {
    for (size_t i = 0; i < K_BLOCK / 2; i++) {
        const int16_t *from = q + i / 32 * 64 + i % 32;
        out[i] = (uint8_t)((from[0] & 15) | (from[32] & 15) << 4);
    }
}

void inki_quantize_block_q4_k(uint8_t *out, const inki_scaled_block *b) {
    int16_t q[K_BLOCK];
    fit_affine_block(out, b, 15, q);
    put_nibbles(out + 16, q);
}

// Byte i of the fifth bits belongs to values i, 32 + i, ...: bit k to part k.
void inki_quantize_block_q5_k(uint8_t *out, const inki_scaled_block *b) {
    int16_t q[K_BLOCK] = {0};
    fit_affine_block(out, b, 31, q);
    for (size_t i = 0; i < 32; i++) {
        int fifths = 0;
        for (size_t part = 0; part < 8; part++) fifths |= (q[part * 32 + i] >> 4) << part;
        out[16 + i] = (uint8_t)fifths;
    }
    put_nibbles(out + 48, q);
}

// --- Q6_K: sixteen parts of 16, x = d scale q, scales of eight bits with sign --------------------

// Low nibbles of 128 values in 64 bytes (values i and 64 + i share one), their upper two bits
// in 32.
static void put_six_bit_values(uint8_t *low, uint8_t *high, const int16_t q[128]) {
    for (size_t i = 0; i < 64; i++)
        low[i] = (uint8_t)(((q[i] + 32) & 15) | ((q[64 + i] + 32) & 15) << 4);
    for (size_t i = 0; i < 32; i++) {
        int bits = 0;
        for (size_t k = 0; k < 4; k++) bits |= (q[32 * k + i] + 32) >> 4 << (2 * k);
        high[i] = (uint8_t)bits;
    }
}

void inki_quantize_block_q6_k(uint8_t *out, const inki_scaled_block *b) {
    k_block k = {.b = b,
                 .n_parts = 16,
                 .part = 16,
                 .low = -32,
                 .high = 31,
                 .low_scale = -128,
                 .high_scale = 127};
    inki_fit fits[MAX_PARTS], ranges[MAX_PARTS];
    int16_t q[K_BLOCK];
    for (size_t i = 0; i < k.n_parts; i++) {
        const inki_fit_job job = job_of(&k, i);
        fits[i] = inki_fit_symmetric(&job);
        ranges[i] = inki_fit_largest(&job);
    }
    // Either end of the scales' own range may take the largest.
    const k_block fresh = k;
    start(&k, fits, -128);
    improve(&k);
    try_start(&k, &fresh, fits, 127);
    try_start(&k, &fresh, ranges, -128);
    all_integers(&k, q);
    put_six_bit_values(out, out + 128, q);
    put_six_bit_values(out + 64, out + 160, q + 128);
    for (size_t i = 0; i < MAX_PARTS; i++) out[192 + i] = (uint8_t)(k.scale[i] & 0xff);
    memcpy(out + 208, &k.half, sizeof k.half);
}
