// SPDX-License-Identifier: MIT
// Label: threads
// GET /v1/models, models that cannot be opened, names.
#include "http_ask.h"

#include "tiny_model.h"

static void test_list(void **state) {
    (void)state;
    const srv_model_option models[] = {{.source = "builtin:story", .id = "people/story"}};
    srv_options o = asked_options();
    o.models = models;
    o.n_models = 1;
    o.n_ctx = 64;
    srv_app *app = asked_begin(&o);
    json_t *list = ask_fine(app, "GET", "/v1/models", NULL);
    assert_string_equal(text_at(list, "object"), "list");
    const json_t *data = json_object_get(list, "data");
    assert_int_equal(json_array_size(data), 1);
    const json_t *model = json_array_get(data, 0), *ours = json_object_get(model, "inkling");
    assert_string_equal(text_at(model, "id"), "people/story");
    assert_string_equal(text_at(model, "object"), "model");
    assert_string_equal(text_at(model, "owned_by"), "inkling");
    assert_true(number_at(model, "created") > 1600000000);
    ink_model_info info = {0};
    ink_model_get_info(ink_service_model(app->models[0].service), &info);
    assert_true(json_is_true(json_object_get(ours, "default")));
    assert_string_equal(text_at(ours, "state"), "ready");
    assert_int_equal(number_at(ours, "n_ctx"), 64);
    assert_int_equal(number_at(ours, "n_vocab"), info.n_vocab);
    assert_int_equal(number_at(ours, "n_params"), info.n_params);
    assert_int_equal(number_at(ours, "file_bytes"), info.file_bytes);
    assert_string_equal(text_at(ours, "type"), info.type);
    assert_string_equal(text_at(ours, "architecture"), info.architecture);
    assert_string_equal(text_at(ours, "license"), info.license);
    json_t *one = ask_fine(app, "GET", "/v1/models/people%2Fstory", NULL);
    assert_true(json_equal(one, model));
    json_decref(one);
    json_decref(list);
    ask_refused(app, "GET", "/v1/models/story", NULL, 404, "model_not_found", "model", "story");
    ask_refused(app, "POST", "/tokenize", "{\"model\":\"gpt-4\",\"content\":\"a\"}", 404,
                "model_not_found", "model", "gpt-4");
    srv_free(app);
}

// What cannot be opened stands in the list with its reason, and the others go on.
static void test_failed_model(void **state) {
    (void)state;
    const srv_model_option models[] = {{.source = "/no/such/attic/large.gguf"},
                                       {.source = "builtin:none", .id = "none"}};
    srv_options o = asked_options();
    o.models = models;
    o.n_models = 2;
    srv_app *app = NULL;
    ink_error error = {0};
    assert_int_equal(srv_start(&app, &o, NULL), INK_OK);
    assert_int_equal(srv_wait(app, &error), INK_E_NOT_FOUND);
    json_t *list = ask_fine(app, "GET", "/v1/models", NULL);
    const json_t *data = json_object_get(list, "data");
    assert_int_equal(json_array_size(data), 3); // the built-in one stands behind
    const json_t *large = json_array_get(data, 0), *story = json_array_get(data, 2);
    const json_t *ours = json_object_get(large, "inkling");
    assert_string_equal(text_at(large, "id"), "large");
    assert_string_equal(text_at(ours, "state"), "failed");
    assert_non_null(strstr(text_at(ours, "reason"), "large.gguf"));
    assert_null(strstr(text_at(ours, "reason"), "attic"));
    assert_null(json_object_get(ours, "n_ctx"));
    assert_true(json_is_true(json_object_get(ours, "default")));
    assert_string_equal(text_at(story, "id"), "story");
    assert_string_equal(text_at(json_object_get(story, "inkling"), "state"), "ready");
    assert_true(json_is_false(json_object_get(json_object_get(story, "inkling"), "default")));
    json_decref(list);
    ask_refused(app, "POST", "/v1/embeddings", "{\"input\":\"a\"}", 500, "model_failed", "",
                "large.gguf");
    json_decref(ask_fine(app, "POST", "/v1/embeddings", "{\"input\":\"a\",\"model\":\"story\"}"));
    srv_free(app);
}

// The program's own built-in models come as bytes, under their name.
static void test_in_memory(void **state) {
    (void)state;
    static const char torn[64] = "GGUF and nothing of one behind it";
    const tiny_model tiny = tiny_model_defaults();
    size_t bytes = 0;
    uint8_t *data = tiny_model_bytes(&tiny, &bytes);
    assert_non_null(data);
    const srv_model_option models[] = {
        {.source = "builtin:poem-zh", .data = data, .bytes = bytes},
        {.source = "builtin:torn", .data = torn, .bytes = sizeof torn}};
    srv_options o = asked_options();
    o.models = models;
    o.n_models = 2;
    srv_app *app = NULL;
    assert_int_equal(srv_start(&app, &o, NULL), INK_OK);
    assert_int_not_equal(srv_wait(app, NULL), INK_OK);
    json_t *list = ask_fine(app, "GET", "/v1/models", NULL);
    const json_t *poem = json_array_get(json_object_get(list, "data"), 0);
    const json_t *ours = json_object_get(poem, "inkling");
    assert_string_equal(text_at(poem, "id"), "poem-zh");
    assert_string_equal(text_at(ours, "state"), "ready");
    assert_int_equal(number_at(ours, "n_vocab"), tiny.n_vocab);
    assert_int_equal(number_at(ours, "file_bytes"), bytes);
    ours = json_object_get(json_array_get(json_object_get(list, "data"), 1), "inkling");
    assert_string_equal(text_at(ours, "state"), "failed");
    assert_non_null(strstr(text_at(ours, "reason"), "torn"));
    json_decref(list);
    srv_free(app);
    free(data);
}

static void test_context_of_each(void **state) {
    (void)state;
    srv_options o = asked_options();
    o.n_ctx = 1u << 20; // over what the model has: then it is what it has
    srv_app *app = asked_begin(&o);
    ink_model_info info = {0};
    ink_model_get_info(ink_service_model(app->models[0].service), &info);
    assert_int_equal(srv_model_n_ctx(&app->models[0]), info.n_ctx);
    json_decref(ask_fine(app, "POST", "/v1/embeddings", "{\"input\":\"a\"}"));
    srv_free(app);
}

static void test_names(void **state) {
    (void)state;
    static const srv_model_option wrong[][2] = {
        {{.source = "/a/x.gguf"}, {.source = "/b/x.gguf"}},
        {{.source = "/a/x.gguf"}, {.source = "/b/y.gguf", .id = "x"}},
        {{.source = "/a/x.gguf", .id = ""}, {.source = "y"}},
        {{.source = "/a/\xff.gguf"}, {.source = "y"}},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        srv_options o = asked_options();
        ink_error error = {0};
        srv_app *app = NULL;
        o.models = wrong[i];
        o.n_models = 2;
        assert_int_equal(srv_start(&app, &o, &error), INK_E_ARG);
        assert_true(error.message[0] != 0 && error.status == INK_E_ARG);
        assert_null(app);
    }
    // Another model may have the built-in one's name; it is served then and the built-in is not.
    const srv_model_option story = {.source = "/a/story.gguf"};
    srv_options o = asked_options();
    o.models = &story;
    o.n_models = 1;
    srv_app *app = NULL;
    assert_int_equal(srv_start(&app, &o, NULL), INK_OK);
    assert_int_equal(app->n_models, 1);
    srv_free(app);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_list),      cmocka_unit_test(test_failed_model),
        cmocka_unit_test(test_in_memory), cmocka_unit_test(test_context_of_each),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests_name("models", tests, NULL, NULL);
}
