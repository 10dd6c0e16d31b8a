// SPDX-License-Identifier: MIT
// Words one behind the other. They are ordered by how often they stand, so that a place's weight is
// found in a short table instead of beside each place.
#include "train/bpe_parts.h"

// Words that stand at least so often are few: each has a range of its own.
enum { MANY = 4095 };

// GPT-2 numbers the bytes that are visible in Latin-1 first.
uint8_t inki_bpe_byte_of(uint32_t id) {
    if (id < 94) return (uint8_t)(0x21 + id);
    if (id < 106) return (uint8_t)(0xa1 + id - 94);
    if (id < 188) return (uint8_t)(0xae + id - 106);
    if (id < 221) return (uint8_t)(id - 188);
    if (id < 255) return (uint8_t)(0x7f + id - 221);
    return 0xad;
}

typedef struct row_build {
    inki_bpe_row row;
    uint32_t cursors[MANY + 1]; // by count: places taken, then where the next word goes
    uint32_t ranges[MANY + 1];
    uint32_t byte_ids[256];
} row_build;

static uint32_t bucket_of(uint64_t count) { return count < MANY ? (uint32_t)count : MANY; }

static ink_status measure(row_build *b, const inki_bpe_words *words, ink_error *error) {
    uint64_t n = 1;
    uint32_t n_ranges = 0;
    for (uint32_t i = 0; i < words->n; i++) {
        const uint32_t bucket = bucket_of(words->list[i].count);
        n += (uint64_t)words->list[i].bytes + 1;
        if (n > INKI_BPE_MAX_ROW)
            return inki_fail(error, INK_E_LIMIT, NULL, 0,
                             "the different words of the text have more than %llu bytes; learn "
                             "from less text",
                             (unsigned long long)INKI_BPE_MAX_ROW);
        n_ranges += bucket == MANY || b->cursors[bucket] == 0;
        b->cursors[bucket] += words->list[i].bytes + 1;
    }
    b->row.n = (uint32_t)n;
    b->row.n_ranges = n_ranges;
    return INK_OK;
}

static void place_ranges(row_build *b) {
    uint32_t at = 1, range = 0;
    for (uint32_t bucket = 0; bucket <= MANY; bucket++) {
        const uint32_t places = b->cursors[bucket];
        if (places == 0) continue;
        b->cursors[bucket] = at;
        b->ranges[bucket] = range;
        b->row.starts[range] = at;
        b->row.weights[range++] = bucket; // but for MANY, where each word writes its own
        at += places;
    }
    b->row.starts[b->row.n_ranges] = b->row.n;
}

static void place_words(row_build *b, const inki_bpe_words *words) {
    inki_bpe_row *row = &b->row;
    row->ids[0] = INKI_BPE_EDGE;
    for (uint32_t i = 0; i < words->n; i++) {
        const inki_bpe_word *word = &words->list[i];
        const uint32_t bucket = bucket_of(word->count);
        uint32_t at = b->cursors[bucket];
        if (bucket == MANY) {
            const uint32_t range = b->ranges[MANY]++;
            row->starts[range] = at;
            row->weights[range] = word->count;
        }
        for (uint32_t k = 0; k < word->bytes; k++) row->ids[at++] = b->byte_ids[word->data[k]];
        row->ids[at++] = INKI_BPE_EDGE;
        b->cursors[bucket] = at;
    }
}

ink_status inki_bpe_row_new(inki_bpe_row *out, const inki_bpe_words *words, const inki_mem *mem,
                            ink_error *error) {
    row_build *b = inki_alloc_zero(mem, 1, sizeof *b);
    if (b == NULL) return inki_fail_nomem(error, sizeof *b);
    for (uint32_t id = 0; id < 256; id++) b->byte_ids[inki_bpe_byte_of(id)] = id;
    ink_status status = measure(b, words, error);
    if (status == INK_OK) {
        inki_bpe_row *row = &b->row;
        row->ids = inki_alloc(mem, row->n, sizeof *row->ids);
        row->starts = inki_alloc(mem, (size_t)row->n_ranges + 1, sizeof *row->starts);
        row->weights = inki_alloc(mem, (size_t)row->n_ranges + 1, sizeof *row->weights);
        if (row->ids == NULL || row->starts == NULL || row->weights == NULL) {
            status = inki_fail_nomem(error, row->n * sizeof *row->ids);
            inki_bpe_row_free(row, mem);
        }
    }
    if (status == INK_OK) {
        place_ranges(b);
        place_words(b, words);
        *out = b->row;
    }
    inki_release(mem, b, 1, sizeof *b);
    return status;
}

void inki_bpe_row_free(inki_bpe_row *row, const inki_mem *mem) {
    inki_release(mem, row->ids, row->n, sizeof *row->ids);
    inki_release(mem, row->starts, (size_t)row->n_ranges + 1, sizeof *row->starts);
    inki_release(mem, row->weights, (size_t)row->n_ranges + 1, sizeof *row->weights);
    *row = (inki_bpe_row){0};
}
