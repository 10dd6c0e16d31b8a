// SPDX-License-Identifier: MIT
// What the files of the writer of Hugging Face directories share.
#ifndef INKI_CONVERT_HF_WRITE_PARTS_H
#define INKI_CONVERT_HF_WRITE_PARTS_H

#include "convert/hf_config.h"
#include "gguf/gguf.h"
#include "kernels/kernels.h"

#include <jansson.h>

typedef struct inki_hf_writing {
    inki_mem mem;
    inki_kernels kernels; // portable
    inki_file map;
    inki_gguf gguf;
    const char *dir;
    inki_hf_config config; // tied: the file has no head of its own
    // Of the vocabulary; set by inki_hf_write_tokenizer.
    inki_str *tokens; // [config.n_vocab]
    int32_t *types;   // [config.n_vocab]
} inki_hf_writing;

// model.safetensors.
ink_status inki_hf_write_weights(inki_hf_writing *w, ink_error *error);
// vocab.json, merges.txt, tokenizer.json, tokenizer_config.json, special_tokens_map.json.
ink_status inki_hf_write_tokenizer(inki_hf_writing *w, ink_error *error);

// The file `name` of the directory, begun. Errors: those of inki_out_open; INK_E_LIMIT (path).
ink_status inki_hf_out_open(const inki_hf_writing *w, inki_out *out, const char *name,
                            ink_error *error);
// Writes root as a file of the directory and releases it; root NULL: there was no memory for it.
ink_status inki_hf_write_json(const inki_hf_writing *w, const char *name, json_t *root,
                              ink_error *error);

#endif
