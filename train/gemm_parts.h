// SPDX-License-Identifier: MIT
// What the levels of products have: a tile of C in registers, and the packing that it reads.
// Private to train/gemm*.c.
//
// Packed operands are made of cells of four bytes along k: a float, or (BF16) a pair of bfloat16
// numbers, k even in the low half. A missing second half is zero.
//   B: panels of `width` columns, [cell][width]; columns that are missing are zero.
//   A: tiles of h rows, h even and at most `height`. From stored rows (k along memory):
//      [cell / 16][h][16], so that a row is copied a cache line at a time. From stored columns:
//      [cell][h]. A row that is missing is zero.
#ifndef INKI_TRAIN_GEMM_PARTS_H
#define INKI_TRAIN_GEMM_PARTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { INKI_GEMM_LINE = 16 }; // cells of a cache line

typedef struct inki_gemm_tile {
    float *c; // [n_rows, n_cols] at c_stride floats a row
    size_t c_stride, n_rows, n_cols;
    const float *a, *b; // packed: n_rows (rounded up to an even number) by n_cells by `width`
    size_t n_cells;
    const float *bias; // [n_cols] or NULL
    bool add;          // c = c + (sum + bias), else c = sum + bias
    bool across;       // A was packed from stored columns
    bool far;          // what c has is added to, and in no near cache: it is asked for first
} inki_gemm_tile;

typedef struct inki_gemm_fns {
    const char *name;
    uint32_t height, width; // of a tile; width a multiple of 8
    uint32_t per_cell;      // numbers along k in a cell: 1 or 2
    uint32_t max_cells;     // along k that a tile is best given at once; a multiple of 16
    void (*tile)(const inki_gemm_tile *tile);
    // n numbers of a stored row; line i of the result is at out + i * pitch, zeros to its end.
    void (*pack_row)(float *out, size_t pitch, const float *x, size_t n);
    // One cell of each of n columns, from stored rows k (x) and, in pairs, k + 1 (next; NULL:
    // zeros). The first `pitch` columns (at most `width`) go to out, the next ones to out + step
    // and so on, zeros after the last one to the end of its pitch.
    void (*pack_across)(float *out, size_t pitch, size_t step, const float *x, const float *next,
                        size_t n);
    // n_rows (1 to 16, at most `width`) stored rows of n numbers, x_stride floats apart, become
    // columns: cell i is at out + i * pitch, and zeros from n_rows to n_filled (16 or `width`).
    void (*pack_turned)(float *out, size_t pitch, const float *x, size_t x_stride, size_t n_rows,
                        size_t n_filled, size_t n);
} inki_gemm_fns;

extern const inki_gemm_fns inki_gemm_portable;
extern const inki_gemm_fns inki_gemm_avx2, inki_gemm_avx512, inki_gemm_avx512bf16;
extern const inki_gemm_fns inki_gemm_neon;
// The machine multiplies pairs of bfloat16 in one instruction; asked only where it has AVX-512.
bool inki_gemm_has_bf16(void);

#endif
