// SPDX-License-Identifier: MIT
#include "kernels/levels.h"
#include "kernels/target.h"

#if defined(INKI_HAVE_NEON)
void inki_kernels_neon(inki_kernels *table) { (void)table; }
void inki_kernels_dotprod(inki_kernels *table) { (void)table; }
void inki_kernels_i8mm(inki_kernels *table) { (void)table; }
#endif
