// SPDX-License-Identifier: MIT
// A call has two owners: HTTP, until the exchange is over, and those who hold references. Whoever
// is last frees it. Lock order: http->lock, call->lock, then those of the HTTP library.
#include "server/call_private.h"

#include "server/app.h"
#include "server/http_private.h"

#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

static const char json_content[] = "application/json";
static const char no_memory[] =
    "{\"error\":{\"message\":\"out of memory\",\"type\":\"server_error\",\"param\":null,"
    "\"code\":\"out_of_memory\"}}";
static const char no_answer[] =
    "{\"error\":{\"message\":\"the server gave no answer\",\"type\":\"server_error\","
    "\"param\":null,\"code\":null}}";

srv_call *srv_call_new(struct srv_http *http, struct MHD_Connection *connection, const char *path,
                       const char *method) {
    srv_call *call = calloc(1, sizeof *call);
    if (call == NULL) return NULL;
    call->http = http;
    call->app = http->app;
    call->connection = connection;
    call->begun_ms = srv_now_ms();
    strncpy(call->method, method, sizeof call->method - 1);
    srv_new_id(call->id, sizeof call->id, "req_");
    call->path = strdup(path);
    if (call->path == NULL || pthread_mutex_init(&call->lock, NULL) != 0) {
        free(call->path);
        free(call);
        return NULL;
    }
    if (pthread_cond_init(&call->quiet, NULL) != 0) {
        pthread_mutex_destroy(&call->lock);
        free(call->path);
        free(call);
        return NULL;
    }
    return call;
}

static void drop_answer(srv_answer *answer) {
    if (answer->owned) free(answer->data);
    answer->data = NULL;
    answer->owned = false;
}

static void free_call(srv_call *call) {
    drop_answer(&call->answer);
    free(call->out);
    free(call->body);
    free(call->preflight);
    free(call->tail);
    free(call->path);
    pthread_cond_destroy(&call->quiet);
    pthread_mutex_destroy(&call->lock);
    free(call);
}

struct srv_app *srv_call_app(const srv_call *call) {
    return call->app;
}
const char *srv_call_method(const srv_call *call) { return call->method; }
const char *srv_call_tail(const srv_call *call) { return call->tail != NULL ? call->tail : ""; }
const char *srv_call_path(const srv_call *call) { return call->path; }
const char *srv_call_id(const srv_call *call) { return call->id; }
double srv_call_begun_ms(const srv_call *call) { return call->begun_ms; }
const char *srv_call_body(const srv_call *call, size_t *bytes) {
    *bytes = call->n_body;
    return call->body != NULL ? call->body : "";
}
const char *srv_call_header(const srv_call *call, const char *name) {
    return MHD_lookup_connection_value(call->connection, MHD_HEADER_KIND, name);
}

bool srv_call_is_complete(const srv_call *call) {
    return call->answer.kind == SRV_ANSWER_WHOLE ||
           (call->answer.kind == SRV_ANSWER_STREAM && call->ended);
}

void srv_call_wake(srv_call *call) {
    if (call->connection == NULL || !call->suspended) return;
    call->suspended = false;
    MHD_resume_connection(call->connection);
    // The library only notes it down where it has no thread of its own.
    eventfd_write(call->http->wake_fd, 1);
}

// --- references ----------------------------------------------------------------------------------

srv_call *srv_call_ref(srv_call *call) {
    pthread_mutex_lock(&call->lock);
    call->n_refs++;
    pthread_mutex_unlock(&call->lock);
    return call;
}

static bool give(srv_call *call, const srv_answer *answer) {
    if (call->answer.kind != SRV_ANSWER_NONE) return false;
    call->answer = *answer;
    call->written_ms = srv_now_ms();
    srv_call_wake(call);
    return true;
}

// Under the lock: nobody is left who could answer.
static void abandon(srv_call *call) {
    if (!call->handled || srv_call_is_complete(call)) return;
    const srv_answer answer = {.kind = SRV_ANSWER_WHOLE,
                               .status = 500,
                               .type = json_content,
                               .data = (void *)(uintptr_t)no_answer,
                               .bytes = sizeof no_answer - 1};
    if (give(call, &answer)) return;
    call->ended = true;
    srv_call_wake(call);
}

// Unlocks.
static void unref_locked(srv_call *call) {
    call->n_refs--;
    if (call->n_refs == 0 && call->connection != NULL) abandon(call);
    const bool last = call->n_refs == 0 && call->connection == NULL;
    pthread_mutex_unlock(&call->lock);
    if (last) free_call(call);
}

void srv_call_unref(srv_call *call) {
    if (call == NULL) return;
    pthread_mutex_lock(&call->lock);
    unref_locked(call);
}

// --- hanging up ----------------------------------------------------------------------------------

// Under the lock, which is let go of while fn runs. The caller keeps the call alive.
static void tell_gone(srv_call *call) {
    void (*fn)(void *user) = call->on_gone;
    void *user = call->on_gone_user;
    if (fn == NULL || call->on_gone_runs) return;
    call->on_gone = NULL;
    call->on_gone_runs = true;
    pthread_mutex_unlock(&call->lock);
    fn(user);
    pthread_mutex_lock(&call->lock);
    call->on_gone_runs = false;
    pthread_cond_broadcast(&call->quiet);
}

void srv_call_hung_up(srv_call *call) {
    pthread_mutex_lock(&call->lock);
    if (!srv_call_is_complete(call)) {
        call->n_refs++;
        call->gone = true;
        srv_call_wake(call);
        tell_gone(call);
        unref_locked(call);
        return;
    }
    pthread_mutex_unlock(&call->lock);
}

void srv_call_detach(srv_call *call) {
    pthread_mutex_lock(&call->lock);
    call->n_refs++;
    call->connection = NULL;
    call->entry = NULL;
    drop_answer(&call->answer);
    free(call->out);
    call->out = NULL;
    call->out_begin = call->out_end = call->out_cap = 0;
    if (!srv_call_is_complete(call)) {
        call->gone = true;
        tell_gone(call);
    }
    unref_locked(call);
}

bool srv_call_is_gone(srv_call *call) {
    pthread_mutex_lock(&call->lock);
    // Under the lock, so that the socket is still ours.
    const bool gone = call->gone || call->connection == NULL || srv_socket_is_gone(call->fd);
    // Who asks will end the answer now; that must not make it one that was heard.
    if (gone && !srv_call_is_complete(call)) call->gone = true;
    pthread_mutex_unlock(&call->lock);
    return gone;
}

void srv_call_on_gone(srv_call *call, void (*fn)(void *user), void *user) {
    pthread_mutex_lock(&call->lock);
    call->n_refs++;
    while (call->on_gone_runs) pthread_cond_wait(&call->quiet, &call->lock);
    call->on_gone = fn;
    call->on_gone_user = user;
    if (call->gone && !srv_call_is_complete(call)) tell_gone(call);
    unref_locked(call);
}

// --- whole answers -------------------------------------------------------------------------------

bool srv_call_give(srv_call *call, const srv_answer *answer) {
    pthread_mutex_lock(&call->lock);
    const bool first = give(call, answer);
    if (first && call->connection == NULL) drop_answer(&call->answer);
    pthread_mutex_unlock(&call->lock);
    srv_answer late = *answer;
    if (!first) drop_answer(&late);
    return first;
}

static bool give_json(srv_call *call, unsigned status, json_t *body, unsigned retry_after_s) {
    char *text = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;
    json_decref(body);
    srv_answer answer = {.kind = SRV_ANSWER_WHOLE,
                         .status = status,
                         .type = json_content,
                         .data = text,
                         .owned = true,
                         .retry_after_s = retry_after_s};
    if (text != NULL) {
        answer.bytes = strlen(text);
    } else {
        answer.status = 500;
        answer.data = (void *)(uintptr_t)no_memory;
        answer.bytes = sizeof no_memory - 1;
        answer.owned = false;
    }
    return srv_call_give(call, &answer);
}

void srv_call_json(srv_call *call, unsigned status, json_t *body) {
    give_json(call, status, body, 0);
}

void srv_call_json_later(srv_call *call, unsigned status, json_t *body, unsigned retry_after_s) {
    give_json(call, status, body, retry_after_s);
}

void srv_call_fail(srv_call *call, const srv_failure *why) {
    pthread_mutex_lock(&call->lock);
    const bool streams = call->answer.kind == SRV_ANSWER_STREAM;
    pthread_mutex_unlock(&call->lock);
    if (streams) {
        srv_call_event(call, NULL, srv_failure_json(why));
        srv_call_end(call);
    } else {
        give_json(call, why->status != 0 ? why->status : 500, srv_failure_json(why),
                  why->retry_after_s);
    }
}

void srv_call_text(srv_call *call, unsigned status, const char *type, const char *text,
                   size_t bytes) {
    srv_answer answer = {.kind = SRV_ANSWER_WHOLE,
                         .status = status,
                         .type = type,
                         .data = malloc(bytes + 1),
                         .bytes = bytes,
                         .owned = true};
    if (answer.data == NULL) {
        srv_call_json(call, 500, NULL);
        return;
    }
    if (bytes > 0) memcpy(answer.data, text, bytes);
    srv_call_give(call, &answer);
}

// Whether the list of an If-None-Match names etag, which has its quotes.
static bool has_tag(const char *list, const char *etag) {
    const size_t length = strlen(etag);
    for (const char *at = list; (at = strstr(at, etag)) != NULL; at += length) {
        const char before = at == list ? ',' : at[-1], after = at[length];
        if (strchr(", \t/", before) != NULL && strchr(", \t", after) != NULL) return true;
    }
    return strcmp(list, "*") == 0;
}

void srv_call_static(srv_call *call, const char *type, const void *data, size_t bytes,
                     const char *etag, const char *csp) {
    const char *known = srv_call_header(call, "If-None-Match");
    srv_answer answer = {.kind = SRV_ANSWER_WHOLE,
                         .status = 200,
                         .type = type,
                         .etag = etag,
                         .csp = csp,
                         .data = (void *)(uintptr_t)data,
                         .bytes = bytes};
    if (known != NULL && etag != NULL && has_tag(known, etag)) {
        answer.status = 304;
        answer.type = NULL;
        answer.bytes = 0;
    }
    srv_call_give(call, &answer);
}

void srv_call_empty(srv_call *call, unsigned status) {
    const srv_answer answer = {.kind = SRV_ANSWER_WHOLE, .status = status};
    srv_call_give(call, &answer);
}
