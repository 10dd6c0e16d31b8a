// SPDX-License-Identifier: MIT
// Which level a mask gives.
#include "kernels/kernels.h"
#include "kernels/target.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

static bool is_arm(uint32_t level) { return level >= INKI_LEVEL_NEON; }

static const char *name_of_mask(uint32_t mask) {
    inki_kernels k;
    inki_kernels_init(&k, mask);
    return k.name;
}

static void names(void **state) {
    (void)state;
    for (uint32_t i = 0; i < INKI_LEVELS; i++) {
        assert_non_null(inki_level_name(i));
        assert_int_equal(inki_level_by_name(inki_level_name(i)), i);
    }
    assert_null(inki_level_name(INKI_LEVELS));
    assert_null(inki_level_name(UINT32_MAX));
    static const char *const unknown[] = {"", "avx", "AVX2", "avx2 ", "avx5122", "neon\n"};
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++)
        assert_int_equal(inki_level_by_name(unknown[i]), -1);
}

static void masks_have_all_below(void **state) {
    (void)state;
    assert_int_equal(inki_level_mask(INKI_LEVEL_PORTABLE), 1);
    assert_int_equal(inki_level_mask(INKI_LEVEL_AVX512), 1 | 2 | 4);
    assert_int_equal(inki_level_mask(INKI_LEVEL_NEON), 1 | 1 << INKI_LEVEL_NEON);
    for (uint32_t i = 0; i < INKI_LEVELS; i++)
        for (uint32_t below = 0; below < INKI_LEVELS; below++)
            assert_int_equal(inki_level_mask(i) >> below & 1,
                             below == 0 || (below <= i && is_arm(below) == is_arm(i)));
}

static void levels_of_this_machine(void **state) {
    (void)state;
    const uint32_t have = inki_cpu_levels();
    assert_int_equal(have & 1, 1);
    for (uint32_t i = 0; i < INKI_LEVELS; i++) {
        if ((have >> i & 1) == 0) continue;
        print_message("this machine has %s\n", inki_level_name(i));
        assert_string_equal(name_of_mask(inki_level_mask(i)), inki_level_name(i));
        assert_int_equal(have & inki_level_mask(i), inki_level_mask(i)); // and those below
    }
#if defined(INKI_HAVE_X86)
    assert_int_equal(have & 1u << INKI_LEVEL_NEON, 0);
    assert_int_equal((have >> INKI_LEVEL_AVX2 & 1) == 1,
                     __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"));
    assert_int_equal((have >> INKI_LEVEL_AVX512 & 1) == 1, __builtin_cpu_supports("avx512bw") &&
                                                               __builtin_cpu_supports("avx512dq") &&
                                                               __builtin_cpu_supports("avx512vl"));
#elif defined(INKI_HAVE_NEON)
    assert_int_equal(have >> INKI_LEVEL_NEON & 1, 1);
    assert_int_equal(have & 1u << INKI_LEVEL_AVX2, 0);
#endif
}

// Every mask of levels: the best one that has all below it in the mask and in the machine.
static void every_mask(void **state) {
    (void)state;
    const uint32_t have = inki_cpu_levels();
    for (uint32_t mask = 0; mask < 1u << INKI_LEVELS; mask++) {
        uint32_t want = INKI_LEVEL_PORTABLE;
        for (uint32_t i = 1; i < INKI_LEVELS; i++) {
            bool whole = true;
            for (uint32_t below = 1; below <= i; below++)
                if (is_arm(below) == is_arm(i)) whole = whole && (have & mask) >> below & 1;
            if (whole) want = i;
        }
        assert_string_equal(name_of_mask(mask), inki_level_name(want));
    }
    assert_string_equal(name_of_mask(UINT32_MAX), name_of_mask((1u << INKI_LEVELS) - 1));
    assert_string_equal(name_of_mask(~((1u << INKI_LEVELS) - 1)), "portable");
}

// A level may leave a slot to the one below it, but none empty.
static void no_level_has_gaps(void **state) {
    (void)state;
    inki_kernels portable;
    inki_kernels_init(&portable, 0);
    for (uint32_t i = 0; i < INKI_LEVELS; i++) {
        inki_kernels k;
        inki_kernels_init(&k, inki_level_mask(i));
        for (uint32_t t = 0; t < INKI_TENSOR_TYPES; t++) {
            assert_int_equal(k.matmul[t] == NULL, portable.matmul[t] == NULL);
            assert_int_equal(k.dequantize[t] == NULL, portable.dequantize[t] == NULL);
        }
        for (uint32_t kv = 0; kv < INKI_KV_TYPES; kv++)
            assert_true(k.store_key[kv] != NULL && k.store_value[kv] != NULL &&
                        k.attend[kv] != NULL);
        assert_true(k.quantize_act != NULL && k.layer_norm != NULL && k.gelu != NULL &&
                    k.add != NULL && k.scale != NULL && k.all_finite != NULL);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),
        cmocka_unit_test(masks_have_all_below),
        cmocka_unit_test(levels_of_this_machine),
        cmocka_unit_test(every_mask),
        cmocka_unit_test(no_level_has_gaps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
