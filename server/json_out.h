// SPDX-License-Identifier: MIT
// Writing JSON as text, for what goes out with every token: one growing buffer that is used again.
// Numbers are the same in every locale. The first failure to get memory is remembered, what is
// written after it is dropped: one look at the end is enough.
#ifndef SERVER_JSON_OUT_H
#define SERVER_JSON_OUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct srv_text {
    char *data; // [bytes], no 0 byte
    size_t bytes, cap;
    bool failed;
} srv_text; // zeroed: empty

void srv_text_free(srv_text *text);  // it is empty then
void srv_text_clear(srv_text *text); // keeps its memory, forgets a failure
void srv_text_add(srv_text *text, const char *data, size_t bytes);
void srv_text_puts(srv_text *text, const char *string);

// A JSON string with its quotes; bytes that are not UTF-8 become U+FFFD.
void srv_text_string(srv_text *text, const char *data, size_t bytes);
void srv_text_uint(srv_text *text, uint64_t number);
void srv_text_int(srv_text *text, int64_t number);
// With n_digits (0 to 9) behind the point at most; null for what is no finite number.
void srv_text_real(srv_text *text, double number, unsigned n_digits);

// The length of the character that begins at data, 0 if there is none that is whole and valid.
size_t srv_utf8_length(const char *data, size_t bytes);
bool srv_utf8_valid(const char *data, size_t bytes);

#endif
