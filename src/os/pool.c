// SPDX-License-Identifier: MIT
//
// Every worker has a ticket and a part of its own. The caller writes the job, frees the parts of
// the workers that it concerns, raises their tickets, runs part 0, then takes whatever part nobody
// has begun, and waits until `pending` is zero. So a worker that the system does not run, or that
// is still waking up, holds nobody up. Who takes a part first has it (`taken`); only then the job
// is looked at, so it needs no lock: it stays as it is from a freed part to the end of all parts. A
// worker that comes too late finds its part taken, or that of a later job free, which is as good.
//
// Going to sleep is the usual two-sided handshake: the sleeper says that it sleeps and then looks
// at the ticket once more; the waker raises the ticket and then looks whether somebody sleeps. Both
// use sequentially consistent operations, so at least one of them sees the other, and the sleeper
// holds the mutex from its announcement until it waits, so the signal cannot fall in between.
#include "os/pool.h"

#include "os/lock.h"
#include "os/os.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

enum { SPIN_NS = 50000, SPIN_HARD_NS = 2000, SPIN_BATCH = 16 };

// Where one thread sleeps.
typedef struct pool_bed {
    inki_lock lock;
    atomic_bool asleep;
} pool_bed;

// A cache line and more to itself, so that a raised ticket disturbs its own worker only.
typedef struct pool_worker {
    _Alignas(INKI_ALIGN) atomic_uint ticket;
    atomic_bool taken; // its part in the job, by the worker or by the caller
    uint32_t part;
    inki_pool *pool;
    inki_thread thread;
    pool_bed bed;
} pool_worker;

struct inki_pool {
    inki_part_fn fn; // NULL: the workers end
    void *arg;
    uint32_t n_parts;
    uint32_t n_threads;
    pool_worker *workers; // [n_threads - 1]; worker i runs part i + 1
    int64_t pid;          // of the process in which the workers live
    inki_mem mem;
    pool_bed bed; // of the caller
    _Alignas(INKI_ALIGN) atomic_uint pending;
    _Alignas(INKI_ALIGN) atomic_bool held;
};

static int64_t pool_now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static inline void pool_pause(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__) || defined(__arm__)
    __asm__ volatile("yield");
#endif
}

static ink_status pool_bed_init(pool_bed *bed, ink_error *error) {
    atomic_init(&bed->asleep, false);
    return inki_lock_init(&bed->lock, error);
}

// Returns when *value is `number` (is) or no longer that (!is), with what it is then. After the
// first microseconds the processor is offered to others at each look: with more threads than
// processors, the one waited for may need this very one.
static unsigned pool_wait(atomic_uint *value, bool is, unsigned number, pool_bed *bed) {
    int64_t start = 0;
    for (;;) {
        for (int i = 0; i < SPIN_BATCH; i++) {
            const unsigned found = atomic_load_explicit(value, memory_order_acquire);
            if ((found == number) == is) return found;
            pool_pause();
        }
        const int64_t now = pool_now_ns();
        if (start == 0) start = now;
        if (now - start >= SPIN_NS) break;
        if (now - start >= SPIN_HARD_NS) sched_yield();
    }
    inki_lock_take(&bed->lock);
    // An exchange, not a store: emulators of AArch64 let a load pass a store that it should not.
    atomic_exchange(&bed->asleep, true);
    unsigned found;
    while (((found = atomic_load(value)) == number) != is) inki_lock_wait(&bed->lock, -1);
    atomic_store(&bed->asleep, false);
    inki_lock_give(&bed->lock);
    return found;
}

// To be called after the sequentially consistent change of the value that the sleeper waits for.
static void pool_wake(pool_bed *bed) {
    if (!atomic_load(&bed->asleep)) return;
    inki_lock_take(&bed->lock);
    inki_lock_notify(&bed->lock);
    inki_lock_give(&bed->lock);
}

static void pool_worker_main(void *arg) {
    pool_worker *worker = arg;
    inki_pool *pool = worker->pool;
    for (unsigned seen = 0;;) {
        seen = pool_wait(&worker->ticket, false, seen, &worker->bed);
        if (atomic_exchange(&worker->taken, true)) continue;
        if (pool->fn == NULL) return;
        pool->fn(pool->arg, worker->part, pool->n_parts);
        if (atomic_fetch_sub(&pool->pending, 1) == 1) pool_wake(&pool->bed);
    }
}

static void pool_raise(inki_pool *pool, uint32_t n_workers) {
    for (uint32_t i = 0; i < n_workers; i++) {
        atomic_store(&pool->workers[i].taken, false);
        atomic_fetch_add(&pool->workers[i].ticket, 1);
        pool_wake(&pool->workers[i].bed);
    }
}

static void pool_end_workers(inki_pool *pool, uint32_t n_started) {
    pool->fn = NULL;
    pool_raise(pool, n_started);
    for (uint32_t i = 0; i < n_started; i++) {
        inki_thread_join(&pool->workers[i].thread);
        inki_lock_destroy(&pool->workers[i].bed.lock);
    }
}

static ink_status pool_start_worker(inki_pool *pool, uint32_t i, ink_error *error) {
    pool_worker *worker = &pool->workers[i];
    worker->part = i + 1;
    worker->pool = pool;
    atomic_init(&worker->ticket, 0);
    atomic_init(&worker->taken, true);
    ink_status status = pool_bed_init(&worker->bed, error);
    if (status != INK_OK) return status;
    status =
        inki_thread_start(&worker->thread, INKI_POOL_STACK_BYTES, pool_worker_main, worker, error);
    if (status != INK_OK) inki_lock_destroy(&worker->bed.lock);
    return status;
}

static ink_status pool_start(inki_pool *pool, ink_error *error) {
    ink_status status = pool_bed_init(&pool->bed, error);
    if (status != INK_OK) return status;
    uint32_t n_started = 0;
    while (n_started + 1 < pool->n_threads && status == INK_OK) {
        status = pool_start_worker(pool, n_started, error);
        if (status == INK_OK) n_started++;
    }
    if (status == INK_OK) return INK_OK;
    pool_end_workers(pool, n_started);
    inki_lock_destroy(&pool->bed.lock);
    char which[40];
    snprintf(which, sizeof which, "thread %u of %u", (unsigned)n_started + 2,
             (unsigned)pool->n_threads);
    inki_error_prefix(error, which);
    return status;
}

static void pool_release(inki_pool *pool) {
    const inki_mem mem = pool->mem;
    inki_release(&mem, pool->workers, pool->n_threads - 1, sizeof *pool->workers);
    inki_release(&mem, pool, 1, sizeof *pool);
}

ink_status inki_pool_new(inki_pool **out, const inki_mem *mem, uint32_t n_threads,
                         ink_error *error) {
    if (n_threads < 1) n_threads = 1;
    if (n_threads > INKI_POOL_MAX) n_threads = INKI_POOL_MAX;
    inki_pool *pool = inki_alloc_zero(mem, 1, sizeof *pool);
    if (pool == NULL) return inki_fail_nomem(error, sizeof *pool);
    pool->mem = *mem;
    pool->n_threads = n_threads;
    pool->pid = inki_os_pid();
    atomic_init(&pool->pending, 0);
    atomic_init(&pool->held, false);
    if (n_threads > 1) {
        pool->workers = inki_alloc_zero(mem, n_threads - 1, sizeof *pool->workers);
        if (pool->workers == NULL) {
            pool_release(pool);
            return inki_fail_nomem(error, (n_threads - 1) * sizeof *pool->workers);
        }
    }
    const ink_status status = pool_start(pool, error);
    if (status != INK_OK) {
        pool_release(pool);
        return status;
    }
    *out = pool;
    return INK_OK;
}

void inki_pool_free(inki_pool *pool) {
    if (pool == NULL) return;
    if (pool->pid == inki_os_pid()) { // else there is nobody to end
        pool_end_workers(pool, pool->n_threads - 1);
        inki_lock_destroy(&pool->bed.lock);
    }
    pool_release(pool);
}

uint32_t inki_pool_n_threads(const inki_pool *pool) { return pool != NULL ? pool->n_threads : 1; }

bool inki_pool_is_alive(const inki_pool *pool) {
    return pool != NULL && pool->pid == inki_os_pid();
}

bool inki_pool_enter(inki_pool *pool) {
    if (!inki_pool_is_alive(pool)) return false;
    return !atomic_exchange_explicit(&pool->held, true, memory_order_acquire);
}

void inki_pool_leave(inki_pool *pool) {
    if (pool != NULL) atomic_store_explicit(&pool->held, false, memory_order_release);
}

void inki_pool_run(inki_pool *pool, uint32_t n_parts, inki_part_fn fn, void *arg) {
    if (pool != NULL && n_parts > pool->n_threads) n_parts = pool->n_threads;
    if (pool == NULL || n_parts <= 1) {
        fn(arg, 0, 1);
        return;
    }
    pool->fn = fn;
    pool->arg = arg;
    pool->n_parts = n_parts;
    atomic_store_explicit(&pool->pending, n_parts - 1, memory_order_relaxed);
    pool_raise(pool, n_parts - 1);
    fn(arg, 0, n_parts);
    for (uint32_t i = 0; i + 1 < n_parts; i++) {
        if (atomic_exchange(&pool->workers[i].taken, true)) continue;
        fn(arg, i + 1, n_parts);
        atomic_fetch_sub(&pool->pending, 1);
    }
    pool_wait(&pool->pending, true, 0, &pool->bed);
}

void inki_pool_share(size_t n, size_t grain, uint32_t part, uint32_t n_parts, size_t *begin,
                     size_t *end) {
    if (grain == 0) grain = 1;
    if (n_parts == 0) n_parts = 1;
    const size_t n_whole = n / grain;
    const size_t n_grains = n_whole + (n % grain != 0);
    const size_t each = n_grains / n_parts, extra = n_grains % n_parts;
    const size_t from = each * part + (part < extra ? part : extra);
    const size_t to = from + each + (part < extra);
    *begin = from > n_whole ? n : from * grain;
    *end = to > n_whole ? n : to * grain;
}
