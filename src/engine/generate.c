// SPDX-License-Identifier: MIT
// A prompt in, pieces of text out: evaluate, choose, deliver, and again.
#include "engine/generate_run.h"

#include <math.h>

// The callback runs with the host's floating-point state. False: it asked to stop.
static bool deliver(inki_run *g, inki_str text) {
    if (text.bytes == 0 || g->fn == NULL) return true;
    const ink_piece piece = {.size = sizeof piece,
                             .token = g->last,
                             .text = text.data,
                             .bytes = text.bytes,
                             .logprob = g->logprob,
                             .n_tokens = g->r.n_generated};
    inki_fp_hosts(g->fp);
    const int stop = g->fn(g->user, &piece);
    inki_fp_ours(g->fp);
    return stop == 0;
}

// log softmax(logits)[token], of the model itself: before any sampler changed them.
static float logprob_of(const float *logits, size_t n, ink_token token) {
    float max = logits[0];
    for (size_t i = 1; i < n; i++) max = logits[i] > max ? logits[i] : max;
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += exp((double)logits[i] - max);
    return (float)((double)logits[token] - max - log(sum));
}

static ink_status choose(inki_run *g) {
    ink_session *s = g->s;
    const int32_t end = inki_tokenizer_end(s->model->tokenizer);
    const int32_t banned = g->o.flags & INK_GENERATE_NO_END ? end : -1;
    ink_token token;
    const ink_status status = inki_sample_entered(s, g->chain, banned, &token, g->error);
    if (status != INK_OK) return status;
    if (g->r.n_generated == 0) g->r.first_token_ms = inki_os_now_ms() - g->start_ms;
    if (token == end && end >= 0) {
        // Text that is still held back came from the token before.
        inki_run_stop(g, INK_STOP_END);
        return INK_OK;
    }
    g->last = token;
    g->r.n_generated++;
    if (g->o.flags & INK_GENERATE_LOGPROBS) {
        size_t n = 0;
        const float *logits = ink_session_logits(s, s->n_rows - 1, &n);
        g->logprob = logprob_of(logits, n, g->last);
    }
    return INK_OK;
}

static ink_status speak(inki_run *g) {
    const inki_tokenizer *tokenizer = g->s->model->tokenizer;
    inki_str piece = inki_tokenizer_piece(tokenizer, g->last), ready;
    if (inki_tokenizer_is_special(tokenizer, g->last)) piece.bytes = 0;
    bool string_met = false;
    const ink_status status =
        inki_text_stream_push(&g->stream, piece, &ready, &string_met, g->error);
    if (status != INK_OK) return status;
    const bool go_on = deliver(g, ready);
    if (string_met)
        inki_run_stop(g, INK_STOP_STRING);
    else if (!go_on)
        inki_run_stop(g, INK_STOP_CALLBACK);
    return INK_OK;
}

static ink_status append(inki_run *g) {
    ink_session *s = g->s;
    if (s->n_past == s->options.n_ctx) return inki_prompt_slide(g, g->last);
    const ink_span span = {.session = s, .tokens = &g->last, .n_tokens = 1};
    const ink_status status = inki_eval_entered(&span, 1, g->error);
    if (status != INK_E_CANCELLED) return status;
    inki_run_stop(g, INK_STOP_CANCELLED);
    return INK_OK;
}

static ink_status continue_text(inki_run *g) {
    const bool slides = g->o.overflow == INK_OVERFLOW_SLIDE;
    ink_status status = INK_OK;
    while (!g->stopped && status == INK_OK) {
        if (g->r.n_generated == g->o.n_tokens)
            inki_run_stop(g, INK_STOP_LENGTH);
        else if (g->s->n_past == g->s->options.n_ctx && !slides)
            inki_run_stop(g, INK_STOP_CONTEXT);
        else
            inki_run_interrupted(g);
        if (g->stopped) break;
        status = choose(g);
        if (status == INK_OK && !g->stopped) status = speak(g);
        if (status == INK_OK && !g->stopped) status = append(g);
    }
    inki_str ready = {"", 0};
    const bool over =
        g->stopped && (g->r.stop == INK_STOP_STRING || g->r.stop == INK_STOP_CALLBACK);
    if (status == INK_OK && !over) status = inki_text_stream_flush(&g->stream, &ready, g->error);
    if (status == INK_OK) deliver(g, ready);
    return status;
}

// The prompt was not read to its end: the past is what it was. Where its last token was to be
// evaluated again, the cache holds that token's keys and values still, or the same ones again.
static void give_back(ink_session *s, uint32_t n_past) {
    if (s->n_past > n_past) inki_rewind_entered(s, n_past);
    s->n_past = n_past;
}

static ink_status check_sampler(inki_run *g) {
    const uint32_t n_vocab = g->s->model->weights.n_vocab, n = inki_chain_n_vocab(g->chain);
    if (n == n_vocab) return INK_OK;
    return inki_fail(g->error, INK_E_ARG, "sampler", 0, "is for %u tokens; the model has %u",
                     (unsigned)n, (unsigned)n_vocab);
}

static ink_status generate(inki_run *g, const char *text, size_t bytes) {
    ink_session *s = g->s;
    ink_status status = INK_OK;
    if (g->o.sampler == NULL) {
        status = ink_sampler_new(&g->own_sampler, s->model, NULL, NULL, g->error);
        if (status != INK_OK) return status;
        g->o.sampler = g->own_sampler;
    }
    g->chain = g->o.sampler->chain;
    g->r.seed = inki_chain_seed(g->chain);
    status = check_sampler(g);
    if (status == INK_OK)
        status = inki_text_stream_init(&g->stream, g->o.stop, g->o.n_stop, &s->mem, g->error);
    if (status == INK_OK) status = inki_prompt_read(g, text, bytes);
    if (status != INK_OK) return status;

    const bool fresh = (g->o.flags & INK_GENERATE_FRESH) != 0;
    const uint32_t n_past = s->n_past;
    if (fresh) s->n_forgotten = 0;
    s->n_forgotten += g->r.n_dropped;
    g->r.n_prompt = g->n_timeline;
    status = inki_prompt_evaluate(g);
    g->r.prefill_ms = inki_os_now_ms() - g->start_ms;
    // In a fresh timeline, and where the past had to be cut, its beginning may serve the next call.
    if ((status != INK_OK || g->stopped) && !fresh && g->r.n_dropped == 0) give_back(s, n_past);
    if (status == INK_OK) status = continue_text(g);
    const double total = inki_os_now_ms() - g->start_ms;
    g->r.decode_ms =
        g->r.n_generated > 0 || g->r.first_token_ms > 0 ? total - g->r.first_token_ms : 0;
    return status;
}

ink_status inki_generate_entered(ink_session *session, const char *text, size_t bytes,
                                 const ink_generate_options *options, ink_text_fn fn, void *user,
                                 ink_result *result, ink_error *error) {
    if (text == NULL && bytes != 0) return inki_fail(error, INK_E_ARG, "prompt", 0, "is NULL");
    inki_fp fp;
    inki_run g = {.s = session, .fn = fn, .user = user, .error = error, .fp = &fp, .logprob = NAN};
    ink_generate_options_init(&g.o, sizeof g.o);
    ink_status status = inki_options_read(&g.o, sizeof g.o, options, "ink_generate_options", error);
    if (status != INK_OK) return status;
    inki_fp_ours(&fp);
    g.start_ms = inki_os_now_ms();
    status = generate(&g, text != NULL ? text : "", bytes);
    ink_sampler_free(g.own_sampler);
    inki_text_stream_free(&g.stream);
    inki_release(&session->mem, g.timeline, g.timeline_cap, sizeof *g.timeline);
    inki_fp_hosts(&fp);
    if (status == INK_OK && result != NULL) inki_report_write(result, &g.r, sizeof g.r);
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
    static const char *const names[] = {"end",       "length",   "stop",   "callback",
                                        "cancelled", "deadline", "context"};
    return stop < sizeof names / sizeof *names ? names[stop] : "unknown";
}
