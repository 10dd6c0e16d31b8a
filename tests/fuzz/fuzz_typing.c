// SPDX-License-Identifier: MIT
// The first bytes choose settings, the others are what a user does. Whatever that is, what is
// suggested is UTF-8, for the text as it is, free of listed phrases, and what a fresh session
// suggests.
#include "base/utf8.h"
#include "inkling/inkling.h"

#include "tests/fuzz/fuzz.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIELD = 1024, SETTINGS = 6 };

extern const size_t fuzz_quick_runs;
const size_t fuzz_quick_runs = 600;

typedef struct player {
    ink_typing_options options;
    ink_typing *typing;
    char text[FIELD];
    size_t n, caret;
    bool known; // the session has the text
} player;

// A small one, which is quick, where the source folder is known.
static ink_model *story(void) {
    static ink_model *model;
    char path[1024];
    const char *root = getenv("INKLING_SOURCE_DIR");
    if (model != NULL) return model;
    snprintf(path, sizeof path, "%s/tests/fixtures/story-small.gguf", root != NULL ? root : ".");
    const ink_source source = {.size = sizeof source, .kind = INK_SOURCE_PATH, .name = path};
    if (ink_model_open(&model, NULL, &source, NULL, NULL) != INK_OK)
        FUZZ_CHECK(ink_model_open(&model, NULL, NULL, NULL, NULL) == INK_OK);
    return model;
}

static ink_typing_options settings(const uint8_t *d, ink_filter *filter) {
    ink_typing_options o;
    ink_typing_options_init(&o, sizeof o);
    o.n_alternatives = 1 + d[0] % 4;
    o.max_tokens = 1 + d[0] / 4 % 16;
    o.until = d[1] % 5;
    o.no_repeat_ngram = d[1] / 5 % 5;
    o.window_words = d[2] % 16;
    o.window_tokens = d[3] % 32;
    o.n_ctx = 64 + d[4] % 128;
    o.kv_type = d[5] % 3;
    o.min_chars = d[5] / 3 % 3;
    o.filter = d[5] & 0x40 ? filter : NULL;
    return o;
}

static void put(player *p, const char *s, size_t n) {
    if (p->n + n > FIELD) return;
    memmove(p->text + p->caret + n, p->text + p->caret, p->n - p->caret);
    memcpy(p->text + p->caret, s, n);
    p->n += n;
    p->caret += n;
}

static void cut(player *p, size_t at, size_t n) {
    FUZZ_CHECK(at + n <= p->n);
    memmove(p->text + at, p->text + at + n, p->n - at - n);
    p->n -= n;
}

static void update(player *p) {
    ink_error error = {0};
    const ink_status status = ink_typing_update(p->typing, p->text, p->n, p->caret, NULL, &error);
    p->known = status == INK_OK;
    FUZZ_CHECK(p->known || error.message[0] != 0);
    FUZZ_CHECK(p->known || status == INK_E_UTF8 || status == INK_E_ARG || status == INK_E_FILTERED);
}

static void accept(player *p, uint32_t unit) {
    ink_edit edit = {0};
    if (ink_typing_accept(p->typing, NULL, unit % 3, &edit, NULL) != INK_OK) return;
    FUZZ_CHECK(edit.at == p->caret && edit.n_removed == 0 && edit.bytes > 0);
    if (p->n + edit.bytes > FIELD) {
        p->n = p->caret = 0;
        update(p);
        return;
    }
    put(p, edit.text, edit.bytes);
}

static void undo(player *p) {
    ink_edit edit = {0};
    if (!p->known || ink_typing_undo(p->typing, &edit, NULL) != INK_OK) return;
    FUZZ_CHECK(edit.at + edit.n_removed <= p->n && edit.bytes == 0);
    cut(p, edit.at, edit.n_removed);
    if (p->caret >= edit.at + edit.n_removed)
        p->caret -= edit.n_removed;
    else if (p->caret > edit.at)
        p->caret = edit.at;
}

static void compare(player *p) {
    ink_typing *fresh = NULL;
    FUZZ_CHECK(ink_typing_run(p->typing, UINT32_MAX, NULL, NULL) == INK_OK);
    FUZZ_CHECK(ink_typing_new(&fresh, story(), &p->options, NULL) == INK_OK);
    if (ink_typing_update(fresh, p->text, p->n, p->caret, NULL, NULL) == INK_OK) {
        FUZZ_CHECK(ink_typing_run(fresh, UINT32_MAX, NULL, NULL) == INK_OK);
        for (uint32_t i = 0; i < p->options.n_alternatives; i++) {
            ink_suggestion a = {0}, b = {0};
            FUZZ_CHECK(ink_typing_suggestion(p->typing, i, &a) == INK_OK && a.done);
            FUZZ_CHECK(ink_typing_suggestion(fresh, i, &b) == INK_OK);
            FUZZ_CHECK(a.bytes == b.bytes && memcmp(a.text, b.text, a.bytes) == 0);
            FUZZ_CHECK(inki_utf8_count_invalid((const uint8_t *)a.text, a.bytes) == 0);
            size_t at = 0, length = 0;
            if (p->options.filter != NULL)
                ink_filter_find(p->options.filter, a.text, a.bytes, &at, &length);
            FUZZ_CHECK(length == 0);
        }
    }
    ink_typing_free(fresh);
}

// One thing a user does; returns the bytes that say what.
static size_t act(player *p, const uint8_t *d, size_t n) {
    switch (d[0] >> 5) {
    case 0: // a caret anywhere, inside a character too
        p->caret = p->n > 0 && n > 1 ? d[1] * p->n / 255 : 0;
        update(p);
        return n > 1 ? 2 : 1;
    case 1: {
        const size_t wanted = 1u + d[0] % 32, m = wanted < p->caret ? wanted : p->caret;
        p->caret -= m;
        cut(p, p->caret, m);
        update(p);
        return 1;
    }
    case 2: accept(p, d[0]); return 1;
    case 3: undo(p); return 1;
    case 4:
        if (d[0] & 1)
            ink_typing_cancel(p->typing);
        else
            ink_typing_reject(p->typing, NULL, NULL);
        ink_typing_run(p->typing, d[0] & 2 ? 0 : UINT32_MAX, NULL, NULL);
        update(p);
        return 1;
    case 5:
        ink_typing_retry(p->typing, NULL, NULL);
        ink_typing_run(p->typing, UINT32_MAX, NULL, NULL);
        update(p);
        return 1;
    default: { // text as it comes, the length first
        size_t m = d[0] % 64 + 1u;
        if (m > n - 1) m = n - 1;
        put(p, (const char *)d + 1, m);
        update(p);
        return m + 1;
    }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    static const char *const phrases[] = {"little girl", "said", "the", "文"};
    if (bytes < SETTINGS || bytes > 512) return 0;
    ink_filter *filter = NULL;
    FUZZ_CHECK(ink_filter_new(&filter, NULL, phrases, 4, NULL) == INK_OK);
    player p = {.options = settings(data, filter), .known = false};
    FUZZ_CHECK(ink_typing_new(&p.typing, story(), &p.options, NULL) == INK_OK);
    for (size_t at = SETTINGS, steps = 0; at < bytes && steps < 24; steps++) {
        at += act(&p, data + at, bytes - at);
        if (p.known && p.n > 0 && data[SETTINGS - 1] & 0x80) compare(&p);
        if (p.known) ink_typing_run(p.typing, 0, NULL, NULL);
    }
    update(&p);
    if (p.known) compare(&p);
    ink_typing_free(p.typing);
    ink_filter_unref(filter);
    return 0;
}
