// SPDX-License-Identifier: MIT
// Chains of samplers over a small vocabulary, and those that are refused.
#ifndef TESTS_CHAIN_TRIES_H
#define TESTS_CHAIN_TRIES_H

#include "sampler/chain.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { VOCAB = 1000 };

static inline ink_status try_chain(inki_chain **out, const char *text, const ink_sampler_options *o,
                                   ink_error *error) {
    const inki_mem mem = inki_mem_from(NULL);
    return inki_chain_new(out, text, o, VOCAB, &mem, error);
}

typedef struct chain_refusal {
    const char *text;
    ink_status status;
    const char *says; // found in the message
} chain_refusal;

static inline void expect_refusal(const chain_refusal *c) {
    inki_chain *chain = (inki_chain *)(uintptr_t)c; // must stay untouched
    ink_error error = {0};
    const ink_status status = try_chain(&chain, c->text, NULL, &error);
    if (status != c->status || error.status != status)
        fail_msg("\"%s\": %d, %s", c->text, status, error.message);
    if (strstr(error.message, c->says) == NULL) fail_msg("\"%s\": %s", c->text, error.message);
    assert_ptr_equal(chain, c);
    assert_int_equal(try_chain(&chain, c->text, NULL, NULL), status);
}

#endif
