// SPDX-License-Identifier: MIT
// Matrix products for training: C = A B, cut among the pool's threads.
//
// An output is made by the same operations in the same order whatever the number of threads is: a
// thread gets whole outputs. So weights after a number of steps are the same bytes on every run of
// one build on one machine with one precision.
#ifndef INKI_TRAIN_GEMM_H
#define INKI_TRAIN_GEMM_H

#include "base/error.h"
#include "base/mem.h"
#include "kernels/kernels.h"
#include "os/pool.h"

// Of the products alone: what they read is rounded to it, sums are floats in both.
typedef enum inki_precision { INKI_PRECISION_F32, INKI_PRECISION_BF16 } inki_precision;

// What is multiplied: rows as they lie in memory, or their transpose. type: a tensor type that has
// a `dequantize` kernel; a row of it has whole blocks.
typedef struct inki_operand {
    const void *data;
    uint32_t type;
    size_t stride;   // bytes between stored rows; of F32 a multiple of 4
    bool transposed; // the operand is the transpose of the stored rows
} inki_operand;

// c [m, n] = a [m, k] b [k, n] + bias [n], or += with `add`. n, m, k any size > 0.
typedef struct inki_product {
    float *c;
    size_t c_stride; // floats
    inki_operand a, b;
    const float *bias; // NULL: none
    size_t m, n, k;
    bool add;
} inki_product;

typedef struct inki_gemm inki_gemm;
// level: an inki_level that the machine has and up to which instructions are used (the level of
// BF16 products is found beside it). precision: INKI_PRECISION_BF16 is taken only where the machine
// multiplies it in one instruction; inki_gemm_precision says what it became. pool: NULL, or claimed
// by the caller (inki_pool_enter) whenever products run. All memory is allocated here.
// Errors: INK_E_NOMEM.
ink_status inki_gemm_new(inki_gemm **out, const inki_mem *mem, const inki_kernels *kernels,
                         uint32_t level, inki_precision precision, inki_pool *pool,
                         ink_error *error);
void inki_gemm_free(inki_gemm *gemm); // NULL is allowed
inki_precision inki_gemm_precision(const inki_gemm *gemm);
// The pool that it was made with, or NULL: the calling thread makes the same numbers alone.
void inki_gemm_use_pool(inki_gemm *gemm, inki_pool *pool);
const char *inki_gemm_level(const inki_gemm *gemm); // "avx512bf16", "avx2", "portable"

void inki_gemm_run(inki_gemm *gemm, const inki_product *product);

#endif
