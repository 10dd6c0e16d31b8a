// SPDX-License-Identifier: MIT
// What a continuation may not say, and how it goes on another way: word filter, no-repeat-ngram,
// token healing; and rows of logits that are held.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/engine.h"
#include "opened.h"
#include "tokenizer/heal.h"

static ink_session *new_session(uint32_t n_held) {
    ink_session_options o;
    ink_session_options_init(&o, sizeof o);
    o.n_held = n_held;
    ink_session *s = NULL;
    assert_int_equal(ink_session_new(&s, opened_builtin, &o, NULL), INK_OK);
    return s;
}

static ink_generate_options options(uint32_t flags, uint32_t n_tokens) {
    ink_generate_options o;
    ink_generate_options_init(&o, sizeof o);
    o.flags = flags | INK_GENERATE_FRESH;
    o.n_tokens = n_tokens;
    return o;
}

static ink_result generate(ink_session *s, const char *prompt, ink_generate_options o,
                           const char *chain, uint64_t seed, collected *out) {
    ink_sampler *sampler = opened_sampler(chain, seed);
    ink_result r = {0};
    memset(out, 0, sizeof *out);
    o.sampler = sampler;
    assert_int_equal(ink_session_generate(s, prompt, strlen(prompt), &o, collect, out, &r, NULL),
                     INK_OK);
    ink_sampler_free(sampler);
    return r;
}

// --- filter --------------------------------------------------------------------------------------

static bool holds(ink_filter *f, const char *text) {
    size_t at = 0, length = 0;
    assert_int_equal(ink_filter_find(f, text, strlen(text), &at, &length), INK_OK);
    return length > 0;
}

// Words of the story model's favourite sentences, whole phrases and parts of them.
static const char *const listed[] = {"little girl", "Lily",         "was",  "the park",
                                     "happy",       "She LOVED to", "toys", "day,  a little"};

// A listed phrase never comes out, whatever the chain; up to the place where one would have stood
// the text is what it is without a filter, and pieces never have to be taken back.
static void filtered_words_never_come_out(void **state) {
    (void)state;
    static const char *const chains[] = {"greedy", NULL, "temp=1.5"};
    ink_session *s = new_session(0);
    size_t n_changed = 0;
    for (size_t k = 0; k < sizeof listed / sizeof *listed; k++) {
        ink_filter *f = NULL;
        assert_int_equal(ink_filter_new(&f, NULL, &listed[k], 1, NULL), INK_OK);
        for (uint64_t seed = 0; seed < 9; seed++) {
            collected free_text, text;
            ink_generate_options o = options(seed % 2 ? INK_GENERATE_HEAL : 0, 60);
            generate(s, "One day, a", o, chains[seed % 3], seed, &free_text);
            o.filter = f;
            const ink_result r = generate(s, "One day, a", o, chains[seed % 3], seed, &text);
            assert_false(holds(f, text.text));
            char joined[9000];
            snprintf(joined, sizeof joined, "One day, a%s", text.text);
            assert_false(holds(f, joined));
            size_t same = 0;
            while (text.text[same] != 0 && text.text[same] == free_text.text[same]) same++;
            if (r.n_taken_back == 0) {
                // Cut at the end, text that could begin a phrase stays unsaid.
                assert_memory_equal(text.text, free_text.text, strlen(text.text));
                continue;
            }
            n_changed++;
            // The phrase that was avoided stands where the two begin to differ, or before that; its
            // first token may bring the blank before it.
            size_t at = 0, length = 0;
            snprintf(joined, sizeof joined, "One day, a%s", free_text.text);
            ink_filter_find(f, joined, strlen(joined), &at, &length);
            assert_true(length > 0);
            assert_true(at + length >= 10 + same && at <= 10 + same + 1);
        }
        ink_filter_unref(f);
    }
    assert_true(n_changed > 10);
    ink_session_free(s);
}

static void filtered_prompt_is_refused(void **state) {
    (void)state;
    const char *const phrases[] = {"park"};
    ink_filter *f = NULL;
    assert_int_equal(ink_filter_new(&f, NULL, phrases, 1, NULL), INK_OK);
    ink_session *s = new_session(0);
    ink_generate_options o = options(0, 5);
    o.filter = f;
    ink_error error = {0};
    assert_int_equal(ink_session_generate(s, "The PARK is", 11, &o, NULL, NULL, NULL, &error),
                     INK_E_FILTERED);
    assert_int_equal(error.offset, 4);
    assert_int_equal(ink_session_generate(s, "The parks are", 13, &o, NULL, NULL, NULL, &error),
                     INK_OK);
    ink_session_free(s);
    ink_filter_unref(f);
}

// Where every way on is barred the text ends, and says why.
static void no_way_on_is_no_error(void **state) {
    (void)state;
    const tiny_model tiny = {.n_embd = 32,
                             .n_head = 2,
                             .n_layer = 1,
                             .n_ctx = 512,
                             .n_ff = 32,
                             .n_vocab = 300,
                             .type = INKI_F32,
                             .tied = true,
                             .seed = 1};
    opened o = opened_tiny(&tiny, 1, NULL);
    ink_session *s = opened_session(&o, 512, INK_KV_F16, 1);
    ink_generate_options g = options(INK_GENERATE_NO_END, 400);
    g.no_repeat_ngram = 1; // every token once: there are not enough for 400
    ink_result r = {0};
    assert_int_equal(ink_session_generate(s, "ab", 2, &g, NULL, NULL, &r, NULL), INK_OK);
    assert_int_equal(r.stop, INK_STOP_FILTER);
    assert_int_equal(r.n_generated, 300 - r.n_prompt - 1);
    ink_session_free(s);
    opened_close(&o);
}

// --- no-repeat-ngram -----------------------------------------------------------------------------

static size_t n_repeated(const ink_token *tokens, size_t n, size_t gram) {
    size_t found = 0;
    for (size_t i = 0; i + gram <= n; i++)
        for (size_t k = 0; k < i; k++)
            found += memcmp(tokens + i, tokens + k, gram * sizeof *tokens) == 0;
    return found;
}

static void ngrams_do_not_repeat(void **state) {
    (void)state;
    ink_session *s = new_session(0);
    collected text;
    size_t n = 0;
    ink_generate_options o = options(INK_GENERATE_NO_END, 200);
    generate(s, "Tom said", o, "greedy", 1, &text);
    const ink_token *tokens = ink_session_tokens(s, &n);
    assert_true(n_repeated(tokens, n, 3) > 0); // or the next lines would show nothing
    for (uint32_t gram = 1; gram <= 4; gram++) {
        o.no_repeat_ngram = gram;
        o.n_tokens = gram == 1 ? 60 : 200;
        generate(s, "Tom said", o, "greedy", 1, &text);
        tokens = ink_session_tokens(s, &n);
        assert_int_equal(n_repeated(tokens, n, gram), 0);
    }
    ink_session_free(s);
}

// --- healing -------------------------------------------------------------------------------------

// The first token by hand: evaluate what stays, then the best of those that begin with the tail.
static ink_token first_by_hand(const char *text, size_t n, size_t *n_tail) {
    ink_token tokens[256], best = -1;
    inki_encode_stats stats = {0};
    assert_int_equal(inki_tokenizer_encode_healed(opened_builtin->tokenizer, text, n, false, tokens,
                                                  256, &stats, n_tail, NULL),
                     INK_OK);
    if (stats.n_tokens == 0)
        tokens[stats.n_tokens++] = inki_tokenizer_end(opened_builtin->tokenizer);
    ink_session *s = new_session(0);
    const ink_span span = {.session = s, .tokens = tokens, .n_tokens = stats.n_tokens};
    assert_int_equal(ink_eval(&span, 1, NULL), INK_OK);
    const float *logits = ink_session_logits(s, 0, NULL);
    float most = -INFINITY;
    for (int32_t id = 0; id < (int32_t)opened_builtin->weights.n_vocab; id++) {
        const inki_str piece = inki_tokenizer_piece(opened_builtin->tokenizer, id);
        const bool begins = piece.bytes >= *n_tail &&
                            !inki_tokenizer_is_special(opened_builtin->tokenizer, id) &&
                            memcmp(piece.data, text + n - *n_tail, *n_tail) == 0;
        if ((*n_tail == 0 || begins) && logits[id] > most) {
            most = logits[id];
            best = id;
        }
    }
    ink_session_free(s);
    return best;
}

static void cut_prompts_are_healed(void **state) {
    (void)state;
    const char *text = "Once upon a time there was a boy.\nHis  name was Tom, he liked ";
    ink_session *s = new_session(0);
    for (size_t n = 1; n <= strlen(text); n++) {
        char cut[128];
        snprintf(cut, sizeof cut, "%.*s", (int)n, text);
        size_t n_tail = 0;
        const ink_token first = first_by_hand(cut, n, &n_tail);
        collected out;
        generate(s, cut, options(INK_GENERATE_HEAL, 3), "greedy", 1, &out);
        size_t n_past = 0;
        const ink_token *tokens = ink_session_tokens(s, &n_past);
        inki_encode_stats stats = {0};
        ink_token kept[256];
        inki_tokenizer_encode_healed(opened_builtin->tokenizer, cut, n, false, kept, 256, &stats,
                                     &n_tail, NULL);
        const size_t at = stats.n_tokens > 0 ? stats.n_tokens : 1;
        assert_int_equal(tokens[at], first);
        const inki_str piece = inki_tokenizer_piece(opened_builtin->tokenizer, first);
        assert_memory_equal(out.text, piece.data + n_tail, piece.bytes - n_tail);
    }
    ink_session_free(s);
}

// A token that only writes the tail again does not count.
static void one_token_is_one_token(void **state) {
    (void)state;
    ink_session *s = new_session(0);
    collected out;
    const ink_result r =
        generate(s, "Once upon a time", options(INK_GENERATE_HEAL, 1), "greedy", 1, &out);
    assert_string_equal(out.text, ",");
    assert_int_equal(r.n_generated, 1);
    assert_int_equal(out.n_pieces, 1);
    ink_session_free(s);
}

// --- held rows -----------------------------------------------------------------------------------

static void held_rows_are_the_evaluated_ones(void **state) {
    (void)state;
    enum { HELD = 6, N = 40 };
    ink_token ids[N];
    opened_ids(ids, N, opened_builtin->weights.n_vocab, 3);
    ink_session *s = new_session(HELD), *fresh = new_session(0);
    for (uint32_t n = 1; n <= N; n++) {
        const ink_span one = {.session = s, .tokens = &ids[n - 1], .n_tokens = 1};
        assert_int_equal(ink_eval(&one, 1, NULL), INK_OK);
    }
    for (uint32_t back = 0; back < 2 * HELD; back++) {
        const uint32_t n = N - back;
        assert_int_equal(ink_session_rewind(s, n), INK_OK);
        size_t n_vocab = 0;
        const float *row = ink_session_logits(s, 0, &n_vocab);
        if (back >= HELD) {
            assert_null(row);
            continue;
        }
        assert_non_null(row);
        ink_session_rewind(fresh, 0);
        const ink_span all = {.session = fresh, .tokens = ids, .n_tokens = n};
        assert_int_equal(ink_eval(&all, 1, NULL), INK_OK);
        assert_memory_equal(row, ink_session_logits(fresh, 0, NULL), n_vocab * sizeof *row);
    }
    ink_session_free(s);
    ink_session_free(fresh);
}

// What a fresh timeline finds in the cache, also behind its own end, costs nothing, and changes
// nothing.
static void what_is_cached_costs_nothing(void **state) {
    (void)state;
    static const char *const prompts[] = {"One day Tom", "One day Tom went to the",
                                          "One day",     "One day Tom went to the",
                                          "One night",   "One day Tom"};
    ink_session *s = new_session(24);
    for (size_t i = 0; i < sizeof prompts / sizeof *prompts; i++) {
        ink_session *fresh = new_session(0);
        collected a, b;
        generate(s, prompts[i], options(0, 5), "greedy", 1, &a);
        generate(fresh, prompts[i], options(0, 5), "greedy", 1, &b);
        assert_string_equal(a.text, b.text);
        assert_int_equal(generate(s, prompts[i], options(0, 5), "greedy", 1, &a).n_evaluated, 0);
        assert_string_equal(a.text, b.text);
        ink_session_free(fresh);
    }
    ink_session_free(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(filtered_words_never_come_out),
        cmocka_unit_test(filtered_prompt_is_refused),
        cmocka_unit_test(no_way_on_is_no_error),
        cmocka_unit_test(ngrams_do_not_repeat),
        cmocka_unit_test(cut_prompts_are_healed),
        cmocka_unit_test(one_token_is_one_token),
        cmocka_unit_test(held_rows_are_the_evaluated_ones),
        cmocka_unit_test(what_is_cached_costs_nothing),
    };
    return cmocka_run_group_tests(tests, opened_builtin_begin, opened_builtin_end);
}
