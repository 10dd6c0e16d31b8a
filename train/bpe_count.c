// SPDX-License-Identifier: MIT
// Counts the words of a text. Finding them costs the most, so the text is cut into blocks at places
// where a word ends whatever stands around it, and each thread counts blocks into a table of its
// own. Which thread takes which block does not matter: what comes out is a set with counts.
#include "train/bpe_parts.h"

#include "base/utf8.h"
#include "tokenizer/pretokenize.h"
#include "tokenizer/unicode_tables.h"

#include <stdatomic.h>
#include <string.h>

static const char end_mark[] = "<|endoftext|>";

enum {
    MARK_BYTES = sizeof end_mark - 1,
    BLOCK_BYTES = 1 << 20,
    BLOCKS_A_THREAD = 4, // of a round; progress is told between rounds
    FIRST_WORDS = 1 << 10
};

bool inki_bpe_tell(const inki_bpe_progress *progress, double fraction) {
    if (progress == NULL || progress->call == NULL) return false;
    return progress->call(progress->user, progress->from + progress->share * fraction) != 0;
}

// ---- borders

static unsigned class_at(const uint8_t *s, size_t n, size_t *step) {
    uint32_t c;
    *step = inki_utf8_decode(s, n, &c);
    if (*step > 0) return inki_unicode_class(c);
    *step = 1;
    return INKI_CLASS_OTHER;
}

static bool is_in_mark(const uint8_t *s, size_t n, size_t begin, size_t at) {
    for (size_t back = 1; back < MARK_BYTES && back <= at - begin; back++)
        if (n - (at - back) >= MARK_BYTES && memcmp(s + at - back, end_mark, MARK_BYTES) == 0)
            return true;
    return false;
}

// Letters and numbers end their word where they end. So does punctuation, but before letters: an
// apostrophe takes some of them.
size_t inki_bpe_border(const uint8_t *s, size_t n, size_t begin, size_t bytes) {
    if (n - begin <= bytes) return n;
    size_t at = begin + bytes, step;
    while (at < n && (s[at] & 0xc0) == 0x80) at++; // a character never begins with such a byte
    unsigned before = INKI_CLASS_SPACE;
    for (; at < n; at += step) {
        const unsigned here = class_at(s + at, n - at, &step);
        if (here != before && before != INKI_CLASS_SPACE &&
            (before != INKI_CLASS_OTHER || here == INKI_CLASS_SPACE) &&
            !is_in_mark(s, n, begin, at))
            return at;
        before = here;
    }
    return n;
}

// ---- a table of words

void inki_bpe_words_free(inki_bpe_words *words, const inki_mem *mem) {
    inki_release(mem, words->list, words->cap, sizeof *words->list);
    inki_token_index_free(&words->index, mem);
    *words = (inki_bpe_words){0};
}

static bool fill_index(inki_bpe_words *words) {
    for (uint32_t i = 0; i < words->n; i++) {
        const inki_bpe_word *word = &words->list[i];
        if (!inki_token_index_put(&words->index,
                                  inki_token_hash_text(word->data, word->bytes, words->seed), i))
            return false;
    }
    return true;
}

// Room for cap words, under the first seed from this attempt on that makes no long chain.
static ink_status resize_words(inki_bpe_words *words, uint32_t cap, uint32_t attempt,
                               const inki_mem *mem) {
    if (cap > INKI_BPE_MAX_ROW / 2) return INK_E_LIMIT;
    inki_token_index index;
    inki_bpe_word *list = inki_alloc(mem, cap, sizeof *list);
    if (list == NULL) return INK_E_NOMEM;
    if (!inki_token_index_new(&index, cap, mem)) {
        inki_release(mem, list, cap, sizeof *list);
        return INK_E_NOMEM;
    }
    if (words->n > 0) memcpy(list, words->list, words->n * sizeof *list);
    inki_release(mem, words->list, words->cap, sizeof *list);
    inki_token_index_free(&words->index, mem);
    words->list = list;
    words->cap = cap;
    words->index = index;
    for (; attempt < INKI_INDEX_SEEDS; attempt++) {
        words->attempt = attempt;
        words->seed = inki_token_seed(attempt);
        if (fill_index(words)) return INK_OK;
        inki_token_index_clear(&words->index);
    }
    return INK_E_LIMIT;
}

static ink_status add_word(inki_bpe_words *words, const uint8_t *data, size_t bytes, uint64_t count,
                           const inki_mem *mem) {
    if (bytes >= INKI_BPE_MAX_ROW) return INK_E_LIMIT;
    const uint64_t hash = inki_token_hash_text(data, bytes, words->seed);
    uint32_t probe = 0, i;
    while ((i = inki_token_index_next(&words->index, hash, &probe)) != INKI_INDEX_NONE) {
        inki_bpe_word *word = &words->list[i];
        if (word->bytes != bytes || memcmp(word->data, data, bytes) != 0) continue;
        word->count += count;
        return INK_OK;
    }
    uint32_t cap = words->cap, attempt = words->attempt;
    if (words->n < cap) {
        words->list[words->n] = (inki_bpe_word){data, count, (uint32_t)bytes};
        if (inki_token_index_put(&words->index, hash, words->n)) {
            words->n++;
            return INK_OK;
        }
        attempt++;
    } else {
        cap = cap > 0 ? cap * 2 : FIRST_WORDS;
    }
    const ink_status status = resize_words(words, cap, attempt, mem);
    return status != INK_OK ? status : add_word(words, data, bytes, count, mem);
}

// ---- blocks

typedef struct count_part {
    _Alignas(INKI_ALIGN) inki_bpe_words words;
    size_t n_invalid;
    ink_status status;
} count_part;

typedef struct count_job {
    const inki_mem *mem;
    count_part *parts; // [n_parts]
    uint32_t n_parts;
    inki_str *blocks; // [n_parts * BLOCKS_A_THREAD], n_blocks of them
    uint32_t n_blocks;
    atomic_uint next;
} count_job;

static const uint8_t *find_mark(const uint8_t *s, const uint8_t *end) {
    while ((size_t)(end - s) >= MARK_BYTES) {
        s = memchr(s, end_mark[0], (size_t)(end - s) - MARK_BYTES + 1);
        if (s == NULL) break;
        if (memcmp(s, end_mark, MARK_BYTES) == 0) return s;
        s++;
    }
    return NULL;
}

static ink_status count_document(inki_bpe_words *words, const uint8_t *s, const uint8_t *end,
                                 const inki_mem *mem) {
    ink_status status = INK_OK;
    while (s < end && status == INK_OK) {
        const size_t bytes = inki_pretokenize_next(s, (size_t)(end - s));
        if (bytes > 1) status = add_word(words, s, bytes, 1, mem);
        s += bytes;
    }
    return status;
}

static void count_block(count_part *part, inki_str block, const inki_mem *mem) {
    const uint8_t *s = (const uint8_t *)block.data, *end = s + block.bytes;
    part->n_invalid += inki_utf8_count_invalid(s, block.bytes);
    for (const uint8_t *mark; part->status == INK_OK; s = mark + MARK_BYTES) {
        mark = find_mark(s, end);
        part->status = count_document(&part->words, s, mark != NULL ? mark : end, mem);
        if (mark == NULL) break;
    }
}

static void run_part(void *arg, uint32_t part, uint32_t n_parts) {
    count_job *job = arg;
    (void)n_parts;
    for (;;) {
        const unsigned block = atomic_fetch_add(&job->next, 1);
        if (block >= job->n_blocks || job->parts[part].status != INK_OK) break;
        count_block(&job->parts[part], job->blocks[block], job->mem);
    }
}

static ink_status job_status(const count_job *job, ink_error *error) {
    for (uint32_t i = 0; i < job->n_parts; i++) {
        const count_part *part = &job->parts[i];
        if (part->status == INK_E_NOMEM)
            return inki_fail_nomem(error, (size_t)part->words.cap * 2 * sizeof *part->words.list);
        if (part->status != INK_OK)
            return inki_fail(error, INK_E_LIMIT, NULL, 0,
                             "too many different words, or words that collide under every hash "
                             "that is tried; learn from less text");
    }
    return INK_OK;
}

static ink_status count_texts(count_job *job, const inki_str *texts, size_t n_texts,
                              inki_pool *pool, const inki_bpe_progress *progress,
                              ink_error *error) {
    size_t total = 0, done = 0, text = 0, at = 0;
    for (size_t i = 0; i < n_texts; i++) total += texts[i].bytes;
    while (done < total) {
        job->n_blocks = 0;
        while (job->n_blocks < job->n_parts * BLOCKS_A_THREAD && text < n_texts) {
            if (at == texts[text].bytes) {
                text++;
                at = 0;
                continue;
            }
            const uint8_t *s = (const uint8_t *)texts[text].data;
            const size_t end = inki_bpe_border(s, texts[text].bytes, at, BLOCK_BYTES);
            job->blocks[job->n_blocks++] = (inki_str){texts[text].data + at, end - at};
            done += end - at;
            at = end;
        }
        atomic_store(&job->next, 0);
        inki_pool_run(pool, job->n_parts, run_part, job);
        const ink_status status = job_status(job, error);
        if (status != INK_OK) return status;
        if (inki_bpe_tell(progress, (double)done / (double)total))
            return inki_fail(error, INK_E_CANCELLED, NULL, 0, "cancelled");
    }
    return INK_OK;
}

static ink_status join_parts(count_job *job, size_t *n_invalid, ink_error *error) {
    count_part *to = &job->parts[0];
    for (uint32_t i = 1; i < job->n_parts; i++) {
        count_part *part = &job->parts[i];
        to->n_invalid += part->n_invalid;
        for (uint32_t k = 0; k < part->words.n && to->status == INK_OK; k++) {
            const inki_bpe_word *word = &part->words.list[k];
            to->status = add_word(&to->words, word->data, word->bytes, word->count, job->mem);
        }
        inki_bpe_words_free(&part->words, job->mem);
    }
    *n_invalid = to->n_invalid;
    return job_status(job, error);
}

ink_status inki_bpe_count(inki_bpe_words *out, size_t *n_invalid, const inki_str *texts,
                          size_t n_texts, inki_pool *pool, const inki_mem *mem,
                          const inki_bpe_progress *progress, ink_error *error) {
    count_job job = {.mem = mem, .n_parts = inki_pool_n_threads(pool)};
    const size_t n_blocks = (size_t)job.n_parts * BLOCKS_A_THREAD;
    atomic_init(&job.next, 0);
    ink_status status = INK_OK;
    job.parts = inki_alloc_zero(mem, job.n_parts, sizeof *job.parts);
    job.blocks = inki_alloc(mem, n_blocks, sizeof *job.blocks);
    if (job.parts == NULL || job.blocks == NULL)
        status = inki_fail_nomem(error, job.n_parts * sizeof *job.parts);
    if (status == INK_OK) status = count_texts(&job, texts, n_texts, pool, progress, error);
    if (status == INK_OK) status = join_parts(&job, n_invalid, error);
    if (status == INK_OK) {
        *out = job.parts[0].words;
        job.parts[0].words = (inki_bpe_words){0};
    }
    for (uint32_t i = 0; job.parts != NULL && i < job.n_parts; i++)
        inki_bpe_words_free(&job.parts[i].words, mem);
    inki_release(mem, job.parts, job.n_parts, sizeof *job.parts);
    inki_release(mem, job.blocks, n_blocks, sizeof *job.blocks);
    return status;
}
