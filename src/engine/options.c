// SPDX-License-Identifier: MIT
#include "engine/engine.h"

#include <string.h>

enum { LARGEST_STRUCT = 1 << 16 };

ink_status inki_options_read(void *known, size_t known_size, const void *source, const char *what,
                             ink_error *error) {
    if (source == NULL) return INK_OK;
    uint32_t size;
    memcpy(&size, source, sizeof size);
    if (size < sizeof size || size > LARGEST_STRUCT)
        return inki_fail(error, INK_E_ARG, what, 0,
                         "its size field is %u: fill the struct with its init function",
                         (unsigned)size);
    // Every version of a struct ends where a pointer could begin: another size cuts a field in two,
    // and half a pointer is not to be followed.
    if (size % sizeof(void *) != 0)
        return inki_fail(error, INK_E_ARG, what, 0,
                         "its size field is %u, which ends inside of a field", (unsigned)size);
    for (size_t i = known_size; i < size; i++)
        if (((const uint8_t *)source)[i] != 0)
            return inki_fail(error, INK_E_UNSUPPORTED, what, 0,
                             "a field at byte %zu is set that this version does not know", i);
    memcpy(known, source, size < known_size ? size : known_size);
    memcpy(known, &(uint32_t){(uint32_t)known_size}, sizeof size);
    return INK_OK;
}

ink_status inki_flags_check(uint32_t flags, uint32_t known, const char *what, ink_error *error) {
    if ((flags & ~known) == 0) return INK_OK;
    return inki_fail(error, INK_E_UNSUPPORTED, what, 0,
                     "the flags are %u, of which this version knows only %u", (unsigned)flags,
                     (unsigned)known);
}

void inki_report_write(void *out, const void *report, size_t known_size) {
    uint32_t size;
    memcpy(&size, out, sizeof size);
    if (size == 0 || size > known_size) size = (uint32_t)known_size;
    if (size < sizeof size) return;
    memcpy(out, report, size);
    memcpy(out, &size, sizeof size);
}

// Writes as much of the defaults as the caller's version of the struct has room for.
static void fill(void *out, size_t size, const void *defaults, size_t known_size) {
    if (out == NULL || size < sizeof(uint32_t) || size > LARGEST_STRUCT) return;
    memset(out, 0, size);
    memcpy(out, defaults, size < known_size ? size : known_size);
    memcpy(out, &(uint32_t){(uint32_t)size}, sizeof(uint32_t));
}

void ink_runtime_options_init(ink_runtime_options *options, size_t size) {
    const ink_runtime_options defaults = {.cpu_mask = ~0u};
    fill(options, size, &defaults, sizeof defaults);
}

void ink_model_options_init(ink_model_options *options, size_t size) {
    const ink_model_options defaults = {0};
    fill(options, size, &defaults, sizeof defaults);
}

void ink_session_options_init(ink_session_options *options, size_t size) {
    const ink_session_options defaults = {0};
    fill(options, size, &defaults, sizeof defaults);
}

void ink_sampler_options_init(ink_sampler_options *options, size_t size) {
    ink_sampler_options defaults;
    inki_sampler_defaults(&defaults);
    fill(options, size, &defaults, sizeof defaults);
}

void ink_generate_options_init(ink_generate_options *options, size_t size) {
    const ink_generate_options defaults = {.n_tokens = 128};
    fill(options, size, &defaults, sizeof defaults);
}

void ink_options_init(ink_options *options, size_t size) {
    const ink_options defaults = {0};
    fill(options, size, &defaults, sizeof defaults);
}
