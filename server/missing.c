// SPDX-License-Identifier: MIT
// Stands in for parts that are being written; goes when they are there.
#include "server/app.h"
#include "server/http.h"
#include "server/jobs.h"
#include "server/route.h"

#define WEAK __attribute__((weak))
#define MISSING(name)                                                                              \
    WEAK void name(srv_call *call) { srv_call_empty(call, 501); }
MISSING(srv_handle_completions)
MISSING(srv_handle_chat)
