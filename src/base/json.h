// SPDX-License-Identifier: MIT
// A small reader of JSON (RFC 8259) for texts that come from outside: a schema, a chain of
// samplers. The whole text becomes a tree in three blocks; every limit is checked before memory is
// asked for.
#ifndef INKI_BASE_JSON_H
#define INKI_BASE_JSON_H

#include "base/cursor.h"
#include "base/error.h"
#include "base/mem.h"

enum { INKI_JSON_MAX_BYTES = 1 << 20, INKI_JSON_MAX_NODES = 1 << 16, INKI_JSON_MAX_DEPTH = 64 };

typedef enum inki_json_kind {
    INKI_JSON_NULL,
    INKI_JSON_FALSE,
    INKI_JSON_TRUE,
    INKI_JSON_NUMBER,
    INKI_JSON_STRING,
    INKI_JSON_ARRAY,
    INKI_JSON_OBJECT
} inki_json_kind;

// Nodes stand in the order of the text; the root is node 0.
typedef struct inki_json_node {
    inki_json_kind kind;
    uint32_t n;     // ARRAY, OBJECT: children
    uint32_t first; // the first child's index; 0: none
    uint32_t next;  // the next child of the same parent; 0: none
    uint32_t at;    // byte of the text where it begins
    uint32_t list;  // ARRAY, OBJECT: where its n children stand in lists; of others 0
    double number;  // NUMBER
    inki_str key;   // as a member of an object, decoded
    inki_str text;  // STRING: decoded (it may hold 0 bytes); else as it is written
} inki_json_node;

typedef struct inki_json {
    inki_json_node *nodes; // [n_nodes]
    uint32_t n_nodes;
    uint32_t *lists;    // [nodes_cap] children of an array in its order, of an object by name; and
                        // room for as many to sort them
    const char *source; // the caller's text: stays as long as the tree
    size_t source_bytes;
    char *strings; // decoded ones
    size_t nodes_cap, strings_bytes;
    inki_mem mem;
} inki_json;

// Errors: INK_E_FORMAT (message has line and column, offset the byte: no JSON, a member's name
// twice, a lone surrogate), INK_E_UTF8, INK_E_LIMIT (a limit above), INK_E_NOMEM.
ink_status inki_json_parse(inki_json *out, const char *text, size_t bytes, const inki_mem *mem,
                           ink_error *error);
void inki_json_free(inki_json *json); // a zeroed one is allowed
// The member of an object; NULL: none, or no object.
const inki_json_node *inki_json_get(const inki_json *json, const inki_json_node *object,
                                    const char *key);
// The same by node and name; 0: none. In log n steps.
uint32_t inki_json_member(const inki_json *json, uint32_t object, inki_str name);
// Byte by byte, what is shorter first.
int inki_str_order(inki_str a, inki_str b);
// Sorts list [n] in at most n log2 n comparisons, whatever stands in it; equal ones keep their
// order. spare [n]: scratch.
void inki_json_sort(uint32_t *list, uint32_t *spare, uint32_t n,
                    int (*order)(void *context, uint32_t a, uint32_t b), void *context);
// Line and column, from 1, of byte `at` of text; columns count bytes.
void inki_json_place(const char *text, size_t at, uint32_t *line, uint32_t *column);

#endif
