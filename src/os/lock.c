// SPDX-License-Identifier: MIT
#include "os/lock.h"

#include "os/os.h"

#include <errno.h>
#include <fenv.h>
#include <math.h>
#include <signal.h>
#include <time.h>

// --- lock ----------------------------------------------------------------------------------------

// A clock that nobody sets back or forward. Apple's condition variables know no such clock, but
// they wait for a span of time as well.
static int lock_condition(pthread_cond_t *condition) {
#if defined(__APPLE__)
    return pthread_cond_init(condition, NULL);
#else
    pthread_condattr_t attributes;
    int code = pthread_condattr_init(&attributes);
    if (code != 0) return code;
    code = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    if (code == 0) code = pthread_cond_init(condition, &attributes);
    pthread_condattr_destroy(&attributes);
    return code;
#endif
}

ink_status inki_lock_init(inki_lock *lock, ink_error *error) {
    int code = pthread_mutex_init(&lock->mutex, NULL);
    if (code == 0) {
        code = lock_condition(&lock->changed);
        if (code != 0) pthread_mutex_destroy(&lock->mutex);
    }
    lock->pid = inki_os_pid();
    if (code == 0) return INK_OK;
    return inki_fail(error, code == ENOMEM ? INK_E_NOMEM : INK_E_SYSTEM, NULL, 0,
                     "no mutex or condition variable to be had (error %d)", code);
}

// Destroying a condition variable waits for those who sleep on it; in a forked child they never
// wake up.
void inki_lock_destroy(inki_lock *lock) {
    if (lock->pid != inki_os_pid()) return;
    pthread_cond_destroy(&lock->changed);
    pthread_mutex_destroy(&lock->mutex);
}

void inki_lock_take(inki_lock *lock) { pthread_mutex_lock(&lock->mutex); }
void inki_lock_give(inki_lock *lock) { pthread_mutex_unlock(&lock->mutex); }
void inki_lock_notify(inki_lock *lock) { pthread_cond_broadcast(&lock->changed); }

// Rounded up: who waits for a time does not come back before it.
static struct timespec lock_time(double ms) {
    const double seconds = floor(ms / 1e3);
    double ns = ceil((ms - seconds * 1e3) * 1e6);
    struct timespec t = {.tv_sec = (time_t)seconds};
    if (ns >= 1e9) {
        t.tv_sec++;
        ns -= 1e9;
    }
    t.tv_nsec = ns > 0 ? (long)ns : 0;
    return t;
}

bool inki_lock_wait(inki_lock *lock, double until_ms) {
    const double far_ms = 2e12; // sixty years of running; a second count of 32 bits holds it
    if (!(until_ms >= 0 && until_ms < far_ms)) {
        pthread_cond_wait(&lock->changed, &lock->mutex);
        return true;
    }
#if defined(__APPLE__)
    const double left_ms = until_ms - inki_os_now_ms();
    const struct timespec span = lock_time(left_ms > 0 ? left_ms : 0);
    return pthread_cond_timedwait_relative_np(&lock->changed, &lock->mutex, &span) != ETIMEDOUT;
#else
    const struct timespec until = lock_time(until_ms);
    return pthread_cond_timedwait(&lock->changed, &lock->mutex, &until) != ETIMEDOUT;
#endif
}

// --- thread --------------------------------------------------------------------------------------

// A new thread inherits rounding mode and flush-to-zero from its creator: the host's choice must
// not change our numbers. It may begin before its creator has been told its id; the gate is shut
// until then.
static void *thread_main(void *arg) {
    inki_thread *thread = arg;
    pthread_mutex_lock(&thread->gate);
    pthread_mutex_unlock(&thread->gate);
    fesetenv(FE_DFL_ENV);
    thread->run(thread->arg);
    return NULL;
}

// Threads inherit the signal mask, so all signals are blocked here for the time of the creation.
static int thread_create(inki_thread *thread, size_t stack_bytes) {
    pthread_attr_t attributes;
    sigset_t all, before;
    int code = pthread_attr_init(&attributes);
    if (code != 0) return code;
    sigfillset(&all);
    code = pthread_attr_setstacksize(&attributes, stack_bytes);
    if (code == 0) code = pthread_sigmask(SIG_SETMASK, &all, &before);
    if (code == 0) {
        pthread_mutex_lock(&thread->gate);
        code = pthread_create(&thread->id, &attributes, thread_main, thread);
        pthread_mutex_unlock(&thread->gate);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
    pthread_attr_destroy(&attributes);
    return code;
}

ink_status inki_thread_start(inki_thread *thread, size_t stack_bytes, void (*run)(void *arg),
                             void *arg, ink_error *error) {
    thread->run = run;
    thread->arg = arg;
    thread->pid = inki_os_pid();
    int code = pthread_mutex_init(&thread->gate, NULL);
    if (code == 0) {
        code = thread_create(thread, stack_bytes);
        if (code != 0) pthread_mutex_destroy(&thread->gate);
    }
    if (code == 0) return INK_OK;
    return inki_fail(error, INK_E_SYSTEM, NULL, 0, "a thread could not be started (error %d)",
                     code);
}

void inki_thread_join(inki_thread *thread) {
    if (thread->pid != inki_os_pid()) return;
    pthread_join(thread->id, NULL);
    pthread_mutex_destroy(&thread->gate);
}

bool inki_thread_is_self(const inki_thread *thread) {
    return thread->pid == inki_os_pid() && pthread_equal(thread->id, pthread_self()) != 0;
}
