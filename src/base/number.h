// SPDX-License-Identifier: MIT
// Numbers as text, independent of the host's locale and rounding mode.
#ifndef INKI_BASE_NUMBER_H
#define INKI_BASE_NUMBER_H

#include <stdbool.h>
#include <stddef.h>

// Reads a decimal number ("-1.5e3", ".5", "5.", "inf", "-inf"; no plus sign in front, no hex, no
// nan, no blanks) that fills s [n] entirely; correctly rounded (to nearest, ties to even) for up to
// 19 digits, beyond that within a unit of the 19th. What is too large becomes infinite. False, *out
// untouched, if it is none.
bool inki_parse_double(const char *s, size_t n, double *out);

// The decimal text with the fewest digits that inki_parse_double reads back to the same float, and
// of those the nearest; with an exponent below 1e-5 and from 1e15. 0-terminated. "inf", "-inf",
// "-0" are read back too, "nan" is not. Returns its length; cap must be at least 32.
size_t inki_format_float(float value, char *out, size_t cap);

#endif
