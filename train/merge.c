// SPDX-License-Identifier: MIT
#include "base/half.h"
#include "kernels/kernels.h"
#include "train/export.h"
#include "train/export_types.h"

#include <stdio.h>
#include <string.h>

enum { MAX_RANK = 1 << 12, MAX_MERGED = 64 };

typedef struct merge_file {
    inki_file map;
    inki_gguf gguf;
    float alpha; // 0: not said, then the scale counts alone
    float scale;
} merge_file;

typedef struct merge_item {
    const inki_gguf_tensor *from;
    uint32_t type;
    bool touched; // an adapter changes it
} merge_item;

typedef struct merge_job {
    const inki_merge *how;
    inki_mem mem;
    inki_kernels kernels;
    merge_file model;
    merge_file *adapters; // [how->n]
    merge_item *items;
    size_t widest;       // columns
    float *row, *factor; // [widest]
    float *b;            // [MAX_RANK]
    void *made;          // [widest] floats
    // Every number of the model is looked at once and written once.
    double elems_done, elems_total;
} merge_job;

// --- files ---------------------------------------------------------------------------------------

static ink_status open_file(merge_file *file, const char *path, const inki_mem *mem,
                            ink_error *error) {
    ink_status status = inki_os_open_path(&file->map, path, false, mem, error);
    if (status != INK_OK) return status;
    status = inki_gguf_open(&file->gguf, file->map.data, file->map.bytes, mem, error);
    if (status != INK_OK) inki_error_prefix(error, path);
    return status;
}

static void close_file(merge_file *file) {
    inki_gguf_close(&file->gguf);
    inki_os_close(&file->map);
}

// What the file says of itself under key; "" where it says nothing.
static ink_status expect_text(const inki_gguf *gguf, const char *key, const char *expected,
                              const char *what, ink_error *error) {
    inki_str value = {"", 0};
    const ink_status status = inki_gguf_get_str(gguf, key, false, &value, error);
    if (status != INK_OK || inki_str_equal(value, expected)) return status;
    return inki_fail(error, INK_E_FORMAT, key, 0, "\"%.*s\", but \"%s\" was expected of %s",
                     (int)(value.bytes < 60 ? value.bytes : 60), value.data, expected, what);
}

static ink_status open_model(merge_job *job, ink_error *error) {
    const char *path = job->how->in;
    ink_status status = open_file(&job->model, path, &job->mem, error);
    if (status != INK_OK) return status;
    const inki_gguf *gguf = &job->model.gguf;
    status = expect_text(gguf, "general.architecture", "gpt2", "a model", error);
    if (status == INK_OK && inki_gguf_find(gguf, "adapter.type") != NULL)
        status = inki_fail(error, INK_E_FORMAT, NULL, 0, "is an adapter, a model was expected");
    if (status == INK_OK && gguf->n_tensors == 0)
        status = inki_fail(error, INK_E_FORMAT, NULL, 0, "the model holds no tensors");
    for (size_t i = 0; i < gguf->n_tensors && status == INK_OK; i++)
        if (job->kernels.dequantize[gguf->tensors[i].type] == NULL)
            status =
                inki_fail(error, INK_E_UNSUPPORTED, gguf->tensors[i].name, 0,
                          "its type %s cannot be read", inki_type_of(gguf->tensors[i].type).name);
    if (status != INK_OK) inki_error_prefix(error, path);
    return status;
}

// --- adapters ------------------------------------------------------------------------------------

static const char suffix_a[] = ".lora_a", suffix_b[] = ".lora_b";
enum { SUFFIX = sizeof suffix_a - 1 };

static bool has_suffix(const char *name, const char *suffix) {
    const size_t n = strlen(name);
    return n > SUFFIX && strcmp(name + n - SUFFIX, suffix) == 0;
}

// The other half of a pair, or what a pair belongs to (suffix "").
static const inki_gguf_tensor *find_relative(const inki_gguf *gguf, const char *name,
                                             const char *suffix) {
    char other[INKI_GGUF_MAX_NAME + 1];
    const int stem = (int)(strlen(name) - SUFFIX);
    snprintf(other, sizeof other, "%.*s%s", stem, name, suffix);
    return inki_gguf_find_tensor(gguf, other);
}

static unsigned long long dim(const inki_gguf_tensor *t, int i) {
    return (unsigned long long)t->dims[i];
}

// a is the tensor ".lora_a" of a pair.
static ink_status check_pair(const merge_job *job, const inki_gguf *adapter,
                             const inki_gguf_tensor *a, ink_error *error) {
    const inki_gguf_tensor *b = find_relative(adapter, a->name, suffix_b);
    const inki_gguf_tensor *w = find_relative(&job->model.gguf, a->name, "");
    if (b == NULL)
        return inki_fail(error, INK_E_FORMAT, a->name, a->offset, "has no partner %s", suffix_b);
    if (w == NULL || w->n_dims != 2)
        return inki_fail(error, INK_E_FORMAT, a->name, a->offset,
                         "the model has no such matrix: the adapter is of another one");
    // llama.cpp's adapters have the two matrices of the embedding exchanged.
    if (strcmp(w->name, "token_embd.weight") == 0)
        return inki_fail(error, INK_E_UNSUPPORTED, a->name, a->offset,
                         "an adapter of the embedding cannot be merged");
    if (a->n_dims != 2 || b->n_dims != 2 || a->dims[0] != w->dims[0] || b->dims[1] != w->dims[1] ||
        a->dims[1] != b->dims[0])
        return inki_fail(error, INK_E_FORMAT, a->name, a->offset,
                         "[%llu, %llu] and [%llu, %llu] do not fit the model's [%llu, %llu]: the "
                         "adapter is of another one",
                         dim(a, 1), dim(a, 0), dim(b, 1), dim(b, 0), dim(w, 1), dim(w, 0));
    if (a->dims[1] > MAX_RANK)
        return inki_fail(error, INK_E_LIMIT, a->name, a->offset, "rank %llu, at most %d is taken",
                         dim(a, 1), MAX_RANK);
    return INK_OK;
}

static ink_status check_tensor(const merge_job *job, const inki_gguf *adapter,
                               const inki_gguf_tensor *t, ink_error *error) {
    if (job->kernels.dequantize[t->type] == NULL)
        return inki_fail(error, INK_E_UNSUPPORTED, t->name, 0, "its type %s cannot be read",
                         inki_type_of(t->type).name);
    if (has_suffix(t->name, suffix_a)) return check_pair(job, adapter, t, error);
    if (!has_suffix(t->name, suffix_b))
        return inki_fail(error, INK_E_UNSUPPORTED, t->name, t->offset,
                         "a name that ends with %s or %s was expected", suffix_a, suffix_b);
    if (find_relative(adapter, t->name, suffix_a) == NULL)
        return inki_fail(error, INK_E_FORMAT, t->name, t->offset, "has no partner %s", suffix_a);
    return INK_OK;
}

static ink_status check_adapter(const merge_job *job, merge_file *file, ink_error *error) {
    const inki_gguf *gguf = &file->gguf;
    ink_status status = expect_text(gguf, "general.type", "adapter", "an adapter", error);
    if (status == INK_OK)
        status = expect_text(gguf, "general.architecture", "gpt2", "an adapter", error);
    if (status == INK_OK) status = expect_text(gguf, "adapter.type", "lora", "an adapter", error);
    if (status == INK_OK)
        status = inki_gguf_get_f32(gguf, "adapter.lora.alpha", false, &file->alpha, error);
    if (status == INK_OK && gguf->n_tensors == 0)
        status = inki_fail(error, INK_E_FORMAT, NULL, 0, "the adapter holds no tensors");
    for (size_t i = 0; i < gguf->n_tensors && status == INK_OK; i++)
        status = check_tensor(job, gguf, &gguf->tensors[i], error);
    return status;
}

static ink_status open_adapters(merge_job *job, ink_error *error) {
    const inki_merge_adapter *adapters = job->how->adapters;
    ink_status status = INK_OK;
    for (size_t i = 0; i < job->how->n && status == INK_OK; i++) {
        merge_file *file = &job->adapters[i];
        file->scale = adapters[i].scale;
        status = open_file(file, adapters[i].path, &job->mem, error);
        if (status != INK_OK) break;
        status = check_adapter(job, file, error);
        if (status != INK_OK) inki_error_prefix(error, adapters[i].path);
    }
    return status;
}

// --- rows ----------------------------------------------------------------------------------------

static const void *row_of(const inki_gguf_tensor *t, uint64_t row) {
    uint64_t bytes = 0;
    inki_type_row_bytes(t->type, t->dims[0], &bytes);
    return (const uint8_t *)t->data + row * bytes;
}

static void read_row(const merge_job *job, float *out, const inki_gguf_tensor *t, uint64_t row) {
    job->kernels.dequantize[t->type](out, row_of(t, row), (size_t)t->dims[0]);
}

static void add_adapter_row(merge_job *job, const merge_file *file, const inki_gguf_tensor *a,
                            const inki_gguf_tensor *b, uint64_t row) {
    const size_t n = (size_t)a->dims[0], rank = (size_t)a->dims[1];
    const float each = file->alpha != 0 ? file->scale * file->alpha / (float)rank : file->scale;
    read_row(job, job->b, b, row);
    for (size_t k = 0; k < rank; k++) {
        const float by = each * job->b[k];
        read_row(job, job->factor, a, k);
        for (size_t i = 0; i < n; i++) job->row[i] += by * job->factor[i];
    }
}

// The pair for a tensor of the model; false: none.
static bool find_pair(const merge_file *file, const inki_gguf_tensor *w, const inki_gguf_tensor **a,
                      const inki_gguf_tensor **b) {
    char name[INKI_GGUF_MAX_NAME + 1];
    const size_t n = strlen(w->name);
    if (n + SUFFIX >= sizeof name) return false;
    memcpy(name, w->name, n);
    memcpy(name + n, suffix_a, sizeof suffix_a);
    *a = inki_gguf_find_tensor(&file->gguf, name);
    if (*a == NULL) return false;
    *b = find_relative(&file->gguf, name, suffix_b);
    return true;
}

// job->row = the tensor's row with all adapters in it.
static void make_row(merge_job *job, const inki_gguf_tensor *w, uint64_t row) {
    const inki_gguf_tensor *a = NULL, *b = NULL;
    read_row(job, job->row, w, row);
    for (size_t i = 0; i < job->how->n; i++)
        if (find_pair(&job->adapters[i], w, &a, &b))
            add_adapter_row(job, &job->adapters[i], a, b, row);
}

static ink_status advance(merge_job *job, uint64_t elems, const char *what, ink_error *error) {
    const inki_merge *how = job->how;
    job->elems_done += (double)elems;
    if (how->progress == NULL ||
        how->progress(how->user, job->elems_done / job->elems_total, what) == 0)
        return INK_OK;
    return inki_fail(error, INK_E_CANCELLED, NULL, 0, "cancelled");
}

// --- what each tensor becomes --------------------------------------------------------------------

static uint64_t rows_of(const inki_gguf_tensor *t) { return t->dims[1] * t->dims[2] * t->dims[3]; }

static bool is_matrix(const inki_gguf_tensor *t) {
    return t->n_dims == 2 && strcmp(t->name, "position_embd.weight") != 0;
}

static uint32_t wanted_type(const merge_job *job, const merge_item *item) {
    const uint32_t own = item->from->type;
    if (job->how->type != UINT32_MAX && is_matrix(item->from)) return job->how->type;
    return !item->touched || inki_export_writes(own) ? own : (uint32_t)INKI_F16;
}

// Every number of what changes is made once before anything is written: what is not finite ends it,
// and what a type cannot hold gets another.
static ink_status plan_item(merge_job *job, merge_item *item, bool is_head, ink_error *error) {
    const inki_gguf_tensor *t = item->from, *a = NULL, *b = NULL;
    for (size_t i = 0; i < job->how->n; i++)
        item->touched = item->touched || find_pair(&job->adapters[i], t, &a, &b);
    const uint32_t wanted = wanted_type(job, item);
    item->type = wanted;
    if (!item->touched && wanted == t->type)
        return advance(job, rows_of(t) * t->dims[0], t->name, error);
    float largest = 0;
    for (uint64_t row = 0; row < rows_of(t); row++) {
        make_row(job, t, row);
        const ink_status status = advance(job, t->dims[0], t->name, error);
        if (status != INK_OK) return status;
        if (!job->kernels.all_finite(job->row, (size_t)t->dims[0]))
            return inki_fail(error, INK_E_NUMERIC, t->name, 0,
                             "row %llu becomes NaN or infinite, finite numbers were expected",
                             (unsigned long long)row);
        for (size_t i = 0; i < t->dims[0]; i++) {
            const float magnitude = inki_f32_from_bits(inki_f32_bits(job->row[i]) & 0x7fffffffu);
            largest = magnitude > largest ? magnitude : largest;
        }
    }
    item->type = inki_export_choose(wanted, t->dims[0], largest, is_head);
    return INK_OK;
}

static ink_status merge_plan(merge_job *job, ink_error *error) {
    const inki_gguf *gguf = &job->model.gguf;
    const bool own_head = inki_gguf_find_tensor(gguf, "output.weight") != NULL;
    const char *head = own_head ? "output.weight" : "token_embd.weight";
    for (size_t i = 0; i < gguf->n_tensors; i++) {
        job->items[i].from = &gguf->tensors[i];
        const ink_status status =
            plan_item(job, &job->items[i], strcmp(gguf->tensors[i].name, head) == 0, error);
        if (status != INK_OK) return status;
    }
    return INK_OK;
}

// --- the file ------------------------------------------------------------------------------------

// Of the file as a whole: what was asked for, else what it was unless a tensor had to change.
static uint32_t kind_that_changed(const merge_job *job) {
    if (job->how->type != UINT32_MAX) return job->how->type;
    for (size_t i = 0; i < job->model.gguf.n_tensors; i++)
        if (job->items[i].type != job->items[i].from->type) return INKI_F16;
    return UINT32_MAX;
}

static void add_metadata(const merge_job *job, inki_gguf_writer *writer) {
    const uint32_t kind = kind_that_changed(job);
    for (size_t i = 0; i < job->model.gguf.n_kv; i++) {
        const inki_gguf_kv *kv = &job->model.gguf.kv[i];
        if (kind == UINT32_MAX || (!inki_str_equal(kv->key, "general.file_type") &&
                                   !inki_str_equal(kv->key, "general.quantization_version")))
            inki_gguf_add_kv(writer, kv);
    }
    if (kind != UINT32_MAX) inki_export_add_kind(writer, kind);
}

static ink_status write_item(merge_job *job, const merge_item *item, inki_gguf_writer *writer,
                             ink_error *error) {
    const inki_gguf_tensor *t = item->from;
    uint64_t bytes = 0;
    inki_type_row_bytes(item->type, t->dims[0], &bytes);
    for (uint64_t row = 0; row < rows_of(t); row++) {
        const bool as_it_is = !item->touched && item->type == t->type;
        if (!as_it_is) {
            make_row(job, t, row);
            inki_quantize_row(item->type, job->made, job->row, (size_t)t->dims[0]);
        }
        ink_status status = inki_gguf_writer_data(writer, as_it_is ? row_of(t, row) : job->made,
                                                  (size_t)bytes, error);
        if (status == INK_OK) status = advance(job, t->dims[0], t->name, error);
        if (status != INK_OK) return status;
    }
    return INK_OK;
}

static ink_status merge_write(merge_job *job, ink_error *error) {
    inki_gguf_writer *writer = NULL;
    const size_t n = job->model.gguf.n_tensors;
    ink_status status = inki_gguf_writer_new(&writer, job->how->out, &job->mem, error);
    if (status != INK_OK) return status;
    add_metadata(job, writer);
    for (size_t i = 0; i < n; i++) {
        const inki_gguf_tensor *t = job->items[i].from;
        inki_gguf_add_tensor(writer, t->name, job->items[i].type, t->dims, t->n_dims);
    }
    status = inki_gguf_writer_begin(writer, error);
    for (size_t i = 0; i < n && status == INK_OK; i++)
        status = write_item(job, &job->items[i], writer, error);
    if (status == INK_OK) return inki_gguf_writer_finish(writer, error);
    inki_gguf_writer_discard(writer);
    return status;
}

static ink_status take_memory(merge_job *job, ink_error *error) {
    const inki_gguf *gguf = &job->model.gguf;
    for (size_t i = 0; i < gguf->n_tensors; i++) {
        const inki_gguf_tensor *t = &gguf->tensors[i];
        if (t->dims[0] > job->widest) job->widest = (size_t)t->dims[0];
        job->elems_total += 2 * (double)(rows_of(t) * t->dims[0]);
    }
    job->items = inki_alloc_zero(&job->mem, gguf->n_tensors, sizeof *job->items);
    job->row = inki_alloc(&job->mem, job->widest, sizeof *job->row);
    job->factor = inki_alloc(&job->mem, job->widest, sizeof *job->factor);
    job->made = inki_alloc(&job->mem, job->widest, sizeof(float));
    job->b = inki_alloc(&job->mem, MAX_RANK, sizeof *job->b);
    if (job->items == NULL || job->row == NULL || job->factor == NULL || job->made == NULL ||
        job->b == NULL)
        return inki_fail_nomem(error, job->widest * sizeof(float));
    return INK_OK;
}

static void merge_release(merge_job *job) {
    inki_release(&job->mem, job->items, job->model.gguf.n_tensors, sizeof *job->items);
    inki_release(&job->mem, job->row, job->widest, sizeof *job->row);
    inki_release(&job->mem, job->factor, job->widest, sizeof *job->factor);
    inki_release(&job->mem, job->made, job->widest, sizeof(float));
    inki_release(&job->mem, job->b, MAX_RANK, sizeof *job->b);
    for (size_t i = 0; job->adapters != NULL && i < job->how->n; i++) close_file(&job->adapters[i]);
    inki_release(&job->mem, job->adapters, job->how->n, sizeof *job->adapters);
    close_file(&job->model);
}

ink_status inki_merge_files(const inki_merge *how, ink_error *error) {
    if (how->n == 0 || how->n > MAX_MERGED)
        return inki_fail(error, INK_E_ARG, NULL, 0, "1 to %d adapters were expected", MAX_MERGED);
    if (how->type != UINT32_MAX && !inki_export_writes(how->type))
        return inki_fail(error, INK_E_ARG, "type", 0, "F32, F16, BF16, Q8_0 or Q4_0 was expected");
    merge_job job = {.how = how, .mem = how->mem != NULL ? *how->mem : inki_mem_from(NULL)};
    // Portable, whatever the processor has: the file is then the same everywhere.
    inki_kernels_init(&job.kernels, inki_level_mask(INKI_LEVEL_PORTABLE));
    job.adapters = inki_alloc_zero(&job.mem, how->n, sizeof *job.adapters);
    if (job.adapters == NULL) return inki_fail_nomem(error, how->n * sizeof *job.adapters);
    ink_status status = open_model(&job, error);
    if (status == INK_OK) status = open_adapters(&job, error);
    if (status == INK_OK) status = take_memory(&job, error);
    if (status == INK_OK) status = merge_plan(&job, error);
    if (status == INK_OK) status = merge_write(&job, error);
    merge_release(&job);
    return status;
}
