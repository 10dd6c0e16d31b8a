// SPDX-License-Identifier: MIT
// The lock and its condition, and threads that nobody in the host's process notices.
#include "os/lock.h"

#include "os/os.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <fenv.h>
#include <math.h>
#include <signal.h>
#include <string.h>
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

enum { STACK = 512 * 1024, CHILD_SECONDS = 3600 };

static void new_lock(inki_lock *lock) {
    ink_error error = {0};
    if (inki_lock_init(lock, &error) != INK_OK) fail_msg("%s", error.message);
}

static void start(inki_thread *thread, void (*run)(void *arg), void *arg) {
    ink_error error = {0};
    if (inki_thread_start(thread, STACK, run, arg, &error) != INK_OK) fail_msg("%s", error.message);
}

// --- lock ----------------------------------------------------------------------------------------

enum { N_RIVALS = 4, N_TURNS = 20000 };
typedef struct shared_count {
    inki_lock lock;
    uint64_t count; // plain: what is not excluded shows, here and to ThreadSanitizer
} shared_count;

static void rival_run(void *arg) {
    shared_count *shared = arg;
    for (int i = 0; i < N_TURNS; i++) {
        inki_lock_take(&shared->lock);
        shared->count = shared->count * 3 + 1 - shared->count * 2;
        inki_lock_give(&shared->lock);
    }
}

static void one_holder_at_a_time(void **state) {
    (void)state;
    shared_count shared = {.count = 0};
    new_lock(&shared.lock);
    inki_thread rivals[N_RIVALS];
    for (int i = 0; i < N_RIVALS; i++) start(&rivals[i], rival_run, &shared);
    for (int i = 0; i < N_RIVALS; i++) inki_thread_join(&rivals[i]);
    assert_int_equal(shared.count, N_RIVALS * N_TURNS);
    inki_lock_destroy(&shared.lock);
}

// Two threads hand a number to and fro; each waits without a time limit, and a wake-up that is lost
// ends the test by its time limit.
typedef struct ping_pong {
    inki_lock lock;
    int turn, last;
} ping_pong;

static void pong_run(void *arg) {
    ping_pong *p = arg;
    inki_lock_take(&p->lock);
    while (p->turn < p->last) {
        while (p->turn % 2 == 0 && p->turn < p->last) inki_lock_wait(&p->lock, -1);
        if (p->turn >= p->last) break;
        p->turn++;
        inki_lock_notify(&p->lock);
    }
    inki_lock_give(&p->lock);
}

static void no_notice_is_lost(void **state) {
    (void)state;
    ping_pong p = {.turn = 0, .last = 5000};
    new_lock(&p.lock);
    inki_thread other;
    start(&other, pong_run, &p);
    const double far_ms = inki_os_now_ms() + 3e6;
    inki_lock_take(&p.lock);
    while (p.turn < p.last) {
        while (p.turn % 2 == 1 && p.turn < p.last) assert_true(inki_lock_wait(&p.lock, far_ms));
        if (p.turn >= p.last) break;
        p.turn++;
        inki_lock_notify(&p.lock);
    }
    inki_lock_give(&p.lock);
    inki_thread_join(&other);
    assert_int_equal(p.turn, p.last);
    inki_lock_destroy(&p.lock);
}

typedef struct crowd {
    inki_lock lock;
    int n_waiting, n_awake;
    bool go;
} crowd;

static void crowd_run(void *arg) {
    crowd *c = arg;
    inki_lock_take(&c->lock);
    c->n_waiting++;
    inki_lock_notify(&c->lock);
    while (!c->go) inki_lock_wait(&c->lock, INFINITY);
    c->n_awake++;
    inki_lock_give(&c->lock);
}

static void a_notice_wakes_all(void **state) {
    (void)state;
    crowd c = {0};
    new_lock(&c.lock);
    inki_thread threads[N_RIVALS];
    for (int i = 0; i < N_RIVALS; i++) start(&threads[i], crowd_run, &c);
    inki_lock_take(&c.lock);
    while (c.n_waiting < N_RIVALS) inki_lock_wait(&c.lock, -1);
    assert_int_equal(c.n_awake, 0);
    c.go = true;
    inki_lock_notify(&c.lock); // once
    inki_lock_give(&c.lock);
    for (int i = 0; i < N_RIVALS; i++) inki_thread_join(&threads[i]);
    assert_int_equal(c.n_awake, N_RIVALS);
    inki_lock_destroy(&c.lock);
}

// Never before its time; how long after, the machine decides. May return for no reason, so until it
// says that the time is over.
static void a_wait_ends_at_its_time(void **state) {
    (void)state;
    inki_lock lock;
    new_lock(&lock);
    inki_lock_take(&lock);
    static const double spans_ms[] = {0, 1e-6, 0.0005, 0.9999999, 1, 3.25, 17, -5, -1e5};
    for (size_t i = 0; i < sizeof spans_ms / sizeof *spans_ms; i++) {
        double until_ms = inki_os_now_ms() + spans_ms[i];
        if (until_ms < 0) until_ms = 0;
        while (inki_lock_wait(&lock, until_ms)) {}
        assert_true(inki_os_now_ms() >= until_ms);
    }
    // At the border of a second, where nanoseconds carry over.
    const double second_ms = ceil(inki_os_now_ms() / 1e3) * 1e3;
    const double borders_ms[] = {second_ms - 1e-4, nextafter(second_ms, 0), second_ms,
                                 nextafter(second_ms, INFINITY), second_ms + 1e-6};
    for (size_t i = 0; i < sizeof borders_ms / sizeof *borders_ms; i++) {
        while (inki_lock_wait(&lock, borders_ms[i])) {}
        assert_true(inki_os_now_ms() >= borders_ms[i]);
    }
    inki_lock_give(&lock);
    inki_lock_destroy(&lock);
}

// A time that no clock reaches is for ever, and not one in the past.
static void far_run(void *arg) {
    crowd *c = arg;
    static const double far_ms[] = {-1, -1e300, 1e13, 1e18, 1e300, INFINITY, NAN};
    inki_lock_take(&c->lock);
    for (size_t i = 0; i < sizeof far_ms / sizeof *far_ms; i++) {
        c->n_waiting = (int)i + 1;
        inki_lock_notify(&c->lock);
        while (c->n_awake < c->n_waiting)
            if (!inki_lock_wait(&c->lock, far_ms[i])) c->go = true;
    }
    c->n_waiting = -1;
    inki_lock_notify(&c->lock);
    inki_lock_give(&c->lock);
}

static void far_times_are_for_ever(void **state) {
    (void)state;
    crowd c = {0};
    new_lock(&c.lock);
    inki_thread thread;
    start(&thread, far_run, &c);
    inki_lock_take(&c.lock);
    while (c.n_waiting >= 0) {
        while (c.n_waiting == c.n_awake) inki_lock_wait(&c.lock, -1);
        // Time for a wait that does not last to come back.
        const double until_ms = inki_os_now_ms() + 2;
        while (c.n_waiting >= 0 && inki_lock_wait(&c.lock, until_ms)) {}
        if (c.n_waiting < 0) break;
        c.n_awake = c.n_waiting;
        inki_lock_notify(&c.lock);
    }
    inki_lock_give(&c.lock);
    inki_thread_join(&thread);
    assert_false(c.go);
    inki_lock_destroy(&c.lock);
}

// --- thread --------------------------------------------------------------------------------------

typedef struct look {
    inki_thread thread;
    sigset_t mask;
    int rounding;
    double tiny; // half of the smallest normal number, unless the processor flushes it
    size_t stack_bytes;
    bool is_self;
    uint64_t number;
} look;

static void look_run(void *arg) {
    look *l = arg;
    pthread_sigmask(SIG_SETMASK, NULL, &l->mask);
    l->rounding = fegetround();
    volatile double smallest = 0x1p-1022;
    l->tiny = smallest * 0.5;
    pthread_attr_t attributes;
    pthread_getattr_np(pthread_self(), &attributes);
    pthread_attr_getstacksize(&attributes, &l->stack_bytes);
    pthread_attr_destroy(&attributes);
    l->is_self = inki_thread_is_self(&l->thread);
    l->number = 0x1234567890abcdef;
}

static void threads_are_no_guests_of_their_own(void **state) {
    (void)state;
    sigset_t before, after;
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    fesetround(FE_UPWARD);
    look l = {.rounding = -1};
    start(&l.thread, look_run, &l);
    const bool self = inki_thread_is_self(&l.thread);
    inki_thread_join(&l.thread);
    const int mine = fegetround();
    fesetround(FE_TONEAREST);
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    assert_int_equal(mine, FE_UPWARD);
    assert_false(self);
    assert_true(l.is_self);
    assert_true(l.number == 0x1234567890abcdef); // what it wrote is seen after the join
    assert_int_equal(l.rounding, FE_TONEAREST);
    assert_true(l.tiny == 0x1p-1023);
    assert_true(l.stack_bytes >= STACK);
    if (!UNDER_TSAN) assert_true(l.stack_bytes <= STACK + 65536); // it adds to it
    for (int s = 1; s < 32; s++) {
        assert_int_equal(sigismember(&before, s), sigismember(&after, s));
        if (s != SIGKILL && s != SIGSTOP) assert_int_equal(sigismember(&l.mask, s), 1);
    }
}

// The thread asks as the first thing it does: it must know its id by then.
static void self_run(void *arg) {
    inki_thread **mine = arg;
    if (!inki_thread_is_self(mine[0]) || inki_thread_is_self(mine[1])) mine[0] = NULL;
}

static void each_knows_itself(void **state) {
    (void)state;
    for (int i = 0; i < 300; i++) {
        inki_thread a, b;
        inki_thread *of_b[2] = {&b, &a}, *of_a[2] = {&a, &a};
        start(&a, self_run, of_a); // of_a[1] is itself: it says no
        start(&b, self_run, of_b);
        assert_false(inki_thread_is_self(&a) || inki_thread_is_self(&b));
        inki_thread_join(&b);
        inki_thread_join(&a);
        assert_null(of_a[0]);
        assert_non_null(of_b[0]);
    }
}

static void nothing_run(void *arg) { (void)arg; }

static void a_thread_that_cannot_be_started_is_told(void **state) {
    (void)state;
    inki_thread thread;
    ink_error error = {0};
    // More stack than there is address space.
    assert_int_equal(inki_thread_start(&thread, SIZE_MAX / 2, nothing_run, NULL, &error),
                     INK_E_SYSTEM);
    assert_non_null(strstr(error.message, "thread"));
    assert_int_equal(inki_thread_start(&thread, SIZE_MAX / 2, nothing_run, NULL, NULL),
                     INK_E_SYSTEM);
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    assert_int_equal(sigismember(&mask, SIGTERM), 0); // signals are as before
}

// --- fork ----------------------------------------------------------------------------------------

static int child_main(crowd *c, inki_thread *thread) {
    if (inki_thread_is_self(thread)) return 1;
    inki_lock_take(&c->lock);
    c->go = true;
    inki_lock_notify(&c->lock); // the one that waits does not exist here
    if (inki_lock_wait(&c->lock, inki_os_now_ms() + 1) && c->n_awake != 0) return 2;
    inki_lock_give(&c->lock);
    inki_thread_join(thread);
    inki_lock_destroy(&c->lock);
    inki_lock own;
    if (inki_lock_init(&own, NULL) != INK_OK) return 3;
    inki_lock_take(&own);
    while (inki_lock_wait(&own, inki_os_now_ms())) {}
    inki_lock_give(&own);
    inki_lock_destroy(&own);
    return 0;
}

static void a_forked_child_does_not_wait(void **state) {
    (void)state;
    crowd c = {0};
    new_lock(&c.lock);
    inki_thread thread;
    start(&thread, crowd_run, &c);
    inki_lock_take(&c.lock);
    while (c.n_waiting == 0) inki_lock_wait(&c.lock, -1);
    inki_lock_give(&c.lock); // it waits now: it had the lock until then
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        alarm(CHILD_SECONDS);
        _exit(child_main(&c, &thread));
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    inki_lock_take(&c.lock); // the parent's is as before
    assert_false(c.go);
    c.go = true;
    inki_lock_notify(&c.lock);
    inki_lock_give(&c.lock);
    inki_thread_join(&thread);
    assert_int_equal(c.n_awake, 1);
    inki_lock_destroy(&c.lock);
}

// The worker itself forks: in the child it is the only thread, and nobody's worker any more.
static void forking_run(void *arg) {
    look *l = arg;
    const pid_t child = fork();
    if (child == 0) {
        alarm(CHILD_SECONDS);
        _exit(inki_thread_is_self(&l->thread) ? 1 : 7);
    }
    int status = -1;
    if (child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status))
        l->number = (uint64_t)WEXITSTATUS(status);
}

static void a_thread_that_forks_is_no_worker_in_the_child(void **state) {
    (void)state;
    look l = {.number = 99};
    start(&l.thread, forking_run, &l);
    inki_thread_join(&l.thread);
    assert_int_equal(l.number, 7);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_holder_at_a_time),
        cmocka_unit_test(no_notice_is_lost),
        cmocka_unit_test(a_notice_wakes_all),
        cmocka_unit_test(a_wait_ends_at_its_time),
        cmocka_unit_test(far_times_are_for_ever),
        cmocka_unit_test(threads_are_no_guests_of_their_own),
        cmocka_unit_test(each_knows_itself),
        cmocka_unit_test(a_thread_that_cannot_be_started_is_told),
        cmocka_unit_test(a_forked_child_does_not_wait),
        cmocka_unit_test(a_thread_that_forks_is_no_worker_in_the_child),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
