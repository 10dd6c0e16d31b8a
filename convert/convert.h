// SPDX-License-Identifier: MIT
// Foreign checkpoints become GGUF files. An internal library of the program; needs jansson.
#ifndef INKI_CONVERT_H
#define INKI_CONVERT_H

#include "base/error.h"
#include "base/mem.h"
#include "base/tensor_type.h"

typedef struct inki_convert_options {
    const char *dir;       // a Hugging Face directory of a GPT-2
    const char *out;       // the GGUF file to write; it appears only when it is whole
    inki_tensor_type type; // of the matrices: F32, F16, BF16, Q8_0 or Q4_0
    const char *name;      // general.name; NULL: the directory's own name
    // general.license; NULL: `license:` in the front matter of README.md, if any.
    const char *license;
    // Called now and then with a fraction from 0 to 1 and what is at work ("blk.3.ffn_up.weight").
    // Nonzero cancels. May be NULL.
    int (*progress)(void *user, double fraction, const char *what);
    // One line without newline for each thing that a user may want to know, such as a tensor that
    // is written in another type than was asked for. May be NULL.
    void (*note)(void *user, const char *line);
    void *user;
    const inki_mem *mem; // NULL: the C library's. JSON trees come from the C library in any case
} inki_convert_options;

// Reads config.json, the weights (model.safetensors, or model.safetensors.index.json and its
// shards) and the tokenizer (tokenizer.json, or vocab.json and merges.txt) of options->dir; checks
// all of it, NaN and infinity in the weights too; then writes options->out. Working memory for
// weights is about 10 MB whatever the size of the model. The same input gives the same bytes.
// Errors: INK_E_ARG (options; the output is one of the inputs), INK_E_NOT_FOUND, INK_E_IO,
// INK_E_FORMAT, INK_E_UNSUPPORTED (not a GPT-2, or one with switches that the engine has not),
// INK_E_LIMIT, INK_E_NUMERIC (NaN or infinity), INK_E_NOMEM, INK_E_CANCELLED. The message names
// file, field and what was expected; nothing is left behind.
ink_status inki_convert_hf(const inki_convert_options *options, ink_error *error);

#endif
