// SPDX-License-Identifier: MIT
#include "bench/typing/typing_trace.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

static const char first_line[] = "inkling-typing 1";
enum { MAX_FILE = 16 << 20, MAX_KEYS = 1 << 20, MAX_COUNT = 1 << 16, MAX_PATH = 4096 };

// What is known while a trace is read: the place, and where the caret would stand if the keys so
// far were typed. `widths` has the bytes of each character of the field.
typedef struct reading {
    typing_trace *trace;
    const char *path;
    char *message;
    size_t line;
    uint8_t *widths; // [n_chars], room for `room`
    size_t n_chars, room, caret, field_bytes;
} reading;

#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
static bool
wrong(const reading *r, const char *format, ...) {
    char what[TYPING_MESSAGE / 2];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    for (char *c = what; *c != 0; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f) *c = '?';
    if (r->line == 0)
        snprintf(r->message, TYPING_MESSAGE, "%s", what);
    else
        snprintf(r->message, TYPING_MESSAGE, "%.200s:%zu: %s", r->path, r->line, what);
    return false;
}

static bool grow(const reading *r, void **block, size_t *room, size_t wanted, size_t size) {
    if (wanted <= *room) return true;
    const size_t more = wanted + wanted / 2 + 64;
    void *grown = realloc(*block, more * size);
    if (grown == NULL) return wrong(r, "out of memory");
    *block = grown;
    *room = more;
    return true;
}

// --- keys ----------------------------------------------------------------------------------------

static bool add_key(reading *r, typing_key key) {
    typing_trace *t = r->trace;
    void *keys = t->keys;
    if (t->n_keys == MAX_KEYS) return wrong(r, "more than %d keys", MAX_KEYS);
    if (!grow(r, &keys, &t->room, t->n_keys + 1, sizeof *t->keys)) return false;
    t->keys = keys;
    t->keys[t->n_keys++] = key;
    return true;
}

// Characters of text [bytes] enter the field at the caret, as one key if there is one.
static bool insert(reading *r, const char *text, size_t bytes) {
    size_t n = 0;
    uint32_t c;
    for (size_t at = 0; at < bytes; n++)
        at += inki_utf8_decode((const uint8_t *)text + at, bytes - at, &c);
    void *widths = r->widths;
    if (!grow(r, &widths, &r->room, r->n_chars + n, 1)) return false;
    r->widths = widths;
    memmove(r->widths + r->caret + n, r->widths + r->caret, r->n_chars - r->caret);
    for (size_t at = 0; at < bytes;) {
        const size_t width = inki_utf8_decode((const uint8_t *)text + at, bytes - at, &c);
        r->widths[r->caret++] = (uint8_t)width;
        at += width;
    }
    r->n_chars += n;
    r->field_bytes += bytes;
    if (r->field_bytes > MAX_FILE) return wrong(r, "the field grows over %d bytes", MAX_FILE);
    if (r->trace->max_bytes < r->field_bytes) r->trace->max_bytes = r->field_bytes;
    return true;
}

static void take_out(reading *r, size_t at) {
    r->field_bytes -= r->widths[at];
    memmove(r->widths + at, r->widths + at + 1, r->n_chars - at - 1);
    r->n_chars--;
}

static bool removals(reading *r, typing_op op, size_t n) {
    const size_t most = op == TYPING_BACK ? r->caret : r->n_chars - r->caret;
    if (n > most)
        return wrong(r, "%zu characters %s the caret were expected, there are %zu", n,
                     op == TYPING_BACK ? "before" : "behind", most);
    for (size_t i = 0; i < n; i++) {
        if (op == TYPING_BACK) r->caret--;
        take_out(r, r->caret);
        if (!add_key(r, (typing_key){.op = op})) return false;
    }
    return true;
}

static bool move(reading *r, char sign, size_t n) {
    const size_t room = sign == '-' ? r->caret : sign == '+' ? r->n_chars - r->caret : r->n_chars;
    if (n > room) return wrong(r, "caret %c%zu is outside of the text, by %zu", sign, n, n - room);
    const size_t to = sign == '-' ? r->caret - n : sign == '+' ? r->caret + n : n;
    const int64_t by = (int64_t)to - (int64_t)r->caret;
    r->caret = to;
    return add_key(r, (typing_key){.op = TYPING_MOVE, .by = by});
}

// --- lines ---------------------------------------------------------------------------------------

static bool read_count(const reading *r, const char *s, size_t n, size_t *out) {
    size_t value = 0;
    for (size_t i = 0; i < n && value <= MAX_FILE; i++) {
        if (s[i] < '0' || s[i] > '9') value = SIZE_MAX;
        if (value <= MAX_FILE) value = value * 10 + (size_t)(s[i] - '0');
    }
    if (n == 0 || value > MAX_FILE)
        return wrong(r, "a number up to %d was expected, not \"%.*s\"", MAX_FILE, (int)n, s);
    *out = value;
    return true;
}

// "…" with \n \t \" \\ to trace->text. *at, *bytes: where it came to lie.
static bool read_quoted(reading *r, const char *s, size_t n, size_t *at, size_t *bytes) {
    static const char known[] = "nt\"\\", stands_for[] = "\n\t\"\\";
    typing_trace *t = r->trace;
    void *text = t->text;
    if (!grow(r, &text, &t->text_room, t->text_bytes + n, 1)) return false;
    t->text = text;
    *at = t->text_bytes;
    if (n < 2 || s[0] != '"') return wrong(r, "a text between quotes was expected");
    size_t i = 1;
    for (; i < n && s[i] != '"'; i++) {
        char c = s[i];
        if (c == '\\') {
            const char *found = ++i < n ? memchr(known, s[i], sizeof known - 1) : NULL;
            if (found == NULL) return wrong(r, "behind a \\ one of n t \" \\ was expected");
            c = stands_for[found - known];
        }
        t->text[t->text_bytes++] = c;
    }
    if (i != n - 1) return wrong(r, "one closing quote at the end of the line was expected");
    *bytes = t->text_bytes - *at;
    if (*bytes == 0) return wrong(r, "a text of at least one character was expected");
    return true;
}

static bool insertions(reading *r, const char *s, size_t n, bool whole) {
    size_t at = 0, bytes = 0;
    if (!read_quoted(r, s, n, &at, &bytes)) return false;
    if (!insert(r, r->trace->text + at, bytes)) return false;
    for (const size_t end = at + bytes; at < end;) {
        uint32_t c;
        const size_t width =
            whole ? end - at : inki_utf8_decode((const uint8_t *)r->trace->text + at, end - at, &c);
        if (!add_key(r, (typing_key){.op = TYPING_INSERT, .at = at, .bytes = width})) return false;
        at += width;
    }
    return true;
}

static char *slurp(const reading *r, const char *path, size_t *bytes) {
    FILE *f = fopen(path, "rb");
    if (f == NULL) {
        wrong(r, "%.200s: %s", path, strerror(errno));
        return NULL;
    }
    char *data = malloc(MAX_FILE + 1);
    *bytes = data != NULL ? fread(data, 1, MAX_FILE + 1, f) : 0;
    const bool failed = data == NULL || ferror(f) != 0 || *bytes > MAX_FILE;
    if (failed) wrong(r, "%.200s: cannot be read, or is over %d bytes", path, MAX_FILE);
    fclose(f);
    if (failed) {
        free(data);
        return NULL;
    }
    char *fitting = realloc(data, *bytes + 1);
    return fitting != NULL ? fitting : data;
}

// The document stands beside the trace; its name has no folders.
static bool document(reading *r, const char *name, size_t n) {
    char path[MAX_PATH];
    typing_trace *t = r->trace;
    const char *slash = strrchr(r->path, '/');
    if (t->n_keys > 0 || t->doc != NULL) return wrong(r, "doc was expected once, before all keys");
    if (n == 0 || memchr(name, '/', n) != NULL)
        return wrong(r, "the name of a file beside the trace was expected");
    const int put = snprintf(path, sizeof path, "%.*s%.*s",
                             slash != NULL ? (int)(slash - r->path) + 1 : 0, r->path, (int)n, name);
    if (put < 0 || (size_t)put >= sizeof path) return wrong(r, "the path is too long");
    t->doc = slurp(r, path, &t->doc_bytes);
    if (t->doc == NULL) return false;
    if (inki_utf8_count_invalid((const uint8_t *)t->doc, t->doc_bytes) > 0)
        return wrong(r, "%.200s is not UTF-8", path);
    return insert(r, t->doc, t->doc_bytes);
}

static bool is_word(const char *s, size_t n, const char *word) {
    return strlen(word) == n && memcmp(s, word, n) == 0;
}

static bool read_line(reading *r, const char *s, size_t n) {
    if (n == 0 || s[0] == '#') return true;
    const char *blank = memchr(s, ' ', n);
    const size_t length = blank != NULL ? (size_t)(blank - s) : n;
    const char *rest = blank != NULL ? blank + 1 : s + n;
    const size_t left = (size_t)(s + n - rest);
    size_t count = 0;
    if (is_word(s, length, "text")) return insertions(r, rest, left, false);
    if (is_word(s, length, "paste")) return insertions(r, rest, left, true);
    if (is_word(s, length, "doc")) return document(r, rest, left);
    if (is_word(s, length, "back") || is_word(s, length, "delete")) {
        if (!read_count(r, rest, left, &count)) return false;
        if (count == 0 || count > MAX_COUNT)
            return wrong(r, "1 to %d characters were expected", MAX_COUNT);
        return removals(r, s[0] == 'b' ? TYPING_BACK : TYPING_DELETE, count);
    }
    if (is_word(s, length, "caret")) {
        if (is_word(rest, left, "=end")) return move(r, '=', r->n_chars);
        if (left < 2 || strchr("+-=", rest[0]) == NULL)
            return wrong(r, "caret needs +N, -N, =N or =end");
        return read_count(r, rest + 1, left - 1, &count) && move(r, rest[0], count);
    }
    return wrong(r, "text, paste, back, delete, caret or doc was expected, not \"%.*s\"",
                 length < 40 ? (int)length : 40, s);
}

static bool no_first_line(reading *r) {
    r->line = 1;
    return wrong(r, "the first line was expected to be \"%s\"", first_line);
}

static bool read_lines(reading *r, const char *data, size_t bytes) {
    for (size_t at = 0; at < bytes;) {
        const char *end = memchr(data + at, '\n', bytes - at);
        r->line++;
        if (end == NULL) return wrong(r, "a line feed was expected at the end");
        const size_t n = (size_t)(end - (data + at));
        if (r->line == 1) {
            if (!is_word(data, n, first_line)) return no_first_line(r);
        } else if (!read_line(r, data + at, n)) {
            return false;
        }
        at += n + 1;
    }
    if (r->line == 0) return no_first_line(r);
    r->line++;
    return r->trace->n_keys > 0 || wrong(r, "there are no keys");
}

bool typing_trace_read(typing_trace *out, const char *path, char *message) {
    typing_trace trace = {.text = NULL};
    reading r = {.trace = &trace, .path = path, .message = message};
    size_t bytes = 0;
    char *data = slurp(&r, path, &bytes);
    bool good = data != NULL;
    if (good && (inki_utf8_count_invalid((const uint8_t *)data, bytes) > 0 ||
                 memchr(data, 0, bytes) != NULL))
        good = wrong(&r, "UTF-8 without zeros was expected");
    good = good && read_lines(&r, data, bytes);
    free(data);
    free(r.widths);
    if (!good)
        typing_trace_free(&trace);
    else
        *out = trace;
    return good;
}

void typing_trace_free(typing_trace *trace) {
    free(trace->text);
    free(trace->doc);
    free(trace->keys);
    *trace = (typing_trace){.text = NULL};
}

// --- the field -----------------------------------------------------------------------------------

bool typing_field_begin(typing_field *field, const typing_trace *trace) {
    *field = (typing_field){.text = malloc(trace->max_bytes + 1)};
    if (field->text == NULL) return false;
    if (trace->doc_bytes > 0) memcpy(field->text, trace->doc, trace->doc_bytes);
    field->bytes = field->caret = trace->doc_bytes;
    return true;
}

static bool is_inside(const typing_field *f, size_t at) {
    return at < f->bytes && ((unsigned char)f->text[at] & 0xc0) == 0x80;
}

static size_t step_back(const typing_field *f, size_t at) {
    do at--;
    while (is_inside(f, at));
    return at;
}

static size_t step_on(const typing_field *f, size_t at) {
    do at++;
    while (is_inside(f, at));
    return at;
}

static void cut(typing_field *f, size_t from, size_t to) {
    memmove(f->text + from, f->text + to, f->bytes - to);
    f->bytes -= to - from;
    f->caret = from;
}

void typing_field_key(typing_field *f, const typing_trace *trace, const typing_key *key) {
    switch (key->op) {
    case TYPING_INSERT:
        memmove(f->text + f->caret + key->bytes, f->text + f->caret, f->bytes - f->caret);
        memcpy(f->text + f->caret, trace->text + key->at, key->bytes);
        f->bytes += key->bytes;
        f->caret += key->bytes;
        break;
    case TYPING_BACK: cut(f, step_back(f, f->caret), f->caret); break;
    case TYPING_DELETE: cut(f, f->caret, step_on(f, f->caret)); break;
    case TYPING_MOVE:
        for (int64_t i = 0; i < key->by; i++) f->caret = step_on(f, f->caret);
        for (int64_t i = 0; i > key->by; i--) f->caret = step_back(f, f->caret);
        break;
    }
}

void typing_field_end(typing_field *field) {
    free(field->text);
    *field = (typing_field){.text = NULL};
}
