// SPDX-License-Identifier: MIT
#include "base/mix.h"
#include "grammar/matcher_parts.h"

#include <string.h>

// What a step and the sorting of a pair cost, where looking at one is 1.
enum { STEP = 32, MET = 2, SORTED = 6 };

static bool is_spent(const inki_matcher *m) { return m->work.spent >= m->work.most; }

static inki_list *list_at(const inki_matcher *m, uint32_t list) {
    return (inki_list *)m->lists.data + list;
}

static const uint64_t *list_pairs(const inki_matcher *m, uint32_t list) {
    return (const uint64_t *)m->pairs.data + list_at(m, list)->at;
}

static uint64_t list_pair(uint32_t node, uint32_t frame) { return (uint64_t)node << 32 | frame; }

static bool list_slots_grow(inki_matcher *m) {
    const uint32_t n_slots = m->n_slots > 0 ? 2 * m->n_slots : 256;
    uint32_t *slots = inki_alloc_zero(&m->mem, n_slots, sizeof *slots);
    if (slots == NULL) return false;
    for (uint32_t i = INKI_LIST_OVER + 1; i < m->lists.n; i++) {
        uint32_t at = list_at(m, i)->hash & (n_slots - 1);
        while (slots[at] != 0) at = (at + 1) & (n_slots - 1);
        slots[at] = i;
    }
    inki_release(&m->mem, m->slots, m->n_slots, sizeof *slots);
    m->slots = slots;
    m->n_slots = n_slots;
    return true;
}

// The number of the list with these pairs, in any order; they are sorted here. UNKNOWN without
// memory, OVER when it is too deep.
static uint32_t list_of(inki_matcher *m, uint64_t *pairs, uint32_t n) {
    uint64_t hash = 0;
    uint16_t depth = 0;
    m->work.spent += (uint64_t)SORTED * n;
    n = inki_grammar_sort(pairs, n);
    for (uint32_t i = 0; i < n; i++) {
        const uint16_t under = list_at(m, (uint32_t)pairs[i])->depth;
        hash = inki_mix64(hash ^ pairs[i]) + INKI_GOLDEN64;
        if (depth <= under) depth = (uint16_t)(under + 1);
    }
    if (2 * m->lists.n >= m->n_slots && !list_slots_grow(m)) return INKI_LIST_UNKNOWN;
    uint32_t at = (uint32_t)hash & (m->n_slots - 1);
    for (; m->slots[at] != 0; at = (at + 1) & (m->n_slots - 1)) {
        const inki_list *known = list_at(m, m->slots[at]);
        if (known->hash == (uint32_t)hash && known->n == n &&
            memcmp(list_pairs(m, m->slots[at]), pairs, n * sizeof *pairs) == 0)
            return m->slots[at];
    }
    if (depth > INKI_MATCHER_MAX_DEPTH) return INKI_LIST_OVER;
    const uint32_t made = (uint32_t)m->lists.n, pairs_at = (uint32_t)m->pairs.n;
    uint64_t *to = inki_grammar_vec_add(&m->pairs, &m->mem, n, sizeof *to);
    inki_list *list = to != NULL ? inki_grammar_vec_add(&m->lists, &m->mem, 1, sizeof *list) : NULL;
    if (list == NULL) return INKI_LIST_UNKNOWN;
    memcpy(to, pairs, n * sizeof *to);
    *list = (inki_list){.at = pairs_at, .n = n, .hash = (uint32_t)hash, .depth = depth};
    m->slots[at] = made;
    return made;
}

// --- a step --------------------------------------------------------------------------------------

static void step_meet(inki_step_work *w, uint32_t node, uint32_t frame) {
    w->spent += MET;
    const uint64_t pair = list_pair(node, frame);
    const uint32_t last = 2 * w->cap - 1;
    uint32_t at = (uint32_t)(inki_mix64(pair) & last);
    for (; w->slots[at] != 0; at = (at + 1) & last)
        if (w->met[w->slots[at] - 1] == pair) return;
    if (w->n_met == w->cap) {
        w->over = true;
        return;
    }
    w->met[w->n_met++] = pair;
    w->slots[at] = w->n_met;
}

static void step_call(inki_step_work *w, uint32_t rule, uint64_t pair) {
    w->spent += MET;
    if (w->n_calls == w->cap) {
        w->over = true;
        return;
    }
    w->calls[w->n_calls++] = (inki_call){pair, w->callers[rule]};
    w->callers[rule] = w->n_calls;
    w->pending[rule / 64] |= (uint64_t)1 << rule % 64;
}

// A call at the end of its rule goes on where that rule's callers do: frames do not pile up while a
// rule repeats itself by its own end.
static void step_call_all(inki_matcher *m, uint32_t rule, uint32_t next, uint32_t frame) {
    if (next != INKI_AT_RET) {
        step_call(&m->work, rule, list_pair(next, frame));
        return;
    }
    for (uint32_t i = 0; i < list_at(m, frame)->n; i++)
        step_call(&m->work, rule, list_pairs(m, frame)[i]);
}

// Goes on from all that was met, from `from` on, as far as that takes no byte. returns: to the
// callers of rules that end; those that were called in this step need not, as who calls a rule that
// may be empty also goes on behind it at once.
static void step_follow(inki_matcher *m, uint32_t from, bool returns) {
    const inki_node *nodes = m->grammar->nodes.data;
    const inki_rule *rules = m->grammar->rules.data;
    inki_step_work *w = &m->work;
    for (uint32_t i = from; i < w->n_met && !w->over && !is_spent(m); i++) {
        const uint32_t at = (uint32_t)(w->met[i] >> 32), frame = (uint32_t)w->met[i];
        const inki_node node = nodes[at];
        const uint32_t arg = inki_node_arg(node);
        switch (inki_node_kind_of(node)) {
        case INKI_NODE_SPLIT:
            step_meet(w, node.next, frame);
            step_meet(w, arg, frame);
            break;
        case INKI_NODE_CALL:
            step_call_all(m, arg, node.next, frame);
            if (rules[arg].nullable) step_meet(w, node.next, frame);
            break;
        case INKI_NODE_RET:
            for (uint32_t k = 0; returns && k < list_at(m, frame)->n; k++) {
                const uint64_t pair = list_pairs(m, frame)[k];
                step_meet(w, (uint32_t)(pair >> 32), (uint32_t)pair);
            }
            break;
        default: w->places[w->n_places++] = w->met[i];
        }
    }
}

// The frame of all calls of a rule.
static uint32_t step_frame(inki_matcher *m, uint32_t rule) {
    inki_step_work *w = &m->work;
    uint64_t *pairs = w->met + w->n_met; // there is room behind what is met: see step_reserve
    uint32_t n = 0;
    for (uint32_t i = w->callers[rule]; i != 0; i = w->calls[i - 1].same_rule)
        pairs[n++] = w->calls[i - 1].pair;
    w->callers[rule] = 0;
    return list_of(m, pairs, n);
}

// All places that can be reached from what was met without a byte, as a list.
static uint32_t step_close(inki_matcher *m) {
    const inki_rule *rules = m->grammar->rules.data;
    const size_t n_words = (m->grammar->rules.n + 63) / 64;
    inki_step_work *w = &m->work;
    step_follow(m, 0, true);
    // A rule comes before those that it begins with: its callers are then all known.
    for (size_t i = 0; i < n_words; i++)
        for (uint32_t bit = 0; w->pending[i] != 0;) {
            if (w->over) return INKI_LIST_OVER;
            while ((w->pending[i] >> bit & 1) == 0) bit++;
            const uint32_t rule = (uint32_t)i * 64 + bit;
            const uint32_t frame = step_frame(m, rule), from = w->n_met;
            w->pending[i] &= w->pending[i] - 1;
            if (frame == INKI_LIST_UNKNOWN || frame == INKI_LIST_OVER) return frame;
            step_meet(w, rules[rule].entry, frame);
            step_follow(m, from, false);
        }
    return w->over ? INKI_LIST_OVER : list_of(m, w->places, w->n_places);
}

// Working memory for `cap` of everything, in one block of 64-bit words that begins at `met`.
static bool step_reserve(inki_matcher *m, uint32_t cap) {
    inki_step_work *w = &m->work;
    const size_t n_rules = m->grammar->rules.n, n_words = (n_rules + 63) / 64, n = cap;
    const size_t n_block = 6 * n + n_words + n_rules / 2 + 1;
    uint64_t *block = inki_alloc(&m->mem, n_block, sizeof *block);
    if (block == NULL) return false;
    inki_release(&m->mem, w->met, w->n_block, sizeof *block);
    *w = (inki_step_work){.met = block,
                          .places = block + 2 * n,
                          .calls = (inki_call *)(block + 3 * n),
                          .slots = (uint32_t *)(block + 5 * n),
                          .pending = block + 6 * n,
                          .callers = (uint32_t *)(block + 6 * n + n_words),
                          .n_block = n_block,
                          .cap = cap,
                          .spent = w->spent,
                          .most = w->most,
                          .left = true};
    return true;
}

static void step_begin(inki_step_work *w, size_t n_rules) {
    memset(w->slots, 0, 2 * w->cap * sizeof *w->slots);
    if (w->left) {
        memset(w->pending, 0, (n_rules + 63) / 64 * sizeof *w->pending);
        memset(w->callers, 0, n_rules * sizeof *w->callers);
    }
    w->n_met = w->n_places = w->n_calls = 0;
    w->over = false;
    w->left = true;
}

// Where the places of a state that take a class lead; of UNKNOWN, where the empty text stands.
// *same: the classes that lead there too, as the same places take them. OVER with work.over set: it
// is more than the working memory.
static uint32_t step_once(inki_matcher *m, uint32_t state, uint32_t class, inki_byte_set *same) {
    const inki_node *nodes = m->grammar->nodes.data;
    const inki_byte_set *sets = m->grammar->sets.data;
    memset(same, 0xff, sizeof *same);
    step_begin(&m->work, m->grammar->rules.n);
    m->work.spent += STEP + m->work.cap / 64 + m->grammar->rules.n / 256 + list_at(m, state)->n;
    if (state == INKI_LIST_UNKNOWN) step_meet(&m->work, INKI_AT_START, INKI_LIST_DEAD);
    for (uint32_t i = 0; i < list_at(m, state)->n; i++) {
        const uint64_t pair = list_pairs(m, state)[i];
        const inki_node node = nodes[pair >> 32];
        if (pair >> 32 == INKI_AT_END) continue;
        const inki_byte_set *set = &sets[inki_node_arg(node)];
        const uint64_t flip = inki_set_has(set, class) ? 0 : ~(uint64_t)0;
        for (int k = 0; k < 4; k++) same->words[k] &= set->words[k] ^ flip;
        if (flip == 0) step_meet(&m->work, node.next, (uint32_t)pair);
    }
    const uint32_t to = m->work.n_met > 0 ? step_close(m) : INKI_LIST_DEAD;
    m->work.left = to == INKI_LIST_OVER || to == INKI_LIST_UNKNOWN || is_spent(m);
    return is_spent(m) ? INKI_LIST_UNKNOWN : to;
}

static uint32_t step_over(inki_matcher *m, uint32_t state, uint32_t class, inki_byte_set *same) {
    uint32_t to;
    while ((to = step_once(m, state, class, same)) == INKI_LIST_OVER && m->work.over &&
           m->work.cap < INKI_MATCHER_MAX_PAIRS)
        if (!step_reserve(m, 4 * m->work.cap)) return INKI_LIST_UNKNOWN;
    return to;
}

uint32_t inki_matcher_states_step(inki_matcher *m, uint32_t state, uint32_t class) {
    const uint32_t n_classes = m->grammar->n_classes;
    if (list_at(m, state)->row == 0) {
        const uint32_t at = (uint32_t)m->rows.n;
        uint32_t *row = inki_grammar_vec_add(&m->rows, &m->mem, n_classes, sizeof *row);
        if (row == NULL) return INKI_LIST_UNKNOWN;
        memset(row, 0, n_classes * sizeof *row);
        list_at(m, state)->row = at;
    }
    inki_byte_set same;
    const uint32_t to = step_over(m, state, class, &same);
    uint32_t *row = (uint32_t *)m->rows.data + list_at(m, state)->row;
    for (uint32_t c = 0; c < n_classes; c++)
        if (inki_set_has(&same, c)) row[c] = to;
    return to;
}

// --- long runs -----------------------------------------------------------------------------------

// What bytes of a state's largest set lead the same way, as far as they are whole groups: any of
// their classes, or UINT32_MAX.
static uint32_t same_of(inki_matcher *m, uint32_t state, uint64_t *mixed) {
    const inki_node *nodes = m->grammar->nodes.data;
    const inki_byte_set *sets = m->grammar->sets.data;
    const uint32_t n_classes = m->grammar->n_classes;
    inki_byte_set once = {{0}}, twice = {{0}};
    const inki_byte_set *largest = &once;
    uint32_t most = 0, some = UINT32_MAX;
    m->work.spent += STEP + 2 * list_at(m, state)->n;
    for (uint32_t i = 0; i < list_at(m, state)->n; i++) {
        const uint64_t pair = list_pairs(m, state)[i];
        if (pair >> 32 == INKI_AT_END) continue;
        const inki_byte_set *set = &sets[inki_node_arg(nodes[pair >> 32])];
        uint32_t size = 0;
        for (uint32_t c = 0; c < n_classes; c++) size += inki_set_has(set, c);
        if (size > most) {
            most = size;
            largest = set;
        }
        for (int k = 0; k < 4; k++) {
            twice.words[k] |= once.words[k] & set->words[k];
            once.words[k] |= set->words[k];
        }
    }
    *mixed = 0;
    for (uint32_t c = 0; c < n_classes; c++)
        if (inki_set_has(largest, c) && !inki_set_has(&twice, c))
            some = c;
        else
            *mixed |= m->class_groups[c];
    return some;
}

// Along the bytes that lead the same way, until what is known, what comes back to itself, or what
// is farther than any token goes.
bool inki_matcher_states_same(inki_matcher *m, uint32_t state) {
    enum { AHEAD = 32 };
    uint32_t chain[INKI_TRIE_DEEPEST], n = 0, next = state;
    const uint32_t longest = m->trie->longest,
                   far = longest < INKI_TRIE_DEEPEST - AHEAD ? longest : INKI_TRIE_DEEPEST - AHEAD,
                   most = far + AHEAD;
    while (n < most && !list_at(m, next)->n_same_set) {
        uint64_t mixed;
        const uint32_t class = same_of(m, next, &mixed);
        const bool whole = (~mixed & INKI_TRIE_ALL_GROUPS) != 0;
        const uint32_t to = whole ? inki_matcher_next(m, next, class) : INKI_LIST_DEAD;
        if (to == INKI_LIST_UNKNOWN) return false;
        inki_list *list = list_at(m, next);
        list->mixed = whole ? mixed : INKI_TRIE_ALL_GROUPS;
        list->n_same = to == next ? INKI_TRIE_DEEPEST : to > INKI_LIST_OVER;
        list->n_same_set = to == next || to <= INKI_LIST_OVER;
        if (list->n_same_set) break;
        chain[n++] = next;
        next = to;
    }
    // What is known of the last one goes backwards. Where the chain was cut that is too little, but
    // not for those from which no token gets there.
    const bool cut = n == most;
    for (uint32_t i = n; i-- > 0; next = chain[i]) {
        inki_list *list = list_at(m, chain[i]);
        const inki_list *then = list_at(m, next);
        if (then->n_same > 0 && (then->mixed & ~list->mixed) == 0)
            list->n_same = (uint8_t)(then->n_same + (then->n_same < INKI_TRIE_DEEPEST - 1));
        list->n_same_set = !cut || n - i >= far;
    }
    return true;
}

// --- all of them ---------------------------------------------------------------------------------

void inki_matcher_states_free(inki_matcher *m) {
    inki_grammar_vec_free(&m->lists, &m->mem, sizeof(inki_list));
    inki_grammar_vec_free(&m->pairs, &m->mem, sizeof(uint64_t));
    inki_grammar_vec_free(&m->rows, &m->mem, sizeof(uint32_t));
    inki_release(&m->mem, m->slots, m->n_slots, sizeof *m->slots);
    inki_release(&m->mem, m->work.met, m->work.n_block, sizeof *m->work.met);
    m->slots = NULL;
    m->n_slots = 0;
    m->work = (inki_step_work){0};
}

size_t inki_matcher_states_bytes(const inki_matcher *m) {
    return m->lists.n * (sizeof(inki_list) + 2 * sizeof *m->slots) + m->pairs.n * 8 + m->rows.n * 4;
}

ink_status inki_matcher_states_reset(inki_matcher *m, ink_error *error) {
    inki_byte_set same;
    m->lost = true;
    m->lists.n = m->pairs.n = m->rows.n = 0;
    for (uint32_t i = 0; i < m->n_masks; i++) m->masks[i].state = INKI_LIST_UNKNOWN;
    if (m->n_slots > 0) memset(m->slots, 0, m->n_slots * sizeof *m->slots);
    inki_list *lists = inki_grammar_vec_add(&m->lists, &m->mem, 3, sizeof *lists);
    if (lists == NULL || inki_grammar_vec_add(&m->rows, &m->mem, 1, sizeof(uint32_t)) == NULL ||
        inki_grammar_vec_add(&m->pairs, &m->mem, 1, sizeof(uint64_t)) == NULL ||
        (m->n_slots == 0 && !list_slots_grow(m)) || (m->work.cap == 0 && !step_reserve(m, 256)))
        return inki_fail_nomem(error, sizeof *lists);
    memset(lists, 0, 3 * sizeof *lists);
    m->start.state = step_over(m, INKI_LIST_UNKNOWN, 0, &same);
    if (m->start.state == INKI_LIST_UNKNOWN) return inki_matcher_lack(m, error);
    if (m->start.state == INKI_LIST_OVER) return inki_matcher_over(error);
    return INK_OK;
}
