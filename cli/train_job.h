// SPDX-License-Identifier: MIT
// What the files of `inkling train` share: its options, which are also what a checkpoint and
// settings.json keep of a run, and everything that a run has open.
//
//     train_options.c   the table of options          train_settings.c  presets, checks, JSON
//     train_vocab.c     the vocabulary                train_setup.c     from options to a trainer
//     train_command.c   the run                       train_progress.c  what is told of it, log.csv
//     train_chart.c     loss.svg                      train_output.c    what is written at the end
#ifndef CLI_TRAIN_JOB_H
#define CLI_TRAIN_JOB_H

#include <jansson.h>
#include <stdio.h>

#include "cli/args.h"
#include "cli/report.h"
#include "cli/terminal.h"
#include "inkling/inkling.h"
#include "train/bpe_train.h"
#include "train/data.h"
#include "train/engine_view.h"
#include "train/net.h"
#include "train/trainer.h"

// A value that is 0 and was not given is decided when the model and the text are known.
typedef struct cli_train_options {
    const char *output, *resume, *tokenizer, *init, *teacher, *valid, *sample_prompt, *name,
        *license;
    cli_choice preset, precision, type;
    cli_uint embd, layers, heads, context, vocab, lora, batch, pass_tokens, steps, warmup, seed,
        threads, validate_every, held_max, patience, checkpoint_steps, sample_every;
    cli_real lora_alpha, distil_weight, distil_temperature, held_out, epochs, rate, rate_end, decay,
        beta1, beta2, clip, dropout, blank_lines, checkpoint_minutes;
    bool force_new, recompute, hf, json, quiet;
} cli_train_options;
extern cli_train_options cli_train_set;
extern const cli_option cli_train_table[];
extern const size_t cli_train_table_size;
int cli_train_run(char **args, size_t n_args); // train_command.c

// In the order of --preset, --precision and --type.
enum { CLI_TRAIN_AUTO, CLI_TRAIN_F32, CLI_TRAIN_BF16 };
enum {
    CLI_TRAIN_TYPE_F32,
    CLI_TRAIN_TYPE_F16,
    CLI_TRAIN_TYPE_BF16,
    CLI_TRAIN_TYPE_Q8_0,
    CLI_TRAIN_TYPE_Q4_0,
    CLI_TRAIN_TYPE_Q4_K,
    CLI_TRAIN_TYPE_Q6_K
};

// Steps between the weights that are kept to go back to while there was no validation.
enum { CLI_TRAIN_KEEP = 20 };

// A model that is read: for its weights, or for its vocabulary alone.
typedef struct cli_train_model {
    ink_model *model; // NULL: none
    inki_engine_view view;
} cli_train_model;

// log.csv and the line on the screen.
typedef struct cli_train_progress {
    FILE *log;
    uint64_t row_steps;       // a row of the log stands for so many steps
    double sum, seconds;      // losses since the last row; of the run, those before a resume too
    uint64_t n_sum, n_tokens; // steps in `sum`; tokens at the last row
    double row_seconds;       // `seconds` at the last row
    double step_ms;           // what a step takes, lately
    double held_loss;         // of the last validation, NAN: none yet
    bool log_failed;          // was told
    cli_progress bar;
} cli_train_progress;

typedef struct cli_train_job {
    const char **texts; // [n_texts] as they were given
    size_t n_texts;
    char *folder;   // what relative paths are relative to, when that is not the current folder
    json_t *config; // of the checkpoint; texts and options borrow from it
    const char *dir;
    bool made_dir;         // it was not there
    int lock;              // descriptor of the folder, which is locked; -1: none
    const char *converted; // the model that was made of an --init directory; NULL: none
    inki_mem mem;

    ink_runtime *runtime;
    inki_compute compute;
    bool holds_pool;
    cli_train_model init, vocab_model, teacher; // vocab_model: of --tokenizer
    inki_net_shape shape;
    inki_file *text_files; // [n_texts + 1] the last one is that of --valid
    inki_learned_vocab learned;
    bool learns_vocab;
    inki_tokenizer *own_tokenizer; // of a vocabulary that was learnt
    const inki_tokenizer *tokenizer;
    const inki_gguf *like; // whose vocabulary it is; NULL: `learned`
    uint64_t vocab_bits;   // of a vocabulary that was learnt; 0: none was, or not known yet
    inki_data *data;
    inki_net *net, *teacher_net;
    inki_trainer *trainer;
    uint64_t memory_bytes; // that training takes

    cli_train_progress progress;
    inki_train_report report; // of the last step of this process
    bool has_report;
    uint64_t n_validations;
    double saved_ms; // when the last checkpoint was written
} cli_train_job;

// All that return an int return an exit code, and have told the reason of a failure.

// --- train_settings.c ------------------------------------------------------------------------
// Options that make no sense together, and what is missing.
int cli_train_check(const cli_train_options *set, const char *const *texts, size_t n_texts);
// On --resume nothing else counts than what the run was begun with.
int cli_train_check_resume(const cli_train_options *set, size_t n_texts);
// Sizes of the preset where none are given.
void cli_train_apply_preset(cli_train_options *set);
// What is left at 0 and follows from the sizes, then from the text.
void cli_train_decide(cli_train_options *set, bool fine_tune);
void cli_train_decide_steps(cli_train_options *set, uint64_t epoch_sequences);
// The settings as text for a checkpoint; the caller frees it. NULL without memory.
char *cli_train_config_text(const cli_train_job *job);
// The other way round.
int cli_train_config_read(cli_train_job *job, inki_str text, const char *where);
// The same for people: without the folder, as an object to add to. NULL without memory.
json_t *cli_train_settings_json(const cli_train_job *job);

// --- train_setup.c -----------------------------------------------------------------------------
// The path of a file in the run's folder; out [CLI_TRAIN_PATH]. Returns out.
enum { CLI_TRAIN_PATH = 4096 };
const char *cli_train_path(const cli_train_job *job, const char *name, char *out);
// path as it is to be opened, after a resume from another folder too; out [CLI_TRAIN_PATH].
const char *cli_train_input(const cli_train_job *job, const char *path, char *out);
// Opens everything up to the trainer, and tells what it is. To be closed in any case.
int cli_train_open(cli_train_job *job);
void cli_train_close(cli_train_job *job);

// --- train_vocab.c -----------------------------------------------------------------------------
// Sets tokenizer and like, or learned. texts [n_texts] are read where it is learnt.
int cli_train_vocabulary(cli_train_job *job, const inki_str *texts, size_t n_texts);
int cli_train_write_vocabulary(const cli_train_job *job); // vocab.json, merges.txt
// A teacher must have the very vocabulary.
int cli_train_check_teacher(const cli_train_job *job);

// --- train_progress.c --------------------------------------------------------------------------
// The log is begun, or cut back to the steps that are done.
int cli_train_progress_begin(cli_train_job *job);
// After a step that took `ms`, with what it was validated by.
void cli_train_progress_step(cli_train_job *job, double ms);
void cli_train_progress_flush(cli_train_job *job); // the log is in its file
void cli_train_progress_end(cli_train_job *job);
// "2 h 10 min", "45 s"; out [CLI_TRAIN_TEXT]. Returns out.
enum { CLI_TRAIN_TEXT = 48 };
const char *cli_train_duration(double seconds, char *out);
const char *cli_train_count(uint64_t n, char *out); // "1,234,567"; likewise
// cli_note, unless --quiet or --json.
void cli_train_say(const char *format, ...) CLI_FORMAT(1, 2);
bool cli_train_tells(void); // neither of the two

// --- train_chart.c -----------------------------------------------------------------------------
// Makes the chart at `svg` of the log at `csv`; title: what was trained. Errors: those of
// inki_out_open and inki_out_write, INK_E_FORMAT (nothing to draw), INK_E_NOMEM.
ink_status cli_train_chart(const char *csv, const char *svg, const char *title, const inki_mem *mem,
                           ink_error *error);

// --- train_output.c ----------------------------------------------------------------------------
// text [bytes] becomes a file that appears when it is whole.
int cli_train_write(const cli_train_job *job, const char *name, const char *text, size_t bytes);
int cli_train_write_settings(const cli_train_job *job);
// The best weights so far, as model.gguf or adapter.gguf. last: also as hf/, and notes are told.
int cli_train_export(cli_train_job *job, bool last);
int cli_train_save_checkpoint(cli_train_job *job);
void cli_train_draw(const cli_train_job *job); // loss.svg; a failure is only told
int cli_train_sample(cli_train_job *job);
void cli_train_summary(const cli_train_job *job, bool interrupted);

#endif
