// SPDX-License-Identifier: MIT
#include "train/gemm_parts.h"

#include "kernels/target.h"

#define TILE(name)   name##_portable
#define TILE_HEIGHT  4
#define TILE_VECTORS 1
#define TILE_LANES   8

// Eight floats side by side, which compilers turn into what vectors the machine has.
typedef struct tile_vec {
    float x[TILE_LANES];
} tile_vec;
typedef tile_vec tile_cells;

INKI_TEMPLATE tile_vec tile_zero(void) { return (tile_vec){{0}}; }
INKI_TEMPLATE tile_vec tile_load(const float *x) {
    tile_vec v;
    for (int i = 0; i < TILE_LANES; i++) v.x[i] = x[i];
    return v;
}
INKI_TEMPLATE tile_vec tile_load_cells(const float *x) { return tile_load(x); }
INKI_TEMPLATE tile_vec tile_spread(const float *x) {
    tile_vec v;
    for (int i = 0; i < TILE_LANES; i++) v.x[i] = *x;
    return v;
}
INKI_TEMPLATE void tile_store(float *x, tile_vec v) {
    for (int i = 0; i < TILE_LANES; i++) x[i] = v.x[i];
}
INKI_TEMPLATE tile_vec tile_sum(tile_vec v, tile_vec w) {
    for (int i = 0; i < TILE_LANES; i++) v.x[i] += w.x[i];
    return v;
}
INKI_TEMPLATE tile_vec tile_madd(tile_vec sum, tile_vec a, tile_vec b) {
    for (int i = 0; i < TILE_LANES; i++) sum.x[i] += a.x[i] * b.x[i];
    return sum;
}

#include "train/gemm_pack.h"
#include "train/gemm_tile.h"

const inki_gemm_fns inki_gemm_portable = {
    .name = "portable",
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
