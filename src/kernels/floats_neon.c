// SPDX-License-Identifier: MIT
// Products of float weights.
#include "kernels/levels.h"
#include "kernels/target.h"

#if defined(INKI_HAVE_NEON)
void inki_floats_neon(inki_kernels *table) { (void)table; }
#endif
