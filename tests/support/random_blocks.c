// SPDX-License-Identifier: MIT
#include "random_blocks.h"

#include "base/tensor_type.h"

static uint64_t next_random(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 24;
}

static void put_half(uint8_t *p, int low, int high, uint64_t *state) {
    const int exponent = low + (int)(next_random(state) % (uint64_t)(high - low + 1));
    const uint64_t mantissa = next_random(state) % 1024;
    // Below 2^-14 numbers are multiples of 2^-24.
    const uint64_t magnitude =
        exponent >= -14 ? (uint64_t)(exponent + 15) << 10 | mantissa : mantissa >> (-15 - exponent);
    const uint64_t h = magnitude | (next_random(state) % 2) << 15;
    p[0] = (uint8_t)(h % 256);
    p[1] = (uint8_t)(h / 256);
}

void random_blocks(uint32_t type, void *rows, size_t n_bytes, int low, int high, uint64_t seed) {
    const size_t block_bytes = inki_type_of(type).block_bytes;
    uint8_t *p = rows;
    uint64_t state = seed * 2 + 1;
    for (int i = 0; i < 8; i++) next_random(&state);
    for (size_t i = 0; i < n_bytes; i++) p[i] = (uint8_t)next_random(&state);
    for (; n_bytes >= block_bytes; n_bytes -= block_bytes, p += block_bytes) {
        const size_t at = type == INKI_Q2_K   ? 80
                          : type == INKI_Q3_K ? 108
                          : type == INKI_Q6_K ? 208
                                              : 0;
        put_half(p + at, low, high, &state);
        if (type == INKI_Q4_1 || type == INKI_Q5_1 || type == INKI_Q2_K || type == INKI_Q4_K ||
            type == INKI_Q5_K)
            put_half(p + at + 2, low, high, &state);
    }
}

void random_row(uint32_t type, void *row, size_t n_bytes, uint64_t seed) {
    if (inki_type_of(type).block_elems == 32)
        random_blocks(type, row, n_bytes, -9, -9, seed);
    else
        random_blocks(type, row, n_bytes, -14, -14, seed);
}
