// SPDX-License-Identifier: MIT
// Sessions with a prefix cache over a tiny model, and what a session without one computes. Included
// by one test program each.
#ifndef TESTS_PREFIX_SCENE_H
#define TESTS_PREFIX_SCENE_H

#include "engine/prefix_cache.h"
#include "opened.h"
#include "tiny_adapter.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SCENE_CTX = 320, SCENE_VOCAB = 300 };

static inline tiny_model scene_tiny(void) {
    tiny_model tiny = tiny_model_defaults();
    tiny.n_ctx = SCENE_CTX;
    return tiny;
}

static inline ink_session *scene_session(ink_model *model, ink_prefix_cache *cache,
                                         uint32_t kv_type, const ink_adapter_use *uses, size_t n) {
    ink_session *s = NULL;
    ink_error error = {0};
    ink_session_options o;
    ink_session_options_init(&o, sizeof o);
    o.kv_type = kv_type;
    o.prefix_cache = cache;
    o.adapters = uses;
    o.n_adapters = n;
    if (ink_session_new(&s, model, &o, &error) != INK_OK) fail_msg("%s", error.message);
    return s;
}

// ids [n] become the whole past, as a prompt that starts afresh. Returns how many of them were
// there already.
static inline ink_status scene_try(ink_session *s, const ink_token *ids, size_t n,
                                   uint32_t *n_reused, ink_error *error) {
    ink_generate_options o;
    ink_result r = {.size = sizeof r};
    ink_generate_options_init(&o, sizeof o);
    o.flags = INK_GENERATE_FRESH;
    o.n_tokens = 0;
    o.prompt_tokens = ids;
    o.n_prompt_tokens = n;
    const ink_status status = ink_session_generate(s, NULL, 0, &o, NULL, NULL, &r, error);
    if (status == INK_OK) *n_reused = r.n_reused;
    return status;
}

static inline uint32_t scene_read(ink_session *s, const ink_token *ids, size_t n) {
    uint32_t n_reused = 0;
    ink_error error = {0};
    if (scene_try(s, ids, n, &n_reused, &error) != INK_OK) fail_msg("%s", error.message);
    return n_reused;
}

// The bytes of a session's last logits as one number, to be compared on any thread.
static inline uint64_t scene_hash(const float *logits, size_t n) {
    uint64_t h = 1469598103934665603u;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &logits[i], sizeof bits);
        h = (h ^ bits) * 1099511628211u;
    }
    return h;
}

static inline uint64_t scene_logits(const ink_session *s) {
    size_t n = 0;
    const float *logits = ink_session_logits(s, 0, &n);
    assert_non_null(logits);
    return scene_hash(logits, n);
}

// What ids [n] give in a session of their own that knows no prefix cache, in one evaluation.
static inline uint64_t scene_plain(ink_model *model, uint32_t kv_type, const ink_adapter_use *uses,
                                   size_t n_uses, const ink_token *ids, size_t n) {
    ink_session *s = scene_session(model, NULL, kv_type, uses, n_uses);
    opened_eval(s, ids, n, 0);
    const uint64_t h = scene_logits(s);
    assert_int_equal(ink_session_free(s), INK_OK);
    return h;
}

static inline ink_prefix_cache *scene_cache(ink_model *model, uint64_t bytes) {
    ink_prefix_cache *cache = NULL;
    ink_error error = {0};
    if (ink_prefix_cache_new(&cache, model, bytes, &error) != INK_OK) fail_msg("%s", error.message);
    return cache;
}

static inline ink_prefix_cache_info scene_info(const ink_prefix_cache *cache) {
    ink_prefix_cache_info info = {.size = sizeof info};
    assert_int_equal(ink_prefix_cache_get_info(cache, &info), INK_OK);
    return info;
}

static inline uint64_t scene_page_bytes(const ink_model *model, uint32_t kv_type) {
    inki_kv_layout layout;
    const inki_weights *w = &model->weights;
    assert_true(inki_kv_layout_init(&layout, kv_type, w->n_layer, w->n_head, w->head_dim));
    return inki_kv_page_alloc_bytes(&layout);
}

// Numbers for tests: the same for the same seed.
static inline uint32_t scene_random(uint64_t *state, uint32_t below) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((*state >> 33) % below);
}

#endif
