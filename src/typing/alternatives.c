// SPDX-License-Identifier: MIT
// Several suggestions from one prefill: branches that begin with the best tokens, decoded in one
// pass, ranked by how probable their first words are.
#include "sampler/chain.h"
#include "typing/typing_parts.h"

#include <math.h>
#include <string.h>

// --- beginnings ----------------------------------------------------------------------------------

static bool is_better(inki_beginning a, inki_beginning b) {
    return a.logprob > b.logprob || (a.logprob == b.logprob && a.token < b.token);
}

// Keeps list [n] ordered, the best first.
static void insert_beginning(inki_beginnings *c, inki_beginning new) {
    if (c->n == INKI_TYPING_CANDIDATES && !is_better(new, c->list[c->n - 1])) return;
    uint32_t i = c->n < INKI_TYPING_CANDIDATES ? c->n++ : c->n - 1;
    for (; i > 0 && is_better(new, c->list[i - 1]); i--) c->list[i] = c->list[i - 1];
    c->list[i] = new;
}

static bool in_set(const uint64_t *set, uint32_t id) {
    return set == NULL || (set[id / 64] >> id % 64 & 1);
}

static bool may_begin(const inki_suggester *s, const inki_constraint *bound, uint32_t id) {
    for (size_t i = 0; i < bound->n_bans; i++)
        if (bound->bans[i] == (int32_t)id) return false;
    return !inki_tokenizer_is_special(s->model->tokenizer, (int32_t)id);
}

// Adds the best tokens to follow the main session's prompt, with their log-probabilities among all
// that may, `base` added.
static void add_beginnings(inki_suggester *s, float base, bool behind) {
    inki_branch *main = &s->branches[0];
    inki_beginnings *c = &s->beginnings;
    const uint32_t n_vocab = s->model->weights.n_vocab;
    const float *logits = main->session->row;
    const inki_constraint bound = inki_run_constraint(&main->run);
    float best = -INFINITY;
    for (uint32_t id = 0; id < n_vocab; id++)
        if (logits[id] > best && in_set(bound.allowed, id)) best = logits[id];
    double sum = 0;
    for (uint32_t id = 0; id < n_vocab; id++)
        if (in_set(bound.allowed, id)) sum += inki_sampler_exp((double)logits[id] - (double)best);
    const double shift = (double)base - (double)best - log(sum);
    for (uint32_t id = 0; id < n_vocab; id++) {
        const inki_beginning new = {(float)((double)logits[id] + shift), (int32_t)id, behind};
        if (c->n == INKI_TYPING_CANDIDATES && !is_better(new, c->list[c->n - 1])) continue;
        if (in_set(bound.allowed, id) && may_begin(s, &bound, id)) insert_beginning(c, new);
    }
}

// Takes the token that is the tail itself off the list: it is no beginning of anything new, but
// what follows it is. Without one: false.
static bool take_whole_tail(inki_suggester *s, inki_beginning *out) {
    inki_beginnings *c = &s->beginnings;
    for (uint32_t i = 0; i < c->n; i++) {
        const inki_str piece = inki_tokenizer_piece(s->model->tokenizer, c->list[i].token);
        if (piece.bytes != s->n_tail) continue;
        *out = c->list[i];
        memmove(c->list + i, c->list + i + 1, (c->n - i - 1) * sizeof *c->list);
        c->n--;
        return true;
    }
    return false;
}

// --- branches ------------------------------------------------------------------------------------

// Branch i begins with the next beginning there is; without one it is not used. The main session
// may go back to the prompt without the whole tail whenever a branch begins behind it, and evaluate
// the prompt's last token again where its logits are not held: what comes before is shared.
static ink_status begin_next(ink_typing *t, uint32_t i, ink_error *error) {
    inki_suggester *s = t->s;
    inki_branch *b = &s->branches[i];
    b->used = false;
    if (s->beginnings.next == s->beginnings.n) return INK_OK;
    const inki_beginning *next = &s->beginnings.list[s->beginnings.next++];
    if (i > 0) {
        const ink_status status = inki_session_rebranch(
            b->session, s->branches[0].session, s->n_tokens - 1, s->n_tokens + next->behind, error);
        if (status != INK_OK) return status;
    }
    return inki_branch_begin(t, i, t->o.max_tokens, next, next->behind, error);
}

// Of each branch the best beginning that is left; the main session's last, since the others follow
// it from where it stands.
static ink_status begin_all(ink_typing *t, ink_error *error) {
    inki_beginnings *c = &t->s->beginnings;
    const uint32_t first = c->n > 0;
    ink_status status = INK_OK;
    c->next = first;
    for (uint32_t i = 1; i < t->o.n_alternatives && status == INK_OK; i++)
        status = begin_next(t, i, error);
    const uint32_t next = c->next;
    c->next = 0;
    if (status == INK_OK) status = begin_next(t, 0, error);
    c->next = next;
    return status;
}

ink_status inki_alternatives_begin(ink_typing *t, bool *again, ink_error *error) {
    inki_suggester *s = t->s;
    inki_beginning whole = {0};
    *again = false;
    if (s->whole_tail >= 0) {
        add_beginnings(s, s->whole_logprob, true);
        return begin_all(t, error);
    }
    s->beginnings.n = s->beginnings.next = 0;
    add_beginnings(s, 0, false);
    if (s->n_tail == 0 || !take_whole_tail(s, &whole)) return begin_all(t, error);
    s->whole_tail = s->tokens[s->n_tokens] = whole.token;
    s->whole_logprob = whole.logprob;
    *again = true;
    return inki_branch_begin(t, 0, 0, NULL, true, error);
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
            status = inki_branch_advance(t, b);
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

// Then they let go of the pages that they share with the main session: it would have to copy those
// that it writes to.
void inki_alternatives_adopt(ink_typing *t) {
    inki_suggester *s = t->s;
    for (uint32_t i = 1; i < t->o.n_alternatives; i++)
        inki_session_adopt(s->branches[0].session, s->branches[i].session, s->tokens, s->n_tokens);
    for (uint32_t i = 1; i < t->o.n_alternatives; i++)
        inki_rewind_entered(s->branches[i].session, 0);
}
