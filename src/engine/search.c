// SPDX-License-Identifier: MIT
#include "engine/search.h"

#include "engine/generate_run.h"
#include "engine/prefix_cache.h"

#include <math.h>
#include <string.h>

void ink_search_options_init(ink_search_options *options, size_t size) {
    const ink_search_options defaults = {
        .n_tokens = 128, .n_beams = 4, .length_penalty = 1, .top_k = 4, .alpha = 0.6F};
    inki_options_fill(options, size, &defaults, sizeof defaults);
}

static ink_status check_search(const ink_search_options *o, ink_error *error) {
    const uint32_t known =
        INK_GENERATE_FRESH | INK_GENERATE_SPECIAL | INK_GENERATE_STRICT | INK_GENERATE_NO_END;
    ink_status status = inki_flags_check(o->flags, known, "ink_search_options", error);
    if (status == INK_OK) status = inki_stops_check(o->stop, o->n_stop, "stop", error);
    if (status != INK_OK) return status;
    const char *name = NULL, *range = "goes from 1 to 64";
    if (o->n_beams - 1 >= INKI_SEARCH_MAX) name = "n_beams";
    if (o->top_k - 2 >= INKI_SEARCH_MAX - 1) name = "top_k", range = "goes from 2 to 64";
    if (name != NULL) return inki_fail(error, INK_E_LIMIT, name, 0, "%s", range);
    if (o->method > INK_SEARCH_CONTRASTIVE) name = "method", range = "is unknown";
    if (!(fabsf(o->length_penalty) <= 100))
        name = "length_penalty", range = "goes from -100 to 100";
    if (!(o->alpha >= 0 && o->alpha <= 1)) name = "alpha", range = "goes from 0 to 1";
    if (name != NULL) return inki_fail(error, INK_E_ARG, name, 0, "%s", range);
    return INK_OK;
}

// --- memory --------------------------------------------------------------------------------------

static void carve_search(inki_search *g, inki_arena *arena) {
    const size_t n_embd = g->o.method == INK_SEARCH_CONTRASTIVE ? g->s->model->weights.n_embd : 0;
    const size_t n = (size_t)g->n_prompt + g->n_most;
    g->ways = inki_arena_take(arena, g->n_ways, sizeof *g->ways);
    g->spans = inki_arena_take(arena, g->n_ways, sizeof *g->spans);
    g->found = inki_arena_take(arena, g->n_kept, sizeof *g->found);
    g->kept = inki_arena_take(arena, g->n_kept, g->n_most * sizeof *g->kept);
    g->timeline = inki_arena_take(arena, n, sizeof *g->timeline);
    g->hidden = inki_arena_take(arena, n, n_embd * sizeof *g->hidden);
    g->norms = inki_arena_take(arena, n_embd > 0 ? n : 0, sizeof *g->norms);
    g->ahead = inki_arena_take(arena, g->n_ways, n_embd * sizeof *g->ahead);
}

static bool caller_interrupts(const void *s) { return inki_session_was_interrupted(s); }

ink_status inki_search_new_way(inki_search *g, uint32_t n_new, ink_session **out) {
    ink_session *s = g->s, *way = NULL;
    const ink_status status = inki_session_new_branch(&way, s, n_new, g->error);
    if (status != INK_OK) return status;
    way->n_threads = s->n_threads;
    way->interrupted = caller_interrupts;
    way->interrupted_arg = s;
    *out = way;
    return INK_OK;
}

void inki_search_free_way(ink_session *way) {
    if (way == NULL) return;
    way->hidden = NULL;
    ink_session_free(way);
}

static void free_ways(inki_search *g) {
    for (uint32_t i = 0; i < g->n_ways && g->block != NULL; i++) {
        inki_search_free_way(g->ways[i]);
        g->ways[i] = NULL;
    }
}

// All that the steps need, once it is known what stands before them.
static ink_status make_room(inki_search *g, uint32_t n_prompt) {
    ink_session *s = g->s;
    const bool beam = g->o.method == INK_SEARCH_BEAM;
    const uint32_t left = s->options.n_ctx - n_prompt;
    g->n_prompt = n_prompt;
    g->n_most = g->o.n_tokens < left ? g->o.n_tokens : left;
    g->n_kept = beam ? g->o.n_beams : 1;
    g->n_ways = g->n_most == 0 ? 0 : beam ? g->o.n_beams : g->o.top_k;
    inki_arena arena = {0};
    carve_search(g, &arena);
    g->block_bytes = arena.overflow ? SIZE_MAX : arena.used;
    g->block = inki_alloc_zero(&s->mem, g->block_bytes, 1);
    if (g->block == NULL) return inki_fail_nomem(g->error, g->block_bytes);
    arena = (inki_arena){.base = g->block};
    carve_search(g, &arena);
    for (uint32_t i = 0; i < g->n_kept; i++) g->found[i].tokens = g->kept + (size_t)i * g->n_most;
    ink_status status = inki_session_need_work(s, g->error);
    for (uint32_t i = 0; i < g->n_ways && status == INK_OK; i++)
        status = inki_search_new_way(g, beam ? g->n_most : 1, &g->ways[i]);
    for (uint32_t i = 0; i < g->n_ways && status == INK_OK && !beam; i++) {
        g->ways[i]->pools = true;
        g->ways[i]->hidden = g->ahead + (size_t)i * s->model->weights.n_embd;
    }
    return status;
}

// --- evaluation ----------------------------------------------------------------------------------

static ink_status search_eval(inki_search *g, const ink_span *spans, uint32_t n) {
    ink_error error = {.size = sizeof error};
    const ink_status status = inki_eval_entered(spans, n, &error);
    for (uint32_t i = 0; i < n && status == INK_OK; i++)
        g->r.n_evaluated += (uint32_t)spans[i].n_tokens;
    if (status == INK_OK || status == INK_E_CANCELLED) return status;
    return inki_fail(g->error, status, NULL, error.offset, "%s", error.message);
}

ink_status inki_search_pass(inki_search *g, uint32_t n) { return search_eval(g, g->spans, n); }

ink_status inki_search_read(inki_search *g, const ink_span *span) {
    ink_session *s = span->session;
    float *const own = s->hidden;
    s->pools = g->o.method == INK_SEARCH_CONTRASTIVE;
    if (s->pools) s->hidden = g->hidden + (size_t)s->n_past * s->model->weights.n_embd;
    const ink_status status = search_eval(g, span, 1);
    s->pools = false;
    s->hidden = own;
    return status;
}

static ink_status search_prompt(inki_search *g, inki_run *run, const char *text, size_t bytes) {
    ink_session *s = g->s;
    ink_generate_options o;
    ink_generate_options_init(&o, sizeof o);
    o.flags = g->o.flags;
    o.n_tokens = 0;
    ink_status status = ink_sampler_new(&run->own_sampler, s->model, "greedy", NULL, g->error);
    if (status == INK_OK)
        status = inki_run_begin(run, s, &o, run->own_sampler->chain, g->start_ms, g->error);
    if (status == INK_OK) status = inki_prompt_read(run, text, bytes);
    if (status == INK_OK) status = make_room(g, run->n_timeline);
    if (status != INK_OK) return status;
    memcpy(g->timeline, run->timeline, g->n_prompt * sizeof *g->timeline);
    ink_span span;
    while (inki_run_next(run, &span))
        inki_run_evaluated(run, inki_search_read(g, &span), (uint32_t)span.n_tokens);
    return inki_run_finish(run);
}

// --- text ----------------------------------------------------------------------------------------

static inki_str text_piece(const inki_search *g, ink_token token) {
    const inki_tokenizer *tokenizer = g->s->model->tokenizer;
    return inki_tokenizer_is_special(tokenizer, token) ? (inki_str){"", 0}
                                                       : inki_tokenizer_piece(tokenizer, token);
}

// Whole texts go through the stream that a generation's pieces go through, so that stop strings and
// broken characters come out the same.
static ink_status judge_text(inki_search *g, const ink_token *tokens, uint32_t n, ink_token more,
                             bool *ends) {
    inki_text_stream *ts = &g->judge;
    inki_text_event event = {.stopped = false};
    ink_status status =
        inki_text_stream_init(ts, g->o.stop, g->o.n_stop, NULL, &g->s->mem, g->error);
    ts->hold = true;
    for (uint32_t i = 0; i < n + (more >= 0) && status == INK_OK && !event.stopped; i++)
        status =
            inki_text_stream_push(ts, text_piece(g, i < n ? tokens[i] : more), &event, g->error);
    *ends = event.stopped;
    return status;
}

ink_status inki_search_ends(inki_search *g, const ink_token *tokens, uint32_t n, ink_token more,
                            bool *ends) {
    *ends = false;
    return g->o.n_stop > 0 ? judge_text(g, tokens, n, more, ends) : INK_OK;
}

static void give_piece(inki_search *g, inki_str ready) {
    if (ready.bytes == 0) return;
    const ink_piece piece = {.size = sizeof piece,
                             .token = g->timeline[g->n_prompt + g->n_told - 1],
                             .text = ready.data,
                             .bytes = ready.bytes,
                             .logprob = NAN,
                             .n_tokens = g->n_told};
    inki_fp_hosts(&g->fp);
    g->called_off = g->fn(g->user, &piece) != 0;
    inki_fp_ours(&g->fp);
    g->silent |= g->called_off;
}

ink_status inki_search_tell(inki_search *g, ink_token token) {
    g->timeline[g->n_prompt + g->n_told++] = token;
    if (g->r.first_token_ms == 0) g->r.first_token_ms = inki_os_now_ms() - g->start_ms;
    if (g->fn == NULL || g->silent) return INK_OK;
    inki_text_event event = {.stopped = false};
    const ink_status status =
        inki_text_stream_push(&g->stream, text_piece(g, token), &event, g->error);
    if (status == INK_OK) give_piece(g, event.ready);
    g->silent |= event.stopped;
    return status;
}

// All of the best text that was not certain before.
static ink_status tell_rest(inki_search *g) {
    const inki_hypothesis *best = &g->found[0];
    ink_status status = INK_OK;
    while (g->n_told < best->n && status == INK_OK)
        status = inki_search_tell(g, best->tokens[g->n_told]);
    if (status != INK_OK || g->fn == NULL || g->silent) return status;
    inki_str ready = {"", 0};
    status = inki_text_stream_flush(&g->stream, best->stop == INK_STOP_END, &ready, g->error);
    if (status == INK_OK) give_piece(g, ready);
    return status;
}

static ink_status tell_found(inki_search *g, uint32_t index) {
    const inki_hypothesis *h = &g->found[index];
    inki_str text = {"", 0};
    bool ends;
    ink_status status = judge_text(g, h->tokens, h->n, -1, &ends);
    if (status == INK_OK)
        status = inki_text_stream_flush(&g->judge, h->stop == INK_STOP_END, &text, g->error);
    if (status != INK_OK) return status;
    const ink_found found = {.size = sizeof found,
                             .stop = h->stop,
                             .text = text.data,
                             .bytes = text.bytes,
                             .tokens = h->tokens,
                             .n_tokens = h->n,
                             .logprob = h->logprob,
                             .score = h->score};
    inki_fp_hosts(&g->fp);
    g->o.on_found(g->o.user, index, &found);
    inki_fp_ours(&g->fp);
    return INK_OK;
}

// --- what is found -------------------------------------------------------------------------------

double inki_search_score(const inki_search *g, double logprob, uint32_t count) {
    if (count == 0 || g->o.method == INK_SEARCH_CONTRASTIVE) return logprob;
    return logprob / pow(count, (double)g->o.length_penalty);
}

void inki_search_keep(inki_search *g, double logprob, double score, uint32_t stop,
                      const ink_token *tokens, uint32_t n, ink_token more) {
    uint32_t at = g->n_found;
    if (at == g->n_kept && !(score > g->found[at - 1].score)) return;
    if (at == g->n_kept)
        at--;
    else
        g->n_found++;
    ink_token *room = g->found[at].tokens;
    for (; at > 0 && score > g->found[at - 1].score; at--) g->found[at] = g->found[at - 1];
    if (n > 0) memcpy(room, tokens, n * sizeof *room);
    if (more >= 0) room[n++] = more;
    g->found[at] = (inki_hypothesis){logprob, score, room, n, stop};
}

// The past becomes the best text, without a token that a stop string ended in. What the branches
// hold of it needs no evaluation.
static ink_status search_settle(inki_search *g) {
    ink_session *s = g->s;
    const inki_hypothesis *best = &g->found[0];
    const uint32_t n = g->n_prompt + best->n - (best->stop == INK_STOP_STRING);
    memcpy(g->timeline + g->n_prompt, best->tokens, best->n * sizeof *g->timeline);
    ink_status status = inki_kv_prepare(&s->kv, s->n_cached, n, g->error);
    for (uint32_t i = 0; i < g->n_ways && status == INK_OK; i++)
        inki_session_adopt(s, g->ways[i], g->timeline, n);
    free_ways(g); // what they share would be copied
    if (status != INK_OK) return status;
    inki_session_go_to(s, g->timeline, n);
    while (s->n_past < n && status == INK_OK) {
        const uint32_t left = n - s->n_past, most = s->options.n_batch;
        const ink_span span = {
            .session = s, .tokens = g->timeline + s->n_past, .n_tokens = left < most ? left : most};
        status = search_eval(g, &span, 1);
    }
    if (status != INK_OK && s->n_past < n && s->n_cached >= n) s->n_past = n;
    return status;
}

static ink_status search_on(inki_search *g) {
    ink_session *s = g->s;
    inki_rewind_entered(s, g->n_prompt);
    ink_status status =
        g->o.method == INK_SEARCH_BEAM ? inki_search_beam(g) : inki_search_contrastive(g);
    if (status == INK_OK) {
        g->r.stop = g->found[0].stop;
        g->r.n_generated = g->found[0].n;
        status = search_settle(g);
        if (status == INK_E_CANCELLED) {
            g->r.stop = INK_STOP_CANCELLED;
            status = INK_OK;
        }
    }
    if (status != INK_OK) {
        if (g->o.method == INK_SEARCH_BEAM && s->n_past > g->n_prompt)
            inki_rewind_entered(s, g->n_prompt);
        return status;
    }
    inki_prefix_insert(s);
    status = tell_rest(g);
    if (g->called_off) g->r.stop = INK_STOP_CALLBACK;
    for (uint32_t i = 0; i < g->n_found && status == INK_OK && g->o.on_found != NULL; i++)
        status = tell_found(g, i);
    const double total = inki_os_now_ms() - g->start_ms;
    g->r.decode_ms = g->r.first_token_ms > 0 ? total - g->r.first_token_ms : 0;
    return status;
}

static ink_status search_entered(inki_search *g, const char *text, size_t bytes) {
    inki_run run = {.s = g->s, .fp = &g->fp};
    g->start_ms = inki_os_now_ms();
    ink_status status = check_search(&g->o, g->error);
    if (status == INK_OK)
        status =
            inki_text_stream_init(&g->stream, g->o.stop, g->o.n_stop, NULL, &g->s->mem, g->error);
    if (status == INK_OK) status = search_prompt(g, &run, text, bytes);
    const bool is_read = run.prefilled;
    g->r = run.r;
    g->r.seed = 0;
    inki_run_end(&run);
    if (status == INK_OK && is_read) status = search_on(g);
    free_ways(g);
    inki_release(&g->s->mem, g->block, g->block_bytes, 1);
    inki_text_stream_free(&g->stream);
    inki_text_stream_free(&g->judge);
    return status;
}

ink_status ink_session_search(ink_session *session, const char *text, size_t bytes,
                              const ink_search_options *options, ink_text_fn fn, void *user,
                              ink_result *result, ink_error *error) {
    if (text == NULL && bytes != 0) return inki_fail(error, INK_E_ARG, "prompt", 0, "is NULL");
    inki_search g = {.s = session, .fn = fn, .user = user, .error = error};
    ink_search_options_init(&g.o, sizeof g.o);
    ink_status status = inki_session_enter(session, error);
    if (status != INK_OK) return status;
    inki_fp_ours(&g.fp);
    status = inki_options_read(&g.o, sizeof g.o, options, "ink_search_options", error);
    if (status == INK_OK) status = search_entered(&g, text != NULL ? text : "", bytes);
    if (status == INK_OK && result != NULL) inki_report_write(result, &g.r, sizeof g.r);
    inki_fp_hosts(&g.fp);
    inki_session_leave(session);
    return status;
}
