// SPDX-License-Identifier: MIT
// A tile of 6 rows by 16 columns: 12 of 16 registers are sums, two columns, two spread numbers.
#include "train/gemm_parts.h"

#include "kernels/target.h"

#if defined(INKI_HAVE_X86)
#include <immintrin.h>
#include <string.h>

INKI_TARGET_BEGIN_AVX2

#define TILE(name)   name##_avx2
#define TILE_HEIGHT  6
#define TILE_VECTORS 2
#define TILE_LANES   8

typedef __m256 tile_vec;
typedef __m256 tile_cells;
INKI_TEMPLATE tile_vec tile_zero(void) { return _mm256_setzero_ps(); }
INKI_TEMPLATE tile_vec tile_load(const float *x) { return _mm256_loadu_ps(x); }
INKI_TEMPLATE tile_cells tile_load_cells(const float *x) { return _mm256_loadu_ps(x); }
INKI_TEMPLATE tile_cells tile_spread(const float *x) { return _mm256_broadcast_ss(x); }
INKI_TEMPLATE void tile_store(float *x, tile_vec v) { _mm256_storeu_ps(x, v); }
INKI_TEMPLATE tile_vec tile_sum(tile_vec v, tile_vec w) { return _mm256_add_ps(v, w); }
INKI_TEMPLATE tile_vec tile_madd(tile_vec sum, tile_cells row, tile_cells columns) {
    return _mm256_fmadd_ps(row, columns, sum);
}

#include "train/gemm_pack.h"
#include "train/gemm_tile.h"

INKI_TARGET_END

const inki_gemm_fns inki_gemm_avx2 = {
    .name = "avx2",
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
