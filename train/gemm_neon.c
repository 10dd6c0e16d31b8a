// SPDX-License-Identifier: MIT
// A tile of 6 rows by 16 columns: 24 of 32 registers are sums, four columns, the rest spread
// numbers.
#include "train/gemm_parts.h"

#include "kernels/target.h"

#if defined(INKI_HAVE_NEON)
#include <arm_neon.h>
#include <string.h>

#define TILE(name)   name##_neon
#define TILE_HEIGHT  6
#define TILE_VECTORS 4
#define TILE_LANES   4

typedef float32x4_t tile_vec;
typedef float32x4_t tile_cells;
INKI_TEMPLATE tile_vec tile_zero(void) { return vdupq_n_f32(0); }
INKI_TEMPLATE tile_vec tile_load(const float *x) { return vld1q_f32(x); }
INKI_TEMPLATE tile_cells tile_load_cells(const float *x) { return vld1q_f32(x); }
INKI_TEMPLATE tile_cells tile_spread(const float *x) { return vld1q_dup_f32(x); }
INKI_TEMPLATE void tile_store(float *x, tile_vec v) { vst1q_f32(x, v); }
INKI_TEMPLATE tile_vec tile_sum(tile_vec v, tile_vec w) { return vaddq_f32(v, w); }
INKI_TEMPLATE tile_vec tile_madd(tile_vec sum, tile_cells row, tile_cells columns) {
    return vfmaq_f32(sum, row, columns);
}

#include "train/gemm_pack.h"
#include "train/gemm_tile.h"

const inki_gemm_fns inki_gemm_neon = {
    .name = "neon",
    .height = TILE_HEIGHT,
    .width = TILE_WIDTH,
    .per_cell = 1,
    .max_cells = 256,
    .tile = TILE(tile_run),
    .pack_row = TILE(pack_row),
    .pack_across = TILE(pack_across),
    .pack_turned = TILE(pack_turned),
};

#undef TILE
#undef TILE_HEIGHT
#undef TILE_VECTORS
#undef TILE_LANES
#endif
