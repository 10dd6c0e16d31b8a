// SPDX-License-Identifier: MIT
#include "base/utf8.h"
#include "grammar/schema_parts.h"

#include <string.h>

static const char comma[] = "\",\" \" \"? ";

// --- strings -------------------------------------------------------------------------------------

void inki_schema_string(inki_schema *s, uint32_t rule, const inki_schema_all *all) {
    const uint32_t low = inki_schema_limit(s, all, INKI_KEY_MIN_LENGTH, false);
    const uint32_t high = inki_schema_limit(s, all, INKI_KEY_MAX_LENGTH, true);
    uint32_t form = 0;
    for (uint32_t i = 0; i < 2 * all->n; i++) {
        const uint32_t node = inki_schema_get(s, all->node[i / 2], INKI_KEY_PATTERN + i % 2);
        if (node == 0) continue;
        if (form != 0 && (!inki_schema_equal(s, form, node) ||
                          !inki_schema_is(s, form, INKI_KEY_PATTERN + i % 2)))
            inki_schema_fail(s, INK_E_UNSUPPORTED, node,
                             "not supported beside another pattern or format");
        form = node;
    }
    if (low > high) return;
    if (form != 0) {
        inki_schema_pattern(s, rule, form, inki_schema_is(s, form, INKI_KEY_FORMAT), low, high);
        return;
    }
    inki_schema_begin(s, rule);
    if (low == 0 && high == INKI_SCHEMA_OPEN) {
        inki_schema_put(s, "\1%u", INKI_RULE_STRING);
    } else {
        inki_schema_put(s, "\"\\\"\" \1%u", INKI_RULE_CHAR);
        inki_schema_put_repeat(s, low, high);
        inki_schema_put(s, " \"\\\"\"");
    }
    inki_schema_end(s);
}

// --- objects, and arrays of distinct values ------------------------------------------------------

// s->parts in their order, at least `low` and at most `high` of them and of what `others` (a rule,
// 0: none) says, as the alternatives of `rule`. Each part is there or not, so what may follow
// depends on the part and on how many there are, which counts only up to where it makes no
// difference any more.
static void put_parts(inki_schema *s, uint32_t rule, const char *brackets, uint32_t low,
                      uint32_t high, uint32_t others) {
    const uint32_t n = s->n_parts;
    if (high != INKI_SCHEMA_OPEN && others == 0 && high >= n) high = INKI_SCHEMA_OPEN;
    if (low > n + 1) return;
    uint32_t most = low > 1 ? low : 1;
    if (high < n) most = high > most ? high : most;
    const uint32_t states = inki_schema_new_rules(s, (n + 1) * (most + 1));
    for (uint32_t i = 0; i <= n && s->status == INK_OK; i++)
        for (uint32_t count = 0; count <= i && count <= most; count++) {
            const uint32_t state = states + i * (most + 1) + count;
            const uint32_t next = count < most ? count + 1 : most;
            const inki_schema_part *part = &s->parts[i < n ? i : 0];
            const char *between = count > 0 ? comma : "";
            // Others may have one name twice: no more than one of them is sure to be there. How
            // many there may be is counted as if all parts were there.
            const uint32_t room = high == INKI_SCHEMA_OPEN ? high
                                  : high < n               ? high - count
                                                           : high - n;
            inki_schema_begin(s, state);
            if (i < n) {
                inki_schema_put(s, "%s", between);
                inki_schema_put_json(s, part->value, part->name, part->value != 0 ? "" : ":");
                if (part->value == 0) inki_schema_put(s, " \" \"? \1%u", part->rule);
                inki_schema_put(s, " \1%u", state - count + most + 1 + next);
                if (count < high) inki_schema_end(s);
                inki_schema_begin(s, state);
                inki_schema_put(s, "\1%u", state + most + 1);
                if (!part->required) inki_schema_end(s);
                continue;
            }
            inki_schema_put(s, "\"\"");
            if (count >= low) inki_schema_end(s);
            if (others == 0 || room == 0 || count + 1 < low || (s->scarce && count >= low))
                continue;
            inki_schema_begin(s, state);
            inki_schema_put(s, "%s\1%u", between, others);
            if (room > 1 && !s->scarce) {
                inki_schema_put(s, " (%s\1%u)", comma, others);
                inki_schema_put_repeat(s, 0, room == INKI_SCHEMA_OPEN ? room : room - 1);
            }
            inki_schema_end(s);
        }
    inki_schema_begin(s, rule);
    inki_schema_put(s, "\"%c\" \1%u \"%c\"", brackets[0], states, brackets[1]);
    inki_schema_end(s);
}

static inki_schema_part *add_part(inki_schema *s, uint32_t node) {
    if (s->n_parts == INKI_SCHEMA_NAMES) {
        inki_schema_fail(s, INK_E_LIMIT, node, "over 512 of them");
        s->n_parts = 0;
    }
    inki_schema_part *part = &s->parts[s->n_parts++];
    *part = (inki_schema_part){0};
    return part;
}

// Names mostly come in the same order as before: the search begins behind the last one.
inki_schema_part *inki_schema_part_named(inki_schema *s, inki_str name) {
    for (uint32_t k = 0; k < s->n_parts; k++) {
        s->found = s->found + 1 < s->n_parts ? s->found + 1 : 0;
        inki_schema_part *part = &s->parts[s->found];
        if (part->name.bytes == name.bytes && inki_schema_order(s, part->name, name) == 0)
            return part;
    }
    (void)inki_schema_work(s, 1 + s->n_parts / 4);
    return NULL;
}

// The same, made where there is none.
static inki_schema_part *part_made(inki_schema *s, const inki_schema_all *all, uint32_t node,
                                   inki_str name) {
    uint32_t key[INKI_SCHEMA_TOGETHER], n = 0;
    inki_schema_part *part = inki_schema_part_named(s, name);
    if (part != NULL) return part;
    for (uint32_t i = 0; i < all->n; i++) {
        const uint32_t schema = inki_schema_of_member(s, all->node[i], name);
        if (schema != 0) key[n++] = schema;
    }
    part = add_part(s, node);
    part->name = name;
    part->rule = inki_schema_rule_of(s, key, n);
    return part;
}

uint32_t inki_schema_members(inki_schema *s, const inki_schema_all *all) {
    const inki_json_node *nodes = s->json.nodes;
    uint32_t key[INKI_SCHEMA_TOGETHER], n = 0;
    bool open = false, named = false;
    s->n_parts = 0;
    for (uint32_t i = 0; i < all->n; i++) {
        const uint32_t members = inki_schema_get(s, all->node[i], INKI_KEY_PROPERTIES);
        named |= members != 0;
        for (uint32_t m = members == 0 ? 0 : nodes[members].first; m != 0 && s->status == INK_OK;
             m = nodes[m].next)
            part_made(s, all, m, nodes[m].key);
    }
    for (uint32_t i = 0; i < all->n; i++) {
        const uint32_t required = inki_schema_get(s, all->node[i], INKI_KEY_REQUIRED);
        const uint32_t others = inki_schema_get(s, all->node[i], INKI_KEY_ADDITIONAL_PROPERTIES);
        named |= required != 0;
        for (uint32_t m = required == 0 ? 0 : nodes[required].first; m != 0 && s->status == INK_OK;
             m = nodes[m].next)
            part_made(s, all, m, nodes[m].text)->required = true;
        open |= others != 0;
        if (others != 0) key[n++] = others;
    }
    // Where members are named and nothing is said of others, one is written only if there would be
    // too few without.
    s->scarce = named && !open;
    if (s->scarce && inki_schema_limit(s, all, INKI_KEY_MIN_PROPERTIES, false) == 0) return 0;
    for (uint32_t i = 0; i < n; i++)
        if (nodes[key[i]].kind == INKI_JSON_FALSE) return 0;
    return inki_schema_rule_of(s, key, n);
}

// What is none of the names s->order[low, high), which have the same bytes before `at`. Where they
// are long, less: nothing that begins as they do.
static void put_other_names(inki_schema *s, uint32_t low, uint32_t high, size_t at) {
    enum { LONG = 16 };
    bool ends = at == 0; // a name has at least one character
    for (int turn = 0; turn < 2; turn++) {
        inki_schema_put(s, turn == 0 ? "([^\"\\\\\\x00-\\x1f\\x7f" : "] \1%u*", INKI_RULE_PLAIN);
        for (uint32_t i = low, end; i < high && s->status == INK_OK; i = end) {
            const inki_str name = s->parts[s->order[i]].name;
            uint32_t c = 0, other = 0;
            const size_t n = inki_utf8_decode((const uint8_t *)name.data + at, name.bytes - at, &c);
            for (end = i + 1; end < high; end++) {
                const inki_str next = s->parts[s->order[end]].name;
                if (inki_utf8_decode((const uint8_t *)next.data + at, next.bytes - at, &other) !=
                        n ||
                    other != c)
                    break;
            }
            ends |= n == 0;
            if (n == 0 || (turn == 1 && at >= LONG)) continue;
            if (turn == 1) inki_schema_put(s, " | [");
            inki_schema_put_class(s, c);
            if (turn == 0) continue;
            inki_schema_put(s, "] ");
            put_other_names(s, i, end, at + n);
        }
    }
    inki_schema_put(s, ends ? ")" : " | \"\")");
}

static int name_order(void *schema, uint32_t a, uint32_t b) {
    inki_schema *s = schema;
    return inki_schema_order(s, s->parts[a].name, s->parts[b].name);
}

// Names that are written without escapes, sorted; returns how many.
static uint32_t sort_names(inki_schema *s) {
    uint32_t n = 0;
    for (uint32_t p = 0; p < s->n_parts; p++) {
        const inki_str name = s->parts[p].name;
        bool plain = inki_schema_work(s, 1 + name.bytes / 4);
        for (size_t i = 0; i < name.bytes; i++)
            plain &=
                (unsigned char)name.data[i] >= 0x20 && strchr("\"\\\x7f", name.data[i]) == NULL;
        if (plain) s->order[n++] = p;
    }
    inki_json_sort(s->order, s->order + INKI_SCHEMA_NAMES, n, name_order, s);
    return n;
}

void inki_schema_object(inki_schema *s, uint32_t rule, const inki_schema_all *all,
                        uint32_t others) {
    const uint32_t low = inki_schema_limit(s, all, INKI_KEY_MIN_PROPERTIES, false);
    const uint32_t high = inki_schema_limit(s, all, INKI_KEY_MAX_PROPERTIES, true);
    uint32_t pair = 0;
    if (low > high) return;
    if (others != 0) {
        pair = inki_schema_new_rules(s, 1);
        inki_schema_begin(s, pair);
        inki_schema_put(s, "\"\\\"\" ");
        put_other_names(s, 0, sort_names(s), 0);
        inki_schema_put(s, " \"\\\":\" \" \"? \1%u", others);
        inki_schema_end(s);
    }
    if (pair != 0 && low > s->n_parts + 1)
        inki_schema_fail(s, INK_E_UNSUPPORTED, all->node[0],
                         "not supported: minProperties over the number of named ones and 1");
    put_parts(s, rule, "{}", low, high, pair);
}

// --- arrays --------------------------------------------------------------------------------------

// Once each, the values of the enum that all items are of, in its order.
static void put_distinct(inki_schema *s, uint32_t rule, uint32_t items, uint32_t unique,
                         uint32_t low, uint32_t high) {
    const uint32_t values = items != 0 ? inki_schema_get(s, items, INKI_KEY_ENUM) : 0;
    bool good = values != 0;
    s->n_parts = 0;
    for (uint32_t v = good ? s->json.nodes[values].first : 0; v != 0 && s->status == INK_OK;
         v = s->json.nodes[v].next) {
        const inki_schema_answer answer = inki_schema_accepts(s, items, v);
        good &= answer != INKI_MAYBE;
        if (answer == INKI_YES && inki_schema_first_equal(s, values, v) == v)
            add_part(s, v)->value = v;
    }
    if (good)
        put_parts(s, rule, "[]", low, high, 0);
    else
        inki_schema_fail(s, INK_E_UNSUPPORTED, unique,
                         "supported for one item, or items that are an enum, only");
}

void inki_schema_array(inki_schema *s, uint32_t rule, const inki_schema_all *all) {
    const inki_json_node *nodes = s->json.nodes;
    const uint32_t low = inki_schema_limit(s, all, INKI_KEY_MIN_ITEMS, false);
    uint32_t high = inki_schema_limit(s, all, INKI_KEY_MAX_ITEMS, true);
    uint32_t n_first = 0, n_items = 0, items[INKI_SCHEMA_TOGETHER], unique = 0;
    for (uint32_t i = 0; i < all->n; i++) {
        const uint32_t node = inki_schema_get(s, all->node[i], INKI_KEY_ITEMS);
        const uint32_t first = inki_schema_get(s, all->node[i], INKI_KEY_PREFIX_ITEMS);
        const uint32_t only = inki_schema_get(s, all->node[i], INKI_KEY_UNIQUE_ITEMS);
        if (first != 0 && nodes[first].n > n_first) n_first = nodes[first].n;
        if (node != 0) items[n_items++] = node;
        if (only != 0 && nodes[only].kind == INKI_JSON_TRUE) unique = only;
    }
    // Where the first items are named and nothing is said of others, as few as can be are written.
    if (n_items == 0 && n_first > 0 && high > n_first) high = low > n_first ? low : n_first;
    if (low > high) return;
    if (unique != 0 && high > 1) {
        put_distinct(s, rule, n_items == 1 && n_first == 0 ? items[0] : 0, unique, low, high);
        return;
    }
    // State i: i items are there.
    if (n_first > high) n_first = high;
    const uint32_t state = inki_schema_new_rules(s, n_first + 1);
    const uint32_t rest = inki_schema_rule_of(s, items, n_items);
    for (uint32_t i = 0; i <= n_first && s->status == INK_OK; i++) {
        inki_schema_begin(s, state + i);
        inki_schema_put(s, "\"\"");
        if (i >= low) inki_schema_end(s);
        if (i == high) continue;
        uint32_t key[INKI_SCHEMA_TOGETHER], n = 0;
        for (uint32_t k = 0; k < all->n; k++) {
            const uint32_t first = inki_schema_get(s, all->node[k], INKI_KEY_PREFIX_ITEMS);
            const uint32_t others = inki_schema_get(s, all->node[k], INKI_KEY_ITEMS);
            const uint32_t item =
                first != 0 && i < nodes[first].n ? s->json.lists[nodes[first].list + i] : others;
            if (item != 0) key[n++] = item;
        }
        const uint32_t one = i < n_first ? inki_schema_rule_of(s, key, n) : rest;
        inki_schema_begin(s, state + i);
        inki_schema_put(s, "%s\1%u", i > 0 ? comma : "", one);
        if (i < n_first) {
            inki_schema_put(s, " \1%u", state + i + 1);
        } else if (high > i + 1) {
            inki_schema_put(s, " (%s\1%u)", comma, rest);
            inki_schema_put_repeat(s, low > i + 1 ? low - i - 1 : 0,
                                   high == INKI_SCHEMA_OPEN ? high : high - i - 1);
        }
        inki_schema_end(s);
    }
    inki_schema_begin(s, rule);
    inki_schema_put(s, "\"[\" \1%u \"]\"", state);
    inki_schema_end(s);
}
