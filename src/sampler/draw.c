// SPDX-License-Identifier: MIT
//
// The candidates have three forms. RAW: nothing was written yet, the logits themselves are the
// list. SPREAD: scratch[id] belongs to id, and what is gone has the logit -inf; the form in which
// steps that name ids work. LIST: n candidates, by rising id or, when `sorted`, from the best down.
// Better is a higher logit, then the lower id: a total order, so every way of sorting gives the
// same list.
//
// The default chain goes from RAW through a heap of top_k to a short sorted LIST: one pass over the
// vocabulary that writes next to nothing.
#include "sampler/chain.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum { DRAW_BLOCK = 16 };

typedef enum draw_form { DRAW_RAW, DRAW_SPREAD, DRAW_LIST } draw_form;

typedef struct draw_state {
    const inki_draw *in;
    inki_candidate *c;
    uint32_t n; // of c; n_vocab in SPREAD
    draw_form form;
    bool sorted;
} draw_state;

// Reduction by multiples of ln 2 (in two parts, so that the first product is exact) and the series
// of e^r, |r| <= 0.35, whose first term left out is below 2^-57.
double inki_sampler_exp(double x) {
    if (!(x >= -708.0)) return 0.0;
    if (x >= 0.0) return 1.0;
    const int32_t k = (int32_t)(x * 1.4426950408889634 - 0.5);
    const double r = (x - k * 0x1.62e42fee00000p-1) - k * 0x1.a39ef35793c76p-33;
    static const double inverse_factorials[] = {
        1.0 / 6227020800, 1.0 / 479001600, 1.0 / 39916800, 1.0 / 3628800, 1.0 / 362880, 1.0 / 40320,
        1.0 / 5040,       1.0 / 720,       1.0 / 120,      1.0 / 24,      1.0 / 6,      0.5,
    };
    double p = inverse_factorials[0];
    for (int i = 1; i < 12; i++) p = p * r + inverse_factorials[i];
    const double e = 1.0 + (r + r * r * p);
    const uint64_t bits = (uint64_t)(k + 1023) << 52;
    double scale;
    memcpy(&scale, &bits, sizeof scale);
    return e * scale;
}

// By halving: it is needed once a chain or a draw, and so it agrees with our exponential to the
// bit.
double inki_sampler_log(double y) {
    if (!(y < 1.0)) return 0.0;
    double below = -709.0, above = 0.0;
    for (;;) {
        const double middle = below + (above - below) * 0.5;
        if (middle <= below || middle >= above) return above;
        if (inki_sampler_exp(middle) >= y)
            above = middle;
        else
            below = middle;
    }
}

static bool better(inki_candidate a, inki_candidate b) {
    return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
}

// One order serves both heaps: `worst_first` puts the worst at the root (to keep the best k), else
// the best (to take them off one by one).
static bool nearer_root(inki_candidate a, inki_candidate b, bool worst_first) {
    return worst_first ? better(b, a) : better(a, b);
}

static void sift_candidate(inki_candidate *heap, uint32_t n, uint32_t i, bool worst_first) {
    const inki_candidate moved = heap[i];
    for (;;) {
        uint32_t child = 2 * i + 1;
        if (child >= n) break;
        if (child + 1 < n && nearer_root(heap[child + 1], heap[child], worst_first)) child++;
        if (!nearer_root(heap[child], moved, worst_first)) break;
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = moved;
}

static void candidate_heap(inki_candidate *heap, uint32_t n, bool worst_first) {
    for (uint32_t i = n / 2; i-- > 0;) sift_candidate(heap, n, i, worst_first);
}

// A heap with the worst at the root becomes a list from the best down.
static void sort_candidates(inki_candidate *heap, uint32_t n) {
    while (n > 1) {
        const inki_candidate worst = heap[0];
        heap[0] = heap[--n];
        sift_candidate(heap, n, 0, true);
        heap[n] = worst;
    }
}

// Whether one of DRAW_BLOCK logits is above `bound`. Without a branch inside, so that it
// vectorises.
static bool block_above(const float *logits, float bound) {
    int any = 0;
    for (int i = 0; i < DRAW_BLOCK; i++) any |= logits[i] > bound;
    return any != 0;
}

// The first index in [at, end) whose logit is above `bound`, or end.
static uint32_t next_above(const float *logits, uint32_t at, uint32_t end, float bound) {
    while (end - at >= DRAW_BLOCK && !block_above(logits + at, bound)) at += DRAW_BLOCK;
    while (at < end && !(logits[at] > bound)) at++;
    return at;
}

// RAW → SPREAD or LIST → SPREAD.
static void spread(draw_state *d) {
    const uint32_t n_vocab = d->in->n_vocab;
    inki_candidate *c = d->c;
    if (d->form == DRAW_RAW) {
        for (uint32_t i = 0; i < n_vocab; i++)
            c[i] = (inki_candidate){d->in->logits[i], (int32_t)i};
        if (d->in->banned >= 0 && (uint32_t)d->in->banned < n_vocab)
            c[d->in->banned].logit = -INFINITY;
    } else if (d->form == DRAW_LIST) {
        // Each candidate goes home, and the one it finds there goes on to its own home: in place,
        // since ids are distinct. A negative id marks an empty seat.
        for (uint32_t i = d->n; i < n_vocab; i++) c[i].id = -1;
        for (uint32_t i = 0; i < d->n; i++) {
            inki_candidate moving = c[i];
            c[i].id = -1;
            while (moving.id >= 0) {
                const inki_candidate evicted = c[moving.id];
                c[moving.id] = moving;
                moving = evicted;
            }
        }
        for (uint32_t i = 0; i < n_vocab; i++)
            if (c[i].id < 0) c[i] = (inki_candidate){-INFINITY, (int32_t)i};
    }
    d->form = DRAW_SPREAD;
    d->n = n_vocab;
    d->sorted = false;
}

// Any form → LIST of those whose logit is at least `low`; by rising id unless it was sorted.
static void keep_from(draw_state *d, float low) {
    uint32_t n = 0;
    if (d->form == DRAW_RAW) {
        const float *logits = d->in->logits;
        for (uint32_t i = 0; i < d->in->n_vocab; i++)
            if (logits[i] >= low && (int32_t)i != d->in->banned)
                d->c[n++] = (inki_candidate){logits[i], (int32_t)i};
    } else {
        for (uint32_t i = 0; i < d->n; i++)
            if (d->c[i].logit >= low) d->c[n++] = d->c[i];
    }
    d->form = DRAW_LIST;
    d->n = n;
}

// RAW → LIST of those that the bans and the set of allowed tokens leave.
static void constrain(draw_state *d) {
    const inki_draw *in = d->in;
    uint32_t n = 0;
    size_t ban = 0;
    for (uint32_t i = 0; i < in->n_vocab; i++) {
        if (in->allowed != NULL && in->allowed[i / 64] == 0) {
            i |= 63;
            continue;
        }
        if (in->allowed != NULL && !(in->allowed[i / 64] >> i % 64 & 1)) continue;
        while (ban < in->n_bans && in->bans[ban] < (int32_t)i) ban++;
        if ((int32_t)i == in->banned || (ban < in->n_bans && in->bans[ban] == (int32_t)i)) continue;
        d->c[n++] = (inki_candidate){in->logits[i], (int32_t)i};
    }
    d->form = DRAW_LIST;
    d->n = n;
}

static void listed(draw_state *d) {
    if (d->form != DRAW_LIST) keep_from(d, -FLT_MAX);
}

// The best of [begin, end) against what is found so far; the first of equals stays.
static void best_of_logits(const float *logits, uint32_t begin, uint32_t end,
                           inki_candidate *best) {
    for (uint32_t i = next_above(logits, begin, end, best->logit); i < end;
         i = next_above(logits, i + 1, end, best->logit))
        *best = (inki_candidate){logits[i], (int32_t)i};
}

static inki_candidate best_listed(const inki_candidate *c, uint32_t n) {
    inki_candidate best = {-INFINITY, -1};
    for (uint32_t i = 0; i < n; i++)
        if (c[i].logit > best.logit) best = c[i];
    return best;
}

// id -1, logit -inf: none is left.
static inki_candidate find_best(const draw_state *d) {
    inki_candidate best = {-INFINITY, -1};
    if (d->form == DRAW_RAW) {
        const uint32_t n = d->in->n_vocab;
        const bool bans = d->in->banned >= 0 && (uint32_t)d->in->banned < n;
        const uint32_t hole = bans ? (uint32_t)d->in->banned : n;
        best_of_logits(d->in->logits, 0, hole, &best);
        if (bans) best_of_logits(d->in->logits, hole + 1, n, &best);
    } else if (d->sorted) {
        if (d->n > 0) best = d->c[0];
    } else {
        best = best_listed(d->c, d->n);
    }
    return best;
}

// Sums and quotients are formed in double and brought back into the range of finite floats: an
// infinite logit would be taken for a ban, or make every probability a NaN.
static float finite_logit(double value) {
    if (value > (double)FLT_MAX) return FLT_MAX;
    if (value < -(double)FLT_MAX) return -FLT_MAX;
    return (float)value;
}

static void apply_bias(draw_state *d, const inki_chain *chain) {
    if (chain->n_bias == 0) return;
    spread(d);
    for (size_t i = 0; i < chain->n_bias; i++) {
        inki_candidate *c = &d->c[chain->bias[i].token];
        if (c->logit == -INFINITY) continue;
        const float bias = chain->bias[i].bias;
        c->logit = bias == -INFINITY ? bias : finite_logit((double)c->logit + (double)bias);
    }
}

static bool penalties_are_off(const ink_sampler_options *o) {
    return o->penalty_last_n == 0 || (o->repeat_penalty == 1.0f && o->presence_penalty == 0.0f &&
                                      o->frequency_penalty == 0.0f);
}

// Source: llama.cpp's penalties sampler, after Keskar et al., "CTRL", 2019 (repeat) and OpenAI's
// definition of the other two.
static void apply_penalties(draw_state *d, const ink_sampler_options *o) {
    const inki_draw *in = d->in;
    if (penalties_are_off(o) || in->n_history == 0) return;
    spread(d);
    const size_t n = in->n_history < o->penalty_last_n ? in->n_history : o->penalty_last_n;
    const int32_t *window = in->history + (in->n_history - n);
    // In this form the id says nothing that the index does not: while counting it holds -count.
    for (size_t i = 0; i < n; i++) {
        if (window[i] < 0 || (uint32_t)window[i] >= in->n_vocab) continue;
        inki_candidate *c = &d->c[window[i]];
        if (c->id >= 0)
            c->id = -1;
        else if (c->id > INT32_MIN)
            c->id--;
    }
    for (size_t i = 0; i < n; i++) {
        if (window[i] < 0 || (uint32_t)window[i] >= in->n_vocab) continue;
        inki_candidate *c = &d->c[window[i]];
        if (c->id >= 0) continue;
        const double count = -(double)c->id;
        c->id = window[i];
        if (c->logit == -INFINITY) continue;
        const double repeat = (double)o->repeat_penalty, logit = (double)c->logit;
        const double repeated = logit > 0.0 ? logit / repeat : logit * repeat;
        c->logit = finite_logit(repeated - count * (double)o->frequency_penalty -
                                (double)o->presence_penalty);
    }
}

// Keeps the k best in a heap, the worst at its root. Ids rise along every unsorted form, so a later
// one with an equal logit is never better: comparing logits is enough.
static void apply_top_k(draw_state *d, uint32_t k) {
    const uint32_t n_all = d->form == DRAW_RAW ? d->in->n_vocab : d->n;
    if (k == 0 || k >= n_all) return;
    if (d->sorted) {
        d->n = k;
        return;
    }
    inki_candidate *heap = d->c;
    uint32_t at = 0, n = 0;
    if (d->form == DRAW_RAW) {
        const float *logits = d->in->logits;
        for (; n < k && at < n_all; at++)
            if ((int32_t)at != d->in->banned) heap[n++] = (inki_candidate){logits[at], (int32_t)at};
        candidate_heap(heap, n, true);
        while ((at = next_above(logits, at, n_all, heap[0].logit)) < n_all) {
            if ((int32_t)at != d->in->banned) {
                heap[0] = (inki_candidate){logits[at], (int32_t)at};
                sift_candidate(heap, n, 0, true);
            }
            at++;
        }
    } else {
        n = k;
        candidate_heap(heap, n, true);
        for (at = k; at < n_all; at++) {
            if (!(d->c[at].logit > heap[0].logit)) continue;
            heap[0] = d->c[at];
            sift_candidate(heap, n, 0, true);
        }
    }
    sort_candidates(heap, n);
    while (n > 0 && heap[n - 1].logit == -INFINITY) n--;
    d->n = n;
    d->form = DRAW_LIST;
    d->sorted = true;
}

// What a candidate weighs against the best one.
static double weight(inki_candidate c, inki_candidate best) {
    return inki_sampler_exp((double)c.logit - (double)best.logit);
}

static double total_weight(const inki_candidate *c, uint32_t n, inki_candidate best) {
    double total = 0.0;
    for (uint32_t i = 0; i < n; i++) total += weight(c[i], best);
    return total;
}

// The smallest set of the best whose probabilities reach p.
// Source: Holtzman et al., "The Curious Case of Neural Text Degeneration", 2020.
static void apply_top_p(draw_state *d, double p) {
    if (p >= 1.0) return;
    listed(d);
    if (d->n == 0) return;
    const inki_candidate best = find_best(d);
    const double total = total_weight(d->c, d->n, best), goal = p * total;
    double sum = 0.0;
    uint32_t n = 0;
    if (d->sorted) {
        while (n < d->n && (n == 0 || sum < goal)) sum += weight(d->c[n++], best);
        d->n = n;
        return;
    }
    // All those less likely than (1 - p) / n make up less than 1 - p together, so the set is
    // complete before the first of them. Half of that leaves room for rounding. Of the rest, only
    // as many are put in order as the set takes.
    const double cut = inki_sampler_log(0.5 * (1.0 - p) / d->n * total);
    const double low = (double)best.logit + cut;
    keep_from(d, low > -(double)FLT_MAX ? (float)low : -FLT_MAX);
    candidate_heap(d->c, d->n, false);
    uint32_t left = d->n;
    while (left > 0 && (n == 0 || sum < goal)) {
        const inki_candidate next = d->c[0];
        sum += weight(next, best);
        d->c[0] = d->c[--left];
        sift_candidate(d->c, left, 0, false);
        d->c[left] = next;
        n++;
    }
    // The set now stands at the end of the list, the best last.
    for (uint32_t i = 0; i < n / 2; i++) {
        const inki_candidate other = d->c[left + i];
        d->c[left + i] = d->c[left + n - 1 - i];
        d->c[left + n - 1 - i] = other;
    }
    memmove(d->c, d->c + left, n * sizeof *d->c);
    d->n = n;
    d->sorted = true;
}

// Those at least min_p times as likely as the best: a bound on the logits, no sum is needed.
// Source: Nguyen et al., "Turning Up the Heat: Min-p Sampling", 2024.
static void apply_min_p(draw_state *d, const inki_chain *chain) {
    if (chain->o.min_p <= 0.0f) return;
    const inki_candidate best = find_best(d);
    if (best.id < 0) return;
    if (d->form == DRAW_RAW)
        keep_from(d, finite_logit((double)best.logit + chain->min_p_cut - 1.0));
    uint32_t n = 0;
    for (uint32_t i = 0; i < d->n; i++)
        if ((double)d->c[i].logit - (double)best.logit >= chain->min_p_cut) d->c[n++] = d->c[i];
    d->n = n;
    d->form = DRAW_LIST;
}

static void apply_greedy(draw_state *d) {
    const inki_candidate best = find_best(d);
    d->n = best.id >= 0;
    d->c[0] = best;
    d->form = DRAW_LIST;
    d->sorted = true;
}

// Where the quotient would leave the range of floats, the logits are counted from the best one
// first: the probabilities are the same, and the best stays apart from the others.
static void apply_temperature(draw_state *d, double temperature) {
    if (temperature == 0.0) {
        apply_greedy(d);
        return;
    }
    if (temperature == 1.0) return;
    listed(d);
    const inki_candidate best = find_best(d);
    double base = 0.0;
    for (uint32_t i = 0; i < d->n; i++)
        if (fabs((double)d->c[i].logit) / temperature > (double)FLT_MAX) base = (double)best.logit;
    for (uint32_t i = 0; i < d->n; i++)
        d->c[i].logit = finite_logit(((double)d->c[i].logit - base) / temperature);
}

static void apply_step(draw_state *d, const inki_chain *chain, inki_step step) {
    switch (step) {
    case INKI_STEP_LOGIT_BIAS: apply_bias(d, chain); break;
    case INKI_STEP_PENALTIES: apply_penalties(d, &chain->o); break;
    case INKI_STEP_TOP_K: apply_top_k(d, chain->o.top_k); break;
    case INKI_STEP_TOP_P: apply_top_p(d, (double)chain->o.top_p); break;
    case INKI_STEP_MIN_P: apply_min_p(d, chain); break;
    case INKI_STEP_TEMP: apply_temperature(d, (double)chain->o.temperature); break;
    case INKI_STEP_GREEDY: apply_greedy(d); break;
    case INKI_N_STEPS: break;
    }
}

// Whether the chain only asks for the highest of the logits as they are: something greedy, before
// it nothing but steps that never drop the best, and after it no ban, which alone could still do
// so.
static bool only_best(const inki_chain *chain) {
    if (chain->n_bias > 0) return false;
    for (uint32_t i = 0; i < chain->n_steps; i++) {
        const inki_step step = chain->steps[i];
        if (step == INKI_STEP_GREEDY) return true;
        if (step == INKI_STEP_TEMP) return chain->o.temperature == 0.0f;
        if (step == INKI_STEP_PENALTIES && !penalties_are_off(&chain->o)) return false;
    }
    return false;
}

// The candidate in whose share of the whole the random number falls.
static int32_t pick(const inki_candidate *c, uint32_t n, double unit) {
    const inki_candidate best = best_listed(c, n);
    if (n <= 1 || best.id < 0) return best.id;
    const double goal = unit * total_weight(c, n, best);
    double sum = 0.0;
    for (uint32_t i = 0; i < n; i++) {
        sum += weight(c[i], best);
        if (sum > goal) return c[i].id;
    }
    return best.id; // the sum is that of total_weight, and the goal is below it
}

uint32_t inki_chain_filter(const inki_chain *chain, const inki_draw *draw) {
    draw_state d = {draw, draw->scratch, 0, DRAW_RAW, false};
    if (draw->n_bans > 0 || draw->allowed != NULL) constrain(&d);
    if (only_best(chain))
        apply_greedy(&d);
    else
        for (uint32_t i = 0; i < chain->n_steps; i++) apply_step(&d, chain, chain->steps[i]);
    listed(&d);
    return d.n;
}

ink_status inki_chain_draw(const inki_chain *chain, const inki_draw *draw, int32_t *out,
                           ink_error *error) {
    if (draw->n_vocab != chain->n_vocab || draw->n_vocab == 0)
        return inki_fail(error, INK_E_ARG, NULL, 0,
                         "the sampler is for %u tokens, the logits are %u", chain->n_vocab,
                         draw->n_vocab);
    const uint32_t n = inki_chain_filter(chain, draw);
    const double unit = inki_random_unit(chain->o.seed, draw->stream, draw->position);
    const int32_t id = pick(draw->scratch, n, unit);
    if (id < 0) return inki_fail(error, INK_E_NUMERIC, NULL, 0, "every token is banned");
    *out = id;
    return INK_OK;
}
