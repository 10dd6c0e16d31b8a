// SPDX-License-Identifier: MIT
// The word filter: what matches, what is held back, the list's errors and memory.
#include "filter_oracle.h"
#include "heap.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

static ink_filter *made(const char *const *phrases, size_t n) {
    ink_filter *f = NULL;
    ink_error error = {0};
    if (ink_filter_new(&f, NULL, phrases, n, &error) != INK_OK) fail_msg("%s", error.message);
    return f;
}

// phrases: separated by '|'.
static ink_filter *made_of(const char *phrases) {
    static char copy[4096];
    const char *list[16];
    size_t n = 0;
    assert_true(strlen(phrases) < sizeof copy);
    strcpy(copy, phrases);
    for (char *p = copy; p != NULL && n < COUNT(list);) {
        list[n++] = p;
        p = strchr(p, '|');
        if (p != NULL) *p++ = 0;
    }
    return made(list, n);
}

typedef struct found_case {
    const char *phrases, *text;
    const char *found; // where the first phrase begins in the text, up to its end; NULL: none
    size_t at;
} found_case;

// One row a rule of the header.
static const found_case found_cases[] = {
    {"bad", "a bad word", "bad", 2},
    {"bad", "bad", "bad", 0},
    {"bad", "", NULL, 0},
    {"bad", "a BaD word", "BaD", 2},
    {"BAD", "a bad word", "bad", 2},
    {"bad", "badly", NULL, 0},
    {"bad", "abad", NULL, 0},
    {"bad", "2bad", NULL, 0},
    {"bad", "bad2", NULL, 0},
    {"bad", "badbad bad", "bad", 7},
    {"bad", "_bad_", "bad", 1},
    {"bad", "(bad)", "bad", 1},
    {"bad", "a-bad-one", "bad", 2},
    {"bad",
     "\xff"
     "bad\xff",
     "bad", 1},
    {"bad",
     "ba\xff"
     "d",
     NULL, 0},
    {"bad", "ba", NULL, 0},
    // Case folding beyond ASCII, with forms of other lengths.
    {"\u00e9t\u00e9", "l'\u00c9T\u00c9.", "\u00c9T\u00c9", 2},
    {"\u03c3\u03bf\u03c6\u03cc\u03c2", "\u03a3\u039f\u03a6\u038c\u03a3",
     "\u03a3\u039f\u03a6\u038c\u03a3", 0},
    {"sik", "\u017fi\u212a", "\u017fi\u212a", 0}, // long s, Kelvin sign
    {"\u017fi\u212a", "SIK", "SIK", 0},
    {"\u2c65x", "\u023aX", "\u023aX", 0}, // three bytes and two
    {"\u023ax", "\u2c65X", "\u2c65X", 0},
    {"stra\u00dfe", "STRA\u1e9eE", "STRA\u1e9eE", 0},
    {"strasse", "stra\u00dfe", NULL, 0},              // simple folding only
    {"\U0001e922b", "\U0001e900B", "\U0001e900B", 0}, // Adlam
    {"\u0456", "i", NULL, 0},
    // Letters as they are written, and marks as parts of a word.
    {"\u00e9", "e\u0301", NULL, 0},
    {"e", "e\u0301", NULL, 0},
    {"bad", "bad\u0301", NULL, 0},
    {"bad",
     "e\u0301"
     "bad",
     NULL, 0},
    {"e\u0301", "E\u0301!", "E\u0301", 0},
    {"\u0915\u093f", "\u0915\u093f\u0924", NULL, 0},
    {"\u0915", "\u0915\u093f", NULL, 0},
    // White space.
    {"bad word", "a bad  \t\n word", "bad  \t\n word", 2},
    {"bad word", "bad\u00a0\u3000\u2028word", "bad\u00a0\u3000\u2028word", 0},
    {" bad\t\n word ", "BAD WORD", "BAD WORD", 0},
    {"bad word", "badword", NULL, 0},
    {"badword", "bad word", NULL, 0},
    {"bad word", "bad-word", NULL, 0},
    {"bad word", "bad words", NULL, 0},
    {"bad word", "abad word", NULL, 0},
    {"bad word", "bad bad word", "bad word", 4},
    // What is not seen.
    {"bad", "b\u00ada\u200bd", "b\u00ada\u200bd", 0},
    {"bad",
     "b\u200c\u200d\u2060\ufeff"
     "ad",
     "b\u200c\u200d\u2060\ufeff"
     "ad",
     0},
    {"b\u00adad", "bad", "bad", 0},
    {"bad",
     "\u200b"
     "bad\u200b",
     "bad", 3},
    {"bad",
     "x\u200b"
     "bad",
     NULL, 0},
    {"bad", "bad\u00adly", NULL, 0},
    {"bad word", "bad\u200b \u200bword", "bad\u200b \u200bword", 0},
    {"bad",
     "b\u034f"
     "a\ufe0f"
     "d",
     "b\u034f"
     "a\ufe0f"
     "d",
     0},
    // Scripts without spaces.
    {"\u574f\u8bdd", "\u8bf4\u574f\u8bdd\u4e86", "\u574f\u8bdd", 3},
    {"\u574f\u8bdd", "x\u574f\u8bddx", "\u574f\u8bdd", 1},
    {"\u574f \u8bdd", "\u574f\u3000\u8bdd", "\u574f\u3000\u8bdd", 0},
    {"\u574f\u8bdd", "\u574f", NULL, 0},
    {"\U00020000", "a\U00020000b", "\U00020000", 1},
    {"\u30d0\u30fc", "\u30b9\u30fc\u30d1\u30fc\u30d0\u30fc\u3067", "\u30d0\u30fc", 12},
    {"\uff8a\uff9e\uff76", "x\uff8a\uff9e\uff76x", "\uff8a\uff9e\uff76", 1},
    {"\u0e40\u0e25\u0e27", "\u0e04\u0e19\u0e40\u0e25\u0e27\u0e21\u0e32\u0e01", "\u0e40\u0e25\u0e27",
     6},
    {"\u1781\u17d2", "\u1780\u1781\u17d2\u1798", "\u1781\u17d2", 3},
    {"\ub098\uc05c", "\ub098\uc05c\ub2e4", NULL, 0}, // Hangul has spaces
    {"\ub098\uc05c", "(\ub098\uc05c)", "\ub098\uc05c", 1},
    {"bad\u574f", "bad\u574fx", "bad\u574f", 0}, // one end needs the border
    {"bad\u574f", "xbad\u574fx", NULL, 0},
    {"bad",
     "\u574f"
     "bad\u574f",
     "bad", 3}, // and such a neighbour is one
    // Which of several.
    {"bad word|bad", "bad word", "bad", 0},
    {"bad word|word", "bad word", "bad word", 0},
    {"bad word|word", "bad words word", "word", 10},
    {"bad word|badly", "badly", "badly", 0},
    {"\u574f\u8bdd|\u574f", "\u574f\u8bdd", "\u574f", 0},
    // Other characters belong to a phrase too.
    {"c++", "in C++.", "C++", 3},
    {"c++", "c++11", NULL, 0},
    {"#tag", "a #tag", "#tag", 2},
    {"#tag", "a#tag", NULL, 0},
    {"a\u274c", "A\u274c", "A\u274c", 0},
};

static void test_found(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(found_cases); i++) {
        const found_case *c = &found_cases[i];
        ink_filter *f = made_of(c->phrases);
        size_t at = 77, length = 77;
        assert_int_equal(ink_filter_find(f, c->text, strlen(c->text), &at, &length), INK_OK);
        const size_t want = c->found != NULL ? strlen(c->found) : 0;
        if (length != want || (want > 0 && at != c->at) ||
            (want > 0 && memcmp(c->text + at, c->found, want) != 0))
            fail_msg("\"%s\" in \"%s\": %zu bytes at %zu", c->phrases, c->text, length, at);
        ink_filter_unref(f);
    }
}

typedef struct open_case {
    const char *phrases, *text;
    size_t open_at, at, bytes;
} open_case;

static const open_case open_cases[] = {
    {"bad", "", 0, 0, 0},
    {"bad", "so b", 3, 0, 0},
    {"bad", "so ba", 3, 0, 0},
    {"bad", "so bad", 3, 0, 0}, // may become "badly"
    {"bad", "so bad\u00ad", 3, 0, 0},
    {"bad", "so bad\xcc", 3, 0, 0}, // may become a mark
    {"bad", "so badl", 7, 0, 0},
    {"bad", "so bad ", 7, 3, 3},
    {"bad", "so bad.", 7, 3, 3},
    {"bad", "so bad\xff", 7, 3, 3},
    {"bad", "so", 2, 0, 0},
    {"bad", "so ", 3, 0, 0},
    {"bad", "sob", 3, 0, 0},
    {"bad word", "bad", 0, 0, 0},
    {"bad word", "bad ", 0, 0, 0},
    {"bad word", "bad \n", 0, 0, 0},
    {"bad word", "bad \n w", 0, 0, 0},
    {"bad word", "bad \n we", 8, 0, 0},
    {"bad word", "bad bad", 4, 0, 0},
    {"bad|bad word", "bad", 0, 0, 0},
    {"bad|bad word", "bad ", 4, 0, 3},
    {"bad|bad word", "bad b", 4, 0, 3},
    {"a b c|b", "a b ", 0, 2, 1}, // an open one before a complete one
    {"\u574f\u8bdd", "\u8bf4\u574f", 3, 0, 0},
    {"\u574f\u8bdd", "\u8bf4\u574f\u8bdd", 9, 3, 6}, // no border needed
    {"\u574f\u8bdd", "\u8bf4\u574f\xe8", 3, 0, 0},
    {"\u574f", "x\xe5\x9d", 1, 0, 0},
    {"bad", "x\xe5\x9d", 1, 0, 0}, // whatever the list has
    {"bad", "x\xe5\x9dy", 4, 0, 0},
    {"bad", "x\xff", 2, 0, 0},
    {"bad word", "bad \xe2\x80", 0, 0, 0},
};

static void test_open(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(open_cases); i++) {
        const open_case *c = &open_cases[i];
        const size_t bytes = strlen(c->text);
        ink_filter *f = made_of(c->phrases);
        inki_filter_hits hits;
        inki_filter_scan(f, c->text, bytes, 0, false, &hits);
        if (hits.open_at != c->open_at || hits.bytes != c->bytes ||
            (c->bytes > 0 && hits.at != c->at))
            fail_msg("\"%s\" in \"%s\": open %zu, %zu bytes at %zu", c->phrases, c->text,
                     hits.open_at, hits.bytes, hits.at);
        inki_filter_scan(f, c->text, bytes, 0, true, &hits);
        assert_int_equal(hits.open_at, bytes);
        ink_filter_unref(f);
    }
}

// White space and what is not seen: 64 bytes in a row are part of a phrase, 65 are not, and what is
// held back ends there.
static void test_gaps(void **state) {
    (void)state;
    ink_filter *f = made_of("bad word");
    char text[128];
    for (size_t gap = 60; gap < 70; gap++) {
        memcpy(text, "bad", 3);
        memset(text + 3, ' ', gap);
        memcpy(text + 3 + gap, "word", 4);
        inki_filter_hits hits;
        inki_filter_scan(f, text, gap + 7, 0, true, &hits);
        assert_int_equal(hits.bytes, gap <= 64 ? gap + 7 : 0);
        inki_filter_scan(f, text, gap + 3, 0, false, &hits);
        assert_int_equal(hits.open_at, gap <= 64 ? 0 : gap + 3);
    }
    ink_filter_unref(f);
    f = made_of("bad");
    for (size_t gap = 60; gap < 70; gap += 2) {
        text[0] = 'x';
        for (size_t i = 0; i < gap; i += 2) memcpy(text + 1 + i, "\u00ad", 2);
        memcpy(text + 1 + gap, "bad", 3);
        inki_filter_hits hits;
        inki_filter_scan(f, text, gap + 4, 0, true, &hits);
        assert_int_equal(hits.bytes, gap <= 64 ? 0 : 3); // a border
    }
    ink_filter_unref(f);
}

// The longest that stands between a phrase and the letter that denies it, both of four bytes.
static void test_reach(void **state) {
    (void)state;
    ink_filter *f = made_of("\U00010428");
    char text[128];
    size_t bytes = 4;
    memcpy(text, "\U00010428", 4);
    for (; bytes < 68; bytes += 2) memcpy(text + bytes, "\u00ad", 2);
    memcpy(text + bytes, "\U00010400", 4);
    inki_filter_hits hits;
    inki_filter_scan(f, text, 72, 4, true, &hits);
    assert_int_equal(hits.bytes, 0);
    inki_filter_scan(f, text, 72, 68, true, &hits);
    assert_int_equal(hits.bytes, 0);
    const size_t reach = inki_filter_reach(f);
    assert_true(reach >= 71); // from the last place that a phrase can end behind
    inki_filter_scan(f, text + 1, 71, 67, true, &hits); // what a shorter reach would find
    assert_int_equal(hits.bytes, 4);
    ink_filter_unref(f);
    f = made_of("two\t words|1"); // eight characters, and the border
    assert_true(inki_filter_reach(f) >= 9 * 4 + 8 * 64);
    ink_filter_unref(f);
}

static void test_from(void **state) {
    (void)state;
    ink_filter *f = made_of("bad|\u574f");
    const char *text = "bad xbad bad \u574fz";
    const size_t bytes = strlen(text);
    inki_filter_hits hits;
    inki_filter_scan(f, text, bytes, 1, false, &hits);
    assert_int_equal(hits.at, 9);
    inki_filter_scan(f, text, bytes, 5, false, &hits); // what lies before is looked at for a border
    assert_int_equal(hits.at, 9);
    inki_filter_scan(f, text, bytes, 10, false, &hits);
    assert_int_equal(hits.at, 13);
    inki_filter_scan(f, text, bytes, 14, false, &hits); // inside a character
    assert_int_equal(hits.bytes, 0);
    inki_filter_scan(f, text + 5, bytes - 5, 0, false, &hits); // the same text, given from there on
    assert_int_equal(hits.at, 0);
    inki_filter_scan(f, text, bytes, bytes, false, &hits);
    assert_int_equal(hits.open_at, bytes);
    inki_filter_scan(f, text, bytes, bytes + 1, false, &hits);
    assert_int_equal(hits.open_at, bytes);
    assert_int_equal(hits.bytes, 0);
    inki_filter_scan(f, NULL, 0, 0, false, &hits);
    assert_int_equal(hits.bytes + hits.open_at, 0);
    ink_filter_unref(f);
}

static ink_status try_list(const char *const *list, size_t n, ink_error *error) {
    ink_filter *f = NULL;
    *error = (ink_error){0};
    const ink_status status = ink_filter_new(&f, NULL, list, n, error);
    if (status != INK_OK) {
        assert_null(f);
        assert_int_equal(error->status, status);
    }
    ink_filter_unref(f);
    return status;
}

static void test_bad_lists(void **state) {
    (void)state;
    static char longest[INKI_FILTER_MAX_BYTES + 2];
    memset(longest, 'a', sizeof longest - 1);
    const struct {
        const char *phrase;
        ink_status status;
        const char *message;
    } cases[] = {
        {NULL, INK_E_ARG, "phrases[1]: is NULL, expected a string"},
        {"", INK_E_ARG, "phrases[1]: is empty, expected a letter or digit"},
        {" \n", INK_E_ARG, "phrases[1]: has no letter or digit"},
        {"!?", INK_E_ARG, "phrases[1]: has no letter or digit"},
        {"\u0301", INK_E_ARG, "phrases[1]: has no letter or digit"},
        {"\u00ad\u200b", INK_E_ARG, "phrases[1]: has no letter or digit"},
        {"\u3164", INK_E_ARG, "phrases[1]: has no letter or digit"}, // a letter nobody sees
        {"ab\xff", INK_E_UTF8, "phrases[1]: is not UTF-8 at byte 2"},
        {"\xed\xa0\x80", INK_E_UTF8, "phrases[1]: is not UTF-8 at byte 0"},
        {"a\xe5\x9d", INK_E_UTF8, "phrases[1]: is not UTF-8 at byte 1"},
        {longest, INK_E_LIMIT, "phrases[1]: is longer than 1024 bytes"},
        {longest + 1, INK_OK, NULL},
        {"7", INK_OK, NULL},
        {"\u2167", INK_OK, NULL}, // a number
    };
    ink_error error;
    for (size_t i = 0; i < COUNT(cases); i++) {
        const char *list[] = {"fine", cases[i].phrase, "fine too"};
        assert_int_equal(try_list(list, 3, &error), cases[i].status);
        if (cases[i].message != NULL) assert_string_equal(error.message, cases[i].message);
    }
    const char *one[] = {"one"};
    assert_int_equal(try_list(one, 0, &error), INK_E_ARG);
    assert_int_equal(try_list(NULL, 1, &error), INK_E_ARG);
    assert_int_equal(try_list(NULL, 0, &error), INK_E_ARG);
    assert_int_equal(try_list(one, (1u << 20) + 1, &error), INK_E_LIMIT);
    assert_int_equal(try_list(one, SIZE_MAX, &error), INK_E_LIMIT);
    assert_int_equal(ink_filter_new(NULL, NULL, one, 1, &error), INK_E_ARG);
    assert_int_equal(ink_filter_new(NULL, NULL, one, 1, NULL), INK_E_ARG);
}

static void test_bad_calls(void **state) {
    (void)state;
    ink_filter *f = made_of("bad");
    size_t at = 5, length = 6;
    assert_int_equal(ink_filter_find(NULL, "bad", 3, &at, &length), INK_E_ARG);
    assert_int_equal(ink_filter_find(f, NULL, 3, &at, &length), INK_E_ARG);
    assert_int_equal(ink_filter_find(f, "bad", 3, NULL, &length), INK_E_ARG);
    assert_int_equal(ink_filter_find(f, "bad", 3, &at, NULL), INK_E_ARG);
    assert_int_equal(at, 5);
    assert_int_equal(length, 6);
    assert_int_equal(ink_filter_find(f, NULL, 0, &at, &length), INK_OK);
    assert_int_equal(length, 0);
    assert_int_equal(ink_filter_find(f, "a\0bad", 5, &at, &length), INK_OK); // 0 is a character
    assert_int_equal(at, 2);
    assert_int_equal(ink_filter_find(f, "ba\0d", 4, &at, &length), INK_OK);
    assert_int_equal(length, 0);
    ink_filter_unref(NULL);
    assert_null(inki_filter_ref(NULL));
    ink_filter_unref(f);
}

// A list of n words, some of them twice, each found and nothing else.
static void test_many(void **state) {
    (void)state;
    enum { N = 5000 };
    static char words[N][16];
    static const char *list[N];
    for (unsigned i = 0; i < N; i++) {
        snprintf(words[i], sizeof words[i], "%s%u", i % 3 != 0 ? "w" : "W", i * 7919 % 4000 * 2);
        list[i] = words[i];
    }
    ink_filter *f = made(list, N);
    for (unsigned i = 0; i < 8000; i++) {
        char text[32];
        const int n = snprintf(text, sizeof text, "- w%u.", i);
        size_t at, length;
        assert_int_equal(ink_filter_find(f, text, (size_t)n, &at, &length), INK_OK);
        assert_int_equal(length, i % 2 == 0 ? n - 3 : 0);
        if (length > 0) assert_int_equal(at, 2);
    }
    ink_filter_unref(f);
}

static void test_memory(void **state) {
    (void)state;
    const char *list[] = {"one", "two words", "\u4e09"};
    size_t n = 1;
    for (;; n++) {
        heap h = {.fail_at = n};
        const ink_allocator allocator = heap_allocator(&h);
        const inki_mem mem = inki_mem_from(&allocator);
        ink_filter *f = NULL;
        ink_error error = {0};
        const ink_status status = inki_filter_new(&f, &mem, list, COUNT(list), &error);
        if (status == INK_OK) {
            const size_t allocs = h.n_allocs;
            inki_filter_hits hits;
            inki_filter_scan(f, "two\nwords", 9, 0, false, &hits);
            assert_int_equal(h.n_allocs, allocs); // a scan takes no memory
            ink_filter *second = inki_filter_ref(f);
            ink_filter_unref(f);
            assert_true(h.live_blocks > 0);
            ink_filter_unref(second);
        } else {
            assert_int_equal(status, INK_E_NOMEM);
            assert_int_equal(error.status, INK_E_NOMEM);
            assert_null(f);
        }
        assert_int_equal(h.live_blocks, 0);
        assert_int_equal(h.wrong_releases, 0);
        if (h.n_allocs < n) {
            assert_int_equal(status, INK_OK);
            break;
        }
    }
    assert_true(n > 1);
}

static void test_runtime_memory(void **state) {
    (void)state;
    heap h = {0};
    const ink_allocator allocator = heap_allocator(&h);
    ink_runtime_options o;
    ink_runtime_options_init(&o, sizeof o);
    o.allocator = &allocator;
    ink_runtime *runtime = NULL;
    ink_filter *f = NULL;
    const char *list[] = {"bad"};
    size_t at, length;
    assert_int_equal(ink_runtime_new(&runtime, &o, NULL), INK_OK);
    const size_t before = h.live_bytes;
    assert_int_equal(ink_filter_new(&f, runtime, list, 1, NULL), INK_OK);
    assert_true(h.live_bytes > before);
    ink_runtime_unref(runtime); // any order of release
    assert_int_equal(ink_filter_find(f, "bad", 3, &at, &length), INK_OK);
    assert_int_equal(length, 3);
    ink_filter_unref(f);
    assert_int_equal(h.live_bytes, 0);
    assert_int_equal(h.wrong_releases, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_found),          cmocka_unit_test(test_open),
        cmocka_unit_test(test_gaps),           cmocka_unit_test(test_from),
        cmocka_unit_test(test_bad_lists),      cmocka_unit_test(test_bad_calls),
        cmocka_unit_test(test_many),           cmocka_unit_test(test_memory),
        cmocka_unit_test(test_runtime_memory), cmocka_unit_test(test_reach),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
