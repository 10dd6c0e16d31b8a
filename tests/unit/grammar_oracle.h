// SPDX-License-Identifier: MIT
// Grammars as trees, made at random, written as GBNF in many ways, and matched the slow way: over
// characters, by trying everything. Knows nothing of the reader or the matcher that it judges.
#ifndef INKLING_TESTS_GRAMMAR_ORACLE_H
#define INKLING_TESTS_GRAMMAR_ORACLE_H

#include "base/utf8.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ORACLE_NODES = 96, ORACLE_RULES = 4, ORACLE_TEXT = 24, ORACLE_ENDLESS = 99 };

typedef enum oracle_kind {
    ORACLE_LITERAL, // chars
    ORACLE_CLASS,   // pairs of chars, inverted or not
    ORACLE_ANY,
    ORACLE_RULE,
    ORACLE_SEQUENCE,
    ORACLE_CHOICE,
    ORACLE_REPEAT
} oracle_kind;

typedef struct oracle_node {
    oracle_kind kind;
    bool inverted;
    unsigned n, low, high, rule;
    uint32_t chars[6];
    unsigned children[3];
} oracle_node;

typedef struct oracle_grammar {
    oracle_node nodes[ORACLE_NODES];
    unsigned n_nodes, n_rules;
    unsigned rules[ORACLE_RULES];
    uint64_t random;
    char text[65536];
    size_t n_text;
    bool nullable[ORACLE_RULES], ends[ORACLE_RULES];
} oracle_grammar;

static inline unsigned oracle_below(oracle_grammar *g, unsigned n) {
    g->random = g->random * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(g->random >> 33) % n;
}

static const uint32_t oracle_chars[] = {
    'a',  'b',  'c',   '"',   '\\',   ']',    '[',    '-',    '^',     '\n',    0x7f,
    0x80, 0xe9, 0x7ff, 0x800, 0x20ac, 0xd7ff, 0xe000, 0xffff, 0x10000, 0x1f642, 0x10ffff};
static inline uint32_t oracle_char(oracle_grammar *g) {
    const unsigned n = sizeof oracle_chars / sizeof oracle_chars[0];
    return oracle_chars[oracle_below(g, 3) > 0 ? oracle_below(g, 3) : oracle_below(g, n)];
}

static inline unsigned oracle_make(oracle_grammar *g, unsigned depth) {
    const unsigned at = g->n_nodes++;
    oracle_node node = {.kind = ORACLE_LITERAL};
    unsigned kind =
        depth == 0 || g->n_nodes > ORACLE_NODES - 12 ? oracle_below(g, 5) : oracle_below(g, 12);
    if (kind < 2) {
        node.n = oracle_below(g, 8) == 0 ? 0 : 1 + oracle_below(g, 3);
        for (unsigned i = 0; i < node.n; i++) node.chars[i] = oracle_char(g);
    } else if (kind == 2) {
        node.kind = ORACLE_CLASS;
        node.n = 2 * (1 + oracle_below(g, 3));
        node.inverted = oracle_below(g, 4) == 0;
        for (unsigned i = 0; i < node.n; i += 2) {
            const uint32_t a = oracle_char(g), b = oracle_below(g, 2) ? a : oracle_char(g);
            node.chars[i] = a < b ? a : b;
            node.chars[i + 1] = a < b ? b : a;
        }
    } else if (kind == 3) {
        node.kind = oracle_below(g, 3) == 0 ? ORACLE_ANY : ORACLE_LITERAL;
        node.n = node.kind == ORACLE_LITERAL;
        node.chars[0] = 'a';
    } else if (kind == 4) {
        node.kind = ORACLE_RULE;
        node.rule = oracle_below(g, g->n_rules);
    } else if (kind < 10) {
        node.kind = kind < 8 ? ORACLE_SEQUENCE : ORACLE_CHOICE;
        node.n = oracle_below(g, 12) == 0 ? 1 : 2 + oracle_below(g, 2);
        for (unsigned i = 0; i < node.n; i++) node.children[i] = oracle_make(g, depth - 1);
    } else {
        static const unsigned limits[][2] = {{0, ORACLE_ENDLESS},
                                             {1, ORACLE_ENDLESS},
                                             {0, 1},
                                             {2, 2},
                                             {0, 3},
                                             {2, 5},
                                             {2, ORACLE_ENDLESS},
                                             {0, 0},
                                             {1, 20}};
        const unsigned *limit = limits[oracle_below(g, 9)];
        node.kind = ORACLE_REPEAT;
        node.low = limit[0];
        node.high = limit[1];
        node.children[0] = oracle_make(g, depth - 1);
    }
    g->nodes[at] = node;
    return at;
}

// --- as GBNF -------------------------------------------------------------------------------------

static inline void oracle_put(oracle_grammar *g, const char *text) {
    const size_t n = strlen(text);
    if (g->n_text + n >= sizeof g->text) exit(3);
    memcpy(g->text + g->n_text, text, n + 1);
    g->n_text += n;
}

static inline void oracle_put_char(oracle_grammar *g, uint32_t c, bool class) {
    char out[16] = "";
    const char *marks = class ? "\\]^-" : "\\\"";
    const unsigned form = oracle_below(g, 4);
    if (c == '\n' && form < 2)
        strcpy(out, "\\n");
    else if (form == 0 && c < 0x100)
        snprintf(out, sizeof out, "\\x%02x", (unsigned)c);
    else if (form == 1 && c < 0x10000)
        snprintf(out, sizeof out, "\\u%04X", (unsigned)c);
    else if (form == 2 || c == 0x7f || c == '^')
        snprintf(out, sizeof out, "\\U%08x", (unsigned)c);
    else if (c < 0x80 && strchr(marks, (int)c) != NULL)
        snprintf(out, sizeof out, "\\%c", (int)c);
    else
        out[inki_utf8_encode(c, out)] = 0;
    oracle_put(g, out);
}

static inline void oracle_put_blank(oracle_grammar *g, bool lines) {
    static const char *const blanks[] = {" ",    "  ", "\t", " ", "\n", " # no \"rule\" ::= (\n",
                                         "\r\n "};
    oracle_put(g, blanks[oracle_below(g, lines ? 7 : 4)]);
}

static inline void oracle_put_node(oracle_grammar *g, unsigned at, bool lines) {
    const oracle_node *node = &g->nodes[at];
    char name[16];
    switch (node->kind) {
    case ORACLE_LITERAL:
        oracle_put(g, "\"");
        for (unsigned i = 0; i < node->n; i++) oracle_put_char(g, node->chars[i], false);
        oracle_put(g, "\"");
        return;
    case ORACLE_CLASS:
        oracle_put(g, node->inverted ? "[^" : "[");
        for (unsigned i = 0; i < node->n; i += 2) {
            oracle_put_char(g, node->chars[i], true);
            if (node->chars[i] == node->chars[i + 1]) continue;
            oracle_put(g, "-");
            oracle_put_char(g, node->chars[i + 1], true);
        }
        oracle_put(g, "]");
        return;
    case ORACLE_ANY: oracle_put(g, "."); return;
    case ORACLE_RULE:
        snprintf(name, sizeof name, node->rule == 0 ? "root" : "r-%u", node->rule);
        oracle_put(g, name);
        return;
    default: break;
    }
    oracle_put(g, "(");
    oracle_put_blank(g, true);
    const unsigned n = node->kind == ORACLE_REPEAT ? 1 : node->n;
    for (unsigned i = 0; i < n; i++) {
        if (i > 0) oracle_put_blank(g, true);
        if (i > 0 && node->kind == ORACLE_CHOICE) oracle_put(g, "|");
        if (i > 0) oracle_put_blank(g, true);
        oracle_put_node(g, node->children[i], true);
    }
    oracle_put(g, ")");
    if (node->kind != ORACLE_REPEAT) return;
    char suffix[32];
    if (node->high == ORACLE_ENDLESS)
        snprintf(suffix, sizeof suffix,
                 node->low == 0   ? "*"
                 : node->low == 1 ? "+"
                                  : "{ %u, }",
                 node->low);
    else if (node->low == node->high)
        snprintf(suffix, sizeof suffix, "{%u}", node->low);
    else
        snprintf(suffix, sizeof suffix, node->low == 0 && node->high == 1 ? "?" : "{%u ,%u}",
                 node->low, node->high);
    if (oracle_below(g, 3) == 0) oracle_put_blank(g, lines);
    oracle_put(g, suffix);
}

// A grammar that is the same for the same seed.
static inline void oracle_random(oracle_grammar *g, uint64_t seed) {
    g->n_nodes = 0;
    g->n_text = 0;
    g->random = seed * 0x9e3779b97f4a7c15u + 1;
    g->n_rules = 1 + oracle_below(g, ORACLE_RULES);
    for (unsigned i = 0; i < g->n_rules; i++) g->rules[i] = oracle_make(g, 3);
    for (unsigned i = g->n_rules; i-- > 0;) {
        char name[16];
        snprintf(name, sizeof name, i == 0 ? "root" : "r-%u", i);
        oracle_put(g, name);
        oracle_put(g, oracle_below(g, 4) == 0 ? "\t::=\n # where it begins\n" : " ::= ");
        oracle_put_node(g, g->rules[i], false);
        oracle_put(g, i == 0 && oracle_below(g, 2) ? ""
                      : oracle_below(g, 3) == 0    ? " # end\r\n\n"
                                                   : "\n");
    }
}

// --- what is wrong with it -----------------------------------------------------------------------

static inline bool oracle_node_holds(const oracle_grammar *g, unsigned at, const bool *rules,
                                     bool of_bytes) {
    const oracle_node *node = &g->nodes[at];
    switch (node->kind) {
    case ORACLE_LITERAL: return of_bytes || node->n == 0;
    case ORACLE_RULE: return rules[node->rule];
    case ORACLE_SEQUENCE:
    case ORACLE_CHOICE:
        for (unsigned i = 0; i < node->n; i++)
            if (oracle_node_holds(g, node->children[i], rules, of_bytes) ==
                (node->kind == ORACLE_CHOICE))
                return node->kind == ORACLE_CHOICE;
        return node->kind == ORACLE_SEQUENCE;
    case ORACLE_REPEAT:
        return node->low == 0 || oracle_node_holds(g, node->children[0], rules, of_bytes);
    default: return of_bytes;
    }
}

static inline unsigned oracle_begins(const oracle_grammar *g, unsigned at) {
    const oracle_node *node = &g->nodes[at];
    unsigned set = 0;
    if (node->kind == ORACLE_RULE) return 1u << node->rule;
    if (node->kind == ORACLE_REPEAT)
        return node->high == 0 ? 0 : oracle_begins(g, node->children[0]);
    if (node->kind != ORACLE_SEQUENCE && node->kind != ORACLE_CHOICE) return 0;
    for (unsigned i = 0; i < node->n; i++) {
        set |= oracle_begins(g, node->children[i]);
        if (node->kind == ORACLE_SEQUENCE &&
            !oracle_node_holds(g, node->children[i], g->nullable, false))
            break;
    }
    return set;
}

static inline bool oracle_has_empty_class(const oracle_grammar *g) {
    for (unsigned i = 0; i < g->n_nodes; i++)
        if (g->nodes[i].kind == ORACLE_CLASS && g->nodes[i].inverted && g->nodes[i].chars[0] == 0 &&
            g->nodes[i].chars[1] == 0x10ffff)
            return true;
    return false;
}

// NULL: nothing.
static inline const char *oracle_wrong(oracle_grammar *g) {
    unsigned begins[ORACLE_RULES];
    memset(g->nullable, 0, sizeof g->nullable);
    memset(g->ends, 0, sizeof g->ends);
    for (unsigned k = 0; k <= g->n_rules; k++)
        for (unsigned i = 0; i < g->n_rules; i++) {
            g->nullable[i] = oracle_node_holds(g, g->rules[i], g->nullable, false);
            g->ends[i] = oracle_node_holds(g, g->rules[i], g->ends, true);
        }
    for (unsigned i = 0; i < g->n_rules; i++)
        if (!g->ends[i]) return "can never end";
    for (unsigned i = 0; i < g->n_rules; i++) begins[i] = oracle_begins(g, g->rules[i]);
    for (unsigned k = 0; k < g->n_rules; k++)
        for (unsigned i = 0; i < g->n_rules; i++)
            for (unsigned j = 0; j < g->n_rules; j++)
                if (begins[i] >> j & 1) begins[i] |= begins[j];
    for (unsigned i = 0; i < g->n_rules; i++)
        if (begins[i] >> i & 1) return "is left-recursive";
    return NULL;
}

// --- matching ------------------------------------------------------------------------------------

typedef struct oracle_text {
    uint32_t chars[ORACLE_TEXT];
    unsigned n;
    bool broken;                        // bytes that begin no character
    bool partial;                       // behind them, the beginning of one that is
    uint32_t low, high;                 // between these
    uint32_t (*known)[ORACLE_TEXT + 1]; // [ORACLE_NODES] what oracle_ends found, + 1 << 31
} oracle_text;

static inline oracle_text oracle_read(const char *bytes, size_t n) {
    oracle_text text = {0};
    const uint8_t *s = (const uint8_t *)bytes;
    while (n > 0) {
        const size_t step = inki_utf8_decode(s, n, &text.chars[text.n]);
        if (step == 0) break;
        text.n++;
        s += step;
        n -= step;
    }
    if (n == 0) return text;
    uint8_t least[4] = {0x80, 0x80, 0x80, 0x80}, most[4] = {0xbf, 0xbf, 0xbf, 0xbf};
    text.broken = !inki_utf8_is_prefix(s, n);
    if (text.broken) return text;
    memcpy(least, s, n);
    memcpy(most, s, n);
    if (n == 1 && s[0] == 0xe0) least[1] = 0xa0;
    if (n == 1 && s[0] == 0xed) most[1] = 0x9f;
    if (n == 1 && s[0] == 0xf0) least[1] = 0x90;
    if (n == 1 && s[0] == 0xf4) most[1] = 0x8f;
    text.partial =
        inki_utf8_decode(least, 4, &text.low) > 0 && inki_utf8_decode(most, 4, &text.high) > 0;
    return text;
}

static inline bool oracle_takes(const oracle_node *node, unsigned i, uint32_t c) {
    if (c > 0x10ffff || c - 0xd800 < 0x800) return false;
    if (node->kind == ORACLE_ANY) return true;
    if (node->kind == ORACLE_LITERAL) return node->chars[i] == c;
    for (unsigned k = 0; k < node->n; k += 2)
        if (c >= node->chars[k] && c <= node->chars[k + 1]) return !node->inverted;
    return node->inverted;
}

// Whether it takes any character from low to high: nothing changes but at the ends of ranges.
static inline bool oracle_takes_some(const oracle_node *node, unsigned i, uint32_t low,
                                     uint32_t high) {
    if (oracle_takes(node, i, low) || oracle_takes(node, i, high)) return true;
    for (unsigned k = 0; k < 6; k++)
        for (int d = -1; d <= 1; d++) {
            const uint32_t c = node->chars[k] + (uint32_t)d;
            if (c >= low && c <= high && oracle_takes(node, i, c)) return true;
        }
    return false;
}

// Where it can end when it begins at `from`, a bit each; *open: it can need more than the text.
static inline uint32_t oracle_ends(const oracle_grammar *g, unsigned at, const oracle_text *text,
                                   unsigned from, bool *open);

static inline uint32_t oracle_ends_all(const oracle_grammar *g, unsigned at,
                                       const oracle_text *text, uint32_t from, bool *open) {
    uint32_t ends = 0;
    for (unsigned p = 0; p <= text->n; p++)
        if (from >> p & 1) ends |= oracle_ends(g, at, text, p, open);
    return ends;
}

static inline uint32_t oracle_ends_anew(const oracle_grammar *g, unsigned at,
                                        const oracle_text *text, unsigned from, bool *open) {
    const oracle_node *node = &g->nodes[at];
    uint32_t ends = 0, here = 1u << from;
    const unsigned n_chars = node->kind == ORACLE_LITERAL ? node->n : 1;
    switch (node->kind) {
    case ORACLE_RULE: return oracle_ends(g, g->rules[node->rule], text, from, open);
    case ORACLE_CHOICE:
        for (unsigned i = 0; i < node->n; i++)
            ends |= oracle_ends(g, node->children[i], text, from, open);
        return ends;
    case ORACLE_SEQUENCE:
        for (unsigned i = 0; i < node->n; i++)
            here = oracle_ends_all(g, node->children[i], text, here, open);
        return here;
    case ORACLE_REPEAT:
        if (node->high == 0) return here;
        for (unsigned k = 0; k <= node->high && k < node->low + ORACLE_TEXT + 2; k++) {
            if (k >= node->low) ends |= here;
            if (k < node->high) here = oracle_ends_all(g, node->children[0], text, here, open);
        }
        return ends;
    default: break;
    }
    for (unsigned i = 0; i < n_chars; i++, from++) {
        if (from == text->n) {
            if (!text->partial || oracle_takes_some(node, i, text->low, text->high)) *open = true;
            return 0;
        }
        if (!oracle_takes(node, i, text->chars[from])) return 0;
    }
    return 1u << from;
}

static inline uint32_t oracle_ends(const oracle_grammar *g, unsigned at, const oracle_text *text,
                                   unsigned from, bool *open) {
    uint32_t *known = &text->known[at][from];
    if (*known == 0) *known = oracle_ends_anew(g, at, text, from, open) | 1u << 31;
    return *known & ~(1u << 31);
}

// *ends: the text is one of the grammar; *open: more can follow. Returns whether either is so.
static inline bool oracle_match(const oracle_grammar *g, const char *bytes, size_t n, bool *ends,
                                bool *open) {
    uint32_t known[ORACLE_NODES][ORACLE_TEXT + 1] = {{0}};
    oracle_text text = oracle_read(bytes, n);
    text.known = known;
    *ends = *open = false;
    if (text.broken) return false;
    *ends = oracle_ends(g, g->rules[0], &text, 0, open) >> text.n & 1 && !text.partial;
    return *ends || *open;
}

// A text that the grammar may have made, written to out; it is cut where that gets too long.
static inline void oracle_speak(oracle_grammar *g, unsigned at, unsigned depth, char *out,
                                size_t *n) {
    const oracle_node *node = &g->nodes[at];
    if (*n > ORACLE_TEXT - 8 || depth > 12) return;
    switch (node->kind) {
    case ORACLE_LITERAL:
        for (unsigned i = 0; i < node->n && *n < ORACLE_TEXT - 8; i++)
            *n += inki_utf8_encode(node->chars[i], out + *n);
        return;
    case ORACLE_CLASS:
    case ORACLE_ANY:
        for (unsigned i = 0; i < 20; i++) {
            const uint32_t c = oracle_char(g);
            if (!oracle_takes(node, 0, c)) continue;
            *n += inki_utf8_encode(c, out + *n);
            return;
        }
        return;
    case ORACLE_RULE: oracle_speak(g, g->rules[node->rule], depth + 1, out, n); return;
    case ORACLE_CHOICE:
        oracle_speak(g, node->children[oracle_below(g, node->n)], depth + 1, out, n);
        return;
    case ORACLE_SEQUENCE:
        for (unsigned i = 0; i < node->n; i++)
            oracle_speak(g, node->children[i], depth + 1, out, n);
        return;
    default:
        for (unsigned i = node->low + oracle_below(g, 3); i > 0 && node->high > 0; i--)
            oracle_speak(g, node->children[0], depth + 1, out, n);
    }
}

#endif
