// SPDX-License-Identifier: MIT
#include "base/half.h"
#include "gguf/gguf.h"
#include "gguf/gguf_sort.h"

#include <string.h>

enum { WRITE_ALIGN = 32, WRITE_VERSION = 3 };

// Bytes that grow; what is added after a failure is dropped.
typedef struct byte_buffer {
    uint8_t *data;
    size_t used, cap;
} byte_buffer;

typedef struct written_key {
    size_t at, bytes; // in the metadata: a pointer would move when they grow
} written_key;

typedef struct written_tensor {
    char name[INKI_GGUF_MAX_NAME + 1];
    uint64_t dims[INKI_GGUF_MAX_DIMS];
    uint64_t bytes, offset;
    uint32_t n_dims, type;
} written_tensor;

struct inki_gguf_writer {
    inki_mem mem;
    inki_out out;
    byte_buffer metadata;
    written_key *keys;       // [cap_keys]
    written_tensor *tensors; // [cap_tensors]
    size_t n_keys, cap_keys, n_tensors, cap_tensors;
    uint64_t data_bytes; // of all tensors so far, padded
    size_t current;      // tensor whose bytes come next
    uint64_t filled;     // bytes of it that came
    bool begun;
    ink_error failure; // status INK_OK: none
};

static bool writable(const inki_gguf_writer *w) { return w->failure.status == INK_OK; }

// Room for one more item in a table of *cap items; NULL sticks as a failure.
static void *grow_table(inki_gguf_writer *w, void *table, size_t n, size_t *cap,
                        size_t elem_bytes) {
    if (n < *cap) return table;
    const size_t larger = *cap < 16 ? 16 : *cap * 2;
    void *fresh = inki_alloc(&w->mem, larger, elem_bytes);
    if (fresh == NULL) {
        inki_fail_nomem(&w->failure, larger * elem_bytes);
        return NULL;
    }
    if (n > 0) memcpy(fresh, table, n * elem_bytes);
    inki_release(&w->mem, table, *cap, elem_bytes);
    *cap = larger;
    return fresh;
}

// Where n more bytes go, or NULL without memory.
static uint8_t *extend(inki_gguf_writer *w, byte_buffer *b, size_t n) {
    if (!writable(w)) return NULL;
    if (n > SIZE_MAX / 4 - b->used) {
        inki_fail_nomem(&w->failure, n);
        return NULL;
    }
    if (n > b->cap - b->used) {
        size_t larger = b->cap < 1024 ? 1024 : b->cap;
        while (larger - b->used < n) larger *= 2;
        uint8_t *fresh = inki_alloc(&w->mem, larger, 1);
        if (fresh == NULL) {
            inki_fail_nomem(&w->failure, larger);
            return NULL;
        }
        if (b->used > 0) memcpy(fresh, b->data, b->used);
        inki_release(&w->mem, b->data, b->cap, 1);
        b->data = fresh;
        b->cap = larger;
    }
    uint8_t *place = b->data + b->used;
    b->used += n;
    return place;
}

static void put_bytes(inki_gguf_writer *w, byte_buffer *b, const void *data, size_t n) {
    uint8_t *to = extend(w, b, n);
    if (to != NULL && n > 0) memcpy(to, data, n);
}

// Little-endian on every machine.
static void put_number(inki_gguf_writer *w, byte_buffer *b, uint64_t value, size_t n) {
    uint8_t *to = extend(w, b, n);
    for (size_t i = 0; to != NULL && i < n; i++) to[i] = (uint8_t)(value >> (8 * i));
}

static void put_text(inki_gguf_writer *w, byte_buffer *b, inki_str text) {
    put_number(w, b, text.bytes, 8);
    put_bytes(w, b, text.data, text.bytes);
}

// Key and type of an entry; false when the entry must not follow.
static bool put_key(inki_gguf_writer *w, inki_str key, uint32_t type) {
    if (!writable(w)) return false;
    const char *wrong = NULL;
    if (w->begun)
        wrong = "metadata must come before the tensors' bytes";
    else if (key.bytes == 0 || key.bytes > INKI_GGUF_MAX_KEY)
        wrong = "a key has 1 to 65535 bytes";
    else if (memchr(key.data, 0, key.bytes) != NULL)
        wrong = "a key must not contain a 0 byte";
    else if (inki_str_equal(key, "general.alignment"))
        wrong = "the writer's alignment is always 32";
    else if (w->n_keys >= INKI_GGUF_MAX_KV)
        wrong = "too many keys, 65536 at most";
    if (wrong != NULL) {
        char where[64];
        const size_t n = key.bytes < sizeof where - 1 ? key.bytes : sizeof where - 1;
        if (n > 0) memcpy(where, key.data, n);
        where[n] = 0;
        inki_fail(&w->failure, INK_E_ARG, where, 0, "%s", wrong);
        return false;
    }
    written_key *keys = grow_table(w, w->keys, w->n_keys, &w->cap_keys, sizeof *keys);
    if (keys == NULL) return false;
    w->keys = keys;
    keys[w->n_keys++] = (written_key){w->metadata.used + 8, key.bytes};
    put_text(w, &w->metadata, key);
    put_number(w, &w->metadata, type, 4);
    return true;
}

static inki_str c_text(const char *s) { return (inki_str){s, strlen(s)}; }

ink_status inki_gguf_writer_new(inki_gguf_writer **out, const char *path, const inki_mem *mem,
                                ink_error *error) {
    inki_gguf_writer *w = inki_alloc_zero(mem, 1, sizeof *w);
    if (w == NULL) return inki_fail_nomem(error, sizeof *w);
    w->mem = *mem;
    const ink_status status = inki_out_open(&w->out, path, mem, error);
    if (status != INK_OK) {
        inki_release(mem, w, 1, sizeof *w);
        return status;
    }
    *out = w;
    return INK_OK;
}

void inki_gguf_add_u32(inki_gguf_writer *w, const char *key, uint32_t value) {
    if (put_key(w, c_text(key), INKI_GGUF_U32)) put_number(w, &w->metadata, value, 4);
}

void inki_gguf_add_f32(inki_gguf_writer *w, const char *key, float value) {
    if (put_key(w, c_text(key), INKI_GGUF_F32))
        put_number(w, &w->metadata, inki_f32_bits(value), 4);
}

void inki_gguf_add_bool(inki_gguf_writer *w, const char *key, bool value) {
    if (put_key(w, c_text(key), INKI_GGUF_BOOL)) put_number(w, &w->metadata, value ? 1 : 0, 1);
}

void inki_gguf_add_str(inki_gguf_writer *w, const char *key, inki_str value) {
    if (put_key(w, c_text(key), INKI_GGUF_STR)) put_text(w, &w->metadata, value);
}

void inki_gguf_add_str_array(inki_gguf_writer *w, const char *key, const inki_str *values,
                             size_t n) {
    if (!put_key(w, c_text(key), INKI_GGUF_ARRAY)) return;
    put_number(w, &w->metadata, INKI_GGUF_STR, 4);
    put_number(w, &w->metadata, n, 8);
    for (size_t i = 0; i < n && writable(w); i++) put_text(w, &w->metadata, values[i]);
}

void inki_gguf_add_i32_array(inki_gguf_writer *w, const char *key, const int32_t *values,
                             size_t n) {
    if (!put_key(w, c_text(key), INKI_GGUF_ARRAY)) return;
    put_number(w, &w->metadata, INKI_GGUF_I32, 4);
    put_number(w, &w->metadata, n, 8);
    for (size_t i = 0; i < n && writable(w); i++)
        put_number(w, &w->metadata, (uint32_t)values[i], 4);
}

void inki_gguf_add_kv(inki_gguf_writer *w, const inki_gguf_kv *kv) {
    // The tensors of the file it came from may be aligned otherwise than those written here.
    if (inki_str_equal(kv->key, "general.alignment")) return;
    if (!put_key(w, kv->key, kv->type)) return;
    if (kv->type == INKI_GGUF_STR) {
        put_number(w, &w->metadata, kv->bytes, 8);
    } else if (kv->type == INKI_GGUF_ARRAY) {
        put_number(w, &w->metadata, kv->item_type, 4);
        put_number(w, &w->metadata, kv->n, 8);
    }
    put_bytes(w, &w->metadata, kv->data, kv->bytes);
}

// Bytes of a tensor of this shape; false with a failure if there is no such tensor.
static bool shape_bytes(inki_gguf_writer *w, const char *name, uint32_t type, const uint64_t *dims,
                        uint32_t n_dims, uint64_t *bytes) {
    const inki_type_info info = inki_type_of(type);
    if (info.name == NULL) {
        inki_fail(&w->failure, INK_E_ARG, name, 0, "tensor type %u is unknown", (unsigned)type);
        return false;
    }
    bool fits = n_dims >= 1 && n_dims <= INKI_GGUF_MAX_DIMS && dims[0] > 0 &&
                inki_type_row_bytes(type, dims[0], bytes) && *bytes <= (uint64_t)INT64_MAX;
    for (uint32_t i = 1; fits && i < n_dims; i++) {
        fits = dims[i] > 0 && *bytes <= (uint64_t)INT64_MAX / dims[i];
        if (fits) *bytes *= dims[i];
    }
    if (!fits)
        inki_fail(&w->failure, INK_E_ARG, name, 0,
                  "wrong shape: 1 to 4 sizes above 0 were expected, the first a multiple of %u",
                  (unsigned)info.block_elems);
    return fits;
}

void inki_gguf_add_tensor(inki_gguf_writer *w, const char *name, uint32_t type,
                          const uint64_t *dims, uint32_t n_dims) {
    if (!writable(w)) return;
    written_tensor t = {.n_dims = n_dims, .type = type};
    const size_t n = strlen(name);
    const char *wrong = NULL;
    if (w->begun)
        wrong = "tensors must be added before their bytes";
    else if (n == 0 || n > INKI_GGUF_MAX_NAME)
        wrong = "a tensor's name has 1 to 63 bytes";
    else if (w->n_tensors >= INKI_GGUF_MAX_TENSORS)
        wrong = "too many tensors, 65536 at most";
    if (wrong != NULL) {
        inki_fail(&w->failure, INK_E_ARG, name, 0, "%s", wrong);
        return;
    }
    if (!shape_bytes(w, name, type, dims, n_dims, &t.bytes)) return;
    if (t.bytes > (uint64_t)INT64_MAX - w->data_bytes - WRITE_ALIGN) {
        inki_fail(&w->failure, INK_E_ARG, name, 0, "the file would be over 2^63 bytes");
        return;
    }
    written_tensor *tensors =
        grow_table(w, w->tensors, w->n_tensors, &w->cap_tensors, sizeof *tensors);
    if (tensors == NULL) return;
    w->tensors = tensors;
    memcpy(t.name, name, n);
    memcpy(t.dims, dims, n_dims * sizeof *dims);
    t.offset = w->data_bytes;
    w->data_bytes += (t.bytes + WRITE_ALIGN - 1) / WRITE_ALIGN * WRITE_ALIGN;
    tensors[w->n_tensors++] = t;
}

static inki_str written_key_at(const void *items, uint32_t i) {
    const inki_gguf_writer *w = items;
    return (inki_str){(const char *)w->metadata.data + w->keys[i].at, w->keys[i].bytes};
}

static inki_str written_name_at(const void *items, uint32_t i) {
    return c_text(((const inki_gguf_writer *)items)->tensors[i].name);
}

static bool written_key_less(const void *items, uint32_t a, uint32_t b) {
    return inki_gguf_compare(written_key_at(items, a), written_key_at(items, b)) < 0;
}

static bool written_name_less(const void *items, uint32_t a, uint32_t b) {
    return inki_gguf_compare(written_name_at(items, a), written_name_at(items, b)) < 0;
}

static void refuse_duplicates(inki_gguf_writer *w, size_t n, inki_gguf_less_fn less,
                              inki_str (*text_at)(const void *, uint32_t), const char *what) {
    if (n < 2 || !writable(w)) return;
    uint32_t *order = inki_alloc(&w->mem, n, sizeof *order);
    if (order == NULL) {
        inki_fail_nomem(&w->failure, n * sizeof *order);
        return;
    }
    inki_gguf_sort(order, n, less, w);
    for (size_t i = 1; i < n && writable(w); i++) {
        const inki_str text = text_at(w, order[i]);
        if (inki_gguf_compare(text_at(w, order[i - 1]), text) != 0) continue;
        inki_fail(&w->failure, INK_E_ARG, NULL, 0, "%s %.*s was added twice", what,
                  (int)(text.bytes < 100 ? text.bytes : 100), text.data);
    }
    inki_release(&w->mem, order, n, sizeof *order);
}

static ink_status write_padding(inki_gguf_writer *w, ink_error *error) {
    static const uint8_t zeros[WRITE_ALIGN];
    const size_t over = (size_t)(w->out.at % WRITE_ALIGN);
    return over == 0 ? INK_OK : inki_out_write(&w->out, zeros, WRITE_ALIGN - over, error);
}

static ink_status stick(inki_gguf_writer *w, const ink_error *failure, ink_error *error) {
    w->failure = *failure;
    if (error != NULL) {
        const uint32_t size = error->size; // the caller's
        *error = *failure;
        error->size = size;
    }
    return (ink_status)failure->status;
}

ink_status inki_gguf_writer_begin(inki_gguf_writer *w, ink_error *error) {
    byte_buffer head = {0}, list = {0};
    ink_error failure = {0};
    if (w->begun && writable(w))
        return inki_fail(error, INK_E_ARG, NULL, 0, "the file was begun before");
    refuse_duplicates(w, w->n_keys, written_key_less, written_key_at, "the key");
    refuse_duplicates(w, w->n_tensors, written_name_less, written_name_at, "the tensor");
    put_bytes(w, &head, "GGUF", 4);
    put_number(w, &head, WRITE_VERSION, 4);
    put_number(w, &head, w->n_tensors, 8);
    put_number(w, &head, w->n_keys, 8);
    for (size_t i = 0; i < w->n_tensors; i++) {
        const written_tensor *t = &w->tensors[i];
        put_text(w, &list, c_text(t->name));
        put_number(w, &list, t->n_dims, 4);
        for (uint32_t d = 0; d < t->n_dims; d++) put_number(w, &list, t->dims[d], 8);
        put_number(w, &list, t->type, 4);
        put_number(w, &list, t->offset, 8);
    }
    ink_status status = (ink_status)w->failure.status;
    if (status != INK_OK) failure = w->failure;
    if (status == INK_OK) status = inki_out_write(&w->out, head.data, head.used, &failure);
    if (status == INK_OK && w->metadata.used > 0)
        status = inki_out_write(&w->out, w->metadata.data, w->metadata.used, &failure);
    if (status == INK_OK && list.used > 0)
        status = inki_out_write(&w->out, list.data, list.used, &failure);
    if (status == INK_OK) status = write_padding(w, &failure);
    inki_release(&w->mem, head.data, head.cap, 1);
    inki_release(&w->mem, list.data, list.cap, 1);
    w->begun = true;
    return status == INK_OK ? INK_OK : stick(w, &failure, error);
}

ink_status inki_gguf_writer_data(inki_gguf_writer *w, const void *data, size_t bytes,
                                 ink_error *error) {
    ink_error failure = {0};
    const uint8_t *from = data;
    if (!writable(w)) return stick(w, &w->failure, error);
    if (!w->begun)
        return inki_fail(error, INK_E_ARG, NULL, 0, "bytes of tensors came before the beginning");
    while (bytes > 0) {
        if (w->current == w->n_tensors) {
            inki_fail(&failure, INK_E_ARG, NULL, w->out.at, "%zu bytes came after the last tensor",
                      bytes);
            return stick(w, &failure, error);
        }
        const uint64_t left = w->tensors[w->current].bytes - w->filled;
        const size_t take = left < bytes ? (size_t)left : bytes;
        if (inki_out_write(&w->out, from, take, &failure) != INK_OK)
            return stick(w, &failure, error);
        from += take;
        bytes -= take;
        w->filled += take;
        if (take < left) break;
        if (write_padding(w, &failure) != INK_OK) return stick(w, &failure, error);
        w->current++;
        w->filled = 0;
    }
    return INK_OK;
}

static void free_writer(inki_gguf_writer *w) {
    const inki_mem mem = w->mem;
    inki_release(&mem, w->metadata.data, w->metadata.cap, 1);
    inki_release(&mem, w->keys, w->cap_keys, sizeof *w->keys);
    inki_release(&mem, w->tensors, w->cap_tensors, sizeof *w->tensors);
    inki_release(&mem, w, 1, sizeof *w);
}

ink_status inki_gguf_writer_finish(inki_gguf_writer *w, ink_error *error) {
    ink_status status;
    if (!writable(w)) {
        status = stick(w, &w->failure, error);
    } else if (!w->begun) {
        status = inki_fail(error, INK_E_ARG, NULL, 0, "the file was not begun");
    } else if (w->current < w->n_tensors) {
        const written_tensor *t = &w->tensors[w->current];
        status =
            inki_fail(error, INK_E_ARG, t->name, w->out.at, "%llu of its %llu bytes are missing",
                      (unsigned long long)(t->bytes - w->filled), (unsigned long long)t->bytes);
    } else {
        status = inki_out_commit(&w->out, error);
    }
    inki_out_discard(&w->out);
    free_writer(w);
    return status;
}

void inki_gguf_writer_discard(inki_gguf_writer *w) {
    if (w == NULL) return;
    inki_out_discard(&w->out);
    free_writer(w);
}
