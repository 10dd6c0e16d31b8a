// SPDX-License-Identifier: MIT
#include "grammar/schema_parts.h"

static int compare_numbers(const inki_schema *s, uint32_t a, uint32_t b) {
    const double p = s->json.nodes[a].number, q = s->json.nodes[b].number;
    return p < q ? -1 : p > q;
}

int inki_schema_order(inki_schema *s, inki_str a, inki_str b) {
    (void)inki_schema_work(s, 1 + (a.bytes < b.bytes ? a.bytes : b.bytes) / 128);
    return inki_str_order(a, b);
}

// An order of all values, in which objects go by their members' names. The reader bounds how deep
// it is.
static int compare_values(void *schema, uint32_t a, uint32_t b) {
    inki_schema *s = schema;
    const inki_json_node *nodes = s->json.nodes, *x = &nodes[a], *y = &nodes[b];
    const uint32_t *lists = s->json.lists;
    int order = 0;
    (void)inki_schema_work(s, 1);
    if (x->kind != y->kind) return x->kind < y->kind ? -1 : 1;
    if (x->kind == INKI_JSON_NUMBER) return compare_numbers(s, a, b);
    if (x->kind == INKI_JSON_STRING) return inki_schema_order(s, x->text, y->text);
    if (x->n != y->n) return x->n < y->n ? -1 : 1;
    // An array that is in here as an enum may be sorted: as a list it stays as it is written.
    const bool object = x->kind == INKI_JSON_OBJECT;
    uint32_t i = x->first, j = y->first;
    for (uint32_t k = 0; k < x->n && order == 0 && s->status == INK_OK; k++) {
        if (object) {
            i = lists[x->list + k];
            j = lists[y->list + k];
            order = inki_schema_order(s, nodes[i].key, nodes[j].key);
        }
        if (order == 0) order = compare_values(s, i, j);
        i = nodes[i].next;
        j = nodes[j].next;
    }
    return order;
}

bool inki_schema_equal(inki_schema *s, uint32_t a, uint32_t b) {
    return compare_values(s, a, b) == 0;
}

uint32_t inki_schema_first_equal(inki_schema *s, uint32_t list, uint32_t value) {
    const uint32_t n = s->json.nodes[list].n;
    uint32_t *values = s->json.lists + s->json.nodes[list].list, low = 0, high = n;
    if (s->visited[list] == 0)
        inki_json_sort(values, s->json.lists + s->json.nodes_cap, n, compare_values, s);
    s->visited[list] = 1;
    while (low < high) {
        const uint32_t middle = (low + high) / 2;
        if (compare_values(s, values[middle], value) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low < n && inki_schema_equal(s, values[low], value) ? values[low] : 0;
}

static uint32_t length_of(inki_schema *s, inki_str text) {
    uint32_t n = 0;
    if (!inki_schema_work(s, text.bytes / 16)) return 0;
    for (size_t i = 0; i < text.bytes; i++) n += ((unsigned char)text.data[i] & 0xc0) != 0x80;
    return n;
}

// What a keyword k says of a value.
static inki_schema_answer keyword_accepts(inki_schema *s, uint32_t k, uint32_t value) {
    const inki_json_node *nodes = s->json.nodes, *v = &nodes[value];
    const uint32_t type = inki_schema_type_of_value(s, value);
    const uint32_t types = inki_schema_keyword_types(s, k);
    const uint32_t bound = s->key_of[k] - (uint32_t)INKI_KEY_MINIMUM;
    uint32_t n_yes = 0, n_maybe = 0;
    bool good;
    if (k == s->values || (types != 0 && (types & type) == 0)) return INKI_YES;
    if (inki_schema_is(s, k, INKI_KEY_REF))
        return inki_schema_accepts(s, inki_schema_ref(s, k), value);
    if (inki_schema_is(s, k, INKI_KEY_ENUM))
        return inki_schema_first_equal(s, k, value) != 0 ? INKI_YES : INKI_NO;
    if (inki_schema_is(s, k, INKI_KEY_CONST))
        return inki_schema_equal(s, k, value) ? INKI_YES : INKI_NO;
    if (inki_schema_is(s, k, INKI_KEY_ALL_OF) || inki_schema_is(s, k, INKI_KEY_ANY_OF) ||
        inki_schema_is(s, k, INKI_KEY_ONE_OF)) {
        for (uint32_t c = nodes[k].first; c != 0; c = nodes[c].next) {
            const inki_schema_answer one = inki_schema_accepts(s, c, value);
            n_yes += one == INKI_YES;
            n_maybe += one == INKI_MAYBE;
        }
        const uint32_t least = inki_schema_is(s, k, INKI_KEY_ALL_OF) ? nodes[k].n : 1;
        const uint32_t most = inki_schema_is(s, k, INKI_KEY_ONE_OF) ? 1 : nodes[k].n;
        if (n_yes > most || n_yes + n_maybe < least) return INKI_NO;
        return n_yes >= least && n_yes + n_maybe <= most ? INKI_YES : INKI_MAYBE;
    }
    if (inki_schema_is(s, k, INKI_KEY_TYPE)) {
        good = (inki_schema_types(s, k) & type) != 0;
    } else if (inki_schema_is(s, k, INKI_KEY_MIN_LENGTH)) {
        good = length_of(s, v->text) >= inki_schema_count(s, k);
    } else if (inki_schema_is(s, k, INKI_KEY_MAX_LENGTH)) {
        good = length_of(s, v->text) <= inki_schema_count(s, k);
    } else if (inki_schema_is(s, k, INKI_KEY_MULTIPLE_OF)) {
        good = type == INKI_TYPE_INTEGER;
    } else if (bound < 4) {
        const int order = compare_numbers(s, value, k) * (bound < 2 ? 1 : -1);
        good = order > 0 || (order == 0 && bound % 2 == 0);
    } else {
        return types != 0 ? INKI_MAYBE : INKI_YES;
    }
    return good ? INKI_YES : INKI_NO;
}

// Schemas of one place lead nowhere back: they were visited.
inki_schema_answer inki_schema_accepts(inki_schema *s, uint32_t schema, uint32_t value) {
    const inki_json_node *nodes = s->json.nodes;
    inki_schema_answer answer = nodes[schema].kind == INKI_JSON_FALSE ? INKI_NO : INKI_YES;
    inki_schema_visit(s, schema, 0);
    (void)inki_schema_work(s, 8);
    if (++s->n_steps > INKI_SCHEMA_STEPS)
        inki_schema_fail(s, INK_E_LIMIT, schema, "too many alternatives");
    for (uint32_t k = nodes[schema].first; k != 0 && s->status == INK_OK; k = nodes[k].next) {
        const inki_schema_answer one = keyword_accepts(s, k, value);
        if (one < answer) answer = one;
    }
    return answer;
}

// --- schemas that nothing satisfies together -----------------------------------------------------

typedef struct apart_ask {
    const inki_schema_all *all; // NULL: two schemas, a is the other one
    uint32_t a, type, depth;
    bool closed;
} apart_ask;

static bool apart(inki_schema *s, apart_ask ask, uint32_t b);

uint32_t inki_schema_of_member(inki_schema *s, uint32_t schema, inki_str name) {
    const uint32_t members = inki_schema_get(s, schema, INKI_KEY_PROPERTIES);
    const uint32_t member = members != 0 ? inki_json_member(&s->json, members, name) : 0;
    (void)inki_schema_work(s, 4 + name.bytes / 32 + s->json.nodes[schema].n);
    return member != 0 ? member : inki_schema_get(s, schema, INKI_KEY_ADDITIONAL_PROPERTIES);
}

// A member that is in all of a's objects and that b has otherwise, or not at all.
static bool members_apart(inki_schema *s, apart_ask ask, uint32_t a, uint32_t b) {
    const inki_json_node *nodes = s->json.nodes;
    const uint32_t required = inki_schema_get(s, a, INKI_KEY_REQUIRED);
    for (uint32_t i = required == 0 ? 0 : nodes[required].first; i != 0; i = nodes[i].next) {
        const uint32_t x = inki_schema_of_member(s, a, nodes[i].text);
        const uint32_t y = inki_schema_of_member(s, b, nodes[i].text);
        const apart_ask member = {.a = x, .type = INKI_TYPE_ANY, .depth = ask.depth + 1};
        if (y != 0 && (nodes[y].kind == INKI_JSON_FALSE || (x != 0 && apart(s, member, y))))
            return true;
    }
    return false;
}

// Types of the values of a schema, and its enum or const.
static uint32_t own_types(inki_schema *s, uint32_t schema, uint32_t *values) {
    const uint32_t type = inki_schema_get(s, schema, INKI_KEY_TYPE);
    *values = inki_schema_get(s, schema, INKI_KEY_ENUM);
    if (*values == 0) *values = inki_schema_get(s, schema, INKI_KEY_CONST);
    return type != 0 ? inki_schema_types(s, type) : INKI_TYPE_ANY;
}

// Whether a's listed values are none of b's.
static bool values_apart(inki_schema *s, uint32_t values, uint32_t b) {
    const bool list = inki_schema_is(s, values, INKI_KEY_ENUM);
    for (uint32_t v = list ? s->json.nodes[values].first : values; v != 0;
         v = list ? s->json.nodes[v].next : 0)
        if (inki_schema_accepts(s, b, v) != INKI_NO) return false;
    return true;
}

// By the keywords of these two alone.
static bool keywords_apart(inki_schema *s, apart_ask ask, uint32_t b) {
    uint32_t x, y;
    const uint32_t types = own_types(s, ask.a, &x) & own_types(s, b, &y) & ask.type;
    if (types == 0 || (x != 0 && values_apart(s, x, b)) || (y != 0 && values_apart(s, y, ask.a)))
        return true;
    return types == INKI_TYPE_OBJECT &&
           (members_apart(s, ask, ask.a, b) || members_apart(s, ask, b, ask.a));
}

// Of what is written, s->parts: whether b's required members are not all there, or one that always
// is is not as b has it.
static bool parts_apart(inki_schema *s, apart_ask ask, uint32_t b) {
    const inki_json_node *nodes = s->json.nodes;
    const uint32_t required = inki_schema_get(s, b, INKI_KEY_REQUIRED);
    for (uint32_t i = required == 0 ? 0 : nodes[required].first; i != 0; i = nodes[i].next) {
        if (ask.closed && inki_schema_part_named(s, nodes[i].text) == NULL) return true;
    }
    for (uint32_t p = 0; p < s->n_parts; p++) {
        const inki_str name = s->parts[p].name;
        const uint32_t y = s->parts[p].required ? inki_schema_of_member(s, b, name) : 0;
        for (uint32_t i = 0; i < ask.all->n && y != 0; i++) {
            const uint32_t x = inki_schema_of_member(s, ask.all->node[i], name);
            const apart_ask member = {.a = x, .type = INKI_TYPE_ANY, .depth = ask.depth + 1};
            if (nodes[y].kind == INKI_JSON_FALSE || (x != 0 && apart(s, member, y))) return true;
        }
    }
    return false;
}

// b may be several schemas of one place: one of $ref and allOf is enough, of anyOf and oneOf all
// are needed. For two schemas that is asked the other way round as well.
static bool apart(inki_schema *s, apart_ask ask, uint32_t b) {
    const inki_json_node *nodes = s->json.nodes;
    // What is asked about may have any number of members: it was not visited yet.
    if (!inki_schema_work(s, 16 + nodes[ask.a].n + nodes[b].n + s->n_parts / 8) || ask.depth > 12 ||
        ++s->n_steps > INKI_SCHEMA_STEPS)
        return false;
    if (nodes[b].kind == INKI_JSON_FALSE) return true;
    for (int turn = 0; turn < (ask.all != NULL ? 1 : 2); turn++) {
        const uint32_t of = turn == 0 ? b : ask.a;
        apart_ask next = ask;
        next.depth++;
        if (turn == 1) next.a = b;
        for (uint32_t k = nodes[of].first; k != 0; k = nodes[k].next) {
            if (inki_schema_is(s, k, INKI_KEY_REF) && apart(s, next, inki_schema_ref(s, k)))
                return true;
            const bool any = inki_schema_is(s, k, INKI_KEY_ALL_OF);
            if (!any && !inki_schema_is(s, k, INKI_KEY_ANY_OF) &&
                !inki_schema_is(s, k, INKI_KEY_ONE_OF))
                continue;
            uint32_t c = nodes[k].first;
            while (c != 0 && apart(s, next, c) != any) c = nodes[c].next;
            if ((c != 0) == any) return true;
        }
    }
    if (ask.all == NULL) return keywords_apart(s, ask, b);
    for (uint32_t i = 0; i < ask.all->n; i++) {
        const apart_ask pair = {.a = ask.all->node[i], .type = ask.type, .depth = ask.depth + 1};
        if (apart(s, pair, b)) return true;
    }
    return ask.type == INKI_TYPE_OBJECT && parts_apart(s, ask, b);
}

bool inki_schema_apart(inki_schema *s, const inki_schema_all *all, uint32_t other, uint32_t type,
                       bool closed) {
    const apart_ask ask = {.all = all, .type = type, .closed = closed};
    return apart(s, ask, other);
}
