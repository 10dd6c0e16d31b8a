// SPDX-License-Identifier: MIT
// What the files of `inkling complete` share: its options and everything that a run has open.
//
//     complete_options.c  the table of options     complete_check.c   what does not go together
//     complete_open.c     from options to objects  complete_session.c saved sessions
//     complete.c          the run                  complete_report.c  what is told of it
#ifndef CLI_COMPLETE_JOB_H
#define CLI_COMPLETE_JOB_H

#include <stdio.h>

#include "cli/args.h"
#include "cli/load.h"
#include "cli/terminal.h"
#include "inkling/inkling.h"

typedef struct cli_complete_options {
    const char *model, *draft, *samplers, *grammar, *grammar_file, *json_schema, *filter, *save,
        *load;
    cli_uint n_tokens, seed, top_k, repeat_last_n, dry_allowed_length, dry_last_n, no_repeat_ngram,
        logprobs, beams, draft_max, context, keep, threads;
    cli_real temperature, top_p, min_p, typical, top_n_sigma, repeat_penalty, presence_penalty,
        frequency_penalty, dynatemp_range, dynatemp_exponent, xtc_probability, xtc_threshold,
        dry_multiplier, dry_base, mirostat_tau, mirostat_eta, length_penalty, penalty_alpha;
    cli_list stop, loras, ban, require, dry_breakers, logit_bias;
    cli_choice overflow, kv_type, mirostat;
    bool greedy, ignore_eos, no_heal, special, echo, stats, json;
} cli_complete_options;
extern cli_complete_options cli_complete_set;
int cli_complete_run(char **args, size_t n_args); // complete.c
bool cli_complete_given(const char *option);      // on the command line
bool cli_complete_searches(void);                 // --beams or --penalty-alpha

// These return an exit code and have told the reason when it is not CLI_OK.

// What can be said of the options by themselves.
int cli_complete_check(const char *prompt);
// An option whose step the chain lacks would do nothing; chain: as ink_sampler_chain prints it.
int cli_complete_check_steps(const char *chain);

typedef struct cli_complete_job {
    ink_runtime *runtime;
    ink_model *model, *draft;
    cli_adapters adapters;
    ink_session *session;
    ink_sampler *sampler; // NULL: it searches
    char *chain;          // of the sampler; malloc'ed
    ink_filter *filter;
    ink_grammar *grammar;
    cli_bytes prompt;
    cli_progress progress;
    uint32_t n_restored; // tokens of the session that was loaded
    uint32_t n_saved;    // of the one that was saved
    bool saved;
    FILE *table; // lines beside the text: standard error, or where they wait for the text's end
    char *table_text; // [table_bytes]
    size_t table_bytes;
    int code; // of what failed in a callback
    double started, load_ms;
} cli_complete_job;

// All of the job but what is generated; prompt: the argument, NULL for none. The job is to be
// closed after a failure too.
int cli_complete_open(cli_complete_job *job, const char *prompt);
void cli_complete_close(cli_complete_job *job);

// Whether there is a place to save to: before much time is spent on what shall be saved.
int cli_complete_check_save(void);
// The session, and where no option takes their place its sampler and filter, become the saved ones.
// *seed: of the saved sampler; *seeded: there was one.
int cli_complete_load(cli_complete_job *job, uint64_t *seed, bool *seeded);
int cli_complete_save(cli_complete_job *job);

void cli_complete_piece(cli_complete_job *job, const ink_piece *piece);
void cli_complete_found(cli_complete_job *job, uint32_t index, const ink_found *found);
// A newline where a terminal lacks one, and the lines that waited. Once, before the report.
void cli_complete_end_text(cli_complete_job *job);
// What --json and --stats tell.
void cli_complete_report(const cli_complete_job *job, const ink_result *result);

#endif
