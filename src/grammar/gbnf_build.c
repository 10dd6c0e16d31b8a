// SPDX-License-Identifier: MIT
#include "base/mix.h"
#include "base/utf8.h"
#include "grammar/grammar_parts.h"

#include <string.h>

static uint32_t build_item(inki_gbnf *r, uint32_t at, uint32_t next);

uint32_t inki_gbnf_rule_add(inki_gbnf *r, inki_str name) {
    const uint32_t at = (uint32_t)r->rules.n;
    if (at == INKI_GRAMMAR_MAX_RULES) inki_gbnf_fail(r, INK_E_LIMIT, r->at, "over 65536 rules");
    inki_gbnf_rule *to = inki_gbnf_add(r, &r->rules, 1, sizeof *to);
    if (to == NULL) return 0;
    *to = (inki_gbnf_rule){.name = name, .owner = at, .at = UINT32_MAX};
    return at;
}

uint32_t inki_gbnf_set(inki_gbnf *r, const inki_byte_set *set) {
    uint64_t hash = 0;
    for (int i = 0; i < 4; i++) hash = inki_mix64(hash + set->words[i] + INKI_GOLDEN64);
    uint32_t *first = &r->kinds[hash % INKI_GBNF_HASHES];
    inki_byte_set *sets = r->g->sets.data;
    for (uint32_t i = *first; i != 0 && inki_gbnf_alike(r);
         i = ((uint32_t *)r->same_kind.data)[i - 1])
        if (memcmp(&sets[i - 1], set, sizeof *set) == 0) return i - 1;
    inki_byte_set *to = inki_gbnf_add(r, &r->g->sets, 1, sizeof *to);
    uint32_t *same = inki_gbnf_add(r, &r->same_kind, 1, sizeof *same);
    if (same == NULL) return 0;
    *to = *set;
    *same = *first;
    return (*first = (uint32_t)r->g->sets.n) - 1;
}

uint32_t inki_gbnf_node(inki_gbnf *r, inki_node_kind kind, uint32_t arg, uint32_t next) {
    const uint32_t at = (uint32_t)r->g->nodes.n;
    if (at == INKI_GRAMMAR_MAX_NODES)
        inki_gbnf_fail(r, INK_E_LIMIT, 0, "too large: over 2^20 steps with all repetitions");
    inki_node *to = inki_gbnf_add(r, &r->g->nodes, 1, sizeof *to);
    if (to == NULL) return 0;
    *to = (inki_node){arg << 3 | (uint32_t)kind, next};
    return at;
}

// Bytes low to high.
static uint32_t build_range(inki_gbnf *r, unsigned low, unsigned high, uint32_t next) {
    // Literals are long: their sets are not looked for.
    uint32_t some, *known = low == high ? &r->of_byte[low] : &some;
    if (low != high || *known == 0) {
        inki_byte_set set = {{0}};
        for (unsigned b = low; b <= high; b++) inki_set_add(&set, b);
        *known = inki_gbnf_set(r, &set) + 1;
    }
    return inki_gbnf_node(r, INKI_NODE_SET, *known - 1, next);
}

static uint32_t build_either(inki_gbnf *r, uint32_t a, uint32_t b) {
    return a == 0 ? b : inki_gbnf_node(r, INKI_NODE_SPLIT, b, a);
}

// Adds the UTF-8 of characters [low, after), none of them ASCII, as ways beside `entry`. Cut where
// the length changes, and then until all but one byte of a piece goes over its whole range, or
// stays the same before that one.
static uint32_t build_chars(inki_gbnf *r, uint32_t entry, uint32_t low, uint32_t after) {
    static const uint32_t ends[] = {0x7ff, 0xffff};
    while (low < after && r->status == INK_OK) {
        uint32_t end = after - 1;
        for (int i = 1; i >= 0; i--)
            if (low <= ends[i] && end > ends[i]) end = ends[i];
        for (uint32_t whole = 0x3f; whole <= 0x3ffff; whole = whole << 6 | 0x3f) {
            if ((low | whole) >= end) continue; // the same but for these bits
            if ((low & whole) != 0)
                end = low | whole;
            else if ((end & whole) != whole)
                end = (end & ~whole) - 1;
        }
        char first[4], last[4];
        uint32_t node = INKI_AT_RET;
        size_t n = inki_utf8_encode(low, first);
        inki_utf8_encode(end, last);
        while (n-- > 0) node = build_range(r, (uint8_t)first[n], (uint8_t)last[n], node);
        entry = build_either(r, entry, node);
        low = end + 1;
    }
    return entry;
}

void inki_gbnf_class(inki_gbnf *r, uint64_t *ranges, uint32_t n, bool inverted,
                     inki_gbnf_item *out) {
    inki_byte_set set = {{0}};
    uint32_t entry = 0, from = 0; // characters before `from` are done
    n = inki_grammar_sort(ranges, n);
    for (uint32_t i = 0; i <= n; i++) {
        const uint32_t first = i < n ? (uint32_t)(ranges[i] >> 32) : 0x110000;
        const uint32_t after = i < n ? (uint32_t)ranges[i] + 1 : 0x110000;
        uint32_t low = inverted || first < from ? from : first; // inverted: the gap before it
        const uint32_t end = inverted ? first : after;
        for (; low < 0x80 && low < end; low++) inki_set_add(&set, low);
        entry = build_chars(r, entry, low, end < 0xd800 ? end : 0xd800);
        entry = build_chars(r, entry, low > 0xe000 ? low : 0xe000, end);
        if (from < after) from = after;
    }
    if ((set.words[0] | set.words[1]) != 0) out->from = inki_gbnf_set(r, &set) + 1;
    if (entry == 0) return;
    out->n = inki_gbnf_rule_add(r, (inki_str){"", 0}) + 1;
    if (r->status == INK_OK) ((inki_gbnf_rule *)r->rules.data)[out->n - 1].entry = entry;
}

static uint32_t build_class(inki_gbnf *r, const inki_gbnf_item *item, uint32_t next) {
    uint32_t entry = 0;
    if (item->n != 0) entry = inki_gbnf_node(r, INKI_NODE_CALL, item->n - 1, next);
    if (item->from != 0)
        entry = build_either(r, entry, inki_gbnf_node(r, INKI_NODE_SET, item->from - 1, next));
    return entry;
}

// What takes more than a node or two is a rule of its own when there is more than one of it.
static inki_gbnf_item build_once(inki_gbnf *r, uint32_t child) {
    const inki_gbnf_item item = ((inki_gbnf_item *)r->items.data)[child];
    if (item.kind == INKI_GBNF_CLASS || item.kind == INKI_GBNF_RULE ||
        (item.kind == INKI_GBNF_LITERAL && item.n == 1))
        return item;
    const uint32_t rule = inki_gbnf_rule_add(r, (inki_str){"", 0});
    const uint32_t first = (uint32_t)r->g->nodes.n, entry = build_item(r, child, INKI_AT_RET);
    if (r->status == INK_OK) {
        inki_gbnf_rule *made = (inki_gbnf_rule *)r->rules.data + rule;
        made->owner = r->owner;
        made->entry = entry;
        made->first = first;
        made->after = (uint32_t)r->g->nodes.n;
    }
    return (inki_gbnf_item){.kind = INKI_GBNF_RULE, .from = rule};
}

static uint32_t build_plain(inki_gbnf *r, const inki_gbnf_item *item, uint32_t next) {
    if (item->kind == INKI_GBNF_RULE) return inki_gbnf_node(r, INKI_NODE_CALL, item->from, next);
    if (item->kind == INKI_GBNF_CLASS) return build_class(r, item, next);
    for (uint32_t i = item->n; i-- > 0;) {
        const uint8_t b = ((uint8_t *)r->bytes.data)[item->from + i];
        next = build_range(r, b, b, next);
    }
    return next;
}

static uint32_t build_repeat(inki_gbnf *r, inki_gbnf_item repeat, uint32_t next) {
    const bool endless = repeat.n == INKI_GBNF_NO_LIMIT;
    const uint32_t most = !endless ? repeat.n : repeat.from > 0 ? repeat.from : 1;
    inki_gbnf_item item = {.kind = INKI_GBNF_REPEAT};
    if (most == 0) return next;
    if (most > 1) item = build_once(r, repeat.child);
    uint32_t again = next;
    for (uint32_t i = most; i-- > 0 && r->status == INK_OK;) {
        // Behind the last of an endless one it may begin anew.
        const bool loops = endless && i + 1 == most, optional = i >= repeat.from;
        const uint32_t back = loops ? inki_gbnf_node(r, INKI_NODE_SPLIT, 0, next) : again;
        const uint32_t body = item.kind == INKI_GBNF_REPEAT ? build_item(r, repeat.child, back)
                                                            : build_plain(r, &item, back);
        if (loops && r->status == INK_OK)
            ((inki_node *)r->g->nodes.data)[back].op = body << 3 | INKI_NODE_SPLIT;
        if (!optional)
            again = body;
        else
            again = loops ? back : inki_gbnf_node(r, INKI_NODE_SPLIT, body, next);
    }
    return again;
}

// Back to front, so that what comes next is known. As deep as groups and suffixes are.
static uint32_t build_item(inki_gbnf *r, uint32_t at, uint32_t next) {
    if (r->status != INK_OK) return 0;
    const inki_gbnf_item item = ((inki_gbnf_item *)r->items.data)[at];
    if (item.kind == INKI_GBNF_REPEAT) return build_repeat(r, item, next);
    if (item.kind != INKI_GBNF_SEQUENCE && item.kind != INKI_GBNF_CHOICE)
        return build_plain(r, &item, next);
    uint32_t entry = item.kind == INKI_GBNF_SEQUENCE ? next : 0;
    for (uint32_t i = item.child; i != 0; i = ((inki_gbnf_item *)r->items.data)[i].prev)
        if (item.kind == INKI_GBNF_SEQUENCE)
            entry = build_item(r, i, entry);
        else
            entry = build_either(r, entry, build_item(r, i, next));
    return entry;
}

void inki_gbnf_build(inki_gbnf *r) {
    const size_t n_named = r->rules.n;
    for (size_t i = 0; i < n_named && r->status == INK_OK; i++) {
        const inki_gbnf_rule *rule = (inki_gbnf_rule *)r->rules.data + i;
        if (rule->name.bytes == 0) continue;
        r->owner = (uint32_t)i;
        const uint32_t first = (uint32_t)r->g->nodes.n;
        const uint32_t entry = build_item(r, rule->item, INKI_AT_RET);
        inki_gbnf_rule *made = (inki_gbnf_rule *)r->rules.data + i;
        made->entry = entry;
        made->first = first;
        made->after = (uint32_t)r->g->nodes.n;
    }
}
