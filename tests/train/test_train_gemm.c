// SPDX-License-Identifier: MIT
// Products of every level and precision against sums in double precision over the operands as the
// level reads them (BF16: rounded here in other code than train/ has). Operands end where a page
// without access begins, NaN lies between their rows, canaries between and behind those of C.
#include "each_level.h"
#include "guarded.h"
#include "heap.h"
#include "random_blocks.h"

#include "train/gemm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof(a)[0])

static const inki_kernels *kernels; // of the level that is tested
static const inki_mem *plain_mem(void) {
    static inki_mem mem;
    mem = inki_mem_from(NULL);
    return &mem;
}

static inki_gemm *gemm_of(inki_precision precision, inki_pool *pool) {
    inki_gemm *gemm = NULL;
    const uint32_t level = (uint32_t)inki_level_by_name(kernels->name);
    assert_int_equal(inki_gemm_new(&gemm, plain_mem(), kernels, level, precision, pool, NULL),
                     INK_OK);
    return gemm;
}

// ---- a product and what it has to be ----

typedef struct sizes {
    size_t m, n, k;
} sizes;

typedef struct problem {
    sizes s;
    bool a_transposed, b_transposed, add, has_bias;
    uint32_t a_type, b_type;
    enum hard_kind kind;
    size_t gap; // between rows: blocks of an operand, floats of C
    inki_precision precision;
    guarded a, b, c, bias;
    float *c_before;
    inki_product product;
} problem;

// Rows of a stored matrix with NaN between them and none behind the last.
static guarded new_operand(inki_operand *op, uint32_t type, bool transposed, size_t n_rows,
                           size_t n_columns, const problem *p, uint64_t seed) {
    if (transposed) {
        const size_t swapped = n_rows;
        n_rows = n_columns;
        n_columns = swapped;
    }
    uint64_t row_bytes;
    assert_true(inki_type_row_bytes(type, n_columns, &row_bytes));
    const size_t stride = row_bytes + p->gap * inki_type_of(type).block_bytes;
    guarded g = guarded_new((n_rows - 1) * stride + row_bytes);
    memset(g.data, 0xff, (n_rows - 1) * stride + row_bytes);
    float *x = malloc(n_columns * sizeof *x);
    assert_non_null(x);
    for (size_t i = 0; i < n_rows; i++) {
        uint8_t *row = (uint8_t *)g.data + i * stride;
        hard_fill(x, n_columns, p->kind, seed + i);
        if (!inki_quantize_row(type, row, x, n_columns)) random_row(type, row, row_bytes, seed + i);
    }
    free(x);
    guarded_seal(&g);
    *op = (inki_operand){.data = g.data, .type = type, .stride = stride, .transposed = transposed};
    return g;
}

static void problem_open(problem *p) {
    const sizes s = p->s;
    p->a = new_operand(&p->product.a, p->a_type, p->a_transposed, s.m, s.k, p, 1);
    p->b = new_operand(&p->product.b, p->b_type, p->b_transposed, s.k, s.n, p, 100003);
    p->bias = guarded_new(s.n * sizeof(float));
    hard_fill(p->bias.data, s.n, HARD_PLAIN, 7);
    const size_t stride = s.n + p->gap, n = (s.m - 1) * stride + s.n;
    p->c = guarded_new(n * sizeof(float));
    float *c = p->c.data;
    canary_fill(c, n);
    for (size_t i = 0; p->add && i < s.m; i++) hard_fill(c + i * stride, s.n, HARD_PLAIN, 1000 + i);
    p->c_before = malloc(n * sizeof(float));
    assert_non_null(p->c_before);
    memcpy(p->c_before, c, n * sizeof(float));
    p->product.c = c;
    p->product.c_stride = stride;
    p->product.bias = p->has_bias ? p->bias.data : NULL;
    p->product.m = s.m;
    p->product.n = s.n;
    p->product.k = s.k;
    p->product.add = p->add;
}

static void problem_close(problem *p) {
    guarded_free(&p->a);
    guarded_free(&p->b);
    guarded_free(&p->c);
    guarded_free(&p->bias);
    free(p->c_before);
}

// To the nearest bfloat16, of two as near the even one. In doubles, where it is exact.
static double to_bf16(double x) {
    if (x == 0 || !isfinite(x)) return x;
    const double unit = ldexp(1, ilogb(x) - 7);
    return rint(x / unit) * unit;
}

// [rows, columns] of the operand as numbers, rounded to what is multiplied. Stored rows are widened
// whole, by the kernels that tests/kernels holds to the formats.
static double *widened(const inki_operand *op, size_t n_rows, size_t n_columns,
                       inki_precision precision) {
    const size_t n_stored = op->transposed ? n_columns : n_rows;
    const size_t n_along = op->transposed ? n_rows : n_columns;
    double *out = malloc(n_rows * n_columns * sizeof *out);
    float *row = malloc(n_along * sizeof *row);
    assert_true(out != NULL && row != NULL);
    for (size_t i = 0; i < n_stored; i++) {
        const uint8_t *stored = (const uint8_t *)op->data + i * op->stride;
        if (op->type == INKI_F32)
            memcpy(row, stored, n_along * sizeof *row);
        else
            kernels->dequantize[op->type](row, stored, n_along);
        for (size_t j = 0; j < n_along; j++) {
            const double x = (double)row[j];
            out[op->transposed ? j * n_columns + i : i * n_columns + j] =
                precision == INKI_PRECISION_BF16 ? to_bf16(x) : x;
        }
    }
    free(row);
    return out;
}

static void fail_at(const problem *p, size_t i, size_t j, double got, double right, double bound) {
    print_error("%s%s: %zu x %zu, k %zu, %s%s, types %u %u, %s: c[%zu][%zu] is %.9g, not %.9g "
                "(+- %.3g)\n",
                kernels->name, p->precision == INKI_PRECISION_BF16 ? " BF16" : "", p->s.m, p->s.n,
                p->s.k, p->a_transposed ? "T" : "N", p->b_transposed ? "T" : "N", p->a_type,
                p->b_type, hard_name(p->kind), i, j, got, right, bound);
    fail();
}

// k products and additions, each off by at most half a unit in the last place of what has been
// summed so far, that is of sum |a b|. A BF16 instruction takes what is below the normal range for
// 0.
static void problem_check(const problem *p) {
    const sizes s = p->s;
    double *a = widened(&p->product.a, s.m, s.k, p->precision);
    double *b = widened(&p->product.b, s.k, s.n, p->precision);
    const double unit = 0x1p-24 * (double)(s.k + 4);
    const float *bias = p->product.bias;
    for (size_t i = 0; i < s.m; i++) {
        const float *c = p->product.c + i * p->product.c_stride;
        const float *before = p->c_before + i * p->product.c_stride;
        for (size_t j = 0; j < s.n; j++) {
            double sum = (p->add ? (double)before[j] : 0) + (bias != NULL ? (double)bias[j] : 0);
            double size =
                (p->add ? fabs((double)before[j]) : 0) + (bias != NULL ? fabs((double)bias[j]) : 0);
            for (size_t q = 0; q < s.k; q++) {
                const double x = a[i * s.k + q] * b[q * s.n + j];
                sum += x;
                size += fabs(x);
            }
            const double least = p->precision == INKI_PRECISION_BF16 ? 0x1p-126 : 0x1p-149;
            const double bound = size * unit + least * (double)(s.k + 4);
            if (!(fabs((double)c[j] - sum) <= bound)) fail_at(p, i, j, (double)c[j], sum, bound);
        }
        for (size_t j = s.n; j < p->product.c_stride && i + 1 < s.m; j++)
            if (!canary_is(c[j])) fail_at(p, i, j, (double)c[j], 0, 0);
    }
    free(a);
    free(b);
}

static void try_problem(inki_gemm *gemm, problem *p) {
    p->precision = inki_gemm_precision(gemm);
    problem_open(p);
    inki_gemm_run(gemm, &p->product);
    problem_check(p);
    problem_close(p);
}

// Calls `body` for both precisions where the level has both.
static void each_precision(void (*body)(inki_gemm *gemm)) {
    for (int i = 0; i < 2; i++) {
        const inki_precision wanted = i == 0 ? INKI_PRECISION_F32 : INKI_PRECISION_BF16;
        inki_gemm *gemm = gemm_of(wanted, NULL);
        if (inki_gemm_precision(gemm) == wanted) body(gemm);
        inki_gemm_free(gemm);
    }
}

// ---- tests ----

static uint64_t drawn = 1;
static size_t draw(size_t n) {
    drawn = drawn * 6364136223846793005u + 1442695040888963407u;
    return (size_t)(drawn >> 33) % n;
}

static void try_floats(inki_gemm *gemm, sizes s, uint32_t turn) {
    for (uint32_t way = 0; way < 4; way++) {
        problem p = {.s = s,
                     .a_transposed = way & 1,
                     .b_transposed = way >> 1,
                     .add = (turn ^ way) & 1,
                     .has_bias = (turn >> 1 ^ way >> 1) & 1,
                     .gap = (turn + way) % 4 * 5,
                     .kind = HARD_PLAIN};
        try_problem(gemm, &p);
    }
}

static void sizes_body(inki_gemm *gemm) {
    // Every height and every width of a tile's edge, then what is drawn.
    for (size_t i = 1; i <= 70; i++) try_floats(gemm, (sizes){i, 71 - i, 1 + i % 9}, (uint32_t)i);
    for (size_t i = 1; i <= 70; i++) try_floats(gemm, (sizes){5, 9, i}, (uint32_t)i);
    for (uint32_t i = 0; i < 60; i++)
        try_floats(gemm, (sizes){1 + draw(70), 1 + draw(70), 1 + draw(70)}, i);
    const sizes more[] = {{1, 1, 1},     {97, 131, 257},  {13, 8, 773},   {8, 251, 129},
                          {251, 8, 64},  {29, 67, 1031},  {3, 33, 2053},  {113, 96, 512},
                          {14, 32, 16},  {28, 64, 1024},  {3, 8209, 37},  {2111, 3, 131},
                          {2, 16411, 3}, {31, 1031, 263}, {521, 30, 517}, {57, 33, 1025}};
    for (uint32_t i = 0; i < COUNT(more); i++) try_floats(gemm, more[i], i);
}
static void test_sizes(void **state) {
    (void)state;
    each_precision(sizes_body);
}

static void hard_body(inki_gemm *gemm) {
    const bool bf16 = inki_gemm_precision(gemm) == INKI_PRECISION_BF16;
    for (int kind = 0; kind < HARD_KINDS; kind++) {
        if (bf16 && kind == HARD_TINY) continue; // taken for 0
        for (uint32_t way = 0; way < 4; way++) {
            problem p = {.s = {43, 53, 301},
                         .a_transposed = way & 1,
                         .b_transposed = way >> 1,
                         .kind = (enum hard_kind)kind};
            try_problem(gemm, &p);
        }
    }
}
static void test_hard_numbers(void **state) {
    (void)state;
    each_precision(hard_body);
}

static const uint32_t block_types[] = {INKI_F16,  INKI_BF16, INKI_Q4_0, INKI_Q4_1,
                                       INKI_Q5_0, INKI_Q5_1, INKI_Q8_0, INKI_Q2_K,
                                       INKI_Q3_K, INKI_Q4_K, INKI_Q5_K, INKI_Q6_K};

// Rows run along k or along C: both are cut where blocks are not, by rounds and by segments.
static void types_body(inki_gemm *gemm) {
    for (size_t t = 0; t < COUNT(block_types); t++) {
        for (uint32_t way = 0; way < 8; way++) {
            const bool is_a = way & 1, a_transposed = way >> 1 & 1, b_transposed = way >> 2;
            const bool along_k = is_a ? !a_transposed : b_transposed;
            problem p = {.s = {37, 45, 43},
                         .a_transposed = a_transposed,
                         .b_transposed = b_transposed,
                         .a_type = is_a ? block_types[t] : INKI_F32,
                         .b_type = is_a ? INKI_F32 : block_types[t],
                         .gap = 1};
            if (along_k)
                p.s.k = 1280;
            else if (is_a)
                p.s.m = 768;
            else
                p.s.n = 768;
            try_problem(gemm, &p);
        }
    }
    problem p = {
        .s = {21, 256, 768}, .b_transposed = true, .a_type = INKI_Q8_0, .b_type = INKI_Q4_K};
    try_problem(gemm, &p);
}
static void test_block_types(void **state) {
    (void)state;
    each_precision(types_body);
}

// A NaN or an infinity stays in its row, or its column, of C.
static void hostile_body(inki_gemm *gemm) {
    for (uint32_t way = 0; way < 4; way++) {
        const size_t m = 47, n = 75, k = 67;
        const bool ta = way & 1, tb = way >> 1;
        float *a = malloc(m * k * sizeof *a), *b = malloc(n * k * sizeof *b);
        float *c = malloc(m * n * sizeof *c);
        assert_true(a != NULL && b != NULL && c != NULL);
        hard_fill(a, m * k, HARD_PLAIN, 1);
        hard_fill(b, n * k, HARD_PLAIN, 2);
        canary_fill(c, m * n);
        const size_t row = 46, column = 74, q = 66;
        a[ta ? q * m + row : row * k + q] = NAN;
        b[tb ? column * k + 3 : 3 * n + column] = INFINITY;
        const inki_product product = {.c = c,
                                      .c_stride = n,
                                      .a = {a, INKI_F32, (ta ? m : k) * sizeof *a, ta},
                                      .b = {b, INKI_F32, (tb ? k : n) * sizeof *b, tb},
                                      .m = m,
                                      .n = n,
                                      .k = k};
        inki_gemm_run(gemm, &product);
        for (size_t i = 0; i < m; i++)
            for (size_t j = 0; j < n; j++)
                assert_true(isfinite(c[i * n + j]) == (i != row && j != column));
        for (size_t j = 0; j < n; j++) assert_true(isnan(c[row * n + j]));
        free(a);
        free(b);
        free(c);
    }
}
static void test_hostile_numbers(void **state) {
    (void)state;
    each_precision(hostile_body);
}

// The same bytes with one, two and three threads, and alone where there could be three; in products
// large enough to be shared.
static void test_threads(void **state) {
    (void)state;
    const sizes large[] = {{387, 131, 260}, {70, 1031, 131},  {8, 768, 1500},
                           {1500, 8, 768},  {130, 128, 2600}, {640, 512, 300}};
    for (int precision = 0; precision < 2; precision++) {
        for (size_t i = 0; i < COUNT(large); i++) {
            for (uint32_t way = 0; way < 4; way++) {
                problem p = {.s = large[i], .a_transposed = way & 1, .b_transposed = way >> 1};
                p.add = way == 1;
                p.has_bias = way == 2;
                problem_open(&p);
                const size_t n = large[i].m * large[i].n;
                float *alone = NULL;
                for (uint32_t n_threads = 0; n_threads <= 3; n_threads++) { // 0: no pool
                    inki_pool *pool = NULL;
                    if (n_threads > 0)
                        assert_int_equal(inki_pool_new(&pool, plain_mem(), n_threads, NULL),
                                         INK_OK);
                    inki_gemm *gemm = gemm_of((inki_precision)precision, pool);
                    assert_true(pool == NULL || inki_pool_enter(pool));
                    if (n_threads == 3 && i % 2 == 1) inki_gemm_use_pool(gemm, NULL);
                    memcpy(p.product.c, p.c_before, n * sizeof(float));
                    inki_gemm_run(gemm, &p.product);
                    if (pool != NULL) inki_pool_leave(pool);
                    inki_gemm_free(gemm);
                    inki_pool_free(pool);
                    if (alone == NULL) {
                        alone = malloc(n * sizeof(float));
                        assert_non_null(alone);
                        memcpy(alone, p.product.c, n * sizeof(float));
                    }
                    assert_memory_equal(alone, p.product.c, n * sizeof(float));
                }
                free(alone);
                problem_close(&p);
            }
        }
    }
}

static void test_names(void **state) {
    (void)state;
    inki_gemm *floats = gemm_of(INKI_PRECISION_F32, NULL);
    inki_gemm *halves = gemm_of(INKI_PRECISION_BF16, NULL);
    assert_int_equal(inki_gemm_precision(floats), INKI_PRECISION_F32);
    assert_null(strstr(inki_gemm_level(floats), "bf16"));
    const bool has = inki_gemm_precision(halves) == INKI_PRECISION_BF16;
    assert_true(has == (strstr(inki_gemm_level(halves), "bf16") != NULL));
    if (!has) assert_string_equal(inki_gemm_level(halves), inki_gemm_level(floats));
    // A level never uses what lies above it.
    assert_true(strncmp(inki_gemm_level(floats), kernels->name, strlen(inki_gemm_level(floats))) ==
                    0 ||
                strcmp(inki_gemm_level(floats), "neon") == 0);
    inki_gemm_free(floats);
    inki_gemm_free(halves);
}

static void test_out_of_memory(void **state) {
    (void)state;
    heap h = {0};
    const ink_allocator allocator = heap_allocator(&h);
    const inki_mem mem = inki_mem_from(&allocator);
    size_t n_failed = 0;
    for (size_t at = 1;; at++) {
        atomic_store(&h.n_allocs, 0);
        atomic_store(&h.fail_at, at);
        inki_gemm *gemm = NULL;
        ink_error error = {.size = sizeof error};
        const ink_status status = inki_gemm_new(&gemm, &mem, kernels, INKI_LEVEL_PORTABLE,
                                                INKI_PRECISION_F32, NULL, &error);
        if (status == INK_OK) {
            inki_gemm_free(gemm);
            break;
        }
        assert_int_equal(status, INK_E_NOMEM);
        assert_non_null(strstr(error.message, "out of memory"));
        assert_null(gemm);
        assert_int_equal(atomic_load(&h.live_blocks), 0);
        n_failed++;
    }
    assert_true(n_failed >= 2);
    assert_int_equal(atomic_load(&h.live_blocks), 0);
    assert_int_equal(atomic_load(&h.wrong_releases), 0);
    inki_gemm_free(NULL);
}

static int group(const inki_kernels *level) {
    kernels = level;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),         cmocka_unit_test(test_hard_numbers),
        cmocka_unit_test(test_block_types),   cmocka_unit_test(test_hostile_numbers),
        cmocka_unit_test(test_threads),       cmocka_unit_test(test_names),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests_name(level->name, tests, NULL, NULL);
}

int main(void) { return each_level_or_best(group); }
