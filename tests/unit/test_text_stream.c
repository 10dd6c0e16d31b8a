// SPDX-License-Identifier: MIT
// Whole characters and stop strings, however the bytes are cut into tokens.
#include "engine/text_stream.h"

#include "heap.h"

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

// While everything is held, what stands before a stop string is too: it may be taken back with it.
static void test_held_before_a_stop_string(void **state) {
    (void)state;
    const inki_mem mem = inki_mem_from(NULL);
    const char *const stop[] = {", and"};
    inki_text_stream ts = {0};
    inki_str ready;
    bool stopped;
    assert_int_equal(inki_text_stream_init(&ts, stop, 1, NULL, &mem, NULL), INK_OK);
    ts.hold = true;
    assert_int_equal(push(&ts, (inki_str){"a word", 6}, &ready, &stopped, NULL), INK_OK);
    assert_int_equal(push(&ts, (inki_str){"y, an", 5}, &ready, &stopped, NULL), INK_OK);
    assert_false(stopped);
    assert_int_equal(push(&ts, (inki_str){"d so", 4}, &ready, &stopped, NULL), INK_OK);
    assert_true(stopped);
    assert_int_equal(ready.bytes, 0);
    assert_int_equal(ts.n_held, 7);
    inki_text_stream_pop(&ts, 9); // the last two pieces
    assert_int_equal(ts.n_held, 6);
    assert_int_equal(push(&ts, (inki_str){"!, and", 6}, &ready, &stopped, NULL), INK_OK);
    assert_true(stopped);
    assert_int_equal(inki_text_stream_flush(&ts, true, &ready, NULL), INK_OK);
    assert_string_equal(ready.data, "a word!");
    inki_text_stream_free(&ts);
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

// --- stop strings, searched plainly --------------------------------------------------------------

static uint32_t next_random(uint64_t *state, uint32_t below) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33) % below;
}

enum { MOST_STOPS = 4, LONGEST_STOP = 7, MOST_HELD = 256 };

typedef struct plain {
    char stop[MOST_STOPS][LONGEST_STOP + 1];
    size_t n_stop;
    char held[MOST_HELD];
    size_t n_held;
} plain;

// What is given out of the held bytes, with those of a new piece: looked at from every byte on.
static size_t plain_push(plain *p, const char *piece, size_t n, bool *stopped) {
    memcpy(p->held + p->n_held, piece, n);
    p->n_held += n;
    *stopped = false;
    for (size_t at = 0; at < p->n_held; at++)
        for (size_t i = 0; i < p->n_stop; i++) {
            const size_t length = strlen(p->stop[i]);
            if (length > p->n_held - at || memcmp(p->held + at, p->stop[i], length) != 0) continue;
            *stopped = true;
            return at;
        }
    for (size_t at = 0; at < p->n_held; at++)
        for (size_t i = 0; i < p->n_stop; i++)
            if (strlen(p->stop[i]) > p->n_held - at &&
                memcmp(p->held + at, p->stop[i], p->n_held - at) == 0)
                return at;
    return p->n_held;
}

static void random_letters(uint64_t *random, char *out, size_t n, uint32_t n_letters) {
    for (size_t i = 0; i < n; i++) out[i] = (char)('a' + next_random(random, n_letters));
    out[n] = 0;
}

// Pieces, and bytes taken back, until a stop string ends it. Returns whether one did.
static bool like_plain(uint64_t seed) {
    uint64_t random = seed;
    const uint32_t n_letters = 1 + next_random(&random, 3);
    plain p = {.n_stop = 1 + next_random(&random, MOST_STOPS)};
    const char *stop[MOST_STOPS];
    for (size_t i = 0; i < p.n_stop; i++) {
        random_letters(&random, p.stop[i], 1 + next_random(&random, LONGEST_STOP), n_letters);
        stop[i] = p.stop[i];
    }
    const inki_mem mem = inki_mem_from(NULL);
    inki_text_stream ts = {0};
    assert_int_equal(inki_text_stream_init(&ts, stop, p.n_stop, NULL, &mem, NULL), INK_OK);
    bool stopped = false;
    for (int step = 0; step < 60 && !stopped; step++) {
        char piece[6];
        const size_t n = next_random(&random, sizeof piece);
        random_letters(&random, piece, n, n_letters + 1);
        inki_str ready;
        bool ts_stopped;
        const size_t given = plain_push(&p, piece, n, &stopped);
        assert_int_equal(push(&ts, (inki_str){piece, n}, &ready, &ts_stopped, NULL), INK_OK);
        assert_int_equal(ts_stopped, stopped);
        assert_int_equal(ready.bytes, given);
        assert_memory_equal(ready.data, p.held, given);
        p.n_held -= given;
        memmove(p.held, p.held + given, p.n_held);
        if (stopped) break;
        assert_int_equal(ts.n_held, p.n_held);
        const size_t back = next_random(&random, 4) == 0 && p.n_held > 0
                                ? next_random(&random, (uint32_t)p.n_held + 1)
                                : 0;
        inki_text_stream_pop(&ts, back);
        p.n_held -= back;
    }
    inki_text_stream_free(&ts);
    return stopped;
}

static void test_like_a_plain_search(void **state) {
    (void)state;
    size_t n_stopped = 0;
    for (uint64_t seed = 0; seed < 20000; seed++) n_stopped += like_plain(seed);
    print_message("%zu of 20000 were stopped\n", n_stopped);
    assert_true(n_stopped > 2000 && n_stopped < 19000);
}

// Stop strings that the text goes along for 64 KiB, and that end otherwise. Each byte is read once:
// looking at every place again would be 10^14 comparisons. Nothing is allocated on the way.
static void test_long_stops(void **state) {
    (void)state;
    enum { N = 65536 };
    heap h = {0};
    const ink_allocator allocator = heap_allocator(&h);
    const inki_mem mem = inki_mem_from(&allocator);
    char *one = malloc(N + 2), *two = malloc(N + 2);
    assert_true(one != NULL && two != NULL);
    memset(one, 'a', N);
    memcpy(one + N, "b", 2);
    for (size_t i = 0; i < N; i++) two[i] = i % 2 == 0 ? 'a' : 'c';
    memcpy(two + N, "b", 2);
    const char *const stop[] = {one, two};
    inki_text_stream ts = {0};
    inki_str ready;
    bool stopped = false;
    size_t given = 0;
    assert_int_equal(inki_text_stream_init(&ts, stop, 2, NULL, &mem, NULL), INK_OK);
    const size_t n_allocs = h.n_allocs;
    for (size_t i = 0; i < 2 * N; i++) {
        assert_int_equal(push(&ts, (inki_str){"a", 1}, &ready, &stopped, NULL), INK_OK);
        assert_false(stopped);
        given += ready.bytes;
    }
    assert_int_equal(given, N); // the rest could be the first one still
    for (size_t i = 0; i < 2 * N; i++) {
        assert_int_equal(push(&ts, (inki_str){&"ca"[i % 2], 1}, &ready, &stopped, NULL), INK_OK);
        assert_false(stopped);
        given += ready.bytes;
    }
    assert_int_equal(given, 3 * N + 1); // "a" and 2 N - 1 of "caca…" end with a beginning of two
    assert_int_equal(push(&ts, (inki_str){"cb", 2}, &ready, &stopped, NULL), INK_OK);
    assert_true(stopped);
    assert_int_equal(given + ready.bytes, 3 * N + 1);
    assert_int_equal(h.n_allocs, n_allocs);
    inki_text_stream_free(&ts);
    assert_int_equal(h.live_blocks, 0);
    free(one);
    free(two);
}

// A long phrase that the text comes close to, with all that a filter looks back at before it.
static void test_nothing_is_allocated_on_the_way(void **state) {
    (void)state;
    enum { N = 1000 };
    heap h = {0};
    const ink_allocator allocator = heap_allocator(&h);
    const inki_mem mem = inki_mem_from(&allocator);
    char phrase[N + 1];
    memset(phrase, 'x', N);
    phrase[N] = 0;
    const char *const phrases[] = {phrase};
    ink_filter *filter = NULL;
    assert_int_equal(ink_filter_new(&filter, NULL, phrases, 1, NULL), INK_OK);
    inki_text_stream ts = {0};
    assert_int_equal(inki_text_stream_init(&ts, NULL, 0, filter, &mem, NULL), INK_OK);
    const size_t n_allocs = h.n_allocs, reach = inki_filter_reach(filter);
    inki_str ready;
    bool stopped;
    for (size_t n = 0; n < 3 * reach; n += N) {
        phrase[N - 1] = ' ';
        for (size_t at = 0; at < N; at += 10)
            assert_int_equal(push(&ts, (inki_str){phrase + at, 10}, &ready, &stopped, NULL),
                             INK_OK);
        assert_int_equal(ready.bytes, N); // all at once, when it has become another word
    }
    assert_int_equal(h.n_allocs, n_allocs);
    inki_text_stream_free(&ts);
    assert_int_equal(h.live_blocks, 0);
    ink_filter_unref(filter);
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
        cmocka_unit_test(test_held_before_a_stop_string),
        cmocka_unit_test(test_long_piece),
        cmocka_unit_test(test_like_a_plain_search),
        cmocka_unit_test(test_long_stops),
        cmocka_unit_test(test_nothing_is_allocated_on_the_way),
    };
    return cmocka_run_group_tests_name("text stream", tests, NULL, NULL);
}
