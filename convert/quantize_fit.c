// SPDX-License-Identifier: MIT
// Scales are searched in two steps. A grid of scales, each of which clips the largest values or
// leaves room above them, gives integers; with those fixed the best scale (and minimum) is a
// least-squares problem with a closed answer. That answer asks for other integers again, and so on
// until nothing improves. A single start would end in the nearest valley.
#include "convert/quantize_fit.h"

#include <math.h>

// Sums go over LANES sums side by side: the compiler may not reorder additions, but these it puts
// into vectors.
enum { LANES = 8, MAX_REFITS = 6 };

// Clipped first, so that the sum with 1.5 * 2^23 rounds to an integer.
static inline float nearest(float v, float low, float high) {
    v = v < low ? low : v;
    v = v > high ? high : v;
    return (v + 12582912.0f) - 12582912.0f;
}

static inline float inverse_of(float scale) { return scale != 0 ? 1.0f / scale : 0.0f; }

static inline float total(const float s[LANES]) {
    return ((s[0] + s[4]) + (s[1] + s[5])) + ((s[2] + s[6]) + (s[3] + s[7]));
}

float inki_fit_error(const inki_fit_job *job, inki_fit fit) {
    const float *restrict x = job->x, *restrict w = job->w;
    const float inverse = inverse_of(fit.scale), low = job->low, high = job->high;
    float s[LANES] = {0};
    for (size_t k = 0; k < job->n; k += LANES)
        for (size_t i = 0; i < LANES; i++) {
            const float q = nearest((x[k + i] - fit.min) * inverse, low, high);
            const float e = x[k + i] - (fit.scale * q + fit.min);
            s[i] += w[k + i] * (e * e);
        }
    return total(s);
}

void inki_fit_integers(const inki_fit_job *job, inki_fit fit, int16_t *q) {
    const float inverse = inverse_of(fit.scale);
    for (size_t i = 0; i < job->n; i++)
        q[i] = (int16_t)nearest((job->x[i] - fit.min) * inverse, job->low, job->high);
}

// The best scale for the integers that `scale` gives; 0 when they are all 0.
static float refit_symmetric(const inki_fit_job *job, float inverse) {
    const float *restrict x = job->x, *restrict w = job->w;
    const float low = job->low, high = job->high;
    float xq[LANES] = {0}, qq[LANES] = {0};
    for (size_t k = 0; k < job->n; k += LANES)
        for (size_t i = 0; i < LANES; i++) {
            const float q = nearest(x[k + i] * inverse, low, high), wq = w[k + i] * q;
            xq[i] += wq * x[k + i];
            qq[i] += wq * q;
        }
    const float sum = total(qq);
    return sum > 0 ? total(xq) / sum : 0.0f;
}

typedef struct best_fit {
    inki_fit fit;
    float error;
} best_fit;

static int improves(const inki_fit_job *job, best_fit *best, inki_fit fit) {
    const float error = inki_fit_error(job, fit);
    if (!(error < best->error)) return 0;
    *best = (best_fit){fit, error};
    return 1;
}

inki_fit inki_fit_symmetric(const inki_fit_job *job) {
    float most = 0;
    for (size_t i = 0; i < job->n; i++) most = fabsf(job->x[i]) > most ? fabsf(job->x[i]) : most;
    best_fit best = {{0, 0}, 0};
    best.error = inki_fit_error(job, best.fit);
    if (most == 0) return best.fit;
    // Where the range is lopsided the sign of the scale decides which end reaches farther.
    const int signs = job->low + job->high != 0 ? 2 : 1, steps = 16;
    // The integer that the largest value becomes, before clipping.
    const float from = 0.96f * job->high - 2.0f, to = 1.5f - job->low;
    for (int sign = 0; sign < signs; sign++)
        for (int i = 0; i <= steps; i++) {
            const float reach = from + (to - from) * (float)i / (float)steps;
            const float inverse = (sign == 0 ? reach : -reach) / most;
            improves(job, &best, (inki_fit){refit_symmetric(job, inverse), 0});
        }
    for (int i = 0; i < MAX_REFITS && best.fit.scale != 0; i++)
        if (!improves(job, &best, (inki_fit){refit_symmetric(job, 1.0f / best.fit.scale), 0}))
            break;
    return best.fit;
}

typedef struct affine_sums {
    float w, x; // sum of w, of w x: the same for all integers
} affine_sums;

// The best scale and minimum for the integers that `fit` gives.
static inki_fit refit_affine(const inki_fit_job *job, const affine_sums *sums, inki_fit fit,
                             int min_is_negative) {
    const float *restrict x = job->x, *restrict w = job->w;
    const float inverse = inverse_of(fit.scale), low = job->low, high = job->high;
    float sq[LANES] = {0}, qq[LANES] = {0}, xq[LANES] = {0};
    for (size_t k = 0; k < job->n; k += LANES)
        for (size_t i = 0; i < LANES; i++) {
            const float q = nearest((x[k + i] - fit.min) * inverse, low, high), wq = w[k + i] * q;
            sq[i] += wq;
            qq[i] += wq * q;
            xq[i] += wq * x[k + i];
        }
    const float q = total(sq), q2 = total(qq), qx = total(xq);
    const float det = sums->w * q2 - q * q;
    if (!(det > 0)) return (inki_fit){0, 0};
    inki_fit made = {(sums->w * qx - q * sums->x) / det, (q2 * sums->x - q * qx) / det};
    if (min_is_negative && made.min > 0) made = (inki_fit){qx / q2, 0};
    return made.scale > 0 ? made : (inki_fit){0, 0};
}

inki_fit inki_fit_affine(const inki_fit_job *job, int min_is_negative) {
    // Parts of the range that are cut off at either end, or added to it.
    static const float cuts[] = {-0.04f, 0.0f, 0.04f, 0.08f, 0.13f};
    enum { N_CUTS = sizeof cuts / sizeof *cuts };
    affine_sums sums = {0, 0};
    float least = job->x[0], most = job->x[0];
    for (size_t i = 0; i < job->n; i++) {
        least = job->x[i] < least ? job->x[i] : least;
        most = job->x[i] > most ? job->x[i] : most;
        sums.w += job->w[i];
        sums.x += job->w[i] * job->x[i];
    }
    if (min_is_negative && least > 0) least = 0;
    const float level = sums.x / sums.w; // without integers this is the best that can be had
    best_fit best = {{0, min_is_negative && level > 0 ? 0 : level}, 0};
    best.error = inki_fit_error(job, best.fit);
    if (!(most > least)) return best.fit;
    const float range = most - least;
    for (size_t a = 0; a < N_CUTS; a++)
        for (size_t b = 0; b < N_CUTS; b++) {
            float low = least + cuts[a] * range;
            if (min_is_negative && low > 0) low = 0;
            const inki_fit start = {(most - cuts[b] * range - low) / job->high, low};
            if (start.scale > 0)
                improves(job, &best, refit_affine(job, &sums, start, min_is_negative));
        }
    for (int i = 0; i < MAX_REFITS && best.fit.scale > 0; i++)
        if (!improves(job, &best, refit_affine(job, &sums, best.fit, min_is_negative))) break;
    return best.fit;
}
