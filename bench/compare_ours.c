// SPDX-License-Identifier: MIT
// This library, for bench/compare.
#include <stdio.h>
#include <stdlib.h>

#include "bench/compare.h"
#include "cli/bench_job.h"
#include "cli/largest.h"

enum { MAX_THREADS = CLI_BENCH_MAX_THREADS, MAX_BATCH = 8, BATCH_DEPTH = 16, BATCH_STEPS = 32 };

// The number of threads belongs to a runtime, so there is one for each number. Idle ones sleep.
typedef struct with_threads {
    cli_bench_job job;
    ink_session *session;
    ink_session *batch[MAX_BATCH];
    ink_token first[MAX_BATCH], next[MAX_BATCH];
    unsigned n_done;
} with_threads;

static with_threads states[MAX_THREADS], *now = &states[0];
static const char *model_path;

static bool fail(const char *what, ink_status status, const ink_error *error) {
    fprintf(stderr, "compare: inkling: %s: %s\n", what,
            error != NULL && error->message[0] != 0 ? error->message : ink_status_text(status));
    return false;
}

static bool open_session(ink_session **out, uint32_t n_ctx) {
    const ink_session_options options = cli_bench_session_options(&now->job, n_ctx);
    ink_error error = {0};
    const ink_status status = ink_session_new(out, now->job.open, &options, &error);
    return status == INK_OK || fail("session", status, &error);
}

static bool ours_use_threads(unsigned n) {
    if (n < 1 || n > MAX_THREADS) return fail("threads", INK_E_ARG, NULL);
    now = &states[n - 1];
    if (now->session != NULL) return true;
    now->job = (cli_bench_job){.model = model_path, .n_threads = n};
    return cli_bench_open(&now->job) == 0 && open_session(&now->session, now->job.n_ctx);
}

static bool ours_open(const char *model) {
    model_path = model;
    return true;
}

static bool evaluate(const ink_span *spans, size_t n) {
    ink_error error = {0};
    const ink_status status = ink_eval(spans, n, &error);
    return status == INK_OK || fail("evaluation", status, &error);
}

static bool fill_session(ink_session *session, size_t begin, unsigned n) {
    static ink_token ids[1 << 16];
    if (n > sizeof ids / sizeof *ids) return fail("context", INK_E_LIMIT, NULL);
    for (unsigned i = 0; i < n; i++) ids[i] = cli_bench_id(begin + i, now->job.info.n_vocab);
    const ink_span span = {session, ids, n, 0, NULL};
    const ink_status status = ink_session_rewind(session, 0);
    return status == INK_OK ? evaluate(&span, 1) : fail("rewind", status, NULL);
}

static bool ours_fill(unsigned n) { return fill_session(now->session, 0, n); }

static bool ours_append(int32_t token) {
    const ink_span span = {now->session, &token, 1, 0, NULL};
    return evaluate(&span, 1);
}

static bool ours_rewind(unsigned n) {
    const ink_status status = ink_session_rewind(now->session, n);
    return status == INK_OK || fail("rewind", status, NULL);
}

static ink_token best_of(const ink_session *session) {
    size_t n = 0;
    const float *logits = ink_session_logits(session, 0, &n);
    return n > 0 ? (ink_token)cli_largest(logits, n) : 0;
}

static int32_t ours_best(void) { return best_of(now->session); }
static unsigned ours_n_ctx(void) { return now->job.n_ctx; }

static bool begin_batches(void) {
    if (now->batch[MAX_BATCH - 1] != NULL) return true;
    for (unsigned i = 0; i < MAX_BATCH; i++) {
        if (!open_session(&now->batch[i], BATCH_DEPTH + BATCH_STEPS) ||
            !fill_session(now->batch[i], i * 1000, BATCH_DEPTH))
            return false;
        now->first[i] = best_of(now->batch[i]);
    }
    return true;
}

static bool rewind_batch(unsigned n) {
    for (unsigned i = 0; i < n; i++) {
        const ink_status status = ink_session_rewind(now->batch[i], BATCH_DEPTH);
        if (status != INK_OK) return fail("rewind", status, NULL);
        now->next[i] = now->first[i];
    }
    now->n_done = 0;
    return true;
}

static double ours_batch(unsigned n, double ms) {
    ink_span spans[MAX_BATCH];
    double passes = 0, end;
    if (n > MAX_BATCH || !begin_batches() || !rewind_batch(MAX_BATCH)) return 0;
    const double begin = cli_now_ms();
    do {
        if (now->n_done == BATCH_STEPS && !rewind_batch(n)) return 0;
        for (unsigned i = 0; i < n; i++)
            spans[i] = (ink_span){now->batch[i], &now->next[i], 1, 0, NULL};
        if (!evaluate(spans, n)) return 0;
        for (unsigned i = 0; i < n; i++) now->next[i] = best_of(now->batch[i]);
        now->n_done++;
        passes++;
        end = cli_now_ms();
    } while (end - begin < ms);
    return passes * n * 1e3 / (end - begin);
}

static double ours_bytes_a_token(unsigned depth) {
    const double row = 2.0 * now->job.info.n_layer * now->job.info.n_embd * sizeof(uint16_t);
    return (double)now->job.weight_bytes + row * depth;
}

static unsigned ours_read(const char *text) {
    ink_token ids[256];
    size_t n = 0, bytes = 0;
    while (text[bytes] != 0) bytes++;
    const ink_status status =
        ink_tokenize(now->job.open, text, bytes, 0, ids, sizeof ids / sizeof *ids, &n, NULL);
    if (status != INK_OK) return fail("prompt", status, NULL) ? 1 : 0;
    const ink_span span = {now->session, ids, n, 0, NULL};
    return ours_rewind(0) && evaluate(&span, 1) ? (unsigned)n : 0;
}

const compare_engine compare_ours = {.open = ours_open,
                                     .use_threads = ours_use_threads,
                                     .fill = ours_fill,
                                     .append = ours_append,
                                     .rewind = ours_rewind,
                                     .best = ours_best,
                                     .n_ctx = ours_n_ctx,
                                     .batch = ours_batch,
                                     .bytes_a_token = ours_bytes_a_token,
                                     .read = ours_read};
