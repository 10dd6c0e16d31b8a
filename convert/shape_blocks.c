// SPDX-License-Identifier: MIT
#include "convert/shape_blocks.h"

#include <string.h>

// xorshift64*: quick, and random enough to be without pattern.
static uint64_t next(inki_shape_random *r) {
    r->state ^= r->state >> 12;
    r->state ^= r->state << 25;
    r->state ^= r->state >> 27;
    return r->state * 0x2545f4914f6cdd1du;
}

// Each word: random where `keep` has ones, and `set` elsewhere.
static void fill_words(inki_shape_random *r, void *out, size_t bytes, uint64_t keep, uint64_t set) {
    uint8_t *to = out;
    for (; bytes >= 8; bytes -= 8, to += 8) {
        const uint64_t word = (next(r) & keep) | set;
        memcpy(to, &word, 8);
    }
    const uint64_t word = (next(r) & keep) | set;
    memcpy(to, &word, bytes);
}

// A half float in a block of random bytes: of this exponent, its mantissa's low byte as it fell.
typedef struct scale_place {
    uint32_t at;
    uint8_t high; // byte: sign, exponent, two bits of mantissa
} scale_place;

// The scales that give weights of about 0.02 where the quants are evenly spread.
typedef struct block_rule {
    uint32_t type;
    scale_place scales[2]; // of the second, high 0: there is none
} block_rule;
static const block_rule block_rules[] = {
    {INKI_Q8_0, {{0, 0x0c}, {0, 0}}},    // quants spread by 73, scale 2^-12
    {INKI_Q4_0, {{0, 0x1c}, {0, 0}}},    // 4.6, 2^-8
    {INKI_Q5_0, {{0, 0x18}, {0, 0}}},    // 9.2, 2^-9
    {INKI_Q5_1, {{0, 0x18}, {2, 0xa7}}}, // 9.2; a minimum of -2^-5
    {INKI_Q4_K, {{0, 0x08}, {2, 0x14}}}, // 4.6 times scales of 32; their minimum in balance
    {INKI_Q5_K, {{0, 0x04}, {2, 0x14}}}, // 9.2 times scales of 32
    {INKI_Q6_K, {{208, 0x00}, {0, 0}}},  // 18.5 times scales of 74: a subnormal half
};

static void fill_blocks(inki_shape_random *r, const block_rule *rule, uint8_t *out,
                        size_t n_blocks) {
    const size_t bytes = inki_type_of(rule->type).block_bytes;
    fill_words(r, out, n_blocks * bytes, ~(uint64_t)0, 0);
    for (size_t i = 0; i < n_blocks; i++) {
        uint8_t *block = out + i * bytes;
        for (int s = 0; s < 2; s++)
            if (s == 0 || rule->scales[s].high != 0)
                block[rule->scales[s].at + 1] = rule->scales[s].high;
    }
}

// Floats get the exponents of 2^-6 and a random sign.
bool inki_shape_fill(inki_shape_random *random, uint32_t type, void *out, size_t n_blocks) {
    switch (type) {
    case INKI_F32:
        fill_words(random, out, 4 * n_blocks, 0x807fffff807fffffu, 0x3c8000003c800000u);
        return true;
    case INKI_F16:
        fill_words(random, out, 2 * n_blocks, 0x83ff83ff83ff83ffu, 0x2400240024002400u);
        return true;
    case INKI_BF16:
        fill_words(random, out, 2 * n_blocks, 0x807f807f807f807fu, 0x3c803c803c803c80u);
        return true;
    default: break;
    }
    for (size_t i = 0; i < sizeof block_rules / sizeof *block_rules; i++)
        if (block_rules[i].type == type) {
            fill_blocks(random, &block_rules[i], out, n_blocks);
            return true;
        }
    return false;
}
