// SPDX-License-Identifier: MIT
#include "tokenizer/heal.h"

#include "base/utf8.h"
#include "tokenizer/pretokenize.h"
#include "tokenizer/tokenizer_parts.h"
#include "tokenizer/unicode_tables.h"

#include <string.h>

size_t inki_tokenizer_set_words(const inki_tokenizer *t) { return ((size_t)t->n_vocab + 63) / 64; }

// Where the last ordinary piece of the text begins; `bytes` if it ends with a special token.
static size_t last_piece(const inki_tokenizer *t, const char *text, size_t bytes, bool special) {
    size_t at = 0;
    while (at < bytes) {
        size_t found = bytes;
        const inki_special *token =
            inki_specials_find(&t->specials, text, bytes, at, special, &found);
        if (token == NULL) break;
        at = found + token->text.bytes;
    }
    return at;
}

static size_t last_pretoken(const char *text, size_t bytes, size_t at) {
    for (;;) {
        const size_t length = inki_pretokenize_next((const uint8_t *)text + at, bytes - at);
        if (at + length >= bytes) return at;
        at += length;
    }
}

// Bytes of the white space character at the end of s [n], n > 0; 0: there is none.
static size_t last_blank(const char *s, size_t n) {
    for (size_t length = 1; length <= 4 && length <= n; length++) {
        uint32_t c;
        const uint8_t *at = (const uint8_t *)s + n - length;
        if (inki_utf8_decode(at, length, &c) == length)
            return inki_unicode_class(c) == INKI_CLASS_SPACE ? length : 0;
    }
    return 0;
}

// How many of the tokens ids [n] are taken back from the end, and the bytes that they stand for. A
// longer tail may have a token where a shorter one has none ("hel", but not "el"), so the longest
// is tried first. The last token alone has itself.
static size_t tail_tokens(const inki_tokenizer *t, const char *end, const int32_t *ids, size_t n,
                          size_t *bytes) {
    size_t back = 0;
    for (*bytes = 0; back < INKI_HEAL_MAX_TOKENS && back < n; back++)
        *bytes += inki_tokenizer_piece(t, ids[n - 1 - back]).bytes;
    while (back > 1 && inki_tokenizer_with_prefix(t, end - *bytes, *bytes, NULL) == 0)
        *bytes -= inki_tokenizer_piece(t, ids[n - back--]).bytes;
    return back;
}

// Finds the tail of the text's last pre-token, word [n].
static ink_status word_tail(const inki_tokenizer *t, const char *word, size_t n, size_t *n_back,
                            size_t *n_tail, ink_error *error) {
    enum { FEW = 256 }; // what inki_tokenizer_encode needs no memory for
    int32_t few[FEW], *ids = few;
    inki_encode_stats stats;
    ink_status status = inki_tokenizer_encode(t, word, n, false, few, FEW, &stats, error);
    if (status != INK_OK) return status;
    const size_t n_ids = stats.n_tokens;
    if (n_ids > FEW) {
        ids = inki_alloc(&t->mem, n_ids, sizeof *ids);
        if (ids == NULL) return inki_fail_nomem(error, n_ids * sizeof *ids);
        status = inki_tokenizer_encode(t, word, n, false, ids, n_ids, &stats, error);
    }
    if (status == INK_OK) *n_back = tail_tokens(t, word + n, ids, n_ids, n_tail);
    if (ids != few) inki_release(&t->mem, ids, n_ids, sizeof *ids);
    return status;
}

// Tokens are dropped from the encoding of the whole text, which is not always that of the text
// without the tail: "\n\nword" is encoded as "\n", "\n", "word", but "\n\n" alone as one token.
// What follows stands behind the former.
ink_status inki_tokenizer_encode_healed(const inki_tokenizer *t, const char *text, size_t bytes,
                                        bool special, int32_t *out, size_t cap,
                                        inki_encode_stats *stats, size_t *n_tail,
                                        ink_error *error) {
    size_t tail = 0, n_back = 0;
    const size_t piece = bytes <= INT32_MAX ? last_piece(t, text, bytes, special) : bytes;
    if (piece < bytes) {
        const size_t blank = last_blank(text + piece, bytes - piece);
        if (blank > 0 && inki_tokenizer_with_prefix(t, text + bytes - blank, blank, NULL) > 0) {
            tail = blank;
            bytes -= blank;
        } else {
            const size_t word = last_pretoken(text, bytes, piece);
            const ink_status status =
                word_tail(t, text + word, bytes - word, &n_back, &tail, error);
            if (status != INK_OK) return status;
        }
    }
    inki_encode_stats all;
    const ink_status status = inki_tokenizer_encode(t, text, bytes, special, out, cap, &all, error);
    if (status != INK_OK) return status;
    all.n_tokens -= n_back;
    if (stats != NULL) *stats = all;
    *n_tail = tail;
    return INK_OK;
}
