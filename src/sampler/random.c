// SPDX-License-Identifier: MIT
#include "sampler/sampler.h"

#include "base/mix.h"

// Each number steps a SplitMix64 sequence that starts where the one before has led. For a fixed
// seed and stream, positions therefore walk along one such sequence, whose quality is well tested;
// streams and seeds start at unrelated places.
double inki_random_unit(uint64_t seed, uint64_t stream, uint64_t position) {
    uint64_t h = inki_mix64(seed + INKI_GOLDEN64);
    h = inki_mix64(h + (stream + 1) * INKI_GOLDEN64);
    h = inki_mix64(h + (position + 1) * INKI_GOLDEN64);
    return (double)(h >> 11) * 0x1p-53;
}
