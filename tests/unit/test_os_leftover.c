// SPDX-License-Identifier: MIT
// What a killed writer leaves beside its file: the next one takes it away, and nothing else.
#include "os/os.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[256], path[300];

static int make_folder(void **state) {
    (void)state;
    const char *base = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/inkling-left-XXXXXX", base != NULL ? base : "/tmp");
    if (mkdtemp(folder) == NULL) return -1;
    snprintf(path, sizeof path, "%s/file", folder);
    return 0;
}

static int drop_folder(void **state) {
    (void)state;
    unlink(path);
    return rmdir(folder);
}

// How many temporary files there are, and the last one's path.
static int temporary_files(char found[600]) {
    DIR *d = opendir(folder);
    int n = 0;
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        if (strstr(e->d_name, ".tmp") == NULL) continue;
        if (found != NULL) snprintf(found, 600, "%s/%s", folder, e->d_name);
        n++;
    }
    closedir(d);
    return n;
}

static void open_out(inki_out *out) {
    const inki_mem mem = inki_mem_from(NULL);
    ink_error error = {0};
    if (inki_out_open(out, path, &mem, &error) != INK_OK) fail_msg("%s", error.message);
}

static void write_and_commit(inki_out *out, const char *text) {
    assert_int_equal(inki_out_write(out, text, strlen(text), NULL), INK_OK);
    assert_int_equal(inki_out_commit(out, NULL), INK_OK);
}

static void assert_says(const char *text) {
    char found[64] = "";
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    assert_int_equal(fread(found, 1, sizeof found - 1, f), strlen(text));
    fclose(f);
    assert_string_equal(found, text);
}

static void killed_writer(void) {
    fflush(NULL);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        const inki_mem mem = inki_mem_from(NULL);
        inki_out out;
        _exit(inki_out_open(&out, path, &mem, NULL) != INK_OK ||
              inki_out_write(&out, "half", 4, NULL) != INK_OK);
    }
    int status = -1;
    while (waitpid(child, &status, 0) < 0) {}
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void of_killed_writers(void **state) {
    (void)state;
    inki_out out;
    for (int i = 0; i < 3; i++) {
        killed_writer();
        assert_int_equal(temporary_files(NULL), 1);
    }
    open_out(&out);
    assert_int_equal(temporary_files(NULL), 1);
    write_and_commit(&out, "whole");
    assert_int_equal(temporary_files(NULL), 0);
    assert_says("whole");
    killed_writer();
    open_out(&out);
    inki_out_discard(&out);
    assert_int_equal(temporary_files(NULL), 0);
    assert_says("whole");
}

static void writers_that_live(void **state) {
    (void)state;
    inki_out one, two, three;
    open_out(&one);
    open_out(&two);
    open_out(&three);
    assert_int_equal(temporary_files(NULL), 3);
    killed_writer(); // takes a name by chance
    assert_int_equal(temporary_files(NULL), 4);
    write_and_commit(&two, "two");
    assert_says("two");
    write_and_commit(&one, "one");
    assert_says("one");
    inki_out_discard(&three);
    assert_says("one");
    char left[600];
    assert_int_equal(temporary_files(left), 1);
    assert_int_equal(unlink(left), 0);
}

static int write_often(char c) {
    const inki_mem mem = inki_mem_from(NULL);
    const char text[] = {c, c, c, c};
    for (int i = 0; i < 25; i++) {
        inki_out out;
        if (inki_out_open(&out, path, &mem, NULL) != INK_OK) return 1;
        for (int k = 0; k < 8; k++)
            if (inki_out_write(&out, text, sizeof text, NULL) != INK_OK) return 2;
        if (inki_out_commit(&out, NULL) != INK_OK) return 3;
    }
    return 0;
}

// None takes another's file for a leftover, and each one that is read is somebody's whole.
static void writers_in_a_crowd(void **state) {
    (void)state;
    enum { N = 6 };
    pid_t children[N];
    fflush(NULL);
    for (int i = 0; i < N; i++) {
        children[i] = fork();
        assert_true(children[i] >= 0);
        if (children[i] == 0) _exit(write_often((char)('a' + i)));
    }
    for (int i = 0; i < N; i++) {
        int status = -1;
        while (waitpid(children[i], &status, 0) < 0) {}
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
    }
    assert_int_equal(temporary_files(NULL), 0);
    char found[64] = "";
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    assert_int_equal(fread(found, 1, sizeof found, f), 32);
    fclose(f);
    for (int i = 1; i < 32; i++) assert_int_equal(found[i], found[0]);
}

// The name is known, and others may have taken it.
static void what_is_no_leftover(void **state) {
    (void)state;
    inki_out out;
    char name[600], victim[300];
    struct stat st;
    snprintf(victim, sizeof victim, "%s/victim", folder);
    open_out(&out);
    assert_int_equal(temporary_files(name), 1);
    inki_out_discard(&out);
    for (int kind = 0; kind < 4; kind++) {
        const int fd = open(victim, O_CREAT | O_WRONLY, 0600);
        assert_int_equal(write(fd, "mine", 4), 4);
        close(fd);
        if (kind == 0) assert_int_equal(symlink(victim, name), 0);
        if (kind == 1) assert_int_equal(mkdir(name, 0700), 0);
        if (kind == 2) assert_int_equal(mkfifo(name, 0600), 0);
        if (kind == 3) assert_int_equal(link(victim, name), 0); // only a name of it goes
        open_out(&out);
        write_and_commit(&out, "text");
        assert_says("text");
        assert_int_equal(stat(victim, &st), 0);
        assert_int_equal(st.st_size, 4);
        assert_int_equal(lstat(name, &st) == 0, kind < 3);
        if (kind < 3) assert_int_equal(remove(name), 0);
        assert_int_equal(unlink(victim), 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(of_killed_writers),
        cmocka_unit_test(writers_that_live),
        cmocka_unit_test(writers_in_a_crowd),
        cmocka_unit_test(what_is_no_leftover),
    };
    return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
