// SPDX-License-Identifier: MIT
// Into and out of quantised rows: weights, activations, keys and values; at every level of this
// machine.
#include "each_level.h"
#include "guarded.h"

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
    assert_int_equal(inki_act_row_bytes(INKI_ACT_Q8, 768), 960);  // 768 + 24 * 4 + 48 * 2
    assert_int_equal(inki_act_row_bytes(INKI_ACT_Q8, 800), 1024); // 800 + 25 * 4 + 50 * 2 = 1000
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
            for (uint32_t kv = 0; kv < INKI_KV_TYPES; kv++) {
                _Alignas(64) static uint8_t tile[INKI_TILE * 128];
                k.store_key[kv](tile, b % INKI_TILE, x, 32);
                k.store_value[kv](tile, b % INKI_TILE, x, 32);
            }
        }
}

static void check_activations(size_t n, enum hard_kind kind) {
    guarded in = guarded_new(n * 4), out = guarded_new(n + n / 8 + n / 8);
    const float *x = in.data;
    hard_fill(in.data, n, kind, n);
    guarded_seal(&in);
    k.quantize_act(out.data, x, n);
    const int8_t *q = out.data;
    for (size_t i = 0; i < n; i++) {
        float largest = 0, d;
        int sum = 0;
        int16_t kept;
        for (size_t j = i / 32 * 32; j < i / 32 * 32 + 32; j++)
            largest = fmaxf(largest, fabsf(x[j]));
        for (size_t j = i / 16 * 16; j < i / 16 * 16 + 16; j++) sum += q[j];
        memcpy(&d, (char *)out.data + n + i / 32 * 4, 4);
        memcpy(&kept, (char *)out.data + n + n / 8 + i / 16 * 2, 2);
        assert_true(largest < 0x1p-100f ? d == 0.0f : d == largest / 127.0f);
        assert_true(q[i] >= -127);
        assert_int_equal(kept, sum);
        const double limit = largest < 0x1p-100f ? 0x1p-100 : (double)d * 0.50002;
        if (!(fabs(true_act(out.data, n, i) - (double)x[i]) <= limit))
            fail_msg("%s, %s numbers, %zu of %zu: %g for %g", k.name, hard_name(kind), i, n,
                     true_act(out.data, n, i), (double)x[i]);
    }
    guarded_free(&in);
    guarded_free(&out);
}

static void activations(void **state) {
    (void)state;
    for (size_t n = 32; n <= 320; n += 32)
        for (int kind = 0; kind < HARD_KINDS; kind++) check_activations(n, (enum hard_kind)kind);
}

// A block does not depend on those beside it, and every level makes the same bytes: the portable
// rule leaves no freedom.
static void activations_by_block(void **state) {
    (void)state;
    enum { N = 320, BYTES = N + N / 4 };
    inki_kernels portable;
    inki_kernels_init(&portable, 0);
    for (int kind = 0; kind < HARD_KINDS; kind++) {
        float x[N];
        _Alignas(64) uint8_t got[BYTES], want[BYTES], block[64];
        hard_fill(x, N, (enum hard_kind)kind, 31);
        k.quantize_act(got, x, N);
        portable.quantize_act(want, x, N);
        assert_memory_equal(got, want, BYTES);
        for (size_t b = 0; b < N / 32; b++) {
            k.quantize_act(block, x + b * 32, 32);
            assert_memory_equal(block, got + b * 32, 32);
            assert_memory_equal(block + 32, got + N + b * 4, 4);
            assert_memory_equal(block + 36, got + N + N / 8 + b * 4, 4);
        }
    }
}

// What is not finite becomes the scale of its block, and only of its own.
static void activations_that_are_not_finite(void **state) {
    (void)state;
    static const float bad[] = {NAN, -NAN, INFINITY, -INFINITY};
    for (size_t at = 0; at < 96; at++) {
        float x[96], d[3];
        _Alignas(64) uint8_t act[128];
        hard_fill(x, 96, HARD_PLAIN, at);
        x[at] = bad[at % COUNT(bad)];
        k.quantize_act(act, x, 96);
        memcpy(d, act + 96, sizeof d);
        for (size_t b = 0; b < 3; b++) assert_int_equal(isfinite(d[b]) == 0, b == at / 32);
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

// How far element i of x [n] may be from what is kept of it.
static double kv_limit(uint32_t kv, const float *x, size_t n, size_t i) {
    double largest = 0;
    for (size_t j = i / 32 * 32; j < n && j < i / 32 * 32 + 32; j++)
        largest = fmax(largest, fabs((double)x[j]));
    // Q8_0: half a step of a scale that is rounded to 11 bits or to 2^-24; the clamp at 127 steps
    // may cost that rounding 127 times.
    if (kv == INK_KV_Q8_0) return largest * (0.51 / 127 + 0x1p-11) + 127 * 0x1p-25;
    return kv == INK_KV_F32 ? 0 : fabs((double)x[i]) * 0x1p-11 + 0x1p-25;
}

static guarded kv_numbers(size_t n, enum hard_kind kind, uint64_t seed) {
    guarded in = guarded_new(n * 4);
    float *x = in.data;
    hard_fill(x, n, kind, seed);
    for (size_t i = 0; i < n; i++) x[i] = fmaxf(-6e4f, fminf(6e4f, x[i]));
    guarded_seal(&in);
    return in;
}

enum { UNTOUCHED = 0x7b };

static void check_value(uint32_t kv, size_t n, enum hard_kind kind, size_t pos) {
    const size_t row_bytes = inki_kv_row_bytes(kv, n), bytes = INKI_TILE * row_bytes;
    guarded in = kv_numbers(n, kind, n + pos), tile = guarded_new(bytes);
    const float *x = in.data;
    memset(tile.data, UNTOUCHED, bytes);
    k.store_value[kv](tile.data, pos, x, n);
    const uint8_t *at = tile.data, *row = at + pos * row_bytes;
    for (size_t i = 0; i < n; i++)
        if (!(fabs(true_kv(kv, row, i) - (double)x[i]) <= kv_limit(kv, x, n, i)))
            fail_msg("%s, kv %u, %zu of %zu values: %g for %g", k.name, kv, i, n,
                     true_kv(kv, row, i), (double)x[i]);
    for (size_t i = n; kv == INK_KV_Q8_0 && i % 32 != 0; i++) assert_true(true_kv(kv, row, i) == 0);
    for (size_t i = 0; i < bytes; i++)
        if ((i < pos * row_bytes || i >= (pos + 1) * row_bytes) && at[i] != UNTOUCHED)
            fail_msg("%s, kv %u, %zu values: row %zu writes byte %zu", k.name, kv, n, pos, i);
    guarded_free(&in);
    guarded_free(&tile);
}

// A key fills its column; where it is the first of sixteen the others of them become zero, all bits
// of them; nothing else changes.
static void check_key(uint32_t kv, size_t n, enum hard_kind kind, size_t pos) {
    const size_t bytes = INKI_TILE * inki_kv_row_bytes(kv, n);
    guarded in = kv_numbers(n, kind, n + pos), tile = guarded_new(bytes);
    const float *x = in.data;
    memset(tile.data, UNTOUCHED, bytes);
    k.store_key[kv](tile.data, pos, x, n);
    const size_t n_dims = kv == INK_KV_Q8_0 ? (n + 31) / 32 * 32 : n;
    uint8_t *want = malloc(bytes), *at = tile.data;
    assert_non_null(want);
    memset(want, UNTOUCHED, bytes);
    for (size_t i = 0; i < n_dims; i++) {
        const double got = true_key(kv, at, pos, i), asked = i < n ? (double)x[i] : 0;
        if (!(fabs(got - asked) <= (i < n ? kv_limit(kv, x, n, i) : 0)))
            fail_msg("%s, kv %u, %zu of %zu values, column %zu: %g for %g", k.name, kv, i, n, pos,
                     got, asked);
        for (size_t c = pos; c < pos + (pos % 16 == 0 ? 16 : 1); c++) {
            const size_t size = kv == INK_KV_F32 ? 4 : kv == INK_KV_F16 ? 2 : 1;
            const size_t block = i / 32 * 34 * INKI_TILE;
            const size_t byte = kv == INK_KV_Q8_0 ? block + (2 + i % 32) * INKI_TILE + c
                                                  : (i * INKI_TILE + c) * size;
            memset(want + byte, 0, size);
            if (c == pos) memcpy(want + byte, at + byte, size);
            if (kv != INK_KV_Q8_0) continue;
            memset(want + block + 2 * c, 0, 2);
            if (c == pos) memcpy(want + block + 2 * c, at + block + 2 * c, 2);
        }
    }
    for (size_t i = 0; i < bytes; i++)
        if (at[i] != want[i])
            fail_msg("%s, kv %u, %zu values: column %zu makes byte %zu %d, not %d", k.name, kv, n,
                     pos, i, at[i], want[i]);
    free(want);
    guarded_free(&in);
    guarded_free(&tile);
}

static void keys_and_values(void **state) {
    (void)state;
    static const size_t places[] = {0, 1, 15, 16, 17, 31, 32, 33, 47, 48, 49, 62, 63};
    size_t at = 0;
    for (uint32_t kv = 0; kv < INKI_KV_TYPES; kv++)
        for (size_t s = 0; s < COUNT(sizes); s++)
            for (int kind = 0; kind < HARD_KINDS; kind++)
                for (int i = 0; i < 3; i++, at++) {
                    check_key(kv, sizes[s], (enum hard_kind)kind, places[at % COUNT(places)]);
                    check_value(kv, sizes[s], (enum hard_kind)kind, places[at % COUNT(places)]);
                }
}

// A key and a value that hold the same numbers hold them in the same bits, and every level stores
// the same: rounding leaves no freedom, and saved states move between machines.
static void keys_equal_values_at_every_level(void **state) {
    (void)state;
    inki_kernels portable;
    inki_kernels_init(&portable, 0);
    for (uint32_t kv = 0; kv < INKI_KV_TYPES; kv++)
        for (size_t s = 0; s < COUNT(sizes); s++)
            for (int kind = 0; kind < HARD_KINDS; kind++) {
                const size_t n = sizes[s], row_bytes = inki_kv_row_bytes(kv, n);
                guarded in = guarded_new(n * 4), keys = guarded_new(INKI_TILE * row_bytes),
                        values = guarded_new(INKI_TILE * row_bytes), want = guarded_new(row_bytes);
                hard_fill(in.data, n, (enum hard_kind)kind, s);
                k.store_key[kv](keys.data, 16, in.data, n);
                k.store_value[kv](values.data, 0, in.data, n);
                portable.store_value[kv](want.data, 0, in.data, n);
                assert_memory_equal(values.data, want.data, row_bytes);
                for (size_t i = 0; i < n; i++) {
                    const double key = true_key(kv, keys.data, 16, i),
                                 value = true_kv(kv, values.data, i);
                    assert_true(key == value || (isnan(key) && isnan(value)));
                }
                guarded_free(&in);
                guarded_free(&keys);
                guarded_free(&values);
                guarded_free(&want);
            }
}

// Only what is in use moves to another page: columns up to the next sixteen.
static void copies_of_keys(void **state) {
    (void)state;
    for (uint32_t kv = 0; kv < INKI_KV_TYPES; kv++)
        for (size_t s = 0; s < COUNT(sizes); s++)
            for (size_t n = 0; n <= INKI_TILE; n++) {
                const size_t dim = sizes[s], bytes = INKI_TILE * inki_kv_row_bytes(kv, dim);
                if (dim > 96 && n % 7 != 0) continue;
                guarded from = guarded_new(bytes), to = guarded_new(bytes);
                float *x = malloc(dim * sizeof *x);
                assert_non_null(x);
                memset(from.data, 0, bytes);
                for (size_t t = 0; t < INKI_TILE; t++) {
                    hard_fill(x, dim, HARD_PLAIN, t);
                    k.store_key[kv](from.data, t, x, dim);
                }
                guarded_seal(&from);
                memset(to.data, 0, bytes);
                inki_kv_copy_keys(kv, to.data, from.data, n, dim);
                for (size_t t = 0; t < INKI_TILE; t++)
                    for (size_t i = 0; i < dim; i++)
                        assert_true(true_key(kv, to.data, t, i) ==
                                    (t < (n + 15) / 16 * 16 ? true_key(kv, from.data, t, i) : 0));
                free(x);
                guarded_free(&from);
                guarded_free(&to);
            }
}

static int at_level(const inki_kernels *level) {
    k = *level;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_of_rows),
        cmocka_unit_test(dequantize),
        cmocka_unit_test(weights_are_near),
        cmocka_unit_test(weights_by_hand),
        cmocka_unit_test(weights_of_any_bits),
        cmocka_unit_test(activations),
        cmocka_unit_test(activations_by_block),
        cmocka_unit_test(activations_that_are_not_finite),
        cmocka_unit_test(ties_of_activations_go_to_even),
        cmocka_unit_test(keys_and_values),
        cmocka_unit_test(keys_equal_values_at_every_level),
        cmocka_unit_test(copies_of_keys),
    };
    return cmocka_run_group_tests_name(k.name, tests, NULL, NULL);
}

int main(void) { return each_level(at_level); }
