// SPDX-License-Identifier: MIT
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/compare.h"
#include "cli/terminal.h"

extern char **environ;

static void give_up(const char *what) {
    fprintf(stderr, "compare: %s\n", what);
    exit(1);
}

static void make_pipe(int ends[2]) {
    if (pipe(ends) != 0) give_up(strerror(errno));
    fcntl(ends[0], F_SETFD, FD_CLOEXEC);
    fcntl(ends[1], F_SETFD, FD_CLOEXEC);
}

// in: -1 leaves standard input as it is.
static pid_t start(const char *const *argv, int in, int out) {
    posix_spawn_file_actions_t actions;
    pid_t pid = 0;
    if (posix_spawn_file_actions_init(&actions) != 0) give_up("no memory");
    if (in >= 0) posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
    // posix_spawn changes none of the words.
    const int code =
        posix_spawn(&pid, argv[0], &actions, NULL, (char *const *)(uintptr_t)argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (code != 0) give_up(strerror(code));
    return pid;
}

bool compare_start(compare_worker *worker, const char *role, const char *model) {
    int to[2], from[2];
    const char *const argv[] = {"/proc/self/exe", "--worker", role, model, NULL};
    make_pipe(to);
    make_pipe(from);
    worker->pid = start(argv, to[0], from[1]);
    close(to[0]);
    close(from[1]);
    worker->to = to[1];
    worker->from = from[0];
    return true;
}

double compare_ask(const compare_worker *worker, const char *what, unsigned n, unsigned n_threads,
                   double ms) {
    char line[128];
    const int length = snprintf(line, sizeof line, "%s %u %u %.0f\n", what, n, n_threads, ms);
    if (write(worker->to, line, (size_t)length) != length) give_up("a worker has ended");
    size_t at = 0;
    while (at < sizeof line - 1 && (at == 0 || line[at - 1] != '\n')) {
        const ssize_t got = read(worker->from, line + at, 1);
        if (got <= 0) give_up("a worker has ended");
        at += (size_t)got;
    }
    line[at] = 0;
    const double value = strtod(line, NULL);
    if (!(value > 0) || !isfinite(value)) give_up("a worker could not measure");
    return value;
}

void compare_end(compare_worker *worker) {
    int status;
    close(worker->to);
    close(worker->from);
    waitpid((pid_t)worker->pid, &status, 0);
}

double compare_time_start(const char *const *argv) {
    int from[2], status = 0;
    char bytes[64];
    make_pipe(from);
    const double begin = cli_now_ms();
    const pid_t pid = start(argv, -1, from[1]);
    close(from[1]);
    ssize_t got = read(from[0], bytes, 1);
    const double ms = cli_now_ms() - begin;
    while (got > 0) got = read(from[0], bytes, sizeof bytes);
    close(from[0]);
    waitpid(pid, &status, 0);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) give_up("a process failed");
    return ms;
}

static int compare_doubles(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

// Between neighbours where a quartile falls between them.
static double at_fraction(const double *x, size_t n, double fraction) {
    const double place = fraction * (double)(n - 1);
    const size_t i = (size_t)place;
    return i + 1 < n ? x[i] + (x[i + 1] - x[i]) * (place - (double)i) : x[n - 1];
}

compare_quartiles compare_sort(double *x, size_t n) {
    qsort(x, n, sizeof *x, compare_doubles);
    return (compare_quartiles){at_fraction(x, n, 0.25), at_fraction(x, n, 0.5),
                               at_fraction(x, n, 0.75)};
}
