// SPDX-License-Identifier: MIT
// Standard output, buffered. The first failure sticks: later calls do nothing and cli_out_finish
// reports it. A reader that has gone is no failure.
#ifndef CLI_OUT_H
#define CLI_OUT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "cli/report.h"

void cli_out_bytes(const void *data, size_t n);
void cli_out(const char *format, ...) CLI_FORMAT(1, 2);
// Text: as it is, or with its control characters (but newline and tab) made visible where standard
// output is a terminal.
void cli_out_text(const char *text, size_t n);
// One line of JSON in ASCII; takes the reference. NULL counts as lack of memory.
void cli_out_json(json_t *value);
// Writes what is buffered. False when writing any more is useless.
bool cli_out_flush(void);
bool cli_out_is_terminal(void);
// True when the last byte written was a newline or nothing was written.
bool cli_out_at_line_start(void);
// Flushes and closes. Returns `code`, or the failure's exit code if that was CLI_OK.
int cli_out_finish(int code);

#endif
