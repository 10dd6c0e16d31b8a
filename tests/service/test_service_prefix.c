// SPDX-License-Identifier: MIT
// Label: threads
// A service whose clients share a prefix cache: what one has read the others do not read again, the
// bytes are those of a session alone, and a trim empties it.
#include "served.h"

#include "engine/prefix_cache.h"

static tiny_model tiny;
static char text[400]; // a token a byte, nearly

static int set_up(void **state) {
    (void)state;
    tiny = tiny_model_defaults();
    tiny.n_ctx = 512;
    for (size_t i = 0; i + 1 < sizeof text; i++) text[i] = (char)('a' + (i * i + i / 7) % 26);
    return 0;
}

static ask ask_of(const char *prompt, uint64_t seed) {
    return (ask){.text = prompt,
                 .priority = 1,
                 .seed = seed,
                 .n_tokens = 30,
                 .flags = INK_GENERATE_NO_END | INK_GENERATE_FRESH};
}

static ink_service_options with_cache(uint64_t bytes) {
    ink_service_options o = served_options();
    o.prefix_cache_bytes = bytes;
    return o;
}

static ink_prefix_cache_info info_of(const served *s) {
    ink_prefix_cache_info info = {.size = sizeof info};
    assert_int_equal(ink_prefix_cache_get_info(ink_service_prefix_cache(s->service), &info),
                     INK_OK);
    return info;
}

static ink_session *session_alone(const served *s) {
    ink_session *session = NULL;
    assert_int_equal(ink_session_new(&session, ink_service_model(s->service), NULL, NULL), INK_OK);
    return session;
}

static void clients_share(void **state) {
    (void)state;
    served s;
    watcher first, second;
    collected alone;
    ink_result r = {.size = sizeof r};
    served_begin(&s, &tiny, with_cache(1 << 20));
    assert_null(ink_service_prefix_cache(s.service)); // not yet
    served_go(&s);
    assert_int_equal(info_of(&s).max_bytes, 1 << 20);
    watcher_begin(&first, &s, 0);
    watcher_begin(&second, &s, 0);
    ink_session *session = session_alone(&s);
    const ask a = ask_of(text, 3), b = ask_of(text, 4);
    watcher_ask(&first, &a);
    watcher_wait(&first, 1);
    assert_int_equal(first.result.n_reused, 0);
    const uint32_t n_prompt = first.result.n_prompt;
    watcher_ask(&second, &b);
    watcher_wait(&second, 1);
    assert_int_equal(second.result.n_reused,
                     n_prompt - 1); // the rest of its last page is there too
    session_ask(session, ink_service_model(s.service), &b, &alone, &r);
    assert_same(&second, &alone, &r);
    const ink_prefix_cache_info info = info_of(&s);
    assert_int_equal(info.n_lookups, 2);
    assert_int_equal(info.n_tokens_found, n_prompt);
    // A typing session asks nothing of it.
    ink_typing_options to;
    ink_typing *typing = NULL;
    ink_typing_options_init(&to, sizeof to);
    assert_int_equal(ink_service_typing(s.service, &typing, &to, NULL), INK_OK);
    assert_int_equal(ink_typing_update(typing, text, 300, 300, NULL, NULL), INK_OK);
    served_settle(&s);
    assert_int_equal(info_of(&s).n_lookups, 2);
    ink_typing_free(typing);
    ink_session_free(session);
    assert_int_equal(ink_client_free(first.client), INK_OK);
    assert_int_equal(ink_client_free(second.client), INK_OK);
    served_end(&s);
}

// The bytes given back are those that the allocator gets, whoever held them.
static void a_trim_empties_it(void **state) {
    (void)state;
    for (uint32_t level = INK_TRIM_LOGITS; level <= INK_TRIM_FILE; level++) {
        served s;
        watcher w[2];
        served_begin(&s, &tiny, with_cache(1 << 20));
        served_go(&s);
        const ask a = ask_of(text, 3), b = ask_of(text + 100, 3);
        for (uint32_t i = 0; i < 2; i++) {
            watcher_begin(&w[i], &s, 0);
            watcher_ask(&w[i], &a);
            watcher_wait(&w[i], 1);
            watcher_ask(&w[i], &b);
            watcher_wait(&w[i], 2);
        }
        served_settle(&s);
        const uint64_t held = info_of(&s).bytes;
        assert_true(held > 0);
        const size_t live = s.memory.live_bytes;
        uint64_t bytes = 0;
        assert_int_equal(ink_service_trim(s.service, level, &bytes), INK_OK);
        assert_int_equal(live - s.memory.live_bytes, bytes);
        assert_int_equal(info_of(&s).bytes, level < INK_TRIM_CACHE ? held : 0);
        char before[8192];
        memcpy(before, w[0].text, sizeof before);
        watcher_ask(&w[0], &b);
        watcher_wait(&w[0], 3);
        assert_string_equal(w[0].text, before);
        for (uint32_t i = 0; i < 2; i++) assert_int_equal(ink_client_free(w[i].client), INK_OK);
        served_end(&s);
    }
}

// Without one, or with less than a page, a service is as it ever was.
static void none(void **state) {
    (void)state;
    const uint64_t sizes[] = {0, 1, 1000};
    for (size_t i = 0; i < 3; i++) {
        served s;
        watcher w;
        served_begin(&s, &tiny, with_cache(sizes[i]));
        served_go(&s);
        assert_null(ink_service_prefix_cache(s.service));
        watcher_begin(&w, &s, 0);
        const ask a = ask_of(text, 3);
        watcher_ask(&w, &a);
        watcher_wait(&w, 1);
        assert_int_equal(w.status, INK_OK);
        assert_int_equal(ink_service_trim(s.service, INK_TRIM_CACHE, NULL), INK_OK);
        assert_int_equal(ink_client_free(w.client), INK_OK);
        served_end(&s);
    }
    assert_null(ink_service_prefix_cache(NULL));
}

static ink_status own_client(const served *s, watcher *w, ink_prefix_cache *cache,
                             ink_error *error) {
    ink_session_options so;
    ink_client_options co;
    ink_session_options_init(&so, sizeof so);
    so.prefix_cache = cache;
    ink_client_options_init(&co, sizeof co);
    co.session = &so;
    co.on_text = watch_text;
    co.on_done = watch_done;
    co.user = w;
    return ink_client_new(&w->client, s->service, &co, error);
}

// A client that brings one uses that, and keeps it; one of another model is refused.
static void ones_own(void **state) {
    (void)state;
    served s;
    watcher w[2] = {{0}}, wrong = {0};
    ink_prefix_cache *cache = NULL, *foreign = NULL;
    ink_error error = {0};
    opened o = opened_tiny(&tiny, 1, NULL);
    served_begin(&s, &tiny, with_cache(1 << 20));
    assert_int_equal(ink_prefix_cache_new(&foreign, o.model, 1 << 20, NULL), INK_OK);
    // Who comes before the model is open is told with the request.
    assert_int_equal(own_client(&s, &wrong, foreign, &error), INK_OK);
    served_go(&s);
    const ask a = ask_of(text, 3);
    watcher_ask(&wrong, &a);
    watcher_wait(&wrong, 1);
    assert_int_equal(wrong.status, INK_E_ARG);
    assert_int_equal(ink_client_free(wrong.client), INK_OK);
    assert_int_equal(own_client(&s, &wrong, foreign, &error), INK_E_ARG);
    assert_non_null(strstr(error.message, "prefix_cache"));
    ink_prefix_cache_unref(foreign);
    opened_close(&o);

    assert_int_equal(ink_prefix_cache_new(&cache, ink_service_model(s.service), 1 << 20, &error),
                     INK_OK);
    for (uint32_t i = 0; i < 2; i++) assert_int_equal(own_client(&s, &w[i], cache, &error), INK_OK);
    for (uint32_t i = 0; i < 2; i++) {
        watcher_ask(&w[i], &a);
        watcher_wait(&w[i], 1);
        assert_int_equal(w[i].result.n_reused > 0, i == 1);
    }
    ink_prefix_cache_info info = {.size = sizeof info};
    assert_int_equal(ink_prefix_cache_get_info(cache, &info), INK_OK);
    assert_int_equal(info.n_lookups, 2);
    assert_int_equal(info_of(&s).n_lookups, 0);
    ink_prefix_cache_unref(cache);
    assert_int_equal(ink_service_trim(s.service, INK_TRIM_CACHE, NULL), INK_OK);
    watcher_ask(&w[0], &a);
    watcher_wait(&w[0], 2);
    assert_int_equal(w[0].status, INK_OK);
    assert_true(w[0].result.n_reused > 0); // the service empties its own only
    for (uint32_t i = 0; i < 2; i++) assert_int_equal(ink_client_free(w[i].client), INK_OK);
    served_end(&s);
}

// Many at once, a cache of a few pages, trims between them: always the bytes of a session alone.
static void many_at_once(void **state) {
    (void)state;
    enum { N_CLIENTS = 6, N_TEXTS = 5, N_ROUNDS = 6 };
    served s;
    static watcher w[N_CLIENTS];
    static collected alone[N_TEXTS];
    static char prompts[N_TEXTS][sizeof text];
    ink_result r[N_TEXTS];
    served_begin(&s, &tiny, with_cache(8 * 2 * 32 * 64 * 4 + 100000));
    served_go(&s);
    ink_session *session = session_alone(&s);
    for (uint32_t i = 0; i < N_TEXTS; i++) {
        const ask a = ask_of(prompts[i], i + 1);
        memcpy(prompts[i], text, sizeof text);
        for (size_t k = 50 + 70 * i; k < 150 + 40 * i; k++)
            prompts[i][k] = (char)('A' + (k + i) % 26);
        r[i] = (ink_result){.size = sizeof r[i]};
        session_ask(session, ink_service_model(s.service), &a, &alone[i], &r[i]);
    }
    for (uint32_t i = 0; i < N_CLIENTS; i++) watcher_begin(&w[i], &s, 0);
    for (uint32_t round = 0; round < N_ROUNDS; round++) {
        for (uint32_t i = 0; i < N_CLIENTS; i++) {
            const uint32_t t = (i * 3 + round * round) % N_TEXTS;
            const ask a = ask_of(prompts[t], t + 1);
            watcher_ask(&w[i], &a);
        }
        if (round % 2 == 1)
            assert_int_equal(ink_service_trim(s.service, INK_TRIM_CACHE, NULL), INK_OK);
        for (uint32_t i = 0; i < N_CLIENTS; i++) {
            const uint32_t t = (i * 3 + round * round) % N_TEXTS;
            watcher_wait(&w[i], round + 1);
            assert_same(&w[i], &alone[t], &r[t]);
        }
        const ink_prefix_cache_info info = info_of(&s);
        assert_true(info.bytes <= info.max_bytes);
    }
    assert_true(info_of(&s).n_tokens_found > 0);
    ink_session_free(session);
    for (uint32_t i = 0; i < N_CLIENTS; i++) assert_int_equal(ink_client_free(w[i].client), INK_OK);
    served_end(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clients_share), cmocka_unit_test(a_trim_empties_it),
        cmocka_unit_test(none),          cmocka_unit_test(ones_own),
        cmocka_unit_test(many_at_once),
    };
    return cmocka_run_group_tests_name("prefix", tests, set_up, NULL);
}
