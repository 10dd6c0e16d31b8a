// SPDX-License-Identifier: MIT
// The server's models and jobs without HTTP, and jobs that write down what they hear. Included by
// one test program each.
#ifndef TESTS_JOB_SCENE_H
#define TESTS_JOB_SCENE_H

#include "server/app.h"
#include "server/http.h"
#include "server/jobs.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static pthread_mutex_t scene_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t scene_changed = PTHREAD_COND_INITIALIZER;
static bool gate_open;
static char journal[4096]; // the letter of each job that is done, in order
static atomic_int scene_wrong;

static inline void scene_expect(int holds, int line) {
    if (holds) return;
    print_error("line %d does not hold\n", line);
    atomic_fetch_add(&scene_wrong, 1);
}
#define EXPECT(holds) scene_expect((holds) != 0, __LINE__)

static inline void gate_set(bool open) {
    pthread_mutex_lock(&scene_lock);
    gate_open = open;
    pthread_cond_broadcast(&scene_changed);
    pthread_mutex_unlock(&scene_lock);
}

// --- the models ----------------------------------------------------------------------------------

static inline srv_app *scene_app(uint32_t n_parallel, uint32_t n_queue) {
    srv_app *app = calloc(1, sizeof *app);
    assert_non_null(app);
    app->options.n_parallel = n_parallel;
    app->options.n_queue = n_queue;
    app->options.n_typing = 1;
    app->options.n_threads = 1;
    app->options.n_ctx = 256;
    return app;
}

// The built-in model alone, open; the gate is shut.
static inline srv_app *scene_begin(uint32_t n_parallel, uint32_t n_queue) {
    srv_app *app = scene_app(n_parallel, n_queue);
    ink_error error = {0};
    gate_set(false);
    journal[0] = 0;
    if (srv_models_start(app, &error) != INK_OK) fail_msg("%s", error.message);
    assert_int_equal(app->n_models, 1);
    assert_int_equal(ink_service_wait(app->models[0].service, UINT32_MAX, &error), INK_OK);
    return app;
}

static inline void scene_end(srv_app *app) {
    gate_set(true);
    srv_models_close(app);
    srv_models_free(app);
    free(app);
    assert_int_equal(atomic_exchange(&scene_wrong, 0), 0);
}

static inline struct srv_slots *slots_of(const srv_app *app) { return app->models[0].slots; }

// --- jobs ----------------------------------------------------------------------------------------

typedef struct watched {
    srv_job job; // the first field
    char letter; // in the journal; 0: none
    bool held;   // waits for the gate at each piece
    void (*at_done)(struct watched *);
    ink_generate_options generate;
    // Behind scene_lock.
    char text[4096];
    size_t bytes, n_pieces;
    uint32_t n_done;
    ink_status status;
    ink_result result;
    ink_error error;
    pthread_t done_on;
} watched;

static inline int watched_text(srv_job *job, const ink_piece *piece) {
    watched *w = (watched *)job;
    pthread_mutex_lock(&scene_lock);
    EXPECT(w->n_done == 0 && w->bytes + piece->bytes < sizeof w->text);
    memcpy(w->text + w->bytes, piece->text, piece->bytes + 1);
    w->bytes += piece->bytes;
    w->n_pieces++;
    pthread_cond_broadcast(&scene_changed);
    while (w->held && !gate_open) pthread_cond_wait(&scene_changed, &scene_lock);
    pthread_mutex_unlock(&scene_lock);
    return 0;
}

static inline void watched_done(srv_job *job, ink_status status, const ink_result *result,
                                const ink_error *error) {
    watched *w = (watched *)job;
    EXPECT(result->size == sizeof *result && error->status == (int32_t)status);
    EXPECT(result->queue_ms >= 0);
    // No lock is held: this takes it.
    EXPECT(srv_slots_n_running(job->model->slots) <= job->model->app->options.n_parallel);
    if (w->at_done != NULL) w->at_done(w);
    pthread_mutex_lock(&scene_lock);
    w->status = status;
    w->result = *result;
    w->error = *error;
    w->done_on = pthread_self();
    w->n_done++;
    const size_t n = strlen(journal);
    if (w->letter != 0 && n + 1 < sizeof journal) {
        journal[n] = w->letter;
        journal[n + 1] = 0;
    }
    pthread_cond_broadcast(&scene_changed);
    pthread_mutex_unlock(&scene_lock);
}

// Greedy, without the end token.
static inline void watched_init(watched *w, srv_app *app, char letter, const char *prompt,
                                uint32_t n_tokens) {
    memset(w, 0, sizeof *w);
    w->letter = letter;
    ink_generate_options_init(&w->generate, sizeof w->generate);
    w->generate.n_tokens = n_tokens;
    w->generate.flags = INK_GENERATE_NO_END;
    w->job.model = &app->models[0];
    w->job.on_text = watched_text;
    w->job.on_done = watched_done;
    ink_request_init(&w->job.request, sizeof w->job.request);
    w->job.request.text = prompt;
    w->job.request.bytes = strlen(prompt);
    w->job.request.generate = &w->generate;
    w->job.request.chain = "greedy";
}

static inline bool watched_submit(watched *w, srv_failure *why) {
    srv_job *job = &w->job;
    return srv_jobs_submit(&job, 1, why);
}

static inline void watched_start(watched *w) {
    srv_failure why = {0};
    if (!watched_submit(w, &why)) fail_msg("%s", why.message);
}

static inline uint32_t watched_n_done(watched *w) {
    pthread_mutex_lock(&scene_lock);
    const uint32_t n = w->n_done;
    pthread_mutex_unlock(&scene_lock);
    return n;
}

static inline void watched_wait(watched *w) {
    pthread_mutex_lock(&scene_lock);
    while (w->n_done == 0) pthread_cond_wait(&scene_changed, &scene_lock);
    pthread_mutex_unlock(&scene_lock);
}

static inline void watched_wait_piece(watched *w) {
    pthread_mutex_lock(&scene_lock);
    while (w->n_pieces == 0) pthread_cond_wait(&scene_changed, &scene_lock);
    pthread_mutex_unlock(&scene_lock);
}

// One that has its slot and stays there until the gate opens.
static inline void watched_hold(watched *w, srv_app *app, char letter, const char *prompt) {
    watched_init(w, app, letter, prompt, 4);
    w->held = true;
    watched_start(w);
    watched_wait_piece(w);
}

static inline void watched_run(watched *w, srv_app *app, const char *prompt, uint32_t n_tokens) {
    watched_init(w, app, 0, prompt, n_tokens);
    watched_start(w);
    watched_wait(w);
    assert_int_equal(w->status, INK_OK);
    assert_int_equal(w->n_done, 1);
}

// --- the same by the engine alone ----------------------------------------------------------------

typedef struct spoken {
    char text[4096];
    size_t bytes;
} spoken;

static inline int speak(void *user, const ink_piece *piece) {
    spoken *s = user;
    memcpy(s->text + s->bytes, piece->text, piece->bytes + 1);
    s->bytes += piece->bytes;
    return 0;
}

static inline void engine_says(const srv_app *app, const watched *w, spoken *out) {
    ink_model *model = ink_service_model(app->models[0].service);
    ink_session *session = NULL;
    ink_sampler *sampler = NULL;
    ink_session_options so;
    ink_session_options_init(&so, sizeof so);
    so.n_ctx = 256;
    assert_int_equal(ink_session_new(&session, model, &so, NULL), INK_OK);
    assert_int_equal(ink_sampler_new(&sampler, model, "greedy", NULL, NULL), INK_OK);
    ink_generate_options g = w->generate;
    g.sampler = sampler;
    g.deadline_ms = 0;
    *out = (spoken){0};
    assert_int_equal(ink_session_generate(session, w->job.request.text, w->job.request.bytes, &g,
                                          speak, out, NULL, NULL),
                     INK_OK);
    ink_session_free(session);
    ink_sampler_free(sampler);
}

#endif
