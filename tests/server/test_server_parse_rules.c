// SPDX-License-Identifier: MIT
// Reading what an answer must be and how it is sampled: no server is needed for it.
#include "server/completion_parse.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MANY(array) (sizeof(array) / sizeof *(array))

static srv_completion accepted(const char *body) {
    srv_completion c;
    srv_failure why = {0};
    if (!srv_completion_parse(&c, body, strlen(body), false, &why))
        fail_msg("%s: %s", body, why.message);
    return c;
}

static void refused(const char *body, const char *param, const char *says) {
    srv_completion c;
    srv_failure why = {0};
    if (srv_completion_parse(&c, body, strlen(body), false, &why)) fail_msg("taken: %s", body);
    if (strcmp(why.param, param) != 0) fail_msg("%s: param \"%s\"", body, why.param);
    if (strstr(why.message, says) == NULL) fail_msg("%s: \"%s\"", body, why.message);
    assert_int_equal(why.status, 400);
}

// --- members as they are written -----------------------------------------------------------------

static void test_raw(void **state) {
    (void)state;
    static const struct {
        const char *object, *name, *value; // NULL: none
    } cases[] = {
        {"{\"a\":1}", "a", "1"},
        {"  {\"a\"\n:\t0.10 }", "a", "0.10"},
        {"{\"b\":{\"a\":2},\"a\":{\"x\":[\"}\",{}]},\"c\":0}", "a", "{\"x\":[\"}\",{}]}"},
        {"{\"b\":\"\\\"a\\\":5\\\\\",\"a\":\"q\\\"\"}", "a", "\"q\\\"\""},
        {"{\"b\":[[\"]\"],\"a\"] , \"a\" : [ ] }", "a", "[ ]"},
        {"{\"aa\":1,\"a\":true}", "a", "true"},
        {"{\"a\":null}", "a", "null"},
        {"{\"b\":\"a\"}", "a", NULL},
        {"{\"\\u0061\":1}", "a", NULL},
        {"{}", "a", NULL},
        {"", "a", NULL},
        {"{\"\":7}", "", "7"},
    };
    for (size_t i = 0; i < MANY(cases); i++) {
        size_t n = 0;
        const char *value = srv_in_raw(cases[i].object, strlen(cases[i].object), cases[i].name, &n);
        if (cases[i].value == NULL) {
            assert_null(value);
            continue;
        }
        if (value == NULL) fail_msg("not found in %s", cases[i].object);
        assert_int_equal(n, strlen(cases[i].value));
        assert_memory_equal(value, cases[i].value, n);
    }
    // Text that is cut anywhere is not read past its end.
    static const char whole[] = "{\"b\":[1,{\"c\":\"\\\\\"}],\"a\":[\"x\\\"\"] }";
    for (size_t bytes = 0; bytes < sizeof whole; bytes++) {
        size_t n = 0;
        char *cut = malloc(bytes + 1);
        memcpy(cut, whole, bytes);
        const char *value = srv_in_raw(cut, bytes, "a", &n);
        assert_true(value == NULL || (value >= cut && n <= bytes - (size_t)(value - cut)));
        free(cut);
    }
}

// --- rules ---------------------------------------------------------------------------------------

#define FORMAT(inside) "{\"response_format\":{" inside "}}"

static void test_rules(void **state) {
    (void)state;
    static const struct {
        const char *body, *param, *text;
        uint32_t kind;
    } cases[] = {
        {"{\"grammar\":\"root ::= \\\"a\\\"\"}", "grammar", "root ::= \"a\"", INK_GRAMMAR_GBNF},
        {"{\"json_schema\": { \"maximum\" : 0.10 } }", "json_schema", "{ \"maximum\" : 0.10 }",
         INK_GRAMMAR_JSON_SCHEMA},
        {FORMAT("\"type\":\"json_object\""), "response_format", "{\"type\":\"object\"}",
         INK_GRAMMAR_JSON_SCHEMA},
        {FORMAT("\"type\":\"json_object\",\"schema\":{\"b\":1,\"a\":2}"), "response_format.schema",
         "{\"b\":1,\"a\":2}", INK_GRAMMAR_JSON_SCHEMA},
        {FORMAT("\"type\":\"json_object\",\"schema\":null"), "response_format",
         "{\"type\":\"object\"}", INK_GRAMMAR_JSON_SCHEMA},
        {FORMAT("\"json_schema\":{\"schema\":{ },\"name\":\"n\",\"strict\":false,\"description\":"
                "\"d\"},\"type\":\"json_schema\""),
         "response_format.json_schema.schema", "{ }", INK_GRAMMAR_JSON_SCHEMA},
        {"{\"response_format\":{\"type\":\"text\"},\"grammar\":\"x\"}", "grammar", "x",
         INK_GRAMMAR_GBNF},
    };
    for (size_t i = 0; i < MANY(cases); i++) {
        srv_completion c = accepted(cases[i].body);
        assert_string_equal(c.rules.param, cases[i].param);
        assert_int_equal(c.rules.kind, cases[i].kind);
        assert_int_equal(c.rules.bytes, strlen(cases[i].text));
        assert_memory_equal(c.rules.text, cases[i].text, c.rules.bytes);
        srv_completion_clear(&c);
    }
    static const char *const none[] = {"{}", FORMAT("\"type\":\"text\""),
                                       "{\"grammar\":\"\",\"json_schema\":null}",
                                       "{\"grammar\":null,\"response_format\":null}"};
    for (size_t i = 0; i < MANY(none); i++) {
        srv_completion c = accepted(none[i]);
        assert_null(c.rules.text);
        srv_completion_clear(&c);
    }
}

static void test_wrong_rules(void **state) {
    (void)state;
    static const char *const cases[][3] = {
        {"{\"grammar\":5}", "grammar", "must be a string"},
        {"{\"json_schema\":\"{}\"}", "json_schema", "must be an object"},
        {"{\"json_schema\":true}", "json_schema", "must be an object"},
        {"{\"response_format\":\"json\"}", "response_format", "must be an object"},
        {FORMAT(""), "response_format.type", "one of"},
        {FORMAT("\"type\":\"yaml\""), "response_format.type", "one of"},
        {FORMAT("\"type\":\"text\",\"schema\":{}"), "response_format.schema", "Unrecognized"},
        {FORMAT("\"type\":\"json_object\",\"schema\":5"), "response_format.schema",
         "must be an object"},
        {FORMAT("\"type\":\"json_object\",\"json_schema\":{}"), "response_format.json_schema",
         "Unrecognized"},
        {FORMAT("\"type\":\"json_schema\""), "response_format.json_schema", "must be an object"},
        {FORMAT("\"type\":\"json_schema\",\"json_schema\":[]"), "response_format.json_schema",
         "must be an object"},
        {FORMAT("\"type\":\"json_schema\",\"json_schema\":{\"name\":\"n\"}"),
         "response_format.json_schema.schema",
         "'response_format.json_schema.schema' must be an object"},
        {FORMAT("\"type\":\"json_schema\",\"json_schema\":{\"schema\":{},\"name\":1}"),
         "response_format.json_schema.name", "must be a string"},
        {FORMAT("\"type\":\"json_schema\",\"json_schema\":{\"schema\":{},\"strict\":1}"),
         "response_format.json_schema.strict", "true or false"},
        {FORMAT("\"type\":\"json_schema\",\"json_schema\":{\"schema\":{},\"loose\":1}"),
         "response_format.json_schema.loose", "Unrecognized"},
        {FORMAT("\"type\":\"text\",\"x\":{}"), "response_format.x",
         "Unrecognized request argument supplied: response_format.x"},
        {"{\"grammar\":\"x\",\"required_words\":[\"a\"]}", "required_words",
         "'required_words' and 'grammar' exclude each other"},
        {FORMAT("\"type\":\"json_object\"},\"required_words\":[\"a\"],\"metadata\":{"),
         "required_words", "'required_words' and 'response_format' exclude each other"},
        {"{\"grammar\":\"x\",\"json_schema\":{}}", "grammar", "exclude each other"},
        {"{\"response_format\":{\"type\":\"json_object\"},\"json_schema\":{}}", "json_schema",
         "exclude each other"},
        {"{\"response_format\":{\"type\":\"json_object\"},\"grammar\":\"x\"}", "grammar",
         "exclude each other"},
        {"{\"json\\u005fschema\":{}}", "json_schema", "without escapes"},
        {"{\"response\\u005fformat\":{\"type\":\"json_object\"}}", "response_format",
         "without escapes"},
        {FORMAT("\"type\":\"json_object\",\"sch\\u0065ma\":{}"), "response_format.schema",
         "without escapes"},
    };
    for (size_t i = 0; i < MANY(cases); i++) refused(cases[i][0], cases[i][1], cases[i][2]);
    // A name of the client's that is longer than what `param` holds is cut between characters.
    char body[512];
    for (int shift = 0; shift < 3; shift++) {
        int n = snprintf(body, sizeof body, "{\"response_format\":{\"type\":\"text\",\"%.*s", shift,
                         "aaa");
        for (int i = 0; i < 60; i++) n += snprintf(body + n, sizeof body - (size_t)n, "日");
        snprintf(body + n, sizeof body - (size_t)n, "\":1}}");
        srv_completion c;
        srv_failure why = {0};
        assert_false(srv_completion_parse(&c, body, strlen(body), false, &why));
        const size_t bytes = strlen(why.param);
        assert_true(bytes < sizeof why.param && bytes > sizeof why.param - 4);
        assert_int_equal((bytes - strlen("response_format.") - (size_t)shift) % 3, 0);
    }
}

static void test_length_of_rules(void **state) {
    (void)state;
    char *body = malloc(2 * SRV_MAX_RULES_BYTES);
    for (int more = 0; more < 2; more++) {
        const int n = SRV_MAX_RULES_BYTES + more;
        sprintf(body, "{\"grammar\":\"%*s\"}", n, "x");
        if (more == 0) {
            srv_completion c = accepted(body);
            assert_int_equal(c.rules.bytes, n);
            srv_completion_clear(&c);
        } else {
            refused(body, "grammar", "65537 bytes, 65536 are allowed");
        }
        sprintf(body, "{\"json_schema\":{\"title\":\"%*s\"}}", n - 12, "x");
        if (more == 0) {
            srv_completion c = accepted(body);
            assert_int_equal(c.rules.bytes, n);
            srv_completion_clear(&c);
        } else {
            refused(body, "json_schema", "65537 bytes, 65536 are allowed");
        }
    }
    free(body);
}

// A chat's answer ends where the next line of the script would begin, but a grammar knows better.
static void test_chat_stops(void **state) {
    (void)state;
    static const char with[] = "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],"
                               "\"stop\":\"x\",\"json_schema\":{}}";
    srv_completion c;
    srv_failure why = {0};
    assert_true(srv_completion_parse(&c, with, strlen(with), true, &why));
    assert_int_equal(c.n_stop, 1);
    assert_string_equal(c.stop[0], "x");
    srv_completion_clear(&c);
}

// --- sampling ------------------------------------------------------------------------------------

static void test_numbers(void **state) {
    (void)state;
    srv_completion c =
        accepted("{\"typical_p\":0.5,\"top_n_sigma\":1.5,\"dynatemp_range\":0.25,"
                 "\"dynatemp_exponent\":2,\"xtc_probability\":0.125,\"xtc_threshold\":0.375,"
                 "\"dry_multiplier\":0.75,\"dry_base\":1.25,\"dry_allowed_length\":3,"
                 "\"dry_penalty_last_n\":-1,\"no_repeat_ngram_size\":4,\"mirostat_tau\":6,"
                 "\"mirostat_eta\":0.0625,\"mirostat\":0,\"dry_sequence_breakers\":[\"\\n\",\"ä\"],"
                 "\"samplers\":null,\"required_words\":[\"cat\"]}");
    const ink_sampler_options *o = &c.sampler;
    assert_true(o->typical_p == 0.5f && o->top_n_sigma == 1.5f && o->dynatemp_range == 0.25f);
    assert_true(o->dynatemp_exponent == 2 && o->xtc_probability == 0.125f);
    assert_true(o->xtc_threshold == 0.375f && o->dry_multiplier == 0.75f && o->dry_base == 1.25f);
    assert_true(o->mirostat_tau == 6 && o->mirostat_eta == 0.0625f);
    assert_int_equal(o->dry_allowed_length, 3);
    assert_int_equal(o->dry_last_n, UINT32_MAX);
    assert_int_equal(o->no_repeat_ngram, 4);
    assert_int_equal(o->n_dry_breakers, 2);
    assert_string_equal(o->dry_breakers[1], "ä");
    assert_int_equal(c.n_required, 1);
    assert_string_equal(c.required[0], "cat");
    assert_null(c.chain);
    srv_completion_clear(&c);
    // An empty list is no list that is missing.
    c = accepted("{\"dry_sequence_breakers\":[]}");
    assert_true(c.sampler.dry_breakers != NULL && c.sampler.n_dry_breakers == 0);
    srv_completion_clear(&c);
    c = accepted("{}");
    assert_null(c.sampler.dry_breakers);
    srv_completion_clear(&c);
    // Its own window goes before that of penalties.
    c = accepted("{\"repeat_last_n\":9,\"repeat_penalty\":1.5}");
    assert_int_equal(c.sampler.penalty_last_n, 9);
    srv_completion_clear(&c);
}

static void test_chains(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"{\"samplers\":\"dry;top_k;temp\"}", "dry;top_k;temp"},
        {"{\"samplers\":[ \"dry\", {\"top_k\":4}]}", "[ \"dry\", {\"top_k\":4}]"},
        {"{\"samplers\":{\"temp\":0.10}}", "{\"temp\":0.10}"},
        {"{\"mirostat\":2}", "logit_bias;no_repeat_ngram;penalties;dry;temp;mirostat"},
    };
    for (size_t i = 0; i < MANY(cases); i++) {
        srv_completion c = accepted(cases[i][0]);
        assert_string_equal(c.chain, cases[i][1]);
        srv_completion_clear(&c);
    }
    char body[SRV_MAX_CHAIN_BYTES + 64];
    sprintf(body, "{\"samplers\":\"%*s\"}", SRV_MAX_CHAIN_BYTES, "temp");
    srv_completion c = accepted(body);
    assert_int_equal(strlen(c.chain), SRV_MAX_CHAIN_BYTES);
    srv_completion_clear(&c);
    sprintf(body, "{\"samplers\":\"%*s\"}", SRV_MAX_CHAIN_BYTES + 1, "temp");
    refused(body, "samplers", "16385 bytes, 16384 are allowed");
}

static void test_wrong_sampling(void **state) {
    (void)state;
    static const struct {
        const char *name, *values[5];
    } cases[] = {
        {"typical_p", {"-0.1", "1.1", "\"1\""}},
        {"top_n_sigma", {"-1.5", "101"}},
        {"dynatemp_range", {"-1", "2.5"}},
        {"dynatemp_exponent", {"-1", "101"}},
        {"xtc_probability", {"-1", "1.5", "[]"}},
        {"xtc_threshold", {"-1", "1.5"}},
        {"dry_multiplier", {"-1", "101"}},
        {"dry_base", {"-1", "101"}},
        {"dry_allowed_length", {"-1", "1025", "1.5"}},
        {"dry_penalty_last_n", {"-2", "2147483648", "1.5"}},
        {"repeat_last_n", {"-2", "2147483648", "true"}},
        {"no_repeat_ngram_size", {"-1", "1025"}},
        {"mirostat", {"-1", "1", "3", "2.0"}},
        {"mirostat_tau", {"-1", "101"}},
        {"mirostat_eta", {"-1", "1.5"}},
        {"dry_sequence_breakers", {"\"x\"", "[1]", "[\"a\\u0000b\"]", "{}"}},
        {"required_words", {"\"x\"", "[null]", "[\"\"]", "[\"a\\u0000b\"]", "5"}},
        {"samplers", {"5", "true", "\"a\\u0000b\""}},
    };
    for (size_t i = 0; i < MANY(cases); i++)
        for (size_t k = 0; k < 5 && cases[i].values[k] != NULL; k++) {
            char body[128];
            snprintf(body, sizeof body, "{\"%s\":%s}", cases[i].name, cases[i].values[k]);
            refused(body, cases[i].name, cases[i].name);
        }
    refused("{\"mirostat\":2,\"samplers\":\"temp\"}", "mirostat", "exclude each other");
    refused("{\"sampl\\u0065rs\":[\"temp\"]}", "samplers", "without escapes");
    char body[600] = "{\"required_words\":[\"";
    memset(body + strlen(body), 'x', SRV_MAX_REQUIRED_BYTES + 1);
    strcat(body, "\"]}");
    refused(body, "required_words", "256 bytes");
    strcpy(body, "{\"required_words\":[\"a\"");
    for (int i = 0; i < SRV_MAX_REQUIRED; i++) strcat(body, ",\"a\"");
    strcat(body, "]}");
    refused(body, "required_words", "64 strings at most");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_raw),         cmocka_unit_test(test_rules),
        cmocka_unit_test(test_wrong_rules), cmocka_unit_test(test_length_of_rules),
        cmocka_unit_test(test_chat_stops),  cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_chains),      cmocka_unit_test(test_wrong_sampling),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
