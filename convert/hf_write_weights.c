// SPDX-License-Identifier: MIT
#include "convert/gpt2_names.h"
#include "convert/hf_write_parts.h"

#include <stdio.h>
#include <string.h>

enum { STRIP_FLOATS = 16 << 20, ENTRY_BYTES = 224, HEADER_ALIGN = 8 };

typedef struct weights_out {
    inki_hf_writing *w;
    size_t n; // tensors, the head of its own among them
    inki_out file;
    float *strip; // [strip_floats] rows as they are written
    size_t strip_floats;
    float *row; // [widest]
    size_t widest;
} weights_out;

static inki_gpt2_name name_at(const weights_out *o, size_t index) {
    return inki_gpt2_name_of(&o->w->config, index);
}

static uint64_t elems_of(const inki_gpt2_name *n) { return (uint64_t)n->rows * n->cols; }

static ink_status check_tensor(const weights_out *o, const inki_gpt2_name *n, ink_error *error) {
    const inki_gguf_tensor *t = inki_gguf_find_tensor(&o->w->gguf, n->name);
    if (t == NULL) return inki_fail(error, INK_E_FORMAT, n->name, 0, "the tensor is missing");
    if (o->w->kernels.dequantize[t->type] == NULL)
        return inki_fail(error, INK_E_UNSUPPORTED, t->name, t->offset, "its type %s cannot be read",
                         inki_type_of(t->type).name);
    if (t->dims[0] == n->cols && t->dims[1] == n->rows && t->dims[2] == 1 && t->dims[3] == 1)
        return INK_OK;
    return inki_fail(error, INK_E_FORMAT, t->name, t->offset,
                     "shape is [%llu, %llu], the metadata makes it [%u, %u]",
                     (unsigned long long)t->dims[1], (unsigned long long)t->dims[0],
                     (unsigned)n->rows, (unsigned)n->cols);
}

// A tensor that nobody writes means that the model does more than GPT-2.
static ink_status check_unused(const weights_out *o, ink_error *error) {
    const inki_gguf *gguf = &o->w->gguf;
    bool *used = inki_alloc_zero(&o->w->mem, gguf->n_tensors, sizeof *used);
    if (used == NULL) return inki_fail_nomem(error, gguf->n_tensors * sizeof *used);
    for (size_t i = 0; i < o->n; i++)
        used[inki_gguf_find_tensor(gguf, name_at(o, i).name) - gguf->tensors] = true;
    const inki_gguf_tensor *head = inki_gguf_find_tensor(gguf, "output.weight");
    if (head != NULL) used[head - gguf->tensors] = true; // else it is the embedding over again
    size_t first = 0;
    while (first < gguf->n_tensors && used[first]) first++;
    inki_release(&o->w->mem, used, gguf->n_tensors, sizeof *used);
    if (first == gguf->n_tensors) return INK_OK;
    return inki_fail(error, INK_E_UNSUPPORTED, gguf->tensors[first].name,
                     gguf->tensors[first].offset, "the tensor is none of a GPT-2 of %u layers",
                     (unsigned)o->w->config.n_layer);
}

static ink_status check_all(weights_out *o, ink_error *error) {
    ink_status status = INK_OK;
    for (size_t i = 0; i < o->n && status == INK_OK; i++) {
        const inki_gpt2_name n = name_at(o, i);
        status = check_tensor(o, &n, error);
        if (n.cols > o->widest) o->widest = n.cols;
        const uint64_t floats = elems_of(&n) < STRIP_FLOATS ? elems_of(&n) : STRIP_FLOATS;
        if (floats > o->strip_floats) o->strip_floats = (size_t)floats;
        // At least one line of what is turned must go into a strip.
        if (n.rows > o->strip_floats) o->strip_floats = n.rows;
        if (n.cols > o->strip_floats) o->strip_floats = n.cols;
    }
    return status == INK_OK ? check_unused(o, error) : status;
}

// The head has no "transformer." before it in the class that saves them.
static int write_entry(char *out, size_t cap, const inki_gpt2_name *n, bool first, uint64_t at) {
    const unsigned lines = n->transposed ? n->cols : n->rows,
                   length = n->transposed ? n->rows : n->cols;
    char shape[32];
    if (n->vector)
        snprintf(shape, sizeof shape, "%u", length);
    else
        snprintf(shape, sizeof shape, "%u,%u", lines, length);
    return snprintf(out, cap,
                    "%s\"%s%s\":{\"dtype\":\"F32\",\"shape\":[%s],\"data_offsets\":[%llu,%llu]}",
                    first ? "" : ",", n->head ? "" : "transformer.", n->source, shape,
                    (unsigned long long)at, (unsigned long long)(at + 4 * elems_of(n)));
}

static ink_status write_header(weights_out *o, ink_error *error) {
    static const char begin[] = "{\"__metadata__\":{\"format\":\"pt\"},";
    const size_t cap = sizeof begin + o->n * ENTRY_BYTES + HEADER_ALIGN;
    char *text = inki_alloc(&o->w->mem, cap, 1);
    if (text == NULL) return inki_fail_nomem(error, cap);
    size_t used = sizeof begin - 1;
    uint64_t at = 0;
    memcpy(text, begin, used);
    for (size_t i = 0; i < o->n; i++) {
        const inki_gpt2_name n = name_at(o, i);
        used += (size_t)write_entry(text + used, cap - used, &n, i == 0, at);
        at += 4 * elems_of(&n);
    }
    text[used++] = '}';
    while (used % HEADER_ALIGN != 0) text[used++] = ' ';
    uint8_t length[8];
    for (int i = 0; i < 8; i++) length[i] = (uint8_t)((uint64_t)used >> 8 * i);
    ink_status status = inki_out_write(&o->file, length, sizeof length, error);
    if (status == INK_OK) status = inki_out_write(&o->file, text, used, error);
    inki_release(&o->w->mem, text, cap, 1);
    return status;
}

static ink_status read_row(const weights_out *o, const inki_gguf_tensor *t, uint64_t row,
                           float *out, ink_error *error) {
    uint64_t bytes = 0;
    inki_type_row_bytes(t->type, t->dims[0], &bytes);
    const size_t n = (size_t)t->dims[0];
    o->w->kernels.dequantize[t->type](out, (const uint8_t *)t->data + row * bytes, n);
    if (o->w->kernels.all_finite(out, n)) return INK_OK;
    return inki_fail(error, INK_E_NUMERIC, t->name, t->offset + row * bytes,
                     "row %llu holds NaN or infinity, finite numbers were expected",
                     (unsigned long long)row);
}

static ink_status write_rows(weights_out *o, const inki_gguf_tensor *t, ink_error *error) {
    const size_t cols = (size_t)t->dims[0], rows = (size_t)t->dims[1];
    const size_t most = o->strip_floats / cols;
    for (size_t first = 0; first < rows;) {
        const size_t n = rows - first < most ? rows - first : most;
        ink_status status = INK_OK;
        for (size_t i = 0; i < n && status == INK_OK; i++)
            status = read_row(o, t, first + i, o->strip + i * cols, error);
        if (status == INK_OK)
            status = inki_out_write(&o->file, o->strip, n * cols * sizeof(float), error);
        if (status != INK_OK) return status;
        first += n;
    }
    return INK_OK;
}

// [rows, cols] is written as [cols, rows]: a strip holds some of its lines, and for each strip all
// rows are read.
static ink_status write_turned(weights_out *o, const inki_gguf_tensor *t, ink_error *error) {
    const size_t cols = (size_t)t->dims[0], rows = (size_t)t->dims[1];
    const size_t most = o->strip_floats / rows;
    for (size_t first = 0; first < cols;) {
        const size_t n = cols - first < most ? cols - first : most;
        for (size_t r = 0; r < rows; r++) {
            const ink_status status = read_row(o, t, r, o->row, error);
            if (status != INK_OK) return status;
            for (size_t i = 0; i < n; i++) o->strip[i * rows + r] = o->row[first + i];
        }
        const ink_status status =
            inki_out_write(&o->file, o->strip, n * rows * sizeof(float), error);
        if (status != INK_OK) return status;
        first += n;
    }
    return INK_OK;
}

static ink_status write_tensors(weights_out *o, ink_error *error) {
    ink_status status = write_header(o, error);
    for (size_t i = 0; i < o->n && status == INK_OK; i++) {
        const inki_gpt2_name n = name_at(o, i);
        const inki_gguf_tensor *t = inki_gguf_find_tensor(&o->w->gguf, n.name);
        status = n.transposed ? write_turned(o, t, error) : write_rows(o, t, error);
    }
    return status;
}

ink_status inki_hf_write_weights(inki_hf_writing *w, ink_error *error) {
    weights_out o = {.w = w, .n = inki_gpt2_n_names(&w->config) + (w->config.tied ? 0 : 1)};
    ink_status status = check_all(&o, error);
    if (status != INK_OK) return status;
    o.strip = inki_alloc(&w->mem, o.strip_floats, sizeof *o.strip);
    o.row = inki_alloc(&w->mem, o.widest, sizeof *o.row);
    if (o.strip == NULL || o.row == NULL)
        status = inki_fail_nomem(error, o.strip_floats * sizeof *o.strip);
    if (status == INK_OK) status = inki_hf_out_open(w, &o.file, "model.safetensors", error);
    if (status == INK_OK) {
        status = write_tensors(&o, error);
        if (status == INK_OK)
            status = inki_out_commit(&o.file, error);
        else
            inki_out_discard(&o.file);
    }
    inki_release(&w->mem, o.strip, o.strip_floats, sizeof *o.strip);
    inki_release(&w->mem, o.row, o.widest, sizeof *o.row);
    return status;
}
