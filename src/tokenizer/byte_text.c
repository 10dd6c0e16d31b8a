// SPDX-License-Identifier: MIT
// GPT-2 writes the bytes of a token as visible characters: a byte that is visible in Latin-1 stands
// for itself, the other 68 are numbered from U+0100 on.
// Source: bytes_to_unicode in https://github.com/openai/gpt-2/blob/master/src/encoder.py
#include "base/utf8.h"
#include "tokenizer/tokenizer_parts.h"

static int byte_of_char(uint32_t c) {
    if ((c >= 0x21 && c <= 0x7e) || (c >= 0xa1 && c <= 0xac) || (c >= 0xae && c <= 0xff))
        return (int)c;
    if (c >= 0x100 && c <= 0x120) return (int)(c - 0x100);        // 00-20
    if (c >= 0x121 && c <= 0x142) return (int)(c - 0x121 + 0x7f); // 7f-a0
    return c == 0x143 ? 0xad : -1;
}

bool inki_byte_text_decode(inki_str text, char *out, size_t *bytes) {
    size_t n = 0;
    for (size_t at = 0; at < text.bytes; n++) {
        uint32_t c = 0;
        const size_t step = inki_utf8_decode((const uint8_t *)text.data + at, text.bytes - at, &c);
        const int byte = step > 0 ? byte_of_char(c) : -1;
        if (byte < 0) return false;
        if (out != NULL) out[n] = (char)(uint8_t)byte;
        at += step;
    }
    *bytes = n;
    return true;
}
