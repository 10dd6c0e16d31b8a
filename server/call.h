// SPDX-License-Identifier: MIT
// One HTTP exchange. A handler gets a call on the HTTP thread when its request is complete; it must
// not wait there. It answers before it returns, or keeps a reference and answers later from any
// thread. All functions here may be called from any thread unless they say otherwise; the first
// answer counts, later ones are passed over. No function here calls back.
#ifndef SERVER_CALL_H
#define SERVER_CALL_H

#include "server/failure.h"

#include <stddef.h>
#include <stdint.h>

typedef struct srv_call srv_call;
struct srv_app;

// What was asked. Borrowed as long as a reference is held, unless it says otherwise.
struct srv_app *srv_call_app(const srv_call *call);
const char *srv_call_method(const srv_call *call);
// The part of the path that stands for {id} in the route, percent-decoded ("a%2Fb" is "a/b"); "".
const char *srv_call_tail(const srv_call *call);
const char *srv_call_path(const srv_call *call);
const char *srv_call_id(const srv_call *call);  // the value of x-request-id, "req_…"
double srv_call_begun_ms(const srv_call *call); // srv_now_ms() when the request head was read
const char *srv_call_body(const srv_call *call, size_t *bytes);
// Only in the handler, on the HTTP thread. NULL: there is no such header.
const char *srv_call_header(const srv_call *call, const char *name);

srv_call *srv_call_ref(srv_call *call);
void srv_call_unref(srv_call *call); // without an answer by then: 500

// --- whole answers -------------------------------------------------------------------------------

// body: the reference is taken over; NULL: 500 (no memory).
void srv_call_json(srv_call *call, unsigned status, json_t *body);
// The same with a Retry-After header.
void srv_call_json_later(srv_call *call, unsigned status, json_t *body, unsigned retry_after_s);
// Into a stream that has begun: an event with the error object, then its end.
void srv_call_fail(srv_call *call, const srv_failure *why);
// bytes are copied.
void srv_call_text(srv_call *call, unsigned status, const char *type, const char *text,
                   size_t bytes);
// data: static memory. With an ETag; a request that has it already gets 304. csp: the
// Content-Security-Policy, NULL: none.
void srv_call_static(srv_call *call, const char *type, const void *data, size_t bytes,
                     const char *etag, const char *csp);
void srv_call_empty(srv_call *call, unsigned status);

// --- streamed answers ----------------------------------------------------------------------------

// Begins an answer of type text/event-stream. Comment lines are put between events while nothing is
// written for a while.
void srv_call_stream(srv_call *call);
// Appends whole events ("data: …\n\n"); they are copied and sent as soon as the client takes them.
// False: it is gone, or has let 1 MiB wait; nothing more need be written.
bool srv_call_write(srv_call *call, const char *events, size_t bytes);
// "data: <body as one line>\n\n"; event NULL, or its name. body: the reference is taken over.
bool srv_call_event(srv_call *call, const char *event, json_t *body);
// Bytes that the client has not taken yet.
size_t srv_call_waiting(srv_call *call);
void srv_call_end(srv_call *call);

// --- hanging up ----------------------------------------------------------------------------------

// Whether the client has hung up, or shut its side down. Asks the socket: use it between tokens.
bool srv_call_is_gone(srv_call *call);
// fn is called once, on the HTTP or the housekeeping thread and with no lock held, when the client
// hangs up before the answer is complete; at once (on this thread) if it has already. The call
// holds no reference for user: srv_call_on_gone(call, NULL, NULL) takes it back, and returns when
// no fn runs any more (not from inside fn, nor with a lock held that fn takes).
void srv_call_on_gone(srv_call *call, void (*fn)(void *user), void *user);

#endif
