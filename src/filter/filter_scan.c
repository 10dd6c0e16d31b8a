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

// The bytes and the kind of the character at `at`, *c not folded; at the end, or cut off by it, 0
// and SCAN_END.
static size_t scan_raw(const scan_text *t, size_t at, uint32_t *c, unsigned *kind) {
    *kind = SCAN_END;
    if (at == t->bytes) return 0;
    const uint8_t *p = t->text + at;
    const size_t n = inki_utf8_decode(p, t->bytes - at, c);
    if (n == 0 && inki_utf8_is_prefix(p, t->bytes - at)) return 0;
    *kind = n > 0 ? inki_filter_kind(*c) : SCAN_BREAK;
    return n > 0 ? n : 1;
}

static void scan_next(const scan_text *t, size_t at, scan_char *s) {
    bool blank = false;
    s->at = at;
    for (size_t i = at;;) {
        const size_t n = scan_raw(t, i, &s->c, &s->kind);
        if (s->kind != INKI_KIND_SPACE && s->kind != INKI_KIND_SKIP) {
            s->end = i;
            if (blank) break;
            s->at = i;
            s->end = i + n;
            if (s->kind == INKI_KIND_WORD || s->kind == INKI_KIND_OTHER)
                s->c = inki_filter_fold(s->c);
            return;
        }
        blank |= s->kind == INKI_KIND_SPACE;
        i += n;
        // Longer gaps are no part of a phrase, so that a bounded part of a text decides.
        if (i - at > INKI_FILTER_GAP) {
            s->end = i;
            s->kind = SCAN_BREAK;
            return;
        }
    }
    s->c = ' ';
    s->kind = INKI_KIND_SPACE;
}

// The first phrase in [lo, hi) whose byte at `depth` is not below b.
static size_t scan_bound(const ink_filter *f, size_t lo, size_t hi, size_t depth, unsigned b) {
    while (lo < hi) {
        const size_t middle = (lo + hi) / 2;
        if (f->text[f->phrases[middle] + depth] < b)
            lo = middle + 1;
        else
            hi = middle;
    }
    return lo;
}

typedef enum scan_result { SCAN_NONE, SCAN_HIT, SCAN_OPEN } scan_result;

// Whether a phrase begins with character s; *end is where the shortest ends. Where a range begins
// with a whole phrase the next character is a letter by the time that it narrows: a U+0000 in the
// text never meets the 0 byte.
static scan_result scan_phrase(const ink_filter *f, const scan_text *t, scan_char s, size_t *end) {
    size_t lo = 0, hi = f->n, depth = 0;
    for (;;) {
        char e[4];
        const size_t n = inki_utf8_encode(s.c, e);
        for (size_t i = 0; i < n; i++, depth++) {
            const unsigned b = (uint8_t)e[i];
            lo = scan_bound(f, lo, hi, depth, b);
            hi = scan_bound(f, lo, hi, depth, b + 1);
            if (lo == hi) return SCAN_NONE;
        }
        *end = s.end;
        const bool whole = f->text[f->phrases[lo] + depth] == 0;
        if (whole && s.kind == INKI_KIND_UNSPACED) return SCAN_HIT;
        scan_next(t, s.end, &s);
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
    scan_char s;
    scan_next(&t, from > look_back ? from - look_back : 0, &s);
    for (; s.kind != SCAN_END; before = s.kind, scan_next(&t, s.end, &s)) {
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
    // A character cut off may become any.
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
