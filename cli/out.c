// SPDX-License-Identifier: MIT
#include "cli/out.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/text.h"

static struct {
    char buffer[1 << 16];
    size_t n;
    int error;    // errno of the first failure; EPIPE: the reader has gone
    bool written; // anything at all
    char last;
} out;

// One write(2) for all that is buffered, so that a piece of text reaches the reader as a whole.
bool cli_out_flush(void) {
    size_t at = 0;
    while (out.error == 0 && at < out.n) {
        const ssize_t n = write(STDOUT_FILENO, out.buffer + at, out.n - at);
        if (n >= 0) {
            at += (size_t)n;
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            // Another program may have made the shared pipe or terminal non-blocking.
            struct pollfd wait = {.fd = STDOUT_FILENO, .events = POLLOUT};
            poll(&wait, 1, -1);
        } else if (errno != EINTR) {
            out.error = errno;
        }
    }
    out.n = 0;
    return out.error == 0;
}

void cli_out_bytes(const void *data, size_t n) {
    const char *p = data;
    if (n == 0) return;
    out.written = true;
    out.last = p[n - 1];
    while (n > 0 && out.error == 0) {
        size_t part = sizeof out.buffer - out.n;
        if (part > n) part = n;
        memcpy(out.buffer + out.n, p, part);
        out.n += part;
        p += part;
        n -= part;
        if (out.n == sizeof out.buffer) cli_out_flush();
    }
}

void cli_out(const char *format, ...) {
    char line[1024];
    va_list args;
    va_start(args, format);
    const int n = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (n > 0) cli_out_bytes(line, (size_t)n < sizeof line ? (size_t)n : sizeof line - 1);
}

void cli_out_text(const char *text, size_t n) {
    if (!cli_out_is_terminal()) {
        cli_out_bytes(text, n);
        return;
    }
    for (size_t i = 0; i < n;) {
        char step[CLI_TEXT_STEP];
        size_t put;
        i += cli_text_step(text + i, n - i, "\n\t", step, &put);
        cli_out_bytes(step, put);
    }
}

void cli_out_json(json_t *value) {
    char *line = value == NULL
                     ? NULL
                     : json_dumps(value, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(9));
    json_decref(value);
    if (line == NULL) {
        if (out.error == 0) out.error = ENOMEM;
        return;
    }
    cli_out_bytes(line, strlen(line));
    cli_out_bytes("\n", 1);
    free(line);
}

bool cli_out_is_terminal(void) {
    static int answer = -1;
    if (answer < 0) answer = isatty(STDOUT_FILENO);
    return answer != 0;
}

bool cli_out_at_line_start(void) { return !out.written || out.last == '\n'; }

int cli_out_finish(int code) {
    cli_out_flush();
    // Some file systems tell of a full disk only here.
    if (out.written && close(STDOUT_FILENO) != 0 && out.error == 0 && errno != EINTR)
        out.error = errno;
    if (out.error == 0 || out.error == EPIPE || code != CLI_OK) return code;
    if (out.error == ENOMEM) return cli_fail_memory();
    return cli_fail(CLI_FILE, "standard output: cannot write: %s", strerror(out.error));
}
