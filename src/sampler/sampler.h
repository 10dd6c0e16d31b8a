// SPDX-License-Identifier: MIT
// Logits in, one id out. A chain is immutable; everything that changes comes with the call.
#ifndef INKI_SAMPLER_H
#define INKI_SAMPLER_H

#include "base/cursor.h"
#include "base/error.h"
#include "base/mem.h"

typedef struct inki_chain inki_chain;

enum { INKI_CHAIN_TEXT_MAX = 1 << 20, INKI_CHAIN_BIAS_MAX = 32768 };

// What ink_sampler_options_init fills in, size included.
void inki_sampler_defaults(ink_sampler_options *options);

// The bytes of tokens, for steps that look at text.
typedef struct inki_token_texts {
    inki_str (*piece)(const void *arg, int32_t id);
    const void *arg;
} inki_token_texts;

// See ink_sampler_new for the text (NULL: the default chain) and the options (a whole struct; NULL:
// defaults). The seed is taken as it is: with seed_set 0 the caller has drawn one and put it there.
// n_vocab bounds the ids of the logit bias.
ink_status inki_chain_new(inki_chain **out, const char *text, const ink_sampler_options *options,
                          uint32_t n_vocab, const inki_mem *mem, ink_error *error);
void inki_chain_free(inki_chain *chain);
uint64_t inki_chain_seed(const inki_chain *chain);
uint32_t inki_chain_n_vocab(const inki_chain *chain);
// Whether the chain ends with mirostat, whose mu goes from choice to choice; and where mu begins.
bool inki_chain_has_mu(const inki_chain *chain, double *begin);
// As ink_sampler_chain: returns the bytes needed without the 0; writes at most cap - 1 and a 0.
size_t inki_chain_text(const inki_chain *chain, char *out, size_t cap);

typedef struct inki_candidate {
    float logit;
    int32_t id;
} inki_candidate;

// What one choice depends on. scratch [n_vocab] belongs to the session.
typedef struct inki_draw {
    const float *logits;    // [n_vocab], finite
    uint32_t n_vocab;       // the one that the chain was made for
    const int32_t *history; // [n_history] tokens so far, oldest first; ids outside are passed over
    size_t n_history;
    uint64_t stream, position; // the random number is a hash of (seed, stream, position)
    int32_t banned;            // an id never to choose (the end token), -1: none
    inki_candidate *scratch;
    const int32_t *bans; // [n_bans] more ids never to choose, rising
    size_t n_bans;
    const uint64_t *allowed; // bit id % 64 of word id / 64: only these may be chosen; NULL: all
    double mu;               // a chain that has one: before this choice
    double *mu_next;         // receives it for the next one; NULL: not wanted
    const inki_token_texts *texts; // of the vocabulary; NULL: "dry" knows no breakers
} inki_draw;
// Allocates nothing. Errors: INK_E_NUMERIC when no token is left, INK_E_ARG (n_vocab differs).
ink_status inki_chain_draw(const inki_chain *chain, const inki_draw *draw, int32_t *out,
                           ink_error *error);

// Uniform in [0, 1), 53 bits, from a hash of the three numbers. The same on every machine.
double inki_random_unit(uint64_t seed, uint64_t stream, uint64_t position);

#endif
