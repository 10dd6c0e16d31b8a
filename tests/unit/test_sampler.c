// SPDX-License-Identifier: MIT
// The choice itself, against a plain reference that sorts everything and counts in long double.
#include "random_numbers.h"
#include "sampler/chain.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static inki_chain *new_chain(const char *text, const ink_sampler_options *o, uint32_t n_vocab) {
    const inki_mem mem = inki_mem_from(NULL);
    inki_chain *chain = NULL;
    ink_error error = {0};
    if (inki_chain_new(&chain, text, o, n_vocab, &mem, &error) != INK_OK)
        fail_msg("%s: %s", text != NULL ? text : "default", error.message);
    return chain;
}

// The reference: one array of what is left, sorted anew in every step.
typedef struct ref_token {
    float logit;
    int32_t id;
    long double p;
} ref_token;
typedef struct ref_state {
    ref_token *t;
    uint32_t n;
} ref_state;

static int ref_better(const void *a, const void *b) {
    const ref_token *x = a, *y = b;
    if (x->logit != y->logit) return x->logit > y->logit ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

static void ref_softmax(ref_state *r) {
    qsort(r->t, r->n, sizeof *r->t, ref_better);
    long double total = 0;
    for (uint32_t i = 0; i < r->n; i++)
        total += r->t[i].p = expl((long double)r->t[i].logit - (long double)r->t[0].logit);
    for (uint32_t i = 0; i < r->n; i++) r->t[i].p /= total;
}

static void ref_penalties(ref_state *r, const ink_sampler_options *o, const int32_t *history,
                          size_t n_history) {
    const size_t n = n_history < o->penalty_last_n ? n_history : o->penalty_last_n;
    for (uint32_t i = 0; i < r->n; i++) {
        int count = 0;
        for (size_t k = n_history - n; k < n_history; k++) count += history[k] == r->t[i].id;
        if (count == 0) continue;
        double logit = (double)r->t[i].logit;
        if (logit > 0)
            logit /= (double)o->repeat_penalty;
        else
            logit *= (double)o->repeat_penalty;
        logit -= (double)count * (double)o->frequency_penalty + (double)o->presence_penalty;
        r->t[i].logit = (float)logit;
    }
}

static void ref_step(ref_state *r, const inki_chain *chain, inki_step step, const inki_draw *in) {
    const ink_sampler_options *o = &chain->o;
    uint32_t n = 0;
    long double sum = 0;
    if (r->n == 0) return;
    ref_softmax(r);
    switch (step) {
    case INKI_STEP_LOGIT_BIAS:
        for (uint32_t i = 0; i < r->n; i++) {
            ref_token t = r->t[i];
            for (size_t k = 0; k < chain->n_bias; k++)
                if (chain->bias[k].token == t.id) t.logit += chain->bias[k].bias;
            if (t.logit > -INFINITY) r->t[n++] = t;
        }
        r->n = n;
        break;
    case INKI_STEP_PENALTIES: ref_penalties(r, o, in->history, in->n_history); break;
    case INKI_STEP_TOP_K:
        if (o->top_k > 0 && o->top_k < r->n) r->n = o->top_k;
        break;
    case INKI_STEP_TOP_P:
        if (o->top_p >= 1.0f) break;
        do sum += r->t[n++].p;
        while (sum < (long double)o->top_p && n < r->n);
        r->n = n;
        break;
    case INKI_STEP_MIN_P:
        while (n < r->n && r->t[n].p >= (long double)o->min_p * r->t[0].p) n++;
        r->n = n;
        break;
    case INKI_STEP_TEMP:
        if (o->temperature == 0.0f) r->n = 1;
        for (uint32_t i = 0; i < r->n && r->n > 1; i++)
            r->t[i].logit = (float)((double)r->t[i].logit / (double)o->temperature);
        break;
    case INKI_STEP_GREEDY: r->n = 1; break;
    default: break;
    }
}

static void ref_filter(ref_state *r, const inki_chain *chain, const inki_draw *in) {
    r->n = 0;
    for (uint32_t i = 0; i < in->n_vocab; i++)
        if ((int32_t)i != in->banned) r->t[r->n++] = (ref_token){in->logits[i], (int32_t)i, 0};
    for (uint32_t i = 0; i < chain->n_steps; i++) ref_step(r, chain, chain->steps[i], in);
    if (r->n > 0) ref_softmax(r);
}

static void expect_like_reference(const inki_chain *chain, const inki_draw *in, ref_state *r) {
    char text[1024];
    inki_chain_text(chain, text, sizeof text);
    ref_filter(r, chain, in);
    const uint32_t n = inki_chain_filter(chain, in);
    if (n != r->n) fail_msg("%s: %u candidates of %u, expected %u", text, n, in->n_vocab, r->n);
    double total = 0, best = -INFINITY;
    bool by_id = true, by_logit = true;
    for (uint32_t i = 0; i < n; i++) {
        const inki_candidate c = in->scratch[i];
        if ((double)c.logit > best) best = (double)c.logit;
        if (i == 0) continue;
        const inki_candidate b = in->scratch[i - 1];
        by_id = by_id && c.id > b.id;
        by_logit = by_logit && (c.logit < b.logit || (c.logit == b.logit && c.id > b.id));
    }
    assert_true(by_id || by_logit);
    for (uint32_t i = 0; i < n; i++) total += exp((double)in->scratch[i].logit - best);
    for (uint32_t i = 0; i < n; i++) {
        const inki_candidate c = in->scratch[i];
        uint32_t k = 0; // the reference is sorted; equal sets need no more than a search
        while (k < n && r->t[k].id != c.id) k++;
        if (k == n) fail_msg("%s: token %d should be gone", text, c.id);
        const double p = exp((double)c.logit - best) / total;
        if (fabs(p - (double)r->t[k].p) > 1e-6)
            fail_msg("%s: token %d has p %g, expected %g", text, c.id, p, (double)r->t[k].p);
    }
}

static void random_options(ink_sampler_options *o, uint64_t *random) {
    inki_sampler_defaults(o);
    o->temperature = below(random, 8) == 0 ? 0.0f : (float)(0.05 + 3.0 * unit(random));
    o->top_k = below(random, 4) == 0 ? 0 : 1 + below(random, 60);
    if (below(random, 3) == 0) o->top_k = below(random, 4000);
    o->top_p = below(random, 6) == 0 ? (float)below(random, 2) : (float)unit(random);
    o->min_p = below(random, 6) == 0 ? (float)below(random, 2) : (float)pow(unit(random), 4);
    o->repeat_penalty = (float)(0.5 + 1.5 * unit(random));
    o->presence_penalty = (float)(unit(random) - 0.3);
    o->frequency_penalty = (float)(unit(random) - 0.3);
    o->penalty_last_n = below(random, 100);
    o->seed = next_random(random);
}

static void random_chain(char *text, size_t cap, uint64_t *random) {
    static const char *const names[] = {"logit_bias", "penalties", "top_k", "top_p",
                                        "min_p",      "temp",      "greedy"};
    uint32_t unused = 0x7f;
    const uint32_t n = 1 + below(random, 7);
    text[0] = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t k = below(random, 7);
        while (!(unused >> k & 1)) k = (k + 1) % 7;
        unused &= ~(1u << k);
        if (k == 6 && below(random, 3) != 0) continue; // greedy would hide much
        if (text[0] != 0) strncat(text, ";", cap - strlen(text) - 1);
        strncat(text, names[k], cap - strlen(text) - 1);
    }
    if (text[0] == 0) strncat(text, "temp", cap - 1);
}

enum { MAX_VOCAB = 3000, MAX_HISTORY = 128, MAX_BIAS = 32 };

typedef struct room {
    float logits[MAX_VOCAB];
    int32_t history[MAX_HISTORY];
    ink_logit_bias bias[MAX_BIAS];
    inki_candidate scratch[MAX_VOCAB];
    ref_token ref[MAX_VOCAB];
} room;

static uint32_t furnish(room *m, ink_sampler_options *o, uint64_t *random) {
    static const uint32_t sizes[] = {1, 2, 3, 15, 16, 17, 31, 33, 64, 100, 257, 1000, MAX_VOCAB};
    const uint32_t n = sizes[below(random, sizeof sizes / sizeof *sizes)];
    const uint32_t kind = below(random, 4);
    for (uint32_t i = 0; i < n; i++) {
        m->logits[i] = (float)normal(random) * 4.0f;
        if (kind == 1) m->logits[i] = (float)below(random, 5); // many ties
        if (kind == 2) m->logits[i] = (float)i * 0.01f;        // rising: every one is a new best
        if (kind == 3) m->logits[i] -= 40.0f;                  // all negative
    }
    for (size_t i = 0; i < MAX_HISTORY; i++)
        m->history[i] = (int32_t)below(random, n < 20 ? n + 2 : 20) - 1; // also ids outside
    o->logit_bias = m->bias;
    o->n_logit_bias = 0;
    const uint32_t stride = 1 + below(random, 7);
    for (uint32_t id = below(random, 3); id < n && o->n_logit_bias < MAX_BIAS; id += stride)
        m->bias[o->n_logit_bias++] = (ink_logit_bias){
            (int32_t)id, below(random, 3) == 0 ? -INFINITY : (float)normal(random) * 3.0f};
    if (below(random, 2) == 0) o->n_logit_bias = 0;
    return n;
}

static void chains_agree_with_the_reference(void **state) {
    (void)state;
    const int rounds = getenv("INKLING_TEST_LONG") != NULL ? 200000 : 4000;
    if (rounds == 4000) printf("left out: 196000 more random chains (INKLING_TEST_LONG)\n");
    room *m = malloc(sizeof *m);
    assert_non_null(m);
    uint64_t random = 11;
    for (int i = 0; i < rounds; i++) {
        ink_sampler_options o;
        char text[128];
        random_options(&o, &random);
        const uint32_t n = furnish(m, &o, &random);
        random_chain(text, sizeof text, &random);
        inki_chain *chain = new_chain(i % 4 == 0 ? NULL : text, &o, n);
        const inki_draw draw = {.logits = m->logits,
                                .n_vocab = n,
                                .history = m->history,
                                .n_history = below(&random, MAX_HISTORY + 1),
                                .banned = (int32_t)below(&random, n + 1) - 1,
                                .scratch = m->scratch};
        ref_state r = {m->ref, 0};
        expect_like_reference(chain, &draw, &r);
        inki_chain_free(chain);
    }
    free(m);
}

static void a_large_vocabulary_agrees_too(void **state) {
    (void)state;
    enum { N = 50257 };
    float *logits = malloc(N * sizeof *logits);
    inki_candidate *scratch = malloc(N * sizeof *scratch);
    ref_token *ref = malloc(N * sizeof *ref);
    assert_true(logits != NULL && scratch != NULL && ref != NULL);
    uint64_t random = 12;
    int32_t history[64];
    for (int i = 0; i < N; i++) logits[i] = (float)normal(&random) * 3.0f;
    for (int i = 0; i < 64; i++) history[i] = (int32_t)below(&random, N);
    static const char *const texts[] = {NULL,
                                        "penalties=1.2,64,0.1,0.2;top_k=100;temp=0.7",
                                        "top_p=0.5",
                                        "temp=0.5;top_p=0.8",
                                        "min_p=0.02;temp=1.5",
                                        "top_p=0.9;penalties=1.5;min_p=0.001",
                                        "greedy"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        inki_chain *chain = new_chain(texts[i], NULL, N);
        const inki_draw draw = {.logits = logits,
                                .n_vocab = N,
                                .history = history,
                                .n_history = 64,
                                .banned = 50256,
                                .scratch = scratch};
        ref_state r = {ref, 0};
        expect_like_reference(chain, &draw, &r);
        inki_chain_free(chain);
    }
    free(logits);
    free(scratch);
    free(ref);
}

static int32_t draw_one(const inki_chain *chain, const float *logits, uint32_t n, int32_t banned,
                        uint64_t position) {
    inki_candidate scratch[512];
    memset(scratch, 0xa5, sizeof scratch); // what is in there must not matter
    const inki_draw draw = {.logits = logits,
                            .n_vocab = n,
                            .stream = 3,
                            .position = position,
                            .banned = banned,
                            .scratch = scratch};
    int32_t id = -1;
    ink_error error = {0};
    if (inki_chain_draw(chain, &draw, &id, &error) != INK_OK) fail_msg("%s", error.message);
    return id;
}

static void greedy_takes_the_first_of_the_highest(void **state) {
    (void)state;
    static const char *const texts[] = {"greedy",  "temp=0",          "top_k=1",
                                        "top_p=0", "min_p=1;top_k=1", "logit_bias=0:0;greedy"};
    uint64_t random = 13;
    float logits[70];
    for (uint32_t n = 2; n <= 70; n++)
        for (int round = 0; round < 20; round++) {
            for (uint32_t i = 0; i < n; i++)
                logits[i] = round % 2 ? (float)below(&random, 4) - 5.0f : (float)normal(&random);
            const int32_t banned = round % 4 < 2 ? -1 : (int32_t)below(&random, n);
            int32_t best = -1;
            for (uint32_t i = 0; i < n; i++)
                if ((int32_t)i != banned && (best < 0 || logits[i] > logits[best]))
                    best = (int32_t)i;
            for (size_t t = 0; t < sizeof texts / sizeof *texts; t++) {
                inki_chain *chain = new_chain(texts[t], NULL, n);
                assert_int_equal(draw_one(chain, logits, n, banned, (uint64_t)round), best);
                inki_chain_free(chain);
            }
        }
}

static void extreme_temperatures_stay_in_range(void **state) {
    (void)state;
    const float logits[] = {1.0f, 30000.0f, 29999.0f, -3e38f, FLT_MAX, 3.4028232e38f};
    static const char *const cold[] = {"temp=1e-45", "temp=1e-40", "temp=1e-10",
                                       "temp=1e-30;penalties", "penalties=1e-44;temp=1e-44"};
    for (size_t t = 0; t < sizeof cold / sizeof *cold; t++)
        for (uint64_t i = 0; i < 50; i++) {
            inki_chain *six = new_chain(cold[t], NULL, 6), *four = new_chain(cold[t], NULL, 4);
            assert_int_equal(draw_one(six, logits, 6, -1, i), 4);
            assert_int_equal(draw_one(four, logits, 4, -1, i), 1);
            inki_chain_free(six);
            inki_chain_free(four);
        }
}

static void hot_is_uniform(void **state) {
    (void)state;
    const float logits[] = {10.0f, -10.0f, 3.0f, 0.0f};
    inki_chain *chain = new_chain("temp=3e38", NULL, 4);
    int counts[4] = {0};
    for (uint64_t i = 0; i < 4000; i++) counts[draw_one(chain, logits, 4, -1, i)]++;
    for (int i = 0; i < 4; i++) assert_in_range(counts[i], 850, 1150);
    inki_chain_free(chain);
}

// Draws follow the probabilities: chi-square with fixed seeds, 1 in 1000 at most.
static void draws_follow_the_distribution(void **state) {
    (void)state;
    enum { N = 24, DRAWS = 40000 };
    float logits[N];
    uint64_t random = 14;
    for (int i = 0; i < N; i++) logits[i] = (float)normal(&random) * 1.2f;
    static const char *const texts[] = {"temp=1", "top_k=10;temp=1.3", "top_p=0.9;temp=0.9",
                                        "min_p=0.1;temp=2"};
    for (size_t t = 0; t < sizeof texts / sizeof *texts; t++)
        for (uint64_t seed = 0; seed < 3; seed++) {
            ink_sampler_options o;
            inki_sampler_defaults(&o);
            o.seed = seed;
            inki_chain *chain = new_chain(texts[t], &o, N);
            inki_candidate scratch[N];
            ref_token tokens[N];
            ref_state r = {tokens, 0};
            const inki_draw draw = {
                .logits = logits, .n_vocab = N, .banned = -1, .scratch = scratch};
            ref_filter(&r, chain, &draw);
            int counts[N] = {0};
            for (uint64_t i = 0; i < DRAWS; i++) counts[draw_one(chain, logits, N, -1, i)]++;
            double chi = 0;
            int seen = 0;
            for (uint32_t i = 0; i < r.n; i++) {
                const double expected = (double)r.t[i].p * DRAWS;
                chi += pow(counts[r.t[i].id] - expected, 2) / expected;
                seen += counts[r.t[i].id];
            }
            assert_int_equal(seen, DRAWS); // nothing outside of what was kept
            const double freedom = r.n - 1;
            if (chi > freedom + 3.5 * sqrt(2 * freedom) + 4)
                fail_msg("%s: chi-square %g of %g", texts[t], chi, freedom);
            inki_chain_free(chain);
        }
}

static void a_draw_depends_on_its_numbers_alone(void **state) {
    (void)state;
    enum { N = 300 };
    float logits[N];
    uint64_t random = 15;
    for (int i = 0; i < N; i++) logits[i] = (float)normal(&random);
    ink_sampler_options o;
    inki_sampler_defaults(&o);
    o.seed = 42;
    inki_chain *a = new_chain(NULL, &o, N), *b = new_chain(NULL, &o, N);
    o.seed = 43;
    inki_chain *c = new_chain(NULL, &o, N);
    int32_t first[200];
    int differ_by_seed = 0, differ_by_position = 0;
    for (uint64_t i = 0; i < 200; i++) first[i] = draw_one(a, logits, N, -1, i);
    for (uint64_t i = 200; i-- > 0;) { // backwards, from another chain of the same seed
        assert_int_equal(draw_one(b, logits, N, -1, i), first[i]);
        differ_by_seed += draw_one(c, logits, N, -1, i) != first[i];
        differ_by_position += i > 0 && first[i] != first[i - 1];
    }
    assert_true(differ_by_seed > 150);
    assert_true(differ_by_position > 150);
    inki_chain_free(a);
    inki_chain_free(b);
    inki_chain_free(c);
}

static void when_nothing_is_left_it_says_so(void **state) {
    (void)state;
    static const char *const texts[] = {
        "logit_bias=0:-inf,1:-inf",
        "logit_bias=0:-inf,1:-inf;penalties=1.1;top_k=1;top_p=0.5;temp",
        "logit_bias=1:-inf,0:-inf;min_p=0.5;greedy",
        "top_k=2;logit_bias=0:-inf,1:-inf;top_p=0.5",
        "logit_bias=0:-inf,1:-inf;top_k=2;temp=0",
        "logit_bias=0:-inf,1:-inf;min_p=0.1;top_p=0",
        "greedy;logit_bias=1:-inf"}; // a ban behind the choice
    const float logits[3] = {1.0f, 2.0f, 3.0f};
    inki_candidate scratch[3];
    const inki_draw draw = {.logits = logits, .n_vocab = 3, .banned = 2, .scratch = scratch};
    for (size_t t = 0; t < sizeof texts / sizeof *texts; t++) {
        inki_chain *chain = new_chain(texts[t], NULL, 3);
        int32_t id = 77;
        ink_error error = {0};
        assert_int_equal(inki_chain_draw(chain, &draw, &id, &error), INK_E_NUMERIC);
        assert_int_equal(error.status, INK_E_NUMERIC);
        assert_int_equal(id, 77);
        inki_chain_free(chain);
    }
    inki_chain *chain = new_chain("greedy", NULL, 1);
    const inki_draw only = {.logits = logits, .n_vocab = 1, .banned = 0, .scratch = scratch};
    int32_t id = 77;
    assert_int_equal(inki_chain_draw(chain, &only, &id, NULL), INK_E_NUMERIC);
    assert_int_equal(inki_chain_draw(chain, &draw, &id, NULL), INK_E_ARG); // not its vocabulary
    assert_int_equal(id, 77);
    inki_chain_free(chain);
}

// The caller promises finite logits; where that fails, the answer is an id or an error, never more.
static void broken_logits_do_no_harm(void **state) {
    (void)state;
    static const float bad[] = {NAN, INFINITY, -INFINITY, FLT_MAX, -FLT_MAX, 0.0f};
    static const char *const texts[] = {NULL,
                                        "greedy",
                                        "temp",
                                        "top_p;temp",
                                        "min_p",
                                        "top_k=3",
                                        "penalties=1.3,9,1,1;top_p=0.5;penalties"};
    uint64_t random = 16;
    for (int round = 0; round < 2000; round++) {
        const uint32_t n = 1 + below(&random, 50);
        float logits[50];
        int32_t history[9], id = -7;
        inki_candidate scratch[50];
        for (uint32_t i = 0; i < n; i++)
            logits[i] = below(&random, 3) != 0 ? bad[below(&random, 6)] : (float)normal(&random);
        for (int i = 0; i < 9; i++) history[i] = (int32_t)next_random(&random);
        const size_t n_texts = sizeof texts / sizeof *texts - 1; // the last one repeats a name
        inki_chain *chain = new_chain(texts[below(&random, (uint32_t)n_texts)], NULL, n);
        const inki_draw draw = {.logits = logits,
                                .n_vocab = n,
                                .history = history,
                                .n_history = 9,
                                .position = (uint64_t)round,
                                .banned = -1,
                                .scratch = scratch};
        const ink_status status = inki_chain_draw(chain, &draw, &id, NULL);
        if (status == INK_OK)
            assert_in_range(id, 0, n - 1);
        else
            assert_int_equal(id, -7);
        inki_chain_free(chain);
    }
}

static void a_draw_allocates_nothing_and_stays_inside(void **state) {
    (void)state;
    // Logits, history and scratch end where their memory ends: the sanitizers see any step over it.
    for (uint32_t n = 1; n <= 40; n++) {
        float *logits = malloc(n * sizeof *logits), *before = malloc(n * sizeof *before);
        int32_t *history = malloc(n * sizeof *history);
        inki_candidate *scratch = malloc(n * sizeof *scratch);
        assert_true(logits != NULL && before != NULL && history != NULL && scratch != NULL);
        for (uint32_t i = 0; i < n; i++) {
            logits[i] = (float)(i * 7 % 11);
            history[i] = (int32_t)i;
        }
        memcpy(before, logits, n * sizeof *logits);
        inki_chain *chain = new_chain("penalties=1.1,64,1,1;top_k=9;top_p=0.9;min_p;temp", NULL, n);
        const inki_mem kept = chain->mem;
        chain->mem = (inki_mem){0}; // any allocation would jump to NULL
        for (uint64_t i = 0; i < 5; i++) {
            const inki_draw draw = {.logits = logits,
                                    .n_vocab = n,
                                    .history = history,
                                    .n_history = n,
                                    .position = i,
                                    .banned = n > 1 ? 0 : -1,
                                    .scratch = scratch};
            int32_t id = -1;
            assert_int_equal(inki_chain_draw(chain, &draw, &id, NULL), INK_OK);
            assert_in_range(id, n > 1, n - 1);
        }
        chain->mem = kept;
        assert_memory_equal(logits, before, n * sizeof *logits);
        inki_chain_free(chain);
        free(logits);
        free(before);
        free(history);
        free(scratch);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chains_agree_with_the_reference),
        cmocka_unit_test(a_large_vocabulary_agrees_too),
        cmocka_unit_test(greedy_takes_the_first_of_the_highest),
        cmocka_unit_test(extreme_temperatures_stay_in_range),
        cmocka_unit_test(hot_is_uniform),
        cmocka_unit_test(draws_follow_the_distribution),
        cmocka_unit_test(a_draw_depends_on_its_numbers_alone),
        cmocka_unit_test(when_nothing_is_left_it_says_so),
        cmocka_unit_test(broken_logits_do_no_harm),
        cmocka_unit_test(a_draw_allocates_nothing_and_stays_inside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
