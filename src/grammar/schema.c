// SPDX-License-Identifier: MIT
#include "grammar/schema.h"

#include "base/mix.h"
#include "grammar/grammar.h"
#include "grammar/schema_parts.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define NO_RULE UINT32_MAX
// A byte 1 and the number, as inki_schema_alt has them.
#define HEX                                                                                        \
    "\1"                                                                                           \
    "1"
#define CHAR                                                                                       \
    "\1"                                                                                           \
    "2"
#define STRING                                                                                     \
    "\1"                                                                                           \
    "4"
#define NUMBER                                                                                     \
    "\1"                                                                                           \
    "5"

// By the numbers of the rules. White space is at most one blank, and numbers have at most 15
// digits: a model cannot lose itself there, and 15 digits are different doubles.
static const char *const given_rules[] = {
    [INKI_RULE_HEX] = "[0-9a-fA-F]",
    [INKI_RULE_CHAR] = "[^\"\\\\\\x00-\\x1f\\x7f] | \"\\\\\" ([\"\\\\/bfnrt] | \"u\" "
                       "([0-9abcefABCEF] " HEX " " HEX " " HEX " | [dD] [0-7] " HEX " " HEX "))",
    [INKI_RULE_PLAIN] = "[^\"\\\\\\x00-\\x1f\\x7f]",
    [INKI_RULE_STRING] = "\"\\\"\" " CHAR "* \"\\\"\"",
    [INKI_RULE_NUMBER] = "\"-\"? (\"0\" | [1-9] [0-9]{0,14}) (\".\" [0-9]{1,15})? "
                         "([eE] [-+]? [0-9]{1,2})?",
    [INKI_RULE_INTEGER] = "\"0\" | \"-\"? [1-9] [0-9]{0,14}",
    [INKI_RULE_SCALAR] = "\"null\" | \"true\" | \"false\" | " NUMBER " | " STRING,
};

// --- what is written -----------------------------------------------------------------------------

void inki_schema_fail(inki_schema *s, ink_status status, uint32_t node, const char *what) {
    if (s->status != INK_OK) return;
    // The way from the root, as a JSON Pointer: nodes stand in the order of the text.
    char path[256];
    size_t n = 0;
    const inki_json_node *nodes = s->json.nodes;
    path[0] = 0;
    for (uint32_t at = 0; at != node && n < sizeof path - 1;) {
        const bool object = nodes[at].kind == INKI_JSON_OBJECT;
        uint32_t i = nodes[at].first, index = 0;
        for (; nodes[i].next != 0 && nodes[i].next <= node; index++) i = nodes[i].next;
        const int wrote = object ? snprintf(path + n, sizeof path - n, "/%.*s",
                                            nodes[i].key.bytes < 64 ? (int)nodes[i].key.bytes : 64,
                                            nodes[i].key.data)
                                 : snprintf(path + n, sizeof path - n, "/%u", index);
        n = wrote < 0 ? sizeof path : n + (size_t)wrote;
        at = i;
    }
    uint32_t line, column;
    inki_json_place(s->json.source, nodes[node].at, &line, &column);
    s->status = inki_fail(s->error, status, path, nodes[node].at, "line %u, column %u: %s", line,
                          column, what);
}

bool inki_schema_work(inki_schema *s, size_t n) {
    if (n > INKI_SCHEMA_WORK - s->n_work)
        inki_schema_fail(s, INK_E_LIMIT, s->place, "too many steps to make a grammar of this");
    else
        s->n_work += (uint32_t)n;
    return s->status == INK_OK;
}

uint32_t inki_schema_new_rules(inki_schema *s, uint32_t n) {
    const uint32_t first = s->n_rules;
    if (n > INKI_SCHEMA_RULES - first) {
        inki_schema_fail(s, INK_E_LIMIT, 0, "too large for a grammar");
        return 0;
    }
    s->n_rules += n;
    return first;
}

uint32_t inki_schema_rule_of(inki_schema *s, const uint32_t *key, uint32_t n) {
    uint32_t *keys = s->keys + s->n_keys, n_keys = 0;
    uint64_t hash = 0;
    if (n > INKI_SCHEMA_KEYS - s->n_keys) {
        inki_schema_fail(s, INK_E_LIMIT, 0, "too large for a grammar");
        return 0;
    }
    for (uint32_t i = 0; i < n && inki_schema_work(s, n_keys); i++) {
        const inki_json_node *node = &s->json.nodes[key[i]];
        uint32_t known = 0;
        while (known < n_keys && keys[known] != key[i]) known++;
        if (known < n_keys || node->kind == INKI_JSON_TRUE || node->text.bytes == 2) continue;
        keys[n_keys++] = key[i];
        hash = inki_mix64(hash + key[i]);
    }
    if (n_keys == 0) return INKI_RULE_VALUE;
    uint32_t *bucket = &s->buckets[hash % INKI_SCHEMA_BUCKETS];
    for (uint32_t r = *bucket; r != 0 && inki_schema_work(s, n_keys);) {
        const inki_schema_rule *rule = &s->rules[--r];
        if (rule->n_key == n_keys && memcmp(s->keys + rule->key, keys, 4u * n_keys) == 0) return r;
        r = rule->same_hash;
    }
    const uint32_t made = inki_schema_new_rules(s, 1);
    if (made == 0) return 0;
    s->rules[made].same_hash = *bucket;
    *bucket = made + 1;
    s->rules[made].key = s->n_keys;
    s->rules[made].n_key = n_keys;
    s->n_keys += n_keys;
    return made;
}

void inki_schema_begin(inki_schema *s, uint32_t rule) {
    s->n_text = s->n_kept;
    s->at = (uint32_t)s->n_text;
    s->at_rule = rule;
}

void inki_schema_end(inki_schema *s) {
    if (s->n_alts == INKI_SCHEMA_ALTS - 1)
        inki_schema_fail(s, INK_E_LIMIT, 0, "too large for a grammar");
    if (s->status != INK_OK) return;
    inki_schema_rule *rule = &s->rules[s->at_rule];
    const uint32_t alt = ++s->n_alts;
    s->n_kept = s->n_text;
    s->alts[alt] = (inki_schema_alt){.at = s->at, .end = (uint32_t)s->n_text, .rule = s->at_rule};
    if (rule->first == 0)
        rule->first = alt;
    else
        s->alts[rule->last].next = alt;
    rule->last = alt;
}

// n bytes as they are.
static void put_raw(inki_schema *s, const char *text, size_t n) {
    if (!inki_schema_work(s, 1 + n / 16)) return;
    if (n >= sizeof s->text - s->n_text) {
        inki_schema_fail(s, INK_E_LIMIT, 0, "too large for a grammar");
    } else {
        memcpy(s->text + s->n_text, text, n);
        s->n_text += n;
    }
}

// What has nothing to fill in, or a string only, comes by the million: vsnprintf is for the rest.
void inki_schema_put(inki_schema *s, const char *format, ...) {
    char text[256];
    const char *whole = format;
    va_list args;
    va_start(args, format);
    if (strcmp(format, "%s") == 0)
        whole = va_arg(args, const char *);
    else if (strchr(format, '%') != NULL) {
        (void)inki_schema_work(s, 8);
        const int n = vsnprintf(text, sizeof text, format, args);
        whole = n >= 0 && n < (int)sizeof text ? text : "";
    }
    va_end(args);
    put_raw(s, whole, strlen(whole));
}

void inki_schema_put_repeat(inki_schema *s, uint32_t low, uint32_t high) {
    if (low > INKI_GRAMMAR_MAX_REPEAT)
        inki_schema_fail(s, INK_E_LIMIT, 0, "over 4096 of something are asked for");
    if (high == INKI_SCHEMA_OPEN)
        inki_schema_put(s, low == 0 ? "*" : "{%u,}", low);
    else
        inki_schema_put(s, "{%u,%u}", low,
                        high < INKI_GRAMMAR_MAX_REPEAT ? high : INKI_GRAMMAR_MAX_REPEAT);
}

// Text inside of a literal of GBNF.
static void put_literal(inki_schema *s, const char *text, size_t n) {
    for (size_t i = 0, plain; i < n && s->status == INK_OK; i = plain + 1) {
        plain = i;
        while (plain < n && text[plain] != '"' && text[plain] != '\\' && text[plain] != 0x7f)
            plain++;
        put_raw(s, text + i, plain - i);
        if (plain == n) break;
        const bool named = text[plain] != 0x7f;
        put_raw(s, "\\", 1);
        put_raw(s, named ? text + plain : "x7f", named ? 1 : 3);
    }
}

static void put_json_string(inki_schema *s, inki_str text) {
    put_literal(s, "\"", 1);
    for (size_t i = 0, plain; i < text.bytes && s->status == INK_OK; i = plain + 1) {
        char escape[8];
        plain = i;
        while (plain < text.bytes && (unsigned char)text.data[plain] >= 0x20 &&
               text.data[plain] != '"' && text.data[plain] != '\\')
            plain++;
        put_literal(s, text.data + i, plain - i);
        if (plain == text.bytes) break;
        const char c = text.data[plain];
        const int n = snprintf(escape, sizeof escape, c < 0x20 ? "\\u%04x" : "\\%c", c);
        put_literal(s, escape, (size_t)n);
    }
    put_literal(s, "\"", 1);
}

// The reader bounds how deep it is.
static void put_json_value(inki_schema *s, uint32_t node) {
    const inki_json_node *value = &s->json.nodes[node];
    const bool object = value->kind == INKI_JSON_OBJECT;
    if (value->kind == INKI_JSON_STRING)
        put_json_string(s, value->text);
    else if (!object && value->kind != INKI_JSON_ARRAY)
        put_literal(s, value->text.data, value->text.bytes);
    else {
        put_literal(s, object ? "{" : "[", 1);
        for (uint32_t i = value->first; i != 0; i = s->json.nodes[i].next) {
            if (object) {
                put_json_string(s, s->json.nodes[i].key);
                put_literal(s, ":", 1);
            }
            put_json_value(s, i);
            if (s->json.nodes[i].next != 0) put_literal(s, ",", 1);
        }
        put_literal(s, object ? "}" : "]", 1);
    }
}

void inki_schema_put_json(inki_schema *s, uint32_t node, inki_str name, const char *suffix) {
    inki_schema_put(s, "\"");
    if (node != 0)
        put_json_value(s, node);
    else
        put_json_string(s, name);
    inki_schema_put(s, "%s", suffix);
    inki_schema_put(s, "\"");
}

void inki_schema_put_class(inki_schema *s, uint32_t c) {
    const bool plain = (c | 0x20) - 'a' < 26 || c - '0' < 10;
    inki_schema_put(s,
                    plain         ? "%c"
                    : c < 0x100   ? "\\x%02x"
                    : c < 0x10000 ? "\\u%04x"
                                  : "\\U%08x",
                    c);
}

// --- from a schema to its text -------------------------------------------------------------------

static void add_given(inki_schema *s) {
    s->n_rules = INKI_RULE_GIVEN;
    for (uint32_t r = 1; r < INKI_RULE_GIVEN; r++) {
        inki_schema_begin(s, r);
        if (r < INKI_RULE_VALUES)
            inki_schema_put(s, "%s", given_rules[r]);
        else
            inki_schema_put(s, "\1%u", INKI_RULE_SCALAR);
        if (r > INKI_RULE_VALUES)
            inki_schema_put(s,
                            " | \"[\" (\1%u (\",\" \" \"? \1%u)*)? \"]\" | \"{\" (" STRING
                            " \":\" \" \"? \1%u (\",\" \" \"? " STRING
                            " \":\" \" \"? \1%u)*)? \"}\"",
                            r - 1, r - 1, r - 1, r - 1);
        inki_schema_end(s);
    }
}

// The next rule that an alternative speaks of, from byte *at on; NO_RULE: there is no other.
static uint32_t next_rule(const inki_schema *s, const inki_schema_alt *alt, uint32_t *at) {
    const char *text = s->text;
    uint32_t i = *at, rule = 0;
    while (i < alt->end && text[i] != 1) i++;
    if (i == alt->end) rule = NO_RULE;
    for (i++; i < alt->end && text[i] >= '0' && text[i] <= '9'; i++)
        rule = rule * 10 + (uint32_t)(text[i] - '0');
    *at = i < alt->end ? i : alt->end;
    return rule;
}

// Goes on reading alternative `a`, up to a rule that is not live yet: there it waits. Where there
// is none, its own rule is live, and is put on the stack.
static void look_at(inki_schema *s, uint32_t a, uint32_t *stack, uint32_t *n) {
    inki_schema_alt *alt = &s->alts[a];
    uint32_t rule;
    while ((rule = next_rule(s, alt, &alt->seen)) != NO_RULE)
        if (!s->rules[rule].live) {
            alt->waiting = s->rules[rule].waiting;
            s->rules[rule].waiting = a;
            return;
        }
    alt->live = true;
    if (!s->rules[alt->rule].live) stack[(*n)++] = alt->rule;
    s->rules[alt->rule].live = true;
}

// What ends: a rule is live when an alternative of it speaks of live ones only. Then what the root
// needs. Each text is read once: keys are not needed any more, so their room is the stack.
static void find_live(inki_schema *s) {
    uint32_t *stack = s->keys, n = 0;
    for (uint32_t a = 1; a <= s->n_alts; a++) {
        s->alts[a].seen = s->alts[a].at;
        look_at(s, a, stack, &n);
    }
    while (n > 0) {
        const uint32_t rule = stack[--n];
        for (uint32_t a = s->rules[rule].waiting, next; a != 0; a = next) {
            next = s->alts[a].waiting;
            look_at(s, a, stack, &n);
        }
    }
    s->rules[INKI_RULE_ROOT].used = true;
    for (stack[n++] = INKI_RULE_ROOT; n > 0;)
        for (uint32_t a = s->rules[stack[--n]].first; a != 0; a = s->alts[a].next)
            for (uint32_t at = s->alts[a].at, rule;
                 s->alts[a].live && (rule = next_rule(s, &s->alts[a], &at)) != NO_RULE;) {
                if (!s->rules[rule].used) stack[n++] = rule;
                s->rules[rule].used = true;
            }
}

// Writes to out, or only adds up where that is NULL.
static size_t print_rules(inki_schema *s, char *out) {
    size_t n = 0;
    char head[32];
    for (uint32_t r = 0; r < s->n_rules; r++) {
        const char *between = head;
        if (!s->rules[r].used) continue;
        snprintf(head, sizeof head, r == 0 ? "root ::= " : "r%u ::= ", r);
        for (uint32_t a = s->rules[r].first; a != 0; a = s->alts[a].next) {
            const inki_schema_alt *alt = &s->alts[a];
            if (!alt->live) continue;
            const size_t m = strlen(between), length = alt->end - alt->at;
            if (out != NULL) {
                memcpy(out + n, between, m);
                memcpy(out + n + m, s->text + alt->at, length);
                for (size_t i = n + m; i < n + m + length; i++)
                    if (out[i] == 1) out[i] = 'r';
            }
            n += m + length;
            between = " | ";
        }
        if (out != NULL) out[n] = '\n';
        n++;
    }
    if (out != NULL) out[n] = 0;
    return n;
}

#undef HEX
#undef CHAR
#undef STRING
#undef NUMBER
#undef NO_RULE

static char *make_text(inki_schema *s, const inki_mem *mem, size_t *n) {
    inki_schema_find_keys(s);
    add_given(s);
    s->rules[INKI_RULE_ROOT].n_key = 1; // keys[0] is the root of the schema
    s->n_keys = s->buckets[0] = 1;      // as does its hash, 0
    for (uint32_t r = 0; r < s->n_rules && s->status == INK_OK; r++)
        if (s->rules[r].n_key > 0) inki_schema_place(s, r);
    if (s->status != INK_OK) return NULL;
    find_live(s);
    if (!s->rules[INKI_RULE_ROOT].live) {
        inki_schema_fail(s, INK_E_FORMAT, 0, "nothing satisfies this schema");
        return NULL;
    }
    *n = print_rules(s, NULL);
    char *text = inki_alloc(mem, *n + 1, 1);
    if (text != NULL)
        print_rules(s, text);
    else
        s->status = inki_fail_nomem(s->error, *n + 1);
    return text;
}

ink_status inki_schema_to_gbnf(char **out, size_t *n, const char *schema, size_t bytes,
                               const inki_mem *mem, ink_error *error) {
    inki_schema *s = inki_alloc_zero(mem, 1, sizeof *s);
    if (s == NULL) return inki_fail_nomem(error, sizeof *s);
    s->error = error;
    s->status = inki_json_parse(&s->json, schema, bytes, mem, error);
    size_t length = 0;
    char *text = s->status == INK_OK ? make_text(s, mem, &length) : NULL;
    const ink_status status = s->status;
    if (text != NULL) {
        *out = text;
        *n = length;
    }
    if (s->json.nodes != NULL) inki_json_free(&s->json);
    inki_release(mem, s, 1, sizeof *s);
    return status;
}
