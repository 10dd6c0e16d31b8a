// SPDX-License-Identifier: MIT
// Label: threads
// Streams, and clients that leave: while they wait, while they are written to, at any moment.
#include "http_scene.h"

#include <pthread.h>

static int begin(void **state) {
    const srv_options o = scene_options();
    (void)state;
    scene_begin(&o);
    return 0;
}
static int end(void **state) {
    (void)state;
    scene_end();
    return 0;
}

#define STREAM "GET /stream HTTP/1.1\r\n" HOST "\r\n"
#define WAIT   "POST /wait HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n"

static bool all_over(void) { return srv_http_n_calls(scene_app.http) == 0; }

static void test_events(void **state) {
    static wire w;
    char value[256];
    (void)state;
    wire_open(&w);
    wire_send(w.fd, STREAM);
    const reply r = wire_read(&w, false); // before anything was written
    assert_int_equal(r.status, 200);
    assert_true(reply_header(&r, "Content-Type", value));
    assert_int_equal(strncmp(value, "text/event-stream", 17), 0);
    assert_true(reply_header(&r, "X-Accel-Buffering", value));
    assert_true(reply_header(&r, "Transfer-Encoding", value));
    srv_call *call = scene_take_call();
    // Each is there before the next one is written.
    assert_true(srv_call_write(call, "data: 1\n\n", 9));
    wire_await(&w, "9\r\ndata: 1\n\n\r\n");
    assert_true(srv_call_event(call, NULL, json_pack("{ss}", "a", "x\ny")));
    wire_await(&w, "data: {\"a\":\"x\\ny\"}\n\n");
    assert_true(srv_call_event(call, "closed", json_object()));
    wire_await(&w, "event: closed\ndata: {}\n\n");
    assert_int_equal(srv_call_waiting(call), 0);
    srv_call_end(call);
    assert_false(srv_call_write(call, "late", 4));
    srv_call_unref(call);
    wire_await(&w, "\r\n0\r\n\r\n");
    // The connection goes on.
    wire_send(w.fd, "GET /open HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(wire_read(&w, true).status, 200);
    close(w.fd);
    assert_int_equal(atomic_load(&scene_n_gone), 0);
}

static void test_failure_inside(void **state) {
    static wire w;
    srv_failure why;
    (void)state;
    wire_open(&w);
    wire_send(w.fd, STREAM);
    srv_call *call = scene_take_call();
    srv_refuse(&why, "prompt", "no");
    srv_call_fail(call, &why);
    srv_call_unref(call);
    wire_await(&w, "data: {\"error\":{");
    wire_await(&w, "\"param\":\"prompt\"");
    wire_await(&w, "\r\n0\r\n\r\n");
    // A stream whose last reference is given back ends too.
    wire_send(w.fd, STREAM);
    srv_call_unref(scene_take_call());
    wire_await(&w, "\r\n0\r\n\r\n");
    close(w.fd);
}

static void test_old_version(void **state) {
    static wire w;
    (void)state;
    wire_open(&w);
    wire_send(w.fd, "GET /stream HTTP/1.0\r\n\r\n");
    srv_call *call = scene_take_call();
    srv_call_write(call, "data: 1\n\n", 9);
    srv_call_end(call);
    srv_call_unref(call);
    wire_await(&w, "\r\n\r\ndata: 1\n\n");
    assert_int_equal(w.n, 0);
    wire_await_close(&w);
    close(w.fd);
}

static void test_heartbeat(void **state) {
    static wire w;
    (void)state;
    atomic_store(&scene_app.http->heartbeat_ms, 1);
    wire_open(&w);
    wire_send(w.fd, STREAM);
    srv_call *call = scene_take_call();
    wire_await(&w, "3\r\n:\n\n\r\n");
    wire_await(&w, "3\r\n:\n\n\r\n");
    assert_true(srv_call_write(call, "data: 1\n\n", 9));
    wire_await(&w, "data: 1\n\n");
    srv_call_end(call);
    srv_call_unref(call);
    wire_await(&w, "\r\n0\r\n\r\n");
    close(w.fd);
}

// --- leaving -------------------------------------------------------------------------------------

static void test_leaves(void **state) {
    static wire w;
    (void)state;
    for (int i = 0; i < 4; i++) {
        const bool streams = i % 2 == 1, half = i >= 2;
        const unsigned before = atomic_load(&scene_n_gone);
        wire_open(&w);
        wire_send(w.fd, streams ? STREAM : WAIT);
        srv_call *call = scene_take_call();
        if (streams) assert_true(srv_call_write(call, "data: 1\n\n", 9));
        assert_false(srv_call_is_gone(call));
        if (half)
            shutdown(w.fd, SHUT_WR);
        else
            close(w.fd);
        // The first one asks the socket, the other one is told.
        WAIT_FOR(srv_call_is_gone(call));
        WAIT_FOR(atomic_load(&scene_n_gone) == before + 1);
        WAIT_FOR(all_over());
        assert_false(srv_call_write(call, "data: 2\n\n", 9));
        srv_call_json(call, 200, json_object()); // of no use, and no harm
        srv_call_unref(call);
        if (half) {
            wire_await_close(&w);
            close(w.fd);
        }
    }
    assert_int_equal(atomic_load(&scene_n_gone), 4);
}

static void test_nobody_is_told(void **state) {
    static wire w;
    (void)state;
    wire_open(&w);
    wire_send(w.fd, WAIT);
    srv_call *call = scene_take_call();
    srv_call_on_gone(call, NULL, NULL);
    close(w.fd);
    WAIT_FOR(all_over());
    assert_int_equal(atomic_load(&scene_n_gone), 0);
    // Who asks only now is told at once.
    srv_call_on_gone(call, scene_gone, NULL);
    assert_int_equal(atomic_load(&scene_n_gone), 1);
    srv_call_unref(call);
    assert_int_equal(atomic_load(&scene_n_gone), 1);
    // One whose answer is complete has not left.
    wire_open(&w);
    wire_send(w.fd, WAIT);
    call = scene_take_call();
    srv_call_empty(call, 204);
    assert_int_equal(wire_read(&w, false).status, 204);
    close(w.fd);
    WAIT_FOR(all_over());
    srv_call_unref(call);
    assert_int_equal(atomic_load(&scene_n_gone), 1);
}

static atomic_bool slow_runs, slow_may_end;
static void slow_gone(void *user) {
    atomic_store(&slow_runs, true);
    WAIT_FOR(atomic_load(&slow_may_end));
    atomic_fetch_add((atomic_uint *)user, 1);
}
static void *let_end(void *user) {
    (void)user;
    for (int i = 0; i < 20; i++) scene_rest();
    atomic_store(&slow_may_end, true);
    return NULL;
}

// What is taken back does not run any more at the return.
static void test_taken_back(void **state) {
    static wire w;
    pthread_t thread;
    atomic_uint n = 0;
    (void)state;
    atomic_store(&slow_runs, false);
    atomic_store(&slow_may_end, false);
    wire_open(&w);
    wire_send(w.fd, WAIT);
    srv_call *call = scene_take_call();
    srv_call_on_gone(call, slow_gone, &n);
    close(w.fd);
    WAIT_FOR(atomic_load(&slow_runs));
    assert_int_equal(pthread_create(&thread, NULL, let_end, NULL), 0);
    srv_call_on_gone(call, NULL, NULL);
    assert_int_equal(atomic_load(&n), 1);
    pthread_join(thread, NULL);
    srv_call_unref(call);
}

static void test_reads_nothing(void **state) {
    static char event[4096];
    static wire w;
    (void)state;
    memset(event, 'x', sizeof event);
    wire_open(&w);
    wire_send(w.fd, STREAM);
    srv_call *call = scene_take_call();
    size_t written = 0;
    // What the system keeps comes on top of our limit.
    while (srv_call_write(call, event, sizeof event)) {
        written += sizeof event;
        assert_true(written < (size_t)1 << 28);
    }
    assert_true(written >= SRV_STREAM_LIMIT);
    assert_true(srv_call_is_gone(call));
    srv_call_unref(call);
    WAIT_FOR(all_over());
    close(w.fd);
    // More at once than may ever wait.
    wire_open(&w);
    wire_send(w.fd, STREAM);
    call = scene_take_call();
    assert_false(srv_call_write(call, event, SRV_STREAM_LIMIT + (size_t)1));
    srv_call_unref(call);
    WAIT_FOR(all_over());
    close(w.fd);
}

// --- at any moment -------------------------------------------------------------------------------

enum { N_CLIENTS = 4, N_ROUNDS = 60 };

static void *write_until_gone(void *user) {
    srv_call *call = user;
    unsigned n = 0;
    while (srv_call_write(call, "data: 0123456789\n\n", 18) && !srv_call_is_gone(call) && n < 5000)
        n++;
    if (n % 2 == 0) srv_call_on_gone(call, NULL, NULL);
    srv_call_end(call);
    srv_call_unref(call);
    return NULL;
}
static void *answer_once(void *user) {
    srv_call *call = user;
    srv_call_json(call, 200, json_pack("{si}", "n", 1));
    srv_call_on_gone(call, NULL, NULL);
    srv_call_unref(call);
    return NULL;
}

static void spawn(srv_call *call, void *(*run)(void *)) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, run, srv_call_ref(call)) != 0) {
        srv_call_unref(call);
        return;
    }
    pthread_detach(thread);
}
static void handle_written(srv_call *call) {
    srv_call_on_gone(call, scene_gone, NULL);
    srv_call_stream(call);
    spawn(call, write_until_gone);
}
static void handle_answered(srv_call *call) {
    srv_call_on_gone(call, scene_gone, NULL);
    spawn(call, answer_once);
}
static const srv_route *find_threads(const char *method, const char *path, const char **tail,
                                     size_t *tail_bytes, const char **methods) {
    static const srv_route written = {"GET", "/written", handle_written, true},
                           answered = {"GET", "/answered", handle_answered, true};
    (void)method;
    *tail = "";
    *tail_bytes = 0;
    *methods = NULL;
    return strcmp(path, "/written") == 0 ? &written : &answered;
}

static void *leave_at_random(void *user) {
    unsigned random = (unsigned)(uintptr_t)user;
    for (int i = 0; i < N_ROUNDS; i++) {
        char sink[256];
        random = random * 1103515245u + 12345u;
        const int fd = wire_connect();
        wire_send(fd, random & 0x10000 ? "GET /written HTTP/1.1\r\n" HOST "\r\n"
                                       : "GET /answered HTTP/1.1\r\n" HOST "\r\n");
        unsigned n = random >> 17 & 15;
        while (n-- > 0 && recv(fd, sink, sizeof sink, n & 1 ? MSG_DONTWAIT : 0) > 0)
            ;
        if (random & 0x200000) shutdown(fd, SHUT_WR);
        close(fd);
    }
    return NULL;
}

static void test_any_moment(void **state) {
    pthread_t clients[N_CLIENTS];
    const srv_options o = scene_options();
    ink_error error = {0};
    (void)state;
    memset(&scene_app, 0, sizeof scene_app);
    scene_app.options = o;
    assert_int_equal(srv_http_new(&scene_app, &error), INK_OK);
    scene_app.http->find = find_threads;
    atomic_store(&scene_app.http->heartbeat_ms, 1);
    assert_int_equal(srv_http_start(scene_app.http, &error), INK_OK);
    for (uintptr_t i = 0; i < N_CLIENTS; i++)
        assert_int_equal(pthread_create(&clients[i], NULL, leave_at_random, (void *)(i + 1)), 0);
    for (int i = 0; i < N_CLIENTS; i++) pthread_join(clients[i], NULL);
    WAIT_FOR(all_over());
    WAIT_FOR(srv_http_n_connections(scene_app.http) == 0);
    // And a few that are cut off by the end of the server.
    int open[N_CLIENTS];
    for (int i = 0; i < N_CLIENTS; i++) {
        open[i] = wire_connect();
        wire_send(open[i], "GET /written HTTP/1.1\r\n" HOST "\r\n");
    }
    WAIT_FOR(srv_http_n_calls(scene_app.http) > 0);
    scene_end();
    for (int i = 0; i < N_CLIENTS; i++) close(open[i]);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(events),     TEST(failure_inside), TEST(old_version),
        TEST(heartbeat),  TEST(leaves),         TEST(nobody_is_told),
        TEST(taken_back), TEST(reads_nothing),  cmocka_unit_test(test_any_moment)};
    return cmocka_run_group_tests_name("server/http_streams", tests, NULL, NULL);
}
