// SPDX-License-Identifier: MIT
#include "server/json_in.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Deeper than any request of ours, the deepest being a schema of 64 levels in its
// `response_format`, and far less than would trouble a stack.
enum { MAX_DEPTH = 68, MAX_NAME = 56, NAME_BYTES = sizeof((srv_failure *)0)->param };

// An empty object is two bytes of a body and 200 of memory, an integer two and 40: what is parsed
// of the longest body stays within some 100 MB.
enum { MAX_LISTS = 1 << 16 };

static bool is_shaped(const char *body, size_t bytes, srv_failure *why) {
    size_t depth = 0, n_lists = 0;
    bool in_text = false;
    for (size_t i = 0; i < bytes; i++) {
        const char c = body[i];
        if (in_text) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_text = false;
        } else if (c == '"') {
            in_text = true;
        } else if (c == '[' || c == '{') {
            if (++depth > MAX_DEPTH)
                return srv_refuse(why, NULL, "The body is nested deeper than %d levels.",
                                  MAX_DEPTH);
            if (++n_lists > MAX_LISTS)
                return srv_refuse(why, NULL, "The body holds more than %d arrays and objects.",
                                  MAX_LISTS);
        } else if ((c == ']' || c == '}') && depth > 0) {
            depth--;
        }
    }
    return true;
}

// jansson ends the program where its buffer for a string cannot grow (2.14). That is twice the
// string at most, beside the one that it grew from: without so much it is not begun.
static bool has_room(size_t bytes) {
    if (bytes > SIZE_MAX / 4) return false;
    void *room = malloc(3 * bytes + 4096);
    free(room);
    return room != NULL;
}

// The parser quotes what it met, cut anywhere: that part is left out, for it may be no UTF-8.
static bool refuse_syntax(srv_failure *why, const json_error_t *e) {
    const char *quote = strstr(e->text, " near '");
    size_t n = quote != NULL ? (size_t)(quote - e->text) : strlen(e->text);
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)e->text[i] < 0x20 || (unsigned char)e->text[i] > 0x7e) n = i;
    return srv_refuse(why, NULL, "The body could not be read as JSON: %.*s at byte %d.", (int)n,
                      e->text, e->position > 0 ? e->position : 0);
}

json_t *srv_in_object(const char *body, size_t bytes, srv_failure *why) {
    if (bytes == 0 || body == NULL) {
        srv_refuse(why, NULL, "The body is empty; it must be a JSON object.");
        return NULL;
    }
    if (!is_shaped(body, bytes, why)) return NULL;
    if (!has_room(bytes)) {
        srv_fail(why, 503, "server_error", NULL, "There is no memory for this request.");
        return NULL;
    }
    json_error_t e = {0};
    json_t *object = json_loadb(body, bytes, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &e);
    if (object == NULL && json_error_code(&e) == json_error_out_of_memory) {
        srv_fail(why, 503, "server_error", NULL, "There is no memory for this request.");
        return NULL;
    }
    if (object == NULL) {
        refuse_syntax(why, &e);
        return NULL;
    }
    if (!json_is_object(object)) {
        json_decref(object);
        srv_refuse(why, NULL, "The body must be a JSON object.");
        return NULL;
    }
    return object;
}

static const char *kind_of(const json_t *value) {
    switch (json_typeof(value)) {
    case JSON_OBJECT: return "an object";
    case JSON_ARRAY: return "an array";
    case JSON_STRING: return "a string";
    case JSON_INTEGER: return "an integer";
    case JSON_REAL: return "a number";
    case JSON_TRUE:
    case JSON_FALSE: return "a boolean";
    default: return "null";
    }
}

// A field as refusals name it: behind the path to its object, cut where a character ends.
static const char *full_name(const srv_in *in, const char *name, char out[NAME_BYTES]) {
    const char *path = in->path != NULL ? in->path : "";
    size_t n = strlen(path), fits = NAME_BYTES - 1 - n;
    memcpy(out, path, n);
    if (strlen(name) < fits) fits = strlen(name);
    while (fits > 0 && ((unsigned char)name[fits] & 0xc0) == 0x80) fits--;
    memcpy(out + n, name, fits);
    out[n + fits] = 0;
    return out;
}

static bool refuse(srv_in *in, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static bool refuse(srv_in *in, const char *name, const char *format, ...) {
    char what[200], full[NAME_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    in->failed = true;
    full_name(in, name, full);
    return srv_refuse(in->why, full, "'%s' must be %s.", full, what);
}

bool srv_in_refuse(srv_in *in, const char *param, const char *format, ...) {
    if (in->failed) return false;
    char message[256];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    in->failed = true;
    return srv_refuse(in->why, param, "%s", message);
}

bool srv_in_no_memory(srv_in *in) {
    if (in->failed) return false;
    in->failed = true;
    return srv_fail(in->why, 503, "server_error", NULL, "There is no memory for this request.");
}

// NULL: it is not there, or null, or something was refused before.
static const json_t *find(const srv_in *in, const char *name) {
    if (in->failed) return NULL;
    const json_t *value = json_object_get(in->object, name);
    return json_is_null(value) ? NULL : value;
}

const json_t *srv_in_any(srv_in *in, const char *name) { return find(in, name); }

const json_t *srv_in_inner(srv_in *in, const char *name) {
    const json_t *value = find(in, name);
    if (json_is_object(value)) return value;
    if (!in->failed) refuse(in, name, "an object");
    return NULL;
}

bool srv_in_bool(srv_in *in, const char *name, bool *out) {
    const json_t *value = find(in, name);
    if (value == NULL) return false;
    if (!json_is_boolean(value)) return refuse(in, name, "true or false, not %s", kind_of(value));
    *out = json_is_true(value);
    return true;
}

bool srv_in_int(srv_in *in, const char *name, int64_t low, int64_t high, int64_t *out) {
    const json_t *value = find(in, name);
    if (value == NULL) return false;
    if (!json_is_integer(value)) return refuse(in, name, "an integer, not %s", kind_of(value));
    const int64_t number = json_integer_value(value);
    if (number < low || number > high)
        return refuse(in, name, "an integer from %lld to %lld, not %lld", (long long)low,
                      (long long)high, (long long)number);
    *out = number;
    return true;
}

bool srv_in_uint(srv_in *in, const char *name, uint64_t low, uint64_t high, uint64_t *out) {
    int64_t number = 0;
    const int64_t top = high > INT64_MAX ? INT64_MAX : (int64_t)high;
    if (!srv_in_int(in, name, low > INT64_MAX ? INT64_MAX : (int64_t)low, top, &number))
        return false;
    *out = (uint64_t)number;
    return true;
}

// The program never leaves the "C" locale where numbers are concerned: a bound has a point.
bool srv_in_real(srv_in *in, const char *name, double low, double high, double *out) {
    const json_t *value = find(in, name);
    if (value == NULL) return false;
    if (!json_is_number(value)) return refuse(in, name, "a number, not %s", kind_of(value));
    const double number = json_number_value(value);
    if (!(number >= low && number <= high))
        return refuse(in, name, "a number from %g to %g", low, high);
    *out = number;
    return true;
}

bool srv_in_text(srv_in *in, const char *name, const char **out, size_t *bytes) {
    const json_t *value = find(in, name);
    if (value == NULL) return false;
    if (!json_is_string(value)) return refuse(in, name, "a string, not %s", kind_of(value));
    const char *text = json_string_value(value);
    const size_t n = json_string_length(value);
    if (bytes == NULL && memchr(text, 0, n) != NULL)
        return refuse(in, name, "a string without U+0000");
    *out = text;
    if (bytes != NULL) *bytes = n;
    return true;
}

bool srv_in_is(const json_t *value, const char *text) {
    return json_is_string(value) && json_string_length(value) == strlen(text) &&
           strcmp(json_string_value(value), text) == 0;
}

bool srv_in_choice(srv_in *in, const char *name, const char *const *names, uint32_t *out) {
    const json_t *value = find(in, name);
    if (value == NULL) return false;
    char list[160];
    size_t at = 0;
    list[0] = 0;
    for (uint32_t i = 0; names[i] != NULL; i++) {
        if (srv_in_is(value, names[i])) {
            *out = i;
            return true;
        }
        const int n =
            snprintf(list + at, sizeof list - at, "%s\"%s\"", i > 0 ? ", " : "", names[i]);
        if (n > 0) at = at + (size_t)n < sizeof list ? at + (size_t)n : sizeof list - 1;
    }
    return refuse(in, name, "%s%s", names[0] != NULL && names[1] != NULL ? "one of " : "", list);
}

bool srv_in_strings(srv_in *in, const char *name, size_t most, const char ***out, size_t *n) {
    const json_t *list = find(in, name);
    if (list == NULL) return false;
    const size_t length = json_array_size(list);
    bool strings = json_is_array(list);
    for (size_t i = 0; i < length && strings; i++)
        strings = json_is_string(json_array_get(list, i));
    if (!strings) return refuse(in, name, "an array of strings");
    if (length > most) return refuse(in, name, "an array of %zu strings at most", most);
    const char **texts = calloc(length + 1, sizeof *texts);
    if (texts == NULL) return srv_in_no_memory(in);
    for (size_t i = 0; i < length; i++) {
        const json_t *one = json_array_get(list, i);
        texts[i] = json_string_value(one);
        if (strlen(texts[i]) == json_string_length(one)) continue;
        free(texts);
        return refuse(in, name, "without U+0000");
    }
    *out = texts;
    *n = length;
    return true;
}

static size_t skip_blanks(const char *json, size_t bytes, size_t at) {
    while (at < bytes && memchr(" \t\r\n", json[at], 4) != NULL) at++;
    return at;
}

// Behind the value that begins at `at`.
static size_t skip_value(const char *json, size_t bytes, size_t at) {
    size_t depth = 0;
    bool in_text = false;
    for (; at < bytes; at++) {
        const char c = json[at];
        if (in_text && c == '\\') {
            at++;
        } else if (c == '"') {
            in_text = !in_text;
            if (!in_text && depth == 0) return at + 1;
        } else if (!in_text && (c == '{' || c == '[')) {
            depth++;
        } else if (!in_text && (c == '}' || c == ']')) {
            if (depth <= 1) return depth == 1 ? at + 1 : at;
            depth--;
        } else if (!in_text && depth == 0 && memchr(", \t\r\n", c, 5) != NULL) {
            return at;
        }
    }
    return bytes;
}

const char *srv_in_raw(const char *object, size_t bytes, const char *name, size_t *value_bytes) {
    const size_t length = strlen(name);
    size_t at = skip_blanks(object, bytes, 0);
    while (at < bytes && object[at] != '}') { // a brace or a comma
        const size_t from = skip_blanks(object, bytes, at + 1);
        at = skip_value(object, bytes, from);
        const bool found = at - from == length + 2 && memcmp(object + from + 1, name, length) == 0;
        const size_t value = skip_blanks(object, bytes, skip_blanks(object, bytes, at) + 1);
        at = skip_value(object, bytes, value);
        if (found && value < at) {
            *value_bytes = at - value;
            return object + value;
        }
        at = skip_blanks(object, bytes, at);
    }
    return NULL;
}

static bool is_in(const char *const *list, const char *name) {
    for (size_t i = 0; list != NULL && list[i] != NULL; i++)
        if (strcmp(list[i], name) == 0) return true;
    return false;
}

void srv_in_only(srv_in *in, const char *const *known, const char *const *ignored,
                 const char *const *refused) {
    const char *name;
    json_t *value;
    // Iterating changes nothing; the library's macro has no form for a const object.
    json_object_foreach((json_t *)(uintptr_t)in->object, name, value) {
        if (in->failed) return;
        if (is_in(known, name) || is_in(ignored, name)) continue;
        char cut[MAX_NAME + 1], full[NAME_BYTES];
        size_t n = strlen(name);
        if (n > MAX_NAME) n = MAX_NAME;
        while (n > 0 && ((unsigned char)name[n] & 0xc0) == 0x80) n--;
        for (size_t i = 0; i < n; i++) cut[i] = (unsigned char)name[i] < 0x20 ? '?' : name[i];
        cut[n] = 0;
        full_name(in, cut, full);
        if (is_in(refused, name)) {
            if (json_is_null(value)) continue;
            in->failed = true;
            srv_refuse(in->why, full, "'%s' is not supported.", full);
        } else {
            in->failed = true;
            srv_refuse(in->why, full, "Unrecognized request argument supplied: %s", full);
        }
    }
}
