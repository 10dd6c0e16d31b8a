// SPDX-License-Identifier: MIT
// The editor without a screen, against oracles that know nothing of gaps and steps: the text is a
// plain array of bytes.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/text.c"
#include "cli/type_editor.c"
#include "cli/type_history.c"
#include "cli/type_input.c"
#include "cli/type_layout.c"
#include "cli/type_text.c"

#include <langinfo.h>
#include <locale.h>

enum { MAX_TEXT = 1 << 16 };

static uint64_t random_state = 1;
static uint32_t below(uint32_t n) {
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((random_state >> 33) % n);
}

static const char *const samples[] = {"a",
                                      "b",
                                      "word",
                                      "longerword",
                                      " ",
                                      " ",
                                      " ",
                                      "\n",
                                      "\t",
                                      "\xc3\xa9",
                                      "e\xcc\x81",
                                      "\xe4\xbd\xa0",
                                      "\xe5\xa5\xbd",
                                      "\033",
                                      "\xe2\x80\xae",
                                      "\xf0\x9f\x98\x80",
                                      "\xcc\x81",
                                      ".",
                                      "supercalifragilisticexpialidocious"};
enum { N_SAMPLES = sizeof samples / sizeof *samples };

static size_t random_text(char *out, size_t pieces) {
    size_t n = 0;
    for (size_t i = 0; i < pieces; i++) {
        const char *s = samples[below(N_SAMPLES)];
        memcpy(out + n, s, strlen(s));
        n += strlen(s);
    }
    out[n] = 0;
    return n;
}

// --- the text ---------------------------------------------------------------------------------

static void replacing_is_that_of_an_array(void **state) {
    (void)state;
    type_text text = {0};
    char *want = calloc(MAX_TEXT, 1), *got = calloc(MAX_TEXT, 1), put[256];
    size_t n = 0;
    for (int round = 0; round < 20000; round++) {
        const size_t at = below((uint32_t)n + 1);
        size_t n_old = below(4) == 0 ? below((uint32_t)(n - at) + 1) : 0;
        if (n < 20000 && n_old > 50) n_old = 50;
        const size_t n_put = random_text(put, below(4));
        memmove(want + at + n_put, want + at + n_old, n - at - n_old);
        memcpy(want + at, put, n_put);
        n += n_put - n_old;
        want[n] = 0;
        assert_true(type_text_replace(&text, at, n_old, put, n_put));
        assert_int_equal(text.n, n);
        if (round % 16 == 0) {
            type_text_copy(&text, 0, n, got);
            assert_memory_equal(got, want, n);
            const size_t from = below((uint32_t)n + 1), to = from + below((uint32_t)(n - from) + 1);
            size_t line = SIZE_MAX;
            for (size_t i = from; i < to; i++)
                if (want[i] == '\n') line = i + 1;
            assert_int_equal(type_text_line_back(&text, from, to, SIZE_MAX), line);
        }
        if (round % 64 == 0) assert_string_equal(type_text_all(&text), want);
        if (n > MAX_TEXT - 2048) n = 0, type_text_free(&text);
    }
    free(want);
    free(got);
    type_text_free(&text);
}

static type_text text_of(const char *s) {
    type_text text = {0};
    assert_true(type_text_replace(&text, 0, 0, s, strlen(s)));
    return text;
}

// The steps forth are the ends of `parts`, the steps back the same.
static void expect_steps(const char *const *parts, size_t n, bool words) {
    char all[256] = "";
    size_t ends[32] = {0};
    for (size_t i = 0; i < n; i++) {
        strcat(all, parts[i]);
        ends[i + 1] = strlen(all);
    }
    type_text text = text_of(all);
    for (size_t i = 0; i < n; i++) {
        const size_t next =
            words ? type_text_next_word(&text, ends[i]) : type_text_next(&text, ends[i]);
        assert_int_equal(next, ends[i + 1]);
        if (!words) assert_int_equal(type_text_prev(&text, ends[i + 1]), ends[i]);
    }
    assert_int_equal(type_text_next(&text, text.n), text.n);
    assert_int_equal(type_text_prev(&text, 0), 0);
    type_text_free(&text);
}

static void steps_are_what_looks_like_a_character(void **state) {
    (void)state;
    static const char *const parts[] = {
        "a",
        "e\xcc\x81\xcc\xa3",
        "\xe4\xbd\xa0",
        "\n",
        "\xcc\x81",
        "\t",
        "\xcc\x81",
        "b",
        "\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x91\xa7", // a family of two
        "\xf0\x9f\x91\x8b\xf0\x9f\x8f\xbd",             // a hand in a colour
        "\xe2\x9d\xa4\xef\xb8\x8f",
        "\xf0\x9f\x98\x80",
        "z"};
    expect_steps(parts, sizeof parts / sizeof *parts, false);
}

static void words_have_their_blanks_before_them(void **state) {
    (void)state;
    static const char *const parts[] = {"It's", " a", "\n\n n\u00e9e\u0301",       "...(",

                                        "x_1",  ")",  "  \xe4\xbd\xa0\xe5\xa5\xbd"};
    expect_steps(parts, sizeof parts / sizeof *parts, true);
    type_text text = text_of("one two,  three ");
    static const size_t back[] = {16, 10, 7, 4, 0};
    for (size_t i = 0; i + 1 < sizeof back / sizeof *back; i++)
        assert_int_equal(type_text_prev_word(&text, back[i]), back[i + 1]);
    assert_int_equal(type_text_prev_word(&text, 0), 0);
    type_text_free(&text);
}

// --- what can be undone ------------------------------------------------------------------------

static void expect_text(const type_editor *editor, const char *want) {
    char *got = calloc(editor->text.n + 1, 1);
    type_text_copy(&editor->text, 0, editor->text.n, got);
    assert_string_equal(got, want);
    free(got);
}

static void type_each(type_editor *editor, const char *s) {
    for (size_t i = 0; s[i] != 0; i++)
        assert_true(type_editor_insert(editor, TYPE_KEY_TEXT, s + i, 1));
}

static void keys(type_editor *editor, type_key key, int times) {
    for (; times > 0; times--) assert_true(type_editor_key(editor, key));
}

static void typing_is_undone_by_words(void **state) {
    (void)state;
    type_editor editor = {.rows = 10, .width = 20};
    type_each(&editor, "one two three");
    keys(&editor, TYPE_KEY_BACKSPACE, 5);
    expect_text(&editor, "one two ");
    keys(&editor, TYPE_KEY_UNDO, 1);
    expect_text(&editor, "one two three");
    assert_int_equal(editor.caret, 13);
    keys(&editor, TYPE_KEY_UNDO, 1);
    expect_text(&editor, "one two ");
    keys(&editor, TYPE_KEY_UNDO, 1);
    expect_text(&editor, "one ");
    keys(&editor, TYPE_KEY_REDO, 1);
    expect_text(&editor, "one two ");
    type_each(&editor, "x");
    keys(&editor, TYPE_KEY_REDO, 3); // nothing left to do again
    expect_text(&editor, "one two x");
    keys(&editor, TYPE_KEY_LEFT, 1);
    keys(&editor, TYPE_KEY_DELETE, 1);
    keys(&editor, TYPE_KEY_FIRST, 1);
    keys(&editor, TYPE_KEY_DELETE, 2);
    expect_text(&editor, "e two ");
    keys(&editor, TYPE_KEY_UNDO, 1);
    expect_text(&editor, "one two ");
    keys(&editor, TYPE_KEY_UNDO, 9);
    expect_text(&editor, "");
    type_editor_free(&editor);
}

static void each_paste_and_each_suggestion_is_a_step(void **state) {
    (void)state;
    type_editor editor = {.rows = 10, .width = 20};
    for (int i = 0; i < 2; i++) {
        assert_true(type_editor_insert(&editor, TYPE_KEY_PASTE, "", 0));
        assert_true(type_editor_insert(&editor, TYPE_KEY_PASTE, "pas", 3));
        assert_true(type_editor_insert(&editor, TYPE_KEY_PASTE, "ted", 3));
    }
    type_each(&editor, "ty");
    assert_true(type_editor_put(&editor, TYPE_STEP_ACCEPTED, 14, 0, "ped", 3));
    assert_true(type_editor_put(&editor, TYPE_STEP_ACCEPTED, 17, 0, " in", 3));
    assert_int_equal(type_history_newest(&editor.history)->kind, TYPE_STEP_ACCEPTED);
    static const char *const back[] = {"pastedpastedtyped", "pastedpastedty", "pastedpasted",
                                       "pasted", ""};
    for (size_t i = 0; i < 5; i++) {
        keys(&editor, TYPE_KEY_UNDO, 1);
        expect_text(&editor, back[i]);
    }
    assert_null(type_history_newest(&editor.history));
    type_editor_free(&editor);
}

static void undo_forgets_the_oldest(void **state) {
    (void)state;
    type_editor editor = {.rows = 10, .width = 20};
    for (int i = 0; i < TYPE_HISTORY_STEPS + 10; i++) {
        type_each(&editor, "x");
        type_history_seal(&editor.history);
    }
    keys(&editor, TYPE_KEY_UNDO, TYPE_HISTORY_STEPS + 10);
    assert_true(editor.text.n > 0 && editor.text.n <= TYPE_HISTORY_STEPS / 4 + 10);
    // What was erased counts by its bytes.
    enum { PART = 5 << 20 };
    char *part = malloc(PART);
    memset(part, 'y', PART);
    assert_true(type_editor_load(&editor, part, PART));
    free(part);
    for (int i = 0; i < 4; i++) {
        type_history_seal(&editor.history);
        assert_true(type_editor_put(&editor, TYPE_STEP_OTHER, 0, PART, "", 0));
        keys(&editor, TYPE_KEY_UNDO, 1);
        assert_int_equal(editor.text.n, PART);
    }
    assert_true(editor.history.undo.bytes + editor.history.redo.bytes <= 2 * TYPE_HISTORY_BYTES);
    type_editor_free(&editor);
}

// --- the editor ----------------------------------------------------------------------------------

// Edits at random; the text is that of an array, all that was done can be undone and done again.
static void random_editing(uint32_t seed) {
    random_state = seed;
    type_editor editor = {.rows = 1 + below(12), .width = 1 + below(30)};
    char *want = calloc(MAX_TEXT, 1), *first = calloc(MAX_TEXT, 1), piece[256];
    size_t n = random_text(want, 40);
    memcpy(first, want, n);
    const size_t n_first = n;
    assert_true(type_editor_load(&editor, want, n));
    for (int round = 0; round < 1500; round++) {
        const size_t caret = editor.caret;
        const uint32_t what = below(10);
        size_t from = caret, to = caret, n_put = 0;
        if (what < 4) {
            n_put = random_text(piece, 1 + below(2));
            const type_key key = what == 0 ? TYPE_KEY_PASTE : TYPE_KEY_TEXT;
            assert_true(type_editor_insert(&editor, key, piece, n_put));
        } else if (what < 6) {
            static const type_key erasers[] = {TYPE_KEY_BACKSPACE, TYPE_KEY_DELETE,
                                               TYPE_KEY_DELETE_WORD};
            assert_true(type_editor_key(&editor, erasers[below(3)]));
            const size_t gone = n - editor.text.n;
            from = editor.caret;
            to = from + gone;
            assert_true(from == caret || to == caret);
        } else {
            const type_key key = TYPE_KEY_LEFT + (type_key)below(TYPE_KEY_LAST - TYPE_KEY_LEFT + 1);
            assert_true(type_editor_key(&editor, key));
            type_editor_scroll(&editor);
        }
        memmove(want + from + n_put, want + to, n - to);
        memcpy(want + from, piece, n_put);
        n += n_put - (to - from);
        want[n] = 0;
        assert_int_equal(editor.text.n, n);
        assert_string_equal(type_text_all(&editor.text), want);
        // Between characters, on the screen, in a row that begins there.
        assert_true(editor.caret <= n && ((unsigned char)want[editor.caret] & 0xc0) != 0x80);
        type_editor_scroll(&editor);
        assert_int_equal(type_row_start(&editor.text, editor.width, editor.top), editor.top);
        size_t row = editor.top, rows = 1;
        const size_t caret_row = type_row_start(&editor.text, editor.width, editor.caret);
        for (; row != caret_row; rows++) row = type_row_next(&editor.text, editor.width, row);
        assert_true(rows <= editor.rows);
    }
    keys(&editor, TYPE_KEY_UNDO, 4000);
    assert_int_equal(editor.text.n, n_first);
    assert_memory_equal(type_text_all(&editor.text), first, n_first);
    keys(&editor, TYPE_KEY_REDO, 4000);
    assert_string_equal(type_text_all(&editor.text), want);
    free(want);
    free(first);
    type_editor_free(&editor);
}

static void edits_are_those_of_an_array(void **state) {
    (void)state;
    for (uint32_t seed = 1; seed <= 12; seed++) random_editing(seed);
}

static void up_and_down_keep_their_column(void **state) {
    (void)state;
    type_editor editor = {.rows = 10, .width = 40};
    static const char s[] = "abcdef\nab\n\xe4\xbd\xa0\xe5\xa5\xbd\xe4\xbd\xa0\xe5\xa5\xbd\n\tx";
    assert_true(type_editor_load(&editor, s, sizeof s - 1));
    keys(&editor, TYPE_KEY_RIGHT, 5);
    keys(&editor, TYPE_KEY_DOWN, 1);
    assert_int_equal(editor.caret, 9); // the end of "ab"
    keys(&editor, TYPE_KEY_DOWN, 1);
    assert_int_equal(editor.caret, 16); // left of the character over columns 4 and 5
    keys(&editor, TYPE_KEY_DOWN, 1);
    assert_int_equal(editor.caret, 23); // before the tab
    keys(&editor, TYPE_KEY_DOWN, 1);
    assert_int_equal(editor.caret, sizeof s - 1);
    keys(&editor, TYPE_KEY_UP, 1);
    assert_int_equal(editor.caret, 22); // its goal is now column 9, the row has eight
    keys(&editor, TYPE_KEY_HOME, 1);
    assert_int_equal(editor.caret, 10);
    keys(&editor, TYPE_KEY_END, 1);
    assert_int_equal(editor.caret, 22);
    keys(&editor, TYPE_KEY_PAGE_UP, 1);
    assert_int_equal(editor.caret, 6);
    keys(&editor, TYPE_KEY_UP, 1);
    assert_int_equal(editor.caret, 0);
    type_editor_free(&editor);
}

static void a_text_has_its_limit(void **state) {
    (void)state;
    type_editor editor = {.rows = 10, .width = 40};
    char *big = malloc(TYPE_MAX_BYTES + 1);
    memset(big, 'x', TYPE_MAX_BYTES + 1);
    assert_false(type_editor_load(&editor, big, TYPE_MAX_BYTES + 1));
    assert_true(type_editor_load(&editor, big, TYPE_MAX_BYTES));
    free(big);
    assert_false(type_editor_insert(&editor, TYPE_KEY_TEXT, "y", 1));
    assert_int_equal(editor.text.n, TYPE_MAX_BYTES);
    assert_int_equal(editor.caret, 0);
    keys(&editor, TYPE_KEY_LAST, 1);
    type_editor_scroll(&editor);
    keys(&editor, TYPE_KEY_BACKSPACE, 1);
    assert_true(type_editor_insert(&editor, TYPE_KEY_TEXT, "y", 1));
    assert_int_equal(type_text_byte(&editor.text, TYPE_MAX_BYTES - 1), 'y');
    type_editor_free(&editor);
}

// --- what comes from a terminal -----------------------------------------------------------------

static void expect_input(const char *bytes, const char *want, bool pasted) {
    type_input input = {0};
    if (pasted) type_input_begin_paste(&input);
    for (size_t i = 0; bytes[i] != 0; i++) {
        if (pasted) {
            assert_true(input.pasting);
            type_input_pasted(&input, bytes[i]);
        } else {
            type_input_byte(&input, bytes[i]);
        }
    }
    if (pasted && input.pasting) type_input_end_paste(&input);
    assert_false(input.pasting);
    assert_int_equal(input.n, strlen(want));
    assert_memory_equal(input.text, want, input.n);
}

static void input_becomes_characters(void **state) {
    (void)state;
    expect_input("a\xc3\xa9\xe4\xbd\xa0\xf0\x9f\x98\x80z", "a\xc3\xa9\xe4\xbd\xa0\xf0\x9f\x98\x80z",
                 false);
    // What is no character is one that says so, and what follows is not swallowed.
    expect_input(
        "\xffx\xc3z\xe4\xbd!\x80\xed\xa0\x80\xc0\xaf",
        "\xef\xbf\xbdx\xef\xbf\xbdz\xef\xbf\xbd!\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd",
        false);
    expect_input("one\r\ntwo\rthree\nfour\r\r\n\t\033[A\x01\033[201~",
                 "one\ntwo\nthree\nfour\n\n\t\033[A\x01", true);
    expect_input("\033[20\033[201\033[201~", "\033[20\033[201", true);
    expect_input("\xe4\xbd\033[201~", "\xef\xbf\xbd", true);
    expect_input("no end\033[20", "no end\033[20", true); // its end mark was lost
    expect_input("\033[201~", "", true);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replacing_is_that_of_an_array),
        cmocka_unit_test(steps_are_what_looks_like_a_character),
        cmocka_unit_test(words_have_their_blanks_before_them),
        cmocka_unit_test(typing_is_undone_by_words),
        cmocka_unit_test(each_paste_and_each_suggestion_is_a_step),
        cmocka_unit_test(undo_forgets_the_oldest),
        cmocka_unit_test(edits_are_those_of_an_array),
        cmocka_unit_test(up_and_down_keep_their_column),
        cmocka_unit_test(a_text_has_its_limit),
        cmocka_unit_test(input_becomes_characters),
    };
    if (setlocale(LC_CTYPE, "C.UTF-8") == NULL || strcmp(nl_langinfo(CODESET), "UTF-8") != 0) {
        puts("left out: there is no locale C.UTF-8, whose widths the rows are made of");
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
