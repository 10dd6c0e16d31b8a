// SPDX-License-Identifier: MIT
// The search behind the quantisers: x [n] is to become scale * q + min with integers q from low to
// high so that sum w (x - scale q - min)^2 is small.
#ifndef INKI_CONVERT_QUANTIZE_FIT_H
#define INKI_CONVERT_QUANTIZE_FIT_H

#include <stddef.h>
#include <stdint.h>

enum { INKI_FIT_MAX = 32 };

typedef struct inki_fit_job {
    const float *x, *w; // [n], n 16 or 32; |x| <= 1, w >= 0, not all 0
    size_t n;
    float low, high; // integers, at most 2^20 in magnitude
} inki_fit_job;

// What is kept of a block: two numbers; min stays 0 where a type has none.
typedef struct inki_fit {
    float scale, min;
} inki_fit;

// The weighted squared error with the best integers for this scale and minimum.
float inki_fit_error(const inki_fit_job *job, inki_fit fit);
// Those integers; with scale 0 all are the nearest to 0.
void inki_fit_integers(const inki_fit_job *job, inki_fit fit, int16_t *q);

// min is 0, the scale has either sign.
inki_fit inki_fit_symmetric(const inki_fit_job *job);
// The best scale beside this minimum for the integers that they give; 0 when those are all 0.
inki_fit inki_fit_scale(const inki_fit_job *job, float scale, float min);
// low is 0, scale >= 0. min_is_negative: min <= 0 then.
inki_fit inki_fit_affine(const inki_fit_job *job, int min_is_negative);
// Plain rounding: the largest magnitude becomes `low`; from the least value to the largest.
inki_fit inki_fit_largest(const inki_fit_job *job);
inki_fit inki_fit_range(const inki_fit_job *job, int min_is_negative);

#endif
