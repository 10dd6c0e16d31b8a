// SPDX-License-Identifier: MIT
// Words, sentences, lines and paragraphs against definitions that look at one character at a time,
// whose kinds the test knows by itself.
#include "typing/words.h"

#include "inkling/inkling.h"
#include "tokenizer/unicode_scripts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

// --- characters whose kinds are known ------------------------------------------------------------

typedef enum kind { BLANK, LETTER, SINGLE, OTHER } kind;
enum { STOP = 1, WIDE_STOP = 2, CLOSER = 4, PUNCTUATION = 8 }; // of others

typedef struct character {
    const char *text;
    kind kind;
    int more;
} character;

static const character alphabet[] = {
    {" ", BLANK, 0},
    {"\n", BLANK, 0},
    {"a", LETTER, 0},
    {".", OTHER, STOP | PUNCTUATION},
    {"\"", OTHER, CLOSER | PUNCTUATION},
    {"\xe4\xbd\xa0", SINGLE, 0},                             // Han
    {"\xe3\x80\x82", OTHER, STOP | WIDE_STOP | PUNCTUATION}, // ideographic full stop
    {"\xcc\x81", OTHER, 0},                                  // combining acute
    {"\r", BLANK, 0},
    {"7", LETTER, 0},
    // From here on not in the exhaustive test.
    {"\t", BLANK, 0},
    {"\xc2\xa0", BLANK, 0},
    {"\xe2\x80\xa8", BLANK, 0},
    {"\xe3\x80\x80", BLANK, 0},
    {"word", LETTER, 0}, // longer ones stand for runs
    {"\xc3\xa9", LETTER, 0},
    {"\xd0\xb6", LETTER, 0},
    {"\xed\x95\x9c", LETTER, 0},     // Hangul is written with blanks
    {"\xe0\xa4\x95", LETTER, 0},     // Devanagari
    {"\xf0\x9d\x94\xb8", LETTER, 0}, // mathematical letter
    {"\xe3\x81\x8b", SINGLE, 0},     // Hiragana
    {"\xe3\x82\xab", SINGLE, 0},     // Katakana
    {"\xe3\x83\xbc", SINGLE, 0},     // its lengthening mark is a letter
    {"\xef\xbd\xb6", SINGLE, 0},     // half-width Katakana
    {"\xe0\xb8\x81", SINGLE, 0},     // Thai
    {"\xe0\xba\x81", SINGLE, 0},     // Lao
    {"\xe1\x9e\x80", SINGLE, 0},     // Khmer
    {"\xe1\x80\x80", SINGLE, 0},     // Myanmar
    {"\xf0\xa0\x80\x80", SINGLE, 0}, // Han, extension B
    {"\xe0\xb9\x95", SINGLE, 0},     // a Thai digit
    {"\xe0\xa4\xbf", OTHER, 0},      // Devanagari vowel sign
    {"\xe2\x80\x8d", OTHER, 0},      // joiner
    {"\xf0\x9f\x98\x80", OTHER, 0},  // face
    {"!", OTHER, STOP | PUNCTUATION},
    {"?", OTHER, STOP | PUNCTUATION},
    {"\xe2\x80\xa6", OTHER, STOP | PUNCTUATION},             // ellipsis
    {"\xef\xbc\x81", OTHER, STOP | WIDE_STOP | PUNCTUATION}, // full-width
    {"\xef\xbc\x9f", OTHER, STOP | WIDE_STOP | PUNCTUATION}, // full-width
    {",", OTHER, PUNCTUATION},
    {"-", OTHER, PUNCTUATION},
    {"(", OTHER, PUNCTUATION},
    {"'", OTHER, CLOSER | PUNCTUATION},
    {")", OTHER, CLOSER | PUNCTUATION},
    {"]", OTHER, CLOSER | PUNCTUATION},
    {"\xe2\x80\x99", OTHER, CLOSER | PUNCTUATION},
    {"\xe2\x80\x9d", OTHER, CLOSER | PUNCTUATION},
    {"\xe3\x80\x8d", OTHER, CLOSER | PUNCTUATION},
    {"\xe3\x80\x8f", OTHER, CLOSER | PUNCTUATION},
    {"\xef\xbc\x89", OTHER, CLOSER | PUNCTUATION},
    {"\xe3\x80\x8c", OTHER, PUNCTUATION},
    {"\xef\xbc\x8c", OTHER, PUNCTUATION},
};
enum { N_ALPHABET = sizeof alphabet / sizeof *alphabet, N_FEW = 10, MOST = 4096 };

// A text with its characters side by side.
typedef struct known {
    char text[4 * MOST];
    size_t n; // characters
    size_t at[MOST + 1];
    const character *c[MOST];
} known;

static void add(known *k, const character *c) {
    const size_t bytes = strlen(c->text), at = k->at[k->n];
    memcpy(k->text + at, c->text, bytes);
    k->c[k->n++] = c;
    k->at[k->n] = at + bytes;
}

// In a block of its own, so that a sanitizer sees a read past its ends.
static char *exact(const char *text, size_t n) {
    char *copy = malloc(n > 0 ? n : 1);
    assert_non_null(copy);
    if (n > 0) memcpy(copy, text, n);
    return copy;
}

// --- the definitions -----------------------------------------------------------------------------

// Looking back only, where the function under test looks forward.
static bool starts_word(const known *k, size_t i) {
    if (k->c[i]->kind == BLANK) return false;
    if (i == 0 || k->c[i - 1]->kind == BLANK || k->c[i]->kind == SINGLE) return true;
    if (k->c[i]->kind == OTHER) return false;
    while (i > 0 && k->c[i - 1]->kind == OTHER) i--;
    return i > 0 && k->c[i - 1]->kind == SINGLE;
}

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

// The smallest multiple of half the limit that leaves no more than the limit.
static size_t naive_start(size_t n, size_t limit) {
    if (limit == 0) return 0;
    const size_t step = limit > 1 ? limit / 2 : 1;
    size_t start = 0;
    while (n > limit && n - start > limit) start += step;
    return start;
}

static size_t naive_window(const known *k, size_t limit, size_t *n_words) {
    static size_t starts[MOST];
    size_t n = 0;
    for (size_t i = 0; i < k->n; i++)
        if (starts_word(k, i)) starts[n++] = k->at[i];
    *n_words = n;
    const size_t start = naive_start(n, limit);
    if (start == 0) return 0;
    assert_true(start < n);
    const size_t at = starts[start];
    return k->text[at - 1] == ' ' ? at - 1 : at;
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

static void check_window(const known *k, const char *text, size_t bytes, uint32_t limit) {
    size_t n_words;
    const size_t at = inki_words_window(text, bytes, limit);
    assert_int_equal(at, naive_window(k, limit, &n_words));
    const uint32_t start = inki_words_window_start((uint32_t)n_words, limit);
    assert_int_equal(start, naive_start(n_words, limit));
    // Between half of the limit and all of it is read.
    if (limit > 0 && n_words >= limit) {
        size_t n_read = 0;
        for (size_t i = 0; i < k->n; i++) n_read += k->at[i] >= at && starts_word(k, i);
        assert_int_equal(n_read, n_words - start);
        assert_true(n_read <= limit && 2 * n_read >= limit);
    }
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

static uint32_t next_random(uint32_t *state) { // Marsaglia 2003, xorshift
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
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

// Eight bytes are looked at at a time where all are ASCII: every byte in every place of them.
static void all_ascii_characters(void **state) {
    (void)state;
    static known k;
    static char texts[128][2];
    static character ascii[128];
    for (int c = 0; c < 128; c++) {
        const bool is_letter =
            (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
        texts[c][0] = (char)c;
        ascii[c] = (character){texts[c], is_letter ? LETTER : OTHER, 0};
        if (c == ' ' || (c >= '\t' && c <= '\r')) ascii[c].kind = BLANK;
    }
    uint32_t random = 521288629;
    for (uint32_t c = 1; c < 128; c++)
        for (size_t place = 0; place < 24; place++)
            for (int around = 0; around < 3; around++) {
                k.n = 0;
                for (size_t i = 0; i < 24; i++) {
                    const uint32_t other = around == 0 ? ' ' : 'a';
                    add(&k, &ascii[i == place   ? c
                                   : around < 2 ? other
                                                : next_random(&random) % 127 + 1]);
                }
                const size_t bytes = k.at[k.n];
                char *text = exact(k.text, bytes);
                for (uint32_t limit = 0; limit < 6; limit++) check_window(&k, text, bytes, limit);
                free(text);
            }
}

static void long_texts(void **state) {
    (void)state;
    static known k;
    uint32_t random = 1234567;
    for (int round = 0; round < 60; round++) {
        k.n = 0;
        while (k.n < MOST) {
            // Stretches of ASCII and of others.
            const bool ascii = next_random(&random) % 2 == 0;
            for (uint32_t i = next_random(&random) % 80; i > 0 && k.n < MOST; i--) {
                const uint32_t r = next_random(&random);
                add(&k, &alphabet[ascii ? r / 8 % 5 : r % 8 < 3 ? 0 : r / 8 % N_ALPHABET]);
            }
        }
        const size_t bytes = k.at[k.n];
        char *text = exact(k.text, bytes);
        for (uint32_t limit = 1; limit < 130; limit = limit * 3 / 2 + 1)
            check_window(&k, text, bytes, limit);
        free(text);
    }
}

// The start moves once in K words, to where it stays for the next K; text behind its words, and
// other text of the same words before it, do not move it.
static void the_window_moves_once_in_half_of_it(void **state) {
    (void)state;
    for (uint32_t limit = 1; limit <= 13; limit++) {
        const uint32_t step = limit > 1 ? limit / 2 : 1;
        char text[1024] = "";
        size_t n = 0, last = 0, n_moves = 0;
        for (uint32_t word = 1; word <= 100; word++) {
            for (const char *c = n > 0 ? " word" : "word"; *c != 0; c++) {
                text[n++] = *c;
                const size_t at = inki_words_window(text, n, limit);
                if (at == last) continue;
                assert_true(*c == 'w'); // when a word begins
                assert_true(word > limit && (word - limit - 1) % step == 0);
                assert_int_equal(at % 5, 4); // before its blank
                last = at;
                n_moves++;
            }
            assert_int_equal(inki_words_window(text, n, limit), last);
            text[n] = ' ';
            assert_int_equal(inki_words_window(text, n + 1, limit), last);
        }
        assert_int_equal(n_moves, (100 - limit + step - 1) / step);
    }
}

static void window_starts_of_counts(void **state) {
    (void)state;
    for (uint32_t limit = 0; limit < 40; limit++)
        for (uint32_t n = 0; n < 300; n++)
            assert_int_equal(inki_words_window_start(n, limit), naive_start(n, limit));
    assert_int_equal(inki_words_window_start(UINT32_MAX, 1), UINT32_MAX - 1);
    assert_int_equal(inki_words_window_start(UINT32_MAX, 2), UINT32_MAX - 2);
    assert_int_equal(inki_words_window_start(UINT32_MAX, UINT32_MAX), 0);
    assert_int_equal(inki_words_window_start(UINT32_MAX, UINT32_MAX - 1), INT32_MAX);
    assert_int_equal(inki_words_window_start(7, 0), 0);
}

static void one_huge_word(void **state) {
    (void)state;
    enum { HUGE = 100000 };
    char *text = malloc(HUGE);
    assert_non_null(text);
    memset(text, 'x', HUGE);
    bool whole = true;
    assert_int_equal(inki_words_window(text, HUGE, 1), 0);
    assert_int_equal(inki_words_first(text, HUGE, &whole), HUGE);
    assert_false(whole);
    text[HUGE - 2] = ' ';
    assert_int_equal(inki_words_window(text, HUGE, 1), HUGE - 2);
    assert_int_equal(inki_words_window(text, HUGE, 2), 0);
    memset(text, ' ', HUGE);
    assert_int_equal(inki_words_window(text, HUGE, 1), 0);
    assert_int_equal(inki_words_first(text, HUGE, &whole), HUGE);
    assert_false(whole);
    free(text);
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
        cmocka_unit_test(all_ascii_characters),
        cmocka_unit_test(long_texts),
        cmocka_unit_test(the_window_moves_once_in_half_of_it),
        cmocka_unit_test(window_starts_of_counts),
        cmocka_unit_test(one_huge_word),
        cmocka_unit_test(where_suggestions_end),
        cmocka_unit_test(words_without_punctuation),
        cmocka_unit_test(ends_stay_when_the_text_grows),
        cmocka_unit_test(bytes_that_are_no_text_are_survived),
        cmocka_unit_test(scripts_without_blanks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
