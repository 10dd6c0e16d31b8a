// SPDX-License-Identifier: MIT
// Source: Scripts.txt and ScriptExtensions.txt of the Unicode Character Database 15.0. Blocks that
// hold one script only are taken whole, so that what later versions add to them is in too.
#include "tokenizer/unicode_scripts.h"

#include <stddef.h>

typedef struct script_range {
    uint32_t first, last;
} script_range;

static const script_range unspaced_ranges[] = {
    {0x0e01, 0x0e3a},   // Thai up to the currency sign, which is everybody's
    {0x0e40, 0x0eff},   // Thai, Lao
    {0x1000, 0x109f},   // Myanmar
    {0x1780, 0x17ff},   // Khmer
    {0x19e0, 0x19ff},   // Khmer symbols
    {0x2e80, 0x2fdf},   // Han radicals
    {0x3005, 0x3007},   // iteration mark, closing mark, zero
    {0x3021, 0x302d},   // Hangzhou numerals, Han tone marks
    {0x3031, 0x3035},   // kana repeat marks
    {0x3038, 0x303c},   // Hangzhou numerals, vertical iteration mark, masu mark
    {0x3041, 0x309f},   // Hiragana with the voiced marks that Katakana has too
    {0x30a1, 0x30fa},   // Katakana up to the middle dot
    {0x30fc, 0x30ff},   // lengthening and iteration marks
    {0x31f0, 0x31ff},   // Katakana, small letters
    {0x32d0, 0x32fe},   // circled Katakana
    {0x3300, 0x3357},   // squared Katakana words
    {0x3400, 0x4dbf},   // Han extension A
    {0x4e00, 0x9fff},   // Han
    {0xa9e0, 0xa9ff},   // Myanmar extended B
    {0xaa60, 0xaa7f},   // Myanmar extended A
    {0xf900, 0xfaff},   // Han compatibility
    {0xff66, 0xff9f},   // half-width Katakana with its marks
    {0x116d0, 0x116ff}, // Myanmar extended C
    {0x16fe2, 0x16fe3}, // old Chinese marks
    {0x16ff0, 0x16ff6}, // Vietnamese reading marks of Han
    {0x1aff0, 0x1b16f}, // Kana extended B, supplement, extended A, small letters
    {0x1f200, 0x1f200}, // squared Hiragana
    {0x20000, 0x3fffd}, // Han extensions: both planes are set aside for ideographs
};

bool inki_unicode_search_unspaced(uint32_t c) {
    size_t from = 0, to = sizeof unspaced_ranges / sizeof *unspaced_ranges;
    while (from < to) {
        const size_t middle = (from + to) / 2;
        if (c > unspaced_ranges[middle].last)
            from = middle + 1;
        else
            to = middle;
    }
    return from < sizeof unspaced_ranges / sizeof *unspaced_ranges &&
           c >= unspaced_ranges[from].first;
}
