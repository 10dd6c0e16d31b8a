// SPDX-License-Identifier: MIT
// Products of block weights with byte activations.
#include "kernels/levels.h"
#include "kernels/target.h"

#if defined(INKI_HAVE_NEON)
void inki_blocks_dotprod(inki_kernels *table) { (void)table; }
#endif
