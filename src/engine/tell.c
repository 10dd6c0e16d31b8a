// SPDX-License-Identifier: MIT
#include "engine/tell.h"

#include <math.h>
#include <string.h>

// --- text and choices ----------------------------------------------------------------------------

// The callback runs with the host's floating-point state.
bool inki_tell_text(inki_run *g, const inki_text_stream *from, inki_str text) {
    if (text.bytes == 0 || g->fn == NULL) return true;
    ink_piece piece = {.size = sizeof piece,
                       .token = g->last,
                       .text = text.data,
                       .bytes = text.bytes,
                       .logprob = g->logprob,
                       .n_tokens = g->r.n_generated - g->n_rewritten};
    piece.choices = inki_choices_given(&g->choices, from->n_given, &piece.n_choices);
    if (g->fp != NULL) inki_fp_hosts(g->fp);
    const int stop = g->fn(g->user, &piece);
    if (g->fp != NULL) inki_fp_ours(g->fp);
    inki_choices_told(&g->choices, piece.n_choices);
    return stop == 0;
}

void inki_tell_choice(inki_run *g, size_t bytes, bool knows) {
    g->logprob = NAN;
    if ((g->o.flags & INK_GENERATE_LOGPROBS) == 0 || g->fn == NULL) return;
    const ink_session *s = g->s;
    const ink_status status =
        inki_choices_add(&g->choices, g->last, knows ? s->row : NULL, s->model->weights.n_vocab,
                         bytes, &g->logprob, g->error);
    if (status != INK_OK) inki_run_fail(g, status);
}

// --- room ----------------------------------------------------------------------------------------

ink_status inki_tell_begin(inki_run *g) {
    ink_session *s = g->s;
    ink_status status = INK_OK;
    if ((g->o.flags & INK_GENERATE_LOGPROBS) && g->fn != NULL)
        status = inki_choices_init(&g->choices, g->o.n_top_logprobs, &s->mem, g->error);
    if (status == INK_OK && (g->o.flags & INK_GENERATE_ECHO))
        status = inki_text_stream_init(&g->echo, NULL, 0, NULL, &s->mem, g->error);
    if (status == INK_OK && (g->o.flags & INK_GENERATE_EMBED)) {
        status = inki_session_need_pooling(s, g->error);
        s->pools = status == INK_OK;
    }
    return status;
}

void inki_tell_end(inki_run *g) {
    g->s->pools = false;
    inki_choices_free(&g->choices);
    inki_text_stream_free(&g->echo);
}

// --- the prompt ----------------------------------------------------------------------------------

// Its tokens are told with their log-probabilities, for which a row of logits is needed for each.
static bool judges_prompt(const inki_run *g) {
    const uint32_t both = INK_GENERATE_ECHO | INK_GENERATE_LOGPROBS;
    return (g->o.flags & both) == both;
}

bool inki_tell_wants_all(const inki_run *g) { return judges_prompt(g) || g->s->pools; }

void inki_tell_want(inki_run *g, ink_span *span) {
    const uint32_t n_logits = g->s->options.n_logits;
    if (!judges_prompt(g)) return;
    span->flags |= INK_SPAN_ALL_LOGITS;
    if (span->n_tokens > n_logits) span->n_tokens = n_logits;
}

// logits: those behind the token before it, NULL: not wanted, or there is none.
static void echo_token(inki_run *g, uint32_t at, const float *logits) {
    const ink_model *model = g->s->model;
    const inki_str piece = inki_tokenizer_piece(model->tokenizer, g->timeline[at]);
    ink_status status = INK_OK;
    g->last = g->timeline[at];
    g->logprob = NAN;
    if ((g->o.flags & INK_GENERATE_LOGPROBS) && g->fn != NULL)
        status = inki_choices_add(&g->choices, g->last, logits, model->weights.n_vocab, piece.bytes,
                                  &g->logprob, g->error);
    inki_text_event event = {.ready = {"", 0}};
    if (status == INK_OK) status = inki_text_stream_push(&g->echo, piece, &event, g->error);
    if (status != INK_OK)
        inki_run_fail(g, status);
    else if (!inki_tell_text(g, &g->echo, event.ready))
        inki_run_stop(g, INK_STOP_CALLBACK);
}

static void end_echo(inki_run *g) {
    inki_str ready = {"", 0};
    const ink_status status = inki_text_stream_flush(&g->echo, true, &ready, g->error);
    if (status != INK_OK)
        inki_run_fail(g, status);
    else if (!inki_tell_text(g, &g->echo, ready))
        inki_run_stop(g, INK_STOP_CALLBACK);
    inki_choices_clear(&g->choices);
}

void inki_tell_prompt_begun(inki_run *g) {
    ink_session *s = g->s;
    if (inki_tell_wants_all(g)) inki_rewind_entered(s, 0);
    if (s->pools) memset(s->pooled_sum, 0, s->model->weights.n_embd * sizeof *s->pooled_sum);
    if (judges_prompt(g)) {
        echo_token(g, 0, NULL);
    } else if (g->o.flags & INK_GENERATE_ECHO) {
        for (uint32_t i = 0; i < g->n_timeline && !g->stopped && !g->failed; i++)
            echo_token(g, i, NULL);
        if (!g->stopped && !g->failed) end_echo(g);
    }
}

// Rows are added one after the other, whatever pieces they came in: the sum does not depend on
// those.
static void pool_rows(inki_run *g, uint32_t n_rows) {
    ink_session *s = g->s;
    const uint32_t n_embd = s->model->weights.n_embd;
    const bool last_only = (g->o.flags & INK_GENERATE_EMBED_LAST) != 0;
    if (last_only) memset(s->pooled_sum, 0, n_embd * sizeof *s->pooled_sum);
    for (uint32_t r = last_only ? n_rows - 1 : 0; r < n_rows; r++)
        for (uint32_t i = 0; i < n_embd; i++)
            s->pooled_sum[i] += (double)s->hidden[(size_t)r * n_embd + i];
    if (s->n_past < g->n_timeline) return;
    s->pools = false; // of what is generated behind it nothing is wanted
    for (uint32_t i = 0; i < n_embd; i++) {
        s->embedding[i] = (float)(s->pooled_sum[i] / (last_only ? 1 : g->n_timeline));
        if (isfinite(s->embedding[i])) continue;
        inki_run_fail(
            g, inki_fail(g->error, INK_E_NUMERIC, NULL, 0, "the hidden states are not all finite"));
        return;
    }
    g->r.embedding = s->embedding;
    g->r.n_embedding = n_embd;
}

void inki_tell_prompt_read(inki_run *g, uint32_t n_tokens) {
    const ink_session *s = g->s;
    if (s->pools) pool_rows(g, n_tokens);
    if (!judges_prompt(g)) return;
    const size_t n_vocab = s->model->weights.n_vocab;
    const float *first = s->row - (size_t)(s->n_rows - 1) * n_vocab;
    const uint32_t from = s->n_past - n_tokens + 1;
    for (uint32_t i = 0; i < n_tokens && from + i < g->n_timeline; i++) {
        if (g->stopped || g->failed) return;
        echo_token(g, from + i, first + i * n_vocab);
    }
    if (s->n_past == g->n_timeline && !g->stopped && !g->failed) end_echo(g);
}
