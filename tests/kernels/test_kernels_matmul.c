// SPDX-License-Identifier: MIT
// Every matmul slot of every level against sums in double precision over the same quantised inputs,
// each output against the same one made alone, and the same checks against kernels that are broken
// on purpose and must be caught.
#include "each_level.h"
#include "guarded.h"
#include "random_blocks.h"
#include "true_blocks.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define COUNT(a) (sizeof(a) / sizeof(a)[0])
static inki_kernels k;

// hostile: any bytes as blocks, of all magnitudes that halves have.
typedef struct problem {
    uint32_t type;
    size_t n_rows, n_cols, n_batch, row_bytes, act_stride, out_stride;
    bool has_bias, hostile;
    enum hard_kind kind;
    guarded weights, acts, bias, out;
    double *weight, *min, *act; // what the inputs stand for, [n_rows or n_batch, n_cols]
} problem;

static bool is_float(uint32_t type) { return inki_act_form_of(type) == INKI_ACT_F32; }

// Rows of a tensor that has room between them, filled with ones; none behind the last.
static guarded new_rows(size_t n, size_t stride, size_t bytes) {
    guarded g = guarded_new((n - 1) * stride + bytes);
    memset(g.data, 0xff, (n - 1) * stride + bytes);
    return g;
}

static void fill_weights(problem *p, size_t bytes) {
    float *x = malloc(p->n_cols * sizeof *x);
    assert_non_null(x);
    for (size_t r = 0; r < p->n_rows; r++) {
        char *row = (char *)p->weights.data + r * p->row_bytes;
        hard_fill(x, p->n_cols, p->kind, 1 + r);
        // 16-bit and block weights hold no more than 65504 (times 127).
        for (size_t i = 0; p->type != INKI_F32 && p->type != INKI_BF16 && i < p->n_cols; i++)
            x[i] = fminf(fmaxf(x[i], -60000.0f), 60000.0f);
        if (p->hostile)
            random_blocks(p->type, row, bytes, p->kind == HARD_PLAIN ? -8 : -24,
                          p->kind == HARD_PLAIN ? -4 : 15, r);
        else
            assert_true(inki_quantize_row(p->type, row, x, p->n_cols));
        for (size_t i = 0; i < p->n_cols; i++)
            p->weight[r * p->n_cols + i] = true_weight(p->type, row, i, &p->min[r * p->n_cols + i]);
    }
    free(x);
}

static void fill_acts(problem *p) {
    float *x = malloc(p->n_cols * sizeof *x);
    assert_non_null(x);
    for (size_t b = 0; b < p->n_batch; b++) {
        char *row = (char *)p->acts.data + b * p->act_stride;
        hard_fill(x, p->n_cols, p->kind == HARD_CANCEL ? HARD_PLAIN : p->kind, 1000 + b);
        if (is_float(p->type))
            memcpy(row, x, p->n_cols * sizeof *x);
        else
            k.quantize_act(row, x, p->n_cols);
        for (size_t i = 0; i < p->n_cols; i++)
            p->act[b * p->n_cols + i] =
                is_float(p->type) ? (double)x[i] : true_act(row, p->n_cols, i);
    }
    free(x);
}

static problem make_problem(uint32_t type, size_t n_rows, size_t n_cols, size_t n_batch,
                            enum hard_kind kind, bool hostile) {
    problem p = {.type = type,
                 .n_rows = n_rows,
                 .n_cols = n_cols,
                 .n_batch = n_batch,
                 .hostile = hostile,
                 .kind = kind};
    uint64_t bytes = 0;
    assert_true(inki_type_row_bytes(type, n_cols, &bytes));
    // Strides are larger than the rows every other time, and keep only the alignment that is
    // promised: 4 bytes for floats, 2 for halves and blocks, 64 for quantised activations.
    const bool wide = (n_rows + n_cols + n_batch) % 2 == 1;
    p.row_bytes = (size_t)bytes + (!wide ? 0 : type == INKI_F32 ? 4 : 2);
    p.has_bias = (n_rows + n_batch) % 2 == 0;
    const size_t act_bytes =
        is_float(type) ? n_cols * sizeof(float) : inki_act_row_bytes(INKI_ACT_Q8, n_cols);
    p.act_stride = act_bytes + (!wide ? 0 : is_float(type) ? 4 : 64);
    p.out_stride = n_rows + 3;
    p.weights = new_rows(n_rows, p.row_bytes, (size_t)bytes);
    p.acts = new_rows(n_batch, p.act_stride, act_bytes);
    p.bias = guarded_new(n_rows * sizeof(float));
    p.out = guarded_new(((n_batch - 1) * p.out_stride + n_rows) * sizeof(float));
    p.weight = malloc(n_rows * n_cols * sizeof *p.weight);
    p.min = malloc(n_rows * n_cols * sizeof *p.min);
    p.act = malloc(n_batch * n_cols * sizeof *p.act);
    assert_true(p.weight != NULL && p.min != NULL && p.act != NULL);
    fill_weights(&p, (size_t)bytes);
    fill_acts(&p);
    hard_fill(p.bias.data, n_rows, HARD_PLAIN, 77);
    guarded_seal(&p.weights);
    guarded_seal(&p.acts);
    guarded_seal(&p.bias);
    return p;
}

static void free_problem(problem *p) {
    guarded_free(&p->weights);
    guarded_free(&p->acts);
    guarded_free(&p->bias);
    guarded_free(&p->out);
    free(p->weight);
    free(p->min);
    free(p->act);
}

static void run(inki_matmul_fn fn, const problem *p, float *out, size_t stride, size_t row,
                size_t n_rows, size_t b, size_t n_batch) {
    fn(out, stride, (const char *)p->weights.data + row * p->row_bytes, p->row_bytes,
       (const char *)p->acts.data + b * p->act_stride, p->act_stride,
       p->has_bias ? (const float *)p->bias.data + row : NULL, n_rows, p->n_cols, n_batch);
}

// How many roundings a term passes through. Floats: one product and at most n / 4 + a few additions
// (every level has at least four sums side by side). Blocks: one sum; a group's product has its
// scales as factors, and a minimum that is subtracted makes a second addition of each group.
static double depth(uint32_t type, size_t n_cols) {
    const double n = (double)n_cols;
    return is_float(type) ? n / 4 + 8 : 2 * n / (double)true_group(type) + 8;
}

// The exact sum, and how far a float sum may be from it: each rounding is 2^-24 of a partial sum,
// none of which exceeds the sum of magnitudes. Inside a group of a block integers are added, which
// is exact.
static double exact(const problem *p, size_t row, size_t b, double *limit) {
    const double *w = p->weight + row * p->n_cols, *min = p->min + row * p->n_cols;
    const double *x = p->act + b * p->n_cols;
    const size_t group = true_group(p->type);
    double sum = p->has_bias ? (double)((const float *)p->bias.data)[row] : 0,
           magnitude = fabs(sum);
    for (size_t i = 0; i < p->n_cols; i += group) {
        double product = 0, subtracted = 0;
        for (size_t j = i; j < i + group; j++) {
            product += (w[j] + min[j]) * x[j];
            subtracted += min[j] * x[j];
        }
        sum += product - subtracted;
        magnitude += fabs(product) + fabs(subtracted);
    }
    // And products that underflow.
    *limit = depth(p->type, p->n_cols) * 0x1p-24 * magnitude + (double)(p->n_cols + 1) * 0x1p-148;
    return sum;
}

// NULL, or what is wrong with fn.
static const char *judge(inki_matmul_fn fn, problem *p) {
    static char text[240];
    float *out = p->out.data;
    const size_t n_out = (p->n_batch - 1) * p->out_stride + p->n_rows;
    // Of a large product not each number is made alone too, but about 300 and the last ones.
    const size_t step = n_out / 300 + 1;
    canary_fill(out, n_out);
    run(fn, p, out, p->out_stride, 0, p->n_rows, 0, p->n_batch);
    for (size_t i = 0; i < n_out; i++) {
        const size_t b = i / p->out_stride, r = i % p->out_stride;
        const char *what = NULL;
        double limit = 0, want = 0;
        float one = 0;
        if (r >= p->n_rows) {
            if (!canary_is(out[i])) what = "wrote between rows";
        } else {
            want = exact(p, r, b, &limit);
            if (!(fabs((double)out[i] - want) <= limit)) what = "wrong sum";
            const bool alone = i % step == 0 || r + 1 == p->n_rows || b + 1 == p->n_batch;
            if (alone) run(fn, p, &one, 1, r, 1, b, 1);
            if (alone && memcmp(&one, out + i, sizeof one) != 0)
                what = "alone another result than in a batch";
        }
        if (what == NULL) continue;
        snprintf(text, sizeof text,
                 "%s, %s, %s %s, %zu x %zu, batch %zu: %s at row %zu of batch %zu: %.9g for %.9g "
                 "(allowed %g)",
                 k.name, inki_type_of(p->type).name, hard_name(p->kind),
                 p->hostile ? "bytes" : "numbers", p->n_rows, p->n_cols, p->n_batch, what, r, b,
                 (double)out[i], want, limit);
        return text;
    }
    return NULL;
}

static const char *judge_size(inki_matmul_fn fn, uint32_t type, size_t n_rows, size_t n_cols,
                              size_t n_batch, enum hard_kind kind, bool hostile) {
    problem p = make_problem(type, n_rows, n_cols, n_batch, kind, hostile);
    const char *wrong = judge(fn, &p);
    free_problem(&p);
    return wrong;
}

static bool has_quantiser(uint32_t type) {
    float x[256] = {0};
    char row[1024];
    return inki_quantize_row(type, row, x, 256);
}

static size_t n_products;

// Numbers and bytes in turns, where a type has both.
static void expect_right(uint32_t type, size_t n_rows, size_t n_cols, size_t n_batch,
                         enum hard_kind kind) {
    const bool hostile = !is_float(type) && (!has_quantiser(type) || n_products % 2 == 1);
    n_products++;
    const char *wrong = judge_size(k.matmul[type], type, n_rows, n_cols, n_batch, kind, hostile);
    if (wrong != NULL) fail_msg("%s", wrong);
}

static void columns_and_kinds(uint32_t type) {
    static const size_t cols[] = {1,   2,   3,   7,   8,   9,   15,  16,   17,   31,
                                  32,  33,  47,  63,  64,  65,  96,  128,  160,  256,
                                  288, 511, 512, 513, 544, 768, 800, 1040, 1056, 1280};
    static const size_t batches[] = {1, 2, 3, 33};
    for (size_t c = 0; c < COUNT(cols); c++) {
        if (cols[c] % inki_type_of(type).block_elems != 0) continue;
        for (size_t i = 0; i < COUNT(batches); i++)
            expect_right(type, 1 + (c * 7 + i) % 19, cols[c], batches[i], HARD_PLAIN);
        for (int kind = 0; kind < HARD_KINDS; kind++)
            expect_right(type, kind % 2 == 0 ? 3 : 18, cols[c], kind % 3 == 0 ? 7 : 2,
                         (enum hard_kind)kind);
    }
}

// Groups of 16 and 32 rows, tiles of a few activation rows, and what is left over of both.
static void rows_and_batches(uint32_t type) {
    static const size_t few[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 16, 17};
    static const size_t many[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 16, 17, 33, 130};
    static const size_t rows[] = {1, 15, 16, 17, 31, 32, 33, 48, 64};
    const size_t unit = inki_type_of(type).block_elems;
    const size_t n_cols = unit == 1 ? 40 : unit == 32 ? 96 : 256;
    for (size_t r = 1; r <= 65; r++) {
        if (r > 50 && r < 63) continue;
        expect_right(type, r, n_cols, few[r % COUNT(few)], HARD_PLAIN);
        expect_right(type, r, n_cols, few[r * 5 % 7], HARD_MIXED);
    }
    for (size_t b = 0; b < COUNT(many); b++)
        for (size_t r = 0; r < 3; r++)
            expect_right(type, rows[(b + 4 * r) % COUNT(rows)], n_cols, many[b], HARD_PLAIN);
}

// Panels hold 32 rows of 512 columns, and sums wait between those of longer rows.
static void rows_longer_than_a_panel(uint32_t type) {
    static const size_t cols[] = {544, 768, 1056, 1280}, rows[] = {32, 33, 50};
    static const size_t batches[] = {9, 14, 17, 33};
    for (size_t c = 0; c < COUNT(cols); c++) {
        if (cols[c] % inki_type_of(type).block_elems != 0) continue;
        for (size_t r = 0; r < COUNT(rows); r++)
            expect_right(type, rows[r], cols[c], batches[(c + r) % COUNT(batches)], HARD_PLAIN);
    }
}

static void every_type_and_size(void **state) {
    (void)state;
    static inki_matmul_fn below[INKI_TENSOR_TYPES]; // what has been tested already
    n_products = 0;
    size_t n_types = 0;
    for (uint32_t type = 0; type < INKI_TENSOR_TYPES; type++) {
        if (k.matmul[type] == below[type]) continue;
        below[type] = k.matmul[type];
        n_types++;
        columns_and_kinds(type);
        rows_and_batches(type);
        rows_longer_than_a_panel(type);
    }
    print_message("%zu products of %zu types; other types are as at the level below\n", n_products,
                  n_types);
}

static void every_weight_type_has_its_slots(void **state) {
    (void)state;
    for (uint32_t t = 0; t < INKI_TENSOR_TYPES; t++) {
        const bool known = inki_type_of(t).name != NULL;
        assert_int_equal(k.matmul[t] != NULL, known);
        assert_int_equal(k.dequantize[t] != NULL, known);
        if (!known) assert_false(has_quantiser(t));
    }
    static const uint32_t written[] = {INKI_F32, INKI_F16, INKI_BF16, INKI_Q8_0, INKI_Q4_0};
    for (size_t t = 0; t < COUNT(written); t++) assert_true(has_quantiser(written[t]));
    float x[33] = {0};
    char row[64];
    assert_false(inki_quantize_row(INKI_Q8_0, row, x, 33));
    assert_false(inki_quantize_row(INKI_Q4_0, row, x, 33));
}

// Infinities and NaN in weights or activations come out as such: they are not lost on the way, and
// they do not reach the outputs beside theirs.
static void what_is_not_finite_stays_so(void **state) {
    (void)state;
    enum { COLS = 256, ROWS = 35, BATCH = 8 };
    static float x[BATCH][COLS], w[ROWS * COLS], out[BATCH * ROWS];
    static uint8_t rows[ROWS * COLS * 4];
    _Alignas(64) static uint8_t acts[BATCH][COLS * 2];
    for (uint32_t type = 0; type < INKI_TENSOR_TYPES; type++) {
        uint64_t bytes = 0;
        if (k.matmul[type] == NULL || !inki_type_row_bytes(type, COLS, &bytes)) continue;
        for (size_t i = 0; i < COUNT(w); i++) w[i] = 1;
        for (size_t r = 0; r < ROWS; r++)
            if (!inki_quantize_row(type, rows + r * bytes, w, COLS))
                random_blocks(type, rows + r * bytes, bytes, -4, 0, r);
        for (size_t at = 0; at < COLS; at += 3) {
            const size_t bad = at % BATCH;
            for (size_t b = 0; b < BATCH; b++) {
                for (size_t i = 0; i < COLS; i++) x[b][i] = 1;
                if (b == bad) x[b][at] = at % 4 == 0 ? NAN : at % 4 == 1 ? INFINITY : -INFINITY;
                if (!is_float(type)) k.quantize_act(acts[b], x[b], COLS);
            }
            k.matmul[type](out, ROWS, rows, bytes, is_float(type) ? (void *)x : (void *)acts,
                           is_float(type) ? sizeof x[0] : sizeof acts[0], NULL, ROWS, COLS, BATCH);
            for (size_t i = 0; i < COUNT(out); i++)
                if ((isfinite(out[i]) == 0) != (i / ROWS == bad))
                    fail_msg("%s, %s: column %zu of row %zu is not finite, output %zu of %zu is %g",
                             k.name, inki_type_of(type).name, at, bad, i % ROWS, i / ROWS,
                             (double)out[i]);
        }
    }
}

// A weight that is not finite reaches its row and no other.
static void weights_that_are_not_finite(void **state) {
    (void)state;
    enum { COLS = 256, ROWS = 37, BATCH = 7 };
    static float x[BATCH][COLS], out[BATCH * ROWS];
    static uint8_t rows[ROWS * COLS * 4];
    _Alignas(64) static uint8_t acts[BATCH][COLS * 2];
    hard_fill(x[0], BATCH * COLS, HARD_PLAIN, 3);
    for (size_t b = 0; b < BATCH; b++) k.quantize_act(acts[b], x[b], COLS);
    for (uint32_t type = 0; type < INKI_TENSOR_TYPES; type++) {
        uint64_t bytes = 0;
        if (k.matmul[type] == NULL || !inki_type_row_bytes(type, COLS, &bytes)) continue;
        for (size_t bad = 0; bad < ROWS; bad++) {
            float w[COLS];
            hard_fill(w, COLS, HARD_PLAIN, 1);
            for (size_t r = 0; r < ROWS; r++)
                if (is_float(type))
                    inki_quantize_row(type, rows + r * bytes, w, COLS);
                else
                    random_blocks(type, rows + r * bytes, bytes, -4, 0, r);
            uint8_t *row = rows + bad * bytes;
            const uint16_t half = bad % 2 == 0 ? 0x7e00 : 0xfc00; // NaN, -infinity
            if (is_float(type)) {
                w[bad] = bad % 2 == 0 ? NAN : INFINITY;
                inki_quantize_row(type, row, w, COLS);
            } else {
                const size_t at = type == INKI_Q2_K   ? 80
                                  : type == INKI_Q3_K ? 108
                                  : type == INKI_Q6_K ? 208
                                                      : 0;
                memcpy(row + at, &half, sizeof half);
            }
            k.matmul[type](out, ROWS, rows, bytes, is_float(type) ? (void *)x : (void *)acts,
                           is_float(type) ? sizeof x[0] : sizeof acts[0], NULL, ROWS, COLS, BATCH);
            for (size_t i = 0; i < COUNT(out); i++)
                if ((isfinite(out[i]) == 0) != (i % ROWS == bad))
                    fail_msg("%s, %s: weight row %zu is not finite, output %zu of %zu is %g",
                             k.name, inki_type_of(type).name, bad, i % ROWS, i / ROWS,
                             (double)out[i]);
        }
    }
}

// --- kernels broken on purpose -----------------------------------------------------------------

enum flaw {
    NONE,
    DROPS_LAST,
    SCALE_OFF,
    NEXT_ROW,
    ORDER_BY_BATCH,
    WRITES_BEYOND,
    FORGETS_BIAS,
    FORGETS_MIN,
    DROPS_LAST_ROW,
    DROPS_LAST_BATCH,
    ORDER_BY_ROWS,
    READS_BEYOND, // ends the program: last, and apart
    FLAWS
};
static enum flaw flaw;
static uint32_t flawed_type;

static double flawed_dot(const char *w, const char *x, size_t n_cols, bool backwards) {
    const size_t n = flaw == DROPS_LAST ? n_cols - 1 : n_cols;
    float sum = 0;
    for (size_t j = 0; j < n; j++) {
        const size_t i = backwards ? n - 1 - j : j;
        double min, weight = true_weight(flawed_type, w, i, &min);
        if (flaw == FORGETS_MIN) weight += min;
        sum += (float)(weight * (is_float(flawed_type) ? true_value(INKI_F32, x, i)
                                                       : true_act(x, n_cols, i)));
    }
    return (double)sum * (flaw == SCALE_OFF ? 1.0001 : 1);
}

static void flawed_matmul(float *out, size_t out_stride, const void *weights, size_t row_bytes,
                          const void *acts, size_t act_stride, const float *bias, size_t n_rows,
                          size_t n_cols, size_t n_batch) {
    for (size_t b = 0; b < n_batch - (flaw == DROPS_LAST_BATCH && n_batch > 1 ? 1 : 0); b++)
        for (size_t r = 0; r < n_rows - (flaw == DROPS_LAST_ROW && n_rows > 1 ? 1 : 0); r++) {
            const size_t row = flaw == NEXT_ROW ? (r + 1) % n_rows : r;
            const char *x = (const char *)acts + b * act_stride;
            double sum = flawed_dot((const char *)weights + row * row_bytes, x, n_cols,
                                    (flaw == ORDER_BY_BATCH && n_batch > 1) ||
                                        (flaw == ORDER_BY_ROWS && n_rows > 1));
            if (bias != NULL && flaw != FORGETS_BIAS) sum += (double)bias[r];
            if (flaw == READS_BEYOND)
                sum += 0 * (double)((const volatile char *)weights)[n_rows * row_bytes];
            out[b * out_stride + r] = (float)sum;
            if (flaw == WRITES_BEYOND && b + 1 < n_batch) out[b * out_stride + n_rows] = 0;
        }
}

static bool has_min(uint32_t type) {
    return type == INKI_Q4_1 || type == INKI_Q5_1 || type == INKI_Q2_K || type == INKI_Q4_K ||
           type == INKI_Q5_K;
}

static void broken_kernels_are_caught(void **state) {
    (void)state;
    for (uint32_t type = 0; type < INKI_TENSOR_TYPES; type++) {
        if (k.matmul[type] == NULL) continue;
        for (flaw = NONE; flaw < READS_BEYOND; flaw++) {
            flawed_type = type;
            const bool found =
                judge_size(flawed_matmul, type, 4, 256, 2, HARD_PLAIN, !is_float(type)) != NULL;
            if (found != (flaw != NONE && (flaw != FORGETS_MIN || has_min(type))))
                fail_msg("%s, flaw %d: %s", inki_type_of(type).name, (int)flaw,
                         found ? "found" : "missed");
        }
    }
}

static void reading_too_far_ends_the_program(void **state) {
    (void)state;
    if (guards_are_soft()) {
        print_message("left out: reading too far, the guards are soft\n");
        return;
    }
    flaw = READS_BEYOND;
    flawed_type = INKI_Q8_0;
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        const struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        signal(SIGSEGV, SIG_DFL); // cmocka would go on with the test
        signal(SIGBUS, SIG_DFL);
        if (freopen("/dev/null", "w", stderr) == NULL) _exit(0);
        judge_size(flawed_matmul, flawed_type, 2, 64, 2, HARD_PLAIN, false);
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_false(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static int at_level(const inki_kernels *level) {
    k = *level;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_and_size),
        cmocka_unit_test(every_weight_type_has_its_slots),
        cmocka_unit_test(what_is_not_finite_stays_so),
        cmocka_unit_test(weights_that_are_not_finite),
        cmocka_unit_test(broken_kernels_are_caught),
        cmocka_unit_test(reading_too_far_ends_the_program),
    };
    return cmocka_run_group_tests_name(k.name, tests, NULL, NULL);
}

int main(void) { return each_level(at_level); }
