// SPDX-License-Identifier: MIT
// A Hugging Face directory in a temporary folder, to be changed and converted; and a reader of its
// weights that shares nothing with the converter. Failures fail the running cmocka test.
#ifndef TESTS_HF_DIR_H
#define TESTS_HF_DIR_H

#include "convert/convert.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct hf_dir {
    char root[200]; // the temporary folder
    char in[256];   // root/in: the model
    char out[256];  // root/out/model.gguf
} hf_dir;

hf_dir hf_dir_new(void);                    // with an empty `in`
hf_dir hf_dir_copy_of(const char *fixture); // "hf-plain": its files
void hf_dir_drop(hf_dir *d);                // removes all of it

// Whole files of `in`; the text is 0-terminated, free it. bytes may be NULL.
char *hf_dir_read(const hf_dir *d, const char *name, size_t *bytes);
void hf_dir_write(const hf_dir *d, const char *name, const void *data, size_t bytes);
void hf_dir_text(const hf_dir *d, const char *name, const char *text);
void hf_dir_remove(const hf_dir *d, const char *name);
// The first place of `before` in a file becomes `after`.
void hf_dir_replace(const hf_dir *d, const char *name, const char *before, const char *after);
// The same inside the header of a safetensors file, whose length is set anew.
void hf_dir_replace_header(const hf_dir *d, const char *name, const char *before,
                           const char *after);
// Overwrites an element of a tensor with raw bytes.
void hf_dir_poke(const hf_dir *d, const char *name, const char *tensor, uint64_t element,
                 const void *raw, size_t bytes);

ink_status hf_dir_convert(const hf_dir *d, inki_tensor_type type, ink_error *error);
bool hf_dir_out_is_empty(const hf_dir *d); // neither an output nor a temporary file

// Values of a tensor in a file of `in`, in its order. Free them.
double *hf_dir_tensor(const hf_dir *d, const char *file, const char *tensor, size_t *n);

// Elements [0, n) of a GGUF row of this type as numbers.
void hf_decode(double *out, uint32_t type, const uint8_t *row, size_t n);

#endif
