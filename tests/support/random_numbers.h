// SPDX-License-Identifier: MIT
// Fixed sequences of random numbers: a test has the same ones each time.
#ifndef TESTS_RANDOM_NUMBERS_H
#define TESTS_RANDOM_NUMBERS_H

#include <math.h>
#include <stdint.h>

// Source: Vigna, "An experimental exploration of Marsaglia's xorshift generators, scrambled", 2016
// (xorshift64*).
static inline uint64_t next_random(uint64_t *state) {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545f4914f6cdd1du;
}
static inline uint32_t below(uint64_t *state, uint32_t n) {
    return (uint32_t)((next_random(state) >> 32) % n);
}
static inline double unit(uint64_t *state) { return (double)(next_random(state) >> 11) * 0x1p-53; }
// Mean 0, deviation 1; by Box and Muller.
static inline double normal(uint64_t *state) {
    const double a = 1.0 - unit(state), b = unit(state);
    return sqrt(-2.0 * log(a)) * cos(6.283185307179586 * b);
}

#endif
