// SPDX-License-Identifier: MIT
// The GGUF container, versions 2 and 3: metadata and a list of tensors over untrusted bytes; and a
// writer of version 3.
// Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
#ifndef INKI_GGUF_H
#define INKI_GGUF_H

#include "base/cursor.h"
#include "base/error.h"
#include "base/mem.h"
#include "base/tensor_type.h"
#include "os/os.h"

typedef enum inki_gguf_type {
    INKI_GGUF_U8 = 0,
    INKI_GGUF_I8 = 1,
    INKI_GGUF_U16 = 2,
    INKI_GGUF_I16 = 3,
    INKI_GGUF_U32 = 4,
    INKI_GGUF_I32 = 5,
    INKI_GGUF_F32 = 6,
    INKI_GGUF_BOOL = 7,
    INKI_GGUF_STR = 8,
    INKI_GGUF_ARRAY = 9,
    INKI_GGUF_U64 = 10,
    INKI_GGUF_I64 = 11,
    INKI_GGUF_F64 = 12
} inki_gguf_type;

// What a file may hold; more is INK_E_LIMIT. Checked before anything is allocated.
enum {
    INKI_GGUF_MAX_KV = 65536,
    INKI_GGUF_MAX_TENSORS = 65536,
    INKI_GGUF_MAX_KEY = 65535,
    INKI_GGUF_MAX_NAME = 63, // as llama.cpp
    INKI_GGUF_MAX_DIMS = 4
};

typedef struct inki_gguf_kv {
    inki_str key;       // borrowed from the file, not 0-terminated
    uint32_t type;      // inki_gguf_type
    uint32_t item_type; // of an array's items
    uint64_t n;         // items of an array, else 1
    const uint8_t
        *data;       // first byte of the value: a number, the text (after its length), or item 0
    size_t bytes;    // of the value; for an array of text: of all items with their lengths
    uint64_t offset; // of the value in the file, for messages
} inki_gguf_kv;

typedef struct inki_gguf_tensor {
    char name[INKI_GGUF_MAX_NAME + 1];
    uint32_t n_dims;
    uint32_t type;                     // inki_tensor_type, known
    uint64_t dims[INKI_GGUF_MAX_DIMS]; // innermost first; 1 beyond n_dims; none is 0
    uint64_t bytes;
    uint64_t offset;  // from the beginning of the file
    const void *data; // in the file
} inki_gguf_tensor;

typedef struct inki_gguf {
    uint32_t version;
    uint32_t alignment;
    size_t n_kv, n_tensors;
    inki_gguf_kv *kv;          // [n_kv]
    inki_gguf_tensor *tensors; // [n_tensors], in the file's order
    uint32_t *kv_order;        // [n_kv] indices in the order of the keys, for finding
    uint32_t *tensor_order;    // [n_tensors] the same of the tensors' names
    const uint8_t *data;
    size_t bytes;
    inki_mem mem;
} inki_gguf;

// Reads data [bytes], which must stay as long as `out`. Everything is checked: counts, lengths,
// value types, duplicate keys and tensors, alignment (a power of two from 8 to 65536), shapes, that
// every tensor lies inside the file at its alignment, overlaps none. Takes O(bytes of the list ×
// log entries). Errors: INK_E_FORMAT, INK_E_UNSUPPORTED (version, big-endian, tensor type, nested
// arrays), INK_E_LIMIT, INK_E_NOMEM; message and offset name the place and what was expected.
ink_status inki_gguf_open(inki_gguf *out, const void *data, size_t bytes, const inki_mem *mem,
                          ink_error *error);
void inki_gguf_close(inki_gguf *gguf); // zeroed and closed ones are allowed

// By binary search; or NULL.
const inki_gguf_kv *inki_gguf_find(const inki_gguf *gguf, const char *key);
const inki_gguf_tensor *inki_gguf_find_tensor(const inki_gguf *gguf, const char *name);

// Typed access. *out is untouched and INK_OK returned when the key is missing and not `required`.
// Integers of any width and sign are taken if the value fits. Errors: INK_E_FORMAT (missing, other
// type, out of range; message names the key).
ink_status inki_gguf_get_u32(const inki_gguf *, const char *key, bool required, uint32_t *out,
                             ink_error *);
ink_status inki_gguf_get_f32(const inki_gguf *, const char *key, bool required, float *out,
                             ink_error *);
ink_status inki_gguf_get_bool(const inki_gguf *, const char *key, bool required, bool *out,
                              ink_error *);
ink_status inki_gguf_get_str(const inki_gguf *, const char *key, bool required, inki_str *out,
                             ink_error *);
// A text that must be `wanted`. Errors: those of get_str; `otherwise`, where it is another one.
ink_status inki_gguf_expect_str(const inki_gguf *, const char *key, const char *wanted,
                                ink_status otherwise, ink_error *);
ink_status inki_gguf_get_str_run(const inki_gguf *, const char *key, bool required,
                                 inki_str_run *out, ink_error *);
// An array of i32 or u32: its items as little-endian bytes, 4 each.
ink_status inki_gguf_get_i32_run(const inki_gguf *, const char *key, bool required,
                                 const uint8_t **items, uint64_t *n, ink_error *);

const char *inki_gguf_type_name(uint32_t type); // "u32", "str", "array"; "unknown"
// The value as text (see ink_model_metadata): returns the bytes needed without the 0, writes at
// most cap - 1 and a 0. Cut text ends with a whole character, a cut array with a whole item and an
// ellipsis.
size_t inki_gguf_value_text(const inki_gguf_kv *kv, char *out, size_t cap);

// --- writer ---------------------------------------------------------------------------------
// Metadata first, then the list of tensors, then their bytes in the same order. The file appears
// only with inki_gguf_writer_finish.
typedef struct inki_gguf_writer inki_gguf_writer;
// See inki_out_open for what path may be. Errors: INK_E_IO, INK_E_NOMEM.
ink_status inki_gguf_writer_new(inki_gguf_writer **out, const char *path, const inki_mem *mem,
                                ink_error *error);
// Adding never writes to disk; the first failure (no memory, duplicate or bad name) sticks and
// comes back from inki_gguf_writer_begin.
void inki_gguf_add_u32(inki_gguf_writer *, const char *key, uint32_t value);
void inki_gguf_add_f32(inki_gguf_writer *, const char *key, float value);
void inki_gguf_add_bool(inki_gguf_writer *, const char *key, bool value);
void inki_gguf_add_str(inki_gguf_writer *, const char *key, inki_str value);
void inki_gguf_add_str_array(inki_gguf_writer *, const char *key, const inki_str *values, size_t n);
void inki_gguf_add_i32_array(inki_gguf_writer *, const char *key, const int32_t *values, size_t n);
// Copies an entry of another file as it is (any type); general.alignment is passed over, since what
// is written has an alignment of 32.
void inki_gguf_add_kv(inki_gguf_writer *, const inki_gguf_kv *kv);
// dims [n_dims], innermost first.
void inki_gguf_add_tensor(inki_gguf_writer *, const char *name, uint32_t type, const uint64_t *dims,
                          uint32_t n_dims);
ink_status inki_gguf_writer_begin(inki_gguf_writer *, ink_error *error);
// Bytes of the current tensor, in any number of pieces; the next tensor begins when it is complete.
ink_status inki_gguf_writer_data(inki_gguf_writer *, const void *data, size_t bytes,
                                 ink_error *error);
// Errors: INK_E_ARG (tensor bytes are missing), INK_E_IO. Frees the writer in every case.
ink_status inki_gguf_writer_finish(inki_gguf_writer *, ink_error *error);
void inki_gguf_writer_discard(inki_gguf_writer *); // frees; nothing appears. NULL is allowed

#endif
