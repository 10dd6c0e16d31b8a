// SPDX-License-Identifier: MIT
// What tests of beam search share: what a search says, and a slow search that evaluates every text
// from its beginning in a session of its own.
#ifndef TESTS_SLOW_BEAM_H
#define TESTS_SLOW_BEAM_H

#include "engine/engine.h"
#include "opened.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <math.h>

enum { MAX_NEW = 96, MAX_BEAMS = 64, MAX_PROMPT = 256 };

// --- what a search says --------------------------------------------------------------------------

typedef struct text_found {
    ink_token tokens[MAX_NEW];
    uint32_t n, stop;
    double logprob, score;
    char text[2048];
    size_t bytes;
} text_found;

typedef struct searched {
    text_found found[MAX_BEAMS];
    uint32_t n_found;
    collected said;
    ink_session *cancel; // cancelled at the first piece
    uint32_t last_n_tokens;
    ink_result result;
} searched;

static inline void on_found(void *user, uint32_t index, const ink_found *f) {
    searched *x = user;
    assert_int_equal(index, x->n_found);
    assert_int_equal(f->size, sizeof *f);
    assert_true(f->n_tokens <= MAX_NEW && f->bytes < sizeof x->found[0].text);
    assert_int_equal(f->text[f->bytes], 0);
    text_found *t = &x->found[x->n_found++];
    *t = (text_found){.n = f->n_tokens,
                      .stop = f->stop,
                      .logprob = f->logprob,
                      .score = f->score,
                      .bytes = f->bytes};
    memcpy(t->tokens, f->tokens, f->n_tokens * sizeof *t->tokens);
    memcpy(t->text, f->text, f->bytes);
}

static inline int on_text(void *user, const ink_piece *piece) {
    searched *x = user;
    assert_true(isnan(piece->logprob));
    assert_int_equal(piece->n_choices, 0);
    assert_true(piece->n_tokens >= x->last_n_tokens);
    x->last_n_tokens = piece->n_tokens;
    if (x->cancel != NULL) ink_session_cancel(x->cancel);
    return collect(&x->said, piece);
}

static inline ink_search_options beams(uint32_t n_beams, uint32_t n_tokens, float penalty) {
    ink_search_options o;
    ink_search_options_init(&o, sizeof o);
    o.n_beams = n_beams;
    o.n_tokens = n_tokens;
    o.length_penalty = penalty;
    return o;
}

static inline ink_status search(ink_session *s, const char *text, ink_search_options o, searched *x,
                                ink_error *error) {
    const size_t stop_after = x->said.stop_after;
    ink_session *cancel = x->cancel;
    *x = (searched){.cancel = cancel};
    x->said.stop_after = stop_after;
    o.on_found = on_found;
    o.user = x;
    return ink_session_search(s, text, strlen(text), &o, on_text, x, &x->result, error);
}

static inline void finds(ink_session *s, const char *text, ink_search_options o, searched *x) {
    ink_error error = {0};
    if (search(s, text, o, x, &error) != INK_OK) fail_msg("%s", error.message);
    assert_int_equal(error.status, INK_OK);
    assert_true(x->n_found > 0);
    // The pieces together are the best text.
    assert_int_equal(x->said.bytes, x->found[0].bytes);
    assert_memory_equal(x->said.text, x->found[0].text, x->said.bytes);
    assert_int_equal(x->result.stop, x->found[0].stop);
    assert_int_equal(x->result.n_generated, x->found[0].n);
    for (uint32_t i = 1; i < x->n_found; i++)
        assert_true(x->found[i].score <= x->found[i - 1].score);
}

// --- the slow one --------------------------------------------------------------------------------

typedef struct slow_text {
    ink_token tokens[MAX_NEW];
    uint32_t n, stop;
    double logprob, score;
} slow_text;

typedef struct slow_model {
    ink_model *model;
    ink_token prompt[MAX_PROMPT];
    size_t n_prompt, n_vocab;
    ink_token end;
    uint32_t n_ctx, kv_type;
} slow_model;

static inline slow_model slow_of(ink_session *s, const char *text) {
    slow_model m = {.model = s->model, .n_ctx = s->options.n_ctx, .kv_type = s->options.kv_type};
    ink_model_info info = {.size = sizeof info};
    ink_model_get_info(s->model, &info);
    m.end = info.end_token;
    m.n_vocab = info.n_vocab;
    memcpy(m.prompt, s->tokens, s->n_past * sizeof *m.prompt);
    size_t n = 0;
    assert_int_equal(ink_tokenize(s->model, text, strlen(text), 0, m.prompt + s->n_past,
                                  MAX_PROMPT - s->n_past, &n, NULL),
                     INK_OK);
    m.n_prompt = s->n_past + n;
    return m;
}

static uint32_t n_slow_evaluated; // texts that the slow one read

// log-softmax behind prompt and tokens, from the beginning.
static inline void slow_logprobs(const slow_model *m, const ink_token *tokens, uint32_t n,
                                 double *out) {
    ink_session *s = NULL;
    ink_session_options o;
    n_slow_evaluated++;
    ink_session_options_init(&o, sizeof o);
    o.n_ctx = m->n_ctx;
    o.kv_type = m->kv_type;
    assert_int_equal(ink_session_new(&s, m->model, &o, NULL), INK_OK);
    opened_eval(s, m->prompt, m->n_prompt, 0);
    if (n > 0) opened_eval(s, tokens, n, 0);
    const float *row = ink_session_logits(s, 0, NULL);
    double max = -INFINITY, sum = 0;
    for (size_t i = 0; i < m->n_vocab; i++) max = (double)row[i] > max ? (double)row[i] : max;
    for (size_t i = 0; i < m->n_vocab; i++) sum += exp((double)row[i] - max);
    for (size_t i = 0; i < m->n_vocab; i++) out[i] = (double)row[i] - max - log(sum);
    ink_session_free(s);
}

static inline double slow_score(double logprob, uint32_t count, double penalty) {
    return count == 0 ? logprob : logprob / pow(count, penalty);
}

static inline int by_logprob(const void *a, const void *b) {
    const double x = ((const slow_text *)a)->logprob, y = ((const slow_text *)b)->logprob;
    return x > y ? -1 : x < y;
}
static inline int by_score(const void *a, const void *b) {
    const double x = ((const slow_text *)a)->score, y = ((const slow_text *)b)->score;
    return x > y ? -1 : x < y;
}

static inline bool holds_stop(const slow_model *m, const slow_text *t,
                              const ink_search_options *o) {
    char text[4096];
    size_t bytes = 0;
    assert_int_equal(ink_detokenize(m->model, t->tokens, t->n, 0, text, sizeof text - 1, &bytes),
                     INK_OK);
    text[bytes] = 0;
    for (size_t i = 0; i < o->n_stop; i++)
        if (strstr(text, o->stop[i]) != NULL) return true;
    return false;
}

// As the search is described: the n_beams most probable continuations of all beams, those that end
// leave. It goes on to the end without the bound, so that it shows whether that was right.
static inline uint32_t slow_beam(const slow_model *m, const ink_search_options *o, slow_text *out) {
    const uint32_t n_beams = o->n_beams;
    const uint32_t room = m->n_ctx - (uint32_t)m->n_prompt;
    const uint32_t most = o->n_tokens < room ? o->n_tokens : room;
    const double penalty = (double)o->length_penalty;
    slow_text *running = calloc(n_beams, sizeof *running), *all = NULL, *done = NULL;
    uint32_t n_running = 1, n_done = 0;
    double *p = malloc(m->n_vocab * sizeof *p);
    for (uint32_t n = 0; n_running > 0 && n < most; n++) {
        all = malloc(n_running * n_beams * sizeof *all);
        size_t n_all = 0;
        for (uint32_t r = 0; r < n_running; r++) {
            slow_logprobs(m, running[r].tokens, n, p);
            if (o->flags & INK_GENERATE_NO_END) p[m->end] = -INFINITY;
            for (uint32_t k = 0; k < n_beams; k++) {
                size_t best = 0;
                for (size_t v = 1; v < m->n_vocab; v++) best = p[v] > p[best] ? v : best;
                slow_text t = running[r];
                t.logprob += p[best];
                t.stop = INK_STOP_LENGTH;
                if ((ink_token)best == m->end)
                    t.stop = INK_STOP_END;
                else
                    t.tokens[t.n++] = (ink_token)best;
                if (t.stop != INK_STOP_END && holds_stop(m, &t, o)) t.stop = INK_STOP_STRING;
                t.score = slow_score(t.logprob, t.n + (t.stop == INK_STOP_END), penalty);
                all[n_all++] = t;
                p[best] = -INFINITY;
            }
        }
        qsort(all, n_all, sizeof *all, by_logprob);
        n_running = 0;
        for (uint32_t k = 0; k < n_beams && k < n_all; k++) {
            if (all[k].stop == INK_STOP_LENGTH) {
                running[n_running++] = all[k];
                continue;
            }
            done = realloc(done, (n_done + 1) * sizeof *done);
            done[n_done++] = all[k];
        }
        free(all);
    }
    for (uint32_t r = 0; r < n_running; r++) {
        running[r].stop = most < o->n_tokens ? INK_STOP_CONTEXT : INK_STOP_LENGTH;
        done = realloc(done, (n_done + 1) * sizeof *done);
        done[n_done++] = running[r];
    }
    qsort(done, n_done, sizeof *done, by_score);
    if (n_done > n_beams) n_done = n_beams;
    memcpy(out, done, n_done * sizeof *done);
    free(done);
    free(running);
    free(p);
    return n_done;
}

// --- both ----------------------------------------------------------------------------------------

// The past is the best text, its logits and its cache are those of a session that evaluated it.
static inline void stands_behind(ink_session *s, const slow_model *m, const text_found *best) {
    const uint32_t n = best->n - (best->stop == INK_STOP_STRING);
    size_t n_past = 0, n_vocab = 0;
    const ink_token *past = ink_session_tokens(s, &n_past);
    assert_int_equal(n_past, m->n_prompt + n);
    assert_memory_equal(past, m->prompt, m->n_prompt * sizeof *past);
    assert_memory_equal(past + m->n_prompt, best->tokens, n * sizeof *past);
    ink_session *fresh = NULL;
    ink_session_options o;
    ink_session_options_init(&o, sizeof o);
    o.n_ctx = m->n_ctx;
    o.kv_type = m->kv_type;
    assert_int_equal(ink_session_new(&fresh, m->model, &o, NULL), INK_OK);
    opened_eval(fresh, past, n_past, 0);
    const float *expected = ink_session_logits(fresh, 0, &n_vocab);
    assert_non_null(ink_session_logits(s, 0, NULL));
    assert_memory_equal(ink_session_logits(s, 0, NULL), expected, n_vocab * sizeof *expected);
    if (n_past + 2 <= m->n_ctx) {
        opened_eval(s, (ink_token[]){7, 8}, 2, 0);
        opened_eval(fresh, (ink_token[]){7, 8}, 2, 0);
        expected = ink_session_logits(fresh, 0, &n_vocab);
        assert_memory_equal(ink_session_logits(s, 0, NULL), expected, n_vocab * sizeof *expected);
    }
    ink_session_free(fresh);
}

static inline ink_session *session_of(ink_model *model, uint32_t n_ctx, uint32_t n_batch,
                                      uint32_t kv_type) {
    ink_session *s = NULL;
    ink_session_options o;
    ink_session_options_init(&o, sizeof o);
    o.n_ctx = n_ctx;
    o.n_batch = n_batch;
    o.kv_type = kv_type;
    assert_int_equal(ink_session_new(&s, model, &o, NULL), INK_OK);
    return s;
}

#endif
