// SPDX-License-Identifier: MIT
// Finding and checking tensors of a file. Private to src/model.
#ifndef INKI_MODEL_PARSE_H
#define INKI_MODEL_PARSE_H

#include "model/arch.h"
#include "model/lora.h"

enum { INKI_PARSE_NAME = 80 };
// What is done with a matrix decides which kernels its type must have.
enum { INKI_USE_MATMUL = 1, INKI_USE_ROWS = 2 };

typedef struct inki_parse {
    const inki_gguf *gguf;
    const inki_kernels *kernels;
    const inki_arch *arch;
    inki_weights *w;
    ink_error *error;
    char prefix[24]; // of the tensors' names: "blk.3.", or ""
} inki_parse;

// The matrix [rows, cols] of that name; rows 0: any number. Errors: INK_E_FORMAT (missing, another
// shape), INK_E_UNSUPPORTED (a type without kernels), INK_E_LIMIT.
ink_status inki_parse_matrix(inki_parse *p, const char *name, uint32_t cols, uint32_t rows, int use,
                             inki_tensor *out);

#endif
