// SPDX-License-Identifier: MIT
// The host's floating-point state: another rounding mode, unmasked exceptions or flushed denormals
// change not one byte of what the library makes, the host finds them as they were, also inside the
// callback, and no exception is raised in its name.
#include "guest/guest.h"

#include <fenv.h>
#include <math.h>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

// All that the host may have set: the rounding mode and, where there is one, the control word.
typedef struct host_state {
    int rounding, raised;
    uint32_t control;
} host_state;

static host_state look(void) {
    host_state s = {.rounding = fegetround(), .raised = fetestexcept(FE_ALL_EXCEPT)};
#if defined(__x86_64__)
    s.control = _mm_getcsr() & ~0x3fu; // without the sticky flags, which stand in `raised`
#elif defined(__aarch64__)
    uint64_t fpcr;
    __asm__ volatile("mrs %0, fpcr" : "=r"(fpcr));
    s.control = (uint32_t)fpcr;
#endif
    return s;
}

static void assert_state(host_state found, host_state wanted) {
    assert_int_equal(found.rounding, wanted.rounding);
    assert_int_equal(found.control, wanted.control);
    assert_int_equal(found.raised, wanted.raised);
}

typedef struct watched {
    guest_text text;
    host_state wanted, inside;
    bool differs;
} watched;

// Only remembers: an assertion inside would use floating point and jump out of the library.
static int watch(void *user, const ink_piece *piece) {
    watched *w = user;
    w->inside = look();
    w->differs = w->differs || memcmp(&w->inside, &w->wanted, sizeof w->inside) != 0;
    return guest_collect(&w->text, piece);
}

// Logits of a prompt, straight from the evaluation, and the text of a whole generation.
typedef struct outcome {
    guest_text text;
    float logits[512];
    size_t n_logits;
} outcome;

static void run(ink_engine *engine, outcome *out) {
    static watched w;
    w = (watched){.wanted = look()};
    assert_int_equal(ink_generate(engine, "The quick brown fox", watch, &w), INK_OK);
    assert_state(look(), w.wanted);
    if (w.differs) assert_state(w.inside, w.wanted);
    out->text = w.text;

    ink_session *session = ink_engine_session(engine);
    ink_token tokens[64];
    size_t n = 0;
    assert_int_equal(
        ink_tokenize(ink_engine_model(engine), "slow green turtle", 17, 0, tokens, 64, &n, NULL),
        INK_OK);
    assert_state(look(), w.wanted);
    assert_int_equal(ink_session_rewind(session, 0), INK_OK);
    assert_state(look(), w.wanted);
    const ink_span span = {.session = session, .tokens = tokens, .n_tokens = n};
    assert_int_equal(ink_eval(&span, 1, NULL), INK_OK);
    assert_state(look(), w.wanted);
    const float *logits = ink_session_logits(session, 0, &out->n_logits);
    assert_non_null(logits);
    assert_true(out->n_logits <= 512);
    memcpy(out->logits, logits, out->n_logits * sizeof *logits);

    // The sampler computes too: with its own random numbers, seeded.
    ink_sampler_options options;
    ink_sampler_options_init(&options, sizeof options);
    options.seed_set = 1;
    options.seed = 7;
    ink_sampler *sampler = NULL;
    assert_int_equal(ink_sampler_new(&sampler, ink_engine_model(engine), NULL, &options, NULL),
                     INK_OK);
    ink_token token = -1;
    assert_int_equal(ink_sample(session, sampler, &token, NULL), INK_OK);
    out->text.bytes += (size_t)snprintf(out->text.text + out->text.bytes, 16, " %d", (int)token);
    ink_sampler_free(sampler);
    assert_state(look(), w.wanted);
}

static void assert_same(const outcome *a, const outcome *b) {
    guest_assert_same(&a->text, &b->text);
    assert_int_equal(a->n_logits, b->n_logits);
    assert_memory_equal(a->logits, b->logits, a->n_logits * sizeof(float));
}

static outcome usual, unusual;

static void rounding_modes(void **state) {
    (void)state;
    const int modes[] = {FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO};
    for (uint32_t n_threads = 1; n_threads <= 3; n_threads += 2) {
        ink_engine *engine = guest_open(n_threads);
        run(engine, &usual);
        for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
            assert_int_equal(fesetround(modes[i]), 0);
            run(engine, &unusual);
            // An engine opened in that mode as well: tables may be made while a model is opened.
            ink_engine *other = guest_open(n_threads);
            assert_same(&usual, &unusual);
            run(other, &unusual);
            assert_int_equal(fegetround(), modes[i]);
            assert_int_equal(ink_close(other), INK_OK);
            assert_int_equal(fesetround(FE_TONEAREST), 0);
            assert_same(&usual, &unusual);
        }
        assert_int_equal(ink_close(engine), INK_OK);
    }
}

static void raised_flags_are_kept(void **state) {
    (void)state;
    ink_engine *engine = guest_open(1);
    feclearexcept(FE_ALL_EXCEPT);
    feraiseexcept(FE_DIVBYZERO);
    run(engine, &unusual); // asserts that neither more nor fewer are raised afterwards
    assert_true(fetestexcept(FE_DIVBYZERO));
    feclearexcept(FE_ALL_EXCEPT);
    assert_int_equal(ink_close(engine), INK_OK);
}

// A host that traps on what is usually ignored: the arithmetic of a softmax underflows as a matter
// of course and must not kill it.
static void unmasked_exceptions(void **state) {
    (void)state;
#ifdef __GLIBC__
    ink_engine *engine = guest_open(2);
    run(engine, &usual);
    feclearexcept(FE_ALL_EXCEPT);
    if (feenableexcept(FE_DIVBYZERO | FE_INVALID | FE_OVERFLOW | FE_UNDERFLOW) == -1) {
        print_message("left out: trapping exceptions, the processor has none\n");
        skip();
    }
    run(engine, &unusual);
    assert_int_equal(ink_close(engine), INK_OK);
    engine = guest_open(2);
    run(engine, &unusual);
    assert_int_equal(ink_close(engine), INK_OK);
    fedisableexcept(FE_ALL_EXCEPT);
    assert_same(&usual, &unusual);
#else
    print_message("left out: trapping exceptions, only tried with glibc\n");
    skip();
#endif
}

static void flushed_denormals(void **state) {
    (void)state;
#if defined(__x86_64__)
    const unsigned flush = 0x8040; // flush to zero, denormals are zero
    ink_engine *engine = guest_open(2);
    run(engine, &usual);
    const unsigned saved = _mm_getcsr();
    _mm_setcsr(saved | flush);
    run(engine, &unusual);
    assert_int_equal(_mm_getcsr() & flush, flush);
    _mm_setcsr(saved);
    assert_int_equal(ink_close(engine), INK_OK);
    assert_same(&usual, &unusual);
#else
    print_message("left out: flushed denormals, only tried on x86-64\n");
    skip();
#endif
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rounding_modes),
        cmocka_unit_test(raised_flags_are_kept),
        cmocka_unit_test(unmasked_exceptions),
        cmocka_unit_test(flushed_denormals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
