// SPDX-License-Identifier: MIT
#include "base/mix.h"
#include "base/utf8.h"
#include "grammar/grammar_parts.h"

#include <string.h>

static uint32_t read_choice(inki_gbnf *r, unsigned depth);

static void read_fail(inki_gbnf *r, size_t at, const char *text) {
    inki_gbnf_fail(r, INK_E_FORMAT, at, text);
}

static int read_peek(const inki_gbnf *r) {
    return r->at < r->n ? (unsigned char)r->text[r->at] : -1;
}

static bool read_is(inki_gbnf *r, char c) {
    if (read_peek(r) != c) return false;
    r->at++;
    return true;
}

// Blanks and comments; line ends only where the rule goes on behind them.
static void read_blank(inki_gbnf *r, bool lines) {
    for (int c; (c = read_peek(r)) >= 0; r->at++) {
        if (c == '#')
            while (r->at + 1 < r->n && r->text[r->at + 1] != '\n' && r->text[r->at + 1] != '\r')
                r->at++;
        else if (c != ' ' && c != '\t' && !(lines && (c == '\n' || c == '\r')))
            return;
    }
}

static bool is_name(int c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
           c == '_';
}

static inki_str read_rule_name(inki_gbnf *r) {
    const size_t from = r->at;
    while (is_name(read_peek(r))) r->at++;
    return (inki_str){r->text + from, r->at - from};
}

// The rule of that name; made when it is met first.
static uint32_t read_rule_named(inki_gbnf *r, inki_str name) {
    uint64_t hash = 0;
    for (size_t i = 0; i < name.bytes; i++)
        hash = inki_mix64(hash + (unsigned char)name.data[i] + INKI_GOLDEN64);
    uint32_t *first = &r->names[hash % INKI_GBNF_HASHES];
    const inki_gbnf_rule *rules = r->rules.data;
    for (uint32_t i = *first; i != 0 && inki_gbnf_alike(r); i = rules[i - 1].same_hash)
        if (rules[i - 1].name.bytes == name.bytes &&
            memcmp(rules[i - 1].name.data, name.data, name.bytes) == 0)
            return i - 1;
    const uint32_t made = inki_gbnf_rule_add(r, name);
    if (r->status != INK_OK) return 0;
    ((inki_gbnf_rule *)r->rules.data)[made].same_hash = *first;
    *first = made + 1;
    return made;
}

static uint32_t read_item_add(inki_gbnf *r, inki_gbnf_item item) {
    const uint32_t at = (uint32_t)r->items.n;
    inki_gbnf_item *to = inki_gbnf_add(r, &r->items, 1, sizeof *to);
    if (to == NULL) return 0;
    *to = item;
    return at;
}

static inki_gbnf_item *read_item(const inki_gbnf *r, uint32_t at) {
    return (inki_gbnf_item *)r->items.data + at;
}

// One character of a literal or class, escaped or not.
static uint32_t read_char(inki_gbnf *r) {
    static const char escapes[] = "n\nr\rt\t\\\\\"\"[[]]--";
    const size_t from = r->at;
    uint32_t c = 0;
    if (!read_is(r, '\\')) {
        const size_t step = inki_utf8_decode((const uint8_t *)r->text + r->at, r->n - r->at, &c);
        if (step == 0) read_fail(r, from, "a literal or class that does not end");
        r->at += step;
        return c;
    }
    const int kind = read_peek(r);
    r->at += kind >= 0;
    const int n_digits = kind == 'x' ? 2 : kind == 'u' ? 4 : kind == 'U' ? 8 : 0;
    for (int i = 0; i < n_digits; i++, r->at++) {
        const int d = read_peek(r), low = d | 0x20;
        const bool digit = d >= '0' && d <= '9';
        if (!digit && !(low >= 'a' && low <= 'f')) {
            read_fail(r, r->at, "a hexadecimal digit was expected");
            return 0;
        }
        c = c << 4 | (uint32_t)(digit ? d - '0' : low - 'a' + 10);
    }
    if (c > 0x10ffff) read_fail(r, from, "no character is above U+10FFFF");
    if (n_digits > 0) return c;
    for (const char *e = escapes; *e != 0; e += 2)
        if (*e == kind) return (unsigned char)e[1];
    read_fail(r, from,
              "no such escape: \\n \\r \\t \\\\ \\\" \\[ \\] \\- \\xHH \\uHHHH \\UHHHHHHHH");
    return 0;
}

static uint32_t read_literal(inki_gbnf *r) {
    const size_t from = r->bytes.n;
    while (r->status == INK_OK && !read_is(r, '"')) {
        const size_t at = r->at;
        char bytes[4];
        const uint32_t c = read_char(r);
        if (r->status != INK_OK) return 0;
        if (c - 0xd800 < 0x800) {
            read_fail(r, at, "a surrogate is no character");
            return 0;
        }
        const size_t n = inki_utf8_encode(c, bytes);
        char *to = inki_gbnf_add(r, &r->bytes, n, 1);
        if (to != NULL) memcpy(to, bytes, n);
    }
    return read_item_add(r, (inki_gbnf_item){.kind = INKI_GBNF_LITERAL,
                                             .from = (uint32_t)from,
                                             .n = (uint32_t)(r->bytes.n - from)});
}

static uint32_t read_class(inki_gbnf *r, size_t from) {
    inki_vec ranges = {0};
    inki_gbnf_item item = {.kind = INKI_GBNF_CLASS};
    const bool inverted = read_is(r, '^');
    while (r->status == INK_OK && !read_is(r, ']')) {
        const size_t at = r->at;
        const uint32_t first = read_char(r);
        uint32_t last = first;
        if (r->n - r->at >= 2 && r->text[r->at] == '-' && r->text[r->at + 1] != ']') {
            r->at++;
            last = read_char(r);
        }
        if (last < first) read_fail(r, at, "a range that ends before it begins");
        uint64_t *range = inki_gbnf_add(r, &ranges, 1, sizeof *range);
        if (range != NULL) *range = (uint64_t)first << 32 | last;
    }
    if (r->status == INK_OK) {
        inki_gbnf_class(r, ranges.data, (uint32_t)ranges.n, inverted, &item);
        if (ranges.n == 0 || item.from + item.n == 0)
            read_fail(r, from, "a class without a character");
    }
    inki_grammar_vec_free(&ranges, &r->g->mem, sizeof(uint64_t));
    return read_item_add(r, item);
}

// One item without what stands behind it; 0: there is none.
static uint32_t read_plain(inki_gbnf *r, unsigned depth) {
    const size_t from = r->at;
    if (is_name(read_peek(r))) {
        const uint32_t rule = read_rule_named(r, read_rule_name(r));
        if (r->status != INK_OK) return 0;
        inki_gbnf_rule *named = (inki_gbnf_rule *)r->rules.data + rule;
        if (named->at == UINT32_MAX) named->at = (uint32_t)from;
        return read_item_add(r, (inki_gbnf_item){.kind = INKI_GBNF_RULE, .from = rule});
    }
    if (read_is(r, '"')) return read_literal(r);
    if (read_is(r, '[')) return read_class(r, from);
    if (read_is(r, '.')) {
        inki_gbnf_item item = {.kind = INKI_GBNF_CLASS};
        inki_gbnf_class(r, NULL, 0, true, &item);
        return read_item_add(r, item);
    }
    if (!read_is(r, '(')) {
        if (read_peek(r) == '<' || read_peek(r) == '!')
            read_fail(r, from, "tokens are not supported, only text");
        return 0;
    }
    if (depth == INKI_GRAMMAR_MAX_GROUPS) {
        inki_gbnf_fail(r, INK_E_LIMIT, from, "over 100 groups in one another");
        return 0;
    }
    read_blank(r, true);
    const uint32_t group = read_choice(r, depth + 1);
    if (r->status == INK_OK && !read_is(r, ')'))
        read_fail(r, r->at, "\")\" or an item was expected");
    return group;
}

static uint32_t read_number(inki_gbnf *r) {
    const size_t from = r->at;
    uint32_t n = 0;
    for (int c; (c = read_peek(r)) >= '0' && c <= '9'; r->at++)
        if (n <= INKI_GRAMMAR_MAX_REPEAT) n = n * 10 + (uint32_t)(c - '0');
    if (r->at == from) read_fail(r, from, "a number was expected");
    if (n > INKI_GRAMMAR_MAX_REPEAT) inki_gbnf_fail(r, INK_E_LIMIT, from, "over 4096 repetitions");
    return n;
}

// How often: false, nothing is said of it.
static bool read_suffix(inki_gbnf *r, bool lines, uint32_t *low, uint32_t *high) {
    const size_t from = r->at;
    *low = 0;
    *high = INKI_GBNF_NO_LIMIT;
    if (read_is(r, '*')) return true;
    if (read_is(r, '?')) {
        *high = 1;
        return true;
    }
    if (read_is(r, '+')) {
        *low = 1;
        return true;
    }
    if (!read_is(r, '{')) return false;
    read_blank(r, lines);
    *low = *high = read_number(r);
    read_blank(r, lines);
    if (read_is(r, ',')) {
        read_blank(r, lines);
        *high = read_peek(r) == '}' ? INKI_GBNF_NO_LIMIT : read_number(r);
        read_blank(r, lines);
    }
    if (!read_is(r, '}')) read_fail(r, r->at, "\"}\" was expected");
    if (*high < *low) read_fail(r, from, "fewer repetitions at most than at least");
    return true;
}

// A list without a use of its own is its only child.
static uint32_t read_list(inki_gbnf *r, inki_gbnf_kind kind, uint32_t last) {
    if (r->status != INK_OK || (last != 0 && read_item(r, last)->prev == 0)) return last;
    return read_item_add(r, (inki_gbnf_item){.kind = kind, .child = last});
}

static uint32_t read_sequence(inki_gbnf *r, unsigned depth) {
    uint32_t last = 0, item, low, high;
    while (r->status == INK_OK && (item = read_plain(r, depth)) != 0) {
        unsigned n_suffixes = 0;
        read_blank(r, depth > 0);
        for (size_t at = r->at; r->status == INK_OK && read_suffix(r, depth > 0, &low, &high);
             at = r->at) {
            if (++n_suffixes > INKI_GRAMMAR_MAX_SUFFIXES)
                inki_gbnf_fail(r, INK_E_LIMIT, at, "over 4 suffixes");
            item = read_item_add(
                r,
                (inki_gbnf_item){.kind = INKI_GBNF_REPEAT, .from = low, .n = high, .child = item});
            read_blank(r, depth > 0);
        }
        if (r->status != INK_OK) return 0;
        read_item(r, item)->prev = last;
        last = item;
    }
    return read_list(r, INKI_GBNF_SEQUENCE, last);
}

static uint32_t read_choice(inki_gbnf *r, unsigned depth) {
    uint32_t last = 0;
    do {
        if (last != 0) read_blank(r, true);
        const uint32_t sequence = read_sequence(r, depth);
        if (r->status != INK_OK) return 0;
        read_item(r, sequence)->prev = last;
        last = sequence;
    } while (read_is(r, '|'));
    return read_list(r, INKI_GBNF_CHOICE, last);
}

void inki_gbnf_read(inki_gbnf *r) {
    if (r->status != INK_OK) return;
    read_item_add(r, (inki_gbnf_item){0});
    inki_gbnf_node(r, INKI_NODE_END, 0, 0);
    inki_gbnf_node(r, INKI_NODE_RET, 0, 0);
    inki_gbnf_node(r, INKI_NODE_CALL, read_rule_named(r, (inki_str){"root", 4}), INKI_AT_END);
    read_blank(r, true);
    while (r->status == INK_OK && r->at < r->n) {
        const size_t from = r->at;
        const inki_str name = read_rule_name(r);
        if (name.bytes == 0) read_fail(r, from, "the name of a rule was expected");
        read_blank(r, false);
        if (r->n - r->at < 3 || memcmp(r->text + r->at, "::=", 3) != 0)
            read_fail(r, r->at, "\"::=\" was expected");
        if (r->status != INK_OK) return;
        r->at += 3;
        const uint32_t rule = read_rule_named(r, name);
        if (r->status == INK_OK && ((inki_gbnf_rule *)r->rules.data)[rule].item != 0)
            inki_gbnf_fail_rule(r, from, name, "is there already");
        read_blank(r, true);
        const uint32_t item = read_choice(r, 0);
        const int c = read_peek(r);
        if (c >= 0 && c != '\n' && c != '\r')
            read_fail(r, r->at, "an item or a line's end was expected");
        if (r->status != INK_OK) return;
        inki_gbnf_rule *made = (inki_gbnf_rule *)r->rules.data + rule;
        made->item = item;
        made->at = (uint32_t)from;
        read_blank(r, true);
    }
    const inki_gbnf_rule *rules = r->rules.data;
    for (size_t i = 0; r->status == INK_OK && i < r->rules.n; i++)
        if (rules[i].item == 0 && rules[i].name.bytes > 0)
            inki_gbnf_fail_rule(r, rules[i].at == UINT32_MAX ? r->n : rules[i].at, rules[i].name,
                                "is missing");
}
