// SPDX-License-Identifier: MIT
// The grammars that requests bring, compiled, and the latest of them kept: the same schema comes
// with every request. What is not there is compiled on a thread of its own, one after the other, so
// that a text made to take long keeps nobody waiting who brings none.
#ifndef SERVER_GRAMMARS_H
#define SERVER_GRAMMARS_H

#include "server/failure.h"

#include <stddef.h>
#include <stdint.h>

struct srv_model;

enum {
    SRV_MAX_RULES_BYTES = 65536, // of a text: 1 ms as a rule, 200 where it is made for that
    SRV_KEPT_RULES = 32,
    SRV_KEPT_RULES_BYTES = 32 << 20,
    SRV_HELD_RULES_BYTES = 256 << 20, // of those in use too, after which no more are compiled
    SRV_WAITING_RULES = 64
};

typedef struct srv_grammars srv_grammars; // of a model
typedef struct srv_rules srv_rules;       // one that is compiled, counted by its users

// The caller's memory, with text [bytes], until `told`.
typedef struct srv_rules_ask {
    uint32_t kind; // INK_GRAMMAR_*
    const char *text;
    size_t bytes;
    // Once: in srv_grammars_ask, or on the thread that compiles. rules: to be given back with
    // srv_rules_unref; NULL: *why says why not (param is left empty). ask is not touched behind it.
    void (*told)(struct srv_rules_ask *ask, srv_rules *rules, const srv_failure *why);
    // On that thread: false where nobody waits for it any more.
    bool (*wanted)(struct srv_rules_ask *ask);
    struct srv_rules_ask *next; // of grammars.c
} srv_rules_ask;

// Errors: INK_E_NOMEM, INK_E_SYSTEM (no thread).
ink_status srv_grammars_new(srv_grammars **out, struct srv_model *model, ink_error *error);
void srv_grammars_close(srv_grammars *grammars); // who waits is told 503; so is who comes later
void srv_grammars_free(srv_grammars *grammars);  // when no rules are in use; NULL is allowed

// Of a model that is open. Any thread; waits for no compilation.
void srv_grammars_ask(srv_grammars *grammars, srv_rules_ask *ask);
ink_grammar *srv_rules_grammar(const srv_rules *rules); // borrowed; NULL for NULL
void srv_rules_unref(srv_rules *rules);                 // NULL is allowed

typedef struct srv_grammars_info {
    uint64_t n_compiled, n_hits;
    uint64_t kept_bytes, held_bytes; // kept; those in use too
    uint32_t n_kept;
} srv_grammars_info;
// NULL: zeros.
srv_grammars_info srv_grammars_get_info(const srv_grammars *grammars);

// Memory of the C library for a model's runtime. What a grammar takes nobody tells, so what the
// thread that compiles has got and not given back is counted.
extern const ink_allocator srv_counting_allocator;

#endif
