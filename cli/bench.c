// SPDX-License-Identifier: MIT
// inkling bench: how fast a model runs here, and how much of the machine that takes.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/bench_job.h"
#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/report.h"
#include "convert/shape_model.h"

enum { MAX_SHAPES = 16, DEFAULT_TYPE = 3, PATH_BYTES = 4096 };
static const char *shape_names[MAX_SHAPES];

static struct {
    const char *model, *keep;
    cli_list loras;
    cli_choice shape, type, kv_type;
    cli_uint threads, context;
    bool json, quick, peak;
} set;

static const cli_option options[] = {
    CLI_OPTION_MODEL(&set.model),
    CLI_OPTION_LORA(&set.loras),
    {.name = "shape",
     .kind = CLI_CHOICE,
     .choices = shape_names,
     .target = &set.shape,
     .help = "measure a random model of this shape, made in a temporary file"},
    {.name = "type",
     .kind = CLI_CHOICE,
     .choices = inki_shape_types,
     .target = &set.type,
     .show_default = true,
     .help = "of its matrices"},
    {.name = "keep",
     .kind = CLI_TEXT,
     .value = "FILE",
     .target = &set.keep,
     .help = "make it in FILE, which stays"},
    {.name = "threads",
     .kind = CLI_UINT,
     .value = "N",
     .high = 1e9,
     .target = &set.threads,
     .help = "threads; 0 or nothing: one for each processor, which is also the most"},
    CLI_OPTION_CONTEXT(&set.context),
    CLI_OPTION_KV_TYPE(&set.kv_type),
    {.name = "quick",
     .kind = CLI_FLAG,
     .target = &set.quick,
     .help = "shorter and fewer slices of time: about 3 s, rougher figures"},
    {.name = "peak",
     .kind = CLI_FLAG,
     .target = &set.peak,
     .help = "only fill the context and print the peak memory of this very process, in bytes"},
    CLI_OPTION_JSON(&set.json, "one JSON object instead of lines"),
};

static void defaults(void) {
    ink_session_options session;
    ink_session_options_init(&session, sizeof session);
    memset(&set, 0, sizeof set);
    set.kv_type.value = session.kv_type;
    set.type.value = DEFAULT_TYPE;
    for (size_t i = 0; i < inki_n_shapes && i < MAX_SHAPES - 1; i++)
        shape_names[i] = inki_shapes[i].name;
}

static int check_options(void) {
    const char *wrong = NULL;
    if (set.shape.set && set.model != NULL)
        wrong = "-m and --shape: one of them was expected";
    else if (!set.shape.set && (set.type.set || set.keep != NULL))
        wrong = "--type and --keep go with --shape";
    else if (set.peak && (set.shape.set || set.json))
        wrong = "--peak goes without --shape and --json";
    if (wrong == NULL) return CLI_OK;
    return cli_fail(CLI_USAGE, "bench: %s (see inkling bench --help)", wrong);
}

// More threads than processors would measure how they wait for each other.
static int choose_threads(unsigned *n) {
    ink_error error = {0};
    ink_runtime *runtime = NULL;
    const ink_status status = ink_runtime_new(&runtime, NULL, &error);
    if (status != INK_OK) return cli_fail_ink(status, &error);
    unsigned most = ink_runtime_n_threads(runtime);
    ink_runtime_unref(runtime);
    if (most > CLI_BENCH_MAX_THREADS) most = CLI_BENCH_MAX_THREADS;
    *n = most;
    if (set.threads.value > most)
        cli_note("--threads %llu: %u are used, one for each processor",
                 (unsigned long long)set.threads.value, most);
    else if (set.threads.value > 0)
        *n = (unsigned)set.threads.value;
    return CLI_OK;
}

// --- a model of a shape --------------------------------------------------------------------------

typedef struct shape_file {
    char path[PATH_BYTES]; // "": none, or it has no name any more
    char name[32];         // what it is opened by
    char title[96];
    int fd;
} shape_file;

static int on_progress(void *user, double fraction) {
    cli_progress_update(user, fraction);
    return cli_interrupted();
}

static int write_shape(const char *path) {
    ink_error error = {0};
    cli_progress progress;
    const inki_shape_options how = {.shape = &inki_shapes[set.shape.value],
                                    .type = set.type.value,
                                    .out = path,
                                    .progress = on_progress,
                                    .user = &progress};
    cli_progress_begin(&progress, "making a model", true);
    const ink_status status = inki_shape_write(&how, &error);
    cli_progress_end(&progress);
    return status == INK_OK ? CLI_OK : cli_bench_failed(status, &error);
}

static int make_temporary(shape_file *file) {
    const char *folder = getenv("TMPDIR");
    const int n = snprintf(file->path, sizeof file->path, "%s/inkling-bench-XXXXXX",
                           folder != NULL && folder[0] != 0 ? folder : "/tmp");
    if (n < 0 || (size_t)n >= sizeof file->path) {
        file->path[0] = 0;
        return cli_fail(CLI_FILE, "TMPDIR: the path is too long");
    }
    const int fd = mkstemp(file->path);
    if (fd < 0) {
        const int code =
            cli_fail(CLI_FILE, "%s: cannot make a file: %s", file->path, strerror(errno));
        file->path[0] = 0;
        return code;
    }
    close(fd);
    return write_shape(file->path);
}

// An open file needs no name: without one, nothing is left behind however this program ends. The
// processes that it starts inherit the descriptor and find the file under the same name.
static int drop_name(shape_file *file) {
    file->fd = open(file->path, O_RDONLY);
    if (file->fd < 0) return cli_fail(CLI_FILE, "%s: cannot open: %s", file->path, strerror(errno));
    snprintf(file->name, sizeof file->name, "/dev/fd/%d", file->fd);
    if (access(file->name, R_OK) != 0) return CLI_OK; // it keeps its name until the end
    unlink(file->path);
    file->path[0] = 0;
    return CLI_OK;
}

static int make_shape(shape_file *file, cli_bench_job *job) {
    snprintf(file->title, sizeof file->title, "random %s %s", shape_names[set.shape.value],
             inki_shape_types[set.type.value]);
    job->model = set.keep;
    if (set.keep != NULL) return write_shape(set.keep);
    int code = make_temporary(file);
    if (code == CLI_OK) code = drop_name(file);
    job->model = file->path[0] != 0 ? file->path : file->name;
    return code;
}

static void drop_shape(shape_file *file) {
    if (file->fd >= 0) close(file->fd);
    if (file->path[0] != 0) unlink(file->path);
}

// --- the command ---------------------------------------------------------------------------------

static int measure(cli_bench_job *job) {
    cli_progress_begin(&job->progress, "measuring", true);
    int code = cli_bench_peak(job);
    if (code == CLI_OK) code = cli_bench_open(job);
    if (code == CLI_OK) code = cli_bench_first_token(job);
    if (code == CLI_OK) code = cli_bench_map(job);
    if (code == CLI_OK) code = cli_bench_speeds(job);
    cli_progress_end(&job->progress);
    return code;
}

static int run(char **args, size_t n_args) {
    (void)args;
    (void)n_args;
    shape_file file = {.fd = -1};
    cli_bench_job job = {.model = set.model,
                         .loras = set.loras,
                         .kv_type = set.kv_type.value,
                         .n_ctx = (uint32_t)set.context.value,
                         .n_slices = set.quick ? 3 : 7,
                         .n_starts = set.quick ? 3 : 9,
                         .slice_ms = set.quick ? 40 : 250};
    int code = check_options();
    if (code == CLI_OK) code = choose_threads(&job.n_threads);
    if (code == CLI_OK && set.peak) {
        code = cli_bench_fill(&job);
        cli_bench_close(&job);
        return code;
    }
    if (code == CLI_OK && set.shape.set) code = make_shape(&file, &job);
    if (code == CLI_OK) code = measure(&job);
    if (code == CLI_OK && set.json)
        cli_bench_print_json(&job);
    else if (code == CLI_OK)
        cli_bench_print(&job, set.shape.set ? file.title : NULL);
    cli_bench_close(&job);
    drop_shape(&file);
    return code;
}

const cli_command cli_bench_command = {
    .name = "bench",
    .synopsis = "[-m MODEL | --shape S --type T] [options]",
    .summary = "Measures how fast a model runs on this machine",
    .details = "Printed are the speed of reading a prompt of 16, 128 and 512 tokens; of decoding "
               "behind 16, 512\n"
               "and 1000 tokens, and which share that is of the bandwidth with which the same "
               "threads read the\n"
               "same file; of 1, 2, 4 and 8 sequences in one pass; the time from the start of a "
               "process to its\n"
               "first token; and the most memory that a process with a full context takes. Each is "
               "the median\n"
               "of several slices of time. INKLING_CPU leaves out instruction sets.\n",
    .options = options,
    .n_options = sizeof options / sizeof *options,
    .defaults = defaults,
    .run = run,
};
