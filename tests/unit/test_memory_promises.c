// SPDX-License-Identifier: MIT
// Memory is promised in counts: ink_measure is exact, a decode step asks for nothing, a fork for
// little.
#include "opened.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void measure_equals_heap(uint32_t n_ctx, uint32_t kv_type, uint32_t n_batch,
                                uint32_t n_logits) {
    heap h = {0};
    const tiny_model tiny = tiny_model_defaults();
    size_t n_bytes = 0;
    uint8_t *bytes = tiny_model_bytes(&tiny, &n_bytes);
    assert_non_null(bytes);
    const ink_source source = {
        .size = sizeof source, .kind = INK_SOURCE_MEMORY, .data = bytes, .bytes = n_bytes};
    ink_session_options so;
    ink_session_options_init(&so, sizeof so);
    so.n_ctx = n_ctx;
    so.kv_type = kv_type;
    so.n_batch = n_batch;
    so.n_logits = n_logits;
    ink_memory told = {0};
    assert_int_equal(ink_measure(&source, &so, &told, NULL), INK_OK);

    const ink_allocator allocator = heap_allocator(&h);
    ink_runtime_options ro;
    ink_runtime *runtime = NULL;
    ink_model *model = NULL;
    ink_session *session = NULL;
    ink_runtime_options_init(&ro, sizeof ro);
    ro.allocator = &allocator;
    ro.n_threads = 2;
    ro.flags = INK_RUNTIME_OVERSUBSCRIBE;
    assert_int_equal(ink_runtime_new(&runtime, &ro, NULL), INK_OK);
    const size_t before = h.live_bytes;
    h.peak_bytes = before;
    assert_int_equal(ink_model_open(&model, runtime, &source, NULL, NULL), INK_OK);
    const size_t opened_bytes = h.live_bytes;
    assert_int_equal(opened_bytes - before, told.model_heap_bytes);
    assert_int_equal(h.peak_bytes - before, told.model_peak_bytes);
    assert_int_equal(ink_session_new(&session, model, &so, NULL), INK_OK);
    assert_int_equal(h.live_bytes - opened_bytes, told.session_heap_bytes);
    assert_true(told.kv_bytes < told.session_heap_bytes);
    assert_int_equal(told.file_bytes, n_bytes);
    assert_int_equal(told.n_ctx, n_ctx != 0 ? n_ctx : tiny.n_ctx);
    ink_session_free(session);
    ink_model_unref(model);
    ink_runtime_unref(runtime);
    assert_int_equal(h.live_bytes, 0);
    free(bytes);
}

static void test_measure(void **state) {
    (void)state;
    measure_equals_heap(0, INK_KV_F16, 0, 0);
    measure_equals_heap(1, INK_KV_F32, 1, 1);
    measure_equals_heap(65, INK_KV_Q8_0, 16, 60);
}

static void test_measure_refuses(void **state) {
    (void)state;
    ink_memory out = {.file_bytes = 77};
    ink_error error = {0};
    const ink_source missing = {
        .size = sizeof missing, .kind = INK_SOURCE_PATH, .name = "/no/such/model.gguf"};
    assert_int_equal(ink_measure(&missing, NULL, &out, &error), INK_E_NOT_FOUND);
    assert_int_equal(out.file_bytes, 77);
    assert_non_null(strstr(error.message, "/no/such/model.gguf"));
    assert_int_equal(ink_measure(&missing, NULL, NULL, &error), INK_E_ARG);
}

// Every step from the first to the last position, over page borders.
static void test_decode_step_allocates_nothing(void **state) {
    (void)state;
    heap h = {0};
    const tiny_model tiny = tiny_model_defaults();
    opened o = opened_tiny(&tiny, 2, &h);
    ink_session *s = opened_session(&o, 0, INK_KV_F16, 1);
    ink_sampler *sampler = NULL;
    ink_token id = 3;
    assert_int_equal(ink_sampler_new(&sampler, o.model, NULL, NULL, NULL), INK_OK);
    const size_t before = h.n_allocs;
    for (uint32_t i = 0; i < tiny.n_ctx; i++) {
        assert_int_equal(ink_eval(&(ink_span){s, &id, 1, 0, NULL}, 1, NULL), INK_OK);
        assert_int_equal(ink_sample(s, sampler, &id, NULL), INK_OK);
    }
    assert_int_equal(h.n_allocs, before);
    ink_session_free(s);
    ink_sampler_free(sampler);
    opened_close(&o);
    assert_int_equal(h.live_blocks, 0);
}

// Within one call the number of requests does not depend on how many tokens are made.
static void test_generation_allocates_at_its_start_only(void **state) {
    (void)state;
    heap h = {0};
    const tiny_model tiny = tiny_model_defaults();
    opened o = opened_tiny(&tiny, 1, &h);
    ink_session *s = opened_session(&o, 0, INK_KV_F16, 1);
    ink_generate_options g;
    size_t requests[2];
    ink_generate_options_init(&g, sizeof g);
    g.flags = INK_GENERATE_FRESH | INK_GENERATE_NO_END;
    for (int i = 0; i < 2; i++) {
        g.n_tokens = i == 0 ? 1 : 400;
        g.overflow = INK_OVERFLOW_SLIDE;
        const size_t before = h.n_allocs;
        assert_int_equal(ink_session_generate(s, "hello", 5, &g, NULL, NULL, NULL, NULL), INK_OK);
        requests[i] = h.n_allocs - before;
    }
    assert_int_equal(requests[0], requests[1]);
    ink_session_free(s);
    opened_close(&o);
}

static void test_fork_shares_pages(void **state) {
    (void)state;
    heap h = {0};
    tiny_model tiny = tiny_model_defaults();
    tiny.n_ctx = 1024;
    tiny.n_layer = 4;
    opened o = opened_tiny(&tiny, 1, &h);
    ink_session *s = opened_session(&o, 0, INK_KV_F16, 1), *child = NULL;
    static ink_token ids[1000];
    opened_ids(ids, 1000, tiny.n_vocab, 8);
    opened_eval(s, ids, 1000, 0);
    ink_memory told = {0};
    const ink_source source = {
        .size = sizeof source, .kind = INK_SOURCE_MEMORY, .data = o.bytes, .bytes = o.n_bytes};
    assert_int_equal(ink_measure(&source, NULL, &told, NULL), INK_OK);
    const size_t before = h.live_bytes;
    assert_int_equal(ink_session_fork(s, &child, NULL), INK_OK);
    const size_t taken = h.live_bytes - before;
    print_message("a fork of 1,000 tokens takes %zu bytes; the cache %zu\n", taken,
                  (size_t)told.kv_bytes);
    assert_true(taken < told.kv_bytes / 50); // tokens and logits, not pages
    ink_session_free(child);
    assert_int_equal(h.live_bytes, before);
    ink_session_free(s);
    opened_close(&o);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_measure),
        cmocka_unit_test(test_measure_refuses),
        cmocka_unit_test(test_decode_step_allocates_nothing),
        cmocka_unit_test(test_generation_allocates_at_its_start_only),
        cmocka_unit_test(test_fork_shares_pages),
    };
    return cmocka_run_group_tests_name("memory promises", tests, NULL, NULL);
}
