// SPDX-License-Identifier: MIT
// A saved session's bytes, as docs/FORMATS.md describes them. They are little-endian, which all
// machines that we run on are: numbers lie in the file as they do in memory.
#ifndef INKI_ENGINE_SESSION_FILE_H
#define INKI_ENGINE_SESSION_FILE_H

#include "engine/engine.h"

enum {
    INKI_SAVED_VERSION = 1, // another one whenever what follows changes
    INKI_SAVED_HEAD_BYTES = 256,
    INKI_SAVED_ALIGN = 64,
    INKI_SAVED_NOTE_MAX = 1 << 20,
    // What a sampler and a filter can hold: no file makes us take more memory than these, whatever
    // it says, and however many zeros the disk has for it.
    INKI_SAVED_CHAIN_MAX = (1 << 20) + 1,
    INKI_SAVED_PHRASES_MAX = 2047 << 20 // 2^20 phrases, which folding makes longer
};

typedef struct inki_saved_head {
    char magic[8];
    uint32_t version, head_bytes;
    uint64_t file_bytes;
    // Whose it is.
    uint64_t model, adapters; // fingerprints
    uint64_t kv_type, n_vocab, n_layer, n_head, head_dim, page_bytes;
    // What it holds.
    uint64_t n_past, n_pending, n_forgotten, stream;
    uint64_t is_cut, n_unsaid, n_series;
    uint64_t n_rows; // of logits: 0 or 1
    uint64_t n_mu;   // numbers, 0: none
    uint64_t seed;
    // Texts, each string with its 0 byte; 0: none.
    uint64_t chain_bytes, phrases_bytes;
    uint64_t note_bytes;
    uint64_t reserved[7]; // 0
    uint64_t sum;         // checksum of the head before it
} inki_saved_head;
_Static_assert(sizeof(inki_saved_head) == INKI_SAVED_HEAD_BYTES, "no gaps in the head");

// What follows the head, each part behind zeros up to a multiple of 64.
typedef enum inki_saved_part {
    INKI_SAVED_TOKENS,
    INKI_SAVED_LOGITS,
    INKI_SAVED_MU,
    INKI_SAVED_CHAIN,
    INKI_SAVED_PHRASES,
    INKI_SAVED_NOTE,
    INKI_SAVED_PAGES,
    INKI_SAVED_SUM, // of what is before the pages and of the checksum of each
    INKI_SAVED_PARTS
} inki_saved_part;
typedef struct inki_saved_parts {
    uint64_t at[INKI_SAVED_PARTS], bytes[INKI_SAVED_PARTS];
    uint64_t file_bytes;
} inki_saved_parts;

// Fills in whose it is, version and magic. The other fields become 0.
void inki_saved_head_of(inki_saved_head *head, const ink_session *session);
// Where everything lies. The counts of tokens and of mu fit into a session's context; false if the
// rest does not fit into file_bytes.
bool inki_saved_parts_of(inki_saved_parts *parts, const inki_saved_head *head, uint64_t file_bytes);

#endif
