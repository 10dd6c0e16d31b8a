// SPDX-License-Identifier: MIT
// Each key layout of the fixtures in each type: tensors against the source read by other code, and
// the metadata that llama.cpp expects.
#include "gguf/gguf.h"
#include "hf_dir.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <math.h>

typedef struct layout {
    const char *fixture, *prefix;
    uint32_t n_embd, n_layer, n_head, n_ctx, n_ff, n_vocab, n_tokens;
    bool untied;
} layout;

static const layout layouts[] = {
    {"hf-plain", "", 32, 3, 4, 160, 128, 320, 320, false},
    {"hf-sharded", "transformer.", 32, 3, 4, 48, 128, 320, 320, false},
    {"hf-f16", "", 32, 3, 4, 160, 128, 320, 320, false},
    {"hf-bf16", "", 32, 3, 4, 160, 128, 320, 320, false},
    {"hf-untied", "", 36, 2, 3, 96, 96, 320, 317, true},
};
static const inki_tensor_type types[] = {INKI_F32, INKI_F16, INKI_BF16, INKI_Q8_0, INKI_Q4_0};
enum { N_LAYOUTS = sizeof layouts / sizeof *layouts, N_TYPES = sizeof types / sizeof *types };

typedef struct converted {
    hf_dir d;
    inki_file file;
    inki_gguf gguf;
    char notes[4096];
} converted;

static void keep_note(void *user, const char *line) {
    converted *c = user;
    const size_t used = strlen(c->notes);
    assert_null(strchr(line, '\n'));
    snprintf(c->notes + used, sizeof c->notes - used, "%s\n", line);
}

static void convert_fixture(converted *c, const char *fixture, inki_tensor_type type) {
    const inki_mem mem = inki_mem_from(NULL);
    ink_error error = {0};
    memset(c, 0, sizeof *c);
    c->d = hf_dir_copy_of(fixture);
    const inki_convert_options o = {.dir = c->d.in,
                                    .out = c->d.out,
                                    .type = type,
                                    .name = fixture,
                                    .note = keep_note,
                                    .user = c};
    if (inki_convert_hf(&o, &error) != INK_OK) fail_msg("%s: %s", fixture, error.message);
    if (inki_os_open_path(&c->file, c->d.out, true, &mem, &error) != INK_OK)
        fail_msg("%s", error.message);
    if (inki_gguf_open(&c->gguf, c->file.data, c->file.bytes, &mem, &error) != INK_OK)
        fail_msg("%s", error.message);
}

static void drop_converted(converted *c) {
    inki_gguf_close(&c->gguf);
    inki_os_close(&c->file);
    hf_dir_drop(&c->d);
}

// How far a number may move: half a step of its type, in a block of 32 of this largest magnitude.
static double step_of(uint32_t type, double x, double largest) {
    switch (type) {
    case INKI_F16: return fmax(ldexp(fabs(x), -11), 0x1p-25);
    case INKI_BF16: return fmax(ldexp(fabs(x), -8), 0x1p-134);
    case INKI_Q8_0: return largest / 127 * 0.5 + largest * 0x1p-10 + 0x1p-25 * 127;
    // The largest value is -8 steps; of the other sign there are only 7.
    case INKI_Q4_0: return largest / 8 + largest * 0x1p-10 + 0x1p-25 * 8;
    default: return 0;
    }
}

static void check_row(const char *name, uint32_t type, const double *source, const double *got,
                      size_t n) {
    for (size_t i = 0; i < n; i++) {
        double largest = 0;
        for (size_t k = i / 32 * 32; k < n && k < i / 32 * 32 + 32; k++)
            largest = fmax(largest, fabs(source[k]));
        if (!(fabs(got[i] - source[i]) <= step_of(type, source[i], largest)))
            fail_msg("%s, element %zu: %.9g became %.9g", name, i, source[i], got[i]);
    }
}

static const char *shard_of(const layout *l, const hf_dir *d, const char *tensor) {
    static const char *const shards[] = {"model-00001-of-00002.safetensors",
                                         "model-00002-of-00002.safetensors"};
    if (l->prefix[0] == 0) return "model.safetensors";
    char key[128];
    snprintf(key, sizeof key, "\"%s\":{", tensor);
    char *first = hf_dir_read(d, shards[0], NULL);
    char *header = strndup(first + 8, 65536);
    const bool there = strstr(header, key) != NULL;
    free(first);
    free(header);
    return shards[there ? 0 : 1];
}

// rows, cols: as written; 0 rows: a vector. type: the one expected.
static void check_tensor(const converted *c, const layout *l, const char *name, const char *source,
                         size_t rows, size_t cols, bool transposed, uint32_t type) {
    char full[96];
    size_t n;
    snprintf(full, sizeof full, "%s%s", strcmp(source, "lm_head.weight") == 0 ? "" : l->prefix,
             source);
    double *values = hf_dir_tensor(&c->d, shard_of(l, &c->d, full), full, &n);
    const inki_gguf_tensor *t = inki_gguf_find_tensor(&c->gguf, name);
    if (t == NULL) fail_msg("%s is missing", name);
    assert_int_equal(n, cols * (rows > 0 ? rows : 1));
    assert_int_equal(t->n_dims, rows > 0 ? 2 : 1);
    assert_int_equal(t->dims[0], cols);
    assert_int_equal(t->dims[1], rows > 0 ? rows : 1);
    if (t->type != type)
        fail_msg("%s has type %u, expected %u", name, (unsigned)t->type, (unsigned)type);
    double *row = malloc(2 * cols * sizeof *row), *expected = row + cols;
    assert_non_null(row);
    for (size_t r = 0; r < (rows > 0 ? rows : 1); r++) {
        hf_decode(row, t->type, (const uint8_t *)t->data + r * (size_t)(t->bytes / t->dims[1]),
                  cols);
        for (size_t i = 0; i < cols; i++)
            expected[i] = values[transposed ? i * rows + r : r * cols + i];
        check_row(name, t->type, expected, row, cols);
    }
    free(row);
    free(values);
}

// The rule of the converter, written down once more: blocks need whole rows, the head is not Q4_0.
static uint32_t expected_type(uint32_t asked, size_t cols, bool head) {
    const bool blocks = asked == INKI_Q8_0 || asked == INKI_Q4_0;
    if (blocks && cols % 32 != 0) return INKI_F16;
    return asked == INKI_Q4_0 && head ? INKI_Q8_0 : asked;
}

static void check_layer(const converted *c, const layout *l, uint32_t layer, uint32_t asked) {
    const size_t e = l->n_embd, f = l->n_ff;
    const struct {
        const char *name, *source;
        size_t rows, cols;
    } matrices[] = {{"attn_qkv.weight", "attn.c_attn.weight", 3 * e, e},
                    {"attn_output.weight", "attn.c_proj.weight", e, e},
                    {"ffn_up.weight", "mlp.c_fc.weight", f, e},
                    {"ffn_down.weight", "mlp.c_proj.weight", e, f},
                    {"attn_norm.weight", "ln_1.weight", 0, e},
                    {"attn_norm.bias", "ln_1.bias", 0, e},
                    {"ffn_norm.weight", "ln_2.weight", 0, e},
                    {"ffn_norm.bias", "ln_2.bias", 0, e},
                    {"attn_qkv.bias", "attn.c_attn.bias", 0, 3 * e},
                    {"attn_output.bias", "attn.c_proj.bias", 0, e},
                    {"ffn_up.bias", "mlp.c_fc.bias", 0, f},
                    {"ffn_down.bias", "mlp.c_proj.bias", 0, e}};
    for (size_t i = 0; i < sizeof matrices / sizeof *matrices; i++) {
        char name[64], source[64];
        const size_t rows = matrices[i].rows, cols = matrices[i].cols;
        snprintf(name, sizeof name, "blk.%u.%s", (unsigned)layer, matrices[i].name);
        snprintf(source, sizeof source, "h.%u.%s", (unsigned)layer, matrices[i].source);
        check_tensor(c, l, name, source, rows, cols, rows > 0,
                     rows > 0 ? expected_type(asked, cols, false) : INKI_F32);
    }
}

static void test_values(void **state) {
    (void)state;
    static converted c;
    for (size_t i = 0; i < N_LAYOUTS; i++) {
        const layout *l = &layouts[i];
        for (size_t k = 0; k < N_TYPES; k++) {
            convert_fixture(&c, l->fixture, types[k]);
            assert_int_equal(c.gguf.n_tensors, 4 + 12 * l->n_layer + (l->untied ? 1 : 0));
            const uint32_t embedding = expected_type(types[k], l->n_embd, !l->untied);
            check_tensor(&c, l, "token_embd.weight", "wte.weight", l->n_vocab, l->n_embd, false,
                         embedding);
            check_tensor(&c, l, "position_embd.weight", "wpe.weight", l->n_ctx, l->n_embd, false,
                         INKI_F32);
            check_tensor(&c, l, "output_norm.weight", "ln_f.weight", 0, l->n_embd, false, INKI_F32);
            check_tensor(&c, l, "output_norm.bias", "ln_f.bias", 0, l->n_embd, false, INKI_F32);
            for (uint32_t layer = 0; layer < l->n_layer; layer++)
                check_layer(&c, l, layer, types[k]);
            if (l->untied)
                check_tensor(&c, l, "output.weight", "lm_head.weight", l->n_vocab, l->n_embd, false,
                             expected_type(types[k], l->n_embd, true));
            drop_converted(&c);
        }
    }
}

static uint32_t number(const converted *c, const char *key) {
    uint32_t value = 0;
    ink_error error = {0};
    if (inki_gguf_get_u32(&c->gguf, key, true, &value, &error) != INK_OK)
        fail_msg("%s", error.message);
    return value;
}

static void text_is(const converted *c, const char *key, const char *expected) {
    inki_str value = {0};
    ink_error error = {0};
    if (inki_gguf_get_str(&c->gguf, key, true, &value, &error) != INK_OK)
        fail_msg("%s", error.message);
    if (!inki_str_equal(value, expected))
        fail_msg("%s is %.*s, not %s", key, (int)value.bytes, value.data, expected);
}

static void check_token(const converted *c, uint32_t id, const char *text, int32_t type) {
    inki_str_run run = {0};
    const uint8_t *kinds = NULL;
    uint64_t n = 0;
    assert_int_equal(inki_gguf_get_str_run(&c->gguf, "tokenizer.ggml.tokens", true, &run, NULL),
                     INK_OK);
    assert_int_equal(
        inki_gguf_get_i32_run(&c->gguf, "tokenizer.ggml.token_type", true, &kinds, &n, NULL),
        INK_OK);
    assert_int_equal(run.n, n);
    inki_cursor cursor = inki_cursor_over(run.data, run.bytes);
    inki_str s = {0};
    for (uint32_t i = 0; i <= id; i++) s = inki_cursor_str(&cursor);
    if (!inki_str_equal(s, text))
        fail_msg("token %u is %.*s, not %s", (unsigned)id, (int)s.bytes, s.data, text);
    int32_t kind;
    memcpy(&kind, kinds + 4 * (size_t)id, 4);
    assert_int_equal(kind, type);
}

static void test_metadata(void **state) {
    (void)state;
    static const uint32_t file_types[] = {0, 1, 32, 7, 2};
    static converted c;
    for (size_t i = 0; i < N_LAYOUTS; i++) {
        const layout *l = &layouts[i];
        for (size_t k = 0; k < N_TYPES; k++) {
            convert_fixture(&c, l->fixture, types[k]);
            text_is(&c, "general.architecture", "gpt2");
            text_is(&c, "general.name", l->fixture);
            text_is(&c, "general.license", "mit"); // from README.md
            assert_int_equal(number(&c, "general.file_type"), file_types[k]);
            assert_int_equal(inki_gguf_find(&c.gguf, "general.quantization_version") != NULL,
                             k >= 3);
            assert_int_equal(number(&c, "gpt2.context_length"), l->n_ctx);
            assert_int_equal(number(&c, "gpt2.embedding_length"), l->n_embd);
            assert_int_equal(number(&c, "gpt2.feed_forward_length"), l->n_ff);
            assert_int_equal(number(&c, "gpt2.block_count"), l->n_layer);
            assert_int_equal(number(&c, "gpt2.attention.head_count"), l->n_head);
            float epsilon = 0;
            inki_gguf_get_f32(&c.gguf, "gpt2.attention.layer_norm_epsilon", true, &epsilon, NULL);
            assert_true(epsilon == 1e-5f);
            text_is(&c, "tokenizer.ggml.model", "gpt2");
            text_is(&c, "tokenizer.ggml.pre", "gpt-2");
            assert_int_equal(number(&c, "tokenizer.ggml.bos_token_id"), l->n_tokens - 1);
            assert_int_equal(number(&c, "tokenizer.ggml.eos_token_id"), l->n_tokens - 1);
            drop_converted(&c);
        }
    }
}

// The fixtures have GPT-2's order: the printable bytes, the others, merges, the end.
static void test_tokens(void **state) {
    (void)state;
    static converted c;
    for (size_t i = 0; i < N_LAYOUTS; i++) {
        const layout *l = &layouts[i];
        convert_fixture(&c, l->fixture, INKI_F32);
        check_token(&c, 0, "!", 1);
        check_token(&c, 188, "\xc4\x80", 1); // byte 0, the first that is not printable
        check_token(&c, 256, "he", 1);       // of the first merge
        check_token(&c, l->n_tokens - 1, "<|endoftext|>", 3);
        for (uint32_t id = l->n_tokens; id < l->n_vocab; id++) {
            char text[16];
            snprintf(text, sizeof text, "[PAD%u]", (unsigned)id);
            check_token(&c, id, text, 5);
        }
        inki_str_run merges = {0};
        assert_int_equal(
            inki_gguf_get_str_run(&c.gguf, "tokenizer.ggml.merges", true, &merges, NULL), INK_OK);
        assert_int_equal(merges.n, l->n_tokens - 257);
        inki_cursor cursor = inki_cursor_over(merges.data, merges.bytes);
        assert_true(inki_str_equal(inki_cursor_str(&cursor), "h e"));
        drop_converted(&c);
    }
}

static void test_same_bytes(void **state) {
    (void)state;
    static converted first, second;
    for (size_t k = 0; k < N_TYPES; k++) {
        convert_fixture(&first, "hf-sharded", types[k]);
        convert_fixture(&second, "hf-sharded", types[k]);
        assert_int_equal(first.file.bytes, second.file.bytes);
        assert_memory_equal(first.file.data, second.file.data, first.file.bytes);
        drop_converted(&first);
        drop_converted(&second);
    }
}

static void test_notes(void **state) {
    (void)state;
    static converted c;
    convert_fixture(&c, "hf-plain", INKI_Q8_0);
    assert_string_equal(c.notes, "");
    drop_converted(&c);
    convert_fixture(&c, "hf-plain", INKI_Q4_0);
    assert_string_equal(c.notes,
                        "tensor token_embd.weight: kept as Q8_0, since the logits come from it\n");
    drop_converted(&c);
    convert_fixture(&c, "hf-untied", INKI_Q8_0);
    assert_non_null(
        strstr(c.notes, "vocab_size 320 is larger than the vocabulary: 3 unused tokens"));
    assert_non_null(strstr(
        c.notes,
        "tensor blk.1.ffn_up.weight: rows of 36 do not fit Q8_0 (blocks of 32), kept as F16"));
    assert_null(strstr(c.notes, "ffn_down")); // its rows of 96 fit
    drop_converted(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values), cmocka_unit_test(test_metadata),
        cmocka_unit_test(test_tokens), cmocka_unit_test(test_same_bytes),
        cmocka_unit_test(test_notes)};
    return cmocka_run_group_tests_name("convert layouts", tests, NULL, NULL);
}
