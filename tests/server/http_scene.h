// SPDX-License-Identifier: MIT
// The HTTP side alone, with handlers of the test's own, and a client that speaks bytes. Included by
// one test program each.
#ifndef TESTS_SERVER_HTTP_SCENE_H
#define TESTS_SERVER_HTTP_SCENE_H

#include "server/http_private.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { PATIENCE_MS = 120000 }; // after which a test has failed; nothing is measured by it

// --- the server ----------------------------------------------------------------------------------

static srv_app scene_app;
static _Atomic(srv_call *) scene_kept; // a reference, of the last call to /wait or /stream
static atomic_uint scene_n_handled, scene_n_gone;

static inline void scene_gone(void *user) {
    (void)user;
    atomic_fetch_add(&scene_n_gone, 1);
}

static inline void scene_keep(srv_call *call) {
    srv_call_on_gone(call, scene_gone, NULL);
    atomic_store(&scene_kept, srv_call_ref(call));
}

static inline void handle_echo(srv_call *call) {
    size_t bytes;
    const char *body = srv_call_body(call, &bytes);
    atomic_fetch_add(&scene_n_handled, 1);
    srv_call_text(call, 200, "text/plain; charset=utf-8", body, bytes);
}
static inline void handle_tail(srv_call *call) {
    const char *tail = srv_call_tail(call);
    srv_call_text(call, 200, "text/plain; charset=utf-8", tail, strlen(tail));
}
static inline void handle_wait(srv_call *call) { scene_keep(call); }
static inline void handle_drop(srv_call *call) { (void)call; }
static inline void handle_file(srv_call *call) {
    static const char text[] = "a page";
    srv_call_static(call, "text/html; charset=utf-8", text, sizeof text - 1, "\"tag1\"",
                    "default-src 'self'");
}
static inline void handle_stream(srv_call *call) {
    srv_call_stream(call);
    scene_keep(call);
}

static inline const srv_route *scene_find(const char *method, const char *path, const char **tail,
                                          size_t *tail_bytes, const char **methods) {
    static const srv_route routes[] = {
        {"GET", "/open", handle_echo, true},     {"POST", "/echo", handle_echo, false},
        {"GET", "/tail/", handle_tail, false},   {"POST", "/wait", handle_wait, false},
        {"GET", "/drop", handle_drop, false},    {"GET", "/file", handle_file, true},
        {"GET", "/stream", handle_stream, false}};
    *methods = NULL;
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
        const size_t length = strlen(routes[i].path);
        const bool rest = routes[i].path[length - 1] == '/';
        if (rest ? strncmp(path, routes[i].path, length) != 0 : strcmp(path, routes[i].path) != 0)
            continue;
        *tail = path + length;
        *tail_bytes = strlen(*tail);
        if (strcmp(routes[i].method, method) == 0 ||
            (strcmp(method, "HEAD") == 0 && strcmp(routes[i].method, "GET") == 0))
            return &routes[i];
        *methods = strcmp(routes[i].method, "GET") == 0 ? "GET, HEAD, OPTIONS" : "POST, OPTIONS";
    }
    return NULL;
}

static inline srv_options scene_options(void) {
    srv_options o;
    srv_options_init(&o);
    o.port = 0;
    // Only tests of these limits may run into them.
    o.header_ms = o.body_ms = o.drain_ms = PATIENCE_MS;
    return o;
}

static inline void scene_begin(const srv_options *options) {
    ink_error error = {0};
    memset(&scene_app, 0, sizeof scene_app);
    scene_app.options = *options;
    atomic_store(&scene_kept, NULL);
    atomic_store(&scene_n_handled, 0);
    atomic_store(&scene_n_gone, 0);
    if (srv_http_new(&scene_app, &error) != INK_OK) fail_msg("%s", error.message);
    scene_app.http->find = scene_find;
    if (srv_http_start(scene_app.http, &error) != INK_OK) fail_msg("%s", error.message);
}

static inline void scene_end(void) {
    srv_http_free(scene_app.http);
    scene_app.http = NULL;
}

// --- waiting for what is to come -----------------------------------------------------------------

static inline void scene_rest(void) {
    const struct timespec one = {.tv_nsec = 1000000};
    nanosleep(&one, NULL);
}

#define WAIT_FOR(condition)                                                                        \
    do {                                                                                           \
        const double wait_until = srv_now_ms() + PATIENCE_MS;                                      \
        while (!(condition)) {                                                                     \
            if (srv_now_ms() > wait_until) fail_msg("waited in vain for %s", #condition);          \
            scene_rest();                                                                          \
        }                                                                                          \
    } while (0)

// The reference that a handler has kept: the caller's now.
static inline srv_call *scene_take_call(void) {
    srv_call *call = NULL;
    WAIT_FOR((call = atomic_exchange(&scene_kept, NULL)) != NULL);
    return call;
}

// --- the client ----------------------------------------------------------------------------------

static inline int wire_try_connect(uint16_t port) {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&at, sizeof at) == 0) return fd;
    if (fd >= 0) close(fd);
    return -1;
}
static inline int wire_connect(void) {
    const int fd = wire_try_connect(srv_http_port(scene_app.http));
    if (fd < 0) fail_msg("connect: %s", strerror(errno));
    return fd;
}

static inline void wire_send_bytes(int fd, const char *data, size_t bytes) {
    while (bytes > 0) {
        const ssize_t n = send(fd, data, bytes, MSG_NOSIGNAL);
        if (n <= 0) return; // refused: the answer tells why
        data += n;
        bytes -= (size_t)n;
    }
}
static inline void wire_send(int fd, const char *text) { wire_send_bytes(fd, text, strlen(text)); }

// What was read of a connection and not used yet.
typedef struct wire {
    int fd;
    size_t n;
    char data[1 << 16];
} wire;

// False: the other side has closed, or reset, the connection.
static inline bool wire_more(wire *w) {
    struct pollfd one = {.fd = w->fd, .events = POLLIN};
    if (w->n >= sizeof w->data - 1) fail_msg("the answer is too long for this test");
    if (poll(&one, 1, PATIENCE_MS) != 1) fail_msg("no answer; so far: %.*s", (int)w->n, w->data);
    const ssize_t n = recv(w->fd, w->data + w->n, sizeof w->data - 1 - w->n, 0);
    if (n <= 0) return false;
    w->n += (size_t)n;
    w->data[w->n] = 0;
    return true;
}

static inline void wire_open(wire *w) {
    w->fd = wire_connect();
    w->n = 0;
    w->data[0] = 0;
}

// Until text has come; drops all up to its end.
static inline void wire_await(wire *w, const char *text) {
    char *at;
    while ((at = strstr(w->data, text)) == NULL)
        if (!wire_more(w)) fail_msg("closed before \"%s\"; so far: %s", text, w->data);
    at += strlen(text);
    w->n -= (size_t)(at - w->data);
    memmove(w->data, at, w->n + 1);
}

typedef struct reply {
    int status;
    char head[4096], body[1 << 15];
} reply;

// The value of a header into out [256]; false: there is none.
static inline bool reply_header(const reply *r, const char *name, char *out) {
    char line[128];
    snprintf(line, sizeof line, "\r\n%s:", name);
    const char *at = strcasestr(r->head, line);
    if (at == NULL) return false;
    at += strlen(line);
    at += strspn(at, " ");
    snprintf(out, 256, "%.*s", (int)strcspn(at, "\r"), at);
    return true;
}

// One answer with a Content-Length, or without body.
static inline reply wire_read(wire *w, bool has_body) {
    static reply r;
    char value[256], *end;
    memset(&r, 0, sizeof r);
    while ((end = strstr(w->data, "\r\n\r\n")) == NULL)
        if (!wire_more(w)) fail_msg("closed instead of an answer; so far: %s", w->data);
    const size_t head = (size_t)(end - w->data) + 4;
    assert_true(head < sizeof r.head);
    memcpy(r.head, w->data, head);
    assert_int_equal(sscanf(r.head, "HTTP/1.1 %d ", &r.status), 1);
    size_t length = 0;
    if (has_body && reply_header(&r, "Content-Length", value)) length = strtoul(value, NULL, 10);
    assert_true(length < sizeof r.body);
    while (w->n < head + length)
        if (!wire_more(w)) fail_msg("closed inside of an answer; so far: %s", w->data);
    memcpy(r.body, w->data + head, length);
    w->n -= head + length;
    memmove(w->data, w->data + head + length, w->n + 1);
    return r;
}

static inline void wire_await_close(wire *w) {
    while (wire_more(w)) w->n = 0;
}

// One request on a connection of its own, kept alive or not.
static inline reply ask(const char *request) {
    static wire w;
    wire_open(&w);
    wire_send(w.fd, request);
    const reply r = wire_read(&w, strncmp(request, "HEAD", 4) != 0);
    close(w.fd);
    return r;
}

#define HOST "Host: localhost\r\n"

#endif
