// SPDX-License-Identifier: MIT
// How completions end, in every order: the call and the jobs are this test's own, so that it says
// what happens when. What of the server it defines itself the linker does not look for in its
// library.
// Label: threads
#include "server/app.h"
#include "server/jobs.h"
#include "server/route.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MAX_JOBS = 64, N_TEXTS = 5 };

// --- a call that is only memory ------------------------------------------------------------------

struct srv_call {
    pthread_mutex_t lock;
    pthread_cond_t news;
    const char *body;
    atomic_int refs;
    unsigned status; // of the whole answer, 200 for a stream; 0: none yet
    bool streams, ended, gone, done, failed;
    size_t n_room; // writes that are taken
    char *text;    // what was written, or the answer
    size_t bytes;
    void (*on_gone)(void *user);
    void *on_gone_user;
    bool on_gone_runs;
};

static atomic_int n_live;
static srv_app app;
static srv_model model;
static ink_model *open_model;

int64_t srv_unix_time(void) { return 1700000000; }
double srv_now_ms(void) { return 0; }
void srv_new_id(char *out, size_t cap, const char *prefix) { snprintf(out, cap, "%s1", prefix); }
srv_model *srv_models_find(struct srv_app *a, const char *id, srv_failure *why) {
    (void)a, (void)id, (void)why;
    return &model;
}
ink_model *srv_model_open(srv_model *m, srv_failure *why) {
    (void)m, (void)why;
    return open_model;
}
bool srv_model_outgrown(srv_model *m, size_t bytes) {
    (void)m;
    (void)bytes;
    return false;
}
uint32_t srv_model_n_ctx(const srv_model *m) {
    (void)m;
    return 256;
}

struct srv_app *srv_call_app(const srv_call *call) {
    (void)call;
    return &app;
}
const char *srv_call_body(const srv_call *call, size_t *bytes) {
    *bytes = strlen(call->body);
    return call->body;
}
srv_call *srv_call_ref(srv_call *call) {
    atomic_fetch_add(&call->refs, 1);
    return call;
}
void srv_call_unref(srv_call *call) {
    if (atomic_fetch_sub(&call->refs, 1) != 1) return;
    pthread_mutex_destroy(&call->lock);
    pthread_cond_destroy(&call->news);
    free(call->text);
    free(call);
    atomic_fetch_sub(&n_live, 1);
}

static void append(srv_call *call, const char *text, size_t bytes) {
    char *grown = realloc(call->text, call->bytes + bytes + 1);
    if (grown == NULL) abort();
    memcpy(grown + call->bytes, text, bytes);
    call->text = grown;
    call->bytes += bytes;
    grown[call->bytes] = 0;
}

static void give(srv_call *call, unsigned status, const char *text, size_t bytes) {
    pthread_mutex_lock(&call->lock);
    if (call->status == 0) {
        call->status = status;
        call->done = true;
        append(call, text, bytes);
    }
    pthread_cond_broadcast(&call->news);
    pthread_mutex_unlock(&call->lock);
}
void srv_call_text(srv_call *call, unsigned status, const char *type, const char *text,
                   size_t bytes) {
    (void)type;
    give(call, status, text, bytes);
}
void srv_call_json(srv_call *call, unsigned status, json_t *body) {
    json_decref(body);
    give(call, body != NULL ? status : 500, "", 0);
}
void srv_call_empty(srv_call *call, unsigned status) { give(call, status, "", 0); }
void srv_call_fail(srv_call *call, const srv_failure *why) {
    call->failed = true;
    if (!call->streams) {
        give(call, why->status, why->message, strlen(why->message));
        return;
    }
    srv_call_write(call, why->message, strlen(why->message));
    srv_call_end(call);
}
void srv_call_stream(srv_call *call) {
    pthread_mutex_lock(&call->lock);
    call->streams = call->status == 0;
    if (call->streams) call->status = 200;
    pthread_mutex_unlock(&call->lock);
}
bool srv_call_write(srv_call *call, const char *text, size_t bytes) {
    pthread_mutex_lock(&call->lock);
    const bool taken = call->streams && !call->ended && !call->gone && call->n_room > 0;
    if (taken) {
        call->n_room--;
        append(call, text, bytes);
    }
    pthread_mutex_unlock(&call->lock);
    return taken;
}
void srv_call_end(srv_call *call) {
    pthread_mutex_lock(&call->lock);
    call->ended = call->done = true;
    pthread_cond_broadcast(&call->news);
    pthread_mutex_unlock(&call->lock);
}
bool srv_call_is_gone(srv_call *call) {
    pthread_mutex_lock(&call->lock);
    const bool gone = call->gone;
    pthread_mutex_unlock(&call->lock);
    return gone;
}
void srv_call_on_gone(srv_call *call, void (*fn)(void *user), void *user) {
    pthread_mutex_lock(&call->lock);
    while (call->on_gone_runs) pthread_cond_wait(&call->news, &call->lock);
    const bool now = fn != NULL && call->gone;
    call->on_gone = now ? NULL : fn;
    call->on_gone_user = user;
    pthread_mutex_unlock(&call->lock);
    if (now) fn(user);
}

static void hang_up(srv_call *call) {
    pthread_mutex_lock(&call->lock);
    void (*fn)(void *) = call->done ? NULL : call->on_gone;
    void *user = call->on_gone_user;
    call->gone = true;
    call->on_gone = NULL;
    call->on_gone_runs = fn != NULL;
    pthread_mutex_unlock(&call->lock);
    if (fn == NULL) return;
    fn(user);
    pthread_mutex_lock(&call->lock);
    call->on_gone_runs = false;
    pthread_cond_broadcast(&call->news);
    pthread_mutex_unlock(&call->lock);
}

static srv_call *new_call(const char *body) {
    srv_call *call = calloc(1, sizeof *call);
    assert_non_null(call);
    call->body = body;
    call->n_room = SIZE_MAX;
    atomic_init(&call->refs, 1);
    pthread_mutex_init(&call->lock, NULL);
    pthread_cond_init(&call->news, NULL);
    atomic_fetch_add(&n_live, 1);
    return call;
}

// --- jobs that do what the test says -------------------------------------------------------------

static pthread_mutex_t jobs_lock = PTHREAD_MUTEX_INITIALIZER;
static srv_job *waiting[MAX_JOBS]; // [n_waiting] a cancel takes them out
static size_t n_waiting;
static unsigned refuse_with; // the status of the next submission; 0: taken
static srv_call *hangs_up;   // while its jobs are submitted

static bool works_at_once; // inside of the submission
static void work_all(void);

bool srv_jobs_submit(srv_job **jobs, size_t n, srv_failure *why) {
    if (hangs_up != NULL) hang_up(hangs_up);
    if (refuse_with != 0) return srv_fail(why, refuse_with, "rate_limit_error", "full", "full");
    srv_job *over[MAX_JOBS];
    size_t n_over = 0;
    pthread_mutex_lock(&jobs_lock);
    for (size_t i = 0; i < n; i++)
        *(jobs[i]->cancelled ? &over[n_over++] : &waiting[n_waiting++]) = jobs[i];
    pthread_mutex_unlock(&jobs_lock);
    const ink_result cancelled = {.size = sizeof cancelled, .stop = INK_STOP_CANCELLED};
    for (size_t i = 0; i < n_over; i++) over[i]->on_done(over[i], INK_OK, &cancelled, NULL);
    if (works_at_once) work_all();
    return true;
}

static srv_job *take(const srv_job *wanted) {
    srv_job *taken = NULL;
    pthread_mutex_lock(&jobs_lock);
    for (size_t i = 0; i < n_waiting && taken == NULL; i++) {
        if (wanted != NULL && waiting[i] != wanted) continue;
        taken = waiting[i];
        memmove(&waiting[i], &waiting[i + 1], (n_waiting - i - 1) * sizeof *waiting);
        n_waiting--;
    }
    pthread_mutex_unlock(&jobs_lock);
    return taken;
}

void srv_job_cancel(srv_job *job) {
    pthread_mutex_lock(&jobs_lock);
    job->cancelled = true;
    pthread_mutex_unlock(&jobs_lock);
    srv_job *mine = take(job);
    const ink_result cancelled = {.size = sizeof cancelled, .stop = INK_STOP_CANCELLED};
    if (mine != NULL) mine->on_done(mine, INK_OK, &cancelled, NULL);
}

static bool is_cancelled(srv_job *job) {
    pthread_mutex_lock(&jobs_lock);
    const bool cancelled = job->cancelled;
    pthread_mutex_unlock(&jobs_lock);
    return cancelled;
}

static int say(srv_job *job, uint32_t n) {
    const ink_choice choice = {.token = 5, .logprob = -1};
    const ink_piece piece = {.size = sizeof piece,
                             .token = 5,
                             .text = "word ",
                             .bytes = 5,
                             .n_tokens = n + 1,
                             .n_choices = 1,
                             .choices = &choice};
    return job->on_text(job, &piece);
}

static void end(srv_job *job, ink_status status, uint32_t stop) {
    const ink_result result = {.size = sizeof result, .stop = stop, .n_generated = N_TEXTS};
    const ink_error error = {.size = sizeof error, .status = status, .message = "it broke"};
    job->on_done(job, status, &result, status != INK_OK ? &error : NULL);
}

// As a worker does it.
static void work(srv_job *job, ink_status status) {
    bool stopped = false;
    for (uint32_t i = 0; i < N_TEXTS && !stopped && !is_cancelled(job); i++) stopped = say(job, i);
    end(job, status,
        stopped             ? INK_STOP_CALLBACK
        : is_cancelled(job) ? INK_STOP_CANCELLED
                            : INK_STOP_LENGTH);
}

static void work_all(void) {
    for (srv_job *job; (job = take(NULL)) != NULL;) work(job, INK_OK);
}

// --- what is asked -------------------------------------------------------------------------------

#define WHOLE  "{\"prompt\":\"Once\",\"n\":3,\"logprobs\":0}"
#define STREAM "{\"prompt\":\"Once\",\"n\":3,\"logprobs\":0,\"stream\":true}"
static const char *const bodies[] = {WHOLE, STREAM};

static srv_call *asked(const char *body) {
    srv_call *call = new_call(body);
    n_waiting = 0;
    srv_handle_completions(call);
    return call;
}

static void over(srv_call *call) {
    assert_int_equal(atomic_load(&call->refs), 1); // nobody holds it
    assert_int_equal(n_waiting, 0);
    srv_call_unref(call);
    assert_int_equal(atomic_load(&n_live), 0);
}

static void test_all_is_well(void **state) {
    (void)state;
    srv_call *call = asked(WHOLE);
    assert_int_equal(call->status, 0);
    work_all();
    assert_int_equal(call->status, 200);
    json_t *answer = json_loads(call->text, 0, NULL);
    assert_int_equal(json_array_size(json_object_get(answer, "choices")), 3);
    json_decref(answer);
    over(call);
    call = asked(STREAM);
    assert_true(call->streams && call->bytes == 0);
    work_all();
    assert_true(call->ended && !call->failed);
    assert_string_equal(call->text + call->bytes - 14, "data: [DONE]\n\n");
    over(call);
}

static void test_a_refusal_is_a_status(void **state) {
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        refuse_with = 429;
        srv_call *call = asked(bodies[i]);
        refuse_with = 0;
        assert_false(call->streams);
        assert_int_equal(call->status, 429);
        over(call);
    }
}

// All may be over before the submission has returned.
static void test_done_while_it_is_submitted(void **state) {
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        works_at_once = true;
        srv_call *call = asked(bodies[i]);
        works_at_once = false;
        assert_true(call->done && !call->failed);
        assert_int_equal(call->streams, i == 1);
        over(call);
    }
}

static void test_a_failure_ends_the_whole(void **state) {
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        srv_call *call = asked(bodies[i]);
        srv_job *first = take(NULL), *second = take(NULL);
        assert_int_equal(say(first, 0), 0);
        assert_int_equal(say(second, 0), 0);
        end(first, INK_E_NUMERIC, 0);
        assert_int_equal(n_waiting, 0); // the third one is called off
        assert_true(is_cancelled(second));
        assert_false(call->done); // until the last one is over
        assert_int_not_equal(say(second, 1), 0);
        end(second, INK_OK, INK_STOP_CALLBACK);
        assert_true(call->done && call->failed);
        assert_int_equal(call->status, i == 0 ? 500 : 200);
        assert_non_null(strstr(call->text, "it broke"));
        assert_null(strstr(call->text, "[DONE]"));
        over(call);
    }
}

static void test_the_server_stops(void **state) {
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        srv_call *call = asked(bodies[i]);
        for (srv_job *job; (job = take(NULL)) != NULL;) end(job, INK_OK, INK_STOP_CANCELLED);
        assert_true(call->done && call->failed);
        assert_int_equal(call->status, i == 0 ? 503 : 200);
        over(call);
    }
}

static void test_gone_while_it_is_submitted(void **state) {
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        for (unsigned status = 0; status <= 429; status += 429) {
            srv_call *call = new_call(bodies[i]);
            n_waiting = 0;
            hangs_up = call;
            refuse_with = status;
            srv_handle_completions(call);
            hangs_up = NULL;
            refuse_with = 0;
            over(call);
            // Or before.
            call = new_call(bodies[i]);
            hang_up(call);
            srv_handle_completions(call);
            over(call);
        }
    }
}

static void test_gone_at_each_step(void **state) {
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        for (int step = 0; step < 4; step++) {
            srv_call *call = asked(bodies[i]);
            srv_job *first = NULL, *second = NULL;
            if (step >= 1) first = take(NULL);
            if (step >= 2) say(first, 0);
            if (step >= 3) second = take(NULL);
            if (step >= 3) end(first, INK_OK, INK_STOP_LENGTH);
            hang_up(call);
            assert_int_equal(n_waiting, 0); // what waited is over
            if (step == 1 || step == 2) {
                assert_true(is_cancelled(first));
                assert_int_not_equal(say(first, 1), 0);
                end(first, INK_OK, INK_STOP_CANCELLED);
            }
            if (step == 3) end(second, INK_OK, INK_STOP_CANCELLED);
            assert_null(call->text != NULL ? strstr(call->text, "[DONE]") : NULL);
            over(call);
        }
    }
}

// Nobody has been told yet: the socket says it.
static void test_the_next_piece_finds_out(void **state) {
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        srv_call *call = asked(bodies[i]);
        srv_job *first = take(NULL);
        assert_int_equal(say(first, 0), 0);
        call->gone = true;
        assert_int_not_equal(say(first, 1), 0);
        assert_int_equal(n_waiting, 0);
        end(first, INK_OK, INK_STOP_CALLBACK);
        over(call);
    }
}

static void test_a_client_that_does_not_read(void **state) {
    (void)state;
    srv_call *call = asked(STREAM);
    srv_job *first = take(NULL);
    call->n_room = 2;
    assert_int_equal(say(first, 0), 0);
    assert_int_equal(say(first, 1), 0);
    assert_int_not_equal(say(first, 2), 0);
    assert_int_equal(n_waiting, 0);
    end(first, INK_OK, INK_STOP_CALLBACK);
    assert_true(call->ended);
    over(call);
}

// --- all at once ---------------------------------------------------------------------------------

static void *worker_main(void *user) {
    srv_call *call = user;
    // One of the jobs fails in some rounds.
    unsigned n = 0;
    const bool fails = strstr(call->body, "\"user\"") != NULL;
    for (bool more = true; more;) {
        srv_job *job = take(NULL);
        if (job != NULL) work(job, fails && n++ == 1 ? INK_E_NUMERIC : INK_OK);
        pthread_mutex_lock(&call->lock);
        more = !call->done;
        pthread_mutex_unlock(&call->lock);
        if (more) sched_yield();
    }
    srv_call_unref(call);
    return NULL;
}

static void *client_main(void *user) {
    srv_call *call = user;
    hang_up(call);
    srv_call_unref(call);
    return NULL;
}

static void test_threads(void **state) {
    (void)state;
    static const char *const asked_for[] = {
        WHOLE, STREAM, "{\"prompt\":[\"a\",\"b\"],\"n\":4,\"user\":\"\"}",
        "{\"prompt\":[\"a\",\"b\"],\"n\":4,\"stream\":true,\"user\":\"\"}"};
    for (int round = 0; round < 400; round++) {
        srv_call *call = new_call(asked_for[round % 4]);
        pthread_t worker, client;
        const bool hangs = round % 3 != 0, before = round % 5 == 0;
        n_waiting = 0;
        srv_call_ref(call);
        assert_int_equal(pthread_create(&worker, NULL, worker_main, call), 0);
        if (!before) srv_handle_completions(call);
        if (hangs) {
            srv_call_ref(call);
            assert_int_equal(pthread_create(&client, NULL, client_main, call), 0);
        }
        if (before) srv_handle_completions(call);
        if (hangs) pthread_join(client, NULL);
        pthread_join(worker, NULL);
        assert_true(call->done);
        assert_int_equal(n_waiting, 0);
        // The worker may see the end a moment before the last reference is given back.
        while (atomic_load(&call->refs) > 1) sched_yield();
        over(call);
    }
}

static int open_story(void **state) {
    (void)state;
    return ink_model_open(&open_model, NULL, NULL, NULL, NULL) == INK_OK ? 0 : -1;
}

static int close_story(void **state) {
    (void)state;
    ink_model_unref(open_model);
    return 0;
}

int main(void) {
    model.id = "story";
    model.app = &app;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_is_well),
        cmocka_unit_test(test_a_refusal_is_a_status),
        cmocka_unit_test(test_done_while_it_is_submitted),
        cmocka_unit_test(test_a_failure_ends_the_whole),
        cmocka_unit_test(test_the_server_stops),
        cmocka_unit_test(test_gone_while_it_is_submitted),
        cmocka_unit_test(test_gone_at_each_step),
        cmocka_unit_test(test_the_next_piece_finds_out),
        cmocka_unit_test(test_a_client_that_does_not_read),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, open_story, close_story);
}
