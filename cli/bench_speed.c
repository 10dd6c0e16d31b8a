// SPDX-License-Identifier: MIT
// Speeds, in slices of a fraction of a second whose median counts: another program that gets the
// processor for a moment then spoils a slice and not the figure. What is compared with another
// figure (batches with one sequence, decoding with the bandwidth) takes turns with it.
#include "cli/bench_job.h"

#include <math.h>

#include "cli/interrupt.h"
#include "cli/largest.h"
#include "cli/load.h"
#include "cli/report.h"

const unsigned cli_bench_prefills[CLI_BENCH_PREFILLS] = {16, 128, 512};
const unsigned cli_bench_depths[CLI_BENCH_DEPTHS] = {16, 512, 1000};
const unsigned cli_bench_batches[CLI_BENCH_BATCHES] = {1, 2, 4, 8};

enum {
    MAX_SLICES = 16,
    MAX_BATCH = 8,
    BATCH_DEPTH = 16,
    DECODE_STEPS = 32,  // steps on which a depth stands before it is gone back to
    PATIENCE_MS = 4000, // a slow machine gets fewer slices, but no fewer than FEWEST
    FEWEST = 3
};

typedef struct sequence {
    ink_session *session;
    unsigned depth, n_steps, n_done;
    ink_token first, next; // chosen at the depth, and now
} sequence;

static ink_token best_of(const ink_session *session) {
    size_t n = 0;
    const float *logits = ink_session_logits(session, 0, &n);
    return n > 0 ? (ink_token)cli_largest(logits, n) : 0;
}

// The session's past becomes n ids, from `begin` on.
static int read_prompt(const cli_bench_job *job, ink_session *session, size_t begin, size_t n) {
    enum { PIECE = 1024 };
    ink_token ids[PIECE];
    ink_error error = {0};
    ink_status status = ink_session_rewind(session, 0);
    for (size_t at = 0; at < n && status == INK_OK; at += PIECE) {
        const size_t count = n - at < PIECE ? n - at : PIECE;
        for (size_t i = 0; i < count; i++) ids[i] = cli_bench_id(begin + at + i, job->info.n_vocab);
        const ink_span span = {session, ids, count, 0, NULL};
        cli_interrupt_session(session);
        status = cli_interrupted() ? INK_E_CANCELLED : ink_eval(&span, 1, &error);
        cli_interrupt_session(NULL);
    }
    return status == INK_OK ? CLI_OK : cli_bench_failed(status, &error);
}

static int begin_sequence(const cli_bench_job *job, sequence *s, unsigned depth, size_t begin) {
    const int code = read_prompt(job, s->session, begin, depth);
    if (code != CLI_OK) return code;
    const uint32_t room = ink_session_n_ctx(s->session) - depth;
    s->depth = depth;
    s->n_steps = room < DECODE_STEPS ? room : DECODE_STEPS;
    s->n_done = 0;
    s->first = s->next = best_of(s->session);
    return CLI_OK;
}

// One pass that appends a token to each sequence.
static int step_all(sequence *s, unsigned n) {
    ink_span spans[MAX_BATCH];
    ink_error error = {0};
    ink_status status = cli_interrupted() ? INK_E_CANCELLED : INK_OK;
    for (unsigned i = 0; i < n; i++) {
        if (s[i].n_done == s[i].n_steps && status == INK_OK) {
            status = ink_session_rewind(s[i].session, s[i].depth);
            s[i].n_done = 0;
            s[i].next = s[i].first;
        }
        spans[i] = (ink_span){s[i].session, &s[i].next, 1, 0, NULL};
    }
    if (status == INK_OK) status = ink_eval(spans, n, &error);
    if (status != INK_OK) return cli_bench_failed(status, &error);
    for (unsigned i = 0; i < n; i++) {
        s[i].next = best_of(s[i].session);
        s[i].n_done++;
    }
    return CLI_OK;
}

// Steps of n sequences for slice_ms; *tok_s of all together.
static int decode_slice(const cli_bench_job *job, sequence *s, unsigned n, double *tok_s) {
    const double begin = cli_now_ms();
    double now;
    unsigned n_passes = 0;
    do {
        const int code = step_all(s, n);
        if (code != CLI_OK) return code;
        n_passes++;
        now = cli_now_ms();
    } while (now - begin < job->slice_ms);
    *tok_s = (double)n * n_passes * 1e3 / (now - begin);
    return CLI_OK;
}

static int prefill_slice(const cli_bench_job *job, ink_session *session, unsigned n,
                         double *tok_s) {
    const double begin = cli_now_ms();
    double now;
    unsigned n_passes = 0;
    do {
        const int code = read_prompt(job, session, 0, n);
        if (code != CLI_OK) return code;
        n_passes++;
        now = cli_now_ms();
    } while (now - begin < job->slice_ms);
    *tok_s = (double)n * n_passes * 1e3 / (now - begin);
    return CLI_OK;
}

static bool enough(const cli_bench_job *job, unsigned n, double begin) {
    return n >= job->n_slices || n >= MAX_SLICES ||
           (n >= FEWEST && cli_now_ms() - begin > PATIENCE_MS);
}

static int measure_prefill(cli_bench_job *job, ink_session *session, unsigned index) {
    const unsigned length = cli_bench_prefills[index];
    double tok_s[MAX_SLICES] = {0};
    unsigned n = 0;
    // The first one also brings the pages of the file into this process.
    int code = index == 0 ? read_prompt(job, session, 0, length) : CLI_OK;
    for (const double begin = cli_now_ms(); code == CLI_OK && !enough(job, n, begin); n++)
        code = prefill_slice(job, session, length, &tok_s[n]);
    if (code == CLI_OK) job->prefill[index].tok_s = cli_bench_median(tok_s, n);
    return code;
}

// What a step reads: the weights once, and the keys and values before it.
static uint64_t bytes_a_token(const cli_bench_job *job, const sequence *s) {
    static const double kv_bytes[] = {2, 4, 34.0 / 32}; // of a number, in the order of INK_KV_*
    const double positions = s->depth + 0.5 * s->n_steps;
    const double numbers = 2.0 * job->info.n_layer * job->info.n_embd * positions;
    return job->weight_bytes + (uint64_t)(numbers * kv_bytes[job->kv_type]);
}

typedef struct bandwidth {
    double gb_s[CLI_BENCH_DEPTHS * MAX_SLICES];
    size_t n;
} bandwidth;

static int measure_decode(cli_bench_job *job, ink_session *session, unsigned index,
                          bandwidth *read) {
    cli_bench_figure *figure = &job->decode[index];
    double tok_s[MAX_SLICES] = {0}, share[MAX_SLICES] = {0};
    sequence s = {.session = session};
    unsigned n = 0;
    int code = begin_sequence(job, &s, cli_bench_depths[index], 0);
    figure->bytes = bytes_a_token(job, &s);
    cli_interrupt_session(session);
    for (const double begin = cli_now_ms(); code == CLI_OK && !enough(job, n, begin); n++) {
        code = decode_slice(job, &s, 1, &tok_s[n]);
        const double gb_s =
            cli_bench_read_gb_s(job->data, job->data_bytes, job->n_threads, job->slice_ms / 2);
        share[n] = gb_s > 0 ? tok_s[n] * (double)figure->bytes / (gb_s * 1e9) : NAN;
        read->gb_s[read->n++] = gb_s;
    }
    cli_interrupt_session(NULL);
    if (code != CLI_OK) return code;
    figure->tok_s = cli_bench_median(tok_s, n);
    figure->share = cli_bench_median(share, n);
    return CLI_OK;
}

static int measure_alone(cli_bench_job *job) {
    const ink_session_options options = cli_bench_session_options(job, job->n_ctx);
    ink_session *session = NULL;
    bandwidth read = {.n = 0};
    int code = cli_session_open(&session, job->open, &options);
    for (unsigned i = 0; i < CLI_BENCH_PREFILLS && code == CLI_OK; i++) {
        if (cli_bench_prefills[i] <= job->n_ctx) code = measure_prefill(job, session, i);
        cli_bench_step(job);
    }
    for (unsigned i = 0; i < CLI_BENCH_DEPTHS && code == CLI_OK; i++) {
        if (cli_bench_depths[i] < job->n_ctx) code = measure_decode(job, session, i, &read);
        cli_bench_step(job);
    }
    ink_session_free(session);
    if (code != CLI_OK) return code;
    // A context too short for any depth has left it unmeasured.
    while (read.n < FEWEST)
        read.gb_s[read.n++] =
            cli_bench_read_gb_s(job->data, job->data_bytes, job->n_threads, job->slice_ms / 2);
    job->read_gb_s = cli_bench_median(read.gb_s, read.n);
    if (job->read_gb_s <= 0)
        return cli_fail(CLI_OTHER, "bench: the threads that read memory could not be started");
    return CLI_OK;
}

static int measure_batches(cli_bench_job *job, sequence *s) {
    double tok_s[CLI_BENCH_BATCHES][MAX_SLICES] = {{0}};
    double relative[CLI_BENCH_BATCHES][MAX_SLICES] = {{0}};
    unsigned n = 0;
    int code = CLI_OK;
    cli_interrupt_session(s[0].session);
    for (const double begin = cli_now_ms(); code == CLI_OK && !enough(job, n, begin); n++) {
        for (unsigned i = 0; i < CLI_BENCH_BATCHES && code == CLI_OK; i++) {
            code = decode_slice(job, s, cli_bench_batches[i], &tok_s[i][n]);
            relative[i][n] = cli_bench_batches[i] * tok_s[0][n] / tok_s[i][n];
        }
    }
    cli_interrupt_session(NULL);
    for (unsigned i = 0; i < CLI_BENCH_BATCHES && code == CLI_OK; i++) {
        job->batch[i].tok_s = cli_bench_median(tok_s[i], n);
        job->batch[i].relative = cli_bench_median(relative[i], n);
        cli_bench_step(job);
    }
    return code;
}

// Different texts of one length, so that nothing but the weights is shared.
static int measure_together(cli_bench_job *job) {
    const uint32_t wanted = BATCH_DEPTH + DECODE_STEPS;
    const ink_session_options options =
        cli_bench_session_options(job, job->n_ctx < wanted ? job->n_ctx : wanted);
    sequence s[MAX_BATCH] = {{.session = NULL}};
    int code = CLI_OK;
    for (unsigned i = 0; i < MAX_BATCH && code == CLI_OK; i++) {
        code = cli_session_open(&s[i].session, job->open, &options);
        if (code == CLI_OK) code = begin_sequence(job, &s[i], BATCH_DEPTH, i * 1000);
    }
    if (code == CLI_OK) code = measure_batches(job, s);
    for (unsigned i = 0; i < MAX_BATCH; i++) ink_session_free(s[i].session);
    return code;
}

int cli_bench_speeds(cli_bench_job *job) {
    const int code = measure_alone(job);
    if (code != CLI_OK || job->n_ctx <= BATCH_DEPTH) return code;
    return measure_together(job);
}
