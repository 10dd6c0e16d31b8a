// SPDX-License-Identifier: MIT
// POST /v1/chat/completions over the socket: what it says is what /v1/completions says to the same
// text, in another form.
// Label: threads
#include "completion_scene.h"

#define PATH  "/v1/chat/completions"
#define ASK   "\"messages\":[{\"role\":\"user\",\"content\":\"Tell me about a cat.\"}]"
#define TEXT  "\"prompt\":\"User: Tell me about a cat.\\nAssistant:\""
#define STOPS "\"stop\":[\"\\nUser:\",\"\\nSystem:\",\"\\nAssistant:\"]"

static void test_an_answer_is_the_continuation(void **state) {
    (void)state;
    scene_answer chat = good(PATH, "{" ASK ",\"temperature\":0,\"max_completion_tokens\":40}");
    scene_answer text =
        good("/v1/completions", "{" TEXT "," STOPS ",\"temperature\":0,\"max_tokens\":40}");
    assert_memory_equal(text_at(chat.json, "id"), "chatcmpl-", 9);
    assert_string_equal(text_at(chat.json, "object"), "chat.completion");
    assert_string_equal(text_at(chat.json, "choices[0].message.role"), "assistant");
    assert_true(json_is_null(at(chat.json, "choices[0].message.refusal")));
    assert_true(json_is_null(at(chat.json, "choices[0].logprobs")));
    const char *answer = text_at(chat.json, "choices[0].message.content");
    const char *whole = text_at(text.json, "choices[0].text");
    assert_int_equal(whole[0], ' '); // or the next line shows nothing
    assert_string_equal(answer, whole + strspn(whole, " \n"));
    assert_string_equal(text_at(chat.json, "choices[0].finish_reason"),
                        text_at(text.json, "choices[0].finish_reason"));
    assert_int_equal(number_at(chat.json, "usage.prompt_tokens"),
                     number_at(text.json, "usage.prompt_tokens"));
    forget(&chat);
    forget(&text);
}

static void test_without_a_length_it_goes_to_the_end(void **state) {
    (void)state;
    scene_answer a = good(PATH, "{" ASK ",\"temperature\":0}");
    const char *stop = text_at(a.json, "inkling.stop");
    assert_true(number_at(a.json, "usage.completion_tokens") > 16);
    assert_true(strcmp(stop, "end") == 0 || strcmp(stop, "context") == 0 ||
                strcmp(stop, "stop") == 0);
    assert_string_equal(text_at(a.json, "choices[0].finish_reason"),
                        strcmp(stop, "context") == 0 ? "length" : "stop");
    forget(&a);
}

static void test_streams(void **state) {
    (void)state;
    scene_answer whole = good(PATH, "{" ASK ",\"n\":3,\"seed\":4,\"max_tokens\":20,"
                                    "\"logprobs\":true,\"top_logprobs\":2}");
    scene_answer stream =
        good(PATH, "{" ASK ",\"n\":3,\"seed\":4,\"max_tokens\":20,\"stream\":true,"
                   "\"logprobs\":true,\"top_logprobs\":2}");
    char joined[3][2048] = {"", "", ""};
    bool begun[3] = {false}, ended[3] = {false};
    json_t *tokens[3] = {json_array(), json_array(), json_array()};
    for (size_t i = 0; i < json_array_size(stream.json); i++) {
        const json_t *event = json_array_get(stream.json, i);
        assert_string_equal(text_at(event, "object"), "chat.completion.chunk");
        assert_null(at(event, "usage"));
        const long long k = number_at(event, "choices[0].index");
        const json_t *content = at(event, "choices[0].delta.content");
        const bool role = at(event, "choices[0].delta.role") != NULL;
        assert_int_equal(role, !begun[k]);
        assert_false(ended[k]);
        begun[k] = true;
        ended[k] = json_is_string(at(event, "choices[0].finish_reason"));
        assert_int_equal(ended[k], at(event, "inkling") != NULL);
        assert_int_equal(ended[k], json_object_size(at(event, "choices[0].delta")) == 0);
        if (content != NULL) strcat(joined[k], json_string_value(content));
        json_array_extend(tokens[k], (json_t *)(uintptr_t)at(event, "choices[0].logprobs.content"));
    }
    for (int k = 0; k < 3; k++) {
        char path[64];
        assert_true(ended[k]);
        snprintf(path, sizeof path, "choices[%d].message.content", k);
        assert_string_equal(joined[k], text_at(whole.json, path));
        snprintf(path, sizeof path, "choices[%d].logprobs.content", k);
        assert_true(json_equal(tokens[k], at(whole.json, path)));
        json_decref(tokens[k]);
    }
    forget(&whole);
    forget(&stream);
}

static void test_usage_comes_without_choices(void **state) {
    (void)state;
    scene_answer a = good(PATH, "{" ASK ",\"max_tokens\":3,\"stream\":true,\"stream_options\":"
                                "{\"include_usage\":true}}");
    const size_t n = json_array_size(a.json);
    for (size_t i = 0; i < n; i++) {
        const json_t *event = json_array_get(a.json, i);
        assert_int_equal(json_array_size(at(event, "choices")), i + 1 < n);
        assert_int_equal(json_is_object(at(event, "usage")), i + 1 == n);
    }
    forget(&a);
}

// The tokens told are the text, though its first blanks are left out.
static void test_log_probabilities(void **state) {
    (void)state;
    scene_answer a = good(PATH, "{" ASK ",\"temperature\":0,\"max_tokens\":12,\"logprobs\":true,"
                                "\"top_logprobs\":4}");
    scene_answer b = good(PATH, "{" ASK ",\"temperature\":0,\"max_tokens\":12,\"logprobs\":true}");
    const json_t *list = at(a.json, "choices[0].logprobs.content");
    char joined[512] = "";
    assert_true(json_is_null(at(a.json, "choices[0].logprobs.refusal")));
    assert_true(json_array_size(list) > 3);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *one = json_array_get(list, i);
        const json_t *bytes = at(one, "bytes");
        const char *token = text_at(one, "token");
        assert_int_equal(json_array_size(bytes), strlen(token));
        for (size_t k = 0; k < strlen(token); k++)
            assert_int_equal(json_integer_value(json_array_get(bytes, k)), (unsigned char)token[k]);
        strcat(joined, token);
        assert_int_equal(json_array_size(at(one, "top_logprobs")), 4);
        assert_true(real_at(one, "top_logprobs[0].logprob") == real_at(one, "logprob"));
        for (int k = 1; k < 4; k++) {
            char path[40];
            snprintf(path, sizeof path, "top_logprobs[%d].logprob", k);
            assert_true(real_at(one, path) <= real_at(one, "logprob"));
        }
        const json_t *plain = json_array_get(at(b.json, "choices[0].logprobs.content"), i);
        assert_true(real_at(plain, "logprob") == real_at(one, "logprob"));
        assert_int_equal(json_array_size(at(plain, "top_logprobs")), 0);
    }
    assert_string_equal(joined, text_at(a.json, "choices[0].message.content"));
    forget(&a);
    forget(&b);
}

// What a user writes is text: no special token is read in it, as one is in a prompt.
static void test_special_tokens_are_text(void **state) {
    (void)state;
    scene_answer a = good("/v1/completions", "{\"prompt\":\"<|endoftext|>\",\"max_tokens\":1}");
    assert_int_equal(number_at(a.json, "usage.prompt_tokens"), 1);
    forget(&a);
    a = good(PATH, "{\"messages\":[{\"role\":\"user\",\"content\":\"\"}],\"max_tokens\":1}");
    const long long n = number_at(a.json, "usage.prompt_tokens");
    forget(&a);
    a = good(PATH, "{\"messages\":[{\"role\":\"user\",\"content\":\"<|endoftext|>\"}],"
                   "\"max_tokens\":1}");
    assert_true(number_at(a.json, "usage.prompt_tokens") > n + 1);
    forget(&a);
}

static void test_refusals(void **state) {
    (void)state;
    bad(PATH, "{}", 400, "messages", NULL);
    bad(PATH, "{" ASK ",\"model\":\"gpt-9\"}", 404, "model", "model_not_found");
    bad(PATH, "{" ASK ",\"tools\":[{}]}", 400, "tools", NULL);
    bad(PATH, "{" ASK ",\"word_filter\":[\"CAT\"]}", 400, "messages", "content_filter");
    char *body = malloc(4096);
    int used = snprintf(body, 4096, "{\"messages\":[{\"role\":\"user\",\"content\":\"");
    for (int i = 0; i < 300; i++) used += snprintf(body + used, 16, "cat and ");
    snprintf(body + used, 16, "\"}]}");
    bad(PATH, body, 400, "messages", "context_length_exceeded");
    free(body);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_answer_is_the_continuation),
        cmocka_unit_test(test_without_a_length_it_goes_to_the_end),
        cmocka_unit_test(test_streams),
        cmocka_unit_test(test_usage_comes_without_choices),
        cmocka_unit_test(test_log_probabilities),
        cmocka_unit_test(test_special_tokens_are_text),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, open_scene, close_scene);
}
