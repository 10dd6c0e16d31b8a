// SPDX-License-Identifier: MIT
// GGUF files put together byte by byte, right or wrong in one chosen place. Knows nothing of the
// writer in src/: what the reader is tested with is written down twice.
#ifndef TESTS_RAW_GGUF_H
#define TESTS_RAW_GGUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct raw_gguf {
    uint8_t *data; // free it
    size_t bytes, cap;
} raw_gguf;

void raw_bytes(raw_gguf *r, const void *data, size_t n);
void raw_zeros(raw_gguf *r, size_t n);
void raw_number(raw_gguf *r, uint64_t value, size_t bytes); // little-endian
void raw_text(raw_gguf *r, const char *text);               // with its length
void raw_head(raw_gguf *r, uint32_t version, uint64_t n_tensors, uint64_t n_kv);
void raw_key(raw_gguf *r, const char *key, uint32_t type); // the value follows
void raw_kv_u32(raw_gguf *r, const char *key, uint32_t value);
void raw_kv_str(raw_gguf *r, const char *key, const char *value);
void raw_tensor(raw_gguf *r, const char *name, uint32_t n_dims, const uint64_t *dims, uint32_t type,
                uint64_t offset);
void raw_pad(raw_gguf *r, size_t alignment);
void raw_free(raw_gguf *r);

// A GPT-2 model: 1 layer, 2 heads, context 3, feed-forward 2 * n_embd, 5 tokens, F32, untied,
// without a vocabulary; all its numbers are 0.5. The fields say what is otherwise; all zero (but
// n_embd): nothing.
typedef struct raw_model {
    uint32_t n_embd;
    const char *architecture;       // another one
    const char *no_key, *no_tensor; // left out
    const char *key; // gets key_value with type key_type instead (u32 where that is 0)
    uint32_t key_type;
    uint64_t key_value;
    const char *tensor;   // gets what follows where that is not 0
    uint32_t type_plus_1; // its type; the bytes follow from it
    uint32_t n_dims;      // its shape
    uint64_t dims[4];
    uint64_t move;      // is added to its offset
    uint32_t alignment; // general.alignment, 0: no such key
} raw_model;
raw_gguf raw_gpt2(const raw_model *model);

#endif
