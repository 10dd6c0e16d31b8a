// SPDX-License-Identifier: MIT
// Callers that get things wrong: each time a status that names it, and a session that goes on.
#include "typing_fixture.h"

static opened story;
static ink_typing_options options;
static const char begin[] = "Once upon a time there was a";

static ink_typing *begun(field *f) {
    options = typing_defaults();
    ink_typing *typing = typing_new(story.model, &options);
    field_set(f, begin);
    assert_int_equal(typing_update(typing, f, NULL), INK_OK);
    typing_finish(typing);
    assert_true(typing_shown(typing, 0).bytes > 0);
    return typing;
}

// A text that is refused: outputs untouched, nothing is suggested, the next one is as good as ever.
static void refused(const char *text, size_t bytes, size_t caret, ink_status expected) {
    static field f;
    ink_typing *typing = begun(&f);
    ink_error error = {0};
    ink_edit edit = {.size = sizeof edit};
    uint64_t revision = 77;
    uint32_t more = 1;
    assert_int_equal(ink_typing_update(typing, text, bytes, caret, &revision, &error), expected);
    assert_int_equal(revision, 77);
    assert_int_equal(error.status, expected);
    assert_true(error.message[0] != 0 && strchr(error.message, '\n') == NULL);
    assert_int_equal(ink_typing_run(typing, UINT32_MAX, &more, NULL), INK_OK);
    assert_int_equal(more, 0);
    assert_int_equal(typing_shown(typing, 0).bytes, 0);
    assert_int_equal(ink_typing_accept(typing, NULL, INK_ACCEPT_ALL, &edit, NULL), INK_E_NOT_FOUND);
    assert_int_equal(ink_typing_retry(typing, NULL, NULL), INK_E_NOT_FOUND);
    assert_int_equal(typing_update(typing, &f, NULL), INK_OK);
    typing_expect_fresh(typing, story.model, &options, &f, "after a refused text");
    assert_int_equal(ink_typing_free(typing), INK_OK);
}

static void test_not_utf8(void **state) {
    (void)state;
    static const char *const texts[] = {"\xff",
                                        "abc\x80",
                                        "\xc3",
                                        "\xe4\xb8",
                                        "\xf0\x9f\x98",
                                        "\xc0\xaf", // cut off, overlong
                                        "\xe0\x80\xaf",
                                        "\xed\xa0\x80",
                                        "\xf4\x90\x80\x80", // a surrogate, over U+10FFFF
                                        "good \xe4\xb8\xad then \xfe bad"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        refused(texts[i], strlen(texts[i]), strlen(texts[i]), INK_E_UTF8);
    refused("\xe4\xb8\xad", 2, 2, INK_E_UTF8); // its last byte is not of the text
    refused("good\xff", 5, 4, INK_E_UTF8);     // behind the caret, but in the field
}

static void test_caret(void **state) {
    (void)state;
    refused("abc", 3, 4, INK_E_ARG);
    refused("abc", 3, SIZE_MAX, INK_E_ARG);
    refused("", 0, 1, INK_E_ARG);
    refused("caf\xc3\xa9", 5, 4, INK_E_ARG);
    refused("\xf0\x9f\x98\x80", 4, 1, INK_E_ARG);
    refused("\xf0\x9f\x98\x80", 4, 3, INK_E_ARG);
}

static void test_too_long(void **state) {
    (void)state;
    refused("a", (size_t)1 << 31, 0, INK_E_LIMIT); // before the text is looked at
}

static void test_null_text(void **state) {
    (void)state;
    refused(NULL, 5, 0, INK_E_ARG);
}

static void test_empty_text(void **state) {
    (void)state;
    static field f;
    ink_typing *typing = begun(&f);
    f.bytes = f.caret = 0;
    assert_int_equal(typing_update(typing, &f, NULL), INK_OK);
    typing_finish(typing);
    assert_int_equal(typing_shown(typing, 0).bytes, 0); // min_chars is 1
    assert_int_equal(typing_shown(typing, 0).done, 1);
    field_set(&f, begin);
    f.caret = 0; // all of it behind the caret
    assert_int_equal(typing_update(typing, &f, NULL), INK_OK);
    typing_finish(typing);
    assert_int_equal(typing_shown(typing, 0).bytes, 0);
    assert_int_equal(ink_typing_free(typing), INK_OK);
}

// A 0 byte is a character like others.
static void test_zero_byte(void **state) {
    (void)state;
    static field f;
    ink_typing *typing = begun(&f);
    f.text[4] = 0;
    assert_int_equal(typing_update(typing, &f, NULL), INK_OK);
    typing_expect_fresh(typing, story.model, &options, &f, "with a 0 byte");
    assert_int_equal(ink_typing_free(typing), INK_OK);
}

static void test_before_any_text(void **state) {
    (void)state;
    options = typing_defaults();
    ink_typing *typing = typing_new(story.model, &options);
    ink_edit edit = {.size = sizeof edit};
    uint32_t more = 1;
    assert_int_equal(ink_typing_run(typing, UINT32_MAX, &more, NULL), INK_OK);
    assert_int_equal(more, 0);
    assert_int_equal(typing_shown(typing, 0).bytes, 0);
    ink_typing_cancel(typing);
    assert_int_equal(ink_typing_accept(typing, NULL, INK_ACCEPT_ALL, &edit, NULL), INK_E_NOT_FOUND);
    assert_int_equal(ink_typing_undo(typing, &edit, NULL), INK_E_NOT_FOUND);
    assert_int_equal(ink_typing_free(typing), INK_OK);
}

static void test_null_arguments(void **state) {
    (void)state;
    static field f;
    ink_typing *typing = begun(&f);
    ink_edit edit = {.size = sizeof edit};
    ink_suggestion s = {.size = sizeof s};
    ink_memory memory = {.size = sizeof memory};
    ink_error error = {0};
    const ink_source source = story_source();
    assert_int_equal(ink_typing_new(NULL, story.model, NULL, &error), INK_E_ARG);
    ink_typing *made = NULL;
    assert_int_equal(ink_typing_new(&made, NULL, NULL, &error), INK_E_ARG);
    assert_null(made);
    assert_int_equal(ink_typing_update(NULL, "a", 1, 1, NULL, &error), INK_E_ARG);
    assert_int_equal(ink_typing_run(NULL, 0, NULL, &error), INK_E_ARG);
    assert_int_equal(ink_typing_suggestion(NULL, 0, &s), INK_E_ARG);
    assert_int_equal(ink_typing_suggestion(typing, 0, NULL), INK_E_ARG);
    assert_int_equal(ink_typing_accept(NULL, NULL, 0, &edit, &error), INK_E_ARG);
    assert_int_equal(ink_typing_accept(typing, NULL, 0, NULL, &error), INK_E_ARG);
    assert_int_equal(ink_typing_undo(NULL, &edit, &error), INK_E_ARG);
    assert_int_equal(ink_typing_undo(typing, NULL, &error), INK_E_ARG);
    assert_int_equal(ink_typing_retry(NULL, NULL, &error), INK_E_ARG);
    assert_int_equal(ink_typing_reject(NULL, NULL, &error), INK_E_ARG);
    assert_int_equal(ink_typing_measure(NULL, NULL, NULL, &error), INK_E_ARG);
    assert_int_equal(ink_typing_measure(&source, NULL, NULL, &error), INK_E_ARG);
    assert_int_equal(ink_typing_measure(&source, NULL, &memory, NULL), INK_OK);
    ink_typing_cancel(NULL);
    assert_int_equal(ink_typing_free(NULL), INK_OK);
    ink_typing_options_init(NULL, 0);
    // Nothing of this has changed anything.
    typing_expect_fresh(typing, story.model, &options, &f, "after NULLs");
    assert_int_equal(ink_typing_free(typing), INK_OK);
}

static void test_wrong_indices(void **state) {
    (void)state;
    static field f;
    ink_typing *typing = begun(&f);
    ink_suggestion s = {.size = sizeof s, .n_tokens = 77};
    ink_edit edit = {.size = sizeof edit, .at = 77};
    assert_int_equal(ink_typing_suggestion(typing, 1, &s), INK_E_ARG);
    assert_int_equal(ink_typing_suggestion(typing, UINT32_MAX, &s), INK_E_ARG);
    assert_int_equal(s.n_tokens, 77);
    assert_int_equal(ink_typing_accept(typing, NULL, 3, &edit, NULL), INK_E_ARG);
    assert_int_equal(edit.at, 77);
    assert_int_equal(ink_typing_free(typing), INK_OK);
}

// A suggestion that the host has made up.
static void test_made_up_suggestions(void **state) {
    (void)state;
    static field f;
    ink_typing *typing = begun(&f);
    ink_edit edit = {.size = sizeof edit, .at = 77};
    ink_suggestion s = typing_shown(typing, 0);
    s.text = "\xff\xfe";
    s.bytes = 2;
    assert_true(ink_typing_accept(typing, &s, INK_ACCEPT_ALL, &edit, NULL) != INK_OK);
    s.text = NULL;
    assert_true(ink_typing_accept(typing, &s, INK_ACCEPT_ALL, &edit, NULL) != INK_OK);
    s = typing_shown(typing, 0);
    s.revision += 5;
    assert_true(ink_typing_accept(typing, &s, INK_ACCEPT_ALL, &edit, NULL) != INK_OK);
    assert_int_equal(edit.at, 77);
    typing_expect_fresh(typing, story.model, &options, &f, "after made-up suggestions");
    // A size of 0 is that of this version, as in all reports.
    s = typing_shown(typing, 0);
    s.size = 0;
    assert_int_equal(ink_typing_accept(typing, &s, INK_ACCEPT_ALL, &edit, NULL), INK_OK);
    assert_int_equal(edit.at, f.caret);
    assert_string_equal(edit.text, s.text);
    assert_int_equal(ink_typing_free(typing), INK_OK);
}

// --- options -------------------------------------------------------------------------------------

static void expect_new(const ink_typing_options *o, ink_status expected) {
    ink_typing *typing = NULL;
    ink_error error = {0};
    ink_memory memory = {.size = sizeof memory};
    const ink_source source = story_source();
    const ink_status status = ink_typing_new(&typing, story.model, o, &error);
    if (status != expected)
        fail_msg("%s was expected, not %s: %s", ink_status_name(expected), ink_status_name(status),
                 error.message);
    if (expected != INK_OK) {
        assert_null(typing);
        assert_int_equal(error.status, expected);
        assert_true(error.message[0] != 0);
    }
    assert_int_equal(ink_typing_measure(&source, o, &memory, NULL), expected);
    assert_int_equal(ink_typing_free(typing), INK_OK);
}

static void test_option_limits(void **state) {
    (void)state;
    ink_typing_options o = typing_defaults();
    ink_model_info info = {.size = sizeof info};
    assert_int_equal(ink_model_get_info(story.model, &info), INK_OK);
    expect_new(NULL, INK_OK);
    expect_new(&o, INK_OK);
#define EXPECT_FIELD(field, value, expected)                                                       \
    do {                                                                                           \
        o = typing_defaults();                                                                     \
        o.field = (value);                                                                         \
        expect_new(&o, (expected));                                                                \
    } while (0)
    EXPECT_FIELD(max_tokens, 257, INK_E_LIMIT);
    EXPECT_FIELD(n_alternatives, 8, INK_OK);
    EXPECT_FIELD(n_alternatives, 9, INK_E_LIMIT);
    EXPECT_FIELD(n_history, 1024, INK_OK);
    EXPECT_FIELD(n_history, 1025, INK_E_LIMIT);
    EXPECT_FIELD(n_ctx, info.n_ctx + 1, INK_E_LIMIT);
    EXPECT_FIELD(n_ctx, info.n_ctx, INK_OK);
    EXPECT_FIELD(window_tokens, 257, INK_E_LIMIT);
    EXPECT_FIELD(kv_type, 3, INK_E_ARG);
    EXPECT_FIELD(until, 5, INK_E_ARG);
    EXPECT_FIELD(n_stop, 1, INK_E_ARG); // of none
#undef EXPECT_FIELD
    static const char *const stop[] = {"end", NULL};
    o = typing_defaults();
    o.stop = stop;
    o.n_stop = 2;
    expect_new(&o, INK_E_ARG);
}

static void test_sizes_of_options(void **state) {
    (void)state;
    struct {
        ink_typing_options options;
        uint64_t later; // a field of a later version
    } longer = {.options = typing_defaults()};
    longer.options.size = sizeof longer;
    expect_new(&longer.options, INK_OK);
    longer.later = 1;
    expect_new(&longer.options, INK_E_UNSUPPORTED);
    ink_typing_options o = typing_defaults();
    o.size = offsetof(ink_typing_options, filter) + 4;
    expect_new(&o, INK_E_ARG);
    o.size = offsetof(ink_typing_options, filter); // a version without
    expect_new(&o, INK_OK);
    o.size = 0;
    expect_new(&o, INK_E_ARG);
}

static void test_sizes_of_reports(void **state) {
    (void)state;
    static field f;
    ink_typing *typing = begun(&f);
    struct {
        ink_suggestion s;
        uint32_t later;
    } longer = {.s.size = sizeof longer, .later = 7};
    assert_int_equal(ink_typing_suggestion(typing, 0, &longer.s), INK_OK);
    assert_int_equal(longer.s.size, sizeof longer.s);
    assert_int_equal(longer.later, 7);
    ink_suggestion shorter = {.size = offsetof(ink_suggestion, stop), .stop = 99};
    assert_int_equal(ink_typing_suggestion(typing, 0, &shorter), INK_OK);
    assert_int_equal(shorter.size, offsetof(ink_suggestion, stop));
    assert_int_equal(shorter.stop, 99);
    assert_int_equal(shorter.bytes, longer.s.bytes);
    ink_suggestion whole = {.size = 0};
    assert_int_equal(ink_typing_suggestion(typing, 0, &whole), INK_OK);
    assert_int_equal(whole.size, sizeof whole);
    ink_edit edit = {.size = offsetof(ink_edit, text), .bytes = 99};
    assert_int_equal(ink_typing_accept(typing, NULL, INK_ACCEPT_WORD, &edit, NULL), INK_OK);
    assert_int_equal(edit.size, offsetof(ink_edit, text));
    assert_int_equal(edit.bytes, 99);
    assert_int_equal(edit.at, f.caret);
    assert_int_equal(ink_typing_free(typing), INK_OK);
}

static void test_inspected_model(void **state) {
    (void)state;
    ink_model *model = NULL;
    ink_model_options mo;
    ink_model_options_init(&mo, sizeof mo);
    mo.flags = INK_MODEL_INSPECT;
    const ink_source source = story_source();
    assert_int_equal(ink_model_open(&model, story.runtime, &source, &mo, NULL), INK_OK);
    ink_typing *typing = NULL;
    assert_int_equal(ink_typing_new(&typing, model, NULL, NULL), INK_E_UNSUPPORTED);
    assert_null(typing);
    ink_model_unref(model);
}

// The session holds its model, and what it was given is copied.
static void test_released_early(void **state) {
    (void)state;
    static field f;
    static shown_all expected, got;
    opened other = opened_story(1, NULL);
    const char *const phrases[] = {"little", "big"};
    char stop[] = " and";
    const char *list[] = {stop};
    ink_filter *filter = NULL;
    assert_int_equal(ink_filter_new(&filter, other.runtime, phrases, 2, NULL), INK_OK);
    ink_typing_options o = typing_defaults();
    o.filter = filter;
    o.stop = list;
    o.n_stop = 1;
    field_set(&f, begin);
    assert_int_equal(typing_fresh(story.model, &o, &f, &expected), INK_OK);
    ink_typing *typing = typing_new(other.model, &o);
    ink_filter_unref(filter);
    opened_close(&other);
    memcpy(stop, "####", 4);
    list[0] = NULL;
    assert_int_equal(typing_update(typing, &f, NULL), INK_OK);
    memset(f.text, '#', f.bytes); // copied as well
    typing_finish(typing);
    typing_copy(typing, 1, &got);
    assert_true(shown_same(&got, &expected));
    assert_int_equal(ink_typing_free(typing), INK_OK);
}

// In the field, not in the part of it that is read; what is not read may hold anything.
static void test_filter_says_where(void **state) {
    (void)state;
    static field f;
    static const char read[] = "six seven upon a nine";
    const char *const phrases[] = {"upon a", "girl"};
    ink_filter *filter = NULL;
    assert_int_equal(ink_filter_new(&filter, NULL, phrases, 2, NULL), INK_OK);
    ink_typing_options o = typing_defaults();
    o.filter = filter;
    o.window_words = 8;
    ink_typing *typing = typing_new(story.model, &o);
    ink_filter_unref(filter);
    field_set(&f, "One girl three four five ");
    field_type(&f, read);
    ink_error error = {0};
    assert_int_equal(ink_typing_update(typing, f.text, f.bytes, f.caret, NULL, &error),
                     INK_E_FILTERED);
    assert_int_equal(error.offset, f.bytes - strlen(read) + 10);
    assert_int_equal(ink_typing_free(typing), INK_OK);
}

static void test_filters(void **state) {
    (void)state;
    static field f;
    const char *const phrases[] = {"upon a", "girl"};
    ink_filter *filter = NULL;
    assert_int_equal(ink_filter_new(&filter, NULL, phrases, 0, NULL), INK_E_ARG);
    assert_int_equal(ink_filter_new(&filter, NULL, NULL, 2, NULL), INK_E_ARG);
    assert_null(filter);
    assert_int_equal(ink_filter_new(&filter, NULL, phrases, 2, NULL), INK_OK);
    ink_typing_options o = typing_defaults();
    o.filter = filter;
    ink_typing *typing = typing_new(story.model, &o);
    ink_filter_unref(filter);
    uint64_t revision = 77;
    ink_error error = {0};
    field_set(&f, begin);
    assert_int_equal(ink_typing_update(typing, f.text, f.bytes, f.caret, &revision, &error),
                     INK_E_FILTERED);
    assert_int_equal(revision, 77);
    assert_int_equal(error.status, INK_E_FILTERED);
    typing_finish(typing);
    assert_int_equal(typing_shown(typing, 0).bytes, 0);
    assert_int_equal(error.offset, 5);
    field_move(&f, -20); // before the phrase
    assert_int_equal(typing_update(typing, &f, NULL), INK_OK);
    field_set(&f, "There was a little boy and a little");
    assert_int_equal(typing_update(typing, &f, NULL), INK_OK);
    typing_finish(typing);
    assert_null(strstr(typing_shown(typing, 0).text, "girl"));
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
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_not_utf8),          cmocka_unit_test(test_caret),
        cmocka_unit_test(test_too_long),          cmocka_unit_test(test_null_text),
        cmocka_unit_test(test_empty_text),        cmocka_unit_test(test_zero_byte),
        cmocka_unit_test(test_before_any_text),   cmocka_unit_test(test_null_arguments),
        cmocka_unit_test(test_wrong_indices),     cmocka_unit_test(test_made_up_suggestions),
        cmocka_unit_test(test_option_limits),     cmocka_unit_test(test_sizes_of_options),
        cmocka_unit_test(test_sizes_of_reports),  cmocka_unit_test(test_inspected_model),
        cmocka_unit_test(test_released_early),    cmocka_unit_test(test_filters),
        cmocka_unit_test(test_filter_says_where),
    };
    return cmocka_run_group_tests_name("typing: wrong callers", tests, set_up, tear_down);
}
