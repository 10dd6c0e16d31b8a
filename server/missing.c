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
MISSING(srv_handle_health)
MISSING(srv_handle_metrics)
MISSING(srv_handle_models)
MISSING(srv_handle_model)
MISSING(srv_handle_completions)
MISSING(srv_handle_chat)
MISSING(srv_handle_embeddings)
MISSING(srv_handle_tokenize)
MISSING(srv_handle_detokenize)
MISSING(srv_handle_typing_new)
MISSING(srv_handle_typing_edit)
MISSING(srv_handle_typing_delete)
MISSING(srv_handle_typing_events)
MISSING(srv_handle_typing_accept)
MISSING(srv_handle_typing_undo)
MISSING(srv_handle_typing_retry)
MISSING(srv_handle_typing_reject)
WEAK void srv_jobs_tick(srv_app *app) { (void)app; }
WEAK void srv_typings_tick(srv_app *app) { (void)app; }
WEAK void srv_metrics_answer(srv_metrics *m, unsigned status, double ms) {
    (void)m, (void)status, (void)ms;
}
WEAK void srv_metrics_result(srv_metrics *m, const ink_result *r, double waited_ms) {
    (void)m, (void)r, (void)waited_ms;
}
WEAK ink_status srv_models_start(srv_app *app, ink_error *error) {
    (void)app, (void)error;
    return INK_OK;
}
WEAK void srv_models_close(srv_app *app) { (void)app; }
WEAK void srv_models_free(srv_app *app) { (void)app; }
WEAK ink_status srv_typings_new(srv_typings **out, srv_app *app, ink_error *error) {
    (void)out, (void)app, (void)error;
    return INK_OK;
}
WEAK void srv_typings_close(srv_typings *t) { (void)t; }
WEAK void srv_typings_free(srv_typings *t) { (void)t; }
WEAK uint32_t srv_typings_n(const srv_typings *t) {
    (void)t;
    return 0;
}
