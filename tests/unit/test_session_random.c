// SPDX-License-Identifier: MIT
// Label: threads
// Sessions that are evaluated, forked, rewound, saved and restored in random order: whatever came
// before, the logits are those of a fresh evaluation of the same tokens, bit for bit, and the saved
// bytes too.
#include "opened.h"
#include "saved.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { N_CTX = 150, N_SESSIONS = 4, N_FILES = 4, N_STEPS = 300, N_SEEDS = 45, LONG_SEEDS = 3000 };

// What a session or a file should hold.
typedef struct text {
    ink_token ids[N_CTX];
    uint32_t n;
    bool has_logits;
} text;

typedef struct world {
    opened *o;
    uint32_t kv_type;
    uint64_t random;
    ink_session *sessions[N_SESSIONS], *fresh;
    text texts[N_SESSIONS];
    saved files[N_FILES];
    text saved_texts[N_FILES];
} world;

static uint32_t below(world *w, uint32_t n) {
    w->random = w->random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((w->random >> 33) % n);
}

static void check_session(world *w, uint32_t i) {
    const text *t = &w->texts[i];
    size_t n = 0, n_vocab = 0;
    const ink_token *tokens = ink_session_tokens(w->sessions[i], &n);
    assert_int_equal(n, t->n);
    if (n > 0) assert_memory_equal(tokens, t->ids, n * sizeof *tokens);
    const float *row = ink_session_logits(w->sessions[i], 0, &n_vocab);
    assert_int_equal(row != NULL, t->has_logits);
    if (!t->has_logits) return;
    assert_int_equal(ink_session_rewind(w->fresh, 0), INK_OK);
    opened_eval(w->fresh, t->ids, t->n, 0);
    assert_memory_equal(row, ink_session_logits(w->fresh, 0, NULL), n_vocab * sizeof *row);
    const saved a = saved_of(w->sessions[i], NULL), b = saved_of(w->fresh, NULL);
    assert_true(saved_equal(&a, &b));
    free(a.data);
    free(b.data);
}

static void step_eval(world *w, uint32_t i) {
    text *t = &w->texts[i];
    const uint32_t most = N_CTX - t->n, n = 1 + below(w, below(w, 2) ? 3 : 70);
    if (n > most) return;
    // Of few different tokens, so that texts have beginnings in common.
    for (uint32_t k = 0; k < n; k++) t->ids[t->n + k] = (ink_token)below(w, 5);
    opened_eval(w->sessions[i], t->ids + t->n, n, below(w, 2) ? 0 : 1 + below(w, 20));
    t->n += n;
    t->has_logits = true;
}

static void step_rewind(world *w, uint32_t i) {
    text *t = &w->texts[i];
    const uint32_t n = below(w, t->n + 1);
    assert_int_equal(ink_session_rewind(w->sessions[i], n), INK_OK);
    if (n != t->n) t->has_logits = false;
    t->n = n;
}

static void step_fork(world *w, uint32_t i) {
    const uint32_t to = below(w, N_SESSIONS);
    if (to == i) return;
    ink_session_free(w->sessions[to]);
    assert_int_equal(ink_session_fork(w->sessions[i], &w->sessions[to], NULL), INK_OK);
    w->texts[to] = w->texts[i];
}

static void step_save(world *w, uint32_t i) {
    const uint32_t to = below(w, N_FILES);
    free(w->files[to].data);
    w->files[to] = saved_of(w->sessions[i], NULL);
    w->saved_texts[to] = w->texts[i];
}

static void step_restore(world *w, uint32_t i) {
    const uint32_t from = below(w, N_FILES);
    ink_error error = {0};
    if (w->files[from].data == NULL) return;
    if (saved_restore(w->sessions[i], &w->files[from], NULL, &error) != INK_OK)
        fail_msg("%s", error.message);
    w->texts[i] = w->saved_texts[from];
}

static void run_world(opened *o, uint32_t kv_type, uint64_t seed) {
    static void (*const steps[])(world *, uint32_t) = {step_eval, step_eval, step_rewind,
                                                       step_fork, step_save, step_restore};
    static world w;
    w = (world){.o = o, .kv_type = kv_type, .random = seed * 0x9e3779b97f4a7c15u + 1};
    for (uint32_t i = 0; i < N_SESSIONS; i++) w.sessions[i] = opened_session(o, N_CTX, kv_type, 1);
    w.fresh = opened_session(o, N_CTX, kv_type, 1);
    for (uint32_t step = 0; step < N_STEPS; step++) {
        const uint32_t i = below(&w, N_SESSIONS);
        steps[below(&w, sizeof steps / sizeof steps[0])](&w, i);
        if (below(&w, 4) == 0) check_session(&w, below(&w, N_SESSIONS));
    }
    for (uint32_t i = 0; i < N_SESSIONS; i++) check_session(&w, i);
    for (uint32_t i = 0; i < N_SESSIONS; i++) ink_session_free(w.sessions[i]);
    for (uint32_t i = 0; i < N_FILES; i++) free(w.files[i].data);
    ink_session_free(w.fresh);
}

static void random_orders(void **state) {
    (void)state;
    const bool is_long = getenv("INKLING_TEST_LONG") != NULL;
    const uint32_t n_seeds = is_long ? LONG_SEEDS : N_SEEDS;
    if (!is_long) printf("left out: %d more seeds (INKLING_TEST_LONG)\n", LONG_SEEDS - N_SEEDS);
    tiny_model tiny = tiny_model_defaults();
    heap h = {0};
    tiny.n_embd = 16;
    tiny.n_ff = 16;
    opened o = opened_tiny(&tiny, 2, &h);
    for (uint32_t seed = 0; seed < n_seeds; seed++) run_world(&o, seed % 3, seed + 1);
    opened_close(&o);
    assert_int_equal(h.live_blocks, 0);
    assert_int_equal(h.wrong_releases, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(random_orders)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
