// SPDX-License-Identifier: MIT
// Answers that are held to a grammar or a schema, over the wire: what comes is what the engine
// makes with that grammar, what is wrong is told by name and place, and compiled ones are kept.
#include "completion_scene.h"

#include "server/app.h"
#include "server/grammars.h"
#include "server/http.h"

#include <sched.h>

#define COMPLETIONS "/v1/completions"
#define CHAT        "/v1/chat/completions"
#define HELLO       "\"messages\":[{\"role\":\"user\",\"content\":\"Hello\"}]"

static srv_grammars_info cache_now(void) {
    return srv_grammars_get_info(scene_app->models[0].grammars);
}

// A request gives its grammar back a moment behind its answer.
static void wait_until_unused(void) {
    while (cache_now().held_bytes != cache_now().kept_bytes) sched_yield();
}

// --- what comes ----------------------------------------------------------------------------------

static const char cat_schema[] =
    "{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\",\"maxLength\":8},"
    "\"age\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":20}},\"required\":[\"name\",\"age\"],"
    "\"additionalProperties\":false}";

static void check_cat(const char *text) {
    json_t *cat = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    if (cat == NULL) fail_msg("no JSON: %s", text);
    assert_int_equal(json_object_size(cat), 2);
    const long long age = number_at(cat, "age");
    assert_true(age >= 1 && age <= 20);
    size_t n = 0;
    for (const char *c = text_at(cat, "name"); *c != 0; c++)
        n += ((unsigned char)*c & 0xc0) != 0x80;
    assert_true(n <= 8);
    json_decref(cat);
}

static void test_schema(void **state) {
    (void)state;
    static const char openai[] =
        "\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"cat\","
        "\"strict\":true,\"schema\":%s}}";
    static const char *const forms[] = {
        openai, "\"response_format\":{\"type\":\"json_object\",\"schema\":%s}",
        "\"json_schema\":%s"};
    for (size_t i = 0; i < 3; i++)
        for (int chat = 0; chat < 2; chat++) {
            char rules[512], body[1024];
            snprintf(rules, sizeof rules, forms[i], cat_schema);
            snprintf(body, sizeof body,
                     "{%s,\"max_tokens\":100,\"temperature\":1,\"seed\":%zu,\"n\":4,%s}",
                     chat ? HELLO : "\"prompt\":\"A cat:\"", i, rules);
            scene_answer answer = good(chat ? CHAT : COMPLETIONS, body);
            for (size_t k = 0; k < 4; k++) {
                char path[64];
                const char *const end = chat ? "message.content" : "text";
                snprintf(path, sizeof path, "choices[%zu].%s", k, end);
                check_cat(text_at(answer.json, path));
                snprintf(path, sizeof path, "choices[%zu].finish_reason", k);
                assert_string_equal(text_at(answer.json, path), "stop");
            }
            forget(&answer);
        }
}

static void test_stream(void **state) {
    (void)state;
    char body[1024], text[512] = "";
    snprintf(body, sizeof body,
             "{" HELLO ",\"stream\":true,\"max_tokens\":100,\"seed\":5,\"json_schema\":%s}",
             cat_schema);
    scene_answer answer = good(CHAT, body);
    const size_t n = json_array_size(answer.json);
    for (size_t i = 0; i < n; i++) {
        const json_t *part = at(json_array_get(answer.json, i), "choices[0].delta.content");
        if (part != NULL) strcat(text, json_string_value(part));
    }
    check_cat(text);
    assert_string_equal(text_at(json_array_get(answer.json, n - 1), "choices[0].finish_reason"),
                        "stop");
    forget(&answer);
}

static void test_any_object(void **state) {
    (void)state;
    for (int seed = 0; seed < 12; seed++) {
        char body[256];
        snprintf(body, sizeof body,
                 "{\"prompt\":\"{\",\"max_tokens\":40,\"seed\":%d,"
                 "\"response_format\":{\"type\":\"json_object\"}}",
                 seed);
        scene_answer answer = good(COMPLETIONS, body);
        const char *text = text_at(answer.json, "choices[0].text");
        const bool whole = strcmp(text_at(answer.json, "choices[0].finish_reason"), "stop") == 0;
        json_t *object = json_loads(text, 0, NULL);
        assert_int_equal(text[0], '{');
        assert_int_equal(whole, json_is_object(object));
        json_decref(object);
        forget(&answer);
    }
    // One that cannot be long.
    scene_answer answer =
        good(COMPLETIONS, "{\"prompt\":\"x\",\"required_words\":[],\"max_tokens\":9,"
                          "\"response_format\":{\"type\":\"json_object\",\"schema\":"
                          "{\"type\":\"object\",\"maxProperties\":0}}}");
    assert_string_equal(text_at(answer.json, "choices[0].text"), "{}");
    assert_string_equal(text_at(answer.json, "choices[0].finish_reason"), "stop");
    forget(&answer);
}

// Each part by itself is known from the grammar alone.
static void test_reasons(void **state) {
    (void)state;
    scene_answer answer = good(COMPLETIONS, "{\"prompt\":\"x\",\"n\":3,\"best_of\":3,\"grammar\":"
                                            "\"root ::= \\\" Yes, yes.\\\"\"}");
    for (int i = 0; i < 3; i++) {
        char path[64];
        snprintf(path, sizeof path, "choices[%d].text", i);
        assert_string_equal(text_at(answer.json, path), " Yes, yes.");
        snprintf(path, sizeof path, "choices[%d].finish_reason", i);
        assert_string_equal(text_at(answer.json, path), "stop");
    }
    forget(&answer);
    // A chat's answer keeps the blanks that its grammar begins with, and ends where it ends.
    answer = good(CHAT, "{" HELLO ",\"logprobs\":true,\"grammar\":"
                        "\"root ::= \\\" \\\\n Hi\\\\nUser: and\\\\nSystem: on\\\"\"}");
    assert_string_equal(text_at(answer.json, "choices[0].message.content"),
                        " \n Hi\nUser: and\nSystem: on");
    assert_string_equal(text_at(answer.json, "choices[0].finish_reason"), "stop");
    char joined[64] = "";
    const json_t *tokens = at(answer.json, "choices[0].logprobs.content");
    for (size_t i = 0; i < json_array_size(tokens); i++)
        strcat(joined, text_at(json_array_get(tokens, i), "token"));
    assert_string_equal(joined, " \n Hi\nUser: and\nSystem: on");
    forget(&answer);
    answer = good(COMPLETIONS, "{\"prompt\":\"x\",\"max_tokens\":9,\"logprobs\":3,\"grammar\":"
                               "\"root ::= [0-9]{200}\"}");
    const char *text = text_at(answer.json, "choices[0].text");
    assert_true(strspn(text, "0123456789") == strlen(text) && strlen(text) >= 9);
    assert_string_equal(text_at(answer.json, "choices[0].finish_reason"), "length");
    assert_int_equal(json_array_size(at(answer.json, "choices[0].logprobs.tokens")), 9);
    assert_int_equal(json_array_size(at(answer.json, "choices[0].logprobs.top_logprobs")), 9);
    forget(&answer);
    answer = good(COMPLETIONS, "{\"prompt\":\"x\",\"max_tokens\":40,\"stop\":\"7\",\"grammar\":"
                               "\"root ::= \\\"1234567890\\\"\"}");
    assert_string_equal(text_at(answer.json, "choices[0].text"), "123456");
    assert_string_equal(text_at(answer.json, "choices[0].finish_reason"), "stop");
    forget(&answer);
}

// --- the engine's own ----------------------------------------------------------------------------

typedef struct made {
    char text[2048];
    size_t bytes;
} made;

static int on_made(void *user, const ink_piece *piece) {
    made *m = user;
    assert_true(m->bytes + piece->bytes < sizeof m->text);
    memcpy(m->text + m->bytes, piece->text, piece->bytes);
    m->bytes += piece->bytes;
    m->text[m->bytes] = 0;
    return 0;
}

static void make(made *out, const char *prompt, const char *gbnf, const char *chain,
                 const ink_sampler_options *sampling, const char *required) {
    ink_model *model = ink_service_model(scene_app->models[0].service);
    ink_session_options so;
    ink_generate_options o;
    ink_session *session = NULL;
    ink_sampler *sampler = NULL;
    ink_session_options_init(&so, sizeof so);
    ink_generate_options_init(&o, sizeof o);
    so.n_ctx = SCENE_CONTEXT;
    out->bytes = 0;
    out->text[0] = 0;
    assert_int_equal(ink_session_new(&session, model, &so, NULL), INK_OK);
    assert_int_equal(ink_sampler_new(&sampler, model, chain, sampling, NULL), INK_OK);
    if (gbnf != NULL)
        assert_int_equal(
            ink_grammar_new(&o.grammar, model, INK_GRAMMAR_GBNF, gbnf, strlen(gbnf), NULL), INK_OK);
    o.sampler = sampler;
    o.n_tokens = 32;
    o.required = &required;
    o.n_required = required != NULL;
    assert_int_equal(
        ink_session_generate(session, prompt, strlen(prompt), &o, on_made, out, NULL, NULL),
        INK_OK);
    ink_session_free(session);
    ink_sampler_free(sampler);
    ink_grammar_unref(o.grammar);
}

static void test_same_bytes(void **state) {
    (void)state;
    static const char gbnf[] = "root ::= (\"the \" | \"a \") [a-z]+ (\", \" [a-z ]{3,20})* \".\"";
    made own[2];
    ink_sampler_options sampling;
    ink_sampler_options_init(&sampling, sizeof sampling);
    sampling.seed_set = 1;
    sampling.temperature = 1.25f;
    for (int i = 0; i < 2; i++) {
        sampling.seed = 77 + (uint64_t)i;
        make(&own[i], "Once upon a time", gbnf, NULL, &sampling, NULL);
    }
    assert_string_not_equal(own[0].text, own[1].text);
    for (int round = 0; round < 2; round++) { // compiled anew, and from the cache
        scene_answer answer =
            good(COMPLETIONS, "{\"prompt\":\"Once upon a time\",\"n\":2,\"seed\":77,"
                              "\"temperature\":1.25,\"max_tokens\":32,\"grammar\":\"root ::= "
                              "(\\\"the \\\" | \\\"a \\\") [a-z]+ (\\\", \\\" [a-z ]{3,20})* "
                              "\\\".\\\"\"}");
        assert_string_equal(text_at(answer.json, "choices[0].text"), own[0].text);
        assert_string_equal(text_at(answer.json, "choices[1].text"), own[1].text);
        forget(&answer);
    }
}

static void test_chains(void **state) {
    (void)state;
    static const struct {
        const char *fields, *chain;
    } cases[] = {
        {"\"samplers\":\"dry=0.8;top_k=30;temp=1.5\"", "dry=0.8;top_k=30;temp=1.5"},
        {"\"samplers\":[{\"dry\":0.8},{\"top_k\":30},{\"temperature\":[1.5]}]",
         "dry=0.8;top_k=30;temp=1.5"},
        {"\"samplers\":{\"dry\":0.8,\"top_k\":30,\"temp\":1.5}", "dry=0.8;top_k=30;temp=1.5"},
        {"\"samplers\":[\"top_k\",\"temp\"],\"top_k\":30,\"temperature\":1.5", "top_k=30;temp=1.5"},
        {"\"mirostat\":2,\"mirostat_tau\":3,\"mirostat_eta\":0.25,\"temperature\":1.5",
         "temp=1.5;mirostat=3,0.25"},
        {"\"typical_p\":0.5,\"top_k\":0,\"top_p\":1,\"min_p\":0,\"temperature\":1",
         "typical=0.5;temp=1"},
        {"\"top_n_sigma\":1,\"top_k\":0,\"top_p\":1,\"min_p\":0,\"temperature\":1",
         "top_n_sigma=1;temp=1"},
        {"\"dynatemp_range\":0.5,\"dynatemp_exponent\":2,\"temperature\":1,\"top_k\":0,"
         "\"top_p\":1,\"min_p\":0",
         "temp=1,0.5,2"},
        {"\"xtc_probability\":0.5,\"xtc_threshold\":0.05,\"temperature\":1,\"top_k\":0,"
         "\"top_p\":1,\"min_p\":0",
         "xtc=0.5,0.05;temp=1"},
        {"\"no_repeat_ngram_size\":2,\"temperature\":1,\"top_k\":0,\"top_p\":1,\"min_p\":0",
         "no_repeat_ngram=2;temp=1"},
        {"\"dry_multiplier\":2,\"dry_base\":2,\"dry_allowed_length\":1,\"dry_penalty_last_n\":64,"
         "\"dry_sequence_breakers\":[\"x\"],\"temperature\":1,\"top_k\":0,\"top_p\":1,\"min_p\":0",
         "dry=2,2,1,64,\"x\";temp=1"},
    };
    ink_sampler_options sampling;
    ink_sampler_options_init(&sampling, sizeof sampling);
    sampling.seed_set = 1;
    sampling.seed = 9;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        made own;
        char body[512];
        make(&own, "Once upon a time", NULL, cases[i].chain, &sampling, NULL);
        snprintf(body, sizeof body,
                 "{\"prompt\":\"Once upon a time\",\"seed\":9,\"max_tokens\":32,%s}",
                 cases[i].fields);
        scene_answer answer = good(COMPLETIONS, body);
        if (strcmp(text_at(answer.json, "choices[0].text"), own.text) != 0)
            fail_msg("%s: %s, not %s", cases[i].fields, text_at(answer.json, "choices[0].text"),
                     own.text);
        forget(&answer);
    }
    made own;
    make(&own, "Once upon a time", NULL, NULL, &sampling, "purple dragon");
    assert_non_null(strstr(own.text, "purple dragon"));
    scene_answer answer =
        good(COMPLETIONS, "{\"prompt\":\"Once upon a time\",\"seed\":9,\"max_tokens\":32,"
                          "\"required_words\":[\"purple dragon\"]}");
    assert_string_equal(text_at(answer.json, "choices[0].text"), own.text);
    forget(&answer);
}

static int id_of(char letter) {
    ink_token id = 0;
    size_t n = 0;
    assert_int_equal(ink_tokenize(ink_service_model(scene_app->models[0].service), &letter, 1, 0,
                                  &id, 1, &n, NULL),
                     INK_OK);
    return (int)id;
}

// A list of breakers that is empty is one: nothing breaks the repetition at whose end "z" stands,
// and that is taken only where it is none.
static void test_no_breakers(void **state) {
    (void)state;
    static const char letters[] = "abc:defzabc:def";
    static const struct {
        const char *field;
        bool breaks;
    } cases[] = {{"", true},
                 {",\"dry_sequence_breakers\":null", true},
                 {",\"dry_sequence_breakers\":[\":\"]", true},
                 {",\"dry_sequence_breakers\":[]", false},
                 {",\"dry_sequence_breakers\":[\"x\"]", false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char ids[256] = "", body[512];
        for (size_t k = 0; letters[k] != 0; k++) {
            const size_t n = strlen(ids);
            snprintf(ids + n, sizeof ids - n, "%s%d", k > 0 ? "," : "", id_of(letters[k]));
        }
        snprintf(body, sizeof body,
                 "{\"prompt\":[%s],\"max_tokens\":1,\"temperature\":0,\"dry_multiplier\":100,"
                 "\"dry_base\":2,\"dry_allowed_length\":5,\"logit_bias\":{\"%d\":100}%s}",
                 ids, id_of('z'), cases[i].field);
        scene_answer answer = good(COMPLETIONS, body);
        const bool taken = strcmp(text_at(answer.json, "choices[0].text"), "z") == 0;
        if (taken != cases[i].breaks) fail_msg("%s: %s", body, answer.body);
        forget(&answer);
    }
}

// What Mirostat does not take the place of is taken beside it.
static void test_no_repetition(void **state) {
    (void)state;
    scene_answer answer =
        good(COMPLETIONS, "{\"prompt\":[1,1],\"max_tokens\":40,\"mirostat\":2,\"mirostat_tau\":0.1,"
                          "\"seed\":3,\"logprobs\":0,\"no_repeat_ngram_size\":1}");
    const json_t *tokens = at(answer.json, "choices[0].logprobs.tokens");
    for (size_t i = 0; i < json_array_size(tokens); i++)
        for (size_t k = 0; k < i; k++)
            if (json_equal(json_array_get(tokens, i), json_array_get(tokens, k)))
                fail_msg("%s", answer.body);
    assert_true(json_array_size(tokens) > 20);
    forget(&answer);
}

// --- what is refused -----------------------------------------------------------------------------

static void refused(const char *path, const char *body, const char *param, const char *code,
                    const char *says) {
    scene_answer answer = post(path, body);
    if (answer.status != 400) fail_msg("%s: %u %s", body, answer.status, answer.body);
    assert_string_equal(text_at(answer.json, "error.type"), "invalid_request_error");
    if (strcmp(text_at(answer.json, "error.param"), param) != 0) fail_msg("%s", answer.body);
    if (strstr(text_at(answer.json, "error.message"), says) == NULL) fail_msg("%s", answer.body);
    const json_t *said = at(answer.json, "error.code");
    assert_true(code == NULL ? json_is_null(said) : strcmp(json_string_value(said), code) == 0);
    forget(&answer);
}

static void test_refused(void **state) {
    (void)state;
    static const char unsupported[] = "unsupported";
    static const struct {
        const char *fields, *param, *code, *says;
    } cases[] = {
        {"\"grammar\":\"root ::= root \\\"a\\\" | \\\"b\\\"\"", "grammar", NULL, "line 1, column "},
        {"\"grammar\":\"root ::= a\\na ::= \\\"x\\\" (\\n\"", "grammar", NULL, "'grammar': line "},
        {"\"grammar\":\"root ::= a\\nb ::= \\\"x\\\"\"", "grammar", NULL,
         "line 1, column 10: rule \"a\" is missing"},
        {"\"grammar\":\"root ::= \\\"a\\\" root\"", "grammar", NULL, "can never end"},
        {"\"grammar\":\"a ::= \\\"b\\\"\"", "grammar", NULL, "\"root\" is missing"},
        {"\"grammar\":\"root ::= \\u0000\"", "grammar", NULL, "line 1, column 10"},
        {"\"grammar\":\"root ::= [a-z]{5000}\"", "grammar", NULL, "4096"},
        {"\"json_schema\":{\"type\":\"object\",\"properties\":{\"a\":{\"not\":{}}}}", "json_schema",
         unsupported, "'json_schema': /properties/a/not: line 1, column 43: "},
        {"\"json_schema\":{\n\"unevaluatedItems\":false}", "json_schema", unsupported,
         "/unevaluatedItems: line 2, column "},
        {"\"json_schema\":{\"type\":\"string\",\"minLength\":5,\"maxLength\":4}", "json_schema",
         NULL, "line 1, column "},
        {"\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"n\",\"schema\":"
         "{\"if\":{}}}}",
         "response_format.json_schema.schema", unsupported, "/if: line 1, column "},
        {"\"response_format\":{\"type\":\"json_object\",\"schema\":{\"type\":\"thing\"}}",
         "response_format.schema", NULL, "line 1, column "},
        {"\"grammar\":\"root ::= [a]\",\"json_schema\":{}", "grammar", NULL, "exclude each other"},
        {"\"grammar\":[\"root ::= [a]\"]", "grammar", NULL, "must be a string"},
        {"\"response_format\":{\"type\":\"xml\"}", "response_format.type", NULL, "one of"},
        {"\"samplers\":\"dry;nonsense\"", "samplers", NULL, "'samplers': column 5: "},
        {"\"samplers\":[\"dry\",\"top_k\",\"dry\"]", "samplers", NULL, "'samplers': column 16: "},
        {"\"samplers\":[{\"top_k\":\"many\"}]", "samplers", NULL, "top_k"},
        {"\"samplers\":\"\"", "samplers", NULL, "name"},
        {"\"samplers\":[]", "samplers", NULL, "name"},
        {"\"samplers\":\"[\\\"dry\\\"\"", "samplers", NULL, "'samplers': "},
        {"\"samplers\":\"mirostat;temp\"", "samplers", NULL, "mirostat"},
        {"\"samplers\":\"temp\",\"logit_bias\":{\"5\":1}", "logit_bias", NULL, "'samplers'"},
        {"\"samplers\":\"logit_bias=5:1,5:2\"", "samplers", NULL, "'samplers': entry 2"},
        {"\"dry_sequence_breakers\":[\"\"]", "dry_sequence_breakers", NULL, "empty"},
        {"\"required_words\":[\"cat\"],\"grammar\":\"root ::= [a]\"", "required_words", NULL,
         "'required_words' and 'grammar' exclude each other"},
        {"\"required_words\":[\"cat\",\"...\"]", "required_words", NULL,
         "'required_words[1]': has no letter"},
        {"\"word_filter\":[\"cat\",\"...\"]", "word_filter", NULL,
         "'word_filter[1]': has no letter"},
        {"\"dry_sequence_breakers\":[\"1234567890123456789012345678901234567890123456789012345678"
         "90123456\"]",
         "dry_sequence_breakers", NULL, "64 bytes"},
    };
    wait_until_unused();
    const srv_grammars_info before = cache_now();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int chat = 0; chat < 2; chat++) {
            char body[1024];
            snprintf(body, sizeof body, "{%s,\"stream\":%s,%s}", chat ? HELLO : "\"prompt\":\"x\"",
                     i % 2 == 0 ? "true" : "false", cases[i].fields);
            refused(chat ? CHAT : COMPLETIONS, body, cases[i].param, cases[i].code, cases[i].says);
        }
    // Nothing of them is left.
    const srv_grammars_info after = cache_now();
    assert_int_equal(after.n_compiled, before.n_compiled);
    assert_int_equal(after.n_kept, before.n_kept);
    assert_int_equal(after.held_bytes, before.held_bytes);
    while (srv_http_n_connections(scene_app->http) > 0) sched_yield();
}

// What the engine finds only when it has come to the text is told by the name of the field too.
static void test_no_room(void **state) {
    (void)state;
    refused(COMPLETIONS,
            "{\"prompt\":\"x\",\"max_tokens\":2,\"required_words\":[\"a purple house\"]}",
            "required_words", NULL, "'required_words': take more tokens");
}

// Too long, and as long as may be; one that can be compiled, but that no text could begin with.
static void test_long(void **state) {
    (void)state;
    const size_t cap = SRV_MAX_RULES_BYTES + 256;
    char *body = malloc(cap);
    for (int more = 0; more < 2; more++) {
        snprintf(body, cap, "{\"prompt\":\"x\",\"grammar\":\"root ::= [ab]#%*s\"}",
                 SRV_MAX_RULES_BYTES - 14 + more, "x");
        if (more == 0) {
            scene_answer answer = good(COMPLETIONS, body);
            forget(&answer);
        } else {
            refused(COMPLETIONS, body, "grammar", NULL, "65537 bytes");
        }
    }
    size_t n = (size_t)snprintf(body, cap,
                                "{\"prompt\":\"x\",\"stream\":true,\"json_schema\":"
                                "{\"enum\":[0");
    for (int i = 1; n < 65000; i++) n += (size_t)snprintf(body + n, cap - n, ",%d", i * 7);
    snprintf(body + n, cap - n, "]}}");
    refused(COMPLETIONS, body, "json_schema", NULL, "'json_schema': ");
    // One that is too much only behind its first letter: the answer has begun then.
    n = (size_t)snprintf(body, cap, "{\"prompt\":\"x\",\"grammar\":\"b ::= [b]\\nroot ::= [a] ");
    while (n < 65000) n += (size_t)snprintf(body + n, cap - n, "b?");
    snprintf(body + n, cap - n, "\"}");
    refused(COMPLETIONS, body, "grammar", NULL, "'grammar': ");
    free(body);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_schema),      cmocka_unit_test(test_stream),
        cmocka_unit_test(test_any_object),  cmocka_unit_test(test_reasons),
        cmocka_unit_test(test_same_bytes),  cmocka_unit_test(test_chains),
        cmocka_unit_test(test_no_breakers), cmocka_unit_test(test_no_repetition),
        cmocka_unit_test(test_refused),     cmocka_unit_test(test_no_room),
        cmocka_unit_test(test_long),
    };
    return cmocka_run_group_tests(tests, open_scene, close_scene);
}
