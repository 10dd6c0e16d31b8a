// SPDX-License-Identifier: MIT
// Listed words and phrases, found in text that may still grow. Immutable after new; any thread.
#ifndef INKI_FILTER_H
#define INKI_FILTER_H

#include "base/error.h"
#include "base/mem.h"

// See ink_filter_new in the public header for what matches and for the errors.
ink_filter *inki_filter_ref(ink_filter *filter); // NULL is allowed
ink_status inki_filter_new(ink_filter **out, const inki_mem *mem, const char *const *phrases,
                           size_t n, ink_error *error);

// The phrases as the filter keeps them, each with a 0 byte, to out; NULL only counts. Returns the
// bytes. What is read back finds the same.
size_t inki_filter_phrases(const ink_filter *filter, char *out);
// list [bytes]: such a list, of whatever origin. Errors: those of inki_filter_new; INK_E_ARG (the
// last one has no 0 byte).
ink_status inki_filter_read(ink_filter **out, const inki_mem *mem, const char *list, size_t bytes,
                            ink_error *error);

enum { INKI_FILTER_MAX_PHRASES = 1 << 20, INKI_FILTER_MAX_BYTES = 1024 };

// Bytes of text before some place that can matter for a phrase which ends behind it, its border
// included. The text that a scan is given need not begin earlier, and may begin at any byte.
size_t inki_filter_reach(const ink_filter *filter);

typedef struct inki_filter_hits {
    size_t at, bytes; // the first complete phrase; bytes 0: none
    // From here on the text could begin a phrase, or hold one that only needs a border to be
    // complete: what must not be shown yet. The length of the text when there is no such place; a
    // place where a complete phrase begins is none. Nothing before it needs to be scanned again
    // when the text grows: no phrase will begin there that is not complete now.
    size_t open_at;
} inki_filter_hits;

// Scans text [bytes] for phrases that begin at `from` or later; of what lies before, 68 bytes at
// most are looked at, for the border. text[0] counts as standing behind a border. ended: nothing
// follows, the end is a border too (open_at is then `bytes`). A character cut off by the end is
// open, wherever it stands. Where several complete phrases begin at one place the shortest is
// given. Allocates nothing. Work: at most (characters of the longest phrase) * log2(n) for each
// place where a word begins, gaps (white space and characters that are passed over) not counted;
// each byte of them is read at most once for each character of the longest phrase.
void inki_filter_scan(const ink_filter *filter, const char *text, size_t bytes, size_t from,
                      bool ended, inki_filter_hits *hits);

#endif
