// SPDX-License-Identifier: MIT
#include "cli/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

size_t cli_text_decode(const char *s, size_t n, uint32_t *c) {
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    const unsigned char b = (unsigned char)s[0];
    const size_t length = b < 0x80   ? 1
                          : b < 0xc0 ? 0
                          : b < 0xe0 ? 2
                          : b < 0xf0 ? 3
                          : b < 0xf8 ? 4
                                     : 0;
    if (length == 0 || length > n) return 0;
    uint32_t v = length == 1 ? b : b & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        const unsigned char next = (unsigned char)s[i];
        if ((next & 0xc0) != 0x80) return 0;
        v = v << 6 | (next & 0x3f);
    }
    if (v < least[length] || v > 0x10ffff || (v >= 0xd800 && v < 0xe000)) return 0;
    *c = v;
    return length;
}

int cli_text_is_control(uint32_t c) {
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x200e || c == 0x200f ||
           (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
}

size_t cli_text_step(const char *s, size_t n, const char *keep, char *out, size_t *put) {
    uint32_t c;
    const size_t length = cli_text_decode(s, n, &c);
    char escape[CLI_TEXT_STEP + 1];
    if (length == 0) {
        *put = (size_t)snprintf(escape, sizeof escape, "\\x%02x", (unsigned)(unsigned char)s[0]);
        memcpy(out, escape, *put);
        return 1;
    }
    const int kept = c > 0 && c < 0x80 && strchr(keep, (int)c) != NULL;
    if (!cli_text_is_control(c) || kept) {
        memcpy(out, s, length);
        *put = length;
        return length;
    }
    *put = (size_t)snprintf(escape, sizeof escape, c < 0x80 ? "\\x%02x" : "\\u%04x",
                            (unsigned)(c & 0xffff));
    memcpy(out, escape, *put);
    return length;
}

size_t cli_text_fit(const char *s, size_t columns, char *out, size_t cap) {
    static const char dots[] = "\xe2\x80\xa6";
    const size_t n = strlen(s);
    size_t at = 0, used = 0, cut_at = 0, cut_used = 0;
    for (size_t i = 0; i < n;) {
        char step[CLI_TEXT_STEP];
        size_t put;
        i += cli_text_step(s + i, n - i, "", step, &put);
        // An escape is several columns wide, any other character one.
        const size_t wide = step[0] == '\\' ? put : 1;
        if (used + wide > columns || at + put + sizeof dots > cap) {
            memcpy(out + cut_at, dots, sizeof dots);
            return cut_used + 1;
        }
        memcpy(out + at, step, put);
        at += put;
        used += wide;
        if (used < columns) {
            cut_at = at;
            cut_used = used;
        }
    }
    out[at] = 0;
    return used;
}

json_t *cli_text_json(const char *s, size_t n) {
    char *clean = malloc(3 * n + 1);
    if (clean == NULL) return NULL;
    size_t at = 0;
    for (size_t i = 0; i < n;) {
        uint32_t c;
        const size_t length = cli_text_decode(s + i, n - i, &c);
        if (length == 0) {
            memcpy(clean + at, "\xef\xbf\xbd", 3);
            at += 3;
            i++;
        } else {
            memcpy(clean + at, s + i, length);
            at += length;
            i += length;
        }
    }
    json_t *string = json_stringn(clean, at);
    free(clean);
    return string;
}

char *cli_text_quote(const char *s, size_t n) {
    char *out = malloc(6 * n + 3), *p = out;
    if (out == NULL) return NULL;
    *p++ = '"';
    for (size_t i = 0; i < n;) {
        uint32_t c;
        const size_t length = cli_text_decode(s + i, n - i, &c);
        if (length == 0) {
            c = 0xfffd;
            i++;
        } else {
            i += length;
        }
        if (c == '"' || c == '\\') {
            *p++ = '\\';
            *p++ = (char)c;
        } else if (c == '\n' || c == '\t' || c == '\r') {
            *p++ = '\\';
            *p++ = c == '\n' ? 'n' : c == '\t' ? 't' : 'r';
        } else if (length == 0 || cli_text_is_control(c)) {
            p += snprintf(p, 7, "\\u%04x", (unsigned)(c & 0xffff));
        } else {
            memcpy(p, s + i - length, length);
            p += length;
        }
    }
    *p++ = '"';
    *p = 0;
    return out;
}

const char *cli_text_size(uint64_t bytes, char *out) {
    static const char *const units[] = {"bytes", "kB", "MB", "GB", "TB", "PB", "EB"};
    double value = (double)bytes;
    size_t unit = 0;
    while (value >= 999.95 && unit + 1 < sizeof units / sizeof *units) {
        value /= 1000;
        unit++;
    }
    if (unit == 0)
        snprintf(out, CLI_TEXT_SIZE, "%u bytes", (unsigned)bytes);
    else
        snprintf(out, CLI_TEXT_SIZE, "%.1f %s", value, units[unit]);
    return out;
}
