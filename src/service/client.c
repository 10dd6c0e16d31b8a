// SPDX-License-Identifier: MIT
// Clients: who they are, what they ask for, and what is left of them when memory is short.
#include "service/service_parts.h"

#include <string.h>

void ink_client_options_init(ink_client_options *options, size_t size) {
    const ink_client_options defaults = {0};
    inki_options_fill(options, size, &defaults, sizeof defaults);
}

void ink_request_init(ink_request *request, size_t size) {
    const ink_request defaults = {.priority = INK_PRIORITY_FOREGROUND};
    inki_options_fill(request, size, &defaults, sizeof defaults);
}

inki_request *inki_client_active(const ink_client *client) {
    inki_request *r = client->first;
    while (r != NULL && r->phase == INKI_OVER) r = r->next;
    return r;
}

void inki_client_let_go(ink_client *client) {
    client->held = false;
    if (client->leaving) inki_lock_notify(&client->service->lock);
}

// --- coming and going ----------------------------------------------------------------------------

static ink_status closed_error(ink_error *error) {
    return inki_fail(error, INK_E_CLOSED, NULL, 0, "the service is closed");
}

// Options that only the model can judge are looked at here if it is open, else with the request.
static ink_status read_client(ink_client *c, const ink_client_options *options, ink_error *error) {
    ink_service *s = c->service;
    ink_session_options_init(&c->session_options, sizeof c->session_options);
    ink_status status = inki_options_read(&c->o, sizeof c->o, options, "ink_client_options", error);
    if (status == INK_OK)
        status = inki_options_read(&c->session_options, sizeof c->session_options, c->o.session,
                                   "ink_session_options", error);
    if (status != INK_OK) return status;
    c->o.session = NULL;
    c->session_options.n_batch = s->o.n_rows;
    inki_prefix_cache_ref(c->session_options.prefix_cache);
    ink_model_ref(c->session_options.draft);
    inki_lock_take(&s->lock);
    ink_model *model = ink_model_ref(s->model);
    inki_lock_give(&s->lock);
    ink_session_options *o = &c->session_options, probe = *o;
    status = inki_adapters_check(o->adapters, o->n_adapters, model, error);
    if (status == INK_OK && model != NULL)
        status = inki_session_options_complete(&probe, &model->weights, error);
    if (status == INK_OK && model != NULL && o->prefix_cache != NULL &&
        inki_prefix_cache_model(o->prefix_cache) != model)
        status = inki_fail(error, INK_E_ARG, "prefix_cache", 0, "is of another model");
    if (status == INK_OK) inki_adapters_copy(&c->adapters, &o->adapters, o->n_adapters);
    ink_model_unref(model);
    return status;
}

static void drop_options(ink_client *c) {
    inki_adapters_drop(&c->adapters);
    ink_prefix_cache_unref(c->session_options.prefix_cache);
    ink_model_unref(c->session_options.draft);
}

static ink_status admit(ink_client *c, ink_error *error) {
    ink_service *s = c->service;
    ink_status status = INK_OK;
    inki_lock_take(&s->lock);
    if (s->state == INK_SERVICE_CLOSED) {
        status = closed_error(error);
    } else if (s->n_members == s->o.n_clients) {
        status =
            inki_fail(error, INK_E_LIMIT, "n_clients", 0,
                      "%u clients and typing sessions are there already", (unsigned)s->o.n_clients);
    } else {
        s->n_members++;
        inki_link_add(&s->clients, &c->link);
        atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    }
    inki_lock_give(&s->lock);
    return status;
}

ink_status ink_client_new(ink_client **out, ink_service *service, const ink_client_options *options,
                          ink_error *error) {
    if (out == NULL || service == NULL)
        return inki_fail(error, INK_E_ARG, "ink_client_new", 0, "out or service is NULL");
    if (inki_service_is_orphan(service)) return closed_error(error);
    ink_client *c = inki_alloc_zero(&service->mem, 1, sizeof *c);
    if (c == NULL) return inki_fail_nomem(error, sizeof *c);
    c->service = service;
    ink_status status = read_client(c, options, error);
    if (status == INK_OK) status = admit(c, error);
    if (status == INK_OK) {
        *out = c;
    } else {
        drop_options(c);
        inki_release(&service->mem, c, 1, sizeof *c);
    }
    return status;
}

static void release_client(ink_client *c) {
    ink_service *s = c->service;
    const inki_mem mem = s->mem;
    ink_session_free(c->session);
    drop_options(c);
    inki_release(&mem, c->past, c->n_past, sizeof *c->past);
    inki_release(&mem, c, 1, sizeof *c);
    inki_service_unref(s);
}

// The worker of the parent is not here: nothing is to be waited for, and nobody to be told.
static void release_orphan(ink_client *c) {
    if (!inki_service_was_idle(c->service)) return;
    while (c->first != NULL) {
        inki_request *r = c->first;
        c->first = r->next;
        inki_run_end(&r->run);
        inki_request_free(r);
    }
    inki_link_remove(&c->link);
    release_client(c);
}

ink_status ink_client_free(ink_client *c) {
    if (c == NULL) return INK_OK;
    ink_service *s = c->service;
    if (inki_service_is_orphan(s)) {
        release_orphan(c);
        return INK_OK;
    }
    inki_lock_take(&s->lock);
    const bool mine = c->held && atomic_load(&s->worker_self) == inki_thread_self();
    if (c->caller == inki_thread_self() || mine) {
        inki_lock_give(&s->lock);
        return INK_E_REENTRANT;
    }
    c->leaving = true;
    for (inki_request *r = c->first; r != NULL; r = r->next)
        inki_request_interrupt(r, INK_STOP_CANCELLED);
    while (c->held || c->caller != 0) inki_lock_wait(&s->lock, -1);
    // Worker and poller pass over it from now on.
    while (c->first != NULL) {
        inki_request *r = c->first;
        if (r->phase != INKI_OVER) inki_request_stop(r, INK_STOP_CANCELLED, true);
        inki_service_tell_done(s, r);
    }
    inki_link_remove(&c->link);
    s->n_members--;
    inki_lock_give(&s->lock);
    release_client(c);
    return INK_OK;
}

// --- requests ------------------------------------------------------------------------------------

static ink_status check_open(const ink_service *s, ink_error *error) {
    if (s->state == INK_SERVICE_CLOSED) return closed_error(error);
    if (s->state == INK_SERVICE_FAILED) {
        if (error != NULL) *error = s->reason;
        return (ink_status)s->reason.status;
    }
    if (s->n_queued >= s->o.n_queue)
        return inki_fail(error, INK_E_FULL, "n_queue", 0, "%u requests wait or run already",
                         (unsigned)s->n_queued);
    return INK_OK;
}

static ink_status enqueue(inki_request *r, uint64_t *id, ink_error *error) {
    ink_client *c = r->client;
    ink_service *s = c->service;
    inki_lock_take(&s->lock);
    const ink_status status = c->leaving ? closed_error(error) : check_open(s, error);
    if (status == INK_OK) {
        r->id = ++s->n_requests;
        if (id != NULL) *id = r->id;
        *(c->first == NULL ? &c->first : &c->last->next) = r;
        c->last = r;
        s->n_queued++;
        inki_lock_notify(&s->lock);
    }
    inki_lock_give(&s->lock);
    return status;
}

ink_status ink_client_submit(ink_client *c, const ink_request *request, uint64_t *id,
                             ink_error *error) {
    if (c == NULL || request == NULL)
        return inki_fail(error, INK_E_ARG, "ink_client_submit", 0, "client or request is NULL");
    ink_service *s = c->service;
    if (inki_service_is_orphan(s)) return closed_error(error);
    inki_lock_take(&s->lock);
    ink_status status = check_open(s, error);
    ink_model *model = status == INK_OK ? ink_model_ref(s->model) : NULL;
    inki_lock_give(&s->lock);
    inki_request *r = NULL;
    if (status == INK_OK) status = inki_request_new(&r, c, request, error);
    // A bad chain is told at once, where the model is there to judge it.
    if (status == INK_OK && model != NULL)
        status = ink_sampler_new(&r->sampler, model, r->chain, &r->sampling, error);
    if (status == INK_OK) status = enqueue(r, id, error);
    if (status != INK_OK && r != NULL) inki_request_free(r);
    ink_model_unref(model);
    return status;
}

ink_status ink_client_cancel(ink_client *c, uint64_t id) {
    if (c == NULL) return INK_E_ARG;
    ink_service *s = c->service;
    if (inki_service_is_orphan(s)) return INK_E_CLOSED;
    inki_lock_take(&s->lock);
    ink_status status = id == 0 ? INK_OK : INK_E_NOT_FOUND;
    for (inki_request *r = c->first; r != NULL; r = r->next) {
        if ((id != 0 && r->id != id) || r->phase == INKI_OVER) continue;
        inki_request_interrupt(r, INK_STOP_CANCELLED);
        status = INK_OK;
    }
    if (s->state == INK_SERVICE_CLOSED) status = INK_E_CLOSED;
    inki_lock_notify(&s->lock);
    inki_lock_give(&s->lock);
    return status;
}

// --- its session ---------------------------------------------------------------------------------

ink_status inki_client_need_session(ink_client *c, bool fresh, ink_error *error) {
    ink_service *s = c->service;
    if (fresh && c->past != NULL) {
        inki_release(&s->mem, c->past, c->n_past, sizeof *c->past);
        c->past = NULL;
    }
    if (c->session != NULL) {
        inki_session_hold(c->session, NULL); // without, some rows are evaluated again
        return INK_OK;
    }
    ink_session_options o = c->session_options;
    if (o.prefix_cache == NULL) o.prefix_cache = s->prefix;
    const ink_status status = ink_session_new(&c->session, s->model, &o, error);
    if (status == INK_OK && c->past != NULL) c->session->n_forgotten = c->n_forgotten;
    return status;
}

// The past stays: a request may go on from it.
uint64_t inki_client_trim(ink_client *c, uint32_t level) {
    ink_session *session = c->session;
    if (session == NULL) return 0;
    uint64_t bytes = inki_session_unhold(session), heap = 0, kv = 0;
    if (level < INK_TRIM_CACHE) return bytes;
    const uint32_t n = session->n_past;
    if (c->past == NULL && n > 0) {
        c->past = inki_alloc(&c->service->mem, n, sizeof *c->past);
        if (c->past == NULL) return bytes;
        memcpy(c->past, session->tokens, n * sizeof *c->past);
        c->n_past = n;
        c->n_forgotten = session->n_forgotten;
        bytes -= n * sizeof *c->past;
    }
    ink_session_options o = session->options;
    o.n_held = 0;
    inki_session_bytes(&session->model->weights, &o, &heap, &kv, NULL);
    // Of the pages those that nobody else holds.
    heap -= session->kv.n_pages * (uint64_t)inki_kv_page_alloc_bytes(&session->kv.layout);
    heap += inki_kv_held_bytes(&session->kv, false);
    ink_session_free(session);
    c->session = NULL;
    return bytes + heap;
}
