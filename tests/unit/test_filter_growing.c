// SPDX-License-Identifier: MIT
// Random lists and texts of few characters, against a filter that compares everything: what is
// found, and what is held back while the text grows byte by byte. And several threads at once.
#include "filter_oracle.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static uint64_t random_state;

static uint32_t below(uint32_t n) {
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((random_state >> 33) % n);
}

#define TEN_JOINERS                                                                                \
    "\u200d\u200d\u200d\u200d\u200d"                                                               \
    "\u200d\u200d\u200d\u200d\u200d"

// The first ones are also in phrases. What folds alike, borders of each kind, gaps about as long as
// they may be, broken bytes.
static const char *const pieces[] = {"a",
                                     "b",
                                     "A",
                                     " ",
                                     "\u574f",
                                     "\u8bdd",
                                     "1",
                                     "k",
                                     "\u212a",
                                     "\u0301",
                                     "-",
                                     "\u00e9",
                                     "\u0e01",
                                     "\u00ad",
                                     "\u3000",
                                     "B",
                                     "\u00c9",
                                     "\n",
                                     "\u200b",
                                     "x",
                                     "\xe5",
                                     "\x9d",
                                     "\xff",
                                     "\xe2\x80",
                                     TEN_JOINERS TEN_JOINERS "\u00ad\u00ad",
                                     TEN_JOINERS TEN_JOINERS "   ",
                                     TEN_JOINERS TEN_JOINERS "     "};
enum { PIECES = sizeof pieces / sizeof *pieces, IN_PHRASES = 15 };

static size_t put_pieces(char *out, uint32_t most, uint32_t kinds) {
    size_t bytes = 0;
    out[0] = 0;
    for (uint32_t i = 1 + below(most); i > 0; i--) {
        // A long gap now and then only.
        uint32_t k = below(kinds);
        if (k >= PIECES - 3 && below(2) > 0) k = below(4);
        const size_t n = strlen(pieces[k]);
        memcpy(out + bytes, pieces[k], n + 1);
        bytes += n;
    }
    return bytes;
}

static bool has_letter(const char *phrase) { return strpbrk(phrase, "abA1k\xe5\xe8\xc3\xb8\x84"); }

static void test_against_oracle(void **state) {
    (void)state;
    static oracle o;
    static char phrases[8][128], text[ORACLE_TEXT];
    const char *list[8];
    const bool all = getenv("INKLING_TEST_LONG") != NULL;
    const uint64_t n_cases = all ? 200000 : 1500;
    size_t n_hits = 0, n_open = 0;
    if (!all) print_message("left out: 198500 of 200000 random cases (INKLING_TEST_LONG)\n");
    for (uint64_t seed = 1; seed <= n_cases; seed++) {
        random_state = seed;
        const uint32_t n = 1 + below(6), few = 3 + below(IN_PHRASES - 2);
        for (uint32_t i = 0; i < n; i++) {
            do put_pieces(phrases[i], 1 + below(5), few);
            while (!has_letter(phrases[i]));
            list[i] = phrases[i];
        }
        ink_filter *f = NULL;
        ink_error error = {0};
        if (ink_filter_new(&f, NULL, list, n, &error) != INK_OK) fail_msg("%s", error.message);
        oracle_init(&o, list, n);
        const size_t bytes = put_pieces(text, 14, below(3) > 0 ? few : PIECES);
        if (!oracle_check(f, &o, text, bytes)) {
            for (uint32_t i = 0; i < n; i++) print_error("phrase \"%s\"\n", list[i]);
            fail_msg("seed %llu, text \"%s\"", (unsigned long long)seed, text);
        }
        inki_filter_hits hits;
        inki_filter_scan(f, text, bytes, 0, false, &hits);
        n_hits += hits.bytes > 0;
        n_open += hits.open_at < bytes;
        ink_filter_unref(f);
    }
    // The cases are worth something.

    assert_true(n_hits > n_cases / 5 && n_open > n_cases / 8);
}

// A text at whose every word a phrase as long as may be almost begins: slow, but it ends.
static void test_hostile_text(void **state) {
    (void)state;
    enum { BYTES = 8192 };
    static char phrase[INKI_FILTER_MAX_BYTES + 1], text[BYTES];
    for (size_t i = 0; i < INKI_FILTER_MAX_BYTES - 1; i++) phrase[i] = i % 2 == 0 ? 'a' : ' ';
    phrase[INKI_FILTER_MAX_BYTES - 2] = 'b';
    for (size_t i = 0; i < BYTES; i++) text[i] = i % 2 == 0 ? 'a' : ' ';
    const char *list[] = {phrase};
    ink_filter *f = NULL;
    assert_int_equal(ink_filter_new(&f, NULL, list, 1, NULL), INK_OK);
    inki_filter_hits hits;
    inki_filter_scan(f, text, BYTES, 0, false, &hits);
    assert_int_equal(hits.bytes, 0);
    assert_int_equal(hits.open_at, BYTES - (INKI_FILTER_MAX_BYTES - 2));
    text[BYTES - 2] = 'b';
    inki_filter_scan(f, text, BYTES, 0, false, &hits);
    assert_int_equal(hits.at, BYTES - 2 - (INKI_FILTER_MAX_BYTES - 2));
    assert_int_equal(hits.bytes, INKI_FILTER_MAX_BYTES - 1);
    assert_int_equal(hits.open_at, BYTES);
    memset(text, ' ', BYTES); // one endless gap
    text[0] = 'a';
    inki_filter_scan(f, text, BYTES, 0, false, &hits);
    assert_int_equal(hits.bytes, 0);
    assert_int_equal(hits.open_at, BYTES);
    ink_filter_unref(f);
}

static void *scan_and_drop(void *arg) {
    ink_filter *f = arg;
    size_t bad = 0;
    for (int i = 0; i < 1000; i++) {
        size_t at, length;
        ink_filter *mine = inki_filter_ref(f);
        if (ink_filter_find(mine, "no BAD word", 11, &at, &length) != INK_OK || at != 3) bad++;
        ink_filter_unref(mine);
    }
    ink_filter_unref(f);
    return bad > 0 ? &random_state : NULL;
}

static void test_threads(void **state) {
    (void)state;
    const char *list[] = {"bad"};
    ink_filter *f = NULL;
    pthread_t threads[4];
    assert_int_equal(ink_filter_new(&f, NULL, list, 1, NULL), INK_OK);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, scan_and_drop, inki_filter_ref(f)), 0);
    ink_filter_unref(f);
    for (int i = 0; i < 4; i++) {
        void *failed;
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_oracle),
        cmocka_unit_test(test_hostile_text),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
