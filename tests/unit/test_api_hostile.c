// SPDX-License-Identifier: MIT
// Callers that get things wrong, allocators that fail at the worst moment, and odd sizes of models.
#include "opened.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static opened o;
static heap memory;
static uint32_t n_vocab;

static int set_up(void **state) {
    (void)state;
    const tiny_model tiny = tiny_model_defaults();
    o = opened_tiny(&tiny, 1, &memory);
    n_vocab = tiny.n_vocab;
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    opened_close(&o);
    return atomic_load(&memory.live_blocks) != 0;
}

static void must_not_log(void *user, int level, const char *message) {
    (void)user;
    (void)level;
    fail_msg("%s", message);
}

// Half of a pointer was taken for a pointer.
static void test_a_size_inside_of_a_field(void **state) {
    (void)state;
    ink_runtime *runtime = NULL;
    ink_runtime_options ro;
    ink_runtime_options_init(&ro, sizeof ro);
    ro.n_threads = 1000; // is told to the log
    ro.log = must_not_log;
    ro.size = offsetof(ink_runtime_options, log) + 4;
    assert_int_equal(ink_runtime_new(&runtime, &ro, NULL), INK_E_ARG);
    assert_null(runtime);

    ink_session *s = opened_session(&o, 20, INK_KV_F16, 1);
    ink_generate_options g;
    ink_generate_options_init(&g, sizeof g);
    g.size = offsetof(ink_generate_options, sampler) + 4;
    ink_error error = {0};
    assert_int_equal(ink_session_generate(s, "a", 1, &g, NULL, NULL, NULL, &error), INK_E_ARG);
    assert_non_null(strstr(error.message, "ink_generate_options"));
    g.size = offsetof(ink_generate_options, sampler); // a version without: right
    g.n_tokens = 1;
    assert_int_equal(ink_session_generate(s, "a", 1, &g, NULL, NULL, NULL, &error), INK_OK);
    ink_session_free(s);
}

// The limits of text are looked at before the text is.
static void test_too_much_text(void **state) {
    (void)state;
    ink_error error = {0};
    size_t n = 77;
    const size_t most = (size_t)1 << 30;
    assert_int_equal(ink_tokenize(o.model, "a", most + 1, 0, NULL, 0, &n, NULL), INK_E_LIMIT);
    assert_int_equal(n, 77);
    ink_session *s = opened_session(&o, 20, INK_KV_F16, 1);
    assert_int_equal(ink_session_generate(s, "a", 2 * most, NULL, NULL, NULL, NULL, &error),
                     INK_E_LIMIT);
    assert_int_equal(ink_session_n_past(s), 0);
    ink_session_free(s);
}

// A flag of a later version changes what a call does: it must not be passed over.
static void test_unknown_flags(void **state) {
    (void)state;
    ink_error error = {0};
    ink_token id = 1;
    char text[8];
    size_t n = 77;
    assert_int_equal(ink_tokenize(o.model, "a", 1, 4, &id, 1, &n, NULL), INK_E_UNSUPPORTED);
    assert_int_equal(ink_detokenize(o.model, &id, 1, 2, text, 8, &n), INK_E_UNSUPPORTED);
    assert_int_equal(n, 77);
    ink_session *s = opened_session(&o, 20, INK_KV_F16, 1);
    const ink_span span = {s, &id, 1, 2, NULL};
    assert_int_equal(ink_eval(&span, 1, &error), INK_E_UNSUPPORTED);
    assert_non_null(strstr(error.message, "ink_span"));
    const ink_span later = {s, &id, 1, 0, &o};
    assert_int_equal(ink_eval(&later, 1, &error), INK_E_UNSUPPORTED);
    assert_non_null(strstr(error.message, "reserved"));
    ink_generate_options g;
    ink_generate_options_init(&g, sizeof g);
    g.flags = 1u << 31;
    assert_int_equal(ink_session_generate(s, "a", 1, &g, NULL, NULL, NULL, &error),
                     INK_E_UNSUPPORTED);
    assert_int_equal(ink_session_n_past(s), 0);
    ink_session_free(s);
    ink_source source = {.size = sizeof source,
                         .kind = INK_SOURCE_MEMORY,
                         .flags = 2,
                         .data = o.bytes,
                         .bytes = o.n_bytes};
    ink_model *model = NULL;
    assert_int_equal(ink_model_open(&model, o.runtime, &source, NULL, &error), INK_E_UNSUPPORTED);
    source.flags = 0;
    ink_model_options mo;
    ink_model_options_init(&mo, sizeof mo);
    mo.flags = 2;
    assert_int_equal(ink_model_open(&model, o.runtime, &source, &mo, &error), INK_E_UNSUPPORTED);
    mo.flags = INK_MODEL_INSPECT;
    assert_int_equal(ink_model_open(&model, o.runtime, &source, &mo, &error), INK_OK);
    ink_sampler *sampler = NULL;
    assert_int_equal(ink_sampler_new(&sampler, model, NULL, NULL, &error), INK_E_UNSUPPORTED);
    ink_model_unref(model);
}

// What a report's size field says: before, the room; after, what was filled.
static void test_sizes_of_reports(void **state) {
    (void)state;
    struct {
        ink_model_info info;
        uint32_t later; // a field of a later version
    } longer = {.info.size = sizeof longer, .later = 7};
    assert_int_equal(ink_model_get_info(o.model, &longer.info), INK_OK);
    assert_int_equal(longer.info.size, sizeof longer.info);
    assert_int_equal(longer.later, 7);
    ink_model_info shorter = {.size = offsetof(ink_model_info, n_embd), .n_embd = 9};
    assert_int_equal(ink_model_get_info(o.model, &shorter), INK_OK);
    assert_int_equal(shorter.size, offsetof(ink_model_info, n_embd));
    assert_int_equal(shorter.n_vocab, n_vocab);
    assert_int_equal(shorter.n_embd, 9);
}

static void expect_same_logits(ink_session *s, const ink_token *ids, size_t n) {
    ink_session *fresh = opened_session(&o, 0, INK_KV_F16, 1);
    opened_eval(fresh, ids, n, 0);
    assert_memory_equal(ink_session_logits(s, 0, NULL), ink_session_logits(fresh, 0, NULL),
                        n_vocab * sizeof(float));
    ink_session_free(fresh);
}

// Without logits and without text the last token is evaluated again. A failure on the way lost it.
// The fork shares its pages, the last of which holds nothing but that token.
static void a_failed_prompt(uint32_t n_past) {
    ink_token ids[80];
    opened_ids(ids, 80, n_vocab, n_past);
    ink_session *parent = opened_session(&o, 0, INK_KV_F16, 1), *s = NULL;
    opened_eval(parent, ids, 75, 0);
    ink_sampler *greedy = NULL;
    assert_int_equal(ink_sampler_new(&greedy, o.model, "greedy", NULL, NULL), INK_OK);
    ink_generate_options g;
    ink_generate_options_init(&g, sizeof g);
    g.sampler = greedy;
    g.n_tokens = 0;
    size_t n_failed = 0;
    for (size_t k = 1;; k++) {
        assert_int_equal(ink_session_fork(parent, &s, NULL), INK_OK);
        assert_int_equal(ink_session_rewind(s, n_past), INK_OK);
        atomic_store(&memory.fail_at, atomic_load(&memory.n_allocs) + k);
        const ink_status status = ink_session_generate(s, NULL, 0, &g, NULL, NULL, NULL, NULL);
        atomic_store(&memory.fail_at, 0);
        assert_int_equal(ink_session_n_past(s), n_past);
        assert_memory_equal(ink_session_tokens(s, NULL), ids, n_past * sizeof *ids);
        if (status == INK_OK) break;
        assert_int_equal(status, INK_E_NOMEM);
        n_failed++;
        opened_eval(s, ids + n_past, 3, 0); // and it can go on
        expect_same_logits(s, ids, n_past + 3);
        ink_session_free(s);
    }
    assert_true(n_failed >= 4); // timeline, text, page, working memory
    expect_same_logits(s, ids, n_past);
    ink_session_free(s);
    opened_eval(parent, ids + 75, 1, 0);
    expect_same_logits(parent, ids, 76);
    ink_session_free(parent);
    ink_sampler_free(greedy);
}

static void test_a_failed_prompt_gives_the_past_back(void **state) {
    (void)state;
    a_failed_prompt(1);
    a_failed_prompt(64);
    a_failed_prompt(65);
    a_failed_prompt(70);
}

typedef struct last_piece {
    char text[16];
    ink_token token;
    float logprob;
    int n;
} last_piece;

static int keep_last(void *user, const ink_piece *piece) {
    last_piece *last = user;
    snprintf(last->text, sizeof last->text, "%s", piece->text);
    last->token = piece->token;
    last->logprob = piece->logprob;
    last->n++;
    return 0;
}

// "a" could begin the stop string and is held back until the end token comes. The piece is of "a".
static void test_held_text_is_of_its_token(void **state) {
    (void)state;
    ink_token a;
    size_t n = 0;
    assert_int_equal(ink_tokenize(o.model, "a", 1, 0, &a, 1, &n, NULL), INK_OK);
    char chain[128];
    snprintf(chain, sizeof chain, "logit_bias=%d:1000,%u:900;penalties=1,64,500,0;greedy", (int)a,
             (unsigned)(n_vocab - 1));
    ink_sampler *sampler = NULL;
    assert_int_equal(ink_sampler_new(&sampler, o.model, chain, NULL, NULL), INK_OK);
    static const char *const stop[] = {"az"};
    ink_generate_options g;
    ink_generate_options_init(&g, sizeof g);
    g.sampler = sampler;
    g.stop = stop;
    g.n_stop = 1;
    g.flags = INK_GENERATE_LOGPROBS;
    ink_session *s = opened_session(&o, 0, INK_KV_F32, 1);
    last_piece last = {.n = 0};
    ink_result r = {0};
    assert_int_equal(ink_session_generate(s, "b", 1, &g, keep_last, &last, &r, NULL), INK_OK);
    assert_int_equal(r.stop, INK_STOP_END);
    assert_int_equal(r.n_generated, 1);
    assert_int_equal(last.n, 1);
    assert_string_equal(last.text, "a");
    assert_int_equal(last.token, a);

    ink_session *b = opened_session(&o, 0, INK_KV_F32, 1); // its probability after "b"
    ink_token id;
    double sum = 0;
    assert_int_equal(ink_tokenize(o.model, "b", 1, 0, &id, 1, &n, NULL), INK_OK);
    opened_eval(b, &id, 1, 0);
    const float *logits = ink_session_logits(b, 0, NULL);
    for (size_t i = 0; i < n_vocab; i++) sum += exp((double)logits[i]);
    assert_true(fabs((double)last.logprob - ((double)logits[a] - log(sum))) < 1e-5);
    ink_session_free(b);
    ink_session_free(s);
    ink_sampler_free(sampler);
}

static void test_a_sampler_of_another_vocabulary(void **state) {
    (void)state;
    tiny_model tiny = tiny_model_defaults();
    tiny.n_vocab = 257;
    opened other = opened_tiny(&tiny, 1, NULL);
    ink_sampler *sampler = NULL;
    ink_error error = {0};
    assert_int_equal(ink_sampler_new(&sampler, other.model, NULL, NULL, NULL), INK_OK);
    opened_close(&other); // a sampler stands alone
    ink_session *s = opened_session(&o, 0, INK_KV_F16, 1);
    ink_generate_options g;
    ink_generate_options_init(&g, sizeof g);
    g.sampler = sampler;
    assert_int_equal(ink_session_generate(s, "abc", 3, &g, NULL, NULL, NULL, &error), INK_E_ARG);
    assert_non_null(strstr(error.message, "257"));
    assert_int_equal(ink_session_n_past(s), 0); // said before the prompt was evaluated
    ink_session_free(s);
    ink_sampler_free(sampler);
}

static void choices(ink_session *s, const ink_sampler *sampler, ink_token *out, size_t n) {
    out[0] = 5;
    for (size_t i = 0; i + 1 < n; i++) {
        opened_eval(s, out + i, 1, 0);
        assert_int_equal(ink_sample(s, sampler, out + i + 1, NULL), INK_OK);
    }
}

// The count of what a sliding context has forgotten went on after a rewind to nothing.
static void test_an_emptied_session_is_as_new(void **state) {
    (void)state;
    ink_token first[12], again[12];
    ink_sampler_options so;
    ink_sampler_options_init(&so, sizeof so);
    so.seed_set = 1;
    so.seed = 3;
    ink_sampler *sampler = NULL;
    assert_int_equal(ink_sampler_new(&sampler, o.model, "temp=3", &so, NULL), INK_OK);
    ink_session *s = opened_session(&o, 16, INK_KV_F16, 1);
    choices(s, sampler, first, 12);
    assert_int_equal(ink_session_rewind(s, 0), INK_OK);
    ink_generate_options g;
    ink_generate_options_init(&g, sizeof g);
    g.sampler = sampler;
    g.flags = INK_GENERATE_NO_END;
    g.n_tokens = 40;
    g.overflow = INK_OVERFLOW_SLIDE;
    assert_int_equal(ink_session_generate(s, "hello", 5, &g, NULL, NULL, NULL, NULL), INK_OK);
    assert_int_equal(ink_session_rewind(s, 0), INK_OK);
    choices(s, sampler, again, 12);
    assert_memory_equal(first, again, sizeof first);
    ink_session_free(s);
    ink_sampler_free(sampler);
}

// Sizes at the edges of what a model may have: one value a head, the largest head, lengths that no
// kernel's step divides, the smallest vocabulary, a context of one position.
static void test_odd_models(void **state) {
    (void)state;
    static const uint32_t sizes[][5] = {// n_embd, n_head, n_ff, n_vocab, n_ctx
                                        {8, 8, 1, 257, 70},
                                        {1024, 1, 3, 257, 3},
                                        {33, 3, 65, 258, 70},
                                        {1, 1, 1, 257, 1},
                                        {34, 2, 31, 300, 2}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        tiny_model tiny = tiny_model_defaults();
        tiny.n_layer = 1;
        tiny.n_embd = sizes[i][0];
        tiny.n_head = sizes[i][1];
        tiny.n_ff = sizes[i][2];
        tiny.n_vocab = sizes[i][3];
        tiny.n_ctx = sizes[i][4];
        opened odd = opened_tiny(&tiny, 2, NULL);
        for (uint32_t kv = 0; kv < 3; kv++) {
            ink_token ids[70];
            opened_ids(ids, 70, tiny.n_vocab, i);
            ink_session *a = opened_session(&odd, 0, kv, tiny.n_ctx);
            ink_session *b = opened_session(&odd, 0, kv, 1);
            const ink_span whole = {a, ids, tiny.n_ctx, INK_SPAN_ALL_LOGITS, NULL};
            assert_int_equal(ink_eval(&whole, 1, NULL), INK_OK);
            for (uint32_t k = 0; k < tiny.n_ctx; k++) {
                opened_eval(b, ids + k, 1, 0);
                assert_memory_equal(ink_session_logits(a, k, NULL), ink_session_logits(b, 0, NULL),
                                    tiny.n_vocab * sizeof(float));
            }
            const ink_span more = {a, ids, 1, 0, NULL};
            assert_int_equal(ink_eval(&more, 1, NULL), INK_E_CONTEXT);
            ink_session_free(a);
            ink_session_free(b);
        }
        opened_close(&odd);
    }
}

// Thousands of sessions in one pass, more than its working memory takes at once.
static void test_many_spans(void **state) {
    (void)state;
    const bool all = getenv("INKLING_TEST_LONG") != NULL;
    const uint32_t n = all ? 10000 : 1000;
    if (!all) print_message("left out: 9000 of 10000 spans (INKLING_TEST_LONG)\n");
    ink_span *spans = calloc(n + 1, sizeof *spans);
    ink_token *ids = calloc(n, sizeof *ids);
    assert_non_null(spans);
    assert_non_null(ids);
    opened_ids(ids, n, n_vocab, 5);
    for (uint32_t i = 0; i < n; i++)
        spans[i] = (ink_span){opened_session(&o, 1 + i % 3, i % 3, 1), &ids[i], 1, 0, NULL};
    spans[n] = spans[7];
    ink_error error = {0};
    assert_int_equal(ink_eval(spans, n + 1, &error), INK_E_ARG); // one of them twice
    assert_non_null(strstr(error.message, "7"));
    assert_int_equal(ink_eval(spans, n, &error), INK_OK);
    for (uint32_t i = 0; i < n; i += i < 12 ? 1 : 97) {
        ink_session *alone = opened_session(&o, 1, i % 3, 1);
        opened_eval(alone, &ids[i], 1, 0);
        assert_memory_equal(ink_session_logits(alone, 0, NULL),
                            ink_session_logits(spans[i].session, 0, NULL), n_vocab * sizeof(float));
        ink_session_free(alone);
    }
    for (uint32_t i = 0; i < n; i++) assert_int_equal(ink_session_free(spans[i].session), INK_OK);
    free(spans);
    free(ids);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_size_inside_of_a_field),
        cmocka_unit_test(test_too_much_text),
        cmocka_unit_test(test_unknown_flags),
        cmocka_unit_test(test_sizes_of_reports),
        cmocka_unit_test(test_a_failed_prompt_gives_the_past_back),
        cmocka_unit_test(test_held_text_is_of_its_token),
        cmocka_unit_test(test_a_sampler_of_another_vocabulary),
        cmocka_unit_test(test_an_emptied_session_is_as_new),
        cmocka_unit_test(test_odd_models),
        cmocka_unit_test(test_many_spans),
    };
    return cmocka_run_group_tests_name("hostile callers", tests, set_up, tear_down);
}
