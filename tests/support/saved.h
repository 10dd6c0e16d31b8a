// SPDX-License-Identifier: MIT
// Saving and restoring in memory, for tests. All of them fail the running cmocka test if what must
// work does not.
#ifndef TESTS_SAVED_H
#define TESTS_SAVED_H

#include "inkling/inkling.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Where a file has what, written down once more: docs/FORMATS.md.
enum {
    SAVED_VERSION = 8,
    SAVED_FILE_BYTES = 16,
    SAVED_MODEL = 24,
    SAVED_ADAPTERS = 32,
    SAVED_KV_TYPE = 40,
    SAVED_N_VOCAB = 48,
    SAVED_N_LAYER = 56,
    SAVED_N_HEAD = 64,
    SAVED_HEAD_DIM = 72,
    SAVED_PAGE_BYTES = 80,
    SAVED_N_PAST = 88,
    SAVED_N_PENDING = 96,
    SAVED_N_FORGOTTEN = 104,
    SAVED_STREAM = 112,
    SAVED_IS_CUT = 120,
    SAVED_N_UNSAID = 128,
    SAVED_N_SERIES = 136,
    SAVED_N_ROWS = 144,
    SAVED_N_MU = 152,
    SAVED_SEED = 160,
    SAVED_CHAIN_BYTES = 168,
    SAVED_PHRASES_BYTES = 176,
    SAVED_NOTE_BYTES = 184,
    SAVED_HEAD_SUM = 248,
    SAVED_HEAD_BYTES = 256
};

typedef struct saved {
    uint8_t *data; // free it
    size_t bytes;
} saved;

saved saved_of(ink_session *session, const ink_save_options *options); // NULL: defaults
bool saved_equal(const saved *a, const saved *b);
// Restores from memory; restored, error: may be NULL.
ink_status saved_restore(ink_session *session, const saved *file, ink_restored *restored,
                         ink_error *error);

void saved_wake(ink_session *session, const saved *file, ink_restored *restored); // or fails
void assert_same_logits(const ink_session *a, const ink_session *b);

uint64_t saved_get(const saved *file, size_t at);
void saved_put(const saved *file, size_t at, uint64_t value);
// Makes both checksums right again, and the size in the head.
void saved_mend(const saved *file);
// Where the part begins that follows all parts before it: sizes are those of the head.
size_t saved_tokens_at(const saved *file);
size_t saved_logits_at(const saved *file);

#endif
