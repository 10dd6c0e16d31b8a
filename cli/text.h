// SPDX-License-Identifier: MIT
// Text of unknown origin made fit for a terminal and for JSON.
#ifndef CLI_TEXT_H
#define CLI_TEXT_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

enum { CLI_TEXT_STEP = 8 };

// Length of the UTF-8 character at s [n], n > 0, and its code point in *c; 0 if there is none.
size_t cli_text_decode(const char *s, size_t n, uint32_t *c);
// Nonzero for what must not reach a terminal: control characters and those that turn the direction
// of writing.
int cli_text_is_control(uint32_t c);
// Takes one character of s [n], n > 0, and writes its visible form to out [CLI_TEXT_STEP]: itself,
// or
// "\x1b", "\u202e". Control characters in `keep` stay. Returns the bytes taken, *put those written.
size_t cli_text_step(const char *s, size_t n, const char *keep, char *out, size_t *put);

// The visible form of s, 0-terminated, with at most `columns` characters, the last then an
// ellipsis; out [cap]. Returns the characters written.
size_t cli_text_fit(const char *s, size_t columns, char *out, size_t cap);

// A JSON string; each byte that is not UTF-8 becomes U+FFFD. NULL without memory.
json_t *cli_text_json(const char *s, size_t n);
// The same as JSON text with quotes, 0-terminated; the caller frees it. NULL without memory.
char *cli_text_quote(const char *s, size_t n);

// "4.2 MB" (powers of ten); out [CLI_TEXT_SIZE]. Returns out.
enum { CLI_TEXT_SIZE = 32 };
const char *cli_text_size(uint64_t bytes, char *out);

#endif
