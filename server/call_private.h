// SPDX-License-Identifier: MIT
// What a call is made of, for the files of the HTTP side.
#ifndef SERVER_CALL_PRIVATE_H
#define SERVER_CALL_PRIVATE_H

#include "server/call.h"
#include "server/connections.h"
#include "server/route.h"

#include <microhttpd.h>
#include <pthread.h>

enum { SRV_STREAM_LIMIT = 1 << 20 }; // bytes of a stream that may wait for the client

typedef enum srv_answer_kind {
    SRV_ANSWER_NONE,
    SRV_ANSWER_WHOLE,
    SRV_ANSWER_STREAM
} srv_answer_kind;

typedef struct srv_answer {
    srv_answer_kind kind;
    unsigned status;
    const char *type, *etag, *csp; // static; NULL: no such header
    void *data;                    // [bytes]
    size_t bytes;
    bool owned; // data is to be freed
    unsigned retry_after_s;
} srv_answer;

struct srv_call {
    // Set before the handler is called, then constant.
    struct srv_app *app;
    struct srv_http *http;
    srv_connection *entry;
    int fd;
    const srv_route *route;
    const char *allow, *origin; // static or of the options
    char *path, *tail, *preflight;
    char method[16], id[32];
    double begun_ms;
    char *body; // with a 0 byte behind it
    size_t n_body, body_cap;
    srv_failure refused;              // without asking the handler
    bool must_close;                  // no other request may follow on the connection
    bool blurted;                     // answered past HTTP
    struct srv_call *previous, *next; // in http->calls, under its lock

    pthread_mutex_t lock; // for all that follows
    pthread_cond_t quiet; // no on_gone runs
    // NULL once HTTP has let go of the call; its socket may be another's then.
    struct MHD_Connection *connection;
    uint32_t n_refs; // of handlers and whoever they gave one
    bool handled;    // the handler has been called
    bool suspended;  // HTTP does not look at it until it is resumed
    bool gone;       // the client, or we hung up on it
    void (*on_gone)(void *user);
    void *on_gone_user;
    bool on_gone_runs;
    srv_answer answer;
    // The part of a stream that waits: out [out_begin, out_end).
    char *out;
    size_t out_begin, out_end, out_cap;
    bool ended;
    double written_ms; // the last time
};

// n_refs is 0: it belongs to HTTP alone. NULL: no memory.
srv_call *srv_call_new(struct srv_http *http, struct MHD_Connection *connection, const char *path,
                       const char *method);
// Called by the HTTP side when the exchange is over, however it ended.
void srv_call_detach(srv_call *call);
// The client has gone, unless the answer is complete already.
void srv_call_hung_up(srv_call *call);
// Under the lock: HTTP looks at it again.
void srv_call_wake(srv_call *call);
// Under the lock: nothing more is to be said.
bool srv_call_is_complete(const srv_call *call);
// Housekeeping: a comment line, where nothing was written for so long.
void srv_call_beat(srv_call *call, double now_ms, uint32_t interval_ms);
// Of a stream, for MHD_create_response_from_callback.
ssize_t srv_call_read(void *call, uint64_t position, char *out, size_t cap);
// True: answered from here on with what is given; the data belongs to the call if owned.
bool srv_call_give(srv_call *call, const srv_answer *answer);

#endif
