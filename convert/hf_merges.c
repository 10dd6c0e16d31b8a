// SPDX-License-Identifier: MIT
#include "convert/hf_merges.h"

#include "base/utf8.h"
#include "convert/in_file.h"
#include "convert/json_file.h"

#include <stdlib.h>
#include <string.h>

enum { MERGES_MAX_BYTES = 256 << 20, SHOWN_BYTES = 60 };

static int shown(inki_str s) { return s.bytes < SHOWN_BYTES ? (int)s.bytes : SHOWN_BYTES; }

static bool merges_reserve(inki_hf_tokenizer *t, size_t n) {
    if (n == 0) return true;
    t->merges = inki_alloc(&t->mem, n, sizeof *t->merges);
    if (t->merges != NULL) t->merges_room = n;
    return t->merges != NULL;
}

ink_status inki_hf_merges_from_text(inki_hf_tokenizer *t, const char *dir, ink_error *error) {
    ink_status status = inki_in_load(&t->text, &t->text_bytes, dir, INKI_MERGES_FILE,
                                     MERGES_MAX_BYTES, &t->mem, error);
    if (status != INK_OK) return status;
    size_t lines = 1;
    for (size_t i = 0; i < t->text_bytes; i++) lines += t->text[i] == '\n';
    if (!merges_reserve(t, lines)) return inki_fail_nomem(error, lines * sizeof *t->merges);
    for (size_t at = 0; at < t->text_bytes;) {
        const char *start = t->text + at, *end = memchr(start, '\n', t->text_bytes - at);
        size_t n = end != NULL ? (size_t)(end - start) : t->text_bytes - at;
        const bool title = at == 0 && n >= 8 && memcmp(start, "#version", 8) == 0;
        at += n + 1;
        if (n > 0 && start[n - 1] == '\r') n--;
        if (n > 0 && !title) t->merges[t->n_merges++] = (inki_str){start, n};
    }
    return INK_OK;
}

// A merge in the newer form takes its two texts, a blank between them and nothing more.
static size_t pair_bytes(const json_t *merge) {
    if (!json_is_array(merge) || json_array_size(merge) != 2) return 0;
    const json_t *a = json_array_get(merge, 0), *b = json_array_get(merge, 1);
    if (!json_is_string(a) || !json_is_string(b)) return 0;
    return json_string_length(a) + 1 + json_string_length(b);
}

ink_status inki_hf_merges_from_json(inki_hf_tokenizer *t, const json_t *merges, ink_error *error) {
    static const char file[] = "tokenizer.json";
    if (!json_is_array(merges))
        return inki_fail(error, INK_E_FORMAT, file, 0, "model.merges is %s, an array was expected",
                         inki_json_kind(merges));
    const size_t n = json_array_size(merges);
    for (size_t i = 0; i < n; i++) {
        const json_t *merge = json_array_get(merges, i);
        if (!json_is_string(merge) && pair_bytes(merge) == 0)
            return inki_fail(error, INK_E_FORMAT, file, 0,
                             "model.merges[%zu] is neither \"a b\" nor [\"a\", \"b\"]", i);
        t->joined_bytes += pair_bytes(merge);
    }
    if (t->joined_bytes > 0) t->joined = inki_alloc(&t->mem, t->joined_bytes, 1);
    if (!merges_reserve(t, n) || (t->joined_bytes > 0 && t->joined == NULL))
        return inki_fail_nomem(error, n * sizeof *t->merges + t->joined_bytes);
    char *next = t->joined;
    for (size_t i = 0; i < n; i++) {
        const json_t *merge = json_array_get(merges, i);
        if (json_is_string(merge)) {
            t->merges[t->n_merges++] =
                (inki_str){json_string_value(merge), json_string_length(merge)};
            continue;
        }
        const json_t *a = json_array_get(merge, 0), *b = json_array_get(merge, 1);
        const size_t n_a = json_string_length(a), n_b = json_string_length(b);
        t->merges[t->n_merges++] = (inki_str){next, n_a + 1 + n_b};
        memcpy(next, json_string_value(a), n_a);
        next[n_a] = ' ';
        memcpy(next + n_a + 1, json_string_value(b), n_b);
        next += n_a + 1 + n_b;
    }
    return INK_OK;
}

bool inki_hf_merges_make(const inki_hf_tokenizer *t, inki_str text) {
    uint32_t c;
    if (inki_utf8_decode((const uint8_t *)text.data, text.bytes, &c) == text.bytes)
        return true; // a byte's letter
    for (size_t i = 0; i < t->n_merges; i++) {
        const inki_str m = t->merges[i];
        const char *blank = memchr(m.data, ' ', m.bytes);
        if (blank == NULL || m.bytes != text.bytes + 1) continue;
        const size_t n_a = (size_t)(blank - m.data);
        if (memcmp(m.data, text.data, n_a) == 0 &&
            memcmp(blank + 1, text.data + n_a, text.bytes - n_a) == 0)
            return true;
    }
    return false;
}

// The id of an ordinary token, or -1. s [n] must have room for a 0 behind it.
static json_int_t ordinary_id(const inki_hf_tokenizer *t, const json_t *vocab, char *s, size_t n) {
    s[n] = 0;
    const json_t *value = json_object_get(vocab, s);
    if (value == NULL) return -1;
    const json_int_t id = json_integer_value(value);
    return t->types[id] == INKI_TOKEN_NORMAL ? id : -1;
}

// scratch has room for the merge's bytes and a 0. NULL and *made, the token that the merge makes;
// or what is wrong.
static const char *merge_trouble(const inki_hf_tokenizer *t, const json_t *vocab, inki_str merge,
                                 char *scratch, json_int_t *made) {
    const char *blank = memchr(merge.data, ' ', merge.bytes);
    if (blank == NULL || memchr(merge.data, 0, merge.bytes) != NULL)
        return "two tokens with a blank between them were expected";
    const size_t n_a = (size_t)(blank - merge.data), n_b = merge.bytes - n_a - 1;
    memcpy(scratch, merge.data, n_a);
    if (ordinary_id(t, vocab, scratch, n_a) < 0)
        return "its first part is no ordinary token of the vocabulary";
    memcpy(scratch, blank + 1, n_b);
    if (ordinary_id(t, vocab, scratch, n_b) < 0)
        return "its second part is no ordinary token of the vocabulary";
    memcpy(scratch, merge.data, n_a);
    memcpy(scratch + n_a, blank + 1, n_b);
    *made = ordinary_id(t, vocab, scratch, n_a + n_b);
    return *made < 0 ? "what it makes is no ordinary token of the vocabulary" : NULL;
}

static int by_text(const void *a, const void *b) {
    const inki_str *x = a, *y = b;
    const int order = memcmp(x->data, y->data, x->bytes < y->bytes ? x->bytes : y->bytes);
    return order != 0 ? order : (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

static ink_status check_twice(const inki_hf_tokenizer *t, const char *file, ink_error *error) {
    inki_str *sorted = inki_alloc(&t->mem, t->n_merges, sizeof *sorted);
    if (sorted == NULL) return inki_fail_nomem(error, t->n_merges * sizeof *sorted);
    memcpy(sorted, t->merges, t->n_merges * sizeof *sorted);
    qsort(sorted, t->n_merges, sizeof *sorted, by_text);
    ink_status status = INK_OK;
    for (size_t i = 1; i < t->n_merges && status == INK_OK; i++)
        if (by_text(&sorted[i - 1], &sorted[i]) == 0)
            status = inki_fail(error, INK_E_FORMAT, file, 0, "the merge \"%.*s\" is there twice",
                               shown(sorted[i]), sorted[i].data);
    inki_release(&t->mem, sorted, t->n_merges, sizeof *sorted);
    return status;
}

// "<pad>", "[UNK]": such a token often stands in a vocabulary without being called special.
static bool looks_like_a_mark(inki_str s) {
    if (s.bytes < 3) return false;
    const char first = s.data[0], last = s.data[s.bytes - 1];
    return (first == '<' && last == '>') || (first == '[' && last == ']');
}

// A merge list that was cut short is well formed; its mark is that the vocabulary has more than the
// merges make.
static ink_status check_all_made(const inki_hf_tokenizer *t, const uint8_t *made, const char *file,
                                 ink_error *error) {
    for (size_t i = 0; i < t->n_tokens; i++) {
        const inki_str s = t->tokens[i];
        uint32_t c;
        if (made[i] != 0 || t->types[i] != INKI_TOKEN_NORMAL || looks_like_a_mark(s)) continue;
        if (inki_utf8_decode((const uint8_t *)s.data, s.bytes, &c) == s.bytes) continue;
        return inki_fail(error, INK_E_FORMAT, file, 0,
                         "no merge makes token %zu \"%.*s\" of the vocabulary (cut short?)", i,
                         shown(s), s.data);
    }
    return INK_OK;
}

ink_status inki_hf_merges_check(const inki_hf_tokenizer *t, const json_t *vocab, const char *file,
                                ink_error *error) {
    size_t longest = 1;
    for (size_t i = 0; i < t->n_merges; i++)
        if (t->merges[i].bytes > longest) longest = t->merges[i].bytes;
    char *scratch = inki_alloc(&t->mem, longest + 1, 1);
    uint8_t *made = inki_alloc_zero(&t->mem, t->n_tokens, 1);
    ink_status status =
        scratch != NULL && made != NULL ? INK_OK : inki_fail_nomem(error, longest + t->n_tokens);
    for (size_t i = 0; i < t->n_merges && status == INK_OK; i++) {
        json_int_t id = 0;
        const char *trouble = merge_trouble(t, vocab, t->merges[i], scratch, &id);
        if (trouble == NULL)
            made[id] = 1;
        else
            status = inki_fail(error, INK_E_FORMAT, file, 0, "merge %zu \"%.*s\": %s", i,
                               shown(t->merges[i]), t->merges[i].data, trouble);
    }
    if (status == INK_OK) status = check_all_made(t, made, file, error);
    inki_release(&t->mem, scratch, longest + 1, 1);
    inki_release(&t->mem, made, t->n_tokens, 1);
    return status == INK_OK && t->n_merges > 0 ? check_twice(t, file, error) : status;
}
