// SPDX-License-Identifier: MIT
// Accepted suggestions: what stands is undone, what was changed is not, the oldest are forgotten.
#include "typing/history.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { CAP = 64 };
typedef struct ring {
    inki_history history;
    inki_accepted list[CAP + 1]; // one more than there is room for: it must stay as it is
} ring;

static inki_history *new_history(ring *r, uint32_t cap) {
    memset(r, 0xa5, sizeof *r);
    r->history = (inki_history){.list = r->list, .cap = cap};
    return &r->history;
}

static void expect_pop(inki_history *h, const char *text, size_t at, size_t bytes) {
    inki_accepted out;
    assert_true(inki_history_pop(h, text, strlen(text), &out));
    assert_int_equal(out.at, at);
    assert_int_equal(out.bytes, bytes);
}

static void expect_none(inki_history *h, const char *text) {
    inki_accepted out = {.at = 7, .bytes = 8};
    assert_false(inki_history_pop(h, text, strlen(text), &out));
    assert_int_equal(h->n, 0);
    assert_int_equal(out.at, 7);
    assert_int_equal(out.bytes, 8);
}

static void change(inki_history *h, const char *old, const char *text) {
    inki_history_changed(h, old, strlen(old), text, strlen(text));
}

static void the_newest_comes_first(void **state) {
    (void)state;
    ring r;
    inki_history *h = new_history(&r, 4);
    expect_none(h, "");
    inki_history_add(h, "one two", 3, 4);
    change(h, "one two", "one two, three");
    inki_history_add(h, "one two, three", 8, 6);
    expect_pop(h, "one two, three", 8, 6);
    expect_pop(h, "one two,", 3, 4);
    expect_none(h, "one,");
}

static void text_before_it_moves_it(void **state) {
    (void)state;
    ring r;
    inki_history *h = new_history(&r, 4);
    inki_history_add(h, "one two three", 4, 3);
    change(h, "one two three", "zero one two three");
    expect_pop(h, "zero one two three", 9, 3);
    inki_history_add(h, "one two three", 4, 3);
    change(h, "one two three", "two three");
    expect_pop(h, "two three", 0, 3);
}

static void text_behind_it_does_not(void **state) {
    (void)state;
    ring r;
    inki_history *h = new_history(&r, 4);
    inki_history_add(h, "one two", 4, 3);
    change(h, "one two", "one two three");
    change(h, "one two three", "one two th");
    change(h, "one two th", "one two");
    expect_pop(h, "one two", 4, 3);
}

static void what_was_changed_is_forgotten(void **state) {
    (void)state;
    ring r;
    inki_history *h = new_history(&r, 8);
    static const char *const later[] = {"one tw",   "one",    "",         "one t-o",
                                        "one twoo", "on two", "one t wo", "xne xwo"};
    static const bool stays[] = {false, false, false, false, true, true, false, false};
    for (size_t i = 0; i < sizeof later / sizeof *later; i++) {
        inki_history_add(h, "one two", 4, 3);
        change(h, "one two", later[i]);
        assert_int_equal(h->n, stays[i]);
        h->n = 0;
    }
    // One in the middle of three is changed, the other two stay.
    inki_history_add(h, "aa bb cc", 0, 2);
    inki_history_add(h, "aa bb cc", 3, 2);
    inki_history_add(h, "aa bb cc", 6, 2);
    change(h, "aa bb cc", "aa bXXb cc");
    expect_pop(h, "aa bXXb cc", 8, 2);
    expect_pop(h, "aa bXXb cc", 0, 2);
    expect_none(h, "aa bXXb cc");
}

// Nobody told of the change: what does not stand any more is passed over.
static void only_what_still_stands_is_undone(void **state) {
    (void)state;
    ring r;
    inki_history *h = new_history(&r, 8);
    inki_history_add(h, "one two six", 0, 3);
    inki_history_add(h, "one two six", 4, 3);
    inki_history_add(h, "one two six", 8, 3);
    expect_pop(h, "one tvo", 0, 3);
    expect_none(h, "one tvo");
    inki_history_add(h, "one", 0, 3);
    expect_none(h, "");
}

static void the_oldest_are_forgotten(void **state) {
    (void)state;
    static const char text[] = "abcdefghijklmnopqrstuvwxyz";
    for (uint32_t cap = 0; cap <= 5; cap++) {
        ring r;
        inki_history *h = new_history(&r, cap);
        const inki_accepted guard = r.list[cap];
        for (size_t i = 0; i < 26; i++) inki_history_add(h, text, i, 1);
        assert_int_equal(h->n, cap);
        for (uint32_t i = 0; i < cap; i++) expect_pop(h, text, 25 - i, 1);
        expect_none(h, text);
        assert_memory_equal(&r.list[cap], &guard, sizeof guard);
    }
}

static void nothing_accepted_is_nothing_to_undo(void **state) {
    (void)state;
    ring r;
    inki_history *h = new_history(&r, 4);
    inki_history_add(h, "abc", 3, 0);
    inki_history_changed(h, NULL, 0, NULL, 0);
    expect_none(h, "abc");
    inki_history_add(h, "abc", 0, 3);
    inki_history_changed(h, "abc", 3, NULL, 0);
    inki_accepted out;
    assert_false(inki_history_pop(h, NULL, 0, &out));
}

// --- against a plain list ------------------------------------------------------------------------

// Keeps the text of each, and finds the parts that are the same byte by byte.
enum { MOST_TEXT = 600 };
typedef struct plain_entry {
    size_t at, bytes;
    char text[16];
} plain_entry;
typedef struct plain {
    plain_entry list[CAP]; // oldest first
    size_t n, cap;
} plain;

static void plain_remove(plain *p, size_t i) {
    memmove(&p->list[i], &p->list[i + 1], (p->n - i - 1) * sizeof *p->list);
    p->n--;
}

static void plain_add(plain *p, const char *text, size_t at, size_t bytes) {
    if (p->n == p->cap) plain_remove(p, 0);
    plain_entry *e = &p->list[p->n++];
    e->at = at;
    e->bytes = bytes;
    memcpy(e->text, text + at, bytes);
}

static void plain_changed(plain *p, const char *old, size_t n_old, const char *text, size_t n) {
    size_t same = 0, end = 0;
    while (same < n && same < n_old && old[same] == text[same]) same++;
    while (same + end < n && same + end < n_old && old[n_old - 1 - end] == text[n - 1 - end]) end++;
    for (size_t i = p->n; i-- > 0;) {
        plain_entry *e = &p->list[i];
        if (e->at + e->bytes <= same) continue;
        if (e->at + end >= n_old)
            e->at = e->at + n - n_old;
        else
            plain_remove(p, i);
    }
}

static bool plain_pop(plain *p, const char *text, size_t n, inki_accepted *out) {
    while (p->n > 0) {
        const plain_entry e = p->list[--p->n];
        if (e.at + e.bytes > n || memcmp(text + e.at, e.text, e.bytes) != 0) continue;
        *out = (inki_accepted){.at = e.at, .bytes = e.bytes};
        return true;
    }
    return false;
}

static uint32_t next_random(uint32_t *state) { // Marsaglia 2003, xorshift
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

// Replaces n_removed bytes at `at` of text [*n] by random letters; few different ones, so that what
// is the same at the beginning and at the end often meets.
static void edit(char *text, size_t *n, size_t at, size_t n_removed, size_t n_new,
                 uint32_t *random) {
    memmove(text + at + n_new, text + at + n_removed, *n - at - n_removed);
    for (size_t i = 0; i < n_new; i++) text[at + i] = "ab "[next_random(random) % 3];
    *n = *n - n_removed + n_new;
}

static char *exact(const char *text, size_t n) { // so that a sanitizer sees a read past its ends
    char *copy = malloc(n > 0 ? n : 1);
    assert_non_null(copy);
    memcpy(copy, text, n);
    return copy;
}

static void random_step(inki_history *h, plain *p, char *text, size_t *n, uint32_t *random) {
    char *old = exact(text, *n);
    const size_t n_old = *n;
    const uint32_t r = next_random(random);
    const size_t n_new = r / 64 % 12;
    if (r % 8 < 3 && n_new > 0 && n_old + n_new < MOST_TEXT) { // accepted at the end
        edit(text, n, n_old, 0, n_new, random);
    } else if (r % 8 < 7) {
        const size_t at = n_old > 0 ? next_random(random) % n_old : 0;
        const size_t most = n_old - at, n_removed = most > 0 ? next_random(random) % most % 9 : 0;
        if (n_old - n_removed + n_new < MOST_TEXT) edit(text, n, at, n_removed, n_new, random);
    } else if (n_old > 400) {
        *n = next_random(random) % 400;
    }
    char *now = exact(text, *n);
    inki_history_changed(h, old, n_old, now, *n);
    plain_changed(p, old, n_old, now, *n);
    if (r % 8 < 3 && *n == n_old + n_new && n_new > 0) {
        inki_history_add(h, now, n_old, n_new);
        plain_add(p, now, n_old, n_new);
    }
    if (r % 8 == 7) {
        inki_accepted a = {0}, b = {0};
        assert_int_equal(inki_history_pop(h, now, *n, &a), plain_pop(p, now, *n, &b));
        assert_true(a.at == b.at && a.bytes == b.bytes);
    }
    assert_int_equal(h->n, p->n);
    free(now);
    free(old);
}

static void random_edits(void **state) {
    (void)state;
    uint32_t random = 918273645;
    for (int round = 0; round < 300; round++) {
        ring r;
        plain p = {.cap = 1 + (size_t)(round % 9) * 7};
        inki_history *h = new_history(&r, (uint32_t)p.cap);
        const inki_accepted guard = r.list[p.cap];
        char text[MOST_TEXT + 16];
        size_t n = 0;
        for (int step = 0; step < 200; step++) random_step(h, &p, text, &n, &random);
        inki_accepted a = {0}, b = {0};
        bool more = true;
        while (more) {
            more = plain_pop(&p, text, n, &b);
            assert_int_equal(inki_history_pop(h, text, n, &a), more);
            if (more) assert_true(a.at == b.at && a.bytes == b.bytes);
        }
        assert_memory_equal(&r.list[p.cap], &guard, sizeof guard);
    }
}

// Whatever the list says of places, nothing outside of the text is read.
static void places_outside_the_text_are_survived(void **state) {
    (void)state;
    ring r;
    inki_history *h = new_history(&r, 8);
    const inki_accepted wrong[] = {{SIZE_MAX, 1, 0}, {1, SIZE_MAX, 0}, {SIZE_MAX, SIZE_MAX, 0},
                                   {4, 1, 0},        {0, 4, 0},        {2, 2, 0}};
    for (int changed = 0; changed < 2; changed++) {
        memcpy(r.list, wrong, sizeof wrong);
        h->n = sizeof wrong / sizeof *wrong;
        h->first = 0;
        char *old = exact("abc", 3), *now = exact("bc", 2);
        if (changed) inki_history_changed(h, old, 3, now, 2);
        inki_accepted out;
        assert_false(inki_history_pop(h, now, 2, &out));
        free(old);
        free(now);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_newest_comes_first),
        cmocka_unit_test(text_before_it_moves_it),
        cmocka_unit_test(text_behind_it_does_not),
        cmocka_unit_test(what_was_changed_is_forgotten),
        cmocka_unit_test(only_what_still_stands_is_undone),
        cmocka_unit_test(the_oldest_are_forgotten),
        cmocka_unit_test(nothing_accepted_is_nothing_to_undo),
        cmocka_unit_test(random_edits),
        cmocka_unit_test(places_outside_the_text_are_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
