// SPDX-License-Identifier: MIT
// Failures: one call fills the caller's ink_error and returns the status.
#ifndef INKI_BASE_ERROR_H
#define INKI_BASE_ERROR_H

#include "inkling/inkling.h"

#if defined(__GNUC__)
#define INKI_PRINTF(f, a) __attribute__((format(printf, f, a)))
#else
#define INKI_PRINTF(f, a)
#endif

// Fills `error` (may be NULL) and returns `status`. The message becomes "where: text" (or "text"
// when `where` is NULL or ""), control characters and broken UTF-8 made printable; of a `where`
// that is too long the end is kept, as it names the file. `offset`: where in the input, 0 if that
// has no meaning. Formats take only integers and strings: no %f, its look depends on the locale.
ink_status inki_fail(ink_error *error, ink_status status, const char *where, uint64_t offset,
                     const char *format, ...) INKI_PRINTF(5, 6);

// As inki_fail with the text "out of memory (N bytes)".
ink_status inki_fail_nomem(ink_error *error, size_t bytes);

// Puts "prefix: " before the message of a filled error, e.g. the file's name; keeps the rest. Of a
// prefix as long as `where` can be, or longer, the end is kept.
void inki_error_prefix(ink_error *error, const char *prefix);

#endif
