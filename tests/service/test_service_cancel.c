// SPDX-License-Identifier: MIT
// Requests that are ended: in the queue, in every layer of a prompt and of a decode step, by a
// callback, by a client that goes away or a service that closes. After a cancel at most the layer
// that runs is finished, and all the others go on as if nothing had been. n_threads: a worker runs.
#include "engine/engine.h"
#include "served.h"

static tiny_model tiny;
static opened own;

static int set_up(void **state) {
    (void)state;
    tiny = tiny_model_defaults();
    tiny.n_vocab = 257;
    own = opened_tiny(&tiny, 1, NULL);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    opened_close(&own);
    return 0;
}

static const ask long_prompt = {.text = "a prompt of some length to be read",
                                .priority = 1,
                                .n_tokens = 12,
                                .seed = 9,
                                .flags = INK_GENERATE_NO_END | INK_GENERATE_FRESH};

// --- a kernel that counts, and does something at one of its calls --------------------------------

// Two for each row and layer, then one for each row whose logits are wanted.
static void (*true_norm)(float *, const float *, const float *, const float *, size_t, float);
static atomic_size_t n_norms, act_at;
static void (*act)(void);

static void counting_norm(float *out, const float *x, const float *gain, const float *bias,
                          size_t n, float eps) {
    if (atomic_fetch_add(&n_norms, 1) + 1 == atomic_load(&act_at)) act();
    true_norm(out, x, gain, bias, n, eps);
}

// Nothing is evaluated now.
static void count_norms(const served *s) {
    inki_kernels *k = &ink_service_model(s->service)->runtime->kernels;
    if (k->layer_norm != counting_norm) true_norm = k->layer_norm;
    k->layer_norm = counting_norm;
}

static void expect_at(size_t at, void (*what)(void)) {
    act = what;
    atomic_store(&n_norms, 0);
    atomic_store(&act_at, at);
}

// --- one request ---------------------------------------------------------------------------------

static watcher victim, others[3];

static void cancel_victim(void) { EXPECT(ink_client_cancel(victim.client, 0) == INK_OK); }
static void do_nothing(void) {}

static void compare(watcher *w, const ask *a) {
    collected expected;
    ink_result result = {0};
    ink_session *session = opened_session(&own, 0, INK_KV_F16, 1);
    session_ask(session, own.model, a, &expected, &result);
    assert_same(w, &expected, &result);
    ink_session_free(session);
}

static void test_every_layer(void **state) {
    (void)state;
    served s;
    served_begin(&s, &tiny, served_options());
    served_go(&s);
    count_norms(&s);
    watcher_begin(&victim, &s, 0);
    expect_at(SIZE_MAX, do_nothing);
    watcher_ask(&victim, &long_prompt);
    watcher_wait(&victim, 1);
    compare(&victim, &long_prompt);
    const size_t n_all = atomic_load(&n_norms);
    const size_t n_rows = strlen(long_prompt.text) < 32 ? strlen(long_prompt.text) : 32;
    for (size_t at = 1; at <= n_all; at++) {
        // An empty cache for each.
        assert_int_equal(ink_service_trim(s.service, INK_TRIM_CACHE, NULL), INK_OK);
        expect_at(at, cancel_victim);
        const uint32_t n_before = victim.n_done;
        watcher_ask(&victim, &long_prompt);
        watcher_wait(&victim, n_before + 1);
        assert_int_equal(victim.status, INK_OK);
        // Behind the last layer of the last token there is nothing left to be cancelled.
        assert_int_equal(victim.result.stop, at < n_all ? INK_STOP_CANCELLED : INK_STOP_LENGTH);
        const size_t n = atomic_load(&n_norms);
        assert_true(n >= at && n - at < 2 * n_rows + 1);
        if (at % 7 != 0) continue;
        // What the cache holds by now is right.
        expect_at(SIZE_MAX, do_nothing);
        watcher_ask(&victim, &long_prompt);
        watcher_wait(&victim, n_before + 2);
        compare(&victim, &long_prompt);
    }
    print_message("cancelled at %zu places\n", n_all);
    assert_true(n_all > 100);
    ink_client_free(victim.client);
    served_end(&s);
}

// A client that goes on from a past whose memory was given back: it is still there after requests
// that came to nothing, be they ended in any layer or too long.
static void test_past_given_back(void **state) {
    (void)state;
    served s;
    collected expected;
    ink_result result = {0};
    const ask first = {.text = "it was a dark and stormy", .priority = 1, .n_tokens = 10};
    const ask second = {.text = " night, and", .priority = 1, .n_tokens = 10, .seed = 2};
    char tall[400];
    memset(tall, 'x', sizeof tall - 1);
    tall[sizeof tall - 1] = 0;
    const ask too_long = {.text = tall, .priority = 1, .n_tokens = 10};
    ink_session *session = opened_session(&own, 0, INK_KV_F16, 1);
    session_ask(session, own.model, &first, &expected, &result);
    session_ask(session, own.model, &second, &expected, &result);
    served_begin(&s, &tiny, served_options());
    served_go(&s);
    count_norms(&s);
    for (size_t at = 1; at < 150; at += 23) {
        watcher_begin(&victim, &s, 0);
        expect_at(SIZE_MAX, do_nothing);
        watcher_ask(&victim, &first);
        watcher_wait(&victim, 1);
        assert_int_equal(ink_service_trim(s.service, INK_TRIM_CACHE, NULL), INK_OK);
        watcher_ask(&victim, &too_long);
        watcher_wait(&victim, 2);
        assert_int_equal(victim.status, INK_E_CONTEXT);
        expect_at(at, cancel_victim);
        watcher_ask(&victim, &second);
        watcher_wait(&victim, 3);
        assert_int_equal(victim.result.stop, INK_STOP_CANCELLED);
        assert_int_equal(victim.result.n_generated, 0);
        expect_at(SIZE_MAX, do_nothing);
        if (at % 2 == 0) ink_service_trim(s.service, INK_TRIM_CACHE, NULL);
        watcher_ask(&victim, &second);
        watcher_wait(&victim, 4);
        assert_same(&victim, &expected, &result);
        assert_int_equal(ink_client_free(victim.client), INK_OK);
    }
    ink_session_free(session);
    served_end(&s);
}

// --- among others --------------------------------------------------------------------------------

static ask other_ask(size_t i) {
    static const char *const texts[] = {"one", "another text that takes its time", "third"};
    return (ask){.text = texts[i],
                 .priority = 1,
                 .n_tokens = 10 + (uint32_t)i,
                 .seed = i,
                 .flags = INK_GENERATE_FRESH | INK_GENERATE_NO_END};
}

// While the worker waits in a callback, a scene can be set.
static watcher blocker;

static void wait_at_piece(watcher *w, uint64_t id) {
    (void)w;
    (void)id;
    wait_for_gate();
}

static void hold_worker(const served *s) {
    const ask a = {.text = "x",
                   .priority = INK_PRIORITY_TYPING,
                   .n_tokens = 1,
                   .flags = INK_GENERATE_NO_END | INK_GENERATE_FRESH,
                   .chain = "greedy"};
    gate_set(false);
    watcher_begin(&blocker, s, 0);
    blocker.at_piece = wait_at_piece;
    watcher_ask(&blocker, &a);
    watcher_wait_pieces(&blocker, 1);
}

static void release_worker(void) {
    gate_set(true);
    watcher_wait(&blocker, 1);
    assert_int_equal(ink_client_free(blocker.client), INK_OK);
}

static void ask_all(void) {
    watcher_ask(&victim, &long_prompt);
    for (size_t i = 0; i < 3; i++) {
        const ask a = other_ask(i);
        watcher_ask(&others[i], &a);
    }
}

static void begin_all(served *s) {
    served_begin(s, &tiny, served_options());
    served_go(s);
    watcher_begin(&victim, s, 0);
    for (size_t i = 0; i < 3; i++) watcher_begin(&others[i], s, 0);
}

static void check_others(uint32_t n_done) {
    for (size_t i = 0; i < 3; i++) {
        const ask a = other_ask(i);
        watcher_wait(&others[i], n_done);
        compare(&others[i], &a);
    }
}

static void end_others(served *s) {
    for (size_t i = 0; i < 3; i++) assert_int_equal(ink_client_free(others[i].client), INK_OK);
    served_end(s);
}

// All of them, the victim too, are evaluated in one pass.
static void test_among_others(void **state) {
    (void)state;
    served s;
    begin_all(&s);
    uint32_t round = 0;
    for (size_t at = 8; at < 900; at += 37) {
        hold_worker(&s);
        assert_int_equal(ink_service_trim(s.service, INK_TRIM_CACHE, NULL), INK_OK);
        count_norms(&s);
        expect_at(at, cancel_victim);
        ask_all();
        release_worker();
        round++;
        check_others(round);
        watcher_wait(&victim, round);
        assert_int_equal(victim.status, INK_OK);
        const bool in_time = victim.result.stop == INK_STOP_CANCELLED;
        assert_true(in_time || victim.result.stop == INK_STOP_LENGTH);
        assert_true(in_time || at > 300);
    }
    assert_int_equal(ink_client_free(victim.client), INK_OK);
    end_others(&s);
}

// --- in the queue --------------------------------------------------------------------------------

// The journal with one letter for all the pieces in a row.
static const char *events(void) {
    size_t n = 0;
    for (size_t i = 0; i < n_journal; i++)
        if (i == 0 || journal[i] != 'v' || journal[i - 1] != 'v') journal[n++] = journal[i];
    journal[n] = 0;
    n_journal = n;
    return journal;
}

static void test_in_the_queue(void **state) {
    (void)state;
    served s;
    uint64_t ids[3];
    served_begin(&s, &tiny, served_options());
    served_go(&s);
    watcher_begin(&victim, &s, 'v');
    hold_worker(&s);
    for (int i = 0; i < 3; i++) ids[i] = watcher_ask(&victim, &long_prompt);
    assert_int_equal(ink_client_cancel(victim.client, ids[1]), INK_OK);
    assert_int_equal(ink_client_cancel(victim.client, ids[1]), INK_OK); // not told yet
    release_worker();
    watcher_wait(&victim, 3);
    assert_string_equal(events(), "VvVvV");
    assert_int_equal(ink_client_cancel(victim.client, ids[0]), INK_E_NOT_FOUND);
    assert_int_equal(ink_client_cancel(victim.client, 99), INK_E_NOT_FOUND);
    assert_int_equal(ink_client_cancel(victim.client, 0), INK_OK);
    journal_clear();
    hold_worker(&s);
    for (int i = 0; i < 3; i++) watcher_ask(&victim, &long_prompt);
    assert_int_equal(ink_client_cancel(victim.client, 0), INK_OK);
    watcher_ask(&victim, &long_prompt); // later than the cancel
    release_worker();
    watcher_wait(&victim, 7);
    assert_string_equal(events(), "VVVvV");
    assert_int_equal(ink_client_free(victim.client), INK_OK);
    served_end(&s);
}

// --- clients that go away ------------------------------------------------------------------------

static void tell_that_it_runs(void) { journal_add('!'); }

static void test_vanishing(void **state) {
    (void)state;
    served s;
    begin_all(&s);
    uint32_t round = 0;
    for (size_t at = 8; at < 600; at += 61) {
        hold_worker(&s);
        assert_int_equal(ink_service_trim(s.service, INK_TRIM_CACHE, NULL), INK_OK);
        journal_clear();
        count_norms(&s);
        expect_at(at, tell_that_it_runs);
        ask_all();
        const ask second = other_ask(0);
        assert_int_equal(watcher_submit(&victim, &second, NULL, NULL), INK_OK); // in its queue
        if (round % 2 == 0) { // before it is begun
            assert_int_equal(ink_client_free(victim.client), INK_OK);
            release_worker();
        } else {
            gate_set(true);
            journal_wait_for('!');
            assert_int_equal(ink_client_free(victim.client), INK_OK);
            release_worker();
        }
        assert_int_equal(victim.n_done, 2); // told before the return, and never again
        assert_int_equal(victim.status, INK_OK);
        const size_t n_pieces = victim.n_pieces;
        check_others(++round);
        assert_int_equal(victim.n_done, 2);
        assert_int_equal(victim.n_pieces, n_pieces);
        watcher_begin(&victim, &s, 0);
    }
    assert_int_equal(ink_client_free(victim.client), INK_OK);
    end_others(&s);
}

static void test_stopped_by_callback(void **state) {
    (void)state;
    served s;
    begin_all(&s);
    hold_worker(&s);
    victim.stop_after = 3;
    ask_all();
    release_worker();
    watcher_wait(&victim, 1);
    assert_int_equal(victim.status, INK_OK);
    assert_int_equal(victim.result.stop, INK_STOP_CALLBACK);
    assert_in_range(victim.result.n_generated, 3, 11);
    assert_int_equal(victim.n_pieces, 3);
    check_others(1);
    assert_int_equal(ink_client_free(victim.client), INK_OK);
    end_others(&s);
}

// The service closes in the middle of a layer.
static void test_closed_in_a_layer(void **state) {
    (void)state;
    for (size_t at = 8; at < 600; at += 101) {
        served s;
        begin_all(&s);
        hold_worker(&s);
        journal_clear();
        count_norms(&s);
        expect_at(at, tell_that_it_runs);
        ask_all();
        gate_set(true);
        journal_wait_for('!');
        assert_int_equal(ink_service_close(s.service), INK_OK);
        assert_int_equal(victim.n_done, 1);
        for (size_t i = 0; i < 3; i++) assert_int_equal(others[i].n_done, 1);
        release_worker();
        assert_int_equal(ink_client_free(victim.client), INK_OK);
        end_others(&s);
    }
}

// --- calls from callbacks ------------------------------------------------------------------------

static int n_visits;

static void call_everything(watcher *w, uint64_t id) {
    ink_service *service = w->service;
    ink_client *client = NULL;
    uint32_t n = 0;
    (void)id;
    if (n_visits++ % 5 != 0) return;
    EXPECT(ink_service_wait(service, UINT32_MAX, NULL) == INK_E_REENTRANT);
    EXPECT(ink_service_close(service) == INK_E_REENTRANT);
    EXPECT(ink_service_free(service) == INK_E_REENTRANT);
    EXPECT(ink_service_poll(service, 0, &n) == INK_E_ARG);
    EXPECT(ink_client_free(w->client) == INK_E_REENTRANT);
    EXPECT(ink_service_state(service, NULL) == INK_SERVICE_READY);
    EXPECT(ink_service_set_pace(service, 1, 100) == INK_OK);
    EXPECT(ink_service_trim(service, INK_TRIM_FILE, NULL) == INK_OK);
    EXPECT(ink_service_model(service) != NULL);
    EXPECT(ink_client_new(&client, service, NULL, NULL) == INK_OK);
    ink_request r;
    ink_request_init(&r, sizeof r);
    EXPECT(ink_client_submit(client, &r, NULL, NULL) == INK_OK);
    EXPECT(ink_client_free(client) == INK_OK);
}

static void free_another(watcher *w, uint64_t id) {
    call_everything(w, id);
    if (victim.client == NULL || w->n_pieces != 3) return;
    EXPECT(ink_client_free(victim.client) == INK_OK); // it is in the same batch
    victim.client = NULL;
}

static void cancel_from_piece(watcher *w, uint64_t id) {
    if (w->n_pieces == 4) {
        EXPECT(ink_client_cancel(w->client, id) == INK_OK);
        EXPECT(ink_client_cancel(others[0].client, 0) == INK_OK);
        EXPECT(ink_client_cancel(others[0].client, 9999) == INK_E_NOT_FOUND);
    }
}

static void ask_from_done(watcher *w, uint64_t id) {
    call_everything(w, id);
    EXPECT(ink_client_cancel(w->client, id) == INK_E_NOT_FOUND);
    if (w->n_done > 0) return;
    const ask a = other_ask((size_t)(w - others));
    pthread_mutex_lock(&scene_lock);
    w->bytes = w->n_pieces = 0;
    pthread_mutex_unlock(&scene_lock);
    EXPECT(watcher_submit(w, &a, NULL, NULL) == INK_OK);
}

static void test_from_callbacks(void **state) {
    (void)state;
    served s;
    begin_all(&s);
    hold_worker(&s);
    for (size_t i = 0; i < 3; i++) {
        others[i].at_piece = i == 2 ? free_another : call_everything;
        others[i].at_done = ask_from_done;
    }
    ask_all();
    release_worker();
    check_others(2);
    assert_null(victim.client);
    assert_int_equal(victim.n_done, 1);
    assert_int_equal(victim.result.stop, INK_STOP_CANCELLED);
    watcher_begin(&victim, &s, 0);
    victim.at_piece = cancel_from_piece;
    for (size_t i = 0; i < 3; i++) others[i].at_piece = others[i].at_done = NULL;
    hold_worker(&s);
    ask_all();
    release_worker();
    watcher_wait(&victim, 1);
    watcher_wait(&others[0], 3);
    assert_int_equal(victim.result.stop, INK_STOP_CANCELLED);
    assert_in_range(victim.result.n_generated, 4, 11);
    assert_int_equal(others[0].result.stop, INK_STOP_CANCELLED);
    assert_int_equal(ink_client_free(victim.client), INK_OK);
    end_others(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_layer),       cmocka_unit_test(test_past_given_back),
        cmocka_unit_test(test_among_others),      cmocka_unit_test(test_in_the_queue),
        cmocka_unit_test(test_vanishing),         cmocka_unit_test(test_stopped_by_callback),
        cmocka_unit_test(test_closed_in_a_layer), cmocka_unit_test(test_from_callbacks),
    };
    return cmocka_run_group_tests_name("cancel", tests, set_up, tear_down);
}
