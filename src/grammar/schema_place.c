// SPDX-License-Identifier: MIT
#include "grammar/schema_parts.h"

static void add_schema(inki_schema *s, inki_schema_all *all, uint32_t node) {
    for (uint32_t i = 0; i < all->n; i++)
        if (all->node[i] == node) return;
    if (all->n == INKI_SCHEMA_TOGETHER)
        inki_schema_fail(s, INK_E_LIMIT, node, "over 64 schemas for one place");
    else
        all->node[all->n++] = node;
}

uint32_t inki_schema_limit(const inki_schema *s, const inki_schema_all *all, inki_schema_key key,
                           bool upper) {
    uint32_t limit = upper ? INKI_SCHEMA_OPEN : 0;
    for (uint32_t i = 0; i < all->n; i++) {
        const uint32_t node = inki_schema_get(s, all->node[i], key);
        if (node == 0) continue;
        const uint32_t count = inki_schema_count(s, node);
        if ((count < limit) == upper) limit = count;
    }
    return limit;
}

// The values of an enum or a const that all hold for.
static void put_values(inki_schema *s, uint32_t rule, const inki_schema_all *all, uint32_t values) {
    const bool list = inki_schema_is(s, values, INKI_KEY_ENUM);
    s->values = values;
    for (uint32_t v = list ? s->json.nodes[values].first : values; v != 0 && s->status == INK_OK;
         v = list ? s->json.nodes[v].next : 0) {
        inki_schema_answer answer = INKI_YES;
        for (uint32_t i = 0; i < all->n + all->n_barred; i++) {
            const bool barred = i >= all->n;
            const inki_schema_answer one =
                inki_schema_accepts(s, barred ? all->barred[i - all->n] : all->node[i], v);
            const inki_schema_answer holds = barred ? INKI_YES - one : one;
            if (holds < answer) answer = holds;
        }
        if (answer == INKI_MAYBE)
            inki_schema_fail(s, INK_E_UNSUPPORTED, values,
                             "not supported beside the other keywords for this place");
        if (answer != INKI_YES) continue;
        inki_schema_begin(s, rule);
        inki_schema_put_json(s, v, (inki_str){"", 0}, "");
        inki_schema_end(s);
    }
    s->values = 0;
}

// Types that the keywords leave, and the values that they list, if they do.
static uint32_t types_left(inki_schema *s, const inki_schema_all *all, uint32_t *values) {
    const inki_json_node *nodes = s->json.nodes;
    uint32_t types = INKI_TYPE_ANY, spoken = 0;
    bool told = false;
    for (uint32_t i = 0; i < all->n; i++)
        for (uint32_t k = nodes[all->node[i]].first; k != 0; k = nodes[k].next) {
            spoken |= inki_schema_keyword_types(s, k);
            if (inki_schema_is(s, k, INKI_KEY_ENUM) || inki_schema_is(s, k, INKI_KEY_CONST))
                *values = k;
            if (inki_schema_is(s, k, INKI_KEY_MULTIPLE_OF)) types &= ~(uint32_t)INKI_TYPE_FRACTION;
            if (!inki_schema_is(s, k, INKI_KEY_TYPE)) continue;
            types &= inki_schema_types(s, k);
            told = true;
        }
    // Who says how long the text is means a text.
    return told || spoken == 0 ? types : types & spoken;
}

// All alternatives are chosen: what is left are keywords that say what is to be written.
static void write_place(inki_schema *s, uint32_t rule, const inki_schema_all *all) {
    static const struct {
        uint8_t type, given;
        char text[17];
    } simple[] = {{INKI_TYPE_NULL, 0, "\"null\""}, {INKI_TYPE_BOOLEAN, 0, "\"true\" | \"false\""}};
    uint32_t values = 0, others = 0;
    if (!inki_schema_work(s, 8 + 8 * (size_t)all->n)) return;
    const uint32_t types = types_left(s, all, &values);
    if (++s->n_steps > INKI_SCHEMA_STEPS)
        inki_schema_fail(s, INK_E_LIMIT, all->node[0], "too many alternatives");
    if (values != 0) {
        put_values(s, rule, all, values);
        return;
    }
    for (uint32_t type = 1; type < INKI_TYPE_ANY && s->status == INK_OK; type *= 2) {
        if ((types & type) == 0) continue;
        if (type == INKI_TYPE_OBJECT) others = inki_schema_members(s, all);
        for (uint32_t i = 0; i < all->n_barred; i++)
            if (!inki_schema_apart(s, all, all->barred[i], type, others == 0))
                inki_schema_fail(s, INK_E_UNSUPPORTED, all->barred[i],
                                 "not supported: it may hold together with another of oneOf");
        switch (type) {
        case INKI_TYPE_INTEGER:
            // What is whole is among what is not.
            if ((types & INKI_TYPE_FRACTION) != 0) break;
            // fall through
        case INKI_TYPE_FRACTION: inki_schema_number(s, rule, all, type == INKI_TYPE_INTEGER); break;
        case INKI_TYPE_STRING: inki_schema_string(s, rule, all); break;
        case INKI_TYPE_ARRAY: inki_schema_array(s, rule, all); break;
        case INKI_TYPE_OBJECT: inki_schema_object(s, rule, all, others); break;
        default:
            inki_schema_begin(s, rule);
            inki_schema_put(s, "%s", simple[type - 1].text);
            inki_schema_end(s);
        }
    }
}

static void choose_alternative(inki_schema *s, uint32_t rule, inki_schema_all *all) {
    const inki_json_node *nodes = s->json.nodes;
    for (; all->at < all->n && s->status == INK_OK; all->at++) {
        const uint32_t node = all->node[all->at];
        inki_schema_visit(s, node, 0);
        if (nodes[node].kind == INKI_JSON_FALSE) return;
        for (uint32_t k = nodes[node].first; k != 0 && s->status == INK_OK; k = nodes[k].next) {
            if (inki_schema_is(s, k, INKI_KEY_REF)) add_schema(s, all, inki_schema_ref(s, k));
            if (inki_schema_is(s, k, INKI_KEY_ALL_OF))
                for (uint32_t c = nodes[k].first; c != 0 && s->status == INK_OK; c = nodes[c].next)
                    add_schema(s, all, c);
            if (!inki_schema_is(s, k, INKI_KEY_ANY_OF) && !inki_schema_is(s, k, INKI_KEY_ONE_OF))
                continue;
            if (all->n_choices == INKI_SCHEMA_TOGETHER)
                inki_schema_fail(s, INK_E_LIMIT, k, "over 64 schemas for one place");
            else
                all->choice[all->n_choices++] = k;
        }
    }
    if (s->status != INK_OK) return;
    if (all->n_choices == 0) {
        write_place(s, rule, all);
        return;
    }
    const uint32_t choice = all->choice[--all->n_choices];
    const bool one = inki_schema_is(s, choice, INKI_KEY_ONE_OF);
    for (uint32_t a = nodes[choice].first; a != 0 && inki_schema_work(s, 8); a = nodes[a].next) {
        inki_schema_all with = *all;
        add_schema(s, &with, a);
        for (uint32_t b = nodes[choice].first; one && b != 0 && s->status == INK_OK;
             b = nodes[b].next) {
            if (b == a) continue;
            if (with.n_barred == INKI_SCHEMA_TOGETHER)
                inki_schema_fail(s, INK_E_LIMIT, choice, "over 64 schemas for one place");
            else
                with.barred[with.n_barred++] = b;
        }
        choose_alternative(s, rule,
                           &with); // each time with a choice less, or with a schema more of 64
    }
}

void inki_schema_place(inki_schema *s, uint32_t rule) {
    inki_schema_all all = {0};
    s->place = s->keys[s->rules[rule].key];
    for (uint32_t i = 0; i < s->rules[rule].n_key; i++)
        add_schema(s, &all, s->keys[s->rules[rule].key + i]);
    choose_alternative(s, rule, &all);
}
