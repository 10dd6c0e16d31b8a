// SPDX-License-Identifier: MIT
//
// Four lanes, since a multiplication's result is not there before the next three could begin. Each
// step is one to one in the lane for a given word and in the word for a given lane, and so is the
// joining of lanes: that is why a difference within one word cannot get lost.
#include "base/checksum.h"

#include "base/mix.h"

#include <string.h>

static const uint64_t start[INKI_CHECKSUM_LANES] = {0x243f6a8885a308d3u, 0x13198a2e03707344u,
                                                    0xa4093822299f31d0u, 0x082efa98ec4e6c89u};
static const uint64_t odd = 0x9e3779b97f4a7c15u;

void inki_checksum_init(inki_checksum *sum) {
    *sum = (inki_checksum){0};
    memcpy(sum->lanes, start, sizeof start);
}

static inline uint64_t take_word(uint64_t lane, uint64_t word) {
    lane = (lane ^ word) * odd;
    return lane << 29 | lane >> 35;
}

static void take_blocks(uint64_t *lanes, const uint8_t *data, size_t n_blocks) {
    uint64_t a = lanes[0], b = lanes[1], c = lanes[2], d = lanes[3];
    for (; n_blocks > 0; n_blocks--, data += INKI_CHECKSUM_BLOCK) {
        // Not by inki_load_u64: where size counts compilers call it, which halves the speed.
        uint64_t words[INKI_CHECKSUM_LANES]; // little-endian, as all that we run on
        memcpy(words, data, sizeof words);
        a = take_word(a, words[0]);
        b = take_word(b, words[1]);
        c = take_word(c, words[2]);
        d = take_word(d, words[3]);
    }
    lanes[0] = a;
    lanes[1] = b;
    lanes[2] = c;
    lanes[3] = d;
}

void inki_checksum_add(inki_checksum *sum, const void *data, size_t bytes) {
    const uint8_t *from = data;
    const size_t used = sum->n % INKI_CHECKSUM_BLOCK;
    if (bytes == 0) return;
    sum->n += bytes;
    if (used > 0) {
        const size_t free = INKI_CHECKSUM_BLOCK - used, part = bytes < free ? bytes : free;
        memcpy(sum->rest + used, from, part);
        if (part < free) return;
        take_blocks(sum->lanes, sum->rest, 1);
        from += part;
        bytes -= part;
    }
    take_blocks(sum->lanes, from, bytes / INKI_CHECKSUM_BLOCK);
    from += bytes / INKI_CHECKSUM_BLOCK * INKI_CHECKSUM_BLOCK;
    if (bytes % INKI_CHECKSUM_BLOCK > 0) memcpy(sum->rest, from, bytes % INKI_CHECKSUM_BLOCK);
}

// The last block is filled up with zeros; the count tells them from zeros of the text.
uint64_t inki_checksum_end(const inki_checksum *sum) {
    uint64_t lanes[INKI_CHECKSUM_LANES], result = inki_mix64(sum->n + odd);
    memcpy(lanes, sum->lanes, sizeof lanes);
    if (sum->n % INKI_CHECKSUM_BLOCK > 0) {
        uint8_t block[INKI_CHECKSUM_BLOCK] = {0};
        memcpy(block, sum->rest, sum->n % INKI_CHECKSUM_BLOCK);
        take_blocks(lanes, block, 1);
    }
    for (int i = 0; i < INKI_CHECKSUM_LANES; i++) result = inki_mix64(result ^ lanes[i]) * odd;
    return inki_mix64(result);
}

uint64_t inki_checksum_of(const void *data, size_t bytes) {
    inki_checksum sum;
    inki_checksum_init(&sum);
    inki_checksum_add(&sum, data, bytes);
    return inki_checksum_end(&sum);
}
