// SPDX-License-Identifier: MIT
#include "tokenizer/bpe.h"

#include <string.h>

enum { SHORT_WORD = 32 }; // most words; up to here a scan for the best pair beats a queue

// A word as a doubly linked list of symbols, named by the place of their first byte, and an indexed
// binary heap of the symbols whose pair with the next one can be merged. Each symbol has one entry
// that moves when its pair changes, so the heap never holds stale entries: a merge costs three heap
// operations at most, which is what bounds the steps by 3 n log2 n + 5 n.
typedef struct long_word {
    const inki_bpe *bpe;
    int32_t *id;
    uint32_t *prev, *next;  // INKI_INDEX_NONE at the ends
    uint32_t *rank;         // of the pair with the next symbol
    uint32_t *heap, *place; // heap[place[i]] == i; INKI_INDEX_NONE: i is not in the heap
    uint32_t n_heap;
    uint64_t steps;
} long_word;

size_t inki_bpe_work_numbers(size_t n) { return n <= SHORT_WORD ? 0 : 6 * n; }

static bool pair_before(const long_word *w, uint32_t a, uint32_t b) {
    return w->rank[a] != w->rank[b] ? w->rank[a] < w->rank[b] : a < b;
}

static void heap_set(long_word *w, uint32_t at, uint32_t symbol) {
    w->heap[at] = symbol;
    w->place[symbol] = at;
}

static void heap_down(long_word *w, uint32_t at) {
    const uint32_t symbol = w->heap[at];
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= w->n_heap) break;
        if (child + 1 < w->n_heap && pair_before(w, w->heap[child + 1], w->heap[child])) child++;
        if (!pair_before(w, w->heap[child], symbol)) break;
        heap_set(w, at, w->heap[child]);
        at = child;
        w->steps++;
    }
    heap_set(w, at, symbol);
}

static void heap_up(long_word *w, uint32_t at) {
    const uint32_t symbol = w->heap[at];
    while (at > 0 && pair_before(w, symbol, w->heap[(at - 1) / 2])) {
        heap_set(w, at, w->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
        w->steps++;
    }
    heap_set(w, at, symbol);
}

static void heap_fix(long_word *w, uint32_t at) {
    if (at > 0 && pair_before(w, w->heap[at], w->heap[(at - 1) / 2]))
        heap_up(w, at);
    else
        heap_down(w, at);
}

// Gives the symbol a new rank: enters, moves or leaves.
static void heap_update(long_word *w, uint32_t symbol, uint32_t rank) {
    const uint32_t at = w->place[symbol];
    w->rank[symbol] = rank;
    w->steps++;
    if (rank != INKI_INDEX_NONE) {
        if (at != INKI_INDEX_NONE) {
            heap_fix(w, at);
        } else {
            heap_set(w, w->n_heap, symbol);
            heap_up(w, w->n_heap++);
        }
    } else if (at != INKI_INDEX_NONE) {
        w->place[symbol] = INKI_INDEX_NONE;
        const uint32_t last = w->heap[--w->n_heap];
        if (at == w->n_heap) return;
        heap_set(w, at, last);
        heap_fix(w, at);
    }
}

static uint32_t rank_with_next(const long_word *w, uint32_t symbol) {
    const uint32_t next = w->next[symbol];
    if (next == INKI_INDEX_NONE) return INKI_INDEX_NONE;
    return inki_bpe_rank(w->bpe, w->id[symbol], w->id[next]);
}

static void merge_best(long_word *w) {
    const uint32_t a = w->heap[0], b = w->next[a], before = w->prev[a], after = w->next[b];
    w->id[a] = w->bpe->merges[w->rank[a]].result;
    w->next[a] = after;
    if (after != INKI_INDEX_NONE) w->prev[after] = a;
    if (w->place[b] != INKI_INDEX_NONE) heap_update(w, b, INKI_INDEX_NONE);
    heap_update(w, a, rank_with_next(w, a));
    if (before != INKI_INDEX_NONE) heap_update(w, before, rank_with_next(w, before));
}

static void merge_long(const inki_bpe *bpe, const uint8_t *word, size_t n, uint32_t *work,
                       inki_bpe_sink *sink) {
    long_word w = {.bpe = bpe, .id = (int32_t *)work, .prev = work + n, .next = work + 2 * n};
    w.rank = work + 3 * n;
    w.heap = work + 4 * n;
    w.place = work + 5 * n;
    const uint32_t n_symbols = (uint32_t)n;
    for (uint32_t i = 0; i < n_symbols; i++) {
        w.id[i] = bpe->byte_ids[word[i]];
        w.prev[i] = i > 0 ? i - 1 : INKI_INDEX_NONE;
        w.next[i] = i + 1 < n_symbols ? i + 1 : INKI_INDEX_NONE;
        w.place[i] = INKI_INDEX_NONE;
    }
    for (uint32_t i = 0; i < n_symbols; i++) {
        w.rank[i] = rank_with_next(&w, i);
        w.steps++;
        if (w.rank[i] != INKI_INDEX_NONE) heap_set(&w, w.n_heap++, i);
    }
    for (uint32_t i = w.n_heap / 2; i-- > 0;) heap_down(&w, i);
    while (w.n_heap > 0) merge_best(&w);
    for (uint32_t i = 0; i != INKI_INDEX_NONE; i = w.next[i]) inki_bpe_emit(sink, w.id[i]);
    sink->steps += w.steps;
}

static void merge_short(const inki_bpe *bpe, const uint8_t *word, size_t n, inki_bpe_sink *sink) {
    int32_t id[SHORT_WORD];
    uint32_t rank[SHORT_WORD];
    for (size_t i = 0; i < n; i++) id[i] = bpe->byte_ids[word[i]];
    for (size_t i = 0; i + 1 < n; i++) rank[i] = inki_bpe_rank(bpe, id[i], id[i + 1]);
    sink->steps += n - 1;
    while (n > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < n; i++)
            if (rank[i] < rank[best]) best = i;
        sink->steps += n - 1;
        if (rank[best] == INKI_INDEX_NONE) break;
        id[best] = bpe->merges[rank[best]].result;
        sink->steps += 2;
        n--;
        memmove(id + best + 1, id + best + 2, (n - best - 1) * sizeof *id);
        memmove(rank + best, rank + best + 1, (n - best - 1) * sizeof *rank);
        if (best + 1 < n) rank[best] = inki_bpe_rank(bpe, id[best], id[best + 1]);
        if (best > 0) rank[best - 1] = inki_bpe_rank(bpe, id[best - 1], id[best]);
    }
    for (size_t i = 0; i < n; i++) inki_bpe_emit(sink, id[i]);
}

void inki_bpe_word(const inki_bpe *bpe, const uint8_t *word, size_t n, uint32_t *work,
                   inki_bpe_sink *sink) {
    if (n <= SHORT_WORD)
        merge_short(bpe, word, n, sink);
    else
        merge_long(bpe, word, n, work, sink);
}
