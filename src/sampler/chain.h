// SPDX-License-Identifier: MIT
// What a chain is made of; shared by what reads and prints it (chain*.c) and the choice (draw*.c).
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
    INKI_STEP_TYPICAL,
    INKI_STEP_TOP_N_SIGMA,
    INKI_STEP_XTC,
    INKI_STEP_DRY,
    INKI_STEP_NO_REPEAT_NGRAM,
    INKI_STEP_MIROSTAT,
    INKI_N_STEPS
} inki_step;

enum {
    INKI_CHAIN_BREAKERS_BYTES = 1024, // of all together, with one more for each
    INKI_CHAIN_BREAKER_MAX = 64,
    INKI_CHAIN_ECHO_MAX = 1024 // tokens of a repetition that are counted
};

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
    // The texts that end a repetition, each behind a byte with its length.
    uint8_t breakers[INKI_CHAIN_BREAKERS_BYTES];
    uint32_t breakers_bytes;
};

// --- reading -------------------------------------------------------------------------------------

// A piece of what is read, without the blanks around it.
typedef struct inki_chain_word {
    const char *s;
    size_t n;
    size_t at; // where it stands in the source
} inki_chain_word;

typedef struct inki_chain_reader {
    inki_chain *chain;
    const char *source;
    size_t bytes;
    ink_error *error;
    bool own_breakers; // the source has named some
} inki_chain_reader;

// "column N: ", then the text; a line too, where there are several.
ink_status inki_chain_fail(const inki_chain_reader *r, ink_status status, size_t at,
                           const char *format, ...) INKI_PRINTF(4, 5);
// The same for a word that is not what it should be.
ink_status inki_chain_fail_word(const inki_chain_reader *r, inki_chain_word word, const char *name,
                                const char *expected);
// Puts the step of that name at the end of the chain.
ink_status inki_chain_add(inki_chain_reader *r, inki_chain_word name, inki_step *out);
uint32_t inki_chain_n_numbers(inki_step step);
const char *inki_chain_name(inki_step step);
// Which of its numbers has that name.
ink_status inki_chain_find(const inki_chain_reader *r, inki_step step, inki_chain_word name,
                           uint32_t *out);
// Sets the i-th number of a step; one more than it has is an error.
ink_status inki_chain_set(const inki_chain_reader *r, inki_step step, uint32_t i,
                          inki_chain_word word);
// An entry of a logit bias.
ink_status inki_chain_pair(const inki_chain_reader *r, inki_chain_word token, inki_chain_word value,
                           inki_chain_word both, ink_logit_bias *out);
// Checks and copies them, in the place of those that there are.
ink_status inki_chain_set_bias(inki_chain *chain, const ink_logit_bias *bias, size_t n,
                               ink_error *error);
ink_status inki_chain_option_bias(const inki_chain_reader *r); // those of the options
// The source's breakers take the place of the options' with the first of them, or with none at all.
void inki_chain_no_breakers(inki_chain_reader *r);
ink_status inki_chain_add_breaker(inki_chain_reader *r, inki_chain_word word, inki_str text);
// How the number is written.
size_t inki_chain_format(const inki_chain *chain, inki_step step, uint32_t i, char out[32]);

ink_status inki_chain_read_text(inki_chain_reader *r);
ink_status inki_chain_read_json(inki_chain_reader *r);

// --- choosing ------------------------------------------------------------------------------------

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
