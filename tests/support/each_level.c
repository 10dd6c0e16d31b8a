// SPDX-License-Identifier: MIT
#include "each_level.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int run_levels(const char *only, int (*group)(const inki_kernels *level)) {
    int failures = 0, n_levels = 0;
    unsetenv("INKLING_CPU");
    for (uint32_t i = 0; i < INKI_LEVELS; i++) {
        if ((inki_cpu_levels() >> i & 1) == 0) continue;
        if (only != NULL && strcmp(only, inki_level_name(i)) != 0) continue;
        n_levels++;
        inki_kernels k;
        inki_kernels_init(&k, inki_level_mask(i));
        if (strcmp(k.name, inki_level_name(i)) != 0) {
            // What ran would be another level than the one reported.
            fprintf(stderr, "asked for level %s, got %s\n", inki_level_name(i), k.name);
            failures++;
            continue;
        }
        printf("[  LEVEL   ] %s\n", k.name);
        fflush(stdout);
        failures += group(&k);
    }
    if (n_levels == 0) fprintf(stderr, "this machine has no level %s\n", only);
    return n_levels == 0 ? 1 : failures;
}

int each_level(int (*group)(const inki_kernels *level)) {
    return run_levels(getenv("INKLING_TEST_LEVEL"), group);
}

int each_level_or_best(int (*group)(const inki_kernels *level)) {
    const char *only = getenv("INKLING_TEST_LEVEL");
    if (only == NULL && getenv("INKLING_SANITIZE") != NULL && getenv("INKLING_TEST_LONG") == NULL) {
        inki_kernels best;
        inki_kernels_init(&best, ~0u);
        only = best.name;
        printf("left out: levels below %s\n", only);
    }
    return run_levels(only, group);
}

uint32_t each_level_mask(const inki_kernels *level) {
    return inki_level_mask((uint32_t)inki_level_by_name(level->name));
}
