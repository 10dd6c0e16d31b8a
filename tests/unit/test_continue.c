// SPDX-License-Identifier: MIT
// One text, given out in several calls: INK_GENERATE_CONTINUE.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/engine.h"
#include "opened.h"
#include "saved.h"

static opened tiny;

static int begin(void **state) {
    (void)state;
    tiny_model model = tiny_model_defaults();
    model.n_vocab = 420;
    tiny = opened_tiny(&model, 1, NULL);
    return 0;
}

static int end(void **state) {
    (void)state;
    opened_close(&tiny);
    return 0;
}

typedef struct how {
    const char *chain;
    uint64_t seed;
    uint32_t overflow;
    ink_filter *filter;
    const char *const *stop;
    size_t n_stop;
    uint32_t flags;
} how;

static ink_sampler *sampler_of(const how *h) {
    ink_sampler_options o;
    ink_sampler_options_init(&o, sizeof o);
    o.seed_set = 1;
    o.seed = h->seed;
    ink_sampler *sampler = NULL;
    assert_int_equal(ink_sampler_new(&sampler, tiny.model, h->chain, &o, NULL), INK_OK);
    return sampler;
}

// What a caller does with the pieces: keeps them, and interrupts now and then.
typedef struct taker {
    char text[16384];
    size_t bytes;
    uint64_t dice;
    unsigned stops_of_16, cancels_of_16;
    ink_session *session;
} taker;

static unsigned roll(taker *t) {
    t->dice = t->dice * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(t->dice >> 33) % 16;
}

static int take(void *user, const ink_piece *piece) {
    taker *t = user;
    assert_true(t->bytes + piece->bytes < sizeof t->text);
    memcpy(t->text + t->bytes, piece->text, piece->bytes);
    t->bytes += piece->bytes;
    if (roll(t) < t->cancels_of_16) ink_session_cancel(t->session);
    return roll(t) < t->stops_of_16;
}

static ink_result call(ink_session *s, const how *h, const ink_sampler *sampler, bool first,
                       uint32_t n_tokens, taker *t) {
    ink_generate_options o;
    ink_generate_options_init(&o, sizeof o);
    o.flags = INK_GENERATE_CONTINUE | (first ? INK_GENERATE_FRESH | h->flags : 0);
    o.n_tokens = n_tokens;
    o.sampler = sampler;
    o.overflow = h->overflow;
    o.filter = h->filter;
    o.stop = h->stop;
    o.n_stop = h->n_stop;
    ink_result r = {0};
    const char *prompt = first ? "ab c" : "";
    t->session = s;
    assert_int_equal(ink_session_generate(s, prompt, strlen(prompt), &o, take, t, &r, NULL),
                     INK_OK);
    return r;
}

static ink_session *new_session(uint32_t n_ctx) {
    ink_session_options o;
    ink_session_options_init(&o, sizeof o);
    o.n_ctx = n_ctx;
    ink_session *s = NULL;
    assert_int_equal(ink_session_new(&s, tiny.model, &o, NULL), INK_OK);
    return s;
}

static void whole(const how *h, uint32_t n_ctx, uint32_t n, taker *t, ink_result *r) {
    ink_session *s = new_session(n_ctx);
    ink_sampler *sampler = sampler_of(h);
    memset(t, 0, sizeof *t);
    *r = call(s, h, sampler, true, n, t);
    ink_sampler_free(sampler);
    ink_session_free(s);
}

// The text of many calls, each cut after `piece` tokens or by who takes it.
static void in_calls(const how *h, uint32_t n_ctx, uint32_t n, uint32_t piece, taker *t,
                     ink_result *last) {
    ink_session *s = new_session(n_ctx);
    ink_sampler *sampler = sampler_of(h);
    uint32_t done = 0, n_calls = 0;
    t->bytes = 0;
    do {
        *last = call(s, h, sampler, n_calls == 0, n - done < piece ? n - done : piece, t);
        done += last->n_generated;
        assert_true(++n_calls < 2000);
    } while (done < n && last->stop != INK_STOP_END && last->stop != INK_STOP_STRING &&
             last->stop != INK_STOP_FILTER && last->stop != INK_STOP_CONTEXT);
    ink_sampler_free(sampler);
    ink_session_free(s);
}

static void check(const how *h, uint32_t n_ctx, uint32_t n) {
    static taker one, many;
    ink_result r1, r2;
    whole(h, n_ctx, n, &one, &r1);
    // Each call tries 256 ways, so that many calls try more of them.
    if (r1.stop == INK_STOP_FILTER) return;
    for (uint32_t piece = 1; piece <= 13; piece += 3) {
        for (unsigned trouble = 0; trouble < 3; trouble++) {
            memset(&many, 0, sizeof many);
            many.dice = h->seed * 77 + piece;
            many.stops_of_16 = trouble == 1 ? 5 : 0;
            many.cancels_of_16 = trouble == 2 ? 5 : 0;
            in_calls(h, n_ctx, n, piece, &many, &r2);
            if (many.bytes != one.bytes)
                fail_msg("%zu for %zu bytes: seed %u, piece %u, trouble %u, flags %u, overflow %u",
                         many.bytes, one.bytes, (unsigned)h->seed, (unsigned)piece, trouble,
                         (unsigned)h->flags, (unsigned)h->overflow);
            assert_memory_equal(many.text, one.text, one.bytes);
            // Who stops it at the last token is not told of the length.
            if (trouble == 0) assert_int_equal(r2.stop, r1.stop);
        }
    }
}

// A model of random weights says random bytes: halves of characters stand everywhere.
static void calls_give_the_bytes_of_one(void **state) {
    (void)state;
    static const char *const chains[] = {"temp=1", "temp=1.5", "greedy", "penalties=1.3,64;temp=1"};
    for (uint64_t seed = 0; seed < 12; seed++)
        check(&(how){.chain = chains[seed % 4], .seed = seed}, 0, 60);
}

static void mirostat_goes_on_too(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 6; seed++)
        check(&(how){.chain = "temp=1;mirostat=3,0.3", .seed = seed}, 0, 50);
}

static void stop_strings_are_seen_across_calls(void **state) {
    (void)state;
    static taker one;
    size_t n_stopped = 0;
    for (uint64_t seed = 0; seed < 40; seed++) {
        how h = {.chain = "temp=1", .seed = seed};
        ink_result r;
        whole(&h, 0, 60, &one, &r);
        if (one.bytes < 30) continue;
        // Something that the text does say, and something whose beginning it says.
        char said[8] = {0}, begun[8] = {0};
        memcpy(said, one.text + 20, 3 + seed % 4);
        memcpy(begun, one.text + 10, 3);
        begun[3] = '\x01';
        if (strlen(said) < 3 || strlen(begun) < 4) continue;
        const char *const stops[] = {said, begun};
        h.stop = stops;
        h.n_stop = 2;
        whole(&h, 0, 60, &one, &r);
        n_stopped += r.stop == INK_STOP_STRING;
        check(&h, 0, 60);
    }
    assert_true(n_stopped >= 5);
}

static void filters_look_across_calls(void **state) {
    (void)state;
    const char *const phrases[] = {"a", "e", "o n", "s i", "th", "in"};
    ink_filter *filter = NULL;
    assert_int_equal(ink_filter_new(&filter, NULL, phrases, 6, NULL), INK_OK);
    for (uint64_t seed = 0; seed < 8; seed++)
        check(&(how){.chain = "temp=1.2", .seed = seed, .filter = filter}, 0, 60);
    ink_filter_unref(filter);
}

static void healed_and_sliding_texts_go_on(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 6; seed++) {
        check(&(how){.chain = "temp=1", .seed = seed, .flags = INK_GENERATE_HEAL}, 0, 40);
        check(&(how){.chain = "temp=1", .seed = seed, .overflow = INK_OVERFLOW_SLIDE}, 40, 100);
        check(&(how){.chain = "temp=1", .seed = seed}, 40, 100);
        check(
            &(how){.chain = "temp=1;mirostat=3,0.3", .seed = seed, .overflow = INK_OVERFLOW_SLIDE},
            40, 100);
    }
}

// Asked between layers: says once that the call is to be cancelled, when it was asked so often.
static uint32_t ticks_left;

static bool ticks(const void *unused) {
    (void)unused;
    return ticks_left > 0 && --ticks_left == 0;
}

// The program is killed where it was cut: another one goes on from the file.
static ink_session *reborn(ink_session *s) {
    ink_session *next = new_session(0);
    const saved file = saved_of(s, NULL);
    assert_int_equal(saved_restore(next, &file, NULL, NULL), INK_OK);
    free(file.data);
    ink_session_free(s);
    return next;
}

// Cut anywhere, before the first token too: what the prompt ends with is still written again.
static void healing_survives_a_cut(void **state) {
    (void)state;
    static taker one, many;
    static const char *const chains[] = {"temp=1", "greedy", "temp=1;mirostat=3,0.3"};
    uint32_t n_tails = 0;
    for (uint32_t i = 0; i < 270; i++) {
        const how h = {.chain = chains[i % 3], .seed = i % 9, .flags = INK_GENERATE_HEAL};
        ink_sampler *sampler = sampler_of(&h);
        ink_result r1, r2 = {0};
        whole(&h, 0, 12, &one, &r1);
        ink_session *s = new_session(0);
        memset(&many, 0, sizeof many);
        uint32_t done = 0;
        for (uint32_t n_calls = 0; n_calls == 0 || (r2.stop != INK_STOP_END && done < 12);
             n_calls++) {
            // A new session has 2 layers to ask behind, and nothing asks for any token at first.
            s->interrupted = ticks;
            ticks_left = n_calls == 0 ? i / 9 : n_calls == 1 ? 1 + i % 4 : 0;
            const bool none = n_calls == 0 && i % 2 == 0;
            r2 = call(s, &h, sampler, !s->is_cut, none ? 0 : 12 - done, &many);
            done += r2.n_generated;
            n_tails += s->is_cut && s->n_pending > 0 && s->n_series == 0;
            if (i % 5 < 2) s = reborn(s);
        }
        if (many.bytes != one.bytes || memcmp(many.text, one.text, one.bytes) != 0)
            fail_msg("cut %u: \"%.*s\" is not \"%.*s\"", (unsigned)i, (int)many.bytes, many.text,
                     (int)one.bytes, one.text);
        assert_int_equal(r2.stop, r1.stop);
        ink_session_free(s);
        ink_sampler_free(sampler);
    }
    assert_true(n_tails > 100);
}

// Whether the session goes on from where `n` tokens were cut: the bytes of a call of 10 more.
static size_t go_on(ink_session *s, const how *h, const ink_sampler *sampler, taker *t) {
    t->bytes = 0;
    call(s, h, sampler, false, 10, t);
    return t->bytes;
}

// Some cut text with bytes held back.
static ink_session *cut_session(const how *h, const ink_sampler *sampler, taker *t) {
    ink_session *s = new_session(0);
    memset(t, 0, sizeof *t);
    call(s, h, sampler, true, 5, t);
    for (int i = 0; i < 60 && s->n_unsaid == 0; i++) call(s, h, sampler, false, 1, t);
    assert_true(s->is_cut && s->n_unsaid > 0);
    return s;
}

static void what_else_happens_forgets_it(void **state) {
    (void)state;
    static taker t;
    static char text[sizeof t.text];
    const how h = {.chain = "temp=1.5", .seed = 3};
    ink_sampler *sampler = sampler_of(&h);
    ink_session *s = cut_session(&h, sampler, &t);
    const uint32_t n_past = ink_session_n_past(s);
    const size_t n_unsaid = s->n_unsaid;

    // A call that is refused changes nothing.
    ink_generate_options bad;
    ink_generate_options_init(&bad, sizeof bad);
    bad.overflow = 77;
    assert_int_equal(ink_session_generate(s, "", 0, &bad, NULL, NULL, NULL, NULL), INK_E_ARG);
    assert_true(s->is_cut && s->n_unsaid == n_unsaid);
    // A fork has its own text to say.
    ink_session *fork = NULL;
    assert_int_equal(ink_session_fork(s, &fork, NULL), INK_OK);
    assert_false(fork->is_cut);
    ink_session_free(fork);
    // Nor does asking for nothing.
    t.bytes = 0;
    call(s, &h, sampler, false, 0, &t);
    assert_int_equal(t.bytes, 0);
    assert_true(s->is_cut && s->n_unsaid == n_unsaid);
    const size_t n = go_on(s, &h, sampler, &t);
    assert_true(n > 0);
    memcpy(text, t.text, n);
    ink_session_free(s);

    // A rewind and a token evaluated forget it.
    s = cut_session(&h, sampler, &t);
    assert_int_equal(ink_session_rewind(s, n_past - 1), INK_OK);
    assert_false(s->is_cut);
    ink_session_free(s);
    s = cut_session(&h, sampler, &t);
    const ink_token token = 65;
    assert_int_equal(ink_eval(&(ink_span){.session = s, .tokens = &token, .n_tokens = 1}, 1, NULL),
                     INK_OK);
    assert_false(s->is_cut);
    ink_session_free(s);
    // The same cut again goes on as it did.
    s = cut_session(&h, sampler, &t);
    assert_int_equal(go_on(s, &h, sampler, &t), n);
    assert_memory_equal(t.text, text, n);
    ink_session_free(s);
    ink_sampler_free(sampler);
}

// mirostat's place is a function of the past: going back and on again changes nothing.
static void mirostat_survives_going_back(void **state) {
    (void)state;
    const how h = {.chain = "temp=1;mirostat=3,0.5", .seed = 9};
    ink_sampler *sampler = sampler_of(&h);
    ink_session_options o;
    ink_session_options_init(&o, sizeof o);
    o.n_held = 64;
    ink_session *s = NULL;
    assert_int_equal(ink_session_new(&s, tiny.model, &o, NULL), INK_OK);
    ink_token ids[48], again;
    const ink_token start = 70;
    ink_span span = {.session = s, .tokens = &start, .n_tokens = 1};
    assert_int_equal(ink_eval(&span, 1, NULL), INK_OK);
    for (int i = 0; i < 48; i++) {
        assert_int_equal(ink_sample(s, sampler, &ids[i], NULL), INK_OK);
        span.tokens = &ids[i];
        assert_int_equal(ink_eval(&span, 1, NULL), INK_OK);
    }
    for (int at = 40; at > 3; at -= 9) {
        assert_int_equal(ink_session_rewind(s, (uint32_t)at), INK_OK); // 1 + at - 1 choices
        ink_session *fork = NULL;
        assert_int_equal(ink_session_fork(s, &fork, NULL), INK_OK);
        for (int i = at - 1; i < 48; i++) {
            assert_int_equal(ink_sample(s, sampler, &again, NULL), INK_OK);
            assert_int_equal(again, ids[i]);
            assert_int_equal(ink_sample(fork, sampler, &again, NULL), INK_OK);
            assert_int_equal(again, ids[i]);
            span.tokens = &ids[i];
            assert_int_equal(ink_eval(&span, 1, NULL), INK_OK);
            span.session = fork;
            assert_int_equal(ink_eval(&span, 1, NULL), INK_OK);
            span.session = s;
        }
        ink_session_free(fork);
    }
    ink_session_free(s);
    ink_sampler_free(sampler);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_give_the_bytes_of_one),
        cmocka_unit_test(mirostat_goes_on_too),
        cmocka_unit_test(stop_strings_are_seen_across_calls),
        cmocka_unit_test(filters_look_across_calls),
        cmocka_unit_test(healed_and_sliding_texts_go_on),
        cmocka_unit_test(healing_survives_a_cut),
        cmocka_unit_test(what_else_happens_forgets_it),
        cmocka_unit_test(mirostat_survives_going_back),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
