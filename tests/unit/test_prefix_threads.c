// SPDX-License-Identifier: MIT
// Label: threads
// Sessions on several threads that share a prefix cache of few pages, which another one empties now
// and then: every result is that of a session alone.
#include "prefix_scene.h"
#include "saved.h"

#include <pthread.h>
#include <stdio.h>

enum { N_THREADS = 4, N_TEXTS = 12, STEP = 40, N_LENGTHS = SCENE_CTX / STEP };

static ink_token texts[N_TEXTS][SCENE_CTX];
static uint64_t wanted[3][N_TEXTS][N_LENGTHS]; // of the first STEP, 2 * STEP, … tokens

typedef struct worker {
    pthread_t thread;
    ink_session *session;
    ink_prefix_cache *cache;
    uint64_t random;
    uint32_t kv_type, n_rounds, n_wrong, n_found;
} worker;

// Each text parts from one before it, somewhere.
static void make_texts(ink_model *model) {
    uint64_t random = 5;
    for (uint32_t i = 0; i < N_TEXTS; i++) {
        const uint32_t n = i % 4 != 0 ? 20 + scene_random(&random, 250) : 0;
        opened_ids(texts[i], SCENE_CTX, SCENE_VOCAB, 50 + i);
        if (n > 0) memcpy(texts[i], texts[scene_random(&random, i)], n * sizeof *texts[i]);
    }
    for (uint32_t kind = 0; kind < 3; kind++)
        for (uint32_t i = 0; i < N_TEXTS; i++) {
            ink_session *s = scene_session(model, NULL, kind, NULL, 0);
            for (uint32_t k = 0; k < N_LENGTHS; k++) {
                opened_eval(s, texts[i] + k * STEP, STEP, 0);
                wanted[kind][i][k] = scene_logits(s);
            }
            ink_session_free(s);
        }
}

// The session becomes what it is, in pages of its own; those that it had may be evicted meanwhile.
static bool sleeps_and_wakes(ink_session *s) {
    saved file = {0};
    if (ink_session_save_bytes(s, NULL, NULL, 0, &file.bytes, NULL) != INK_OK) return false;
    file.data = malloc(file.bytes);
    bool good = file.data != NULL &&
                ink_session_save_bytes(s, NULL, file.data, file.bytes, &file.bytes, NULL) == INK_OK;
    if (good && file.bytes % 2 == 0)
        good = ink_session_rewind(s, ink_session_n_past(s) / 2) == INK_OK;
    good = good && saved_restore(s, &file, NULL, NULL) == INK_OK;
    free(file.data);
    return good;
}

static void *work(void *arg) {
    worker *w = arg;
    for (uint32_t round = 0; round < w->n_rounds; round++) {
        const uint32_t text = scene_random(&w->random, N_TEXTS);
        uint32_t at = scene_random(&w->random, N_LENGTHS), n_reused = 0;
        bool good = scene_try(w->session, texts[text], (at + 1) * STEP, &n_reused, NULL) == INK_OK;
        w->n_found += n_reused;
        for (; good; at++) {
            size_t n = 0;
            if (scene_random(&w->random, 6) == 0 && !sleeps_and_wakes(w->session)) break;
            const float *logits = ink_session_logits(w->session, 0, &n);
            if (logits == NULL || scene_hash(logits, n) != wanted[w->kv_type][text][at]) {
                good = false;
                break;
            }
            if (at + 1 == N_LENGTHS || scene_random(&w->random, 3) == 0) break;
            const ink_span span = {w->session, texts[text] + (at + 1) * STEP, STEP, 0, NULL};
            good = ink_eval(&span, 1, NULL) == INK_OK;
        }
        w->n_wrong += !good;
        if (scene_random(&w->random, 50) == 0) ink_prefix_cache_trim(w->cache, 0);
        ink_prefix_cache_info info = {.size = sizeof info};
        if (ink_prefix_cache_get_info(w->cache, &info) != INK_OK || info.bytes > info.max_bytes)
            w->n_wrong++;
    }
    return NULL;
}

static void threads_share(void **state) {
    (void)state;
    const bool is_long = getenv("INKLING_TEST_LONG") != NULL;
    if (!is_long) printf("left out: 5,000 rounds of each thread (INKLING_TEST_LONG)\n");
    const tiny_model tiny = scene_tiny();
    heap h = {0};
    opened o = opened_tiny(&tiny, 2, &h);
    make_texts(o.model);
    ink_prefix_cache *cache =
        scene_cache(o.model, 7 * scene_page_bytes(o.model, INK_KV_F32) + 12345);
    static worker workers[N_THREADS];
    for (uint32_t i = 0; i < N_THREADS; i++) {
        const uint32_t kv_type = i == 3 ? INK_KV_Q8_0 : INK_KV_F16;
        workers[i] = (worker){.session = scene_session(o.model, cache, kv_type, NULL, 0),
                              .cache = cache,
                              .random = i,
                              .kv_type = kv_type,
                              .n_rounds = is_long ? 5000 : 120};
    }
    for (uint32_t i = 0; i < N_THREADS; i++)
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    uint32_t n_wrong = 0, n_found = 0;
    for (uint32_t i = 0; i < N_THREADS; i++) {
        assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
        n_wrong += workers[i].n_wrong;
        n_found += workers[i].n_found;
    }
    assert_int_equal(n_wrong, 0);
    assert_true(n_found > 0);
    const ink_prefix_cache_info info = scene_info(cache);
    assert_true(info.n_tokens_found > 0);
    assert_true(info.n_pages_evicted > 0);
    assert_int_equal(info.n_lookups, (is_long ? 5000 : 120) * N_THREADS);
    ink_prefix_cache_unref(cache);
    for (uint32_t i = 0; i < N_THREADS; i++) ink_session_free(workers[i].session);
    opened_close(&o);
    assert_int_equal(h.live_blocks, 0);
    assert_int_equal(h.wrong_releases, 0);
}

// --- one thread, everything that sessions can do -------------------------------------------------

enum { N_SESSIONS = 3 };

typedef struct timeline {
    ink_session *s;
    ink_token ids[SCENE_CTX];
    uint32_t n;
} timeline;

static void append(timeline *t, const ink_token *ids, uint32_t n) {
    if (n == 0 || n > SCENE_CTX - t->n) return;
    opened_eval(t->s, ids, n, 1 + n % 37);
    memcpy(t->ids + t->n, ids, n * sizeof *ids);
    t->n += n;
}

// Fresh prompts, tokens appended, rewinds, forks, trims in any order, against an evaluation from
// the beginning.
static void anything_in_any_order(void **state) {
    (void)state;
    const bool is_long = getenv("INKLING_TEST_LONG") != NULL;
    if (!is_long) printf("left out: 20,000 steps (INKLING_TEST_LONG)\n");
    const tiny_model tiny = scene_tiny();
    heap h = {0};
    opened o = opened_tiny(&tiny, 1, &h);
    ink_prefix_cache *cache = scene_cache(o.model, 6 * scene_page_bytes(o.model, INK_KV_F32));
    static timeline t[N_SESSIONS];
    memset(t, 0, sizeof t);
    for (uint32_t i = 0; i < N_SESSIONS; i++)
        t[i].s = scene_session(o.model, cache, INK_KV_F16, NULL, 0);
    make_texts(o.model);
    uint64_t random = 9;
    for (uint32_t step = 0; step < (is_long ? 20000 : 500); step++) {
        const uint32_t i = scene_random(&random, N_SESSIONS), j = scene_random(&random, N_SESSIONS);
        const uint32_t text = scene_random(&random, N_TEXTS);
        const uint32_t n = 1 + scene_random(&random, SCENE_CTX);
        switch (scene_random(&random, 11)) {
        case 10: {
            const saved file = saved_of(t[i].s, NULL);
            assert_int_equal(saved_restore(t[j].s, &file, NULL, NULL), INK_OK);
            free(file.data);
            if (i != j) memcpy(t[j].ids, t[i].ids, sizeof t[i].ids);
            t[j].n = t[i].n;
            break;
        }
        case 0:
            if (t[i].n > 0) {
                t[i].n = scene_random(&random, t[i].n);
                assert_int_equal(ink_session_rewind(t[i].s, t[i].n), INK_OK);
            }
            break;
        case 1:
            if (i == j) break;
            assert_int_equal(ink_session_free(t[j].s), INK_OK);
            assert_int_equal(ink_session_fork(t[i].s, &t[j].s, NULL), INK_OK);
            memcpy(t[j].ids, t[i].ids, sizeof t[i].ids);
            t[j].n = t[i].n;
            break;
        case 2: ink_prefix_cache_trim(cache, scene_random(&random, 1 << 18)); break;
        case 3:
        case 4:
        case 5: append(&t[i], texts[text] + n / 2, n / 4); break;
        default:
            scene_read(t[i].s, texts[text], n);
            memcpy(t[i].ids, texts[text], n * sizeof *t[i].ids);
            t[i].n = n;
            break;
        }
        // A rewound one has no logits: they are behind its next token.
        append(&t[i], texts[j] + n / 2, 1 + n % 3);
        if (t[i].n == SCENE_CTX && ink_session_logits(t[i].s, 0, NULL) == NULL) continue;
        size_t n_past = 0;
        const ink_token *past = ink_session_tokens(t[i].s, &n_past);
        assert_int_equal(n_past, t[i].n);
        assert_memory_equal(past, t[i].ids, n_past * sizeof *past);
        if (ink_session_logits(t[i].s, 0, NULL) != NULL)
            assert_true(scene_logits(t[i].s) ==
                        scene_plain(o.model, INK_KV_F16, NULL, 0, t[i].ids, t[i].n));
    }
    assert_true(scene_info(cache).n_tokens_found > 0);
    for (uint32_t i = 0; i < N_SESSIONS; i++) ink_session_free(t[i].s);
    ink_prefix_cache_unref(cache);
    opened_close(&o);
    assert_int_equal(h.live_blocks, 0);
    assert_int_equal(h.wrong_releases, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_share),
        cmocka_unit_test(anything_in_any_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
