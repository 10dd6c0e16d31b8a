// SPDX-License-Identifier: MIT
// Usage: compare [--quick] [--threads N] [--story FILE] --program INKLING MODEL...
// Slices of ours, llama.cpp's and the bandwidth probe in turns, and a table of the ratios' medians
// beside the bars of the project. LLAMA_LIBRARIES: the folder with llama.cpp's libraries.
// bench/compare.sh has the rest.
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/compare.h"
#include "cli/bench_job.h"
#include "cli/load.h"

enum { MAX_ROUNDS = 32, MAX_MODELS = 8, BYTES_A_MB = 1000000 };

static struct {
    unsigned n_rounds, n_threads;
    double slice_ms;
    const char *program, *story, *models[MAX_MODELS];
    unsigned n_models, n_short;
} set;

typedef struct subject {
    const char *path;
    ink_model_info info;
    ink_memory memory;
    compare_worker ours, theirs, read;
} subject;

typedef enum bar_kind { BAR_NONE, BAR_AT_LEAST, BAR_AT_MOST } bar_kind;
typedef struct row {
    char name[64];
    bar_kind kind;
    double bar;
    double ours[MAX_ROUNDS], other[MAX_ROUNDS], ratio[MAX_ROUNDS];
    unsigned n;
} row;

static void add(row *r, double ours, double other) {
    r->ours[r->n] = ours;
    r->other[r->n] = other;
    r->ratio[r->n++] = ours / other;
}

static void print_heading(void) {
    printf("%-34s %10s %10s   %-24s %-8s\n", "", "ours", "beside it", "ratio [quartiles]", "bar");
}

static void print_row(row *r) {
    const compare_quartiles ours = compare_sort(r->ours, r->n),
                            other = compare_sort(r->other, r->n),
                            ratio = compare_sort(r->ratio, r->n);
    printf("%-34s %10.1f %10.1f   %6.3f [%.3f, %.3f]   ", r->name, ours.median, other.median,
           ratio.median, ratio.low, ratio.high);
    if (r->kind != BAR_NONE) {
        const bool pass = r->kind == BAR_AT_LEAST ? ratio.median >= r->bar : ratio.median <= r->bar;
        printf("%s %-5.2f %s", r->kind == BAR_AT_LEAST ? ">=" : "<=", r->bar,
               pass ? "PASS" : "short");
        set.n_short += !pass;
    }
    printf("\n");
    fflush(stdout);
}

// --- figures -------------------------------------------------------------------------------------

// `what` of ours to theirs. Who begins changes from round to round, so that what a slice leaves
// behind for the next one (clock rates, caches) is shared fairly.
static void compare_speed(const subject *s, const char *what, unsigned n, unsigned n_threads,
                          double bar) {
    row r = {.kind = bar > 0 ? BAR_AT_LEAST : BAR_NONE, .bar = bar};
    snprintf(r.name, sizeof r.name, "%s %u, %u thread%s, tok/s", what, n, n_threads,
             n_threads == 1 ? "" : "s");
    for (unsigned i = 0; i < set.n_rounds; i++) {
        double ours = 0, theirs = 0;
        if (i % 2 == 0) ours = compare_ask(&s->ours, what, n, n_threads, set.slice_ms);
        theirs = compare_ask(&s->theirs, what, n, n_threads, set.slice_ms);
        if (i % 2 == 1) ours = compare_ask(&s->ours, what, n, n_threads, set.slice_ms);
        add(&r, ours, theirs);
    }
    print_row(&r);
}

// Decoding beside theirs, and both beside the bandwidth over the same file.
// Returns theirs in tokens/s.
static double compare_decode(const subject *s, unsigned depth, unsigned n_threads, double bar,
                             double share_bar) {
    row r = {.kind = BAR_AT_LEAST, .bar = bar};
    row share = {.kind = share_bar > 0 ? BAR_AT_LEAST : BAR_NONE, .bar = share_bar};
    row their_share = {.kind = BAR_NONE};
    const double bytes = compare_ask(&s->ours, "bytes", depth, n_threads, 0);
    const char *plural = n_threads == 1 ? "" : "s";
    snprintf(r.name, sizeof r.name, "decode %u, %u thread%s, tok/s", depth, n_threads, plural);
    snprintf(share.name, sizeof share.name, "  ours to the bandwidth, GB/s");
    snprintf(their_share.name, sizeof their_share.name, "  llama.cpp's to the bandwidth");
    for (unsigned i = 0; i < set.n_rounds; i++) {
        double ours = 0, theirs = 0;
        if (i % 2 == 0) ours = compare_ask(&s->ours, "decode", depth, n_threads, set.slice_ms);
        theirs = compare_ask(&s->theirs, "decode", depth, n_threads, set.slice_ms);
        const double gb_s = compare_ask(&s->read, "read", 0, n_threads, set.slice_ms / 2);
        if (i % 2 == 1) ours = compare_ask(&s->ours, "decode", depth, n_threads, set.slice_ms);
        add(&r, ours, theirs);
        add(&share, ours * bytes / 1e9, gb_s);
        add(&their_share, theirs * bytes / 1e9, gb_s);
    }
    print_row(&r);
    print_row(&share);
    print_row(&their_share);
    return r.other[r.n / 2]; // sorted
}

// The time of one pass over n sequences to that over one.
static void compare_batch(const subject *s, unsigned n, double bar) {
    row r = {.kind = bar > 0 ? BAR_AT_MOST : BAR_NONE, .bar = bar};
    snprintf(r.name, sizeof r.name, "pass over %u to one, ms", n);
    for (unsigned i = 0; i < set.n_rounds; i++) {
        const double one = compare_ask(&s->ours, "batch", 1, set.n_threads, set.slice_ms / 2);
        const double many = compare_ask(&s->ours, "batch", n, set.n_threads, set.slice_ms / 2);
        add(&r, n * 1e3 / many, 1e3 / one);
    }
    print_row(&r);
}

static void compare_depths(const subject *s) {
    const double bar = strcmp(s->info.type, "Q4_0") == 0 ? 0.67 : 0.75;
    row r = {.name = "decode 1000 to decode 16, tok/s", .kind = BAR_AT_LEAST, .bar = bar};
    for (unsigned i = 0; i < set.n_rounds; i++) {
        const double shallow = compare_ask(&s->ours, "decode", 16, set.n_threads, set.slice_ms);
        const double deep = compare_ask(&s->ours, "decode", 1000, set.n_threads, set.slice_ms);
        add(&r, deep, shallow);
    }
    print_row(&r);
}

static void compare_starts(const subject *s) {
    char threads[16];
    snprintf(threads, sizeof threads, "%u", set.n_threads);
    const char *const ours[] = {set.program,
                                "complete",
                                "-n",
                                "1",
                                "--greedy",
                                "--threads",
                                threads,
                                "-m",
                                s->path,
                                "--",
                                getenv("COMPARE_PROMPT"),
                                NULL};
    const char *const theirs[] = {"/proc/self/exe", "--first", s->path, threads, NULL};
    row r = {.name = "start to first token, ms", .kind = BAR_AT_MOST, .bar = 0.25};
    // The first of each is there to have the files in memory.
    for (unsigned i = 0; i <= set.n_rounds; i++) {
        const double a = compare_time_start(ours), b = compare_time_start(theirs);
        if (i > 0) add(&r, a, b);
    }
    print_row(&r);
}

// In processes of their own: those of the slices have held more than one context.
static double peak_of(const char *role, const char *path) {
    compare_worker worker;
    compare_start(&worker, role, path);
    const double bytes = compare_ask(&worker, "peak", 0, set.n_threads, 0);
    compare_end(&worker);
    return bytes;
}

static void compare_memory(const subject *s) {
    const double most_over = 12.0 * BYTES_A_MB;
    const double ours = peak_of("ours", s->path), theirs = peak_of("theirs", s->path);
    const double over = ours - (double)(s->memory.file_bytes + s->memory.kv_bytes);
    row r = {.name = "peak memory, context full, MB"};
    add(&r, ours / BYTES_A_MB, theirs / BYTES_A_MB);
    print_row(&r);
    const bool pass = over <= most_over;
    set.n_short += !pass;
    printf("%-34s %10.1f %10s   %-24s <= %-5.0f %s\n", "  ours less file and KV cache, MB",
           over / BYTES_A_MB, "", "", most_over / BYTES_A_MB, pass ? "PASS" : "short");
}

// --- models --------------------------------------------------------------------------------------

static void give_up(const char *what) {
    fprintf(stderr, "compare: %s\n", what);
    exit(1);
}

// What the coordinator must know itself; then the workers, which must read the prompt alike.
static void begin_subject(subject *s, const char *path) {
    *s = (subject){
        .path = path, .info = {.size = sizeof s->info}, .memory = {.size = sizeof s->memory}};
    const ink_source source = cli_source(path);
    ink_error error = {0};
    ink_model *model = NULL;
    ink_runtime *runtime = NULL;
    ink_runtime_options how;
    ink_runtime_options_init(&how, sizeof how);
    how.n_threads = 1;
    char prompt[CLI_BENCH_PROMPT_BYTES];
    size_t n_prompt = 0;
    if (ink_runtime_new(&runtime, &how, &error) != INK_OK ||
        ink_model_open(&model, runtime, &source, NULL, &error) != INK_OK ||
        ink_model_get_info(model, &s->info) != INK_OK ||
        ink_measure(&source, NULL, &s->memory, &error) != INK_OK)
        give_up(error.message);
    if (cli_bench_prompt(model, CLI_BENCH_PROMPT, prompt, &n_prompt) != 0) exit(1);
    setenv("COMPARE_PROMPT", prompt, 1);
    compare_start(&s->ours, "ours", path);
    compare_start(&s->theirs, "theirs", path);
    compare_start(&s->read, "read", path);
    const double ours = compare_ask(&s->ours, "count", 0, 1, 0);
    const double theirs = compare_ask(&s->theirs, "count", 0, 1, 0);
    printf("\n%s: %s, %.1f MB, context %u, prompt of %.0f tokens, instruction set %s\n", path,
           s->info.type, (double)s->info.file_bytes / BYTES_A_MB, (unsigned)s->info.n_ctx, ours,
           ink_runtime_cpu_level(runtime));
    if (ours != theirs) printf("llama.cpp reads the prompt as %.0f tokens\n", theirs);
    // The names in info are the model's.
    static char type[16];
    snprintf(type, sizeof type, "%s", s->info.type);
    s->info.type = type;
    ink_model_unref(model);
    ink_runtime_unref(runtime);
    print_heading();
}

static void end_subject(subject *s) {
    compare_end(&s->ours);
    compare_end(&s->theirs);
    compare_end(&s->read);
}

static void compare_model(const char *path) {
    subject s;
    begin_subject(&s, path);
    const unsigned n = set.n_threads;
    const double theirs = compare_decode(&s, 16, n, n == 1 ? 1.35 : 1.3, 0.85);
    if (n > 1 && compare_decode(&s, 16, 1, 1.35, 0) > theirs)
        printf(
            "llama.cpp is slower with %u threads than with one: they do not have the processors to "
            "themselves,\nso that its figures with %u threads say nothing\n",
            n, n);
    if (s.info.n_ctx > 512) compare_decode(&s, 512, n, 1.3, 0);
    if (s.info.n_ctx > 1000) compare_depths(&s);
    if (s.info.n_ctx >= 512) compare_speed(&s, "prefill", 512, n, 2);
    compare_speed(&s, "prefill", 16, n, 2);
    compare_batch(&s, 4, 1.25);
    compare_batch(&s, 8, 1.8);
    compare_starts(&s);
    compare_memory(&s);
    end_subject(&s);
}

static void compare_story(const char *path) {
    subject s;
    begin_subject(&s, path);
    compare_speed(&s, "decode", 16, set.n_threads, 8);
    if (set.n_threads > 1) compare_speed(&s, "decode", 16, 1, 0);
    compare_speed(&s, "prefill", 128, set.n_threads, 0);
    compare_starts(&s);
    end_subject(&s);
}

static int usage(void) {
    fputs("usage: compare [--quick] [--threads N] [--story FILE] --program INKLING MODEL...\n"
          "LLAMA_LIBRARIES names the folder of llama.cpp's shared libraries.\n",
          stderr);
    return 2;
}

static bool read_arguments(int argc, char **argv) {
    set.n_rounds = 9;
    set.slice_ms = 400;
    for (int i = 1; i < argc; i++) {
        const bool has_value = i + 1 < argc;
        if (strcmp(argv[i], "--quick") == 0) {
            set.n_rounds = 3;
            set.slice_ms = 150;
        } else if (strcmp(argv[i], "--threads") == 0 && has_value) {
            const unsigned long n = strtoul(argv[++i], NULL, 10);
            if (n < 1 || n > CLI_BENCH_MAX_THREADS) return false;
            set.n_threads = (unsigned)n;
        } else if (strcmp(argv[i], "--story") == 0 && has_value) {
            set.story = argv[++i];
        } else if (strcmp(argv[i], "--program") == 0 && has_value) {
            set.program = argv[++i];
        } else if (argv[i][0] == '-' || set.n_models == MAX_MODELS) {
            return false;
        } else {
            set.models[set.n_models++] = argv[i];
        }
    }
    return set.program != NULL && (set.n_models > 0 || set.story != NULL);
}

static int worker_main(const char *role, const char *model) {
    if (strcmp(role, "ours") == 0) return compare_work(&compare_ours, model);
    if (strcmp(role, "theirs") == 0) return compare_work(&compare_theirs, model);
    return compare_work_probe(model);
}

static void print_conditions(void) {
    double load = 0;
    const long n_cpus = sysconf(_SC_NPROCESSORS_ONLN);
    if (set.n_threads == 0) set.n_threads = n_cpus > 1 ? 2 : 1;
    if (getloadavg(&load, 1) != 1) load = NAN;
    printf("%u rounds of slices of %.0f ms, threads: %u, processors: %ld, load %.1f\n",
           set.n_rounds, set.slice_ms, set.n_threads, n_cpus, load);
    if (load > 0.3 * (double)n_cpus)
        printf("other programs are at work: threads that wait for each other suffer most, "
               "llama.cpp's more than ours\n");
}

int main(int argc, char **argv) {
    signal(SIGPIPE, SIG_IGN);
    if (argc == 4 && strcmp(argv[1], "--worker") == 0) return worker_main(argv[2], argv[3]);
    if (argc == 4 && strcmp(argv[1], "--first") == 0)
        return compare_first_token(&compare_theirs, argv[2], (unsigned)strtoul(argv[3], NULL, 10));
    if (!read_arguments(argc, argv)) return usage();
    print_conditions();
    for (unsigned i = 0; i < set.n_models; i++) compare_model(set.models[i]);
    if (set.story != NULL) compare_story(set.story);
    printf("\n%u of the bars were missed\n", set.n_short);
    return 0;
}
