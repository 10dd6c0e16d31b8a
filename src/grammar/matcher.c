// SPDX-License-Identifier: MIT
#include "grammar/matcher.h"

#include "grammar/matcher_parts.h"

#include <string.h>

enum { BOUND = 4 << 20, MOST = 64 << 20, MASKS_BYTES = 4 << 20 };

ink_status inki_matcher_over(ink_error *error) {
    return inki_fail(error, INK_E_LIMIT, NULL, 0,
                     "the text stands at too many places of the grammar, or too deep in it");
}

ink_status inki_matcher_lack(inki_matcher *m, ink_error *error) {
    if (m->work.spent < m->work.most) return inki_fail_nomem(error, m->bound);
    m->lost = true;
    m->begun = UINT32_MAX;
    return inki_fail(error, INK_E_LIMIT, NULL, 0,
                     "too many readings of the grammar at once: it takes too long");
}

static uint32_t ends_of(const inki_matcher *m, uint32_t state) {
    const inki_list *list = (const inki_list *)m->lists.data + state;
    const uint64_t first = ((const uint64_t *)m->pairs.data)[list->at];
    return first >> 32 != INKI_AT_END ? 0 : list->n > 1 ? 1 : 3;
}

// Goes over text [from, to). What it cannot: *at is then before to.
static ink_status go_along(inki_matcher *m, size_t from, size_t to, size_t *at, uint32_t *state,
                           size_t bound, ink_error *error) {
    for (*at = from; *at < to; ++*at) {
        const uint8_t b = ((const uint8_t *)m->text.data)[*at];
        const uint32_t next = inki_matcher_next(m, *state, m->grammar->class_of[b]);
        if (next == INKI_LIST_UNKNOWN) return inki_matcher_lack(m, error);
        if (next == INKI_LIST_DEAD) return INK_OK;
        if (next == INKI_LIST_OVER) return inki_matcher_over(error);
        *state = next;
        if (inki_matcher_states_bytes(m) > bound) {
            ++*at;
            return INK_OK;
        }
    }
    return INK_OK;
}

ink_status inki_matcher_again(inki_matcher *m, size_t n, uint32_t *state, ink_error *error) {
    ink_status status = inki_matcher_states_reset(m, error);
    inki_push *pushes = m->pushes.data;
    size_t from = 0;
    *state = m->start.state;
    m->start.ends = status == INK_OK ? ends_of(m, m->start.state) : 0;
    for (size_t i = 0; status == INK_OK && i <= m->pushes.n; i++) {
        size_t at;
        const size_t end = i < m->pushes.n ? pushes[i].end : n;
        status = go_along(m, from, end, &at, state, MOST, error);
        if (status == INK_OK && at < end) status = inki_matcher_over(error);
        if (i < m->pushes.n) pushes[i].state = *state;
        from = end;
    }
    const size_t used = inki_matcher_states_bytes(m);
    if (2 * used > m->bound) m->bound = 2 * used;
    m->lost = status != INK_OK;
    return status;
}

void inki_matcher_free(inki_matcher *m) {
    if (m == NULL) return;
    const inki_mem mem = m->mem;
    inki_matcher_states_free(m);
    inki_grammar_vec_free(&m->text, &mem, 1);
    inki_grammar_vec_free(&m->pushes, &mem, sizeof(inki_push));
    for (uint32_t i = 0; i < m->n_masks; i++)
        inki_release(&mem, m->masks[i].words, ((size_t)m->trie->n_vocab + 63) / 64, 8);
    inki_release(&mem, m->masks, m->n_masks, sizeof *m->masks);
    if (m->trie != NULL)
        inki_release(&mem, m->walked, (size_t)m->trie->longest + 1, sizeof *m->walked);
    inki_release(&mem, m, 1, sizeof *m);
}

static bool reserve_masks(inki_matcher *m) {
    const size_t n = MASKS_BYTES / (m->trie->n_vocab / 8 + 1), n_masks = n < 2     ? 2
                                                                         : n > 512 ? 512
                                                                                   : n;
    m->walked = inki_alloc(&m->mem, (size_t)m->trie->longest + 1, sizeof *m->walked);
    m->masks = inki_alloc_zero(&m->mem, n_masks, sizeof *m->masks);
    if (m->masks != NULL) m->n_masks = (uint32_t)n_masks;
    for (unsigned b = 0; b < 256; b++)
        m->class_groups[m->grammar->class_of[b]] |= (uint64_t)1 << m->trie->group_of[b];
    return m->walked != NULL && m->masks != NULL;
}

ink_status inki_matcher_new(inki_matcher **out, const inki_grammar *grammar,
                            const inki_token_trie *trie, const inki_mem *mem, ink_error *error) {
    inki_matcher *m = inki_alloc_zero(mem, 1, sizeof *m);
    if (m == NULL) return inki_fail_nomem(error, sizeof *m);
    m->mem = *mem;
    m->grammar = grammar;
    m->trie = trie;
    m->bound = BOUND;
    inki_matcher_begin(m, UINT32_MAX, 0);
    uint32_t state;
    const ink_status status = trie != NULL && !reserve_masks(m)
                                  ? inki_fail_nomem(error, sizeof *m)
                                  : inki_matcher_again(m, 0, &state, error);
    if (status != INK_OK) {
        inki_matcher_free(m);
        return status;
    }
    *out = m;
    return INK_OK;
}

const inki_grammar *inki_matcher_grammar(const inki_matcher *m) { return m->grammar; }

uint32_t inki_matcher_n_pushes(const inki_matcher *m) { return (uint32_t)m->pushes.n; }

void inki_matcher_pop(inki_matcher *m, uint32_t n) {
    m->pushes.n -= n < m->pushes.n ? n : m->pushes.n;
    m->text.n = inki_matcher_last(m)->end;
}

void inki_matcher_reset(inki_matcher *m) { inki_matcher_pop(m, UINT32_MAX); }

static uint32_t ends_now(const inki_matcher *m) {
    return m->pushes.n > 0 ? ((const inki_push *)m->pushes.data)[m->pushes.n - 1].ends
                           : m->start.ends;
}

bool inki_matcher_may_end(const inki_matcher *m) { return ends_now(m) != 0; }
bool inki_matcher_must_end(const inki_matcher *m) { return ends_now(m) == 3; }

ink_status inki_matcher_push(inki_matcher *m, const char *bytes, size_t n, size_t *n_accepted,
                             ink_error *error) {
    const size_t from = m->text.n, end = from + n;
    uint32_t state;
    if (n > INKI_MATCHER_MAX_TEXT - from || m->pushes.n > INKI_MATCHER_MAX_TEXT)
        return inki_fail(error, INK_E_LIMIT, NULL, 0, "a text of over 16 MiB");
    char *to = inki_grammar_vec_add(&m->text, &m->mem, n + 1, 1); // + 1: for none there is one too
    inki_push *push =
        to != NULL ? inki_grammar_vec_add(&m->pushes, &m->mem, 1, sizeof *push) : NULL;
    if (push == NULL) {
        m->text.n = from;
        return inki_fail_nomem(error, n);
    }
    m->pushes.n--; // it does not count yet
    if (n > 0) memcpy(to, bytes, n);
    ink_status status = INK_OK;
    inki_matcher_begin(m, (uint32_t)m->pushes.n, end);
    if (inki_matcher_is_full(m)) status = inki_matcher_again(m, from, &state, error);
    state = inki_matcher_last(m)->state;
    size_t at = from;
    while (status == INK_OK) {
        const size_t begun = at;
        status = go_along(m, begun, end, &at, &state, m->bound, error);
        if (status != INK_OK || at == end || inki_matcher_states_bytes(m) <= m->bound) break;
        status = inki_matcher_again(m, at, &state, error);
    }
    if (status == INK_OK) *n_accepted = at - from;
    if (status == INK_OK && at == end) {
        m->pushes.n++;
        *push = (inki_push){(uint32_t)end, state, ends_of(m, state)};
    }
    m->text.n = inki_matcher_last(m)->end;
    return status;
}
