// SPDX-License-Identifier: MIT
// Whole characters and stop strings, however the bytes are cut into tokens.
#include "engine/text_stream.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef struct outcome {
    char text[512];
    size_t n;
    bool stopped;
} outcome;

static void take(outcome *o, inki_str ready) {
    assert_int_equal(ready.data[ready.bytes], 0);
    assert_true(o->n + ready.bytes < sizeof o->text);
    memcpy(o->text + o->n, ready.data, ready.bytes);
    o->n += ready.bytes;
    o->text[o->n] = 0;
}

static ink_status push(inki_text_stream *ts, inki_str bytes, inki_str *ready, bool *stopped,
                       ink_error *error) {
    inki_text_event event = {.ready = {"", 0}};
    const ink_status status = inki_text_stream_push(ts, bytes, &event, error);
    *ready = event.ready;
    *stopped = event.stopped;
    assert_int_equal(event.n_too_much, 0);
    return status;
}

// Pushes text [n] in pieces of `step` bytes (0: all at once) and flushes, as generation does.
static outcome push_all(const char *text, size_t n, size_t step, const char *const *stop,
                        size_t n_stop) {
    const inki_mem mem = inki_mem_from(NULL);
    inki_text_stream ts = {0};
    outcome o = {.n = 0};
    inki_str ready;
    assert_int_equal(inki_text_stream_init(&ts, stop, n_stop, NULL, &mem, NULL), INK_OK);
    for (size_t at = 0; at < n && !o.stopped;) {
        const size_t take_n = step == 0 || step > n - at ? n - at : step;
        const inki_str piece = {text + at, take_n};
        assert_int_equal(push(&ts, piece, &ready, &o.stopped, NULL), INK_OK);
        take(&o, ready);
        at += take_n;
    }
    if (!o.stopped) {
        assert_int_equal(inki_text_stream_flush(&ts, true, &ready, NULL), INK_OK);
        take(&o, ready);
    }
    inki_text_stream_free(&ts);
    return o;
}

static void expect(const char *text, const char *const *stop, size_t n_stop, const char *wanted,
                   bool stopped) {
    for (size_t step = 0; step <= 5; step++) {
        const outcome o = push_all(text, strlen(text), step, stop, n_stop);
        assert_string_equal(o.text, wanted);
        assert_int_equal(o.stopped, stopped);
    }
}

static void test_plain(void **state) {
    (void)state;
    expect("", NULL, 0, "", false);
    expect("hello world", NULL, 0, "hello world", false);
    expect("na\xc3\xafve \xe4\xb8\x96\xe7\x95\x8c \xf0\x9f\x99\x82", NULL, 0,
           "na\xc3\xafve \xe4\xb8\x96\xe7\x95\x8c \xf0\x9f\x99\x82", false);
}

static void test_half_character_stays_unsaid(void **state) {
    (void)state;
    expect("ab\xf0\x9f\x99", NULL, 0, "ab", false);
    expect("ab\xe4", NULL, 0, "ab", false);
}

static void test_bytes_that_are_no_character(void **state) {
    (void)state;
    expect("a\x80"
           "b",
           NULL, 0,
           "a\xef\xbf\xbd"
           "b",
           false);
    expect("a\xe4\xb8"
           "b",
           NULL, 0,
           "a\xef\xbf\xbd\xef\xbf\xbd"
           "b",
           false);
    expect("\xff\xff", NULL, 0, "\xef\xbf\xbd\xef\xbf\xbd", false);
    expect("\xc0\xaf", NULL, 0, "\xef\xbf\xbd\xef\xbf\xbd", false);
}

static void test_stop_strings(void **state) {
    (void)state;
    const char *const one[] = {"END"};
    expect("some text END more", one, 1, "some text ", true);
    expect("ENEND", one, 1, "EN", true);
    expect("no stop: EN", one, 1, "no stop: EN", false);
    const char *const two[] = {"\n\n", "Lily"};
    expect("a\nb\n\nc", two, 2, "a\nb", true);
    expect("said Lil", two, 2, "said Lil", false);
    expect("Lilac Lily", two, 2, "Lilac ", true);
    const char *const wide[] = {"\xe4\xb8\x96\xe7\x95\x8c"};
    expect("a\xe4\xb8\x96"
           "b\xe4\xb8\x96\xe7\x95\x8c",
           wide, 1,
           "a\xe4\xb8\x96"
           "b",
           true);
    const char *const overlapping[] = {"aab"};
    expect("aaab", overlapping, 1, "a", true);
}

static void test_nul_bytes_pass(void **state) {
    (void)state;
    const char *const stop[] = {"ab"};
    const outcome o = push_all("x\0a\0y", 5, 1, stop, 1);
    assert_int_equal(o.n, 5);
    assert_memory_equal(o.text, "x\0a\0y", 5);
}

// A text without any stop string must come out at once but for its last bytes: holding back more
// than a possible beginning would delay the words.
static void test_nothing_is_held_without_need(void **state) {
    (void)state;
    const inki_mem mem = inki_mem_from(NULL);
    const char *const stop[] = {"END"};
    inki_text_stream ts = {0};
    inki_str ready;
    bool stopped;
    assert_int_equal(inki_text_stream_init(&ts, stop, 1, NULL, &mem, NULL), INK_OK);
    assert_int_equal(push(&ts, (inki_str){"the E", 5}, &ready, &stopped, NULL), INK_OK);
    assert_int_equal(ready.bytes, 4);
    assert_int_equal(push(&ts, (inki_str){"x", 1}, &ready, &stopped, NULL), INK_OK);
    assert_string_equal(ready.data, "Ex");
    inki_text_stream_free(&ts);
}

static void test_bad_stops(void **state) {
    (void)state;
    const inki_mem mem = inki_mem_from(NULL);
    const char *const empty[] = {"ok", ""}, *const null[] = {NULL};
    inki_text_stream ts = {0};
    ink_error error = {0};
    assert_int_equal(inki_text_stream_init(&ts, empty, 2, NULL, &mem, &error), INK_E_ARG);
    assert_non_null(strstr(error.message, "stop string 1"));
    assert_int_equal(inki_text_stream_init(&ts, null, 1, NULL, &mem, &error), INK_E_ARG);
    assert_int_equal(inki_text_stream_init(&ts, NULL, 1, NULL, &mem, &error), INK_E_ARG);
}

// A token of thousands of bytes, more than the buffers begin with.
static void test_long_piece(void **state) {
    (void)state;
    const inki_mem mem = inki_mem_from(NULL);
    enum { N = 10000 };
    char *text = malloc(N);
    assert_non_null(text);
    memset(text, 0x80, N);
    inki_text_stream ts = {0};
    inki_str ready;
    bool stopped;
    assert_int_equal(inki_text_stream_init(&ts, NULL, 0, NULL, &mem, NULL), INK_OK);
    assert_int_equal(push(&ts, (inki_str){text, N}, &ready, &stopped, NULL), INK_OK);
    assert_int_equal(ready.bytes, 3 * N);
    inki_text_stream_free(&ts);
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_half_character_stays_unsaid),
        cmocka_unit_test(test_bytes_that_are_no_character),
        cmocka_unit_test(test_stop_strings),
        cmocka_unit_test(test_nul_bytes_pass),
        cmocka_unit_test(test_nothing_is_held_without_need),
        cmocka_unit_test(test_bad_stops),
        cmocka_unit_test(test_long_piece),
    };
    return cmocka_run_group_tests_name("text stream", tests, NULL, NULL);
}
