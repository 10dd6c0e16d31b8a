// SPDX-License-Identifier: MIT
// The HTTP server: OpenAI's interface, a typing interface and the demo page over services of the
// engine. What a program needs to run one; everything else in this folder is private to it.
#ifndef SERVER_SERVER_H
#define SERVER_SERVER_H

#include "inkling/inkling.h"

#include <stdbool.h>

typedef struct srv_app srv_app;

typedef struct srv_model_option {
    const char *source; // a path, or "builtin:NAME"
    const char *id;     // as clients name it; NULL: the file's name without folder and ".gguf"
    // A model in memory, [bytes] that stay as long as the app; `source` is then only what it is
    // called. NULL: it is what `source` says.
    const void *data;
    size_t bytes;
} srv_model_option;

typedef struct srv_options {
    const char *address;            // to listen on, numeric: "127.0.0.1"
    uint16_t port;                  // 8080; 0: any free one
    const srv_model_option *models; // [n_models] the first is the default; the built-in model is
    size_t n_models;                // added behind them, if it is not among them
    const char *const *keys;        // [n_keys] any of them opens the door; none: it is open
    size_t n_keys;
    const char *const *origins; // [n_origins] "https://example.org": whose pages may call
    size_t n_origins;
    uint32_t n_threads;          // 0: one for each processor
    uint32_t n_ctx;              // positions of each request; 0: as the model has
    uint32_t kv_type;            // INK_KV_*
    uint64_t prefix_cache_bytes; // 64 MB: of beginnings that a model's requests share; 0: none
    uint32_t n_parallel;         // requests of a model decoded together: 8, at most 64
    uint32_t n_queue;            // requests of a model that may wait for their turn: 256
    uint32_t n_typing;           // typing sessions of a model: 64
    size_t max_body_bytes;       // 4 MiB
    uint32_t n_connections;      // 1024; the one that idles longest gives way to a new one
    uint32_t header_ms;          // 10000: within which a connection must bring a whole request head
    uint32_t body_ms;            // 60000: and then its body
    uint32_t drain_ms;           // 10000: given to what runs when the server stops
    void (*log)(void *user, const char *line); // one line without newline, any thread; NULL: none
    void *log_user;
    bool verbose; // also what went well: a line for each answer (method, path, status, time, id)
} srv_options;
void srv_options_init(srv_options *options);

// Listens, and opens the models behind that; returns at once. *out is to be stopped and freed.
// Errors: INK_E_ARG (address, an id twice, an option out of range), INK_E_SYSTEM (the port is in
// use, no sockets), INK_E_NOMEM, and what ink_service_new says.
ink_status srv_start(srv_app **out, const srv_options *options, ink_error *error);
uint16_t srv_port(const srv_app *app);
// Waits until every model is open or could not be opened; what failed first. A server with a model
// that failed goes on for the others.
ink_status srv_wait(srv_app *app, ink_error *error);
// Drains: new requests get 503, those that run have drain_ms, then they are cancelled. Returns when
// the last answer is out or the time is over. From any thread but a callback's.
void srv_stop(srv_app *app);
// The time of a srv_stop that runs, or is to come, is over at once. From any thread.
void srv_hurry(srv_app *app);
void srv_free(srv_app *app); // NULL is allowed; stops it first

#endif
