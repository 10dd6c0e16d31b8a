// SPDX-License-Identifier: MIT
// The element types of tensors: numbers, names and block sizes as GGUF has them.
// Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, ggml.h (enum ggml_type).
#ifndef INKI_BASE_TENSOR_TYPE_H
#define INKI_BASE_TENSOR_TYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// A row is stored in blocks: block_elems values take block_bytes.
// X(name, number, block_elems, block_bytes)
#define INKI_TENSOR_TYPE_MAP(X)                                                                    \
    X(F32, 0, 1, 4)                                                                                \
    X(F16, 1, 1, 2)                                                                                \
    X(Q4_0, 2, 32, 18)                                                                             \
    X(Q4_1, 3, 32, 20)                                                                             \
    X(Q5_0, 6, 32, 22)                                                                             \
    X(Q5_1, 7, 32, 24)                                                                             \
    X(Q8_0, 8, 32, 34)                                                                             \
    X(Q2_K, 10, 256, 84)                                                                           \
    X(Q3_K, 11, 256, 110)                                                                          \
    X(Q4_K, 12, 256, 144)                                                                          \
    X(Q5_K, 13, 256, 176)                                                                          \
    X(Q6_K, 14, 256, 210)                                                                          \
    X(BF16, 30, 1, 2)

typedef enum inki_tensor_type {
#define INKI_TENSOR_TYPE_ENUM(name, number, elems, bytes) INKI_##name = (number),
    INKI_TENSOR_TYPE_MAP(INKI_TENSOR_TYPE_ENUM)
#undef INKI_TENSOR_TYPE_ENUM
        INKI_TENSOR_TYPES = 31 // one above the highest number: tables have this length
} inki_tensor_type;

typedef struct inki_type_info {
    const char *name; // "Q8_0"; NULL: not a type that we know
    uint32_t block_elems, block_bytes;
} inki_type_info;

// name is NULL for an unknown number.
inki_type_info inki_type_of(uint32_t type);
// The type with this name in any case ("q8_0"), or -1.
int32_t inki_type_by_name(const char *name);
// Bytes of a row of n elements; false if the type is unknown, n is not a multiple of the block or
// the size overflows.
bool inki_type_row_bytes(uint32_t type, uint64_t n, uint64_t *bytes);

#endif
