// SPDX-License-Identifier: MIT
// inkling convert: a Hugging Face GPT-2 directory becomes a GGUF file, or the other way round.
#include <string.h>

#include "cli/commands.h"
#include "cli/conversion.h"
#include "cli/report.h"
#include "cli/terminal.h"
#include "convert/convert.h"
#include "convert/hf_write.h"

static const char *const type_names[] = {"f32", "f16", "bf16", "q8_0", "q4_0", NULL};
static const inki_tensor_type types[] = {INKI_F32, INKI_F16, INKI_BF16, INKI_Q8_0, INKI_Q4_0};
enum { DEFAULT_TYPE = 3 };
static const char *const targets[] = {"gguf", "hf", NULL};
enum { TO_GGUF, TO_HF };

static struct {
    const char *out, *name, *license;
    cli_choice type, to;
} set;

static const cli_option options[] = {
    {.name = "output",
     .letter = 'o',
     .kind = CLI_TEXT,
     .target = &set.out,
     .value = "OUT",
     .help = "the file to write, with --to hf the directory; it must be given"},
    {.name = "to",
     .kind = CLI_CHOICE,
     .target = &set.to,
     .choices = targets,
     .show_default = true,
     .help = "hf: MODEL.gguf becomes a Hugging Face directory"},
    {.name = "type",
     .kind = CLI_CHOICE,
     .target = &set.type,
     .choices = type_names,
     .show_default = true,
     .help = "of the matrices; q8_0 is a quarter of f32 and hardly worse"},
    {.name = "name",
     .kind = CLI_TEXT,
     .target = &set.name,
     .value = "TEXT",
     .help = "the model's name in the file; without it that of the directory"},
    {.name = "license",
     .kind = CLI_TEXT,
     .target = &set.license,
     .value = "TEXT",
     .help = "the licence in the file; without it the one that README.md states at its top"},
};

static void defaults(void) {
    memset(&set, 0, sizeof set);
    set.type.value = DEFAULT_TYPE;
}

static int write_directory(const char *gguf) {
    ink_error error = {0};
    if (set.type.set || set.name != NULL || set.license != NULL)
        return cli_fail(CLI_USAGE,
                        "convert: with --to hf the type is f32 and nothing is named: --type, "
                        "--name and --license are for gguf (see inkling convert --help)");
    const ink_status status = inki_hf_write(gguf, set.out, NULL, &error);
    return status == INK_OK ? CLI_OK : cli_fail_ink(status, &error);
}

static int run(char **args, size_t n_args) {
    (void)n_args;
    if (set.out == NULL)
        return cli_fail(CLI_USAGE, "convert: -o OUT.gguf is missing (see inkling convert --help)");
    if (set.to.value == TO_HF) return write_directory(args[0]);
    ink_error error = {0};
    cli_progress progress;
    const inki_convert_options how = {.dir = args[0],
                                      .out = set.out,
                                      .type = types[set.type.value],
                                      .name = set.name,
                                      .license = set.license,
                                      .progress = cli_conversion_progress,
                                      .note = cli_conversion_note,
                                      .user = &progress};
    cli_progress_begin(&progress, "converting", false);
    const ink_status status = inki_convert_hf(&how, &error);
    cli_progress_end(&progress);
    if (status == INK_E_CANCELLED)
        return cli_fail(CLI_INTERRUPTED, "interrupted, %s was not written", set.out);
    if (status != INK_OK) return cli_fail_ink(status, &error);
    cli_conversion_written(set.out, 0);
    return CLI_OK;
}

const cli_command cli_convert_command = {
    .name = "convert",
    .synopsis = "HF_DIR -o OUT.gguf [--type T] | MODEL.gguf -o DIR --to hf",
    .summary = "Makes a GGUF file of a Hugging Face GPT-2 directory, or the directory of the file",
    .details = "The directory holds config.json, model.safetensors (or its shards with\n"
               "model.safetensors.index.json), and tokenizer.json or vocab.json with merges.txt. A "
               "row that a\n"
               "type cannot hold gets a wider type, which is then told. The file appears under its "
               "name only\n"
               "when it is whole; one that is there already is replaced. With --to hf the weights "
               "are written\n"
               "as float32, whatever type they had, with all that transformers reads beside "
               "them.\n",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .argument = "HF_DIR or MODEL.gguf",
    .min_args = 1,
    .max_args = 1,
    .defaults = defaults,
    .run = run,
};
