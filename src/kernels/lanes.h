// SPDX-License-Identifier: MIT
// Sixteen independent float sums, the unit of every float reduction of the portable level: element
// k of a row is added to sum k % 16, and at the end the sums are folded in halves (16 → 8 → 4 → 2 →
// 1). For the portable kernels, and for convert.
#ifndef INKI_KERNELS_LANES_H
#define INKI_KERNELS_LANES_H

#include "kernels/target.h"

#include <stddef.h>
#include <string.h>

enum { INKI_LANES = 16 };

// Compilers keep a local array of sums in memory across the loop, which costs more than the
// arithmetic; four values of a vector type stay in registers. Where there is none, the same steps
// in the same order give the same bytes.
#if defined(__GNUC__)
typedef float inki_f4 __attribute__((vector_size(16)));
static inline inki_f4 inki_f4_add(inki_f4 a, inki_f4 b) { return a + b; }
static inline inki_f4 inki_f4_mul(inki_f4 a, inki_f4 b) { return a * b; }
static inline inki_f4 inki_f4_splat(float f) { return (inki_f4){f, f, f, f}; }
#else
typedef struct inki_f4 {
    float f[4];
} inki_f4;
static inline inki_f4 inki_f4_add(inki_f4 a, inki_f4 b) {
    for (int i = 0; i < 4; i++) a.f[i] += b.f[i];
    return a;
}
static inline inki_f4 inki_f4_mul(inki_f4 a, inki_f4 b) {
    for (int i = 0; i < 4; i++) a.f[i] *= b.f[i];
    return a;
}
static inline inki_f4 inki_f4_splat(float f) { return (inki_f4){{f, f, f, f}}; }
#endif
static inline inki_f4 inki_f4_load(const float *p) {
    inki_f4 v;
    memcpy(&v, p, sizeof v); // rows need not be aligned to more than a float
    return v;
}
static inline void inki_f4_store(float *p, inki_f4 v) { memcpy(p, &v, sizeof v); }

typedef struct inki_lanes {
    inki_f4 a, b, c, d;
} inki_lanes;

static inline inki_lanes inki_lanes_splat(float f) {
    const inki_f4 v = inki_f4_splat(f);
    return (inki_lanes){v, v, v, v};
}
static inline inki_lanes inki_lanes_load(const float *p) {
    return (inki_lanes){inki_f4_load(p), inki_f4_load(p + 4), inki_f4_load(p + 8),
                        inki_f4_load(p + 12)};
}
static inline void inki_lanes_store(float *p, inki_lanes v) {
    inki_f4_store(p, v.a);
    inki_f4_store(p + 4, v.b);
    inki_f4_store(p + 8, v.c);
    inki_f4_store(p + 12, v.d);
}
static inline inki_lanes inki_lanes_add(inki_lanes s, inki_lanes t) {
    return (inki_lanes){inki_f4_add(s.a, t.a), inki_f4_add(s.b, t.b), inki_f4_add(s.c, t.c),
                        inki_f4_add(s.d, t.d)};
}
static inline inki_lanes inki_lanes_mul(inki_lanes s, inki_lanes t) {
    return (inki_lanes){inki_f4_mul(s.a, t.a), inki_f4_mul(s.b, t.b), inki_f4_mul(s.c, t.c),
                        inki_f4_mul(s.d, t.d)};
}
// sum += w * x, the product rounded before it is added.
static inline inki_lanes inki_lanes_madd(inki_lanes sum, inki_lanes w, inki_lanes x) {
    return inki_lanes_add(sum, inki_lanes_mul(w, x));
}
// The first n < 16 elements of p, the others zero: the end of a row. Adding +0 or the product 0 * 0
// to a sum that started at +0 changes no bit of it.
static inline inki_lanes inki_lanes_load_n(const float *p, size_t n) {
    float end[INKI_LANES] = {0};
    for (size_t i = 0; i < n; i++) end[i] = p[i];
    return inki_lanes_load(end);
}
static inline float inki_lanes_fold(inki_lanes s) {
    float f[4];
    inki_f4_store(f, inki_f4_add(inki_f4_add(s.a, s.c), inki_f4_add(s.b, s.d)));
    return (f[0] + f[2]) + (f[1] + f[3]);
}

#endif
