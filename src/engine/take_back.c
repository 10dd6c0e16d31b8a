// SPDX-License-Identifier: MIT
// The way back: tokens that must not stand are taken back and banned where they stood, so that the
// same search goes on along another path. What may not be chosen next is gathered here too.
#include "engine/follow.h"

#include <string.h>

// Bytes that the token at `at` of the timeline added to the text.
static size_t spoken_bytes(const inki_run *g, uint32_t at) {
    const inki_tokenizer *tokenizer = g->s->model->tokenizer;
    if (inki_tokenizer_is_special(tokenizer, g->timeline[at])) return 0;
    const size_t bytes = inki_tokenizer_piece(tokenizer, g->timeline[at]).bytes;
    return at == g->n_prompt ? bytes - g->n_heal : bytes;
}

void inki_run_take_back(inki_run *g, uint32_t n) {
    size_t bytes = 0;
    for (uint32_t i = 0; i < n; i++) bytes += spoken_bytes(g, g->n_timeline - 1 - i);
    inki_text_stream_pop(&g->stream, bytes);
    inki_choices_pop(&g->choices, bytes);
    g->n_timeline -= n;
    g->r.n_generated -= n;
    inki_follow_taken_back(g, n);
    if (g->n_timeline == g->n_prompt) g->n_rewritten = 0;
    if (g->holds) g->stream.hold = true;
    g->r.n_taken_back += n;
    const inki_ban ban = {g->n_timeline, g->timeline[g->n_timeline]};
    while (g->n_bans > 0 && g->bans[g->n_bans - 1].at > ban.at) g->n_bans--;
    if (g->n_bans == g->bans_cap)
        inki_run_stop(g, INK_STOP_FILTER);
    else
        g->bans[g->n_bans++] = ban;
}

uint32_t inki_run_tokens_behind(const inki_run *g, size_t bytes) {
    const uint32_t n_new = g->n_timeline - g->n_prompt;
    uint32_t n = 0;
    bytes += g->stream.n_cut;
    for (size_t sum = 0; sum < bytes && n < n_new; n++)
        sum += spoken_bytes(g, g->n_timeline - 1 - n);
    return n;
}

// Rising and without doubles, as a draw wants them.
static void add_banned(inki_run *g, uint32_t *n, int32_t token) {
    uint32_t low = 0, high = *n;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (g->banned[middle] < token)
            low = middle + 1;
        else
            high = middle;
    }
    if ((low < *n && g->banned[low] == token) || *n == g->banned_cap) return;
    memmove(g->banned + low + 1, g->banned + low, (*n - low) * sizeof *g->banned);
    g->banned[low] = token;
    (*n)++;
}

// Every token that stood behind the last n - 1 ones before would make them n that stand twice. The
// one that only writes the prompt's tail again says nothing new: its text stands there already.
static void ban_repetitions(inki_run *g, uint32_t *n_banned) {
    const uint32_t n = g->o.no_repeat_ngram, length = g->n_timeline;
    if (n == 0 || length < n) return;
    const ink_token *last = g->timeline + length - (n - 1);
    const inki_tokenizer *tokenizer = g->s->model->tokenizer;
    const size_t n_heal = length == g->n_prompt ? g->n_heal : 0;
    for (uint32_t i = 0; i + n <= length; i++) {
        if (memcmp(g->timeline + i, last, (n - 1) * sizeof *last) != 0) continue;
        const ink_token token = g->timeline[i + n - 1];
        if (n_heal == 0 || inki_tokenizer_piece(tokenizer, token).bytes != n_heal)
            add_banned(g, n_banned, token);
    }
}

inki_constraint inki_run_constraint(inki_run *g) {
    uint32_t n = 0;
    const int32_t end = inki_tokenizer_end(g->s->model->tokenizer);
    if ((g->o.flags & INK_GENERATE_NO_END) && end >= 0) add_banned(g, &n, end);
    for (size_t i = g->n_bans; i > 0 && g->bans[i - 1].at == g->n_timeline; i--)
        add_banned(g, &n, g->bans[i - 1].token);
    ban_repetitions(g, &n);
    return (inki_constraint){.bans = g->banned, .n_bans = n, .allowed = inki_follow_allowed(g)};
}
