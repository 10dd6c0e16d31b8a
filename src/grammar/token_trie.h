// SPDX-License-Identifier: MIT
// The ordinary tokens of a vocabulary, sorted by their bytes and walked as a tree of common
// beginnings. Immutable; any thread.
#ifndef INKI_TOKEN_TRIE_H
#define INKI_TOKEN_TRIE_H

#include "base/error.h"
#include "base/mem.h"
#include "tokenizer/tokenizer.h"

typedef struct inki_token_trie inki_token_trie;

// Keeps nothing of the tokenizer. Special tokens are not in it. Errors: INK_E_NOMEM.
ink_status inki_token_trie_new(inki_token_trie **out, const inki_tokenizer *tokenizer,
                               const inki_mem *mem, ink_error *error);
void inki_token_trie_free(inki_token_trie *trie); // NULL is allowed

#endif
