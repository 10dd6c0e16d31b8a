// SPDX-License-Identifier: MIT
// The calls on a typing session: edits, accepting and refusing, its stream, its end.
#include "server/json_in.h"
#include "server/route.h"
#include "server/typing_sessions.h"

#include <stdlib.h>
#include <string.h>

// --- what calls have in common -------------------------------------------------------------------

// The session of a call and its body as an object; none: an empty one.
typedef struct request {
    srv_call *call;
    srv_failure why;
    srv_typing *session;
    json_t *object;
    srv_in in;
} request;

static const char *const none[] = {NULL};

static bool begin_request(request *r, srv_call *call, const char *const *known) {
    memset(r, 0, sizeof *r);
    r->call = call;
    size_t bytes = 0;
    const char *body = srv_call_body(call, &bytes);
    r->session = srv_typings_find(srv_call_app(call)->typings, srv_call_tail(call), &r->why);
    if (r->session == NULL) return false;
    r->object = bytes > 0 ? srv_in_object(body, bytes, &r->why) : json_object();
    if (r->object == NULL)
        return r->why.status != 0 ? false : srv_fail_status(&r->why, INK_E_NOMEM, NULL);
    r->in = (srv_in){.object = r->object, .why = &r->why};
    srv_in_only(&r->in, known, none, none);
    return !r->in.failed;
}

// answer NULL: the failure is told, or that there was no memory for the answer.
static void end_request(request *r, json_t *answer) {
    if (answer == NULL && r->why.status != 0)
        srv_call_fail(r->call, &r->why);
    else
        srv_call_json(r->call, 200, answer);
    json_decref(r->object);
    if (r->session != NULL) srv_typing_unref(r->session);
}

// Under the lock.
static uint64_t revision_of(srv_typing *s) {
    ink_suggestion now = {.size = sizeof now};
    return ink_typing_suggestion(s->typing, 0, &now) == INK_OK ? now.revision : 0;
}

static json_t *revision_json(uint64_t revision) {
    return json_pack("{s:I}", "revision", (json_int_t)revision);
}

// --- text ----------------------------------------------------------------------------------------

// UTF-16 code units of whole characters: two for those of four bytes.
static size_t n_units(const char *text, size_t bytes) {
    size_t n = 0;
    for (size_t i = 0; i < bytes; i++) {
        const unsigned char c = (unsigned char)text[i];
        n += (size_t)((c & 0xc0) != 0x80) + (size_t)(c >= 0xf0);
    }
    return n;
}

// Room for the text of an edit, before the engine makes it: behind that nothing may fail.
static bool text_room(srv_typing *s, size_t bytes, srv_failure *why) {
    if (bytes <= s->text_cap) return true;
    char *text = realloc(s->text, bytes);
    if (text == NULL) return srv_fail_status(why, INK_E_NOMEM, NULL);
    s->text = text;
    s->text_cap = bytes;
    return true;
}

// Does in our copy what the engine did, and tells it in the units of browsers.
static json_t *edit_json(srv_typing *s, const ink_edit *edit) {
    const size_t at = n_units(s->text, edit->at);
    const size_t n_removed = n_units(s->text + edit->at, edit->n_removed);
    const size_t end = edit->at + edit->n_removed;
    memmove(s->text + edit->at + edit->bytes, s->text + end, s->n_text - end);
    memcpy(s->text + edit->at, edit->text, edit->bytes);
    s->n_text += edit->bytes - edit->n_removed;
    return json_pack("{s:I, s:I, s:I, s:s%}", "revision", (json_int_t)edit->revision, "at",
                     (json_int_t)at, "n_removed", (json_int_t)n_removed, "text", edit->text,
                     edit->bytes);
}

// --- POST /v1/typing/{id} ------------------------------------------------------------------------

typedef struct both_sides {
    const char *before, *after;
    size_t n_before, n_after;
} both_sides;

static bool read_sides(request *r, both_sides *out) {
    *out = (both_sides){.before = "", .after = ""};
    const bool there = srv_in_text(&r->in, "before", &out->before, &out->n_before);
    srv_in_text(&r->in, "after", &out->after, &out->n_after);
    if (r->in.failed) return false;
    if (!there)
        return srv_refuse(&r->why, "before", "before is missing: the text before the caret.");
    if (out->n_before + out->n_after > SRV_TYPING_TEXT_BYTES)
        return srv_refuse(&r->why, out->n_before >= out->n_after ? "before" : "after",
                          "The text has %zu bytes; the most on both sides of the caret is %d. Send "
                          "what is near the caret.",
                          out->n_before + out->n_after, SRV_TYPING_TEXT_BYTES);
    return true;
}

// Under the lock. A listed phrase is no mistake of the client's, whose user types on: that text is
// a revision like others, and has no suggestion.
static json_t *update(srv_typing *s, const both_sides *sides, srv_failure *why) {
    const size_t bytes = sides->n_before + sides->n_after;
    char *text = malloc(bytes + 1);
    if (text == NULL) {
        srv_fail_status(why, INK_E_NOMEM, NULL);
        return NULL;
    }
    memcpy(text, sides->before, sides->n_before);
    memcpy(text + sides->n_before, sides->after, sides->n_after);
    uint64_t revision = 0;
    ink_error error = {0};
    const ink_status status =
        ink_typing_update(s->typing, text, bytes, sides->n_before, &revision, &error);
    if (status == INK_OK) {
        free(s->text);
        s->text = text;
        s->n_text = bytes;
        s->text_cap = bytes + 1;
        return revision_json(revision);
    }
    free(text);
    if (status == INK_E_FILTERED)
        return json_pack("{s:I, s:b}", "revision", (json_int_t)revision_of(s), "filtered", 1);
    srv_fail_status(why, status, &error);
    return NULL;
}

void srv_handle_typing_edit(srv_call *call) {
    static const char *const known[] = {"before", "after", NULL};
    request r;
    both_sides sides;
    json_t *answer = NULL;
    if (begin_request(&r, call, known) && read_sides(&r, &sides)) {
        pthread_mutex_lock(&r.session->lock);
        answer = update(r.session, &sides, &r.why);
        pthread_mutex_unlock(&r.session->lock);
        atomic_fetch_add(&srv_call_app(call)->metrics.typing_updates, 1);
    }
    end_request(&r, answer);
}

// --- accept and undo -----------------------------------------------------------------------------

static void *edit_failed(srv_failure *why, ink_status status, const ink_error *error,
                         const char *code, const char *message) {
    if (status == INK_E_STALE)
        srv_fail(why, 409, "invalid_request_error", "stale", "%s.", error->message);
    else if (status == INK_E_NOT_FOUND)
        srv_fail(why, 404, "invalid_request_error", code, "%s", message);
    else
        srv_fail_status(why, status, error);
    return NULL;
}

// The text comes from the client, but only what the engine has itself suggested is taken: it looks
// for a suggestion that begins with it.
static bool read_shown(request *r, ink_suggestion *shown, uint32_t *unit) {
    static const char *const units[] = {"word", "line", "all", NULL};
    *shown = (ink_suggestion){.size = sizeof *shown};
    const bool revision = srv_in_uint(&r->in, "revision", 0, INT64_MAX, &shown->revision);
    const bool text = srv_in_text(&r->in, "text", &shown->text, &shown->bytes);
    srv_in_choice(&r->in, "unit", units, unit);
    if (r->in.failed) return false;
    if (!revision)
        return srv_refuse(&r->why, "revision", "revision is missing: that of the suggestion.");
    if (!text) return srv_refuse(&r->why, "text", "text is missing: the suggestion as shown.");
    if (shown->bytes > SRV_TYPING_TEXT_BYTES)
        return srv_refuse(&r->why, "text", "text has %zu bytes; no suggestion is that long.",
                          shown->bytes);
    return true;
}

static json_t *accept_shown(srv_typing *s, const ink_suggestion *shown, uint32_t unit,
                            srv_failure *why) {
    ink_edit edit = {.size = sizeof edit};
    ink_error error = {0};
    if (!text_room(s, s->n_text + shown->bytes, why)) return NULL;
    const ink_status status = ink_typing_accept(s->typing, shown, unit, &edit, &error);
    if (status == INK_OK) return edit_json(s, &edit);
    return edit_failed(why, status, &error, "nothing_to_accept",
                       "No suggestion for this text begins with that.");
}

void srv_handle_typing_accept(srv_call *call) {
    static const char *const known[] = {"revision", "text", "unit", NULL};
    request r;
    ink_suggestion shown;
    uint32_t unit = INK_ACCEPT_ALL;
    json_t *answer = NULL;
    if (begin_request(&r, call, known) && read_shown(&r, &shown, &unit)) {
        pthread_mutex_lock(&r.session->lock);
        answer = accept_shown(r.session, &shown, unit, &r.why);
        pthread_mutex_unlock(&r.session->lock);
    }
    end_request(&r, answer);
}

static json_t *undo(srv_typing *s, srv_failure *why) {
    ink_edit edit = {.size = sizeof edit};
    ink_error error = {0};
    const ink_status status = ink_typing_undo(s->typing, &edit, &error);
    if (status == INK_OK) return edit_json(s, &edit);
    return edit_failed(why, status, &error, "nothing_to_undo",
                       "No accepted suggestion stands in the text any more.");
}

static json_t *retry(srv_typing *s, srv_failure *why) {
    uint64_t revision = 0;
    ink_error error = {0};
    const ink_status status = ink_typing_retry(s->typing, &revision, &error);
    if (status == INK_OK) return revision_json(revision);
    if (status != INK_E_LIMIT)
        return edit_failed(why, status, &error, "nothing_to_retry",
                           "Nothing is suggested that there could be another for.");
    srv_fail(why, 409, "invalid_request_error", "too_many_retries", "%s.", error.message);
    return NULL;
}

static json_t *reject(srv_typing *s, srv_failure *why) {
    uint64_t revision = 0;
    ink_error error = {0};
    const ink_status status = ink_typing_reject(s->typing, &revision, &error);
    if (status == INK_OK) return revision_json(revision);
    srv_fail_status(why, status, &error);
    return NULL;
}

// Calls without anything in their bodies.
static void plain_call(srv_call *call, json_t *(*fn)(srv_typing *session, srv_failure *why)) {
    request r;
    json_t *answer = NULL;
    if (begin_request(&r, call, none)) {
        pthread_mutex_lock(&r.session->lock);
        answer = fn(r.session, &r.why);
        pthread_mutex_unlock(&r.session->lock);
    }
    end_request(&r, answer);
}

void srv_handle_typing_undo(srv_call *call) { plain_call(call, undo); }

void srv_handle_typing_retry(srv_call *call) { plain_call(call, retry); }

void srv_handle_typing_reject(srv_call *call) { plain_call(call, reject); }

// --- stream and end ------------------------------------------------------------------------------

void srv_handle_typing_events(srv_call *call) {
    srv_failure why = {0};
    srv_typing *session = srv_typings_find(srv_call_app(call)->typings, srv_call_tail(call), &why);
    const bool asks =
        strcmp(srv_call_method(call), "HEAD") == 0; // and must not take a stream's place
    if (session != NULL && asks)
        srv_call_empty(call, 200);
    else if (session == NULL || !srv_typing_attach(session, call, &why))
        srv_call_fail(call, &why);
    if (session != NULL) srv_typing_unref(session);
}

void srv_handle_typing_delete(srv_call *call) {
    srv_failure why = {0};
    srv_typings *typings = srv_call_app(call)->typings;
    srv_typing *session = srv_typings_find(typings, srv_call_tail(call), &why);
    if (session == NULL) {
        srv_call_fail(call, &why);
        return;
    }
    if (srv_typings_remove(typings, session, "deleted"))
        srv_call_empty(call, 204);
    else if (!srv_typing_missing(&why))
        srv_call_fail(call, &why);
    srv_typing_unref(session);
}
