// SPDX-License-Identifier: MIT
// A prompt in, pieces of text out: evaluate, choose, speak, and again.
#include "engine/draft.h"
#include "engine/follow.h"
#include "engine/prefix_cache.h"
#include "engine/series.h"
#include "engine/tell.h"

#include "tokenizer/heal.h"

#include <math.h>
#include <string.h>

bool inki_run_interrupted(inki_run *g) {
    const uint32_t deadline_ms = g->o.deadline_ms;
    if (inki_session_was_interrupted(g->s))
        inki_run_stop(g, INK_STOP_CANCELLED);
    else if (deadline_ms != 0 && inki_os_now_ms() - g->start_ms >= deadline_ms)
        inki_run_stop(g, INK_STOP_DEADLINE);
    return g->stopped;
}

// --- one token -----------------------------------------------------------------------------------

static bool is_banned(const inki_constraint *constraint, ink_token token) {
    for (size_t i = 0; i < constraint->n_bans; i++)
        if (constraint->bans[i] == token) return true;
    return false;
}

static void choose(inki_run *g) {
    ink_session *s = g->s;
    const inki_constraint constraint = inki_run_constraint(g);
    if (g->failed) return;
    const bool bound = constraint.n_bans > 0 || constraint.allowed != NULL;
    const ink_token end = inki_tokenizer_end(s->model->tokenizer);
    ink_token token;
    ink_status status = INK_OK;
    bool forced = constraint.allowed == NULL && inki_follow_forces(g, false, &token);
    if (!forced) {
        status = inki_sample_entered(s, g->chain, &constraint, &token, bound ? NULL : g->error);
        // Where the text would end, what it must hold comes first.
        if (status == INK_OK && token == end && token >= 0)
            forced = inki_follow_forces(g, true, &token);
    }
    if (forced && is_banned(&constraint, token)) status = INK_E_NUMERIC;
    if (status == INK_E_NUMERIC && (bound || forced)) {
        inki_run_stop(g, INK_STOP_FILTER);
        return;
    }
    if (status != INK_OK) {
        inki_run_fail(g, status);
        return;
    }
    if (g->r.first_token_ms == 0) g->r.first_token_ms = inki_os_now_ms() - g->start_ms;
    if (token == end && token >= 0) {
        // Text that is still held back came from the token before.
        inki_run_stop(g, INK_STOP_END);
        return;
    }
    g->last = token;
    g->r.n_generated++;
}

// What the stream held for the veto is given out, all of it if the text ends. False: the callback
// asked to stop.
static bool let_go(inki_run *g, bool ended) {
    inki_text_event event = {.ready = {"", 0}};
    const ink_status status =
        ended ? inki_text_stream_flush(&g->stream, true, &event.ready, g->error)
              : inki_text_stream_push(&g->stream, (inki_str){"", 0}, &event, g->error);
    if (status != INK_OK) inki_run_fail(g, status);
    return status != INK_OK || inki_tell_text(g, &g->stream, event.ready);
}

// A first token that writes the prompt's tail again and no more says nothing.
static void speak_chosen(inki_run *g) {
    const inki_tokenizer *tokenizer = g->s->model->tokenizer;
    const bool first = g->n_timeline == g->n_prompt + 1;
    inki_str piece = inki_tokenizer_piece(tokenizer, g->last);
    if (inki_tokenizer_is_special(tokenizer, g->last)) piece.bytes = 0;
    const size_t skip = first ? g->n_heal : 0;
    piece = (inki_str){piece.data + skip, piece.bytes - skip};
    if (first) g->n_rewritten = skip > 0 && piece.bytes == 0;
    if (g->n_rewritten == 0 || !first) inki_tell_choice(g, piece.bytes, true);
    inki_follow_spoken(g, piece);
    if (!g->failed) inki_run_speak(g, skip);
}

void inki_run_speak(inki_run *g, size_t n_skipped) {
    const inki_tokenizer *tokenizer = g->s->model->tokenizer;
    inki_str piece = inki_tokenizer_piece(tokenizer, g->last);
    if (inki_tokenizer_is_special(tokenizer, g->last)) piece.bytes = n_skipped;
    piece = (inki_str){piece.data + n_skipped, piece.bytes - n_skipped};
    const bool held = g->stream.hold;
    inki_text_event event;
    const ink_status status = inki_text_stream_push(&g->stream, piece, &event, g->error);
    if (status != INK_OK) {
        inki_run_fail(g, status);
        return;
    }
    // What was held is looked at as a text that ends here.
    if (event.stopped && held) inki_run_stop(g, INK_STOP_STRING);
    uint32_t n_back = event.n_too_much > 0 ? inki_run_tokens_behind(g, event.n_too_much) : 0;
    if (n_back == 0 && g->veto != NULL) n_back = g->veto(g->veto_arg, g);
    if (n_back > 0) {
        g->stopped = false;
        inki_run_take_back(g, n_back);
        return;
    }
    bool go_on = inki_tell_text(g, &g->stream, event.ready);
    if (held && go_on && (event.stopped || !g->stream.hold)) go_on = let_go(g, event.stopped);
    if (event.stopped)
        inki_run_stop(g, INK_STOP_STRING);
    else if (!go_on)
        inki_run_stop(g, INK_STOP_CALLBACK);
}

// A text that ends here must not end with a listed phrase; if it does, it goes on another way.
static void look_back(inki_run *g) {
    uint32_t n = inki_run_tokens_behind(g, inki_text_stream_too_much(&g->stream));
    if (n == 0 && g->veto != NULL) n = g->veto(g->veto_arg, g);
    if (n == 0) return;
    g->stopped = false;
    inki_run_take_back(g, n);
}

uint32_t inki_run_tokens_left(const inki_run *g) {
    const uint64_t n = g->r.n_generated - g->n_rewritten;
    const uint64_t most = (uint64_t)g->o.n_tokens + g->n_resumed, left = n < most ? most - n : 0;
    return left < UINT32_MAX ? (uint32_t)left : UINT32_MAX;
}

static bool has_all_tokens(const inki_run *g) { return inki_run_tokens_left(g) == 0; }

// Cut here, the text goes on in another call.
static bool goes_on(const inki_run *g) {
    return (g->o.flags & INK_GENERATE_CONTINUE) && g->r.stop != INK_STOP_END;
}

// What was chosen where the text ended is not part of it; where it was only cut, it is.
static bool keeps_last(const inki_run *g) {
    return g->r.stop == INK_STOP_FILTER || (g->r.stop == INK_STOP_CALLBACK && goes_on(g));
}

static void take_step(inki_run *g) {
    if (inki_follow_must_end(g))
        inki_run_stop(g, INK_STOP_END);
    else if (has_all_tokens(g))
        inki_run_stop(g, INK_STOP_LENGTH);
    else if (g->n_timeline == g->s->options.n_ctx && g->o.overflow != INK_OVERFLOW_SLIDE)
        inki_run_stop(g, INK_STOP_CONTEXT);
    else
        inki_run_interrupted(g);
    if (!g->stopped) choose(g);
    if (!g->stopped && !g->failed) {
        // There is room for one more than the context holds.
        g->timeline[g->n_timeline++] = g->last;
        speak_chosen(g);
        if (g->stopped && !keeps_last(g)) g->n_timeline--;
        if (g->n_timeline > g->s->options.n_ctx) inki_prompt_slide(g);
    } else if (g->stopped && g->r.stop <= INK_STOP_LENGTH && !goes_on(g)) {
        look_back(g);
    }
    // Nobody goes on from what was taken back last.
    if (g->stopped && g->s->n_past > g->n_timeline) inki_rewind_entered(g->s, g->n_timeline);
}

// --- the machine ---------------------------------------------------------------------------------

ink_status inki_run_room(inki_run *g, void **block, size_t *cap, size_t n, size_t elem_bytes) {
    if (n <= *cap) return INK_OK;
    inki_release(&g->s->mem, *block, *cap, elem_bytes);
    *cap = 0;
    *block = inki_alloc(&g->s->mem, n, elem_bytes);
    if (*block == NULL) return inki_fail_nomem(g->error, n * elem_bytes);
    *cap = n;
    return INK_OK;
}

ink_status inki_run_need_timeline(inki_run *g, size_t n) {
    return inki_run_room(g, (void **)&g->timeline, &g->timeline_cap, n, sizeof *g->timeline);
}

ink_status inki_run_need_heal(inki_run *g, size_t n_tail) {
    const size_t n_words = inki_tokenizer_set_words(g->s->model->tokenizer);
    const ink_status status = inki_run_room(g, (void **)&g->heal, &g->heal_cap, n_tail, 1);
    if (status != INK_OK) return status;
    return inki_run_room(g, (void **)&g->allowed, &g->allowed_words, n_words, sizeof *g->allowed);
}

static void keep_memory(inki_run *g) {
    *g = (inki_run){.stream = g->stream,
                    .echo = g->echo,
                    .choices = g->choices,
                    .timeline = g->timeline,
                    .timeline_cap = g->timeline_cap,
                    .heal = g->heal,
                    .heal_cap = g->heal_cap,
                    .allowed = g->allowed,
                    .allowed_words = g->allowed_words,
                    .bans = g->bans,
                    .bans_cap = g->bans_cap,
                    .banned = g->banned,
                    .banned_cap = g->banned_cap,
                    .matched = g->matched,
                    .matcher = g->matcher,
                    .followed = g->followed,
                    .followed_words = g->followed_words,
                    .needed = g->needed,
                    .n_needed = g->n_needed,
                    .own_sampler = g->own_sampler,
                    .fn = g->fn,
                    .user = g->user,
                    .fp = g->fp,
                    .veto = g->veto,
                    .veto_arg = g->veto_arg,
                    .lazy = g->lazy};
}

ink_status inki_run_begin(inki_run *g, ink_session *session, const ink_generate_options *options,
                          const inki_chain *chain, double start_ms, ink_error *error) {
    keep_memory(g);
    g->s = session;
    g->o = *options;
    g->chain = chain;
    g->start_ms = start_ms;
    g->error = error;
    g->logprob = NAN;
    g->n_before = session->n_past;
    const uint32_t n_vocab = session->model->weights.n_vocab, n = inki_chain_n_vocab(chain);
    if (n != n_vocab)
        return inki_fail(error, INK_E_ARG, "sampler", 0, "is for %u tokens; the model has %u",
                         (unsigned)n, (unsigned)n_vocab);
    g->r.seed = inki_chain_seed(chain);
    const bool bans = options->filter != NULL || g->veto != NULL;
    const size_t n_bans = bans ? INKI_RUN_MAX_BANS : 0;
    const size_t n_banned =
        1 + n_bans + (options->no_repeat_ngram > 0 ? session->options.n_ctx : 0);
    ink_status status = inki_run_room(g, (void **)&g->bans, &g->bans_cap, n_bans, sizeof *g->bans);
    if (status == INK_OK)
        status = inki_run_room(g, (void **)&g->banned, &g->banned_cap, n_banned, sizeof *g->banned);
    if (status == INK_OK)
        status = inki_text_stream_init(&g->stream, options->stop, options->n_stop, options->filter,
                                       &session->mem, error);
    if (status == INK_OK) status = inki_follow_begin(g);
    return status == INK_OK ? inki_tell_begin(g) : status;
}

// What the cache holds of the prompt. What is evaluated again must not be lost if that fails: a
// page that a fork shares would be copied without it.
static void begin_prompt(inki_run *g) {
    ink_session *s = g->s;
    const uint32_t n_past = s->n_past;
    g->begun = true;
    if (g->o.flags & INK_GENERATE_FRESH) s->n_forgotten = 0;
    s->n_forgotten += g->r.n_dropped;
    if (g->resumes) inki_series_resume(g);
    s->is_cut = false;
    s->n_pending = 0;
    g->r.n_prompt = g->n_timeline;
    inki_tell_prompt_begun(g);
    if (!inki_tell_wants_all(g) && (n_past == 0 || (g->o.flags & INK_GENERATE_FRESH)))
        inki_prefix_attach(s, g->timeline, g->n_timeline);
    inki_session_go_to(s, g->timeline, g->n_timeline);
    g->r.n_reused = s->n_past;
    if (s->n_past + 1 == n_past && n_past == g->n_timeline) {
        const ink_status status = inki_kv_own(&s->kv, n_past, g->error);
        if (status != INK_OK) inki_run_fail(g, status);
    }
}

// How many of the guesses the choices followed.
static void learn_from_draft(inki_run *g) {
    const ink_session *s = g->s;
    uint32_t n = 0;
    while (n < g->n_draft && g->draft_at + n < g->n_timeline &&
           s->tokens[g->draft_at + n] == g->timeline[g->draft_at + n])
        n++;
    if (s->draft != NULL && g->evaluated_ms > 0)
        inki_draft_learn(s->draft, g->n_draft, n, g->evaluated_ms);
    g->r.n_accepted += n;
    g->n_draft = 0;
    g->evaluated_ms = 0;
}

// Guesses stand behind the timeline, and in the same span.
static void draft(inki_run *g, ink_span *span) {
    ink_session *s = g->s;
    const uint32_t room = s->options.n_ctx - g->n_timeline, left = inki_run_tokens_left(g);
    uint32_t most = s->options.n_draft;
    if (most > room) most = room;
    if (most >= left) most = left > 0 ? left - 1 : 0;
    if (most >= s->options.n_batch) most = s->options.n_batch - 1;
    if (most > g->timeline_cap - g->n_timeline) most = (uint32_t)(g->timeline_cap - g->n_timeline);
    g->draft_at = g->n_timeline;
    if (most > 0 && s->held != NULL)
        g->n_draft = inki_draft_propose(s->draft, s, g->timeline, g->n_timeline, most,
                                        g->timeline + g->n_timeline);
    span->n_tokens += g->n_draft;
    if (g->n_draft > 0) span->flags |= INKI_SPAN_HOLD;
    g->r.n_drafted += g->n_draft;
    g->evaluated_ms = -inki_os_now_ms();
}

bool inki_run_next(inki_run *g, ink_span *span) {
    ink_session *s = g->s;
    if (!g->begun && !g->failed) begin_prompt(g);
    while (!g->stopped && !g->failed) {
        if (g->lazy && g->prefilled && has_all_tokens(g)) {
            take_step(g);
            continue;
        }
        const uint32_t n_past = s->n_past;
        inki_session_go_to(s, g->timeline, g->n_timeline);
        if (s->n_past == g->n_timeline && s->n_past != n_past && inki_session_was_interrupted(s)) {
            // What was evaluated ahead is found; a cancel leaves what an evaluation would leave.
            inki_run_stop(g, INK_STOP_CANCELLED);
            s->n_past--;
            s->n_rows = 0;
            continue;
        }
        if (s->n_past < g->n_timeline) {
            const uint32_t left = g->n_timeline - s->n_past, most = s->options.n_batch;
            *span = (ink_span){.session = s,
                               .tokens = g->timeline + s->n_past,
                               .n_tokens = left < most ? left : most};
            if (!g->prefilled) inki_tell_want(g, span);
            if (g->n_draft > 0 || g->evaluated_ms > 0) learn_from_draft(g);
            if (g->prefilled && s->draft != NULL && left == 1 && !g->plain) draft(g, span);
            return true;
        }
        if (!g->prefilled) {
            g->r.prefill_ms = inki_os_now_ms() - g->start_ms;
            inki_prefix_insert(s);
        }
        g->prefilled = true;
        take_step(g);
    }
    return false;
}

static bool report_prompt(inki_run *g) {
    if (g->o.progress == NULL) return true;
    if (g->fp != NULL) inki_fp_hosts(g->fp);
    const int stop = g->o.progress(g->o.progress_user, g->s->n_past, g->n_timeline);
    if (g->fp != NULL) inki_fp_ours(g->fp);
    return stop == 0;
}

void inki_run_evaluated(inki_run *g, ink_status status, uint32_t n_tokens) {
    if (status == INK_E_CANCELLED) {
        inki_run_stop(g, INK_STOP_CANCELLED);
    } else if (status == INK_E_NUMERIC && g->n_draft > 0) {
        // It may be a guess that leads there, which nobody would have chosen.
        g->plain = true;
        g->n_draft = 0;
        g->evaluated_ms = 0;
    } else if (status != INK_OK) {
        inki_run_fail(g, status);
    } else {
        g->r.n_evaluated += n_tokens;
        if (g->evaluated_ms < 0) g->evaluated_ms += inki_os_now_ms();
        // A decode step is one token, and guesses; what comes in batches else is a prompt, or a
        // context that slid.
        if (g->prefilled && n_tokens <= 1 + g->n_draft) return;
        if (!g->prefilled) inki_tell_prompt_read(g, n_tokens);
        if (g->stopped || g->failed) return;
        if (!report_prompt(g))
            inki_run_stop(g, INK_STOP_CALLBACK);
        else if (g->s->n_past < g->n_timeline)
            inki_run_interrupted(g);
    }
}

// The prompt was not read to its end: the past is what it was. Where its last token was to be
// evaluated again, the cache holds that token's keys and values still, or the same ones again. In a
// fresh timeline, and where the past had to be cut, its beginning may serve the next call.
static void give_back(inki_run *g) {
    ink_session *s = g->s;
    if (g->prefilled || (g->o.flags & INK_GENERATE_FRESH) || g->r.n_dropped > 0) return;
    if (s->n_past > g->n_before) inki_rewind_entered(s, g->n_before);
    s->n_past = g->n_before;
    if (s->n_cached < s->n_past) s->n_cached = s->n_past;
}

static void flush(inki_run *g) {
    inki_str ready = {"", 0};
    const ink_status status =
        inki_text_stream_flush(&g->stream, g->r.stop == INK_STOP_END, &ready, g->error);
    if (status == INK_OK)
        inki_tell_text(g, &g->stream, ready);
    else
        inki_run_fail(g, status);
}

ink_status inki_run_finish(inki_run *g) {
    if (g->begun) give_back(g);
    learn_from_draft(g);
    if (g->s->n_past > g->n_timeline && g->prefilled) inki_rewind_entered(g->s, g->n_timeline);
    if (!inki_series_keep(g) && !g->failed && g->prefilled && !g->stream.hold &&
        g->r.stop != INK_STOP_STRING && g->r.stop != INK_STOP_CALLBACK)
        flush(g);
    if (g->prefilled) inki_prefix_insert(g->s);
    g->r.n_generated -= g->n_rewritten;
    g->r.n_generated -= g->n_resumed < g->r.n_generated ? g->n_resumed : g->r.n_generated;
    g->n_rewritten = g->n_resumed = 0;
    const double total = inki_os_now_ms() - g->start_ms;
    if (!g->prefilled) g->r.prefill_ms = total;
    g->r.decode_ms = g->r.first_token_ms > 0 ? total - g->r.first_token_ms : 0;
    return g->failed ? g->status : INK_OK;
}

void inki_run_end(inki_run *g) {
    if (g->s == NULL) return;
    const inki_mem mem = g->s->mem;
    ink_sampler_free(g->own_sampler);
    inki_text_stream_free(&g->stream);
    inki_tell_end(g);
    inki_follow_end(g);
    inki_release(&mem, g->timeline, g->timeline_cap, sizeof *g->timeline);
    inki_release(&mem, g->heal, g->heal_cap, 1);
    inki_release(&mem, g->allowed, g->allowed_words, sizeof *g->allowed);
    inki_release(&mem, g->bans, g->bans_cap, sizeof *g->bans);
    inki_release(&mem, g->banned, g->banned_cap, sizeof *g->banned);
    *g = (inki_run){0};
}

// --- the calls -----------------------------------------------------------------------------------

static ink_status run_to_its_end(inki_run *g, const char *text, size_t bytes,
                                 const ink_generate_options *o, double start_ms, ink_error *error) {
    ink_session *s = g->s;
    ink_status status = INK_OK;
    if (o->sampler == NULL) {
        status = ink_sampler_new(&g->own_sampler, s->model, NULL, NULL, error);
        if (status != INK_OK) return status;
    }
    const ink_sampler *sampler = o->sampler != NULL ? o->sampler : g->own_sampler;
    status = inki_run_begin(g, s, o, sampler->chain, start_ms, error);
    if (status == INK_OK) status = inki_prompt_read(g, text, bytes);
    if (status != INK_OK) return status;
    ink_span span;
    while (inki_run_next(g, &span)) {
        const uint32_t n = (uint32_t)span.n_tokens;
        inki_run_evaluated(g, inki_eval_entered(&span, 1, error), n);
    }
    return inki_run_finish(g);
}

ink_status inki_generate_entered(ink_session *session, const char *text, size_t bytes,
                                 const ink_generate_options *options, ink_text_fn fn, void *user,
                                 ink_result *result, ink_error *error) {
    if (text == NULL && bytes != 0) return inki_fail(error, INK_E_ARG, "prompt", 0, "is NULL");
    ink_generate_options o;
    ink_generate_options_init(&o, sizeof o);
    ink_status status = inki_options_read(&o, sizeof o, options, "ink_generate_options", error);
    if (status != INK_OK) return status;
    inki_fp fp;
    inki_run g = {.s = session, .fn = fn, .user = user, .fp = &fp};
    inki_fp_ours(&fp);
    // An evaluation that was cancelled, or whose guesses led nowhere, is no failure of the call.
    ink_error own = {.size = error != NULL ? error->size : 0};
    status = run_to_its_end(&g, text != NULL ? text : "", bytes, &o, inki_os_now_ms(), &own);
    if (status == INK_OK && result != NULL) inki_report_write(result, &g.r, sizeof g.r);
    if (status != INK_OK && error != NULL) *error = own;
    inki_run_end(&g);
    inki_fp_hosts(&fp);
    return status;
}

ink_status ink_session_generate(ink_session *session, const char *text, size_t bytes,
                                const ink_generate_options *options, ink_text_fn fn, void *user,
                                ink_result *result, ink_error *error) {
    ink_status status = inki_session_enter(session, error);
    if (status != INK_OK) return status;
    status = inki_generate_entered(session, text, bytes, options, fn, user, result, error);
    inki_session_leave(session);
    return status;
}

const char *ink_stop_name(uint32_t stop) {
    // No table of addresses, which would have to be written when the library is loaded.
    static const char names[][10] = {"end",       "length",   "stop",    "callback",
                                     "cancelled", "deadline", "context", "filter"};
    return stop < sizeof names / sizeof *names ? names[stop] : "unknown";
}
