// SPDX-License-Identifier: MIT
// The models from the options: named, opened behind the server's start, listed.
#include "server/models.h"

#include "server/app.h"
#include "server/grammars.h"
#include "server/jobs.h"
#include "server/route.h"
#include "server/vector_out.h"

#include <stdlib.h>
#include <string.h>

#define BUILTIN_PREFIX "builtin:"
#define BUILTIN_SOURCE BUILTIN_PREFIX "story"

enum { N_ROWS = 64, N_SPARE = 16 };

static ink_status no_memory(ink_error *error) {
    *error = (ink_error){.size = sizeof *error, .status = INK_E_NOMEM};
    snprintf(error->message, sizeof error->message, "no memory for the models");
    return INK_E_NOMEM;
}

// --- names ---------------------------------------------------------------------------------------

static bool is_builtin(const char *source) {
    return strncmp(source, BUILTIN_PREFIX, strlen(BUILTIN_PREFIX)) == 0;
}

static const char *file_name(const char *source) {
    if (is_builtin(source)) return source + strlen(BUILTIN_PREFIX);
    const char *slash = strrchr(source, '/');
    return slash != NULL ? slash + 1 : source;
}

static char *make_id(const srv_model_option *option) {
    if (option->id != NULL) return strdup(option->id);
    const char *name = file_name(option->source);
    const size_t bytes = strlen(name), suffix = strlen(".gguf");
    const bool is_gguf = bytes > suffix && strcmp(name + bytes - suffix, ".gguf") == 0;
    return strndup(name, is_gguf ? bytes - suffix : bytes);
}

static ink_status check_id(const srv_app *app, size_t n, ink_error *error) {
    const char *id = app->models[n].id;
    const char *wrong = NULL;
    const bool is_text = srv_utf8_valid(id, strlen(id));
    if (id[0] == 0 || !is_text) wrong = "is empty or not UTF-8";
    for (size_t i = 0; i < n && wrong == NULL; i++)
        if (strcmp(app->models[i].id, id) == 0) wrong = "is there twice; each needs one of its own";
    if (wrong == NULL) return INK_OK;
    *error = (ink_error){.size = sizeof *error, .status = INK_E_ARG, .where = "models"};
    snprintf(error->message, sizeof error->message, "models: the name \"%.100s\" %s",
             is_text ? id : "?", wrong);
    return INK_E_ARG;
}

// Paths are the operator's business: of one in a message, clients see the file's name.
static void hide_folder(char *message, const char *source) {
    const char *name = file_name(source);
    const size_t source_bytes = strlen(source), name_bytes = strlen(name);
    if (is_builtin(source) || source_bytes == name_bytes) return;
    for (char *at = message; (at = strstr(at, source)) != NULL; at += name_bytes) {
        memmove(at, name, name_bytes);
        memmove(at + name_bytes, at + source_bytes, strlen(at + source_bytes) + 1);
    }
}

// --- opening -------------------------------------------------------------------------------------

static srv_model_option option_of(const srv_model *model) {
    const srv_app *app = model->app;
    const size_t i = (size_t)(model - app->models);
    return i < app->options.n_models ? app->options.models[i]
                                     : (srv_model_option){.source = BUILTIN_SOURCE};
}

static ink_source source_from(const srv_model_option *option) {
    ink_source source = {
        .size = sizeof source, .kind = INK_SOURCE_PATH, .name = option->source, .fd = -1};
    if (option->data != NULL) {
        source.kind = INK_SOURCE_MEMORY;
        source.data = option->data;
        source.bytes = option->bytes;
    } else if (is_builtin(option->source)) {
        source.kind = INK_SOURCE_BUILTIN;
        source.name = file_name(option->source);
    }
    return source;
}

static void told_state(void *user, uint32_t state, const ink_error *reason) {
    const srv_model *model = user;
    const double ms = srv_now_ms() - model->opened_ms;
    if (state == INK_SERVICE_READY && model->app->options.verbose)
        srv_log(model->app, "model \"%s\" is open after %.0f ms", model->id, ms);
    else if (state == INK_SERVICE_FAILED)
        srv_log(model->app, "model \"%s\" could not be opened: %s", model->id, reason->message);
}

static void told_log(void *user, int level, const char *message) {
    if (level <= INK_LOG_WARN) srv_log(user, "%s", message);
}

static ink_status start_service(srv_model *model, ink_error *error) {
    const srv_options *o = &model->app->options;
    const srv_model_option option = option_of(model);
    const ink_source source = source_from(&option);
    ink_runtime_options ro;
    ink_service_options so;
    ink_runtime_options_init(&ro, sizeof ro);
    ro.n_threads = o->n_threads;
    ro.allocator = &srv_counting_allocator;
    ro.log = told_log;
    ro.log_user = model->app;
    ink_service_options_init(&so, sizeof so);
    so.source = &source;
    so.runtime = &ro;
    so.n_queue = o->n_parallel + N_SPARE; // what waits, waits in the slots' queue
    so.n_clients = o->n_parallel + o->n_typing + 1;
    so.n_batch = o->n_parallel;
    so.n_rows = N_ROWS;
    so.prefix_cache_bytes = o->prefix_cache_bytes;
    so.on_state = told_state;
    so.user = model;
    model->opened_ms = srv_now_ms();
    return ink_service_new(&model->service, &so, error);
}

// The built-in model stands behind the others, where this build has one; alone it stands there in
// any case, and tells that there is none.
static bool wants_builtin(const srv_options *o) {
    for (size_t i = 0; i < o->n_models; i++)
        if (strcmp(o->models[i].source, BUILTIN_SOURCE) == 0 ||
            strcmp(o->models[i].source, BUILTIN_PREFIX) == 0)
            return false;
    const ink_source source = {
        .size = sizeof source, .kind = INK_SOURCE_BUILTIN, .name = "story", .fd = -1};
    ink_memory memory = {.size = sizeof memory};
    return o->n_models == 0 || ink_measure(&source, NULL, &memory, NULL) != INK_E_NOT_FOUND;
}

// An id that another model has already leaves the built-in one without a place.
static bool builtin_has_name(const srv_app *app, size_t n) {
    const srv_model_option story = {.source = BUILTIN_SOURCE};
    for (size_t i = 0; i < n; i++)
        if (strcmp(app->models[i].id, file_name(story.source)) == 0) return true;
    return false;
}

static ink_status add_model(srv_app *app, const srv_model_option *option, ink_error *error) {
    const srv_options *o = &app->options;
    srv_model *model = &app->models[app->n_models];
    *model = (srv_model){.app = app, .id = make_id(option)};
    if (model->id == NULL) return no_memory(error);
    ink_status status = check_id(app, app->n_models, error);
    if (status == INK_OK)
        status = srv_slots_new(&model->slots, model, o->n_parallel, o->n_queue, error);
    if (status == INK_OK) status = srv_grammars_new(&model->grammars, model, error);
    if (status == INK_OK) status = start_service(model, error);
    if (status == INK_OK) {
        app->n_models++;
        return INK_OK;
    }
    srv_grammars_free(model->grammars);
    srv_slots_free(model->slots);
    free(model->id);
    return status;
}

ink_status srv_models_start(srv_app *app, ink_error *error) {
    const srv_options *o = &app->options;
    ink_error own = {.size = sizeof own};
    if (error == NULL) error = &own;
    app->n_models = 0;
    app->models = calloc(o->n_models + 1, sizeof *app->models);
    if (app->models == NULL) return no_memory(error);
    ink_status status = INK_OK;
    for (size_t i = 0; i < o->n_models && status == INK_OK; i++)
        status = add_model(app, &o->models[i], error);
    const srv_model_option story = {.source = BUILTIN_SOURCE};
    if (status == INK_OK && wants_builtin(o) && !builtin_has_name(app, app->n_models))
        status = add_model(app, &story, error);
    if (status == INK_OK) return INK_OK;
    srv_models_close(app);
    srv_models_free(app);
    return status;
}

void srv_models_close(srv_app *app) {
    for (size_t i = 0; i < app->n_models; i++) {
        srv_grammars_close(app->models[i].grammars);
        srv_slots_close(app->models[i].slots);
        ink_service_close(app->models[i].service);
    }
}

void srv_models_free(srv_app *app) {
    for (size_t i = 0; i < app->n_models; i++) {
        srv_slots_free(app->models[i].slots);
        ink_service_free(app->models[i].service);
        srv_grammars_free(app->models[i].grammars);
        free(app->models[i].id);
    }
    free(app->models);
    app->models = NULL;
    app->n_models = 0;
}

// --- asking --------------------------------------------------------------------------------------

srv_model *srv_models_find(srv_app *app, const char *id, srv_failure *why) {
    if ((id == NULL || id[0] == 0) && app->n_models > 0) return &app->models[0];
    for (size_t i = 0; i < app->n_models; i++)
        if (strcmp(app->models[i].id, id) == 0) return &app->models[i];
    srv_fail(why, 404, "invalid_request_error", "model_not_found",
             "The model \"%.100s\" is not served here; GET /v1/models lists those that are.",
             id != NULL ? id : "");
    snprintf(why->param, sizeof why->param, "model");
    return NULL;
}

static uint32_t state_of(const srv_model *model, ink_error *reason) {
    const uint32_t state = ink_service_state(model->service, reason);
    if (state == INK_SERVICE_FAILED) hide_folder(reason->message, option_of(model).source);
    return state;
}

ink_model *srv_model_open(srv_model *model, srv_failure *why) {
    ink_error reason = {.size = sizeof reason};
    switch (state_of(model, &reason)) {
    case INK_SERVICE_READY: return ink_service_model(model->service);
    case INK_SERVICE_FAILED:
        srv_fail(why, 500, "server_error", "model_failed",
                 "The model \"%.80s\" could not be opened: %s", model->id, reason.message);
        return NULL;
    case INK_SERVICE_LOADING:
        srv_fail(why, 503, "server_error", "model_loading", "The model \"%.100s\" is being opened.",
                 model->id);
        why->retry_after_s = 1;
        return NULL;
    default: srv_fail_stopping(why); return NULL;
    }
}

uint32_t srv_model_n_ctx(const srv_model *model) {
    ink_model_info info = {.size = sizeof info};
    const uint32_t n_ctx = model->app->options.n_ctx;
    if (ink_model_get_info(ink_service_model(model->service), &info) != INK_OK) return 0;
    return n_ctx == 0 || n_ctx > info.n_ctx ? info.n_ctx : n_ctx;
}

static size_t longest_token(const ink_model *model, uint32_t n_vocab) {
    size_t longest = 1;
    for (uint32_t id = 0; id < n_vocab; id++) {
        const ink_token token = (ink_token)id;
        size_t bytes = 0;
        ink_detokenize(model, &token, 1, INK_DETOKENIZE_SPECIAL, NULL, 0, &bytes);
        if (bytes > longest) longest = bytes;
    }
    return longest;
}

bool srv_model_outgrown(srv_model *model, size_t bytes) {
    const ink_model *open = ink_service_model(model->service);
    const uint32_t n_ctx = srv_model_n_ctx(model);
    ink_model_info info = {.size = sizeof info};
    if (bytes <= n_ctx || ink_model_get_info(open, &info) != INK_OK) return false;
    size_t longest = atomic_load(&model->longest);
    if (longest == 0) {
        longest = longest_token(open, info.n_vocab);
        atomic_store(&model->longest, longest);
    }
    return bytes / longest > n_ctx;
}

// --- GET /v1/models ------------------------------------------------------------------------------

static json_t *describe_open(const srv_model *model) {
    ink_model_info info = {.size = sizeof info};
    if (ink_model_get_info(ink_service_model(model->service), &info) != INK_OK)
        return json_object();
    return json_pack("{s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:I}", "n_ctx",
                     (json_int_t)srv_model_n_ctx(model), "n_vocab", (json_int_t)info.n_vocab,
                     "n_embd", (json_int_t)info.n_embd, "n_params", (json_int_t)info.n_params,
                     "type", srv_json_lossy(info.type, strlen(info.type)), "architecture",
                     srv_json_lossy(info.architecture, strlen(info.architecture)), "license",
                     srv_json_lossy(info.license, strlen(info.license)), "file_bytes",
                     (json_int_t)info.file_bytes);
}

static json_t *describe(const srv_model *model) {
    static const char *const names[] = {"loading", "ready", "failed", "closed"};
    ink_error reason = {.size = sizeof reason};
    const uint32_t state = state_of(model, &reason);
    json_t *ours = state == INK_SERVICE_READY ? describe_open(model) : json_object();
    json_object_set_new(ours, "default", json_boolean(model == model->app->models));
    json_object_set_new(ours, "state", json_string(names[state]));
    if (state == INK_SERVICE_FAILED)
        json_object_set_new(ours, "reason", srv_json_lossy(reason.message, strlen(reason.message)));
    return json_pack("{s:s, s:s, s:I, s:s, s:o}", "id", model->id, "object", "model", "created",
                     (json_int_t)model->app->started, "owned_by", "inkling", "inkling", ours);
}

void srv_handle_models(srv_call *call) {
    const srv_app *app = srv_call_app(call);
    json_t *list = json_array();
    for (size_t i = 0; i < app->n_models; i++) {
        if (json_array_append_new(list, describe(&app->models[i])) == 0) continue;
        json_decref(list);
        list = NULL;
        break;
    }
    srv_call_json(call, 200, json_pack("{s:s, s:o}", "object", "list", "data", list));
}

void srv_handle_model(srv_call *call) {
    srv_failure why = {0};
    const char *id = srv_call_tail(call);
    const srv_model *model = srv_models_find(srv_call_app(call), id[0] != 0 ? id : "?", &why);
    if (model == NULL)
        srv_call_fail(call, &why);
    else
        srv_call_json(call, 200, describe(model));
}
