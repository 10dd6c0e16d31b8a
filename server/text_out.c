// SPDX-License-Identifier: MIT
#include "server/text_out.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// --- adding --------------------------------------------------------------------------------------

void srv_text_free(srv_text *text) {
    free(text->data);
    *text = (srv_text){0};
}

static bool make_room(srv_text *text, size_t more) {
    if (text->lost) return false;
    if (more <= text->cap - text->bytes) return true;
    size_t cap = text->cap > 0 ? text->cap : 256;
    while (cap - text->bytes < more && cap <= SIZE_MAX / 2) cap *= 2;
    char *data = cap - text->bytes >= more ? realloc(text->data, cap) : NULL;
    if (data == NULL) {
        srv_text_free(text);
        text->lost = true;
        return false;
    }
    text->data = data;
    text->cap = cap;
    return true;
}

void srv_text_add(srv_text *text, const void *data, size_t bytes) {
    if (bytes == 0 || !make_room(text, bytes)) return;
    memcpy(text->data + text->bytes, data, bytes);
    text->bytes += bytes;
}

void srv_text_string(srv_text *text, const char *string) {
    srv_text_add(text, string, strlen(string));
}

void srv_text_int(srv_text *text, int64_t number) {
    char digits[24];
    const int n = snprintf(digits, sizeof digits, "%lld", (long long)number);
    srv_text_add(text, digits, (size_t)n);
}

// --- strings -------------------------------------------------------------------------------------

// The length of the character at text, 0 if there is none (Unicode 15, table 3-7); *bad is then how
// many bytes stand for one U+FFFD: the longest beginning of a character, or 1.
static size_t character(const unsigned char *text, size_t bytes, size_t *bad) {
    const unsigned char lead = text[0];
    *bad = 1;
    if (lead < 0x80) return 1;
    if (lead < 0xC2 || lead > 0xF4) return 0;
    const size_t length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    unsigned char low = 0x80, high = 0xBF; // of the second byte
    if (lead == 0xE0) low = 0xA0;
    if (lead == 0xED) high = 0x9F; // surrogates
    if (lead == 0xF0) low = 0x90;
    if (lead == 0xF4) high = 0x8F; // above U+10FFFF
    for (size_t i = 1; i < length; i++) {
        if (i == bytes || text[i] < low || text[i] > high) return 0;
        low = 0x80;
        high = 0xBF;
        *bad = i + 1;
    }
    return length;
}

size_t srv_utf8_check(const char *text, size_t bytes, size_t *invalid) {
    size_t at = 0;
    *invalid = 0;
    while (at < bytes) {
        const size_t length = character((const unsigned char *)text + at, bytes - at, invalid);
        if (length == 0) return at;
        at += length;
    }
    *invalid = 0;
    return at;
}

static void add_escaped(srv_text *text, const char *string, size_t bytes) {
    size_t from = 0;
    for (size_t i = 0; i < bytes; i++) {
        const unsigned char c = (unsigned char)string[i];
        if (c >= 0x20 && c != '"' && c != '\\') continue;
        char escape[8];
        if (c >= 0x20)
            snprintf(escape, sizeof escape, "\\%c", c);
        else
            snprintf(escape, sizeof escape, "\\u%04x", (unsigned)c);
        srv_text_add(text, string + from, i - from);
        srv_text_string(text, escape);
        from = i + 1;
    }
    srv_text_add(text, string + from, bytes - from);
}

// With U+FFFD for what is not UTF-8; escaped or as it is.
static void add_lossy(srv_text *text, const char *string, size_t bytes,
                      void (*add)(srv_text *, const char *, size_t)) {
    while (bytes > 0) {
        size_t invalid = 0;
        const size_t whole = srv_utf8_check(string, bytes, &invalid);
        add(text, string, whole);
        if (invalid > 0) srv_text_string(text, "\xEF\xBF\xBD");
        string += whole + invalid;
        bytes -= whole + invalid;
    }
}

void srv_text_json(srv_text *text, const char *string, size_t bytes) {
    srv_text_string(text, "\"");
    add_lossy(text, string, bytes, add_escaped);
    srv_text_string(text, "\"");
}

static void add_plain(srv_text *text, const char *string, size_t bytes) {
    srv_text_add(text, string, bytes);
}

json_t *srv_json_lossy(const char *string, size_t bytes) {
    srv_text text = {0};
    add_lossy(&text, string, bytes, add_plain);
    json_t *json = text.lost ? NULL : json_stringn(text.data != NULL ? text.data : "", text.bytes);
    srv_text_free(&text);
    return json;
}

// --- numbers -------------------------------------------------------------------------------------

static int add_dumped(const char *data, size_t bytes, void *text) {
    srv_text_add(text, data, bytes);
    return 0;
}

// Through jansson, which writes a point whatever the locale says.
void srv_text_floats(srv_text *text, const float *values, size_t n) {
    json_t *array = json_array();
    bool failed = array == NULL;
    for (size_t i = 0; i < n && !failed; i++)
        failed = json_array_append_new(array, json_real((double)values[i])) != 0;
    if (!failed)
        failed =
            json_dump_callback(array, add_dumped, text, JSON_COMPACT | JSON_REAL_PRECISION(9)) != 0;
    json_decref(array);
    if (!failed) return;
    srv_text_free(text);
    text->lost = true;
}

static void put_float(unsigned char *out, float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    for (int i = 0; i < 4; i++) out[i] = (unsigned char)(bits >> 8 * i);
}

// Three floats are twelve bytes, and those are sixteen letters: no rest crosses a group.
void srv_text_base64(srv_text *text, const float *values, size_t n) {
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < n; i += 3) {
        unsigned char bytes[12] = {0};
        char out[16];
        const size_t n_here = n - i < 3 ? n - i : 3;
        for (size_t k = 0; k < n_here; k++) put_float(bytes + 4 * k, values[i + k]);
        for (size_t k = 0; k < 4; k++) {
            const uint32_t b =
                (uint32_t)bytes[3 * k] << 16 | (uint32_t)bytes[3 * k + 1] << 8 | bytes[3 * k + 2];
            for (size_t c = 0; c < 4; c++) out[4 * k + c] = letters[b >> (18 - 6 * c) & 63];
        }
        // 4, 8, 12 bytes: 6, 11, 16 letters, and padding to a multiple of four.
        const size_t n_letters = n_here == 3 ? 16 : n_here == 2 ? 11 : 6;
        const size_t padded = (n_letters + 3) / 4 * 4;
        for (size_t c = n_letters; c < padded; c++) out[c] = '=';
        srv_text_add(text, out, padded);
    }
}
