// SPDX-License-Identifier: MIT
// bench/serve: what HTTP costs, and what requests that are decoded together gain. The server is the
// program itself, a child process; beside it, in turns, its service inside of this process.
#ifndef BENCH_SERVE_BENCH_H
#define BENCH_SERVE_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "served_program.h"

enum { SERVE_FIRST_TOKENS = 4, SERVE_MAX_FIRSTS = 256 };

// Of the model, as far as requests need it.
typedef struct serve_shape {
    uint32_t n_vocab;
    int32_t end_token;
    const char *type; // "Q8_0"
} serve_shape;

// --- serve_inside.c: the same service, without HTTP ----------------------------------------------

// Opens what `inkling serve` would open. False: told on standard error.
bool serve_inside_open(const char *model, unsigned n_threads, serve_shape *shape);
// Milliseconds from the submission of a prompt to its first text; 0: failed.
double serve_inside_first_ms(const int32_t *ids, unsigned n);
void serve_inside_close(void);

// --- serve_over.c: over HTTP ---------------------------------------------------------------------

typedef struct serve_firsts {
    double inside[SERVE_MAX_FIRSTS], over[SERVE_MAX_FIRSTS]; // milliseconds
    unsigned n;
} serve_firsts;
// n prompts of their own for this round, each inside and over HTTP, who begins changing; appended.
bool serve_over_firsts(const served_program *server, const serve_shape *shape, unsigned round,
                       unsigned n, bool fresh_connections, serve_firsts *out);
// Tokens a second of n streams at a time, from the first request to the last byte; 0: failed.
double serve_over_streams(const served_program *server, const serve_shape *shape, unsigned round,
                          unsigned n);

#endif
