// SPDX-License-Identifier: MIT
// What a run tells beside the text it makes: its tokens' log-probabilities, the prompt itself, the
// mean of its hidden states.
#ifndef INKI_TELL_H
#define INKI_TELL_H

#include "engine/generate_run.h"

// Gives text of a stream out, with the choices it completes. False: the callback asked to stop.
bool inki_tell_text(inki_run *run, const inki_text_stream *from, inki_str text);

// The last token begins `bytes` of text; knows: the logits that it was chosen from are there. Fails
// the run without memory.
void inki_tell_choice(inki_run *run, size_t bytes, bool knows);

// Room for what the options ask for. Errors: INK_E_NOMEM.
ink_status inki_tell_begin(inki_run *run);
void inki_tell_end(inki_run *run); // releases
// What evaluating the prompt's next tokens shall leave.
void inki_tell_want(inki_run *run, ink_span *span);
// All of the prompt is to be evaluated, whatever caches hold.
bool inki_tell_wants_all(const inki_run *run);
// Before anything of the prompt is evaluated; and when its next n_tokens were. Stops or fails the
// run where its callback or the memory asks for that.
void inki_tell_prompt_begun(inki_run *run);
void inki_tell_prompt_read(inki_run *run, uint32_t n_tokens);

#endif
