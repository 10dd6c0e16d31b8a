// SPDX-License-Identifier: MIT
// The row operations of a training step against double precision, at every level of this machine.
// Formulas of derivatives are held to differences of what they derive.
#include "each_level.h"
#include "guarded.h"

#include "train/ops.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof(a)[0])
static const double eps = 0x1p-24;
static inki_train_ops ops;

static bool next_size(size_t *n) { // 1 to 67, then some longer ones
    static const size_t more[] = {127, 128, 129, 130, 768, 2048};
    if (*n < 67) return ++*n, true;
    for (size_t i = 0; i < COUNT(more); i++)
        if (more[i] > *n) return *n = more[i], true;
    return false;
}

static double draw(uint64_t *state) { // -1 to 1
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (double)(int32_t)(*state >> 32) * 0x1p-31;
}
static void fill(float *x, size_t n, double scale, double offset, uint64_t seed) {
    uint64_t state = seed * 2654435769u + 77;
    for (size_t i = 0; i < 4; i++) (void)draw(&state);
    for (size_t i = 0; i < n; i++) x[i] = (float)(draw(&state) * scale + offset);
}
static guarded filled(size_t n, double scale, double offset, uint64_t seed) {
    const guarded g = guarded_new(n * 4);
    fill(g.data, n, scale, offset, seed);
    return g;
}
static void check(const char *what, size_t n, size_t i, double got, double want, double limit) {
    if (!(fabs(got - want) <= limit))
        fail_msg("%s, %s, %zu of %zu: %.9g, not %.9g (allowed %.3g)", ops.name, what, i, n, got,
                 want, limit);
}

// ---- norm ----

// The statistics' errors: the sum of x moves the mean; differences, squares, a division, a root.
static void check_norm(size_t n, double scale, double offset) {
    guarded g[4];
    for (size_t i = 0; i < 4; i++) g[i] = filled(n, i == 1 ? scale : 2, i == 1 ? offset : 0, n + i);
    float *y = g[0].data;
    const float *x = g[1].data, *gain = g[2].data, *bias = g[3].data;
    canary_fill(y, n);
    for (int i = 1; i < 4; i++) guarded_seal(&g[i]);
    inki_norm_stats stats;
    ops.norm(y, &stats, x, gain, bias, n, 1e-5f);
    double mean = 0, variance = 0, magnitude = 0;
    for (size_t i = 0; i < n; i++) mean += (double)x[i] / (double)n;
    for (size_t i = 0; i < n; i++) variance += pow((double)x[i] - mean, 2) / (double)n;
    for (size_t i = 0; i < n; i++) magnitude += fabs((double)x[i]) / (double)n;
    const double rstd = 1 / sqrt(variance + (double)1e-5f), deep = (double)n / 4 + 8;
    const double mean_error = deep * eps * magnitude;
    const double rstd_error =
        (deep + 8) * eps + pow(mean_error * rstd, 2) + 2 * eps * magnitude * rstd;
    check("mean", n, 0, (double)stats.mean, mean, mean_error);
    check("rstd", n, 0, (double)stats.rstd, rstd, rstd * rstd_error);
    for (size_t i = 0; i < n; i++) {
        const double z = ((double)x[i] - mean) * rstd;
        const double want = z * (double)gain[i] + (double)bias[i];
        const double z_error =
            (mean_error + eps * (fabs((double)x[i]) + fabs(mean))) * rstd + fabs(z) * rstd_error;
        check("norm", n, i, (double)y[i], want,
              fabs((double)gain[i]) * z_error + 4 * eps * (fabs(want) + fabs((double)bias[i])));
    }
    for (int i = 0; i < 4; i++) guarded_free(&g[i]);
}

static void norm(void **state) {
    (void)state;
    for (size_t n = 0; next_size(&n);) {
        check_norm(n, 3, 0);
        check_norm(n, 3, 100);
        check_norm(n, 0, 2);
        check_norm(n, 1e4, 0);
    }
}

// sum of dy * norm(x), and what it says of x.
static double norm_sum(const double *x, const float *dy, const float *gain, size_t n) {
    double mean = 0, variance = 0, sum = 0;
    for (size_t i = 0; i < n; i++) mean += x[i] / (double)n;
    for (size_t i = 0; i < n; i++) variance += pow(x[i] - mean, 2) / (double)n;
    for (size_t i = 0; i < n; i++)
        sum += (double)dy[i] * (double)gain[i] * (x[i] - mean) / sqrt(variance + 1e-5);
    return sum;
}
static void norm_slopes(double *dx, double *limit, const float *dy, const float *x, double mean,
                        double rstd, const float *gain, size_t n) {
    double shift = 0, slope = 0, shift_all = 0, slope_all = 0;
    for (size_t i = 0; i < n; i++) {
        const double d = (double)dy[i] * (double)gain[i], z = ((double)x[i] - mean) * rstd;
        shift += d / (double)n;
        slope += d * z / (double)n;
        shift_all += fabs(d) / (double)n;
        slope_all += fabs(d * z) / (double)n;
    }
    const double deep = (double)n / 4 + 16;
    for (size_t i = 0; i < n; i++) {
        const double d = (double)dy[i] * (double)gain[i], z = ((double)x[i] - mean) * rstd;
        dx[i] = rstd * (d - shift - z * slope);
        limit[i] = rstd * eps * (deep * (shift_all + fabs(z) * slope_all) + 8 * fabs(d));
    }
}

static void norm_back(void **state) {
    (void)state;
    static double want[2048], limit[2048], moved[2048];
    for (size_t n = 0; next_size(&n);) {
        guarded g[4];
        for (size_t i = 0; i < 4; i++) g[i] = filled(n, 2, i == 2 ? 0.5 : 0, n * 4 + i);
        float *dx = g[0].data, before[2048];
        const float *dy = g[1].data, *x = g[2].data, *gain = g[3].data;
        memcpy(before, dx, n * 4);
        inki_norm_stats stats;
        float *y = malloc(n * 4);
        assert_non_null(y);
        ops.norm(y, &stats, x, gain, gain, n, 1e-5f);
        free(y);
        for (int i = 1; i < 4; i++) guarded_seal(&g[i]);
        ops.norm_back(dx, dy, x, &stats, gain, n);
        norm_slopes(want, limit, dy, x, (double)stats.mean, (double)stats.rstd, gain, n);
        for (size_t i = 0; i < n; i++)
            check("norm_back", n, i, (double)dx[i], want[i] + (double)before[i],
                  limit[i] + 2 * eps * (fabs((double)before[i]) + fabs(want[i])));
        for (size_t i = 0; i < n; i++) moved[i] = (double)x[i];
        for (size_t i = 0; i < n && 3 < n && n < 40; i++) {
            moved[i] = (double)x[i] + 1e-5;
            const double above = norm_sum(moved, dy, gain, n);
            moved[i] = (double)x[i] - 1e-5;
            const double below = norm_sum(moved, dy, gain, n);
            moved[i] = (double)x[i];
            check("norm_back's formula", n, i, want[i], (above - below) / 2e-5, 2e-5);
        }
        for (int i = 0; i < 4; i++) guarded_free(&g[i]);
    }
}

// ---- sums over rows ----

static void check_columns(size_t n_rows, size_t n) {
    guarded g[2] = {filled(n_rows * n, 1, 0.1, n), filled(n_rows * n, 2, 1, n + 1)};
    guarded s = guarded_new(n_rows * sizeof(inki_norm_stats));
    const float *dy = g[0].data, *x = g[1].data;
    inki_norm_stats *stats = s.data;
    for (size_t r = 0; r < n_rows; r++)
        stats[r] = (inki_norm_stats){0.01f * (float)r, 1.0f + 0.125f * (float)(r % 9)};
    for (int i = 0; i < 2; i++) guarded_seal(&g[i]);
    guarded o[3]; // sums of dy * z, of dy, of x, which start at what they are
    for (int i = 0; i < 3; i++) o[i] = filled(n, 3, 0, 9);
    float *dgain = o[0].data, *dbias = o[1].data, *sums = o[2].data;
    float *start = malloc(n * 4), *cut = malloc(n * 4 * 3);
    assert_true(start != NULL && cut != NULL);
    memcpy(start, dgain, n * 4);
    for (size_t i = 0; i < 3; i++) memcpy(cut + i * n, start, n * 4);
    ops.norm_back_gain(dgain, dbias, dy, x, stats, n_rows, n, 0, n);
    ops.column_sums(sums, x, n_rows, n, 0, n);
    const double deep = (double)n_rows / 4 + 8;
    for (size_t i = 0; i < n; i++) {
        double sum[3], all[3];
        for (int j = 0; j < 3; j++) sum[j] = (double)start[i], all[j] = fabs(sum[j]);
        for (size_t r = 0; r < n_rows; r++) {
            const double z = ((double)x[r * n + i] - (double)stats[r].mean) * (double)stats[r].rstd;
            const double terms[3] = {(double)dy[r * n + i] * z, (double)dy[r * n + i],
                                     (double)x[r * n + i]};
            for (int j = 0; j < 3; j++) sum[j] += terms[j], all[j] += fabs(terms[j]);
        }
        check("dgain", n, i, (double)dgain[i], sum[0], deep * eps * all[0]);
        check("dbias", n, i, (double)dbias[i], sum[1], deep * eps * all[1]);
        check("column_sums", n, i, (double)sums[i], sum[2], deep * eps * all[2]);
    }
    const size_t middle = n / 3; // cut as threads do: the same bytes
    for (int part = 0; part < 2; part++) {
        const size_t begin = part ? middle : 0, end = part ? n : middle;
        ops.norm_back_gain(cut, cut + n, dy, x, stats, n_rows, n, begin, end);
        ops.column_sums(cut + 2 * n, x, n_rows, n, begin, end);
    }
    assert_memory_equal(cut, dgain, n * 4);
    assert_memory_equal(cut + n, dbias, n * 4);
    assert_memory_equal(cut + 2 * n, sums, n * 4);
    free(start);
    free(cut);
    for (int i = 0; i < 2; i++) guarded_free(&g[i]);
    for (int i = 0; i < 3; i++) guarded_free(&o[i]);
    guarded_free(&s);
}

static void sums_over_rows(void **state) {
    (void)state;
    for (size_t n = 0; next_size(&n);) check_columns(n % 11 + 1, n);
    for (size_t rows = 1; rows < 20; rows++) check_columns(rows, 37);
    check_columns(1000, 45);
}

// ---- elements ----

static double true_gelu(double x) {
    const double u2 = 2 * sqrt(2 / acos(-1.0)) * (x + 0.044715 * x * x * x);
    return u2 > 0 ? x / (1 + exp(-u2)) : x * exp(u2) / (1 + exp(u2));
}
static double true_gelu_slope(double x) {
    const double a = 2 * sqrt(2 / acos(-1.0)), e = exp(-a * fabs(x + 0.044715 * x * x * x));
    const double sigmoid = (x < 0 ? e : 1) / (1 + e);
    return sigmoid + x * e / ((1 + e) * (1 + e)) * a * (1 + 0.134145 * x * x);
}

static void gelu_and_its_slope(void **state) {
    (void)state;
    for (double x = -12; x < 12; x += 0.01) {
        const double h = 1e-5, slope = (true_gelu(x + h) - true_gelu(x - h)) / (2 * h);
        check("gelu's slope", 0, 0, true_gelu_slope(x), slope, 1e-9);
    }
    static const float far[] = {10.0f, 10.5f, -10.5f, 30.0f, -30.0f, 1e4f, -1e4f, 1e30f, -1e30f};
    for (double at = -12; at < 12; at += 0.00037) {
        const size_t f = (size_t)((at + 12) / 0.00037);
        const float x = f < COUNT(far) ? far[f] : (float)at, dy = -1.5f;
        float y = 0, dx = 0;
        ops.gelu(&y, &x, 1);
        ops.gelu_back(&dx, &dy, &x, 1);
        // Roundings make the exponent, exp makes a relative error of them.
        const double z =
            fmin(fabs(2 * 0.7978845608 * (double)x * (1 + 0.044715 * (double)(x * x))), 400);
        const double relative = 4 * eps * z + 1e-7;
        const double want = true_gelu((double)x);
        const double e = exp(-z), share = x < 0 ? 1 / (1 + e) : e / (1 + e);
        check("gelu", 1, 0, (double)y, want, fabs(want) * (share * relative + 3 * eps) + 1e-33);
        const double slope = fabs((double)x) > 20 ? (x > 0) : true_gelu_slope((double)x);
        const double bell = e / ((1 + e) * (1 + e)) * fmin(fabs((double)x), 20) * (1 + z);
        check("gelu_back", 1, 0, (double)dx, -1.5 * slope,
              1.5 * (4 * eps * fabs(slope) + (share + (x > 0)) * share * relative +
                     3 * bell * relative + 1e-33));
    }
    float bad[2] = {NAN, INFINITY}, one[2] = {1, 1};
    ops.gelu_back(one, one, bad, 2);
    assert_true(isnan(one[0]) != 0 && one[1] == 1.0f);
    ops.gelu(bad, bad, 2);
    assert_true(isnan(bad[0]) != 0 && isfinite(bad[1]) == 0);
}

// Wherever a number stands and however the row is cut: the same bytes; in place too.
static void elements_do_not_know_their_neighbours(void **state) {
    (void)state;
    for (size_t n = 0; next_size(&n);) {
        guarded g[3];
        for (int i = 0; i < 3; i++) g[i] = filled(n, 5, 0, n + (size_t)i);
        float *x = g[0].data, *y = g[1].data, *out = g[2].data, one;
        guarded_seal(&g[1]);
        float *x0 = malloc(n * 4);
        assert_non_null(x0);
        memcpy(x0, x, n * 4);
        ops.gelu(out, x, n);
        ops.gelu(x, x, n);
        assert_memory_equal(out, x, n * 4);
        for (size_t i = 0; i < n; i++) {
            ops.gelu(&one, &x0[i], 1);
            assert_memory_equal(&one, &out[i], 4);
        }
        memcpy(x, x0, n * 4);
        ops.gelu_back(out, x, y, n);
        ops.gelu_back(x, x, y, n);
        assert_memory_equal(out, x, n * 4);
        for (size_t i = 0; i < n; i++) {
            ops.gelu_back(&one, &x0[i], &y[i], 1);
            assert_memory_equal(&one, &out[i], 4);
        }
        memcpy(x, x0, n * 4);
        ops.add(x, y, n);
        for (size_t i = 0; i < n; i++) assert_true(x[i] == x0[i] + y[i]);
        free(x0);
        for (int i = 0; i < 3; i++) guarded_free(&g[i]);
    }
}

// ---- dropout ----

static float true_dropped(float x, float p, uint64_t key, uint64_t index) {
    return (double)inki_train_hash(key, index) < (double)p * 4294967296.0 ? 0.0f
                                                                          : x * (1.0f / (1.0f - p));
}

static void check_dropout(size_t n, float p, uint64_t key, uint64_t first) {
    guarded g[2] = {filled(n, 1, 3, n), filled(n, 1, 0, n + 1)};
    float *x = g[0].data, *y = g[1].data;
    float *x0 = malloc(n * 4), *y0 = malloc(n * 4);
    assert_true(x0 != NULL && y0 != NULL);
    memcpy(x0, x, n * 4);
    memcpy(y0, y, n * 4);
    ops.dropout(x, n, p, key, first);
    ops.add_dropped(y, x0, n, p, key, first);
    for (size_t i = 0; i < n; i++) {
        const float want = true_dropped(x0[i], p, key, first + i), sum = y0[i] + want;
        assert_memory_equal(&x[i], &want, 4);
        assert_memory_equal(&y[i], &sum, 4);
    }
    for (size_t cut = 0; cut <= n; cut += n / 7 + 1) {
        memcpy(y, x0, n * 4);
        ops.dropout(y, cut, p, key, first);
        ops.dropout(y + cut, n - cut, p, key, first + cut);
        assert_memory_equal(x, y, n * 4);
    }
    memcpy(x, y0, n * 4);
    ops.add_dropped(x, x0, n, 0, key, first);
    for (size_t i = 0; i < n; i++) assert_true(x[i] == x0[i] + y0[i]);
    free(x0);
    free(y0);
    guarded_free(&g[0]);
    guarded_free(&g[1]);
}

static void dropout_is_the_hash_of_the_contract(void **state) {
    (void)state;
    static const float shares[] = {0.1f, 0.5f, 0.9f, 0.999f, 0x1.fffffep-1f, 1e-6f, 0x1p-33f};
    static const uint64_t firsts[] = {
        0, 1, 0xfffffff0u, 0xffffffffu, 0x1ffffffffu, 123456789, UINT64_MAX - 20};
    for (size_t n = 0; next_size(&n);)
        for (size_t f = 0; f < COUNT(firsts); f++)
            check_dropout(n, shares[(n + f) % COUNT(shares)], 0x123456789abcdef0u * (n + f),
                          firsts[f]);
    // The only number below 2^-33 * 2^32 is 0, the hash of (0, 0).
    assert_true(inki_train_hash(0, 0) == 0);
    float x[2] = {1, 1};
    ops.dropout(x, 2, 0x1p-33f, 0, 0);
    assert_true(x[0] == 0.0f && x[1] == 1.0f);
    float bad = NAN; // what is dropped is gone
    ops.dropout(&bad, 1, 0x1p-33f, 0, 0);
    assert_true(bad == 0.0f);
}

// Six standard deviations; keys are fixed, so that it passes always or never.
static void dropout_drops_its_share(void **state) {
    (void)state;
    enum { N = 1 << 18 };
    float *x = malloc(N * 4), *y = malloc(N * 4);
    assert_true(x != NULL && y != NULL);
    static const float shares[] = {0.05f, 0.1f, 0.5f, 0.8f};
    for (size_t s = 0; s < COUNT(shares); s++)
        for (uint64_t key = 1; key < 6; key++) {
            const double p = (double)shares[s];
            for (size_t i = 0; i < N; i++) x[i] = y[i] = 1;
            ops.dropout(x, N, shares[s], key * 0x9e3779b97f4a7c15u, key << 20);
            ops.dropout(y, N, shares[s], (key + 9) * 0x9e3779b97f4a7c15u, key << 20);
            double n_dropped = 0, n_both = 0, n_pairs = 0;
            for (size_t i = 0; i < N; i++) {
                n_dropped += x[i] == 0.0f;
                n_both += x[i] == 0.0f && y[i] == 0.0f;            // of another key
                n_pairs += x[i] == 0.0f && x[(i + 1) % N] == 0.0f; // of a neighbour
            }
            check("share", N, 0, n_dropped, N * p, 6 * sqrt(N * p * (1 - p)));
            check("share of both keys", N, 0, n_both, N * p * p, 6 * sqrt(N * p * p * (1 - p * p)));
            check("share of pairs", N, 0, n_pairs, N * p * p, 12 * sqrt(N * p * p * (1 - p * p)));
        }
    free(x);
    free(y);
}

// ---- optimiser ----

static void adamw_as_in_double(void **state) {
    (void)state;
    enum { STEPS = 25 };
    for (size_t n = 0; next_size(&n);) {
        guarded g[4];
        for (size_t i = 0; i < 4; i++) g[i] = filled(n, i < 2 ? 1 : 0, 0, n * 8 + i);
        float *w = g[0].data, *grad = g[1].data, *m = g[2].data, *v = g[3].data;
        double *truth = calloc(n * 3, sizeof *truth); // w, m, v
        assert_non_null(truth);
        for (size_t i = 0; i < n; i++) truth[i] = (double)w[i];
        inki_adamw how = {1e-3f, 0.9f, 0.999f, 1e-8f, 0.1f, 0, 0, 0};
        for (int t = 1; t <= STEPS; t++) {
            how.correction1 = (float)(1 - pow((double)how.beta1, t));
            how.correction2 = (float)(1 - pow((double)how.beta2, t));
            how.grad_scale = t % 5 == 0 ? 0.25f : 1.0f;
            fill(grad, n, 1, 0.2, n * 100 + (size_t)t);
            for (size_t i = 0; i < n; i++) grad[i] *= powf(10, (float)(i % 13) - 8);
            ops.adamw(w, grad, m, v, n, &how);
            for (size_t i = 0; i < n; i++) {
                double *tm = &truth[n + i], *tv = &truth[2 * n + i];
                const double d = (double)grad[i] * (double)how.grad_scale;
                *tm = (double)how.beta1 * *tm + (1 - (double)how.beta1) * d;
                *tv = (double)how.beta2 * *tv + (1 - (double)how.beta2) * d * d;
                const double step = *tm / (double)how.correction1 /
                                    (sqrt(*tv / (double)how.correction2) + (double)how.eps);
                truth[i] -= (double)how.rate * (step + (double)how.decay * truth[i]);
            }
        }
        for (size_t i = 0; i < n; i++) {
            // Steps are of size 1: a mean has lost a few roundings of gradients up to some times
            // the root of the squares' mean.
            check("adamw w", n, i, (double)w[i], truth[i], STEPS * (1e-3 * 40 * eps + eps));
            check("adamw v", n, i, (double)v[i], truth[2 * n + i],
                  (3 * STEPS + 3) * eps * truth[2 * n + i] + 1e-44);
            check("adamw m", n, i, (double)m[i], truth[n + i],
                  60 * eps * pow(10, (double)(i % 13) - 8));
        }
        free(truth);
        for (int i = 0; i < 4; i++) guarded_free(&g[i]);
    }
}

static void adamw_carries_what_is_not_finite(void **state) {
    (void)state;
    const inki_adamw how = {1e-3f, 0.9f, 0.999f, 1e-8f, 0.1f, 0.1f, 0.001f, 1};
    float w[3] = {1, 1, 1}, m[3] = {0}, v[3] = {0};
    const float g[3] = {NAN, 0, INFINITY};
    ops.adamw(w, g, m, v, 3, &how);
    assert_true(isnan(w[0]) != 0 && isnan(w[2]) != 0);
    check("without a gradient", 3, 1, (double)w[1], 1 - 1e-4, 2 * eps);
}

static void squares(void **state) {
    (void)state;
    static const double scales[] = {1, 1e-30, 1e30};
    for (size_t n = 0; next_size(&n);)
        for (size_t s = 0; s < COUNT(scales); s++) {
            guarded g = filled(n, scales[s], 0, n);
            float *x = g.data;
            double want = 0;
            for (size_t i = 0; i < n; i++) want += (double)x[i] * (double)x[i];
            check("sum_squares", n, 0, ops.sum_squares(x, n), want, want * 1e-13);
            const size_t at = n * 7 % 11 % n;
            x[at] = -INFINITY;
            assert_true(isinf(ops.sum_squares(x, n)) != 0);
            x[at] = NAN;
            assert_true(isnan(ops.sum_squares(x, n)) != 0);
            guarded_free(&g);
        }
    assert_true(ops.sum_squares(NULL, 0) == 0.0);
}

static int at_level(const inki_kernels *level) {
    inki_train_ops_init(&ops, (uint32_t)inki_level_by_name(level->name));
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(norm),
        cmocka_unit_test(norm_back),
        cmocka_unit_test(sums_over_rows),
        cmocka_unit_test(gelu_and_its_slope),
        cmocka_unit_test(elements_do_not_know_their_neighbours),
        cmocka_unit_test(dropout_is_the_hash_of_the_contract),
        cmocka_unit_test(dropout_drops_its_share),
        cmocka_unit_test(adamw_as_in_double),
        cmocka_unit_test(adamw_carries_what_is_not_finite),
        cmocka_unit_test(squares),
    };
    return cmocka_run_group_tests_name(level->name, tests, NULL, NULL);
}

int main(void) { return each_level(at_level); }
