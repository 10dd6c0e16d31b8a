// SPDX-License-Identifier: MIT
// The sampler's options and its textual form.
#include "base/number.h"
#include "chain_tries.h"
#include "fail_mem.h"
#include "random_numbers.h"
#include "sampler/chain.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static inki_chain *new_chain(const char *text, const ink_sampler_options *o) {
    inki_chain *chain = NULL;
    ink_error error = {0};
    if (try_chain(&chain, text, o, &error) != INK_OK) fail_msg("%s: %s", text, error.message);
    return chain;
}

static void expect_text(const char *text, const ink_sampler_options *o, const char *expected) {
    inki_chain *chain = new_chain(text, o);
    char out[512];
    assert_int_equal(inki_chain_text(chain, out, sizeof out), strlen(expected));
    assert_string_equal(out, expected);
    inki_chain_free(chain);
}

static void defaults_are_as_documented(void **state) {
    (void)state;
    ink_sampler_options o;
    memset(&o, 0xff, sizeof o);
    inki_sampler_defaults(&o);
    assert_int_equal(o.size, sizeof o);
    assert_true(o.temperature == 0.8f && o.top_p == 0.95f && o.min_p == 0.05f);
    assert_int_equal(o.top_k, 40);
    assert_true(o.repeat_penalty == 1.0f && o.presence_penalty == 0 && o.frequency_penalty == 0);
    assert_int_equal(o.penalty_last_n, 64);
    assert_int_equal(o.seed_set, 0);
    assert_null(o.logit_bias);
    assert_int_equal(o.n_logit_bias, 0);
    static const char text[] =
        "logit_bias=none;no_repeat_ngram=0;penalties=1,64,0,0;dry=0,1.75,2,4294967295,\"\\n\","
        "\":\",\"\\\"\",\"*\";top_n_sigma=-1;top_k=40;typical=1;top_p=0.95;min_p=0.05;xtc=0,0.1;"
        "temp=0.8,0,1";
    expect_text(NULL, NULL, text);
    expect_text(NULL, &o, text);
}

static void numbers_come_from_text_or_options(void **state) {
    (void)state;
    const ink_logit_bias bias[] = {{7, -INFINITY}, {999, 0.5f}};
    ink_sampler_options o;
    inki_sampler_defaults(&o);
    o.temperature = 0.25f;
    o.top_k = 7;
    o.top_p = 0.5f;
    o.min_p = 0.125f;
    o.repeat_penalty = 1.5f;
    o.penalty_last_n = 33;
    o.presence_penalty = -0.5f;
    o.frequency_penalty = 2.0f;
    o.seed = 77;
    o.seed_set = 1;
    o.logit_bias = bias;
    o.n_logit_bias = 2;
    expect_text("logit_bias;penalties;top_k;top_p;min_p;temp", &o,
                "logit_bias=7:-inf,999:0.5;penalties=1.5,33,-0.5,2;top_k=7;top_p=0.5;min_p=0.125;"
                "temp=0.25,0,1");
    expect_text("top_k=40;temp=0.8", &o, "top_k=40;temp=0.8,0,1");
    expect_text("temp;penalties=1.1;greedy", &o, "temp=0.25,0,1;penalties=1.1,33,-0.5,2;greedy");
    expect_text("penalties=1.1,64", &o, "penalties=1.1,64,-0.5,2");
    expect_text("penalties=1.1,64,0,0", &o, "penalties=1.1,64,0,0");
    expect_text("logit_bias=none", &o, "logit_bias=none");
    expect_text("logit_bias=3:1e-3", &o, "logit_bias=3:0.001");
    expect_text("greedy", &o, "greedy");
    expect_text("temp=0", &o, "temp=0,0,1");
    expect_text(" top_k = 3 ;\tlogit_bias = 1 : 2 , 4:-inf ; temp = 1e0 ", &o,
                "top_k=3;logit_bias=1:2,4:-inf;temp=1,0,1");
    expect_text("top_k=4294967295;top_p=1;min_p=0", NULL, "top_k=4294967295;top_p=1;min_p=0");

    inki_chain *chain = new_chain("greedy", &o);
    assert_int_equal(inki_chain_seed(chain), 77);
    inki_chain_free(chain);
}

static void the_caller_keeps_nothing_alive(void **state) {
    (void)state;
    ink_logit_bias *bias = malloc(sizeof *bias);
    char *text = strdup("logit_bias;top_k=5");
    ink_sampler_options o;
    inki_sampler_defaults(&o);
    assert_non_null(bias);
    *bias = (ink_logit_bias){5, 2.0f};
    o.logit_bias = bias;
    o.n_logit_bias = 1;
    inki_chain *chain = new_chain(text, &o);
    free(bias);
    free(text);
    char out[64];
    inki_chain_text(chain, out, sizeof out);
    assert_string_equal(out, "logit_bias=5:2;top_k=5");
    inki_chain_free(chain);
    inki_chain_free(NULL);
}

static void errors_name_the_place(void **state) {
    (void)state;
    static const chain_refusal cases[] = {
        {"", INK_E_ARG, "column 1: a name is missing"},
        {"  ", INK_E_ARG, "a name is missing"},
        {";", INK_E_ARG, "column 1: a name is missing"},
        {"temp;", INK_E_ARG, "column 6: a name is missing"},
        {"temp;;greedy", INK_E_ARG, "column 6: a name is missing"},
        {"=3", INK_E_ARG, "column 1: a name is missing"},
        {"top_k;warp=3", INK_E_ARG, "column 7: unknown name \"warp\""},
        {"Temp", INK_E_ARG, "column 1: unknown name \"Temp\""},
        {"temp\n", INK_E_ARG, "unknown name \"temp?\""},
        {"top-k", INK_E_ARG, "unknown name \"top-k\""},
        {"top_", INK_E_ARG, "unknown name \"top_\""},
        {"top_kk", INK_E_ARG, "unknown name \"top_kk\""},
        {"top_k 5", INK_E_ARG, "unknown name \"top_k 5\""},
        {"temp;top_k;temp=1", INK_E_ARG, "column 12: \"temp\" is there already"},
        {"greedy=1", INK_E_ARG, "column 8: greedy takes no numbers"},
        {"greedy=", INK_E_ARG, "greedy takes no numbers"},
        {"top_k=", INK_E_ARG, "column 7: top_k is \"\""},
        {"top_k=-1", INK_E_ARG, "column 7: top_k is \"-1\""},
        {"top_k=4.5", INK_E_ARG, "top_k is \"4.5\""},
        {"top_k=4294967296", INK_E_ARG, "top_k is \"4294967296\""},
        {"top_k=99999999999999999999999999", INK_E_ARG, "top_k is \"999"},
        {"top_k=3,4", INK_E_ARG, "column 9: top_k takes 1 number at most"},
        {"top_k=3=4", INK_E_ARG, "top_k is \"3=4\""},
        {"penalties=1,2,3,4,5", INK_E_ARG, "column 19: penalties takes 4 numbers at most"},
        {"penalties=1,,3", INK_E_ARG, "column 13: penalty_last_n is \"\""},
        {"penalties=1,", INK_E_ARG, "column 13: penalty_last_n is \"\""},
        {"penalties=0", INK_E_ARG, "repeat_penalty is \"0\""},
        {"penalties=1e-60", INK_E_ARG, "above 0"},
        {"penalties=-1", INK_E_ARG, "repeat_penalty is \"-1\""},
        {"penalties=1,2,inf", INK_E_ARG, "presence_penalty is \"inf\""},
        {"penalties=1,2,0,-inf", INK_E_ARG, "frequency_penalty is \"-inf\""},
        {"temp=nan", INK_E_ARG, "temperature is \"nan\""},
        {"temp=-0.1", INK_E_ARG, "temperature is \"-0.1\""},
        {"temp=inf", INK_E_ARG, "temperature is \"inf\""},
        {"temp=1e39", INK_E_ARG, "temperature is \"1e39\""},
        {"temp=1e400", INK_E_ARG, "temperature is \"1e400\""},
        {"temp=0x1", INK_E_ARG, "temperature is \"0x1\""},
        {"temp=0,5,1,1", INK_E_ARG, "column 12: temp takes 3 numbers at most"},
        {"top_p=1.5", INK_E_ARG, "column 7: top_p is \"1.5\", must be a number from 0 to 1"},
        {"top_p=-0.5", INK_E_ARG, "top_p"},
        {"min_p=2", INK_E_ARG, "min_p is \"2\""},
        {"logit_bias=", INK_E_ARG, "column 12: logit_bias is \"\""},
        {"logit_bias=5", INK_E_ARG, "logit_bias is \"5\""},
        {"logit_bias=5:", INK_E_ARG, "logit_bias is \"5:\""},
        {"logit_bias=:5", INK_E_ARG, "logit_bias is \":5\""},
        {"logit_bias=-1:5", INK_E_ARG, "logit_bias is \"-1:5\""},
        {"logit_bias=1:2,none", INK_E_ARG, "column 16: logit_bias is \"none\""},
        {"logit_bias=1:2:3", INK_E_ARG, "logit_bias is \"1:2:3\""},
        {"logit_bias=5:nan", INK_E_ARG, "logit_bias is \"5:nan\""},
        {"logit_bias=5:inf", INK_E_ARG, "the bias of token 5 must be"},
        {"logit_bias=5:1,5:2", INK_E_ARG, "token 5 has a bias already"},
        {"logit_bias=999:1,1000:1", INK_E_TOKEN, "token 1000, the vocabulary has 1000"},
        {"logit_bias=4294967295:1", INK_E_TOKEN, "the vocabulary has 1000"},
        {"temp=\xff\xfe", INK_E_ARG, "temperature is \"??\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) expect_refusal(&cases[i]);
}

static void expect_refused(const ink_sampler_options *o, ink_status status, const char *where) {
    inki_chain *chain = NULL;
    ink_error error = {0};
    assert_int_equal(try_chain(&chain, "greedy", o, &error), status);
    assert_null(chain);
    if (strcmp(error.where, where) != 0) fail_msg("%s, not %s", error.message, where);
}

static void options_are_checked(void **state) {
    (void)state;
    static const float bad[] = {NAN, INFINITY, -INFINITY, -1.0f};
    ink_sampler_options o;
    inki_sampler_defaults(&o);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const struct {
            float *field;
            const char *name;
        } fields[] = {
            {&o.temperature, "temperature"},
            {&o.top_p, "top_p"},
            {&o.min_p, "min_p"},
            {&o.repeat_penalty, "repeat_penalty"},
            {&o.presence_penalty, "presence_penalty"},
            {&o.frequency_penalty, "frequency_penalty"},
        };
        for (size_t f = 0; f < sizeof fields / sizeof *fields; f++) {
            if (f >= 4 && bad[i] == -1.0f) continue; // these two may be negative
            const float before = *fields[f].field;
            *fields[f].field = bad[i];
            expect_refused(&o, INK_E_ARG, fields[f].name);
            *fields[f].field = before;
        }
    }
    o.top_p = 1.0001f;
    expect_refused(&o, INK_E_ARG, "top_p");
    o.top_p = 1.0f;
    o.repeat_penalty = 0.0f;
    expect_refused(&o, INK_E_ARG, "repeat_penalty");
    o.repeat_penalty = 1.0f;

    ink_logit_bias bias[3] = {{1, 1.0f}, {2, -INFINITY}, {3, 0.0f}};
    o.n_logit_bias = 3;
    expect_refused(&o, INK_E_ARG, "logit_bias"); // NULL
    o.logit_bias = bias;
    bias[2].bias = NAN;
    expect_refused(&o, INK_E_ARG, "logit_bias");
    bias[2].bias = INFINITY;
    expect_refused(&o, INK_E_ARG, "logit_bias");
    bias[2] = (ink_logit_bias){1, 0.0f};
    expect_refused(&o, INK_E_ARG, "logit_bias"); // token 1 twice
    bias[2].token = -1;
    expect_refused(&o, INK_E_TOKEN, "logit_bias");
    bias[2].token = VOCAB;
    expect_refused(&o, INK_E_TOKEN, "logit_bias");
    bias[2].token = INT32_MIN;
    expect_refused(&o, INK_E_TOKEN, "logit_bias");
    o.n_logit_bias = SIZE_MAX;
    expect_refused(&o, INK_E_LIMIT, "logit_bias");
    bias[2].token = VOCAB - 1;
    o.n_logit_bias = 3;
    inki_chain_free(new_chain("greedy", &o));
}

static void text_is_cut_to_the_buffer(void **state) {
    (void)state;
    static const char whole[] = "top_k=40;top_p=0.8";
    const size_t n = sizeof whole - 1;
    inki_chain *chain = new_chain(whole, NULL);
    assert_int_equal(inki_chain_text(chain, NULL, 0), n);
    for (size_t cap = 0; cap <= n + 3; cap++) {
        char out[64];
        memset(out, '#', sizeof out);
        assert_int_equal(inki_chain_text(chain, out, cap), n);
        const size_t kept = cap == 0 ? 0 : cap - 1 < n ? cap - 1 : n;
        assert_memory_equal(out, whole, kept);
        if (cap > 0) assert_int_equal(out[kept], 0);
        for (size_t i = cap > 0 ? kept + 1 : 0; i < sizeof out; i++) assert_int_equal(out[i], '#');
    }
    inki_chain_free(chain);
}

// Bit for bit the same numbers, read back under other options.
static void expect_same(const inki_chain *a, const inki_chain *b) {
    assert_int_equal(a->n_steps, b->n_steps);
    for (uint32_t i = 0; i < a->n_steps; i++) {
        assert_int_equal(a->steps[i], b->steps[i]);
        switch (a->steps[i]) {
        case INKI_STEP_PENALTIES:
            assert_int_equal(a->o.penalty_last_n, b->o.penalty_last_n);
            assert_memory_equal(&a->o.repeat_penalty, &b->o.repeat_penalty, sizeof(float));
            assert_memory_equal(&a->o.presence_penalty, &b->o.presence_penalty, sizeof(float));
            assert_memory_equal(&a->o.frequency_penalty, &b->o.frequency_penalty, sizeof(float));
            break;
        case INKI_STEP_TOP_K: assert_int_equal(a->o.top_k, b->o.top_k); break;
        case INKI_STEP_TOP_P: assert_memory_equal(&a->o.top_p, &b->o.top_p, sizeof(float)); break;
        case INKI_STEP_MIN_P: assert_memory_equal(&a->o.min_p, &b->o.min_p, sizeof(float)); break;
        case INKI_STEP_TEMP:
            assert_memory_equal(&a->o.temperature, &b->o.temperature, sizeof(float));
            break;
        case INKI_STEP_LOGIT_BIAS:
            assert_int_equal(a->n_bias, b->n_bias);
            for (size_t k = 0; k < a->n_bias; k++) {
                assert_int_equal(a->bias[k].token, b->bias[k].token);
                assert_memory_equal(&a->bias[k].bias, &b->bias[k].bias, sizeof(float));
            }
            break;
        default: break;
        }
    }
}

static float random_float(uint64_t *random, float low, float high) {
    for (;;) { // over all exponents
        const uint32_t bits = (uint32_t)(next_random(random) >> 32);
        float value;
        memcpy(&value, &bits, sizeof value);
        if (value >= low && value <= high) return value;
    }
}

static void printed_chains_are_read_back(void **state) {
    (void)state;
    static const char *const names[] = {"logit_bias", "penalties", "top_k", "top_p",
                                        "min_p",      "temp",      "greedy"};
    uint64_t random = 5;
    ink_sampler_options other;
    const ink_logit_bias other_bias = {17, 3.5f};
    inki_sampler_defaults(&other);
    other.logit_bias = &other_bias;
    other.n_logit_bias = 1;
    for (int round = 0; round < 2000; round++) {
        ink_logit_bias bias[8];
        ink_sampler_options o;
        inki_sampler_defaults(&o);
        o.temperature = random_float(&random, 0.0f, FLT_MAX);
        o.top_k = (uint32_t)next_random(&random);
        o.top_p = random_float(&random, 0.0f, 1.0f);
        o.min_p = random_float(&random, 0.0f, 1.0f);
        o.repeat_penalty = random_float(&random, FLT_TRUE_MIN, FLT_MAX);
        o.penalty_last_n = (uint32_t)next_random(&random);
        o.presence_penalty = random_float(&random, -FLT_MAX, FLT_MAX);
        o.frequency_penalty = random_float(&random, -FLT_MAX, FLT_MAX);
        o.n_logit_bias = next_random(&random) % 9;
        o.logit_bias = bias;
        for (size_t i = 0; i < o.n_logit_bias; i++) {
            bias[i].token = (int32_t)(i * 100 + next_random(&random) % 100);
            bias[i].bias = i == 3 ? -INFINITY : random_float(&random, -FLT_MAX, FLT_MAX);
        }
        char text[256] = "", out[1024];
        uint32_t unused = 0x7f;
        const size_t n_steps = 1 + next_random(&random) % 7;
        for (size_t i = 0; i < n_steps; i++) {
            uint32_t k = (uint32_t)(next_random(&random) % 7);
            while (!(unused >> k & 1)) k = (k + 1) % 7;
            unused &= ~(1u << k);
            if (i > 0) strcat(text, ";");
            strcat(text, names[k]);
        }
        inki_chain *first = new_chain(text, &o);
        assert_true(inki_chain_text(first, out, sizeof out) < sizeof out);
        inki_chain *second = new_chain(out, &other);
        expect_same(first, second);
        inki_chain_free(first);
        inki_chain_free(second);
    }
}

static void limits_hold(void **state) {
    (void)state;
    const size_t n = INKI_CHAIN_TEXT_MAX;
    char *text = malloc(n + 2);
    assert_non_null(text);
    memset(text, ' ', n);
    memcpy(text, "greedy", 6);
    text[n] = 0;
    inki_chain_free(new_chain(text, NULL)); // exactly at the limit
    text[n] = ' ';
    text[n + 1] = 0;
    inki_chain *chain = NULL;
    ink_error error = {0};
    assert_int_equal(try_chain(&chain, text, NULL, &error), INK_E_LIMIT);
    memset(text, ';', n);
    text[n] = 0;
    assert_int_equal(try_chain(&chain, text, NULL, &error), INK_E_ARG);
    memset(text, ',', n);
    memcpy(text, "logit_bias=", 11);
    assert_int_equal(try_chain(&chain, text, NULL, &error), INK_E_LIMIT);
    memcpy(text, "penalties==", 11);
    assert_int_equal(try_chain(&chain, text, NULL, &error), INK_E_ARG);
    memset(text, 'a', n);
    assert_int_equal(try_chain(&chain, text, NULL, &error), INK_E_ARG);
    assert_null(chain);
    free(text);
}

// The largest logit bias that is allowed, in its longest form, prints to a text that is allowed.
static void the_largest_bias_is_read_back(void **state) {
    (void)state;
    const inki_mem mem = inki_mem_from(NULL);
    ink_logit_bias *bias = malloc(INKI_CHAIN_BIAS_MAX * sizeof *bias);
    char *text = malloc(INKI_CHAIN_TEXT_MAX + 1);
    assert_non_null(bias);
    assert_non_null(text);
    const int32_t last = INT32_MAX / 64; // the ids reach over a bitmap of 4 MB
    for (int32_t i = 0; i < INKI_CHAIN_BIAS_MAX; i++)
        bias[i] = (ink_logit_bias){last - i, -1.17549435e-38f};
    ink_sampler_options o;
    inki_sampler_defaults(&o);
    o.logit_bias = bias;
    o.n_logit_bias = INKI_CHAIN_BIAS_MAX;
    inki_chain *first = NULL, *second = NULL;
    const uint32_t n_vocab = (uint32_t)last + 1;
    assert_int_equal(inki_chain_new(&first, NULL, &o, n_vocab, &mem, NULL), INK_OK);
    assert_true(inki_chain_text(first, text, INKI_CHAIN_TEXT_MAX + 1) <= INKI_CHAIN_TEXT_MAX);
    assert_int_equal(inki_chain_new(&second, text, NULL, n_vocab, &mem, NULL), INK_OK);
    expect_same(first, second);
    inki_chain_free(first);
    inki_chain_free(second);
    free(text);
    free(bias);
}

static void every_failed_allocation_is_survived(void **state) {
    (void)state;
    const ink_logit_bias bias = {5, 1.0f};
    ink_sampler_options o;
    inki_sampler_defaults(&o);
    o.logit_bias = &bias;
    o.n_logit_bias = 1;
    static const char *const texts[] = {NULL, "temp;logit_bias=1:1,2:-inf", "greedy"};
    for (size_t t = 0; t < 3; t++) {
        int n = 0;
        for (;; n++) {
            fail_mem f = {.fail_at = (size_t)n + 1};
            const inki_mem failing = fail_mem_over(&f);
            inki_chain *chain = NULL;
            ink_error error = {0};
            const ink_status status = inki_chain_new(&chain, texts[t], &o, VOCAB, &failing, &error);
            if (status == INK_OK)
                inki_chain_free(chain);
            else
                assert_null(chain);
            assert_int_equal(f.n_bytes, 0);
            if (status == INK_OK) break;
            assert_int_equal(status, INK_E_NOMEM);
            assert_int_equal(error.status, INK_E_NOMEM);
        }
        assert_true(n >= 2);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_as_documented),
        cmocka_unit_test(numbers_come_from_text_or_options),
        cmocka_unit_test(the_caller_keeps_nothing_alive),
        cmocka_unit_test(errors_name_the_place),
        cmocka_unit_test(options_are_checked),
        cmocka_unit_test(text_is_cut_to_the_buffer),
        cmocka_unit_test(printed_chains_are_read_back),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(the_largest_bias_is_read_back),
        cmocka_unit_test(every_failed_allocation_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
