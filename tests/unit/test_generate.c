// SPDX-License-Identifier: MIT
// Generation through the public calls, held against the same thing done by hand with eval and
// logits.
#include "opened.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static opened o;
static uint32_t n_vocab;
static ink_sampler *greedy;

static int set_up(void **state) {
    (void)state;
    const tiny_model tiny = tiny_model_defaults();
    o = opened_tiny(&tiny, 2, NULL);
    n_vocab = tiny.n_vocab;
    assert_int_equal(ink_sampler_new(&greedy, o.model, "greedy", NULL, NULL), INK_OK);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    ink_sampler_free(greedy);
    opened_close(&o);
    return 0;
}

static ink_generate_options defaults(void) {
    ink_generate_options g;
    ink_generate_options_init(&g, sizeof g);
    g.sampler = greedy;
    g.flags = INK_GENERATE_NO_END;
    g.n_tokens = 20;
    return g;
}

static ink_result run(ink_session *s, const char *prompt, const ink_generate_options *g,
                      collected *c) {
    ink_result r = {0};
    ink_error error = {0};
    if (ink_session_generate(s, prompt, strlen(prompt), g, c != NULL ? collect : NULL, c, &r,
                             &error) != INK_OK)
        fail_msg("%s", error.message);
    return r;
}

static ink_token best(const float *logits, size_t n) {
    size_t top = 0;
    for (size_t i = 1; i < n; i++)
        if (logits[i] > logits[top]) top = i;
    return (ink_token)top;
}

// The reference: tokens by hand. The end token (last) is never chosen. Returns the count of tokens.
static size_t by_hand(const char *prompt, ink_token *ids, size_t n_new, float *logprobs) {
    ink_session *s = opened_session(&o, 0, INK_KV_F16, 1);
    size_t n = 0;
    assert_int_equal(ink_tokenize(o.model, prompt, strlen(prompt), 0, ids, 100, &n, NULL), INK_OK);
    opened_eval(s, ids, n, 0);
    for (size_t i = 0; i < n_new; i++, n++) {
        const float *logits = ink_session_logits(s, 0, NULL);
        ids[n] = best(logits, n_vocab - 1);
        if (logprobs != NULL) {
            double sum = 0;
            for (size_t k = 0; k < n_vocab; k++) sum += exp((double)logits[k]);
            logprobs[i] = (float)(logits[ids[n]] - log(sum));
        }
        opened_eval(s, ids + n, 1, 0);
    }
    ink_session_free(s);
    return n;
}

static void expect_past(const ink_session *s, const ink_token *ids, size_t n) {
    size_t have = 0;
    const ink_token *past = ink_session_tokens(s, &have);
    assert_int_equal(have, n);
    assert_memory_equal(past, ids, n * sizeof *ids);
}

typedef struct logprob_list {
    float at[64];
    uint32_t n;
} logprob_list;

static int keep_logprob(void *user, const ink_piece *piece) {
    logprob_list *list = user;
    if (piece->n_tokens <= 64) list->at[piece->n_tokens - 1] = piece->logprob;
    list->n = piece->n_tokens;
    return 0;
}

static void test_greedy_equals_by_hand(void **state) {
    (void)state;
    ink_token ids[160];
    float expected[20];
    const size_t n = by_hand("hello there", ids, 20, expected);
    ink_session *s = opened_session(&o, 0, INK_KV_F16, 1);
    ink_generate_options g = defaults();
    g.flags |= INK_GENERATE_LOGPROBS;
    logprob_list list = {.n = 0};
    for (int i = 0; i < 64; i++) list.at[i] = NAN;
    ink_result r = {0};
    assert_int_equal(ink_session_generate(s, "hello there", 11, &g, keep_logprob, &list, &r, NULL),
                     INK_OK);
    assert_int_equal(r.stop, INK_STOP_LENGTH);
    assert_int_equal(r.n_generated, 20);
    assert_int_equal(r.n_prompt, n - 20);
    assert_int_equal(r.n_reused, 0);
    expect_past(s, ids, n);
    size_t seen = 0; // a token whose bytes are half a character has no piece of its own
    for (size_t i = 0; i < 20; i++)
        if (!isnan(list.at[i])) {
            assert_true(fabsf(list.at[i] - expected[i]) < 1e-5f);
            seen++;
        }
    assert_true(seen > 0);
    ink_session_free(s);
}

// Two halves, the second without text, give what one call gives; so does a rewind in between.
static void test_going_on(void **state) {
    (void)state;
    ink_token ids[160];
    const size_t n = by_hand("ab", ids, 24, NULL);
    ink_session *s = opened_session(&o, 0, INK_KV_F16, 1);
    ink_generate_options g = defaults();
    g.n_tokens = 12;
    run(s, "ab", &g, NULL);
    expect_past(s, ids, n - 12);
    ink_result r = run(s, "", &g, NULL);
    expect_past(s, ids, n);
    assert_int_equal(r.n_reused, n - 12);
    assert_int_equal(ink_session_rewind(s, (uint32_t)(n - 12)), INK_OK); // the logits are gone
    r = run(s, "", &g, NULL);
    assert_int_equal(r.n_reused, n - 13);
    expect_past(s, ids, n);
    ink_session_free(s);
}

static void test_fresh_reuses(void **state) {
    (void)state;
    ink_session *s = opened_session(&o, 0, INK_KV_F16, 1);
    ink_generate_options g = defaults();
    g.flags |= INK_GENERATE_FRESH;
    collected first = {.bytes = 0}, again = {.bytes = 0}, other = {.bytes = 0},
              alone = {.bytes = 0};
    const uint32_t n = run(s, "a common beginning", &g, &first).n_prompt;
    assert_int_equal(run(s, "a common beginning", &g, &again).n_reused, n - 1);
    assert_string_equal(first.text, again.text);
    const ink_result r = run(s, "a common end", &g, &other);
    assert_true(r.n_reused >= 3 && r.n_reused < r.n_prompt);
    ink_session *t = opened_session(&o, 0, INK_KV_F16, 1);
    assert_int_equal(run(t, "a common end", &g, &alone).n_reused, 0);
    assert_string_equal(other.text, alone.text);
    ink_session_free(s);
    ink_session_free(t);
}

static void test_same_seed_same_text(void **state) {
    (void)state;
    ink_sampler_options so;
    ink_sampler_options_init(&so, sizeof so);
    so.seed_set = 1;
    so.seed = 42;
    so.temperature = 1.5f;
    collected text[3] = {{.bytes = 0}, {.bytes = 0}, {.bytes = 0}};
    for (int i = 0; i < 3; i++) {
        if (i == 2) so.seed = 43;
        ink_sampler *sampler = NULL;
        assert_int_equal(ink_sampler_new(&sampler, o.model, NULL, &so, NULL), INK_OK);
        ink_session *s = opened_session(&o, 0, INK_KV_F16, 1);
        ink_generate_options g = defaults();
        g.sampler = sampler;
        g.n_tokens = 60;
        assert_int_equal(run(s, "hello", &g, &text[i]).seed, so.seed);
        ink_session_free(s);
        ink_sampler_free(sampler);
    }
    assert_string_equal(text[0].text, text[1].text);
    assert_string_not_equal(text[0].text, text[2].text);
}

static void test_empty_prompt_starts_from_end_token(void **state) {
    (void)state;
    ink_session *s = opened_session(&o, 0, INK_KV_F16, 1);
    ink_generate_options g = defaults();
    assert_int_equal(run(s, "", &g, NULL).n_prompt, 1);
    assert_int_equal(ink_session_tokens(s, NULL)[0], n_vocab - 1);
    ink_session_free(s);
}

// --- why it stopped ------------------------------------------------------------------------------

static int cancel_in_callback(void *user, const ink_piece *piece) {
    (void)piece;
    ink_session_cancel(user);
    return 0;
}

static int stop_at_once(void *user, uint32_t n_done, uint32_t n_total) {
    (void)user;
    assert_true(n_done <= n_total);
    return 1;
}

static void test_stops(void **state) {
    (void)state;
    ink_session *s = opened_session(&o, 0, INK_KV_F16, 1);
    ink_generate_options g = defaults();
    g.flags |= INK_GENERATE_FRESH;
    ink_result r = {0};
    collected c = {.stop_after = 3};
    assert_int_equal(run(s, "hello", &g, &c).stop, INK_STOP_CALLBACK);
    assert_int_equal(c.n_pieces, 3);
    assert_int_equal(ink_session_generate(s, "hello", 5, &g, cancel_in_callback, s, &r, NULL),
                     INK_OK);
    assert_int_equal(r.stop, INK_STOP_CANCELLED);
    assert_int_equal(run(s, "hello", &g, NULL).stop, INK_STOP_LENGTH); // usable as before
    g.n_tokens = 0;
    r = run(s, "hello", &g, NULL);
    assert_int_equal(r.stop, INK_STOP_LENGTH);
    assert_int_equal(r.n_generated, 0);
    g.n_tokens = 1000;
    assert_int_equal(run(s, "hello", &g, NULL).stop, INK_STOP_CONTEXT);
    assert_int_equal(ink_session_n_past(s), 160);
    g.deadline_ms = 1;
    g.overflow = INK_OVERFLOW_SLIDE;
    g.n_tokens = 1u << 30;
    assert_int_equal(run(s, "hello", &g, NULL).stop, INK_STOP_DEADLINE);
    g = defaults();
    g.progress = stop_at_once;
    const uint32_t n_past = ink_session_n_past(s);
    ink_session_rewind(s, n_past / 2);
    assert_int_equal(run(s, "more text", &g, NULL).stop, INK_STOP_CALLBACK);
    assert_int_equal(ink_session_n_past(s),
                     n_past / 2); // an appended prompt that was stopped is no past
    ink_session_free(s);
}

// The text without stop strings, cut by hand, is what a stop string must give.
static void test_stop_string(void **state) {
    (void)state;
    ink_session *s = opened_session(&o, 0, INK_KV_F16, 1);
    ink_generate_options g = defaults();
    g.flags |= INK_GENERATE_FRESH;
    g.n_tokens = 40;
    collected whole = {.bytes = 0};
    run(s, "some words", &g, &whole);
    assert_true(whole.bytes > 12);
    char stop[4] = {0};
    size_t at = whole.bytes / 2; // at the beginning of a character
    while (at > 0 && ((unsigned char)whole.text[at] & 0xc0) == 0x80) at--;
    memcpy(stop, whole.text + at, 3);
    const size_t first = (size_t)(strstr(whole.text, stop) - whole.text);
    const char *const stops[] = {"not in there at all", stop};
    g.stop = stops;
    g.n_stop = 2;
    collected cut = {.bytes = 0};
    assert_int_equal(run(s, "some words", &g, &cut).stop, INK_STOP_STRING);
    assert_int_equal(cut.bytes, first);
    assert_memory_equal(cut.text, whole.text, first);
    ink_session_free(s);
}

// A model that is sure to end: the bias makes the end token the best.
static void test_end_token(void **state) {
    (void)state;
    ink_sampler_options so;
    ink_sampler_options_init(&so, sizeof so);
    const ink_logit_bias bias = {(ink_token)n_vocab - 1, 1000};
    so.logit_bias = &bias;
    so.n_logit_bias = 1;
    ink_sampler *sampler = NULL;
    assert_int_equal(ink_sampler_new(&sampler, o.model, "logit_bias;greedy", &so, NULL), INK_OK);
    ink_session *s = opened_session(&o, 0, INK_KV_F16, 1);
    ink_generate_options g = defaults();
    g.sampler = sampler;
    collected c = {.bytes = 0};
    assert_int_equal(run(s, "hello", &g, &c).stop, INK_STOP_LENGTH); // NO_END: never chosen
    g.flags = INK_GENERATE_FRESH;
    c.bytes = 0;
    const ink_result r = run(s, "hello", &g, &c);
    assert_int_equal(r.stop, INK_STOP_END);
    assert_int_equal(r.n_generated, 0);
    assert_int_equal(c.bytes, 0);
    ink_session_free(s);
    ink_sampler_free(sampler);
}

// --- the context is full -------------------------------------------------------------------------

static char *long_prompt(size_t n) {
    char *text = malloc(n + 1);
    assert_non_null(text);
    for (size_t i = 0; i < n; i++) text[i] = (char)(i % 3 == 2 ? ' ' : 'q' + i % 7);
    text[n] = 0;
    return text;
}

static void test_overflow(void **state) {
    (void)state;
    char *prompt = long_prompt(6000);
    size_t n = 0;
    static ink_token ids[6000];
    assert_int_equal(ink_tokenize(o.model, prompt, 6000, 0, ids, 6000, &n, NULL), INK_OK);
    assert_true(n > 200);
    ink_session *s = opened_session(&o, 100, INK_KV_F16, 1);
    ink_generate_options g = defaults();
    ink_error error = {0};
    assert_int_equal(ink_session_generate(s, prompt, 6000, &g, NULL, NULL, NULL, &error),
                     INK_E_CONTEXT);
    assert_non_null(strstr(error.message, "100"));
    assert_int_equal(ink_session_n_past(s), 0);

    g.overflow = INK_OVERFLOW_LEFT;
    g.n_keep = 7;
    ink_result r = run(s, prompt, &g, NULL);
    assert_int_equal(r.stop, INK_STOP_LENGTH);
    assert_int_equal(r.n_prompt, 80);
    assert_int_equal(r.n_dropped, n - 80);
    assert_memory_equal(ink_session_tokens(s, NULL), ids, 7 * sizeof *ids);
    assert_memory_equal(ink_session_tokens(s, NULL) + 7, ids + n - 73, 73 * sizeof *ids);

    g.overflow = INK_OVERFLOW_SLIDE;
    g.n_tokens = 300;
    ink_session_rewind(s, 0);
    r = run(s, prompt, &g, NULL);
    assert_int_equal(r.stop, INK_STOP_LENGTH);
    assert_int_equal(r.n_generated, 300);
    assert_memory_equal(ink_session_tokens(s, NULL), ids, 7 * sizeof *ids);

    g.n_keep = 99;
    assert_int_equal(ink_session_generate(s, "x", 1, &g, NULL, NULL, NULL, &error), INK_E_ARG);
    assert_non_null(strstr(error.message, "n_keep"));
    g.overflow = 7;
    assert_int_equal(ink_session_generate(s, "x", 1, &g, NULL, NULL, NULL, &error), INK_E_ARG);
    ink_session_free(s);
    free(prompt);
}

// After a slide the session must hold exactly what a fresh evaluation of its tokens gives.
static void test_slide_equals_fresh(void **state) {
    (void)state;
    ink_session *s = opened_session(&o, 40, INK_KV_F16, 1),
                *t = opened_session(&o, 40, INK_KV_F16, 1);
    ink_generate_options g = defaults();
    g.overflow = INK_OVERFLOW_SLIDE;
    g.n_keep = 3;
    for (uint32_t n = 30; n < 75; n += 5) {
        g.n_tokens = n;
        ink_session_rewind(s, 0);
        run(s, "hello there", &g, NULL);
        size_t n_past = 0;
        const ink_token *past = ink_session_tokens(s, &n_past);
        ink_session_rewind(t, 0);
        opened_eval(t, past, n_past, 7);
        assert_memory_equal(ink_session_logits(s, 0, NULL), ink_session_logits(t, 0, NULL),
                            n_vocab * sizeof(float));
    }
    ink_session_free(s);
    ink_session_free(t);
}

// A context filled to its last position is no overflow: there is only no room to go on.
static void test_exactly_full(void **state) {
    (void)state;
    char *prompt = long_prompt(2000);
    size_t n = 0;
    static ink_token ids[2000];
    size_t bytes = 0; // the shortest beginning that has just 100 tokens
    while (n < 100)
        assert_int_equal(ink_tokenize(o.model, prompt, ++bytes, 0, ids, 2000, &n, NULL), INK_OK);
    prompt[bytes] = 0;
    assert_int_equal(n, 100);
    ink_session *s = opened_session(&o, 100, INK_KV_F16, 1);
    ink_generate_options g = defaults();
    const ink_result r = run(s, prompt, &g, NULL);
    assert_int_equal(r.n_prompt, 100);
    assert_int_equal(r.stop, INK_STOP_CONTEXT);
    assert_int_equal(r.n_generated, 0);
    ink_session_free(s);
    free(prompt);
}

static void test_special_and_strict(void **state) {
    (void)state;
    ink_session *s = opened_session(&o, 0, INK_KV_F16, 1);
    ink_generate_options g = defaults();
    ink_error error = {0};
    g.n_tokens = 0;
    const char *text = "a<|endoftext|>";
    assert_true(run(s, text, &g, NULL).n_prompt > 2);
    ink_session_rewind(s, 0);
    g.flags |= INK_GENERATE_SPECIAL;
    assert_int_equal(run(s, text, &g, NULL).n_prompt, 2);
    assert_int_equal(ink_session_tokens(s, NULL)[1], n_vocab - 1);
    ink_session_rewind(s, 0);
    assert_int_equal(run(s,
                         "a\xff\xfe"
                         "b",
                         &g, NULL)
                         .n_invalid,
                     2);
    g.flags |= INK_GENERATE_STRICT;
    assert_int_equal(ink_session_generate(s, "a\xff", 2, &g, NULL, NULL, NULL, &error), INK_E_UTF8);
    ink_session_free(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_greedy_equals_by_hand),
        cmocka_unit_test(test_going_on),
        cmocka_unit_test(test_fresh_reuses),
        cmocka_unit_test(test_same_seed_same_text),
        cmocka_unit_test(test_empty_prompt_starts_from_end_token),
        cmocka_unit_test(test_stops),
        cmocka_unit_test(test_stop_string),
        cmocka_unit_test(test_end_token),
        cmocka_unit_test(test_overflow),
        cmocka_unit_test(test_slide_equals_fresh),
        cmocka_unit_test(test_exactly_full),
        cmocka_unit_test(test_special_and_strict),
    };
    return cmocka_run_group_tests_name("generate", tests, set_up, tear_down);
}
