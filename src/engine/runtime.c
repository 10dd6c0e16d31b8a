// SPDX-License-Identifier: MIT
#include "engine/engine.h"

#include <stdio.h>
#include <stdlib.h>

#define STRINGIFY_(x) #x
#define STRINGIFY(x)  STRINGIFY_(x)

const char *ink_version(void) {
    return STRINGIFY(INK_VERSION_MAJOR) "." STRINGIFY(INK_VERSION_MINOR) "." STRINGIFY(
        INK_VERSION_PATCH);
}
#undef STRINGIFY
#undef STRINGIFY_

uint32_t ink_version_number(void) {
    return INK_VERSION_MAJOR * 1000000u + INK_VERSION_MINOR * 1000u + INK_VERSION_PATCH;
}

size_t ink_error_size(void) { return sizeof(ink_error); }
uint32_t ink_page_positions(void) { return INKI_TILE; }

static ink_status check_allocator(ink_allocator *copy, const ink_allocator *allocator,
                                  ink_error *error) {
    if (allocator == NULL) return INK_OK;
    const ink_status status =
        inki_options_read(copy, sizeof *copy, allocator, "ink_allocator", error);
    if (status != INK_OK) return status;
    if (copy->alloc == NULL || copy->release == NULL)
        return inki_fail(error, INK_E_ARG, "ink_allocator", 0,
                         "alloc and release must both be set");
    return INK_OK;
}

#define SAME_LEVEL(name, text)                                                                     \
    _Static_assert((int)INK_CPU_##name == (int)INKI_LEVEL_##name, "levels have one number");
INKI_LEVEL_MAP(SAME_LEVEL)
#undef SAME_LEVEL

static const char *level_names(char *out, size_t cap, uint32_t mask) {
    size_t n = 0;
    out[0] = 0;
    for (uint32_t i = 0; i < INKI_LEVELS && n < cap; i++)
        if (mask >> i & 1)
            n += (size_t)snprintf(out + n, cap - n, "%s%s", n > 0 ? ", " : "", inki_level_name(i));
    return out;
}

// A level that the machine lacks is refused: who asks for one wants to know that it was used.
static ink_status mask_by_environment(uint32_t *mask, ink_error *error) {
    const char *name = getenv("INKLING_CPU");
    if (name == NULL || name[0] == 0) return INK_OK;
    const int32_t level = inki_level_by_name(name);
    char names[128];
    if (level < 0)
        return inki_fail(error, INK_E_ARG, "INKLING_CPU", 0,
                         "there is no level \"%.40s\"; the levels are %s", name,
                         level_names(names, sizeof names, ~0u));
    if ((inki_cpu_levels() >> level & 1) == 0)
        return inki_fail(error, INK_E_ARG, "INKLING_CPU", 0,
                         "this machine has no level %s; it has %s", name,
                         level_names(names, sizeof names, inki_cpu_levels()));
    *mask &= inki_level_mask((uint32_t)level);
    return INK_OK;
}

// Threads that share a processor wait for each other at every hand-shake: many times slower, and
// easily asked for by mistake.
static uint32_t choose_n_threads(const ink_runtime_options *o, const inki_log *log) {
    const uint32_t n_cpus = inki_os_n_cpus();
    uint32_t most = n_cpus;
    if (o->flags & INK_RUNTIME_OVERSUBSCRIBE || most > INKI_POOL_MAX) most = INKI_POOL_MAX;
    if (o->n_threads == 0) return n_cpus < most ? n_cpus : most;
    if (o->n_threads <= most) return o->n_threads;
    inki_logf(log, INK_LOG_WARN,
              "%u threads were asked for, %u are used (the process may use %u processors)",
              (unsigned)o->n_threads, (unsigned)most, (unsigned)n_cpus);
    return most;
}

ink_status ink_runtime_new(ink_runtime **out, const ink_runtime_options *options,
                           ink_error *error) {
    if (out == NULL) return inki_fail(error, INK_E_ARG, "ink_runtime_new", 0, "out is NULL");
    ink_runtime_options o;
    ink_runtime_options_init(&o, sizeof o);
    ink_status status = inki_options_read(&o, sizeof o, options, "ink_runtime_options", error);
    if (status != INK_OK) return status;
    status = inki_flags_check(o.flags, INK_RUNTIME_OVERSUBSCRIBE, "ink_runtime_options", error);
    if (status != INK_OK) return status;
    ink_allocator allocator = {0};
    status = check_allocator(&allocator, o.allocator, error);
    if (status != INK_OK) return status;
    status = mask_by_environment(&o.cpu_mask, error);
    if (status != INK_OK) return status;

    const inki_mem mem = inki_mem_from(o.allocator != NULL ? &allocator : NULL);
    ink_runtime *r = inki_alloc_zero(&mem, 1, sizeof *r);
    if (r == NULL) return inki_fail_nomem(error, sizeof *r);
    atomic_init(&r->refs, 1);
    r->mem = mem;
    r->log = (inki_log){o.log, o.log_user};
    inki_kernels_init(&r->kernels, o.cpu_mask);
    status = inki_pool_new(&r->pool, &r->mem, choose_n_threads(&o, &r->log), error);
    if (status != INK_OK) {
        inki_release(&mem, r, 1, sizeof *r);
        return status;
    }
    *out = r;
    return INK_OK;
}

ink_runtime *inki_runtime_ref(ink_runtime *runtime) {
    atomic_fetch_add_explicit(&runtime->refs, 1, memory_order_relaxed);
    return runtime;
}

void ink_runtime_unref(ink_runtime *runtime) {
    if (runtime == NULL || atomic_fetch_sub_explicit(&runtime->refs, 1, memory_order_acq_rel) != 1)
        return;
    inki_pool_free(runtime->pool);
    const inki_mem mem = runtime->mem;
    inki_release(&mem, runtime, 1, sizeof *runtime);
}

uint32_t ink_runtime_n_threads(const ink_runtime *runtime) {
    return runtime != NULL ? inki_pool_n_threads(runtime->pool) : 0;
}

const char *ink_runtime_cpu_level(const ink_runtime *runtime) {
    return runtime != NULL ? runtime->kernels.name : "";
}
