// SPDX-License-Identifier: MIT
// The searching quantisers: what they write is read back by decoders of the tests' own, and its
// error is held against plain rounding, done here in double precision without any layout.
#include "base/half.h"
#include "base/tensor_type.h"
#include "convert/quantize_rows.h"
#include "guarded.h"
#include "true_blocks.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { COLS = 1024 };

static const uint32_t types[] = {INKI_Q8_0, INKI_Q4_0, INKI_Q5_0, INKI_Q5_1,
                                 INKI_Q4_K, INKI_Q5_K, INKI_Q6_K};
enum { N_TYPES = sizeof types / sizeof *types };

static size_t bytes_of(uint32_t type, size_t n) {
    uint64_t bytes = 0;
    assert_true(inki_type_row_bytes(type, n, &bytes));
    return (size_t)bytes;
}

// --- rows -------------------------------------------------------------------------------------

enum row_kind {
    ROW_UNIFORM,
    ROW_GAUSSIAN,
    ROW_HEAVY,
    ROW_LOPSIDED,
    ROW_POSITIVE,
    ROW_ZERO,
    ROW_CONSTANT,
    ROW_NEGATIVE_CONSTANT,
    ROW_SPIKE,
    ROW_LADDER, // every part of a block far smaller than the one before
    ROW_TWO_VALUES,
    ROW_TINY,      // scales are below the smallest half
    ROW_SUBNORMAL, // of floats
    ROW_LARGE,     // just within reach
    ROW_KINDS
};
static const char *const row_names[ROW_KINDS] = {
    "uniform",  "gaussian", "heavy",  "lopsided",   "positive", "zero",      "constant",
    "negative", "spike",    "ladder", "two values", "tiny",     "subnormal", "large"};

static double random_unit(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return ((double)(*state >> 11) + 0.5) / 9007199254740992.0;
}

static double random_normal(uint64_t *state) {
    const double a = random_unit(state), b = random_unit(state);
    return sqrt(-2 * log(a)) * cos(6.283185307179586 * b);
}

static void fill(float *x, size_t n, enum row_kind kind, uint32_t type, uint64_t seed) {
    uint64_t s = seed * 977 + (uint64_t)kind + 1;
    for (size_t i = 0; i < n; i++) {
        const double u = 2 * random_unit(&s) - 1, g = random_normal(&s);
        double v = 0;
        switch (kind) {
        case ROW_UNIFORM: v = 0.1 * u; break;
        case ROW_GAUSSIAN: v = 0.02 * g; break;
        case ROW_HEAVY: v = 0.01 * g / (fabs(random_normal(&s)) + 0.05); break;
        case ROW_LOPSIDED: v = exp(0.8 * g) * 0.01 - 0.005; break;
        case ROW_POSITIVE: v = 5 + 0.1 * u; break;
        case ROW_CONSTANT: v = 0.37; break;
        case ROW_NEGATIVE_CONSTANT: v = -1.7e-3; break;
        case ROW_SPIKE: v = i % 32 == seed % 32 ? -3.0 : 1e-4 * u; break;
        case ROW_LADDER: v = g * pow(4.0, -(double)(i / 16 % 16)); break;
        case ROW_TWO_VALUES: v = u > 0 ? 0.25 : -0.75; break;
        case ROW_TINY: v = 3e-8 * g; break;
        case ROW_SUBNORMAL: v = 1e-43 * u; break;
        case ROW_LARGE: v = 0.999 * (double)inki_quantize_reach(type) * u; break;
        default: break;
        }
        x[i] = (float)v;
    }
}

// --- plain rounding -----------------------------------------------------------------------------

static double half_of(double v) {
    const double h = true_half(inki_f32_to_f16((float)v));
    return isinf(h) ? copysign(65504, h) : h;
}

// What an error counts, as quantize_rows.h says.
static double weight_of(uint32_t type, const float *row, size_t i) {
    const size_t block = inki_type_of(type).block_elems;
    const float *x = row + i / block * block;
    double mean = 0;
    if (type != INKI_Q4_0) return 1;
    for (size_t k = 0; k < block; k++) mean += (double)x[k] * (double)x[k] / (double)block;
    return (double)row[i] * (double)row[i] + mean;
}

// x [n] and its weights, for the plain quantisers.
typedef struct weighted {
    const float *x;
    const double *w;
} weighted;

// Of n values with a scale and a minimum; integers from low to high.
static double error_with(weighted b, size_t n, double d, double min, int low, int high) {
    const float *x = b.x;
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        double q = d != 0 ? nearbyint(((double)x[i] - min) / d) : 0;
        q = q < low ? low : q > high ? high : q;
        const double e = (double)x[i] - min - d * q;
        sum += b.w[i] * e * e;
    }
    return sum;
}

static double largest_of(const float *x, size_t n) {
    double most = 0;
    for (size_t i = 0; i < n; i++)
        if (fabs((double)x[i]) > fabs(most)) most = (double)x[i];
    return most;
}

static void range_of(const float *x, size_t n, double *least, double *most) {
    *least = *most = (double)x[0];
    for (size_t i = 0; i < n; i++) {
        // No fmin: gcc 12 for AArch64 fails on the loop that it makes of it.
        *least = (double)x[i] < *least ? (double)x[i] : *least;
        *most = (double)x[i] > *most ? (double)x[i] : *most;
    }
}

static weighted behind(weighted b, size_t n) { return (weighted){b.x + n, b.w + n}; }

static double plain_symmetric(weighted b, int low, int high) {
    return error_with(b, 32, half_of(largest_of(b.x, 32) / low), 0, low, high);
}

static double plain_affine(weighted b, int high) {
    double least, most;
    range_of(b.x, 32, &least, &most);
    return error_with(b, 32, half_of((most - least) / high), half_of(least), 0, high);
}

static double plain_six_bits(weighted b, int high) {
    double scales[8], mins[8], top_scale = 0, top_min = 0, sum = 0;
    for (int k = 0; k < 8; k++) {
        double least, most;
        range_of(b.x + 32 * k, 32, &least, &most);
        mins[k] = -fmin(least, 0);
        scales[k] = (most + mins[k]) / high;
        top_scale = scales[k] > top_scale ? scales[k] : top_scale;
        top_min = mins[k] > top_min ? mins[k] : top_min;
    }
    const double d = half_of(top_scale / 63), m = half_of(top_min / 63);
    for (int k = 0; k < 8; k++) {
        const double s = d > 0 ? fmin(63, nearbyint(scales[k] / d)) : 0;
        const double t = m > 0 ? fmin(63, nearbyint(mins[k] / m)) : 0;
        sum += error_with(behind(b, 32 * (size_t)k), 32, d * s, -m * t, 0, high);
    }
    return sum;
}

static double plain_q6_k(weighted b) {
    double scales[16], top = 0, sum = 0;
    for (int k = 0; k < 16; k++) {
        scales[k] = largest_of(b.x + 16 * k, 16) / -32;
        if (fabs(scales[k]) > fabs(top)) top = scales[k];
    }
    const double d = half_of(top / -128);
    for (int k = 0; k < 16; k++) {
        const double s = d != 0 ? fmax(-128, fmin(127, nearbyint(scales[k] / d))) : 0;
        sum += error_with(behind(b, 16 * (size_t)k), 16, d * s, 0, -32, 31);
    }
    return sum;
}

static double plain_error(uint32_t type, const float *x, size_t n) {
    double sum = 0, w[COLS];
    assert_true(n <= COLS);
    for (size_t i = 0; i < n; i++) w[i] = weight_of(type, x, i);
    for (size_t k = 0; k < n; k += inki_type_of(type).block_elems) switch (type) {
        case INKI_Q8_0: sum += plain_symmetric((weighted){x + k, w + k}, -127, 127); break;
        case INKI_Q4_0: sum += plain_symmetric((weighted){x + k, w + k}, -8, 7); break;
        case INKI_Q5_0: sum += plain_symmetric((weighted){x + k, w + k}, -16, 15); break;
        case INKI_Q5_1: sum += plain_affine((weighted){x + k, w + k}, 31); break;
        case INKI_Q4_K: sum += plain_six_bits((weighted){x + k, w + k}, 15); break;
        case INKI_Q5_K: sum += plain_six_bits((weighted){x + k, w + k}, 31); break;
        default: sum += plain_q6_k((weighted){x + k, w + k}); break;
        }
    return sum;
}

static double written_error(uint32_t type, const float *x, const void *row, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        const double e = (double)x[i] - true_weight(type, row, i, NULL);
        assert_true(isfinite(e));
        sum += weight_of(type, x, i) * e * e;
    }
    return sum;
}

// --- tests --------------------------------------------------------------------------------------

static void test_no_worse_than_rounding(void **state) {
    (void)state;
    static float x[COLS];
    for (size_t t = 0; t < N_TYPES; t++)
        for (int kind = 0; kind < ROW_KINDS; kind++)
            for (uint64_t seed = 1; seed <= 3; seed++) {
                guarded row = guarded_new(bytes_of(types[t], COLS));
                fill(x, COLS, (enum row_kind)kind, types[t], seed);
                assert_true(inki_quantize_row_fit(types[t], row.data, x, COLS));
                const double ours = written_error(types[t], x, row.data, COLS);
                const double plain = plain_error(types[t], x, COLS);
                // The search compares sums of 32 to 256 floats, each rounded a few times.
                if (!(ours <= plain * (1 + 1e-5)))
                    fail_msg("%s, %s, seed %d: error %g, rounding has %g",
                             inki_type_of(types[t]).name, row_names[kind], (int)seed, ours, plain);
                guarded_free(&row);
            }
}

// What the search is for: on numbers such as weights have, a good part of rounding's error goes.
static void test_gain(void **state) {
    (void)state;
    static float x[64 * COLS];
    static const double most[N_TYPES] = {0.9, 0.95, 0.95, 0.95, 0.93, 0.93, 0.93};
    for (size_t t = 0; t < N_TYPES; t++) {
        double ours = 0, plain = 0;
        uint8_t *row = malloc(bytes_of(types[t], COLS));
        fill(x, 64 * COLS, ROW_GAUSSIAN, types[t], 9);
        for (size_t r = 0; r < 64; r++) {
            assert_true(inki_quantize_row_fit(types[t], row, x + r * COLS, COLS));
            ours += written_error(types[t], x + r * COLS, row, COLS);
            plain += plain_error(types[t], x + r * COLS, COLS);
        }
        printf("%s: %.3f of the squared error of rounding\n", inki_type_of(types[t]).name,
               ours / plain);
        assert_true(ours < most[t] * plain);
        free(row);
    }
}

// A NaN or an infinity anywhere is refused; nothing undefined happens on the way.
static void test_not_finite(void **state) {
    (void)state;
    static float x[COLS];
    static const float wrong[] = {NAN, -NAN, INFINITY, -INFINITY};
    for (size_t t = 0; t < N_TYPES; t++)
        for (size_t i = 0; i < 4; i++)
            for (size_t at = 0; at < COLS; at += 341) {
                guarded row = guarded_new(bytes_of(types[t], COLS));
                fill(x, COLS, ROW_GAUSSIAN, types[t], at);
                x[at] = wrong[i];
                assert_false(inki_quantize_row_fit(types[t], row.data, x, COLS));
                guarded_free(&row);
            }
}

// Every finite float is taken, also what is out of reach: then the largest scale is written.
static void test_any_finite(void **state) {
    (void)state;
    static float x[COLS];
    for (size_t t = 0; t < N_TYPES; t++) {
        guarded row = guarded_new(bytes_of(types[t], COLS));
        uint64_t s = 77 + t;
        for (int round = 0; round < 200; round++) {
            for (size_t i = 0; i < COLS; i++) {
                uint32_t bits = (uint32_t)(random_unit(&s) * 4294967296.0);
                if ((bits & 0x7f800000) == 0x7f800000) bits &= 0xff7fffff;
                x[i] = inki_f32_from_bits(bits);
                // Neighbours in size, else the largest of a block drowns the others.
                if (round % 2 == 1)
                    x[i] = ldexpf(x[i] == 0 ? 0 : frexpf(x[i], &(int){0}), round - 100);
            }
            assert_true(inki_quantize_row_fit(types[t], row.data, x, COLS));
            for (size_t i = 0; i < COLS; i++)
                assert_true(isfinite(true_weight(types[t], row.data, i, NULL)));
        }
        guarded_free(&row);
    }
}

static void test_same_bytes(void **state) {
    (void)state;
    static float x[COLS];
    for (size_t t = 0; t < N_TYPES; t++) {
        const size_t n = bytes_of(types[t], COLS), block = inki_type_of(types[t]).block_elems;
        uint8_t *a = malloc(n), *b = malloc(n);
        memset(a, 0x55, n);
        memset(b, 0xaa, n);
        fill(x, COLS, ROW_HEAVY, types[t], 8);
        assert_true(inki_quantize_row_fit(types[t], a, x, COLS));
        for (size_t k = 0; k < COLS; k += block) // a block at a time
            assert_true(inki_quantize_row_fit(types[t], b + bytes_of(types[t], k), x + k, block));
        assert_memory_equal(a, b, n);
        free(a);
        free(b);
    }
}

// -128 is no byte of Q8_0: sign tricks of kernels have no room for its negative.
static void test_no_minus_128(void **state) {
    (void)state;
    static float x[COLS];
    uint8_t row[COLS / 32 * 34];
    for (uint64_t seed = 0; seed < 50; seed++) {
        fill(x, COLS, seed % 2 ? ROW_UNIFORM : ROW_SPIKE, INKI_Q8_0, seed);
        assert_true(inki_quantize_row_fit(INKI_Q8_0, row, x, COLS));
        for (size_t k = 0; k < COLS / 32; k++)
            for (size_t i = 0; i < 32; i++) assert_int_not_equal(row[34 * k + 2 + i], 0x80);
    }
}

static void test_refused(void **state) {
    (void)state;
    float x[256] = {0};
    uint8_t row[4096];
    assert_false(inki_quantize_row_fit(INKI_Q8_0, row, x, 31));
    assert_false(inki_quantize_row_fit(INKI_Q4_K, row, x, 128));
    assert_false(inki_quantize_row_fit(INKI_F32, row, x, 32));
    assert_false(inki_quantize_row_fit(INKI_Q2_K, row, x, 256));
    assert_false(inki_quantize_row_fit(12345, row, x, 256));
    assert_true(inki_quantize_reach(INKI_F16) == 0);
    assert_true(inki_quantize_reach(12345) == 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_no_worse_than_rounding),
                                       cmocka_unit_test(test_gain),
                                       cmocka_unit_test(test_not_finite),
                                       cmocka_unit_test(test_any_finite),
                                       cmocka_unit_test(test_same_bytes),
                                       cmocka_unit_test(test_no_minus_128),
                                       cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests_name("quantize rows", tests, NULL, NULL);
}
