// SPDX-License-Identifier: MIT
// GET /health: whether the server can be given requests. Balancers and people ask without a key, so
// no path and no figure is in it.
#include "server/app.h"
#include "server/route.h"

static const char *state_name(uint32_t state) {
    static const char *const names[] = {"loading", "ready", "failed", "closed"};
    return state < sizeof names / sizeof *names ? names[state] : "closed";
}

static json_t *model_json(const srv_model *model) {
    ink_error reason = {.size = sizeof reason};
    const uint32_t state = ink_service_state(model->service, &reason);
    json_t *json = json_pack("{s:s, s:s}", "id", model->id, "state", state_name(state));
    if (state == INK_SERVICE_FAILED)
        json_object_set_new(json, "reason", json_string(ink_status_text(reason.status)));
    return json;
}

// The default model stands for the server: with it the others may still be opened, or have failed.
static const char *status_of(const srv_app *app) {
    if (atomic_load(&app->draining)) return "stopping";
    switch (app->n_models > 0 ? ink_service_state(app->models[0].service, NULL)
                              : (uint32_t)INK_SERVICE_CLOSED) {
    case INK_SERVICE_READY: return "ok";
    case INK_SERVICE_LOADING: return "loading";
    case INK_SERVICE_FAILED: return "failed";
    default: return "stopping";
    }
}

void srv_handle_health(srv_call *call) {
    const srv_app *app = srv_call_app(call);
    const char *status = status_of(app);
    json_t *models = json_array();
    for (size_t i = 0; i < app->n_models; i++)
        json_array_append_new(models, model_json(&app->models[i]));
    json_t *body = json_pack("{s:s, s:o}", "status", status, "models", models);
    if (status[0] == 'o')
        srv_call_json(call, 200, body);
    else
        srv_call_json_later(call, 503, body, status[0] == 'f' ? 0 : 1); // that stays so
}
