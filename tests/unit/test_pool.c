// SPDX-License-Identifier: MIT
// The thread pool: every part once, results visible, no trace in the host's process.
#include "fail_mem.h"
#include "os/pool.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <fenv.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__SANITIZE_THREAD__)
#define UNDER_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define UNDER_TSAN 1
#endif
#endif
#ifndef UNDER_TSAN
#define UNDER_TSAN 0
#endif

// A child that hangs shall not stay for ever: longer than the limit that ctest has for the test.
enum { CHILD_SECONDS = 3600 };

static inki_mem libc_mem(void) { return inki_mem_from(NULL); }

static inki_pool *new_pool(uint32_t n) {
    const inki_mem mem = libc_mem();
    inki_pool *pool = NULL;
    ink_error error = {0};
    if (inki_pool_new(&pool, &mem, n, &error) != INK_OK) fail_msg("%s", error.message);
    return pool;
}

typedef struct tally {
    uint32_t
        times[INKI_POOL_MAX]; // plain memory: a lost or a doubled part shows, and so does a race
    uint32_t n_parts;
    bool apart; // each part on a thread of its own
    pthread_t who[INKI_POOL_MAX];
} tally;

// Each part waits for the others to begin, so that each runs on a thread of its own: what its
// thread has not begun, the caller would run. To be set to 0 before each run.
static atomic_uint n_here;
static void meet(uint32_t n_parts) {
    atomic_fetch_add(&n_here, 1);
    while (atomic_load(&n_here) < n_parts) sched_yield();
}
static void run_met(inki_pool *pool, uint32_t n_parts, inki_part_fn fn, void *arg) {
    atomic_store(&n_here, 0);
    inki_pool_run(pool, n_parts, fn, arg);
}

static void count_part(void *arg, uint32_t part, uint32_t n_parts) {
    tally *t = arg;
    if (t->apart) meet(n_parts);
    t->times[part]++;
    t->who[part] = pthread_self();
    if (part == 0) t->n_parts = n_parts;
}

static void each_part_runs_once(void **state) {
    (void)state;
    for (uint32_t n_threads = 1; n_threads <= 5; n_threads++) {
        inki_pool *pool = new_pool(n_threads);
        assert_int_equal(inki_pool_n_threads(pool), n_threads);
        for (uint32_t k = 0; k < 16; k++) {
            const uint32_t asked = k / 2;
            tally t = {.apart = k % 2 != 0};
            run_met(pool, asked, count_part, &t);
            uint32_t expected = asked < n_threads ? asked : n_threads;
            if (expected == 0) expected = 1;
            assert_int_equal(t.n_parts, expected);
            for (uint32_t i = 0; i < INKI_POOL_MAX; i++) assert_int_equal(t.times[i], i < expected);
            assert_true(pthread_equal(t.who[0], pthread_self()));
            for (uint32_t i = 1; i < expected && t.apart; i++)
                assert_false(pthread_equal(t.who[i], pthread_self()));
        }
        inki_pool_free(pool);
    }
}

static void without_a_pool_the_caller_works(void **state) {
    (void)state;
    tally t = {0};
    inki_pool_run(NULL, 4, count_part, &t);
    assert_int_equal(t.times[0], 1);
    assert_int_equal(t.n_parts, 1);
    assert_int_equal(t.times[1], 0);
    assert_int_equal(inki_pool_n_threads(NULL), 1);
    assert_false(inki_pool_enter(NULL));
    inki_pool_leave(NULL);
    inki_pool_free(NULL);
}

static void thread_counts_are_clamped(void **state) {
    (void)state;
    inki_pool *pool = new_pool(0);
    assert_int_equal(inki_pool_n_threads(pool), 1);
    inki_pool_free(pool);
    pool = new_pool(1000);
    assert_int_equal(inki_pool_n_threads(pool), INKI_POOL_MAX);
    tally t = {0};
    inki_pool_run(pool, 1000, count_part, &t);
    for (uint32_t i = 0; i < INKI_POOL_MAX; i++) assert_int_equal(t.times[i], 1);
    inki_pool_free(pool);
}

// A chain of dispatches in which every part reads what all parts wrote in the one before.
enum { RING = 4 };
typedef struct ring {
    uint64_t from[RING], to[RING];
} ring;

static void ring_step(void *arg, uint32_t part, uint32_t n_parts) {
    ring *r = arg;
    uint64_t sum = 0;
    for (uint32_t i = 0; i < n_parts; i++) sum += r->from[i];
    r->to[part] = sum * 3 + part;
}

static void writes_are_visible_over_many_dispatches(void **state) {
    (void)state;
    inki_pool *pool = new_pool(2);
    ring r = {{1, 2}, {0}};
    uint64_t a = 1, b = 2;
    for (int i = 0; i < 100000; i++) {
        inki_pool_run(pool, 2, ring_step, &r);
        memcpy(r.from, r.to, sizeof r.to);
        const uint64_t sum = a + b;
        a = sum * 3;
        b = sum * 3 + 1;
        if (r.from[0] != a || r.from[1] != b) fail_msg("dispatch %d", i);
    }
    inki_pool_free(pool);
}

static void more_threads_than_processors(void **state) {
    (void)state;
    inki_pool *pool = new_pool(RING);
    ring r = {{1, 2, 3, 4}, {0}};
    uint64_t sum = 10;
    for (int i = 0; i < 3000; i++) {
        inki_pool_run(pool, RING, ring_step, &r);
        memcpy(r.from, r.to, sizeof r.to);
        const uint64_t base = sum * 3;
        for (uint32_t p = 0; p < RING; p++)
            if (r.from[p] != base + p) fail_msg("dispatch %d part %u", i, p);
        sum = 4 * base + 6;
        if (i % 500 == 0) usleep(2000); // long enough for the workers to fall asleep
    }
    inki_pool_free(pool);
}

static void slow_part(void *arg, uint32_t part, uint32_t n_parts) {
    meet(n_parts);
    if (part != 0) usleep(3000);
    ((int *)arg)[part] = 1;
}

static void a_sleeping_caller_is_woken(void **state) {
    (void)state;
    inki_pool *pool = new_pool(3);
    for (int i = 0; i < 20; i++) {
        int done[3] = {0};
        run_met(pool, 3, slow_part, done);
        assert_true(done[0] && done[1] && done[2]);
    }
    inki_pool_free(pool);
}

static pthread_t part_thread[2];
static void thread_part(void *arg, uint32_t part, uint32_t n_parts) {
    (void)arg;
    (void)n_parts;
    part_thread[part] = pthread_self();
}

// With one processor for both, the worker has seldom begun when the caller is done with its own: it
// goes on until that has been so.
static void a_late_threads_part_is_run_by_the_caller(void **state) {
    (void)state;
    cpu_set_t before, one;
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    CPU_ZERO(&one);
    CPU_SET((size_t)sched_getcpu(), &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    inki_pool *pool = new_pool(2);
    int n_taken_over = 0;
    for (int i = 0; i < 2000 || n_taken_over == 0; i++) {
        part_thread[1] = part_thread[0] = (pthread_t){0};
        inki_pool_run(pool, 2, thread_part, NULL);
        assert_true(pthread_equal(part_thread[0], pthread_self()));
        n_taken_over += pthread_equal(part_thread[1], pthread_self()) != 0;
    }
    inki_pool_free(pool);
    assert_int_equal(sched_setaffinity(0, sizeof before, &before), 0);
}

// Workers that come late to parts which are done, and then find that they are to end.
static void pools_end_right_after_their_jobs(void **state) {
    (void)state;
    for (int i = 0; i < 300; i++) {
        inki_pool *pool = new_pool(6);
        for (int k = 0; k < i % 5; k++) {
            tally t = {0};
            inki_pool_run(pool, 6, count_part, &t);
            for (uint32_t p = 0; p < 6; p++) assert_int_equal(t.times[p], 1);
        }
        inki_pool_free(pool);
    }
}

static pthread_t handler_thread;
static volatile sig_atomic_t n_handled;
static void on_signal(int number) {
    (void)number;
    handler_thread = pthread_self();
    n_handled++;
}

static void mask_part(void *arg, uint32_t part, uint32_t n_parts) {
    meet(n_parts);
    pthread_sigmask(SIG_SETMASK, NULL, &((sigset_t *)arg)[part]);
}

static void workers_block_all_signals(void **state) {
    (void)state;
    sigset_t before, after, masks[3];
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    inki_pool *pool = new_pool(3);
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    for (int s = 1; s < 32; s++) assert_int_equal(sigismember(&before, s), sigismember(&after, s));

    run_met(pool, 3, mask_part, masks);
    for (int s = 1; s < 32; s++) {
        if (s == SIGKILL || s == SIGSTOP) continue;
        assert_int_equal(sigismember(&masks[1], s), 1);
        assert_int_equal(sigismember(&masks[2], s), 1);
    }

    struct sigaction action = {0}, old;
    action.sa_handler = on_signal;
    sigaction(SIGUSR1, &action, &old);
    for (int i = 1; i <= 50; i++) {
        kill(getpid(), SIGUSR1);
        while (n_handled < i) usleep(50);
        assert_true(pthread_equal(handler_thread, pthread_self()));
    }
    sigaction(SIGUSR1, &old, NULL);
    inki_pool_free(pool);
}

static void rounding_part(void *arg, uint32_t part, uint32_t n_parts) {
    meet(n_parts);
    ((int *)arg)[part] = fegetround();
}

static void workers_have_the_default_float_environment(void **state) {
    (void)state;
    fesetround(FE_UPWARD);
    inki_pool *pool = new_pool(3);
    int modes[3] = {0};
    run_met(pool, 3, rounding_part, modes);
    const int mine = fegetround();
    fesetround(FE_TONEAREST);
    assert_int_equal(mine, FE_UPWARD);
    assert_int_equal(modes[1], FE_TONEAREST);
    assert_int_equal(modes[2], FE_TONEAREST);
    inki_pool_free(pool);
}

static void stack_part(void *arg, uint32_t part, uint32_t n_parts) {
    meet(n_parts);
    pthread_attr_t attributes;
    pthread_getattr_np(pthread_self(), &attributes);
    pthread_attr_getstacksize(&attributes, &((size_t *)arg)[part]);
    pthread_attr_destroy(&attributes);
}

static void workers_have_the_stated_stack(void **state) {
    (void)state;
    inki_pool *pool = new_pool(2);
    size_t bytes[2] = {0};
    run_met(pool, 2, stack_part, bytes);
    assert_true(bytes[1] >= INKI_POOL_STACK_BYTES);
    // Sanitizers add to the stack for their own use.
    if (!UNDER_TSAN) assert_true(bytes[1] <= INKI_POOL_STACK_BYTES + 65536);
    inki_pool_free(pool);
}

typedef struct rival {
    inki_pool *pool;
    atomic_int *inside;
    atomic_int *n_entered;
    uint64_t *plain; // guarded by enter and leave alone
    pthread_barrier_t *start;
    int worst;
} rival;

static void *rival_main(void *arg) {
    rival *r = arg;
    pthread_barrier_wait(r->start);
    for (int i = 0; i < 4000; i++) {
        if (!inki_pool_enter(r->pool)) continue;
        const int others = atomic_fetch_add(r->inside, 1);
        if (others > r->worst) r->worst = others;
        atomic_fetch_add(r->n_entered, 1);
        (*r->plain)++;
        if (i % 16 == 0) {
            tally t = {0};
            inki_pool_run(r->pool, 2, count_part, &t);
            if (t.times[0] != 1 || t.times[1] != 1) r->worst = 99;
        }
        atomic_fetch_sub(r->inside, 1);
        inki_pool_leave(r->pool);
    }
    return NULL;
}

static void one_holder_at_a_time(void **state) {
    (void)state;
    inki_pool *pool = new_pool(2);
    assert_true(inki_pool_enter(pool));
    assert_false(inki_pool_enter(pool));
    inki_pool_leave(pool);

    atomic_int inside = 0, n_entered = 0;
    uint64_t plain = 0;
    pthread_barrier_t start;
    pthread_barrier_init(&start, NULL, 4);
    rival rivals[4];
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        rivals[i] = (rival){pool, &inside, &n_entered, &plain, &start, 0};
        assert_int_equal(pthread_create(&threads[i], NULL, rival_main, &rivals[i]), 0);
    }
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&start);
    for (int i = 0; i < 4; i++) assert_int_equal(rivals[i].worst, 0);
    assert_int_equal(plain, (uint64_t)atomic_load(&n_entered));
    assert_true(plain > 0);
    assert_true(inki_pool_enter(pool));
    inki_pool_leave(pool);
    inki_pool_free(pool);
}

static int child_main(inki_pool *pool) {
    if (inki_pool_enter(pool)) return 1;
    tally t = {0};
    inki_pool_run(NULL, 3, count_part, &t);
    if (t.times[0] != 1 || t.n_parts != 1) return 2;
    inki_pool_free(pool);
    if (UNDER_TSAN) return 0; // it refuses new threads in a forked child
    const inki_mem mem = libc_mem();
    inki_pool *own = NULL; // a new pool of the child's own has threads again
    if (inki_pool_new(&own, &mem, 2, NULL) != INK_OK) return 3;
    if (!inki_pool_enter(own)) return 4;
    memset(&t, 0, sizeof t);
    inki_pool_run(own, 2, count_part, &t);
    if (t.times[0] != 1 || t.times[1] != 1) return 5;
    inki_pool_leave(own);
    inki_pool_free(own);
    return 0;
}

static void a_forked_child_works_alone(void **state) {
    (void)state;
    inki_pool *pool = new_pool(3);
    for (int asleep = 0; asleep < 2; asleep++) {
        if (asleep) usleep(3000);
        const pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            alarm(CHILD_SECONDS);
            _exit(child_main(pool));
        }
        int status = -1;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
        tally t = {0}; // the parent's pool is as before
        assert_true(inki_pool_enter(pool));
        inki_pool_run(pool, 3, count_part, &t);
        inki_pool_leave(pool);
        for (int i = 0; i < 3; i++) assert_int_equal(t.times[i], 1);
    }
    inki_pool_free(pool);
}

// -1 where /proc does not exist.
static int n_tasks(void) {
    DIR *dir = opendir("/proc/self/task");
    if (dir == NULL) return -1;
    int n = 0;
    for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) n += e->d_name[0] != '.';
    closedir(dir);
    return n;
}

// pthread_join may return a moment before the kernel has removed the task. False: they are still
// more, or fewer, when nobody would wait any longer.
static bool tasks_become(int expected) {
    for (int ms = 0; n_tasks() != expected; ms++) {
        if (ms == 120000) return false;
        usleep(1000);
    }
    return true;
}

static void *own_number(void *arg) {
    *(pid_t *)arg = gettid();
    return NULL;
}

// What there is without any pool: this thread, and one that ThreadSanitizer adds with the first
// that a program starts. So it is counted before the tests, when a thread has come and gone.
static int n_own_tasks;
static int count_own_tasks(void **state) {
    (void)state;
    pthread_t thread;
    pid_t id = 0;
    char path[64];
    if (pthread_create(&thread, NULL, own_number, &id) != 0) return -1;
    pthread_join(thread, NULL);
    snprintf(path, sizeof path, "/proc/self/task/%ld", (long)id);
    while (access(path, F_OK) == 0) usleep(1000);
    n_own_tasks = n_tasks();
    return 0;
}

static void no_thread_is_left_behind(void **state) {
    (void)state;
    const int before = n_own_tasks;
    if (before < 0) skip();
    assert_true(tasks_become(before));
    for (int i = 0; i < 50; i++) {
        inki_pool *pool = new_pool(4);
        if (i == 0) assert_int_equal(n_tasks(), before + 3);
        if (i % 2 == 0) {
            tally t = {0};
            inki_pool_run(pool, 4, count_part, &t);
        }
        inki_pool_free(pool);
    }
    assert_true(tasks_become(before));
    inki_pool *pool = new_pool(1);
    assert_int_equal(n_tasks(), before);
    inki_pool_free(pool);
}

static void every_failed_allocation_is_survived(void **state) {
    (void)state;
    size_t n = 1;
    for (;; n++) {
        fail_mem f = {.fail_at = n};
        const inki_mem mem = fail_mem_over(&f);
        inki_pool *pool = (inki_pool *)&f; // must stay untouched on failure
        ink_error error = {0};
        const ink_status status = inki_pool_new(&pool, &mem, 3, &error);
        if (status == INK_OK) {
            inki_pool_free(pool);
            assert_int_equal(f.n_bytes, 0);
            break;
        }
        assert_int_equal(status, INK_E_NOMEM);
        assert_int_equal(error.status, INK_E_NOMEM);
        assert_ptr_equal(pool, &f);
        assert_int_equal(f.n_bytes, 0);
    }
    assert_true(n >= 2);
    assert_true(tasks_become(n_own_tasks));
}

// The limit on processes makes pthread_create fail half-way; it does not bind the superuser, so a
// child that is another user tries it. Where that cannot be arranged either, the test is skipped.
static int starved_child(void) {
    if (geteuid() == 0 && setuid(54321) != 0) return 77;
    const struct rlimit limit = {3, 3};
    if (setrlimit(RLIMIT_NPROC, &limit) != 0) return 77;
    fail_mem f = {0};
    const inki_mem mem = fail_mem_over(&f);
    inki_pool *pool = NULL;
    ink_error error = {0};
    const ink_status status = inki_pool_new(&pool, &mem, 16, &error);
    if (status == INK_OK) return 77;
    if (status != INK_E_SYSTEM || error.status != INK_E_SYSTEM || pool != NULL) return 1;
    if (strstr(error.message, "of 16") == NULL) return 2;
    if (f.n_bytes != 0) return 3;
    return n_own_tasks <= 0 || tasks_become(1) ? 0 : 4; // no other thread came along
}

static void a_start_that_fails_half_way_cleans_up(void **state) {
    (void)state;
    if (UNDER_TSAN) {
        printf("left out: the thread sanitizer refuses new threads in a forked child\n");
        skip();
    }
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        alarm(CHILD_SECONDS);
        _exit(starved_child());
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77) {
        printf("left out: the limit on threads does not bind here\n");
        skip();
    }
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void shares_cover_everything_once(void **state) {
    (void)state;
    const size_t counts[] = {0, 1, 5, 63, 64, 65, 1000, 50257};
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++)
        for (size_t grain = 1; grain <= 64; grain = grain * 3 + 1)
            for (uint32_t n_parts = 1; n_parts <= 9; n_parts++) {
                const size_t n_grains = (counts[c] + grain - 1) / grain;
                size_t at = 0;
                for (uint32_t part = 0; part < n_parts; part++) {
                    size_t begin = 99, end = 99;
                    inki_pool_share(counts[c], grain, part, n_parts, &begin, &end);
                    assert_int_equal(begin, at);
                    assert_true(end >= begin);
                    assert_true(end == counts[c] || end % grain == 0);
                    assert_true(end - begin <= (n_grains / n_parts + 1) * grain);
                    at = end;
                }
                assert_int_equal(at, counts[c]);
            }
    size_t begin, end;
    inki_pool_share(SIZE_MAX, 64, 6, 7, &begin, &end);
    assert_true(end == SIZE_MAX);
    assert_true(begin < end);
    inki_pool_share(10, 0, 0, 0, &begin, &end);
    assert_int_equal(begin, 0);
    assert_int_equal(end, 10);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_part_runs_once),
        cmocka_unit_test(without_a_pool_the_caller_works),
        cmocka_unit_test(thread_counts_are_clamped),
        cmocka_unit_test(writes_are_visible_over_many_dispatches),
        cmocka_unit_test(more_threads_than_processors),
        cmocka_unit_test(a_sleeping_caller_is_woken),
        cmocka_unit_test(a_late_threads_part_is_run_by_the_caller),
        cmocka_unit_test(pools_end_right_after_their_jobs),
        cmocka_unit_test(workers_block_all_signals),
        cmocka_unit_test(workers_have_the_default_float_environment),
        cmocka_unit_test(workers_have_the_stated_stack),
        cmocka_unit_test(one_holder_at_a_time),
        cmocka_unit_test(a_forked_child_works_alone),
        cmocka_unit_test(no_thread_is_left_behind),
        cmocka_unit_test(every_failed_allocation_is_survived),
        cmocka_unit_test(a_start_that_fails_half_way_cleans_up),
        cmocka_unit_test(shares_cover_everything_once),
    };
    return cmocka_run_group_tests(tests, count_own_tasks, NULL);
}
