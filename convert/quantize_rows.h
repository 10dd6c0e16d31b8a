// SPDX-License-Identifier: MIT
// Quantisers that search: the scales of a block are those that make the weighted squared error
// small, instead of following from the largest value alone. Block layouts are those of
// docs/FORMATS.md.
#ifndef INKI_CONVERT_QUANTIZE_ROWS_H
#define INKI_CONVERT_QUANTIZE_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// x [n] into a row of `type`: Q8_0, Q4_0, Q5_0, Q5_1, Q4_K, Q5_K or Q6_K. What is made small is
// sum w (x - written)^2; w is 1, for Q4_0 x^2 + m with m the mean of x^2 in a block.
// False, with the row unspecified: no such quantiser, n is not a multiple of the type's block, or a
// value is not finite.
bool inki_quantize_row_fit(uint32_t type, void *row, const float *x, size_t n);
// The largest magnitude whose block has a scale that a half can hold; 0: no such quantiser.
float inki_quantize_reach(uint32_t type);

// --- between the files of the quantisers ---------------------------------------------------
// A block made fit for the search: |x| <= 1 by a power of two, so that squares neither vanish nor
// overflow.
enum { INKI_BLOCK_MAX = 256 };
typedef struct inki_scaled_block {
    float x[INKI_BLOCK_MAX], w[INKI_BLOCK_MAX];
    int exponent; // values are x * 2^exponent
} inki_scaled_block;

// scale * 2^exponent as a half, at most the largest finite one.
uint16_t inki_scaled_half(const inki_scaled_block *b, float scale);
// What that half is worth among the scaled values.
float inki_scaled_worth(const inki_scaled_block *b, uint16_t half);

void inki_quantize_block_q8_0(uint8_t *out, const inki_scaled_block *b);
void inki_quantize_block_q4_0(uint8_t *out, const inki_scaled_block *b);
void inki_quantize_block_q5_0(uint8_t *out, const inki_scaled_block *b);
void inki_quantize_block_q5_1(uint8_t *out, const inki_scaled_block *b);
void inki_quantize_block_q4_k(uint8_t *out, const inki_scaled_block *b);
void inki_quantize_block_q5_k(uint8_t *out, const inki_scaled_block *b);
void inki_quantize_block_q6_k(uint8_t *out, const inki_scaled_block *b);

#endif
