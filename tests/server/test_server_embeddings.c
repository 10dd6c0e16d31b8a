// SPDX-License-Identifier: MIT
// Label: threads
// POST /v1/embeddings against the engine's own embeddings.
#include "http_ask.h"

#include <math.h>

static srv_app *app;
static uint32_t n_embd;

static int set_up(void **state) {
    (void)state;
    srv_options o = asked_options();
    ink_model_info info = {0};
    o.n_parallel = 3;
    o.n_queue = 4;
    o.n_ctx = 64;
    app = asked_begin(&o);
    if (ink_model_get_info(ink_service_model(app->models[0].service), &info) != INK_OK) return 1;
    n_embd = info.n_embd;
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    srv_free(app);
    return 0;
}

// By a session of the test's own. To be released.
static float *engine_embeds(const char *text, uint32_t *n_prompt) {
    ink_session *session = NULL;
    ink_generate_options g;
    ink_result result = {.size = sizeof result};
    ink_error error = {0};
    float *copy = calloc(n_embd, sizeof *copy);
    ink_generate_options_init(&g, sizeof g);
    g.flags = INK_GENERATE_FRESH | INK_GENERATE_EMBED;
    g.n_tokens = 0;
    assert_int_equal(
        ink_session_new(&session, ink_service_model(app->models[0].service), NULL, NULL), INK_OK);
    if (ink_session_generate(session, text, strlen(text), &g, NULL, NULL, &result, &error) !=
        INK_OK)
        fail_msg("%s", error.message);
    assert_int_equal(result.n_embedding, n_embd);
    memcpy(copy, result.embedding, n_embd * sizeof *copy);
    *n_prompt = result.n_prompt;
    ink_session_free(session);
    return copy;
}

static int letter_value(char c) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

// The four bytes of each float, lowest first.
static float *read_base64(const char *text) {
    float *values = calloc(n_embd, sizeof *values);
    const size_t n_bytes = (size_t)n_embd * 4;
    assert_int_equal(strlen(text), (n_bytes + 2) / 3 * 4);
    uint32_t bits = 0, n_bits = 0, word = 0;
    size_t n = 0;
    for (const char *c = text; *c != 0 && *c != '='; c++) {
        assert_true(letter_value(*c) >= 0);
        bits = bits << 6 | (uint32_t)letter_value(*c);
        n_bits += 6;
        if (n_bits < 8) continue;
        n_bits -= 8;
        word |= (bits >> n_bits & 255) << 8 * (n % 4);
        if (++n % 4 != 0) continue;
        memcpy(&values[n / 4 - 1], &word, sizeof word);
        word = 0;
    }
    assert_int_equal(n, n_bytes);
    return values;
}

static const json_t *embedding_at(const json_t *answer, size_t i) {
    const json_t *item = json_array_get(json_object_get(answer, "data"), i);
    assert_string_equal(text_at(item, "object"), "embedding");
    assert_int_equal(number_at(item, "index"), i);
    return json_object_get(item, "embedding");
}

static void check_floats(const json_t *array, const float *expected) {
    assert_int_equal(json_array_size(array), n_embd);
    for (size_t i = 0; i < n_embd; i++) // the same float, to the last bit
        assert_true((float)json_number_value(json_array_get(array, i)) == expected[i]);
}

static void test_float_and_base64(void **state) {
    (void)state;
    uint32_t n = 0;
    float *expected = engine_embeds("A red fox ran over the hill.", &n);
    json_t *answer = ask_fine(app, "POST", "/v1/embeddings",
                              "{\"input\":\"A red fox ran over the hill.\",\"user\":\"u\"}");
    assert_string_equal(text_at(answer, "object"), "list");
    assert_string_equal(text_at(answer, "model"), "story");
    const json_t *usage = json_object_get(answer, "usage");
    assert_int_equal(number_at(usage, "prompt_tokens"), n);
    assert_int_equal(number_at(usage, "total_tokens"), n);
    check_floats(embedding_at(answer, 0), expected);
    json_decref(answer);
    answer = ask_fine(app, "POST", "/v1/embeddings",
                      "{\"input\":\"A red fox ran over the hill.\","
                      "\"encoding_format\":\"base64\",\"model\":\"story\"}");
    float *values = read_base64(json_string_value(embedding_at(answer, 0)));
    assert_memory_equal(values, expected, n_embd * sizeof *values);
    json_decref(answer);
    free(values);
    free(expected);
}

static void test_normalize(void **state) {
    (void)state;
    uint32_t n = 0;
    float *expected = engine_embeds("A red fox", &n);
    json_t *answer =
        ask_fine(app, "POST", "/v1/embeddings", "{\"input\":\"A red fox\",\"normalize\":true}");
    const json_t *array = embedding_at(answer, 0);
    double length = 0, squares = 0;
    for (size_t i = 0; i < n_embd; i++) length += (double)expected[i] * (double)expected[i];
    for (size_t i = 0; i < n_embd; i++) {
        const double value = json_number_value(json_array_get(array, i));
        squares += value * value;
        assert_true(fabs(value - (double)expected[i] / sqrt(length)) < 1e-6);
    }
    assert_true(fabs(squares - 1) < 1e-5);
    json_decref(answer);
    free(expected);
}

// More inputs than there are slots and places in the queue: ids and strings alike.
static void test_many_inputs(void **state) {
    (void)state;
    static const char *const texts[] = {"One", "Two birds", "The sun was hot and", "No!",
                                        "Tom ran"};
    enum { N = 20 };
    json_t *strings = json_array(), *arrays = json_array();
    const ink_model *model = ink_service_model(app->models[0].service);
    for (size_t i = 0; i < N; i++) {
        const char *text = texts[i % 5];
        ink_token ids[64];
        size_t n = 0;
        json_t *array = json_array();
        assert_int_equal(ink_tokenize(model, text, strlen(text), 0, ids, 64, &n, NULL), INK_OK);
        for (size_t k = 0; k < n; k++) json_array_append_new(array, json_integer(ids[k]));
        json_array_append_new(arrays, array);
        json_array_append_new(strings, json_string(text));
    }
    for (int form = 0; form < 3; form++) {
        json_t *input = form == 0 ? strings : form == 1 ? arrays : json_array_get(arrays, 2);
        json_t *object = json_pack("{s:O}", "input", input);
        char *body = json_dumps(object, 0);
        json_t *answer = ask_fine(app, "POST", "/v1/embeddings", body);
        const size_t n_data = json_array_size(json_object_get(answer, "data"));
        json_int_t n_tokens = 0;
        assert_int_equal(n_data, form == 2 ? 1 : N);
        for (size_t i = 0; i < n_data; i++) {
            uint32_t n = 0;
            float *expected = engine_embeds(texts[form == 2 ? 2 : i % 5], &n);
            check_floats(embedding_at(answer, i), expected);
            n_tokens += n;
            free(expected);
        }
        assert_int_equal(number_at(json_object_get(answer, "usage"), "prompt_tokens"), n_tokens);
        json_decref(answer);
        json_decref(object);
        free(body);
    }
    json_decref(strings);
    json_decref(arrays);
}

static void test_refused(void **state) {
    (void)state;
    static const struct {
        const char *body, *param, *word;
    } cases[] = {
        {"{}", "input", "missing"},
        {"{\"input\":\"\"}", "input", "empty"},
        {"{\"input\":[]}", "input", "empty"},
        {"{\"input\":[\"a\",\"\"]}", "input", "item 1"},
        {"{\"input\":[[1],[]]}", "input", "item 1"},
        {"{\"input\":[\"a\",2]}", "input", "item 1"},
        {"{\"input\":[1,\"a\"]}", "input", "item 1"},
        {"{\"input\":[1.5]}", "input", "item 0"},
        {"{\"input\":[{}]}", "input", "item 0"},
        {"{\"input\":7}", "input", "array"},
        {"{\"input\":[1,-1]}", "input", "item 1"},
        {"{\"input\":[[1],[5,900000000]]}", "input", "input 1: item 1"},
        {"{\"input\":\"a\",\"dimensions\":3}", "dimensions", "dimensions"},
        {"{\"input\":\"a\",\"encoding_format\":\"hex\"}", "encoding_format", "base64"},
        {"{\"input\":\"a\",\"normalize\":1}", "normalize", "true or false"},
        {"{\"input\":\"a\",\"inputs\":\"b\"}", "inputs", "inputs"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        ask_refused(app, "POST", "/v1/embeddings", cases[i].body, 400, "", cases[i].param,
                    cases[i].word);
    char list[12288] = "", body[sizeof list + 32];
    for (size_t i = 0; i < 2049; i++) strcat(list, i == 0 ? "\"a\"" : ",\"a\"");
    snprintf(body, sizeof body, "{\"input\":[%s]}", list);
    ask_refused(app, "POST", "/v1/embeddings", body, 400, "", "input", "2048");
    snprintf(body, sizeof body, "{\"input\":\"a\",\"dimensions\":%u}", (unsigned)n_embd);
    json_decref(ask_fine(app, "POST", "/v1/embeddings", body));
}

static void test_too_long(void **state) {
    (void)state;
    char text[2048] = "", body[4096];
    for (size_t i = 0; i < 100; i++) strcat(text, " dog cat");
    snprintf(body, sizeof body, "{\"input\":[\"a\",\"b\",\"%s\",\"c\"]}", text);
    ask_refused(app, "POST", "/v1/embeddings", body, 400, "context_length_exceeded", "input",
                "input 2");
    snprintf(body, sizeof body, "{\"input\":\"%s\"}", text);
    ask_refused(app, "POST", "/v1/embeddings", body, 400, "context_length_exceeded", "input", "64");
    // Before anything is tokenized or waits: nothing of it is evaluated.
    const uint64_t before = atomic_load(&app->metrics.queue.count);
    char *much = malloc(200000);
    strcpy(much, "{\"input\":[\"a\",\"");
    const size_t n = strlen(much);
    memset(much + n, 'x', 100000);
    strcpy(much + n + 100000, "\"]}");
    ask_refused(app, "POST", "/v1/embeddings", much, 400, "context_length_exceeded", "input",
                "input 1");
    strcpy(much, "{\"input\":[[1],[2");
    for (size_t i = 0; i < 64; i++) strcat(much, ",3");
    strcat(much, "]]}");
    ask_refused(app, "POST", "/v1/embeddings", much, 400, "context_length_exceeded", "input",
                "input 1");
    assert_int_equal(atomic_load(&app->metrics.queue.count), before);
    free(much);
}

// --- side by side, and hanging up ----------------------------------------------------------------

static char *long_body(size_t n) {
    char *body = malloc(n * 24 + 64);
    size_t at = 0;
    assert_non_null(body);
    at += (size_t)sprintf(body, "{\"priority\":\"background\",\"input\":[");
    for (size_t i = 0; i < n; i++)
        at += (size_t)sprintf(body + at, "%s\"%zu times a cat\"", i == 0 ? "" : ",", i);
    sprintf(body + at, "]}");
    return body;
}

static void *ask_many(void *fine) {
    char *body = long_body(60);
    for (int i = 0; i < 2; i++) {
        unsigned status = 0;
        json_t *answer = ask(app, "POST", "/v1/embeddings", body, &status);
        if (status == 200 && json_array_size(json_object_get(answer, "data")) == 60)
            atomic_fetch_add((atomic_int *)fine, 1);
        json_decref(answer);
    }
    free(body);
    return NULL;
}

// Two calls of 60 with three slots and four places: none is refused half-way.
static void test_side_by_side(void **state) {
    (void)state;
    pthread_t threads[2];
    atomic_int n_fine = 0;
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ask_many, &n_fine), 0);
    for (size_t i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&n_fine), 4);
}

static void wait_for_rest(void) {
    const struct srv_slots *slots = app->models[0].slots;
    while (srv_slots_n_running(slots) + srv_slots_n_waiting(slots) > 0) sched_yield();
}

static uint64_t n_prompt_tokens(void) { return atomic_load(&app->metrics.prompt_tokens); }

static void test_hanging_up(void **state) {
    (void)state;
    char *body = long_body(600);
    wait_for_rest();
    const uint64_t before = n_prompt_tokens();
    json_decref(ask_fine(app, "POST", "/v1/embeddings", body));
    const uint64_t whole = n_prompt_tokens() - before;
    assert_true(whole > 1200);
    for (int i = 0; i < 3; i++) {
        const uint64_t now = n_prompt_tokens();
        const int fd = asked_connect(srv_port(app));
        asked_write(fd, "POST", "/v1/embeddings", body);
        while (n_prompt_tokens() == now) sched_yield(); // it is at work
        close(fd);
        wait_for_rest(); // comes to an end
    }
    free(body);
    json_decref(ask_fine(app, "POST", "/v1/embeddings", "{\"input\":\"a\"}"));
}

static void test_stop_at_work(void **state) {
    (void)state;
    char *body = long_body(600);
    srv_options o = asked_options();
    o.drain_ms = 0;
    srv_app *other = asked_begin(&o);
    const int fd = asked_connect(srv_port(other));
    asked_write(fd, "POST", "/v1/embeddings", body);
    while (atomic_load(&other->metrics.prompt_tokens) == 0) sched_yield();
    srv_free(other);
    close(fd);
    free(body);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_float_and_base64), cmocka_unit_test(test_normalize),
        cmocka_unit_test(test_many_inputs),      cmocka_unit_test(test_refused),
        cmocka_unit_test(test_too_long),         cmocka_unit_test(test_side_by_side),
        cmocka_unit_test(test_hanging_up),       cmocka_unit_test(test_stop_at_work),
    };
    return cmocka_run_group_tests_name("embeddings", tests, set_up, tear_down);
}
