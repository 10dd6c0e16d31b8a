// SPDX-License-Identifier: MIT
// A JSON Schema becomes rules in GBNF whose texts are valid JSON documents. See docs/GRAMMAR.md for
// the keywords. Source: https://json-schema.org/draft/2020-12
#ifndef INKI_GRAMMAR_SCHEMA_H
#define INKI_GRAMMAR_SCHEMA_H

#include "base/error.h"
#include "base/mem.h"

// *out [*n], allocated from mem: release it with inki_release(mem, *out, *n + 1, 1); a 0 byte
// stands behind it. Errors: INK_E_FORMAT (no JSON; a keyword's value of the wrong type; nothing
// satisfies it; message has line and column), INK_E_UNSUPPORTED (a keyword; message names it and
// its place, "/properties/a/not"), INK_E_LIMIT, INK_E_NOMEM, INK_E_UTF8.
ink_status inki_schema_to_gbnf(char **out, size_t *n, const char *schema, size_t bytes,
                               const inki_mem *mem, ink_error *error);

#endif
