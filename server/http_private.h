// SPDX-License-Identifier: MIT
// The HTTP side's own state and the functions between its files.
#ifndef SERVER_HTTP_PRIVATE_H
#define SERVER_HTTP_PRIVATE_H

#include "server/call_private.h"
#include "server/http.h"
#include "server/linger.h"

struct srv_http {
    srv_app *app;
    // srv_route_find; tests put handlers of their own here, before srv_http_start.
    const srv_route *(*find)(const char *method, const char *path, const char **tail,
                             size_t *tail_bytes, const char **methods);
    struct MHD_Daemon *daemon;
    int listen_fd; // of the HTTP thread once that runs
    int wake_fd;   // ends its wait
    uint16_t port;
    bool loopback; // only this machine reaches us
    pthread_t http_thread, house_thread;
    bool http_runs, house_runs;
    atomic_bool quiet;   // no more connections
    atomic_bool closing; // and everybody is hung up on
    atomic_uint heartbeat_ms;
    atomic_size_t n_body_bytes; // of all requests that are being read or worked on
    srv_connections connections;
    srv_linger linger;
    pthread_mutex_t stop_lock; // held by srv_stop
    bool stopped;
    atomic_bool hurried;

    pthread_mutex_t lock; // for what follows
    pthread_cond_t changed;
    bool over; // the housekeeping ends
    srv_call *calls;
    uint32_t n_calls;
};

// server.c: fills *error, returns status.
ink_status srv_error(ink_error *error, ink_status status, const char *where, const char *format,
                     ...) __attribute__((format(printf, 4, 5)));

// http_threads.c
void *srv_http_run(void *http);
void *srv_http_keep_house(void *http);

// http_request.c: the access handler of the HTTP library.
enum MHD_Result srv_http_on_request(void *http, struct MHD_Connection *connection, const char *url,
                                    const char *method, const char *version, const char *data,
                                    size_t *bytes, void **call);

// http_answer.c: hands the call's answer to HTTP, or lets it wait for one.
enum MHD_Result srv_http_deliver(srv_call *call);
// Says it at once and past the HTTP library, where that would read a whole request first. Then the
// connection has to be closed.
void srv_http_blurt(int fd, const char *id, const srv_failure *why);

// http_policy.c: fills call->refused, call->origin and call->must_close. False: refused.
bool srv_http_judge_head(srv_call *call);   // whether it is a request at all
bool srv_http_judge_origin(srv_call *call); // whether it comes from a page that may ask
bool srv_http_judge_key(srv_call *call);

// Waits until no call is open; false: until_ms has come before, or somebody is in a hurry.
bool srv_http_wait_calls(srv_http *http, double until_ms);

#endif
