// SPDX-License-Identifier: MIT
// Label: threads
// Four threads with a client and a typing session each: every priority, cancels, trims and changes
// of pace at random, clients and sessions that come and go, and a service that closes under them.
// What was not cut short must be what a session alone says. Bounded by counts.
#include "served.h"

enum { N_THREADS = 4, N_ASKS = 5, SHORT_ROUNDS = 40, LONG_ROUNDS = 4000 };

static tiny_model tiny;
static opened own;
static served scene;
static size_t n_rounds;
static bool polls;
static atomic_bool over;
static atomic_int n_at_work, n_whole, n_cut, n_refused, n_suggested;

static const ask asks[N_ASKS] = {
    {.text = "once upon a time there was a", .n_tokens = 7},
    {.text = "b", .n_tokens = 12},
    {.text = "a prompt that takes more than one pass to read, which is why it is this long",
     .n_tokens = 2},
    {.text = "", .n_tokens = 5},
    {.text = "once upon a time there was nothing", .n_tokens = 9, .stop = "a"},
};
static collected expected[N_ASKS];
static ink_result expected_results[N_ASKS];
static const char *const texts[N_ASKS] = {"once", "once upon", "once upo", "and", "and so "};
static char suggested[N_ASKS][512];

static ask ask_of(size_t i, uint32_t priority) {
    ask a = asks[i];
    a.priority = priority;
    a.seed = i;
    a.flags = INK_GENERATE_FRESH | INK_GENERATE_NO_END;
    return a;
}

static void told(void *user, ink_typing *typing, const ink_suggestion *s) {
    (void)user;
    (void)typing;
    if (!s->done || s->stop == INK_STOP_CANCELLED || s->bytes == 0) return;
    bool known = false; // the text it is for may have changed: it is that of one of them
    for (size_t i = 0; i < N_ASKS; i++) known |= strcmp(suggested[i], s->text) == 0;
    EXPECT(known);
    atomic_fetch_add(&n_suggested, 1);
}

static ink_typing_options typing_options(void) {
    ink_typing_options o;
    ink_typing_options_init(&o, sizeof o);
    o.until = INK_UNTIL_LENGTH;
    o.max_tokens = 3;
    o.n_ctx = 64;
    o.on_suggestion = told;
    return o;
}

static int set_up(void **state) {
    (void)state;
    tiny = tiny_model_defaults();
    own = opened_tiny(&tiny, 1, NULL);
    const bool is_long = getenv("INKLING_TEST_LONG") != NULL;
    n_rounds = is_long ? LONG_ROUNDS : SHORT_ROUNDS;
    if (!is_long) print_message("left out: %d rounds (INKLING_TEST_LONG)\n", LONG_ROUNDS);
    for (size_t i = 0; i < N_ASKS; i++) {
        const ask a = ask_of(i, 0);
        ink_session *session = opened_session(&own, 0, INK_KV_F16, 1);
        session_ask(session, own.model, &a, &expected[i], &expected_results[i]);
        ink_session_free(session);
        ink_typing *typing = NULL;
        ink_typing_options o = typing_options();
        ink_suggestion s = {0};
        o.on_suggestion = NULL;
        assert_int_equal(ink_typing_new(&typing, own.model, &o, NULL), INK_OK);
        ink_typing_update(typing, texts[i], strlen(texts[i]), strlen(texts[i]), NULL, NULL);
        ink_typing_run(typing, UINT32_MAX, NULL, NULL);
        assert_int_equal(ink_typing_suggestion(typing, 0, &s), INK_OK);
        memcpy(suggested[i], s.text, s.bytes + 1);
        ink_typing_free(typing);
    }
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    opened_close(&own);
    return 0;
}

// --- one thread ----------------------------------------------------------------------------------

typedef struct actor {
    uint64_t random;
    watcher w;
    ink_typing *typing;
    uint32_t n_accepted;
} actor;
static actor actors[N_THREADS];

static uint32_t roll(actor *a, uint32_t n) {
    a->random = a->random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(a->random >> 33) % n;
}

static bool is_status(ink_status status, ink_status a, ink_status b) {
    return status == INK_OK || status == a || status == b;
}

static void renew(actor *a) {
    EXPECT(ink_client_free(a->w.client) == INK_OK);
    EXPECT(a->w.n_done == a->n_accepted);
    a->w = (watcher){0};
    a->n_accepted = 0;
    EXPECT(is_status(watcher_try(&a->w, scene.service, roll(a, 2) * 120, NULL), INK_E_CLOSED,
                     INK_E_CLOSED));
}

static void renew_typing(actor *a) {
    const ink_typing_options o = typing_options();
    EXPECT(ink_typing_free(a->typing) == INK_OK);
    a->typing = NULL;
    EXPECT(is_status(ink_service_typing(scene.service, &a->typing, &o, NULL), INK_E_CLOSED,
                     INK_E_CLOSED));
}

// One request, maybe cut short by what this thread does meanwhile.
static void request(actor *a) {
    const size_t i = roll(a, N_ASKS);
    const ask what = ask_of(i, roll(a, 3));
    watcher *w = &a->w;
    if (w->client == NULL) return;
    uint64_t id = 0;
    pthread_mutex_lock(&scene_lock);
    w->bytes = w->n_pieces = 0;
    w->stop_after = roll(a, 8) == 0 ? 1 : 0;
    pthread_mutex_unlock(&scene_lock);
    const ink_status status = watcher_submit(w, &what, &id, NULL);
    EXPECT(is_status(status, INK_E_CLOSED, INK_E_FULL));
    if (status != INK_OK) {
        atomic_fetch_add(&n_refused, 1);
        return;
    }
    a->n_accepted++;
    const uint32_t what_else = roll(a, 10);
    if (what_else == 0)
        EXPECT(is_status(ink_client_cancel(w->client, id), INK_E_NOT_FOUND, INK_E_CLOSED));
    if (what_else == 1) { // with a request on its way
        renew(a);
        return;
    }
    if (what_else == 2)
        EXPECT(is_status(ink_service_trim(scene.service, 1 + roll(a, 3), NULL), INK_E_CLOSED,
                         INK_E_CLOSED));
    watcher_wait(w, a->n_accepted);
    EXPECT(w->status == INK_OK && w->id == id);
    const uint32_t stop = w->result.stop;
    const bool whole = stop == expected_results[i].stop && w->stop_after == 0;
    EXPECT(whole || stop == INK_STOP_CANCELLED || stop == INK_STOP_CALLBACK || w->stop_after != 0);
    EXPECT(w->bytes <= expected[i].bytes && memcmp(w->text, expected[i].text, w->bytes) == 0);
    EXPECT(!whole || w->bytes == expected[i].bytes);
    atomic_fetch_add(whole ? &n_whole : &n_cut, 1);
}

static void typing(actor *a) {
    const char *text = texts[roll(a, N_ASKS)];
    if (a->typing == NULL) return;
    EXPECT(is_status(ink_typing_update(a->typing, text, strlen(text), strlen(text), NULL, NULL),
                     INK_E_CLOSED, INK_E_CLOSED));
    ink_suggestion s = {0};
    if (roll(a, 4) == 0) ink_typing_cancel(a->typing);
    EXPECT(ink_typing_suggestion(a->typing, 0, &s) == INK_OK);
}

static void *act(void *arg) {
    actor *a = arg;
    for (size_t round = 0; round < n_rounds; round++) {
        switch (roll(a, 12)) {
        case 0: renew(a); break;
        case 1: renew_typing(a); break;
        case 2: ink_service_trim(scene.service, 1 + roll(a, 3), NULL); break;
        case 3: ink_service_set_pace(scene.service, roll(a, 3), 90 + roll(a, 11)); break;
        case 4:
        case 5:
        case 6: typing(a); break;
        default: request(a);
        }
    }
    atomic_fetch_sub(&n_at_work, 1);
    return NULL;
}

static void *poll_all(void *arg) {
    (void)arg;
    ink_status status = INK_OK;
    while (status != INK_E_CLOSED && !atomic_load(&over))
        status = ink_service_poll(scene.service, 1, NULL);
    return NULL;
}

// --- all of them ---------------------------------------------------------------------------------

static void run_all(uint32_t flags, bool close_early) {
    pthread_t threads[N_THREADS], poller;
    ink_service_options o = served_options();
    o.flags = flags;
    o.n_batch = 3;
    o.n_rows = 16;
    o.n_queue = 6;
    o.n_clients = 2 * N_THREADS;
    served_begin(&scene, &tiny, o);
    atomic_store(&over, false);
    atomic_store(&n_at_work, N_THREADS);
    polls = (flags & INK_SERVICE_POLL) != 0;
    const ink_typing_options to = typing_options();
    for (size_t i = 0; i < N_THREADS; i++) {
        actors[i] = (actor){.random = 1000 * flags + i};
        assert_int_equal(watcher_try(&actors[i].w, scene.service, 0, NULL), INK_OK);
        assert_int_equal(ink_service_typing(scene.service, &actors[i].typing, &to, NULL), INK_OK);
        assert_int_equal(pthread_create(&threads[i], NULL, act, &actors[i]), 0);
    }
    if (polls) assert_int_equal(pthread_create(&poller, NULL, poll_all, NULL), 0);
    served_go(&scene);
    if (close_early) {
        while (atomic_load(&n_whole) == 0 && atomic_load(&n_at_work) > 0) sched_yield();
        assert_int_equal(ink_service_close(scene.service), INK_OK);
    }
    for (size_t i = 0; i < N_THREADS; i++) pthread_join(threads[i], NULL);
    atomic_store(&over, true);
    if (polls) pthread_join(poller, NULL);
    for (size_t i = 0; i < N_THREADS; i++) {
        assert_int_equal(ink_client_free(actors[i].w.client), INK_OK);
        assert_int_equal(actors[i].w.n_done, actors[i].n_accepted);
        assert_int_equal(ink_typing_free(actors[i].typing), INK_OK);
    }
    served_end(&scene);
    print_message("%d whole, %d cut short, %d refused, %d suggestions\n",
                  atomic_exchange(&n_whole, 0), atomic_exchange(&n_cut, 0),
                  atomic_exchange(&n_refused, 0), atomic_exchange(&n_suggested, 0));
}

static void test_called_back(void **state) {
    (void)state;
    run_all(0, false);
}

static void test_polled(void **state) {
    (void)state;
    run_all(INK_SERVICE_POLL, false);
}

static void test_closed_under_them(void **state) {
    (void)state;
    for (int i = 0; i < 8; i++) run_all(i % 2 == 0 ? INK_SERVICE_POLL : 0, true);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_called_back),
        cmocka_unit_test(test_polled),
        cmocka_unit_test(test_closed_under_them),
    };
    return cmocka_run_group_tests_name("stress", tests, set_up, tear_down);
}
