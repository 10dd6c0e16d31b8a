// SPDX-License-Identifier: MIT
// Saved sessions of `inkling complete` under signals: what is printed before and after a save is
// together what one uninterrupted run prints, whenever the program was stopped; and a program that
// is killed while it saves leaves the old file or the whole new one.
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { MAX_ARGS = 40, MAX_TEXT = 1 << 20 };

static const char *program;
static char folder[] = "/tmp/inkling-XXXXXX", saved[64];

typedef struct child {
    pid_t pid;
    int out;
} child;
typedef struct text {
    char *data; // [MAX_TEXT + 1]
    size_t n;
} text;

static text new_text(void) {
    text t = {calloc(1, MAX_TEXT + 1), 0};
    assert_non_null(t.data);
    return t;
}

// One thread is faster where many programs share the processors.
static char threads[2][12] = {"--threads", "1"};

// args: blanks between them; '_' in an argument stands for a blank, "@" for the saved file.
static child start(const char *args) {
    char copy[512], *argv[MAX_ARGS] = {(char *)(uintptr_t)program};
    size_t n = 1;
    int out[2];
    assert_true(strlen(args) < sizeof copy);
    strcpy(copy, args);
    for (char *word = strtok(copy, " "); word != NULL; word = strtok(NULL, " ")) {
        assert_true(n + 3 < MAX_ARGS);
        for (char *c = word; *c != 0; c++)
            if (*c == '_') *c = ' ';
        argv[n++] = strcmp(word, "@") == 0 ? saved : word;
    }
    argv[n++] = threads[0];
    argv[n++] = threads[1];
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        dup2(out[1], STDOUT_FILENO);
        execv(program, argv);
        _exit(127);
    }
    close(out[1]);
    return (child){pid, out[0]};
}

// Reads until `least` bytes are there, or the end. False at the end.
static bool read_to(const child *c, text *t, size_t least) {
    while (t->n < least) {
        assert_true(t->n < MAX_TEXT);
        const ssize_t got = read(c->out, t->data + t->n, MAX_TEXT - t->n);
        if (got < 0 && errno == EINTR) continue;
        assert_true(got >= 0);
        if (got == 0) return false;
        t->n += (size_t)got;
    }
    return true;
}

static int end_of(child *c) {
    int status = 0;
    while (waitpid(c->pid, &status, 0) < 0 && errno == EINTR) {}
    close(c->out);
    return status;
}

// Adds what the program prints.
static void run_into(text *t, int code, const char *args) {
    child c = start(args);
    read_to(&c, t, MAX_TEXT);
    const int status = end_of(&c);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), code);
}

// At least n bytes of a run that would go on, and that is stopped.
static text beginning_of(const char *args, size_t n) {
    text t = new_text();
    child c = start(args);
    assert_true(read_to(&c, &t, n));
    kill(c.pid, SIGKILL);
    end_of(&c);
    return t;
}

static void assert_begins(const text *whole, const text *part) {
    assert_true(part->n <= whole->n);
    assert_memory_equal(whole->data, part->data, part->n);
}

// The wild ones write pieces of characters too, of which one is often held back.
#define WILD "--temperature 5 --top-k 0 --top-p 1 --min-p 0 "
#define LONG "complete -n 1000000 --ignore-eos --overflow slide --context 64 "
static const struct {
    const char *name, *how, *begin;
} stories[] = {
    {"story", "", "--seed 5 Once_upon_a_time"},
    {"wild story", "", WILD "--seed 6 Once_upon_a_time"},
    {"wild poem", "-m builtin:poem-zh ", WILD "--seed 7 \xe6\x98\xa5\xe6\xb1\x9f"},
    {"drafted", "--draft ngram ", "--seed 8 --temperature 0.2 One_day_one_day_one_day"},
    {"stopped by a string", "--stop nowhere_at_all ", "--seed 9 Once_upon_a_time"},
    {"mirostat", "", "--mirostat 2 --seed 10 Once_upon_a_time"},
};
enum { N_STORIES = sizeof stories / sizeof *stories };

static void interrupted(void **state) {
    (void)state;
    static const size_t after[] = {1, 40, 250, 17};
    for (size_t i = 0; i < N_STORIES; i++) {
        char first[512], next[512], plain[512];
        text all = new_text();
        unlink(saved);
        snprintf(plain, sizeof plain, LONG "%s%s", stories[i].how, stories[i].begin);
        snprintf(first, sizeof first, LONG "--save-session @ %s%s", stories[i].how,
                 stories[i].begin);
        snprintf(next, sizeof next, LONG "--save-session @ --load-session @ %s", stories[i].how);
        for (size_t k = 0; k < sizeof after / sizeof *after; k++) {
            child c = start(k == 0 ? first : next);
            assert_true(read_to(&c, &all, all.n + after[k]));
            kill(c.pid, k % 2 == 0 ? SIGINT : SIGTERM);
            read_to(&c, &all, MAX_TEXT);
            const int status = end_of(&c);
            assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 130);
            assert_int_equal(access(saved, R_OK), 0);
        }
        text whole = beginning_of(plain, all.n);
        if (memcmp(whole.data, all.data, all.n) != 0) print_error("%s\n", stories[i].name);
        assert_begins(&whole, &all);
        free(whole.data);
        free(all.data);
    }
}

// Each number of tokens is a place for the cut, one inside of a character among them.
static void cut_by_length(void **state) {
    (void)state;
    const bool all = getenv("INKLING_TEST_LONG") != NULL;
    if (!all) print_message("left out: two cuts of three (INKLING_TEST_LONG)\n");
    for (size_t i = 0; i < N_STORIES; i++) {
        text whole = new_text();
        char args[512];
        snprintf(args, sizeof args, "complete -n 24 %s%s", stories[i].how, stories[i].begin);
        run_into(&whole, 0, args);
        // 1, 2, 3, 5, 8, 12, 18.
        for (int n = 1; n <= 24; n += all ? 1 : (n + 1) / 2) {
            text parts = new_text();
            snprintf(args, sizeof args, "complete -n %d --save-session @ %s%s", n, stories[i].how,
                     stories[i].begin);
            run_into(&parts, 0, args);
            snprintf(args, sizeof args, "complete -n %d --load-session @ %s", 24 - n,
                     stories[i].how);
            run_into(&parts, 0, args);
            if (parts.n != whole.n || memcmp(parts.data, whole.data, whole.n) != 0)
                print_error("%s, cut behind %d tokens\n", stories[i].name, n);
            assert_int_equal(parts.n, whole.n);
            assert_memory_equal(parts.data, whole.data, whole.n);
            free(parts.data);
        }
        free(whole.data);
    }
}

// Nothing was written, and what the prompt's last token would have been for healing is there still.
static void cut_before_the_first_token(void **state) {
    (void)state;
    text whole = new_text(), parts = new_text();
    run_into(&whole, 0, "complete -n 24 --seed 5 --no-heal Once_upon_a_ti");
    run_into(&parts, 0, "complete -n 0 --seed 5 --save-session @ Once_upon_a_ti");
    assert_int_equal(parts.n, 0);
    run_into(&parts, 0, "complete -n 24 --load-session @");
    assert_int_equal(parts.n, whole.n);
    assert_memory_equal(parts.data, whole.data, whole.n);
    free(whole.data);
    free(parts.data);
}

static void killed(void **state) {
    (void)state;
    const size_t n_kills = getenv("INKLING_TEST_LONG") != NULL ? 200 : 8;
    if (n_kills == 8) print_message("left out: 192 kills (INKLING_TEST_LONG)\n");
    text whole = beginning_of(LONG "--seed 11 Once_upon_a_time", 2000 + 160 * n_kills);
    text before = new_text();
    size_t n_old = 0, n_new = 0;
    uint32_t random = 12345;
    run_into(&before, 0,
             "complete -n 30 --overflow slide --context 64 --ignore-eos --seed 11 "
             "--save-session @ Once_upon_a_time");
    size_t at = before.n; // of the saved session in the whole text
    for (size_t i = 0; i < n_kills; i++) {
        text step = new_text(), printed = new_text(), after = new_text();
        run_into(&step, 0,
                 "complete -n 20 --overflow slide --context 64 --ignore-eos "
                 "--load-session @");
        child c = start("complete -n 20 --overflow slide --context 64 --ignore-eos --load-session "
                        "@ --save-session @");
        // All of the text is out: now it saves.
        read_to(&c, &printed, step.n);
        random = random * 1664525 + 1013904223;
        nanosleep(&(struct timespec){.tv_nsec = (long)(random >> 6)}, NULL); // up to 67 ms
        kill(c.pid, SIGKILL);
        end_of(&c);
        run_into(&after, 0,
                 "complete -n 20 --overflow slide --context 64 --ignore-eos "
                 "--load-session @");
        assert_true(at + step.n + after.n < whole.n);
        const bool old = memcmp(whole.data + at, after.data, after.n) == 0;
        const bool new = memcmp(whole.data + at + step.n, after.data, after.n) == 0;
        assert_true(old || new);
        if (!old) at += step.n;
        n_old += old;
        n_new += !old;
        free(step.data);
        free(printed.data);
        free(after.data);
    }
    print_message("killed: %zu left the old file, %zu the new one\n", n_old, n_new);
    free(before.data);
    free(whole.data);
}

static int clean(void **state) {
    (void)state;
    char command[96];
    snprintf(command, sizeof command, "rm -r '%s'", folder);
    return system(command);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cut_by_length),
        cmocka_unit_test(cut_before_the_first_token),
        cmocka_unit_test(interrupted),
        cmocka_unit_test(killed),
    };
    program = getenv("INKLING_PROGRAM");
    if (program == NULL || access(program, X_OK) != 0) {
        puts("left out: there is no program to test (INKLING_PROGRAM)");
        return 77;
    }
    const char *story = getenv("INKLING_STORY");
    if (story != NULL && story[0] == 0) {
        puts("left out: there is no built-in model");
        return 77;
    }
    signal(SIGPIPE, SIG_IGN);
    if (mkdtemp(folder) == NULL) return 1;
    snprintf(saved, sizeof saved, "%s/saved.ink", folder);
    return cmocka_run_group_tests(tests, NULL, clean);
}
