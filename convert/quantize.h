// SPDX-License-Identifier: MIT
// A GGUF file becomes a smaller one.
#ifndef INKI_CONVERT_QUANTIZE_H
#define INKI_CONVERT_QUANTIZE_H

#include "base/error.h"
#include "base/mem.h"
#include "base/tensor_type.h"

// What the matrices become. As in llama.cpp, the head is kept wider (Q6_K) and rows that a type
// cannot hold get another; files of the first four have the size of llama.cpp's Q8_0, Q4_0, Q4_K_S
// and Q6_K.
typedef enum inki_quantize_preset {
    INKI_QUANTIZE_Q8_0,
    INKI_QUANTIZE_Q4_0,
    INKI_QUANTIZE_Q4_K, // the first layer in Q5_K
    INKI_QUANTIZE_Q6_K,
    INKI_QUANTIZE_MIXED, // Q4_K, the first eighth of the layers in Q6_K, the head in Q8_0
    INKI_QUANTIZE_PRESETS
} inki_quantize_preset;

// Tensors of one role ("attn_qkv.weight", whatever the layer) that got the same type.
typedef struct inki_quantize_group {
    char role[64];
    uint32_t type_in, wanted, type; // wanted differs from type where the rows did not fit
    uint64_t n_tensors, n_elems, bytes_in, bytes_out;
    double power, error; // sum of x^2; of (x - what was written)^2
} inki_quantize_group;

enum { INKI_QUANTIZE_MAX_GROUPS = 64 };
typedef struct inki_quantize_result {
    uint64_t file_bytes_in;
    uint64_t n_elems; // of all tensors
    // The first n_groups are used, in the order of the file; when there would be more, the last
    // holds all the rest and its types are those of its first tensor.
    size_t n_groups;
    inki_quantize_group groups[INKI_QUANTIZE_MAX_GROUPS];
} inki_quantize_result;

typedef struct inki_quantize_options {
    const char *in, *out; // out appears only when it is whole; it must not be the file `in`
    inki_quantize_preset preset;
    uint32_t n_threads; // 0: one for each processor. The bytes do not depend on it
    // As in inki_convert_options. The notes name every tensor that got another type than the preset
    // wants, and say when the input was quantised before.
    int (*progress)(void *user, double fraction, const char *what);
    void (*note)(void *user, const char *line);
    void *user;
    const inki_mem *mem; // NULL: the C library's
} inki_quantize_options;

// Reads a GPT-2 in any type that the engine has and writes it in the preset's types; the scales are
// searched for a small squared error. Metadata stays, but for general.file_type and
// general.quantization_version; so do vectors, norms and positions. All numbers are looked at
// first: NaN and infinity end it before anything is written. Working memory is about 10 MB whatever
// the size of the model. The same input gives the same bytes on every machine. result may be NULL.
// Errors: INK_E_ARG (options; the output is the input), INK_E_NOT_FOUND, INK_E_IO, INK_E_FORMAT,
// INK_E_UNSUPPORTED (not a GPT-2), INK_E_LIMIT, INK_E_NUMERIC (NaN or infinity), INK_E_NOMEM,
// INK_E_SYSTEM (threads), INK_E_CANCELLED. Nothing is left behind.
ink_status inki_quantize_file(const inki_quantize_options *options, inki_quantize_result *result,
                              ink_error *error);

#endif
