// SPDX-License-Identifier: MIT
// Lines up to an empty one are phrases, the rest is text. Any list is refused with a message, or
// finds what comparing everything finds, at each length of the text, and holds back what it must.
#include "tests/unit/filter_oracle.h"

#include "tests/fuzz/fuzz.h"

#include <string.h>

enum { PHRASES_BYTES = 4096, TEXT_BYTES = 192 };

extern const size_t fuzz_quick_runs;
const size_t fuzz_quick_runs = 1200;

static void check_refused(ink_status status, const ink_error *error, const ink_filter *f) {
    FUZZ_CHECK(f == NULL && error->status == status && error->message[0] != 0);
    FUZZ_CHECK(status == INK_E_ARG || status == INK_E_UTF8 || status == INK_E_LIMIT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    static char text[PHRASES_BYTES + 1];
    static oracle o;
    const char *list[ORACLE_PHRASES];
    size_t n = 0;
    if (bytes > PHRASES_BYTES) return 0;
    if (bytes > 0) memcpy(text, data, bytes);
    text[bytes] = 0;
    char *p = text, *line_end;
    while (n < ORACLE_PHRASES && (line_end = memchr(p, '\n', (size_t)(text + bytes - p))) != NULL) {
        *line_end = 0;
        const bool last = line_end == p;
        if (!last) list[n++] = p;
        p = line_end + 1;
        if (last) break;
    }
    ink_filter *f = NULL;
    ink_error error = {0};
    const ink_status status = ink_filter_new(&f, NULL, list, n, &error);
    if (status != INK_OK) {
        check_refused(status, &error, f);
        return 0;
    }
    oracle_init(&o, list, n);
    // Of its exact size: a read past the end is noticed.
    size_t left = (size_t)(text + bytes - p);
    if (left > TEXT_BYTES) left = TEXT_BYTES;
    char *exact = malloc(left > 0 ? left : 1);
    if (exact == NULL) abort();
    memcpy(exact, p, left);
    FUZZ_CHECK(oracle_check(f, &o, exact, left));
    size_t at = 0, length = 0;
    FUZZ_CHECK(ink_filter_find(f, exact, left, &at, &length) == INK_OK);
    const inki_filter_hits want = oracle_scan(&o, exact, left, 0, true);
    FUZZ_CHECK(length == want.bytes && at == want.at);
    free(exact);
    ink_filter_unref(f);
    return 0;
}
