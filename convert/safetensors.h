// SPDX-License-Identifier: MIT
// The safetensors container: a JSON header that names tensors, then their bytes without a gap.
// Source: https://github.com/huggingface/safetensors (README, "Format").
#ifndef INKI_CONVERT_SAFETENSORS_H
#define INKI_CONVERT_SAFETENSORS_H

#include "convert/in_file.h"

#include <jansson.h>

enum { INKI_SAFETENSORS_MAX_DIMS = 8, INKI_SAFETENSORS_MAX_HEADER = 100000000 };

typedef enum inki_safetensors_type {
    INKI_SAFETENSORS_F32,
    INKI_SAFETENSORS_F16,
    INKI_SAFETENSORS_BF16,
    INKI_SAFETENSORS_OTHER // known, with no use here: F64, I64, BOOL and the like
} inki_safetensors_type;

typedef struct inki_safetensor {
    const char *name;  // borrowed from the header
    const char *dtype; // "F32"; static
    inki_safetensors_type type;
    uint32_t elem_bytes;
    uint32_t n_dims;                          // 0: a single number
    uint64_t dims[INKI_SAFETENSORS_MAX_DIMS]; // outermost first
    uint64_t n;                               // product of the sizes
    uint64_t offset;                          // from the beginning of the file
} inki_safetensor;

typedef struct inki_safetensors {
    inki_in_file file;        // not open after inki_safetensors_parse alone
    inki_safetensor *tensors; // [n], in the order of their bytes
    size_t n;
    json_t *header;
    inki_mem mem;
} inki_safetensors;

// Reads a header, text [bytes], of a file whose tensors take data_bytes after it; `where` is the
// file's name in messages. Checked: types, shapes against lengths, that the tensors cover the data
// exactly, without overlaps and holes. Errors: INK_E_FORMAT, INK_E_UNSUPPORTED (dtype),
// INK_E_NOMEM.
ink_status inki_safetensors_parse(inki_safetensors *out, const char *text, size_t bytes,
                                  uint64_t data_bytes, const char *where, const inki_mem *mem,
                                  ink_error *error);
// Opens dir/name and reads its header. Errors: also those of inki_in_open, INK_E_LIMIT (header
// length).
ink_status inki_safetensors_open(inki_safetensors *out, const char *dir, const char *name,
                                 const inki_mem *mem, ink_error *error);
void inki_safetensors_close(inki_safetensors *file); // zeroed and closed ones are allowed

#endif
