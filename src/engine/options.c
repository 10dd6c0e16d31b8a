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

void inki_options_fill(void *out, size_t size, const void *defaults, size_t known_size) {
    if (out == NULL || size < sizeof(uint32_t) || size > LARGEST_STRUCT) return;
    memset(out, 0, size);
    memcpy(out, defaults, size < known_size ? size : known_size);
    memcpy(out, &(uint32_t){(uint32_t)size}, sizeof(uint32_t));
}

void ink_runtime_options_init(ink_runtime_options *options, size_t size) {
    const ink_runtime_options defaults = {.cpu_mask = ~0u};
    inki_options_fill(options, size, &defaults, sizeof defaults);
}

void ink_model_options_init(ink_model_options *options, size_t size) {
    const ink_model_options defaults = {0};
    inki_options_fill(options, size, &defaults, sizeof defaults);
}

void ink_session_options_init(ink_session_options *options, size_t size) {
    const ink_session_options defaults = {0};
    inki_options_fill(options, size, &defaults, sizeof defaults);
}

void ink_sampler_options_init(ink_sampler_options *options, size_t size) {
    ink_sampler_options defaults;
    inki_sampler_defaults(&defaults);
    inki_options_fill(options, size, &defaults, sizeof defaults);
}

void ink_generate_options_init(ink_generate_options *options, size_t size) {
    const ink_generate_options defaults = {.n_tokens = 128};
    inki_options_fill(options, size, &defaults, sizeof defaults);
}

void ink_options_init(ink_options *options, size_t size) {
    const ink_options defaults = {0};
    inki_options_fill(options, size, &defaults, sizeof defaults);
}

ink_status inki_stops_check(const char *const *stop, size_t n, const char *what, ink_error *error) {
    if (n > 0 && stop == NULL)
        return inki_fail(error, INK_E_ARG, what, 0, "is NULL although n_%s is not 0", what);
    for (size_t i = 0; i < n; i++)
        if (stop[i] == NULL || stop[i][0] == 0)
            return inki_fail(error, INK_E_ARG, what, 0, "%s string %zu is empty", what, i);
    return INK_OK;
}

ink_status inki_stops_copy(inki_stops *out, const char *const *stop, size_t n, const char *what,
                           const inki_mem *mem, ink_error *error) {
    *out = (inki_stops){0};
    const ink_status status = inki_stops_check(stop, n, what, error);
    if (status != INK_OK || n == 0) return status;
    size_t bytes = 0;
    bool fits = inki_mul(n, sizeof *stop, &bytes);
    for (size_t i = 0; i < n && fits; i++) {
        const size_t length = strlen(stop[i]) + 1;
        fits = length <= SIZE_MAX - bytes; // one string may stand there many times
        bytes += length;
    }
    const char **list = fits ? inki_alloc(mem, bytes, 1) : NULL;
    if (list == NULL) return inki_fail_nomem(error, fits ? bytes : SIZE_MAX);
    char *at = (char *)(list + n);
    for (size_t i = 0; i < n; i++) {
        const size_t length = strlen(stop[i]) + 1;
        list[i] = memcpy(at, stop[i], length);
        at += length;
    }
    *out = (inki_stops){.list = list, .n = n, .bytes = bytes};
    return INK_OK;
}

void inki_stops_free(inki_stops *stops, const inki_mem *mem) {
    inki_release(mem, stops->list, stops->bytes, 1);
    *stops = (inki_stops){0};
}
