// SPDX-License-Identifier: MIT
// Label: threads
// `inkling type` as its user sees it: keys and screen.
#include "cli/test_type_pty.h"

static const char beginning[] = "Once upon a time";

static bool any_ghost(const editor *e, const void *what) {
    (void)what;
    for (int row = 0; row < e->screen.rows; row++)
        for (int col = 0; col < e->screen.cols; col++)
            if ((e->screen.cells[row][col].style & VT_GHOST) != 0) return true;
    return false;
}

static bool no_ghost(const editor *e, const void *what) { return !any_ghost(e, what); }

static bool text_is_longer(const editor *e, const void *what) {
    const size_t n = strlen(what);
    const char *text = all_text(e, 0);
    return strncmp(text, what, n) == 0 && strlen(text) > n;
}

// The first word of the ghost, which may still grow.
static const char *ghost_word(const editor *e, char *out) {
    out[0] = 0;
    sscanf(all_text(e, VT_GHOST), "%63s", out);
    return out;
}

static bool other_ghost(const editor *e, const void *what) {
    char word[64];
    const size_t n = strlen(ghost_word(e, word)), n_what = strlen(what);
    return n > 0 && strncmp(word, what, n < n_what ? n : n_what) != 0;
}

static bool caret_is(const editor *e, const void *what) {
    const int *want = what;
    return e->screen.row == want[0] && e->screen.col == want[1];
}

static void ghost_comes_by_itself_and_tab_takes_it(void **state) {
    (void)state;
    editor *e = ready(start(ARGS("-n", "6", name)));
    type_bytes(e, beginning);
    AWAIT(e, any_ghost, "");
    AWAIT(e, caret_is, ((const int[]){0, sizeof beginning - 1})); // it stands behind the caret
    AWAIT(e, status_holds, "evaluated");
    type_bytes(e, "\t");
    AWAIT(e, text_is_longer, beginning);
    type_bytes(e, "\032"); // Ctrl-Z
    AWAIT(e, text_is, beginning);
    type_bytes(e, "\023"); // Ctrl-S
    AWAIT(e, status_holds, "saved text.txt, 16 bytes");
    expect_file(name, beginning);
    type_bytes(e, "\021"); // Ctrl-Q
    expect_end(e, 0);
    expect_file(name, beginning);
}

static void ctrl_right_takes_a_word(void **state) {
    (void)state;
    editor *e = ready(start(ARGS("--until", "sentence", name)));
    type_bytes(e, "There was a");
    AWAIT(e, any_ghost, "");
    char first[64];
    ghost_word(e, first);
    type_bytes(e, "\033[1;5C\030"); // Ctrl-X
    expect_end(e, 0);
    char path[8192], got[256] = "", word[64] = "", more[64] = "";
    path_of(name, path, sizeof path);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    assert_true(fread(got, 1, sizeof got - 1, f) > 12);
    fclose(f);
    assert_memory_equal(got, "There was a", 11);
    assert_int_equal(sscanf(got + 11, "%63s%63s", word, more), 1);
    // A word that was still growing may have been taken in its longer form.
    assert_memory_equal(word, first, strlen(first));
}

static void another_one_differs_and_escape_ends_it(void **state) {
    (void)state;
    char word[64];
    editor *e = ready(start(ARGS("-n", "4", name)));
    type_bytes(e, "The cat sat on the");
    AWAIT(e, any_ghost, "");
    ghost_word(e, word);
    type_bytes(e, "\016"); // Ctrl-N
    await(e, other_ghost, word, "another ghost");
    type_bytes(e, "\033");
    AWAIT(e, no_ghost, "");
    AWAIT(e, status_holds, "no suggestion");
    type_bytes(e, "\t\021"); // nothing to take: it is a tab
    expect_end(e, 0);
    expect_file(name, "The cat sat on the\t");
}

static void editing_keys(void **state) {
    (void)state;
    write_file(name, "first line\nsecond line\n");
    editor *e = ready(start(ARGS("--no-ghost", name)));
    AWAIT(e, text_is, "first line\nsecond line");
    type_bytes(e, "\033OB\033OF!\033OH\033[3~S"); // down, end, home, delete
    AWAIT(e, text_is, "first line\nSecond line!");
    type_bytes(e, "\033[1;5H\033[1;5Cx\177\027the\r"); // the word is taken back: Ctrl-W
    AWAIT(e, text_is, "the\n line\nSecond line!");
    type_bytes(e, "\032\032\032\032\032\032\032\032\032\032");
    AWAIT(e, text_is, "first line\nsecond line");
    type_bytes(e, "\031"); // Ctrl-Y
    AWAIT(e, text_is, "first line\nsecond line!");
    type_bytes(e, "\033[15;5~\033[1;2P"); // keys that nobody knows
    type_bytes(e, "?\021");
    expect_end(e, 0);
    expect_file(name, "first line\nsecond line!?\n");
}

static void paste_is_text(void **state) {
    (void)state;
    editor *e = ready(start(ARGS("--no-ghost", name)));
    type_bytes(e, "<\033[200~a\tb\r\nc\021\032\033[Ad\xe4");
    type_bytes(e, "\xbd\xa0\033[201~>\021");
    expect_end(e, 0);
    expect_file(name, "<a\tb\nc\021\032\033[Ad\xe4\xbd\xa0>");
}

static void wide_characters_and_marks(void **state) {
    (void)state;
    editor *e = ready(start(ARGS("--no-ghost", name)));
    type_bytes(e, "\xe4\xbd\xa0\xe5\xa5\xbd"
                  "e\xcc\x81"
                  "x\033OD\033OD");
    AWAIT(e, text_is,
          "\xe4\xbd\xa0\xe5\xa5\xbd"
          "e\xcc\x81"
          "x");
    AWAIT(e, caret_is, ((const int[]){0, 4}));
    type_bytes(e, "\177");
    AWAIT(e, text_is,
          "\xe4\xbd\xa0"
          "e\xcc\x81"
          "x");
    AWAIT(e, caret_is, ((const int[]){0, 2}));
    type_bytes(e, "\033[3~");
    AWAIT(e, text_is, "\xe4\xbd\xa0x");
    type_bytes(e, "\021");
    expect_end(e, 0);
    expect_file(name, "\xe4\xbd\xa0x");
}

static void control_characters_are_shown(void **state) {
    (void)state;
    write_file(name, "a\033[31m\xe2\x80\xae\x01z");
    editor *e = ready(start(ARGS("--no-ghost", name)));
    char line[512];
    vt_text(&e->screen, 0, 0, VT_REVERSE, line, sizeof line);
    assert_string_equal(line, "\\x1b\\u202e\\x01");
    type_bytes(e, "\021");
    expect_end(e, 0);
    expect_file(name, "a\033[31m\xe2\x80\xae\x01z");
}

static void a_new_size_is_drawn(void **state) {
    (void)state;
    write_file(name, "one two three four five six seven eight nine ten eleven twelve");
    editor *e = ready(start(ARGS("--no-ghost", name)));
    vt_resize(&e->screen, 20, 31);
    const struct winsize size = {.ws_row = 20, .ws_col = 31};
    assert_int_equal(ioctl(e->master, TIOCSWINSZ, &size), 0);
    AWAIT(e, text_is, "one two three four five six\nseven eight nine ten eleven\ntwelve");
    AWAIT(e, status_holds, "Tab all");
    type_bytes(e, "\021");
    expect_end(e, 0);
}

static void filtered_text_is_told(void **state) {
    (void)state;
    write_file("list", "\nbad word\r\n\n");
    editor *e = ready(start(ARGS("--filter", "list", name)));
    type_bytes(e, "a Bad  word");
    AWAIT(e, status_holds, "filtered");
    assert_true(no_ghost(e, NULL));
    type_bytes(e, "s are");
    AWAIT(e, any_ghost, "");
    type_bytes(e, "\021");
    expect_end(e, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(ghost_comes_by_itself_and_tab_takes_it, empty_folder),
        cmocka_unit_test_setup(ctrl_right_takes_a_word, empty_folder),
        cmocka_unit_test_setup(another_one_differs_and_escape_ends_it, empty_folder),
        cmocka_unit_test_setup(editing_keys, empty_folder),
        cmocka_unit_test_setup(paste_is_text, empty_folder),
        cmocka_unit_test_setup(wide_characters_and_marks, empty_folder),
        cmocka_unit_test_setup(control_characters_are_shown, empty_folder),
        cmocka_unit_test_setup(a_new_size_is_drawn, empty_folder),
        cmocka_unit_test_setup(filtered_text_is_told, empty_folder),
    };
    return run_in_terminal(tests, sizeof tests / sizeof *tests);
}
