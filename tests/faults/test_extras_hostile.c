// SPDX-License-Identifier: MIT
// Wrong numbers, wrong pairs, calls from inside callbacks, and every order of release: of grammars,
// searches, scores, drafts, the prefix cache and saved sessions.
#include "opened.h"
#include "saved.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static opened o, other;

static int begin(void **state) {
    (void)state;
    tiny_model tiny = tiny_model_defaults();
    o = opened_tiny(&tiny, 1, NULL);
    tiny.seed = 2;
    other = opened_tiny(&tiny, 1, NULL);
    return 0;
}

static int end(void **state) {
    (void)state;
    opened_close(&o);
    opened_close(&other);
    return 0;
}

static ink_grammar *grammar_of(ink_model *model, const char *text) {
    ink_grammar *grammar = NULL;
    ink_error error = {0};
    if (ink_grammar_new(&grammar, model, INK_GRAMMAR_GBNF, text, strlen(text), &error) != INK_OK)
        fail_msg("%s", error.message);
    return grammar;
}

// --- numbers -------------------------------------------------------------------------------------

static void searches(void **state) {
    (void)state;
    ink_session *s = opened_session(&o, 0, INK_KV_F16, 1);
    static const struct {
        size_t at;
        uint32_t value;
        ink_status status;
    } numbers[] = {{offsetof(ink_search_options, n_beams), 0, INK_E_LIMIT},
                   {offsetof(ink_search_options, n_beams), 65, INK_E_LIMIT},
                   {offsetof(ink_search_options, n_beams), UINT32_MAX, INK_E_LIMIT},
                   {offsetof(ink_search_options, top_k), 0, INK_E_LIMIT},
                   {offsetof(ink_search_options, top_k), 1, INK_E_LIMIT},
                   {offsetof(ink_search_options, top_k), 65, INK_E_LIMIT},
                   {offsetof(ink_search_options, top_k), UINT32_MAX, INK_E_LIMIT},
                   {offsetof(ink_search_options, method), UINT32_MAX, INK_E_ARG},
                   {offsetof(ink_search_options, flags), 1u << 31, INK_E_UNSUPPORTED},
                   {offsetof(ink_search_options, flags), INK_GENERATE_ECHO, INK_E_UNSUPPORTED},
                   {offsetof(ink_search_options, length_penalty), 0x7fc00000, INK_E_ARG}, // NaN
                   {offsetof(ink_search_options, length_penalty), 0xff800000, INK_E_ARG}, // -inf
                   {offsetof(ink_search_options, alpha), 0x7fc00000, INK_E_ARG},
                   {offsetof(ink_search_options, alpha), 0xbf800000, INK_E_ARG}, // -1
                   {offsetof(ink_search_options, size), 7, INK_E_ARG},
                   {offsetof(ink_search_options, size), 0, INK_E_ARG},
                   {offsetof(ink_search_options, size), UINT32_MAX, INK_E_ARG}};
    ink_search_options so;
    ink_error error = {0};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        ink_search_options_init(&so, sizeof so);
        memcpy((char *)&so + numbers[i].at, &numbers[i].value, sizeof numbers[i].value);
        ink_result r = {.n_prompt = 77};
        assert_int_equal(ink_session_search(s, "ab", 2, &so, NULL, NULL, &r, &error),
                         numbers[i].status);
        assert_int_equal(error.status, numbers[i].status);
        assert_int_equal(r.n_prompt, 77);
        assert_int_equal(ink_session_n_past(s), 0);
    }
    // As many tokens as there is room for, whatever was asked; and with no room.
    for (uint32_t method = 0; method < 2; method++) {
        ink_search_options_init(&so, sizeof so);
        so.method = method;
        so.flags = INK_GENERATE_FRESH | INK_GENERATE_NO_END;
        so.n_tokens = UINT32_MAX;
        so.n_beams = so.top_k = 64;
        ink_result r = {0};
        assert_int_equal(ink_session_search(s, "ab", 2, &so, NULL, NULL, &r, &error), INK_OK);
        assert_int_equal(r.stop, INK_STOP_CONTEXT);
        assert_int_equal(ink_session_n_past(s), ink_session_n_ctx(s));
        so.flags = INK_GENERATE_NO_END;
        assert_int_equal(ink_session_search(s, "", 0, &so, NULL, NULL, &r, &error), INK_OK);
        assert_int_equal(r.n_generated, 0);
        assert_int_equal(ink_session_search(s, "a", 1, &so, NULL, NULL, &r, &error), INK_E_CONTEXT);
    }
    // The struct of an older version, and of a newer one.
    struct {
        ink_search_options so;
        uint64_t later;
    } longer = {.later = 0};
    ink_search_options_init(&longer.so, sizeof longer);
    longer.so.flags = INK_GENERATE_FRESH;
    longer.so.n_tokens = 3;
    assert_int_equal(ink_session_search(s, "ab", 2, &longer.so, NULL, NULL, NULL, &error), INK_OK);
    longer.later = 1;
    assert_int_equal(ink_session_search(s, "ab", 2, &longer.so, NULL, NULL, NULL, &error),
                     INK_E_UNSUPPORTED);
    ink_search_options_init(&so, sizeof so);
    so.flags = INK_GENERATE_FRESH;
    so.n_tokens = 3;
    so.size = offsetof(ink_search_options, stop);
    so.stop = (const char *const *)(uintptr_t)1; // behind its end
    so.n_stop = 1;
    assert_int_equal(ink_session_search(s, "ab", 2, &so, NULL, NULL, NULL, &error), INK_OK);
    ink_session_free(s);
}

static void texts_and_budgets(void **state) {
    (void)state;
    ink_session *s = opened_session(&o, 0, INK_KV_F16, 1);
    ink_error error = {0};
    static const size_t huge[] = {(size_t)1 << 31, SIZE_MAX / 2, SIZE_MAX - 1, SIZE_MAX};
    for (size_t i = 0; i < sizeof huge / sizeof *huge; i++) {
        ink_ending ending = {.text = "a", .bytes = huge[i], .logprob = 5};
        assert_int_equal(ink_session_score(s, "b", 1, &ending, 1, 0, NULL, NULL, &error),
                         INK_E_LIMIT);
        ending.bytes = 1;
        assert_int_equal(ink_session_score(s, "b", huge[i], &ending, 1, 0, NULL, NULL, &error),
                         INK_E_LIMIT);
        assert_int_equal(ink_session_score(s, "b", 1, &ending, 1, 65, NULL, NULL, &error),
                         INK_E_LIMIT);
        assert_true(ending.logprob == 5);
        ink_grammar *grammar = NULL;
        for (uint32_t kind = 0; kind < 2; kind++)
            assert_int_equal(ink_grammar_new(&grammar, o.model, kind, "root", huge[i], &error),
                             INK_E_LIMIT);
        assert_null(grammar);
        float x[4];
        size_t n = 9;
        assert_int_equal(ink_session_embedding(s, "a", huge[i], 0, NULL, 4, &n, &error), INK_E_ARG);
        assert_int_equal(ink_session_embedding(s, "a", huge[i], 0, x, 4, &n, &error), INK_E_SPACE);
        ink_search_options so;
        ink_search_options_init(&so, sizeof so);
        assert_int_equal(ink_session_search(s, "a", huge[i], &so, NULL, NULL, NULL, &error),
                         INK_E_LIMIT);
    }
    ink_prefix_cache *cache = NULL;
    assert_int_equal(ink_prefix_cache_new(&cache, o.model, 0, &error), INK_E_LIMIT);
    assert_null(cache);
    assert_int_equal(ink_prefix_cache_new(&cache, o.model, UINT64_MAX, &error), INK_OK);
    assert_int_equal(ink_prefix_cache_trim(cache, UINT64_MAX), 0);
    assert_int_equal(ink_prefix_cache_trim(NULL, 0), 0);
    ink_session_options so;
    ink_session_options_init(&so, sizeof so);
    so.prefix_cache = cache;
    ink_session *cached = NULL;
    assert_int_equal(ink_session_new(&cached, o.model, &so, &error), INK_OK);
    ink_token ids[140];
    opened_ids(ids, 140, 300, 3);
    opened_eval(cached, ids, 140, 0);
    ink_session_free(cached);
    ink_prefix_cache_unref(cache);
    size_t n = 77;
    ink_save_options save;
    ink_save_options_init(&save, sizeof save);
    save.note_bytes = (1u << 20) + 1;
    save.note = "x";
    assert_int_equal(ink_session_save_bytes(s, &save, NULL, 0, &n, &error), INK_E_LIMIT);
    save.note_bytes = 1;
    save.note = NULL;
    assert_int_equal(ink_session_save_bytes(s, &save, NULL, 0, &n, &error), INK_E_ARG);
    assert_int_equal(n, 77);
    ink_session_free(s);
}

// A continuation of several calls, each of which may be as long as it likes.
static void as_many_tokens_as_there_are_numbers(void **state) {
    (void)state;
    ink_generate_options g;
    ink_sampler_options sampling;
    ink_sampler *sampler = NULL;
    ink_generate_options_init(&g, sizeof g);
    ink_sampler_options_init(&sampling, sizeof sampling);
    sampling.seed_set = 1;
    sampling.seed = 5;
    assert_int_equal(ink_sampler_new(&sampler, o.model, "temp=1.5", &sampling, NULL), INK_OK);
    g.sampler = sampler;
    for (int first = 1; first < 40; first++) {
        ink_session *s = opened_session(&o, 0, INK_KV_F16, 1);
        ink_result r = {0};
        g.flags = INK_GENERATE_CONTINUE | INK_GENERATE_NO_END;
        g.n_tokens = (uint32_t)first; // now and then a character is cut
        assert_int_equal(ink_session_generate(s, "ab", 2, &g, NULL, NULL, &r, NULL), INK_OK);
        g.n_tokens = UINT32_MAX;
        assert_int_equal(ink_session_generate(s, "", 0, &g, NULL, NULL, &r, NULL), INK_OK);
        assert_int_equal(r.stop, INK_STOP_CONTEXT);
        ink_session_free(s);
    }
    ink_sampler_free(sampler);
}

// --- pairs ---------------------------------------------------------------------------------------

static void wrong_pairs(void **state) {
    (void)state;
    ink_error error = {0};
    ink_session *s = opened_session(&o, 0, INK_KV_F16, 1), *none = NULL;
    ink_generate_options g;
    ink_session_options so;
    ink_generate_options_init(&g, sizeof g);
    ink_session_options_init(&so, sizeof so);
    g.grammar = grammar_of(other.model, "root ::= [a-z]+");
    g.n_tokens = 3;
    assert_int_equal(ink_session_generate(s, "a", 1, &g, NULL, NULL, NULL, &error), INK_E_ARG);
    assert_non_null(strstr(error.message, "another model"));
    ink_grammar_unref(g.grammar);
    // Opened twice, the same file is the same model.
    const ink_source source = {
        .size = sizeof source, .kind = INK_SOURCE_MEMORY, .data = o.bytes, .bytes = o.n_bytes};
    ink_model *twin = NULL;
    assert_int_equal(ink_model_open(&twin, NULL, &source, NULL, NULL), INK_OK);
    g.grammar = grammar_of(twin, "root ::= [a-z]+");
    ink_model_unref(twin);
    assert_int_equal(ink_session_generate(s, "a", 1, &g, NULL, NULL, NULL, &error), INK_OK);
    ink_grammar_unref(g.grammar);

    assert_int_equal(ink_prefix_cache_new(&so.prefix_cache, other.model, 1 << 22, NULL), INK_OK);
    assert_int_equal(ink_session_new(&none, o.model, &so, &error), INK_E_ARG);
    assert_string_equal(error.where, "prefix_cache");
    ink_prefix_cache_unref(so.prefix_cache);
    so.prefix_cache = NULL;
    ink_session *theirs = opened_session(&other, 0, INK_KV_F16, 1);
    const ink_token id = 5;
    const ink_span spans[] = {{s, &id, 1, 0, NULL}, {theirs, &id, 1, 0, NULL}};
    const uint32_t n_past = ink_session_n_past(s);
    assert_int_equal(ink_eval(spans, 2, &error), INK_E_ARG);
    assert_int_equal(ink_session_n_past(s), n_past);
    const saved file = saved_of(theirs, NULL);
    assert_int_equal(saved_restore(s, &file, NULL, &error), INK_E_ARG);
    assert_int_equal(ink_session_n_past(s), n_past);
    free(file.data);
    ink_session_free(theirs);
    // A model that can only be looked at is none for any of them.
    ink_model_options mo;
    ink_model_options_init(&mo, sizeof mo);
    mo.flags = INK_MODEL_INSPECT;
    ink_model *shown = NULL;
    assert_int_equal(ink_model_open(&shown, NULL, &source, &mo, NULL), INK_OK);
    so.draft = shown;
    so.n_draft = 3;
    assert_int_equal(ink_session_new(&none, o.model, &so, &error), INK_E_UNSUPPORTED);
    assert_int_equal(ink_prefix_cache_new(&so.prefix_cache, shown, 1 << 22, &error),
                     INK_E_UNSUPPORTED);
    assert_int_equal(ink_grammar_new(&g.grammar, shown, 0, "root ::= \"a\"", 12, &error),
                     INK_E_UNSUPPORTED);
    assert_null(none);
    ink_model_unref(shown);
    ink_session_free(s);
}

// Model, grammar, cache, draft model and session, given back in every order. What is left works.
static void every_order_of_release(void **state) {
    (void)state;
    enum { THINGS = 5, ORDERS = 120 };
    const tiny_model tiny = tiny_model_defaults();
    for (int order = 0; order < ORDERS; order++) {
        heap h = {0};
        opened a = opened_tiny(&tiny, 1, &h), b = opened_tiny(&tiny, 1, &h);
        ink_grammar *grammar = grammar_of(a.model, "root ::= [a-z]+");
        ink_session_options so;
        ink_session *s = NULL;
        ink_session_options_init(&so, sizeof so);
        assert_int_equal(ink_prefix_cache_new(&so.prefix_cache, a.model, 1 << 22, NULL), INK_OK);
        so.draft = b.model;
        so.n_draft = 2;
        so.flags = INK_SESSION_DRAFT_ALWAYS;
        assert_int_equal(ink_session_new(&s, a.model, &so, NULL), INK_OK);
        bool there[THINGS] = {true, true, true, true, true};
        for (int step = 0, rest = order; step < THINGS; step++) {
            int at = rest % (THINGS - step), which = 0;
            rest /= THINGS - step;
            while (!there[which] || at-- > 0) which++;
            there[which] = false;
            switch (which) {
            case 0: opened_close(&a); break;
            case 1: opened_close(&b); break;
            case 2: ink_grammar_unref(grammar); break;
            case 3: ink_prefix_cache_unref(so.prefix_cache); break;
            default: assert_int_equal(ink_session_free(s), INK_OK);
            }
            if (!there[4]) continue;
            ink_generate_options g;
            ink_generate_options_init(&g, sizeof g);
            g.flags = INK_GENERATE_FRESH;
            g.n_tokens = 6;
            g.grammar = there[2] ? grammar : NULL;
            // Memory that a model was opened from lives as long as the model: not here.
            if (there[0] && there[1])
                assert_int_equal(
                    ink_session_generate(s, "a b a b a", 9, &g, NULL, NULL, NULL, NULL), INK_OK);
        }
        assert_int_equal(h.live_blocks, 0);
        assert_int_equal(h.wrong_releases, 0);
    }
}

// --- inside callbacks ----------------------------------------------------------------------------

typedef struct inside {
    ink_session *s;
    ink_prefix_cache *cache;
    uint32_t n_calls;
} inside;

// All that is not reading or cancelling says so, and does nothing.
static void try_all(inside *in) {
    ink_session *s = in->s, *none = NULL;
    ink_token id = 5;
    size_t n = 77;
    float x[64];
    ink_ending ending = {.text = "a", .bytes = 1};
    ink_generate_options g;
    ink_search_options so;
    ink_error error = {0};
    ink_generate_options_init(&g, sizeof g);
    ink_search_options_init(&so, sizeof so);
    const uint32_t n_past = ink_session_n_past(s);
    const ink_span span = {s, &id, 1, 0, NULL};
    const saved file = {(uint8_t[]){1, 2, 3}, 3};
    const ink_status told[] = {ink_session_generate(s, "a", 1, &g, NULL, NULL, NULL, &error),
                               ink_session_search(s, "a", 1, &so, NULL, NULL, NULL, &error),
                               ink_session_score(s, "a", 1, &ending, 1, 0, NULL, NULL, &error),
                               ink_session_embed(s, "a", 1, x, 64, &n, &error),
                               ink_session_embedding(s, "a", 1, 0, x, 64, &n, &error),
                               ink_session_save_bytes(s, NULL, NULL, 0, &n, &error),
                               ink_session_save(s, "/nowhere/at/all", NULL, &error),
                               saved_restore(s, &file, NULL, &error),
                               ink_session_fork(s, &none, &error),
                               ink_eval(&span, 1, &error),
                               ink_session_rewind(s, 0),
                               ink_session_free(s)};
    for (size_t i = 0; i < sizeof told / sizeof *told; i++)
        assert_int_equal(told[i], INK_E_REENTRANT);
    assert_null(none);
    assert_int_equal(n, 77);
    assert_int_equal(ink_session_n_past(s), n_past);
    // What is shared by all may be used, also by who holds the session.
    ink_prefix_cache_info info = {0};
    assert_int_equal(ink_prefix_cache_get_info(in->cache, &info), INK_OK);
    ink_prefix_cache_trim(in->cache, 0);
    in->n_calls++;
}

static int on_text(void *user, const ink_piece *piece) {
    (void)piece;
    try_all(user);
    return 0;
}

static int on_progress(void *user, uint32_t n_done, uint32_t n_total) {
    (void)n_done;
    (void)n_total;
    try_all(user);
    return 0;
}

static int on_score(void *user, size_t index, const ink_choice *choice, const char *text,
                    size_t bytes) {
    (void)index;
    (void)choice;
    (void)text;
    (void)bytes;
    try_all(user);
    return 0;
}

static void on_found(void *user, uint32_t index, const ink_found *found) {
    (void)index;
    (void)found;
    try_all(user);
}

static void inside_callbacks(void **state) {
    (void)state;
    inside in = {0};
    ink_session_options so;
    ink_session_options_init(&so, sizeof so);
    so.n_batch = 16;
    assert_int_equal(ink_prefix_cache_new(&in.cache, o.model, 1 << 22, NULL), INK_OK);
    so.prefix_cache = in.cache;
    assert_int_equal(ink_session_new(&in.s, o.model, &so, NULL), INK_OK);
    static const char prompt[] = "What is read for so long that pages of it are left for others, "
                                 "in pieces of a few tokens each.";
    ink_generate_options g;
    ink_generate_options_init(&g, sizeof g);
    g.flags = INK_GENERATE_FRESH | INK_GENERATE_ECHO | INK_GENERATE_NO_END;
    g.n_tokens = 10;
    g.progress = on_progress;
    g.progress_user = &in;
    assert_int_equal(
        ink_session_generate(in.s, prompt, sizeof prompt - 1, &g, on_text, &in, NULL, NULL),
        INK_OK);
    const uint32_t generated = in.n_calls;
    ink_ending endings[] = {{.text = " one", .bytes = 4}, {.text = " two", .bytes = 4}};
    assert_int_equal(
        ink_session_score(in.s, prompt, sizeof prompt - 1, endings, 2, 3, on_score, &in, NULL),
        INK_OK);
    const uint32_t scored = in.n_calls - generated;
    for (uint32_t method = 0; method < 2; method++) {
        ink_search_options search;
        ink_search_options_init(&search, sizeof search);
        search.flags = INK_GENERATE_FRESH | INK_GENERATE_NO_END;
        search.method = method;
        search.n_tokens = 20;
        search.on_found = on_found;
        search.user = &in;
        assert_int_equal(
            ink_session_search(in.s, prompt, sizeof prompt - 1, &search, on_text, &in, NULL, NULL),
            INK_OK);
    }
    assert_true(generated > 10 && scored >= 2 && in.n_calls > generated + scored + 5);
    assert_int_equal(ink_session_free(in.s), INK_OK);
    ink_prefix_cache_unref(in.cache);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(searches),
        cmocka_unit_test(texts_and_budgets),
        cmocka_unit_test(as_many_tokens_as_there_are_numbers),
        cmocka_unit_test(wrong_pairs),
        cmocka_unit_test(every_order_of_release),
        cmocka_unit_test(inside_callbacks),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
