// SPDX-License-Identifier: MIT
// What a client hears is what ink_session_generate says, byte for byte: alone, in one pass with
// others, interrupted by others, and after its memory was taken away. n_threads: a worker runs.
#define INK_EXPERIMENTAL
#include "served.h"

#include <fenv.h>
#include <math.h>

static tiny_model tiny;
static opened own;

enum { N_ASKS = 6 };
static const ask asks[N_ASKS] = {
    {.text = "once upon a time", .priority = 1, .seed = 11, .n_tokens = 40},
    {.text = "the cat sat on the mat and looked at the moon above",
     .priority = 1,
     .seed = 12,
     .n_tokens = 30,
     .flags = INK_GENERATE_NO_END},
    {.text = "", .priority = 1, .seed = 13, .n_tokens = 50},
    {.text = "a",
     .priority = 1,
     .seed = 14,
     .n_tokens = 64,
     .chain = "top_k=3;temp=0.7",
     .flags = INK_GENERATE_LOGPROBS},
    {.text = "not much to say here, and so on and on until all the rows are used, which "
             "takes a while in a prompt of this length",
     .priority = 1,
     .seed = 15,
     .n_tokens = 9,
     .stop = "e"},
    {.text = "heal me", .priority = 1, .seed = 16, .n_tokens = 20, .flags = INK_GENERATE_HEAL},
};

static int set_up(void **state) {
    (void)state;
    tiny = tiny_model_defaults();
    own = opened_tiny(&tiny, 2, NULL);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    opened_close(&own);
    return 0;
}

static void compare_fresh(watcher *w, const ask *a) {
    collected expected;
    ink_result result = {0};
    ink_session *session = opened_session(&own, 0, INK_KV_F16, 1);
    session_ask(session, own.model, a, &expected, &result);
    assert_same(w, &expected, &result);
    ink_session_free(session);
}

static void test_alone(void **state) {
    (void)state;
    served s;
    watcher w;
    served_begin(&s, &tiny, served_options());
    served_go(&s);
    for (size_t i = 0; i < N_ASKS; i++) {
        ask a = asks[i];
        watcher_begin(&w, &s, 0);
        const uint64_t id = watcher_ask(&w, &a);
        watcher_wait(&w, 1);
        assert_int_equal(w.id, id);
        compare_fresh(&w, &a);
        assert_true(w.result.queue_ms >= 0 && w.result.first_token_ms > 0);
        assert_int_equal(ink_client_free(w.client), INK_OK);
        assert_int_equal(w.n_done, 1);
    }
    served_end(&s);
}

// One client keeps its cache: requests append to its past, or begin afresh with what fits.
static void test_one_after_the_other(void **state) {
    (void)state;
    static const uint32_t flags[] = {0, 0, INK_GENERATE_FRESH, 0, INK_GENERATE_FRESH};
    served s;
    watcher w;
    served_begin(&s, &tiny, served_options());
    served_go(&s);
    for (int trims = 0; trims < 3; trims++) {
        ink_session *session = opened_session(&own, 0, INK_KV_F16, 1);
        watcher_begin(&w, &s, 0);
        for (uint32_t i = 0; i < 5; i++) {
            collected expected;
            ink_result result = {0};
            const ask a = {.text = i < 2 ? "and then " : "and now ",
                           .seed = i,
                           .n_tokens = 6 + i,
                           .flags = flags[i],
                           .priority = i % 3};
            watcher_ask(&w, &a);
            watcher_wait(&w, i + 1);
            session_ask(session, own.model, &a, &expected, &result);
            assert_same(&w, &expected, &result);
            uint64_t bytes = 0;
            if (trims == 0) {
                assert_int_equal(w.result.n_reused, result.n_reused);
                assert_int_equal(w.result.n_evaluated, result.n_evaluated);
                continue;
            }
            if (i > 0) assert_int_equal(w.result.n_reused, 0); // it was all taken away
            served_settle(&s);
            const size_t before = s.memory.live_bytes;
            assert_int_equal(ink_service_trim(s.service, INK_TRIM_LOGITS + (uint32_t)trims, &bytes),
                             INK_OK);
            assert_true(bytes > 0);
            assert_int_equal(before - s.memory.live_bytes, bytes);
        }
        ink_session_free(session);
        ink_client_free(w.client);
    }
    served_end(&s);
}

static void test_together(void **state) {
    (void)state;
    static const uint32_t shapes[][2] = {{8, 32}, {2, 3}, {3, 3}, {4, 64}, {1, 1}};
    for (size_t shape = 0; shape < 5; shape++) {
        served s;
        watcher w[N_ASKS];
        ink_service_options o = served_options();
        o.n_batch = shapes[shape][0];
        o.n_rows = shapes[shape][1];
        served_begin(&s, &tiny, o);
        for (size_t i = 0; i < N_ASKS; i++) {
            watcher_begin(&w[i], &s, 0);
            watcher_ask(&w[i], &asks[i]);
        }
        served_go(&s);
        for (size_t i = 0; i < N_ASKS; i++) {
            watcher_wait(&w[i], 1);
            compare_fresh(&w[i], &asks[i]);
            ink_client_free(w[i].client);
        }
        served_end(&s);
    }
}

// --- preempted -----------------------------------------------------------------------------------

static watcher urgent;
static size_t n_urgent;

// Between any two pieces of the others something more urgent is done.
static void ask_urgently(watcher *w, uint64_t id) {
    (void)id;
    const ask a = {.text = "quick",
                   .priority = INK_PRIORITY_TYPING,
                   .n_tokens = 2,
                   .seed = 5,
                   .flags = INK_GENERATE_FRESH | INK_GENERATE_NO_END};
    (void)w;
    EXPECT(watcher_submit(&urgent, &a, NULL, NULL) == INK_OK);
    n_urgent++;
}

static void test_preempted(void **state) {
    (void)state;
    served s;
    watcher w[N_ASKS];
    ink_service_options o = served_options();
    o.n_queue = 4096;
    served_begin(&s, &tiny, o);
    watcher_begin(&urgent, &s, 0);
    n_urgent = 0;
    for (size_t i = 0; i < N_ASKS; i++) {
        ask a = asks[i];
        a.priority = i < 3 ? INK_PRIORITY_BACKGROUND : INK_PRIORITY_FOREGROUND;
        watcher_begin(&w[i], &s, 0);
        w[i].at_piece = ask_urgently;
        watcher_ask(&w[i], &a);
    }
    urgent.text[0] = 0;
    served_go(&s);
    for (size_t i = 0; i < N_ASKS; i++) {
        watcher_wait(&w[i], 1);
        compare_fresh(&w[i], &asks[i]);
    }
    assert_true(n_urgent > N_ASKS);
    watcher_wait(&urgent, (uint32_t)n_urgent);
    for (size_t i = 0; i < N_ASKS; i++) ink_client_free(w[i].client);
    ink_client_free(urgent.client);
    served_end(&s);
}

// --- guests that behave badly ------------------------------------------------------------------

static void round_upward(watcher *w, uint64_t id) {
    (void)w;
    (void)id;
    EXPECT(fegetround() == FE_TONEAREST);
    fesetround(FE_UPWARD);
}

static void test_rounding(void **state) {
    (void)state;
    served s;
    watcher w[3];
    served_begin(&s, &tiny, served_options());
    for (size_t i = 0; i < 3; i++) {
        watcher_begin(&w[i], &s, 0);
        w[i].at_piece = w[i].at_done = round_upward;
        watcher_ask(&w[i], &asks[i]);
    }
    served_go(&s);
    for (size_t i = 0; i < 3; i++) {
        watcher_wait(&w[i], 1);
        compare_fresh(&w[i], &asks[i]);
        ink_client_free(w[i].client);
    }
    served_end(&s);
}

static uint64_t embedding_of(const ink_model *model, ink_token token, uint32_t n_embd) {
    for (size_t i = 0; i < ink_model_n_tensors(model); i++) {
        ink_tensor_info info = {0};
        assert_int_equal(ink_model_tensor(model, i, &info), INK_OK);
        if (strcmp(info.name, "token_embd.weight") == 0)
            return info.offset + (uint64_t)token * n_embd * sizeof(float);
    }
    fail();
    return 0;
}

// A token whose embedding is a NaN: who has it in the prompt fails, in a pass with the others.
static void test_one_fails(void **state) {
    (void)state;
    served s;
    watcher w[4];
    tiny_model untied = tiny;
    untied.tied = false;
    opened reference = opened_tiny(&untied, 1, NULL);
    served_begin(&s, &untied, served_options());
    ink_token bad = -1;
    size_t n = 0;
    const float nan = NAN;
    assert_int_equal(ink_tokenize(reference.model, "~", 1, 0, &bad, 1, &n, NULL), INK_OK);
    memcpy(s.bytes + embedding_of(reference.model, bad, untied.n_embd), &nan, sizeof nan);
    for (size_t i = 0; i < 4; i++) {
        const ask a = {.text = i == 1 ? "well ~ then" : asks[i].text,
                       .priority = 1,
                       .seed = i,
                       .n_tokens = 12};
        watcher_begin(&w[i], &s, 0);
        watcher_ask(&w[i], &a);
    }
    served_go(&s);
    for (size_t i = 0; i < 4; i++) {
        collected expected;
        ink_result result = {0};
        const ask a = {.text = asks[i].text, .seed = i, .n_tokens = 12};
        watcher_wait(&w[i], 1);
        if (i == 1) {
            assert_int_equal(w[i].status, INK_E_NUMERIC);
            assert_non_null(strstr(w[i].error.message, "token_embd.weight"));
        } else {
            ink_session *session = opened_session(&reference, 0, INK_KV_F16, 1);
            session_ask(session, reference.model, &a, &expected, &result);
            assert_same(&w[i], &expected, &result);
            ink_session_free(session);
        }
        ink_client_free(w[i].client);
    }
    served_end(&s);
    opened_close(&reference);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alone),    cmocka_unit_test(test_one_after_the_other),
        cmocka_unit_test(test_together), cmocka_unit_test(test_preempted),
        cmocka_unit_test(test_rounding), cmocka_unit_test(test_one_fails),
    };
    return cmocka_run_group_tests_name("streams", tests, set_up, tear_down);
}
