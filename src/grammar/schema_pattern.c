// SPDX-License-Identifier: MIT
#include "base/utf8.h"
#include "grammar/grammar.h"
#include "grammar/schema_parts.h"

#include <string.h>

// --- sets of characters --------------------------------------------------------------------------

enum { MAX_RANGES = 64, MAX_CHAR = 0x10ffff };

typedef struct char_set {
    uint32_t n, range[MAX_RANGES][2];
} char_set;

// Lengths in characters of the texts that something stands for; high may be INKI_SCHEMA_OPEN.
typedef struct text_length {
    uint64_t low, high;
} text_length;

typedef struct pattern {
    inki_schema *s;
    const uint8_t *text;
    size_t n, at;
    uint32_t node;
    // What "without end" stands for, so that the whole has a length that fits.
    uint32_t least, most;
    uint32_t low, high; // of the whole
} pattern;

static void pattern_fail(pattern *p, const char *what) {
    inki_schema_fail(p->s, INK_E_UNSUPPORTED, p->node, what);
    p->at = p->n;
}

static int look(const pattern *p, size_t ahead) {
    return p->at + ahead < p->n ? p->text[p->at + ahead] : -1;
}

static bool take(pattern *p, char c) {
    const bool there = look(p, 0) == c;
    p->at += there;
    return there;
}

static void add_range(pattern *p, char_set *set, uint32_t low, uint32_t high) {
    if (set->n == MAX_RANGES) {
        pattern_fail(p, "a set of over 64 ranges");
        return;
    }
    uint32_t i = set->n++;
    (void)inki_schema_work(p->s, 1 + i / 8);
    for (; i > 0 && set->range[i - 1][0] > low; i--)
        memcpy(set->range[i], set->range[i - 1], sizeof set->range[i]);
    set->range[i][0] = low;
    set->range[i][1] = high;
}

static void invert(pattern *p, char_set *set) {
    char_set out = {0};
    uint32_t from = 0;
    for (uint32_t i = 0; i < set->n; i++) {
        if (set->range[i][0] > from) add_range(p, &out, from, set->range[i][0] - 1);
        if (set->range[i][1] >= from) from = set->range[i][1] + 1;
    }
    if (from <= MAX_CHAR) add_range(p, &out, from, MAX_CHAR);
    *set = out;
}

// \d \w \s as regular expressions of ECMAScript have them, pairs of a range each.
static const uint16_t digits[] = {'0', '9'};
static const uint16_t word_chars[] = {'0', '9', 'A', 'Z', '_', '_', 'a', 'z'};
static const uint16_t blanks[] = {9,      13,     32,     32,     0xa0,   0xa0,   0x1680,
                                  0x1680, 0x2000, 0x200a, 0x2028, 0x2029, 0x202f, 0x202f,
                                  0x205f, 0x205f, 0x3000, 0x3000, 0xfeff, 0xfeff};
static const uint16_t line_ends[] = {10, 10, 13, 13, 0x2028, 0x2029};

static void add_class(pattern *p, char_set *set, const uint16_t *pairs, size_t n, bool inverted) {
    char_set one = {0};
    for (size_t i = 0; i < n; i += 2) add_range(p, &one, pairs[i], pairs[i + 1]);
    if (inverted) invert(p, &one);
    for (uint32_t i = 0; i < one.n; i++) add_range(p, set, one.range[i][0], one.range[i][1]);
}

static uint32_t hex_number(pattern *p, uint32_t n) {
    uint32_t c = 0;
    for (uint32_t i = 0; i < n; i++, p->at++) {
        const int d = look(p, 0), low = d | 0x20;
        const bool number = d >= '0' && d <= '9';
        if (!number && (low < 'a' || low > 'f')) {
            pattern_fail(p, "a hexadecimal digit is missing");
            return 0;
        }
        c = c << 4 | (uint32_t)(number ? d - '0' : low - 'a' + 10);
    }
    return c;
}

// Behind a backslash. Returns the character, or MAX_CHAR + 1 where a class was added to the set.
static uint32_t escape_of(pattern *p, char_set *set) {
    static const char names[] = "tnvfr0", chars[] = "\t\n\v\f\r";
    const int c = look(p, 0), low = c | 0x20;
    p->at++;
    if (low == 'd' || low == 'w' || low == 's') {
        const bool inverted = c != low;
        if (low == 'd') add_class(p, set, digits, 2, inverted);
        if (low == 'w') add_class(p, set, word_chars, 8, inverted);
        if (low == 's') add_class(p, set, blanks, 20, inverted);
        return MAX_CHAR + 1;
    }
    const char *name = c > 0 ? strchr(names, c) : NULL;
    if (name != NULL && (c != '0' || look(p, 0) < '0' || look(p, 0) > '9'))
        return (uint32_t)(unsigned char)chars[name - names];
    if (c == 'x') return hex_number(p, 2);
    if (c == 'u' && take(p, '{')) {
        uint32_t n = 0;
        while (n < 6 && look(p, n) != '}') n++;
        const uint32_t wide = hex_number(p, n);
        if (n == 0 || !take(p, '}') || wide > MAX_CHAR) pattern_fail(p, "no character");
        return wide;
    }
    if (c == 'u') return hex_number(p, 4);
    if (c < 0x21 || c > 0x7e || (low >= 'a' && low <= 'z') || (c >= '0' && c <= '9'))
        pattern_fail(p, "an escape that is not supported");
    return (uint32_t)c;
}

static uint32_t next_char(pattern *p) {
    uint32_t c = 0;
    p->at += inki_utf8_decode(p->text + p->at, p->n - p->at, &c);
    return c;
}

// Behind "[".
static void read_set(pattern *p, char_set *set) {
    const bool inverted = take(p, '^');
    while (!take(p, ']')) {
        if (p->at >= p->n) {
            pattern_fail(p, "']' is missing");
            return;
        }
        const uint32_t low = take(p, '\\') ? escape_of(p, set) : next_char(p);
        uint32_t high = low;
        if (low <= MAX_CHAR && look(p, 0) == '-' && look(p, 1) != ']') {
            p->at++;
            high = take(p, '\\') ? escape_of(p, set) : next_char(p);
            if (high > MAX_CHAR || high < low) pattern_fail(p, "a range that is none");
        }
        if (low <= MAX_CHAR) add_range(p, set, low, high);
    }
    if (inverted) invert(p, set);
}

// As JSON writes them: what needs an escape has its own. Of the control characters only those with
// a short one, if there is anything else.
static void put_set(pattern *p, const char_set *set) {
    static const char short_names[] = "btnvfr"; // 8 to 13; there is no \v
    static const uint32_t plain[][2] = {
        {0x20, 0x21}, {0x23, 0x5b}, {0x5d, 0x7e}, {0x80, 0xd7ff}, {0xe000, MAX_CHAR}};
    inki_schema *s = p->s;
    const char *between = "([";
    bool open = false;
    for (uint32_t i = 0; i < set->n; i++)
        for (uint32_t k = 0; k < 5; k++) {
            const uint32_t low = set->range[i][0] > plain[k][0] ? set->range[i][0] : plain[k][0];
            const uint32_t high = set->range[i][1] < plain[k][1] ? set->range[i][1] : plain[k][1];
            if (low > high) continue;
            inki_schema_put(s, "%s", open ? "" : between);
            open = true;
            inki_schema_put_class(s, low);
            if (high > low) inki_schema_put(s, "-");
            if (high > low) inki_schema_put_class(s, high);
        }
    between = open ? "] | " : "(";
    (void)inki_schema_work(s, 8 * set->n);
    for (uint32_t c = 0; c < 0x60; c++) {
        bool in = false;
        for (uint32_t i = 0; i < set->n; i++) in |= c >= set->range[i][0] && c <= set->range[i][1];
        const bool named = c >= 8 && c <= 13 && c != 11;
        if (!in || (c >= 0x20 && c != '"' && c != '\\')) continue;
        if (c < 0x20 && !named && between[0] != '(') continue;
        if (c >= 0x20)
            inki_schema_put(s, "%s\"\\\\\\%c\"", between, (int)c);
        else if (named)
            inki_schema_put(s, "%s\"\\\\%c\"", between, short_names[c - 8]);
        else
            inki_schema_put(s, "%s\"\\\\u%04x\"", between, c);
        between = " | ";
    }
    if (between[0] == '(') pattern_fail(p, "a set that nothing is in");
    inki_schema_put(s, between[0] == ']' ? "])" : ")");
}

// --- what is built of them -----------------------------------------------------------------------

static text_length put_choice(pattern *p, uint32_t depth);

static uint64_t times(uint64_t a, uint64_t b) {
    if (a == 0 || b == 0) return 0;
    return a >= INKI_SCHEMA_OPEN || b >= INKI_SCHEMA_OPEN || a * b > INKI_SCHEMA_OPEN
               ? INKI_SCHEMA_OPEN
               : a * b;
}

static text_length put_atom(pattern *p, uint32_t depth) {
    static const char syntax[] = "^$*+?{}|)]";
    const int c = look(p, 0);
    char_set set = {0};
    if (take(p, '(')) {
        if (take(p, '?') && !take(p, ':')) pattern_fail(p, "a group that is not supported");
        if (depth == 32) pattern_fail(p, "groups over 32 deep");
        const text_length length = put_choice(p, depth + 1);
        if (!take(p, ')')) pattern_fail(p, "')' is missing");
        return length;
    }
    if (c < 0 || (c < 0x80 && strchr(syntax, c) != NULL)) {
        pattern_fail(p, c == '^' || c == '$' ? "an anchor inside is not supported"
                                             : "a character that is out of place");
    } else if (take(p, '[')) {
        read_set(p, &set);
    } else if (take(p, '.')) {
        add_class(p, &set, line_ends, 6, true);
    } else {
        const uint32_t one = take(p, '\\') ? escape_of(p, &set) : next_char(p);
        if (one <= MAX_CHAR) add_range(p, &set, one, one);
    }
    put_set(p, &set);
    return (text_length){1, 1};
}

static uint32_t decimal_number(pattern *p) {
    uint32_t n = 0;
    const size_t from = p->at;
    for (; look(p, 0) >= '0' && look(p, 0) <= '9'; p->at++)
        if (n <= INKI_GRAMMAR_MAX_REPEAT) n = n * 10 + (uint32_t)(look(p, 0) - '0');
    if (from == p->at) pattern_fail(p, "a number is missing");
    (void)inki_schema_work(p->s, (p->at - from) / 4);
    return n;
}

// *low, *high of "*", "+", "?", "{2,3}"; false: there is none of them.
static bool read_repeat(pattern *p, uint32_t *low, uint32_t *high) {
    *low = look(p, 0) == '+';
    *high = look(p, 0) == '?' ? 1 : INKI_SCHEMA_OPEN;
    if (take(p, '{')) {
        *high = *low = decimal_number(p);
        if (take(p, ',')) *high = look(p, 0) == '}' ? INKI_SCHEMA_OPEN : decimal_number(p);
        if (!take(p, '}') || *high < *low) pattern_fail(p, "a repetition that is none");
    } else if (!take(p, '*') && !take(p, '+') && !take(p, '?')) {
        return false;
    }
    take(p, '?'); // the fewest first: the same texts
    return true;
}

static text_length put_sequence(pattern *p, uint32_t depth) {
    text_length all = {0, 0};
    inki_schema_put(p->s, "\"\"");
    while (p->s->status == INK_OK && p->at < p->n && look(p, 0) != '|' && look(p, 0) != ')' &&
           !(depth == 0 && look(p, 0) == '$')) {
        uint32_t low, high;
        inki_schema_put(p->s, " ");
        text_length one = put_atom(p, depth);
        if (read_repeat(p, &low, &high)) {
            if (high == INKI_SCHEMA_OPEN) {
                if (one.low == 0) pattern_fail(p, "a repetition of what may be empty");
                if (low < p->least) low = p->least;
                high = p->most;
                if (high < low) high = low;
            }
            inki_schema_put_repeat(p->s, low, high);
            one.low = times(one.low, low);
            one.high = times(one.high, high);
        }
        all.low += one.low;
        all.high += one.high;
        if (all.high > INKI_SCHEMA_OPEN) all.high = INKI_SCHEMA_OPEN;
    }
    return all;
}

// An alternative of the whole: what is not anchored may stand among any characters. Where lengths
// are bounded, they all come behind it.
static text_length put_anchored(pattern *p) {
    const bool bounded = p->low > 0 || p->high != INKI_SCHEMA_OPEN;
    if (!take(p, '^') && !bounded) inki_schema_put(p->s, "\1%u* ", INKI_RULE_CHAR);
    text_length all = put_sequence(p, 0);
    if (take(p, '$')) return all;
    const uint32_t low = p->low > all.low ? (uint32_t)(p->low - all.low) : 0;
    const uint32_t room = p->high == INKI_SCHEMA_OPEN ? p->high
                          : p->high > all.high        ? (uint32_t)(p->high - all.high)
                                                      : 0;
    if (room < low) return all;
    inki_schema_put(p->s, " \1%u", INKI_RULE_CHAR);
    inki_schema_put_repeat(p->s, low, room);
    all.low += low;
    all.high = room == INKI_SCHEMA_OPEN ? room : all.high + room;
    return all;
}

static text_length put_choice(pattern *p, uint32_t depth) {
    text_length all = {UINT64_MAX, 0};
    inki_schema_put(p->s, "(");
    for (bool more = true; more && p->s->status == INK_OK;) {
        const text_length one = depth == 0 ? put_anchored(p) : put_sequence(p, depth);
        if (one.low < all.low) all.low = one.low;
        if (one.high > all.high) all.high = one.high;
        more = take(p, '|');
        if (more) inki_schema_put(p->s, " | ");
    }
    inki_schema_put(p->s, ")");
    return all;
}

// --- formats -------------------------------------------------------------------------------------

#define TIME "([01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(\\.\\d{1,6})?(Z|[+-]([01]\\d|2[0-3]):[0-5]\\d)"
#define DATE                                                                                       \
    "[12]\\d{3}-((0[13578]|1[02])-(0[1-9]|[12]\\d|3[01])|(0[469]|11)-(0[1-9]|[12]\\d|30)|"         \
    "02-(0[1-9]|1\\d|2[0-8]))"
#define OCTET "(25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)"
#define LABEL "[A-Za-z0-9]{1,30}(-[A-Za-z0-9]{1,30})?"
#define NAME  "[A-Za-z0-9]+(-[A-Za-z0-9]+)?"
#define LOCAL "[A-Za-z0-9_+-]+"
#define PATH  "[A-Za-z0-9._~-]*"

// Each is a part of what the format allows; leap days and seconds are left out. Where a bound may
// stand beside it, it is of few repetitions without end, which can be made shorter.
static const struct {
    const char *name, *pattern;
} formats[] = {
    {"date", "^" DATE "$"},
    {"time", "^" TIME "$"},
    {"date-time", "^" DATE "T" TIME "$"},
    {"duration", "^P(\\d{1,4}(D(T\\d{1,4}[HMS])?|[WMY])|T\\d{1,4}[HMS])$"},
    {"uuid", "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"},
    {"ipv4", "^" OCTET "(\\." OCTET "){3}$"},
    {"ipv6", "^[0-9a-f]{1,4}(:[0-9a-f]{1,4}){7}$"},
    {"hostname", "^" LABEL "(\\." LABEL "){0,3}$"},
    {"email", "^" LOCAL "(\\." LOCAL ")?@" NAME "(\\." NAME ")?\\.[A-Za-z]{2,6}$"},
    {"uri",
     "^https?://" NAME "(\\." NAME "){0,3}(:[1-9]\\d{0,3})?(/" PATH ")*(\\?[A-Za-z0-9._~=&-]*)?"
     "(#" PATH ")?$"},
};

static const char *pattern_of_format(inki_str name) {
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (inki_str_equal(name, formats[i].name)) return formats[i].pattern;
    return NULL;
}

void inki_schema_pattern(inki_schema *s, uint32_t rule, uint32_t node, bool format, uint32_t low,
                         uint32_t high) {
    const inki_str written = s->json.nodes[node].text;
    const char *known = format ? pattern_of_format(written) : NULL;
    pattern p = {.s = s, .node = node, .low = low, .high = high};
    p.text = (const uint8_t *)(format ? known : written.data);
    p.n = !format ? written.bytes : known != NULL ? strlen(known) : 0;
    if (format && known == NULL)
        inki_schema_fail(s, INK_E_UNSUPPORTED, node, "this format is not supported");
    // With bounds, what may repeat without end gets ends, until all lengths fit.
    p.most =
        high > INKI_GRAMMAR_MAX_REPEAT && high != INKI_SCHEMA_OPEN ? INKI_GRAMMAR_MAX_REPEAT : high;
    while (s->status == INK_OK) {
        p.at = 0;
        inki_schema_begin(s, rule);
        inki_schema_put(s, "\"\\\"\" ");
        const text_length length = put_choice(&p, 0);
        inki_schema_put(s, " \"\\\"\"");
        if (p.at < p.n) pattern_fail(&p, "a character that is out of place");
        if (length.low >= low && length.high <= high) {
            inki_schema_end(s);
            return;
        }
        if (length.low < low && p.least < low && p.least < INKI_GRAMMAR_MAX_REPEAT &&
            p.least < p.most)
            p.least++;
        else if (length.high > high && p.most > p.least && p.most > 0)
            p.most -= p.most / 8 + 1 < p.most - p.least ? p.most / 8 + 1 : p.most - p.least;
        else
            break;
    }
    inki_schema_fail(s, INK_E_UNSUPPORTED, node, "not supported beside these lengths");
}
#undef TIME
#undef DATE
#undef OCTET
#undef LABEL
#undef NAME
#undef LOCAL
#undef PATH
