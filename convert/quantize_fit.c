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

inki_fit inki_fit_scale(const inki_fit_job *job, float scale, float min) {
    const float *restrict x = job->x, *restrict w = job->w;
    const float inverse = inverse_of(scale), low = job->low, high = job->high;
    float xq[LANES] = {0}, qq[LANES] = {0};
    for (size_t k = 0; k < job->n; k += LANES)
        for (size_t i = 0; i < LANES; i++) {
            const float v = x[k + i] - min;
            const float q = nearest(v * inverse, low, high), wq = w[k + i] * q;
            xq[i] += wq * v;
            qq[i] += wq * q;
        }
    const float sum = total(qq);
    return (inki_fit){sum > 0 ? total(xq) / sum : 0.0f, min};
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

inki_fit inki_fit_largest(const inki_fit_job *job) {
    float most = 0; // with its sign
    for (size_t i = 0; i < job->n; i++)
        if (fabsf(job->x[i]) > fabsf(most)) most = job->x[i];
    return (inki_fit){most / job->low, 0};
}

inki_fit inki_fit_symmetric(const inki_fit_job *job) {
    enum { STEPS = 16 };
    // The integer that the largest value becomes, before clipping.
    const float from = 0.96f * job->high - 2.0f, to = 1.5f - job->low;
    const float most = fabsf(inki_fit_largest(job).scale * job->low);
    best_fit best = {{0, 0}, 0};
    best.error = inki_fit_error(job, best.fit);
    if (most == 0) return best.fit;
    // Where the range is lopsided the sign of the scale decides which end reaches farther.
    const int signs = job->low + job->high != 0 ? 2 : 1;
    for (int sign = 0; sign < signs; sign++)
        for (int i = 0; i <= STEPS; i++) {
            const float reach = from + (to - from) * (float)i / (float)STEPS;
            const float scale = most / (sign == 0 ? reach : -reach);
            improves(job, &best, inki_fit_scale(job, scale, 0));
        }
    for (int i = 0; i < MAX_REFITS && best.fit.scale != 0; i++)
        if (!improves(job, &best, inki_fit_scale(job, best.fit.scale, 0))) break;
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
    // Integers that are all alike leave scale and minimum undetermined; rounding may hide that.
    const float det = sums->w * q2 - q * q;
    float min = fit.min;
    if (det > 1e-5f * sums->w * q2) {
        const inki_fit made = {(sums->w * qx - q * sums->x) / det, (q2 * sums->x - q * qx) / det};
        if (made.scale > 0 && !(min_is_negative && made.min > 0)) return made;
        if (min_is_negative) min = 0;
    }
    return q2 > 0 ? (inki_fit){(qx - q * min) / q2, min} : (inki_fit){0, 0};
}

inki_fit inki_fit_range(const inki_fit_job *job, int min_is_negative) {
    float least = job->x[0], most = job->x[0];
    for (size_t i = 0; i < job->n; i++) {
        least = job->x[i] < least ? job->x[i] : least;
        most = job->x[i] > most ? job->x[i] : most;
    }
    if (min_is_negative && least > 0) least = 0;
    return (inki_fit){(most - least) / job->high, least};
}

inki_fit inki_fit_affine(const inki_fit_job *job, int min_is_negative) {
    // Parts of the range that are cut off at either end, or added to it.
    static const float cuts[] = {-0.04f, 0.0f, 0.04f, 0.08f, 0.13f};
    enum { N_CUTS = sizeof cuts / sizeof *cuts };
    const inki_fit whole = inki_fit_range(job, min_is_negative);
    if (!(whole.scale > 0)) return whole;
    affine_sums sums = {0, 0};
    for (size_t i = 0; i < job->n; i++) {
        sums.w += job->w[i];
        sums.x += job->w[i] * job->x[i];
    }
    const float level = sums.x / sums.w; // without integers this is the best that can be had
    best_fit best = {{0, min_is_negative && level > 0 ? 0 : level}, 0};
    best.error = inki_fit_error(job, best.fit);
    for (size_t a = 0; a < N_CUTS; a++)
        for (size_t b = 0; b < N_CUTS; b++) {
            inki_fit from = {whole.scale * (1 - cuts[a] - cuts[b]),
                             whole.min + cuts[a] * whole.scale * job->high};
            if (min_is_negative && from.min > 0) from.min = 0;
            improves(job, &best, refit_affine(job, &sums, from, min_is_negative));
        }
    for (int i = 0; i < MAX_REFITS && best.fit.scale > 0; i++)
        if (!improves(job, &best, refit_affine(job, &sums, best.fit, min_is_negative))) break;
    return best.fit;
}
