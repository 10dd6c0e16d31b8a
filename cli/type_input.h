// SPDX-License-Identifier: MIT
// Bytes from a terminal become characters: whole ones, whatever pieces they come in, and the end of
// a bracketed paste is found.
#ifndef CLI_TYPE_INPUT_H
#define CLI_TYPE_INPUT_H

#include <stdbool.h>
#include <stddef.h>

enum { TYPE_INPUT_BYTES = 4096, TYPE_INPUT_STEP = 16 }; // a byte adds less than a step
typedef struct type_input {
    char text[TYPE_INPUT_BYTES + TYPE_INPUT_STEP]; // UTF-8, what has come since it was emptied
    size_t n;
    char part[4]; // of a character
    size_t n_part;
    size_t n_mark; // bytes of the mark that ends a paste
    bool pasting;
    bool after_return; // in a paste a newline right behind is part of it
} type_input;          // zeroed: nothing has come

// A byte that was typed; what is not UTF-8 becomes U+FFFD.
void type_input_byte(type_input *input, char byte);
void type_input_begin_paste(type_input *input);
// A byte of a paste: the line breaks become newlines, everything else stays. At the mark `pasting`
// is false again.
void type_input_pasted(type_input *input, char byte);
// Takes what there is as the end of the paste.
void type_input_end_paste(type_input *input);

#endif
