// SPDX-License-Identifier: MIT
// Steps over whole vocabularies against a reference that sorts everything, in doubles and with the
// C library's exponential: what is kept, with which probability, and which candidate a random
// number falls on. Where a sum or a bound is met to less than a millionth, either answer is right.
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

enum { MAX_VOCAB = 4000, SEED = 11 };
static const double NEAR = 1e-6;

// --- the reference -------------------------------------------------------------------------------

typedef struct slow_token {
    double logit, p, key; // the least key is the first
    int32_t id;
} slow_token;

typedef struct slow_list {
    slow_token c[MAX_VOCAB];
    uint32_t n;
    bool by_rank;   // drawn from the best down
    bool ambiguous; // a millionth would change it
} slow_list;

static int by_key(const void *a, const void *b) {
    const slow_token *x = a, *y = b;
    if (x->key != y->key) return x->key < y->key ? -1 : 1;
    if (x->logit != y->logit) return x->logit > y->logit ? -1 : 1;
    return (x->id > y->id) - (x->id < y->id);
}
static int by_id(const void *a, const void *b) {
    const slow_token *x = a, *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

static double slow_best(const slow_list *l) {
    double best = -INFINITY;
    for (uint32_t i = 0; i < l->n; i++) best = fmax(best, l->c[i].logit);
    return best;
}

// Sets p; returns the expected surprise.
static double slow_softmax(slow_list *l) {
    const double best = slow_best(l);
    double total = 0, mean = 0;
    for (uint32_t i = 0; i < l->n; i++) total += l->c[i].p = exp(l->c[i].logit - best);
    for (uint32_t i = 0; i < l->n; i++) {
        l->c[i].p /= total;
        if (l->c[i].p > 0) mean += l->c[i].p * (l->c[i].logit - best);
    }
    return log(total) - mean;
}

// Keeps the first by key whose probabilities reach p.
static void slow_first(slow_list *l, double p) {
    double sum = 0;
    uint32_t n = 0;
    qsort(l->c, l->n, sizeof *l->c, by_key);
    while (n < l->n && (n == 0 || sum < p)) {
        if (n > 0 && fabs(sum - p) < NEAR) l->ambiguous = true;
        sum += l->c[n++].p;
    }
    if (fabs(sum - p) < NEAR && n < l->n) l->ambiguous = true;
    // Those that are nearly as near, for the keys of the library are rounded.
    for (uint32_t i = n; i < l->n && i < n + 8; i++)
        if (l->c[i].logit != l->c[n - 1].logit && l->c[i].key - l->c[n - 1].key < 4 * NEAR)
            l->ambiguous = true;
    for (uint32_t i = n; i-- > 0 && i + 8 > n;)
        if (n < l->n && l->c[i].logit != l->c[n].logit && l->c[n].key - l->c[i].key < 4 * NEAR)
            l->ambiguous = true;
    l->n = n;
    l->by_rank = true;
}

// Keeps those from `low` on, counted from the best one.
static void slow_within(slow_list *l, double low) {
    const double best = slow_best(l);
    uint32_t n = 0;
    for (uint32_t i = 0; i < l->n; i++) {
        const double off = l->c[i].logit - best;
        if (off != 0 && fabs(off - low) < NEAR * (1 + fabs(low))) l->ambiguous = true;
        if (off >= low) l->c[n++] = l->c[i];
    }
    l->n = n;
}

static double slow_sigma(const slow_list *l) {
    double mean = 0, square = 0;
    for (uint32_t i = 0; i < l->n; i++) mean += l->c[i].logit / l->n;
    for (uint32_t i = 0; i < l->n; i++)
        square += (l->c[i].logit - mean) * (l->c[i].logit - mean) / l->n;
    return sqrt(square);
}

static void slow_xtc(slow_list *l, double threshold) {
    const slow_token *last = NULL;
    uint32_t n = 0;
    for (uint32_t i = 0; i < l->n; i++) {
        l->c[i].key = -l->c[i].logit;
        if (fabs(l->c[i].p - threshold) < NEAR * threshold) l->ambiguous = true;
    }
    qsort(l->c, l->n, sizeof *l->c, by_key);
    for (uint32_t i = 0; i < l->n; i++)
        if (l->c[i].p >= threshold) last = &l->c[i];
    if (last != NULL) {
        const uint32_t gone = (uint32_t)(last - l->c);
        for (uint32_t i = gone; i < l->n; i++) l->c[n++] = l->c[i];
        l->n = n;
    }
    qsort(l->c, l->n, sizeof *l->c, by_id);
}

typedef enum slow_step {
    TOP_P,
    MIN_P,
    TYPICAL,
    SIGMA,
    XTC,
    TEMP,
    MIROSTAT,
    N_SLOW_STEPS
} slow_step;

static void slow_take(slow_list *l, slow_step step, double number, double mu) {
    const double best = slow_best(l), surprise = slow_softmax(l);
    double mean = 0;
    switch (step) {
    case TOP_P:
        for (uint32_t i = 0; i < l->n; i++) l->c[i].key = -l->c[i].logit;
        slow_first(l, number);
        break;
    case MIN_P: slow_within(l, log(number)); break;
    case TYPICAL:
        for (uint32_t i = 0; i < l->n; i++) mean += l->c[i].p * (l->c[i].logit - best);
        for (uint32_t i = 0; i < l->n; i++) l->c[i].key = fabs(l->c[i].logit - best - mean);
        slow_first(l, number);
        break;
    case SIGMA:
        if (l->n > 1) slow_within(l, -number * slow_sigma(l));
        break;
    case XTC: slow_xtc(l, number); break;
    case TEMP:
        for (uint32_t i = 0; i < l->n; i++) l->c[i].logit = (float)(l->c[i].logit / number);
        break;
    default: // surprise less the mean distance is ln(total)
        for (uint32_t i = 0; i < l->n; i++) mean += l->c[i].p * (l->c[i].logit - best);
        mean += surprise - mu * log(2); // from where on
        if (fabs(mean) < NEAR) l->ambiguous = true;
        slow_within(l, fmin(mean, 0));
        if (mean > 0) l->n = 1;
        break;
    }
    slow_softmax(l);
}

// --- the chains ----------------------------------------------------------------------------------

typedef struct one_chain {
    char text[400];
    slow_step steps[4];
    float numbers[4];
    uint32_t n;
} one_chain;

static float random_number(slow_step step, uint64_t *random) {
    const double u = unit(random);
    switch (step) {
    case TOP_P:
    case TYPICAL: return (float)(below(random, 3) == 0 ? 0.95 : u);
    case MIN_P: return (float)(1e-3 + 0.99 * u * u * u);
    case SIGMA: return (float)(3 * u + 0.01);
    case XTC: return (float)(0.3 * u * u * u * u + 1e-4);
    case TEMP: return (float)(below(random, 8) == 0 ? 50 * u + 0.1 : 0.2 + 2 * u);
    default: return 0;
    }
}

static void random_chain(one_chain *c, uint32_t n_vocab, float *bias, uint64_t *random) {
    static const char *const formats[] = {
        "top_p=%.9g", "min_p=%.9g", "typical=%.9g", "top_n_sigma=%.9g",
        "xtc=1,%.9g", "temp=%.9g",  "mirostat",
    };
    uint32_t used = 0;
    size_t at = 0;
    *c = (one_chain){0};
    for (uint32_t i = 0; i < n_vocab; i++) bias[i] = 0;
    for (uint32_t k = 0; below(random, 4) == 0 && k < 3; k++) {
        const uint32_t id = below(random, n_vocab);
        if (bias[id] != 0) continue;
        bias[id] = (float)below(random, 9) - 3.5f;
        at += (size_t)snprintf(c->text + at, sizeof c->text - at, "%s%u:%g",
                               at == 0 ? "logit_bias=" : ",", id, (double)bias[id]);
    }
    const uint32_t wanted = 1 + below(random, 3);
    while (c->n < wanted) {
        const slow_step step = (slow_step)below(random, N_SLOW_STEPS);
        if (used >> step & 1) continue;
        used |= 1u << step;
        const float number = random_number(step, random);
        if (at > 0) c->text[at++] = ';';
        at += (size_t)snprintf(c->text + at, sizeof c->text - at, formats[step], (double)number);
        c->steps[c->n] = step;
        c->numbers[c->n++] = number;
        if (step == MIROSTAT) break; // the last one
    }
}

static void random_logits(float *logits, uint32_t n, uint64_t *random) {
    const uint32_t kind = below(random, 8);
    const double wide = exp(4 * unit(random) - 2);
    for (uint32_t i = 0; i < n; i++) {
        logits[i] = (float)(wide * normal(random));
        if (kind == 0) logits[i] = (float)below(random, 7) * 0.5f - 2; // many are equal
        if (kind == 1) logits[i] = -3;                                 // all are
        if (kind == 2 && below(random, 40) == 0) logits[i] += (float)(8 * unit(random));
        if (kind == 3) logits[i] *= 1000;
        if (kind == 4) logits[i] = (float)(normal(random) * pow(10, 9 * unit(random) - 7));
        if (kind == 5) logits[i] -= 100;
    }
}

static void draw_is_that_of_the_reference(const inki_chain *chain, const inki_draw *draw,
                                          slow_list *slow, const one_chain *c, int round) {
    int32_t id = -1;
    assert_int_equal(inki_chain_draw(chain, draw, &id, NULL), INK_OK);
    for (uint32_t i = 0; i < slow->n; i++) slow->c[i].key = -slow->c[i].logit;
    qsort(slow->c, slow->n, sizeof *slow->c, slow->by_rank ? by_key : by_id);
    const double goal = inki_random_unit(SEED, draw->stream, draw->position);
    double sum = 0;
    bool possible = false;
    for (uint32_t i = 0; i < slow->n; i++) {
        const double before = sum;
        sum += slow->c[i].p;
        if (slow->c[i].id == id) possible = before - NEAR <= goal && goal <= sum + NEAR;
    }
    if (!possible) fail_msg("round %d, %s: drew %d with %.9g", round, c->text, id, goal);
}

// Returns whether the round could be compared.
static bool one_round(uint64_t *random, int round) {
    static const uint32_t sizes[] = {1, 2, 3, 15, 16, 17, 64, 100, 1000, MAX_VOCAB};
    static float logits[MAX_VOCAB], bias[MAX_VOCAB];
    static inki_candidate scratch[MAX_VOCAB];
    static uint64_t allowed[MAX_VOCAB / 64 + 1];
    static int32_t bans[MAX_VOCAB];
    static slow_list slow;
    const uint32_t n = sizes[below(random, 10)];
    one_chain c;
    random_logits(logits, n, random);
    random_chain(&c, n, bias, random);
    inki_draw draw = {.logits = logits,
                      .n_vocab = n,
                      .position = (uint64_t)round,
                      .banned = (int32_t)below(random, n + 1) - 1,
                      .scratch = scratch,
                      .bans = bans,
                      .mu = 12 * unit(random)};
    for (uint32_t i = 0; i <= n / 64; i++) {
        allowed[i] = next_random(random);
        if (below(random, 3) == 0) allowed[i] = ~(uint64_t)0;
        if (below(random, 3) == 0) allowed[i] = 0;
    }
    if (below(random, 3) == 0) draw.allowed = allowed;
    if (below(random, 3) == 0)
        for (uint32_t i = below(random, 9); i < n; i += 1 + below(random, 60))
            bans[draw.n_bans++] = (int32_t)i;
    slow = (slow_list){.n = 0};
    for (uint32_t i = 0, ban = 0; i < n; i++) {
        const bool banned = ban < draw.n_bans && bans[ban] == (int32_t)i;
        ban += banned;
        if (banned || (int32_t)i == draw.banned) continue;
        if (draw.allowed != NULL && !(allowed[i / 64] >> i % 64 & 1)) continue;
        slow.c[slow.n++] =
            (slow_token){.logit = (float)((double)logits[i] + (double)bias[i]), .id = (int32_t)i};
    }
    const inki_mem mem = inki_mem_from(NULL);
    ink_sampler_options o;
    inki_sampler_defaults(&o);
    o.seed = SEED;
    inki_chain *chain = NULL;
    assert_int_equal(inki_chain_new(&chain, c.text, &o, n, &mem, NULL), INK_OK);
    const uint32_t kept = inki_chain_filter(chain, &draw);
    for (uint32_t k = 0; k < c.n && slow.n > 0; k++)
        slow_take(&slow, c.steps[k], (double)c.numbers[k], draw.mu);
    const bool compared = !slow.ambiguous;
    if (compared) {
        if (kept != slow.n) fail_msg("round %d, %s: %u kept, not %u", round, c.text, kept, slow.n);
        qsort(slow.c, slow.n, sizeof *slow.c, by_id);
        double best = -INFINITY, total = 0;
        for (uint32_t i = 0; i < kept; i++) best = fmax(best, (double)scratch[i].logit);
        for (uint32_t i = 0; i < kept; i++) total += exp((double)scratch[i].logit - best);
        for (uint32_t i = 0; i < kept; i++) {
            const slow_token key = {.id = scratch[i].id};
            const slow_token *found = bsearch(&key, slow.c, slow.n, sizeof *slow.c, by_id);
            if (found == NULL ||
                fabs(exp((double)scratch[i].logit - best) / total - found->p) > NEAR)
                fail_msg("round %d, %s: token %d", round, c.text, scratch[i].id);
        }
        if (kept > 0) draw_is_that_of_the_reference(chain, &draw, &slow, &c, round);
    }
    inki_chain_free(chain);
    return compared;
}

static void chains_are_those_of_a_full_sort(void **state) {
    (void)state;
    const int rounds = getenv("INKLING_TEST_LONG") != NULL ? 200000 : 3000;
    if (rounds == 3000) printf("left out: 197000 more random chains (INKLING_TEST_LONG)\n");
    uint64_t random = 2026;
    int compared = 0;
    for (int round = 0; round < rounds; round++) compared += one_round(&random, round);
    // A reference that calls everything ambiguous would prove nothing.
    if (compared < rounds * 4 / 5) fail_msg("only %d of %d rounds compared", compared, rounds);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(chains_are_those_of_a_full_sort)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
