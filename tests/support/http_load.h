// SPDX-License-Identifier: MIT
// Many HTTP clients on one thread: each has a connection and sends request after request. For the
// tests of the server under load and for bench/serve.
#ifndef TESTS_HTTP_LOAD_H
#define TESTS_HTTP_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct load_request {
    const char *method; // "POST"
    const char *path;
    const char *body; // [bytes] borrowed until `done` is called for it; NULL: none
    size_t bytes;
    bool fresh;              // on a new connection; else on the last one, if that is still open
    unsigned hang_up_events; // hang up behind that many events with text; 0: never
} load_request;

// What came back. Times are milliseconds of load_now_ms.
typedef struct load_answer {
    unsigned status;                   // 0: nothing came
    bool complete;                     // to its end, a stream to its "[DONE]"
    bool stream;                       // of events
    bool failed_event;                 // an event with an error object
    unsigned n_events;                 // with text in them
    unsigned n_tokens;                 // "completion_tokens" of its usage; 0: not told
    double begun_ms, first_ms, end_ms; // first: the first event with text; 0: none came
    const char *head;                  // its lines, with a 0 byte; "" where nothing came
    const char *body;                  // [bytes] and a 0 byte; without chunk sizes
    size_t bytes;
    const char *why; // what broke it off; NULL: nothing
} load_answer;

typedef struct load_plan {
    const char *address; // "127.0.0.1"
    uint16_t port;
    unsigned n_clients;
    // The client's request number `index`; false: it has none left. `client` counts from 0.
    bool (*next)(void *user, unsigned client, unsigned index, load_request *out);
    void (*done)(void *user, unsigned client, unsigned index, const load_answer *answer);
    void *user;
    unsigned patience_ms; // without a byte from anybody, after which it gives up; 0: 120000
} load_plan;

// Returns when no client has a request left. False: no sockets, no memory, or nothing has come for
// all the patience; told on standard error.
bool load_run(const load_plan *plan);

double load_now_ms(void); // monotonic

// A number behind "name": in JSON text, wherever it stands last; `missing` where it does not.
double load_number(const char *json, const char *name, double missing);
// The value of a header line in a head; false: there is none. out gets a 0 byte.
bool load_header(const char *head, const char *name, char *out, size_t cap);

#endif
