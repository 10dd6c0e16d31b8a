// SPDX-License-Identifier: MIT
// Whatever text a vocabulary is learnt from: the tokenizer takes it and gives the text back, in
// tokens that were learnt. The first byte is the size of the vocabulary, the rest is the text,
// once as it is and once as two texts.
#include "fuzz.h"
#include "tests/train/learned_tokenizer.h"

const size_t fuzz_quick_runs = 1500;

static void check_round_trip(const inki_tokenizer *t, const inki_learned_vocab *v, const char *text,
                             size_t n) {
    int32_t *ids = malloc(n * sizeof *ids + 1);
    inki_encode_stats stats;
    FUZZ_CHECK(ids != NULL);
    FUZZ_CHECK(inki_tokenizer_encode(t, text, n, true, ids, n, &stats, NULL) == INK_OK);
    FUZZ_CHECK(stats.n_invalid == v->n_invalid);
    size_t at = 0, n_last = 0;
    for (size_t i = 0; i < stats.n_tokens; i++) {
        const inki_str piece = inki_tokenizer_piece(t, ids[i]);
        FUZZ_CHECK(piece.bytes > 0 && piece.bytes <= n - at &&
                   memcmp(piece.data, text + at, piece.bytes) == 0);
        at += piece.bytes;
        n_last += ids[i] == v->end_token - 1;
    }
    FUZZ_CHECK(at == n);
    FUZZ_CHECK(v->n_merges == 0 || n_last > 0);
    free(ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) return 0;
    const char *text = (const char *)data + 1;
    const size_t n = size - 1, half = n / 2;
    const uint32_t n_vocab = 257 + data[0] * 8u;
    const inki_mem mem = inki_mem_from(NULL);
    const inki_str one = {text, n}, two[2] = {{text, half}, {text + half, n - half}};
    inki_learned_vocab v, halves;
    ink_error error = {0};
    FUZZ_CHECK(inki_bpe_train(&v, &one, 1, n_vocab, NULL, &mem, NULL, NULL, &error) == INK_OK);
    FUZZ_CHECK(inki_bpe_train(&halves, two, 2, n_vocab, NULL, &mem, NULL, NULL, &error) == INK_OK);
    FUZZ_CHECK(v.n_tokens <= n_vocab && v.n_tokens == v.n_merges + 257 && v.n_bytes == n);
    inki_tokenizer *t = NULL;
    FUZZ_CHECK(learned_tokenizer(&t, &v, &error) == INK_OK);
    check_round_trip(t, &v, text, n);
    inki_tokenizer_free(t);
    FUZZ_CHECK(learned_tokenizer(&t, &halves, &error) == INK_OK);
    inki_tokenizer_free(t);
    inki_learned_vocab_free(&halves);
    inki_learned_vocab_free(&v);
    return 0;
}
