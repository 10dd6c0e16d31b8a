// SPDX-License-Identifier: MIT
// The portable level: each file fills its slots of the table. Private to src/kernels.
#ifndef INKI_KERNELS_PORTABLE_H
#define INKI_KERNELS_PORTABLE_H

#include "kernels/kernels.h"

void inki_kernels_matmul_portable(inki_kernels *table);
void inki_kernels_quant_portable(inki_kernels *table);
void inki_kernels_rows_portable(inki_kernels *table);
void inki_kernels_attend_portable(inki_kernels *table);

#endif
