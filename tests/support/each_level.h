// SPDX-License-Identifier: MIT
// Tests of kernels run once for each instruction-set level that this machine has.
#ifndef TESTS_EACH_LEVEL_H
#define TESTS_EACH_LEVEL_H

#include "kernels/kernels.h"

// Calls `group` with the table of each level, lowest first, and adds up what it returns. The group
// should carry the level's name (cmocka_run_group_tests_name), so that a failure tells it.
// INKLING_CPU is taken out of the environment first; INKLING_TEST_LEVEL=avx2 runs that one only.
int each_level(int (*group)(const inki_kernels *level));

// The same; but in a sanitizer's quick run, where kernels have been looked at by their own tests,
// the best level only.
int each_level_or_best(int (*group)(const inki_kernels *level));

// The mask that gives a runtime this level.
uint32_t each_level_mask(const inki_kernels *level);

#endif
