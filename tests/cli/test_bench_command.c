// SPDX-License-Identifier: MIT
// `inkling bench`: its JSON to the letter, random models of a shape, what it leaves behind.
#include <dirent.h>
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
#include <termios.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "convert/shape_model.h"
#include "inkling/inkling.h"

static const char *program;
static char folder[] = "/tmp/inkling-bench-test-XXXXXX";

// Runs "inkling bench ARGUMENTS" with `folder` as TMPDIR. out, err [cap]: what it wrote.
static int bench(const char *arguments, char *out, char *err, size_t cap) {
    char command[2048], path[128];
    snprintf(path, sizeof path, "%s/err", folder);
    snprintf(command, sizeof command, "TMPDIR=%s '%s' bench %s 2>%s", folder, program, arguments,
             path);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    out[fread(out, 1, cap - 1, pipe)] = 0;
    const int status = pclose(pipe);
    FILE *errors = fopen(path, "r");
    assert_non_null(errors);
    err[fread(err, 1, cap - 1, errors)] = 0;
    fclose(errors);
    unlink(path);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static size_t files_in_folder(void) {
    size_t n = 0;
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    for (const struct dirent *e; (e = readdir(dir)) != NULL;)
        n += e->d_name[0] != '.' || e->d_name[1] == 'i';
    closedir(dir);
    return n;
}

// An array of {key, "tok_s"} with these levels, in this order, and nothing else.
static void check_figures(const json_t *answer, const char *name, const char *key,
                          const unsigned *levels, size_t n) {
    const json_t *list = json_object_get(answer, name);
    assert_true(json_is_array(list));
    assert_int_equal(json_array_size(list), n);
    for (size_t i = 0; i < n; i++) {
        const json_t *entry = json_array_get(list, i);
        assert_int_equal(json_object_size(entry), 2);
        assert_true(json_is_integer(json_object_get(entry, key)));
        assert_int_equal(json_integer_value(json_object_get(entry, key)), levels[i]);
        assert_true(json_real_value(json_object_get(entry, "tok_s")) > 0);
    }
}

static json_t *read_answer(const char *out) {
    json_error_t error;
    json_t *answer = json_loads(out, 0, &error); // also refuses what stands behind the object
    assert_non_null(answer);
    assert_int_equal(json_object_size(answer), 6);
    // One line, in the order that is promised.
    assert_ptr_equal(strchr(out, '\n'), out + strlen(out) - 1);
    static const char *const keys[] = {"\"prefill\":",        "\"decode\":",     "\"batch\":",
                                       "\"first_token_ms\":", "\"peak_bytes\":", "\"read_gb_s\":"};
    const char *at = out;
    for (size_t i = 0; i < 6; i++) {
        at = strstr(at, keys[i]);
        assert_non_null(at);
    }
    return answer;
}

static const unsigned batches[] = {1, 2, 4, 8};

static void json_of_the_builtin_model(void **state) {
    (void)state;
    static char out[8192], err[8192];
    static const unsigned prefills[] = {16, 128}, depths[] = {16};
    assert_int_equal(bench("--quick --json --context 256", out, err, sizeof out), 0);
    assert_string_equal(err, "");
    json_t *answer = read_answer(out);
    check_figures(answer, "prefill", "n", prefills, 2);
    check_figures(answer, "decode", "depth", depths, 1);
    check_figures(answer, "batch", "n", batches, 4);
    assert_true(json_real_value(json_object_get(answer, "first_token_ms")) > 0);
    assert_true(json_real_value(json_object_get(answer, "read_gb_s")) > 0);
    const json_t *peak = json_object_get(answer, "peak_bytes");
    assert_true(json_is_integer(peak));
    // No process is smaller than the cache that it has filled, or larger than a small model allows.
    ink_model *model = NULL;
    ink_model_info info = {.size = sizeof info};
    assert_int_equal(ink_model_open(&model, NULL, NULL, NULL, NULL), INK_OK);
    assert_int_equal(ink_model_get_info(model, &info), INK_OK);
    ink_model_unref(model);
    const uint64_t kv_bytes = (uint64_t)2 * info.n_layer * info.n_embd * 256 * 2;
    assert_true((uint64_t)json_integer_value(peak) > kv_bytes);
    if (getenv("INKLING_SANITIZE") == NULL)
        assert_true(json_integer_value(peak) < 64 * 1000 * 1000);
    json_decref(answer);
}

static void lines_of_a_shape(void **state) {
    (void)state;
    static char out[8192], err[8192];
    assert_int_equal(
        bench("--quick --shape story --type q4_0 --context 40 --threads 1 --kv-type q8_0", out, err,
              sizeof out),
        0);
    assert_string_equal(err, "");
    static const char *const wanted[] = {"random story q4_0",
                                         "1 thread,",
                                         "q8_0\n",
                                         "prefill of 16 ",
                                         "prefill of 128    left out, the context has 40 positions",
                                         "decode at 16 ",
                                         "decode at 512    left out, the context has 40 positions",
                                         "batch of 8 ",
                                         " times the time of one",
                                         "read bandwidth",
                                         "over the same mapped file",
                                         "prompt of 16 tokens",
                                         "peak memory"};
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
        if (strstr(out, wanted[i]) == NULL) fail_msg("no \"%s\" in:\n%s", wanted[i], out);
    assert_int_equal(files_in_folder(), 0);
}

// Batches and depths that a context has no room for are left out; none of it fails.
static void tiny_contexts(void **state) {
    (void)state;
    static const char *const contexts[] = {"1", "2", "16", "17"};
    static const size_t n_prefills[] = {0, 0, 1, 1}, n_depths[] = {0, 0, 0, 1};
    for (size_t i = 0; i < 4; i++) {
        static char out[8192], err[8192];
        char arguments[128];
        snprintf(arguments, sizeof arguments, "--quick --json --shape story --context %s",
                 contexts[i]);
        assert_int_equal(bench(arguments, out, err, sizeof out), 0);
        json_t *answer = read_answer(out);
        assert_int_equal(json_array_size(json_object_get(answer, "prefill")), n_prefills[i]);
        assert_int_equal(json_array_size(json_object_get(answer, "decode")), n_depths[i]);
        json_decref(answer);
    }
}

static void kept_file_is_a_model(void **state) {
    (void)state;
    static char out[8192], err[8192];
    char arguments[256], path[128];
    snprintf(path, sizeof path, "%s/kept.gguf", folder);
    snprintf(arguments, sizeof arguments, "--quick --json --shape story --keep %s", path);
    assert_int_equal(bench(arguments, out, err, sizeof out), 0);
    assert_int_equal(files_in_folder(), 1);
    const ink_source source = {.size = sizeof source, .kind = INK_SOURCE_PATH, .name = path};
    ink_model *model = NULL;
    ink_model_info info = {.size = sizeof info};
    assert_int_equal(ink_model_open(&model, NULL, &source, NULL, NULL), INK_OK);
    assert_int_equal(ink_model_get_info(model, &info), INK_OK);
    assert_int_equal(info.n_vocab, 2048);
    assert_int_equal(info.n_embd, 128);
    assert_int_equal(info.end_token, 2047);
    assert_string_equal(info.type, "Q8_0");
    ink_model_unref(model);
    unlink(path);
}

// Every byte and every merge of the generated vocabulary works, and the numbers stay finite.
static void every_type_runs(void **state) {
    (void)state;
    char path[128], text[256 + 8], back[sizeof text];
    snprintf(path, sizeof path, "%s/shape.gguf", folder);
    for (unsigned type = 0; inki_shape_types[type] != NULL; type++) {
        const inki_shape_options how = {.shape = &inki_shapes[0], .type = type, .out = path};
        ink_error error = {0};
        assert_int_equal(inki_shape_write(&how, &error), INK_OK);
        const ink_source source = {.size = sizeof source, .kind = INK_SOURCE_PATH, .name = path};
        ink_model *model = NULL;
        ink_session *session = NULL;
        if (ink_model_open(&model, NULL, &source, NULL, &error) != INK_OK)
            fail_msg("%s: %s", inki_shape_types[type], error.message);
        ink_token ids[sizeof text];
        size_t n = 0, n_back = 0;
        for (int i = 0; i < 256; i++) text[i] = (char)i;
        memcpy(text + 256, " theseto", 8);
        assert_int_equal(ink_tokenize(model, text, sizeof text, 0, ids, sizeof text, &n, NULL),
                         INK_OK);
        assert_true(n < sizeof text); // something was merged
        assert_int_equal(ink_detokenize(model, ids, n, 0, back, sizeof back, &n_back), INK_OK);
        assert_int_equal(n_back, sizeof text);
        assert_memory_equal(back, text, sizeof text);
        assert_int_equal(ink_session_new(&session, model, NULL, NULL), INK_OK);
        // An evaluation whose logits are not finite fails.
        const ink_span span = {session, ids, n < 64 ? n : 64, 0, NULL};
        assert_int_equal(ink_eval(&span, 1, &error), INK_OK);
        assert_int_equal(ink_session_free(session), INK_OK);
        ink_model_unref(model);
    }
    unlink(path);
}

// The process that --peak is, asked for by hand: the same figure within what pages come and go (the
// system maps large pages when it has some, and counts them for each processor on its own).
static void peak_alone(void **state) {
    (void)state;
    static char out[8192], err[8192];
    assert_int_equal(bench("--peak", out, err, sizeof out), 0);
    assert_string_equal(err, "");
    const double alone = strtod(out, NULL);
    assert_int_equal(strspn(out, "0123456789"), strlen(out) - 1);
    assert_int_equal(bench("--quick --json", out, err, sizeof out), 0);
    json_t *answer = read_answer(out);
    const double beside = json_number_value(json_object_get(answer, "peak_bytes"));
    assert_true(alone > 0.5 * beside && alone < 2 * beside);
    json_decref(answer);
}

static void refuse(const char *arguments, int code, const char *words) {
    static char out[8192], err[8192];
    assert_int_equal(bench(arguments, out, err, sizeof out), code);
    assert_string_equal(out, "");
    if (strncmp(err, "inkling: ", 9) != 0 || strstr(err, words) == NULL)
        fail_msg("bench %s: \"%s\" is not in: %s", arguments, words, err);
    assert_ptr_equal(strchr(err, '\n'), err + strlen(err) - 1);
    assert_int_equal(files_in_folder(), 0);
}

static void bad_arguments(void **state) {
    (void)state;
    refuse("--shape gpt5", 2, "--shape \"gpt5\" is none of story, gpt2-124m");
    refuse("--shape story --type q9_9", 2, "--type \"q9_9\" is none of f32, f16");
    refuse("--type q8_0", 2, "go with --shape");
    refuse("--keep x.gguf", 2, "go with --shape");
    refuse("-m x.gguf --shape story", 2, "one of them");
    refuse("--peak --shape story", 2, "--peak goes without");
    refuse("--threads -1", 2, "out of range");
    refuse("--threads 99999999999999999999", 2, "out of range");
    refuse("extra", 2, "one argument too many");
    refuse("--context 257 --shape story", 6, "--context: ");
    refuse("-m /nonexistent/x.gguf", 3, "/nonexistent/x.gguf: ");
    refuse("-m /dev/null", 3, "/dev/null");
    refuse("--shape story --keep /nonexistent/x.gguf", 3, "/nonexistent/x.gguf: ");
}

static void bad_environment(void **state) {
    (void)state;
    setenv("INKLING_CPU", "sse9", 1);
    refuse("--shape story", 2, "there is no level \"sse9\"");
    unsetenv("INKLING_CPU");
}

static void threads_are_clamped(void **state) {
    (void)state;
    static char out[8192], err[8192];
    assert_int_equal(bench("--quick --json --context 20 --threads 1000000", out, err, sizeof out),
                     0);
    json_decref(read_answer(out));
    assert_non_null(strstr(err, "--threads 1000000: "));
    assert_non_null(strstr(err, "are used, one for each processor"));
    assert_int_equal(bench("--quick --json --context 20 --threads 0", out, err, sizeof out), 0);
    assert_string_equal(err, "");
}

// Its handler stands, or it has ended.
static void await_handler(pid_t pid) {
    char path[64], line[256], state;
    snprintf(path, sizeof path, "/proc/%ld/status", (long)pid);
    for (bool ready = false; !ready; usleep(100)) {
        unsigned long long caught;
        FILE *f = fopen(path, "r");
        assert_non_null(f);
        while (fgets(line, sizeof line, f) != NULL)
            ready = ready || (sscanf(line, "State: %c", &state) == 1 && state == 'Z') ||
                    (sscanf(line, "SigCgt: %llx", &caught) == 1 && (caught >> (SIGINT - 1) & 1));
        fclose(f);
    }
}

// A terminal that takes nothing until it is told to: the program, whose bar it is to show after
// half a second, then waits. *end: its other end.
static int stopped_terminal(int *end) {
    const int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
    *end = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(*end >= 0);
    assert_int_equal(tcflow(*end, TCOOFF), 0);
    return master;
}

// Returns how the program ended that got SIGINT some time after its handler stood; at_once: perhaps
// before. The program cannot end by itself, however late the signal comes.
static int interrupted_after(unsigned delay_us, bool at_once) {
    int ends[2], terminal, status = 0;
    const int master = stopped_terminal(&terminal);
    assert_int_equal(pipe(ends), 0);
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        setenv("TMPDIR", folder, 1);
        dup2(ends[1], STDOUT_FILENO);
        dup2(terminal, STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        execl(program, program, "bench", "--shape", "story", "--type", "f32", (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    if (!at_once) await_handler(pid);
    usleep(delay_us);
    kill(pid, SIGINT);
    assert_int_equal(tcflow(terminal, TCOON), 0);
    // Whoever still had the pipe would be a process left behind.
    char byte;
    ssize_t got;
    do got = read(ends[0], &byte, 1);
    while (got < 0 && errno == EINTR);
    assert_int_equal(got, 0);
    close(ends[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    close(terminal);
    close(master);
    return status;
}

// SIGINT to the program alone: it ends its processes too, soon, and nothing is left behind.
static void interrupted(void **state) {
    (void)state;
    const int first = interrupted_after(0, true);
    // Before its handler stood, the signal ended it at once.
    if (!WIFSIGNALED(first) || WTERMSIG(first) != SIGINT) {
        assert_true(WIFEXITED(first));
        assert_int_equal(WEXITSTATUS(first), 130);
    }
    assert_int_equal(files_in_folder(), 0);
    if (access("/proc/self/status", R_OK) != 0) {
        print_message("left out: interrupts in the middle, no /proc here\n");
        return;
    }
    // So that it is now here and now there; whatever it does then, it ends in the same way.
    static const unsigned delays_us[] = {0, 2000, 5000, 10000, 20000, 60000, 400000, 800000};
    for (size_t i = 0; i < sizeof delays_us / sizeof *delays_us; i++) {
        const int status = interrupted_after(delays_us[i], false);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 130);
        assert_int_equal(files_in_folder(), 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(json_of_the_builtin_model),
                                       cmocka_unit_test(lines_of_a_shape),
                                       cmocka_unit_test(tiny_contexts),
                                       cmocka_unit_test(peak_alone),
                                       cmocka_unit_test(kept_file_is_a_model),
                                       cmocka_unit_test(every_type_runs),
                                       cmocka_unit_test(bad_arguments),
                                       cmocka_unit_test(bad_environment),
                                       cmocka_unit_test(threads_are_clamped),
                                       cmocka_unit_test(interrupted)};
    program = getenv("INKLING_PROGRAM");
    if (program == NULL || access(program, X_OK) != 0) {
        puts("left out: there is no program to test (INKLING_PROGRAM)");
        return 77;
    }
    ink_model *model = NULL;
    if (ink_model_open(&model, NULL, NULL, NULL, NULL) != INK_OK) {
        puts("left out: there is no built-in model");
        return 77;
    }
    ink_model_unref(model);
    if (mkdtemp(folder) == NULL) return 1;
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    rmdir(folder);
    return failed;
}
