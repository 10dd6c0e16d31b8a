// SPDX-License-Identifier: MIT
// Encoding and decoding: round trips, merging against a plain implementation, special tokens,
// limits.
#include "tokenizer/tokenizer_parts.h"

#include "vocab_fixture.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static inki_tokenizer *build(const vocab_fixture *f) {
    const inki_vocab vocab = fixture_vocab(f);
    const inki_mem mem = inki_mem_from(NULL);
    inki_tokenizer *t = NULL;
    ink_error error = {0};
    if (inki_tokenizer_new(&t, &vocab, &mem, &error) != INK_OK) fail_msg("%s", error.message);
    return t;
}

// Encodes into `ids` [cap] and checks what holds for every text: the bytes come back, and the steps
// stay under the bound (no word is longer than the longest, so the sum is bounded by its
// logarithm).
static size_t encode(const inki_tokenizer *t, const void *text, size_t n, bool special,
                     int32_t *ids, size_t cap) {
    inki_encode_stats stats = {.n_tokens = 999};
    assert_int_equal(inki_tokenizer_encode(t, text, n, special, ids, cap, &stats, NULL), INK_OK);
    assert_true(stats.n_tokens <= cap);
    size_t at = 0;
    for (size_t i = 0; i < stats.n_tokens; i++) {
        const inki_str piece = inki_tokenizer_piece(t, ids[i]);
        assert_true(piece.bytes > 0 && piece.bytes <= n - at);
        assert_memory_equal(piece.data, (const char *)text + at, piece.bytes);
        at += piece.bytes;
    }
    assert_int_equal(at, n);
    const double bound = stats.longest_word > 1 ? log2((double)stats.longest_word) : 0;
    assert_true((double)stats.merge_steps <= 4.0 * (double)n * bound);
    return stats.n_tokens;
}

static void check_ids(const inki_tokenizer *t, const char *text, bool special,
                      const int32_t *expected, size_t n) {
    int32_t ids[256];
    assert_int_equal(encode(t, text, strlen(text), special, ids, 256), n);
    assert_memory_equal(ids, expected, n * sizeof *ids);
}
#define CHECK_IDS(t, text, special, ...)                                                           \
    check_ids(t, text, special, (const int32_t[]){__VA_ARGS__},                                    \
              sizeof((int32_t[]){__VA_ARGS__}) / 4)

static void test_merges_by_hand(void **state) {
    (void)state;
    vocab_fixture f;
    fixture_init(&f);
    const int32_t ll = fixture_merge(&f, "l", "l"), he = fixture_merge(&f, "h", "e");
    const int32_t llo = fixture_merge(&f, "ll", "o"), hello = fixture_merge(&f, "he", "llo");
    const int32_t g_w = fixture_merge(&f, "\xc4\xa0", "w"); // Ġ stands for the blank
    const int32_t aa = fixture_merge(&f, "a", "a"),
                  e_acute = fixture_merge(&f, "\xc3\x83", "\xc2\xa9");
    inki_tokenizer *t = build(&f);
    CHECK_IDS(t, "hello", false, hello);
    CHECK_IDS(t, "hello w", false, hello, g_w);
    CHECK_IDS(t, "helll", false, he, ll, 'l'); // leftmost of equal ranks
    CHECK_IDS(t, "llo", false, llo);
    CHECK_IDS(t, "aaaaa", false, aa, aa, 'a');
    CHECK_IDS(t, "a a", false, 'a', ' ', 'a'); // no merge across words
    CHECK_IDS(t, "\xc3\xa9", false, e_acute);
    CHECK_IDS(t, "\xc3", false, 0xc3);
    assert_int_equal(inki_tokenizer_n_vocab(t), 263);
    assert_int_equal(inki_tokenizer_end(t), -1);
    assert_int_equal(inki_tokenizer_piece(t, g_w).bytes, 2);
    assert_memory_equal(inki_tokenizer_piece(t, g_w).data, " w", 2);
    assert_int_equal(inki_tokenizer_piece(t, -1).bytes, 0);
    assert_int_equal(inki_tokenizer_piece(t, 263).bytes, 0);
    assert_int_equal(inki_tokenizer_piece(t, INT32_MAX).bytes, 0);
    assert_false(inki_tokenizer_is_special(t, 263));
    assert_false(inki_tokenizer_is_special(t, -1));
    inki_tokenizer_free(t);
    fixture_free(&f);
}

// --- a plain implementation of merging, for vocabularies of at most PLAIN_MOST tokens -----------

enum { PLAIN_MOST = 520, PLAIN_WORD = 400, PLAIN_PIECE = 24 };
typedef struct plain_bpe {
    uint8_t bytes[PLAIN_MOST][PLAIN_PIECE];
    size_t n_bytes[PLAIN_MOST];
    int rank[PLAIN_MOST]
            [PLAIN_MOST]; // 0: no merge; else the id that the pair makes, which rises with the rank
    int n;
} plain_bpe;

static int plain_find(const plain_bpe *p, const uint8_t *bytes, size_t n) {
    for (int i = 0; i < p->n; i++)
        if (p->n_bytes[i] == n && memcmp(p->bytes[i], bytes, n) == 0) return i;
    return -1;
}

// Random merges of tokens that are already there, so a part always has a lower rank.
static void plain_draw(plain_bpe *p, vocab_fixture *f, const char *letters, int n_merges,
                       uint32_t *random) {
    memset(p, 0, sizeof *p);
    fixture_init(f);
    for (p->n = 0; p->n < 256; p->n++) {
        p->bytes[p->n][0] = (uint8_t)p->n;
        p->n_bytes[p->n] = 1;
    }
    const size_t n_letters = strlen(letters);
    while (p->n < 256 + n_merges) {
        int part[2];
        for (int k = 0; k < 2; k++) {
            const uint32_t r = next_random(random) % (uint32_t)(n_letters + (size_t)(p->n - 256));
            part[k] = r < n_letters ? (uint8_t)letters[r] : 256 + (int)(r - n_letters);
        }
        uint8_t joined[2 * PLAIN_PIECE];
        const size_t a = p->n_bytes[part[0]], b = p->n_bytes[part[1]];
        memcpy(joined, p->bytes[part[0]], a);
        memcpy(joined + a, p->bytes[part[1]], b);
        if (a + b > PLAIN_PIECE || plain_find(p, joined, a + b) >= 0) continue;
        memcpy(p->bytes[p->n], joined, a + b);
        p->n_bytes[p->n] = a + b;
        char left[2 * PLAIN_PIECE + 1], right[2 * PLAIN_PIECE + 1];
        left[visible_form(joined, a, left)] = 0;
        right[visible_form(joined + a, b, right)] = 0;
        p->rank[part[0]][part[1]] = fixture_merge(f, left, right);
        p->n++;
    }
}

// As the reference does it: find the best pair, join it everywhere from the left, start again.
static size_t plain_encode(const plain_bpe *p, const uint8_t *word, size_t n, int32_t *ids) {
    for (size_t i = 0; i < n; i++) ids[i] = word[i];
    for (;;) {
        int best = 0;
        for (size_t i = 0; i + 1 < n; i++) {
            const int made = p->rank[ids[i]][ids[i + 1]];
            if (made != 0 && (best == 0 || made < best)) best = made;
        }
        if (best == 0) return n;
        size_t used = 0;
        for (size_t i = 0; i < n; i++) {
            if (i + 1 < n && p->rank[ids[i]][ids[i + 1]] == best) {
                ids[used++] = best;
                i++;
            } else {
                ids[used++] = ids[i];
            }
        }
        n = used;
    }
}

static void test_merging_against_a_plain_one(void **state) {
    (void)state;
    static plain_bpe plain;
    static const char *const alphabets[] = {"ab", "abc", "abcdefgh", "\xe5\xae\xb6\x80\xbf\xc3"};
    uint32_t random = 4711;
    for (int round = 0; round < 24; round++) {
        const char *letters = alphabets[round % 4];
        vocab_fixture f;
        plain_draw(&plain, &f, letters, 10 + (int)(next_random(&random) % 250), &random);
        inki_tokenizer *t = build(&f);
        for (int k = 0; k < 150; k++) {
            uint8_t word[PLAIN_WORD];
            int32_t expected[PLAIN_WORD], ids[PLAIN_WORD];
            // Around 32 bytes another way of merging begins.
            const size_t most = k % 3 == 0 ? PLAIN_WORD : 40, n = 1 + next_random(&random) % most;
            for (size_t i = 0; i < n; i++)
                word[i] = (uint8_t)letters[next_random(&random) % strlen(letters)];
            inki_bpe_sink sink = {ids, PLAIN_WORD, 0, 0};
            uint32_t work[6 * PLAIN_WORD];
            inki_bpe_word(&t->bpe, word, n, work, &sink);
            assert_int_equal(sink.n, plain_encode(&plain, word, n, expected));
            assert_memory_equal(ids, expected, sink.n * sizeof *ids);
            assert_true((double)sink.steps <= 4.0 * (double)n * log2((double)n));
        }
        inki_tokenizer_free(t);
        fixture_free(&f);
    }
}

// --- round trips ---------------------------------------------------------------------------------

static void add_some_merges(vocab_fixture *f) {
    fixture_merge(f, "a", "a");
    fixture_merge(f, "aa", "aa");
    fixture_merge(f, "aaaa", "aaaa");
    fixture_merge(f, "t", "h");
    fixture_merge(f, "th", "e");
    fixture_merge(f, "\xc4\xa0", "the");      // " the"
    fixture_merge(f, "\xc4\xa0", "\xc4\xa0"); // two blanks
    fixture_merge(f, "\xc3\x83", "\xc2\xa9"); // C3 A9
    fixture_merge(f, "\xc4\x80", "\xc4\x80"); // 00 00
    fixture_merge(f, "\xc3\xbf", "\xc5\x83"); // FF AD
}

static void test_all_short_byte_strings_come_back(void **state) {
    (void)state;
    vocab_fixture f;
    fixture_init(&f);
    add_some_merges(&f);
    inki_tokenizer *t = build(&f);
    for (unsigned v = 0; v < 0x10000; v++) {
        const uint8_t text[2] = {(uint8_t)(v >> 8), (uint8_t)v};
        int32_t ids[2];
        if (v < 256) {
            assert_int_equal(encode(t, text + 1, 1, false, ids, 1), 1);
            assert_int_equal(ids[0], v);
        }
        encode(t, text, 2, v % 2 == 0, ids, 2);
    }
    assert_int_equal(encode(t, "", 0, true, NULL, 0), 0);
    assert_int_equal(encode(t, NULL, 0, true, NULL, 0), 0);
    inki_tokenizer_free(t);
    fixture_free(&f);
}

static void test_random_byte_strings_come_back(void **state) {
    (void)state;
    static const char likely[] = "aaaaethe  \n'\xc3\xa9\xff\xad\x80\xe5\xae\xb6";
    vocab_fixture f;
    fixture_init(&f);
    add_some_merges(&f);
    fixture_token(&f, "<end>", INKI_TYPE_CONTROL);
    fixture_token(&f, "  the", INKI_TYPE_USER_DEFINED);
    inki_tokenizer *t = build(&f);
    uint32_t random = 99;
    for (int round = 0; round < 20000; round++) {
        uint8_t text[300];
        int32_t ids[300];
        const size_t n = next_random(&random) % (round % 10 == 0 ? 300 : 30);
        for (size_t i = 0; i < n; i++) {
            const uint32_t r = next_random(&random);
            text[i] =
                r % 4 == 0 ? (uint8_t)(r >> 8) : (uint8_t)likely[(r >> 8) % (sizeof likely - 1)];
        }
        encode(t, text, n, round % 2 == 0, ids, 300);
    }
    inki_tokenizer_free(t);
    fixture_free(&f);
}

static void test_one_word_of_a_million_letters(void **state) {
    (void)state;
    enum { LONG = 1000000 };
    vocab_fixture f;
    static plain_bpe plain;
    uint32_t random = 7;
    plain_draw(&plain, &f, "abcdefghijklmnopqrstuvwxyz", 250, &random);
    char *text = malloc(LONG);
    int32_t *ids = malloc(LONG * sizeof *ids);
    assert_non_null(text);
    assert_non_null(ids);
    inki_tokenizer *t = build(&f);
    for (size_t i = 0; i < LONG; i++) text[i] = (char)('a' + next_random(&random) % 26);
    encode(t, text, LONG, false, ids, LONG);
    inki_tokenizer_free(t);
    fixture_free(&f);

    fixture_init(&f);
    fixture_merge(&f, "a", "a");
    fixture_merge(&f, "aa", "aa");
    fixture_merge(&f, "aaaa", "aaaa");
    t = build(&f);
    memset(text, 'a', LONG);
    assert_int_equal(encode(t, text, LONG, false, ids, LONG), LONG / 8);
    for (size_t i = 0; i < LONG / 8; i++) assert_int_equal(ids[i], 258);
    free(text);
    free(ids);
    inki_tokenizer_free(t);
    fixture_free(&f);
}

// --- special tokens ------------------------------------------------------------------------------

static void test_special_tokens(void **state) {
    (void)state;
    vocab_fixture f;
    fixture_init(&f);
    const int32_t ab = fixture_merge(&f, "a", "b");
    const int32_t end = fixture_token(&f, "<|endoftext|>", INKI_TYPE_CONTROL);
    const int32_t s = fixture_token(&f, "<s>", INKI_TYPE_CONTROL),
                  ss = fixture_token(&f, "<s><s>", INKI_TYPE_CONTROL);
    const int32_t two = fixture_token(&f, "  ", INKI_TYPE_USER_DEFINED),
                  e = fixture_token(&f, "\xc3\xa9!", 4);
    const int32_t pad = fixture_token(&f, "[PAD 1]", 5), pad2 = fixture_token(&f, "[PAD2]", 5);
    const int32_t empty = fixture_token(&f, "", INKI_TYPE_CONTROL),
                  unknown = fixture_token(&f, "<unk>", 2);
    inki_tokenizer *t = build(&f);
    assert_int_equal(inki_tokenizer_end(t), end);
    CHECK_IDS(t, "ab<s>", true, ab, s);
    CHECK_IDS(t, "ab<s>", false, ab, '<', 's', '>');
    CHECK_IDS(t, "<s><s><s>a", true, ss, s, 'a'); // the longest first
    CHECK_IDS(t, "<s<s>", true, '<', 's', s);
    CHECK_IDS(t, "<|endoftext|><|endoftext|", true, end, '<', '|', 'e', 'n', 'd', 'o', 'f', 't',
              'e', 'x', 't', '|');
    CHECK_IDS(t, "<unk>", true, unknown);
    CHECK_IDS(t, "a  b", false, 'a', two, 'b'); // user-defined: always
    CHECK_IDS(t, "a   b", true, 'a', two, ' ', 'b');
    CHECK_IDS(t, "a \n<s>b", true, 'a', ' ', '\n', s,
              'b');                      // a word ends where the special token begins
    CHECK_IDS(t, "\xc3\xa9!", false, e); // its text is raw, not two visible bytes
    CHECK_IDS(t, "[PAD2]", true, '[', 'P', 'A', 'D', '2', ']');
    CHECK_IDS(t, "[PAD 1]", true, '[', 'P', 'A', 'D', ' ', '1', ']');
    assert_int_equal(inki_tokenizer_piece(t, pad).bytes, 7);
    assert_int_equal(inki_tokenizer_piece(t, pad2).bytes, 6);
    assert_int_equal(inki_tokenizer_piece(t, empty).bytes, 0);
    assert_memory_equal(inki_tokenizer_piece(t, e).data, "\xc3\xa9!", 3);
    assert_true(inki_tokenizer_is_special(t, end) && inki_tokenizer_is_special(t, s));
    assert_true(inki_tokenizer_is_special(t, empty) && inki_tokenizer_is_special(t, unknown));
    assert_false(inki_tokenizer_is_special(t, two) || inki_tokenizer_is_special(t, pad));
    assert_false(inki_tokenizer_is_special(t, ab) || inki_tokenizer_is_special(t, pad2));
    inki_tokenizer_free(t);
    fixture_free(&f);
}

// Against a search that tries every token at every place.
static void test_special_search(void **state) {
    (void)state;
    char texts[120][9];
    inki_special list[120];
    uint32_t random = 5;
    for (int round = 0; round < 300; round++) {
        inki_specials specials = {.list = list};
        const uint32_t wanted = 1 + next_random(&random) % 120;
        for (uint32_t k = 0; k < wanted; k++) {
            const size_t n = 1 + next_random(&random) % 8;
            for (size_t i = 0; i < n; i++) texts[k][i] = "ab\xff"[next_random(&random) % 3];
            list[specials.n++] =
                (inki_special){{texts[k], n}, (int32_t)k, next_random(&random) % 2 == 0};
        }
        inki_specials_prepare(&specials);
        for (int k = 0; k < 40; k++) {
            char text[24];
            const size_t n = next_random(&random) % 24;
            for (size_t i = 0; i < n; i++) text[i] = "ab\xffz"[next_random(&random) % 4];
            const bool control = k % 2 == 0;
            size_t found = 1000, place = 1000;
            const inki_special *got = inki_specials_find(&specials, text, n, 0, control, &found),
                               *best = NULL;
            for (size_t at = 0; at < n && best == NULL; at++)
                for (uint32_t i = 0; i < specials.n; i++) {
                    const inki_special *one = &list[i];
                    if ((one->control && !control) || one->text.bytes > n - at) continue;
                    if (memcmp(text + at, one->text.data, one->text.bytes) != 0) continue;
                    place = at;
                    if (best == NULL || one->text.bytes > best->text.bytes ||
                        (one->text.bytes == best->text.bytes && one->id < best->id))
                        best = one;
                }
            assert_ptr_equal(got, best);
            assert_int_equal(found, place);
        }
    }
}

static void test_which_token_is_the_end(void **state) {
    (void)state;
    vocab_fixture f;
    fixture_init(&f);
    const int32_t ab = fixture_merge(&f, "a", "b");
    run_add_text(&f.tokens, "<|endoftext|>");
    run_add_text(&f.tokens, "</s>");
    inki_tokenizer *t = build(&f); // no types: found by its text, and special
    assert_int_equal(inki_tokenizer_end(t), 257);
    assert_true(inki_tokenizer_is_special(t, 257));
    assert_false(inki_tokenizer_is_special(t, 258));
    CHECK_IDS(t, "<|endoftext|>", true, 257);
    inki_tokenizer_free(t);

    f.end_token = 258; // what the file says goes first
    t = build(&f);
    assert_int_equal(inki_tokenizer_end(t), 258);
    assert_true(inki_tokenizer_is_special(t, 258));
    assert_false(inki_tokenizer_is_special(t, 257));
    inki_tokenizer_free(t);

    f.end_token = ab; // a word that merging makes stays one
    t = build(&f);
    assert_int_equal(inki_tokenizer_end(t), ab);
    assert_false(inki_tokenizer_is_special(t, ab));
    CHECK_IDS(t, "ab", false, ab);
    inki_tokenizer_free(t);

    f.end_token = '\n';
    t = build(&f);
    assert_int_equal(inki_tokenizer_end(t), '\n');
    CHECK_IDS(t, "\n", false, '\n');
    inki_tokenizer_free(t);
    fixture_free(&f);
}

// --- the count, the statistics, memory -----------------------------------------------------------

static void test_output_and_statistics(void **state) {
    (void)state;
    vocab_fixture f;
    fixture_init(&f);
    fixture_merge(&f, "a", "b");
    const inki_vocab vocab = fixture_vocab(&f);
    fail_mem counts = {0};
    const inki_mem mem = fail_mem_over(&counts);
    inki_tokenizer *t = NULL;
    assert_int_equal(inki_tokenizer_new(&t, &vocab, &mem, NULL), INK_OK);
    const size_t calls = counts.n_calls;
    int32_t ids[4] = {-7, -7, -7, -7};
    inki_encode_stats stats;
    const char text[] = "ab x\xff\xc3 abab";
    assert_int_equal(inki_tokenizer_encode(t, text, sizeof text - 1, false, ids, 3, &stats, NULL),
                     INK_OK);
    assert_int_equal(stats.n_tokens, 8); // as many as fit are written, all are counted
    assert_memory_equal(ids, ((int32_t[]){256, ' ', 'x', -7}), sizeof ids);
    assert_int_equal(stats.n_invalid, 2);
    assert_int_equal(stats.longest_word, 5);
    assert_int_equal(inki_tokenizer_encode(t, text, sizeof text - 1, false, NULL, 0, NULL, NULL),
                     INK_OK);
    assert_int_equal(counts.n_calls, calls); // words of a usual length need no memory

    char word[257];
    memset(word, 'a', sizeof word);
    assert_int_equal(inki_tokenizer_encode(t, word, 256, false, ids, 4, &stats, NULL), INK_OK);
    assert_int_equal(counts.n_calls, calls);
    assert_int_equal(inki_tokenizer_encode(t, word, 257, false, ids, 4, &stats, NULL), INK_OK);
    assert_int_equal(counts.n_calls, calls + 1);
    inki_tokenizer_free(t);
    inki_tokenizer_free(NULL);
    assert_int_equal(counts.n_blocks, 0);
    assert_int_equal(counts.n_bytes, 0);
    fixture_free(&f);
}

static void test_every_allocation_fails_once(void **state) {
    (void)state;
    vocab_fixture f;
    fixture_init(&f);
    add_some_merges(&f);
    fixture_token(&f, "<|endoftext|>", INKI_TYPE_CONTROL);
    const inki_vocab vocab = fixture_vocab(&f);
    char text[2000];
    memset(text, 'a', sizeof text);
    bool whole = false;
    size_t n = 0;
    while (!whole) {
        fail_mem counts = {.fail_at = ++n};
        const inki_mem mem = fail_mem_over(&counts);
        inki_tokenizer *t = NULL;
        ink_error error = {0};
        ink_status status = inki_tokenizer_new(&t, &vocab, &mem, &error);
        if (status == INK_OK) {
            int32_t ids[2000] = {-7};
            inki_encode_stats stats = {.n_tokens = 12345};
            status = inki_tokenizer_encode(t, text, sizeof text, true, ids, 2000, &stats, &error);
            whole = status == INK_OK && counts.n_calls < n;
            if (!whole) {
                assert_int_equal(ids[0], -7);
                assert_int_equal(stats.n_tokens, 12345);
            }
        } else {
            assert_null(t);
        }
        assert_int_equal(status, whole ? INK_OK : INK_E_NOMEM);
        if (!whole) assert_int_equal(error.status, INK_E_NOMEM);
        inki_tokenizer_free(t);
        assert_int_equal(counts.n_blocks, 0);
        assert_int_equal(counts.n_bytes, 0);
    }
    assert_in_range(n, 9, 30);
    fixture_free(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_merges_by_hand),
        cmocka_unit_test(test_merging_against_a_plain_one),
        cmocka_unit_test(test_all_short_byte_strings_come_back),
        cmocka_unit_test(test_random_byte_strings_come_back),
        cmocka_unit_test(test_one_word_of_a_million_letters),
        cmocka_unit_test(test_special_tokens),
        cmocka_unit_test(test_special_search),
        cmocka_unit_test(test_which_token_is_the_end),
        cmocka_unit_test(test_output_and_statistics),
        cmocka_unit_test(test_every_allocation_fails_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
