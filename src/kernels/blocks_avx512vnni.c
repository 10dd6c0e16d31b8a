// SPDX-License-Identifier: MIT
// Products of block weights with byte activations. Lanes are weight rows: a group of sixteen rows
// has one float sum a lane and activation row, to which the blocks are added in rising order, so
// neither the number of rows nor that of activations changes the order of any output's terms.
//
// One activation row: one group at a time, straight from memory, whose speed is then the limit;
// meanwhile the next groups are fetched in the order of their bytes. A few, with types that unpack
// easily: the same with one or two groups. Otherwise weights are unpacked once into a panel on the
// stack that all activation rows meet.
//
// What unpacks is copied into each of these ways; the rest stands here once for all types.
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
    VNNI_MAX_DIRECT = 8,    // more than this a panel in any case
    VNNI_PANEL_ROWS = 32,   // two groups
    VNNI_PANEL_BLOCKS = 16, // 512 columns
    VNNI_TILE = 6,          // activation rows that meet a panel at a time
    // Lines are asked for twice, first these bytes ahead: a processor drops such requests while its
    // list of misses is full, and the second one finds that long before the line is read.
    VNNI_AHEAD = 6144
};

// Activations of a call: rows at q, `stride` bytes apart; and of the weights what decides how an
// integer product begins.
typedef struct acts_avx512vnni {
    const uint8_t *q;
    size_t stride, n_cols;
    int16_t zero;
    bool fine;
} acts_avx512vnni;

// A piece of an activation row, what belongs to each sum of integers (a block's, or where scales
// are fine a half block's) as one number: the block's scale, and minus zero times the sum of the
// bytes, from which the integer product starts; and for each block scale times sum, for types with
// a minimum.
typedef struct act_piece_avx512vnni {
    _Alignas(64) float d[2 * VNNI_PANEL_BLOCKS];
    int32_t start[2 * VNNI_PANEL_BLOCKS];
    float d_sum[VNNI_PANEL_BLOCKS];
} act_piece_avx512vnni;

// Block j to j + n - 1, n <= 8, of n_rows activation rows' pieces; `from` is the first one's scale.
INKI_APART void load_acts_avx512vnni(act_piece_avx512vnni *c, size_t j, const acts_avx512vnni *a,
                                     const uint8_t *from, size_t n_rows, size_t n) {
    const __mmask8 mask = (__mmask8)((1u << n) - 1);
    const __m256i zero = _mm256_set1_epi16((int16_t)-a->zero), one = _mm256_set1_epi16(1);
    const size_t stride = a->stride, sum_at = a->n_cols / 8;
    for (; n_rows > 0; n_rows--, c++, from += stride) {
        const __m256 d = _mm256_maskz_loadu_ps(mask, from);
        const __m256i sums = _mm256_maskz_loadu_epi32(mask, from + sum_at);
        const __m256 total = _mm256_cvtepi32_ps(_mm256_madd_epi16(sums, one));
        _mm256_store_ps(c->d + j, d);
        _mm256_store_ps(c->d_sum + j, _mm256_mul_ps(d, total));
        _mm256_store_si256((void *)(c->start + j), _mm256_madd_epi16(sums, zero));
    }
}

// The same where scales are fine: two numbers for each block.
INKI_APART void load_fine_acts_avx512vnni(act_piece_avx512vnni *c, size_t j,
                                          const acts_avx512vnni *a, const uint8_t *from,
                                          size_t n_rows, size_t n) {
    const __mmask8 mask = (__mmask8)((1u << n) - 1);
    const __m512i twice = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
    const __m512i zero = _mm512_set1_epi32(-a->zero);
    const size_t stride = a->stride, sum_at = a->n_cols / 8;
    for (; n_rows > 0; n_rows--, c++, from += stride) {
        const __m512 d = _mm512_castps256_ps512(_mm256_maskz_loadu_ps(mask, from));
        const __m512i sums = _mm512_cvtepi16_epi32(_mm256_maskz_loadu_epi32(mask, from + sum_at));
        _mm512_store_ps(c->d + 2 * j, _mm512_permutexvar_ps(twice, d));
        _mm512_store_si512(c->start + 2 * j, _mm512_mullo_epi32(sums, zero));
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
                                        const act_piece_avx512vnni *c, size_t j, const uint8_t *x) {
    const size_t n_parts = type->is.fine ? 2 : 1, n = 8 / n_parts;
    for (size_t i = 0; i < n_parts; i++) {
        __m512i acc[2];
        const size_t at = n_parts * j + i;
        acc[0] = acc[1] = _mm512_set1_epi32(type->is.zero != 0 ? c->start[at] : 0);
        for (size_t t = n * i; t < n * (i + 1); t++) {
            int32_t four;
            memcpy(&four, x + 4 * t, sizeof four);
            for (size_t g = 0; g < n_groups; g++)
                acc[g] = _mm512_dpbusd_epi32(acc[g], w[g][8 * k + t], _mm512_set1_epi32(four));
        }
        for (size_t g = 0; g < n_groups; g++)
            sum[g] = scale_avx512vnni(sum[g], acc[g], _mm512_load_ps(s[g].d[at]), c->d[at]);
    }
    for (size_t g = 0; type->is.has_min && g < n_groups; g++)
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
        n_groups * VNNI_ROWS * type->is.chunk_bytes / VNNI_CHUNK_BLOCKS * type->is.unit_blocks;
    const uint8_t *x = a->q;
    scales_avx512vnni s[2];
    for (size_t b = 0; b < n_batch; b++) sums[b][0] = sums[b][1] = _mm512_setzero_ps();
    for (size_t first = 0; first < n_blocks; first += VNNI_CHUNK_BLOCKS) {
        const size_t left = n_blocks - first,
                     n = left < VNNI_CHUNK_BLOCKS ? left : VNNI_CHUNK_BLOCKS;
        act_piece_avx512vnni c[VNNI_MAX_DIRECT];
        const uint8_t *scales = a->q + a->n_cols + 4 * first;
        if (type->is.fine)
            load_fine_acts_avx512vnni(c, 0, a, scales, n_batch, n);
        else
            load_acts_avx512vnni(c, 0, a, scales, n_batch, n);
        for (size_t g = 0; g < n_groups; g++) type->scales(&s[g], &r[g], n);
        for (size_t j = 0; j < n; j += type->is.unit_blocks, next += unit_bytes) {
            inki_prefetch(next + VNNI_AHEAD, unit_bytes);
            inki_prefetch(next, unit_bytes);
            __m512i w[2][8 * VNNI_MAX_UNIT_BLOCKS];
            for (size_t g = 0; g < n_groups; g++)
                type->unpack(w[g], &r[g], j / type->is.unit_blocks);
            for (size_t k = 0; k < type->is.unit_blocks; k++, x += INKI_Q8_BLOCK)
                for (size_t b = 0; b < n_batch; b++)
                    add_block_avx512vnni(type, sums[b], w, k, s, n_groups, &c[b], j + k,
                                         x + b * a->stride);
        }
        for (size_t g = 0; g < n_groups; g++)
            for (int i = 0; i < 4; i++) r[g].at[i] += type->is.chunk_bytes;
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
// while the activations pass by. A sum of integers takes `quads` times four steps, whose registers
// follow one another, as do the sums' scales.
typedef struct panel_avx512vnni {
    __m512i w[8 * VNNI_PANEL_BLOCKS][2];
    __m512 d[2 * VNNI_PANEL_BLOCKS][2]; // each block's, or two where scales are fine
    __m512 min[VNNI_PANEL_BLOCKS][2];
    size_t quads;
    bool has_min;
    size_t first, n_blocks; // the blocks of a row that are here
    // The next panel's bytes, of which `step` lines are fetched with each sum of a tile, and n_fill
    // times as many with each unit of several blocks that is filled in.
    const uint8_t *next, *next_end;
    size_t step, n_fill;
} panel_avx512vnni;

// A type's ways: one activation row; a few of them, with one group of weight rows and with two, or
// NULL; and what fills a group of a panel, which takes two numbers and no struct: one that is
// passed by value would be read before its stores have arrived.
typedef void (*direct_fn_avx512vnni)(float *out, size_t out_stride, const uint8_t *weights,
                                     size_t row_bytes, const acts_avx512vnni *a, const float *bias,
                                     size_t n_rows, size_t n_batch);
typedef struct kind_avx512vnni {
    const facts_avx512vnni *facts;
    direct_fn_avx512vnni one, few, pairs;
    void (*fill)(panel_avx512vnni *p, size_t g, const uint8_t *w, size_t row_bytes);
} kind_avx512vnni;

INKI_TEMPLATE void panel_fetch_avx512vnni(panel_avx512vnni *p) {
    for (size_t i = 0; i < p->step && p->next < p->next_end; i++, p->next += 64)
        _mm_prefetch((const char *)p->next, _MM_HINT_T0);
}

INKI_APART void panel_fetch_filling_avx512vnni(panel_avx512vnni *p) {
    for (size_t i = p->n_fill; i > 0; i--) panel_fetch_avx512vnni(p);
}

// Fills group g of the panel from the rows, which begin with its first block.
INKI_TEMPLATE void panel_fill_avx512vnni(const type_avx512vnni *type, panel_avx512vnni *p, size_t g,
                                         rows_avx512vnni r) {
    const size_t n_d = type->is.fine ? 2 : 1, unit = type->is.unit_blocks;
    for (size_t first = 0; first < p->n_blocks; first += VNNI_CHUNK_BLOCKS) {
        const size_t left = p->n_blocks - first;
        const size_t n = left < VNNI_CHUNK_BLOCKS ? left : VNNI_CHUNK_BLOCKS;
        scales_avx512vnni s;
        type->scales(&s, &r, n);
        for (size_t j = 0; j < n * n_d; j++) p->d[first * n_d + j][g] = _mm512_load_ps(s.d[j]);
        for (size_t j = 0; type->is.has_min && j < n; j++)
            p->min[first + j][g] = _mm512_load_ps(s.min[j]);
        for (size_t j = 0; j < n; j += unit) {
            __m512i w[8 * VNNI_MAX_UNIT_BLOCKS];
            if (unit > 1 && p->n_fill > 0) panel_fetch_filling_avx512vnni(p);
            type->unpack(w, &r, j / unit);
            for (size_t k = 0; k < unit; k++) // by eights: these are unrolled
                for (size_t t = 0; t < 8; t++) p->w[8 * (first + j + k) + t][g] = w[8 * k + t];
        }
        for (int i = 0; i < 4; i++) r.at[i] += type->is.chunk_bytes;
    }
}

// Adds the panel times n_tile activation rows from b0 on to their sums, which wait in `out` between
// a row's panels: a float stored and read is the same float. One loop for all types: what differs
// is how often the inner one runs, and a branch that always goes one way.
INKI_TEMPLATE void tile_avx512vnni(float *out, size_t out_stride, panel_avx512vnni *p,
                                   const acts_avx512vnni *a, const act_piece_avx512vnni *c,
                                   size_t b0, size_t n_tile) {
    __m512 sums[VNNI_TILE][2];
    out += b0 * out_stride;
    for (size_t b = 0; b < n_tile; b++)
        for (size_t g = 0; g < 2; g++)
            sums[b][g] = p->first == 0 ? _mm512_setzero_ps()
                                       : _mm512_loadu_ps(out + b * out_stride + VNNI_ROWS * g);
    const uint8_t *x = a->q + b0 * a->stride + p->first * INKI_Q8_BLOCK;
    const size_t stride = a->stride, n = p->n_blocks * (a->fine ? 2 : 1), quads = p->quads;
    const bool has_min = p->has_min;
    __m512i(*w)[2] = p->w;
    for (size_t k = 0; k < n; k++) {
        __m512i acc[VNNI_TILE][2];
        panel_fetch_avx512vnni(p);
        for (size_t b = 0; b < n_tile; b++)
            acc[b][0] = acc[b][1] = _mm512_set1_epi32(c[b].start[k]);
        size_t left = quads;
        do { // once or twice
            for (size_t t = 0; t < 4; t++)
                for (size_t b = 0; b < n_tile; b++) {
                    int32_t four;
                    memcpy(&four, x + b * stride + 4 * t, sizeof four);
                    const __m512i v = _mm512_set1_epi32(four);
                    acc[b][0] = _mm512_dpbusd_epi32(acc[b][0], w[t][0], v);
                    acc[b][1] = _mm512_dpbusd_epi32(acc[b][1], w[t][1], v);
                    // Behind this they must be there: gcc would gather and copy the sums.
                    __asm__("" : "+v"(acc[b][0]), "+v"(acc[b][1]));
                }
            w += 4;
            x += 16;
        } while (--left > 0);
        for (size_t b = 0; b < n_tile; b++)
            for (size_t g = 0; g < 2; g++)
                sums[b][g] = scale_avx512vnni(sums[b][g], acc[b][g], p->d[k][g], c[b].d[k]);
        if (!has_min) continue;
        for (size_t b = 0; b < n_tile; b++)
            for (size_t g = 0; g < 2; g++)
                sums[b][g] =
                    _mm512_fmadd_ps(p->min[k][g], _mm512_set1_ps(c[b].d_sum[k]), sums[b][g]);
    }
    for (size_t b = 0; b < n_tile; b++)
        for (size_t g = 0; g < 2; g++)
            _mm512_storeu_ps(out + b * out_stride + VNNI_ROWS * g, sums[b][g]);
}

// All activation rows against a panel, in tiles of 6, 4, 2 or 1.
INKI_APART void panel_run_avx512vnni(float *out, size_t out_stride, panel_avx512vnni *p,
                                     const acts_avx512vnni *a, size_t n_batch) {
    act_piece_avx512vnni c[VNNI_TILE];
    for (size_t b = 0, n; b < n_batch; b += n) {
        n = n_batch - b;
        n = n >= VNNI_TILE ? VNNI_TILE : n >= 4 ? 4 : n >= 2 ? 2 : 1;
        const uint8_t *from = a->q + b * a->stride + a->n_cols + 4 * p->first;
        for (size_t j = 0; j < p->n_blocks; j += 8, from += 32) {
            const size_t n_here = p->n_blocks - j < 8 ? p->n_blocks - j : 8;
            if (a->fine)
                load_fine_acts_avx512vnni(c, j, a, from, n, n_here);
            else
                load_acts_avx512vnni(c, j, a, from, n, n_here);
        }
        switch (n) {
        case VNNI_TILE: tile_avx512vnni(out, out_stride, p, a, c, b, VNNI_TILE); break;
        case 4: tile_avx512vnni(out, out_stride, p, a, c, b, 4); break;
        case 2: tile_avx512vnni(out, out_stride, p, a, c, b, 2); break;
        default: tile_avx512vnni(out, out_stride, p, a, c, b, 1); break;
        }
    }
}

static void add_bias_avx512vnni(float *out, size_t out_stride, const float *bias, size_t n_batch) {
    for (size_t b = 0; b < n_batch; b++, out += out_stride)
        for (size_t g = 0; g < VNNI_PANEL_ROWS; g += VNNI_ROWS)
            _mm512_storeu_ps(out + g,
                             _mm512_add_ps(_mm512_loadu_ps(out + g), _mm512_loadu_ps(bias + g)));
}

// n_rows >= VNNI_PANEL_ROWS. The last panel ends with the last row: some rows are computed twice,
// from the start, to the same numbers.
INKI_APART void panels_avx512vnni(const kind_avx512vnni *kind, float *out, size_t out_stride,
                                  const uint8_t *weights, size_t row_bytes,
                                  const acts_avx512vnni *a, const float *bias, size_t n_rows,
                                  size_t n_batch) {
    const facts_avx512vnni *type = kind->facts;
    const size_t n_blocks = a->n_cols / INKI_Q8_BLOCK, last = n_rows - VNNI_PANEL_ROWS;
    const size_t rest = n_batch % VNNI_TILE; // 4, 2 and 1 make up any number below 6
    const size_t n_tiles = n_batch / VNNI_TILE + rest / 4 + rest / 2 % 2 + rest % 2;
    panel_avx512vnni p;
    p.quads = a->fine ? 1 : 2;
    p.has_min = type->has_min;
    // A few activation rows pass by so fast that what they ask for at once would be dropped: they
    // ask for two thirds of it while the panel is filled.
    p.n_fill = n_batch <= VNNI_MAX_SINGLE && type->unit_blocks > 1 ? type->unit_blocks : 0;
    const size_t n_steps = n_tiles + (p.n_fill > 0 ? 2 : 0);
    p.step = VNNI_PANEL_ROWS * type->chunk_bytes / VNNI_CHUNK_BLOCKS / (64 * n_steps) + 1;
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
                kind->fill(&p, g, w, row_bytes);
            panel_run_avx512vnni(out + row, out_stride, &p, a, n_batch);
        }
        if (bias != NULL) add_bias_avx512vnni(out + row, out_stride, bias + row, n_batch);
    }
}

static void matmul_avx512vnni(const kind_avx512vnni *kind, float *out, size_t out_stride,
                              const uint8_t *weights, size_t row_bytes, acts_avx512vnni a,
                              const float *bias, size_t n_rows, size_t n_batch) {
    if (n_batch > 1 && n_rows >= 2 * VNNI_ROWS) {
        if (kind->pairs != NULL && n_batch <= VNNI_MAX_DIRECT)
            (n_batch <= VNNI_MAX_SINGLE ? kind->few : kind->pairs)(
                out, out_stride, weights, row_bytes, &a, bias, n_rows, n_batch);
        else
            panels_avx512vnni(kind, out, out_stride, weights, row_bytes, &a, bias, n_rows, n_batch);
        return;
    }
    // More than once only for parts of less than two groups, which are rare.
    for (; n_batch > 0; n_batch--, a.q += a.stride, out += out_stride)
        kind->one(out, out_stride, weights, row_bytes, &a, bias, n_rows, 1);
}

#define VNNI_DIRECT(name, type, n_batch, n_groups)                                                 \
    INKI_APART void name##_avx512vnni(float *out, size_t out_stride, const uint8_t *weights,       \
                                      size_t row_bytes, const acts_avx512vnni *a,                  \
                                      const float *bias, size_t n_rows, size_t batch) {            \
        (void)batch;                                                                               \
        direct_avx512vnni(&type_##type##_avx512vnni, out, out_stride, weights, row_bytes, a, bias, \
                          n_rows, n_batch, n_groups);                                              \
    }
#define VNNI_SLOT(name, few, pairs)                                                                \
    VNNI_DIRECT(one_##name, name, 1, 1)                                                            \
    INKI_APART void fill_##name##_avx512vnni(panel_avx512vnni *p, size_t g, const uint8_t *w,      \
                                             size_t row_bytes) {                                   \
        panel_fill_avx512vnni(&type_##name##_avx512vnni, p, g, rows_of_avx512vnni(w, row_bytes));  \
    }                                                                                              \
    static const kind_avx512vnni kind_##name##_avx512vnni = {&facts_##name##_avx512vnni,           \
                                                             one_##name##_avx512vnni, few, pairs,  \
                                                             fill_##name##_avx512vnni};            \
    static void matmul_##name##_avx512vnni(                                                        \
        float *out, size_t out_stride, const void *weights, size_t row_bytes, const void *acts,    \
        size_t act_stride, const float *bias, size_t n_rows, size_t n_cols, size_t n_batch) {      \
        const acts_avx512vnni a = {(const uint8_t *)acts, act_stride, n_cols,                      \
                                   facts_##name##_avx512vnni.zero,                                 \
                                   facts_##name##_avx512vnni.fine};                                \
        matmul_avx512vnni(&kind_##name##_avx512vnni, out, out_stride, (const uint8_t *)weights,    \
                          row_bytes, a, bias, n_rows, n_batch);                                    \
    }
#define VNNI_AT_MOST(n, most) ((n) < (most) ? (n) : (most)) // the loop's end is known
VNNI_DIRECT(few_q8_0, q8_0, VNNI_AT_MOST(batch, VNNI_MAX_SINGLE), 1)
VNNI_DIRECT(few_q4_0, q4_0, VNNI_AT_MOST(batch, VNNI_MAX_SINGLE), 1)
VNNI_DIRECT(pairs_q8_0, q8_0, batch, 2)
VNNI_DIRECT(pairs_q4_0, q4_0, batch, 2)
VNNI_SLOT(q8_0, few_q8_0_avx512vnni, pairs_q8_0_avx512vnni)
VNNI_SLOT(q4_0, few_q4_0_avx512vnni, pairs_q4_0_avx512vnni)
VNNI_SLOT(q5_0, NULL, NULL)
VNNI_SLOT(q4_k, NULL, NULL)
VNNI_SLOT(q5_k, NULL, NULL)
VNNI_SLOT(q6_k, NULL, NULL)
#undef VNNI_AT_MOST
#undef VNNI_DIRECT
#undef VNNI_SLOT

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
