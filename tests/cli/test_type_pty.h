// SPDX-License-Identifier: MIT
// `inkling type` in a pseudo-terminal: keys go in, and what the screen shows is waited for, however
// long it takes. For one test program.
#ifndef TEST_TYPE_PTY_H
#define TEST_TYPE_PTY_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/test_type_vt.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <langinfo.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

enum { ROWS = 12, COLS = 70, PATIENCE_S = 200, MAX_ARGS = 12 };

static char program[4096], folder[4096];
static const char name[] = "text.txt";

typedef struct editor {
    pid_t pid;
    int master, slave; // the terminal's other end, kept so that its state can be looked at
    struct termios before;
    vt screen;
    bool ended;
    int status;
    bool marked, whole; // behind the end the mark was written; and read
} editor;

static editor *open_terminal(void) {
    editor *e = calloc(1, sizeof *e);
    assert_non_null(e);
    vt_init(&e->screen, ROWS, COLS);
    e->master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(e->master >= 0 && grantpt(e->master) == 0 && unlockpt(e->master) == 0);
    e->slave = open(ptsname(e->master), O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(e->slave >= 0);
    const struct winsize size = {.ws_row = ROWS, .ws_col = COLS};
    assert_int_equal(ioctl(e->master, TIOCSWINSZ, &size), 0);
    assert_int_equal(tcgetattr(e->slave, &e->before), 0);
    return e;
}

// The program with these arguments, the terminal its own; the working directory is `folder`.
static editor *start_with(const char *terminal, const char *const *args) {
    editor *e = open_terminal();
    char *list[MAX_ARGS + 3] = {program, (char[]){"type"}};
    for (size_t i = 0; args[i] != NULL; i++) list[i + 2] = (char *)(uintptr_t)args[i];
    e->pid = fork();
    assert_true(e->pid >= 0);
    if (e->pid == 0) {
        setsid();
        ioctl(e->slave, TIOCSCTTY, 0);
        for (int i = 0; i < 3; i++) dup2(e->slave, i);
        setenv("TERM", terminal, 1);
        setenv("HOME", folder, 1);
        unsetenv("LC_ALL");
        unsetenv("LANG");
        if (chdir(folder) == 0) execv(program, list);
        _exit(127);
    }
    return e;
}

static editor *start(const char *const *args) { return start_with("xterm-256color", args); }

static void show_screen(const editor *e) {
    char line[4 * VT_COLS];
    for (int row = 0; row < e->screen.rows; row++) {
        print_error("|%s", vt_text(&e->screen, row, 0, 0, line, sizeof line));
        print_error("\033[2m%s\033[0m", vt_text(&e->screen, row, 0, VT_GHOST, line, sizeof line));
        print_error("%s|\n", vt_text(&e->screen, row, 0, VT_REVERSE, line, sizeof line));
    }
    print_error("caret %d, %d; ended %d, status %x\n", e->screen.row, e->screen.col, e->ended,
                (unsigned)e->status);
}

// A byte that the program never lets through. What it wrote comes through a while after it has
// ended; our own end of the terminal writes this behind it.
static const char end_mark = '\x16';

// What the program has written since; false when it has ended and nothing more is to come.
static bool read_screen(editor *e) {
    struct pollfd out = {.fd = e->master, .events = POLLIN};
    char bytes[4096];
    const int ready = poll(&out, 1, 50);
    const ssize_t n = ready > 0 ? read(e->master, bytes, sizeof bytes) : 0;
    for (ssize_t i = 0; i < n; i++)
        if (e->marked && bytes[i] == end_mark)
            e->whole = true;
        else
            vt_byte(&e->screen, bytes[i]);
    if (n > 0 || e->whole) return !e->whole;
    if (!e->ended)
        e->ended = waitpid(e->pid, &e->status, WNOHANG) == e->pid;
    else if (!e->marked)
        e->marked = write(e->slave, &end_mark, 1) == 1;
    return true;
}

typedef bool (*condition)(const editor *e, const void *what);

// Reads until the screen is as wanted.
static void await(editor *e, condition is_met, const void *what, const char *told) {
    const time_t begin = time(NULL);
    while (!is_met(e, what)) {
        if (read_screen(e) && time(NULL) - begin < PATIENCE_S) continue;
        print_error("waited in vain for: %s\n", told);
        show_screen(e);
        kill(e->pid, SIGKILL);
        fail();
    }
}
#define AWAIT(e, condition, what) await(e, condition, what, #condition " " #what)

static bool status_holds(const editor *e, const void *what) {
    char line[4 * VT_COLS];
    vt_text(&e->screen, e->screen.rows - 1, 0, VT_REVERSE, line, sizeof line);
    return strstr(line, what) != NULL;
}

// All the ghost's characters, or all of the text's; a row ends with a newline.
static char *all_text(const editor *e, unsigned style) {
    static char out[VT_ROWS * 4 * VT_COLS];
    size_t n = 0;
    for (int row = 0; row < e->screen.rows - 1; row++) {
        vt_text(&e->screen, row, 0, style, out + n, sizeof out - n - 1);
        n += strlen(out + n);
        out[n++] = '\n';
    }
    while (n > 0 && out[n - 1] == '\n') n--;
    out[n] = 0;
    return out;
}

static bool text_is(const editor *e, const void *what) { return strcmp(all_text(e, 0), what) == 0; }

static void type_bytes(editor *e, const char *bytes) {
    const size_t n = strlen(bytes);
    assert_int_equal(write(e->master, bytes, n), n);
}

// A key before the program has taken over the terminal would be the terminal's own.
static editor *ready(editor *e) {
    AWAIT(e, status_holds, "Tab all");
    assert_true(e->screen.alternate && e->screen.paste);
    return e;
}

static void wait_for_end(editor *e) {
    while (read_screen(e)) {}
}

// The program has ended by itself with this code and left the terminal as it was.
static void expect_end(editor *e, int code) {
    struct termios after;
    wait_for_end(e);
    if (!WIFEXITED(e->status) || WEXITSTATUS(e->status) != code) show_screen(e);
    assert_true(WIFEXITED(e->status));
    assert_int_equal(WEXITSTATUS(e->status), code);
    assert_int_equal(tcgetattr(e->slave, &after), 0);
    assert_int_equal(after.c_lflag, e->before.c_lflag);
    assert_int_equal(after.c_iflag, e->before.c_iflag);
    assert_int_equal(after.c_oflag, e->before.c_oflag);
    assert_false(e->screen.alternate || e->screen.paste || e->screen.keypad);
    assert_true(e->screen.cursor);
    close(e->master);
    close(e->slave);
    free(e);
}

static void path_of(const char *file, char *out, size_t cap) {
    assert_true(snprintf(out, cap, "%s/%s", folder, file) < (int)cap);
}

static void write_file(const char *file, const char *text) {
    char path[8192];
    path_of(file, path, sizeof path);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
    fclose(f);
}

static void expect_file(const char *file, const char *want) {
    char path[8192], got[4096];
    path_of(file, path, sizeof path);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    const size_t n = fread(got, 1, sizeof got - 1, f);
    got[n] = 0;
    fclose(f);
    assert_string_equal(got, want);
}

static int empty_folder(void **state) {
    (void)state;
    char path[8192];
    DIR *d = opendir(folder);
    for (struct dirent *entry; (entry = readdir(d)) != NULL;)
        if (entry->d_name[0] != '.' || entry->d_name[1] == 'i') {
            path_of(entry->d_name, path, sizeof path);
            unlink(path);
        }
    closedir(d);
    return 0;
}

#define ARGS(...) ((const char *const[]){__VA_ARGS__, NULL})

static bool can_type(void) {
    editor *e = start(ARGS("--until", "line"));
    while (!status_holds(e, "Tab all") && read_screen(e)) {}
    const bool can = !e->ended;
    if (can) type_bytes(e, "\021");
    wait_for_end(e);
    close(e->master);
    close(e->slave);
    free(e);
    return can;
}

// Runs the tests in an empty folder, or says why not.
static int run_in_terminal(const struct CMUnitTest *tests, size_t n) {
    const char *named = getenv("INKLING_PROGRAM"), *temporary = getenv("TMPDIR");
    if (named == NULL || realpath(named, program) == NULL || access(program, X_OK) != 0) {
        puts("left out: there is no program to test (INKLING_PROGRAM)");
        return 77;
    }
    if (setlocale(LC_CTYPE, "C.UTF-8") == NULL || strcmp(nl_langinfo(CODESET), "UTF-8") != 0) {
        puts("left out: there is no locale C.UTF-8");
        return 77;
    }
    snprintf(folder, sizeof folder, "%s/inkling-type-test-XXXXXX", temporary ? temporary : "/tmp");
    if (mkdtemp(folder) == NULL) return 1;
    int result = 77;
    if (can_type())
        result = _cmocka_run_group_tests("type", tests, n, NULL, NULL);
    else
        puts("left out: the program cannot run its editor here (no model, no ncursesw, or no xterm "
             "in terminfo)");
    empty_folder(NULL);
    rmdir(folder);
    return result;
}

#endif
