// SPDX-License-Identifier: MIT
#include "base/utf8.h"
#include "engine/engine.h"

#include <string.h>

enum { MAX_TEXT_BYTES = 1 << 30 };

ink_status ink_tokenize(const ink_model *model, const char *text, size_t bytes, uint32_t flags,
                        ink_token *out, size_t cap, size_t *n, size_t *n_invalid) {
    if (model == NULL || n == NULL || (text == NULL && bytes != 0) || (out == NULL && cap != 0))
        return INK_E_ARG;
    const uint32_t known = INK_TOKENIZE_SPECIAL | INK_TOKENIZE_STRICT;
    if (model->tokenizer == NULL) return INK_E_UNSUPPORTED;
    if (inki_flags_check(flags, known, NULL, NULL) != INK_OK) return INK_E_UNSUPPORTED;
    if (bytes > MAX_TEXT_BYTES) return INK_E_LIMIT;
    if ((flags & INK_TOKENIZE_STRICT) && inki_utf8_count_invalid((const uint8_t *)text, bytes) != 0)
        return INK_E_UTF8;
    inki_encode_stats stats = {0};
    // A text never has more tokens than bytes: with room for all of them one pass does. Otherwise a
    // first pass counts, so that a buffer too small stays untouched.
    if (cap < bytes) {
        const ink_status s = inki_tokenizer_encode(
            model->tokenizer, text, bytes, flags & INK_TOKENIZE_SPECIAL, NULL, 0, &stats, NULL);
        if (s != INK_OK) return s;
        *n = stats.n_tokens;
        if (stats.n_tokens > cap && out != NULL) return INK_E_SPACE;
    }
    if (out != NULL) {
        const ink_status s = inki_tokenizer_encode(
            model->tokenizer, text, bytes, flags & INK_TOKENIZE_SPECIAL, out, cap, &stats, NULL);
        if (s != INK_OK) return s;
    }
    *n = stats.n_tokens;
    if (n_invalid != NULL) *n_invalid = stats.n_invalid;
    return INK_OK;
}

ink_status ink_detokenize(const ink_model *model, const ink_token *tokens, size_t n, uint32_t flags,
                          char *out, size_t cap, size_t *bytes) {
    if (model == NULL || bytes == NULL || (tokens == NULL && n != 0) || (out == NULL && cap != 0))
        return INK_E_ARG;
    const inki_tokenizer *t = model->tokenizer;
    if (t == NULL || inki_flags_check(flags, INK_DETOKENIZE_SPECIAL, NULL, NULL) != INK_OK)
        return INK_E_UNSUPPORTED;
    size_t needed = 0;
    for (size_t i = 0; i < n; i++) {
        if (tokens[i] < 0 || (uint32_t)tokens[i] >= inki_tokenizer_n_vocab(t)) return INK_E_TOKEN;
        if ((flags & INK_DETOKENIZE_SPECIAL) || !inki_tokenizer_is_special(t, tokens[i]))
            needed += inki_tokenizer_piece(t, tokens[i]).bytes;
    }
    *bytes = needed;
    if (out == NULL) return INK_OK;
    if (needed > cap) return INK_E_SPACE;
    for (size_t i = 0; i < n; i++) {
        if (!(flags & INK_DETOKENIZE_SPECIAL) && inki_tokenizer_is_special(t, tokens[i])) continue;
        const inki_str piece = inki_tokenizer_piece(t, tokens[i]);
        memcpy(out, piece.data, piece.bytes);
        out += piece.bytes;
    }
    return INK_OK;
}
