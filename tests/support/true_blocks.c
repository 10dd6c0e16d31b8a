// SPDX-License-Identifier: MIT
#include "true_blocks.h"

#include "base/tensor_type.h"
#include "guarded.h"

#include <math.h>

const uint32_t true_block_types[] = {INKI_Q8_0, INKI_Q4_0, INKI_Q4_1, INKI_Q5_0,
                                     INKI_Q5_1, INKI_Q2_K, INKI_Q3_K, INKI_Q4_K,
                                     INKI_Q5_K, INKI_Q6_K, 0};

static double half_at(const uint8_t *p) { return true_half((uint16_t)(p[0] + 256 * p[1])); }

// Bit number i of a string of bytes, lowest bit first.
static int bit(const uint8_t *p, size_t i) { return p[i / 8] / (1 << i % 8) % 2; }
// n bits from bit i on.
static int bits(const uint8_t *p, size_t i, size_t n) {
    int v = 0;
    for (size_t k = n; k-- > 0;) v = 2 * v + bit(p, i + k);
    return v;
}

// Weights of 32: element i in the low half of byte i or in the high half of byte i - 16.
static int nibble_of_32(const uint8_t *p, size_t i) { return bits(p, i % 16 * 8 + i / 16 * 4, 4); }

// Two bits of 256: each 128 in 32 bytes, each 32 of those in the same bit positions.
static int two_bits_of_256(const uint8_t *p, size_t i) {
    const size_t byte = i / 128 * 32 + i % 32, position = i % 128 / 32 * 2;
    return bits(p, byte * 8 + position, 2);
}
// One bit of 256: eight times 32, each in the same bit position of 32 bytes.
static int bit_of_256(const uint8_t *p, size_t i) { return bit(p, i % 32 * 8 + i / 32); }
// Four bits of 256 (Q4_K, Q5_K): each 64 in 32 bytes, 32 low halves and 32 high ones.
static int nibble_of_256(const uint8_t *p, size_t i) {
    return bits(p, (i / 64 * 32 + i % 32) * 8 + i % 64 / 32 * 4, 4);
}

// Scale and minimum number g of Q4_K and Q5_K.
static void six_bits(const uint8_t *s, size_t g, int *scale, int *min) {
    if (g < 4) {
        *scale = s[g] % 64;
        *min = s[g + 4] % 64;
    } else {
        *scale = s[g + 4] % 16 + 16 * (s[g - 4] / 64);
        *min = s[g + 4] / 16 + 16 * (s[g] / 64);
    }
}

typedef struct term {
    double scale, min; // already times the block's halves
    int q;
} term;

static term term_of_32(uint32_t type, const uint8_t *p, size_t i) {
    const double d = half_at(p);
    switch (type) {
    case INKI_Q4_0: return (term){d, 0, nibble_of_32(p + 2, i) - 8};
    case INKI_Q4_1: return (term){d, -half_at(p + 2), nibble_of_32(p + 4, i)};
    case INKI_Q5_0: return (term){d, 0, nibble_of_32(p + 6, i) + 16 * bit(p + 2, i) - 16};
    case INKI_Q5_1: return (term){d, -half_at(p + 2), nibble_of_32(p + 8, i) + 16 * bit(p + 4, i)};
    default: return (term){d, 0, p[2 + i] < 128 ? p[2 + i] : p[2 + i] - 256};
    }
}

static term term_of_256(uint32_t type, const uint8_t *p, size_t i) {
    const size_t g = i / 16;
    int scale, min;
    switch (type) {
    case INKI_Q2_K:
        return (term){half_at(p + 80) * (p[g] % 16), half_at(p + 82) * (p[g] / 16),
                      two_bits_of_256(p + 16, i)};
    case INKI_Q3_K:
        scale = bits(p + 96, g % 8 * 8 + g / 8 * 4, 4) +
                16 * bits(p + 104, g % 4 * 8 + g / 4 * 2, 2) - 32;
        return (term){half_at(p + 108) * scale, 0,
                      two_bits_of_256(p + 32, i) + 4 * bit_of_256(p, i) - 4};
    case INKI_Q4_K:
        six_bits(p + 4, i / 32, &scale, &min);
        return (term){half_at(p) * scale, half_at(p + 2) * min, nibble_of_256(p + 16, i)};
    case INKI_Q5_K:
        six_bits(p + 4, i / 32, &scale, &min);
        return (term){half_at(p) * scale, half_at(p + 2) * min,
                      nibble_of_256(p + 48, i) + 16 * bit_of_256(p + 16, i)};
    default: { // Q6_K: each 128 in 64 bytes of nibbles, 64 low halves and 64 high ones
        const size_t nibble = (i / 128 * 64 + i % 64) * 8 + i % 128 / 64 * 4;
        scale = p[192 + g] < 128 ? p[192 + g] : p[192 + g] - 256;
        return (term){half_at(p + 208) * scale, 0,
                      bits(p, nibble, 4) + 16 * two_bits_of_256(p + 128, i) - 32};
    }
    }
}

double true_weight(uint32_t type, const void *row, size_t i, double *min) {
    const inki_type_info info = inki_type_of(type);
    if (min != NULL) *min = 0;
    if (info.block_elems == 1) return true_value(type, row, i);
    const uint8_t *block = (const uint8_t *)row + i / info.block_elems * info.block_bytes;
    const term t = info.block_elems == 32 ? term_of_32(type, block, i % 32)
                                          : term_of_256(type, block, i % 256);
    if (min != NULL) *min = t.min;
    return t.scale * t.q - t.min;
}

size_t true_group(uint32_t type) {
    const size_t elems = inki_type_of(type).block_elems;
    return type == INKI_Q2_K || type == INKI_Q3_K || type == INKI_Q6_K ? 16 : elems == 1 ? 1 : 32;
}
