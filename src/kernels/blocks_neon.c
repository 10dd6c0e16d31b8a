// SPDX-License-Identifier: MIT
// Products of block weights with byte activations by AArch64's baseline: products of bytes are
// 16-bit integers, added there as long as they fit.
#include "kernels/blocks_neon.h"
#include "kernels/levels.h"

#if defined(INKI_HAVE_NEON)
// Sixteen columns: two products of at most 127 * 128 a lane, which 16 bits hold.
INKI_TEMPLATE int16x8_t products_neon(int8x16_t q, int8x16_t x) {
    const int16x8_t low = vmull_s8(vget_low_s8(q), vget_low_s8(x));
    return vmlal_high_s8(low, q, x);
}

// Lanes 0 to 3 belong to one row, 4 to 7 to the next: of four rows, a lane a row.
INKI_TEMPLATE int32x4_t four_rows_neon(int16x8_t a, int16x8_t b) {
    return vpaddq_s32(vpaddlq_s16(a), vpaddlq_s16(b));
}

// Weights of four bits to six (below 64, so that 16 bits hold four products of 127) need one
// widening for all products of a row; bytes one for each sixteen.
INKI_TEMPLATE int32x4_t dot_rows_neon(uint32_t type, int part, const int8x16_t q[8],
                                      const int8x16_t x[2]) {
    if (type == INKI_Q8_0) {
        int32x4_t rows[4];
#pragma GCC unroll 4
        for (int r = 0; r < 4; r++)
            rows[r] = vpadalq_s16(vpaddlq_s16(products_neon(q[2 * r], x[0])),
                                  products_neon(q[2 * r + 1], x[1]));
        return vpaddq_s32(vpaddq_s32(rows[0], rows[1]), vpaddq_s32(rows[2], rows[3]));
    }
    int16x8_t rows[4];
#pragma GCC unroll 4
    for (int r = 0; r < 4; r++) {
        if (part < 2) {
            rows[r] = products_neon(q[2 * r + part], x[part]);
            continue;
        }
        const int8x16_t p = q[2 * r + 1];
        rows[r] = vmlal_s8(products_neon(q[2 * r], x[0]), vget_low_s8(p), vget_low_s8(x[1]));
        rows[r] = vmlal_high_s8(rows[r], p, x[1]);
    }
    return four_rows_neon(vpaddq_s16(rows[0], rows[1]), vpaddq_s16(rows[2], rows[3]));
}

INKI_TEMPLATE int32x4_t dot_neon(uint32_t type, int part, const int8x16_t q[8],
                                 const int8x16_t x[2], int32_t start) {
    return vaddq_s32(dot_rows_neon(type, part, q, x), vdupq_n_s32(start));
}

INKI_TEMPLATE void arrange_neon(int8x16_t q[8]) { (void)q; }

INKI_TEMPLATE void tile_neon(uint32_t type, const inki_neon_call *c, const inki_neon_panel *panels,
                             inki_neon_place at) {
    inki_neon_tile(type, dot_neon, c, panels, at);
}

#define SLOT(name, type)                                                                           \
    INKI_NEON_FEW_SLOT(few_##name##_neon, type, dot_neon)                                          \
    static void many_##name##_neon(const inki_neon_call *c) {                                      \
        inki_neon_matmul_many(type, false, arrange_neon, tile_neon, c);                            \
    }                                                                                              \
    INKI_NEON_SLOT(matmul_##name##_neon, few_##name##_neon, many_##name##_neon)
INKI_NEON_BLOCK_TYPES(SLOT)
#undef SLOT

void inki_blocks_neon(inki_kernels *table) {
#define FILL(name, type) table->matmul[type] = matmul_##name##_neon;
    INKI_NEON_BLOCK_TYPES(FILL)
#undef FILL
}
#endif
