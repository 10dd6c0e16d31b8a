// SPDX-License-Identifier: MIT
// A pool of threads for one evaluation at a time. Work is cut into a fixed partition, which depends
// on nothing but the counts; a part that its thread has not begun when the caller is free, the
// caller runs.
#ifndef INKI_OS_POOL_H
#define INKI_OS_POOL_H

#include "base/error.h"
#include "base/mem.h"

enum { INKI_POOL_MAX = 64, INKI_POOL_STACK_BYTES = 512 * 1024 };

typedef struct inki_pool inki_pool;
// part in [0, n_parts). Must not call back into the pool.
typedef void (*inki_part_fn)(void *arg, uint32_t part, uint32_t n_parts);

// n_threads counts the caller: n_threads - 1 threads are started. They block all signals, have
// INKI_POOL_STACK_BYTES of stack and the default floating-point environment, spin at most 50
// microseconds for work and then sleep.
// Errors: INK_E_NOMEM, INK_E_SYSTEM.
ink_status inki_pool_new(inki_pool **out, const inki_mem *mem, uint32_t n_threads,
                         ink_error *error);
// Joins the threads. In a forked child, where they do not exist, it only releases the memory.
void inki_pool_free(inki_pool *pool);
uint32_t inki_pool_n_threads(const inki_pool *pool);
// False: its threads are those of the process that this one was forked from. NULL: false.
bool inki_pool_is_alive(const inki_pool *pool);

// Claims the pool for an evaluation. False when another thread holds it, or in a forked child: the
// caller then passes NULL to inki_pool_run and works alone.
bool inki_pool_enter(inki_pool *pool);
void inki_pool_leave(inki_pool *pool);

// Runs fn for every part and returns when all are done; writes of the parts are then visible.
// pool NULL or n_parts 1: all of them on the calling thread, as (arg, 0, 1).
// n_parts is cut to the number of threads.
void inki_pool_run(inki_pool *pool, uint32_t n_parts, inki_part_fn fn, void *arg);

// The share of part in n items: [*begin, *end), cut at multiples of `grain`.
void inki_pool_share(size_t n, size_t grain, uint32_t part, uint32_t n_parts, size_t *begin,
                     size_t *end);

#endif
