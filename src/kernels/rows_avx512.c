// SPDX-License-Identifier: MIT
// Work on rows of floats.
#include "kernels/levels.h"
#include "kernels/target.h"

#if defined(INKI_HAVE_X86)
void inki_rows_avx512(inki_kernels *table) { (void)table; }
#endif
