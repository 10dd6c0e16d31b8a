// SPDX-License-Identifier: MIT
#include "kernels/levels.h"
#include "kernels/target.h"

#if defined(INKI_HAVE_X86)
void inki_kernels_avx2(inki_kernels *table) { (void)table; }
void inki_kernels_avx512(inki_kernels *table) { (void)table; }
void inki_kernels_avx512vnni(inki_kernels *table) { (void)table; }
#endif
