// SPDX-License-Identifier: MIT
// What a grammar is made of. For the files of this room and their tests.
//
// Each rule is a graph of nodes; a text is matched by all walks through it at once. A set of bytes
// takes one byte, a split goes both ways, a call goes through a rule and on behind it.
#ifndef INKI_GRAMMAR_PARTS_H
#define INKI_GRAMMAR_PARTS_H

#include "base/cursor.h"
#include "grammar/grammar.h"

enum {
    INKI_GRAMMAR_MAX_NODES = 1 << 20,
    INKI_GRAMMAR_MAX_RULES = 1 << 16, // with those that repetitions and classes make
    INKI_GRAMMAR_MAX_GROUPS = 100,    // one in another
    INKI_GRAMMAR_MAX_SUFFIXES = 4     // of one item: x*?+{2}
};

// An array that grows by doubling. A zeroed one is empty; always used with the same elem_bytes.
typedef struct inki_vec {
    void *data;
    size_t n, cap;
} inki_vec;
// n more elements, uninitialised: the first of them, or NULL without memory (nothing changed).
void *inki_grammar_vec_add(inki_vec *v, const inki_mem *mem, size_t n, size_t elem_bytes);
void inki_grammar_vec_free(inki_vec *v, const inki_mem *mem, size_t elem_bytes);
// Sorts numbers [n] and leaves each once: how many there are then.
uint32_t inki_grammar_sort(uint64_t *numbers, uint32_t n);

typedef enum inki_node_kind {
    INKI_NODE_SET,   // arg: the set
    INKI_NODE_SPLIT, // arg: the other next node
    INKI_NODE_CALL,  // arg: the rule
    INKI_NODE_RET,   // back to behind the call
    INKI_NODE_END    // of the text
} inki_node_kind;
enum { INKI_AT_END = 0, INKI_AT_RET = 1, INKI_AT_START = 2 }; // nodes that are always there

typedef struct inki_node {
    uint32_t op; // arg << 3 | kind
    uint32_t next;
} inki_node;
static inline inki_node_kind inki_node_kind_of(inki_node node) {
    return (inki_node_kind)(node.op & 7);
}
static inline uint32_t inki_node_arg(inki_node node) { return node.op >> 3; }

typedef struct inki_byte_set {
    uint64_t words[4];
} inki_byte_set;
static inline bool inki_set_has(const inki_byte_set *set, unsigned b) {
    return set->words[b / 64] >> b % 64 & 1;
}
static inline void inki_set_add(inki_byte_set *set, unsigned b) {
    set->words[b / 64] |= (uint64_t)1 << b % 64;
}

// A rule that calls another before any byte has the lower number.
typedef struct inki_rule {
    uint32_t entry;
    uint32_t nullable; // 1: the empty text is one of it
} inki_rule;

struct inki_grammar {
    inki_mem mem;
    inki_vec source; // char
    inki_vec nodes;  // inki_node
    inki_vec rules;  // inki_rule
    inki_vec sets;   // inki_byte_set, of classes
    uint32_t n_classes;
    uint8_t class_of[256]; // bytes that no set tells apart are one class
};

// --- while it is made ----------------------------------------------------------------------------

typedef enum inki_gbnf_kind {
    INKI_GBNF_SEQUENCE, // children one behind the other
    INKI_GBNF_CHOICE,   // one of the children
    INKI_GBNF_LITERAL,  // bytes [from, from + n)
    INKI_GBNF_CLASS,    // from: its set of ASCII + 1; n: its rule for the others + 1; 0: none
    INKI_GBNF_RULE,     // from: the rule
    INKI_GBNF_REPEAT    // the child, from to n times
} inki_gbnf_kind;

typedef struct inki_gbnf_item {
    inki_gbnf_kind kind;
    uint32_t from, n;
    uint32_t child; // the last one; 0: none
    uint32_t prev;  // of the same parent; 0: none
} inki_gbnf_item;

typedef struct inki_gbnf_rule {
    inki_str name;      // empty: made for a class, or a repetition in the rule `owner`
    uint32_t same_hash; // another of the same hash, + 1
    uint32_t owner;
    uint32_t item;         // what it stands for; 0: not there yet
    uint32_t at;           // byte of the name where it was first used, then where it is defined
    uint32_t entry;        // node
    uint32_t first, after; // nodes [first, after) are those of its items
    uint32_t order;        // its number in the grammar
} inki_gbnf_rule;

enum {
    INKI_GBNF_HASHES = 8192,
    INKI_GBNF_ALIKE = 1 << 22, // names and sets that are met in vain
    INKI_GBNF_NO_LIMIT = INT32_MAX
};

typedef struct inki_gbnf {
    inki_grammar *g;
    const char *text;
    size_t n, at;
    inki_vec items;                   // inki_gbnf_item; the first is none
    inki_vec rules;                   // inki_gbnf_rule
    inki_vec bytes;                   // of literals
    uint32_t names[INKI_GBNF_HASHES]; // the first rule + 1
    uint32_t kinds[INKI_GBNF_HASHES]; // the first set + 1
    inki_vec same_kind;               // uint32_t for each set: another of the same hash + 1
    uint32_t of_byte[256];            // the set + 1 that has only this byte
    uint32_t n_alike;                 // searches among others of the same hash
    uint32_t owner;                   // the rule that is being built
    ink_status status;                // the first failure
    ink_error *error;
} inki_gbnf;

// Keeps the first failure, with line and column of byte `at`.
void inki_gbnf_fail(inki_gbnf *r, ink_status status, size_t at, const char *text);
// INK_E_FORMAT: a rule with this name, and what is wrong with it.
void inki_gbnf_fail_rule(inki_gbnf *r, size_t at, inki_str name, const char *text);
// Another of the same hash, told apart: false where that was too often.
bool inki_gbnf_alike(inki_gbnf *r);
// n more elements of v. NULL: that is a failure.
void *inki_gbnf_add(inki_gbnf *r, inki_vec *v, size_t n, size_t elem_bytes);
// Each does nothing once there is a failure.
void inki_gbnf_read(inki_gbnf *r);  // text → items and rules
void inki_gbnf_build(inki_gbnf *r); // items → nodes
void inki_gbnf_check(inki_gbnf *r); // every rule ends, none begins with itself; rules in order

uint32_t inki_gbnf_rule_add(inki_gbnf *r, inki_str name);
// Of bytes; the same set gets the same number.
uint32_t inki_gbnf_set(inki_gbnf *r, const inki_byte_set *set);
uint32_t inki_gbnf_node(inki_gbnf *r, inki_node_kind kind, uint32_t arg, uint32_t next);
// A class of n ranges, first << 32 | last, sorted here → INKI_GBNF_CLASS's numbers.
void inki_gbnf_class(inki_gbnf *r, uint64_t *ranges, uint32_t n, bool inverted,
                     inki_gbnf_item *out);

#endif
