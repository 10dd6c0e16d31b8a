// SPDX-License-Identifier: MIT
#include "sampler/draw.h"

#include <float.h>
#include <math.h>
#include <string.h>

inki_candidate inki_draw_at(const inki_draw_state *d, uint32_t i) {
    if (d->form != INKI_DRAW_RAW) return d->c[i];
    inki_candidate c = {d->in->logits[i], (int32_t)i};
    if (d->own) memcpy(&c.logit, inki_draw_own(d) + i, sizeof c.logit);
    return c;
}

// The first of equals stays.
inki_candidate inki_draw_best(const inki_draw_state *d) {
    inki_candidate best = {-INFINITY, -1};
    inki_block b = {0};
    while (inki_block_next_above(d, &b, best.logit) && !(d->sorted && b.at > 0))
        for (uint32_t k = 0; k < INKI_DRAW_BLOCK; k++)
            if (b.x[k] > best.logit) best = inki_draw_at(d, b.at + k);
    return best;
}

// Each candidate goes home, and the one it finds there goes on to its own home: in place, since ids
// are distinct. A negative id marks an empty seat.
static void spread_list(inki_candidate *c, uint32_t n, uint32_t n_vocab) {
    for (uint32_t i = n; i < n_vocab; i++) c[i].id = -1;
    for (uint32_t i = 0; i < n; i++) {
        inki_candidate moving = c[i];
        c[i].id = -1;
        while (moving.id >= 0) {
            const inki_candidate evicted = c[moving.id];
            c[moving.id] = moving;
            moving = evicted;
        }
    }
    for (uint32_t i = 0; i < n_vocab; i++)
        if (c[i].id < 0) c[i] = (inki_candidate){-INFINITY, (int32_t)i};
}

void inki_draw_spread(inki_draw_state *d) {
    const uint32_t n = d->in->n_vocab;
    float *own = inki_draw_own(d);
    if (d->form == INKI_DRAW_LIST) {
        spread_list(d->c, d->n, n);
        // From the end on, where a logit is behind all pairs that are still to be read.
        for (uint32_t i = n; i-- > 0;) own[i] = d->c[i].logit;
    } else if (!d->own) {
        memcpy(own, d->in->logits, n * sizeof *own);
    }
    d->form = INKI_DRAW_RAW;
    d->own = true;
    d->sorted = d->ranked = false;
}

void inki_draw_scale(inki_draw_state *d, double base, double factor) {
    const bool raw = d->form == INKI_DRAW_RAW;
    inki_block b = {0};
    // Blocks that a set rules out are passed over below, and yet none is to stay unwritten.
    if (raw && d->in->allowed != NULL) inki_draw_spread(d);
    while (inki_block_next(d, &b)) {
        float y[INKI_DRAW_BLOCK];
        inki_block_scale(b.x, base, factor, y);
        if (raw) memcpy(inki_draw_own(d) + b.at, y, b.n * sizeof *y);
        for (uint32_t k = 0; !raw && k < b.n; k++) d->c[b.at + k].logit = y[k];
    }
    d->own = raw;
}

// Every candidate is written where the next one that stays belongs: no branch to be guessed. That
// is never behind the place it was read from, in a list or among logits of its own.
void inki_draw_above(inki_draw_state *d, float bound) {
    const bool raw = d->form == INKI_DRAW_RAW;
    uint32_t n = 0;
    inki_block b = {0};
    while (inki_block_next_above(d, &b, bound)) {
        const float *x = b.x, *end = x + b.n;
        inki_candidate *c = d->c;
        for (uint32_t at = b.at; x < end; at++) {
            const float logit = *x++;
            const int32_t id = raw ? (int32_t)at : c[at].id;
            c[n] = (inki_candidate){logit, id};
            n += logit > bound;
        }
    }
    d->form = INKI_DRAW_LIST;
    d->n = n;
}

void inki_draw_list(inki_draw_state *d) {
    if (d->form != INKI_DRAW_LIST) inki_draw_above(d, -INFINITY);
}

bool inki_candidate_better(inki_candidate a, inki_candidate b) {
    return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
}

void inki_heap_sift(inki_candidate *heap, uint32_t n, uint32_t i) {
    const inki_candidate moved = heap[i];
    for (;;) {
        uint32_t child = 2 * i + 1;
        if (child >= n) break;
        if (child + 1 < n && inki_candidate_better(heap[child], heap[child + 1])) child++;
        if (!inki_candidate_better(moved, heap[child])) break;
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = moved;
}

void inki_heap_make(inki_candidate *heap, uint32_t n) {
    for (uint32_t i = n / 2; i-- > 0;) inki_heap_sift(heap, n, i);
}

// Of a heap.
void inki_draw_sort(inki_draw_state *d) {
    for (uint32_t n = d->n; n > 1;) {
        const inki_candidate worst = d->c[0];
        d->c[0] = d->c[--n];
        inki_heap_sift(d->c, n, 0);
        d->c[n] = worst;
    }
    d->sorted = true;
}
