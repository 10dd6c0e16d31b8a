// SPDX-License-Identifier: MIT
// What a continuation has to follow beside its sampler: a grammar, and words that it must hold.
#ifndef INKI_ENGINE_FOLLOW_H
#define INKI_ENGINE_FOLLOW_H

#include "engine/generate_run.h"

// Reads o.grammar and o.required; room for both. Errors: INK_E_ARG, INK_E_LIMIT, INK_E_UTF8,
// INK_E_NOMEM.
ink_status inki_follow_begin(inki_run *run);
void inki_follow_end(inki_run *run); // releases

// The last token of the timeline added `piece` to the text. Fails the run where that cannot be
// kept.
void inki_follow_spoken(inki_run *run, inki_str piece);
void inki_follow_taken_back(inki_run *run, uint32_t n_tokens); // the timeline has them no more

// The timeline lost n_dropped tokens before those that were spoken last.
void inki_follow_slid(inki_run *run, uint32_t n_dropped);

// The grammar's text is whole and nothing may follow.
bool inki_follow_must_end(const inki_run *run);
// The tokens that may come next; NULL: all. Fails the run without memory.
const uint64_t *inki_follow_allowed(inki_run *run);
// A required word is due: *token is what comes next. wants_end: the text would end here.
bool inki_follow_forces(inki_run *run, bool wants_end, ink_token *token);

#endif
