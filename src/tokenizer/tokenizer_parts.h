// SPDX-License-Identifier: MIT
// What a tokenizer is made of. For the files of this room and their tests.
#ifndef INKI_TOKENIZER_PARTS_H
#define INKI_TOKENIZER_PARTS_H

#include "tokenizer/bpe.h"
#include "tokenizer/special_tokens.h"
#include "tokenizer/tokenizer.h"

enum {
    INKI_MAX_TOKENS = 1 << 24,
    INKI_MAX_MERGES = 1 << 24,
    INKI_MAX_TOKEN_BYTES = 65535 // of a token's text in the file
};

// The numbers in tokenizer.ggml.token_type.
enum {
    INKI_TYPE_NORMAL = 1,
    INKI_TYPE_UNKNOWN = 2,
    INKI_TYPE_CONTROL = 3,
    INKI_TYPE_USER_DEFINED = 4
};

typedef enum inki_token_kind {
    INKI_KIND_TEXT = 0,    // byte-to-unicode text in the file: made by merging
    INKI_KIND_RAW = 1,     // any other text that nothing produces (unused, padding)
    INKI_KIND_USER = 2,    // user-defined: always read in the text as it is, and written as it is
    INKI_KIND_SPECIAL = 3, // control: read only when the caller asks for it
} inki_token_kind;

struct inki_tokenizer {
    inki_mem mem;
    uint32_t n_vocab;
    int32_t end;
    uint8_t *kinds;    // [n_vocab] inki_token_kind
    uint32_t *offsets; // [n_vocab + 1] into blob
    char *blob;        // [blob_cap] the bytes of all tokens
    size_t blob_cap;   // at least what they need: the size of the texts that they are made from
    inki_specials specials; // USER and SPECIAL
    inki_bpe bpe;
};

// The bytes that byte-to-unicode text stands for, at most text.bytes of them; false if the text is
// none (some may be written then).
bool inki_byte_text_decode(inki_str text, char *out, size_t *bytes);

#endif
