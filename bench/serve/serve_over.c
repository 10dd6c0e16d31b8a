// SPDX-License-Identifier: MIT
#include <stdio.h>
#include <string.h>

#include "bench/compare.h"
#include "bench/serve/serve_bench.h"
#include "http_load.h"

enum { BODY_BYTES = 1024 };

// {"prompt": ids, …} of a stream that is always the likeliest and never ends before its length.
static void write_body(char *out, const serve_shape *shape, unsigned round, unsigned stream,
                       unsigned n_tokens) {
    size_t n = (size_t)snprintf(out, BODY_BYTES, "{\"prompt\":[");
    for (unsigned i = 0; i < COMPARE_STREAM_PROMPT; i++)
        n += (size_t)snprintf(out + n, BODY_BYTES - n, "%s%d", i > 0 ? "," : "",
                              (int)compare_stream_id(round, stream, i, shape->n_vocab));
    snprintf(out + n, BODY_BYTES - n,
             "],\"max_tokens\":%u,\"temperature\":0,\"logit_bias\":{\"%d\":-100},\"stream\":true,"
             "\"stream_options\":{\"include_usage\":true}}",
             n_tokens, (int)shape->end_token);
}

static void ask_for(load_request *out, const char *body) {
    out->method = "POST";
    out->path = "/v1/completions";
    out->body = body;
    out->bytes = strlen(body);
}

static bool is_whole(const load_answer *answer, unsigned n_tokens) {
    const bool fine = answer->complete && answer->status == 200 && answer->n_tokens == n_tokens &&
                      answer->first_ms > 0 && !answer->failed_event;
    if (!fine)
        fprintf(stderr, "serve_compare: an answer with status %u, %u tokens, %s: %.300s\n",
                answer->status, answer->n_tokens, answer->why != NULL ? answer->why : "complete",
                answer->body);
    return fine;
}

// --- first tokens --------------------------------------------------------------------------------

// One client, which has its turn inside between its requests over HTTP.
typedef struct firsts {
    const serve_shape *shape;
    serve_firsts *out;
    unsigned round, n, base;
    bool fresh, failed;
    char body[BODY_BYTES];
} firsts;

static void turn_inside(firsts *f, unsigned index) {
    int32_t ids[COMPARE_STREAM_PROMPT];
    for (unsigned i = 0; i < COMPARE_STREAM_PROMPT; i++)
        ids[i] = compare_stream_id(f->round, index, i, f->shape->n_vocab);
    const double ms = serve_inside_first_ms(ids, COMPARE_STREAM_PROMPT);
    f->out->inside[f->base + index] = ms;
    f->failed = f->failed || ms <= 0;
}

static bool next_first(void *user, unsigned client, unsigned index, load_request *out) {
    firsts *f = user;
    (void)client;
    if (index == f->n || f->failed) return false;
    if (index % 2 == 0) turn_inside(f, index);
    write_body(f->body, f->shape, f->round, index, SERVE_FIRST_TOKENS);
    ask_for(out, f->body);
    out->fresh = f->fresh;
    return true;
}

static void first_done(void *user, unsigned client, unsigned index, const load_answer *answer) {
    firsts *f = user;
    (void)client;
    f->failed = f->failed || !is_whole(answer, SERVE_FIRST_TOKENS);
    f->out->over[f->base + index] = answer->first_ms - answer->begun_ms;
    if (index % 2 == 1) turn_inside(f, index);
}

bool serve_over_firsts(const served_program *server, const serve_shape *shape, unsigned round,
                       unsigned n, bool fresh_connections, serve_firsts *out) {
    firsts f = {.shape = shape,
                .out = out,
                .round = round,
                .n = n,
                .base = out->n,
                .fresh = fresh_connections};
    const load_plan plan = {.address = "127.0.0.1",
                            .port = server->port,
                            .n_clients = 1,
                            .next = next_first,
                            .done = first_done,
                            .user = &f};
    if (out->n + n > SERVE_MAX_FIRSTS || !load_run(&plan) || f.failed) return false;
    out->n += n;
    return true;
}

// --- streams -------------------------------------------------------------------------------------

typedef struct streams {
    const serve_shape *shape;
    unsigned round;
    double begun_ms, end_ms;
    unsigned n_tokens;
    bool failed;
    char body[COMPARE_STREAMS][BODY_BYTES];
} streams;

static bool next_stream(void *user, unsigned client, unsigned index, load_request *out) {
    streams *s = user;
    if (index > 0) return false;
    write_body(s->body[client], s->shape, s->round, client, COMPARE_STREAM_TOKENS);
    ask_for(out, s->body[client]);
    return true;
}

static void stream_done(void *user, unsigned client, unsigned index, const load_answer *answer) {
    streams *s = user;
    (void)client, (void)index;
    s->failed = s->failed || !is_whole(answer, COMPARE_STREAM_TOKENS);
    if (s->begun_ms == 0 || answer->begun_ms < s->begun_ms) s->begun_ms = answer->begun_ms;
    if (answer->end_ms > s->end_ms) s->end_ms = answer->end_ms;
    s->n_tokens += answer->n_tokens;
}

double serve_over_streams(const served_program *server, const serve_shape *shape, unsigned round,
                          unsigned n) {
    streams s = {.shape = shape, .round = round};
    const load_plan plan = {.address = "127.0.0.1",
                            .port = server->port,
                            .n_clients = n,
                            .next = next_stream,
                            .done = stream_done,
                            .user = &s};
    if (n > COMPARE_STREAMS || !load_run(&plan) || s.failed) return 0;
    return s.n_tokens * 1e3 / (s.end_ms - s.begun_ms);
}
