// SPDX-License-Identifier: MIT
// A fuzz target: one file fuzz_NAME.c with one function that holds its property for every input. It
// is linked with libFuzzer, or with replay.c in the ordinary tests. Seeds lie in
// tests/fuzz/seeds/NAME.
#ifndef TESTS_FUZZ_H
#define TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

// May be defined by a slow target: how many mutated seeds the ordinary tests run, instead of
// 20,000.
extern const size_t fuzz_quick_runs;

// Ends the program when the property does not hold: that is what a fuzzer notices.
#define FUZZ_CHECK(property)                                                                       \
    do {                                                                                           \
        if (!(property)) {                                                                         \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #property);          \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

#endif
