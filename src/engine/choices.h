// SPDX-License-Identifier: MIT
// Tokens of a text with their log-probabilities, kept until their text is given out: what could
// still be taken back is not told.
#ifndef INKI_CHOICES_H
#define INKI_CHOICES_H

#include "base/error.h"
#include "base/mem.h"

enum { INKI_MAX_TOP_LOGPROBS = 64 };

// log of the sum of exp over logits [n_vocab], finite: a token's log-probability is its logit less
// this, never above 0.
double inki_choices_total(const float *logits, size_t n_vocab);
// The n_top largest of logits [n_vocab] with their logits, falling; of equal ones the lower id
// first. 0 < n_top <= n_vocab.
void inki_choices_top(ink_logprob *top, uint32_t n_top, const float *logits, size_t n_vocab);
// The same with their log-probabilities, by the total; of any n_top. How many there are.
uint32_t inki_choices_best(ink_logprob *top, uint32_t n_top, const float *logits, size_t n_vocab,
                           double total);

typedef struct inki_choices {
    inki_mem mem;
    uint32_t n_top;
    uint32_t n, cap;
    ink_choice *list;  // [cap]
    uint64_t *begins;  // [cap] byte of all that was pushed at which the token begins
    ink_logprob *top;  // [cap, n_top]
    uint64_t n_pushed; // bytes
} inki_choices;

// Zeroed, or used before: its memory serves again. Errors: INK_E_NOMEM.
ink_status inki_choices_init(inki_choices *c, uint32_t n_top, const inki_mem *mem,
                             ink_error *error);
void inki_choices_free(inki_choices *c); // a zeroed one is allowed
void inki_choices_clear(inki_choices *c);

// A token of `bytes` bytes. logits [n_vocab], finite: those it was chosen from, n_vocab >= n_top;
// NULL: nothing stands before it. *logprob: of it, NAN without logits. Allocates only while there
// are more untold than ever. Errors: INK_E_NOMEM.
ink_status inki_choices_add(inki_choices *c, ink_token token, const float *logits, size_t n_vocab,
                            size_t bytes, float *logprob, ink_error *error);
void inki_choices_pop(inki_choices *c, size_t bytes); // the last so many bytes are gone
// Those whose first byte is among the first n_given: *n of them, borrowed until the next call.
const ink_choice *inki_choices_given(inki_choices *c, uint64_t n_given, uint32_t *n);
void inki_choices_told(inki_choices *c, uint32_t n); // the first n go

#endif
