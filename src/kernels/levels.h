// SPDX-License-Identifier: MIT
// What fills the table, level by level; each function overwrites the slots that its level has.
// Private to src/kernels.
#ifndef INKI_KERNELS_LEVELS_H
#define INKI_KERNELS_LEVELS_H

#include "kernels/kernels.h"

void inki_kernels_matmul_portable(inki_kernels *table);
void inki_kernels_quant_portable(inki_kernels *table);
void inki_kernels_rows_portable(inki_kernels *table);
void inki_kernels_attend_portable(inki_kernels *table);

// x86-64 (level_x86.c gathers what the files of each level bring).
void inki_kernels_avx2(inki_kernels *table);
void inki_kernels_avx512(inki_kernels *table);
void inki_kernels_avx512vnni(inki_kernels *table);

// AArch64.
void inki_kernels_neon(inki_kernels *table);
void inki_kernels_dotprod(inki_kernels *table);
void inki_kernels_i8mm(inki_kernels *table);

#endif
