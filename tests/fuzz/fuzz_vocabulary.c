// SPDX-License-Identifier: MIT
// A vocabulary with damaged bytes is refused with a message, or makes a tokenizer that gives every
// text back. The input is a list of edits of a good vocabulary: where (2 bytes), what (1 byte).
#include "tests/unit/vocab_fixture.h"
#include "tokenizer/tokenizer_parts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool holds) {
    if (!holds) abort();
}

static void check_round_trip(const inki_tokenizer *t, bool special) {
    static const char text[] = "abab the end<|endoftext|> \xe5\xae\xb6\xff\x00  '";
    int32_t ids[sizeof text];
    inki_encode_stats stats;
    demand(inki_tokenizer_encode(t, text, sizeof text, special, ids, sizeof text, &stats, NULL) ==
           INK_OK);
    demand(stats.n_tokens <= sizeof text);
    size_t at = 0;
    for (size_t i = 0; i < stats.n_tokens; i++) {
        const inki_str piece = inki_tokenizer_piece(t, ids[i]);
        demand(piece.bytes <= sizeof text - at && memcmp(piece.data, text + at, piece.bytes) == 0);
        at += piece.bytes;
    }
    demand(at == sizeof text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    vocab_fixture f;
    fixture_init(&f);
    fixture_merge(&f, "a", "b");
    fixture_merge(&f, "ab", "ab");
    fixture_merge(&f, "\xc4\xa0", "t");
    fixture_merge(&f, "\xc3\xa5", "\xc2\xae");
    fixture_token(&f, "<|endoftext|>", INKI_TYPE_CONTROL);
    fixture_token(&f, "[PAD 1]", 5);
    inki_vocab vocab = fixture_vocab(&f);
    const size_t n_types = (size_t)f.tokens.n * 4, n_tokens = f.tokens.bytes,
                 n_merges = f.merges.bytes;
    for (; size >= 3; data += 3, size -= 3) {
        size_t at = ((size_t)data[0] << 8 | data[1]) % (n_tokens + n_merges + n_types + 18);
        if (at < n_tokens)
            f.tokens.data[at] = data[2];
        else if ((at -= n_tokens) < n_merges)
            f.merges.data[at] = data[2];
        else if ((at -= n_merges) < n_types)
            f.types[at] = data[2];
        else if ((at -= n_types) < 8)
            vocab.tokens.n ^= (uint64_t)data[2] << 8 * at;
        else if ((at -= 8) < 8)
            vocab.merges.n ^= (uint64_t)data[2] << 8 * at;
        else if (at == 16 - 8)
            vocab.end_token = (int8_t)data[2];
        else
            vocab.types = NULL;
    }
    vocab.n_types = vocab.types != NULL && vocab.tokens.n == f.tokens.n ? vocab.tokens.n : 0;
    const inki_mem mem = inki_mem_from(NULL);
    inki_tokenizer *t = NULL;
    ink_error error = {0};
    const ink_status status = inki_tokenizer_new(&t, &vocab, &mem, &error);
    demand(status == INK_OK ? t != NULL
                            : t == NULL && error.message[0] != 0 && error.status == status);
    if (t != NULL) {
        check_round_trip(t, false);
        check_round_trip(t, true);
        inki_tokenizer_free(t);
    }
    fixture_free(&f);
    return 0;
}
