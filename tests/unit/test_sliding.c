// SPDX-License-Identifier: MIT
// Contexts of a few positions that slide while something is taken back, or just behind a healed
// prompt: what is known of places in the past moves with them.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "opened.h"

static ink_sampler *greedy;

static int open_greedy(void **state) {
    if (opened_small_begin(state) != 0) return -1;
    return ink_sampler_new(&greedy, opened_builtin, "greedy", NULL, NULL) == INK_OK ? 0 : -1;
}
static int close_greedy(void **state) {
    ink_sampler_free(greedy);
    return opened_builtin_end(state);
}

static ink_session *new_session(uint32_t n_ctx) {
    ink_session_options o;
    ink_session_options_init(&o, sizeof o);
    o.n_ctx = n_ctx;
    ink_session *s = NULL;
    assert_int_equal(ink_session_new(&s, opened_builtin, &o, NULL), INK_OK);
    return s;
}

static ink_generate_options sliding(uint32_t n_keep, uint32_t n_tokens) {
    ink_generate_options o;
    ink_generate_options_init(&o, sizeof o);
    o.sampler = greedy;
    o.overflow = INK_OVERFLOW_SLIDE;
    o.n_keep = n_keep;
    o.n_tokens = n_tokens;
    o.flags = INK_GENERATE_NO_END | INK_GENERATE_HEAL;
    return o;
}

// Were the length passed over, the text would have no end: the callback ends it.
enum { FAR_TOO_MANY = 60 };

// The token that only writes the prompt's tail again does not count, wherever the context slides:
// the length is what was asked for. The prompt's tail is asked for once.
static void length_holds_where_a_healed_context_slides(void **state) {
    (void)state;
    static const char *const prompts[] = {"Once upon a time", "Lily went to the park and",
                                          "He said, \"I", "Once upon a time "};
    for (size_t p = 0; p < sizeof prompts / sizeof *prompts; p++)
        for (uint32_t n_ctx = 6; n_ctx < 12; n_ctx++)
            for (uint32_t n_keep = 0; n_keep < 5; n_keep++)
                for (uint32_t n_tokens = 1; n_tokens < 9; n_tokens++) {
                    ink_session *s = new_session(n_ctx);
                    const ink_generate_options o = sliding(n_keep, n_tokens);
                    collected text = {.stop_after = FAR_TOO_MANY};
                    ink_result r = {0};
                    const ink_status status = ink_session_generate(
                        s, prompts[p], strlen(prompts[p]), &o, collect, &text, &r, NULL);
                    // n_keep may leave no room for the text.
                    if (status != INK_E_ARG) {
                        assert_int_equal(status, INK_OK);
                        assert_int_equal(r.stop, INK_STOP_LENGTH);
                        assert_int_equal(r.n_generated, n_tokens);
                    }
                    ink_session_free(s);
                }
}

static void tail_of_a_healed_prompt_is_written_once(void **state) {
    (void)state;
    // Of 6 positions 3 stay, as many as the healed prompt had.
    ink_session *s = new_session(6);
    const ink_generate_options o = sliding(0, 40);
    collected text = {0};
    assert_int_equal(ink_session_generate(s, "He said, \"I", 11, &o, collect, &text, NULL, NULL),
                     INK_OK);
    size_t n = 0;
    for (const char *at = text.text; (at = strstr(at, "I")) != NULL; at++) n++;
    assert_true(n < 8);
    ink_session_free(s);
}

// What has to be taken back may be all that a slide has left.
static void filter_leaves_a_token_to_stand_on(void **state) {
    (void)state;
    static const char *const listed[] = {"the", "a", "and", "was", "to"};
    ink_filter *f = NULL;
    assert_int_equal(ink_filter_new(&f, NULL, listed, 5, NULL), INK_OK);
    for (uint32_t n_ctx = 2; n_ctx < 9; n_ctx++) {
        ink_session *s = new_session(n_ctx);
        ink_generate_options o = sliding(0, 40);
        o.filter = f;
        collected text = {0};
        ink_error error = {0};
        if (ink_session_generate(s, "Once upon", 9, &o, collect, &text, NULL, &error) != INK_OK)
            fail_msg("%u positions: %s", (unsigned)n_ctx, error.message);
        assert_in_range(ink_session_n_past(s), 1, n_ctx);
        size_t at = 0, length = 0;
        ink_filter_find(f, text.text, text.bytes, &at, &length);
        assert_int_equal(length, 0);
        // And it can be used further.
        o.flags |= INK_GENERATE_FRESH;
        assert_int_equal(ink_session_generate(s, "One day", 7, &o, NULL, NULL, NULL, &error),
                         INK_OK);
        ink_session_free(s);
    }
    ink_filter_unref(f);
}

// A sampler that chooses whole words only, with the blank before them, and a filter that lists
// them.
static ink_filter *bar_all_words(ink_sampler **out) {
    enum { MOST = 65536 };
    char(*texts)[40] = calloc(MOST, sizeof *texts);
    const char **list = calloc(MOST, sizeof *list);
    ink_logit_bias *biases = calloc(MOST, sizeof *biases);
    ink_model_info info = {.size = sizeof info};
    assert_int_equal(ink_model_get_info(opened_builtin, &info), INK_OK);
    assert_true(info.n_vocab < MOST);
    size_t n = 0, n_biases = 0;
    for (ink_token id = 0; (uint32_t)id < info.n_vocab; id++) {
        size_t bytes = 0, at = 1;
        const bool fits = ink_detokenize(opened_builtin, &id, 1, 0, texts[n], 39, &bytes) == INK_OK;
        while (fits && at < bytes && texts[n][at] >= 'a' && texts[n][at] <= 'z') at++;
        if (fits && bytes > 1 && at == bytes && texts[n][0] == ' ') {
            list[n] = texts[n];
            n++;
        } else {
            memset(texts[n], 0, sizeof texts[n]);
            biases[n_biases++] = (ink_logit_bias){id, -INFINITY};
        }
    }
    assert_true(n > 256);
    ink_sampler_options o;
    ink_sampler_options_init(&o, sizeof o);
    o.logit_bias = biases;
    o.n_logit_bias = n_biases;
    ink_filter *f = NULL;
    assert_int_equal(ink_filter_new(&f, NULL, list, n, NULL), INK_OK);
    assert_int_equal(ink_sampler_new(out, opened_builtin, "logit_bias;greedy", &o, NULL), INK_OK);
    free(texts);
    free(list);
    free(biases);
    return f;
}

// Where a run gives up because too much is barred, the past holds nothing of what was taken back.
static void past_without_what_was_taken_back_last(void **state) {
    (void)state;
    ink_sampler *words = NULL;
    ink_filter *f = bar_all_words(&words);
    ink_session *s = new_session(64);
    ink_generate_options o = sliding(0, 30);
    o.flags = 0;
    o.filter = f;
    o.sampler = words;
    ink_result r = {0};
    assert_int_equal(ink_session_generate(s, "1 2 3", 5, &o, NULL, NULL, &r, NULL), INK_OK);
    assert_int_equal(r.stop, INK_STOP_FILTER);
    assert_true(r.n_taken_back > 256);
    assert_int_equal(ink_session_n_past(s), r.n_prompt + r.n_generated);
    ink_session_free(s);
    ink_sampler_free(words);
    ink_filter_unref(f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(length_holds_where_a_healed_context_slides),
        cmocka_unit_test(tail_of_a_healed_prompt_is_written_once),
        cmocka_unit_test(filter_leaves_a_token_to_stand_on),
        cmocka_unit_test(past_without_what_was_taken_back_last),
    };
    return cmocka_run_group_tests(tests, open_greedy, close_greedy);
}
