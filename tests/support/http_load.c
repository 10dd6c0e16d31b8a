// SPDX-License-Identifier: MIT
#include "http_load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "http_reader.h"

typedef struct client {
    unsigned number, index;
    int fd;         // -1: not connected
    bool connected; // the connection stands
    bool reused;    // it has brought an answer before
    bool busy;      // a request is under way
    load_request request;
    char *out; // [out_bytes] head and body
    size_t out_bytes, out_at, out_cap;
    http_reader reader;
    double begun_ms;
} client;

typedef struct load {
    const load_plan *plan;
    struct sockaddr_in address;
    client *clients; // [plan->n_clients]
    unsigned n_busy;
    int poll;
} load;

double load_now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static bool complain(const char *what) {
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    return false;
}

static void hang_up(client *c) {
    if (c->fd >= 0) close(c->fd);
    c->fd = -1;
    c->connected = c->reused = false;
}

static bool watch(load *l, client *c, int operation, uint32_t events) {
    struct epoll_event event = {.events = events, .data = {.ptr = c}};
    return epoll_ctl(l->poll, operation, c->fd, &event) == 0 || complain("epoll_ctl");
}

static bool connect_client(load *l, client *c) {
    const int one = 1;
    hang_up(c);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) return complain("socket");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    // A refused connection is an answer too: it shows itself where the request is sent.
    if (connect(c->fd, (const struct sockaddr *)&l->address, sizeof l->address) == 0)
        c->connected = true;
    return watch(l, c, EPOLL_CTL_ADD, EPOLLIN | EPOLLOUT);
}

static bool write_request(const load_plan *plan, client *c) {
    const load_request *r = &c->request;
    const size_t need = strlen(r->path) + r->bytes + 256;
    if (need > c->out_cap) {
        char *larger = realloc(c->out, need);
        if (larger == NULL) return complain("memory");
        c->out = larger;
        c->out_cap = need;
    }
    int n = snprintf(c->out, c->out_cap, "%s %s HTTP/1.1\r\nHost: %s:%u\r\n", r->method, r->path,
                     plan->address, (unsigned)plan->port);
    if (r->body != NULL)
        n += snprintf(c->out + n, c->out_cap - (size_t)n,
                      "Content-Type: application/json\r\nContent-Length: %zu\r\n", r->bytes);
    n += snprintf(c->out + n, c->out_cap - (size_t)n, "\r\n");
    if (r->bytes > 0) memcpy(c->out + n, r->body, r->bytes);
    c->out_bytes = (size_t)n + r->bytes;
    c->out_at = 0;
    return true;
}

// Sends what the socket takes. 1: all is sent, 0: not yet, -1: the connection is broken.
static int send_some(client *c) {
    while (c->out_at < c->out_bytes) {
        const ssize_t n = send(c->fd, c->out + c->out_at, c->out_bytes - c->out_at, MSG_NOSIGNAL);
        if (n < 0) return errno == EAGAIN || errno == EINTR || errno == ENOTCONN ? 0 : -1;
        c->out_at += (size_t)n;
    }
    return 1;
}

static bool begin_request(load *l, client *c);

static bool finish(load *l, client *c, const char *why) {
    http_reader *r = &c->reader;
    const load_answer answer = {
        .status = r->status,
        .complete = why == NULL && (!r->stream || r->saw_done),
        .stream = r->stream,
        .failed_event = r->failed_event,
        .n_events = r->n_events,
        .n_tokens = (unsigned)load_number(http_reader_body(r), "completion_tokens", 0),
        .begun_ms = c->begun_ms,
        .first_ms = r->first_ms,
        .end_ms = load_now_ms(),
        .head = http_reader_head(r),
        .body = http_reader_body(r),
        .bytes = r->body_bytes,
        .why = why};
    const bool keep = why == NULL && r->keep;
    c->busy = false;
    l->n_busy--;
    l->plan->done(l->plan->user, c->number, c->index, &answer);
    c->index++;
    if (!keep) hang_up(c);
    c->reused = keep;
    return begin_request(l, c);
}

static bool start_sending(load *l, client *c) {
    if (c->fd < 0 || c->request.fresh) {
        if (!connect_client(l, c)) return false;
    } else if (!watch(l, c, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT)) {
        return false;
    }
    if (c->connected && send_some(c) == 1) return watch(l, c, EPOLL_CTL_MOD, EPOLLIN);
    return true;
}

static bool begin_request(load *l, client *c) {
    c->request = (load_request){.method = "GET", .path = "/"};
    if (!l->plan->next(l->plan->user, c->number, c->index, &c->request)) {
        hang_up(c);
        return true;
    }
    if (!http_reader_begin(&c->reader)) return complain("memory");
    c->busy = true;
    l->n_busy++;
    c->begun_ms = load_now_ms();
    return write_request(l->plan, c) && start_sending(l, c);
}

// A server may close a connection that it has answered on just when the next request is sent; then
// that request is sent once more, as HTTP asks of clients.
static bool broken(load *l, client *c, const char *why) {
    if (!c->reused || c->reader.n_read > 0) return finish(l, c, why);
    hang_up(c);
    c->out_at = 0;
    return start_sending(l, c);
}

static bool receive(load *l, client *c) {
    char bytes[65536];
    for (;;) {
        const ssize_t n = recv(c->fd, bytes, sizeof bytes, 0);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) return true;
        if (n < 0) return broken(l, c, strerror(errno));
        if (!c->busy) {
            // Nothing was asked: the server closes, or says why it will.
            hang_up(c);
            return true;
        }
        if (n == 0)
            return http_reader_end(&c->reader) ? finish(l, c, NULL)
                                               : broken(l, c, "the connection was closed");
        const int state = http_reader_feed(&c->reader, bytes, (size_t)n);
        if (state < 0) return finish(l, c, "an answer that is no HTTP");
        if (state > 0) return finish(l, c, NULL);
        const unsigned limit = c->request.hang_up_events;
        if (limit > 0 && c->reader.n_events >= limit) return finish(l, c, "hung up");
    }
}

static bool handle(load *l, client *c, uint32_t events) {
    if (c->fd < 0) return true;
    if (!c->connected) {
        int code = 0;
        socklen_t bytes = sizeof code;
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &code, &bytes);
        if (code != 0) return finish(l, c, strerror(code));
        c->connected = true;
    }
    if ((events & EPOLLOUT) != 0 && c->busy) {
        const int sent = send_some(c);
        if (sent > 0 && !watch(l, c, EPOLL_CTL_MOD, EPOLLIN)) return false;
        // What the server said before it stopped reading is worth more than how sending failed.
        if (sent < 0) c->out_at = c->out_bytes;
    }
    return (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) == 0 || receive(l, c);
}

static bool turn(load *l) {
    const unsigned patience = l->plan->patience_ms > 0 ? l->plan->patience_ms : 120000;
    struct epoll_event events[256];
    while (l->n_busy > 0) {
        const int n = epoll_wait(l->poll, events, 256, (int)patience);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) {
            if (n < 0) return complain("epoll_wait");
            fprintf(stderr, "load: nothing has come for %u ms, %u requests are open\n", patience,
                    l->n_busy);
            return false;
        }
        for (int i = 0; i < n; i++)
            if (!handle(l, events[i].data.ptr, events[i].events)) return false;
    }
    return true;
}

bool load_run(const load_plan *plan) {
    load l = {.plan = plan,
              .address = {.sin_family = AF_INET, .sin_port = htons(plan->port)},
              .poll = epoll_create1(EPOLL_CLOEXEC)};
    l.clients = calloc(plan->n_clients, sizeof *l.clients);
    bool fine = l.poll >= 0 && l.clients != NULL &&
                inet_pton(AF_INET, plan->address, &l.address.sin_addr) == 1;
    if (!fine) complain("begin");
    for (unsigned i = 0; l.clients != NULL && i < plan->n_clients; i++) {
        l.clients[i].number = i;
        l.clients[i].fd = -1;
    }
    for (unsigned i = 0; fine && i < plan->n_clients; i++) fine = begin_request(&l, &l.clients[i]);
    fine = fine && turn(&l);
    for (unsigned i = 0; l.clients != NULL && i < plan->n_clients; i++) {
        hang_up(&l.clients[i]);
        free(l.clients[i].out);
        http_reader_free(&l.clients[i].reader);
    }
    free(l.clients);
    if (l.poll >= 0) close(l.poll);
    return fine;
}

double load_number(const char *json, const char *name, double missing) {
    const size_t n = strlen(name);
    double value = missing;
    for (const char *at = json; (at = strstr(at, name)) != NULL; at += n) {
        if (at == json || at[-1] != '"' || at[n] != '"' || at[n + 1] != ':') continue;
        char *end = NULL;
        const double found = strtod(at + n + 2, &end);
        if (end != at + n + 2) value = found;
    }
    return value;
}

bool load_header(const char *head, const char *name, char *out, size_t cap) {
    const size_t n = strlen(name);
    for (const char *line = head; line != NULL; line = strchr(line, '\n')) {
        if (*line == '\n') line++;
        if (strncasecmp(line, name, n) != 0 || line[n] != ':') continue;
        const char *value = line + n + 1 + strspn(line + n + 1, " \t");
        snprintf(out, cap, "%.*s", (int)strcspn(value, "\r\n"), value);
        return true;
    }
    return false;
}
