// SPDX-License-Identifier: MIT
// What training writes: the engine computes with the file what the net computed, and the file is of
// the kind that convert makes.
#include "convert/convert.h"
#include "export_scene.h"
#include "hf_dir.h"

static void engine_computes_the_same(void **state) {
    (void)state;
    scene s;
    scene_open(&s, N_EMBD);
    export_model(&s, "f32.gguf", INKI_F32);
    float *logits = malloc(N_CTX * N_VOCAB * sizeof *logits);
    for (uint64_t seed = 1; seed <= 3; seed++) {
        int32_t ids[N_CTX + 1];
        made_up_ids(ids, N_CTX + 1, seed);
        engine_logits(&s, "f32.gguf", NULL, 1, ids, logits);
        // The loss of such a model is far from that of one that says nothing.
        assert_true(fabs(minus_log_p(logits, ids[1]) - log(N_VOCAB)) > 1e-3);
        check_same_losses(s.net, logits, ids, 2e-5);
    }
    assert_int_equal(count_files(&s), 1);
    free(logits);
    scene_close(&s);
}

// --- the kind of file ----------------------------------------------------------------------------

static void other_types(void **state) {
    (void)state;
    static const struct {
        const char *name;
        uint32_t type, head, kind;
    } cases[] = {{"f16.gguf", INKI_F16, INKI_F16, 1},
                 {"bf16.gguf", INKI_BF16, INKI_BF16, 32},
                 {"q8.gguf", INKI_Q8_0, INKI_Q8_0, 7},
                 {"q4.gguf", INKI_Q4_0, INKI_Q8_0, 2}};
    scene s;
    scene_open(&s, N_EMBD);
    float *logits = malloc(N_CTX * N_VOCAB * sizeof *logits);
    int32_t ids[N_CTX + 1];
    made_up_ids(ids, N_CTX + 1, 1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        read_file r;
        uint32_t kind = 99;
        export_model(&s, cases[i].name, cases[i].type);
        read_open(&r, &s, cases[i].name);
        assert_int_equal(inki_gguf_get_u32(&r.gguf, "general.file_type", true, &kind, NULL),
                         INK_OK);
        assert_int_equal(kind, cases[i].kind);
        const bool blocks = cases[i].type == INKI_Q8_0 || cases[i].type == INKI_Q4_0;
        assert_int_equal(inki_gguf_find(&r.gguf, "general.quantization_version") != NULL, blocks);
        for (size_t k = 0; k < r.gguf.n_tensors; k++) {
            const inki_gguf_tensor *t = &r.gguf.tensors[k];
            const bool head = strcmp(t->name, "token_embd.weight") == 0;
            const bool wide = t->n_dims == 1 || strcmp(t->name, "position_embd.weight") == 0;
            assert_int_equal(t->type,
                             wide ? (uint32_t)INKI_F32 : (head ? cases[i].head : cases[i].type));
        }
        read_close(&r);
        engine_logits(&s, cases[i].name, NULL, 1, ids, logits);
        check_same_losses(s.net, logits, ids, cases[i].type == INKI_Q4_0 ? 0.8 : 0.15);
    }
    free(logits);
    scene_close(&s);
}

// Rows of 24 are no whole blocks of 32; what no half can hold stays F32.
static void what_does_not_fit(void **state) {
    (void)state;
    scene s;
    read_file r;
    scene_open(&s, 24);
    const inki_param *params = NULL;
    inki_net_n_params(s.net, &params);
    assert_string_equal(params[4].name, "blk.0.attn_qkv.weight");
    inki_net_weights(s.net)[params[4].at + 7] = 1e6f;
    export_model(&s, "q8.gguf", INKI_Q8_0);
    read_open(&r, &s, "q8.gguf");
    assert_int_equal(inki_gguf_find_tensor(&r.gguf, "token_embd.weight")->type, INKI_F16);
    assert_int_equal(inki_gguf_find_tensor(&r.gguf, "blk.0.attn_qkv.weight")->type, INKI_F32);
    assert_int_equal(inki_gguf_find_tensor(&r.gguf, "blk.1.attn_qkv.weight")->type, INKI_F16);
    assert_int_equal(inki_gguf_find_tensor(&r.gguf, "blk.0.ffn_down.weight")->type, INKI_Q8_0);
    read_close(&r);
    scene_close(&s);
}

// As convert writes it: the same keys with the same types, the same tensors, in the same order.
static void same_kind_as_converted(void **state) {
    (void)state;
    scene s;
    read_file ours, theirs;
    ink_error error = {0};
    hf_dir dir = hf_dir_copy_of("hf-plain"); // three layers of 32, 320 tokens
    scene_open(&s, N_EMBD);
    export_model(&s, "ours.gguf", INKI_Q8_0);
    const inki_convert_options how = {
        .dir = dir.in, .out = path_in(&s, "theirs.gguf"), .type = INKI_Q8_0};
    if (inki_convert_hf(&how, &error) != INK_OK) fail_msg("%s", error.message);
    read_open(&ours, &s, "ours.gguf");
    read_open(&theirs, &s, "theirs.gguf");
    assert_int_equal(ours.gguf.n_kv, theirs.gguf.n_kv);
    for (size_t i = 0; i < ours.gguf.n_kv; i++) {
        const inki_gguf_kv *a = &ours.gguf.kv[i], *b = &theirs.gguf.kv[i];
        assert_int_equal(a->key.bytes, b->key.bytes);
        assert_memory_equal(a->key.data, b->key.data, a->key.bytes);
        assert_int_equal(a->type, b->type);
        assert_int_equal(a->item_type, b->item_type);
    }
    assert_int_equal(ours.gguf.n_tensors, theirs.gguf.n_tensors);
    for (size_t i = 0; i < ours.gguf.n_tensors; i++) {
        const inki_gguf_tensor *a = &ours.gguf.tensors[i], *b = &theirs.gguf.tensors[i];
        assert_string_equal(a->name, b->name);
        assert_int_equal(a->n_dims, b->n_dims);
        assert_int_equal(a->type, b->type);
        if (strcmp(a->name, "position_embd.weight") != 0)
            assert_memory_equal(a->dims, b->dims, sizeof a->dims);
    }
    read_close(&ours);
    read_close(&theirs);
    hf_dir_drop(&dir);
    scene_close(&s);
}

// A vocabulary that comes from a file gives the file over again.
static void vocabulary_of_another_file(void **state) {
    (void)state;
    scene s;
    read_file r, again;
    ink_error error = {0};
    scene_open(&s, N_EMBD);
    export_model(&s, "first.gguf", INKI_Q8_0);
    read_open(&r, &s, "first.gguf");
    const inki_export how = {.path = path_in(&s, "second.gguf"),
                             .name = "made here",
                             .license = "mit",
                             .type = INKI_Q8_0,
                             .like = &r.gguf};
    if (inki_export_gguf(&how, s.net, inki_net_weights(s.net), &error) != INK_OK)
        fail_msg("%s", error.message);
    read_open(&again, &s, "second.gguf");
    assert_int_equal(r.file.bytes, again.file.bytes);
    assert_memory_equal(r.file.data, again.file.data, r.file.bytes);
    read_close(&r);
    read_close(&again);
    scene_close(&s);
}

static void not_exported(void **state) {
    (void)state;
    scene s;
    ink_error error = {0};
    scene_open(&s, N_EMBD);
    float *weights = inki_net_weights(s.net);
    inki_export how = {.path = path_in(&s, "no.gguf"), .type = INKI_Q4_K, .vocab = &s.vocab};
    assert_int_equal(inki_export_gguf(&how, s.net, weights, &error), INK_E_ARG);
    how.type = INKI_F32;
    s.vocab.n_tokens--;
    assert_int_equal(inki_export_gguf(&how, s.net, weights, &error), INK_E_ARG);
    assert_non_null(strstr(error.message, "319"));
    s.vocab.n_tokens++;
    how.vocab = NULL;
    assert_int_equal(inki_export_gguf(&how, s.net, weights, &error), INK_E_ARG);
    how.vocab = &s.vocab;
    assert_int_equal(inki_export_adapter(&how, s.net, weights, &error), INK_E_ARG);
    const inki_param *params = NULL;
    const size_t n = inki_net_n_params(s.net, &params);
    weights[params[n - 1].at + 3] = NAN;
    assert_int_equal(inki_export_gguf(&how, s.net, weights, &error), INK_E_NUMERIC);
    assert_non_null(strstr(error.message, "output_norm.bias"));
    assert_non_null(strstr(error.message, "value 3"));
    weights[params[n - 1].at + 3] = 0;
    assert_int_equal(count_files(&s), 0);
    how.path = "/dev/full";
    if (access(how.path, W_OK) == 0)
        assert_int_equal(inki_export_gguf(&how, s.net, weights, &error), INK_E_IO);
    scene_close(&s);
}

// --- adapters ------------------------------------------------------------------------------------

static void adapter_file(void **state) {
    (void)state;
    scene s;
    adapted a;
    read_file r;
    scene_open(&s, N_EMBD);
    export_model(&s, "base.gguf", INKI_F32);
    adapted_open(&a, &s, "base.gguf", 3, 11);
    export_adapter(&s, &a, "a.gguf", INKI_F32);
    read_open(&r, &s, "a.gguf");
    static const char *const texts[][2] = {{"general.architecture", "gpt2"},
                                           {"general.type", "adapter"},
                                           {"general.name", "a small one"},
                                           {"adapter.type", "lora"}};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        inki_str text = {"", 0};
        assert_int_equal(inki_gguf_get_str(&r.gguf, texts[i][0], true, &text, NULL), INK_OK);
        assert_true(inki_str_equal(text, texts[i][1]));
    }
    float alpha = 0;
    assert_int_equal(inki_gguf_get_f32(&r.gguf, "adapter.lora.alpha", true, &alpha, NULL), INK_OK);
    assert_true(alpha == 7.0f);
    assert_int_equal(r.gguf.n_tensors, 2 * 4 * N_LAYER);
    // Sizes innermost first, as llama.cpp has them: A [n_in, rank], B [rank, n_out].
    const inki_gguf_tensor *ta = inki_gguf_find_tensor(&r.gguf, "blk.2.attn_qkv.weight.lora_a");
    const inki_gguf_tensor *tb = inki_gguf_find_tensor(&r.gguf, "blk.2.attn_qkv.weight.lora_b");
    assert_non_null(ta);
    assert_non_null(tb);
    assert_int_equal(ta->n_dims, 2);
    assert_int_equal(ta->dims[0], N_EMBD);
    assert_int_equal(ta->dims[1], 3);
    assert_int_equal(tb->dims[0], 3);
    assert_int_equal(tb->dims[1], 3 * N_EMBD);
    read_close(&r);
    adapted_close(&a);
    // A single row is still a matrix.
    adapted_open(&a, &s, "base.gguf", 1, 11);
    export_adapter(&s, &a, "one.gguf", INKI_F16);
    read_open(&r, &s, "one.gguf");
    ta = inki_gguf_find_tensor(&r.gguf, "blk.0.ffn_down.weight.lora_a");
    assert_int_equal(ta->n_dims, 2);
    assert_int_equal(ta->type, INKI_F16);
    read_close(&r);
    adapted_close(&a);
    scene_close(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(engine_computes_the_same),
        cmocka_unit_test(other_types),
        cmocka_unit_test(what_does_not_fit),
        cmocka_unit_test(same_kind_as_converted),
        cmocka_unit_test(vocabulary_of_another_file),
        cmocka_unit_test(not_exported),
        cmocka_unit_test(adapter_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
