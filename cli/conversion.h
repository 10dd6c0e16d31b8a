// SPDX-License-Identifier: MIT
// What convert and quantize tell while they work and at the end.
#ifndef CLI_CONVERSION_H
#define CLI_CONVERSION_H

#include <stdint.h>

// Callbacks; user: a cli_progress. An interruption ends the work.
int cli_conversion_progress(void *user, double fraction, const char *what);
void cli_conversion_note(void *user, const char *line);
// A note with the size of the file that was written, and with bytes_before unless it is 0; nothing
// of what has no size (a pipe, a device).
void cli_conversion_written(const char *path, uint64_t bytes_before);

#endif
