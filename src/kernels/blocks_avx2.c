// SPDX-License-Identifier: MIT
// Products of block weights with byte activations.
#include "kernels/levels.h"
#include "kernels/target.h"

#if defined(INKI_HAVE_X86)
void inki_blocks_avx2(inki_kernels *table) { (void)table; }
#endif
