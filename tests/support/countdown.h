// SPDX-License-Identifier: MIT
// A session's `interrupted` that says yes from its n-th question on: a cancel at any time.
#ifndef TESTS_COUNTDOWN_H
#define TESTS_COUNTDOWN_H

#include <stdbool.h>
#include <stdint.h>

typedef struct countdown {
    int left;
} countdown;

static inline bool counts_down(const void *arg) {
    countdown *c = (countdown *)(uintptr_t)arg;
    return c->left-- <= 0;
}

#endif
