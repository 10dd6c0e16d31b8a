// SPDX-License-Identifier: MIT
#include "base/json.h"

#include "base/number.h"
#include "base/utf8.h"

#include <string.h>

// The text is read twice: first nothing is kept, which checks it and tells how much memory it
// takes; then the blocks are filled.
typedef struct json_reader {
    const char *text;
    size_t bytes, at;
    inki_json_node *nodes; // NULL: only counted
    char *strings;         // NULL: only added up
    size_t n_nodes, n_chars;
    ink_error *error;
} json_reader;

void inki_json_place(const char *text, size_t at, uint32_t *line, uint32_t *column) {
    size_t start = 0;
    *line = 1;
    for (size_t i = 0; i < at; i++)
        if (text[i] == '\n') {
            ++*line;
            start = i + 1;
        }
    *column = (uint32_t)(at - start + 1);
}

static ink_status json_fail(json_reader *r, ink_status status, size_t at, const char *what) {
    uint32_t line, column;
    inki_json_place(r->text, at, &line, &column);
    return inki_fail(r->error, status, NULL, at, "line %u, column %u: %s", line, column, what);
}

static int json_peek(const json_reader *r) {
    return r->at < r->bytes ? (unsigned char)r->text[r->at] : -1;
}

// The next character that is no blank, or -1 at the end.
static int json_blank(json_reader *r) {
    int c = json_peek(r);
    while (c == ' ' || c == '\t' || c == '\n' || c == '\r') {
        r->at++;
        c = json_peek(r);
    }
    return c;
}

static size_t json_digits(json_reader *r) {
    const size_t from = r->at;
    while (json_peek(r) >= '0' && json_peek(r) <= '9') r->at++;
    return r->at - from;
}

static ink_status json_number(json_reader *r) {
    if (json_peek(r) == '-') r->at++;
    bool good = true;
    if (json_peek(r) == '0')
        r->at++;
    else
        good = json_digits(r) > 0;
    if (good && json_peek(r) == '.') {
        r->at++;
        good = json_digits(r) > 0;
    }
    if (good && (json_peek(r) | 0x20) == 'e') {
        r->at++;
        if (json_peek(r) == '+' || json_peek(r) == '-') r->at++;
        good = json_digits(r) > 0;
    }
    return good ? INK_OK : json_fail(r, INK_E_FORMAT, r->at, "a digit was expected");
}

// The four digits of \uXXXX, r->at before them; above 0xffff if they are none.
static uint32_t json_hex(json_reader *r) {
    uint32_t c = 0;
    for (int i = 0; i < 4; i++, r->at++) {
        const int d = json_peek(r), low = d | 0x20;
        if (d >= '0' && d <= '9')
            c = c << 4 | (uint32_t)(d - '0');
        else if (low >= 'a' && low <= 'f')
            c = c << 4 | (uint32_t)(low - 'a' + 10);
        else
            return UINT32_MAX;
    }
    return c;
}

// r->at behind a backslash.
static ink_status json_escape(json_reader *r, uint32_t *out) {
    static const char names[] = "\"\\/bfnrt", chars[] = "\"\\/\b\f\n\r\t";
    const size_t at = r->at - 1;
    const int c = json_peek(r);
    const char *name = c > 0 ? strchr(names, c) : NULL;
    r->at++;
    if (name != NULL) {
        *out = (uint32_t)chars[name - names];
        return INK_OK;
    }
    uint32_t high = c == 'u' ? json_hex(r) : UINT32_MAX;
    if (high > 0xffff) return json_fail(r, INK_E_FORMAT, at, "no escape of JSON");
    if (high - 0xd800 < 0x800) {
        uint32_t low = 0;
        if (high < 0xdc00 && r->bytes - r->at >= 6 && memcmp(r->text + r->at, "\\u", 2) == 0) {
            r->at += 2;
            low = json_hex(r);
        }
        if (low - 0xdc00 >= 0x400)
            return json_fail(r, INK_E_FORMAT, at, "half of a surrogate pair");
        high = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
    }
    *out = high;
    return INK_OK;
}

// r->at at the quote.
static ink_status json_string(json_reader *r, inki_str *out) {
    const size_t from = r->at++, start = r->n_chars;
    for (;;) {
        const int c = json_peek(r);
        char decoded[4] = {(char)c};
        size_t n = 1;
        if (c < 0) return json_fail(r, INK_E_FORMAT, from, "a string that does not end");
        if (c < 0x20) return json_fail(r, INK_E_FORMAT, r->at, "a control character in a string");
        r->at++;
        if (c == '"') break;
        if (c == '\\') {
            uint32_t code = 0;
            const ink_status status = json_escape(r, &code);
            if (status != INK_OK) return status;
            n = inki_utf8_encode(code, decoded);
        }
        if (r->strings != NULL) memcpy(r->strings + r->n_chars, decoded, n);
        r->n_chars += n;
    }
    *out = (inki_str){r->strings != NULL ? r->strings + start : "", r->n_chars - start};
    return INK_OK;
}

static ink_status json_value(json_reader *r, inki_str key, uint32_t depth);

// A member's name and the colon; r->at at the value then.
static ink_status json_key(json_reader *r, inki_str *key) {
    if (json_blank(r) != '"')
        return json_fail(r, INK_E_FORMAT, r->at, "a member's name in quotes was expected");
    const size_t at = r->at;
    const ink_status status = json_string(r, key);
    if (status != INK_OK) return status;
    // Until its children are known, json_link's complaint needs to know where the name stands.
    if (r->nodes != NULL) r->nodes[r->n_nodes].first = (uint32_t)at;
    if (json_blank(r) != ':') return json_fail(r, INK_E_FORMAT, r->at, "':' was expected");
    r->at++;
    return INK_OK;
}

// The children of node `parent`; r->at at its bracket.
static ink_status json_children(json_reader *r, size_t parent, bool object, uint32_t depth) {
    const int close = object ? '}' : ']';
    uint32_t n = 0;
    r->at++;
    if (json_blank(r) == close) {
        r->at++;
        return INK_OK;
    }
    for (int c = ','; c == ','; n++) {
        inki_str key = {"", 0};
        ink_status status = INK_OK;
        if (object) status = json_key(r, &key);
        if (status == INK_OK) status = json_value(r, key, depth + 1);
        if (status != INK_OK) return status;
        c = json_blank(r);
        if (c != ',' && c != close)
            return json_fail(r, INK_E_FORMAT, r->at,
                             object ? "',' or '}' was expected" : "',' or ']' was expected");
        r->at++;
    }
    if (r->nodes != NULL) r->nodes[parent].n = n;
    return INK_OK;
}

static ink_status json_literal(json_reader *r, inki_json_kind *kind) {
    static const char *const words[] = {"null", "false", "true"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        const size_t n = strlen(words[i]);
        if (r->bytes - r->at >= n && memcmp(r->text + r->at, words[i], n) == 0) {
            *kind = INKI_JSON_NULL + (inki_json_kind)i;
            r->at += n;
            return INK_OK;
        }
    }
    return json_fail(r, INK_E_FORMAT, r->at, "a JSON value was expected");
}

static ink_status json_value(json_reader *r, inki_str key, uint32_t depth) {
    const int c = json_blank(r);
    const size_t at = r->at, node = r->n_nodes++;
    if (node == INKI_JSON_MAX_NODES) return json_fail(r, INK_E_LIMIT, at, "over 65536 values");
    inki_json_kind kind = INKI_JSON_NUMBER;
    inki_str text = {"", 0};
    ink_status status;
    if (c == '{' || c == '[') {
        kind = c == '{' ? INKI_JSON_OBJECT : INKI_JSON_ARRAY;
        if (depth == INKI_JSON_MAX_DEPTH)
            return json_fail(r, INK_E_LIMIT, at, "nested over 64 deep");
        status = json_children(r, node, c == '{', depth);
    } else if (c == '"') {
        kind = INKI_JSON_STRING;
        status = json_string(r, &text);
    } else if (c == '-' || (c >= '0' && c <= '9')) {
        status = json_number(r);
    } else {
        status = json_literal(r, &kind);
    }
    if (status != INK_OK || r->nodes == NULL) return status;
    inki_json_node *out = &r->nodes[node];
    out->kind = kind;
    out->at = (uint32_t)at;
    out->key = key;
    if (kind == INKI_JSON_NUMBER) (void)inki_parse_double(r->text + at, r->at - at, &out->number);
    out->text = kind == INKI_JSON_STRING ? text : (inki_str){r->text + at, r->at - at};
    return INK_OK;
}

int inki_str_order(inki_str a, inki_str b) {
    const size_t least = a.bytes < b.bytes ? a.bytes : b.bytes;
    const int order = least > 0 ? memcmp(a.data, b.data, least) : 0;
    return order != 0 ? order : (a.bytes > b.bytes) - (a.bytes < b.bytes);
}

static int json_name_order(void *nodes, uint32_t a, uint32_t b) {
    return inki_str_order(((inki_json_node *)nodes)[a].key, ((inki_json_node *)nodes)[b].key);
}

void inki_json_sort(uint32_t *list, uint32_t *spare, uint32_t n,
                    int (*order)(void *context, uint32_t a, uint32_t b), void *context) {
    for (uint32_t run = 1; run < n; run *= 2) {
        for (uint32_t i = 0; i < n;) {
            uint32_t a = i, b = n - i > run ? i + run : n;
            const uint32_t middle = b, end = n - b > run ? b + run : n;
            for (; i < end; i++)
                spare[i] = b == end || (a < middle && order(context, list[a], list[b]) <= 0)
                               ? list[a++]
                               : list[b++];
        }
        memcpy(list, spare, n * sizeof *list);
    }
}

// The children of each node become a list, and one that can be searched: nodes stand before their
// children, so the next one of a parent is behind all that is below the last. Sorted by name, two
// of a name stand side by side.
static ink_status json_link(json_reader *r, inki_json *json) {
    uint32_t open[INKI_JSON_MAX_DEPTH + 2], got[INKI_JSON_MAX_DEPTH + 2], depth = 0, used = 0;
    inki_json_node *nodes = json->nodes;
    uint32_t *lists = json->lists, twice = 0;
    for (uint32_t i = 0; i < json->n_nodes; i++) {
        if (depth > 0) {
            uint32_t *list = lists + nodes[open[depth]].list, *n = &got[depth];
            if (*n > 0) nodes[list[*n - 1]].next = i;
            list[(*n)++] = i;
        }
        nodes[i].list = nodes[i].n > 0 ? used : 0;
        used += nodes[i].n;
        open[++depth] = i;
        got[depth] = 0;
        for (; depth > 0 && got[depth] == nodes[open[depth]].n; depth--) {
            const inki_json_node *done = &nodes[open[depth]];
            uint32_t *list = lists + done->list;
            if (done->kind != INKI_JSON_OBJECT) continue;
            inki_json_sort(list, lists + json->nodes_cap, done->n, json_name_order, nodes);
            for (uint32_t k = 1; k < done->n; k++)
                if (json_name_order(nodes, list[k - 1], list[k]) == 0 &&
                    (twice == 0 || list[k] < twice))
                    twice = list[k];
        }
    }
    if (twice != 0)
        return json_fail(r, INK_E_FORMAT, nodes[twice].first,
                         "a member's name that was there already");
    for (uint32_t i = 0; i < json->n_nodes; i++) nodes[i].first = nodes[i].n > 0 ? i + 1 : 0;
    return INK_OK;
}

static ink_status json_text(json_reader *r) {
    r->at = r->n_nodes = r->n_chars = 0;
    const ink_status status = json_value(r, (inki_str){"", 0}, 0);
    if (status == INK_OK && json_blank(r) != -1)
        return json_fail(r, INK_E_FORMAT, r->at, "the text goes on behind the value");
    return status;
}

// The second reading.
static ink_status json_fill(json_reader *r, inki_json *json) {
    const inki_mem *mem = &json->mem;
    json->lists = inki_alloc(mem, json->nodes_cap, 2 * sizeof *json->lists);
    r->nodes = json->nodes = inki_alloc_zero(mem, json->nodes_cap, sizeof *json->nodes);
    r->strings = json->strings = inki_alloc(mem, json->strings_bytes, 1);
    if (json->lists == NULL || r->nodes == NULL || r->strings == NULL)
        return inki_fail_nomem(r->error, json->nodes_cap * sizeof *json->nodes);
    const ink_status status = json_text(r);
    return status == INK_OK ? json_link(r, json) : status;
}

ink_status inki_json_parse(inki_json *out, const char *text, size_t bytes, const inki_mem *mem,
                           ink_error *error) {
    json_reader r = {.text = text, .bytes = bytes, .error = error};
    if (bytes > INKI_JSON_MAX_BYTES)
        return inki_fail(error, INK_E_LIMIT, NULL, 0, "JSON over 1 MiB");
    for (size_t i = 0, n; i < bytes; i += n) {
        uint32_t c;
        n = inki_utf8_decode((const uint8_t *)text + i, bytes - i, &c);
        if (n == 0) return json_fail(&r, INK_E_UTF8, i, "the text is not UTF-8");
    }
    ink_status status = json_text(&r);
    if (status != INK_OK) return status;
    inki_json json = {.n_nodes = (uint32_t)r.n_nodes,
                      .source = text,
                      .source_bytes = bytes,
                      .nodes_cap = r.n_nodes,
                      .strings_bytes = r.n_chars + 1,
                      .mem = *mem};
    status = json_fill(&r, &json);
    if (status == INK_OK)
        *out = json;
    else
        inki_json_free(&json);
    return status;
}

void inki_json_free(inki_json *json) {
    inki_release(&json->mem, json->lists, json->nodes_cap, 2 * sizeof *json->lists);
    inki_release(&json->mem, json->nodes, json->nodes_cap, sizeof *json->nodes);
    inki_release(&json->mem, json->strings, json->strings_bytes, 1);
    *json = (inki_json){0};
}

uint32_t inki_json_member(const inki_json *json, uint32_t object, inki_str name) {
    const inki_json_node *nodes = json->nodes, *of = &nodes[object];
    uint32_t low = of->list, high = of->kind == INKI_JSON_OBJECT ? low + of->n : low;
    while (low < high) {
        const uint32_t middle = (low + high) / 2, node = json->lists[middle];
        const int order = inki_str_order(nodes[node].key, name);
        if (order == 0) return node;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return 0;
}

const inki_json_node *inki_json_get(const inki_json *json, const inki_json_node *object,
                                    const char *key) {
    if (object == NULL) return NULL;
    const uint32_t node =
        inki_json_member(json, (uint32_t)(object - json->nodes), (inki_str){key, strlen(key)});
    return node != 0 ? &json->nodes[node] : NULL;
}
