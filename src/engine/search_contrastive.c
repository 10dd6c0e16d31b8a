// SPDX-License-Identifier: MIT
// Contrastive search: of the likeliest tokens the one whose hidden state is least like those of all
// tokens before it.
#include "engine/choices.h"
#include "engine/search.h"

#include <math.h>
#include <string.h>

enum { COSINE_LANES = 4 };

// The order of the sums is fixed; several of them hide how long an addition takes.
static double cosine_dot(const float *a, const float *b, size_t n) {
    double lanes[COSINE_LANES] = {0};
    size_t i = 0;
    for (; i + COSINE_LANES <= n; i += COSINE_LANES)
        for (size_t l = 0; l < COSINE_LANES; l++) lanes[l] += (double)a[i + l] * (double)b[i + l];
    for (; i < n; i++) lanes[0] += (double)a[i] * (double)b[i];
    return (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]);
}

static double largest_cosine(const inki_search *g, uint32_t n, const float *x) {
    const size_t n_embd = g->s->model->weights.n_embd;
    const double norm = sqrt(cosine_dot(x, x, n_embd));
    double best = -1;
    for (uint32_t i = 0; i < n; i++) {
        const double scale = norm * g->norms[i];
        const double c = scale > 0 ? cosine_dot(x, g->hidden + i * n_embd, n_embd) / scale : 0;
        if (c > best) best = c;
    }
    return best;
}

static void set_norms(inki_search *g, uint32_t from, uint32_t to) {
    const size_t n_embd = g->s->model->weights.n_embd;
    for (uint32_t i = from; i < to; i++) {
        const float *x = g->hidden + i * n_embd;
        g->norms[i] = sqrt(cosine_dot(x, x, n_embd));
    }
}

// What the cache held of the prompt has left no hidden states. It is evaluated beside the session,
// which loses nothing if that is cancelled.
static ink_status read_reused(inki_search *g) {
    const uint32_t n = g->r.n_reused, most = g->s->options.n_batch;
    ink_session *way = NULL;
    ink_status status = n > 0 ? inki_search_new_way(g, n, &way) : INK_OK;
    for (uint32_t at = 0; at < n && status == INK_OK; at += most)
        status = inki_search_read(g, &(ink_span){.session = way,
                                                 .tokens = g->timeline + at,
                                                 .n_tokens = n - at < most ? n - at : most});
    inki_search_free_way(way);
    if (status == INK_OK) set_norms(g, 0, g->n_prompt);
    return status;
}

// The top_k likeliest tokens behind the past, the best first, with their log-probabilities.
static uint32_t find_candidates(const inki_search *g, ink_logprob *list) {
    const ink_model *model = g->s->model;
    const uint32_t n_vocab = model->weights.n_vocab;
    const int32_t end = inki_tokenizer_end(model->tokenizer);
    uint32_t n = 0;
    inki_choices_top(list, g->o.top_k + 1, g->s->row, n_vocab);
    for (uint32_t i = 0; n < g->o.top_k; i++)
        if (list[i].token != end || (g->o.flags & INK_GENERATE_NO_END) == 0) list[n++] = list[i];
    return n;
}

// Evaluates the candidates, each in a branch. *best: the one to take.
static ink_status weigh(inki_search *g, const ink_logprob *list, uint32_t n, double total,
                        uint32_t *best) {
    ink_session *s = g->s;
    const double alpha = (double)g->o.alpha;
    double most = 0;
    for (uint32_t i = 0; i < n; i++) {
        const ink_status status =
            inki_session_rebranch(g->ways[i], s, s->n_past, s->n_past, g->error);
        if (status != INK_OK) return status;
        g->spans[i] = (ink_span){.session = g->ways[i], .tokens = &list[i].token, .n_tokens = 1};
    }
    const ink_status status = inki_search_pass(g, n);
    if (status != INK_OK) return status;
    for (uint32_t i = 0; i < n; i++) {
        const double p = exp((double)list[i].logprob - total);
        const double alike = largest_cosine(g, s->n_past, g->ways[i]->hidden);
        const double score = (1 - alpha) * p - alpha * alike;
        const bool first = i == 0 || score > most;
        if (!first && !(score == most && list[i].token < list[*best].token)) continue;
        most = score;
        *best = i;
    }
    return INK_OK;
}

// The session goes on as the branch did, with the logits behind it.
static ink_status take_branch(inki_search *g, uint32_t index, ink_token token) {
    ink_session *s = g->s;
    const ink_session *way = g->ways[index];
    const size_t n_embd = s->model->weights.n_embd, n_vocab = s->model->weights.n_vocab;
    const uint32_t n = s->n_past + 1;
    g->timeline[n - 1] = token;
    const ink_status status = inki_kv_prepare(&s->kv, n - 1, n, g->error);
    if (status != INK_OK) return status;
    inki_session_adopt(s, way, g->timeline, n);
    memcpy(g->hidden + (n - 1) * n_embd, way->hidden, n_embd * sizeof *g->hidden);
    set_norms(g, n - 1, n);
    memcpy(s->logits, way->row, n_vocab * sizeof *s->logits);
    s->row = s->logits;
    s->n_rows = 1;
    s->n_past = n;
    return INK_OK;
}

// One token. *stop: INK_STOP_* where the text ends; -1: it goes on.
static ink_status contrast_step(inki_search *g, double *logprob, int *stop) {
    ink_session *s = g->s;
    ink_logprob list[INKI_SEARCH_MAX + 1];
    const ink_token *tokens = g->timeline + g->n_prompt;
    const double total = inki_choices_total(s->row, s->model->weights.n_vocab);
    const uint32_t n = find_candidates(g, list), n_before = s->n_past - g->n_prompt;
    uint32_t best = 0;
    ink_status status = weigh(g, list, n, total, &best);
    if (status != INK_OK) return status;
    const ink_token token = list[best].token;
    *logprob += (double)list[best].logprob - total;
    if (token == inki_tokenizer_end(s->model->tokenizer)) {
        *stop = INK_STOP_END;
        return INK_OK;
    }
    bool ends;
    status = inki_search_ends(g, tokens, n_before, token, &ends);
    if (status == INK_OK && !ends) status = take_branch(g, best, token);
    if (status == INK_OK) status = inki_search_tell(g, token);
    if (ends) *stop = INK_STOP_STRING;
    return status;
}

ink_status inki_search_contrastive(inki_search *g) {
    double logprob = 0;
    int stop = -1;
    ink_status status = g->n_most > 0 ? read_reused(g) : INK_OK;
    while (stop < 0 && status == INK_OK) {
        if (g->n_told == g->o.n_tokens)
            stop = INK_STOP_LENGTH;
        else if (g->n_told == g->n_most)
            stop = INK_STOP_CONTEXT;
        else if (g->called_off || inki_session_was_interrupted(g->s))
            stop = INK_STOP_CANCELLED;
        else
            status = contrast_step(g, &logprob, &stop);
    }
    if (status == INK_E_CANCELLED) {
        stop = INK_STOP_CANCELLED;
        status = INK_OK;
    }
    if (status == INK_OK)
        inki_search_keep(g, logprob, logprob, (uint32_t)stop, g->timeline + g->n_prompt, g->n_told,
                         -1);
    return status;
}
