// SPDX-License-Identifier: MIT
#include "sampler/draw.h"

#include <float.h>
#include <math.h>
#include <string.h>

// Keeps the k best in a heap, the worst at its root. Ids rise along every unsorted form, so a later
// one with an equal logit is never better: comparing logits is enough.
void inki_step_top_k(inki_draw_state *d) {
    const uint32_t k = d->chain->o.top_k;
    inki_candidate *heap = d->c;
    if (k >= inki_draw_most(d)) return;
    if (d->sorted) {
        d->n = k;
        return;
    }
    uint32_t n = 0;
    inki_block b = {0};
    float bound = -INFINITY; // of what goes into the heap
    while (inki_block_next_above(d, &b, bound)) {
        for (uint32_t i = 0; i < b.n; i++) {
            if (!(b.x[i] > bound)) continue;
            const inki_candidate c = {b.x[i], inki_draw_at(d, b.at + i).id};
            if (n < k) {
                heap[n++] = c;
                if (n == k) inki_heap_make(heap, n);
            } else {
                heap[0] = c;
                inki_heap_sift(heap, n, 0);
            }
            if (n == k) bound = heap[0].logit;
        }
    }
    if (n < k) inki_heap_make(heap, n);
    d->n = n;
    d->form = INKI_DRAW_LIST;
    inki_draw_sort(d);
}

// Rounded to a float, a bound may be the logit itself that it is for.
static float below_float(double low) { return nextafterf(inki_finite_logit(low), -INFINITY); }

static void keep_down_to(inki_draw_state *d, double low) { inki_draw_above(d, below_float(low)); }

// Keeps those nearest to `middle` until their probabilities reach p.
static void keep_share(inki_draw_state *d, inki_candidate best, double middle, double p) {
    double total;
    const uint32_t last = inki_draw_reach_near(d, best, middle, p, &total);
    if (last == UINT32_MAX) return; // logits that are no numbers
    const inki_candidate cut = inki_draw_at(d, last);
    const int32_t eighths = inki_draw_eighths(cut.logit, (float)middle);
    const uint64_t far = inki_draw_distance(cut.logit, middle);
    uint32_t n = 0;
    // With room for the rounding of eighths and distances.
    keep_down_to(d, middle - fabs((double)cut.logit - middle) - 1e-6 * (1.0 + fabs(middle)));
    for (uint32_t i = 0; i < d->n; i++) {
        const inki_candidate c = d->c[i];
        const int32_t own = inki_draw_eighths(c.logit, (float)middle);
        if (own > eighths) continue;
        if (own == eighths) {
            const uint64_t distance = inki_draw_distance(c.logit, middle);
            if (distance > far || (distance == far && c.id > cut.id)) continue;
        }
        d->c[n++] = c;
    }
    d->n = n;
    d->ranked = true;
}

// The smallest set of the best whose probabilities reach p.
// Source: Holtzman et al., "The Curious Case of Neural Text Degeneration", 2020.
void inki_step_top_p(inki_draw_state *d) {
    const double p = (double)d->chain->o.top_p;
    if (!d->sorted) {
        const inki_candidate best = inki_draw_best(d);
        keep_share(d, best, (double)best.logit, p);
        return;
    }
    const inki_draw_weights w = inki_draw_weigh(d);
    const uint32_t last = inki_draw_reach(d, w.best, p * w.total);
    if (last < d->n) d->n = last + 1;
}

// Those whose surprise is nearest to the expected one, until their probabilities reach p. Surprise
// less entropy is the mean logit (by probability) less the logit: no logarithm is needed.
// Source: Meister et al., "Locally Typical Sampling", 2022.
void inki_step_typical(inki_draw_state *d) {
    const inki_draw_weights w = inki_draw_weigh(d);
    keep_share(d, w.best, (double)w.best.logit + w.below, (double)d->chain->o.typical_p);
}

// Keeps those at least `low` away from the best one (low <= 0).
static void keep_within(inki_draw_state *d, inki_candidate best, double low) {
    uint32_t n = 0;
    // Down to a little less first: what is written is then a short list.
    keep_down_to(d, (double)best.logit + low - 1.0);
    for (uint32_t i = 0; i < d->n; i++)
        if ((double)d->c[i].logit - (double)best.logit >= low) d->c[n++] = d->c[i];
    d->n = n;
}

// Those at least min_p times as likely as the best: a bound on the logits, no sum is needed.
// Source: Nguyen et al., "Turning Up the Heat: Min-p Sampling", 2024.
void inki_step_min_p(inki_draw_state *d) {
    const inki_candidate best = inki_draw_best(d);
    if (best.id >= 0) keep_within(d, best, d->chain->min_p_cut);
}

// Those at most n standard deviations of all logits below the best.
// Source: Tang et al., "Top-nσ: Not All Logits Are You Need", 2024.
void inki_step_top_n_sigma(inki_draw_state *d) {
    const inki_candidate best = inki_draw_best(d);
    const inki_draw_moments m = inki_draw_measure(d, best);
    if (m.n > 1) keep_within(d, best, -(double)d->chain->o.top_n_sigma * sqrt(m.variance));
}

// Now and then all that are likely enough are left out but for the least likely of them.
// Source: https://github.com/oobabooga/text-generation-webui/pull/6335 (XTC, "exclude top choices")
// and llama.cpp's sampler.
void inki_step_xtc(inki_draw_state *d) {
    static const uint64_t own_numbers = 0xa0761d6478bd642fu; // not those of the draw
    const ink_sampler_options *o = &d->chain->o;
    const double unit = inki_random_unit(o->seed ^ own_numbers, d->in->stream, d->in->position);
    if (unit >= (double)o->xtc_probability) return;
    const inki_draw_weights w = inki_draw_weigh(d);
    if (w.best.id < 0) return;
    const double goal = (double)o->xtc_threshold * w.total;
    if (goal > 1.0) return; // not even the best
    const double low = goal > 0.0 ? inki_sampler_log(goal) : -INFINITY;
    const float none = -INFINITY, low_logit = below_float((double)w.best.logit + low);
    inki_candidate last = w.best;
    inki_block b = {0};
    while (inki_block_next_above(d, &b, low_logit))
        for (uint32_t k = 0; k < b.n; k++) {
            const inki_candidate c = {b.x[k], inki_draw_at(d, b.at + k).id};
            if (c.logit > low_logit && (double)c.logit - (double)w.best.logit >= low &&
                inki_candidate_better(last, c))
                last = c;
        }
    // The others become none, in a copy of the logits where there is nothing else to write to.
    if (d->form == INKI_DRAW_RAW) inki_draw_spread(d);
    b = (inki_block){0};
    while (inki_block_next_above(d, &b, low_logit))
        for (uint32_t k = 0; k < b.n; k++)
            if (inki_candidate_better(inki_draw_at(d, b.at + k), last))
                memcpy(d->form == INKI_DRAW_RAW ? inki_draw_own(d) + b.at + k
                                                : &d->c[b.at + k].logit,
                       &none, sizeof none);
    if (d->form == INKI_DRAW_LIST) inki_draw_above(d, -INFINITY);
}

void inki_step_greedy(inki_draw_state *d) {
    const inki_candidate best = inki_draw_best(d);
    d->n = best.id >= 0;
    d->c[0] = best;
    d->form = INKI_DRAW_LIST;
    d->sorted = true;
}

// From t - range where one candidate has it all to t + range where all are alike: along the
// entropy's share of what it could be.
// Source: llama.cpp's temp-ext sampler, after https://github.com/ggml-org/llama.cpp/pull/4972.
static double temperature_of(const inki_draw_state *d) {
    const ink_sampler_options *o = &d->chain->o;
    const double middle = (double)o->temperature, range = (double)o->dynatemp_range;
    if (range <= 0.0) return middle;
    const inki_draw_weights w = inki_draw_weigh(d);
    const uint32_t n = inki_draw_measure(d, w.best).n;
    if (n < 2) return 1.0;
    const double low = middle > range ? middle - range : 0.0, high = middle + range;
    const double entropy = inki_sampler_log_over_one(w.total) - w.below;
    const double share = entropy / inki_sampler_log_over_one(n);
    const double exponent = (double)o->dynatemp_exponent;
    double power = exponent == 0.0 ? 1.0 : 0.0;
    if (share > 0.0) power = inki_sampler_exp(exponent * inki_sampler_log(share));
    return low + (high - low) * power;
}

// Where the quotient would leave the range of floats, the logits are counted from the best one
// first: the probabilities are the same, and the best stays apart from the others.
void inki_step_temp(inki_draw_state *d) {
    const double temperature = temperature_of(d);
    if (temperature <= 0.0) {
        inki_step_greedy(d);
        return;
    }
    if (temperature == 1.0) return;
    const inki_candidate best = inki_draw_best(d);
    const double logit = (double)best.logit;
    const double base = fabs(logit) / temperature > (double)FLT_MAX ? logit : 0.0;
    // No infinity: the best one's distance, 0, times that would be no number.
    if (best.id >= 0) inki_draw_scale(d, base, fmin(1.0 / temperature, DBL_MAX));
}

// Those whose surprise is at most mu bits, and the best in any case.
// Source: Basu et al., "Mirostat", 2021; version 2 of its authors' code.
void inki_step_mirostat(inki_draw_state *d) {
    const inki_draw_weights w = inki_draw_weigh(d);
    if (w.best.id < 0) return;
    const double low = inki_sampler_log_over_one(w.total) - d->in->mu * 0x1.62e42fefa39efp-1;
    if (low > 0.0)
        inki_step_greedy(d);
    else
        keep_within(d, w.best, low <= 0.0 ? low : -INFINITY);
}
