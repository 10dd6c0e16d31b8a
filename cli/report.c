// SPDX-License-Identifier: MIT
#include "cli/report.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "cli/terminal.h"
#include "cli/text.h"

const char cli_exit_help[] = "Exit codes:\n"
                             "  0    success (also when the reader of a pipe has gone)\n"
                             "  1    any other failure\n"
                             "  2    wrong usage: an option, its value, an argument\n"
                             "  3    a file or standard output cannot be read or written; what a "
                             "file has of words, rules or a\n"
                             "       schema is wrong\n"
                             "  4    a model or session is not usable: damaged, not supported, "
                             "over a limit; a text went over\n"
                             "       a limit of its grammar\n"
                             "  5    out of memory\n"
                             "  6    it does not fit into the context\n"
                             "  130  interrupted (Ctrl-C, SIGTERM); the text so far was printed\n";

int cli_exit_of(ink_status status) {
    switch (status) {
    case INK_OK: return CLI_OK;
    case INK_E_ARG:
    case INK_E_UTF8:
    case INK_E_TOKEN: return CLI_USAGE;
    case INK_E_IO:
    case INK_E_NOT_FOUND: return CLI_FILE;
    case INK_E_FORMAT:
    case INK_E_UNSUPPORTED:
    case INK_E_LIMIT:
    case INK_E_NUMERIC: return CLI_MODEL;
    case INK_E_NOMEM: return CLI_NOMEM;
    case INK_E_CONTEXT: return CLI_CONTEXT;
    case INK_E_CANCELLED: return CLI_INTERRUPTED;
    default: return CLI_OTHER;
    }
}

// A message may hold a file's name or bytes of a hostile file: a line break would make a second
// line of it, an escape sequence would reach the terminal.
static void say(const char *prefix, const char *format, va_list args) {
    char message[4096], line[4 * sizeof message];
    const int length = vsnprintf(message, sizeof message, format, args);
    size_t n = strlen(prefix);
    memcpy(line, prefix, n);
    if (length > 0) {
        const size_t bytes = (size_t)length < sizeof message ? (size_t)length : sizeof message - 1;
        for (size_t i = 0; i < bytes && n < sizeof line - CLI_TEXT_STEP - 1;) {
            size_t put;
            i += cli_text_step(message + i, bytes - i, "", line + n, &put);
            n += put;
        }
    }
    line[n++] = '\n';
    cli_progress_hide();
    fwrite(line, 1, n, stderr);
    fflush(stderr);
}

int cli_fail(int code, const char *format, ...) {
    va_list args;
    va_start(args, format);
    say("inkling: ", format, args);
    va_end(args);
    return code;
}

void cli_note(const char *format, ...) {
    va_list args;
    va_start(args, format);
    say("", format, args);
    va_end(args);
}

// The library speaks of its fields, the user typed options. *n: bytes of the field's name, which
// the message begins with.
static const char *option_of(const ink_error *error, size_t *n) {
    static const struct {
        const char *field, *option;
    } named[] = {{"n_ctx", "--context"},         {"n_keep", "--keep"},
                 {"chain", "--samplers"},        {"dry_breakers", "--dry-sequence-breaker"},
                 {"logit_bias", "--logit-bias"}, {"required", "--require"},
                 {"draft", "--draft"},           {"n_draft", "--draft-max"}};
    for (size_t i = 0; i < sizeof named / sizeof *named; i++) {
        *n = strlen(named[i].field);
        const bool meant = error->where[0] == 0 || strcmp(error->where, named[i].field) == 0;
        if (meant && strncmp(error->message, named[i].field, *n) == 0 && error->message[*n] == ':')
            return named[i].option;
    }
    return NULL;
}

int cli_fail_ink_as(int code, ink_status status, const ink_error *error) {
    const bool told = error != NULL && error->status == status && error->message[0] != 0;
    if (!told) return cli_fail(code, "%s", ink_status_text(status));
    size_t n = 0;
    const char *option = option_of(error, &n);
    if (option == NULL) return cli_fail(code, "%s", error->message);
    return cli_fail(code, "%s%s", option, error->message + n);
}

int cli_fail_ink(ink_status status, const ink_error *error) {
    return cli_fail_ink_as(cli_exit_of(status), status, error);
}

int cli_fail_memory(void) { return cli_fail(CLI_NOMEM, "out of memory"); }
