// SPDX-License-Identifier: MIT
// bench/compare: the same file through this library and through llama.cpp's, in turns.
//
// Each engine lives in a process of its own, the worker, and so does the bandwidth probe. A worker
// reads a command from its standard input, runs one slice of at most a second, answers with a
// number, and sleeps until the next command: while one measures, no thread of another runs.
#ifndef BENCH_COMPARE_H
#define BENCH_COMPARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { COMPARE_STREAMS = 8, COMPARE_STREAM_PROMPT = 16, COMPARE_STREAM_TOKENS = 96 };
// Id i of the prompt of sequence `stream` in a round: no two begin alike.
int32_t compare_stream_id(unsigned round, unsigned stream, unsigned i, unsigned n_vocab);

// What a worker can do with its engine. Those that return a bool have told on standard error why
// it is false.
typedef struct compare_engine {
    bool (*open)(const char *model);
    bool (*use_threads)(unsigned n_threads);
    bool (*fill)(unsigned n); // the past becomes n tokens, always the same
    bool (*append)(int32_t token);
    bool (*rewind)(unsigned n); // the first n tokens stay
    int32_t (*best)(void);      // the likeliest token after the last evaluation
    unsigned (*n_ctx)(void);
    // Tokens a second of n sequences in one pass; 0 after a failure. NULL: not measured.
    double (*batch)(unsigned n, double ms);
    double (*bytes_a_token)(unsigned depth); // that a decode step reads; NULL: not known
    unsigned (*read)(const char *text);      // the past becomes this text; its tokens, 0: failed
    // Tokens a second of n sequences side by side, from nothing to the last token: each has a
    // prompt of COMPARE_STREAM_PROMPT ids (compare_stream_id) and COMPARE_STREAM_TOKENS behind it,
    // always the likeliest. 0 after a failure. NULL: not measured.
    double (*streams)(unsigned n);
} compare_engine;
extern const compare_engine compare_ours, compare_theirs;

// A worker's life: commands from standard input, answers on standard output. Returns the exit code.
//   prefill N THREADS MS     tokens/s of prompts of N tokens
//   decode DEPTH THREADS MS  tokens/s
//   batch N THREADS MS       tokens/s of N sequences together
//   streams N THREADS 0      tokens/s of N texts side by side, prompts included
//   bytes DEPTH 1 0          bytes that a token reads
//   peak 0 THREADS 0         bytes of memory at the most, after the context was filled
//   count 0 THREADS 0        tokens of COMPARE_PROMPT (in the environment)
int compare_work(const compare_engine *engine, const char *model);
//   read 0 THREADS MS        GB/s over the file
int compare_work_probe(const char *model);
// A whole process from nothing to the first token behind COMPARE_PROMPT, whose id it prints.
int compare_first_token(const compare_engine *engine, const char *model, unsigned n_threads);

// --- the coordinator's side ----------------------------------------------------------------------

typedef struct compare_worker {
    int to, from; // pipes
    long pid;
} compare_worker;
// role: "ours", "theirs" or "read".
bool compare_start(compare_worker *worker, const char *role, const char *model);
// The answer; ends the program after a failure, since nothing can be compared any more.
double compare_ask(const compare_worker *worker, const char *what, unsigned n, unsigned n_threads,
                   double ms);
void compare_end(compare_worker *worker);
// Milliseconds from the start of a process to its first byte of output; ends the program after a
// failure.
double compare_time_start(const char *const *argv);

typedef struct compare_quartiles {
    double low, median, high;
} compare_quartiles;
compare_quartiles compare_sort(double *x, size_t n);

#endif
