// SPDX-License-Identifier: MIT
//
// The row that is learnt from has no end: epoch after epoch, each of them all documents in an order
// of its own, each document with an end token behind it. Target t of sequence w is token w * n_ctx
// + t of the row, so sequences overlap in one token and every token is a target once an epoch.
// Within an epoch the sequences come in another order than in the row: documents may be few and
// long, and a batch shall not be one stretch of one of them.
//
// Orders are pure functions of (seed, epoch), so only the tables of one epoch are kept, and made
// again where another is asked for.
#include "train/data_parts.h"

#include "base/mix.h"

#include "base/checksum.h"

#include <string.h>

struct inki_data {
    inki_mem mem;
    inki_data_options options;
    inki_data_stats stats;
    int32_t end;
    inki_coded_row learnt, held;
    uint64_t expected; // tokens of an epoch on average
    // The epoch at hand: tokens [begin, begin + length) of the row.
    uint64_t epoch, begin, length;
    bool has_tables;
    uint32_t *order;       // [learnt.n] documents
    uint64_t *starts;      // [learnt.n + 1] of each document in that order, from begin
    uint32_t *windows;     // [n_windows] in the order in which they are learnt
    size_t n_windows;      // room
    uint64_t *held_starts; // [held.n + 1]
};

enum { KEY_ORDER = 1, KEY_WINDOWS, KEY_VARIANT };

static uint64_t epoch_key(const inki_data *data, uint64_t epoch, uint64_t what) {
    return inki_mix64(inki_mix64(inki_mix64(data->options.seed + INKI_GOLDEN64) ^ epoch) + what);
}

static uint64_t draw(uint64_t key, uint64_t index) {
    return inki_mix64(key + (index + 1) * INKI_GOLDEN64);
}

// Fisher and Yates. Counts are far below 2^32, so that the product's unevenness is nothing.
static void shuffle(uint32_t *list, size_t n, uint64_t key) {
    for (size_t i = 0; i < n; i++) list[i] = (uint32_t)i;
    for (size_t i = n; i > 1; i--) {
        const size_t other = (size_t)((draw(key, i) >> 32) * i >> 32);
        const uint32_t moved = list[i - 1];
        list[i - 1] = list[other];
        list[other] = moved;
    }
}

static const inki_coded *pick_variant(const inki_data *data, uint64_t key, uint32_t document) {
    const inki_coded *coded = &data->learnt.coded[(size_t)document * data->learnt.n_variants];
    if (data->learnt.n_variants == 1) return coded;
    const double u = (double)(draw(key, document) >> 11) * 0x1p-53;
    return u < data->options.blank_lines ? coded + 1 : coded;
}

static uint64_t epoch_length(const inki_data *data, uint64_t epoch) {
    if (data->learnt.n_variants == 1) return data->stats.n_tokens;
    const uint64_t key = epoch_key(data, epoch, KEY_VARIANT);
    uint64_t length = data->learnt.n;
    for (uint32_t i = 0; i < data->learnt.n; i++) length += pick_variant(data, key, i)->n;
    return length;
}

// Makes the epoch that has token `at` of the row the one at hand.
static void seek_epoch(inki_data *data, uint64_t at) {
    const uint64_t before = data->epoch;
    if (data->learnt.n_variants == 1) {
        data->epoch = at / data->length;
        data->begin = data->epoch * data->length;
    }
    while (at < data->begin) {
        data->length = epoch_length(data, --data->epoch);
        data->begin -= data->length;
    }
    while (at - data->begin >= data->length) {
        data->begin += data->length;
        data->length = epoch_length(data, ++data->epoch);
    }
    if (data->epoch != before) data->has_tables = false;
}

static uint64_t first_window(const inki_data *data, uint64_t at) {
    return at / data->options.n_ctx + (at % data->options.n_ctx != 0);
}

static void make_tables(inki_data *data) {
    if (data->has_tables) return;
    const uint64_t key = epoch_key(data, data->epoch, KEY_VARIANT);
    shuffle(data->order, data->learnt.n, epoch_key(data, data->epoch, KEY_ORDER));
    data->starts[0] = 0;
    for (size_t i = 0; i < data->learnt.n; i++)
        data->starts[i + 1] = data->starts[i] + pick_variant(data, key, data->order[i])->n + 1;
    const uint64_t n =
        first_window(data, data->begin + data->length) - first_window(data, data->begin);
    shuffle(data->windows, (size_t)n, epoch_key(data, data->epoch, KEY_WINDOWS));
    data->has_tables = true;
}

// The last of starts [n + 1] that is not after `at`.
static size_t find_document(const uint64_t *starts, size_t n, uint64_t at) {
    size_t low = 0, high = n;
    while (high - low > 1) {
        const size_t middle = low + (high - low) / 2;
        if (starts[middle] <= at)
            low = middle;
        else
            high = middle;
    }
    return low;
}

static void copy_ids(int32_t *out, const inki_coded *coded, bool wide, size_t from, size_t n) {
    if (wide) {
        memcpy(out, (const int32_t *)coded->ids + from, n * sizeof *out);
        return;
    }
    const uint16_t *ids = (const uint16_t *)coded->ids + from;
    for (size_t i = 0; i < n; i++) out[i] = ids[i];
}

// Copies tokens [at, at + n) of a document with its end token, as many as there are.
static size_t copy_document(const inki_data *data, const inki_coded *coded, bool wide, size_t at,
                            int32_t *out, size_t n) {
    const size_t left = at < coded->n ? coded->n - at : 0, part = left < n ? left : n;
    copy_ids(out, coded, wide, at, part);
    if (part == n) return n;
    out[part] = data->end;
    return part + 1;
}

// Copies tokens [at, at + n) of the row, from the epoch at hand on.
static void copy_learnt(inki_data *data, uint64_t at, int32_t *out, size_t n) {
    while (n > 0) {
        seek_epoch(data, at);
        make_tables(data);
        const uint64_t key = epoch_key(data, data->epoch, KEY_VARIANT);
        size_t i = find_document(data->starts, data->learnt.n, at - data->begin);
        for (; i < data->learnt.n && n > 0; i++) {
            const inki_coded *coded = pick_variant(data, key, data->order[i]);
            const size_t inside = (size_t)(at - data->begin - data->starts[i]);
            const size_t done = copy_document(data, coded, data->learnt.wide, inside, out, n);
            out += done;
            at += done;
            n -= done;
        }
    }
}

void inki_data_sequence(inki_data *data, uint64_t index, int32_t *out) {
    const uint32_t n_ctx = data->options.n_ctx;
    seek_epoch(data, index * n_ctx);
    make_tables(data);
    const uint64_t first = first_window(data, data->begin);
    const uint64_t at = (first + data->windows[index - first]) * n_ctx;
    if (at > data->begin) {
        copy_learnt(data, at - 1, out, (size_t)n_ctx + 1);
        return;
    }
    out[0] = data->end; // of the epoch before, or what the first document begins behind
    copy_learnt(data, at, out + 1, n_ctx);
}

bool inki_data_held_sequence(const inki_data *data, uint64_t index, int32_t *out,
                             uint32_t *n_targets) {
    const uint32_t n_ctx = data->options.n_ctx;
    const uint64_t all = data->stats.n_held_tokens;
    if (index >= first_window(data, all)) return false;
    const uint64_t begin = index * n_ctx;
    const size_t wanted = all - begin < n_ctx ? (size_t)(all - begin) : n_ctx;
    uint64_t at = begin > 0 ? begin - 1 : 0;
    size_t n = begin > 0 ? 0 : 1;
    for (uint32_t i = 0; i <= n_ctx; i++) out[i] = data->end;
    size_t i = find_document(data->held_starts, data->held.n, at);
    for (; n <= wanted; i++) {
        const size_t inside = (size_t)(at - data->held_starts[i]);
        const size_t done = copy_document(data, &data->held.coded[i], data->held.wide, inside,
                                          out + n, wanted + 1 - n);
        n += done;
        at += done;
    }
    *n_targets = (uint32_t)wanted;
    return true;
}

const inki_data_stats *inki_data_get_stats(const inki_data *data) { return &data->stats; }

uint64_t inki_data_epoch_sequences(const inki_data *data) {
    const uint64_t n = (data->expected + data->options.n_ctx / 2) / data->options.n_ctx;
    return n > 0 ? n : 1;
}

static ink_status check_options(const inki_tokenizer *tokenizer, const inki_data_options *options,
                                ink_error *error) {
    if (inki_tokenizer_end(tokenizer) < 0)
        return inki_fail(error, INK_E_ARG, "vocabulary", 0,
                         "it has no end token, which stands between documents");
    if (options->n_ctx == 0 || options->n_ctx > INT32_MAX)
        return inki_fail(error, INK_E_ARG, "context", 0, "%lu tokens; 1 to %d were expected",
                         (unsigned long)options->n_ctx, (int)INT32_MAX);
    if (!(options->held_out >= 0 && options->held_out < 1))
        return inki_fail(error, INK_E_ARG, "held-out share", 0,
                         "a number from 0 to less than 1 was expected");
    if (!(options->blank_lines >= 0 && options->blank_lines <= 1))
        return inki_fail(error, INK_E_ARG, "share of blank lines", 0,
                         "a number from 0 to 1 was expected");
    return INK_OK;
}

// Cuts and encodes one set of texts: [0, n_held) of its documents are held out.
static ink_status encode_texts(inki_data *data, const inki_tokenizer *tokenizer,
                               const inki_str *texts, size_t n_texts, bool validation, bool share,
                               inki_pool *pool, ink_error *error) {
    inki_documents documents = {0};
    ink_status status = inki_documents_cut(&documents, texts, n_texts, &data->mem, error);
    if (status != INK_OK) return status;
    const double blank_lines = data->options.blank_lines;
    size_t n_held = validation ? documents.n : 0;
    if (share) n_held = inki_documents_hold_out(&documents, data->options.held_out);
    if (documents.n == 0)
        status = inki_fail(error, INK_E_ARG, validation ? "validation text" : "text", 0,
                           "it is empty: nothing but white space and <|endoftext|>");
    if (status == INK_OK && (validation || share))
        status = inki_row_encode(&data->held, tokenizer, &documents, 0, n_held,
                                 blank_lines > 0 ? INKI_VARIANTS_EITHER : INKI_VARIANTS_PLAIN, pool,
                                 &data->mem, error);
    if (status == INK_OK && !validation)
        status = inki_row_encode(&data->learnt, tokenizer, &documents, n_held, documents.n,
                                 blank_lines > 0 ? INKI_VARIANTS_BOTH : INKI_VARIANTS_PLAIN, pool,
                                 &data->mem, error);
    inki_documents_free(&documents);
    return status;
}

static void add_number(inki_checksum *sum, uint64_t value) {
    uint8_t bytes[8];
    for (int i = 0; i < 8; i++) bytes[i] = (uint8_t)(value >> (8 * i));
    inki_checksum_add(sum, bytes, sizeof bytes);
}

static void add_texts(inki_checksum *sum, const inki_str *texts, size_t n, inki_data_stats *stats) {
    add_number(sum, n);
    for (size_t i = 0; i < n; i++) {
        add_number(sum, texts[i].bytes);
        add_number(sum, inki_checksum_of(texts[i].data, texts[i].bytes));
        stats->n_bytes += texts[i].bytes;
    }
}

static void add_row(inki_checksum *sum, const inki_coded_row *row) {
    add_number(sum, row->n);
    for (size_t i = 0; i < row->n * row->n_variants; i++) {
        const size_t each = row->wide ? sizeof(int32_t) : sizeof(uint16_t);
        add_number(sum, row->coded[i].n);
        inki_checksum_add(sum, row->coded[i].ids, row->coded[i].n * each);
    }
}

static void fill_fingerprints(inki_data *data, const inki_str *texts, size_t n_texts,
                              const inki_str *validation, size_t n_validation) {
    inki_checksum sum;
    inki_checksum_init(&sum);
    add_texts(&sum, texts, n_texts, &data->stats);
    add_texts(&sum, validation, n_validation, &data->stats);
    data->stats.fingerprint = inki_checksum_end(&sum);
    inki_checksum_init(&sum);
    add_number(&sum, data->options.n_ctx);
    add_number(&sum, data->options.seed);
    add_number(&sum, (uint64_t)(data->options.blank_lines * 0x1p53));
    add_number(&sum, (uint64_t)data->end);
    add_row(&sum, &data->learnt);
    add_row(&sum, &data->held);
    data->stats.way_fingerprint = inki_checksum_end(&sum);
}

static ink_status count_tokens(inki_data *data, ink_error *error) {
    const inki_coded_row *row = &data->learnt;
    inki_data_stats *stats = &data->stats;
    const double p = data->options.blank_lines;
    uint64_t longest = row->n, doubled = row->n;
    stats->n_documents = row->n;
    stats->n_held = data->held.n;
    stats->n_held_bytes = data->held.n_bytes;
    stats->n_invalid = row->n_invalid + data->held.n_invalid;
    stats->n_tokens = row->n;
    for (size_t i = 0; i < row->n; i++) {
        const uint32_t plain = row->coded[i * row->n_variants].n;
        const uint32_t other = row->coded[(i + 1) * row->n_variants - 1].n;
        stats->n_tokens += plain;
        doubled += other;
        longest += plain > other ? plain : other;
    }
    data->expected = (uint64_t)((1 - p) * (double)stats->n_tokens + p * (double)doubled);
    if (stats->n_tokens < (uint64_t)data->options.n_ctx + 1)
        return inki_fail(error, INK_E_ARG, "text", 0,
                         "it has %llu tokens to learn from%s; a context of %lu needs at least %lu: "
                         "more text or a smaller context is needed",
                         (unsigned long long)stats->n_tokens,
                         data->held.n > 0 ? " besides the held-out part" : "",
                         (unsigned long)data->options.n_ctx,
                         (unsigned long)data->options.n_ctx + 1);
    if (longest / data->options.n_ctx >= UINT32_MAX)
        return inki_fail(error, INK_E_LIMIT, "text", 0,
                         "it has %llu tokens, too many for a context of %lu",
                         (unsigned long long)longest, (unsigned long)data->options.n_ctx);
    data->n_windows = (size_t)(longest / data->options.n_ctx) + 1;
    return INK_OK;
}

static ink_status allocate_tables(inki_data *data, ink_error *error) {
    const size_t n = data->learnt.n, n_held = data->held.n;
    data->order = inki_alloc(&data->mem, n, sizeof *data->order);
    if (data->order == NULL) return inki_fail_nomem(error, n * sizeof *data->order);
    data->starts = inki_alloc(&data->mem, n + 1, sizeof *data->starts);
    if (data->starts == NULL) return inki_fail_nomem(error, (n + 1) * sizeof *data->starts);
    data->windows = inki_alloc(&data->mem, data->n_windows, sizeof *data->windows);
    if (data->windows == NULL)
        return inki_fail_nomem(error, data->n_windows * sizeof *data->windows);
    data->held_starts = inki_alloc(&data->mem, n_held + 1, sizeof *data->held_starts);
    if (data->held_starts == NULL)
        return inki_fail_nomem(error, (n_held + 1) * sizeof *data->held_starts);
    data->held_starts[0] = 0;
    for (size_t i = 0; i < n_held; i++)
        data->held_starts[i + 1] = data->held_starts[i] + data->held.coded[i].n + 1;
    data->stats.n_held_tokens = data->held_starts[n_held];
    return INK_OK;
}

ink_status inki_data_new(inki_data **out, const inki_tokenizer *tokenizer, const inki_str *texts,
                         size_t n_texts, const inki_str *validation, size_t n_validation,
                         const inki_data_options *options, inki_pool *pool, const inki_mem *mem,
                         ink_error *error) {
    ink_status status = check_options(tokenizer, options, error);
    if (status != INK_OK) return status;
    inki_data *data = inki_alloc_zero(mem, 1, sizeof *data);
    if (data == NULL) return inki_fail_nomem(error, sizeof *data);
    data->mem = *mem;
    data->options = *options;
    data->end = inki_tokenizer_end(tokenizer);
    status = encode_texts(data, tokenizer, texts, n_texts, false, n_validation == 0, pool, error);
    if (status == INK_OK && n_validation > 0)
        status = encode_texts(data, tokenizer, validation, n_validation, true, false, pool, error);
    if (status == INK_OK) status = count_tokens(data, error);
    if (status == INK_OK) status = allocate_tables(data, error);
    if (status != INK_OK) {
        inki_data_free(data);
        return status;
    }
    fill_fingerprints(data, texts, n_texts, validation, n_validation);
    data->length = epoch_length(data, 0);
    *out = data;
    return INK_OK;
}

void inki_data_free(inki_data *data) {
    if (data == NULL) return;
    const inki_mem mem = data->mem;
    inki_release(&mem, data->order, data->learnt.n, sizeof *data->order);
    inki_release(&mem, data->starts, data->learnt.n + 1, sizeof *data->starts);
    inki_release(&mem, data->windows, data->n_windows, sizeof *data->windows);
    inki_release(&mem, data->held_starts, data->held.n + 1, sizeof *data->held_starts);
    inki_row_free(&data->learnt);
    inki_row_free(&data->held);
    inki_release(&mem, data, 1, sizeof *data);
}
