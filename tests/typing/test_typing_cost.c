// SPDX-License-Identifier: MIT
// What typing costs, in counts of evaluated tokens: a key inside a word none of the text, what was
// accepted none that the cache holds, the window's start moves once in half a window.
#include "typing_fixture.h"

static opened story;
static const char begin[] = "Once upon a time there was a";

static size_t n_tokens_of(const char *text, size_t bytes) {
    size_t n = 0;
    assert_int_equal(ink_tokenize(story.model, text, bytes, 0, NULL, 0, &n, NULL), INK_OK);
    return n;
}

static ink_suggestion key(ink_typing *typing, const field *f) {
    assert_int_equal(typing_update(typing, f, NULL), INK_OK);
    typing_finish(typing);
    return typing_shown(typing, 0);
}

typedef struct seen_first {
    bool seen;
    uint32_t n_tokens, n_evaluated;
} seen_first;

static void on_first(void *user, ink_typing *typing, const ink_suggestion *s) {
    seen_first *first = user;
    (void)typing;
    if (first->seen || s->bytes == 0) return;
    *first = (seen_first){true, s->n_tokens, s->n_evaluated};
}

// Words that are one token with the blank before them.
static void test_inside_a_word(void **state) {
    (void)state;
    static const char *const words[] = {"little", "girl", "with", "happy", "friend"};
    static field f;
    seen_first first = {false, 0, 0};
    ink_typing_options options = typing_defaults();
    options.on_suggestion = on_first;
    options.user = &first;
    ink_typing *typing = typing_new(story.model, &options);
    field_set(&f, begin);
    key(typing, &f);
    for (size_t w = 0; w < sizeof words / sizeof *words; w++) {
        char joined[32];
        snprintf(joined, sizeof joined, " %s", words[w]);
        assert_int_equal(n_tokens_of(joined, strlen(joined)), 1);
        for (size_t i = 0; joined[i] != 0; i++) {
            field_type(&f, (char[]){joined[i], 0});
            first.seen = false;
            const ink_suggestion s = key(typing, &f);
            // The blank ends the word before: its token may be new.
            assert_true(s.n_prompt_evaluated <= (i == 0 ? 1 : 0));
            // With the logits held, the k-th token stands on k - 1 evaluations.
            if (first.seen && s.n_prompt_evaluated == 0)
                assert_true(first.n_evaluated < first.n_tokens);
        }
    }
    assert_int_equal(ink_typing_free(typing), INK_OK);
}

static void test_backspaces(void **state) {
    (void)state;
    static field f;
    const ink_typing_options options = typing_defaults();
    ink_typing *typing = typing_new(story.model, &options);
    field_set(&f, "Once upon a time there was a little girl named Lily. She was happy");
    assert_true(key(typing, &f).n_prompt_evaluated > 0);
    // What is left was evaluated; at most the last token of a word made shorter is another one.
    for (int i = 0; i < 30; i++) {
        field_remove(&f, -1);
        assert_true(key(typing, &f).n_prompt_evaluated <= 1);
    }
    assert_int_equal(ink_typing_free(typing), INK_OK);
}

static void test_same_text_again(void **state) {
    (void)state;
    static field f;
    const ink_typing_options options = typing_defaults();
    ink_typing *typing = typing_new(story.model, &options);
    field_set(&f, "Once upon a time there was a little girl");
    key(typing, &f);
    assert_int_equal(key(typing, &f).n_prompt_evaluated, 0);
    // What stands behind the caret is not read.
    const size_t caret = f.caret;
    field_type(&f, " and her mother.");
    f.caret = caret;
    assert_int_equal(key(typing, &f).n_prompt_evaluated, 0);
    assert_int_equal(ink_typing_free(typing), INK_OK);
}

static void accept_all_the_way(uint32_t unit, uint32_t n_alternatives) {
    static field f;
    ink_typing_options options = typing_defaults();
    options.n_alternatives = n_alternatives;
    ink_typing *typing = typing_new(story.model, &options);
    field_set(&f, begin);
    key(typing, &f);
    unsigned n = 0;
    for (; n < 12; n++) {
        ink_edit edit = {.size = sizeof edit};
        const ink_status status = ink_typing_accept(typing, NULL, unit, &edit, NULL);
        if (status == INK_E_NOT_FOUND) break; // the model has nothing more to say
        assert_int_equal(status, INK_OK);
        field_apply(&f, &edit);
        typing_finish(typing);
        const ink_suggestion s = typing_shown(typing, 0);
        assert_int_equal(s.revision, edit.revision);
        if (s.n_prompt_evaluated > 0)
            fail_msg("%u tokens were evaluated for \"%.*s\"", (unsigned)s.n_prompt_evaluated,
                     (int)f.caret, f.text);
    }
    print_message("accepted %u times: \"%.*s\"\n", n, (int)f.caret, f.text);
    assert_true(n >= 3);
    assert_int_equal(ink_typing_free(typing), INK_OK);
}

static void test_accepting_words(void **state) {
    (void)state;
    accept_all_the_way(INK_ACCEPT_WORD, 1);
    accept_all_the_way(INK_ACCEPT_WORD, 3);
}

static void test_accepting_all(void **state) {
    (void)state;
    accept_all_the_way(INK_ACCEPT_ALL, 1);
}

// Only what was pasted is evaluated, and the word before it once more at most.
static void test_paste(void **state) {
    (void)state;
    static field f;
    const char pasted[] = " girl named Lily who liked to play in the park";
    const ink_typing_options options = typing_defaults();
    ink_typing *typing = typing_new(story.model, &options);
    field_set(&f, "Once upon a time there was a little");
    key(typing, &f);
    field_type(&f, pasted);
    assert_true(key(typing, &f).n_prompt_evaluated <= n_tokens_of(pasted, sizeof pasted - 1) + 1);
    assert_int_equal(ink_typing_free(typing), INK_OK);
}

// A caret that goes back needs one token at most, whose logits are not held any more; one that goes
// there again at most the tokens between.
static void test_caret(void **state) {
    (void)state;
    static field f;
    const ink_typing_options options = typing_defaults();
    ink_typing *typing = typing_new(story.model, &options);
    field_set(&f, "Once upon a time there was a little girl named Lily. She had a red ball");
    key(typing, &f);
    field_move(&f, -19); // behind "Lily."
    assert_true(key(typing, &f).n_prompt_evaluated <= 1);
    field_move(&f, 19);
    assert_true(key(typing, &f).n_prompt_evaluated <= n_tokens_of(" She had a red ball", 19) + 1);
    assert_int_equal(ink_typing_free(typing), INK_OK);
}

// Whether a key evaluated so much that its window must have moved.
static void test_window_moves_seldom(void **state) {
    (void)state;
    enum { WINDOW = 20, WORDS = 120 };
    static const char *const words[] = {"the", "girl", "was", "happy", "and", "played", "with"};
    static field f;
    ink_typing_options options = typing_defaults();
    options.window_words = WINDOW;
    options.max_tokens = 2;
    ink_typing *typing = typing_new(story.model, &options);
    unsigned n_moved = 0;
    field_set(&f, "Once");
    for (unsigned i = 0; i < WORDS; i++) {
        uint32_t evaluated = 0;
        field_type(&f, " ");
        evaluated += key(typing, &f).n_prompt_evaluated;
        field_type(&f, words[i % 7]);
        const ink_suggestion s = key(typing, &f);
        evaluated += s.n_prompt_evaluated;
        n_moved += evaluated > 5;
        if (i > WINDOW) assert_true(s.n_prompt >= WINDOW / 2 - 1 && s.n_prompt <= 2 * WINDOW);
    }
    print_message("%u words, the window's start moved %u times\n", (unsigned)WORDS, n_moved);
    assert_true(n_moved >= (WORDS - WINDOW) / (WINDOW / 2) - 1);
    assert_true(n_moved <= WORDS / (WINDOW / 2) + 1);
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
        cmocka_unit_test(test_inside_a_word),   cmocka_unit_test(test_backspaces),
        cmocka_unit_test(test_same_text_again), cmocka_unit_test(test_accepting_words),
        cmocka_unit_test(test_accepting_all),   cmocka_unit_test(test_paste),
        cmocka_unit_test(test_caret),           cmocka_unit_test(test_window_moves_seldom)};
    return cmocka_run_group_tests_name("typing: cost", tests, set_up, tear_down);
}
