// SPDX-License-Identifier: MIT
// Damaged model files: cut at every byte, every bit of the header flipped, and each kind of wrong
// content by name. All copies have their exact size on the heap, so that a sanitizer sees a read
// past the end.
#include "model/model.h"
#include "tests/support/raw_gguf.h"
#include "tests/support/tiny_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static inki_kernels kernels;

static int load_kernels(void **state) {
    (void)state;
    inki_kernels_init(&kernels, 0);
    return 0;
}

// Reads all that a user of the views may read.
static unsigned touch(const inki_gguf *g) {
    unsigned sum = 0;
    for (size_t i = 0; i < g->n_kv; i++) {
        char text[40];
        inki_gguf_value_text(&g->kv[i], text, sizeof text);
        sum += (unsigned char)text[0];
    }
    for (size_t i = 0; i < g->n_tensors; i++) {
        const uint8_t *p = g->tensors[i].data;
        sum += (unsigned)p[0] + p[g->tensors[i].bytes - 1];
    }
    return sum;
}

// Opens container and weights of an exact copy. Failures must fill the error and leave outputs
// alone.
static ink_status open_copy(const uint8_t *data, size_t n, ink_error *error) {
    uint8_t *copy = malloc(n > 0 ? n : 1);
    assert_non_null(copy);
    if (n > 0) memcpy(copy, data, n);
    const inki_mem mem = inki_mem_from(NULL);
    inki_gguf g, untouched_g;
    inki_weights w, untouched_w;
    memset(&g, 0xa5, sizeof g);
    memset(&w, 0xa5, sizeof w);
    untouched_g = g;
    untouched_w = w;
    *error = (ink_error){.size = sizeof *error};
    ink_status status = inki_gguf_open(&g, copy, n, &mem, error);
    if (status != INK_OK) assert_memory_equal(&g, &untouched_g, sizeof g);
    if (status == INK_OK) {
        volatile unsigned keep = touch(&g);
        (void)keep;
        status = inki_weights_open(&w, &g, &kernels, &mem, error);
        if (status != INK_OK)
            assert_memory_equal(&w, &untouched_w, sizeof w);
        else
            inki_weights_close(&w);
        inki_gguf_close(&g);
    }
    if (status == INK_OK) {
        assert_int_equal(error->status, INK_OK);
    } else {
        assert_int_equal(error->status, status);
        assert_true(error->message[0] != 0);
        assert_null(strchr(error->message, '\n'));
    }
    free(copy);
    return status;
}

static size_t data_begin(const uint8_t *file, size_t n) {
    const inki_mem mem = inki_mem_from(NULL);
    inki_gguf g;
    assert_int_equal(inki_gguf_open(&g, file, n, &mem, NULL), INK_OK);
    const size_t begin = (size_t)g.tensors[0].offset;
    inki_gguf_close(&g);
    return begin;
}

static uint8_t *smallest(size_t *n) {
    tiny_model m = tiny_model_defaults();
    m.n_embd = 2;
    m.n_head = 1;
    m.n_layer = 1;
    m.n_ctx = 2;
    m.n_ff = 2;
    m.n_vocab = 258;
    m.tied = false;
    uint8_t *file = tiny_model_bytes(&m, n);
    assert_non_null(file);
    return file;
}

static void cut_at_every_byte(void **state) {
    (void)state;
    size_t n;
    uint8_t *file = smallest(&n);
    const inki_mem mem = inki_mem_from(NULL);
    inki_gguf g;
    assert_int_equal(inki_gguf_open(&g, file, n, &mem, NULL), INK_OK);
    const inki_gguf_tensor *last = &g.tensors[g.n_tensors - 1];
    const size_t end = (size_t)(last->offset + last->bytes); // padding after that may be missing
    inki_gguf_close(&g);
    ink_error error;
    for (size_t at = 0; at < end; at++) {
        if (open_copy(file, at, &error) == INK_OK)
            fail_msg("a file cut at byte %zu of %zu was opened", at, n);
        assert_int_equal(error.status, INK_E_FORMAT);
    }
    for (size_t at = end; at <= n; at++) assert_int_equal(open_copy(file, at, &error), INK_OK);
    free(file);
}

static void every_bit_of_the_header(void **state) {
    (void)state;
    size_t n, refused = 0;
    uint8_t *file = smallest(&n);
    const size_t header = data_begin(file, n);
    assert_in_range(header, 1000, 12000);
    ink_error error;
    for (size_t at = 0; at < header; at++)
        for (int bit = 0; bit < 8; bit++) {
            file[at] ^= (uint8_t)(1 << bit);
            refused += open_copy(file, n, &error) != INK_OK;
            file[at] ^= (uint8_t)(1 << bit);
        }
    // A flip in a token's text goes unseen here; but those in names, sizes and offsets may not.
    print_message("%zu of %zu flips refused\n", refused, header * 8);
    assert_true(refused > 10000);
    assert_int_equal(open_copy(file, n, &error), INK_OK);
    free(file);
}

// Whether this file is refused with `status` and a message that contains both words.
static void refuses(raw_gguf *file, ink_status status, const char *word, const char *other) {
    ink_error error;
    const ink_status got = open_copy(file->data, file->bytes, &error);
    if (got != status)
        fail_msg("%s: status %s, %s was expected; message: %s", word, ink_status_name(got),
                 ink_status_name(status), error.message);
    if (strstr(error.message, word) == NULL || strstr(error.message, other) == NULL)
        fail_msg("\"%s\" does not name %s and %s", error.message, word, other);
    raw_free(file);
}

static void refuses_model(const raw_model *m, ink_status status, const char *word,
                          const char *other) {
    raw_gguf file = raw_gpt2(m);
    refuses(&file, status, word, other);
}

static void the_raw_model_is_right(void **state) {
    (void)state;
    for (uint32_t alignment = 0; alignment <= 256; alignment = alignment == 0 ? 8 : alignment * 2) {
        raw_gguf file = raw_gpt2(&(raw_model){.n_embd = 4, .alignment = alignment});
        ink_error error;
        if (open_copy(file.data, file.bytes, &error) != INK_OK) fail_msg("%s", error.message);
        raw_free(&file);
    }
}

static void wrong_magic(void **state) {
    (void)state;
    raw_gguf file = raw_gpt2(&(raw_model){.n_embd = 4});
    memcpy(file.data, "GGML", 4);
    refuses(&file, INK_E_FORMAT, "magic", "GGUF");
    raw_gguf empty = {0};
    raw_zeros(&empty, 1);
    empty.bytes = 0;
    refuses(&empty, INK_E_FORMAT, "magic", "GGUF");
}

static void wrong_version(void **state) {
    (void)state;
    static const struct {
        uint32_t version;
        const char *word;
    } cases[] = {{0, "version 0"},           {1, "version 1"},
                 {4, "version 4"},           {0xffffffff, "4294967295"},
                 {0x03000000, "big-endian"}, {0x02000000, "big-endian"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        raw_gguf file = raw_gpt2(&(raw_model){.n_embd = 4});
        for (int k = 0; k < 4; k++) file.data[4 + k] = (uint8_t)(cases[i].version >> (8 * k));
        refuses(&file, INK_E_UNSUPPORTED, "version", cases[i].word);
    }
}

static void absurd_counts(void **state) {
    (void)state;
    static const uint64_t counts[] = {1000,      65537,     1u << 31, UINT64_C(1) << 32,
                                      INT64_MAX, UINT64_MAX};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        raw_gguf file = {0};
        raw_head(&file, 3, counts[i], 0);
        raw_zeros(&file, 300);
        refuses(&file, INK_E_FORMAT, "tensor count", "bytes are left");
        raw_head(&file, 3, 0, counts[i]);
        raw_zeros(&file, 300);
        refuses(&file, INK_E_FORMAT, "metadata count", "bytes are left");
    }
    // Enough bytes for them, but over the limit.
    raw_gguf file = {0};
    raw_head(&file, 3, 0, 65537);
    for (size_t i = 0; i < 100; i++) raw_bytes(&file, (uint8_t[16384]){0}, 16384);
    refuses(&file, INK_E_LIMIT, "metadata count", "65536");
    raw_head(&file, 3, 65537, 0);
    for (size_t i = 0; i < 200; i++) raw_bytes(&file, (uint8_t[16384]){0}, 16384);
    refuses(&file, INK_E_LIMIT, "tensor count", "65536");
}

static void absurd_lengths(void **state) {
    (void)state;
    static const uint64_t lengths[] = {100, UINT32_MAX, INT64_MAX, UINT64_MAX, UINT64_MAX - 7};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        raw_gguf file = {0};
        raw_head(&file, 3, 0, 1); // of a key
        raw_number(&file, lengths[i], 8);
        raw_zeros(&file, 50);
        refuses(&file, INK_E_FORMAT, "metadata key", "end of the file");
        raw_head(&file, 3, 0, 1); // of a text
        raw_key(&file, "general.name", 8);
        raw_number(&file, lengths[i], 8);
        raw_zeros(&file, 50);
        refuses(&file, INK_E_FORMAT, "general.name", "end of the file");
        raw_head(&file, 3, 0, 1); // of a text in an array
        raw_key(&file, "some.list", 9);
        raw_number(&file, 8, 4);
        raw_number(&file, 2, 8);
        raw_text(&file, "first");
        raw_number(&file, lengths[i], 8);
        raw_zeros(&file, 50);
        refuses(&file, INK_E_FORMAT, "some.list", "end of the file");
        raw_head(&file, 3, 1, 0); // of a tensor's name
        raw_number(&file, lengths[i], 8);
        raw_zeros(&file, 50);
        refuses(&file, INK_E_FORMAT, "tensor name", "end of the file");
        for (uint32_t type = 0; type <= 12; type++) { // of an array
            if (type == 9) continue;
            raw_head(&file, 3, 0, 1);
            raw_key(&file, "some.array", 9);
            raw_number(&file, type, 4);
            raw_number(&file, lengths[i], 8);
            raw_zeros(&file, 50);
            refuses(&file, INK_E_FORMAT, "some.array", "end of the file");
        }
    }
}

static void long_names(void **state) {
    (void)state;
    char *key = malloc(65537);
    assert_non_null(key);
    memset(key, 'k', 65536);
    key[65536] = 0;
    raw_gguf file = {0};
    raw_head(&file, 3, 0, 1);
    raw_kv_u32(&file, key, 1);
    refuses(&file, INK_E_LIMIT, "metadata key", "65535");
    free(key);
    raw_head(&file, 3, 1, 0);
    raw_tensor(&file, "0123456789012345678901234567890123456789012345678901234567890123", 1,
               (uint64_t[]){1}, 0, 0);
    raw_zeros(&file, 64);
    refuses(&file, INK_E_LIMIT, "tensor name", "63");
    raw_head(&file, 3, 1, 0);
    raw_tensor(&file, "", 1, (uint64_t[]){1}, 0, 0);
    raw_zeros(&file, 64);
    refuses(&file, INK_E_FORMAT, "tensor name", "empty");
    raw_head(&file, 3, 0, 1);
    raw_kv_u32(&file, "", 1);
    refuses(&file, INK_E_FORMAT, "metadata key", "empty");
}

static void zero_bytes_in_names(void **state) {
    (void)state;
    raw_gguf file = {0};
    raw_head(&file, 3, 0, 1);
    raw_kv_u32(&file, "general.x", 1);
    file.data[24 + 8 + 7] = 0;
    refuses(&file, INK_E_FORMAT, "metadata key", "0 byte");
    raw_head(&file, 3, 1, 0);
    raw_tensor(&file, "weight", 1, (uint64_t[]){1}, 0, 0);
    raw_zeros(&file, 64);
    file.data[24 + 8 + 2] = 0;
    refuses(&file, INK_E_FORMAT, "tensor name", "0 byte");
}

static void wrong_value_types(void **state) {
    (void)state;
    raw_gguf file = {0};
    raw_head(&file, 3, 0, 1);
    raw_key(&file, "some.key", 13);
    raw_zeros(&file, 50);
    refuses(&file, INK_E_FORMAT, "some.key", "type 13");
    raw_head(&file, 3, 0, 1);
    raw_key(&file, "some.array", 9);
    raw_number(&file, 99, 4);
    raw_zeros(&file, 50);
    refuses(&file, INK_E_FORMAT, "some.array", "type 99");
    raw_head(&file, 3, 0, 1);
    raw_key(&file, "some.nest", 9);
    raw_number(&file, 9, 4);
    raw_zeros(&file, 50);
    refuses(&file, INK_E_UNSUPPORTED, "some.nest", "array of arrays");
    raw_head(&file, 3, 0, 1);
    raw_key(&file, "some.flag", 7);
    raw_number(&file, 2, 1);
    raw_zeros(&file, 50);
    refuses(&file, INK_E_FORMAT, "some.flag", "0 or 1");
}

static void said_twice(void **state) {
    (void)state;
    raw_gguf file = {0};
    raw_head(&file, 3, 0, 3);
    raw_kv_u32(&file, "b.key", 1);
    raw_kv_u32(&file, "a.key", 1);
    raw_kv_u32(&file, "b.key", 2);
    refuses(&file, INK_E_FORMAT, "b.key", "twice");
    raw_head(&file, 3, 2, 0);
    raw_tensor(&file, "weight", 1, (uint64_t[]){8}, 0, 0);
    raw_tensor(&file, "weight", 1, (uint64_t[]){8}, 0, 32);
    raw_zeros(&file, 200);
    refuses(&file, INK_E_FORMAT, "weight", "twice");
}

static void wrong_alignment(void **state) {
    (void)state;
    static const uint32_t wrong[] = {0, 1, 4, 7, 24, 33, 131072, 0x80000000u};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        raw_gguf file = {0};
        raw_head(&file, 3, 0, 1);
        raw_kv_u32(&file, "general.alignment", wrong[i]);
        refuses(&file, INK_E_FORMAT, "general.alignment", "power of two");
    }
    raw_gguf file = {0};
    raw_head(&file, 3, 0, 1);
    raw_kv_str(&file, "general.alignment", "32");
    refuses(&file, INK_E_FORMAT, "general.alignment", "integer");
}

static void wrong_places(void **state) {
    (void)state;
    static const char name[] = "blk.0.ffn_up.weight";
    static const uint64_t past[] = {1 << 20, UINT64_C(1) << 40, UINT64_C(1) << 63,
                                    UINT64_MAX - 0xffff};
    for (size_t i = 0; i < sizeof past / sizeof past[0]; i++)
        refuses_model(&(raw_model){.n_embd = 4, .tensor = name, .move = past[i] / 32 * 32},
                      INK_E_FORMAT, name, "end of the file");
    for (uint64_t move = 1; move < 32; move++)
        refuses_model(&(raw_model){.n_embd = 4, .tensor = name, .move = move}, INK_E_FORMAT, name,
                      "misaligned");
    refuses_model(&(raw_model){.n_embd = 4, .alignment = 64, .tensor = name, .move = 32},
                  INK_E_FORMAT, name, "multiple of 64");
    refuses_model(&(raw_model){.n_embd = 4, .tensor = name, .move = 32}, INK_E_FORMAT,
                  "blk.0.ffn_up.bias", "overlaps the tensor blk.0.ffn_up.weight");
    refuses_model(&(raw_model){.n_embd = 4, .tensor = name, .move = UINT64_MAX - 31}, INK_E_FORMAT,
                  name, "overlaps");
}

static void impossible_shapes(void **state) {
    (void)state;
    static const char name[] = "token_embd.weight";
    static const uint64_t huge = UINT64_C(1) << 62;
    refuses_model(&(raw_model){.n_embd = 4, .tensor = name, .n_dims = 5, .dims = {4, 5, 1, 1}},
                  INK_E_FORMAT, name, "n_dims is 5");
    refuses_model(&(raw_model){.n_embd = 4, .tensor = name, .n_dims = 2, .dims = {4, 0}},
                  INK_E_FORMAT, name, "dimension 1 is 0");
    refuses_model(&(raw_model){.n_embd = 4, .tensor = name, .n_dims = 1, .dims = {0}}, INK_E_FORMAT,
                  name, "dimension 0 is 0");
    refuses_model(&(raw_model){.n_embd = 4, .tensor = name, .n_dims = 1, .dims = {huge}},
                  INK_E_FORMAT, name, "overflows");
    refuses_model(&(raw_model){.n_embd = 4,
                               .tensor = name,
                               .n_dims = 2,
                               .dims = {UINT64_C(1) << 31, UINT64_C(1) << 31}},
                  INK_E_FORMAT, name, "overflows");
    refuses_model(
        &(raw_model){
            .n_embd = 4, .tensor = name, .n_dims = 4, .dims = {4, 65536, 65536, UINT64_C(1) << 30}},
        INK_E_FORMAT, name, "overflows");
    refuses_model(
        &(raw_model){.n_embd = 4, .tensor = name, .n_dims = 2, .dims = {4, UINT64_C(1) << 50}},
        INK_E_FORMAT, name, "end of the file");
    raw_gguf file = {0};
    raw_head(&file, 3, 1, 0);
    raw_tensor(&file, "weight", 0, NULL, 0, 0);
    raw_zeros(&file, 200);
    refuses(&file, INK_E_FORMAT, "weight", "n_dims is 0");
}

static void wrong_shapes(void **state) {
    (void)state;
    static const char qkv[] = "blk.0.attn_qkv.weight";
    // Transposed; a row short; with a third dimension; a vector of another length.
    refuses_model(&(raw_model){.n_embd = 4, .tensor = qkv, .n_dims = 2, .dims = {12, 4, 1, 1}},
                  INK_E_FORMAT, qkv, "[12, 4, 1, 1], [4, 12, 1, 1] was expected");
    refuses_model(&(raw_model){.n_embd = 4, .tensor = qkv, .n_dims = 2, .dims = {4, 11, 1, 1}},
                  INK_E_FORMAT, qkv, "[4, 12, 1, 1] was expected");
    refuses_model(&(raw_model){.n_embd = 4, .tensor = qkv, .n_dims = 3, .dims = {4, 6, 2, 1}},
                  INK_E_FORMAT, qkv, "[4, 12, 1, 1] was expected");
    // As many bytes as the right shape, so that only the shape can be noticed.
    refuses_model(&(raw_model){.n_embd = 4,
                               .tensor = qkv,
                               .type_plus_1 = INKI_F16 + 1,
                               .n_dims = 3,
                               .dims = {4, 12, 2, 1}},
                  INK_E_FORMAT, qkv, "[4, 12, 1, 1] was expected");
    refuses_model(&(raw_model){.n_embd = 4,
                               .tensor = qkv,
                               .type_plus_1 = INKI_F16 + 1,
                               .n_dims = 4,
                               .dims = {4, 12, 1, 2}},
                  INK_E_FORMAT, qkv, "[4, 12, 1, 1] was expected");
    refuses_model(
        &(raw_model){.n_embd = 4, .tensor = "output_norm.bias", .n_dims = 1, .dims = {3, 1, 1, 1}},
        INK_E_FORMAT, "output_norm.bias", "[4, 1, 1, 1] was expected");
    refuses_model(
        &(raw_model){.n_embd = 4, .tensor = "output.weight", .n_dims = 2, .dims = {4, 4, 1, 1}},
        INK_E_FORMAT, "output.weight", "[4, 5, 1, 1] was expected");
    refuses_model(
        &(raw_model){
            .n_embd = 4, .tensor = "position_embd.weight", .n_dims = 2, .dims = {4, 2, 1, 1}},
        INK_E_FORMAT, "position_embd.weight", "[4, 3, 1, 1] was expected");
}

static void a_missing_tensor(void **state) {
    (void)state;
    static const char *const names[] = {
        "token_embd.weight",        "position_embd.weight",   "blk.0.attn_norm.weight",
        "blk.0.attn_norm.bias",     "blk.0.attn_qkv.weight",  "blk.0.attn_qkv.bias",
        "blk.0.attn_output.weight", "blk.0.attn_output.bias", "blk.0.ffn_norm.weight",
        "blk.0.ffn_norm.bias",      "blk.0.ffn_up.weight",    "blk.0.ffn_up.bias",
        "blk.0.ffn_down.weight",    "blk.0.ffn_down.bias",    "output_norm.weight",
        "output_norm.bias"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        refuses_model(&(raw_model){.n_embd = 4, .no_tensor = names[i]}, INK_E_FORMAT, names[i],
                      "missing");
}

static void unknown_types(void **state) {
    (void)state;
    static const char name[] = "blk.0.ffn_up.weight";
    static const uint32_t unknown[] = {4, 5, 16, 29, 31, 99, UINT32_MAX - 1};
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++)
        refuses_model(&(raw_model){.n_embd = 32, .tensor = name, .type_plus_1 = unknown[i] + 1},
                      INK_E_UNSUPPORTED, name, "tensor type");
    // Known to the container, no kernel in the table; a vector that is not F32; a row that is no
    // whole block.
    const inki_matmul_fn kept = kernels.matmul[INKI_Q5_1];
    kernels.matmul[INKI_Q5_1] = NULL;
    refuses_model(&(raw_model){.n_embd = 32, .tensor = name, .type_plus_1 = INKI_Q5_1 + 1},
                  INK_E_UNSUPPORTED, name, "Q5_1");
    kernels.matmul[INKI_Q5_1] = kept;
    refuses_model(
        &(raw_model){.n_embd = 32, .tensor = "blk.0.ffn_up.bias", .type_plus_1 = INKI_F16 + 1},
        INK_E_UNSUPPORTED, "blk.0.ffn_up.bias", "F32");
    refuses_model(&(raw_model){.n_embd = 4, .tensor = name, .type_plus_1 = INKI_Q8_0 + 1},
                  INK_E_FORMAT, name, "multiples of 32");
}

static void unknown_architecture(void **state) {
    (void)state;
    refuses_model(&(raw_model){.n_embd = 4, .architecture = "llama"}, INK_E_UNSUPPORTED,
                  "general.architecture", "\"llama\"");
    refuses_model(&(raw_model){.n_embd = 4, .architecture = ""}, INK_E_UNSUPPORTED,
                  "general.architecture", "gpt2");
    refuses_model(&(raw_model){.n_embd = 4, .architecture = "gpt"}, INK_E_UNSUPPORTED,
                  "general.architecture", "\"gpt\"");
    refuses_model(&(raw_model){.n_embd = 4, .no_key = "general.architecture"}, INK_E_FORMAT,
                  "general.architecture", "missing");
}

static void wrong_metadata(void **state) {
    (void)state;
    static const char *const sizes[] = {"gpt2.context_length", "gpt2.embedding_length",
                                        "gpt2.feed_forward_length", "gpt2.block_count",
                                        "gpt2.attention.head_count"};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        const char *key = sizes[i];
        refuses_model(&(raw_model){.n_embd = 4, .no_key = key}, INK_E_FORMAT, key, "missing");
        refuses_model(&(raw_model){.n_embd = 4, .key = key}, INK_E_FORMAT, key, "is 0");
        refuses_model(&(raw_model){.n_embd = 4, .key = key, .key_value = UINT32_MAX}, INK_E_LIMIT,
                      key, "at most");
        refuses_model(&(raw_model){.n_embd = 4, .key = key, .key_type = 5, .key_value = UINT32_MAX},
                      INK_E_FORMAT, key, "is -1");
        refuses_model(
            &(raw_model){.n_embd = 4, .key = key, .key_type = 10, .key_value = UINT64_C(1) << 32},
            INK_E_FORMAT, key, "is 4294967296");
        refuses_model(&(raw_model){.n_embd = 4, .key = key, .key_type = 8}, INK_E_FORMAT, key,
                      "type str");
        refuses_model(&(raw_model){.n_embd = 4, .key = key, .key_type = 6}, INK_E_FORMAT, key,
                      "type f32");
    }
    refuses_model(&(raw_model){.n_embd = 4, .key = "gpt2.attention.head_count", .key_value = 3},
                  INK_E_FORMAT, "gpt2.attention.head_count", "divide");
    refuses_model(&(raw_model){.n_embd = 4, .key = "gpt2.block_count", .key_value = 4096},
                  INK_E_FORMAT, "gpt2.block_count", "too many");
    refuses_model(&(raw_model){.n_embd = 4, .key = "gpt2.attention.head_count_kv", .key_value = 1},
                  INK_E_UNSUPPORTED, "gpt2.attention.head_count_kv", "is 1");
    static const char eps[] = "gpt2.attention.layer_norm_epsilon";
    static const uint32_t wrong[] = {0,          0x80000000, 0xb727c5ac, 0x7f800000,
                                     0xff800000, 0x7fc00000, 0x40000000};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        refuses_model(&(raw_model){.n_embd = 4, .key = eps, .key_type = 6, .key_value = wrong[i]},
                      INK_E_FORMAT, eps, "out of range");
    refuses_model(&(raw_model){.n_embd = 4, .key = eps, .key_value = 1}, INK_E_FORMAT, eps,
                  "type u32");
}

// With a block too few in the metadata the model would run and talk nonsense.
static void more_layers_than_said(void **state) {
    (void)state;
    tiny_model m = tiny_model_defaults();
    size_t n;
    uint8_t *file = tiny_model_bytes(&m, &n);
    assert_non_null(file);
    raw_gguf copy = {0};
    raw_bytes(&copy, file, n);
    free(file);
    static const char key[] = "gpt2.block_count";
    for (size_t i = 0; i + sizeof key + 8 < copy.bytes; i++)
        if (memcmp(copy.data + i, key, sizeof key - 1) == 0) copy.data[i + sizeof key - 1 + 4] = 1;
    refuses(&copy, INK_E_FORMAT, "gpt2.block_count", "blk.1.attn_norm.weight");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_raw_model_is_right),
        cmocka_unit_test(cut_at_every_byte),
        cmocka_unit_test(every_bit_of_the_header),
        cmocka_unit_test(wrong_magic),
        cmocka_unit_test(wrong_version),
        cmocka_unit_test(absurd_counts),
        cmocka_unit_test(absurd_lengths),
        cmocka_unit_test(long_names),
        cmocka_unit_test(zero_bytes_in_names),
        cmocka_unit_test(wrong_value_types),
        cmocka_unit_test(said_twice),
        cmocka_unit_test(wrong_alignment),
        cmocka_unit_test(wrong_places),
        cmocka_unit_test(impossible_shapes),
        cmocka_unit_test(wrong_shapes),
        cmocka_unit_test(a_missing_tensor),
        cmocka_unit_test(unknown_types),
        cmocka_unit_test(unknown_architecture),
        cmocka_unit_test(wrong_metadata),
        cmocka_unit_test(more_layers_than_said),
    };
    return cmocka_run_group_tests(tests, load_kernels, NULL);
}
