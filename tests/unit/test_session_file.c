// SPDX-License-Identifier: MIT
// Sessions that are saved and restored: what comes back goes on with the very bytes that the saved
// one goes on with, and that a fresh evaluation of the same tokens gives.
#include "engine/engine.h"
#include "opened.h"
#include "saved.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { N_CTX = 160, N_VOCAB = 300, N_MORE = 20 };

static opened model;
static ink_token ids[N_CTX + 64];

static int begin(void **state) {
    (void)state;
    const tiny_model tiny = tiny_model_defaults();
    model = opened_tiny(&tiny, 2, NULL);
    opened_ids(ids, sizeof ids / sizeof ids[0], N_VOCAB, 5);
    return 0;
}

static int end(void **state) {
    (void)state;
    opened_close(&model);
    return 0;
}

static void assert_same_past(const ink_session *a, const ink_session *b) {
    size_t n = 0, n_b = 0;
    const ink_token *of_a = ink_session_tokens(a, &n), *of_b = ink_session_tokens(b, &n_b);
    assert_int_equal(n, n_b);
    if (n > 0) assert_memory_equal(of_a, of_b, n * sizeof *of_a);
}

// --- round trips ---------------------------------------------------------------------------------

static void lengths(void **state) {
    (void)state;
    static const size_t counts[] = {1,  2,  15, 16, 17,  31,  33,  63, 64,
                                    65, 79, 80, 81, 127, 128, 129, 140};
    for (uint32_t kv_type = 0; kv_type < 3; kv_type++) {
        for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
            const size_t n = counts[i];
            ink_session *from = opened_session(&model, N_CTX, kv_type, 1);
            ink_session *to = opened_session(&model, N_CTX, kv_type, 1);
            ink_session *fresh = opened_session(&model, N_CTX, kv_type, 1);
            ink_restored restored = {.size = sizeof restored};
            opened_eval(from, ids, n, 7);
            // What the other session held before must not show.
            opened_eval(to, ids + 30, 150, 0);
            const saved file = saved_of(from, NULL);
            saved_wake(to, &file, &restored);
            assert_int_equal(restored.n_past, n);
            assert_null(restored.sampler);
            assert_null(restored.filter);
            assert_null(restored.note);
            assert_int_equal(restored.note_bytes, 0);
            assert_same_past(from, to);
            assert_same_logits(from, to);
            const saved again = saved_of(to, NULL);
            assert_true(saved_equal(&file, &again));
            opened_eval(from, ids + n, N_MORE, 0);
            opened_eval(to, ids + n, N_MORE, 3);
            opened_eval(fresh, ids, n + N_MORE, 0);
            assert_same_logits(from, to);
            assert_same_logits(from, fresh);
            // The files are those of the past and of nothing else.
            const saved a = saved_of(to, NULL), b = saved_of(fresh, NULL);
            assert_true(saved_equal(&a, &b));
            free(a.data);
            free(b.data);
            free(again.data);
            free(file.data);
            ink_session_free(from);
            ink_session_free(to);
            ink_session_free(fresh);
        }
    }
}

static void nothing_yet(void **state) {
    (void)state;
    ink_session *from = opened_session(&model, N_CTX, INK_KV_F16, 1);
    ink_session *to = opened_session(&model, N_CTX, INK_KV_F16, 1);
    opened_eval(to, ids, 70, 0);
    const saved file = saved_of(from, NULL);
    saved_wake(to, &file, NULL);
    assert_int_equal(ink_session_n_past(to), 0);
    assert_null(ink_session_logits(to, 0, NULL));
    opened_eval(from, ids, 5, 0);
    opened_eval(to, ids, 5, 0);
    assert_same_logits(from, to);
    free(file.data);
    ink_session_free(from);
    ink_session_free(to);
}

// Keys and values behind the past are of tokens that were given up: they are not in the file.
static void rewound(void **state) {
    (void)state;
    for (uint32_t kv_type = 0; kv_type < 3; kv_type++) {
        ink_session *from = opened_session(&model, N_CTX, kv_type, 1);
        ink_session *fresh = opened_session(&model, N_CTX, kv_type, 1);
        ink_session *to = opened_session(&model, N_CTX, kv_type, 1);
        opened_eval(from, ids, 60, 0);
        opened_eval(from, ids + 90, 60, 0);
        assert_int_equal(ink_session_rewind(from, 60), INK_OK);
        const saved without = saved_of(from, NULL);
        saved_wake(to, &without, NULL);
        assert_null(ink_session_logits(to, 0, NULL));
        opened_eval(to, ids + 60, 9, 0);
        opened_eval(from, ids + 60, 9, 1);
        opened_eval(fresh, ids, 69, 0);
        const saved a = saved_of(from, NULL), b = saved_of(fresh, NULL), c = saved_of(to, NULL);
        assert_true(saved_equal(&a, &b));
        assert_true(saved_equal(&a, &c));
        free(without.data);
        free(a.data);
        free(b.data);
        free(c.data);
        ink_session_free(from);
        ink_session_free(fresh);
        ink_session_free(to);
    }
}

// Pages that a fork shares are not written, neither are those of the session that was saved.
static void forks(void **state) {
    (void)state;
    ink_session *parent = opened_session(&model, N_CTX, INK_KV_F16, 1), *child = NULL,
                *other = NULL;
    ink_session *fresh = opened_session(&model, N_CTX, INK_KV_F16, 1);
    opened_eval(parent, ids, 130, 0);
    assert_int_equal(ink_session_fork(parent, &child, NULL), INK_OK);
    assert_int_equal(ink_session_fork(parent, &other, NULL), INK_OK);
    opened_eval(child, ids + 140, 10, 0);
    const saved of_parent = saved_of(parent, NULL), of_child = saved_of(child, NULL);
    opened_eval(fresh, ids + 20, 100, 0);
    const saved of_fresh = saved_of(fresh, NULL);
    saved_wake(parent, &of_fresh, NULL);
    saved_wake(other, &of_child, NULL);
    assert_same_logits(other, child);
    assert_same_logits(parent, fresh);
    const saved child_now = saved_of(child, NULL);
    assert_true(saved_equal(&of_child, &child_now));
    opened_eval(child, ids, 5, 0);
    opened_eval(other, ids, 5, 1);
    assert_same_logits(other, child);
    saved_wake(child, &of_parent, NULL);
    opened_eval(child, ids + 130, 5, 1);
    assert_int_equal(ink_session_rewind(fresh, 0), INK_OK);
    opened_eval(fresh, ids, 135, 0);
    assert_same_logits(child, fresh);
    const saved *files[] = {&of_parent, &of_child, &of_fresh, &child_now};
    for (size_t i = 0; i < 4; i++) free(files[i]->data);
    ink_session_free(parent);
    ink_session_free(child);
    ink_session_free(other);
    ink_session_free(fresh);
}

// A session without a past may have others' pages in its cache still.
static void shared_behind_the_past(void **state) {
    (void)state;
    ink_session *parent = opened_session(&model, N_CTX, INK_KV_F16, 1), *child = NULL;
    ink_session *from = opened_session(&model, N_CTX, INK_KV_F16, 1);
    opened_eval(parent, ids, 70, 0);
    opened_eval(from, ids + 10, 70, 0);
    const saved before = saved_of(parent, NULL), file = saved_of(from, NULL);
    assert_int_equal(ink_session_fork(parent, &child, NULL), INK_OK);
    const ink_token other = (ids[0] + 1) % (N_VOCAB - 1);
    inki_session_go_to(child, &other, 1);
    assert_int_equal(ink_session_n_past(child), 0);
    saved_wake(child, &file, NULL);
    assert_same_logits(child, from);
    const saved after = saved_of(parent, NULL);
    assert_true(saved_equal(&before, &after));
    free(before.data);
    free(after.data);
    free(file.data);
    ink_session_free(parent);
    ink_session_free(child);
    ink_session_free(from);
}

static void other_contexts(void **state) {
    (void)state;
    ink_session *from = opened_session(&model, 100, INK_KV_F16, 1);
    ink_session *large = opened_session(&model, N_CTX, INK_KV_F16, 1);
    ink_session *small = opened_session(&model, 79, INK_KV_F16, 1);
    ink_session *just = opened_session(&model, 80, INK_KV_F16, 1);
    ink_error error = {0};
    opened_eval(from, ids, 80, 0);
    opened_eval(small, ids, 3, 0);
    const saved file = saved_of(from, NULL);
    saved_wake(large, &file, NULL);
    saved_wake(just, &file, NULL);
    assert_same_logits(from, just);
    opened_eval(from, ids + 80, 20, 0);
    opened_eval(large, ids + 80, 20, 0);
    assert_same_logits(from, large);
    opened_eval(large, ids + 100, 40, 0);
    assert_int_equal(saved_restore(small, &file, NULL, &error), INK_E_CONTEXT);
    assert_non_null(strstr(error.message, "80"));
    assert_non_null(strstr(error.message, "79"));
    assert_int_equal(ink_session_n_past(small), 3);
    free(file.data);
    ink_session_free(from);
    ink_session_free(large);
    ink_session_free(small);
    ink_session_free(just);
}

// A session that keeps rows of logits has that of the restored position among them.
static void held_rows(void **state) {
    (void)state;
    ink_session_options options;
    ink_session_options_init(&options, sizeof options);
    options.n_held = 4;
    ink_session *from = NULL, *to = NULL;
    assert_int_equal(ink_session_new(&from, model.model, &options, NULL), INK_OK);
    assert_int_equal(ink_session_new(&to, model.model, &options, NULL), INK_OK);
    opened_eval(from, ids, 20, 1);
    opened_eval(to, ids + 40, 21, 1);
    const saved file = saved_of(from, NULL);
    saved_wake(to, &file, NULL);
    assert_same_logits(from, to);
    opened_eval(to, ids + 20, 2, 1);
    // Rows of what the session held before are not those of the same positions now.
    assert_int_equal(ink_session_rewind(to, 19), INK_OK);
    assert_null(ink_session_logits(to, 0, NULL));
    opened_eval(to, ids + 19, 3, 1);
    assert_int_equal(ink_session_rewind(to, 20), INK_OK);
    assert_same_logits(from, to);
    free(file.data);
    ink_session_free(from);
    ink_session_free(to);
}

// --- what belongs to a continuation --------------------------------------------------------------

static ink_status continue_text(ink_session *s, const ink_sampler *sampler, uint32_t n,
                                uint32_t overflow, const char *text, collected *out) {
    ink_generate_options o;
    ink_generate_options_init(&o, sizeof o);
    o.n_tokens = n;
    o.sampler = sampler;
    o.overflow = overflow;
    o.flags = INK_GENERATE_NO_END;
    return ink_session_generate(s, text, strlen(text), &o, collect, out, NULL, NULL);
}

static ink_sampler *sampler_of(const char *chain, uint64_t seed) {
    ink_sampler_options o;
    ink_sampler *sampler = NULL;
    ink_error error = {0};
    ink_sampler_options_init(&o, sizeof o);
    o.seed_set = 1;
    o.seed = seed;
    if (ink_sampler_new(&sampler, model.model, chain, &o, &error) != INK_OK)
        fail_msg("%s", error.message);
    return sampler;
}

// The random position counts what sliding forgot.
static void slid(void **state) {
    (void)state;
    ink_sampler *sampler = sampler_of("top_k=50;temp=1.5", 77);
    ink_session *from = opened_session(&model, 64, INK_KV_F16, 1);
    ink_session *to = opened_session(&model, 64, INK_KV_F16, 1);
    static collected first, a, b;
    assert_int_equal(
        continue_text(from, sampler, 150, INK_OVERFLOW_SLIDE, "Once upon a time", &first), INK_OK);
    ink_save_options options;
    ink_save_options_init(&options, sizeof options);
    options.sampler = sampler;
    const saved file = saved_of(from, &options);
    assert_true(saved_get(&file, SAVED_N_FORGOTTEN) > 0);
    ink_restored restored = {0};
    saved_wake(to, &file, &restored);
    assert_int_equal(restored.size, sizeof restored);
    assert_int_equal(ink_sampler_seed(restored.sampler), 77);
    assert_int_equal(continue_text(from, sampler, 10, INK_OVERFLOW_SLIDE, "", &a), INK_OK);
    assert_int_equal(continue_text(to, restored.sampler, 10, INK_OVERFLOW_SLIDE, "", &b), INK_OK);
    assert_true(a.bytes > 0);
    assert_string_equal(a.text, b.text);
    free(file.data);
    ink_sampler_free(restored.sampler);
    ink_sampler_free(sampler);
    ink_session_free(from);
    ink_session_free(to);
}

static void streams(void **state) {
    (void)state;
    ink_sampler *sampler = sampler_of("temp=2", 3);
    ink_session_options options;
    ink_session_options_init(&options, sizeof options);
    options.stream = 0x123456789abcdef0u;
    ink_session *from = NULL, *to = opened_session(&model, 0, INK_KV_F16, 1);
    assert_int_equal(ink_session_new(&from, model.model, &options, NULL), INK_OK);
    opened_eval(from, ids, 9, 0);
    opened_eval(to, ids, 9, 0);
    const saved file = saved_of(from, NULL);
    size_t n_same = 0;
    for (int after = 0; after < 2; after++) {
        n_same = 0;
        for (int i = 0; i < 20; i++) {
            ink_token a = -1, b = -1;
            assert_int_equal(ink_sample(from, sampler, &a, NULL), INK_OK);
            assert_int_equal(ink_sample(to, sampler, &b, NULL), INK_OK);
            n_same += a == b;
            opened_eval(from, &a, 1, 0);
            opened_eval(to, &a, 1, 0);
        }
        if (after == 0) assert_true(n_same < 20);
        saved_wake(to, &file, NULL);
        saved_wake(from, &file, NULL);
    }
    assert_int_equal(n_same, 20);
    free(file.data);
    ink_sampler_free(sampler);
    ink_session_free(from);
    ink_session_free(to);
}

static void assert_same_samplers(const ink_sampler *a, const ink_sampler *b) {
    char of_a[400], of_b[400];
    size_t n = 0;
    assert_int_equal(ink_sampler_chain(a, of_a, sizeof of_a, &n), INK_OK);
    assert_int_equal(ink_sampler_chain(b, of_b, sizeof of_b, &n), INK_OK);
    assert_string_equal(of_a, of_b);
    assert_int_equal(ink_sampler_seed(a), ink_sampler_seed(b));
}

static void assert_same_finds(const ink_filter *a, const ink_filter *b, const char *text) {
    size_t at[2], bytes[2];
    assert_int_equal(ink_filter_find(a, text, strlen(text), &at[0], &bytes[0]), INK_OK);
    assert_int_equal(ink_filter_find(b, text, strlen(text), &at[1], &bytes[1]), INK_OK);
    assert_int_equal(bytes[0], bytes[1]);
    if (bytes[0] > 0) assert_int_equal(at[0], at[1]);
}

// A caller who has no room for them in the report.
static void assert_reports_of_other_sizes(ink_session *to, const saved *file) {
    ink_restored restored = {.size = 8};
    saved_wake(to, file, &restored);
    assert_null(restored.sampler);
    restored.size = 16;
    saved_wake(to, file, &restored);
    assert_non_null(restored.sampler);
    assert_null(restored.filter);
    ink_sampler_free(restored.sampler);
}

static void parts(void **state) {
    (void)state;
    static const char note[] = "chapter 3\0and bytes";
    // U+023A grows when it is folded: the phrase is then longer than a new one might be.
    static char grown[1025];
    for (size_t i = 0; i < 1024; i += 2) memcpy(grown + i, "\xc8\xba", 2);
    const char *phrases[] = {"Grey  Rabbit", "STRASSE", "\xe7\x8c\xab", "rabbit", "RABBIT", grown};
    const char *texts[] = {"a grey\trabbit",
                           "Stra\xc3\x9f"
                           "e",
                           "strasse",
                           "\xe7\x8c\xab",
                           "rabbits",
                           grown,
                           "none"};
    ink_filter *filter = NULL;
    assert_int_equal(ink_filter_new(&filter, model.runtime, phrases, 6, NULL), INK_OK);
    ink_sampler *sampler =
        sampler_of("logit_bias=5:-inf,7:1.25;penalties=1.1,32;top_k=7;top_p=0.3;temp=0.7", 99);
    ink_session *from = opened_session(&model, N_CTX, INK_KV_F16, 1);
    ink_session *to = opened_session(&model, N_CTX, INK_KV_F16, 1);
    opened_eval(from, ids, 10, 0);
    ink_save_options o;
    ink_save_options_init(&o, sizeof o);
    o.sampler = sampler;
    o.filter = filter;
    o.note = note;
    o.note_bytes = sizeof note;
    const saved file = saved_of(from, &o);
    ink_restored restored = {.size = sizeof restored};
    saved_wake(to, &file, &restored);
    assert_int_equal(restored.note_bytes, sizeof note);
    assert_memory_equal(restored.note, note, sizeof note);
    assert_same_samplers(sampler, restored.sampler);
    assert_int_equal(ink_sampler_seed(restored.sampler), 99);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        assert_same_finds(filter, restored.filter, texts[i]);
    assert_int_equal(inki_filter_reach(filter), inki_filter_reach(restored.filter));
    // They are the caller's, and another note takes the place of the first.
    o.sampler = restored.sampler;
    o.filter = restored.filter;
    const saved again = saved_of(to, &o);
    assert_true(saved_equal(&file, &again));
    saved_wake(to, &file, NULL);
    const saved without = saved_of(to, NULL);
    ink_filter_unref(restored.filter);
    ink_sampler_free(restored.sampler);
    assert_reports_of_other_sizes(to, &file);
    saved_wake(to, &without, &restored);
    assert_null(restored.note);
    assert_null(restored.sampler);
    free(file.data);
    free(again.data);
    free(without.data);
    ink_filter_unref(filter);
    ink_sampler_free(sampler);
    ink_session_free(from);
    ink_session_free(to);
}

// What generate.c leaves in the session for the next call.
static void continuation_under_way(void **state) {
    (void)state;
    ink_session *from = opened_session(&model, N_CTX, INK_KV_F16, 1);
    ink_session *to = opened_session(&model, N_CTX, INK_KV_F16, 1);
    opened_eval(from, ids, 30, 0);
    opened_eval(to, ids, 3, 0);
    from->is_cut = true;
    from->n_pending = 2;
    memcpy(from->tokens + 30, ids + 50, 2 * sizeof *ids);
    from->n_unsaid = 3;
    from->n_series = 1000;
    assert_int_equal(inki_session_need_mu(from, NULL), INK_OK);
    for (uint32_t i = 1; i <= 31; i++) from->mu[i] = i % 5 == 0 ? (double)NAN : i / 7.0;
    from->n_mu = 31;
    const saved file = saved_of(from, NULL);
    saved_wake(to, &file, NULL);
    assert_true(to->is_cut);
    assert_int_equal(to->n_pending, 2);
    assert_memory_equal(to->tokens + 30, ids + 50, 2 * sizeof *ids);
    assert_int_equal(to->n_unsaid, 3);
    assert_int_equal(to->n_series, 1000);
    assert_int_equal(to->n_mu, 31);
    assert_memory_equal(to->mu, from->mu, 32 * sizeof(double));
    const saved again = saved_of(to, NULL);
    assert_true(saved_equal(&file, &again));
    // And one without any of it.
    ink_session *plain = opened_session(&model, N_CTX, INK_KV_F16, 1);
    opened_eval(plain, ids, 30, 0);
    const saved other = saved_of(plain, NULL);
    saved_wake(to, &other, NULL);
    assert_false(to->is_cut);
    assert_int_equal(to->n_pending, 0);
    assert_int_equal(to->n_mu, 0);
    free(file.data);
    free(again.data);
    free(other.data);
    ink_session_free(from);
    ink_session_free(to);
    ink_session_free(plain);
}

// One text, given out in pieces, each by another session that woke from the last one's file: with
// what is held back of it, mirostat's state, the random position behind a context that slid.
static ink_status tell_on(ink_session *s, const ink_restored *with, uint32_t n, uint32_t overflow,
                          bool first, collected *out) {
    static const char *const stops[] = {"\xff\xfe never", "e never"};
    ink_generate_options o;
    ink_generate_options_init(&o, sizeof o);
    o.n_tokens = n;
    o.sampler = with->sampler;
    o.filter = with->filter;
    o.overflow = overflow;
    o.stop = stops;
    o.n_stop = 2;
    o.flags = INK_GENERATE_NO_END | INK_GENERATE_CONTINUE;
    const char *prompt = first ? "Once upon a time" : "";
    return ink_session_generate(s, prompt, strlen(prompt), &o, collect, out, NULL, NULL);
}

static void continued(void **state) {
    (void)state;
    static const char *const chains[] = {"top_k=80;temp=1.2", "temp=1.5;mirostat=4,0.2",
                                         "penalties=1.2,32;dry=1,1.5,2,100;top_p=0.9;temp=1.3"};
    static const char *const phrases[] = {"the", "e e", "a b c d"};
    enum { N = 120 };
    static collected whole, pieces;
    for (size_t k = 0; k < 18; k++) {
        const uint32_t overflow = k % 2 == 0 ? INK_OVERFLOW_SLIDE : INK_OVERFLOW_ERROR;
        const uint32_t n_ctx = k % 2 == 0 ? 48 : N_CTX, kv_type = (uint32_t)(k % 3);
        ink_restored with = {.sampler = sampler_of(chains[k / 2 % 3], k)};
        assert_int_equal(ink_filter_new(&with.filter, NULL, phrases, 3, NULL), INK_OK);
        ink_session *s = opened_session(&model, n_ctx, kv_type, 1);
        whole.bytes = pieces.bytes = 0;
        whole.text[0] = pieces.text[0] = 0;
        assert_int_equal(tell_on(s, &with, N, overflow, true, &whole), INK_OK);
        assert_int_equal(ink_session_rewind(s, 0), INK_OK);
        uint64_t random = k;
        for (uint32_t n = 0; n < N;) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            uint32_t more = 1 + (uint32_t)(random >> 33) % 7;
            if (more > N - n) more = N - n;
            assert_int_equal(tell_on(s, &with, more, overflow, n == 0, &pieces), INK_OK);
            n += more;
            ink_save_options o;
            ink_save_options_init(&o, sizeof o);
            o.sampler = with.sampler;
            o.filter = with.filter;
            const saved file = saved_of(s, &o);
            ink_session_free(s);
            ink_sampler_free(with.sampler);
            ink_filter_unref(with.filter);
            s = opened_session(&model, n_ctx, kv_type, 1);
            saved_wake(s, &file, &with);
            free(file.data);
        }
        assert_true(whole.bytes > 20);
        assert_string_equal(whole.text, pieces.text);
        ink_session_free(s);
        ink_sampler_free(with.sampler);
        ink_filter_unref(with.filter);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lengths),
        cmocka_unit_test(nothing_yet),
        cmocka_unit_test(rewound),
        cmocka_unit_test(forks),
        cmocka_unit_test(shared_behind_the_past),
        cmocka_unit_test(other_contexts),
        cmocka_unit_test(held_rows),
        cmocka_unit_test(slid),
        cmocka_unit_test(streams),
        cmocka_unit_test(parts),
        cmocka_unit_test(continuation_under_way),
        cmocka_unit_test(continued),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
