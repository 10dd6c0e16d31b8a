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
#include "cli/out.h"
#include "cli/report.h"

#ifdef __APPLE__
extern char **environ; // elsewhere in unistd.h
#endif

enum { PROGRAM_PATH = 4096, MAX_STARTS = 32, MAX_WORDS = 64 };

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
    bool told = false;
    while (at < n) {
        if (!told && !cli_interrupt_await(fd)) {
            kill(pid, SIGTERM);
            told = true;
        }
        const ssize_t got = read(fd, (char *)to + at, n - at);
        if (got > 0)
            at += (size_t)got;
        else if (got == 0 || errno != EINTR)
            break;
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

// --- starting this program -----------------------------------------------------------------------

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

typedef struct start {
    char program[PROGRAM_PATH], prompt[CLI_BENCH_PROMPT_BYTES], threads[16], context[16];
    char *argv[MAX_WORDS];
} start;

static void add_words(start *s, const char *const *words) {
    size_t n = 0;
    while (s->argv[n] != NULL) n++;
    // Its words are not const, though posix_spawn changes none of them.
    for (; *words != NULL; words++) memcpy(&s->argv[n++], words, sizeof *words);
}

// A command with the options that all have in common.
static int begin_start(start *s, const char *command, const cli_bench_job *job) {
    if (!program_path(s->program, sizeof s->program))
        return cli_fail(CLI_OTHER, "bench: the path of this program could not be found out, "
                                   "which it needs to start itself");
    snprintf(s->threads, sizeof s->threads, "%u", job->n_threads);
    snprintf(s->context, sizeof s->context, "%u", (unsigned)job->n_ctx);
    add_words(s, (const char *const[]){"inkling", command, "--threads", s->threads, "--kv-type",
                                       cli_kv_types[job->kv_type], NULL});
    if (job->n_ctx > 0) add_words(s, (const char *const[]){"--context", s->context, NULL});
    if (job->model != NULL) add_words(s, (const char *const[]){"-m", job->model, NULL});
    if (job->loras.n > (MAX_WORDS - 24) / 2) return cli_fail(CLI_USAGE, "bench: too many --lora");
    for (size_t i = 0; i < job->loras.n; i++)
        add_words(s, (const char *const[]){"--lora", job->loras.items[i], NULL});
    return CLI_OK;
}

// *out: where its standard output can be read.
static int run_start(const start *s, pid_t *pid, int *out) {
    int ends[2];
    posix_spawn_file_actions_t actions;
    if (!make_pipe(ends)) return fail_system("a pipe was needed", errno);
    int code = posix_spawn_file_actions_init(&actions);
    if (code == 0) {
        code = posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
        if (code == 0) code = posix_spawn(pid, s->program, &actions, NULL, s->argv, environ);
        posix_spawn_file_actions_destroy(&actions);
    }
    close(ends[1]);
    *out = ends[0];
    if (code == 0) return CLI_OK;
    close(ends[0]);
    return fail_system(s->program, code);
}

// --- memory --------------------------------------------------------------------------------------

// What getrusage tells may come from the process that this one was made of, before it was another
// program.
uint64_t cli_bench_own_peak(void) {
    char line[256];
    uint64_t kib = 0;
    FILE *status = fopen("/proc/self/status", "r");
    while (status != NULL && fgets(line, sizeof line, status) != NULL)
        if (strncmp(line, "VmHWM:", 6) == 0) kib = strtoull(line + 6, NULL, 10);
    if (status != NULL) fclose(status);
    if (kib > 0) return kib * 1024;
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) != 0) return 0;
#ifdef __APPLE__
    return (uint64_t)usage.ru_maxrss;
#else
    return (uint64_t)usage.ru_maxrss * 1024;
#endif
}

// In large pieces: what an evaluation needs at the most is part of the figure.
static int fill_session(const cli_bench_job *job, ink_session *session) {
    enum { PIECE = 1024 };
    ink_token ids[PIECE];
    ink_error error = {0};
    ink_status status = INK_OK;
    cli_interrupt_session(session);
    for (uint32_t at = 0; at < job->n_ctx && status == INK_OK; at += PIECE) {
        const uint32_t n = job->n_ctx - at < PIECE ? job->n_ctx - at : PIECE;
        for (uint32_t i = 0; i < n; i++) ids[i] = cli_bench_id(at + i, job->info.n_vocab);
        const ink_span span = {session, ids, n, 0, NULL};
        status = cli_interrupted() ? INK_E_CANCELLED : ink_eval(&span, 1, &error);
    }
    cli_interrupt_session(NULL);
    return status == INK_OK ? CLI_OK : cli_bench_failed(status, &error);
}

int cli_bench_fill(cli_bench_job *job) {
    ink_session *session = NULL;
    int code = cli_bench_open(job);
    const ink_session_options options = cli_bench_session_options(job, job->n_ctx);
    if (code == CLI_OK) code = cli_session_open(&session, job->open, &options);
    if (code == CLI_OK) code = fill_session(job, session);
    ink_session_free(session);
    if (code == CLI_OK) cli_out("%llu\n", (unsigned long long)cli_bench_own_peak());
    return code;
}

int cli_bench_peak(cli_bench_job *job) {
    start s = {.argv = {NULL}};
    char text[32] = "";
    pid_t pid = 0;
    int out = -1;
    int code = begin_start(&s, "bench", job);
    add_words(&s, (const char *const[]){"--peak", NULL});
    if (code == CLI_OK) code = run_start(&s, &pid, &out);
    if (code != CLI_OK) return code;
    read_whole(out, text, sizeof text - 1, pid);
    close(out);
    code = wait_for(pid);
    job->peak_bytes = strtoull(text, NULL, 10);
    cli_bench_step(job);
    if (code == CLI_OK && job->peak_bytes == 0)
        code = cli_fail(CLI_OTHER, "bench: the process that measured memory told nothing");
    return code;
}

// --- from the start to the first token -----------------------------------------------------------

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

// Starts the program; *ms until the first byte of its text has come. Where the token gives no text,
// its end counts.
static int time_start(const start *s, double *ms) {
    pid_t pid = 0;
    int out = -1;
    char byte, rest[64];
    const double begin = cli_now_ms();
    const int code = run_start(s, &pid, &out);
    if (code != CLI_OK) return code;
    read_whole(out, &byte, 1, pid);
    *ms = cli_now_ms() - begin;
    while (read_whole(out, rest, sizeof rest, pid) > 0) {}
    close(out);
    return wait_for(pid);
}

int cli_bench_first_token(cli_bench_job *job) {
    double ms[MAX_STARTS] = {0};
    start s = {.argv = {NULL}};
    const size_t limit = job->n_ctx > CLI_BENCH_PROMPT ? CLI_BENCH_PROMPT : job->n_ctx - 1;
    int code = cli_bench_prompt(job->open, limit, s.prompt, &job->n_prompt);
    if (code == CLI_OK) code = begin_start(&s, "complete", job);
    add_words(&s, (const char *const[]){"-n", "1", "--greedy", "--", s.prompt, NULL});
    // The first one is there to have all that it reads in memory.
    unsigned n = 0;
    for (unsigned i = 0; i <= job->n_starts && i < MAX_STARTS && code == CLI_OK; i++) {
        code = time_start(&s, &ms[n]);
        n += i > 0;
        if (code == CLI_OK && cli_interrupted()) code = cli_bench_failed(INK_E_CANCELLED, NULL);
    }
    if (code == CLI_OK) job->first_token_ms = cli_bench_median(ms, n);
    cli_bench_step(job);
    return code;
}
