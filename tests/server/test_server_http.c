// SPDX-License-Identifier: MIT
// Label: threads
// Requests and answers, byte by byte: what is answered, in which form, and what the connection may
// be used for behind that.
#include "http_scene.h"

static int begin(void **state) {
    srv_options o = scene_options();
    (void)state;
    o.max_body_bytes = 1000;
    scene_begin(&o);
    return 0;
}
static int end(void **state) {
    (void)state;
    scene_end();
    return 0;
}

static void is_error(const reply *r, int status, const char *code) {
    char value[256];
    json_t *body = json_loads(r->body, 0, NULL), *error = json_object_get(body, "error");
    assert_int_equal(r->status, status);
    assert_true(reply_header(r, "Content-Type", value));
    assert_string_equal(value, "application/json");
    assert_true(reply_header(r, "x-request-id", value));
    assert_int_equal(strncmp(value, "req_", 4), 0);
    assert_int_equal(strlen(value), 28);
    assert_int_equal(json_object_size(body), 1);
    assert_int_equal(json_object_size(error), 4);
    assert_true(json_string_length(json_object_get(error, "message")) > 0);
    assert_true(json_string_length(json_object_get(error, "type")) > 0);
    assert_true(json_is_null(json_object_get(error, "param")));
    const json_t *got = json_object_get(error, "code");
    assert_non_null(got);
    if (code != NULL) assert_string_equal(json_string_value(got), code);
    json_decref(body);
}

static void test_body(void **state) {
    char value[256];
    (void)state;
    const reply r = ask("POST /echo HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhello");
    assert_int_equal(r.status, 200);
    assert_string_equal(r.body, "hello");
    assert_true(reply_header(&r, "Content-Type", value));
    assert_string_equal(value, "text/plain; charset=utf-8");
    assert_true(reply_header(&r, "X-Content-Type-Options", value));
    assert_string_equal(value, "nosniff");
    assert_true(reply_header(&r, "Cache-Control", value));
    assert_string_equal(value, "no-store");
    assert_false(reply_header(&r, "Connection", value));
    assert_false(reply_header(&r, "Vary", value));
    assert_false(reply_header(&r, "Access-Control-Allow-Origin", value));
}

static void test_errors(void **state) {
    char value[256];
    (void)state;
    reply r = ask("GET /nowhere HTTP/1.1\r\n" HOST "\r\n");
    is_error(&r, 404, "unknown_url");
    r = ask("GET /echo HTTP/1.1\r\n" HOST "\r\n");
    is_error(&r, 405, "method_not_supported");
    assert_true(reply_header(&r, "Allow", value));
    assert_string_equal(value, "POST, OPTIONS");
    r = ask("DELETE /file HTTP/1.1\r\n" HOST "\r\n");
    is_error(&r, 405, "method_not_supported");
    r = ask("GET /drop HTTP/1.1\r\n" HOST "\r\n");
    is_error(&r, 500, NULL);
    r = ask("GET /\xff\"\\%00 HTTP/1.1\r\n" HOST "\r\n");
    is_error(&r, 404, NULL);
    // A refusal reads the body, so that the connection can go on.
    static wire w;
    wire_open(&w);
    wire_send(w.fd, "POST /nowhere HTTP/1.1\r\n" HOST "Content-Length: 4\r\n\r\nGET ");
    r = wire_read(&w, true);
    is_error(&r, 404, "unknown_url");
    wire_send(w.fd, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 2\r\n\r\nhi");
    assert_string_equal(wire_read(&w, true).body, "hi");
    close(w.fd);
}

static void test_head(void **state) {
    char value[256];
    static wire w;
    (void)state;
    wire_open(&w);
    wire_send(w.fd, "HEAD /file HTTP/1.1\r\n" HOST "\r\nGET /open HTTP/1.1\r\n" HOST "\r\n");
    reply r = wire_read(&w, false);
    assert_int_equal(r.status, 200);
    assert_true(reply_header(&r, "Content-Length", value));
    assert_string_equal(value, "6");
    // What follows is the next answer, not a body.
    r = wire_read(&w, true);
    assert_int_equal(r.status, 200);
    assert_string_equal(r.body, "");
    close(w.fd);
}

static void test_static(void **state) {
    char value[256];
    static const struct {
        const char *header;
        int status;
    } cases[] = {{"", 200},
                 {"If-None-Match: \"tag1\"\r\n", 304},
                 {"If-None-Match: W/\"tag1\"\r\n", 304},
                 {"If-None-Match: \"other\", \"tag1\"\r\n", 304},
                 {"If-None-Match: *\r\n", 304},
                 {"If-None-Match: \"tag\"\r\n", 200},
                 {"If-None-Match: \"tag1\"x\r\n", 200}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char request[256];
        static wire w;
        snprintf(request, sizeof request, "GET /file HTTP/1.1\r\n" HOST "%s\r\n", cases[i].header);
        wire_open(&w);
        wire_send(w.fd, request);
        reply r = wire_read(&w, cases[i].status == 200);
        assert_int_equal(r.status, cases[i].status);
        assert_true(reply_header(&r, "ETag", value));
        assert_string_equal(value, "\"tag1\"");
        assert_true(reply_header(&r, "Content-Security-Policy", value));
        assert_string_equal(r.body, cases[i].status == 200 ? "a page" : "");
        // A 304 has no body: the next answer begins right behind it.
        wire_send(w.fd, "GET /open HTTP/1.1\r\n" HOST "\r\n");
        assert_int_equal(wire_read(&w, true).status, 200);
        close(w.fd);
    }
}

static void test_pipeline(void **state) {
    static wire w;
    (void)state;
    wire_open(&w);
    wire_send(w.fd, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\none"
                    "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\ntwo"
                    "POST /wait HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n"
                    "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 4\r\n\r\nfour");
    assert_string_equal(wire_read(&w, true).body, "one");
    assert_string_equal(wire_read(&w, true).body, "two");
    srv_call *call = scene_take_call();
    assert_false(srv_call_is_gone(call));
    srv_call_json(call, 201, json_pack("{si}", "three", 3));
    srv_call_json(call, 200, json_pack("{si}", "late", 1)); // passed over
    srv_call_unref(call);
    const reply r = wire_read(&w, true);
    assert_int_equal(r.status, 201);
    assert_string_equal(r.body, "{\"three\":3}");
    assert_string_equal(wire_read(&w, true).body, "four");
    close(w.fd);
}

static void test_chunked(void **state) {
    static wire w;
    (void)state;
    wire_open(&w);
    wire_send(w.fd,
              "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    wire_send(w.fd, "4;x=y\r\nde");
    wire_send(w.fd, "fg\r\n0\r\nTrailer: 1\r\n\r\n");
    assert_string_equal(wire_read(&w, true).body, "abcdefg");
    // As many bytes as are allowed, then one more.
    static char body[1001];
    char head[64];
    memset(body, 'x', sizeof body);
    for (int extra = 0; extra < 2; extra++) {
        wire_send(w.fd, "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n");
        snprintf(head, sizeof head, "%x\r\n", 1000 + extra);
        wire_send(w.fd, head);
        wire_send_bytes(w.fd, body, 1000 + (size_t)extra);
        wire_send(w.fd, "\r\n0\r\n\r\n");
        const reply r = wire_read(&w, true);
        if (extra == 0) {
            assert_int_equal(r.status, 200);
            assert_int_equal(strlen(r.body), 1000);
        } else {
            is_error(&r, 413, "body_too_large");
        }
    }
    wire_await_close(&w);
    close(w.fd);
    assert_int_equal(atomic_load(&scene_n_handled), 2);
}

// The answer is there before a byte of the body is, and is not lost where the client goes on.
static void test_too_large(void **state) {
    static char body[1 << 16];
    static wire w;
    (void)state;
    wire_open(&w);
    wire_send(w.fd, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 1000000000\r\n\r\n");
    reply r = wire_read(&w, true);
    is_error(&r, 413, "body_too_large");
    wire_await_close(&w);
    close(w.fd);
    wire_open(&w);
    wire_send(w.fd, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 1001\r\n"
                    "Expect: 100-continue\r\n\r\n");
    r = wire_read(&w, true);
    is_error(&r, 413, "body_too_large");
    close(w.fd);
    for (int chunked = 0; chunked < 2; chunked++) {
        wire_open(&w);
        wire_send(w.fd, chunked
                            ? "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
                              "1000000\r\n"
                            : "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 16777216\r\n\r\n");
        for (int i = 0; i < 8; i++) wire_send_bytes(w.fd, body, sizeof body);
        r = wire_read(&w, true);
        is_error(&r, 413, "body_too_large");
        wire_await_close(&w);
        close(w.fd);
    }
    assert_int_equal(atomic_load(&scene_n_handled), 0);
}

static void test_framing(void **state) {
    static const struct {
        const char *request;
        int status;
    } cases[] = {
        {"POST /echo HTTP/1.1\r\n" HOST "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400},
        {"POST /echo HTTP/1.1\r\n" HOST
         "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
         400},
        {"POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip\r\n\r\n", 501},
        {"POST /echo HTTP/1.1\r\n" HOST HOST "Content-Length: 0\r\n\r\n", 400},
        {"POST /echo HTTP/1.1\r\nContent-Length: 0\r\n\r\n", 400},
        // Whoever takes it for a length sees a body where here another request would begin.
        {"POST /echo HTTP/1.1\r\n" HOST "Content-Length : 40\r\n\r\n", 400},
        {"POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding\t: chunked\r\n\r\n", 400},
        {"GET /open HTTP/1.1\r\n X: y\r\n" HOST "\r\n", 400},
        {"GET /open HTTP/1.1\r\nX: a\rY: b\r\n" HOST "\r\n", 400},
        {"GET /open HTTP/1.1\r\nX: a\033[2J\r\n" HOST "\r\n", 400},
        {"G\033T /open HTTP/1.1\r\n" HOST "\r\n", 400},
        {"GET /open HTTP/1.1\r\n" HOST "Authorization: Bearer a\r\n"
         "authorization: Bearer b\r\n\r\n",
         400},
    };
    static wire w;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const reply r = ask(cases[i].request);
        assert_int_equal(r.status, cases[i].status);
        is_error(&r, cases[i].status, NULL);
    }
    // What is sent behind such a head is not read as a request.
    wire_open(&w);
    wire_send(w.fd, "POST /echo HTTP/1.1\r\n" HOST "Content-Length : 54\r\n\r\n"
                    "GET /open HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(wire_read(&w, true).status, 400);
    wire_await_close(&w);
    close(w.fd);
    // These the HTTP library answers itself: any 4xx, and the end.
    static const char *const broken[] = {
        "GET\r\n\r\n", "POST /echo HTTP/1.1\r\n" HOST "Content-Length: -1\r\n\r\n",
        "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\nxyz\r\n"};
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        wire_open(&w);
        wire_send(w.fd, broken[i]);
        shutdown(w.fd, SHUT_WR);
        while (wire_more(&w))
            ;
        assert_true(w.n == 0 || strncmp(w.data, "HTTP/1.1 4", 10) == 0);
        close(w.fd);
    }
    assert_int_equal(atomic_load(&scene_n_handled), 0);
}

static void test_long_head(void **state) {
    static wire w;
    static char line[1 << 16];
    (void)state;
    wire_open(&w);
    wire_send(w.fd, "GET /open HTTP/1.1\r\n" HOST);
    memset(line, 'a', sizeof line - 1);
    memcpy(line, "X-Long: ", 8);
    wire_send(w.fd, line);
    wire_send(w.fd, "\r\n\r\n");
    reply r = wire_read(&w, true);
    assert_int_equal(r.status, 431);
    close(w.fd);
    // Eight kilobytes of cookies, as other programs on this machine may leave them, are no
    // obstacle.
    wire_open(&w);
    wire_send(w.fd, "GET /open HTTP/1.1\r\n" HOST);
    wire_send_bytes(w.fd, line, 8192);
    wire_send(w.fd, "\r\n\r\n");
    r = wire_read(&w, true);
    assert_int_equal(r.status, 200);
    close(w.fd);
}

static void test_paths(void **state) {
    (void)state;
    assert_string_equal(ask("GET /tail/a%2Fb%20c HTTP/1.1\r\n" HOST "\r\n").body, "a/b c");
    assert_string_equal(ask("GET /tail/%zz%00%4 HTTP/1.1\r\n" HOST "\r\n").body, "%zz%00%4");
    assert_string_equal(ask("GET /tail/x?y=z HTTP/1.1\r\n" HOST "\r\n").body, "x");
    assert_string_equal(ask("GET http://localhost/tail/p HTTP/1.1\r\n" HOST "\r\n").body, "p");
}

static void test_versions(void **state) {
    static wire w;
    char value[256];
    (void)state;
    // HTTP/1.0 needs no Host, and its connection ends.
    wire_open(&w);
    wire_send(w.fd, "GET /open HTTP/1.0\r\n\r\n");
    assert_int_equal(wire_read(&w, true).status, 200);
    wire_await_close(&w);
    close(w.fd);
    wire_open(&w);
    wire_send(w.fd, "GET /open HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");
    const reply r = wire_read(&w, true);
    assert_int_equal(r.status, 200);
    assert_true(reply_header(&r, "Connection", value));
    wire_await_close(&w);
    close(w.fd);
}

static void test_expect(void **state) {
    static wire w;
    (void)state;
    wire_open(&w);
    wire_send(w.fd, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 2\r\n"
                    "Expect: 100-continue\r\n\r\n");
    wire_await(&w, "HTTP/1.1 100 Continue\r\n\r\n");
    wire_send(w.fd, "ok");
    assert_string_equal(wire_read(&w, true).body, "ok");
    close(w.fd);
}

static void test_options(void **state) {
    char value[256];
    (void)state;
    reply r = ask("OPTIONS /echo HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(r.status, 204);
    assert_true(reply_header(&r, "Allow", value));
    assert_string_equal(value, "POST, OPTIONS");
    r = ask("OPTIONS /nowhere HTTP/1.1\r\n" HOST "\r\n");
    is_error(&r, 404, "unknown_url");
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(body),     TEST(errors),    TEST(head),    TEST(static),    TEST(pipeline),
        TEST(chunked),  TEST(too_large), TEST(framing), TEST(long_head), TEST(paths),
        TEST(versions), TEST(expect),    TEST(options)};
    return cmocka_run_group_tests_name("server/http", tests, NULL, NULL);
}
