// SPDX-License-Identifier: MIT
// Memory and size: models larger than the working memory, the n-th allocation failing, values that
// a type cannot hold, heads that differ from what config.json says.
#include "gguf/gguf.h"
#include "heap.h"
#include "hf_dir.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { EMBD = 512, INNER = 4096, VOCAB = 4096, CTX = 8 };

// The number at an element of a tensor, all distinct enough that a swap shows.
static float value_at(size_t tensor, size_t i) {
    const uint32_t h = (uint32_t)(i * 2654435761u + tensor * 40503u + (i >> 15) * 97u);
    return (float)((int32_t)(h >> 8 & 0xffff) - 32768) / 32768.0f;
}

typedef struct big_tensor {
    const char *source, *name;
    size_t rows, cols; // of the source; rows 0: a vector
    bool transposed;
} big_tensor;

static const big_tensor big[] = {
    {"wte.weight", "token_embd.weight", VOCAB, EMBD, false},
    {"wpe.weight", "position_embd.weight", CTX, EMBD, false},
    {"h.0.ln_1.weight", "blk.0.attn_norm.weight", 0, EMBD, false},
    {"h.0.ln_1.bias", "blk.0.attn_norm.bias", 0, EMBD, false},
    {"h.0.attn.c_attn.weight", "blk.0.attn_qkv.weight", EMBD, 3 * EMBD, true},
    {"h.0.attn.c_attn.bias", "blk.0.attn_qkv.bias", 0, 3 * EMBD, false},
    {"h.0.attn.c_proj.weight", "blk.0.attn_output.weight", EMBD, EMBD, true},
    {"h.0.attn.c_proj.bias", "blk.0.attn_output.bias", 0, EMBD, false},
    {"h.0.ln_2.weight", "blk.0.ffn_norm.weight", 0, EMBD, false},
    {"h.0.ln_2.bias", "blk.0.ffn_norm.bias", 0, EMBD, false},
    {"h.0.mlp.c_fc.weight", "blk.0.ffn_up.weight", EMBD, INNER, true},
    {"h.0.mlp.c_fc.bias", "blk.0.ffn_up.bias", 0, INNER, false},
    {"h.0.mlp.c_proj.weight", "blk.0.ffn_down.weight", INNER, EMBD, true},
    {"h.0.mlp.c_proj.bias", "blk.0.ffn_down.bias", 0, EMBD, false},
    {"ln_f.weight", "output_norm.weight", 0, EMBD, false},
    {"ln_f.bias", "output_norm.bias", 0, EMBD, false},
};
enum { N_BIG = sizeof big / sizeof *big };

static size_t elems_of(const big_tensor *t) { return t->cols * (t->rows > 0 ? t->rows : 1); }

static void write_big(const hf_dir *d) {
    char path[300], header[8192] = "{";
    size_t used = 1, at = 0;
    for (size_t i = 0; i < N_BIG; i++) {
        char shape[64];
        const size_t bytes = elems_of(&big[i]) * 4;
        if (big[i].rows > 0)
            snprintf(shape, sizeof shape, "%zu,%zu", big[i].rows, big[i].cols);
        else
            snprintf(shape, sizeof shape, "%zu", big[i].cols);
        used += (size_t)snprintf(
            header + used, sizeof header - used,
            "%s\"%s\":{\"dtype\":\"F32\",\"shape\":[%s],\"data_offsets\":[%zu,%zu]}",
            i > 0 ? "," : "", big[i].source, shape, at, at + bytes);
        at += bytes;
    }
    used += (size_t)snprintf(header + used, sizeof header - used, "}");
    snprintf(path, sizeof path, "%s/model.safetensors", d->in);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    for (int k = 0; k < 8; k++) fputc((int)((uint64_t)used >> (8 * k) & 255), f);
    fwrite(header, 1, used, f);
    for (size_t i = 0; i < N_BIG; i++) {
        for (size_t k = 0; k < elems_of(&big[i]); k++) {
            const float value = value_at(i, k);
            fwrite(&value, 4, 1, f);
        }
    }
    assert_int_equal(fclose(f), 0);
    hf_dir_text(
        d, "config.json",
        "{\"model_type\":\"gpt2\",\"n_embd\":512,\"n_layer\":1,\"n_head\":8,\"n_positions\":8,"
        "\"n_inner\":4096,\"vocab_size\":4096}");
}

// 29 MB of weights, whose strips are cut in every direction, through a small working memory.
static void test_strips(void **state) {
    (void)state;
    static heap h;
    const ink_allocator allocator = heap_allocator(&h);
    const inki_mem mem = inki_mem_from(&allocator), plain = inki_mem_from(NULL);
    hf_dir d = hf_dir_copy_of("hf-plain");
    write_big(&d);
    ink_error error = {0};
    const inki_convert_options o = {.dir = d.in, .out = d.out, .type = INKI_F32, .mem = &mem};
    if (inki_convert_hf(&o, &error) != INK_OK) fail_msg("%s", error.message);
    assert_int_equal(h.live_bytes, 0);
    assert_int_equal(h.wrong_releases, 0);
    if (h.peak_bytes > 10u << 20) fail_msg("%zu bytes were in use", (size_t)h.peak_bytes);

    inki_file file = {0};
    inki_gguf gguf = {0};
    assert_int_equal(inki_os_open_path(&file, d.out, false, &plain, NULL), INK_OK);
    assert_int_equal(inki_gguf_open(&gguf, file.data, file.bytes, &plain, NULL), INK_OK);
    for (size_t i = 0; i < N_BIG; i++) {
        const inki_gguf_tensor *t = inki_gguf_find_tensor(&gguf, big[i].name);
        assert_non_null(t);
        const float *got = t->data;
        const size_t rows = big[i].rows > 0 ? big[i].rows : 1, cols = big[i].cols;
        assert_int_equal(t->bytes, rows * cols * 4);
        for (size_t r = 0; r < rows; r++)
            for (size_t c = 0; c < cols; c++)
                if (got[big[i].transposed ? c * rows + r : r * cols + c] !=
                    value_at(i, r * cols + c))
                    fail_msg("%s: source element [%zu, %zu] went elsewhere", big[i].name, r, c);
    }
    inki_gguf_close(&gguf);
    inki_os_close(&file);
    hf_dir_drop(&d);
}

// Every request for memory fails once: the status says so and nothing is left, in memory or on
// disk.
static void test_out_of_memory(void **state) {
    (void)state;
    static const char *const fixtures[] = {"hf-untied", "hf-sharded", "hf-f16"};
    for (size_t i = 0; i < 3; i++) {
        hf_dir d = hf_dir_copy_of(fixtures[i]);
        for (size_t n = 1;; n++) {
            heap h = {.fail_at = n};
            const ink_allocator allocator = heap_allocator(&h);
            const inki_mem mem = inki_mem_from(&allocator);
            ink_error error = {0};
            const inki_convert_options o = {
                .dir = d.in, .out = d.out, .type = INKI_Q8_0, .mem = &mem};
            const ink_status status = inki_convert_hf(&o, &error);
            assert_int_equal(h.live_bytes, 0);
            assert_int_equal(h.wrong_releases, 0);
            if (h.n_allocs < n) { // all of them were granted
                assert_int_equal(status, INK_OK);
                assert_true(n > 10);
                break;
            }
            assert_int_equal(status, INK_E_NOMEM);
            assert_int_equal(error.status, INK_E_NOMEM);
            assert_true(hf_dir_out_is_empty(&d));
        }
        hf_dir_drop(&d);
    }
}

static uint32_t type_of(const hf_dir *d, const char *tensor) {
    const inki_mem mem = inki_mem_from(NULL);
    inki_file file = {0};
    inki_gguf gguf = {0};
    assert_int_equal(inki_os_open_path(&file, d->out, true, &mem, NULL), INK_OK);
    assert_int_equal(inki_gguf_open(&gguf, file.data, file.bytes, &mem, NULL), INK_OK);
    const inki_gguf_tensor *t = inki_gguf_find_tensor(&gguf, tensor);
    const uint32_t type = t != NULL ? t->type : UINT32_MAX;
    inki_gguf_close(&gguf);
    inki_os_close(&file);
    return type;
}

// Finite numbers that would be infinite in the type that was asked for.
static void test_large_values(void **state) {
    (void)state;
    static const struct {
        float value;
        inki_tensor_type asked;
        uint32_t written;
    } cases[] = {{65519.0f, INKI_F16, INKI_F16}, {65520.0f, INKI_F16, INKI_F32},
                 {-1e30f, INKI_F16, INKI_F32},   {3.4e38f, INKI_BF16, INKI_F32},
                 {3e38f, INKI_BF16, INKI_BF16},  {8e6f, INKI_Q8_0, INKI_Q8_0},
                 {8.4e6f, INKI_Q8_0, INKI_F32},  {5.2e5f, INKI_Q4_0, INKI_Q4_0},
                 {-5.3e5f, INKI_Q4_0, INKI_F32}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ink_error error = {0};
        hf_dir d = hf_dir_copy_of("hf-plain");
        hf_dir_poke(&d, "model.safetensors", "h.0.mlp.c_fc.weight", 77, &cases[i].value, 4);
        if (hf_dir_convert(&d, cases[i].asked, &error) != INK_OK) fail_msg("%s", error.message);
        if (type_of(&d, "blk.0.ffn_up.weight") != cases[i].written)
            fail_msg("case %zu has another type", i);
        hf_dir_drop(&d);
    }
}

// One number in the head decides: equal to the embedding it is not written, else it is.
static void test_heads(void **state) {
    (void)state;
    hf_dir d = hf_dir_copy_of("hf-sharded");
    assert_int_equal(hf_dir_convert(&d, INKI_Q4_0, NULL), INK_OK);
    assert_int_equal(type_of(&d, "output.weight"), UINT32_MAX);
    assert_int_equal(type_of(&d, "token_embd.weight"), INKI_Q8_0);
    const float other = 0.25f;
    hf_dir_poke(&d, "model-00001-of-00002.safetensors", "lm_head.weight", 10239, &other, 4);
    assert_int_equal(hf_dir_convert(&d, INKI_Q4_0, NULL), INK_OK);
    assert_int_equal(type_of(&d, "output.weight"), INKI_Q8_0);
    assert_int_equal(type_of(&d, "token_embd.weight"), INKI_Q4_0);
    hf_dir_drop(&d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_strips), cmocka_unit_test(test_out_of_memory),
        cmocka_unit_test(test_large_values), cmocka_unit_test(test_heads)};
    return cmocka_run_group_tests_name("convert memory", tests, NULL, NULL);
}
