// SPDX-License-Identifier: MIT
// Attention over a tile, and what is stored in it.
#include "kernels/levels.h"
#include "kernels/target.h"

#if defined(INKI_HAVE_X86)
void inki_attend_avx512(inki_kernels *table) { (void)table; }
#endif
