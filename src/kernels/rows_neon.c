// SPDX-License-Identifier: MIT
// Work on rows of floats.
#include "kernels/levels.h"
#include "kernels/target.h"

#if defined(INKI_HAVE_NEON)
void inki_rows_neon(inki_kernels *table) { (void)table; }
#endif
