// SPDX-License-Identifier: MIT
// Token healing: what is taken back and what stays, at every place where a text can be cut, and the
// set of tokens that begin with some bytes. INKLING_TEST_MODEL=FILE: also with that file's
// vocabulary.
#include "tokenizer/heal.h"

#include "base/utf8.h"
#include "engine/engine.h"
#include "tokenizer/pretokenize.h"

#include "vocab_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static inki_tokenizer *build(const vocab_fixture *f, const inki_mem *mem) {
    const inki_vocab vocab = fixture_vocab(f);
    const inki_mem libc = inki_mem_from(NULL);
    inki_tokenizer *t = NULL;
    ink_error error = {0};
    if (inki_tokenizer_new(&t, &vocab, mem != NULL ? mem : &libc, &error) != INK_OK)
        fail_msg("%s", error.message);
    return t;
}

// Merges of words that children read, with longer ones behind shorter ones, and blanks of all
// kinds.
static void add_words(vocab_fixture *f) {
    fixture_merge(f, "h", "e");
    fixture_merge(f, "l", "l");
    fixture_merge(f, "ll", "o");
    fixture_merge(f, "he", "llo");
    fixture_merge(f, "\xc4\xa0", "hello");    // " hello"
    fixture_merge(f, "\xc4\xa0", "\xc4\xa0"); // two blanks
    fixture_merge(f, "\xc4\x8a", "\xc4\x8a"); // two line feeds
    fixture_merge(f, "\xc3\xa3", "\xc4\xa2"); // E3 80
    fixture_merge(f, "\xc3\xa4", "\xc2\xbd"); // E4 BD, of U+4F60 (E4 BD A0)
}

// Whether merging makes this token, as the test's own lists know it.
typedef struct vocabulary {
    const inki_tokenizer *t;
    int32_t others[8]; // ids that are no ordinary tokens
    size_t n_others;
} vocabulary;

static bool is_ordinary(const vocabulary *v, uint32_t id) {
    for (size_t i = 0; i < v->n_others; i++)
        if (v->others[i] == (int32_t)id) return false;
    return true;
}

static bool begins(const vocabulary *v, uint32_t id, const char *prefix, size_t n) {
    const inki_str piece = inki_tokenizer_piece(v->t, (int32_t)id);
    if (!is_ordinary(v, id) || piece.bytes < n) return false;
    for (size_t i = 0; i < n; i++)
        if (piece.data[i] != prefix[i]) return false;
    return true;
}

static uint32_t count_with(const vocabulary *v, const char *prefix, size_t n) {
    uint32_t count = 0;
    for (uint32_t id = 0; id < inki_tokenizer_n_vocab(v->t); id++)
        count += begins(v, id, prefix, n);
    return count;
}

// --- the set -------------------------------------------------------------------------------------

static void check_set(const vocabulary *v, const char *prefix, size_t n, uint64_t *set) {
    const size_t n_words = inki_tokenizer_set_words(v->t);
    const uint32_t n_vocab = inki_tokenizer_n_vocab(v->t);
    memset(set, 0xee, (n_words + 1) * sizeof *set);
    const uint32_t expected = count_with(v, prefix, n);
    assert_int_equal(inki_tokenizer_with_prefix(v->t, prefix, n, set), expected);
    assert_int_equal(inki_tokenizer_with_prefix(v->t, prefix, n, NULL), expected > 0);
    for (size_t id = 0; id < n_words * 64; id++) {
        const bool is_in = set[id / 64] >> id % 64 & 1;
        assert_int_equal(is_in, id < n_vocab && begins(v, (uint32_t)id, prefix, n));
    }
    assert_true(set[n_words] == 0xeeeeeeeeeeeeeeeeu);
}

static void check_sets(const vocabulary *v, uint32_t step) {
    const uint32_t n_vocab = inki_tokenizer_n_vocab(v->t);
    assert_int_equal(inki_tokenizer_set_words(v->t), n_vocab / 64 + (n_vocab % 64 != 0));
    uint64_t *set = malloc((inki_tokenizer_set_words(v->t) + 1) * sizeof *set);
    assert_non_null(set);
    for (uint32_t id = 0; id < n_vocab; id += step) {
        const inki_str piece = inki_tokenizer_piece(v->t, (int32_t)id);
        for (size_t n = 1; n <= piece.bytes && n <= 20; n++) check_set(v, piece.data, n, set);
        char longer[64]; // and what no token has
        if (piece.bytes + 1 > sizeof longer) continue;
        memcpy(longer, piece.data, piece.bytes);
        longer[piece.bytes] = (char)0xfe;
        check_set(v, longer, piece.bytes + 1, set);
    }
    free(set);
}

static void special_ones_are_in_no_set(void **state) {
    (void)state;
    vocab_fixture f;
    fixture_init(&f);
    add_words(&f);
    vocabulary v = {.n_others = 4};
    v.others[0] = fixture_token(&f, "<|endoftext|>", 3);
    v.others[1] = fixture_token(&f, "hello!", 4);
    v.others[2] = fixture_token(&f, "helpless", 2);
    v.others[3] = fixture_token(&f, "he \xe2\x96\x81", 5); // not in the byte-to-unicode form
    fixture_token(&f, "hellooooooooooooo", 1);
    fixture_token(&f, "hellooooooooooo-o", 6);
    inki_tokenizer *t = build(&f, NULL);
    v.t = t;
    check_sets(&v, 1);
    assert_int_equal(count_with(&v, "he", 2), 4); // he, hello and the long ones
    inki_tokenizer_free(t);
    fixture_free(&f);
}

static void sets_of_all_sizes(void **state) {
    (void)state;
    // Up to and over whole words of the set; the last token of the blob has fewer than 8 bytes.
    for (int n = 0; n < 130; n++) {
        vocab_fixture f;
        fixture_init(&f);
        for (int i = 0; i < n; i++) {
            char text[16];
            snprintf(text, sizeof text, "x%d", i);
            fixture_token(&f, text, 1);
        }
        inki_tokenizer *t = build(&f, NULL);
        const vocabulary v = {.t = t};
        uint64_t set[8];
        check_set(&v, "x", 1, set);
        check_set(&v, "x1", 2, set);
        check_set(&v, "x12", 3, set);
        check_set(&v, "\xff", 1, set);
        inki_tokenizer_free(t);
        fixture_free(&f);
    }
}

// --- healing -------------------------------------------------------------------------------------

enum { MOST_IDS = 4096 };
typedef struct healed {
    int32_t ids[MOST_IDS];
    inki_encode_stats stats;
    size_t n_tail;
} healed;

static size_t encode(const inki_tokenizer *t, const char *text, size_t n, bool special,
                     int32_t *ids) {
    inki_encode_stats stats;
    assert_int_equal(inki_tokenizer_encode(t, text, n, special, ids, MOST_IDS, &stats, NULL),
                     INK_OK);
    assert_true(stats.n_tokens <= MOST_IDS);
    return stats.n_tokens;
}

// In a block of its own, so that a sanitizer sees a read past its ends.
static void heal(healed *out, const inki_tokenizer *t, const char *text, size_t n, bool special) {
    char *copy = malloc(n > 0 ? n : 1);
    assert_non_null(copy);
    if (n > 0) memcpy(copy, text, n);
    out->n_tail = 12345;
    assert_int_equal(inki_tokenizer_encode_healed(t, copy, n, special, out->ids, MOST_IDS,
                                                  &out->stats, &out->n_tail, NULL),
                     INK_OK);
    free(copy);
}

// White space, spelled out: the classes' table is not asked.
static size_t blank_at_end(const char *text, size_t n) {
    static const char *const blanks[] = {" ",
                                         "\t",
                                         "\n",
                                         "\v",
                                         "\f",
                                         "\r",
                                         "\xc2\x85",
                                         "\xc2\xa0",
                                         "\xe1\x9a\x80",
                                         "\xe2\x80\x80",
                                         "\xe2\x80\x81",
                                         "\xe2\x80\x82",
                                         "\xe2\x80\x83",
                                         "\xe2\x80\x84",
                                         "\xe2\x80\x85",
                                         "\xe2\x80\x86",
                                         "\xe2\x80\x87",
                                         "\xe2\x80\x88",
                                         "\xe2\x80\x89",
                                         "\xe2\x80\x8a",
                                         "\xe2\x80\xa8",
                                         "\xe2\x80\xa9",
                                         "\xe2\x80\xaf",
                                         "\xe2\x81\x9f",
                                         "\xe3\x80\x80"};
    for (size_t i = 0; i < sizeof blanks / sizeof *blanks; i++) {
        const size_t length = strlen(blanks[i]);
        if (length <= n && memcmp(text + n - length, blanks[i], length) == 0) return length;
    }
    return 0;
}

// How many tokens of the last pre-token may be taken back: tried one by one, none left out.
static size_t naive_back(const vocabulary *v, const char *text, size_t n, const int32_t *ids,
                         size_t n_ids, size_t *bytes) {
    size_t word = 0;
    for (size_t at = 0; at < n; at += inki_pretokenize_next((const uint8_t *)text + at, n - at))
        word = at;
    size_t best = 0, sum = 0;
    *bytes = 0;
    for (size_t back = 1; back <= n_ids && back <= INKI_HEAL_MAX_TOKENS; back++) {
        sum += inki_tokenizer_piece(v->t, ids[n_ids - back]).bytes;
        if (sum > n - word) break;
        if (count_with(v, text + n - sum, sum) == 0) continue;
        best = back;
        *bytes = sum;
    }
    return best;
}

static bool cuts_character(const char *text, size_t n, size_t at) {
    for (size_t back = 1; back <= 3 && back <= at; back++) {
        uint32_t c;
        if (inki_utf8_decode((const uint8_t *)text + at - back, n - (at - back), &c) > back)
            return true;
    }
    return false;
}

// Without special tokens in the text.
static void check_cut(const vocabulary *v, const char *text, size_t n) {
    static healed h;
    static int32_t all[MOST_IDS], kept[MOST_IDS];
    heal(&h, v->t, text, n, false);
    assert_true(h.n_tail <= n);
    assert_int_equal(h.n_tail == 0, n == 0);
    // All bytes are there, in their order.
    size_t at = 0;
    for (size_t i = 0; i < h.stats.n_tokens; i++) {
        const inki_str piece = inki_tokenizer_piece(v->t, h.ids[i]);
        assert_true(piece.bytes <= n - at);
        assert_memory_equal(piece.data, text + at, piece.bytes);
        at += piece.bytes;
    }
    assert_int_equal(at + h.n_tail, n);
    if (n == 0) return;
    assert_true(count_with(v, text + n - h.n_tail, h.n_tail) > 0);

    const size_t n_all = encode(v->t, text, n, false, all);
    const size_t n_kept = encode(v->t, text, n - h.n_tail, false, kept);
    const size_t blank = blank_at_end(text, n);
    if (blank > 0 && count_with(v, text + n - blank, blank) > 0) {
        assert_int_equal(h.n_tail, blank);
    } else {
        size_t bytes;
        const size_t back = naive_back(v, text, n, all, n_all, &bytes);
        assert_int_equal(h.n_tail, bytes);
        assert_int_equal(h.stats.n_tokens, n_all - back);
        assert_memory_equal(h.ids, all, h.stats.n_tokens * sizeof *all);
        // Words are cut by what stands behind them, and something does: behind a run of blanks, and
        // where a character is cut.
        const size_t last = blank_at_end(text, n - bytes);
        if (last > 0 && blank_at_end(text, n - bytes - last) > 0) return;
        if (cuts_character(text, n, n - bytes)) return;
    }
    assert_int_equal(h.stats.n_tokens, n_kept);
    assert_memory_equal(h.ids, kept, n_kept * sizeof *kept);
}

static void check_cuts(const vocabulary *v, const char *text, size_t n) {
    for (size_t cut = 0; cut <= n; cut++) check_cut(v, text, cut);
}

static const char *const texts[] = {
    "hello world, this is a hello from hell",
    "Once upon a time there was a little girl who didn't like the dark. She'd say: \"I'll go\"!",
    "It's John's; we've they're I'm he'd she'll 'tis 'S 'LL ''s don't''t",
    "one  two   three    \n\n\tfour\n\n five \r\n\r\n six\n",
    "    indented\n        twice\n\n\n\nand out   ",
    "1234567890 12 345 6.789e-10 2024-12-31T23:59:60Z $5.00 100%",
    "na\xc3\xafve caf\xc3\xa9 cafe\xcc\x81 \xc3\xbc\xc3\xb1\xc3\xae\xc3\xa7\xc3\xb8\xe2\x88\x82\xe2"
    "\x84\xa2",
    "\xe4\xbd\xa0\xe5\xa5\xbd\xef\xbc\x8c\xe4\xb8\x96\xe7\x95\x8c\xe3\x80\x82 \xe4\xbb\x8a\xe5\xa4"
    "\xa9 ok\xe4\xbd\xa0",
    "\xe3\x80\x80\xe3\x81\x93\xe3\x82\x93\xe3\x81\xab\xe3\x81\xa1\xe3\x81\xaf\xe3\x80\x80\xe3\x80"
    "\x80",
    "a\xc2\xa0"
    "b\xe2\x80\x83"
    "c\xe1\x9a\x80\xe2\x80\xa8\xe2\x81\x9f"
    "d\xc2\x85",
    "\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x91\xa7 \xf0\x9f\x98\x80\xf0"
    "\x9f\x98\x80",
    "broken \xff\xfe \xe4\xbd \xc3 \xf0\x9f\x98 \x80\x80\x80 \xe2\x80 \xc2 \xed\xa0\x80",
    "xqzkjvwptbrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrrr",
    "                                                                              x",
    "!!!??...---___***((([[[{{{ \"'\"' <|endoftext|> <|endoftext|",
};

static void check_texts(const vocabulary *v) {
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        check_cuts(v, texts[i], strlen(texts[i]));
    check_cuts(v, "a\0b \0\0 \0", 9);
    static const char parts[][5] = {
        "a",    "he",   "l",    "o",    " ", " ",    "\n",       "\n",           "'s",          "1",
        "\xe3", "\x80", "\xe4", "\xbd", "!", "\xff", "\xc2\xa0", "\xe3\x80\x80", "\xe4\xbd\xa0"};
    uint32_t random = 2463534242u;
    for (int round = 0; round < 400; round++) {
        char text[64];
        size_t n = 0;
        for (uint32_t k = next_random(&random) % 16; k > 0; k--) {
            const char *part = parts[next_random(&random) % (sizeof parts / sizeof *parts)];
            memcpy(text + n, part, strlen(part));
            n += strlen(part);
        }
        check_cuts(v, text, n);
    }
}

static void every_cut_with_few_merges(void **state) {
    (void)state;
    vocab_fixture f;
    fixture_init(&f);
    inki_tokenizer *t = build(&f, NULL); // bytes alone
    check_texts(&(vocabulary){.t = t});
    inki_tokenizer_free(t);
    add_words(&f);
    t = build(&f, NULL);
    check_texts(&(vocabulary){.t = t});
    inki_tokenizer_free(t);
    fixture_free(&f);
}

static void check_model(const ink_source *source) {
    ink_model *model = NULL;
    ink_error error = {0};
    if (ink_model_open(&model, NULL, source, NULL, &error) != INK_OK) fail_msg("%s", error.message);
    vocabulary v = {.t = model->tokenizer, .n_others = 1};
    v.others[0] = inki_tokenizer_end(v.t);
    check_sets(&v, inki_tokenizer_n_vocab(v.t) / 64 + 1);
    check_texts(&v);
    ink_model_unref(model);
}

static void every_cut_with_real_vocabularies(void **state) {
    (void)state;
    check_model(NULL);
    const char *path = getenv("INKLING_TEST_MODEL");
    if (path == NULL) {
        print_message("left out: the vocabulary of INKLING_TEST_MODEL\n");
        return;
    }
    const ink_source source = {.size = sizeof source, .kind = INK_SOURCE_PATH, .name = path};
    check_model(&source);
}

// --- by hand -------------------------------------------------------------------------------------

static void check(const inki_tokenizer *t, const char *text, bool special, const char *tail,
                  const int32_t *ids, size_t n_ids) {
    static healed h;
    const size_t n = strlen(text), n_tail = strlen(tail);
    heal(&h, t, text, n, special);
    assert_int_equal(h.n_tail, n_tail);
    assert_memory_equal(text + n - n_tail, tail, n_tail);
    assert_int_equal(h.stats.n_tokens, n_ids);
    if (n_ids > 0) assert_memory_equal(h.ids, ids, n_ids * sizeof *ids);
}
#define CHECK(t, text, special, tail, ...)                                                         \
    check(t, text, special, tail, (const int32_t[]){0, __VA_ARGS__} + 1,                           \
          sizeof((int32_t[]){0, __VA_ARGS__}) / 4 - 1)

static void words_by_hand(void **state) {
    (void)state;
    vocab_fixture f;
    fixture_init(&f);
    const int32_t he = fixture_merge(&f, "h", "e"), ll = fixture_merge(&f, "l", "l");
    const int32_t llo = fixture_merge(&f, "ll", "o"), hello = fixture_merge(&f, "he", "llo");
    const int32_t b_hello = fixture_merge(&f, "\xc4\xa0", "hello");
    const int32_t feeds = fixture_merge(&f, "\xc4\x8a", "\xc4\x8a");
    inki_tokenizer *t = build(&f, NULL);
    CHECK(t, "", false, "");
    CHECK(t, "h", false, "h");
    CHECK(t, "he", false, "he");
    // "el" begins nothing, "hel" begins "hello".
    CHECK(t, "hel", false, "hel");
    CHECK(t, "hell", false, "hell");
    CHECK(t, "hello", false, "hello");
    CHECK(t, "hello hel", false, " hel", hello);
    CHECK(t, "hello hellx", false, "x", hello, ' ', he, ll);
    CHECK(t, "hello ", false, " ", hello);
    CHECK(t, "hello  ", false, " ", hello, ' ');
    CHECK(t, " hello  h", false, " h", b_hello, ' ');
    CHECK(t, "xllo", false, "llo", 'x');
    // Behind two line feeds they are one token, before a word two.
    CHECK(t, "hello\n\n\n", false, "\n", hello, feeds);
    CHECK(t, "hello\n\nhe", false, "he", hello, '\n', '\n');
    CHECK(t, "hello's", false, "s", hello, '\'');
    (void)llo;
    inki_tokenizer_free(t);
    fixture_free(&f);
}

// Merged from the right, so that "abcdefghijk" has no merges at all, though "abcdefghijkl" is one
// token.
static void at_most_eight_tokens(void **state) {
    (void)state;
    vocab_fixture f;
    fixture_init(&f);
    const char word[] = "abcdefghijkl";
    for (size_t at = sizeof word - 3; at + 1 > 0; at--) {
        const char left[2] = {word[at], 0};
        fixture_merge(&f, left, word + at + 1);
    }
    inki_tokenizer *t = build(&f, NULL);
    CHECK(t, "abcde", false, "abcde");
    CHECK(t, "abcdefgh", false, "abcdefgh");
    CHECK(t, "abcdefghi", false, "bcdefghi", 'a');
    CHECK(t, "abcdefghijk", false, "defghijk", 'a', 'b', 'c');
    CHECK(t, "xbcdefg", false, "bcdefg", 'x');
    inki_tokenizer_free(t);
    fixture_free(&f);
}

static void special_tokens_at_the_end(void **state) {
    (void)state;
    vocab_fixture f;
    fixture_init(&f);
    const int32_t he = fixture_merge(&f, "h", "e");
    const int32_t end = fixture_token(&f, "<|endoftext|>", 3);
    const int32_t user = fixture_token(&f, "  ", 4);
    const int32_t smile = fixture_token(&f, "\xe3\x80", 4);
    inki_tokenizer *t = build(&f, NULL);
    CHECK(t, "<|endoftext|>", true, "", end);
    CHECK(t, "he<|endoftext|>", true, "", he, end);
    CHECK(t, "<|endoftext|>h", true, "h", end);
    CHECK(t, "<|endoftext|> ", true, " ", end);
    CHECK(t, "<|endoftext|>", false, ">", '<', '|', 'e', 'n', 'd', 'o', 'f', 't', 'e', 'x', 't',
          '|');
    CHECK(t, "he  ", false, "", he, user); // read whether asked for or not
    CHECK(t, "he   ", false, " ", he, user);
    CHECK(t, "  ", true, "", user);
    // What is left of a character whose beginning is a token of its own is no white space.
    CHECK(t, "he\xe3\x80\x80", false, "\x80", he, smile);
    inki_tokenizer_free(t);
    fixture_free(&f);
}

static void wide_blanks(void **state) {
    (void)state;
    vocab_fixture f;
    fixture_init(&f);
    inki_tokenizer *t = build(&f, NULL);
    // No token begins with U+3000: the last token of the pre-token instead.
    CHECK(t, "a\xe3\x80\x80", false, "\x80", 'a', 0xe3, 0x80);
    inki_tokenizer_free(t);
    fixture_merge(&f, "\xc3\xa3", "\xc4\xa2");                              // E3 80
    const int32_t wide = fixture_merge(&f, "\xc3\xa3\xc4\xa2", "\xc4\xa2"); // E3 80 80
    t = build(&f, NULL);
    CHECK(t, "a\xe3\x80\x80", false, "\xe3\x80\x80", 'a');
    CHECK(t, "a\xe3\x80\x80\xe3\x80\x80", false, "\xe3\x80\x80", 'a', wide);
    inki_tokenizer_free(t);
    fixture_free(&f);
}

// --- limits --------------------------------------------------------------------------------------

static void a_short_buffer_counts(void **state) {
    (void)state;
    vocab_fixture f;
    fixture_init(&f);
    add_words(&f);
    inki_tokenizer *t = build(&f, NULL);
    static healed h;
    const char text[] = "one two hello three \xff hel";
    const size_t n = sizeof text - 1;
    heal(&h, t, text, n, false);
    assert_int_equal(h.stats.n_invalid, 1);
    assert_int_equal(h.n_tail, 4);
    for (size_t cap = 0; cap <= h.stats.n_tokens; cap++) {
        int32_t *out = malloc((cap + 1) * sizeof *out);
        assert_non_null(out);
        inki_encode_stats stats;
        size_t n_tail;
        assert_int_equal(inki_tokenizer_encode_healed(t, text, n, false, cap > 0 ? out : NULL, cap,
                                                      &stats, &n_tail, NULL),
                         INK_OK);
        assert_int_equal(stats.n_tokens, h.stats.n_tokens);
        assert_int_equal(n_tail, h.n_tail);
        if (cap > 0) assert_memory_equal(out, h.ids, cap * sizeof *out);
        free(out);
    }
    assert_int_equal(
        inki_tokenizer_encode_healed(t, text, n, false, NULL, 0, NULL, &h.n_tail, NULL), INK_OK);
    ink_error error = {0};
    h.n_tail = 7;
    assert_int_equal(inki_tokenizer_encode_healed(t, text, (size_t)INT32_MAX + 1, false, NULL, 0,
                                                  &h.stats, &h.n_tail, &error),
                     INK_E_LIMIT);
    assert_int_equal(h.n_tail, 7);
    inki_tokenizer_free(t);
    fixture_free(&f);
}

static void without_memory_nothing_is_touched(void **state) {
    (void)state;
    vocab_fixture f;
    fixture_init(&f);
    fail_mem memory = {0};
    const inki_mem mem = fail_mem_over(&memory);
    inki_tokenizer *t = build(&f, &mem);
    const size_t n_blocks = memory.n_blocks;
    static char text[400]; // more tokens than have room on the stack
    memset(text, 'x', sizeof text);
    size_t n_failures = 0;
    for (size_t fail_at = 1;; fail_at++) {
        memory.n_calls = 0;
        memory.fail_at = fail_at;
        int32_t ids[400] = {-5};
        inki_encode_stats stats = {.n_tokens = 77};
        size_t n_tail = 7;
        ink_error error = {0};
        const ink_status status = inki_tokenizer_encode_healed(
            t, text, sizeof text, false, ids, sizeof text, &stats, &n_tail, &error);
        assert_int_equal(memory.n_blocks, n_blocks);
        if (status == INK_OK) {
            assert_int_equal(stats.n_tokens, sizeof text - 1);
            assert_int_equal(n_tail, 1);
            break;
        }
        n_failures++;
        assert_int_equal(status, INK_E_NOMEM);
        assert_int_equal(error.status, INK_E_NOMEM);
        assert_int_equal(stats.n_tokens, 77);
        assert_int_equal(n_tail, 7);
        assert_int_equal(ids[0], -5);
    }
    assert_true(n_failures > 0);
    inki_tokenizer_free(t);
    assert_int_equal(memory.n_blocks, 0);
    fixture_free(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(special_ones_are_in_no_set),
        cmocka_unit_test(sets_of_all_sizes),
        cmocka_unit_test(every_cut_with_few_merges),
        cmocka_unit_test(every_cut_with_real_vocabularies),
        cmocka_unit_test(words_by_hand),
        cmocka_unit_test(at_most_eight_tokens),
        cmocka_unit_test(special_tokens_at_the_end),
        cmocka_unit_test(wide_blanks),
        cmocka_unit_test(a_short_buffer_counts),
        cmocka_unit_test(without_memory_nothing_is_touched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
