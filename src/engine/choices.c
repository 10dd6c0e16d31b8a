// SPDX-License-Identifier: MIT
#include "engine/choices.h"

#include "base/exp_inline.h"

#include <math.h>
#include <string.h>

enum { FIRST_CHOICES = 32, CHOICE_LANES = 16, CHOICE_BLOCK = 256 };

// --- log-probabilities ---------------------------------------------------------------------------

static float largest(const float *x, size_t n) {
    float lanes[CHOICE_LANES];
    float max = x[0];
    for (size_t l = 0; l < CHOICE_LANES; l++) lanes[l] = max;
    size_t i = 0;
    for (; i + CHOICE_LANES <= n; i += CHOICE_LANES)
        for (size_t l = 0; l < CHOICE_LANES; l++)
            lanes[l] = x[i + l] > lanes[l] ? x[i + l] : lanes[l];
    for (; i < n; i++) max = x[i] > max ? x[i] : max;
    for (size_t l = 0; l < CHOICE_LANES; l++) max = lanes[l] > max ? lanes[l] : max;
    return max;
}

// log of the sum of exp(x - max). Few floats are added before doubles take over, so that a large
// vocabulary costs no precision.
static double log_sum_exp(const float *x, size_t n, float max) {
    double sum = 0;
    size_t i = 0;
    for (; i + CHOICE_BLOCK <= n; i += CHOICE_BLOCK) {
        float lanes[CHOICE_LANES] = {0};
        for (size_t k = 0; k < CHOICE_BLOCK; k += CHOICE_LANES)
            for (size_t l = 0; l < CHOICE_LANES; l++) lanes[l] += inki_exp(x[i + k + l] - max);
        for (size_t l = 0; l < CHOICE_LANES; l++) sum += (double)lanes[l];
    }
    for (; i < n; i++) sum += (double)inki_exp(x[i] - max);
    return log(sum);
}

double inki_choices_total(const float *logits, size_t n_vocab) {
    const float max = largest(logits, n_vocab);
    return (double)max + log_sum_exp(logits, n_vocab, max);
}

void inki_choices_top(ink_logprob *top, uint32_t n_top, const float *logits, size_t n_vocab) {
    uint32_t n = 0;
    for (size_t id = 0; id < n_vocab; id++) {
        if (n == n_top && !(logits[id] > top[n - 1].logprob)) continue;
        uint32_t at = n < n_top ? n++ : n - 1;
        for (; at > 0 && top[at - 1].logprob < logits[id]; at--) top[at] = top[at - 1];
        top[at] = (ink_logprob){(ink_token)id, logits[id]};
    }
}

uint32_t inki_choices_best(ink_logprob *top, uint32_t n_top, const float *logits, size_t n_vocab,
                           double total) {
    const uint32_t n = n_top < n_vocab ? n_top : (uint32_t)n_vocab;
    if (n > 0) inki_choices_top(top, n, logits, n_vocab);
    for (uint32_t i = 0; i < n; i++) top[i].logprob = (float)((double)top[i].logprob - total);
    return n;
}

// --- the list ------------------------------------------------------------------------------------

static ink_status set_cap(inki_choices *c, uint32_t cap, ink_error *error) {
    inki_choices old = *c;
    c->list = inki_alloc(&c->mem, cap, sizeof *c->list);
    c->begins = inki_alloc(&c->mem, cap, sizeof *c->begins);
    c->top = inki_alloc(&c->mem, (size_t)cap * c->n_top, sizeof *c->top);
    c->cap = cap;
    const bool ok = c->list != NULL && c->begins != NULL && (c->n_top == 0 || c->top != NULL);
    if (ok && old.n > 0) {
        memcpy(c->list, old.list, old.n * sizeof *c->list);
        memcpy(c->begins, old.begins, old.n * sizeof *c->begins);
        if (c->n_top > 0) memcpy(c->top, old.top, (size_t)old.n * c->n_top * sizeof *c->top);
    }
    inki_choices_free(ok ? &old : c);
    if (ok) return INK_OK;
    *c = old;
    return inki_fail_nomem(error, cap * (sizeof *c->list + c->n_top * sizeof *c->top));
}

ink_status inki_choices_init(inki_choices *c, uint32_t n_top, const inki_mem *mem,
                             ink_error *error) {
    if (c->cap > 0 && c->n_top != n_top) inki_choices_free(c);
    c->mem = *mem;
    c->n_top = n_top;
    inki_choices_clear(c);
    return c->cap > 0 ? INK_OK : set_cap(c, FIRST_CHOICES, error);
}

void inki_choices_free(inki_choices *c) {
    inki_release(&c->mem, c->list, c->cap, sizeof *c->list);
    inki_release(&c->mem, c->begins, c->cap, sizeof *c->begins);
    inki_release(&c->mem, c->top, (size_t)c->cap * c->n_top, sizeof *c->top);
    *c = (inki_choices){.mem = c->mem};
}

void inki_choices_clear(inki_choices *c) {
    c->n = 0;
    c->n_pushed = 0;
}

ink_status inki_choices_add(inki_choices *c, ink_token token, const float *logits, size_t n_vocab,
                            size_t bytes, float *logprob, ink_error *error) {
    *logprob = NAN;
    if (c->n == c->cap) {
        const ink_status status = set_cap(c, 2 * c->cap, error);
        if (status != INK_OK) return status;
    }
    uint32_t n_top = 0;
    if (logits != NULL) {
        const double total = inki_choices_total(logits, n_vocab);
        ink_logprob *top = c->n_top > 0 ? c->top + (size_t)c->n * c->n_top : NULL;
        n_top = inki_choices_best(top, c->n_top, logits, n_vocab, total);
        *logprob = (float)((double)logits[token] - total);
    }
    c->list[c->n] = (ink_choice){.token = token, .logprob = *logprob, .n_top = n_top};
    c->begins[c->n++] = c->n_pushed;
    c->n_pushed += bytes;
    return INK_OK;
}

void inki_choices_pop(inki_choices *c, size_t bytes) {
    c->n_pushed -= bytes < c->n_pushed ? bytes : c->n_pushed;
    while (c->n > 0 && c->begins[c->n - 1] >= c->n_pushed) c->n--;
}

const ink_choice *inki_choices_given(inki_choices *c, uint64_t n_given, uint32_t *n) {
    *n = 0;
    while (*n < c->n && c->begins[*n] < n_given) {
        c->list[*n].top = c->list[*n].n_top > 0 ? c->top + (size_t)*n * c->n_top : NULL;
        (*n)++;
    }
    return c->list;
}

void inki_choices_told(inki_choices *c, uint32_t n) {
    if (n == 0) return;
    c->n -= n;
    memmove(c->list, c->list + n, c->n * sizeof *c->list);
    memmove(c->begins, c->begins + n, c->n * sizeof *c->begins);
    if (c->n_top > 0)
        memmove(c->top, c->top + (size_t)n * c->n_top, (size_t)c->n * c->n_top * sizeof *c->top);
}
