// SPDX-License-Identifier: MIT
// The HTTP thread accepts and runs the HTTP library; the other one looks after time.
#include "server/app.h"
#include "server/http_private.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    ACCEPTS = 32,      // in a row
    SPARE = 32,        // connections that were hung up on and are not closed yet
    PAUSE_MS = 20,     // before it is tried again to accept
    UNREAD_MS = 30000, // that a client may leave an answer unread
    TICK_MS = 100,
    TICKS_OF_LOOKING = 10
};

static void set_up_socket(int fd) {
    const int on = 1;
    const unsigned unread_ms = UNREAD_MS;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unread_ms, sizeof unread_ms);
}

static void turn_away(srv_http *http, int fd) {
    char id[32];
    srv_failure why;
    atomic_fetch_add(&http->app->metrics.refused_connections, 1);
    srv_fail(&why, 503, "server_error", "too_many_connections",
             "all %u connections of this server are in use", http->app->options.n_connections);
    srv_new_id(id, sizeof id, "req_");
    srv_http_blurt(fd, id, &why);
    srv_linger_add(&http->linger, fd, true);
    close(fd);
}

// False: nobody waits, or nobody can be let in now.
static bool accept_one(srv_http *http, bool *pause) {
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    const uint32_t limit = http->app->options.n_connections;
    if (srv_connections_n_open(&http->connections) >= limit + SPARE) return false;
    const int fd = accept4(http->listen_fd, (struct sockaddr *)&address, &length,
                           SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        // Without numbers for sockets one has to give way; the system needs time for that.
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            *pause = true;
            if (srv_connections_evict(&http->connections))
                atomic_fetch_add(&http->app->metrics.evicted_connections, 1);
        }
        return errno == ECONNABORTED || errno == EINTR;
    }
    if (srv_connections_n(&http->connections) >= limit) {
        if (!srv_connections_evict(&http->connections)) {
            turn_away(http, fd);
            return true;
        }
        atomic_fetch_add(&http->app->metrics.evicted_connections, 1);
    }
    set_up_socket(fd);
    MHD_add_connection(http->daemon, fd, (struct sockaddr *)&address, length);
    return true;
}

static void hang_up_on_all(srv_http *http) {
    pthread_mutex_lock(&http->lock);
    for (srv_call *call = http->calls; call != NULL; call = call->next) {
        pthread_mutex_lock(&call->lock);
        srv_call_wake(call);
        pthread_mutex_unlock(&call->lock);
    }
    pthread_mutex_unlock(&http->lock);
}

void *srv_http_run(void *user) {
    srv_http *http = user;
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    struct pollfd polled[3] = {{.fd = info->epoll_fd, .events = POLLIN},
                               {.fd = http->wake_fd, .events = POLLIN},
                               {.events = POLLIN}};
    bool pause = false;
    while (!atomic_load(&http->closing)) {
        MHD_UNSIGNED_LONG_LONG due;
        const uint32_t n_open = srv_connections_n_open(&http->connections);
        const bool full = n_open >= http->app->options.n_connections + SPARE;
        // With many connections at once the HTTP library (0.9.75) may keep some that have ended,
        // and wait for nothing, until it runs again.
        int timeout = pause || full ? PAUSE_MS : n_open > 0 ? TICK_MS : -1;
        if (MHD_get_timeout(http->daemon, &due) == MHD_YES && (timeout < 0 || due < PAUSE_MS))
            timeout = due < PAUSE_MS ? (int)due : PAUSE_MS;
        polled[2].fd = pause || full ? -1 : http->listen_fd;
        if (poll(polled, 3, timeout) < 0 && errno != EINTR) break;
        pause = false;
        if (polled[1].revents != 0) {
            eventfd_t n;
            eventfd_read(http->wake_fd, &n);
        }
        if (atomic_load(&http->quiet) && http->listen_fd >= 0) {
            close(http->listen_fd);
            http->listen_fd = -1;
        } else if (polled[2].fd >= 0 && (polled[2].revents & POLLIN) != 0) {
            for (int i = 0; i < ACCEPTS && accept_one(http, &pause); i++)
                ;
        }
        MHD_run(http->daemon);
    }
    atomic_store(&http->closing, true);
    hang_up_on_all(http);
    MHD_stop_daemon(http->daemon);
    http->daemon = NULL;
    return NULL;
}

// --- housekeeping --------------------------------------------------------------------------------

typedef struct watched {
    srv_call **calls;
    struct pollfd *sockets;
    size_t n, cap;
} watched;

static bool make_room(watched *w, size_t n) {
    if (n <= w->cap) return true;
    srv_call **calls = realloc(w->calls, n * sizeof *calls);
    if (calls != NULL) w->calls = calls;
    struct pollfd *sockets = realloc(w->sockets, n * sizeof *sockets);
    if (sockets != NULL) w->sockets = sockets;
    if (calls == NULL || sockets == NULL) return false;
    w->cap = n;
    return true;
}

// Those whose handler may still have something to say.
static void gather(srv_http *http, watched *w) {
    w->n = 0;
    pthread_mutex_lock(&http->lock);
    if (make_room(w, http->n_calls))
        for (srv_call *call = http->calls; call != NULL; call = call->next) {
            pthread_mutex_lock(&call->lock);
            if (call->handled && call->connection != NULL && !srv_call_is_complete(call)) {
                call->n_refs++;
                w->calls[w->n] = call;
                w->sockets[w->n++] = (struct pollfd){.fd = call->fd, .events = POLLRDHUP};
            }
            pthread_mutex_unlock(&call->lock);
        }
    pthread_mutex_unlock(&http->lock);
}

// Nobody else looks at the socket of a call that waits. A socket may have been closed since its
// number was written down, and the number be another's: then its call has been told already.
static void look_at_calls(srv_http *http, watched *w) {
    const double now = srv_now_ms();
    const uint32_t interval = atomic_load(&http->heartbeat_ms);
    gather(http, w);
    if (w->n == 0) return;
    const int n_ready = poll(w->sockets, (nfds_t)w->n, 0);
    for (size_t i = 0; i < w->n; i++) {
        const bool hung_up =
            n_ready > 0 && (w->sockets[i].revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
        if (hung_up)
            srv_call_hung_up(w->calls[i]);
        else
            srv_call_beat(w->calls[i], now, interval);
        srv_call_unref(w->calls[i]);
    }
}

static bool sleep_until_tick(srv_http *http) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += TICK_MS * 1000000L;
    if (until.tv_nsec >= 1000000000L) {
        until.tv_nsec -= 1000000000L;
        until.tv_sec++;
    }
    pthread_mutex_lock(&http->lock);
    int slept = 0;
    while (!http->over && slept != ETIMEDOUT)
        slept = pthread_cond_timedwait(&http->changed, &http->lock, &until);
    const bool over = http->over;
    pthread_mutex_unlock(&http->lock);
    return !over;
}

void *srv_http_keep_house(void *user) {
    srv_http *http = user;
    const srv_options *options = &http->app->options;
    watched w = {0};
    for (unsigned n_ticks = 1; sleep_until_tick(http); n_ticks++) {
        if (n_ticks % TICKS_OF_LOOKING == 0) srv_connections_look(&http->connections);
        srv_connections_expire(&http->connections, options->header_ms, options->body_ms);
        look_at_calls(http, &w);
        srv_linger_tick(&http->linger);
        srv_jobs_tick(http->app);
        srv_typings_tick(http->app);
    }
    free(w.calls);
    free(w.sockets);
    return NULL;
}
