// SPDX-License-Identifier: MIT
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>

void inki_logf(const inki_log *log, int level, const char *format, ...) {
    if (log == NULL || log->fn == NULL) return;
    char line[512];
    va_list args;
    va_start(args, format);
    const int n = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (n >= 0) log->fn(log->user, level, line);
}
