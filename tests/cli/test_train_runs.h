// SPDX-License-Identifier: MIT
// Runs of `inkling train` in a folder of their own, for the tests that have them. Each program has
// a copy.
#ifndef TESTS_TRAIN_RUNS_H
#define TESTS_TRAIN_RUNS_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "inkling/inkling.h"
#include "progress_lines.h"
#include "xml_check.h"

enum { MAX_ARGS = 48, MAX_NAME = 96, MAX_PATH = 128, MAX_FILE = 1 << 22 };
#define SMALL                                                                                      \
    "--embd", "32", "--layers", "1", "--heads", "2", "--context", "32", "--vocab", "300",          \
        "--batch", "4", "--precision", "f32"

static const char *program;
static char folder[] = "/tmp/inkling-XXXXXX";

// --- files
// -----------------------------------------------------------------------------------------

static const char *in_folder(const char *name) {
    static char paths[8][MAX_PATH];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, MAX_PATH, "%s/%s", folder, name);
    return path;
}

static bool is_there(const char *name) { return access(in_folder(name), F_OK) == 0; }

static char *bytes_of(const char *name, size_t *n) {
    FILE *file = fopen(in_folder(name), "rb");
    if (file == NULL) print_error("%s is not there\n", name);
    assert_non_null(file);
    char *text = calloc(1, MAX_FILE + 1);
    assert_non_null(text);
    *n = fread(text, 1, MAX_FILE, file);
    fclose(file);
    return text;
}

static void write_file(const char *name, const void *data, size_t n) {
    FILE *file = fopen(in_folder(name), "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, n, file), n);
    assert_int_equal(fclose(file), 0);
}

// Documents made by rule, so that there is something to learn.
static void write_text(const char *name, unsigned seed, size_t n_documents) {
    static const char *const who[] = {"cat", "dog", "girl", "boy", "bird", "old man"};
    static const char *const did[] = {"saw", "liked", "found", "chased", "painted"};
    static const char *const what[] = {"a red ball", "the river", "the moon", "some bread"};
    FILE *file = fopen(in_folder(name), "wb");
    uint32_t x = seed;
    assert_non_null(file);
    for (size_t i = 0; i < n_documents; i++) {
        const char *hero = who[(x = x * 1664525u + 1013904223u) >> 16 & 3];
        fprintf(file, "Once there was a %s.\n", hero);
        for (int k = 0; k < 4; k++) {
            x = x * 1664525u + 1013904223u;
            fprintf(file, "The %s %s %s. ", hero, did[x % 5], what[x >> 20 & 3]);
        }
        fputs("\n<|endoftext|>\n", file);
    }
    assert_int_equal(fclose(file), 0);
}

// --- the program
// -----------------------------------------------------------------------------------

typedef struct told {
    int code;        // -1: ended by a signal
    char out[32768]; // the beginning of both
    char err[8192];  // without the lines that only slow machines tell
} told;

static void read_end(int fd, char *text, size_t cap) {
    char rest[4096];
    size_t n = 0;
    for (;;) {
        const bool full = n + 1 >= cap;
        const ssize_t got = full ? read(fd, rest, sizeof rest) : read(fd, text + n, cap - 1 - n);
        if (got <= 0 && errno != EINTR) break;
        if (got == 0) break;
        if (got > 0 && !full) n += (size_t)got;
    }
    text[n] = 0;
    close(fd);
}

// most_bytes: the largest file that it may write, 0: any.
static pid_t start(const char *const *args, int out, int err, rlim_t most_bytes) {
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid > 0) return pid;
    if (most_bytes > 0) {
        const struct rlimit limit = {most_bytes, most_bytes};
        setrlimit(RLIMIT_FSIZE, &limit);
    }
    dup2(out, 1);
    dup2(err, 2);
    if (chdir(folder) == 0) execv(program, (char *const *)(uintptr_t)args);
    _exit(127);
}

static int exit_code(pid_t pid) {
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static told run_list(const char *const *args, rlim_t most_bytes) {
    told t;
    // Files take what is told, so that no pipe can fill up: the parent reads when it is over.
    const int out = open(in_folder("told.out"), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    const int err = open(in_folder("told.err"), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(out >= 0 && err >= 0);
    t.code = exit_code(start(args, out, err, most_bytes));
    lseek(out, 0, SEEK_SET);
    lseek(err, 0, SEEK_SET);
    read_end(out, t.out, sizeof t.out);
    read_end(err, t.err, sizeof t.err);
    drop_progress_lines(t.err);
    return t;
}

static told run(const char *first, ...) {
    const char *args[MAX_ARGS] = {program, first};
    va_list list;
    size_t n = 2;
    va_start(list, first);
    while ((args[n] = va_arg(list, const char *)) != NULL) assert_true(++n < MAX_ARGS);
    va_end(list);
    return run_list(args, 0);
}

#define RUN_OK(...)                                                                                \
    do {                                                                                           \
        const told ran = run(__VA_ARGS__, (const char *)NULL);                                     \
        if (ran.code != 0) print_error("%s\n", ran.err);                                           \
        assert_int_equal(ran.code, 0);                                                             \
    } while (0)

// A failure: the exit code, and one line that has `words`.
#define FAILS(exit_code, words, ...)                                                               \
    do {                                                                                           \
        const told ran = run(__VA_ARGS__, (const char *)NULL);                                     \
        const size_t err_bytes = strlen(ran.err);                                                  \
        if (ran.code != (exit_code) || strstr(ran.err, (words)) == NULL)                           \
            print_error("%d: %s\n", ran.code, ran.err);                                            \
        assert_int_equal(ran.code, (exit_code));                                                   \
        assert_int_equal(strncmp(ran.err, "inkling: ", 9), 0);                                     \
        assert_non_null(strstr(ran.err, (words)));                                                 \
        assert_ptr_equal(strchr(ran.err, '\n'), ran.err + err_bytes - 1);                          \
    } while (0)

// --- what they wrote

static void check_log(const char *name, int n_steps) {
    size_t bytes;
    char *text = bytes_of(name, &bytes), *line = strtok(text, "\n");
    assert_string_equal(line,
                        "step,tokens,seconds,loss,held_loss,rate,grad_norm,tokens_per_second");
    double seconds_before = 0;
    for (int step = 1; step <= n_steps; step++) {
        int at = 0, n_tokens = 0;
        double seconds, loss;
        line = strtok(NULL, "\n");
        assert_non_null(line);
        assert_int_equal(sscanf(line, "%d,%d,%lf,%lf,", &at, &n_tokens, &seconds, &loss), 4);
        assert_int_equal(at, step);
        assert_int_equal(n_tokens, step * 4 * 32);
        assert_true(seconds >= seconds_before);
        assert_true(loss > 0 && loss < 7);
        int commas = 0;
        for (const char *p = line; *p != 0; p++) commas += *p == ',';
        assert_int_equal(commas, 7);
        seconds_before = seconds;
    }
    assert_null(strtok(NULL, "\n"));
    free(text);
}

static ink_model_info info_of(const char *name) {
    ink_model *model = NULL;
    ink_error error = {0};
    ink_model_info info = {.size = sizeof info};
    const ink_source source = {
        .size = sizeof source, .kind = INK_SOURCE_PATH, .name = in_folder(name)};
    const ink_status status = ink_model_open(&model, NULL, &source, NULL, &error);
    if (status != INK_OK) print_error("%s\n", error.message);
    assert_int_equal(status, INK_OK);
    assert_int_equal(ink_model_get_info(model, &info), INK_OK);
    ink_model_unref(model);
    return info; // its texts are gone
}

// The program's tests, in a folder with two texts.
static int in_folder_of_runs(int (*group)(void)) {
    program = getenv("INKLING_PROGRAM");
    if (program == NULL || access(program, X_OK) != 0) {
        puts("left out: there is no program to test (INKLING_PROGRAM)");
        return 77;
    }
    if (mkdtemp(folder) == NULL) return 1;
    write_text("text.txt", 1, 200);
    write_text("one.txt", 2, 40);
    const int failed = group();
    char command[MAX_PATH];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    if (system(command) != 0) print_error("%s is left\n", folder);
    return failed;
}

#endif
