// SPDX-License-Identifier: MIT
//
// C is made in rounds. A round is a block of B (and of A, when A is transposed), packed into memory
// that all threads read, as large as a core's second cache; along k it has what a tile takes at
// once. While a round is multiplied, the next one is packed: threads take tasks of both kinds from
// one counter until none is left, so that a thread that is held up by another program holds up
// little. An output is summed over the rounds in rising k, and the blocks of k follow from k and
// the level alone: neither threads nor the cutting of rows and columns change a sum.
//
// Rows of A that are not transposed are packed by the thread that multiplies them, a few tiles at
// a time, and stay in its own cache.
#include "train/gemm.h"

#include "base/prefetch.h"
#include "kernels/target.h"
#include "train/gemm_parts.h"

#include <stdatomic.h>
#include <string.h>

enum {
    SHARED_CELLS = 256 * 1024, // of a packed block
    NEAR_CELLS = 256 * 1024,   // that fit into the second cache of a core
    LEAST_CELLS = 128,         // of a round of two packed operands, which ends with waiting
    UNIT_TILES = 4,            // tiles, one below the other, that a thread multiplies in one task
    PACK_CELLS = 16,           // along k, in a task of packing across
    SEGMENT = 512,             // columns that are widened at once
    SCRATCH = 32 * 1024,       // 2 PACK_CELLS rows of SEGMENT and what blocks add at both ends
    AHEAD = 4,                 // rows that are asked for ahead
    MAX_HEIGHT = 14,
    MAX_CELLS = 512,
    UNITS_A_THREAD = 8, // so that the end of a round is waited for shortly
};

// What a thread has for itself.
typedef struct gemm_own {
    float cells[UNIT_TILES * MAX_HEIGHT * MAX_CELLS];
    float scratch[SCRATCH];
} gemm_own;

// A or B in a round: [n] rows or columns of C from `first` on, in pieces (tiles, panels).
typedef struct gemm_side {
    const inki_operand *op;
    size_t first, n, grain, n_pieces;
    size_t each, extra; // grains of a piece; pieces, the first ones, that have one more
    float *cells;
    size_t n_tasks; // of packing
} gemm_side;

typedef struct gemm_round {
    gemm_side a, b;
    size_t k, n_k, n_cells; // from number k on; cells of n_k numbers
    size_t tiles_each, panels_each, n_across, n_units;
} gemm_round;

struct inki_gemm {
    inki_mem mem;
    const inki_kernels *kernels;
    inki_pool *pool;
    uint32_t n_threads;
    inki_precision precision;
    const inki_gemm_fns *fns;
    float *shared; // [2 rounds, A and B, SHARED_CELLS]
    gemm_own *own; // [n_threads]
    // Of the product that runs:
    const inki_product *product;
    uint32_t n_parts;
    size_t m_each, n_each, cells_each; // of a round
    size_t n_m, n_n, n_k;              // blocks
    const gemm_round *now, *next;      // what to multiply, what to pack; NULL: nothing
    _Alignas(INKI_ALIGN) atomic_size_t task;
};

static size_t min_of(size_t a, size_t b) { return a < b ? a : b; }
static size_t n_of(size_t n, size_t each) { return n / each + (n % each != 0); }
static size_t rounded_up(size_t n, size_t grain) { return n_of(n, grain) * grain; }

static const inki_gemm_fns *choose_fns(uint32_t level, inki_precision *precision) {
    const inki_precision wanted = *precision;
    *precision = INKI_PRECISION_F32;
#if defined(INKI_HAVE_X86)
    if (level >= INKI_LEVEL_AVX512 && wanted == INKI_PRECISION_BF16 && inki_gemm_has_bf16()) {
        *precision = wanted;
        return &inki_gemm_avx512bf16;
    }
    if (level >= INKI_LEVEL_AVX512) return &inki_gemm_avx512;
    if (level >= INKI_LEVEL_AVX2) return &inki_gemm_avx2;
#elif defined(INKI_HAVE_NEON)
    if (level >= INKI_LEVEL_NEON) return &inki_gemm_neon;
#endif
    (void)level;
    (void)wanted;
    return &inki_gemm_portable;
}

ink_status inki_gemm_new(inki_gemm **out, const inki_mem *mem, const inki_kernels *kernels,
                         uint32_t level, inki_precision precision, inki_pool *pool,
                         ink_error *error) {
    inki_gemm *gemm = inki_alloc_zero(mem, 1, sizeof *gemm);
    if (gemm == NULL) return inki_fail_nomem(error, sizeof *gemm);
    gemm->mem = *mem;
    gemm->kernels = kernels;
    gemm->pool = pool;
    gemm->n_threads = inki_pool_n_threads(pool);
    gemm->precision = precision;
    gemm->fns = choose_fns(level, &gemm->precision);
    gemm->shared = inki_alloc(mem, 4 * SHARED_CELLS, sizeof(float));
    gemm->own = inki_alloc(mem, gemm->n_threads, sizeof *gemm->own);
    if (gemm->shared == NULL || gemm->own == NULL) {
        const size_t bytes = 4 * SHARED_CELLS * sizeof(float) + gemm->n_threads * sizeof *gemm->own;
        inki_gemm_free(gemm);
        return inki_fail_nomem(error, bytes);
    }
    *out = gemm;
    return INK_OK;
}

void inki_gemm_free(inki_gemm *gemm) {
    if (gemm == NULL) return;
    const inki_mem mem = gemm->mem;
    inki_release(&mem, gemm->shared, 4 * SHARED_CELLS, sizeof(float));
    inki_release(&mem, gemm->own, gemm->n_threads, sizeof *gemm->own);
    inki_release(&mem, gemm, 1, sizeof *gemm);
}

inki_precision inki_gemm_precision(const inki_gemm *gemm) { return gemm->precision; }
void inki_gemm_use_pool(inki_gemm *gemm, inki_pool *pool) { gemm->pool = pool; }
const char *inki_gemm_level(const inki_gemm *gemm) { return gemm->fns->name; }

// Stored rows [row, row + n_rows) from `column` on, as floats: where they lie, or widened into
// scratch, for which rows are cut at the borders of blocks.
typedef struct gemm_view {
    const float *x;
    size_t stride;
} gemm_view;

static gemm_view view_rows(const inki_gemm *gemm, const inki_operand *op, size_t row, size_t n_rows,
                           size_t column, size_t n_columns, float *scratch) {
    const uint8_t *data = (const uint8_t *)op->data + row * op->stride;
    if (op->type == INKI_F32)
        return (gemm_view){(const float *)(const void *)data + column, op->stride / sizeof(float)};
    const inki_type_info type = inki_type_of(op->type);
    const size_t block = type.block_elems, begin = column / block * block;
    const size_t n = rounded_up(column + n_columns - begin, block);
    data += begin / block * type.block_bytes;
    for (size_t i = 0; i < n_rows; i++)
        gemm->kernels->dequantize[op->type](scratch + i * n, data + i * op->stride, n);
    return (gemm_view){scratch + (column - begin), n};
}

// The rows or columns of piece i: [*begin, *end) of the side. All but the last one are whole
// grains.
static void piece_of(const gemm_side *side, size_t i, size_t *begin, size_t *end) {
    *begin = side->grain * (side->each * i + min_of(i, side->extra));
    *end = min_of(side->n, *begin + side->grain * (side->each + (i < side->extra)));
}

static void cut_side(gemm_side *side, size_t height) {
    const size_t n_grains = n_of(side->n, side->grain);
    side->n_pieces = n_of(side->n, height);
    side->each = n_grains / side->n_pieces;
    side->extra = n_grains % side->n_pieces;
}

// Where the piece that begins there lies in shared cells. Without the one added, the same cell of
// many pieces would fall into the same few places of the first cache.
static size_t place_of(const gemm_round *round, size_t begin) {
    return begin * (round->n_cells + 1);
}

// One cell of pieces [first, last), x and next (NULL: none) being the rows of the first one's
// beginning.
static void pack_cell(const inki_gemm *gemm, const gemm_round *round, const gemm_side *side,
                      size_t first, size_t last, size_t cell, const float *x, const float *next) {
    size_t begin, end, start;
    piece_of(side, first, &start, &end);
    while (first < last) { // those of the same size at once
        const size_t until = first < side->extra ? min_of(side->extra, last) : last;
        const size_t pitch = side->grain * (side->each + (first < side->extra));
        piece_of(side, first, &begin, &end);
        float *out = side->cells + place_of(round, begin) + cell * pitch;
        piece_of(side, until - 1, &first, &end);
        const size_t at = begin - start;
        gemm->fns->pack_across(out, pitch, place_of(round, pitch), x + at,
                               next != NULL ? next + at : NULL, end - begin);
        first = until;
    }
}

// Stored rows run along C: PACK_CELLS cells of all pieces, one after the other, as they lie in
// memory. Processors do not foresee where the next row begins.
static void pack_across(inki_gemm *gemm, const gemm_round *round, const gemm_side *side,
                        size_t task, float *scratch) {
    const size_t per_cell = gemm->fns->per_cell;
    const size_t cell = task * PACK_CELLS, n_cells = min_of(PACK_CELLS, round->n_cells - cell);
    const size_t k = cell * per_cell, n_k = min_of(n_cells * per_cell, round->n_k - k);
    const bool direct = side->op->type == INKI_F32;
    const size_t each = direct ? side->n_pieces : SEGMENT / (side->grain * (side->each + 1));
    for (size_t first = 0, last; first < side->n_pieces; first = last) {
        size_t from, to, end;
        last = min_of(first + each, side->n_pieces);
        piece_of(side, first, &from, &end);
        piece_of(side, last - 1, &end, &to);
        const gemm_view view =
            view_rows(gemm, side->op, round->k + k, n_k, side->first + from, to - from, scratch);
        for (size_t i = 0; i < n_k; i += per_cell) {
            const float *x = view.x + i * view.stride;
            for (size_t ahead = i + AHEAD; direct && ahead < i + AHEAD + per_cell; ahead++)
                inki_prefetch((uintptr_t)view.x + ahead * view.stride * sizeof *x,
                              (to - from) * sizeof *x);
            pack_cell(gemm, round, side, first, last, cell + i / per_cell, x,
                      i + 1 < n_k && per_cell > 1 ? x + view.stride : NULL);
        }
    }
}

// Stored rows run along k: one panel.
static void pack_turned(inki_gemm *gemm, const gemm_round *round, size_t panel, float *scratch) {
    const gemm_side *side = &round->b;
    const size_t width = gemm->fns->width, group = min_of(width, 16);
    size_t begin, end;
    piece_of(side, panel, &begin, &end);
    float *out = side->cells + place_of(round, begin);
    for (size_t i = 0; i < width; i += group) {
        const size_t n_rows = begin + i < end ? min_of(group, end - begin - i) : 0;
        gemm_view view = {NULL, 0};
        if (n_rows > 0)
            view = view_rows(gemm, side->op, side->first + begin + i, n_rows, round->k, round->n_k,
                             scratch);
        gemm->fns->pack_turned(out + i, width, view.x, view.stride, n_rows, group, round->n_k);
    }
}

// Tiles [from, to) of A, of which rows run along k.
static void pack_own(inki_gemm *gemm, const gemm_round *round, size_t from, size_t to,
                     gemm_own *own) {
    const size_t n_cells = rounded_up(round->n_cells, INKI_GEMM_LINE);
    float *out = own->cells;
    for (size_t t = from; t < to; t++) {
        size_t begin, end;
        piece_of(&round->a, t, &begin, &end);
        const size_t height = rounded_up(end - begin, 2), pitch = height * INKI_GEMM_LINE;
        for (size_t i = begin; i < end; i++) {
            const gemm_view view = view_rows(gemm, round->a.op, round->a.first + i, 1, round->k,
                                             round->n_k, own->scratch);
            if (round->a.op->type == INKI_F32)
                inki_prefetch((uintptr_t)view.x + AHEAD * round->a.op->stride,
                              round->n_k * sizeof(float));
            gemm->fns->pack_row(out + (i - begin) * INKI_GEMM_LINE, pitch, view.x, round->n_k);
        }
        if (end - begin < height) {
            float *zeros = out + (end - begin) * INKI_GEMM_LINE;
            for (size_t c = 0; c < n_cells; c += INKI_GEMM_LINE, zeros += pitch)
                memset(zeros, 0, INKI_GEMM_LINE * sizeof(float));
        }
        out += height * n_cells;
    }
}

static void multiply_unit(inki_gemm *gemm, const gemm_round *round, size_t unit, gemm_own *own) {
    const inki_product *p = gemm->product;
    const bool across = p->a.transposed, first = round->k == 0;
    const size_t from = unit / round->n_across * round->tiles_each;
    const size_t to = min_of(from + round->tiles_each, round->a.n_pieces);
    const size_t panel = unit % round->n_across * round->panels_each;
    const size_t last = min_of(panel + round->panels_each, round->b.n_pieces);
    size_t top, i, i_end, j, j_end;
    piece_of(&round->a, from, &top, &i_end);
    const float *a = own->cells;
    if (across)
        a = round->a.cells + place_of(round, top);
    else
        pack_own(gemm, round, from, to, own);
    const size_t a_cells = across ? round->n_cells + 1 : rounded_up(round->n_cells, INKI_GEMM_LINE);
    inki_gemm_tile tile = {.c_stride = p->c_stride,
                           .n_cells = round->n_cells,
                           .add = p->add || !first,
                           .across = across,
                           .far = (p->add || !first) && p->m * p->n > NEAR_CELLS};
    for (size_t q = panel; q < last; q++) {
        piece_of(&round->b, q, &j, &j_end);
        tile.n_cols = j_end - j;
        tile.b = round->b.cells + place_of(round, j);
        j += round->b.first;
        tile.bias = p->bias != NULL && first ? p->bias + j : NULL;
        for (size_t t = from; t < to; t++) {
            piece_of(&round->a, t, &i, &i_end);
            tile.n_rows = i_end - i;
            tile.a = a + (i - top) * a_cells;
            tile.c = p->c + (round->a.first + i) * p->c_stride + j;
            gemm->fns->tile(&tile);
        }
    }
}

// Takes tasks until none is left: first what is to be packed, on which the next round waits.
static void work_part(void *arg, uint32_t part, uint32_t n_parts) {
    (void)n_parts;
    inki_gemm *gemm = arg;
    gemm_own *own = &gemm->own[part];
    const gemm_round *now = gemm->now, *next = gemm->next;
    const size_t n_b = next != NULL ? next->b.n_tasks : 0, n_a = next != NULL ? next->a.n_tasks : 0;
    const size_t n_tasks = n_a + n_b + (now != NULL ? now->n_units : 0);
    for (;;) {
        const size_t task = atomic_fetch_add_explicit(&gemm->task, 1, memory_order_relaxed);
        if (task >= n_tasks) return;
        if (task >= n_a + n_b)
            multiply_unit(gemm, now, task - n_a - n_b, own);
        else if (task >= n_b)
            pack_across(gemm, next, &next->a, task - n_b, own->scratch);
        else if (next->b.op->transposed)
            pack_turned(gemm, next, task, own->scratch);
        else
            pack_across(gemm, next, &next->b, task, own->scratch);
    }
}

static void run_tasks(inki_gemm *gemm, const gemm_round *now, const gemm_round *next) {
    gemm->now = now;
    gemm->next = next;
    atomic_store_explicit(&gemm->task, 0, memory_order_relaxed);
    inki_pool_run(gemm->pool, gemm->n_parts, work_part, gemm);
}

// Round i: k goes fastest, so that C is added to while it is near.
static void cut_round(const inki_gemm *gemm, size_t i, gemm_round *round) {
    const inki_product *p = gemm->product;
    const inki_gemm_fns *fns = gemm->fns;
    const size_t k = i % gemm->n_k, j = i / gemm->n_k % gemm->n_n, m = i / gemm->n_k / gemm->n_n;
    float *shared = gemm->shared + i % 2 * (2 * (size_t)SHARED_CELLS);
    memset(round, 0, sizeof *round);
    round->k = k * gemm->cells_each * fns->per_cell;
    round->n_k = min_of(gemm->cells_each * fns->per_cell, p->k - round->k);
    round->n_cells = n_of(round->n_k, fns->per_cell);
    gemm_side *a = &round->a, *b = &round->b;
    *a = (gemm_side){.op = &p->a, .first = m * gemm->m_each, .grain = 2, .cells = shared};
    a->n = min_of(gemm->m_each, p->m - a->first);
    cut_side(a, fns->height);
    a->n_tasks = p->a.transposed ? n_of(round->n_cells, PACK_CELLS) : 0;
    *b = (gemm_side){.op = &p->b, .first = j * gemm->n_each, .grain = fns->width};
    b->cells = shared + SHARED_CELLS;
    b->n = min_of(gemm->n_each, p->n - b->first);
    cut_side(b, fns->width);
    b->n_tasks = p->b.transposed ? b->n_pieces : n_of(round->n_cells, PACK_CELLS);

    const size_t wanted = gemm->n_parts > 1 ? (size_t)UNITS_A_THREAD * gemm->n_parts : 1;
    round->tiles_each = min_of(UNIT_TILES, a->n_pieces / wanted);
    if (round->tiles_each == 0) round->tiles_each = 1;
    const size_t n_down = n_of(a->n_pieces, round->tiles_each);
    round->panels_each = b->n_pieces;
    if (n_down < wanted) round->panels_each = n_of(b->n_pieces, n_of(wanted, n_down));
    round->n_across = n_of(b->n_pieces, round->panels_each);
    round->n_units = n_down * round->n_across;
}

// Cells along k of a round, at most. Where both operands are packed for all threads, two rounds of
// both should fit into a core's second cache.
static size_t longest_cells(const inki_gemm_fns *fns, const inki_product *p) {
    if (!p->a.transposed) return fns->max_cells;
    const size_t n = NEAR_CELLS / 2 / (p->m + p->n);
    if (n >= fns->max_cells) return fns->max_cells;
    return n < LEAST_CELLS ? LEAST_CELLS : n;
}

void inki_gemm_run(inki_gemm *gemm, const inki_product *product) {
    const inki_product *p = product;
    const inki_gemm_fns *fns = gemm->fns;
    gemm->product = p;
    const size_t n_cells = n_of(p->k, fns->per_cell);
    gemm->n_k = n_of(n_cells, longest_cells(fns, p));
    gemm->cells_each = rounded_up(n_of(n_cells, gemm->n_k), INKI_GEMM_LINE);
    gemm->n_k = n_of(n_cells, gemm->cells_each);
    const size_t most = SHARED_CELLS / (gemm->cells_each + 1);
    gemm->n_n = n_of(p->n, most / fns->width * fns->width);
    gemm->n_each = rounded_up(n_of(p->n, gemm->n_n), fns->width);
    gemm->n_n = n_of(p->n, gemm->n_each);
    gemm->n_m = p->a.transposed ? n_of(p->m, most / fns->height * fns->height) : 1;
    gemm->m_each = rounded_up(n_of(p->m, gemm->n_m), fns->height);
    gemm->n_m = n_of(p->m, gemm->m_each);

    // Sizes of memory: no overflow where all three fit into it.
    const double work = (double)p->m * (double)p->n * (double)p->k;
    gemm->n_parts = gemm->n_threads;
    if (work < 2.0 * gemm->kernels->part_work * gemm->n_threads)
        gemm->n_parts = 1 + (uint32_t)(work / (2.0 * gemm->kernels->part_work));
    if (gemm->n_parts > gemm->n_threads) gemm->n_parts = gemm->n_threads;

    const size_t n_rounds = gemm->n_m * gemm->n_n * gemm->n_k;
    gemm_round rounds[2];
    cut_round(gemm, 0, &rounds[0]);
    run_tasks(gemm, NULL, &rounds[0]);
    for (size_t i = 0; i < n_rounds; i++) {
        gemm_round *next = i + 1 < n_rounds ? &rounds[(i + 1) % 2] : NULL;
        if (next != NULL) cut_round(gemm, i + 1, next);
        run_tasks(gemm, &rounds[i % 2], next);
    }
}
