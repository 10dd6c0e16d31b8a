// SPDX-License-Identifier: MIT
// The model that is linked into the library.
#ifndef INKI_ENGINE_BUILTIN_MODEL_H
#define INKI_ENGINE_BUILTIN_MODEL_H

#include <stddef.h>

// The GGUF file called `name` (NULL: "story"), its length in *bytes; read-only, aligned to 64,
// there as long as the library is. NULL, *bytes untouched, when this build holds no such model.
const unsigned char *inki_builtin_find(const char *name, size_t *bytes);

#endif
