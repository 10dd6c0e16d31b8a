// SPDX-License-Identifier: MIT
#include "grammar/schema_parts.h"

#include <string.h>

// What a keyword's value may be: a bit for each inki_json_kind, and closer:
enum {
    IS_BOOL = 1 << INKI_JSON_FALSE | 1 << INKI_JSON_TRUE,
    IS_NUMBER = 1 << INKI_JSON_NUMBER,
    IS_STRING = 1 << INKI_JSON_STRING,
    IS_ARRAY = 1 << INKI_JSON_ARRAY,
    IS_OBJECT = 1 << INKI_JSON_OBJECT,
    IS_ANY = 127,
    IS_SCHEMA = IS_BOOL | IS_OBJECT,
    IS_COUNT = IS_NUMBER | 128, // a whole number from 0
    SOME = 128                  // not empty; with IS_ARRAY
};

static const struct {
    char name[21];
    uint8_t kinds, types;
} keywords[] = {
    {"$ref", IS_STRING, 0},
    {"allOf", IS_ARRAY | SOME, 0},
    {"anyOf", IS_ARRAY | SOME, 0},
    {"oneOf", IS_ARRAY | SOME, 0},
    {"type", IS_STRING | IS_ARRAY | SOME, 0},
    {"enum", IS_ARRAY | SOME, 0},
    {"const", IS_ANY, 0},
    {"properties", IS_OBJECT, INKI_TYPE_OBJECT},
    {"required", IS_ARRAY, INKI_TYPE_OBJECT},
    {"additionalProperties", IS_SCHEMA, INKI_TYPE_OBJECT},
    {"minProperties", IS_COUNT, INKI_TYPE_OBJECT},
    {"maxProperties", IS_COUNT, INKI_TYPE_OBJECT},
    {"items", IS_SCHEMA, INKI_TYPE_ARRAY},
    {"prefixItems", IS_ARRAY | SOME, INKI_TYPE_ARRAY},
    {"minItems", IS_COUNT, INKI_TYPE_ARRAY},
    {"maxItems", IS_COUNT, INKI_TYPE_ARRAY},
    {"uniqueItems", IS_BOOL, INKI_TYPE_ARRAY},
    {"minLength", IS_COUNT, INKI_TYPE_STRING},
    {"maxLength", IS_COUNT, INKI_TYPE_STRING},
    {"pattern", IS_STRING, INKI_TYPE_STRING},
    {"format", IS_STRING, INKI_TYPE_STRING},
    {"minimum", IS_NUMBER, INKI_TYPE_NUMBER},
    {"exclusiveMinimum", IS_NUMBER, INKI_TYPE_NUMBER},
    {"maximum", IS_NUMBER, INKI_TYPE_NUMBER},
    {"exclusiveMaximum", IS_NUMBER, INKI_TYPE_NUMBER},
    {"multipleOf", IS_NUMBER, INKI_TYPE_NUMBER},
    {"$defs", IS_OBJECT, 0},
    {"definitions", IS_OBJECT, 0},
    {"title", IS_ANY, 0},
    {"description", IS_ANY, 0},
    {"default", IS_ANY, 0},
    {"examples", IS_ANY, 0},
    {"$schema", IS_ANY, 0},
    {"$id", IS_ANY, 0},
    {"$comment", IS_ANY, 0},
    {"deprecated", IS_ANY, 0},
    {"readOnly", IS_ANY, 0},
    {"writeOnly", IS_ANY, 0},
    {"", 0, 0}, // what is none
};
_Static_assert(sizeof keywords / sizeof *keywords == INKI_KEY_NONE + 1, "the list of keys");

static const struct {
    char name[8];
    uint8_t types;
} type_names[] = {
    {"null", INKI_TYPE_NULL},     {"boolean", INKI_TYPE_BOOLEAN}, {"integer", INKI_TYPE_INTEGER},
    {"number", INKI_TYPE_NUMBER}, {"string", INKI_TYPE_STRING},   {"array", INKI_TYPE_ARRAY},
    {"object", INKI_TYPE_OBJECT},
};

uint32_t inki_schema_get(const inki_schema *s, uint32_t node, inki_schema_key key) {
    uint32_t i = s->json.nodes[node].first;
    while (i != 0 && s->key_of[i] != key) i = s->json.nodes[i].next;
    return i;
}

void inki_schema_find_keys(inki_schema *s) {
    for (uint32_t i = 0; i < s->json.n_nodes; i++) {
        const inki_str key = s->json.nodes[i].key;
        uint8_t k = key.bytes > 0 ? 0 : INKI_KEY_NONE;
        while (k < INKI_KEY_NONE &&
               (key.data[0] != keywords[k].name[0] || !inki_str_equal(key, keywords[k].name)))
            k++;
        s->key_of[i] = k;
    }
}

uint32_t inki_schema_count(const inki_schema *s, uint32_t node) {
    const double d = s->json.nodes[node].number;
    return d > 1u << 31 ? 1u << 31 : (uint32_t)d;
}

uint32_t inki_schema_keyword_types(const inki_schema *s, uint32_t node) {
    return keywords[s->key_of[node]].types;
}

uint32_t inki_schema_type_of_value(const inki_schema *s, uint32_t node) {
    static const uint8_t types[] = {
        INKI_TYPE_NULL,   INKI_TYPE_BOOLEAN, INKI_TYPE_BOOLEAN, 0,
        INKI_TYPE_STRING, INKI_TYPE_ARRAY,   INKI_TYPE_OBJECT,
    };
    const inki_json_node *value = &s->json.nodes[node];
    if (value->kind != INKI_JSON_NUMBER) return types[value->kind];
    const double d = value->number;
    // From 2^53 on doubles are whole.
    const double size = d < 0 ? -d : d;
    return size >= 9007199254740992.0 || (double)(int64_t)d == d ? INKI_TYPE_INTEGER
                                                                 : INKI_TYPE_FRACTION;
}

// Of the name in a node; 0: none.
static uint32_t named_type(const inki_json_node *node) {
    for (size_t i = 0; node->kind == INKI_JSON_STRING && i < 7; i++)
        if (inki_str_equal(node->text, type_names[i].name)) return type_names[i].types;
    return 0;
}

uint32_t inki_schema_types(inki_schema *s, uint32_t type_node) {
    const inki_json_node *type = &s->json.nodes[type_node];
    uint32_t types = named_type(type);
    if (type->kind == INKI_JSON_ARRAY && inki_schema_work(s, type->n))
        for (uint32_t i = type->first; i != 0; i = s->json.nodes[i].next)
            types |= named_type(&s->json.nodes[i]);
    return types;
}

// The child that a step of a pointer, part, leads to; 0: none.
static uint32_t step_into(inki_schema *s, uint32_t node, inki_str part) {
    const inki_json_node *nodes = s->json.nodes;
    uint32_t wanted = 0;
    if (nodes[node].kind != INKI_JSON_ARRAY) return inki_json_member(&s->json, node, part);
    for (size_t i = 0; i < part.bytes; i++) {
        if ((unsigned)part.data[i] - '0' > 9 || wanted > INKI_JSON_MAX_NODES) return 0;
        wanted = wanted * 10 + (uint32_t)(part.data[i] - '0');
    }
    node = nodes[node].first;
    while (wanted-- > 0 && node != 0 && inki_schema_work(s, 1)) node = nodes[node].next;
    return node;
}

static int hex_digit(char c) {
    const char low = (char)(c | 0x20);
    return c >= '0' && c <= '9' ? c - '0' : low >= 'a' && low <= 'f' ? low - 'a' + 10 : -1;
}

uint32_t inki_schema_ref(inki_schema *s, uint32_t node) {
    const inki_str ref = s->json.nodes[node].text;
    uint32_t at = 0, *known = &s->json.nodes[node].list; // + 1: a text has no list
    if (s->json.nodes[node].kind == INKI_JSON_STRING && *known != 0) return *known - 1;
    if (ref.bytes == 0 || ref.data[0] != '#') {
        inki_schema_fail(s, INK_E_UNSUPPORTED, node, "not supported: a schema that is not in here");
        return 0;
    }
    for (size_t i = 1; i < ref.bytes;) {
        char part[256];
        size_t n = 0;
        bool good = ref.data[i++] == '/', tilde = false;
        for (; i < ref.bytes && ref.data[i] != '/' && n < sizeof part; i++) {
            char c = ref.data[i];
            const int high = c == '%' && i + 2 < ref.bytes ? hex_digit(ref.data[i + 1]) : -1;
            if (high >= 0 && hex_digit(ref.data[i + 2]) >= 0) {
                c = (char)(high * 16 + hex_digit(ref.data[i + 2]));
                i += 2;
            }
            if (tilde && (c == '0' || c == '1')) {
                part[n - 1] = c == '0' ? '~' : '/';
                tilde = false;
            } else {
                part[n++] = c;
                tilde = c == '~';
            }
        }
        at = good && n < sizeof part ? step_into(s, at, (inki_str){part, n}) : 0;
        if (at == 0) {
            inki_schema_fail(s, INK_E_FORMAT, node, "this leads to nothing");
            return 0;
        }
    }
    *known = at + 1;
    return at;
}

// What a keyword's value must be over its kind.
static const char *fault_of(const inki_schema *s, const inki_json_node *member) {
    const inki_json_node *nodes = s->json.nodes;
    const uint32_t i = (uint32_t)(member - nodes), kinds = keywords[s->key_of[i]].kinds;
    if ((kinds >> member->kind & 1) == 0) return "a value of another type is needed here";
    if (member->kind == INKI_JSON_NUMBER && (kinds & SOME) != 0 &&
        (member->number < 0 || inki_schema_type_of_value(s, i) != INKI_TYPE_INTEGER))
        return "a whole number from 0 on is needed here";
    if (member->kind == INKI_JSON_ARRAY && (kinds & SOME) != 0 && member->n == 0)
        return "this must not be empty";
    const bool type = inki_schema_is(s, i, INKI_KEY_TYPE),
               required = inki_schema_is(s, i, INKI_KEY_REQUIRED);
    if (type && member->kind == INKI_JSON_STRING && named_type(member) == 0)
        return "no type of JSON";
    for (uint32_t c = member->first; c != 0 && (type || required); c = nodes[c].next)
        if (type ? named_type(&nodes[c]) == 0 : nodes[c].kind != INKI_JSON_STRING)
            return type ? "no type of JSON" : "a name is needed here";
    return NULL;
}

static void check_keyword(inki_schema *s, uint32_t schema, uint32_t i) {
    const inki_json_node *member = &s->json.nodes[i];
    const bool known = s->key_of[i] != INKI_KEY_NONE;
    // It would be a new place for $ref to begin from.
    if (!known || (schema != 0 && inki_schema_is(s, i, INKI_KEY_ID))) {
        inki_schema_fail(s, INK_E_UNSUPPORTED, i, "this keyword is not supported");
        return;
    }
    const char *fault = fault_of(s, member);
    if (fault != NULL) inki_schema_fail(s, INK_E_FORMAT, i, fault);
    if (fault == NULL && inki_schema_is(s, i, INKI_KEY_MULTIPLE_OF) && member->number != 1)
        inki_schema_fail(s, INK_E_UNSUPPORTED, i, "this keyword is supported for 1 only");
}

// Schemas of the same place that lead back to themselves stand for nothing.
void inki_schema_visit(inki_schema *s, uint32_t node, uint32_t depth) {
    const inki_json_node *nodes = s->json.nodes, *schema = &nodes[node];
    if (s->visited[node] == 2 || s->status != INK_OK) return;
    if ((IS_SCHEMA >> schema->kind & 1) == 0)
        inki_schema_fail(s, INK_E_FORMAT, node, "a schema is needed here: {…}, true or false");
    if (s->visited[node] == 1)
        inki_schema_fail(s, INK_E_FORMAT, node, "this schema leads back to itself");
    if (depth == INKI_SCHEMA_TOGETHER)
        inki_schema_fail(s, INK_E_LIMIT, node, "over 64 schemas for one place");
    s->visited[node] = 1;
    for (uint32_t i = schema->first; i != 0 && s->status == INK_OK; i = nodes[i].next) {
        check_keyword(s, node, i);
        if (s->status != INK_OK || s->key_of[i] > INKI_KEY_ONE_OF) continue;
        if (inki_schema_is(s, i, INKI_KEY_REF)) {
            const uint32_t to = inki_schema_ref(s, i);
            inki_schema_visit(s, to, depth + 1);
        }
        for (uint32_t c = nodes[i].first; c != 0; c = nodes[c].next)
            inki_schema_visit(s, c, depth + 1);
    }
    s->visited[node] = 2;
}
