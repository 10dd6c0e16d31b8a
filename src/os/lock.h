// SPDX-License-Identifier: MIT
// A mutex with a condition, and a thread that works behind a host's back.
#ifndef INKI_OS_LOCK_H
#define INKI_OS_LOCK_H

#include "base/error.h"
#include "base/mem.h"

#include <pthread.h>

typedef struct inki_lock {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    int64_t pid; // of the process that made it
} inki_lock;

// Errors: INK_E_SYSTEM, INK_E_NOMEM.
ink_status inki_lock_init(inki_lock *lock, ink_error *error);
// Nobody holds it or waits. In a forked child, where those who wait do not exist: does nothing.
void inki_lock_destroy(inki_lock *lock);
void inki_lock_take(inki_lock *lock);
void inki_lock_give(inki_lock *lock);
void inki_lock_notify(inki_lock *lock); // wakes all that wait
// Gives the lock, waits for a notify or until_ms (of inki_os_now_ms; a negative one: for ever), and
// takes it again. May also return for no reason. False: the time is over.
bool inki_lock_wait(inki_lock *lock, double until_ms);

// A thread that blocks all signals and has `stack_bytes` of stack and the default floating-point
// state.
typedef struct inki_thread {
    pthread_t id;
    void (*run)(void *arg);
    void *arg;
    int64_t pid; // of the process that started it: in a forked child it does not exist
    pthread_mutex_t gate;
} inki_thread;
// thread: the caller's, stays in place until the join. Errors: INK_E_SYSTEM.
ink_status inki_thread_start(inki_thread *thread, size_t stack_bytes, void (*run)(void *arg),
                             void *arg, ink_error *error);
// The calling thread, as a number; never 0.
static inline uintptr_t inki_thread_self(void) { return (uintptr_t)pthread_self(); }
void inki_thread_join(inki_thread *thread);          // in a forked child: does nothing
bool inki_thread_is_self(const inki_thread *thread); // in a forked child: false

#endif
