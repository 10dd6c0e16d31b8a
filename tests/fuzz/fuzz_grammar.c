// SPDX-License-Identifier: MIT
// The text up to a 0 byte is a grammar, the bytes behind it go along it. Any text is refused with a
// message, or where the bytes stand each token of a small vocabulary is allowed if it can be pushed
// and only then; and a matcher that makes its states anew all the time says the same.
#include "grammar/matcher_parts.h"

#include "tests/fuzz/fuzz.h"
#include "tests/unit/vocab_fixture.h"

enum { GRAMMAR_BYTES = 4096, STEPS = 48, MASKS = 6 };

extern const size_t fuzz_quick_runs;
const size_t fuzz_quick_runs = 60000; // of which one in twenty is a grammar

static inki_tokenizer *tokenizer;
static inki_token_trie *trie;

static void make_vocabulary(const inki_mem *mem) {
    static const char *const parts[][2] = {
        {"a", "b"},  {"ab", "ab"}, {"\"", ":"}, {"\xc3\x83", "\xc2\xa9"},
        {"{", "\""}, {"1", "2"},   {"]", "}"},  {"a", "\xc3\x83"}};
    vocab_fixture f;
    fixture_init(&f);
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        fixture_merge(&f, parts[i][0], parts[i][1]);
    const inki_vocab vocab = fixture_vocab(&f);
    FUZZ_CHECK(inki_tokenizer_new(&tokenizer, &vocab, mem, NULL) == INK_OK);
    FUZZ_CHECK(inki_token_trie_new(&trie, tokenizer, mem, NULL) == INK_OK);
    fixture_free(&f);
}

// A status that a matcher may give for any grammar.
static bool is_fine(ink_status status, const ink_error *error) {
    FUZZ_CHECK(status == INK_OK ||
               (status == INK_E_LIMIT && error->status == status && error->message[0] != 0));
    return status == INK_OK;
}

static void check_mask(inki_matcher *m) {
    const uint64_t *set = NULL;
    ink_error error = {0};
    if (!is_fine(inki_matcher_allowed(m, &set, &error), &error)) return;
    const uint32_t n_pushes = inki_matcher_n_pushes(m);
    uint64_t copy[8];
    memcpy(copy, set, (inki_tokenizer_n_vocab(tokenizer) + 63) / 64 * sizeof *set);
    for (int32_t id = 0; id < (int32_t)inki_tokenizer_n_vocab(tokenizer); id++) {
        const inki_str piece = inki_tokenizer_piece(tokenizer, id);
        const bool allowed = copy[id / 64] >> id % 64 & 1;
        size_t n_accepted = 0;
        const ink_status status =
            inki_matcher_push(m, piece.data, piece.bytes, &n_accepted, &error);
        FUZZ_CHECK(allowed == (is_fine(status, &error) && n_accepted == piece.bytes));
        FUZZ_CHECK(inki_matcher_n_pushes(m) == n_pushes + allowed);
        FUZZ_CHECK(!allowed || !inki_matcher_must_end(m) || inki_matcher_may_end(m));
        if (allowed) inki_matcher_pop(m, 1);
    }
}

static void go_along(inki_grammar *g, const uint8_t *data, size_t n, const inki_mem *mem) {
    inki_matcher *m = NULL, *other = NULL;
    ink_error error = {0};
    if (!is_fine(inki_matcher_new(&m, g, trie, mem, &error), &error)) return;
    FUZZ_CHECK(inki_matcher_new(&other, g, trie, mem, &error) == INK_OK);
    for (size_t i = 0; i < n && i < STEPS; i++) {
        size_t a = 0, b = 0;
        if (i % (STEPS / MASKS) == 0) check_mask(m);
        other->bound = 1;
        const ink_status first = inki_matcher_push(m, (const char *)data + i, 1, &a, &error);
        const ink_status then = inki_matcher_push(other, (const char *)data + i, 1, &b, &error);
        FUZZ_CHECK(first == then && a == b);
        if (!is_fine(first, &error)) break;
        if (a == 0 && data[i] % 3 == 0) {
            inki_matcher_pop(m, data[i] % 5);
            inki_matcher_pop(other, data[i] % 5);
        }
        FUZZ_CHECK(inki_matcher_may_end(m) == inki_matcher_may_end(other));
        FUZZ_CHECK(inki_matcher_must_end(m) == inki_matcher_must_end(other));
    }
    inki_matcher_free(m);
    inki_matcher_free(other);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    const inki_mem mem = inki_mem_from(NULL);
    if (tokenizer == NULL) make_vocabulary(&mem);
    const uint8_t *zero = bytes > 0 ? memchr(data, 0, bytes) : NULL;
    const size_t n = zero != NULL ? (size_t)(zero - data) : bytes;
    if (n > GRAMMAR_BYTES) return 0;
    inki_grammar *g = NULL;
    ink_error error = {0};
    const ink_status status = inki_grammar_parse(&g, (const char *)data, n, &mem, &error);
    if (status != INK_OK) {
        FUZZ_CHECK(g == NULL && error.status == status && error.offset <= n);
        FUZZ_CHECK(status == INK_E_FORMAT || status == INK_E_UTF8 || status == INK_E_LIMIT);
        FUZZ_CHECK(strstr(error.message, "line ") == error.message);
        return 0;
    }
    if (zero != NULL) go_along(g, zero + 1, bytes - n - 1, &mem);
    inki_grammar_free(g);
    return 0;
}
