// SPDX-License-Identifier: MIT
// Reading requests: no server is needed for it.
#include "server/completion_parse.h"
#include "server/json_out.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MANY(array) (sizeof(array) / sizeof *(array))

static bool parse(srv_completion *c, const char *body, bool chat, srv_failure *why) {
    memset(why, 0, sizeof *why);
    return srv_completion_parse(c, body, strlen(body), chat, why);
}

static srv_completion accepted(const char *body, bool chat) {
    srv_completion c;
    srv_failure why;
    if (!parse(&c, body, chat, &why)) fail_msg("%s: %s", body, why.message);
    return c;
}

static void refused(const char *body, bool chat, const char *param, const char *says) {
    srv_completion c;
    srv_failure why;
    if (parse(&c, body, chat, &why)) fail_msg("taken: %s", body);
    if (strcmp(why.param, param) != 0) fail_msg("%s: param \"%s\"", body, why.param);
    if (strstr(why.message, says) == NULL) fail_msg("%s: \"%s\"", body, why.message);
    assert_int_equal(why.status, 400);
    assert_string_equal(why.type, "invalid_request_error");
}

// --- the object ----------------------------------------------------------------------------------

static void test_what_is_no_object(void **state) {
    (void)state;
    static const char *const bodies[] = {"",
                                         " ",
                                         "{",
                                         "[]",
                                         "null",
                                         "1",
                                         "\"a\"",
                                         "{} {}",
                                         "{\"n\":1,}",
                                         "{'n':1}",
                                         "{\"n\":01}",
                                         "{\"prompt\":\"a\",\"prompt\":\"a\"}",
                                         "{\"prompt\":1e999}",
                                         "{\"prompt\":\"\\ud800\"}",
                                         "{\"\xff\":1}",
                                         "{\"prompt\":\"\xc3\"}",
                                         "\xef\xbb\xbf{}",
                                         "{\"a\\u0000b\":1}",
                                         "{\"seed\":99999999999999999999}"};
    for (size_t i = 0; i < MANY(bodies); i++) refused(bodies[i], false, "", "");
    // Its length counts, not a 0 byte.
    srv_failure why = {0};
    assert_null(srv_in_object("{}\0", 3, &why));
    json_t *object = srv_in_object("{}x", 2, &why);
    assert_non_null(object);
    json_decref(object);
    assert_null(srv_in_object(NULL, 0, &why));
}

static void test_depth(void **state) {
    (void)state;
    srv_failure why = {0};
    char body[100200];
    // The object and 67 arrays are 68 levels; brackets inside of strings are none.
    for (int depth = 67; depth <= 68; depth++) {
        int n = snprintf(body, sizeof body, "{\"a[[[\\\"[\":");
        for (int i = 0; i < depth; i++) body[n++] = '[';
        for (int i = 0; i < depth; i++) body[n++] = ']';
        body[n++] = '}';
        json_t *object = srv_in_object(body, (size_t)n, &why);
        assert_int_equal(object != NULL, depth == 67);
        json_decref(object);
    }
    assert_non_null(strstr(why.message, "deeper"));
    memset(body, '[', 100000);
    body[0] = '{';
    assert_null(srv_in_object(body, 100000, &why));
}

// An object of two bytes takes a hundred times as many in memory.
static void test_many_lists(void **state) {
    (void)state;
    srv_failure why = {0};
    char *body = malloc(4 << 16);
    for (size_t n = 65534; n <= 65535; n++) { // and those around them
        size_t at = (size_t)sprintf(body, "{\"a\":[");
        for (size_t i = 0; i < n; i++) at += (size_t)sprintf(body + at, "%s{}", i > 0 ? "," : "");
        at += (size_t)sprintf(body + at, "]}");
        json_t *object = srv_in_object(body, at, &why);
        assert_int_equal(object != NULL, n == 65534);
        json_decref(object);
    }
    assert_int_equal(why.status, 400);
    assert_non_null(strstr(why.message, "65536"));
    free(body);
}

// What a waiting request keeps is what it points to.
static void test_what_is_kept(void **state) {
    (void)state;
    srv_completion c =
        accepted("{\"model\":\"m\",\"prompt\":[1,2,3],\"metadata\":[{},{}],\"seed\":1,"
                 "\"logit_bias\":{\"7\":5},\"stop\":[\"s\"],\"word_filter\":[\"w\"]}",
                 false);
    assert_int_equal(json_object_size(c.root), 3);
    assert_string_equal(c.model, "m");
    assert_string_equal(c.stop[0], "s");
    assert_string_equal(c.phrases[0], "w");
    assert_int_equal(c.prompts[0].n_tokens, 3);
    assert_int_equal(c.prompts[0].tokens[2], 3);
    assert_int_equal(c.sampler.logit_bias[0].token, 7);
    srv_completion_clear(&c);
    c = accepted("{\"prompt\":[\"a\",\"b\"],\"stop\":\"x\"}", false);
    assert_int_equal(c.n_prompts, 2);
    assert_memory_equal(c.prompts[1].text, "b", 2);
    assert_string_equal(c.stop[0], "x");
    srv_completion_clear(&c);
    c = accepted("{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],\"tools\":[]}", true);
    assert_int_equal(json_object_size(c.root), 0);
    assert_memory_equal(c.prompts[0].text, "User: a\nAssistant:", 18);
    srv_completion_clear(&c);
}

static void test_fields(void **state) {
    (void)state;
    static const char *const names[] = {"one", "two", NULL};
    json_t *object = json_loads("{\"t\":true,\"i\":-3,\"big\":9223372036854775807,\"r\":0.5,"
                                "\"s\":\"text\",\"z\":\"a\\u0000b\",\"null\":null,\"c\":\"two\"}",
                                JSON_ALLOW_NUL, NULL);
    srv_failure why = {0};
    srv_in in = {.object = object, .why = &why};
    bool flag = false;
    int64_t i = 0;
    uint64_t u = 0;
    double r = 0;
    uint32_t which = 9;
    const char *text = NULL;
    size_t bytes = 0;
    assert_true(srv_in_bool(&in, "t", &flag) && flag);
    assert_true(srv_in_int(&in, "i", -3, -3, &i) && i == -3);
    assert_true(srv_in_uint(&in, "big", 0, UINT64_MAX, &u) && u == INT64_MAX);
    assert_true(srv_in_real(&in, "r", 0, 1, &r) && r == 0.5);
    assert_true(srv_in_real(&in, "i", -3, 1, &r) && r == -3); // an integer is a number
    assert_true(srv_in_text(&in, "s", &text, NULL) && strcmp(text, "text") == 0);
    assert_true(srv_in_text(&in, "z", &text, &bytes) && bytes == 3 && memcmp(text, "a\0b", 3) == 0);
    assert_true(srv_in_choice(&in, "c", names, &which) && which == 1);
    assert_false(srv_in_bool(&in, "null", &flag));
    assert_false(srv_in_bool(&in, "absent", &flag));
    assert_false(in.failed);
    // The first refusal stays; nothing is read behind it.
    assert_false(srv_in_text(&in, "z", &text, NULL));
    assert_true(in.failed);
    assert_string_equal(why.param, "z");
    assert_false(srv_in_int(&in, "i", 0, 1, &i));
    assert_false(srv_in_bool(&in, "t", &flag));
    assert_string_equal(why.param, "z");
    assert_null(srv_in_any(&in, "t"));
    json_decref(object);
}

static void test_unknown_names_are_cut_between_characters(void **state) {
    (void)state;
    srv_completion c;
    srv_failure why;
    char body[400];
    for (int n = 40; n < 60; n++) {
        int at = snprintf(body, sizeof body, "{\"");
        for (int i = 0; i < n; i++) body[at++] = 'x';
        for (int i = 0; i < 10; i++) at += snprintf(body + at, 8, "\xe6\x97\xa5");
        snprintf(body + at, 8, "\":1}");
        assert_false(parse(&c, body, false, &why));
        assert_true(srv_utf8_valid(why.param, strlen(why.param)));
        assert_true(srv_utf8_valid(why.message, strlen(why.message)));
        assert_int_equal(strncmp(why.param, body + 2, strlen(why.param)), 0);
    }
    refused("{\"two\\nlines\":1}", false, "two?lines", "two?lines"); // a message is one line
}

// --- text completions ----------------------------------------------------------------------------

static void test_defaults(void **state) {
    (void)state;
    srv_completion c = accepted("{}", false);
    ink_sampler_options engine;
    ink_sampler_options_init(&engine, sizeof engine);
    assert_memory_equal(&c.sampler, &engine, sizeof engine);
    assert_null(c.model);
    assert_int_equal(c.n_prompts, 1);
    assert_int_equal(c.prompts[0].bytes + c.prompts[0].n_tokens, 0);
    assert_int_equal(c.n, 1);
    assert_int_equal(c.max_tokens, 16);
    assert_int_equal(c.n_stop + c.n_phrases + c.n_top + c.deadline_ms, 0);
    assert_false(c.stream || c.echo || c.logprobs || c.include_usage);
    assert_int_equal(c.priority, INK_PRIORITY_FOREGROUND);
    srv_completion_clear(&c);
    c = accepted("{\"prompt\":null,\"max_tokens\":null,\"stop\":null,\"seed\":null,\"n\":null,"
                 "\"logprobs\":null,\"logit_bias\":null,\"temperature\":null,\"model\":null,"
                 "\"word_filter\":null,\"priority\":null,\"suffix\":null,\"best_of\":null,"
                 "\"stream_options\":null,\"verbosity\":null}",
                 false);
    assert_memory_equal(&c.sampler, &engine, sizeof engine);
    assert_int_equal(c.max_tokens, 16);
    srv_completion_clear(&c);
}

static void test_prompts(void **state) {
    (void)state;
    srv_completion c = accepted("{\"prompt\":\"a\\u0000\xc3\xa9\"}", false);
    assert_int_equal(c.prompts[0].bytes, 4);
    assert_memory_equal(c.prompts[0].text, "a\0\xc3\xa9", 4);
    srv_completion_clear(&c);
    c = accepted("{\"prompt\":[\"a\",\"\",\"bc\"]}", false);
    assert_int_equal(c.n_prompts, 3);
    assert_string_equal(c.prompts[2].text, "bc");
    assert_int_equal(c.prompts[1].bytes, 0);
    srv_completion_clear(&c);
    c = accepted("{\"prompt\":[7,0,2147483647]}", false);
    assert_int_equal(c.n_prompts, 1);
    assert_int_equal(c.prompts[0].n_tokens, 3);
    assert_int_equal(c.prompts[0].tokens[2], INT32_MAX);
    srv_completion_clear(&c);
    c = accepted("{\"prompt\":[[1],[2,3],[4]]}", false);
    assert_int_equal(c.n_prompts, 3);
    assert_int_equal(c.prompts[1].n_tokens, 2);
    assert_int_equal(c.prompts[1].tokens[1], 3);
    assert_int_equal(c.prompts[2].tokens[0], 4);
    srv_completion_clear(&c);
    static const char *const wrong[] = {
        "5",      "true",         "{}",       "[]",           "[[]]",    "[1,\"a\"]", "[\"a\",1]",
        "[1.0]",  "[null]",       "[-1]",     "[[1],[]]",     "[[1],2]", "[[\"a\"]]", "[[[1]]]",
        "[true]", "[2147483648]", "[[1,-2]]", "[\"a\",null]", "[{}]"};
    for (size_t i = 0; i < MANY(wrong); i++) {
        char body[64];
        snprintf(body, sizeof body, "{\"prompt\":%s}", wrong[i]);
        refused(body, false, "prompt", "prompt");
    }
}

static void test_prompts_times_choices(void **state) {
    (void)state;
    char body[600];
    for (int n_prompts = 63; n_prompts <= 65; n_prompts++) {
        int at = snprintf(body, sizeof body, "{\"prompt\":[\"\"");
        for (int i = 1; i < n_prompts; i++) at += snprintf(body + at, 8, ",\"\"");
        snprintf(body + at, 8, "]}");
        if (n_prompts > 64) {
            refused(body, false, "prompt", "64");
        } else {
            srv_completion c = accepted(body, false);
            assert_int_equal(c.n_prompts, n_prompts);
            srv_completion_clear(&c);
        }
    }
    srv_completion c =
        accepted("{\"prompt\":[\"\",\"\",\"\",\"\"],\"n\":16,\"best_of\":16}", false);
    assert_int_equal(c.n, 16);
    srv_completion_clear(&c);
    refused("{\"prompt\":[\"\",\"\",\"\",\"\",\"\"],\"n\":13}", false, "n", "64");
    refused("{\"n\":17}", false, "n", "from 1 to 16");
    refused("{\"n\":0}", false, "n", "from 1 to 16");
}

static void test_sampling(void **state) {
    (void)state;
    srv_completion c = accepted("{\"temperature\":2,\"top_p\":0,\"top_k\":7,\"min_p\":1,"
                                "\"seed\":-9223372036854775808,"
                                "\"logit_bias\":{\"0\":-100,\"50256\":2.5}}",
                                false);
    assert_true(c.sampler.temperature == 2 && c.sampler.top_p == 0 && c.sampler.min_p == 1);
    assert_int_equal(c.sampler.top_k, 7);
    assert_true(c.sampler.seed_set == 1 && c.sampler.seed == (uint64_t)INT64_MIN);
    assert_int_equal(c.sampler.n_logit_bias, 2);
    for (size_t i = 0; i < 2; i++) {
        const ink_logit_bias *bias = &c.sampler.logit_bias[i];
        assert_true(bias->token == 0 ? bias->bias == -100
                                     : bias->token == 50256 && bias->bias == 2.5f);
    }
    // Without penalties the engine's window stays, with them all of the text counts.
    assert_int_equal(c.sampler.penalty_last_n, 64);
    srv_completion_clear(&c);
    static const char *const penalties[] = {"presence_penalty", "frequency_penalty",
                                            "repeat_penalty"};
    for (size_t i = 0; i < MANY(penalties); i++) {
        char body[80];
        snprintf(body, sizeof body, "{\"%s\":1.5}", penalties[i]);
        c = accepted(body, false);
        assert_int_equal(c.sampler.penalty_last_n, UINT32_MAX);
        assert_true(c.sampler.presence_penalty + c.sampler.frequency_penalty +
                        c.sampler.repeat_penalty - 1 ==
                    (i == 2 ? 0.5f : 1.5f));
        srv_completion_clear(&c);
    }
}

static void test_stops_and_lists(void **state) {
    (void)state;
    srv_completion c = accepted("{\"stop\":\"\\n\"}", false);
    assert_int_equal(c.n_stop, 1);
    assert_string_equal(c.stop[0], "\n");
    srv_completion_clear(&c);
    c = accepted("{\"stop\":[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\",\"10\",\"11\","
                 "\"12\",\"13\",\"14\",\"15\",\"16\"],\"word_filter\":[\"a b\",\"c\"]}",
                 false);
    assert_int_equal(c.n_stop, 16);
    assert_string_equal(c.stop[15], "16");
    assert_int_equal(c.n_phrases, 2);
    assert_string_equal(c.phrases[1], "c");
    srv_completion_clear(&c);
    c = accepted("{\"stop\":[],\"word_filter\":[],\"logit_bias\":{}}", false);
    assert_int_equal(c.n_stop + c.n_phrases + c.sampler.n_logit_bias, 0);
    srv_completion_clear(&c);
    refused("{\"stop\":[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\",\"10\",\"11\","
            "\"12\",\"13\",\"14\",\"15\",\"16\",\"17\"]}",
            false, "stop", "16");
    for (size_t n = 1024; n <= 1025; n++) {
        char body[1100];
        snprintf(body, sizeof body, "{\"stop\":[\"a\",\"%0*d\"]}", (int)n, 0);
        if (n == 1025) {
            refused(body, false, "stop", "1025");
            continue;
        }
        c = accepted(body, false);
        assert_int_equal(strlen(c.stop[1]), n);
        srv_completion_clear(&c);
    }
}

typedef struct wrong_field {
    const char *field, *values[8];
} wrong_field;

static void refuse_all(const wrong_field *cases, size_t n, const char *before, bool chat) {
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < 8 && cases[i].values[k] != NULL; k++) {
            char body[400];
            snprintf(body, sizeof body, "{%s\"%s\":%s}", before, cases[i].field,
                     cases[i].values[k]);
            refused(body, chat, cases[i].field, cases[i].field);
        }
    }
}

static const wrong_field wrong_of_both[] = {
    {"model", {"5", "[]", "\"a\\u0000\""}},
    {"temperature", {"-0.1", "2.1", "\"1\"", "true", "[]"}},
    {"top_p", {"-0.1", "1.1", "\"1\""}},
    {"max_tokens", {"-1", "1.5", "2147483648", "\"8\"", "true"}},
    {"n", {"0", "17", "1.0", "\"1\""}},
    {"stop", {"\"\"", "5", "[\"a\",\"\"]", "[5]", "[null]", "{}", "\"a\\u0000\""}},
    {"seed", {"1.5", "\"1\"", "true"}},
    {"stream", {"1", "\"true\""}},
    {"stream_options", {"1", "[]", "{}", "{\"include_usage\":true}"}},
    {"presence_penalty", {"-2.1", "2.1", "\"1\""}},
    {"frequency_penalty", {"-2.1", "2.1", "[]"}},
    {"logit_bias",
     {"5", "[1]", "{\"a\":1}", "{\"01\":1}", "{\"1\":101}", "{\"1\":\"1\"}", "{\"-1\":1}",
      "{\"2147483648\":1}"}},
    {"top_k", {"-1", "1.5"}},
    {"min_p", {"-1", "2"}},
    {"repeat_penalty", {"0", "-1", "101"}},
    {"word_filter", {"\"a\"", "[1]", "{}", "[\"a\\u0000b\"]"}},
    {"deadline_ms", {"0", "-1", "1.5"}},
    {"priority", {"\"typing\"", "1", "\"\""}},
    {"reasoning_effort", {"\"low\""}},
    {"verbosity", {"\"low\""}},
    {"no_such_field", {"1", "null"}},
};

static void test_wrong_fields(void **state) {
    (void)state;
    static const wrong_field cases[] = {
        {"echo", {"1", "\"true\""}},
        {"logprobs", {"-1", "21", "true", "1.5"}},
        {"best_of", {"0", "2", "\"1\""}},
        {"suffix", {"\"end\"", "5", "\"\\u0000\""}},
        {"messages", {"[]"}},
        {"max_completion_tokens", {"1"}},
        {"top_logprobs", {"1"}},
    };
    refuse_all(cases, MANY(cases), "", false);
    refuse_all(wrong_of_both, MANY(wrong_of_both), "", false);
    refused("{\"n\":2,\"best_of\":1}", false, "best_of", "best_of");
    refused("{\"nope\":1}", false, "nope", "Unrecognized request argument");
    refused("{\"stream\":true,\"stream_options\":{\"include_usage\":1}}", false, "stream_options",
            "include_usage");
    refused("{\"stream\":true,\"stream_options\":{\"x\":1}}", false, "stream_options",
            "Unrecognized");
}

static void test_fields_without_effect(void **state) {
    (void)state;
    srv_completion c = accepted(
        "{\"user\":\"u\",\"metadata\":{\"a\":\"b\"},\"store\":true,\"service_tier\":\"auto\","
        "\"safety_identifier\":\"s\",\"prompt_cache_key\":\"k\",\"suffix\":null}",
        false);
    srv_completion_clear(&c);
}

static void test_streams(void **state) {
    (void)state;
    srv_completion c = accepted("{\"stream\":true,\"stream_options\":{\"include_usage\":true,"
                                "\"include_obfuscation\":true}}",
                                false);
    assert_true(c.stream && c.include_usage);
    srv_completion_clear(&c);
    c = accepted("{\"stream\":true,\"stream_options\":{}}", false);
    assert_true(c.stream && !c.include_usage);
    srv_completion_clear(&c);
}

// --- chat ----------------------------------------------------------------------------------------

#define HELLO "\"messages\":[{\"role\":\"user\",\"content\":\"Hello\"}]"

static void test_chat_prompt(void **state) {
    (void)state;
    srv_completion c = accepted(
        "{\"messages\":[{\"role\":\"system\",\"content\":\"Be kind.\"},"
        "{\"role\":\"developer\",\"content\":\"Be\\nbrief.\"},"
        "{\"role\":\"user\",\"name\":\"Tom\",\"content\":[{\"type\":\"text\",\"text\":\"one\"},"
        "{\"type\":\"text\",\"text\":\"two\"}]},"
        "{\"role\":\"assistant\",\"content\":\"\",\"refusal\":null,\"tool_calls\":[]},"
        "{\"role\":\"user\",\"content\":\"Hello\"}]}",
        true);
    static const char expected[] = "System: Be kind.\nSystem: Be\nbrief.\nUser: one\ntwo\n"
                                   "Assistant: \nUser: Hello\nAssistant:";
    assert_int_equal(c.n_prompts, 1);
    assert_int_equal(c.prompts[0].bytes, sizeof expected - 1);
    assert_memory_equal(c.prompts[0].text, expected, sizeof expected - 1);
    assert_int_equal(c.n_stop, 3);
    assert_string_equal(c.stop[0], "\nUser:");
    assert_int_equal(c.max_tokens, INT32_MAX);
    srv_completion_clear(&c);
}

static void test_chat_fields(void **state) {
    (void)state;
    srv_completion c =
        accepted("{" HELLO ",\"max_tokens\":5,\"max_completion_tokens\":5,\"logprobs\":true,"
                 "\"top_logprobs\":20,\"stop\":[\"x\"],\"n\":16}",
                 true);
    assert_int_equal(c.max_tokens, 5);
    assert_true(c.logprobs && c.n_top == 20);
    assert_int_equal(c.n_stop, 4);
    assert_string_equal(c.stop[0], "x");
    srv_completion_clear(&c);
    c = accepted("{" HELLO ",\"max_completion_tokens\":0,\"logprobs\":false}", true);
    assert_int_equal(c.max_tokens, 0);
    assert_false(c.logprobs);
    srv_completion_clear(&c);
    c = accepted("{" HELLO
                 ",\"response_format\":{\"type\":\"text\"},\"tools\":[],\"functions\":null,"
                 "\"tool_choice\":\"none\",\"function_call\":\"none\",\"modalities\":[\"text\"],"
                 "\"metadata\":{\"a\":\"b\"},\"store\":true,\"service_tier\":\"auto\","
                 "\"prediction\":{\"type\":\"content\",\"content\":\"x\"},\"user\":\"u\","
                 "\"safety_identifier\":\"s\",\"prompt_cache_key\":\"k\",\"audio\":null,"
                 "\"prompt_cache_retention\":\"24h\",\"parallel_tool_calls\":true,"
                 "\"reasoning_effort\":null,\"web_search_options\":null}",
                 true);
    srv_completion_clear(&c);
}

static void test_wrong_chat_fields(void **state) {
    (void)state;
    static const wrong_field cases[] = {
        {"logprobs", {"1", "\"true\""}},
        {"top_logprobs", {"1", "21", "-1"}},
        {"max_completion_tokens", {"-1", "1.5"}},
        {"response_format", {"5", "[]", "\"text\""}},
        {"modalities", {"[\"text\",\"audio\"]", "[\"audio\"]", "\"text\"", "[]"}},
        {"tools", {"[{}]", "{}", "5"}},
        {"functions", {"[{}]", "\"f\""}},
        {"tool_choice", {"\"auto\"", "\"required\"", "{}"}},
        {"function_call", {"\"auto\"", "{\"name\":\"f\"}"}},
        {"audio", {"{}", "[]"}},
        {"web_search_options", {"{}"}},
        {"moderation", {"{}"}},
        {"prompt", {"\"a\""}},
        {"echo", {"true"}},
        {"best_of", {"1"}},
        {"suffix", {"\"\""}},
    };
    refuse_all(cases, MANY(cases), HELLO ",", true);
    refuse_all(wrong_of_both, MANY(wrong_of_both), HELLO ",", true);
    refused("{" HELLO ",\"max_tokens\":1,\"max_completion_tokens\":2}", true, "max_tokens",
            "differ");
}

static void test_wrong_messages(void **state) {
    (void)state;
    static const struct {
        const char *messages, *param;
    } cases[] = {
        {"null", "messages"},
        {"[]", "messages"},
        {"{}", "messages"},
        {"\"Hello\"", "messages"},
        {"[5]", "messages[0]"},
        {"[{\"content\":\"x\"}]", "messages[0].role"},
        {"[{\"role\":\"nobody\",\"content\":\"x\"}]", "messages[0].role"},
        {"[{\"role\":\"user\\u0000\",\"content\":\"x\"}]", "messages[0].role"},
        {"[{\"role\":\"user\",\"content\":\"x\"},{\"role\":\"tool\",\"content\":\"x\"}]",
         "messages[1].role"},
        {"[{\"role\":\"function\",\"name\":\"f\",\"content\":\"x\"}]", "messages[0].role"},
        {"[{\"role\":\"user\"}]", "messages[0].content"},
        {"[{\"role\":\"assistant\",\"content\":null}]", "messages[0].content"},
        {"[{\"role\":\"user\",\"content\":5}]", "messages[0].content"},
        {"[{\"role\":\"user\",\"content\":[]}]", "messages[0].content"},
        {"[{\"role\":\"user\",\"content\":[\"x\"]}]", "messages[0].content[0]"},
        {"[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"x\"},"
         "{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:,\"}}]}]",
         "messages[0].content[1].type"},
        {"[{\"role\":\"user\",\"content\":[{\"type\":\"text\"}]}]", "messages[0].content[0].text"},
        {"[{\"role\":\"assistant\",\"content\":\"x\",\"tool_calls\":[{}]}]",
         "messages[0].tool_calls"},
        {"[{\"role\":\"user\",\"content\":\"x\",\"weight\":1}]", "messages[0].weight"},
    };
    for (size_t i = 0; i < MANY(cases); i++) {
        char body[400];
        snprintf(body, sizeof body, "{\"messages\":%s}", cases[i].messages);
        refused(body, true, cases[i].param, "");
    }
    refused("{}", true, "messages", "messages");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_no_object),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_many_lists),
        cmocka_unit_test(test_what_is_kept),
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_unknown_names_are_cut_between_characters),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_prompts),
        cmocka_unit_test(test_prompts_times_choices),
        cmocka_unit_test(test_sampling),
        cmocka_unit_test(test_stops_and_lists),
        cmocka_unit_test(test_wrong_fields),
        cmocka_unit_test(test_fields_without_effect),
        cmocka_unit_test(test_streams),
        cmocka_unit_test(test_chat_prompt),
        cmocka_unit_test(test_chat_fields),
        cmocka_unit_test(test_wrong_chat_fields),
        cmocka_unit_test(test_wrong_messages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
