// SPDX-License-Identifier: MIT
#include "engine/engine.h"

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

ink_status ink_runtime_new(ink_runtime **out, const ink_runtime_options *options,
                           ink_error *error) {
    if (out == NULL) return inki_fail(error, INK_E_ARG, "ink_runtime_new", 0, "out is NULL");
    ink_runtime_options o;
    ink_runtime_options_init(&o, sizeof o);
    ink_status status = inki_options_read(&o, sizeof o, options, "ink_runtime_options", error);
    if (status != INK_OK) return status;
    ink_allocator allocator = {0};
    status = check_allocator(&allocator, o.allocator, error);
    if (status != INK_OK) return status;

    const inki_mem mem = inki_mem_from(o.allocator != NULL ? &allocator : NULL);
    ink_runtime *r = inki_alloc_zero(&mem, 1, sizeof *r);
    if (r == NULL) return inki_fail_nomem(error, sizeof *r);
    atomic_init(&r->refs, 1);
    r->mem = mem;
    r->log = (inki_log){o.log, o.log_user};
    inki_kernels_init(&r->kernels, o.cpu_mask);
    uint32_t n_threads = o.n_threads != 0 ? o.n_threads : inki_os_n_cpus();
    if (n_threads > INKI_POOL_MAX) {
        inki_logf(&r->log, INK_LOG_WARN, "%u threads were asked for, %d are used",
                  (unsigned)n_threads, INKI_POOL_MAX);
        n_threads = INKI_POOL_MAX;
    }
    status = inki_pool_new(&r->pool, &r->mem, n_threads, error);
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
