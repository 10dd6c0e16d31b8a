// SPDX-License-Identifier: MIT
// The word scanner against the pattern carried out literally, alternative by alternative.
#include "tokenizer/pretokenize.h"
#include "tokenizer/unicode_tables.h"

#include "base/utf8.h"
#include "vocab_fixture.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

typedef struct sample {
    const char *text;
    char kind; // L letter, N number, S space, O other; from the Unicode charts
} sample;

static const sample samples[] = {
    {"a", 'L'},
    {"Z", 'L'},
    {"s", 'L'},
    {"t", 'L'},
    {"r", 'L'},
    {"e", 'L'},
    {"v", 'L'},
    {"l", 'L'},
    {"m", 'L'},
    {"d", 'L'},
    {"S", 'L'},
    {"\xc3\xa9", 'L'},         // U+00E9
    {"\xc2\xaa", 'L'},         // U+00AA feminine ordinal, Lo
    {"\xc7\x85", 'L'},         // U+01C5, Lt
    {"\xca\xb0", 'L'},         // U+02B0, Lm
    {"\xe5\xae\xb6", 'L'},     // U+5BB6 inside a First-Last range
    {"\xf0\xa0\x80\x80", 'L'}, // U+20000
    {"\xea\xb0\x80", 'L'},     // U+AC00
    {"0", 'N'},
    {"9", 'N'},
    {"\xd9\xa3", 'N'},     // U+0663
    {"\xe2\x85\xa7", 'N'}, // U+2167 Roman eight, Nl
    {"\xc2\xbd", 'N'},     // U+00BD one half, No
    {"\xe3\x80\x87", 'N'}, // U+3007 ideographic zero, Nl
    {" ", 'S'},
    {" ", 'S'},
    {"\n", 'S'},
    {"\t", 'S'},
    {"\r", 'S'},
    {"\v", 'S'},
    {"\f", 'S'},
    {"\xc2\x85", 'S'},
    {"\xc2\xa0", 'S'},
    {"\xe1\x9a\x80", 'S'},
    {"\xe2\x80\xa8", 'S'},
    {"\xe3\x80\x80", 'S'},
    {"'", 'O'},
    {"'", 'O'},
    {"'", 'O'},
    {"!", 'O'},
    {"_", 'O'},
    {"\xcc\x81", 'O'},     // U+0301, Mn
    {"\xe1\xa0\x8e", 'O'}, // U+180E: no white space since 6.3
    {"\xe2\x80\x8b", 'O'},
    {"\xef\xbb\xbf", 'O'}, // U+200B, U+FEFF
    {"\x1c", 'O'},
    {"\x1f", 'O'},
    {"\x7f", 'O'}, // Python's isspace calls the first two blank
    {"\xf0\x9f\x98\x80", 'O'},
    {"\xf3\xa0\x81\xa7", 'O'},
    {"\xee\x80\x80", 'O'}, // emoji, tag, private
    {"\xff", 'O'},
    {"\xc0", 'O'},
    {"\xed", 'O'},
    {"\xf4", 'O'},
    {"\xcd\xb8", 'O'},
    {"\xf4\x8f\xbf\xbf", 'O'}, // U+0378 unassigned, U+10FFFF
};
enum { N_SAMPLES = sizeof samples / sizeof samples[0], MOST = 24 };

// A text of samples, with the kind and the place of each character.
typedef struct sampled {
    char bytes[MOST * 4];
    size_t at[MOST + 1];
    char kind[MOST + 1];
    size_t n;
} sampled;

// No sample begins with a continuation byte, so what follows never completes a broken one.
static void draw(sampled *s, size_t n, uint32_t *state) {
    size_t used = 0;
    for (s->n = 0; s->n < n;) {
        const sample *one = &samples[next_random(state) % N_SAMPLES];
        const size_t bytes = strlen(one->text);
        s->at[s->n] = used;
        s->kind[s->n++] = one->kind;
        memcpy(s->bytes + used, one->text, bytes);
        used += bytes;
    }
    s->at[s->n] = used;
    s->kind[s->n] = 0;
}

static size_t run_of(const sampled *s, size_t i, char kind) {
    while (i < s->n && s->kind[i] == kind) i++;
    return i;
}

// The pattern from character i on: the index after the match.
static size_t match(const sampled *s, size_t i) {
    static const char *const contractions[] = {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"};
    for (size_t k = 0; k < 7; k++) {
        const size_t n = strlen(contractions[k]);
        if (s->at[s->n] - s->at[i] >= n && memcmp(s->bytes + s->at[i], contractions[k], n) == 0)
            return i + n;
    }
    for (size_t k = 0; k < 3; k++) {
        const size_t start =
            s->bytes[s->at[i]] == ' ' ? i + 1 : i;     // " ?" is greedy; no match without it
        const size_t end = run_of(s, start, "LNO"[k]); // exists where one with it fails
        if (end > start) return end;
    }
    size_t end = run_of(s, i, 'S');
    for (size_t e = end; e > i; e--) // \s+(?!\S) gives back until no other character follows
        if (e == s->n || s->kind[e] == 'S') return e;
    return end;
}

static void test_random_texts_match_the_pattern(void **state) {
    (void)state;
    uint32_t random = 20240607;
    for (int round = 0; round < 60000; round++) {
        sampled s;
        draw(&s, 1 + next_random(&random) % MOST, &random);
        const size_t bytes = s.at[s.n];
        uint8_t *copy = malloc(bytes); // exact, so that a sanitizer sees a read past the end
        assert_non_null(copy);
        memcpy(copy, s.bytes, bytes);
        for (size_t i = 0; i < s.n;) {
            const size_t end = match(&s, i);
            assert_int_equal(inki_pretokenize_next(copy + s.at[i], bytes - s.at[i]),
                             s.at[end] - s.at[i]);
            i = end;
        }
        free(copy);
    }
}

static void check_words(const char *text, const char *joined) {
    char got[256];
    size_t used = 0, n = strlen(text);
    for (const char *p = text; n > 0;) {
        const size_t length = inki_pretokenize_next((const uint8_t *)p, n);
        assert_in_range(length, 1, n);
        if (used > 0) got[used++] = '|';
        memcpy(got + used, p, length);
        used += length;
        p += length;
        n -= length;
    }
    got[used] = 0;
    assert_string_equal(got, joined);
}

static void test_known_words(void **state) {
    (void)state;
    check_words("Hello world", "Hello| world");
    check_words("I'm you're DON'T 'S", "I|'m| you|'re| DON|'|T| '|S");
    check_words("''s '' 'll'", "''|s| ''| '|ll|'");
    check_words("a  b", "a| | b");
    check_words("a \tb\n\n", "a| |\t|b|\n\n");
    check_words("a\n b", "a|\n| b");
    check_words("x  ", "x|  ");
    check_words(" \xc2\xa0 y", " \xc2\xa0| y");
    check_words("\xc2\xa0y", "\xc2\xa0|y");
    check_words("1a2! 3", "1|a|2|!| 3");
    check_words("e\xcc\x81x", "e|\xcc\x81|x"); // a mark is no letter
    check_words("a\xff\xfe"
                "b \xc3",
                "a|\xff\xfe|b| \xc3");
    check_words("\xe5\xae\xb6\xe5\xae", "\xe5\xae\xb6|\xe5\xae"); // half a character is two bytes
}

static void test_every_class(void **state) {
    (void)state;
    for (size_t i = 0; i < N_SAMPLES; i++) {
        uint32_t c;
        if (inki_utf8_decode((const uint8_t *)samples[i].text, strlen(samples[i].text), &c) == 0)
            continue;
        assert_int_equal("OLNS"[inki_unicode_class(c)], samples[i].kind);
    }
    // Sizes of the classes in Unicode 15.0: DerivedGeneralCategory.txt and PropList.txt count them.
    size_t count[4] = {0};
    for (uint32_t c = 0; c < 0x110000; c++) count[inki_unicode_class(c)]++;
    assert_int_equal(count[INKI_CLASS_LETTER], 1831 + 2233 + 31 + 397 + 131612);
    assert_int_equal(count[INKI_CLASS_NUMBER], 680 + 236 + 915);
    assert_int_equal(count[INKI_CLASS_SPACE], 25);
}

// A scanner that looks back or starts again would not come to an end here.
static void test_long_runs(void **state) {
    (void)state;
    enum { LONG = 4 << 20 };
    char *text = malloc(LONG);
    assert_non_null(text);
    memset(text, ' ', LONG);
    assert_int_equal(inki_pretokenize_next((uint8_t *)text, LONG), LONG);
    text[LONG - 1] = 'x';
    assert_int_equal(inki_pretokenize_next((uint8_t *)text, LONG), LONG - 2);
    memset(text, 0x80, LONG);
    assert_int_equal(inki_pretokenize_next((uint8_t *)text, LONG), LONG);
    for (size_t i = 0; i < LONG; i++) text[i] = i % 2 ? '\n' : 'x';
    size_t words = 0;
    for (size_t at = 0; at < LONG; words++)
        at += inki_pretokenize_next((uint8_t *)text + at, LONG - at);
    assert_int_equal(words, LONG);
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_words),
        cmocka_unit_test(test_every_class),
        cmocka_unit_test(test_random_texts_match_the_pattern),
        cmocka_unit_test(test_long_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
