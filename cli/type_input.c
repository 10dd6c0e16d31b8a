// SPDX-License-Identifier: MIT
#include "cli/type_input.h"

#include <stdint.h>
#include <string.h>

#include "cli/text.h"

static const char mark[] = "\033[201~";
static const char unknown[] = "\xef\xbf\xbd"; // U+FFFD

static void add(type_input *input, const char *s, size_t n) {
    memcpy(input->text + input->n, s, n);
    input->n += n;
}

static void drop_part(type_input *input) {
    if (input->n_part > 0) add(input, unknown, sizeof unknown - 1);
    input->n_part = 0;
}

static size_t length_by(char first) {
    const unsigned char b = (unsigned char)first;
    return b < 0x80 ? 1 : b < 0xc2 ? 0 : b < 0xe0 ? 2 : b < 0xf0 ? 3 : b < 0xf5 ? 4 : 0;
}

void type_input_byte(type_input *input, char byte) {
    uint32_t c;
    if (((unsigned char)byte & 0xc0) != 0x80) drop_part(input);
    input->part[input->n_part++] = byte;
    const size_t length = length_by(input->part[0]);
    if (input->n_part < length) return;
    if (length == 0 || cli_text_decode(input->part, length, &c) == 0) {
        drop_part(input);
        return;
    }
    add(input, input->part, length);
    input->n_part = 0;
}

void type_input_begin_paste(type_input *input) {
    input->n_part = input->n_mark = 0;
    input->after_return = false;
    input->pasting = true;
}

static void text_byte(type_input *input, char byte) {
    const bool pair = byte == '\n' && input->after_return;
    input->after_return = byte == '\r';
    if (!pair) type_input_byte(input, byte == '\r' ? '\n' : byte);
}

static void no_mark(type_input *input) {
    for (size_t i = 0; i < input->n_mark; i++) text_byte(input, mark[i]);
    input->n_mark = 0;
}

void type_input_pasted(type_input *input, char byte) {
    if (byte != mark[input->n_mark]) no_mark(input); // the mark's first byte is in it only once
    if (byte != mark[input->n_mark]) {
        text_byte(input, byte);
        return;
    }
    if (++input->n_mark < sizeof mark - 1) return;
    input->n_mark = 0;
    drop_part(input);
    input->pasting = false;
}

void type_input_end_paste(type_input *input) {
    no_mark(input);
    drop_part(input);
    input->pasting = false;
}
