// SPDX-License-Identifier: MIT
// The worker: opens the model, then does one small thing after the other, each time what is most
// urgent. Between any two of them it may turn to somebody else.
#include "service/service_parts.h"

#include <math.h>

// --- the pace ------------------------------------------------------------------------------------

// Evaluations may take `percent` of the time; what else is to do goes on. A pause is over when it
// is found to be: who waits for its end may rely on what was decided before.
static bool is_paused(ink_service *s) {
    if (s->pause_until > 0 && inki_os_now_ms() >= s->pause_until) s->pause_until = 0;
    return s->pause_until > 0;
}

void inki_service_pause(ink_service *s, double spent_ms) {
    const double percent = s->percent;
    s->pause_until = percent < 100 ? inki_os_now_ms() + spent_ms * (100 - percent) / percent : 0;
}

// --- requests ------------------------------------------------------------------------------------

// Works with the client's request, the lock not held; then it is known what becomes of it.
static void work_with(ink_service *s, inki_request *r, inki_phase (*work)(inki_request *)) {
    ink_client *c = r->client;
    c->held = true;
    inki_lock_give(&s->lock);
    const inki_phase phase = work(r);
    inki_lock_take(&s->lock);
    r->phase = phase;
    inki_client_let_go(c);
    if (phase == INKI_OVER) inki_service_retire(s, r);
}

static bool is_late(const inki_request *r, double now) {
    return r->generate.deadline_ms != 0 && now - r->submitted_ms >= r->generate.deadline_ms;
}

static inki_phase end_request(inki_request *r) {
    const ink_service *s = r->client->service;
    const unsigned why = atomic_load_explicit(&r->interrupt, memory_order_relaxed);
    if (s->reason.status != INK_OK) // written before any request could come here
        inki_request_fail(r, (ink_status)s->reason.status, &s->reason);
    else
        inki_request_stop(r, why != 0 ? why - 1 : INK_STOP_DEADLINE, false);
    return INKI_OVER;
}

// One request that shall not go on: cancelled, late, or without a model. Its place in the queue
// does not matter.
static bool end_one(ink_service *s) {
    const double now = inki_os_now_ms();
    for (inki_link *l = s->clients.next; l != &s->clients; l = l->next) {
        const ink_client *c = (ink_client *)l;
        for (inki_request *r = c->first; r != NULL && !c->leaving; r = r->next) {
            if (r->phase == INKI_OVER) continue;
            if (atomic_load(&r->interrupt) == 0 && !is_late(r, now) &&
                s->state != INK_SERVICE_FAILED)
                continue;
            work_with(s, r, end_request);
            return true;
        }
    }
    return false;
}

// What was evaluated becomes text before anything else is evaluated.
static bool speak_one(ink_service *s) {
    for (inki_link *l = s->clients.next; l != &s->clients; l = l->next) {
        const ink_client *c = (ink_client *)l;
        inki_request *r = inki_client_active(c);
        if (r == NULL || c->leaving || r->phase != INKI_EVALUATED) continue;
        work_with(s, r, inki_request_advance);
        return true;
    }
    return false;
}

static void evaluate_batch(ink_service *s, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        ink_client *c = s->batch[i]->client;
        c->held = true;
        c->session->n_threads = s->n_threads;
        inki_link_remove(&c->link);
        inki_link_add(&s->clients, &c->link); // the others come first next time
    }
    inki_lock_give(&s->lock);
    const double start_ms = inki_os_now_ms();
    inki_service_evaluate(s, n);
    const double spent_ms = inki_os_now_ms() - start_ms;
    inki_lock_take(&s->lock);
    inki_service_pause(s, spent_ms);
    for (uint32_t i = 0; i < n; i++) {
        s->batch[i]->phase = INKI_EVALUATED;
        inki_client_let_go(s->batch[i]->client);
    }
}

// The requests of one priority: begins one, or evaluates those whose turn it is.
static bool serve_priority(ink_service *s, uint32_t priority, bool paused) {
    uint32_t n = 0;
    for (inki_link *l = s->clients.next; l != &s->clients && n < s->o.n_batch; l = l->next) {
        const ink_client *c = (ink_client *)l;
        inki_request *r = inki_client_active(c);
        if (r == NULL || c->leaving || r->priority != priority) continue;
        if (r->phase == INKI_QUEUED) {
            work_with(s, r, inki_request_begin);
            return true;
        }
        s->batch[n++] = r;
    }
    if (n == 0 || paused) return false;
    evaluate_batch(s, n);
    return true;
}

// --- opening -------------------------------------------------------------------------------------

static int loading_progress(void *user, double fraction) {
    ink_service *s = user;
    inki_lock_take(&s->lock);
    // Who is cancelled or late already need not wait for the model.
    while (s->state == INK_SERVICE_LOADING && end_one(s)) {}
    const bool closed = s->state == INK_SERVICE_CLOSED;
    inki_lock_give(&s->lock);
    if (closed) return 1;
    const ink_model_options *theirs = &s->model_options;
    return theirs->progress != NULL ? theirs->progress(theirs->progress_user, fraction) : 0;
}

// The lock is held, but for the opening.
static void open_model(ink_service *s) {
    ink_model_options o = s->model_options;
    o.progress = loading_progress;
    o.progress_user = s;
    ink_model *model = NULL;
    ink_error reason = {.size = sizeof reason};
    inki_lock_give(&s->lock);
    ink_status status = ink_model_open(&model, s->runtime, &s->source, &o, &reason);
    ink_prefix_cache *prefix = NULL;
    if (status == INK_OK && s->o.prefix_cache_bytes > 0)
        status = ink_prefix_cache_new(&prefix, model, s->o.prefix_cache_bytes, &reason);
    if (status == INK_E_LIMIT && model != NULL) status = INK_OK; // too little for one page
    if (status != INK_OK) {
        ink_model_unref(model);
        model = NULL;
    }
    inki_lock_take(&s->lock);
    s->model = model;
    s->prefix = prefix;
    if (s->state == INK_SERVICE_CLOSED) return;
    s->state = status == INK_OK ? INK_SERVICE_READY : INK_SERVICE_FAILED;
    s->untold |= s->o.on_state != NULL ? 1u << s->state : 0;
    if (status != INK_OK) s->reason = reason;
    inki_lock_notify(&s->lock);
}

// --- the worker's life ---------------------------------------------------------------------------

static bool serve(ink_service *s) {
    if (speak_one(s) || end_one(s)) return true;
    const bool paused = is_paused(s);
    if (!paused && inki_service_step_typing(s)) return true;
    if (s->state != INK_SERVICE_READY) return false;
    for (uint32_t p = INK_PRIORITY_TYPING; p <= INK_PRIORITY_BACKGROUND; p++)
        if (serve_priority(s, p, paused)) return true;
    return false;
}

static double first_deadline(const ink_service *s) {
    double first = INFINITY;
    for (const inki_link *l = s->clients.next; l != &s->clients; l = l->next)
        for (const inki_request *r = ((const ink_client *)l)->first; r != NULL; r = r->next) {
            const double at = r->submitted_ms + r->generate.deadline_ms;
            if (r->phase != INKI_OVER && r->generate.deadline_ms != 0 && at < first) first = at;
        }
    return first;
}

static void rest(ink_service *s) {
    double until = -1;
    if (s->pause_until > 0) {
        const double deadline = first_deadline(s);
        until = deadline < s->pause_until ? deadline : s->pause_until;
    }
    s->resting = true;
    inki_lock_wait(&s->lock, until);
    s->resting = false;
}

void inki_service_main(void *arg) {
    ink_service *s = arg;
    inki_lock_take(&s->lock);
    atomic_store(&s->worker_self, inki_thread_self());
    open_model(s);
    inki_service_tell_states(s);
    while (s->state != INK_SERVICE_CLOSED) {
        fesetenv(FE_DFL_ENV); // a callback may have left another one
        if (!serve(s)) rest(s);
    }
    while (end_one(s)) {}
    inki_service_tell_states(s);
    atomic_store(&s->worker_self, 0);
    inki_lock_give(&s->lock);
}
