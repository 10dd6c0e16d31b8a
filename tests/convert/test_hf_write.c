// SPDX-License-Identifier: MIT
// A GGUF file becomes a Hugging Face directory, and the directory that file again: the same tensors
// and the same vocabulary, from tokenizer.json as from vocab.json and merges.txt. The files are
// those that transformers expects; what cannot be written leaves none that looks like a model.
#include "convert/hf_write.h"
#include "gguf/gguf.h"
#include "heap.h"
#include "hf_dir.h"
#include "raw_gguf.h"
#include "tiny_model.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include <cmocka.h>

// in: the directory that is written; out: the file that is made of it. The file that it is made
// from lies beside them.
typedef struct trip {
    hf_dir d;
    char from[300];
} trip;

static trip trip_new(void) {
    trip t = {.d = hf_dir_new()};
    rmdir(t.d.in); // it is made by what is tested
    snprintf(t.from, sizeof t.from, "%s/from.gguf", t.d.root);
    return t;
}

static void write_tiny(const trip *t, uint32_t type, bool tied) {
    ink_error error = {0};
    tiny_model model = tiny_model_defaults();
    model.type = type;
    model.tied = tied;
    model.n_vocab = 420;
    if (tiny_model_write(t->from, &model, &error) != INK_OK) fail_msg("%s", error.message);
}

static void write_dir(const trip *t) {
    ink_error error = {0};
    if (inki_hf_write(t->from, t->d.in, NULL, &error) != INK_OK) fail_msg("%s", error.message);
}

static void convert_back(const trip *t, inki_tensor_type type) {
    ink_error error = {0};
    if (hf_dir_convert(&t->d, type, &error) != INK_OK) fail_msg("%s", error.message);
}

static json_t *read_json(const trip *t, const char *name) {
    size_t n;
    json_error_t why;
    char *text = hf_dir_read(&t->d, name, &n);
    json_t *root = json_loadb(text, n, JSON_REJECT_DUPLICATES, &why);
    if (root == NULL) fail_msg("%s: %s", name, why.text);
    free(text);
    return root;
}

typedef struct opened_file {
    inki_file file;
    inki_gguf gguf;
} opened_file;

static void file_open(opened_file *f, const char *path) {
    const inki_mem mem = inki_mem_from(NULL);
    ink_error error = {0};
    if (inki_os_open_path(&f->file, path, false, &mem, &error) != INK_OK ||
        inki_gguf_open(&f->gguf, f->file.data, f->file.bytes, &mem, &error) != INK_OK)
        fail_msg("%s", error.message);
}

static void file_close(opened_file *f) {
    inki_gguf_close(&f->gguf);
    inki_os_close(&f->file);
}

static void same_value(const opened_file *a, const opened_file *b, const char *key) {
    const inki_gguf_kv *x = inki_gguf_find(&a->gguf, key), *y = inki_gguf_find(&b->gguf, key);
    if (x == NULL || y == NULL || x->type != y->type || x->n != y->n || x->bytes != y->bytes ||
        memcmp(x->data, y->data, x->bytes) != 0)
        fail_msg("%s differs", key);
}

// exact: the same bytes; else the same numbers in F32.
static void same_model(const char *before, const char *after) {
    static const char *const keys[] = {
        "gpt2.block_count",           "gpt2.context_length",
        "gpt2.embedding_length",      "gpt2.feed_forward_length",
        "gpt2.attention.head_count",  "gpt2.attention.layer_norm_epsilon",
        "tokenizer.ggml.tokens",      "tokenizer.ggml.token_type",
        "tokenizer.ggml.merges",      "tokenizer.ggml.bos_token_id",
        "tokenizer.ggml.eos_token_id"};
    opened_file a, b;
    file_open(&a, before);
    file_open(&b, after);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) same_value(&a, &b, keys[i]);
    assert_int_equal(a.gguf.n_tensors, b.gguf.n_tensors);
    for (size_t i = 0; i < a.gguf.n_tensors; i++) {
        const inki_gguf_tensor *x = &a.gguf.tensors[i];
        const inki_gguf_tensor *y = inki_gguf_find_tensor(&b.gguf, x->name);
        if (y == NULL) fail_msg("%s is missing", x->name);
        assert_int_equal(y->type, INKI_F32);
        assert_memory_equal(x->dims, y->dims, sizeof x->dims);
        const size_t n = (size_t)(x->dims[0] * x->dims[1]);
        double *row = malloc(n * sizeof *row);
        hf_decode(row, x->type, x->data, n);
        for (size_t k = 0; k < n; k++) {
            float number;
            memcpy(&number, (const uint8_t *)y->data + 4 * k, 4);
            if ((float)row[k] != number)
                fail_msg("%s: element %zu is %g, it was %g", x->name, k, (double)number, row[k]);
        }
        if (x->type == INKI_F32) assert_memory_equal(x->data, y->data, (size_t)x->bytes);
        free(row);
    }
    file_close(&a);
    file_close(&b);
}

static void there_and_back(void **state) {
    (void)state;
    static const uint32_t types[] = {INKI_F32, INKI_F16, INKI_BF16, INKI_Q8_0, INKI_Q4_0};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        for (int tied = 0; tied < 2; tied++) {
            trip t = trip_new();
            write_tiny(&t, types[i], tied == 1);
            write_dir(&t);
            convert_back(&t, INKI_F32);
            same_model(t.from, t.d.out);
            // Without tokenizer.json the older files are read.
            hf_dir_remove(&t.d, "tokenizer.json");
            convert_back(&t, INKI_F32);
            same_model(t.from, t.d.out);
            hf_dir_drop(&t.d);
        }
}

// hf-untied has rows that no token uses, an n_inner of its own and an end token in the middle.
static void fixtures_over_again(void **state) {
    (void)state;
    static const char *const fixtures[] = {"hf-plain", "hf-untied", "hf-sharded"};
    for (size_t i = 0; i < sizeof fixtures / sizeof *fixtures; i++) {
        hf_dir source = hf_dir_copy_of(fixtures[i]);
        ink_error error = {0};
        trip t = trip_new();
        if (hf_dir_convert(&source, INKI_F32, &error) != INK_OK) fail_msg("%s", error.message);
        if (inki_hf_write(source.out, t.d.in, NULL, &error) != INK_OK)
            fail_msg("%s", error.message);
        convert_back(&t, INKI_F32);
        same_model(source.out, t.d.out);
        hf_dir_drop(&source);
        hf_dir_drop(&t.d);
    }
}

static void check_text(const json_t *object, const char *key, const char *expected) {
    const char *text = json_string_value(json_object_get(object, key));
    if (text == NULL || strcmp(text, expected) != 0)
        fail_msg("%s is %s, %s was expected", key, text != NULL ? text : "no text", expected);
}

// What transformers and tokenizers look for, as their own files have it.
static void settings(void **state) {
    (void)state;
    trip t = trip_new();
    write_tiny(&t, INKI_F32, true);
    write_dir(&t);
    json_t *config = read_json(&t, "config.json");
    check_text(config, "model_type", "gpt2");
    check_text(config, "activation_function", "gelu_new");
    check_text(config, "torch_dtype", "float32");
    assert_string_equal(
        json_string_value(json_array_get(json_object_get(config, "architectures"), 0)),
        "GPT2LMHeadModel");
    static const struct {
        const char *key;
        int value;
    } sizes[] = {{"n_ctx", 160},      {"n_positions", 160},  {"n_embd", 32},
                 {"n_head", 2},       {"n_layer", 2},        {"n_inner", 64},
                 {"vocab_size", 420}, {"bos_token_id", 419}, {"eos_token_id", 419}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        assert_int_equal(json_integer_value(json_object_get(config, sizes[i].key)), sizes[i].value);
    assert_true(json_is_true(json_object_get(config, "tie_word_embeddings")));
    assert_true(json_real_value(json_object_get(config, "layer_norm_epsilon")) == 1e-5);
    json_decref(config);
    json_t *fast = read_json(&t, "tokenizer.json");
    const json_t *model = json_object_get(fast, "model");
    check_text(model, "type", "BPE");
    check_text(json_object_get(fast, "pre_tokenizer"), "type", "ByteLevel");
    check_text(json_object_get(fast, "decoder"), "type", "ByteLevel");
    assert_int_equal(json_object_size(json_object_get(model, "vocab")), 420);
    assert_int_equal(json_array_size(json_object_get(model, "merges")), 420 - 257);
    const json_t *added = json_array_get(json_object_get(fast, "added_tokens"), 0);
    check_text(added, "content", "<|endoftext|>");
    assert_int_equal(json_integer_value(json_object_get(added, "id")), 419);
    assert_true(json_is_true(json_object_get(added, "special")));
    json_decref(fast);
    json_t *own = read_json(&t, "tokenizer_config.json");
    check_text(own, "tokenizer_class", "GPT2Tokenizer");
    check_text(own, "eos_token", "<|endoftext|>");
    assert_int_equal(json_integer_value(json_object_get(own, "model_max_length")), 160);
    check_text(json_object_get(json_object_get(own, "added_tokens_decoder"), "419"), "content",
               "<|endoftext|>");
    json_decref(own);
    json_t *marks = read_json(&t, "special_tokens_map.json");
    check_text(marks, "bos_token", "<|endoftext|>");
    json_decref(marks);
    json_t *generation = read_json(&t, "generation_config.json");
    assert_int_equal(json_integer_value(json_object_get(generation, "eos_token_id")), 419);
    json_decref(generation);
    char *merges = hf_dir_read(&t.d, "merges.txt", NULL);
    assert_int_equal(strncmp(merges, "#version: 0.2\n", 14), 0);
    free(merges);
    hf_dir_drop(&t.d);
}

// Names and shapes as GPT2LMHeadModel saves them: Conv1D keeps [in, out].
static void weights(void **state) {
    (void)state;
    static const struct {
        const char *name, *shape;
    } expected[] = {{"\"transformer.wte.weight\"", "\"shape\":[420,32]"},
                    {"\"transformer.wpe.weight\"", "\"shape\":[160,32]"},
                    {"\"transformer.h.1.attn.c_attn.weight\"", "\"shape\":[32,96]"},
                    {"\"transformer.h.1.attn.c_attn.bias\"", "\"shape\":[96]"},
                    {"\"transformer.h.0.mlp.c_proj.weight\"", "\"shape\":[64,32]"},
                    {"\"transformer.ln_f.bias\"", "\"shape\":[32]"},
                    {"\"lm_head.weight\"", "\"shape\":[420,32]"}};
    trip t = trip_new();
    size_t bytes;
    write_tiny(&t, INKI_F32, false);
    write_dir(&t);
    char *file = hf_dir_read(&t.d, "model.safetensors", &bytes);
    uint64_t length = 0;
    memcpy(&length, file, 8);
    assert_int_equal(length % 8, 0);
    assert_true(length + 8 < bytes);
    char *header = malloc((size_t)length + 1);
    memcpy(header, file + 8, (size_t)length);
    header[length] = 0;
    assert_non_null(strstr(header, "\"__metadata__\":{\"format\":\"pt\"}"));
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        const char *at = strstr(header, expected[i].name);
        assert_non_null(at);
        const char *end = strchr(at, '}'), *shape = strstr(at, expected[i].shape);
        if (shape == NULL || shape > end)
            fail_msg("%s has not %s", expected[i].name, expected[i].shape);
    }
    json_t *config = read_json(&t, "config.json");
    assert_true(json_is_false(json_object_get(config, "tie_word_embeddings")));
    json_decref(config);
    free(header);
    free(file);
    hf_dir_drop(&t.d);
}

static bool has_file(const trip *t, const char *name) {
    char path[600];
    snprintf(path, sizeof path, "%s/%s", t->d.in, name);
    return access(path, F_OK) == 0;
}

static void expect_failure(const trip *t, ink_status status, const char *words) {
    ink_error error = {0};
    assert_int_equal(inki_hf_write(t->from, t->d.in, NULL, &error), status);
    if (strstr(error.message, words) == NULL) fail_msg("\"%s\"", error.message);
    assert_false(has_file(t, "config.json"));
    assert_false(has_file(t, "model.safetensors"));
}

static void write_raw(const trip *t, const raw_model *model) {
    raw_gguf raw = raw_gpt2(model);
    FILE *f = fopen(t->from, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(raw.data, 1, raw.bytes, f), raw.bytes);
    fclose(f);
    raw_free(&raw);
}

static void not_written(void **state) {
    (void)state;
    trip t = trip_new();
    ink_error error = {0};
    assert_int_equal(inki_hf_write(t.from, "", NULL, &error), INK_E_ARG);
    expect_failure(&t, INK_E_NOT_FOUND, "from.gguf");
    static const struct {
        raw_model model;
        ink_status status;
        const char *words;
    } cases[] = {
        {{.n_embd = 8, .architecture = "llama"}, INK_E_UNSUPPORTED, "\"llama\""},
        {{.n_embd = 8, .no_key = "gpt2.context_length"}, INK_E_FORMAT, "gpt2.context_length"},
        {{.n_embd = 8, .key = "gpt2.block_count", .key_value = 5000}, INK_E_LIMIT, "5000"},
        {{.n_embd = 8, .key = "gpt2.attention.head_count", .key_value = 3}, INK_E_FORMAT, "heads"},
        {{.n_embd = 8, .no_tensor = "token_embd.weight"}, INK_E_FORMAT, "token_embd.weight"},
        {{.n_embd = 8}, INK_E_FORMAT, "tokenizer.ggml.model"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_raw(&t, &cases[i].model);
        expect_failure(&t, cases[i].status, cases[i].words);
    }
    hf_dir_drop(&t.d);
}

// A number that is none, found in the middle of the weights.
static void not_a_number(void **state) {
    (void)state;
    trip t = trip_new();
    opened_file f;
    const float nan_value = -__builtin_nanf("");
    write_tiny(&t, INKI_F32, true);
    file_open(&f, t.from);
    const long at =
        (long)inki_gguf_find_tensor(&f.gguf, "blk.1.ffn_down.weight")->offset + 4 * (64 * 3 + 5);
    file_close(&f);
    FILE *file = fopen(t.from, "r+b");
    assert_non_null(file);
    fseek(file, at, SEEK_SET);
    fwrite(&nan_value, sizeof nan_value, 1, file);
    fclose(file);
    expect_failure(&t, INK_E_NUMERIC, "blk.1.ffn_down.weight: row 3");
    hf_dir_drop(&t.d);
}

// Every allocation of ours fails once; nothing leaks and no config.json is there.
static void without_memory(void **state) {
    (void)state;
    trip t = trip_new();
    write_tiny(&t, INKI_Q8_0, true);
    for (size_t at = 1;; at++) {
        heap h = {.fail_at = at};
        ink_error error = {0};
        const ink_allocator allocator = heap_allocator(&h);
        const inki_mem mem = inki_mem_from(&allocator);
        const ink_status status = inki_hf_write(t.from, t.d.in, &mem, &error);
        assert_int_equal(h.live_blocks, 0);
        assert_int_equal(h.wrong_releases, 0);
        if (status == INK_OK) {
            assert_true(at > 10);
            break;
        }
        assert_int_equal(status, INK_E_NOMEM);
        if (h.n_allocs < at) fail_msg("%s", error.message);
    }
    convert_back(&t, INKI_F32);
    same_model(t.from, t.d.out);
    hf_dir_drop(&t.d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_and_back), cmocka_unit_test(fixtures_over_again),
        cmocka_unit_test(settings),       cmocka_unit_test(weights),
        cmocka_unit_test(not_written),    cmocka_unit_test(not_a_number),
        cmocka_unit_test(without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
