// SPDX-License-Identifier: MIT
// Every block type of weights over random bytes (any bytes are a block): what dequantize makes of
// them, to the bit, and every level's products, against decoders written from the formats'
// definitions. And a model file of each type, opened and run.
#include "guarded.h"
#include "opened.h"
#include "random_blocks.h"
#include "true_blocks.h"

#include "kernels/kernels.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof(a)[0])

// Runs `each` for every level that this machine has.
static void for_levels(void (*each)(const inki_kernels *)) {
    for (uint32_t level = 0; level < INKI_LEVELS; level++) {
        inki_kernels k;
        inki_kernels_init(&k, inki_level_mask(level));
        if (strcmp(k.name, inki_level_name(level)) == 0) each(&k);
    }
}

static size_t row_size(uint32_t type, size_t n) {
    uint64_t bytes = 0;
    assert_true(inki_type_row_bytes(type, n, &bytes));
    return (size_t)bytes;
}

// All halves that there are times all integers fit into 24 bits, so the only rounding of a weight
// is that of its minimum's subtraction; and in double precision not even that one happens.
static void dequantize_type(const inki_kernels *k, uint32_t type, size_t n, int low, int high) {
    const size_t bytes = row_size(type, n);
    guarded row = guarded_new(bytes), out = guarded_new(n * sizeof(float));
    random_blocks(type, row.data, bytes, low, high, n + type);
    guarded_seal(&row);
    float *x = out.data;
    canary_fill(x, n);
    k->dequantize[type](x, row.data, n);
    for (size_t i = 0; i < n; i++) {
        const float want = (float)true_weight(type, row.data, i, NULL);
        if (!(x[i] == want))
            fail_msg("%s, %s, element %zu of %zu: %a for %a", k->name, inki_type_of(type).name, i,
                     n, (double)x[i], (double)want);
    }
    guarded_free(&row);
    guarded_free(&out);
}

static void dequantize_level(const inki_kernels *k) {
    for (const uint32_t *type = true_block_types; *type != 0; type++) {
        const size_t elems = inki_type_of(*type).block_elems;
        for (size_t n = 1; n <= 9; n++) {
            dequantize_type(k, *type, n * elems, -24, 15);
            dequantize_type(k, *type, n * elems, -10, -7);
        }
    }
}
static void dequantize_is_exact(void **state) {
    (void)state;
    for_levels(dequantize_level);
}

typedef struct product {
    uint32_t type;
    size_t n_rows, n_cols, n_batch, row_bytes, act_bytes, stride;
    guarded weights, acts, bias, out;
    bool has_bias;
} product;

// Scales of weights over all halves (wide) or four of a kind, where nothing hides behind something
// larger.
static product new_product(const inki_kernels *k, uint32_t type, size_t n_rows, size_t n_cols,
                           size_t n_batch, bool wide) {
    product p = {.type = type, .n_rows = n_rows, .n_cols = n_cols, .n_batch = n_batch};
    p.row_bytes = row_size(type, n_cols);
    p.act_bytes = inki_act_row_bytes(INKI_ACT_Q8, n_cols);
    p.stride = n_rows + 2;
    p.has_bias = (n_rows ^ n_batch) & 1;
    p.weights = guarded_new(n_rows * p.row_bytes);
    p.acts = guarded_new(n_batch * p.act_bytes);
    p.bias = guarded_new(n_rows * sizeof(float));
    p.out = guarded_new(((n_batch - 1) * p.stride + n_rows) * sizeof(float));
    random_blocks(type, p.weights.data, n_rows * p.row_bytes, wide ? -24 : -10, wide ? 15 : -8,
                  n_rows + n_cols + n_batch);
    float *x = malloc(n_cols * sizeof *x);
    assert_non_null(x);
    for (size_t b = 0; b < n_batch; b++) {
        hard_fill(x, n_cols, wide ? HARD_MIXED : HARD_PLAIN, 50 + b);
        // Sums of a block that are not small: a minimum counts.
        for (size_t i = 0; b % 2 == 1 && i < n_cols; i++) x[i] = fabsf(x[i]);
        k->quantize_act((char *)p.acts.data + b * p.act_bytes, x, n_cols);
    }
    free(x);
    hard_fill(p.bias.data, n_rows, HARD_PLAIN, 5);
    guarded_seal(&p.weights);
    guarded_seal(&p.acts);
    guarded_seal(&p.bias);
    return p;
}

static void free_product(product *p) {
    guarded_free(&p->weights);
    guarded_free(&p->acts);
    guarded_free(&p->bias);
    guarded_free(&p->out);
}

// The exact sum, and how far the sum in floats may be from it. Each group of columns adds a product
// of an exact integer, and for types with minimums a second one; either has been rounded at most
// twice. No partial sum exceeds the sum of magnitudes, and each addition rounds by 2^-24 of it.
static double exact_sum(const product *p, size_t row, size_t b, double *limit) {
    const char *w = (const char *)p->weights.data + row * p->row_bytes;
    const char *x = (const char *)p->acts.data + b * p->act_bytes;
    const size_t group = true_group(p->type);
    double sum = p->has_bias ? (double)((const float *)p->bias.data)[row] : 0;
    double magnitude = fabs(sum);
    for (size_t k = 0; k < p->n_cols; k += group) {
        double plain = 0, subtracted = 0;
        for (size_t i = k; i < k + group; i++) {
            double min;
            const double v = true_weight(p->type, w, i, &min), act = true_act(x, p->n_cols, i);
            plain += (v + min) * act;
            subtracted += min * act;
        }
        sum += plain - subtracted;
        magnitude += fabs(plain) + fabs(subtracted);
    }
    const double terms = 2 * (double)(p->n_cols / group) + 1;
    *limit = (terms + 4) * 0x1p-24 * magnitude + terms * 0x1p-148;
    return sum;
}

static void matmul(const inki_kernels *k, const product *p, float *out, size_t stride, size_t row,
                   size_t n_rows, size_t b, size_t n_batch) {
    k->matmul[p->type](out, stride, (const char *)p->weights.data + row * p->row_bytes,
                       p->row_bytes, (const char *)p->acts.data + b * p->act_bytes, p->act_bytes,
                       p->has_bias ? (const float *)p->bias.data + row : NULL, n_rows, p->n_cols,
                       n_batch);
}

// Alone, and as the last rows and batches of smaller calls: the same bytes.
static const char *differs(const inki_kernels *k, const product *p, size_t row, size_t b,
                           float got) {
    float out[6];
    const size_t rows = p->n_rows - row < 3 ? p->n_rows - row : 3, batch = b > 0 ? 2 : 1;
    matmul(k, p, out, 1, row, 1, b, 1);
    if (memcmp(out, &got, sizeof got) != 0) return "another result alone";
    matmul(k, p, out, 3, row, rows, b + 1 - batch, batch);
    if (memcmp(out + (batch - 1) * 3, &got, sizeof got) != 0) return "another result among fewer";
    return NULL;
}

static void multiply(const inki_kernels *k, uint32_t type, size_t n_rows, size_t n_cols,
                     size_t n_batch, bool wide) {
    product p = new_product(k, type, n_rows, n_cols, n_batch, wide);
    float *out = p.out.data;
    const size_t n = (n_batch - 1) * p.stride + n_rows;
    canary_fill(out, n);
    matmul(k, &p, out, p.stride, 0, n_rows, 0, n_batch);
    for (size_t i = 0; i < n; i++) {
        const size_t row = i % p.stride, b = i / p.stride;
        const char *wrong = NULL;
        double want = 0, limit = 0;
        if (row >= n_rows) {
            wrong = canary_is(out[i]) ? NULL : "written between rows";
        } else {
            want = exact_sum(&p, row, b, &limit);
            wrong =
                fabs((double)out[i] - want) <= limit ? differs(k, &p, row, b, out[i]) : "wrong sum";
        }
        if (wrong != NULL)
            fail_msg("%s, %s, %zu x %zu, batch %zu: %s at row %zu of batch %zu: %g for %g +- %g",
                     k->name, inki_type_of(type).name, n_rows, n_cols, n_batch, wrong, row, b,
                     (double)out[i], want, limit);
    }
    free_product(&p);
}

// Rows around multiples of 8, 16 and 32, batches around 4, 8 and 32, one block to six.
static void products_of_level(const inki_kernels *k) {
    static const size_t rows[] = {1, 3, 7, 8, 9, 15, 16, 17, 31, 33, 40};
    static const size_t batches[] = {1, 2, 3, 4, 5, 7, 8, 9, 12, 17, 33};
    for (const uint32_t *type = true_block_types; *type != 0; type++) {
        const size_t elems = inki_type_of(*type).block_elems;
        for (size_t r = 0; r < COUNT(rows); r++)
            for (size_t i = 0; i < 3; i++) {
                const size_t blocks = 1 + (r + i) % (elems == 32 ? 6 : 2);
                multiply(k, *type, rows[r], blocks * elems, batches[(r * 4 + i * 5) % 11], i == 2);
            }
        multiply(k, *type, 5, elems == 32 ? 17 * 32 : 3 * 256, 2, false); // more than one piece
    }
}
static void products_are_right(void **state) {
    (void)state;
    for_levels(products_of_level);
}

// All vector levels add in one order, so that a file gives the same words on each.
static void expect_same_products(const inki_kernels *a, const inki_kernels *b, uint32_t type,
                                 size_t n_rows, size_t n_cols, size_t n_batch) {
    product p = new_product(a, type, n_rows, n_cols, n_batch, false);
    const size_t n = n_rows * n_batch;
    float *one = malloc(n * sizeof *one), *other = malloc(n * sizeof *other);
    assert_non_null(one);
    assert_non_null(other);
    matmul(a, &p, one, n_rows, 0, n_rows, 0, n_batch);
    matmul(b, &p, other, n_rows, 0, n_rows, 0, n_batch);
    if (memcmp(one, other, n * sizeof *one) != 0)
        fail_msg("%s differs: %s and %s", inki_type_of(type).name, a->name, b->name);
    free(one);
    free(other);
    free_product(&p);
}

static void vector_levels_agree(void **state) {
    (void)state;
    size_t n = 0;
    for (uint32_t level = 1; level < INKI_LEVELS; level++)
        for (uint32_t above = level + 1; above < INKI_LEVELS; above++) {
            inki_kernels a, b;
            inki_kernels_init(&a, inki_level_mask(level));
            inki_kernels_init(&b, inki_level_mask(above));
            if (strcmp(a.name, inki_level_name(level)) != 0) continue;
            if (strcmp(b.name, inki_level_name(above)) != 0) continue;
            for (const uint32_t *type = true_block_types; *type != 0; type++, n++) {
                expect_same_products(&a, &b, *type, 37, 768, 1);
                expect_same_products(&a, &b, *type, 21, 1280, 7);
                expect_same_products(&a, &b, *type, 37, 768, 17);
            }
        }
    print_message("%zu pairs of levels and types\n", n);
}

// An infinite or NaN scale or minimum reaches the result.
static void not_finite_level(const inki_kernels *k) {
    static const uint16_t bad[] = {0x7c00, 0xfc00, 0x7e00};
    float x[256], out[9];
    _Alignas(64) uint8_t act[512], rows[9 * 8 * 34];
    for (int i = 0; i < 256; i++) x[i] = 1;
    k->quantize_act(act, x, 256);
    for (const uint32_t *type = true_block_types; *type != 0; type++) {
        const size_t bytes = row_size(*type, 256);
        const inki_type_info info = inki_type_of(*type);
        const size_t at = *type == INKI_Q2_K   ? 80
                          : *type == INKI_Q3_K ? 108
                          : *type == INKI_Q6_K ? 208
                                               : 0;
        const size_t row = *type % 9;
        for (size_t i = 0; i < COUNT(bad); i++) {
            memset(rows, 0x11, sizeof rows);
            memcpy(rows + row * bytes + 256 / info.block_elems / 2 * info.block_bytes + at, &bad[i],
                   2);
            k->matmul[*type](out, 9, rows, bytes, act, sizeof act, NULL, 9, 256, 1);
            for (size_t r = 0; r < 9; r++)
                assert_int_equal((isnan(out[r]) || isinf(out[r])) != 0, r == row);
        }
    }
}
static void not_finite_stays_so(void **state) {
    (void)state;
    for_levels(not_finite_level);
}

// The limits above can fail: they tell a changed bit of one weight.
static void one_bit_is_seen(void **state) {
    (void)state;
    inki_kernels k;
    inki_kernels_init(&k, 1u << INKI_LEVEL_PORTABLE);
    for (const uint32_t *type = true_block_types; *type != 0; type++) {
        product p = new_product(&k, *type, 1, 256, 2, false);
        uint8_t row[34 * 8];
        size_t seen = 0;
        const size_t n_bits = p.row_bytes * 8;
        for (size_t bit = 0; bit < n_bits; bit++) {
            memcpy(row, p.weights.data, p.row_bytes);
            row[bit / 8] ^= (uint8_t)(1 << bit % 8);
            float out = 0;
            double limit = 0;
            const double want = exact_sum(&p, 0, 1, &limit);
            k.matmul[*type](&out, 1, row, p.row_bytes, (char *)p.acts.data + p.act_bytes,
                            p.act_bytes, p.has_bias ? p.bias.data : NULL, 1, 256, 1);
            if (!(fabs((double)out - want) <= limit)) seen++;
        }
        // What remains: activations of 0, scales of 0.
        if (seen * 100 < n_bits * 90)
            fail_msg("%s: %zu of %zu", inki_type_of(*type).name, seen, n_bits);
        free_product(&p);
    }
}

// A model with all its matrices in the type, embeddings and head among them.
static void model_runs(void **state) {
    (void)state;
    for (const uint32_t *type = true_block_types; *type != 0; type++) {
        tiny_model m = tiny_model_defaults();
        m.n_embd = 256;
        m.n_ff = 512;
        m.n_head = 4;
        m.n_layer = 1;
        m.type = *type;
        opened o = opened_tiny(&m, 2, NULL);
        ink_session *session = opened_session(&o, 0, INK_KV_F16, 1);
        ink_token ids[20];
        opened_ids(ids, 20, m.n_vocab, *type);
        opened_eval(session, ids, 20, 0);
        size_t n_vocab = 0;
        const float *logits = ink_session_logits(session, 0, &n_vocab);
        assert_non_null(logits);
        float low = 0, high = 0;
        for (size_t i = 0; i < n_vocab; i++) {
            assert_true(isfinite(logits[i]));
            low = fminf(low, logits[i]);
            high = fmaxf(high, logits[i]);
        }
        assert_true(high - low > 0.01f);
        ink_session_free(session);
        opened_close(&o);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dequantize_is_exact), cmocka_unit_test(products_are_right),
        cmocka_unit_test(vector_levels_agree), cmocka_unit_test(not_finite_stays_so),
        cmocka_unit_test(one_bit_is_seen),     cmocka_unit_test(model_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
