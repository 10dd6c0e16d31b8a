// SPDX-License-Identifier: MIT
// What one choice works on; shared by its steps.
//
// The candidates have two forms. RAW: a logit for each id, those of the caller or a copy in which
// what is gone has -inf; either way without the ids that the caller rules out. LIST: n candidates,
// by rising id or, when `sorted`, from the best down. Better is a higher logit, then the lower id:
// a total order, so every way of sorting gives the same list.
#ifndef INKI_SAMPLER_DRAW_H
#define INKI_SAMPLER_DRAW_H

#include "sampler/chain.h"

#include <math.h>

typedef enum inki_draw_form { INKI_DRAW_RAW, INKI_DRAW_LIST } inki_draw_form;

typedef struct inki_draw_state {
    const inki_draw *in;
    const inki_chain *chain;
    inki_candidate *c;
    uint32_t n; // of c, in LIST
    inki_draw_form form;
    bool sorted;
    bool own;    // RAW: the logits are those of inki_draw_own
    bool ranked; // a choice goes through the candidates from the best down, sorted or not
} inki_draw_state;

// --- many at a time (draw.c) ---------------------------------------------------------------------

enum { INKI_DRAW_BLOCK = 16 };

// A walk over the candidates of any form, in their order; starts with zeros. x: the logits of those
// from place `at` on; -inf where there is none.
typedef struct inki_block {
    const float *x;
    uint32_t at, n, next; // n: places of the form
    uint32_t mixed;       // some before it are above the bound that was asked for
    size_t ban;
    float own[INKI_DRAW_BLOCK];
} inki_block;
bool inki_block_next(const inki_draw_state *d, inki_block *b); // false: there are no more
// ... that has one above `bound`, which may only rise
bool inki_block_next_above(const inki_draw_state *d, inki_block *b, float bound);
// y = (x - base) * factor; what overflows downwards is as low as a logit may be, -inf stays.
void inki_block_scale(const float *restrict x, double base, double factor, float *restrict y);
// e^(x - best), 0 below e^-86. Returns their sum and adds that of their products with x - best.
double inki_block_weigh(const float *restrict x, float best, float *restrict weights,
                        double *below);
// How many eighths a logit is away from `middle`; from 64 on, where weights are nothing, the last.
enum { INKI_DRAW_EIGHTHS = 512 };
static inline int32_t inki_draw_eighths(float logit, float middle) {
    const float distance = fabsf(logit - middle) * 8.0f, last = INKI_DRAW_EIGHTHS - 1;
    return (int32_t)(distance < last ? distance : last);
}
// ... of each. Whether one of them lies in first .. last.
bool inki_block_eighths(const float *restrict x, float middle, int32_t first, int32_t last,
                        int32_t *restrict eighths);
typedef struct inki_bucket {
    double weight;
    uint32_t n, place; // candidates, and where the last of them is
} inki_bucket;
void inki_block_sort(const float *weights, const int32_t *eighths, inki_bucket *table);

// How many places there are: no more candidates than that.
static inline uint32_t inki_draw_most(const inki_draw_state *d) {
    return d->form == INKI_DRAW_RAW ? d->in->n_vocab : d->n;
}

// Where RAW has logits of its own: the second half of the scratch. The first half serves steps that
// name ids, for a number each.
static inline float *inki_draw_own(const inki_draw_state *d) {
    return (float *)(void *)d->c + d->in->n_vocab;
}

inki_candidate inki_draw_at(const inki_draw_state *d, uint32_t i);
inki_candidate inki_draw_best(const inki_draw_state *d); // id -1, logit -inf: none is left
// Makes logits (logit - base) * factor; none may become more than a float holds.
void inki_draw_scale(inki_draw_state *d, double base, double factor);

typedef struct inki_draw_moments {
    uint32_t n; // candidates
    double variance;
} inki_draw_moments;
inki_draw_moments inki_draw_measure(const inki_draw_state *d, inki_candidate best);

// What the candidates weigh against the best one.
typedef struct inki_draw_weights {
    inki_candidate best;
    double total; // 0: there are none
    double below; // mean distance of a logit from the best one's, by weight; <= 0
} inki_draw_weights;
inki_draw_weights inki_draw_weigh(const inki_draw_state *d);

// The place of the candidate with which the sum of weights reaches `goal`, in their order.
// UINT32_MAX: it does not, by rounding.
uint32_t inki_draw_reach(const inki_draw_state *d, inki_candidate best, double goal);
// ... reaches `share` of the total, by rising distance from `middle`, those at the same one in
// their order. UINT32_MAX: there is none.
uint32_t inki_draw_reach_near(const inki_draw_state *d, inki_candidate best, double middle,
                              double share, double *total);
// What that order compares: differences below 2^-48 are none, nor are those beyond 64.
uint64_t inki_draw_distance(float logit, double middle);

// --- forms (draw_forms.c) ------------------------------------------------------------------------

// → RAW with logits of its own, so that each id's can be changed
void inki_draw_spread(inki_draw_state *d);
void inki_draw_list(inki_draw_state *d); // → LIST
// ... of those whose logit is above `bound`, in their order
void inki_draw_above(inki_draw_state *d, float bound);

bool inki_candidate_better(inki_candidate a, inki_candidate b);
// A heap with the worst at its root.
void inki_heap_sift(inki_candidate *heap, uint32_t n, uint32_t i);
void inki_heap_make(inki_candidate *heap, uint32_t n);
void inki_draw_sort(inki_draw_state *d); // a list that is such a heap, from the best down

// ln(y) for y >= 1.
double inki_sampler_log_over_one(double y);

// Sums and quotients are formed in double and brought back into the range of finite floats: an
// infinite logit would be taken for a ban, or make every probability a NaN.
float inki_finite_logit(double value);

// --- steps ---------------------------------------------------------------------------------------

// draw_steps.c
void inki_step_top_k(inki_draw_state *d);
void inki_step_top_p(inki_draw_state *d);
void inki_step_typical(inki_draw_state *d);
void inki_step_min_p(inki_draw_state *d);
void inki_step_top_n_sigma(inki_draw_state *d);
void inki_step_xtc(inki_draw_state *d);
void inki_step_temp(inki_draw_state *d);
void inki_step_greedy(inki_draw_state *d);
void inki_step_mirostat(inki_draw_state *d);
// draw_past.c: those that name ids
void inki_step_logit_bias(inki_draw_state *d);
void inki_step_penalties(inki_draw_state *d);
void inki_step_dry(inki_draw_state *d);
void inki_step_no_repeat_ngram(inki_draw_state *d);

#endif
