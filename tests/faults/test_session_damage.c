// SPDX-License-Identifier: MIT
// Saved sessions that are cut, altered, forged, or of somebody else, and memory that runs out: a
// clear error, and the session is what it was.
#include "engine/engine.h"
#include "opened.h"
#include "saved.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { N_PAST = 20, N_MU = 8 };

static const ink_token ids[] = {72, 101, 108, 108, 111, 44, 32,  119, 111, 114, 108, 100,
                                46, 32,  84,  104, 101, 32, 101, 110, 100, 33,  10,  10};
enum { N_IDS = sizeof ids / sizeof ids[0] };

static tiny_model small_model(void) {
    tiny_model tiny = tiny_model_defaults();
    tiny.n_embd = 8;
    tiny.n_ff = 8;
    tiny.n_layer = 1;
    tiny.n_ctx = 80;
    tiny.n_vocab = 270;
    return tiny;
}

typedef struct scene {
    heap h;
    opened o;
    ink_session *s; // what nothing may change
    saved before;
    saved file; // a good one, of another past, with all that a file can have
} scene;

static void scene_begin(scene *t) {
    const tiny_model tiny = small_model();
    const char *const phrases[] = {"one", "two words"};
    memset(t, 0, sizeof *t);
    t->o = opened_tiny(&tiny, 1, &t->h);
    t->s = opened_session(&t->o, 0, INK_KV_F16, 1);
    ink_session *from = opened_session(&t->o, 0, INK_KV_F16, 1);
    opened_eval(t->s, ids + 5, 18, 0);
    opened_eval(from, ids, N_PAST, 0);
    from->is_cut = true;
    from->n_pending = 1;
    from->tokens[N_PAST] = 65;
    from->n_unsaid = 2;
    from->n_series = 12;
    assert_int_equal(inki_session_need_mu(from, NULL), INK_OK);
    for (uint32_t i = 1; i < N_MU; i++) from->mu[i] = i;
    from->n_mu = N_MU - 1;
    ink_save_options options;
    ink_sampler_options of_sampler;
    ink_sampler *sampler = NULL;
    ink_filter *filter = NULL;
    ink_save_options_init(&options, sizeof options);
    ink_sampler_options_init(&of_sampler, sizeof of_sampler);
    of_sampler.seed_set = 1;
    assert_int_equal(ink_sampler_new(&sampler, t->o.model, "top_k=3;temp=0.5", &of_sampler, NULL),
                     INK_OK);
    assert_int_equal(ink_filter_new(&filter, t->o.runtime, phrases, 2, NULL), INK_OK);
    options.sampler = sampler;
    options.filter = filter;
    options.note = "note";
    options.note_bytes = 4;
    t->file = saved_of(from, &options);
    t->before = saved_of(t->s, NULL);
    ink_sampler_free(sampler);
    ink_filter_unref(filter);
    ink_session_free(from);
}

static void scene_end(scene *t) {
    ink_session_free(t->s);
    opened_close(&t->o);
    free(t->file.data);
    free(t->before.data);
    assert_int_equal(t->h.live_blocks, 0);
    assert_int_equal(t->h.wrong_releases, 0);
}

static void assert_unchanged(scene *t) {
    const saved now = saved_of(t->s, NULL);
    assert_true(saved_equal(&now, &t->before));
    free(now.data);
}

static saved copy_of(const saved *file) {
    const saved copy = {malloc(file->bytes), file->bytes};
    assert_non_null(copy.data);
    memcpy(copy.data, file->data, file->bytes);
    return copy;
}

// The file, of exactly its bytes on the heap, so that a sanitizer sees a read behind them.
static void refused(scene *t, const saved *file, ink_status wanted, const char *word) {
    ink_error error = {0};
    ink_restored restored = {.n_past = 12345};
    const size_t blocks = t->h.live_blocks;
    const ink_status status = saved_restore(t->s, file, &restored, &error);
    if (status != wanted || (word != NULL && strstr(error.message, word) == NULL))
        fail_msg("%s: \"%s\", wanted %s: \"%s\"", ink_status_name(status), error.message,
                 ink_status_name(wanted), word != NULL ? word : "");
    assert_int_equal(error.status, status);
    assert_int_equal(restored.n_past, 12345);
    assert_null(restored.sampler);
    assert_int_equal(t->h.live_blocks, blocks);
}

static void good(void **state) {
    (void)state;
    scene t;
    scene_begin(&t);
    ink_restored restored = {0};
    assert_int_equal(saved_restore(t.s, &t.file, &restored, NULL), INK_OK);
    assert_int_equal(restored.n_past, N_PAST);
    ink_sampler_free(restored.sampler);
    ink_filter_unref(restored.filter);
    scene_end(&t);
}

// Each byte, changed in one bit or all of them.
static void altered(void **state) {
    (void)state;
    scene t;
    scene_begin(&t);
    for (size_t i = 0; i < t.file.bytes; i++) {
        const uint8_t was = t.file.data[i];
        ink_status wanted = INK_E_FORMAT;
        if (i >= SAVED_VERSION && i < SAVED_VERSION + 4) wanted = INK_E_UNSUPPORTED;
        t.file.data[i] = (uint8_t)(was ^ 1u << i % 8);
        refused(&t, &t.file, wanted, NULL);
        t.file.data[i] = (uint8_t)~was;
        refused(&t, &t.file, wanted, NULL);
        t.file.data[i] = was;
        if (i % 64 == 0) assert_unchanged(&t);
    }
    assert_unchanged(&t);
    scene_end(&t);
}

static void cut(void **state) {
    (void)state;
    scene t;
    scene_begin(&t);
    for (size_t n = 1; n < t.file.bytes; n++) {
        saved part = {malloc(n), n};
        memcpy(part.data, t.file.data, n);
        refused(&t, &part, INK_E_FORMAT, "cut");
        free(part.data);
    }
    saved longer = {malloc(t.file.bytes + 1), t.file.bytes + 1};
    memcpy(longer.data, t.file.data, t.file.bytes);
    longer.data[t.file.bytes] = 0;
    refused(&t, &longer, INK_E_FORMAT, NULL);
    free(longer.data);
    assert_unchanged(&t);
    scene_end(&t);
}

static void of_others(void **state) {
    (void)state;
    scene t;
    scene_begin(&t);
    saved_put(&t.file, SAVED_VERSION, 2 | (uint64_t)SAVED_HEAD_BYTES << 32);
    saved_mend(&t.file);
    refused(&t, &t.file, INK_E_UNSUPPORTED, "version 2");
    saved_put(&t.file, SAVED_VERSION, 1 | (uint64_t)SAVED_HEAD_BYTES << 32);
    saved_mend(&t.file);
    tiny_model tiny = small_model();
    tiny.seed = 2;
    opened other = opened_tiny(&tiny, 1, NULL);
    ink_session *theirs = opened_session(&other, 0, INK_KV_F16, 1);
    opened_eval(theirs, ids, 5, 0);
    const saved of_theirs = saved_of(theirs, NULL);
    refused(&t, &of_theirs, INK_E_ARG, "another model");
    ink_session *wide = opened_session(&t.o, 0, INK_KV_F32, 1);
    ink_session *narrow = opened_session(&t.o, 0, INK_KV_Q8_0, 1);
    const saved of_wide = saved_of(wide, NULL), of_narrow = saved_of(narrow, NULL);
    refused(&t, &of_wide, INK_E_ARG, "kv_type f32");
    refused(&t, &of_narrow, INK_E_ARG, "kv_type q8_0");
    assert_unchanged(&t);
    free(of_theirs.data);
    free(of_wide.data);
    free(of_narrow.data);
    ink_session_free(theirs);
    ink_session_free(wide);
    ink_session_free(narrow);
    opened_close(&other);
    scene_end(&t);
}

// Each page has a checksum of its own: they count in their order.
static void pages_in_another_order(void **state) {
    (void)state;
    scene t;
    scene_begin(&t);
    ink_session *from = opened_session(&t.o, 0, INK_KV_F16, 1);
    for (int i = 0; i < 3; i++) opened_eval(from, ids, N_IDS, 0);
    const saved file = saved_of(from, NULL), other = copy_of(&file);
    const size_t page = (size_t)saved_get(&file, SAVED_PAGE_BYTES);
    uint8_t *first = other.data + other.bytes - 8 - 2 * page;
    memcpy(first, file.data + file.bytes - 8 - page, page);
    refused(&t, &other, INK_E_FORMAT, "checksum");
    memcpy(first + page, file.data + file.bytes - 8 - 2 * page, page);
    refused(&t, &other, INK_E_FORMAT, "checksum");
    assert_unchanged(&t);
    free(file.data);
    free(other.data);
    ink_session_free(from);
    scene_end(&t);
}

// A file whose checksums are right and whose contents are not: somebody made it so.
static void forged(void **state) {
    (void)state;
    scene t;
    scene_begin(&t);
    static const struct {
        size_t at;
        uint64_t value;
        ink_status wanted;
    } heads[] = {{SAVED_KV_TYPE, 3, INK_E_ARG},
                 {SAVED_KV_TYPE, UINT64_MAX, INK_E_ARG},
                 {SAVED_MODEL, 0, INK_E_ARG},
                 {SAVED_ADAPTERS, 1, INK_E_ARG},
                 {SAVED_N_VOCAB, 271, INK_E_FORMAT},
                 {SAVED_N_LAYER, 2, INK_E_FORMAT},
                 {SAVED_N_HEAD, 0, INK_E_FORMAT},
                 {SAVED_HEAD_DIM, 1u << 31, INK_E_FORMAT},
                 {SAVED_PAGE_BYTES, 0, INK_E_FORMAT},
                 {SAVED_N_PAST, 81, INK_E_CONTEXT},
                 {SAVED_N_PAST, UINT64_MAX, INK_E_CONTEXT},
                 {SAVED_N_PAST, N_PAST + 60, INK_E_FORMAT},
                 {SAVED_N_PAST, 0, INK_E_FORMAT},
                 {SAVED_N_PENDING, 61, INK_E_FORMAT},
                 {SAVED_N_PENDING, UINT64_MAX - N_PAST, INK_E_FORMAT},
                 {SAVED_N_PENDING, UINT64_MAX, INK_E_FORMAT},
                 {SAVED_IS_CUT, 0, INK_E_FORMAT},
                 {SAVED_IS_CUT, 2, INK_E_FORMAT},
                 {SAVED_N_UNSAID, N_PAST + 2, INK_E_FORMAT},
                 {SAVED_N_UNSAID, UINT64_MAX, INK_E_FORMAT},
                 {SAVED_N_SERIES, (uint64_t)1 << 62, INK_E_FORMAT},
                 {SAVED_N_ROWS, 2, INK_E_FORMAT},
                 {SAVED_N_ROWS, UINT64_MAX, INK_E_FORMAT},
                 {SAVED_N_MU, N_PAST + 4, INK_E_FORMAT},
                 {SAVED_N_MU, UINT64_MAX / 8 + 2, INK_E_FORMAT},
                 {SAVED_CHAIN_BYTES, UINT64_MAX, INK_E_FORMAT},
                 {SAVED_CHAIN_BYTES, 0, INK_E_FORMAT},
                 {SAVED_CHAIN_BYTES, UINT64_MAX - 200, INK_E_FORMAT},
                 {SAVED_PHRASES_BYTES, UINT64_MAX - 4096, INK_E_FORMAT},
                 {SAVED_NOTE_BYTES, (1u << 20) + 1, INK_E_FORMAT},
                 {SAVED_NOTE_BYTES, UINT64_MAX, INK_E_FORMAT}};
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
        const saved copy = copy_of(&t.file);
        saved_put(&copy, heads[i].at, heads[i].value);
        saved_mend(&copy);
        refused(&t, &copy, heads[i].wanted, NULL);
        free(copy.data);
    }
    const float infinite = INFINITY, not_a_number = NAN;
    const double infinite_mu = INFINITY;
    const size_t tokens = SAVED_HEAD_BYTES, logits = saved_logits_at(&t.file),
                 mu = logits + (270 * 4 + 63) / 64 * 64, chain = mu + 64, phrases = chain + 64;
    assert_memory_equal(t.file.data + chain, "top_k=3;", 8);
    assert_memory_equal(t.file.data + phrases, "one\0two words", 14);
    const struct {
        size_t at;
        const void *bytes;
        size_t n;
    } bodies[] = {{tokens + 4 * 3, "\x0e\x01\0\0", 4},            // the first id outside
                  {tokens + 4 * 3, "\xff\xff\xff\xff", 4},        // -1
                  {tokens + 4 * (size_t)N_PAST, "\0\0\0\x80", 4}, // of a pending one
                  {logits + 40, &infinite, 4},
                  {logits + 269 * 4, &not_a_number, 4},
                  {mu + 8, &infinite_mu, 8},
                  {chain, "topk", 4},
                  {chain, "top_k=3;top_k=3", 15},
                  {chain + (size_t)saved_get(&t.file, SAVED_CHAIN_BYTES) - 1, "5", 1}, // no end
                  {phrases, "\xff", 1},
                  {phrases, "\0", 1},
                  {phrases + 13, "x", 1}}; // no end
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        const saved copy = copy_of(&t.file);
        memcpy(copy.data + bodies[i].at, bodies[i].bytes, bodies[i].n);
        saved_mend(&copy);
        refused(&t, &copy, INK_E_FORMAT, "saved: ");
        free(copy.data);
    }
    assert_unchanged(&t);
    scene_end(&t);
}

// Keys that are no numbers give logits that are none: an error when they are used, nothing worse.
static void poisoned_keys(void **state) {
    (void)state;
    scene t;
    scene_begin(&t);
    const size_t page = (size_t)saved_get(&t.file, SAVED_PAGE_BYTES);
    const size_t at = t.file.bytes - 8 - page;
    memset(t.file.data + at, 0xff, 256);
    saved_mend(&t.file);
    ink_error error = {0};
    assert_int_equal(saved_restore(t.s, &t.file, NULL, NULL), INK_OK);
    const ink_span span = {.session = t.s, .tokens = ids, .n_tokens = 1};
    assert_int_equal(ink_eval(&span, 1, &error), INK_E_NUMERIC);
    assert_non_null(strstr(error.message, "restored"));
    assert_int_equal(ink_session_generate(t.s, "a", 1, NULL, NULL, NULL, NULL, &error),
                     INK_E_NUMERIC);
    assert_int_equal(ink_session_n_past(t.s), N_PAST);
    assert_int_equal(ink_session_rewind(t.s, 0), INK_OK);
    opened_eval(t.s, ids + 5, 18, 0);
    assert_unchanged(&t);
    scene_end(&t);
}

// Each allocation fails once: of saving, and of restoring into a session whose pages others share.
static void no_memory(void **state) {
    (void)state;
    scene t;
    scene_begin(&t);
    ink_session *fork = NULL;
    assert_int_equal(ink_session_fork(t.s, &fork, NULL), INK_OK);
    size_t failures = 0;
    for (size_t n = 1;; n++) {
        ink_error error = {0};
        ink_restored restored = {0};
        const size_t blocks = t.h.live_blocks;
        t.h.fail_at = t.h.n_allocs + n;
        const ink_status status = saved_restore(t.s, &t.file, &restored, &error);
        t.h.fail_at = 0;
        if (status == INK_OK) {
            assert_int_equal(restored.n_past, N_PAST);
            ink_sampler_free(restored.sampler);
            ink_filter_unref(restored.filter);
            break;
        }
        failures++;
        assert_int_equal(status, INK_E_NOMEM);
        assert_int_equal(error.status, INK_E_NOMEM);
        assert_null(restored.sampler);
        assert_int_equal(t.h.live_blocks, blocks);
        assert_unchanged(&t);
    }
    assert_true(failures >= 7); // note, mu, sampler, chain, phrases' list, filter, table, page
    const saved of_fork = saved_of(fork, NULL);
    assert_true(saved_equal(&of_fork, &t.before));
    free(of_fork.data);
    ink_filter *filter = NULL;
    const char *const phrase = "word";
    assert_int_equal(ink_filter_new(&filter, NULL, &phrase, 1, NULL), INK_OK);
    ink_save_options options;
    ink_save_options_init(&options, sizeof options);
    options.filter = filter;
    size_t bytes = 999;
    t.h.fail_at = t.h.n_allocs + 1;
    assert_int_equal(ink_session_save_bytes(t.s, &options, NULL, 0, &bytes, NULL), INK_E_NOMEM);
    t.h.fail_at = 0;
    assert_int_equal(bytes, 999);
    ink_filter_unref(filter);
    ink_session_free(fork);
    scene_end(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good),          cmocka_unit_test(altered),
        cmocka_unit_test(cut),           cmocka_unit_test(pages_in_another_order),
        cmocka_unit_test(of_others),     cmocka_unit_test(forged),
        cmocka_unit_test(poisoned_keys), cmocka_unit_test(no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
