// SPDX-License-Identifier: MIT
// A service from inside: one lock, one worker, clients with their requests, typing sessions.
//
// Everything here is behind the service's lock, but for what belongs to who holds a client
// (ink_client.held): its session, and the run, the result and the error of its requests. The lock
// is never held while something is evaluated or the host is called; a callback may come back in.
#ifndef INKI_SERVICE_PARTS_H
#define INKI_SERVICE_PARTS_H

#include "engine/generate_run.h"
#include "engine/prefix_cache.h"
#include "os/lock.h"
#include "typing/typing.h"

enum { INKI_SERVICE_STACK_BYTES = 1 << 20 };

// A ring of members, whose first field is the link; `ring` itself is the head.
typedef struct inki_link {
    struct inki_link *previous, *next;
} inki_link;
static inline void inki_link_add(inki_link *ring, inki_link *link) { // as the last one
    *link = (inki_link){ring->previous, ring};
    link->previous->next = link->next->previous = link;
}
static inline void inki_link_remove(const inki_link *link) {
    link->previous->next = link->next;
    link->next->previous = link->previous;
}

// --- requests ------------------------------------------------------------------------------------

typedef enum inki_phase {
    INKI_QUEUED,    // nothing was done for it
    INKI_READY,     // its run says what to evaluate next
    INKI_EVALUATED, // that is done: the run shall choose and speak
    INKI_OVER       // POLL: what is left is to tell the host
} inki_phase;

// POLL: pieces of text for the host, as deliver.c lays them out.
typedef struct inki_pieces {
    uint8_t *data;
    size_t used, cap;
} inki_pieces;

typedef struct inki_request {
    struct inki_request *next; // of the same client, submitted later
    ink_client *client;
    uint64_t id;
    uint32_t priority;
    double submitted_ms;
    inki_phase phase;
    atomic_uint interrupt; // why it shall end: 1 + INK_STOP_*; 0: it shall not. Read in evaluations
    size_t block_bytes;    // of this struct, with the copies below behind it
    const char *text;      // [bytes]
    size_t bytes;
    const char *chain; // NULL: the default
    ink_sampler_options sampling;
    ink_generate_options generate;
    ink_sampler *sampler; // NULL: not made yet
    inki_run run;
    bool has_run;
    ink_span span;         // READY: what the run wants
    ink_status evaluation; // EVALUATED: what became of its first n_evaluated tokens
    uint32_t n_evaluated;
    double begun_ms;     // 0: not yet
    inki_pieces written; // POLL: by the worker
    inki_pieces told;    // POLL: on their way to the host
    bool mute;           // POLL: the host wants no more of it
    bool lost;           // POLL: there was no memory for a piece
    ink_status status;
    ink_result result;
    float *embedding; // [result.n_embedding] NULL: none was asked for
    ink_error error;
} inki_request;

// A copy of all that *from points to. Errors: those of ink_client_submit that the request alone can
// show.
ink_status inki_request_new(inki_request **out, ink_client *client, const ink_request *from,
                            ink_error *error);
void inki_request_free(inki_request *request); // its run is over, or never began

// By who holds the client. Each returns the phase that the request is in now; OVER: status, result
// and error say how it ended.
inki_phase inki_request_begin(inki_request *request);
inki_phase inki_request_advance(inki_request *request); // EVALUATED
// Ends it where it is. silent: without the text that it still holds back.
void inki_request_stop(inki_request *request, uint32_t why, bool silent);
void inki_request_fail(inki_request *request, ink_status status, const ink_error *error);

// --- clients and typing sessions -----------------------------------------------------------------

struct ink_client {
    inki_link link;
    ink_service *service; // a reference
    ink_client_options o;
    ink_session_options session_options;
    inki_adapters adapters; // session_options.adapters
    ink_session *session;   // NULL: not made yet, or given back
    // What was the past of a session that was given back, for a request that goes on from there.
    ink_token *past; // [n_past]
    uint32_t n_past;
    uint64_t n_forgotten;
    inki_request *first, *last; // in order of submission; gone when on_done has begun
    bool held;                  // the worker works with it
    uintptr_t caller;           // the thread that is in a callback of it; 0: none
    bool leaving;               // ink_client_free has been called
    uint32_t trim;              // INK_TRIM_* that waits for the end of its request; 0: none
    uint64_t round;             // of ink_service_poll that has been here
};

typedef struct inki_typist {
    inki_link link;
    ink_service *service; // a reference
    ink_typing *typing;
    bool grown; // POLL: there may be a suggestion to tell
    uint32_t trim;
    uint64_t round;
} inki_typist;

// --- the service ---------------------------------------------------------------------------------

struct ink_service {
    inki_lock lock;
    atomic_uint refs; // the handle, the clients, the typing sessions
    inki_mem mem;
    int64_t pid; // of the process whose worker it is
    ink_runtime *runtime;
    ink_model *model;         // NULL: not open
    ink_prefix_cache *prefix; // of clients that bring none; NULL: none
    ink_service_options o;
    ink_source source;
    char *name; // [name_bytes] of the source
    size_t name_bytes;
    ink_model_options model_options;
    inki_thread worker;
    atomic_uintptr_t worker_self; // 0: not begun
    bool worker_gone;
    bool resting; // the worker waits for something to do
    bool joining; // a thread waits for the worker's end
    uint32_t n_waiting;
    uint32_t state;
    ink_error reason;           // FAILED: why; written once
    uint32_t untold;            // states that on_state has yet to hear, 1 << INK_SERVICE_*
    inki_link clients, typists; // in the order in which they are served next
    inki_typist *stepping;      // by the worker
    inki_typist *telling;       // by who runs callbacks
    uint32_t n_members;         // clients and typing sessions
    uint32_t n_queued;
    uint64_t n_requests;         // so far: the next id
    uint32_t n_threads, percent; // the pace
    double pause_until;          // ms; no evaluation begins before
    uintptr_t poller;            // the thread in ink_service_poll; 0: none
    bool due;                    // something came up since the poller looked
    bool woken;                  // the host has been told so
    uint64_t round;
    // [o.n_batch] What one pass evaluates.
    inki_request **batch;
    ink_span *spans;
    ink_error pass_error;
};

// In a forked child there is no worker, and whoever held the lock holds it for ever.
static inline bool inki_service_is_orphan(const ink_service *s) { return s->pid != inki_os_pid(); }
// Where memory of an orphan may be released: nobody was at work when the process forked.
bool inki_service_was_idle(ink_service *service);
void inki_service_unref(ink_service *service);
void inki_service_main(void *service); // the worker

// The lock is held by the caller of everything below, and again at the return.

// The first reason counts.
void inki_request_interrupt(inki_request *request, uint32_t why);
bool inki_service_calls_me(const ink_service *service); // this thread is inside a callback
// The first request that is not over; NULL: none.
inki_request *inki_client_active(const ink_client *client);
void inki_client_let_go(ink_client *client); // no longer held

// Evaluates spans of service->batch [n] together, the lock not held: every request then has its
// evaluation.
void inki_service_evaluate(ink_service *service, uint32_t n);

void inki_service_pause(ink_service *service, double spent_ms); // after an evaluation: the pace
// One evaluation for a typing session that has work. False: none has.
bool inki_service_step_typing(ink_service *service);

// Callbacks.
void inki_service_due(ink_service *service);                        // POLL: something is to be told
int inki_service_take_piece(void *request, const ink_piece *piece); // a run's; the lock not held
// The request is over: tells the host and forgets it, or leaves that to the poller.
void inki_service_retire(ink_service *service, inki_request *request);
// on_done on this thread: the request is gone then.
void inki_service_tell_done(ink_service *service, inki_request *request);
void inki_service_tell_states(ink_service *service);
uint32_t inki_service_tell_typing(ink_service *service); // POLL: what has grown
uint32_t inki_service_tell_due(ink_service *service); // one round; returns how many callbacks ran

void inki_service_drop_sessions(ink_service *service); // the worker is gone
// Nobody works with the client, and none of its requests has begun.
bool inki_client_is_idle(const ink_client *client);
// Gives back memory of an idle client. Returns the bytes.
uint64_t inki_client_trim(ink_client *client, uint32_t level);
// Makes a session for the request, where the client has none, with the past it had. Lock not held.
ink_status inki_client_need_session(ink_client *client, bool fresh, ink_error *error);

#endif
