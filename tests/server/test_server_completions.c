// SPDX-License-Identifier: MIT
// POST /v1/completions over the socket, held against the engine called directly.
// Label: threads
#include "completion_scene.h"

#include "server/app.h"

#include "inkling/inkling.h"

#include <math.h>

#define PATH             "/v1/completions"
#define STRING(x)        #x
#define NUMBERS(a, b, c) STRING(a) "." STRING(b) "." STRING(c)
#define VERSION          NUMBERS(INK_VERSION_MAJOR, INK_VERSION_MINOR, INK_VERSION_PATCH)
#define PROMPT           "Once upon a time"

static char said[4096];

static int keep_text(void *user, const ink_piece *piece) {
    (void)user;
    strncat(said, piece->text, sizeof said - strlen(said) - 1);
    return 0;
}

// What the engine says itself, with the defaults of both.
static const char *directly(const char *prompt, uint32_t n_tokens, float temperature,
                            uint64_t seed) {
    ink_sampler_options sampler;
    ink_generate_options generate;
    ink_options options;
    ink_options_init(&options, sizeof options);
    ink_sampler_options_init(&sampler, sizeof sampler);
    ink_generate_options_init(&generate, sizeof generate);
    sampler.temperature = temperature;
    sampler.seed = seed;
    sampler.seed_set = 1;
    generate.n_tokens = n_tokens;
    options.sampler = &sampler;
    options.generate = &generate;
    ink_engine *engine = ink_open(NULL, &options);
    said[0] = 0;
    assert_int_equal(ink_generate(engine, prompt, keep_text, NULL), INK_OK);
    ink_close(engine);
    return said;
}

static void test_fields_of_an_answer(void **state) {
    (void)state;
    scene_answer a = good(PATH, "{\"model\":\"story\",\"prompt\":\"" PROMPT
                                "\",\"max_tokens\":20,\"temperature\":0}");
    assert_memory_equal(text_at(a.json, "id"), "cmpl-", 5);
    assert_string_equal(text_at(a.json, "object"), "text_completion");
    assert_string_equal(text_at(a.json, "model"), "story");
    assert_string_equal(text_at(a.json, "system_fingerprint"), "inkling-" VERSION);
    assert_true(number_at(a.json, "created") > 1600000000);
    assert_int_equal(json_array_size(at(a.json, "choices")), 1);
    assert_int_equal(number_at(a.json, "choices[0].index"), 0);
    assert_string_equal(text_at(a.json, "choices[0].text"), directly(PROMPT, 20, 0, 0));
    assert_string_equal(text_at(a.json, "choices[0].finish_reason"), "length");
    assert_true(json_is_null(at(a.json, "choices[0].logprobs")));
    assert_int_equal(number_at(a.json, "usage.prompt_tokens"), 4);
    assert_int_equal(number_at(a.json, "usage.completion_tokens"), 20);
    assert_int_equal(number_at(a.json, "usage.total_tokens"), 24);
    assert_true(number_at(a.json, "usage.prompt_tokens_details.cached_tokens") <= 4);
    assert_string_equal(text_at(a.json, "inkling.stop"), "length");
    assert_true(number_at(a.json, "inkling.seed") < 1LL << 53);
    assert_true(real_at(a.json, "inkling.decode_ms") >= 0);
    forget(&a);
}

static void test_the_seed_that_was_drawn_gives_the_same(void **state) {
    (void)state;
    char body[200], text[512];
    scene_answer a = good(PATH, "{\"prompt\":\"" PROMPT "\",\"max_tokens\":30,\"n\":2}");
    for (int k = 0; k < 2; k++) {
        snprintf(text, sizeof text, "choices[%d].inkling.seed", k);
        const long long seed = number_at(a.json, text);
        snprintf(text, sizeof text, "choices[%d].text", k);
        const char *once = text_at(a.json, text);
        assert_string_equal(directly(PROMPT, 30, 0.8f, (uint64_t)seed), once);
        snprintf(body, sizeof body, "{\"prompt\":\"" PROMPT "\",\"max_tokens\":30,\"seed\":%lld}",
                 seed);
        scene_answer b = good(PATH, body);
        assert_string_equal(text_at(b.json, "choices[0].text"), once);
        forget(&b);
    }
    forget(&a);
    a = good(PATH, "{\"prompt\":\"" PROMPT "\",\"max_tokens\":30,\"seed\":-7}");
    assert_int_equal(number_at(a.json, "inkling.seed"), -7);
    assert_string_equal(text_at(a.json, "choices[0].text"),
                        directly(PROMPT, 30, 0.8f, (uint64_t)-7));
    forget(&a);
}

// Joins the pieces of choice `index`, and looks at each chunk.
static void join(const json_t *events, long long index, char *out, const char **reason,
                 bool usage) {
    *out = 0;
    *reason = NULL;
    for (size_t i = 0; i < json_array_size(events); i++) {
        const json_t *event = json_array_get(events, i);
        assert_string_equal(text_at(event, "id"), text_at(json_array_get(events, 0), "id"));
        if (json_array_size(at(event, "choices")) == 0) continue;
        assert_int_equal(at(event, "usage") != NULL, usage);
        assert_true(at(event, "usage") == NULL || json_is_null(at(event, "usage")));
        if (number_at(event, "choices[0].index") != index) continue;
        assert_null(*reason); // nothing behind the last one
        strcat(out, text_at(event, "choices[0].text"));
        const json_t *last = at(event, "choices[0].finish_reason");
        assert_int_equal(json_is_string(last), at(event, "inkling") != NULL);
        if (json_is_string(last)) *reason = json_string_value(last);
    }
}

static void test_streams_give_the_same_text(void **state) {
    (void)state;
    static const char *const asked[] = {
        "\"prompt\":\"" PROMPT "\",\"temperature\":0,\"max_tokens\":40",
        "\"prompt\":[\"" PROMPT "\",\"The cat\"],\"seed\":3,\"n\":3,\"max_tokens\":20",
        "\"prompt\":\"" PROMPT "\",\"temperature\":0,\"max_tokens\":60,\"stop\":[\"named L\"]",
        "\"prompt\":\"" PROMPT "\",\"temperature\":0,\"max_tokens\":3,\"echo\":true",
        "\"prompt\":\"" PROMPT "\",\"max_tokens\":0,\"echo\":true",
        ("\"prompt\":\"\xf0\x9f\x98\x80 \xc3\xa9\xe6\x97\xa5\",\"max_tokens\":30,\"echo\":true,"
         "\"temperature\":2,\"top_k\":0,\"top_p\":1,\"min_p\":0,\"seed\":1"),
    };
    for (size_t i = 0; i < sizeof asked / sizeof *asked; i++) {
        char body[500], joined[4096], path[64];
        const char *reason;
        snprintf(body, sizeof body, "{%s}", asked[i]);
        scene_answer whole = good(PATH, body);
        snprintf(body, sizeof body,
                 "{%s,\"stream\":true,\"stream_options\":{\"include_usage\":true}}", asked[i]);
        scene_answer stream = good(PATH, body);
        const size_t n = json_array_size(at(whole.json, "choices"));
        for (size_t k = 0; k < n; k++) {
            join(stream.json, (long long)k, joined, &reason, true);
            snprintf(path, sizeof path, "choices[%zu].text", k);
            assert_string_equal(joined, text_at(whole.json, path));
            snprintf(path, sizeof path, "choices[%zu].finish_reason", k);
            assert_string_equal(reason, text_at(whole.json, path));
        }
        const json_t *last = json_array_get(stream.json, json_array_size(stream.json) - 1);
        assert_int_equal(json_array_size(at(last, "choices")), 0);
        assert_int_equal(number_at(last, "usage.completion_tokens"),
                         number_at(whole.json, "usage.completion_tokens"));
        assert_int_equal(number_at(last, "usage.prompt_tokens"),
                         number_at(whole.json, "usage.prompt_tokens"));
        forget(&whole);
        forget(&stream);
        snprintf(body, sizeof body, "{%s,\"stream\":true}", asked[i]);
        stream = good(PATH, body);
        for (size_t k = 0; k < n; k++) join(stream.json, (long long)k, joined, &reason, false);
        forget(&stream);
    }
}

static void test_choices_stand_prompt_by_prompt(void **state) {
    (void)state;
    scene_answer a = good(PATH, "{\"prompt\":[\"" PROMPT "\",\"The cat\"],\"n\":2,\"seed\":5,"
                                "\"max_tokens\":12}");
    static const char *const prompts[] = {PROMPT, "The cat"};
    assert_int_equal(json_array_size(at(a.json, "choices")), 4);
    for (uint64_t i = 0; i < 4; i++) {
        char path[40];
        snprintf(path, sizeof path, "choices[%d].index", (int)i);
        assert_int_equal(number_at(a.json, path), i);
        snprintf(path, sizeof path, "choices[%d].text", (int)i);
        assert_string_equal(text_at(a.json, path), directly(prompts[i / 2], 12, 0.8f, 5 + i % 2));
    }
    assert_int_equal(number_at(a.json, "usage.completion_tokens"), 48);
    forget(&a);
}

static void test_stops(void **state) {
    (void)state;
    scene_answer a =
        good(PATH, "{\"prompt\":\"" PROMPT "\",\"temperature\":0,\"stop\":\" named\"}");
    const char *all = directly(PROMPT, 16, 0, 0);
    assert_int_equal(strlen(text_at(a.json, "choices[0].text")), strstr(all, " named") - all);
    assert_string_equal(text_at(a.json, "choices[0].finish_reason"), "stop");
    assert_string_equal(text_at(a.json, "inkling.stop"), "stop");
    forget(&a);
    // The context's end is a length, as is a deadline.
    a = good(PATH, "{\"prompt\":\"" PROMPT "\",\"max_tokens\":100000,\"logit_bias\":{\"0\":-100}}");
    const char *stop = text_at(a.json, "inkling.stop");
    assert_string_equal(text_at(a.json, "choices[0].finish_reason"),
                        strcmp(stop, "end") == 0 ? "stop" : "length");
    forget(&a);
}

static void test_filter(void **state) {
    (void)state;
    scene_answer a = good(PATH, "{\"prompt\":\"" PROMPT "\",\"temperature\":0,\"max_tokens\":30,"
                                "\"word_filter\":[\"little\",\"girl\",\"NAMED\"]}");
    const char *text = text_at(a.json, "choices[0].text");
    assert_null(strstr(text, "girl"));
    assert_null(strstr(text, "little"));
    assert_null(strstr(text, "named"));
    forget(&a);
    bad(PATH, "{\"prompt\":\"a Little girl\",\"word_filter\":[\"little\"],\"stream\":true}", 400,
        "prompt", "content_filter");
    bad(PATH, "{\"prompt\":\"x\",\"word_filter\":[\"fine\",\"\"]}", 400, "word_filter", NULL);
}

static void test_refusals_that_need_the_model(void **state) {
    (void)state;
    char *body = malloc(8192);
    bad(PATH, "{\"model\":\"gpt-9\"}", 404, "model", "model_not_found");
    ink_model_info info = {.size = sizeof info};
    ink_model_get_info(ink_service_model(scene_app->models[0].service), &info);
    sprintf(body, "{\"prompt\":[%u]}", (unsigned)info.n_vocab);
    bad(PATH, body, 400, "prompt", NULL);
    bad(PATH, "{\"prompt\":[[1],[2147483647]]}", 400, "prompt", NULL);
    sprintf(body, "{\"logit_bias\":{\"%u\":1}}", (unsigned)info.n_vocab);
    bad(PATH, body, 400, "logit_bias", NULL);
    // One id less than the context leaves room for one token, as many for none; they can still be
    // read.
    for (int n = SCENE_CONTEXT - 1; n <= SCENE_CONTEXT + 1; n++) {
        for (int echo = 0; echo < 2; echo++) {
            int used = snprintf(body, 8192, "{\"max_tokens\":%d,\"prompt\":[5", echo ? 0 : 9);
            for (int i = 1; i < n; i++)
                used += snprintf(body + used, 16, ",%d",
                                 5 + i % 150); // no NUL, which jansson takes in no key
            snprintf(body + used, 64, "]%s}", echo ? ",\"echo\":true,\"logprobs\":0" : "");
            if (n < SCENE_CONTEXT || (n == SCENE_CONTEXT && echo)) {
                scene_answer a = good(PATH, body);
                assert_int_equal(number_at(a.json, "usage.prompt_tokens"), n);
                assert_true(number_at(a.json, "usage.completion_tokens") <= 1);
                if (echo)
                    assert_int_equal(json_array_size(at(a.json, "choices[0].logprobs.tokens")), n);
                forget(&a);
            } else {
                bad(PATH, body, 400, "prompt", "context_length_exceeded");
            }
        }
    }
    free(body);
}

// The longest token's text, again and again: no text of as many tokens is longer.
static char *longest_text(ink_model *model, size_t n, size_t *bytes) {
    ink_model_info info = {.size = sizeof info};
    char one[512], best[512] = "";
    *bytes = 0;
    assert_int_equal(ink_model_get_info(model, &info), INK_OK);
    for (uint32_t i = 0; i < info.n_vocab; i++) {
        const ink_token token = (ink_token)i;
        size_t length = 0;
        if (ink_detokenize(model, &token, 1, 0, one, sizeof one, &length) != INK_OK) continue;
        if (length <= *bytes || memchr(one, '"', length) || memchr(one, '\\', length)) continue;
        bool plain = true;
        for (size_t k = 0; k < length; k++) plain = plain && one[k] >= ' ' && one[k] < 0x7f;
        if (!plain) continue;
        memcpy(best, one, length);
        *bytes = length;
    }
    char *text = malloc(n * *bytes + 1);
    for (size_t i = 0; i < n; i++) memcpy(text + i * *bytes, best, *bytes);
    text[n * *bytes] = 0;
    return text;
}

static void accept(const char *body) {
    scene_answer answer = good(PATH, body);
    forget(&answer);
}

// What cannot fit is refused without tokenizing it, and nothing that fits is.
static void test_long_prompts(void **state) {
    (void)state;
    ink_model *model = ink_service_model(scene_app->models[0].service);
    for (size_t n = SCENE_CONTEXT - 2; n <= 300; n += n < SCENE_CONTEXT + 1 ? 1 : 43) {
        size_t longest = 0, n_tokens = 0;
        char *text = longest_text(model, n, &longest), *body = malloc(n * longest + 64);
        ink_tokenize(model, text, n * longest, 0, NULL, 0, &n_tokens, NULL);
        sprintf(body, "{\"max_tokens\":1,\"prompt\":\"%s\"}", text);
        if (n_tokens < SCENE_CONTEXT)
            accept(body);
        else
            bad(PATH, body, 400, "prompt", "context_length_exceeded");
        assert_int_equal(n_tokens, n);
        free(text);
        free(body);
    }
    // Four MB in strings of many tokens, none of which is looked at.
    const size_t n = 4000000;
    char *body = malloc(n + 64);
    int at = sprintf(body, "{\"prompt\":[\"");
    for (size_t i = 0; i < n; i++) body[(size_t)at + i] = i % 100000 == 99999 ? ' ' : 'x';
    strcpy(body + (size_t)at + n, "\"]}");
    scene_answer a = post(PATH, body);
    assert_int_equal(a.status, 400);
    assert_non_null(strstr(text_at(a.json, "error.message"), "more than 256"));
    forget(&a);
    free(body);
}

static void test_log_probabilities(void **state) {
    (void)state;
    scene_answer a = good(PATH, "{\"prompt\":\"" PROMPT "\",\"temperature\":0,\"max_tokens\":6,"
                                "\"logprobs\":3,\"echo\":true}");
    const json_t *l = at(a.json, "choices[0].logprobs");
    const char *text = text_at(a.json, "choices[0].text");
    char joined[512] = "", path[64];
    assert_true(json_is_null(at(l, "token_logprobs[0]")) && json_is_null(at(l, "top_logprobs[0]")));
    assert_int_equal(json_array_size(at(l, "tokens")), 10);
    for (int i = 0; i < 10; i++) {
        snprintf(path, sizeof path, "text_offset[%d]", i);
        assert_int_equal(number_at(l, path), strlen(joined));
        snprintf(path, sizeof path, "tokens[%d]", i);
        const char *token = text_at(l, path);
        strcat(joined, token);
        if (i == 0) continue;
        snprintf(path, sizeof path, "token_logprobs[%d]", i);
        const double logprob = real_at(l, path);
        assert_true(logprob <= 0);
        snprintf(path, sizeof path, "top_logprobs[%d]", i);
        const json_t *top = at(l, path);
        assert_true(json_number_value(json_object_get(top, token)) == logprob);
        const char *name;
        json_t *value;
        double sum = 0;
        size_t n_better = 0;
        json_object_foreach((json_t *)(uintptr_t)top, name, value) {
            sum += exp(json_number_value(value));
            n_better += json_number_value(value) > logprob;
        }
        assert_true(sum <= 1.0001);
        // What was chosen greedily is the best; what was given stands beside the three best.
        assert_true(i < 4 || n_better == 0);
        assert_true(json_object_size(top) == 3 || (n_better == 3 && json_object_size(top) == 4));
    }
    assert_string_equal(joined, text);
    forget(&a);
}

// Tokens that are part of a character are told as their bytes.
static void test_tokens_inside_of_characters(void **state) {
    (void)state;
    scene_answer a = good(PATH, "{\"prompt\":\"a\xf0\x9f\x98\x80z\",\"max_tokens\":0,\"echo\":true,"
                                "\"logprobs\":0}");
    const json_t *tokens = at(a.json, "choices[0].logprobs.tokens");
    const json_t *offsets = at(a.json, "choices[0].logprobs.text_offset");
    const size_t n = json_array_size(tokens);
    unsigned char bytes[64];
    size_t n_bytes = 0;
    assert_true(n > 3);
    for (size_t i = 0; i < n; i++) {
        const char *token = json_string_value(json_array_get(tokens, i));
        const long long offset = json_integer_value(json_array_get(offsets, i));
        // a 0, the smile 1 wherever in it the token begins, z 2
        assert_int_equal(offset, n_bytes == 0 ? 0 : n_bytes < 5 ? 1 : 2);
        if (strncmp(token, "bytes:", 6) == 0) {
            for (token += 6; *token != 0; token += 4) {
                assert_memory_equal(token, "\\x", 2);
                bytes[n_bytes++] = (unsigned char)strtol(token + 2, NULL, 16);
                if (token[4] != 0) assert_int_equal(token[4], '\\');
            }
        } else {
            memcpy(bytes + n_bytes, token, strlen(token));
            n_bytes += strlen(token);
        }
    }
    assert_int_equal(n_bytes, 6);
    assert_memory_equal(bytes, "a\xf0\x9f\x98\x80z", 6);
    forget(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fields_of_an_answer),
        cmocka_unit_test(test_the_seed_that_was_drawn_gives_the_same),
        cmocka_unit_test(test_streams_give_the_same_text),
        cmocka_unit_test(test_choices_stand_prompt_by_prompt),
        cmocka_unit_test(test_stops),
        cmocka_unit_test(test_filter),
        cmocka_unit_test(test_refusals_that_need_the_model),
        cmocka_unit_test(test_long_prompts),
        cmocka_unit_test(test_log_probabilities),
        cmocka_unit_test(test_tokens_inside_of_characters),
    };
    return cmocka_run_group_tests(tests, open_scene, close_scene);
}
