// SPDX-License-Identifier: MIT
#include "convert/hf_tokenizer.h"

#include "base/utf8.h"
#include "convert/hf_merges.h"
#include "convert/in_file.h"
#include "convert/json_file.h"

#include <stdio.h>
#include <string.h>

static const char tokenizer_file[] = "tokenizer.json";
static const char vocab_file[] = "vocab.json";
static const char added_file[] = "added_tokens.json";
static const char end_text[] = "<|endoftext|>";

enum { VOCAB_MAX_BYTES = 256 << 20, PADDING_BYTES = 20 };

typedef struct vocab_reading {
    inki_hf_tokenizer *t;
    const json_t *vocab; // text → id
    const char *file;    // where it is
    ink_error *error;
} vocab_reading;

// Gives `text` the id. The same text may come a second time with the same id: added tokens repeat
// what is in the vocabulary, to say what kind it is.
static ink_status put_token(vocab_reading *r, const char *file, const char *text, const json_t *id,
                            int32_t type) {
    inki_hf_tokenizer *t = r->t;
    if (!json_is_integer(id))
        return inki_fail(r->error, INK_E_FORMAT, file, 0,
                         "the id of \"%.60s\" is %s, an integer was expected", text,
                         inki_json_kind(id));
    const json_int_t at = json_integer_value(id);
    if (at < 0 || (uint64_t)at >= t->n_tokens)
        return inki_fail(r->error, INK_E_FORMAT, file, 0,
                         "the id of \"%.60s\" is %lld, vocab_size of config.json is %zu", text,
                         (long long)at, t->n_tokens);
    inki_str *slot = &t->tokens[at];
    if (slot->data != NULL && !inki_str_equal(*slot, text))
        return inki_fail(r->error, INK_E_FORMAT, file, 0,
                         "\"%.60s\" and \"%.*s\" have the same id %lld", text,
                         slot->bytes < 60 ? (int)slot->bytes : 60, slot->data, (long long)at);
    const json_t *known = json_object_get(r->vocab, text);
    if (known != NULL && json_integer_value(known) != at)
        return inki_fail(r->error, INK_E_FORMAT, file, 0,
                         "\"%.60s\" has id %lld, in the vocabulary it has %lld", text,
                         (long long)at, (long long)json_integer_value(known));
    *slot = (inki_str){text, strlen(text)};
    t->types[at] = type;
    return INK_OK;
}

static ink_status read_vocab(vocab_reading *r) {
    const char *text;
    json_t *id;
    ink_status status = INK_OK;
    json_object_foreach((json_t *)r->vocab, text, id) {
        status = put_token(r, r->file, text, id, INKI_TOKEN_NORMAL);
        if (status != INK_OK) break;
    }
    return status;
}

// Texts of this look are marks of a model's own even where no file calls them special.
static bool looks_special(const char *text) {
    const size_t n = strlen(text);
    return n >= 4 && memcmp(text, "<|", 2) == 0 && memcmp(text + n - 2, "|>", 2) == 0;
}

// added_tokens of tokenizer.json: [{"id": 50256, "content": "<|endoftext|>", "special": true}, ...]
static ink_status read_added_list(vocab_reading *r, const json_t *list) {
    if (list == NULL || json_is_null(list)) return INK_OK;
    if (!json_is_array(list))
        return inki_fail(r->error, INK_E_FORMAT, tokenizer_file, 0,
                         "added_tokens is %s, an array was expected", inki_json_kind(list));
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *entry = json_array_get(list, i);
        const char *text = json_string_value(json_object_get(entry, "content"));
        bool special = false;
        if (text == NULL || text[0] == 0)
            return inki_fail(r->error, INK_E_FORMAT, tokenizer_file, 0,
                             "added_tokens[%zu].content is no text", i);
        ink_status status = inki_json_get_bool(entry, "tokenizer.json: added_tokens", "special",
                                               &special, r->error);
        if (status != INK_OK) return status;
        special = special || looks_special(text);
        status = put_token(r, tokenizer_file, text, json_object_get(entry, "id"),
                           special ? INKI_TOKEN_CONTROL : INKI_TOKEN_USER_DEFINED);
        if (status != INK_OK) return status;
    }
    return INK_OK;
}

// added_tokens.json beside vocab.json: {"<|user|>": 50257, ...}
static ink_status read_added_file(vocab_reading *r, const char *dir) {
    if (!inki_in_exists(dir, added_file)) return INK_OK;
    ink_status status =
        inki_json_load(&r->t->added, dir, added_file, VOCAB_MAX_BYTES, &r->t->mem, r->error);
    if (status != INK_OK) return status;
    const char *text;
    json_t *id;
    json_object_foreach(r->t->added, text, id) {
        const int32_t type = looks_special(text) ? INKI_TOKEN_CONTROL : INKI_TOKEN_USER_DEFINED;
        status = put_token(r, added_file, text, id, type);
        if (status != INK_OK) break;
    }
    return status;
}

// Ids must be 0 to n - 1; rows of the model beyond them become tokens that no text gives.
static ink_status pad_vocab(vocab_reading *r) {
    inki_hf_tokenizer *t = r->t;
    size_t given = t->n_tokens, first_hole = t->n_tokens;
    while (given > 0 && t->tokens[given - 1].data == NULL) given--;
    for (size_t i = given; i-- > 0;)
        if (t->tokens[i].data == NULL) first_hole = i;
    if (given == 0) return inki_fail(r->error, INK_E_FORMAT, r->file, 0, "the vocabulary is empty");
    if (first_hole < given)
        return inki_fail(r->error, INK_E_FORMAT, r->file, 0,
                         "no token has id %zu, ids from 0 to %zu were expected", first_hole,
                         given - 1);
    t->n_padding = t->n_tokens - given;
    if (t->n_padding == 0) return INK_OK;
    t->padding = inki_alloc(&t->mem, t->n_padding, PADDING_BYTES);
    if (t->padding == NULL) return inki_fail_nomem(r->error, t->n_padding * PADDING_BYTES);
    for (size_t i = 0; i < t->n_padding; i++) {
        char *text = t->padding + i * PADDING_BYTES;
        const int n = snprintf(text, PADDING_BYTES, "[PAD%zu]", given + i);
        if (json_object_get(r->vocab, text) != NULL)
            return inki_fail(r->error, INK_E_FORMAT, r->file, 0,
                             "the vocabulary has \"%s\", which was expected to be free for padding",
                             text);
        t->tokens[given + i] = (inki_str){text, (size_t)n};
        t->types[given + i] = INKI_TOKEN_UNUSED;
    }
    return INK_OK;
}

// bos and eos of config.json are control tokens whatever the tokenizer's files say, unless they are
// ordinary text (a model may end at a line break). Without an eos the token that GPT-2 ends texts
// with is taken.
static ink_status mark_ends(vocab_reading *r, const inki_hf_config *config) {
    inki_hf_tokenizer *t = r->t;
    int32_t end = -1;
    for (size_t i = 0; i < t->n_tokens - t->n_padding && end < 0; i++)
        if (inki_str_equal(t->tokens[i], end_text)) end = (int32_t)i;
    t->eos = config->eos >= 0 ? config->eos : end;
    t->bos = config->bos >= 0 ? config->bos : t->eos;
    const int32_t marks[] = {t->eos, t->bos, end};
    static const char *const keys[] = {"eos_token_id", "bos_token_id", end_text};
    for (int i = 0; i < 3; i++) {
        if (marks[i] < 0) continue;
        if (t->types[marks[i]] == INKI_TOKEN_UNUSED)
            return inki_fail(r->error, INK_E_FORMAT, "config.json", 0,
                             "%s is %d, the vocabulary of %s ends at %zu", keys[i], (int)marks[i],
                             r->file, t->n_tokens - t->n_padding - 1);
        if (!inki_hf_merges_make(t, t->tokens[marks[i]])) t->types[marks[i]] = INKI_TOKEN_CONTROL;
    }
    return INK_OK;
}

// The letters that stand for bytes: printable ones for themselves, the rest from U+0100 on.
static bool is_byte_letter(uint32_t c) {
    return (c >= 33 && c <= 126) || (c >= 161 && c <= 172) || (c >= 174 && c < 256 + 68);
}

static ink_status check_letters(const vocab_reading *r) {
    const inki_hf_tokenizer *t = r->t;
    for (uint32_t c = 0; c < 256 + 68; c++) {
        char letter[5];
        if (!is_byte_letter(c)) continue;
        letter[inki_utf8_encode(c, letter)] = 0;
        if (json_object_get(r->vocab, letter) == NULL)
            return inki_fail(
                r->error, INK_E_FORMAT, r->file, 0,
                "\"%s\" is missing, a token for each of the 256 byte letters was expected", letter);
    }
    for (size_t i = 0; i < t->n_tokens; i++) {
        const inki_str s = t->tokens[i];
        if (t->types[i] != INKI_TOKEN_NORMAL) continue;
        bool fine = s.bytes > 0;
        for (size_t at = 0; fine && at < s.bytes;) {
            uint32_t c = 0;
            const size_t step = inki_utf8_decode((const uint8_t *)s.data + at, s.bytes - at, &c);
            fine = step > 0 && is_byte_letter(c);
            at += step;
        }
        if (!fine)
            return inki_fail(r->error, INK_E_FORMAT, r->file, 0,
                             "token %zu \"%.*s\" is no byte-level text", i,
                             s.bytes < 60 ? (int)s.bytes : 60, s.data);
    }
    return INK_OK;
}

// What tokenizer.json may ask for and GPT-2's tokenizer does not do. Ignoring it would give other
// ids than the model was trained with, without a word.
static ink_status check_pipeline(vocab_reading *r, const json_t *root, const json_t *model) {
    const char *type = "BPE", *split = "ByteLevel";
    bool regex = true, bytes = false, whole = false;
    const json_t *pre = json_object_get(root, "pre_tokenizer"),
                 *normal = json_object_get(root, "normalizer");
    ink_status status = inki_json_get_text(model, "tokenizer.json: model", "type", &type, r->error);
    if (status == INK_OK)
        status =
            inki_json_get_bool(model, "tokenizer.json: model", "byte_fallback", &bytes, r->error);
    if (status == INK_OK)
        status =
            inki_json_get_bool(model, "tokenizer.json: model", "ignore_merges", &whole, r->error);
    static const char where[] = "tokenizer.json: pre_tokenizer";
    if (status == INK_OK) status = inki_json_get_text(pre, where, "type", &split, r->error);
    if (status == INK_OK) status = inki_json_get_bool(pre, where, "use_regex", &regex, r->error);
    if (status == INK_OK)
        status = inki_json_get_bool(pre, where, "add_prefix_space", &r->t->prefix_space, r->error);
    if (status != INK_OK) return status;
    const char *wrong = NULL;
    if (strcmp(type, "BPE") != 0)
        wrong = "model.type was expected to be \"BPE\"";
    else if (bytes)
        wrong = "model.byte_fallback was expected to be false";
    else if (whole)
        wrong = "model.ignore_merges was expected to be false";
    else if (strcmp(split, "ByteLevel") != 0 || !regex)
        wrong = "pre_tokenizer was expected to be ByteLevel with GPT-2's pattern (use_regex true)";
    else if (normal != NULL && !json_is_null(normal))
        wrong = "normalizer was expected to be null";
    return wrong == NULL ? INK_OK
                         : inki_fail(r->error, INK_E_UNSUPPORTED, tokenizer_file, 0, "%s", wrong);
}

static ink_status expect_object(const json_t *value, const char *what, ink_error *error) {
    if (json_is_object(value)) return INK_OK;
    return inki_fail(error, INK_E_FORMAT, tokenizer_file, 0, "%s is %s, an object was expected",
                     what, value == NULL ? "missing" : inki_json_kind(value));
}

static ink_status load_fast(vocab_reading *r, const char *dir, const inki_hf_config *config) {
    inki_hf_tokenizer *t = r->t;
    ink_status status =
        inki_json_load(&t->root, dir, tokenizer_file, VOCAB_MAX_BYTES, &t->mem, r->error);
    if (status != INK_OK) return status;
    const json_t *model = json_object_get(t->root, "model");
    status = expect_object(model, "model", r->error);
    if (status == INK_OK) status = check_pipeline(r, t->root, model);
    r->vocab = json_object_get(model, "vocab");
    r->file = tokenizer_file;
    if (status == INK_OK) status = expect_object(r->vocab, "model.vocab", r->error);
    if (status == INK_OK) status = read_vocab(r);
    if (status == INK_OK) status = read_added_list(r, json_object_get(t->root, "added_tokens"));
    if (status == INK_OK) status = pad_vocab(r);
    if (status == INK_OK)
        status = inki_hf_merges_from_json(t, json_object_get(model, "merges"), r->error);
    if (status == INK_OK) status = mark_ends(r, config);
    if (status == INK_OK) status = check_letters(r);
    if (status == INK_OK) status = inki_hf_merges_check(t, r->vocab, tokenizer_file, r->error);
    return status;
}

static ink_status load_plain(vocab_reading *r, const char *dir, const inki_hf_config *config) {
    inki_hf_tokenizer *t = r->t;
    ink_status status =
        inki_json_load(&t->root, dir, vocab_file, VOCAB_MAX_BYTES, &t->mem, r->error);
    if (status != INK_OK) return status;
    r->vocab = t->root;
    r->file = vocab_file;
    status = read_vocab(r);
    if (status == INK_OK) status = read_added_file(r, dir);
    if (status == INK_OK) status = pad_vocab(r);
    if (status == INK_OK) status = inki_hf_merges_from_text(t, dir, r->error);
    if (status == INK_OK) status = mark_ends(r, config);
    if (status == INK_OK) status = check_letters(r);
    if (status == INK_OK) status = inki_hf_merges_check(t, r->vocab, INKI_MERGES_FILE, r->error);
    return status;
}

ink_status inki_hf_tokenizer_load(inki_hf_tokenizer *out, const char *dir,
                                  const inki_hf_config *config, const inki_mem *mem,
                                  ink_error *error) {
    const bool fast = inki_in_exists(dir, tokenizer_file);
    if (!fast && !inki_in_exists(dir, vocab_file))
        return inki_fail(error, INK_E_NOT_FOUND, tokenizer_file, 0,
                         "is not in the directory, nor are %s and " INKI_MERGES_FILE, vocab_file);
    inki_hf_tokenizer made = {.n_tokens = config->n_vocab, .mem = *mem};
    made.tokens = inki_alloc_zero(mem, made.n_tokens, sizeof *made.tokens);
    made.types = inki_alloc_zero(mem, made.n_tokens, sizeof *made.types);
    vocab_reading reading = {.t = &made, .error = error};
    ink_status status = INK_OK;
    if (made.tokens == NULL || made.types == NULL)
        status = inki_fail_nomem(error, made.n_tokens * sizeof *made.tokens);
    else if (fast)
        status = load_fast(&reading, dir, config);
    else
        status = load_plain(&reading, dir, config);
    if (status != INK_OK) {
        inki_hf_tokenizer_free(&made);
        return status;
    }
    *out = made;
    return INK_OK;
}

void inki_hf_tokenizer_free(inki_hf_tokenizer *t) {
    inki_release(&t->mem, t->tokens, t->n_tokens, sizeof *t->tokens);
    inki_release(&t->mem, t->types, t->n_tokens, sizeof *t->types);
    inki_release(&t->mem, t->merges, t->merges_room, sizeof *t->merges);
    inki_release(&t->mem, t->text, t->text_bytes, 1);
    inki_release(&t->mem, t->joined, t->joined_bytes, 1);
    inki_release(&t->mem, t->padding, t->n_padding, PADDING_BYTES);
    json_decref(t->root);
    json_decref(t->added);
    *t = (inki_hf_tokenizer){0};
}
