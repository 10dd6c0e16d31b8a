// SPDX-License-Identifier: MIT
// A prompt in, pieces of text out: evaluate, choose, speak, and again.
#include "engine/generate_run.h"
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

static void choose(inki_run *g) {
    ink_session *s = g->s;
    const inki_constraint constraint = inki_run_constraint(g);
    const bool bound = constraint.n_bans > 0 || constraint.allowed != NULL;
    ink_token token;
    const ink_status status =
        inki_sample_entered(s, g->chain, &constraint, &token, bound ? NULL : g->error);
    if (status == INK_E_NUMERIC && bound) {
        inki_run_stop(g, INK_STOP_FILTER);
        return;
    }
    if (status != INK_OK) {
        inki_run_fail(g, status);
        return;
    }
    if (g->r.first_token_ms == 0) g->r.first_token_ms = inki_os_now_ms() - g->start_ms;
    if (token == inki_tokenizer_end(s->model->tokenizer) && token >= 0) {
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

// The last token's bytes become text, or it is taken back.
static void speak(inki_run *g) {
    const inki_tokenizer *tokenizer = g->s->model->tokenizer;
    inki_str piece = inki_tokenizer_piece(tokenizer, g->last);
    if (inki_tokenizer_is_special(tokenizer, g->last)) piece.bytes = 0;
    if (g->n_timeline == g->n_prompt + 1 && g->n_heal > 0)
        piece = (inki_str){piece.data + g->n_heal, piece.bytes - g->n_heal};
    if (g->n_timeline == g->n_prompt + 1) g->n_rewritten = g->n_heal > 0 && piece.bytes == 0;
    if (g->n_rewritten == 0 || g->n_timeline > g->n_prompt + 1) inki_tell_choice(g, piece.bytes);
    if (g->failed) return;
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

static bool has_all_tokens(const inki_run *g) {
    return g->r.n_generated - g->n_rewritten == g->o.n_tokens;
}

static void take_step(inki_run *g) {
    if (has_all_tokens(g))
        inki_run_stop(g, INK_STOP_LENGTH);
    else if (g->n_timeline == g->s->options.n_ctx && g->o.overflow != INK_OVERFLOW_SLIDE)
        inki_run_stop(g, INK_STOP_CONTEXT);
    else
        inki_run_interrupted(g);
    if (!g->stopped) choose(g);
    if (!g->stopped && !g->failed) {
        // There is room for one more than the context holds.
        g->timeline[g->n_timeline++] = g->last;
        speak(g);
        // A token that ends the text is not part of the past.
        if (g->stopped && g->r.stop != INK_STOP_FILTER) g->n_timeline--;
        if (g->n_timeline > g->s->options.n_ctx) inki_prompt_slide(g);
    } else if (g->stopped && g->r.stop <= INK_STOP_LENGTH) {
        look_back(g);
    }
    // Nobody goes on from what was taken back last.
    if (g->stopped && g->s->n_past > g->n_timeline) inki_rewind_entered(g->s, g->n_timeline);
}

// --- the machine ---------------------------------------------------------------------------------

// Memory that a run had before serves again.
static ink_status run_need(inki_run *g, void **block, size_t *cap, size_t n, size_t elem_bytes) {
    if (n <= *cap) return INK_OK;
    inki_release(&g->s->mem, *block, *cap, elem_bytes);
    *cap = 0;
    *block = inki_alloc(&g->s->mem, n, elem_bytes);
    if (*block == NULL) return inki_fail_nomem(g->error, n * elem_bytes);
    *cap = n;
    return INK_OK;
}

ink_status inki_run_need_timeline(inki_run *g, size_t n) {
    return run_need(g, (void **)&g->timeline, &g->timeline_cap, n, sizeof *g->timeline);
}

ink_status inki_run_need_heal(inki_run *g, size_t n_tail) {
    const size_t n_words = inki_tokenizer_set_words(g->s->model->tokenizer);
    const ink_status status = run_need(g, (void **)&g->heal, &g->heal_cap, n_tail, 1);
    if (status != INK_OK) return status;
    return run_need(g, (void **)&g->allowed, &g->allowed_words, n_words, sizeof *g->allowed);
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
    ink_status status = run_need(g, (void **)&g->bans, &g->bans_cap, n_bans, sizeof *g->bans);
    if (status == INK_OK)
        status = run_need(g, (void **)&g->banned, &g->banned_cap, n_banned, sizeof *g->banned);
    if (status == INK_OK)
        status = inki_text_stream_init(&g->stream, options->stop, options->n_stop, options->filter,
                                       &session->mem, error);
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
    g->r.n_prompt = g->n_timeline;
    inki_tell_prompt_begun(g);
    inki_session_go_to(s, g->timeline, g->n_timeline);
    g->r.n_reused = s->n_past;
    if (s->n_past + 1 == n_past && n_past == g->n_timeline) {
        const ink_status status = inki_kv_own(&s->kv, n_past, g->error);
        if (status != INK_OK) inki_run_fail(g, status);
    }
}

bool inki_run_next(inki_run *g, ink_span *span) {
    ink_session *s = g->s;
    if (!g->begun && !g->failed) begin_prompt(g);
    while (!g->stopped && !g->failed) {
        if (g->lazy && g->prefilled && has_all_tokens(g)) {
            take_step(g);
            continue;
        }
        inki_session_go_to(s, g->timeline, g->n_timeline);
        if (s->n_past < g->n_timeline) {
            const uint32_t left = g->n_timeline - s->n_past, most = s->options.n_batch;
            *span = (ink_span){.session = s,
                               .tokens = g->timeline + s->n_past,
                               .n_tokens = left < most ? left : most};
            if (!g->prefilled) inki_tell_want(g, span);
            return true;
        }
        if (!g->prefilled) g->r.prefill_ms = inki_os_now_ms() - g->start_ms;
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
    } else if (status != INK_OK) {
        inki_run_fail(g, status);
    } else {
        g->r.n_evaluated += n_tokens;
        // A decode step is one token; what comes in batches is a prompt, or a context that slid.
        if (g->prefilled && n_tokens == 1) return;
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

ink_status inki_run_finish(inki_run *g) {
    if (g->begun) give_back(g);
    if (!g->failed && g->prefilled && !g->stream.hold && g->r.stop != INK_STOP_STRING &&
        g->r.stop != INK_STOP_CALLBACK) {
        inki_str ready = {"", 0};
        const ink_status status =
            inki_text_stream_flush(&g->stream, g->r.stop == INK_STOP_END, &ready, g->error);
        if (status == INK_OK)
            inki_tell_text(g, &g->stream, ready);
        else
            inki_run_fail(g, status);
    }
    g->r.n_generated -= g->n_rewritten;
    g->n_rewritten = 0;
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
    status = run_to_its_end(&g, text != NULL ? text : "", bytes, &o, inki_os_now_ms(), error);
    if (status == INK_OK && result != NULL) inki_report_write(result, &g.r, sizeof g.r);
    inki_run_end(&g);
    inki_fp_hosts(&fp);
    return status;
}

ink_status ink_session_embed(ink_session *session, const char *text, size_t bytes, float *out,
                             size_t cap, size_t *n, ink_error *error) {
    if (n == NULL || (out == NULL && cap > 0))
        return inki_fail(error, INK_E_ARG, "ink_session_embed", 0, "n or out is NULL");
    ink_status status = inki_session_enter(session, error);
    if (status != INK_OK) return status;
    const size_t n_embd = session->model->weights.n_embd;
    if (cap < n_embd) {
        *n = n_embd;
        if (out != NULL || cap > 0)
            status = inki_fail(error, INK_E_SPACE, NULL, 0, "room for %zu floats; %zu are needed",
                               cap, n_embd);
    } else {
        ink_generate_options o;
        ink_generate_options_init(&o, sizeof o);
        o.flags = INK_GENERATE_FRESH | INK_GENERATE_EMBED;
        o.n_tokens = 0;
        ink_result r = {.size = sizeof r};
        status = inki_generate_entered(session, text, bytes, &o, NULL, NULL, &r, error);
        if (status == INK_OK && r.embedding == NULL)
            status = inki_fail(error, INK_E_CANCELLED, NULL, 0, "cancelled");
        if (status == INK_OK) {
            memcpy(out, r.embedding, n_embd * sizeof *out);
            *n = n_embd;
        }
    }
    inki_session_leave(session);
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
    static const char *const names[] = {"end",       "length",   "stop",    "callback",
                                        "cancelled", "deadline", "context", "filter"};
    return stop < sizeof names / sizeof *names ? names[stop] : "unknown";
}
