// SPDX-License-Identifier: MIT
#include "typing/words.h"

#include "base/cursor.h"
#include "inkling/inkling.h"
#include "tokenizer/unicode_scripts.h"
#include "tokenizer/unicode_tables.h"

#include <string.h>

// --- characters ----------------------------------------------------------------------------------

// The character at text [at, n), at < n, and its length. The text is UTF-8; where it is not, the
// length stays inside of the text all the same, and what is read means nothing.
static inline size_t word_char(const char *text, size_t n, size_t at, uint32_t *c) {
    const uint8_t *s = (const uint8_t *)text + at;
    const size_t left = n - at;
    *c = s[0];
    if (s[0] < 0xc0) return 1;
    if (s[0] < 0xe0 && left >= 2) {
        *c = (s[0] & 0x1fu) << 6 | (s[1] & 0x3fu);
        return 2;
    }
    if (s[0] < 0xf0 && left >= 3) {
        *c = (s[0] & 0x0fu) << 12 | (s[1] & 0x3fu) << 6 | (s[2] & 0x3fu);
        return 3;
    }
    if (left < 4) return left;
    *c = (s[0] & 0x07u) << 18 | (s[1] & 0x3fu) << 12 | (s[2] & 0x3fu) << 6 | (s[3] & 0x3fu);
    return 4;
}

typedef enum word_kind {
    WORD_BLANK,
    WORD_LETTER, // or a digit, of a script with blanks
    WORD_SINGLE, // or a digit, of a script without blanks
    WORD_OTHER   // punctuation, symbols; and marks, which belong to the letter before them
} word_kind;

static inline word_kind kind_of_char(uint32_t c) {
    if (c - 0x4e00 <= 0x9fff - 0x4e00) return WORD_SINGLE; // what most of those are
    switch (inki_unicode_class(c)) {
    case INKI_CLASS_SPACE: return WORD_BLANK;
    case INKI_CLASS_OTHER: return WORD_OTHER;
    default: return inki_unicode_is_unspaced(c) ? WORD_SINGLE : WORD_LETTER;
    }
}

// --- words ---------------------------------------------------------------------------------------

// What the character before is part of.
typedef enum word_place { PLACE_BLANK, PLACE_RUN, PLACE_SINGLE } word_place;

// Whether a character of this kind begins a word; *place moves behind it.
static inline bool word_begins(word_place *place, word_kind kind) {
    if (kind == WORD_BLANK) {
        *place = PLACE_BLANK;
        return false;
    }
    const bool begins = *place == PLACE_BLANK || kind == WORD_SINGLE ||
                        (*place == PLACE_SINGLE && kind == WORD_LETTER);
    if (begins) *place = kind == WORD_SINGLE ? PLACE_SINGLE : PLACE_RUN;
    return begins;
}

uint32_t inki_words_window_start(uint32_t n, uint32_t limit) {
    if (limit == 0 || n <= limit) return 0;
    const uint64_t step = limit / 2 > 0 ? limit / 2 : 1;
    return (uint32_t)((n - limit + step - 1) / step * step);
}

// Where words begin whose index is a multiple of `step`: the window begins at one of the last three
// of them, or of the last three words where the step is 1, so four are remembered.
typedef struct word_marks {
    uint64_t n_words, next; // `next`: the index of the next one to remember
    uint64_t step;
    size_t at[4]; // of the multiple m in at[m % 4]
    uint32_t slot;
    // Where the last word began: at the highest bit of `starts` in the eight bytes from `eight` on.
    // That is looked for only where the next one may be due; before all words it is byte 0.
    size_t eight;
    uint64_t starts;
} word_marks;

static inline size_t last_start(const word_marks *marks) {
    size_t i = 7;
    while (i > 0 && marks->starts >> 8 * i == 0) i--;
    return marks->eight + i;
}

static inline void mark_word(word_marks *marks, size_t at) {
    marks->eight = at;
    marks->starts = 0x80;
    if (marks->n_words++ != marks->next) return;
    marks->at[marks->slot++ % 4] = at;
    marks->next += marks->step;
}

// In each byte's highest bit: whether it is white space. All bytes are ASCII, so that no sum
// carries into the next one.
static inline uint64_t ascii_blanks(uint64_t eight) {
    const uint64_t ones = 0x0101010101010101, high = ones << 7;
    const uint64_t is_space = ~((eight ^ 0x20 * ones) + 0x7f * ones);
    const uint64_t is_control = (eight + (0x80 - '\t') * ones) & ~(eight + (0x7f - '\r') * ones);
    return (is_space | is_control) & high;
}

// Whether a word begins at `at` only because the last one is too long.
static inline bool is_due(const word_marks *marks, size_t at) {
    return at - marks->eight >= INKI_WORD_BYTES && at - last_start(marks) >= INKI_WORD_BYTES;
}

// One by one, where a word may be due among these eight bytes, or one of them is to be remembered.
static void mark_each(word_marks *marks, size_t at, uint64_t starts) {
    for (size_t i = 0; i < 8; i++, starts >>= 8)
        if ((starts & 0x80) != 0 || is_due(marks, at + i)) mark_word(marks, at + i);
}

// Eight bytes at a time, as long as they are ASCII and no word of one character goes on. Returns
// how far it came.
static size_t mark_ascii(word_marks *marks, const char *text, size_t n, size_t at,
                         word_place *place) {
    const uint64_t ones = 0x0101010101010101;
    for (; n - at >= 8; at += 8) {
        const uint64_t eight = inki_load_u64((const uint8_t *)text + at);
        if ((eight & ones << 7) != 0) break;
        const uint64_t blanks = ascii_blanks(eight);
        const uint64_t starts = (blanks << 8 | (*place == PLACE_BLANK ? 0x80u : 0)) & ~blanks;
        *place = blanks >> 63 != 0 ? PLACE_BLANK : PLACE_RUN;
        const uint64_t n_starts = (starts >> 7) * ones >> 56;
        if (marks->next - marks->n_words < n_starts || at + 7 - marks->eight >= INKI_WORD_BYTES) {
            mark_each(marks, at, starts);
            continue;
        }
        marks->n_words += n_starts;
        if (starts == 0) continue;
        marks->eight = at;
        marks->starts = starts;
    }
    return at;
}

size_t inki_words_window(const char *text, size_t bytes, uint32_t limit) {
    if (limit == 0) return 0;
    word_marks marks = {.step = limit / 2 > 0 ? limit / 2 : 1};
    word_place place = PLACE_BLANK;
    for (size_t at = 0; at < bytes;) {
        at = mark_ascii(&marks, text, bytes, at, &place);
        // Then to the next ASCII character, at least.
        while (at < bytes) {
            uint32_t c;
            const size_t length = word_char(text, bytes, at, &c);
            const bool begins = word_begins(&place, kind_of_char(c));
            if (begins || is_due(&marks, at)) mark_word(&marks, at);
            at += length;
            if (c < 0x80 && place != PLACE_SINGLE) break;
        }
    }
    if (marks.n_words <= limit) return 0;
    const uint64_t multiple = (marks.n_words - limit + marks.step - 1) / marks.step;
    const size_t start = marks.at[multiple % 4];
    return start > 0 && text[start - 1] == ' ' ? start - 1 : start;
}

// A word ends before the first character INKI_WORD_BYTES behind its beginning. As much may stand
// before the first one.
uint64_t inki_words_window_bytes(uint32_t limit) {
    return limit > 0 ? ((uint64_t)limit + 1) * (INKI_WORD_BYTES + 3) : UINT64_MAX;
}

// The first word without the blanks before it: text [*from, end), of which the end is returned.
static size_t first_word(const char *text, size_t bytes, size_t *from, bool *whole) {
    word_place place = PLACE_BLANK;
    *from = bytes;
    *whole = false;
    for (size_t at = 0; at < bytes;) {
        uint32_t c;
        const size_t length = word_char(text, bytes, at, &c);
        const bool begins = word_begins(&place, kind_of_char(c));
        *whole = *from < bytes && (begins || place == PLACE_BLANK);
        if (*whole) return at;
        if (begins) *from = at;
        at += length;
    }
    return bytes;
}

size_t inki_words_first(const char *text, size_t bytes, bool *whole) {
    size_t from;
    return first_word(text, bytes, &from, whole);
}

// Punctuation is what no letter is in these ranges. Marks are not: without them words of many
// scripts would be others.
static bool is_punctuation(uint32_t c) {
    static const uint16_t ranges[][2] = {
        {0x0021, 0x007e}, {0x00a1, 0x00bf}, {0x037e, 0x0387}, {0x055a, 0x058a}, {0x05be, 0x05be},
        {0x05c0, 0x05c0}, {0x05c3, 0x05c3}, {0x05c6, 0x05c6}, {0x05f3, 0x05f4}, {0x0609, 0x060d},
        {0x061b, 0x061f}, {0x066a, 0x066d}, {0x06d4, 0x06d4}, {0x0964, 0x0965}, {0x0970, 0x0970},
        {0x0df4, 0x0df4}, {0x0e4f, 0x0e5b}, {0x0f04, 0x0f14}, {0x104a, 0x104f}, {0x10fb, 0x10fb},
        {0x1360, 0x1368}, {0x166d, 0x166e}, {0x17d4, 0x17db}, {0x1800, 0x180a}, {0x2010, 0x205e},
        {0x2e00, 0x2e7f}, {0x3001, 0x3020}, {0x3030, 0x303d}, {0x30a0, 0x30fb}, {0xfe10, 0xfe19},
        {0xfe30, 0xfe6b}, {0xff01, 0xff65},
    };
    if (inki_unicode_class(c) != INKI_CLASS_OTHER) return false;
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if (c <= ranges[i][1]) return c >= ranges[i][0];
    return false;
}

size_t inki_words_first_bare(const char *text, size_t bytes, size_t *n) {
    bool whole;
    size_t from;
    const size_t end = first_word(text, bytes, &from, &whole);
    size_t bare = from;
    for (size_t at = from; at < end;) {
        uint32_t c;
        at += word_char(text, end, at, &c);
        if (!is_punctuation(c)) bare = at;
    }
    *n = (bare > from ? bare : end) - from;
    return from;
}

// --- sentences, lines, paragraphs ----------------------------------------------------------------

static bool ends_sentence(uint32_t c) {
    return c == '.' || c == '!' || c == '?' || c == 0x2026 || c == 0x3002 || c == 0xff01 ||
           c == 0xff1f;
}

static bool closes(uint32_t c) { // quotes and brackets
    static const uint16_t closing[] = {'"',    '\'',   ')',    ']',    '}',    0x00bb, 0x2019,
                                       0x201d, 0x203a, 0x3009, 0x300b, 0x300d, 0x300f, 0x3011,
                                       0x3015, 0x3017, 0x3019, 0x301b, 0x301e, 0x301f, 0xff02,
                                       0xff07, 0xff09, 0xff3d, 0xff5d, 0xff60, 0xff63};
    for (size_t i = 0; i < sizeof closing / sizeof *closing; i++)
        if (c == closing[i]) return true;
    return false;
}

static bool until_sentence(const char *text, size_t bytes, size_t *end) {
    for (size_t at = 0; at < bytes;) {
        uint32_t stop, c = 0;
        at += word_char(text, bytes, at, &stop);
        if (!ends_sentence(stop)) continue;
        size_t behind = at, length = 0;
        while (behind < bytes) {
            length = word_char(text, bytes, behind, &c);
            if (!closes(c)) break;
            behind += length;
        }
        const bool is_wide = stop >= 0x3000;
        const bool follows = behind < bytes;
        if (is_wide ||
            (follows && (kind_of_char(c) == WORD_BLANK || inki_unicode_is_unspaced(c)))) {
            *end = behind;
            return true;
        }
    }
    return false;
}

static bool until_line(const char *text, size_t bytes, size_t *end) {
    bool counts = bytes > 0 && text[0] != '\n' && text[0] != '\r';
    for (size_t at = 0; at < bytes;) {
        uint32_t c;
        const size_t length = word_char(text, bytes, at, &c);
        if (counts && (c == '\n' || c == '\r')) {
            *end = at;
            return true;
        }
        counts = counts || kind_of_char(c) != WORD_BLANK;
        at += length;
    }
    return false;
}

// A carriage return before the first of the line feeds is a part of it.
static bool until_paragraph(const char *text, size_t bytes, size_t *end) {
    bool counts = false, fed = false;
    size_t first = 0;
    for (size_t at = 0; at < bytes;) {
        uint32_t c;
        const size_t length = word_char(text, bytes, at, &c);
        if (c == '\n' && counts) {
            if (fed) {
                *end = first > 0 && text[first - 1] == '\r' ? first - 1 : first;
                return true;
            }
            fed = true;
            first = at;
        } else if (kind_of_char(c) != WORD_BLANK) {
            counts = true;
            fed = false;
        }
        at += length;
    }
    return false;
}

bool inki_words_until(const char *text, size_t bytes, uint32_t until, size_t *end) {
    bool whole;
    size_t word;
    switch (until) {
    case INK_UNTIL_WORD:
        word = inki_words_first(text, bytes, &whole);
        if (whole) *end = word;
        return whole;
    case INK_UNTIL_SENTENCE: return until_sentence(text, bytes, end);
    case INK_UNTIL_LINE: return until_line(text, bytes, end);
    case INK_UNTIL_PARAGRAPH: return until_paragraph(text, bytes, end);
    default: return false;
    }
}

size_t inki_words_accept(const char *text, size_t bytes, uint32_t unit) {
    bool whole;
    if (unit == INK_ACCEPT_WORD) return inki_words_first(text, bytes, &whole);
    const char *feed = NULL;
    if (unit == INK_ACCEPT_LINE && bytes > 0) feed = memchr(text, '\n', bytes);
    return feed != NULL ? (size_t)(feed - text) + 1 : bytes;
}
