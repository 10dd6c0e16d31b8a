// SPDX-License-Identifier: MIT
// The merges of a byte-level BPE, from merges.txt or tokenizer.json, into inki_hf_tokenizer.merges.
#ifndef INKI_CONVERT_HF_MERGES_H
#define INKI_CONVERT_HF_MERGES_H

#include "convert/hf_tokenizer.h"

#define INKI_MERGES_FILE "merges.txt"

// A line is a merge; "#version" at the top and empty lines are passed over.
// Errors: INK_E_NOT_FOUND, INK_E_IO, INK_E_LIMIT, INK_E_NOMEM.
ink_status inki_hf_merges_from_text(inki_hf_tokenizer *t, const char *dir, ink_error *error);
// An array of "a b", or, as newer files have it, of ["a", "b"]. Errors: INK_E_FORMAT, INK_E_NOMEM.
ink_status inki_hf_merges_from_json(inki_hf_tokenizer *t, const json_t *merges, ink_error *error);

// Whether text is what a merge makes, or the letter of a byte: something that encoding can give.
bool inki_hf_merges_make(const inki_hf_tokenizer *t, inki_str text);

// Both parts of each merge and what they make must be ordinary tokens; none comes twice; each
// ordinary token but the bytes' letters, and marks like "<pad>", must be made by one.
// Errors: INK_E_FORMAT (names the merge), INK_E_NOMEM.
ink_status inki_hf_merges_check(const inki_hf_tokenizer *t, const json_t *vocab, const char *file,
                                ink_error *error);

#endif
