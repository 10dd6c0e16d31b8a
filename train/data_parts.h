// SPDX-License-Identifier: MIT
// What the data*.c files share. Private to train.
#ifndef INKI_TRAIN_DATA_PARTS_H
#define INKI_TRAIN_DATA_PARTS_H

#include "train/data.h"

// --- documents of texts (data_documents.c) -------------------------------------------------------
typedef struct inki_document {
    inki_str text; // borrowed
    uint64_t hash; // of its bytes
} inki_document;

typedef struct inki_documents {
    inki_document *list; // [cap]
    size_t n, cap;
    inki_mem mem;
} inki_documents;
// Cuts texts into documents that are not empty, in the order of their hashes. Errors: INK_E_LIMIT,
// INK_E_NOMEM.
ink_status inki_documents_cut(inki_documents *out, const inki_str *texts, size_t n_texts,
                              const inki_mem *mem, ink_error *error);
void inki_documents_free(inki_documents *documents); // zeroed ones are allowed
// Brings the held-out ones to the front and returns how many they are. share in [0, 1).
size_t inki_documents_hold_out(inki_documents *documents, double share);
// text with its single line ends doubled → out [bytes + inki_lines_single(text)]; returns the
// bytes.

size_t inki_lines_double(inki_str text, char *out);
// Bytes that inki_lines_double adds; 0: the text stays as it is.
size_t inki_lines_single(inki_str text);

// --- their tokens (data_tokens.c) ----------------------------------------------------------------
typedef enum inki_variants {
    INKI_VARIANTS_PLAIN,  // documents as they are
    INKI_VARIANTS_EITHER, // as they are or with doubled line ends, by their hash
    INKI_VARIANTS_BOTH,   // both of each
} inki_variants;

typedef struct inki_coded {
    const void *ids; // [n] uint16_t, or int32_t in a wide row
    uint32_t n;
} inki_coded;

typedef struct inki_chunk {
    size_t begin, end; // documents
    void *ids;
    size_t n_ids;
} inki_chunk;

typedef struct inki_coded_row {
    size_t n;            // documents
    uint32_t n_variants; // 1 or 2
    bool wide;
    inki_coded *coded;  // [n, n_variants]
    inki_chunk *chunks; // [n_chunks] what coded points into
    size_t n_chunks;
    size_t n_bytes, n_invalid; // of what was encoded, each document once
    inki_mem mem;
} inki_coded_row;
// Errors: INK_E_LIMIT, INK_E_NOMEM.
ink_status inki_row_encode(inki_coded_row *out, const inki_tokenizer *tokenizer,
                           const inki_documents *documents, size_t begin, size_t end,
                           inki_variants variants, inki_pool *pool, const inki_mem *mem,
                           ink_error *error);
void inki_row_free(inki_coded_row *row); // zeroed ones are allowed

#endif
