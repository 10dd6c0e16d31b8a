// SPDX-License-Identifier: MIT
// The table of typing sessions: who is in it, who has to leave, and when.
#include "server/typing_sessions.h"

#include "server/http.h"

#include <stdlib.h>
#include <string.h>

static const double idle_ms = 60000, crowded_ms = 10000;

ink_status srv_typings_new(srv_typings **out, srv_app *app, ink_error *error) {
    srv_typings *t = calloc(1, sizeof *t);
    if (t == NULL || pthread_mutex_init(&t->lock, NULL) != 0) {
        free(t);
        if (error != NULL)
            *error = (ink_error){.size = sizeof *error,
                                 .status = INK_E_NOMEM,
                                 .message = "no memory for the typing sessions"};
        return INK_E_NOMEM;
    }
    t->app = app;
    t->idle_ms = idle_ms;
    t->crowded_ms = crowded_ms;
    *out = t;
    return INK_OK;
}

uint32_t srv_typings_n(const srv_typings *typings) {
    if (typings == NULL) return 0;
    srv_typings *t = (srv_typings *)typings; // for its lock
    pthread_mutex_lock(&t->lock);
    const uint32_t n = t->n;
    pthread_mutex_unlock(&t->lock);
    return n;
}

// --- one session ---------------------------------------------------------------------------------

srv_typing *srv_typing_make(srv_model *model, const ink_typing_options *options, srv_failure *why) {
    srv_typing *s = calloc(1, sizeof *s);
    if (s == NULL || pthread_mutex_init(&s->lock, NULL) != 0) {
        free(s);
        srv_fail_status(why, INK_E_NOMEM, NULL);
        return NULL;
    }
    atomic_init(&s->refs, 1);
    s->model = model;
    s->n_alternatives = options->n_alternatives;
    s->touched_ms = srv_now_ms();
    srv_new_id(s->id, sizeof s->id, "typ_");
    ink_typing_options o = *options;
    o.on_suggestion = srv_typing_suggested;
    o.user = s;
    ink_error error = {0};
    const ink_status status = ink_service_typing(model->service, &s->typing, &o, &error);
    if (status == INK_OK) return s;
    srv_fail_status(why, status, &error);
    srv_typing_unref(s);
    return NULL;
}

// The session of the engine goes first: it waits until the worker is not inside of it, and only
// then nobody can reach this memory any more.
void srv_typing_unref(srv_typing *s) {
    if (atomic_fetch_sub(&s->refs, 1) != 1) return;
    ink_typing_free(s->typing);
    pthread_mutex_destroy(&s->lock);
    free(s->text);
    free(s);
}

// It is out of the table: nothing is attached to it any more.
static void end_session(srv_typing *s, const char *reason) {
    pthread_mutex_lock(&s->lock);
    srv_typing_stream *stream = s->stream;
    s->over = true;
    s->stream = NULL;
    pthread_mutex_unlock(&s->lock);
    if (stream != NULL) srv_typing_stream_end(stream, reason);
}

// How long it has had neither stream nor call; under 0: it has a stream.
static double idle_since(srv_typing *s, double now_ms) {
    pthread_mutex_lock(&s->lock);
    const double ms = s->stream != NULL ? -1 : now_ms - s->touched_ms;
    pthread_mutex_unlock(&s->lock);
    return ms;
}

// --- the table -----------------------------------------------------------------------------------

bool srv_typing_missing(srv_failure *why) {
    return srv_fail(why, 404, "invalid_request_error", "typing_not_found",
                    "There is no such typing session. One without a stream that gets no call for a "
                    "minute is gone; begin another with POST /v1/typing.");
}

// Takes what stands at *place out, with the table's reference. Under the lock.
static srv_typing *unlink_session(srv_typings *t, srv_typing **place) {
    srv_typing *s = *place;
    *place = s->next;
    s->next = NULL;
    t->n--;
    return s;
}

// The one of the model that has been idle longest, if that is over limit_ms. Under the lock.
static srv_typing **most_idle(srv_typings *t, const srv_model *model, double limit_ms,
                              double now_ms) {
    srv_typing **found = NULL;
    double longest = limit_ms;
    for (srv_typing **p = &t->list; *p != NULL; p = &(*p)->next) {
        if (model != NULL && (*p)->model != model) continue;
        const double idle = idle_since(*p, now_ms);
        if (idle < longest) continue;
        longest = idle;
        found = p;
    }
    return found;
}

bool srv_typings_room(srv_typings *t, const srv_model *model, srv_failure *why) {
    const uint32_t most = t->app->options.n_typing;
    srv_typing *leaves = NULL;
    uint32_t n = 0;
    pthread_mutex_lock(&t->lock);
    const bool closing = t->closing;
    for (srv_typing *s = t->list; s != NULL; s = s->next) n += s->model == model;
    if (n >= most) {
        srv_typing **place = most_idle(t, model, t->crowded_ms, srv_now_ms());
        if (place != NULL) leaves = unlink_session(t, place);
    }
    pthread_mutex_unlock(&t->lock);
    if (leaves != NULL) {
        end_session(leaves, "expired");
        srv_typing_unref(leaves);
    }
    if (closing) return srv_fail_stopping(why);
    if (n < most || leaves != NULL) return true;
    srv_fail(why, 429, "rate_limit_error", "typing_sessions_full",
             "The model has %u typing sessions, which is the most. End one, or try again later.",
             (unsigned)most);
    why->retry_after_s = (unsigned)(t->crowded_ms / 1000) + 1;
    return false;
}

bool srv_typings_add(srv_typings *t, srv_typing *session, srv_failure *why) {
    pthread_mutex_lock(&t->lock);
    const bool closing = t->closing;
    if (!closing) {
        atomic_fetch_add(&session->refs, 1);
        session->next = t->list;
        t->list = session;
        t->n++;
    }
    pthread_mutex_unlock(&t->lock);
    return closing ? srv_fail_stopping(why) : true;
}

srv_typing *srv_typings_find(srv_typings *t, const char *id, srv_failure *why) {
    pthread_mutex_lock(&t->lock);
    srv_typing *s = t->list;
    while (s != NULL && strcmp(s->id, id) != 0) s = s->next;
    if (s != NULL) {
        atomic_fetch_add(&s->refs, 1);
        pthread_mutex_lock(&s->lock);
        s->touched_ms = srv_now_ms();
        pthread_mutex_unlock(&s->lock);
    }
    pthread_mutex_unlock(&t->lock);
    if (s == NULL) srv_typing_missing(why);
    return s;
}

bool srv_typings_remove(srv_typings *t, srv_typing *session, const char *reason) {
    pthread_mutex_lock(&t->lock);
    srv_typing **p = &t->list;
    while (*p != NULL && *p != session) p = &(*p)->next;
    const bool found = *p != NULL;
    if (found) unlink_session(t, p);
    pthread_mutex_unlock(&t->lock);
    if (!found) return false;
    end_session(session, reason);
    srv_typing_unref(session);
    return true;
}

// --- time, and the end ---------------------------------------------------------------------------

void srv_typings_tick(srv_app *app) {
    srv_typings *t = app->typings;
    if (t == NULL) return;
    srv_typing *expired = NULL;
    const double now_ms = srv_now_ms();
    pthread_mutex_lock(&t->lock);
    for (srv_typing **p = &t->list; *p != NULL;) {
        srv_typing *s = *p;
        if (idle_since(s, now_ms) >= t->idle_ms) {
            unlink_session(t, p);
            s->next = expired;
            expired = s;
            continue;
        }
        pthread_mutex_lock(&s->lock);
        srv_typing_catch_up(s);
        pthread_mutex_unlock(&s->lock);
        p = &s->next;
    }
    pthread_mutex_unlock(&t->lock);
    while (expired != NULL) {
        srv_typing *next = expired->next;
        end_session(expired, "expired");
        srv_typing_unref(expired);
        expired = next;
    }
}

void srv_typings_close(srv_typings *t) {
    if (t == NULL) return;
    pthread_mutex_lock(&t->lock);
    srv_typing *list = t->list;
    t->list = NULL;
    t->n = 0;
    t->closing = true;
    pthread_mutex_unlock(&t->lock);
    while (list != NULL) {
        srv_typing *next = list->next;
        end_session(list, "stopping");
        srv_typing_unref(list);
        list = next;
    }
}

void srv_typings_free(srv_typings *t) {
    if (t == NULL) return;
    srv_typings_close(t);
    pthread_mutex_destroy(&t->lock);
    free(t);
}
