// SPDX-License-Identifier: MIT
// The three lines and what stands around them.
#include "opened.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char path[] = "/tmp/inkling-quick-XXXXXX";

static int set_up(void **state) {
    (void)state;
    const tiny_model tiny = tiny_model_defaults();
    const int fd = mkstemp(path);
    if (fd < 0) return 1;
    close(fd);
    return tiny_model_write(path, &tiny, NULL) != INK_OK;
}

static int tear_down(void **state) {
    (void)state;
    return unlink(path);
}

static ink_engine *open_or_fail(const ink_options *options) {
    ink_engine *ai = ink_open(path, options);
    assert_non_null(ai);
    if (ink_engine_error(ai)->status != INK_OK) fail_msg("%s", ink_engine_error(ai)->message);
    return ai;
}

static void generate(ink_engine *ai, const char *prompt, collected *c) {
    c->bytes = c->n_pieces = 0;
    c->text[0] = 0;
    assert_int_equal(ink_generate(ai, prompt, collect, c), INK_OK);
}

static void test_three_lines(void **state) {
    (void)state;
    static collected c;
    ink_engine *ai = open_or_fail(NULL);
    generate(ai, "Once upon a time", &c);
    assert_true(c.bytes > 0);
    assert_true(ink_engine_result(ai)->n_generated > 0);
    assert_int_equal(ink_close(ai), INK_OK);
}

// Nothing given: each call tells another text, and its seed tells that one again.
static void test_seeds(void **state) {
    (void)state;
    static collected first, second, again;
    ink_sampler_options so;
    ink_options options;
    ink_engine *ai = open_or_fail(NULL);
    generate(ai, "hello", &first);
    const uint64_t seed = ink_engine_result(ai)->seed;
    generate(ai, "hello", &second);
    assert_int_not_equal(seed, ink_engine_result(ai)->seed);
    assert_string_not_equal(first.text, second.text);
    ink_close(ai);

    ink_sampler_options_init(&so, sizeof so);
    ink_options_init(&options, sizeof options);
    so.seed_set = 1;
    so.seed = seed;
    options.sampler = &so;
    ai = open_or_fail(&options);
    so.seed = 1; // the library has its copy
    generate(ai, "something else first", &again);
    generate(ai, "hello", &again);
    assert_string_equal(first.text, again.text);
    ink_close(ai);
}

static void test_options_are_copied(void **state) {
    (void)state;
    static collected c;
    char word[] = "e", chain[] = "greedy";
    const char *stops[] = {word};
    ink_logit_bias bias = {5, -1.5f};
    ink_sampler_options so;
    ink_generate_options g;
    ink_options options;
    ink_sampler_options_init(&so, sizeof so);
    ink_generate_options_init(&g, sizeof g);
    ink_options_init(&options, sizeof options);
    so.logit_bias = &bias;
    so.n_logit_bias = 1;
    g.stop = stops;
    g.n_stop = 1;
    options.sampler = &so;
    options.generate = &g;
    options.chain = chain;
    ink_engine *ai = open_or_fail(&options);
    memset(word, 'z', sizeof word - 1);
    memset(chain, 'z', sizeof chain - 1);
    stops[0] = NULL;
    bias.token = -1;
    generate(ai, "hello", &c);
    assert_null(strchr(c.text, 'e'));
    ink_close(ai);
}

static char *on_heap(const char *text) {
    char *copy = malloc(strlen(text) + 1);
    assert_non_null(copy);
    return strcpy(copy, text);
}

// What options name, each on the heap: a use after its end is seen.
typedef struct given {
    char *breaker, *word, *rules;
    const char **breakers, **words;
    ink_token *tokens;
    ink_engine *other; // whose model the grammar is of: the same file
    ink_sampler_options so;
    ink_generate_options g;
} given;

static void give(given *t, bool has_grammar) {
    static const ink_token tokens[] = {72, 73, 74};
    ink_sampler_options_init(&t->so, sizeof t->so);
    ink_generate_options_init(&t->g, sizeof t->g);
    t->breaker = on_heap("e");
    t->word = on_heap("xy");
    t->rules = on_heap("root ::= [a-f]+");
    t->breakers = malloc(sizeof *t->breakers);
    t->words = malloc(sizeof *t->words);
    t->tokens = malloc(sizeof tokens);
    assert_true(t->breakers != NULL && t->words != NULL && t->tokens != NULL);
    *t->breakers = t->breaker;
    *t->words = t->word;
    memcpy(t->tokens, tokens, sizeof tokens);
    t->so.dry_multiplier = 0.8F;
    t->so.dry_breakers = t->breakers;
    t->so.n_dry_breakers = 1;
    t->so.xtc_probability = 0.5F;
    t->so.dynatemp_range = 0.3F;
    t->so.seed_set = 1;
    t->so.seed = 12;
    t->g.n_tokens = 50;
    t->g.prompt_tokens = t->tokens;
    t->g.n_prompt_tokens = 3;
    t->g.required = has_grammar ? NULL : t->words;
    t->g.n_required = !has_grammar;
    t->other = open_or_fail(NULL);
    if (has_grammar)
        assert_int_equal(ink_grammar_new(&t->g.grammar, ink_engine_model(t->other),
                                         INK_GRAMMAR_GBNF, t->rules, strlen(t->rules), NULL),
                         INK_OK);
}

static void take_away(given *t) {
    free(t->breaker);
    free(t->word);
    free(t->rules);
    free(t->breakers);
    free(t->words);
    free(t->tokens);
    ink_grammar_unref(t->g.grammar);
    ink_close(t->other);
}

// What is behind a pointer is taken away before the engine is used, and after: it says the same.
static void test_what_is_given_may_go(void **state) {
    (void)state;
    static collected texts[2];
    for (int k = 0; k < 4; k++) {
        const bool goes = k % 2 != 0, has_grammar = k >= 2;
        given t;
        ink_options options;
        give(&t, has_grammar);
        ink_options_init(&options, sizeof options);
        options.sampler = &t.so;
        options.generate = &t.g;
        ink_engine *ai = open_or_fail(&options);
        if (goes) take_away(&t);
        generate(ai, "hello", &texts[goes]);
        if (!goes) take_away(&t);
        ink_close(ai);
        if (goes) assert_string_equal(texts[0].text, texts[1].text);
        if (!has_grammar) assert_non_null(strstr(texts[goes].text, "xy"));
        if (has_grammar)
            assert_int_equal(strspn(texts[goes].text, "abcdef"), strlen(texts[goes].text));
    }
}

// As a session with that sampler says it: nothing of the options is lost in the chain's text.
static void test_a_sampler_is_taken_whole(void **state) {
    (void)state;
    static collected quick, direct;
    ink_sampler_options so;
    ink_options options;
    ink_sampler *sampler = NULL;
    ink_sampler_options_init(&so, sizeof so);
    ink_options_init(&options, sizeof options);
    so.temperature = 1.1F;
    so.top_k = 77;
    so.dry_multiplier = 0.7F;
    so.dry_breakers = (const char *const[]){"a", "\n\"", ";"};
    so.n_dry_breakers = 3;
    so.logit_bias = &(ink_logit_bias){5, -1.5F};
    so.n_logit_bias = 1;
    so.repeat_penalty = 1.3F;
    so.typical_p = 0.97F;
    so.seed_set = 1;
    so.seed = 99;
    options.sampler = &so;
    ink_engine *ai = open_or_fail(&options);
    generate(ai, "hello", &quick);
    assert_int_equal(ink_sampler_new(&sampler, ink_engine_model(ai), NULL, &so, NULL), INK_OK);
    ink_generate_options g;
    ink_generate_options_init(&g, sizeof g);
    g.flags = INK_GENERATE_FRESH;
    g.sampler = sampler;
    assert_int_equal(
        ink_session_generate(ink_engine_session(ai), "hello", 5, &g, collect, &direct, NULL, NULL),
        INK_OK);
    assert_string_equal(direct.text, quick.text);
    ink_sampler_free(sampler);
    ink_close(ai);
}

static void expect_failed(const char *model, const ink_options *options, ink_status status,
                          const char *word) {
    ink_engine *ai = ink_open(model, options);
    assert_non_null(ai);
    assert_int_equal(ink_engine_error(ai)->status, status);
    if (strstr(ink_engine_error(ai)->message, word) == NULL)
        fail_msg("%s", ink_engine_error(ai)->message);
    assert_int_equal(ink_generate(ai, "x", NULL, NULL), status);
    assert_null(ink_engine_model(ai));
    assert_null(ink_engine_session(ai));
    ink_cancel(ai);
    assert_int_equal(ink_close(ai), INK_OK);
}

static void test_a_handle_even_on_failure(void **state) {
    (void)state;
    ink_sampler_options so;
    ink_session_options se;
    ink_options options;
    expect_failed("/no/such/file.gguf", NULL, INK_E_NOT_FOUND, "/no/such/file.gguf");
    expect_failed("builtin:nobody", NULL, INK_E_NOT_FOUND, "nobody");
    expect_failed("/", NULL, INK_E_IO, "/");
    ink_options_init(&options, sizeof options);
    options.chain = "top_k;what";
    expect_failed(path, &options, INK_E_ARG, "what");
    ink_options_init(&options, sizeof options);
    ink_sampler_options_init(&so, sizeof so);
    so.top_p = -3;
    options.sampler = &so;
    expect_failed(path, &options, INK_E_ARG, "top_p");
    ink_options_init(&options, sizeof options);
    ink_session_options_init(&se, sizeof se);
    se.n_ctx = 161;
    options.session = &se;
    expect_failed(path, &options, INK_E_LIMIT, "161");
    options.size = 3;
    expect_failed(path, &options, INK_E_ARG, "ink_options");
}

static void test_a_failure_leaves_the_engine_usable(void **state) {
    (void)state;
    static collected c;
    static char long_prompt[4000];
    ink_engine *ai = open_or_fail(NULL);
    memset(long_prompt, 'q', sizeof long_prompt - 1);
    assert_int_equal(ink_generate(ai, long_prompt, collect, &c), INK_E_CONTEXT);
    assert_int_equal(ink_engine_error(ai)->status, INK_E_CONTEXT);
    assert_non_null(strstr(ink_engine_error(ai)->message, "160"));
    generate(ai, "hello", &c);
    assert_int_equal(ink_generate(ai, NULL, NULL, NULL), INK_OK); // as the empty prompt
    ink_close(ai);
    assert_int_equal(ink_generate(NULL, "x", NULL, NULL), INK_E_ARG);
    assert_int_equal(ink_close(NULL), INK_OK);
    assert_int_equal(ink_engine_error(NULL)->status, INK_E_ARG);
}

static int close_inside(void *user, const ink_piece *piece) {
    (void)piece;
    ink_engine *ai = *(ink_engine **)user;
    assert_int_equal(ink_close(ai), INK_E_REENTRANT);
    assert_int_equal(ink_generate(ai, "x", NULL, NULL), INK_E_REENTRANT);
    ink_cancel(ai);
    return 0;
}

static void test_inside_a_callback(void **state) {
    (void)state;
    ink_engine *ai = open_or_fail(NULL);
    assert_int_equal(ink_generate(ai, "hello", close_inside, &ai), INK_OK);
    assert_int_equal(ink_engine_result(ai)->stop, INK_STOP_CANCELLED);
    assert_int_equal(ink_engine_error(ai)->status, INK_OK);
    assert_int_equal(ink_close(ai), INK_OK);
}

static void *use_from_thread(void *arg) {
    assert_int_equal(ink_generate(arg, "x", NULL, NULL), INK_E_BUSY);
    assert_int_equal(ink_close(arg), INK_E_BUSY);
    return NULL;
}

static int start_thread(void *user, const ink_piece *piece) {
    (void)piece;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, use_from_thread, *(ink_engine **)user), 0);
    pthread_join(thread, NULL);
    return 1;
}

static void test_second_thread(void **state) {
    (void)state;
    ink_engine *ai = open_or_fail(NULL);
    assert_int_equal(ink_generate(ai, "hello", start_thread, &ai), INK_OK);
    assert_int_equal(ink_engine_error(ai)->status, INK_OK);
    assert_int_equal(ink_close(ai), INK_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_three_lines),
        cmocka_unit_test(test_seeds),
        cmocka_unit_test(test_options_are_copied),
        cmocka_unit_test(test_what_is_given_may_go),
        cmocka_unit_test(test_a_sampler_is_taken_whole),
        cmocka_unit_test(test_a_handle_even_on_failure),
        cmocka_unit_test(test_a_failure_leaves_the_engine_usable),
        cmocka_unit_test(test_inside_a_callback),
        cmocka_unit_test(test_second_thread),
    };
    return cmocka_run_group_tests_name("three lines", tests, set_up, tear_down);
}
