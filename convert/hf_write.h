// SPDX-License-Identifier: MIT
// The other way round: a GGUF file of a GPT-2 becomes a Hugging Face directory.
#ifndef INKI_CONVERT_HF_WRITE_H
#define INKI_CONVERT_HF_WRITE_H

#include "base/error.h"
#include "base/mem.h"

// Writes into dir, which is made if it is not there: model.safetensors (F32, tensors named and laid
// out as GPT2LMHeadModel saves them), config.json, generation_config.json, vocab.json, merges.txt,
// tokenizer.json, tokenizer_config.json, special_tokens_map.json. Each file appears only when it is
// whole, config.json last; what is there under other names stays. Block types become the numbers
// that they stand for. gguf: a path. mem NULL: the C library's. Memory: 64 MB and the vocabulary.
// Errors: INK_E_ARG, INK_E_NOT_FOUND, INK_E_IO, INK_E_FORMAT, INK_E_UNSUPPORTED (not a GPT-2),
// INK_E_LIMIT, INK_E_NUMERIC (NaN or infinity), INK_E_NOMEM.
ink_status inki_hf_write(const char *gguf, const char *dir, const inki_mem *mem, ink_error *error);

#endif
