// SPDX-License-Identifier: MIT
// Typing sessions: their memory with alternatives as the text grows and shrinks over pages, a
// filter that looks before the window, text that repeats itself, and why nothing is suggested.
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "opened.h"
#include "os/os.h"

static ink_typing_options defaults(void) {
    ink_typing_options o;
    ink_typing_options_init(&o, sizeof o);
    return o;
}

static ink_typing *new_typing(ink_model *model, const ink_typing_options *o) {
    ink_typing *t = NULL;
    ink_error error = {0};
    if (ink_typing_new(&t, model, o, &error) != INK_OK) fail_msg("%s", error.message);
    return t;
}

static void suggest(ink_typing *t, const char *text, size_t bytes) {
    ink_error error = {0};
    if (ink_typing_update(t, text, bytes, bytes, NULL, &error) != INK_OK ||
        ink_typing_run(t, UINT32_MAX, NULL, &error) != INK_OK)
        fail_msg("%s", error.message);
}

// --- memory --------------------------------------------------------------------------------------

// The text ends now in one page of the cache, now in another, so that branches need their own pages
// at other places, and the main session writes again to pages that branches have seen.
static void grow_and_shrink(ink_typing *t, heap *h) {
    enum { MOST = 1500 };
    static const char words[] = "the cat sat on a mat ";
    char text[MOST];
    for (size_t i = 0; i < MOST; i++) text[i] = words[i % (sizeof words - 1)];
    const size_t n_allocs = h->n_allocs;
    for (size_t n = 10; n < MOST; n += n / 4 + 1) suggest(t, text, n);
    for (size_t n = MOST; n > 10; n -= n / 3 + 1) suggest(t, text, n);
    for (size_t n = MOST; n > 10; n = n * 2 / 5) {
        suggest(t, text, n);
        suggest(t, text, MOST - n);
    }
    assert_int_equal(h->n_allocs, n_allocs);
}

static void long_words(ink_typing *t, heap *h) {
    static const char chinese[] = "今天天气很好我们一起去公园玩吧然后回家吃饭";
    const size_t n_allocs = h->n_allocs;
    char text[256];
    memset(text, 'x', sizeof text);
    for (size_t n = 30; n < sizeof text; n += 25) suggest(t, text, n);
    suggest(t, text, sizeof text);
    for (size_t n = 3; n < sizeof chinese; n += 3) suggest(t, chinese, n);
    assert_int_equal(h->n_allocs, n_allocs);
}

static void all_memory_is_there_from_the_beginning(void **state) {
    (void)state;
    heap h = {0};
    const ink_allocator allocator = heap_allocator(&h);
    ink_runtime_options ro;
    ink_runtime_options_init(&ro, sizeof ro);
    ro.allocator = &allocator;
    ink_runtime *runtime = NULL;
    ink_model *model = NULL;
    assert_int_equal(ink_runtime_new(&runtime, &ro, NULL), INK_OK);
    assert_int_equal(ink_model_open(&model, runtime, NULL, NULL, NULL), INK_OK);
    for (uint32_t n = 1; n <= 4; n += n == 1 ? 1 : 2) {
        ink_typing_options o = defaults();
        o.n_alternatives = n;
        ink_memory told = {0};
        assert_int_equal(ink_typing_measure(NULL, &o, &told, NULL), INK_OK);
        const size_t before = h.live_bytes;
        h.peak_bytes = before;
        ink_typing *t = new_typing(model, &o);
        grow_and_shrink(t, &h);
        long_words(t, &h);
        assert_int_equal(h.peak_bytes - before, told.session_heap_bytes);
        assert_int_equal(h.live_bytes - before, told.session_heap_bytes);
        assert_int_equal(ink_typing_free(t), INK_OK);
        assert_int_equal(h.live_bytes, before);
    }
    ink_model_unref(model);
    ink_runtime_unref(runtime);
    assert_int_equal(h.live_blocks, 0);
}

// Whatever the model: the prompt ends at each place of a page, and some alternatives begin with the
// token that the tail is, others with another in its place.
static void no_page_is_copied_for_another(void **state) {
    (void)state;
    static const char *const patterns[] = {"in the ", "th", "abcdefgh ", "aaaa a"};
    heap h = {0};
    const tiny_model tiny = tiny_model_defaults();
    opened o = opened_tiny(&tiny, 1, &h);
    for (size_t i = 0; i < 5; i++) {
        ink_typing_options options = defaults();
        options.n_alternatives = i < 4 ? 8 : 3;
        options.max_tokens = i < 4 ? 2 : 64;
        const char *pattern = patterns[i % 4];
        const size_t length = strlen(pattern);
        ink_typing *t = new_typing(o.model, &options);
        char text[256]; // may be one word: to read a longer one takes memory
        const size_t n_allocs = h.n_allocs;
        for (size_t n = 0; n < sizeof text; n++) {
            text[n] = pattern[n % length];
            suggest(t, text, n + 1);
            if (h.n_allocs != n_allocs) fail_msg("\"%.*s\"", (int)n + 1, text);
        }
        assert_int_equal(ink_typing_free(t), INK_OK);
    }
    opened_close(&o);
    assert_int_equal(h.live_blocks, 0);
}

// --- what is suggested ---------------------------------------------------------------------------

// What the user typed may repeat itself: its last token, which is written again, is no repetition
// of the suggestion's making.
static void repeating_text_is_continued(void **state) {
    (void)state;
    static const char *const texts[] = {"She was very very very very very",
                                        "The cat ran. The cat ran. The cat ran"};
    for (size_t i = 0; i < 2; i++)
        for (uint32_t n = 1; n <= 2; n++) {
            ink_typing_options o = defaults();
            o.n_alternatives = n;
            ink_typing *t = new_typing(opened_builtin, &o);
            suggest(t, texts[i], strlen(texts[i]));
            ink_suggestion shown = {0};
            assert_int_equal(ink_typing_suggestion(t, n - 1, &shown), INK_OK);
            assert_true(shown.bytes > 0);
            // The tail is the whole word: what comes is another one.
            assert_int_equal(shown.text[0], ' ');
            ink_typing_free(t);
        }
}

static void filter_looks_before_the_window(void **state) {
    (void)state;
    static const char text[] = "Once upon a time, there was a little";
    static const char *const phrases[] = {"a little boy", "was a little girl", "little girl",
                                          "there was a little dog"};
    ink_filter *f = NULL;
    assert_int_equal(ink_filter_new(&f, NULL, phrases, 4, NULL), INK_OK);
    for (uint32_t window = 0; window < 8; window++)
        for (uint32_t n = 1; n <= 3; n += 2) {
            ink_typing_options o = defaults();
            o.filter = f;
            o.n_alternatives = n;
            o.window_words = window / 2;
            if (window % 2) o.window_tokens = window / 2 + 1;
            ink_typing *t = new_typing(opened_builtin, &o);
            suggest(t, text, sizeof text - 1);
            for (uint32_t i = 0; i < n; i++) {
                ink_suggestion shown = {0};
                size_t at = 0, length = 0;
                char joined[1024];
                assert_int_equal(ink_typing_suggestion(t, i, &shown), INK_OK);
                snprintf(joined, sizeof joined, "%s%s", text, shown.text);
                ink_filter_find(f, joined, strlen(joined), &at, &length);
                if (length > 0) fail_msg("\"%s\" in \"%s\"", phrases[0], joined);
            }
            ink_typing_free(t);
        }
    ink_filter_unref(f);
}

static void nothing_says_why(void **state) {
    (void)state;
    for (uint32_t n = 1; n <= 3; n += 2) {
        ink_typing_options o = defaults();
        o.n_alternatives = n;
        o.deadline_ms = 1;
        ink_typing *t = new_typing(opened_builtin, &o);
        assert_int_equal(ink_typing_update(t, "Once upon", 9, 9, NULL, NULL), INK_OK);
        const double start = inki_os_now_ms();
        while (inki_os_now_ms() - start < 1) {}
        assert_int_equal(ink_typing_run(t, UINT32_MAX, NULL, NULL), INK_OK);
        for (uint32_t i = 0; i < n; i++) {
            ink_suggestion shown = {0};
            assert_int_equal(ink_typing_suggestion(t, i, &shown), INK_OK);
            assert_int_equal(shown.done, 1);
            assert_int_equal(shown.bytes, 0);
            assert_int_equal(shown.stop, INK_STOP_DEADLINE);
        }
        ink_typing_free(t);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_memory_is_there_from_the_beginning),
        cmocka_unit_test(no_page_is_copied_for_another),
        cmocka_unit_test(repeating_text_is_continued),
        cmocka_unit_test(filter_looks_before_the_window),
        cmocka_unit_test(nothing_says_why),
    };
    return cmocka_run_group_tests(tests, opened_builtin_begin, opened_builtin_end);
}
