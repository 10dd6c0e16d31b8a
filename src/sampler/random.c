// SPDX-License-Identifier: MIT
#include "sampler/sampler.h"

// The finaliser of SplitMix64: every input bit reaches every output bit, and no two inputs meet.
// Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014, with
// the constants of Stafford's variant 13.
static uint64_t random_mix(uint64_t z) {
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

// Each number steps a SplitMix64 sequence that starts where the one before has led. For a fixed
// seed and stream, positions therefore walk along one such sequence, whose quality is well tested;
// streams and seeds start at unrelated places.
double inki_random_unit(uint64_t seed, uint64_t stream, uint64_t position) {
    const uint64_t golden = 0x9e3779b97f4a7c15u;
    uint64_t h = random_mix(seed + golden);
    h = random_mix(h + (stream + 1) * golden);
    h = random_mix(h + (position + 1) * golden);
    return (double)(h >> 11) * 0x1p-53;
}
