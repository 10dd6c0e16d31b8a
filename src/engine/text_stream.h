// SPDX-License-Identifier: MIT
// Between tokens and the caller's text: whole UTF-8 characters, stop strings found across pieces.
#ifndef INKI_TEXT_STREAM_H
#define INKI_TEXT_STREAM_H

#include "base/cursor.h"
#include "base/error.h"
#include "base/mem.h"

typedef struct inki_text_stream {
    inki_mem mem;
    const char *const *stop; // [n_stop], the caller's
    size_t n_stop;
    uint8_t *held; // bytes not yet given out
    size_t n_held, held_cap;
    char *text; // what is given out next, with a 0 byte
    size_t text_cap;
} inki_text_stream;

// Errors: INK_E_ARG (a stop string is NULL or empty), INK_E_NOMEM.
ink_status inki_text_stream_init(inki_text_stream *ts, const char *const *stop, size_t n_stop,
                                 const inki_mem *mem, ink_error *error);
void inki_text_stream_free(inki_text_stream *ts);

// Adds a token's bytes. *ready: text that can be given out now (its data ends with a 0 byte, valid
// until the next call), maybe empty. *stopped: a stop string is complete; `ready` ends before it.
// Held back: what could begin a stop string, and the first bytes of a character. Bytes that can
// no longer become UTF-8 are given out as U+FFFD. Errors: INK_E_NOMEM.
ink_status inki_text_stream_push(inki_text_stream *ts, inki_str bytes, inki_str *ready,
                                 bool *stopped, ink_error *error);
// What was held back, when nothing more comes; the beginning of a character stays unsaid.
ink_status inki_text_stream_flush(inki_text_stream *ts, inki_str *ready, ink_error *error);

#endif
