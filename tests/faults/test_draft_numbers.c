// SPDX-License-Identifier: MIT
// A drafting model's file may come from anywhere: logits that are finite and yet far below what any
// trained model says have a likeliest token too, and a lead that is a number.
#include "gguf/gguf.h"
#include "opened.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { BEST = 7, N_TOKENS = 12 };

static void fill(uint8_t *bytes, const inki_gguf *g, const char *name, size_t first, size_t n,
                 float value) {
    const inki_gguf_tensor *t = inki_gguf_find_tensor(g, name);
    assert_non_null(t);
    for (size_t i = 0; i < n; i++)
        memcpy(bytes + t->offset + (first + i) * sizeof value, &value, sizeof value);
}

// All logits are -n_embd * 1e31, but that of BEST, which is half of it.
static void set_numbers(opened *o, const tiny_model *tiny) {
    const inki_mem mem = inki_mem_from(NULL);
    inki_gguf g;
    assert_int_equal(inki_gguf_open(&g, o->bytes, o->n_bytes, &mem, NULL), INK_OK);
    const size_t n = tiny->n_embd;
    fill(o->bytes, &g, "token_embd.weight", 0, n * tiny->n_vocab, 1.0F);
    fill(o->bytes, &g, "token_embd.weight", n * BEST, n, 0.5F);
    fill(o->bytes, &g, "output_norm.weight", 0, n, 0.0F);
    fill(o->bytes, &g, "output_norm.bias", 0, n, -1e31F);
    inki_gguf_close(&g);
}

static void test_logits_far_below_zero(void **state) {
    (void)state;
    const tiny_model tiny = tiny_model_defaults();
    opened o = opened_tiny(&tiny, 1, NULL);
    set_numbers(&o, &tiny); // the model's weights are views of these bytes
    ink_session_options so;
    ink_session_options_init(&so, sizeof so);
    so.draft = o.model;
    so.n_draft = 4;
    so.flags = INK_SESSION_DRAFT_ALWAYS;
    ink_session *s = NULL;
    ink_sampler *sampler = NULL;
    assert_int_equal(ink_session_new(&s, o.model, &so, NULL), INK_OK);
    assert_int_equal(ink_sampler_new(&sampler, o.model, "greedy", NULL, NULL), INK_OK);
    ink_generate_options g;
    ink_generate_options_init(&g, sizeof g);
    g.flags = INK_GENERATE_NO_END;
    g.n_tokens = N_TOKENS;
    g.sampler = sampler;
    ink_result r = {.size = sizeof r};
    ink_error error = {0};
    if (ink_session_generate(s, "hello", 5, &g, NULL, NULL, &r, &error) != INK_OK)
        fail_msg("%s", error.message);
    size_t n = 0;
    const ink_token *tokens = ink_session_tokens(s, &n);
    assert_int_equal(r.n_generated, N_TOKENS);
    for (size_t i = 0; i + 1 < N_TOKENS; i++) assert_int_equal(tokens[n - 1 - i], BEST);
    assert_true(r.n_drafted > 0);
    assert_int_equal(r.n_accepted, r.n_drafted); // the same model guesses what it then says
    ink_sampler_free(sampler);
    ink_session_free(s);
    opened_close(&o);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_logits_far_below_zero)};
    return cmocka_run_group_tests_name("numbers of a drafting model", tests, NULL, NULL);
}
