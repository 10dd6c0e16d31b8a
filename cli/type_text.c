// SPDX-License-Identifier: MIT
#include "cli/type_text.h"

#include <stdlib.h>
#include <string.h>
#include <wchar.h>
#include <wctype.h>

#include "cli/text.h"

enum { LEAST_GAP = 1 << 12, JOINER = 0x200d };

void type_text_free(type_text *text) {
    free(text->data);
    *text = (type_text){0};
}

static size_t gap(const type_text *text) { return text->cap - text->n; }

static void move_gap(type_text *text, size_t at) {
    char *data = text->data;
    const size_t size = gap(text);
    if (at < text->gap_at)
        memmove(data + at + size, data + at, text->gap_at - at);
    else if (at > text->gap_at)
        memmove(data + text->gap_at, data + text->gap_at + size, at - text->gap_at);
    text->gap_at = at;
}

// Room for `more` bytes and one for the 0 byte of type_text_all.
static bool reserve(type_text *text, size_t more) {
    if (gap(text) > more) return true;
    if (more > SIZE_MAX / 4 - text->n) return false;
    const size_t cap = text->n + more + text->n / 2 + LEAST_GAP;
    char *grown = realloc(text->data, cap);
    if (grown == NULL) return false;
    const size_t behind = text->n - text->gap_at;
    memmove(grown + cap - behind, grown + text->cap - behind, behind);
    text->data = grown;
    text->cap = cap;
    return true;
}

bool type_text_replace(type_text *text, size_t at, size_t n_old, const char *put, size_t n_put) {
    if (!reserve(text, n_put)) return false;
    // What is removed lies behind the gap and is swallowed by it.
    move_gap(text, at);
    text->n -= n_old;
    if (n_put > 0) memcpy(text->data + at, put, n_put);
    text->gap_at = at + n_put;
    text->n += n_put;
    return true;
}

void type_text_copy(const type_text *text, size_t at, size_t n, char *out) {
    size_t before = at < text->gap_at ? text->gap_at - at : 0;
    if (before > n) before = n;
    if (before > 0) memcpy(out, text->data + at, before);
    if (n > before) memcpy(out + before, text->data + at + before + gap(text), n - before);
}

const char *type_text_all(type_text *text) {
    if (!reserve(text, 0)) return NULL;
    move_gap(text, text->n);
    text->data[text->n] = 0;
    return text->data;
}

char type_text_byte(const type_text *text, size_t at) {
    return text->data[at < text->gap_at ? at : at + gap(text)];
}

uint32_t type_text_char(const type_text *text, size_t at, size_t *bytes) {
    char s[4];
    uint32_t c = 0;
    const size_t left = text->n - at < sizeof s ? text->n - at : sizeof s;
    type_text_copy(text, at, left, s);
    *bytes = cli_text_decode(s, left, &c);
    if (*bytes > 0) return c;
    *bytes = 1; // never in a text that is UTF-8; a byte is a step all the same
    return 0xfffd;
}

static bool inside(const type_text *text, size_t at) {
    return at > 0 && at < text->n && ((unsigned char)type_text_byte(text, at) & 0xc0) == 0x80;
}

size_t type_text_floor(const type_text *text, size_t at) {
    while (inside(text, at)) at--;
    return at;
}

static const char *last_newline(const char *from, size_t n) {
    while (n > 0)
        if (from[--n] == '\n') return from + n;
    return NULL;
}

size_t type_text_line_back(const type_text *text, size_t from, size_t at, size_t none) {
    if (at > text->gap_at) {
        const size_t begin = from > text->gap_at ? from : text->gap_at;
        const char *data = text->data + gap(text);
        const char *found = last_newline(data + begin, at - begin);
        if (found != NULL) return (size_t)(found - data) + 1;
        at = begin;
    }
    if (at <= from) return none;
    const char *found = last_newline(text->data + from, at - from);
    return found != NULL ? (size_t)(found - text->data) + 1 : none;
}

int type_width(uint32_t c) { return c == 0 ? -1 : wcwidth((wchar_t)c); }

bool type_is_blank(uint32_t c) { return c == ' ' || c == '\t' || c == '\n' || c == 0x3000; }

// Whether c belongs to the character before it, `before`.
static bool joins(uint32_t before, uint32_t c) {
    if (before == '\n' || cli_text_is_control(before) || cli_text_is_control(c)) return false;
    if (before == JOINER) return type_width(c) == 2;
    return type_width(c) == 0 || (c >= 0x1f3fb && c <= 0x1f3ff); // skin tones
}

size_t type_text_next(const type_text *text, size_t at) {
    size_t bytes;
    if (at >= text->n) return text->n;
    uint32_t before = type_text_char(text, at, &bytes);
    for (at += bytes; at < text->n; at += bytes) {
        const uint32_t c = type_text_char(text, at, &bytes);
        if (!joins(before, c)) break;
        before = c;
    }
    return at;
}

size_t type_text_prev(const type_text *text, size_t at) {
    size_t bytes;
    if (at == 0) return 0;
    at = type_text_floor(text, at - 1);
    while (at > 0) {
        const size_t before = type_text_floor(text, at - 1);
        const uint32_t b = type_text_char(text, before, &bytes);
        if (!joins(b, type_text_char(text, at, &bytes))) break;
        at = before;
    }
    return at;
}

// 0: blank, 1: punctuation, 2: letters and digits with their marks.
static int class_at(const type_text *text, size_t at) {
    size_t bytes;
    const uint32_t c = type_text_char(text, at, &bytes);
    if (type_is_blank(c)) return 0;
    return iswalnum((wint_t)c) || c == '_' || c == '\'' || c == 0x2019 ? 2 : 1;
}

size_t type_text_next_word(const type_text *text, size_t at) {
    while (at < text->n && class_at(text, at) == 0) at = type_text_next(text, at);
    if (at == text->n) return at;
    const int kind = class_at(text, at);
    while (at < text->n && class_at(text, at) == kind) at = type_text_next(text, at);
    return at;
}

size_t type_text_prev_word(const type_text *text, size_t at) {
    while (at > 0) {
        const size_t before = type_text_prev(text, at);
        if (class_at(text, before) != 0) break;
        at = before;
    }
    if (at == 0) return 0;
    const int kind = class_at(text, type_text_prev(text, at));
    while (at > 0) {
        const size_t before = type_text_prev(text, at);
        if (class_at(text, before) != kind) break;
        at = before;
    }
    return at;
}
