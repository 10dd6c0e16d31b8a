// SPDX-License-Identifier: MIT
// What is learnt from a text: the merges that tests/oracle/bpe_reference.py wrote, and those of a
// second plain count over random words; the tokenizer takes it; hostile texts and limits.
#include "heap.h"
#include "learned_tokenizer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
// after those:
#include <cmocka.h>

static char *sample;
static size_t sample_bytes;
static inki_str expected[4096]; // merges of the sample
static uint32_t n_expected;
static char *expected_text;

static char *read_whole(const char *name, size_t *bytes) {
    const char *root = getenv("INKLING_SOURCE_DIR");
    char path[1024];
    snprintf(path, sizeof path, "%s/tests/fixtures/bpe/%s", root != NULL ? root : ".", name);
    FILE *f = fopen(path, "rb");
    if (f == NULL) fail_msg("%s cannot be opened", path);
    char *data = malloc(1 << 20);
    assert_non_null(data);
    *bytes = fread(data, 1, 1 << 20, f);
    fclose(f);
    return data;
}

static int read_fixture(void **state) {
    (void)state;
    size_t bytes;
    sample = read_whole("sample.txt", &sample_bytes);
    expected_text = read_whole("merges.txt", &bytes);
    for (char *at = expected_text, *end = at + bytes; at < end; n_expected++) {
        char *line = memchr(at, '\n', (size_t)(end - at));
        assert_non_null(line);
        assert_true(n_expected < sizeof expected / sizeof *expected);
        expected[n_expected] = (inki_str){at, (size_t)(line - at)};
        at = line + 1;
    }
    return n_expected < 300; // it would show little
}

static int free_fixture(void **state) {
    (void)state;
    free(sample);
    free(expected_text);
    return 0;
}

static inki_learned_vocab learn(const char *text, size_t bytes, uint32_t n_vocab) {
    inki_learned_vocab v;
    ink_error error = {0};
    const inki_mem mem = inki_mem_from(NULL);
    const inki_str one = {text, bytes};
    const ink_status status = inki_bpe_train(&v, &one, 1, n_vocab, NULL, &mem, NULL, NULL, &error);
    if (status != INK_OK) fail_msg("%s", error.message);
    return v;
}

// Bytes first, in the order of their characters; then what the merges join; then the end.
static void check_tokens(const inki_learned_vocab *v) {
    uint32_t id = 0;
    for (unsigned shift = 0; shift < 2; shift++) // those that show as themselves go first
        for (unsigned b = 0; b < 256; b++) {
            const bool stays = (b >= '!' && b <= '~') || (b >= 0xa1 && b != 0xad);
            const uint8_t byte = (uint8_t)b;
            char form[2];
            if (stays == (shift == 1)) continue;
            assert_int_equal(visible_form(&byte, 1, form), v->tokens[id].bytes);
            assert_memory_equal(form, v->tokens[id].data, v->tokens[id].bytes);
            id++;
        }
    assert_int_equal(id, 256);
    for (uint32_t i = 0; i < v->n_merges; i++, id++) {
        const inki_str merge = v->merges[i], token = v->tokens[id];
        const char *blank = memchr(merge.data, ' ', merge.bytes);
        const size_t left = (size_t)(blank - merge.data);
        assert_int_equal(token.bytes, merge.bytes - 1);
        assert_memory_equal(token.data, merge.data, left);
        assert_memory_equal(token.data + left, blank + 1, token.bytes - left);
    }
    assert_int_equal(v->n_tokens, v->n_merges + 257);
    assert_int_equal(v->end_token, id);
    assert_true(inki_str_equal(v->tokens[id], "<|endoftext|>"));
}

static void test_fixture(void **state) {
    (void)state;
    const uint32_t sizes[] = {
        257, 258, 300, 400, 256 + n_expected, 257 + n_expected, 258 + n_expected, 1 << 20};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        inki_learned_vocab v = learn(sample, sample_bytes, sizes[i]);
        const uint32_t most = sizes[i] - 257 < n_expected ? sizes[i] - 257 : n_expected;
        assert_int_equal(v.n_merges, most);
        assert_true(same_strings(v.merges, expected, most));
        assert_int_equal(v.n_bytes, sample_bytes);
        check_tokens(&v);
        inki_learned_vocab_free(&v);
    }
}

// The text comes back; no byte pair is left that a merge would join; the last merge, which stood
// twice when it was learnt, is used.
static void test_tokenizer(void **state) {
    (void)state;
    const uint32_t sizes[] = {257, 258, 320, 500, 1 << 20};
    size_t before = SIZE_MAX;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        inki_learned_vocab v = learn(sample, sample_bytes, sizes[i]);
        inki_tokenizer *t;
        ink_error error = {0};
        if (learned_tokenizer(&t, &v, &error) != INK_OK) fail_msg("%s", error.message);
        int32_t *ids = malloc(sample_bytes * sizeof *ids);
        assert_non_null(ids);
        inki_encode_stats stats;
        assert_int_equal(
            inki_tokenizer_encode(t, sample, sample_bytes, true, ids, sample_bytes, &stats, &error),
            INK_OK);
        size_t at = 0, n_last = 0, n_ends = 0;
        for (size_t k = 0; k < stats.n_tokens; k++) {
            const inki_str piece = inki_tokenizer_piece(t, ids[k]);
            assert_true(piece.bytes <= sample_bytes - at);
            assert_memory_equal(piece.data, sample + at, piece.bytes);
            at += piece.bytes;
            n_last += ids[k] == v.end_token - 1;
            n_ends += ids[k] == v.end_token;
        }
        assert_int_equal(at, sample_bytes);
        assert_int_equal(n_ends, 7);
        assert_true(v.n_merges == 0 || n_last > 0);
        assert_true(stats.n_tokens < before);
        assert_int_equal(stats.n_invalid, v.n_invalid);
        before = stats.n_tokens;
        free(ids);
        inki_tokenizer_free(t);
        inki_learned_vocab_free(&v);
    }
    assert_true(before < sample_bytes / 3);
}

// ---- a plain count of its own: words of small letters, all pairs counted in each round

enum { PLAIN_WORDS = 400, PLAIN_BYTES = 12, PLAIN_TOKENS = 2000 };

typedef struct plain {
    uint32_t rows[PLAIN_WORDS][PLAIN_BYTES];
    uint32_t lengths[PLAIN_WORDS];
    uint64_t weights[PLAIN_WORDS];
    char tokens[PLAIN_TOKENS][PLAIN_BYTES + 1];
    uint64_t *counts; // [PLAIN_TOKENS * PLAIN_TOKENS]
    uint32_t n_tokens;
} plain;

static bool plain_round(plain *p, uint32_t *left, uint32_t *right) {
    uint64_t best = 1;
    memset(p->counts, 0, sizeof *p->counts * PLAIN_TOKENS * p->n_tokens);
    for (uint32_t w = 0; w < PLAIN_WORDS; w++)
        for (uint32_t i = 0; i + 1 < p->lengths[w]; i++)
            p->counts[p->rows[w][i] * PLAIN_TOKENS + p->rows[w][i + 1]] += p->weights[w];
    for (uint32_t a = 0; a < p->n_tokens; a++)
        for (uint32_t b = 0; b < p->n_tokens; b++)
            if (p->counts[a * PLAIN_TOKENS + b] > best) {
                best = p->counts[a * PLAIN_TOKENS + b];
                *left = a;
                *right = b;
            }
    if (best == 1) return false;
    for (uint32_t w = 0; w < PLAIN_WORDS; w++) {
        uint32_t n = 0;
        for (uint32_t i = 0; i < p->lengths[w]; i++, n++) {
            const bool here =
                i + 1 < p->lengths[w] && p->rows[w][i] == *left && p->rows[w][i + 1] == *right;
            p->rows[w][n] = here ? p->n_tokens : p->rows[w][i];
            i += here;
        }
        p->lengths[w] = n;
    }
    char *joined = p->tokens[p->n_tokens];
    const size_t n_left = strlen(p->tokens[*left]);
    memcpy(joined, p->tokens[*left], n_left);
    memcpy(joined + n_left, p->tokens[*right], strlen(p->tokens[*right]) + 1);
    p->n_tokens++;
    return true;
}

// Writes the words into text, each so often as it weighs, and returns its length. Each has a blank
// line before it: such a word is nothing but its letters.
static size_t plain_text(plain *p, uint32_t *seed, uint32_t n_letters, uint32_t heavy, char *text) {
    size_t n = 0;
    for (uint32_t w = 0; w < PLAIN_WORDS; w++) {
        char word[PLAIN_BYTES];
        p->lengths[w] = 1 + next_random(seed) % PLAIN_BYTES;
        p->weights[w] = w < 3 ? heavy + 900 * w : 1 + next_random(seed) % 3;
        for (uint32_t i = 0; i < p->lengths[w]; i++) {
            const uint32_t letter = next_random(seed) % n_letters;
            word[i] = (char)('a' + letter);
            p->rows[w][i] = letter;
        }
        for (uint64_t k = 0; k < p->weights[w]; k++) {
            memcpy(text + n, word, p->lengths[w]);
            n += p->lengths[w];
            text[n++] = '\n';
        }
    }
    return n;
}

static void test_plain_count(void **state) {
    (void)state;
    plain *p = calloc(1, sizeof *p);
    assert_non_null(p);
    p->counts = malloc(sizeof *p->counts * PLAIN_TOKENS * PLAIN_TOKENS);
    char *text = malloc(2 << 20);
    assert_non_null(p->counts);
    assert_non_null(text);
    uint32_t seed = 99;
    for (uint32_t run = 0; run < 12; run++) {
        const uint32_t n_letters = 1 + run % 6;
        const size_t bytes = plain_text(p, &seed, n_letters, run % 4 == 1 ? 4094 : 40, text);
        p->n_tokens = n_letters;
        for (uint32_t i = 0; i < n_letters; i++)
            snprintf(p->tokens[i], sizeof p->tokens[i], "%c", 'a' + (int)i);
        inki_learned_vocab v = learn(text, bytes, PLAIN_TOKENS);
        uint32_t n = 0, left, right;
        for (; n + n_letters < PLAIN_TOKENS && plain_round(p, &left, &right); n++) {
            char line[64];
            snprintf(line, sizeof line, "%s %s", p->tokens[left], p->tokens[right]);
            if (n >= v.n_merges || !inki_str_equal(v.merges[n], line))
                fail_msg("run %u, merge %u is not \"%s\"", (unsigned)run, (unsigned)n, line);
        }
        assert_int_equal(v.n_merges, n);
        inki_learned_vocab_free(&v);
    }
    free(text);
    free(p->counts);
    free(p);
}

// ---- little text, and limits

static void test_small_texts(void **state) {
    (void)state;
    static const struct {
        const char *text;
        uint32_t n_merges;
        const char *last;
    } cases[] = {
        {"", 0, ""},
        {"a", 0, ""},
        {"ab", 0, ""},
        {"ab ab", 1, "a b"},
        {" ab ab", 2, "\xc4\xa0 ab"},
        {"aaa", 1, "a a"},
        {"<|endoftext|>", 0, ""},
        {"aa", 0, ""},
        {"ab<|endoftext|>ab", 1, "a b"},
        {"aaaa aaaa", 2, "aa aa"},
        {"\xff\xff\xff", 1, "\xc3\xbf \xc3\xbf"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        inki_learned_vocab v = learn(cases[i].text, strlen(cases[i].text), 50257);
        if (v.n_merges != cases[i].n_merges)
            fail_msg("\"%s\": %u merges", cases[i].text, (unsigned)v.n_merges);
        if (v.n_merges > 0) assert_true(inki_str_equal(v.merges[v.n_merges - 1], cases[i].last));
        check_tokens(&v);
        inki_learned_vocab_free(&v);
    }
    inki_learned_vocab v;
    const inki_mem mem = inki_mem_from(NULL);
    assert_int_equal(inki_bpe_train(&v, NULL, 0, 300, NULL, &mem, NULL, NULL, NULL), INK_OK);
    assert_int_equal(v.n_tokens, 257);
    inki_learned_vocab_free(&v);
    inki_learned_vocab_free(&v); // zeroed
}

static void test_limits(void **state) {
    (void)state;
    const inki_mem mem = inki_mem_from(NULL);
    const inki_str one = {"abab", 4};
    const uint32_t wrong[] = {0, 1, 256, (1 << 20) + 1, UINT32_MAX};
    inki_learned_vocab v, untouched;
    memset(&v, 0x5a, sizeof v);
    untouched = v;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        ink_error error = {0};
        assert_int_equal(inki_bpe_train(&v, &one, 1, wrong[i], NULL, &mem, NULL, NULL, &error),
                         INK_E_ARG);
        assert_non_null(strstr(error.message, "257"));
        assert_non_null(strstr(error.message, "1048576"));
    }
    const inki_str huge[2] = {{"abab", (size_t)1 << 40}, {"abab", 1}};
    ink_error error = {0};
    assert_int_equal(inki_bpe_train(&v, huge, 2, 300, NULL, &mem, NULL, NULL, &error), INK_E_LIMIT);
    assert_non_null(strstr(error.message, "bytes"));
    assert_memory_equal(&v, &untouched, sizeof v);
}

// Runs double with each merge: they stop at INKI_BPE_MAX_TOKEN bytes.
static void test_long_tokens(void **state) {
    (void)state;
    char text[5000];
    memset(text, 'a', sizeof text);
    inki_learned_vocab v = learn(text, sizeof text, 1 << 20);
    assert_int_equal(v.n_merges, 8);
    assert_int_equal(v.tokens[263].bytes, INKI_BPE_MAX_TOKEN);
    inki_learned_vocab_free(&v);
    memset(text, 0xff, sizeof text); // two bytes each in the visible form
    v = learn(text, sizeof text, 1 << 20);
    assert_int_equal(v.n_merges, 8);
    inki_tokenizer *t;
    assert_int_equal(learned_tokenizer(&t, &v, NULL), INK_OK);
    inki_tokenizer_free(t);
    inki_learned_vocab_free(&v);
}

// ---- without memory

static void test_failing_memory(void **state) {
    (void)state;
    enum { MORE = 60000 }; // so many bytes of different words, for tables that grow
    char *text = malloc(sample_bytes + MORE);
    assert_non_null(text);
    memcpy(text, sample, sample_bytes);
    uint32_t seed = 7;
    for (size_t i = 0; i < MORE; i++)
        text[sample_bytes + i] = i % 9 == 8 ? '\n' : (char)('a' + next_random(&seed) % 26);
    const inki_str one = {text, sample_bytes + MORE};
    ink_status status = INK_E_NOMEM;
    for (size_t at = 1; status != INK_OK; at++) {
        heap h = {0};
        atomic_store(&h.fail_at, at);
        const ink_allocator allocator = heap_allocator(&h);
        const inki_mem mem = inki_mem_from(&allocator);
        inki_learned_vocab v;
        ink_error error = {0};
        status = inki_bpe_train(&v, &one, 1, 600, NULL, &mem, NULL, NULL, &error);
        if (status == INK_OK) {
            assert_true(at > 20);
            assert_int_equal(v.n_tokens, 600);
            inki_learned_vocab_free(&v);
        } else {
            assert_int_equal(status, INK_E_NOMEM);
            assert_true(error.message[0] != 0);
        }
        assert_int_equal(atomic_load(&h.live_blocks), 0);
        assert_int_equal(atomic_load(&h.wrong_releases), 0);
    }
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fixture),        cmocka_unit_test(test_tokenizer),
        cmocka_unit_test(test_plain_count),    cmocka_unit_test(test_small_texts),
        cmocka_unit_test(test_limits),         cmocka_unit_test(test_long_tokens),
        cmocka_unit_test(test_failing_memory),
    };
    return cmocka_run_group_tests(tests, read_fixture, free_fixture);
}
