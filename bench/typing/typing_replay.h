// SPDX-License-Identifier: MIT
// What typing_replay measures: each key with its suggestion run to the end (typing_keys.c), or keys
// that arrive while a suggestion is made (typing_overlap.c).
#ifndef BENCH_TYPING_REPLAY_H
#define BENCH_TYPING_REPLAY_H

#include <jansson.h>

#include "bench/typing/typing_trace.h"
#include "inkling/inkling.h"

typedef struct typing_setup {
    const char *model_path, *trace_path; // model NULL: the built-in one
    uint32_t n_threads, n_tokens, window_words, n_ctx;
    uint32_t n_first;   // keys that are played; 0: all
    double interval_ms; // between keys, with --overlap
    bool overlap, json;
    ink_runtime *runtime;
    ink_model *model;
    ink_model_info info;
    typing_trace trace;
} typing_setup;

// A session as the setup wants it: greedy text of n_tokens, ended by nothing else.
ink_status typing_open(const typing_setup *setup, ink_typing **out,
                       void (*on_suggestion)(void *, ink_typing *, const ink_suggestion *),
                       void *user, ink_error *error);
bool typing_failed(const char *what, ink_status status, const ink_error *error); // false, always

// Both print their figures, and false means that the reason was told on standard error.
bool typing_measure_keys(const typing_setup *setup);
bool typing_measure_overlap(const typing_setup *setup);

// Figures of many keys; NAN where there are none.
typedef struct typing_figures {
    double mean, p50, p99, max;
} typing_figures;
typing_figures typing_sum_up(double *x, size_t n); // sorts x
double typing_now_ms(void);
void typing_print(const char *name, typing_figures f);
json_t *typing_json(typing_figures f);
// What was measured, for both kinds of report.
void typing_print_setup(const typing_setup *setup);
json_t *typing_setup_json(const typing_setup *setup);
bool typing_put_json(json_t *root); // takes the reference

#endif
