// SPDX-License-Identifier: MIT
// The window over a text: where it begins, when it moves, and that it is bounded in bytes.
#include "words_known.h"

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

// Runs of hundreds of bytes, of ASCII and of others, of blanks too.
static void long_words(void **state) {
    (void)state;
    static known k;
    uint32_t random = 24681357;
    for (int round = 0; round < 400; round++) {
        k.n = 0;
        while (k.n + 300 < MOST) {
            const uint32_t r = next_random(&random);
            const character *c = &alphabet[r % 4 == 0 ? 2 : r / 4 % N_ALPHABET];
            for (uint32_t i = next_random(&random) % 300; i > 0; i--)
                add(&k, next_random(&random) % 32 > 0 ? c : &alphabet[r / 1024 % N_ALPHABET]);
            if (r % 3 == 0) add(&k, &alphabet[next_random(&random) % N_FEW]);
        }
        const size_t bytes = k.at[k.n];
        char *text = exact(k.text, bytes);
        for (uint32_t limit = 1; limit < 80; limit = limit * 3 / 2 + 1)
            check_window(&k, text, bytes, limit);
        free(text);
    }
}

// As a word that does not end is typed, the window moves once in K * 128 bytes.
static void the_window_moves_on_in_a_long_word(void **state) {
    (void)state;
    enum { BYTES = 128 * 60 };
    static char text[BYTES];
    memset(text, 'x', BYTES);
    for (uint32_t limit = 1; limit <= 9; limit++) {
        const size_t step = (limit > 1 ? limit / 2 : 1) * 128;
        for (size_t n = 0, last = 0; n <= BYTES; n++) {
            const size_t at = inki_words_window(text, n, limit);
            assert_true(at == last || (at == last + step && n % 128 == 1));
            assert_true(n - at <= (size_t)128 * limit);
            last = at;
        }
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
    assert_int_equal(inki_words_window(text, 128, 1), 0);
    assert_int_equal(inki_words_window(text, HUGE, 1), HUGE / 128 * 128);
    // 782 words, of which the last 32 are read
    assert_int_equal(inki_words_window(text, HUGE, 50), 750 * 128);
    assert_int_equal(inki_words_first(text, HUGE, &whole), HUGE);
    assert_false(whole);
    text[HUGE - 2] = ' ';
    assert_int_equal(inki_words_window(text, HUGE, 1), HUGE - 2);
    assert_int_equal(inki_words_window(text, HUGE, 2), HUGE / 128 * 128);
    memset(text, ' ', HUGE);
    assert_int_equal(inki_words_window(text, HUGE, 1), HUGE / 128 * 128 - 1);
    assert_int_equal(inki_words_first(text, HUGE, &whole), HUGE);
    assert_false(whole);
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_ascii_characters),
        cmocka_unit_test(long_texts),
        cmocka_unit_test(long_words),
        cmocka_unit_test(the_window_moves_on_in_a_long_word),
        cmocka_unit_test(the_window_moves_once_in_half_of_it),
        cmocka_unit_test(window_starts_of_counts),
        cmocka_unit_test(one_huge_word),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
