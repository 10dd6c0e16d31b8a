// SPDX-License-Identifier: MIT
//
// Documents are put together to chunks of about a megabyte, and each thread takes the next chunk
// until none is left. Chunks depend on the text alone, so it does not matter who takes which.
#include "train/data_parts.h"

#include <stdatomic.h>
#include <string.h>

enum { CHUNK_BYTES = 1 << 20, LEAST_CAP = 1 << 12 };

typedef struct data_job {
    inki_coded_row *row;
    const inki_tokenizer *tokenizer;
    const inki_document *documents;
    inki_variants variants;
    const inki_mem *mem;
    atomic_size_t next;
    atomic_size_t n_bytes, n_invalid;
    atomic_bool failed;
    struct data_failure {
        size_t chunk; // of several failures the first one in the text is told
        ink_status status;
        ink_error error;
    } failures[INKI_POOL_MAX];
} data_job;

// Memory of one thread.
typedef struct data_desk {
    data_job *job;
    char *text; // [text_cap] a document with doubled line ends
    size_t text_cap;
    int32_t *ids; // [ids_cap] of one document
    size_t ids_cap;
    uint8_t *made; // [made_cap] ids of the chunk in the row's form
    size_t made_cap, n_made;
    ink_error *error;
} data_desk;

static size_t id_bytes(const inki_coded_row *row) {
    return row->wide ? sizeof(int32_t) : sizeof(uint16_t);
}

// Room for n elements; what was there is kept if keep.
static ink_status make_room(const data_desk *desk, void *block, size_t *cap, size_t n,
                            size_t elem_bytes, bool keep) {
    void *old, *bigger;
    if (n <= *cap) return INK_OK;
    size_t wanted = *cap < SIZE_MAX / 4 ? *cap + *cap / 2 : n;
    if (wanted < n) wanted = n;
    if (wanted < LEAST_CAP) wanted = LEAST_CAP;
    bigger = inki_alloc(desk->job->mem, wanted, elem_bytes);
    if (bigger == NULL) return inki_fail_nomem(desk->error, wanted * elem_bytes);
    memcpy(&old, block, sizeof old);
    if (keep && *cap > 0) memcpy(bigger, old, *cap * elem_bytes);
    inki_release(desk->job->mem, old, *cap, elem_bytes);
    memcpy(block, &bigger, sizeof bigger);
    *cap = wanted;
    return INK_OK;
}

static void store_ids(const data_desk *desk, uint8_t *to, size_t n) {
    if (desk->job->row->wide) {
        memcpy(to, desk->ids, n * sizeof *desk->ids);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        const uint16_t id = (uint16_t)desk->ids[i];
        memcpy(to + i * sizeof id, &id, sizeof id);
    }
}

// Adds the tokens of text to the chunk and their number to *coded.
static ink_status encode_document(data_desk *desk, inki_str text, inki_coded *coded,
                                  size_t *n_invalid) {
    data_job *job = desk->job;
    inki_encode_stats stats = {0};
    const size_t each = id_bytes(job->row);
    if (text.bytes > INT32_MAX)
        return inki_fail(desk->error, INK_E_LIMIT, "text", 0,
                         "a document has %zu bytes; at most %d are possible: put <|endoftext|> "
                         "between documents",
                         text.bytes, (int)INT32_MAX);
    // Usually a few bytes are one token; where they are not, how many there are is known then.
    ink_status status =
        make_room(desk, &desk->ids, &desk->ids_cap, text.bytes / 3, sizeof *desk->ids, false);
    while (status == INK_OK) {
        status = inki_tokenizer_encode(job->tokenizer, text.data, text.bytes, false, desk->ids,
                                       desk->ids_cap, &stats, desk->error);
        if (status != INK_OK || stats.n_tokens <= desk->ids_cap) break;
        status =
            make_room(desk, &desk->ids, &desk->ids_cap, stats.n_tokens, sizeof *desk->ids, false);
    }
    if (status == INK_OK)
        status = make_room(desk, &desk->made, &desk->made_cap,
                           (desk->n_made + stats.n_tokens) * each, 1, true);
    if (status != INK_OK) return status;
    store_ids(desk, desk->made + desk->n_made * each, stats.n_tokens);
    desk->n_made += stats.n_tokens;
    coded->n = (uint32_t)stats.n_tokens;
    *n_invalid = stats.n_invalid;
    return INK_OK;
}

static ink_status encode_doubled(data_desk *desk, inki_str text, size_t more, inki_coded *coded,
                                 size_t *n_invalid) {
    const ink_status status =
        make_room(desk, &desk->text, &desk->text_cap, text.bytes + more, 1, false);
    if (status != INK_OK) return status;
    const inki_str doubled = {desk->text, inki_lines_double(text, desk->text)};
    return encode_document(desk, doubled, coded, n_invalid);
}

// Documents whose variants are the same text share their tokens: coded[1].n is 0 until then.
static ink_status encode_variants(data_desk *desk, const inki_document *document, inki_coded *coded,
                                  size_t *n_bytes, size_t *n_invalid) {
    const inki_variants variants = desk->job->variants;
    const size_t more = variants != INKI_VARIANTS_PLAIN ? inki_lines_single(document->text) : 0;
    *n_bytes = document->text.bytes;
    if (variants == INKI_VARIANTS_EITHER && document->hash % 2 != 0 && more > 0) {
        *n_bytes += more;
        return encode_doubled(desk, document->text, more, &coded[0], n_invalid);
    }
    ink_status status = encode_document(desk, document->text, &coded[0], n_invalid);
    if (variants == INKI_VARIANTS_BOTH && more > 0 && status == INK_OK)
        status = encode_doubled(desk, document->text, more, &coded[1], n_invalid);
    return status;
}

// The chunk gets memory of exactly its size, and documents learn where their tokens are.
static ink_status keep_chunk(data_desk *desk, inki_chunk *chunk) {
    inki_coded_row *row = desk->job->row;
    const size_t each = id_bytes(row), n_variants = row->n_variants;
    chunk->ids = inki_alloc(desk->job->mem, desk->n_made, each);
    if (chunk->ids == NULL) return inki_fail_nomem(desk->error, desk->n_made * each);
    chunk->n_ids = desk->n_made;
    memcpy(chunk->ids, desk->made, desk->n_made * each);
    const uint8_t *at = chunk->ids;
    for (size_t i = chunk->begin * n_variants; i < chunk->end * n_variants; i++) {
        row->coded[i].ids = at;
        at += row->coded[i].n * each;
        if (n_variants == 2 && i % 2 == 1 && row->coded[i].n == 0)
            row->coded[i] = row->coded[i - 1];
    }
    return INK_OK;
}

static ink_status encode_chunk(data_desk *desk, inki_chunk *chunk) {
    data_job *job = desk->job;
    desk->n_made = 0;
    for (size_t i = chunk->begin; i < chunk->end; i++) {
        size_t n_bytes = 0, n_invalid = 0;
        const ink_status status =
            encode_variants(desk, &job->documents[i], &job->row->coded[i * job->row->n_variants],
                            &n_bytes, &n_invalid);
        if (status != INK_OK) return status;
        atomic_fetch_add(&job->n_bytes, n_bytes);
        atomic_fetch_add(&job->n_invalid, n_invalid);
    }
    return keep_chunk(desk, chunk);
}

static void encode_part(void *arg, uint32_t part, uint32_t n_parts) {
    (void)n_parts;
    data_job *job = arg;
    struct data_failure *failure = &job->failures[part];
    data_desk desk = {.job = job, .error = &failure->error};
    while (!atomic_load(&job->failed)) {
        const size_t chunk = atomic_fetch_add(&job->next, 1);
        if (chunk >= job->row->n_chunks) break;
        failure->status = encode_chunk(&desk, &job->row->chunks[chunk]);
        failure->chunk = chunk;
        if (failure->status != INK_OK) atomic_store(&job->failed, true);
    }
    inki_release(job->mem, desk.text, desk.text_cap, 1);
    inki_release(job->mem, desk.ids, desk.ids_cap, sizeof *desk.ids);
    inki_release(job->mem, desk.made, desk.made_cap, 1);
}

static ink_status first_failure(const data_job *job, ink_error *error) {
    const struct data_failure *first = NULL;
    for (size_t i = 0; i < INKI_POOL_MAX; i++)
        if (job->failures[i].status != INK_OK &&
            (first == NULL || job->failures[i].chunk < first->chunk))
            first = &job->failures[i];
    if (first == NULL) return INK_OK;
    if (error != NULL) *error = first->error;
    return first->status;
}

// With chunks NULL it only counts.
static size_t cut_chunks(inki_chunk *chunks, const inki_document *documents, size_t n) {
    size_t n_chunks = 0;
    for (size_t begin = 0, end; begin < n; begin = end) {
        size_t bytes = 0;
        for (end = begin; end < n && bytes < CHUNK_BYTES; end++) bytes += documents[end].text.bytes;
        if (chunks != NULL) chunks[n_chunks] = (inki_chunk){.begin = begin, .end = end};
        n_chunks++;
    }
    return n_chunks;
}

static ink_status allocate_row(inki_coded_row *row, const inki_document *documents,
                               ink_error *error) {
    row->n_chunks = cut_chunks(NULL, documents, row->n);
    row->chunks = inki_alloc_zero(&row->mem, row->n_chunks, sizeof *row->chunks);
    if (row->chunks == NULL) return inki_fail_nomem(error, row->n_chunks * sizeof *row->chunks);
    cut_chunks(row->chunks, documents, row->n);
    const size_t n_coded = row->n * row->n_variants;
    row->coded = inki_alloc_zero(&row->mem, n_coded, sizeof *row->coded);
    if (row->coded == NULL) return inki_fail_nomem(error, n_coded * sizeof *row->coded);
    return INK_OK;
}

ink_status inki_row_encode(inki_coded_row *out, const inki_tokenizer *tokenizer,
                           const inki_documents *documents, size_t begin, size_t end,
                           inki_variants variants, inki_pool *pool, const inki_mem *mem,
                           ink_error *error) {
    inki_coded_row row = {.n = end - begin, .mem = *mem};
    row.n_variants = variants == INKI_VARIANTS_BOTH ? 2 : 1;
    row.wide = inki_tokenizer_n_vocab(tokenizer) > UINT16_MAX + 1u;
    if (row.n == 0) {
        *out = row;
        return INK_OK;
    }
    data_job *job = inki_alloc_zero(mem, 1, sizeof *job);
    if (job == NULL) return inki_fail_nomem(error, sizeof *job);
    ink_status status = allocate_row(&row, documents->list + begin, error);
    if (status == INK_OK) {
        job->row = &row;
        job->tokenizer = tokenizer;
        job->documents = documents->list + begin;
        job->variants = variants;
        job->mem = mem;
        atomic_init(&job->next, 0);
        atomic_init(&job->n_bytes, 0);
        atomic_init(&job->n_invalid, 0);
        atomic_init(&job->failed, false);
        const bool entered = pool != NULL && inki_pool_enter(pool);
        const uint32_t n_parts = entered ? inki_pool_n_threads(pool) : 1;
        inki_pool_run(entered ? pool : NULL, n_parts, encode_part, job);
        if (entered) inki_pool_leave(pool);
        status = first_failure(job, error);
        row.n_bytes = atomic_load(&job->n_bytes);
        row.n_invalid = atomic_load(&job->n_invalid);
    }
    inki_release(mem, job, 1, sizeof *job);
    if (status != INK_OK)
        inki_row_free(&row);
    else
        *out = row;
    return status;
}

void inki_row_free(inki_coded_row *row) {
    if (row->chunks != NULL)
        for (size_t i = 0; i < row->n_chunks; i++)
            inki_release(&row->mem, row->chunks[i].ids, row->chunks[i].n_ids, id_bytes(row));
    if (row->chunks != NULL)
        inki_release(&row->mem, row->chunks, row->n_chunks, sizeof *row->chunks);
    if (row->coded != NULL)
        inki_release(&row->mem, row->coded, row->n * row->n_variants, sizeof *row->coded);
    *row = (inki_coded_row){0};
}
