// SPDX-License-Identifier: MIT
// The sampler's arithmetic: its exponential against the C library's long double one, its random
// numbers against published values and by statistics (fixed seeds, so the outcome is always the
// same).
#include "random_numbers.h"
#include "sampler/draw.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

static void the_exponential_is_exact_enough(void **state) {
    (void)state;
    uint64_t random = 17;
    for (int i = 0; i < 200000; i++) {
        const double x = i % 2 ? -708.0 * unit(&random) : -2.0 * unit(&random);
        const long double exact = expl((long double)x);
        const long double relative = fabsl((long double)inki_sampler_exp(x) - exact) / exact;
        if (relative > 4e-16L) fail_msg("e^%.17g is off by %Lg", x, relative);
    }
    assert_true(inki_sampler_exp(0.0) == 1.0);
    assert_true(inki_sampler_exp(-0.0) == 1.0);
    assert_true(inki_sampler_exp(-1e-300) == 1.0);
    assert_true(inki_sampler_exp(-709.0) == 0.0);
    assert_true(inki_sampler_exp(-INFINITY) == 0.0);
    assert_true(inki_sampler_exp(NAN) == 0.0);
    assert_true(inki_sampler_exp(5.0) == 1.0); // out of the range it is for
    for (int i = 0; i < 2000; i++) {
        const double y = pow(10.0, -45.0 * unit(&random));
        assert_true(fabs(inki_sampler_log(y) - log(y)) <= 1e-13);
        assert_true(inki_sampler_exp(inki_sampler_log(y)) >= y);
    }
    assert_true(inki_sampler_log(1.0) == 0.0);
    assert_true(inki_sampler_log(2.0) == 0.0);
}

static void weights_are_exact_enough(void **state) {
    (void)state;
    uint64_t random = 18;
    for (int round = 0; round < 20000; round++) {
        const float best = (float)(40.0 * unit(&random) - 20.0);
        float x[INKI_DRAW_BLOCK], weights[INKI_DRAW_BLOCK];
        double below = 0.0;
        long double sum = 0.0L, by_weight = 0.0L;
        for (int k = 0; k < INKI_DRAW_BLOCK; k++) {
            x[k] = best - (float)((round % 2 ? 100.0 : 2.0) * unit(&random));
            if (round % 50 == k) x[k] = -INFINITY;
            if (round % 7 == k) x[k] = best;
        }
        const double total = inki_block_weigh(x, best, weights, &below);
        for (int k = 0; k < INKI_DRAW_BLOCK; k++) {
            const float off = x[k] - best; // rounded, as it is there
            const long double exact = off >= -86.0f ? expl((long double)off) : 0.0L;
            if (fabsl((long double)weights[k] - exact) > 1.1e-7L * exact)
                fail_msg("e^%.9g is %.9g", (double)off, (double)weights[k]);
            if (off == 0.0f) assert_true(weights[k] == 1.0f);
            sum += (long double)weights[k];
            if (off >= -86.0f) by_weight += (long double)weights[k] * (long double)off;
        }
        assert_true(fabsl((long double)total - sum) <= 1e-15L * sum);
        assert_true(fabsl((long double)below - by_weight) <= -1e-15L * by_weight);
    }
}

static void the_random_number_is_the_documented_hash(void **state) {
    (void)state;
    // First outputs of SplitMix64 for the state 1234567, as published with its reference code.
    static const uint64_t published[] = {6457827717110365317u, 3203168211198807973u,
                                         9817491932198370423u, 4593380528125082431u,
                                         16408922859458223821u};
    // Seed and stream lead to the state at which position 0 begins; undo both finalisers to find a
    // stream that leads to 1234567.
    uint64_t z = 1234567; // inverse of the finaliser: the steps backwards, with inverse factors
    z = z ^ z >> 31 ^ z >> 62;
    z *= 0x319642b2d24d8ec3u;
    z = z ^ z >> 27 ^ z >> 54;
    z *= 0x96de1b173f119089u;
    z = z ^ z >> 30 ^ z >> 60;
    // z = h(seed) + (stream + 1) * golden, with h(1234567) the first published output.
    uint64_t inverse = 1; // of the golden constant modulo 2^64, by Newton's iteration
    for (int i = 0; i < 6; i++) inverse *= 2 - 0x9e3779b97f4a7c15u * inverse;
    const uint64_t stream = (z - published[0]) * inverse - 1;
    for (uint64_t i = 0; i < 5; i++) {
        const double expected = (double)(published[i] >> 11) / 9007199254740992.0;
        assert_true(inki_random_unit(1234567, stream, i) == expected);
    }
}

typedef double (*walk_fn)(uint64_t i);
static double by_position(uint64_t i) { return inki_random_unit(1, 2, i); }
static double by_stream(uint64_t i) { return inki_random_unit(1, i, 2); }
static double by_seed(uint64_t i) { return inki_random_unit(i, 1, 2); }
static double by_high_bits(uint64_t i) { return inki_random_unit(i << 40, i << 50, i << 30); }
static double by_all(uint64_t i) { return inki_random_unit(i, i, i); }
static double by_swap(uint64_t i) {
    return i % 2 ? inki_random_unit(7, i, i - 1) : inki_random_unit(7, i, i + 1);
}

static void random_numbers_are_uniform_and_unrelated(void **state) {
    (void)state;
    enum { N = 100000, BINS = 64 };
    static const walk_fn walks[] = {by_position, by_stream, by_seed, by_high_bits, by_all, by_swap};
    for (size_t w = 0; w < sizeof walks / sizeof *walks; w++) {
        static int bins[BINS], pairs[BINS];
        memset(bins, 0, sizeof bins);
        memset(pairs, 0, sizeof pairs);
        double before = walks[w](N), sum = 0, products[3] = {0}, last[3] = {0.5, 0.5, 0.5};
        for (uint64_t i = 0; i < N; i++) {
            const double u = walks[w](i);
            assert_true(u >= 0.0 && u < 1.0);
            bins[(int)(u * BINS)]++;
            pairs[(int)(u * 8) * 8 + (int)(before * 8)]++;
            sum += u;
            for (int lag = 0; lag < 3; lag++) products[lag] += (u - 0.5) * (last[lag] - 0.5);
            last[2] = last[1];
            last[1] = last[0];
            last[0] = u;
            before = u;
        }
        double chi = 0, chi_pairs = 0;
        const double expected = (double)N / BINS;
        for (int i = 0; i < BINS; i++) {
            chi += pow(bins[i] - expected, 2) / expected;
            chi_pairs += pow(pairs[i] - expected, 2) / expected;
        }
        // 63 degrees of freedom: 1 in 1000 beyond 104, 1 in 1000 below 33.
        if (chi > 104 || chi < 33) fail_msg("walk %zu: chi-square %g", w, chi);
        if (chi_pairs > 104 || chi_pairs < 33) fail_msg("walk %zu: pairs %g", w, chi_pairs);
        // Four standard deviations.
        assert_true(fabs(sum / N - 0.5) < 4 * sqrt(1.0 / 12 / N));
        for (int lag = 0; lag < 3; lag++)
            assert_true(fabs(products[lag] / N) < 4.0 / 12 / sqrt((double)N));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_exponential_is_exact_enough),
        cmocka_unit_test(weights_are_exact_enough),
        cmocka_unit_test(the_random_number_is_the_documented_hash),
        cmocka_unit_test(random_numbers_are_uniform_and_unrelated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
