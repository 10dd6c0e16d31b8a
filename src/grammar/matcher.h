// SPDX-License-Identifier: MIT
// A text that grows along a grammar: where it stands, and which tokens may come next. One thread at
// a time. States are made as they are met and kept, so a place that comes again costs a lookup; the
// memory for that is bounded, and what is over it is made anew.
#ifndef INKI_MATCHER_H
#define INKI_MATCHER_H

#include "grammar/grammar.h"
#include "grammar/token_trie.h"

typedef struct inki_matcher inki_matcher;

// grammar and trie stay as long as the matcher. trie NULL: never asked for tokens. The text is
// empty. Errors: INK_E_NOMEM, INK_E_LIMIT (too many places where a text may begin).
ink_status inki_matcher_new(inki_matcher **out, const inki_grammar *grammar,
                            const inki_token_trie *trie, const inki_mem *mem, ink_error *error);
void inki_matcher_free(inki_matcher *matcher); // NULL is allowed
const inki_grammar *inki_matcher_grammar(const inki_matcher *matcher);

void inki_matcher_reset(inki_matcher *matcher); // the text is empty again; known states stay
// Adds bytes [n] as one push. *n_accepted: how many of them can stand there; if that is less than
// n, nothing was added. The end of the text may be inside a character. Errors: INK_E_NOMEM,
// INK_E_LIMIT (a text or a nesting over the matcher's bounds, too many places to look at); nothing
// was added.
ink_status inki_matcher_push(inki_matcher *matcher, const char *bytes, size_t n, size_t *n_accepted,
                             ink_error *error);
void inki_matcher_pop(inki_matcher *matcher, uint32_t n); // takes back the last n pushes
uint32_t inki_matcher_n_pushes(const inki_matcher *matcher);

bool inki_matcher_may_end(const inki_matcher *matcher);  // the text is one of the grammar
bool inki_matcher_must_end(const inki_matcher *matcher); // and nothing may follow

// The tokens that may come next: bit id % 64 of word id / 64, as inki_draw has them; borrowed until
// the next call. Special tokens are never among them. Errors: INK_E_NOMEM, INK_E_LIMIT, after which
// it can be asked again, in vain, and pushed and popped as before.
ink_status inki_matcher_allowed(inki_matcher *matcher, const uint64_t **set, ink_error *error);

#endif
