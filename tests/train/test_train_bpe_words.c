// SPDX-License-Identifier: MIT
// Counting words on several threads: a text cut into blocks has the words that it has in one piece.
// And work that is bounded whatever the text is.
#include "heap.h"
#include "learned_tokenizer.h"
#include "tokenizer/pretokenize.h"
#include "train/bpe_parts.h"

#include "base/utf8.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
// after those:
#include <cmocka.h>

static const char *const pieces[] = {
    "a",
    "the",
    " ",
    " ",
    "  ",
    "\n",
    "\r\n",
    "\t",
    ".",
    "'",
    "'s",
    "'ll",
    "'re",
    "'v",
    "12",
    "3",
    "!?",
    "\xe4\xb8\xad",
    "\xe6\x96\x87",
    "\xef\xbc\x8c",
    "\xe3\x80\x80",
    "\xc2\xa0",
    "\xc2\xbd",
    "\xff",
    "\xe4\xb8",
    "\x80",
    "<|endoftext|>",
    "<|endoftext|>",
    "<|endoftext",
    "|>",
    "<|",
    "\xf0\x9f\xa6\x9c",
};

static size_t random_text(char *text, size_t bytes, uint32_t *seed) {
    size_t n = 0;
    while (n < bytes) {
        const char *piece = pieces[next_random(seed) % (sizeof pieces / sizeof *pieces)];
        const size_t length = strlen(piece);
        if (length > bytes - n) break;
        memcpy(text + n, piece, length);
        n += length;
    }
    return n;
}

// Ends of words in text [n], documents by themselves: ends[i] is 1 where a word ends at i + 1.
static void mark_ends(const char *text, size_t n, uint8_t *ends) {
    static const char mark[] = "<|endoftext|>";
    const size_t length = sizeof mark - 1;
    memset(ends, 0, n);
    for (size_t at = 0; at < n;) {
        size_t end = at;
        while (end < n && (n - end < length || memcmp(text + end, mark, length) != 0)) end++;
        while (at < end) {
            at += inki_pretokenize_next((const uint8_t *)text + at, end - at);
            ends[at - 1] = 1;
        }
        at = end < n ? end + length : n;
        if (at > 0) ends[at - 1] = 1;
    }
}

static void test_borders(void **state) {
    (void)state;
    enum { MOST = 90 };
    uint32_t seed = 5, n_borders = 0;
    for (uint32_t run = 0; run < 40000; run++) {
        uint8_t whole[MOST], cut[MOST];
        const size_t n = 1 + next_random(&seed) % MOST;
        char *text = malloc(n); // its exact size: a sanitizer sees a read behind it
        assert_non_null(text);
        memset(text, 'x', n);
        random_text(text, n, &seed);
        mark_ends(text, n, whole);
        const size_t bytes = 1 + next_random(&seed) % 20;
        size_t n_invalid = 0;
        for (size_t at = 0; at < n;) {
            const size_t end = inki_bpe_border((const uint8_t *)text, n, at, bytes);
            assert_true(end > at && end <= n);
            assert_true(end == n || end - at >= bytes);
            mark_ends(text + at, end - at, cut + at);
            n_invalid += inki_utf8_count_invalid((const uint8_t *)text + at, end - at);
            n_borders += end < n;
            at = end;
        }
        assert_memory_equal(whole, cut, n);
        assert_int_equal(n_invalid, inki_utf8_count_invalid((const uint8_t *)text, n));
        free(text);
    }
    assert_true(n_borders > 40000);
}

// Ordinary text is cut often enough to be shared among threads.
static void test_borders_are_near(void **state) {
    (void)state;
    static const char *const lines[] = {
        "the ferry left at nine ",
        "The quay was light, all night. ",
        "\xe6\xb8\xa1\xe8\x88\xb9\xef\xbc\x8c\xe9\x9b\xbe\xe5\xa4\xa7\xe3\x80\x82",
        "12 34 56 78\n",
        "!! ?? -- ;;\n",
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        char text[2000];
        const size_t length = strlen(lines[i]);
        size_t n = 0;
        for (; n + length <= sizeof text; n += length) memcpy(text + n, lines[i], length);
        for (size_t bytes = 1; bytes < 1000; bytes++) {
            const size_t end = inki_bpe_border((const uint8_t *)text, n, 0, bytes);
            assert_true(end >= bytes && end <= bytes + 2 * length);
        }
    }
}

// ---- threads

static inki_learned_vocab learn_with(const inki_str *texts, size_t n_texts, uint32_t n_vocab,
                                     uint32_t n_threads) {
    const inki_mem mem = inki_mem_from(NULL);
    inki_pool *pool = NULL;
    inki_learned_vocab v;
    ink_error error = {0};
    if (n_threads > 0) assert_int_equal(inki_pool_new(&pool, &mem, n_threads, NULL), INK_OK);
    assert_int_equal(inki_pool_enter(pool), n_threads > 0);
    if (inki_bpe_train(&v, texts, n_texts, n_vocab, pool, &mem, NULL, NULL, &error) != INK_OK)
        fail_msg("%s", error.message);
    inki_pool_leave(pool);
    inki_pool_free(pool);
    return v;
}

static char *long_text(size_t bytes, size_t *n) {
    uint32_t seed = 21;
    char *text = malloc(bytes);
    assert_non_null(text);
    *n = 0;
    while (*n + 200 < bytes) { // words of some letters, so that there is much to count
        for (uint32_t i = 1 + next_random(&seed) % 5; i > 0; i--)
            text[(*n)++] = (char)('a' + (next_random(&seed) % 26 & next_random(&seed) % 26));
        *n += random_text(text + *n, 3 + next_random(&seed) % 13, &seed);
    }
    return text;
}

static void test_threads(void **state) {
    (void)state;
    size_t n;
    char *text = long_text(5 << 20, &n);
    const inki_str one = {text, n};
    inki_learned_vocab alone = learn_with(&one, 1, 700, 0);
    assert_int_equal(alone.n_tokens, 700);
    assert_int_equal(alone.n_invalid, inki_utf8_count_invalid((const uint8_t *)text, n));
    for (uint32_t n_threads = 1; n_threads <= 3; n_threads++) {
        inki_learned_vocab v = learn_with(&one, 1, 700, n_threads);
        assert_true(same_vocab(&alone, &v));
        assert_int_equal(v.n_invalid, alone.n_invalid);
        assert_int_equal(v.n_bytes, n);
        assert_int_equal(v.steps, alone.steps);
        inki_learned_vocab_free(&v);
    }
    inki_learned_vocab_free(&alone);
    free(text);
}

// Several texts are as many documents, empty ones too.
static void test_several_texts(void **state) {
    (void)state;
    static const char joined[] =
        "abc ab<|endoftext|>abc  <|endoftext|><|endoftext|> abc<|endoftext|>'s";
    const inki_str one = {joined, sizeof joined - 1};
    const inki_str many[] = {{"abc ab", 6}, {"abc  ", 5}, {NULL, 0}, {" abc", 4}, {"'s", 2}};
    inki_learned_vocab a = learn_with(&one, 1, 300, 0), b = learn_with(many, 5, 300, 2);
    assert_true(same_vocab(&a, &b));
    assert_int_equal(b.n_bytes, 17);
    inki_learned_vocab_free(&a);
    inki_learned_vocab_free(&b);
}

static void test_failing_memory_of_threads(void **state) {
    (void)state;
    size_t n, at = 1;
    char *text = long_text(3 << 20, &n);
    const inki_str one = {text, n};
    for (ink_status status = INK_E_NOMEM; status != INK_OK; at += 1 + at / 4) {
        heap h = {0};
        const ink_allocator allocator = heap_allocator(&h);
        const inki_mem mem = inki_mem_from(&allocator);
        inki_pool *pool = NULL;
        inki_learned_vocab v;
        assert_int_equal(inki_pool_new(&pool, &mem, 3, NULL), INK_OK);
        const size_t before = atomic_load(&h.live_blocks);
        atomic_store(&h.fail_at, atomic_load(&h.n_allocs) + at);
        status = inki_bpe_train(&v, &one, 1, 300, pool, &mem, NULL, NULL, NULL);
        assert_true(status == INK_OK || status == INK_E_NOMEM);
        if (status == INK_OK) inki_learned_vocab_free(&v);
        assert_int_equal(atomic_load(&h.live_blocks), before);
        inki_pool_free(pool);
        assert_int_equal(atomic_load(&h.live_blocks), 0);
        assert_int_equal(atomic_load(&h.wrong_releases), 0);
    }
    assert_true(at > 10);
    free(text);
}

// ---- bounded work

// Steps for the first `bytes` of a text that `fill` writes.
static uint64_t steps_of(void (*fill)(char *, size_t), size_t bytes, uint32_t n_vocab) {
    char *text = malloc(bytes);
    assert_non_null(text);
    fill(text, bytes);
    const inki_str one = {text, bytes};
    inki_learned_vocab v = learn_with(&one, 1, n_vocab, 0);
    const uint64_t steps = v.steps;
    assert_true(v.n_merges > 5);
    inki_learned_vocab_free(&v);
    free(text);
    return steps;
}

static void fill_same(char *text, size_t n) { memset(text, 'a', n); }
static void fill_pairs(char *text, size_t n) {
    for (size_t i = 0; i < n; i++) text[i] = "ab"[i % 2];
}
static void fill_letters(char *text, size_t n) {
    uint32_t seed = 3;
    for (size_t i = 0; i < n; i++) text[i] = (char)('a' + next_random(&seed) % 26);
}
static void fill_two_letters(char *text, size_t n) {
    uint32_t seed = 4;
    for (size_t i = 0; i < n; i++) text[i] = (char)('a' + next_random(&seed) % 2);
}
static void fill_han(char *text, size_t n) { // no punctuation at all
    uint32_t seed = 5;
    memset(text, 'a', n);
    for (size_t i = 0; i + 3 <= n; i += 3) {
        const uint32_t c = 0x4e00 + (next_random(&seed) % 3000 & next_random(&seed) % 4096);
        text[i] = (char)(0xe0 | c >> 12);
        text[i + 1] = (char)(0x80 | (c >> 6 & 0x3f));
        text[i + 2] = (char)(0x80 | (c & 0x3f));
    }
}
static void fill_broken(char *text, size_t n) {
    uint32_t seed = 6;
    for (size_t i = 0; i < n; i++) text[i] = (char)(0x80 | next_random(&seed) % 64);
}
// Words of 0, 1, 2, 3... letters.
static void fill_steps(char *text, size_t n) {
    for (size_t i = 0, word = 1; i < n; i += word, word++) {
        memset(text + i, 'a', n - i < word ? n - i : word);
        text[i] = '\n';
    }
}

static void test_bounded_work(void **state) {
    (void)state;
    static void (*const fills[])(char *, size_t) = {
        fill_same, fill_pairs, fill_letters, fill_two_letters, fill_han, fill_broken, fill_steps,
    };
    for (size_t i = 0; i < sizeof fills / sizeof *fills; i++) {
        const uint64_t one = steps_of(fills[i], 50000, 20000);
        const uint64_t four = steps_of(fills[i], 200000, 20000);
        if (four > 40 * 200000 || four > 6 * one)
            fail_msg("text %zu: %llu and %llu steps", i, (unsigned long long)one,
                     (unsigned long long)four);
    }
}

// ---- progress

typedef struct listener {
    double last;
    uint32_t n_calls, cancel_at;
} listener;

static int listen_to(void *user, double fraction) {
    listener *l = user;
    assert_true(fraction >= l->last && fraction <= 1);
    l->last = fraction;
    return ++l->n_calls == l->cancel_at;
}

static void test_progress(void **state) {
    (void)state;
    enum { BYTES = 400000 };
    char *text = malloc(BYTES);
    assert_non_null(text);
    fill_letters(text, BYTES);
    const inki_str one = {text, BYTES};
    ink_status status = INK_E_CANCELLED;
    uint32_t at = 1;
    for (; status != INK_OK; at++) {
        heap h = {0};
        const ink_allocator allocator = heap_allocator(&h);
        const inki_mem mem = inki_mem_from(&allocator);
        listener l = {.cancel_at = at};
        inki_learned_vocab v;
        ink_error error = {0};
        status = inki_bpe_train(&v, &one, 1, 2000, NULL, &mem, listen_to, &l, &error);
        if (status == INK_OK) {
            assert_true(l.last > 0.5);
            inki_learned_vocab_free(&v);
        } else {
            assert_int_equal(status, INK_E_CANCELLED);
            assert_int_equal(l.n_calls, at);
            assert_true(error.message[0] != 0);
        }
        assert_int_equal(atomic_load(&h.live_blocks), 0);
        assert_int_equal(atomic_load(&h.wrong_releases), 0);
    }
    assert_true(at > 3); // in both stages
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_borders),      cmocka_unit_test(test_borders_are_near),
        cmocka_unit_test(test_threads),      cmocka_unit_test(test_several_texts),
        cmocka_unit_test(test_bounded_work), cmocka_unit_test(test_failing_memory_of_threads),
        cmocka_unit_test(test_progress),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
