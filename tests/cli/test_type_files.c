// SPDX-License-Identifier: MIT
// What `inkling type` does with files, signals and terminals that go.
#include "cli/test_type_pty.h"

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

static bool text_holds(const editor *e, const void *what) {
    return strstr(all_text(e, 0), what) != NULL;
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

// The folder has gone: the second key prints what cannot be saved.
static void what_cannot_be_saved_is_printed(void **state) {
    (void)state;
    char sub[8192];
    path_of("sub", sub, sizeof sub);
    assert_int_equal(mkdir(sub, 0777), 0);
    editor *e = ready(start(ARGS("--no-ghost", "sub/x")));
    type_bytes(e, "homeless");
    AWAIT(e, text_is, "homeless");
    assert_int_equal(rmdir(sub), 0);
    type_bytes(e, "\023");
    AWAIT(e, status_holds, "sub/x: cannot be written");
    type_bytes(e, "\021");
    AWAIT(e, status_holds, "Ctrl-Q again");
    type_bytes(e, "\021");
    wait_for_end(e);
    assert_false(e->screen.alternate);
    AWAIT(e, text_holds, "homeless\n");
    AWAIT(e, text_holds, "inkling: sub/x: was not saved");
    expect_end(e, 3);
}

// Nobody can be asked: neither text is lost.
static void a_signal_overwrites_nothing_of_another(void **state) {
    (void)state;
    char found[300];
    write_file(name, "first");
    editor *e = ready(start(ARGS("--no-ghost", name)));
    type_bytes(e, "my ");
    AWAIT(e, text_is, "my first");
    write_file(name, "of another");
    kill(e->pid, SIGTERM);
    expect_end(e, 3);
    expect_file(name, "of another");
    assert_int_equal(n_files("inkling-type-", found, sizeof found), 1);
    expect_file(found, "my first");
}

static void unchanged_files_are_left_alone(void **state) {
    (void)state;
    char path[8192];
    struct stat before, after;
    write_file(name, "as it is");
    path_of(name, path, sizeof path);
    assert_int_equal(stat(path, &before), 0);
    editor *e = ready(start(ARGS("--no-ghost", name)));
    type_bytes(e, "\033OB\033OA\021");
    expect_end(e, 0);
    assert_int_equal(stat(path, &after), 0);
    assert_int_equal(after.st_ino, before.st_ino); // a saved one is a new file
    e = ready(start(ARGS("--no-ghost", "new.txt")));
    type_bytes(e, "\004"); // Ctrl-D ends where there is no text
    expect_end(e, 0);
    assert_int_equal(n_files("new.txt", path, sizeof path), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(signal_saves, empty_folder),
        cmocka_unit_test_setup(signal_prints_what_has_no_file, empty_folder),
        cmocka_unit_test_setup(lost_terminal_saves, empty_folder),
        cmocka_unit_test_setup(crash_restores_the_terminal, empty_folder),
        cmocka_unit_test_setup(a_file_changed_by_another_is_asked_for, empty_folder),
        cmocka_unit_test_setup(links_and_permissions_stay, empty_folder),
        cmocka_unit_test_setup(refusals_are_a_line, empty_folder),
        cmocka_unit_test_setup(what_cannot_be_saved_is_printed, empty_folder),
        cmocka_unit_test_setup(a_signal_overwrites_nothing_of_another, empty_folder),
        cmocka_unit_test_setup(unchanged_files_are_left_alone, empty_folder),
    };
    return run_in_terminal(tests, sizeof tests / sizeof *tests);
}
