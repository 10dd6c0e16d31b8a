// SPDX-License-Identifier: MIT
// Small GPT-2 models of random weights, valid in every respect, for tests. The same parameters give
// the same file, byte for byte.
#ifndef TESTS_TINY_MODEL_H
#define TESTS_TINY_MODEL_H

#include "base/tensor_type.h"
#include "inkling/inkling.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct tiny_model {
    uint32_t n_embd, n_head, n_layer, n_ctx, n_ff;
    // 256 byte tokens in GPT-2's order, n_vocab - 257 merged ones (at most 8,000; id 256 + i comes
    // from merge i), <|endoftext|> last.
    uint32_t n_vocab;
    uint32_t type; // of the matrices; widths are multiples of its block
    bool tied;     // no output.weight of its own
    uint64_t seed;
} tiny_model;

// 32 wide, 2 heads, 2 layers, context 160, feed-forward 64, 300 tokens, F32, tied, seed 1.
tiny_model tiny_model_defaults(void);

// Writes the model to path. Errors: those of the writer; INK_E_ARG for parameters that cannot be.
ink_status tiny_model_write(const char *path, const tiny_model *model, ink_error *error);

// The same file in memory (free it), made by way of a temporary file in TMPDIR; NULL on any
// failure.
uint8_t *tiny_model_bytes(const tiny_model *model, size_t *bytes);

#endif
