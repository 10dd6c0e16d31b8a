// SPDX-License-Identifier: MIT
#include "convert/hf_tokenizer.h"
#include "convert/hf_write_parts.h"

#include <stdio.h>
#include <string.h>

typedef struct vocab_out {
    inki_hf_writing *w;
    size_t n; // tokens that text may give: without the padding at the end
    inki_str_run merges;
    char *key; // [key_bytes] a token's text with a 0 behind it
    size_t key_bytes;
} vocab_out;

// --- what the file has ---------------------------------------------------------------------------

static ink_status check_kind(const inki_gguf *gguf, ink_error *error) {
    inki_str model = {"", 0}, pre = {"", 0};
    ink_status status = inki_gguf_get_str(gguf, "tokenizer.ggml.model", true, &model, error);
    if (status == INK_OK)
        status = inki_gguf_get_str(gguf, "tokenizer.ggml.pre", false, &pre, error);
    if (status != INK_OK) return status;
    const bool fine =
        inki_str_equal(model, "gpt2") &&
        (pre.bytes == 0 || inki_str_equal(pre, "gpt-2") || inki_str_equal(pre, "gpt2"));
    if (fine) return INK_OK;
    return inki_fail(error, INK_E_UNSUPPORTED, "tokenizer.ggml.model", 0,
                     "a byte-level BPE that splits text as GPT-2's does was expected");
}

static ink_status read_types(inki_hf_writing *w, ink_error *error) {
    static const char key[] = "tokenizer.ggml.token_type";
    const uint8_t *items = NULL;
    uint64_t n = 0;
    const ink_status status = inki_gguf_get_i32_run(&w->gguf, key, false, &items, &n, error);
    if (status != INK_OK) return status;
    if (items != NULL && n != w->config.n_vocab)
        return inki_fail(error, INK_E_FORMAT, key, 0, "has %llu items for %u tokens",
                         (unsigned long long)n, (unsigned)w->config.n_vocab);
    for (uint32_t i = 0; i < w->config.n_vocab; i++)
        w->types[i] = items != NULL ? (int32_t)inki_load_u32(items + 4 * (size_t)i)
                                    : (int32_t)INKI_TOKEN_NORMAL;
    return INK_OK;
}

static ink_status read_tokens(vocab_out *v, ink_error *error) {
    static const char key[] = "tokenizer.ggml.tokens";
    inki_hf_writing *w = v->w;
    const uint32_t n = w->config.n_vocab;
    inki_str_run run = {0};
    const ink_status status = inki_gguf_get_str_run(&w->gguf, key, true, &run, error);
    if (status != INK_OK) return status;
    if (run.n != n)
        return inki_fail(error, INK_E_FORMAT, key, 0, "has %llu tokens, the model has rows of %u",
                         (unsigned long long)run.n, (unsigned)n);
    w->tokens = inki_alloc(&w->mem, n, sizeof *w->tokens);
    w->types = inki_alloc(&w->mem, n, sizeof *w->types);
    if (w->tokens == NULL || w->types == NULL) return inki_fail_nomem(error, n * sizeof *w->tokens);
    inki_cursor at = inki_cursor_over(run.data, run.bytes);
    for (uint32_t i = 0; i < n; i++) {
        w->tokens[i] = inki_cursor_str(&at);
        if (w->tokens[i].bytes >= v->key_bytes) v->key_bytes = w->tokens[i].bytes + 1;
    }
    v->key = inki_alloc(&w->mem, v->key_bytes, 1);
    return v->key == NULL ? inki_fail_nomem(error, v->key_bytes) : read_types(w, error);
}

// Rows of the model that no text gives: reading the directory makes them again.
static size_t count_tokens(const inki_hf_writing *w) {
    size_t n = w->config.n_vocab;
    while (n > 0 && w->types[n - 1] == INKI_TOKEN_UNUSED) {
        char text[32];
        snprintf(text, sizeof text, "[PAD%zu]", n - 1);
        if (!inki_str_equal(w->tokens[n - 1], text)) break;
        n--;
    }
    return n;
}

// A merge is a line of merges.txt, so nothing in it may look like the end of one.
static bool is_merge(inki_str s) {
    size_t blanks = 0;
    for (size_t i = 0; i < s.bytes; i++) {
        blanks += s.data[i] == ' ';
        if ((unsigned char)s.data[i] < ' ') return false;
    }
    return blanks == 1 && s.data[0] != ' ' && s.data[s.bytes - 1] != ' ';
}

static ink_status read_merges(vocab_out *v, ink_error *error) {
    static const char key[] = "tokenizer.ggml.merges";
    const ink_status status = inki_gguf_get_str_run(&v->w->gguf, key, true, &v->merges, error);
    if (status != INK_OK) return status;
    inki_cursor at = inki_cursor_over(v->merges.data, v->merges.bytes);
    for (uint64_t i = 0; i < v->merges.n; i++) {
        const inki_str s = inki_cursor_str(&at);
        if (!is_merge(s))
            return inki_fail(error, INK_E_FORMAT, key, 0, "merge %llu is not \"a b\"",
                             (unsigned long long)i);
    }
    return INK_OK;
}

// --- JSON ----------------------------------------------------------------------------------------

static ink_status bad_token(size_t id, const char *what, ink_error *error) {
    return inki_fail(error, INK_E_FORMAT, "tokenizer.ggml.tokens", 0, "token %zu %s", id, what);
}

// {"!": 0, ...} of all tokens that are made by merges, and the marks among them.
static ink_status make_vocab(const vocab_out *v, json_t **out, ink_error *error) {
    const inki_hf_writing *w = v->w;
    json_t *vocab = json_object();
    ink_status status = vocab != NULL ? INK_OK : inki_fail_nomem(error, v->n);
    for (size_t i = 0; i < v->n && status == INK_OK; i++) {
        const inki_str s = w->tokens[i];
        if (w->types[i] == INKI_TOKEN_USER_DEFINED) continue;
        if (s.bytes == 0 || memchr(s.data, 0, s.bytes) != NULL) {
            status = bad_token(i, "is empty or holds a zero byte", error);
            break;
        }
        memcpy(v->key, s.data, s.bytes);
        v->key[s.bytes] = 0;
        json_t *checked = json_string(v->key); // UTF-8, as the key's own setting checks it
        if (checked == NULL)
            status = bad_token(i, "is not UTF-8", error);
        else if (json_object_get(vocab, v->key) != NULL)
            status = bad_token(i, "has the text of another one", error);
        else if (json_object_set_new(vocab, v->key, json_integer((json_int_t)i)) != 0)
            status = inki_fail_nomem(error, v->key_bytes);
        json_decref(checked);
    }
    if (status != INK_OK) {
        json_decref(vocab);
        return status;
    }
    *out = vocab;
    return INK_OK;
}

static bool is_added(const inki_hf_writing *w, size_t id) {
    return w->types[id] == INKI_TOKEN_CONTROL || w->types[id] == INKI_TOKEN_USER_DEFINED;
}

// {"content": "<|endoftext|>", "special": true, ...}; NULL: no memory, or no UTF-8.
static json_t *make_added(const inki_hf_writing *w, size_t id) {
    const inki_str s = w->tokens[id];
    return json_pack("{s:s%, s:b, s:b, s:b, s:b, s:b}", "content", s.data, s.bytes, "lstrip", 0,
                     "normalized", 0, "rstrip", 0, "single_word", 0, "special",
                     w->types[id] == INKI_TOKEN_CONTROL);
}

// Both forms: a list with ids, and an object with ids as keys.
static ink_status make_all_added(const vocab_out *v, json_t **list, json_t **by_id,
                                 ink_error *error) {
    *list = json_array();
    *by_id = json_object();
    for (size_t i = 0; i < v->n; i++) {
        char key[32];
        if (!is_added(v->w, i)) continue;
        json_t *one = make_added(v->w, i), *again = make_added(v->w, i);
        snprintf(key, sizeof key, "%zu", i);
        const bool whole = one != NULL && again != NULL &&
                           json_object_set_new(one, "id", json_integer((json_int_t)i)) == 0;
        if (!whole) {
            json_decref(one);
            json_decref(again);
            return bad_token(i, "is not UTF-8", error);
        }
        if (json_array_append_new(*list, one) != 0 || json_object_set_new(*by_id, key, again) != 0)
            return inki_fail_nomem(error, v->key_bytes);
    }
    return *list != NULL && *by_id != NULL ? INK_OK : inki_fail_nomem(error, v->key_bytes);
}

static ink_status make_merges(const vocab_out *v, json_t **out, ink_error *error) {
    json_t *merges = json_array();
    inki_cursor at = inki_cursor_over(v->merges.data, v->merges.bytes);
    for (uint64_t i = 0; i < v->merges.n; i++) {
        const inki_str s = inki_cursor_str(&at);
        if (json_array_append_new(merges, json_stringn(s.data, s.bytes)) != 0) {
            json_decref(merges);
            return inki_fail(error, INK_E_FORMAT, "tokenizer.ggml.merges", 0,
                             "merge %llu is not UTF-8", (unsigned long long)i);
        }
    }
    *out = merges;
    return INK_OK;
}

static json_t *byte_level(int prefix_space, int trim) {
    return json_pack("{s:s, s:b, s:b, s:b}", "type", "ByteLevel", "add_prefix_space", prefix_space,
                     "trim_offsets", trim, "use_regex", 1);
}

// --- files ---------------------------------------------------------------------------------------

// Takes vocab's, list's and merges' references.
static ink_status write_fast(const vocab_out *v, json_t *vocab, json_t *list, json_t *merges,
                             ink_error *error) {
    json_t *model = json_pack("{s:s, s:n, s:n, s:s, s:s, s:b, s:b, s:b, s:o, s:o}", "type", "BPE",
                              "dropout", "unk_token", "continuing_subword_prefix", "",
                              "end_of_word_suffix", "", "fuse_unk", 0, "byte_fallback", 0,
                              "ignore_merges", 0, "vocab", vocab, "merges", merges);
    json_t *root =
        json_pack("{s:s, s:n, s:n, s:o, s:n, s:o, s:o, s:o, s:o}", "version", "1.0", "truncation",
                  "padding", "added_tokens", list, "normalizer", "pre_tokenizer", byte_level(0, 1),
                  "post_processor", byte_level(1, 0), "decoder", byte_level(1, 1), "model", model);
    return inki_hf_write_json(v->w, "tokenizer.json", root, error);
}

// The text of a mark, as other files name it: null where there is none or it is ordinary text.
static json_t *mark_or_null(const vocab_out *v, int32_t id) {
    if (id < 0 || v->w->types[id] != INKI_TOKEN_CONTROL) return json_null();
    return json_stringn(v->w->tokens[id].data, v->w->tokens[id].bytes);
}

// Takes by_id's reference.
static ink_status write_settings(const vocab_out *v, json_t *by_id, ink_error *error) {
    const inki_hf_config *c = &v->w->config;
    json_t *root =
        json_pack("{s:s, s:b, s:b, s:o, s:o, s:o, s:s, s:i, s:o}", "tokenizer_class",
                  "GPT2Tokenizer", "add_prefix_space", 0, "clean_up_tokenization_spaces", 0,
                  "bos_token", mark_or_null(v, c->bos), "eos_token", mark_or_null(v, c->eos),
                  "unk_token", mark_or_null(v, c->eos), "errors", "replace", "model_max_length",
                  (int)c->n_ctx, "added_tokens_decoder", by_id);
    return inki_hf_write_json(v->w, "tokenizer_config.json", root, error);
}

static ink_status write_marks(const vocab_out *v, ink_error *error) {
    const inki_hf_config *c = &v->w->config;
    static const char *const keys[] = {"bos_token", "eos_token", "unk_token"};
    const int32_t ids[] = {c->bos, c->eos, c->eos};
    json_t *root = json_object();
    for (int i = 0; i < 3; i++)
        if (ids[i] >= 0 && v->w->types[ids[i]] == INKI_TOKEN_CONTROL &&
            json_object_set_new(root, keys[i], mark_or_null(v, ids[i])) != 0) {
            json_decref(root);
            root = NULL;
        }
    return inki_hf_write_json(v->w, "special_tokens_map.json", root, error);
}

static ink_status write_merges(const vocab_out *v, ink_error *error) {
    static const char head[] = "#version: 0.2\n";
    // A line end takes less than the length that stands before each text in the file.
    const size_t cap = sizeof head + v->merges.bytes;
    char *text = inki_alloc(&v->w->mem, cap, 1);
    if (text == NULL) return inki_fail_nomem(error, cap);
    size_t used = sizeof head - 1;
    memcpy(text, head, used);
    inki_cursor at = inki_cursor_over(v->merges.data, v->merges.bytes);
    for (uint64_t i = 0; i < v->merges.n; i++) {
        const inki_str s = inki_cursor_str(&at);
        memcpy(text + used, s.data, s.bytes);
        used += s.bytes;
        text[used++] = '\n';
    }
    inki_out out = {.fd = -1};
    ink_status status = inki_hf_out_open(v->w, &out, "merges.txt", error);
    if (status == INK_OK) {
        status = inki_out_write(&out, text, used, error);
        if (status == INK_OK)
            status = inki_out_commit(&out, error);
        else
            inki_out_discard(&out);
    }
    inki_release(&v->w->mem, text, cap, 1);
    return status;
}

static ink_status write_files(vocab_out *v, ink_error *error) {
    json_t *vocab = NULL, *list = NULL, *by_id = NULL, *merges = NULL;
    ink_status status = make_vocab(v, &vocab, error);
    if (status == INK_OK) status = make_all_added(v, &list, &by_id, error);
    if (status == INK_OK) status = make_merges(v, &merges, error);
    if (status == INK_OK)
        status = inki_hf_write_json(v->w, "vocab.json", json_incref(vocab), error);
    if (status == INK_OK)
        status = write_fast(v, json_incref(vocab), json_incref(list), json_incref(merges), error);
    if (status == INK_OK) status = write_settings(v, json_incref(by_id), error);
    if (status == INK_OK) status = write_marks(v, error);
    if (status == INK_OK) status = write_merges(v, error);
    json_decref(vocab);
    json_decref(list);
    json_decref(by_id);
    json_decref(merges);
    return status;
}

ink_status inki_hf_write_tokenizer(inki_hf_writing *w, ink_error *error) {
    vocab_out v = {.w = w, .key_bytes = 1};
    ink_status status = check_kind(&w->gguf, error);
    if (status == INK_OK) status = read_tokens(&v, error);
    if (status == INK_OK) status = read_merges(&v, error);
    if (status == INK_OK) {
        v.n = count_tokens(w);
        status = write_files(&v, error);
    }
    inki_release(&w->mem, v.key, v.key_bytes, 1);
    return status;
}
