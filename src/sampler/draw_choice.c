// SPDX-License-Identifier: MIT
//
// The default chain goes from RAW through a heap of top_k to a short sorted LIST: one pass over the
// vocabulary that writes next to nothing.
#include "sampler/draw.h"

#include <float.h>
#include <math.h>
#include <string.h>

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

double inki_sampler_log_over_one(double y) { return -inki_sampler_log(1.0 / y); }

float inki_finite_logit(double value) {
    if (value > (double)FLT_MAX) return FLT_MAX;
    if (value < -(double)FLT_MAX) return -FLT_MAX;
    return (float)value;
}

static bool step_is_off(const inki_chain *chain, inki_step step) {
    const ink_sampler_options *o = &chain->o;
    switch (step) {
    case INKI_STEP_LOGIT_BIAS: return chain->n_bias == 0;
    case INKI_STEP_PENALTIES:
        return o->penalty_last_n == 0 ||
               (o->repeat_penalty == 1.0f && o->presence_penalty == 0.0f &&
                o->frequency_penalty == 0.0f);
    case INKI_STEP_TOP_K: return o->top_k == 0;
    case INKI_STEP_TOP_P: return o->top_p >= 1.0f;
    case INKI_STEP_MIN_P: return o->min_p <= 0.0f;
    case INKI_STEP_TEMP: return o->temperature == 1.0f && o->dynatemp_range <= 0.0f;
    case INKI_STEP_TYPICAL: return o->typical_p >= 1.0f;
    case INKI_STEP_TOP_N_SIGMA: return o->top_n_sigma <= 0.0f;
    case INKI_STEP_XTC: return o->xtc_probability <= 0.0f || o->xtc_threshold > 0.5f;
    case INKI_STEP_DRY:
        return o->dry_multiplier <= 0.0f || o->dry_base < 1.0f || o->dry_last_n == 0;
    case INKI_STEP_NO_REPEAT_NGRAM: return o->no_repeat_ngram == 0;
    default: return false;
    }
}

// Whether the chain only asks for the highest of the logits as they are: something greedy, before
// it nothing but steps that never drop the best, and nowhere a ban, which alone could still do so
// behind it.
static bool only_best(const inki_chain *chain) {
    bool greedy = false;
    for (uint32_t i = 0; i < chain->n_steps; i++) {
        const inki_step step = chain->steps[i];
        if (step_is_off(chain, step)) continue;
        if (step == INKI_STEP_LOGIT_BIAS || step == INKI_STEP_NO_REPEAT_NGRAM) return false;
        if (greedy) continue;
        greedy =
            step == INKI_STEP_GREEDY || (step == INKI_STEP_TEMP && chain->o.temperature == 0.0f &&
                                         chain->o.dynatemp_range <= 0.0f);
        if (!greedy && step != INKI_STEP_TOP_K && step != INKI_STEP_TOP_P &&
            step != INKI_STEP_MIN_P && step != INKI_STEP_TOP_N_SIGMA)
            return false;
    }
    return greedy;
}

static void take_one_step(inki_draw_state *d, inki_step step) {
    switch (step) {
    case INKI_STEP_LOGIT_BIAS: inki_step_logit_bias(d); break;
    case INKI_STEP_PENALTIES: inki_step_penalties(d); break;
    case INKI_STEP_TOP_K: inki_step_top_k(d); break;
    case INKI_STEP_TOP_P: inki_step_top_p(d); break;
    case INKI_STEP_MIN_P: inki_step_min_p(d); break;
    case INKI_STEP_TEMP: inki_step_temp(d); break;
    case INKI_STEP_GREEDY: inki_step_greedy(d); break;
    case INKI_STEP_TYPICAL: inki_step_typical(d); break;
    case INKI_STEP_TOP_N_SIGMA: inki_step_top_n_sigma(d); break;
    case INKI_STEP_XTC: inki_step_xtc(d); break;
    case INKI_STEP_DRY: inki_step_dry(d); break;
    case INKI_STEP_NO_REPEAT_NGRAM: inki_step_no_repeat_ngram(d); break;
    case INKI_STEP_MIROSTAT: inki_step_mirostat(d); break;
    default: break;
    }
}

static inki_draw_state filter(const inki_chain *chain, const inki_draw *draw) {
    inki_draw_state d = {.in = draw, .chain = chain, .c = draw->scratch, .form = INKI_DRAW_RAW};
    if (only_best(chain))
        inki_step_greedy(&d);
    else
        for (uint32_t i = 0; i < chain->n_steps; i++)
            if (!step_is_off(chain, chain->steps[i])) take_one_step(&d, chain->steps[i]);
    return d;
}

uint32_t inki_chain_filter(const inki_chain *chain, const inki_draw *draw) {
    inki_draw_state d = filter(chain, draw);
    inki_draw_list(&d);
    return d.n;
}

ink_status inki_chain_draw(const inki_chain *chain, const inki_draw *draw, int32_t *out,
                           ink_error *error) {
    if (draw->n_vocab != chain->n_vocab || draw->n_vocab == 0)
        return inki_fail(error, INK_E_ARG, NULL, 0,
                         "the sampler is for %u tokens, the logits are %u", chain->n_vocab,
                         draw->n_vocab);
    const inki_draw_state d = filter(chain, draw);
    const double unit = inki_random_unit(chain->o.seed, draw->stream, draw->position);
    inki_draw_weights w;
    // The candidate in whose share of the whole the random number falls.
    uint32_t at;
    if (d.ranked && !d.sorted) {
        w.best = inki_draw_best(&d);
        at = inki_draw_reach_near(&d, w.best, (double)w.best.logit, unit, &w.total);
    } else {
        w = inki_draw_weigh(&d);
        at = inki_draw_reach(&d, w.best, unit * w.total);
    }
    if (w.best.id < 0) return inki_fail(error, INK_E_NUMERIC, NULL, 0, "every token is banned");
    const inki_candidate chosen = at == UINT32_MAX ? w.best : inki_draw_at(&d, at);
    if (draw->mu_next != NULL) {
        // The surprise in bits, of what was left to draw from.
        const double distance = (double)chosen.logit - (double)w.best.logit;
        const double surprise =
            (inki_sampler_log_over_one(w.total) - distance) * 1.4426950408889634;
        const double next =
            draw->mu - (double)chain->o.mirostat_eta * (surprise - (double)chain->o.mirostat_tau);
        *draw->mu_next = isfinite(next) ? next : draw->mu;
    }
    *out = chosen.id;
    return INK_OK;
}
