// SPDX-License-Identifier: MIT
// Online softmax of many queries over tiles, against a plain softmax in double precision over the
// same stored keys and values, and against each query alone; at every level of this machine.
#include "each_level.h"
#include "guarded.h"

#include "inkling/inkling.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof(a)[0])
enum { MAX_POS = 200, MAX_TILES = (MAX_POS + INKI_TILE - 1) / INKI_TILE, MAX_Q = 17, MARGIN = 5 };
static inki_kernels k;

// The last of n_q queries sees n_pos positions, each one before it one less.
typedef struct problem {
    uint32_t kv_type;
    size_t head_dim, n_pos, n_q, q_stride, acc_stride;
    float scale, loudness; // loudness: of the queries; large ones make scores far apart
    guarded q, acc, state, keys[MAX_TILES], values[MAX_TILES];
    double *key_of, *value_of; // [n_pos, head_dim] as stored
} problem;

static size_t n_tiles(const problem *p) { return (p->n_pos + INKI_TILE - 1) / INKI_TILE; }
static size_t n_seen(const problem *p, size_t query) { return p->n_pos - p->n_q + 1 + query; }

// All bits of column `pos` set: NaN in floats and scales.
static void spoil_column(uint32_t kv_type, void *keys, size_t pos, size_t head_dim) {
    char *at = keys;
    if (kv_type != INK_KV_Q8_0) {
        const size_t bytes = kv_type == INK_KV_F32 ? 4 : 2;
        for (size_t i = 0; i < head_dim; i++)
            memset(at + (i * INKI_TILE + pos) * bytes, 0xff, bytes);
        return;
    }
    for (size_t i = 0; i < head_dim; i += 32, at += 34 * INKI_TILE) {
        memset(at + 2 * pos, 0xff, 2);
        for (size_t j = 0; j < 32; j++) at[2 * INKI_TILE + j * INKI_TILE + pos] = (char)0xff;
    }
}

static void store_all(problem *p) {
    const size_t head_dim = p->head_dim;
    float *x = malloc(head_dim * sizeof *x);
    p->key_of = malloc(p->n_pos * head_dim * sizeof *p->key_of);
    p->value_of = malloc(p->n_pos * head_dim * sizeof *p->value_of);
    assert_true(x != NULL && p->key_of != NULL && p->value_of != NULL);
    for (size_t t = 0; t < p->n_pos; t++) {
        void *keys = p->keys[t / INKI_TILE].data, *values = p->values[t / INKI_TILE].data;
        const size_t at = t % INKI_TILE;
        hard_fill(x, head_dim, HARD_PLAIN, 100 + t);
        k.store_key[p->kv_type](keys, at, x, head_dim);
        hard_fill(x, head_dim, HARD_PLAIN, 900 + t);
        k.store_value[p->kv_type](values, at, x, head_dim);
        const char *row = (char *)values + at * inki_kv_row_bytes(p->kv_type, head_dim);
        for (size_t i = 0; i < head_dim; i++) {
            p->key_of[t * head_dim + i] = true_key(p->kv_type, keys, at, i);
            p->value_of[t * head_dim + i] = true_kv(p->kv_type, row, i);
        }
    }
    free(x);
}

// What no query sees is NaN: rows of values and whole sixteens of columns that were never written,
// and, with `spoil`, the rest of the last sixteen, as a rewind leaves it.
static problem make_problem(uint32_t kv_type, size_t head_dim, size_t n_pos, size_t n_q,
                            float loudness, bool spoil) {
    problem p = {.kv_type = kv_type,
                 .head_dim = head_dim,
                 .n_pos = n_pos,
                 .n_q = n_q,
                 .q_stride = head_dim + (n_q > 1 ? MARGIN : 0),
                 .acc_stride = head_dim + (n_q > 1 ? MARGIN - 2 : 0),
                 .scale = 1.0f / sqrtf((float)head_dim),
                 .loudness = loudness};
    const size_t tile_bytes = INKI_TILE * inki_kv_row_bytes(kv_type, head_dim);
    p.q = guarded_new(((n_q - 1) * p.q_stride + head_dim) * sizeof(float));
    p.acc = guarded_new(((n_q - 1) * p.acc_stride + head_dim) * sizeof(float));
    p.state = guarded_new(n_q * sizeof(inki_softmax));
    for (size_t i = 0; i < n_tiles(&p); i++) {
        p.keys[i] = guarded_new(tile_bytes);
        p.values[i] = guarded_new(tile_bytes);
        memset(p.keys[i].data, 0xff, tile_bytes);
        memset(p.values[i].data, 0xff, tile_bytes);
    }
    float *q = p.q.data;
    canary_fill(q, (n_q - 1) * p.q_stride + head_dim);
    for (size_t j = 0; j < n_q; j++) {
        hard_fill(q + j * p.q_stride, head_dim, HARD_PLAIN, 1 + j);
        for (size_t i = 0; i < head_dim; i++) q[j * p.q_stride + i] *= loudness;
    }
    store_all(&p);
    for (size_t t = n_pos; spoil && t % 16 != 0; t++)
        spoil_column(kv_type, p.keys[t / INKI_TILE].data, t % INKI_TILE, head_dim);
    guarded_seal(&p.q);
    for (size_t i = 0; i < n_tiles(&p); i++) {
        guarded_seal(&p.keys[i]);
        guarded_seal(&p.values[i]);
    }
    return p;
}

static void free_problem(problem *p) {
    for (size_t i = 0; i < n_tiles(p); i++) {
        guarded_free(&p->keys[i]);
        guarded_free(&p->values[i]);
    }
    guarded_free(&p->q);
    guarded_free(&p->acc);
    guarded_free(&p->state);
    free(p->key_of);
    free(p->value_of);
}

// Queries [query, query + n) in one call a tile. acc, state: of the first of them.
static void run(inki_attend_fn fn, const problem *p, size_t query, size_t n, float *acc,
                inki_softmax *state) {
    const size_t seen = n_seen(p, query);
    const float *q = (const float *)p->q.data + query * p->q_stride;
    for (size_t j = 0; j < n; j++) {
        state[j] = (inki_softmax){-INFINITY, 0};
        memset(acc + j * p->acc_stride, 0, p->head_dim * sizeof *acc);
    }
    for (size_t begin = 0; begin < seen + n - 1; begin += INKI_TILE) {
        const size_t first = begin < seen ? 0 : begin + 1 - seen; // the first query that sees it
        const size_t in_tile = seen + first - begin;
        fn(acc + first * p->acc_stride, p->acc_stride, state + first, q + first * p->q_stride,
           p->q_stride, n - first, p->keys[begin / INKI_TILE].data,
           p->values[begin / INKI_TILE].data, in_tile < INKI_TILE ? in_tile : INKI_TILE,
           p->head_dim, p->scale);
    }
}

static const char *complain(const problem *p, size_t query, const char *what, double got,
                            double want, double limit) {
    static char text[240];
    snprintf(text, sizeof text,
             "%s, kv %u, %zu values, %zu positions, %zu queries x %g: query %zu %s: %.9g for %.9g "
             "(allowed %g)",
             k.name, p->kv_type, p->head_dim, p->n_pos, p->n_q, (double)p->loudness, query, what,
             got, want, limit);
    return text;
}

// A score is one sum of head_dim products in rising order: a term passes through at most head_dim
// additions, its product, and for bytes the scales of block and head (8 allows for all of those).
// The error of a score, and that of the maximum taken from it, become relative errors of the
// weight; so do the rounding of the difference, exp's 1e-7 for each tile that scales it down, and
// the additions of the sums.
static const char *judge_query(const problem *p, size_t query) {
    const float *q = (const float *)p->q.data + query * p->q_stride;
    const float *acc = (const float *)p->acc.data + query * p->acc_stride;
    const double sum_got = (double)((const inki_softmax *)p->state.data)[query].sum;
    const double eps = 0x1p-24, deep = (double)p->head_dim + 8;
    const size_t seen = n_seen(p, query);
    double s[MAX_POS], max = -INFINITY, score_error = 0, sum = 0, farthest = 0;
    for (size_t t = 0; t < seen; t++) {
        double magnitude = 0;
        s[t] = 0;
        for (size_t i = 0; i < p->head_dim; i++) {
            const double term = (double)q[i] * p->key_of[t * p->head_dim + i] * (double)p->scale;
            s[t] += term;
            magnitude += fabs(term);
        }
        score_error = fmax(score_error, deep * eps * magnitude);
        max = fmax(max, s[t]);
    }
    for (size_t t = 0; t < seen; t++) {
        farthest = fmax(farthest, max - s[t]);
        s[t] = exp(s[t] - max);
        sum += s[t];
    }
    const double tiles = ceil((double)seen / INKI_TILE);
    const double weight_error = 2 * score_error + 2 * eps * fmin(farthest, 104) +
                                (tiles + 1) * (1.0e-7 + 2 * eps) + ((double)seen + 4) * eps;
    for (size_t i = 0; i < p->head_dim; i++) {
        double want = 0, magnitude = 0;
        for (size_t t = 0; t < seen; t++) {
            const double term = s[t] / sum * p->value_of[t * p->head_dim + i];
            want += term;
            magnitude += fabs(term);
        }
        const double got = (double)acc[i] / sum_got;
        const double limit = 2 * weight_error * magnitude + 1e-37;
        if (!(fabs(got - want) <= limit)) return complain(p, query, "is off", got, want, limit);
    }
    return NULL;
}

// NULL, or what is wrong with fn.
static const char *judge(inki_attend_fn fn, const problem *p) {
    float *acc = p->acc.data, alone[INKI_MAX_HEAD_DIM];
    inki_softmax *state = p->state.data, state_alone;
    canary_fill(acc, (p->n_q - 1) * p->acc_stride + p->head_dim);
    run(fn, p, 0, p->n_q, acc, state);
    for (size_t j = 0; j < p->n_q; j++) {
        const char *wrong = judge_query(p, j);
        if (wrong != NULL) return wrong;
        const float *row = acc + j * p->acc_stride;
        for (size_t i = p->head_dim; j + 1 < p->n_q && i < p->acc_stride; i++)
            if (!canary_is(row[i])) return complain(p, j, "writes behind its row", 0, 0, 0);
        run(fn, p, j, 1, alone, &state_alone);
        if (memcmp(alone, row, p->head_dim * sizeof *row) != 0 ||
            memcmp(&state_alone, &state[j], sizeof state_alone) != 0)
            return complain(p, j, "gives alone another result than beside others", (double)alone[0],
                            (double)row[0], 0);
    }
    return NULL;
}

static void expect_right(uint32_t kv, size_t head_dim, size_t n_pos, size_t n_q, float loudness,
                         bool spoil) {
    problem p = make_problem(kv, head_dim, n_pos, n_q, loudness, spoil);
    const char *wrong = judge(k.attend[kv], &p);
    free_problem(&p);
    if (wrong != NULL) fail_msg("%s", wrong);
}

static void every_type_and_size(void **state) {
    (void)state;
    static const size_t dims[] = {1,  2,  3,  15, 16, 17, 24, 31,  32,
                                  33, 48, 63, 64, 65, 80, 96, 128, INKI_MAX_HEAD_DIM};
    static const size_t counts[] = {1, 2, 15, 16, 17, 63, 64, 65, 127, 128, 129, MAX_POS};
    static const size_t queries[] = {1, 2, 3, 4, 5, 7, 8, 9, 16, 17};
    static const float loud[] = {0, 1, 30, 1000};
    size_t n = 0;
    for (uint32_t kv = 0; kv < INKI_KV_TYPES; kv++)
        for (size_t d = 0; d < COUNT(dims); d++)
            for (size_t c = 0; c < COUNT(counts); c++, n++) {
                if (dims[d] > 128 && c % 4 != 0) continue;
                const size_t n_q = queries[n % COUNT(queries)];
                expect_right(kv, dims[d], counts[c], n_q < counts[c] ? n_q : counts[c],
                             loud[(d + c) % COUNT(loud)], n % 2 == 0);
            }
}

// Heads of the usual sizes, every number of queries, first one at awkward places of a tile.
static void every_number_of_queries(void **state) {
    (void)state;
    static const size_t dims[] = {20, 32, 64};
    static const size_t firsts[] = {1, 2, 15, 16, 17, 33, 47, 48, 49, 60, 64, 65, 120};
    for (uint32_t kv = 0; kv < INKI_KV_TYPES; kv++)
        for (size_t d = 0; d < COUNT(dims); d++)
            for (size_t n_q = 1; n_q <= MAX_Q; n_q++) {
                const size_t first = firsts[(n_q * 5 + d) % COUNT(firsts)];
                expect_right(kv, dims[d], first + n_q - 1, n_q, 3, n_q % 2 == 0);
            }
}

static void what_is_not_finite_stays_so(void **state) {
    (void)state;
    enum { DIM = 32, POS = 70, TILE_BYTES = INKI_TILE * DIM * 4 };
    _Alignas(64) static char keys[2][TILE_BYTES], values[2][TILE_BYTES];
    for (uint32_t kv = 0; kv < INKI_KV_TYPES; kv++)
        for (size_t at = 0; at < POS; at++) {
            float x[DIM], q[DIM], acc[DIM] = {0};
            inki_softmax s = {-INFINITY, 0};
            for (int i = 0; i < DIM; i++) x[i] = q[i] = 1;
            for (size_t t = 0; t < POS; t++) {
                x[5] = t == at ? (float)NAN : 1;
                k.store_key[kv](keys[t / INKI_TILE], t % INKI_TILE, x, DIM);
                x[5] = 1;
                k.store_value[kv](values[t / INKI_TILE], t % INKI_TILE, x, DIM);
            }
            k.attend[kv](acc, DIM, &s, q, DIM, 1, keys[0], values[0], INKI_TILE, DIM, 0.1f);
            k.attend[kv](acc, DIM, &s, q, DIM, 1, keys[1], values[1], POS - INKI_TILE, DIM, 0.1f);
            for (int i = 0; i < DIM; i++)
                if (!isnan(acc[i] / s.sum))
                    fail_msg("%s, kv %u: a NaN at %zu is lost", k.name, kv, at);
        }
}

// A key or value that is not finite stays with the queries that see it.
static void later_positions_do_not_look_back(void **state) {
    (void)state;
    enum { DIM = 40, QUERIES = 9, FIRST = 20, TILE_BYTES = INKI_TILE * 2 * 34 * 3 };
    _Alignas(64) static char keys[TILE_BYTES], values[TILE_BYTES];
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    for (uint32_t kv = 0; kv < INKI_KV_TYPES; kv++)
        for (size_t b = 0; b < COUNT(bad); b++)
            for (size_t in_keys = 0; in_keys < 2; in_keys++) {
                float x[DIM], q[QUERIES * DIM], acc[QUERIES * DIM] = {0};
                inki_softmax s[QUERIES];
                for (size_t t = 0; t < FIRST + QUERIES - 1; t++) {
                    const bool last = t == FIRST + QUERIES - 2;
                    hard_fill(x, DIM, HARD_PLAIN, t);
                    if (last && in_keys == 1) x[3] = bad[b];
                    k.store_key[kv](keys, t, x, DIM);
                    if (last && in_keys == 0) x[3] = bad[b];
                    k.store_value[kv](values, t, x, DIM);
                }
                hard_fill(q, QUERIES * DIM, HARD_PLAIN, 7);
                for (size_t j = 0; j < QUERIES; j++) s[j] = (inki_softmax){-INFINITY, 0};
                k.attend[kv](acc, DIM, s, q, DIM, QUERIES, keys, values, FIRST, DIM, 0.1f);
                for (size_t i = 0; i < (QUERIES - 1) * DIM; i++)
                    if (!isfinite(acc[i]))
                        fail_msg("%s, kv %u: query %zu sees %g of a later position's %s", k.name,
                                 kv, i / DIM, (double)bad[b], in_keys == 1 ? "key" : "value");
            }
}

// --- kernels broken on purpose -----------------------------------------------------------------

enum flaw {
    NONE,
    DROPS_LAST_POSITION,
    DROPS_LAST_VALUE,
    SCALE_OFF,
    FORGETS_TO_SCALE_DOWN,
    NEXT_VALUE_ROW,
    NEIGHBOUR, // its order of summation depends on whether another query stands beside it
    DROPS_LAST_QUERY,
    MASK_SHORT, // the last query sees one position less,
    MASK_LONG,  // each but the first one more
    TILE_FULL,  // all queries see what the last one sees
    WRITES_BEHIND,
    TIMES_ZERO, // unseen values take part with weight 0
    FLAWS
};
static enum flaw flaw;
static uint32_t flawed_type;

static size_t flawed_count(size_t n_pos, size_t query, size_t n_q) {
    size_t n = n_pos + query;
    if (flaw == DROPS_LAST_POSITION && n > 1) n--;
    if (flaw == MASK_SHORT && query > 0 && query + 1 == n_q) n--;
    if (flaw == MASK_LONG && query > 0) n++;
    if (flaw == TILE_FULL) n = n_pos + n_q - 1;
    return n < INKI_TILE ? n : INKI_TILE;
}

static void flawed_query(float *acc, inki_softmax *state, const float *q, const void *keys,
                         const void *values, size_t n, size_t head_dim, float scale,
                         bool backwards) {
    const size_t row_bytes = inki_kv_row_bytes(flawed_type, head_dim);
    float p[INKI_TILE] = {0}, max = state->max, sum = 0;
    for (size_t t = 0; t < n; t++) {
        double s = 0;
        for (size_t i = 0; i < head_dim - (flaw == DROPS_LAST_VALUE ? 1 : 0); i++)
            s += (double)q[i] * true_key(flawed_type, keys, t, i);
        p[t] = (float)(s * (double)scale * (flaw == SCALE_OFF ? 1.001 : 1));
        max = fmaxf(max, p[t]);
    }
    const float keep = flaw == FORGETS_TO_SCALE_DOWN && state->sum > 0 ? 1 : expf(state->max - max);
    for (size_t t = 0; t < n; t++) sum += p[t] = expf(p[t] - max);
    const size_t n_values = flaw == TIMES_ZERO ? INKI_TILE : n;
    for (size_t i = 0; i < head_dim; i++) {
        acc[i] *= keep;
        for (size_t t = 0; t < n_values; t++) {
            size_t row = flaw == NEXT_VALUE_ROW ? (t + 1) % n : t;
            if (backwards) row = n - 1 - t;
            acc[i] += p[backwards ? row : t] *
                      (float)true_kv(flawed_type, (const char *)values + row * row_bytes, i);
        }
    }
    state->sum = state->sum * keep + sum;
    state->max = max;
}

static void flawed_attend(float *acc, size_t acc_stride, inki_softmax *state, const float *q,
                          size_t q_stride, size_t n_q, const void *keys, const void *values,
                          size_t n_pos, size_t head_dim, float scale) {
    const size_t n = flaw == DROPS_LAST_QUERY && n_q > 1 ? n_q - 1 : n_q;
    for (size_t j = 0; j < n; j++) {
        flawed_query(acc + j * acc_stride, &state[j], q + j * q_stride, keys, values,
                     flawed_count(n_pos, j, n_q), head_dim, scale, flaw == NEIGHBOUR && n_q > 1);
        if (flaw == WRITES_BEHIND && j + 1 < n) acc[j * acc_stride + head_dim] = 0;
    }
}

static void broken_kernels_are_caught(void **state) {
    (void)state;
    for (flawed_type = 0; flawed_type < INKI_KV_TYPES; flawed_type++)
        for (flaw = NONE; flaw < FLAWS; flaw++) {
            problem p = make_problem(flawed_type, 40, MAX_POS, 5, 10, true);
            const bool found = judge(flawed_attend, &p) != NULL;
            free_problem(&p);
            if (found != (flaw != NONE))
                fail_msg("kv %u, flaw %d: %s", flawed_type, (int)flaw, found ? "found" : "missed");
        }
}

static int at_level(const inki_kernels *level) {
    k = *level;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_and_size),
        cmocka_unit_test(every_number_of_queries),
        cmocka_unit_test(what_is_not_finite_stays_so),
        cmocka_unit_test(later_positions_do_not_look_back),
        cmocka_unit_test(broken_kernels_are_caught),
    };
    return cmocka_run_group_tests_name(k.name, tests, NULL, NULL);
}

int main(void) { return each_level(at_level); }
