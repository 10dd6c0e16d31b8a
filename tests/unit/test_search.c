// SPDX-License-Identifier: MIT
// Beam search against a slow one that evaluates every text from its beginning in a session of its
// own, and against an exhaustive search for the most probable text.
#include "slow_beam.h"
#include "threads_only.h"

static uint32_t n_ended[8]; // texts found, by how they ended

static uint32_t finds_what_the_slow_one_does(ink_session *s, const char *text,
                                             ink_search_options o) {
    static searched x;
    static slow_text expected[MAX_BEAMS];
    const slow_model m = slow_of(s, text);
    const uint32_t n = slow_beam(&m, &o, expected);
    x = (searched){0};
    finds(s, text, o, &x);
    assert_int_equal(x.n_found, n);
    for (uint32_t i = 0; i < n; i++) {
        const slow_text *e = &expected[i];
        if (x.found[i].n != e->n || x.found[i].stop != e->stop ||
            memcmp(x.found[i].tokens, e->tokens, e->n * sizeof *e->tokens) != 0)
            fail_msg("text %u of %u behind \"%s\" is another one", i, n, text);
        assert_true(fabs(x.found[i].logprob - e->logprob) < 1e-5 * (e->n + 1));
        assert_true(fabs(x.found[i].score - e->score) < 1e-4 * fabs(e->score) + 1e-5);
        n_ended[e->stop]++;
    }
    assert_int_equal(x.result.n_prompt, m.n_prompt);
    stands_behind(s, &m, &x.found[0]);
    return x.result.n_evaluated + x.result.n_reused - x.result.n_prompt;
}

// Small models of random weights, whose end token is likely now and then: all lengths of texts and
// signs of the penalty, pages and a context that end on the way.
static void like_the_slow_one(void **state) {
    (void)state;
    static const float penalties[] = {1, 0, -0.5F, 2};
    static const char *const prompts[] = {"a", "hello world, this is ",
                                          "012345678901234567890123456789012345678901234567891234"};
    memset(n_ended, 0, sizeof n_ended);
    for (uint64_t seed = 1; seed <= 12; seed++) {
        tiny_model tiny = tiny_model_defaults();
        tiny.seed = seed;
        tiny.n_vocab = 258;
        opened o = opened_tiny(&tiny, 1, NULL);
        const uint32_t n_ctx = seed % 4 == 0 ? 58 : 160;
        ink_session *s = session_of(o.model, n_ctx, seed % 3 == 0 ? 1 : 0, (uint32_t)(seed % 3));
        for (int i = 0; i < 3; i++) {
            ink_search_options so =
                beams(1 + (uint32_t)(seed + 3 * (uint64_t)i) % 9,
                      4 + (uint32_t)(seed + (uint64_t)i) % 12, penalties[(seed + (uint64_t)i) % 4]);
            ink_session_rewind(s, 0);
            if (seed % 5 == 0) so.flags = INK_GENERATE_NO_END;
            finds_what_the_slow_one_does(s, prompts[i], so);
        }
        ink_session_free(s);
        opened_close(&o);
    }
    print_message("ended: %u by the end token, %u by length, %u by the context\n", n_ended[0],
                  n_ended[1], n_ended[6]);
    assert_true(n_ended[INK_STOP_LENGTH] > 0 && n_ended[INK_STOP_CONTEXT] > 0);
}

// Models whose end token is often the likeliest and often the least likely one. The slow search has
// no bound behind which it stops: where the other one stops, nothing better was left.
static void stops_when_nothing_better_can_come(void **state) {
    (void)state;
    static const float penalties[] = {0.5F, 1, 2, -1};
    uint32_t n_evaluated = 0;
    memset(n_ended, 0, sizeof n_ended);
    n_slow_evaluated = 0;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        tiny_model tiny = tiny_model_defaults();
        tiny.seed = seed;
        tiny.n_vocab = 258;
        tiny.tied = false;
        opened o = opened_tiny(&tiny, 1, NULL);
        const inki_tensor *head = &o.model->weights.head;
        float *end = (float *)(void *)(o.bytes + ((const uint8_t *)head->data - o.bytes)) +
                     (size_t)(tiny.n_vocab - 1) * tiny.n_embd;
        for (uint32_t i = 0; i < tiny.n_embd; i++) end[i] *= 6;
        ink_session *s = session_of(o.model, 0, 0, INK_KV_F16);
        const ink_search_options so = beams(1 + (uint32_t)seed % 4, 20, penalties[(seed / 4) % 4]);
        n_evaluated += finds_what_the_slow_one_does(s, "so it is", so);
        ink_session_free(s);
        opened_close(&o);
    }
    print_message("%u tokens evaluated, %u without the bound; ended: %u by the end token, %u by "
                  "length\n",
                  n_evaluated, n_slow_evaluated, n_ended[0], n_ended[1]);
    assert_true(n_evaluated < n_slow_evaluated * 9 / 10 && n_ended[INK_STOP_LENGTH] > 5 &&
                n_ended[INK_STOP_END] > 20);
}

// A trained model, whose texts do end.
static void like_the_slow_one_on_stories(void **state) {
    (void)state;
    static const char *const stops[] = {"the", ". "};
    memset(n_ended, 0, sizeof n_ended);
    ink_session *s = session_of(opened_builtin, 0, 0, INK_KV_F16);
    static const char *const prompts[] = {"Once upon a time", "They all lived happily ever after.",
                                          "Lily and Tom were friends. The"};
    for (uint32_t i = 0; i < 9; i++) {
        ink_search_options o = beams(2 + i % 4, 6 + i, i % 3 == 0 ? 0 : 1);
        if (i >= 6) {
            o.stop = stops;
            o.n_stop = 2;
        }
        ink_session_rewind(s, 0);
        finds_what_the_slow_one_does(s, prompts[i % 3], o);
        // And once more from where it stands: the past counts.
        finds_what_the_slow_one_does(s, " And", beams(3, 4, 1));
    }
    print_message("ended: %u by the end token, %u by length, %u by a stop string\n", n_ended[0],
                  n_ended[1], n_ended[2]);
    assert_true(n_ended[INK_STOP_LENGTH] > 0 && n_ended[INK_STOP_STRING] > 0 &&
                n_ended[INK_STOP_END] > 0);
    ink_session_free(s);
}

// What all agree on fills pages while they go on.
static void over_several_pages(void **state) {
    (void)state;
    ink_session *s = session_of(opened_builtin, 0, 0, INK_KV_Q8_0);
    finds_what_the_slow_one_does(s,
                                 "Once upon a time there was a little girl named Lily. She loved "
                                 "to play in the park with her mom and her dog. One day she",
                                 beams(3, 88, 1));
    ink_session_free(s);
}

// --- the most probable text ----------------------------------------------------------------------

// Prefixes in the order of their probability: the first whole text that comes is the best there is.
static void most_probable(const slow_model *m, uint32_t n_tokens, slow_text *out) {
    enum { MOST = 1 << 16, WIDTH = 64 };
    slow_text *open = malloc(MOST * sizeof *open);
    double *p = malloc(m->n_vocab * sizeof *p);
    size_t n_open = 1;
    open[0] = (slow_text){.stop = INK_STOP_LENGTH};
    for (;;) {
        size_t best = 0;
        for (size_t i = 1; i < n_open; i++)
            if (open[i].logprob > open[best].logprob) best = i;
        const slow_text t = open[best];
        if (t.stop == INK_STOP_END || t.n == n_tokens) {
            *out = t;
            break;
        }
        open[best] = open[--n_open];
        slow_logprobs(m, t.tokens, t.n, p);
        // Beyond WIDTH of one prefix nothing can be needed that is not caught here.
        for (int k = 0; k < WIDTH; k++) {
            size_t v = 0;
            for (size_t i = 1; i < m->n_vocab; i++) v = p[i] > p[v] ? i : v;
            slow_text next = t;
            next.logprob += p[v];
            p[v] = -INFINITY;
            if ((ink_token)v == m->end)
                next.stop = INK_STOP_END;
            else
                next.tokens[next.n++] = (ink_token)v;
            assert_true(n_open < MOST);
            open[n_open++] = next;
        }
    }
    free(open);
    free(p);
}

static void wide_beams_find_the_most_probable_text(void **state) {
    (void)state;
    static const char *const prompts[] = {"Once upon a time", "The dog ran to the", "Tom said"};
    ink_session *s = session_of(opened_builtin, 0, 0, INK_KV_F16);
    for (int i = 0; i < 3; i++) {
        static searched x;
        slow_text best;
        x = (searched){0};
        ink_session_rewind(s, 0);
        const slow_model m = slow_of(s, prompts[i]);
        most_probable(&m, 3, &best);
        finds(s, prompts[i], beams(64, 3, 0), &x);
        assert_int_equal(x.found[0].n, best.n);
        assert_memory_equal(x.found[0].tokens, best.tokens, best.n * sizeof *best.tokens);
        assert_true(fabs(x.found[0].logprob - best.logprob) < 1e-4);
    }
    ink_session_free(s);
}

static void one_beam_is_greedy(void **state) {
    (void)state;
    ink_session *s = session_of(opened_builtin, 0, 0, INK_KV_F16);
    ink_sampler *greedy = NULL;
    ink_generate_options g;
    assert_int_equal(ink_sampler_new(&greedy, opened_builtin, "greedy", NULL, NULL), INK_OK);
    ink_generate_options_init(&g, sizeof g);
    g.sampler = greedy;
    g.n_tokens = 40;
    g.flags = INK_GENERATE_FRESH;
    for (int i = 0; i < 4; i++) {
        static searched x;
        static collected c;
        static const char *const stop[] = {"was"};
        ink_search_options o = beams(1, 40, i % 2 ? 1.0F : 0.0F);
        const char *text = i < 2 ? "Once upon a time" : "The end.";
        g.n_stop = o.n_stop = i == 1;
        g.stop = o.stop = stop;
        o.flags = INK_GENERATE_FRESH;
        ink_result r = {0};
        c = (collected){0};
        x = (searched){0};
        assert_int_equal(ink_session_generate(s, text, strlen(text), &g, collect, &c, &r, NULL),
                         INK_OK);
        const uint32_t n_past = ink_session_n_past(s);
        finds(s, text, o, &x);
        assert_string_equal(x.said.text, c.text);
        assert_int_equal(x.result.stop, r.stop);
        assert_int_equal(x.result.n_generated, r.n_generated);
        assert_int_equal(ink_session_n_past(s), n_past);
    }
    ink_sampler_free(greedy);
    ink_session_free(s);
}

// All texts are equally likely: lower tokens first, then better beams.
static void equal_ones_in_order(void **state) {
    (void)state;
    static searched x;
    tiny_model tiny = tiny_model_defaults();
    tiny.tied = false;
    opened o = opened_tiny(&tiny, 1, NULL);
    const inki_tensor *head = &o.model->weights.head;
    uint8_t *data = o.bytes + ((const uint8_t *)head->data - o.bytes);
    memset(data, 0, tiny.n_vocab * head->row_bytes);
    ink_session *s = session_of(o.model, 0, 0, INK_KV_F16);
    finds(s, "a", beams(3, 3, 0), &x);
    assert_int_equal(x.n_found, 3);
    for (uint32_t i = 0; i < 3; i++) {
        const ink_token expected[] = {(ink_token)i, 0, 0};
        assert_int_equal(x.found[i].n, 3);
        assert_memory_equal(x.found[i].tokens, expected, sizeof expected);
    }
    ink_session_free(s);
    opened_close(&o);
}

// --- the same bytes ------------------------------------------------------------------------------

static void same_bytes_for_any_threads(void **state) {
    (void)state;
    static searched first, x;
    tiny_model tiny = tiny_model_defaults();
    for (uint32_t n_threads = 1; n_threads <= 3; n_threads++)
        for (uint32_t n_batch = 1; n_batch <= 64; n_batch = 5 * n_batch + 2) {
            opened o = opened_tiny(&tiny, n_threads, NULL);
            ink_session *s = session_of(o.model, 0, n_batch, INK_KV_F16);
            for (int again = 0; again < 2; again++) {
                ink_search_options so = beams(5, 40, 1);
                so.flags = INK_GENERATE_FRESH;
                x = (searched){0};
                finds(s, "hello, what is this all about? it is ", so, &x);
                if (n_threads == 1 && n_batch == 1 && again == 0) first = x;
                assert_memory_equal(first.found, x.found, sizeof x.found);
                assert_memory_equal(&first.said, &x.said, sizeof x.said);
            }
            ink_session_free(s);
            opened_close(&o);
        }
}

// A fork searches in pages that it shares, and takes nothing from those it shares them with.
static void in_a_fork(void **state) {
    (void)state;
    static searched alone, x;
    size_t n_vocab = 0;
    ink_session *s = session_of(opened_builtin, 0, 0, INK_KV_F16), *fork = NULL;
    static const char text[] = "Once upon a time there was a girl who had a big red ball. She "
                               "played with it every day in the garden. One day the ball was gone "
                               "and she was sad, so she went to her mom and asked her. Mom said";
    alone = x = (searched){0};
    finds(s, text, beams(4, 30, 1), &alone);
    ink_session_rewind(s, 0);
    const slow_model m = slow_of(s, text);
    opened_eval(s, m.prompt, m.n_prompt, 0);
    float *before = malloc(m.n_vocab * sizeof *before);
    memcpy(before, ink_session_logits(s, 0, &n_vocab), m.n_vocab * sizeof *before);
    assert_int_equal(ink_session_fork(s, &fork, NULL), INK_OK);
    finds(fork, "", beams(4, 30, 1), &x);
    assert_memory_equal(alone.found, x.found, sizeof x.found);
    stands_behind(fork, &m, &x.found[0]);
    assert_memory_equal(before, ink_session_logits(s, 0, NULL), m.n_vocab * sizeof *before);
    finds(s, "", beams(4, 30, 1), &x);
    assert_memory_equal(alone.found, x.found, sizeof x.found);
    stands_behind(s, &m, &x.found[0]);
    ink_session_free(s);
    ink_session_free(fork);
    free(before);
}

// Sessions that share beginnings, keep rows of logits and draft: the texts are the same.
static void in_sessions_with_everything(void **state) {
    (void)state;
    static searched alone, x;
    ink_prefix_cache *cache = NULL;
    ink_session_options o;
    static const char text[] = "Once upon a time there was a girl who had a big red ball. She "
                               "played with it every day in the garden, and in the park too. "
                               "When she had to sleep, the ball was in her bed, and when she had "
                               "to eat, it was on the table. One day the ball was gone "
                               "and she was sad, so she went to her mom and asked her. Mom said";
    assert_int_equal(ink_prefix_cache_new(&cache, opened_builtin, 1 << 24, NULL), INK_OK);
    ink_session_options_init(&o, sizeof o);
    o.prefix_cache = cache;
    o.n_held = 3;
    o.n_draft = 2;
    for (int i = 0; i < 3; i++) {
        ink_session *s = NULL;
        ink_search_options so = beams(4, 30, 1);
        so.flags = INK_GENERATE_FRESH;
        if (i == 0)
            s = session_of(opened_builtin, 0, 0, INK_KV_F16);
        else
            assert_int_equal(ink_session_new(&s, opened_builtin, &o, NULL), INK_OK);
        const slow_model m = slow_of(s, text);
        finds(s, text, so, &x);
        if (i == 0) alone = x;
        if (i == 2) assert_true(x.result.n_reused == 64);
        assert_memory_equal(alone.found, x.found, sizeof x.found);
        stands_behind(s, &m, &x.found[0]);
        finds(s, text, so, &x); // the cache holds other tokens now, behind the prompt
        assert_memory_equal(alone.found, x.found, sizeof x.found);
        stands_behind(s, &m, &x.found[0]);
        ink_session_free(s);
    }
    ink_prefix_cache_unref(cache);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(like_the_slow_one),
        cmocka_unit_test(stops_when_nothing_better_can_come),
        cmocka_unit_test(like_the_slow_one_on_stories),
        cmocka_unit_test(over_several_pages),
        cmocka_unit_test(wide_beams_find_the_most_probable_text),
        cmocka_unit_test(one_beam_is_greedy),
        cmocka_unit_test(equal_ones_in_order),
        cmocka_unit_test(same_bytes_for_any_threads),
        cmocka_unit_test(in_a_fork),
        cmocka_unit_test(in_sessions_with_everything),
    };
    threads_only_under_tsan();
    return cmocka_run_group_tests(tests, opened_small_begin, opened_builtin_end);
}
