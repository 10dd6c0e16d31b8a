// SPDX-License-Identifier: MIT
#include "server/server.h"

#include "server/app.h"
#include "server/http_private.h"
#include "server/models.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <time.h>

enum {
    MAX_PARALLEL = 64,
    MAX_TYPING = 4096,
    RESERVED_FILES = 160,  // models, sockets that linger, those between two connections
    LAST_ANSWERS_MS = 1000 // for what cancelled requests have to say
};

ink_status srv_error(ink_error *error, ink_status status, const char *where, const char *format,
                     ...) {
    va_list args;
    va_start(args, format);
    error->status = status;
    error->offset = 0;
    snprintf(error->where, sizeof error->where, "%s", where);
    vsnprintf(error->message, sizeof error->message, format, args);
    va_end(args);
    return status;
}

double srv_now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec * 1e-6;
}

int64_t srv_unix_time(void) { return (int64_t)time(NULL); }

void srv_new_id(char *out, size_t cap, const char *prefix) {
    static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    unsigned char bytes[24];
    size_t n = 0;
    while (n < sizeof bytes) {
        const ssize_t got = getrandom(bytes + n, sizeof bytes - n, 0);
        if (got > 0) n += (size_t)got;
        if (got < 0 && errno != EINTR) break;
    }
    char text[sizeof bytes + 1];
    for (size_t i = 0; i < sizeof bytes; i++) text[i] = digits[i < n ? bytes[i] % 62 : 0];
    text[sizeof bytes] = 0;
    snprintf(out, cap, "%s%s", prefix, text);
}

void srv_log(const srv_app *app, const char *format, ...) {
    if (app->options.log == NULL) return;
    char line[512];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    app->options.log(app->options.log_user, line);
}

void srv_options_init(srv_options *options) {
    *options = (srv_options){.address = "127.0.0.1",
                             .port = 8080,
                             .kv_type = INK_KV_F16,
                             .prefix_cache_bytes = 64000000,
                             .n_parallel = 8,
                             .n_queue = 256,
                             .n_typing = 64,
                             .max_body_bytes = (size_t)4 << 20,
                             .n_connections = 1024,
                             .header_ms = 10000,
                             .body_ms = 60000,
                             .drain_ms = 10000};
}

// --- options -------------------------------------------------------------------------------------

static ink_status out_of_range(ink_error *error, const char *name, unsigned low, unsigned high,
                               size_t value) {
    return srv_error(error, INK_E_ARG, name, "%s: expected %u to %u, got %zu", name, low, high,
                     value);
}

// As browsers send it: nothing behind the port.
static bool is_origin(const char *text) {
    const char *name = strstr(text, "://");
    if (name == NULL || name == text) return false;
    name += 3;
    return name[0] != 0 && name[strcspn(name, "/?#*@ \t\r\n")] == 0;
}

static ink_status check_options(const srv_options *o, ink_error *error) {
    if (o->address == NULL)
        return srv_error(error, INK_E_ARG, "address", "address: expected one, got none");
    if (o->n_parallel < 1 || o->n_parallel > MAX_PARALLEL)
        return out_of_range(error, "n_parallel", 1, MAX_PARALLEL, o->n_parallel);
    if (o->n_typing > MAX_TYPING)
        return out_of_range(error, "n_typing", 0, MAX_TYPING, o->n_typing);
    if (o->n_queue > 1u << 20) return out_of_range(error, "n_queue", 0, 1u << 20, o->n_queue);
    if (o->n_connections < 1 || o->n_connections > 1u << 20)
        return out_of_range(error, "n_connections", 1, 1u << 20, o->n_connections);
    if (o->max_body_bytes < 1 || o->max_body_bytes > 1u << 30)
        return out_of_range(error, "max_body_bytes", 1, 1u << 30, o->max_body_bytes);
    for (size_t i = 0; i < o->n_keys; i++)
        if (o->keys[i] == NULL || o->keys[i][0] == 0)
            return srv_error(error, INK_E_ARG, "keys", "API key %zu is empty", i + 1);
    for (size_t i = 0; i < o->n_origins; i++)
        if (o->origins[i] == NULL || !is_origin(o->origins[i]))
            return srv_error(error, INK_E_ARG, "origins",
                             "origin: expected one like https://example.org, got \"%.100s\"",
                             o->origins[i] != NULL ? o->origins[i] : "");
    for (size_t i = 0; i < o->n_models; i++)
        if (o->models[i].source == NULL)
            return srv_error(error, INK_E_ARG, "models", "model %zu has no source", i + 1);
    return INK_OK;
}

// Everything that the options point to goes into one block: first the arrays, then the text.
typedef struct block {
    char *at; // NULL: only counts
    size_t bytes;
} block;

static char *put_text(block *b, const char *text) {
    if (text == NULL) return NULL;
    const size_t bytes = strlen(text) + 1;
    char *place = b->at != NULL ? b->at + b->bytes : NULL;
    if (place != NULL) memcpy(place, text, bytes);
    b->bytes += bytes;
    return place;
}

static void *put_array(block *b, size_t n, size_t item_bytes) {
    void *place = b->at != NULL ? b->at + b->bytes : NULL;
    b->bytes += n * item_bytes;
    return place;
}

static void put_options(block *b, const srv_options *from, srv_options *to) {
    srv_model_option *models = put_array(b, from->n_models, sizeof *models);
    const char **keys = put_array(b, from->n_keys, sizeof *keys),
               **origins = put_array(b, from->n_origins, sizeof *origins);
    srv_model_option model;
    *to = *from;
    to->address = put_text(b, from->address);
    for (size_t i = 0; i < from->n_models; i++) {
        model = from->models[i];
        model.source = put_text(b, from->models[i].source);
        model.id = put_text(b, from->models[i].id);
        if (models != NULL) models[i] = model;
    }
    for (size_t i = 0; i < from->n_keys; i++) {
        const char *key = put_text(b, from->keys[i]);
        if (keys != NULL) keys[i] = key;
    }
    for (size_t i = 0; i < from->n_origins; i++) {
        const char *origin = put_text(b, from->origins[i]);
        if (origins != NULL) origins[i] = origin;
    }
    to->models = models;
    to->keys = keys;
    to->origins = origins;
}

static bool copy_options(srv_app *app, const srv_options *options) {
    srv_options unused;
    block b = {0};
    put_options(&b, options, &unused);
    app->options_copy = malloc(b.bytes + 1);
    if (app->options_copy == NULL) return false;
    b = (block){.at = app->options_copy};
    put_options(&b, options, &app->options);
    return true;
}

// Each connection needs a number from the system.
static void fit_connections(srv_app *app) {
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur == RLIM_INFINITY) return;
    const uint64_t most = files.rlim_cur > 2 * RESERVED_FILES ? files.rlim_cur - RESERVED_FILES
                                                              : files.rlim_cur / 2 + 1;
    if (app->options.n_connections <= most) return;
    srv_log(app, "%llu connections at most, as many as the limit of open files allows",
            (unsigned long long)most);
    app->options.n_connections = (uint32_t)most;
}

// --- start and end -------------------------------------------------------------------------------

ink_status srv_start(srv_app **out, const srv_options *options, ink_error *error) {
    ink_error unused = {0};
    if (error == NULL) error = &unused;
    if (out == NULL || options == NULL) return srv_error(error, INK_E_ARG, "", "NULL");
    ink_status status = check_options(options, error);
    if (status != INK_OK) return status;
    srv_app *app = calloc(1, sizeof *app);
    if (app == NULL || !copy_options(app, options)) {
        free(app);
        return srv_error(error, INK_E_NOMEM, "", "out of memory");
    }
    app->started = srv_unix_time();
    fit_connections(app);
    // The port first: that another program has it is known at once, and for nothing.
    status = srv_http_new(app, error);
    if (status == INK_OK) status = srv_models_start(app, error);
    if (status == INK_OK) status = srv_typings_new(&app->typings, app, error);
    if (status == INK_OK) status = srv_http_start(app->http, error);
    if (status != INK_OK) {
        srv_free(app);
        return status;
    }
    *out = app;
    return INK_OK;
}

uint16_t srv_port(const srv_app *app) { return srv_http_port(app->http); }

ink_status srv_wait(srv_app *app, ink_error *error) {
    ink_status first = INK_OK;
    for (size_t i = 0; i < app->n_models; i++) {
        ink_error own = {0};
        const ink_status status = ink_service_wait(app->models[i].service, UINT32_MAX, &own);
        if (status == INK_OK || first != INK_OK) continue;
        first = status;
        if (error != NULL) *error = own;
    }
    return first;
}

void srv_hurry(srv_app *app) {
    atomic_store(&app->http->hurried, true);
    pthread_mutex_lock(&app->http->lock);
    pthread_cond_broadcast(&app->http->changed);
    pthread_mutex_unlock(&app->http->lock);
}

void srv_stop(srv_app *app) {
    srv_http *http = app->http;
    if (http == NULL) return;
    pthread_mutex_lock(&http->stop_lock);
    if (!http->stopped) {
        atomic_store(&app->draining, true);
        srv_http_quiesce(http);
        if (app->typings != NULL) srv_typings_close(app->typings);
        srv_http_wait_calls(http, srv_now_ms() + app->options.drain_ms);
        if (app->models != NULL) srv_models_close(app);
        srv_http_wait_calls(http, srv_now_ms() + LAST_ANSWERS_MS);
        http->stopped = true;
    }
    pthread_mutex_unlock(&http->stop_lock);
}

void srv_free(srv_app *app) {
    if (app == NULL) return;
    srv_stop(app);
    srv_http_free(app->http);
    srv_typings_free(app->typings);
    srv_models_free(app);
    free(app->options_copy);
    free(app);
}
