// SPDX-License-Identifier: MIT
#include "grammar/grammar.h"

#include "base/json.h"
#include "base/utf8.h"
#include "grammar/grammar_parts.h"

#include <stdio.h>
#include <string.h>

void *inki_grammar_vec_add(inki_vec *v, const inki_mem *mem, size_t n, size_t elem_bytes) {
    if (n > v->cap - v->n) {
        const size_t cap = v->n + n + v->cap + 16;
        void *data = inki_alloc(mem, cap, elem_bytes);
        if (data == NULL) return NULL;
        if (v->n > 0) memcpy(data, v->data, v->n * elem_bytes);
        inki_release(mem, v->data, v->cap, elem_bytes);
        v->data = data;
        v->cap = cap;
    }
    void *added = (char *)v->data + v->n * elem_bytes;
    v->n += n;
    return added;
}

void inki_grammar_vec_free(inki_vec *v, const inki_mem *mem, size_t elem_bytes) {
    inki_release(mem, v->data, v->cap, elem_bytes);
    *v = (inki_vec){0};
}

uint32_t inki_grammar_sort(uint64_t *numbers, uint32_t n) {
    uint32_t gap = 1, left = 0;
    while (gap < n / 3) gap = 3 * gap + 1;
    for (; gap > 0; gap /= 3)
        for (uint32_t i = gap; i < n; i++) {
            const uint64_t number = numbers[i];
            uint32_t k = i;
            for (; k >= gap && numbers[k - gap] > number; k -= gap) numbers[k] = numbers[k - gap];
            numbers[k] = number;
        }
    for (uint32_t i = 0; i < n; i++)
        if (left == 0 || numbers[left - 1] != numbers[i]) numbers[left++] = numbers[i];
    return left;
}

void inki_gbnf_fail(inki_gbnf *r, ink_status status, size_t at, const char *text) {
    uint32_t line, column;
    if (r->status != INK_OK) return;
    inki_json_place(r->text, at, &line, &column);
    r->status = inki_fail(r->error, status, NULL, at, "line %u, column %u: %s", line, column, text);
}

void inki_gbnf_fail_rule(inki_gbnf *r, size_t at, inki_str name, const char *text) {
    char whole[128];
    snprintf(whole, sizeof whole, "rule \"%.*s\" %s", name.bytes < 64 ? (int)name.bytes : 64,
             name.data, text);
    inki_gbnf_fail(r, INK_E_FORMAT, at, whole);
}

bool inki_gbnf_alike(inki_gbnf *r) {
    if (++r->n_alike > INKI_GBNF_ALIKE)
        inki_gbnf_fail(r, INK_E_LIMIT, r->at, "too many names or classes that are alike");
    return r->status == INK_OK;
}

void *inki_gbnf_add(inki_gbnf *r, inki_vec *v, size_t n, size_t elem_bytes) {
    void *added = r->status == INK_OK ? inki_grammar_vec_add(v, &r->g->mem, n, elem_bytes) : NULL;
    if (added == NULL && r->status == INK_OK) r->status = inki_fail_nomem(r->error, r->n);
    return added;
}

void inki_grammar_free(inki_grammar *g) {
    if (g == NULL) return;
    const inki_mem mem = g->mem;
    inki_grammar_vec_free(&g->source, &mem, 1);
    inki_grammar_vec_free(&g->nodes, &mem, sizeof(inki_node));
    inki_grammar_vec_free(&g->rules, &mem, sizeof(inki_rule));
    inki_grammar_vec_free(&g->sets, &mem, sizeof(inki_byte_set));
    inki_release(&mem, g, 1, sizeof *g);
}

const char *inki_grammar_source(const inki_grammar *g, size_t *bytes) {
    *bytes = g->source.n - 1;
    return g->source.data;
}

// Whether some bytes of one class are in the set, and others are not. Of many sets few do that.
static bool splits_class(const inki_byte_set *set, const inki_byte_set *classes, unsigned n) {
    bool splits = false;
    for (unsigned c = 0; c < n && !splits; c++) {
        uint64_t in = 0, out = 0;
        for (int w = 0; w < 4; w++) {
            in |= classes[c].words[w] & set->words[w];
            out |= classes[c].words[w] & ~set->words[w];
        }
        splits = in != 0 && out != 0;
    }
    return splits;
}

// Sets of bytes become sets of classes.
static void find_classes(inki_grammar *g) {
    inki_byte_set *sets = g->sets.data;
    inki_byte_set classes[256];
    uint8_t of[256] = {0}, first[256] = {0};
    unsigned n = 1;
    memset(classes, 0xff, sizeof *classes);
    for (size_t i = 0; i < g->sets.n && n < 256; i++) {
        uint16_t other[256] = {0}; // the class of those in the set, + 1
        uint16_t left[256] = {0};  // whether some of a class are not in it
        if (!splits_class(&sets[i], classes, n)) continue;
        for (unsigned b = 0; b < 256; b++) left[of[b]] |= !inki_set_has(&sets[i], b);
        for (unsigned b = 0; b < 256; b++) {
            if (!left[of[b]] || !inki_set_has(&sets[i], b)) continue;
            uint16_t *to = &other[of[b]];
            if (*to == 0) *to = (uint16_t)++n;
            of[b] = (uint8_t)(*to - 1);
        }
        memset(classes, 0, n * sizeof *classes);
        for (unsigned b = 0; b < 256; b++) inki_set_add(&classes[of[b]], b);
    }
    for (unsigned b = 256; b-- > 0;) first[of[b]] = (uint8_t)b;
    memcpy(g->class_of, of, sizeof of);
    g->n_classes = n;
    for (size_t i = 0; i < g->sets.n; i++) {
        inki_byte_set set = {{0}};
        for (unsigned c = 0; c < n; c++)
            if (inki_set_has(&sets[i], first[c])) inki_set_add(&set, c);
        sets[i] = set;
    }
}

static void check_text(inki_gbnf *r) {
    uint32_t c;
    for (size_t i = 0, step; i < r->n; i += step) {
        step = inki_utf8_decode((const uint8_t *)r->text + i, r->n - i, &c);
        if (step == 0) {
            inki_gbnf_fail(r, INK_E_UTF8, i, "the grammar is not UTF-8");
            return;
        }
    }
}

ink_status inki_grammar_parse(inki_grammar **out, const char *gbnf, size_t bytes,
                              const inki_mem *mem, ink_error *error) {
    if (bytes > INKI_GRAMMAR_MAX_BYTES)
        return inki_fail(error, INK_E_LIMIT, NULL, 0, "a grammar of %zu bytes; at most %d", bytes,
                         (int)INKI_GRAMMAR_MAX_BYTES);
    inki_grammar *g = inki_alloc_zero(mem, 1, sizeof *g);
    inki_gbnf *r = inki_alloc_zero(mem, 1, sizeof *r);
    char *source = NULL;
    if (g != NULL) {
        g->mem = *mem;
        source = inki_grammar_vec_add(&g->source, mem, bytes + 1, 1);
    }
    if (r == NULL || source == NULL) {
        inki_release(mem, r, 1, sizeof *r);
        inki_grammar_free(g);
        return inki_fail_nomem(error, bytes + 1);
    }
    if (bytes > 0) memcpy(source, gbnf, bytes);
    source[bytes] = 0;
    r->g = g;
    r->text = source;
    r->n = bytes;
    r->error = error;
    check_text(r);
    inki_gbnf_read(r);
    inki_gbnf_build(r);
    inki_gbnf_check(r);
    const ink_status status = r->status;
    inki_grammar_vec_free(&r->items, mem, sizeof(inki_gbnf_item));
    inki_grammar_vec_free(&r->rules, mem, sizeof(inki_gbnf_rule));
    inki_grammar_vec_free(&r->bytes, mem, 1);
    inki_grammar_vec_free(&r->same_kind, mem, sizeof(uint32_t));
    inki_release(mem, r, 1, sizeof *r);
    if (status != INK_OK) {
        inki_grammar_free(g);
        return status;
    }
    find_classes(g);
    *out = g;
    return INK_OK;
}
