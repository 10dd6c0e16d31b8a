// SPDX-License-Identifier: MIT
// Any bytes, encoded and decoded, come back, with and without special tokens.
#include "tests/unit/vocab_fixture.h"
#include "tokenizer/tokenizer_parts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds) {
    if (!holds) abort();
}

static inki_tokenizer *fuzz_tokenizer(void) {
    vocab_fixture f;
    fixture_init(&f);
    fixture_merge(&f, "a", "a");
    fixture_merge(&f, "aa", "aa");
    fixture_merge(&f, "aa", "a");
    fixture_merge(&f, "\xc4\xa0", "t");
    fixture_merge(&f, "\xc4\xa0", "\xc4\xa0");
    fixture_merge(&f, "'", "s");
    fixture_merge(&f, "\xc3\xa5", "\xc2\xae");         // E5 AE
    fixture_merge(&f, "\xc3\xa5\xc2\xae", "\xc2\xb6"); // E5 AE B6
    fixture_token(&f, "<|endoftext|>", INKI_TYPE_CONTROL);
    fixture_token(&f, "<|end", INKI_TYPE_CONTROL);
    fixture_token(&f, "   ", INKI_TYPE_USER_DEFINED);
    const inki_vocab vocab = fixture_vocab(&f);
    const inki_mem mem = inki_mem_from(NULL);
    inki_tokenizer *t = NULL;
    require(inki_tokenizer_new(&t, &vocab, &mem, NULL) == INK_OK);
    fixture_free(&f);
    return t;
}

static void check_text(const inki_tokenizer *t, const char *text, size_t n, bool special) {
    int32_t *ids = malloc(n * sizeof *ids + 1);
    inki_encode_stats stats, again;
    require(ids != NULL);
    require(inki_tokenizer_encode(t, text, n, special, ids, n, &stats, NULL) == INK_OK);
    require(stats.n_tokens <= n && stats.n_invalid <= n && stats.longest_word <= n);
    size_t at = 0;
    for (size_t i = 0; i < stats.n_tokens; i++) {
        const inki_str piece = inki_tokenizer_piece(t, ids[i]);
        require(piece.bytes > 0 && piece.bytes <= n - at &&
                memcmp(piece.data, text + at, piece.bytes) == 0);
        require(special || !inki_tokenizer_is_special(t, ids[i]));
        at += piece.bytes;
    }
    require(at == n);
    require(inki_tokenizer_encode(t, text, n, special, NULL, 0, &again, NULL) == INK_OK);
    require(again.n_tokens == stats.n_tokens && again.merge_steps == stats.merge_steps);
    free(ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    inki_tokenizer *t = fuzz_tokenizer();
    check_text(t, (const char *)data, size, false);
    check_text(t, (const char *)data, size, true);
    inki_tokenizer_free(t);
    return 0;
}
