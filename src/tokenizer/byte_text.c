// SPDX-License-Identifier: MIT
// GPT-2 writes the bytes of a token as visible characters: a byte that is visible in Latin-1 stands
// for itself, the other 68 are numbered from U+0100 on.
// Source: bytes_to_unicode in https://github.com/openai/gpt-2/blob/master/src/encoder.py
#include "tokenizer/tokenizer_parts.h"

static int byte_of_char(uint32_t c) {
    if ((c >= 0x21 && c <= 0x7e) || (c >= 0xa1 && c <= 0xac) || (c >= 0xae && c <= 0xff))
        return (int)c;
    if (c >= 0x100 && c <= 0x120) return (int)(c - 0x100);        // 00-20
    if (c >= 0x121 && c <= 0x142) return (int)(c - 0x121 + 0x7f); // 7f-a0
    return c == 0x143 ? 0xad : -1;
}

// The characters in question have one byte or two; whatever begins otherwise is none of them.
bool inki_byte_text_decode(inki_str text, char *out, size_t *bytes) {
    const uint8_t *p = (const uint8_t *)text.data;
    const uint8_t *end = p + text.bytes;
    char *to = out;
    while (p < end) {
        int byte;
        if (*p < 0x80) {
            byte = *p >= 0x21 && *p != 0x7f ? *p : -1;
            p += 1;
        } else {
            if (end - p < 2 || *p < 0xc2 || *p > 0xdf || (p[1] & 0xc0) != 0x80) return false;
            byte = byte_of_char((*p & 31u) << 6 | (p[1] & 63u));
            p += 2;
        }
        if (byte < 0) return false;
        *to++ = (char)(uint8_t)byte;
    }
    *bytes = (size_t)(to - out);
    return true;
}
