// SPDX-License-Identifier: MIT
// What export.c and merge.c share: which type a tensor is written in. Private to train.
#ifndef INKI_TRAIN_EXPORT_TYPES_H
#define INKI_TRAIN_EXPORT_TYPES_H

#include "gguf/gguf.h"

// F32, F16, BF16, Q8_0, Q4_0: what inki_quantize_row writes.
bool inki_export_writes(uint32_t type);
// The type of a matrix with rows of n_cols and this largest magnitude: `wanted`, or F16 where rows
// are not whole blocks of it, Q8_0 for a head that Q4_0 was wanted for, F32 where its numbers do
// not fit.
uint32_t inki_export_choose(uint32_t wanted, uint64_t n_cols, float largest, bool is_head);
// general.file_type and, for block types, general.quantization_version.
void inki_export_add_kind(inki_gguf_writer *writer, uint32_t type);

#endif
