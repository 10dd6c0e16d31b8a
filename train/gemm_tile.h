// SPDX-License-Identifier: MIT
// The tile of a level, written once. The file that includes it, inside its target region, has
// defined: TILE(name), which puts the level behind a name, TILE_HEIGHT (even), TILE_VECTORS (of a
// row), TILE_LANES, the types tile_vec (of sums) and tile_cells, and the functions tile_zero(),
// tile_load(x), tile_load_cells(x), tile_spread(x), tile_store(x, v), tile_sum(v, w),
// tile_madd(sum, spread, cells).
#ifndef INKI_TRAIN_GEMM_TILE_H
#define INKI_TRAIN_GEMM_TILE_H

#include "base/prefetch.h"
#include "kernels/target.h"
#include "train/gemm_parts.h"

enum { TILE_WIDTH = TILE_VECTORS * TILE_LANES };

// One cell: each row's is multiplied with all columns'. a_step: from a row's cell to the next
// row's.
INKI_TEMPLATE void tile_step(tile_vec sums[TILE_HEIGHT][TILE_VECTORS], const float *a,
                             size_t a_step, const float *b, const size_t height) {
    tile_cells columns[TILE_VECTORS];
    INKI_UNROLL for (size_t j = 0; j < TILE_VECTORS; j++) columns[j] =
        tile_load_cells(b + j * TILE_LANES);
    INKI_UNROLL for (size_t i = 0; i < height; i++) {
        const tile_cells row = tile_spread(a + i * a_step);
        INKI_UNROLL for (size_t j = 0; j < TILE_VECTORS; j++) sums[i][j] =
            tile_madd(sums[i][j], row, columns[j]);
    }
}

INKI_TEMPLATE void tile_write(const inki_gemm_tile *t, tile_vec sums[TILE_HEIGHT][TILE_VECTORS],
                              const size_t height) {
    if (t->bias != NULL) {
        INKI_UNROLL for (size_t j = 0; j < TILE_VECTORS; j++) {
            const tile_vec bias = tile_load(t->bias + j * TILE_LANES);
            INKI_UNROLL for (size_t i = 0; i < height; i++) sums[i][j] = tile_sum(sums[i][j], bias);
        }
    }
    float *c = t->c;
    if (t->add) {
        INKI_UNROLL for (size_t i = 0; i < height; i++, c += t->c_stride)
            INKI_UNROLL for (size_t j = 0; j < TILE_VECTORS; j++)
                tile_store(c + j * TILE_LANES, tile_sum(tile_load(c + j * TILE_LANES), sums[i][j]));
    } else {
        INKI_UNROLL for (size_t i = 0; i < height; i++, c += t->c_stride)
            INKI_UNROLL for (size_t j = 0; j < TILE_VECTORS; j++)
                tile_store(c + j * TILE_LANES, sums[i][j]);
    }
}

INKI_TEMPLATE void tile_whole(const inki_gemm_tile *t, const size_t height, const bool across) {
    tile_vec sums[TILE_HEIGHT][TILE_VECTORS];
    INKI_UNROLL for (size_t i = 0; i < height; i++)
        INKI_UNROLL for (size_t j = 0; j < TILE_VECTORS; j++) sums[i][j] = tile_zero();
    const float *a = t->a, *b = t->b;
    if (across) {
        for (size_t n = t->n_cells; n > 0; n--, a += height, b += TILE_WIDTH)
            tile_step(sums, a, 1, b, height);
    } else {
        size_t n = t->n_cells;
        for (; n >= INKI_GEMM_LINE; n -= INKI_GEMM_LINE) {
            for (size_t q = 0; q < INKI_GEMM_LINE; q++, a++, b += TILE_WIDTH)
                tile_step(sums, a, INKI_GEMM_LINE, b, height);
            a += (height - 1) * INKI_GEMM_LINE;
        }
        for (; n > 0; n--, a++, b += TILE_WIDTH) tile_step(sums, a, INKI_GEMM_LINE, b, height);
    }
    tile_write(t, sums, height);
}

// Heights are compiled apart, so that each has its sums in registers.
#define TILE_OF(h)                                                                                 \
    static void TILE(tile_rows_##h)(const inki_gemm_tile *t) { tile_whole(t, h, false); }          \
    static void TILE(tile_across_##h)(const inki_gemm_tile *t) { tile_whole(t, h, true); }
TILE_OF(2)
TILE_OF(4)
#if TILE_HEIGHT >= 6
TILE_OF(6)
#endif
#if TILE_HEIGHT >= 14
TILE_OF(8)
TILE_OF(10)
TILE_OF(12)
TILE_OF(14)
#endif
#undef TILE_OF

typedef void (*tile_fn)(const inki_gemm_tile *tile);

static void TILE(tile_run)(const inki_gemm_tile *t) {
#define TILE_PAIR(h)                                                                               \
    { TILE(tile_rows_##h), TILE(tile_across_##h) }
    static const tile_fn whole[][2] = {
        TILE_PAIR(2),
        TILE_PAIR(4),
#if TILE_HEIGHT >= 6
        TILE_PAIR(6),
#endif
#if TILE_HEIGHT >= 14
        TILE_PAIR(8),
        TILE_PAIR(10),
        TILE_PAIR(12),
        TILE_PAIR(14),
#endif
    };
#undef TILE_PAIR
    const tile_fn fn = whole[(t->n_rows + 1) / 2 - 1][t->across];
    for (size_t i = 0; t->far && i < t->n_rows; i++)
        inki_prefetch((uintptr_t)(t->c + i * t->c_stride), t->n_cols * sizeof(float));
    if (t->n_cols == TILE_WIDTH && t->n_rows % 2 == 0) {
        fn(t);
        return;
    }
    // At the edge of C: the whole tile aside, then what exists of it, by the same operations.
    float aside[TILE_HEIGHT * TILE_WIDTH];
    inki_gemm_tile edge = *t;
    edge.c = aside;
    edge.c_stride = TILE_WIDTH;
    edge.bias = NULL;
    edge.add = false;
    fn(&edge);
    for (size_t i = 0; i < t->n_rows; i++) {
        float *c = t->c + i * t->c_stride;
        for (size_t j = 0; j < t->n_cols; j++) {
            float sum = aside[i * TILE_WIDTH + j];
            if (t->bias != NULL) sum += t->bias[j];
            c[j] = t->add ? c[j] + sum : sum;
        }
    }
}

#endif
