// SPDX-License-Identifier: MIT
// Label: threads
// How jobs end: cancelled in each state, late, with the server, one out of another, and what is
// left of a thousand.
#include "job_scene.h"

#include <malloc.h>

#define FROG "The green frog sat on a stone and looked at the water for a long time"
#define BIRD "Every spring a little bird came back to the same tree in the garden"

static void test_cancel_waiting(void **state) {
    (void)state;
    srv_app *app = scene_begin(1, 8);
    watched a, b, c, d, e;
    watched_hold(&a, app, 'a', FROG);
    watched_init(&b, app, 'b', BIRD, 2);
    watched_init(&c, app, 'c', BIRD, 2);
    watched_init(&d, app, 'd', BIRD, 2);
    watched_init(&e, app, 'e', BIRD, 2);
    watched_start(&b);
    watched_start(&c);
    watched_start(&d);
    srv_job_cancel(&c.job); // from the middle, the end and the front
    srv_job_cancel(&d.job);
    assert_int_equal(watched_n_done(&c), 1); // here, before the return
    assert_true(pthread_equal(c.done_on, pthread_self()));
    assert_int_equal(c.status, INK_OK);
    assert_int_equal(c.result.stop, INK_STOP_CANCELLED);
    assert_int_equal(c.result.n_generated, 0);
    assert_int_equal(c.bytes, 0);
    watched_start(&e); // behind what is left
    srv_job_cancel(&b.job);
    srv_job_cancel(&b.job); // done already
    assert_int_equal(srv_slots_n_waiting(slots_of(app)), 1);
    srv_job_cancel(&e.job);
    assert_int_equal(srv_slots_n_waiting(slots_of(app)), 0);
    watched_init(&d, app, 'D', BIRD, 2); // the queue is whole
    watched_start(&d);
    gate_set(true);
    watched_wait(&d);
    assert_int_equal(b.n_done, 1);
    assert_int_equal(watched_n_done(&e), 1);
    assert_string_equal(journal, "cdbeaD");
    scene_end(app);
}

static void test_cancel_running(void **state) {
    (void)state;
    srv_app *app = scene_begin(2, 2);
    watched a;
    watched_init(&a, app, 0, FROG, 200);
    a.held = true;
    watched_start(&a);
    watched_wait_piece(&a);
    srv_job_cancel(&a.job);
    assert_int_equal(watched_n_done(&a), 0);
    gate_set(true);
    watched_wait(&a);
    assert_int_equal(a.status, INK_OK);
    assert_int_equal(a.result.stop, INK_STOP_CANCELLED);
    assert_true(a.result.n_generated > 0 && a.result.n_generated < 200);
    assert_false(pthread_equal(a.done_on, pthread_self()));
    srv_job_cancel(&a.job);
    assert_int_equal(watched_n_done(&a), 1);
    assert_int_equal(srv_slots_n_running(slots_of(app)), 0);
    scene_end(app);
}

static void test_cancel_before_submission(void **state) {
    (void)state;
    srv_app *app = scene_begin(2, 2);
    watched a, b;
    srv_failure why = {0};
    watched_init(&a, app, 'a', FROG, 2);
    watched_init(&b, app, 'b', FROG, 2);
    srv_job_cancel(&a.job);
    assert_int_equal(a.n_done, 0);
    srv_job *jobs[] = {&a.job, &b.job};
    assert_true(srv_jobs_submit(jobs, 2, &why));
    assert_int_equal(watched_n_done(&a), 1);
    assert_int_equal(a.result.stop, INK_STOP_CANCELLED);
    watched_wait(&b);
    assert_int_equal(b.result.stop, INK_STOP_LENGTH);
    scene_end(app);
}

static void wait_until_late(const watched *w) {
    while (srv_now_ms() < w->job.submitted_ms + w->generate.deadline_ms) sched_yield();
}

static void test_deadline_while_waiting(void **state) {
    (void)state;
    srv_app *app = scene_begin(1, 4);
    watched a, b, c, d;
    watched_hold(&a, app, 'a', FROG);
    watched_init(&b, app, 'b', BIRD, 2);
    watched_init(&c, app, 'c', BIRD, 2);
    watched_init(&d, app, 'd', BIRD, 2);
    b.generate.deadline_ms = 2;
    c.generate.deadline_ms = 3600000;
    d.generate.deadline_ms = 2;
    watched_start(&b);
    watched_start(&c);
    wait_until_late(&b);
    srv_jobs_tick(app);
    assert_int_equal(watched_n_done(&b), 1);
    assert_int_equal(b.status, INK_OK);
    assert_int_equal(b.result.stop, INK_STOP_DEADLINE);
    assert_true(b.result.queue_ms >= 2);
    assert_int_equal(watched_n_done(&c), 0);
    // Late when its turn comes, and no tick between.
    watched_start(&d);
    wait_until_late(&d);
    gate_set(true);
    watched_wait(&c);
    watched_wait(&d);
    assert_int_equal(d.result.stop, INK_STOP_DEADLINE);
    assert_int_equal(d.n_pieces, 0);
    assert_int_equal(c.result.stop, INK_STOP_LENGTH);
    scene_end(app);
}

// A job held up for longer than its deadline, in its slot, ends so.
static void test_deadline_while_running(void **state) {
    (void)state;
    srv_app *app = scene_begin(1, 4);
    watched a;
    watched_init(&a, app, 0, FROG, 200);
    a.generate.deadline_ms = 100;
    a.held = true;
    watched_start(&a);
    wait_until_late(&a);
    gate_set(true);
    watched_wait(&a);
    assert_int_equal(a.result.stop, INK_STOP_DEADLINE);
    assert_true(a.result.n_generated < 200);
    scene_end(app);
}

static int wait_for_deadline(srv_job *job, const ink_piece *piece) {
    (void)piece;
    wait_until_late((watched *)job);
    return 0;
}

// The time in the queue is part of it: what is left is all that the service gives.
static void test_deadline_counts_the_wait(void **state) {
    (void)state;
    srv_app *app = scene_begin(1, 4);
    watched a, b;
    watched_hold(&a, app, 0, FROG);
    watched_init(&b, app, 0, BIRD, 200);
    b.generate.deadline_ms = 600;
    b.job.on_text = wait_for_deadline;
    watched_start(&b);
    while (srv_now_ms() < b.job.submitted_ms + 400) sched_yield();
    gate_set(true);
    watched_wait(&b);
    assert_int_equal(b.result.stop, INK_STOP_DEADLINE);
    assert_true(b.result.n_generated < 200);
    scene_end(app);
}

// --- one out of another --------------------------------------------------------------------------

static srv_app *chain_app;
static atomic_int n_links;
static watched chain_end;
static void next_link(watched *w);

typedef struct heap_link {
    watched w;
} heap_link;

static void heap_done(srv_job *job, ink_status status, const ink_result *result,
                      const ink_error *error) {
    (void)error;
    EXPECT(status == INK_OK && result->stop == INK_STOP_LENGTH);
    next_link((watched *)job);
    free(job); // its memory is the caller's again
}

static void next_link(watched *w) {
    (void)w;
    srv_failure why = {0};
    if (atomic_fetch_add(&n_links, 1) == 30) {
        EXPECT(watched_submit(&chain_end, &why));
        return;
    }
    heap_link *link = malloc(sizeof *link);
    EXPECT(link != NULL);
    if (link == NULL) return;
    watched_init(&link->w, chain_app, 0, BIRD, 1);
    link->w.job.on_done = heap_done;
    EXPECT(watched_submit(&link->w, &why));
}

static void test_done_submits(void **state) {
    (void)state;
    srv_app *app = scene_begin(1, 1);
    chain_app = app;
    atomic_store(&n_links, 0);
    watched_init(&chain_end, app, 0, FROG, 1);
    next_link(NULL);
    watched_wait(&chain_end);
    assert_int_equal(atomic_load(&n_links), 31);
    scene_end(app);
}

// --- the server's end ----------------------------------------------------------------------------

static void test_draining(void **state) {
    (void)state;
    srv_app *app = scene_begin(1, 4);
    watched a, b, c;
    srv_failure why = {0};
    watched_hold(&a, app, 0, FROG);
    watched_init(&b, app, 0, BIRD, 2);
    watched_start(&b);
    atomic_store(&app->draining, true);
    watched_init(&c, app, 0, BIRD, 2);
    assert_false(watched_submit(&c, &why));
    assert_int_equal(why.status, 503);
    gate_set(true); // what was taken is done
    watched_wait(&a);
    watched_wait(&b);
    assert_int_equal(a.result.stop, INK_STOP_LENGTH);
    assert_int_equal(b.result.stop, INK_STOP_LENGTH);
    scene_end(app);
}

static void *open_gate(void *app) {
    while (ink_service_state(((srv_app *)app)->models[0].service, NULL) != INK_SERVICE_CLOSED)
        sched_yield();
    gate_set(true);
    return NULL;
}

static void test_close_in_every_state(void **state) {
    (void)state;
    srv_app *app = scene_begin(2, 4);
    watched done, running, reading, waiting, after;
    pthread_t thread;
    srv_failure why = {0};
    watched_run(&done, app, BIRD, 1);
    watched_init(&running, app, 0, FROG, 100);
    running.held = true;
    watched_start(&running);
    watched_wait_piece(&running);
    watched_init(&reading, app, 0, BIRD, 100); // has a slot, and no token yet
    watched_start(&reading);
    watched_init(&waiting, app, 0, BIRD, 100);
    watched_start(&waiting);
    assert_int_equal(pthread_create(&thread, NULL, open_gate, app), 0);
    srv_models_close(app);
    pthread_join(thread, NULL);
    watched *const all[] = {&done, &running, &reading, &waiting};
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(watched_n_done(all[i]), 1);
        assert_int_equal(all[i]->status, INK_OK);
        assert_int_equal(all[i]->result.stop, i == 0 ? INK_STOP_LENGTH : INK_STOP_CANCELLED);
    }
    srv_job_cancel(&waiting.job);
    watched_init(&after, app, 0, BIRD, 1);
    assert_false(watched_submit(&after, &why));
    assert_int_equal(why.status, 503);
    srv_models_close(app); // twice is once
    scene_end(app);
}

// --- a thousand ----------------------------------------------------------------------------------

static void run_many(srv_app *app, size_t n) {
    static const char *const prompts[] = {"The frog", "a", "", "I", "The frog and", "Tom"};
    for (size_t i = 0; i < n; i++) {
        watched w;
        watched_run(&w, app, prompts[i % 6], 1);
    }
}

static void test_thousand_leave_nothing(void **state) {
    (void)state;
    srv_app *app = scene_begin(4, 4);
    run_many(app, 24); // each slot has its client
    const size_t before = mallinfo2().uordblks;
    // A sanitizer has memory of its own, and sees in some what it would see in many.
    run_many(app, getenv("INKLING_SANITIZE") != NULL ? 100 : 1000);
    const size_t after = mallinfo2().uordblks;
    // A request or two may be about to be released.
    assert_true(after < before + 32768);
    scene_end(app);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cancel_waiting),
        cmocka_unit_test(test_cancel_running),
        cmocka_unit_test(test_cancel_before_submission),
        cmocka_unit_test(test_deadline_while_waiting),
        cmocka_unit_test(test_deadline_while_running),
        cmocka_unit_test(test_deadline_counts_the_wait),
        cmocka_unit_test(test_done_submits),
        cmocka_unit_test(test_draining),
        cmocka_unit_test(test_close_in_every_state),
        cmocka_unit_test(test_thousand_leave_nothing),
    };
    return cmocka_run_group_tests_name("jobs_end", tests, NULL, NULL);
}
