// SPDX-License-Identifier: MIT
// For long programs of which little has threads.
#ifndef TESTS_THREADS_ONLY_H
#define TESTS_THREADS_ONLY_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

// ThreadSanitizer sees nothing new where there is one thread: under it only the tests with
// "threads" in their names run. To be called before the group.
static inline void threads_only_under_tsan(void) {
    const char *sanitizer = getenv("INKLING_SANITIZE");
    if (sanitizer == NULL || strcmp(sanitizer, "thread") != 0) return;
    if (getenv("INKLING_TEST_LONG") != NULL) return;
    print_message("left out: what has one thread, ThreadSanitizer sees nothing new in it "
                  "(INKLING_TEST_LONG)\n");
    cmocka_set_test_filter("*threads*");
}

#endif
