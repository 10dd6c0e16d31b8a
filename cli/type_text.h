// SPDX-License-Identifier: MIT
// The text of the editor: UTF-8 in a gap buffer, so that typing in one place costs the same in a
// text of any length. Offsets are in bytes.
#ifndef CLI_TYPE_TEXT_H
#define CLI_TYPE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct type_text {
    char *data; // [cap], the gap at gap_at
    size_t cap, gap_at, n;
} type_text; // zeroed: an empty text

void type_text_free(type_text *text);
// Puts old [n_new] bytes in the place of n_old bytes at `at`. False without memory: as before.
bool type_text_replace(type_text *text, size_t at, size_t n_old, const char *put, size_t n_put);
// n bytes from `at` on to out.
void type_text_copy(const type_text *text, size_t at, size_t n, char *out);
// All of it in one piece, with a 0 byte behind; until the next change. NULL without memory.
const char *type_text_all(type_text *text);

char type_text_byte(const type_text *text, size_t at);
// The character at `at` < n and its length in *bytes; the text is UTF-8.
uint32_t type_text_char(const type_text *text, size_t at, size_t *bytes);
// The beginning of the character that `at` lies in.
size_t type_text_floor(const type_text *text, size_t at);
// The offset behind the last newline in [from, at), or `none`.
size_t type_text_line_back(const type_text *text, size_t from, size_t at, size_t none);

// Steps over what looks like one character: a base with the marks that combine with it, parts of
// an emoji. At the ends they stay.
size_t type_text_next(const type_text *text, size_t at);
size_t type_text_prev(const type_text *text, size_t at);
// Over the blanks and the word beside `at`.
size_t type_text_next_word(const type_text *text, size_t at);
size_t type_text_prev_word(const type_text *text, size_t at);

// Columns of a character by the C library: 0 to 2, or -1 for what has no form to show.
int type_width(uint32_t c);
bool type_is_blank(uint32_t c);

#endif
