// SPDX-License-Identifier: MIT
// A vocabulary made by rule, for models of a shape without a text that they were trained on.
#ifndef INKI_CONVERT_SHAPE_VOCABULARY_H
#define INKI_CONVERT_SHAPE_VOCABULARY_H

#include "base/cursor.h"
#include "base/error.h"
#include "base/mem.h"

// The letters of the 256 bytes in GPT-2's order, then what the
// merges make one by one, the last token being <|endoftext|>.
typedef struct inki_shape_vocab {
    uint32_t n_tokens, n_merges;
    inki_str *tokens; // [n_tokens]
    inki_str *merges; // [n_merges]
    int32_t *types;   // [n_tokens]
    char *text;       // what tokens and merges point into
    size_t text_bytes;
    inki_mem mem;
} inki_shape_vocab;
// n_tokens from 257 to 900,000. Errors: INK_E_NOMEM, INK_E_LIMIT.
ink_status inki_shape_vocab_new(inki_shape_vocab *out, uint32_t n_tokens, const inki_mem *mem,
                                ink_error *error);
void inki_shape_vocab_free(inki_shape_vocab *vocab); // zeroed and freed ones are allowed

#endif
