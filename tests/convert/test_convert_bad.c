// SPDX-License-Identifier: MIT
// What is wrong with a directory is refused with a status and one line that names file and field,
// and nothing is left behind.
#include "hf_dir.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

static const char weights[] = "model.safetensors";

// Converts, expects this failure with both words in its message, and drops the directory.
static void refused_as(hf_dir *d, inki_tensor_type type, ink_status status, const char *first,
                       const char *second) {
    ink_error error = {0};
    const ink_status got = hf_dir_convert(d, type, &error);
    if (got != status) fail_msg("%s: got %s (%s)", first, ink_status_name(got), error.message);
    assert_int_equal(error.status, status);
    if (strstr(error.message, first) == NULL || strstr(error.message, second) == NULL)
        fail_msg("\"%s\" lacks \"%s\" or \"%s\"", error.message, first, second);
    assert_true(hf_dir_out_is_empty(d));
    hf_dir_drop(d);
}

static void refused(hf_dir d, ink_status status, const char *first, const char *second) {
    refused_as(&d, INKI_F32, status, first, second);
}

static const struct {
    const char *before, *after;
    ink_status status;
    const char *field, *expected;
} configs[] = {
    {"\"n_embd\": 32", "\"n_embed\": 32", INK_E_FORMAT, "n_embd", "missing"},
    {"\"n_layer\"", "\"layers\"", INK_E_FORMAT, "n_layer", "missing"},
    {"\"n_head\"", "\"heads\"", INK_E_FORMAT, "n_head", "missing"},
    {"\"vocab_size\"", "\"vocab\"", INK_E_FORMAT, "vocab_size", "missing"},
    {"\"n_positions\": 160,\n  \"n_ctx\"", "\"positions\": 160, \"ctx\"", INK_E_FORMAT,
     "n_positions", "missing"},
    {"\"n_embd\": 32", "\"n_embd\": \"32\"", INK_E_FORMAT, "n_embd", "a string"},
    {"\"n_embd\": 32", "\"n_embd\": 32.5", INK_E_FORMAT, "n_embd", "integer"},
    {"\"n_embd\": 32", "\"n_embd\": 0", INK_E_FORMAT, "n_embd", "from 1"},
    {"\"n_embd\": 32", "\"n_embd\": -32", INK_E_FORMAT, "n_embd", "from 1"},
    {"\"n_embd\": 32", "\"n_embd\": 4294967328", INK_E_LIMIT, "n_embd", "65536"},
    {"\"n_embd\": 32", "\"n_embd\": 99999999999999999999", INK_E_FORMAT, "config.json", "JSON"},
    {"\"n_embd\": 32", "\"n_embd\": 32, \"n_embd\": 32", INK_E_FORMAT, "config.json", "duplicate"},
    {"\"n_layer\": 3", "\"n_layer\": 4", INK_E_FORMAT, "h.3.ln_1.weight", "missing"},
    {"\"n_layer\": 3", "\"n_layer\": 2", INK_E_UNSUPPORTED, "h.2.", "n_layer"},
    {"\"n_layer\": 3", "\"n_layer\": 100000", INK_E_LIMIT, "n_layer", "4096"},
    {"\"n_head\": 4", "\"n_head\": 5", INK_E_FORMAT, "n_head", "multiple"},
    {"\"n_inner\": null", "\"n_inner\": 96", INK_E_FORMAT, "mlp.c_fc.weight", "[32, 96]"},
    {"\"n_positions\": 160", "\"n_positions\": 161", INK_E_FORMAT, "wpe.weight", "[161, 32]"},
    {"\"gelu_new\"", "\"gelu\"", INK_E_UNSUPPORTED, "activation_function", "erf"},
    {"\"gelu_new\"", "\"relu\"", INK_E_UNSUPPORTED, "activation_function", "gelu_new"},
    {"\"gelu_new\"", "7", INK_E_FORMAT, "activation_function", "a string was expected"},
    {"\"model_type\": \"gpt2\"", "\"model_type\": \"llama\"", INK_E_UNSUPPORTED, "model_type",
     "llama"},
    {"\"bos_token_id\": 319", "\"bos_token_id\": 320", INK_E_LIMIT, "bos_token_id", "319"},
    {"\"eos_token_id\": 319", "\"eos_token_id\": \"x\"", INK_E_FORMAT, "eos_token_id", "integer"},
    {"1e-05", "0", INK_E_FORMAT, "layer_norm_epsilon", "above 0"},
    {"1e-05", "1e-60", INK_E_FORMAT, "layer_norm_epsilon", "above 0"},
    {"1e-05", "true", INK_E_FORMAT, "layer_norm_epsilon", "number"},
    {"{", "{\"scale_attn_weights\": false,", INK_E_UNSUPPORTED, "scale_attn_weights",
     "true was expected"},
    {"{", "{\"scale_attn_by_inverse_layer_idx\": true,", INK_E_UNSUPPORTED,
     "scale_attn_by_inverse_layer_idx", "false"},
    {"{", "{\"add_cross_attention\": true,", INK_E_UNSUPPORTED, "add_cross_attention", "false"},
    {"\"tie_word_embeddings\": true", "\"tie_word_embeddings\": false", INK_E_FORMAT,
     "lm_head.weight", "missing"},
    {"\"tie_word_embeddings\": true", "\"tie_word_embeddings\": 1", INK_E_FORMAT,
     "tie_word_embeddings", "true or false"},
    {"{", "[{", INK_E_FORMAT, "config.json", "JSON"},
};

static void test_config(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof configs / sizeof *configs; i++) {
        hf_dir d = hf_dir_copy_of("hf-plain");
        hf_dir_replace(&d, "config.json", configs[i].before, configs[i].after);
        refused(d, configs[i].status, configs[i].field, configs[i].expected);
    }
    hf_dir d = hf_dir_copy_of("hf-plain");
    hf_dir_text(&d, "config.json", "[1]");
    refused(d, INK_E_FORMAT, "config.json", "an object was expected");
    d = hf_dir_copy_of("hf-plain");
    hf_dir_text(&d, "config.json", "");
    refused(d, INK_E_FORMAT, "config.json", "line 1");
    d = hf_dir_copy_of("hf-plain");
    hf_dir_remove(&d, "config.json");
    refused(d, INK_E_NOT_FOUND, "config.json", "opened");
}

static void test_deep_json(void **state) {
    (void)state;
    enum { DEPTH = 200000 };
    char *deep = malloc(DEPTH + 1);
    assert_non_null(deep);
    memset(deep, '[', DEPTH);
    deep[DEPTH] = 0;
    hf_dir d = hf_dir_copy_of("hf-plain");
    hf_dir_text(&d, "config.json", deep);
    refused(d, INK_E_FORMAT, "config.json", "depth");
    free(deep);
}

static void test_weights_header(void **state) {
    (void)state;
    const struct {
        const char *before, *after;
        ink_status status;
        const char *first, *second;
    } cases[] = {
        {"\"dtype\":\"F32\"", "\"dtype\":\"F33\"", INK_E_UNSUPPORTED, "wte.weight", "F33"},
        {"\"dtype\":\"F32\"", "\"dtype\":32", INK_E_FORMAT, "wte.weight", "dtype"},
        {"\"dtype\":\"F32\"", "\"dtype\":\"I32\"", INK_E_UNSUPPORTED, "wte.weight",
         "F32, F16 or BF16"},
        {"[320,32]", "[32,320]", INK_E_FORMAT, "wte.weight", "[320, 32]"},
        {"[320,32]", "[10240]", INK_E_FORMAT, "wte.weight", "[320, 32]"},
        {"[320,32]", "[320,32,1]", INK_E_FORMAT, "wte.weight", "[320, 32]"},
        {"[320,32]", "[320,31]", INK_E_FORMAT, "wte.weight", "span"},
        {"[320,32]", "[320,-32]", INK_E_FORMAT, "wte.weight", "shape"},
        {"[320,32]", "[320,32.0]", INK_E_FORMAT, "wte.weight", "shape"},
        {"[320,32]", "[9223372036854775807,9223372036854775807]", INK_E_FORMAT, "wte.weight",
         "larger"},
        {"[320,32]", "[1,1,1,1,1,1,1,320,32]", INK_E_FORMAT, "wte.weight", "at most 8"},
        {"[320,32]", "7", INK_E_FORMAT, "wte.weight", "shape"},
        {"\"data_offsets\":[0,40960]", "\"data_offsets\":[0]", INK_E_FORMAT, "wte.weight",
         "data_offsets"},
        {"\"data_offsets\":[0,40960]", "\"data_offsets\":[40960,0]", INK_E_FORMAT, "wte.weight",
         "outside"},
        {"\"data_offsets\":[0,40960]", "\"data_offsets\":[-4,40956]", INK_E_FORMAT, "wte.weight",
         "data_offsets"},
        {"\"data_offsets\":[0,40960]", "\"data_offsets\":[4,40964]", INK_E_FORMAT, "wte.weight",
         "hole"},
        {"\"data_offsets\":[40960,61440]", "\"data_offsets\":[40956,61436]", INK_E_FORMAT,
         "wpe.weight", "overlaps"},
        {"\"wpe.weight\"", "\"wte.weight\"", INK_E_FORMAT, "model.safetensors", "duplicate"},
        {"\"wpe.weight\"", "\"transformer.wte.weight\"", INK_E_FORMAT, "wte.weight", "twice"},
        {"\"wpe.weight\"", "\"wpe.bias\"", INK_E_FORMAT, "wpe.weight", "missing"},
        {"\"h.1.mlp.c_fc.bias\"", "\"h.1.mlp.c_xy.bias\"", INK_E_FORMAT, "h.1.mlp.c_fc.bias",
         "missing"},
        {"{\"format\":\"pt\"},",
         "{\"format\":\"pt\"},\"x\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]},",
         INK_E_UNSUPPORTED, "tensor x", "none of a GPT-2"},
        {"{\"format\":\"pt\"},", "{\"format\":\"pt\"},\"x\":1,", INK_E_FORMAT, "tensor x",
         "object"},
        {"{\"__metadata__\"", "[\"__metadata__\"", INK_E_FORMAT, "model.safetensors", "JSON"},
        {"{\"__metadata__\"", "1{\"__metadata__\"", INK_E_FORMAT, "model.safetensors", "JSON"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        hf_dir d = hf_dir_copy_of("hf-plain");
        hf_dir_replace_header(&d, weights, cases[i].before, cases[i].after);
        refused(d, cases[i].status, cases[i].first, cases[i].second);
    }
}

// Bytes that are missing anywhere, and bytes that are too many.
static void test_weights_cut(void **state) {
    (void)state;
    hf_dir d = hf_dir_copy_of("hf-plain");
    size_t n;
    char *file = hf_dir_read(&d, weights, &n);
    for (size_t at = 0; at < n; at += at < 4096 ? 97 : n / 40) {
        ink_error error = {0};
        hf_dir_write(&d, weights, file, at);
        if (hf_dir_convert(&d, INKI_F32, &error) != INK_E_FORMAT)
            fail_msg("cut at %zu: %s", at, error.message);
        assert_non_null(strstr(error.message, weights));
        assert_true(hf_dir_out_is_empty(&d));
    }
    for (size_t less = 1; less < 9; less++) {
        ink_error error = {0};
        hf_dir_write(&d, weights, file, n - less);
        assert_int_equal(hf_dir_convert(&d, INKI_F32, &error), INK_E_FORMAT);
        assert_non_null(strstr(error.message, "outside the file"));
    }
    hf_dir_write(&d, weights, file, n + 1); // the 0 behind the text
    assert_int_equal(hf_dir_convert(&d, INKI_F32, NULL), INK_E_FORMAT);
    const uint64_t lengths[] = {0, 1,         2,         7,          n - 8,          n - 7,
                                n, 100000000, 100000001, UINT64_MAX, UINT64_MAX - 7, 1ull << 63};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        for (int k = 0; k < 8; k++) file[k] = (char)(lengths[i] >> (8 * k) & 0xff);
        hf_dir_write(&d, weights, file, n);
        const ink_status status = hf_dir_convert(&d, INKI_F32, NULL);
        assert_true(status == INK_E_FORMAT || status == INK_E_LIMIT);
    }
    assert_true(hf_dir_out_is_empty(&d));
    free(file);
    hf_dir_drop(&d);
}

static void test_not_finite(void **state) {
    (void)state;
    const float nan = NAN, infinity = -INFINITY;
    const uint16_t half_nan = 0x7e01, bf16_infinity = 0x7f80;
    hf_dir d = hf_dir_copy_of("hf-plain");
    hf_dir_poke(&d, weights, "h.1.mlp.c_proj.weight", 1234, &nan, 4);
    refused_as(&d, INKI_Q8_0, INK_E_NUMERIC, "h.1.mlp.c_proj.weight", "element 1234 is NaN");
    d = hf_dir_copy_of("hf-plain");
    hf_dir_poke(&d, weights, "ln_f.bias", 31, &infinity, 4);
    refused(d, INK_E_NUMERIC, "ln_f.bias", "element 31 is infinite");
    d = hf_dir_copy_of("hf-f16");
    hf_dir_poke(&d, weights, "wpe.weight", 0, &half_nan, 2);
    refused(d, INK_E_NUMERIC, "wpe.weight", "element 0 is NaN");
    d = hf_dir_copy_of("hf-bf16");
    hf_dir_poke(&d, weights, "wte.weight", 10239, &bf16_infinity, 2);
    refused(d, INK_E_NUMERIC, "wte.weight", "element 10239 is infinite");
}

static void test_shards(void **state) {
    (void)state;
    static const char index[] = "model.safetensors.index.json",
                      first[] = "model-00001-of-00002.safetensors";
    const struct {
        const char *before, *after, *first, *second;
    } cases[] = {
        {first, "../in/model-00001-of-00002.safetensors", "\"../in/", "plain"},
        {first, "/etc/model.safetensors", "\"/etc/", "plain"},
        {first, "a\\\\b.safetensors", "weight_map", "plain"},
        {first, ".hidden.safetensors", "weight_map", "plain"},
        {first, "", "weight_map", "plain"},
        {first, "model.bin", "\"model.bin\"", "plain"},
        {"\"weight_map\"", "\"weights\"", "weight_map", "nothing"},
        {"\"weight_map\": {", "\"weight_map\": [], \"x\": {", "weight_map", "an array"},
        {"\"weight_map\": {", "\"weight_map\": {}, \"x\": {", "weight_map", "is empty"},
        {"\"weight_map\": {", "\"weight_map\": {\"a\": 1,", "weight_map", "file name"},
        {"\"weight_map\": {", "\"weight_map\": {\"a\": \"model-00001-of-00002.safetensors\",",
         "tensor a", "missing"},
        {"\"lm_head.weight\": \"model-00001-of-00002", "\"lm_head.weight\": \"model-00002-of-00002",
         "lm_head.weight", "missing"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        hf_dir d = hf_dir_copy_of("hf-sharded");
        hf_dir_replace(&d, index, cases[i].before, cases[i].after);
        refused(d, INK_E_FORMAT, cases[i].first, cases[i].second);
    }
    hf_dir d = hf_dir_copy_of("hf-sharded");
    hf_dir_remove(&d, first);
    refused(d, INK_E_NOT_FOUND, first, "opened");
    d = hf_dir_copy_of("hf-sharded");
    hf_dir_remove(&d, index);
    refused(d, INK_E_NOT_FOUND, weights, index);
    d = hf_dir_copy_of("hf-sharded"); // two shards with the same tensors
    size_t n;
    char *file = hf_dir_read(&d, "model-00002-of-00002.safetensors", &n);
    hf_dir_write(&d, first, file, n);
    free(file);
    refused(d, INK_E_FORMAT, "model-0000", "twice");
    d = hf_dir_copy_of("hf-plain");
    hf_dir_remove(&d, weights);
    hf_dir_text(&d, "pytorch_model.bin", "x");
    refused(d, INK_E_NOT_FOUND, weights, "pytorch_model.bin");
}

static void test_output(void **state) {
    (void)state;
    hf_dir d = hf_dir_copy_of("hf-plain");
    ink_error error = {0};
    inki_convert_options o = {.dir = d.in, .out = "/dev/full", .type = INKI_F32};
    assert_int_equal(inki_convert_hf(&o, &error), INK_E_IO);
    assert_non_null(strstr(error.message, "/dev/full"));
    assert_non_null(strstr(error.message, "space"));
    struct stat st;
    assert_int_equal(stat("/dev/full", &st), 0);

    char path[600];
    snprintf(path, sizeof path, "%s/nowhere/model.gguf", d.root);
    o.out = path;
    assert_int_equal(inki_convert_hf(&o, &error), INK_E_IO);
    assert_non_null(strstr(error.message, "nowhere"));
    o.out = d.in;
    assert_int_equal(inki_convert_hf(&o, &error), INK_E_IO);
    o.out = "";
    assert_int_equal(inki_convert_hf(&o, &error), INK_E_ARG);

    // Its own input: nothing may happen to it.
    size_t before, after;
    free(hf_dir_read(&d, weights, &before));
    snprintf(path, sizeof path, "%s/../in/%s", d.in, weights);
    o.out = path;
    assert_int_equal(inki_convert_hf(&o, &error), INK_E_ARG);
    assert_non_null(strstr(error.message, "one of the files to read"));
    free(hf_dir_read(&d, weights, &after));
    assert_int_equal(before, after);
    hf_dir_drop(&d);
}

static void test_options(void **state) {
    (void)state;
    hf_dir d = hf_dir_copy_of("hf-plain");
    char long_name[300];
    memset(long_name, 'n', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = 0;
    inki_convert_options o = {.dir = d.in, .out = d.out, .type = INKI_Q6_K};
    assert_int_equal(inki_convert_hf(&o, NULL), INK_E_ARG);
    o.type = (inki_tensor_type)77;
    assert_int_equal(inki_convert_hf(&o, NULL), INK_E_ARG);
    o.type = INKI_F32;
    o.name = long_name;
    assert_int_equal(inki_convert_hf(&o, NULL), INK_E_ARG);
    o.name = NULL;
    o.dir = d.out;
    ink_error error = {0};
    assert_int_equal(inki_convert_hf(&o, &error), INK_E_NOT_FOUND);
    assert_non_null(strstr(error.message, "model.gguf"));
    char file[300];
    snprintf(file, sizeof file, "%s/config.json", d.in);
    o.dir = file;
    assert_int_equal(inki_convert_hf(&o, &error), INK_E_IO);
    assert_non_null(strstr(error.message, "directory"));
    assert_int_equal(inki_convert_hf(NULL, &error), INK_E_ARG);
    // A FIFO must not hang the program.
    hf_dir_remove(&d, weights);
    snprintf(file, sizeof file, "%s/%s", d.in, weights);
    assert_int_equal(mkfifo(file, 0600), 0);
    refused(d, INK_E_IO, weights, "regular file");
}

typedef struct canceller {
    int calls, stop_at;
    double last;
} canceller;

static int on_progress(void *user, double fraction, const char *what) {
    canceller *c = user;
    assert_true(fraction >= c->last && fraction <= 1);
    assert_true(what[0] != 0);
    c->last = fraction;
    return ++c->calls == c->stop_at;
}

static void test_cancel(void **state) {
    (void)state;
    hf_dir d = hf_dir_copy_of("hf-plain");
    canceller c = {0};
    const inki_convert_options o = {
        .dir = d.in, .out = d.out, .type = INKI_F16, .progress = on_progress, .user = &c};
    assert_int_equal(inki_convert_hf(&o, NULL), INK_OK);
    assert_true(c.last == 1);
    const int all = c.calls;
    assert_int_equal(unlink(d.out), 0);
    for (int stop = 1; stop <= all; stop += 5) {
        ink_error error = {0};
        c = (canceller){.stop_at = stop};
        assert_int_equal(inki_convert_hf(&o, &error), INK_E_CANCELLED);
        assert_int_equal(c.calls, stop);
        assert_true(hf_dir_out_is_empty(&d));
    }
    hf_dir_drop(&d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_config),         cmocka_unit_test(test_deep_json),
        cmocka_unit_test(test_weights_header), cmocka_unit_test(test_weights_cut),
        cmocka_unit_test(test_not_finite),     cmocka_unit_test(test_shards),
        cmocka_unit_test(test_output),         cmocka_unit_test(test_options),
        cmocka_unit_test(test_cancel)};
    return cmocka_run_group_tests_name("convert bad", tests, NULL, NULL);
}
