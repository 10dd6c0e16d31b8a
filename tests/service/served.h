// SPDX-License-Identifier: MIT
// A service over a tiny model, and clients whose callbacks write down what they hear. Included by
// one test program each.
#ifndef TESTS_SERVED_H
#define TESTS_SERVED_H

#include "opened.h"
#include "os/os.h"
#include "service/service_parts.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

// --- what may be looked at by all threads --------------------------------------------------------

static pthread_mutex_t scene_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t scene_changed = PTHREAD_COND_INITIALIZER;
static char journal[65536]; // a letter for each event, see watcher
static size_t n_journal;
static bool gate_open; // loading waits for it, and who calls wait_for_gate

static inline void scene_notify(void) { pthread_cond_broadcast(&scene_changed); }

static inline void journal_add(char letter) {
    pthread_mutex_lock(&scene_lock);
    if (n_journal + 1 < sizeof journal) journal[n_journal++] = letter;
    journal[n_journal] = 0;
    scene_notify();
    pthread_mutex_unlock(&scene_lock);
}

static inline void journal_clear(void) {
    pthread_mutex_lock(&scene_lock);
    n_journal = 0;
    journal[0] = 0;
    pthread_mutex_unlock(&scene_lock);
}

static inline void journal_wait_for(char letter) {
    pthread_mutex_lock(&scene_lock);
    while (strchr(journal, letter) == NULL) pthread_cond_wait(&scene_changed, &scene_lock);
    pthread_mutex_unlock(&scene_lock);
}

static inline void gate_set(bool open) {
    pthread_mutex_lock(&scene_lock);
    gate_open = open;
    scene_notify();
    pthread_mutex_unlock(&scene_lock);
}

static inline void wait_for_gate(void) {
    pthread_mutex_lock(&scene_lock);
    while (!gate_open) pthread_cond_wait(&scene_changed, &scene_lock);
    pthread_mutex_unlock(&scene_lock);
}

// cmocka's assertions belong to its own thread: the others count.
static atomic_int scene_wrong;
static inline void scene_expect(int holds, int line) {
    if (holds) return;
    print_error("line %d does not hold\n", line);
    atomic_fetch_add(&scene_wrong, 1);
}
#define EXPECT(holds) scene_expect((holds) != 0, __LINE__)

// --- the service ---------------------------------------------------------------------------------

typedef struct served {
    uint8_t *bytes;
    size_t n_bytes;
    heap memory;
    ink_service *service;
} served;

static inline int wait_in_loading(void *user, double fraction) {
    (void)user;
    (void)fraction;
    wait_for_gate();
    return 0;
}

static inline ink_status served_try(served *s, ink_service_options *options, uint32_t n_threads,
                                    ink_error *error) {
    const ink_allocator allocator = heap_allocator(&s->memory);
    const ink_source source = {.size = sizeof source,
                               .kind = INK_SOURCE_MEMORY,
                               .name = "tiny",
                               .fd = -1,
                               .data = s->bytes,
                               .bytes = s->n_bytes};
    ink_runtime_options ro;
    ink_model_options mo;
    ink_runtime_options_init(&ro, sizeof ro);
    ro.n_threads = n_threads;
    ro.flags = INK_RUNTIME_OVERSUBSCRIBE;
    ro.allocator = &allocator;
    ink_model_options_init(&mo, sizeof mo);
    mo.progress = wait_in_loading;
    options->source = &source;
    options->runtime = &ro;
    options->model = &mo;
    return ink_service_new(&s->service, options, error);
}

static inline ink_service_options served_options(void) {
    ink_service_options o;
    ink_service_options_init(&o, sizeof o);
    return o;
}

// The gate is shut: requests wait until served_go.
static inline void served_begin(served *s, const tiny_model *tiny, ink_service_options o) {
    ink_error error = {0};
    *s = (served){0};
    s->bytes = tiny_model_bytes(tiny, &s->n_bytes);
    assert_non_null(s->bytes);
    journal_clear();
    gate_set(false);
    if (served_try(s, &o, 1, &error) != INK_OK) fail_msg("%s", error.message);
}

static inline void served_go(const served *s) {
    ink_error error = {0};
    gate_set(true);
    if (ink_service_wait(s->service, UINT32_MAX, &error) != INK_OK) fail_msg("%s", error.message);
}

// The worker has done everything and rests: it gives memory back behind a callback too.
static inline void served_settle(const served *s) {
    for (bool rests = false; !rests;) {
        sched_yield();
        inki_lock_take(&s->service->lock);
        rests = s->service->resting;
        inki_lock_give(&s->service->lock);
    }
}

// Nothing may be left of it.
static inline void served_end(served *s) {
    gate_set(true);
    assert_int_equal(ink_service_free(s->service), INK_OK);
    assert_int_equal(s->memory.live_blocks, 0);
    assert_int_equal(s->memory.wrong_releases, 0);
    assert_int_equal(atomic_exchange(&scene_wrong, 0), 0);
    free(s->bytes);
    *s = (served){0};
}

// --- clients -------------------------------------------------------------------------------------

typedef struct watcher {
    char letter; // in the journal, small for a piece, capital for the end of a request; 0: none
    ink_client *client;
    ink_service *service;
    void (*at_piece)(struct watcher *, uint64_t id);
    void (*at_done)(struct watcher *, uint64_t id);
    size_t stop_after; // pieces; 0: never
    // Since the last submission; behind scene_lock, but for who waited for n_done.
    char text[8192];
    size_t bytes, n_pieces;
    uint32_t n_done; // in all
    uint64_t id;
    ink_status status;
    ink_result result;
    ink_error error;
} watcher;

static inline int watch_text(void *user, uint64_t id, const ink_piece *piece) {
    watcher *w = user;
    EXPECT(piece->size == sizeof *piece && piece->bytes > 0 && piece->text[piece->bytes] == 0);
    pthread_mutex_lock(&scene_lock);
    EXPECT(w->bytes + piece->bytes < sizeof w->text);
    memcpy(w->text + w->bytes, piece->text, piece->bytes + 1);
    w->bytes += piece->bytes;
    const size_t n = ++w->n_pieces;
    scene_notify();
    pthread_mutex_unlock(&scene_lock);
    if (w->letter != 0) journal_add(w->letter);
    if (w->at_piece != NULL) w->at_piece(w, id);
    return w->stop_after != 0 && n >= w->stop_after;
}

static inline void watch_done(void *user, uint64_t id, ink_status status, const ink_result *result,
                              const ink_error *error) {
    watcher *w = user;
    EXPECT(result->size == sizeof *result && error->status == (int32_t)status);
    pthread_mutex_lock(&scene_lock);
    w->id = id;
    w->status = status;
    w->result = *result;
    w->error = *error;
    pthread_mutex_unlock(&scene_lock);
    if (w->letter != 0) journal_add((char)(w->letter - 'a' + 'A'));
    if (w->at_done != NULL) w->at_done(w, id);
    pthread_mutex_lock(&scene_lock);
    w->n_done++;
    scene_notify();
    pthread_mutex_unlock(&scene_lock);
}

static inline ink_status watcher_try(watcher *w, ink_service *service, uint32_t n_ctx,
                                     ink_error *error) {
    ink_session_options so;
    ink_client_options co;
    ink_session_options_init(&so, sizeof so);
    so.n_ctx = n_ctx;
    ink_client_options_init(&co, sizeof co);
    co.session = &so;
    co.on_text = watch_text;
    co.on_done = watch_done;
    co.user = w;
    w->service = service;
    return ink_client_new(&w->client, service, &co, error);
}

static inline void watcher_begin(watcher *w, const served *s, char letter) {
    ink_error error = {0};
    *w = (watcher){.letter = letter};
    if (watcher_try(w, s->service, 0, &error) != INK_OK) fail_msg("%s", error.message);
}

static inline void watcher_wait(watcher *w, uint32_t n_done) {
    pthread_mutex_lock(&scene_lock);
    while (w->n_done < n_done) pthread_cond_wait(&scene_changed, &scene_lock);
    pthread_mutex_unlock(&scene_lock);
}

static inline void watcher_wait_pieces(watcher *w, size_t n) {
    pthread_mutex_lock(&scene_lock);
    while (w->n_pieces < n && w->n_done == 0) pthread_cond_wait(&scene_changed, &scene_lock);
    pthread_mutex_unlock(&scene_lock);
}

// --- requests ------------------------------------------------------------------------------------

// What is asked for, of a service or of a session: the two must answer alike.
typedef struct ask {
    const char *text;
    uint32_t priority;
    uint64_t seed;
    uint32_t flags; // INK_GENERATE_*
    uint32_t n_tokens;
    uint32_t deadline_ms;
    const char *chain; // NULL: draws from all tokens
    const char *stop;  // NULL: none
} ask;

static inline ink_generate_options ask_generate(const ask *a, const char *const *stop) {
    ink_generate_options g;
    ink_generate_options_init(&g, sizeof g);
    g.flags = a->flags;
    g.n_tokens = a->n_tokens;
    g.deadline_ms = a->deadline_ms;
    g.stop = a->stop != NULL ? stop : NULL;
    g.n_stop = a->stop != NULL;
    return g;
}

static inline ink_sampler_options ask_sampling(const ask *a) {
    ink_sampler_options so;
    ink_sampler_options_init(&so, sizeof so);
    so.seed_set = 1;
    so.seed = a->seed;
    return so;
}

static inline ink_status watcher_submit(watcher *w, const ask *a, uint64_t *id, ink_error *error) {
    const char *const stop[] = {a->stop};
    const ink_generate_options g = ask_generate(a, stop);
    const ink_sampler_options so = ask_sampling(a);
    ink_request r;
    ink_request_init(&r, sizeof r);
    r.priority = a->priority;
    r.text = a->text;
    r.bytes = strlen(a->text);
    r.generate = &g;
    r.chain = a->chain != NULL ? a->chain : "temp=1";
    r.sampler = &so;
    return ink_client_submit(w->client, &r, id, error);
}

static inline uint64_t watcher_ask(watcher *w, const ask *a) {
    uint64_t id = 0;
    ink_error error = {0};
    pthread_mutex_lock(&scene_lock);
    w->bytes = w->n_pieces = 0;
    pthread_mutex_unlock(&scene_lock);
    if (watcher_submit(w, a, &id, &error) != INK_OK) fail_msg("%s", error.message);
    return id;
}

// The same of a session of one's own.
static inline void session_ask(ink_session *session, const ink_model *model, const ask *a,
                               collected *out, ink_result *result) {
    const char *const stop[] = {a->stop};
    const ink_sampler_options so = ask_sampling(a);
    ink_generate_options g = ask_generate(a, stop);
    ink_sampler *sampler = NULL;
    ink_error error = {0};
    g.deadline_ms = 0;
    *out = (collected){0};
    assert_int_equal(
        ink_sampler_new(&sampler, model, a->chain != NULL ? a->chain : "temp=1", &so, &error),
        INK_OK);
    g.sampler = sampler;
    if (ink_session_generate(session, a->text, strlen(a->text), &g, collect, out, result, &error) !=
        INK_OK)
        fail_msg("%s", error.message);
    ink_sampler_free(sampler);
}

static inline void assert_same(watcher *w, const collected *expected, const ink_result *result) {
    pthread_mutex_lock(&scene_lock);
    const bool same = w->bytes == expected->bytes &&
                      memcmp(w->text, expected->text, w->bytes) == 0 &&
                      w->n_pieces == expected->n_pieces;
    pthread_mutex_unlock(&scene_lock);
    assert_true(same);
    assert_int_equal(w->status, INK_OK);
    assert_int_equal(w->result.stop, result->stop);
    assert_int_equal(w->result.n_prompt, result->n_prompt);
    assert_int_equal(w->result.n_generated, result->n_generated);
    assert_int_equal(w->result.seed, result->seed);
}

#endif
