// SPDX-License-Identifier: MIT
// Written by tools/gen_unicode.py; change that. Unicode 15.0.0.
// Source: CaseFolding.txt, UnicodeData.txt and DerivedCoreProperties.txt
// of the Unicode Character Database, (c) Unicode, Inc.,
// https://www.unicode.org/license.txt
// clang-format off
#ifndef INKI_FOLD_TABLES_H
#define INKI_FOLD_TABLES_H

#include <stdint.h>

enum { INKI_FOLD_RANGES = 203, INKI_KIND_STARTS = 286 };

// Each is first << 8 | (last - first) << 1 | (1: every second code point only), rising.
extern const uint32_t inki_filter_fold_ranges[INKI_FOLD_RANGES];
// What is added to the lower 16 bits of a code point in the range; the upper ones stay.
extern const uint16_t inki_filter_fold_deltas[INKI_FOLD_RANGES];
// Each is first << 2 | kind, rising: from there on characters are combining marks (1), default
// ignorable (2), or neither (0). Letters and numbers may lie in a range of marks.
extern const uint32_t inki_filter_kind_starts[INKI_KIND_STARTS];

#endif
