// SPDX-License-Identifier: MIT
// Label: threads
// 64 clients at a time on the built-in model, every kind of request: nothing fails but with 429 or
// 503, and memory does not grow. A fixed number of requests; INKLING_TEST_LONG: for a minute.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "http_load.h"
#include "served_program.h"

enum { CLIENTS = 64, BODY = 512, MB = 1 << 20, LONG_MS = 60000, SETTLED_MS = 20000 };
enum { MAX_FIRSTS = 1 << 20 };

static served_program server;

typedef enum kind {
    COMPLETION_STREAM,
    COMPLETION,
    CHAT_STREAM,
    CHAT,
    CHOICES,
    EMBEDDINGS,
    TOKENIZE,
    DETOKENIZE,
    MODELS,
    METRICS,
    TYPING_NEW,
    TYPING_EDIT,
    TYPING_DELETE,
    HANG_UP,
    N_KINDS
} kind;
static const char *const names[N_KINDS] = {
    "completion, streamed", "completion", "chat, streamed", "chat",       "choices",
    "embeddings",           "tokenize",   "detokenize",     "models",     "metrics",
    "typing, new",          "edit",       "delete",         "and hung up"};

typedef struct load_state {
    unsigned n_rounds; // requests of each client; 0: until `until_ms`
    bool only_one;     // kind of request, `one`
    kind one;
    double until_ms, settled_ms;
    double settled_rss; // of /metrics, at settled_ms; 0: not yet
    struct {
        kind now;
        char typing[96], body[BODY]; // typing: the path of its session, or ""
    } clients[CLIENTS];
    unsigned n_done[N_KINDS], n_refused, n_failed, n_tokens;
    double *firsts;
    unsigned n_firsts;
} load_state;

// --- what is asked -------------------------------------------------------------------------------

static void ask(load_request *out, const char *path, const char *body) {
    out->method = "POST";
    out->path = path;
    out->body = body;
    out->bytes = strlen(body);
}

static void ask_for_text(load_request *out, kind what, unsigned number, char *body) {
    static const char *const beginnings[] = {"Once upon a time", "The little dog", "One day Lily",
                                             "Tom and his mom went to the park and"};
    const char *text = beginnings[number % 4];
    const bool stream = what == COMPLETION_STREAM || what == CHAT_STREAM || what == HANG_UP;
    const bool chat = what == CHAT || what == CHAT_STREAM;
    const unsigned n_tokens = 4 + number % 9, n = what == CHOICES ? 2 : 1;
    char tail[160];
    snprintf(tail, sizeof tail, "\"max_tokens\":%u,\"n\":%u,\"seed\":%u%s}", n_tokens, n, number,
             stream ? ",\"stream\":true,\"stream_options\":{\"include_usage\":true}" : "");
    if (chat)
        snprintf(body, BODY, "{\"messages\":[{\"role\":\"user\",\"content\":\"%s %u\"}],%s", text,
                 number, tail);
    else
        snprintf(body, BODY, "{\"prompt\":\"%s %u\",%s", text, number, tail);
    ask(out, chat ? "/v1/chat/completions" : "/v1/completions", body);
    // A third of the clients come with a new connection each time.
    out->fresh = number % 3 == 0;
    out->hang_up_events = what == HANG_UP ? 1 + number % 2 : 0;
}

static void ask_typing(load_request *out, load_state *s, unsigned client, kind what) {
    const char *path = s->clients[client].typing;
    if (what == TYPING_NEW) ask(out, "/v1/typing", "{}");
    if (what == TYPING_EDIT) ask(out, path, "{\"before\":\"Once upon\",\"after\":\"\"}");
    if (what == TYPING_DELETE) {
        out->method = "DELETE";
        out->path = path;
    }
}

static bool next(void *user, unsigned client, unsigned index, load_request *out) {
    load_state *s = user;
    const unsigned number = index * CLIENTS + client;
    if (s->n_rounds > 0 ? index == s->n_rounds : load_now_ms() > s->until_ms) return false;
    kind what = s->only_one ? s->one : (kind)((index + client) % N_KINDS);
    // Nobody edits what could not be made.
    if ((what == TYPING_EDIT || what == TYPING_DELETE) && s->clients[client].typing[0] == 0)
        what = TOKENIZE;
    char *body = s->clients[client].body;
    s->clients[client].now = what;
    switch (what) {
    case EMBEDDINGS: ask(out, "/v1/embeddings", "{\"input\":[\"a dog\",\"a cat\"]}"); break;
    case TOKENIZE: ask(out, "/tokenize", "{\"content\":\"Once upon a time\"}"); break;
    case DETOKENIZE: ask(out, "/detokenize", "{\"tokens\":[1,2,3]}"); break;
    case MODELS: out->path = "/v1/models"; break;
    case METRICS: out->path = "/metrics"; break;
    case TYPING_NEW:
    case TYPING_EDIT:
    case TYPING_DELETE: ask_typing(out, s, client, what); break;
    default: ask_for_text(out, what, number, body); break;
    }
    return true;
}

// --- what came -----------------------------------------------------------------------------------

static void keep_typing(load_state *s, unsigned client, const char *body) {
    char *to = s->clients[client].typing;
    const char *id = strstr(body, "\"typ_");
    to[0] = 0;
    if (id != NULL)
        snprintf(to, sizeof s->clients[client].typing, "/v1/typing/%.*s",
                 (int)strcspn(id + 1, "\""), id + 1);
}

static bool is_right(kind what, const load_answer *a) {
    if (what == HANG_UP && a->status == 200) return !a->failed_event;
    if (!a->complete || a->failed_event) return false;
    if (what == TYPING_NEW) return a->status == 201;
    if (what == TYPING_DELETE) return a->status == 204;
    if (what == CHAT || what == COMPLETION || what == CHOICES)
        return a->status == 200 && strstr(a->body, "\"finish_reason\"") != NULL;
    if (what == CHAT_STREAM || what == COMPLETION_STREAM)
        return a->status == 200 && a->stream && strstr(a->body, "\"usage\"") != NULL;
    return a->status == 200;
}

static void look_at_memory(load_state *s) {
    if (s->settled_ms == 0 || s->settled_rss > 0 || load_now_ms() < s->settled_ms) return;
    s->settled_rss = served_figure(server.port, "inkling_resident_memory_bytes");
}

static void done(void *user, unsigned client, unsigned index, const load_answer *a) {
    load_state *s = user;
    const kind what = s->clients[client].now;
    char seconds[32];
    s->n_tokens += a->n_tokens;
    if (what == TYPING_NEW) keep_typing(s, client, a->body);
    if (what == TYPING_DELETE) s->clients[client].typing[0] = 0;
    if (a->first_ms > 0 && s->n_firsts < MAX_FIRSTS)
        s->firsts[s->n_firsts++] = a->first_ms - a->begun_ms;
    if (a->complete && (a->status == 429 || a->status == 503) &&
        load_header(a->head, "Retry-After", seconds, sizeof seconds)) {
        s->n_refused++;
    } else if (is_right(what, a)) {
        s->n_done[what]++;
    } else {
        s->n_failed++;
        fprintf(stderr, "client %u, request %u, %s: status %u, %s\n%s%.1000s\n", client, index,
                names[what], a->status, a->why != NULL ? a->why : "complete", a->head, a->body);
    }
    look_at_memory(s);
}

static int compare_doubles(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void report(load_state *s) {
    unsigned n = 0;
    for (unsigned i = 0; i < N_KINDS; i++) n += s->n_done[i];
    qsort(s->firsts, s->n_firsts, sizeof *s->firsts, compare_doubles);
    const double *f = s->firsts;
    printf("%u clients, %u answers, %u told to come again, %u tokens; first token p50 %.1f ms, "
           "p99 %.1f ms\n",
           CLIENTS, n, s->n_refused, s->n_tokens, f[s->n_firsts / 2],
           f[(unsigned)(0.99 * (s->n_firsts - 1) + 0.5)]);
}

static void run_plan(load_state *s) {
    const load_plan plan = {.address = "127.0.0.1",
                            .port = server.port,
                            .n_clients = CLIENTS,
                            .next = next,
                            .done = done,
                            .user = s};
    s->firsts = malloc(MAX_FIRSTS * sizeof *s->firsts);
    assert_non_null(s->firsts);
    const bool ran = load_run(&plan);
    if (ran && s->n_firsts > 0) report(s);
    free(s->firsts);
    s->firsts = NULL;
    assert_true(ran);
    assert_int_equal(s->n_failed, 0);
}

static void run(load_state *s) {
    run_plan(s);
    for (unsigned i = 0; i < N_KINDS; i++)
        if (s->n_done[i] == 0) fail_msg("no answer of the kind: %s", names[i]);
}

// --- tests ---------------------------------------------------------------------------------------

static bool is_at_rest(void *user) {
    (void)user;
    return served_figure(server.port, "inkling_requests_running") == 0 &&
           served_figure(server.port, "inkling_requests_waiting") == 0 &&
           served_figure(server.port, "inkling_connections") <= 1;
}

static void assert_flat(double before, double after, double most_mb) {
    printf("memory %.1f MB, then %.1f MB; at most %.0f MB more are allowed\n", before / MB,
           after / MB, most_mb);
    if (getenv("INKLING_SANITIZE") != NULL)
        printf("left out: whether memory grows, a sanitizer keeps it back\n");
    else
        assert_true(after <= before + most_mb * MB);
}

static bool files_are_back(void *most) { return served_n_fds(&server) <= *(const unsigned *)most; }

// The first run makes caches and brings pages; the second, as large, needs nothing more.
static void test_load(void **state) {
    static load_state sessions, first, second;
    static const kind typing[] = {TYPING_NEW, TYPING_EDIT, TYPING_DELETE};
    (void)state;
    // As many typing sessions as there are clients, at a time: later it is by chance how many.
    for (size_t i = 0; i < 3; i++) {
        sessions.only_one = true;
        sessions.one = typing[i];
        sessions.n_rounds = 1;
        run_plan(&sessions);
        assert_int_equal(sessions.n_done[typing[i]], CLIENTS);
    }
    first.n_rounds = second.n_rounds = N_KINDS;
    run(&first);
    assert_true(served_wait_for(is_at_rest, NULL));
    const double before = served_figure(server.port, "inkling_resident_memory_bytes");
    unsigned n_fds = served_n_fds(&server);
    run(&second);
    assert_true(served_wait_for(is_at_rest, NULL));
    assert_flat(before, served_figure(server.port, "inkling_resident_memory_bytes"), 16);
    assert_true(served_wait_for(files_are_back, &n_fds));
}

static void test_minute(void **state) {
    static load_state s;
    (void)state;
    if (getenv("INKLING_TEST_LONG") == NULL) {
        printf("left out: a minute of 64 clients (INKLING_TEST_LONG)\n");
        return;
    }
    s.settled_ms = load_now_ms() + SETTLED_MS;
    s.until_ms = load_now_ms() + LONG_MS;
    run(&s);
    assert_true(s.settled_rss > 0);
    assert_flat(s.settled_rss, served_figure(server.port, "inkling_resident_memory_bytes"), 12);
    assert_true(served_wait_for(is_at_rest, NULL));
}

static int start(void **state) {
    const char *const args[] = {NULL};
    (void)state;
    return served_start(&server, NULL, args) ? 0 : -1;
}

static int stop(void **state) {
    (void)state;
    return served_stop(&server);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_load), cmocka_unit_test(test_minute)};
    if (getenv("INKLING_PROGRAM") == NULL) {
        printf("left out: the load, INKLING_PROGRAM names no program\n");
        return 77;
    }
    return cmocka_run_group_tests(tests, start, stop);
}
