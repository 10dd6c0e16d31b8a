// SPDX-License-Identifier: MIT
// What the handlers share: the options, the models, the figures. Filled by srv_start and not
// changed while calls come; what changes is inside the parts, each with its own lock.
#ifndef SERVER_APP_H
#define SERVER_APP_H

#include "server/call.h"
#include "server/metrics.h"
#include "server/models.h"
#include "server/server.h"

#include <stdatomic.h>

typedef struct srv_http srv_http;
typedef struct srv_typings srv_typings;

struct srv_app {
    srv_options options; // what it points to is copied
    void *options_copy;  // where
    srv_model *models;   // [n_models]
    size_t n_models;
    srv_metrics metrics;
    srv_typings *typings;
    srv_http *http;
    atomic_bool draining;
    int64_t started; // seconds since 1970
};

// typing_sessions.c: an empty table; ending what is open (their streams are told); the end of it.
ink_status srv_typings_new(srv_typings **out, srv_app *app, ink_error *error);
void srv_typings_close(srv_typings *typings);
void srv_typings_free(srv_typings *typings); // NULL is allowed
uint32_t srv_typings_n(const srv_typings *typings);

double srv_now_ms(void);     // monotonic
int64_t srv_unix_time(void); // seconds since 1970
// A random id, "prefix" and 24 letters and digits, into out [cap].
void srv_new_id(char *out, size_t cap, const char *prefix);
void srv_log(const srv_app *app, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
