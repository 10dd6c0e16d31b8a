// SPDX-License-Identifier: MIT
// Which tensor gets which type.
#ifndef INKI_CONVERT_QUANTIZE_PLAN_H
#define INKI_CONVERT_QUANTIZE_PLAN_H

#include "convert/quantize.h"
#include "gguf/gguf.h"

typedef struct inki_quantize_item {
    const inki_gguf_tensor *from;
    uint32_t wanted, type;
    uint32_t layer;   // of "blk.N.", UINT32_MAX: none
    const char *role; // the name behind "blk.N."
    size_t group;     // of the result
    bool too_large;   // wanted could not hold its numbers
} inki_quantize_item;

// The preset's types for all tensors, items [gguf->n_tensors] in their order.
void inki_quantize_plan(inki_quantize_item *items, const inki_gguf *gguf,
                        inki_quantize_preset preset, uint32_t n_layers);
// For a tensor whose largest magnitude is known: one that its type cannot hold stays as it is.
void inki_quantize_check_reach(inki_quantize_item *item, float largest);
// Puts the items into groups.
void inki_quantize_make_groups(inki_quantize_item *items, size_t n, inki_quantize_result *result);

// For rows of cols: `wanted`, or what stands in for it where they are not whole blocks of it.
uint32_t inki_quantize_type_that_fits(uint32_t wanted, uint64_t cols);
// Of general.file_type.
uint32_t inki_quantize_file_type(inki_quantize_preset preset);

#endif
