// SPDX-License-Identifier: MIT
// What a chain is made of; shared by its text (chain.c) and the choice (draw.c).
#ifndef INKI_SAMPLER_CHAIN_H
#define INKI_SAMPLER_CHAIN_H

#include "sampler/sampler.h"

typedef enum inki_step {
    INKI_STEP_LOGIT_BIAS,
    INKI_STEP_PENALTIES,
    INKI_STEP_TOP_K,
    INKI_STEP_TOP_P,
    INKI_STEP_MIN_P,
    INKI_STEP_TEMP,
    INKI_STEP_GREEDY,
    INKI_N_STEPS
} inki_step;

struct inki_chain {
    inki_mem mem;
    uint32_t n_vocab;
    uint32_t n_steps;
    inki_step steps[INKI_N_STEPS]; // each at most once
    // The numbers in force, whether they came from the caller's options or from the text. A step
    // that the chain does not name is not taken, whatever its numbers are.
    ink_sampler_options o;
    ink_logit_bias *bias; // [n_bias], own copy
    size_t n_bias;
    double min_p_cut; // how far below the best logit min_p reaches: ln(min_p)
};

// The first half of inki_chain_draw: takes the steps and leaves what is to be drawn from in the
// scratch of `draw`, with the logits as the steps made them (all finite), distinct ids, and either
// by rising id or from the best down. Returns how many there are.
uint32_t inki_chain_filter(const inki_chain *chain, const inki_draw *draw);

// e^x for x <= 0 (0 below -708), within a few units of the last place. The same bytes on every
// machine, which libm does not promise.
double inki_sampler_exp(double x);
// The smallest d <= 0 whose inki_sampler_exp is at least y, for 0 < y; 0 for y >= 1.
double inki_sampler_log(double y);

#endif
