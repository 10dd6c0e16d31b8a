// SPDX-License-Identifier: MIT
// Label: threads
// Sixty-four typing sessions at once: typists, clients that hang up or come again, a clock that
// runs, somebody who deletes, and the end of the server in the middle of it.
#include "typing_calls_fixture.h"

#include <time.h>

enum { N_TYPISTS = 4, N_EACH = 16, N_ROUNDS = 1, N_ROUNDS_LONG = 12 };

// cmocka's assertions belong to its own thread: the others count.
static atomic_uint n_wrong;
static void expect(bool holds, int line) {
    if (holds) return;
    print_error("line %d does not hold\n", line);
    atomic_fetch_add(&n_wrong, 1);
}
#define EXPECT(holds) expect(holds, __LINE__)

static const char *const texts[] = {"Once upon a time", "The little dog", "One day, Tim and 你好",
                                    "She was very 😀 happy. She"};

static atomic_bool over;     // the others end
static atomic_bool is_rough; // sessions may end at any time
static atomic_uint n_typed, n_suggested;
static unsigned n_rounds;

// Revisions never fall, and nothing comes behind the end.
static void check_events(srv_call *stream) {
    uint64_t last = 0;
    char name[32];
    bool closed = false;
    size_t n = 0;
    for (json_t *data; (data = event_at(stream, n, name)) != NULL; n++) {
        EXPECT(!closed);
        EXPECT((n == 0) == (strcmp(name, "ready") == 0));
        closed = strcmp(name, "closed") == 0;
        const uint64_t revision = (uint64_t)json_integer_value(json_object_get(data, "revision"));
        if (!closed) EXPECT(revision >= last);
        last = revision;
        if (strcmp(name, "suggestion") == 0) atomic_fetch_add(&n_suggested, 1);
        json_decref(data);
    }
}

static void let_go(srv_call *stream, bool hang_up) {
    if (hang_up) fake_hang_up(stream);
    check_events(stream);
    srv_call_unref(stream);
}

static void accept_what_is_there(const char *id, const json_t *shown) {
    json_t *body = json_pack("{s:O, s:O, s:s}", "revision", json_object_get(shown, "revision"),
                             "text", json_object_get(shown, "text"), "unit", "word");
    char *text = json_dumps(body, 0);
    const unsigned status = ask(srv_handle_typing_accept, id, text, NULL);
    EXPECT(status == 200 || status == 404 || status == 409 || atomic_load(&is_rough));
    json_decref(body);
    free(text);
}

static void use_session(const char *id, unsigned round, srv_call **stream) {
    const uint64_t first = type_text(id, texts[round % 4], "");
    if (round % 2 == 1) {
        srv_call *old = *stream;
        *stream = open_stream(id); // takes the old one's place
        let_go(old, round % 4 == 1);
    }
    const uint64_t revision = type_text(id, texts[(round + 1) % 4], " and so on");
    atomic_fetch_add(&n_typed, 1);
    if (!atomic_load(&is_rough)) EXPECT(first > 0 && revision > first);
    if (revision == 0) return;
    json_t *shown = await_done(*stream, revision);
    if (!atomic_load(&is_rough)) EXPECT(shown != NULL);
    if (shown != NULL) accept_what_is_there(id, shown);
    json_decref(shown);
    ask(round % 3 == 0 ? srv_handle_typing_undo : srv_handle_typing_retry, id, "", NULL);
    if (round % 4 != 2) return;
    let_go(*stream, true);
    *stream = open_stream(id);
}

static void *typist(void *arg) {
    (void)arg;
    char ids[N_EACH][40];
    srv_call *streams[N_EACH];
    for (int i = 0; i < N_EACH; i++) {
        const unsigned status = begin_typing("{\"alternatives\": 2, \"max_tokens\": 4}", ids[i]);
        EXPECT(status == 201 || atomic_load(&is_rough));
        streams[i] = open_stream(ids[i]);
    }
    for (unsigned round = 0; round < n_rounds; round++)
        for (int i = 0; i < N_EACH; i++) use_session(ids[i], round + (unsigned)i, &streams[i]);
    for (int i = 0; i < N_EACH; i++) {
        const bool deletes = i % 2 == 0;
        const unsigned status = deletes ? ask(srv_handle_typing_delete, ids[i], "", NULL) : 204;
        EXPECT(status == 204 || atomic_load(&is_rough));
        let_go(streams[i], !deletes);
    }
    return NULL;
}

// Who only waits, or comes again and again, leaves the processors to the others.
static void rest_us(long us) {
    const struct timespec t = {.tv_nsec = us * 1000};
    nanosleep(&t, NULL);
}

// The clock and who deletes go by what the typists have done, be the machine quick or slow: so
// slowly that a session without a stream is hardly ever gone before it has one.
static void *clock_runs(void *arg) {
    (void)arg;
    for (unsigned seen = 0; !atomic_load(&over); rest_us(50)) {
        const unsigned n = atomic_load(&n_typed);
        if (atomic_load(&is_rough))
            atomic_store(&fake_now_ms, atomic_load(&fake_now_ms) + 4000.0 * (n - seen));
        seen = n;
        srv_typings_tick(&fake_app);
    }
    return NULL;
}

static void *deleter(void *arg) {
    (void)arg;
    for (unsigned i = 0; !atomic_load(&over);) {
        char id[40];
        if (!atomic_load(&is_rough) || i == atomic_load(&n_typed)) {
            rest_us(50);
            continue;
        }
        snprintf(id, sizeof id, "typ_%u", i++ * 7 % 512);
        ask(srv_handle_typing_delete, id, "", NULL);
    }
    return NULL;
}

// until: so many texts typed, then the server ends; 0: when all typists are done.
static void meet(unsigned until) {
    pthread_t typists[N_TYPISTS], others[2];
    atomic_store(&over, false);
    atomic_store(&n_typed, 0);
    atomic_store(&n_suggested, 0);
    assert_int_equal(pthread_create(&others[0], NULL, clock_runs, NULL), 0);
    assert_int_equal(pthread_create(&others[1], NULL, deleter, NULL), 0);
    for (int i = 0; i < N_TYPISTS; i++)
        assert_int_equal(pthread_create(&typists[i], NULL, typist, NULL), 0);
    if (until > 0) {
        while (atomic_load(&n_typed) < until) rest_us(50);
        srv_typings_close(fake_app.typings);
    }
    for (int i = 0; i < N_TYPISTS; i++) pthread_join(typists[i], NULL);
    atomic_store(&over, true);
    for (int i = 0; i < 2; i++) pthread_join(others[i], NULL);
    assert_int_equal(atomic_load(&n_wrong), 0);
    assert_true(atomic_load(&n_suggested) > 0);
}

static void test_all_at_once(void **state) {
    (void)state;
    atomic_store(&is_rough, false);
    meet(0);
    // Half of them were left without a stream.
    assert_int_equal(srv_typings_n(fake_app.typings), N_TYPISTS * N_EACH / 2);
    atomic_store(&fake_now_ms, atomic_load(&fake_now_ms) + 60000);
    srv_typings_tick(&fake_app);
    assert_int_equal(srv_typings_n(fake_app.typings), 0);
    assert_int_equal(atomic_load(&n_live_calls), 0);
}

static void test_the_end_in_the_middle(void **state) {
    (void)state;
    atomic_store(&is_rough, true);
    meet(N_TYPISTS * N_EACH / 2);
    assert_int_equal(srv_typings_n(fake_app.typings), 0);
    assert_int_equal(atomic_load(&n_live_calls), 0);
}

int main(void) {
    const bool is_long = getenv("INKLING_TEST_LONG") != NULL;
    n_rounds = is_long ? N_ROUNDS_LONG : N_ROUNDS;
    if (!is_long) printf("left out: %d more rounds of typing\n", N_ROUNDS_LONG - N_ROUNDS);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_at_once),
        cmocka_unit_test(test_the_end_in_the_middle),
    };
    return cmocka_run_group_tests(tests, fixture_begin, fixture_end);
}
