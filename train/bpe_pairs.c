// SPDX-License-Identifier: MIT
// Which pairs there are, how often they count and where they stand.
#include "train/bpe_parts.h"

#include "base/prefetch.h"

#include <string.h>

enum { AHEAD = 12 }; // places whose line is asked for

static bool goes_before(const inki_bpe_pairs *pairs, inki_bpe_entry a, inki_bpe_entry b) {
    if (a.count != b.count) return a.count > b.count;
    const inki_bpe_pair *x = &pairs->list[a.pair], *y = &pairs->list[b.pair];
    return x->left != y->left ? x->left < y->left : x->right < y->right;
}

// ---- the heap

static void sink(inki_bpe_pairs *pairs, uint32_t at) {
    inki_bpe_entry *heap = pairs->heap;
    const inki_bpe_entry entry = heap[at];
    for (;;) {
        size_t child = 2 * (size_t)at + 1;
        if (child >= pairs->n_heap) break;
        if (child + 1 < pairs->n_heap && goes_before(pairs, heap[child + 1], heap[child])) child++;
        if (!goes_before(pairs, heap[child], entry)) break;
        heap[at] = heap[child];
        at = (uint32_t)child;
    }
    heap[at] = entry;
}

static void push(inki_bpe_pairs *pairs, inki_bpe_entry entry) {
    uint32_t at = pairs->n_heap++;
    while (at > 0 && goes_before(pairs, entry, pairs->heap[(at - 1) / 2])) {
        pairs->heap[at] = pairs->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    pairs->heap[at] = entry;
}

static void fill_heap(inki_bpe_pairs *pairs) {
    pairs->n_heap = 0;
    for (uint32_t i = 0; i < pairs->n; i++)
        if (pairs->list[i].count >= pairs->level)
            pairs->heap[pairs->n_heap++] = (inki_bpe_entry){pairs->list[i].count, i};
    for (uint32_t i = pairs->n_heap / 2; i-- > 0;) sink(pairs, i);
    pairs->steps += pairs->n;
}

// Most pairs never come near the top. So the heap has only those that count at least `level`, a
// power of two that goes down when the heap is empty.
static bool lower_level(inki_bpe_pairs *pairs) {
    uint64_t most = 0;
    for (uint32_t i = 0; i < pairs->n; i++)
        if (pairs->list[i].count > most) most = pairs->list[i].count;
    if (most < 2) return false;
    pairs->level = 2;
    while (pairs->level <= most / 2) pairs->level *= 2;
    fill_heap(pairs);
    return true;
}

uint32_t inki_bpe_pairs_best(inki_bpe_pairs *pairs) {
    for (;;) {
        if (pairs->n_heap == 0 && !lower_level(pairs)) return INKI_INDEX_NONE;
        inki_bpe_entry *top = &pairs->heap[0];
        pairs->steps++;
        const uint64_t count = pairs->list[top->pair].count;
        if (count == top->count) return top->pair;
        if (count >= pairs->level)
            top->count = count;
        else
            *top = pairs->heap[--pairs->n_heap];
        sink(pairs, 0);
    }
}

// ---- the list

static uint32_t find_pair(const inki_bpe_pairs *pairs, uint32_t left, uint32_t right) {
    const uint64_t hash = inki_token_hash_pair(left, right, pairs->seed);
    uint32_t probe = 0, i;
    while ((i = inki_token_index_next(&pairs->index, hash, &probe)) != INKI_INDEX_NONE)
        if (pairs->list[i].left == left && pairs->list[i].right == right) break;
    return i;
}

static ink_status index_pairs(inki_bpe_pairs *pairs, ink_error *error) {
    for (uint32_t attempt = 0; attempt < INKI_INDEX_SEEDS; attempt++) {
        pairs->seed = inki_token_seed(attempt);
        inki_token_index_clear(&pairs->index);
        uint32_t i = 0;
        for (; i < pairs->n; i++) {
            const inki_bpe_pair *pair = &pairs->list[i];
            if (!inki_token_index_put(
                    &pairs->index, inki_token_hash_pair(pair->left, pair->right, pairs->seed), i))
                break;
        }
        if (i == pairs->n) return INK_OK;
    }
    return inki_fail(error, INK_E_LIMIT, NULL, 0,
                     "the pairs of the text collide under every hash that is tried");
}

void inki_bpe_pairs_lower(inki_bpe_pairs *pairs, uint32_t left, uint32_t right, uint64_t by) {
    const uint32_t i = find_pair(pairs, left, right);
    pairs->steps++;
    if (i == INKI_INDEX_NONE || pairs->list[i].count == 0) return;
    pairs->list[i].count -= by;
    if (pairs->list[i].count < 2) inki_bpe_pairs_drop(pairs, i);
}

void inki_bpe_pairs_drop(inki_bpe_pairs *pairs, uint32_t number) {
    pairs->list[number].count = 0;
    pairs->n_gone++;
}

ink_status inki_bpe_pairs_add(inki_bpe_pairs *pairs, uint32_t left, uint32_t right, uint64_t count,
                              uint32_t n, uint32_t *first, ink_error *error) {
    const uint32_t i = pairs->n++;
    pairs->list[i] = (inki_bpe_pair){left, right, count, pairs->n_places, n};
    *first = pairs->n_places;
    pairs->n_places += n;
    pairs->steps++;
    if (count >= pairs->level) push(pairs, (inki_bpe_entry){count, i});
    if (inki_token_index_put(&pairs->index, inki_token_hash_pair(left, right, pairs->seed), i))
        return INK_OK;
    return index_pairs(pairs, error);
}

// ---- room

// Drops pairs that are gone and places that are no longer true. Both lists keep their order, and a
// pair's places lie behind those of the pairs before it, so all moves go down.
static void compact_pairs(inki_bpe_pairs *pairs) {
    const uint32_t *ids = pairs->row->ids;
    uint32_t n = 0, n_places = 0;
    pairs->steps += pairs->n;
    for (uint32_t i = 0; i < pairs->n; i++) {
        inki_bpe_pair pair = pairs->list[i];
        if (pair.count == 0) continue;
        const uint32_t first = n_places, length = pairs->lengths[pair.left];
        for (uint32_t k = pair.first; k < pair.first + pair.n; k++) {
            if (k + AHEAD < pair.first + pair.n)
                inki_prefetch((uintptr_t)(ids + pairs->places[k + AHEAD]), 1);
            const uint32_t at = pairs->places[k];
            if (ids[at] == pair.left && ids[at + length] == pair.right)
                pairs->places[n_places++] = at;
        }
        pairs->steps += pair.n;
        pair.first = first;
        pair.n = n_places - first;
        pairs->list[n++] = pair;
    }
    pairs->n = n;
    pairs->n_gone = 0;
    pairs->n_places = n_places;
}

static ink_status grow_list(inki_bpe_pairs *pairs, uint64_t cap, ink_error *error) {
    if (cap > INKI_BPE_MAX_ROW / 2)
        return inki_fail(error, INK_E_LIMIT, NULL, 0,
                         "the text has too many different pairs; learn from less text");
    inki_token_index index = {0};
    inki_bpe_pair *list = inki_alloc(&pairs->mem, (size_t)cap, sizeof *list);
    inki_bpe_entry *heap = inki_alloc(&pairs->mem, (size_t)cap, sizeof *heap);
    if (list == NULL || heap == NULL || !inki_token_index_new(&index, (uint32_t)cap, &pairs->mem)) {
        inki_release(&pairs->mem, list, (size_t)cap, sizeof *list);
        inki_release(&pairs->mem, heap, (size_t)cap, sizeof *heap);
        return inki_fail_nomem(error, (size_t)cap * sizeof *list);
    }
    if (pairs->n > 0) memcpy(list, pairs->list, pairs->n * sizeof *list);
    inki_release(&pairs->mem, pairs->list, pairs->cap, sizeof *list);
    inki_release(&pairs->mem, pairs->heap, pairs->cap, sizeof *heap);
    inki_token_index_free(&pairs->index, &pairs->mem);
    pairs->list = list;
    pairs->heap = heap;
    pairs->n_heap = 0;
    pairs->index = index;
    pairs->cap = (uint32_t)cap;
    return INK_OK;
}

static ink_status grow_places(inki_bpe_pairs *pairs, uint32_t cap, ink_error *error) {
    uint32_t *places = inki_alloc(&pairs->mem, cap, sizeof *places);
    if (places == NULL) return inki_fail_nomem(error, cap * sizeof *places);
    if (pairs->n_places > 0) memcpy(places, pairs->places, pairs->n_places * sizeof *places);
    inki_release(&pairs->mem, pairs->places, pairs->places_cap, sizeof *places);
    pairs->places = places;
    pairs->places_cap = cap;
    return INK_OK;
}

// Reading all places is the dear part, so it is done only when they are short or when most pairs
// are gone. After it at least a third of each list is free: the next time is far away.
ink_status inki_bpe_pairs_reserve(inki_bpe_pairs *pairs, uint32_t n_pairs, uint32_t n_places,
                                  bool *moved, ink_error *error) {
    const bool pairs_fit = n_pairs <= pairs->cap - pairs->n;
    const bool places_fit = n_places <= pairs->places_cap - pairs->n_places;
    *moved = !pairs_fit || !places_fit;
    if (!*moved) return INK_OK;
    if (!places_fit || pairs->n_gone > pairs->n / 2) compact_pairs(pairs);
    const uint64_t list_cap = ((uint64_t)pairs->n + n_pairs) * 3 / 2;
    uint64_t places_cap = (uint64_t)pairs->n_places + n_places; // at most twice the row: below 2^32
    if (places_cap + places_cap / 2 <= UINT32_MAX) places_cap += places_cap / 2;
    ink_status status = INK_OK;
    if (list_cap > pairs->cap) status = grow_list(pairs, list_cap * 4 / 3, error);
    if (status == INK_OK && !places_fit && places_cap > pairs->places_cap)
        status = grow_places(pairs, (uint32_t)places_cap, error);
    if (status == INK_OK) status = index_pairs(pairs, error);
    if (status == INK_OK) fill_heap(pairs);
    return status;
}

// ---- the first pairs

typedef struct byte_pair {
    uint64_t count;
    uint32_t n;
    uint32_t at; // where its next place goes; INKI_INDEX_NONE: nowhere
} byte_pair;

static uint32_t count_byte_pairs(const inki_bpe_row *row, byte_pair *found, uint32_t *n_places) {
    uint32_t n_pairs = 0;
    for (uint32_t range = 0; range < row->n_ranges; range++)
        for (uint32_t at = row->starts[range]; at + 1 < row->starts[range + 1]; at++) {
            if (row->ids[at] >= 256 || row->ids[at + 1] >= 256) continue;
            byte_pair *pair = &found[row->ids[at] * 256 + row->ids[at + 1]];
            pair->count += row->weights[range];
            pair->n++;
        }
    for (uint32_t i = 0; i < 256 * 256; i++)
        if (found[i].count >= 2) {
            n_pairs++;
            *n_places += found[i].n;
        }
    return n_pairs;
}

static ink_status list_byte_pairs(inki_bpe_pairs *pairs, byte_pair *found, ink_error *error) {
    const inki_bpe_row *row = pairs->row;
    uint32_t n_places = 0;
    const uint32_t n_pairs = count_byte_pairs(row, found, &n_places);
    if (n_pairs == 0) return INK_OK;
    bool moved;
    ink_status status = inki_bpe_pairs_reserve(pairs, n_pairs, n_places, &moved, error);
    for (uint32_t i = 0; i < 256 * 256 && status == INK_OK; i++) {
        found[i].at = INKI_INDEX_NONE;
        if (found[i].count >= 2)
            status = inki_bpe_pairs_add(pairs, i / 256, i % 256, found[i].count, found[i].n,
                                        &found[i].at, error);
    }
    for (uint32_t at = 1; at + 1 < row->n && status == INK_OK; at++) {
        if (row->ids[at] >= 256 || row->ids[at + 1] >= 256) continue;
        byte_pair *pair = &found[row->ids[at] * 256 + row->ids[at + 1]];
        if (pair->at != INKI_INDEX_NONE) pairs->places[pair->at++] = at;
    }
    pairs->steps += 2 * (uint64_t)row->n;
    return status;
}

ink_status inki_bpe_pairs_new(inki_bpe_pairs *out, const inki_bpe_row *row, const uint16_t *lengths,
                              const inki_mem *mem, ink_error *error) {
    *out = (inki_bpe_pairs){.row = row, .lengths = lengths, .level = UINT64_MAX, .mem = *mem};
    byte_pair *found = inki_alloc_zero(mem, 256 * 256, sizeof *found);
    if (found == NULL) return inki_fail_nomem(error, 256 * 256 * sizeof *found);
    const ink_status status = list_byte_pairs(out, found, error);
    inki_release(mem, found, 256 * 256, sizeof *found);
    if (status != INK_OK) inki_bpe_pairs_free(out);
    return status;
}

void inki_bpe_pairs_free(inki_bpe_pairs *pairs) {
    inki_release(&pairs->mem, pairs->list, pairs->cap, sizeof *pairs->list);
    inki_release(&pairs->mem, pairs->heap, pairs->cap, sizeof *pairs->heap);
    inki_release(&pairs->mem, pairs->places, pairs->places_cap, sizeof *pairs->places);
    inki_token_index_free(&pairs->index, &pairs->mem);
}
