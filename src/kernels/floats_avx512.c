// SPDX-License-Identifier: MIT
// Products of float weights.
#include "kernels/levels.h"
#include "kernels/target.h"

#if defined(INKI_HAVE_X86)
void inki_floats_avx512(inki_kernels *table) { (void)table; }
#endif
