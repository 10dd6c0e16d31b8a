// SPDX-License-Identifier: MIT
// Damaged model files through the public calls: each opens and speaks, or is refused with a filled
// error. Run under ASan and UBSan, from blocks of the exact size, this is where a crash would show.
#include "gguf/gguf.h"
#include "opened.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static ink_runtime *runtime;
static uint8_t *whole;
static size_t n_whole, n_header;

static int set_up(void **state) {
    (void)state;
    tiny_model tiny = tiny_model_defaults();
    tiny.n_embd = 16;
    tiny.n_layer = 1;
    tiny.n_ctx = 24;
    tiny.n_ff = 16;
    tiny.n_vocab = 262;
    whole = tiny_model_bytes(&tiny, &n_whole);
    if (whole == NULL) return 1;
    const inki_mem mem = inki_mem_from(NULL);
    inki_gguf g;
    if (inki_gguf_open(&g, whole, n_whole, &mem, NULL) != INK_OK) return 1;
    n_header = (size_t)g.tensors[0].offset;
    inki_gguf_close(&g);
    return ink_runtime_new(&runtime, NULL, NULL) != INK_OK;
}

static int tear_down(void **state) {
    (void)state;
    ink_runtime_unref(runtime);
    free(whole);
    return 0;
}

// Opens bytes [n] and, if that works, makes three tokens.
static ink_status try_model(const uint8_t *bytes, size_t n, ink_error *error) {
    const ink_source source = {.size = sizeof source,
                               .kind = INK_SOURCE_MEMORY,
                               .data = bytes,
                               .bytes = n,
                               .name = "damaged"};
    ink_model *model = NULL;
    ink_session *s = NULL;
    ink_generate_options g;
    ink_generate_options_init(&g, sizeof g);
    g.n_tokens = 3;
    *error = (ink_error){0};
    ink_status status = ink_model_open(&model, runtime, &source, NULL, error);
    if (status == INK_OK) status = ink_session_new(&s, model, NULL, error);
    if (status == INK_OK) status = ink_session_generate(s, "hello", 5, &g, NULL, NULL, NULL, error);
    ink_session_free(s);
    ink_model_unref(model);
    return status;
}

static void expect_told(ink_status status, const ink_error *error) {
    if (status == INK_OK) return;
    assert_int_equal(error->status, status);
    assert_true(strlen(error->message) > 8);
    assert_null(strchr(error->message, '\n'));
}

static void test_truncated_at_every_byte(void **state) {
    (void)state;
    // Inside the weights every cut says the same; a cut at each 97th of them will do.
    size_t tried = 0;
    for (size_t n = 0; n < n_whole; n += n < n_header + 64 || n + 64 > n_whole ? 1 : 97, tried++) {
        uint8_t *copy = malloc(n > 0 ? n : 1);
        ink_error error;
        assert_non_null(copy);
        memcpy(copy, whole, n);
        const ink_status status = try_model(copy, n, &error);
        assert_int_not_equal(status, INK_OK);
        expect_told(status, &error);
        if (n > 0) assert_non_null(strstr(error.message, "damaged"));
        free(copy);
    }
    print_message("%zu cuts\n", tried);
}

static void test_a_bit_flipped_in_every_byte_of_the_header(void **state) {
    (void)state;
    uint8_t *copy = malloc(n_whole);
    size_t fine = 0, refused = 0;
    assert_non_null(copy);
    memcpy(copy, whole, n_whole);
    const int step = getenv("INKLING_TEST_LONG") != NULL ? 1 : 3;
    if (step > 1)
        print_message("left out: five of eight bits a byte (INKLING_TEST_LONG=1 tries all)\n");
    for (size_t at = 0; at < n_header; at++)
        for (int bit = (int)(at % 3); bit < 8; bit += step) {
            ink_error error;
            copy[at] ^= (uint8_t)(1 << bit);
            const ink_status status = try_model(copy, n_whole, &error);
            expect_told(status, &error);
            *(status == INK_OK ? &fine : &refused) += 1;
            copy[at] ^= (uint8_t)(1 << bit);
        }
    free(copy);
    print_message("%zu refused, %zu still a model\n", refused, fine);
    assert_true(refused > 0 && fine > 0);
}

static const inki_gguf_tensor *tensor(const inki_gguf *g, const char *name) {
    const inki_gguf_tensor *t = inki_gguf_find_tensor(g, name);
    assert_non_null(t);
    return t;
}

// NaN and infinity in each kind of tensor are met while speaking, and the tensor is named.
static void test_weights_that_are_no_numbers(void **state) {
    (void)state;
    static const char *const names[] = {"token_embd.weight", "blk.0.attn_qkv.weight",
                                        "blk.0.ffn_up.bias", "blk.0.attn_norm.weight",
                                        "output_norm.bias",  "blk.0.ffn_down.weight"};
    static const float values[] = {NAN, INFINITY, -INFINITY};
    const inki_mem mem = inki_mem_from(NULL);
    inki_gguf g;
    uint8_t *copy = malloc(n_whole);
    assert_non_null(copy);
    assert_int_equal(inki_gguf_open(&g, whole, n_whole, &mem, NULL), INK_OK);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        for (size_t k = 0; k < 3; k++) {
            ink_error error;
            memcpy(copy, whole, n_whole);
            memcpy(copy + tensor(&g, names[i])->offset + 4 * 5, &values[k], 4);
            assert_int_equal(try_model(copy, n_whole, &error), INK_E_NUMERIC);
            if (strstr(error.message, names[i]) == NULL ||
                strstr(error.message, "element 5") == NULL)
                fail_msg("\"%s\" does not name %s", error.message, names[i]);
        }
    inki_gguf_close(&g);
    free(copy);
}

// Finite weights that overflow on the way are told apart from those.
static void test_numbers_that_grow_too_large(void **state) {
    (void)state;
    const inki_mem mem = inki_mem_from(NULL);
    const float huge = 3e38f;
    inki_gguf g;
    ink_error error;
    uint8_t *copy = malloc(n_whole);
    assert_non_null(copy);
    memcpy(copy, whole, n_whole);
    assert_int_equal(inki_gguf_open(&g, whole, n_whole, &mem, NULL), INK_OK);
    for (size_t i = 0; i < 16; i++)
        memcpy(copy + tensor(&g, "output_norm.weight")->offset + 4 * i, &huge, 4);
    assert_int_equal(try_model(copy, n_whole, &error), INK_E_NUMERIC);
    assert_non_null(strstr(error.message, "grew too large"));
    inki_gguf_close(&g);
    free(copy);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_truncated_at_every_byte),
        cmocka_unit_test(test_a_bit_flipped_in_every_byte_of_the_header),
        cmocka_unit_test(test_weights_that_are_no_numbers),
        cmocka_unit_test(test_numbers_that_grow_too_large),
    };
    return cmocka_run_group_tests_name("damaged models", tests, set_up, tear_down);
}
