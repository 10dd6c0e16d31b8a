// SPDX-License-Identifier: MIT
// Every matmul slot against sums in double precision over the same quantised inputs, and the same
// checks against kernels that are broken on purpose and must be caught.
#include "guarded.h"

#include "kernels/kernels.h"

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
static const uint32_t all_types[] = {INKI_F32, INKI_F16, INKI_BF16, INKI_Q8_0, INKI_Q4_0};

typedef struct problem {
    uint32_t type;
    size_t n_rows, n_cols, n_batch, row_bytes, act_stride, out_stride;
    bool has_bias;
    enum hard_kind kind;
    guarded weights, acts, bias, out;
} problem;

static problem make_problem(const inki_kernels *k, uint32_t type, size_t n_rows, size_t n_cols,
                            size_t n_batch, enum hard_kind kind) {
    problem p = {
        .type = type, .n_rows = n_rows, .n_cols = n_cols, .n_batch = n_batch, .kind = kind};
    uint64_t row_bytes = 0;
    assert_true(inki_type_row_bytes(type, n_cols, &row_bytes));
    p.row_bytes = (size_t)row_bytes;
    p.has_bias = (n_rows + n_batch) % 2 == 0;
    const bool floats = inki_act_form_of(type) == INKI_ACT_F32;
    p.act_stride = floats ? n_cols * 4 : inki_act_row_bytes(INKI_ACT_Q8, n_cols);
    p.out_stride = n_rows + 3;
    p.weights = guarded_new(n_rows * p.row_bytes);
    p.acts = guarded_new(n_batch * p.act_stride);
    p.bias = guarded_new(n_rows * sizeof(float));
    p.out = guarded_new(((n_batch - 1) * p.out_stride + n_rows) * sizeof(float));
    float *x = malloc(n_cols * sizeof *x);
    assert_non_null(x);
    for (size_t r = 0; r < n_rows; r++) {
        hard_fill(x, n_cols, kind, 1 + r);
        // 16-bit and block weights hold no more than 65504 (times 127).
        for (size_t i = 0; type != INKI_F32 && type != INKI_BF16 && i < n_cols; i++)
            x[i] = fminf(fmaxf(x[i], -60000.0f), 60000.0f);
        assert_true(inki_quantize_row(type, (char *)p.weights.data + r * p.row_bytes, x, n_cols));
    }
    for (size_t b = 0; b < n_batch; b++) {
        hard_fill(x, n_cols, kind == HARD_CANCEL ? HARD_PLAIN : kind, 1000 + b);
        void *row = (char *)p.acts.data + b * p.act_stride;
        if (floats)
            memcpy(row, x, n_cols * sizeof *x);
        else
            k->quantize_act(row, x, n_cols);
    }
    free(x);
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
}

static void run(inki_matmul_fn fn, const problem *p, float *out, size_t stride, size_t row,
                size_t n_rows, size_t b, size_t n_batch) {
    fn(out, stride, (const char *)p->weights.data + row * p->row_bytes, p->row_bytes,
       (const char *)p->acts.data + b * p->act_stride, p->act_stride,
       p->has_bias ? (const float *)p->bias.data + row : NULL, n_rows, p->n_cols, n_batch);
}

// The exact sum, and how far a float sum may be from it. A term takes part in one product (two more
// factors for blocks) and in at most n / 4 + 8 additions (every level has at least four sums side
// by side); each rounds by 2^-24 of a partial sum, none of which exceeds the sum of magnitudes.
static double exact(const problem *p, size_t row, size_t b, double *limit) {
    const char *w = (const char *)p->weights.data + row * p->row_bytes;
    const char *x = (const char *)p->acts.data + b * p->act_stride;
    const bool floats = inki_act_form_of(p->type) == INKI_ACT_F32;
    double sum = p->has_bias ? (double)((const float *)p->bias.data)[row] : 0,
           magnitude = fabs(sum);
    for (size_t i = 0; i < p->n_cols; i++) {
        const double term = true_value(p->type, w, i) *
                            (floats ? true_value(INKI_F32, x, i) : true_act(x, p->n_cols, i));
        sum += term;
        magnitude += fabs(term);
    }
    const double n = (double)p->n_cols;
    *limit = (n / 4 + 8) * 0x1p-24 * magnitude + (n + 1) * 0x1p-148; // and products that underflow
    return sum;
}

// NULL, or what is wrong with fn.
static const char *judge(inki_matmul_fn fn, problem *p) {
    static char text[200];
    float *out = p->out.data;
    const size_t n_out = (p->n_batch - 1) * p->out_stride + p->n_rows;
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
            run(fn, p, &one, 1, r, 1, b, 1);
            if (memcmp(&one, out + i, sizeof one) != 0)
                what = "alone another result than in a batch";
        }
        if (what == NULL) continue;
        snprintf(text, sizeof text,
                 "%s, %s numbers, %zu x %zu, batch %zu: %s at row %zu of batch %zu: %g for %g",
                 inki_type_of(p->type).name, hard_name(p->kind), p->n_rows, p->n_cols, p->n_batch,
                 what, r, b, (double)out[i], want);
        return text;
    }
    return NULL;
}

static const char *judge_size(inki_matmul_fn fn, const inki_kernels *k, uint32_t type,
                              size_t n_rows, size_t n_cols, size_t n_batch, enum hard_kind kind) {
    problem p = make_problem(k, type, n_rows, n_cols, n_batch, kind);
    const char *wrong = judge(fn, &p);
    free_problem(&p);
    return wrong;
}

static void every_type_and_size(void **state) {
    (void)state;
    static const size_t cols[] = {1,  2,  15, 16,  17,  31,  32,  33,   63,
                                  64, 65, 96, 511, 512, 513, 544, 1040, 1056};
    static const size_t batches[] = {1, 2, 3, 33};
    inki_kernels k;
    inki_kernels_init(&k, ~0u);
    size_t n = 0;
    for (size_t t = 0; t < COUNT(all_types); t++)
        for (size_t c = 0; c < COUNT(cols); c++) {
            if (cols[c] % inki_type_of(all_types[t]).block_elems != 0) continue;
            for (size_t i = 0; i < COUNT(batches) + HARD_KINDS; i++, n++) {
                // Plain numbers with each batch, then each kind with a batch of 2.
                const bool plain = i < COUNT(batches);
                const char *wrong =
                    judge_size(k.matmul[all_types[t]], &k, all_types[t],
                               plain ? 1 + (c + i) % 5 : 3, cols[c], plain ? batches[i] : 2,
                               plain ? HARD_PLAIN : (enum hard_kind)(i - COUNT(batches)));
                if (wrong != NULL) fail_msg("%s", wrong);
            }
        }
    print_message("%zu products\n", n);
}

static void other_types_have_no_slot(void **state) {
    (void)state;
    inki_kernels k;
    inki_kernels_init(&k, 0);
    for (uint32_t t = 0; t < INKI_TENSOR_TYPES; t++) {
        bool ours = false;
        for (size_t i = 0; i < COUNT(all_types); i++) ours = ours || all_types[i] == t;
        assert_int_equal(k.matmul[t] != NULL, ours);
        assert_int_equal(k.dequantize[t] != NULL, ours);
        float x[256] = {0};
        char row[1024];
        assert_int_equal(inki_quantize_row(t, row, x, 256), ours);
    }
    float x[33] = {0};
    char row[64];
    assert_false(inki_quantize_row(INKI_Q8_0, row, x, 33));
    assert_false(inki_quantize_row(INKI_Q4_0, row, x, 33));
}

// Infinities and NaN in weights or activations come out as such: they are not lost on the way.
static void what_is_not_finite_stays_so(void **state) {
    (void)state;
    inki_kernels k;
    inki_kernels_init(&k, ~0u);
    for (size_t t = 0; t < COUNT(all_types); t++)
        for (size_t at = 0; at < 64; at++) {
            const uint32_t type = all_types[t];
            const bool floats = inki_act_form_of(type) == INKI_ACT_F32;
            float x[64], w[64], out = 0;
            uint8_t row[256];
            _Alignas(64) uint8_t act[256];
            for (int i = 0; i < 64; i++) x[i] = w[i] = 1;
            x[at] = at % 3 == 0 ? NAN : at % 3 == 1 ? INFINITY : -INFINITY;
            inki_quantize_row(type, row, w, 64);
            if (!floats) k.quantize_act(act, x, 64);
            k.matmul[type](&out, 1, row, sizeof row, floats ? (void *)x : act, 256, NULL, 1, 64, 1);
            assert_true(isnan(out) != 0 || isinf(out) != 0);
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
    READS_BEYOND,
    FLAWS
};
static enum flaw flaw;
static uint32_t flawed_type;

static double flawed_dot(const char *w, const char *x, size_t n_cols, bool backwards) {
    const bool floats = inki_act_form_of(flawed_type) == INKI_ACT_F32;
    const size_t n = flaw == DROPS_LAST ? n_cols - 1 : n_cols;
    float sum = 0;
    for (size_t j = 0; j < n; j++) {
        const size_t i = backwards ? n - 1 - j : j;
        sum += (float)(true_value(flawed_type, w, i) *
                       (floats ? true_value(INKI_F32, x, i) : true_act(x, n_cols, i)));
    }
    return (double)sum * (flaw == SCALE_OFF ? 1.0001 : 1);
}

static void flawed_matmul(float *out, size_t out_stride, const void *weights, size_t row_bytes,
                          const void *acts, size_t act_stride, const float *bias, size_t n_rows,
                          size_t n_cols, size_t n_batch) {
    for (size_t b = 0; b < n_batch; b++)
        for (size_t r = 0; r < n_rows; r++) {
            const size_t row = flaw == NEXT_ROW ? (r + 1) % n_rows : r;
            const char *x = (const char *)acts + b * act_stride;
            double sum = flawed_dot((const char *)weights + row * row_bytes, x, n_cols,
                                    flaw == ORDER_BY_BATCH && n_batch > 1);
            if (bias != NULL && flaw != FORGETS_BIAS) sum += (double)bias[r];
            if (flaw == READS_BEYOND)
                sum += 0 * (double)((const volatile char *)weights)[n_rows * row_bytes];
            out[b * out_stride + r] = (float)sum;
            if (flaw == WRITES_BEYOND && b + 1 < n_batch) out[b * out_stride + n_rows] = 0;
        }
}

static void broken_kernels_are_caught(void **state) {
    (void)state;
    inki_kernels k;
    inki_kernels_init(&k, ~0u);
    for (size_t t = 0; t < COUNT(all_types); t++)
        for (flaw = NONE; flaw < READS_BEYOND; flaw++) {
            flawed_type = all_types[t];
            const bool found =
                judge_size(flawed_matmul, &k, flawed_type, 4, 64, 2, HARD_PLAIN) != NULL;
            if (found != (flaw != NONE))
                fail_msg("%s, flaw %d: %s", inki_type_of(flawed_type).name, (int)flaw,
                         found ? "found" : "missed");
        }
}

static void reading_too_far_ends_the_program(void **state) {
    (void)state;
    inki_kernels k;
    inki_kernels_init(&k, ~0u);
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
        judge_size(flawed_matmul, &k, flawed_type, 2, 64, 2, HARD_PLAIN);
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_false(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_and_size),
        cmocka_unit_test(other_types_have_no_slot),
        cmocka_unit_test(what_is_not_finite_stays_so),
        cmocka_unit_test(broken_kernels_are_caught),
        cmocka_unit_test(reading_too_far_ends_the_program),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
