// SPDX-License-Identifier: MIT
// POST /tokenize and /detokenize against the engine's own tokenizer.
#include "http_ask.h"

static srv_app *app;

static int set_up(void **state) {
    (void)state;
    const srv_options o = asked_options();
    app = asked_begin(&o);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    srv_free(app);
    return 0;
}

static const ink_model *model(void) { return ink_service_model(app->models[0].service); }

static char *body_of(json_t *object) {
    char *body = json_dumps(object, JSON_COMPACT);
    json_decref(object);
    assert_non_null(body);
    return body;
}

static const char text[] =
    "Tom's na\xC3\xAFve cat \"Mog\"\n said \xF0\x9F\x90\xB1 <|endoftext|> ok";

static void check_ids(const json_t *tokens, const ink_token *ids, size_t n) {
    assert_int_equal(json_array_size(tokens), n);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(json_integer_value(json_array_get(tokens, i)), ids[i]);
}

static void test_there_and_back(void **state) {
    (void)state;
    for (int special = 0; special < 2; special++) {
        ink_token ids[256];
        size_t n = 0;
        assert_int_equal(ink_tokenize(model(), text, strlen(text),
                                      special ? INK_TOKENIZE_SPECIAL : 0, ids, 256, &n, NULL),
                         INK_OK);
        char *body = body_of(
            json_pack("{s:s, s:b, s:b}", "content", text, "special", special, "add_special", 1));
        json_t *answer = ask_fine(app, "POST", "/tokenize", body);
        json_t *tokens = json_object_get(answer, "tokens");
        free(body);
        check_ids(tokens, ids, n);
        body = body_of(json_pack("{s:O}", "tokens", tokens));
        json_t *back = ask_fine(app, "POST", "/detokenize", body);
        free(body);
        assert_string_equal(text_at(back, "content"), text);
        json_decref(back);
        json_decref(answer);
    }
}

static void test_pieces(void **state) {
    (void)state;
    char *body = body_of(json_pack("{s:s, s:b}", "content", text, "with_pieces", 1));
    json_t *answer = ask_fine(app, "POST", "/tokenize", body);
    free(body);
    const json_t *tokens = json_object_get(answer, "tokens");
    char joined[256];
    size_t at = 0, n_bytes = 0;
    for (size_t i = 0; i < json_array_size(tokens); i++) {
        const json_t *piece = json_object_get(json_array_get(tokens, i), "piece");
        for (size_t k = 0; k < json_array_size(piece); k++, n_bytes++)
            joined[at++] = (char)json_integer_value(json_array_get(piece, k));
        if (json_is_string(piece))
            memcpy(joined + at, json_string_value(piece), json_string_length(piece));
        at += json_string_length(piece);
        char alone[64];
        size_t bytes = 0;
        const ink_token id = (ink_token)number_at(json_array_get(tokens, i), "id");
        assert_int_equal(ink_detokenize(model(), &id, 1, 0, alone, 64, &bytes), INK_OK);
        assert_true(at >= bytes && memcmp(joined + at - bytes, alone, bytes) == 0);
    }
    assert_int_equal(at, strlen(text));
    assert_memory_equal(joined, text, at);
    assert_true(n_bytes > 0); // the cat is several tokens, none of which is text
    json_decref(answer);
}

static void test_not_text(void **state) {
    (void)state;
    const char byte[] = "\xF0\x9F";
    ink_token ids[8];
    size_t n = 0;
    char body[128];
    assert_int_equal(ink_tokenize(model(), byte, 2, 0, ids, 8, &n, NULL), INK_OK);
    snprintf(body, sizeof body, "{\"tokens\":[%d]}", (int)ids[0]);
    json_t *answer = ask_fine(app, "POST", "/detokenize", body);
    assert_non_null(strstr(text_at(answer, "content"), "\xEF\xBF\xBD"));
    json_decref(answer);
    answer = ask_fine(app, "POST", "/tokenize", "{\"content\":\"a\\u0000b\"}");
    const json_t *tokens = json_object_get(answer, "tokens");
    assert_int_equal(ink_tokenize(model(), "a\0b", 3, 0, ids, 8, &n, NULL), INK_OK);
    check_ids(tokens, ids, n);
    json_decref(answer);
    answer = ask_fine(app, "POST", "/tokenize", "{\"content\":\"\"}");
    assert_int_equal(json_array_size(json_object_get(answer, "tokens")), 0);
    json_decref(answer);
    answer = ask_fine(app, "POST", "/detokenize", "{\"tokens\":[]}");
    assert_string_equal(text_at(answer, "content"), "");
    json_decref(answer);
}

static void test_refused(void **state) {
    (void)state;
    static const struct {
        const char *path, *body, *param, *word;
    } cases[] = {
        {"/tokenize", "{}", "content", "missing"},
        {"/tokenize", "{\"content\":[1]}", "content", "string"},
        {"/tokenize", "{\"content\":\"a\",\"with_pieces\":1}", "with_pieces", "true or false"},
        {"/tokenize", "{\"content\":\"a\",\"contents\":1}", "contents", "contents"},
        {"/detokenize", "{}", "tokens", "array"},
        {"/detokenize", "{\"tokens\":5}", "tokens", "array"},
        {"/detokenize", "{\"tokens\":[1,-1]}", "tokens", "item 1"},
        {"/detokenize", "{\"tokens\":[1000000000]}", "tokens", "item 0"},
        {"/detokenize", "{\"tokens\":[1,2,3.5]}", "tokens", "item 2"},
        {"/detokenize", "{\"tokens\":[\"a\"]}", "tokens", "item 0"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        ask_refused(app, "POST", cases[i].path, cases[i].body, 400, "", cases[i].param,
                    cases[i].word);
    const size_t n = (1 << 20) + 1;
    char *body = malloc(n + 32);
    assert_non_null(body);
    strcpy(body, "{\"content\":\"");
    memset(body + 12, 'a', n);
    strcpy(body + 12 + n, "\"}");
    ask_refused(app, "POST", "/tokenize", body, 400, "", "content", "1048576");
    free(body);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_there_and_back),
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_not_text),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests_name("tokens", tests, set_up, tear_down);
}
