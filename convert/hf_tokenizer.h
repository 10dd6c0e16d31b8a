// SPDX-License-Identifier: MIT
// The vocabulary of a Hugging Face GPT-2, in the form that GGUF has.
#ifndef INKI_CONVERT_HF_TOKENIZER_H
#define INKI_CONVERT_HF_TOKENIZER_H

#include "base/cursor.h"
#include "convert/hf_config.h"

#include <jansson.h>

// tokenizer.ggml.token_type
enum {
    INKI_TOKEN_NORMAL = 1,
    INKI_TOKEN_CONTROL = 3,
    INKI_TOKEN_USER_DEFINED = 4,
    INKI_TOKEN_UNUSED = 5
};

typedef struct inki_hf_tokenizer {
    inki_str *tokens; // [n_tokens], byte-to-unicode form
    int32_t *types;   // [n_tokens]
    size_t n_tokens;  // the model's vocab_size
    size_t n_padding; // of them "[PAD123]", rows of the model that no token uses
    inki_str *merges; // [n_merges], "a b"
    size_t n_merges;
    int32_t bos, eos;
    bool prefix_space; // the tokenizer puts a blank before a text; the engine does not
    // What the texts above lie in.
    json_t *root, *added;
    char *text, *joined, *padding;
    size_t text_bytes, joined_bytes, merges_room;
    inki_mem mem;
} inki_hf_tokenizer;

// Reads tokenizer.json, else vocab.json and merges.txt (and added_tokens.json, if it is there).
// Errors: INK_E_NOT_FOUND, INK_E_FORMAT (ids with holes or twice, a merge whose parts or result are
// no tokens, a byte without a token), INK_E_UNSUPPORTED (no byte-level BPE), INK_E_LIMIT,
// INK_E_NOMEM.
ink_status inki_hf_tokenizer_load(inki_hf_tokenizer *out, const char *dir,
                                  const inki_hf_config *config, const inki_mem *mem,
                                  ink_error *error);
void inki_hf_tokenizer_free(inki_hf_tokenizer *tokenizer); // zeroed and freed ones are allowed

#endif
