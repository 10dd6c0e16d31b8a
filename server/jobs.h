// SPDX-License-Identifier: MIT
// Continuations: each needs a slot (a client of the model's service, with a cache of its own) and
// waits in a bounded queue while none is free. The slot whose cache begins most like the prompt is
// taken, so that a conversation finds its own again.
#ifndef SERVER_JOBS_H
#define SERVER_JOBS_H

#include "server/models.h"

typedef struct srv_slots srv_slots;

// One continuation. The caller's memory, zeroed before it is filled, which must last, with all that
// `request` points to, until on_done has been called; it may be submitted again then.
typedef struct srv_job {
    srv_model *model;
    ink_request request; // INK_GENERATE_FRESH is added to its flags
    // On the worker of the model's service; nonzero stops. NULL: none.
    int (*on_text)(struct srv_job *job, const ink_piece *piece);
    // Once for every job that was submitted: on the worker, or on the thread that cancels, submits
    // or keeps house, when the job never got a slot. No lock is held; other jobs, and this one, may
    // be submitted and cancelled in there. The job is not touched behind it.
    void (*on_done)(struct srv_job *job, ink_status status, const ink_result *result,
                    const ink_error *error);
    // Submitted in on_done, in the place of the one that is done: goes in over the queue's bound.
    bool goes_on;
    // Of jobs.c.
    struct srv_job *next;
    struct srv_slot *slot; // NULL: it waits
    uint64_t id;           // of the service's request
    double submitted_ms;
    uint64_t turn; // lower ones of a priority go first
    bool cancelled;
} srv_job;

ink_status srv_slots_new(srv_slots **out, srv_model *model, uint32_t n, uint32_t n_queue,
                         ink_error *error);
void srv_slots_close(srv_slots *slots); // ends what waits; nothing is taken any more
void srv_slots_free(srv_slots *slots);  // behind ink_service_close; NULL is allowed

// All of them or none, as one request's prompts and choices, of one model: side by side where there
// are slots. True: on_done is called for each of them (before the return, maybe). False: nothing
// was submitted, and no on_done is called: 429 with Retry-After (the queue is full), 503 (draining,
// the model is not open), or what the engine refused of the first one.
bool srv_jobs_submit(srv_job **jobs, size_t n, srv_failure *why);
// Ends it soon; on_done tells its result so far, and is called in here for one that waits. Before
// the submission: it will end at once. Behind on_done, as long as its memory is there: nothing, but
// for a job that is submitted again.
void srv_job_cancel(srv_job *job);

uint32_t srv_slots_n_running(const srv_slots *slots);
uint32_t srv_slots_n_waiting(const srv_slots *slots);

#endif
