// SPDX-License-Identifier: MIT
#include "base/half.h"
#include "base/number.h"
#include "base/utf8.h"
#include "gguf/gguf.h"
#include "gguf/gguf_sort.h"

#include <float.h>
#include <math.h>
#include <string.h>

const inki_gguf_kv *inki_gguf_find(const inki_gguf *g, const char *key) {
    const inki_str wanted = {key, strlen(key)};
    size_t low = 0, high = g->n_kv;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const inki_gguf_kv *kv = &g->kv[g->kv_order[middle]];
        const int order = inki_gguf_compare(wanted, kv->key);
        if (order == 0) return kv;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

const inki_gguf_tensor *inki_gguf_find_tensor(const inki_gguf *g, const char *name) {
    size_t low = 0, high = g->n_tensors;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const inki_gguf_tensor *t = &g->tensors[g->tensor_order[middle]];
        const int order = strcmp(name, t->name);
        if (order == 0) return t;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

static uint64_t bits_at(const uint8_t *p, size_t n) {
    uint64_t v = 0;
    for (size_t i = 0; i < n; i++) v |= (uint64_t)p[i] << (8 * i);
    return v;
}

static double f64_at(const uint8_t *p) {
    const uint64_t bits = bits_at(p, 8);
    double d;
    memcpy(&d, &bits, sizeof d);
    return d;
}

// The conversion of what a float cannot hold is not defined by C.
static bool narrow(double value, float *out) {
    const bool fits = !isfinite(value) || fabs(value) <= (double)FLT_MAX;
    *out = fits ? (float)value : value < 0 ? -INFINITY : INFINITY;
    return fits;
}

// An integer of any width at p as sign and magnitude; false if the type is none.
static bool integer_at(const uint8_t *p, uint32_t type, bool *negative, uint64_t *magnitude) {
    size_t n;
    bool with_sign = false;
    switch (type) {
    case INKI_GGUF_I8:
        with_sign = true;
        n = 1;
        break;
    case INKI_GGUF_U8: n = 1; break;
    case INKI_GGUF_I16:
        with_sign = true;
        n = 2;
        break;
    case INKI_GGUF_U16: n = 2; break;
    case INKI_GGUF_I32:
        with_sign = true;
        n = 4;
        break;
    case INKI_GGUF_U32: n = 4; break;
    case INKI_GGUF_I64:
        with_sign = true;
        n = 8;
        break;
    case INKI_GGUF_U64: n = 8; break;
    default: return false;
    }
    const uint64_t v = bits_at(p, n);
    const uint64_t top = (uint64_t)1 << (8 * n - 1);
    *negative = with_sign && (v & top) != 0;
    *magnitude =
        *negative ? (top << 1) - v : v; // for 8 bytes top << 1 is 0, and so is 2^64 mod 2^64
    return true;
}

// The entry, or NULL with *status set: INK_OK when it may be missing.
static const inki_gguf_kv *entry(const inki_gguf *g, const char *key, bool required,
                                 ink_status *status, ink_error *error) {
    const inki_gguf_kv *kv = inki_gguf_find(g, key);
    *status = INK_OK;
    if (kv == NULL && required)
        *status = inki_fail(error, INK_E_FORMAT, key, 0, "this metadata key is missing");
    return kv;
}

static ink_status wrong_type(const inki_gguf_kv *kv, const char *key, const char *expected,
                             ink_error *error) {
    const bool array = kv->type == INKI_GGUF_ARRAY;
    return inki_fail(error, INK_E_FORMAT, key, kv->offset, "has the type %s%s, %s was expected",
                     array ? "array of " : "",
                     inki_gguf_type_name(array ? kv->item_type : kv->type), expected);
}

ink_status inki_gguf_get_u32(const inki_gguf *g, const char *key, bool required, uint32_t *out,
                             ink_error *error) {
    ink_status status;
    bool negative;
    uint64_t magnitude;
    const inki_gguf_kv *kv = entry(g, key, required, &status, error);
    if (kv == NULL) return status;
    if (!integer_at(kv->data, kv->type, &negative, &magnitude))
        return wrong_type(kv, key, "an integer", error);
    if (negative || magnitude > UINT32_MAX)
        return inki_fail(error, INK_E_FORMAT, key, kv->offset,
                         "is %s%llu, 0 to 4294967295 was expected", negative ? "-" : "",
                         (unsigned long long)magnitude);
    *out = (uint32_t)magnitude;
    return INK_OK;
}

ink_status inki_gguf_get_f32(const inki_gguf *g, const char *key, bool required, float *out,
                             ink_error *error) {
    ink_status status;
    const inki_gguf_kv *kv = entry(g, key, required, &status, error);
    if (kv == NULL) return status;
    if (kv->type == INKI_GGUF_F32) {
        *out = inki_f32_from_bits((uint32_t)bits_at(kv->data, 4));
        return INK_OK;
    }
    if (kv->type != INKI_GGUF_F64) return wrong_type(kv, key, "f32", error);
    float value;
    if (!narrow(f64_at(kv->data), &value))
        return inki_fail(error, INK_E_FORMAT, key, kv->offset, "is too large for f32");
    *out = value;
    return INK_OK;
}

ink_status inki_gguf_get_bool(const inki_gguf *g, const char *key, bool required, bool *out,
                              ink_error *error) {
    ink_status status;
    const inki_gguf_kv *kv = entry(g, key, required, &status, error);
    if (kv == NULL) return status;
    if (kv->type != INKI_GGUF_BOOL) return wrong_type(kv, key, "bool", error);
    *out = kv->data[0] != 0;
    return INK_OK;
}

ink_status inki_gguf_get_str(const inki_gguf *g, const char *key, bool required, inki_str *out,
                             ink_error *error) {
    ink_status status;
    const inki_gguf_kv *kv = entry(g, key, required, &status, error);
    if (kv == NULL) return status;
    if (kv->type != INKI_GGUF_STR) return wrong_type(kv, key, "str", error);
    *out = (inki_str){(const char *)kv->data, kv->bytes};
    return INK_OK;
}

ink_status inki_gguf_expect_str(const inki_gguf *g, const char *key, const char *wanted,
                                ink_status otherwise, ink_error *error) {
    inki_str is = {"", 0};
    const ink_status status = inki_gguf_get_str(g, key, true, &is, error);
    if (status != INK_OK || inki_str_equal(is, wanted)) return status;
    return inki_fail(error, otherwise, key, inki_gguf_find(g, key)->offset,
                     "is \"%.*s\", \"%s\" was expected", (int)(is.bytes < 60 ? is.bytes : 60),
                     is.data, wanted);
}

ink_status inki_gguf_get_str_run(const inki_gguf *g, const char *key, bool required,
                                 inki_str_run *out, ink_error *error) {
    ink_status status;
    const inki_gguf_kv *kv = entry(g, key, required, &status, error);
    if (kv == NULL) return status;
    if (kv->type != INKI_GGUF_ARRAY || kv->item_type != INKI_GGUF_STR)
        return wrong_type(kv, key, "array of str", error);
    *out = (inki_str_run){kv->data, kv->bytes, kv->n};
    return INK_OK;
}

ink_status inki_gguf_get_i32_run(const inki_gguf *g, const char *key, bool required,
                                 const uint8_t **items, uint64_t *n, ink_error *error) {
    ink_status status;
    const inki_gguf_kv *kv = entry(g, key, required, &status, error);
    if (kv == NULL) return status;
    if (kv->type != INKI_GGUF_ARRAY ||
        (kv->item_type != INKI_GGUF_I32 && kv->item_type != INKI_GGUF_U32))
        return wrong_type(kv, key, "array of i32", error);
    *items = kv->data;
    *n = kv->n;
    return INK_OK;
}

const char *inki_gguf_type_name(uint32_t type) {
    static const char *const names[] = {"u8",   "i8",  "u16",   "i16", "u32", "i32", "f32",
                                        "bool", "str", "array", "u64", "i64", "f64"};
    return type < sizeof names / sizeof names[0] ? names[type] : "unknown";
}

// Text that counts on when the room is used up.
typedef struct text_sink {
    char *out;
    size_t room, needed;
} text_sink;

static void sink_put(text_sink *s, const char *text, size_t n) {
    if (s->needed < s->room) {
        const size_t fits = s->room - s->needed;
        memcpy(s->out + s->needed, text, n < fits ? n : fits);
    }
    s->needed += n;
}

// Not by printf: an array may have many millions of items.
static size_t decimal(char out[24], bool negative, uint64_t magnitude) {
    size_t at = 24;
    do out[--at] = (char)('0' + magnitude % 10);
    while ((magnitude /= 10) > 0);
    if (negative) out[--at] = '-';
    memmove(out, out + at, 24 - at);
    return 24 - at;
}

static void put_value(text_sink *s, const uint8_t *p, uint32_t type) {
    char text[64];
    bool negative;
    uint64_t magnitude;
    if (integer_at(p, type, &negative, &magnitude)) {
        sink_put(s, text, decimal(text, negative, magnitude));
    } else if (type == INKI_GGUF_BOOL) {
        sink_put(s, *p != 0 ? "true" : "false", *p != 0 ? 4 : 5);
    } else if (type == INKI_GGUF_F32) {
        sink_put(s, text,
                 inki_format_float(inki_f32_from_bits((uint32_t)bits_at(p, 4)), text, sizeof text));
    } else {
        float value;
        narrow(f64_at(p), &value);
        sink_put(s, text, inki_format_float(value, text, sizeof text));
    }
}

// Items until one does not fit into `room`; all of them with room SIZE_MAX.
static void put_items(text_sink *s, const inki_gguf_kv *kv, size_t room) {
    static const char ellipsis[] = "\xe2\x80\xa6";
    inki_cursor c = inki_cursor_over(kv->data, kv->bytes);
    for (uint64_t i = 0; i < kv->n; i++) {
        const text_sink before = *s;
        if (i > 0) sink_put(s, ", ", 2);
        if (kv->item_type == INKI_GGUF_STR) {
            const inki_str text = inki_cursor_str(&c);
            sink_put(s, text.data, text.bytes);
        } else {
            put_value(s, inki_cursor_take(&c, kv->bytes / (size_t)kv->n), kv->item_type);
        }
        if (s->needed <= room) continue;
        *s = before;
        if (i > 0) sink_put(s, ", ", 2);
        sink_put(s, ellipsis, 3);
        return;
    }
}

static void put_array(text_sink *s, const inki_gguf_kv *kv, size_t room) {
    char text[24];
    sink_put(s, "[", 1);
    sink_put(s, text, decimal(text, false, kv->n));
    sink_put(s, kv->n > 0 ? "] " : "]", kv->n > 0 ? 2 : 1);
    put_items(s, kv, room);
}

// Length of text [n] without a character that was cut at its end.
static size_t whole_characters(const uint8_t *text, size_t n) {
    for (size_t back = 1; back <= 3 && back <= n; back++)
        if (inki_utf8_is_prefix(text + n - back, back)) return n - back;
    return n;
}

size_t inki_gguf_value_text(const inki_gguf_kv *kv, char *out, size_t cap) {
    text_sink count = {0}, sink = {.out = out, .room = cap > 0 ? cap - 1 : 0};
    if (kv->type == INKI_GGUF_STR) {
        sink_put(&count, (const char *)kv->data, kv->bytes);
        sink_put(&sink, (const char *)kv->data, kv->bytes);
    } else if (kv->type == INKI_GGUF_ARRAY) {
        put_array(&count, kv, SIZE_MAX);
        const size_t tail = 5; // the ellipsis with its comma
        if (count.needed <= sink.room)
            put_array(&sink, kv, SIZE_MAX);
        else
            put_array(&sink, kv, sink.room > tail ? sink.room - tail : 0);
    } else {
        put_value(&count, kv->data, kv->type);
        put_value(&sink, kv->data, kv->type);
    }
    const size_t used = sink.needed < sink.room ? sink.needed : sink.room;
    if (cap > 0) out[used < count.needed ? whole_characters((const uint8_t *)out, used) : used] = 0;
    return count.needed;
}
