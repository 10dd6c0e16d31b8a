// SPDX-License-Identifier: MIT
// A server in this process and requests to it, one connection each, over plain sockets. Included by
// one test program each.
#ifndef TESTS_HTTP_ASK_H
#define TESTS_HTTP_ASK_H

#include "http_reader.h"
#include "server/app.h"
#include "server/jobs.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

// --- the server ----------------------------------------------------------------------------------

static inline srv_options asked_options(void) {
    srv_options o;
    srv_options_init(&o);
    o.port = 0;
    o.n_threads = 1;
    return o;
}

static inline srv_app *asked_begin(const srv_options *options) {
    srv_app *app = NULL;
    ink_error error = {0};
    if (srv_start(&app, options, &error) != INK_OK) fail_msg("%s", error.message);
    srv_wait(app, &error);
    return app;
}

// --- requests ------------------------------------------------------------------------------------

static inline int asked_connect(uint16_t port) {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&at, sizeof at) != 0) abort();
    return fd;
}

static inline void asked_send(int fd, const char *data, size_t bytes) {
    while (bytes > 0) {
        const ssize_t n = send(fd, data, bytes, MSG_NOSIGNAL);
        if (n <= 0) return; // refused: the answer tells why
        data += n;
        bytes -= (size_t)n;
    }
}

static inline void asked_write(int fd, const char *method, const char *path, const char *body) {
    char head[512];
    const size_t bytes = body != NULL ? strlen(body) : 0;
    snprintf(head, sizeof head,
             "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
             "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
             method, path, bytes);
    asked_send(fd, head, strlen(head));
    asked_send(fd, body, bytes);
}

// The body as JSON, to be released; NULL: it was none.
static inline json_t *ask(const srv_app *app, const char *method, const char *path,
                          const char *body, unsigned *status) {
    const int fd = asked_connect(srv_port(app));
    http_reader reader = {0};
    char bytes[65536];
    asked_write(fd, method, path, body);
    bool whole = false, fine = http_reader_begin(&reader);
    while (fine && !whole) {
        const ssize_t n = recv(fd, bytes, sizeof bytes, 0);
        const int state = n > 0 ? http_reader_feed(&reader, bytes, (size_t)n) : -1;
        whole = n > 0 ? state > 0 : http_reader_end(&reader);
        fine = whole || (n > 0 && state == 0);
    }
    close(fd);
    *status = fine ? reader.status : 0;
    json_t *json = fine ? json_loadb(http_reader_body(&reader), reader.body_bytes,
                                     JSON_ALLOW_NUL | JSON_DECODE_ANY, NULL)
                        : NULL;
    http_reader_free(&reader);
    return json;
}

static inline json_t *ask_fine(const srv_app *app, const char *method, const char *path,
                               const char *body) {
    unsigned status = 0;
    json_t *json = ask(app, method, path, body, &status);
    if (status != 200 || json == NULL) {
        char *text = json_dumps(json, JSON_ENCODE_ANY);
        fail_msg("%s %s: %u %.300s", method, path, status, text != NULL ? text : "");
    }
    return json;
}

static inline const char *text_at(const json_t *object, const char *name) {
    const char *text = json_string_value(json_object_get(object, name));
    return text != NULL ? text : "";
}

static inline json_int_t number_at(const json_t *object, const char *name) {
    return json_integer_value(json_object_get(object, name));
}

// The request is refused so; code and param "": null.
static inline void ask_refused(const srv_app *app, const char *method, const char *path,
                               const char *body, unsigned expected, const char *code,
                               const char *param, const char *word) {
    unsigned status = 0;
    json_t *json = ask(app, method, path, body, &status);
    const json_t *error = json_object_get(json, "error");
    assert_non_null(error);
    if (status != expected || strstr(text_at(error, "message"), word) == NULL)
        fail_msg("%.80s: %u %s", body != NULL ? body : path, status, text_at(error, "message"));
    assert_string_equal(text_at(error, "code"), code);
    assert_string_equal(text_at(error, "param"), param);
    json_decref(json);
}

#endif
