// SPDX-License-Identifier: MIT
// JSON as text: strings that are valid whatever they were, numbers that no locale changes.
#include "server/json_out.h"

#include <locale.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void check_string(const char *data, size_t bytes, const char *expected) {
    srv_text text = {0};
    srv_text_string(&text, data, bytes);
    srv_text_add(&text, "", 1);
    assert_false(text.failed);
    assert_string_equal(text.data, expected);
    srv_text_free(&text);
}

static void test_strings(void **state) {
    (void)state;
    check_string("", 0, "\"\"");
    check_string("a\"b\\c\n\r\t", 8, "\"a\\\"b\\\\c\\n\\r\\t\"");
    check_string("\0\x1f\x7f", 3, "\"\\u0000\\u001f\\u007f\"");
    check_string("\xc3\xa9\xe6\x97\xa5\xf0\x9f\x98\x80", 9,
                 "\"\xc3\xa9\xe6\x97\xa5\xf0\x9f\x98\x80\"");
    check_string("a\xff"
                 "b\xc3",
                 4,
                 "\"a\xef\xbf\xbd"
                 "b\xef\xbf\xbd\"");
    check_string("\xed\xa0\x80", 3, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
}

// Every character is told apart from what only looks like one.
static void test_utf8(void **state) {
    (void)state;
    for (uint32_t c = 0x80; c <= 0x110000; c++) {
        char bytes[4];
        size_t n;
        if (c < 0x800) {
            n = 2;
            bytes[0] = (char)(0xc0 | c >> 6);
        } else if (c < 0x10000) {
            n = 3;
            bytes[0] = (char)(0xe0 | c >> 12);
            bytes[1] = (char)(0x80 | (c >> 6 & 63));
        } else {
            n = 4;
            bytes[0] = (char)(0xf0 | c >> 18);
            bytes[1] = (char)(0x80 | (c >> 12 & 63));
            bytes[2] = (char)(0x80 | (c >> 6 & 63));
        }
        bytes[n - 1] = (char)(0x80 | (c & 63));
        const bool valid = c < 0x110000 && (c < 0xd800 || c > 0xdfff);
        if (srv_utf8_length(bytes, n) != (valid ? n : 0)) fail_msg("U+%04X", (unsigned)c);
        if (srv_utf8_length(bytes, n - 1) != 0) fail_msg("U+%04X, cut", (unsigned)c);
    }
    assert_int_equal(srv_utf8_length("\xc0\x80", 2) + srv_utf8_length("\xe0\x80\x80", 3) +
                         srv_utf8_length("\xf0\x80\x80\x80", 4) + srv_utf8_length("\x80", 1) +
                         srv_utf8_length("", 0),
                     0);
}

static void check_real(double number, unsigned n_digits, const char *expected) {
    srv_text text = {0};
    srv_text_real(&text, number, n_digits);
    srv_text_add(&text, "", 1);
    assert_string_equal(text.data, expected);
    srv_text_free(&text);
}

static void test_numbers(void **state) {
    (void)state;
    const char *locale = setlocale(LC_ALL, "de_DE.UTF-8");
    if (locale == NULL) print_message("left out: numbers in a locale that writes 0,5\n");
    check_real(0, 3, "0");
    check_real(-0.0004, 3, "0");
    check_real(0.5, 3, "0.5");
    check_real(-12.3456, 3, "-12.346");
    check_real(-12.3456, 9, "-12.3456");
    check_real(1.05, 3, "1.05");
    check_real(0.001, 3, "0.001");
    check_real(2.9999, 3, "3");
    check_real(7.7, 0, "8");
    check_real(-9999, 7, "-9999");
    check_real(4e9, 3, "4000000000");
    check_real((double)NAN, 3, "null");
    check_real((double)INFINITY, 3, "null");
    check_real(1e300, 3, "null");
    setlocale(LC_ALL, "C");
    srv_text text = {0};
    srv_text_uint(&text, UINT64_MAX);
    srv_text_puts(&text, " ");
    srv_text_int(&text, INT64_MIN);
    srv_text_add(&text, "", 1);
    assert_string_equal(text.data, "18446744073709551615 -9223372036854775808");
    srv_text_free(&text);
}

static void test_growing(void **state) {
    (void)state;
    srv_text text = {0};
    for (int i = 0; i < 100000; i++) srv_text_puts(&text, i % 2 == 0 ? "ab" : "c");
    assert_int_equal(text.bytes, 150000);
    for (size_t i = 0; i < text.bytes; i++) assert_int_equal(text.data[i], "abc"[i % 3]);
    srv_text_clear(&text);
    assert_int_equal(text.bytes, 0);
    // More than there is: told, and forgotten with clear.
    srv_text_add(&text, "", SIZE_MAX / 2);
    assert_true(text.failed);
    srv_text_puts(&text, "x");
    assert_int_equal(text.bytes, 0);
    srv_text_clear(&text);
    srv_text_puts(&text, "x");
    assert_int_equal(text.bytes, 1);
    srv_text_free(&text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_strings),
        cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_growing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
