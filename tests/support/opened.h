// SPDX-License-Identifier: MIT
// An opened tiny model and the few steps every engine test takes.
#ifndef TESTS_OPENED_H
#define TESTS_OPENED_H

#include "heap.h"
#include "tiny_model.h"

typedef struct opened {
    uint8_t *bytes; // the file, in memory
    size_t n_bytes;
    ink_runtime *runtime;
    ink_model *model;
} opened;

// The levels that runtimes opened from now on may use: ink_runtime_options.cpu_mask.
extern uint32_t opened_cpu_mask;

// n_threads: as many, whatever the machine has. Fails the running cmocka test if anything goes
// wrong. h: allocator of the runtime, NULL: the C library's.
opened opened_tiny(const tiny_model *tiny, uint32_t n_threads, heap *h);
void opened_close(opened *o);

// The built-in model, for a program's group of tests: its setup and teardown.
extern ink_model *opened_builtin;
int opened_builtin_begin(void **state);
int opened_builtin_end(void **state);
// The same with the small story model of tests/fixtures, whatever is built in: for what depends on
// the words that a model says.
int opened_small_begin(void **state);

ink_session *opened_session(const opened *o, uint32_t n_ctx, uint32_t kv_type, uint32_t n_logits);

// Of opened_builtin.
ink_sampler *opened_sampler(const char *chain, uint64_t seed);

// ids [n], all different for different seeds, below n_vocab - 1 (no end token).
void opened_ids(ink_token *ids, size_t n, uint32_t n_vocab, uint64_t seed);

// Appends ids in pieces of `piece` (0: all at once).
void opened_eval(ink_session *s, const ink_token *ids, size_t n, size_t piece);

// Of `target` behind ids [n] and nothing else, as it is defined: by long doubles over all logits.
double opened_logprob(ink_session *s, const ink_token *ids, size_t n, ink_token target);

// Collects the text of pieces; a callback for generate. `stop_after`: pieces, 0: never.
typedef struct collected {
    char text[8192];
    size_t bytes, n_pieces, stop_after;
} collected;
int collect(void *user, const ink_piece *piece);

#endif
