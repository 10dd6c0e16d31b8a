// SPDX-License-Identifier: MIT
// Chains written as JSON, other names, and the breakers of "dry" in both forms.
#include "chain_tries.h"
#include "fail_mem.h"
#include "sampler/chain.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void expect_text(const char *text, const ink_sampler_options *o, const char *expected) {
    inki_chain *chain = NULL, *again = NULL;
    ink_error error = {0};
    char out[4096];
    if (try_chain(&chain, text, o, &error) != INK_OK) fail_msg("%s: %s", text, error.message);
    inki_chain_text(chain, out, sizeof out);
    assert_string_equal(out, expected);
    if (try_chain(&again, out, NULL, &error) != INK_OK) fail_msg("%s: %s", out, error.message);
    inki_chain_text(again, out, sizeof out);
    assert_string_equal(out, expected); // read back under other options too
    inki_chain_free(chain);
    inki_chain_free(again);
}

static void json_is_the_same_chain(void **state) {
    (void)state;
    ink_sampler_options o;
    inki_sampler_defaults(&o);
    const ink_logit_bias bias = {9, 1.5f};
    o.logit_bias = &bias;
    o.n_logit_bias = 1;
    o.top_k = 33;
    o.temperature = 0.5f;
    static const struct {
        const char *json, *text;
    } cases[] = {
        {"[\"top_k\"]", "top_k=33"},
        {"{\"top_k\": 40, \"temp\": 0.8}", "top_k=40;temp=0.8,0,1"},
        {"{\"temp\": 0.8, \"top_k\": 40}", "temp=0.8,0,1;top_k=40"},
        {" \n\t[ \"penalties\" , {\"top_k\": [7]}, \"temp\" ]",
         "penalties=1,64,0,0;top_k=7;temp=0.5,0,1"},
        {"[{\"top_p\": 0.5, \"min_p\": null}, \"greedy\"]", "top_p=0.5;min_p=0.05;greedy"},
        {"{\"penalties\": [1.1, 20]}", "penalties=1.1,20,0,0"},
        {"{\"penalties\": {\"frequency\": 2, \"repeat\": 1.5, \"last_n\": 3, \"presence\": 1}}",
         "penalties=1.5,3,1,2"},
        {"{\"penalties\": {\"penalty_last_n\": 3}}", "penalties=1,3,0,0"},
        {"{\"temp\": {\"temperature\": 1, \"dynatemp_range\": 0.5, \"dynatemp_exponent\": 2}}",
         "temp=1,0.5,2"},
        {"{\"xtc\": {\"threshold\": 0.2, \"probability\": 1}, \"typical\": {\"typical_p\": 0.7}}",
         "xtc=1,0.2;typical=0.7"},
        {"{\"mirostat\": {\"tau\": 3, \"eta\": 0.2}}", "mirostat=3,0.2"},
        {"{\"no_repeat_ngram\": 3, \"top_n_sigma\": 1.5}", "no_repeat_ngram=3;top_n_sigma=1.5"},
        {"{\"logit_bias\": {\"5\": -1.5, \"11\": \"-inf\", \"7\": 1e2}}",
         "logit_bias=5:-1.5,11:-inf,7:100"},
        {"{\"logit_bias\": {}}", "logit_bias=none"},
        {"[\"logit_bias\"]", "logit_bias=9:1.5"},
        {"{\"logit_bias\": null}", "logit_bias=9:1.5"},
        {"{\"greedy\": {}}", "greedy"},
        {"{\"greedy\": []}", "greedy"},
        {"{\"temperature\": 1, \"typ_p\": 0.5}", "temp=1,0,1;typical=0.5"},
        {"[\"temp_ext\", \"mirostat_v2\"]", "temp=0.5,0,1;mirostat=5,0.1"},
        {"{\"dry\": {\"multiplier\": 0.8, \"breakers\": []}}", "dry=0.8,1.75,2,4294967295,none"},
        {"{\"dry\": {\"breakers\": [\"\\u000a\", \"a\\\"b\", \"\\\\;,=\", \"\\u00e9\\u0001\"]}}",
         "dry=0,1.75,2,4294967295,\"\\n\",\"a\\\"b\",\"\\\\;,=\",\"\xc3\xa9\\u0001\""},
        {"{\"dry\": [0.8, 1.5, 3, 100]}", "dry=0.8,1.5,3,100,\"\\n\",\":\",\"\\\"\",\"*\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect_text(cases[i].json, &o, cases[i].text);
}

static void text_knows_the_new_steps_too(void **state) {
    (void)state;
    expect_text("typical;top_n_sigma;xtc;no_repeat_ngram;mirostat", NULL,
                "typical=1;top_n_sigma=-1;xtc=0,0.1;no_repeat_ngram=0;mirostat=5,0.1");
    expect_text("temperature=1;typ_p=0.5;mirostat_v2=3", NULL,
                "temp=1,0,1;typical=0.5;mirostat=3,0.1");
    expect_text("temp_ext=0.8,0.5,2", NULL, "temp=0.8,0.5,2");
    expect_text("top_n_sigma=-3;typical=0", NULL, "top_n_sigma=-3;typical=0");
    expect_text("dry = 0.8 , \"a;b\" , \"c,=d\" ; top_k = 3", NULL,
                "dry=0.8,1.75,2,4294967295,\"a;b\",\"c,=d\";top_k=3");
    expect_text("dry=0.8,1.5,3,none;temp=1", NULL, "dry=0.8,1.5,3,4294967295,none;temp=1,0,1");
    expect_text("dry=none", NULL, "dry=0,1.75,2,4294967295,none");
    ink_sampler_options o;
    inki_sampler_defaults(&o);
    const char *const breakers[] = {"\x7f", "### ", "\xe2\x80\x94"};
    o.dry_breakers = breakers;
    o.n_dry_breakers = 3;
    expect_text("dry", &o, "dry=0,1.75,2,4294967295,\"\x7f\",\"### \",\"\xe2\x80\x94\"");
    expect_text("dry=1,\"x\"", &o, "dry=1,1.75,2,4294967295,\"x\"");
    o.n_dry_breakers = 0;
    expect_text("dry", &o, "dry=0,1.75,2,4294967295,none");
}

static void errors_name_the_place(void **state) {
    (void)state;
    static const chain_refusal cases[] = {
        {"[]", INK_E_ARG, "column 1: a name is missing"},
        {"{}", INK_E_ARG, "a name is missing"},
        {" [{}]", INK_E_ARG, "column 2: a name is missing"},
        {"[\"\"]", INK_E_ARG, "column 2: a name is missing"},
        {"[\"warp\"]", INK_E_ARG,
         "column 2: unknown name \"warp\"; there are logit_bias, penalties, top_k, top_p, min_p, "
         "temp, "
         "greedy, typical, top_n_sigma, xtc, dry, no_repeat_ngram, mirostat"},
        {"[\"temp\",\n \"temperature\"]", INK_E_ARG, "line 2, column 2: \"temp\" is there already"},
        {"{\"top_k\": 1, \"top_k\": 2}", INK_E_FORMAT, "chain: line 1"},
        {"{\"top_k\": -1}", INK_E_ARG, "top_k is \"-1\", must be a count from 0 to 4294967295"},
        {"{\"top_k\": 1.0}", INK_E_ARG, "top_k is \"1.0\""},
        {"{\"top_k\": true}", INK_E_ARG, "column 11: top_k must be a number, a list or an object"},
        {"{\"top_k\": [1, 2]}", INK_E_ARG, "top_k takes 1 number at most"},
        {"{\"top_k\": [[1]]}", INK_E_ARG, "column 12: it must be a number"},
        {"{\"top_k\": \"many\"}", INK_E_ARG, "top_k is \"many\""},
        {"{\"top_p\": 1.5}", INK_E_ARG, "top_p is \"1.5\", must be a number from 0 to 1"},
        {"{\"temp\": \"nan\"}", INK_E_ARG, "temperature is \"nan\""},
        {"{\"dry\": {\"multiplier\": 1, \"length\": 2}}", INK_E_ARG,
         "dry has no \"length\"; there are: multiplier, base, allowed_length, last_n"},
        {"{\"dry\": {\"breakers\": \"a\"}}", INK_E_ARG, "breakers must be a list of strings"},
        {"{\"dry\": {\"breakers\": [1]}}", INK_E_ARG, "a breaker must be a string"},
        {"{\"dry\": {\"breakers\": [\"\"]}}", INK_E_ARG, "dry_breakers: one is empty"},
        {"{\"greedy\": 1}", INK_E_ARG, "greedy takes 0 numbers at most"},
        {"{\"greedy\": {\"a\": 1}}", INK_E_ARG, "greedy has no \"a\""},
        {"{\"logit_bias\": [1]}", INK_E_ARG, "logit_bias must be an object"},
        {"{\"logit_bias\": {\"a\": 1}}", INK_E_ARG, "logit_bias is"},
        {"{\"logit_bias\": {\"5\": []}}", INK_E_ARG, "a bias must be a number"},
        {"{\"logit_bias\": {\"1000\": 1}}", INK_E_TOKEN, "the vocabulary has 1000"},
        {"{\"logit_bias\": {\"5\": 1, \"05\": 1}}", INK_E_ARG, "token 5 has a bias already"},
        {"[1]", INK_E_ARG, "column 2: a step must be a name or an object"},
        {"[\"top_k\"", INK_E_FORMAT, "chain: "},
        {"{\"top_k\": 1}x", INK_E_FORMAT, "chain: "},
        {"[\"\xff\"]", INK_E_UTF8, "chain: "},
        {"[\"mirostat\", \"temp\"]", INK_E_ARG, "nothing may follow \"mirostat\""},
        {"mirostat;top_k", INK_E_ARG, "column 10: nothing may follow \"mirostat\""},
        {"mirostat;mirostat_v2", INK_E_ARG, "\"mirostat\" is there already"},
        {"temp;temp_ext", INK_E_ARG, "column 6: \"temp\" is there already"},
        {"typical=1.5", INK_E_ARG, "typical_p is \"1.5\", must be a number from 0 to 1"},
        {"xtc=-1", INK_E_ARG, "xtc_probability is \"-1\""},
        {"xtc=1,2", INK_E_ARG, "xtc_threshold is \"2\""},
        {"xtc=1,0,1", INK_E_ARG, "xtc takes 2 numbers at most"},
        {"top_n_sigma=inf", INK_E_ARG, "top_n_sigma is \"inf\", must be a finite number"},
        {"no_repeat_ngram=1025", INK_E_ARG, "must be a count from 0 to 1024"},
        {"no_repeat_ngram=-1", INK_E_ARG, "no_repeat_ngram is \"-1\""},
        {"dry=1,2,1025", INK_E_ARG, "dry_allowed_length is \"1025\""},
        {"dry=-1", INK_E_ARG, "dry_multiplier is \"-1\""},
        {"dry=1,2,3,4,5", INK_E_ARG, "column 13: dry takes 4 numbers at most"},
        {"dry=1,\"a\",2", INK_E_ARG, "column 11: a breaker is \"2\", must be a string as in JSON"},
        {"dry=\"a", INK_E_ARG, "column 5: a breaker is \"\"a\""},
        {"dry=\"a\",none", INK_E_ARG, "a breaker is \"none\""},
        {"dry=none,\"a\"", INK_E_ARG, "a breaker is \"none\""},
        {"dry=\"a\" \"b\"", INK_E_ARG, "a breaker is"},
        {"dry=\"\"", INK_E_ARG, "column 5: dry_breakers: one is empty"},
        {"dry=\"\xff\"", INK_E_ARG, "a breaker is"},
        {"xtc=1,\"a\"", INK_E_ARG, "xtc_threshold is \"\"a\"\""},
        {"temp=1,-1", INK_E_ARG, "dynatemp_range is \"-1\", must be a finite number from 0 up"},
        {"mirostat=-1", INK_E_ARG, "mirostat_tau"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) expect_refusal(&cases[i]);
}

// What the reader of JSON refuses is of the chain too.
static void broken_json_is_of_the_chain(void **state) {
    (void)state;
    static const char *const texts[] = {"[\"temp\"", "{\"temp\" 1}", "[\"\xff\"]",
                                        "[1e999999999999]"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        inki_chain *chain = NULL;
        ink_error error = {0};
        assert_true(try_chain(&chain, texts[i], NULL, &error) != INK_OK);
        assert_string_equal(error.where, "chain");
        assert_memory_equal(error.message, "chain: ", 7);
    }
}

static void breakers_are_bounded(void **state) {
    (void)state;
    char longest[INKI_CHAIN_BREAKER_MAX + 2];
    const char *list[INKI_CHAIN_BREAKERS_BYTES];
    memset(longest, 'a', sizeof longest);
    longest[INKI_CHAIN_BREAKER_MAX] = 0;
    ink_sampler_options o;
    inki_sampler_defaults(&o);
    o.dry_breakers = list;
    inki_chain *chain = NULL;
    ink_error error = {0};
    for (int i = 0; i < INKI_CHAIN_BREAKERS_BYTES; i++) list[i] = longest;
    o.n_dry_breakers = INKI_CHAIN_BREAKERS_BYTES / (INKI_CHAIN_BREAKER_MAX + 1);
    assert_int_equal(try_chain(&chain, "dry", &o, &error), INK_OK);
    inki_chain_free(chain);
    chain = NULL;
    o.n_dry_breakers++;
    assert_int_equal(try_chain(&chain, "temp", &o, &error), INK_E_LIMIT);
    longest[INKI_CHAIN_BREAKER_MAX] = 'a';
    longest[INKI_CHAIN_BREAKER_MAX + 1] = 0;
    o.n_dry_breakers = 1;
    assert_int_equal(try_chain(&chain, "dry", &o, &error), INK_E_LIMIT);
    static const char *const bad[] = {"", "\xc3", NULL};
    for (int i = 0; i < 3; i++) {
        list[0] = bad[i];
        assert_int_equal(try_chain(&chain, "dry", &o, &error), i == 1 ? INK_E_UTF8 : INK_E_ARG);
        assert_string_equal(error.where, "dry_breakers");
    }
    o.dry_breakers = NULL;
    assert_int_equal(try_chain(&chain, "dry", &o, &error), INK_E_ARG);
    o.n_dry_breakers = 0;
    o.reserved = 1;
    assert_int_equal(try_chain(&chain, "dry", &o, &error), INK_E_UNSUPPORTED);
    assert_null(chain);
    // As many of one byte as fit, in the longest form that they have as text.
    char text[8192] = "dry=1";
    for (int i = 0; i < INKI_CHAIN_BREAKERS_BYTES / 2; i++) strcat(text, ",\"\\u0001\"");
    assert_int_equal(try_chain(&chain, text, NULL, &error), INK_OK);
    inki_chain_free(chain);
    chain = NULL;
    strcat(text, ",\"x\"");
    assert_int_equal(try_chain(&chain, text, NULL, &error), INK_E_LIMIT);
    assert_null(chain);
}

static void every_failed_allocation_is_survived(void **state) {
    (void)state;
    static const char *const texts[] = {
        "dry=1,\"a\",\"b\"", "{\"logit_bias\": {\"3\": 1}, \"dry\": {\"breakers\": [\"\\n\"]}}",
        "[\"temp\", \"warp\"]", "dry=1,\"a\",\"b"};
    static const ink_status ends[] = {INK_OK, INK_OK, INK_E_ARG, INK_E_ARG};
    for (size_t t = 0; t < 4; t++) {
        ink_status status = INK_E_NOMEM;
        for (size_t n = 1; status == INK_E_NOMEM; n++) {
            fail_mem f = {.fail_at = n};
            const inki_mem failing = fail_mem_over(&f);
            inki_chain *chain = NULL;
            ink_error error = {0};
            status = inki_chain_new(&chain, texts[t], NULL, VOCAB, &failing, &error);
            if (status == INK_OK) inki_chain_free(chain);
            assert_int_equal(f.n_bytes, 0);
            assert_int_equal(error.status, status);
        }
        assert_int_equal(status, ends[t]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_is_the_same_chain),
        cmocka_unit_test(text_knows_the_new_steps_too),
        cmocka_unit_test(errors_name_the_place),
        cmocka_unit_test(broken_json_is_of_the_chain),
        cmocka_unit_test(breakers_are_bounded),
        cmocka_unit_test(every_failed_allocation_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
