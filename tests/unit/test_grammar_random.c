// SPDX-License-Identifier: MIT
// Grammars made at random against a matcher that tries everything: which are refused and why, where
// texts are refused, where they may and must end, and which tokens may come next, also with states
// made anew all the time. INKLING_TEST_LONG: twenty times as many.
#include "grammar/matcher_parts.h"

#include "grammar_oracle.h"
#include "vocab_fixture.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static inki_mem mem;
static inki_tokenizer *tokenizer;
static inki_token_trie *trie;

// Bytes, and tokens of several of the characters that the grammars have, some cut.
static int make_tokens(void **state) {
    (void)state;
    mem = inki_mem_from(NULL);
    vocab_fixture f;
    fixture_init(&f);
    fixture_merge(&f, "a", "a");
    fixture_merge(&f, "a", "b");
    fixture_merge(&f, "aa", "aa");
    fixture_merge(&f, "ab", "c");
    fixture_merge(&f, "aaaa", "aaaa");
    fixture_merge(&f, "\"", "]");
    fixture_merge(&f, "\xc3\xa2", "\xc4\xa4");         // E2 82
    fixture_merge(&f, "\xc3\xa2\xc4\xa4", "\xc2\xac"); // E2 82 AC
    fixture_merge(&f, "b", "\xc3\x83");                // b C3
    fixture_merge(&f, "\xc2\xa9", "a");                // A9 a
    for (char c = 'd'; c <= 'z'; c++) {
        const char letter[2] = {c, 0};
        fixture_merge(&f, "a", letter);
    }
    fixture_token(&f, "<|endoftext|>", 3);
    const inki_vocab vocab = fixture_vocab(&f);
    ink_error error;
    if (inki_tokenizer_new(&tokenizer, &vocab, &mem, &error) != INK_OK) {
        print_error("%s\n", error.message);
        return -1;
    }
    fixture_free(&f);
    return inki_token_trie_new(&trie, tokenizer, &mem, NULL) == INK_OK ? 0 : -1;
}

static int drop_tokens(void **state) {
    (void)state;
    inki_token_trie_free(trie);
    inki_tokenizer_free(tokenizer);
    return 0;
}

static void check_text(inki_matcher *m, const oracle_grammar *g, const char *text, size_t n) {
    ink_error error;
    bool ends = false, open = false;
    size_t good = 0, accepted = 99;
    inki_matcher_reset(m);
    while (good < n && oracle_match(g, text, good + 1, &ends, &open)) good++;
    if (inki_matcher_push(m, text, n, &accepted, &error) != INK_OK) fail_msg("%s", error.message);
    if (accepted != good) fail_msg("%zu of %zu bytes, not %zu, in\n%s", good, n, accepted, g->text);
    if (good < n) {
        assert_int_equal(inki_matcher_n_pushes(m), 0);
        assert_int_equal(inki_matcher_push(m, text, good, &accepted, NULL), INK_OK);
    }
    assert_int_equal(accepted, good);
    oracle_match(g, text, good, &ends, &open);
    if (inki_matcher_may_end(m) != ends || inki_matcher_must_end(m) != (ends && !open))
        fail_msg("ends %d, open %d at byte %zu of a text of\n%s", ends, open, good, g->text);
}

static void check_mask(inki_matcher *m, const oracle_grammar *g, const char *text, size_t n) {
    char longer[ORACLE_TEXT + 16];
    const uint64_t *set = NULL;
    ink_error error;
    bool ends, open;
    if (inki_matcher_allowed(m, &set, &error) != INK_OK) fail_msg("%s", error.message);
    memcpy(longer, text, n);
    for (int32_t id = 0; id < (int32_t)inki_tokenizer_n_vocab(tokenizer); id++) {
        const inki_str piece = inki_tokenizer_piece(tokenizer, id);
        const bool allowed = set[id / 64] >> id % 64 & 1;
        bool want = !inki_tokenizer_is_special(tokenizer, id);
        if (want) memcpy(longer + n, piece.data, piece.bytes);
        if (want) want = oracle_match(g, longer, n + piece.bytes, &ends, &open);
        if (allowed != want)
            fail_msg("token %d behind \"%.*s\": %d in\n%s", (int)id, (int)n, text, allowed,
                     g->text);
    }
}

static void check_grammar(oracle_grammar *g, uint64_t seed) {
    inki_grammar *grammar = NULL;
    inki_matcher *m = NULL;
    ink_error error = {0};
    oracle_random(g, seed);
    const ink_status status = inki_grammar_parse(&grammar, g->text, g->n_text, &mem, &error);
    const char *wrong = oracle_wrong(g);
    if (wrong != NULL || status != INK_OK) {
        if (status != INK_E_FORMAT || wrong == NULL || strstr(error.message, wrong) == NULL)
            fail_msg("seed %u: \"%s\", not \"%s\"\n%s", (unsigned)seed, wrong, error.message,
                     g->text);
        return;
    }
    assert_int_equal(inki_matcher_new(&m, grammar, trie, &mem, &error), INK_OK);
    for (unsigned i = 0; i < 24; i++) {
        char text[ORACLE_TEXT + 8];
        size_t n = 0;
        oracle_speak(g, g->rules[0], 0, text, &n);
        for (unsigned k = oracle_below(g, 3); k > 0; k--) {
            if (n > 0) text[oracle_below(g, (unsigned)n)] = (char)oracle_below(g, 256);
            if (n < ORACLE_TEXT - 4) n += inki_utf8_encode(oracle_char(g), text + n);
        }
        if (oracle_below(g, 3) == 0 && n > 0) n = oracle_below(g, (unsigned)n + 1);
        if (oracle_below(g, 4) == 0) m->bound = oracle_below(g, 3) * 500;
        check_text(m, g, text, n);
        const inki_push *last = inki_matcher_last(m);
        if (i % 12 == 0 && last->end < 10) check_mask(m, g, text, last->end);
    }
    inki_matcher_free(m);
    inki_grammar_free(grammar);
}

static void random_grammars(void **state) {
    (void)state;
    const bool all = getenv("INKLING_TEST_LONG") != NULL;
    const uint64_t n = all ? 60000 : 3000;
    unsigned n_wrong = 0;
    oracle_grammar *g = calloc(1, sizeof *g);
    assert_non_null(g);
    for (uint64_t seed = 1; seed <= n; seed++) {
        check_grammar(g, seed);
        n_wrong += oracle_wrong(g) != NULL;
    }
    print_message("%u grammars, %u of them refused\n", (unsigned)n, n_wrong);
    if (!all) print_message("left out: 57000 more (INKLING_TEST_LONG)\n");
    assert_in_range(n_wrong, n / 20, n * 3 / 4);
    free(g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(random_grammars, make_tokens, drop_tokens)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
