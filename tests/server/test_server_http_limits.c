// SPDX-License-Identifier: MIT
// Label: threads
// Connections that only hold a place, more of them than there is room for, and the end of the
// server.
#include "http_scene.h"

#include <pthread.h>
#include <sys/resource.h>

#define ECHO "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 2\r\n\r\nhi"
#define WAIT "POST /wait HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n"
#define OPEN "GET /open HTTP/1.1\r\n" HOST "\r\n"

// The call to /wait that w has made; NULL: it was hung up on before.
static srv_call *try_wait(wire *w) {
    wire_open(w);
    wire_send(w->fd, WAIT);
    for (;; scene_rest()) {
        char byte;
        srv_call *call = atomic_exchange(&scene_kept, NULL);
        if (call != NULL && !srv_call_is_gone(call)) return call;
        // That of one before, which was hung up on just when its request had come.
        if (call != NULL) srv_call_unref(call);
        const ssize_t n = recv(w->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN)) return NULL;
    }
}

static void test_slow_head(void **state) {
    static wire silent, slow, used;
    srv_options o = scene_options();
    (void)state;
    o.header_ms = 50;
    scene_begin(&o);
    wire_open(&silent);
    wire_open(&slow);
    wire_send(slow.fd, "GET /open HTTP/1.1\r\nHo");
    // On a slow machine its request may come too late as well.
    srv_call *call;
    while ((call = try_wait(&used)) == NULL) close(used.fd);
    wire_await_close(&silent);
    wire_await_close(&slow);
    // The third one brought its request, whose answer may take as long as it takes.
    assert_false(srv_call_is_gone(call));
    srv_call_empty(call, 204);
    srv_call_unref(call);
    assert_int_equal(wire_read(&used, false).status, 204);
    wire_await_close(&used); // and then no other request
    WAIT_FOR(srv_http_n_connections(scene_app.http) == 0);
    close(silent.fd);
    close(slow.fd);
    close(used.fd);
    scene_end();
}

static void test_slow_body(void **state) {
    static wire slow, waits;
    srv_options o = scene_options();
    (void)state;
    o.body_ms = 50;
    scene_begin(&o);
    wire_open(&waits); // has no request yet
    wire_open(&slow);
    wire_send(slow.fd, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhell");
    wire_await_close(&slow);
    assert_int_equal(atomic_load(&scene_n_handled), 0);
    wire_send(waits.fd, OPEN);
    assert_int_equal(wire_read(&waits, true).status, 200);
    close(slow.fd);
    close(waits.fd);
    scene_end();
}

// The end of what a client says may come together with the last bytes, in the middle of a head or
// of a body: its place is free long before the time for those is over.
static void test_gone_in_the_middle(void **state) {
    static const char *const parts[] = {
        "GET /open HTTP/1.1\r\nHo", "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhell"};
    static wire gone[2];
    srv_options o = scene_options();
    (void)state;
    o.header_ms = o.body_ms = 3600000;
    scene_begin(&o);
    for (int i = 0; i < 2; i++) {
        wire_open(&gone[i]);
        wire_send(gone[i].fd, parts[i]);
        shutdown(gone[i].fd, SHUT_WR);
    }
    for (int i = 0; i < 2; i++) wire_await_close(&gone[i]);
    WAIT_FOR(srv_http_n_connections(scene_app.http) == 0);
    assert_int_equal(atomic_load(&scene_n_handled), 0);
    for (int i = 0; i < 2; i++) close(gone[i].fd);
    scene_end();
}

// --- more than there is room for -----------------------------------------------------------------

static int raise_files(int wanted) {
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    const rlim_t need = (rlim_t)wanted + 400;
    if (files.rlim_cur < need) {
        files.rlim_cur = files.rlim_max < need ? files.rlim_max : need;
        setrlimit(RLIMIT_NOFILE, &files);
        getrlimit(RLIMIT_NOFILE, &files);
    }
    if (files.rlim_cur >= need) return wanted;
    printf("left out: %d connections, for want of open files\n", wanted);
    return files.rlim_cur > 500 ? (int)files.rlim_cur - 400 : 100;
}

static void test_crowd(void **state) {
    enum { LIMIT = 64 };
    static int crowd[3000];
    static wire busy;
    srv_options o = scene_options();
    (void)state;
    const int n = raise_files(3000);
    o.n_connections = LIMIT;
    scene_begin(&o);
    wire_open(&busy);
    wire_send(busy.fd, WAIT);
    srv_call *call = scene_take_call();
    for (int i = 0; i < n; i++) {
        crowd[i] = wire_connect();
        if (i % 3 == 1) wire_send(crowd[i], "POST /echo HTT");
        if (i % 50 == 0) assert_int_equal(ask(OPEN).status, 200);
    }
    assert_int_equal(ask(OPEN).status, 200);
    assert_true(srv_http_n_connections(scene_app.http) <= LIMIT);
    assert_true(atomic_load(&scene_app.metrics.evicted_connections) >= (unsigned)n - LIMIT);
    // Who has a request under way keeps its place.
    assert_false(srv_call_is_gone(call));
    srv_call_empty(call, 204);
    srv_call_unref(call);
    assert_int_equal(wire_read(&busy, false).status, 204);
    for (int i = 0; i < n; i++) close(crowd[i]);
    close(busy.fd);
    WAIT_FOR(srv_http_n_connections(scene_app.http) == 0);
    scene_end();
}

static void test_all_at_work(void **state) {
    enum { LIMIT = 3 };
    static wire busy[LIMIT], late;
    srv_call *calls[LIMIT];
    char value[256];
    srv_options o = scene_options();
    (void)state;
    o.n_connections = LIMIT;
    scene_begin(&o);
    for (int i = 0; i < LIMIT; i++) {
        wire_open(&busy[i]);
        wire_send(busy[i].fd, WAIT);
        calls[i] = scene_take_call();
    }
    wire_open(&late);
    wire_send(late.fd, OPEN);
    const reply r = wire_read(&late, true);
    assert_int_equal(r.status, 503);
    assert_true(reply_header(&r, "Retry-After", value));
    assert_non_null(strstr(r.body, "too_many_connections"));
    wire_await_close(&late);
    close(late.fd);
    assert_int_equal(atomic_load(&scene_app.metrics.refused_connections), 1);
    for (int i = 0; i < LIMIT; i++) {
        srv_call_empty(calls[i], 204);
        srv_call_unref(calls[i]);
        assert_int_equal(wire_read(&busy[i], false).status, 204);
    }
    // There is room again.
    WAIT_FOR(srv_http_n_calls(scene_app.http) == 0);
    assert_int_equal(ask(OPEN).status, 200);
    for (int i = 0; i < LIMIT; i++) close(busy[i].fd);
    scene_end();
}

// --- the end -------------------------------------------------------------------------------------

static void *stop(void *user) {
    srv_stop(user);
    return NULL;
}

static void test_drain(void **state) {
    static wire runs, idle;
    pthread_t thread;
    char value[256];
    const srv_options o = scene_options();
    (void)state;
    scene_begin(&o);
    wire_open(&idle);
    wire_send(idle.fd, OPEN);
    assert_int_equal(wire_read(&idle, true).status, 200);
    wire_open(&runs);
    wire_send(runs.fd, WAIT);
    srv_call *call = scene_take_call();
    const uint16_t port = srv_http_port(scene_app.http);
    assert_int_equal(pthread_create(&thread, NULL, stop, &scene_app), 0);
    WAIT_FOR(atomic_load(&scene_app.draining));
    wire_send(idle.fd, OPEN);
    reply r = wire_read(&idle, true);
    assert_int_equal(r.status, 503);
    assert_true(reply_header(&r, "Connection", value));
    assert_string_equal(value, "close");
    assert_true(reply_header(&r, "Retry-After", value));
    wire_await_close(&idle);
    // Nobody listens any more.
    int fd;
    WAIT_FOR((fd = wire_try_connect(port)) < 0 || (close(fd), false));
    assert_false(srv_call_is_gone(call));
    srv_call_json(call, 200, json_pack("{sb}", "ok", 1));
    srv_call_unref(call);
    r = wire_read(&runs, true);
    assert_int_equal(r.status, 200);
    assert_true(reply_header(&r, "Connection", value));
    pthread_join(thread, NULL);
    srv_stop(&scene_app); // once more does nothing
    close(idle.fd);
    close(runs.fd);
    scene_end();
    assert_int_equal(atomic_load(&scene_n_gone), 0);
}

// What does not end is hung up on, and may still be held by whoever works on it.
static void test_no_end(void **state) {
    static wire runs, streams;
    (void)state;
    for (int hurry = 0; hurry < 2; hurry++) {
        srv_options o = scene_options();
        if (!hurry) o.drain_ms = 20;
        scene_begin(&o);
        wire_open(&runs);
        wire_send(runs.fd, WAIT);
        srv_call *first = scene_take_call();
        wire_open(&streams);
        wire_send(streams.fd, "GET /stream HTTP/1.1\r\n" HOST "\r\n");
        srv_call *second = scene_take_call();
        if (hurry) srv_hurry(&scene_app);
        srv_stop(&scene_app);
        scene_end();
        assert_int_equal(atomic_load(&scene_n_gone), 2);
        assert_true(srv_call_is_gone(first));
        assert_false(srv_call_write(second, "x", 1));
        srv_call_json(first, 200, json_object());
        srv_call_end(second);
        srv_call_unref(first);
        srv_call_unref(second);
        wire_await_close(&runs);
        close(runs.fd);
        wire_await_close(&streams);
        close(streams.fd);
    }
}

static void test_whole_server(void **state) {
    srv_options o = scene_options();
    srv_app *app = NULL;
    ink_error error = {0};
    (void)state;
    o.n_threads = 1;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(srv_start(&app, &o, &error), INK_OK);
        assert_true(srv_port(app) != 0);
        if (i == 1) assert_int_equal(srv_wait(app, &error), INK_OK);
        if (i == 2) srv_stop(app);
        srv_free(app);
    }
    srv_free(NULL);
}

// Clients that leave at once, half of them in the middle of a head, the others of a stream: none
// of their sockets stays open, though nobody comes any more.
static void test_nothing_stays(void **state) {
    static const char stream[] = "POST /v1/completions HTTP/1.1\r\n" HOST "Content-Length: 44\r\n"
                                 "\r\n{\"prompt\":\"a\",\"max_tokens\":30,\"stream\":true}";
    const srv_options o = scene_options();
    srv_app *app = NULL;
    ink_error error = {0};
    (void)state;
    assert_int_equal(srv_start(&app, &o, &error), INK_OK);
    assert_int_equal(srv_wait(app, &error), INK_OK);
    for (int i = 0; i < 3000; i++) {
        const int fd = wire_try_connect(srv_port(app));
        assert_true(fd >= 0);
        wire_send(fd, i % 2 == 0 ? "GET /he" : stream);
        close(fd);
    }
    // What brought no head has its time, or gives way; what was hung up on is closed.
    WAIT_FOR(srv_http_n_calls(app->http) == 0);
    WAIT_FOR(srv_connections_n_open(&app->http->connections) == srv_http_n_connections(app->http));
    srv_free(app);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_slow_head),
                                       cmocka_unit_test(test_slow_body),
                                       cmocka_unit_test(test_gone_in_the_middle),
                                       cmocka_unit_test(test_crowd),
                                       cmocka_unit_test(test_nothing_stays),
                                       cmocka_unit_test(test_all_at_work),
                                       cmocka_unit_test(test_drain),
                                       cmocka_unit_test(test_no_end),
                                       cmocka_unit_test(test_whole_server)};
    return cmocka_run_group_tests_name("server/http_limits", tests, NULL, NULL);
}
