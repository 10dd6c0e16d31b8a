// SPDX-License-Identifier: MIT
// The n-th request for memory fails, for every n, in grammars, searches, scores, drafts, the prefix
// cache and saved sessions: a clear status, nothing leaked, and the same session then gives what
// one gives that nothing failed for.
#include "opened.h"
#include "saved.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char prompt[] = "a cat and a dog, a cat and a do";

typedef struct scene {
    heap h;
    opened o, small;
    ink_prefix_cache *cache;
    ink_session *s;
} scene;

static tiny_model scene_model(uint32_t n_layer) {
    tiny_model tiny = tiny_model_defaults();
    tiny.n_embd = 16;
    tiny.n_ff = 16;
    tiny.n_layer = n_layer;
    return tiny;
}

// What one piece of work tells, as text.
typedef struct outcome {
    char text[4096];
    size_t bytes;
} outcome;

static void add_text(outcome *out, const char *text, size_t bytes) {
    if (bytes > sizeof out->text - out->bytes) return;
    memcpy(out->text + out->bytes, text, bytes);
    out->bytes += bytes;
}

static int hear(void *user, const ink_piece *piece) {
    add_text(user, piece->text, piece->bytes);
    return 0;
}

static void hear_found(void *user, uint32_t index, const ink_found *found) {
    (void)index;
    add_text(user, found->text, found->bytes);
}

static ink_sampler *cold(const ink_model *model, ink_error *error, ink_status *status) {
    ink_sampler *sampler = NULL;
    *status = ink_sampler_new(&sampler, model, "greedy", NULL, error);
    return sampler;
}

static ink_status generate(scene *t, ink_session *s, ink_generate_options *g, outcome *out,
                           ink_error *error) {
    ink_status status;
    ink_sampler *sampler = cold(t->o.model, error, &status);
    if (status != INK_OK) return status;
    g->sampler = sampler;
    g->n_tokens = 30;
    g->flags |= INK_GENERATE_FRESH | INK_GENERATE_NO_END;
    status = ink_session_generate(s, prompt, strlen(prompt), g, hear, out, NULL, error);
    ink_sampler_free(sampler);
    return status;
}

static ink_status with_grammar(scene *t, outcome *out, ink_error *error) {
    static const char schema[] = "{\"enum\": [\"abc\", \"abd\", 12]}";
    ink_generate_options g;
    uint32_t state = 0;
    ink_generate_options_init(&g, sizeof g);
    ink_status status = ink_grammar_new(&g.grammar, t->o.model, INK_GRAMMAR_JSON_SCHEMA, schema,
                                        strlen(schema), error);
    if (status != INK_OK) return status;
    status = ink_grammar_check(g.grammar, "\"ab", 3, &state, NULL);
    if (status == INK_E_NOMEM && error != NULL) error->status = status; // this call tells none
    g.flags = INK_GENERATE_HEAL;
    if (status == INK_OK) status = generate(t, t->s, &g, out, error);
    ink_grammar_unref(g.grammar);
    return status;
}

static ink_status with_words(scene *t, outcome *out, ink_error *error) {
    const char *const words[] = {"xy", "z"}, *const listed[] = {"q", "aa"};
    ink_generate_options g;
    ink_generate_options_init(&g, sizeof g);
    ink_status status = ink_filter_new(&g.filter, t->o.runtime, listed, 2, error);
    if (status != INK_OK) return status;
    g.required = words;
    g.n_required = 2;
    g.stop = listed + 1;
    g.n_stop = 1;
    g.no_repeat_ngram = 3;
    status = generate(t, t->s, &g, out, error);
    ink_filter_unref(g.filter);
    return status;
}

static ink_status search(scene *t, uint32_t method, outcome *out, ink_error *error) {
    const char *const stop[] = {"zzz"};
    ink_search_options o;
    ink_search_options_init(&o, sizeof o);
    o.method = method;
    o.flags = INK_GENERATE_FRESH | INK_GENERATE_NO_END;
    o.n_tokens = 70;
    o.n_beams = 3;
    o.stop = stop;
    o.n_stop = 1;
    o.on_found = hear_found;
    o.user = out;
    outcome pieces = {.bytes = 0};
    return ink_session_search(t->s, prompt, strlen(prompt), &o, hear, &pieces, NULL, error);
}

static ink_status beams(scene *t, outcome *out, ink_error *error) {
    return search(t, INK_SEARCH_BEAM, out, error);
}

static ink_status contrast(scene *t, outcome *out, ink_error *error) {
    return search(t, INK_SEARCH_CONTRASTIVE, out, error);
}

static ink_status scores(scene *t, outcome *out, ink_error *error) {
    ink_ending endings[] = {{.text = "g was", .bytes = 5}, {.text = "or", .bytes = 2}};
    const ink_status status =
        ink_session_score(t->s, prompt, strlen(prompt), endings, 2, 4, NULL, NULL, error);
    if (status == INK_OK) {
        add_text(out, (const char *)&endings[0].logprob, sizeof(double));
        add_text(out, (const char *)&endings[1].logprob, sizeof(double));
    }
    return status;
}

static ink_status embeds(scene *t, outcome *out, ink_error *error) {
    float x[16];
    size_t n = 0;
    const ink_status status =
        ink_session_embedding(t->s, prompt, strlen(prompt), INK_EMBED_NORMALIZE, x, 16, &n, error);
    if (status == INK_OK) add_text(out, (const char *)x, n * sizeof *x);
    return status;
}

static ink_status drafts(scene *t, ink_model *draft, outcome *out, ink_error *error) {
    ink_session_options so;
    ink_session *s = NULL;
    ink_generate_options g;
    ink_session_options_init(&so, sizeof so);
    ink_generate_options_init(&g, sizeof g);
    so.n_draft = 5;
    so.draft = draft;
    so.flags = INK_SESSION_DRAFT_ALWAYS;
    ink_status status = ink_session_new(&s, t->o.model, &so, error);
    if (status == INK_OK) status = generate(t, s, &g, out, error);
    ink_session_free(s);
    return status;
}

static ink_status text_drafts(scene *t, outcome *out, ink_error *error) {
    return drafts(t, NULL, out, error);
}

static ink_status model_drafts(scene *t, outcome *out, ink_error *error) {
    return drafts(t, t->small.model, out, error);
}

// Slept, woken in another session, and gone on.
static ink_status sleeps(scene *t, outcome *out, ink_error *error) {
    ink_generate_options g;
    ink_session *s = NULL;
    ink_restored restored = {0};
    saved file = {0};
    ink_save_options save;
    ink_save_options_init(&save, sizeof save);
    ink_generate_options_init(&g, sizeof g);
    g.flags = INK_GENERATE_CONTINUE | INK_GENERATE_HEAL;
    ink_status status = generate(t, t->s, &g, out, error);
    ink_sampler *sampler = NULL;
    if (status == INK_OK) sampler = cold(t->o.model, error, &status);
    save.sampler = sampler;
    if (status == INK_OK) status = ink_session_save_bytes(t->s, &save, NULL, 0, &file.bytes, error);
    file.data = malloc(file.bytes + 1);
    assert_non_null(file.data);
    if (status == INK_OK)
        status = ink_session_save_bytes(t->s, &save, file.data, file.bytes, &file.bytes, error);
    if (status == INK_OK) status = ink_session_new(&s, t->o.model, NULL, error);
    if (status == INK_OK) status = saved_restore(s, &file, &restored, error);
    g.flags = 0;
    g.n_tokens = 10;
    g.sampler = restored.sampler;
    if (status == INK_OK) status = ink_session_generate(s, "", 0, &g, hear, out, NULL, error);
    ink_sampler_free(restored.sampler);
    ink_sampler_free(sampler);
    ink_session_free(s);
    free(file.data);
    return status;
}

typedef ink_status (*work)(scene *, outcome *, ink_error *);

static void fail_each(scene *t, const char *name, work run) {
    outcome wanted = {.bytes = 0}, again;
    size_t n_failed = 0;
    ink_error error = {0};
    ink_prefix_cache_trim(t->cache, 0);
    if (run(t, &wanted, &error) != INK_OK) fail_msg("%s: %s", name, error.message);
    assert_true(wanted.bytes > 0);
    for (size_t n = 1;; n++) {
        outcome out = {.bytes = 0};
        error = (ink_error){0};
        assert_int_equal(ink_session_rewind(t->s, n % 3 == 0 ? 0 : ink_session_n_past(t->s) / 2),
                         INK_OK);
        if (n % 2 == 0) ink_prefix_cache_trim(t->cache, 0);
        const size_t before = t->h.n_allocs;
        t->h.fail_at = before + n;
        const ink_status status = run(t, &out, &error);
        t->h.fail_at = 0;
        const bool reached = t->h.n_allocs >= before + n;
        n_failed += reached;
        // What is only worth having may be missing; then nothing changes.
        if (status == INK_OK) {
            if (out.bytes != wanted.bytes || memcmp(out.text, wanted.text, out.bytes) != 0)
                fail_msg("%s: another text where request %zu failed", name, n);
        } else {
            assert_int_equal(status, INK_E_NOMEM);
            assert_int_equal(error.status, INK_E_NOMEM);
        }
        // The two branches of a rewind to other places ask for other things.
        if (!reached && n % 6 == 0) break;
        again.bytes = 0;
        if (run(t, &again, &error) != INK_OK) fail_msg("%s: %s", name, error.message);
        if (again.bytes != wanted.bytes || memcmp(again.text, wanted.text, again.bytes) != 0)
            fail_msg("%s: another text after request %zu failed", name, n);
    }
    print_message("%s: %zu requests failed in turn\n", name, n_failed);
    assert_true(n_failed > 1);
}

static void everything(void **state) {
    (void)state;
    static const struct {
        const char *name;
        work run;
    } works[] = {{"grammar", with_grammar}, {"words", with_words},
                 {"beams", beams},          {"contrastive", contrast},
                 {"scores", scores},        {"embedding", embeds},
                 {"drafts", text_drafts},   {"drafts of a model", model_drafts},
                 {"saved session", sleeps}};
    static scene t;
    const tiny_model tiny = scene_model(2), small = scene_model(1);
    t.o = opened_tiny(&tiny, 1, &t.h);
    t.small = opened_tiny(&small, 1, &t.h);
    ink_session_options so;
    ink_session_options_init(&so, sizeof so);
    assert_int_equal(ink_prefix_cache_new(&t.cache, t.o.model, 1 << 20, NULL), INK_OK);
    so.prefix_cache = t.cache;
    assert_int_equal(ink_session_new(&t.s, t.o.model, &so, NULL), INK_OK);
    for (size_t i = 0; i < sizeof works / sizeof *works; i++)
        fail_each(&t, works[i].name, works[i].run);
    ink_session_free(t.s);
    ink_prefix_cache_unref(t.cache);
    opened_close(&t.small);
    opened_close(&t.o);
    assert_int_equal(t.h.live_blocks, 0);
    assert_int_equal(t.h.wrong_releases, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(everything)};
    return cmocka_run_group_tests_name("memory of what else there is", tests, NULL, NULL);
}
