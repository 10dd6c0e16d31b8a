// SPDX-License-Identifier: MIT
#include "train/self_attention.h"

#include <math.h>

#include "kernels/kernels.h"
#include "kernels/target.h"
#include "train/self_attention_parts.h"

#define NONE_8                                                                                     \
    -INFINITY, -INFINITY, -INFINITY, -INFINITY, -INFINITY, -INFINITY, -INFINITY, -INFINITY
const float inki_attention_ramp[2 * ATTENTION_KEYS] = {
    [ATTENTION_KEYS] = NONE_8, NONE_8, NONE_8, NONE_8, NONE_8, NONE_8, NONE_8, NONE_8};
#undef NONE_8

size_t inki_attention_work_bytes(size_t n, size_t head_dim) {
    const size_t ahead = inki_attention_ahead_floats(n, head_dim);
    const size_t back = inki_attention_back_floats(n, head_dim);
    return inki_attention_padded((ahead > back ? ahead : back) * sizeof(float), 64);
}

void inki_attention_init(inki_attention_fns *fns, uint32_t level) {
    inki_attention_portable(fns);
#if defined(INKI_HAVE_X86)
    if (level >= INKI_LEVEL_AVX2 && level < INKI_LEVEL_NEON) inki_attention_avx2(fns);
    if (level >= INKI_LEVEL_AVX512 && level < INKI_LEVEL_NEON) inki_attention_avx512(fns);
#elif defined(INKI_HAVE_NEON)
    if (level >= INKI_LEVEL_NEON) inki_attention_neon(fns);
#else
    (void)level;
#endif
}
