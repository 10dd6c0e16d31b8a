// SPDX-License-Identifier: MIT
// How the program ends and what it says on standard error.
#ifndef CLI_REPORT_H
#define CLI_REPORT_H

#include "inkling/inkling.h"

// The exit codes. cli_exit_help is their documentation.
enum {
    CLI_OK = 0,
    CLI_OTHER = 1,
    CLI_USAGE = 2,
    CLI_FILE = 3,
    CLI_MODEL = 4,
    CLI_NOMEM = 5,
    CLI_CONTEXT = 6,
    CLI_INTERRUPTED = 130
};
extern const char cli_exit_help[];

#if defined(__GNUC__)
#define CLI_FORMAT(a, b) __attribute__((format(printf, a, b)))
#else
#define CLI_FORMAT(a, b)
#endif

// One line "inkling: ..." on standard error, control characters made visible. Returns `code`.
int cli_fail(int code, const char *format, ...) CLI_FORMAT(2, 3);
// The same with the library's message and the exit code of its status.
int cli_fail_ink(ink_status status, const ink_error *error);
// The same with another exit code.
int cli_fail_ink_as(int code, ink_status status, const ink_error *error);
int cli_fail_memory(void);
// A line on standard error that is no failure, without the prefix.
void cli_note(const char *format, ...) CLI_FORMAT(1, 2);

int cli_exit_of(ink_status status);

#endif
