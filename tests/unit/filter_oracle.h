// SPDX-License-Identifier: MIT
// What a word filter must find, by comparing every phrase at every place; and what must hold while
// a text grows. Shares the classes of characters with src/filter, which have tests of their own.
#ifndef TESTS_FILTER_ORACLE_H
#define TESTS_FILTER_ORACLE_H

#include "base/utf8.h"
#include "filter/filter.h"
#include "filter/fold.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ORACLE_TEXT = 1024, ORACLE_PHRASES = 32 };

typedef struct oracle_char {
    uint32_t c;
    char sort; // w word, u unspaced, o other, _ blank, s passed over, x nothing, ? unknown, $ end
    size_t at, end;
} oracle_char;

typedef struct oracle {
    size_t n;
    uint32_t phrases[ORACLE_PHRASES][INKI_FILTER_MAX_BYTES + 1]; // 0 behind the last
} oracle;

static inline void oracle_init(oracle *o, const char *const *phrases, size_t n) {
    memset(o, 0, sizeof *o);
    o->n = n;
    for (size_t i = 0; i < n; i++) {
        const uint8_t *p = (const uint8_t *)phrases[i];
        uint32_t *out = o->phrases[i];
        size_t left = strlen(phrases[i]), m = 0, step;
        for (uint32_t c; left > 0; p += step, left -= step) {
            step = inki_utf8_decode(p, left, &c);
            if (step == 0) abort();
            const unsigned kind = inki_filter_kind(c);
            if (kind == INKI_KIND_SKIP) continue;
            if (kind != INKI_KIND_SPACE)
                out[m++] = inki_filter_fold(c);
            else if (m > 0 && out[m - 1] != ' ')
                out[m++] = ' ';
        }
        if (m > 0 && out[m - 1] == ' ') out[m - 1] = 0;
    }
}

// list has room for bytes + 2. Returns its length, with the mark of the end.
static inline size_t oracle_read(oracle_char *list, const char *text, size_t bytes, bool ended) {
    const uint8_t *p = (const uint8_t *)text;
    size_t n = 0, kept = 0, at = 0;
    for (size_t step; at < bytes; at += step) {
        uint32_t c = 0;
        step = inki_utf8_decode(p + at, bytes - at, &c);
        if (step == 0 && !ended && inki_utf8_is_prefix(p + at, bytes - at)) break;
        const char sort = step == 0 ? 'x' : "owu_s"[inki_filter_kind(c)];
        if (step == 0) step = 1;
        list[n++] = (oracle_char){inki_filter_fold(c), sort, at, at + step};
    }
    list[n] = (oracle_char){0, ended ? '$' : '?', at, at};
    // A run of blanks and what is passed over becomes one blank, or nothing at all.
    for (size_t i = 0; i <= n;) {
        size_t j = i;
        bool blank = false;
        for (; list[j].sort == '_' || list[j].sort == 's'; j++) blank |= list[j].sort == '_';
        const size_t run = list[j].at - list[i].at;
        if (run > 64)
            list[kept++] = (oracle_char){0, 'x', list[i].at, list[j].at};
        else if (blank)
            list[kept++] = (oracle_char){' ', '_', list[i].at, list[j].at};
        if (j == i || run <= 64) list[kept++] = list[j];
        i = j + (j == i || run <= 64);
    }
    return kept;
}

// 'h' complete, 'o' open, 0 neither.
static inline char oracle_compare(const oracle_char *list, const uint32_t *phrase) {
    size_t i = 0;
    for (; phrase[i] != 0; i++) {
        if (list[i].sort == '?') return 'o';
        if (list[i].sort == '$' || list[i].sort == 'x' || list[i].c != phrase[i]) return 0;
    }
    if (list[i - 1].sort == 'u') return 'h';
    return list[i].sort == '?' ? 'o' : list[i].sort == 'w' ? 0 : 'h';
}

static inline inki_filter_hits oracle_scan(const oracle *o, const char *text, size_t bytes,
                                           size_t from, bool ended) {
    static oracle_char list[ORACLE_TEXT + 2];
    inki_filter_hits hits = {0, 0, bytes};
    const size_t n = oracle_read(list, text, bytes, ended);
    for (size_t i = n; i-- > 0;) {
        const char sort = list[i].sort;
        if (list[i].at < from) continue;
        if (sort == '?') hits.open_at = list[i].at;
        if (sort == '_' || sort == 'x' || sort == '?' || sort == '$') continue;
        if (i > 0 && list[i - 1].sort == 'w' && sort != 'u') continue;
        bool open = false;
        size_t shortest = 0;
        for (size_t k = 0; k < o->n; k++) {
            const char found = oracle_compare(list + i, o->phrases[k]);
            size_t m = 0;
            while (o->phrases[k][m] != 0) m++;
            if (found == 'h' && (shortest == 0 || m < shortest)) shortest = m;
            open |= found == 'o';
        }
        if (shortest > 0) {
            hits.at = list[i].at;
            hits.bytes = list[i + shortest - 1].end - list[i].at;
        } else if (open) {
            hits.open_at = list[i].at;
        }
    }
    return hits;
}

#define ORACLE_REQUIRE(what)                                                                       \
    do {                                                                                           \
        if (!(what)) {                                                                             \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #what);                             \
            return false;                                                                          \
        }                                                                                          \
    } while (0)

static inline bool oracle_same(const inki_filter_hits *a, const inki_filter_hits *b) {
    return a->bytes == b->bytes && (a->bytes == 0 || a->at == b->at) && a->open_at == b->open_at;
}

// One state of the text against the oracle, from several places on.
static inline bool oracle_check_state(const ink_filter *f, const oracle *o, const char *text,
                                      size_t bytes) {
    for (int ended = 0; ended < 2; ended++)
        for (size_t from = 0; from <= bytes; from += 1 + bytes / 8) {
            inki_filter_hits hits;
            inki_filter_scan(f, text, bytes, from, ended, &hits);
            const inki_filter_hits want = oracle_scan(o, text, bytes, from, ended);
            ORACLE_REQUIRE(oracle_same(&hits, &want));
            ORACLE_REQUIRE(hits.open_at >= from && (!ended || hits.open_at == bytes));
        }
    return true;
}

// A phrase of the whole text that begins at `at` was held back by all beginnings of the text, or
// was already complete there.
static inline bool oracle_was_held(const ink_filter *f, const char *text, const size_t *open,
                                   size_t bytes, const inki_filter_hits *hit) {
    for (size_t k = 0; k < bytes; k++) {
        if (open[k] <= hit->at) continue;
        inki_filter_hits early;
        inki_filter_scan(f, text, k, hit->at, false, &early);
        ORACLE_REQUIRE(early.bytes == hit->bytes && early.at == hit->at);
    }
    return true;
}

// A scan that knows less of what lies before finds the same: from place `from` on what begins
// there, and with the filter's reach what ends behind it.
static inline bool oracle_check_cut(const ink_filter *f, const char *text, size_t bytes,
                                    size_t from) {
    inki_filter_hits all, part;
    for (int ended = 0; ended < 2; ended++) {
        const size_t border = from > 68 ? from - 68 : 0;
        inki_filter_scan(f, text, bytes, from, ended, &all);
        inki_filter_scan(f, text + border, bytes - border, from - border, ended, &part);
        part.at += border;
        part.open_at += border;
        ORACLE_REQUIRE(oracle_same(&all, &part));

        const size_t reach = inki_filter_reach(f), cut = from > reach ? from - reach : 0;
        size_t i = 0, j = cut;
        do inki_filter_scan(f, text, bytes, i, ended, &all), i = all.at + 1;
        while (all.bytes > 0 && all.at + all.bytes <= from);
        do {
            inki_filter_scan(f, text + cut, bytes - cut, j - cut, ended, &part);
            part.at += cut;
            j = part.at + 1;
        } while (part.bytes > 0 && part.at + part.bytes <= from);
        ORACLE_REQUIRE(all.bytes == part.bytes && (all.bytes == 0 || all.at == part.at));
    }
    return true;
}

// Everything that holds for a text [bytes <= ORACLE_TEXT] that grows byte by byte.
static inline bool oracle_check(const ink_filter *f, const oracle *o, const char *text,
                                size_t bytes) {
    static size_t open[ORACLE_TEXT + 1];
    for (size_t k = 0; k <= bytes; k++) {
        if (!oracle_check_state(f, o, text, k)) return false;
        inki_filter_hits hits;
        inki_filter_scan(f, text, k, 0, false, &hits);
        open[k] = hits.open_at;
        ORACLE_REQUIRE(k == 0 || open[k] >= open[k - 1]);
        if (!oracle_check_cut(f, text, bytes, k)) return false;
    }
    inki_filter_hits hit = {0};
    for (size_t from = 0;; from = hit.at + 1) {
        inki_filter_scan(f, text, bytes, from, true, &hit);
        if (hit.bytes == 0) return true;
        ORACLE_REQUIRE(hit.at >= from && hit.at + hit.bytes <= bytes);
        if (!oracle_was_held(f, text, open, bytes, &hit)) return false;
    }
}
#undef ORACLE_REQUIRE

#endif
