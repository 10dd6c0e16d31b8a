// SPDX-License-Identifier: MIT
// Several suggestions from one prefill: branches that begin with the best tokens, decoded in one
// pass, ranked by how probable their first words are.
#include "sampler/chain.h"
#include "typing/typing_parts.h"

#include <math.h>
#include <string.h>

// --- candidates ----------------------------------------------------------------------------------

static bool is_better(inki_candidate a, inki_candidate b) {
    return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
}

// Keeps list [n] ordered, the best first.
static void insert_candidate(inki_candidate_list *c, inki_candidate new) {
    if (c->n == INKI_TYPING_CANDIDATES && !is_better(new, c->list[c->n - 1])) return;
    uint32_t i = c->n < INKI_TYPING_CANDIDATES ? c->n++ : c->n - 1;
    for (; i > 0 && is_better(new, c->list[i - 1]); i--) c->list[i] = c->list[i - 1];
    c->list[i] = new;
}

static bool may_begin(const inki_suggester *s, const inki_constraint *bound, uint32_t id) {
    const inki_tokenizer *tokenizer = s->model->tokenizer;
    if (bound->allowed != NULL && !(bound->allowed[id / 64] >> id % 64 & 1)) return false;
    for (size_t i = 0; i < bound->n_bans; i++)
        if (bound->bans[i] == (int32_t)id) return false;
    return !inki_tokenizer_is_special(tokenizer, (int32_t)id);
}

// The best first tokens, with their log-probabilities among all that may begin.
static void find_candidates(inki_suggester *s) {
    inki_branch *main = &s->branches[0];
    inki_candidate_list *c = &s->candidates;
    const float *logits = main->session->row;
    const inki_constraint bound = inki_run_constraint(&main->run);
    c->n = c->next = 0;
    for (uint32_t id = 0; id < s->model->weights.n_vocab; id++) {
        const inki_candidate new = {logits[id], (int32_t)id};
        if (c->n == INKI_TYPING_CANDIDATES && !is_better(new, c->list[c->n - 1])) continue;
        if (may_begin(s, &bound, id)) insert_candidate(c, new);
    }
    double sum = 0;
    for (uint32_t id = 0; id < s->model->weights.n_vocab && c->n > 0; id++)
        if (bound.allowed == NULL || (bound.allowed[id / 64] >> id % 64 & 1))
            sum += inki_sampler_exp((double)logits[id] - (double)c->list[0].logit);
    for (uint32_t i = 0; i < c->n; i++)
        c->logprobs[i] = (float)((double)c->list[i].logit - (double)c->list[0].logit - log(sum));
}

// --- branches ------------------------------------------------------------------------------------

// Branch i begins with the next candidate there is; without one it is not used.
static ink_status begin_next(ink_typing *t, uint32_t i, ink_error *error) {
    inki_suggester *s = t->s;
    inki_branch *b = &s->branches[i];
    inki_candidate_list *c = &s->candidates;
    b->used = false;
    if (c->next == c->n) return INK_OK;
    const uint32_t k = c->next++;
    if (i > 0) {
        const ink_status status =
            inki_session_rebranch(b->session, s->branches[0].session, s->n_tokens, error);
        if (status != INK_OK) return status;
    }
    const ink_status status = inki_branch_begin(t, i, t->o.max_tokens, c->list[k].id, error);
    b->logprobs[0] = c->logprobs[k];
    return status;
}

ink_status inki_alternatives_begin(ink_typing *t, ink_error *error) {
    inki_suggester *s = t->s;
    find_candidates(s);
    ink_status status = INK_OK;
    // The others follow the main session before it goes on.
    const uint32_t first = s->candidates.n > 0;
    s->candidates.next = first;
    for (uint32_t i = 1; i < t->o.n_alternatives && status == INK_OK; i++)
        status = begin_next(t, i, error);
    const uint32_t next = s->candidates.next;
    s->candidates.next = 0;
    if (status == INK_OK) status = begin_next(t, 0, error);
    s->candidates.next = next > first ? next : first;
    return status;
}

static bool comes_before(const inki_branch *a, const inki_branch *b) {
    return a->first_logprob > b->first_logprob;
}

// Of two with one first word the less probable way to it gives way. A branch that ended without
// text, or was stopped by a filter before its first word, does too.
static bool gives_way(const inki_suggester *s, uint32_t n, uint32_t i) {
    const inki_branch *b = &s->branches[i];
    if (b->over && b->bytes == 0) return true;
    if (!b->first_known) return false;
    for (uint32_t k = 0; k < n; k++) {
        const inki_branch *other = &s->branches[k];
        if (k == i || !other->used || !other->first_known || other->first_word != b->first_word)
            continue;
        if (comes_before(other, b) || (!comes_before(b, other) && k < i)) return true;
    }
    return false;
}

ink_status inki_alternatives_compare(ink_typing *t, ink_error *error) {
    inki_suggester *s = t->s;
    const uint32_t n = t->o.n_alternatives;
    ink_status status = INK_OK;
    for (uint32_t i = 0; i < n && status == INK_OK; i++) {
        inki_branch *b = &s->branches[i];
        const bool cancelled =
            b->over && (b->run.r.stop == INK_STOP_CANCELLED || b->run.r.stop == INK_STOP_DEADLINE);
        while (b->used && !cancelled && gives_way(s, n, i) && status == INK_OK) {
            status = begin_next(t, i, error);
            if (status != INK_OK || !b->used) break;
            if (!inki_run_next(&b->run, &b->span)) {
                b->span.n_tokens = 0;
                b->over = true;
                status = inki_run_finish(&b->run);
            }
        }
    }
    return status;
}

uint32_t inki_alternatives_order(const ink_typing *t, uint32_t *order) {
    const inki_suggester *s = t->s;
    uint32_t n = 0;
    if (t->o.n_alternatives == 1) {
        order[0] = 0;
        return s->branches[0].used;
    }
    for (uint32_t i = 0; i < t->o.n_alternatives && !s->branching; i++) {
        const inki_branch *b = &s->branches[i];
        // A first word that is not complete may still turn out to be another's.
        if (!b->used || b->bytes == 0 || !(b->first_known || b->over)) continue;
        uint32_t at = n++;
        for (; at > 0 && comes_before(b, &s->branches[order[at - 1]]); at--)
            order[at] = order[at - 1];
        order[at] = i;
    }
    return n;
}

void inki_alternatives_adopt(ink_typing *t) {
    inki_suggester *s = t->s;
    for (uint32_t i = 1; i < t->o.n_alternatives; i++)
        inki_session_adopt(s->branches[0].session, s->branches[i].session, s->tokens, s->n_tokens);
}
