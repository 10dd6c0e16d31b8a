// SPDX-License-Identifier: MIT
// What only whole processes can tell: memory at its peak, and the time from a process's start.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef __APPLE__
#include <mach-o/dyld.h>
#endif

#include "cli/args.h"
#include "cli/bench_job.h"
#include "cli/interrupt.h"
#include "cli/load.h"
#include "cli/report.h"

#ifdef __APPLE__
extern char **environ; // elsewhere in unistd.h
#endif

enum { PROGRAM_PATH = 4096, MAX_STARTS = 32 };

static bool make_pipe(int ends[2]) {
    if (pipe(ends) != 0) return false;
    fcntl(ends[0], F_SETFD, FD_CLOEXEC);
    fcntl(ends[1], F_SETFD, FD_CLOEXEC);
    return true;
}

static int fail_system(const char *what, int code) {
    return cli_fail(CLI_OTHER, "bench: %s: %s", what, strerror(code));
}

// Bytes that came from process pid, fewer than n at the end of the pipe. An interruption that has
// reached this process alone is passed on.
static size_t read_whole(int fd, void *to, size_t n, pid_t pid) {
    size_t at = 0;
    while (at < n) {
        const ssize_t got = read(fd, (char *)to + at, n - at);
        if (got > 0)
            at += (size_t)got;
        else if (got == 0 || errno != EINTR)
            break;
        else if (cli_interrupted())
            kill(pid, SIGTERM);
    }
    return at;
}

// The exit code of a process that has said itself what was wrong, or was interrupted on the way.
static int wait_for(pid_t pid) {
    int status = 0;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR) return fail_system("a process was lost", errno);
    if (cli_interrupted()) return cli_bench_failed(INK_E_CANCELLED, NULL);
    if (WIFEXITED(status)) return WEXITSTATUS(status);
    return cli_fail(CLI_OTHER, "bench: a process that measured was ended by signal %d",
                    WTERMSIG(status));
}

// --- memory --------------------------------------------------------------------------------------

// A process that was forked begins with the peak of what it was forked from: next to nothing.
static uint64_t own_peak_bytes(void) {
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) != 0) return 0;
#ifdef __APPLE__
    return (uint64_t)usage.ru_maxrss;
#else
    return (uint64_t)usage.ru_maxrss * 1024;
#endif
}

static int fill_context(const cli_bench_job *job, ink_session *session) {
    enum { PIECE = 128 };
    ink_token ids[PIECE];
    ink_error error = {0};
    ink_status status = INK_OK;
    cli_interrupt_session(session);
    for (uint32_t at = 0; at < job->n_ctx && status == INK_OK; at += PIECE) {
        const uint32_t n = job->n_ctx - at < PIECE ? job->n_ctx - at : PIECE;
        for (uint32_t i = 0; i < n; i++) ids[i] = cli_bench_id(job, at + i);
        const ink_span span = {session, ids, n, 0, NULL};
        status = cli_interrupted() ? INK_E_CANCELLED : ink_eval(&span, 1, &error);
    }
    cli_interrupt_session(NULL);
    return status == INK_OK ? CLI_OK : cli_bench_failed(status, &error);
}

static int measure_peak(cli_bench_job *job, uint64_t *peak) {
    int code = cli_bench_open(job);
    if (code == CLI_OK) {
        const ink_session_options options = cli_bench_session_options(job, job->n_ctx);
        ink_session *session = NULL;
        code = cli_session_open(&session, job->open, &options);
        if (code == CLI_OK) code = fill_context(job, session);
        ink_session_free(session);
    }
    cli_bench_close(job);
    *peak = own_peak_bytes();
    return code;
}

int cli_bench_peak(cli_bench_job *job) {
    int ends[2];
    if (!make_pipe(ends)) return fail_system("a pipe was needed", errno);
    const pid_t pid = fork();
    if (pid == 0) {
        cli_bench_job own = *job;
        uint64_t peak = 0;
        const int code = measure_peak(&own, &peak);
        const bool told = code != CLI_OK || write(ends[1], &peak, sizeof peak) == sizeof peak;
        _exit(told ? code : CLI_OTHER);
    }
    const int code = errno;
    close(ends[1]);
    size_t got = 0;
    if (pid > 0) got = read_whole(ends[0], &job->peak_bytes, sizeof job->peak_bytes, pid);
    close(ends[0]);
    if (pid < 0) return fail_system("a process was needed", code);
    const int ended = wait_for(pid);
    cli_bench_step(job);
    if (ended == CLI_OK && got != sizeof job->peak_bytes)
        return cli_fail(CLI_OTHER, "bench: the process that measured memory told nothing");
    return ended;
}

// --- from the start to the first token -----------------------------------------------------------

// On Linux a name that stays right when the file is replaced meanwhile.
static bool program_path(char *path, size_t cap) {
#ifdef __APPLE__
    uint32_t room = (uint32_t)cap;
    return _NSGetExecutablePath(path, &room) == 0;
#else
    snprintf(path, cap, "/proc/self/exe");
    return access(path, X_OK) == 0;
#endif
}

int cli_bench_prompt(const ink_model *model, size_t limit, char *prompt, size_t *n_tokens) {
    static const char text[] =
        "Once upon a time there was a little cat who lived in a small house near the sea, and "
        "every "
        "morning it went out to look at the boats that came back with the fish of the night, and "
        "then it slept in the sun until the children came home and played with it.";
    _Static_assert(sizeof text <= CLI_BENCH_PROMPT_BYTES, "it fits");
    size_t bytes = 0, most = 0;
    for (size_t i = 1; i < sizeof text; i++) {
        size_t n = 0;
        const ink_status status = ink_tokenize(model, text, i, 0, NULL, 0, &n, NULL);
        if (status != INK_OK && status != INK_E_SPACE) return cli_fail_ink(status, NULL);
        if (n > limit || n < most) continue;
        most = n;
        bytes = i;
    }
    memcpy(prompt, text, bytes);
    prompt[bytes] = 0;
    *n_tokens = most;
    return CLI_OK;
}

typedef struct start {
    char program[PROGRAM_PATH], prompt[CLI_BENCH_PROMPT_BYTES], threads[16], context[16];
    char *argv[24];
} start;

static void add_words(start *s, const char *const *words) {
    size_t n = 0;
    while (s->argv[n] != NULL) n++;
    // Its words are not const, though posix_spawn changes none of them.
    for (; *words != NULL; words++) memcpy(&s->argv[n++], words, sizeof *words);
}

static int begin_start(start *s, cli_bench_job *job) {
    if (!program_path(s->program, sizeof s->program))
        return cli_fail(CLI_OTHER, "bench: the path of this program could not be found out, "
                                   "which it needs to start itself");
    const size_t limit = job->n_ctx > CLI_BENCH_PROMPT ? CLI_BENCH_PROMPT : job->n_ctx - 1;
    const int code = cli_bench_prompt(job->open, limit, s->prompt, &job->n_prompt);
    snprintf(s->threads, sizeof s->threads, "%u", job->n_threads);
    snprintf(s->context, sizeof s->context, "%u", (unsigned)job->n_ctx);
    add_words(s, (const char *const[]){"inkling", "complete", "-n", "1", "--greedy", "--threads",
                                       s->threads, "--context", s->context, "--kv-type",
                                       cli_kv_types[job->kv_type], NULL});
    if (job->model != NULL) add_words(s, (const char *const[]){"-m", job->model, NULL});
    add_words(s, (const char *const[]){"--", s->prompt, NULL});
    return code;
}

// Starts the program; *ms until the first byte of its text has come. Where the token gives no text,
// its end counts.
static int run_start(const start *s, double *ms) {
    int ends[2];
    pid_t pid = 0;
    char byte, rest[64];
    posix_spawn_file_actions_t actions;
    if (!make_pipe(ends)) return fail_system("a pipe was needed", errno);
    int code = posix_spawn_file_actions_init(&actions);
    if (code == 0) {
        const double begin = cli_now_ms();
        code = posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
        if (code == 0) code = posix_spawn(&pid, s->program, &actions, NULL, s->argv, environ);
        close(ends[1]);
        ends[1] = -1;
        if (code == 0) read_whole(ends[0], &byte, 1, pid);
        *ms = cli_now_ms() - begin;
        posix_spawn_file_actions_destroy(&actions);
    }
    while (code == 0 && read_whole(ends[0], rest, sizeof rest, pid) > 0) {}
    close(ends[0]);
    if (ends[1] >= 0) close(ends[1]);
    return code == 0 ? wait_for(pid) : fail_system(s->program, code);
}

int cli_bench_first_token(cli_bench_job *job) {
    double ms[MAX_STARTS];
    start s = {.argv = {NULL}};
    int code = begin_start(&s, job);
    unsigned n = 0;
    // The first one is there to have all that it reads in memory.
    for (unsigned i = 0; i <= job->n_starts && i < MAX_STARTS && code == CLI_OK; i++) {
        code = run_start(&s, &ms[n]);
        n += i > 0;
        if (code == CLI_OK && cli_interrupted()) code = cli_bench_failed(INK_E_CANCELLED, NULL);
    }
    if (code == CLI_OK) job->first_token_ms = cli_bench_median(ms, n);
    cli_bench_step(job);
    return code;
}
