// SPDX-License-Identifier: MIT
// inkling merge: what it writes is what the model says with the adapter beside it, in any type;
// scales, several adapters, wrong ones.
#include <dirent.h>
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

#include "progress_lines.h"
#include "tiny_adapter.h"

static char folder[] = "/tmp/inkling-merge-XXXXXX";
static const char *program;

static void put(const char *name, const void *bytes, size_t n) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static void put_adapter(const char *name, const tiny_model *model, uint64_t seed) {
    tiny_adapter a = tiny_adapter_defaults();
    size_t n = 0;
    a.seed = seed;
    uint8_t *bytes = tiny_adapter_bytes(model, &a, &n);
    assert_non_null(bytes);
    put(name, bytes, n);
    free(bytes);
}

static int begin(void **state) {
    (void)state;
    const tiny_model tiny = tiny_model_defaults();
    tiny_model wide = tiny;
    char path[256];
    wide.n_embd = 64;
    if (mkdtemp(folder) == NULL) return -1;
    snprintf(path, sizeof path, "%s/model.gguf", folder);
    if (tiny_model_write(path, &tiny, NULL) != INK_OK) return -1;
    put_adapter("a.gguf", &tiny, 1);
    put_adapter("b:2", &tiny, 2);
    put_adapter("wide.gguf", &wide, 3);
    put("text", "some words to be scored", 23);
    return 0;
}

static int end(void **state) {
    (void)state;
    DIR *dir = opendir(folder);
    for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;) {
        char path[512];
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        unlink(path);
    }
    closedir(dir);
    return rmdir(folder);
}

static size_t n_files(void) {
    size_t n = 0;
    DIR *dir = opendir(folder);
    while (readdir(dir) != NULL) n++;
    closedir(dir);
    return n;
}

// The exit code of "inkling …" in the folder; said [cap]: standard error.
static int run(const char *arguments, char *said, size_t cap) {
    char command[1024];
    snprintf(command, sizeof command, "cd '%s' && '%s' %s 2>&1 >/dev/null", folder, program,
             arguments);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    said[fread(said, 1, cap - 1, pipe)] = 0;
    drop_progress_lines(said);
    return WEXITSTATUS(pclose(pipe));
}

static void merge(const char *arguments) {
    char command[512], said[4096];
    snprintf(command, sizeof command, "merge model.gguf %s", arguments);
    if (run(command, said, sizeof said) != 0) fail_msg("%s: %s", command, said);
}

static double nll(const char *options) {
    char command[1024];
    snprintf(command, sizeof command, "cd '%s' && '%s' perplexity --json %s text", folder, program,
             options);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    json_t *answer = json_loadf(pipe, 0, NULL);
    const int status = pclose(pipe);
    const double told = json_number_value(json_object_get(answer, "nll_per_token"));
    json_decref(answer);
    if (status != 0 || !(told > 0)) fail_msg("%s", options);
    return told;
}

static void merged_is_applied(void **state) {
    (void)state;
    static const struct {
        const char *merged, *applied;
    } pairs[] = {{"a.gguf", "--lora a.gguf"},
                 {"a.gguf:-0.5", "--lora a.gguf:-0.5"},
                 {"b:2", "--lora b:2"},
                 {"a.gguf:0.25 b:2:2", "--lora a.gguf:0.25 --lora b:2:2"}};
    const double plain = nll("-m model.gguf");
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        char arguments[256];
        snprintf(arguments, sizeof arguments, "%s -o out.gguf", pairs[i].merged);
        merge(arguments);
        snprintf(arguments, sizeof arguments, "-m model.gguf %s", pairs[i].applied);
        const double merged = nll("-m out.gguf"), applied = nll(arguments);
        if (!(fabs(merged - applied) < 1e-5) || !(fabs(merged - plain) > 1e-4))
            fail_msg("%s: %g merged, %g applied, %g without", pairs[i].merged, merged, applied,
                     plain);
    }
}

static void every_type(void **state) {
    (void)state;
    static const char *const types[] = {"f32",  "f16",  "bf16",  "q8_0", "q4_0",
                                        "q4_k", "q6_k", "mixed", NULL};
    const double applied = nll("-m model.gguf --lora a.gguf");
    const size_t before = n_files();
    for (size_t i = 0; types[i] != NULL; i++) {
        char arguments[256];
        snprintf(arguments, sizeof arguments, "a.gguf -o of_type.gguf --type %s", types[i]);
        merge(arguments);
        assert_int_equal(n_files(), before + 1); // what stood between is gone
        assert_true(fabs(nll("-m of_type.gguf") - applied) < 0.2);
    }
}

static void what_is_refused(void **state) {
    (void)state;
    static const struct {
        int code;
        const char *arguments, *words;
    } cases[] = {
        {2, "merge model.gguf a.gguf", "-o OUT.gguf is missing"},
        {2, "merge model.gguf -o no.gguf", "MODEL.gguf or ADAPTER.gguf is missing"},
        {2, "merge model.gguf a.gguf -o model.gguf", "one of the files to read"},
        {2, "merge model.gguf a.gguf -o ./a.gguf", "one of the files to read"},
        {2, "merge model.gguf a.gguf:1e99 -o no.gguf", "1e99"},
        {2, "merge model.gguf a.gguf -o no.gguf --type q3_k", "q3_k"},
        {3, "merge model.gguf none.gguf -o no.gguf", "none.gguf"},
        {3, "merge none.gguf a.gguf -o no.gguf", "none.gguf"},
        {3, "merge model.gguf a.gguf:x -o no.gguf", "a.gguf:x"},
        {3, "merge model.gguf a.gguf -o no/no.gguf", "no/no.gguf"},
        {3, "merge model.gguf a.gguf -o no/no.gguf --type q8_0", "no/no.gguf"},
        {4, "merge model.gguf model.gguf -o no.gguf", "general.type"},
        {4, "merge a.gguf a.gguf -o no.gguf", "a.gguf"},
        {4, "merge text a.gguf -o no.gguf", "text"},
        {4, "merge model.gguf wide.gguf -o no.gguf --type q4_k", "adapter is of another"},
    };
    const size_t before = n_files();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char said[4096];
        const int code = run(cases[i].arguments, said, sizeof said);
        if (code != cases[i].code || strstr(said, cases[i].words) == NULL ||
            strncmp(said, "inkling: ", 9) != 0 || strchr(said, '\n') != said + strlen(said) - 1)
            fail_msg("%s: %d \"%s\"", cases[i].arguments, code, said);
        assert_int_equal(n_files(), before);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(merged_is_applied),
        cmocka_unit_test(every_type),
        cmocka_unit_test(what_is_refused),
    };
    program = getenv("INKLING_PROGRAM");
    if (program == NULL || access(program, X_OK) != 0) {
        puts("left out: there is no program to test (INKLING_PROGRAM)");
        return 77;
    }
    return cmocka_run_group_tests(tests, begin, end);
}
