// SPDX-License-Identifier: MIT
// The stream of a typing session: what is suggested, as it changes.
#include "server/typing_sessions.h"

#include <stdlib.h>
#include <string.h>

// --- events --------------------------------------------------------------------------------------

// So much of the stream may wait for its client before the newest suggestion waits here instead.
enum { WAITING_BYTES = 4096 };

static json_t *text_json(const ink_suggestion *s) { return json_stringn(s->text, s->bytes); }

static json_t *alternatives_json(srv_typing *session, const ink_suggestion *best) {
    json_t *list = json_array();
    if (best->bytes > 0) json_array_append_new(list, text_json(best));
    for (uint32_t i = 1; i < session->n_alternatives; i++) {
        ink_suggestion s = {.size = sizeof s};
        if (ink_typing_suggestion(session->typing, i, &s) == INK_OK && s.bytes > 0)
            json_array_append_new(list, text_json(&s));
    }
    return list;
}

// Why it ended. What until asks for is complete: the engine counts that as asked for by a callback.
static json_t *stop_json(const ink_suggestion *s) {
    if (!s->done) return json_null();
    return json_string(s->stop == INK_STOP_CALLBACK ? "unit" : ink_stop_name(s->stop));
}

static json_t *suggestion_json(srv_typing *session, const ink_suggestion *s) {
    json_t *body = json_object();
    json_object_set_new(body, "revision", json_integer((json_int_t)s->revision));
    json_object_set_new(body, "text", text_json(s));
    json_object_set_new(body, "done", json_boolean(s->done));
    json_object_set_new(body, "stop", stop_json(s));
    json_object_set_new(body, "alternatives", alternatives_json(session, s));
    json_object_set_new(body, "n_tokens", json_integer(s->n_tokens));
    json_object_set_new(body, "n_prompt", json_integer(s->n_prompt));
    json_object_set_new(body, "n_prompt_evaluated", json_integer(s->n_prompt_evaluated));
    json_object_set_new(body, "n_evaluated", json_integer(s->n_evaluated));
    json_object_set_new(body, "first_token_ms", json_real(s->first_token_ms));
    json_object_set_new(body, "total_ms", json_real(s->total_ms));
    if (json_object_size(body) == 11) return body;
    json_decref(body); // some of it had no memory
    return NULL;
}

// The session goes on: the next text may fare better.
static void send_failure(srv_typing *session, const ink_suggestion *s) {
    srv_failure why;
    srv_fail_status(&why, (ink_status)s->status, NULL);
    srv_call_event(session->stream->call, "error", srv_failure_json(&why));
}

// An event is the state as it is, and the next one replaces it: to a client that reads slower than
// its user types only the newest is sent, when it has taken what is on its way.
static void send_suggestion(srv_typing *session, const ink_suggestion *s) {
    srv_call *call = session->stream->call;
    const bool waits = srv_call_waiting(call) > WAITING_BYTES;
    json_t *body = waits ? NULL : suggestion_json(session, s);
    session->behind = body == NULL;
    if (body != NULL && srv_call_event(call, "suggestion", body))
        atomic_fetch_add(&session->model->app->metrics.suggestions, 1);
}

void srv_typing_suggested(void *user, ink_typing *typing, const ink_suggestion *suggestion) {
    srv_typing *session = user;
    ink_suggestion now = {.size = sizeof now};
    pthread_mutex_lock(&session->lock);
    // The text may have changed while the lock was waited for: then this one is of no use.
    if (session->stream != NULL && ink_typing_suggestion(typing, 0, &now) == INK_OK &&
        now.revision == suggestion->revision) {
        send_suggestion(session, &now);
        if (now.status != INK_OK) send_failure(session, &now);
    }
    pthread_mutex_unlock(&session->lock);
}

// What the session has come to, if anything.
static void send_state(srv_typing *session) {
    ink_suggestion now = {.size = sizeof now};
    if (ink_typing_suggestion(session->typing, 0, &now) != INK_OK) return;
    if (now.revision > 0 && (now.bytes > 0 || now.done)) send_suggestion(session, &now);
}

void srv_typing_catch_up(srv_typing *session) {
    if (session->stream == NULL || !session->behind) return;
    session->behind = false;
    send_state(session);
}

// --- beginning and end ---------------------------------------------------------------------------

void srv_typing_stream_end(srv_typing_stream *stream, const char *reason) {
    srv_call_on_gone(stream->call, NULL, NULL);
    srv_call_event(stream->call, "closed", json_pack("{s:s}", "reason", reason));
    srv_call_end(stream->call);
    srv_call_unref(stream->call);
    srv_typing_unref(stream->session);
    free(stream);
}

// The client of a stream has hung up. Where the session has it no more, or not yet, somebody else
// looks after it and waits for the end of this function.
static void stream_gone(void *user) {
    srv_typing_stream *stream = user;
    srv_typing *session = stream->session;
    pthread_mutex_lock(&session->lock);
    const bool mine = session->stream == stream;
    stream->gone = true;
    if (mine) {
        session->stream = NULL;
        session->touched_ms = srv_now_ms();
    }
    pthread_mutex_unlock(&session->lock);
    if (!mine) return;
    srv_call_end(stream->call);
    srv_call_unref(stream->call);
    srv_typing_unref(session);
    free(stream);
}

// Under the lock. Takes the old stream out, false: the session is over, or the client is gone.
static bool take_place(srv_typing *session, srv_typing_stream *stream, srv_typing_stream **old) {
    if (session->over || stream->gone) return false;
    *old = session->stream;
    session->stream = stream;
    session->behind = false;
    ink_suggestion now = {.size = sizeof now};
    ink_typing_suggestion(session->typing, 0, &now);
    srv_call_stream(stream->call);
    srv_call_event(stream->call, "ready", json_pack("{s:I}", "revision", (json_int_t)now.revision));
    send_state(session);
    return true;
}

bool srv_typing_attach(srv_typing *session, srv_call *call, srv_failure *why) {
    srv_typing_stream *stream = calloc(1, sizeof *stream);
    if (stream == NULL) return srv_fail_status(why, INK_E_NOMEM, NULL);
    atomic_fetch_add(&session->refs, 1);
    *stream = (srv_typing_stream){.call = srv_call_ref(call), .session = session};
    // Before the session has it: behind that somebody else may end and free it at any time.
    srv_call_on_gone(call, stream_gone, stream);
    srv_typing_stream *old = NULL;
    pthread_mutex_lock(&session->lock);
    const bool taken = take_place(session, stream, &old);
    pthread_mutex_unlock(&session->lock);
    if (old != NULL) srv_typing_stream_end(old, "replaced");
    if (taken) return true;
    srv_call_on_gone(call, NULL, NULL);
    srv_call_unref(call);
    srv_typing_unref(session);
    free(stream);
    return srv_typing_missing(why);
}
