// SPDX-License-Identifier: MIT
// The HTTP side: one thread with libmicrohttpd, and one that looks after time.
#ifndef SERVER_HTTP_H
#define SERVER_HTTP_H

#include "server/app.h"

// Listens; who connects waits until srv_http_start. Sets app->http, as callbacks need it early.
// Errors: INK_E_SYSTEM, INK_E_NOMEM, INK_E_ARG (the address).
ink_status srv_http_new(srv_app *app, ink_error *error);
// Serves. Errors: INK_E_SYSTEM, INK_E_NOMEM.
ink_status srv_http_start(srv_http *http, ink_error *error);
uint16_t srv_http_port(const srv_http *http);
// Accepts no more connections; answers to come say that theirs is closed.
void srv_http_quiesce(srv_http *http);
uint32_t srv_http_n_calls(const srv_http *http);       // whose answer is not complete
uint32_t srv_http_n_connections(const srv_http *http); // open ones
// Hangs up on everybody: what is under way sees its client gone. Then the threads end. All
// references to calls must be given back soon; memory of those that are not is released with them.
void srv_http_free(srv_http *http); // NULL is allowed

// Ten times a second, on the housekeeping thread.
void srv_jobs_tick(srv_app *app);
void srv_typings_tick(srv_app *app);

#endif
