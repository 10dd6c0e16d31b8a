// SPDX-License-Identifier: MIT
// Builds a tokenizer from the vocabulary in a model file, none of which is trusted.
#include "tokenizer/tokenizer_parts.h"

#include <string.h>

static const char tokens_key[] = "tokenizer.ggml.tokens";
static const char types_key[] = "tokenizer.ggml.token_type";
static const char merges_key[] = "tokenizer.ggml.merges";

typedef struct tokenizer_build {
    inki_tokenizer *t;
    const inki_vocab *vocab;
    inki_str *texts;          // [n_vocab] as in the file
    inki_token_index by_text; // texts → id
    uint64_t seed;
    char *joined;         // [JOINED_BYTES] both parts of a merge
    uint32_t next_result; // where the result of the next merge probably stands
    ink_error *error;
} tokenizer_build;

enum { JOINED_BYTES = 2 * INKI_MAX_TOKEN_BYTES };

// How much of a text goes into a message.
static int shown_bytes(inki_str text) { return text.bytes > 40 ? 40 : (int)text.bytes; }

// n texts of 8 bytes at least must fit into the run; otherwise the count is a lie, and nothing may
// be allocated on its word.
static ink_status check_run(const inki_str_run *run, const char *key, uint64_t most,
                            ink_error *error) {
    if (run->n > run->bytes / 8)
        return inki_fail(error, INK_E_FORMAT, key, 0, "%llu entries do not fit into %zu bytes",
                         (unsigned long long)run->n, run->bytes);
    if (run->n > most)
        return inki_fail(error, INK_E_LIMIT, key, 0, "%llu entries; at most %llu are supported",
                         (unsigned long long)run->n, (unsigned long long)most);
    return INK_OK;
}

static ink_status check_vocab(const inki_vocab *vocab, ink_error *error) {
    if (vocab->pre.bytes > 0 && !inki_str_equal(vocab->pre, "gpt-2") &&
        !inki_str_equal(vocab->pre, "gpt2"))
        return inki_fail(error, INK_E_UNSUPPORTED, "tokenizer.ggml.pre", 0,
                         "pre-tokenizer \"%.*s\"; only \"gpt-2\" is supported",
                         shown_bytes(vocab->pre), vocab->pre.data);
    ink_status status = check_run(&vocab->tokens, tokens_key, INKI_MAX_TOKENS, error);
    if (status == INK_OK) status = check_run(&vocab->merges, merges_key, INKI_MAX_MERGES, error);
    if (status != INK_OK) return status;
    if (vocab->tokens.n == 0)
        return inki_fail(error, INK_E_FORMAT, tokens_key, 0, "there are no tokens");
    if (vocab->types != NULL && vocab->n_types != vocab->tokens.n)
        return inki_fail(error, INK_E_FORMAT, types_key, 0, "%llu entries for %llu tokens",
                         (unsigned long long)vocab->n_types, (unsigned long long)vocab->tokens.n);
    if (vocab->end_token < -1 ||
        (vocab->end_token >= 0 && (uint64_t)vocab->end_token >= vocab->tokens.n))
        return inki_fail(error, INK_E_FORMAT, "tokenizer.ggml.eos_token_id", 0,
                         "token %d is outside the vocabulary of %llu", (int)vocab->end_token,
                         (unsigned long long)vocab->tokens.n);
    return INK_OK;
}

static uint32_t type_of_token(const inki_vocab *vocab, uint32_t id) {
    if (vocab->types == NULL) return INKI_TYPE_NORMAL;
    return inki_load_u32(vocab->types + (size_t)id * 4);
}

// Decides what a token is and writes the bytes that it stands for, of which there is room for
// text.bytes.
static ink_status read_token(tokenizer_build *b, uint32_t id, char *out, size_t *bytes) {
    const inki_str text = b->texts[id];
    const uint32_t type = type_of_token(b->vocab, id);
    if (text.bytes > INKI_MAX_TOKEN_BYTES)
        return inki_fail(b->error, INK_E_LIMIT, tokens_key, 0,
                         "token %u has %zu bytes; at most %d are supported", (unsigned)id,
                         text.bytes, (int)INKI_MAX_TOKEN_BYTES);
    inki_token_kind kind = INKI_KIND_TEXT;
    if (type == INKI_TYPE_USER_DEFINED)
        kind = INKI_KIND_USER;
    else if (type == INKI_TYPE_CONTROL || type == INKI_TYPE_UNKNOWN)
        kind = INKI_KIND_SPECIAL;
    else if (!inki_byte_text_decode(text, out, bytes))
        kind = INKI_KIND_RAW;
    if (kind == INKI_KIND_RAW && type == INKI_TYPE_NORMAL)
        return inki_fail(b->error, INK_E_FORMAT, tokens_key, 0,
                         "token %u (\"%.*s\") is not in the byte-to-unicode form", (unsigned)id,
                         shown_bytes(text), text.data);
    if (kind >= INKI_KIND_USER && text.bytes > INKI_SPECIAL_MAX_BYTES)
        return inki_fail(b->error, INK_E_LIMIT, tokens_key, 0,
                         "special token %u has %zu bytes; at most %d are supported", (unsigned)id,
                         text.bytes, (int)INKI_SPECIAL_MAX_BYTES);
    if (kind != INKI_KIND_TEXT) {
        if (text.bytes > 0) memcpy(out, text.data, text.bytes);
        *bytes = text.bytes;
    } else if (*bytes == 1) {
        b->t->bpe.byte_ids[(uint8_t)out[0]] = (int32_t)id;
    }
    b->t->kinds[id] = (uint8_t)kind;
    return INK_OK;
}

// The room that the blob needs at most is known before anything is decoded: the run without its
// lengths.
static ink_status read_texts(tokenizer_build *b) {
    inki_tokenizer *t = b->t;
    t->blob_cap = b->vocab->tokens.bytes - 8 * (size_t)t->n_vocab;
    if (t->blob_cap > INT32_MAX)
        return inki_fail(b->error, INK_E_LIMIT, tokens_key, 0, "the tokens have more than %d bytes",
                         (int)INT32_MAX);
    if (t->blob_cap > 0) {
        t->blob = inki_alloc(&t->mem, t->blob_cap, 1);
        if (t->blob == NULL) return inki_fail_nomem(b->error, t->blob_cap);
    }
    for (unsigned byte = 0; byte < 256; byte++) t->bpe.byte_ids[byte] = -1;
    inki_cursor cursor = inki_cursor_over(b->vocab->tokens.data, b->vocab->tokens.bytes);
    size_t total = 0;
    for (uint32_t id = 0; id < t->n_vocab; id++) {
        b->texts[id] = inki_cursor_str(&cursor);
        if (cursor.failed)
            return inki_fail(b->error, INK_E_FORMAT, tokens_key, 0,
                             "token %u goes past the end of the list", (unsigned)id);
        if (cursor.at - 8 * ((size_t)id + 1) > t->blob_cap) // it would not fit the blob either
            return inki_fail(b->error, INK_E_FORMAT, tokens_key, 0,
                             "token %u leaves no room for those after it", (unsigned)id);
        size_t bytes = 0;
        const ink_status status =
            read_token(b, id, t->blob != NULL ? t->blob + total : NULL, &bytes);
        if (status != INK_OK) return status;
        t->offsets[id] = (uint32_t)total;
        total += bytes;
    }
    t->offsets[t->n_vocab] = (uint32_t)total;
    for (unsigned byte = 0; byte < 256; byte++)
        if (t->bpe.byte_ids[byte] < 0)
            return inki_fail(b->error, INK_E_FORMAT, tokens_key, 0,
                             "no token stands for byte 0x%02x; each byte needs one", byte);
    return INK_OK;
}

static uint32_t find_text(const tokenizer_build *b, inki_str text, uint64_t hash) {
    uint32_t probe = 0, id;
    while ((id = inki_token_index_next(&b->by_text, hash, &probe)) != INKI_INDEX_NONE)
        if (b->texts[id].bytes == text.bytes &&
            memcmp(b->texts[id].data, text.data, text.bytes) == 0)
            break;
    return id;
}

// Readers disagree on which of two equal tokens counts, so both would be a guess: refused.
// *crowded: a chain of the index grew too long under this seed.
static ink_status index_texts(tokenizer_build *b, bool *crowded) {
    *crowded = false;
    for (uint32_t id = 0; id < b->t->n_vocab; id++) {
        const inki_str text = b->texts[id];
        if (text.bytes == 0) continue;
        const uint64_t hash = inki_token_hash_text(text.data, text.bytes, b->seed);
        const uint32_t other = find_text(b, text, hash);
        if (other != INKI_INDEX_NONE)
            return inki_fail(b->error, INK_E_FORMAT, tokens_key, 0,
                             "tokens %u and %u are both \"%.*s\"", (unsigned)other, (unsigned)id,
                             shown_bytes(text), text.data);
        *crowded = !inki_token_index_put(&b->by_text, hash, id);
        if (*crowded) break;
    }
    return INK_OK;
}

// An ordinary token with this text; what is control or user-defined may not come out of merging.
static int32_t merge_part(const tokenizer_build *b, const char *text, size_t bytes) {
    const uint32_t id =
        find_text(b, (inki_str){text, bytes}, inki_token_hash_text(text, bytes, b->seed));
    return id != INKI_INDEX_NONE && b->t->kinds[id] == INKI_KIND_TEXT ? (int32_t)id : -1;
}

// The token that both parts make. Vocabularies list the results of merges in their order, so the
// one after the last result is looked at first.
static int32_t merge_result(tokenizer_build *b, inki_str left, inki_str right) {
    const size_t bytes = left.bytes + right.bytes;
    uint32_t id = b->next_result;
    if (id < b->t->n_vocab && b->t->kinds[id] == INKI_KIND_TEXT && b->texts[id].bytes == bytes &&
        memcmp(b->texts[id].data, left.data, left.bytes) == 0 &&
        memcmp(b->texts[id].data + left.bytes, right.data, right.bytes) == 0) {
        b->next_result++;
        return (int32_t)id;
    }
    memcpy(b->joined, left.data, left.bytes); // both are in the vocabulary, so both are short
    memcpy(b->joined + left.bytes, right.data, right.bytes);
    const int32_t result = merge_part(b, b->joined, bytes);
    if (result >= 0) b->next_result = (uint32_t)result + 1;
    return result;
}

// The blank between the parts is the first one after the first character: a token in the
// byte-to-unicode form has none inside.
static ink_status read_merge(tokenizer_build *b, uint32_t rank, inki_str text) {
    const char *blank = text.bytes > 2 ? memchr(text.data + 1, ' ', text.bytes - 2) : NULL;
    if (blank == NULL)
        return inki_fail(b->error, INK_E_FORMAT, merges_key, 0,
                         "merge %u (\"%.*s\") is not two parts with a blank between",
                         (unsigned)rank, shown_bytes(text), text.data);
    const inki_str left = {text.data, (size_t)(blank - text.data)};
    const inki_str right = {blank + 1, text.bytes - left.bytes - 1};
    inki_bpe_merge merge = {merge_part(b, left.data, left.bytes),
                            merge_part(b, right.data, right.bytes), -1};
    if (merge.left >= 0 && merge.right >= 0) merge.result = merge_result(b, left, right);
    if (merge.result < 0)
        return inki_fail(b->error, INK_E_FORMAT, merges_key, 0,
                         "merge %u (\"%.*s\"): %s is no ordinary token of the vocabulary",
                         (unsigned)rank, shown_bytes(text), text.data,
                         merge.left < 0    ? "the first part"
                         : merge.right < 0 ? "the second part"
                                           : "the result");
    b->t->bpe.merges[rank] = merge;
    return INK_OK;
}

static ink_status read_merges(tokenizer_build *b) {
    inki_cursor cursor = inki_cursor_over(b->vocab->merges.data, b->vocab->merges.bytes);
    for (uint32_t rank = 0; rank < b->t->bpe.n_merges; rank++) {
        const inki_str text = inki_cursor_str(&cursor);
        if (cursor.failed)
            return inki_fail(b->error, INK_E_FORMAT, merges_key, 0,
                             "merge %u goes past the end of the list", (unsigned)rank);
        const ink_status status = read_merge(b, rank, text);
        if (status != INK_OK) return status;
    }
    return INK_OK;
}

// A pair that stands twice is refused: the reference encoder takes its last rank, others its first.
static ink_status index_merges(tokenizer_build *b, bool *crowded) {
    inki_bpe *bpe = &b->t->bpe;
    *crowded = false;
    for (uint32_t rank = 0; rank < bpe->n_merges; rank++) {
        const inki_bpe_merge *m = &bpe->merges[rank];
        const uint32_t other = inki_bpe_rank(bpe, m->left, m->right);
        if (other != INKI_INDEX_NONE)
            return inki_fail(b->error, INK_E_FORMAT, merges_key, 0, "merges %u and %u are the same",
                             (unsigned)other, (unsigned)rank);
        const uint64_t hash =
            inki_token_hash_pair((uint32_t)m->left, (uint32_t)m->right, bpe->seed);
        *crowded = !inki_token_index_put(&bpe->pairs, hash, rank);
        if (*crowded) break;
    }
    return INK_OK;
}

// Runs `fill` under one seed after the other until no chain of the index is too long.
static ink_status index_with_seeds(tokenizer_build *b, inki_token_index *index, uint64_t *seed,
                                   const char *key, ink_status (*fill)(tokenizer_build *, bool *)) {
    bool crowded = true;
    for (uint32_t attempt = 0; attempt < INKI_INDEX_SEEDS && crowded; attempt++) {
        *seed = inki_token_seed(attempt);
        if (attempt > 0) inki_token_index_clear(index); // it was made empty
        const ink_status status = fill(b, &crowded);
        if (status != INK_OK) return status;
    }
    if (!crowded) return INK_OK;
    return inki_fail(b->error, INK_E_LIMIT, key, 0,
                     "the entries collide under every hash that is tried");
}

static ink_status build_texts(tokenizer_build *b) {
    inki_tokenizer *t = b->t;
    const size_t n = t->n_vocab;
    t->kinds = inki_alloc(&t->mem, n, sizeof *t->kinds);
    t->offsets = inki_alloc(&t->mem, n + 1, sizeof *t->offsets);
    b->texts = inki_alloc(&t->mem, n, sizeof *b->texts);
    if (t->kinds == NULL || t->offsets == NULL || b->texts == NULL)
        return inki_fail_nomem(b->error, n * sizeof *b->texts);
    const ink_status status = read_texts(b);
    if (status != INK_OK) return status;
    if (!inki_token_index_new(&b->by_text, t->n_vocab, &t->mem))
        return inki_fail_nomem(b->error, n * 16);
    return index_with_seeds(b, &b->by_text, &b->seed, tokens_key, index_texts);
}

static ink_status build_merges(tokenizer_build *b) {
    inki_tokenizer *t = b->t;
    const uint32_t n = (uint32_t)b->vocab->merges.n;
    if (!inki_token_index_new(&t->bpe.pairs, n, &t->mem))
        return inki_fail_nomem(b->error, (size_t)n * 16);
    if (n == 0) return INK_OK;
    t->bpe.merges = inki_alloc(&t->mem, n, sizeof *t->bpe.merges);
    if (t->bpe.merges == NULL) return inki_fail_nomem(b->error, n * sizeof *t->bpe.merges);
    t->bpe.n_merges = n;
    b->joined = inki_alloc(&t->mem, JOINED_BYTES, 1);
    if (b->joined == NULL) return inki_fail_nomem(b->error, JOINED_BYTES);
    const ink_status status = read_merges(b);
    if (status != INK_OK) return status;
    return index_with_seeds(b, &t->bpe.pairs, &t->bpe.seed, merges_key, index_merges);
}

// Old files call the end token normal. It is special all the same, unless it is a word that merging
// makes.
static void choose_end(tokenizer_build *b) {
    static const char end_text[] = "<|endoftext|>";
    inki_tokenizer *t = b->t;
    t->end = b->vocab->end_token;
    if (t->end < 0) {
        const inki_str text = {end_text, sizeof end_text - 1};
        const uint32_t id =
            find_text(b, text, inki_token_hash_text(text.data, text.bytes, b->seed));
        t->end = id != INKI_INDEX_NONE ? (int32_t)id : -1;
    }
    if (t->end < 0) return;
    const size_t bytes = inki_tokenizer_piece(t, t->end).bytes;
    if (t->kinds[t->end] == INKI_KIND_TEXT && (bytes < 2 || bytes > INKI_SPECIAL_MAX_BYTES)) return;
    if (t->kinds[t->end] == INKI_KIND_RAW && bytes > INKI_SPECIAL_MAX_BYTES) return;
    for (uint32_t rank = 0; rank < t->bpe.n_merges; rank++)
        if (t->bpe.merges[rank].result == t->end) return;
    t->kinds[t->end] = INKI_KIND_SPECIAL;
}

// An empty text would match everywhere.
static bool read_as_it_is(const inki_tokenizer *t, uint32_t id) {
    return t->kinds[id] >= INKI_KIND_USER && t->offsets[id + 1] > t->offsets[id];
}

static ink_status build_specials(tokenizer_build *b) {
    inki_tokenizer *t = b->t;
    uint32_t n = 0;
    for (uint32_t id = 0; id < t->n_vocab; id++) n += read_as_it_is(t, id);
    if (n == 0) return INK_OK;
    t->specials.list = inki_alloc(&t->mem, n, sizeof *t->specials.list);
    if (t->specials.list == NULL) return inki_fail_nomem(b->error, n * sizeof *t->specials.list);
    for (uint32_t id = 0; id < t->n_vocab; id++) {
        if (!read_as_it_is(t, id)) continue;
        t->specials.list[t->specials.n++] = (inki_special){
            inki_tokenizer_piece(t, (int32_t)id), (int32_t)id, t->kinds[id] == INKI_KIND_SPECIAL};
    }
    inki_specials_prepare(&t->specials);
    return INK_OK;
}

void inki_tokenizer_free(inki_tokenizer *t) {
    if (t == NULL) return;
    const inki_mem mem = t->mem;
    inki_release(&mem, t->kinds, t->n_vocab, sizeof *t->kinds);
    inki_release(&mem, t->offsets, (size_t)t->n_vocab + 1, sizeof *t->offsets);
    inki_release(&mem, t->blob, t->blob_cap, 1);
    inki_release(&mem, t->specials.list, t->specials.n, sizeof *t->specials.list);
    inki_release(&mem, t->bpe.merges, t->bpe.n_merges, sizeof *t->bpe.merges);
    inki_token_index_free(&t->bpe.pairs, &mem);
    inki_release(&mem, t, 1, sizeof *t);
}

ink_status inki_tokenizer_new(inki_tokenizer **out, const inki_vocab *vocab, const inki_mem *mem,
                              ink_error *error) {
    ink_status status = check_vocab(vocab, error);
    if (status != INK_OK) return status;
    inki_tokenizer *t = inki_alloc_zero(mem, 1, sizeof *t);
    if (t == NULL) return inki_fail_nomem(error, sizeof *t);
    t->mem = *mem;
    t->n_vocab = (uint32_t)vocab->tokens.n;
    tokenizer_build b = {.t = t, .vocab = vocab, .error = error};
    status = build_texts(&b);
    if (status == INK_OK) status = build_merges(&b);
    if (status == INK_OK) {
        choose_end(&b);
        status = build_specials(&b);
    }
    inki_release(mem, b.joined, JOINED_BYTES, 1);
    inki_release(mem, b.texts, t->n_vocab, sizeof *b.texts);
    inki_token_index_free(&b.by_text, mem);
    if (status == INK_OK)
        *out = t;
    else
        inki_tokenizer_free(t);
    return status;
}
