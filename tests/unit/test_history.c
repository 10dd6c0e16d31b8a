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

static void change_at(inki_history *h, const char *old, const char *text, size_t caret) {
    inki_history_changed(h, old, strlen(old), text, strlen(text), caret);
}
static void change(inki_history *h, const char *old, const char *text) {
    change_at(h, old, text, strlen(text));
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

// The texts are the same: it is not asked where the caret is.
static void a_caret_that_moves_changes_nothing(void **state) {
    (void)state;
    ring r;
    inki_history *h = new_history(&r, 4);
    inki_history_add(h, "one two three", 3, 4);
    inki_history_add(h, "one two three", 7, 6);
    for (size_t caret = 0; caret <= 13; caret++)
        change_at(h, "one two three", "one two three", caret);
    change_at(h, "one two three", "one six two three", 7); // typed behind "one"
    expect_pop(h, "one six two three", 11, 6);
    expect_pop(h, "one six two", 7, 4);
    expect_none(h, "one six");
}

// What is typed or deleted reads like what was accepted beside it.
static void the_caret_tells_twins_apart(void **state) {
    (void)state;
    ring r;
    inki_history *h = new_history(&r, 4);
    inki_history_add(h, "abab", 2, 2);
    change_at(h, "abab", "ababab", 4); // typed before it
    expect_pop(h, "ababab", 4, 2);
    inki_history_add(h, "abab", 2, 2);
    change_at(h, "abab", "ababab", 6); // behind it
    expect_pop(h, "ababab", 2, 2);
    inki_history_add(h, "abab", 2, 2);
    change_at(h, "abab", "ab", 0); // deleted before it
    expect_pop(h, "ab", 0, 2);
    inki_history_add(h, "abab", 2, 2);
    change_at(h, "abab", "ab", 2); // itself
    expect_none(h, "ab");
    inki_history_add(h, "aab", 0, 1);
    change_at(h, "aab", "aaab", 0); // not by typing, which leaves the caret behind
    change_at(h, "aaab", "aab", 2);
    assert_int_equal(h->n, 1);
}

// Text that is accepted, or undone, before others moves them; inside of one it ends that.
static void the_others_move(void **state) {
    (void)state;
    ring r;
    inki_history *h = new_history(&r, 4);
    inki_history_add(h, "one two", 3, 4);
    inki_history_add(h, "one, one two", 0, 5);
    inki_history_add(h, "one, one two six", 12, 4);
    inki_history_add(h, "one, one, two six", 8, 1);
    expect_pop(h, "one, one, two six", 8, 1);
    expect_pop(h, "one, one two six", 12, 4);
    expect_pop(h, "one, one two", 0, 5);
    expect_pop(h, "one two", 3, 4);
    expect_none(h, "one");
    inki_history_add(h, "one two", 3, 4);
    inki_history_add(h, "one txxwo", 5, 2);
    expect_pop(h, "one txxwo", 5, 2);
    expect_none(h, "one two");
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
    inki_history_changed(h, NULL, 0, NULL, 0, 0);
    expect_none(h, "abc");
    inki_history_add(h, "abc", 0, 3);
    inki_history_changed(h, "abc", 3, NULL, 0, 0);
    inki_accepted out;
    assert_false(inki_history_pop(h, NULL, 0, &out));
}

// --- against a text whose bytes know where they come from ----------------------------------------

static uint32_t next_random(uint32_t *state) { // Marsaglia 2003, xorshift
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

static char *exact(const char *text, size_t n) { // so that a sanitizer sees a read past its ends
    char *copy = malloc(n > 0 ? n : 1);
    assert_non_null(copy);
    memcpy(copy, text, n);
    return copy;
}

enum { MOST_TEXT = 300 };
typedef struct traced {
    char text[MOST_TEXT];
    uint32_t from[MOST_TEXT]; // 0: typed, else which of the accepted
    size_t n, caret;
    uint32_t list[CAP], n_list, cap, last; // accepted that can be undone, oldest first
} traced;

static void forget(traced *t, uint32_t id) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < t->n_list; i++)
        if (t->list[i] != id) t->list[n++] = t->list[i];
    t->n_list = n;
}

// Letters at the caret, few different ones, so that much reads alike.
static void traced_put(traced *t, size_t n, uint32_t id, uint32_t *random) {
    const size_t at = t->caret;
    if (at > 0 && at < t->n && t->from[at - 1] == t->from[at]) forget(t, t->from[at]);
    memmove(t->text + at + n, t->text + at, t->n - at);
    memmove(t->from + at + n, t->from + at, (t->n - at) * sizeof *t->from);
    for (size_t i = 0; i < n; i++) {
        t->text[at + i] = "ab"[next_random(random) % 2];
        t->from[at + i] = id;
    }
    t->n += n;
    t->caret += n;
}

static void traced_cut(traced *t, size_t at, size_t n) {
    for (size_t i = 0; i < n; i++) forget(t, t->from[at + i]);
    memmove(t->text + at, t->text + at + n, t->n - at - n);
    memmove(t->from + at, t->from + at + n, (t->n - at - n) * sizeof *t->from);
    t->n -= n;
    t->caret = at;
}

static void traced_accept(traced *t, inki_history *h, size_t n, uint32_t *random) {
    const size_t at = t->caret;
    traced_put(t, n, ++t->last, random);
    if (t->n_list == t->cap) forget(t, t->list[0]);
    t->list[t->n_list++] = t->last;
    char *now = exact(t->text, t->n);
    inki_history_add(h, now, at, n);
    free(now);
}

// The bytes that go are those that were accepted, all of them, and no others.
static bool traced_undo(traced *t, inki_history *h) {
    inki_accepted out = {0};
    char *now = exact(t->text, t->n);
    const bool found = inki_history_pop(h, now, t->n, &out);
    free(now);
    assert_int_equal(found, t->n_list > 0);
    if (!found) return false;
    const uint32_t id = t->list[t->n_list - 1];
    size_t n = 0;
    for (size_t i = 0; i < t->n; i++) n += t->from[i] == id;
    assert_int_equal(out.bytes, n);
    assert_true(out.at + n <= t->n);
    for (size_t i = 0; i < n; i++) assert_int_equal(t->from[out.at + i], id);
    traced_cut(t, out.at, n);
    return true;
}

static void traced_step(traced *t, inki_history *h, uint32_t *random) {
    const uint32_t r = next_random(random), kind = r % 16;
    const size_t n = 1 + r / 16 % 7, n_old = t->n;
    if (kind < 4 && n_old + n <= MOST_TEXT) {
        traced_accept(t, h, n, random);
    } else if (kind < 6) {
        traced_undo(t, h);
    } else {
        char *old = exact(t->text, t->n);
        const size_t behind = t->n - t->caret;
        if (kind < 10 && n_old + n <= MOST_TEXT)
            traced_put(t, n, 0, random);
        else if (kind == 10)
            traced_cut(t, n < t->caret ? t->caret - n : 0, n < t->caret ? n : t->caret);
        else if (kind == 11)
            traced_cut(t, t->caret, n < behind ? n : behind);
        else
            t->caret = next_random(random) % (t->n + 1);
        char *now = exact(t->text, t->n);
        inki_history_changed(h, old, n_old, now, t->n, t->caret);
        free(now);
        free(old);
    }
    assert_int_equal(h->n, t->n_list);
}

static void random_edits(void **state) {
    (void)state;
    uint32_t random = 918273645;
    for (int round = 0; round < 600; round++) {
        static traced t;
        ring r;
        memset(&t, 0, sizeof t);
        t.cap = 1 + (uint32_t)(round % 9) * 7;
        inki_history *h = new_history(&r, t.cap);
        const inki_accepted guard = r.list[t.cap];
        for (int step = 0; step < 200; step++) traced_step(&t, h, &random);
        while (traced_undo(&t, h)) {}
        assert_int_equal(h->n, 0);
        assert_memory_equal(&r.list[t.cap], &guard, sizeof guard);
    }
}

// Whatever the text becomes, and wherever the caret is: what is kept stands in it as it was.
static void any_text_may_follow(void **state) {
    (void)state;
    enum { MOST_BYTES = 24 };
    uint32_t random = 55555;
    for (int round = 0; round < 30000; round++) {
        ring r;
        inki_history *h = new_history(&r, 8);
        char old[MOST_BYTES], text[MOST_BYTES];
        const size_t n_old = next_random(&random) % MOST_BYTES;
        const size_t n = next_random(&random) % MOST_BYTES;
        for (size_t i = 0; i < MOST_BYTES; i++) old[i] = "ab"[next_random(&random) % 2];
        for (size_t i = 0; i < MOST_BYTES; i++)
            text[i] = next_random(&random) % 8 > 0 ? old[i] : "ab"[next_random(&random) % 2];
        for (size_t at = 0; at + 3 <= n_old; at += 3) inki_history_add(h, old, at, 3);
        char *before = exact(old, n_old), *now = exact(text, n);
        inki_history_changed(h, before, n_old, now, n, next_random(&random) % (n + 1));
        inki_accepted out;
        uint32_t n_kept = h->n;
        for (; n_kept > 0 && inki_history_pop(h, now, n, &out); n_kept--)
            assert_true(out.bytes == 3 && out.at + 3 <= n);
        assert_int_equal(n_kept, 0);
        free(now);
        free(before);
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
        if (changed) inki_history_changed(h, old, 3, now, 2, 1);
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
        cmocka_unit_test(a_caret_that_moves_changes_nothing),
        cmocka_unit_test(the_caret_tells_twins_apart),
        cmocka_unit_test(the_others_move),
        cmocka_unit_test(what_was_changed_is_forgotten),
        cmocka_unit_test(only_what_still_stands_is_undone),
        cmocka_unit_test(the_oldest_are_forgotten),
        cmocka_unit_test(nothing_accepted_is_nothing_to_undo),
        cmocka_unit_test(random_edits),
        cmocka_unit_test(any_text_may_follow),
        cmocka_unit_test(places_outside_the_text_are_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
