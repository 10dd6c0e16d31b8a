// SPDX-License-Identifier: MIT
// Typing sessions behind HTTP: a table of them, and the stream of each. Private to
// server/typing_*.c and their tests.
//
// Threads: calls come on the HTTP thread, suggestions on the worker of the model's service, time on
// the housekeeping thread, hang-ups on either of the first and the last. A session has one lock,
// taken inside the table's and outside of those of calls and of the engine; it is not held where
// srv_call_on_gone may call back or wait, nor around ink_typing_free, which waits for a layer.
#ifndef SERVER_TYPING_SESSIONS_H
#define SERVER_TYPING_SESSIONS_H

#include "server/app.h"

#include <pthread.h>

// A call that gets the events. Who takes it out of its session, under the lock, ends it.
typedef struct srv_typing_stream {
    srv_call *call;             // a reference
    struct srv_typing *session; // a reference
    bool gone;                  // the client hung up before it was the session's
} srv_typing_stream;

typedef struct srv_typing {
    struct srv_typing *next; // of the table
    char id[40];
    srv_model *model;
    uint32_t n_alternatives;
    ink_typing *typing; // freed with the last reference
    atomic_uint refs;   // the table, calls under way, the stream; on_suggestion needs none
    pthread_mutex_t lock;
    // Under the lock.
    char *text; // [n_text] what the engine's session holds, to count in it what browsers count
    size_t n_text, text_cap;
    srv_typing_stream *stream; // NULL: none
    bool behind;               // the stream did not take the newest suggestion
    bool over;                 // it is in the table no more
    double touched_ms;         // of the last call, or of the end of the last stream
} srv_typing;

struct srv_typings {
    srv_app *app;
    pthread_mutex_t lock;
    srv_typing *list;
    uint32_t n;
    bool closing;
    double idle_ms;    // without stream and call: it ends
    double crowded_ms; // the same, where another one wants its place
};

// The most text in a session, in bytes: both sides of the caret together.
enum { SRV_TYPING_TEXT_BYTES = 1 << 20 };

// --- typing_sessions.c: the table ----------------------------------------------------------------

// Whether the model may have one more; the one that is idle longest gives way to it. False: 429, or
// 503 while the server stops.
bool srv_typings_room(srv_typings *typings, const srv_model *model, srv_failure *why);
// An empty session with a reference for the caller, in no table yet. NULL: refused.
srv_typing *srv_typing_make(srv_model *model, const ink_typing_options *options, srv_failure *why);
// Into the table, with a reference of its own. False: the server stops.
bool srv_typings_add(srv_typings *typings, srv_typing *session, srv_failure *why);
// With a reference, and marked as used. NULL: 404.
srv_typing *srv_typings_find(srv_typings *typings, const char *id, srv_failure *why);
// Out of the table; its stream is told the reason. False: somebody else has done it.
bool srv_typings_remove(srv_typings *typings, srv_typing *session, const char *reason);
void srv_typing_unref(srv_typing *session);
bool srv_typing_missing(srv_failure *why); // 404, returns false

// --- typing_stream.c: the events -----------------------------------------------------------------

// ink_typing_options.on_suggestion, user: the session.
void srv_typing_suggested(void *user, ink_typing *typing, const ink_suggestion *suggestion);
// The call becomes the session's stream and takes the place of the one before. False: refused.
bool srv_typing_attach(srv_typing *session, srv_call *call, srv_failure *why);
// Ends a stream that was taken out of its session. No lock held.
void srv_typing_stream_end(srv_typing_stream *stream, const char *reason);
// Under the lock: tries again to send what the stream did not take.
void srv_typing_catch_up(srv_typing *session);

#endif
