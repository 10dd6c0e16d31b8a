// SPDX-License-Identifier: MIT
// Beam search: in each step the best continuations of all beams together go on.
#include "engine/choices.h"
#include "engine/search.h"

#include <string.h>

typedef struct beam {
    double logprob;
    uint32_t way;   // the branch that holds its tokens but for the last
    ink_token last; // chosen, not evaluated yet
} beam;

typedef struct extension {
    double logprob;
    uint32_t beam;
    ink_token token;
} extension;

typedef struct beams {
    inki_search *g;
    beam running[INKI_SEARCH_MAX]; // [n_running] the best first
    extension next[INKI_SEARCH_MAX];
    uint32_t n_running, n_next;
    uint32_t n;        // tokens of each, the last one included
    uint32_t n_shared; // positions of the session's whole pages that branches share with it
} beams;

static bool goes_before(extension a, extension b) {
    if (a.logprob != b.logprob) return a.logprob > b.logprob;
    return a.token != b.token ? a.token < b.token : a.beam < b.beam;
}

static void add_extension(beams *b, extension new) {
    const uint32_t most = b->g->o.n_beams;
    if (b->n_next == most && !goes_before(new, b->next[most - 1])) return;
    uint32_t at = b->n_next < most ? b->n_next++ : most - 1;
    for (; at > 0 && goes_before(new, b->next[at - 1]); at--) b->next[at] = b->next[at - 1];
    b->next[at] = new;
}

static void choose_next(beams *b) {
    const ink_model *model = b->g->s->model;
    const uint32_t n_vocab = model->weights.n_vocab;
    const int32_t never =
        b->g->o.flags & INK_GENERATE_NO_END ? inki_tokenizer_end(model->tokenizer) : -1;
    b->n_next = 0;
    for (uint32_t r = 0; r < b->n_running; r++) {
        const float *row = b->g->ways[b->running[r].way]->row;
        const double total = inki_choices_total(row, n_vocab);
        for (uint32_t id = 0; id < n_vocab; id++)
            if ((int32_t)id != never)
                add_extension(b, (extension){b->running[r].logprob + ((double)row[id] - total), r,
                                             (ink_token)id});
    }
}

static void beam_ends(beams *b, double logprob, uint32_t stop, uint32_t way, uint32_t n,
                      ink_token more) {
    inki_search *g = b->g;
    const uint32_t count = n + (more >= 0 || stop == INK_STOP_END);
    const ink_token *tokens = n > 0 ? g->ways[way]->tokens + g->n_prompt : NULL;
    inki_search_keep(g, logprob, inki_search_score(g, logprob, count), stop, tokens, n, more);
}

// --- branches ------------------------------------------------------------------------------------

// Whole pages of what all beams agree on move into the session, for branches to share.
static void share_more(beams *b) {
    ink_session *s = b->g->s;
    const uint32_t n = (b->g->n_prompt + b->g->n_told) / INKI_TILE * INKI_TILE;
    if (n <= b->n_shared || inki_kv_prepare(&s->kv, s->n_cached, n, NULL) != INK_OK) return;
    inki_session_adopt(s, b->g->ways[b->running[0].way], b->g->timeline, n);
    if (s->n_cached >= n) b->n_shared = n;
}

// Branch `to` now holds what `from` does. Only the session's pages are shared: those that branches
// share with each other would go from one's reserve to the other's.
static ink_status follow(beams *b, uint32_t to, uint32_t from) {
    ink_session *child = b->g->ways[to];
    const ink_session *parent = b->g->ways[from];
    const uint32_t n = parent->n_past;
    child->n_past = child->n_cached = child->n_rows = 0;
    ink_status status =
        inki_kv_branch(&child->kv, &b->g->s->kv, b->n_shared, b->n_shared, b->g->error);
    if (status == INK_OK) status = inki_kv_prepare(&child->kv, b->n_shared, n, b->g->error);
    if (status != INK_OK) return status;
    inki_kv_adopt(&child->kv, &parent->kv, b->n_shared, n);
    memcpy(child->tokens, parent->tokens, n * sizeof *child->tokens);
    child->n_past = child->n_cached = n;
    return INK_OK;
}

// The first that goes on from a beam stays in its branch, the others take branches that nobody goes
// on in: so none is needed beside those of the beams.
static ink_status place_beams(beams *b) {
    beam placed[INKI_SEARCH_MAX];
    uint64_t used = 0, stays = 0;
    for (uint32_t i = 0; i < b->n_next; i++) {
        const beam *parent = &b->running[b->next[i].beam];
        placed[i] = (beam){b->next[i].logprob, parent->way, b->next[i].token};
        if ((used >> parent->way & 1) == 0) stays |= (uint64_t)1 << i;
        used |= (uint64_t)1 << parent->way;
    }
    share_more(b);
    ink_status status = INK_OK;
    for (uint32_t i = 0, free_way = 0; i < b->n_next && status == INK_OK; i++) {
        if (stays >> i & 1) continue;
        while (used >> free_way & 1) free_way++;
        used |= (uint64_t)1 << free_way;
        status = follow(b, free_way, placed[i].way);
        placed[i].way = free_way;
    }
    memcpy(b->running, placed, b->n_next * sizeof *placed);
    b->n_running = b->n_next;
    return status;
}

// --- steps ---------------------------------------------------------------------------------------

// Extensions that end go to what is found before branches change hands, the others become beams.
static ink_status extend_beams(beams *b) {
    inki_search *g = b->g;
    const int32_t end = inki_tokenizer_end(g->s->model->tokenizer);
    uint32_t n = 0;
    choose_next(b);
    for (uint32_t i = 0; i < b->n_next; i++) {
        const extension e = b->next[i];
        const uint32_t way = b->running[e.beam].way;
        bool ends = false;
        if (e.token == end) {
            beam_ends(b, e.logprob, INK_STOP_END, way, b->n, -1);
            continue;
        }
        const ink_status status =
            inki_search_ends(g, g->ways[way]->tokens + g->n_prompt, b->n, e.token, &ends);
        if (status != INK_OK) return status;
        if (ends)
            beam_ends(b, e.logprob, INK_STOP_STRING, way, b->n, e.token);
        else
            b->next[n++] = e;
    }
    b->n_next = n;
    b->n++;
    return place_beams(b);
}

static ink_status evaluate_last(beams *b) {
    for (uint32_t i = 0; i < b->n_running; i++)
        b->g->spans[i] = (ink_span){
            .session = b->g->ways[b->running[i].way], .tokens = &b->running[i].last, .n_tokens = 1};
    return inki_search_pass(b->g, b->n_running);
}

static ink_token beam_token(const beams *b, const beam *one, uint32_t k) {
    return k + 1 < b->n ? b->g->ways[one->way]->tokens[b->g->n_prompt + k] : one->last;
}

// Is token k the same in all beams, and in the best text found? What was found after it was told
// has it too, since it came from a beam.
static bool agree(const beams *b, uint32_t k, ink_token *token) {
    const inki_search *g = b->g;
    *token = beam_token(b, &b->running[0], k);
    for (uint32_t i = 1; i < b->n_running; i++)
        if (beam_token(b, &b->running[i], k) != *token) return false;
    return g->n_found == 0 || (k < g->found[0].n && g->found[0].tokens[k] == *token);
}

static ink_status tell_agreed(beams *b) {
    ink_status status = INK_OK;
    ink_token token;
    while (b->g->n_told < b->n && status == INK_OK && agree(b, b->g->n_told, &token))
        status = inki_search_tell(b->g, token);
    return status;
}

// Log-probabilities only fall. So the best that a beam can become is its own one, spread over as
// many tokens as there may be; or, where longer texts lose, over one more than it has.
static bool may_be_found(const beams *b, const beam *one) {
    const inki_search *g = b->g;
    const uint32_t count = g->o.length_penalty > 0 ? g->n_most : b->n + 1;
    return g->n_found < g->n_kept ||
           inki_search_score(g, one->logprob, count) > g->found[g->n_kept - 1].score;
}

// Why no beam can go on: INK_STOP_*; -1: they can.
static int beams_stop(const beams *b) {
    const inki_search *g = b->g;
    if (b->n == g->o.n_tokens) return INK_STOP_LENGTH;
    if (b->n == g->n_most) return INK_STOP_CONTEXT;
    if (g->called_off || inki_session_was_interrupted(g->s)) return INK_STOP_CANCELLED;
    return -1;
}

ink_status inki_search_beam(inki_search *g) {
    beams b = {.g = g, .n_running = 1, .n_shared = g->n_prompt / INKI_TILE * INKI_TILE};
    int stop = beams_stop(&b);
    ink_status status = INK_OK;
    if (stop < 0) {
        status = inki_session_rebranch(g->ways[0], g->s, g->n_prompt, g->n_prompt, g->error);
        if (status == INK_OK) status = extend_beams(&b);
    }
    while (status == INK_OK && b.n_running > 0 && (stop = beams_stop(&b)) < 0 &&
           may_be_found(&b, &b.running[0])) {
        status = tell_agreed(&b);
        if (status == INK_OK && !g->called_off) status = evaluate_last(&b);
        if (status == INK_OK && !g->called_off) status = extend_beams(&b);
    }
    if (status == INK_E_CANCELLED) {
        stop = INK_STOP_CANCELLED;
        status = INK_OK;
    }
    for (uint32_t i = 0; i < b.n_running && stop >= 0 && status == INK_OK; i++) {
        const beam *last = &b.running[i];
        if (b.n == 0)
            beam_ends(&b, 0, (uint32_t)stop, 0, 0, -1);
        else
            beam_ends(&b, last->logprob, (uint32_t)stop, last->way, b.n - 1, last->last);
    }
    return status;
}
