// SPDX-License-Identifier: MIT
// Services that call back only where the host polls: the same pieces in the same order, whenever
// they are fetched. n_threads: a worker runs.
#include "served.h"

static tiny_model tiny;
static opened own;

static int set_up(void **state) {
    (void)state;
    tiny = tiny_model_defaults();
    own = opened_tiny(&tiny, 1, NULL);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    opened_close(&own);
    return 0;
}

static const ask story = {.text = "once upon a time",
                          .priority = 1,
                          .seed = 21,
                          .n_tokens = 60,
                          .flags =
                              INK_GENERATE_NO_END | INK_GENERATE_FRESH | INK_GENERATE_LOGPROBS};

static pthread_t host;
static atomic_int n_wakes;

static void count_wake(void *user) {
    (void)user;
    atomic_fetch_add(&n_wakes, 1);
}

static void in_host_thread(watcher *w, uint64_t id) {
    (void)w;
    (void)id;
    EXPECT(pthread_equal(pthread_self(), host));
}

static void note_state(void *user, uint32_t state, const ink_error *reason) {
    (void)user;
    (void)reason;
    EXPECT(pthread_equal(pthread_self(), host));
    journal_add((char)('0' + state));
}

static ink_service_options polled(void) {
    ink_service_options o = served_options();
    o.flags = INK_SERVICE_POLL;
    o.wake = count_wake;
    o.on_state = note_state;
    host = pthread_self();
    atomic_store(&n_wakes, 0);
    return o;
}

static void compare(watcher *w, const ask *a) {
    collected expected;
    ink_result result = {0};
    ink_session *session = opened_session(&own, 0, INK_KV_F16, 1);
    session_ask(session, own.model, a, &expected, &result);
    assert_same(w, &expected, &result);
    ink_session_free(session);
}

static uint32_t poll_until_done(const served *s, const watcher *w, uint32_t n_done) {
    uint32_t n_all = 0;
    while (w->n_done < n_done) {
        uint32_t n = 0;
        assert_int_equal(ink_service_poll(s->service, UINT32_MAX, &n), INK_OK);
        assert_true(n > 0);
        n_all += n;
    }
    return n_all;
}

static void begin(served *s, watcher *w, ink_service_options o) {
    served_begin(s, &tiny, o);
    watcher_begin(w, s, 'w');
    w->at_piece = w->at_done = in_host_thread;
}

static void test_piece_by_piece(void **state) {
    (void)state;
    served s;
    watcher w;
    uint32_t n = 7;
    begin(&s, &w, polled());
    assert_int_equal(ink_service_poll(s.service, 0, &n), INK_OK);
    assert_int_equal(n, 0);
    assert_int_equal(ink_service_poll(s.service, 1, &n), INK_OK);
    assert_int_equal(n, 0);
    served_go(&s);
    assert_int_equal(ink_service_poll(s.service, UINT32_MAX, &n), INK_OK);
    assert_int_equal(n, 1);
    assert_int_equal(journal[0], '0' + INK_SERVICE_READY);
    for (uint32_t i = 1; i < 4; i++) {
        watcher_ask(&w, &story);
        n = poll_until_done(&s, &w, i);
        assert_int_equal(n, w.n_pieces + 1);
        compare(&w, &story);
    }
    assert_true(atomic_load(&n_wakes) >= 4);
    assert_int_equal(ink_client_free(w.client), INK_OK);
    assert_int_equal(ink_service_close(s.service), INK_OK);
    assert_int_equal(ink_service_poll(s.service, UINT32_MAX, &n), INK_OK);
    assert_int_equal(journal[strlen(journal) - 1], '0' + INK_SERVICE_CLOSED);
    assert_int_equal(ink_service_poll(s.service, UINT32_MAX, &n), INK_E_CLOSED);
    served_end(&s);
}

static void wait_for_wakes(int n) {
    while (atomic_load(&n_wakes) < n) sched_yield();
}

// Two are answered before anybody looks; of what is there, each client's comes in order.
static void test_all_at_the_end(void **state) {
    (void)state;
    served s;
    watcher w[2];
    uint32_t n = 0;
    begin(&s, &w[0], polled());
    watcher_begin(&w[1], &s, 'x');
    served_go(&s);
    wait_for_wakes(1);
    watcher_ask(&w[0], &story);
    watcher_ask(&w[1], &story);
    ask second = story;
    second.seed = 22;
    watcher_submit(&w[0], &second, NULL, NULL);
    // Closing waits for the worker, which ends what is left: then everything is there.
    assert_int_equal(atomic_load(&n_wakes), 1);
    assert_int_equal(ink_service_close(s.service), INK_OK);
    assert_int_equal(w[0].n_done + w[1].n_done, 0);
    while (ink_service_poll(s.service, UINT32_MAX, &n) == INK_OK) {}
    assert_int_equal(atomic_load(&n_wakes), 1); // told once that there is something
    assert_int_equal(w[0].n_done, 2);
    assert_int_equal(w[1].n_done, 1);
    assert_int_equal(ink_client_free(w[0].client), INK_OK);
    assert_int_equal(ink_client_free(w[1].client), INK_OK);
    served_end(&s);
}

// A callback that stops is heard late: the text after it is not told.
static void test_stopped(void **state) {
    (void)state;
    served s;
    watcher w;
    begin(&s, &w, polled());
    served_go(&s);
    w.stop_after = 3;
    watcher_ask(&w, &story);
    poll_until_done(&s, &w, 1);
    assert_int_equal(w.status, INK_OK);
    assert_int_equal(w.result.stop, INK_STOP_CALLBACK);
    assert_int_equal(w.n_pieces, 3);
    w.stop_after = 0;
    const uint64_t id = watcher_ask(&w, &story);
    const bool in_time = ink_client_cancel(w.client, id) == INK_OK;
    poll_until_done(&s, &w, 2);
    assert_true(w.result.stop == INK_STOP_LENGTH ||
                (in_time && w.result.stop == INK_STOP_CANCELLED));
    assert_int_equal(ink_client_free(w.client), INK_OK);
    served_end(&s);
}

// --- who may poll --------------------------------------------------------------------------------

static void poll_again(watcher *w, uint64_t id) {
    uint32_t n = 7;
    (void)id;
    EXPECT(ink_service_poll(w->service, 0, &n) == INK_E_REENTRANT && n == 7);
    EXPECT(ink_service_wait(w->service, 0, NULL) == INK_E_REENTRANT);
    EXPECT(ink_service_close(w->service) == INK_E_REENTRANT);
    EXPECT(ink_service_free(w->service) == INK_E_REENTRANT);
    EXPECT(ink_client_free(w->client) == INK_E_REENTRANT);
}

static void *poll_beside(void *service) {
    uint32_t n = 7;
    journal_wait_for('w');
    EXPECT(ink_service_poll(service, UINT32_MAX, &n) == INK_E_BUSY && n == 7);
    gate_set(true);
    return NULL;
}

static void wait_for_other(watcher *w, uint64_t id) {
    poll_again(w, id);
    wait_for_gate();
}

static void test_one_at_a_time(void **state) {
    (void)state;
    served s;
    watcher w;
    pthread_t thread;
    begin(&s, &w, polled());
    served_go(&s);
    gate_set(false);
    w.at_piece = wait_for_other;
    w.at_done = poll_again;
    assert_int_equal(pthread_create(&thread, NULL, poll_beside, s.service), 0);
    watcher_ask(&w, &story);
    poll_until_done(&s, &w, 1);
    pthread_join(thread, NULL);
    compare(&w, &story);
    assert_int_equal(ink_client_free(w.client), INK_OK);
    served_end(&s);
}

// --- ends ----------------------------------------------------------------------------------------

static watcher another;

static void free_another(watcher *w, uint64_t id) {
    (void)w;
    (void)id;
    if (another.client == NULL) return;
    EXPECT(ink_client_free(another.client) == INK_OK);
    another.client = NULL;
}

static void test_clients_leave(void **state) {
    (void)state;
    served s;
    watcher w;
    begin(&s, &w, polled());
    served_go(&s);
    // Before anything was told: only the end of its requests is.
    watcher_begin(&another, &s, 0);
    watcher_ask(&another, &story);
    watcher_ask(&another, &story);
    assert_int_equal(ink_client_free(another.client), INK_OK);
    assert_int_equal(another.n_done, 2);
    assert_int_equal(another.n_pieces, 0);
    // By another's callback.
    watcher_begin(&another, &s, 0);
    watcher_ask(&another, &story);
    w.at_piece = free_another;
    watcher_ask(&w, &story);
    poll_until_done(&s, &w, 1);
    compare(&w, &story);
    assert_int_equal(another.n_done, 1);
    // The service goes first, and nobody polls any more.
    w.at_piece = NULL;
    watcher_ask(&w, &story);
    watcher_ask(&w, &story);
    assert_int_equal(ink_service_free(s.service), INK_OK);
    assert_int_equal(w.n_done, 3);
    assert_int_equal(ink_client_free(w.client), INK_OK);
    assert_int_equal(s.memory.live_blocks, 0);
    assert_int_equal(atomic_exchange(&scene_wrong, 0), 0);
    free(s.bytes);
}

static void *poll_for_ever(void *service) {
    uint32_t n = 0;
    host = pthread_self();
    while (ink_service_poll(service, UINT32_MAX, &n) == INK_OK) {}
    return NULL;
}

// A thread of the host's that does nothing but poll ends when the service is closed.
static void test_polling_thread(void **state) {
    (void)state;
    served s;
    watcher w;
    pthread_t thread;
    ink_service_options o = polled();
    o.on_state = NULL;
    served_begin(&s, &tiny, o);
    watcher_begin(&w, &s, 0);
    assert_int_equal(pthread_create(&thread, NULL, poll_for_ever, s.service), 0);
    served_go(&s);
    watcher_ask(&w, &story);
    watcher_wait(&w, 1);
    compare(&w, &story);
    assert_int_equal(ink_client_free(w.client), INK_OK);
    assert_int_equal(ink_service_close(s.service), INK_OK);
    pthread_join(thread, NULL);
    served_end(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_piece_by_piece), cmocka_unit_test(test_all_at_the_end),
        cmocka_unit_test(test_stopped),        cmocka_unit_test(test_one_at_a_time),
        cmocka_unit_test(test_clients_leave),  cmocka_unit_test(test_polling_thread),
    };
    return cmocka_run_group_tests_name("poll", tests, set_up, tear_down);
}
