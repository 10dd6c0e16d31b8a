// SPDX-License-Identifier: MIT
// Label: threads
// Several threads at once: sessions of one model, forks that change hands, cancels from outside,
// models opened and let go, one engine that everybody wants. Bounded by counts. The numbers must be
// those of one thread alone; what else can go wrong, ThreadSanitizer sees.
#include "opened.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { N_THREADS = 4, N_ROUNDS = 12, N_IDS = 80 };

static opened o;
static heap memory;
static uint32_t n_vocab;
static ink_sampler *greedy;

// cmocka's assertions belong to its own thread: the others count.
static atomic_int n_wrong;
static void expect(int holds, int line) {
    if (holds) return;
    print_error("line %d does not hold\n", line);
    atomic_fetch_add(&n_wrong, 1);
}
#define EXPECT(holds) expect((holds) != 0, __LINE__)

static int set_up(void **state) {
    (void)state;
    const tiny_model tiny = tiny_model_defaults();
    o = opened_tiny(&tiny, 2, &memory);
    n_vocab = tiny.n_vocab;
    return ink_sampler_new(&greedy, o.model, "greedy", NULL, NULL) != INK_OK;
}

static int tear_down(void **state) {
    (void)state;
    ink_sampler_free(greedy);
    opened_close(&o);
    return atomic_load(&memory.live_blocks) != 0 || atomic_load(&memory.wrong_releases) != 0;
}

static void run_threads(size_t n, void *(*work)(void *), void *args, size_t arg_bytes) {
    pthread_t threads[N_THREADS + 1];
    assert_true(n <= N_THREADS + 1);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, work, (char *)args + i * arg_bytes), 0);
    for (size_t i = 0; i < n; i++) pthread_join(threads[i], NULL);
    assert_int_equal(atomic_exchange(&n_wrong, 0), 0);
}

static ink_session *new_session(void) {
    ink_session *s = NULL;
    EXPECT(ink_session_new(&s, o.model, NULL, NULL) == INK_OK);
    return s;
}

static ink_status eval(ink_session *s, const ink_token *ids, size_t n) {
    const ink_span span = {s, ids, n, 0, NULL};
    return ink_eval(&span, 1, NULL);
}

static float *fresh_logits(const ink_token *ids, size_t n) {
    float *copy = malloc(n_vocab * sizeof *copy);
    ink_session *s = opened_session(&o, 0, INK_KV_F16, 1);
    assert_non_null(copy);
    opened_eval(s, ids, n, 0);
    memcpy(copy, ink_session_logits(s, 0, NULL), n_vocab * sizeof *copy);
    ink_session_free(s);
    return copy;
}

// --- forks that change hands ---------------------------------------------------------------------

// A fork and the tokens in it, on its way to whoever takes it.
typedef struct parcel {
    ink_session *s;
    ink_token ids[N_IDS];
    size_t n;
} parcel;
static _Atomic(parcel *) post[N_THREADS];
static ink_token story[N_IDS];
static float *after_story[N_IDS + 1]; // logits after the first n tokens

static void finish(parcel *p) {
    if (p == NULL) return;
    const size_t n = p->n + 1 + p->n % 3;
    EXPECT(eval(p->s, story + p->n, n - p->n) == INK_OK);
    EXPECT(memcmp(ink_session_logits(p->s, 0, NULL), after_story[n], n_vocab * sizeof(float)) == 0);
    EXPECT(ink_session_free(p->s) == INK_OK);
    free(p);
}

static void *forker(void *arg) {
    const size_t self = *(size_t *)arg;
    ink_session *own = new_session();
    size_t n = 0;
    for (size_t round = 0; round < N_ROUNDS; round++) {
        const size_t add = 1 + (self + round) % 7;
        EXPECT(eval(own, story + n, add) == INK_OK);
        n += add;
        parcel *p = calloc(1, sizeof *p);
        EXPECT(p != NULL && ink_session_fork(own, &p->s, NULL) == INK_OK);
        p->n = n;
        // Writes to the shared page begin on both sides at once.
        finish(atomic_exchange(&post[(self + round) % N_THREADS], p));
        if (round % 5 == 4) {
            n -= n / 3;
            EXPECT(ink_session_rewind(own, (uint32_t)n) == INK_OK);
        }
    }
    EXPECT(ink_session_free(own) == INK_OK);
    return NULL;
}

static void test_forks_change_hands(void **state) {
    (void)state;
    size_t selves[N_THREADS];
    opened_ids(story, N_IDS, n_vocab, 11);
    for (size_t n = 1; n <= N_IDS; n++) after_story[n] = fresh_logits(story, n);
    for (size_t i = 0; i < N_THREADS; i++) selves[i] = i;
    run_threads(N_THREADS, forker, selves, sizeof *selves);
    for (size_t i = 0; i < N_THREADS; i++) finish(atomic_exchange(&post[i], NULL));
    assert_int_equal(atomic_exchange(&n_wrong, 0), 0);
    for (size_t n = 1; n <= N_IDS; n++) free(after_story[n]);
}

// --- cancels from outside ------------------------------------------------------------------------

typedef struct target {
    _Atomic(ink_session *) s;
    atomic_int done;
    float *expected;
} target;
static target targets[N_THREADS];

// Cancels all sessions for as long as one is at work.
static void *canceller(void *arg) {
    (void)arg;
    for (size_t n_done = 0; n_done < N_THREADS;) {
        n_done = 0;
        for (size_t i = 0; i < N_THREADS; i++) {
            ink_session_cancel(atomic_load(&targets[i].s));
            n_done += atomic_load(&targets[i].done) != 0;
        }
        sched_yield();
    }
    return NULL;
}

// Whatever is cancelled, the past is never other than documented, and the numbers stay right.
static void *cancelled(void *arg) {
    target *t = arg;
    ink_session *s = atomic_load(&t->s), *fork = NULL;
    ink_generate_options g;
    ink_generate_options_init(&g, sizeof g);
    g.sampler = greedy;
    g.n_tokens = 3;
    g.flags = INK_GENERATE_NO_END;
    for (size_t round = 0; round < N_ROUNDS; round++) {
        ink_result r = {0};
        ink_status status = eval(s, story + 65, 10);
        EXPECT(status == INK_OK || status == INK_E_CANCELLED);
        EXPECT(ink_session_n_past(s) == (status == INK_OK ? 75 : 65));
        // The last token again: it must not get lost. A fork shares its page in every other round.
        EXPECT(round % 2 == 0 || ink_session_fork(s, &fork, NULL) == INK_OK);
        EXPECT(ink_session_rewind(s, 65) == INK_OK);
        EXPECT(ink_session_generate(s, NULL, 0, &g, NULL, NULL, &r, NULL) == INK_OK);
        EXPECT(r.stop == INK_STOP_LENGTH || r.stop == INK_STOP_CANCELLED);
        EXPECT(ink_session_n_past(s) >= 65 && ink_session_n_past(s) <= 65 + r.n_generated);
        EXPECT(memcmp(ink_session_tokens(s, NULL), story, 65 * sizeof *story) == 0);
        EXPECT(ink_session_rewind(s, 65) == INK_OK);
        EXPECT(ink_session_free(fork) == INK_OK);
        fork = NULL;
    }
    atomic_store(&t->done, 1);
    return NULL;
}

static void *cancelled_or_canceller(void *arg) {
    return arg == targets + N_THREADS ? canceller(NULL) : cancelled(arg);
}

static void test_cancels_from_outside(void **state) {
    (void)state;
    opened_ids(story, N_IDS, n_vocab, 12);
    for (size_t i = 0; i < N_THREADS; i++) {
        ink_session *s = opened_session(&o, 0, INK_KV_F16, 1);
        opened_eval(s, story, 65, 0);
        atomic_store(&targets[i].s, s);
        atomic_store(&targets[i].done, 0);
    }
    run_threads(N_THREADS + 1, cancelled_or_canceller, targets, sizeof *targets);
    float *expected = fresh_logits(story, 70);
    for (size_t i = 0; i < N_THREADS; i++) {
        ink_session *s = atomic_load(&targets[i].s);
        opened_eval(s, story + 65, 5, 0); // a cancel of before has no effect
        assert_memory_equal(ink_session_logits(s, 0, NULL), expected, n_vocab * sizeof(float));
        assert_int_equal(ink_session_free(s), INK_OK);
    }
    free(expected);
}

// --- models opened and let go --------------------------------------------------------------------

static void *opener(void *arg) {
    const size_t self = *(size_t *)arg;
    const ink_source source = {.size = sizeof source,
                               .kind = INK_SOURCE_MEMORY,
                               .flags = self % 2 != 0 ? INK_SOURCE_COPY : 0,
                               .data = o.bytes,
                               .bytes = o.n_bytes};
    for (size_t round = 0; round < N_ROUNDS / 2; round++) {
        ink_model *model = NULL;
        ink_session *a = NULL, *b = NULL;
        ink_token ids[40];
        size_t n = 0;
        EXPECT(ink_model_open(&model, o.runtime, &source, NULL, NULL) == INK_OK);
        EXPECT(ink_session_new(&a, model, NULL, NULL) == INK_OK);
        EXPECT(ink_session_new(&b, ink_model_ref(o.model), NULL, NULL) == INK_OK);
        ink_model_unref(model);
        EXPECT(ink_tokenize(o.model, "and the other thing", 19, 0, ids, 40, &n, NULL) == INK_OK);
        EXPECT(eval(a, ids, n) == INK_OK && eval(b, ids, n) == INK_OK);
        EXPECT(memcmp(ink_session_logits(a, 0, NULL), ink_session_logits(b, 0, NULL),
                      n_vocab * sizeof(float)) == 0);
        const ink_span mixed[] = {{a, ids, 1, 0, NULL}, {b, ids, 1, 0, NULL}};
        EXPECT(ink_eval(mixed, 2, NULL) == INK_E_ARG);
        ink_model_unref(o.model);
        EXPECT(ink_session_free(a) == INK_OK && ink_session_free(b) == INK_OK);
    }
    return NULL;
}

static void test_models_come_and_go(void **state) {
    (void)state;
    size_t selves[N_THREADS];
    for (size_t i = 0; i < N_THREADS; i++) selves[i] = i;
    run_threads(N_THREADS, opener, selves, sizeof *selves);
}

// --- one engine, wanted by all -------------------------------------------------------------------

static ink_engine *open_engine(void) {
    const ink_source source = {
        .size = sizeof source, .kind = INK_SOURCE_MEMORY, .data = o.bytes, .bytes = o.n_bytes};
    ink_runtime_options ro;
    ink_generate_options g;
    ink_options options;
    ink_runtime_options_init(&ro, sizeof ro);
    ink_generate_options_init(&g, sizeof g);
    ink_options_init(&options, sizeof options);
    ro.n_threads = 2;
    ro.flags = INK_RUNTIME_OVERSUBSCRIBE;
    g.n_tokens = 4;
    g.flags = INK_GENERATE_NO_END;
    options.source = &source;
    options.runtime = &ro;
    options.generate = &g;
    options.chain = "greedy";
    ink_engine *ai = ink_open(NULL, &options);
    assert_non_null(ai);
    assert_int_equal(ink_engine_error(ai)->status, INK_OK);
    return ai;
}

static atomic_int n_served;

static void *customer(void *arg) {
    ink_engine *ai = *(ink_engine **)arg;
    for (size_t tries = 0; tries < 20 * N_ROUNDS; tries++) {
        const ink_status status =
            ink_generate(ai, tries % 3 == 0 ? "hello" : "the end", NULL, NULL);
        EXPECT(status == INK_OK || status == INK_E_BUSY);
        if (status == INK_OK) atomic_fetch_add(&n_served, 1);
        if (tries % 16 == 0) ink_cancel(ai);
    }
    return NULL;
}

static void test_one_engine_for_all(void **state) {
    (void)state;
    ink_engine *engine = open_engine(), *shared[N_THREADS];
    for (size_t i = 0; i < N_THREADS; i++) shared[i] = engine;
    run_threads(N_THREADS, customer, shared, sizeof *shared);
    assert_true(atomic_load(&n_served) > 0);
    assert_int_equal(ink_engine_error(engine)->status, INK_OK);
    assert_int_equal(ink_close(engine), INK_OK);
}

static atomic_int inside;

static int tell(void *user, const ink_piece *piece) {
    (void)user;
    (void)piece;
    atomic_store(&inside, 1);
    return 1;
}

static void *close_soon(void *arg) {
    while (!atomic_load(&inside)) sched_yield();
    ink_status status;
    while ((status = ink_close(arg)) == INK_E_BUSY) {}
    EXPECT(status == INK_OK);
    return NULL;
}

// Closed by another thread as soon as that is possible: ink_generate may not touch it after that.
static void test_closed_behind_a_call(void **state) {
    (void)state;
    for (size_t round = 0; round < 2 * N_ROUNDS; round++) {
        ink_engine *engine = open_engine();
        pthread_t thread;
        atomic_store(&inside, 0);
        assert_int_equal(pthread_create(&thread, NULL, close_soon, engine), 0);
        assert_int_equal(ink_generate(engine, "hello", tell, NULL), INK_OK);
        atomic_store(&inside, 1); // the text may have been half a character all along
        pthread_join(thread, NULL);
    }
    assert_int_equal(atomic_exchange(&n_wrong, 0), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forks_change_hands),   cmocka_unit_test(test_cancels_from_outside),
        cmocka_unit_test(test_models_come_and_go),   cmocka_unit_test(test_one_engine_for_all),
        cmocka_unit_test(test_closed_behind_a_call),
    };
    return cmocka_run_group_tests_name("threads", tests, set_up, tear_down);
}
