// SPDX-License-Identifier: MIT
#include "convert/gpt2_strips.h"
#include "convert/notes.h"
#include "kernels/kernels.h"

#include <math.h>
#include <string.h>

static uint64_t count_elems(const inki_planned_tensor *t) { return (uint64_t)t->rows * t->cols; }

static ink_status advance(inki_weights_job *job, uint64_t elems, const char *what,
                          ink_error *error) {
    job->elems_done += elems;
    return inki_progress(job->options, (double)job->elems_done / (double)job->elems_total, what,
                         error);
}

ink_status inki_gpt2_largest(inki_weights_job *job, const inki_planned_tensor *t, float *largest,
                             ink_error *error) {
    const uint64_t n = count_elems(t);
    float most = 0;
    for (uint64_t at = 0; at < n;) {
        const size_t step = n - at < INKI_STRIP_ELEMS ? (size_t)(n - at) : INKI_STRIP_ELEMS;
        ink_status status =
            inki_checkpoint_read(job->checkpoint, t->source, at, step, job->strip, error);
        if (status == INK_OK) status = advance(job, step, t->name, error);
        if (status != INK_OK) return status;
        for (size_t i = 0; i < step; i++)
            most = fabsf(job->strip[i]) > most ? fabsf(job->strip[i]) : most;
        at += step;
    }
    *largest = most;
    return INK_OK;
}

ink_status inki_gpt2_same_values(inki_weights_job *job, const inki_planned_tensor *a,
                                 const inki_planned_tensor *b, bool *same, ink_error *error) {
    const uint64_t n = count_elems(a);
    enum { HALF = INKI_STRIP_ELEMS / 2 };
    *same = true;
    for (uint64_t at = 0; at < n && *same;) {
        const size_t step = n - at < HALF ? (size_t)(n - at) : HALF;
        ink_status status =
            inki_checkpoint_read(job->checkpoint, a->source, at, step, job->strip, error);
        if (status == INK_OK)
            status = inki_checkpoint_read(job->checkpoint, b->source, at, step, job->strip + HALF,
                                          error);
        if (status != INK_OK) return status;
        *same = memcmp(job->strip, job->strip + HALF, step * sizeof *job->strip) == 0;
        at += step;
    }
    return INK_OK;
}

// strip [n_rows, t->cols] = rows [first, first + n_rows) of the tensor as it is written.
// The source of a transposed one has a line for each of its columns: from each the piece that
// belongs to these rows is read, so that memory does not grow with the tensor.
static ink_status read_rows(inki_weights_job *job, const inki_planned_tensor *t, uint32_t first,
                            uint32_t n_rows, float *line, ink_error *error) {
    if (!t->transposed)
        return inki_checkpoint_read(job->checkpoint, t->source, (uint64_t)first * t->cols,
                                    (size_t)n_rows * t->cols, job->strip, error);
    for (uint32_t col = 0; col < t->cols; col++) {
        const uint64_t at = (uint64_t)col * t->rows + first;
        const ink_status status =
            inki_checkpoint_read(job->checkpoint, t->source, at, n_rows, line, error);
        if (status != INK_OK) return status;
        for (uint32_t row = 0; row < n_rows; row++)
            job->strip[(size_t)row * t->cols + col] = line[row];
    }
    return INK_OK;
}

static ink_status write_tensor(inki_weights_job *job, const inki_planned_tensor *t, float *line,
                               uint32_t line_elems, inki_gguf_writer *writer, ink_error *error) {
    uint32_t most = INKI_STRIP_ELEMS / t->cols;
    uint64_t bytes = 0;
    if (t->transposed && most > line_elems) most = line_elems;
    inki_type_row_bytes(t->type, t->cols, &bytes);
    for (uint32_t first = 0; first < t->rows;) {
        const uint32_t n_rows = t->rows - first < most ? t->rows - first : most;
        ink_status status = read_rows(job, t, first, n_rows, line, error);
        for (uint32_t i = 0; i < n_rows && status == INK_OK; i++) {
            inki_quantize_row(t->type, job->row, job->strip + (size_t)i * t->cols, t->cols);
            status = inki_gguf_writer_data(writer, job->row, (size_t)bytes, error);
        }
        if (status == INK_OK) status = advance(job, (uint64_t)n_rows * t->cols, t->name, error);
        if (status != INK_OK) return status;
        first += n_rows;
    }
    return INK_OK;
}

ink_status inki_gpt2_write(inki_weights_job *job, inki_gguf_writer *writer, ink_error *error) {
    enum { LINE_ELEMS = 1 << 16 };
    uint32_t widest = 0;
    for (size_t i = 0; i < job->n; i++)
        widest = job->tensors[i].cols > widest ? job->tensors[i].cols : widest;
    job->row_bytes = (size_t)widest * sizeof(float); // no type takes more than floats do
    job->row = inki_alloc(&job->mem, job->row_bytes, 1);
    float *line = inki_alloc(&job->mem, LINE_ELEMS, sizeof *line);
    ink_status status = INK_OK;
    if (job->row == NULL || line == NULL) status = inki_fail_nomem(error, job->row_bytes);
    for (size_t i = 0; i < job->n && status == INK_OK; i++)
        status = write_tensor(job, &job->tensors[i], line, LINE_ELEMS, writer, error);
    inki_release(&job->mem, line, LINE_ELEMS, sizeof *line);
    return status;
}

void inki_gpt2_declare(const inki_weights_job *job, inki_gguf_writer *writer) {
    for (size_t i = 0; i < job->n; i++) {
        const inki_planned_tensor *t = &job->tensors[i];
        const uint64_t dims[2] = {t->cols, t->rows};
        inki_gguf_add_tensor(writer, t->name, t->type, dims, t->vector ? 1 : 2);
    }
}
