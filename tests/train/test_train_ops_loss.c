// SPDX-License-Identifier: MIT
// Cross entropy and the mixed loss of distillation: values and gradients against double precision,
// gradients' formulas against differences; at every level of this machine.
#include "each_level.h"
#include "guarded.h"

#include "train/ops.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof(a)[0])
enum { MAX_N = 50257 };
static const double eps = 0x1p-24;
static inki_train_ops ops;

static bool next_size(size_t *n) { // 1 to 67, then vocabularies
    static const size_t more[] = {257, 2047, 2048, 2049, 4100, MAX_N};
    if (*n < 67) return ++*n, true;
    for (size_t i = 0; i < COUNT(more); i++)
        if (more[i] > *n) return *n = more[i], true;
    return false;
}

// EVEN: all of them the same. FAR: +-1e4 and a little. NEVER: every third is -infinity.
enum logits_kind { USUAL, EVEN, FAR, SURE, NEVER, LOGITS_KINDS };
static void fill(float *x, size_t n, enum logits_kind kind, uint64_t seed) {
    uint64_t state = seed * 2654435769u + 99;
    for (size_t i = 0; i < n; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        const double r = (double)(int32_t)(state >> 32) * 0x1p-31;
        switch (kind) {
        case EVEN: x[i] = -3.75f; break;
        case FAR: x[i] = (float)((state >> 20 & 1 ? 1e4 : -1e4) + r); break;
        case SURE: x[i] = (float)(r * 4 + (i == n / 2 ? 40 : 0)); break;
        case NEVER: x[i] = i % 3 == 1 ? -INFINITY : (float)(r * 6); break;
        default: x[i] = (float)(r * 8); break;
        }
    }
}
static guarded filled(size_t n, enum logits_kind kind, uint64_t seed) {
    const guarded g = guarded_new(n * 4);
    fill(g.data, n, kind, seed);
    return g;
}
static void check(const char *what, size_t n, size_t i, double got, double want, double limit) {
    if (!(got == want || fabs(got - want) <= limit))
        fail_msg("%s, %s, %zu of %zu: %.9g, not %.9g (allowed %.3g)", ops.name, what, i, n, got,
                 want, limit);
}

// p [n] = softmax(x / T); returns log of the sum of exp(x / T).
static double softmax(double *p, const double *x, size_t n, double temperature) {
    double max = -INFINITY, sum = 0;
    for (size_t i = 0; i < n; i++) max = fmax(max, x[i] / temperature);
    for (size_t i = 0; i < n; i++) sum += p[i] = exp(x[i] / temperature - max);
    for (size_t i = 0; i < n; i++) p[i] /= sum;
    return log(sum) + max;
}
// Relative error of exp(x - max) over its sum: the subtraction (and a division by T) rounds, exp
// adds 1e-7, at least eight sums of stretches of 2048.
static double share_error(double x, double max, size_t n) {
    const double deep = (double)(n < 2048 ? n : 2048) / 8 + 6;
    return eps * (deep + 3 * fmin(max - x, 200)) + 1e-7;
}

static void check_cross_entropy(size_t n, enum logits_kind kind, size_t target, float scale) {
    static double x[MAX_N], p[MAX_N];
    guarded g = filled(n, kind, n + target);
    float *logits = g.data;
    double max = -INFINITY;
    for (size_t i = 0; i < n; i++) {
        x[i] = (double)logits[i];
        max = fmax(max, x[i]);
    }
    const double want = softmax(p, x, n, 1) - x[target];
    const double loss = ops.cross_entropy(logits, n, (int32_t)target, scale);
    check("loss", n, target, loss, want, share_error(max, max, n) + 1e-15 * fabs(want));
    for (size_t i = 0; scale != 0.0f && i < n; i++) {
        const double slope = (double)scale * (p[i] - (i == target));
        const double limit = p[i] * share_error(x[i], max, n) + (i == target) * eps + 1e-37;
        check("gradient", n, i, (double)logits[i], slope, fabs((double)scale) * limit);
    }
    fill(logits, n, kind, n + target);
    const double again = ops.cross_entropy(logits, n, (int32_t)target, 0);
    assert_true(again == loss);
    guarded_free(&g);
}

static void cross_entropy(void **state) {
    (void)state;
    for (size_t n = 0; next_size(&n);)
        for (int kind = 0; kind < LOGITS_KINDS; kind++) {
            check_cross_entropy(n, (enum logits_kind)kind, 0, 1.0f / 192);
            check_cross_entropy(n, (enum logits_kind)kind, n - 1, 1.0f);
            check_cross_entropy(n, (enum logits_kind)kind, n / 2, 0.37f);
        }
}

static void what_is_not_finite_reaches_the_loss(void **state) {
    (void)state;
    for (size_t n = 0; next_size(&n);) {
        guarded g[2] = {guarded_new(n * 4), guarded_new(n * 4)};
        float *x = g[0].data, *t = g[1].data;
        const inki_distil how = {0.5f, 2.0f};
        for (size_t at = 0; at < n; at += n / 5 + 1)
            for (int bad = 0; bad < 6; bad++) {
                fill(x, n, USUAL, 1);
                fill(t, n, USUAL, 2);
                (bad < 2 || bad == 4 ? x : t)[at] = bad % 2 == 0 ? NAN : INFINITY;
                if (bad == 4) t[n - 1] = NAN;
                double hard = 0;
                const double mixed = ops.distil(x, t, n, (int32_t)(n / 2), 1, &how, &hard);
                assert_true(isfinite(mixed) == 0);
                fill(x, n, USUAL, 1);
                x[at] = bad % 2 == 0 ? NAN : INFINITY;
                assert_true(isnan(ops.cross_entropy(x, n, (int32_t)(n / 2), 1)) != 0);
            }
        fill(x, n, NEVER, 3);
        if (n > 1) assert_true(isinf(ops.cross_entropy(x, n, 1, 1)) != 0); // the target's never
        for (size_t i = 0; i < n; i++) x[i] = -INFINITY;
        assert_true(isnan(ops.cross_entropy(x, n, 0, 1)) != 0);
        guarded_free(&g[0]);
        guarded_free(&g[1]);
    }
}

// ---- distillation ----

// The definition: teacher's probabilities q, student's p at the temperature.
static double true_distil(const double *x, const double *t, size_t n, size_t target, double weight,
                          double temperature, double *p, double *p_soft, double *q) {
    const double loss = softmax(p, x, n, 1) - x[target];
    const double log_p = softmax(p_soft, x, n, temperature);
    const double log_q = softmax(q, t, n, temperature);
    double apart = 0;
    for (size_t i = 0; i < n; i++)
        if (q[i] > 0) apart += q[i] * ((t[i] - x[i]) / temperature - log_q + log_p);
    return (1 - weight) * loss + weight * temperature * temperature * apart;
}
static double slope_of(size_t i, size_t target, double weight, double temperature, const double *p,
                       const double *p_soft, const double *q) {
    return (1 - weight) * (p[i] - (i == target)) + weight * temperature * (p_soft[i] - q[i]);
}

static void distil_formula(void **state) {
    (void)state;
    enum { N = 13 };
    static const double settings[][2] = {{0.3, 2}, {1, 0.5}, {0, 1}, {0.9, 4}, {0.5, 1}};
    float logits[N], teacher[N];
    fill(logits, N, USUAL, 5);
    fill(teacher, N, USUAL, 6);
    for (size_t s = 0; s < COUNT(settings); s++) {
        const double weight = settings[s][0], temperature = settings[s][1], h = 1e-5;
        double x[N], t[N], p[N], soft[N], q[N], spoilt[3][N];
        for (size_t i = 0; i < N; i++) x[i] = (double)logits[i], t[i] = (double)teacher[i];
        (void)true_distil(x, t, N, 4, weight, temperature, p, soft, q);
        for (size_t i = 0; i < N; i++) {
            const double at = x[i];
            x[i] = at + h;
            const double above =
                true_distil(x, t, N, 4, weight, temperature, spoilt[0], spoilt[1], spoilt[2]);
            x[i] = at - h;
            const double below =
                true_distil(x, t, N, 4, weight, temperature, spoilt[0], spoilt[1], spoilt[2]);
            x[i] = at;
            check("distil's formula", N, i, slope_of(i, 4, weight, temperature, p, soft, q),
                  (above - below) / (2 * h), 1e-8);
        }
    }
}

static void check_distil(size_t n, enum logits_kind kind, enum logits_kind teacher_kind,
                         size_t target, inki_distil how, float scale) {
    static double x[MAX_N], t[MAX_N], p[MAX_N], p_soft[MAX_N], q[MAX_N];
    guarded g[2] = {filled(n, kind, n),
                    filled(n, teacher_kind, n + (kind == teacher_kind ? 7 : 0))};
    float *logits = g[0].data, *teacher = g[1].data;
    const double w = (double)how.weight, T = (double)how.temperature;
    double max = -INFINITY, teacher_max = -INFINITY;
    for (size_t i = 0; i < n; i++) {
        x[i] = (double)logits[i];
        t[i] = (double)teacher[i];
        max = fmax(max, x[i]);
        teacher_max = fmax(teacher_max, t[i]);
    }
    const double want = true_distil(x, t, n, target, w, T, p, p_soft, q);
    const double want_hard = log(1 / p[target]), base = share_error(0, 0, n);
    double far = 0; // what teacher and student differ by, weighed
    for (size_t i = 0; i < n; i++)
        if (q[i] > 0)
            far += q[i] * (base + share_error(t[i] / T, teacher_max / T, n)) *
                   (fabs(t[i] - teacher_max) + fabs(x[i] - max)) / T;
    double hard = -1;
    const double loss = ops.distil(logits, teacher, n, (int32_t)target, scale, &how, &hard);
    if (isfinite(want_hard) != 0) check("hard loss", n, target, hard, want_hard, base + 1e-9);
    check("mixed loss", n, target, loss, want, (1 - w) * base + w * T * T * (2 * base + far));
    for (size_t i = 0; i < n; i++) {
        const double limit = (1 - w) * (p[i] * share_error(x[i], max, n) + (i == target) * eps) +
                             w * T * p_soft[i] * share_error(x[i] / T, max / T, n) +
                             w * T * q[i] * share_error(t[i] / T, teacher_max / T, n) + 1e-37;
        check("mixed gradient", n, i, (double)logits[i],
              (double)scale * slope_of(i, target, w, T, p, p_soft, q), 2 * (double)scale * limit);
    }
    fill(logits, n, kind, n);
    fill(teacher, n, teacher_kind, n + (kind == teacher_kind ? 7 : 0));
    assert_true(ops.distil(logits, teacher, n, (int32_t)target, 0, &how, NULL) == loss);
    guarded_free(&g[0]);
    guarded_free(&g[1]);
}

static void distil(void **state) {
    (void)state;
    static const inki_distil settings[] = {
        {0.5f, 2.0f}, {0.9f, 1.0f}, {1.0f, 4.0f}, {0.25f, 0.5f}, {0.0f, 3.0f}};
    size_t turn = 0;
    for (size_t n = 0; next_size(&n);)
        for (int kind = 0; kind < SURE + 1; kind++)
            for (int teacher = 0; teacher < LOGITS_KINDS; teacher++, turn++)
                check_distil(n, (enum logits_kind)kind, (enum logits_kind)teacher, turn * 5 % n,
                             settings[turn % COUNT(settings)], turn % 2 == 0 ? 1.0f : 0.01f);
    // Both say never to the same ones.
    for (size_t n = 4; n < 40; n++)
        check_distil(n, NEVER, NEVER, 2, settings[n % COUNT(settings)], 0.5f);
}

static void a_student_that_is_its_teacher(void **state) {
    (void)state;
    enum { N = 300 };
    float x[N], t[N];
    fill(x, N, USUAL, 1);
    for (size_t i = 0; i < N; i++) t[i] = x[i] + 2.0f; // an offset says nothing
    const inki_distil how = {1.0f, 2.0f};
    double hard = 0;
    const double loss = ops.distil(x, t, N, 3, 1, &how, &hard);
    check("loss of the same", N, 0, loss, 0, 1e-5);
    assert_true(hard > 1);
    for (size_t i = 0; i < N; i++) check("gradient of the same", N, i, (double)x[i], 0, 1e-6);
}

static int at_level(const inki_kernels *level) {
    inki_train_ops_init(&ops, (uint32_t)inki_level_by_name(level->name));
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cross_entropy),
        cmocka_unit_test(what_is_not_finite_reaches_the_loss),
        cmocka_unit_test(distil_formula),
        cmocka_unit_test(distil),
        cmocka_unit_test(a_student_that_is_its_teacher),
    };
    return cmocka_run_group_tests_name(level->name, tests, NULL, NULL);
}

int main(void) { return each_level(at_level); }
