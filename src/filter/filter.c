// SPDX-License-Identifier: MIT
#include "filter/filter.h"

#include "base/utf8.h"
#include "filter/filter_parts.h"
#include "filter/fold.h"
#include "tokenizer/unicode_tables.h"

#include <stdio.h>
#include <string.h>

typedef struct phrase_form {
    size_t bytes;
    size_t n_shown; // characters but for blanks
    bool has_word;  // a letter or digit
} phrase_form;

// The form in which phrases are kept, to out (NULL: only counted). False when it is not UTF-8,
// *at is then where.
static bool phrase_normalise(const char *phrase, size_t bytes, uint8_t *out, phrase_form *form,
                             size_t *at) {
    *form = (phrase_form){0};
    bool blank = false;
    for (size_t i = 0; i < bytes;) {
        char e[5] = " ";
        uint32_t c;
        const size_t step = inki_utf8_decode((const uint8_t *)phrase + i, bytes - i, &c);
        *at = i;
        if (step == 0) return false;
        i += step;
        const unsigned kind = inki_filter_kind(c), class = inki_unicode_class(c);
        if (kind == INKI_KIND_SPACE) blank = form->bytes > 0;
        if (kind == INKI_KIND_SPACE || kind == INKI_KIND_SKIP) continue;
        const size_t n = blank + inki_utf8_encode(inki_filter_fold(c), e + blank);
        if (out != NULL) memcpy(out + form->bytes, e, n);
        form->bytes += n;
        form->n_shown++;
        form->has_word |= class == INKI_CLASS_LETTER || class == INKI_CLASS_NUMBER;
        blank = false;
    }
    return true;
}

static ink_status phrase_check(const char *phrase, size_t index, size_t most, phrase_form *form,
                               ink_error *error) {
    char where[32];
    snprintf(where, sizeof where, "phrases[%zu]", index);
    if (phrase == NULL) return inki_fail(error, INK_E_ARG, where, 0, "is NULL, expected a string");
    size_t n = 0, at = 0;
    while (n <= most && phrase[n] != 0) n++;
    if (n > most) return inki_fail(error, INK_E_LIMIT, where, 0, "is longer than %zu bytes", most);
    if (!phrase_normalise(phrase, n, NULL, form, &at))
        return inki_fail(error, INK_E_UTF8, where, at, "is not UTF-8 at byte %zu", at);
    if (!form->has_word)
        return inki_fail(error, INK_E_ARG, where, 0,
                         n == 0 ? "is empty, expected a letter or digit"
                                : "has no letter or digit");
    return INK_OK;
}

static int phrase_compare(const ink_filter *f, uint32_t a, uint32_t b) {
    return strcmp((const char *)f->text + a, (const char *)f->text + b);
}

// A heap sort, because the C library's sort may take memory that is not the caller's.
static void phrase_sift(ink_filter *f, size_t i, size_t n) {
    const uint32_t moved = f->phrases[i];
    for (size_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && phrase_compare(f, f->phrases[child + 1], f->phrases[child]) > 0)
            child++;
        if (phrase_compare(f, f->phrases[child], moved) <= 0) break;
        f->phrases[i] = f->phrases[child];
    }
    f->phrases[i] = moved;
}

static void phrases_sort(ink_filter *f) {
    for (size_t i = f->n / 2; i-- > 0;) phrase_sift(f, i, f->n);
    for (size_t n = f->n; n-- > 1;) {
        const uint32_t last = f->phrases[n];
        f->phrases[n] = f->phrases[0];
        f->phrases[0] = last;
        phrase_sift(f, 0, n);
    }
    uint32_t kept = 1;
    for (size_t i = 1; i < f->n; i++)
        if (phrase_compare(f, f->phrases[kept - 1], f->phrases[i]) != 0)
            f->phrases[kept++] = f->phrases[i];
    f->n = kept;
}

// most: bytes of a phrase.
static ink_status filter_make(ink_filter **out, const inki_mem *mem, const char *const *phrases,
                              size_t n, size_t most, ink_error *error) {
    if (out == NULL) return inki_fail(error, INK_E_ARG, "ink_filter_new", 0, "out is NULL");
    if (phrases == NULL || n == 0)
        return inki_fail(error, INK_E_ARG, "ink_filter_new", 0, "the list has no phrases");
    if (n > INKI_FILTER_MAX_PHRASES)
        return inki_fail(error, INK_E_LIMIT, "ink_filter_new", 0,
                         "%zu phrases, there may be %d at most", n, INKI_FILTER_MAX_PHRASES);
    size_t bytes = sizeof(ink_filter) + n * sizeof(uint32_t), longest = 0;
    phrase_form form = {0};
    for (size_t i = 0; i < n; i++) {
        const ink_status status = phrase_check(phrases[i], i, most, &form, error);
        if (status != INK_OK) return status;
        bytes += form.bytes + 1;
        if (form.n_shown > longest) longest = form.n_shown;
    }
    ink_filter *f = inki_alloc(mem, bytes, 1);
    if (f == NULL) return inki_fail_nomem(error, bytes);
    uint8_t *text = (uint8_t *)(f->phrases + n);
    *f = (ink_filter){.n = (uint32_t)n, .mem = *mem, .block_bytes = bytes, .text = text};
    atomic_init(&f->refs, 1);
    // Each character, and the one before for the border, is four bytes at most and has a gap.
    f->reach = (longest + 1) * (4 + INKI_FILTER_GAP);
    for (size_t i = 0, at = 0; i < n; i++) {
        phrase_normalise(phrases[i], strlen(phrases[i]), text + at, &form, &(size_t){0});
        f->phrases[i] = (uint32_t)at;
        at += form.bytes;
        text[at++] = 0;
    }
    phrases_sort(f);
    *out = f;
    return INK_OK;
}

ink_status inki_filter_new(ink_filter **out, const inki_mem *mem, const char *const *phrases,
                           size_t n, ink_error *error) {
    return filter_make(out, mem, phrases, n, INKI_FILTER_MAX_BYTES, error);
}

size_t inki_filter_phrases(const ink_filter *filter, char *out) {
    size_t at = 0;
    for (size_t i = 0; i < filter->n; i++) {
        const char *phrase = (const char *)filter->text + filter->phrases[i];
        const size_t n = strlen(phrase) + 1;
        if (out != NULL) memcpy(out + at, phrase, n);
        at += n;
    }
    return at;
}

ink_status inki_filter_read(ink_filter **out, const inki_mem *mem, const char *list, size_t bytes,
                            ink_error *error) {
    size_t n = 0;
    for (size_t i = 0; i < bytes; i++) n += list[i] == 0;
    if (n == 0 || list[bytes - 1] != 0)
        return inki_fail(error, INK_E_ARG, "phrases", 0, "the last one has no end");
    const char **phrases = inki_alloc(mem, n, sizeof *phrases);
    if (phrases == NULL) return inki_fail_nomem(error, n * sizeof *phrases);
    for (size_t i = 0; i < n; i++) {
        phrases[i] = list;
        list += strlen(list) + 1;
    }
    // Folding may have made a phrase longer than it was written.
    const ink_status status =
        filter_make(out, mem, phrases, n, (size_t)4 * INKI_FILTER_MAX_BYTES, error);
    inki_release(mem, phrases, n, sizeof *phrases);
    return status;
}

ink_filter *inki_filter_ref(ink_filter *filter) {
    if (filter != NULL) atomic_fetch_add_explicit(&filter->refs, 1, memory_order_relaxed);
    return filter;
}

void ink_filter_unref(ink_filter *filter) {
    if (filter == NULL || atomic_fetch_sub_explicit(&filter->refs, 1, memory_order_acq_rel) != 1)
        return;
    const inki_mem mem = filter->mem;
    inki_release(&mem, filter, filter->block_bytes, 1);
}

size_t inki_filter_reach(const ink_filter *filter) { return filter->reach; }
