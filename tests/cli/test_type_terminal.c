// SPDX-License-Identifier: MIT
// Label: threads
// `inkling type` in a pseudo-terminal, as its user sees it: keys go in, and what the screen shows
// is waited for, however long it takes.
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
    size_t after_end; // reads that found nothing after it
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

// What the program has written since; false when it has ended and nothing more is to come.
static bool read_screen(editor *e) {
    struct pollfd out = {.fd = e->master, .events = POLLIN};
    char bytes[4096];
    const int ready = poll(&out, 1, 50);
    const ssize_t n = ready > 0 ? read(e->master, bytes, sizeof bytes) : 0;
    for (ssize_t i = 0; i < n; i++) vt_byte(&e->screen, bytes[i]);
    if (n > 0) return true;
    if (!e->ended) {
        const pid_t gone = waitpid(e->pid, &e->status, WNOHANG);
        e->ended = gone == e->pid;
        return true;
    }
    return ++e->after_end < 3;
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

static bool any_ghost(const editor *e, const void *what) {
    (void)what;
    for (int row = 0; row < e->screen.rows; row++)
        for (int col = 0; col < e->screen.cols; col++)
            if ((e->screen.cells[row][col].style & VT_GHOST) != 0) return true;
    return false;
}

static bool no_ghost(const editor *e, const void *what) { return !any_ghost(e, what); }

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

static bool text_holds(const editor *e, const void *what) {
    return strstr(all_text(e, 0), what) != NULL;
}

static bool caret_is(const editor *e, const void *what) {
    const int *want = what;
    return e->screen.row == want[0] && e->screen.col == want[1];
}

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

static size_t n_files(const char *prefix, char *found, size_t cap) {
    size_t n = 0;
    DIR *d = opendir(folder);
    for (struct dirent *entry; (entry = readdir(d)) != NULL;)
        if (strncmp(entry->d_name, prefix, strlen(prefix)) == 0) {
            snprintf(found, cap, "%s", entry->d_name);
            n++;
        }
    closedir(d);
    return n;
}

#define ARGS(...) ((const char *const[]){__VA_ARGS__, NULL})

// --- tests ---------------------------------------------------------------------------------------

static const char beginning[] = "Once upon a time";

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

static void signal_saves(void **state) {
    (void)state;
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP};
    for (size_t i = 0; i < 3; i++) {
        empty_folder(NULL);
        editor *e = ready(start(ARGS(name)));
        type_bytes(e, "some text");
        AWAIT(e, text_is, "some text");
        kill(e->pid, signals[i]);
        expect_end(e, 130);
        expect_file(name, "some text");
    }
}

static void signal_prints_what_has_no_file(void **state) {
    (void)state;
    editor *e = ready(start(ARGS("--no-ghost")));
    type_bytes(e, "no file");
    AWAIT(e, text_is, "no file");
    kill(e->pid, SIGTERM);
    wait_for_end(e);
    assert_false(e->screen.alternate);
    AWAIT(e, text_holds, "no file");
    expect_end(e, 130);
}

static void lost_terminal_saves(void **state) {
    (void)state;
    for (int with_file = 1; with_file >= 0; with_file--) {
        empty_folder(NULL);
        editor *e = ready(start(with_file ? ARGS("--no-ghost", name) : ARGS("--no-ghost")));
        type_bytes(e, "lost?");
        AWAIT(e, text_is, "lost?");
        close(e->slave);
        close(e->master);
        assert_int_equal(waitpid(e->pid, &e->status, 0), e->pid);
        assert_true(WIFEXITED(e->status));
        assert_int_equal(WEXITSTATUS(e->status), 130);
        char found[300];
        assert_int_equal(n_files("inkling-type-", found, sizeof found), with_file ? 0 : 1);
        expect_file(with_file ? name : found, "lost?");
        free(e);
    }
}

static void crash_restores_the_terminal(void **state) {
    (void)state;
    if (getenv("INKLING_SANITIZE") != NULL) {
        print_message("left out: a sanitizer has its own handlers\n");
        skip();
    }
    editor *e = ready(start(ARGS("--no-ghost", name)));
    kill(e->pid, SIGSEGV);
    wait_for_end(e);
    assert_true(WIFSIGNALED(e->status));
    assert_int_equal(WTERMSIG(e->status), SIGSEGV);
    e->status = 0; // the rest as at any end
    expect_end(e, 0);
}

static void a_file_changed_by_another_is_asked_for(void **state) {
    (void)state;
    write_file(name, "mine");
    editor *e = ready(start(ARGS("--no-ghost", name)));
    type_bytes(e, "still ");
    AWAIT(e, text_is, "still mine");
    write_file(name, "theirs, and longer");
    type_bytes(e, "\021");
    AWAIT(e, status_holds, "changed by another program");
    expect_file(name, "theirs, and longer");
    type_bytes(e, "\021");
    expect_end(e, 0);
    expect_file(name, "still mine");
}

static void links_and_permissions_stay(void **state) {
    (void)state;
    char path[8192], link[8192];
    struct stat st;
    write_file("real.txt", "old");
    path_of("real.txt", path, sizeof path);
    path_of(name, link, sizeof link);
    assert_int_equal(chmod(path, 0640), 0);
    assert_int_equal(symlink("real.txt", link), 0);
    editor *e = ready(start(ARGS("--no-ghost", name)));
    type_bytes(e, "x\021");
    expect_end(e, 0);
    expect_file("real.txt", "xold");
    assert_int_equal(lstat(link, &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0640);
    char found[300];
    assert_int_equal(n_files(".inkling", found, sizeof found), 0);
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

static void expect_refusal(const char *const *args, const char *terminal, int code,
                           const char *want) {
    editor *e = start_with(terminal, args);
    wait_for_end(e);
    if (strstr(all_text(e, 0), want) == NULL) show_screen(e);
    assert_non_null(strstr(all_text(e, 0), want));
    expect_end(e, code);
}

static void refusals_are_a_line(void **state) {
    (void)state;
    write_file(name, "a\xff");
    write_file("empty", "\n");
    expect_refusal(ARGS(name), "xterm", 3, "inkling: text.txt: byte 1 is not UTF-8");
    expect_refusal(ARGS("."), "xterm", 3, "inkling: .: is not a regular file");
    expect_refusal(ARGS("none/x"), "xterm", 3, "inkling: none/x: cannot be written");
    expect_refusal(ARGS("--filter", "empty"), "xterm", 3, "inkling: empty: has no phrases");
    expect_refusal(ARGS("-m", "none.gguf"), "xterm", 3, "inkling: none.gguf");
    expect_refusal(ARGS("--no-ghost"), "no-such-terminal", 2, "inkling: type: a terminal");
    expect_refusal(ARGS("--no-ghost"), "dumb", 2, "inkling: type: a terminal");
    // Without a terminal.
    const pid_t pid = fork();
    if (pid == 0) {
        const int null = open("/dev/null", O_RDWR);
        for (int i = 0; i < 3; i++) dup2(null, i);
        execl(program, program, "type", (char *)NULL);
        _exit(127);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 2);
}

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
        cmocka_unit_test_setup(signal_saves, empty_folder),
        cmocka_unit_test_setup(signal_prints_what_has_no_file, empty_folder),
        cmocka_unit_test_setup(lost_terminal_saves, empty_folder),
        cmocka_unit_test_setup(crash_restores_the_terminal, empty_folder),
        cmocka_unit_test_setup(a_file_changed_by_another_is_asked_for, empty_folder),
        cmocka_unit_test_setup(links_and_permissions_stay, empty_folder),
        cmocka_unit_test_setup(filtered_text_is_told, empty_folder),
        cmocka_unit_test_setup(refusals_are_a_line, empty_folder),
    };
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
        result = cmocka_run_group_tests(tests, NULL, NULL);
    else
        puts("left out: the program cannot run its editor here (no ncursesw, or no xterm in "
             "terminfo)");
    empty_folder(NULL);
    rmdir(folder);
    return result;
}
