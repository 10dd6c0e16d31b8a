// SPDX-License-Identifier: MIT
// The typing handlers without HTTP: calls that are only memory, a clock that the test sets, and one
// model. What of the server this defines itself the linker does not look for in its library.
#ifndef TESTS_TYPING_CALLS_FIXTURE_H
#define TESTS_TYPING_CALLS_FIXTURE_H

#include "server/http.h"
#include "server/route.h"
#include "server/typing_sessions.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

// --- a call --------------------------------------------------------------------------------------

struct srv_call {
    const char *tail, *body;
    atomic_uint refs;
    pthread_mutex_t lock;
    pthread_cond_t news;
    unsigned status; // of the answer; 0: none yet
    json_t *answer;
    unsigned retry_after_s;
    bool streams, ended, full, gone;
    char *events; // [n_events] bytes
    size_t n_events;
    void (*on_gone)(void *user);
    void *on_gone_user;
    bool on_gone_runs;
};

static srv_app fake_app;
static srv_model fake_model;
static _Atomic double fake_now_ms;
static atomic_uint n_live_calls;

double srv_now_ms(void) { return atomic_load(&fake_now_ms); }

void srv_new_id(char *out, size_t cap, const char *prefix) {
    static atomic_uint n;
    snprintf(out, cap, "%s%u", prefix, atomic_fetch_add(&n, 1));
}

srv_model *srv_models_find(struct srv_app *app, const char *id, srv_failure *why) {
    if (id == NULL || id[0] == 0 || strcmp(id, app->models->id) == 0) return app->models;
    srv_fail(why, 404, "invalid_request_error", "model_not_found", "no such model");
    return NULL;
}

ink_model *srv_model_open(srv_model *model, srv_failure *why) {
    ink_model *open = ink_service_model(model->service);
    if (open == NULL) srv_fail(why, 503, "server_error", "model_loading", "not yet");
    return open;
}

uint32_t srv_model_n_ctx(const srv_model *model) {
    ink_model_info info = {.size = sizeof info};
    ink_model_get_info(ink_service_model(model->service), &info);
    return info.n_ctx;
}

struct srv_app *srv_call_app(const srv_call *call) {
    (void)call;
    return &fake_app;
}
const char *srv_call_tail(const srv_call *call) { return call->tail; }
const char *srv_call_method(const srv_call *call) {
    (void)call;
    return "GET";
}
const char *srv_call_body(const srv_call *call, size_t *bytes) {
    *bytes = strlen(call->body);
    return call->body;
}

srv_call *srv_call_ref(srv_call *call) {
    atomic_fetch_add(&call->refs, 1);
    return call;
}

void srv_call_unref(srv_call *call) {
    if (atomic_fetch_sub(&call->refs, 1) != 1) return;
    pthread_mutex_destroy(&call->lock);
    pthread_cond_destroy(&call->news);
    json_decref(call->answer);
    free(call->events);
    free(call);
    atomic_fetch_sub(&n_live_calls, 1);
}

static void fake_answer(srv_call *call, unsigned status, json_t *body) {
    pthread_mutex_lock(&call->lock);
    if (call->status == 0 && !call->streams) {
        call->status = status;
        call->answer = body;
        body = NULL;
    }
    pthread_mutex_unlock(&call->lock);
    json_decref(body);
}

void srv_call_json(srv_call *call, unsigned status, json_t *body) {
    fake_answer(call, body != NULL ? status : 500, body);
}
void srv_call_fail(srv_call *call, const srv_failure *why) {
    call->retry_after_s = why->retry_after_s;
    fake_answer(call, why->status, srv_failure_json(why));
}
void srv_call_empty(srv_call *call, unsigned status) { fake_answer(call, status, NULL); }
void srv_call_stream(srv_call *call) {
    pthread_mutex_lock(&call->lock);
    call->streams = call->status == 0;
    pthread_mutex_unlock(&call->lock);
}

bool srv_call_event(srv_call *call, const char *event, json_t *body) {
    char *data = json_dumps(body, JSON_COMPACT);
    json_decref(body);
    pthread_mutex_lock(&call->lock);
    const bool taken = data != NULL && call->streams && !call->full && !call->gone && !call->ended;
    if (taken) {
        const size_t cap = strlen(event) + strlen(data) + 32;
        call->events = realloc(call->events, call->n_events + cap);
        call->n_events += (size_t)snprintf(call->events + call->n_events, cap,
                                           "event: %s\ndata: %s\n\n", event, data);
    }
    pthread_cond_broadcast(&call->news);
    pthread_mutex_unlock(&call->lock);
    free(data);
    return taken;
}

size_t srv_call_waiting(srv_call *call) {
    pthread_mutex_lock(&call->lock);
    const size_t bytes = call->full ? 1 << 20 : 0;
    pthread_mutex_unlock(&call->lock);
    return bytes;
}

void srv_call_end(srv_call *call) {
    pthread_mutex_lock(&call->lock);
    call->ended = true;
    pthread_cond_broadcast(&call->news);
    pthread_mutex_unlock(&call->lock);
}

void srv_call_on_gone(srv_call *call, void (*fn)(void *user), void *user) {
    pthread_mutex_lock(&call->lock);
    while (call->on_gone_runs) pthread_cond_wait(&call->news, &call->lock);
    const bool now = fn != NULL && call->gone;
    call->on_gone = now ? NULL : fn;
    call->on_gone_user = user;
    pthread_mutex_unlock(&call->lock);
    if (now) fn(user);
}

// The client hangs up.
static void fake_hang_up(srv_call *call) {
    pthread_mutex_lock(&call->lock);
    void (*fn)(void *) = call->gone || call->ended ? NULL : call->on_gone;
    call->gone = true;
    call->on_gone = NULL;
    call->on_gone_runs = fn != NULL;
    pthread_mutex_unlock(&call->lock);
    if (fn == NULL) return;
    fn(call->on_gone_user);
    pthread_mutex_lock(&call->lock);
    call->on_gone_runs = false;
    pthread_cond_broadcast(&call->news);
    pthread_mutex_unlock(&call->lock);
}

// --- what a client does --------------------------------------------------------------------------

static srv_call *fake_call(const char *tail, const char *body) {
    srv_call *call = calloc(1, sizeof *call);
    *call = (srv_call){.tail = tail, .body = body != NULL ? body : ""};
    atomic_init(&call->refs, 1);
    pthread_mutex_init(&call->lock, NULL);
    pthread_cond_init(&call->news, NULL);
    atomic_fetch_add(&n_live_calls, 1);
    return call;
}

// One whole call; *answer, if it is not NULL, is to be released.
static inline unsigned ask(void (*handle)(srv_call *), const char *id, const char *body,
                           json_t **answer) {
    srv_call *call = fake_call(id, body);
    handle(call);
    const unsigned status = call->status;
    if (answer != NULL) *answer = json_incref(call->answer);
    srv_call_unref(call);
    return status;
}

// A new session; its id into out.
static inline unsigned begin_typing(const char *body, char out[40]) {
    json_t *answer = NULL;
    const unsigned status = ask(srv_handle_typing_new, "", body, &answer);
    const char *id = json_string_value(json_object_get(answer, "id"));
    snprintf(out, 40, "%s", id != NULL ? id : "");
    json_decref(answer);
    return status;
}

static inline srv_call *open_stream(const char *id) {
    srv_call *call = fake_call(id, "");
    srv_handle_typing_events(call);
    return call;
}

// The text on both sides of the caret; the revision.
static inline uint64_t type_text(const char *id, const char *before, const char *after) {
    json_t *sides = json_pack("{s:s, s:s}", "before", before, "after", after), *answer = NULL;
    char *body = json_dumps(sides, 0);
    const unsigned status = ask(srv_handle_typing_edit, id, body, &answer);
    const uint64_t revision = (uint64_t)json_integer_value(json_object_get(answer, "revision"));
    json_decref(sides);
    json_decref(answer);
    free(body);
    return status == 200 ? revision : 0;
}

// Data of the stream's event number i, with its name; NULL: there is none. To be released.
static inline json_t *event_at(srv_call *call, size_t i, char name[32]) {
    pthread_mutex_lock(&call->lock);
    char *copy = call->events != NULL ? strndup(call->events, call->n_events) : strdup("");
    pthread_mutex_unlock(&call->lock);
    char *at = copy;
    while (i > 0 && at != NULL) {
        at = strstr(at, "\n\n");
        if (at != NULL) at += 2;
        i--;
    }
    json_t *data = NULL;
    char *line = at != NULL ? strstr(at, "\ndata: ") : NULL;
    if (line != NULL && sscanf(at, "event: %31s", name) == 1) {
        char *end = strstr(line, "\n\n");
        data = json_loadb(line + 7, (size_t)(end - line - 7), 0, NULL);
    }
    free(copy);
    return data;
}

static inline size_t count_events(srv_call *call) {
    char name[32];
    size_t n = 0;
    for (json_t *data; (data = event_at(call, n, name)) != NULL; n++) json_decref(data);
    return n;
}

// Waits for a suggestion of this revision that is done. To be released.
static inline json_t *await_done(srv_call *call, uint64_t revision) {
    for (size_t i = 0;;) {
        char name[32];
        json_t *data = event_at(call, i, name);
        if (data == NULL) {
            pthread_mutex_lock(&call->lock);
            const size_t seen = call->n_events;
            pthread_mutex_unlock(&call->lock);
            data = event_at(call, i, name);
            pthread_mutex_lock(&call->lock);
            while (data == NULL && call->n_events == seen && !call->ended)
                pthread_cond_wait(&call->news, &call->lock);
            const bool ended = call->ended && call->n_events == seen;
            pthread_mutex_unlock(&call->lock);
            if (data == NULL && ended) return NULL;
            if (data == NULL) continue;
        }
        i++;
        const bool found =
            strcmp(name, "suggestion") == 0 && json_is_true(json_object_get(data, "done")) &&
            (uint64_t)json_integer_value(json_object_get(data, "revision")) == revision;
        if (found) return data;
        json_decref(data);
    }
}

// The name of the last event, and its reason if it has one.
static inline void last_event(srv_call *call, char name[32], char reason[32]) {
    const size_t n = count_events(call);
    name[0] = reason[0] = 0;
    if (n == 0) return;
    json_t *data = event_at(call, n - 1, name);
    const char *why = json_string_value(json_object_get(data, "reason"));
    snprintf(reason, 32, "%s", why != NULL ? why : "");
    json_decref(data);
}

// --- the model -----------------------------------------------------------------------------------

static inline int fixture_begin(void **state) {
    (void)state;
    ink_service_options o;
    ink_service_options_init(&o, sizeof o);
    o.n_clients = 256;
    fake_model = (srv_model){.app = &fake_app, .id = (char *)(uintptr_t) "story"};
    fake_app.options.n_typing = 64;
    fake_app.models = &fake_model;
    fake_app.n_models = 1;
    if (ink_service_new(&fake_model.service, &o, NULL) != INK_OK) return 1;
    if (ink_service_wait(fake_model.service, UINT32_MAX, NULL) != INK_OK) return 1;
    return srv_typings_new(&fake_app.typings, &fake_app, NULL) != INK_OK;
}

static inline int fixture_end(void **state) {
    (void)state;
    srv_typings_free(fake_app.typings);
    return ink_service_free(fake_model.service) != INK_OK || atomic_load(&n_live_calls) != 0;
}

#endif
