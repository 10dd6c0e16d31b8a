// SPDX-License-Identifier: MIT
// What the model room finds in a right file: sizes, every tensor by its place, types, tied heads.
#include "model/model.h"
#include "tests/support/heap.h"
#include "tests/support/raw_gguf.h"
#include "tests/support/tiny_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct found {
    uint8_t *file;
    size_t bytes;
    inki_gguf g;
    inki_weights w;
    inki_kernels kernels;
} found;

static found find_tiny(const tiny_model *m) {
    const inki_mem mem = inki_mem_from(NULL);
    ink_error error = {0};
    found f = {0};
    f.file = tiny_model_bytes(m, &f.bytes);
    assert_non_null(f.file);
    inki_kernels_init(&f.kernels, 0);
    if (inki_gguf_open(&f.g, f.file, f.bytes, &mem, &error) != INK_OK)
        fail_msg("%s", error.message);
    if (inki_weights_open(&f.w, &f.g, &f.kernels, &mem, &error) != INK_OK)
        fail_msg("%s", error.message);
    return f;
}

static void lose(found *f) {
    inki_weights_close(&f->w);
    inki_gguf_close(&f->g);
    free(f->file);
}

static const void *place(const found *f, const char *name) {
    const inki_gguf_tensor *t = inki_gguf_find_tensor(&f->g, name);
    if (t == NULL) fail_msg("no tensor %s", name);
    return t->data;
}

static void is_matrix(const found *f, const inki_tensor *t, const char *name, uint32_t type,
                      uint32_t rows, uint32_t cols, size_t row_bytes) {
    assert_string_equal(t->name, name);
    assert_ptr_equal(t->data, place(f, name));
    assert_int_equal(t->type, type);
    assert_int_equal(t->n_rows, rows);
    assert_int_equal(t->n_cols, cols);
    assert_int_equal(t->row_bytes, row_bytes);
}

static void everything_in_its_place(void **state) {
    (void)state;
    tiny_model m = tiny_model_defaults();
    m.n_embd = 64;
    m.n_head = 4;
    m.n_layer = 3;
    m.n_ctx = 70;
    m.n_ff = 96;
    m.n_vocab = 333;
    m.type = INKI_Q8_0;
    m.tied = false;
    found f = find_tiny(&m);
    const inki_weights *w = &f.w;
    assert_int_equal(w->n_ctx, 70);
    assert_int_equal(w->n_vocab, 333);
    assert_int_equal(w->n_embd, 64);
    assert_int_equal(w->n_layer, 3);
    assert_int_equal(w->n_head, 4);
    assert_int_equal(w->head_dim, 16);
    assert_int_equal(w->n_ff, 96);
    assert_true(w->norm_eps == 1e-5f);
    is_matrix(&f, &w->token_embd, "token_embd.weight", INKI_Q8_0, 333, 64, 68);
    is_matrix(&f, &w->pos_embd, "position_embd.weight", INKI_Q8_0, 70, 64, 68);
    is_matrix(&f, &w->head, "output.weight", INKI_Q8_0, 333, 64, 68);
    assert_ptr_equal(w->out_norm_gain, place(&f, "output_norm.weight"));
    assert_ptr_equal(w->out_norm_bias, place(&f, "output_norm.bias"));
    for (uint32_t i = 0; i < 3; i++) {
        char name[64];
#define NAMED(suffix) (snprintf(name, sizeof name, "blk.%u." suffix, (unsigned)i), name)
        const inki_layer *l = &w->layers[i];
        assert_ptr_equal(l->attn_norm_gain, place(&f, NAMED("attn_norm.weight")));
        assert_ptr_equal(l->attn_norm_bias, place(&f, NAMED("attn_norm.bias")));
        assert_ptr_equal(l->qkv_bias, place(&f, NAMED("attn_qkv.bias")));
        assert_ptr_equal(l->attn_out_bias, place(&f, NAMED("attn_output.bias")));
        assert_ptr_equal(l->ffn_norm_gain, place(&f, NAMED("ffn_norm.weight")));
        assert_ptr_equal(l->ffn_norm_bias, place(&f, NAMED("ffn_norm.bias")));
        assert_ptr_equal(l->ffn_up_bias, place(&f, NAMED("ffn_up.bias")));
        assert_ptr_equal(l->ffn_down_bias, place(&f, NAMED("ffn_down.bias")));
        is_matrix(&f, &l->qkv, NAMED("attn_qkv.weight"), INKI_Q8_0, 192, 64, 68);
        is_matrix(&f, &l->attn_out, NAMED("attn_output.weight"), INKI_Q8_0, 64, 64, 68);
        is_matrix(&f, &l->ffn_up, NAMED("ffn_up.weight"), INKI_Q8_0, 96, 64, 68);
        is_matrix(&f, &l->ffn_down, NAMED("ffn_down.weight"), INKI_Q8_0, 64, 96, 102);
#undef NAMED
    }
    lose(&f);
}

static void all_types_tied_or_not(void **state) {
    (void)state;
    static const struct {
        uint32_t type;
        size_t row_bytes; // of 32 values
    } types[] = {
        {INKI_F32, 128}, {INKI_F16, 64}, {INKI_BF16, 64}, {INKI_Q8_0, 34}, {INKI_Q4_0, 18}};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        for (int tied = 0; tied < 2; tied++) {
            tiny_model m = tiny_model_defaults();
            m.type = types[i].type;
            m.tied = tied;
            found f = find_tiny(&m);
            is_matrix(&f, &f.w.head, tied ? "token_embd.weight" : "output.weight", m.type, 300, 32,
                      types[i].row_bytes);
            assert_true((f.w.head.data == f.w.token_embd.data) == (tied != 0));
            uint64_t index = 99;
            assert_null(inki_weights_find_nonfinite(&f.g, &f.kernels, &index));
            assert_int_equal(index, 99);
            lose(&f);
        }
}

// Infinities and NaN are found in floats, halves and the scales of blocks, in whichever tensor is
// first.
static void the_first_nonfinite_number(void **state) {
    (void)state;
    static const struct {
        uint32_t type, bits;
        size_t element_bytes, elements; // what carries `bits`, and how many values it stands for
    } cases[] = {{INKI_F32, 0x7f800000, 4, 1}, {INKI_F32, 0xffc00001, 4, 1},
                 {INKI_F16, 0xfc00, 2, 1},     {INKI_BF16, 0x7fc0, 2, 1},
                 {INKI_Q8_0, 0x7c00, 34, 32},  {INKI_Q4_0, 0x7e00, 18, 32}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        tiny_model m = tiny_model_defaults();
        m.type = cases[i].type;
        found f = find_tiny(&m);
        const inki_gguf_tensor *t = inki_gguf_find_tensor(&f.g, "blk.1.attn_qkv.weight");
        const size_t n = (size_t)t->bytes / cases[i].element_bytes;
        const size_t places[] = {n - 1, n / 2 + 1, 0};
        for (size_t k = 0; k < 3; k++) {
            uint8_t *at = f.file + t->offset + places[k] * cases[i].element_bytes;
            for (size_t b = 0; b < (cases[i].type == INKI_F32 ? 4u : 2u); b++)
                at[b] = (uint8_t)(cases[i].bits >> (8 * b));
            uint64_t index = 0;
            const char *name = inki_weights_find_nonfinite(&f.g, &f.kernels, &index);
            assert_non_null(name);
            assert_string_equal(name, "blk.1.attn_qkv.weight");
            // A bad scale makes all values of its block bad: a level of 0 times infinity is a NaN.
            assert_int_equal(index, places[k] * cases[i].elements);
        }
        lose(&f);
    }
}

static void a_table_without_a_kernel(void **state) {
    (void)state;
    const inki_mem mem = inki_mem_from(NULL);
    tiny_model m = tiny_model_defaults();
    m.type = INKI_F16;
    found f = find_tiny(&m);
    for (int which = 0; which < 2; which++) {
        inki_kernels k = f.kernels;
        if (which == 0)
            k.matmul[INKI_F16] = NULL;
        else
            k.dequantize[INKI_F16] = NULL;
        inki_weights w = {0};
        ink_error error = {0};
        assert_int_equal(inki_weights_open(&w, &f.g, &k, &mem, &error), INK_E_UNSUPPORTED);
        assert_string_equal(error.where, "token_embd.weight");
        assert_non_null(strstr(error.message, "F16"));
    }
    lose(&f);
}

// A model in the caller's memory that begins at an odd address must not be read as floats.
static void memory_at_odd_addresses(void **state) {
    (void)state;
    const inki_mem mem = inki_mem_from(NULL);
    inki_kernels kernels;
    inki_kernels_init(&kernels, 0);
    raw_gguf r = raw_gpt2(&(raw_model){.n_embd = 4});
    uint8_t *room = malloc(r.bytes + 8);
    assert_non_null(room);
    for (size_t shift = 0; shift < 8; shift++) {
        inki_gguf g = {0};
        inki_weights w = {0};
        ink_error error = {0};
        memcpy(room + shift, r.data, r.bytes);
        assert_int_equal(inki_gguf_open(&g, room + shift, r.bytes, &mem, &error), INK_OK);
        assert_int_equal(inki_weights_open(&w, &g, &kernels, &mem, &error),
                         shift % 4 == 0 ? INK_OK : INK_E_ARG);
        if (shift % 4 != 0) assert_non_null(strstr(error.message, "multiple of 8"));
        inki_weights_close(&w);
        inki_gguf_close(&g);
    }
    free(room);
    raw_free(&r);
}

static void without_memory(void **state) {
    (void)state;
    tiny_model m = tiny_model_defaults();
    found f = find_tiny(&m);
    heap h = {0};
    h.fail_at = 1;
    const ink_allocator a = heap_allocator(&h);
    const inki_mem mem = inki_mem_from(&a);
    inki_weights w = {0};
    ink_error error = {0};
    assert_int_equal(inki_weights_open(&w, &f.g, &f.kernels, &mem, &error), INK_E_NOMEM);
    assert_null(w.layers);
    h.fail_at = 0;
    assert_int_equal(inki_weights_open(&w, &f.g, &f.kernels, &mem, &error), INK_OK);
    inki_weights_close(&w);
    inki_weights_close(&w);
    assert_int_equal(h.live_bytes, 0);
    assert_int_equal(h.wrong_releases, 0);
    lose(&f);
}

// The vocabulary of a tiny model is one that a tokenizer can be built of.
static void tiny_vocabulary(void **state) {
    (void)state;
    tiny_model m = tiny_model_defaults();
    m.n_vocab = 700;
    found f = find_tiny(&m);
    inki_str_run tokens, merges;
    const uint8_t *types;
    uint64_t n_types;
    uint32_t end = 0;
    assert_int_equal(inki_gguf_get_str_run(&f.g, "tokenizer.ggml.tokens", true, &tokens, NULL),
                     INK_OK);
    assert_int_equal(inki_gguf_get_str_run(&f.g, "tokenizer.ggml.merges", true, &merges, NULL),
                     INK_OK);
    assert_int_equal(
        inki_gguf_get_i32_run(&f.g, "tokenizer.ggml.token_type", true, &types, &n_types, NULL),
        INK_OK);
    assert_int_equal(inki_gguf_get_u32(&f.g, "tokenizer.ggml.eos_token_id", true, &end, NULL),
                     INK_OK);
    assert_int_equal(tokens.n, 700);
    assert_int_equal(merges.n, 443);
    assert_int_equal(n_types, 700);
    assert_int_equal(end, 699);
    inki_cursor c = inki_cursor_over(tokens.data, tokens.bytes),
                mc = inki_cursor_over(merges.data, merges.bytes);
    inki_str all[700];
    for (size_t i = 0; i < 700; i++) {
        all[i] = inki_cursor_str(&c);
        assert_int_equal(types[4 * i], i == 699 ? 3 : 1);
        for (size_t k = 0; k < i; k++)
            assert_false(all[k].bytes == all[i].bytes &&
                         memcmp(all[k].data, all[i].data, all[i].bytes) == 0);
    }
    assert_true(inki_str_equal(all[0], "!"));
    assert_true(inki_str_equal(all[64], "a"));
    assert_true(inki_str_equal(all[188], "\xc4\x80")); // byte 0
    assert_true(inki_str_equal(all[220], "\xc4\xa0")); // the space
    assert_true(inki_str_equal(all[255], "\xc5\x83")); // byte 173
    assert_true(inki_str_equal(all[699], "<|endoftext|>"));
    for (size_t i = 0; i < 443; i++) { // token 256 + i is merge i without its blank
        const inki_str merge = inki_cursor_str(&mc);
        const char *blank = memchr(merge.data, ' ', merge.bytes);
        assert_non_null(blank);
        const size_t left = (size_t)(blank - merge.data);
        assert_int_equal(all[256 + i].bytes, merge.bytes - 1);
        assert_memory_equal(all[256 + i].data, merge.data, left);
        assert_memory_equal(all[256 + i].data + left, blank + 1, merge.bytes - 1 - left);
        size_t left_id = 700, right_id = 700; // both parts were there before
        for (size_t k = 0; k < 256 + i; k++) {
            if (all[k].bytes == left && memcmp(all[k].data, merge.data, left) == 0) left_id = k;
            if (all[k].bytes == merge.bytes - 1 - left &&
                memcmp(all[k].data, blank + 1, all[k].bytes) == 0)
                right_id = k;
        }
        assert_true(left_id < 700 && right_id < 700);
    }
    lose(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_in_its_place),
        cmocka_unit_test(all_types_tied_or_not),
        cmocka_unit_test(the_first_nonfinite_number),
        cmocka_unit_test(a_table_without_a_kernel),
        cmocka_unit_test(memory_at_odd_addresses),
        cmocka_unit_test(without_memory),
        cmocka_unit_test(tiny_vocabulary),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
