// SPDX-License-Identifier: MIT
// --lora of the program: names with colons, scales, several at once. `inkling perplexity` tells
// which adapters it had, since each set of them gives another number.
#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tiny_adapter.h"

static char folder[] = "/tmp/inkling-lora-XXXXXX";
static const char *program;

static void put(const char *name, const void *bytes, size_t n) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static void put_adapter(const char *name, uint64_t seed) {
    const tiny_model tiny = tiny_model_defaults();
    tiny_adapter a = tiny_adapter_defaults();
    size_t n = 0;
    a.seed = seed;
    uint8_t *bytes = tiny_adapter_bytes(&tiny, &a, &n);
    assert_non_null(bytes);
    put(name, bytes, n);
    free(bytes);
}

static int begin(void **state) {
    (void)state;
    const tiny_model tiny = tiny_model_defaults();
    char path[256];
    if (mkdtemp(folder) == NULL) return -1;
    snprintf(path, sizeof path, "%s/model.gguf", folder);
    if (tiny_model_write(path, &tiny, NULL) != INK_OK) return -1;
    put_adapter("a.gguf", 1);
    put_adapter("b:2", 2);
    put_adapter("b", 3);
    put("text", "some words to be scored", 23);
    return 0;
}

static int end(void **state) {
    (void)state;
    static const char *const names[] = {"model.gguf", "a.gguf", "b:2", "b", "text"};
    char path[256];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        unlink(path);
    }
    return rmdir(folder);
}

// The exit code; *nll: what it told, NAN where it failed.
static int score(const char *options, double *nll) {
    char command[1024];
    snprintf(command, sizeof command, "cd '%s' && '%s' perplexity --json -m model.gguf %s text",
             folder, program, options);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    json_t *answer = json_loadf(pipe, 0, NULL);
    const int status = pclose(pipe);
    *nll = answer != NULL ? json_number_value(json_object_get(answer, "nll_per_token")) : NAN;
    json_decref(answer);
    return WEXITSTATUS(status);
}

// Each of them once: a program with sanitizers takes its time to start.
static double nll_of(const char *options) {
    static struct {
        const char *options;
        double nll;
    } known[32];
    static size_t n;
    for (size_t i = 0; i < n; i++)
        if (strcmp(known[i].options, options) == 0) return known[i].nll;
    double nll = NAN;
    if (score(options, &nll) != 0 || !isfinite(nll) || n == 32) fail_msg("%s", options);
    known[n].options = options;
    known[n++].nll = nll;
    return nll;
}

static bool alike(const char *a, const char *b) { return nll_of(a) == nll_of(b); }

static void a_scale_is_what_no_file_has_in_its_name(void **state) {
    (void)state;
    assert_true(alike("", "--lora a.gguf:0"));
    assert_false(alike("", "--lora a.gguf"));
    assert_true(alike("--lora a.gguf", "--lora a.gguf:1"));
    assert_true(alike("--lora a.gguf:+1.0e0", "--lora=./a.gguf"));
    assert_false(alike("--lora a.gguf", "--lora a.gguf:-0.5"));
    assert_true(alike("--lora b:2", "--lora b:2:1")); // the file "b:2", not "b" twice
    assert_false(alike("--lora b:2", "--lora b:2.0"));
    assert_false(alike("--lora b:2", "--lora b"));
}

static void several_at_once(void **state) {
    (void)state;
    assert_false(alike("--lora a.gguf --lora b", "--lora a.gguf"));
    assert_false(alike("--lora a.gguf --lora b", "--lora b"));
    assert_true(alike("--lora a.gguf --lora b:0", "--lora a.gguf"));
}

static void what_is_refused(void **state) {
    (void)state;
    double nll;
    assert_int_equal(score("--lora none.gguf", &nll), 3);
    assert_int_equal(score("--lora a.gguf:x", &nll), 3);
    assert_int_equal(score("--lora a.gguf:", &nll), 3);
    assert_int_equal(score("--lora a.gguf:1e99", &nll), 2);
    assert_int_equal(score("--lora a.gguf:1-1", &nll), 2);
    assert_int_equal(score("--lora model.gguf", &nll), 4);
    char many[17 * 16 + 1] = "";
    for (int i = 0; i < 17; i++) strcat(many, "--lora a.gguf:1 ");
    assert_int_equal(score(many, &nll), 2);
    many[16 * 16] = 0;
    assert_int_equal(score(many, &nll), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_scale_is_what_no_file_has_in_its_name),
        cmocka_unit_test(several_at_once),
        cmocka_unit_test(what_is_refused),
    };
    program = getenv("INKLING_PROGRAM");
    if (program == NULL || access(program, X_OK) != 0) {
        puts("left out: there is no program to test (INKLING_PROGRAM)");
        return 77;
    }
    return cmocka_run_group_tests(tests, begin, end);
}
