// SPDX-License-Identifier: MIT
// The n-th request for memory fails, for every n, through everything the public calls do: each time
// a clear status, nothing leaked, and what was made before still works.
#include "opened.h"
#include "tiny_adapter.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static uint8_t *model_bytes, *adapter_bytes;
static size_t n_model_bytes, n_adapter_bytes;

static ink_status forks(ink_session *s, ink_error *error) {
    ink_session *child = NULL;
    const ink_token id = 5;
    ink_status status = ink_session_fork(s, &child, error);
    if (status == INK_OK) status = ink_eval(&(ink_span){child, &id, 1, 0, NULL}, 1, error);
    if (status == INK_OK)
        status = ink_eval(&(ink_span){s, &id, 1, 0, NULL}, 1, error); // copies a shared page
    ink_session_free(child);
    return status;
}

static int swallow(void *user, const ink_piece *piece) {
    *(size_t *)user += piece->n_choices;
    return 0;
}

// All that can be told beside the text, with a filter that holds some of it back.
static ink_status tells(ink_session *s, ink_error *error) {
    const char *const phrase[] = {"no such words"};
    const ink_token ids[] = {5, 6, 7};
    float embedding[64];
    size_t n = 0, n_told = 0;
    ink_generate_options g;
    ink_generate_options_init(&g, sizeof g);
    ink_status status = ink_filter_new(&g.filter, NULL, phrase, 1, error);
    if (status != INK_OK) return status;
    g.flags = INK_GENERATE_FRESH | INK_GENERATE_ECHO | INK_GENERATE_LOGPROBS | INK_GENERATE_EMBED;
    g.n_tokens = 40;
    g.n_top_logprobs = 3;
    g.prompt_tokens = ids;
    g.n_prompt_tokens = 3;
    status = ink_session_generate(s, " hello", 6, &g, swallow, &n_told, NULL, error);
    if (status == INK_OK) assert_true(n_told > 3);
    if (status == INK_OK) status = ink_session_embed(s, "hello", 5, embedding, 64, &n, error);
    ink_filter_unref(g.filter);
    return status;
}

static ink_status sessions(ink_model *model, ink_error *error) {
    ink_session *s = NULL;
    ink_generate_options g;
    ink_generate_options_init(&g, sizeof g);
    const char *const stop[] = {"no such words"};
    g.stop = stop;
    g.n_stop = 1;
    g.n_tokens = 4;
    ink_status status = ink_session_new(&s, model, NULL, error);
    if (status != INK_OK) return status;
    status = ink_session_generate(s, "hello there, a word of some length", 34, &g, NULL, NULL, NULL,
                                  error);
    if (status == INK_E_NOMEM) assert_int_equal(ink_session_n_past(s), 0);
    if (status == INK_OK) status = tells(s, error);
    if (status == INK_OK) status = forks(s, error);
    if (status == INK_E_NOMEM) { // the session is as good as before
        g.flags = INK_GENERATE_FRESH;
        assert_int_equal(ink_session_generate(s, "again", 5, &g, NULL, NULL, NULL, NULL), INK_OK);
    }
    ink_session_free(s);
    return status;
}

// A session with adapters, a fork of it, and typing with them.
static ink_status adapted(ink_model *model, ink_error *error) {
    const ink_source source = {.size = sizeof source,
                               .kind = INK_SOURCE_MEMORY,
                               .flags = INK_SOURCE_COPY,
                               .data = adapter_bytes,
                               .bytes = n_adapter_bytes};
    ink_adapter_use uses[] = {{NULL, 1}, {NULL, 0.5f}};
    ink_session *s = NULL;
    ink_typing *typing = NULL;
    ink_session_options so;
    ink_typing_options to;
    ink_session_options_init(&so, sizeof so);
    ink_typing_options_init(&to, sizeof to);
    so.adapters = to.adapters = uses;
    so.n_adapters = to.n_adapters = 2;
    to.n_alternatives = 2;
    ink_status status = ink_adapter_open(&uses[0].adapter, model, &source, error);
    if (status == INK_OK) status = ink_adapter_open(&uses[1].adapter, model, &source, error);
    if (status == INK_OK) status = ink_session_new(&s, model, &so, error);
    if (status == INK_OK) status = ink_typing_new(&typing, model, &to, error);
    for (size_t i = 0; i < 2; i++) ink_adapter_unref(uses[i].adapter);
    if (status == INK_OK) status = forks(s, error);
    if (status == INK_OK) status = ink_typing_update(typing, "some ", 5, 5, NULL, error);
    if (status == INK_OK) status = ink_typing_run(typing, UINT32_MAX, NULL, error);
    ink_typing_free(typing);
    ink_session_free(s);
    return status;
}

static ink_status everything(heap *h, ink_error *error) {
    const ink_allocator allocator = heap_allocator(h);
    ink_runtime_options ro;
    ink_runtime *runtime = NULL;
    ink_model *model = NULL;
    ink_runtime_options_init(&ro, sizeof ro);
    ro.allocator = &allocator;
    ro.n_threads = 2;
    ro.flags = INK_RUNTIME_OVERSUBSCRIBE;
    ink_status status = ink_runtime_new(&runtime, &ro, error);
    if (status != INK_OK) return status;
    const ink_source source = {.size = sizeof source,
                               .kind = INK_SOURCE_MEMORY,
                               .flags = INK_SOURCE_COPY,
                               .data = model_bytes,
                               .bytes = n_model_bytes};
    status = ink_model_open(&model, runtime, &source, NULL, error);
    if (status == INK_OK) status = sessions(model, error);
    if (status == INK_OK) status = adapted(model, error);
    ink_model_unref(model);
    ink_runtime_unref(runtime);
    return status;
}

static ink_status three_lines(heap *h, ink_error *error) {
    const ink_allocator allocator = heap_allocator(h);
    const ink_source source = {.size = sizeof source,
                               .kind = INK_SOURCE_MEMORY,
                               .data = model_bytes,
                               .bytes = n_model_bytes};
    const char *const stop[] = {"no such words"};
    ink_runtime_options ro;
    ink_generate_options g;
    ink_options options;
    ink_runtime_options_init(&ro, sizeof ro);
    ro.allocator = &allocator;
    ro.n_threads = 1;
    ink_generate_options_init(&g, sizeof g);
    g.stop = stop;
    g.n_stop = 1;
    g.n_tokens = 3;
    ink_options_init(&options, sizeof options);
    options.runtime = &ro;
    options.source = &source;
    options.generate = &g;
    options.chain = "top_k;temp";
    ink_engine *ai = ink_open(NULL, &options);
    if (ai == NULL) return INK_E_NOMEM;
    ink_status status = ink_generate(ai, "hello", NULL, NULL);
    if (status != INK_OK) *error = *ink_engine_error(ai);
    assert_int_equal(ink_close(ai), INK_OK);
    return status;
}

static void fail_each(ink_status (*run)(heap *, ink_error *)) {
    size_t n = 1;
    for (;; n++) {
        heap h = {.fail_at = n};
        ink_error error = {0};
        const ink_status status = run(&h, &error);
        assert_int_equal(h.live_blocks, 0);
        assert_int_equal(h.wrong_releases, 0);
        if (h.n_allocs < n) { // nothing failed any more
            assert_int_equal(status, INK_OK);
            break;
        }
        assert_int_equal(status, INK_E_NOMEM);
    }
    print_message("%zu requests for memory failed in turn\n", n - 1);
    assert_true(n > 10);
}

static void test_everything(void **state) {
    (void)state;
    fail_each(everything);
}

static void test_three_lines(void **state) {
    (void)state;
    fail_each(three_lines);
}

static int set_up(void **state) {
    (void)state;
    const tiny_model tiny = tiny_model_defaults();
    const tiny_adapter adapter = tiny_adapter_defaults();
    model_bytes = tiny_model_bytes(&tiny, &n_model_bytes);
    adapter_bytes = tiny_adapter_bytes(&tiny, &adapter, &n_adapter_bytes);
    return model_bytes == NULL || adapter_bytes == NULL;
}

static int tear_down(void **state) {
    (void)state;
    free(model_bytes);
    free(adapter_bytes);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_everything),
                                       cmocka_unit_test(test_three_lines)};
    return cmocka_run_group_tests_name("out of memory", tests, set_up, tear_down);
}
