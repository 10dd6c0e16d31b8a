// SPDX-License-Identifier: MIT
#include "server/app.h"
#include "server/http_private.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    // Of each connection, once it had a request: a head has to fit into the most of it.
    HEAD_BYTES = 16 * 1024,
    BACKLOG = 1024,
    HEARTBEAT_MS = 15000
};

typedef union address {
    struct sockaddr any;
    struct sockaddr_in four;
    struct sockaddr_in6 six;
} address;

static bool parse_address(const srv_options *options, address *out, socklen_t *length,
                          bool *loopback) {
    memset(out, 0, sizeof *out);
    if (inet_pton(AF_INET, options->address, &out->four.sin_addr) == 1) {
        out->four.sin_family = AF_INET;
        out->four.sin_port = htons(options->port);
        *length = sizeof out->four;
        *loopback = ntohl(out->four.sin_addr.s_addr) >> 24 == 127;
        return true;
    }
    if (inet_pton(AF_INET6, options->address, &out->six.sin6_addr) != 1) return false;
    out->six.sin6_family = AF_INET6;
    out->six.sin6_port = htons(options->port);
    *length = sizeof out->six;
    *loopback = IN6_IS_ADDR_LOOPBACK(&out->six.sin6_addr);
    return true;
}

static ink_status tell_system(const srv_options *options, int number, ink_error *error) {
    if (number == EADDRINUSE)
        return srv_error(error, INK_E_SYSTEM, "port",
                         "port %u of %s is in use by another program (choose another port)",
                         (unsigned)options->port, options->address);
    return srv_error(error, INK_E_SYSTEM, "address", "cannot listen on %s port %u: %s",
                     options->address, (unsigned)options->port, strerror(number));
}

static ink_status start_listening(srv_http *http, ink_error *error) {
    const srv_options *options = &http->app->options;
    const int on = 1, off = 0;
    address where;
    socklen_t length;
    if (!parse_address(options, &where, &length, &http->loopback))
        return srv_error(error, INK_E_ARG, "address",
                         "address: expected a numeric one like 127.0.0.1 or ::1, got \"%.100s\"",
                         options->address);
    const int fd = socket(where.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return tell_system(options, errno, error);
    http->listen_fd = fd;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    // "::" is every address, of both kinds.
    if (where.any.sa_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (bind(fd, &where.any, length) != 0 || listen(fd, BACKLOG) != 0 ||
        getsockname(fd, &where.any, &length) != 0)
        return tell_system(options, errno, error);
    http->port = ntohs(where.any.sa_family == AF_INET6 ? where.six.sin6_port : where.four.sin_port);
    return INK_OK;
}

static bool init_locks(srv_http *http) {
    pthread_condattr_t monotonic;
    if (pthread_condattr_init(&monotonic) != 0) return false;
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    const bool ok = pthread_cond_init(&http->changed, &monotonic) == 0;
    pthread_condattr_destroy(&monotonic);
    if (!ok) return false;
    if (pthread_mutex_init(&http->lock, NULL) == 0) {
        if (pthread_mutex_init(&http->stop_lock, NULL) == 0) {
            if (srv_connections_init(&http->connections)) {
                if (srv_linger_init(&http->linger)) return true;
                srv_connections_destroy(&http->connections);
            }
            pthread_mutex_destroy(&http->stop_lock);
        }
        pthread_mutex_destroy(&http->lock);
    }
    pthread_cond_destroy(&http->changed);
    return false;
}

ink_status srv_http_new(srv_app *app, ink_error *error) {
    srv_http *http = calloc(1, sizeof *http);
    if (http == NULL || !init_locks(http)) {
        free(http);
        return srv_error(error, INK_E_NOMEM, "", "out of memory");
    }
    http->app = app;
    http->find = srv_route_find;
    http->listen_fd = -1;
    http->heartbeat_ms = HEARTBEAT_MS;
    http->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    const ink_status status =
        http->wake_fd < 0 ? tell_system(&app->options, errno, error) : start_listening(http, error);
    app->http = http;
    if (status != INK_OK) {
        srv_http_free(http);
        app->http = NULL;
    }
    return status;
}

// --- what the HTTP library tells -----------------------------------------------------------------

static void on_connection(void *user, struct MHD_Connection *connection, void **context,
                          enum MHD_ConnectionNotificationCode what) {
    srv_http *http = user;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        const union MHD_ConnectionInfo *info =
            MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
        *context = srv_connections_enter(&http->connections, info->connect_fd);
        // Without memory for it: its first request is not answered.
    } else if (*context != NULL) {
        srv_connection *entry = *context;
        srv_linger_add(&http->linger, entry->fd, entry->linger);
        srv_connections_leave(&http->connections, entry);
        *context = NULL;
    }
}

static void write_path(char *out, size_t cap, const char *path) {
    size_t n = 0;
    for (; path[n] != 0 && n < cap - 1; n++)
        out[n] = path[n] > ' ' && path[n] < 0x7f ? path[n] : '?';
    out[n] = 0;
}

static void count_answer(srv_http *http, srv_call *call, enum MHD_RequestTerminationCode how) {
    pthread_mutex_lock(&call->lock);
    const bool whole = call->blurted || (how == MHD_REQUEST_TERMINATED_COMPLETED_OK &&
                                         !call->gone && srv_call_is_complete(call));
    const unsigned status = call->answer.status;
    pthread_mutex_unlock(&call->lock);
    const double ms = srv_now_ms() - call->begun_ms;
    if (whole)
        srv_metrics_answer(&http->app->metrics, status, ms);
    else
        atomic_fetch_add(&http->app->metrics.hung_up, 1);
    if (!http->app->options.verbose) return;
    char path[128];
    write_path(path, sizeof path, call->path);
    srv_log(http->app, "%s %s %u %.1f ms %s%s", call->method, path, status, ms, call->id,
            whole ? "" : " (hung up)");
}

static void on_completed(void *user, struct MHD_Connection *connection, void **context,
                         enum MHD_RequestTerminationCode how) {
    srv_http *http = user;
    srv_call *call = *context;
    (void)connection;
    if (call == NULL) return;
    *context = NULL;
    count_answer(http, call, how);
    srv_connections_move(&http->connections, call->entry, SRV_STAGE_HEAD);
    atomic_fetch_sub(&http->n_body_bytes, call->n_body);
    pthread_mutex_lock(&http->lock);
    if (call->previous != NULL)
        call->previous->next = call->next;
    else
        http->calls = call->next;
    if (call->next != NULL) call->next->previous = call->previous;
    if (--http->n_calls == 0) pthread_cond_broadcast(&http->changed);
    pthread_mutex_unlock(&http->lock);
    srv_call_detach(call);
}

// Paths are looked up as they were sent: "%2F" is no "/".
static size_t leave_escapes(void *user, struct MHD_Connection *connection, char *text) {
    (void)user;
    (void)connection;
    return strlen(text);
}

// --- start and end -------------------------------------------------------------------------------

static bool start_thread(pthread_t *thread, void *(*run)(void *), void *user) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const bool ok = pthread_create(thread, NULL, run, user) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return ok;
}

ink_status srv_http_start(srv_http *http, ink_error *error) {
    http->daemon = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_NO_LISTEN_SOCKET, 0, NULL, NULL,
        srv_http_on_request, http, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HEAD_BYTES,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)(http->app->options.n_connections + 256u),
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, http, MHD_OPTION_NOTIFY_COMPLETED,
        on_completed, http, MHD_OPTION_UNESCAPE_CALLBACK, leave_escapes, NULL, MHD_OPTION_END);
    if (http->daemon == NULL)
        return srv_error(error, INK_E_SYSTEM, "", "the HTTP library could not start");
    http->http_runs = start_thread(&http->http_thread, srv_http_run, http);
    http->house_runs =
        http->http_runs && start_thread(&http->house_thread, srv_http_keep_house, http);
    return http->house_runs ? INK_OK
                            : srv_error(error, INK_E_SYSTEM, "", "a thread could not be started");
}

uint16_t srv_http_port(const srv_http *http) { return http->port; }

uint32_t srv_http_n_calls(const srv_http *http) {
    srv_http *own = (srv_http *)(uintptr_t)http; // its lock is no part of what it tells
    pthread_mutex_lock(&own->lock);
    const uint32_t n = own->n_calls;
    pthread_mutex_unlock(&own->lock);
    return n;
}

uint32_t srv_http_n_connections(const srv_http *http) {
    return srv_connections_n(&((srv_http *)(uintptr_t)http)->connections);
}

void srv_http_quiesce(srv_http *http) {
    atomic_store(&http->quiet, true);
    eventfd_write(http->wake_fd, 1);
}

bool srv_http_wait_calls(srv_http *http, double until_ms) {
    struct timespec until = {
        .tv_sec = (time_t)(until_ms / 1000),
        .tv_nsec = (long)(until_ms - 1000.0 * (double)(time_t)(until_ms / 1000)) * 1000000L};
    pthread_mutex_lock(&http->lock);
    int waited = 0;
    while (http->n_calls > 0 && waited != ETIMEDOUT && !atomic_load(&http->hurried))
        waited = pthread_cond_timedwait(&http->changed, &http->lock, &until);
    const bool none = http->n_calls == 0;
    pthread_mutex_unlock(&http->lock);
    return none;
}

void srv_http_free(srv_http *http) {
    if (http == NULL) return;
    if (http->house_runs) {
        pthread_mutex_lock(&http->lock);
        http->over = true;
        pthread_cond_broadcast(&http->changed);
        pthread_mutex_unlock(&http->lock);
        pthread_join(http->house_thread, NULL);
    }
    atomic_store(&http->closing, true);
    if (http->http_runs) {
        eventfd_write(http->wake_fd, 1);
        pthread_join(http->http_thread, NULL);
    } else if (http->daemon != NULL) {
        MHD_stop_daemon(http->daemon);
    }
    if (http->listen_fd >= 0) close(http->listen_fd);
    if (http->wake_fd >= 0) close(http->wake_fd);
    srv_linger_destroy(&http->linger);
    srv_connections_destroy(&http->connections);
    pthread_mutex_destroy(&http->stop_lock);
    pthread_mutex_destroy(&http->lock);
    pthread_cond_destroy(&http->changed);
    free(http);
}
