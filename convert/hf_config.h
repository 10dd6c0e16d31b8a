// SPDX-License-Identifier: MIT
// config.json of a Hugging Face GPT-2, and what the model card says of the licence.
#ifndef INKI_CONVERT_HF_CONFIG_H
#define INKI_CONVERT_HF_CONFIG_H

#include "base/error.h"
#include "base/mem.h"

#include <stdbool.h>

typedef struct inki_hf_config {
    uint32_t n_embd, n_layer, n_head, n_ctx, n_ff, n_vocab;
    float norm_eps;
    int32_t bos, eos; // -1: not said
    bool tied;        // the head is the embedding, unless a head that differs is there
    bool tied_said;   // it stands in the file
} inki_hf_config;

// Errors: INK_E_NOT_FOUND, INK_E_FORMAT, INK_E_LIMIT, INK_E_UNSUPPORTED (another architecture, or a
// switch that changes the numbers: the message names the field and what was expected).
ink_status inki_hf_config_load(inki_hf_config *out, const char *dir, const inki_mem *mem,
                               ink_error *error);

// `license:` in the front matter of README.md into out [cap], "" if there is none that can be used.
// Errors: INK_E_NOMEM.
ink_status inki_hf_license(char *out, size_t cap, const char *dir, const inki_mem *mem,
                           ink_error *error);
// The model's name into out [cap]: `given`, or, when that is NULL, the last part of the directory's
// real path ("model" if it has none). Bytes that are not UTF-8, which paths may have, become '?'.
void inki_hf_name(char *out, size_t cap, const char *dir, const char *given);

#endif
