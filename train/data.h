// SPDX-License-Identifier: MIT
// Text becomes sequences of tokens to learn from.
//
// A text is cut into documents at "<|endoftext|>"; white space beside it, and at both ends of the
// text, belongs to it. Documents are put one behind the other with the end token behind each, in
// another random order each time through (an epoch). That endless row is cut into sequences of
// n_ctx + 1 tokens, each beginning with the last token of the one before, which within an epoch
// come in random order too. Which sequence comes when is a pure function of (seed, index), so that
// nothing has to be saved but the index.
#ifndef INKI_TRAIN_DATA_H
#define INKI_TRAIN_DATA_H

#include "base/cursor.h"
#include "base/error.h"
#include "base/mem.h"
#include "os/pool.h"
#include "tokenizer/tokenizer.h"

typedef struct inki_data_options {
    uint32_t n_ctx;
    uint64_t seed;
    // Share of the text's bytes that is held out for validation, in [0, 1), when there is no
    // validation text: documents in the order of a hash of their bytes, at least one (equal ones
    // together). The choice depends on no seed and on no order. Where documents are too few for
    // that, the end of the longest.
    double held_out;
    // With this probability a document's line ends are doubled, so that a model knows texts with
    // blank lines between paragraphs from texts that have none. Decided anew in each epoch; of the
    // held-out documents every other one (by its hash) has them doubled, if this is not 0.
    double blank_lines;
} inki_data_options;

typedef struct inki_data_stats {
    size_t n_bytes;           // of all texts
    size_t n_invalid;         // bytes that are not UTF-8 (kept as bytes)
    size_t n_documents;       // to learn from
    size_t n_held;            // documents held out
    uint64_t n_tokens;        // to learn from: end tokens included, blank_lines not
    uint64_t n_held_tokens;   // that are held out, as they are: the targets of all held sequences
    size_t n_held_bytes;      // of their text
    uint64_t fingerprint;     // of all bytes, so that a resumed run knows its text
    uint64_t way_fingerprint; // of the options, the tokens and what is held out: the same two
                              // fingerprints, the same sequences
} inki_data_stats;

typedef struct inki_data inki_data;
// texts [n_texts] to learn from; validation [n_validation] or NULL, 0: then held_out of texts. Both
// need not live on; nor need the tokenizer. pool may be NULL; nothing depends on it.
// Claims the pool while it runs; one that is held already is not used.
// Errors: INK_E_ARG (an empty text; one with less than n_ctx + 1 tokens: message says how many
// there are and what to do; the tokenizer has no end token; an option out of its range),
// INK_E_LIMIT (2^32 documents, 2^31 bytes in one), INK_E_NOMEM.
ink_status inki_data_new(inki_data **out, const inki_tokenizer *tokenizer, const inki_str *texts,
                         size_t n_texts, const inki_str *validation, size_t n_validation,
                         const inki_data_options *options, inki_pool *pool, const inki_mem *mem,
                         ink_error *error);
void inki_data_free(inki_data *data); // NULL is allowed
const inki_data_stats *inki_data_get_stats(const inki_data *data);
// Sequences of about one epoch, at least 1.
uint64_t inki_data_epoch_sequences(const inki_data *data);

// out [n_ctx + 1] = sequence `index` (from 0, without end: epochs follow one another).
// Calls with rising indices are quick; any other is allowed (index * n_ctx below 2^64; with
// blank_lines the time grows with the epochs between one call and the next). One thread at a time.
void inki_data_sequence(inki_data *data, uint64_t index, int32_t *out);
// The held-out documents as sequences, the same each time: out [n_ctx + 1]; the targets from
// *n_targets on (the last sequence is filled up) do not count. False: there are no more.
bool inki_data_held_sequence(const inki_data *data, uint64_t index, int32_t *out,
                             uint32_t *n_targets);

#endif
