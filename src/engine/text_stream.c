// SPDX-License-Identifier: MIT
#include "engine/text_stream.h"

#include "base/utf8.h"

#include <string.h>

enum { FIRST_CAP = 256 };

static ink_status grow(const inki_mem *mem, void **buffer, size_t *cap, size_t used, size_t needed,
                       ink_error *error) {
    if (needed <= *cap) return INK_OK;
    size_t bigger = *cap > 0 ? *cap : FIRST_CAP;
    while (bigger < needed) bigger *= 2;
    void *p = inki_alloc(mem, bigger, 1);
    if (p == NULL) return inki_fail_nomem(error, bigger);
    if (used != 0) memcpy(p, *buffer, used);
    inki_release(mem, *buffer, *cap, 1);
    *buffer = p;
    *cap = bigger;
    return INK_OK;
}

ink_status inki_text_stream_init(inki_text_stream *ts, const char *const *stop, size_t n_stop,
                                 const inki_mem *mem, ink_error *error) {
    *ts = (inki_text_stream){.mem = *mem, .stop = stop, .n_stop = n_stop};
    size_t longest = 0;
    for (size_t i = 0; i < n_stop; i++) {
        if (stop == NULL || stop[i] == NULL || stop[i][0] == 0)
            return inki_fail(error, INK_E_ARG, "stop", 0, "stop string %zu is empty", i);
        const size_t n = strlen(stop[i]);
        longest = n > longest ? n : longest;
    }
    // Room for the longest stop string and a usual piece: decoding then allocates nothing.
    const size_t room = longest + FIRST_CAP;
    ink_status s = grow(mem, (void **)&ts->held, &ts->held_cap, 0, room, error);
    if (s == INK_OK) s = grow(mem, (void **)&ts->text, &ts->text_cap, 0, 3 * room + 1, error);
    if (s != INK_OK) inki_text_stream_free(ts);
    return s;
}

void inki_text_stream_free(inki_text_stream *ts) {
    inki_release(&ts->mem, ts->held, ts->held_cap, 1);
    inki_release(&ts->mem, ts->text, ts->text_cap, 1);
    ts->held = NULL;
    ts->text = NULL;
    ts->held_cap = ts->text_cap = ts->n_held = 0;
}

// Where the first stop string begins in the held bytes, or n_held; of two at one place either will
// do.
static size_t find_stop(const inki_text_stream *ts) {
    for (size_t at = 0; at < ts->n_held; at++)
        for (size_t i = 0; i < ts->n_stop; i++) {
            const size_t n = strlen(ts->stop[i]);
            if (n <= ts->n_held - at && memcmp(ts->held + at, ts->stop[i], n) == 0) return at;
        }
    return ts->n_held;
}

// Where the longest tail that could still become a stop string begins, or n_held.
static size_t find_stop_prefix(const inki_text_stream *ts) {
    for (size_t at = 0; at < ts->n_held; at++) {
        const size_t tail = ts->n_held - at;
        for (size_t i = 0; i < ts->n_stop; i++)
            if (strncmp((const char *)ts->held + at, ts->stop[i], tail) == 0 &&
                strlen(ts->stop[i]) > tail)
                return at;
    }
    return ts->n_held;
}

// Moves held[0, n) out as text, but for a character that n cuts. drop: also what n cuts and all
// after.
static ink_status give_out(inki_text_stream *ts, size_t n, inki_str *ready, ink_error *error) {
    ink_status s = grow(&ts->mem, (void **)&ts->text, &ts->text_cap, 0, 3 * n + 1, error);
    if (s != INK_OK) return s;
    size_t at = 0, out = 0;
    while (at < n) {
        uint32_t c;
        const size_t step = inki_utf8_decode(ts->held + at, ts->n_held - at, &c);
        if (step > n - at || (step == 0 && inki_utf8_is_prefix(ts->held + at, ts->n_held - at)))
            break;
        if (step > 0) {
            memcpy(ts->text + out, ts->held + at, step);
            out += step;
            at += step;
        } else {
            memcpy(ts->text + out, "\xEF\xBF\xBD", 3);
            out += 3;
            at++;
        }
    }
    ts->text[out] = 0;
    memmove(ts->held, ts->held + at, ts->n_held - at);
    ts->n_held -= at;
    *ready = (inki_str){ts->text, out};
    return INK_OK;
}

ink_status inki_text_stream_push(inki_text_stream *ts, inki_str bytes, inki_str *ready,
                                 bool *stopped, ink_error *error) {
    ink_status s = grow(&ts->mem, (void **)&ts->held, &ts->held_cap, ts->n_held,
                        ts->n_held + bytes.bytes, error);
    if (s != INK_OK) return s;
    if (bytes.bytes != 0) memcpy(ts->held + ts->n_held, bytes.data, bytes.bytes);
    ts->n_held += bytes.bytes;
    const size_t end = find_stop(ts);
    *stopped = end < ts->n_held;
    if (*stopped) ts->n_held = end;
    return give_out(ts, *stopped ? end : find_stop_prefix(ts), ready, error);
}

ink_status inki_text_stream_flush(inki_text_stream *ts, inki_str *ready, ink_error *error) {
    const ink_status s = give_out(ts, ts->n_held, ready, error);
    ts->n_held = 0;
    return s;
}
