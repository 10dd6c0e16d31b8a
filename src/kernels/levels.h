// SPDX-License-Identifier: MIT
// What fills the table, level by level; each function overwrites the slots that its level has.
// Private to src/kernels.
#ifndef INKI_KERNELS_LEVELS_H
#define INKI_KERNELS_LEVELS_H

#include "kernels/kernels.h"

void inki_kernels_matmul_portable(inki_kernels *table);
void inki_kernels_blocks_portable(inki_kernels *table);
void inki_kernels_kblocks_portable(inki_kernels *table);
void inki_kernels_quant_portable(inki_kernels *table);
void inki_kernels_rows_portable(inki_kernels *table);
void inki_kernels_attend_portable(inki_kernels *table);

// x86-64: blocks_* the products of block weights, floats_* those of float weights, rows_* layer
// norm and the like, quantize_act, dequantize; attend_* attention and what is stored for it.
void inki_blocks_avx2(inki_kernels *table);
void inki_floats_avx2(inki_kernels *table);
void inki_rows_avx2(inki_kernels *table);
void inki_attend_avx2(inki_kernels *table);

void inki_floats_avx512(inki_kernels *table);
void inki_rows_avx512(inki_kernels *table);
void inki_attend_avx512(inki_kernels *table);

void inki_blocks_avx512vnni(inki_kernels *table);

// AArch64.
void inki_blocks_neon(inki_kernels *table);
void inki_floats_neon(inki_kernels *table);
void inki_rows_neon(inki_kernels *table);
void inki_attend_neon(inki_kernels *table);

void inki_blocks_dotprod(inki_kernels *table);

void inki_blocks_i8mm(inki_kernels *table);

#endif
