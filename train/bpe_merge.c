// SPDX-License-Identifier: MIT
// The rounds: the best pair becomes a token wherever it stands, and its neighbours' pairs change.
//
// Neighbours are first added up by token, so that a pair is looked up once a round and neighbour,
// not once a place, and the new pairs' places are written once into room of just that size.
#include "train/bpe_parts.h"

#include "base/prefetch.h"

enum { AHEAD = 12, STEPS_A_TELL = 1 << 20 };

// What stands on one side of the new token.
typedef struct neighbour {
    uint64_t count;
    uint32_t n;
    uint32_t at; // where the next place of its pair goes; INKI_INDEX_NONE: nowhere
} neighbour;

typedef struct side {
    neighbour *of;  // [n_tokens] all 0 between rounds
    uint32_t *seen; // [n_tokens] tokens whose entry is not 0, n of them
    uint32_t n;
} side;

typedef struct learner {
    inki_bpe_row *row;
    inki_bpe_merges *merges;
    inki_bpe_pairs pairs;
    uint16_t *lengths; // [n_tokens]
    uint32_t n_tokens; // at most
    side left, right;
    inki_mem mem;
} learner;

// ---- tokens

size_t inki_bpe_token_bytes(const inki_bpe_merges *merges, uint32_t id, uint8_t *out) {
    uint32_t waiting[INKI_BPE_MAX_TOKEN]; // right parts: each has a byte at least
    uint32_t n_waiting = 0;
    size_t n = 0;
    for (;;) {
        while (id >= 256) {
            waiting[n_waiting++] = merges->right[id - 256];
            id = merges->left[id - 256];
        }
        out[n++] = inki_bpe_byte_of(id);
        if (n_waiting == 0) return n;
        id = waiting[--n_waiting];
    }
}

// ---- one round

// Weights of places that rise.
typedef struct weigher {
    const inki_bpe_row *row;
    uint32_t range;
} weigher;

static uint64_t weight_at(weigher *w, uint32_t place) {
    const inki_bpe_row *row = w->row;
    if (place >= row->starts[w->range + 1]) {
        uint32_t low = w->range + 1, high = row->n_ranges; // starts[low] <= place < starts[high]
        while (high - low > 1) {
            const uint32_t middle = low + (high - low) / 2;
            if (row->starts[middle] <= place)
                low = middle;
            else
                high = middle;
        }
        w->range = low;
    }
    return row->weights[w->range];
}

static void meet(side *s, uint32_t token, uint64_t weight) {
    neighbour *x = &s->of[token];
    if (x->n++ == 0) s->seen[s->n++] = token;
    x->count += weight;
}

static void forget(side *s) {
    for (uint32_t i = 0; i < s->n; i++) s->of[s->seen[i]] = (neighbour){0};
    s->n = 0;
}

// Puts the token where the pair stands, counts the pairs that end with that, and keeps in `places`
// [n] where it was put; returns how many. Of an overlap ("aaa") the first one has then taken what
// the second one needs. A pair with the token itself is counted with the others: it is not listed
// yet, so nothing is taken from it.
static uint32_t put_token(learner *l, const inki_bpe_pair *pair, uint32_t token) {
    uint32_t *ids = l->row->ids, *places = l->pairs.places + pair->first;
    const uint32_t left = pair->left, right = pair->right;
    const uint32_t n_left = l->lengths[left], n_both = l->lengths[token];
    weigher w = {l->row, 0};
    uint32_t n = 0;
    for (uint32_t i = 0; i < pair->n; i++) {
        if (i + AHEAD < pair->n) inki_prefetch((uintptr_t)(ids + places[i + AHEAD]), 1);
        const uint32_t at = places[i];
        if (ids[at] != left || ids[at + n_left] != right) continue;
        const uint64_t weight = weight_at(&w, at);
        const uint32_t before = ids[at - 1], behind = ids[at + n_both];
        if (before != INKI_BPE_EDGE) meet(&l->left, before, weight);
        if (behind != INKI_BPE_EDGE) meet(&l->right, behind, weight);
        ids[at + n_left - 1] = ids[at + n_left] = INKI_BPE_INNER;
        ids[at] = ids[at + n_both - 1] = token;
        places[n++] = at;
    }
    return n;
}

static void lower_counts(learner *l, uint32_t left, uint32_t right) {
    for (uint32_t i = 0; i < l->left.n; i++) {
        const uint32_t before = l->left.seen[i];
        inki_bpe_pairs_lower(&l->pairs, before, left, l->left.of[before].count);
    }
    for (uint32_t i = 0; i < l->right.n; i++) {
        const uint32_t behind = l->right.seen[i];
        inki_bpe_pairs_lower(&l->pairs, right, behind, l->right.of[behind].count);
    }
    forget(&l->left);
    forget(&l->right);
}

// Of two new tokens side by side the pair belongs to the first one's right side.
static void meet_neighbours(learner *l, const uint32_t *places, uint32_t n, uint32_t token) {
    const uint32_t *ids = l->row->ids, length = l->lengths[token];
    weigher w = {l->row, 0};
    for (uint32_t i = 0; i < n; i++) {
        if (i + AHEAD < n) inki_prefetch((uintptr_t)(ids + places[i + AHEAD]), 1);
        const uint32_t before = ids[places[i] - 1], behind = ids[places[i] + length];
        const uint64_t weight = weight_at(&w, places[i]);
        if (before != INKI_BPE_EDGE && before != token) meet(&l->left, before, weight);
        if (behind != INKI_BPE_EDGE) meet(&l->right, behind, weight);
    }
}

static ink_status list_pairs(learner *l, side *s, uint32_t token, bool is_left, ink_error *error) {
    for (uint32_t i = 0; i < s->n; i++) {
        const uint32_t other = s->seen[i];
        neighbour *x = &s->of[other];
        x->at = INKI_INDEX_NONE;
        if (x->count < 2 || l->lengths[other] + l->lengths[token] > INKI_BPE_MAX_TOKEN) continue;
        const ink_status status =
            inki_bpe_pairs_add(&l->pairs, is_left ? other : token, is_left ? token : other,
                               x->count, x->n, &x->at, error);
        if (status != INK_OK) return status;
    }
    return INK_OK;
}

static void write_places(learner *l, const uint32_t *places, uint32_t n, uint32_t token) {
    const uint32_t *ids = l->row->ids, length = l->lengths[token];
    uint32_t *to = l->pairs.places;
    for (uint32_t i = 0; i < n; i++) {
        if (i + AHEAD < n) inki_prefetch((uintptr_t)(ids + places[i + AHEAD]), 1);
        const uint32_t at = places[i], before = ids[at - 1], behind = ids[at + length];
        if (before != INKI_BPE_EDGE && before != token) {
            neighbour *x = &l->left.of[before];
            if (x->at != INKI_INDEX_NONE) to[x->at++] = at - l->lengths[before];
        }
        if (behind != INKI_BPE_EDGE) {
            neighbour *x = &l->right.of[behind];
            if (x->at != INKI_INDEX_NONE) to[x->at++] = at;
        }
    }
}

// There is room for all that comes new. No token has these bytes already: when it was made, they
// were the same tokens here, as no merge had crossed their ends, and became that token here too.
static ink_status merge_pair(learner *l, uint32_t number, ink_error *error) {
    const inki_bpe_pair pair = l->pairs.list[number];
    inki_bpe_merges *merges = l->merges;
    const uint32_t token = 256 + merges->n;
    merges->left[merges->n] = pair.left;
    merges->right[merges->n++] = pair.right;
    l->lengths[token] = (uint16_t)(l->lengths[pair.left] + l->lengths[pair.right]);
    inki_bpe_pairs_drop(&l->pairs, number);
    const uint32_t n = put_token(l, &pair, token);
    const uint32_t *places = l->pairs.places + pair.first;
    lower_counts(l, pair.left, pair.right);
    meet_neighbours(l, places, n, token);
    ink_status status = list_pairs(l, &l->left, token, true, error);
    if (status == INK_OK) status = list_pairs(l, &l->right, token, false, error);
    if (status == INK_OK) write_places(l, places, n, token);
    forget(&l->left);
    forget(&l->right);
    l->pairs.steps += 3 * (uint64_t)pair.n;
    return status;
}

// ---- all rounds

static ink_status run_rounds(learner *l, uint32_t n_merges, const inki_bpe_progress *progress,
                             ink_error *error) {
    uint64_t told = 0;
    while (l->merges->n < n_merges) {
        const uint32_t best = inki_bpe_pairs_best(&l->pairs);
        if (best == INKI_INDEX_NONE) break;
        // A new pair has a place of its own, so there are no more of them than places of the row.
        const uint32_t twice =
            l->pairs.list[best].n < l->row->n / 2 ? l->pairs.list[best].n * 2 : l->row->n;
        const uint32_t sides = 2 * (256 + l->merges->n + 1);
        bool moved;
        ink_status status =
            inki_bpe_pairs_reserve(&l->pairs, twice < sides ? twice : sides, twice, &moved, error);
        if (status == INK_OK && !moved) status = merge_pair(l, best, error);
        if (status != INK_OK) return status;
        if (l->pairs.steps - told < STEPS_A_TELL) continue;
        told = l->pairs.steps;
        if (inki_bpe_tell(progress, (double)l->merges->n / (double)n_merges))
            return inki_fail(error, INK_E_CANCELLED, NULL, 0, "cancelled");
    }
    return INK_OK;
}

static void free_side(side *s, uint32_t n, const inki_mem *mem) {
    inki_release(mem, s->of, n, sizeof *s->of);
    inki_release(mem, s->seen, n, sizeof *s->seen);
}

static bool new_side(side *s, uint32_t n, const inki_mem *mem) {
    s->of = inki_alloc_zero(mem, n, sizeof *s->of);
    s->seen = inki_alloc(mem, n, sizeof *s->seen);
    return s->of != NULL && s->seen != NULL;
}

static ink_status open_learner(learner *l, uint32_t n_merges, ink_error *error) {
    const inki_mem *mem = &l->mem;
    const size_t n = l->n_tokens;
    l->lengths = inki_alloc(mem, n, sizeof *l->lengths);
    if (!new_side(&l->left, l->n_tokens, mem) || !new_side(&l->right, l->n_tokens, mem) ||
        l->lengths == NULL)
        return inki_fail_nomem(error, n * 2 * sizeof *l->left.of);
    for (uint32_t id = 0; id < 256; id++) l->lengths[id] = 1;
    if (n_merges > 0) {
        l->merges->left = inki_alloc(mem, n_merges, sizeof *l->merges->left);
        l->merges->right = inki_alloc(mem, n_merges, sizeof *l->merges->right);
        if (l->merges->left == NULL || l->merges->right == NULL) {
            inki_release(mem, l->merges->left, n_merges, sizeof *l->merges->left);
            inki_release(mem, l->merges->right, n_merges, sizeof *l->merges->right);
            *l->merges = (inki_bpe_merges){0};
            return inki_fail_nomem(error, n_merges * sizeof *l->merges->left);
        }
        l->merges->cap = n_merges;
    }
    return inki_bpe_pairs_new(&l->pairs, l->row, l->lengths, mem, error);
}

ink_status inki_bpe_learn(inki_bpe_merges *out, inki_bpe_row *row, uint32_t n_merges,
                          const inki_mem *mem, const inki_bpe_progress *progress,
                          ink_error *error) {
    if (n_merges > row->n) n_merges = row->n; // each takes a place of the row at least
    inki_bpe_merges merges = {0};
    learner l = {.row = row, .merges = &merges, .n_tokens = 256 + n_merges + 1, .mem = *mem};
    ink_status status = open_learner(&l, n_merges, error);
    if (status == INK_OK) {
        status = run_rounds(&l, n_merges, progress, error);
        merges.steps = l.pairs.steps;
        inki_bpe_pairs_free(&l.pairs);
    }
    inki_release(mem, l.lengths, l.n_tokens, sizeof *l.lengths);
    free_side(&l.left, l.n_tokens, mem);
    free_side(&l.right, l.n_tokens, mem);
    if (status == INK_OK)
        *out = merges;
    else
        inki_bpe_merges_free(&merges, mem);
    return status;
}

void inki_bpe_merges_free(inki_bpe_merges *merges, const inki_mem *mem) {
    inki_release(mem, merges->left, merges->cap, sizeof *merges->left);
    inki_release(mem, merges->right, merges->cap, sizeof *merges->right);
    *merges = (inki_bpe_merges){0};
}
