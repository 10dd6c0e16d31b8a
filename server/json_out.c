// SPDX-License-Identifier: MIT
#include "server/json_out.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void srv_text_free(srv_text *text) {
    free(text->data);
    *text = (srv_text){0};
}

void srv_text_clear(srv_text *text) {
    text->bytes = 0;
    text->failed = false;
}

static bool grow(srv_text *text, size_t bytes) {
    if (text->failed) return false;
    if (bytes <= text->cap - text->bytes) return true;
    size_t cap = text->cap > 0 ? text->cap : 512;
    while (cap - text->bytes < bytes && cap <= SIZE_MAX / 4) cap *= 2;
    char *data = cap - text->bytes >= bytes ? realloc(text->data, cap) : NULL;
    if (data == NULL) {
        text->failed = true;
        return false;
    }
    text->data = data;
    text->cap = cap;
    return true;
}

void srv_text_add(srv_text *text, const char *data, size_t bytes) {
    if (bytes == 0 || !grow(text, bytes)) return;
    memcpy(text->data + text->bytes, data, bytes);
    text->bytes += bytes;
}

void srv_text_puts(srv_text *text, const char *string) {
    srv_text_add(text, string, strlen(string));
}

// Source: The Unicode Standard, table 3-7 (well-formed UTF-8 byte sequences)
size_t srv_utf8_length(const char *data, size_t bytes) {
    const unsigned char *c = (const unsigned char *)data;
    if (bytes == 0) return 0;
    if (c[0] < 0x80) return 1;
    if (c[0] < 0xc2 || c[0] > 0xf4) return 0;
    const size_t n = c[0] < 0xe0 ? 2 : c[0] < 0xf0 ? 3 : 4;
    if (bytes < n) return 0;
    for (size_t i = 1; i < n; i++)
        if ((c[i] & 0xc0) != 0x80) return 0;
    if (c[0] == 0xe0 && c[1] < 0xa0) return 0; // too long for what it says
    if (c[0] == 0xed && c[1] > 0x9f) return 0; // half of a pair of UTF-16
    if (c[0] == 0xf0 && c[1] < 0x90) return 0;
    if (c[0] == 0xf4 && c[1] > 0x8f) return 0; // over U+10FFFF
    return n;
}

bool srv_utf8_valid(const char *data, size_t bytes) {
    for (size_t i = 0; i < bytes;) {
        const size_t n = srv_utf8_length(data + i, bytes - i);
        if (n == 0) return false;
        i += n;
    }
    return true;
}

static void escape(srv_text *text, unsigned char c) {
    char code[8];
    switch (c) {
    case '"': srv_text_puts(text, "\\\""); return;
    case '\\': srv_text_puts(text, "\\\\"); return;
    case '\n': srv_text_puts(text, "\\n"); return;
    case '\r': srv_text_puts(text, "\\r"); return;
    case '\t': srv_text_puts(text, "\\t"); return;
    default: snprintf(code, sizeof code, "\\u%04x", c); srv_text_puts(text, code);
    }
}

void srv_text_string(srv_text *text, const char *data, size_t bytes) {
    srv_text_puts(text, "\"");
    size_t from = 0, i = 0; // data [from, i) can be copied as it is
    while (i < bytes) {
        const unsigned char c = (unsigned char)data[i];
        const size_t n = srv_utf8_length(data + i, bytes - i);
        if (n > 0 && c >= 0x20 && c != '"' && c != '\\' && c != 0x7f) {
            i += n;
            continue;
        }
        srv_text_add(text, data + from, i - from);
        if (n == 0)
            srv_text_puts(text, "\xef\xbf\xbd");
        else
            escape(text, c);
        from = ++i;
    }
    srv_text_add(text, data + from, bytes - from);
    srv_text_puts(text, "\"");
}

void srv_text_uint(srv_text *text, uint64_t number) {
    char digits[24];
    snprintf(digits, sizeof digits, "%llu", (unsigned long long)number);
    srv_text_puts(text, digits);
}

void srv_text_int(srv_text *text, int64_t number) {
    char digits[24];
    snprintf(digits, sizeof digits, "%lld", (long long)number);
    srv_text_puts(text, digits);
}

void srv_text_real(srv_text *text, double number, unsigned n_digits) {
    static const uint64_t scales[] = {1,      10,      100,      1000,      10000,
                                      100000, 1000000, 10000000, 100000000, 1000000000};
    if (n_digits > 9) n_digits = 9;
    const uint64_t scale = scales[n_digits];
    if (!isfinite(number) || fabs(number) > 1e9) {
        // So large that there is nothing behind the point, or nothing that JSON can write.
        if (isfinite(number) && fabs(number) < 9e18)
            srv_text_int(text, (int64_t)number);
        else
            srv_text_puts(text, "null");
        return;
    }
    const uint64_t scaled = (uint64_t)llround(fabs(number) * (double)scale);
    if (number < 0 && scaled > 0) srv_text_puts(text, "-");
    srv_text_uint(text, scaled / scale);
    uint64_t rest = scaled % scale;
    if (rest == 0) return;
    char digits[16];
    int n = snprintf(digits, sizeof digits, ".%0*llu", (int)n_digits, (unsigned long long)rest);
    while (n > 1 && digits[n - 1] == '0') n--;
    srv_text_add(text, digits, (size_t)n);
}
