// SPDX-License-Identifier: MIT
#include "grammar/matcher_parts.h"

#include <string.h>

static void tokens_set(const inki_token_trie *trie, uint64_t *words, uint32_t from, uint32_t to) {
    for (uint32_t i = from; i < to; i++)
        words[trie->ids[i] / 64] |= (uint64_t)1 << trie->ids[i] % 64;
}

// Where states were made anew, the path to here must be gone again.
static ink_status tokens_path(inki_matcher *m, uint32_t depth, ink_error *error) {
    inki_walked *walked = m->walked;
    const ink_status status =
        inki_matcher_again(m, inki_matcher_last(m)->end, &walked[0].state, error);
    for (uint32_t d = 0; status == INK_OK && d < depth; d++) {
        const uint8_t b = (uint8_t)(m->trie->nodes[walked[d + 1].node].below >> 48);
        walked[d + 1].state = inki_matcher_next(m, walked[d].state, m->grammar->class_of[b]);
        if (walked[d + 1].state <= INKI_LIST_OVER) return inki_matcher_lack(m, error);
    }
    return status;
}

// Looks for long runs only where there is enough below that they can save.
static bool tokens_enter(inki_matcher *m, inki_walked *to, uint32_t state, uint32_t node,
                         uint32_t after) {
    enum { MANY = 32 };
    *to = (inki_walked){INKI_TRIE_ALL_GROUPS, state, after, node, 0};
    const inki_list *list = (const inki_list *)m->lists.data + state;
    if (!list->n_same_set && after - node > MANY) {
        if (!inki_matcher_states_same(m, state)) return false;
        list = (const inki_list *)m->lists.data + state;
    }
    if (list->n_same > 0) {
        to->mixed = list->mixed;
        to->n_same = list->n_same;
    }
    return true;
}

// Each node once, but for those below one that cannot stand there, or where a run of any bytes
// that are below can.
static ink_status tokens_walk(inki_matcher *m, uint64_t *words, bool *over, ink_error *error) {
    const inki_token_trie *trie = m->trie;
    const uint8_t *class_of = m->grammar->class_of;
    inki_walked *at = m->walked;
    if (!tokens_enter(m, at, inki_matcher_last(m)->state, 0, trie->n_nodes))
        return inki_matcher_lack(m, error);
    for (uint32_t i = 0; i < trie->n_nodes;) {
        while (i == at->after) at--;
        const inki_trie_node *node = &trie->nodes[i];
        if ((node->below & at->mixed) == 0 && node->below >> 56 <= at->n_same) {
            tokens_set(trie, words, node->first, trie->nodes[node->after].first);
            i = node->after;
            continue;
        }
        const uint32_t to = inki_matcher_next(m, at->state, class_of[node->below >> 48 & 0xff]);
        if (to <= INKI_LIST_OVER) {
            if (to == INKI_LIST_UNKNOWN) return inki_matcher_lack(m, error);
            *over |= to == INKI_LIST_OVER;
            i = node->after;
            continue;
        }
        tokens_set(trie, words, node->first, node[1].first);
        if (node->after > i + 1) {
            if (!tokens_enter(m, ++at, to, i, node->after)) return inki_matcher_lack(m, error);
            if (inki_matcher_is_full(m)) {
                const ink_status status = tokens_path(m, (uint32_t)(at - m->walked), error);
                if (status != INK_OK) return status;
            }
        }
        i++;
    }
    return INK_OK;
}

ink_status inki_matcher_allowed(inki_matcher *m, const uint64_t **set, ink_error *error) {
    const size_t n_words = ((size_t)m->trie->n_vocab + 63) / 64;
    uint32_t state;
    ink_status status = INK_OK;
    inki_matcher_begin(m, UINT32_MAX, m->text.n);
    if (inki_matcher_is_full(m))
        status = inki_matcher_again(m, inki_matcher_last(m)->end, &state, error);
    if (status != INK_OK) return status;
    state = inki_matcher_last(m)->state;
    const uint32_t known = ((const inki_list *)m->lists.data)[state].mask;
    if (m->masks[known].state == state) {
        *set = m->masks[known].words;
        return INK_OK;
    }
    const uint32_t at = m->mask_at;
    inki_mask *mask = &m->masks[at];
    if (mask->words == NULL) mask->words = inki_alloc(&m->mem, n_words, sizeof *mask->words);
    if (mask->words == NULL) return inki_fail_nomem(error, n_words * sizeof *mask->words);
    mask->state = INKI_LIST_UNKNOWN;
    memset(mask->words, 0, n_words * sizeof *mask->words);
    bool over = false;
    status = tokens_walk(m, mask->words, &over, error);
    if (status != INK_OK) return status;
    uint64_t any = 0;
    for (size_t i = 0; over && i < n_words; i++) any |= mask->words[i];
    if (over && any == 0) return inki_matcher_over(error);
    mask->state = inki_matcher_last(m)->state;
    ((inki_list *)m->lists.data)[mask->state].mask = at;
    m->mask_at = (at + 1) % m->n_masks;
    *set = mask->words;
    return INK_OK;
}
