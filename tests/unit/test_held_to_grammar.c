// SPDX-License-Identifier: MIT
// Continuations that a grammar holds, with all else that has a say in them.
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "opened.h"

static ink_grammar *grammar_of(uint32_t kind, const char *text) {
    ink_grammar *g = NULL;
    ink_error error = {0};
    if (ink_grammar_new(&g, opened_builtin, kind, text, strlen(text), &error) != INK_OK)
        fail_msg("%s", error.message);
    return g;
}

static ink_session *new_session(uint32_t n_draft) {
    ink_session_options o;
    ink_session_options_init(&o, sizeof o);
    o.n_draft = n_draft;
    o.flags = n_draft > 0 ? INK_SESSION_DRAFT_ALWAYS : 0;
    ink_session *s = NULL;
    assert_int_equal(ink_session_new(&s, opened_builtin, &o, NULL), INK_OK);
    return s;
}

static ink_result generate(ink_session *s, const char *prompt, ink_generate_options o,
                           const char *chain, uint64_t seed, collected *out) {
    ink_sampler *sampler = opened_sampler(chain, seed);
    ink_result r = {0};
    memset(out, 0, sizeof *out);
    o.sampler = sampler;
    ink_error error = {0};
    if (ink_session_generate(s, prompt, strlen(prompt), &o, collect, out, &r, &error) != INK_OK)
        fail_msg("%s", error.message);
    ink_sampler_free(sampler);
    return r;
}

static ink_generate_options options(ink_grammar *g, uint32_t n_tokens) {
    ink_generate_options o;
    ink_generate_options_init(&o, sizeof o);
    o.flags = INK_GENERATE_FRESH;
    o.n_tokens = n_tokens;
    o.grammar = g;
    return o;
}

static uint32_t state_of(const ink_grammar *g, const char *text, size_t bytes) {
    uint32_t state = 99;
    assert_int_equal(ink_grammar_check(g, text, bytes, &state, NULL), INK_OK);
    return state;
}

static const char *const chains[] = {NULL, "greedy", "temp=1.5", "temp=2;mirostat=4,0.2"};
static const char tale[] = "root ::= sentence{2,5}\n"
                           "sentence ::= \" The \" animal \" \" (\"ran\" | \"slept\" | \"ate \" "
                           "[0-9]+ \" apples\") \".\"\n"
                           "animal ::= \"cat\" | \"dog\" | \"big \" animal | [A-Z] [a-z]{1,8}\n";

static void whole_texts_are_of_the_grammar_and_cut_ones_begin_one(void **state) {
    (void)state;
    ink_grammar *g = grammar_of(INK_GRAMMAR_GBNF, tale);
    ink_session *s = new_session(0);
    collected text;
    size_t n_whole = 0, n_cut = 0;
    for (uint64_t seed = 0; seed < 60; seed++) {
        ink_generate_options o = options(g, seed % 3 == 0 ? 12 : 120);
        if (seed % 5 == 1) o.flags |= INK_GENERATE_NO_END;
        const ink_result r = generate(s, "One day", o, chains[seed % 4], seed, &text);
        const uint32_t stands = state_of(g, text.text, text.bytes);
        if (r.stop == INK_STOP_END) {
            n_whole++;
            assert_true(stands == INK_GRAMMAR_COMPLETE || stands == INK_GRAMMAR_CLOSED);
        } else {
            n_cut++;
            assert_int_equal(r.stop, INK_STOP_LENGTH);
            assert_true(stands != INK_GRAMMAR_REFUSED);
        }
    }
    assert_true(n_whole > 10 && n_cut > 10);
    ink_session_free(s);
    ink_grammar_unref(g);
}

// Ends where nothing may follow, without an end token.
static void the_end_of_the_grammar_is_the_end(void **state) {
    (void)state;
    ink_grammar *g = grammar_of(INK_GRAMMAR_GBNF, "root ::= \" yes\" | \" no\"");
    ink_session *s = new_session(0);
    collected text;
    for (uint64_t seed = 0; seed < 20; seed++) {
        ink_generate_options o = options(g, 50);
        o.flags |= seed % 2 ? INK_GENERATE_NO_END : 0;
        const ink_result r = generate(s, "Was it?", o, "temp=2", seed, &text);
        assert_int_equal(r.stop, INK_STOP_END);
        assert_true(strcmp(text.text, " yes") == 0 || strcmp(text.text, " no") == 0);
    }
    ink_session_free(s);
    ink_grammar_unref(g);
}

// A prompt that ends inside a word is healed; what stands behind it is the grammar's.
static void healed_prompts_too(void **state) {
    (void)state;
    ink_grammar *g = grammar_of(INK_GRAMMAR_GBNF, "root ::= \"ay, \" [a-z ]+ \".\"");
    ink_session *s = new_session(0);
    collected text;
    for (uint64_t seed = 0; seed < 20; seed++) {
        ink_generate_options o = options(g, 40);
        o.flags |= INK_GENERATE_HEAL;
        generate(s, "One d", o, chains[seed % 4], seed, &text);
        assert_true(state_of(g, text.text, text.bytes) != INK_GRAMMAR_REFUSED);
        assert_memory_equal(text.text, "ay, ", text.bytes < 4 ? text.bytes : 4);
    }
    ink_session_free(s);
    ink_grammar_unref(g);
}

static void a_filter_finds_another_way_along_the_grammar(void **state) {
    (void)state;
    const char *const phrases[] = {"cat", "dog", "slept"};
    ink_filter *filter = NULL;
    assert_int_equal(ink_filter_new(&filter, NULL, phrases, 3, NULL), INK_OK);
    ink_grammar *g = grammar_of(INK_GRAMMAR_GBNF, tale);
    ink_session *s = new_session(0);
    collected text;
    uint32_t n_taken_back = 0;
    for (uint64_t seed = 0; seed < 20; seed++) {
        ink_generate_options o = options(g, 60);
        o.filter = filter;
        const ink_result r = generate(s, "One day", o, chains[seed % 4], seed, &text);
        size_t at, length;
        assert_int_equal(ink_filter_find(filter, text.text, text.bytes, &at, &length), INK_OK);
        assert_int_equal(length, 0);
        assert_true(state_of(g, text.text, text.bytes) != INK_GRAMMAR_REFUSED);
        n_taken_back += r.n_taken_back;
    }
    assert_true(n_taken_back > 20);
    ink_session_free(s);
    ink_grammar_unref(g);
    ink_filter_unref(filter);
}

// Guessed tokens, and a text in several calls, change nothing.
static void the_same_bytes_guessed_and_in_calls(void **state) {
    (void)state;
    ink_grammar *g = grammar_of(INK_GRAMMAR_GBNF, tale);
    ink_session *plain = new_session(0), *guessing = new_session(6);
    collected one, text;
    char joined[8192];
    uint32_t n_accepted = 0;
    for (uint64_t seed = 0; seed < 16; seed++) {
        const char *chain = chains[seed % 4];
        ink_generate_options o = options(g, 90);
        generate(plain, "One day", o, chain, seed, &one);
        n_accepted += generate(guessing, "One day", o, chain, seed, &text).n_accepted;
        assert_string_equal(text.text, one.text);

        o.flags |= INK_GENERATE_CONTINUE;
        joined[0] = 0;
        uint32_t n = 0;
        ink_result r;
        do {
            o.n_tokens = 90 - n < 7 ? 90 - n : 7;
            r = generate(plain, n == 0 ? "One day" : "", o, chain, seed, &text);
            n += r.n_generated;
            strcat(joined, text.text);
            o.flags &= ~(uint32_t)INK_GENERATE_FRESH;
        } while (n < 90 && r.stop == INK_STOP_LENGTH);
        assert_string_equal(joined, one.text);
    }
    assert_true(n_accepted > 20);
    ink_session_free(plain);
    ink_session_free(guessing);
    ink_grammar_unref(g);
}

static void documents_of_a_schema(void **state) {
    (void)state;
    ink_grammar *g = grammar_of(
        INK_GRAMMAR_JSON_SCHEMA,
        "{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\",\"maxLength\":12},"
        "\"age\":{\"type\":\"integer\",\"minimum\":3,\"maximum\":11}},"
        "\"required\":[\"name\",\"age\"],\"additionalProperties\":false}");
    ink_session *s = new_session(0);
    collected text;
    for (uint64_t seed = 0; seed < 20; seed++) {
        const ink_result r =
            generate(s, "The girl:", options(g, 120), chains[seed % 4], seed, &text);
        assert_int_equal(r.stop, INK_STOP_END);
        const char *age = strstr(text.text, "\"age\"");
        assert_non_null(age);
        const long years = strtol(age + 5 + strspn(age + 5, ": "), NULL, 10);
        assert_in_range(years, 3, 11);
        assert_int_equal(text.text[text.bytes - 1], '}');
    }
    // As rules it reads the same texts.
    size_t n = 0;
    assert_int_equal(ink_grammar_text(g, NULL, 0, &n), INK_OK);
    char *rules = malloc(n + 1);
    assert_int_equal(ink_grammar_text(g, rules, n, &n), INK_E_SPACE);
    assert_int_equal(ink_grammar_text(g, rules, n + 1, &n), INK_OK);
    ink_grammar *again = grammar_of(INK_GRAMMAR_GBNF, rules);
    assert_int_equal(state_of(again, text.text, text.bytes), INK_GRAMMAR_CLOSED);
    ink_grammar_unref(again);
    free(rules);
    ink_session_free(s);
    ink_grammar_unref(g);
}

static void what_does_not_go_together_is_refused(void **state) {
    (void)state;
    ink_grammar *g = grammar_of(INK_GRAMMAR_GBNF, "root ::= [a-z]+");
    ink_session *s = new_session(0);
    ink_error error = {0};
    ink_generate_options o = options(g, 5);
    o.overflow = INK_OVERFLOW_SLIDE;
    assert_int_equal(ink_session_generate(s, "a", 1, &o, NULL, NULL, NULL, &error), INK_E_ARG);
    assert_non_null(strstr(error.message, "grammar"));
    const char *const words[] = {"cat"};
    o = options(g, 5);
    o.required = words;
    o.n_required = 1;
    assert_int_equal(ink_session_generate(s, "a", 1, &o, NULL, NULL, NULL, &error), INK_E_ARG);
    tiny_model other = tiny_model_defaults();
    opened tiny = opened_tiny(&other, 1, NULL);
    ink_session *foreign = opened_session(&tiny, 0, INK_KV_F16, 1);
    o = options(g, 5);
    assert_int_equal(ink_session_generate(foreign, "a", 1, &o, NULL, NULL, NULL, &error),
                     INK_E_ARG);
    assert_non_null(strstr(error.message, "another model"));
    ink_session_free(foreign);
    opened_close(&tiny);
    ink_grammar *none = (ink_grammar *)s;
    assert_int_equal(ink_grammar_new(&none, opened_builtin, 7, "", 0, &error), INK_E_ARG);
    assert_int_equal(ink_grammar_new(&none, opened_builtin, 0, "root ::= root \"a\"", 17, &error),
                     INK_E_FORMAT);
    assert_ptr_equal(none, s);
    ink_session_free(s);
    ink_grammar_unref(g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_texts_are_of_the_grammar_and_cut_ones_begin_one),
        cmocka_unit_test(the_end_of_the_grammar_is_the_end),
        cmocka_unit_test(healed_prompts_too),
        cmocka_unit_test(a_filter_finds_another_way_along_the_grammar),
        cmocka_unit_test(the_same_bytes_guessed_and_in_calls),
        cmocka_unit_test(documents_of_a_schema),
        cmocka_unit_test(what_does_not_go_together_is_refused),
    };
    return cmocka_run_group_tests(tests, opened_small_begin, opened_builtin_end);
}
