// SPDX-License-Identifier: MIT
#include "server/app.h"
#include "server/http_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static bool add(struct MHD_Response *response, const char *name, const char *value) {
    return value == NULL || MHD_add_response_header(response, name, value) == MHD_YES;
}

static bool add_cors(struct MHD_Response *response, const srv_call *call) {
    // Also where no origin was sent, so that a cache does not give that answer to a page.
    bool ok = call->app->options.n_origins == 0 || add(response, "Vary", "Origin");
    if (call->origin == NULL) return ok;
    ok = ok && add(response, "Access-Control-Allow-Origin", call->origin) &&
         add(response, "Access-Control-Expose-Headers", "x-request-id, retry-after");
    if (call->preflight == NULL) return ok;
    return ok &&
           add(response, "Access-Control-Allow-Methods", "GET, HEAD, POST, DELETE, OPTIONS") &&
           add(response, "Access-Control-Allow-Headers", call->preflight) &&
           add(response, "Access-Control-Allow-Private-Network", "true") &&
           add(response, "Access-Control-Max-Age", "600");
}

static bool add_headers(struct MHD_Response *response, const srv_call *call) {
    const srv_answer *answer = &call->answer;
    const bool close = call->must_close || atomic_load(&call->app->draining),
               streams = answer->kind == SRV_ANSWER_STREAM;
    char seconds[16];
    snprintf(seconds, sizeof seconds, "%u", answer->retry_after_s);
    return add(response, "x-request-id", call->id) && add(response, "Content-Type", answer->type) &&
           add(response, "X-Content-Type-Options", "nosniff") &&
           // What has a tag may be kept, and asked for again with it.
           add(response, "Cache-Control", answer->etag != NULL ? "no-cache" : "no-store") &&
           add(response, "ETag", answer->etag) &&
           add(response, "Content-Security-Policy", answer->csp) &&
           add(response, "Referrer-Policy", answer->csp != NULL ? "no-referrer" : NULL) &&
           // nginx keeps parts of an answer back otherwise.
           add(response, "X-Accel-Buffering", streams ? "no" : NULL) &&
           add(response, "Retry-After", answer->retry_after_s > 0 ? seconds : NULL) &&
           add(response, "WWW-Authenticate", answer->status == 401 ? "Bearer" : NULL) &&
           add(response, "Allow", call->route == NULL ? call->allow : NULL) &&
           add(response, "Connection", close ? "close" : NULL) && add_cors(response, call);
}

static struct MHD_Response *make_response(srv_call *call) {
    srv_answer *answer = &call->answer;
    struct MHD_Response *response;
    if (answer->kind == SRV_ANSWER_STREAM) {
        response =
            MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 4096, srv_call_read, call, NULL);
    } else {
        response = MHD_create_response_from_buffer(answer->bytes, answer->data,
                                                   answer->owned ? MHD_RESPMEM_MUST_FREE
                                                                 : MHD_RESPMEM_PERSISTENT);
        if (response != NULL) answer->owned = false;
    }
    if (response != NULL && !add_headers(response, call)) {
        MHD_destroy_response(response);
        response = NULL;
    }
    return response;
}

enum MHD_Result srv_http_deliver(srv_call *call) {
    pthread_mutex_lock(&call->lock);
    struct MHD_Response *response = NULL;
    struct MHD_Connection *connection = call->connection;
    const unsigned status = call->answer.status;
    bool waits = false;
    if (!call->gone && !atomic_load(&call->http->closing)) {
        waits = call->answer.kind == SRV_ANSWER_NONE;
        if (waits) {
            call->suspended = true;
            MHD_suspend_connection(connection);
        } else {
            response = make_response(call);
        }
    }
    pthread_mutex_unlock(&call->lock);
    if (waits) return MHD_YES;
    if (response == NULL) return MHD_NO; // hangs up
    const enum MHD_Result queued = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return queued;
}

void srv_http_blurt(int fd, const char *id, const srv_failure *why) {
    json_t *body = srv_failure_json(why);
    char *text = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL, message[2048],
         retry[40] = "";
    json_decref(body);
    if (why->retry_after_s > 0)
        snprintf(retry, sizeof retry, "Retry-After: %u\r\n", why->retry_after_s);
    const int n = snprintf(message, sizeof message,
                           "HTTP/1.1 %u %s\r\nConnection: close\r\n%sx-request-id: %s\r\n"
                           "Content-Type: application/json\r\nX-Content-Type-Options: nosniff\r\n"
                           "Cache-Control: no-store\r\nContent-Length: %zu\r\n\r\n%s",
                           why->status, MHD_get_reason_phrase_for(why->status), retry, id,
                           text != NULL ? strlen(text) : 0, text != NULL ? text : "");
    free(text);
    // Nothing was sent on this connection for a while: there is room for it, or the client does
    // not read anyway.
    if (n > 0 && (size_t)n < sizeof message &&
        send(fd, message, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        return;
}
