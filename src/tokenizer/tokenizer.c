// SPDX-License-Identifier: MIT
#include "tokenizer/tokenizer.h"

#include "base/utf8.h"
#include "tokenizer/pretokenize.h"
#include "tokenizer/tokenizer_parts.h"

uint32_t inki_tokenizer_n_vocab(const inki_tokenizer *t) { return t->n_vocab; }
int32_t inki_tokenizer_end(const inki_tokenizer *t) { return t->end; }

inki_str inki_tokenizer_piece(const inki_tokenizer *t, int32_t id) {
    if (id < 0 || (uint32_t)id >= t->n_vocab) return (inki_str){"", 0};
    return (inki_str){t->blob + t->offsets[id], t->offsets[id + 1] - t->offsets[id]};
}

bool inki_tokenizer_is_special(const inki_tokenizer *t, int32_t id) {
    return id >= 0 && (uint32_t)id < t->n_vocab && t->kinds[id] == INKI_KIND_SPECIAL;
}

typedef struct encode_walk {
    const inki_tokenizer *t;
    bool special;
    bool merge; // false: only finds the longest word
    size_t longest;
    uint32_t *work;
    inki_bpe_sink sink;
} encode_walk;

static void encode_words(encode_walk *walk, const uint8_t *s, size_t n) {
    while (n > 0) {
        const size_t length = inki_pretokenize_next(s, n);
        if (length > walk->longest) walk->longest = length;
        if (walk->merge) inki_bpe_word(&walk->t->bpe, s, length, walk->work, &walk->sink);
        s += length;
        n -= length;
    }
}

static void encode_text(encode_walk *walk, const char *text, size_t bytes) {
    for (size_t at = 0; at < bytes;) {
        size_t found = bytes;
        const inki_special *token =
            inki_specials_find(&walk->t->specials, text, bytes, at, walk->special, &found);
        encode_words(walk, (const uint8_t *)text + at, found - at);
        if (token == NULL) break;
        if (walk->merge) inki_bpe_emit(&walk->sink, token->id);
        at = found + token->text.bytes;
    }
}

// Working memory for words of up to so many bytes is on the stack: longer ones are rare, also in
// scripts without blanks, and whoever encodes at each key does not want to allocate.
enum { USUAL_WORD = 256, USUAL_WORK = 6 * USUAL_WORD };

// Twice over the text: the first time finds out how much working memory the longest word needs, so
// that nothing is written before the only thing that can fail has been done.
ink_status inki_tokenizer_encode(const inki_tokenizer *t, const char *text, size_t bytes,
                                 bool special, int32_t *out, size_t cap, inki_encode_stats *stats,
                                 ink_error *error) {
    if (bytes > INT32_MAX)
        return inki_fail(error, INK_E_LIMIT, "text", 0,
                         "%zu bytes; at most %d can be encoded at once", bytes, (int)INT32_MAX);
    encode_walk walk = {.t = t, .special = special};
    encode_text(&walk, text, bytes);
    const size_t n_work = inki_bpe_work_numbers(walk.longest);
    uint32_t usual[USUAL_WORK];
    walk.work = usual;
    if (n_work > USUAL_WORK) {
        walk.work = inki_alloc(&t->mem, n_work, sizeof *walk.work);
        if (walk.work == NULL) return inki_fail_nomem(error, n_work * sizeof *walk.work);
    }
    walk.merge = true;
    walk.sink = (inki_bpe_sink){.out = out, .cap = cap};
    encode_text(&walk, text, bytes);
    if (walk.work != usual) inki_release(&t->mem, walk.work, n_work, sizeof *walk.work);
    if (stats != NULL)
        *stats = (inki_encode_stats){
            .n_tokens = walk.sink.n,
            .n_invalid = bytes > 0 ? inki_utf8_count_invalid((const uint8_t *)text, bytes) : 0,
            .longest_word = walk.longest,
            .merge_steps = walk.sink.steps,
        };
    return INK_OK;
}
