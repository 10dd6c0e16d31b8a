// SPDX-License-Identifier: MIT
// Token healing: text that ends inside a word, or behind a blank, is cut before its last partial
// token, and the next token is chosen among those that begin with the bytes cut off.
#ifndef INKI_TOKENIZER_HEAL_H
#define INKI_TOKENIZER_HEAL_H

#include "tokenizer/tokenizer.h"

enum { INKI_HEAL_MAX_TOKENS = 8 }; // at most so many are taken back

// Encodes text [bytes] as inki_tokenizer_encode does, without what is taken back: stats->n_tokens
// stay, and the last *n_tail bytes of the text are what the next token must begin with; at least
// one token of the vocabulary does. *n_tail 0: nothing to take back (an empty text, one that ends
// with a special token).
//
// Behind white space, its last character is taken back, since " word" is one token. Else of the
// last pre-token as many tokens from its end (at most INKI_HEAL_MAX_TOKENS) as there is one token
// that begins with all their bytes.
ink_status inki_tokenizer_encode_healed(const inki_tokenizer *, const char *text, size_t bytes,
                                        bool special, int32_t *out, size_t cap,
                                        inki_encode_stats *stats, size_t *n_tail, ink_error *error);

// 64-bit words of a set of tokens.
size_t inki_tokenizer_set_words(const inki_tokenizer *);
// set [inki_tokenizer_set_words]: bit id % 64 of word id / 64 is 1 for each ordinary token whose
// bytes begin with prefix [n], n > 0. Returns how many there are. set NULL: only whether there is
// one (0 or 1).
uint32_t inki_tokenizer_with_prefix(const inki_tokenizer *, const char *prefix, size_t n,
                                    uint64_t *set);

#endif
