// SPDX-License-Identifier: MIT
// What a service says of itself, what it refuses, and what is left of it once it is closed, in this
// process and in a forked one. n_threads: a worker runs.
#include "served.h"

#include <sys/wait.h>
#include <unistd.h>

static tiny_model tiny;

static int set_up(void **state) {
    (void)state;
    tiny = tiny_model_defaults();
    return 0;
}

static const ask few = {
    .text = "hello", .priority = 1, .seed = 3, .n_tokens = 4, .flags = INK_GENERATE_NO_END};
static const ask many = {.text = "hello",
                         .priority = 1,
                         .seed = 3,
                         .n_tokens = 100,
                         .flags = INK_GENERATE_NO_END,
                         .chain = "greedy"};

// --- loading, ready, failed ----------------------------------------------------------------------

static void note_state(void *user, uint32_t state, const ink_error *reason) {
    ink_error *kept = user;
    if (kept != NULL) *kept = *reason;
    EXPECT((state == INK_SERVICE_FAILED) == (reason->status != INK_OK));
    journal_add((char)('0' + state));
}

static void test_ready(void **state) {
    (void)state;
    served s;
    watcher w;
    ink_error error = {0};
    ink_service_options o = served_options();
    o.on_state = note_state;
    served_begin(&s, &tiny, o);
    assert_int_equal(ink_service_state(s.service, NULL), INK_SERVICE_LOADING);
    assert_int_equal(ink_service_wait(s.service, 0, &error), INK_E_BUSY);
    assert_int_equal(ink_service_wait(s.service, 1, &error), INK_E_BUSY);
    assert_int_equal(error.status, INK_E_BUSY);
    assert_null(ink_service_model(s.service));
    watcher_begin(&w, &s, 'w');
    watcher_ask(&w, &few);
    served_go(&s);
    assert_int_equal(ink_service_state(s.service, &error), INK_SERVICE_READY);
    assert_non_null(ink_service_model(s.service));
    watcher_wait(&w, 1);
    assert_int_equal(journal[0], '0' + INK_SERVICE_READY); // before any text
    ink_client_free(w.client);
    assert_int_equal(ink_service_close(s.service), INK_OK);
    assert_int_equal(journal[strlen(journal) - 1], '0' + INK_SERVICE_CLOSED);
    served_end(&s);
}

static void test_failed(void **state) {
    (void)state;
    served s;
    watcher w;
    uint64_t id = 0;
    ink_error error = {0}, reason = {0}, heard = {0};
    ink_service_options o = served_options();
    o.on_state = note_state;
    o.user = &heard;
    tiny_model odd = tiny;
    served_begin(&s, &odd, o);
    assert_non_null(memcpy(s.bytes, "GGUX", 4)); // the worker waits before it looks
    watcher_begin(&w, &s, 'w');
    watcher_ask(&w, &few);
    watcher_ask(&w, &few);
    gate_set(true);
    assert_int_equal(ink_service_wait(s.service, UINT32_MAX, &error), INK_E_FORMAT);
    assert_int_equal(ink_service_state(s.service, &reason), INK_SERVICE_FAILED);
    assert_non_null(strstr(reason.message, "tiny: "));
    assert_string_equal(error.message, reason.message);
    watcher_wait(&w, 2); // what waited is told
    assert_int_equal(w.status, INK_E_FORMAT);
    assert_string_equal(w.error.message, reason.message);
    assert_int_equal(w.n_pieces, 0);
    assert_int_equal(watcher_submit(&w, &few, &id, &error), INK_E_FORMAT);
    assert_string_equal(error.message, reason.message);
    assert_string_equal(heard.message, reason.message);
    assert_int_equal(id, 0);
    assert_null(ink_service_model(s.service));
    assert_int_equal(ink_service_trim(s.service, INK_TRIM_FILE, NULL), INK_OK);
    assert_int_equal(ink_client_free(w.client), INK_OK);
    assert_int_equal(ink_service_close(s.service), INK_OK);
    assert_int_equal(ink_service_state(s.service, NULL), INK_SERVICE_CLOSED);
    served_end(&s);
}

// What is cancelled or late before the model is open is told at the next step of the opening, on
// the worker, and another request may come in its place.
static void submit_again(watcher *w, uint64_t id) {
    EXPECT(ink_service_state(w->service, NULL) == INK_SERVICE_LOADING);
    EXPECT(ink_client_free(w->client) == INK_E_REENTRANT);
    if (id == 1) EXPECT(watcher_submit(w, &few, NULL, NULL) == INK_OK);
    w->at_done = NULL;
}

static void test_told_while_loading(void **state) {
    (void)state;
    served s;
    watcher cancelled, late, patient;
    ink_service_options o = served_options();
    o.on_state = note_state;
    served_begin(&s, &tiny, o);
    watcher_begin(&cancelled, &s, 'c');
    watcher_begin(&late, &s, 'l');
    watcher_begin(&patient, &s, 'p');
    cancelled.at_done = late.at_done = submit_again;
    assert_int_equal(watcher_ask(&cancelled, &few), 1);
    assert_int_equal(ink_client_cancel(cancelled.client, 1), INK_OK);
    watcher_ask(&patient, &few);
    ask soon = few;
    soon.deadline_ms = 1;
    watcher_ask(&late, &soon);
    const double asked_ms = inki_os_now_ms();
    while (inki_os_now_ms() - asked_ms < 1) sched_yield();
    served_go(&s);
    watcher_wait(&late, 1);
    watcher_wait(&patient, 1);
    watcher_wait(&cancelled, 2);
    static const char expected[] = {'C', 'L', '0' + INK_SERVICE_READY, 0};
    char order[4] = {0};
    memcpy(order, journal, 3);
    assert_string_equal(order, expected);
    assert_int_equal(late.status, INK_OK);
    assert_int_equal(late.result.stop, INK_STOP_DEADLINE);
    assert_int_equal(late.n_pieces, 0);
    assert_int_equal(cancelled.result.stop, INK_STOP_LENGTH);
    assert_int_equal(patient.result.stop, INK_STOP_LENGTH);
    ink_client_free(cancelled.client);
    ink_client_free(late.client);
    ink_client_free(patient.client);
    served_end(&s);
}

// --- closed --------------------------------------------------------------------------------------

static void all_is_closed(const served *s, watcher *w) {
    ink_error error = {0};
    ink_client *client = NULL;
    ink_typing *typing = NULL;
    uint64_t bytes = 77, id = 77;
    assert_int_equal(ink_service_state(s->service, NULL), INK_SERVICE_CLOSED);
    assert_int_equal(ink_service_wait(s->service, UINT32_MAX, &error), INK_E_CLOSED);
    assert_int_equal(ink_service_set_pace(s->service, 1, 50), INK_E_CLOSED);
    assert_int_equal(ink_service_trim(s->service, INK_TRIM_CACHE, &bytes), INK_E_CLOSED);
    assert_int_equal(ink_client_new(&client, s->service, NULL, &error), INK_E_CLOSED);
    assert_int_equal(ink_service_typing(s->service, &typing, NULL, &error), INK_E_CLOSED);
    assert_int_equal(watcher_submit(w, &few, &id, &error), INK_E_CLOSED);
    assert_int_equal(error.status, INK_E_CLOSED);
    assert_int_equal(ink_client_cancel(w->client, 0), INK_E_CLOSED);
    assert_int_equal(ink_client_cancel(w->client, 1), INK_E_CLOSED);
    assert_int_equal(ink_service_close(s->service), INK_OK);
    assert_true(client == NULL && typing == NULL && bytes == 77 && id == 77);
}

static void test_closed(void **state) {
    (void)state;
    served s;
    watcher runs, waits;
    served_begin(&s, &tiny, served_options());
    watcher_begin(&runs, &s, 'r');
    watcher_begin(&waits, &s, 'w');
    watcher_ask(&runs, &many);
    ask background = few; // all three fit into the context, should they run before the close
    background.priority = INK_PRIORITY_BACKGROUND;
    for (int i = 0; i < 3; i++) watcher_ask(&waits, &background);
    served_go(&s);
    watcher_wait_pieces(&runs, 1);
    assert_int_equal(ink_service_close(s.service), INK_OK);
    assert_int_equal(runs.n_done, 1);
    assert_int_equal(waits.n_done, 3);
    assert_int_equal(runs.status, INK_OK);
    assert_true(runs.result.stop == INK_STOP_CANCELLED || runs.result.stop == INK_STOP_LENGTH);
    assert_true(runs.result.n_generated > 0);
    assert_int_equal(waits.status, INK_OK);
    all_is_closed(&s, &waits);
    ink_client_free(waits.client);
    // A client may outlive the service.
    gate_set(true);
    assert_int_equal(ink_service_free(s.service), INK_OK);
    assert_int_equal(watcher_submit(&runs, &few, NULL, NULL), INK_E_CLOSED);
    assert_int_equal(ink_client_cancel(runs.client, 0), INK_E_CLOSED);
    assert_int_equal(ink_client_free(runs.client), INK_OK);
    assert_int_equal(s.memory.live_blocks, 0);
    free(s.bytes);
}

// Loading ends at its next look; nobody needs a model to be told.
static void *open_gate_later(void *service) {
    while (ink_service_state(service, NULL) != INK_SERVICE_CLOSED) {}
    gate_set(true);
    return NULL;
}

static void test_closed_while_loading(void **state) {
    (void)state;
    served s;
    watcher w;
    pthread_t thread;
    served_begin(&s, &tiny, served_options());
    watcher_begin(&w, &s, 'w');
    watcher_ask(&w, &few);
    watcher_ask(&w, &few);
    assert_int_equal(pthread_create(&thread, NULL, open_gate_later, s.service), 0);
    assert_int_equal(ink_service_close(s.service), INK_OK);
    pthread_join(thread, NULL);
    assert_int_equal(w.n_done, 2);
    assert_int_equal(w.status, INK_OK);
    assert_int_equal(w.result.stop, INK_STOP_CANCELLED);
    all_is_closed(&s, &w);
    ink_client_free(w.client);
    served_end(&s);
}

// --- refused -------------------------------------------------------------------------------------

static void refused(ink_service_options o, ink_status status) {
    served s = {.bytes = tiny_model_bytes(&tiny, &s.n_bytes)};
    ink_error error = {0};
    gate_set(true);
    assert_int_equal(served_try(&s, &o, 1, &error), status);
    assert_int_equal(error.status, status);
    assert_null(s.service);
    assert_int_equal(s.memory.live_blocks, 0);
    free(s.bytes);
}

static void test_bad_services(void **state) {
    (void)state;
    ink_service_options o = served_options();
    uint32_t *const counts[] = {&o.n_queue, &o.n_clients, &o.n_batch, &o.n_rows};
    for (size_t i = 0; i < 4; i++) {
        const uint32_t good = *counts[i];
        *counts[i] = 0;
        refused(o, INK_E_ARG);
        *counts[i] = UINT32_MAX;
        refused(o, INK_E_LIMIT);
        *counts[i] = good;
    }
    o.flags = 1u << 7;
    refused(o, INK_E_UNSUPPORTED);
    o.flags = 0;
    o.size = 12;
    refused(o, INK_E_ARG);
    ink_error error = {0};
    ink_service *service = NULL;
    ink_model_options mo;
    ink_model_options_init(&mo, sizeof mo);
    mo.flags = INK_MODEL_INSPECT;
    o = served_options();
    o.model = &mo;
    assert_int_equal(ink_service_new(&service, &o, &error), INK_E_UNSUPPORTED);
    assert_int_equal(ink_service_new(NULL, NULL, &error), INK_E_ARG);
    assert_int_equal(ink_service_state(NULL, &error), INK_SERVICE_CLOSED);
    assert_int_equal(ink_service_wait(NULL, 0, &error), INK_E_ARG);
    assert_int_equal(ink_service_poll(NULL, 0, NULL), INK_E_ARG);
    assert_int_equal(ink_service_trim(NULL, 1, NULL), INK_E_ARG);
    assert_int_equal(ink_service_set_pace(NULL, 1, 1), INK_E_ARG);
    assert_int_equal(ink_service_close(NULL), INK_E_ARG);
    assert_int_equal(ink_service_free(NULL), INK_OK);
    assert_int_equal(ink_client_free(NULL), INK_OK);
    assert_int_equal(ink_client_cancel(NULL, 0), INK_E_ARG);
    assert_int_equal(ink_client_submit(NULL, NULL, NULL, &error), INK_E_ARG);
    assert_null(ink_service_model(NULL));
}

static ink_status submit(ink_client *client, ink_request r) {
    ink_error error = {0};
    const ink_status status = ink_client_submit(client, &r, NULL, &error);
    assert_int_equal(error.status, status);
    return status;
}

static void bad_requests(watcher *w) {
    ink_generate_options g;
    ink_sampler_options so;
    ink_request r, good;
    const char *const empty[] = {"x", ""};
    ink_request_init(&good, sizeof good);
    good.text = "\xff\xfe";
    good.bytes = 2;
    r = good;
    r.priority = 3;
    assert_int_equal(submit(w->client, r), INK_E_ARG);
    r = good;
    r.text = NULL;
    assert_int_equal(submit(w->client, r), INK_E_ARG);
    r = good;
    r.size = 3;
    assert_int_equal(submit(w->client, r), INK_E_ARG);
    ink_generate_options_init(&g, sizeof g);
    r = good;
    r.generate = &g;
    g.flags = INK_GENERATE_STRICT;
    assert_int_equal(submit(w->client, r), INK_E_UTF8);
    g.flags = 1u << 30;
    assert_int_equal(submit(w->client, r), INK_E_UNSUPPORTED);
    g.flags = 0;
    g.overflow = 9;
    assert_int_equal(submit(w->client, r), INK_E_ARG);
    g.overflow = 0;
    g.n_stop = 2;
    assert_int_equal(submit(w->client, r), INK_E_ARG);
    g.stop = empty;
    assert_int_equal(submit(w->client, r), INK_E_ARG);
    ink_sampler_options_init(&so, sizeof so);
    r = good;
    r.sampler = &so;
    so.n_logit_bias = 1;
    assert_int_equal(submit(w->client, r), INK_E_ARG);
}

static void test_bad_requests(void **state) {
    (void)state;
    served s;
    watcher w, other;
    ink_error error = {0};
    ink_service_options o = served_options();
    o.n_clients = 2;
    served_begin(&s, &tiny, o);
    watcher_begin(&w, &s, 0);
    bad_requests(&w);
    // What only the model can judge comes with the end of the request, while there is none.
    ask odd = few;
    odd.chain = "no_such_step";
    watcher_ask(&w, &odd);
    other = (watcher){0};
    assert_int_equal(watcher_try(&other, s.service, 100000, &error), INK_OK);
    watcher_ask(&other, &few);
    watcher third = {0};
    assert_int_equal(watcher_try(&third, s.service, 0, &error), INK_E_LIMIT);
    assert_int_equal(ink_client_cancel(w.client, 77), INK_E_NOT_FOUND);
    served_go(&s);
    watcher_wait(&w, 1);
    assert_int_equal(w.status, INK_E_ARG);
    assert_non_null(strstr(w.error.message, "no_such_step"));
    watcher_wait(&other, 1);
    assert_int_equal(other.status, INK_E_LIMIT);
    // And then at once.
    bad_requests(&w);
    assert_int_equal(watcher_submit(&w, &odd, NULL, &error), INK_E_ARG);
    assert_non_null(strstr(error.message, "no_such_step"));
    assert_int_equal(ink_client_free(other.client), INK_OK);
    assert_int_equal(watcher_try(&other, s.service, 100000, &error), INK_E_LIMIT);
    assert_int_equal(watcher_try(&other, s.service, 10, &error), INK_OK);
    ask tall = few;
    tall.text = "more than ten tokens of text, for sure";
    watcher_ask(&other, &tall);
    watcher_wait(&other, 2);
    assert_int_equal(other.status, INK_E_CONTEXT);
    assert_int_equal(ink_service_set_pace(s.service, 0, 0), INK_E_ARG);
    assert_int_equal(ink_service_set_pace(s.service, 0, 101), INK_E_ARG);
    assert_int_equal(ink_service_trim(s.service, 0, NULL), INK_E_ARG);
    assert_int_equal(ink_service_trim(s.service, 4, NULL), INK_E_ARG);
    assert_int_equal(ink_service_poll(s.service, 0, NULL), INK_E_ARG); // its worker calls back
    ink_client_free(w.client);
    ink_client_free(other.client);
    served_end(&s);
}

// --- forked --------------------------------------------------------------------------------------

static int wrong_in_child(const served *s, watcher *w) {
    ink_client *client = NULL;
    if (ink_service_state(s->service, NULL) != INK_SERVICE_CLOSED) return 1;
    if (ink_service_wait(s->service, UINT32_MAX, NULL) != INK_E_CLOSED) return 2;
    if (watcher_submit(w, &few, NULL, NULL) != INK_E_CLOSED) return 3;
    if (ink_client_cancel(w->client, 0) != INK_E_CLOSED) return 4;
    if (ink_client_new(&client, s->service, NULL, NULL) != INK_E_CLOSED) return 5;
    if (ink_service_trim(s->service, INK_TRIM_CACHE, NULL) != INK_E_CLOSED) return 6;
    if (ink_service_set_pace(s->service, 0, 100) != INK_E_CLOSED) return 7;
    if (ink_service_model(s->service) != NULL) return 8;
    if (ink_service_close(s->service) != INK_OK) return 9;
    return 0;
}

static void in_child(const served *s, watcher *w, bool idle) {
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        int code = wrong_in_child(s, w);
        if (code == 0 && ink_client_free(w->client) != INK_OK) code = 10;
        if (code == 0 && ink_service_free(s->service) != INK_OK) code = 11;
        // What the worker had in its hands stays; what was idle can be given back.
        if (code == 0 && idle && s->memory.live_blocks != 0) code = 12;
        _exit(code);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void wait_at_piece(watcher *w, uint64_t id) {
    (void)w;
    (void)id;
    wait_for_gate();
}

static void test_forked(void **state) {
    (void)state;
    served s;
    watcher w;
    served_begin(&s, &tiny, served_options());
    served_go(&s);
    watcher_begin(&w, &s, 0);
    watcher_ask(&w, &few);
    watcher_wait(&w, 1);
    served_settle(&s);
    in_child(&s, &w, true);
    gate_set(false);
    w.at_piece = wait_at_piece;
    watcher_ask(&w, &few);
    watcher_wait_pieces(&w, 1);
    in_child(&s, &w, false);
    gate_set(true);
    watcher_wait(&w, 2);
    assert_int_equal(ink_service_close(s.service), INK_OK);
    in_child(&s, &w, true);
    ink_client_free(w.client);
    served_end(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ready),
        cmocka_unit_test(test_failed),
        cmocka_unit_test(test_told_while_loading),
        cmocka_unit_test(test_closed),
        cmocka_unit_test(test_closed_while_loading),
        cmocka_unit_test(test_bad_services),
        cmocka_unit_test(test_bad_requests),
        cmocka_unit_test(test_forked),
    };
    return cmocka_run_group_tests_name("states", tests, set_up, NULL);
}
