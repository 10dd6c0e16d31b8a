// SPDX-License-Identifier: MIT
#include "convert/safetensors.h"

#include "convert/json_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct dtype_info {
    const char *name;
    uint32_t elem_bytes;
    inki_safetensors_type type;
} dtype_info;

static const dtype_info dtypes[] = {
    {"F32", 4, INKI_SAFETENSORS_F32},      {"F16", 2, INKI_SAFETENSORS_F16},
    {"BF16", 2, INKI_SAFETENSORS_BF16},    {"F64", 8, INKI_SAFETENSORS_OTHER},
    {"I64", 8, INKI_SAFETENSORS_OTHER},    {"U64", 8, INKI_SAFETENSORS_OTHER},
    {"I32", 4, INKI_SAFETENSORS_OTHER},    {"U32", 4, INKI_SAFETENSORS_OTHER},
    {"I16", 2, INKI_SAFETENSORS_OTHER},    {"U16", 2, INKI_SAFETENSORS_OTHER},
    {"I8", 1, INKI_SAFETENSORS_OTHER},     {"U8", 1, INKI_SAFETENSORS_OTHER},
    {"BOOL", 1, INKI_SAFETENSORS_OTHER},   {"F8_E4M3", 1, INKI_SAFETENSORS_OTHER},
    {"F8_E5M2", 1, INKI_SAFETENSORS_OTHER}};

static ink_status entry_fail(ink_error *error, ink_status status, const char *where,
                             const char *tensor, const char *what) {
    return inki_fail(error, status, where, 0, "tensor %.80s: %s", tensor, what);
}

static ink_status read_dtype(inki_safetensor *t, const json_t *entry, const char *where,
                             ink_error *error) {
    const json_t *value = json_object_get(entry, "dtype");
    if (!json_is_string(value))
        return entry_fail(error, INK_E_FORMAT, where, t->name, "dtype is missing or no string");
    for (size_t i = 0; i < sizeof dtypes / sizeof dtypes[0]; i++) {
        if (strcmp(json_string_value(value), dtypes[i].name) != 0) continue;
        t->dtype = dtypes[i].name;
        t->type = dtypes[i].type;
        t->elem_bytes = dtypes[i].elem_bytes;
        return INK_OK;
    }
    return inki_fail(error, INK_E_UNSUPPORTED, where, 0, "tensor %.80s: dtype %.20s is unknown",
                     t->name, json_string_value(value));
}

static ink_status read_shape(inki_safetensor *t, const json_t *entry, const char *where,
                             ink_error *error) {
    const json_t *shape = json_object_get(entry, "shape");
    if (!json_is_array(shape) || json_array_size(shape) > INKI_SAFETENSORS_MAX_DIMS)
        return entry_fail(error, INK_E_FORMAT, where, t->name,
                          "shape was expected to be an array of at most 8 sizes");
    t->n_dims = (uint32_t)json_array_size(shape);
    t->n = 1;
    for (uint32_t i = 0; i < t->n_dims; i++) {
        const json_t *size = json_array_get(shape, i);
        if (!json_is_integer(size) || json_integer_value(size) < 0)
            return entry_fail(error, INK_E_FORMAT, where, t->name,
                              "a size in its shape is no integer of 0 or more");
        t->dims[i] = (uint64_t)json_integer_value(size);
        if (t->dims[i] != 0 && t->n > (uint64_t)INT64_MAX / 8 / t->dims[i])
            return entry_fail(error, INK_E_FORMAT, where, t->name,
                              "its shape is larger than any file");
        t->n *= t->dims[i];
    }
    return INK_OK;
}

// Offsets count from the end of the header here; inki_safetensors_open adds where that is.
static ink_status read_place(inki_safetensor *t, const json_t *entry, uint64_t data_bytes,
                             const char *where, ink_error *error) {
    const json_t *place = json_object_get(entry, "data_offsets");
    const json_t *first = json_array_get(place, 0), *last = json_array_get(place, 1);
    if (json_array_size(place) != 2 || !json_is_integer(first) || !json_is_integer(last) ||
        json_integer_value(first) < 0)
        return entry_fail(error, INK_E_FORMAT, where, t->name,
                          "data_offsets were expected to be [begin, end]");
    const json_int_t begin = json_integer_value(first), end = json_integer_value(last);
    if (end < begin || (uint64_t)end > data_bytes)
        return inki_fail(error, INK_E_FORMAT, where, 0,
                         "tensor %.80s: data_offsets [%lld, %lld] lie outside the file, which has "
                         "%llu bytes of data",
                         t->name, (long long)begin, (long long)end, (unsigned long long)data_bytes);
    if ((uint64_t)(end - begin) != t->n * t->elem_bytes)
        return inki_fail(error, INK_E_FORMAT, where, 0,
                         "tensor %.80s: data_offsets span %lld bytes, its shape takes %llu",
                         t->name, (long long)(end - begin),
                         (unsigned long long)(t->n * t->elem_bytes));
    t->offset = (uint64_t)begin;
    return INK_OK;
}

static int by_place(const void *a, const void *b) {
    const inki_safetensor *x = a, *y = b;
    if (x->offset != y->offset) return x->offset < y->offset ? -1 : 1;
    // Empty tensors come first at their place; names make the order complete.
    if ((x->n == 0) != (y->n == 0)) return x->n == 0 ? -1 : 1;
    return strcmp(x->name, y->name);
}

static ink_status check_cover(const inki_safetensors *s, uint64_t data_bytes, const char *where,
                              ink_error *error) {
    uint64_t at = 0;
    for (size_t i = 0; i < s->n; i++) {
        const inki_safetensor *t = &s->tensors[i];
        if (t->offset != at)
            return inki_fail(error, INK_E_FORMAT, where, t->offset,
                             "tensor %.80s: begins at %llu of the data, %llu was expected (%s)",
                             t->name, (unsigned long long)t->offset, (unsigned long long)at,
                             t->offset < at ? "it overlaps another" : "a hole");
        at += t->n * t->elem_bytes;
    }
    if (at != data_bytes)
        return inki_fail(error, INK_E_FORMAT, where, at,
                         "the tensors take %llu bytes, the file has %llu after its header",
                         (unsigned long long)at, (unsigned long long)data_bytes);
    return INK_OK;
}

static ink_status read_entries(inki_safetensors *s, uint64_t data_bytes, const char *where,
                               ink_error *error) {
    const char *name;
    json_t *entry;
    json_object_foreach(s->header, name, entry) {
        if (strcmp(name, "__metadata__") == 0) continue;
        inki_safetensor *t = &s->tensors[s->n];
        t->name = name;
        if (!json_is_object(entry))
            return entry_fail(error, INK_E_FORMAT, where, name,
                              "an object with dtype, shape and data_offsets was expected");
        ink_status status = read_dtype(t, entry, where, error);
        if (status == INK_OK) status = read_shape(t, entry, where, error);
        if (status == INK_OK) status = read_place(t, entry, data_bytes, where, error);
        if (status != INK_OK) return status;
        s->n++;
    }
    if (s->n > 1) qsort(s->tensors, s->n, sizeof s->tensors[0], by_place);
    return check_cover(s, data_bytes, where, error);
}

ink_status inki_safetensors_parse(inki_safetensors *out, const char *text, size_t bytes,
                                  uint64_t data_bytes, const char *where, const inki_mem *mem,
                                  ink_error *error) {
    inki_safetensors made = {.mem = *mem};
    ink_status status = inki_json_load_text(&made.header, text, bytes, where, error);
    if (status != INK_OK) return status;
    const size_t room = json_object_size(made.header);
    if (room > 0) {
        made.tensors = inki_alloc_zero(mem, room, sizeof made.tensors[0]);
        if (made.tensors == NULL) status = inki_fail_nomem(error, room * sizeof made.tensors[0]);
    }
    if (status == INK_OK) status = read_entries(&made, data_bytes, where, error);
    if (status != INK_OK) {
        inki_safetensors_close(&made);
        return status;
    }
    *out = made;
    return INK_OK;
}

static ink_status read_header(inki_safetensors *out, const inki_in_file *file, const inki_mem *mem,
                              ink_error *error) {
    uint8_t length[8];
    uint64_t n = 0;
    if (file->bytes < 8)
        return inki_fail(error, INK_E_FORMAT, file->name, 0,
                         "has %llu bytes, a safetensors file begins with 8 bytes of header length",
                         (unsigned long long)file->bytes);
    ink_status status = inki_in_read(file, 0, length, 8, error);
    if (status != INK_OK) return status;
    for (int i = 0; i < 8; i++) n |= (uint64_t)length[i] << (8 * i);
    if (n > file->bytes - 8)
        return inki_fail(
            error, INK_E_FORMAT, file->name, 0,
            "header length %llu passes the end of the file, which has %llu bytes (cut short?)",
            (unsigned long long)n, (unsigned long long)file->bytes);
    if (n > INKI_SAFETENSORS_MAX_HEADER)
        return inki_fail(error, INK_E_LIMIT, file->name, 0,
                         "header length %llu is over the format's 100,000,000",
                         (unsigned long long)n);
    if (n < 2)
        return inki_fail(error, INK_E_FORMAT, file->name, 0,
                         "header length %llu, at least 2 was expected", (unsigned long long)n);
    char *text = inki_alloc(mem, (size_t)n, 1);
    if (text == NULL) return inki_fail_nomem(error, (size_t)n);
    status = inki_in_read(file, 8, text, (size_t)n, error);
    if (status == INK_OK)
        status = inki_safetensors_parse(out, text, (size_t)n, file->bytes - 8 - n, file->name, mem,
                                        error);
    inki_release(mem, text, (size_t)n, 1);
    if (status != INK_OK) return status;
    for (size_t i = 0; i < out->n; i++) out->tensors[i].offset += 8 + n;
    return INK_OK;
}

ink_status inki_safetensors_open(inki_safetensors *out, const char *dir, const char *name,
                                 const inki_mem *mem, ink_error *error) {
    inki_in_file file = {0};
    ink_status status = inki_in_open(&file, dir, name, error);
    if (status != INK_OK) return status;
    inki_safetensors made = {0};
    status = read_header(&made, &file, mem, error);
    if (status != INK_OK) {
        inki_in_close(&file);
        return status;
    }
    made.file = file;
    *out = made;
    return INK_OK;
}

void inki_safetensors_close(inki_safetensors *s) {
    inki_in_close(&s->file);
    inki_release(&s->mem, s->tensors, json_object_size(s->header), sizeof *s->tensors);
    json_decref(s->header);
    *s = (inki_safetensors){0};
}
