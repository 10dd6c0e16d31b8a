// SPDX-License-Identifier: MIT
// Stands in for parts that are being written; goes when they are there.
#include "server/app.h"
#include "server/http.h"
#include "server/jobs.h"
#include "server/route.h"

#define WEAK __attribute__((weak))
#define MISSING(name)                                                                              \
    WEAK void name(srv_call *call) { srv_call_empty(call, 501); }
MISSING(srv_handle_page)
MISSING(srv_handle_models)
MISSING(srv_handle_model)
MISSING(srv_handle_completions)
MISSING(srv_handle_chat)
MISSING(srv_handle_embeddings)
MISSING(srv_handle_tokenize)
MISSING(srv_handle_detokenize)
WEAK void srv_jobs_tick(srv_app *app) { (void)app; }
WEAK ink_status srv_models_start(srv_app *app, ink_error *error) {
    (void)app, (void)error;
    return INK_OK;
}
WEAK void srv_models_close(srv_app *app) { (void)app; }
WEAK void srv_models_free(srv_app *app) { (void)app; }
