// SPDX-License-Identifier: MIT
// A tile of 14 rows by 32 columns: 28 of 32 registers are sums, two columns, two spread numbers. A
// cell of it is 28 multiply-adds and 16 loads; two of each can begin in a cycle.
#include "train/gemm_parts.h"

#include "kernels/target.h"

#if defined(INKI_HAVE_X86)
#include <immintrin.h>

INKI_TARGET_BEGIN_AVX512

#define TILE(name)   name##_avx512
#define TILE_HEIGHT  14
#define TILE_VECTORS 2
#define TILE_LANES   16

typedef __m512 tile_vec;
typedef __m512 tile_cells;
INKI_TEMPLATE tile_vec tile_zero(void) { return _mm512_setzero_ps(); }
INKI_TEMPLATE tile_vec tile_load(const float *x) { return _mm512_loadu_ps(x); }
INKI_TEMPLATE tile_cells tile_load_cells(const float *x) { return _mm512_loadu_ps(x); }
INKI_TEMPLATE tile_cells tile_spread(const float *x) { return _mm512_set1_ps(*x); }
INKI_TEMPLATE void tile_store(float *x, tile_vec v) { _mm512_storeu_ps(x, v); }
INKI_TEMPLATE tile_vec tile_sum(tile_vec v, tile_vec w) { return _mm512_add_ps(v, w); }
INKI_TEMPLATE tile_vec tile_madd(tile_vec sum, tile_cells row, tile_cells columns) {
    return _mm512_fmadd_ps(row, columns, sum);
}

#include "train/gemm_tile.h"
#include "train/gemm_turn_avx512.h"

INKI_TEMPLATE __mmask16 first_lanes(size_t n) {
    return (__mmask16)(n >= 16 ? 0xffffu : (1u << n) - 1);
}

static void TILE(pack_row)(float *out, size_t pitch, const float *x, size_t n) {
    for (; n >= 16; n -= 16, x += 16, out += pitch) _mm512_storeu_ps(out, _mm512_loadu_ps(x));
    if (n > 0) _mm512_storeu_ps(out, _mm512_maskz_loadu_ps(first_lanes(n), x));
}

// Columns [0, n) of a piece of `pitch`.
INKI_TEMPLATE void pack_piece(float *out, size_t pitch, const float *x, size_t n) {
    const __m512 low = _mm512_maskz_loadu_ps(first_lanes(n), x);
    _mm512_mask_storeu_ps(out, first_lanes(pitch), low);
    if (pitch <= 16) return;
    const __m512 high =
        n > 16 ? _mm512_maskz_loadu_ps(first_lanes(n - 16), x + 16) : _mm512_setzero_ps();
    _mm512_storeu_ps(out + 16, high);
}

static void TILE(pack_across)(float *out, size_t pitch, size_t step, const float *x,
                              const float *next, size_t n) {
    (void)next;
    if (pitch == 32)
        for (; n >= 32; n -= 32, x += 32, out += step) pack_piece(out, 32, x, 32);
    else
        for (; n >= pitch; n -= pitch, x += pitch, out += step) pack_piece(out, pitch, x, pitch);
    if (n > 0) pack_piece(out, pitch, x, n);
}

static void TILE(pack_turned)(float *out, size_t pitch, const float *x, size_t x_stride,
                              size_t n_rows, size_t n_filled, size_t n) {
    (void)n_filled; // 16
    for (size_t k = 0; k < n; k += 16) {
        const __mmask16 there = first_lanes(n - k);
        __m512i rows[16];
        INKI_UNROLL for (size_t i = 0; i < 16; i++) rows[i] =
            i < n_rows ? _mm512_castps_si512(_mm512_maskz_loadu_ps(there, x + i * x_stride + k))
                       : _mm512_setzero_si512();
        turn_square(rows);
        const size_t n_out = n - k < 16 ? n - k : 16;
        for (size_t i = 0; i < n_out; i++, out += pitch) _mm512_storeu_si512(out, rows[i]);
    }
}

INKI_TARGET_END

const inki_gemm_fns inki_gemm_avx512 = {
    .name = "avx512",
    .height = TILE_HEIGHT,
    .width = TILE_WIDTH,
    .per_cell = 1,
    .max_cells = 512,
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
