// SPDX-License-Identifier: MIT
// Typing sessions of a service: what they call back for, and who runs them.
#include "service/service_parts.h"

// --- what a session asks for ---------------------------------------------------------------------

static void typist_posted(void *arg, ink_typing *typing) {
    (void)typing;
    ink_service *s = ((inki_typist *)arg)->service;
    if (inki_service_is_orphan(s)) return;
    inki_lock_take(&s->lock);
    inki_lock_notify(&s->lock);
    inki_lock_give(&s->lock);
}

static void typist_grown(inki_typist *t, ink_typing *typing) {
    ink_service *s = t->service;
    if ((s->o.flags & INK_SERVICE_POLL) == 0) {
        inki_typing_tell(typing);
        return;
    }
    inki_lock_take(&s->lock);
    t->grown = true;
    inki_service_due(s);
    inki_lock_give(&s->lock);
}

static void release_typist(inki_typist *t) {
    ink_service *s = t->service;
    const inki_mem mem = s->mem;
    inki_link_remove(&t->link);
    inki_release(&mem, t, 1, sizeof *t);
}

static ink_status typist_released(void *arg, ink_typing *typing) {
    inki_typist *t = arg;
    ink_service *s = t->service;
    if (inki_service_is_orphan(s)) {
        // What the parent's worker had in its hands cannot be taken from it.
        if (!inki_service_was_idle(s)) return INK_E_REENTRANT;
        release_typist(t);
        inki_service_unref(s);
        return INK_OK;
    }
    inki_lock_take(&s->lock);
    const uintptr_t self = inki_thread_self();
    const bool mine = (s->stepping == t && atomic_load(&s->worker_self) == self) ||
                      (s->telling == t && s->poller == self);
    if (mine) {
        inki_lock_give(&s->lock);
        return INK_E_REENTRANT;
    }
    t->typing = NULL; // nobody takes it up again
    ink_typing_cancel(typing);
    while (s->stepping == t || s->telling == t) inki_lock_wait(&s->lock, -1);
    release_typist(t);
    s->n_members--;
    inki_lock_give(&s->lock);
    inki_service_unref(s);
    return INK_OK;
}

// --- running it ----------------------------------------------------------------------------------

bool inki_service_step_typing(ink_service *s) {
    inki_typist *t = NULL;
    for (inki_link *l = s->typists.next; l != &s->typists && t == NULL; l = l->next) {
        inki_typist *candidate = (inki_typist *)l;
        if (candidate->typing != NULL && inki_typing_has_work(candidate->typing)) t = candidate;
    }
    if (t == NULL) return false;
    ink_typing *typing = t->typing;
    inki_link_remove(&t->link);
    inki_link_add(&s->typists, &t->link); // the others come first next time
    s->stepping = t;
    const uint32_t n_threads = s->n_threads;
    inki_lock_give(&s->lock);
    const double start_ms = inki_os_now_ms();
    bool more = false;
    ink_error error = s->reason; // without a model this is all there is
    ink_status status = (ink_status)error.status;
    if (status == INK_OK) status = inki_typing_load(typing, s->model, &error);
    if (status == INK_OK)
        inki_typing_step(typing, n_threads, &more, NULL);
    else
        inki_typing_fail(typing, &error);
    const double spent_ms = inki_os_now_ms() - start_ms;
    typist_grown(t, typing);
    inki_lock_take(&s->lock);
    inki_service_pause(s, spent_ms);
    if (t->trim > 0 && !more) {
        inki_typing_trim(typing, t->trim);
        t->trim = 0;
    }
    s->stepping = NULL;
    inki_lock_notify(&s->lock);
    return true;
}

static inki_typist *next_grown(ink_service *s) {
    for (inki_link *l = s->typists.next; l != &s->typists; l = l->next) {
        inki_typist *t = (inki_typist *)l;
        if (t->typing == NULL || !t->grown || t->round == s->round) continue;
        t->round = s->round;
        t->grown = false;
        return t;
    }
    return NULL;
}

uint32_t inki_service_tell_typing(ink_service *s) {
    uint32_t n = 0;
    for (inki_typist *t; (t = next_grown(s)) != NULL;) {
        ink_typing *typing = t->typing;
        s->telling = t;
        inki_lock_give(&s->lock);
        n += inki_typing_tell(typing);
        inki_lock_take(&s->lock);
        s->telling = NULL;
        inki_lock_notify(&s->lock);
    }
    return n;
}

// --- making it -----------------------------------------------------------------------------------

static ink_status may_join(const ink_service *s, ink_error *error) {
    if (s->state == INK_SERVICE_CLOSED)
        return inki_fail(error, INK_E_CLOSED, NULL, 0, "the service is closed");
    if (s->state == INK_SERVICE_FAILED) {
        if (error != NULL) *error = s->reason;
        return (ink_status)s->reason.status;
    }
    if (s->n_members == s->o.n_clients)
        return inki_fail(error, INK_E_LIMIT, "n_clients", 0,
                         "%u clients and typing sessions are there already",
                         (unsigned)s->o.n_clients);
    return INK_OK;
}

// The lock is not held: a session is some memory to ask for, and to give back if the service was
// closed meanwhile.
static ink_status make_typing(inki_typist *t, ink_model *model, const ink_typing_options *options,
                              ink_error *error) {
    ink_service *s = t->service;
    const inki_typing_hooks hooks = {t, typist_posted, typist_released};
    ink_typing *typing = NULL;
    ink_status status = inki_typing_make(&typing, &s->mem, model, options, &hooks, error);
    if (status != INK_OK) return status;
    inki_lock_take(&s->lock);
    status = may_join(s, error);
    if (status == INK_OK) {
        t->typing = typing;
        s->n_members++;
        inki_link_add(&s->typists, &t->link);
        atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    }
    inki_lock_give(&s->lock);
    if (status != INK_OK) inki_typing_destroy(typing);
    return status;
}

ink_status ink_service_typing(ink_service *s, ink_typing **out, const ink_typing_options *options,
                              ink_error *error) {
    if (s == NULL || out == NULL)
        return inki_fail(error, INK_E_ARG, "ink_service_typing", 0, "service or out is NULL");
    if (inki_service_is_orphan(s))
        return inki_fail(error, INK_E_CLOSED, NULL, 0, "the service is closed");
    inki_lock_take(&s->lock);
    ink_status status = may_join(s, error);
    ink_model *model = status == INK_OK ? ink_model_ref(s->model) : NULL;
    inki_lock_give(&s->lock);
    if (status != INK_OK) return status;
    inki_typist *t = inki_alloc_zero(&s->mem, 1, sizeof *t);
    if (t != NULL) {
        t->service = s;
        status = make_typing(t, model, options, error);
        if (status == INK_OK)
            *out = t->typing;
        else
            inki_release(&s->mem, t, 1, sizeof *t);
    } else {
        status = inki_fail_nomem(error, sizeof *t);
    }
    ink_model_unref(model);
    return status;
}
