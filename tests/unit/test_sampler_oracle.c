// SPDX-License-Identifier: MIT
// Chains of samplers against tests/oracle/samplers.py: the same set is kept, with the same
// probabilities.
#include "sampler/chain.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_VOCAB = 1000, MAX_PAST = 200, MAX_LINE = 1 << 14 };

static uint64_t mix(uint64_t x) {
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

static inki_str piece(const void *arg, int32_t id) {
    static const char *const pieces[] = {"\n",  " a", "b",    ":",  "x:y", "##",  "# I", "nst",
                                         ":\n", "r",  " the", "a#", "",    "end", "*",   "q"};
    (void)arg;
    const char *text = pieces[id % 16];
    return (inki_str){text, strlen(text)};
}

typedef struct one_case {
    uint64_t seed, position;
    uint32_t n, kind, n_past, different, ban_step, allow_step;
    int32_t banned;
    double mu;
    float logits[MAX_VOCAB];
    int32_t past[MAX_PAST], bans[MAX_VOCAB];
    uint64_t allowed[MAX_VOCAB / 64 + 1];
    inki_candidate scratch[MAX_VOCAB];
} one_case;

static void make_logits(one_case *c) {
    for (uint32_t i = 0; i < c->n; i++) {
        const uint64_t h = mix(c->seed * 1000003 + i);
        int32_t s = -131070; // nearly normal
        for (int k = 0; k < 4; k++) s += (int32_t)(h >> 16 * k & 0xffff);
        switch (c->kind) {
        case 0: c->logits[i] = (float)s / 16384; break;
        case 1: c->logits[i] = (float)s / 65536 + (h % 11 == 0 ? 8.0f : 0.0f); break;
        case 2: c->logits[i] = (float)floor(s / 40000.0); break;
        case 3: c->logits[i] = (float)(s * 0x1p90); break;
        default: c->logits[i] = (float)s / 4096 - 100; break;
        }
    }
}

static inki_draw draw_of(one_case *c) {
    static const inki_token_texts texts = {piece, NULL};
    size_t n_bans = 0;
    make_logits(c);
    for (uint32_t i = 0; i < c->n_past; i++)
        c->past[i] = (int32_t)(mix(c->seed * 7919 + i) % c->different);
    for (uint32_t i = c->n_past / 2; i < c->n_past; i++)
        if (mix(c->seed + i / 5) % 3 != 0) c->past[i] = c->past[i - c->n_past / 2];
    memset(c->allowed, 0, sizeof c->allowed);
    for (uint32_t i = 0; i < c->n; i++) {
        if (c->ban_step > 0 && i % c->ban_step == 1) c->bans[n_bans++] = (int32_t)i;
        if (c->allow_step == 9 ? i % 9 != 0 : c->allow_step > 0 && i % c->allow_step < 2)
            c->allowed[i / 64] |= (uint64_t)1 << i % 64;
    }
    return (inki_draw){.logits = c->logits,
                       .n_vocab = c->n,
                       .history = c->past,
                       .n_history = c->n_past,
                       .position = c->position,
                       .banned = c->banned,
                       .scratch = c->scratch,
                       .bans = c->bans,
                       .n_bans = n_bans,
                       .allowed = c->allow_step > 0 ? c->allowed : NULL,
                       .mu = c->mu,
                       .texts = &texts};
}

static bool read_numbers(one_case *c, const char *line) {
    unsigned long long seed, position;
    if (sscanf(line, "%llu %u %u %u %u %d %llu %lf %u %u", &seed, &c->n, &c->kind, &c->n_past,
               &c->different, &c->banned, &position, &c->mu, &c->ban_step, &c->allow_step) != 10)
        return false;
    c->seed = seed;
    c->position = position;
    return c->n <= MAX_VOCAB && c->n_past <= MAX_PAST;
}

// How far its probabilities are off at most; infinite: another set is kept.
static double error_of(one_case *c, const char *chain_text, const char *kept) {
    const inki_mem mem = inki_mem_from(NULL);
    ink_sampler_options o;
    inki_sampler_defaults(&o);
    o.seed = c->seed;
    inki_chain *chain = NULL;
    ink_error error = {0};
    if (inki_chain_new(&chain, chain_text, &o, c->n, &mem, &error) != INK_OK)
        fail_msg("%s: %s", chain_text, error.message);
    const inki_draw draw = draw_of(c);
    const uint32_t n = inki_chain_filter(chain, &draw);
    double p[MAX_VOCAB], total = 0, worst = 0;
    float best = -INFINITY;
    for (uint32_t i = 0; i < c->n; i++) p[i] = 0;
    for (uint32_t i = 0; i < n; i++)
        if (c->scratch[i].logit > best) best = c->scratch[i].logit;
    for (uint32_t i = 0; i < n; i++) total += exp((double)c->scratch[i].logit - (double)best);
    for (uint32_t i = 0; i < n; i++)
        p[c->scratch[i].id] = exp((double)c->scratch[i].logit - (double)best) / total;
    uint32_t n_expected = 0;
    for (char *end; *kept >= '0' && *kept <= '9'; n_expected++) {
        const unsigned long id = strtoul(kept, &end, 10);
        const double expected = strtod(end + 1, &end);
        if (fabs(p[id] - expected) > worst) worst = fabs(p[id] - expected);
        bool found = false;
        for (uint32_t i = 0; i < n; i++) found = found || c->scratch[i].id == (int32_t)id;
        if (!found) worst = INFINITY;
        kept = end + (*end == ' ');
    }
    inki_chain_free(chain);
    return n == n_expected ? worst : INFINITY;
}

static FILE *open_fixture(void) {
    char path[1024];
    const char *folder = getenv("INKLING_SOURCE_DIR");
    snprintf(path, sizeof path, "%s/tests/fixtures/samplers.txt", folder != NULL ? folder : ".");
    return fopen(path, "r");
}

static void chains_keep_what_the_oracle_keeps(void **state) {
    (void)state;
    static one_case c;
    static char chain[MAX_LINE], numbers[MAX_LINE], kept[MAX_LINE];
    FILE *f = open_fixture();
    assert_non_null(f);
    int n_cases = 0, n_broken_seen = 0;
    while (fgets(chain, sizeof chain, f) != NULL) {
        assert_non_null(fgets(numbers, sizeof numbers, f));
        assert_non_null(fgets(kept, sizeof kept, f));
        chain[strcspn(chain, "\n")] = 0;
        assert_true(read_numbers(&c, numbers));
        const double worst = error_of(&c, chain, kept);
        if (!(worst < 1e-6)) fail_msg("case %d, %s: off by %g", n_cases, chain, worst);
        // The comparison itself: with a token banned that should be there, it must fail.
        if (c.banned < 0 && kept[0] != '-') {
            c.banned = (int32_t)strtol(kept, NULL, 10);
            n_broken_seen += !(error_of(&c, chain, kept) < 1e-6);
        }
        n_cases++;
    }
    fclose(f);
    assert_true(n_cases > 500);
    assert_true(n_broken_seen > 100);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(chains_keep_what_the_oracle_keeps)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
