// SPDX-License-Identifier: MIT
// Label: threads
// Too much of everything, to the real program: connections, bodies, clients that are slow, do not
// read, or go away. It answers /health behind each, and at the end memory and files are back.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "inkling/inkling.h"
#include "served_program.h"

#define HOST      "Host: 127.0.0.1\r\n"
#define JSON_POST "POST /v1/completions HTTP/1.1\r\n" HOST "Content-Type: application/json\r\n"
enum { MB = 1 << 20, MOST = 10000 };

static served_program server;
static unsigned base_fds;
static size_t base_rss;
static int fds[MOST];
static char out[MB];

static bool is_quick(void) { return getenv("INKLING_TEST_LONG") == NULL; }
// A sanitizer keeps memory back that was freed.
static bool memory_counts(void) { return getenv("INKLING_SANITIZE") == NULL; }

static void assert_healthy(const char *after) {
    const unsigned status = served_get(server.port, "/health", out, sizeof out);
    if (status != 200) fail_msg("/health says %u after %s", status, after);
}

// --- conditions ----------------------------------------------------------------------------------

static bool is_at_rest(void *user) {
    (void)user;
    return served_figure(server.port, "inkling_requests_running") == 0 &&
           served_figure(server.port, "inkling_requests_waiting") == 0;
}

// At rest, and of connections there is only the one that asks.
static bool is_idle(void *user) {
    return is_at_rest(user) && served_figure(server.port, "inkling_connections") <= 1;
}

static bool files_are_back(void *user) {
    (void)user;
    return served_n_fds(&server) <= base_fds;
}

static void wait_until_idle(const char *after) {
    if (!served_wait_for(is_idle, NULL)) fail_msg("work or connections are left after %s", after);
    if (!served_wait_for(files_are_back, NULL))
        fail_msg("%u files are open after %s, there were %u", served_n_fds(&server), after,
                 base_fds);
    assert_healthy(after);
}

// The C library may keep what was freed, but not ask for more the next time: `before` is what there
// was at the beginning, or behind the last time.
static void assert_memory_since(size_t before, size_t most_more, const char *what) {
    const size_t rss = served_rss_bytes(&server);
    if (memory_counts() && rss > before + most_more)
        fail_msg("%s: %zu MB of memory, %zu MB before", what, rss / MB, before / MB);
}

static void assert_memory(size_t most_more, const char *what) {
    assert_memory_since(base_rss, most_more, what);
}

// --- asking --------------------------------------------------------------------------------------

static int ask_for_completion(const char *body) {
    char head[256];
    const int fd = served_connect(server.port);
    assert_true(fd >= 0);
    snprintf(head, sizeof head, JSON_POST "Connection: close\r\nContent-Length: %zu\r\n\r\n",
             strlen(body));
    assert_true(served_send(fd, head, strlen(head)) && served_send(fd, body, strlen(body)));
    return fd;
}

static void close_with_reset(int fd) {
    const struct linger now = {.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close(fd);
}

static void read_a_little(int fd) {
    if (recv(fd, out, 1024, 0) <= 0) fail_msg("a stream ended before its first byte");
}

// Texts that do not end before their length, many of them, with much said about each token.
static ink_token end_token;
static const char *stream_body(unsigned n_tokens, unsigned n, unsigned logprobs) {
    static char body[512];
    snprintf(body, sizeof body,
             "{\"prompt\":[\"Once upon a time\",\"The\",\"A dog\",\"One day\"],\"max_tokens\":%u,"
             "\"stream\":true,\"n\":%u,\"logprobs\":%u,\"logit_bias\":{\"%d\":-100}}",
             n_tokens, n, logprobs, (int)end_token);
    return body;
}

// Every part of the server has been used once: what it keeps for good is there.
static int start(void **state) {
    // What may fill up later is small beside what is asserted below.
    const char *const args[] = {"--prefix-cache", "4", NULL};
    struct rlimit files;
    ink_model *model = NULL;
    ink_model_info info = {.size = sizeof info};
    (void)state;
    if (ink_model_open(&model, NULL, NULL, NULL, NULL) != INK_OK) return -1;
    ink_model_get_info(model, &info);
    end_token = info.end_token;
    ink_model_unref(model);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    if (!served_start(&server, NULL, args)) return -1;
    const int fd = ask_for_completion(stream_body(60, 2, 1));
    served_read_all(fd, out, sizeof out);
    close(fd);
    if (!served_wait_for(is_idle, NULL)) return -1;
    base_fds = served_n_fds(&server);
    base_rss = served_rss_bytes(&server);
    return 0;
}

static int stop(void **state) {
    (void)state;
    return served_stop(&server);
}

// --- connections ---------------------------------------------------------------------------------

static unsigned most_connections(unsigned wanted) {
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur >= wanted + 64) return wanted;
    printf("left out: %u connections at once, the limit of open files is %lu\n", wanted,
           (unsigned long)files.rlim_cur);
    return (unsigned)files.rlim_cur - 64;
}

static void test_many_connections(void **state) {
    const unsigned n = most_connections(is_quick() ? 2000 : MOST);
    unsigned n_open = 0;
    (void)state;
    for (unsigned i = 0; i < n; i++) {
        fds[i] = served_connect(server.port);
        n_open += fds[i] >= 0;
        if (i % 500 == 499) assert_healthy("many connections");
    }
    assert_int_equal(n_open, n);
    assert_healthy("many connections");
    assert_memory(64 * MB, "with many connections");
    for (unsigned i = 0; i < n; i++) close(fds[i]);
    wait_until_idle("many connections");
    if (is_quick()) printf("left out: 10,000 connections, here it was %u\n", n);
}

// Each says one more byte of its head, over and over: nobody else waits for them.
static void test_slow_heads(void **state) {
    static const char head[] = "GET /health HTTP/1.1\r\n" HOST "X: aaaaaaaaaaaaaaaaaaaa";
    enum { SLOW = 900 };
    (void)state;
    for (unsigned i = 0; i < SLOW; i++) fds[i] = served_connect(server.port);
    for (size_t at = 0; at < sizeof head - 1; at++) {
        // Hung up on for being slow is as good as waiting.
        for (unsigned i = 0; i < SLOW; i++) served_send(fds[i], head + at, 1);
        assert_healthy("slow heads");
    }
    assert_memory(64 * MB, "with slow heads");
    for (unsigned i = 0; i < SLOW; i++) close(fds[i]);
    wait_until_idle("slow heads");
}

static void test_storm(void **state) {
    const unsigned n = is_quick() ? 3000 : 30000;
    (void)state;
    for (unsigned i = 0; i < n; i++) {
        const int fd = served_connect(server.port);
        if (fd < 0) fail_msg("connection %u of a storm was refused", i);
        if (i % 3 == 1) served_send(fd, "GET / HTTP/1.1\r\n", 16);
        if (i % 3 == 2) served_send(fd, "GET /health HTTP/1.1\r\n" HOST "\r\n", 41);
        if (i % 2 == 0)
            close(fd);
        else
            close_with_reset(fd);
    }
    wait_until_idle("a storm of connections");
    assert_memory(64 * MB, "after a storm of connections");
}

// --- bodies --------------------------------------------------------------------------------------

// Sends a gigabyte, or as much of it as is taken, then reads the answer.
static void send_gigabyte(const char *head, bool chunked) {
    static char block[65536 + 16];
    size_t n = 65536, sent = 0;
    memset(block, ' ', sizeof block);
    if (chunked) {
        memcpy(block, "10000\r\n", 7);
        memcpy(block + 7 + 65536, "\r\n", 2);
        n = 7 + 65536 + 2;
    }
    const int fd = served_connect(server.port);
    assert_true(fd >= 0 && served_send(fd, head, strlen(head)));
    while (sent < (size_t)1 << 30 && served_send(fd, block, n)) sent += n;
    assert_memory(128 * MB, "with a body of a gigabyte");
    if (sent >= (size_t)1 << 30) fail_msg("a body of a gigabyte was taken");
    close(fd);
}

static void test_gigabyte(void **state) {
    (void)state;
    send_gigabyte(JSON_POST "Content-Length: 1073741824\r\n\r\n", false);
    send_gigabyte(JSON_POST "Transfer-Encoding: chunked\r\n\r\n", true);
    // Who does not send on reads why.
    static const char *const heads[] = {
        JSON_POST "Content-Length: 1073741824\r\n\r\n{",
        JSON_POST "Content-Length: 1073741824\r\nExpect: 100-continue\r\n\r\n",
        JSON_POST "Transfer-Encoding: chunked\r\n\r\n40000000\r\n{"};
    for (size_t i = 0; i < 2; i++) {
        const int fd = served_connect(server.port);
        assert_true(fd >= 0 && served_send(fd, heads[i], strlen(heads[i])));
        served_read_all(fd, out, sizeof out);
        if (strncmp(out, "HTTP/1.1 413", 12) != 0) fail_msg("%s", out);
        close(fd);
    }
    wait_until_idle("a body of a gigabyte");
}

// Bodies that are allowed, all but their last byte, of many at once.
static void send_many_bodies(void) {
    enum { BODIES = 100, BODY = 4 * MB };
    static char spaces[BODY];
    char head[256];
    memset(spaces, ' ', sizeof spaces);
    snprintf(head, sizeof head, JSON_POST "Content-Length: %u\r\n\r\n", BODY);
    for (unsigned i = 0; i < BODIES; i++) {
        fds[i] = served_connect(server.port);
        // Those for which there is no room are told so and hung up on.
        if (served_send(fds[i], head, strlen(head))) served_send(fds[i], spaces, BODY - 1);
    }
    assert_memory(200 * MB, "with many bodies");
    assert_healthy("many bodies");
    for (unsigned i = 0; i < BODIES; i++)
        if (i % 2 == 0)
            close(fds[i]);
        else
            close_with_reset(fds[i]);
    wait_until_idle("many bodies");
}

static void test_many_bodies(void **state) {
    (void)state;
    send_many_bodies();
    if (!memory_counts()) return;
    const size_t before = served_rss_bytes(&server);
    send_many_bodies();
    send_many_bodies();
    assert_memory_since(before, 64 * MB, "after many bodies for the third time");
}

// --- clients that go away, or do not read --------------------------------------------------------

static void test_resets(void **state) {
    const unsigned n = is_quick() ? 24 : 400;
    (void)state;
    for (unsigned i = 0; i < n; i++) {
        const int fd = ask_for_completion(stream_body(200, 4, 5));
        if (i % 3 > 0) read_a_little(fd);
        if (i % 2 == 0)
            close(fd);
        else
            close_with_reset(fd);
    }
    wait_until_idle("streams that were reset");
}

// They have said all they had to say: a stream may end, and must not stay.
static void test_half_closed(void **state) {
    enum { HALF = 12 };
    (void)state;
    for (unsigned i = 0; i < HALF; i++) {
        fds[i] = ask_for_completion(stream_body(40, 1, 5));
        shutdown(fds[i], SHUT_WR);
    }
    for (unsigned i = 0; i < HALF; i++) {
        while (recv(fds[i], out, sizeof out, 0) > 0) {}
        close(fds[i]);
    }
    // And with nothing said at all.
    for (unsigned i = 0; i < HALF; i++) {
        const int fd = served_connect(server.port);
        shutdown(fd, SHUT_WR);
        served_read_all(fd, out, sizeof out);
        close(fd);
    }
    wait_until_idle("sockets closed by half");
}

// More is written for each of them than it may let wait: the server gives up on it, and the work
// ends while they still have their connections.
static void test_never_reading(void **state) {
    enum { DEAF = 3 };
    const size_t before = served_rss_bytes(&server);
    (void)state;
    for (unsigned i = 0; i < DEAF; i++) fds[i] = ask_for_completion(stream_body(200, 16, 20));
    // They have begun: something of each has come, and stays where it is.
    for (unsigned i = 0; i < DEAF; i++)
        if (recv(fds[i], out, 1, MSG_PEEK) != 1) fail_msg("a stream ended before its first byte");
    if (!served_wait_for(is_at_rest, NULL)) fail_msg("who does not read is written to for ever");
    assert_memory_since(before, DEAF * 8 * MB + 32 * MB, "with clients that do not read");
    assert_healthy("clients that do not read");
    for (unsigned i = 0; i < DEAF; i++) {
        bool whole = false;
        while (served_read_all(fds[i], out, sizeof out) > 0)
            whole = whole || strstr(out, "[DONE]") != NULL;
        assert_false(whole);
        close(fds[i]);
    }
    wait_until_idle("clients that do not read");
}

// More bodies than there are connections, of which only the first byte comes: the oldest gives way.
static void test_slow_bodies(void **state) {
    enum { SLOW = 1100 };
    static const char body[] = JSON_POST "Content-Length: 1000\r\n\r\n{";
    (void)state;
    for (unsigned i = 0; i < SLOW; i++) {
        fds[i] = served_connect(server.port);
        served_send(fds[i], body, sizeof body - 1);
    }
    assert_healthy("slow bodies");
    for (unsigned i = 0; i < SLOW; i++) close(fds[i]);
    wait_until_idle("slow bodies");
}

// --- times ---------------------------------------------------------------------------------------

// Neither head nor body ever comes to its end: the server itself ends them. A server of its own,
// whose times are short.
static void test_what_never_ends(void **state) {
    enum { SLOW = 60 };
    static const char body[] = JSON_POST "Content-Length: 100\r\n\r\n{";
    const char *const args[] = {"--header-ms", "500", "--body-ms", "500", NULL};
    const served_program patient = server;
    (void)state;
    assert_true(served_start(&server, NULL, args));
    for (unsigned i = 0; i < SLOW; i++) {
        fds[i] = served_connect(server.port);
        served_send(fds[i], body, i % 2 == 0 ? sizeof body - 1 : i);
    }
    for (unsigned i = 0; i < SLOW; i++) {
        served_read_all(fds[i], out, sizeof out); // ends when it is hung up on
        if (strstr(out, " 200 ") != NULL) fail_msg("half of a request is answered:\n%s", out);
        close(fds[i]);
    }
    const bool idle = served_wait_for(is_idle, NULL);
    const int code = served_stop(&server);
    server = patient;
    assert_true(idle);
    assert_int_equal(code, 0);
}

// --- the end -------------------------------------------------------------------------------------

static void test_memory_is_back(void **state) {
    (void)state;
    wait_until_idle("all of it");
    if (!memory_counts()) printf("left out: memory at the end, a sanitizer keeps it\n");
    assert_memory(160 * MB, "at the end");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_many_connections),
        cmocka_unit_test(test_slow_heads),
        cmocka_unit_test(test_slow_bodies),
        cmocka_unit_test(test_what_never_ends),
        cmocka_unit_test(test_storm),
        cmocka_unit_test(test_gigabyte),
        cmocka_unit_test(test_many_bodies),
        cmocka_unit_test(test_resets),
        cmocka_unit_test(test_half_closed),
        cmocka_unit_test(test_never_reading),
        cmocka_unit_test(test_memory_is_back),
    };
    if (getenv("INKLING_PROGRAM") == NULL) {
        printf("left out: crowds, INKLING_PROGRAM names no program\n");
        return 77;
    }
    return cmocka_run_group_tests(tests, start, stop);
}
