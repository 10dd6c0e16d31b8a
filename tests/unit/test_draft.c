// SPDX-License-Identifier: MIT
// Who guesses, and when it is left alone: what passes cost is told by the test, so that nothing
// here depends on the clock but a drafting model's own time.
#include "engine/draft.h"

#include "opened.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef struct drafting {
    opened o;
    ink_session *s;
    inki_draft *d;
} drafting;

static drafting begin(uint32_t n_draft, uint32_t flags) {
    const tiny_model tiny = tiny_model_defaults();
    drafting t = {.o = opened_tiny(&tiny, 1, NULL)};
    t.s = opened_session(&t.o, 0, INK_KV_F16, 1);
    ink_session_options o = t.s->options;
    o.n_draft = n_draft;
    o.flags = flags;
    assert_int_equal(inki_draft_new(&t.d, &o, t.o.model, NULL), INK_OK);
    return t;
}

static void end(drafting *t) {
    inki_draft_free(t->d);
    ink_session_free(t->s);
    opened_close(&t->o);
}

// --- the text drafts -----------------------------------------------------------------------------

static void test_continues_what_stood_before(void **state) {
    (void)state;
    drafting t = begin(64, INK_SESSION_DRAFT_ALWAYS);
    ink_token out[70], text[] = {1, 2, 3, 4, 5, 9, 9, 2, 3, 4};
    memset(out, 0xff, sizeof out);
    assert_int_equal(inki_draft_propose(t.d, t.s, text, 10, 3, out), 3);
    assert_memory_equal(out, ((ink_token[]){5, 9, 9}), 3 * sizeof *out);
    assert_int_equal(out[3], -1);
    // Over its own end: the repetition goes on.
    assert_int_equal(inki_draft_propose(t.d, t.s, text, 10, 9, out), 9);
    assert_memory_equal(out, ((ink_token[]){5, 9, 9, 2, 3, 4, 5, 9, 9}), 9 * sizeof *out);
    // The same length with other tokens, and then nothing known.
    text[9] = 2;
    assert_int_equal(inki_draft_propose(t.d, t.s, text, 10, 2, out), 2);
    assert_memory_equal(out, ((ink_token[]){3, 2}), 2 * sizeof *out);
    text[9] = 77;
    assert_int_equal(inki_draft_propose(t.d, t.s, text, 10, 2, out), 0);
    assert_int_equal(inki_draft_propose(t.d, t.s, text, 9, 0, out), 0);
    assert_int_equal(inki_draft_propose(t.d, t.s, text, 0, 4, out), 0);
    assert_int_equal(inki_draft_propose(t.d, t.s, text, 9, 70, out), INKI_DRAFT_MAX);
    end(&t);
}

static void test_full_context(void **state) {
    (void)state;
    drafting t = begin(8, INK_SESSION_DRAFT_ALWAYS);
    const uint32_t n_ctx = t.s->options.n_ctx;
    ink_token *text = calloc(n_ctx + 1, sizeof *text), out[8];
    for (uint32_t n = 2; n < n_ctx; n += 3)
        assert_int_equal(inki_draft_propose(t.d, t.s, text, n, 8, out), n < 3 ? 0 : 8);
    assert_int_equal(inki_draft_propose(t.d, t.s, text, n_ctx, 1, out), 1);
    assert_int_equal(inki_draft_propose(t.d, t.s, text, n_ctx + 1, 1, out), 0);
    free(text);
    end(&t);
}

typedef struct written {
    uint32_t n_passes, n_drafted, n_accepted;
    double ms;
} written;

// Writes a given text: guesses are accepted where they are right; a pass of n rows takes
// 10 * (1 + another * (n - 1)) ms, or what `ms` says. The text is longer than the session's
// context, as one that slides is: it begins anew there.
static written write_text(drafting *t, const ink_token *text, uint32_t n, uint32_t from,
                          double another) {
    written w = {0};
    ink_token out[INKI_DRAFT_MAX];
    for (uint32_t at = from; at < n;) {
        const uint32_t most = n - at < 8 ? n - at : 8;
        const uint32_t k = inki_draft_propose(t->d, t->s, text, at, most, out);
        uint32_t right = 0;
        while (right < k && out[right] == text[at + right]) right++;
        const double ms = 10 * (1 + another * k);
        inki_draft_learn(t->d, k, right, ms);
        at += right + 1;
        w.n_passes++;
        w.n_drafted += k;
        w.n_accepted += right;
        w.ms += ms;
    }
    return w;
}

// periods of `period` tokens, some of them others each time.
static void make_text(ink_token *text, uint32_t n, uint32_t period, uint32_t changed_in) {
    for (uint32_t i = 0; i < n; i++) {
        text[i] = (ink_token)(i % period);
        if (changed_in > 0 && (uint32_t)rand() % changed_in == 0) text[i] = 150 + rand() % 100;
    }
}

enum { LONG = 3000 };
static ink_token long_text[LONG];

static drafting begin_long(uint32_t flags) {
    tiny_model tiny = tiny_model_defaults();
    tiny.n_ctx = LONG;
    drafting t = {.o = opened_tiny(&tiny, 1, NULL)};
    t.s = opened_session(&t.o, 0, INK_KV_F16, 1);
    ink_session_options o = t.s->options;
    o.n_draft = 8;
    o.flags = flags;
    assert_int_equal(inki_draft_new(&t.d, &o, t.o.model, NULL), INK_OK);
    return t;
}

static void test_pays_where_the_text_repeats(void **state) {
    (void)state;
    drafting t = begin_long(0);
    srand(3);
    make_text(long_text, LONG, 100, 25);
    const written w = write_text(&t, long_text, LONG, 200, 0.1);
    const double plain = 10.0 * (LONG - 200);
    print_message("repeating: %.2f times as fast, %u of %u accepted\n", plain / w.ms, w.n_accepted,
                  w.n_drafted);
    assert_true(w.ms < plain / 2.2);
    end(&t);
}

// Tokens without any order: what is guessed is wrong, and soon nothing is guessed.
static void test_gives_up_on_noise(void **state) {
    (void)state;
    drafting t = begin_long(0);
    srand(5);
    for (uint32_t i = 0; i < LONG; i++) long_text[i] = rand() % 30;
    const written w = write_text(&t, long_text, LONG, 100, 0.1);
    const double plain = 10.0 * (LONG - 100);
    print_message("noise: %.3f times as fast, %u of %u accepted\n", plain / w.ms, w.n_accepted,
                  w.n_drafted);
    assert_true(w.ms < plain / 0.98);
    assert_true(w.n_drafted < LONG / 20);
    end(&t);
}

// Where each row of a pass costs as much as a pass of its own.
static void test_gives_up_where_rows_are_dear(void **state) {
    (void)state;
    drafting t = begin_long(0);
    srand(3);
    make_text(long_text, LONG, 100, 25);
    written w = write_text(&t, long_text, LONG, 200, 1.2);
    const double plain = 10.0 * (LONG - 200);
    print_message("dear rows: %.3f times as fast, %u drafted\n", plain / w.ms, w.n_drafted);
    assert_true(w.ms < plain / 0.97);
    // And comes back where they have become cheap: what it tries now and then shows it.
    w = write_text(&t, long_text, LONG, 200, 0.05);
    print_message("cheap again: %.3f times as fast, %u drafted\n", plain / w.ms, w.n_drafted);
    assert_true(w.ms < plain / 1.5);
    end(&t);
}

static void test_always_means_always(void **state) {
    (void)state;
    drafting t = begin_long(INK_SESSION_DRAFT_ALWAYS);
    srand(5);
    for (uint32_t i = 0; i < LONG; i++) long_text[i] = rand() % 30;
    const written w = write_text(&t, long_text, LONG, 100, 5);
    // A token that stood before is guessed from, and that is each of them.
    assert_true(w.n_drafted >= 8 * (w.n_passes - 8));
    end(&t);
}

// One pass in which the machine slept must not end it, nor times without sense.
static void test_one_slow_pass(void **state) {
    (void)state;
    drafting t = begin_long(0);
    make_text(long_text, LONG, 50, 0);
    write_text(&t, long_text, 1000, 100, 0.1);
    inki_draft_learn(t.d, 8, 8, 5000);
    inki_draft_learn(t.d, 0, 0, 0);
    inki_draft_learn(t.d, 3, 3, -1);
    inki_draft_learn(t.d, UINT32_MAX, 3, 1);
    const written w = write_text(&t, long_text, 2000, 1000, 0.1);
    assert_true(w.n_passes < 160);
    end(&t);
}

// The very first step slept: other passes must not seem to cost nothing beside it.
static void test_slow_first_step(void **state) {
    (void)state;
    for (unsigned seed = 1; seed < 9; seed++) {
        drafting t = begin_long(0);
        srand(seed);
        for (uint32_t i = 0; i < LONG; i++) long_text[i] = rand() % 60;
        inki_draft_learn(t.d, 0, 0, 60);
        const written w = write_text(&t, long_text, 600, 300, 0.6);
        print_message("slow first step: %.3f times as fast, %u drafted\n", 3000 / w.ms,
                      w.n_drafted);
        assert_true(w.ms < 3000 / 0.97);
        end(&t);
    }
}

// --- a model drafts ------------------------------------------------------------------------------

static ink_token most_likely(const ink_session *s) {
    const float *row = s->row;
    ink_token best = 0;
    for (uint32_t i = 1; i < s->model->weights.n_vocab; i++)
        if (row[i] > row[best]) best = (ink_token)i;
    return best;
}

static inki_draft *new_model_draft(ink_session *s, ink_model *small, uint32_t flags) {
    ink_session_options o = s->options;
    inki_draft *d = NULL;
    o.n_draft = 8;
    o.draft = small;
    o.flags = flags;
    assert_int_equal(inki_draft_check(&o, s->model, NULL), INK_OK);
    assert_int_equal(inki_draft_new(&d, &o, s->model, NULL), INK_OK);
    return d;
}

// The model drafts for itself: all is accepted, up to the context's end.
static void test_same_model_guesses_all(void **state) {
    (void)state;
    const tiny_model tiny = tiny_model_defaults();
    opened o = opened_tiny(&tiny, 1, NULL);
    ink_session *s = opened_session(&o, 0, INK_KV_F16, 1);
    inki_draft *d = new_model_draft(s, o.model, INK_SESSION_DRAFT_ALWAYS);
    ink_token text[160] = {5, 6, 7}, out[8];
    uint32_t n = 3, n_drafted = 0;
    opened_eval(s, text, n, 0);
    while (n + 1 < tiny.n_ctx) {
        ink_token next = most_likely(s);
        text[n++] = next;
        const uint32_t most = tiny.n_ctx - n < 8 ? tiny.n_ctx - n : 8;
        const uint32_t k = inki_draft_propose(d, s, text, n, most, out);
        assert_int_equal(k, most);
        n_drafted += k;
        opened_eval(s, &next, 1, 0);
        for (uint32_t i = 0; i < k && n < tiny.n_ctx; i++) {
            next = most_likely(s);
            assert_int_equal(out[i], next);
            // Some drafts are broken off, as if the choice had been another.
            const bool breaks = i == 4 && n % 3 == 0;
            if (breaks) next = (next + 1) % 250;
            text[n++] = next;
            opened_eval(s, &next, 1, 0);
            if (breaks || (i == 4 && n % 3 == 2)) break;
        }
    }
    assert_true(n_drafted > 60);
    inki_draft_free(d);
    ink_session_free(s);
    opened_close(&o);
}

// The small model's context is shorter: it drafts as long as the text fits.
static void test_shorter_context(void **state) {
    (void)state;
    tiny_model tiny = tiny_model_defaults();
    opened o = opened_tiny(&tiny, 1, NULL);
    tiny.n_ctx = 20;
    opened small = opened_tiny(&tiny, 1, NULL);
    ink_session *s = opened_session(&o, 0, INK_KV_F16, 1);
    inki_draft *d = new_model_draft(s, small.model, INK_SESSION_DRAFT_ALWAYS);
    ink_token text[30] = {1}, out[8];
    assert_int_equal(inki_draft_propose(d, s, text, 10, 8, out), 8);
    assert_int_equal(inki_draft_propose(d, s, text, 15, 8, out), 5);
    assert_int_equal(inki_draft_propose(d, s, text, 20, 8, out), 0);
    assert_int_equal(inki_draft_propose(d, s, text, 5, 8, out), 8);
    // Cancelled: no guess, and the next one is as if nothing had been.
    ink_token again[8];
    ink_session_cancel(s);
    assert_int_equal(inki_draft_propose(d, s, text, 7, 8, again), 0);
    atomic_store(&s->cancel, 0);
    assert_int_equal(inki_draft_propose(d, s, text, 5, 8, again), 8);
    assert_memory_equal(out, again, sizeof out);
    inki_draft_free(d);
    ink_session_free(s);
    opened_close(&small);
    opened_close(&o);
}

// A model whose guesses are never right is soon left alone.
static void test_useless_model(void **state) {
    (void)state;
    const tiny_model tiny = tiny_model_defaults();
    opened o = opened_tiny(&tiny, 1, NULL);
    ink_session *s = opened_session(&o, 0, INK_KV_F16, 1);
    inki_draft *d = new_model_draft(s, o.model, 0);
    ink_token text[160] = {1}, out[8];
    uint32_t n_drafted = 0;
    for (uint32_t n = 2; n < 150; n++) {
        const uint32_t k = inki_draft_propose(d, s, text, n, 8, out);
        n_drafted += k;
        text[n] = k > 0 ? (out[0] + 1) % 250 : rand() % 250;
        // Long passes, so that a guess costs next to nothing beside them but a row.
        inki_draft_learn(d, k, 0, 1e6 * (1 + 0.1 * k));
    }
    print_message("useless model: %u drafted in 148 steps\n", n_drafted);
    assert_true(n_drafted > 0 && n_drafted < 60);
    inki_draft_free(d);
    ink_session_free(s);
    opened_close(&o);
}

// --- what may go wrong ---------------------------------------------------------------------------

static void refused(const tiny_model *model, const tiny_model *small, const char *message) {
    opened a = opened_tiny(model, 1, NULL), b = opened_tiny(small, 1, NULL);
    ink_session_options o;
    ink_error error = {0};
    ink_session_options_init(&o, sizeof o);
    o.n_draft = 4;
    o.draft = b.model;
    assert_int_equal(inki_draft_check(&o, a.model, &error), message != NULL ? INK_E_ARG : INK_OK);
    if (message != NULL && strstr(error.message, message) == NULL) fail_msg("%s", error.message);
    opened_close(&b);
    opened_close(&a);
}

static void test_vocabularies(void **state) {
    (void)state;
    const tiny_model tiny = tiny_model_defaults();
    tiny_model other = tiny;
    other.seed = 2;
    other.n_layer = 1;
    refused(&tiny, &other, NULL);
    other.n_vocab = 299;
    refused(&tiny, &other, "has 299 tokens; the model has 300");
    // As many tokens, of which one is another text.
    other = tiny;
    other.n_vocab = 258;
    opened a = opened_tiny(&other, 1, NULL);
    // The last token before the end token, as it stands in the list, and in the list of merges.
    const size_t n = a.n_bytes;
    uint8_t *bytes = malloc(n);
    assert_non_null(bytes);
    memcpy(bytes, a.bytes, n);
    uint32_t n_changed = 0;
    for (size_t at = 0; at + 3 < n && at < 8192; at++) {
        const bool token = memcmp(bytes + at, "\xc4\xa0t", 3) == 0;
        const bool merge = memcmp(bytes + at, "\xc4\xa0 t", 4) == 0;
        if (token || merge) bytes[at + (token ? 2 : 3)] = 'Q', n_changed++;
    }
    assert_int_equal(n_changed, 2);
    const ink_source source = {
        .size = sizeof source, .kind = INK_SOURCE_MEMORY, .data = bytes, .bytes = n};
    ink_model *changed = NULL;
    ink_error error = {0};
    assert_int_equal(ink_model_open(&changed, NULL, &source, NULL, &error), INK_OK);
    ink_session_options o;
    ink_session_options_init(&o, sizeof o);
    o.draft = changed;
    assert_int_equal(inki_draft_check(&o, a.model, &error), INK_E_ARG);
    assert_string_equal(error.message, "draft: token 256 is \" Q\"; that of the model is \" t\"");
    ink_model_unref(changed);
    free(bytes);
    opened_close(&a);
}

static void test_memory(void **state) {
    (void)state;
    static const uint32_t contexts[] = {2, 17, 64, 160};
    const tiny_model tiny = tiny_model_defaults();
    heap h = {0};
    opened o = opened_tiny(&tiny, 1, &h);
    for (int k = 0; k < 8; k++) {
        ink_session_options so;
        inki_draft *d = NULL;
        uint64_t bytes = 0, kv = 0;
        ink_session_options_init(&so, sizeof so);
        so.n_ctx = contexts[k / 2];
        so.n_draft = 1;
        so.draft = k % 2 == 1 ? o.model : NULL;
        assert_int_equal(inki_session_options_complete(&so, &o.model->weights, NULL), INK_OK);
        assert_int_equal(inki_draft_bytes(&so, &o.model->weights, &bytes, &kv, NULL), INK_OK);
        const size_t before = h.live_bytes, blocks = h.live_blocks;
        assert_int_equal(inki_draft_new(&d, &so, o.model, NULL), INK_OK);
        assert_int_equal(h.live_bytes - before, bytes);
        assert_true(k % 2 == 1 ? kv > 0 && kv < bytes : kv == 0);
        // Nothing is asked for later.
        ink_session *s = opened_session(&o, contexts[k / 2], INK_KV_F16, 1);
        const size_t requests = h.n_allocs;
        ink_token text[160] = {0}, out[8];
        for (uint32_t n = 1; n < contexts[k / 2]; n++) inki_draft_propose(d, s, text, n, 8, out);
        assert_int_equal(h.n_allocs, requests);
        ink_session_free(s);
        inki_draft_free(d);
        assert_int_equal(h.live_bytes, before);
        // Each request refused in turn.
        for (size_t i = 1; h.live_blocks == blocks; i++) {
            ink_error error = {0};
            d = NULL;
            h.fail_at = h.n_allocs + i;
            const ink_status status = inki_draft_new(&d, &so, o.model, &error);
            h.fail_at = 0;
            if (status == INK_OK) break;
            assert_int_equal(status, INK_E_NOMEM);
            assert_null(d);
            assert_int_equal(h.live_bytes, before);
        }
        inki_draft_free(d);
        assert_int_equal(h.live_blocks, blocks);
    }
    opened_close(&o);
    assert_int_equal(h.live_blocks, 0);
    assert_int_equal(h.wrong_releases, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_continues_what_stood_before),
        cmocka_unit_test(test_full_context),
        cmocka_unit_test(test_pays_where_the_text_repeats),
        cmocka_unit_test(test_gives_up_on_noise),
        cmocka_unit_test(test_gives_up_where_rows_are_dear),
        cmocka_unit_test(test_always_means_always),
        cmocka_unit_test(test_one_slow_pass),
        cmocka_unit_test(test_slow_first_step),
        cmocka_unit_test(test_same_model_guesses_all),
        cmocka_unit_test(test_shorter_context),
        cmocka_unit_test(test_useless_model),
        cmocka_unit_test(test_vocabularies),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests_name("drafts", tests, NULL, NULL);
}
