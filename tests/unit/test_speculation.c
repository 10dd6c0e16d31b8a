// SPDX-License-Identifier: MIT
// Speculation changes no byte: every way to generate, with drafts of every length from the text and
// from models, against the same without. Text, tokens, their probabilities, why it stopped, the
// past and the logits behind it are equal to the bit.
#include "opened.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MOST_TOKENS = 640, TOPS = 3 };

// What one run tells.
typedef struct told {
    char text[16384];
    size_t bytes;
    uint32_t n_pieces, n_tokens;
    ink_token tokens[MOST_TOKENS];
    float logprobs[MOST_TOKENS];
    ink_logprob tops[MOST_TOKENS][TOPS];
    uint32_t stop_at, cancel_at; // pieces; 0: never
    ink_session *session;
} told;

static int listen(void *user, const ink_piece *piece) {
    told *t = user;
    assert_true(t->bytes + piece->bytes < sizeof t->text);
    memcpy(t->text + t->bytes, piece->text, piece->bytes);
    t->bytes += piece->bytes;
    for (uint32_t i = 0; i < piece->n_choices; i++) {
        const ink_choice *c = &piece->choices[i];
        assert_true(t->n_tokens < MOST_TOKENS);
        t->tokens[t->n_tokens] = c->token;
        t->logprobs[t->n_tokens] = c->logprob;
        if (c->n_top > 0) memcpy(t->tops[t->n_tokens], c->top, c->n_top * sizeof *c->top);
        t->n_tokens++;
    }
    t->n_pieces++;
    if (t->n_pieces == t->cancel_at) ink_session_cancel(t->session);
    return t->n_pieces == t->stop_at;
}

typedef struct way {
    const char *name;
    const char *chain; // NULL: the default one
    const char *prompt;
    uint32_t flags, n_tokens, overflow, n_ctx, no_repeat;
    const char *stop, *listed, *required, *grammar;
    uint32_t stop_at, cancel_at, kv_type, n_batch;
} way;

static const char again[] =
    "Once upon a time there was a little cat. The cat was red. Once upon a time there was a little "
    "dog. The dog was red. Once upon a time there was a little";

static const way ways[] = {
    {"greedy", "greedy", again, .n_tokens = 60},
    {"greedy, no end", "greedy", "Lily had a", .flags = INK_GENERATE_NO_END, .n_tokens = 150},
    {"default", NULL, again, .n_tokens = 60},
    {"hot", "temp=1.5", again, .flags = INK_GENERATE_NO_END, .n_tokens = 80},
    {"top_k", "top_k=5;temp=0.7", again, .flags = INK_GENERATE_NO_END, .n_tokens = 100},
    {"top_p, min_p", "top_p=0.8;min_p=0.1;temp=1", again, .n_tokens = 60},
    {"penalties", "penalties=1.3,40,0.2,0.1;top_k=40;temp=0.8", again, .flags = INK_GENERATE_NO_END,
     .n_tokens = 100},
    {"bias", "logit_bias=11:3,13:-5;temp=0.6", again, .n_tokens = 60},
    {"dry", "dry=0.8;top_k=40;temp=0.8", again, .flags = INK_GENERATE_NO_END, .n_tokens = 100},
    {"xtc, typical", "typical=0.9;xtc=0.5,0.1;temp=0.9", again, .flags = INK_GENERATE_NO_END,
     .n_tokens = 80},
    {"dynatemp, sigma", "top_n_sigma=2;temp=1,0.5", again, .flags = INK_GENERATE_NO_END,
     .n_tokens = 80},
    {"mirostat", "mirostat=4,0.2", again, .flags = INK_GENERATE_NO_END, .n_tokens = 100},
    {"no_repeat in the chain", "no_repeat_ngram=4;temp=0.7", again, .flags = INK_GENERATE_NO_END,
     .n_tokens = 100},
    {"no_repeat", "greedy", again, .flags = INK_GENERATE_NO_END, .n_tokens = 100, .no_repeat = 4},
    {"slides", "top_k=8;temp=0.8", again, .flags = INK_GENERATE_NO_END, .n_tokens = 180,
     .overflow = INK_OVERFLOW_SLIDE, .n_ctx = 96},
    {"slides greedily", "greedy", again, .flags = INK_GENERATE_NO_END, .n_tokens = 180,
     .overflow = INK_OVERFLOW_SLIDE, .n_ctx = 70},
    {"slides with mirostat", "mirostat", again, .flags = INK_GENERATE_NO_END, .n_tokens = 200,
     .overflow = INK_OVERFLOW_SLIDE, .n_ctx = 96},
    {"full context", "greedy", again, .flags = INK_GENERATE_NO_END, .n_tokens = 300,
     .overflow = INK_OVERFLOW_ERROR, .n_ctx = 100},
    {"cut prompt", "greedy", again, .flags = INK_GENERATE_NO_END, .n_tokens = 40,
     .overflow = INK_OVERFLOW_LEFT, .n_ctx = 48},
    {"stop string", "top_k=4;temp=0.9", again, .flags = INK_GENERATE_NO_END, .n_tokens = 100,
     .stop = " to the"},
    {"stop character", "greedy", again, .n_tokens = 100, .stop = "."},
    {"listed", "greedy", again, .flags = INK_GENERATE_NO_END, .n_tokens = 100, .listed = "the"},
    {"listed, hot", "temp=1.2", again, .flags = INK_GENERATE_NO_END, .n_tokens = 100,
     .listed = "was a"},
    {"heals", "top_k=4;temp=0.9", "The little do", .flags = INK_GENERATE_HEAL, .n_tokens = 60},
    {"echo", "top_k=4;temp=0.9", again, .flags = INK_GENERATE_FRESH | INK_GENERATE_ECHO,
     .n_tokens = 50},
    {"embeds", "greedy", again, .flags = INK_GENERATE_FRESH | INK_GENERATE_EMBED, .n_tokens = 30},
    {"callback stops", "greedy", again, .flags = INK_GENERATE_NO_END, .n_tokens = 100,
     .stop_at = 17},
    {"cancelled", "greedy", again, .flags = INK_GENERATE_NO_END, .n_tokens = 100, .cancel_at = 17},
    {"cancelled, goes on", "top_k=4;temp=0.9", again,
     .flags = INK_GENERATE_NO_END | INK_GENERATE_CONTINUE, .n_tokens = 100, .cancel_at = 7},
    {"cancelled mirostat", "mirostat=4,0.2", again,
     .flags = INK_GENERATE_NO_END | INK_GENERATE_CONTINUE, .n_tokens = 100, .cancel_at = 9},
    {"cancelled, listed", "greedy", again, .flags = INK_GENERATE_NO_END, .n_tokens = 100,
     .cancel_at = 11, .listed = "the"},
    {"stopped mirostat", "mirostat=4,0.2", again,
     .flags = INK_GENERATE_NO_END | INK_GENERATE_CONTINUE, .n_tokens = 100, .stop_at = 9},
    {"continue", "top_k=4;temp=0.9", again, .flags = INK_GENERATE_CONTINUE, .n_tokens = 25,
     .stop = "nowhere"},
    {"required", "top_k=4;temp=0.9", again, .n_tokens = 60, .required = "green apple"},
    {"grammar", "top_k=8;temp=0.9", again, .n_tokens = 80, .grammar = "root ::= ( [a-z]+ \" \" )+"},
    {"one token", "greedy", again, .n_tokens = 1},
    {"two tokens", "greedy", again, .n_tokens = 2},
    {"nothing", "greedy", again, .n_tokens = 0},
    {"F32 keys", "greedy", again, .flags = INK_GENERATE_NO_END, .n_tokens = 80,
     .kv_type = INK_KV_F32},
    {"Q8_0 keys", "greedy", again, .flags = INK_GENERATE_NO_END, .n_tokens = 80,
     .kv_type = INK_KV_Q8_0},
    {"small batches", "greedy", again, .flags = INK_GENERATE_NO_END, .n_tokens = 80, .n_batch = 3},
    {"single rows", "greedy", again, .flags = INK_GENERATE_NO_END, .n_tokens = 40, .n_batch = 1},
};
enum { WAYS = sizeof ways / sizeof *ways };

// Two calls, the second one going on, and what is left behind.
typedef struct outcome {
    told told[2];
    ink_result result[2];
    ink_status status[2];
    ink_token past[512];
    size_t n_past;
    float logits[8192];
    size_t n_logits;
} outcome;

typedef struct drafts {
    ink_model *draft;
    uint32_t n_draft, flags;
} drafts;

static void generate(const way *w, ink_model *model, const drafts *d, outcome *out) {
    ink_error error = {0};
    ink_session_options so;
    ink_generate_options g;
    ink_sampler_options sampling;
    ink_sampler *sampler = NULL;
    ink_session *s = NULL;
    memset(out, 0, sizeof *out);
    ink_session_options_init(&so, sizeof so);
    so.n_ctx = w->n_ctx;
    so.kv_type = w->kv_type;
    so.n_batch = w->n_batch;
    so.stream = 7;
    so.draft = d->draft;
    so.n_draft = d->n_draft;
    so.flags = d->flags;
    so.n_logits = 16;
    if (ink_session_new(&s, model, &so, &error) != INK_OK) fail_msg("%s", error.message);
    ink_sampler_options_init(&sampling, sizeof sampling);
    sampling.seed_set = 1;
    sampling.seed = 1234;
    if (ink_sampler_new(&sampler, model, w->chain, &sampling, &error) != INK_OK)
        fail_msg("%s: %s", w->name, error.message);
    ink_generate_options_init(&g, sizeof g);
    g.flags = w->flags | INK_GENERATE_LOGPROBS;
    g.n_top_logprobs = TOPS;
    g.n_tokens = w->n_tokens;
    g.overflow = w->overflow;
    g.n_keep = w->overflow != INK_OVERFLOW_ERROR ? 4 : 0;
    g.no_repeat_ngram = w->no_repeat;
    g.sampler = sampler;
    g.stop = &w->stop;
    g.n_stop = w->stop != NULL;
    g.required = &w->required;
    g.n_required = w->required != NULL;
    if (w->listed != NULL)
        assert_int_equal(ink_filter_new(&g.filter, NULL, &w->listed, 1, &error), INK_OK);
    if (w->grammar != NULL && ink_grammar_new(&g.grammar, model, INK_GRAMMAR_GBNF, w->grammar,
                                              strlen(w->grammar), &error) != INK_OK)
        fail_msg("%s: %s", w->name, error.message);
    for (int call = 0; call < 2; call++) {
        told *t = &out->told[call];
        const bool more = (w->flags & INK_GENERATE_CONTINUE) != 0;
        const char *prompt = call == 0 ? w->prompt : more ? "" : " The cat";
        t->session = s;
        t->stop_at = w->stop_at;
        t->cancel_at = w->cancel_at;
        if (w->listed != NULL && call == 0) prompt = "A small cat and a small dog. A small";
        // What was cancelled, or tried in vain, is no error of the call.
        memset(&error, 0x5a, sizeof error);
        const ink_error before = error;
        out->status[call] = ink_session_generate(s, prompt, strlen(prompt), &g, listen, t,
                                                 &out->result[call], &error);
        if (out->status[call] != INK_OK) break;
        assert_memory_equal(&error, &before, sizeof error);
    }
    const ink_token *past = ink_session_tokens(s, &out->n_past);
    memcpy(out->past, past, out->n_past * sizeof *past);
    const float *row = ink_session_logits(s, 0, &out->n_logits);
    if (row != NULL) memcpy(out->logits, row, out->n_logits * sizeof *row);
    ink_filter_unref(g.filter);
    ink_grammar_unref(g.grammar);
    ink_sampler_free(sampler);
    ink_session_free(s);
}

static void same_told(const char *name, const drafts *d, const told *a, const told *b) {
    if (a->bytes != b->bytes || memcmp(a->text, b->text, a->bytes) != 0)
        fail_msg("%s, n_draft %u: \"%.*s\" is not \"%.*s\"", name, (unsigned)d->n_draft,
                 (int)b->bytes, b->text, (int)a->bytes, a->text);
    assert_int_equal(a->n_pieces, b->n_pieces);
    assert_int_equal(a->n_tokens, b->n_tokens);
    assert_memory_equal(a->tokens, b->tokens, sizeof a->tokens);
    assert_memory_equal(a->logprobs, b->logprobs, sizeof a->logprobs);
    assert_memory_equal(a->tops, b->tops, sizeof a->tops);
}

static void same(const way *w, const drafts *d, const outcome *a, const outcome *b) {
    const char *name = w->name;
    for (int call = 0; call < 2; call++) {
        const ink_result *x = &a->result[call], *y = &b->result[call];
        same_told(name, d, &a->told[call], &b->told[call]);
        if (a->status[call] != b->status[call] || x->stop != y->stop ||
            x->n_generated != y->n_generated || x->n_prompt != y->n_prompt ||
            x->n_dropped != y->n_dropped || x->n_taken_back != y->n_taken_back)
            fail_msg("%s, n_draft %u, call %d: %s after %u, %u taken back; without %s after %u, %u",
                     name, (unsigned)d->n_draft, call, ink_stop_name(y->stop),
                     (unsigned)y->n_generated, (unsigned)y->n_taken_back, ink_stop_name(x->stop),
                     (unsigned)x->n_generated, (unsigned)x->n_taken_back);
        assert_int_equal(x->n_drafted, 0);
        assert_true(y->n_accepted <= y->n_drafted);
    }
    if (a->n_past != b->n_past)
        fail_msg("%s, n_draft %u: the past has %zu tokens, without %zu", name, (unsigned)d->n_draft,
                 b->n_past, a->n_past);
    assert_memory_equal(a->past, b->past, a->n_past * sizeof *a->past);
    if (a->n_logits > 0 && b->n_logits > 0)
        assert_memory_equal(a->logits, b->logits, a->n_logits * sizeof *a->logits);
}

static outcome plain, drafted;

// A few lengths; in the long tests every one.
static bool left_out(uint32_t n_draft) {
    return getenv("INKLING_TEST_LONG") == NULL && n_draft != 2 && n_draft != 9;
}

static void test_text_drafts(void **state) {
    (void)state;
    uint32_t n_drafted = 0, n_accepted = 0;
    if (getenv("INKLING_TEST_LONG") == NULL)
        print_message("left out: lengths but 2 and 9 (INKLING_TEST_LONG)\n");
    for (int i = 0; i < WAYS; i++) {
        generate(&ways[i], opened_builtin, &(drafts){0}, &plain);
        for (uint32_t n_draft = 1; n_draft <= 16; n_draft++) {
            if (left_out(n_draft)) continue;
            const drafts d = {NULL, n_draft, INK_SESSION_DRAFT_ALWAYS};
            generate(&ways[i], opened_builtin, &d, &drafted);
            same(&ways[i], &d, &plain, &drafted);
            for (int call = 0; call < 2; call++) {
                n_drafted += drafted.result[call].n_drafted;
                n_accepted += drafted.result[call].n_accepted;
            }
        }
        // As it is by default: it drafts or not, as the clock wills.
        const drafts d = {NULL, 8, 0};
        generate(&ways[i], opened_builtin, &d, &drafted);
        same(&ways[i], &d, &plain, &drafted);
    }
    print_message("from the text: %u of %u accepted\n", n_accepted, n_drafted);
    assert_true(n_accepted > 500 && n_accepted < n_drafted);
}

// The model itself, as one that thinks alike.
static void test_same_model_drafts(void **state) {
    (void)state;
    for (int i = 0; i < WAYS; i++) {
        generate(&ways[i], opened_builtin, &(drafts){0}, &plain);
        for (uint32_t n_draft = 1; n_draft <= 16; n_draft++) {
            if (left_out(n_draft) || (n_draft == 2 && left_out(1))) continue;
            const drafts d = {opened_builtin, n_draft, INK_SESSION_DRAFT_ALWAYS};
            generate(&ways[i], opened_builtin, &d, &drafted);
            same(&ways[i], &d, &plain, &drafted);
            const ink_result *r = drafted.result;
            if (strcmp(ways[i].name, "greedy, no end") != 0) continue;
            assert_true(r->n_drafted > 0);
            assert_int_equal(r->n_accepted, r->n_drafted);
            // 150 tokens, the first of them from the prompt's logits.
            assert_true(r->n_evaluated < r->n_prompt + 150 + n_draft);
        }
    }
}

// Models of random weights say nothing twice alike: guesses are mostly wrong, and that is no harm.
static void test_other_model_drafts(void **state) {
    (void)state;
    tiny_model tiny = tiny_model_defaults();
    opened o = opened_tiny(&tiny, 2, NULL);
    tiny.seed = 2;
    tiny.n_layer = 1;
    tiny.n_ctx = 120;
    opened small = opened_tiny(&tiny, 2, NULL);
    uint32_t n_drafted = 0, n_accepted = 0;
    for (int i = 0; i < WAYS; i++) {
        way w = ways[i];
        w.prompt = w.n_ctx > 0 ? "the rain and the" : "the rain in the rain and the red rain, the";
        if (w.overflow == INK_OVERFLOW_LEFT) w.prompt = ways[i].prompt;
        generate(&w, o.model, &(drafts){0}, &plain);
        for (uint32_t n_draft = 1; n_draft <= 16; n_draft++) {
            if (left_out(n_draft)) continue;
            for (int k = 0; k < 2; k++) {
                const drafts d = {k == 0 ? small.model : NULL, n_draft, INK_SESSION_DRAFT_ALWAYS};
                generate(&w, o.model, &d, &drafted);
                same(&w, &d, &plain, &drafted);
                n_drafted += k == 0 ? drafted.result[0].n_drafted : 0;
                n_accepted += k == 0 ? drafted.result[0].n_accepted : 0;
            }
        }
    }
    print_message("from another model: %u of %u accepted\n", n_accepted, n_drafted);
    assert_true(n_drafted > 500 && n_accepted < n_drafted);
    opened_close(&small);
    opened_close(&o);
}

// A decode step with drafts allocates nothing either, and ink_measure knows all of it.
static void test_memory(void **state) {
    (void)state;
    heap h = {0};
    const tiny_model tiny = tiny_model_defaults();
    opened o = opened_tiny(&tiny, 1, &h);
    const ink_source source = {
        .size = sizeof source, .kind = INK_SOURCE_MEMORY, .data = o.bytes, .bytes = o.n_bytes};
    for (int k = 0; k < 2; k++) {
        ink_session_options so;
        ink_session *s = NULL;
        ink_memory needed = {0};
        ink_session_options_init(&so, sizeof so);
        so.n_draft = 7;
        so.flags = INK_SESSION_DRAFT_ALWAYS;
        so.draft = k == 1 ? o.model : NULL;
        const size_t before = h.live_bytes;
        assert_int_equal(ink_session_new(&s, o.model, &so, NULL), INK_OK);
        assert_int_equal(ink_measure(&source, &so, &needed, NULL), INK_OK);
        assert_int_equal(h.live_bytes - before, needed.session_heap_bytes);
        size_t requests[2];
        ink_generate_options g;
        ink_generate_options_init(&g, sizeof g);
        g.flags = INK_GENERATE_FRESH | INK_GENERATE_NO_END;
        g.overflow = INK_OVERFLOW_SLIDE;
        for (int i = 0; i < 2; i++) {
            ink_result r = {0};
            g.n_tokens = i == 0 ? 1 : 400;
            const size_t at = h.n_allocs;
            assert_int_equal(ink_session_generate(s, "hello, hello", 12, &g, NULL, NULL, &r, NULL),
                             INK_OK);
            requests[i] = h.n_allocs - at;
            assert_true(i == 0 || r.n_drafted > 0);
        }
        assert_int_equal(requests[0], requests[1]);
        ink_session_free(s);
        assert_int_equal(h.live_bytes, before);
    }
    opened_close(&o);
    assert_int_equal(h.live_blocks, 0);
}

static void test_refused(void **state) {
    (void)state;
    tiny_model tiny = tiny_model_defaults();
    opened o = opened_tiny(&tiny, 1, NULL);
    tiny.n_vocab = 310;
    opened other = opened_tiny(&tiny, 1, NULL);
    ink_session_options so;
    ink_session *s = NULL;
    ink_error error = {0};
    ink_session_options_init(&so, sizeof so);
    so.n_draft = 65;
    assert_int_equal(ink_session_new(&s, o.model, &so, &error), INK_E_LIMIT);
    so.n_draft = so.n_ctx = 16;
    assert_int_equal(ink_session_new(&s, o.model, &so, &error), INK_E_LIMIT);
    so.n_draft = 15;
    so.draft = other.model;
    assert_int_equal(ink_session_new(&s, o.model, &so, &error), INK_E_ARG);
    assert_non_null(strstr(error.message, "310"));
    so.draft = NULL;
    so.flags = 2;
    assert_int_equal(ink_session_new(&s, o.model, &so, &error), INK_E_UNSUPPORTED);
    assert_null(s);
    so.flags = 0;
    assert_int_equal(ink_session_new(&s, o.model, &so, &error), INK_OK);
    ink_session_free(s);
    opened_close(&other);
    opened_close(&o);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_drafts),
        cmocka_unit_test(test_same_model_drafts),
        cmocka_unit_test(test_other_model_drafts),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests_name("speculation", tests, opened_small_begin,
                                       opened_builtin_end);
}
