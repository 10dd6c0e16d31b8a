// SPDX-License-Identifier: MIT
// What training writes: the engine computes with the file what the net computed; the file is of the
// kind that convert makes; an adapter baked into its model computes what the net does with both.
#include "base/half.h"
#include "convert/convert.h"
#include "convert/shape_vocabulary.h"
#include "hf_dir.h"
#include "inkling/inkling.h"
#include "opened.h"
#include "train/export.h"

#include <dirent.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { N_VOCAB = 320, N_CTX = 24, N_EMBD = 32, N_LAYER = 3 };

// One model that is trained, and the folder that its files go to.
typedef struct scene {
    char root[200];
    inki_kernels kernels;
    inki_compute compute;
    inki_net *net;
    inki_shape_vocab made;
    inki_learned_vocab vocab;
} scene;

static const char *path_in(const scene *s, const char *name) {
    static char paths[8][512];
    static unsigned next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", s->root, name);
    return path;
}

static size_t count_files(const scene *s) {
    size_t n = 0;
    DIR *dir = opendir(s->root);
    assert_non_null(dir);
    for (struct dirent *e; (e = readdir(dir)) != NULL;)
        n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    closedir(dir);
    return n;
}

static float next_value(uint64_t *state) { // -1 to 1
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (float)((double)(*state >> 33) / 1073741824.0 - 1.0);
}

// Also what starts as 0 or 1 gets numbers, so that none may be left out or exchanged.
static void shake(inki_net *net, uint64_t seed, float by) {
    float *weights = inki_net_weights(net);
    for (size_t i = 0; i < inki_net_n_values(net); i++) weights[i] += by * next_value(&seed);
}

static inki_net_shape shape_of(uint32_t n_embd) {
    return (inki_net_shape){.n_vocab = N_VOCAB,
                            .n_ctx = N_CTX,
                            .n_embd = n_embd,
                            .n_layer = N_LAYER,
                            .n_head = 4,
                            .n_ff = 4 * n_embd,
                            .norm_eps = 1e-5f};
}

static void scene_open(scene *s, uint32_t n_embd) {
    ink_error error = {0};
    memset(s, 0, sizeof *s);
    const char *tmp = getenv("TMPDIR");
    snprintf(s->root, sizeof s->root, "%s/inkling-export-XXXXXX", tmp != NULL ? tmp : "/tmp");
    assert_non_null(mkdtemp(s->root));
    inki_kernels_init(&s->kernels, inki_level_mask(INKI_LEVEL_PORTABLE));
    s->compute = (inki_compute){
        .mem = inki_mem_from(NULL), .kernels = &s->kernels, .level = INKI_LEVEL_PORTABLE};
    const inki_net_options options = {.shape = shape_of(n_embd), .n_tokens_a_pass = N_CTX};
    if (inki_net_new(&s->net, &s->compute, &options, &error) != INK_OK)
        fail_msg("%s", error.message);
    inki_net_init_random(s->net, 5);
    shake(s->net, 6, 0.1f);
    assert_int_equal(inki_shape_vocab_new(&s->made, N_VOCAB, &s->compute.mem, &error), INK_OK);
    s->vocab = (inki_learned_vocab){.tokens = s->made.tokens,
                                    .merges = s->made.merges,
                                    .n_tokens = s->made.n_tokens,
                                    .n_merges = s->made.n_merges,
                                    .end_token = N_VOCAB - 1};
}

static void scene_close(scene *s) {
    DIR *dir = opendir(s->root);
    for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;)
        unlink(path_in(s, e->d_name));
    closedir(dir);
    rmdir(s->root);
    inki_net_free(s->net);
    inki_shape_vocab_free(&s->made);
}

static void export_model(const scene *s, const char *name, uint32_t type) {
    ink_error error = {0};
    const inki_export how = {.path = path_in(s, name),
                             .name = "made here",
                             .license = "mit",
                             .type = type,
                             .vocab = &s->vocab};
    if (inki_export_gguf(&how, s->net, inki_net_weights(s->net), &error) != INK_OK)
        fail_msg("%s", error.message);
}

// A file of the scene, read by the container's reader.
typedef struct read_file {
    inki_file file;
    inki_gguf gguf;
} read_file;

static void read_open(read_file *r, const scene *s, const char *name) {
    const inki_mem mem = inki_mem_from(NULL);
    ink_error error = {0};
    if (inki_os_open_path(&r->file, path_in(s, name), false, &mem, &error) != INK_OK ||
        inki_gguf_open(&r->gguf, r->file.data, r->file.bytes, &mem, &error) != INK_OK)
        fail_msg("%s", error.message);
}

static void read_close(read_file *r) {
    inki_gguf_close(&r->gguf);
    inki_os_close(&r->file);
}

// --- what the engine makes of a file -------------------------------------------------------------

static void made_up_ids(int32_t *ids, size_t n, uint64_t seed) {
    opened_ids(ids, n, N_VOCAB, seed);
}

// Logits after each of N_CTX tokens, out [N_CTX, N_VOCAB]. adapter: a file of the scene, or NULL.
static void engine_logits(const scene *s, const char *name, const char *adapter, float scale,
                          const int32_t *ids, float *out) {
    ink_error error = {0};
    ink_model *model = NULL;
    ink_session *session = NULL;
    ink_adapter_use use = {.scale = scale};
    ink_session_options options;
    ink_source source = {.size = sizeof source, .kind = INK_SOURCE_PATH, .name = path_in(s, name)};
    if (ink_model_open(&model, NULL, &source, NULL, &error) != INK_OK)
        fail_msg("%s", error.message);
    ink_session_options_init(&options, sizeof options);
    options.kv_type = INK_KV_F32;
    options.n_logits = N_CTX;
    if (adapter != NULL) {
        source.name = path_in(s, adapter);
        if (ink_adapter_open(&use.adapter, model, &source, &error) != INK_OK)
            fail_msg("%s", error.message);
        options.adapters = &use;
        options.n_adapters = 1;
    }
    if (ink_session_new(&session, model, &options, &error) != INK_OK) fail_msg("%s", error.message);
    const ink_span span = {
        .session = session, .tokens = ids, .n_tokens = N_CTX, .flags = INK_SPAN_ALL_LOGITS};
    if (ink_eval(&span, 1, &error) != INK_OK) fail_msg("%s", error.message);
    for (size_t i = 0; i < N_CTX; i++) {
        size_t n = 0;
        const float *row = ink_session_logits(session, i, &n);
        assert_int_equal(n, N_VOCAB);
        memcpy(out + i * N_VOCAB, row, N_VOCAB * sizeof *row);
    }
    ink_session_free(session);
    if (adapter != NULL) ink_adapter_unref(use.adapter);
    ink_model_unref(model);
}

static double minus_log_p(const float *logits, int32_t id) {
    double most = -INFINITY, sum = 0;
    for (size_t i = 0; i < N_VOCAB; i++) most = fmax(most, (double)logits[i]);
    for (size_t i = 0; i < N_VOCAB; i++) sum += exp((double)logits[i] - most);
    return log(sum) + most - (double)logits[id];
}

// Target by target: a sum over a sequence would hide what is exchanged.
static void check_same_losses(inki_net *net, const float *logits, const int32_t *ids,
                              double allowed) {
    double before = 0;
    for (uint32_t n = 1; n <= N_CTX; n++) {
        const double sum = inki_net_evaluate(net, ids, n), net_loss = sum - before;
        const double engine_loss = minus_log_p(logits + (n - 1) * N_VOCAB, ids[n]);
        if (!(fabs(net_loss - engine_loss) <= allowed))
            fail_msg("target %u: %g by the net, %g by the engine", n, net_loss, engine_loss);
        before = sum;
    }
}

static double most_apart(const float *a, const float *b, size_t n) {
    double most = 0;
    for (size_t i = 0; i < n; i++) most = fmax(most, fabs((double)a[i] - (double)b[i]));
    return most;
}

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

// A frozen file of the scene and an adapter that learns beside it.
typedef struct adapted {
    read_file base;
    inki_weights weights;
    inki_net *net;
} adapted;

static void adapted_open(adapted *a, const scene *s, const char *base, uint32_t rank,
                         uint64_t seed) {
    ink_error error = {0};
    read_open(&a->base, s, base);
    if (inki_weights_open(&a->weights, &a->base.gguf, &s->kernels, &s->compute.mem, &error) !=
        INK_OK)
        fail_msg("%s", error.message);
    const inki_net_options options = {.shape = shape_of(a->weights.n_embd),
                                      .n_tokens_a_pass = N_CTX,
                                      .base = &a->weights,
                                      .lora_rank = rank,
                                      .lora_alpha = 2.0f * (float)rank + 1.0f};
    if (inki_net_new(&a->net, &s->compute, &options, &error) != INK_OK)
        fail_msg("%s", error.message);
    inki_net_init_random(a->net, seed);
    shake(a->net, seed + 1, 0.1f);
}

static void adapted_close(adapted *a) {
    inki_net_free(a->net);
    inki_weights_close(&a->weights);
    read_close(&a->base);
}

static void export_adapter(const scene *s, const adapted *a, const char *name, uint32_t type) {
    ink_error error = {0};
    const inki_export how = {.path = path_in(s, name), .name = "a small one", .type = type};
    if (inki_export_adapter(&how, a->net, inki_net_weights(a->net), &error) != INK_OK)
        fail_msg("%s", error.message);
}

static void merge_files(const scene *s, const char *in, const char *adapter, float scale,
                        const char *out, uint32_t type) {
    ink_error error = {0};
    const inki_merge_adapter one = {path_in(s, adapter), scale};
    const inki_merge how = {
        .in = path_in(s, in), .out = path_in(s, out), .adapters = &one, .n = 1, .type = type};
    if (inki_merge_files(&how, &error) != INK_OK) fail_msg("%s", error.message);
}

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
        cmocka_unit_test(engine_computes_the_same),
        cmocka_unit_test(other_types),
        cmocka_unit_test(what_does_not_fit),
        cmocka_unit_test(same_kind_as_converted),
        cmocka_unit_test(vocabulary_of_another_file),
        cmocka_unit_test(not_exported),
        cmocka_unit_test(adapter_file),
        cmocka_unit_test(merged_is_applied),
        cmocka_unit_test(merged_types),
        cmocka_unit_test(not_merged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
