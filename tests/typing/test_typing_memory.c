// SPDX-License-Identifier: MIT
// Memory of a typing session, in counts: measured beforehand, all of it asked for when it is made,
// none left when it is freed, and every single request may fail.
#include "engine/engine.h"
#include "typing_fixture.h"

enum { N_OPENED = 200, N_OPENED_LONG = 10000, N_UPDATES = 5000, N_UPDATES_LONG = 100000 };

static const char begin[] = "Once upon a time there was a";

static bool is_long(void) { return getenv("INKLING_TEST_LONG") != NULL; }

// --- measured ------------------------------------------------------------------------------------

static void measure_equals_heap(const ink_typing_options *o) {
    heap h = {0};
    static field f;
    opened story = opened_story(2, &h);
    const ink_source source = story_source();
    ink_memory told = {.size = sizeof told};
    ink_typing *typing = NULL;
    assert_int_equal(ink_typing_measure(&source, o, &told, NULL), INK_OK);
    const size_t before = h.live_bytes;
    h.peak_bytes = before;
    assert_int_equal(ink_typing_new(&typing, story.model, o, NULL), INK_OK);
    assert_int_equal(h.live_bytes - before, told.session_heap_bytes);
    assert_int_equal(h.peak_bytes - before, told.session_heap_bytes);
    assert_true(told.kv_bytes > 0 && told.kv_bytes < told.session_heap_bytes);
    field_set(&f, begin);
    assert_int_equal(typing_update(typing, &f, NULL), INK_OK);
    typing_finish(typing);
    assert_int_equal(h.peak_bytes - before, told.session_heap_bytes);
    assert_int_equal(ink_typing_free(typing), INK_OK);
    assert_int_equal(h.live_bytes, before);
    opened_close(&story);
    assert_int_equal(h.live_blocks, 0);
    assert_int_equal(h.wrong_releases, 0);
}

static void test_measure(void **state) {
    (void)state;
    static const char *const stop[] = {" and", "a longer one that ends it"};
    ink_typing_options o = typing_defaults();
    measure_equals_heap(NULL);
    measure_equals_heap(&o);
    for (uint32_t n = 2; n <= 8; n += 3) {
        o.n_alternatives = n;
        measure_equals_heap(&o);
    }
    o.kv_type = INK_KV_F32;
    o.n_ctx = 100;
    o.max_tokens = 40;
    o.stop = stop;
    o.n_stop = 2;
    o.text_bytes = 10000;
    o.n_history = 100;
    measure_equals_heap(&o);
    o = typing_defaults();
    o.kv_type = INK_KV_Q8_0;
    o.window_tokens = 20;
    o.max_tokens = 1;
    o.n_history = 0;
    o.text_bytes = 0;
    o.n_alternatives = 3;
    measure_equals_heap(&o);
}

// Another alternative takes pages, a row of logits and its text. What a pass and a choice work with
// is the first one's, and that has no list of candidates: a suggestion is the most likely text.
static void test_what_another_alternative_takes(void **state) {
    (void)state;
    const ink_source source = story_source();
    ink_typing_options o = typing_defaults();
    ink_memory told[2] = {{0}};
    for (uint32_t i = 0; i < 2; i++) {
        o.n_alternatives = i + 1;
        assert_int_equal(ink_typing_measure(&source, &o, &told[i], NULL), INK_OK);
    }
    opened story = opened_story(1, NULL);
    ink_model_info info = {0};
    assert_int_equal(ink_model_get_info(story.model, &info), INK_OK);
    const uint64_t more = (told[1].session_heap_bytes - told[1].kv_bytes) -
                          (told[0].session_heap_bytes - told[0].kv_bytes);
    const uint64_t row = info.n_vocab * sizeof(float); // a list of candidates is two of them
    assert_in_range(more, row, row + 16384);
    ink_session_options of_session;
    ink_session_options_init(&of_session, sizeof of_session);
    // The flag for that is ours alone.
    of_session.flags = INKI_SESSION_GREEDY;
    ink_session *s = NULL;
    assert_int_equal(ink_session_new(&s, story.model, &of_session, NULL), INK_E_UNSUPPORTED);
    opened_close(&story);
}

// What that rests on: the chain "greedy" writes one candidate, whatever is banned or allowed.
static void test_greedy_writes_one_candidate(void **state) {
    (void)state;
    enum { N = 1000 };
    static float logits[N];
    uint64_t random = 3, allowed[(N + 63) / 64];
    const inki_mem mem = inki_mem_from(NULL);
    inki_chain *chain = NULL;
    assert_int_equal(inki_chain_new(&chain, "greedy", NULL, N, &mem, NULL), INK_OK);
    for (int round = 0; round < 50; round++) {
        for (size_t i = 0; i < N; i++) logits[i] = (float)next_number(&random, 1000);
        for (size_t i = 0; i < N / 64 + 1; i++)
            allowed[i] = (uint64_t)next_number(&random, UINT32_MAX) << 20;
        const int32_t bans[] = {5, 70, 700};
        inki_candidate scratch[] = {{0, 0}, {77, 77}, {77, 77}};
        const inki_draw draw = {.logits = logits,
                                .n_vocab = N,
                                .banned = -1,
                                .bans = bans,
                                .n_bans = round % 2 ? 3 : 0,
                                .allowed = round % 3 ? allowed : NULL,
                                .scratch = scratch};
        int32_t token = -1;
        assert_int_equal(inki_chain_draw(chain, &draw, &token, NULL), INK_OK);
        for (int i = 1; i < 3; i++) assert_true(scratch[i].id == 77 && scratch[i].logit == 77);
        for (int32_t i = 0; i < N; i++) {
            const bool banned = draw.n_bans > 0 && (i == 5 || i == 70 || i == 700);
            if (banned || (draw.allowed != NULL && !(allowed[i / 64] >> i % 64 & 1))) continue;
            assert_true(logits[i] < logits[token] || (logits[i] == logits[token] && i >= token));
        }
    }
    inki_chain_free(chain);
}

// --- nothing after new ---------------------------------------------------------------------------

// A little of everything; texts of up to text_bytes.
static void use(ink_typing *typing, field *f, uint64_t *random) {
    static const char *const pieces[] = {" girl", "s", " and", " the", ". ", " He", "\n", "x"};
    ink_edit edit = {.size = sizeof edit};
    uint32_t more = 1;
    switch (next_number(random, 10)) {
    case 0: field_remove(f, -1 - (long)next_number(random, 20)); break;
    case 1: field_move(f, (long)next_number(random, 41) - 20); break;
    case 2:
        if (ink_typing_accept(typing, NULL, next_number(random, 3), &edit, NULL) == INK_OK)
            field_apply(f, &edit);
        break;
    case 3:
        if (ink_typing_undo(typing, &edit, NULL) == INK_OK) field_apply(f, &edit);
        break;
    case 4: ink_typing_retry(typing, NULL, NULL); return;
    case 5: ink_typing_reject(typing, NULL, NULL); return;
    case 6: ink_typing_cancel(typing); return;
    default:
        if (f->bytes > 900) field_set(f, begin);
        field_type(f, pieces[next_number(random, 8)]);
    }
    if (typing_update(typing, f, NULL) != INK_OK) return;
    for (uint32_t n = next_number(random, 14); n > 0 && more != 0; n--)
        assert_int_equal(ink_typing_run(typing, 0, &more, NULL), INK_OK);
}

static void test_nothing_after_new(void **state) {
    (void)state;
    heap h = {0};
    static field f;
    opened story = opened_story(1, &h);
    static const char *const phrases[] = {"little", "mom", "was very"};
    ink_filter *filter = NULL;
    assert_int_equal(ink_filter_new(&filter, story.runtime, phrases, 3, NULL), INK_OK);
    for (uint32_t n_alternatives = 1; n_alternatives <= 4; n_alternatives += 3) {
        uint64_t random = n_alternatives;
        ink_typing_options o = typing_defaults();
        o.n_alternatives = n_alternatives;
        o.filter = filter;
        o.window_words = 30;
        ink_typing *typing = typing_new(story.model, &o);
        field_set(&f, begin);
        const size_t before = h.n_allocs, bytes = h.live_bytes;
        for (int i = 0; i < 150; i++) use(typing, &f, &random);
        assert_int_equal(h.n_allocs, before);
        assert_int_equal(h.live_bytes, bytes);
        assert_int_equal(ink_typing_free(typing), INK_OK);
    }
    ink_filter_unref(filter);
    opened_close(&story);
    assert_int_equal(h.live_blocks, 0);
    assert_int_equal(h.wrong_releases, 0);
}

// Of a text that is long, without one blank or with nothing else, only what the context may hold is
// taken to be read: memory beside the text itself says how much that was.
static void test_long_text(void **state) {
    (void)state;
    enum { BYTES = 1 << 20 };
    heap h = {0};
    opened story = opened_story(1, &h);
    char *text = malloc(BYTES);
    assert_non_null(text);
    for (int blank = 0; blank < 2; blank++) {
        ink_typing_options o = typing_defaults();
        ink_typing *typing = typing_new(story.model, &o);
        memset(text, blank ? ' ' : 'a', BYTES);
        const size_t before = h.live_bytes;
        for (size_t n = BYTES - 300; n <= BYTES; n += 100) {
            assert_int_equal(ink_typing_update(typing, text, n, n, NULL, NULL), INK_OK);
            typing_finish(typing);
            assert_true(h.live_bytes - before < BYTES + 400000);
        }
        assert_int_equal(ink_typing_free(typing), INK_OK);
    }
    free(text);
    opened_close(&story);
    assert_int_equal(h.live_blocks, 0);
}

// --- each request fails in turn ------------------------------------------------------------------

static shown_all expected_short, expected_long;
static field short_text, long_text;

static bool is_expected(ink_typing *typing, const shown_all *expected) {
    static shown_all got;
    typing_copy(typing, expected->n, &got);
    return shown_same(&got, expected);
}

// Steps that may ask for memory; after a failure of any the session must go on.
static ink_status some_typing(ink_typing *typing, ink_error *error) {
    ink_edit edit = {.size = sizeof edit};
    ink_status status =
        ink_typing_update(typing, short_text.text, short_text.bytes, short_text.caret, NULL, error);
    if (status == INK_OK) status = ink_typing_run(typing, UINT32_MAX, NULL, error);
    if (status != INK_OK) return status;
    assert_true(is_expected(typing, &expected_short));
    status =
        ink_typing_update(typing, long_text.text, long_text.bytes, long_text.caret, NULL, error);
    if (status == INK_OK) status = ink_typing_run(typing, UINT32_MAX, NULL, error);
    if (status != INK_OK) return status;
    assert_true(is_expected(typing, &expected_long));
    status = ink_typing_accept(typing, NULL, INK_ACCEPT_ALL, &edit, error);
    if (status == INK_OK) status = ink_typing_run(typing, UINT32_MAX, NULL, error);
    if (status == INK_OK) status = ink_typing_undo(typing, &edit, error);
    if (status == INK_OK) status = ink_typing_run(typing, UINT32_MAX, NULL, error);
    if (status != INK_OK) return status;
    assert_true(is_expected(typing, &expected_long));
    status = ink_typing_retry(typing, NULL, error);
    return status == INK_OK ? ink_typing_run(typing, UINT32_MAX, NULL, error) : status;
}

static ink_typing_options small_options(void) {
    ink_typing_options o = typing_defaults();
    o.text_bytes = 32;
    o.n_alternatives = 2;
    o.max_tokens = 4;
    return o;
}

static ink_status whole_life(const opened *story, ink_error *error) {
    static const char *const phrases[] = {"little", "mom"};
    ink_typing_options o = small_options();
    ink_typing *typing = NULL;
    ink_filter *filter = NULL;
    ink_status status = ink_filter_new(&filter, story->runtime, phrases, 2, error);
    if (status != INK_OK) return status;
    o.filter = filter;
    status = ink_typing_new(&typing, story->model, &o, error);
    ink_filter_unref(filter);
    if (status != INK_OK) {
        assert_null(typing);
        return status;
    }
    status = some_typing(typing, error);
    // Only one request fails, so that now all of it goes well.
    if (status != INK_OK) assert_int_equal(some_typing(typing, NULL), INK_OK);
    assert_int_equal(ink_typing_free(typing), INK_OK);
    return status;
}

static void expectations(const opened *story) {
    static const char *const phrases[] = {"little", "mom"};
    ink_typing_options o = small_options();
    ink_filter *filter = NULL;
    assert_int_equal(ink_filter_new(&filter, story->runtime, phrases, 2, NULL), INK_OK);
    o.filter = filter;
    field_set(&short_text, begin);
    field_set(&long_text, begin);
    field_type(&long_text, " girl who went to the park with her dog and played all day long. She");
    assert_int_equal(typing_fresh(story->model, &o, &short_text, &expected_short), INK_OK);
    assert_int_equal(typing_fresh(story->model, &o, &long_text, &expected_long), INK_OK);
    ink_filter_unref(filter);
}

static void test_each_request_fails(void **state) {
    (void)state;
    heap h = {0};
    opened story = opened_story(1, &h);
    expectations(&story);
    const size_t live = h.live_bytes, blocks = h.live_blocks;
    size_t n = 1;
    for (;; n++) {
        ink_error error = {0};
        const size_t before = h.n_allocs;
        atomic_store(&h.fail_at, before + n);
        const ink_status status = whole_life(&story, &error);
        atomic_store(&h.fail_at, 0);
        assert_int_equal(h.live_bytes, live);
        assert_int_equal(h.live_blocks, blocks);
        assert_int_equal(h.wrong_releases, 0);
        if (h.n_allocs - before < n) { // nothing failed any more
            assert_int_equal(status, INK_OK);
            break;
        }
        if (status == INK_OK) continue; // it did without
        assert_int_equal(status, INK_E_NOMEM);
        assert_int_equal(error.status, INK_E_NOMEM);
    }
    print_message("%zu requests for memory failed in turn\n", n - 1);
    assert_true(n > 4);
    opened_close(&story);
    assert_int_equal(h.live_blocks, 0);
}

// Weights that are no numbers: the work fails, and the suggestion says with what, until the next
// text.
static void test_failure_is_told(void **state) {
    (void)state;
    const tiny_model tiny = tiny_model_defaults();
    opened o = opened_tiny(&tiny, 1, NULL);
    float *weight = (float *)(uintptr_t)o.model->weights.layers[0].qkv.data;
    const float good = *weight;
    ink_typing *typing = NULL;
    ink_suggestion told = {.size = sizeof told};
    assert_int_equal(ink_typing_new(&typing, o.model, NULL, NULL), INK_OK);
    assert_int_equal(ink_typing_update(typing, "ab", 2, 2, NULL, NULL), INK_OK);
    *weight = NAN;
    assert_int_equal(ink_typing_run(typing, UINT32_MAX, NULL, NULL), INK_E_NUMERIC);
    assert_int_equal(ink_typing_suggestion(typing, 0, &told), INK_OK);
    assert_int_equal(told.status, INK_E_NUMERIC);
    assert_int_equal(told.done, 1);
    *weight = good;
    assert_int_equal(ink_typing_update(typing, "abc", 3, 3, NULL, NULL), INK_OK);
    assert_int_equal(ink_typing_suggestion(typing, 0, &told), INK_OK);
    assert_int_equal(told.status, INK_OK);
    assert_int_equal(ink_typing_run(typing, UINT32_MAX, NULL, NULL), INK_OK);
    assert_int_equal(ink_typing_free(typing), INK_OK);
    opened_close(&o);
}

// --- nothing grows -------------------------------------------------------------------------------

static void test_open_and_close(void **state) {
    (void)state;
    heap h = {0};
    static field f;
    opened story = opened_story(1, &h);
    const int n = is_long() ? N_OPENED_LONG : N_OPENED;
    ink_typing_options o = typing_defaults();
    field_set(&f, begin);
    const size_t live = h.live_bytes, blocks = h.live_blocks;
    size_t peak = 0;
    for (int i = 0; i < n; i++) {
        o.n_alternatives = 1 + (uint32_t)i % 3;
        ink_typing *typing = typing_new(story.model, &o);
        assert_int_equal(typing_update(typing, &f, NULL), INK_OK);
        if (i % 2 == 0) assert_int_equal(ink_typing_run(typing, 0, NULL, NULL), INK_OK);
        assert_int_equal(ink_typing_free(typing), INK_OK);
        assert_int_equal(h.live_bytes, live);
        if (i == 2) peak = h.peak_bytes;
    }
    assert_int_equal(h.live_blocks, blocks);
    assert_int_equal(h.peak_bytes, peak);
    if (!is_long())
        print_message("left out: %d of %d sessions\n", N_OPENED_LONG - n, N_OPENED_LONG);
    opened_close(&story);
    assert_int_equal(h.live_blocks, 0);
}

static void test_many_updates(void **state) {
    (void)state;
    heap h = {0};
    static field f;
    opened story = opened_story(1, &h);
    const int n = is_long() ? N_UPDATES_LONG : N_UPDATES;
    ink_typing_options o = typing_defaults();
    o.text_bytes = 64; // texts are longer: the room for them must not grow with their number
    uint64_t random = 5, last = 0, revision = 0;
    ink_typing *typing = typing_new(story.model, &o);
    size_t settled = 0;
    for (int i = 0; i < n; i++) {
        if (f.bytes > 900 || i < 2) {
            field_set(&f, begin);
            for (int k = 0; k < 60 && i == 0; k++) field_type(&f, " and more words");
        }
        field_type(&f, next_number(&random, 3) == 0 ? " go" : "o");
        field_move(&f, (long)next_number(&random, 21) - 10);
        assert_int_equal(typing_update(typing, &f, &revision), INK_OK);
        assert_true(revision > last);
        last = revision;
        if (i % 100 == 0) assert_int_equal(ink_typing_run(typing, 0, NULL, NULL), INK_OK);
        if (i == 100) settled = h.peak_bytes; // the longest text was the first
        if (i > 100) assert_int_equal(h.peak_bytes, settled);
    }
    typing_expect_fresh(typing, story.model, &o, &f, "after many updates");
    assert_int_equal(ink_typing_free(typing), INK_OK);
    if (!is_long())
        print_message("left out: %d of %d updates\n", N_UPDATES_LONG - n, N_UPDATES_LONG);
    opened_close(&story);
    assert_int_equal(h.live_blocks, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_measure),
        cmocka_unit_test(test_what_another_alternative_takes),
        cmocka_unit_test(test_greedy_writes_one_candidate),
        cmocka_unit_test(test_nothing_after_new),
        cmocka_unit_test(test_long_text),
        cmocka_unit_test(test_each_request_fails),
        cmocka_unit_test(test_failure_is_told),
        cmocka_unit_test(test_open_and_close),
        cmocka_unit_test(test_many_updates),
    };
    return cmocka_run_group_tests_name("typing: memory", tests, NULL, NULL);
}
