// SPDX-License-Identifier: MIT
// inkling merge: a model and adapters become one model.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/conversion.h"
#include "cli/load.h"
#include "cli/report.h"
#include "cli/terminal.h"
#include "convert/quantize.h"
#include "train/export.h"

enum { MAX_ADAPTERS = 64, PATH_BYTES = 4096 };

// What is no plain rounding is left to quantize, by way of an F32 file.
static const struct merge_type {
    const char *name;
    uint32_t type;
    int preset; // -1: none is needed
} merge_types[] = {
    {"f32", INKI_F32, -1},
    {"f16", INKI_F16, -1},
    {"bf16", INKI_BF16, -1},
    {"q8_0", INKI_F32, INKI_QUANTIZE_Q8_0},
    {"q4_0", INKI_F32, INKI_QUANTIZE_Q4_0},
    {"q4_k", INKI_F32, INKI_QUANTIZE_Q4_K},
    {"q6_k", INKI_F32, INKI_QUANTIZE_Q6_K},
    {"mixed", INKI_F32, INKI_QUANTIZE_MIXED},
};
static const char *const merge_type_names[] = {"f32",  "f16",  "bf16",  "q8_0", "q4_0",
                                               "q4_k", "q6_k", "mixed", NULL};

static struct {
    const char *out;
    cli_choice type;
} set;

static const cli_option options[] = {
    {.name = "output",
     .letter = 'o',
     .kind = CLI_TEXT,
     .target = &set.out,
     .value = "OUT.gguf",
     .help = "the file to write; it must be given"},
    {.name = "type",
     .kind = CLI_CHOICE,
     .target = &set.type,
     .choices = merge_type_names,
     .help = "of the matrices; without it each keeps the one it has, and of those that are not\n"
             "written here (K types, Q5_0, …) the changed ones become f16"},
};

static void defaults(void) { memset(&set, 0, sizeof set); }

// "A.gguf" or "A.gguf:0.5", as --lora has it; text is cut before the colon.
static int read_adapter(char *text, inki_merge_adapter *out) {
    size_t n;
    *out = (inki_merge_adapter){.path = text};
    if (!cli_split_scale(text, &n, &out->scale))
        return cli_fail(CLI_USAGE, "merge: %.100s: \"%.40s\" is no number that can be a scale",
                        text, text + n + 1);
    text[n] = 0;
    return CLI_OK;
}

static bool same_file(const char *a, const char *b) {
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

// A file beside `out` for what is not quantised yet; in the temporary folder where `out` is a pipe
// or a device.
static int make_between(const char *out, char *path) {
    const char *slash = strrchr(out, '/'), *folder = getenv("TMPDIR");
    struct stat there;
    int n;
    if (stat(out, &there) == 0 && !S_ISREG(there.st_mode))
        n = snprintf(path, PATH_BYTES, "%s/inkling-merge-XXXXXX",
                     folder != NULL && folder[0] != 0 ? folder : "/tmp");
    else
        n = snprintf(path, PATH_BYTES, "%.*s.inkling-merge-XXXXXX",
                     slash != NULL ? (int)(slash - out + 1) : 0, out);
    const int fd = n < PATH_BYTES ? mkstemp(path) : -1;
    if (fd < 0) return cli_fail(CLI_FILE, "%s: no file can be made beside it", out);
    close(fd);
    return CLI_OK;
}

static int finish(ink_status status, const ink_error *error) {
    if (status == INK_E_CANCELLED)
        return cli_fail(CLI_INTERRUPTED, "interrupted, %s was not written", set.out);
    return status == INK_OK ? CLI_OK : cli_fail_ink(status, error);
}

static int merge_to(inki_merge *how) {
    ink_error error = {0};
    cli_progress progress;
    how->progress = cli_conversion_progress;
    how->user = &progress;
    cli_progress_begin(&progress, "merging", false);
    const ink_status status = inki_merge_files(how, &error);
    cli_progress_end(&progress);
    return finish(status, &error);
}

static int merge_and_quantize(inki_merge *how, int preset) {
    char between[PATH_BYTES];
    int code = make_between(set.out, between);
    if (code != CLI_OK) return code;
    how->out = between;
    code = merge_to(how);
    if (code == CLI_OK) {
        ink_error error = {0};
        cli_progress progress;
        const inki_quantize_options quantize = {.in = between,
                                                .out = set.out,
                                                .preset = (inki_quantize_preset)preset,
                                                .progress = cli_conversion_progress,
                                                .note = cli_conversion_note,
                                                .user = &progress};
        cli_progress_begin(&progress, "quantizing", false);
        const ink_status status = inki_quantize_file(&quantize, NULL, &error);
        cli_progress_end(&progress);
        code = finish(status, &error);
    }
    unlink(between);
    return code;
}

static int run(char **args, size_t n_args) {
    inki_merge_adapter adapters[MAX_ADAPTERS];
    inki_merge how = {.in = args[0], .out = set.out, .adapters = adapters, .type = UINT32_MAX};
    if (set.out == NULL)
        return cli_fail(CLI_USAGE, "merge: -o OUT.gguf is missing (see inkling merge --help)");
    bool own = same_file(args[0], set.out);
    for (how.n = 0; how.n + 1 < n_args; how.n++) {
        const int code = read_adapter(args[how.n + 1], &adapters[how.n]);
        if (code != CLI_OK) return code;
        own = own || same_file(adapters[how.n].path, set.out);
    }
    if (own)
        return cli_fail(CLI_USAGE,
                        "%s: the output is one of the files to read, another name was "
                        "expected",
                        set.out);
    const struct merge_type *type = &merge_types[set.type.value];
    if (set.type.set) how.type = type->type;
    const int code =
        set.type.set && type->preset >= 0 ? merge_and_quantize(&how, type->preset) : merge_to(&how);
    if (code == CLI_OK) cli_conversion_written(set.out, 0);
    return code;
}

const cli_command cli_merge_command = {
    .name = "merge",
    .synopsis = "MODEL.gguf ADAPTER.gguf[:SCALE]… -o OUT.gguf [--type T]",
    .summary = "Bakes LoRA adapters into a model",
    .details = "A scale says how much an adapter counts; without it 1, as it was trained. What "
               "comes out\n"
               "computes what MODEL with --lora ADAPTER does, and needs no adapter beside it. The "
               "file\n"
               "appears under its name only when it is whole; one that is there already is "
               "replaced.\n",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .argument = "MODEL.gguf or ADAPTER.gguf",
    .min_args = 2,
    .max_args = 1 + MAX_ADAPTERS,
    .defaults = defaults,
    .run = run,
};
