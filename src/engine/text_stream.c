// SPDX-License-Identifier: MIT
#include "engine/text_stream.h"

#include "base/utf8.h"
#include "engine/engine.h"

#include <string.h>

enum { FIRST_CAP = 256 };

static ink_status grow(const inki_mem *mem, void **buffer, size_t *cap, size_t used, size_t needed,
                       ink_error *error) {
    if (needed <= *cap) return INK_OK;
    size_t bigger = *cap > 0 ? *cap : FIRST_CAP;
    while (bigger < needed) bigger = bigger > SIZE_MAX / 2 ? needed : 2 * bigger;
    void *p = inki_alloc(mem, bigger, 1);
    if (p == NULL) return inki_fail_nomem(error, bigger);
    if (used != 0) memcpy(p, *buffer, used);
    inki_release(mem, *buffer, *cap, 1);
    *buffer = p;
    *cap = bigger;
    return INK_OK;
}

// --- stop strings --------------------------------------------------------------------------------

// As many matched bytes as before, and the next one: the longest beginning that then is the end of
// the text (Knuth, Morris and Pratt). What was matched is never read again.
static size_t match_byte(const inki_stop *s, size_t n_matched, char byte) {
    while (n_matched > 0 && s->text[n_matched] != byte) n_matched = s->borders[n_matched - 1];
    return n_matched + (s->text[n_matched] == byte);
}

static void find_borders(inki_stop *s) {
    s->borders[0] = 0;
    for (size_t i = 1; i < s->bytes; i++)
        s->borders[i] = match_byte(s, s->borders[i - 1], s->text[i]);
}

static ink_status set_stops(inki_text_stream *ts, const char *const *stop, size_t n_stop,
                            size_t *longest, ink_error *error) {
    *longest = 0;
    ink_status s = inki_stops_check(stop, n_stop, "stop", error);
    if (s != INK_OK || n_stop == 0) return s;
    inki_arena arena = {0};
    inki_arena_take(&arena, n_stop, sizeof *ts->stops);
    for (size_t i = 0; i < n_stop; i++) {
        const size_t n = strlen(stop[i]);
        inki_arena_take(&arena, n, sizeof *ts->stops->borders);
        *longest = n > *longest ? n : *longest;
    }
    const size_t bytes = arena.overflow ? SIZE_MAX : arena.used;
    s = grow(&ts->mem, (void **)&ts->stops, &ts->stops_cap, 0, bytes, error);
    if (s != INK_OK) return s;
    arena = (inki_arena){.base = (uint8_t *)ts->stops};
    inki_arena_take(&arena, n_stop, sizeof *ts->stops);
    for (size_t i = 0; i < n_stop; i++) {
        const size_t n = strlen(stop[i]);
        ts->stops[i] = (inki_stop){
            .text = stop[i], .bytes = n, .borders = inki_arena_take(&arena, n, sizeof(size_t))};
        find_borders(&ts->stops[i]);
    }
    ts->n_stop = n_stop;
    return INK_OK;
}

ink_status inki_text_stream_init(inki_text_stream *ts, const char *const *stop, size_t n_stop,
                                 const ink_filter *filter, const inki_mem *mem, ink_error *error) {
    *ts = (inki_text_stream){.mem = *mem,
                             .stops = ts->stops,
                             .stops_cap = ts->stops_cap,
                             .filter = filter,
                             .bytes = ts->bytes,
                             .cap = ts->cap,
                             .begins = ts->begins,
                             .begins_cap = ts->begins_cap,
                             .text = ts->text,
                             .text_cap = ts->text_cap};
    size_t longest = 0;
    ink_status s = set_stops(ts, stop, n_stop, &longest, error);
    // Room for what the filter looks back at and for what can be held back, until it is worth while
    // to move that, and for a usual piece: decoding then allocates nothing.
    const size_t reach = filter != NULL ? inki_filter_reach(filter) : 0;
    const size_t held = longest > reach ? longest : reach;
    if (s == INK_OK)
        s = grow(mem, (void **)&ts->bytes, &ts->cap, 0, 2 * (reach + held) + FIRST_CAP, error);
    if (s == INK_OK && filter != NULL)
        s = grow(mem, (void **)&ts->begins, &ts->begins_cap, 0, reach + held + FIRST_CAP, error);
    if (s == INK_OK)
        s = grow(mem, (void **)&ts->text, &ts->text_cap, 0, 3 * (held + FIRST_CAP) + 1, error);
    if (s != INK_OK) inki_text_stream_free(ts);
    return s;
}

void inki_text_stream_free(inki_text_stream *ts) {
    inki_release(&ts->mem, ts->stops, ts->stops_cap, 1);
    inki_release(&ts->mem, ts->bytes, ts->cap, 1);
    inki_release(&ts->mem, ts->begins, ts->begins_cap, 1);
    inki_release(&ts->mem, ts->text, ts->text_cap, 1);
    *ts = (inki_text_stream){.mem = ts->mem};
}

static ink_status append_bytes(inki_text_stream *ts, inki_str bytes, ink_error *error) {
    const size_t used = ts->n_before + ts->n_held;
    const ink_status s =
        grow(&ts->mem, (void **)&ts->bytes, &ts->cap, used, used + bytes.bytes, error);
    if (s == INK_OK && bytes.bytes != 0) memcpy(ts->bytes + used, bytes.data, bytes.bytes);
    return s;
}

ink_status inki_text_stream_context(inki_text_stream *ts, inki_str text, ink_error *error) {
    if (ts->filter == NULL) return INK_OK;
    const ink_status s = append_bytes(ts, text, error);
    if (s == INK_OK) ts->n_before += text.bytes;
    return s;
}

// Where the first stop string begins in the held bytes, or n_held; of two at one place either will
// do. Only what is new is read: what the text before it could still become is known.
static size_t find_stop(inki_text_stream *ts) {
    const char *held = (const char *)ts->bytes + ts->n_before;
    size_t first = ts->n_held;
    for (size_t i = 0; i < ts->n_stop; i++) {
        inki_stop *s = &ts->stops[i];
        size_t at = ts->n_searched, n = at > 0 ? s->n_matched : 0;
        while (at < ts->n_held && n < s->bytes) n = match_byte(s, n, held[at++]);
        s->n_matched = n;
        if (n == s->bytes && at - n < first) first = at - n;
    }
    ts->n_searched = first < ts->n_held ? 0 : ts->n_held;
    return first;
}

// Where the longest tail that could still become a stop string begins, or n_held.
static size_t find_stop_prefix(const inki_text_stream *ts) {
    size_t longest = 0;
    for (size_t i = 0; i < ts->n_stop; i++)
        longest = ts->stops[i].n_matched > longest ? ts->stops[i].n_matched : longest;
    return ts->n_held - longest;
}

// --- held and given out --------------------------------------------------------------------------

// What was given out stays as context for the filter, as far as it reaches, or goes.
static void forget_given(inki_text_stream *ts, size_t n_given) {
    const size_t before = ts->n_before + n_given;
    ts->n_held -= n_given;
    if (ts->filter != NULL) memmove(ts->begins, ts->begins + n_given, ts->n_held);
    ts->n_given += n_given;
    ts->n_searched = ts->n_searched > n_given ? ts->n_searched - n_given : 0;
    const size_t reach = ts->filter != NULL ? inki_filter_reach(ts->filter) : 0;
    // Moved only now and then: no more than was given out since.
    const size_t drop = before > 2 * reach + ts->n_held ? before - reach : 0;
    ts->n_before = before - drop;
    ts->scan_from = ts->scan_from > drop ? ts->scan_from - drop : 0;
    if (drop > 0) memmove(ts->bytes, ts->bytes + drop, ts->n_before + ts->n_held);
}

// Moves held[0, n) out as text, but for a character that n cuts.
static ink_status give_out(inki_text_stream *ts, size_t n, inki_str *ready, ink_error *error) {
    ink_status s = grow(&ts->mem, (void **)&ts->text, &ts->text_cap, 0, 3 * n + 1, error);
    if (s != INK_OK) return s;
    const uint8_t *held = ts->bytes + ts->n_before;
    size_t at = 0, out = 0;
    while (at < n) {
        uint32_t c;
        const size_t step = inki_utf8_decode(held + at, ts->n_held - at, &c);
        if (step > n - at || (step == 0 && inki_utf8_is_prefix(held + at, ts->n_held - at))) break;
        if (step > 0) {
            memcpy(ts->text + out, held + at, step);
            out += step;
            at += step;
        } else {
            memcpy(ts->text + out, "\xEF\xBF\xBD", 3);
            out += 3;
            at++;
        }
    }
    ts->text[out] = 0;
    forget_given(ts, at);
    *ready = (inki_str){ts->text, out};
    return INK_OK;
}

// The first listed phrase in the text up to the first n held bytes, and what must be held back.
static inki_filter_hits scan(const inki_text_stream *ts, size_t n, bool ended) {
    const size_t end = ts->n_before + n;
    inki_filter_hits hits = {.open_at = end};
    size_t from = ts->scan_from;
    // A phrase that the context holds was not made here.
    do {
        if (ts->filter != NULL)
            inki_filter_scan(ts->filter, (const char *)ts->bytes, end, from, ended, &hits);
        from = hits.at + 1;
    } while (hits.bytes > 0 && hits.at + hits.bytes <= ts->n_before);
    return hits;
}

static size_t too_much(const inki_text_stream *ts, const inki_filter_hits *hits) {
    if (hits->bytes == 0) return 0;
    return ts->n_before + ts->n_held - (hits->at + hits->bytes) + 1;
}

static ink_status mark_begin(inki_text_stream *ts, size_t bytes, ink_error *error) {
    if (ts->filter == NULL || bytes == 0) return INK_OK;
    const ink_status s = grow(&ts->mem, (void **)&ts->begins, &ts->begins_cap, ts->n_held,
                              ts->n_held + bytes, error);
    if (s != INK_OK) return s;
    memset(ts->begins + ts->n_held, 0, bytes);
    ts->begins[ts->n_held] = 1;
    return INK_OK;
}

// Held bytes before the push in which byte `at` of context and held bytes lies.
static size_t begin_before(const inki_text_stream *ts, size_t at) {
    size_t n = at > ts->n_before ? at - ts->n_before : 0;
    while (n > 0 && !ts->begins[n]) n--;
    return n;
}

ink_status inki_text_stream_push(inki_text_stream *ts, inki_str bytes, inki_text_event *event,
                                 ink_error *error) {
    ink_status s = append_bytes(ts, bytes, error);
    if (s == INK_OK) s = mark_begin(ts, bytes.bytes, error);
    if (s != INK_OK) return s;
    ts->n_held += bytes.bytes;
    *event = (inki_text_event){.ready = {"", 0}};
    const size_t end = find_stop(ts);
    const bool stopped = end < ts->n_held;
    const inki_filter_hits hits = scan(ts, end, stopped);
    event->n_too_much = too_much(ts, &hits);
    if (event->n_too_much > 0) return INK_OK;
    ts->scan_from = hits.open_at;
    event->stopped = stopped;
    ts->n_cut = ts->hold ? ts->n_held - end : 0;
    if (stopped) ts->n_held = end;
    size_t n = stopped ? end : find_stop_prefix(ts);
    if (hits.open_at < ts->n_before + n) n = begin_before(ts, hits.open_at);
    if (ts->hold) return INK_OK;
    return give_out(ts, n, &event->ready, error);
}

void inki_text_stream_pop(inki_text_stream *ts, size_t n) {
    ts->n_held += ts->n_cut;
    ts->n_cut = 0;
    ts->n_held -= n < ts->n_held ? n : ts->n_held;
    ts->n_searched = 0;
    // What was ruled out because of the bytes that are gone is possible again.
    const size_t reach = ts->filter != NULL ? inki_filter_reach(ts->filter) : 0;
    ts->scan_from = ts->n_before > reach ? ts->n_before - reach : 0;
}

size_t inki_text_stream_too_much(const inki_text_stream *ts) {
    const inki_filter_hits hits = scan(ts, ts->n_held, true);
    return too_much(ts, &hits);
}

ink_status inki_text_stream_flush(inki_text_stream *ts, bool ended, inki_str *ready,
                                  ink_error *error) {
    const inki_filter_hits hits = scan(ts, ts->n_held, ended);
    const size_t end = hits.bytes > 0 ? hits.at : hits.open_at;
    const size_t n = end > ts->n_before ? end - ts->n_before : 0;
    const ink_status s = give_out(ts, n < ts->n_held ? n : ts->n_held, ready, error);
    ts->n_held = 0;
    return s;
}
