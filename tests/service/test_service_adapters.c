// SPDX-License-Identifier: MIT
// Clients with different adapters share passes of one service; each gets what it would get alone.
// Label: threads
#include "served.h"
#include "tiny_adapter.h"

enum { CLIENTS = 4 };

static uint8_t *bytes[2];
static ink_adapter *adapters[2];

static void adapters_begin(const served *s, const tiny_model *tiny) {
    for (size_t i = 0; i < 2; i++) {
        tiny_adapter a = tiny_adapter_defaults();
        size_t n = 0;
        ink_error error = {0};
        a.seed = i + 1;
        bytes[i] = tiny_adapter_bytes(tiny, &a, &n);
        assert_non_null(bytes[i]);
        const ink_source source = {
            .size = sizeof source, .kind = INK_SOURCE_MEMORY, .data = bytes[i], .bytes = n};
        if (ink_adapter_open(&adapters[i], ink_service_model(s->service), &source, &error) !=
            INK_OK)
            fail_msg("%s", error.message);
    }
}

static ink_session_options options_with(const ink_adapter_use *uses, size_t n) {
    ink_session_options o;
    ink_session_options_init(&o, sizeof o);
    o.adapters = uses;
    o.n_adapters = n;
    return o;
}

static ink_status client_with(watcher *w, const served *s, const ink_adapter_use *uses, size_t n) {
    const ink_session_options so = options_with(uses, n);
    ink_client_options co;
    ink_client_options_init(&co, sizeof co);
    co.session = &so;
    co.on_text = watch_text;
    co.on_done = watch_done;
    co.user = w;
    *w = (watcher){.service = s->service};
    return ink_client_new(&w->client, s->service, &co, NULL);
}

static ask ask_of(size_t i) {
    static const char *const texts[] = {"one word and ", "another of them ", "the third ", "four"};
    return (ask){.text = texts[i],
                 .priority = INK_PRIORITY_FOREGROUND,
                 .seed = 3 + i,
                 .flags = INK_GENERATE_FRESH | INK_GENERATE_NO_END,
                 .n_tokens = 40};
}

static void each_as_if_alone(void **state) {
    (void)state;
    const tiny_model tiny = tiny_model_defaults();
    served s;
    served_begin(&s, &tiny, served_options());
    served_go(&s);
    adapters_begin(&s, &tiny);
    ink_model *model = ink_service_model(s.service);
    const ink_adapter_use uses[][2] = {
        {{adapters[0], 1}}, {{adapters[1], 1}}, {{adapters[0], 0.5f}, {adapters[1], -1}}};
    const size_t n[CLIENTS] = {1, 1, 2, 0}; // the last one: none
    collected expected[CLIENTS];
    ink_result results[CLIENTS];
    watcher w[CLIENTS];
    for (size_t i = 0; i < CLIENTS; i++) {
        const ask a = ask_of(i);
        const ink_session_options so = options_with(i < 3 ? uses[i] : NULL, n[i]);
        ink_session *session = NULL;
        assert_int_equal(ink_session_new(&session, model, &so, NULL), INK_OK);
        session_ask(session, model, &a, &expected[i], &results[i]);
        ink_session_free(session);
        assert_int_equal(client_with(&w[i], &s, i < 3 ? uses[i] : NULL, n[i]), INK_OK);
    }
    // From here on only the clients hold them.
    for (size_t i = 0; i < 2; i++) ink_adapter_unref(adapters[i]);
    for (uint32_t round = 1; round <= 2; round++) {
        for (size_t i = 0; i < CLIENTS; i++) {
            const ask a = ask_of(i);
            watcher_ask(&w[i], &a);
        }
        for (size_t i = 0; i < CLIENTS; i++) {
            watcher_wait(&w[i], round);
            assert_same(&w[i], &expected[i], &results[i]);
        }
        // Sessions that are given back are made again, with the same adapters.
        assert_int_equal(ink_service_trim(s.service, INK_TRIM_CACHE, NULL), INK_OK);
    }
    for (size_t i = 0; i < CLIENTS; i++) ink_client_free(w[i].client);
    served_end(&s);
    for (size_t i = 0; i < 2; i++) free(bytes[i]);
}

// Before the model is open, and after.
static void wrong_adapters(void **state) {
    (void)state;
    const tiny_model tiny = tiny_model_defaults();
    served s;
    opened other = opened_tiny(&tiny, 1, NULL);
    watcher w;
    served_begin(&s, &tiny, served_options());
    const ink_adapter_use none[17] = {{NULL, 1}};
    assert_int_equal(client_with(&w, &s, none, 1), INK_E_ARG);
    assert_int_equal(client_with(&w, &s, none, 17), INK_E_LIMIT);
    served_go(&s);
    adapters_begin(&s, &tiny);
    const ink_adapter_use good[] = {{adapters[0], 1}};
    assert_int_equal(client_with(&w, &s, good, 1), INK_OK);
    ink_client_free(w.client);
    for (size_t i = 0; i < 2; i++) {
        ink_adapter_unref(adapters[i]);
        free(bytes[i]);
    }
    size_t n = 0;
    const tiny_adapter a = tiny_adapter_defaults();
    uint8_t *data = tiny_adapter_bytes(&tiny, &a, &n);
    assert_non_null(data);
    const ink_source source = {
        .size = sizeof source, .kind = INK_SOURCE_MEMORY, .data = data, .bytes = n};
    ink_adapter_use foreign = {NULL, 1};
    assert_int_equal(ink_adapter_open(&foreign.adapter, other.model, &source, NULL), INK_OK);
    assert_int_equal(client_with(&w, &s, &foreign, 1), INK_E_ARG);
    ink_adapter_unref(foreign.adapter);
    free(data);
    opened_close(&other);
    served_end(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_as_if_alone),
                                       cmocka_unit_test(wrong_adapters)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
