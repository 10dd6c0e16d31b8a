// SPDX-License-Identifier: MIT
// Answers that are written as text, since as a tree of JSON values they would take many times the
// memory: long lists of numbers.
#ifndef SERVER_TEXT_OUT_H
#define SERVER_TEXT_OUT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Zeroed at first. Once there was no memory nothing more is added.
typedef struct srv_text {
    char *data; // [bytes] without a 0 byte; NULL: nothing yet
    size_t bytes, cap;
    bool lost; // there was no memory
} srv_text;

void srv_text_add(srv_text *text, const void *data, size_t bytes);
void srv_text_string(srv_text *text, const char *string);
void srv_text_int(srv_text *text, int64_t number);
// With quotes and escapes. What is not UTF-8 becomes U+FFFD.
void srv_text_json(srv_text *text, const char *string, size_t bytes);
// As a JSON array; each with as many digits as bring the same float back.
void srv_text_floats(srv_text *text, const float *values, size_t n);
// In base64, with padding and without quotes: four bytes each, the lowest first, on any machine.
void srv_text_base64(srv_text *text, const float *values, size_t n);
void srv_text_free(srv_text *text); // is then as at first

// How many of the bytes are whole UTF-8 characters up to the first that is none, whose length is in
// *invalid then: 0 where all are; what is cut short counts as one.
size_t srv_utf8_check(const char *text, size_t bytes, size_t *invalid);
// A JSON string of any bytes, as srv_text_json writes it. NULL: no memory.
json_t *srv_json_lossy(const char *text, size_t bytes);

#endif
