// SPDX-License-Identifier: MIT
// One continuation under way. It is a machine that says what to evaluate next, so that a call can
// drive one of them to its end, a typing session one evaluation at a time, and a service many in
// one pass:
//
//     inki_run_begin(&run, …); inki_prompt_read(&run, text, bytes);   or inki_prompt_set
//     while (inki_run_next(&run, &span)) evaluate n of its tokens, inki_run_evaluated(&run, status,
//     n); inki_run_finish(&run); inki_run_end(&run);
//
// prompt.c knows what the continuation stands on, generate.c chooses and speaks, take_back.c
// undoes, follow.c knows grammar and required words, series.c goes on where an earlier call was
// cut, tell.c says what is known beside the text.
#ifndef INKI_GENERATE_RUN_H
#define INKI_GENERATE_RUN_H

#include "engine/choices.h"
#include "engine/engine.h"
#include "engine/text_stream.h"

// `token` may not be chosen where the timeline holds `at` tokens.
typedef struct inki_ban {
    uint32_t at;
    ink_token token;
} inki_ban;
// A word that the continuation must hold.
typedef struct inki_needed {
    ink_filter *filter;  // finds it
    uint32_t found_at;   // so long was the timeline when it stood there with its border; 0: not yet
    bool at_end;         // it stands at the end, what follows decides
    int32_t tokens[257]; // [n_tokens] that write it
    uint32_t n_tokens;
} inki_needed;
enum { INKI_RUN_MAX_BANS = 256 }; // then the run stops: there is no way on

// All that one run needs; made at its start, so that a step allocates nothing.
typedef struct inki_run {
    ink_session *s; // entered, or owned by who drives the run
    ink_generate_options o;
    const inki_chain *chain;
    ink_sampler *own_sampler; // when the caller gave none
    ink_text_fn fn;
    void *user;
    ink_error *error;
    inki_fp *fp; // the host's floating-point state, for callbacks; NULL: on a thread of ours
    inki_text_stream stream;
    inki_text_stream echo; // of the prompt
    inki_choices choices;  // whose text is not given out yet
    // Asked behind each new token, when its bytes are in the stream, and once more where the text
    // would end (`stopped`): how many of the last tokens shall be taken back; the first of them is
    // then banned at its place. NULL: never.
    uint32_t (*veto)(void *arg, const struct inki_run *run);
    void *veto_arg;
    bool holds; // the stream holds everything again when tokens were taken back; veto lets go
    bool lazy;  // the last token is not evaluated: nobody goes on from there

    // [timeline_cap] What the session's past shall be: the prompt, cut if it is too long, and what
    // was chosen. The session's past is a beginning of it. A sliding context moves it.
    ink_token *timeline;
    uint32_t n_timeline;
    uint32_t n_prompt; // > 0: where the first new token stands; what is before is not taken back
    size_t timeline_cap;
    uint8_t *heal; // [n_heal] bytes that the first new token begins with
    size_t n_heal, heal_cap;
    bool restricted;   // the first new token is one of `allowed`
    uint64_t *allowed; // [allowed_words] a set of tokens: those that begin with `heal`
    size_t allowed_words;
    inki_ban *bans; // [n_bans] by rising `at`
    size_t n_bans, bans_cap;
    int32_t *banned; // [banned_cap] those that hold at one place, gathered for a choice
    size_t banned_cap;

    // follow.c: the grammar's matcher stays while runs have the same grammar
    ink_grammar *matched;
    inki_matcher *matcher;
    uint64_t *followed; // [followed_words] what the grammar allows next, the end token too
    size_t followed_words;
    inki_needed *needed; // [n_needed]
    size_t n_needed;
    uint32_t forced, force_from; // word `forced` is being written since the timeline was so long

    // series.c: what the continuation is, of all calls, begins n_series_skip bytes inside of token
    // n_series_from of the timeline.
    uint32_t n_series_from;
    size_t n_series_skip;
    bool resumes;       // it goes on where an earlier call was cut
    uint32_t n_resumed; // tokens of that call whose text is given out by this one

    // Guesses that were evaluated behind the first draft_at tokens, and when that began.
    uint32_t n_draft, draft_at;
    double evaluated_ms;
    bool plain; // no more guesses in this run

    uint32_t n_rewritten; // 1: the first token is no more than `heal`, so it does not count
    ink_token last;       // chosen last
    float logprob;        // of it
    bool stopped;         // r.stop says why
    bool failed;
    ink_status status; // what it failed with
    bool begun;        // the cache was asked what it holds of the prompt
    bool prefilled;    // the prompt is evaluated
    uint32_t n_before; // tokens of the session before the run, for when the prompt fails
    double start_ms;
    ink_result r;
} inki_run;

static inline void inki_run_stop(inki_run *run, uint32_t why) {
    run->stopped = true;
    run->r.stop = why;
}
static inline void inki_run_fail(inki_run *run, ink_status status) {
    if (!run->failed) run->status = status;
    run->failed = true;
}

// Options complete, `chain` for this vocabulary; the session is entered by the caller or owned.
// start_ms: when the call, or the submission, was made. The run is zeroed but for fn, user, fp,
// veto and lazy; or it was finished, and its memory serves again. What is allocated is released by
// inki_run_end, after a failure too. Errors: those of ink_session_generate.
ink_status inki_run_begin(inki_run *run, ink_session *session, const ink_generate_options *options,
                          const inki_chain *chain, double start_ms, ink_error *error);

// What there is to say of options and prompt [bytes] before there is a session: flags, overflow,
// STRICT. inki_prompt_read and inki_prompt_set look at it too. Errors: INK_E_ARG,
// INK_E_UNSUPPORTED, INK_E_UTF8.
ink_status inki_prompt_check(const ink_generate_options *options, const char *text, size_t bytes,
                             ink_error *error);
// Tokenizes the prompt and decides what the continuation stands on.
ink_status inki_prompt_read(inki_run *run, const char *text, size_t bytes);
// The same for tokens [n], 0 < n <= n_ctx, that are the whole past. text: what stands before the
// continuation, for the filter (it may reach farther back than the tokens, and begin at any byte);
// the first new token begins with the last n_tail bytes of it.
ink_status inki_prompt_set(inki_run *run, const ink_token *tokens, uint32_t n, inki_str text,
                           size_t n_tail);
// Memory for n elements at *block [*cap], which is kept if it is enough. Errors: INK_E_NOMEM.
ink_status inki_run_room(inki_run *run, void **block, size_t *cap, size_t n, size_t elem_bytes);
// Tokens that may still be chosen.
uint32_t inki_run_tokens_left(const inki_run *run);
// The last token's bytes but for the first n_skipped become text, or tokens are taken back.
void inki_run_speak(inki_run *run, size_t n_skipped);
// The filter looks back over what stands before the first n_prompt tokens' end, up to a special
// token. Errors: INK_E_NOMEM.
ink_status inki_prompt_set_context(inki_run *run);
// Room ahead of time, for runs that shall allocate nothing later.
ink_status inki_run_need_timeline(inki_run *run, size_t n_tokens);
ink_status inki_run_need_heal(inki_run *run, size_t n_tail);

// Chooses and speaks until something must be evaluated: *span says what. False: the run is over,
// stopped or failed (run->status).
bool inki_run_next(inki_run *run, ink_span *span);
// What became of the first n_tokens of the span that inki_run_next gave.
void inki_run_evaluated(inki_run *run, ink_status status, uint32_t n_tokens);
// Gives out what is held back and fills in the times. Once, after next was false. Returns what the
// run failed with.
ink_status inki_run_finish(inki_run *run);
void inki_run_end(inki_run *run); // releases; a zeroed run is allowed

// Whether somebody cancelled or the deadline has passed; the run is then stopped. During an
// evaluation that is seen in there; this looks between evaluations.
bool inki_run_interrupted(inki_run *run);
// The last n tokens of the continuation are taken back, the first of them is banned at its place.
void inki_run_take_back(inki_run *run, uint32_t n);
// How many of the last tokens of the continuation hold its last `bytes` bytes, and the stop string
// behind them if there is one that the stream holds.
uint32_t inki_run_tokens_behind(const inki_run *run, size_t bytes);
// What may not be chosen next: borrowed from the run until it goes on.
inki_constraint inki_run_constraint(inki_run *run);
// The timeline is one token over the context: the older half behind the first n_keep tokens goes.
void inki_prompt_slide(inki_run *run);

#endif
