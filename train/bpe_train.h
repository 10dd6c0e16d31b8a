// SPDX-License-Identifier: MIT
// Learns a byte-level BPE vocabulary from text, as GPT-2's was.
//
// Words are those of GPT-2's pattern (tokenizer/pretokenize.h); documents end at "<|endoftext|>".
// Each round merges the pair that stands most often; of equally frequent ones that whose left part,
// then right part, has the smaller bytes... see bpe_train.c for the order, which a plain
// reference (tests/oracle) has too. A pair that stands once is not merged.
// Source: Sennrich et al. 2016, arXiv 1508.07909; Radford et al. 2019.
#ifndef INKI_TRAIN_BPE_TRAIN_H
#define INKI_TRAIN_BPE_TRAIN_H

#include "base/cursor.h"
#include "base/error.h"
#include "base/mem.h"
#include "os/pool.h"

// A vocabulary in the form that model files have; ids: 256 bytes in GPT-2's order, merges,
// "<|endoftext|>" last.
typedef struct inki_learned_vocab {
    inki_str *tokens;  // [n_tokens] byte-to-unicode form
    inki_str *merges;  // [n_merges] "a b"
    uint32_t n_tokens; // n_merges + 257
    uint32_t n_merges;
    int32_t end_token;
    size_t n_bytes, n_invalid; // of the text; bytes of it that were not UTF-8 (kept as bytes)
    char *text;                // what tokens and merges lie in
    size_t text_bytes;
    inki_mem mem;
} inki_learned_vocab;

// One text after the other [n_texts]. n_vocab: from 257 to 2^20; fewer tokens come out where the
// text has no more pairs that stand twice. pool may be NULL; the result does not depend on it.
// progress(user, fraction) may be NULL; nonzero cancels.
// Errors: INK_E_ARG (n_vocab; message says the range), INK_E_LIMIT (over 2^40 bytes of text),
// INK_E_NOMEM, INK_E_CANCELLED.
ink_status inki_bpe_train(inki_learned_vocab *out, const inki_str *texts, size_t n_texts,
                          uint32_t n_vocab, inki_pool *pool, const inki_mem *mem,
                          int (*progress)(void *user, double fraction), void *user,
                          ink_error *error);
void inki_learned_vocab_free(inki_learned_vocab *vocab); // zeroed ones are allowed

#endif
