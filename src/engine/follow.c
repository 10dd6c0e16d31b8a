// SPDX-License-Identifier: MIT
#include "engine/follow.h"

#include "tokenizer/heal.h"

#include <string.h>

enum { MAX_REQUIRED = 64, MAX_REQUIRED_BYTES = 256, NOT_FOUND_YET = 0 };

// --- the grammar ---------------------------------------------------------------------------------

static ink_status begin_grammar(inki_run *g) {
    ink_grammar *grammar = g->o.grammar;
    const ink_model *model = g->s->model;
    if (grammar == NULL) return INK_OK;
    if (g->o.overflow == INK_OVERFLOW_SLIDE)
        return inki_fail(g->error, INK_E_ARG, "grammar", 0,
                         "needs its whole text: not with a context that slides");
    if (grammar->model != model &&
        inki_model_fingerprint(grammar->model) != inki_model_fingerprint(model))
        return inki_fail(g->error, INK_E_ARG, "grammar", 0, "was made for another model");
    ink_status status =
        inki_run_room(g, (void **)&g->followed, &g->followed_words,
                      inki_tokenizer_set_words(model->tokenizer), sizeof *g->followed);
    if (status != INK_OK) return status;
    if (g->matched == grammar) {
        inki_matcher_reset(g->matcher);
        return INK_OK;
    }
    inki_matcher_free(g->matcher);
    ink_grammar_unref(g->matched);
    g->matcher = NULL;
    g->matched = inki_grammar_ref(grammar);
    return inki_matcher_new(&g->matcher, grammar->rules, grammar->trie, &g->s->mem, g->error);
}

// A run without a grammar may have the matcher of the one before.
static bool has_grammar(const inki_run *g) { return g->o.grammar != NULL && g->matcher != NULL; }

bool inki_follow_must_end(const inki_run *g) {
    return has_grammar(g) && inki_matcher_must_end(g->matcher);
}

static bool matches(inki_run *g, inki_str piece) {
    size_t n = 0;
    const ink_status status = inki_matcher_push(g->matcher, piece.data, piece.bytes, &n, g->error);
    if (status != INK_OK) inki_run_fail(g, status);
    if (status != INK_OK || n < piece.bytes) return false;
    inki_matcher_pop(g->matcher, 1);
    return true;
}

// Of the tokens that begin with the prompt's tail those whose rest the grammar allows.
static void narrow_first(inki_run *g) {
    const inki_tokenizer *tokenizer = g->s->model->tokenizer;
    for (size_t w = 0; w < g->followed_words; w++) {
        g->followed[w] = 0;
        for (uint64_t left = g->allowed[w]; left != 0 && !g->failed; left &= left - 1) {
            const uint64_t bit = left & (~left + 1);
            uint32_t shift = 0;
            while (bit >> shift != 1) shift++;
            const inki_str piece = inki_tokenizer_piece(tokenizer, (int32_t)(w * 64 + shift));
            const inki_str rest = {piece.data + g->n_heal, piece.bytes - g->n_heal};
            if (matches(g, rest)) g->followed[w] |= bit;
        }
    }
}

const uint64_t *inki_follow_allowed(inki_run *g) {
    const bool first = g->restricted && g->n_timeline == g->n_prompt;
    if (!has_grammar(g)) return first ? g->allowed : NULL;
    if (first) {
        narrow_first(g);
        return g->followed;
    }
    const uint64_t *set = NULL;
    const ink_status status = inki_matcher_allowed(g->matcher, &set, g->error);
    if (status != INK_OK) {
        inki_run_fail(g, status);
        return NULL;
    }
    memcpy(g->followed, set, g->followed_words * sizeof *set);
    const int32_t end = inki_tokenizer_end(g->s->model->tokenizer);
    if (end >= 0 && inki_matcher_may_end(g->matcher))
        g->followed[end / 64] |= (uint64_t)1 << end % 64;
    return g->followed;
}

// --- required words ------------------------------------------------------------------------------

// With a blank before it, as a word inside a text has it, where its script is written with blanks.
static bool wants_blank(const char *word) {
    const unsigned char c = (unsigned char)word[0];
    return c < 0xe3 && c != ' ' && c != '\n';
}

static ink_status read_required(inki_run *g, inki_needed *needed, const char *word) {
    char text[MAX_REQUIRED_BYTES + 2] = " ";
    const size_t blank = wants_blank(word), n = strlen(word);
    inki_encode_stats stats;
    memcpy(text + blank, word, n);
    ink_status status = inki_filter_new(&needed->filter, &g->s->mem, &word, 1, g->error);
    if (status == INK_OK)
        status = inki_tokenizer_encode(g->s->model->tokenizer, text, n + blank, false,
                                       needed->tokens, MAX_REQUIRED_BYTES + 1, &stats, g->error);
    if (status == INK_OK) needed->n_tokens = (uint32_t)stats.n_tokens;
    return status;
}

static uint32_t n_missing_tokens(const inki_run *g) {
    uint32_t n = 0;
    for (size_t i = 0; i < g->n_needed; i++)
        if (g->needed[i].found_at == NOT_FOUND_YET && !g->needed[i].at_end)
            n += g->needed[i].n_tokens;
    return n;
}

static void drop_needed(inki_run *g) {
    for (size_t i = 0; i < g->n_needed; i++) ink_filter_unref(g->needed[i].filter);
    inki_release(&g->s->mem, g->needed, g->n_needed, sizeof *g->needed);
    g->needed = NULL;
    g->n_needed = 0;
}

static ink_status begin_required(inki_run *g) {
    const ink_generate_options *o = &g->o;
    drop_needed(g);
    g->force_from = UINT32_MAX;
    if (o->n_required == 0) return INK_OK;
    if (o->required == NULL)
        return inki_fail(g->error, INK_E_ARG, "required", 0,
                         "is NULL although n_required is not 0");
    if (o->grammar != NULL)
        return inki_fail(g->error, INK_E_ARG, "required", 0,
                         "does not go with a grammar, which says itself what must stand");
    if (o->n_required > MAX_REQUIRED)
        return inki_fail(g->error, INK_E_LIMIT, "required", 0, "%zu words; at most %d",
                         o->n_required, MAX_REQUIRED);
    g->needed = inki_alloc_zero(&g->s->mem, o->n_required, sizeof *g->needed);
    if (g->needed == NULL) return inki_fail_nomem(g->error, o->n_required * sizeof *g->needed);
    g->n_needed = o->n_required;
    ink_status status = INK_OK;
    for (size_t i = 0; i < g->n_needed && status == INK_OK; i++) {
        const char *word = o->required[i];
        if (word != NULL && strnlen(word, MAX_REQUIRED_BYTES + 1) > MAX_REQUIRED_BYTES)
            status = inki_fail(g->error, INK_E_LIMIT, "required", 0, "word %zu is over %d bytes", i,
                               MAX_REQUIRED_BYTES);
        else if (word == NULL || word[0] == 0)
            status = inki_fail(g->error, INK_E_ARG, "required", 0, "word %zu is empty", i);
        else
            status = read_required(g, &g->needed[i], word);
    }
    if (status == INK_OK && n_missing_tokens(g) > o->n_tokens)
        status = inki_fail(g->error, INK_E_ARG, "required", 0,
                           "take more tokens (%u) than the continuation may have (%u)",
                           (unsigned)n_missing_tokens(g), (unsigned)o->n_tokens);
    return status;
}

// The end of the text, long enough for any of the words to end in its last token. *from: where the
// continuation begins in it.
static size_t gather_end(const inki_run *g, char *out, size_t cap, size_t *from) {
    const inki_tokenizer *tokenizer = g->s->model->tokenizer;
    size_t n = 0;
    *from = 0;
    for (uint32_t i = g->n_timeline; i > 0 && n < cap; i--) {
        const inki_str piece = inki_tokenizer_piece(tokenizer, g->timeline[i - 1]);
        const size_t take = piece.bytes < cap - n ? piece.bytes : cap - n;
        n += take;
        memcpy(out + cap - n, piece.data + piece.bytes - take, take);
        if (i - 1 == g->n_series_from) {
            *from = cap - n + g->n_series_skip;
            break;
        }
    }
    memmove(out, out + cap - n, n);
    *from = *from > cap - n ? *from - (cap - n) : 0;
    return n;
}

static void look_for_required(inki_run *g) {
    char text[4 * MAX_REQUIRED_BYTES];
    size_t from;
    const size_t n = gather_end(g, text, sizeof text, &from);
    for (size_t i = 0; i < g->n_needed; i++) {
        inki_needed *needed = &g->needed[i];
        if (needed->found_at != NOT_FOUND_YET) continue;
        inki_filter_hits hits;
        inki_filter_scan(needed->filter, text, n, from, false, &hits);
        if (hits.bytes > 0) needed->found_at = g->n_timeline;
        inki_filter_scan(needed->filter, text, n, from, true, &hits);
        needed->at_end = hits.bytes > 0;
    }
}

static uint32_t room_left(const inki_run *g) {
    const uint32_t left = inki_run_tokens_left(g), room = g->s->options.n_ctx - g->n_timeline;
    return g->o.overflow == INK_OVERFLOW_SLIDE || left < room ? left : room;
}

bool inki_follow_forces(inki_run *g, bool wants_end, ink_token *token) {
    if (g->n_needed == 0) return false;
    if (g->force_from > g->n_timeline) { // none, or taken back
        const uint32_t n = n_missing_tokens(g);
        if (n == 0 || (!wants_end && room_left(g) > n)) return false;
        g->forced = 0;
        while (g->needed[g->forced].found_at != NOT_FOUND_YET || g->needed[g->forced].at_end)
            g->forced++;
        g->force_from = g->n_timeline;
    }
    const inki_needed *needed = &g->needed[g->forced];
    const uint32_t at = g->n_timeline - g->force_from;
    *token = needed->tokens[at];
    if (at + 1 == needed->n_tokens) g->force_from = UINT32_MAX;
    return true;
}

// --- both ----------------------------------------------------------------------------------------

ink_status inki_follow_begin(inki_run *g) {
    const ink_status status = begin_grammar(g);
    return status == INK_OK ? begin_required(g) : status;
}

void inki_follow_end(inki_run *g) {
    drop_needed(g);
    inki_matcher_free(g->matcher);
    ink_grammar_unref(g->matched);
    inki_release(&g->s->mem, g->followed, g->followed_words, sizeof *g->followed);
}

void inki_follow_spoken(inki_run *g, inki_str piece) {
    if (has_grammar(g)) {
        size_t n = 0;
        ink_status status = inki_matcher_push(g->matcher, piece.data, piece.bytes, &n, g->error);
        if (status == INK_OK && n < piece.bytes)
            status = inki_fail(g->error, INK_E_ARG, "grammar", 0,
                               "the text before this call is none of the grammar's");
        if (status != INK_OK) inki_run_fail(g, status);
    }
    if (g->n_needed > 0) look_for_required(g);
}

void inki_follow_slid(inki_run *g, uint32_t n_dropped) {
    for (size_t i = 0; i < g->n_needed; i++)
        if (g->needed[i].found_at != NOT_FOUND_YET) g->needed[i].found_at = 1;
    if (g->force_from != UINT32_MAX) g->force_from -= n_dropped;
}

void inki_follow_taken_back(inki_run *g, uint32_t n) {
    if (has_grammar(g)) inki_matcher_pop(g->matcher, n);
    for (size_t i = 0; i < g->n_needed; i++)
        if (g->needed[i].found_at > g->n_timeline) g->needed[i].found_at = NOT_FOUND_YET;
    g->force_from = UINT32_MAX;
    if (g->n_needed > 0) look_for_required(g);
}
