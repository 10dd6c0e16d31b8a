// SPDX-License-Identifier: MIT
// `inkling perplexity` against a slow oracle over the library: every token in an evaluation of its
// own, with the context that the rule of windows gives it.
#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "inkling/inkling.h"
#include "opened.h"

static const char story[] =
    "Once upon a time, there was a little cat. The cat had a red ball. \"Look at my ball!\" said "
    "the "
    "cat.\nOne day a big dog came and took it. The cat was sad. na\xc3\xafve \xff 123 "
    "\xf0\x9f\x99\x82"
    "The dog saw that and gave the ball back. They played until the sun went down.\n";

static const char *program;
static ink_model *model;

// Windows begin at multiples of half the context; a token belongs to the first window that reaches
// it, and has the window's tokens before it as context. ids[0] belongs to none.
static double oracle(const ink_token *ids, size_t n, size_t n_ctx) {
    ink_session_options options;
    ink_session *session = NULL;
    ink_session_options_init(&options, sizeof options);
    options.n_ctx = (uint32_t)n_ctx;
    options.kv_type = INK_KV_F32;
    assert_int_equal(ink_session_new(&session, model, &options, NULL), INK_OK);
    double total = 0;
    for (size_t i = 1; i < n; i++) {
        size_t window = 0;
        while (window * (n_ctx / 2) + n_ctx <= i) window++;
        const size_t begin = window * (n_ctx / 2);
        total -= opened_logprob(session, ids + begin, i - begin, ids[i]);
    }
    ink_session_free(session);
    return total / (double)(n - 1);
}

static json_t *told(const char *file, size_t n_ctx) {
    char command[1024];
    snprintf(command, sizeof command, "'%s' perplexity --json --kv-type f32 --context %zu '%s'",
             program, n_ctx, file);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    json_t *answer = json_loadf(pipe, 0, NULL);
    assert_int_equal(pclose(pipe), 0);
    assert_non_null(answer);
    return answer;
}

static double number(const json_t *answer, const char *key) {
    const json_t *value = json_object_get(answer, key);
    assert_true(json_is_number(value));
    return json_number_value(value);
}

static void as_the_oracle(void **state) {
    (void)state;
    static const size_t contexts[] = {2, 3, 17, 24, 64, 129, 256};
    char path[] = "/tmp/inkling-XXXXXX";
    const int fd = mkstemp(path);
    const size_t bytes = sizeof story - 1;
    assert_true(fd >= 0 && write(fd, story, bytes) == (ssize_t)bytes);
    close(fd);
    ink_token ids[sizeof story + 1];
    ink_model_info info = {.size = sizeof info};
    size_t n = 0;
    assert_int_equal(ink_model_get_info(model, &info), INK_OK);
    ids[0] = info.end_token;
    assert_int_equal(ink_tokenize(model, story, bytes, 0, ids + 1, bytes, &n, NULL), INK_OK);
    // The oracle's work grows with the context.
    const size_t n_contexts =
        getenv("INKLING_TEST_LONG") != NULL ? sizeof contexts / sizeof *contexts : 4;
    if (n_contexts == 4) print_message("left out: windows of 64 and more (INKLING_TEST_LONG)\n");
    for (size_t i = 0; i < n_contexts; i++) {
        json_t *answer = told(path, contexts[i]);
        const double want = oracle(ids, n + 1, contexts[i]), nll = number(answer, "nll_per_token");
        assert_true(fabs(nll - want) < 1e-6);
        assert_true(fabs(number(answer, "perplexity") / exp(want) - 1) < 1e-5);
        assert_true(fabs(number(answer, "bits_per_byte") -
                         want * (double)n / log(2) / (double)bytes) < 1e-5);
        assert_int_equal((size_t)number(answer, "tokens"), n);
        assert_int_equal((size_t)number(answer, "bytes"), bytes);
        assert_int_equal((size_t)number(answer, "invalid_bytes"), 1);
        json_decref(answer);
    }
    unlink(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(as_the_oracle)};
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
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    ink_model_unref(model);
    return failed;
}
