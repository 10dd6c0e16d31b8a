// SPDX-License-Identifier: MIT
// Which handler a request goes to.
#ifndef SERVER_ROUTE_H
#define SERVER_ROUTE_H

#include "server/call.h"

typedef struct srv_route {
    const char *method;
    const char *path; // "{id}" stands for one part of it, as it was sent (before percent-decoding)
    void (*handle)(srv_call *call);
    bool open; // without a key
} srv_route;

// NULL: none; *methods is then the Allow header if the path is known with other methods, else NULL.
// tail: where "{id}" begins in path and its length.
const srv_route *srv_route_find(const char *method, const char *path, const char **tail,
                                size_t *tail_bytes, const char **methods);

// The handlers, each in the file of its name.
void srv_handle_page(srv_call *call);          // page.c: GET / and its files
void srv_handle_health(srv_call *call);        // health.c: GET /health
void srv_handle_metrics(srv_call *call);       // metrics.c: GET /metrics
void srv_handle_models(srv_call *call);        // models.c: GET /v1/models
void srv_handle_model(srv_call *call);         // models.c: GET /v1/models/{id}
void srv_handle_completions(srv_call *call);   // completions.c: POST /v1/completions
void srv_handle_chat(srv_call *call);          // completions.c: POST /v1/chat/completions
void srv_handle_embeddings(srv_call *call);    // embeddings.c: POST /v1/embeddings
void srv_handle_tokenize(srv_call *call);      // token_calls.c: POST /tokenize
void srv_handle_detokenize(srv_call *call);    // token_calls.c: POST /detokenize
void srv_handle_typing_new(srv_call *call);    // typing_calls.c: POST /v1/typing
void srv_handle_typing_edit(srv_call *call);   // POST /v1/typing/{id}
void srv_handle_typing_delete(srv_call *call); // DELETE /v1/typing/{id}
void srv_handle_typing_events(srv_call *call); // GET /v1/typing/{id}/events
void srv_handle_typing_accept(srv_call *call); // POST /v1/typing/{id}/accept
void srv_handle_typing_undo(srv_call *call);   // POST /v1/typing/{id}/undo
void srv_handle_typing_retry(srv_call *call);  // POST /v1/typing/{id}/retry
void srv_handle_typing_reject(srv_call *call); // POST /v1/typing/{id}/reject

#endif
