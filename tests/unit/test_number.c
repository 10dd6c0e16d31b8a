// SPDX-License-Identifier: MIT
// Numbers as text, against the C library's strtod and printf in the "C" locale (both exact in
// glibc).
#include "base/half.h"
#include "base/number.h"
#include "random_numbers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <fenv.h>
#include <float.h>
#include <inttypes.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t bits_of(double d) {
    uint64_t u;
    memcpy(&u, &d, 8);
    return u;
}

static void expect_like_strtod(const char *text) {
    double mine = NAN;
    if (!inki_parse_double(text, strlen(text), &mine)) fail_msg("\"%s\" was refused", text);
    const double theirs = strtod(text, NULL);
    if (bits_of(mine) != bits_of(theirs)) fail_msg("\"%s\": %a instead of %a", text, mine, theirs);
}

static void known_numbers(void **state) {
    (void)state;
    static const char *const texts[] = {
        "0",
        "-0",
        "0.0",
        "1",
        "-1",
        "0.1",
        "-1.5e3",
        ".5",
        "5.",
        "-.25e-2",
        "1e0",
        "1E5",
        "1e+5",
        "1e-5",
        "007",
        "0.8",
        "0.95",
        "3.14159265358979323",
        "9007199254740993",
        "9007199254740992",
        "9007199254740991",
        "9007199254740995",
        "18446744073709551615",
        "1e22",
        "1e23",
        "8.5e22",
        "1.7976931348623157e308",
        "1.7976931348623158e308",
        "1.7976931348623159e308",
        "1e308",
        "1e309",
        "1e310",
        "-1e400",
        "1e99999",
        "1e99999999999999999999999999",
        "1e-99999999999999999999999999",
        "0e99999999999999999999999999",
        "4.9406564584124654e-324",
        "2.4703282292062327e-324",
        "2.4703282292062328e-324",
        "1e-323",
        "2.2250738585072014e-308",
        "2.2250738585072011e-308",
        "2.225073858507201e-308",
        "1e-324",
        "1e-400",
        "0.000000000000000000000000000000000000000000000001",
        "1000000000000000000000000000000000000000",
        "0.00000000000000000000000000000e30",
        "1.00000000000000000000000000000000000001",
        "12345678901234567890123",
        "99999999999999999999999999",
        "6.5e-320",
        "5e-324",
        "3e-324",
        "inf",
        "-inf",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) expect_like_strtod(texts[i]);
}

static void what_is_no_number_is_refused(void **state) {
    (void)state;
    static const char *const texts[] = {
        "",      "-",    "+1",   ".",     "-.",       "e5",   ".e5", "1e",   "1e+",
        "1e-",   "1e5.", "1e5x", "1.2.3", " 1",       "1 ",   "1,5", "0x10", "nan",
        "NaN",   "-nan", "Inf",  "INF",   "infinity", "inf ", "--1", "1-",   "1_0",
        "1e1e1", "in",   "i",    "1f",    "\xd9\xa1", "1e 5", "- 1",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        double out = 42.0;
        if (inki_parse_double(texts[i], strlen(texts[i]), &out))
            fail_msg("\"%s\" was read", texts[i]);
        assert_true(out == 42.0);
    }
    double out = 42.0;
    assert_false(inki_parse_double("1\0", 2, &out));
    assert_true(inki_parse_double("123", 2, &out)); // n counts, not the 0 byte
    assert_true(out == 12.0);
}

static void random_decimals_are_rounded_correctly(void **state) {
    (void)state;
    uint64_t random = 1;
    char text[64];
    for (int i = 0; i < 200000; i++) {
        uint64_t digits = next_random(&random);
        digits >>= next_random(&random) % 64;
        if (digits >= UINT64_C(10000000000000000000)) digits /= 10; // 19 digits
        const int exponent = (int)(next_random(&random) % 680) - 360;
        snprintf(text, sizeof text, "%" PRIu64 "e%d", digits, exponent);
        expect_like_strtod(text);
    }
}

static void halfway_cases_go_to_even(void **state) {
    (void)state;
    char text[64];
    uint64_t random = 2;
    for (int i = 0; i < 20000; i++) { // 2^53 <= odd + 0.5 unit, exactly representable in 17 digits
        const uint64_t m = (UINT64_C(1) << 53) + (next_random(&random) >> 12);
        snprintf(text, sizeof text, "%" PRIu64, m | 1);
        expect_like_strtod(text);
        snprintf(text, sizeof text, "%" PRIu64 ".5", m >> 1);
        expect_like_strtod(text);
    }
}

static void doubles_of_17_digits_come_back(void **state) {
    (void)state;
    uint64_t random = 3;
    char text[64];
    for (int i = 0; i < 100000; i++) {
        const uint64_t bits = next_random(&random);
        double value, back = 0;
        memcpy(&value, &bits, 8);
        if (!isfinite(value)) continue;
        snprintf(text, sizeof text, "%.16e", value);
        assert_true(inki_parse_double(text, strlen(text), &back));
        if (bits_of(back) != bits) fail_msg("%s", text);
    }
}

static void floats_look_as_expected(void **state) {
    (void)state;
    static const struct {
        float value;
        const char *text;
    } cases[] = {
        {0.0f, "0"},
        {-0.0f, "-0"},
        {1.0f, "1"},
        {-1.5f, "-1.5"},
        {0.8f, "0.8"},
        {0.95f, "0.95"},
        {0.05f, "0.05"},
        {40.0f, "40"},
        {100.0f, "100"},
        {1e5f, "100000"},
        {1e-5f, "0.00001"},
        {1.25e-5f, "0.0000125"},
        {1e-6f, "1e-6"},
        {9.5e-7f, "9.5e-7"},
        {1e14f, "100000000000000"},
        {1e15f, "1e15"},
        {1.5e20f, "1.5e20"},
        {16777216.0f, "16777216"},
        {0.1f, "0.1"},
        {0.3f, "0.3"},
        {1.0f / 3.0f, "0.33333334"},
        {FLT_MAX, "3.4028235e38"},
        {-FLT_MAX, "-3.4028235e38"},
        {FLT_MIN, "1.1754944e-38"},
        {1e-45f, "1e-45"},
        {2.8e-45f, "3e-45"},
        {INFINITY, "inf"},
        {-INFINITY, "-inf"},
        {NAN, "nan"},
        {8388609.0f, "8388609"},
        {123456.789f, "123456.79"},
        {472275.125f, "472275.12"}, // a tie between two texts of eight digits
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char out[32];
        const size_t n = inki_format_float(cases[i].value, out, sizeof out);
        assert_string_equal(out, cases[i].text);
        assert_int_equal(n, strlen(cases[i].text));
    }
    char small[8] = "xxxxxxx";
    assert_int_equal(inki_format_float(1.0f, small, sizeof small), 0);
    assert_string_equal(small, "");
}

// Digits of a text without sign, point, exponent, leading and trailing zeros.
static int count_digits(const char *text) {
    int n = 0, trailing = 0;
    for (; *text != 0 && *text != 'e'; text++) {
        if (*text < '0' || *text > '9' || (n == 0 && *text == '0')) continue;
        n++;
        trailing = *text == '0' ? trailing + 1 : 0;
    }
    return n - trailing;
}

static void expect_shortest(float value) {
    char mine[32], theirs[64];
    double back = NAN;
    const size_t n = inki_format_float(value, mine, sizeof mine);
    if (!inki_parse_double(mine, n, &back))
        fail_msg("%a: \"%s\" cannot be read", (double)value, mine);
    if (inki_f32_bits((float)back) != inki_f32_bits(value))
        fail_msg("%a: \"%s\" reads as %a", (double)value, mine, back);
    int digits = 1; // the fewest digits with which printf's correctly rounded text reads back
    for (; digits <= 9; digits++) {
        snprintf(theirs, sizeof theirs, "%.*e", digits - 1, (double)value);
        if (strtof(theirs, NULL) == value) break;
    }
    if (count_digits(mine) > digits)
        fail_msg("%a: \"%s\", but \"%s\"", (double)value, mine, theirs);
    if (count_digits(mine) == count_digits(theirs) && strtod(theirs, NULL) != back)
        fail_msg("%a: \"%s\" is not the nearest, \"%s\" is", (double)value, mine, theirs);
}

static void random_floats_come_back_and_are_short(void **state) {
    (void)state;
    const int n = getenv("INKLING_TEST_LONG") != NULL ? 20000000 : 200000;
    if (n == 200000) printf("left out: 19.8 million more floats (INKLING_TEST_LONG)\n");
    uint64_t random = 4;
    for (int i = 0; i < n; i++) {
        const float value = inki_f32_from_bits((uint32_t)(next_random(&random) >> 32));
        if (isfinite(value) && value != 0.0f) expect_shortest(value);
    }
    for (uint32_t e = 0; e < 255; e++) // both sides of every power of two
        for (int32_t d = -2; d <= 2; d++) {
            const float value = inki_f32_from_bits((uint32_t)((int32_t)(e << 23) + d) & 0x7fffffff);
            if (isfinite(value) && value != 0.0f) expect_shortest(value);
        }
    for (int i = 1; i < 100000; i++) expect_shortest((float)i / 1000.0f);
}

static void check_conversions(void) {
    double out = 0;
    char text[32];
    assert_true(inki_parse_double("1.5", 3, &out));
    assert_true(out == 1.5);
    assert_false(inki_parse_double("1,5", 3, &out));
    assert_true(inki_parse_double("0.1", 3, &out));
    assert_true(bits_of(out) == UINT64_C(0x3fb999999999999a));
    inki_format_float(1234.5f, text, sizeof text);
    assert_string_equal(text, "1234.5");
    inki_format_float(0.1f, text, sizeof text);
    assert_string_equal(text, "0.1");
}

static void the_locale_does_not_matter(void **state) {
    (void)state;
    static const char *const names[] = {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "fr_FR.utf8",
                                        "ru_RU.UTF-8"};
    bool found = false;
    for (size_t i = 0; i < sizeof names / sizeof *names && !found; i++)
        found = setlocale(LC_ALL, names[i]) != NULL && localeconv()->decimal_point[0] == ',';
    if (!found) printf("left out: no locale with a decimal comma is installed\n");
    check_conversions();
    setlocale(LC_ALL, "C");
}

static void the_rounding_mode_does_not_matter(void **state) {
    (void)state;
    static const int modes[] = {FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO};
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        fesetround(modes[i]);
        check_conversions();
        double a = 0, b = 0;
        inki_parse_double("0.3", 3, &a);
        inki_parse_double("1e23", 4, &b);
        fesetround(FE_TONEAREST);
        assert_true(bits_of(a) == UINT64_C(0x3fd3333333333333));
        assert_true(bits_of(b) == UINT64_C(0x44b52d02c7e14af6));
    }
}

static void a_very_long_number_is_read(void **state) {
    (void)state;
    enum { N = 100000 };
    char *text = malloc(N);
    assert_non_null(text);
    memset(text, '0', N);
    text[1] = '.';
    text[N - 7] = '1';
    memcpy(text + N - 6, "e99993", 6);
    double out = 0;
    assert_true(inki_parse_double(text, N, &out)); // the one stands at 10^-(N - 8)
    assert_true(out == 10.0);
    memset(text, '9', N);
    assert_true(inki_parse_double(text, N, &out));
    assert_true(isinf(out));
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_numbers),
        cmocka_unit_test(what_is_no_number_is_refused),
        cmocka_unit_test(random_decimals_are_rounded_correctly),
        cmocka_unit_test(halfway_cases_go_to_even),
        cmocka_unit_test(doubles_of_17_digits_come_back),
        cmocka_unit_test(floats_look_as_expected),
        cmocka_unit_test(random_floats_come_back_and_are_short),
        cmocka_unit_test(the_locale_does_not_matter),
        cmocka_unit_test(the_rounding_mode_does_not_matter),
        cmocka_unit_test(a_very_long_number_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
