// SPDX-License-Identifier: MIT
// Products of block weights with byte activations. Lanes are weight rows: a group of sixteen rows
// has one float sum a lane and activation row, to which the blocks are added in rising order, so
// neither the number of rows nor that of activations changes the order of any output's terms.
//
// Few activation rows: one or two groups at a time, straight from memory, whose speed is then the
// limit; meanwhile the next groups are fetched in the order of their bytes. Many: weights are
// unpacked once into a panel on the stack that all activation rows meet.
#include "kernels/levels.h"
#include "kernels/target.h"

#include "base/prefetch.h"

#if defined(INKI_HAVE_X86)
#include <immintrin.h>
#include <string.h>

#include "kernels/blocks_unpack_avx512vnni.h"

INKI_TARGET_BEGIN_AVX512VNNI

enum {
    VNNI_MAX_SINGLE = 4,    // more activation rows than this meet two groups at a time (pairs),
    VNNI_MAX_DIRECT = 8,    // more than this a panel
    VNNI_PANEL_ROWS = 32,   // two groups
    VNNI_PANEL_BLOCKS = 16, // 512 columns
    VNNI_TILE = 6           // activation rows that meet a panel at a time
};

// Activations of a call: rows at q, `stride` bytes apart; and of the weights what decides how an
// integer product begins.
typedef struct acts_avx512vnni {
    const uint8_t *q;
    size_t stride, n_cols;
    int16_t zero;
    bool fine;
} acts_avx512vnni;

// A chunk of an activation row, what belongs to each block as one number: its scale; for each
// sixteen columns (one, or two where scales are fine) minus zero times their sum, from which the
// integer product starts; and scale times sum, for types with a minimum.
typedef struct act_chunk_avx512vnni {
    _Alignas(32) float d[VNNI_CHUNK_BLOCKS];
    float d_sum[VNNI_CHUNK_BLOCKS];
    int32_t start[2][VNNI_CHUNK_BLOCKS];
} act_chunk_avx512vnni;

// n_rows activation rows' chunks of n blocks, from row b and block `first` on.
INKI_APART_AVX512VNNI void load_acts_avx512vnni(act_chunk_avx512vnni *c, const acts_avx512vnni *a,
                                                size_t b, size_t n_rows, size_t first, size_t n) {
    const uint8_t *d_row = a->q + b * a->stride + a->n_cols + 4 * first;
    const uint8_t *sum_row = d_row + a->n_cols / 8;
    const __mmask8 mask = (__mmask8)((1u << n) - 1);
    const __m256i even = _mm256_set1_epi32((uint16_t)-a->zero);
    const __m256i odd = _mm256_slli_epi32(even, 16), both = _mm256_or_si256(even, odd);
    for (; n_rows > 0; n_rows--, c++, d_row += a->stride, sum_row += a->stride) {
        const __m256 d = _mm256_maskz_loadu_ps(mask, d_row);
        const __m256i sums = _mm256_maskz_loadu_epi32(mask, sum_row);
        const __m256i total = _mm256_madd_epi16(sums, _mm256_set1_epi16(1));
        _mm256_store_ps(c->d, d);
        _mm256_store_ps(c->d_sum, _mm256_mul_ps(d, _mm256_cvtepi32_ps(total)));
        const __m256i start = _mm256_madd_epi16(sums, a->fine ? even : both);
        _mm256_store_si256((void *)c->start[0], start);
        _mm256_store_si256((void *)c->start[1], _mm256_madd_epi16(sums, odd));
    }
}

// sum + idot * (d * dx)
INKI_TEMPLATE __m512 scale_avx512vnni(__m512 sum, __m512i idot, __m512 d, float dx) {
    return _mm512_fmadd_ps(_mm512_cvtepi32_ps(idot), _mm512_mul_ps(d, _mm512_set1_ps(dx)), sum);
}

// --- few activation rows -----------------------------------------------------------------------

// Adds to sum [n_groups] block j of a chunk, which is block k of the unit w, times 32 activations
// at x.
INKI_TEMPLATE void add_block_avx512vnni(const type_avx512vnni *type, __m512 *sum,
                                        __m512i w[][8 * VNNI_MAX_UNIT_BLOCKS], size_t k,
                                        const scales_avx512vnni *s, size_t n_groups,
                                        const act_chunk_avx512vnni *c, size_t j, const uint8_t *x) {
    const size_t n_parts = type->fine ? 2 : 1, n = 8 / n_parts;
    for (size_t i = 0; i < n_parts; i++) {
        __m512i acc[2];
        acc[0] = acc[1] = _mm512_set1_epi32(type->zero != 0 ? c->start[i][j] : 0);
        for (size_t t = n * i; t < n * (i + 1); t++) {
            int32_t four;
            memcpy(&four, x + 4 * t, sizeof four);
            for (size_t g = 0; g < n_groups; g++)
                acc[g] = _mm512_dpbusd_epi32(acc[g], w[g][8 * k + t], _mm512_set1_epi32(four));
        }
        for (size_t g = 0; g < n_groups; g++)
            sum[g] =
                scale_avx512vnni(sum[g], acc[g], _mm512_load_ps(s[g].d[n_parts * j + i]), c->d[j]);
    }
    for (size_t g = 0; type->has_min && g < n_groups; g++)
        sum[g] = _mm512_fmadd_ps(_mm512_load_ps(s[g].min[j]), _mm512_set1_ps(c->d_sum[j]), sum[g]);
}

// sums [n_batch][n_groups] = the groups' weight rows times each activation row. `next` is fetched
// meanwhile.
INKI_TEMPLATE void direct_group_avx512vnni(const type_avx512vnni *type, __m512 sums[][2],
                                           rows_avx512vnni *r, size_t n_groups,
                                           const acts_avx512vnni *a, size_t n_batch,
                                           uintptr_t next) {
    const size_t n_blocks = a->n_cols / INKI_Q8_BLOCK;
    const size_t unit_bytes =
        n_groups * VNNI_ROWS * type->chunk_bytes / VNNI_CHUNK_BLOCKS * type->unit_blocks;
    const uint8_t *x = a->q;
    scales_avx512vnni s[2];
    for (size_t b = 0; b < n_batch; b++) sums[b][0] = sums[b][1] = _mm512_setzero_ps();
    for (size_t first = 0; first < n_blocks; first += VNNI_CHUNK_BLOCKS) {
        const size_t left = n_blocks - first,
                     n = left < VNNI_CHUNK_BLOCKS ? left : VNNI_CHUNK_BLOCKS;
        act_chunk_avx512vnni c[VNNI_MAX_DIRECT];
        load_acts_avx512vnni(c, a, 0, n_batch, first, n);
        for (size_t g = 0; g < n_groups; g++) type->scales(&s[g], &r[g], n);
        for (size_t j = 0; j < n; j += type->unit_blocks, next += unit_bytes) {
            inki_prefetch(next, unit_bytes);
            __m512i w[2][8 * VNNI_MAX_UNIT_BLOCKS];
            for (size_t g = 0; g < n_groups; g++) type->unpack(w[g], &r[g], j / type->unit_blocks);
            for (size_t k = 0; k < type->unit_blocks; k++, x += INKI_Q8_BLOCK)
                for (size_t b = 0; b < n_batch; b++)
                    add_block_avx512vnni(type, sums[b], w, k, s, n_groups, &c[b], j + k,
                                         x + b * a->stride);
        }
        for (size_t g = 0; g < n_groups; g++)
            for (int i = 0; i < 4; i++) r[g].at[i] += type->chunk_bytes;
    }
}

// n_rows >= 16 n_groups or, for one group, any number.
INKI_TEMPLATE void direct_avx512vnni(const type_avx512vnni *type, float *out, size_t out_stride,
                                     const uint8_t *weights, size_t row_bytes,
                                     const acts_avx512vnni *a, const float *bias, size_t n_rows,
                                     size_t n_batch, size_t n_groups) {
    // The last groups end with the last row: some rows are computed twice, to the same numbers.
    // Where there are fewer than sixteen, all lanes take the same row.
    const bool narrow = n_rows < VNNI_ROWS;
    const size_t step = narrow ? 1 : n_groups * VNNI_ROWS, last = n_rows - step;
    const __mmask16 mask = narrow ? 1 : 0xffff;
    if (!narrow) inki_prefetch((uintptr_t)weights, step * row_bytes);
    for (size_t i = 0; i < n_rows; i += step) {
        const size_t row = i < last ? i : last;
        const uint8_t *w = weights + row * row_bytes;
        rows_avx512vnni r[2];
        for (size_t g = 0; g < n_groups; g++)
            r[g] = rows_of_avx512vnni(w + g * VNNI_ROWS * row_bytes, narrow ? 0 : row_bytes);
        __m512 sums[VNNI_MAX_DIRECT][2];
        const uint8_t *next = i < last ? w + step * row_bytes : w;
        direct_group_avx512vnni(type, sums, r, n_groups, a, n_batch, (uintptr_t)next);
        for (size_t b = 0; b < n_batch; b++)
            for (size_t g = 0; g < n_groups; g++) {
                const size_t at = row + g * VNNI_ROWS;
                if (bias != NULL)
                    sums[b][g] = _mm512_add_ps(sums[b][g], _mm512_maskz_loadu_ps(mask, bias + at));
                _mm512_mask_storeu_ps(out + b * out_stride + at, mask, sums[b][g]);
            }
    }
}

// --- many activation rows ----------------------------------------------------------------------

// Two groups' weights of up to two chunks, unpacked: some 20 KB, which stay in the first cache
// while the activations pass by.
typedef struct panel_avx512vnni {
    __m512i w[VNNI_PANEL_BLOCKS][8][2];
    __m512 d[2 * VNNI_PANEL_BLOCKS][2]; // each block's, or two where scales are fine
    __m512 min[VNNI_PANEL_BLOCKS][2];
    size_t first, n_blocks; // the blocks of a row that are here
    // The next panel's bytes, of which `step` lines are fetched with each block of a tile.
    const uint8_t *next, *next_end;
    size_t step;
} panel_avx512vnni;

// Fills group g of the panel from the rows, which begin with its first block.
INKI_TEMPLATE void panel_fill_avx512vnni(const type_avx512vnni *type, panel_avx512vnni *p, size_t g,
                                         rows_avx512vnni r) {
    const size_t n_d = type->fine ? 2 : 1;
    for (size_t first = 0; first < p->n_blocks; first += VNNI_CHUNK_BLOCKS) {
        const size_t left = p->n_blocks - first;
        const size_t n = left < VNNI_CHUNK_BLOCKS ? left : VNNI_CHUNK_BLOCKS;
        scales_avx512vnni s;
        type->scales(&s, &r, n);
        for (size_t j = 0; j < n * n_d; j++) p->d[first * n_d + j][g] = _mm512_load_ps(s.d[j]);
        for (size_t j = 0; type->has_min && j < n; j++)
            p->min[first + j][g] = _mm512_load_ps(s.min[j]);
        for (size_t j = 0; j < n; j += type->unit_blocks) {
            __m512i w[8 * VNNI_MAX_UNIT_BLOCKS];
            type->unpack(w, &r, j / type->unit_blocks);
            for (size_t t = 0; t < 8 * type->unit_blocks; t++)
                p->w[first + j + t / 8][t % 8][g] = w[t];
        }
        for (int i = 0; i < 4; i++) r.at[i] += type->chunk_bytes;
    }
}

INKI_TEMPLATE void panel_fetch_avx512vnni(panel_avx512vnni *p) {
    for (size_t i = 0; i < p->step && p->next < p->next_end; i++, p->next += 64)
        _mm_prefetch((const char *)p->next, _MM_HINT_T1);
}

// acc += n registers of a block for each group, times each row's activations.
INKI_TEMPLATE void tile_dot_avx512vnni(__m512i acc[][2], __m512i w[][2], const uint8_t *x,
                                       size_t stride, size_t n_tile, size_t n) {
    for (size_t t = 0; t < n; t++)
        for (size_t b = 0; b < n_tile; b++) {
            int32_t four;
            memcpy(&four, x + b * stride + 4 * t, sizeof four);
            const __m512i v = _mm512_set1_epi32(four);
            acc[b][0] = _mm512_dpbusd_epi32(acc[b][0], w[t][0], v);
            acc[b][1] = _mm512_dpbusd_epi32(acc[b][1], w[t][1], v);
        }
}

// Adds the panel times n_tile activation rows from b0 on to their sums, which wait in `out` between
// a row's panels: a float stored and read is the same float.
INKI_TEMPLATE void tile_avx512vnni(float *out, size_t out_stride, panel_avx512vnni *p,
                                   const acts_avx512vnni *a, act_chunk_avx512vnni c[][VNNI_TILE],
                                   size_t b0, size_t n_tile, bool fine, bool has_min) {
    __m512 sums[VNNI_TILE][2];
    out += b0 * out_stride;
    for (size_t b = 0; b < n_tile; b++)
        for (size_t g = 0; g < 2; g++)
            sums[b][g] = p->first == 0 ? _mm512_setzero_ps()
                                       : _mm512_loadu_ps(out + b * out_stride + VNNI_ROWS * g);
    const uint8_t *x = a->q + b0 * a->stride + p->first * INKI_Q8_BLOCK;
    const size_t n_parts = fine ? 2 : 1;
    for (size_t j = 0; j < p->n_blocks; j++, x += INKI_Q8_BLOCK) {
        const act_chunk_avx512vnni *cj = c[j / VNNI_CHUNK_BLOCKS];
        const size_t k = j % VNNI_CHUNK_BLOCKS;
        panel_fetch_avx512vnni(p);
        for (size_t i = 0; i < n_parts; i++) {
            __m512i acc[VNNI_TILE][2];
            for (size_t b = 0; b < n_tile; b++)
                acc[b][0] = acc[b][1] = _mm512_set1_epi32(cj[b].start[i][k]);
            tile_dot_avx512vnni(acc, p->w[j] + 4 * i, x + 16 * i, a->stride, n_tile, 8 / n_parts);
            for (size_t b = 0; b < n_tile; b++)
                for (size_t g = 0; g < 2; g++)
                    sums[b][g] = scale_avx512vnni(sums[b][g], acc[b][g], p->d[n_parts * j + i][g],
                                                  cj[b].d[k]);
        }
        for (size_t b = 0; has_min && b < n_tile; b++)
            for (size_t g = 0; g < 2; g++)
                sums[b][g] =
                    _mm512_fmadd_ps(p->min[j][g], _mm512_set1_ps(cj[b].d_sum[k]), sums[b][g]);
    }
    for (size_t b = 0; b < n_tile; b++)
        for (size_t g = 0; g < 2; g++)
            _mm512_storeu_ps(out + b * out_stride + VNNI_ROWS * g, sums[b][g]);
}

// All activation rows against a panel, in tiles of 6, 4, 2 or 1.
INKI_TEMPLATE void panel_run_avx512vnni(float *out, size_t out_stride, panel_avx512vnni *p,
                                        const acts_avx512vnni *a, size_t n_batch, bool fine,
                                        bool has_min) {
    act_chunk_avx512vnni c[VNNI_PANEL_BLOCKS / VNNI_CHUNK_BLOCKS][VNNI_TILE];
    for (size_t b = 0, n; b < n_batch; b += n) {
        n = n_batch - b;
        n = n >= VNNI_TILE ? VNNI_TILE : n >= 4 ? 4 : n >= 2 ? 2 : 1;
        for (size_t j = 0; j < p->n_blocks; j += VNNI_CHUNK_BLOCKS) {
            const size_t left = p->n_blocks - j;
            load_acts_avx512vnni(c[j / VNNI_CHUNK_BLOCKS], a, b, n, p->first + j,
                                 left < VNNI_CHUNK_BLOCKS ? left : VNNI_CHUNK_BLOCKS);
        }
        switch (n) {
        case VNNI_TILE:
            tile_avx512vnni(out, out_stride, p, a, c, b, VNNI_TILE, fine, has_min);
            break;
        case 4: tile_avx512vnni(out, out_stride, p, a, c, b, 4, fine, has_min); break;
        case 2: tile_avx512vnni(out, out_stride, p, a, c, b, 2, fine, has_min); break;
        default: tile_avx512vnni(out, out_stride, p, a, c, b, 1, fine, has_min); break;
        }
    }
}

// One function for each way of scaling, not for each type.
#define VNNI_RUN(name, fine, has_min)                                                              \
    INKI_APART_AVX512VNNI void name(float *out, size_t out_stride, panel_avx512vnni *p,            \
                                    const acts_avx512vnni *a, size_t n_batch) {                    \
        panel_run_avx512vnni(out, out_stride, p, a, n_batch, fine, has_min);                       \
    }
VNNI_RUN(run_plain_avx512vnni, false, false)
VNNI_RUN(run_min_avx512vnni, false, true)
VNNI_RUN(run_fine_avx512vnni, true, false)
#undef VNNI_RUN

static void add_bias_avx512vnni(float *out, size_t out_stride, const float *bias, size_t n_batch) {
    for (size_t b = 0; b < n_batch; b++, out += out_stride)
        for (size_t g = 0; g < VNNI_PANEL_ROWS; g += VNNI_ROWS)
            _mm512_storeu_ps(out + g,
                             _mm512_add_ps(_mm512_loadu_ps(out + g), _mm512_loadu_ps(bias + g)));
}

// n_rows >= VNNI_PANEL_ROWS. The last panel ends with the last row: some rows are computed twice,
// from the start, to the same numbers.
INKI_TEMPLATE void panels_avx512vnni(const type_avx512vnni *type, float *out, size_t out_stride,
                                     const uint8_t *weights, size_t row_bytes,
                                     const acts_avx512vnni *a, const float *bias, size_t n_rows,
                                     size_t n_batch) {
    const size_t n_blocks = a->n_cols / INKI_Q8_BLOCK, last = n_rows - VNNI_PANEL_ROWS;
    const size_t rest = n_batch % VNNI_TILE; // 4, 2 and 1 make up any number below 6
    const size_t n_tiles = n_batch / VNNI_TILE + rest / 4 + rest / 2 % 2 + rest % 2;
    panel_avx512vnni p;
    p.step = VNNI_PANEL_ROWS * type->chunk_bytes / VNNI_CHUNK_BLOCKS / (64 * n_tiles) + 1;
    inki_prefetch((uintptr_t)weights, VNNI_PANEL_ROWS * row_bytes);
    for (size_t i = 0; i < n_rows; i += VNNI_PANEL_ROWS) {
        const size_t row = i < last ? i : last;
        const size_t n_next = last - row < VNNI_PANEL_ROWS ? last - row : VNNI_PANEL_ROWS;
        p.next = weights + (row + VNNI_PANEL_ROWS) * row_bytes;
        p.next_end = p.next + n_next * row_bytes;
        for (p.first = 0; p.first < n_blocks; p.first += VNNI_PANEL_BLOCKS) {
            const size_t left = n_blocks - p.first;
            p.n_blocks = left < VNNI_PANEL_BLOCKS ? left : VNNI_PANEL_BLOCKS;
            const uint8_t *w =
                weights + row * row_bytes + p.first / VNNI_CHUNK_BLOCKS * type->chunk_bytes;
            for (size_t g = 0; g < 2; g++, w += VNNI_ROWS * row_bytes)
                panel_fill_avx512vnni(type, &p, g, rows_of_avx512vnni(w, row_bytes));
            if (type->fine)
                run_fine_avx512vnni(out + row, out_stride, &p, a, n_batch);
            else if (type->has_min)
                run_min_avx512vnni(out + row, out_stride, &p, a, n_batch);
            else
                run_plain_avx512vnni(out + row, out_stride, &p, a, n_batch);
        }
        if (bias != NULL) add_bias_avx512vnni(out + row, out_stride, bias + row, n_batch);
    }
}

INKI_TEMPLATE void matmul_avx512vnni(const type_avx512vnni *type, float *out, size_t out_stride,
                                     const uint8_t *weights, size_t row_bytes, acts_avx512vnni a,
                                     const float *bias, size_t n_rows, size_t n_batch) {
    if (n_batch > VNNI_MAX_DIRECT && n_rows >= 2 * VNNI_ROWS) {
        panels_avx512vnni(type, out, out_stride, weights, row_bytes, &a, bias, n_rows, n_batch);
        return;
    }
    if (type->pairs && n_batch > VNNI_MAX_SINGLE && n_rows >= 2 * VNNI_ROWS) {
        direct_avx512vnni(type, out, out_stride, weights, row_bytes, &a, bias, n_rows, n_batch, 2);
        return;
    }
    const size_t most = type->pairs ? VNNI_MAX_SINGLE : VNNI_MAX_DIRECT;
    while (n_batch > 0) { // more than once only for parts of less than two groups, which are rare
        const size_t n = n_batch < most ? n_batch : most;
        if (n == 1)
            direct_avx512vnni(type, out, out_stride, weights, row_bytes, &a, bias, n_rows, 1, 1);
        else
            direct_avx512vnni(type, out, out_stride, weights, row_bytes, &a, bias, n_rows, n, 1);
        a.q += n * a.stride;
        out += n * out_stride;
        n_batch -= n;
    }
}

#define VNNI_SLOT(name, type)                                                                      \
    static void name(float *out, size_t out_stride, const void *weights, size_t row_bytes,         \
                     const void *acts, size_t act_stride, const float *bias, size_t n_rows,        \
                     size_t n_cols, size_t n_batch) {                                              \
        const acts_avx512vnni a = {(const uint8_t *)acts, act_stride, n_cols, (type).zero,         \
                                   (type).fine};                                                   \
        matmul_avx512vnni(&type, out, out_stride, (const uint8_t *)weights, row_bytes, a, bias,    \
                          n_rows, n_batch);                                                        \
    }
VNNI_SLOT(matmul_q8_0_avx512vnni, type_q8_0_avx512vnni)
VNNI_SLOT(matmul_q4_0_avx512vnni, type_q4_0_avx512vnni)
VNNI_SLOT(matmul_q5_0_avx512vnni, type_q5_0_avx512vnni)
VNNI_SLOT(matmul_q4_k_avx512vnni, type_q4_k_avx512vnni)
VNNI_SLOT(matmul_q5_k_avx512vnni, type_q5_k_avx512vnni)
VNNI_SLOT(matmul_q6_k_avx512vnni, type_q6_k_avx512vnni)
#undef VNNI_SLOT
#undef INKI_APART_AVX512VNNI

INKI_TARGET_END

void inki_blocks_avx512vnni(inki_kernels *table) {
    table->matmul[INKI_Q8_0] = matmul_q8_0_avx512vnni;
    table->matmul[INKI_Q4_0] = matmul_q4_0_avx512vnni;
    table->matmul[INKI_Q5_0] = matmul_q5_0_avx512vnni;
    table->matmul[INKI_Q4_K] = matmul_q4_k_avx512vnni;
    table->matmul[INKI_Q5_K] = matmul_q5_k_avx512vnni;
    table->matmul[INKI_Q6_K] = matmul_q6_k_avx512vnni;
}
#endif
