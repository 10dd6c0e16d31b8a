// SPDX-License-Identifier: MIT
// Between tokens and the caller's text: whole UTF-8 characters, stop strings and listed phrases
// found across pieces.
#ifndef INKI_TEXT_STREAM_H
#define INKI_TEXT_STREAM_H

#include "base/cursor.h"
#include "base/error.h"
#include "base/mem.h"
#include "filter/filter.h"

// A stop string, and how far the text has come in it.
typedef struct inki_stop {
    const char *text; // [bytes], the caller's
    size_t bytes;
    // [bytes] For each beginning of it: how long the longest shorter beginning is that it ends
    // with.
    size_t *borders;
    size_t n_matched; // the longest beginning that the bytes searched so far end with
} inki_stop;

typedef struct inki_text_stream {
    inki_mem mem;
    inki_stop *stops; // [n_stop], their borders behind them
    size_t n_stop, stops_cap;
    const ink_filter *filter; // NULL: none
    bool hold;                // nothing is given out yet
    // [n_before + n_held] text that the filter looks back at, then bytes not yet given out
    uint8_t *bytes;
    size_t n_before, n_held, cap;
    // [begins_cap] With a filter, for each held byte: whether a push begins there. What is taken
    // back are whole pushes, so that nothing of one may be given out while some of it is held.
    uint8_t *begins;
    size_t begins_cap;
    uint64_t n_given;  // bytes given out so far, as they were pushed
    size_t n_searched; // held bytes that the stop strings have seen; 0: they begin anew
    size_t n_cut;      // bytes behind the held ones, from a stop string on; only while `hold`
    size_t scan_from;  // phrases that begin before this byte were ruled out
    char *text;        // what is given out next, with a 0 byte
    size_t text_cap;
} inki_text_stream;

// A zeroed stream, or one that was used before: its memory serves again. The strings are the
// caller's as long as the stream is used.
// Errors: INK_E_ARG (a stop string is NULL or empty), INK_E_NOMEM.
ink_status inki_text_stream_init(inki_text_stream *ts, const char *const *stop, size_t n_stop,
                                 const ink_filter *filter, const inki_mem *mem, ink_error *error);
void inki_text_stream_free(inki_text_stream *ts);
// Text that stands before what is pushed. Only for the filter. Errors: INK_E_NOMEM.
ink_status inki_text_stream_context(inki_text_stream *ts, inki_str text, ink_error *error);

typedef struct inki_text_event {
    inki_str ready; // what can be given out now, maybe empty; with a 0 byte, until the next call
    // A stop string is complete; `ready` ends before it. With `hold` what is before it is held
    // still: flushed, or popped together with the stop string.
    bool stopped;
    // Over 0: a listed phrase is complete. So many bytes of what was pushed, from its last byte on,
    // have to be taken back; `ready` is empty.
    size_t n_too_much;
} inki_text_event;

// Adds a token's bytes. Held back: what could begin a stop string or a listed phrase, and the first
// bytes of a character. Bytes that can no longer become UTF-8 are given out as U+FFFD.
// Errors: INK_E_NOMEM.
ink_status inki_text_stream_push(inki_text_stream *ts, inki_str bytes, inki_text_event *event,
                                 ink_error *error);
// Takes back the last n bytes that were pushed; those given out already stay so.
void inki_text_stream_pop(inki_text_stream *ts, size_t n);
// As n_too_much of a push behind which the text ends.
size_t inki_text_stream_too_much(const inki_text_stream *ts);
// What was held back, when nothing more comes; the beginning of a character stays unsaid. ended:
// the text is whole. Else it was cut, and what could have become a listed phrase stays unsaid too.
ink_status inki_text_stream_flush(inki_text_stream *ts, bool ended, inki_str *ready,
                                  ink_error *error);

#endif
