// SPDX-License-Identifier: MIT
// Words that a continuation must hold.
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "opened.h"

static ink_session *session;

static int begin(void **state) {
    if (opened_small_begin(state) != 0) return -1;
    return ink_session_new(&session, opened_builtin, NULL, NULL) == INK_OK ? 0 : -1;
}

static int end(void **state) {
    ink_session_free(session);
    return opened_builtin_end(state);
}

static ink_status generate(ink_generate_options *o, const char *chain, uint64_t seed,
                           collected *out, ink_result *r, ink_error *error) {
    ink_sampler_options so;
    ink_sampler_options_init(&so, sizeof so);
    so.seed_set = 1;
    so.seed = seed;
    ink_sampler *sampler = NULL;
    assert_int_equal(ink_sampler_new(&sampler, opened_builtin, chain, &so, NULL), INK_OK);
    o->sampler = sampler;
    memset(out, 0, sizeof *out);
    const char *prompt = "One day, a girl";
    const ink_status status =
        ink_session_generate(session, prompt, strlen(prompt), o, collect, out, r, error);
    ink_sampler_free(sampler);
    return status;
}

static bool holds(const char *text, const char *word) {
    ink_filter *f = NULL;
    size_t at, length;
    assert_int_equal(ink_filter_new(&f, NULL, &word, 1, NULL), INK_OK);
    assert_int_equal(ink_filter_find(f, text, strlen(text), &at, &length), INK_OK);
    ink_filter_unref(f);
    return length > 0;
}

static void all_of_them_stand_there(void **state) {
    (void)state;
    static const char *const words[] = {"dragon", "moon cake",      "Tim",
                                        "happy",  "zebra crossing", "\xe9\xbe\x99"};
    static const char *const chains[] = {NULL, "greedy", "temp=1.4"};
    size_t n_by_itself = 0;
    for (uint64_t seed = 0; seed < 24; seed++) {
        collected plain, text;
        ink_generate_options o;
        ink_generate_options_init(&o, sizeof o);
        o.flags = INK_GENERATE_FRESH | (seed % 3 == 1 ? INK_GENERATE_HEAL : 0) |
                  (seed % 5 == 1 ? INK_GENERATE_NO_END : 0);
        o.n_tokens = 30 + (uint32_t)seed * 7;
        ink_result r = {0};
        const char *const *from = words + seed % 4;
        const size_t n = 1 + seed % 3;
        assert_int_equal(generate(&o, chains[seed % 3], seed, &plain, &r, NULL), INK_OK);
        o.required = from;
        o.n_required = n;
        assert_int_equal(generate(&o, chains[seed % 3], seed, &text, &r, NULL), INK_OK);
        assert_true(r.n_generated <= o.n_tokens);
        bool all = true;
        for (size_t i = 0; i < n; i++) {
            if (!holds(text.text, from[i])) fail_msg("no \"%s\" in: %s", from[i], text.text);
            all = all && holds(plain.text, from[i]);
        }
        // What the text says by itself is not said again.
        if (all && strlen(plain.text) > 60) {
            n_by_itself++;
            assert_memory_equal(text.text, plain.text, 40);
        }
    }
    (void)n_by_itself;
}

static void as_few_tokens_as_they_take(void **state) {
    (void)state;
    const char *const words[] = {"dragon", "zebra"};
    size_t n = 0, n_each = 0;
    for (size_t i = 0; i < 2; i++) {
        char text[32];
        snprintf(text, sizeof text, " %s", words[i]);
        assert_int_equal(
            ink_tokenize(opened_builtin, text, strlen(text), 0, NULL, 0, &n_each, NULL), INK_OK);
        n += n_each;
    }
    ink_generate_options o;
    ink_generate_options_init(&o, sizeof o);
    o.flags = INK_GENERATE_FRESH;
    o.required = words;
    o.n_required = 2;
    o.n_tokens = (uint32_t)n;
    collected text;
    ink_result r = {0};
    assert_int_equal(generate(&o, NULL, 1, &text, &r, NULL), INK_OK);
    assert_string_equal(text.text, " dragon zebra");
    o.n_tokens--;
    ink_error error = {0};
    assert_int_equal(generate(&o, NULL, 1, &text, &r, &error), INK_E_ARG);
    assert_non_null(strstr(error.message, "required"));
}

static void in_several_calls_too(void **state) {
    (void)state;
    const char *const words[] = {"dragon", "moon cake"};
    for (uint64_t seed = 0; seed < 6; seed++) {
        collected one, part;
        char joined[4096] = "";
        ink_generate_options o;
        ink_generate_options_init(&o, sizeof o);
        ink_result r = {0};
        o.flags = INK_GENERATE_FRESH | INK_GENERATE_CONTINUE;
        o.required = words;
        o.n_required = 2;
        o.n_tokens = 40;
        assert_int_equal(generate(&o, NULL, seed, &one, &r, NULL), INK_OK);
        // The first call has room for all, the next ones find in the text what it wrote.
        o.n_tokens = 20;
        assert_int_equal(generate(&o, NULL, seed, &part, &r, NULL), INK_OK);
        strcat(joined, part.text);
        assert_true(holds(joined, words[0]) && holds(joined, words[1]));
        if (r.stop != INK_STOP_LENGTH) continue;
        o.flags = INK_GENERATE_CONTINUE;
        o.n_tokens = 30;
        ink_sampler *sampler = NULL;
        assert_int_equal(ink_sampler_new(&sampler, opened_builtin, "greedy", NULL, NULL), INK_OK);
        o.sampler = sampler;
        memset(&part, 0, sizeof part);
        assert_int_equal(ink_session_generate(session, "", 0, &o, collect, &part, &r, NULL),
                         INK_OK);
        ink_sampler_free(sampler);
        assert_false(holds(part.text, words[0]));
    }
}

static void bad_lists_are_refused(void **state) {
    (void)state;
    char long_word[300];
    memset(long_word, 'x', 299);
    long_word[299] = 0;
    const char *many[65];
    for (size_t i = 0; i < 65; i++) many[i] = "a";
    const char *const lists[][1] = {{NULL}, {""}, {"..."}, {"\xff\xfe"}, {long_word}};
    const ink_status expected[] = {INK_E_ARG, INK_E_ARG, INK_E_ARG, INK_E_UTF8, INK_E_LIMIT};
    ink_generate_options o;
    collected text;
    ink_result r = {0};
    ink_generate_options_init(&o, sizeof o);
    for (size_t i = 0; i < 5; i++) {
        ink_error error = {0};
        o.required = lists[i];
        o.n_required = 1;
        assert_int_equal(generate(&o, NULL, 1, &text, &r, &error), expected[i]);
        assert_true(error.message[0] != 0 && text.bytes == 0);
    }
    o.required = many;
    o.n_required = 65;
    assert_int_equal(generate(&o, NULL, 1, &text, &r, NULL), INK_E_LIMIT);
    o.required = NULL;
    assert_int_equal(generate(&o, NULL, 1, &text, &r, NULL), INK_E_ARG);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_of_them_stand_there),
        cmocka_unit_test(as_few_tokens_as_they_take),
        cmocka_unit_test(in_several_calls_too),
        cmocka_unit_test(bad_lists_are_refused),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
