// SPDX-License-Identifier: MIT
// From checkpoint to words against PyTorch: each Hugging Face directory with a golden.json is
// converted (F32) and opened; ids, last logits, mean negative log-likelihood and greedy tokens must
// agree, at every level of this machine. The fixtures stand in the tree; further directories may be
// named in INKLING_GOLDEN, separated by ':'.
#include "convert/convert.h"
#include "each_level.h"
#include "opened.h"

#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

// How far logits may lie from PyTorch's float32 ones: rounding of the sums alone (F32), and of keys
// and values to 11 and to 8 bits, as measured with a float64 forward pass (docs/NUMERICS.md).
static const struct {
    const char *name;
    uint32_t kv_type;
    double limit;
    bool same_words;
} kinds[] = {{"f32", INK_KV_F32, 1e-4, true},
             {"f16", INK_KV_F16, 6e-3, true},
             {"q8_0", INK_KV_Q8_0, 1e-1, false}};

static const inki_kernels *level;

typedef struct golden_case {
    const char *prompt;
    ink_token ids[1024], greedy[64];
    size_t n_ids, n_greedy;
    const json_t *logits;
    double nll;
} golden_case;

static size_t read_ids(const json_t *array, ink_token *out, size_t cap) {
    const size_t n = json_array_size(array);
    assert_true(n <= cap);
    for (size_t i = 0; i < n; i++) out[i] = (ink_token)json_integer_value(json_array_get(array, i));
    return n;
}

static void read_case(golden_case *c, const json_t *json) {
    c->prompt = json_string_value(json_object_get(json, "prompt"));
    assert_non_null(c->prompt);
    c->n_ids = read_ids(json_object_get(json, "ids"), c->ids, 1024);
    c->n_greedy = read_ids(json_object_get(json, "greedy_40"), c->greedy, 64);
    c->logits = json_object_get(json, "last_logits");
    c->nll = json_real_value(json_object_get(json, "nll"));
    assert_true(c->n_ids > 1);
}

static void check_ids(const ink_model *model, const golden_case *c) {
    ink_token ids[1024];
    size_t n = 0;
    assert_int_equal(ink_tokenize(model, c->prompt, strlen(c->prompt), 0, ids, 1024, &n, NULL),
                     INK_OK);
    assert_int_equal(n, c->n_ids);
    assert_memory_equal(ids, c->ids, n * sizeof *ids);
}

// Of each token given those before it.
static double mean_nll(const ink_session *s, const golden_case *c) {
    double sum = 0;
    for (size_t i = 0; i + 1 < c->n_ids; i++) {
        size_t n_vocab = 0;
        const float *logits = ink_session_logits(s, i, &n_vocab);
        double max = logits[0], total = 0;
        for (size_t k = 1; k < n_vocab; k++) max = fmax(max, logits[k]);
        for (size_t k = 0; k < n_vocab; k++) total += exp(logits[k] - max);
        sum += max + log(total) - logits[c->ids[i + 1]];
    }
    return sum / (double)(c->n_ids - 1);
}

static double check_logits(const ink_session *s, const golden_case *c, double limit) {
    size_t n_vocab = 0;
    const float *logits = ink_session_logits(s, c->n_ids - 1, &n_vocab);
    assert_non_null(logits);
    assert_int_equal(json_array_size(c->logits), n_vocab);
    double worst = 0;
    for (size_t k = 0; k < n_vocab; k++)
        worst = fmax(worst, fabs(logits[k] - json_number_value(json_array_get(c->logits, k))));
    if (!(worst <= limit)) fail_msg("logits differ by %g, allowed %g", worst, limit);
    return worst;
}

static void check_greedy(ink_session *s, const golden_case *c) {
    for (size_t i = 0; i < c->n_greedy; i++) {
        size_t n_vocab = 0, top = 0;
        const size_t last = i == 0 ? c->n_ids - 1 : 0;
        const float *logits = ink_session_logits(s, last, &n_vocab);
        for (size_t k = 1; k < n_vocab; k++)
            if (logits[k] > logits[top]) top = k;
        assert_int_equal(top, c->greedy[i]);
        if (i + 1 < c->n_greedy) opened_eval(s, &c->greedy[i], 1, 0);
    }
}

static void check_case(const opened *o, const golden_case *c, size_t kind, double *worst) {
    ink_model_info info = {0};
    ink_model_get_info(o->model, &info);
    ink_session *s = opened_session(o, 0, kinds[kind].kv_type, info.n_ctx);
    const ink_span all = {s, c->ids, c->n_ids, INK_SPAN_ALL_LOGITS, NULL};
    assert_int_equal(ink_eval(&all, 1, NULL), INK_OK);
    const double now = check_logits(s, c, kinds[kind].limit);
    if (now > *worst) *worst = now;
    assert_true(fabs(mean_nll(s, c) - c->nll) < kinds[kind].limit);
    if (kinds[kind].same_words) check_greedy(s, c);
    ink_session_free(s);
}

static void open_converted(opened *o, const char *dir) {
    char out[] = "/tmp/inkling-golden-XXXXXX", path[64];
    ink_error error = {0};
    assert_non_null(mkdtemp(out));
    snprintf(path, sizeof path, "%s/m.gguf", out);
    const inki_convert_options options = {.dir = dir, .out = path, .type = INKI_F32};
    if (inki_convert_hf(&options, &error) != INK_OK) fail_msg("%s", error.message);
    const ink_source source = {.size = sizeof source, .kind = INK_SOURCE_PATH, .name = path};
    ink_runtime_options runtime;
    ink_runtime_options_init(&runtime, sizeof runtime);
    runtime.cpu_mask = each_level_mask(level);
    assert_int_equal(ink_runtime_new(&o->runtime, &runtime, NULL), INK_OK);
    assert_string_equal(ink_runtime_cpu_level(o->runtime), level->name);
    if (ink_model_open(&o->model, o->runtime, &source, NULL, &error) != INK_OK)
        fail_msg("%s", error.message);
    unlink(path);
    rmdir(out);
}

static void check_directory(const char *dir) {
    char path[1024];
    snprintf(path, sizeof path, "%s/golden.json", dir);
    json_t *golden = json_load_file(path, 0, NULL);
    if (golden == NULL) fail_msg("%s cannot be read", path);
    opened o = {0};
    open_converted(&o, dir);
    const json_t *cases = json_object_get(golden, "cases");
    assert_true(json_array_size(cases) > 0);
    double worst[3] = {0};
    for (size_t i = 0; i < json_array_size(cases); i++) {
        static golden_case c;
        read_case(&c, json_array_get(cases, i));
        check_ids(o.model, &c);
        for (size_t kind = 0; kind < 3; kind++) check_case(&o, &c, kind, &worst[kind]);
    }
    print_message("%s: %zu prompts; largest difference %.1e (kv f32), %.1e (f16), %.1e (q8_0)\n",
                  dir, json_array_size(cases), worst[0], worst[1], worst[2]);
    opened_close(&o);
    json_decref(golden);
}

static void test_fixtures(void **state) {
    (void)state;
    static const char *const names[] = {"hf-plain", "hf-sharded", "hf-f16", "hf-bf16", "hf-untied"};
    const char *root = getenv("INKLING_SOURCE_DIR");
    char dir[1024];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(dir, sizeof dir, "%s/tests/fixtures/%s", root != NULL ? root : ".", names[i]);
        check_directory(dir);
    }
}

static void test_named_in_the_environment(void **state) {
    (void)state;
    const char *list = getenv("INKLING_GOLDEN");
    if (list == NULL || list[0] == 0) {
        print_message("left out: INKLING_GOLDEN names no further directories\n");
        return;
    }
    char *copy = strdup(list), *rest = copy;
    assert_non_null(copy);
    for (char *dir; (dir = strsep(&rest, ":")) != NULL;)
        if (dir[0] != 0) check_directory(dir);
    free(copy);
}

static int at_level(const inki_kernels *kernels) {
    level = kernels;
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_fixtures),
                                       cmocka_unit_test(test_named_in_the_environment)};
    return cmocka_run_group_tests_name(level->name, tests, NULL, NULL);
}

int main(void) { return each_level_or_best(at_level); }
