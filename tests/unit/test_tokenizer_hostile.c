// SPDX-License-Identifier: MIT
// Vocabularies that lie: each gives one clear line, nothing leaks, *out stays as it was.
#include "tokenizer/tokenizer_parts.h"

#include "vocab_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static void refused(const inki_vocab *vocab, ink_status expected, const char *message) {
    fail_mem counts = {0};
    const inki_mem mem = fail_mem_over(&counts);
    inki_tokenizer *const before = (inki_tokenizer *)(void *)&counts;
    inki_tokenizer *t = before;
    ink_error error = {0};
    const ink_status status = inki_tokenizer_new(&t, vocab, &mem, &error);
    if (status != expected || error.status != expected || strcmp(error.message, message) != 0)
        fail_msg("%s: \"%s\"\nexpected: \"%s\"", ink_status_name(status), error.message, message);
    assert_ptr_equal(t, before);
    assert_int_equal(counts.n_blocks, 0);
    assert_int_equal(counts.n_bytes, 0);
    assert_int_equal(inki_tokenizer_new(&t, vocab, &mem, NULL), expected); // no error struct
}

static void refused_fixture(vocab_fixture *f, ink_status expected, const char *message) {
    const inki_vocab vocab = fixture_vocab(f);
    refused(&vocab, expected, message);
    fixture_free(f);
}

static void test_head(void **state) {
    (void)state;
    vocab_fixture f;
    fixture_init(&f);
    fixture_merge(&f, "a", "b");
    inki_vocab vocab = fixture_vocab(&f);
    vocab.pre = (inki_str){"llama-bpe", 9};
    refused(&vocab, INK_E_UNSUPPORTED,
            "tokenizer.ggml.pre: pre-tokenizer \"llama-bpe\"; only \"gpt-2\" is supported");
    vocab = fixture_vocab(&f);
    vocab.end_token = 257;
    refused(&vocab, INK_E_FORMAT,
            "tokenizer.ggml.eos_token_id: token 257 is outside the vocabulary of 257");
    vocab.end_token = -2;
    refused(&vocab, INK_E_FORMAT,
            "tokenizer.ggml.eos_token_id: token -2 is outside the vocabulary of 257");
    vocab = fixture_vocab(&f);
    vocab.types = f.tokens.data;
    vocab.n_types = 256;
    refused(&vocab, INK_E_FORMAT, "tokenizer.ggml.token_type: 256 entries for 257 tokens");
    vocab = (inki_vocab){.end_token = -1};
    refused(&vocab, INK_E_FORMAT, "tokenizer.ggml.tokens: there are no tokens");

    static const char *const names[] = {"gpt-2", "gpt2", ""};
    for (size_t i = 0; i < 3; i++) {
        vocab = fixture_vocab(&f);
        vocab.pre = (inki_str){names[i], strlen(names[i])};
        const inki_mem mem = inki_mem_from(NULL);
        inki_tokenizer *t = NULL;
        assert_int_equal(inki_tokenizer_new(&t, &vocab, &mem, NULL), INK_OK);
        inki_tokenizer_free(t);
    }
    fixture_free(&f);
}

static void test_counts_and_lengths(void **state) {
    (void)state;
    vocab_fixture f;
    fixture_init(&f);
    fixture_merge(&f, "a", "b");
    inki_vocab vocab = fixture_vocab(&f);
    vocab.tokens.n = UINT64_MAX;
    refused(&vocab, INK_E_FORMAT,
            "tokenizer.ggml.tokens: 18446744073709551615 entries do not fit into 2476 bytes");
    vocab.tokens.n = 258; // fits by its count, but not by its lengths
    refused(&vocab, INK_E_FORMAT,
            "tokenizer.ggml.tokens: token 253 leaves no room for those after it");
    vocab = fixture_vocab(&f);
    vocab.merges.n = 2;
    refused(&vocab, INK_E_FORMAT, "tokenizer.ggml.merges: 2 entries do not fit into 11 bytes");
    // The lists are not read before their counts are checked: no such memory exists.
    vocab = fixture_vocab(&f);
    vocab.tokens.n = INKI_MAX_TOKENS + 1;
    vocab.tokens.bytes = (size_t)8 * vocab.tokens.n;
    refused(&vocab, INK_E_LIMIT,
            "tokenizer.ggml.tokens: 16777217 entries; at most 16777216 are supported");
    vocab = fixture_vocab(&f);
    vocab.merges.n = INKI_MAX_MERGES + 1;
    vocab.merges.bytes = (size_t)8 * vocab.merges.n;
    refused(&vocab, INK_E_LIMIT,
            "tokenizer.ggml.merges: 16777217 entries; at most 16777216 are supported");

    memset(f.tokens.data + 10, 0xff, 8); // the length of token 1, after one of two bytes
    vocab = fixture_vocab(&f);
    refused(&vocab, INK_E_FORMAT, "tokenizer.ggml.tokens: token 1 goes past the end of the list");
    fixture_free(&f);
}

static void test_tokens(void **state) {
    (void)state;
    vocab_fixture f;
    fixture_init(&f);
    run_add_text(&f.tokens, "two words");
    refused_fixture(
        &f, INK_E_FORMAT,
        "tokenizer.ggml.tokens: token 256 (\"two words\") is not in the byte-to-unicode form");
    fixture_init(&f);
    run_add_text(&f.tokens, "\xe2\x96\x81the");
    refused_fixture(&f, INK_E_FORMAT,
                    "tokenizer.ggml.tokens: token 256 (\"\xe2\x96\x81the\") is not in the "
                    "byte-to-unicode form");
    fixture_init(&f);
    run_add_text(&f.tokens, "\xc5\x84"); // U+0144, one above the last
    refused_fixture(
        &f, INK_E_FORMAT,
        "tokenizer.ggml.tokens: token 256 (\"\xc5\x84\") is not in the byte-to-unicode form");
    fixture_init(&f);
    run_add_text(&f.tokens, "a");
    refused_fixture(&f, INK_E_FORMAT, "tokenizer.ggml.tokens: tokens 97 and 256 are both \"a\"");

    fixture_init(&f);
    char *long_text = malloc(INKI_MAX_TOKEN_BYTES + 1);
    assert_non_null(long_text);
    memset(long_text, 'a', INKI_MAX_TOKEN_BYTES + 1);
    run_add(&f.tokens, long_text, INKI_MAX_TOKEN_BYTES + 1);
    refused_fixture(
        &f, INK_E_LIMIT,
        "tokenizer.ggml.tokens: token 256 has 65536 bytes; at most 65535 are supported");
    fixture_init(&f);
    long_text[INKI_SPECIAL_MAX_BYTES + 1] = 0;
    fixture_token(&f, long_text, INKI_TYPE_CONTROL);
    refused_fixture(
        &f, INK_E_LIMIT,
        "tokenizer.ggml.tokens: special token 256 has 1025 bytes; at most 1024 are supported");
    free(long_text);

    for (unsigned missing = 0; missing < 256; missing += 5) { // not even as a control token
        f = (vocab_fixture){.end_token = -1};
        for (unsigned b = 0; b < 256; b++) {
            const uint8_t byte = (uint8_t)b;
            char form[3] = {0};
            visible_form(&byte, 1, form);
            fixture_token(&f, form, b == missing ? 3 : 1);
        }
        char message[128];
        snprintf(message, sizeof message,
                 "tokenizer.ggml.tokens: no token stands for byte 0x%02x; each byte needs one",
                 missing);
        refused_fixture(&f, INK_E_FORMAT, message);
    }
}

static void check_merge(const char *merge, const char *message) {
    vocab_fixture f;
    fixture_init(&f);
    fixture_merge(&f, "a", "b");
    run_add_text(&f.tokens, "cd");
    fixture_token(&f, "<x>", INKI_TYPE_CONTROL);
    run_add_text(&f.merges, merge);
    char whole[256];
    snprintf(whole, sizeof whole, "tokenizer.ggml.merges: %s", message);
    refused_fixture(&f, INK_E_FORMAT, whole);
}

static void test_merges(void **state) {
    (void)state;
    check_merge("", "merge 1 (\"\") is not two parts with a blank between");
    check_merge(" ", "merge 1 (\" \") is not two parts with a blank between");
    check_merge("cd", "merge 1 (\"cd\") is not two parts with a blank between");
    check_merge("c ", "merge 1 (\"c \") is not two parts with a blank between");
    check_merge(" d", "merge 1 (\" d\") is not two parts with a blank between");
    check_merge("cd ", "merge 1 (\"cd \") is not two parts with a blank between");
    check_merge(" c d",
                "merge 1 (\" c d\"): the first part is no ordinary token of the vocabulary");
    check_merge("c  d",
                "merge 1 (\"c  d\"): the second part is no ordinary token of the vocabulary");
    check_merge("c d d",
                "merge 1 (\"c d d\"): the second part is no ordinary token of the vocabulary");
    check_merge("xy z",
                "merge 1 (\"xy z\"): the first part is no ordinary token of the vocabulary");
    check_merge("c \xff",
                "merge 1 (\"c ?\"): the second part is no ordinary token of the vocabulary");
    check_merge("c e", "merge 1 (\"c e\"): the result is no ordinary token of the vocabulary");
    check_merge("a b", "merges 0 and 1 are the same");
    // Plain text must not become a control token.
    check_merge("< x>",
                "merge 1 (\"< x>\"): the second part is no ordinary token of the vocabulary");
    vocab_fixture f;
    fixture_init(&f);
    fixture_merge(&f, "<", "x");
    fixture_token(&f, "<x>", INKI_TYPE_CONTROL);
    run_add_text(&f.merges, "<x >");
    refused_fixture(&f, INK_E_FORMAT,
                    "tokenizer.ggml.merges: merge 1 (\"<x >\"): the result is no ordinary token of "
                    "the vocabulary");
}

// Each list cut at each byte, in a block of exactly that size.
static void test_truncation(void **state) {
    (void)state;
    vocab_fixture f;
    fixture_init(&f);
    fixture_merge(&f, "a", "b");
    fixture_merge(&f, "ab", "ab");
    const inki_mem mem = inki_mem_from(NULL);
    for (int list = 0; list < 2; list++) {
        const text_run *run = list == 0 ? &f.tokens : &f.merges;
        for (size_t bytes = 0; bytes < run->bytes; bytes++) {
            uint8_t *cut = malloc(bytes > 0 ? bytes : 1);
            assert_non_null(cut);
            memcpy(cut, run->data, bytes);
            inki_vocab vocab = fixture_vocab(&f);
            inki_str_run *target = list == 0 ? &vocab.tokens : &vocab.merges;
            target->data = cut;
            target->bytes = bytes;
            inki_tokenizer *t = NULL;
            assert_int_equal(inki_tokenizer_new(&t, &vocab, &mem, NULL), INK_E_FORMAT);
            assert_null(t);
            free(cut);
        }
    }
    fixture_free(&f);
}

// --- keys that were chosen to collide ------------------------------------------------------------

static void test_index_refuses_long_chains(void **state) {
    (void)state;
    const inki_mem mem = inki_mem_from(NULL);
    inki_token_index index;
    assert_true(inki_token_index_new(&index, 1000, &mem));
    for (uint32_t i = 0; i < INKI_INDEX_MAX_PROBE; i++)
        assert_true(inki_token_index_put(&index, (uint64_t)i << 32 | 5, i));
    assert_false(inki_token_index_put(&index, 5, 1));
    assert_true(inki_token_index_put(&index, 4, 1));
    for (uint32_t i = 0; i < INKI_INDEX_MAX_PROBE; i++) {
        uint32_t probe = 0;
        assert_int_equal(inki_token_index_next(&index, (uint64_t)i << 32 | 5, &probe), i);
        assert_int_equal(inki_token_index_next(&index, (uint64_t)i << 32 | 5, &probe),
                         INKI_INDEX_NONE);
        assert_in_range(probe, i + 1, INKI_INDEX_MAX_PROBE);
    }
    uint32_t probe = 0; // what is not there costs no more than the longest chain
    assert_int_equal(inki_token_index_next(&index, (uint64_t)5000 << 32 | 5, &probe),
                     INKI_INDEX_NONE);
    assert_in_range(probe, 1, INKI_INDEX_MAX_PROBE);
    inki_token_index_clear(&index);
    probe = 0;
    assert_int_equal(inki_token_index_next(&index, 5, &probe), INKI_INDEX_NONE);
    inki_token_index_free(&index, &mem);
    inki_token_index_free(&index, &mem);
}

// 300 tokens that fall into one slot under the first seed: the next one must take over.
static void test_colliding_tokens_get_another_seed(void **state) {
    (void)state;
    enum { N = 300 };
    vocab_fixture f;
    fixture_init(&f);
    size_t n_slots = 16;
    while (n_slots / 2 < 256 + 2 * N) n_slots *= 2;
    char text[32], first[N][32];
    uint32_t found = 0;
    for (uint32_t i = 0; found < N; i++) {
        const int n = snprintf(text, sizeof text, "t%u", (unsigned)i);
        const uint64_t hash = inki_token_hash_text(text, (size_t)n, inki_token_seed(0));
        if ((hash & (n_slots - 1)) != 77) continue;
        memcpy(first[found++], text, sizeof text);
        run_add_text(&f.tokens, text);
    }
    for (uint32_t i = 0; i < N; i++) { // fills up to the size that the slots were chosen for
        snprintf(text, sizeof text, "u%u", (unsigned)i);
        run_add_text(&f.tokens, text);
    }
    run_add_text(&f.merges, "t 1"); // looked up under the seed that was chosen
    run_add_text(&f.tokens, "t1");
    const inki_vocab vocab = fixture_vocab(&f);
    const inki_mem mem = inki_mem_from(NULL);
    inki_tokenizer *t = NULL;
    ink_error error = {0};
    if (inki_tokenizer_new(&t, &vocab, &mem, &error) != INK_OK) fail_msg("%s", error.message);
    assert_int_equal(t->bpe.n_merges, 1);
    assert_int_equal(t->bpe.merges[0].result, 256 + 2 * N);
    inki_tokenizer_free(t);
    char message[128]; // a duplicate is found all the same
    run_add_text(&f.tokens, first[250]);
    snprintf(message, sizeof message, "tokenizer.ggml.tokens: tokens 506 and %d are both \"%s\"",
             257 + 2 * N, first[250]);
    refused_fixture(&f, INK_E_FORMAT, message);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_head),
        cmocka_unit_test(test_counts_and_lengths),
        cmocka_unit_test(test_tokens),
        cmocka_unit_test(test_merges),
        cmocka_unit_test(test_truncation),
        cmocka_unit_test(test_index_refuses_long_chains),
        cmocka_unit_test(test_colliding_tokens_get_another_seed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
