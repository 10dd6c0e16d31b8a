// SPDX-License-Identifier: MIT
// Words, sentences, lines and paragraphs against definitions that look at one character at a time,
// whose kinds the test knows by itself.
#include "inkling/inkling.h"
#include "tokenizer/unicode_scripts.h"

#include "words_known.h"

// --- the definitions -----------------------------------------------------------------------------

// The first character behind the word that begins at `from`.
static size_t word_end(const known *k, size_t from) {
    size_t i = from + 1;
    while (i < k->n && k->c[i]->kind != BLANK && !starts_word(k, i)) i++;
    return i;
}

static size_t first_start(const known *k) {
    size_t i = 0;
    while (i < k->n && !starts_word(k, i)) i++;
    return i;
}

static bool naive_sentence(const known *k, size_t *end) {
    for (size_t i = 0; i < k->n; i++) {
        if ((k->c[i]->more & STOP) == 0) continue;
        size_t e = i + 1;
        while (e < k->n && (k->c[e]->more & CLOSER) != 0) e++;
        if ((k->c[i]->more & WIDE_STOP) != 0 ||
            (e < k->n && (k->c[e]->kind == BLANK || k->c[e]->kind == SINGLE))) {
            *end = k->at[e];
            return true;
        }
    }
    return false;
}

static bool is(const known *k, size_t i, char c) {
    return k->at[i + 1] - k->at[i] == 1 && k->text[k->at[i]] == c;
}

static bool letter_before(const known *k, size_t i) {
    while (i > 0)
        if (k->c[--i]->kind != BLANK) return true;
    return false;
}

static bool naive_line(const known *k, size_t *end) {
    const bool led = k->n > 0 && (is(k, 0, '\n') || is(k, 0, '\r'));
    for (size_t i = 0; i < k->n; i++) {
        if (!is(k, i, '\n') && !is(k, i, '\r')) continue;
        if (led && !letter_before(k, i)) continue;
        *end = k->at[i];
        return true;
    }
    return false;
}

static bool naive_paragraph(const known *k, size_t *end) {
    for (size_t i = 0; i < k->n; i++) {
        if (!is(k, i, '\n') || !letter_before(k, i)) continue;
        size_t next = i + 1;
        while (next < k->n && k->c[next]->kind == BLANK && !is(k, next, '\n')) next++;
        if (next == k->n || !is(k, next, '\n')) continue;
        *end = k->at[i > 0 && is(k, i - 1, '\r') ? i - 1 : i];
        return true;
    }
    return false;
}

// --- one text, all functions ---------------------------------------------------------------------

static void check_first(const known *k, const char *text, size_t bytes) {
    const size_t from = first_start(k), end = from < k->n ? word_end(k, from) : k->n;
    bool whole = from >= k->n;
    assert_int_equal(inki_words_first(text, bytes, &whole), k->at[end]);
    assert_int_equal(whole, end < k->n);
    size_t bare = end;
    while (bare > from && (k->c[bare - 1]->more & PUNCTUATION) != 0) bare--;
    if (bare == from) bare = end;
    size_t n = 999;
    assert_int_equal(inki_words_first_bare(text, bytes, &n), k->at[from]);
    assert_int_equal(n, k->at[bare] - k->at[from]);

    assert_int_equal(inki_words_accept(text, bytes, INK_ACCEPT_WORD), k->at[end]);
    size_t line = 0;
    while (line < k->n && !is(k, line, '\n')) line++;
    if (line < k->n) line++;
    assert_int_equal(inki_words_accept(text, bytes, INK_ACCEPT_LINE), k->at[line]);
    assert_int_equal(inki_words_accept(text, bytes, INK_ACCEPT_ALL), bytes);
}

static void check_until(const known *k, const char *text, size_t bytes) {
    size_t expected = 0, end = 12345;
    const size_t from = first_start(k);
    const bool word = from < k->n && word_end(k, from) < k->n;
    assert_int_equal(inki_words_until(text, bytes, INK_UNTIL_WORD, &end), word);
    assert_int_equal(end, word ? k->at[word_end(k, from)] : 12345);

    bool (*const naive[])(const known *, size_t *) = {naive_sentence, naive_line, naive_paragraph};
    const uint32_t units[] = {INK_UNTIL_SENTENCE, INK_UNTIL_LINE, INK_UNTIL_PARAGRAPH};
    for (size_t i = 0; i < 3; i++) {
        end = expected = 12345;
        const bool ends = naive[i](k, &expected);
        assert_int_equal(inki_words_until(text, bytes, units[i], &end), ends);
        assert_int_equal(end, expected);
    }
    assert_false(inki_words_until(text, bytes, INK_UNTIL_LENGTH, &end));
}

static void check(const known *k) {
    const size_t bytes = k->at[k->n];
    char *text = exact(k->text, bytes);
    check_first(k, text, bytes);
    check_until(k, text, bytes);
    static const uint32_t limits[] = {0, 1, 2, 3, 4, 5, 7, 8, 50, UINT32_MAX};
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++)
        check_window(k, text, bytes, limits[i]);
    free(text);
}

// --- tests ---------------------------------------------------------------------------------------

static void all_short_texts(void **state) {
    (void)state;
    static known k;
    for (uint32_t length = 0, n = 1; length <= 5; length++, n *= N_FEW)
        for (uint32_t number = 0; number < n; number++) {
            k.n = 0;
            for (uint32_t i = 0, left = number; i < length; i++, left /= N_FEW)
                add(&k, &alphabet[left % N_FEW]);
            check(&k);
        }
}

static void random_texts(void **state) {
    (void)state;
    static known k;
    uint32_t random = 88172645;
    for (int round = 0; round < 20000; round++) {
        // Few of the characters in each text, so that they meet; some come often.
        const character *some[6];
        for (int i = 0; i < 6; i++) some[i] = &alphabet[next_random(&random) % N_ALPHABET];
        k.n = 0;
        for (uint32_t i = next_random(&random) % 60; i > 0; i--) {
            const uint32_t r = next_random(&random);
            add(&k, r % 4 == 0 ? &alphabet[r / 4 % N_FEW] : some[r / 4 % 6]);
        }
        check(&k);
    }
}

// --- by hand -------------------------------------------------------------------------------------

static void expect_until(uint32_t until, const char *text, const char *kept) {
    size_t end = 777;
    const bool ends = inki_words_until(text, strlen(text), until, &end);
    if (ends != (kept != NULL)) fail_msg("\"%s\" %s", text, ends ? "ends" : "does not end");
    if (kept == NULL) return;
    if (end != strlen(kept) || memcmp(text, kept, end) != 0)
        fail_msg("\"%s\" becomes \"%.*s\", not \"%s\"", text, (int)end, text, kept);
}

static void where_suggestions_end(void **state) {
    (void)state;
    expect_until(INK_UNTIL_WORD, "lo world", "lo");
    expect_until(INK_UNTIL_WORD, " world", NULL);
    expect_until(INK_UNTIL_WORD, " world,", NULL);
    expect_until(INK_UNTIL_WORD, " world, and", " world,");
    expect_until(INK_UNTIL_WORD, "", NULL);
    expect_until(INK_UNTIL_WORD, "   ", NULL);
    expect_until(INK_UNTIL_WORD, "\xe4\xbd\xa0\xef\xbc\x8c\xe5\xa5\xbd",
                 "\xe4\xbd\xa0\xef\xbc\x8c");

    expect_until(INK_UNTIL_SENTENCE, "pi is 3.14 today.", NULL);
    expect_until(INK_UNTIL_SENTENCE, "pi is 3.14 today. And", "pi is 3.14 today.");
    expect_until(INK_UNTIL_SENTENCE, "well... no", "well...");
    expect_until(INK_UNTIL_SENTENCE, "what?! no", "what?!");
    expect_until(INK_UNTIL_SENTENCE, "\"go.\" He", "\"go.\"");
    expect_until(INK_UNTIL_SENTENCE, "\"go.\"", NULL);
    expect_until(INK_UNTIL_SENTENCE, "(he left!)\nso", "(he left!)");
    expect_until(INK_UNTIL_SENTENCE, ". And", ".");
    expect_until(INK_UNTIL_SENTENCE, "a.b", NULL);
    expect_until(INK_UNTIL_SENTENCE, "\xe5\xa5\xbd\xe3\x80\x82\xe4\xbd\xa0",
                 "\xe5\xa5\xbd\xe3\x80\x82");
    expect_until(INK_UNTIL_SENTENCE, "\xe5\xa5\xbd\xe3\x80\x82", "\xe5\xa5\xbd\xe3\x80\x82");
    expect_until(INK_UNTIL_SENTENCE, "\xe5\xa5\xbd\xe3\x80\x82\xe3\x80\x8dx",
                 "\xe5\xa5\xbd\xe3\x80\x82\xe3\x80\x8d");
    expect_until(INK_UNTIL_SENTENCE, "ok.\xe4\xbd\xa0", "ok.");

    expect_until(INK_UNTIL_LINE, "one\ntwo", "one");
    expect_until(INK_UNTIL_LINE, "one\r\ntwo", "one");
    expect_until(INK_UNTIL_LINE, "\n\none\ntwo", "\n\none");
    expect_until(INK_UNTIL_LINE, "\n  \n", NULL);
    expect_until(INK_UNTIL_LINE, "  \none", "  ");
    expect_until(INK_UNTIL_LINE, "one", NULL);

    expect_until(INK_UNTIL_PARAGRAPH, "one\ntwo\n", NULL);
    expect_until(INK_UNTIL_PARAGRAPH, "one\ntwo\n\nthree", "one\ntwo");
    expect_until(INK_UNTIL_PARAGRAPH, "one\n \t\ntwo", "one");
    expect_until(INK_UNTIL_PARAGRAPH, "one\r\n\r\ntwo", "one");
    expect_until(INK_UNTIL_PARAGRAPH, "\n\none\n\n", "\n\none");
    expect_until(INK_UNTIL_PARAGRAPH, "\n\n\n", NULL);
    expect_until(INK_UNTIL_LENGTH, "one. two\n\nthree", NULL);
    expect_until(99, "one. two\n\nthree", NULL);
}

static void expect_bare(const char *text, const char *bare) {
    size_t n;
    const size_t at = inki_words_first_bare(text, strlen(text), &n);
    if (n != strlen(bare) || memcmp(text + at, bare, n) != 0)
        fail_msg("\"%s\": \"%.*s\", not \"%s\"", text, (int)n, text + at, bare);
}

static void words_without_punctuation(void **state) {
    (void)state;
    expect_bare(" hello, world", "hello");
    expect_bare("hello...\" he", "hello");
    expect_bare("don't", "don't");
    expect_bare("...", "...");
    expect_bare(" -- and", "--");
    expect_bare("", "");
    expect_bare("   ", "");
    expect_bare("(yes)", "(yes");
    expect_bare("cafe\xcc\x81!", "cafe\xcc\x81"); // a mark is no punctuation
    expect_bare("\xe0\xa4\x95\xe0\xa5\x80\xe0\xa5\xa4", "\xe0\xa4\x95\xe0\xa5\x80"); // nor a vowel
    expect_bare("\xe4\xbd\xa0\xe3\x80\x82\xe5\xa5\xbd", "\xe4\xbd\xa0");
    expect_bare("\xe0\xb8\x81\xe0\xb8\xb5\xe0\xb9\x88\xe0\xb8\x81",
                "\xe0\xb8\x81\xe0\xb8\xb5\xe0\xb9\x88");
}

// What was an end stays one when the text grows, and nobody calls a word whole that goes on.
static void ends_stay_when_the_text_grows(void **state) {
    (void)state;
    static known k;
    uint32_t random = 362436069;
    for (int round = 0; round < 3000; round++) {
        k.n = 0;
        while (k.n < 24) {
            const uint32_t r = next_random(&random);
            add(&k, &alphabet[r % 3 == 0 ? r / 4 % N_ALPHABET : r / 4 % N_FEW]);
        }
        for (uint32_t until = INK_UNTIL_WORD; until <= INK_UNTIL_PARAGRAPH; until++) {
            size_t first = SIZE_MAX;
            for (size_t i = 0; i <= k.n; i++) {
                size_t end = SIZE_MAX;
                const bool ends = inki_words_until(k.text, k.at[i], until, &end);
                assert_true(ends || first == SIZE_MAX);
                if (!ends) continue;
                assert_true(end <= k.at[i]);
                if (first == SIZE_MAX) first = end;
                // Only quotes behind a full-width stop, which waits for nothing, may still come.
                assert_true(end == first || (until == INK_UNTIL_SENTENCE && end > first));
            }
        }
    }
}

static void bytes_that_are_no_text_are_survived(void **state) {
    (void)state;
    uint32_t random = 77777;
    for (int round = 0; round < 20000; round++) {
        const size_t n = next_random(&random) % 24;
        char bytes[24];
        for (size_t i = 0; i < n; i++) {
            const uint32_t r = next_random(&random);
            bytes[i] = r % 3 == 0 ? " .\n\xe4"[r / 4 % 4] : (char)(r / 4 % 256);
        }
        char *text = exact(bytes, n);
        bool whole;
        size_t end;
        for (uint32_t limit = 0; limit < 5; limit++)
            assert_true(inki_words_window(text, n, limit) <= n);
        assert_true(inki_words_first(text, n, &whole) <= n);
        const size_t at = inki_words_first_bare(text, n, &end);
        assert_true(at <= n && end <= n - at);
        for (uint32_t unit = 0; unit < 6; unit++) {
            if (inki_words_until(text, n, unit, &end)) assert_true(end <= n);
            const size_t taken = inki_words_accept(text, n, unit);
            assert_true(taken <= n && (taken > 0 || n == 0));
        }
        free(text);
    }
}

static void scripts_without_blanks(void **state) {
    (void)state;
    static const uint32_t in[] = {
        0xe01,   0xe3a,   0xe40,   0xe5b,   0xe81,   0xedf,   0x1000,  0x109f,  0x1780,  0x17dd,
        0x19ff,  0x2e80,  0x2f00,  0x3005,  0x3007,  0x3021,  0x3041,  0x3096,  0x309f,  0x30a1,
        0x30fa,  0x30fc,  0x30ff,  0x31f0,  0x32d0,  0x3300,  0x3400,  0x4dbf,  0x4e00,  0x9fff,
        0xa9e0,  0xaa60,  0xf900,  0xfad9,  0xff66,  0xff70,  0xff9d,  0x1b000, 0x1b122, 0x1b150,
        0x1b164, 0x20000, 0x2a6df, 0x2b739, 0x2ceb0, 0x2f800, 0x30000, 0x323af};
    static const uint32_t out[] = {
        0,      0x20,   0x7f,   0xe9,    0x416,   0x5d0,   0x915,   0xe00,    0xe3f,
        0xf00,  0xfff,  0x10a0, 0x1100,  0x11ff,  0x177f,  0x2e7f,  0x3000,   0x3001,
        0x3002, 0x300c, 0x3012, 0x3040,  0x30a0,  0x30fb,  0x3105,  0x3131,   0x3200,
        0x33ff, 0x4dc0, 0xa000, 0xac00,  0xd7a3,  0xd7ff,  0xe000,  0xff01,   0xff0c,
        0xff21, 0xff65, 0xffa0, 0x1f600, 0x1ffff, 0x3fffe, 0x40000, 0x10ffff, 0xffffffff};
    for (size_t i = 0; i < sizeof in / sizeof *in; i++)
        if (!inki_unicode_is_unspaced(in[i])) fail_msg("U+%04X", (unsigned)in[i]);
    for (size_t i = 0; i < sizeof out / sizeof *out; i++)
        if (inki_unicode_is_unspaced(out[i])) fail_msg("U+%04X", (unsigned)out[i]);
    // What is answered without a search is what the search finds.
    for (uint32_t c = 0; c < 0x110000; c++)
        if (inki_unicode_is_unspaced(c) != inki_unicode_search_unspaced(c))
            fail_msg("U+%04X", (unsigned)c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_short_texts),
        cmocka_unit_test(random_texts),
        cmocka_unit_test(where_suggestions_end),
        cmocka_unit_test(words_without_punctuation),
        cmocka_unit_test(ends_stay_when_the_text_grows),
        cmocka_unit_test(bytes_that_are_no_text_are_survived),
        cmocka_unit_test(scripts_without_blanks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
