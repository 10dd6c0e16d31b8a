// SPDX-License-Identifier: MIT
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/compare.h"
#include "cli/bench_job.h"
#include "cli/terminal.h"

enum { STEPS = 32 }; // on which a depth stands before it is gone back to

int32_t compare_stream_id(unsigned round, unsigned stream, unsigned i, unsigned n_vocab) {
    return cli_bench_id((size_t)(round * COMPARE_STREAMS + stream) * 1000 + i, n_vocab);
}

typedef struct command {
    char what[16];
    unsigned n, n_threads;
    double ms;
} command;

// The depth that the cache holds, so that a slice at the same depth begins at once.
typedef struct held {
    unsigned n_threads, depth;
    int32_t first;
} held;

static double prefill(const compare_engine *e, const command *c, held *h) {
    double passes = 0, end;
    h->depth = 0;
    const double begin = cli_now_ms();
    do {
        if (!e->fill(c->n)) return 0;
        e->best(); // some engines only begin the work where it is asked for
        passes++;
        end = cli_now_ms();
    } while (end - begin < c->ms);
    return passes * c->n * 1e3 / (end - begin);
}

static double decode(const compare_engine *e, const command *c, held *h) {
    const unsigned room = e->n_ctx() - c->n, n_steps = room < STEPS ? room : STEPS;
    if (h->depth != c->n || h->n_threads != c->n_threads) {
        if (!e->fill(c->n)) return 0;
        *h = (held){c->n_threads, c->n, e->best()};
    }
    double passes = 0, end, paused = 0;
    int32_t token = h->first;
    unsigned n_done = n_steps;
    const double begin = cli_now_ms();
    do {
        if (n_done == n_steps) {
            const double before = cli_now_ms();
            if (!e->rewind(c->n)) return 0;
            paused += cli_now_ms() - before;
            token = h->first;
            n_done = 0;
        }
        if (!e->append(token)) return 0;
        token = e->best();
        n_done++;
        passes++;
        end = cli_now_ms();
    } while (end - begin < c->ms);
    return passes * 1e3 / (end - begin - paused);
}

static double peak_bytes(const compare_engine *e) {
    if (!e->fill(e->n_ctx())) return 0;
    e->best();
    return (double)cli_bench_own_peak();
}

static double answer(const compare_engine *e, const command *c, held *h) {
    const char *prompt = getenv("COMPARE_PROMPT");
    if (!e->use_threads(c->n_threads)) return 0;
    if (strcmp(c->what, "prefill") == 0) return prefill(e, c, h);
    if (strcmp(c->what, "decode") == 0) return decode(e, c, h);
    if (strcmp(c->what, "batch") == 0 && e->batch != NULL) return e->batch(c->n, c->ms);
    if (strcmp(c->what, "streams") == 0 && e->streams != NULL) return e->streams(c->n);
    if (strcmp(c->what, "bytes") == 0 && e->bytes_a_token != NULL)
        return e->bytes_a_token(c->n + STEPS / 2);
    h->depth = 0;
    if (strcmp(c->what, "peak") == 0) return peak_bytes(e);
    if (strcmp(c->what, "count") == 0 && prompt != NULL) return e->read(prompt);
    fprintf(stderr, "compare: no command \"%s\"\n", c->what);
    return 0;
}

static bool next_command(command *c) {
    char line[128];
    if (fgets(line, sizeof line, stdin) == NULL) return false;
    return sscanf(line, "%15s %u %u %lf", c->what, &c->n, &c->n_threads, &c->ms) == 4;
}

static bool tell(double value) {
    printf("%.9g\n", value);
    return fflush(stdout) == 0;
}

int compare_work(const compare_engine *engine, const char *model) {
    command c;
    held h = {0};
    if (!engine->open(model)) return 1;
    while (next_command(&c))
        if (!tell(answer(engine, &c, &h))) return 1;
    return 0;
}

int compare_work_probe(const char *model) {
    struct stat file = {0};
    command c;
    const int fd = open(model, O_RDONLY | O_CLOEXEC);
    void *map = MAP_FAILED;
    if (fd >= 0 && fstat(fd, &file) == 0)
        map = mmap(NULL, (size_t)file.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED) {
        perror(model);
        return 1;
    }
    // One reading brings the pages into this process.
    cli_bench_read_gb_s(map, (size_t)file.st_size, 1, 100);
    while (next_command(&c))
        if (!tell(cli_bench_read_gb_s(map, (size_t)file.st_size, c.n_threads, c.ms))) return 1;
    return 0;
}

int compare_first_token(const compare_engine *engine, const char *model, unsigned n_threads) {
    const char *prompt = getenv("COMPARE_PROMPT");
    if (prompt == NULL || !engine->open(model) || !engine->use_threads(n_threads)) return 1;
    if (engine->read(prompt) == 0) return 1;
    return tell(engine->best()) ? 0 : 1;
}
