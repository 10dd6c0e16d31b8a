// SPDX-License-Identifier: MIT
#include "convert/notes.h"

#include <stdarg.h>
#include <stdio.h>

void inki_note(const inki_convert_options *options, const char *format, ...) {
    if (options->note == NULL) return;
    char line[256];
    va_list args;
    va_start(args, format);
    const int n = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (n > 0) options->note(options->user, line);
}

ink_status inki_progress(const inki_convert_options *options, double fraction, const char *what,
                         ink_error *error) {
    if (options->progress == NULL || options->progress(options->user, fraction, what) == 0)
        return INK_OK;
    return inki_fail(error, INK_E_CANCELLED, options->out, 0, "cancelled, nothing was written");
}
