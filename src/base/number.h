// SPDX-License-Identifier: MIT
// Numbers as text, independent of the host's locale.
#ifndef INKI_BASE_NUMBER_H
#define INKI_BASE_NUMBER_H

#include <stdbool.h>
#include <stddef.h>

// Reads a decimal number ("-1.5e3", "inf", "-inf"; no hex, no nan, no blanks) that fills s [n]
// entirely; correctly rounded for up to 19 digits. False, *out untouched, if it is none.
bool inki_parse_double(const char *s, size_t n, double *out);

// The shortest decimal text that inki_parse_double reads back to the same float; 0-terminated.
// Returns its length; cap must be at least 32.
size_t inki_format_float(float value, char *out, size_t cap);

#endif
