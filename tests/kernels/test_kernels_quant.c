// SPDX-License-Identifier: MIT
// Into and out of quantised rows: weights, activations, keys and values.
#include "guarded.h"

#include "kernels/kernels.h"

#include "base/half.h"
#include "inkling/inkling.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof(a)[0])
static const uint32_t all_types[] = {INKI_F32, INKI_F16, INKI_BF16, INKI_Q8_0, INKI_Q4_0};
static const size_t sizes[] = {1, 15, 16, 17, 31, 32, 33, 63, 64, 65, 96, 256, 288};
static inki_kernels k;

static void sizes_of_rows(void **state) {
    (void)state;
    assert_int_equal(inki_act_form_of(INKI_F32), INKI_ACT_F32);
    assert_int_equal(inki_act_form_of(INKI_BF16), INKI_ACT_F32);
    assert_int_equal(inki_act_form_of(INKI_Q4_0), INKI_ACT_Q8);
    assert_int_equal(inki_act_row_bytes(INKI_ACT_F32, 16), 64);
    assert_int_equal(inki_act_row_bytes(INKI_ACT_F32, 17), 128);
    assert_int_equal(inki_act_row_bytes(INKI_ACT_Q8, 32), 64);
    assert_int_equal(inki_act_row_bytes(INKI_ACT_Q8, 768), 896); // 768 + 24 * 4 = 864
    assert_int_equal(inki_kv_row_bytes(INK_KV_F32, 33), 132);
    assert_int_equal(inki_kv_row_bytes(INK_KV_F16, 33), 66);
    assert_int_equal(inki_kv_row_bytes(INK_KV_Q8_0, 32), 34);
    assert_int_equal(inki_kv_row_bytes(INK_KV_Q8_0, 33), 68);
}

static void dequantize(void **state) {
    (void)state;
    for (size_t t = 0; t < COUNT(all_types); t++)
        for (size_t s = 0; s < COUNT(sizes); s++) {
            const uint32_t type = all_types[t];
            uint64_t bytes = 0;
            if (!inki_type_row_bytes(type, sizes[s], &bytes)) continue;
            guarded row = guarded_new((size_t)bytes), out = guarded_new(sizes[s] * 4);
            // Any bytes are a row: all patterns of scales and values.
            uint64_t seed = s;
            for (size_t i = 0; i < bytes; i++) {
                seed = seed * 6364136223846793005u + 1442695040888963407u;
                ((uint8_t *)row.data)[i] = (uint8_t)(seed >> 56);
            }
            guarded_seal(&row);
            k.dequantize[type](out.data, row.data, sizes[s]);
            for (size_t i = 0; i < sizes[s]; i++) {
                const double want = true_value(type, row.data, i),
                             got = (double)((float *)out.data)[i];
                assert_true(isnan(want) ? isnan(got) != 0 : got == want);
            }
            guarded_free(&row);
            guarded_free(&out);
        }
}

// The quantised weight is as near as its type can be.
static void weights_are_near(void **state) {
    (void)state;
    enum { N = 64 };
    for (size_t t = 0; t < COUNT(all_types); t++)
        for (uint64_t seed = 0; seed < 200; seed++) {
            float x[N];
            uint8_t row[N * 4 + 1];
            hard_fill(x, N, HARD_PLAIN, seed);
            row[N * 4] = 0xa5;
            assert_true(inki_quantize_row(all_types[t], row, x, N));
            for (size_t i = 0; i < N; i++) {
                double largest = 0;
                for (size_t j = i / 32 * 32; j < i / 32 * 32 + 32; j++)
                    largest = fmax(largest, fabs((double)x[j]));
                double limit = 0; // half a step, and the rounding of the scale to 11 bits
                switch (all_types[t]) {
                case INKI_F16: limit = fabs((double)x[i]) * 0x1p-11 + 0x1p-25; break;
                case INKI_BF16: limit = fabs((double)x[i]) * 0x1p-8; break;
                case INKI_Q8_0: limit = largest * (0.5001 / 127 + 0x1p-11); break;
                case INKI_Q4_0: limit = largest * (1.0 / 8 + 0x1p-10); break; // +8 becomes 7
                default: break;
                }
                assert_true(fabs(true_value(all_types[t], row, i) - (double)x[i]) <= limit);
            }
            assert_int_equal(row[N * 4], 0xa5);
        }
}

// Bytes worked out by hand from the reference quantisers' rules.
static void weights_by_hand(void **state) {
    (void)state;
    float x[32] = {127, 0.5f, -0.5f, 1.5f, 2.5f, -2.5f, 0.49f, -127};
    uint8_t q8[34], q4[18];
    assert_true(inki_quantize_row(INKI_Q8_0, q8, x, 32));
    static const int8_t want8[] = {127, 1, -1,   2, 3,
                                   -3,  0, -127, 0}; // scale 1, halves away from zero
    assert_true(q8[0] == 0x00 && q8[1] == 0x3c);
    assert_memory_equal(q8 + 2, want8, sizeof want8);

    // The largest magnitude is -8: scale 1. Nibble = trunc(x + 8.5), at most 15.
    float y[32] = {-8, 7, 0, 0.5f, -0.5f, 7.9f, 0.49f, -7.5f};
    y[16] = 3;
    y[17] = -8;
    assert_true(inki_quantize_row(INKI_Q4_0, q4, y, 32));
    static const uint8_t want4[] = {0 | 11 << 4, 15 | 0 << 4, 8 | 8 << 4, 9 | 8 << 4,
                                    8 | 8 << 4,  15 | 8 << 4, 8 | 8 << 4, 1 | 8 << 4};
    assert_true(q4[0] == 0x00 && q4[1] == 0x3c);
    assert_memory_equal(q4 + 2, want4, sizeof want4);

    // The largest magnitude is +8: scale -1, so that it is held exactly and -8 becomes -7.
    float z[32] = {8, -8, 1};
    assert_true(inki_quantize_row(INKI_Q4_0, q4, z, 32));
    assert_true(q4[0] == 0x00 && q4[1] == 0xbc);
    assert_true(q4[2] == (0 | 8 << 4) && q4[3] == (15 | 8 << 4) && q4[4] == (7 | 8 << 4));

    memset(x, 0, sizeof x);
    assert_true(inki_quantize_row(INKI_Q8_0, q8, x, 32) && inki_quantize_row(INKI_Q4_0, q4, x, 32));
    for (int i = 0; i < 34; i++) assert_int_equal(q8[i], 0);
    for (int i = 2; i < 18; i++) assert_int_equal(q4[i], 0x88);
}

// Nothing undefined (a sanitizer would say so), whatever the numbers.
static void weights_of_any_bits(void **state) {
    (void)state;
    static const float hostile[] = {NAN,  -NAN,   INFINITY, -INFINITY, 3.4e38f, -3.4e38f,
                                    0.0f, 1e-45f, -1e-45f,  1e-38f,    1e-40f,  65520.0f};
    for (size_t a = 0; a < COUNT(hostile); a++)
        for (size_t b = 0; b < COUNT(hostile); b++) {
            float x[32];
            uint8_t row[128];
            _Alignas(64) uint8_t act[64];
            for (size_t i = 0; i < 32; i++) x[i] = i % 2 == 0 ? hostile[a] : hostile[b];
            for (size_t t = 0; t < COUNT(all_types); t++)
                assert_true(inki_quantize_row(all_types[t], row, x, 32));
            k.quantize_act(act, x, 32);
            for (uint32_t kv = 0; kv < INKI_KV_TYPES; kv++) k.kv_store[kv](row, x, 32);
        }
}

static void activations(void **state) {
    (void)state;
    for (size_t n = 32; n <= 160; n += 32)
        for (int kind = 0; kind < HARD_KINDS; kind++) {
            guarded in = guarded_new(n * 4), out = guarded_new(n + n / 8);
            const float *x = in.data;
            hard_fill(in.data, n, (enum hard_kind)kind, n);
            guarded_seal(&in);
            k.quantize_act(out.data, x, n);
            for (size_t i = 0; i < n; i++) {
                float largest = 0, d;
                for (size_t j = i / 32 * 32; j < i / 32 * 32 + 32; j++)
                    largest = fmaxf(largest, fabsf(x[j]));
                memcpy(&d, (char *)out.data + n + i / 32 * 4, 4);
                assert_true(largest < 0x1p-100f ? d == 0.0f : d == largest / 127.0f);
                assert_true(((int8_t *)out.data)[i] >= -127);
                const double limit = largest < 0x1p-100f ? 0x1p-100 : (double)d * 0.50002;
                assert_true(fabs(true_act(out.data, n, i) - (double)x[i]) <= limit);
            }
            guarded_free(&in);
            guarded_free(&out);
        }
}

static void ties_of_activations_go_to_even(void **state) {
    (void)state;
    const float x[32] = {127, 0.5f, 1.5f, 2.5f, -0.5f, -1.5f, -2.5f, -127};
    static const int8_t want[] = {127, 0, 2, 2, 0, -2, -2, -127, 0};
    _Alignas(64) int8_t act[64];
    k.quantize_act(act, x, 32);
    assert_memory_equal(act, want, sizeof want);
}

static void keys_and_values(void **state) {
    (void)state;
    for (uint32_t kv = 0; kv < INKI_KV_TYPES; kv++)
        for (size_t s = 0; s < COUNT(sizes); s++)
            for (int kind = 0; kind < HARD_KINDS; kind++) {
                const size_t n = sizes[s];
                guarded in = guarded_new(n * 4), out = guarded_new(inki_kv_row_bytes(kv, n));
                const float *x = in.data;
                hard_fill(in.data, n, (enum hard_kind)kind, n);
                for (size_t i = 0; i < n; i++)
                    ((float *)in.data)[i] = fmaxf(-6e4f, fminf(6e4f, x[i]));
                guarded_seal(&in);
                memset(out.data, 0x7f, inki_kv_row_bytes(kv, n));
                k.kv_store[kv](out.data, x, n);
                for (size_t i = 0; i < n; i++) {
                    double largest = 0;
                    for (size_t j = i / 32 * 32; j < n && j < i / 32 * 32 + 32; j++)
                        largest = fmax(largest, fabs((double)x[j]));
                    const double error = fabs(true_kv(kv, out.data, i) - (double)x[i]);
                    // Q8_0: half a step of a scale that is rounded to 11 bits or to 2^-24; the
                    // clamp at 127 steps may cost that rounding 127 times.
                    const double limit = kv == INK_KV_F32 ? 0
                                         : kv == INK_KV_F16
                                             ? fabs((double)x[i]) * 0x1p-11 + 0x1p-25
                                             : largest * (0.51 / 127 + 0x1p-11) + 127 * 0x1p-25;
                    assert_true(error <= limit);
                }
                for (size_t i = n; kv == INK_KV_Q8_0 && i % 32 != 0; i++)
                    assert_true(true_kv(kv, out.data, i) == 0);
                guarded_free(&in);
                guarded_free(&out);
            }
}

int main(void) {
    inki_kernels_init(&k, ~0u);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_of_rows),
        cmocka_unit_test(dequantize),
        cmocka_unit_test(weights_are_near),
        cmocka_unit_test(weights_by_hand),
        cmocka_unit_test(weights_of_any_bits),
        cmocka_unit_test(activations),
        cmocka_unit_test(ties_of_activations_go_to_even),
        cmocka_unit_test(keys_and_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
