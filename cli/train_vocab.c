// SPDX-License-Identifier: MIT
// The vocabulary of a run: of a model, learnt from the text, or, when a run goes on, made again
// from the merges that were learnt.
#include "cli/train_job.h"

#include <stdlib.h>
#include <string.h>

#include "cli/interrupt.h"
#include "cli/load.h"
#include "cli/report.h"

enum { N_BYTES = 256, MAX_MERGES_BYTES = 1 << 28 };
#define END_TOKEN "<|endoftext|>"

static uint64_t fold(uint64_t hash, const void *data, size_t bytes) {
    const unsigned char *p = data;
    for (size_t i = 0; i < bytes; i++) hash = (hash ^ p[i]) * 0x100000001b3u;
    return hash;
}

// The merges say all: tokens are the bytes, what merges make, and the end. Never 0.
static uint64_t bits_of(const inki_learned_vocab *v) {
    uint64_t hash = 0xcbf29ce484222325u;
    for (uint32_t i = 0; i < v->n_merges; i++) {
        hash = fold(hash, v->merges[i].data, v->merges[i].bytes);
        hash = fold(hash, "\n", 1);
    }
    return hash != 0 ? hash : 1;
}

// --- from merges.txt
// -------------------------------------------------------------------------------

// The letter that stands for a byte, in UTF-8: printable bytes stand for themselves, the others are
// counted from U+0100. Source: openai/gpt-2, encoder.py.
static size_t put_letter(char *out, uint32_t c) {
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    out[0] = (char)(0xc0 | c >> 6);
    out[1] = (char)(0x80 | (c & 0x3f));
    return 2;
}
static bool is_plain(uint32_t byte) {
    return (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte != 0xad);
}

static size_t add_letters(inki_learned_vocab *v, size_t at) {
    uint32_t id = 0;
    for (int plain = 1; plain >= 0; plain--) {
        uint32_t next = 0x100;
        for (uint32_t byte = 0; byte < N_BYTES; byte++) {
            if (is_plain(byte) != (plain == 1)) continue;
            const size_t n = put_letter(v->text + at, plain == 1 ? byte : next++);
            v->tokens[id++] = (inki_str){v->text + at, n};
            at += n;
        }
    }
    return at;
}

static uint32_t count_merges(const cli_bytes *file) {
    uint32_t n = 0;
    for (const char *p = file->data; (p = strchr(p, '\n')) != NULL; p++) n++;
    return n > 0 ? n - 1 : 0; // the first line is the version
}

static bool add_merges(inki_learned_vocab *v, const cli_bytes *file, size_t at) {
    const char *line = strchr(file->data, '\n') + 1;
    for (uint32_t i = 0; i < v->n_merges; i++) {
        const size_t n = strcspn(line, "\n");
        const char *blank = memchr(line, ' ', n);
        if (blank == NULL) return false;
        const size_t left = (size_t)(blank - line), right = n - left - 1;
        memcpy(v->text + at, line, n);
        v->merges[i] = (inki_str){v->text + at, n};
        at += n;
        memcpy(v->text + at, line, left);
        memcpy(v->text + at + left, blank + 1, right);
        v->tokens[N_BYTES + i] = (inki_str){v->text + at, left + right};
        at += left + right;
        line += n + 1;
    }
    memcpy(v->text + at, END_TOKEN, sizeof END_TOKEN - 1);
    v->tokens[v->n_tokens - 1] = (inki_str){v->text + at, sizeof END_TOKEN - 1};
    return true;
}

// False: the file is not there, or is not the one of this run; then the text is learnt from anew.
static bool read_merges(cli_train_job *job) {
    char path[CLI_TRAIN_PATH];
    cli_bytes file = {NULL, 0};
    inki_learned_vocab *v = &job->learned;
    cli_train_path(job, "merges.txt", path);
    FILE *there = fopen(path, "rb");
    if (there == NULL) return false;
    fclose(there);
    if (cli_read_file(path, MAX_MERGES_BYTES, "the list of merges", &file) != CLI_OK) return false;
    bool good = strlen(file.data) == file.n && strchr(file.data, '\n') != NULL;
    if (good) {
        v->mem = job->mem;
        v->n_merges = count_merges(&file);
        v->n_tokens = v->n_merges + N_BYTES + 1;
        v->end_token = (int32_t)v->n_tokens - 1;
        v->text_bytes = 2 * file.n + 2 * N_BYTES + sizeof END_TOKEN;
        v->tokens = inki_alloc(&v->mem, v->n_tokens, sizeof *v->tokens);
        v->merges = inki_alloc(&v->mem, v->n_merges, sizeof *v->merges);
        v->text = inki_alloc(&v->mem, v->text_bytes, 1);
        good = v->tokens != NULL && (v->merges != NULL || v->n_merges == 0) && v->text != NULL &&
               add_merges(v, &file, add_letters(v, 0)) && bits_of(v) == job->vocab_bits;
        if (!good) {
            inki_learned_vocab_free(v);
            memset(v, 0, sizeof *v);
        }
    }
    free(file.data);
    return good;
}

// --- learnt
// ----------------------------------------------------------------------------------------

static int on_learning(void *user, double fraction) {
    if (cli_train_tells()) cli_progress_update(user, fraction);
    return cli_interrupted();
}

static int learn(cli_train_job *job, const inki_str *texts, size_t n_texts) {
    ink_error error = {0};
    cli_progress progress;
    cli_progress_begin(&progress, "learning the vocabulary", false);
    inki_pool *pool = inki_pool_enter(job->compute.pool) ? job->compute.pool : NULL;
    const ink_status status =
        inki_bpe_train(&job->learned, texts, n_texts, (uint32_t)cli_train_set.vocab.value, pool,
                       &job->mem, on_learning, &progress, &error);
    if (pool != NULL) inki_pool_leave(pool);
    cli_progress_end(&progress);
    if (status != INK_OK) return cli_interrupted() ? CLI_INTERRUPTED : cli_fail_ink(status, &error);
    const uint64_t bits = bits_of(&job->learned);
    if (job->vocab_bits != 0 && job->vocab_bits != bits)
        return cli_fail(CLI_FILE,
                        "%s/merges.txt: not the vocabulary of this run, and the text "
                        "gives another one by now",
                        job->dir);
    job->vocab_bits = bits;
    return CLI_OK;
}

// As a model file has texts: a length of 8 bytes before each.
static size_t pack(uint8_t *out, size_t at, const inki_str *texts, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        if (out != NULL) {
            for (unsigned k = 0; k < 8; k++)
                out[at + k] = (uint8_t)((uint64_t)texts[i].bytes >> (8 * k));
            memcpy(out + at + 8, texts[i].data, texts[i].bytes);
        }
        at += 8 + texts[i].bytes;
    }
    return at;
}

static int make_tokenizer(cli_train_job *job) {
    const inki_learned_vocab *v = &job->learned;
    const size_t tokens = pack(NULL, 0, v->tokens, v->n_tokens);
    const size_t merges = pack(NULL, 0, v->merges, v->n_merges);
    uint8_t *block = malloc(tokens + merges + 1);
    ink_error error = {0};
    if (block == NULL) return cli_fail_memory();
    pack(block, 0, v->tokens, v->n_tokens);
    pack(block, tokens, v->merges, v->n_merges);
    const inki_vocab vocab = {.pre = {"gpt-2", 5},
                              .tokens = {block, tokens, v->n_tokens},
                              .merges = {block + tokens, merges, v->n_merges},
                              .end_token = v->end_token};
    const ink_status status = inki_tokenizer_new(&job->own_tokenizer, &vocab, &job->mem, &error);
    free(block);
    if (status != INK_OK) return cli_fail_ink(status, &error);
    job->tokenizer = job->own_tokenizer;
    return CLI_OK;
}

int cli_train_vocabulary(cli_train_job *job, const inki_str *texts, size_t n_texts) {
    const cli_train_model *from = job->init.model != NULL          ? &job->init
                                  : job->vocab_model.model != NULL ? &job->vocab_model
                                                                   : &job->teacher;
    if (from->model != NULL) {
        job->tokenizer = from->view.tokenizer;
        job->like = from->view.gguf;
        return CLI_OK;
    }
    job->learns_vocab = true;
    int code = CLI_OK;
    if (job->vocab_bits == 0 || !read_merges(job)) code = learn(job, texts, n_texts);
    return code == CLI_OK ? make_tokenizer(job) : code;
}

// --- compared, written
// -----------------------------------------------------------------------------

static bool same_entry(const inki_gguf *a, const inki_gguf *b, const char *key) {
    const inki_gguf_kv *x = inki_gguf_find(a, key), *y = inki_gguf_find(b, key);
    if (x == NULL || y == NULL) return x == y;
    return x->type == y->type && x->item_type == y->item_type && x->n == y->n &&
           x->bytes == y->bytes && memcmp(x->data, y->data, x->bytes) == 0;
}

int cli_train_check_teacher(const cli_train_job *job) {
    if (job->teacher.model == NULL || job->like == job->teacher.view.gguf) return CLI_OK;
    const char *what = NULL;
    if (!same_entry(job->like, job->teacher.view.gguf, "tokenizer.ggml.tokens"))
        what = "tokens";
    else if (!same_entry(job->like, job->teacher.view.gguf, "tokenizer.ggml.merges"))
        what = "merges";
    else if (inki_tokenizer_end(job->tokenizer) != inki_tokenizer_end(job->teacher.view.tokenizer))
        what = "end token";
    if (what == NULL) return CLI_OK;
    return cli_fail(CLI_USAGE,
                    "train: the teacher %s has another tokenizer (other %s) than %s; what it "
                    "teaches are probabilities of its own tokens",
                    cli_train_set.teacher, what,
                    job->init.model != NULL ? cli_train_set.init : cli_train_set.tokenizer);
}

static int write_merges(const cli_train_job *job) {
    static const char head[] = "#version: 0.2\n";
    const inki_learned_vocab *v = &job->learned;
    size_t n = sizeof head - 1, at = 0;
    for (uint32_t i = 0; i < v->n_merges; i++) n += v->merges[i].bytes + 1;
    char *text = malloc(n);
    if (text == NULL) return cli_fail_memory();
    memcpy(text, head, sizeof head - 1);
    at = sizeof head - 1;
    for (uint32_t i = 0; i < v->n_merges; i++) {
        memcpy(text + at, v->merges[i].data, v->merges[i].bytes);
        at += v->merges[i].bytes;
        text[at++] = '\n';
    }
    const int code = cli_train_write(job, "merges.txt", text, n);
    free(text);
    return code;
}

int cli_train_write_vocabulary(const cli_train_job *job) {
    const inki_learned_vocab *v = &job->learned;
    json_t *ids = json_object();
    int failed = ids == NULL;
    for (uint32_t i = 0; i < v->n_tokens && !failed; i++) {
        const size_t bytes = v->tokens[i].bytes;
        char *key = malloc(bytes + 1);
        if (key != NULL) {
            memcpy(key, v->tokens[i].data, bytes);
            key[bytes] = 0;
        }
        failed = key == NULL || json_object_set_new(ids, key, json_integer((json_int_t)i)) != 0;
        free(key);
    }
    char *text = failed ? NULL : json_dumps(ids, JSON_COMPACT);
    json_decref(ids);
    if (text == NULL) return cli_fail_memory();
    const int code = cli_train_write(job, "vocab.json", text, strlen(text));
    free(text);
    return code == CLI_OK ? write_merges(job) : code;
}
