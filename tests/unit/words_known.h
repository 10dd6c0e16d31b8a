// SPDX-License-Identifier: MIT
// Texts of characters whose kinds are known, and what their words and windows are by definitions
// that look at one character at a time.
#ifndef TESTS_WORDS_KNOWN_H
#define TESTS_WORDS_KNOWN_H

#include "typing/words.h"

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
    {"W", LETTER, 0},
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

static inline void add(known *k, const character *c) {
    const size_t bytes = strlen(c->text), at = k->at[k->n];
    memcpy(k->text + at, c->text, bytes);
    k->c[k->n++] = c;
    k->at[k->n] = at + bytes;
}

// In a block of its own, so that a sanitizer sees a read past its ends.
static inline char *exact(const char *text, size_t n) {
    char *copy = malloc(n > 0 ? n : 1);
    assert_non_null(copy);
    if (n > 0) memcpy(copy, text, n);
    return copy;
}
// --- the definitions -----------------------------------------------------------------------------

// Looking back only, where the function under test looks forward.
static inline bool starts_word(const known *k, size_t i) {
    if (k->c[i]->kind == BLANK) return false;
    if (i == 0 || k->c[i - 1]->kind == BLANK || k->c[i]->kind == SINGLE) return true;
    if (k->c[i]->kind == OTHER) return false;
    while (i > 0 && k->c[i - 1]->kind == OTHER) i--;
    return i > 0 && k->c[i - 1]->kind == SINGLE;
}

// The smallest multiple of half the limit that leaves no more than the limit.
static inline size_t naive_start(size_t n, size_t limit) {
    if (limit == 0) return 0;
    const size_t step = limit > 1 ? limit / 2 : 1;
    size_t start = 0;
    while (n > limit && n - start > limit) start += step;
    return start;
}

// Where words begin that a window counts: long ones are several.
static inline size_t counted_words(const known *k, size_t *starts) {
    size_t n = 0, last = 0;
    for (size_t i = 0; i < k->n; i++)
        if (starts_word(k, i) || k->at[i] >= last + 128) starts[n++] = last = k->at[i];
    return n;
}

static inline size_t naive_window(const known *k, size_t limit, size_t *n_words) {
    static size_t starts[MOST];
    const size_t n = *n_words = counted_words(k, starts);
    const size_t start = naive_start(n, limit);
    if (start == 0) return 0;
    assert_true(start < n);
    const size_t at = starts[start];
    return k->text[at - 1] == ' ' ? at - 1 : at;
}

static inline void check_window(const known *k, const char *text, size_t bytes, uint32_t limit) {
    size_t n_words;
    const size_t at = inki_words_window(text, bytes, limit);
    assert_int_equal(at, naive_window(k, limit, &n_words));
    const uint32_t start = inki_words_window_start((uint32_t)n_words, limit);
    assert_int_equal(start, naive_start(n_words, limit));
    // Between half of the limit and all of it is read.
    if (limit > 0 && n_words >= limit) {
        static size_t starts[MOST];
        size_t n_read = 0;
        counted_words(k, starts);
        for (size_t i = 0; i < n_words; i++) n_read += starts[i] >= at;
        assert_int_equal(n_read, n_words - start);
        assert_true(n_read <= limit && 2 * n_read >= limit);
    }
    assert_true(bytes - at <= inki_words_window_bytes(limit));
}

static inline uint32_t next_random(uint32_t *state) { // Marsaglia 2003, xorshift
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

#endif
