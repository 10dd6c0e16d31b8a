// SPDX-License-Identifier: MIT
//
// From each place where a phrase may begin, the text is followed through the sorted list: the
// phrases that begin with the characters read so far stand side by side, and each further character
// narrows their range. The text is folded on the way, so that a scan needs no memory.
#include "base/utf8.h"
#include "filter/filter_parts.h"
#include "filter/fold.h"

#include <string.h>

typedef struct scan_text {
    const uint8_t *text;
    size_t bytes;
    bool ended;
} scan_text;

// More kinds, of places in a text.
enum {
    SCAN_BREAK = INKI_KIND_SKIP + 1, // matches nothing: no UTF-8, or a gap too long
    SCAN_END                         // what comes is not known, or that there is nothing
};

// A character as phrases have them: folded, white space as one U+0020.
typedef struct scan_char {
    size_t at, end;
    uint32_t c;
    unsigned kind; // never INKI_KIND_SKIP
} scan_char;

// The character at `at`, not folded; at the end, or cut off by it, SCAN_END.
static scan_char scan_raw(const scan_text *t, size_t at) {
    scan_char s = {.at = at, .end = at, .kind = SCAN_END};
    if (at == t->bytes) return s;
    const uint8_t *p = t->text + at;
    const size_t n = inki_utf8_decode(p, t->bytes - at, &s.c);
    if (n == 0 && !t->ended && inki_utf8_is_prefix(p, t->bytes - at)) return s;
    s.end += n > 0 ? n : 1;
    s.kind = n > 0 ? inki_filter_kind(s.c) : SCAN_BREAK;
    return s;
}

static scan_char scan_next(const scan_text *t, size_t at) {
    bool blank = false;
    for (size_t i = at;;) {
        scan_char s = scan_raw(t, i);
        if (s.kind != INKI_KIND_SPACE && s.kind != INKI_KIND_SKIP) {
            if (blank) return (scan_char){at, i, ' ', INKI_KIND_SPACE};
            if (s.kind == INKI_KIND_WORD || s.kind == INKI_KIND_OTHER) s.c = inki_filter_fold(s.c);
            return s;
        }
        blank |= s.kind == INKI_KIND_SPACE;
        i = s.end;
        // Longer gaps are no part of a phrase, so that a bounded part of a text decides.
        if (i - at > INKI_FILTER_GAP) return (scan_char){at, i, 0, SCAN_BREAK};
    }
}

// The first phrase in [lo, hi) whose bytes from `depth` on are not below (above: are above) those
// of e [n].
static size_t scan_bound(const ink_filter *f, size_t lo, size_t hi, size_t depth, const char *e,
                         size_t n, bool above) {
    while (lo < hi) {
        const size_t middle = (lo + hi) / 2;
        const inki_phrase *p = &f->phrases[middle];
        const size_t left = p->bytes - depth;
        int order = memcmp(f->text + p->at + depth, e, left < n ? left : n);
        if (order == 0 && left < n) order = -1;
        if (order < (above ? 1 : 0))
            lo = middle + 1;
        else
            hi = middle;
    }
    return lo;
}

typedef enum scan_result { SCAN_NONE, SCAN_HIT, SCAN_OPEN } scan_result;

// Whether a phrase begins with character s; *end is where the shortest ends.
static scan_result scan_phrase(const ink_filter *f, const scan_text *t, scan_char s, size_t *end) {
    size_t lo = 0, hi = f->n, depth = 0;
    for (;;) {
        char e[4];
        const size_t n = inki_utf8_encode(s.c, e);
        lo = scan_bound(f, lo, hi, depth, e, n, false);
        hi = scan_bound(f, lo, hi, depth, e, n, true);
        if (lo == hi) return SCAN_NONE;
        depth += n;
        *end = s.end;
        const bool whole = f->phrases[lo].bytes == depth;
        if (whole && s.kind == INKI_KIND_UNSPACED) return SCAN_HIT;
        s = scan_next(t, s.end);
        if (s.kind == SCAN_END && !t->ended) return SCAN_OPEN;
        if (whole && s.kind != INKI_KIND_WORD) return SCAN_HIT;
        if (s.kind == SCAN_END || s.kind == SCAN_BREAK) return SCAN_NONE;
    }
}

void inki_filter_scan(const ink_filter *filter, const char *text, size_t bytes, size_t from,
                      bool ended, inki_filter_hits *hits) {
    *hits = (inki_filter_hits){0, 0, bytes};
    if (from > bytes) return;
    const scan_text t = {(const uint8_t *)text, bytes, ended};
    // The border needs one character and a gap. Beginning inside either gives a border too, where
    // nothing but the text before it could deny one that is out of reach.
    const size_t look_back = 4 + INKI_FILTER_GAP;
    unsigned before = SCAN_BREAK;
    scan_char s = scan_next(&t, from > look_back ? from - look_back : 0);
    for (; s.kind != SCAN_END; before = s.kind, s = scan_next(&t, s.end)) {
        size_t end;
        if (s.at < from || s.kind == INKI_KIND_SPACE || s.kind == SCAN_BREAK) continue;
        if (before == INKI_KIND_WORD && s.kind != INKI_KIND_UNSPACED) continue;
        const scan_result result = scan_phrase(filter, &t, s, &end);
        if (result == SCAN_OPEN && hits->open_at == bytes) hits->open_at = s.at;
        if (result != SCAN_HIT || hits->bytes > 0) continue;
        hits->at = s.at;
        hits->bytes = end - s.at;
        if (ended) return;
    }
    // A character cut off: what it will be decides.
    if (!ended && s.at >= from && s.at < hits->open_at) hits->open_at = s.at;
}

ink_status ink_filter_find(const ink_filter *filter, const char *text, size_t bytes, size_t *at,
                           size_t *length) {
    if (filter == NULL || (text == NULL && bytes > 0) || at == NULL || length == NULL)
        return INK_E_ARG;
    inki_filter_hits hits;
    inki_filter_scan(filter, text, bytes, 0, true, &hits);
    *at = hits.at;
    *length = hits.bytes;
    return INK_OK;
}
