// SPDX-License-Identifier: MIT
// A small model that is trained, an adapter beside it, the files that they become, and what the
// engine makes of those. Included by one test program each.
#ifndef TESTS_TRAIN_EXPORT_SCENE_H
#define TESTS_TRAIN_EXPORT_SCENE_H

#include "convert/shape_vocabulary.h"
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

static inline const char *path_in(const scene *s, const char *name) {
    static char paths[8][512];
    static unsigned next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", s->root, name);
    return path;
}

static inline size_t count_files(const scene *s) {
    size_t n = 0;
    DIR *dir = opendir(s->root);
    assert_non_null(dir);
    for (struct dirent *e; (e = readdir(dir)) != NULL;)
        n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    closedir(dir);
    return n;
}

static inline float next_value(uint64_t *state) { // -1 to 1
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (float)((double)(*state >> 33) / 1073741824.0 - 1.0);
}

// Also what starts as 0 or 1 gets numbers, so that none may be left out or exchanged.
static inline void shake(inki_net *net, uint64_t seed, float by) {
    float *weights = inki_net_weights(net);
    for (size_t i = 0; i < inki_net_n_values(net); i++) weights[i] += by * next_value(&seed);
}

static inline inki_net_shape shape_of(uint32_t n_embd) {
    return (inki_net_shape){.n_vocab = N_VOCAB,
                            .n_ctx = N_CTX,
                            .n_embd = n_embd,
                            .n_layer = N_LAYER,
                            .n_head = 4,
                            .n_ff = 4 * n_embd,
                            .norm_eps = 1e-5f};
}

static inline void scene_open(scene *s, uint32_t n_embd) {
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

static inline void scene_close(scene *s) {
    DIR *dir = opendir(s->root);
    for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;)
        unlink(path_in(s, e->d_name));
    closedir(dir);
    rmdir(s->root);
    inki_net_free(s->net);
    inki_shape_vocab_free(&s->made);
}

static inline void export_model(const scene *s, const char *name, uint32_t type) {
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

static inline void read_open(read_file *r, const scene *s, const char *name) {
    const inki_mem mem = inki_mem_from(NULL);
    ink_error error = {0};
    if (inki_os_open_path(&r->file, path_in(s, name), false, &mem, &error) != INK_OK ||
        inki_gguf_open(&r->gguf, r->file.data, r->file.bytes, &mem, &error) != INK_OK)
        fail_msg("%s", error.message);
}

static inline void read_close(read_file *r) {
    inki_gguf_close(&r->gguf);
    inki_os_close(&r->file);
}

// --- what the engine makes of a file -------------------------------------------------------------

static inline void made_up_ids(int32_t *ids, size_t n, uint64_t seed) {
    opened_ids(ids, n, N_VOCAB, seed);
}

// Logits after each of N_CTX tokens, out [N_CTX, N_VOCAB]. adapter: a file of the scene, or NULL.
static inline void engine_logits(const scene *s, const char *name, const char *adapter, float scale,
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

static inline double minus_log_p(const float *logits, int32_t id) {
    double most = -INFINITY, sum = 0;
    for (size_t i = 0; i < N_VOCAB; i++) most = fmax(most, (double)logits[i]);
    for (size_t i = 0; i < N_VOCAB; i++) sum += exp((double)logits[i] - most);
    return log(sum) + most - (double)logits[id];
}

// Target by target: a sum over a sequence would hide what is exchanged.
static inline void check_same_losses(inki_net *net, const float *logits, const int32_t *ids,
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

static inline double most_apart(const float *a, const float *b, size_t n) {
    double most = 0;
    for (size_t i = 0; i < n; i++) most = fmax(most, fabs((double)a[i] - (double)b[i]));
    return most;
}

// --- adapters ------------------------------------------------------------------------------------

// A frozen file of the scene and an adapter that learns beside it.
typedef struct adapted {
    read_file base;
    inki_weights weights;
    inki_net *net;
} adapted;

static inline void adapted_open(adapted *a, const scene *s, const char *base, uint32_t rank,
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

static inline void adapted_close(adapted *a) {
    inki_net_free(a->net);
    inki_weights_close(&a->weights);
    read_close(&a->base);
}

static inline void export_adapter(const scene *s, const adapted *a, const char *name,
                                  uint32_t type) {
    ink_error error = {0};
    const inki_export how = {.path = path_in(s, name), .name = "a small one", .type = type};
    if (inki_export_adapter(&how, a->net, inki_net_weights(a->net), &error) != INK_OK)
        fail_msg("%s", error.message);
}

#endif
