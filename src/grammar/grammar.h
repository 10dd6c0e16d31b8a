// SPDX-License-Identifier: MIT
// Rules in GBNF, read and checked. Immutable; any thread.
// Source: https://github.com/ggml-org/llama.cpp/blob/master/grammars/README.md
#ifndef INKI_GRAMMAR_H
#define INKI_GRAMMAR_H

#include "base/error.h"
#include "base/mem.h"

typedef struct inki_grammar inki_grammar;

enum { INKI_GRAMMAR_MAX_BYTES = 1 << 20, INKI_GRAMMAR_MAX_REPEAT = 4096 };

// gbnf [bytes], from the rule "root" on. Errors: INK_E_FORMAT (syntax, a rule that is missing or
// there twice, left recursion, a rule that can never end; message has line and column, offset the
// byte), INK_E_UTF8, INK_E_LIMIT (over 1 MiB, over 4096 repetitions, too many rules), INK_E_NOMEM.
ink_status inki_grammar_parse(inki_grammar **out, const char *gbnf, size_t bytes,
                              const inki_mem *mem, ink_error *error);
void inki_grammar_free(inki_grammar *grammar); // NULL is allowed
// The text it was read from.
const char *inki_grammar_source(const inki_grammar *grammar, size_t *bytes);

#endif
