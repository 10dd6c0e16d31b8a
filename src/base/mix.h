// SPDX-License-Identifier: MIT
// The finaliser of SplitMix64: every input bit reaches every output bit, and no two inputs meet.
// Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014, with
// the constants of Stafford's variant 13.
#ifndef INKI_BASE_MIX_H
#define INKI_BASE_MIX_H

#include <stdint.h>

static inline uint64_t inki_mix64(uint64_t x) {
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}
// What steps from one number of a SplitMix64 sequence to the next before it is mixed.
#define INKI_GOLDEN64 0x9e3779b97f4a7c15u

#endif
