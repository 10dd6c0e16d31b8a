// SPDX-License-Identifier: MIT
// The forward pass around its numbers: cancel, broken weights, rows that want nothing, memory.
#include "forward_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

static const forward_shape shape = {32, 2, 3, 100, 64, 50, INKI_F32, 3, NULL};
static const int32_t ids[] = {1, 2, 3, 49, 0, 7};
enum { N = 6 };

typedef struct setup {
    forward_model m;
    forward_runner r;
    inki_kv kv;
    float logits[N * 50];
} setup;

static void begin_as(setup *s, uint32_t type) {
    forward_shape of = shape;
    of.type = type;
    forward_model_init(&s->m, &of, NULL, NULL);
    forward_runner_init(&s->r, &s->m, 2, N);
    forward_kv_new(&s->kv, &s->m, INK_KV_F16, true);
}
static void end(setup *s) {
    forward_kv_delete(&s->kv);
    forward_runner_free(&s->r);
    forward_model_free(&s->m);
}
static ink_status go(setup *s, ink_error *error) {
    return forward_runner_ids(&s->r, &s->kv, ids, N, 0, N, s->logits, error);
}

static int n_norms; // layer norms until the flag goes up
static atomic_int flag;
static bool flag_is_up(const void *arg) { return atomic_load((const atomic_int *)arg) != 0; }
static void (*real_norm)(float *, const float *, const float *, const float *, size_t, float);
static void counting_norm(float *out, const float *x, const float *gain, const float *bias,
                          size_t n, float eps) {
    if (n_norms++ == 0) atomic_store(&flag, 1);
    real_norm(out, x, gain, bias, n, eps);
}

static void cancel_is_seen_after_a_layer(void **state) {
    (void)state;
    setup s;
    begin_as(&s, INKI_F32);
    forward_runner_free(&s.r);
    forward_runner_init(&s.r, &s.m, 1, N); // alone: the count below is of this thread
    real_norm = s.m.kernels.layer_norm;
    s.m.kernels.layer_norm = counting_norm;
    n_norms = 0;
    atomic_store(&flag, 0);
    s.r.cancelled = flag_is_up;
    s.r.cancelled_arg = &flag;
    ink_error error = {0};
    memset(s.logits, 0xff, sizeof s.logits);
    assert_int_equal(go(&s, &error), INK_E_CANCELLED);
    assert_int_equal(error.status, INK_E_CANCELLED);
    assert_int_equal(n_norms, 2 * N); // the first of three layers to its end, no head
    assert_true(isnan(s.logits[0]) != 0);
    // Without the flag the same memory gives the same pass as a fresh one.
    s.m.kernels.layer_norm = real_norm;
    atomic_store(&flag, 0);
    assert_int_equal(go(&s, NULL), INK_OK);
    setup fresh;
    begin_as(&fresh, INKI_F32);
    assert_int_equal(go(&fresh, NULL), INK_OK);
    assert_memory_equal(s.logits, fresh.logits, sizeof s.logits);
    end(&fresh);
    end(&s);
}

// A NaN or an infinity in any weight that the pass meets ends in a clear error, also where
// activations are rounded to bytes on the way.
static void broken_weights_are_noticed(void **state) {
    (void)state;
    static const uint32_t types[] = {INKI_F32, INKI_Q8_0, INKI_Q4_0};
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    for (size_t t = 0; t < 3; t++)
        for (size_t b = 0; b < 3; b++)
            for (int where = 0; where < 4; where++) {
                setup s;
                begin_as(&s, types[t]);
                const inki_layer *l = &s.m.layers[1];
                const float *place = where == 0   ? l->attn_norm_gain + 3
                                     : where == 1 ? l->qkv_bias + 2 * 32 + 5
                                     : where == 2 ? l->ffn_up_bias + 63
                                                  : s.m.weights.out_norm_bias + 31;
                memcpy((void *)(uintptr_t)place, &bad[b], sizeof bad[b]);
                ink_error error = {0};
                assert_int_equal(go(&s, &error), INK_E_NUMERIC);
                assert_int_equal(error.status, INK_E_NUMERIC);
                assert_non_null(strstr(error.message, "position 0"));
                end(&s);
            }
}

static void rows_may_want_nothing(void **state) {
    (void)state;
    setup s;
    begin_as(&s, INKI_F16);
    assert_int_equal(forward_runner_ids(&s.r, &s.kv, ids, N - 1, 0, 2, NULL, NULL), INK_OK);
    const inki_row last = {&s.kv, N - 1, ids[N - 1], s.logits, NULL, NULL};
    assert_int_equal(forward_runner_rows(&s.r, &last, 1, NULL), INK_OK);
    setup all;
    begin_as(&all, INKI_F16);
    assert_int_equal(go(&all, NULL), INK_OK);
    assert_memory_equal(s.logits, all.logits + (N - 1) * 50, 50 * sizeof *s.logits);
    end(&all);
    end(&s);
}

static void scratch_adds_up(void **state) {
    (void)state;
    setup s;
    begin_as(&s, INKI_F32);
    inki_scratch scratch;
    inki_arena arena = {0};
    inki_scratch_carve(&scratch, &arena, &s.m.weights, 10);
    // x, norm: 32 wide; wide: 96; act: 64 bytes + 2 scales; a pointer; each rounded up to 64 bytes.
    assert_int_equal(arena.used, 1280 + 1280 + 3840 + 1280 + 128);
    assert_false(arena.overflow);
    inki_weights huge = s.m.weights;
    huge.n_embd = huge.n_ff = UINT32_MAX;
    arena = (inki_arena){0};
    inki_scratch_carve(&scratch, &arena, &huge, UINT32_MAX);
    assert_true(arena.overflow);
    end(&s);
}

// --- who works ---------------------------------------------------------------------------------

static pthread_t caller;
static atomic_uint n_elsewhere; // calls of the kernel on another thread than the caller's
static void (*true_gelu)(float *x, size_t n);
static bool await_another; // until another thread has begun its part
static void watched_gelu(float *x, size_t n) {
    if (!pthread_equal(pthread_self(), caller)) atomic_fetch_add(&n_elsewhere, 1);
    while (await_another && atomic_load(&n_elsewhere) == 0) usleep(100);
    true_gelu(x, n);
}

// A pass that is small beside part_work stays on the caller's thread; a larger one is shared.
static void small_passes_stay_on_their_thread(void **state) {
    (void)state;
    for (int shared = 0; shared < 2; shared++) {
        forward_model m;
        forward_runner r;
        inki_kv kv;
        forward_model_init(&m, &shape, NULL, NULL);
        m.kernels.part_work = shared ? 1 << 8 : 1 << 16;
        await_another = shared;
        true_gelu = m.kernels.gelu;
        m.kernels.gelu = watched_gelu;
        caller = pthread_self();
        atomic_store(&n_elsewhere, 0);
        forward_runner_init(&r, &m, 2, N);
        forward_kv_new(&kv, &m, INK_KV_F32, true);
        float logits[N * 50];
        assert_int_equal(forward_runner_ids(&r, &kv, ids, N, 0, N, logits, NULL), INK_OK);
        assert_int_equal(atomic_load(&n_elsewhere) > 0, shared);
        forward_kv_delete(&kv);
        forward_runner_free(&r);
        forward_model_free(&m);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cancel_is_seen_after_a_layer),
        cmocka_unit_test(broken_weights_are_noticed),
        cmocka_unit_test(rows_may_want_nothing),
        cmocka_unit_test(scratch_adds_up),
        cmocka_unit_test(small_passes_stay_on_their_thread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
