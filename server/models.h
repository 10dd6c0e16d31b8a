// SPDX-License-Identifier: MIT
// The models that are served: each has a service of the engine and slots for its requests.
#ifndef SERVER_MODELS_H
#define SERVER_MODELS_H

#include "server/failure.h"

#include <stdatomic.h>

struct srv_app;
struct srv_slots;
struct srv_grammars;

typedef struct srv_model {
    struct srv_app *app;
    char *id;                // as clients name it
    ink_service *service;    // opens its model in the background
    struct srv_slots *slots; // jobs.h
    struct srv_grammars *grammars;
    double opened_ms;      // srv_now_ms() when it was asked to open
    atomic_size_t longest; // bytes of its longest token, once somebody has asked; 0: nobody has
} srv_model;

// Makes app->models [n_models] from app->options; all begin to open.
ink_status srv_models_start(struct srv_app *app, ink_error *error);
void srv_models_close(struct srv_app *app); // cancels all that runs
void srv_models_free(struct srv_app *app);

// id NULL or "": the default one. NULL: 404 model_not_found in *why.
srv_model *srv_models_find(struct srv_app *app, const char *id, srv_failure *why);
// The open model, borrowed as long as the app is. NULL: 503 with Retry-After while it opens, 500
// with the reason where it could not be opened.
ink_model *srv_model_open(srv_model *model, srv_failure *why);
uint32_t srv_model_n_ctx(const srv_model *model); // of a request; 0 while it is not open
// Of an open model: whether no text of so many bytes can fit into a context. For that no text needs
// to be tokenized, which is work of whole threads where others wait.
bool srv_model_outgrown(srv_model *model, size_t bytes);

#endif
