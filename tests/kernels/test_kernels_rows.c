// SPDX-License-Identifier: MIT
// exp, layer norm, GELU, sums and scales of rows, the search for what is not finite; at every level
// of this machine.
#include "each_level.h"
#include "guarded.h"

#include "base/exp_inline.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof(a)[0])
static const size_t sizes[] = {1,  2,  3,  15,  16,  17,  31,  32,  33,
                               63, 64, 65, 127, 128, 129, 768, 1000};
static inki_kernels k;

static float from_bits(uint32_t u) {
    float f;
    memcpy(&f, &u, 4);
    return f;
}

// Steps of a prime through all bit patterns: a small one in the long tier.
static uint64_t pattern_step(uint64_t quick) {
    const uint64_t step = getenv("INKLING_TEST_LONG") != NULL ? 67 : quick;
    print_message("left out: all but one in %u floats\n", (unsigned)step);
    return step;
}

static void exp_over_all_floats(void **state) {
    (void)state;
    const uint64_t step = pattern_step(2503);
    double worst = 0;
    for (uint64_t u = 0; u < 0x100000000u; u += step) {
        const float x = from_bits((uint32_t)u), got = inki_exp(x);
        if (isnan(x)) {
            assert_true(isnan(got) != 0);
            continue;
        }
        const double want = exp((double)x);
        if (want >= 0x1.ffffffp127)
            assert_true(isinf(got) != 0 && got > 0);
        else if (want >= 0x1p-126)
            worst = fmax(worst, fabs((double)got / want - 1));
        else if (!(fabs((double)got - want) < 0x1p-149))
            fail_msg("exp(%a) is %a", (double)x, (double)got);
    }
    print_message("largest relative error %g\n", worst);
    if (!(worst < 1.0e-7)) fail_msg("relative error %g", worst);
    assert_true(inki_exp(0.0f) == 1.0f && inki_exp(-0.0f) == 1.0f);
    assert_true(inki_exp(-INFINITY) == 0.0f && inki_exp(-104.0f) == 0.0f &&
                inki_exp(-3e38f) == 0.0f);
    assert_true(isinf(inki_exp(INFINITY)) != 0 && isinf(inki_exp(3e38f)) != 0);
    assert_true(isinf(inki_exp(88.73f)) != 0 && isinf(inki_exp(88.72f)) == 0);
}

static double true_gelu(double x) {
    // tanh rounds to -1 long before the product vanishes: the other form is exact there.
    const double u = sqrt(2 / acos(-1.0)) * (x + 0.044715 * x * x * x);
    return x < -1 ? x * (exp(2 * u) / (1 + exp(2 * u))) : 0.5 * x * (1 + tanh(u));
}

// Four roundings make z = -2u, whose error exp turns into a relative one of |z| 4 eps; exp itself
// adds 1e-7; that share of the denominator which exp is, two roundings more, and what a subnormal
// result loses.
static double gelu_limit(double x) {
    const double z = -2 * sqrt(2 / acos(-1.0)) * (x + 0.044715 * x * x * x), eps = 0x1p-24;
    const double share = z > 700 ? 1 : exp(z) / (1 + exp(z));
    const double lost = z > 88.7 ? fabs(x) * 0x1p-127 : 0;
    return fabs(true_gelu(x)) * (share * (4 * eps * fabs(z) + 1.0e-7) + 3 * eps) + lost +
           0x1p-126 * eps + 0x1p-148;
}

static void gelu_over_all_floats(void **state) {
    (void)state;
    const uint64_t step = pattern_step(3001);
    float x[16], y[16];
    size_t n = 0;
    for (uint64_t u = 0; u < 0x100000000u; u += step) {
        x[n] = from_bits((uint32_t)u);
        if (isfinite(x[n]) != 0) n++;
        if (n < 16) continue;
        n = 0;
        memcpy(y, x, sizeof y);
        k.gelu(y, 16);
        for (int i = 0; i < 16; i++)
            if (!(fabs((double)y[i] - true_gelu((double)x[i])) <= gelu_limit((double)x[i])))
                fail_msg("%s: gelu(%a) is %a, not %a", k.name, (double)x[i], (double)y[i],
                         true_gelu((double)x[i]));
    }
    float bad[2] = {NAN, INFINITY};
    k.gelu(bad, 2);
    assert_true(isnan(bad[0]) != 0 && isfinite(bad[1]) == 0);
}

// A row cut anywhere gives what the whole row gives, and what stands behind it stays.
static void elementwise_rows_may_be_cut(void **state) {
    (void)state;
    for (size_t s = 0; s < COUNT(sizes); s++)
        for (int kind = 0; kind < HARD_KINDS; kind++) {
            const size_t n = sizes[s];
            guarded a = guarded_new(n * 4), b = guarded_new(n * 4);
            float *x = a.data, *y = b.data, *x0 = malloc(n * 4 * 2);
            assert_non_null(x0);
            hard_fill(x0, n, (enum hard_kind)kind, s);
            hard_fill(y, n, HARD_PLAIN, s + 100);
            guarded_seal(&b);
            memcpy(x, x0, n * 4);
            k.add(x, y, 1, n);
            for (size_t i = 0; i < n; i++) assert_true(x[i] == x0[i] + y[i]);
            memcpy(x, x0, n * 4);
            k.add(x, y, 1.7f, n);
            for (size_t i = 0; i < n; i++) { // rounded once or twice, but all alike
                float alone = x0[i];
                k.add(&alone, y + i, 1.7f, 1);
                assert_memory_equal(&alone, x + i, 4);
                const float product = 1.7f * y[i];
                assert_true(x[i] == fmaf(1.7f, y[i], x0[i]) || x[i] == x0[i] + product);
            }
            memcpy(x, x0, n * 4);
            k.scale(x, 1.7f, n);
            for (size_t i = 0; i < n; i++) assert_true(x[i] == x0[i] * 1.7f);
            memcpy(x, x0, n * 4);
            k.gelu(x, n);
            for (size_t i = 0; i < n; i++) {
                float alone[2] = {x0[i], 1.25f};
                k.gelu(alone, 1);
                assert_memory_equal(alone, x + i, 4);
                assert_true(alone[1] == 1.25f);
            }
            free(x0);
            guarded_free(&a);
            guarded_free(&b);
        }
}

// What floats may lose: the sum of x, n / 4 + 4 additions deep, moves the mean; differences and
// squares round as well; mean and variance each divide once; then a square root, a division, two
// products, one addition. An error of the mean costs the variance only its square.
static void check_norm(size_t n, enum hard_kind kind, float offset) {
    guarded g[4];
    for (int i = 0; i < 4; i++) g[i] = guarded_new(n * 4);
    float *out = g[0].data, *x = g[1].data, *gain = g[2].data, *bias = g[3].data;
    hard_fill(x, n, kind, n);
    for (size_t i = 0; i < n; i++) x[i] += offset;
    hard_fill(gain, n, HARD_PLAIN, 5);
    hard_fill(bias, n, HARD_PLAIN, 6);
    for (int i = 1; i < 4; i++) guarded_seal(&g[i]);
    canary_fill(out, n);
    k.layer_norm(out, x, gain, bias, n, 1e-5f);
    double mean = 0, variance = 0, magnitude = 0;
    for (size_t i = 0; i < n; i++) mean += (double)x[i] / (double)n;
    for (size_t i = 0; i < n; i++) variance += pow((double)x[i] - mean, 2) / (double)n;
    for (size_t i = 0; i < n; i++) magnitude += fabs((double)x[i]) / (double)n;
    const double factor = 1 / sqrt(variance + (double)1e-5f), eps = 0x1p-24,
                 deep = (double)n / 4 + 8;
    const double mean_error = deep * eps * magnitude;
    const double factor_error =
        (deep + 8) * eps + pow(mean_error * factor, 2) + 2 * eps * magnitude * factor;
    for (size_t i = 0; i < n; i++) {
        const double z = ((double)x[i] - mean) * factor,
                     want = z * (double)gain[i] + (double)bias[i];
        const double z_error = (mean_error + eps * (fabs((double)x[i]) + fabs(mean))) * factor +
                               fabs(z) * (factor_error + 2 * eps);
        const double limit =
            fabs((double)gain[i]) * z_error + 4 * eps * (fabs(want) + fabs((double)bias[i]));
        if (!(fabs((double)out[i] - want) <= limit))
            fail_msg("%s, %s numbers + %g, %zu of %zu: %.9g, not %.9g (allowed %g)", k.name,
                     hard_name(kind), (double)offset, i, n, (double)out[i], want, limit);
    }
    for (int i = 0; i < 4; i++) guarded_free(&g[i]);
}

static void layer_norm(void **state) {
    (void)state;
    for (size_t s = 0; s < COUNT(sizes); s++) {
        for (int kind = 0; kind < HARD_KINDS; kind++) check_norm(sizes[s], (enum hard_kind)kind, 0);
        check_norm(sizes[s], HARD_PLAIN, 1000); // a mean far above the deviation
    }
}

static void all_finite(void **state) {
    (void)state;
    static const float bad[] = {NAN, INFINITY, -INFINITY, -NAN};
    for (size_t s = 0; s < COUNT(sizes); s++) {
        const size_t n = sizes[s];
        guarded g = guarded_new(n * 4);
        float *x = g.data;
        for (size_t i = 0; i < n; i++) x[i] = i % 2 == 0 ? 3.4028234e38f : -3.4028234e38f;
        assert_true(k.all_finite(x, n) != 0);
        for (size_t i = 0; i < n; i++) {
            const float kept = x[i];
            x[i] = bad[i % 4];
            assert_true(k.all_finite(x, n) == 0);
            x[i] = kept;
        }
        guarded_free(&g);
    }
    assert_true(k.all_finite(NULL, 0) != 0);
}

static int at_level(const inki_kernels *level) {
    k = *level;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gelu_over_all_floats),
        cmocka_unit_test(elementwise_rows_may_be_cut),
        cmocka_unit_test(layer_norm),
        cmocka_unit_test(all_finite),
    };
    return cmocka_run_group_tests_name(k.name, tests, NULL, NULL);
}

int main(void) {
    const struct CMUnitTest once[] = {cmocka_unit_test(exp_over_all_floats)};
    return cmocka_run_group_tests_name("exp", once, NULL, NULL) + each_level(at_level);
}
