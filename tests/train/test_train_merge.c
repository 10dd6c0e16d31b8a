// SPDX-License-Identifier: MIT
// An adapter that is baked into its model: what comes out computes what the net does with both, and
// what the engine does with both.
#include "export_scene.h"

static void merge_files(const scene *s, const char *in, const char *adapter, float scale,
                        const char *out, uint32_t type) {
    ink_error error = {0};
    const inki_merge_adapter one = {path_in(s, adapter), scale};
    const inki_merge how = {
        .in = path_in(s, in), .out = path_in(s, out), .adapters = &one, .n = 1, .type = type};
    if (inki_merge_files(&how, &error) != INK_OK) fail_msg("%s", error.message);
}

// The net with its adapter, the engine with the merged file, the engine with model and adapter: the
// same logits.
static void merged_is_applied(void **state) {
    (void)state;
    scene s;
    adapted a;
    int32_t ids[N_CTX + 1];
    float *plain = malloc(N_CTX * N_VOCAB * sizeof *plain);
    float *merged = malloc(N_CTX * N_VOCAB * sizeof *merged);
    float *applied = malloc(N_CTX * N_VOCAB * sizeof *applied);
    scene_open(&s, N_EMBD);
    export_model(&s, "base.gguf", INKI_F32);
    adapted_open(&a, &s, "base.gguf", 3, 11);
    export_adapter(&s, &a, "a.gguf", INKI_F32);
    merge_files(&s, "base.gguf", "a.gguf", 1, "merged.gguf", UINT32_MAX);
    merge_files(&s, "base.gguf", "a.gguf", -0.5f, "half.gguf", INKI_F32);
    made_up_ids(ids, N_CTX + 1, 4);
    engine_logits(&s, "base.gguf", NULL, 1, ids, plain);
    engine_logits(&s, "merged.gguf", NULL, 1, ids, merged);
    assert_true(most_apart(plain, merged, N_CTX * N_VOCAB) > 0.1);
    check_same_losses(a.net, merged, ids, 1e-4);
    engine_logits(&s, "base.gguf", "a.gguf", 1, ids, applied);
    assert_true(most_apart(applied, merged, N_CTX * N_VOCAB) <= 1e-4);
    engine_logits(&s, "half.gguf", NULL, 1, ids, merged);
    assert_true(most_apart(applied, merged, N_CTX * N_VOCAB) > 0.05);
    engine_logits(&s, "base.gguf", "a.gguf", -0.5f, ids, applied);
    assert_true(most_apart(applied, merged, N_CTX * N_VOCAB) <= 1e-4);
    free(plain);
    free(merged);
    free(applied);
    adapted_close(&a);
    scene_close(&s);
}

// Of Q8_0 what no adapter changes stays as it is, and the rest stays Q8_0.
static void merged_types(void **state) {
    (void)state;
    scene s;
    adapted a;
    read_file before, after;
    scene_open(&s, N_EMBD);
    export_model(&s, "base.gguf", INKI_Q8_0);
    adapted_open(&a, &s, "base.gguf", 3, 11);
    export_adapter(&s, &a, "a.gguf", INKI_F32);
    merge_files(&s, "base.gguf", "a.gguf", 1, "merged.gguf", UINT32_MAX);
    read_open(&before, &s, "base.gguf");
    read_open(&after, &s, "merged.gguf");
    assert_int_equal(before.gguf.n_kv, after.gguf.n_kv);
    for (size_t i = 0; i < before.gguf.n_tensors; i++) {
        const inki_gguf_tensor *x = &before.gguf.tensors[i], *y = &after.gguf.tensors[i];
        assert_string_equal(x->name, y->name);
        assert_int_equal(x->type, y->type);
        const bool changes = strncmp(x->name, "blk.", 4) == 0 && x->n_dims == 2;
        assert_int_equal(memcmp(x->data, y->data, x->bytes) != 0, changes);
    }
    read_close(&after);
    merge_files(&s, "base.gguf", "a.gguf", 1, "f16.gguf", INKI_F16);
    read_open(&after, &s, "f16.gguf");
    uint32_t kind = 99;
    assert_int_equal(inki_gguf_get_u32(&after.gguf, "general.file_type", true, &kind, NULL),
                     INK_OK);
    assert_int_equal(kind, 1);
    assert_null(inki_gguf_find(&after.gguf, "general.quantization_version"));
    assert_int_equal(inki_gguf_find_tensor(&after.gguf, "token_embd.weight")->type, INKI_F16);
    assert_int_equal(inki_gguf_find_tensor(&after.gguf, "position_embd.weight")->type, INKI_F32);
    read_close(&before);
    read_close(&after);
    adapted_close(&a);
    scene_close(&s);
}

static int cancel_late(void *user, double fraction, const char *what) {
    (void)what;
    double *last = user;
    assert_true(fraction >= *last && fraction <= 1.0);
    *last = fraction;
    return fraction > 0.75;
}

static void not_merged(void **state) {
    (void)state;
    scene s, narrow;
    adapted a, other;
    ink_error error = {0};
    scene_open(&s, N_EMBD);
    scene_open(&narrow, 24);
    export_model(&s, "base.gguf", INKI_F32);
    export_model(&narrow, "base.gguf", INKI_F32);
    adapted_open(&a, &s, "base.gguf", 3, 11);
    adapted_open(&other, &narrow, "base.gguf", 3, 11);
    export_adapter(&s, &a, "a.gguf", INKI_F32);
    export_adapter(&narrow, &other, "a.gguf", INKI_F32);
    inki_merge_adapter pair[2] = {{path_in(&s, "a.gguf"), 1}, {path_in(&narrow, "a.gguf"), 1}};
    char out[512];
    snprintf(out, sizeof out, "%s", path_in(&s, "out.gguf"));
    inki_merge how = {
        .in = path_in(&s, "base.gguf"), .out = out, .adapters = pair, .n = 2, .type = UINT32_MAX};
    assert_int_equal(inki_merge_files(&how, &error), INK_E_FORMAT);
    assert_non_null(strstr(error.message, "blk.0.attn_qkv.weight.lora_a"));
    assert_non_null(strstr(error.message, pair[1].path));
    how.n = 0;
    assert_int_equal(inki_merge_files(&how, &error), INK_E_ARG);
    how.n = 1;
    how.type = INKI_Q6_K;
    assert_int_equal(inki_merge_files(&how, &error), INK_E_ARG);
    how.type = UINT32_MAX;
    pair[0].scale = NAN;
    assert_int_equal(inki_merge_files(&how, &error), INK_E_NUMERIC);
    pair[0].scale = 1;
    double last = 0;
    how.progress = cancel_late;
    how.user = &last;
    assert_int_equal(inki_merge_files(&how, &error), INK_E_CANCELLED);
    how.progress = NULL;
    const char *model = how.in;
    how.in = pair[0].path;
    assert_int_equal(inki_merge_files(&how, &error), INK_E_FORMAT);
    how.in = model;
    pair[0].path = model;
    assert_int_equal(inki_merge_files(&how, &error), INK_E_FORMAT);
    assert_non_null(strstr(error.message, "general.type"));
    pair[0].path = "/nowhere/a.gguf";
    assert_int_equal(inki_merge_files(&how, &error), INK_E_NOT_FOUND);
    assert_int_equal(count_files(&s), 2);
    adapted_close(&a);
    adapted_close(&other);
    scene_close(&s);
    scene_close(&narrow);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(merged_is_applied),
        cmocka_unit_test(merged_types),
        cmocka_unit_test(not_merged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
