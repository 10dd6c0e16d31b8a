// SPDX-License-Identifier: MIT
// Cuts text into the words inside which BPE merges, as GPT-2's pattern does:
//     's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
// A byte that is not UTF-8 counts as one character that is no letter, number or space.
// Source: https://github.com/openai/gpt-2/blob/master/src/encoder.py
#ifndef INKI_PRETOKENIZE_H
#define INKI_PRETOKENIZE_H

#include <stddef.h>
#include <stdint.h>

// Length of the first word of s [n]; 1 to n. n > 0. Words end where the text does: pass all of it.
size_t inki_pretokenize_next(const uint8_t *s, size_t n);

#endif
