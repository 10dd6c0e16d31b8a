// SPDX-License-Identifier: MIT
// What a model and a session would take. The model is opened for real over an allocator that
// counts: that reads metadata only, and the figure cannot drift from what opening does.
#include "engine/engine.h"

typedef struct counter {
    inki_mem under;
    atomic_size_t held, peak;
} counter;

static void *counted_alloc(void *user, size_t bytes, size_t align) {
    counter *c = user;
    void *p = c->under.alloc(c->under.user, bytes, align);
    if (p == NULL) return NULL;
    const size_t held = atomic_fetch_add(&c->held, bytes) + bytes;
    size_t peak = atomic_load(&c->peak);
    while (held > peak && !atomic_compare_exchange_weak(&c->peak, &peak, held)) {}
    return p;
}

static void counted_release(void *user, void *memory, size_t bytes) {
    counter *c = user;
    atomic_fetch_sub(&c->held, bytes);
    c->under.release(c->under.user, memory, bytes);
}

static ink_status measure_model(const ink_model *m, const ink_session_options *options,
                                ink_memory *out, ink_error *error) {
    ink_session_options o = {0};
    ink_status status = inki_options_read(&o, sizeof o, options, "ink_session_options", error);
    if (status == INK_OK) status = inki_session_options_complete(&o, &m->weights, error);
    if (status == INK_OK)
        status =
            inki_session_bytes(&m->weights, &o, &out->session_heap_bytes, &out->kv_bytes, error);
    out->n_ctx = o.n_ctx;
    out->file_bytes = m->file.bytes;
    return status;
}

ink_status ink_measure(const ink_source *source, const ink_session_options *options,
                       ink_memory *out, ink_error *error) {
    if (out == NULL) return inki_fail(error, INK_E_ARG, "ink_measure", 0, "out is NULL");
    counter c = {.under = inki_mem_from(NULL)};
    const ink_allocator allocator = {sizeof allocator, counted_alloc, counted_release, &c};
    ink_runtime_options ro;
    ink_runtime_options_init(&ro, sizeof ro);
    ro.allocator = &allocator;
    ro.n_threads = 1;
    ink_runtime *runtime = NULL;
    ink_model *model = NULL;
    ink_status status = ink_runtime_new(&runtime, &ro, error);
    if (status != INK_OK) return status;
    const size_t before = atomic_load(&c.held);
    atomic_store(&c.peak, before);
    status = ink_model_open(&model, runtime, source, NULL, error);
    ink_memory result = {.model_heap_bytes = atomic_load(&c.held) - before,
                         .model_peak_bytes = atomic_load(&c.peak) - before};
    if (status == INK_OK) status = measure_model(model, options, &result, error);
    if (status == INK_OK) inki_report_write(out, &result, sizeof result);
    ink_model_unref(model);
    ink_runtime_unref(runtime);
    return status;
}
