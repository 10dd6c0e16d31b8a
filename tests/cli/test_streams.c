// SPDX-License-Identifier: MIT
// The program at the other end of pipes, terminals and signals, where a shell has too little
// control.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <setjmp.h>

#include <cmocka.h>

#include "base/utf8.h"
#include "cli/interrupt.c" // the program links it

enum { MAX_OUTPUT = 1 << 20, MAX_ARGS = 24 };
enum { PATIENCE_MS = 240000 }; // after which a test has failed; nothing is measured by it

// Far more than a pipe holds: its program cannot end before it is told to, however fast it is.
#define LONG_STORY                                                                                 \
    "complete", "--ignore-eos", "-n", "1000000", "--overflow", "slide", "--context", "64"

static const char *program;
static int pipe_bytes; // that a pipe holds: a page where that can be chosen, else 0

typedef struct child {
    pid_t pid;
    int in, out, err; // our ends; -1: none
    int kept;         // a terminal's other end, which does not block; -1: none
} child;

// Starts the program with the given ends as its standard streams; they are closed here.
static pid_t start(int in, int out, int err, va_list list, const char *first) {
    char *args[MAX_ARGS] = {(char *)(uintptr_t)program, (char *)(uintptr_t)first};
    size_t n = 2;
    for (const char *arg; (arg = va_arg(list, const char *)) != NULL;) {
        assert_true(n + 1 < MAX_ARGS);
        args[n++] = (char *)(uintptr_t)arg; // execv changes nothing
    }
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        const int ends[3] = {in, out, err};
        for (int i = 0; i < 3; i++) dup2(ends[i], i);
        execv(program, args);
        _exit(127);
    }
    close(in);
    close(out);
    if (err != out) close(err);
    return pid;
}

static void pipe_ends(int ends[2], int flags) {
    assert_int_equal(pipe2(ends, O_CLOEXEC | flags), 0);
}

// flags: of the pipe that is the program's standard output.
static child start_pipes(int flags, const char *first, ...) {
    int in[2], out[2], err[2];
    pipe_ends(in, 0);
    pipe_ends(out, flags & ~O_NONBLOCK);
    pipe_ends(err, 0);
    if (flags & O_NONBLOCK) fcntl(out[1], F_SETFL, O_NONBLOCK);
#ifdef F_SETPIPE_SZ
    pipe_bytes = fcntl(out[0], F_SETPIPE_SZ, 4096);
    assert_true(pipe_bytes > 0);
#endif
    va_list list;
    va_start(list, first);
    const pid_t pid = start(in[0], out[1], err[1], list, first);
    va_end(list);
    return (child){pid, in[1], out[0], err[0], -1};
}

// Standard output and standard error on one terminal, `columns` wide.
static child start_terminal(unsigned short columns, const char *first, ...) {
    int in[2];
    pipe_ends(in, 0);
    const int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(master >= 0);
    assert_int_equal(grantpt(master), 0);
    assert_int_equal(unlockpt(master), 0);
    const int end = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(end >= 0);
    const struct winsize size = {.ws_row = 25, .ws_col = columns};
    assert_int_equal(ioctl(master, TIOCSWINSZ, &size), 0);
    const int kept = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    assert_true(kept >= 0);
    va_list list;
    va_start(list, first);
    const pid_t pid = start(in[0], end, end, list, first);
    va_end(list);
    return (child){pid, in[1], master, -1, kept};
}

typedef struct text {
    char *data;
    size_t n;
    size_t n_reads;
} text;

// Adds what one read gives; false at the end (a terminal says so with EIO).
static bool read_more(int fd, text *t) {
    if (t->data == NULL) t->data = calloc(1, MAX_OUTPUT + 1);
    assert_true(t->n < MAX_OUTPUT);
    ssize_t got;
    do got = read(fd, t->data + t->n, MAX_OUTPUT - t->n);
    while (got < 0 && errno == EINTR);
    if (got <= 0) return false;
    t->n += (size_t)got;
    t->n_reads++;
    return true;
}

static text read_all(int fd) {
    text t = {0};
    while (read_more(fd, &t)) {}
    return t;
}

// Takes out the bars that a slow machine shows, and the blanks that wipe them: from one '\r' to the
// next. What they stand over is lost to the user, so none may be in a line that has text.
static void drop_bars(text *t) {
    size_t n = 0;
    for (size_t i = 0; i < t->n;) {
        if (t->data[i] != '\r' || t->data[i + 1] == '\n') {
            t->data[n++] = t->data[i++];
            continue;
        }
        assert_true(n == 0 || t->data[n - 1] == '\n');
        const char *begin = t->data + i + 1, *end = strchr(begin, '\r');
        assert_non_null(end);
        const bool wiped = strspn(begin, " ") == (size_t)(end - begin);
        i = (size_t)(end - t->data) + wiped;
    }
    t->n = n;
    t->data[n] = 0;
}

// A terminal that its last user closes may drop what was not read yet, and what was written comes
// through a while later. So our own end stays open, and when the program has gone it writes a mark
// behind the program's text, of a byte that the program never lets through.
static text read_terminal(const child *c) {
    static const char mark = '\x16';
    text t = {0};
    for (bool gone = false, marked = false;;) {
        struct pollfd out = {.fd = c->out, .events = POLLIN};
        if (poll(&out, 1, 10) > 0) {
            assert_true(read_more(c->out, &t));
            if (t.data[t.n - 1] == mark) break;
        } else if (gone) {
            if (!marked) marked = write(c->kept, &mark, 1) == 1;
        } else {
            siginfo_t end = {.si_pid = 0};
            waitid(P_PID, (id_t)c->pid, &end, WEXITED | WNOHANG | WNOWAIT);
            gone = end.si_pid != 0;
        }
    }
    t.data[--t.n] = 0;
    drop_bars(&t);
    return t;
}

static int end_status(child *c) {
    int status = 0;
    while (waitpid(c->pid, &status, 0) < 0 && errno == EINTR) {}
    close(c->in);
    close(c->out);
    if (c->err >= 0) close(c->err);
    if (c->kept >= 0) close(c->kept);
    return status;
}

static void expect_exit(child *c, int code) {
    const int status = end_status(c);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), code);
}

static text quiet(int code, const char *const *args) {
    child c = start_pipes(0, args[0], args[1], args[2], args[3], args[4], args[5], args[6], args[7],
                          args[8], args[9], NULL);
    text t = read_all(c.out);
    expect_exit(&c, code);
    return t;
}

// A turn of at least a millisecond in a loop that waits for `what`.
static void wait_on(int *turns, const char *what) {
    if (++*turns > PATIENCE_MS) fail_msg("waited in vain for %s", what);
    poll(NULL, 0, 1);
}

static void await_full_pipe(const child *c) {
    for (int waiting = 0, turns = 0; waiting < pipe_bytes; wait_on(&turns, "a full pipe"))
        assert_int_equal(ioctl(c->out, FIONREAD, &waiting), 0);
}

static void expect_silence(int fd) {
    text t = read_all(fd);
    if (t.n > 0) print_error("standard error: %s\n", t.data);
    assert_int_equal(t.n, 0);
    free(t.data);
}

// A packet pipe keeps the limits of the writes: each read returns exactly one of them. Far above
// the usual temperature the tokens are nearly random, single bytes of characters among them.
static void whole_characters(void **state) {
    (void)state;
#ifdef O_DIRECT
    child c = start_pipes(O_DIRECT, "complete", "--ignore-eos", "-n", "200", "--seed", "3",
                          "--temperature", "20", "--top-k", "0", "--top-p", "1", "--min-p", "0",
                          "x", NULL);
    text all = {0};
    size_t beyond_ascii = 0, before = 0;
    while (read_more(c.out, &all)) {
        const uint8_t *piece = (const uint8_t *)all.data + before;
        assert_int_equal(inki_utf8_count_invalid(piece, all.n - before), 0);
        for (size_t i = before; i < all.n; i++) beyond_ascii += (uint8_t)all.data[i] >= 0xc0;
        before = all.n;
    }
    assert_true(all.n_reads > 20);  // it streams
    assert_true(beyond_ascii > 10); // and had something to split
    expect_silence(c.err);
    expect_exit(&c, 0);
    free(all.data);
#else
    print_message("left out: packet pipes are Linux's\n");
    skip();
#endif
}

// The text up to an interrupt is the beginning of the text without one, which is read as far and
// then ended by taking its pipe away.
static void interrupt(int number) {
    child c = start_pipes(0, LONG_STORY, "--seed", "5", "Once upon a time", NULL);
    text t = {0}, whole = {0};
    while (t.n < 100 && read_more(c.out, &t)) {}
    assert_int_equal(kill(c.pid, number), 0);
    while (read_more(c.out, &t)) {}
    assert_true(t.n >= 100);
    assert_int_equal(inki_utf8_count_invalid((const uint8_t *)t.data, t.n), 0);
    expect_silence(c.err);
    expect_exit(&c, 130);
    c = start_pipes(0, LONG_STORY, "--seed", "5", "Once upon a time", NULL);
    while (whole.n < t.n && read_more(c.out, &whole)) {}
    assert_true(whole.n >= t.n);
    assert_memory_equal(t.data, whole.data, t.n);
    close(c.out);
    c.out = open("/dev/null", O_RDONLY);
    expect_exit(&c, 0);
    free(whole.data);
    free(t.data);
}

static void interrupt_keeps_the_text(void **state) {
    (void)state;
    interrupt(SIGINT);
}

static void terminate_keeps_the_text(void **state) {
    (void)state;
    interrupt(SIGTERM);
}

static void interrupted_json_has_its_summary(void **state) {
    (void)state;
    child c = start_pipes(0, LONG_STORY, "--json", "Once upon a time", NULL);
    text t = {0};
    while (t.n < 100 && read_more(c.out, &t)) {}
    kill(c.pid, SIGINT);
    while (read_more(c.out, &t)) {}
    assert_int_equal(t.data[t.n - 1], '\n');
    t.data[t.n - 1] = 0;
    const char *last = strrchr(t.data, '\n');
    assert_non_null(last);
    assert_non_null(strstr(last, "{\"summary\":{\"stop\":\"cancelled\""));
    expect_exit(&c, 130);
    free(t.data);
}

// Waits until the program has taken the signals sent to it, and sleeps again ('S') or has ended
// ('Z'), which is returned; 0: no /proc.
static char settled(const child *c) {
    char path[64], line[256], found = 0;
    snprintf(path, sizeof path, "/proc/%ld/status", (long)c->pid);
    for (int turns = 0;; wait_on(&turns, "a program that sleeps")) {
        unsigned long long pending = 0, some;
        FILE *f = fopen(path, "r");
        if (f == NULL) return 0;
        while (fgets(line, sizeof line, f) != NULL) {
            if (sscanf(line, "State: %c", &found) == 1) continue;
            if (sscanf(line, "SigPnd: %llx", &some) == 1) pending |= some;
            if (sscanf(line, "ShdPnd: %llx", &some) == 1) pending |= some;
        }
        fclose(f);
        if (found == 'Z' || (found == 'S' && pending == 0)) return found;
    }
}

// Nobody reads, and the echo of the prompt is longer than the pipe: when the pipe is full the
// program is inside its write, where the first signal alone cannot end it.
static void second_signal_ends_at_once(void **state) {
    (void)state;
    if (pipe_bytes == 0 || access("/proc/self/status", R_OK) != 0) {
        print_message("left out: only Linux sets the size of a pipe, and tells of signals\n");
        skip();
    }
    child c = start_pipes(0, "complete", "--echo", "--overflow", "left", "-n", "4", "-", NULL);
    const size_t bytes = 2 * (size_t)pipe_bytes;
    char *prompt = malloc(bytes);
    assert_non_null(prompt);
    memset(prompt, 'a', bytes);
    assert_int_equal(write(c.in, prompt, bytes), bytes);
    free(prompt);
    close(c.in);
    c.in = open("/dev/null", O_WRONLY);
    await_full_pipe(&c);
    assert_int_equal(kill(c.pid, SIGINT), 0);
    assert_int_equal(settled(&c), 'S');
    assert_int_equal(kill(c.pid, SIGINT), 0);
    const int status = end_status(&c);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGINT);
}

static void interrupt_while_waiting_for_input(void **state) {
    (void)state;
    child c = start_pipes(0, "complete", "-", NULL);
    assert_int_equal(write(c.in, "Once", 4), 4);
    // Once it has read that, it is ready for signals.
    for (int left = 1, turns = 0; left > 0; wait_on(&turns, "its input to be read"))
        assert_int_equal(ioctl(c.in, FIONREAD, &left), 0);
    kill(c.pid, SIGINT);
    text t = read_all(c.out);
    assert_int_equal(t.n, 0);
    expect_exit(&c, 130);
    free(t.data);
}

// The same with the signal just before the wait, where it interrupts nothing. In a process of its
// own, because the handler counts; 0, or what is wrong.
static int await_interrupted(void) {
    int ends[2];
    sigset_t before, after;
    if (pipe(ends) != 0) return 1;
    cli_interrupt_install();
    sigprocmask(SIG_SETMASK, NULL, &before);
    if (write(ends[1], "x", 1) != 1 || !cli_interrupt_await(ends[0])) return 2;
    char byte;
    if (read(ends[0], &byte, 1) != 1) return 3;
    raise(SIGINT);
    if (cli_interrupt_await(ends[0])) return 4;
    sigprocmask(SIG_SETMASK, NULL, &after);
    for (int s = 1; s < 32; s++)
        if (sigismember(&before, s) != sigismember(&after, s)) return 5;
    return 0;
}

static void interrupt_just_before_waiting(void **state) {
    (void)state;
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) _exit(await_interrupted());
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void gone_reader_ends_quietly(void **state) {
    (void)state;
    child c = start_pipes(0, LONG_STORY, "Once upon a time", NULL);
    text t = {0};
    assert_true(read_more(c.out, &t));
    close(c.out);
    c.out = open("/dev/null", O_RDONLY);
    expect_silence(c.err);
    expect_exit(&c, 0);
    free(t.data);
}

// Some shells leave the shared end of a pipe non-blocking: nothing may be lost.
static void slow_reader_gets_everything(void **state) {
    (void)state;
    const char *const args[] = {"inspect", "--json", NULL, NULL, NULL,
                                NULL,      NULL,     NULL, NULL, NULL};
    text want = quiet(0, args);
    child c = start_pipes(O_NONBLOCK, "inspect", "--json", NULL);
    text t = {0};
    if (want.n > (size_t)pipe_bytes) await_full_pipe(&c); // only then the program has to wait
    while (read_more(c.out, &t)) {}
    assert_int_equal(t.n, want.n);
    assert_memory_equal(t.data, want.data, want.n);
    expect_exit(&c, 0);
    free(want.data);
    free(t.data);
}

static void terminal_shows_control_characters(void **state) {
    (void)state;
    child c = start_terminal(80, "complete", "--echo", "-n", "3", "--greedy",
                             "a\033[31mb\xc2\x9b\xe2\x80\xae\x07"
                             "c\td\n",
                             NULL);
    text t = read_terminal(&c);
    expect_exit(&c, 0);
    const char want[] = "a\\x1b[31mb\\u009b\\u202e\\x07c";
    assert_true(t.n > sizeof want);
    assert_memory_equal(t.data, want, sizeof want - 1);
    for (size_t i = 0; i < t.n; i++)
        assert_true((uint8_t)t.data[i] >= 0x20 || strchr("\t\r\n", t.data[i]) != NULL);
    assert_int_equal(t.data[t.n - 1], '\n'); // added, or the text ended in one
    free(t.data);
}

// The story slides when it is old enough for a bar: the terminal takes nothing before that.
static void bar_spares_the_text(void **state) {
    (void)state;
    child c = start_terminal(80, "complete", "--ignore-eos", "-n", "300", "--overflow", "slide",
                             "--context", "64", "--seed", "1", "Once upon a time", NULL);
    assert_int_equal(tcflow(c.kept, TCOOFF), 0);
    settled(&c);
    poll(NULL, 0, 600);
    assert_int_equal(tcflow(c.kept, TCOON), 0);
    text t = read_terminal(&c);
    expect_exit(&c, 0);
    assert_true(t.n > 300);
    free(t.data);
}

static void pipe_gets_the_exact_bytes(void **state) {
    (void)state;
    const char *const args[] = {"complete", "--echo", "-n", "0",  "a\033[31mb\x07",
                                NULL,       NULL,     NULL, NULL, NULL};
    text t = quiet(0, args);
    assert_int_equal(t.n, 8);
    assert_memory_equal(t.data, "a\033[31mb\x07", 8);
    free(t.data);
}

static void error_on_a_terminal_is_one_line(void **state) {
    (void)state;
    child c = start_terminal(80, "complete", "-m", "no\nsuch\033file", "x", NULL);
    text t = read_terminal(&c);
    expect_exit(&c, 3);
    assert_memory_equal(t.data, "inkling: ", 9);
    assert_ptr_equal(memchr(t.data, '\n', t.n), t.data + t.n - 1);
    assert_null(memchr(t.data, '\033', t.n));
    free(t.data);
}

static bool has_model(void) {
    child c = start_pipes(0, "tokenize", "x", NULL);
    text t = read_all(c.out);
    free(t.data);
    const int status = end_status(&c);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_characters),
        cmocka_unit_test(interrupt_keeps_the_text),
        cmocka_unit_test(terminate_keeps_the_text),
        cmocka_unit_test(interrupted_json_has_its_summary),
        cmocka_unit_test(second_signal_ends_at_once),
        cmocka_unit_test(interrupt_while_waiting_for_input),
        cmocka_unit_test(interrupt_just_before_waiting),
        cmocka_unit_test(gone_reader_ends_quietly),
        cmocka_unit_test(slow_reader_gets_everything),
        cmocka_unit_test(terminal_shows_control_characters),
        cmocka_unit_test(bar_spares_the_text),
        cmocka_unit_test(pipe_gets_the_exact_bytes),
        cmocka_unit_test(error_on_a_terminal_is_one_line),
    };
    program = getenv("INKLING_PROGRAM");
    if (program == NULL || access(program, X_OK) != 0) {
        puts("left out: there is no program to test (INKLING_PROGRAM)");
        return 77;
    }
    signal(SIGPIPE, SIG_IGN);
    if (!has_model()) {
        puts("left out: the program has no built-in model");
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
