// SPDX-License-Identifier: MIT
// `inkling score` against a slow oracle over the library: every token behind an evaluation of all
// that stands before it. And what it shows on a terminal.
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "inkling/inkling.h"
#include "opened.h"

enum { MAX_TOKENS = 256, MAX_TEXT = 1 << 16 };

static const char *program;
static ink_model *model;
static ink_token end_token;

// --- the oracle ---------------------------------------------------------------------------------

// ids[0] is the end-of-text token; out[i] is the logprob of ids[i + 1] behind all before it, or
// with `bare` behind those that follow ids[0].
static size_t oracle(const char *text, int bare, ink_token *ids, double *out) {
    ink_session_options options;
    ink_session *session = NULL;
    size_t n = 0;
    ink_session_options_init(&options, sizeof options);
    assert_int_equal(ink_session_new(&session, model, &options, NULL), INK_OK);
    ids[0] = end_token;
    assert_int_equal(ink_tokenize(model, text, strlen(text), 0, ids + 1, MAX_TOKENS - 1, &n, NULL),
                     INK_OK);
    for (size_t i = 0; i < n; i++)
        out[i] = bare && i == 0
                     ? NAN
                     : opened_logprob(session, ids + bare, i + 1 - (size_t)bare, ids[i + 1]);
    ink_session_free(session);
    return n;
}

// --- the program --------------------------------------------------------------------------------

typedef struct lines {
    json_t *all; // an array of the lines' values
    json_t *summary;
    size_t n; // lines before the summary
} lines;

static lines told(const char *arguments) {
    char command[1024], line[MAX_TEXT];
    snprintf(command, sizeof command, "'%s' score --json %s", program, arguments);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    lines l = {.all = json_array()};
    while (fgets(line, sizeof line, pipe) != NULL) {
        json_t *value = json_loads(line, 0, NULL);
        assert_non_null(value);
        assert_int_equal(json_array_append_new(l.all, value), 0);
    }
    assert_int_equal(pclose(pipe), 0);
    l.n = json_array_size(l.all) - 1;
    l.summary = json_object_get(json_array_get(l.all, l.n), "summary");
    assert_non_null(l.summary);
    return l;
}

static double number(const json_t *value, const char *key) {
    const json_t *found = json_object_get(value, key);
    assert_true(json_is_number(found));
    return json_number_value(found);
}

static void near(double a, double b) {
    if (!(fabs(a - b) <= 1e-5 * (1 + fabs(b)))) print_error("%.9g instead of %.9g\n", a, b);
    assert_true(fabs(a - b) <= 1e-5 * (1 + fabs(b)));
}

static void a_text(void **state) {
    (void)state;
    static const char text[] = "Once upon a time, there was a na\xc3\xafve cat \xf0\x9f\x99\x82\n";
    ink_token ids[MAX_TOKENS];
    double want[MAX_TOKENS], sum = 0;
    const size_t n = oracle(text, 0, ids, want);
    char arguments[256];
    snprintf(arguments, sizeof arguments, "--top 5 '%s'", text);
    lines l = told(arguments);
    assert_int_equal(l.n, n);
    for (size_t i = 0; i < n; i++) {
        const json_t *line = json_array_get(l.all, i), *top = json_object_get(line, "top");
        sum += want[i];
        assert_int_equal((ink_token)number(line, "token"), ids[i + 1]);
        near(number(line, "logprob"), want[i]);
        near(number(line, "probability"), exp(want[i]));
        assert_int_equal(json_array_size(top), 5);
        // The token's place is where it stands among the likeliest.
        const json_t *rank = json_object_get(line, "rank");
        for (size_t k = 0; k < 5; k++)
            assert_int_equal((ink_token)number(json_array_get(top, k), "token") == ids[i + 1],
                             json_integer_value(rank) == (json_int_t)k + 1);
    }
    near(number(l.summary, "logprob"), sum);
    near(number(l.summary, "logprob_per_token"), sum / (double)n);
    near(number(l.summary, "perplexity"), exp(-sum / (double)n));
    near(number(l.summary, "bits_per_byte"), -sum / log(2) / (double)strlen(text));
    assert_int_equal((size_t)number(l.summary, "bytes"), strlen(text));
    json_decref(l.all);
}

// An ending is scored from the first token that not all texts and the context have in common.
static void endings(void **state) {
    (void)state;
    static const char context[] = "Once upon a time there was a";
    static const char *const texts[] = {" dog", " little girl", " qu", "n elephant"};
    enum { N = sizeof texts / sizeof *texts };
    ink_token ids[N + 1][MAX_TOKENS];
    double want[N][MAX_TOKENS], sums[N] = {0}, total = 0;
    size_t n[N], n_common = 0, n_context = 0;
    assert_int_equal(ink_tokenize(model, context, strlen(context), 0, ids[N] + 1, MAX_TOKENS - 1,
                                  &n_context, NULL),
                     INK_OK);
    for (size_t i = 0; i < N; i++) {
        char whole[128];
        snprintf(whole, sizeof whole, "%s%s", context, texts[i]);
        n[i] = oracle(whole, 1, ids[i], want[i]);
    }
    for (;; n_common++) {
        int same = n_common < n_context;
        for (size_t i = 0; i < N && same; i++)
            same = n_common < n[i] && ids[i][n_common + 1] == ids[N][n_common + 1];
        if (!same) break;
    }
    assert_true(n_common > 0);
    for (size_t i = 0; i < N; i++) {
        for (size_t k = n_common; k < n[i]; k++) sums[i] += want[i][k];
        total += exp(sums[i]);
    }
    lines l = told("--before 'Once upon a time there was a' --ending ' dog' --ending "
                   "' little girl' --ending ' qu' --ending 'n elephant'");
    assert_int_equal(l.n, N);
    double last = INFINITY;
    for (size_t k = 0; k < N; k++) {
        const json_t *line = json_array_get(l.all, k);
        const size_t i = (size_t)number(line, "index");
        assert_true(i < N);
        assert_string_equal(json_string_value(json_object_get(line, "ending")), texts[i]);
        near(number(line, "logprob"), sums[i]);
        near(number(line, "share"), exp(sums[i]) / total);
        assert_int_equal((size_t)number(line, "n_tokens"), n[i] - n_common);
        near(number(line, "logprob_per_token"), sums[i] / (double)(n[i] - n_common));
        assert_int_equal(json_array_size(json_object_get(line, "tokens")), n[i] - n_common);
        assert_true(sums[i] <= last);
        last = sums[i];
    }
    assert_int_equal((size_t)number(l.summary, "n_endings"), N);
    json_decref(l.all);
}

// --- a terminal ---------------------------------------------------------------------------------

// A terminal that its last user closes may drop what was not read yet. So our own end stays open,
// and when the program has gone it writes a mark behind the program's text, of a byte that the
// program never lets through.
static void read_terminal(int master, int slave, pid_t pid, char *out, size_t cap) {
    static const char mark = '\x16';
    size_t n = 0;
    for (bool gone = false, marked = false; n == 0 || out[n - 1] != mark;) {
        struct pollfd one = {.fd = master, .events = POLLIN};
        if (poll(&one, 1, 10) > 0) {
            const ssize_t got = read(master, out + n, cap - n);
            assert_true(got > 0);
            n += (size_t)got;
        } else if (gone) {
            if (!marked) marked = write(slave, &mark, 1) == 1;
        } else {
            siginfo_t end = {.si_pid = 0};
            waitid(P_PID, (id_t)pid, &end, WEXITED | WNOHANG | WNOWAIT);
            gone = end.si_pid != 0;
        }
    }
    out[n - 1] = 0;
}

// What the program prints to a terminal, with an environment variable set ("NAME=value") or NULL.
static char *on_terminal(char *variable, char *color, char *text) {
    const int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
    const int slave = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(slave >= 0);
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        char *args[] = {
            (char *)(uintptr_t)program, (char[]){"score"}, (char[]){"--color"}, color, text, NULL};
        unsetenv("NO_COLOR");
        setenv("TERM", "xterm-256color", 1);
        if (variable != NULL) putenv(variable);
        dup2(slave, STDOUT_FILENO);
        execv(program, args);
        _exit(127);
    }
    char *out = calloc(1, MAX_TEXT + 1);
    assert_non_null(out);
    read_terminal(master, slave, pid, out, MAX_TEXT);
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    close(slave);
    close(master);
    return out;
}

static void colors(void **state) {
    (void)state;
    static struct {
        char variable[16], color[8];
        bool colored;
    } cases[] = {{"", "auto", true},          {"NO_COLOR=1", "auto", false},
                 {"NO_COLOR=", "auto", true}, {"TERM=dumb", "auto", false},
                 {"", "never", false},        {"NO_COLOR=1", "always", true}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[] = "Once upon a time\x1b[31m there\n was\ta cat";
        char *shown =
            on_terminal(cases[i].variable[0] != 0 ? cases[i].variable : NULL, cases[i].color, text);
        assert_int_equal(strstr(shown, "\x1b[38;5;16;48;5;") != NULL, cases[i].colored);
        assert_int_equal(strstr(shown, "at least: ") != NULL, cases[i].colored);
        assert_null(strstr(shown, "\x1b[31m")); // the text's own
        if (cases[i].colored) assert_non_null(strstr(shown, "\\x1b"));
        // No colour is open at the end of a line.
        for (const char *line = shown, *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
            const char *last = NULL;
            for (const char *at = line; at < end; at++)
                if (*at == '\x1b') last = at;
            assert_true(last == NULL || strncmp(last, "\x1b[0m", 4) == 0);
        }
        free(shown);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_text),
        cmocka_unit_test(endings),
        cmocka_unit_test(colors),
    };
    const ink_source source = {.size = sizeof source, .kind = INK_SOURCE_BUILTIN};
    program = getenv("INKLING_PROGRAM");
    if (program == NULL || access(program, X_OK) != 0) {
        puts("left out: there is no program to test (INKLING_PROGRAM)");
        return 77;
    }
    if (ink_model_open(&model, NULL, &source, NULL, NULL) != INK_OK) {
        puts("left out: there is no built-in model");
        return 77;
    }
    ink_model_info info = {.size = sizeof info};
    if (ink_model_get_info(model, &info) != INK_OK) return 1;
    end_token = info.end_token;
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    ink_model_unref(model);
    return failed;
}
