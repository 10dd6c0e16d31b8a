// SPDX-License-Identifier: MIT
// Runs of `inkling train` that end in the middle, by a signal, a full disk, a NaN, and go on.
#include "base/checksum.h"
#include "cli/test_train_runs.h"

static bool same_bytes(const char *a, const char *b) {
    size_t n, m;
    char *x = bytes_of(a, &n), *y = bytes_of(b, &m);
    const bool same = n == m && memcmp(x, y, n) == 0;
    free(x);
    free(y);
    return same;
}

// Without what tells the time.
static char *log_without_times(const char *name) {
    size_t n;
    char *text = bytes_of(name, &n), *kept = calloc(1, n + 1);
    size_t at = 0;
    for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        int column = 0;
        for (const char *p = line; *p != 0; p++) {
            column += *p == ',';
            if (column != 2 && column != 7) kept[at++] = *p;
        }
        kept[at++] = '\n';
    }
    free(text);
    return kept;
}

static void expect_same_run(const char *a, const char *b) {
    static const char *const files[] = {"checkpoint.bin", "model.gguf"};
    char one[MAX_NAME], other[MAX_NAME];
    for (size_t i = 0; i < 2; i++) {
        snprintf(one, sizeof one, "%s/%s", a, files[i]);
        snprintf(other, sizeof other, "%s/%s", b, files[i]);
        assert_true(same_bytes(one, other));
    }
    snprintf(one, sizeof one, "%s/log.csv", a);
    snprintf(other, sizeof other, "%s/log.csv", b);
    char *x = log_without_times(one), *y = log_without_times(other);
    assert_string_equal(x, y);
    free(x);
    free(y);
}

#define LONG_RUN                                                                                   \
    SMALL, "--steps", "200", "--dropout", "0.1", "--blank-lines", "0.3", "--checkpoint-steps",     \
        "8", "--validate-every", "50", "--threads", "1"

// Until the run has made the file.
static void await_file(const char *name, pid_t pid) {
    for (bool gone = false; !is_there(name); poll(NULL, 0, 1)) {
        siginfo_t end = {.si_pid = 0};
        if (gone) fail_msg("the run ended without %s", name);
        gone = waitid(P_PID, (id_t)pid, &end, WEXITED | WNOHANG | WNOWAIT) != 0 || end.si_pid != 0;
    }
}

// A run that tells every step into a pipe that nobody reads cannot come to its end: it is stopped
// in the middle, however fast the machine is. Returns the program's end of it when its first
// checkpoint is there.
static pid_t start_stuck(const char *dir, int *out) {
    const char *const args[] = {program, "train", "text.txt", "-o", dir, LONG_RUN, "--json", NULL};
    char path[MAX_NAME];
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
#ifdef F_SETPIPE_SZ
    fcntl(ends[0], F_SETPIPE_SZ, 4096);
#endif
    const pid_t pid = start(args, ends[1], 2, 0);
    close(ends[1]);
    *out = ends[0];
    snprintf(path, sizeof path, "%s/checkpoint.bin", dir);
    await_file(path, pid);
    return pid;
}

static void killed_runs_go_on(void **state) {
    (void)state;
    int out;
    RUN_OK("train", "text.txt", "-o", "whole", LONG_RUN, "--quiet");
    const pid_t pid = start_stuck("killed", &out);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(exit_code(pid), -1);
    close(out);
    assert_false(is_there("killed/model.gguf"));
    RUN_OK("train", "--resume", "killed", "--quiet", "--threads", "2");
    expect_same_run("whole", "killed");
    // The vocabulary is learnt again where its files have gone, or are others.
    write_file("killed/merges.txt", "#version: 0.2\na b\n", 18);
    RUN_OK("train", "--resume", "killed", "--quiet");
    expect_same_run("whole", "killed");
}

static void interrupted(const char *dir, int number) {
    char path[MAX_NAME], text[8192];
    int out;
    const pid_t pid = start_stuck(dir, &out);
    assert_int_equal(kill(pid, number), 0);
    read_end(out, text, sizeof text);
    assert_int_equal(exit_code(pid), 130);
    // It ended in the middle, and what there is by now can be used.
    snprintf(path, sizeof path, "%s/model.gguf", dir);
    info_of(path);
    snprintf(path, sizeof path, "%s/loss.svg", dir);
    assert_true(is_there(path));
    const char *end = strstr(text, "{\"event\":\"end\",\"interrupted\":true");
    assert_non_null(end);
    RUN_OK("train", "--resume", dir, "--quiet");
    expect_same_run("whole", dir);
}

static void interrupted_runs_go_on(void **state) {
    (void)state;
    if (!is_there("whole/model.gguf")) skip();
    interrupted("stopped", SIGINT);
    interrupted("terminated", SIGTERM);
}

// A longer run is another one (its rate falls later), but it begins where the first one ended.
static void more_steps(void **state) {
    (void)state;
    RUN_OK("train", "text.txt", "-o", "more", SMALL, "--steps", "10", "--quiet");
    RUN_OK("train", "--resume", "more", "--steps", "20", "--quiet");
    check_log("more/log.csv", 20);
    FAILS(2, "--steps 15 is less than the 20", "train", "--resume", "more", "--steps", "15");
    RUN_OK("train", "--resume", "more"); // nothing to do: the files are written again
    check_log("more/log.csv", 20);
}

static void checkpoints_that_do_not_fit(void **state) {
    (void)state;
    size_t n;
    write_text("changing.txt", 5, 80);
    RUN_OK("train", "changing.txt", "-o", "other", SMALL, "--steps", "4", "--quiet");
    FAILS(2, "--rate does not go with --resume", "train", "--resume", "other", "--rate", "1e-4");
    FAILS(2, "a text does not go with --resume", "train", "--resume", "other", "text.txt");
    FAILS(2, "--resume other", "train", "changing.txt", "-o", "other", SMALL);
    FAILS(3, "checkpoint.bin", "train", "--resume", "nowhere");
    write_text("changing.txt", 6, 80);
    const told t = run("train", "--resume", "other", "--steps", "6", NULL);
    assert_true(t.code == 2 || t.code == 3); // another text gives another vocabulary or data
    char *bytes = bytes_of("other/checkpoint.bin", &n);
    bytes[n / 2] ^= 1;
    write_file("other/checkpoint.bin", bytes, n);
    write_text("changing.txt", 5, 80);
    FAILS(4, "damaged", "train", "--resume", "other", "--steps", "6");
    write_file("other/checkpoint.bin", bytes, 40);
    FAILS(4, "checkpoint.bin", "train", "--resume", "other", "--steps", "6");
    free(bytes);
    // Begun anew: nothing of the old one is taken for the new one.
    RUN_OK("train", "changing.txt", "-o", "other", SMALL, "--steps", "3", "--force-new", "--quiet");
    check_log("other/log.csv", 3);
}

// No room for the next checkpoint: the one before is as it was.
static void full_disk(void **state) {
    (void)state;
    size_t n, m;
    RUN_OK("train", "text.txt", "-o", "full", SMALL, "--steps", "4", "--quiet");
    char *before = bytes_of("full/checkpoint.bin", &n);
    const char *const args[] = {program,   "train", "--resume", "full",
                                "--steps", "8",     "--quiet",  NULL};
    const told t = run_list(args, (rlim_t)n / 2);
    assert_int_equal(t.code, 3);
    assert_non_null(strstr(t.err, "is as it was"));
    char *after = bytes_of("full/checkpoint.bin", &m);
    assert_int_equal(n, m);
    assert_memory_equal(before, after, n);
    free(before);
    free(after);
    RUN_OK("train", "--resume", "full", "--steps", "8", "--quiet");
    check_log("full/log.csv", 8);
}

static void divergence(void **state) {
    (void)state;
    const told t = run("train", "text.txt", "-o", "wild", SMALL, "--steps", "3000", "--rate", "1",
                       "--warmup", "0", "--clip", "0", "--beta1", "0.999", "--beta2", "0",
                       "--quiet", "--patience", "0", "--validate-every", "1", NULL);
    assert_int_equal(t.code, 1);
    assert_non_null(strstr(t.err, "not finite at step "));
    assert_non_null(strstr(t.err, "wild/model.gguf"));
    assert_true(is_there("wild/checkpoint.bin"));
    const told words_of = run("complete", "-m", "wild/model.gguf", "-n", "3", "Once", NULL);
    assert_int_equal(words_of.code, 0);
}

// Before anything was validated, weights that were good are what is left, not those that were found
// out; and a run that goes on begins with them.
static void divergence_at_once(void **state) {
    (void)state;
    const told t = run("train", "text.txt", "-o", "early", SMALL, "--steps", "3000", "--rate", "1",
                       "--warmup", "0", "--clip", "0", "--beta1", "0.999", "--beta2", "0",
                       "--quiet", "--validate-every", "3000", "--type", "f32", NULL);
    assert_int_equal(t.code, 1);
    assert_non_null(strstr(t.err, "weights of at most 20 steps before it"));
    RUN_OK("perplexity", "-m", "early/model.gguf", "one.txt"); // which takes no NaN
}

// A text of one document again and again cannot be divided: all steps are done, and no number is
// made up.
static void nothing_to_validate_with(void **state) {
    (void)state;
    FILE *file = fopen(in_folder("same.txt"), "wb");
    size_t n;
    assert_non_null(file);
    for (int i = 0; i < 80; i++) fputs("The cat sat on the mat and ran.\n<|endoftext|>\n", file);
    assert_int_equal(fclose(file), 0);
    const told t = run("train", "same.txt", "-o", "same", SMALL, "--steps", "40",
                       "--validate-every", "1", "--rate", "1e-2", NULL);
    assert_int_equal(t.code, 0);
    assert_non_null(strstr(t.err, "validation    none"));
    assert_null(strstr(t.err, "nan"));
    check_log("same/log.csv", 40);
    char *log = bytes_of("same/log.csv", &n);
    assert_null(strstr(log, "nan"));
    free(log);
    // What was learnt is in the model.
    const told words =
        run("complete", "-m", "same/model.gguf", "-n", "8", "--greedy", "The cat", NULL);
    assert_non_null(strstr(words.out, "sat on the mat"));
}

// What stood there is lost when the new run begins, not when it is refused.
static void a_new_run_that_cannot_begin(void **state) {
    (void)state;
    RUN_OK("train", "text.txt", "-o", "kept", SMALL, "--steps", "2", "--quiet");
    FAILS(3, "missing.txt", "train", "missing.txt", "-o", "kept", SMALL, "--force-new");
    RUN_OK("train", "--resume", "kept", "--steps", "3", "--quiet");
}

// Two runs in one folder would take each other's checkpoints away.
static void two_runs_in_a_folder(void **state) {
    (void)state;
    const char *const args[] = {program,   "train",   "text.txt",           "-o", "shared",  SMALL,
                                "--steps", "1000000", "--checkpoint-steps", "1",  "--quiet", NULL};
    const int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    assert_true(nowhere >= 0);
    const pid_t first = start(args, nowhere, nowhere, 0);
    await_file("shared/checkpoint.bin", first);
    FAILS(3, "another run", "train", "one.txt", "-o", "shared", SMALL, "--force-new");
    FAILS(3, "another run", "train", "--resume", "shared");
    kill(first, SIGKILL);
    assert_int_equal(exit_code(first), -1);
    close(nowhere);
    const told t = run("train", "one.txt", "-o", "shared", SMALL, "--steps", "2", "--quiet",
                       "--force-new", NULL);
    assert_int_equal(t.code, 0);
}

// --- settings that somebody else wrote

enum { HEAD = 224, CONFIG_BYTES_AT = 24, CONFIG_SUM_AT = 32 };

static uint64_t number_at(const char *bytes, size_t at) {
    uint64_t n = 0;
    for (unsigned i = 0; i < 8; i++) n |= (uint64_t)(uint8_t)bytes[at + i] << 8 * i;
    return n;
}

static void put_sum(char *bytes, size_t at, const void *of, size_t n) {
    const uint64_t sum = inki_checksum_of(of, n);
    for (unsigned i = 0; i < 8; i++) bytes[at + i] = (char)(sum >> 8 * i);
}

// The checkpoint of "crafted" with `from` in its settings as `to`, of the same length, all
// checksums right.
static void craft(const char *good, size_t n, const char *from, const char *to) {
    char *bytes = malloc(n);
    assert_non_null(bytes);
    memcpy(bytes, good, n);
    const size_t n_config = (size_t)number_at(bytes, CONFIG_BYTES_AT);
    char *at = memmem(bytes + HEAD, n_config, from, strlen(from));
    if (at == NULL) print_error("no %s\n", from);
    assert_non_null(at);
    assert_int_equal(strlen(from), strlen(to));
    memcpy(at, to, strlen(to));
    put_sum(bytes, CONFIG_SUM_AT, bytes + HEAD, n_config);
    put_sum(bytes, HEAD - 8, bytes, HEAD - 8);
    put_sum(bytes, n - 8, bytes, n - 8);
    write_file("crafted/checkpoint.bin", bytes, n);
    free(bytes);
}

static void settings_of_others(void **state) {
    (void)state;
    static const char *const wrong[][2] = {
        {"\"context\": 32,", "\"context\": 0 ,"},
        {"\"heads\": 2,", "\"heads\": 0,"},
        {"\"embd\": 32,", "\"embd\": 0 ,"},
        {"\"layers\": 1,", "\"layers\": 0,"},
        {"\"batch\": 4,", "\"batch\": 0,"},
        {"\"pass-tokens\": 1", "\"pass-tokens\":-1"},
        {"\"seed\": 1,", "\"seed\":-1,"},
        {"\"type\": \"q8_0\"", "\"type\": \"q9_9\""},
        {"\"folder\": ", "\"felder\": "},
        {"\"hf\": false", "\"hf\": 31415"},
        {"\"vocabulary\": \"", "\"vocabulary\":\"x"},
        {"\"texts\": [", "\"tixts\": ["},
        {"\"heads\": 2,", "\"heads\": x,"},
    };
    size_t n;
    RUN_OK("train", "text.txt", "-o", "crafted", SMALL, "--steps", "2", "--quiet");
    char *good = bytes_of("crafted/checkpoint.bin", &n);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        craft(good, n, wrong[i][0], wrong[i][1]);
        FAILS(4, "crafted/checkpoint.bin", "train", "--resume", "crafted", "--quiet");
    }
    // A model that was fine-tuned may have fewer tokens than one can ask for.
    craft(good, n, "\"vocab\": 300,", "\"vocab\": 100,");
    RUN_OK("train", "--resume", "crafted", "--steps", "3", "--quiet");
    free(good);
}

static int group(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(killed_runs_go_on),
        cmocka_unit_test(interrupted_runs_go_on),
        cmocka_unit_test(more_steps),
        cmocka_unit_test(checkpoints_that_do_not_fit),
        cmocka_unit_test(full_disk),
        cmocka_unit_test(divergence),
        cmocka_unit_test(divergence_at_once),
        cmocka_unit_test(nothing_to_validate_with),
        cmocka_unit_test(a_new_run_that_cannot_begin),
        cmocka_unit_test(settings_of_others),
        cmocka_unit_test(two_runs_in_a_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void) { return in_folder_of_runs(group); }
