// SPDX-License-Identifier: MIT
// Label: threads
// Learning beside other threads, and in a forked child: the app's numbers and those that are learnt
// are what they are alone. Threads wait for each other's deeds, never for times.
#include "adapt_fixture.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/wait.h>

enum { N_IDS = 24, N_STEPS = 30, HOUR_MS = 3600000 };

static adapt_scene scene;

// cmocka's assertions belong to its own thread: the others count.
static atomic_int n_wrong;
static void expect(int holds, int line) {
    if (holds) return;
    print_error("line %d does not hold\n", line);
    atomic_fetch_add(&n_wrong, 1);
}
#define EXPECT(holds) expect((holds) != 0, __LINE__)

static int set_up(void **state) {
    (void)state;
    const tiny_model tiny = scene_model();
    scene_begin(&scene, &tiny, 2, NULL);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    scene_end(&scene);
    return atomic_load(&n_wrong);
}

typedef struct long_run {
    ink_adapt *a;
    atomic_bool over;
    ink_status status;
    ink_error error;
} long_run;

// Whoever looks whether it runs may be in the way of its beginning.
static void *run_for_an_hour(void *arg) {
    long_run *r = arg;
    do r->status = ink_adapt_run(r->a, HOUR_MS, NULL, &r->error);
    while (r->status == INK_E_BUSY);
    atomic_store(&r->over, true);
    return NULL;
}

static void cancelled_and_busy(void **state) {
    (void)state;
    ink_adapt *a = adapt_open(&scene, "busy");
    adapt_add(a, 0, N_SENTENCES);
    ink_adapt_cancel(a); // nothing runs: nothing is stopped
    adapt_go_to(a, 2);
    for (int round = 0; round < 3; round++) {
        long_run r = {.a = a};
        pthread_t thread;
        ink_error error = {0};
        assert_int_equal(pthread_create(&thread, NULL, run_for_an_hour, &r), 0);
        // What comes before the run is as good as the run itself.
        while (ink_adapt_add_text(a, NULL, 0, &error) != INK_E_BUSY) {
            if (atomic_load(&r.over)) fail_msg("the run for an hour ended: %s", r.error.message);
            sched_yield();
        }
        assert_int_equal(ink_adapt_add_text(a, "more", 4, &error), INK_E_BUSY);
        assert_non_null(strstr(error.message, "another thread"));
        assert_int_equal(ink_adapt_run(a, 0, NULL, &error), INK_E_BUSY);
        assert_int_equal(ink_adapt_save(a, &error), INK_E_BUSY);
        assert_int_equal(ink_adapt_export(a, "x", &error), INK_E_BUSY);
        assert_int_equal(ink_adapt_free(a), INK_E_BUSY);
        while (!atomic_load(&r.over)) {
            ink_adapt_cancel(a);
            sched_yield();
        }
        pthread_join(thread, NULL);
        assert_int_equal(r.status, INK_E_CANCELLED);
        assert_int_equal(r.error.status, INK_E_CANCELLED);
    }
    // A run that was stopped anywhere goes on as if it had not been.
    const uint32_t n = adapt_slice(a, 0).n_steps;
    adapt_go_to(a, n + 2);
    adapt_save(a);
    ink_adapt_free(a);
    a = adapt_open(&scene, "alone");
    adapt_add(a, 0, N_SENTENCES);
    adapt_go_to(a, n + 2);
    adapt_save(a);
    ink_adapt_free(a);
    assert_same_files(&scene, "busy", "alone");
}

// --- an app that evaluates -----------------------------------------------------------------------

typedef struct app {
    ink_token ids[N_IDS];
    float *expected; // [N_IDS, n_vocab]
    atomic_bool stop;
    size_t n_rounds;
} app;

static void evaluate(app *p, float *out) {
    ink_session_options options;
    ink_session_options_init(&options, sizeof options);
    options.n_logits = N_IDS;
    ink_session *s = NULL;
    EXPECT(ink_session_new(&s, scene.o.model, &options, NULL) == INK_OK);
    for (size_t i = 0; i < N_IDS; i++) {
        size_t n = 0;
        const ink_span span = {s, p->ids + i, 1, 0, NULL};
        EXPECT(ink_eval(&span, 1, NULL) == INK_OK);
        const float *row = ink_session_logits(s, 0, &n);
        memcpy(out + i * n, row, n * sizeof *row);
    }
    EXPECT(ink_session_free(s) == INK_OK);
}

static void *be_an_app(void *arg) {
    app *p = arg;
    const size_t n = (size_t)N_IDS * scene_model().n_vocab;
    float *found = malloc(n * sizeof *found);
    do {
        evaluate(p, found);
        EXPECT(memcmp(found, p->expected, n * sizeof *found) == 0);
        p->n_rounds++;
    } while (!atomic_load(&p->stop));
    free(found);
    return NULL;
}

static void *learn(void *arg) {
    ink_adapt *a = arg;
    ink_adapt_report report = {.size = sizeof report};
    ink_status status;
    do status = ink_adapt_run(a, 0, &report, NULL);
    while (status == INK_OK && report.n_steps < N_STEPS);
    EXPECT(status == INK_OK);
    EXPECT(ink_adapt_save(a, NULL) == INK_OK);
    return NULL;
}

static void beside_evaluations(void **state) {
    (void)state;
    app p = {.expected = malloc(sizeof(float) * N_IDS * scene_model().n_vocab)};
    assert_non_null(p.expected);
    opened_ids(p.ids, N_IDS, scene_model().n_vocab, 3);
    evaluate(&p, p.expected);
    ink_adapt *a = adapt_open(&scene, "none"), *b = adapt_open(&scene, "one"),
              *c = adapt_open(&scene, "two");
    adapt_add(a, 0, N_SENTENCES);
    adapt_add(b, 0, N_SENTENCES);
    adapt_add(c, 0, N_SENTENCES);
    adapt_go_to(a, N_STEPS);
    adapt_save(a);
    // Two that learn and an app, over one pool.
    pthread_t threads[3];
    assert_int_equal(pthread_create(&threads[0], NULL, be_an_app, &p), 0);
    assert_int_equal(pthread_create(&threads[1], NULL, learn, b), 0);
    assert_int_equal(pthread_create(&threads[2], NULL, learn, c), 0);
    pthread_join(threads[1], NULL);
    pthread_join(threads[2], NULL);
    atomic_store(&p.stop, true);
    pthread_join(threads[0], NULL);
    assert_true(p.n_rounds > 0);
    assert_int_equal(atomic_load(&n_wrong), 0);
    assert_same_files(&scene, "none", "one");
    assert_same_files(&scene, "none", "two");
    ink_adapt_free(a);
    ink_adapt_free(b);
    ink_adapt_free(c);
    free(p.expected);
}

// While an evaluation holds the threads, a run waits and ends with nothing done; a cancel ends the
// waiting.
static void waits_for_the_pool(void **state) {
    (void)state;
    ink_adapt *a = adapt_open(&scene, NULL);
    adapt_add(a, 0, N_SENTENCES);
    adapt_go_to(a, 1);
    adapt_slice(a, 0);
    const size_t n_begun = a->doing;
    assert_true(inki_pool_enter(scene.o.runtime->pool));
    for (int i = 0; i < 50; i++) assert_int_equal(adapt_slice(a, 0).n_steps, 1);
    assert_int_equal(a->doing, n_begun);
    long_run r = {.a = a};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, run_for_an_hour, &r), 0);
    while (!atomic_load(&r.over)) {
        ink_adapt_cancel(a);
        sched_yield();
    }
    pthread_join(thread, NULL);
    assert_int_equal(r.status, INK_E_CANCELLED);
    inki_pool_leave(scene.o.runtime->pool);
    adapt_go_to(a, 2);
    ink_adapt_free(a);
}

// --- fork ----------------------------------------------------------------------------------------

// 0, or what was wrong; no assertions here, they would go on with the parent's tests.
static int in_child(ink_adapt *a) {
    ink_adapt_report report = {.size = sizeof report};
    do
        if (ink_adapt_run(a, 0, &report, NULL) != INK_OK) return 1;
    while (report.n_steps < N_STEPS);
    if (ink_adapt_save(a, NULL) != INK_OK) return 2;
    if (ink_adapt_free(a) != INK_OK) return 3;
    ink_adapt *own = NULL; // over the parent's runtime
    const ink_adapt_options options = adapt_options();
    if (ink_adapt_open(&own, scene.o.model, NULL, &options, NULL) != INK_OK) return 4;
    if (ink_adapt_add_text(own, sentences[0], strlen(sentences[0]), NULL) != INK_OK) return 5;
    if (ink_adapt_run(own, 0, NULL, NULL) != INK_OK) return 6;
    if (own->doing != INKI_ADAPT_STEP) return 7;
    return ink_adapt_free(own) == INK_OK ? 0 : 8;
}

static void forked_child(void **state) {
    (void)state;
    ink_adapt *a = adapt_open(&scene, "forked");
    adapt_add(a, 0, N_SENTENCES);
    adapt_go_to(a, 5);
    for (int i = 0; i < 4; i++) adapt_slice(a, 0); // within a step
    fflush(NULL);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) _exit(in_child(a));
    int status = -1;
    while (waitpid(child, &status, 0) < 0) {}
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    // The parent notices nothing, and learns the same with its threads.
    assert_int_equal(rename(scene_path(&scene, "forked"), scene_path(&scene, "of_child")), 0);
    adapt_go_to(a, N_STEPS);
    adapt_save(a);
    assert_same_files(&scene, "forked", "of_child");
    ink_adapt_free(a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cancelled_and_busy),
        cmocka_unit_test(beside_evaluations),
        cmocka_unit_test(waits_for_the_pool),
        cmocka_unit_test(forked_child),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
