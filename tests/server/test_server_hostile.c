// SPDX-License-Identifier: MIT
// Label: threads
// Bytes that no client of good will sends, to the real program: each gets one refusal or none,
// never two answers where one request was meant, and the server goes on.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "served_program.h"

static served_program server;

static int start(void **state) {
    // Halves of requests are left behind; the end need not wait for the other halves.
    const char *const args[] = {"--drain-ms", "500", NULL};
    (void)state;
    return served_start(&server, NULL, args) ? 0 : -1;
}

// SIGTERM ends it with 0, and no sanitizer has complained.
static int stop(void **state) {
    (void)state;
    return served_stop(&server);
}

static void assert_healthy(const char *after) {
    char text[4096];
    const unsigned status = served_get(server.port, "/health", text, sizeof text);
    if (status != 200) fail_msg("/health says %u after: %s", status, after);
}

static unsigned count_answers(const char *text) {
    unsigned n = 0;
    for (const char *at = text; (at = strstr(at, "HTTP/1.1 ")) != NULL; at += 9) n++;
    return n;
}

static unsigned status_of(const char *text) {
    return strncmp(text, "HTTP/1.1 ", 9) == 0 ? (unsigned)strtoul(text + 9, NULL, 10) : 0;
}

// All that comes back for these bytes, until the server hangs up.
static size_t ask(const void *bytes, size_t n, char *out, size_t cap) {
    const int fd = served_connect(server.port);
    assert_true(fd >= 0);
    served_send(fd, bytes, n); // it may hang up before the end
    const size_t got = served_read_all(fd, out, cap);
    close(fd);
    return got;
}

// --- requests that can be read in two ways -------------------------------------------------------

typedef struct shape {
    const char *name, *bytes;
    size_t n;
    unsigned low, high; // of the one status that may come back; low 0: or none
} shape;

// Each is asked on a connection of its own; all that are wrong are told.
static void ask_shapes(const shape *shapes, size_t n_shapes);

#define SHAPE(name, low, high, bytes)                                                              \
    { name, bytes, sizeof bytes - 1, low, high }
#define HOST  "Host: 127.0.0.1\r\n"
#define CLOSE HOST "Connection: close\r\n"
#define INNER "GET /v1/models HTTP/1.1\r\n" CLOSE "\r\n"
#define POST  "POST /tokenize HTTP/1.1\r\n" HOST "Content-Type: application/json\r\n"
#define JSON  "{\"content\":\"\"}" // 14 bytes

// What is behind the first request's end in one reading is its body in the other. A second answer
// would mean that the two of a proxy and this server can be made to disagree.
static const shape smuggled[] = {
    SHAPE("both lengths", 400, 400,
          POST "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" INNER),
    SHAPE("both lengths, chunked first", 400, 400,
          POST "Transfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\n" INNER),
    SHAPE("two lengths", 400, 400,
          POST "Content-Length: 14\r\nContent-Length: 60\r\n\r\n" JSON INNER),
    SHAPE("a list of lengths", 400, 400, POST "Content-Length: 14, 60\r\n\r\n" JSON INNER),
    SHAPE("a length with a sign", 400, 400, POST "Content-Length: +14\r\n\r\n" JSON INNER),
    SHAPE("a negative length", 400, 400, POST "Content-Length: -1\r\n\r\n" JSON INNER),
    SHAPE("a hexadecimal length", 400, 400, POST "Content-Length: 0xe\r\n\r\n" JSON INNER),
    SHAPE("a length with a tail", 400, 400, POST "Content-Length: 14abc\r\n\r\n" JSON INNER),
    SHAPE("an empty length", 400, 400, POST "Content-Length:\r\n\r\n" JSON INNER),
    SHAPE("a length over 64 bits", 400, 413,
          POST "Content-Length: 99999999999999999999999\r\n\r\n" JSON INNER),
    SHAPE("a length of nearly 64 bits", 400, 413,
          POST "Content-Length: 18446744073709551615\r\n\r\n" JSON INNER),
    SHAPE("another encoding", 400, 501, POST "Transfer-Encoding: identity\r\n\r\n0\r\n\r\n" INNER),
    SHAPE("chunked in a list", 400, 501,
          POST "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" INNER),
    SHAPE("chunked, then another", 400, 501,
          POST "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" INNER),
    SHAPE("two encodings", 400, 501,
          POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" INNER),
    SHAPE("nearly chunked", 400, 501, POST "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" INNER),
    SHAPE("a blank before the colon", 400, 501,
          POST "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" INNER),
    SHAPE("a blank before the length's colon", 400, 411,
          POST "Content-Length : 14\r\n\r\n" JSON INNER),
    SHAPE("a length folded into another header", 400, 411,
          POST "X: a\r\n Content-Length: 14\r\n\r\n" JSON INNER),
    SHAPE("a folded encoding", 400, 501,
          POST "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n" INNER),
    SHAPE("a carriage return in a header", 400, 405,
          POST "X: a\rContent-Length: 14\r\n\r\n" JSON INNER),
    // The HTTP library ends the value there.
    SHAPE("a zero byte in a header", 200, 400,
          POST "X: a\0b\r\nContent-Length: 14\r\nConnection: close\r\n\r\n" JSON),
    SHAPE("a header without a colon", 400, 400, POST "Content-Length 14\r\n\r\n" JSON INNER),
    SHAPE("a header without a name", 200, 400,
          "GET /health HTTP/1.1\r\n: nothing\r\n" CLOSE "\r\n"),
    SHAPE("a body of GET in chunks and in bytes", 400, 400,
          "GET /health HTTP/1.1\r\n" HOST
          "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" INNER),
};

// The status of every answer is in the shape's range: some versions of the HTTP library write the
// head of a refusal twice.
static bool is_as_expected(const shape *s, const char *text) {
    if (text[0] == 0) return s->low == 0;
    if (status_of(text) == 0 || strstr(text, "root:") != NULL) return false;
    for (const char *at = text; (at = strstr(at, "HTTP/1.1 ")) != NULL; at += 9)
        if (status_of(at) < s->low || status_of(at) > s->high) return false;
    return count_answers(text) == 1 || status_of(text) >= 400;
}

static void ask_shapes(const shape *shapes, size_t n_shapes) {
    char out[16384];
    unsigned n_wrong = 0;
    for (size_t i = 0; i < n_shapes; i++) {
        ask(shapes[i].bytes, shapes[i].n, out, sizeof out);
        if (!is_as_expected(&shapes[i], out)) {
            n_wrong++;
            print_error("%s: %u to %u was expected, this came:\n%s\n", shapes[i].name,
                        shapes[i].low, shapes[i].high, out);
        }
        assert_healthy(shapes[i].name);
    }
    assert_int_equal(n_wrong, 0);
}

static void test_one_reading_only(void **state) {
    (void)state;
    ask_shapes(smuggled, sizeof smuggled / sizeof *smuggled);
}

// --- request lines, paths, hosts -----------------------------------------------------------------

#define GET(path) "GET " path " HTTP/1.1\r\n" CLOSE "\r\n"
static const shape lines[] = {
    // For the HTTP library the path ends there.
    SHAPE("a path with a zero byte", 200, 404, "GET /health\0x HTTP/1.1\r\n" CLOSE "\r\n"),
    SHAPE("a zero byte in hexadecimal", 400, 404, GET("/v1/models/story%00")),
    SHAPE("a zero byte alone", 400, 404, GET("/v1/models/%00")),
    SHAPE("half of a percent sign", 400, 404, GET("/v1/models/%")),
    SHAPE("half of a percent sign, one digit", 400, 404, GET("/v1/models/%4")),
    SHAPE("no hexadecimal digits", 400, 404, GET("/v1/models/%zz")),
    SHAPE("no UTF-8", 400, 404, GET("/v1/models/%ff%fe")),
    SHAPE("up and up", 400, 404, GET("/../../../../etc/passwd")),
    SHAPE("up and up in hexadecimal", 400, 404, GET("/%2e%2e/%2e%2e/%2e%2e/etc/passwd")),
    SHAPE("up and up, slashes in hexadecimal", 400, 404, GET("/..%2f..%2f..%2fetc%2fpasswd")),
    SHAPE("up and up from the models", 400, 404, GET("/v1/models/..%2f..%2f..%2fetc%2fpasswd")),
    SHAPE("hexadecimal of hexadecimal", 400, 404, GET("/v1/models/%252e%252e")),
    SHAPE("backslashes", 400, 404, GET("/..\\..\\etc\\passwd")),
    SHAPE("an overlong slash", 400, 404, GET("/%c0%af..%c0%afetc")),
    SHAPE("two slashes", 400, 404, GET("//etc/passwd")),
    SHAPE("a typing session of nobody", 400, 404, GET("/v1/typing/%2e%2e%2f/events")),
    SHAPE("no path", 400, 404, GET("")),
    SHAPE("a star", 400, 404, GET("*")),
    SHAPE("no host", 400, 400, "GET /health HTTP/1.1\r\nConnection: close\r\n\r\n"),
    SHAPE("two hosts", 400, 400, "GET /health HTTP/1.1\r\n" HOST CLOSE "\r\n"),
    SHAPE("another's host", 400, 403,
          "GET /health HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n"),
    SHAPE("no method", 0, 405, " /health HTTP/1.1\r\n" CLOSE "\r\n"),
    SHAPE("a method that nobody knows", 400, 501, "BREW /health HTTP/1.1\r\n" CLOSE "\r\n"),
    SHAPE("a method of small letters", 400, 501, "get /health HTTP/1.1\r\n" CLOSE "\r\n"),
    SHAPE("CONNECT", 400, 501, "CONNECT evil.example:443 HTTP/1.1\r\n" CLOSE "\r\n"),
    SHAPE("TRACE", 400, 501, "TRACE / HTTP/1.1\r\n" CLOSE "\r\n"),
    SHAPE("HTTP/2", 0, 505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    SHAPE("HTTP/9.9", 0, 505, "GET /health HTTP/9.9\r\n" CLOSE "\r\n"),
    SHAPE("HTTP/0.9", 0, 505, "GET /health\r\n\r\n"),
    SHAPE("no HTTP", 0, 505, "GET /health FTP/1.1\r\n" CLOSE "\r\n"),
    SHAPE("a TLS hello", 0, 505, "\x16\x03\x01\x00\x0a\x01\x00\x00\x06\x03\x03\r\n\r\n\r\n"),
    SHAPE("lines that end in a line feed only", 0, 499,
          "GET /health HTTP/1.1\nHost: 127.0.0.1\nConnection: close\n\n"),
    SHAPE("empty lines first", 0, 499, "\r\n\r\n" GET("/health")),
    SHAPE("an expectation that nobody knows", 0, 499,
          "GET /health HTTP/1.1\r\nExpect: miracles\r\n" CLOSE "\r\n"),
};

static void test_lines(void **state) {
    (void)state;
    ask_shapes(lines, sizeof lines / sizeof *lines);
}

// --- chunks --------------------------------------------------------------------------------------

#define CHUNKS POST "Transfer-Encoding: chunked\r\n\r\n"
static const shape chunks[] = {
    SHAPE("no number", 400, 400, CHUNKS "zz\r\n" JSON "\r\n0\r\n\r\n"),
    SHAPE("a negative number", 400, 400, CHUNKS "-e\r\n" JSON "\r\n0\r\n\r\n"),
    SHAPE("a number over 64 bits", 400, 413, CHUNKS "ffffffffffffffff1\r\n" JSON "\r\n0\r\n\r\n"),
    SHAPE("no number at all", 400, 400, CHUNKS "\r\n" JSON "\r\n0\r\n\r\n"),
    SHAPE("a chunk that goes on", 400, 400, CHUNKS "e\r\n" JSON JSON "\r\n0\r\n\r\n"),
};

static void test_chunks(void **state) {
    char out[16384];
    (void)state;
    ask_shapes(chunks, sizeof chunks / sizeof *chunks);
    // And those that are right are read: pieces of a byte, an extension, a trailer.
    static const char good[] =
        "POST /tokenize HTTP/1.1\r\n" CLOSE
        "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        "1;a=b\r\n{\r\n00D\r\n\"content\":\"a\"\r\n1\r\n}\r\n0\r\nX: y\r\n\r\n";
    ask(good, sizeof good - 1, out, sizeof out);
    if (status_of(out) != 200) fail_msg("chunks that are right:\n%s", out);
}

// --- sizes ---------------------------------------------------------------------------------------

// `unit` over and over between head and tail.
static char *repeat(const char *head, const char *unit, size_t n, const char *tail, size_t *bytes) {
    const size_t head_bytes = strlen(head), unit_bytes = strlen(unit), tail_bytes = strlen(tail);
    char *text = malloc(head_bytes + unit_bytes * n + tail_bytes + 1);
    assert_non_null(text);
    memcpy(text, head, head_bytes);
    for (size_t i = 0; i < n; i++) memcpy(text + head_bytes + i * unit_bytes, unit, unit_bytes);
    memcpy(text + head_bytes + n * unit_bytes, tail, tail_bytes + 1);
    *bytes = head_bytes + unit_bytes * n + tail_bytes;
    return text;
}

static void test_large_heads(void **state) {
    static const struct {
        const char *name, *head, *unit, *tail;
        size_t n;
    } large[] = {
        {"a path of a megabyte", "GET /", "a", " HTTP/1.1\r\n" CLOSE "\r\n", 1 << 20},
        {"a query of a megabyte", "GET /health?", "a=b&", " HTTP/1.1\r\n" CLOSE "\r\n", 1 << 18},
        {"a header of a megabyte", "GET /health HTTP/1.1\r\nX: ", "a", "\r\n" CLOSE "\r\n",
         1 << 20},
        {"100,000 headers", "GET /health HTTP/1.1\r\n", "A: b\r\n", CLOSE "\r\n", 100000},
        {"a method of a megabyte", "", "G", " / HTTP/1.1\r\n" CLOSE "\r\n", 1 << 20},
        {"a name of a megabyte", "GET / HTTP/1.1\r\n", "N", ": x\r\n" CLOSE "\r\n", 1 << 20},
        {"a cookie of a megabyte", "GET / HTTP/1.1\r\nCookie: ", "a=b; ", "\r\n" CLOSE "\r\n",
         1 << 18},
    };
    char out[16384];
    (void)state;
    for (size_t i = 0; i < sizeof large / sizeof *large; i++) {
        size_t n = 0;
        char *text = repeat(large[i].head, large[i].unit, large[i].n, large[i].tail, &n);
        ask(text, n, out, sizeof out);
        free(text);
        const unsigned status = status_of(out);
        if (count_answers(out) > 1 || (status != 0 && (status < 400 || status > 499)))
            fail_msg("%s: status %u:\n%s", large[i].name, status, out);
        assert_healthy(large[i].name);
    }
}

static void test_garbage(void **state) {
    static char bytes[65536];
    uint64_t x = 88172645463325252u;
    (void)state;
    for (int round = 0; round < 200; round++) {
        const size_t n = 1 + x % sizeof bytes;
        for (size_t i = 0; i < n; i++) {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            bytes[i] = (char)(x >> 32);
        }
        const int fd = served_connect(server.port);
        assert_true(fd >= 0);
        served_send(fd, bytes, n);
        if (round % 2 == 0) shutdown(fd, SHUT_WR);
        close(fd);
    }
    assert_healthy("garbage");
}

// Every head and body cut off at each of its bytes: hung up on, or half-closed.
static void test_cut_off(void **state) {
    static const char whole[] = POST "Content-Length: 14\r\n\r\n" JSON;
    static const char whole_chunks[] = CHUNKS "e\r\n" JSON "\r\n0\r\n\r\n";
    static const struct {
        const char *bytes;
        size_t n;
    } all[] = {{whole, sizeof whole - 1}, {whole_chunks, sizeof whole_chunks - 1}};
    (void)state;
    for (size_t k = 0; k < 2; k++) {
        for (size_t n = 0; n < all[k].n; n++) {
            const int fd = served_connect(server.port);
            assert_true(fd >= 0 && served_send(fd, all[k].bytes, n));
            if (n % 2 == 0) shutdown(fd, SHUT_WR);
            close(fd);
        }
    }
    assert_healthy("requests that were cut off");
}

// --- floods --------------------------------------------------------------------------------------

static void test_pipelined(void **state) {
    enum { FLOOD = 2000 };
    size_t n = 0;
    char *text = repeat("", "GET /health HTTP/1.1\r\n" HOST "\r\n", FLOOD, GET("/health"), &n);
    char *out = malloc(4 << 20);
    (void)state;
    assert_non_null(out);
    // Read while it is sent: neither side may have to wait for the other for ever.
    const int fd = served_connect(server.port);
    assert_true(fd >= 0);
    size_t sent = 0, got = 0;
    while (got < (4 << 20) - 1) {
        const ssize_t s =
            sent < n ? send(fd, text + sent, n - sent, MSG_DONTWAIT | MSG_NOSIGNAL) : 0;
        if (s > 0) sent += (size_t)s;
        const ssize_t r = recv(fd, out + got, (4 << 20) - 1 - got, sent < n ? MSG_DONTWAIT : 0);
        if (r == 0) break;
        if (r > 0) got += (size_t)r;
    }
    out[got] = 0;
    close(fd);
    assert_int_equal(count_answers(out), FLOOD + 1);
    free(out);
    free(text);
    assert_healthy("a flood of requests in one connection");
}

// The second request is not taken for the first one's body, nor the other way round.
static void test_pipelined_bodies(void **state) {
    static const char two[] =
        POST "Content-Length: 14\r\n\r\n" JSON "POST /tokenize HTTP/1.1\r\n" CLOSE
             "Content-Type: application/json\r\nContent-Length: 15\r\n\r\n"
             "{\"content\":\"a\"}";
    char out[16384];
    (void)state;
    ask(two, sizeof two - 1, out, sizeof out);
    const char *second = strstr(out + 1, "HTTP/1.1 200");
    if (count_answers(out) != 2 || status_of(out) != 200 || second == NULL)
        fail_msg("two requests in one packet:\n%s", out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_reading_only), cmocka_unit_test(test_lines),
        cmocka_unit_test(test_chunks),           cmocka_unit_test(test_large_heads),
        cmocka_unit_test(test_garbage),          cmocka_unit_test(test_cut_off),
        cmocka_unit_test(test_pipelined),        cmocka_unit_test(test_pipelined_bodies),
    };
    if (getenv("INKLING_PROGRAM") == NULL) {
        printf("left out: hostile bytes, INKLING_PROGRAM names no program\n");
        return 77;
    }
    return cmocka_run_group_tests(tests, start, stop);
}
