// SPDX-License-Identifier: MIT
// Where a model's bytes come from: a path, part of a file, memory, or the program itself.
#include "engine/builtin_model.h"
#include "engine/engine.h"

#include <string.h>

static ink_status open_builtin(inki_file *out, const char **name, const ink_source *s,
                               ink_error *error) {
    size_t bytes = 0;
    *name = s->name != NULL ? s->name : "builtin:story";
    const unsigned char *data = inki_builtin_find(s->name, &bytes);
    if (data == NULL && inki_builtin_find(NULL, &bytes) == NULL)
        return inki_fail(error, INK_E_NOT_FOUND, *name, 0,
                         "this build has no built-in model; the path of a GGUF file was expected");
    if (data == NULL)
        return inki_fail(error, INK_E_NOT_FOUND, (*name)[0] != 0 ? *name : "builtin:", 0,
                         "no built-in model has this name, \"story\" was expected");
    *out = (inki_file){.data = data, .bytes = bytes};
    return INK_OK;
}

// Weights are read in place as 4-byte numbers, so bytes that lie askew must move; COPY asks for the
// same.
static ink_status open_memory(inki_file *out, const char *name, const ink_source *s,
                              const inki_mem *mem, const inki_log *log, ink_error *error) {
    if (s->data == NULL || s->bytes == 0)
        return inki_fail(error, INK_E_ARG, name, 0, "data is NULL or bytes is 0");
    if (s->bytes > SIZE_MAX / 2)
        return inki_fail(error, INK_E_LIMIT, name, 0, "the model does not fit into memory");
    const bool askew = (uintptr_t)s->data % 4 != 0;
    *out = (inki_file){.data = s->data, .bytes = (size_t)s->bytes};
    if (!askew && !(s->flags & INK_SOURCE_COPY)) return INK_OK;
    if (askew) inki_logf(log, INK_LOG_INFO, "%s: not aligned to 4 bytes, copied", name);
    out->mem = *mem;
    out->heap = inki_alloc(mem, out->bytes, 1);
    if (out->heap == NULL) return inki_fail_nomem(error, out->bytes);
    memcpy(out->heap, s->data, out->bytes);
    out->data = out->heap;
    return INK_OK;
}

ink_status inki_source_open(inki_file *out, const char **name, const ink_source *source,
                            const inki_mem *mem, const inki_log *log, ink_error *error) {
    ink_source s = {.fd = -1};
    memset(out, 0, sizeof *out);
    ink_status status = inki_options_read(&s, sizeof s, source, "ink_source", error);
    if (status == INK_OK) status = inki_flags_check(s.flags, INK_SOURCE_COPY, "ink_source", error);
    if (status != INK_OK) return status;
    const bool copy = (s.flags & INK_SOURCE_COPY) != 0;
    if (s.name != NULL) *name = s.name;
    switch (s.kind) {
    case INK_SOURCE_BUILTIN: return open_builtin(out, name, &s, error);
    case INK_SOURCE_PATH:
        if (s.name == NULL)
            return inki_fail(error, INK_E_ARG, "ink_source", 0, "a path source needs a name");
        if (s.name[0] == 0)
            return inki_fail(error, INK_E_NOT_FOUND, NULL, 0,
                             "the path of the model is empty, that of a GGUF file was expected");
        return inki_os_open_path(out, s.name, copy, mem, error);
    case INK_SOURCE_FD: return inki_os_open_fd(out, s.fd, s.offset, s.bytes, copy, mem, error);
    case INK_SOURCE_MEMORY: return open_memory(out, *name, &s, mem, log, error);
    default:
        return inki_fail(error, INK_E_ARG, "ink_source", 0, "unknown kind %u", (unsigned)s.kind);
    }
}
