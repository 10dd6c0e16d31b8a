// SPDX-License-Identifier: MIT
#include "base/error.h"

#include "base/utf8.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

// Copies at most cap - 1 bytes. File content ends up in messages, and a message ends up in a
// terminal or a log: control characters and bytes that are not UTF-8 become '?', and a character is
// never cut in two.
static void copy_printable(char *out, size_t cap, const char *text) {
    size_t n = strlen(text), used = 0, at = 0;
    while (at < n) {
        uint32_t c = 0;
        const size_t step = inki_utf8_decode((const uint8_t *)text + at, n - at, &c);
        const int plain = step > 0 && c >= 0x20 && c != 0x7f && !(c >= 0x80 && c < 0xa0);
        const size_t take = plain ? step : 1;
        if (used + take >= cap) break;
        if (plain)
            memcpy(out + used, text + at, take);
        else
            out[used] = '?';
        used += take;
        at += step > 0 ? step : 1;
    }
    out[used] = 0;
}

// The end of text that fits into cap bytes, with its 0: of a long path the file's name is what
// counts, and what was expected must still fit behind it. Begins with a whole character.
static void copy_end(char *out, size_t cap, const char *text) {
    static const char dots[] = "...";
    const size_t n = strlen(text), n_dots = sizeof dots - 1;
    if (n < cap) {
        copy_printable(out, cap, text);
        return;
    }
    const char *end = text + (n - (cap - 1 - n_dots));
    while (((unsigned char)*end & 0xc0) == 0x80) end++;
    memcpy(out, dots, n_dots);
    copy_printable(out + n_dots, cap - n_dots, end);
}

ink_status inki_fail(ink_error *error, ink_status status, const char *where, uint64_t offset,
                     const char *format, ...) {
    if (error == NULL) return status;
    char text[sizeof error->message], joined[sizeof error->message + sizeof error->where + 2];
    va_list args;
    va_start(args, format);
    if (vsnprintf(text, sizeof text, format, args) < 0) text[0] = 0;
    va_end(args);
    error->status = status;
    error->offset = offset;
    copy_end(error->where, sizeof error->where, where != NULL ? where : "");
    if (error->where[0] != 0)
        snprintf(joined, sizeof joined, "%s: %s", error->where, text);
    else
        snprintf(joined, sizeof joined, "%s", text);
    copy_printable(error->message, sizeof error->message, joined);
    return status;
}

ink_status inki_fail_nomem(ink_error *error, size_t bytes) {
    return inki_fail(error, INK_E_NOMEM, NULL, 0, "out of memory (%zu bytes were asked for)",
                     bytes);
}

void inki_error_prefix(ink_error *error, const char *prefix) {
    if (error == NULL || prefix == NULL || prefix[0] == 0) return;
    char name[sizeof error->where], joined[2 * sizeof error->message];
    copy_end(name, sizeof name, prefix);
    if (error->where[0] == 0) memcpy(error->where, name, sizeof name);
    snprintf(joined, sizeof joined, "%s: %s", name, error->message);
    copy_printable(error->message, sizeof error->message, joined);
}
