// SPDX-License-Identifier: MIT
#include "grammar/grammar_parts.h"

#include <string.h>

enum { CHECK_WHITE, CHECK_OPEN, CHECK_DONE };

typedef struct gbnf_check {
    inki_gbnf *r;
    inki_node *nodes;
    inki_gbnf_rule *rules;
    uint32_t n_nodes, n_rules;
    uint32_t *before_at; // [n_nodes + 2] where a node's list in `before` begins
    uint32_t *before;    // [2 n_nodes] from which nodes one gets there, or through which call
    uint32_t *stack;     // [n_nodes + n_rules]
    uint8_t *ends;       // [n_nodes] the end of the rule can be reached
    uint8_t *nullable;   // [n_nodes] without a byte
    uint8_t *rule_state; // [n_rules]
    uint8_t *seen;       // [n_nodes]
} gbnf_check;

static uint32_t check_other(const gbnf_check *c, inki_node node) {
    switch (inki_node_kind_of(node)) {
    case INKI_NODE_SPLIT: return inki_node_arg(node);
    case INKI_NODE_CALL: return c->rules[inki_node_arg(node)].entry;
    default: return UINT32_MAX;
    }
}

static void check_edges(gbnf_check *c) {
    for (int fill = 0; fill < 2; fill++) {
        for (uint32_t i = INKI_AT_START; i < c->n_nodes; i++) {
            const uint32_t to[2] = {c->nodes[i].next, check_other(c, c->nodes[i])};
            for (int k = 0; k < 2; k++)
                if (to[k] == UINT32_MAX)
                    continue;
                else if (fill)
                    c->before[c->before_at[to[k] + 1]++] = i;
                else
                    c->before_at[to[k] + 2]++;
        }
        for (uint32_t i = 0; !fill && i < c->n_nodes; i++)
            c->before_at[i + 2] += c->before_at[i + 1];
    }
}

// Backwards from the ends, each node once: a call needs its rule's way and the one behind it.
static void check_spread(gbnf_check *c, uint8_t *good, bool through_sets) {
    uint32_t n = 0;
    c->stack[n++] = INKI_AT_END;
    c->stack[n++] = INKI_AT_RET;
    good[INKI_AT_END] = good[INKI_AT_RET] = 1;
    while (n > 0) {
        const uint32_t at = c->stack[--n];
        for (uint32_t i = c->before_at[at]; i < c->before_at[at + 1]; i++) {
            const uint32_t p = c->before[i];
            const inki_node node = c->nodes[p];
            const inki_node_kind kind = inki_node_kind_of(node);
            if (good[p] || (kind == INKI_NODE_SET && !through_sets) ||
                (kind == INKI_NODE_CALL && !(good[node.next] && good[check_other(c, node)])))
                continue;
            good[p] = 1;
            c->stack[n++] = p;
        }
    }
}

static void check_blame(gbnf_check *c, uint32_t rule, const char *text) {
    const inki_gbnf_rule *named = &c->rules[c->rules[rule].owner];
    inki_gbnf_fail_rule(c->r, named->at, named->name, text);
}

// A rule that cannot end calls another such; going along leads to one that waits for itself.
static void check_ending(gbnf_check *c) {
    uint32_t rule = 0;
    while (rule < c->n_rules && c->ends[c->rules[rule].entry]) rule++;
    if (rule == c->n_rules) return;
    memset(c->rule_state, CHECK_WHITE, c->n_rules);
    while (c->rule_state[rule] == CHECK_WHITE) {
        c->rule_state[rule] = CHECK_DONE;
        for (uint32_t i = c->rules[rule].first; i < c->rules[rule].after; i++) {
            const uint32_t callee = inki_node_arg(c->nodes[i]);
            if (inki_node_kind_of(c->nodes[i]) != INKI_NODE_CALL || c->ends[c->rules[callee].entry])
                continue;
            rule = callee;
            break;
        }
    }
    check_blame(c, rule, "can never end");
}

static void check_push(gbnf_check *c, uint32_t *n, uint32_t node) {
    if (node <= INKI_AT_RET || c->seen[node]) return;
    c->seen[node] = 1;
    c->stack[(*n)++] = node;
}

static void check_enter(gbnf_check *c, uint32_t *n, uint32_t rule) {
    c->rule_state[rule] = CHECK_OPEN;
    c->stack[(*n)++] = c->n_nodes + rule;
    check_push(c, n, c->rules[rule].entry);
}

// Which rules begin with which, depth first: each node is met once, as it belongs to one rule. On
// the stack, a number from n_nodes on says that all that a rule begins with is done.
static void check_begin(gbnf_check *c, uint32_t rule, uint32_t *order) {
    uint32_t n = 0;
    check_enter(c, &n, rule);
    while (n > 0) {
        const uint32_t at = c->stack[--n];
        if (at >= c->n_nodes) {
            c->rule_state[at - c->n_nodes] = CHECK_DONE;
            c->rules[at - c->n_nodes].order = --*order;
            continue;
        }
        const inki_node node = c->nodes[at];
        const uint32_t arg = inki_node_arg(node);
        const inki_node_kind kind = inki_node_kind_of(node);
        if (kind == INKI_NODE_SET) continue;
        if (kind == INKI_NODE_SPLIT) check_push(c, &n, arg);
        if (kind == INKI_NODE_SPLIT || c->nullable[c->rules[arg].entry])
            check_push(c, &n, node.next);
        if (kind == INKI_NODE_SPLIT) continue;
        if (c->rule_state[arg] == CHECK_WHITE)
            check_enter(c, &n, arg);
        else if (c->rule_state[arg] == CHECK_OPEN) {
            check_blame(c, arg, "is left-recursive");
            return;
        }
    }
}

static void check_order(gbnf_check *c) {
    inki_gbnf *r = c->r;
    uint32_t order = c->n_rules;
    for (uint32_t i = 0; i < c->n_rules && r->status == INK_OK; i++)
        if (c->rule_state[i] == CHECK_WHITE) check_begin(c, i, &order);
    inki_rule *rules = inki_gbnf_add(r, &r->g->rules, c->n_rules, sizeof *rules);
    if (rules == NULL) return;
    for (uint32_t i = 0; i < c->n_rules; i++)
        rules[c->rules[i].order] = (inki_rule){c->rules[i].entry, c->nullable[c->rules[i].entry]};
    for (uint32_t i = 0; i < c->n_nodes; i++)
        if (inki_node_kind_of(c->nodes[i]) == INKI_NODE_CALL)
            c->nodes[i].op = c->rules[inki_node_arg(c->nodes[i])].order << 3 | INKI_NODE_CALL;
}

void inki_gbnf_check(inki_gbnf *r) {
    if (r->status != INK_OK) return;
    gbnf_check c = {.r = r,
                    .nodes = r->g->nodes.data,
                    .rules = r->rules.data,
                    .n_nodes = (uint32_t)r->g->nodes.n,
                    .n_rules = (uint32_t)r->rules.n};
    const size_t n = c.n_nodes, numbers = 4 * n + 2 + c.n_rules, flags = 3 * n + c.n_rules;
    inki_vec room = {0};
    uint32_t *block = inki_gbnf_add(r, &room, 4 * numbers + flags, 1);
    if (block == NULL) return;
    memset(block, 0, 4 * numbers + flags);
    c.before_at = block;
    c.before = c.before_at + n + 2;
    c.stack = c.before + 2 * n;
    c.ends = (uint8_t *)(block + numbers);
    c.nullable = c.ends + n;
    c.seen = c.nullable + n;
    c.rule_state = c.seen + n;
    check_edges(&c);
    check_spread(&c, c.ends, true);
    check_spread(&c, c.nullable, false);
    check_ending(&c);
    if (r->status == INK_OK) {
        memset(c.rule_state, CHECK_WHITE, c.n_rules);
        check_order(&c);
    }
    inki_grammar_vec_free(&room, &r->g->mem, 1);
}
