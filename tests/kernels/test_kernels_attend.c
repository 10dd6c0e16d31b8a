// SPDX-License-Identifier: MIT
// Online softmax over tiles against a plain softmax in double precision over the same stored rows.
#include "guarded.h"

#include "kernels/kernels.h"

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
enum { MAX_POS = 200 };
static inki_kernels k;

typedef struct problem {
    uint32_t kv_type;
    size_t head_dim, n_pos, row_bytes;
    float scale, loudness; // loudness: of the queries; large ones make scores far apart
    guarded q, keys, values, acc;
} problem;

static problem make_problem(uint32_t kv_type, size_t head_dim, size_t n_pos, float loudness) {
    problem p = {.kv_type = kv_type, .head_dim = head_dim, .n_pos = n_pos, .loudness = loudness};
    p.row_bytes = inki_kv_row_bytes(kv_type, head_dim);
    p.scale = 1.0f / sqrtf((float)head_dim);
    p.q = guarded_new(head_dim * 4);
    p.keys = guarded_new(n_pos * p.row_bytes);
    p.values = guarded_new(n_pos * p.row_bytes);
    p.acc = guarded_new(head_dim * 4);
    float *x = malloc(head_dim * sizeof *x), *q = p.q.data;
    assert_non_null(x);
    hard_fill(q, head_dim, HARD_PLAIN, 1);
    for (size_t i = 0; i < head_dim; i++) q[i] *= loudness;
    for (size_t t = 0; t < n_pos; t++) {
        hard_fill(x, head_dim, HARD_PLAIN, 100 + t);
        k.kv_store[kv_type]((char *)p.keys.data + t * p.row_bytes, x, head_dim);
        hard_fill(x, head_dim, HARD_PLAIN, 900 + t);
        k.kv_store[kv_type]((char *)p.values.data + t * p.row_bytes, x, head_dim);
    }
    free(x);
    guarded_seal(&p.q);
    guarded_seal(&p.keys);
    guarded_seal(&p.values);
    return p;
}

static void free_problem(problem *p) {
    guarded_free(&p->q);
    guarded_free(&p->keys);
    guarded_free(&p->values);
    guarded_free(&p->acc);
}

static inki_softmax run(inki_attend_fn fn, const problem *p, float *acc) {
    inki_softmax state = {-INFINITY, 0};
    for (size_t i = 0; i < p->head_dim; i++) acc[i] = 0;
    for (size_t t = 0; t < p->n_pos; t += INKI_TILE)
        fn(acc, &state, p->q.data, (char *)p->keys.data + t * p->row_bytes,
           (char *)p->values.data + t * p->row_bytes, p->row_bytes,
           p->n_pos - t < INKI_TILE ? p->n_pos - t : INKI_TILE, p->head_dim, p->scale);
    return state;
}

// A score is a sum of head_dim products, each rounded at most head_dim / 4 + 8 times (2 more for
// the value of a block). Its error, and that of the maximum taken from it, become relative errors
// of the weight; so do the rounding of the difference, exp's 1e-7 for each tile that scales it
// down, and the additions of the sums.
static const char *judge(inki_attend_fn fn, problem *p) {
    static char text[160];
    const char *keys = p->keys.data, *values = p->values.data;
    const float *q = p->q.data;
    const double eps = 0x1p-24, deep = (double)p->head_dim / 4 + 8;
    double s[MAX_POS], max = -INFINITY, score_error = 0, sum = 0, farthest = 0;
    for (size_t t = 0; t < p->n_pos; t++) {
        double magnitude = 0;
        s[t] = 0;
        for (size_t i = 0; i < p->head_dim; i++) {
            const double term =
                (double)q[i] * true_kv(p->kv_type, keys + t * p->row_bytes, i) * (double)p->scale;
            s[t] += term;
            magnitude += fabs(term);
        }
        score_error = fmax(score_error, deep * eps * magnitude);
        max = fmax(max, s[t]);
    }
    for (size_t t = 0; t < p->n_pos; t++) {
        sum += exp(s[t] - max);
        farthest = fmax(farthest, max - s[t]);
    }
    const double tiles = ceil((double)p->n_pos / INKI_TILE);
    const double weight_error = 2 * score_error + 2 * eps * fmin(farthest, 104) +
                                (tiles + 1) * (1.0e-7 + 2 * eps) + ((double)p->n_pos + 4) * eps;
    canary_fill(p->acc.data, p->head_dim);
    const inki_softmax state = run(fn, p, p->acc.data);
    const float *acc = p->acc.data;
    for (size_t i = 0; i < p->head_dim; i++) {
        double want = 0, magnitude = 0;
        for (size_t t = 0; t < p->n_pos; t++) {
            const double term =
                exp(s[t] - max) / sum * true_kv(p->kv_type, values + t * p->row_bytes, i);
            want += term;
            magnitude += fabs(term);
        }
        const double got = (double)acc[i] / (double)state.sum;
        const double limit = 2 * weight_error * magnitude + 1e-37;
        if (fabs(got - want) <= limit) continue;
        snprintf(text, sizeof text,
                 "kv %u, %zu values, %zu positions, queries x %g: %.9g for %.9g (allowed %g)",
                 p->kv_type, p->head_dim, p->n_pos, (double)p->loudness, got, want, limit);
        return text;
    }
    return NULL;
}

static void every_type_and_size(void **state) {
    (void)state;
    static const size_t dims[] = {1, 2, 15, 16, 17, 24, 31, 32, 33, 48, 63, 64, 65, 80, 128, 1024};
    static const size_t counts[] = {1, 2, 15, 16, 17, 63, 64, 65, 127, 128, 129, MAX_POS};
    static const float loud[] = {0, 1, 30, 1000};
    for (uint32_t kv = 0; kv < INKI_KV_TYPES; kv++)
        for (size_t d = 0; d < COUNT(dims); d++)
            for (size_t c = 0; c < COUNT(counts); c++) {
                if (dims[d] > 128 && c % 4 != 0) continue;
                problem p = make_problem(kv, dims[d], counts[c], loud[(d + c) % COUNT(loud)]);
                const char *wrong = judge(k.attend[kv], &p);
                free_problem(&p);
                if (wrong != NULL) fail_msg("%s", wrong);
            }
}

static void what_is_not_finite_stays_so(void **state) {
    (void)state;
    for (uint32_t kv = 0; kv < INKI_KV_TYPES; kv++)
        for (size_t at = 0; at < 70; at++) {
            float x[32], q[32], acc[32] = {0};
            char keys[70 * 128], values[70 * 128];
            const size_t row = inki_kv_row_bytes(kv, 32);
            inki_softmax s = {-INFINITY, 0};
            for (int i = 0; i < 32; i++) x[i] = q[i] = 1;
            for (size_t t = 0; t < 70; t++) {
                x[5] = t == at ? (float)NAN : 1;
                k.kv_store[kv](keys + t * row, x, 32);
                x[5] = 1;
                k.kv_store[kv](values + t * row, x, 32);
            }
            k.attend[kv](acc, &s, q, keys, values, row, 64, 32, 0.1f);
            k.attend[kv](acc, &s, q, keys + 64 * row, values + 64 * row, row, 6, 32, 0.1f);
            for (int i = 0; i < 32; i++) assert_true(isnan(acc[i] / s.sum) != 0);
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
    FLAWS
};
static enum flaw flaw;
static uint32_t flawed_type;

static void flawed_attend(float *acc, inki_softmax *state, const float *q, const void *keys,
                          const void *values, size_t row_bytes, size_t n_pos, size_t head_dim,
                          float scale) {
    float p[INKI_TILE], max = state->max, sum = 0;
    const size_t n = flaw == DROPS_LAST_POSITION && n_pos > 1 ? n_pos - 1 : n_pos;
    for (size_t t = 0; t < n; t++) {
        double s = 0;
        for (size_t i = 0; i < head_dim - (flaw == DROPS_LAST_VALUE ? 1 : 0); i++)
            s += (double)q[i] * true_kv(flawed_type, (const char *)keys + t * row_bytes, i);
        p[t] = (float)(s * (double)scale * (flaw == SCALE_OFF ? 1.001 : 1));
        max = fmaxf(max, p[t]);
    }
    const float keep = flaw == FORGETS_TO_SCALE_DOWN && state->sum > 0 ? 1 : expf(state->max - max);
    for (size_t t = 0; t < n; t++) sum += p[t] = expf(p[t] - max);
    for (size_t i = 0; i < head_dim; i++) {
        acc[i] *= keep;
        for (size_t t = 0; t < n; t++) {
            const size_t row = flaw == NEXT_VALUE_ROW ? (t + 1) % n : t;
            acc[i] += p[t] * (float)true_kv(flawed_type, (const char *)values + row * row_bytes, i);
        }
    }
    state->sum = state->sum * keep + sum;
    state->max = max;
}

static void broken_kernels_are_caught(void **state) {
    (void)state;
    for (flawed_type = 0; flawed_type < INKI_KV_TYPES; flawed_type++)
        for (flaw = NONE; flaw < FLAWS; flaw++) {
            problem p = make_problem(flawed_type, 40, MAX_POS, 10);
            const bool found = judge(flawed_attend, &p) != NULL;
            free_problem(&p);
            if (found != (flaw != NONE))
                fail_msg("kv %u, flaw %d: %s", flawed_type, (int)flaw, found ? "found" : "missed");
        }
}

int main(void) {
    inki_kernels_init(&k, ~0u);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_and_size),
        cmocka_unit_test(what_is_not_finite_stays_so),
        cmocka_unit_test(broken_kernels_are_caught),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
