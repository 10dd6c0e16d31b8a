// SPDX-License-Identifier: MIT
// One pass over what several requests want next.
#include "service/service_parts.h"

// Everybody gets a row, so that nobody's next token waits for another's prompt; what is left is
// shared among the prompts.
static void share_rows(ink_span *spans, uint32_t n, uint32_t n_rows) {
    uint32_t left = n_rows - n, n_long = 0;
    for (uint32_t i = 0; i < n; i++) n_long += spans[i].n_tokens > 1;
    for (uint32_t i = 0; i < n; i++) {
        if (spans[i].n_tokens <= 1) continue;
        const uint32_t most = 1 + left / n_long--;
        if (spans[i].n_tokens > most) spans[i].n_tokens = most;
        left -= (uint32_t)spans[i].n_tokens - 1;
    }
}

// Evaluates batch [from, n), and notes what became of each if it is known: of a pass that failed
// only one is to blame.
static ink_status evaluate_these(ink_service *s, uint32_t from, uint32_t n) {
    const ink_status status = inki_eval_entered(s->spans + from, n - from, &s->pass_error);
    for (uint32_t i = from; i < n && (status == INK_OK || n - from == 1); i++) {
        inki_request *r = s->batch[i];
        r->evaluation = status;
        r->n_evaluated = (uint32_t)s->spans[i].n_tokens;
        if (status != INK_OK) r->error = s->pass_error;
    }
    return status;
}

// Brings those that were interrupted to the front of batch [n]; returns how many.
static uint32_t set_aside(ink_service *s, uint32_t n) {
    uint32_t n_aside = 0;
    for (uint32_t i = 0; i < n; i++) {
        inki_request *r = s->batch[i];
        if (atomic_load_explicit(&r->interrupt, memory_order_relaxed) == 0) continue;
        const ink_span span = s->spans[i];
        s->batch[i] = s->batch[n_aside];
        s->spans[i] = s->spans[n_aside];
        s->batch[n_aside] = r;
        s->spans[n_aside++] = span;
        r->evaluation = INK_E_CANCELLED;
    }
    return n_aside;
}

void inki_service_evaluate(ink_service *s, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) s->spans[i] = s->batch[i]->span;
    share_rows(s->spans, n, s->o.n_rows);
    // A pass is all or nothing. Those that were cancelled are left out of the next try; after any
    // other failure each tries alone, so that nobody fails for another.
    uint32_t from = 0;
    while (n - from > 1) {
        const ink_status status = evaluate_these(s, from, n);
        if (status == INK_OK) return;
        const uint32_t aside = status == INK_E_CANCELLED ? set_aside(s, n) : from;
        if (aside == from) break;
        from = aside;
    }
    for (; from < n; from++) evaluate_these(s, from, from + 1);
}
