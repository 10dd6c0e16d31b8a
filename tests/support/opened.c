// SPDX-License-Identifier: MIT
#include "opened.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

uint32_t opened_cpu_mask = ~0u;
ink_model *opened_builtin;

int opened_builtin_begin(void **state) {
    (void)state;
    return ink_model_open(&opened_builtin, NULL, NULL, NULL, NULL) == INK_OK ? 0 : -1;
}

int opened_small_begin(void **state) {
    char path[1024];
    const char *root = getenv("INKLING_SOURCE_DIR");
    (void)state;
    snprintf(path, sizeof path, "%s/tests/fixtures/story-small.gguf", root != NULL ? root : ".");
    const ink_source source = {.size = sizeof source, .kind = INK_SOURCE_PATH, .name = path};
    return ink_model_open(&opened_builtin, NULL, &source, NULL, NULL) == INK_OK ? 0 : -1;
}

int opened_builtin_end(void **state) {
    (void)state;
    ink_model_unref(opened_builtin);
    return 0;
}

opened opened_tiny(const tiny_model *tiny, uint32_t n_threads, heap *h) {
    opened o = {0};
    ink_error error = {0};
    ink_runtime_options options;
    ink_allocator allocator;
    o.bytes = tiny_model_bytes(tiny, &o.n_bytes);
    assert_non_null(o.bytes);
    ink_runtime_options_init(&options, sizeof options);
    options.n_threads = n_threads;
    options.flags = INK_RUNTIME_OVERSUBSCRIBE;
    options.cpu_mask = opened_cpu_mask;
    if (h != NULL) {
        allocator = heap_allocator(h);
        options.allocator = &allocator;
    }
    assert_int_equal(ink_runtime_new(&o.runtime, &options, &error), INK_OK);
    const ink_source source = {.size = sizeof source,
                               .kind = INK_SOURCE_MEMORY,
                               .data = o.bytes,
                               .bytes = o.n_bytes,
                               .name = "tiny"};
    if (ink_model_open(&o.model, o.runtime, &source, NULL, &error) != INK_OK)
        fail_msg("%s", error.message);
    return o;
}

void opened_close(opened *o) {
    ink_model_unref(o->model);
    ink_runtime_unref(o->runtime);
    free(o->bytes);
    *o = (opened){0};
}

ink_session *opened_session(const opened *o, uint32_t n_ctx, uint32_t kv_type, uint32_t n_logits) {
    ink_session *s = NULL;
    ink_error error = {0};
    ink_session_options options;
    ink_session_options_init(&options, sizeof options);
    options.n_ctx = n_ctx;
    options.kv_type = kv_type;
    options.n_logits = n_logits;
    if (ink_session_new(&s, o->model, &options, &error) != INK_OK) fail_msg("%s", error.message);
    return s;
}

void opened_ids(ink_token *ids, size_t n, uint32_t n_vocab, uint64_t seed) {
    uint64_t x = seed * 0x9e3779b97f4a7c15u + 1;
    for (size_t i = 0; i < n; i++) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        ids[i] = (ink_token)((x >> 33) % (n_vocab - 1));
    }
}

void opened_eval(ink_session *s, const ink_token *ids, size_t n, size_t piece) {
    ink_error error = {0};
    for (size_t at = 0; at < n;) {
        const size_t take = piece == 0 || piece > n - at ? n - at : piece;
        const ink_span span = {.session = s, .tokens = ids + at, .n_tokens = take};
        if (ink_eval(&span, 1, &error) != INK_OK) fail_msg("%s", error.message);
        at += take;
    }
}

int collect(void *user, const ink_piece *piece) {
    collected *c = user;
    assert_true(piece->bytes > 0);
    assert_int_equal(piece->text[piece->bytes], 0);
    assert_true(c->bytes + piece->bytes < sizeof c->text);
    memcpy(c->text + c->bytes, piece->text, piece->bytes + 1);
    c->bytes += piece->bytes;
    c->n_pieces++;
    return c->stop_after != 0 && c->n_pieces >= c->stop_after;
}

ink_sampler *opened_sampler(const char *chain, uint64_t seed) {
    ink_sampler_options o;
    ink_sampler_options_init(&o, sizeof o);
    o.seed_set = 1;
    o.seed = seed;
    ink_sampler *sampler = NULL;
    assert_int_equal(ink_sampler_new(&sampler, opened_builtin, chain, &o, NULL), INK_OK);
    return sampler;
}

double opened_logprob(ink_session *session, const ink_token *ids, size_t n, ink_token target) {
    const ink_span span = {session, ids, n, 0, NULL};
    size_t n_vocab = 0;
    assert_int_equal(ink_session_rewind(session, 0), INK_OK);
    assert_int_equal(ink_eval(&span, 1, NULL), INK_OK);
    const float *logits = ink_session_logits(session, 0, &n_vocab);
    assert_non_null(logits);
    long double sum = 0; // logits are small: no maximum is needed before exp
    for (size_t i = 0; i < n_vocab; i++) sum += expl((long double)logits[i]);
    return (double)((long double)logits[target] - logl(sum));
}
