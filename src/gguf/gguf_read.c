// SPDX-License-Identifier: MIT
#include "gguf/gguf.h"
#include "gguf/gguf_sort.h"

#include <string.h>

enum {
    READ_DEFAULT_ALIGN = 32,
    READ_MIN_ALIGN = 8,
    READ_MAX_ALIGN = 65536,
    READ_MIN_KV = 8 + 1 + 4 + 1,             // a key of one letter, its type, a byte
    READ_MIN_TENSOR = 8 + 1 + 4 + 8 + 4 + 8, // a name of one letter, one dimension
    READ_WHERE = 96
};

typedef struct gguf_parse {
    inki_cursor c;
    inki_gguf *g;
    ink_error *error;
    uint64_t n_kv, n_tensors; // as the file says
} gguf_parse;

typedef unsigned long long gguf_ull; // for messages

// A name out of the file for messages: 0-terminated, cut.
static const char *name_of(char out[READ_WHERE], inki_str s) {
    const size_t n = s.bytes < READ_WHERE - 1 ? s.bytes : READ_WHERE - 1;
    if (n > 0) memcpy(out, s.data, n);
    out[n] = 0;
    return out;
}

static ink_status check_count(gguf_parse *p, const char *what, uint64_t n, uint64_t min_bytes,
                              uint64_t limit, uint64_t offset) {
    const size_t left = inki_cursor_left(&p->c);
    if (n > left / min_bytes)
        return inki_fail(p->error, INK_E_FORMAT, what, offset,
                         "the file says there are %llu, but only %llu bytes are left (truncated or "
                         "damaged)",
                         (gguf_ull)n, (gguf_ull)left);
    if (n > limit)
        return inki_fail(p->error, INK_E_LIMIT, what, offset,
                         "there are %llu, at most %llu are read", (gguf_ull)n, (gguf_ull)limit);
    return INK_OK;
}

static ink_status read_header(gguf_parse *p) {
    const uint8_t *magic = inki_cursor_take(&p->c, 4);
    if (magic == NULL || memcmp(magic, "GGUF", 4) != 0)
        return inki_fail(p->error, INK_E_FORMAT, "magic", 0,
                         "no GGUF file: the first four bytes should be \"GGUF\"");
    const uint32_t version = inki_cursor_u32(&p->c);
    if (p->c.failed)
        return inki_fail(p->error, INK_E_FORMAT, "version", 4, "the file ends inside its header");
    if ((version & 0xffff) == 0 && version != 0)
        return inki_fail(p->error, INK_E_UNSUPPORTED, "version", 4,
                         "a big-endian GGUF file, little-endian ones are read");
    if (version != 2 && version != 3)
        return inki_fail(p->error, INK_E_UNSUPPORTED, "version", 4,
                         "GGUF version %u, versions 2 and 3 are read", (unsigned)version);
    p->g->version = version;
    p->n_tensors = inki_cursor_u64(&p->c);
    p->n_kv = inki_cursor_u64(&p->c);
    if (p->c.failed)
        return inki_fail(p->error, INK_E_FORMAT, "header", p->c.failed_at,
                         "the file ends inside its header");
    // Both are checked before either is believed: the two lists share the bytes that are left.
    const ink_status status =
        check_count(p, "tensor count", p->n_tensors, READ_MIN_TENSOR, INKI_GGUF_MAX_TENSORS, 8);
    return status != INK_OK
               ? status
               : check_count(p, "metadata count", p->n_kv, READ_MIN_KV, INKI_GGUF_MAX_KV, 16);
}

// 0: not of a fixed size, or unknown.
static size_t number_bytes(uint32_t type) {
    static const uint8_t sizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    return type < sizeof sizes ? sizes[type] : 0;
}

static ink_status ends_inside(gguf_parse *p, const char *where, const char *what) {
    return inki_fail(p->error, INK_E_FORMAT, where, p->c.failed_at,
                     "%s passes the end of the file at byte %llu (truncated or damaged)", what,
                     (gguf_ull)p->c.bytes);
}

static ink_status check_bools(gguf_parse *p, const inki_gguf_kv *kv, const char *where) {
    for (size_t i = 0; i < kv->bytes; i++)
        if (kv->data[i] > 1)
            return inki_fail(p->error, INK_E_FORMAT, where, kv->offset + i,
                             "a bool is %u, 0 or 1 was expected", (unsigned)kv->data[i]);
    return INK_OK;
}

static ink_status read_array(gguf_parse *p, inki_gguf_kv *kv, const char *where) {
    inki_cursor *c = &p->c;
    kv->item_type = inki_cursor_u32(c);
    kv->n = inki_cursor_u64(c);
    if (c->failed) return ends_inside(p, where, "the head of the array");
    if (kv->item_type == INKI_GGUF_ARRAY)
        return inki_fail(p->error, INK_E_UNSUPPORTED, where, kv->offset,
                         "an array of arrays is not read");
    if (kv->item_type > INKI_GGUF_F64)
        return inki_fail(p->error, INK_E_FORMAT, where, kv->offset,
                         "the array's items have the unknown type %u", (unsigned)kv->item_type);
    const size_t fixed = number_bytes(kv->item_type);
    const size_t left = inki_cursor_left(c), start = c->at;
    if (kv->n > left / (fixed > 0 ? fixed : 8))
        return inki_fail(
            p->error, INK_E_FORMAT, where, kv->offset + 4,
            "an array of %llu items (%s) passes the end of the file, %llu bytes are left",
            (gguf_ull)kv->n, inki_gguf_type_name(kv->item_type), (gguf_ull)left);
    kv->offset = start;
    kv->data = c->data + start;
    if (fixed > 0) {
        kv->bytes = (size_t)kv->n * fixed;
        inki_cursor_take(c, kv->bytes);
        return kv->item_type == INKI_GGUF_BOOL ? check_bools(p, kv, where) : INK_OK;
    }
    for (uint64_t i = 0; i < kv->n && !c->failed; i++) inki_cursor_str(c);
    if (c->failed) return ends_inside(p, where, "a text in the array");
    kv->bytes = c->at - start;
    return INK_OK;
}

static ink_status read_value(gguf_parse *p, inki_gguf_kv *kv, const char *where) {
    inki_cursor *c = &p->c;
    kv->offset = c->at;
    kv->n = 1;
    if (kv->type == INKI_GGUF_ARRAY) return read_array(p, kv, where);
    if (kv->type == INKI_GGUF_STR) {
        const inki_str text = inki_cursor_str(c);
        if (c->failed) return ends_inside(p, where, "the text");
        kv->data = (const uint8_t *)text.data;
        kv->bytes = text.bytes;
        kv->offset += 8;
        return INK_OK;
    }
    kv->bytes = number_bytes(kv->type);
    if (kv->bytes == 0)
        return inki_fail(p->error, INK_E_FORMAT, where, kv->offset - 4,
                         "the value has the unknown type %u", (unsigned)kv->type);
    kv->data = inki_cursor_take(c, kv->bytes);
    if (c->failed) return ends_inside(p, where, "the value");
    return kv->type == INKI_GGUF_BOOL ? check_bools(p, kv, where) : INK_OK;
}

static ink_status read_metadata(gguf_parse *p) {
    inki_gguf *g = p->g;
    if (p->n_kv == 0) return INK_OK;
    g->kv = inki_alloc_zero(&g->mem, (size_t)p->n_kv, sizeof *g->kv);
    if (g->kv == NULL) return inki_fail_nomem(p->error, (size_t)p->n_kv * sizeof *g->kv);
    g->n_kv = (size_t)p->n_kv; // now already, so that closing releases as much as was allocated
    for (size_t i = 0; i < g->n_kv; i++) {
        char where[READ_WHERE];
        inki_gguf_kv *kv = &g->kv[i];
        const size_t at = p->c.at;
        kv->key = inki_cursor_str(&p->c);
        if (p->c.failed)
            return inki_fail(
                p->error, INK_E_FORMAT, "metadata key", at,
                "key %zu of %zu passes the end of the file at byte %llu (truncated or damaged)",
                i + 1, g->n_kv, (gguf_ull)p->c.bytes);
        name_of(where, kv->key);
        if (kv->key.bytes == 0)
            return inki_fail(p->error, INK_E_FORMAT, "metadata key", at, "key %zu of %zu is empty",
                             i + 1, g->n_kv);
        if (kv->key.bytes > INKI_GGUF_MAX_KEY)
            return inki_fail(p->error, INK_E_LIMIT, "metadata key", at,
                             "key %zu has %zu bytes, at most %d are read", i + 1, kv->key.bytes,
                             (int)INKI_GGUF_MAX_KEY);
        if (memchr(kv->key.data, 0, kv->key.bytes) != NULL)
            return inki_fail(p->error, INK_E_FORMAT, "metadata key", at,
                             "key %zu (%s) contains a 0 byte", i + 1, where);
        kv->type = inki_cursor_u32(&p->c);
        if (p->c.failed) return ends_inside(p, where, "the type of the value");
        const ink_status status = read_value(p, kv, where);
        if (status != INK_OK) return status;
    }
    return INK_OK;
}

static ink_status read_name(gguf_parse *p, inki_gguf_tensor *t, size_t i) {
    const size_t at = p->c.at;
    const inki_str name = inki_cursor_str(&p->c);
    if (p->c.failed)
        return inki_fail(
            p->error, INK_E_FORMAT, "tensor name", at,
            "name %zu of %zu passes the end of the file at byte %llu (truncated or damaged)", i + 1,
            p->g->n_tensors, (gguf_ull)p->c.bytes);
    if (name.bytes == 0)
        return inki_fail(p->error, INK_E_FORMAT, "tensor name", at, "name %zu of %zu is empty",
                         i + 1, p->g->n_tensors);
    if (name.bytes > INKI_GGUF_MAX_NAME)
        return inki_fail(p->error, INK_E_LIMIT, "tensor name", at,
                         "name %zu has %zu bytes, at most %d are read", i + 1, name.bytes,
                         (int)INKI_GGUF_MAX_NAME);
    if (memchr(name.data, 0, name.bytes) != NULL)
        return inki_fail(p->error, INK_E_FORMAT, "tensor name", at, "name %zu contains a 0 byte",
                         i + 1);
    memcpy(t->name, name.data, name.bytes);
    return INK_OK;
}

// Fills t->bytes from type and dims.
static ink_status size_tensor(gguf_parse *p, inki_gguf_tensor *t, size_t at) {
    const inki_type_info info = inki_type_of(t->type);
    if (info.name == NULL)
        return inki_fail(p->error, INK_E_UNSUPPORTED, t->name, at,
                         "has the unknown tensor type %u; F32, F16, BF16, Q4_0 to Q8_0 and Q2_K to "
                         "Q6_K are read",
                         (unsigned)t->type);
    if (t->dims[0] % info.block_elems != 0)
        return inki_fail(p->error, INK_E_FORMAT, t->name, at,
                         "rows of %llu values, %s needs multiples of %u", (gguf_ull)t->dims[0],
                         info.name, (unsigned)info.block_elems);
    bool fits = inki_type_row_bytes(t->type, t->dims[0], &t->bytes);
    for (uint32_t d = 1; d < t->n_dims && fits; d++) {
        fits = t->bytes <= UINT64_MAX / t->dims[d];
        if (fits) t->bytes *= t->dims[d];
    }
    if (!fits)
        return inki_fail(p->error, INK_E_FORMAT, t->name, at,
                         "the product of its sizes overflows 64 bits");
    return INK_OK;
}

static ink_status read_tensor(gguf_parse *p, inki_gguf_tensor *t, size_t i) {
    inki_cursor *c = &p->c;
    ink_status status = read_name(p, t, i);
    if (status != INK_OK) return status;
    const size_t at = c->at;
    t->n_dims = inki_cursor_u32(c);
    if (!c->failed && (t->n_dims < 1 || t->n_dims > INKI_GGUF_MAX_DIMS))
        return inki_fail(p->error, INK_E_FORMAT, t->name, at, "n_dims is %u, 1 to 4 were expected",
                         (unsigned)t->n_dims);
    for (uint32_t d = 0; d < INKI_GGUF_MAX_DIMS; d++) {
        t->dims[d] = d < t->n_dims ? inki_cursor_u64(c) : 1;
        if (!c->failed && t->dims[d] == 0)
            return inki_fail(p->error, INK_E_FORMAT, t->name, c->at - 8, "dimension %u is 0",
                             (unsigned)d);
    }
    t->type = inki_cursor_u32(c);
    t->offset = inki_cursor_u64(c); // still from the beginning of the data
    if (c->failed) return ends_inside(p, t->name, "the description of the tensor");
    status = size_tensor(p, t, at);
    if (status != INK_OK) return status;
    if (t->offset % p->g->alignment != 0)
        return inki_fail(p->error, INK_E_FORMAT, t->name, c->at - 8,
                         "offset %llu is misaligned, a multiple of %u was expected",
                         (gguf_ull)t->offset, (unsigned)p->g->alignment);
    return INK_OK;
}

// The list must have been read to its end before it is known where the data begin.
static ink_status place_tensors(gguf_parse *p) {
    inki_gguf *g = p->g;
    const uint64_t over = p->c.at % g->alignment;
    const uint64_t begin = p->c.at + (over > 0 ? g->alignment - over : 0);
    for (size_t i = 0; i < g->n_tensors; i++) {
        inki_gguf_tensor *t = &g->tensors[i];
        if (begin > g->bytes || t->offset > g->bytes - begin ||
            t->bytes > g->bytes - begin - t->offset)
            return inki_fail(
                p->error, INK_E_FORMAT, t->name, t->offset,
                "its %llu bytes at offset %llu of the data pass the end of the file at byte %llu "
                "(truncated or damaged)",
                (gguf_ull)t->bytes, (gguf_ull)t->offset, (gguf_ull)g->bytes);
        t->offset += begin;
        t->data = g->data + t->offset;
    }
    return INK_OK;
}

static ink_status read_tensors(gguf_parse *p) {
    inki_gguf *g = p->g;
    if (p->n_tensors == 0) return INK_OK;
    const ink_status count =
        check_count(p, "tensor count", p->n_tensors, READ_MIN_TENSOR, INKI_GGUF_MAX_TENSORS, 8);
    if (count != INK_OK) return count;
    g->tensors = inki_alloc_zero(&g->mem, (size_t)p->n_tensors, sizeof *g->tensors);
    if (g->tensors == NULL)
        return inki_fail_nomem(p->error, (size_t)p->n_tensors * sizeof *g->tensors);
    g->n_tensors = (size_t)p->n_tensors;
    for (size_t i = 0; i < g->n_tensors; i++) {
        const ink_status status = read_tensor(p, &g->tensors[i], i);
        if (status != INK_OK) return status;
    }
    return place_tensors(p);
}

static ink_status read_alignment(gguf_parse *p) {
    uint32_t alignment = READ_DEFAULT_ALIGN;
    const ink_status status =
        inki_gguf_get_u32(p->g, "general.alignment", false, &alignment, p->error);
    if (status != INK_OK) return status;
    if (alignment < READ_MIN_ALIGN || alignment > READ_MAX_ALIGN ||
        (alignment & (alignment - 1)) != 0)
        return inki_fail(p->error, INK_E_FORMAT, "general.alignment",
                         inki_gguf_find(p->g, "general.alignment")->offset,
                         "is %u, a power of two from 8 to 65536 was expected", (unsigned)alignment);
    p->g->alignment = alignment;
    return INK_OK;
}

static bool kv_less(const void *items, uint32_t a, uint32_t b) {
    const inki_gguf_kv *kv = items;
    return inki_gguf_compare(kv[a].key, kv[b].key) < 0;
}

static bool tensor_less(const void *items, uint32_t a, uint32_t b) {
    const inki_gguf_tensor *t = items;
    return strcmp(t[a].name, t[b].name) < 0;
}

static bool offset_less(const void *items, uint32_t a, uint32_t b) {
    const inki_gguf_tensor *t = items;
    return t[a].offset < t[b].offset;
}

static ink_status sorted(gguf_parse *p, uint32_t **order, size_t n, inki_gguf_less_fn less,
                         const void *items) {
    if (n == 0) return INK_OK;
    *order = inki_alloc(&p->g->mem, n, sizeof **order);
    if (*order == NULL) return inki_fail_nomem(p->error, n * sizeof **order);
    inki_gguf_sort(*order, n, less, items);
    return INK_OK;
}

static ink_status index_metadata(gguf_parse *p) {
    inki_gguf *g = p->g;
    const ink_status status = sorted(p, &g->kv_order, g->n_kv, kv_less, g->kv);
    for (size_t i = 1; i < g->n_kv && status == INK_OK; i++) {
        const inki_gguf_kv *a = &g->kv[g->kv_order[i - 1]], *b = &g->kv[g->kv_order[i]];
        char where[READ_WHERE];
        if (inki_gguf_compare(a->key, b->key) == 0)
            return inki_fail(p->error, INK_E_FORMAT, name_of(where, a->key),
                             a->offset > b->offset ? a->offset : b->offset,
                             "this key is there twice");
    }
    return status;
}

static ink_status index_tensors(gguf_parse *p) {
    inki_gguf *g = p->g;
    const ink_status status = sorted(p, &g->tensor_order, g->n_tensors, tensor_less, g->tensors);
    for (size_t i = 1; i < g->n_tensors && status == INK_OK; i++) {
        const inki_gguf_tensor *a = &g->tensors[g->tensor_order[i - 1]],
                               *b = &g->tensors[g->tensor_order[i]];
        if (strcmp(a->name, b->name) == 0)
            return inki_fail(p->error, INK_E_FORMAT, a->name,
                             a->offset > b->offset ? a->offset : b->offset,
                             "this tensor is there twice");
    }
    return status;
}

static ink_status check_overlaps(gguf_parse *p) {
    inki_gguf *g = p->g;
    uint32_t *order = NULL;
    ink_status status = sorted(p, &order, g->n_tensors, offset_less, g->tensors);
    for (size_t i = 1; i < g->n_tensors && status == INK_OK; i++) {
        const inki_gguf_tensor *a = &g->tensors[order[i - 1]], *b = &g->tensors[order[i]];
        if (a->bytes > b->offset - a->offset)
            status = inki_fail(p->error, INK_E_FORMAT, b->name, b->offset, "overlaps the tensor %s",
                               a->name);
    }
    inki_release(&g->mem, order, g->n_tensors, sizeof *order);
    return status;
}

ink_status inki_gguf_open(inki_gguf *out, const void *data, size_t bytes, const inki_mem *mem,
                          ink_error *error) {
    inki_gguf g = {.data = data, .bytes = bytes, .mem = *mem, .alignment = READ_DEFAULT_ALIGN};
    gguf_parse p = {.c = inki_cursor_over(data, bytes), .g = &g, .error = error};
    static ink_status (*const steps[])(gguf_parse *) = {
        read_header,  read_metadata, index_metadata, read_alignment,
        read_tensors, index_tensors, check_overlaps};
    ink_status status = INK_OK;
    for (size_t i = 0; i < sizeof steps / sizeof steps[0] && status == INK_OK; i++)
        status = steps[i](&p);
    if (status == INK_OK)
        *out = g;
    else
        inki_gguf_close(&g);
    return status;
}

void inki_gguf_close(inki_gguf *g) {
    inki_release(&g->mem, g->kv_order, g->n_kv, sizeof *g->kv_order);
    inki_release(&g->mem, g->tensor_order, g->n_tensors, sizeof *g->tensor_order);
    inki_release(&g->mem, g->kv, g->n_kv, sizeof *g->kv);
    inki_release(&g->mem, g->tensors, g->n_tensors, sizeof *g->tensors);
    *g = (inki_gguf){0};
}
