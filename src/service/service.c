// SPDX-License-Identifier: MIT
// The service as an object: made, asked about, set, closed and ended.
#include "service/service_parts.h"

#include <string.h>

enum { MOST_REQUESTS = 1 << 20, MOST_CLIENTS = 1 << 16, MOST_TOGETHER = 256, MOST_ROWS = 4096 };

void ink_service_options_init(ink_service_options *options, size_t size) {
    const ink_service_options defaults = {
        .n_queue = 64, .n_clients = 64, .n_batch = 8, .n_rows = 32};
    inki_options_fill(options, size, &defaults, sizeof defaults);
}

// --- making --------------------------------------------------------------------------------------

static ink_status check_bound(const char *name, uint32_t n, uint32_t most, ink_error *error) {
    if (n == 0) return inki_fail(error, INK_E_ARG, name, 0, "is 0, at least 1 was expected");
    if (n <= most) return INK_OK;
    return inki_fail(error, INK_E_LIMIT, name, 0, "is %u; the most is %u", (unsigned)n,
                     (unsigned)most);
}

static ink_status read_service(ink_service *s, const ink_service_options *options,
                               ink_error *error) {
    ink_service_options *o = &s->o;
    ink_service_options_init(o, sizeof *o);
    ink_model_options_init(&s->model_options, sizeof s->model_options);
    s->source = (ink_source){.size = sizeof s->source, .fd = -1};
    ink_status status = inki_options_read(o, sizeof *o, options, "ink_service_options", error);
    if (status == INK_OK)
        status = inki_flags_check(o->flags, INK_SERVICE_POLL, "ink_service_options", error);
    if (status == INK_OK) status = check_bound("n_queue", o->n_queue, MOST_REQUESTS, error);
    if (status == INK_OK) status = check_bound("n_clients", o->n_clients, MOST_CLIENTS, error);
    if (status == INK_OK) status = check_bound("n_batch", o->n_batch, MOST_TOGETHER, error);
    if (status == INK_OK) status = check_bound("n_rows", o->n_rows, MOST_ROWS, error);
    if (status == INK_OK)
        status = inki_options_read(&s->source, sizeof s->source, o->source, "ink_source", error);
    if (status == INK_OK)
        status = inki_options_read(&s->model_options, sizeof s->model_options, o->model,
                                   "ink_model_options", error);
    if (status != INK_OK) return status;
    if (s->model_options.flags & INK_MODEL_INSPECT)
        return inki_fail(error, INK_E_UNSUPPORTED, "ink_model_options", 0,
                         "a service needs more than INK_MODEL_INSPECT opens");
    if (o->n_batch > o->n_rows) o->n_batch = o->n_rows; // a row for each
    return INK_OK;
}

static void release_service(ink_service *s) {
    const inki_mem mem = s->mem;
    ink_runtime *runtime = s->runtime;
    ink_prefix_cache_unref(s->prefix);
    ink_model_unref(s->model);
    inki_release(&mem, s->name, s->name_bytes, 1);
    inki_release(&mem, s->batch, s->o.n_batch, sizeof *s->batch);
    inki_release(&mem, s->spans, s->o.n_batch, sizeof *s->spans);
    inki_release(&mem, s, 1, sizeof *s);
    ink_runtime_unref(runtime);
}

static ink_status allocate_parts(ink_service *s, ink_error *error) {
    if (s->source.name != NULL) {
        s->name_bytes = strlen(s->source.name) + 1;
        s->name = inki_alloc(&s->mem, s->name_bytes, 1);
        if (s->name == NULL) return inki_fail_nomem(error, s->name_bytes);
        memcpy(s->name, s->source.name, s->name_bytes);
        s->source.name = s->name;
    }
    s->batch = inki_alloc(&s->mem, s->o.n_batch, sizeof *s->batch);
    s->spans = inki_alloc(&s->mem, s->o.n_batch, sizeof *s->spans);
    if (s->batch == NULL || s->spans == NULL)
        return inki_fail_nomem(error, s->o.n_batch * sizeof *s->spans);
    return INK_OK;
}

static ink_status start_service(ink_service *s, ink_error *error) {
    atomic_init(&s->refs, 1);
    atomic_init(&s->worker_self, 0);
    s->pid = inki_os_pid();
    s->percent = 100;
    s->clients = (inki_link){&s->clients, &s->clients};
    s->typists = (inki_link){&s->typists, &s->typists};
    ink_status status = allocate_parts(s, error);
    if (status == INK_OK) status = inki_lock_init(&s->lock, error);
    if (status != INK_OK) return status;
    status = inki_thread_start(&s->worker, INKI_SERVICE_STACK_BYTES, inki_service_main, s, error);
    if (status != INK_OK) inki_lock_destroy(&s->lock);
    return status;
}

ink_status ink_service_new(ink_service **out, const ink_service_options *options,
                           ink_error *error) {
    if (out == NULL) return inki_fail(error, INK_E_ARG, "ink_service_new", 0, "out is NULL");
    ink_service read = {0};
    ink_status status = read_service(&read, options, error);
    if (status == INK_OK) status = ink_runtime_new(&read.runtime, read.o.runtime, error);
    if (status != INK_OK) return status;
    read.mem = read.runtime->mem;
    ink_service *s = inki_alloc(&read.mem, 1, sizeof *s);
    if (s == NULL) {
        ink_runtime_unref(read.runtime);
        return inki_fail_nomem(error, sizeof *s);
    }
    *s = read;
    s->o.source = NULL;
    s->o.runtime = NULL;
    s->o.model = NULL;
    status = start_service(s, error);
    if (status == INK_OK)
        *out = s;
    else
        release_service(s);
    return status;
}

// --- asking --------------------------------------------------------------------------------------

// What is counted here as a callback: all of the host's that this thread could be in.
bool inki_service_calls_me(const ink_service *s) {
    const uintptr_t self = inki_thread_self();
    if (atomic_load(&s->worker_self) == self || s->poller == self) return true;
    for (const inki_link *l = s->clients.next; l != &s->clients; l = l->next)
        if (((const ink_client *)l)->caller == self) return true;
    return false;
}

uint32_t ink_service_state(const ink_service *service, ink_error *reason) {
    if (service == NULL || inki_service_is_orphan(service)) return INK_SERVICE_CLOSED;
    ink_service *s = (ink_service *)(uintptr_t)service; // for its lock
    inki_lock_take(&s->lock);
    const uint32_t state = s->state;
    if (state == INK_SERVICE_FAILED && reason != NULL) *reason = s->reason;
    inki_lock_give(&s->lock);
    return state;
}

ink_status ink_service_wait(ink_service *s, uint32_t timeout_ms, ink_error *error) {
    if (s == NULL) return inki_fail(error, INK_E_ARG, "ink_service_wait", 0, "is NULL");
    ink_status status = INK_E_CLOSED;
    if (!inki_service_is_orphan(s)) {
        const double until = timeout_ms == UINT32_MAX ? -1 : inki_os_now_ms() + timeout_ms;
        inki_lock_take(&s->lock);
        s->n_waiting++;
        const bool inside = inki_service_calls_me(s);
        while (!inside && s->state == INK_SERVICE_LOADING && inki_lock_wait(&s->lock, until)) {}
        switch (inside ? INK_SERVICE_LOADING : s->state) {
        case INK_SERVICE_LOADING: status = inside ? INK_E_REENTRANT : INK_E_BUSY; break;
        case INK_SERVICE_READY: status = INK_OK; break;
        case INK_SERVICE_FAILED: status = (ink_status)s->reason.status; break;
        default: break;
        }
        if (error != NULL && s->state == INK_SERVICE_FAILED) *error = s->reason;
        s->n_waiting--;
        if (s->state == INK_SERVICE_CLOSED) inki_lock_notify(&s->lock);
        inki_lock_give(&s->lock);
    }
    if (status == INK_E_CLOSED) return inki_fail(error, status, NULL, 0, "the service is closed");
    if (status == INK_E_BUSY)
        return inki_fail(error, status, NULL, 0, "the model is still being opened");
    if (status == INK_E_REENTRANT)
        return inki_fail(error, status, NULL, 0, "inside a callback nothing can be waited for");
    return status;
}

ink_model *ink_service_model(const ink_service *service) {
    if (service == NULL || inki_service_is_orphan(service)) return NULL;
    ink_service *s = (ink_service *)(uintptr_t)service;
    inki_lock_take(&s->lock);
    ink_model *model = s->model;
    inki_lock_give(&s->lock);
    return model;
}

ink_prefix_cache *ink_service_prefix_cache(const ink_service *service) {
    return ink_service_model(service) != NULL ? service->prefix : NULL; // both are set at once
}

ink_status ink_service_set_pace(ink_service *s, uint32_t n_threads, uint32_t percent) {
    if (s == NULL || percent == 0 || percent > 100) return INK_E_ARG;
    if (inki_service_is_orphan(s)) return INK_E_CLOSED;
    inki_lock_take(&s->lock);
    const bool closed = s->state == INK_SERVICE_CLOSED;
    if (!closed) {
        s->n_threads = n_threads;
        s->percent = percent;
        if (percent == 100) s->pause_until = 0;
        inki_lock_notify(&s->lock);
    }
    inki_lock_give(&s->lock);
    return closed ? INK_E_CLOSED : INK_OK;
}

// --- ending --------------------------------------------------------------------------------------

// Says to everything that it is over. What runs sees it after its layer.
static void close_all(ink_service *s) {
    s->state = INK_SERVICE_CLOSED;
    s->untold |= s->o.on_state != NULL ? 1u << INK_SERVICE_CLOSED : 0;
    for (inki_link *l = s->clients.next; l != &s->clients; l = l->next)
        for (inki_request *r = ((ink_client *)l)->first; r != NULL; r = r->next)
            inki_request_interrupt(r, INK_STOP_CANCELLED);
    for (inki_link *l = s->typists.next; l != &s->typists; l = l->next) {
        ink_typing *typing = ((inki_typist *)l)->typing;
        if (typing == NULL) continue;
        inki_typing_close(typing);
        ink_typing_cancel(typing);
    }
    inki_lock_notify(&s->lock);
}

ink_status ink_service_close(ink_service *s) {
    if (s == NULL) return INK_E_ARG;
    if (inki_service_is_orphan(s)) return INK_OK;
    inki_lock_take(&s->lock);
    if (inki_service_calls_me(s)) {
        inki_lock_give(&s->lock);
        return INK_E_REENTRANT;
    }
    if (s->state != INK_SERVICE_CLOSED) close_all(s);
    const bool join = !s->joining;
    s->joining = true;
    if (join) {
        inki_lock_give(&s->lock);
        inki_thread_join(&s->worker);
        inki_lock_take(&s->lock);
        s->worker_gone = true;
        inki_lock_notify(&s->lock);
    }
    while (!s->worker_gone) inki_lock_wait(&s->lock, -1);
    if (join) inki_service_drop_sessions(s); // nothing will run any more
    inki_lock_give(&s->lock);
    return INK_OK;
}

bool inki_service_was_idle(ink_service *s) {
    if (pthread_mutex_trylock(&s->lock.mutex) != 0) return false;
    pthread_mutex_unlock(&s->lock.mutex);
    return (s->resting || s->worker_gone) && s->poller == 0;
}

void inki_service_unref(ink_service *s) {
    if (atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1) return;
    inki_lock_destroy(&s->lock);
    release_service(s);
}

ink_status ink_service_free(ink_service *s) {
    if (s == NULL) return INK_OK;
    if (inki_service_is_orphan(s)) {
        if (inki_service_was_idle(s)) inki_service_unref(s);
        return INK_OK;
    }
    const ink_status status = ink_service_close(s);
    if (status != INK_OK) return status;
    inki_lock_take(&s->lock);
    while (s->n_waiting > 0) inki_lock_wait(&s->lock, -1);
    // No poll will come any more: what is due is told here.
    s->poller = inki_thread_self();
    while (inki_service_tell_due(s) > 0) {}
    s->poller = 0;
    ink_model *model = s->model;
    ink_prefix_cache *prefix = s->prefix;
    s->model = NULL;
    s->prefix = NULL;
    inki_lock_give(&s->lock);
    ink_prefix_cache_unref(prefix);
    ink_model_unref(model);
    inki_service_unref(s);
    return INK_OK;
}
