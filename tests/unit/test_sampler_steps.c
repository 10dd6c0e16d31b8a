// SPDX-License-Identifier: MIT
// Samplers that look at the past or at the whole distribution, by other ways than the oracle's
// cases: exhaustive references over long pasts, sampled distributions, properties of any chain.
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

enum { MAX_VOCAB = 1500, MAX_PAST = 4000 };
static float logits[MAX_VOCAB];
static int32_t past[MAX_PAST];
static inki_candidate scratch[MAX_VOCAB];

static inki_draw plain_draw(uint32_t n, size_t n_past) {
    return (inki_draw){.logits = logits,
                       .n_vocab = n,
                       .history = past,
                       .n_history = n_past,
                       .banned = -1,
                       .scratch = scratch};
}

// --- the past ------------------------------------------------------------------------------------

// How many tokens before place i are those at the end, at most `most`.
static size_t echo_at(size_t n, size_t i, size_t most) {
    size_t length = 0;
    while (length < most && length < i && past[i - 1 - length] == past[n - 1 - length]) length++;
    return length;
}

static void random_past(size_t n, uint64_t *random) {
    const uint32_t different = 1 + below(random, 4);
    for (size_t i = 0; i < n; i++) past[i] = (int32_t)below(random, different);
    if (below(random, 3) == 0) // a period
        for (size_t i = 7; i < n; i++) past[i] = past[i - 7];
    if (n > 0 && below(random, 4) == 0) past[below(random, (uint32_t)n)] = 40; // no token
    if (n > 0 && below(random, 4) == 0) past[below(random, (uint32_t)n)] = -3;
}

static void dry_counts_every_repetition(void **state) {
    (void)state;
    enum { N = 8 };
    uint64_t random = 31;
    for (int round = 0; round < 600; round++) {
        const size_t n_all = below(&random, round % 20 == 0 ? MAX_PAST : 60);
        random_past(n_all, &random);
        ink_sampler_options o;
        inki_sampler_defaults(&o);
        o.dry_multiplier = 0.5f;
        o.dry_base = round % 3 == 0 ? 1.75f : 1.001f;
        o.dry_allowed_length = below(&random, 5);
        o.dry_last_n = below(&random, 2) == 0 ? UINT32_MAX : below(&random, 50);
        const size_t n = n_all < o.dry_last_n ? n_all : o.dry_last_n;
        for (int i = 0; i < N; i++) logits[i] = (float)normal(&random);
        double expected[N];
        for (int id = 0; id < N; id++) {
            long longest = -1;
            for (size_t i = n_all - n + 1; i < n_all && n > o.dry_allowed_length; i++) {
                size_t length = echo_at(n_all, i, INKI_CHAIN_ECHO_MAX);
                if (length > i - (n_all - n)) length = i - (n_all - n); // none before the window
                if (past[i] == id && (long)length > longest) longest = (long)length;
            }
            const long over = longest - (long)o.dry_allowed_length;
            expected[id] = (double)logits[id];
            if (over >= 0) expected[id] -= 0.5 * pow((double)o.dry_base, (double)over);
            if (expected[id] < -(double)FLT_MAX) expected[id] = -(double)FLT_MAX;
        }
        inki_chain *chain = new_chain("dry", &o, N);
        const inki_draw draw = plain_draw(N, n_all);
        assert_int_equal(inki_chain_filter(chain, &draw), N);
        for (int id = 0; id < N; id++) {
            assert_int_equal(scratch[id].id, id);
            const double found = (double)scratch[id].logit;
            if (!(fabs(found - expected[id]) <= 1e-6 * fmax(1, fabs(expected[id]))))
                fail_msg("round %d: token %d has %g, expected %g", round, id, found, expected[id]);
        }
        inki_chain_free(chain);
    }
}

static void no_ngram_comes_twice(void **state) {
    (void)state;
    enum { N = 8 };
    uint64_t random = 32;
    int n_banned = 0;
    for (int round = 0; round < 1500; round++) {
        const size_t n_past = below(&random, round % 20 == 0 ? MAX_PAST : 40);
        const size_t size = 1 + below(&random, round % 10 == 0 ? 1024 : 6);
        random_past(n_past, &random);
        for (int i = 0; i < N; i++) logits[i] = (float)normal(&random);
        char text[64];
        snprintf(text, sizeof text, "no_repeat_ngram=%zu", size);
        inki_chain *chain = new_chain(text, NULL, N);
        const inki_draw draw = plain_draw(N, n_past);
        const uint32_t n = inki_chain_filter(chain, &draw);
        uint32_t at = 0;
        for (int32_t id = 0; id < N; id++) {
            bool twice = false; // with `id` behind it, the last n-gram would be an earlier one
            for (size_t i = size - 1; i < n_past; i++)
                twice = twice || (past[i] == id && echo_at(n_past, i, size - 1) == size - 1);
            n_banned += twice;
            if (twice) continue;
            assert_true(at < n);
            assert_int_equal(scratch[at].id, id);
            assert_true(scratch[at++].logit == logits[id]);
        }
        assert_int_equal(at, n);
        inki_chain_free(chain);
    }
    assert_true(n_banned > 500);
}

static inki_str letters(const void *arg, int32_t id) {
    const char *const *pieces = arg;
    return (inki_str){pieces[id], strlen(pieces[id])};
}

// The end of the text, " two three.", stood there before, four tokens with "one" behind them. Each
// breaker leaves less of that repetition, but those that stand nowhere in it.
static void breakers_end_a_repetition(void **state) {
    (void)state;
    static const char *const pieces[] = {"one", " two", " thr", "ee", ".", " x"};
    static const struct {
        const char *breakers;
        int length; // of the repetition that is left; -1: none
    } cases[] = {{"none", 4},       {"\".\"", 0},          {"\"three\"", 1},  {"\"thr\"", 2},
                 {"\"eth\"", 4},    {"\"o thr\"", 2},      {"\"one\"", 4},    {"\"e.\"", 0},
                 {"\"three.\"", 0}, {"\"two three\"", 1},  {"\"q\"", 4},      {"\"x\",\"thr\"", 2},
                 {"\"hree\"", 1},   {"\"two\",\"ee\"", 1}, {"\"e.o\"", 4},    {"\"xone\"", 4},
                 {"\" \"", 2},      {"\"..\"", 4},         {"\"three.o\"", 4}};
    static const int32_t text[] = {5, 1, 2, 3, 4, 0, 5, 0, 1, 2, 3, 4};
    const inki_token_texts texts = {letters, pieces};
    memcpy(past, text, sizeof text);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char chain_text[128];
        snprintf(chain_text, sizeof chain_text, "dry=1,2,0,4294967295,%s", cases[i].breakers);
        inki_chain *chain = new_chain(chain_text, NULL, 6);
        for (int k = 0; k < 6; k++) logits[k] = 0;
        inki_draw draw = plain_draw(6, 12);
        draw.texts = &texts;
        assert_int_equal(inki_chain_filter(chain, &draw), 6);
        const float expected =
            strstr(cases[i].breakers, "\"one\"") != NULL ? 0.0f : -(float)(1 << cases[i].length);
        if (scratch[0].logit != expected)
            fail_msg("%s: %g, expected %g", chain_text, (double)scratch[0].logit, (double)expected);
        draw.texts = NULL; // then none is known
        assert_int_equal(inki_chain_filter(chain, &draw), 6);
        assert_true(scratch[0].logit == -16.0f);
        inki_chain_free(chain);
    }
}

// --- the distribution ----------------------------------------------------------------------------

typedef struct ref_token {
    long double p, key;
    int32_t id;
} ref_token;
static int by_key(const void *a, const void *b) {
    const ref_token *x = a, *y = b;
    return x->key < y->key ? -1 : x->key > y->key;
}

static void typical_is_the_exhaustive_set(void **state) {
    (void)state;
    static ref_token ref[MAX_VOCAB];
    uint64_t random = 33;
    int n_without_best = 0;
    for (int round = 0; round < 3000; round++) {
        const uint32_t n = 1 + below(&random, round % 10 == 0 ? MAX_VOCAB : 80);
        const double spread = exp(3 * unit(&random) - 1.5), p = unit(&random);
        for (uint32_t i = 0; i < n; i++) logits[i] = (float)spread * (float)normal(&random);
        if (round % 3 == 0) logits[below(&random, n)] += (float)(10 * unit(&random));
        ink_sampler_options o;
        inki_sampler_defaults(&o);
        o.typical_p = (float)p;
        o.top_k = n > 1 ? n - 1 : 1;
        const bool sorted = round % 4 == 3;
        inki_chain *chain = new_chain(sorted ? "top_k;typical" : "typical", &o, n);
        const inki_draw draw = plain_draw(n, 0);
        const uint32_t kept = inki_chain_filter(chain, &draw);
        inki_chain_free(chain);
        uint32_t worst = 0, m = 0;
        for (uint32_t i = 0; i < n; i++)
            if (logits[i] <= logits[worst]) worst = i;
        for (uint32_t i = 0; i < n; i++)
            if (!sorted || n == 1 || i != worst)
                ref[m++] = (ref_token){expl((long double)logits[i]), 0, (int32_t)i};
        long double total = 0, entropy = 0, sum = 0;
        for (uint32_t i = 0; i < m; i++) total += ref[i].p;
        for (uint32_t i = 0; i < m; i++) {
            ref[i].p /= total;
            entropy -= ref[i].p * logl(ref[i].p);
        }
        int32_t best = ref[0].id;
        for (uint32_t i = 0; i < m; i++) {
            ref[i].key = fabsl(-logl(ref[i].p) - entropy);
            if (logits[ref[i].id] > logits[best]) best = ref[i].id;
        }
        qsort(ref, m, sizeof *ref, by_key);
        uint32_t expected = 0;
        do sum += ref[expected++].p;
        while (expected < m && sum < (long double)o.typical_p);
        if (kept != expected) fail_msg("round %d: %u kept, expected %u", round, kept, expected);
        bool has_best = false;
        for (uint32_t i = 0; i < kept; i++) {
            uint32_t k = 0;
            while (k < expected && ref[k].id != scratch[i].id) k++;
            assert_true(k < expected);
            has_best = has_best || scratch[i].id == best;
        }
        n_without_best += !has_best;
    }
    assert_true(n_without_best > 100);
}

// Draws follow what is kept: chi-square with fixed seeds, 1 in 1000 at most.
static void draws_follow_the_distribution(void **state) {
    (void)state;
    enum { N = 24, DRAWS = 40000 };
    static const char *const texts[] = {
        "typical=0.8",
        "top_n_sigma=2;temp=1.2",
        "temp=0.9,0.6,1.5",
        "xtc=1,0.08;temp=1",
        "dry=0.8;no_repeat_ngram=3;temp=1",
        "temp=1.1;mirostat=3",
        "no_repeat_ngram=2;penalties=1.2;dry=0.5;typical=0.95;temp"};
    uint64_t random = 34;
    for (size_t t = 0; t < sizeof texts / sizeof *texts; t++) {
        for (int i = 0; i < N; i++) logits[i] = 1.2f * (float)normal(&random);
        for (int i = 0; i < 40; i++) past[i] = (int32_t)below(&random, 3);
        inki_chain *chain = new_chain(texts[t], NULL, N);
        inki_draw draw = plain_draw(N, 40);
        draw.mu = 4;
        const uint32_t n = inki_chain_filter(chain, &draw);
        double p[N] = {0}, total = 0, chi = 0;
        int counts[N] = {0};
        for (uint32_t i = 0; i < n; i++) total += exp((double)scratch[i].logit);
        for (uint32_t i = 0; i < n; i++) p[scratch[i].id] = exp((double)scratch[i].logit) / total;
        if (n <= 3) fail_msg("%s keeps only %u", texts[t], n);
        for (uint64_t i = 0; i < DRAWS; i++) {
            int32_t id = -1;
            draw.position = i;
            assert_int_equal(inki_chain_draw(chain, &draw, &id, NULL), INK_OK);
            assert_true(p[id] > 0);
            counts[id]++;
        }
        for (int i = 0; i < N; i++)
            if (p[i] > 0) chi += pow(counts[i] - p[i] * DRAWS, 2) / (p[i] * DRAWS);
        const double freedom = n - 1;
        if (chi > freedom + 3.5 * sqrt(2 * freedom) + 4)
            fail_msg("%s: chi-square %g of %g", texts[t], chi, freedom);
        inki_chain_free(chain);
    }
}

// How often it acts, and that this says nothing about the choice that follows.
static void xtc_has_a_random_number_of_its_own(void **state) {
    (void)state;
    enum { N = 4, DRAWS = 40000 };
    const double p[N] = {0.4, 0.3, 0.2, 0.1}, without[N] = {0, 0, 2.0 / 3, 1.0 / 3};
    inki_chain *chain = new_chain("xtc=0.3,0.15", NULL, N);
    int counts[N] = {0};
    double chi = 0;
    for (int i = 0; i < N; i++) logits[i] = (float)log(p[i]);
    for (uint64_t i = 0; i < DRAWS; i++) {
        inki_draw draw = plain_draw(N, 0);
        draw.position = i;
        int32_t id = -1;
        assert_int_equal(inki_chain_draw(chain, &draw, &id, NULL), INK_OK);
        counts[id]++;
    }
    for (int i = 0; i < N; i++) {
        const double expected = DRAWS * (0.3 * without[i] + 0.7 * p[i]);
        chi += pow(counts[i] - expected, 2) / expected;
    }
    if (chi > 16.3) fail_msg("chi-square %g of 3", chi);
    inki_chain_free(chain);
}

static void mirostat_steers_the_surprise(void **state) {
    (void)state;
    enum { N = 1000, DRAWS = 4000 };
    uint64_t random = 35;
    inki_chain *chain = new_chain("mirostat=4,0.1", NULL, N);
    double mu = 0, sum = 0;
    assert_true(inki_chain_has_mu(chain, &mu));
    assert_true(mu == 8.0);
    for (uint64_t i = 0; i < DRAWS; i++) {
        for (int k = 0; k < N; k++) logits[k] = 2 * (float)normal(&random);
        double next = -1, total = 0;
        inki_draw draw = plain_draw(N, 0);
        draw.position = i;
        draw.mu = mu;
        draw.mu_next = &next;
        const uint32_t n = inki_chain_filter(chain, &draw);
        assert_true(n > 0);
        for (uint32_t k = 0; k < n; k++) total += exp((double)scratch[k].logit);
        int32_t id = -1;
        assert_int_equal(inki_chain_draw(chain, &draw, &id, NULL), INK_OK);
        const double surprise = -log2(exp((double)logits[id]) / total);
        assert_true(fabs(next - (mu - 0.1f * (surprise - 4))) < 1e-7);
        sum += surprise;
        mu = next;
    }
    if (fabs(sum / DRAWS - 4) > 0.15) fail_msg("surprise %g, wanted 4", sum / DRAWS);
    inki_chain_free(chain);
    chain = new_chain("temp", NULL, N);
    assert_false(inki_chain_has_mu(chain, &mu));
    inki_chain_free(chain);
    // Any mu that a caller could come with leaves something.
    chain = new_chain("mirostat=0,1e38", NULL, N);
    const double strange[] = {NAN, INFINITY, -INFINITY, 1e308, -1e308, 0};
    for (size_t i = 0; i < sizeof strange / sizeof *strange; i++) {
        inki_draw draw = plain_draw(N, 0);
        double next = 0;
        int32_t id = -1;
        draw.mu = strange[i];
        draw.mu_next = &next;
        assert_int_equal(inki_chain_draw(chain, &draw, &id, NULL), INK_OK);
        assert_in_range(id, 0, N - 1);
    }
    inki_chain_free(chain);
}

static void the_temperature_goes_with_the_entropy(void **state) {
    (void)state;
    enum { N = 64 };
    uint64_t random = 36;
    for (int round = 0; round < 300; round++) {
        const float t = (float)unit(&random), range = (float)(0.01 + unit(&random));
        const float exponent = round % 4 == 0 ? 0.0f : (float)(3 * unit(&random));
        const double spread = 4 * unit(&random);
        for (int i = 0; i < N; i++) logits[i] = (float)spread * (float)normal(&random);
        double total = 0, entropy = 0;
        for (int i = 0; i < N; i++) total += exp((double)logits[i]);
        for (int i = 0; i < N; i++) {
            const double p = exp((double)logits[i]) / total;
            entropy -= p * log(p);
        }
        const double low = fmax(0, (double)t - (double)range), high = (double)t + (double)range;
        const double expected =
            low + (high - low) * pow(fmin(1, entropy / log(N)), (double)exponent);
        ink_sampler_options o;
        inki_sampler_defaults(&o);
        o.temperature = t;
        o.dynatemp_range = range;
        o.dynatemp_exponent = exponent;
        inki_chain *chain = new_chain("temp", &o, N);
        const inki_draw draw = plain_draw(N, 0);
        assert_int_equal(inki_chain_filter(chain, &draw), N);
        for (int i = 0; i < N; i++) {
            const double found = (double)logits[i] / expected;
            assert_true(fabs((double)scratch[i].logit - found) <= 1e-5 * fmax(1, fabs(found)));
        }
        inki_chain_free(chain);
    }
}

// --- any chain -----------------------------------------------------------------------------------

static const char *const all_steps[] = {"logit_bias",  "penalties", "top_k",  "top_p",
                                        "min_p",       "temp",      "greedy", "typical",
                                        "top_n_sigma", "xtc",       "dry",    "no_repeat_ngram"};
enum { N_ALL = sizeof all_steps / sizeof *all_steps };

static void random_options(ink_sampler_options *o, uint64_t *random) {
    const float any[] = {0, 1, 0.5f, FLT_MAX, FLT_TRUE_MIN, 1e-20f, 1e20f, (float)unit(random)};
#define ANY   any[below(random, 8)]
#define UNIT  (below(random, 3) ? (float)unit(random) : any[below(random, 3)])
#define COUNT (below(random, 4) ? below(random, 50) : below(random, 2) ? UINT32_MAX : 0)
    inki_sampler_defaults(o);
    o->temperature = ANY;
    o->dynatemp_range = ANY;
    o->dynatemp_exponent = ANY;
    o->top_k = COUNT;
    o->top_p = UNIT;
    o->min_p = UNIT;
    o->typical_p = UNIT;
    o->top_n_sigma = ANY;
    o->xtc_probability = UNIT;
    o->xtc_threshold = UNIT;
    o->dry_multiplier = ANY;
    o->dry_base = ANY;
    o->dry_allowed_length = below(random, 5);
    o->dry_last_n = COUNT;
    o->repeat_penalty = fmaxf(FLT_TRUE_MIN, ANY);
    o->presence_penalty = below(random, 2) ? ANY : -ANY;
    o->frequency_penalty = below(random, 2) ? ANY : -ANY;
    o->penalty_last_n = COUNT;
    o->no_repeat_ngram = below(random, 6);
    o->mirostat_tau = ANY;
    o->mirostat_eta = ANY;
    o->seed = next_random(random);
#undef ANY
#undef UNIT
#undef COUNT
}

static void random_chain(char *text, uint64_t *random, bool may_ban) {
    uint32_t unused = (1u << N_ALL) - 1;
    text[0] = 0;
    for (uint32_t n = below(random, N_ALL) + 1; n > 0; n--) {
        uint32_t k = below(random, N_ALL);
        while (!(unused >> k & 1)) k = (k + 1) % N_ALL;
        unused &= ~(1u << k);
        if (k == 6 && below(random, 3) != 0) continue; // greedy would hide much
        if (!may_ban && k == N_ALL - 1) continue;
        if (text[0] != 0) strcat(text, ";");
        strcat(text, all_steps[k]);
    }
    if (text[0] == 0 || below(random, 3) == 0)
        strcat(text, text[0] == 0 ? "mirostat" : ";mirostat");
}

static void random_logits(uint32_t n, uint64_t *random, bool broken) {
    static const float odd[] = {FLT_MAX,      -FLT_MAX,  0,   -0.0f,
                                FLT_TRUE_MIN, -INFINITY, NAN, INFINITY};
    const uint32_t kind = below(random, 6);
    for (uint32_t i = 0; i < n; i++) {
        logits[i] = 3 * (float)normal(random);
        if (kind == 0) logits[i] = 2; // all alike
        if (kind == 1) logits[i] = (float)below(random, 3);
        if (kind == 2) logits[i] *= 1e37f;
        if (kind == 3 && below(random, 3) == 0) logits[i] = odd[below(random, broken ? 8 : 5)];
    }
}

static void something_is_always_left(void **state) {
    (void)state;
    const int rounds = getenv("INKLING_TEST_LONG") != NULL ? 1000000 : 30000;
    if (rounds == 30000) printf("left out: 970000 more random chains (INKLING_TEST_LONG)\n");
    static const char *const pieces[] = {"a", "\n", " b", ":"};
    const inki_token_texts texts = {letters, pieces};
    static const uint32_t sizes[] = {1, 1, 2, 3, 16, 31, 64, 200};
    uint64_t random = 37;
    for (int round = 0; round < rounds; round++) {
        const uint32_t n = sizes[below(&random, 8)];
        ink_sampler_options o;
        char text[256];
        random_options(&o, &random);
        random_logits(n, &random, round % 4 == 0);
        random_chain(text, &random, round % 4 == 0);
        for (int i = 0; i < 60; i++) past[i] = (int32_t)below(&random, n < 4 ? n : 4);
        inki_chain *chain = new_chain(text, &o, n);
        inki_draw draw = plain_draw(n, below(&random, 60));
        draw.texts = &texts;
        draw.position = (uint64_t)round;
        draw.mu = 10 * unit(&random);
        const uint32_t kept = inki_chain_filter(chain, &draw);
        for (uint32_t i = 0; i < kept && round % 4 != 0; i++)
            if (!isfinite(scratch[i].logit))
                fail_msg("round %d, %s: token %d has %g", round, text, scratch[i].id,
                         (double)scratch[i].logit);
        int32_t id = -1;
        const ink_status status = inki_chain_draw(chain, &draw, &id, NULL);
        if (round % 4 != 0 && (kept == 0 || status != INK_OK))
            fail_msg("round %d, %s: %u of %u, status %d", round, text, kept, n, status);
        if (status == INK_OK) assert_in_range(id, 0, n - 1);
        inki_chain_free(chain);
    }
}

// A set of allowed tokens and bans give what logits of -inf would give, to the bit.
static void a_set_is_a_set_of_bans(void **state) {
    (void)state;
    static const uint32_t sizes[] = {1, 5, 16, 63, 64, 65, 128, 200, 1000, 1500};
    static inki_candidate first[MAX_VOCAB];
    static uint64_t allowed[MAX_VOCAB / 64 + 1];
    static int32_t bans[MAX_VOCAB];
    uint64_t random = 38;
    for (int round = 0; round < 8000; round++) {
        const uint32_t n = sizes[below(&random, 10)];
        ink_sampler_options o;
        char text[256];
        random_options(&o, &random);
        random_logits(n, &random, false);
        random_chain(text, &random, true);
        if (round % 3 == 0) strcpy(text, "penalties;dry;top_k;typical;top_p;min_p;xtc;temp");
        for (int i = 0; i < 60; i++) past[i] = (int32_t)below(&random, n < 9 ? n : 9);
        inki_chain *chain = new_chain(text, &o, n);
        inki_draw draw = plain_draw(n, 60);
        draw.position = (uint64_t)round;
        draw.mu = 5;
        for (uint32_t i = 0; i <= n / 64; i++) {
            allowed[i] = next_random(&random);
            if (below(&random, 3) == 0) allowed[i] = ~(uint64_t)0; // bits beyond the vocabulary too
            if (below(&random, 3) == 0) allowed[i] = 0;
        }
        if (below(&random, 4) != 0) draw.allowed = allowed;
        draw.bans = bans;
        for (uint32_t i = below(&random, 9); i < n;
             i += 1 + below(&random, 1 + (uint32_t)round % 90))
            bans[draw.n_bans++] = (int32_t)i;
        draw.banned = (int32_t)below(&random, n + 1) - 1;
        const uint32_t kept = inki_chain_filter(chain, &draw);
        memcpy(first, scratch, kept * sizeof *first);
        for (uint32_t i = 0; i < n; i++)
            if ((int32_t)i == draw.banned || (draw.allowed && !(allowed[i / 64] >> i % 64 & 1)))
                logits[i] = -INFINITY;
        for (size_t i = 0; i < draw.n_bans; i++) logits[bans[i]] = -INFINITY;
        draw.allowed = NULL;
        draw.n_bans = 0;
        draw.banned = -1;
        assert_int_equal(inki_chain_filter(chain, &draw), kept);
        assert_memory_equal(first, scratch, kept * sizeof *first);
        for (uint32_t i = 0; i < kept; i++) assert_true(logits[first[i].id] > -INFINITY);
        inki_chain_free(chain);
    }
}

static void steps_that_are_off_change_nothing(void **state) {
    (void)state;
    enum { N = 100 };
    static const char *const pairs[][2] = {
        {NULL, "logit_bias;penalties;top_k;top_p;min_p;temp"},
        {"top_k=9;no_repeat_ngram=0;dry=0;top_n_sigma=0;typical=1;xtc=0,0.1", "top_k=9"},
        {"dry=2,0.9;xtc=1,0.6;top_p=0.5", "top_p=0.5"},
        {"dry=2,2,1,0;top_k=3", "top_k=3"},
        {"temp=0.7,0,9", "temp=0.7"}};
    uint64_t random = 39;
    inki_candidate other[N];
    for (int i = 0; i < N; i++) logits[i] = (float)normal(&random);
    for (int i = 0; i < 50; i++) past[i] = i % 2;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        inki_chain *a = new_chain(pairs[i][0], NULL, N), *b = new_chain(pairs[i][1], NULL, N);
        const inki_draw draw = plain_draw(N, 50);
        const uint32_t n = inki_chain_filter(a, &draw);
        memcpy(other, scratch, sizeof other);
        assert_int_equal(inki_chain_filter(b, &draw), n);
        assert_memory_equal(other, scratch, n * sizeof *other);
        inki_chain_free(a);
        inki_chain_free(b);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dry_counts_every_repetition),
        cmocka_unit_test(no_ngram_comes_twice),
        cmocka_unit_test(breakers_end_a_repetition),
        cmocka_unit_test(typical_is_the_exhaustive_set),
        cmocka_unit_test(draws_follow_the_distribution),
        cmocka_unit_test(xtc_has_a_random_number_of_its_own),
        cmocka_unit_test(mirostat_steers_the_surprise),
        cmocka_unit_test(the_temperature_goes_with_the_entropy),
        cmocka_unit_test(something_is_always_left),
        cmocka_unit_test(a_set_is_a_set_of_bans),
        cmocka_unit_test(steps_that_are_off_change_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
