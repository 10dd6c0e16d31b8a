// SPDX-License-Identifier: MIT
// Scales are searched in two steps. A grid of scales, each of which clips the largest values or
// leaves room above them, gives integers; with those fixed the best scale (and minimum) is a
// least-squares problem with a closed answer. That answer asks for other integers again, and so on
// until nothing improves. A single start would end in the nearest valley.
#include "convert/quantize_fit.h"

#include "kernels/lanes.h"

#include <math.h>
#include <stdbool.h>

enum { MAX_REFITS = 6 };

// Clipped first, so that the sum with 1.5 * 2^23 rounds to an integer.
static inline float nearest(float v, float low, float high) {
    v = v < low ? low : v;
    v = v > high ? high : v;
    return (v + 12582912.0f) - 12582912.0f;
}

static inline float inverse_of(float scale) { return scale != 0 ? 1.0f / scale : 0.0f; }

// The integers first and the sums over them in a second loop: so the compiler turns both into
// vectors.
static void fill_integers(const inki_fit_job *job, float scale, float min, float *restrict q) {
    const float *restrict x = job->x;
    const float inverse = inverse_of(scale), low = job->low, high = job->high;
    for (size_t k = 0; k < job->n; k += 16)
        for (size_t i = 0; i < 16; i++) q[k + i] = nearest((x[k + i] - min) * inverse, low, high);
}

static inline float total(inki_f4 a, inki_f4 b) {
    float s[4];
    inki_f4_store(s, inki_f4_add(a, b));
    return (s[0] + s[2]) + (s[1] + s[3]);
}

float inki_fit_error(const inki_fit_job *job, inki_fit fit) {
    float q[INKI_FIT_MAX], e[INKI_FIT_MAX];
    const float *restrict x = job->x;
    fill_integers(job, fit.scale, fit.min, q);
    for (size_t k = 0; k < job->n; k += 16)
        for (size_t i = 0; i < 16; i++) e[k + i] = x[k + i] - (fit.scale * q[k + i] + fit.min);
    inki_f4 a = inki_f4_splat(0), b = a;
    for (size_t k = 0; k < job->n; k += 8) {
        const inki_f4 e0 = inki_f4_load(e + k), e1 = inki_f4_load(e + k + 4);
        const inki_f4 w0 = inki_f4_load(job->w + k), w1 = inki_f4_load(job->w + k + 4);
        a = inki_f4_add(a, inki_f4_mul(w0, inki_f4_mul(e0, e0)));
        b = inki_f4_add(b, inki_f4_mul(w1, inki_f4_mul(e1, e1)));
    }
    return total(a, b);
}

void inki_fit_integers(const inki_fit_job *job, inki_fit fit, int16_t *out) {
    float q[INKI_FIT_MAX];
    fill_integers(job, fit.scale, fit.min, q);
    for (size_t i = 0; i < job->n; i++) out[i] = (int16_t)q[i];
}

typedef struct fit_sums {
    float q, qq, xq; // sums of w q, w q^2, w q x
} fit_sums;

static fit_sums sums_of(const inki_fit_job *job, float scale, float min) {
    float q[INKI_FIT_MAX];
    fill_integers(job, scale, min, q);
    inki_f4 s[6];
    for (int i = 0; i < 6; i++) s[i] = inki_f4_splat(0);
    for (size_t k = 0; k < job->n; k += 8) {
        const inki_f4 q0 = inki_f4_load(q + k), q1 = inki_f4_load(q + k + 4);
        const inki_f4 w0 = inki_f4_mul(q0, inki_f4_load(job->w + k));
        const inki_f4 w1 = inki_f4_mul(q1, inki_f4_load(job->w + k + 4));
        s[0] = inki_f4_add(s[0], w0);
        s[1] = inki_f4_add(s[1], w1);
        s[2] = inki_f4_add(s[2], inki_f4_mul(w0, q0));
        s[3] = inki_f4_add(s[3], inki_f4_mul(w1, q1));
        s[4] = inki_f4_add(s[4], inki_f4_mul(w0, inki_f4_load(job->x + k)));
        s[5] = inki_f4_add(s[5], inki_f4_mul(w1, inki_f4_load(job->x + k + 4)));
    }
    return (fit_sums){total(s[0], s[1]), total(s[2], s[3]), total(s[4], s[5])};
}

inki_fit inki_fit_scale(const inki_fit_job *job, float scale, float min) {
    const fit_sums s = sums_of(job, scale, min);
    return (inki_fit){s.qq > 0 ? (s.xq - s.q * min) / s.qq : 0.0f, min};
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
    // Where the range is lopsided the sign of the scale decides which end reaches farther.
    const int signs = job->low + job->high != 0 ? 2 : 1;
    best_fit best = {{0, 0}, 0};
    float gain = 0; // what the integers explain of sum w x^2: xq^2 / qq
    for (int sign = 0; sign < signs && most > 0; sign++)
        for (int i = 0; i <= STEPS; i++) {
            const float reach = from + (to - from) * (float)i / (float)STEPS;
            const fit_sums s = sums_of(job, most / (sign == 0 ? reach : -reach), 0);
            if (!(s.qq > 0 && s.xq * s.xq > gain * s.qq)) continue;
            best.fit.scale = s.xq / s.qq;
            gain = best.fit.scale * s.xq;
        }
    best.error = inki_fit_error(job, best.fit);
    for (int i = 0; i < MAX_REFITS && best.fit.scale != 0; i++)
        if (!improves(job, &best, inki_fit_scale(job, best.fit.scale, 0))) break;
    return best.fit;
}

typedef struct affine_sums {
    float w, x; // sum of w, of w x: the same for all integers
} affine_sums;

// The best scale and minimum for the integers that `fit` gives. *gain: by how much they make the
// error smaller than sum w x^2.
static inki_fit refit_affine(const inki_fit_job *job, const affine_sums *sums, inki_fit fit,
                             int min_is_negative, float *gain) {
    const fit_sums s = sums_of(job, fit.scale, fit.min);
    inki_fit made = {0, 0};
    // Integers that are all alike leave scale and minimum undetermined; rounding may hide that.
    const float det = sums->w * s.qq - s.q * s.q;
    const bool determined = det > 1e-5f * sums->w * s.qq;
    if (determined)
        made =
            (inki_fit){(sums->w * s.xq - s.q * sums->x) / det, (s.qq * sums->x - s.q * s.xq) / det};
    if (!determined || !(made.scale > 0) || (min_is_negative && made.min > 0)) {
        made.min = determined && min_is_negative ? 0 : fit.min;
        made.scale = s.qq > 0 ? (s.xq - s.q * made.min) / s.qq : 0;
    }
    *gain = made.scale * (2 * s.xq - made.scale * s.qq - 2 * made.min * s.q) +
            made.min * (2 * sums->x - made.min * sums->w);
    return made;
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
    float most = best.fit.min * (2 * sums.x - best.fit.min * sums.w), gain;
    for (size_t a = 0; a < N_CUTS; a++)
        for (size_t b = 0; b < N_CUTS; b++) {
            inki_fit from = {whole.scale * (1 - cuts[a] - cuts[b]),
                             whole.min + cuts[a] * whole.scale * job->high};
            if (min_is_negative && from.min > 0) from.min = 0;
            const inki_fit made = refit_affine(job, &sums, from, min_is_negative, &gain);
            if (!(gain > most)) continue;
            best.fit = made;
            most = gain;
        }
    best.error = inki_fit_error(job, best.fit);
    for (int i = 0; i < MAX_REFITS && best.fit.scale > 0; i++)
        if (!improves(job, &best, refit_affine(job, &sums, best.fit, min_is_negative, &gain)))
            break;
    return best.fit;
}
