// SPDX-License-Identifier: MIT
// What the files of the schema's compiler share. A document's place that one or more schemas speak
// of becomes a rule; rules are collected as alternatives, those that nothing satisfies are taken
// out at the end, and what is left is written as GBNF.
#ifndef INKI_GRAMMAR_SCHEMA_PARTS_H
#define INKI_GRAMMAR_SCHEMA_PARTS_H

#include "base/json.h"

enum {
    INKI_SCHEMA_TEXT = 1 << 19,
    INKI_SCHEMA_RULES = 8192,
    INKI_SCHEMA_ALTS = 16384,
    INKI_SCHEMA_KEYS = 32768,
    INKI_SCHEMA_TOGETHER = 64, // schemas that hold for one place
    INKI_SCHEMA_NAMES = 512,   // members of one object that are named
    INKI_SCHEMA_STEPS = 1 << 16,
    INKI_SCHEMA_BUCKETS = 4096,
    INKI_SCHEMA_WORK = 3 << 20 // some 10 ns each
};

// Rules that are there from the start.
enum {
    INKI_RULE_ROOT,
    INKI_RULE_HEX,
    INKI_RULE_CHAR,  // of a string, escapes included: one code point
    INKI_RULE_PLAIN, // without escapes
    INKI_RULE_STRING,
    INKI_RULE_NUMBER,
    INKI_RULE_INTEGER,
    INKI_RULE_SCALAR, // null, true, false, a number or a string
    INKI_RULE_VALUES, // and from here on what holds values so many deep
    INKI_RULE_VALUE = INKI_RULE_VALUES + 8,
    INKI_RULE_GIVEN
};

// Types as bits; "number" is INTEGER and FRACTION.
enum {
    INKI_TYPE_NULL = 1,
    INKI_TYPE_BOOLEAN = 2,
    INKI_TYPE_INTEGER = 4,
    INKI_TYPE_FRACTION = 8,
    INKI_TYPE_NUMBER = 12,
    INKI_TYPE_STRING = 16,
    INKI_TYPE_ARRAY = 32,
    INKI_TYPE_OBJECT = 64,
    INKI_TYPE_ANY = 127
};

// Keywords that are looked for, in the order of their table; what comes behind them is checked
// only.
typedef enum inki_schema_key {
    INKI_KEY_REF,
    INKI_KEY_ALL_OF,
    INKI_KEY_ANY_OF,
    INKI_KEY_ONE_OF,
    INKI_KEY_TYPE,
    INKI_KEY_ENUM,
    INKI_KEY_CONST,
    INKI_KEY_PROPERTIES,
    INKI_KEY_REQUIRED,
    INKI_KEY_ADDITIONAL_PROPERTIES,
    INKI_KEY_MIN_PROPERTIES,
    INKI_KEY_MAX_PROPERTIES,
    INKI_KEY_ITEMS,
    INKI_KEY_PREFIX_ITEMS,
    INKI_KEY_MIN_ITEMS,
    INKI_KEY_MAX_ITEMS,
    INKI_KEY_UNIQUE_ITEMS,
    INKI_KEY_MIN_LENGTH,
    INKI_KEY_MAX_LENGTH,
    INKI_KEY_PATTERN,
    INKI_KEY_FORMAT,
    INKI_KEY_MINIMUM,
    INKI_KEY_EXCLUSIVE_MINIMUM,
    INKI_KEY_MAXIMUM,
    INKI_KEY_EXCLUSIVE_MAXIMUM,
    INKI_KEY_MULTIPLE_OF,
    INKI_KEY_DEFS,
    INKI_KEY_ID = INKI_KEY_DEFS + 7,
    INKI_KEY_NONE = INKI_KEY_DEFS + 12
} inki_schema_key;

#define INKI_SCHEMA_OPEN UINT32_MAX // no upper limit

typedef struct inki_schema_rule {
    uint32_t key, n_key;  // keys[key]: the schemas that it stands for
    uint32_t first, last; // alternatives, numbered from 1; 0: none
    uint32_t same_hash;   // another rule + 1; 0: none
    uint32_t waiting;     // the first alternative that waits for this rule to be live
    bool live, used;
} inki_schema_rule;

// A piece of the text: GBNF in which a byte 1 stands before the number of a rule.
typedef struct inki_schema_alt {
    uint32_t at, end, next;
    uint32_t rule, seen, waiting; // its own; up to where all rules are live; another that waits
    bool live;
} inki_schema_alt;

// A part of an object, or of an array of distinct values, in its order.
typedef struct inki_schema_part {
    inki_str name; // of a member; rule: its value
    uint32_t rule;
    uint32_t value; // or this node's text
    bool required;
} inki_schema_part;

typedef struct inki_schema {
    inki_json json;
    ink_error *error;
    ink_status status; // the first failure; what comes after it does nothing
    uint32_t n_rules, n_alts, n_keys, n_parts, n_steps, n_work;
    uint32_t place;        // the schema that is being written
    uint32_t found;        // of parts, the last one that was looked for
    uint32_t at, at_rule;  // of the alternative that is being written
    size_t n_text, n_kept; // of the text; of it, what is in alternatives
    uint32_t values;       // the enum or const of which all values are asked about; 0: none
    bool scarce;           // of the object's other members, none more than are needed
    inki_schema_part parts[INKI_SCHEMA_NAMES];
    uint32_t order[2 * INKI_SCHEMA_NAMES];
    inki_schema_rule rules[INKI_SCHEMA_RULES];
    inki_schema_alt alts[INKI_SCHEMA_ALTS];
    uint32_t keys[INKI_SCHEMA_KEYS];
    uint32_t buckets[INKI_SCHEMA_BUCKETS]; // the first rule + 1 by the hash of its keys
    uint8_t visited[INKI_JSON_MAX_NODES];  // of a list of values: 1: it is sorted
    uint8_t key_of[INKI_JSON_MAX_NODES];   // inki_schema_key of a member's name
    char text[INKI_SCHEMA_TEXT];
} inki_schema;

// Schemas (node indices) that hold together, and those of which none may hold.
typedef struct inki_schema_all {
    uint32_t n, at, n_choices, n_barred;
    uint32_t node[INKI_SCHEMA_TOGETHER], choice[INKI_SCHEMA_TOGETHER], barred[INKI_SCHEMA_TOGETHER];
} inki_schema_all;

// --- schema.c ------------------------------------------------------------------------------------

// The first failure is kept; node: what it is about.
void inki_schema_fail(inki_schema *s, ink_status status, uint32_t node, const char *what);
// Counts n small steps; false: there is a failure, maybe that there are too many. What is not
// bounded otherwise by the length of the text asks here: time follows this count.
bool inki_schema_work(inki_schema *s, size_t n);
// A new rule without alternatives: no text is of it.
uint32_t inki_schema_new_rules(inki_schema *s, uint32_t n);
// The rule for a value that all of these schemas [n] hold for.
uint32_t inki_schema_rule_of(inki_schema *s, const uint32_t *key, uint32_t n);
// An alternative of a rule; one that is not ended is thrown away.
void inki_schema_begin(inki_schema *s, uint32_t rule);
void inki_schema_end(inki_schema *s);
void inki_schema_put(inki_schema *s, const char *format, ...) INKI_PRINTF(2, 3);
// "{low,high}" behind what is repeated. Over 4096: INK_E_LIMIT for low, less than asked for high.
void inki_schema_put_repeat(inki_schema *s, uint32_t low, uint32_t high);
// A literal: a node's value as compact JSON, or for node 0 the string `name`, and the suffix.
void inki_schema_put_json(inki_schema *s, uint32_t node, inki_str name, const char *suffix);
// A character inside of [].
void inki_schema_put_class(inki_schema *s, uint32_t c);

// --- schema_keywords.c ---------------------------------------------------------------------------

// Index of a schema's member, 0: it has none.
uint32_t inki_schema_get(const inki_schema *s, uint32_t node, inki_schema_key key);
static inline bool inki_schema_is(const inki_schema *s, uint32_t node, inki_schema_key key) {
    return s->key_of[node] == key;
}
void inki_schema_find_keys(inki_schema *s); // key_of
// A count that a keyword's value tells, at most 2^31.
uint32_t inki_schema_count(const inki_schema *s, uint32_t node);
uint32_t inki_schema_type_of_value(const inki_schema *s, uint32_t node);
uint32_t inki_schema_types(inki_schema *s, uint32_t type_node);
// Types that a keyword speaks of; 0: it does not speak of types.
uint32_t inki_schema_keyword_types(const inki_schema *s, uint32_t node);
// What $ref (a node) points to; 0 may be the root or a failure.
uint32_t inki_schema_ref(inki_schema *s, uint32_t node);
// Checks keywords, once, of a schema and those that hold at the same place with it.
void inki_schema_visit(inki_schema *s, uint32_t node, uint32_t depth);

// --- schema_place.c ------------------------------------------------------------------------------

// The alternatives of a rule: its keys, all together.
void inki_schema_place(inki_schema *s, uint32_t rule);
// The strictest of the values of a keyword: the lowest upper, the highest lower limit.
uint32_t inki_schema_limit(const inki_schema *s, const inki_schema_all *all, inki_schema_key key,
                           bool upper);

// --- schema_compare.c ----------------------------------------------------------------------------

typedef enum inki_schema_answer { INKI_NO, INKI_MAYBE, INKI_YES } inki_schema_answer;
// Whether a given value is one of the schema's.
inki_schema_answer inki_schema_accepts(inki_schema *s, uint32_t schema, uint32_t value);
// inki_str_order, counted.
int inki_schema_order(inki_schema *s, inki_str a, inki_str b);
bool inki_schema_equal(inki_schema *s, uint32_t a, uint32_t b);
// The first value of an enum that is equal, 0: none. The list is sorted when it is asked for the
// first time: n log n then, log n each time.
uint32_t inki_schema_first_equal(inki_schema *s, uint32_t list, uint32_t value);
// The schema that `schema` has for a member, 0: none.
uint32_t inki_schema_of_member(inki_schema *s, uint32_t schema, inki_str name);
// Whether what is written for these schemas, of that type, is surely none of the schema `other`.
// Of objects s->parts are the members; closed: there are no others.
bool inki_schema_apart(inki_schema *s, const inki_schema_all *all, uint32_t other, uint32_t type,
                       bool closed);

// --- schema_values.c -----------------------------------------------------------------------------

// The part of that name, NULL: there is none.
inki_schema_part *inki_schema_part_named(inki_schema *s, inki_str name);
// The members of an object become s->parts; returns the rule of the others' values, 0: no others.
uint32_t inki_schema_members(inki_schema *s, const inki_schema_all *all);
void inki_schema_object(inki_schema *s, uint32_t rule, const inki_schema_all *all, uint32_t others);
void inki_schema_array(inki_schema *s, uint32_t rule, const inki_schema_all *all);
void inki_schema_string(inki_schema *s, uint32_t rule, const inki_schema_all *all);
// --- schema_number.c -----------------------------------------------------------------------------

void inki_schema_number(inki_schema *s, uint32_t rule, const inki_schema_all *all, bool integer);

// --- schema_pattern.c ----------------------------------------------------------------------------

// An alternative of `rule`: strings of low to high characters that the pattern (a node) finds
// itself in; or of that format.
void inki_schema_pattern(inki_schema *s, uint32_t rule, uint32_t node, bool format, uint32_t low,
                         uint32_t high);

#endif
