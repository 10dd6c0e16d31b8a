// SPDX-License-Identifier: MIT
// The progress bar and the text that goes to terminals, from their sources: the program links them.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/terminal.c"
#include "cli/text.c"

#include <fcntl.h>
#include <sys/wait.h>
#include <termios.h>

// A machine so slow that it draws the bar at every update makes that much.
enum { MAX_DRAWN = 1002 * (WIDEST + 3) };
static const char end_mark = 4; // written behind all that was drawn
static const char *tail;        // NULL: the usual one

// What a bar drew: everything written to standard error by `steps` updates of work that began
// `age_ms` ago. columns 0: a pipe instead of a terminal. Runs in a process of its own, because
// where standard error leads is asked for only once.
static size_t drawn(unsigned short columns, double age_ms, bool bar_only, char *out, size_t cap) {
    int ends[2];
    if (columns == 0) {
        assert_int_equal(pipe(ends), 0);
    } else {
        const struct winsize size = {.ws_row = 25, .ws_col = columns};
        struct termios raw;
        ends[0] = posix_openpt(O_RDWR | O_NOCTTY);
        assert_true(ends[0] >= 0 && grantpt(ends[0]) == 0 && unlockpt(ends[0]) == 0);
        ends[1] = open(ptsname(ends[0]), O_RDWR | O_NOCTTY);
        assert_int_equal(tcgetattr(ends[1], &raw), 0);
        raw.c_oflag &= ~(tcflag_t)OPOST;
        assert_int_equal(tcsetattr(ends[1], TCSANOW, &raw), 0);
        assert_int_equal(ioctl(ends[1], TIOCSWINSZ, &size), 0);
    }
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        cli_progress progress;
        dup2(ends[1], STDERR_FILENO);
        cli_progress_begin(&progress, "scoring", bar_only);
        progress.started -= age_ms;
        for (int i = 0; i <= 1000; i++) {
            if (tail == NULL)
                cli_progress_update(&progress, i / 1000.0);
            else
                cli_progress_show(&progress, i / 1000.0, tail);
        }
        cli_progress_end(&progress);
        _exit(write(STDERR_FILENO, &end_mark, 1) != 1);
    }
    // A terminal that its last user closes may drop what was not read yet: our end stays open until
    // the mark has come.
    size_t n = 0;
    do {
        const ssize_t got = read(ends[0], out + n, cap - n);
        assert_true(got > 0);
        n += (size_t)got;
    } while (out[n - 1] != end_mark);
    n--;
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    close(ends[1]);
    out[n] = 0;
    close(ends[0]);
    return n;
}

// A tail of the caller's stands where the share and the time would, cut where the window ends.
static void bar_with_a_tail(void **state) {
    (void)state;
    static char out[MAX_DRAWN];
    tail = " step 5, loss 1.25";
    size_t n = drawn(60, 0, true, out, sizeof out);
    assert_true(n > 60);
    assert_non_null(strstr(out, "\rscoring ["));
    assert_non_null(strstr(out, "] step 5, loss 1.25"));
    assert_null(strstr(out, "left"));
    n = drawn(16, 0, true, out, sizeof out);
    assert_memory_equal(out, "\rscoring step 5,", 16);
    assert_int_equal(drawn(0, 60000, true, out, sizeof out), 0); // a pipe
    tail = NULL;
}

static void bar_fits_its_window(void **state) {
    (void)state;
    for (unsigned short columns = 2; columns < 300; columns = (unsigned short)(columns + 7)) {
        static char out[MAX_DRAWN];
        const size_t n = drawn(columns, 60000, false, out, sizeof out);
        assert_true(n > 0);
        assert_int_equal(out[0], '\r');
        // Only '\r' moves the cursor; no line reaches the last column, so none wraps.
        size_t column = 0;
        for (size_t i = 0; i < n; i++) {
            column = out[i] == '\r' ? 0 : column + 1;
            assert_true(out[i] == '\r' || (out[i] >= ' ' && out[i] <= '~'));
            assert_true(column < columns);
            // Room for the "^C" of an interrupted terminal.
            if (columns > 40 && column + 2 >= columns) assert_int_equal(out[i], ' ');
        }
        assert_int_equal(out[n - 1], '\r');
        if (columns > 40) assert_non_null(strstr(out, "scoring ["));
        if (columns > 40) assert_non_null(strstr(out, "% "));
    }
}

static void plain_lines_elsewhere(void **state) {
    (void)state;
    static char out[MAX_DRAWN];
    char *line = out;
    drawn(0, 60000, false, out, sizeof out);
    for (int tenth = 1; tenth <= 10; tenth++) {
        char want[32];
        const int n = snprintf(want, sizeof want, "scoring: %d%%, ", tenth * 10);
        assert_memory_equal(line, want, (size_t)n);
        line = strchr(line, '\n');
        assert_non_null(line);
        line++;
    }
    assert_int_equal(*line, 0);
}

static void short_work_is_silent(void **state) {
    (void)state;
    static char out[MAX_DRAWN];
    assert_int_equal(drawn(80, -1e6, false, out, sizeof out), 0);
    assert_int_equal(drawn(0, -1e6, false, out, sizeof out), 0);
    assert_int_equal(drawn(0, 60000, true, out, sizeof out), 0);
}

static void expect_fit(const char *text, size_t columns, const char *want) {
    char out[64];
    cli_text_fit(text, columns, out, sizeof out);
    assert_string_equal(out, want);
}

static void text_is_cut_and_made_visible(void **state) {
    (void)state;
    expect_fit("", 5, "");
    expect_fit("abcde", 5, "abcde");
    expect_fit("abcdef", 5, "abcd\xe2\x80\xa6");
    expect_fit("\xc3\xa4\xc3\xb6\xc3\xbc", 3, "\xc3\xa4\xc3\xb6\xc3\xbc");
    expect_fit("\xc3\xa4\xc3\xb6\xc3\xbcx", 3, "\xc3\xa4\xc3\xb6\xe2\x80\xa6");
    expect_fit("\033[2J", 10, "\\x1b[2J");
    expect_fit("a\n\x7f", 10, "a\\x0a\\x7f");
    expect_fit("\xff\xc3", 10, "\\xff\\xc3");
    expect_fit("\xc2\x9b", 10, "\\u009b");
    expect_fit("ab\033", 5, "ab\xe2\x80\xa6"); // an escape is shown whole or not at all
    // A buffer too small for the columns, at every size.
    for (size_t cap = 4; cap < 40; cap++) {
        char *out = malloc(cap);
        cli_text_fit("\xc3\xa4\033\xf0\x9f\x99\x82 and more and more text", 30, out, cap);
        assert_true(strlen(out) < cap);
        free(out);
    }
}

static void json_text(void **state) {
    (void)state;
    char *quoted = cli_text_quote("a\"\\\n\0\xff\xc2\x9b\xe4\xbd\xa0", 11);
    assert_string_equal(quoted, "\"a\\\"\\\\\\n\\u0000\\ufffd\\u009b\xe4\xbd\xa0\"");
    json_t *parsed = json_loads(quoted, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    json_t *direct = cli_text_json("a\"\\\n\0\xff\xc2\x9b\xe4\xbd\xa0", 11);
    assert_non_null(parsed);
    assert_true(json_equal(parsed, direct));
    json_decref(parsed);
    json_decref(direct);
    free(quoted);
}

// Against a second reader of UTF-8, jansson's, which refuses every string that is not.
static void utf8_as_jansson_sees_it(void **state) {
    (void)state;
    uint32_t seed = 1;
    for (int i = 0; i < 200000; i++) {
        static const unsigned char often[] = {0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc1,
                                              0xc2, 0xdf, 0xe0, 0xed, 0xef, 0xf0, 0xf4, 0xf5, 0xff};
        char s[4];
        for (size_t k = 0; k < sizeof s; k++) {
            seed = seed * 1664525 + 1013904223;
            s[k] = (char)often[(seed >> 16) % sizeof often];
        }
        uint32_t c = 0;
        const size_t n = cli_text_decode(s, sizeof s, &c);
        json_t *whole[5] = {NULL};
        for (size_t k = 1; k <= 4; k++) whole[k] = json_stringn(s, k);
        // The shortest beginning that jansson takes is the first character.
        size_t want = 1;
        while (want <= 4 && whole[want] == NULL) want++;
        assert_int_equal(n, want <= 4 ? want : 0);
        for (size_t k = 1; k <= 4; k++) json_decref(whole[k]);
    }
}

static void sizes(void **state) {
    (void)state;
    char out[CLI_TEXT_SIZE];
    assert_string_equal(cli_text_size(0, out), "0 bytes");
    assert_string_equal(cli_text_size(999, out), "999 bytes");
    assert_string_equal(cli_text_size(1000, out), "1.0 kB");
    assert_string_equal(cli_text_size(999949, out), "999.9 kB");
    assert_string_equal(cli_text_size(999950, out), "1.0 MB");
    assert_string_equal(cli_text_size(UINT64_MAX, out), "18.4 EB");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bar_with_a_tail),
        cmocka_unit_test(bar_fits_its_window),
        cmocka_unit_test(plain_lines_elsewhere),
        cmocka_unit_test(short_work_is_silent),
        cmocka_unit_test(text_is_cut_and_made_visible),
        cmocka_unit_test(json_text),
        cmocka_unit_test(sizes),
        cmocka_unit_test(utf8_as_jansson_sees_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
