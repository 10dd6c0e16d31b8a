// SPDX-License-Identifier: MIT
// Models that are linked into the program, beside the one that the library holds.
#ifndef CLI_BUILTIN_MODELS_H
#define CLI_BUILTIN_MODELS_H

#include <stdbool.h>
#include <stddef.h>

typedef struct cli_builtin {
    const char *name; // "poem-zh"
    const void *data; // a GGUF file, there as long as the program is
    size_t bytes;
} cli_builtin;

// The program's model with this name; false: it has none.
bool cli_builtin_find(const char *name, cli_builtin *out);
// The i-th of them; false: there are no more.
bool cli_builtin_at(size_t i, cli_builtin *out);

#endif
