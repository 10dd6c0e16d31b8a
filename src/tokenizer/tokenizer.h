// SPDX-License-Identifier: MIT
// Byte-level BPE as GPT-2 has it: text to token ids and back. Immutable after new; any thread.
// Source: Radford et al. 2019; the reference encoder is encoder.py of openai/gpt-2.
#ifndef INKI_TOKENIZER_H
#define INKI_TOKENIZER_H

#include "base/cursor.h"
#include "base/error.h"
#include "base/mem.h"

typedef struct inki_tokenizer inki_tokenizer;

// What a model file says of its vocabulary, still in the file.
typedef struct inki_vocab {
    inki_str pre;        // tokenizer.ggml.pre: "gpt-2", "gpt2" or "" (then taken as gpt-2)
    inki_str_run tokens; // tokens in the byte-to-unicode form ("Ġthe"), special ones as they are
    // Little-endian int32 each, n_types of them; NULL: all normal. 1 normal, 2 unknown and 3
    // control (special), 4 user-defined (plain text that always becomes this token), others are
    // never produced unless they are in the byte-to-unicode form.
    const uint8_t *types;
    uint64_t n_types;
    inki_str_run merges; // "a b", best first
    int32_t end_token;   // -1: none in the file ("<|endoftext|>" is then looked up)
} inki_vocab;

// Builds the tables. Keeps nothing of `vocab`: all is copied. The end token is special whatever its
// type says, unless it is a single byte or a merge makes it.
// Errors: INK_E_UNSUPPORTED (another pre-tokenizer), INK_E_FORMAT (a token that is no
// byte-to-unicode text, a duplicate token or merge, a merge whose parts or result are not ordinary
// tokens of the vocabulary, a byte without a token, types of another count, end token outside;
// message names the index), INK_E_LIMIT (2^24 tokens or merges, 65535 bytes a token, 1024 a special
// one), INK_E_NOMEM.
ink_status inki_tokenizer_new(inki_tokenizer **out, const inki_vocab *vocab, const inki_mem *mem,
                              ink_error *error);
void inki_tokenizer_free(inki_tokenizer *tokenizer);

uint32_t inki_tokenizer_n_vocab(const inki_tokenizer *);
int32_t inki_tokenizer_end(const inki_tokenizer *); // -1: none
// The bytes that a token stands for; a special token gives its text. Empty for an id outside.
inki_str inki_tokenizer_piece(const inki_tokenizer *, int32_t id);
bool inki_tokenizer_is_special(const inki_tokenizer *, int32_t id);

// A sink for ids, so that no array of the text's length is needed first.
typedef struct inki_encode_stats {
    size_t n_tokens;
    size_t n_invalid;    // bytes that were not UTF-8
    size_t longest_word; // bytes of the longest pre-token
    // Pairs looked up or compared, moves in the queue; for n bytes <= 4 n log2 longest_word.
    uint64_t merge_steps;
} inki_encode_stats;
// text [bytes] → out [cap] (as many as fit); stats->n_tokens is how many there are.
// special: read special tokens in the text (longest match first). Deterministic and thread-safe.
// stats may be NULL. Allocates only when a word has more than 256 bytes: 24 bytes for each of its
// own. Errors: INK_E_LIMIT (over 2^31 - 1 bytes), INK_E_NOMEM; `out` and `stats` are then
// untouched.
ink_status inki_tokenizer_encode(const inki_tokenizer *, const char *text, size_t bytes,
                                 bool special, int32_t *out, size_t cap, inki_encode_stats *stats,
                                 ink_error *error);

#endif
