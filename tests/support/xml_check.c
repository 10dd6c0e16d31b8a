// SPDX-License-Identifier: MIT
#include "xml_check.h"

#include <stdbool.h>
#include <string.h>

enum { MAX_DEPTH = 64 };

typedef struct reader {
    const char *text;
    size_t bytes, at, depth;
    struct {
        const char *name;
        size_t bytes;
    } open[MAX_DEPTH];
} reader;

static size_t name_bytes(const reader *r) {
    size_t n = 0;
    while (r->at + n < r->bytes) {
        const char c = r->text[r->at + n];
        const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
        const bool more = n > 0 && ((c >= '0' && c <= '9') || c == '-' || c == ':' || c == '.');
        if (!letter && !more) break;
        n++;
    }
    return n;
}

static bool is_blank(char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; }
static void skip_blanks(reader *r) {
    while (r->at < r->bytes && is_blank(r->text[r->at])) r->at++;
}
static bool take(reader *r, char c) {
    if (r->at >= r->bytes || r->text[r->at] != c) return false;
    r->at++;
    return true;
}

// One character of text; those that mean something must be written as entities.
static const char *character(reader *r) {
    static const char *const entities[] = {"&amp;", "&lt;", "&gt;", "&quot;", "&apos;"};
    const unsigned char c = (unsigned char)r->text[r->at];
    if (c < ' ' && !is_blank((char)c)) return "a control character";
    if (c != '&') {
        r->at++;
        return c == '<' ? "\"<\" inside of text" : NULL;
    }
    for (size_t i = 0; i < sizeof entities / sizeof *entities; i++) {
        const size_t n = strlen(entities[i]);
        if (r->bytes - r->at < n || memcmp(r->text + r->at, entities[i], n) != 0) continue;
        r->at += n;
        return NULL;
    }
    return "\"&\" that begins no entity";
}

static const char *attribute(reader *r) {
    const size_t n = name_bytes(r);
    if (n == 0) return "an attribute's name was expected";
    r->at += n;
    if (!take(r, '=') || !take(r, '"')) return "=\" was expected";
    while (r->at < r->bytes && r->text[r->at] != '"') {
        const char *wrong = character(r);
        if (wrong != NULL) return wrong;
    }
    return take(r, '"') ? NULL : "an attribute has no end";
}

static const char *opening(reader *r) {
    const size_t n = name_bytes(r);
    if (n == 0) return "an element's name was expected";
    if (r->depth == MAX_DEPTH) return "too deep";
    r->open[r->depth].name = r->text + r->at;
    r->open[r->depth++].bytes = n;
    r->at += n;
    for (;;) {
        const size_t before = r->at;
        skip_blanks(r);
        if (take(r, '>')) return NULL;
        if (take(r, '/')) {
            r->depth--;
            return take(r, '>') ? NULL : "/> was expected";
        }
        if (r->at == before) return "a blank was expected";
        const char *wrong = attribute(r);
        if (wrong != NULL) return wrong;
    }
}

static const char *closing(reader *r) {
    const size_t n = name_bytes(r);
    if (r->depth == 0 || r->open[r->depth - 1].bytes != n ||
        memcmp(r->open[r->depth - 1].name, r->text + r->at, n) != 0)
        return "closes another element than the one that is open";
    r->depth--;
    r->at += n;
    skip_blanks(r);
    return take(r, '>') ? NULL : "> was expected";
}

const char *xml_check(const char *text, size_t bytes, size_t *at) {
    reader r = {.text = text, .bytes = bytes};
    const char *wrong = NULL;
    size_t n_roots = 0;
    while (wrong == NULL && r.at < bytes) {
        if (take(&r, '<')) {
            n_roots += r.depth == 0;
            wrong = take(&r, '/') ? closing(&r) : opening(&r);
        } else if (r.depth == 0) {
            if (!is_blank(text[r.at++])) wrong = "text outside of the root";
        } else {
            wrong = character(&r);
        }
    }
    if (wrong == NULL && r.depth > 0) wrong = "an element is not closed";
    if (wrong == NULL && n_roots != 1) wrong = "one root was expected";
    *at = r.at;
    return wrong;
}
