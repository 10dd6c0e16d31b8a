// SPDX-License-Identifier: MIT
// Inside a target region of AVX-512.
#ifndef INKI_TRAIN_GEMM_TURN_AVX512_H
#define INKI_TRAIN_GEMM_TURN_AVX512_H

#include "kernels/target.h"

#include <immintrin.h>

// Transposes 16 by 16 cells: pairs of rows by words of 4 and 8 bytes make 4 by 4 squares inside the
// lanes of 16 bytes, then lanes change places.
INKI_TEMPLATE void turn_square(__m512i r[16]) {
    __m512i t[16];
    INKI_UNROLL for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
    INKI_UNROLL for (int i = 0; i < 16; i += 4) {
        r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    // r[4 g + c] has, in lane l, column 4 l + c of rows 4 g to 4 g + 3.
    INKI_UNROLL for (int c = 0; c < 4; c++) {
        const __m512i even01 = _mm512_shuffle_i32x4(r[c], r[4 + c], 0x88);
        const __m512i odd01 = _mm512_shuffle_i32x4(r[c], r[4 + c], 0xdd);
        const __m512i even23 = _mm512_shuffle_i32x4(r[8 + c], r[12 + c], 0x88);
        const __m512i odd23 = _mm512_shuffle_i32x4(r[8 + c], r[12 + c], 0xdd);
        t[c] = _mm512_shuffle_i32x4(even01, even23, 0x88);
        t[4 + c] = _mm512_shuffle_i32x4(odd01, odd23, 0x88);
        t[8 + c] = _mm512_shuffle_i32x4(even01, even23, 0xdd);
        t[12 + c] = _mm512_shuffle_i32x4(odd01, odd23, 0xdd);
    }
    INKI_UNROLL for (int i = 0; i < 16; i++) r[i] = t[i];
}

#endif
