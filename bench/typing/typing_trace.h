// SPDX-License-Identifier: MIT
// Recorded typing: a list of keys, and the field that they are typed into. docs/FORMATS.md has the
// format of the file.
#ifndef BENCH_TYPING_TRACE_H
#define BENCH_TYPING_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum typing_op {
    TYPING_INSERT, // text [bytes] at the caret
    TYPING_BACK,   // the character before the caret goes
    TYPING_DELETE, // the character behind it goes
    TYPING_MOVE,   // the caret moves `by` characters
} typing_op;

typedef struct typing_key {
    typing_op op;
    size_t at, bytes; // INSERT: in typing_trace.text
    int64_t by;       // MOVE
} typing_key;

typedef struct typing_trace {
    char *text, *doc; // what is inserted; the field before the first key, [doc_bytes]
    size_t text_bytes, text_room, doc_bytes;
    typing_key *keys; // [n_keys]
    size_t n_keys, room;
    size_t max_bytes; // the most that the field ever holds
} typing_trace;

enum { TYPING_MESSAGE = 512 };

// Reads a trace and the document that it names. False: message [TYPING_MESSAGE] is one line
// "FILE:LINE: what is wrong". Every key of a trace that was read can be played.
bool typing_trace_read(typing_trace *out, const char *path, char *message);
void typing_trace_free(typing_trace *trace); // zeroed and freed ones are allowed

typedef struct typing_field {
    char *text; // [bytes], room for trace->max_bytes
    size_t bytes, caret;
} typing_field;
// The field before the first key, its caret at its end. False without memory.
bool typing_field_begin(typing_field *field, const typing_trace *trace);
void typing_field_key(typing_field *field, const typing_trace *trace, const typing_key *key);
void typing_field_end(typing_field *field);

#endif
