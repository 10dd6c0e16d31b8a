// SPDX-License-Identifier: MIT
// One call of ink_session_generate, shared by prompt.c (what the continuation stands on) and
// generate.c (the continuation).
#ifndef INKI_GENERATE_RUN_H
#define INKI_GENERATE_RUN_H

#include "engine/engine.h"
#include "engine/text_stream.h"

// All that one call needs; made at its start, so that a step of the loop allocates nothing.
typedef struct inki_run {
    ink_session *s; // entered
    ink_generate_options o;
    const inki_chain *chain;
    ink_sampler *own_sampler; // when the caller gave none
    ink_text_fn fn;
    void *user;
    ink_error *error;
    inki_fp *fp;
    inki_text_stream stream;
    // [timeline_cap] What the session's past shall be before the first token: its past and the
    // prompt, cut if they are too long. A sliding context uses it again.
    ink_token *timeline;
    uint32_t n_timeline;
    size_t timeline_cap;
    ink_token last; // chosen last
    float logprob;  // of it
    bool stopped;   // r.stop says why
    double start_ms;
    ink_result r;
} inki_run;

static inline void inki_run_stop(inki_run *run, uint32_t why) {
    run->stopped = true;
    run->r.stop = why;
}

// Stops if somebody cancelled or the deadline has passed; true if stopped. A cancel during an
// evaluation is seen in there; this looks between evaluations.
static inline bool inki_run_interrupted(inki_run *run) {
    const uint32_t deadline_ms = run->o.deadline_ms;
    const bool late = deadline_ms != 0 && inki_os_now_ms() - run->start_ms >= deadline_ms;
    if (atomic_load_explicit(&run->s->cancel, memory_order_relaxed))
        inki_run_stop(run, INK_STOP_CANCELLED);
    else if (late)
        inki_run_stop(run, INK_STOP_DEADLINE);
    return run->stopped;
}

// Tokenizes the prompt and decides what the continuation stands on: allocates and fills the
// timeline. Errors: those of ink_session_generate.
ink_status inki_prompt_read(inki_run *run, const char *text, size_t bytes);
// Makes timeline [n] the session's past with logits behind it; what the cache holds of it is kept.
// May be stopped on the way (run->stopped): the past is then a beginning of the timeline.
ink_status inki_prompt_evaluate(inki_run *run);
// The context is full: forgets the older half behind the first n_keep tokens and appends `token`.
ink_status inki_prompt_slide(inki_run *run, ink_token token);

#endif
