// SPDX-License-Identifier: MIT
#include "engine/engine.h"
#include "filter/filter.h"

ink_status ink_filter_new(ink_filter **out, ink_runtime *runtime, const char *const *phrases,
                          size_t n, ink_error *error) {
    const inki_mem mem = runtime != NULL ? runtime->mem : inki_mem_from(NULL);
    return inki_filter_new(out, &mem, phrases, n, error);
}
