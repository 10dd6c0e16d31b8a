// SPDX-License-Identifier: MIT
// Products of bfloat16: operands are rounded to it (nearest, ties to even; numbers below the
// normal range to 0) while they are packed, two neighbours along k to a cell; one instruction
// multiplies both and adds to a float. The tile is that of F32, as the registers are the same.
// Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2, VDPBF16PS.
#include "train/gemm_parts.h"

#include "kernels/target.h"

#if defined(INKI_HAVE_X86)
#include <cpuid.h>
#include <immintrin.h>

bool inki_gemm_has_bf16(void) {
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 5 & 1) != 0;
}

#define TARGET_BEGIN_AVX512BF16                                                                    \
    INKI_TARGET_BEGIN("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")
TARGET_BEGIN_AVX512BF16

#define TILE(name)   name##_avx512bf16
#define TILE_HEIGHT  14
#define TILE_VECTORS 2
#define TILE_LANES   16

typedef __m512 tile_vec;
typedef __m512i tile_cells;
INKI_TEMPLATE tile_vec tile_zero(void) { return _mm512_setzero_ps(); }
INKI_TEMPLATE tile_vec tile_load(const float *x) { return _mm512_loadu_ps(x); }
INKI_TEMPLATE tile_cells tile_load_cells(const float *x) { return _mm512_loadu_si512(x); }
INKI_TEMPLATE tile_cells tile_spread(const float *x) {
    return _mm512_castps_si512(_mm512_set1_ps(*x));
}
INKI_TEMPLATE void tile_store(float *x, tile_vec v) { _mm512_storeu_ps(x, v); }
INKI_TEMPLATE tile_vec tile_sum(tile_vec v, tile_vec w) { return _mm512_add_ps(v, w); }
INKI_TEMPLATE tile_vec tile_madd(tile_vec sum, tile_cells row, tile_cells columns) {
    return _mm512_dpbf16_ps(sum, (__m512bh)row, (__m512bh)columns);
}

#include "train/gemm_tile.h"
#include "train/gemm_turn_avx512.h"

INKI_TEMPLATE __mmask16 first_lanes(size_t n) {
    return (__mmask16)(n >= 16 ? 0xffffu : (1u << n) - 1);
}

// Sixteen pairs: 32 numbers at x, of which n are there.
INKI_TEMPLATE __m512i round_row(const float *x, size_t n) {
    const __m512 low = _mm512_maskz_loadu_ps(first_lanes(n), x);
    const __m512 high =
        n > 16 ? _mm512_maskz_loadu_ps(first_lanes(n - 16), x + 16) : _mm512_setzero_ps();
    return (__m512i)_mm512_cvtne2ps_pbh(high, low);
}

static void TILE(pack_row)(float *out, size_t pitch, const float *x, size_t n) {
    for (; n >= 32; n -= 32, x += 32, out += pitch)
        _mm512_storeu_si512(
            out, (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(x + 16), _mm512_loadu_ps(x)));
    if (n > 0) _mm512_storeu_si512(out, round_row(x, n));
}

// Pairs of x and next, of which n are there, up to sixteen.
INKI_TEMPLATE __m512i zip_rows(const float *x, const float *next, size_t n) {
    const __m512i zip = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24,
                                         8, 23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    const __mmask16 there = first_lanes(n);
    const __m512 even = _mm512_maskz_loadu_ps(there, x);
    const __m512 odd = next != NULL ? _mm512_maskz_loadu_ps(there, next) : _mm512_setzero_ps();
    return _mm512_permutexvar_epi16(zip, (__m512i)_mm512_cvtne2ps_pbh(odd, even));
}

// Columns [0, n) of a piece of `pitch`.
INKI_TEMPLATE void pack_piece(float *out, size_t pitch, const float *x, const float *next,
                              size_t n) {
    _mm512_mask_storeu_epi32(out, first_lanes(pitch), zip_rows(x, next, n));
    if (pitch <= 16) return;
    const __m512i high =
        n > 16 ? zip_rows(x + 16, next != NULL ? next + 16 : NULL, n - 16) : _mm512_setzero_si512();
    _mm512_storeu_si512(out + 16, high);
}

static void TILE(pack_across)(float *out, size_t pitch, size_t step, const float *x,
                              const float *next, size_t n) {
    if (next == NULL) { // once in a product whose k is odd
        for (; n > 0; x += pitch, out += step) {
            const size_t n_here = n < pitch ? n : pitch;
            pack_piece(out, pitch, x, NULL, n_here);
            n -= n_here;
        }
        return;
    }
    if (pitch == 32)
        for (; n >= 32; n -= 32, x += 32, next += 32, out += step) pack_piece(out, 32, x, next, 32);
    else
        for (; n >= pitch; n -= pitch, x += pitch, next += pitch, out += step)
            pack_piece(out, pitch, x, next, pitch);
    if (n > 0) pack_piece(out, pitch, x, next, n);
}

static void TILE(pack_turned)(float *out, size_t pitch, const float *x, size_t x_stride,
                              size_t n_rows, size_t n_filled, size_t n) {
    (void)n_filled; // 16
    for (size_t k = 0; k < n; k += 32) {
        __m512i rows[16];
        INKI_UNROLL for (size_t i = 0; i < 16; i++) {
            rows[i] = i < n_rows ? round_row(x + i * x_stride + k, n - k) : _mm512_setzero_si512();
        }
        turn_square(rows);
        const size_t n_out = n - k < 32 ? (n - k + 1) / 2 : 16;
        for (size_t i = 0; i < n_out; i++, out += pitch) _mm512_storeu_si512(out, rows[i]);
    }
}

INKI_TARGET_END

const inki_gemm_fns inki_gemm_avx512bf16 = {
    .name = "avx512bf16",
    .height = TILE_HEIGHT,
    .width = TILE_WIDTH,
    .per_cell = 2,
    .max_cells = 512,
    .tile = TILE(tile_run),
    .pack_row = TILE(pack_row),
    .pack_across = TILE(pack_across),
    .pack_turned = TILE(pack_turned),
};

#undef TARGET_BEGIN_AVX512BF16
#undef TILE
#undef TILE_HEIGHT
#undef TILE_VECTORS
#undef TILE_LANES
#endif
