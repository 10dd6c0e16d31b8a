// SPDX-License-Identifier: MIT
// Label: threads
// The typing interface through sockets: the same suggestions as in process, clients that hang up,
// and streams that are told when the server stops.
#include "http_reader.h"
#include "served_program.h"
#include "server/typing_sessions.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static srv_app *app;

static int start(void **state) {
    (void)state;
    srv_options o;
    srv_options_init(&o);
    o.port = 0;
    return srv_start(&app, &o, NULL) != INK_OK || srv_wait(app, NULL) != INK_OK;
}

static int stop(void **state) {
    (void)state;
    srv_free(app);
    return 0;
}

// --- a client ------------------------------------------------------------------------------------

typedef struct client {
    int fd;
    http_reader reader;
    size_t seen;   // of the body
    bool complete; // the connection may stay open behind it
} client;

static void begin_request(client *c, const char *method, const char *path, const char *body) {
    char head[512];
    *c = (client){.fd = served_connect(srv_port(app))};
    assert_true(c->fd >= 0);
    assert_true(http_reader_begin(&c->reader));
    snprintf(head, sizeof head,
             "%s %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
             "Content-Length: %zu\r\n\r\n",
             method, path, strlen(body));
    assert_true(served_send(c->fd, head, strlen(head)) && served_send(c->fd, body, strlen(body)));
}

// More of the answer. False: it is complete.
static bool read_more(client *c) {
    char bytes[4096];
    if (c->complete) return false;
    const ssize_t n = read(c->fd, bytes, sizeof bytes);
    if (n < 0 && errno == EINTR) return true;
    if (n < 0) fail_msg("nothing came");
    const int done = n > 0 ? http_reader_feed(&c->reader, bytes, (size_t)n) : 1;
    assert_int_not_equal(done, -1);
    c->complete = done == 1;
    return !c->complete;
}

static void end_request(client *c) {
    close(c->fd);
    http_reader_free(&c->reader);
}

// One whole call; the answer as JSON, to be released.
static unsigned call(const char *method, const char *path, const char *body, json_t **answer) {
    client c;
    begin_request(&c, method, path, body);
    while (read_more(&c)) continue;
    const unsigned status = c.reader.status;
    if (answer != NULL) *answer = json_loads(http_reader_body(&c.reader), 0, NULL);
    end_request(&c);
    return status;
}

// The next event of a stream, to be released; NULL: there is none any more.
static json_t *next_event(client *c, char name[32]) {
    for (bool more = true;;) {
        const char *from = http_reader_body(&c->reader) + c->seen;
        const char *end = c->reader.body_bytes > c->seen ? strstr(from, "\n\n") : NULL;
        if (end == NULL) {
            if (!more) return NULL;
            more = read_more(c);
            continue;
        }
        c->seen += (size_t)(end - from) + 2;
        const char *data = strstr(from, "data: ");
        if (data == NULL || data > end) continue; // a comment
        assert_int_equal(sscanf(from, "event: %31s", name), 1);
        json_t *json = json_loadb(data + 6, (size_t)(end - data - 6), 0, NULL);
        assert_non_null(json);
        return json;
    }
}

static json_t *await_done(client *c, json_int_t revision) {
    char name[32];
    for (json_t *event; (event = next_event(c, name)) != NULL; json_decref(event))
        if (json_integer_value(json_object_get(event, "revision")) == revision &&
            json_is_true(json_object_get(event, "done")))
            return event;
    return NULL;
}

static void begin_session(char path[64], client *stream) {
    json_t *answer = NULL;
    char events[96], name[32];
    assert_int_equal(call("POST", "/v1/typing", "{\"model\": \"story\"}", &answer), 201);
    assert_string_equal(json_string_value(json_object_get(answer, "model")), "story");
    assert_string_equal(json_string_value(json_object_get(answer, "object")), "typing.session");
    snprintf(path, 64, "/v1/typing/%s", json_string_value(json_object_get(answer, "id")));
    json_decref(answer);
    snprintf(events, sizeof events, "%s/events", path);
    begin_request(stream, "GET", events, "");
    json_t *ready = next_event(stream, name);
    assert_string_equal(name, "ready");
    assert_int_equal(stream->reader.status, 200);
    assert_true(stream->reader.stream);
    json_decref(ready);
}

static json_int_t type_text(const char *path, const char *before) {
    json_t *sides = json_pack("{s:s}", "before", before), *answer = NULL;
    char *body = json_dumps(sides, 0);
    assert_int_equal(call("POST", path, body, &answer), 200);
    const json_int_t revision = json_integer_value(json_object_get(answer, "revision"));
    json_decref(answer);
    json_decref(sides);
    free(body);
    return revision;
}

// --- tests ---------------------------------------------------------------------------------------

static void test_suggestions_are_the_engines(void **state) {
    (void)state;
    static const char *const texts[] = {"Once upon", "Once upon a time there was a",
                                        "“你好,” said the little 😀 dog. He"};
    char path[64], accept[96];
    client stream;
    begin_session(path, &stream);
    ink_typing *typing = NULL;
    ink_typing_options o;
    ink_typing_options_init(&o, sizeof o);
    assert_int_equal(ink_typing_new(&typing, ink_service_model(app->models->service), &o, NULL),
                     INK_OK);
    for (int i = 0; i < 3; i++) {
        const size_t n = strlen(texts[i]);
        ink_suggestion best = {.size = sizeof best};
        assert_int_equal(ink_typing_update(typing, texts[i], n, n, NULL, NULL), INK_OK);
        assert_int_equal(ink_typing_run(typing, UINT32_MAX, NULL, NULL), INK_OK);
        ink_typing_suggestion(typing, 0, &best);
        json_t *event = await_done(&stream, type_text(path, texts[i]));
        assert_string_equal(json_string_value(json_object_get(event, "text")), best.text);
        assert_true(best.bytes > 1);
        if (i == 2) {
            json_t *body = json_pack("{s:O, s:O}", "revision", json_object_get(event, "revision"),
                                     "text", json_object_get(event, "text"));
            char *text = json_dumps(body, 0);
            json_t *edit = NULL;
            snprintf(accept, sizeof accept, "%s/accept", path);
            assert_int_equal(call("POST", accept, text, &edit), 200);
            // 3 + 4 + 14 + … characters, one of them beyond U+FFFF.
            assert_int_equal(json_integer_value(json_object_get(edit, "at")), 32);
            json_decref(edit);
            json_decref(body);
            free(text);
        }
        json_decref(event);
    }
    assert_int_equal(call("DELETE", path, "", NULL), 204);
    char name[32];
    json_t *last = NULL;
    for (json_t *event; (event = next_event(&stream, name)) != NULL;) {
        json_decref(last);
        last = event;
    }
    assert_string_equal(json_string_value(json_object_get(last, "reason")), "deleted");
    json_decref(last);
    end_request(&stream);
    ink_typing_free(typing);
    assert_int_equal(call("POST", path, "{\"before\": \"\"}", NULL), 404);
}

// Who only asks for the head of the stream does not take it.
static void test_head_leaves_the_stream(void **state) {
    (void)state;
    char path[64], events[96];
    client stream;
    begin_session(path, &stream);
    snprintf(events, sizeof events, "%s/events", path);
    assert_int_equal(call("HEAD", events, "", NULL), 200);
    json_t *event = await_done(&stream, type_text(path, "Once upon a"));
    assert_non_null(event);
    json_decref(event);
    assert_int_equal(call("DELETE", path, "", NULL), 204);
    end_request(&stream);
}

static bool has_no_stream(void *user) {
    srv_failure why;
    srv_typing *s = srv_typings_find(app->typings, user, &why);
    pthread_mutex_lock(&s->lock);
    const bool none = s->stream == NULL;
    pthread_mutex_unlock(&s->lock);
    srv_typing_unref(s);
    return none;
}

static bool is_empty(void *user) {
    (void)user;
    return srv_typings_n(app->typings) == 0;
}

static void test_hanging_up_frees_the_stream(void **state) {
    (void)state;
    char path[64];
    client stream;
    begin_session(path, &stream);
    type_text(path, "The little dog was so");
    end_request(&stream);
    assert_true(served_wait_for(has_no_stream, path + strlen("/v1/typing/")));
    // Nobody comes for it: the housekeeping takes it away.
    pthread_mutex_lock(&app->typings->lock);
    const double idle_ms = app->typings->idle_ms;
    app->typings->idle_ms = 0;
    pthread_mutex_unlock(&app->typings->lock);
    assert_true(served_wait_for(is_empty, NULL));
    pthread_mutex_lock(&app->typings->lock);
    app->typings->idle_ms = idle_ms;
    pthread_mutex_unlock(&app->typings->lock);
    assert_int_equal(call("DELETE", path, "", NULL), 404);
}

static void test_stopping_ends_streams(void **state) {
    (void)state;
    enum { N = 8 };
    char path[N][64], name[32];
    client streams[N];
    for (int i = 0; i < N; i++) begin_session(path[i], &streams[i]);
    for (int i = 0; i < N; i++) type_text(path[i], "One day, Tim went to the");
    srv_stop(app);
    for (int i = 0; i < N; i++) {
        json_t *last = NULL;
        for (json_t *event; (event = next_event(&streams[i], name)) != NULL;) {
            json_decref(last);
            last = event;
        }
        assert_string_equal(name, "closed");
        assert_string_equal(json_string_value(json_object_get(last, "reason")), "stopping");
        json_decref(last);
        end_request(&streams[i]);
    }
}

// A session keeps its stop strings, and eight times as much to look for them, as long as it is
// there.
static void test_long_stops(void **state) {
    (void)state;
    for (int n = 1024; n <= 1025; n++) {
        char body[1100];
        snprintf(body, sizeof body, "{\"stop\": [\"x\", \"%0*d\"]}", n, 0);
        json_t *answer = NULL;
        assert_int_equal(call("POST", "/v1/typing", body, &answer), n == 1024 ? 201 : 400);
        json_decref(answer);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_suggestions_are_the_engines),
        cmocka_unit_test(test_head_leaves_the_stream),
        cmocka_unit_test(test_hanging_up_frees_the_stream),
        cmocka_unit_test(test_long_stops),
        cmocka_unit_test(test_stopping_ends_streams),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
