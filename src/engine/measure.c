// SPDX-License-Identifier: MIT
// What a model and a session would take. The model is opened for real over an allocator that
// counts: that reads metadata only, and the figure cannot drift from what opening does.
#include "engine/engine.h"

static void *counted_alloc(void *user, size_t bytes, size_t align) {
    inki_measured *c = user;
    void *p = c->under.alloc(c->under.user, bytes, align);
    if (p == NULL) return NULL;
    const size_t held = atomic_fetch_add(&c->held, bytes) + bytes;
    size_t peak = atomic_load(&c->peak);
    while (held > peak && !atomic_compare_exchange_weak(&c->peak, &peak, held)) {}
    return p;
}

static void counted_release(void *user, void *memory, size_t bytes) {
    inki_measured *c = user;
    atomic_fetch_sub(&c->held, bytes);
    c->under.release(c->under.user, memory, bytes);
}

static ink_status measure_model(const ink_model *m, const ink_session_options *options,
                                ink_memory *out, ink_error *error) {
    ink_session_options o = {0};
    ink_status status = inki_options_read(&o, sizeof o, options, "ink_session_options", error);
    if (status == INK_OK) status = inki_session_options_complete(&o, &m->weights, error);
    if (status == INK_OK) status = inki_adapters_check(o.adapters, o.n_adapters, NULL, error);
    if (status == INK_OK)
        status =
            inki_session_bytes(&m->weights, &o, &out->session_heap_bytes, &out->kv_bytes, error);
    out->n_ctx = o.n_ctx;
    return status;
}

ink_status inki_measure_open(inki_measured *c, const ink_source *source, ink_memory *out,
                             ink_error *error) {
    *c = (inki_measured){.under = inki_mem_from(NULL)};
    const ink_allocator allocator = {sizeof allocator, counted_alloc, counted_release, c};
    ink_runtime_options ro;
    ink_runtime_options_init(&ro, sizeof ro);
    ro.allocator = &allocator;
    ro.n_threads = 1;
    ink_status status = ink_runtime_new(&c->runtime, &ro, error);
    if (status != INK_OK) return status;
    const size_t before = atomic_load(&c->held);
    atomic_store(&c->peak, before);
    status = ink_model_open(&c->model, c->runtime, source, NULL, error);
    if (status != INK_OK) return status;
    out->model_heap_bytes = atomic_load(&c->held) - before;
    out->model_peak_bytes = atomic_load(&c->peak) - before;
    out->file_bytes = c->model->file.bytes;
    return INK_OK;
}

uint64_t inki_measure_held(const inki_measured *c) { return atomic_load(&c->held); }

void inki_measure_close(inki_measured *c) {
    ink_model_unref(c->model);
    ink_runtime_unref(c->runtime);
}

ink_status ink_measure(const ink_source *source, const ink_session_options *options,
                       ink_memory *out, ink_error *error) {
    if (out == NULL) return inki_fail(error, INK_E_ARG, "ink_measure", 0, "out is NULL");
    inki_measured measured;
    ink_memory result = {0};
    ink_status status = inki_measure_open(&measured, source, &result, error);
    if (status == INK_OK) status = measure_model(measured.model, options, &result, error);
    if (status == INK_OK) inki_report_write(out, &result, sizeof result);
    inki_measure_close(&measured);
    return status;
}
