// SPDX-License-Identifier: MIT
// Learns a byte-level BPE vocabulary from text, as GPT-2's was.
//
// Words are those of GPT-2's pattern (tokenizer/pretokenize.h); documents end at "<|endoftext|>".
// A pair is two tokens side by side in a word, and counts as often as it stands, overlapping
// ("aaa" has a a twice). Each round merges the pair that counts most, from a word's left to its
// right. Of pairs that count the same it is the one whose left token has the lower id, then the one
// whose right token has: ids are those of the vocabulary that comes out, so a byte goes before a
// merge and an older merge before a younger one. Never merged are pairs that count less than 2, and
// those that would make more than INKI_BPE_MAX_TOKEN bytes. No two tokens have the same bytes.
// tests/oracle/bpe_reference.py says the same in little code.
// Source: Sennrich et al. 2016, arXiv 1508.07909; Radford et al. 2019.
#ifndef INKI_TRAIN_BPE_TRAIN_H
#define INKI_TRAIN_BPE_TRAIN_H

#include "base/cursor.h"
#include "base/error.h"
#include "base/mem.h"
#include "os/pool.h"

enum { INKI_BPE_MAX_TOKEN = 256 }; // bytes; a run of one character would double without end

// A vocabulary in the form that model files have; ids: 256 bytes in GPT-2's order, merges,
// "<|endoftext|>" last.
typedef struct inki_learned_vocab {
    inki_str *tokens;  // [n_tokens] byte-to-unicode form
    inki_str *merges;  // [n_merges] "a b"; NULL when there are none
    uint32_t n_tokens; // n_merges + 257
    uint32_t n_merges;
    int32_t end_token;
    size_t n_bytes, n_invalid; // of the text; bytes of it that were not UTF-8 (kept as bytes)
    uint64_t steps;            // work done in learning merges: places and pairs looked at
    char *text;                // what tokens and merges lie in
    size_t text_bytes;
    inki_mem mem;
} inki_learned_vocab;

// One text after the other [n_texts]. n_vocab: from 257 to 2^20; fewer tokens come out where the
// text has no more pairs to merge. pool: NULL, or claimed by the caller (inki_pool_enter); the
// result does not depend on it. progress(user, fraction) may be NULL; nonzero cancels.
// Errors: INK_E_ARG (n_vocab; message says the range), INK_E_LIMIT (over 2^40 bytes of text, 2^31
// of distinct words), INK_E_NOMEM, INK_E_CANCELLED.
ink_status inki_bpe_train(inki_learned_vocab *out, const inki_str *texts, size_t n_texts,
                          uint32_t n_vocab, inki_pool *pool, const inki_mem *mem,
                          int (*progress)(void *user, double fraction), void *user,
                          ink_error *error);
void inki_learned_vocab_free(inki_learned_vocab *vocab); // zeroed ones are allowed

#endif
