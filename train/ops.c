// SPDX-License-Identifier: MIT
#include "train/ops_levels.h"

#include "kernels/kernels.h"
#include "kernels/target.h"

// AArch64's levels have the portable functions, whose vectors of four are that machine's own.
void inki_train_ops_init(inki_train_ops *ops, uint32_t level) {
    switch (level) {
#if defined(INKI_HAVE_X86)
    case INKI_LEVEL_AVX2: inki_train_ops_avx2(ops); break;
    case INKI_LEVEL_AVX512:
    case INKI_LEVEL_AVX512VNNI: inki_train_ops_avx512(ops); break;
#endif
    default: inki_train_ops_portable(ops); break;
    }
}
