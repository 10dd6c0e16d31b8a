// SPDX-License-Identifier: MIT
// inkling quantize: a GGUF file becomes a smaller one.
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/conversion.h"
#include "cli/out.h"
#include "cli/report.h"
#include "cli/terminal.h"
#include "cli/text.h"
#include "convert/quantize.h"

static const char *const preset_names[INKI_QUANTIZE_PRESETS] = {
    [INKI_QUANTIZE_Q8_0] = "q8_0", [INKI_QUANTIZE_Q4_0] = "q4_0",   [INKI_QUANTIZE_Q4_K] = "q4_k",
    [INKI_QUANTIZE_Q6_K] = "q6_k", [INKI_QUANTIZE_MIXED] = "mixed",
};

static cli_uint threads;
static const cli_option options[] = {CLI_OPTION_THREADS(&threads)};

static void defaults(void) { threads = (cli_uint){0}; }

// Letters in any case, as tensor types are written Q4_K elsewhere.
static int preset_by_name(const char *name) {
    for (int i = 0; i < INKI_QUANTIZE_PRESETS; i++) {
        const char *want = preset_names[i], *have = name;
        while (*want != 0 && (*have >= 'A' && *have <= 'Z' ? *have + 32 : *have) == *want) {
            want++;
            have++;
        }
        if (*want == 0 && *have == 0) return i;
    }
    return -1;
}

static double bits(uint64_t bytes, uint64_t n_elems) {
    return n_elems > 0 ? 8.0 * (double)bytes / (double)n_elems : 0;
}

static void print_row(const char *name, const char *types, uint64_t n_tensors, uint64_t in,
                      uint64_t out, uint64_t n_elems) {
    char size_in[CLI_TEXT_SIZE], size_out[CLI_TEXT_SIZE];
    cli_out("%-24s %-12s %7llu %10s %10s %10.2f", name, types, (unsigned long long)n_tensors,
            cli_text_size(in, size_in), cli_text_size(out, size_out), bits(out, n_elems));
}

static void print_group(const inki_quantize_group *g) {
    char name[4 * sizeof g->role], types[32];
    cli_text_fit(g->role, 24, name, sizeof name);
    snprintf(types, sizeof types, "%s > %s", inki_type_of(g->type_in).name,
             inki_type_of(g->type).name);
    print_row(name, types, g->n_tensors, g->bytes_in, g->bytes_out, g->n_elems);
    if (g->power > 0) cli_out("%9.3f %%", 100 * sqrt(g->error / g->power));
    cli_out("\n");
}

// Errors: the root of the sum of squares, of what was lost over what there was.
static void print_table(const inki_quantize_result *r) {
    inki_quantize_group kept = {.n_tensors = 0}, all = {.n_tensors = 0};
    cli_out("%-24s %-12s %7s %10s %10s %10s %10s\n", "tensors", "types", "number", "before",
            "after", "bits each", "error");
    for (size_t i = 0; i < r->n_groups; i++) {
        const inki_quantize_group *g = &r->groups[i];
        inki_quantize_group *sums[] = {&all, g->type == g->type_in ? &kept : NULL};
        for (size_t k = 0; k < 2; k++) {
            if (sums[k] == NULL) continue;
            sums[k]->n_tensors += g->n_tensors;
            sums[k]->n_elems += g->n_elems;
            sums[k]->bytes_in += g->bytes_in;
            sums[k]->bytes_out += g->bytes_out;
        }
        if (g->type != g->type_in) print_group(g);
    }
    if (kept.n_tensors > 0) {
        print_row("others", "as they are", kept.n_tensors, kept.bytes_in, kept.bytes_out,
                  kept.n_elems);
        cli_out("\n");
    }
    print_row("all", "", all.n_tensors, all.bytes_in, all.bytes_out, all.n_elems);
    cli_out("\n");
}

// What is written to standard output must not have a table behind it.
static bool is_standard_output(const char *path) {
    struct stat out, file;
    return fstat(STDOUT_FILENO, &out) == 0 && stat(path, &file) == 0 && out.st_dev == file.st_dev &&
           out.st_ino == file.st_ino;
}

static int run(char **args, size_t n_args) {
    (void)n_args;
    const int preset = preset_by_name(args[2]);
    if (preset < 0)
        return cli_fail(CLI_USAGE,
                        "quantize: type \"%.100s\" is none of q8_0, q4_0, q4_k, q6_k, mixed (see "
                        "inkling quantize --help)",
                        args[2]);
    static inki_quantize_result result;
    ink_error error = {0};
    cli_progress progress;
    const inki_quantize_options how = {.in = args[0],
                                       .out = args[1],
                                       .preset = (inki_quantize_preset)preset,
                                       .n_threads = (uint32_t)threads.value,
                                       .progress = cli_conversion_progress,
                                       .note = cli_conversion_note,
                                       .user = &progress};
    const bool quiet = is_standard_output(args[1]);
    memset(&result, 0, sizeof result);
    cli_progress_begin(&progress, "quantizing", false);
    const ink_status status = inki_quantize_file(&how, &result, &error);
    cli_progress_end(&progress);
    if (status == INK_E_CANCELLED)
        return cli_fail(CLI_INTERRUPTED, "interrupted, %s was not written", args[1]);
    if (status != INK_OK) return cli_fail_ink(status, &error);
    if (!quiet) print_table(&result);
    cli_conversion_written(args[1], result.file_bytes_in);
    return CLI_OK;
}

const cli_command cli_quantize_command = {
    .name = "quantize",
    .synopsis = "IN.gguf OUT.gguf TYPE",
    .summary = "Makes a GGUF file smaller",
    .details =
        "TYPE is one of\n"
        "  q8_0   a quarter of f32, hardly worse\n"
        "  q6_k   a little smaller, hardly worse\n"
        "  mixed  q4_k, but the head in q8_0 and the first layers in q6_k\n"
        "  q4_k   about a seventh of f32\n"
        "  q4_0   the same size, simpler blocks: faster, worse\n"
        "Scales are searched for a small error. The head stays at 6 bits or more; vectors, norms "
        "and\n"
        "positions stay as they are. Blocks of q4_k and q6_k are 256 long: rows of another length "
        "get\n"
        "q5_0, q5_1 or q8_0 instead, which is then told. The file appears under its name only when "
        "it\n"
        "is whole; one that is there already is replaced.\n",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .argument = "IN.gguf, OUT.gguf or TYPE",
    .min_args = 3,
    .max_args = 3,
    .defaults = defaults,
    .run = run,
};
