// SPDX-License-Identifier: MIT
// GPT-2 files of a given shape with random weights, for measuring where no trained file is at hand.
// What is slow or fast in a model is its shape and its types, not what it has learnt.
#ifndef INKI_CONVERT_SHAPE_MODEL_H
#define INKI_CONVERT_SHAPE_MODEL_H

#include "base/error.h"
#include "base/mem.h"

typedef struct inki_shape {
    const char *name;
    uint32_t n_layer, n_head, n_embd, n_ctx, n_vocab;
} inki_shape;

extern const inki_shape inki_shapes[];
extern const size_t inki_n_shapes;
// What the matrices may be: "f32", "q8_0", …, "mixed": Q4_K with sensitive ones in Q6_K. Ends with
// NULL.
extern const char *const inki_shape_types[];

typedef struct inki_shape_options {
    const inki_shape *shape;
    unsigned type; // index into inki_shape_types
    const char *out;
    int (*progress)(void *user, double fraction); // nonzero cancels; may be NULL
    void *user;
} inki_shape_options;

// Writes options->out; it appears only when it is whole. The head is the embedding, as GPT-2 has
// it; with Q4_0 matrices it is Q8_0, with K types Q6_K. A row that a K type cannot hold gets the
// type that llama.cpp falls back to. The same options give the same bytes. Memory: a few MB.
// Errors: INK_E_IO, INK_E_NOMEM, INK_E_CANCELLED; nothing is left behind.
ink_status inki_shape_write(const inki_shape_options *options, ink_error *error);

#endif
