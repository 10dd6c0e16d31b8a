// SPDX-License-Identifier: MIT
// Label: threads
// One thread types, one runs, one reads and accepts and cancels. Bounded by counts: how they meet
// is left to the machine, what must hold in the end is not.
#include "typing_fixture.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

enum { N_KEYS = 150, N_ROUNDS = 4, N_KEYS_LONG = 3000 };

static opened story;
static heap memory;
static const char begin[] = "Once upon a time there was a";

// cmocka's assertions belong to its own thread: the others count.
static atomic_int n_wrong;
static void expect(int holds, int line) {
    if (holds) return;
    print_error("line %d does not hold\n", line);
    atomic_fetch_add(&n_wrong, 1);
}
#define EXPECT(holds) expect((holds) != 0, __LINE__)

typedef struct meeting {
    ink_typing *typing;
    uint64_t seed;
    int n_keys;
    atomic_int typed, running; // the typist has ended; threads beside it that have not
    _Atomic uint64_t revision; // of the last update that returned
    atomic_uint n_runs, n_read, n_shown, n_accepted, n_told;
} meeting;

static void on_suggestion(void *user, ink_typing *typing, const ink_suggestion *s) {
    meeting *m = user;
    EXPECT(typing == m->typing);
    EXPECT(s->text != NULL && s->text[s->bytes] == 0 && strlen(s->text) == s->bytes);
    atomic_fetch_add(&m->n_told, 1);
}

static void *typist(void *arg) {
    static const char *const pieces[] = {" girl", "s", " and", " the", ". ", "He", "o", "x"};
    meeting *m = arg;
    field *f = calloc(1, sizeof *f);
    uint64_t random = m->seed, last = 0, revision = 0;
    field_set(f, begin);
    for (int i = 0; i < m->n_keys; i++) {
        const uint32_t kind = next_number(&random, 8);
        if (f->bytes > 700) field_set(f, begin);
        if (kind == 0 && f->caret > 4)
            field_remove(f, -1);
        else if (kind == 1)
            f->caret = f->bytes;
        else
            field_type(f, pieces[next_number(&random, 8)]);
        EXPECT(typing_update(m->typing, f, &revision) == INK_OK);
        EXPECT(revision > last);
        last = revision;
        atomic_store(&m->revision, revision);
        // At a few keys, wait until somebody has run, so that not all is typed before any run.
        const unsigned n_runs = atomic_load(&m->n_runs);
        while (i % 4 == 0 && atomic_load(&m->n_runs) == n_runs) sched_yield();
    }
    free(f);
    atomic_store(&m->typed, 1);
    return NULL;
}

static void *runner(void *arg) {
    meeting *m = arg;
    static const uint32_t budgets[] = {0, 1, UINT32_MAX};
    uint32_t more = 1;
    for (unsigned i = 0; atomic_load(&m->typed) == 0 || more != 0; i++) {
        const ink_status status = ink_typing_run(m->typing, budgets[i % 3], &more, NULL);
        EXPECT(status == INK_OK || status == INK_E_BUSY); // the reader tries it too
        if (status == INK_E_BUSY) more = 1;
        atomic_fetch_add(&m->n_runs, 1);
        if (more == 0) sched_yield();
    }
    return NULL;
}

static void read_one(meeting *m, uint32_t index, uint64_t *last) {
    ink_suggestion s = {.size = sizeof s};
    const uint64_t before = atomic_load(&m->revision);
    EXPECT(ink_typing_suggestion(m->typing, index, &s) == INK_OK);
    EXPECT(s.text[s.bytes] == 0 && strlen(s.text) == s.bytes);
    EXPECT(inki_utf8_count_invalid((const uint8_t *)s.text, s.bytes) == 0);
    // Never of a text before the last update that has returned, nor older than what was read.
    if (s.bytes > 0) {
        EXPECT(s.revision >= before && s.revision >= *last);
        *last = s.revision;
        atomic_fetch_add(&m->n_shown, 1);
    }
    atomic_fetch_add(&m->n_read, 1);
}

static void *reader(void *arg) {
    meeting *m = arg;
    uint64_t random = m->seed + 7, last = 0;
    while (atomic_load(&m->typed) == 0) {
        read_one(m, next_number(&random, 2), &last);
        const uint32_t kind = next_number(&random, 40);
        ink_edit edit = {.size = sizeof edit};
        ink_error error = {0};
        ink_status status = INK_OK;
        if (kind == 0) {
            status = ink_typing_accept(m->typing, NULL, next_number(&random, 3), &edit, &error);
            if (status == INK_OK) {
                EXPECT(edit.bytes > 0 && edit.text[edit.bytes] == 0);
                atomic_fetch_add(&m->n_accepted, 1);
            }
        } else if (kind == 1) {
            status = ink_typing_undo(m->typing, &edit, &error);
        } else if (kind == 2) {
            ink_typing_cancel(m->typing);
        } else if (kind == 3) {
            status = ink_typing_retry(m->typing, NULL, &error);
        } else if (kind == 4) {
            status = ink_typing_reject(m->typing, NULL, &error);
        } else if (kind == 5) {
            // A second runner is busy, or in luck.
            status = ink_typing_run(m->typing, 0, NULL, &error);
            if (status == INK_E_BUSY) status = INK_OK;
        }
        EXPECT(status == INK_OK || status == INK_E_NOT_FOUND || status == INK_E_LIMIT);
        sched_yield();
    }
    return NULL;
}

static void meet(uint64_t seed, int n_keys) {
    static field f;
    static meeting m;
    void *(*const work[])(void *) = {typist, runner, reader};
    pthread_t threads[3];
    m = (meeting){.seed = seed, .n_keys = n_keys};
    ink_typing_options o = typing_defaults();
    o.n_alternatives = 2;
    o.max_tokens = 4;
    o.text_bytes = seed % 2 == 0 ? 64 : 4096;
    o.on_suggestion = on_suggestion;
    o.user = &m;
    m.typing = typing_new(story.model, &o);
    for (int i = 0; i < 3; i++) assert_int_equal(pthread_create(&threads[i], NULL, work[i], &m), 0);
    for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
    assert_int_equal(atomic_exchange(&n_wrong, 0), 0);
    print_message("%d keys, %u runs, %u reads, %u with text, %u told, %u accepted\n", n_keys,
                  m.n_runs, m.n_read, m.n_shown, m.n_told, m.n_accepted);
    field_set(&f, "The last text of all was about a");
    assert_int_equal(typing_update(m.typing, &f, NULL), INK_OK);
    typing_expect_fresh(m.typing, story.model, &o, &f, "after three threads");
    assert_int_equal(ink_typing_free(m.typing), INK_OK);
}

static void test_three_threads(void **state) {
    (void)state;
    const int n_keys = getenv("INKLING_TEST_LONG") != NULL ? N_KEYS_LONG : N_KEYS;
    for (uint64_t seed = 1; seed <= N_ROUNDS; seed++) meet(seed, n_keys);
    if (n_keys < N_KEYS_LONG)
        print_message("left out: %d of %d keys\n", N_KEYS_LONG - n_keys, N_KEYS_LONG);
}

// --- free while another thread runs --------------------------------------------------------------

typedef struct freed {
    ink_typing *typing;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool inside; // behind the mutex: a run has told a suggestion
    ink_status run;
} freed;

static void on_inside(void *user, ink_typing *typing, const ink_suggestion *s) {
    freed *w = user;
    (void)typing;
    (void)s;
    pthread_mutex_lock(&w->mutex);
    w->inside = true;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->mutex);
}

static void *run_once(void *arg) {
    freed *w = arg;
    w->run = ink_typing_run(w->typing, UINT32_MAX, NULL, NULL);
    return NULL;
}

static void test_free_during_a_run(void **state) {
    (void)state;
    static field f;
    for (int i = 0; i < 20; i++) {
        freed w = {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
        pthread_t thread;
        ink_typing_options o = typing_defaults();
        o.max_tokens = 200;
        o.until = INK_UNTIL_LENGTH;
        o.on_suggestion = on_inside;
        o.user = &w;
        const size_t live = memory.live_bytes;
        w.typing = typing_new(story.model, &o);
        field_set(&f, begin);
        assert_int_equal(typing_update(w.typing, &f, NULL), INK_OK);
        assert_int_equal(pthread_create(&thread, NULL, run_once, &w), 0);
        pthread_mutex_lock(&w.mutex);
        while (!w.inside) pthread_cond_wait(&w.changed, &w.mutex);
        pthread_mutex_unlock(&w.mutex);
        assert_int_equal(ink_typing_free(w.typing), INK_OK);
        assert_int_equal(memory.live_bytes, live);
        pthread_join(thread, NULL);
        assert_true(w.run == INK_OK || w.run == INK_E_CLOSED);
    }
}

static int set_up(void **state) {
    (void)state;
    story = opened_story(2, &memory);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    opened_close(&story);
    return memory.live_blocks != 0 || memory.wrong_releases != 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_three_threads),
                                       cmocka_unit_test(test_free_during_a_run)};
    return cmocka_run_group_tests_name("typing: threads", tests, set_up, tear_down);
}
