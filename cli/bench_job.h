// SPDX-License-Identifier: MIT
// What `inkling bench` measures, in parts: processes of their own (bench_process.c), speeds
// (bench_speed.c), then the table or JSON (bench_report.c).
#ifndef CLI_BENCH_JOB_H
#define CLI_BENCH_JOB_H

#include <stdbool.h>

#include "cli/bench_probe.h"
#include "cli/load.h"
#include "cli/terminal.h"
#include "inkling/inkling.h"

enum { CLI_BENCH_PREFILLS = 3, CLI_BENCH_DEPTHS = 3, CLI_BENCH_BATCHES = 4 };
extern const unsigned cli_bench_prefills[CLI_BENCH_PREFILLS];
extern const unsigned cli_bench_depths[CLI_BENCH_DEPTHS];
extern const unsigned cli_bench_batches[CLI_BENCH_BATCHES];

typedef struct cli_bench_figure {
    double tok_s;    // 0: it does not fit into the context
    double share;    // decode: of the bandwidth measured beside it
    uint64_t bytes;  // decode: read for a token
    double relative; // batch: its time to that of one sequence
} cli_bench_figure;

typedef struct cli_bench_job {
    const char *model;  // a path or builtin:NAME; NULL: the built-in model
    cli_list loras;     // of --lora
    unsigned n_threads; // 1 to CLI_BENCH_MAX_THREADS
    uint32_t kv_type, n_ctx;
    unsigned n_slices, n_starts;
    double slice_ms;

    ink_runtime *runtime;
    ink_model *open;
    cli_adapters adapters;
    ink_model_info info;
    void *data; // [data_bytes] what the bandwidth is measured over
    size_t data_bytes;
    uint64_t weight_bytes; // read for every token
    bool same_file;        // it is the model's file; else memory of its size
    cli_progress progress;
    unsigned n_done; // steps, of CLI_BENCH_STEPS

    cli_bench_figure prefill[CLI_BENCH_PREFILLS], decode[CLI_BENCH_DEPTHS],
        batch[CLI_BENCH_BATCHES];
    double first_token_ms, read_gb_s;
    size_t n_prompt; // tokens of the prompt of first_token_ms
    uint64_t peak_bytes, kv_bytes;
} cli_bench_job;
enum {
    CLI_BENCH_PROMPT = 16, // tokens
    CLI_BENCH_PROMPT_BYTES = 512,
    CLI_BENCH_STEPS = CLI_BENCH_PREFILLS + CLI_BENCH_DEPTHS + CLI_BENCH_BATCHES + 2
};

// Those that return an int return an exit code, and have told the reason of a failure.

// Opens runtime and model; sets info and n_ctx (0 becomes the model's). To be closed in any case.
int cli_bench_open(cli_bench_job *job);
// Sets kv_bytes and data: the model's file, or, of a model without one, memory of its size.
int cli_bench_map(cli_bench_job *job);
void cli_bench_close(cli_bench_job *job);
ink_session_options cli_bench_session_options(const cli_bench_job *job, uint32_t n_ctx);

// Sets peak_bytes: a process of its own (`bench --peak`) fills the whole context. As the first that
// opens the model, it tells what is wrong with it.
int cli_bench_peak(cli_bench_job *job);
// What that process does.
int cli_bench_fill(cli_bench_job *job);
// The most memory that the calling process has had so far, in bytes; 0: not known.
uint64_t cli_bench_own_peak(void);
// A text of `limit` tokens, or the most below that, to prompt [CLI_BENCH_PROMPT_BYTES].
int cli_bench_prompt(const ink_model *model, size_t limit, char *prompt, size_t *n_tokens);
// Sets first_token_ms: processes of this very program continue a prompt by one token.
int cli_bench_first_token(cli_bench_job *job);
// Sets prefill, decode, batch and read_gb_s; needs the data.
int cli_bench_speeds(cli_bench_job *job);

void cli_bench_step(cli_bench_job *job); // one more of the steps is done
double cli_bench_median(double *x, size_t n);
// The exit code of a failed call; an interruption is told as such.
int cli_bench_failed(ink_status status, const ink_error *error);
// The ids that prompts are made of: all over the vocabulary, none twice in a row.
ink_token cli_bench_id(size_t i, uint32_t n_vocab);

// title: NULL or what is measured.
void cli_bench_print(const cli_bench_job *job, const char *title);
void cli_bench_print_json(const cli_bench_job *job);

#endif
