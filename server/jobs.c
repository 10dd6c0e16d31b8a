// SPDX-License-Identifier: MIT
// Slots and the queue before them. One lock a model; it may be held while the service is called,
// which takes a lock of its own, since the service calls back without that one. It is never held
// while on_done runs.
//
// Jobs wait here and not in the service: a request of the service belongs to a client, and so to a
// cache, from the beginning, while here the first cache that is free takes the first job.
#include "server/jobs.h"

#include "server/app.h"
#include "server/http.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum {
    KEY_BYTES = 32768, // how much of a text is remembered, to find its slot again
    N_LOGITS = 8,      // rows of an echoed prompt that are told in one pass
    N_PRIORITIES = 3
};

typedef struct srv_slot {
    srv_slots *slots;
    ink_client *client; // NULL: not used yet
    srv_job *job;       // NULL: free
    uint64_t used;      // when it became free, counted in jobs; 0: never used
    double waited_ms;   // its job, before it came here
    char *text;         // [KEY_BYTES] what its cache holds: the last prompt and what followed it.
    size_t bytes;       // While it runs the worker alone writes here
} srv_slot;

struct srv_slots {
    pthread_mutex_t lock;
    srv_model *model;
    srv_slot *slots; // [n]
    uint32_t n, n_running;
    uint32_t n_background; // of those that run
    uint32_t n_queue, n_waiting;
    uint64_t n_done, n_started;
    bool closed;
    srv_job *first[N_PRIORITIES], *last[N_PRIORITIES]; // that wait
    char *key;    // [KEY_BYTES] of the job that is about to get a slot
    char *memory; // of all texts and the key
};

// --- what a job is told --------------------------------------------------------------------------

// One that never ran. Called without the lock.
static void end_unstarted(srv_job *job, ink_status status, uint32_t stop, const ink_error *error) {
    const ink_error none = {.size = sizeof none};
    const ink_result result = {
        .size = sizeof result, .stop = stop, .queue_ms = srv_now_ms() - job->submitted_ms};
    job->on_done(job, status, &result, status == INK_OK ? &none : error);
}

static void end_chain(srv_job *job, uint32_t stop) {
    while (job != NULL) {
        srv_job *next = job->next;
        end_unstarted(job, INK_OK, stop, NULL);
        job = next;
    }
}

// --- the queue: the lock is held -----------------------------------------------------------------

static uint32_t priority_of(const srv_job *job) {
    const uint32_t p = job->request.priority;
    return p < N_PRIORITIES ? p : N_PRIORITIES - 1;
}

// Among those of its priority by its turn; of one turn, the last.
static void enqueue(srv_slots *s, srv_job *job) {
    const uint32_t p = priority_of(job);
    srv_job *before = s->last[p];
    if (before != NULL && before->turn > job->turn) {
        before = NULL;
        for (srv_job *j = s->first[p]; j->turn <= job->turn; j = j->next) before = j;
    }
    srv_job **place = before == NULL ? &s->first[p] : &before->next;
    job->next = *place;
    *place = job;
    if (job->next == NULL) s->last[p] = job;
    s->n_waiting++;
}

static void unlink_behind(srv_slots *s, uint32_t p, srv_job *before, srv_job *job) {
    *(before == NULL ? &s->first[p] : &before->next) = job->next;
    if (s->last[p] == job) s->last[p] = before;
    job->next = NULL;
    s->n_waiting--;
}

// One slot is kept for who cannot wait as long as background work may take.
static bool may_start(const srv_slots *s, uint32_t p) {
    return p < INK_PRIORITY_BACKGROUND || s->n == 1 || s->n_background + 1 < s->n;
}

static srv_job *take_first(srv_slots *s) {
    for (uint32_t p = 0; p < N_PRIORITIES; p++) {
        srv_job *job = s->first[p];
        if (job == NULL || !may_start(s, p)) continue;
        unlink_behind(s, p, NULL, job);
        return job;
    }
    return NULL;
}

// Those that `leaves` names leave the queue, as a chain in their order.
static srv_job *take_those(srv_slots *s, bool (*leaves)(const srv_job *, const void *),
                           const void *arg) {
    srv_job *chain = NULL, **end = &chain;
    for (uint32_t p = 0; p < N_PRIORITIES; p++) {
        srv_job *before = NULL;
        for (srv_job *job = s->first[p], *next; job != NULL; job = next) {
            next = job->next;
            if (!leaves(job, arg)) {
                before = job;
                continue;
            }
            unlink_behind(s, p, before, job);
            *end = job;
            end = &job->next;
        }
    }
    return chain;
}

static bool is_this(const srv_job *job, const void *arg) { return job == arg; }

static bool is_any(const srv_job *job, const void *arg) {
    (void)job;
    (void)arg;
    return true;
}

static uint32_t deadline_of(const srv_job *job) {
    return job->request.generate != NULL ? job->request.generate->deadline_ms : 0;
}

static bool is_late(const srv_job *job, const void *now_ms) {
    const double waited = *(const double *)now_ms - job->submitted_ms;
    return deadline_of(job) != 0 && waited >= deadline_of(job);
}

// --- which slot: the lock is held ----------------------------------------------------------------

// The prompt as text, ids too, as far as it is remembered; it only has to be the same for the same
// prompt.
static size_t write_key(const srv_slots *s, const srv_job *job) {
    const ink_generate_options *g = job->request.generate;
    const ink_model *model = ink_service_model(s->model->service);
    size_t used = 0, n = g != NULL ? g->n_prompt_tokens : 0;
    ink_status status = INK_E_SPACE;
    if (n > KEY_BYTES) n = KEY_BYTES;
    for (; n > 0 && status == INK_E_SPACE; n /= 2) {
        size_t bytes = 0;
        status = ink_detokenize(model, g->prompt_tokens, n, INK_DETOKENIZE_SPECIAL, s->key,
                                KEY_BYTES, &bytes);
        if (status == INK_OK) used = bytes;
    }
    const size_t room = KEY_BYTES - used;
    const size_t more = job->request.bytes < room ? job->request.bytes : room;
    if (more > 0) memcpy(s->key + used, job->request.text, more);
    return used + more;
}

static size_t common_prefix(const char *a, size_t a_bytes, const char *b, size_t b_bytes) {
    size_t n = 0;
    while (n < a_bytes && n < b_bytes && a[n] == b[n]) n++;
    return n;
}

// The slot that holds most of the key. Where that is little both of the key and of what would be
// lost, the one that nobody has come back to for longest.
static srv_slot *choose_slot(const srv_slots *s, size_t key_bytes) {
    srv_slot *best = NULL, *oldest = NULL;
    size_t best_prefix = 0;
    for (uint32_t i = 0; i < s->n; i++) {
        srv_slot *slot = &s->slots[i];
        if (slot->job != NULL) continue;
        if (oldest == NULL || slot->used < oldest->used) oldest = slot;
        const size_t prefix = common_prefix(s->key, key_bytes, slot->text, slot->bytes);
        if (best != NULL && prefix < best_prefix) continue;
        if (best != NULL && prefix == best_prefix && slot->used >= best->used) continue;
        best = slot;
        best_prefix = prefix;
    }
    if (best == NULL) return NULL;
    const size_t least = key_bytes < best->bytes ? key_bytes : best->bytes;
    return best_prefix > 0 && best_prefix >= least - best_prefix ? best : oldest;
}

// --- running -------------------------------------------------------------------------------------

static void fill_slots(srv_slots *s);

static int slot_text(void *user, uint64_t id, const ink_piece *piece) {
    srv_slot *slot = user;
    srv_job *job = slot->job;
    (void)id;
    const size_t room = KEY_BYTES - slot->bytes;
    if (piece->n_tokens > 0 && room > 0) { // the echoed prompt is there already
        const size_t bytes = piece->bytes < room ? piece->bytes : room;
        memcpy(slot->text + slot->bytes, piece->text, bytes);
        slot->bytes += bytes;
    }
    return job->on_text != NULL ? job->on_text(job, piece) : 0;
}

static void slot_done(void *user, uint64_t id, ink_status status, const ink_result *result,
                      const ink_error *error) {
    srv_slot *slot = user;
    srv_slots *s = slot->slots;
    ink_result whole = *result; // the wait in both queues
    (void)id;
    pthread_mutex_lock(&s->lock);
    srv_job *job = slot->job;
    const double waited_ms = slot->waited_ms;
    // The cache of a text that lost a part begins somewhere inside of it.
    if (status != INK_OK || result->n_dropped > 0) slot->bytes = 0;
    slot->used = ++s->n_done;
    slot->job = NULL;
    job->slot = NULL;
    s->n_running--;
    s->n_background -= priority_of(job) == INK_PRIORITY_BACKGROUND;
    fill_slots(s);
    pthread_mutex_unlock(&s->lock);
    whole.queue_ms += waited_ms;
    if (whole.first_token_ms > 0) whole.first_token_ms += waited_ms;
    srv_metrics_result(&s->model->app->metrics, &whole, whole.queue_ms);
    job->on_done(job, status, &whole, error);
}

// A client is made when its slot is used first: only then is it known what the model holds.
static ink_status need_client(srv_slot *slot, ink_error *error) {
    if (slot->client != NULL) return INK_OK;
    const srv_model *model = slot->slots->model;
    ink_session_options so;
    ink_client_options co;
    ink_session_options_init(&so, sizeof so);
    ink_client_options_init(&co, sizeof co);
    so.n_ctx = srv_model_n_ctx(model);
    so.kv_type = model->app->options.kv_type;
    so.n_logits = so.n_ctx < N_LOGITS ? so.n_ctx : N_LOGITS;
    co.session = &so;
    co.on_text = slot_text;
    co.on_done = slot_done;
    co.user = slot;
    return ink_client_new(&slot->client, model->service, &co, error);
}

// Gives the job a slot, of which one is free. The lock is held, and stays so: when the service
// calls back, what is written here is complete.
static ink_status start_job(srv_slots *s, srv_job *job, ink_error *error) {
    const size_t key_bytes = write_key(s, job);
    srv_slot *slot = choose_slot(s, key_bytes);
    ink_status status = need_client(slot, error);
    if (status != INK_OK) return status;
    ink_generate_options generate;
    ink_generate_options_init(&generate, sizeof generate);
    if (job->request.generate != NULL) generate = *job->request.generate;
    generate.flags |= INK_GENERATE_FRESH;
    slot->waited_ms = srv_now_ms() - job->submitted_ms;
    if (generate.deadline_ms != 0) {
        const double left = generate.deadline_ms - slot->waited_ms;
        generate.deadline_ms = left > 1 ? (uint32_t)left : 1;
    }
    ink_request request = job->request;
    request.generate = &generate;
    // Should the service refuse it, the slot is as it was.
    char *const text = slot->text;
    const size_t bytes = slot->bytes;
    slot->text = s->key;
    slot->bytes = key_bytes;
    slot->job = job;
    job->slot = slot;
    status = ink_client_submit(slot->client, &request, &job->id, error);
    if (status == INK_OK) {
        s->key = text;
        s->n_running++;
        s->n_started++;
        s->n_background += priority_of(job) == INK_PRIORITY_BACKGROUND;
        return INK_OK;
    }
    slot->text = text;
    slot->bytes = bytes;
    slot->job = NULL;
    job->slot = NULL;
    return status;
}

// The first that wait, as far as there are slots. The lock is held, but for what ends at once.
static void fill_slots(srv_slots *s) {
    while (!s->closed && s->n_running < s->n) {
        srv_job *job = take_first(s);
        if (job == NULL) return;
        ink_error error = {.size = sizeof error};
        const double now = srv_now_ms();
        const bool late = is_late(job, &now);
        const ink_status status = late ? INK_OK : start_job(s, job, &error);
        if (status == INK_OK && !late) continue;
        pthread_mutex_unlock(&s->lock);
        end_unstarted(job, status, late ? INK_STOP_DEADLINE : INK_STOP_CANCELLED, &error);
        pthread_mutex_lock(&s->lock);
    }
}

// --- coming and going ----------------------------------------------------------------------------

static bool refuse_full(const srv_slots *s, srv_failure *why) {
    ink_error error = {.size = sizeof error, .status = INK_E_FULL};
    snprintf(error.message, sizeof error.message,
             "the queue of the model \"%.100s\" is full: %u requests wait", s->model->id,
             (unsigned)s->n_waiting);
    srv_fail_status(why, INK_E_FULL, &error);
    if (why->retry_after_s == 0) why->retry_after_s = 1;
    return false;
}

// The lock is held. Where nobody waits the first one is tried here: what the service refuses of it
// is then known before anything else was done.
static bool take_jobs(srv_slots *s, srv_job **jobs, size_t n, srv_job **cancelled,
                      srv_failure *why) {
    const uint32_t n_free = s->n - s->n_running;
    const size_t n_room = n_free + (s->n_queue > s->n_waiting ? s->n_queue - s->n_waiting : 0);
    if (s->closed) return srv_fail_stopping(why);
    if (n > n_room && !jobs[0]->goes_on) return refuse_full(s, why);
    const double now = srv_now_ms();
    // Who asks for much at once has a turn a round of the slots: others come in between.
    const uint64_t turn = s->n_started;
    for (size_t i = 0; i < n; i++) {
        srv_job *job = jobs[i];
        job->submitted_ms = now;
        job->turn = turn + i * s->n;
        job->slot = NULL;
        job->next = NULL;
        if (job->cancelled) {
            *cancelled = job;
            cancelled = &job->next;
        } else if (i == 0 && s->n_waiting == 0 && n_free > 0 && may_start(s, priority_of(job))) {
            ink_error error = {.size = sizeof error};
            const ink_status status = start_job(s, job, &error);
            if (status != INK_OK) return srv_fail_status(why, status, &error);
        } else {
            enqueue(s, job);
        }
    }
    fill_slots(s);
    return true;
}

bool srv_jobs_submit(srv_job **jobs, size_t n, srv_failure *why) {
    if (n == 0) return true;
    srv_model *model = jobs[0]->model;
    if (srv_model_open(model, why) == NULL) return false;
    if (atomic_load(&model->app->draining) && !jobs[0]->goes_on) return srv_fail_stopping(why);
    srv_slots *s = model->slots;
    srv_job *cancelled = NULL;
    pthread_mutex_lock(&s->lock);
    const bool taken = take_jobs(s, jobs, n, &cancelled, why);
    pthread_mutex_unlock(&s->lock);
    if (taken) end_chain(cancelled, INK_STOP_CANCELLED);
    return taken;
}

void srv_job_cancel(srv_job *job) {
    srv_slots *s = job->model->slots;
    srv_job *waiting = NULL;
    pthread_mutex_lock(&s->lock);
    job->cancelled = true;
    if (job->slot != NULL)
        ink_client_cancel(job->slot->client, job->id); // done meanwhile: its on_done is on its way
    else
        waiting = take_those(s, is_this, job);
    pthread_mutex_unlock(&s->lock);
    end_chain(waiting, INK_STOP_CANCELLED);
}

void srv_jobs_tick(srv_app *app) {
    for (size_t i = 0; i < app->n_models; i++) {
        srv_slots *s = app->models[i].slots;
        const double now = srv_now_ms();
        pthread_mutex_lock(&s->lock);
        srv_job *late = take_those(s, is_late, &now);
        pthread_mutex_unlock(&s->lock);
        end_chain(late, INK_STOP_DEADLINE);
    }
}

// --- the slots -----------------------------------------------------------------------------------

ink_status srv_slots_new(srv_slots **out, srv_model *model, uint32_t n, uint32_t n_queue,
                         ink_error *error) {
    srv_slots *s = calloc(1, sizeof *s);
    srv_slot *slots = calloc(n, sizeof *slots);
    char *memory = malloc(((size_t)n + 1) * KEY_BYTES);
    if (s == NULL || slots == NULL || memory == NULL || pthread_mutex_init(&s->lock, NULL) != 0) {
        free(memory);
        free(slots);
        free(s);
        *error = (ink_error){.size = sizeof *error, .status = INK_E_NOMEM};
        snprintf(error->message, sizeof error->message, "no memory for %u slots", (unsigned)n);
        return INK_E_NOMEM;
    }
    s->model = model;
    s->slots = slots;
    s->n = n;
    s->n_queue = n_queue;
    s->memory = s->key = memory;
    for (uint32_t i = 0; i < n; i++)
        slots[i] = (srv_slot){.slots = s, .text = memory + ((size_t)i + 1) * KEY_BYTES};
    *out = s;
    return INK_OK;
}

void srv_slots_close(srv_slots *s) {
    if (s == NULL) return;
    pthread_mutex_lock(&s->lock);
    s->closed = true;
    srv_job *waiting = take_those(s, is_any, NULL);
    pthread_mutex_unlock(&s->lock);
    end_chain(waiting, INK_STOP_CANCELLED);
}

void srv_slots_free(srv_slots *s) {
    if (s == NULL) return;
    for (uint32_t i = 0; i < s->n; i++) ink_client_free(s->slots[i].client);
    pthread_mutex_destroy(&s->lock);
    free(s->memory);
    free(s->slots);
    free(s);
}

uint32_t srv_slots_n_running(const srv_slots *slots) {
    srv_slots *s = (srv_slots *)(uintptr_t)slots; // for its lock
    pthread_mutex_lock(&s->lock);
    const uint32_t n = s->n_running;
    pthread_mutex_unlock(&s->lock);
    return n;
}

uint32_t srv_slots_n_waiting(const srv_slots *slots) {
    srv_slots *s = (srv_slots *)(uintptr_t)slots;
    pthread_mutex_lock(&s->lock);
    const uint32_t n = s->n_waiting;
    pthread_mutex_unlock(&s->lock);
    return n;
}
