// SPDX-License-Identifier: MIT
// Label: threads
// Four threads that submit, cancel and wait at random, deadlines, ticks, jobs that go on in their
// on_done, and models that close under them. Each job is told exactly once, and what was not cut
// short is what the engine says alone. Bounded by counts.
#include "job_scene.h"

#include <time.h>

enum { N_THREADS = 4, N_TEXTS = 5, N_AT_ONCE = 3, SHORT_ROUNDS = 60, LONG_ROUNDS = 3000 };

static const char *const texts[N_TEXTS] = {"Once upon a time", "The cat", "",
                                           "Once upon a time there was a little girl who lived",
                                           "One day a dog and a bird went to the park to play"};
static spoken expected[N_TEXTS];
static size_t n_rounds;
static srv_app *app;
static atomic_bool over;
static atomic_int n_whole, n_cut, n_refused, n_at_work;

typedef struct rider {
    watched w;
    size_t text;
    atomic_int n_told;
    uint32_t n_again; // how often it goes on by itself
    bool told_last;   // behind scene_lock
} rider;

static void rider_done(srv_job *job, ink_status status, const ink_result *result,
                       const ink_error *error) {
    rider *r = (rider *)job;
    (void)error;
    EXPECT(atomic_fetch_add(&r->n_told, 1) == 0);
    EXPECT(status == INK_OK);
    const spoken *whole = &expected[r->text];
    EXPECT(r->w.bytes <= whole->bytes && memcmp(r->w.text, whole->text, r->w.bytes) == 0);
    if (result->stop == INK_STOP_LENGTH) {
        EXPECT(r->w.bytes == whole->bytes);
        atomic_fetch_add(&n_whole, 1);
    } else {
        EXPECT(result->stop == INK_STOP_CANCELLED || result->stop == INK_STOP_DEADLINE);
        atomic_fetch_add(&n_cut, 1);
    }
    srv_failure why = {0};
    if (r->n_again > 0) {
        r->n_again--;
        r->w.bytes = 0;
        r->w.text[0] = 0;
        atomic_store(&r->n_told, 0);
        job->goes_on = true;
        if (srv_jobs_submit(&job, 1, &why)) return;
        EXPECT(why.status == 503 && atomic_fetch_add(&r->n_told, 1) == 0);
    }
    pthread_mutex_lock(&scene_lock);
    r->told_last = true;
    pthread_cond_broadcast(&scene_changed);
    pthread_mutex_unlock(&scene_lock);
}

static uint32_t draw(uint32_t *state) {
    *state = *state * 1664525u + 1013904223u;
    return *state >> 16;
}

static void rider_init(rider *r, uint32_t *random) {
    r->text = draw(random) % N_TEXTS;
    watched_init(&r->w, app, 0, texts[r->text], 6);
    r->w.generate.deadline_ms = draw(random) % 4 == 0 ? 1 + draw(random) % 20 : 0;
    r->w.job.request.priority = 1 + draw(random) % 2;
    r->w.job.on_done = rider_done;
    r->n_again = draw(random) % 8 == 0 ? 2 : 0;
    atomic_store(&r->n_told, 0);
    r->told_last = false;
}

static void one_round(rider *riders, uint32_t *random) {
    srv_job *jobs[N_AT_ONCE];
    srv_failure why = {0};
    const size_t n = 1 + draw(random) % N_AT_ONCE;
    for (size_t i = 0; i < n; i++) {
        rider_init(&riders[i], random);
        jobs[i] = &riders[i].w.job;
    }
    if (!srv_jobs_submit(jobs, n, &why)) {
        EXPECT(why.status == 429 || why.status == 503);
        for (size_t i = 0; i < n; i++) EXPECT(atomic_load(&riders[i].n_told) == 0);
        atomic_fetch_add(&n_refused, 1);
        sched_yield();
        return;
    }
    for (uint32_t pause = draw(random) % 4; pause > 0; pause--) sched_yield();
    for (size_t i = 0; i < n; i++)
        if (draw(random) % 3 == 0) srv_job_cancel(jobs[i]);
    pthread_mutex_lock(&scene_lock);
    for (size_t i = 0; i < n; i++)
        while (!riders[i].told_last) pthread_cond_wait(&scene_changed, &scene_lock);
    pthread_mutex_unlock(&scene_lock);
    for (size_t i = 0; i < n; i++) EXPECT(atomic_load(&riders[i].n_told) == 1);
}

static void *ride(void *seed) {
    uint32_t random = (uint32_t)(uintptr_t)seed;
    rider *riders = calloc(N_AT_ONCE, sizeof *riders);
    EXPECT(riders != NULL);
    for (size_t i = 0; i < n_rounds && riders != NULL && !atomic_load(&over); i++)
        one_round(riders, &random);
    free(riders);
    atomic_fetch_sub(&n_at_work, 1);
    return NULL;
}

// Who only waits, or looks again and again, leaves the processors to those at work.
static void rest(void) {
    const struct timespec t = {.tv_nsec = 50000};
    nanosleep(&t, NULL);
}

static void *keep_house(void *unused) {
    (void)unused;
    while (atomic_load(&n_at_work) > 0) {
        srv_jobs_tick(app);
        EXPECT(srv_slots_n_running(slots_of(app)) <= 2);
        rest();
    }
    return NULL;
}

static void start_threads(pthread_t *threads, uint32_t seed) {
    atomic_store(&over, false);
    atomic_store(&n_at_work, N_THREADS);
    for (uintptr_t i = 0; i < N_THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ride, (void *)(seed + i)), 0);
    assert_int_equal(pthread_create(&threads[N_THREADS], NULL, keep_house, NULL), 0);
}

static void begin(void) {
    const bool is_long = getenv("INKLING_TEST_LONG") != NULL;
    n_rounds = is_long ? LONG_ROUNDS : SHORT_ROUNDS;
    if (!is_long) print_message("left out: %d rounds (INKLING_TEST_LONG)\n", LONG_ROUNDS);
    app = scene_begin(2, 6);
    for (size_t i = 0; i < N_TEXTS; i++) {
        watched w;
        watched_init(&w, app, 0, texts[i], 6);
        engine_says(app, &w, &expected[i]);
    }
    atomic_store(&n_whole, 0);
    atomic_store(&n_cut, 0);
    atomic_store(&n_refused, 0);
}

static void test_random(void **state) {
    (void)state;
    pthread_t threads[N_THREADS + 1];
    begin();
    start_threads(threads, 1);
    for (size_t i = 0; i <= N_THREADS; i++) pthread_join(threads[i], NULL);
    assert_int_equal(srv_slots_n_running(slots_of(app)), 0);
    assert_int_equal(srv_slots_n_waiting(slots_of(app)), 0);
    assert_true(atomic_load(&n_whole) > 0);
    print_message("%d whole, %d cut short, %d refused\n", atomic_load(&n_whole),
                  atomic_load(&n_cut), atomic_load(&n_refused));
    scene_end(app);
}

static void test_close_under_load(void **state) {
    (void)state;
    pthread_t threads[N_THREADS + 1];
    for (uint32_t round = 0; round < 4; round++) {
        begin();
        start_threads(threads, 100 + 10 * round);
        while (atomic_load(&n_whole) + atomic_load(&n_cut) < (int)(5 * round)) rest();
        srv_models_close(app);
        atomic_store(&over, true);
        for (size_t i = 0; i <= N_THREADS; i++) pthread_join(threads[i], NULL);
        assert_int_equal(srv_slots_n_waiting(slots_of(app)), 0);
        scene_end(app);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_close_under_load),
    };
    return cmocka_run_group_tests_name("jobs_stress", tests, NULL, NULL);
}
