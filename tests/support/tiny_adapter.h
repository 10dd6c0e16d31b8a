// SPDX-License-Identifier: MIT
// LoRA adapters of random values for tiny models, right in every respect or wrong in one.
#ifndef TESTS_TINY_ADAPTER_H
#define TESTS_TINY_ADAPTER_H

#include "tiny_model.h"

typedef struct tiny_tensor_of_adapter {
    char name[64];
    uint64_t dims[2]; // innermost first
    uint32_t type;
    bool left_out;
    bool poisoned; // its last value is a NaN
} tiny_tensor_of_adapter;

typedef struct tiny_adapter {
    // Of attn_qkv, attn_output, ffn_up, ffn_down in every layer; 0: not adapted.
    uint32_t rank[4];
    uint32_t type_a, type_b;
    float alpha, spread;
    uint64_t seed;
    // Metadata: NULL: as it must be; "": left out.
    const char *general_type, *architecture, *adapter_type;
    const char *more_key;                           // a key more; NULL: none
    void (*change)(tiny_tensor_of_adapter *tensor); // before it is written; NULL: nothing
} tiny_adapter;

// Ranks 4, 3, 5, 2, F32, alpha 8, a spread that changes logits clearly, seed 1.
tiny_adapter tiny_adapter_defaults(void);

// The file in memory (free it), made by way of a temporary file in TMPDIR; NULL on any failure.
uint8_t *tiny_adapter_bytes(const tiny_model *model, const tiny_adapter *adapter, size_t *bytes);

#endif
