// SPDX-License-Identifier: MIT
// `inkling serve` as its users meet it: what it prints, what it refuses, how it ends.
#include "http_scene.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum { MAX_ARGS = 16 };

static const char *program;

typedef struct served {
    pid_t pid;
    int out, err;
    uint16_t port;
    char told[8192]; // on standard output
} served;

static served start(const char *const *args) {
    char *argv[MAX_ARGS] = {(char *)(uintptr_t)program, (char *)(uintptr_t) "serve"};
    int out[2], err[2];
    served s = {0};
    for (int i = 0; args[i] != NULL && i < MAX_ARGS - 3; i++)
        argv[i + 2] = (char *)(uintptr_t)args[i]; // execv changes nothing
    assert_int_equal(pipe(out), 0);
    assert_int_equal(pipe(err), 0);
    s.pid = fork();
    assert_true(s.pid >= 0);
    if (s.pid == 0) {
        dup2(out[1], 1);
        dup2(err[1], 2);
        for (int fd = 3; fd < 32; fd++) close(fd);
        execv(program, argv);
        _exit(127);
    }
    close(out[1]);
    close(err[1]);
    s.out = out[0];
    s.err = err[0];
    return s;
}

static void read_all(int fd, char *out, size_t cap, const char *until) {
    size_t n = 0;
    out[0] = 0;
    while (n < cap - 1 && (until == NULL || strstr(out, until) == NULL)) {
        struct pollfd one = {.fd = fd, .events = POLLIN};
        if (poll(&one, 1, PATIENCE_MS) != 1) fail_msg("nothing comes behind: %s", out);
        const ssize_t got = read(fd, out + n, cap - 1 - n);
        if (got <= 0) return;
        n += (size_t)got;
        out[n] = 0;
    }
}

static void await_listening(served *s) {
    size_t n = 0;
    while (strstr(s->told, "listening on ") == NULL || s->told[n - 1] != '\n') {
        struct pollfd one = {.fd = s->out, .events = POLLIN};
        if (poll(&one, 1, PATIENCE_MS) != 1) fail_msg("it does not listen: %s", s->told);
        const ssize_t got = read(s->out, s->told + n, sizeof s->told - 1 - n);
        if (got <= 0) fail_msg("it ended: %s", s->told);
        n += (size_t)got;
    }
    const char *at = strstr(s->told, "listening on http://127.0.0.1:");
    assert_non_null(at);
    s->port = (uint16_t)strtoul(at + strlen("listening on http://127.0.0.1:"), NULL, 10);
}

// The exit code; what it said on standard error into err [cap].
static int end(served *s, char *err, size_t cap) {
    int status = 0;
    read_all(s->err, err, cap, NULL);
    assert_int_equal(waitpid(s->pid, &status, 0), s->pid);
    close(s->out);
    close(s->err);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static reply ask_port(uint16_t port, const char *request) {
    static wire w;
    w.fd = wire_try_connect(port);
    w.n = 0;
    w.data[0] = 0;
    assert_true(w.fd >= 0);
    wire_send(w.fd, request);
    const reply r = wire_read(&w, true);
    close(w.fd);
    return r;
}

static void write_file(const char *path, const char *text, mode_t mode) {
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

static void test_serves(void **state) {
    char err[8192], path[] = "/tmp/inkling-keys-XXXXXX";
    (void)state;
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    write_file(path, "\n  from-file \r\nsecond\n", 0644);
    served s =
        start((const char *const[]){"--port", "0", "--api-key", "given", "--api-key-file", path,
                                    "--verbose", "--id", "tale", "-m", "builtin:story", NULL});
    await_listening(&s);
    assert_non_null(strstr(s.told, "model builtin:story as tale\n"));
#define ASK(key) "GET /v1/models HTTP/1.1\r\n" HOST "Authorization: Bearer " key "\r\n\r\n"
    assert_int_equal(ask_port(s.port, ASK("wrong")).status, 401);
    assert_int_equal(ask_port(s.port, ASK("given")).status, 200);
    assert_int_equal(ask_port(s.port, ASK("second")).status, 200);
    reply r = ask_port(s.port, ASK("from-file"));
    assert_int_equal(r.status, 200);
    assert_non_null(strstr(r.body, "\"tale\""));
    kill(s.pid, SIGTERM);
    assert_int_equal(end(&s, err, sizeof err), 0);
    // Others may read the file; each answer has its line, and no key is in any.
    assert_non_null(strstr(err, "chmod 600"));
    assert_non_null(strstr(err, "GET /v1/models 401 "));
    assert_non_null(strstr(err, "GET /v1/models 200 "));
    assert_null(strstr(err, "from-file"));
    assert_null(strstr(err, "given"));
    assert_null(strstr(err, "wrong"));
    unlink(path);
}

static void test_ends(void **state) {
    char err[8192];
    (void)state;
    for (int number = 0; number < 2; number++) {
        served s = start((const char *const[]){"--port", "0", "--drain-ms", "3600000", "--body-ms",
                                               "3600000", NULL});
        await_listening(&s);
        // A request that does not end: the rest of its body does not come.
        static wire w;
        w.fd = wire_try_connect(s.port);
        assert_true(w.fd >= 0);
        wire_send(w.fd, "POST /v1/completions HTTP/1.1\r\n" HOST "Content-Length: 100\r\n"
                        "Expect: 100-continue\r\n\r\n");
        w.n = 0;
        w.data[0] = 0;
        wire_await(&w, "100 Continue");
        kill(s.pid, number == 0 ? SIGTERM : SIGINT);
        int fd;
        WAIT_FOR((fd = wire_try_connect(s.port)) < 0 || (close(fd), false));
        assert_int_equal(waitpid(s.pid, NULL, WNOHANG), 0);
        // It would take an hour, but for the second one.
        kill(s.pid, SIGTERM);
        assert_int_equal(end(&s, err, sizeof err), 0);
        assert_string_equal(err, "");
        close(w.fd);
    }
}

static void test_refuses(void **state) {
    static const struct {
        const char *args[6];
        int code;
        const char *says;
    } cases[] = {{{"-m", "/nonexistent.gguf"}, 3, "/nonexistent.gguf"},
                 {{"--address", "localhost"}, 2, "address"},
                 {{"--origin", "example.org"}, 2, "origin"},
                 {{"--id", "a"}, 2, "--id"},
                 {{"--api-key", ""}, 2, "key"},
                 {{"--api-key", "a b"}, 2, "key"},
                 {{"--api-key-file", "/nonexistent"}, 3, "/nonexistent"},
                 {{"--api-key-file", "/dev/null"}, 2, "expected a key"},
                 {{"--port", "65536"}, 2, "--port"},
                 {{"--parallel", "65"}, 2, "--parallel"},
                 {{"-m", "builtin:story", "-m", "builtin:story"}, 2, "twice"}};
    char err[8192];
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        served s = start(cases[i].args);
        const int code = end(&s, err, sizeof err);
        if (code != cases[i].code || strstr(err, cases[i].says) == NULL)
            fail_msg("case %zu: exit code %d, \"%s\"", i, code, err);
        assert_int_equal(strncmp(err, "inkling: ", 9), 0);
        assert_ptr_equal(strchr(err, '\n'), err + strlen(err) - 1);
    }
    // The port of another one.
    char port[16];
    served first = start((const char *const[]){"--port", "0", NULL});
    await_listening(&first);
    snprintf(port, sizeof port, "%u", (unsigned)first.port);
    served second = start((const char *const[]){"--port", port, NULL});
    assert_int_equal(end(&second, err, sizeof err), 1);
    assert_non_null(strstr(err, "in use"));
    kill(first.pid, SIGINT);
    assert_int_equal(end(&first, err, sizeof err), 0);
}

static void test_warns(void **state) {
    char err[8192];
    (void)state;
    served s = start((const char *const[]){"--port", "0", "--address", "0.0.0.0", NULL});
    read_all(s.err, err, sizeof err, "--api-key");
    assert_non_null(strstr(err, "0.0.0.0"));
    kill(s.pid, SIGTERM);
    assert_int_equal(end(&s, err, sizeof err), 0);
}

int main(void) {
    program = getenv("INKLING_PROGRAM");
    if (program == NULL) {
        puts("left out: there is no program (INKLING_PROGRAM)");
        return 77;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_serves), cmocka_unit_test(test_ends),
                                       cmocka_unit_test(test_refuses),
                                       cmocka_unit_test(test_warns)};
    return cmocka_run_group_tests_name("server/http_command", tests, NULL, NULL);
}
