// SPDX-License-Identifier: MIT
// Reads one HTTP/1.1 answer as it comes, and the events in it.
#ifndef TESTS_HTTP_READER_H
#define TESTS_HTTP_READER_H

#include <stdbool.h>
#include <stddef.h>

typedef struct http_reader {
    unsigned status;
    bool keep;         // the connection may be used again
    bool stream;       // text/event-stream
    bool failed_event; // an event with an error object
    bool saw_done;     // "data: [DONE]"
    unsigned n_events; // with text
    double first_ms;   // load_now_ms of the first of them; 0: none
    size_t n_read;     // bytes of all that came
    size_t body_bytes;
    // Of http_reader.c.
    int state;
    char *raw; // [raw_bytes] what is not understood yet; the head stays at its beginning
    size_t raw_bytes, raw_cap, raw_at;
    size_t head_bytes; // of raw, with a 0 byte at their end
    char *body;        // [body_bytes] and a 0 byte
    size_t body_cap, body_seen;
    size_t left; // of the body or the chunk
} http_reader;

// A new answer, in the memory of the last one. A reader of zeros is ready for it. False: no memory.
bool http_reader_begin(http_reader *reader);
// 1: the answer is complete, 0: not yet, -1: it is no HTTP, or larger than 64 MiB.
int http_reader_feed(http_reader *reader, const char *bytes, size_t n);
// The connection is closed: whether that completes the answer.
bool http_reader_end(http_reader *reader);
const char *http_reader_head(const http_reader *reader);
const char *http_reader_body(const http_reader *reader);
void http_reader_free(http_reader *reader);

#endif
