// SPDX-License-Identifier: MIT
// What the tests of typing sessions share: the story model, a field that edits are made in, and
// what a session made just for one text suggests there.
#ifndef TESTS_TYPING_FIXTURE_H
#define TESTS_TYPING_FIXTURE_H

#include "base/utf8.h"
#include "opened.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { FIELD_BYTES = 8192, FIELD_RUNS = 100, FIELD_ALTERNATIVES = 8, SHOWN_BYTES = 2048 };

// --- models --------------------------------------------------------------------------------------

static inline ink_source story_source(void) {
    static char path[1024];
    const char *root = getenv("INKLING_SOURCE_DIR");
    snprintf(path, sizeof path, "%s/tests/fixtures/story-small.gguf", root != NULL ? root : ".");
    return (ink_source){.size = sizeof(ink_source), .kind = INK_SOURCE_PATH, .name = path};
}

// A small story model, whatever is built in: words, so that healing, windows and filters have
// something to do.
static inline opened opened_story(uint32_t n, heap *h) {
    opened o = {0};
    ink_error error = {0};
    ink_runtime_options options;
    ink_allocator allocator;
    ink_runtime_options_init(&options, sizeof options);
    options.n_threads = n;
    options.flags = INK_RUNTIME_OVERSUBSCRIBE;
    if (h != NULL) {
        allocator = heap_allocator(h);
        options.allocator = &allocator;
    }
    const ink_source source = story_source();
    assert_int_equal(ink_runtime_new(&o.runtime, &options, &error), INK_OK);
    if (ink_model_open(&o.model, o.runtime, &source, NULL, &error) != INK_OK)
        fail_msg("%s", error.message);
    return o;
}

// --- numbers -------------------------------------------------------------------------------------

static inline uint32_t next_number(uint64_t *state, uint32_t below) {
    *state += 0x9e3779b97f4a7c15u;
    uint64_t x = *state;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return (uint32_t)((x ^ (x >> 31)) >> 33) % below;
}

// --- the field -----------------------------------------------------------------------------------

typedef struct field {
    char text[FIELD_BYTES + 1]; // a 0 byte behind what was put there
    size_t bytes, caret;
} field;

static inline bool field_inside(const field *f, size_t at) {
    return at < f->bytes && ((unsigned char)f->text[at] & 0xc0) == 0x80;
}

static inline void field_move(field *f, long by) {
    for (; by < 0 && f->caret > 0; by++) do
            f->caret--;
        while (field_inside(f, f->caret));
    for (; by > 0 && f->caret < f->bytes; by--) do
            f->caret++;
        while (field_inside(f, f->caret));
}

// n_removed bytes at byte `at` become text [bytes]; the caret stays where it is in the text.
static inline void field_replace(field *f, size_t at, size_t n_removed, const char *text,
                                 size_t bytes) {
    assert_true(at <= f->bytes && n_removed <= f->bytes - at);
    assert_true(f->bytes - n_removed + bytes <= FIELD_BYTES);
    memmove(f->text + at + bytes, f->text + at + n_removed, f->bytes - at - n_removed);
    if (bytes > 0) memcpy(f->text + at, text, bytes);
    f->bytes = f->bytes - n_removed + bytes;
    f->text[f->bytes] = 0;
    if (f->caret >= at + n_removed)
        f->caret = f->caret - n_removed + bytes;
    else if (f->caret > at)
        f->caret = at;
}

static inline void field_type(field *f, const char *text) {
    field_replace(f, f->caret, 0, text, strlen(text));
}

// n characters before the caret (n < 0) or behind it.
static inline void field_remove(field *f, long n) {
    const size_t from = f->caret;
    field_move(f, n);
    const size_t to = f->caret, low = from < to ? from : to, high = from < to ? to : from;
    field_replace(f, low, high - low, NULL, 0);
    f->caret = low;
}

static inline void field_set(field *f, const char *text) {
    f->bytes = f->caret = 0;
    field_type(f, text);
}

// --- sessions ------------------------------------------------------------------------------------

static inline ink_typing_options typing_defaults(void) {
    ink_typing_options options;
    ink_typing_options_init(&options, sizeof options);
    return options;
}

static inline ink_typing *typing_new(ink_model *model, const ink_typing_options *options) {
    ink_typing *typing = NULL;
    ink_error error = {0};
    if (ink_typing_new(&typing, model, options, &error) != INK_OK) fail_msg("%s", error.message);
    assert_non_null(typing);
    return typing;
}

static inline ink_status typing_update(ink_typing *typing, const field *f, uint64_t *revision) {
    return ink_typing_update(typing, f->text, f->bytes, f->caret, revision, NULL);
}

// What a test that fails deep inside is at.
static const char *typing_where = "here";

static inline void typing_finish(ink_typing *typing) {
    uint32_t more = 1;
    ink_error error = {0};
    for (int i = 0; more != 0; i++) {
        if (i == FIELD_RUNS)
            fail_msg("%s: runs to the end, and always there is more", typing_where);
        if (ink_typing_run(typing, UINT32_MAX, &more, &error) != INK_OK)
            fail_msg("%s", error.message);
    }
}

static inline ink_suggestion typing_shown(ink_typing *typing, uint32_t index) {
    ink_suggestion s = {.size = sizeof s};
    assert_int_equal(ink_typing_suggestion(typing, index, &s), INK_OK);
    assert_non_null(s.text);
    assert_int_equal(s.text[s.bytes], 0);
    assert_int_equal(inki_utf8_count_invalid((const uint8_t *)s.text, s.bytes), 0);
    return s;
}

// All suggestions for one text, copied.
typedef struct shown_all {
    struct {
        char text[SHOWN_BYTES];
        size_t bytes;
        uint32_t stop, n_tokens, done;
        float logprob;
    } list[FIELD_ALTERNATIVES];
    uint32_t n, n_prompt, n_prompt_evaluated, n_evaluated;
} shown_all;

static inline void typing_copy(ink_typing *typing, uint32_t n, shown_all *out) {
    out->n = n;
    for (uint32_t i = 0; i < n; i++) {
        const ink_suggestion s = typing_shown(typing, i);
        assert_true(s.bytes < SHOWN_BYTES);
        memcpy(out->list[i].text, s.text, s.bytes + 1);
        out->list[i].bytes = s.bytes;
        out->list[i].stop = s.stop;
        out->list[i].n_tokens = s.n_tokens;
        out->list[i].done = s.done;
        out->list[i].logprob = s.logprob;
        out->n_prompt = s.n_prompt;
        out->n_prompt_evaluated = s.n_prompt_evaluated;
        out->n_evaluated = s.n_evaluated;
    }
}

// What a session that has seen nothing else suggests; its status is that of the update.
static inline ink_status typing_fresh(ink_model *model, const ink_typing_options *options,
                                      const field *f, shown_all *out) {
    ink_typing_options silent = *options;
    silent.on_suggestion = NULL;
    ink_typing *typing = typing_new(model, &silent);
    const ink_status status = typing_update(typing, f, NULL);
    if (status == INK_OK) {
        typing_finish(typing);
        typing_copy(typing, silent.n_alternatives, out);
        // It had nothing to reuse.
        assert_int_equal(out->n_prompt_evaluated, out->n_prompt);
    }
    assert_int_equal(ink_typing_free(typing), INK_OK);
    return status;
}

// The same bytes, ends and probabilities, whatever they cost.
static inline bool shown_same(const shown_all *a, const shown_all *b) {
    if (a->n != b->n || a->n_prompt != b->n_prompt) return false;
    for (uint32_t i = 0; i < a->n; i++) {
        const float x = a->list[i].logprob, y = b->list[i].logprob;
        if (a->list[i].bytes != b->list[i].bytes || a->list[i].stop != b->list[i].stop ||
            a->list[i].n_tokens != b->list[i].n_tokens || a->list[i].done != b->list[i].done ||
            memcmp(a->list[i].text, b->list[i].text, a->list[i].bytes) != 0 ||
            !(x == y || (isnan(x) && isnan(y))))
            return false;
    }
    return true;
}

static inline void shown_print(const char *name, const shown_all *s) {
    print_message("  %s: %u tokens read\n", name, s->n_prompt);
    for (uint32_t i = 0; i < s->n; i++)
        print_message("    %u: \"%s\" (%u tokens, done %u, stop %s, logprob %g)\n", i,
                      s->list[i].text, s->list[i].n_tokens, s->list[i].done,
                      ink_stop_name(s->list[i].stop), (double)s->list[i].logprob);
}

// Runs to the end and compares with a fresh session; a failure shows `name` and the two.
static inline void typing_expect_fresh(ink_typing *typing, ink_model *model,
                                       const ink_typing_options *options, const field *f,
                                       const char *name) {
    static shown_all got, fresh;
    typing_finish(typing);
    typing_copy(typing, options->n_alternatives, &got);
    assert_int_equal(typing_fresh(model, options, f, &fresh), INK_OK);
    if (shown_same(&got, &fresh)) return;
    print_message("%s, behind \"%.*s\"\n", name, (int)f->caret, f->text);
    shown_print("here ", &got);
    shown_print("fresh", &fresh);
    fail_msg("%s: not what a fresh session suggests", name);
}

// Applies what accept or undo answered.
static inline void field_apply(field *f, const ink_edit *edit) {
    assert_non_null(edit->text);
    assert_int_equal(edit->text[edit->bytes], 0);
    field_replace(f, edit->at, edit->n_removed, edit->text, edit->bytes);
}

#endif
