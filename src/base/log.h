// SPDX-License-Identifier: MIT
// The host's log function. Nothing in src/ prints.
#ifndef INKI_BASE_LOG_H
#define INKI_BASE_LOG_H

#include "base/error.h"

typedef struct inki_log {
    ink_log_fn fn; // NULL: silence
    void *user;
} inki_log;

// One line; cut at 511 bytes. `log` may be NULL.
void inki_logf(const inki_log *log, int level, const char *format, ...) INKI_PRINTF(3, 4);

#endif
