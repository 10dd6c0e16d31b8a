// SPDX-License-Identifier: MIT
// Products of block weights with byte activations by sdot: four products of bytes a lane.
#include "kernels/blocks_neon.h"
#include "kernels/levels.h"

#if defined(INKI_HAVE_DOTPROD)
INKI_TARGET_BEGIN_DOTPROD

// Rows as they are in memory: each in a register of its own, whose lanes are added at the end.
INKI_TEMPLATE int32x4_t dot_dotprod(uint32_t type, int part, const int8x16_t q[8],
                                    const int8x16_t x[2], int32_t start) {
    const int32x4_t first = vsetq_lane_s32(start, vdupq_n_s32(0), 0);
    int32x4_t rows[4];
    (void)type;
#pragma GCC unroll 4
    for (int r = 0; r < 4; r++) {
        rows[r] = vdotq_s32(first, q[2 * r + part % 2], x[part % 2]);
        if (part == 2) rows[r] = vdotq_s32(rows[r], q[2 * r + 1], x[1]);
    }
    return vpaddq_s32(vpaddq_s32(rows[0], rows[1]), vpaddq_s32(rows[2], rows[3]));
}

// Packed: four columns of four rows a register, so that an activation row's four columns are a lane
// and the sums of the rows come out side by side.
INKI_TEMPLATE int32x4_t dot_half_dotprod(int32x4_t sum, const int8x16_t q[4], int8x16_t x) {
    sum = vdotq_laneq_s32(sum, q[0], x, 0);
    sum = vdotq_laneq_s32(sum, q[1], x, 1);
    sum = vdotq_laneq_s32(sum, q[2], x, 2);
    return vdotq_laneq_s32(sum, q[3], x, 3);
}
INKI_TEMPLATE int32x4_t dot_packed_dotprod(uint32_t type, int part, const int8x16_t q[8],
                                           const int8x16_t x[2], int32_t start) {
    const int32x4_t first = vdupq_n_s32(start);
    (void)type;
    if (part < 2) return dot_half_dotprod(first, q + 4 * part, x[part]);
    return dot_half_dotprod(dot_half_dotprod(first, q, x[0]), q + 4, x[1]);
}

INKI_TEMPLATE void arrange_dotprod(int8x16_t q[8]) {
    int32x4_t to[8];
#pragma GCC unroll 2
    for (int i = 0; i < 2; i++) {
        const int32x4_t a = vreinterpretq_s32_s8(q[i]), b = vreinterpretq_s32_s8(q[2 + i]);
        const int32x4_t c = vreinterpretq_s32_s8(q[4 + i]), d = vreinterpretq_s32_s8(q[6 + i]);
        const int64x2_t ab = vreinterpretq_s64_s32(vtrn1q_s32(a, b));
        const int64x2_t cd = vreinterpretq_s64_s32(vtrn1q_s32(c, d));
        const int64x2_t ab2 = vreinterpretq_s64_s32(vtrn2q_s32(a, b));
        const int64x2_t cd2 = vreinterpretq_s64_s32(vtrn2q_s32(c, d));
        to[4 * i] = vreinterpretq_s32_s64(vtrn1q_s64(ab, cd));
        to[4 * i + 1] = vreinterpretq_s32_s64(vtrn1q_s64(ab2, cd2));
        to[4 * i + 2] = vreinterpretq_s32_s64(vtrn2q_s64(ab, cd));
        to[4 * i + 3] = vreinterpretq_s32_s64(vtrn2q_s64(ab2, cd2));
    }
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) q[i] = vreinterpretq_s8_s32(to[i]);
}

INKI_TEMPLATE void tile_dotprod(uint32_t type, const inki_neon_call *c,
                                const inki_neon_panel *panels, inki_neon_place at) {
    inki_neon_tile(type, dot_packed_dotprod, c, panels, at);
}

#define SLOT(name, type)                                                                           \
    INKI_NEON_FEW_SLOT(few_##name##_dotprod, type, dot_dotprod)                                    \
    static void many_##name##_dotprod(const inki_neon_call *c) {                                   \
        inki_neon_matmul_many(type, false, arrange_dotprod, tile_dotprod, c);                      \
    }                                                                                              \
    INKI_NEON_SLOT(matmul_##name##_dotprod, few_##name##_dotprod, many_##name##_dotprod)
INKI_NEON_BLOCK_TYPES(SLOT)
#undef SLOT
INKI_TARGET_END

bool inki_blocks_few_dotprod(uint32_t type, const inki_neon_call *c) {
    switch (type) {
#define FEW(name, type)                                                                            \
    case type: few_##name##_dotprod(c); return true;
        INKI_NEON_BLOCK_TYPES(FEW)
#undef FEW
    default: return false;
    }
}

void inki_blocks_dotprod(inki_kernels *table) {
#define FILL(name, type) table->matmul[type] = matmul_##name##_dotprod;
    INKI_NEON_BLOCK_TYPES(FILL)
#undef FILL
}
#endif
