// SPDX-License-Identifier: MIT
// Usage: serve_compare [--quick] [--rounds N] [--threads N] --program INKLING MODEL...
// What HTTP adds to the first token, what eight streams at a time are to one, and to eight
// sequences through llama.cpp: slices in turns, and a table beside the bars of the project.
// LLAMA_LIBRARIES: the folder with llama.cpp's libraries; without it that line is left out.
// bench/serve/compare.sh has the rest.
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/compare.h"
#include "bench/serve/serve_bench.h"
#include "cli/bench_job.h"

enum { MAX_ROUNDS = 16, MAX_MODELS = 8, FIRSTS = 16 };

static struct {
    unsigned n_rounds, n_threads, n_models, n_short;
    const char *program, *models[MAX_MODELS];
} set = {.n_rounds = 9};

static void give_up(const char *what) {
    fprintf(stderr, "serve_compare: %s\n", what);
    exit(1);
}

static compare_quartiles range_of(const double *x, unsigned n) {
    double sorted[MAX_ROUNDS];
    memcpy(sorted, x, n * sizeof *x);
    const double middle = compare_sort(sorted, n).median; // sorts
    return (compare_quartiles){sorted[0], middle, sorted[n - 1]};
}

static void print_bar(double value, double bar, bool at_least) {
    const bool pass = at_least ? value >= bar : value <= bar;
    printf("   %s %-4.1f %s", at_least ? ">=" : "<=", bar, pass ? "PASS" : "short");
    set.n_short += !pass;
}

// --- first tokens --------------------------------------------------------------------------------

static double percentile(double *x, unsigned n, double fraction) {
    compare_sort(x, n); // sorts
    return x[(unsigned)(fraction * (n - 1) + 0.5)];
}

static void print_firsts(const char *name, serve_firsts *f, const double *differences, double bar) {
    const compare_quartiles d = range_of(differences, set.n_rounds);
    const double inside = percentile(f->inside, f->n, 0.5), over = percentile(f->over, f->n, 0.5);
    printf("%-36s %9.2f %9.2f   %+6.3f [%+.3f, %+.3f]", name, over, inside, over - inside, d.low,
           d.high);
    if (bar > 0) print_bar(over - inside, bar, false);
    const double over99 = percentile(f->over, f->n, 0.99),
                 inside99 = percentile(f->inside, f->n, 0.99);
    printf("\n%-36s %9.2f %9.2f   %+6.3f\n", "  p99", over99, inside99, over99 - inside99);
    fflush(stdout);
}

static void compare_firsts(const served_program *server, const serve_shape *shape, bool fresh) {
    serve_firsts all = {.n = 0};
    double differences[MAX_ROUNDS];
    for (unsigned round = 0; round < set.n_rounds; round++) {
        serve_firsts one = {.n = 0};
        // Other prompts than the streams have: those of a round are never seen twice.
        if (!serve_over_firsts(server, shape, 100 + round * 10 + (fresh ? 5 : 0), FIRSTS, fresh,
                               &one))
            give_up("the first tokens could not be measured");
        memcpy(all.inside + all.n, one.inside, FIRSTS * sizeof(double));
        memcpy(all.over + all.n, one.over, FIRSTS * sizeof(double));
        all.n += FIRSTS;
        differences[round] = percentile(one.over, one.n, 0.5) - percentile(one.inside, one.n, 0.5);
    }
    print_firsts(fresh ? "first token, new connections, ms" : "first token p50, ms", &all,
                 differences, fresh ? 0 : 1.5);
}

// --- streams -------------------------------------------------------------------------------------

typedef struct stream_rounds {
    double one[MAX_ROUNDS], eight[MAX_ROUNDS], theirs[MAX_ROUNDS];
} stream_rounds;

static double streams(const served_program *server, const serve_shape *shape, unsigned round,
                      unsigned n) {
    const double tokens_s = serve_over_streams(server, shape, round, n);
    if (tokens_s <= 0) give_up("the streams could not be measured");
    return tokens_s;
}

static void print_ratio(const char *name, const double *a, const double *b, double bar) {
    double ratio[MAX_ROUNDS];
    for (unsigned i = 0; i < set.n_rounds; i++) ratio[i] = a[i] / b[i];
    const compare_quartiles r = range_of(ratio, set.n_rounds);
    printf("%-36s %9.1f %9.1f   %6.3f [%.3f, %.3f]  ", name, range_of(a, set.n_rounds).median,
           range_of(b, set.n_rounds).median, r.median, r.low, r.high);
    if (bar > 0) print_bar(r.median, bar, true);
    printf("\n");
    fflush(stdout);
}

static double ask_theirs(const compare_worker *worker) {
    return compare_ask(worker, "streams", COMPARE_STREAMS, set.n_threads, 0);
}

// theirs: NULL where llama.cpp is not at hand, or does not know the model. The first round makes
// caches and brings pages, and is not counted.
static void compare_streams(const served_program *server, const serve_shape *shape,
                            const compare_worker *theirs, bool has_bars) {
    stream_rounds r;
    for (unsigned round = 0; round <= set.n_rounds; round++) {
        const unsigned at = round > 0 ? round - 1 : 0;
        // Who begins changes, so that what a slice leaves behind is shared fairly.
        if (theirs != NULL && round % 2 == 0) r.theirs[at] = ask_theirs(theirs);
        r.one[at] = streams(server, shape, 2 * round, 1);
        r.eight[at] = streams(server, shape, 2 * round + 1, COMPARE_STREAMS);
        if (theirs != NULL && round % 2 == 1) r.theirs[at] = ask_theirs(theirs);
    }
    print_ratio("8 streams to 1, tok/s", r.eight, r.one, has_bars ? 4 : 0);
    if (theirs == NULL)
        printf("left out: 8 sequences through llama.cpp, LLAMA_LIBRARIES is not set\n");
    else
        print_ratio("8 streams to 8 by llama.cpp, tok/s", r.eight, r.theirs, has_bars ? 1.3 : 0);
}

// --- models --------------------------------------------------------------------------------------

static void compare_model(const char *model) {
    served_program server;
    serve_shape shape;
    compare_worker theirs;
    char threads[16];
    snprintf(threads, sizeof threads, "%u", set.n_threads);
    const char *const args[] = {"-m", model, "--threads", threads, NULL};
    const bool has_theirs = getenv("LLAMA_LIBRARIES") != NULL;
    if (has_theirs) compare_start(&theirs, "theirs", model);
    if (!served_start(&server, set.program, args)) give_up("the server does not start");
    if (!serve_inside_open(model, set.n_threads, &shape)) give_up("the model does not open");
    const bool is_q8_0 = strcmp(shape.type, "Q8_0") == 0 && shape.n_vocab > 50000;
    printf("\n%s: %s, prompts of %u tokens, streams of %u more\n", model, shape.type,
           COMPARE_STREAM_PROMPT, COMPARE_STREAM_TOKENS);
    printf("%-36s %9s %9s   %s\n", "", "HTTP", "beside it", "ratio or difference [range]   bar");
    compare_streams(&server, &shape, has_theirs ? &theirs : NULL, is_q8_0);
    compare_firsts(&server, &shape, false);
    compare_firsts(&server, &shape, true);
    serve_inside_close();
    if (has_theirs) compare_end(&theirs);
    if (served_stop(&server) != 0) give_up("the server did not end well");
}

static bool read_arguments(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        const bool has_value = i + 1 < argc;
        if (strcmp(argv[i], "--quick") == 0) {
            set.n_rounds = 3;
        } else if (strcmp(argv[i], "--rounds") == 0 && has_value) {
            const unsigned long n = strtoul(argv[++i], NULL, 10);
            if (n < 1 || n > MAX_ROUNDS) return false;
            set.n_rounds = (unsigned)n;
        } else if (strcmp(argv[i], "--threads") == 0 && has_value) {
            const unsigned long n = strtoul(argv[++i], NULL, 10);
            if (n < 1 || n > CLI_BENCH_MAX_THREADS) return false;
            set.n_threads = (unsigned)n;
        } else if (strcmp(argv[i], "--program") == 0 && has_value) {
            set.program = argv[++i];
        } else if (argv[i][0] == '-' || set.n_models == MAX_MODELS) {
            return false;
        } else {
            set.models[set.n_models++] = argv[i];
        }
    }
    return set.program != NULL && set.n_models > 0;
}

int main(int argc, char **argv) {
    signal(SIGPIPE, SIG_IGN);
    // compare_start starts this very program.
    if (argc == 4 && strcmp(argv[1], "--worker") == 0)
        return compare_work(&compare_theirs, argv[3]);
    if (!read_arguments(argc, argv)) {
        fputs("usage: serve_compare [--quick] [--rounds 1..16] [--threads N] --program INKLING "
              "MODEL...\n",
              stderr);
        return 2;
    }
    double load = 0;
    const long n_cpus = sysconf(_SC_NPROCESSORS_ONLN);
    if (set.n_threads == 0) set.n_threads = n_cpus > 1 ? 2 : 1;
    if (getloadavg(&load, 1) != 1) load = -1;
    printf("%u rounds, threads: %u, processors: %ld, load %.1f; medians [lowest, highest round]\n",
           set.n_rounds, set.n_threads, n_cpus, load);
    for (unsigned i = 0; i < set.n_models; i++) compare_model(set.models[i]);
    printf("\n%u of the bars were missed\n", set.n_short);
    return 0;
}
