// SPDX-License-Identifier: MIT
// Speculation: who guesses the next tokens, and whether guessing pays. What is guessed never
// changes what is chosen: the run evaluates guesses with the token before them, keeps a row of
// logits for each, and goes along them as long as its choice is the guessed one.
#ifndef INKI_ENGINE_DRAFT_H
#define INKI_ENGINE_DRAFT_H

#include "engine/engine.h"

enum { INKI_DRAFT_MAX = 64 };

// What of options is wrong for a model, with n_ctx complete. Errors: INK_E_ARG (vocabularies
// differ: message says where), INK_E_LIMIT.
ink_status inki_draft_check(const ink_session_options *options, const ink_model *model,
                            ink_error *error);
// Bytes of heap that inki_draft_new asks for; kv: of them pages of the drafting model's session.
ink_status inki_draft_bytes(const ink_session_options *options, const inki_weights *weights,
                            uint64_t *heap, uint64_t *kv, ink_error *error);
// options: complete, n_draft > 0. Everything is allocated here. Errors: INK_E_NOMEM.
ink_status inki_draft_new(inki_draft **out, const ink_session_options *options, ink_model *model,
                          ink_error *error);
void inki_draft_free(inki_draft *draft); // NULL is allowed

// Guesses what follows tokens [n], at most `most` of them, into out. Returns how many; 0: no guess,
// or it would not pay now. A drafting model's failure counts as no guess. Asks `interrupted` of the
// session as evaluations do.
uint32_t inki_draft_propose(inki_draft *draft, const ink_session *session, const ink_token *tokens,
                            uint32_t n, uint32_t most, ink_token *out);
// What became of a pass: so many guesses were in it, so many were chosen, and it took ms for all of
// its rows (n_drafted + 1, n_drafted 0: a plain step). Told for each decode step.
void inki_draft_learn(inki_draft *draft, uint32_t n_drafted, uint32_t n_accepted, double ms);

#endif
