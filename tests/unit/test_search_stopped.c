// SPDX-License-Identifier: MIT
// Beam search that is stopped, fails or is asked for what cannot be: what is left of session and
// memory.
#include "countdown.h"
#include "slow_beam.h"

// --- stopped, failed -----------------------------------------------------------------------------

// Text that all agree on comes while they are still at work, and stopping there stops the search.
static void the_callback_stops(void **state) {
    (void)state;
    static searched whole, x;
    ink_session *s = session_of(opened_builtin, 0, 0, INK_KV_F16);
    ink_search_options o = beams(3, 40, 1);
    o.flags = INK_GENERATE_FRESH;
    whole = (searched){0};
    finds(s, "Once upon a time", o, &whole);
    assert_true(whole.said.n_pieces > 3);
    for (int by_cancel = 0; by_cancel < 2; by_cancel++) {
        x = (searched){.cancel = by_cancel ? s : NULL, .said.stop_after = by_cancel ? 0 : 2};
        assert_int_equal(search(s, "Once upon a time", o, &x, NULL), INK_OK);
        assert_int_equal(x.result.stop, by_cancel ? INK_STOP_CANCELLED : INK_STOP_CALLBACK);
        assert_true(x.n_found > 0);
        assert_int_equal(x.found[0].stop, INK_STOP_CANCELLED);
        assert_true(x.found[0].n < 40);
        assert_memory_equal(x.said.text, whole.said.text, by_cancel ? 0 : x.said.bytes);
        // The past is a beginning of the best text, and good to go on from.
        size_t n_past = 0;
        const ink_token *past = ink_session_tokens(s, &n_past);
        assert_in_range(n_past, x.result.n_prompt, x.result.n_prompt + x.found[0].n);
        assert_memory_equal(past + x.result.n_prompt, x.found[0].tokens,
                            (n_past - x.result.n_prompt) * sizeof *past);
    }
    ink_session_free(s);
}

static void cancelled_at_any_time(void **state) {
    (void)state;
    static searched x, again, whole;
    static const char text[] = "The girl said: I would like to have a red ball and a blue one";
    ink_session *s = session_of(opened_builtin, 0, 5, INK_KV_F16);
    const ink_search_options o = beams(3, 24, 1);
    const ink_token old[] = {40, 41, 42, 43, 44, 45, 46};
    opened_eval(s, old, 7, 0);
    const slow_model m = slow_of(s, text);
    finds(s, text, o, &whole);
    uint32_t n_prompts = 0, n_others = 0;
    for (int i = 0;; i += 2) {
        ink_session_rewind(s, 0);
        opened_eval(s, old, 7, 0);
        countdown c = {i};
        s->interrupted = counts_down;
        s->interrupted_arg = &c;
        ink_error error = {0};
        assert_int_equal(search(s, text, o, &x, &error), INK_OK);
        s->interrupted = NULL;
        assert_int_equal(error.status, INK_OK);
        if (x.result.stop != INK_STOP_CANCELLED) break;
        size_t n_past = 0;
        const ink_token *past = ink_session_tokens(s, &n_past);
        if (x.n_found == 0) { // the prompt was not read: the past is as before
            assert_int_equal(n_past, 7);
            assert_memory_equal(past, old, sizeof old);
            n_prompts++;
        } else {
            assert_in_range(n_past, m.n_prompt, m.n_prompt + x.found[0].n);
            assert_memory_equal(past, m.prompt, m.n_prompt * sizeof *past);
            assert_memory_equal(past + m.n_prompt, x.found[0].tokens,
                                (n_past - m.n_prompt) * sizeof *past);
            n_others++;
        }
        if (i % 8 != 0) continue;
        // What the cache holds is what it says: from there the search comes to the same end.
        ink_session_rewind(s, 7);
        finds(s, text, o, &again);
        assert_memory_equal(again.found, whole.found, sizeof again.found);
    }
    assert_true(n_prompts > 0 && n_others > 5);
    ink_session_free(s);
}

static void without_memory(void **state) {
    (void)state;
    static searched x;
    static const char *const stop[] = {"no such words"};
    heap h = {0};
    tiny_model tiny = tiny_model_defaults();
    opened o = opened_tiny(&tiny, 1, &h);
    ink_session *s = opened_session(&o, 0, INK_KV_F16, 0), *fork = NULL;
    ink_search_options so = beams(3, 30, 1);
    so.stop = stop;
    so.n_stop = 1;
    ink_status status = INK_E_NOMEM;
    size_t n;
    opened_eval(s, (ink_token[]){5, 6, 7, 8}, 4, 0);
    for (n = 1; status != INK_OK; n++) {
        assert_int_equal(ink_session_fork(s, &fork, NULL), INK_OK);
        const slow_model m = slow_of(fork, " more and more text that goes on");
        h.fail_at = h.n_allocs + n;
        ink_error error = {0};
        status = search(fork, " more and more text that goes on", so, &x, &error);
        h.fail_at = 0;
        size_t n_past = 0;
        const ink_token *past = ink_session_tokens(fork, &n_past);
        if (status != INK_OK) {
            assert_int_equal(status, INK_E_NOMEM);
            assert_int_equal(error.status, INK_E_NOMEM);
            if (x.n_found == 0) assert_true(n_past == 4 || n_past >= m.n_prompt);
            assert_memory_equal(past, m.prompt, 4 * sizeof *past);
            const size_t live = h.live_blocks;
            ink_session_rewind(fork, 4);
            finds(fork, " more and more text that goes on", so, &x);
            assert_true(h.live_blocks <= live + 4); // pages of the fork
        }
        ink_session_free(fork);
    }
    print_message("%zu requests for memory\n", n - 1);
    assert_in_range(n, 12, 100);
    ink_session_free(s);
    opened_close(&o);
    assert_int_equal(h.live_blocks, 0);
    assert_int_equal(h.wrong_releases, 0);
}

// Steps ask for no memory: a long search asks as often as a short one.
static void steps_allocate_nothing(void **state) {
    (void)state;
    static searched x;
    heap h = {0};
    tiny_model tiny = tiny_model_defaults();
    opened o = opened_tiny(&tiny, 1, &h);
    size_t counts[2];
    for (int i = 0; i < 2; i++) {
        ink_session *s = opened_session(&o, 0, INK_KV_F16, 0);
        ink_search_options so = beams(6, i == 0 ? 33 : 44, 1);
        so.flags = INK_GENERATE_NO_END;
        const size_t before = h.n_allocs;
        x = (searched){0};
        finds(s, "it begins before a page's end and goes over it: here it does", so, &x);
        counts[i] = h.n_allocs - before;
        ink_session_free(s);
    }
    assert_int_equal(counts[0], counts[1]);
    opened_close(&o);
}

static void wrong_calls(void **state) {
    (void)state;
    static searched x;
    ink_session *s = session_of(opened_builtin, 0, 0, INK_KV_F16);
    static const char *const none[] = {""};
    opened_eval(s, (ink_token[]){5, 6, 7, 8}, 4, 0);
    for (int i = 0; i < 13; i++) {
        ink_search_options o = beams(4, 8, 1);
        ink_status expected = INK_E_ARG;
        if (i == 0) o.n_beams = 0, expected = INK_E_LIMIT;
        if (i == 1) o.n_beams = 65, expected = INK_E_LIMIT;
        if (i == 2) o.top_k = 1, expected = INK_E_LIMIT;
        if (i == 3) o.top_k = 65, expected = INK_E_LIMIT;
        if (i == 4) o.method = 2;
        if (i == 5) o.length_penalty = NAN;
        if (i == 6) o.length_penalty = INFINITY;
        if (i == 7) o.alpha = 1.5F;
        if (i == 8) o.alpha = NAN;
        if (i == 9) o.flags = INK_GENERATE_ECHO, expected = INK_E_UNSUPPORTED;
        if (i == 10) o.stop = none, o.n_stop = 1;
        if (i == 11) o.n_stop = 1;
        if (i == 12) o.size = 7;
        ink_error error = {0};
        assert_int_equal(search(s, "a", o, &x, &error), expected);
        assert_int_equal(error.status, expected);
        assert_int_equal(ink_session_n_past(s), 4);
        assert_non_null(ink_session_logits(s, 0, NULL));
    }
    ink_search_options o = beams(2, 8, 1);
    o.flags = INK_GENERATE_STRICT;
    assert_int_equal(search(s, "\xff", o, &x, NULL), INK_E_UTF8);
    assert_int_equal(ink_session_search(s, NULL, 3, NULL, NULL, NULL, NULL, NULL), INK_E_ARG);
    assert_int_equal(ink_session_search(NULL, "a", 1, NULL, NULL, NULL, NULL, NULL), INK_E_ARG);
    char *text = malloc(5001);
    memset(text, 'x', 5000);
    text[5000] = 0;
    for (int i = 1; i < 5000; i += 2) text[i] = ' ';
    assert_int_equal(search(s, text, beams(2, 8, 1), &x, NULL), INK_E_CONTEXT);
    assert_int_equal(ink_session_n_past(s), 4);
    free(text);
    // Defaults, and nothing to call.
    assert_int_equal(ink_session_search(s, "a", 1, NULL, NULL, NULL, NULL, NULL), INK_OK);
    // No tokens: the prompt alone.
    ink_session_rewind(s, 4);
    finds(s, "abc", beams(3, 0, 1), &x);
    assert_int_equal(x.n_found, 1);
    assert_int_equal(x.found[0].n, 0);
    assert_int_equal(x.found[0].stop, INK_STOP_LENGTH);
    // Nothing at all: it begins behind the end-of-text token.
    ink_session_rewind(s, 0);
    finds(s, "", beams(3, 5, 1), &x);
    assert_int_equal(x.result.n_prompt, 1);
    ink_session_free(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_callback_stops), cmocka_unit_test(cancelled_at_any_time),
        cmocka_unit_test(without_memory),     cmocka_unit_test(steps_allocate_nothing),
        cmocka_unit_test(wrong_calls),
    };
    return cmocka_run_group_tests(tests, opened_small_begin, opened_builtin_end);
}
