// SPDX-License-Identifier: MIT
// Sessions through the public calls: what is refused, and that a refusal changes nothing.
#include "opened.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static opened o;
static uint32_t n_vocab;

static int set_up(void **state) {
    (void)state;
    const tiny_model tiny = tiny_model_defaults();
    o = opened_tiny(&tiny, 2, NULL);
    n_vocab = tiny.n_vocab;
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    opened_close(&o);
    return 0;
}

static float *copy_logits(const ink_session *s, size_t row) {
    size_t n = 0;
    const float *logits = ink_session_logits(s, row, &n);
    assert_non_null(logits);
    assert_int_equal(n, n_vocab);
    float *copy = malloc(n * sizeof *copy);
    assert_non_null(copy);
    memcpy(copy, logits, n * sizeof *copy);
    return copy;
}

static void test_new_refuses(void **state) {
    (void)state;
    ink_session *s = (ink_session *)&o;
    ink_error error = {0};
    ink_session_options options;
    ink_session_options_init(&options, sizeof options);
    options.n_ctx = 161;
    assert_int_equal(ink_session_new(&s, o.model, &options, &error), INK_E_LIMIT);
    assert_non_null(strstr(error.message, "161"));
    assert_ptr_equal(s, &o);
    ink_session_options_init(&options, sizeof options);
    options.kv_type = 9;
    assert_int_equal(ink_session_new(&s, o.model, &options, &error), INK_E_ARG);
    ink_session_options_init(&options, sizeof options);
    options.n_logits = 200;
    assert_int_equal(ink_session_new(&s, o.model, &options, &error), INK_E_LIMIT);
    options.size = 0;
    assert_int_equal(ink_session_new(&s, o.model, &options, &error), INK_E_ARG);
    assert_int_equal(ink_session_new(NULL, o.model, NULL, &error), INK_E_ARG);
    assert_int_equal(ink_session_new(&s, NULL, NULL, &error), INK_E_ARG);
}

// A newer program with a longer struct works as long as it sets nothing that this version lacks.
static void test_options_of_other_versions(void **state) {
    (void)state;
    struct {
        ink_session_options known;
        uint64_t later;
    } longer;
    ink_session *s = NULL;
    ink_error error = {0};
    ink_session_options_init(&longer.known, sizeof longer);
    assert_int_equal(longer.known.size, sizeof longer);
    assert_int_equal(ink_session_new(&s, o.model, &longer.known, &error), INK_OK);
    ink_session_free(s);
    longer.later = 1;
    assert_int_equal(ink_session_new(&s, o.model, &longer.known, &error), INK_E_UNSUPPORTED);

    ink_session_options shorter;
    memset(&shorter, 0xff, sizeof shorter);
    ink_session_options_init(&shorter, offsetof(ink_session_options, kv_type));
    assert_int_equal(shorter.kv_type, UINT32_MAX); // beyond its size nothing was written
    assert_int_equal(ink_session_new(&s, o.model, &shorter, &error), INK_OK);
    ink_session_free(s);
}

static void expect_refusal(const ink_span *spans, size_t n, ink_status wanted, const char *word) {
    ink_error error = {0};
    assert_int_equal(ink_eval(spans, n, &error), wanted);
    assert_int_equal(error.status, wanted);
    if (strstr(error.message, word) == NULL) fail_msg("\"%s\" lacks \"%s\"", error.message, word);
}

static void test_eval_refuses(void **state) {
    (void)state;
    ink_session *a = opened_session(&o, 64, INK_KV_F16, 2),
                *b = opened_session(&o, 64, INK_KV_F16, 1);
    ink_token ids[80];
    opened_ids(ids, 80, n_vocab, 3);
    opened_eval(a, ids, 10, 0);
    float *before = copy_logits(a, 0);

    const ink_token bad[] = {1, (ink_token)n_vocab}, negative[] = {-1};
    expect_refusal(NULL, 0, INK_E_ARG, "no spans");
    expect_refusal(&(ink_span){NULL, ids, 1, 0, NULL}, 1, INK_E_ARG, "NULL");
    expect_refusal(&(ink_span){a, ids, 0, 0, NULL}, 1, INK_E_ARG, "no tokens");
    expect_refusal(&(ink_span){a, bad, 2, 0, NULL}, 1, INK_E_TOKEN, "300");
    expect_refusal(&(ink_span){a, negative, 1, 0, NULL}, 1, INK_E_TOKEN, "-1");
    expect_refusal(&(ink_span){a, ids, 55, 0, NULL}, 1, INK_E_CONTEXT, "64");
    expect_refusal(&(ink_span){a, ids, 3, INK_SPAN_ALL_LOGITS, NULL}, 1, INK_E_LIMIT, "2");
    expect_refusal((ink_span[]){{a, ids, 1, 0, NULL}, {a, ids, 1, 0, NULL}}, 2, INK_E_ARG,
                   "same session");
    // All or nothing: b's part would have been fine.
    expect_refusal((ink_span[]){{b, ids, 1, 0, NULL}, {a, ids, 55, 0, NULL}}, 2, INK_E_CONTEXT,
                   "span 1");
    assert_int_equal(ink_session_n_past(b), 0);
    assert_int_equal(ink_session_n_past(a), 10);
    float *after = copy_logits(a, 0);
    assert_memory_equal(before, after, n_vocab * sizeof(float));
    free(before);
    free(after);

    const tiny_model tiny = tiny_model_defaults();
    opened other = opened_tiny(&tiny, 1, NULL);
    ink_session *c = opened_session(&other, 64, INK_KV_F16, 1);
    expect_refusal((ink_span[]){{a, ids, 1, 0, NULL}, {c, ids, 1, 0, NULL}}, 2, INK_E_ARG,
                   "another model");
    ink_session_free(c);
    opened_close(&other);
    assert_int_equal(ink_session_free(a), INK_OK);
    assert_int_equal(ink_session_free(b), INK_OK);
}

static void test_accessors(void **state) {
    (void)state;
    ink_session *s = opened_session(&o, 0, INK_KV_F16, 4);
    ink_token ids[6];
    size_t n = 99;
    opened_ids(ids, 6, n_vocab, 4);
    assert_int_equal(ink_session_n_ctx(s), 160);
    assert_null(ink_session_logits(s, 0, NULL));
    opened_eval(s, ids, 2, 0);
    const ink_span all = {s, ids + 2, 4, INK_SPAN_ALL_LOGITS, NULL};
    assert_int_equal(ink_eval(&all, 1, NULL), INK_OK);
    assert_non_null(ink_session_logits(s, 3, NULL));
    assert_null(ink_session_logits(s, 4, NULL));
    assert_memory_equal(ink_session_tokens(s, &n), ids, sizeof ids);
    assert_int_equal(n, 6);
    assert_int_equal(ink_session_rewind(s, 7), INK_E_ARG);
    assert_int_equal(ink_session_rewind(s, 6), INK_OK);
    assert_non_null(ink_session_logits(s, 3, NULL)); // nothing was forgotten
    assert_int_equal(ink_session_rewind(s, 3), INK_OK);
    assert_null(ink_session_logits(s, 0, NULL));
    assert_int_equal(ink_session_n_past(s), 3);
    assert_int_equal(ink_session_free(s), INK_OK);
    assert_int_equal(ink_session_n_past(NULL), 0);
    assert_int_equal(ink_session_free(NULL), INK_OK);
    assert_int_equal(ink_session_rewind(NULL, 0), INK_E_ARG);
}

// Parent and children may end in any order, and the model before all of them.
static void test_any_order_of_release(void **state) {
    (void)state;
    for (int order = 0; order < 2; order++) {
        heap h = {0};
        const tiny_model tiny = tiny_model_defaults();
        opened own = opened_tiny(&tiny, 2, &h);
        ink_session *a = opened_session(&own, 160, INK_KV_F16, 1), *b = NULL, *c = NULL;
        ink_token ids[70];
        opened_ids(ids, 70, n_vocab, 5);
        opened_eval(a, ids, 70, 0);
        assert_int_equal(ink_session_fork(a, &b, NULL), INK_OK);
        assert_int_equal(ink_session_fork(b, &c, NULL), INK_OK);
        opened_eval(b, ids, 5, 0);
        ink_model_unref(own.model);
        ink_runtime_unref(own.runtime);
        ink_session *const first[] = {a, c, b}, *const second[] = {b, a, c};
        for (int i = 0; i < 3; i++) ink_session_free(order == 0 ? first[i] : second[i]);
        assert_int_equal(h.live_blocks, 0);
        assert_int_equal(h.wrong_releases, 0);
        free(own.bytes);
    }
}

// --- two threads ---------------------------------------------------------------------------------

typedef struct intruder {
    ink_session *session;
    ink_status eval, fork, rewind, free, generate;
} intruder;

static void *intrude(void *arg) {
    intruder *in = arg;
    const ink_token id = 1;
    const ink_span span = {in->session, &id, 1, 0, NULL};
    ink_session *out = NULL;
    in->eval = ink_eval(&span, 1, NULL);
    in->fork = ink_session_fork(in->session, &out, NULL);
    in->rewind = ink_session_rewind(in->session, 0);
    in->free = ink_session_free(in->session);
    in->generate = ink_session_generate(in->session, "x", 1, NULL, NULL, NULL, NULL, NULL);
    return NULL;
}

// While the first thread is inside (its callback runs), a second one is told that it is busy.
static int let_somebody_in(void *user, const ink_piece *piece) {
    (void)piece;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, intrude, user), 0);
    pthread_join(thread, NULL);
    return 1;
}

static void test_second_thread_is_busy(void **state) {
    (void)state;
    intruder in = {.session = opened_session(&o, 64, INK_KV_F16, 1)};
    assert_int_equal(
        ink_session_generate(in.session, "hello", 5, NULL, let_somebody_in, &in, NULL, NULL),
        INK_OK);
    assert_int_equal(in.eval, INK_E_BUSY);
    assert_int_equal(in.fork, INK_E_BUSY);
    assert_int_equal(in.rewind, INK_E_BUSY);
    assert_int_equal(in.free, INK_E_BUSY);
    assert_int_equal(in.generate, INK_E_BUSY);
    assert_int_equal(ink_session_free(in.session), INK_OK);
}

static int call_back_in(void *user, const ink_piece *piece) {
    (void)piece;
    intrude(user);
    return 1;
}

static void test_callback_is_reentrant(void **state) {
    (void)state;
    intruder in = {.session = opened_session(&o, 64, INK_KV_F16, 1)};
    assert_int_equal(
        ink_session_generate(in.session, "hello", 5, NULL, call_back_in, &in, NULL, NULL), INK_OK);
    assert_int_equal(in.eval, INK_E_REENTRANT);
    assert_int_equal(in.fork, INK_E_REENTRANT);
    assert_int_equal(in.rewind, INK_E_REENTRANT);
    assert_int_equal(in.free, INK_E_REENTRANT);
    assert_int_equal(in.generate, INK_E_REENTRANT);
    assert_int_equal(ink_session_free(in.session), INK_OK);
}

// Many threads, each with a session of one model and one pool: the same logits as alone.
typedef struct worker {
    ink_session *session;
    const ink_token *ids;
    float *logits;
} worker;

static void *work(void *arg) {
    worker *w = arg;
    for (int i = 0; i < 10; i++) {
        ink_session_rewind(w->session, 0);
        opened_eval(w->session, w->ids, 40, 9);
    }
    w->logits = copy_logits(w->session, 0);
    return NULL;
}

static void test_sessions_side_by_side(void **state) {
    (void)state;
    enum { N = 4 };
    ink_token ids[40];
    worker workers[N];
    pthread_t threads[N];
    opened_ids(ids, 40, n_vocab, 6);
    for (int i = 0; i < N; i++) {
        workers[i] = (worker){opened_session(&o, 64, INK_KV_F16, 1), ids, NULL};
        assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    }
    for (int i = 0; i < N; i++) pthread_join(threads[i], NULL);
    for (int i = 1; i < N; i++)
        assert_memory_equal(workers[i].logits, workers[0].logits, n_vocab * sizeof(float));
    for (int i = 0; i < N; i++) free(workers[i].logits);
    for (int i = 0; i < N; i++) ink_session_free(workers[i].session);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_new_refuses),
        cmocka_unit_test(test_options_of_other_versions),
        cmocka_unit_test(test_eval_refuses),
        cmocka_unit_test(test_accessors),
        cmocka_unit_test(test_any_order_of_release),
        cmocka_unit_test(test_second_thread_is_busy),
        cmocka_unit_test(test_callback_is_reentrant),
        cmocka_unit_test(test_sessions_side_by_side),
    };
    return cmocka_run_group_tests_name("session", tests, set_up, tear_down);
}
