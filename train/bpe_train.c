// SPDX-License-Identifier: MIT
#include "train/bpe_train.h"

#include "base/utf8.h"
#include "train/bpe_parts.h"

#include <string.h>

static const char end_text[] = "<|endoftext|>";

enum { MIN_VOCAB = 257, MAX_VOCAB = 1 << 20, SHOWN_BYTES = 2 * INKI_BPE_MAX_TOKEN };
#define MAX_TEXT_BYTES ((uint64_t)1 << 40)

// The visible form: a byte is written as the character that has its number in GPT-2's order.
static uint32_t shown_char(uint8_t byte) {
    if ((byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte != 0xad)) return byte;
    if (byte <= 0x20) return 0x100u + byte;
    return byte == 0xad ? 0x143u : 0x121u + byte - 0x7f;
}

static size_t show_token(const inki_bpe_merges *merges, uint32_t id, char *out) {
    uint8_t bytes[INKI_BPE_MAX_TOKEN];
    const size_t n = inki_bpe_token_bytes(merges, id, bytes);
    size_t used = 0;
    for (size_t i = 0; i < n; i++) {
        char c[4];
        const size_t length = inki_utf8_encode(shown_char(bytes[i]), c);
        memcpy(out + used, c, length);
        used += length;
    }
    return used;
}

// Twice, as an arena is: with text NULL it only adds up.
static void write_vocab(inki_learned_vocab *v, const inki_bpe_merges *merges) {
    size_t used = 0;
    char shown[SHOWN_BYTES];
    for (uint32_t id = 0; id < 256 + merges->n; id++) {
        const size_t bytes = show_token(merges, id, shown);
        if (v->text != NULL) {
            memcpy(v->text + used, shown, bytes);
            v->tokens[id] = (inki_str){v->text + used, bytes};
        }
        used += bytes;
    }
    if (v->text != NULL) {
        memcpy(v->text + used, end_text, sizeof end_text - 1);
        v->tokens[256 + merges->n] = (inki_str){v->text + used, sizeof end_text - 1};
    }
    used += sizeof end_text - 1;
    for (uint32_t i = 0; i < merges->n; i++) {
        char *to = v->text != NULL ? v->text + used : NULL;
        size_t bytes = show_token(merges, merges->left[i], shown);
        if (to != NULL) {
            memcpy(to, shown, bytes);
            to[bytes] = ' ';
        }
        const size_t right = show_token(merges, merges->right[i], shown);
        if (to != NULL) memcpy(to + bytes + 1, shown, right);
        bytes += 1 + right;
        if (to != NULL) v->merges[i] = (inki_str){to, bytes};
        used += bytes;
    }
    v->text_bytes = used;
}

static ink_status make_vocab(inki_learned_vocab *v, const inki_bpe_merges *merges,
                             ink_error *error) {
    v->n_merges = merges->n;
    v->n_tokens = merges->n + MIN_VOCAB;
    v->end_token = (int32_t)v->n_tokens - 1;
    v->steps = merges->steps;
    write_vocab(v, merges);
    v->tokens = inki_alloc(&v->mem, v->n_tokens, sizeof *v->tokens);
    v->merges = inki_alloc(&v->mem, v->n_merges, sizeof *v->merges);
    v->text = inki_alloc(&v->mem, v->text_bytes, 1);
    if (v->tokens == NULL || v->text == NULL || (v->merges == NULL && v->n_merges > 0))
        return inki_fail_nomem(error, v->text_bytes);
    write_vocab(v, merges);
    return INK_OK;
}

// The words are released before merges are learnt: the row has them.
static ink_status learn_vocab(inki_learned_vocab *v, const inki_str *texts, size_t n_texts,
                              uint32_t n_vocab, inki_pool *pool, inki_bpe_progress progress,
                              ink_error *error) {
    inki_bpe_words words = {0};
    inki_bpe_row row = {0};
    inki_bpe_merges merges = {0};
    progress.from = 0;
    progress.share = 0.5;
    ink_status status =
        inki_bpe_count(&words, &v->n_invalid, texts, n_texts, pool, &v->mem, &progress, error);
    if (status == INK_OK) status = inki_bpe_row_new(&row, &words, &v->mem, error);
    inki_bpe_words_free(&words, &v->mem);
    progress.from = 0.5;
    if (status == INK_OK)
        status = inki_bpe_learn(&merges, &row, n_vocab - MIN_VOCAB, &v->mem, &progress, error);
    inki_bpe_row_free(&row, &v->mem);
    if (status == INK_OK) status = make_vocab(v, &merges, error);
    inki_bpe_merges_free(&merges, &v->mem);
    return status;
}

ink_status inki_bpe_train(inki_learned_vocab *out, const inki_str *texts, size_t n_texts,
                          uint32_t n_vocab, inki_pool *pool, const inki_mem *mem,
                          int (*progress)(void *user, double fraction), void *user,
                          ink_error *error) {
    if (n_vocab < MIN_VOCAB || n_vocab > MAX_VOCAB)
        return inki_fail(error, INK_E_ARG, NULL, 0,
                         "a vocabulary of %u tokens; it can have from %d (256 bytes and the end "
                         "token) to %d",
                         (unsigned)n_vocab, (int)MIN_VOCAB, (int)MAX_VOCAB);
    inki_learned_vocab v = {.mem = *mem};
    uint64_t n_bytes = 0;
    for (size_t i = 0; i < n_texts; i++) {
        if (texts[i].bytes > MAX_TEXT_BYTES - n_bytes)
            return inki_fail(error, INK_E_LIMIT, NULL, 0,
                             "the text has more than %llu bytes; learn from less",
                             (unsigned long long)MAX_TEXT_BYTES);
        n_bytes += texts[i].bytes;
    }
    v.n_bytes = (size_t)n_bytes;
    const ink_status status =
        learn_vocab(&v, texts, n_texts, n_vocab, pool,
                    (inki_bpe_progress){.call = progress, .user = user}, error);
    if (status == INK_OK)
        *out = v;
    else
        inki_learned_vocab_free(&v);
    return status;
}

void inki_learned_vocab_free(inki_learned_vocab *vocab) {
    inki_release(&vocab->mem, vocab->tokens, vocab->n_tokens, sizeof *vocab->tokens);
    inki_release(&vocab->mem, vocab->merges, vocab->n_merges, sizeof *vocab->merges);
    inki_release(&vocab->mem, vocab->text, vocab->text_bytes, 1);
    *vocab = (inki_learned_vocab){0};
}
#undef MAX_TEXT_BYTES
