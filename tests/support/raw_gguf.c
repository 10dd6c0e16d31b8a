// SPDX-License-Identifier: MIT
#include "raw_gguf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void raw_bytes(raw_gguf *r, const void *data, size_t n) {
    if (r->bytes + n > r->cap) {
        r->cap = 2 * (r->bytes + n) + 64;
        r->data = realloc(r->data, r->cap);
        if (r->data == NULL) abort();
    }
    if (n > 0) memcpy(r->data + r->bytes, data, n);
    r->bytes += n;
}

void raw_zeros(raw_gguf *r, size_t n) {
    for (size_t i = 0; i < n; i++) raw_bytes(r, "", 1);
}

void raw_number(raw_gguf *r, uint64_t value, size_t bytes) {
    for (size_t i = 0; i < bytes; i++, value >>= 8)
        raw_bytes(r, &(uint8_t){(uint8_t)(value & 0xff)}, 1);
}

void raw_text(raw_gguf *r, const char *text) {
    raw_number(r, strlen(text), 8);
    raw_bytes(r, text, strlen(text));
}

void raw_head(raw_gguf *r, uint32_t version, uint64_t n_tensors, uint64_t n_kv) {
    raw_bytes(r, "GGUF", 4);
    raw_number(r, version, 4);
    raw_number(r, n_tensors, 8);
    raw_number(r, n_kv, 8);
}

void raw_key(raw_gguf *r, const char *key, uint32_t type) {
    raw_text(r, key);
    raw_number(r, type, 4);
}

void raw_kv_u32(raw_gguf *r, const char *key, uint32_t value) {
    raw_key(r, key, 4);
    raw_number(r, value, 4);
}

void raw_kv_str(raw_gguf *r, const char *key, const char *value) {
    raw_key(r, key, 8);
    raw_text(r, value);
}

void raw_tensor(raw_gguf *r, const char *name, uint32_t n_dims, const uint64_t *dims, uint32_t type,
                uint64_t offset) {
    raw_text(r, name);
    raw_number(r, n_dims, 4);
    for (uint32_t i = 0; i < n_dims; i++) raw_number(r, i < 4 ? dims[i] : 1, 8);
    raw_number(r, type, 4);
    raw_number(r, offset, 8);
}

void raw_pad(raw_gguf *r, size_t alignment) {
    while (r->bytes % alignment != 0) raw_zeros(r, 1);
}

void raw_free(raw_gguf *r) {
    free(r->data);
    *r = (raw_gguf){0};
}

static bool is_named(const char *a, const char *b) {
    return a != NULL && b != NULL && strcmp(a, b) == 0;
}

static size_t raw_value_bytes(uint32_t type) {
    static const size_t bytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    return type < 13 ? bytes[type] : 0;
}

// Adds the entry and counts it, unless it is left out.
static void raw_entry(raw_gguf *r, const raw_model *m, const char *key, uint32_t type,
                      uint64_t value, uint64_t *n) {
    if (is_named(m->no_key, key)) return;
    ++*n;
    if (is_named(m->key, key)) {
        type = m->key_type != 0 ? m->key_type : 4;
        value = m->key_value;
    }
    raw_key(r, key, type);
    if (type == 8)
        raw_text(r, "text");
    else
        raw_number(r, value, raw_value_bytes(type));
}

static uint64_t raw_metadata(raw_gguf *r, const raw_model *m) {
    uint64_t n = 0;
    if (!is_named(m->no_key, "general.architecture")) {
        raw_kv_str(r, "general.architecture", m->architecture != NULL ? m->architecture : "gpt2");
        n++;
    }
    raw_entry(r, m, "gpt2.context_length", 4, 3, &n);
    raw_entry(r, m, "gpt2.embedding_length", 4, m->n_embd, &n);
    raw_entry(r, m, "gpt2.feed_forward_length", 4, 2 * m->n_embd, &n);
    raw_entry(r, m, "gpt2.block_count", 4, 1, &n);
    raw_entry(r, m, "gpt2.attention.head_count", 4, 2, &n);
    raw_entry(r, m, "gpt2.attention.layer_norm_epsilon", 6, 0x3727c5ac, &n); // 1e-5
    if (m->alignment != 0) raw_entry(r, m, "general.alignment", 4, m->alignment, &n);
    if (is_named(m->key, "gpt2.attention.head_count_kv")) raw_entry(r, m, m->key, 4, 0, &n);
    return n;
}

raw_gguf raw_gpt2(const raw_model *m) {
    const uint64_t e = m->n_embd, f = 2 * e, align = m->alignment != 0 ? m->alignment : 32;
    const struct {
        const char *name;
        uint64_t cols, rows; // rows 0: a vector
    } tensors[] = {
        {"token_embd.weight", e, 5},
        {"position_embd.weight", e, 3},
        {"blk.0.attn_norm.weight", e, 0},
        {"blk.0.attn_norm.bias", e, 0},
        {"blk.0.attn_qkv.weight", e, 3 * e},
        {"blk.0.attn_qkv.bias", 3 * e, 0},
        {"blk.0.attn_output.weight", e, e},
        {"blk.0.attn_output.bias", e, 0},
        {"blk.0.ffn_norm.weight", e, 0},
        {"blk.0.ffn_norm.bias", e, 0},
        {"blk.0.ffn_up.weight", e, f},
        {"blk.0.ffn_up.bias", f, 0},
        {"blk.0.ffn_down.weight", f, e},
        {"blk.0.ffn_down.bias", e, 0},
        {"output_norm.weight", e, 0},
        {"output_norm.bias", e, 0},
        {"output.weight", e, 5},
    };
    raw_gguf file = {0}, list = {0}, metadata = {0}, data = {0};
    uint64_t n = 0;
    for (size_t i = 0; i < sizeof tensors / sizeof tensors[0]; i++) {
        if (is_named(m->no_tensor, tensors[i].name)) continue;
        const bool changed = is_named(m->tensor, tensors[i].name);
        uint64_t dims[4] = {tensors[i].cols, tensors[i].rows, 1, 1};
        uint32_t n_dims = tensors[i].rows > 0 ? 2 : 1;
        if (changed && m->n_dims > 0) {
            n_dims = m->n_dims;
            memcpy(dims, m->dims, sizeof dims);
        }
        raw_tensor(&list, tensors[i].name, n_dims, dims,
                   changed && m->type_plus_1 > 0 ? m->type_plus_1 - 1 : 0,
                   data.bytes + (changed ? m->move : 0));
        // As many bytes as the shape that is right takes in F32: more than any other type needs.
        for (uint64_t k = 0; k < tensors[i].cols * (tensors[i].rows > 0 ? tensors[i].rows : 1); k++)
            raw_number(&data, 0x3f000000, 4);
        raw_pad(&data, (size_t)align);
        n++;
    }
    const uint64_t n_kv = raw_metadata(&metadata, m);
    raw_head(&file, 3, n, n_kv);
    raw_bytes(&file, metadata.data, metadata.bytes);
    raw_bytes(&file, list.data, list.bytes);
    raw_pad(&file, (size_t)align);
    raw_bytes(&file, data.data, data.bytes);
    raw_free(&list);
    raw_free(&metadata);
    raw_free(&data);
    return file;
}
