// SPDX-License-Identifier: MIT
#include "base/tensor_type.h"

// Without addresses, which would have to be written when the library is loaded.
static const struct {
    char name[6];
    uint16_t block_elems, block_bytes; // 0: not a type that we know
} types[INKI_TENSOR_TYPES] = {
#define TYPE_INFO(name, number, elems, bytes) [number] = {#name, elems, bytes},
    INKI_TENSOR_TYPE_MAP(TYPE_INFO)
#undef TYPE_INFO
};

inki_type_info inki_type_of(uint32_t type) {
    if (type >= INKI_TENSOR_TYPES || types[type].block_elems == 0) return (inki_type_info){0};
    return (inki_type_info){types[type].name, types[type].block_elems, types[type].block_bytes};
}

// By hand and not by strcasecmp: that one follows the host's locale.
static bool same_letters(const char *a, const char *b) {
    for (; *a != 0 && *b != 0; a++, b++) {
        const char lower = *b >= 'A' && *b <= 'Z' ? (char)(*b + 32) : *b;
        if (*a != *b && *a != lower) return false;
    }
    return *a == *b;
}

int32_t inki_type_by_name(const char *name) {
    for (int32_t i = 0; i < INKI_TENSOR_TYPES; i++)
        if (types[i].block_elems > 0 && same_letters(name, types[i].name)) return i;
    return -1;
}

bool inki_type_row_bytes(uint32_t type, uint64_t n, uint64_t *bytes) {
    const inki_type_info info = inki_type_of(type);
    if (info.name == NULL || n % info.block_elems != 0) return false;
    const uint64_t blocks = n / info.block_elems;
    if (blocks > UINT64_MAX / info.block_bytes) return false;
    *bytes = blocks * info.block_bytes;
    return true;
}
