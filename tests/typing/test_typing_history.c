// SPDX-License-Identifier: MIT
// Accept, undo, retry, reject: what the host is told to do to its field, and what the session then
// thinks of it.
#include "typing_fixture.h"

static opened story;
static const char begin[] = "Once upon a time there was a";

static ink_typing *begun(field *f, const ink_typing_options *options) {
    ink_typing *typing = typing_new(story.model, options);
    field_set(f, begin);
    assert_int_equal(typing_update(typing, f, NULL), INK_OK);
    typing_finish(typing);
    return typing;
}

static ink_edit accepted(ink_typing *typing, field *f, uint32_t unit) {
    ink_edit edit = {.size = sizeof edit};
    ink_error error = {0};
    if (ink_typing_accept(typing, NULL, unit, &edit, &error) != INK_OK)
        fail_msg("%s", error.message);
    assert_int_equal(edit.at, f->caret);
    assert_int_equal(edit.n_removed, 0);
    field_apply(f, &edit);
    typing_finish(typing);
    return edit;
}

static void undo(ink_typing *typing, field *f) {
    ink_edit edit = {.size = sizeof edit};
    ink_error error = {0};
    if (ink_typing_undo(typing, &edit, &error) != INK_OK) fail_msg("%s", error.message);
    assert_int_equal(edit.bytes, 0);
    field_apply(f, &edit);
}

static void nothing_to_undo(ink_typing *typing) {
    ink_edit edit = {.size = sizeof edit, .at = 77};
    ink_error error = {0};
    assert_int_equal(ink_typing_undo(typing, &edit, &error), INK_E_NOT_FOUND);
    assert_int_equal(edit.at, 77);
    assert_int_equal(error.status, INK_E_NOT_FOUND);
}

static void expect_field(const field *f, const char *text) {
    assert_int_equal(f->bytes, strlen(text));
    assert_memory_equal(f->text, text, f->bytes);
}

static void test_undo_all_the_way(void **state) {
    (void)state;
    static field f, stages[8];
    const ink_typing_options options = typing_defaults();
    ink_typing *typing = begun(&f, &options);
    nothing_to_undo(typing);
    for (size_t i = 0; i < 8; i++) {
        stages[i] = f;
        accepted(typing, &f, INK_ACCEPT_WORD);
        assert_true(f.bytes > stages[i].bytes);
    }
    for (size_t i = 8; i-- > 0;) {
        undo(typing, &f);
        assert_int_equal(f.bytes, stages[i].bytes);
        assert_memory_equal(f.text, stages[i].text, f.bytes);
        assert_int_equal(f.caret, stages[i].caret);
        // No update was needed.
        typing_expect_fresh(typing, story.model, &options, &f, "after an undo");
    }
    nothing_to_undo(typing);
    assert_int_equal(ink_typing_free(typing), INK_OK);
}

static void test_history_is_bounded(void **state) {
    (void)state;
    static field f;
    ink_typing_options options = typing_defaults();
    options.n_history = 3;
    ink_typing *typing = begun(&f, &options);
    for (int i = 0; i < 6; i++) accepted(typing, &f, INK_ACCEPT_WORD);
    for (int i = 0; i < 3; i++) undo(typing, &f);
    nothing_to_undo(typing);
    assert_int_equal(ink_typing_free(typing), INK_OK);
}

static void test_no_history(void **state) {
    (void)state;
    static field f;
    ink_typing_options options = typing_defaults();
    options.n_history = 0;
    ink_typing *typing = begun(&f, &options);
    accepted(typing, &f, INK_ACCEPT_WORD);
    nothing_to_undo(typing);
    assert_int_equal(ink_typing_free(typing), INK_OK);
}

// Text typed before it moves it; text typed behind it leaves it; a change inside forgets it.
static void test_undo_after_edits(void **state) {
    (void)state;
    static field f;
    const ink_typing_options options = typing_defaults();
    ink_typing *typing = begun(&f, &options);
    accepted(typing, &f, INK_ACCEPT_WORD);
    field_type(&f, " and then");
    assert_int_equal(typing_update(typing, &f, NULL), INK_OK);
    field_replace(&f, 0, 0, "So: ", 4);
    assert_int_equal(typing_update(typing, &f, NULL), INK_OK);
    undo(typing, &f);
    expect_field(&f, "So: Once upon a time there was a and then");
    typing_expect_fresh(typing, story.model, &options, &f, "after a moved undo");
    nothing_to_undo(typing);

    const size_t at = f.caret;
    const ink_edit edit = accepted(typing, &f, INK_ACCEPT_WORD);
    assert_true(edit.bytes > 1);
    f.caret = at + 1;
    field_type(&f, "zz");
    f.caret = f.bytes;
    assert_int_equal(typing_update(typing, &f, NULL), INK_OK);
    nothing_to_undo(typing);
    assert_int_equal(ink_typing_free(typing), INK_OK);
}

static void moved(ink_typing *typing, field *f, size_t caret) {
    f->caret = caret;
    assert_int_equal(typing_update(typing, f, NULL), INK_OK);
}

// What is behind the caret is still in the field, and can be undone: when the caret is back, while
// it is elsewhere, and from inside of what goes.
static void test_undo_after_caret_moves(void **state) {
    (void)state;
    static field f, stages[4];
    const ink_typing_options options = typing_defaults();
    ink_typing *typing = begun(&f, &options);
    for (size_t i = 0; i < 4; i++) {
        stages[i] = f;
        accepted(typing, &f, INK_ACCEPT_WORD);
    }
    const size_t end = f.caret;
    for (size_t caret = end; caret-- > 0;) moved(typing, &f, caret);
    moved(typing, &f, end);
    undo(typing, &f);
    expect_field(&f, stages[3].text);
    assert_int_equal(f.caret, f.bytes);
    typing_expect_fresh(typing, story.model, &options, &f, "after an undo");
    moved(typing, &f, 4);
    undo(typing, &f);
    expect_field(&f, stages[2].text);
    assert_int_equal(f.caret, 4);
    typing_expect_fresh(typing, story.model, &options, &f, "after an undo behind the caret");
    moved(typing, &f, stages[1].bytes + 1);
    undo(typing, &f);
    expect_field(&f, stages[1].text);
    assert_int_equal(f.caret, f.bytes);
    typing_expect_fresh(typing, story.model, &options, &f, "after an undo around the caret");
    // A field without it has lost it.
    f.bytes = f.caret = stages[0].bytes;
    moved(typing, &f, f.caret);
    nothing_to_undo(typing);
    assert_int_equal(ink_typing_free(typing), INK_OK);
}

// Text behind the caret stays there as suggestions are accepted, undone and accepted elsewhere.
// What the user writes stays, also where it reads like what was accepted.
static void test_undo_inside_of_text(void **state) {
    (void)state;
    static const char tail[] = ". The end.";
    static field f;
    char text[256], word[64];
    const ink_typing_options options = typing_defaults();
    ink_typing *typing = begun(&f, &options);
    field_replace(&f, f.caret, 0, tail, sizeof tail - 1);
    moved(typing, &f, sizeof begin - 1);
    typing_finish(typing);
    const ink_edit first = accepted(typing, &f, INK_ACCEPT_WORD);
    snprintf(word, sizeof word, "%.*s", (int)first.bytes, f.text + first.at);
    snprintf(text, sizeof text, "%s%s%s", begin, word, tail);
    expect_field(&f, text);
    typing_expect_fresh(typing, story.model, &options, &f, "inside of text");
    // The same typed before it.
    f.caret = first.at;
    field_type(&f, word);
    moved(typing, &f, f.caret);
    // Another one before both.
    moved(typing, &f, 4);
    typing_finish(typing);
    const ink_edit second = accepted(typing, &f, INK_ACCEPT_WORD);
    assert_int_equal(second.at, 4);
    moved(typing, &f, f.bytes);
    undo(typing, &f);
    ink_edit edit = {.size = sizeof edit};
    assert_int_equal(ink_typing_undo(typing, &edit, NULL), INK_OK);
    assert_int_equal(edit.at, first.at + first.bytes); // and not what was typed
    field_apply(&f, &edit);
    expect_field(&f, text);
    nothing_to_undo(typing);
    typing_expect_fresh(typing, story.model, &options, &f, "after all");
    assert_int_equal(f.caret, f.bytes);
    assert_int_equal(ink_typing_free(typing), INK_OK);
}

static void test_units(void **state) {
    (void)state;
    static field f;
    ink_typing_options options = typing_defaults();
    options.until = INK_UNTIL_LENGTH;
    options.max_tokens = 60;
    ink_typing *typing = begun(&f, &options);
    char whole[SHOWN_BYTES];
    strcpy(whole, typing_shown(typing, 0).text);
    static const uint32_t units[] = {INK_ACCEPT_WORD, INK_ACCEPT_LINE, INK_ACCEPT_ALL};
    for (size_t i = 0; i < 3; i++) {
        ink_edit edit = {.size = sizeof edit};
        const ink_suggestion s = typing_shown(typing, 0);
        assert_string_equal(s.text, whole);
        assert_int_equal(ink_typing_accept(typing, &s, units[i], &edit, NULL), INK_OK);
        assert_memory_equal(edit.text, whole, edit.bytes);
        const size_t blanks = strspn(whole, " ");
        const char *feed = strchr(whole, '\n');
        if (i == 0) assert_int_equal(edit.bytes, blanks + strcspn(whole + blanks, " \n"));
        if (i == 1)
            assert_int_equal(edit.bytes, feed != NULL ? (size_t)(feed + 1 - whole) : strlen(whole));
        if (i == 2) assert_int_equal(edit.bytes, strlen(whole));
        // What is left of it stays until a better one is there.
        const ink_suggestion rest = typing_shown(typing, 0);
        assert_int_equal(rest.revision, edit.revision);
        assert_string_equal(rest.text, whole + edit.bytes);
        field_apply(&f, &edit);
        typing_expect_fresh(typing, story.model, &options, &f, "after accepting");
        undo(typing, &f);
        expect_field(&f, begin);
        typing_finish(typing);
    }
    assert_int_equal(ink_typing_free(typing), INK_OK);
}

static void test_stale(void **state) {
    (void)state;
    static field f;
    const ink_typing_options options = typing_defaults();
    ink_typing *typing = begun(&f, &options);
    ink_edit edit = {.size = sizeof edit, .at = 77};
    ink_error error = {0};
    char kept[SHOWN_BYTES];
    ink_suggestion old = typing_shown(typing, 0);
    memcpy(kept, old.text, old.bytes + 1);
    old.text = kept;
    field_type(&f, " very");
    assert_int_equal(typing_update(typing, &f, NULL), INK_OK);
    assert_int_equal(typing_shown(typing, 0).bytes, 0); // withdrawn
    assert_int_equal(ink_typing_accept(typing, &old, INK_ACCEPT_ALL, &edit, &error), INK_E_STALE);
    assert_int_equal(error.status, INK_E_STALE);
    assert_int_equal(ink_typing_accept(typing, NULL, INK_ACCEPT_ALL, &edit, &error),
                     INK_E_NOT_FOUND);
    assert_int_equal(edit.at, 77);
    typing_expect_fresh(typing, story.model, &options, &f, "after a stale accept");
    assert_int_equal(ink_typing_free(typing), INK_OK);
}

static void first_word(const char *text, char *out, size_t cap) {
    text += strspn(text, " \n");
    snprintf(out, cap, "%.*s", (int)strcspn(text, " \n.,!?"), text);
}

// Every retry says something new, until so much is refused that no more is taken.
static void test_retry(void **state) {
    (void)state;
    enum { MOST = 64 };
    static char words[MOST + 8][64];
    static field f;
    for (uint32_t n_alternatives = 1; n_alternatives <= 3; n_alternatives += 2) {
        ink_typing_options options = typing_defaults();
        options.n_alternatives = n_alternatives;
        options.until = INK_UNTIL_WORD;
        ink_typing *typing = begun(&f, &options);
        uint64_t revision = 0, last = 0;
        ink_status status = INK_OK;
        size_t n = 0;
        while (status == INK_OK && n <= MOST) {
            for (uint32_t i = 0; i < n_alternatives; i++) {
                const ink_suggestion s = typing_shown(typing, i);
                if (s.bytes == 0) continue;
                first_word(s.text, words[n], sizeof words[n]);
                for (size_t k = 0; k < n; k++)
                    if (strcmp(words[k], words[n]) == 0) fail_msg("\"%s\" came again", words[n]);
                n++;
            }
            last = revision;
            status = ink_typing_retry(typing, &revision, NULL);
            if (status == INK_OK) {
                assert_true(revision > last);
                typing_finish(typing);
                assert_int_equal(typing_shown(typing, 0).revision, revision);
            }
        }
        print_message("%u alternatives: %zu words, then %s\n", (unsigned)n_alternatives, n,
                      ink_status_name(status));
        assert_true(status == INK_E_LIMIT || status == INK_E_NOT_FOUND);
        assert_true(n >= 20);
        // The text typed anew: nothing is refused any more.
        field_type(&f, "n");
        assert_int_equal(typing_update(typing, &f, NULL), INK_OK);
        field_remove(&f, -1);
        assert_int_equal(typing_update(typing, &f, NULL), INK_OK);
        typing_expect_fresh(typing, story.model, &options, &f, "after retries");
        assert_int_equal(ink_typing_free(typing), INK_OK);
    }
}

// A stop string right behind a first word that was refused: another word is looked for all the
// same.
static void test_retry_before_a_stop_string(void **state) {
    (void)state;
    enum { MOST = 6 };
    static const char *const stop[] = {",", "."};
    static char words[MOST][64];
    static field f;
    for (uint32_t n_alternatives = 1; n_alternatives <= 2; n_alternatives++) {
        ink_typing_options options = typing_defaults();
        options.n_alternatives = n_alternatives;
        options.stop = stop;
        options.n_stop = 2;
        ink_typing *typing = typing_new(story.model, &options);
        field_set(&f, "Once upon a");
        assert_int_equal(typing_update(typing, &f, NULL), INK_OK);
        for (size_t n = 0; n < MOST; n++) {
            if (n > 0) assert_int_equal(ink_typing_retry(typing, NULL, NULL), INK_OK);
            typing_finish(typing);
            const ink_suggestion s = typing_shown(typing, 0);
            if (n == 0 && n_alternatives == 1) assert_string_equal(s.text, " time");
            assert_true(s.bytes > 0);
            assert_null(strpbrk(s.text, ",."));
            first_word(s.text, words[n], sizeof words[n]);
            for (size_t k = 0; k < n; k++) assert_string_not_equal(words[k], words[n]);
        }
        assert_int_equal(ink_typing_free(typing), INK_OK);
    }
}

static void test_nothing_to_retry(void **state) {
    (void)state;
    static field f;
    const ink_typing_options options = typing_defaults();
    ink_typing *typing = typing_new(story.model, &options);
    uint64_t revision = 77;
    assert_int_equal(ink_typing_retry(typing, &revision, NULL), INK_E_NOT_FOUND);
    field_set(&f, begin);
    assert_int_equal(typing_update(typing, &f, NULL), INK_OK);
    assert_int_equal(ink_typing_retry(typing, &revision, NULL), INK_E_NOT_FOUND);
    assert_int_equal(revision, 77);
    typing_expect_fresh(typing, story.model, &options, &f, "after no retry");
    assert_int_equal(ink_typing_free(typing), INK_OK);
}

static void test_reject(void **state) {
    (void)state;
    static field f;
    const ink_typing_options options = typing_defaults();
    ink_typing *typing = begun(&f, &options);
    uint64_t revision = 0;
    uint32_t more = 1;
    ink_edit edit = {.size = sizeof edit};
    assert_int_equal(ink_typing_reject(typing, &revision, NULL), INK_OK);
    assert_int_equal(typing_shown(typing, 0).bytes, 0);
    assert_int_equal(ink_typing_run(typing, UINT32_MAX, &more, NULL), INK_OK);
    assert_int_equal(more, 0);
    const ink_suggestion s = typing_shown(typing, 0);
    assert_int_equal(s.bytes, 0);
    assert_int_equal(s.revision, revision);
    assert_int_equal(ink_typing_accept(typing, NULL, INK_ACCEPT_ALL, &edit, NULL), INK_E_NOT_FOUND);
    field_type(&f, " big");
    assert_int_equal(typing_update(typing, &f, NULL), INK_OK);
    typing_expect_fresh(typing, story.model, &options, &f, "after a reject");
    assert_int_equal(ink_typing_free(typing), INK_OK);
}

static void test_revisions(void **state) {
    (void)state;
    static field f;
    const ink_typing_options options = typing_defaults();
    ink_typing *typing = typing_new(story.model, &options);
    uint64_t last = 0, revision = 0;
    field_set(&f, begin);
    assert_int_equal(typing_update(typing, &f, &last), INK_OK);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(typing_update(typing, &f, &revision), INK_OK);
        assert_int_equal(revision, last + 1);
        last = revision;
    }
    typing_finish(typing);
    const ink_edit edit = accepted(typing, &f, INK_ACCEPT_ALL);
    assert_int_equal(edit.revision, last + 1);
    assert_int_equal(ink_typing_reject(typing, &revision, NULL), INK_OK);
    assert_int_equal(revision, last + 2);
    assert_int_equal(ink_typing_free(typing), INK_OK);
}

static int set_up(void **state) {
    (void)state;
    story = opened_story(1, NULL);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    opened_close(&story);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_undo_all_the_way),
                                       cmocka_unit_test(test_history_is_bounded),
                                       cmocka_unit_test(test_no_history),
                                       cmocka_unit_test(test_undo_after_edits),
                                       cmocka_unit_test(test_undo_after_caret_moves),
                                       cmocka_unit_test(test_undo_inside_of_text),
                                       cmocka_unit_test(test_units),
                                       cmocka_unit_test(test_stale),
                                       cmocka_unit_test(test_retry),
                                       cmocka_unit_test(test_retry_before_a_stop_string),
                                       cmocka_unit_test(test_nothing_to_retry),
                                       cmocka_unit_test(test_reject),
                                       cmocka_unit_test(test_revisions)};
    return cmocka_run_group_tests_name("typing: history", tests, set_up, tear_down);
}
