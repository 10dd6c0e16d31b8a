// SPDX-License-Identifier: MIT
#ifndef BENCH_MEDIAN_H
#define BENCH_MEDIAN_H

#include <stdlib.h>

static inline int median_order(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

// values [n], n > 0; they are sorted after it.
static inline double median(double *values, size_t n) {
    qsort(values, n, sizeof *values, median_order);
    return values[n / 2];
}

#endif
