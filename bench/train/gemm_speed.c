// SPDX-License-Identifier: MIT
// Speed of the products of training, in GFLOP/s (a multiplication and an addition count two).
//
//     gemm_speed [threads [seconds a line [width of the model …]]]
//
// A line is a product: NT y = x W^T, NN dx = dy W, TN dW += dy^T x; a column is a level of
// instructions, all measured in turns within the line, the best of the turns counting: other
// programs disturb, but nothing makes a product faster than it is.
#include "os/os.h"
#include "train/gemm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_COLUMNS = 8, MAX_ROWS = 4608 };

typedef struct shape {
    const char *kind; // "NT", "NN", "TN"
    size_t m, n, k;
} shape;

static inki_mem mem;
static inki_kernels kernels[MAX_COLUMNS];
static inki_gemm *gemms[MAX_COLUMNS];
static uint32_t n_columns;
static inki_pool *pool;
static float *a, *b, *c;

static void fill(float *x, size_t n) {
    uint32_t state = 1;
    for (size_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        x[i] = (float)(int32_t)state * 0x1p-31f;
    }
}

static double seconds_of(inki_gemm *gemm, const shape *s, double at_least) {
    const bool ta = s->kind[0] == 'T', tb = s->kind[1] == 'T';
    const inki_product product = {
        .c = c,
        .c_stride = s->n,
        .a = {a, INKI_F32, (ta ? s->m : s->k) * sizeof(float), ta},
        .b = {b, INKI_F32, (tb ? s->k : s->n) * sizeof(float), tb},
        .m = s->m,
        .n = s->n,
        .k = s->k,
        .add = ta,
    };
    double best = 1e9;
    const double begin = inki_os_now_ms();
    do {
        const double start = inki_os_now_ms();
        inki_gemm_run(gemm, &product);
        const double spent = inki_os_now_ms() - start;
        if (spent < best) best = spent;
    } while (inki_os_now_ms() - begin < at_least * 1000);
    return best / 1000;
}

static void measure(const shape *s, double seconds) {
    double best[MAX_COLUMNS];
    for (uint32_t i = 0; i < n_columns; i++) best[i] = 1e9;
    const int n_turns = 4;
    for (int turn = 0; turn < n_turns; turn++) {
        for (uint32_t i = 0; i < n_columns; i++) {
            const double t = seconds_of(gemms[i], s, seconds / n_turns);
            if (t < best[i]) best[i] = t;
        }
    }
    printf("%s %5zu x %5zu, k %5zu ", s->kind, s->m, s->n, s->k);
    for (uint32_t i = 0; i < n_columns; i++)
        printf(" %11.1f", 2e-9 * (double)s->m * (double)s->n * (double)s->k / best[i]);
    printf("\n");
    fflush(stdout);
}

static void measure_layer(size_t rows, size_t n_in, size_t n_out, double seconds) {
    measure(&(shape){"NT", rows, n_out, n_in}, seconds);
    measure(&(shape){"NN", rows, n_in, n_out}, seconds);
    measure(&(shape){"TN", n_out, n_in, rows}, seconds);
}

static bool add_column(uint32_t level, inki_precision precision) {
    inki_kernels_init(&kernels[n_columns], inki_level_mask(level));
    ink_error error = {.size = sizeof error};
    if (inki_gemm_new(&gemms[n_columns], &mem, &kernels[n_columns], level, precision, pool,
                      &error) != INK_OK) {
        fprintf(stderr, "%s\n", error.message);
        return false;
    }
    for (uint32_t i = 0; i < n_columns; i++) {
        if (strcmp(inki_gemm_level(gemms[i]), inki_gemm_level(gemms[n_columns])) != 0) continue;
        inki_gemm_free(gemms[n_columns]);
        return true;
    }
    n_columns++;
    return true;
}

int main(int argc, char **argv) {
    const uint32_t threads = argc > 1 ? (uint32_t)atoi(argv[1]) : inki_os_n_cpus();
    const double seconds = argc > 2 ? atof(argv[2]) : 0.2;
    mem = inki_mem_from(NULL);
    if (inki_pool_new(&pool, &mem, threads, NULL) != INK_OK) return 1;
    for (uint32_t level = INKI_LEVEL_AVX2; level < INKI_LEVELS; level++) {
        if ((inki_cpu_levels() >> level & 1) == 0) continue;
        if (!add_column(level, INKI_PRECISION_F32) || !add_column(level, INKI_PRECISION_BF16))
            return 1;
    }
    if (n_columns == 0 && !add_column(INKI_LEVEL_PORTABLE, INKI_PRECISION_F32)) return 1;
    const size_t n = (size_t)MAX_ROWS * 4096;
    a = inki_alloc(&mem, n, sizeof *a);
    b = inki_alloc(&mem, n, sizeof *b);
    c = inki_alloc(&mem, n, sizeof *c);
    if (a == NULL || b == NULL || c == NULL) return 1;
    fill(a, n);
    fill(b, n);
    fill(c, n);
    printf("%u threads                ", (unsigned)inki_pool_n_threads(pool));
    for (uint32_t i = 0; i < n_columns; i++) printf(" %11s", inki_gemm_level(gemms[i]));
    printf("\n");
    inki_pool_enter(pool);
    for (int i = 3; i < argc || i == 3; i++) {
        const size_t width = i < argc ? (size_t)atoi(argv[i]) : 128;
        if (width < 8 || width > 1024) {
            fprintf(stderr, "a width is from 8 to 1024\n");
            return 1;
        }
        const size_t rows = width <= 128 ? MAX_ROWS : 1536;
        measure_layer(rows, width, 3 * width, seconds);
        measure_layer(rows, width, width, seconds);
        measure_layer(rows, width, 4 * width, seconds);
        measure_layer(rows, 4 * width, width, seconds);
        measure_layer(384, width, 2048, seconds);
    }
    inki_pool_leave(pool);
    for (uint32_t i = 0; i < n_columns; i++) inki_gemm_free(gemms[i]);
    inki_release(&mem, a, n, sizeof *a);
    inki_release(&mem, b, n, sizeof *b);
    inki_release(&mem, c, n, sizeof *c);
    inki_pool_free(pool);
    return 0;
}
