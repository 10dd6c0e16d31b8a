// SPDX-License-Identifier: MIT
// The file goes through in strips: tensors are streams of blocks, since no block crosses a row. The
// numbers are read with pread and not from the mapping, which is for the metadata: what was read of
// a mapping counts as memory in use, and a file that somebody shortens would end the program.
#include "convert/quantize.h"

#include "base/half.h"
#include "convert/in_file.h"
#include "convert/notes.h"
#include "convert/quantize_plan.h"
#include "convert/quantize_rows.h"
#include "kernels/kernels.h"
#include "os/pool.h"

#include <stdio.h>
#include <string.h>

enum { STRIP_ELEMS = 1 << 18, GRAIN = 256, QUANTIZATION_VERSION = 2, MAX_LAYERS = 65536 };

// Of one thread.
typedef struct part_result {
    uint32_t largest; // bits of the largest magnitude
    double power, error;
    bool failed;
} part_result;

typedef struct quantize_job {
    const inki_quantize_options *options;
    inki_convert_options tell; // what inki_note and inki_progress look at
    inki_mem mem;
    inki_in_file in;
    inki_file map;
    inki_gguf gguf;
    inki_kernels kernels;
    inki_pool *pool;
    inki_quantize_item *items; // [gguf.n_tensors]
    inki_quantize_result *result;
    double done, total; // progress
    // A strip: as read, as floats, as written and read back.
    uint8_t *raw, *made;
    float *x, *back;
    size_t n;
    uint32_t type_in, type_out;
    part_result parts[INKI_POOL_MAX];
} quantize_job;

static size_t bytes_of(uint32_t type, size_t n) {
    uint64_t bytes = 0;
    inki_type_row_bytes(type, n, &bytes);
    return (size_t)bytes;
}

static uint64_t elems_of(const inki_gguf_tensor *t) {
    return t->dims[0] * t->dims[1] * t->dims[2] * t->dims[3];
}

// --- what the threads do ----------------------------------------------------------------------

static void dequantize_part(quantize_job *job, size_t begin, size_t end) {
    job->kernels.dequantize[job->type_in](job->x + begin, job->raw + bytes_of(job->type_in, begin),
                                          end - begin);
}

static void scan_part(void *arg, uint32_t part, uint32_t n_parts) {
    quantize_job *job = arg;
    size_t begin, end;
    inki_pool_share(job->n, GRAIN, part, n_parts, &begin, &end);
    if (begin >= end) return;
    dequantize_part(job, begin, end);
    uint32_t largest = job->parts[part].largest;
    for (size_t i = begin; i < end; i++) {
        const uint32_t bits = inki_f32_bits(job->x[i]) & 0x7fffffff;
        largest = bits > largest ? bits : largest;
    }
    job->parts[part].largest = largest;
}

static void quantize_part(void *arg, uint32_t part, uint32_t n_parts) {
    quantize_job *job = arg;
    size_t begin, end;
    inki_pool_share(job->n, GRAIN, part, n_parts, &begin, &end);
    if (begin >= end) return;
    part_result *result = &job->parts[part];
    uint8_t *row = job->made + bytes_of(job->type_out, begin);
    dequantize_part(job, begin, end);
    const bool fits = job->type_out == INKI_F16
                          ? inki_quantize_row(INKI_F16, row, job->x + begin, end - begin)
                          : inki_quantize_row_fit(job->type_out, row, job->x + begin, end - begin);
    if (!fits) {
        result->failed = true;
        return;
    }
    job->kernels.dequantize[job->type_out](job->back + begin, row, end - begin);
    for (size_t i = begin; i < end; i++) {
        const double x = (double)job->x[i], e = x - (double)job->back[i];
        result->power += x * x;
        result->error += e * e;
    }
}

static void run_parts(quantize_job *job, inki_part_fn fn) {
    const bool pooled = inki_pool_enter(job->pool);
    inki_pool_run(pooled ? job->pool : NULL, pooled ? inki_pool_n_threads(job->pool) : 1, fn, job);
    if (pooled) inki_pool_leave(job->pool);
}

// --- a tensor in strips -----------------------------------------------------------------------

static ink_status read_strip(quantize_job *job, const inki_gguf_tensor *t, uint64_t at,
                             ink_error *error) {
    const uint64_t left = elems_of(t) - at;
    job->n = left < STRIP_ELEMS ? (size_t)left : STRIP_ELEMS;
    job->type_in = t->type;
    // A strip is a multiple of every block, so this offset is exact.
    const uint64_t offset =
        at / inki_type_of(t->type).block_elems * inki_type_of(t->type).block_bytes;
    return inki_in_read(&job->in, t->offset + offset, job->raw, bytes_of(t->type, job->n), error);
}

static ink_status advance(quantize_job *job, double work, const char *what, ink_error *error) {
    job->done += work;
    return inki_progress(&job->tell, job->total > 0 ? job->done / job->total : 1, what, error);
}

enum { SCAN_WORK = 1, COPY_WORK = 1, QUANTIZE_WORK = 30 }; // an element, roughly

static ink_status scan_tensor(quantize_job *job, inki_quantize_item *item, ink_error *error) {
    const inki_gguf_tensor *t = item->from;
    memset(job->parts, 0, sizeof job->parts);
    for (uint64_t at = 0; at < elems_of(t); at += job->n) {
        ink_status status = read_strip(job, t, at, error);
        if (status == INK_OK) run_parts(job, scan_part);
        if (status == INK_OK) status = advance(job, SCAN_WORK * (double)job->n, t->name, error);
        if (status != INK_OK) return status;
    }
    uint32_t largest = 0;
    for (size_t i = 0; i < INKI_POOL_MAX; i++)
        largest = job->parts[i].largest > largest ? job->parts[i].largest : largest;
    if (largest >= 0x7f800000u) {
        inki_fail(error, INK_E_NUMERIC, t->name, t->offset,
                  "holds NaN or infinity, finite numbers were expected");
        inki_error_prefix(error, job->options->in);
        return INK_E_NUMERIC;
    }
    inki_quantize_check_reach(item, inki_f32_from_bits(largest));
    return INK_OK;
}

static ink_status write_strip(quantize_job *job, const inki_quantize_item *item,
                              inki_gguf_writer *writer, ink_error *error) {
    if (item->type == item->from->type)
        return inki_gguf_writer_data(writer, job->raw, bytes_of(item->type, job->n), error);
    job->type_out = item->type;
    run_parts(job, quantize_part);
    // Seen by the scan, so the file is another one by now.
    for (size_t i = 0; i < INKI_POOL_MAX; i++)
        if (job->parts[i].failed)
            return inki_fail(error, INK_E_NUMERIC, item->from->name, item->from->offset,
                             "changed while it was read");
    return inki_gguf_writer_data(writer, job->made, bytes_of(item->type, job->n), error);
}

static double work_of(const inki_quantize_item *item) {
    return item->type == item->from->type ? COPY_WORK : QUANTIZE_WORK;
}

static ink_status write_tensor(quantize_job *job, const inki_quantize_item *item,
                               inki_gguf_writer *writer, ink_error *error) {
    const inki_gguf_tensor *t = item->from;
    memset(job->parts, 0, sizeof job->parts);
    for (uint64_t at = 0; at < elems_of(t); at += job->n) {
        ink_status status = read_strip(job, t, at, error);
        if (status == INK_OK) status = write_strip(job, item, writer, error);
        if (status == INK_OK) status = advance(job, work_of(item) * (double)job->n, t->name, error);
        if (status != INK_OK) return status;
    }
    for (size_t i = 0; i < INKI_POOL_MAX; i++) {
        job->result->groups[item->group].power += job->parts[i].power;
        job->result->groups[item->group].error += job->parts[i].error;
    }
    return INK_OK;
}

// --- what is told -----------------------------------------------------------------------------

typedef struct layer_list {
    char text[128];
    size_t used;
    uint32_t first, last; // of the run that is not written yet
    bool open, cut;
} layer_list;

static void close_run(layer_list *list) {
    char run[32];
    if (!list->open) return;
    int n = snprintf(run, sizeof run, "%s%u", list->used > 0 ? "," : "", (unsigned)list->first);
    if (list->last > list->first)
        n = snprintf(run, sizeof run, "%s%u-%u", list->used > 0 ? "," : "", (unsigned)list->first,
                     (unsigned)list->last);
    list->open = false;
    if (list->used + (size_t)n + 4 > sizeof list->text) {
        if (!list->cut) memcpy(list->text + list->used, ",..", 4);
        list->cut = true;
        return;
    }
    memcpy(list->text + list->used, run, (size_t)n + 1);
    list->used += (size_t)n;
}

static void add_layer(layer_list *list, uint32_t layer) {
    if (list->cut) return;
    if (list->open && layer == list->last + 1) {
        list->last = layer;
        return;
    }
    close_run(list);
    list->first = list->last = layer;
    list->open = true;
}

static void note_other_type(const quantize_job *job, const inki_quantize_item *item,
                            const char *name, uint64_t n) {
    char many[32] = "";
    if (n > 1) snprintf(many, sizeof many, " (%llu tensors)", (unsigned long long)n);
    if (item->too_large)
        inki_note(&job->tell, "%s: holds values too large for %s, kept as %s%s", name,
                  inki_type_of(item->wanted).name, inki_type_of(item->type).name, many);
    else
        inki_note(&job->tell, "%s: rows of %llu do not fit %s (blocks of %u), written as %s%s",
                  name, (unsigned long long)item->from->dims[0], inki_type_of(item->wanted).name,
                  (unsigned)inki_type_of(item->wanted).block_elems, inki_type_of(item->type).name,
                  many);
}

// The first tensor of a group speaks for all that share its role and reason.
static void note_group(const quantize_job *job, size_t first) {
    const inki_quantize_item *item = &job->items[first];
    layer_list layers = {.used = 0};
    char name[sizeof layers.text + INKI_GGUF_MAX_NAME + 8];
    uint64_t n = 0;
    for (size_t i = first; i < job->gguf.n_tensors; i++) {
        if (job->items[i].group != item->group) continue;
        if (job->items[i].layer != UINT32_MAX) add_layer(&layers, job->items[i].layer);
        n++;
    }
    close_run(&layers);
    snprintf(name, sizeof name, "blk.%s.%s", layers.text, item->role);
    note_other_type(job, item, n > 1 ? name : item->from->name, n);
}

static void tell_types(const quantize_job *job) {
    const bool too_many = job->result->n_groups == INKI_QUANTIZE_MAX_GROUPS;
    bool seen[INKI_QUANTIZE_MAX_GROUPS] = {false};
    uint64_t quantized = 0;
    const char *type = NULL;
    for (size_t i = 0; i < job->gguf.n_tensors; i++) {
        const inki_quantize_item *item = &job->items[i];
        const bool block = inki_type_of(item->from->type).block_elems > 1;
        if (block && item->type != item->from->type) {
            type = type == NULL ? inki_type_of(item->from->type).name : type;
            quantized++;
        }
        if (item->wanted == item->type) continue;
        if (too_many)
            note_other_type(job, item, item->from->name, 1);
        else if (!seen[item->group])
            note_group(job, i);
        seen[item->group] = true;
    }
    if (quantized > 0)
        inki_note(&job->tell,
                  "warning: %llu tensors are quantised already (%s): the errors add up, better "
                  "start from F32, F16 or BF16",
                  (unsigned long long)quantized, type);
}

// --- the file ---------------------------------------------------------------------------------

static ink_status check_model(quantize_job *job, uint32_t *n_layers, ink_error *error) {
    inki_str architecture = {NULL, 0};
    ink_status status =
        inki_gguf_get_str(&job->gguf, "general.architecture", true, &architecture, error);
    if (status != INK_OK) return status;
    if (!inki_str_equal(architecture, "gpt2"))
        return inki_fail(error, INK_E_UNSUPPORTED, "general.architecture", 0,
                         "\"%.*s\", but \"gpt2\" was expected",
                         (int)(architecture.bytes < 60 ? architecture.bytes : 60),
                         architecture.data);
    status = inki_gguf_get_u32(&job->gguf, "gpt2.block_count", true, n_layers, error);
    if (status == INK_OK && *n_layers > MAX_LAYERS)
        return inki_fail(error, INK_E_LIMIT, "gpt2.block_count", 0, "%u, at most %d were expected",
                         (unsigned)*n_layers, MAX_LAYERS);
    for (size_t i = 0; i < job->gguf.n_tensors && status == INK_OK; i++)
        if (job->kernels.dequantize[job->gguf.tensors[i].type] == NULL)
            status = inki_fail(error, INK_E_UNSUPPORTED, job->gguf.tensors[i].name, 0,
                               "its type %s cannot be read",
                               inki_type_of(job->gguf.tensors[i].type).name);
    return status;
}

// Also what is wrong inside of the file is told with its path.
static ink_status open_input(quantize_job *job, uint32_t *n_layers, ink_error *error) {
    const char *path = job->options->in;
    if (inki_in_same(NULL, path, job->options->out))
        return inki_fail(error, INK_E_ARG, job->options->out, 0,
                         "the output is the file to read, another name was expected");
    ink_status status = inki_in_open(&job->in, NULL, path, error);
    if (status == INK_OK && job->in.bytes == 0)
        status = inki_fail(error, INK_E_IO, path, 0, "the file is empty");
    if (status != INK_OK) return status;
    status = inki_os_open_fd(&job->map, job->in.fd, 0, 0, false, &job->mem, error);
    if (status == INK_OK)
        status = inki_gguf_open(&job->gguf, job->map.data, job->map.bytes, &job->mem, error);
    if (status == INK_OK) status = check_model(job, n_layers, error);
    if (status != INK_OK) inki_error_prefix(error, path);
    return status;
}

static ink_status take_memory(quantize_job *job, ink_error *error) {
    const size_t n = job->gguf.n_tensors > 0 ? job->gguf.n_tensors : 1;
    job->items = inki_alloc_zero(&job->mem, n, sizeof *job->items);
    job->raw = inki_alloc(&job->mem, STRIP_ELEMS, sizeof(float));
    job->made = inki_alloc(&job->mem, STRIP_ELEMS, sizeof(float));
    job->x = inki_alloc(&job->mem, STRIP_ELEMS, sizeof(float));
    job->back = inki_alloc(&job->mem, STRIP_ELEMS, sizeof(float));
    if (job->items == NULL || job->raw == NULL || job->made == NULL || job->x == NULL ||
        job->back == NULL)
        return inki_fail_nomem(error, STRIP_ELEMS * sizeof(float));
    const uint32_t n_threads =
        job->options->n_threads > 0 ? job->options->n_threads : inki_os_n_cpus();
    return inki_pool_new(&job->pool, &job->mem,
                         n_threads < INKI_POOL_MAX ? n_threads : INKI_POOL_MAX, error);
}

static ink_status plan(quantize_job *job, uint32_t n_layers, ink_error *error) {
    const size_t n = job->gguf.n_tensors;
    ink_status status = INK_OK;
    inki_quantize_plan(job->items, &job->gguf, job->options->preset, n_layers);
    for (size_t i = 0; i < n; i++)
        job->total += (double)elems_of(job->items[i].from) * (SCAN_WORK + work_of(&job->items[i]));
    for (size_t i = 0; i < n && status == INK_OK; i++)
        status = scan_tensor(job, &job->items[i], error);
    if (status != INK_OK) return status;
    inki_quantize_make_groups(job->items, n, job->result);
    tell_types(job);
    return INK_OK;
}

static void add_metadata(const quantize_job *job, inki_gguf_writer *writer) {
    for (size_t i = 0; i < job->gguf.n_kv; i++) {
        const inki_gguf_kv *kv = &job->gguf.kv[i];
        if (!inki_str_equal(kv->key, "general.file_type") &&
            !inki_str_equal(kv->key, "general.quantization_version"))
            inki_gguf_add_kv(writer, kv);
    }
    inki_gguf_add_u32(writer, "general.file_type", inki_quantize_file_type(job->options->preset));
    inki_gguf_add_u32(writer, "general.quantization_version", QUANTIZATION_VERSION);
}

static ink_status write_file(quantize_job *job, ink_error *error) {
    inki_gguf_writer *writer = NULL;
    ink_status status = inki_gguf_writer_new(&writer, job->options->out, &job->mem, error);
    if (status != INK_OK) return status;
    add_metadata(job, writer);
    for (size_t i = 0; i < job->gguf.n_tensors; i++) {
        const inki_gguf_tensor *t = job->items[i].from;
        inki_gguf_add_tensor(writer, t->name, job->items[i].type, t->dims, t->n_dims);
    }
    status = inki_gguf_writer_begin(writer, error);
    for (size_t i = 0; i < job->gguf.n_tensors && status == INK_OK; i++)
        status = write_tensor(job, &job->items[i], writer, error);
    if (status == INK_OK) return inki_gguf_writer_finish(writer, error);
    inki_gguf_writer_discard(writer);
    return status;
}

static void release(quantize_job *job) {
    if (job->pool != NULL) inki_pool_free(job->pool);
    inki_release(&job->mem, job->items, job->gguf.n_tensors > 0 ? job->gguf.n_tensors : 1,
                 sizeof *job->items);
    inki_release(&job->mem, job->raw, STRIP_ELEMS, sizeof(float));
    inki_release(&job->mem, job->made, STRIP_ELEMS, sizeof(float));
    inki_release(&job->mem, job->x, STRIP_ELEMS, sizeof(float));
    inki_release(&job->mem, job->back, STRIP_ELEMS, sizeof(float));
    inki_gguf_close(&job->gguf);
    inki_os_close(&job->map);
    inki_in_close(&job->in);
}

static ink_status quantize(quantize_job *job, ink_error *error) {
    uint32_t n_layers = 0;
    // Portable, whatever the processor has: the numbers read are then the same everywhere.
    inki_kernels_init(&job->kernels, inki_level_mask(INKI_LEVEL_PORTABLE));
    ink_status status = open_input(job, &n_layers, error);
    job->result->file_bytes_in = job->in.bytes;
    if (status == INK_OK) status = take_memory(job, error);
    if (status == INK_OK) status = plan(job, n_layers, error);
    return status == INK_OK ? write_file(job, error) : status;
}

ink_status inki_quantize_file(const inki_quantize_options *o, inki_quantize_result *result,
                              ink_error *error) {
    if (o == NULL || o->in == NULL || o->in[0] == 0 || o->out == NULL || o->out[0] == 0)
        return inki_fail(error, INK_E_ARG, NULL, 0,
                         "a file to read and a file to write were expected");
    if ((unsigned)o->preset >= INKI_QUANTIZE_PRESETS)
        return inki_fail(error, INK_E_ARG, "type", 0,
                         "q8_0, q4_0, q4_k, q6_k or mixed was expected");
    const inki_mem mem = o->mem != NULL ? *o->mem : inki_mem_from(NULL);
    quantize_job *job = inki_alloc_zero(&mem, 1, sizeof *job);
    inki_quantize_result *own = inki_alloc_zero(&mem, 1, sizeof *own);
    ink_status status = INK_OK;
    if (job == NULL || own == NULL) {
        status = inki_fail_nomem(error, sizeof *own);
    } else {
        job->options = o;
        job->mem = mem;
        job->result = own;
        job->tell = (inki_convert_options){
            .out = o->out, .progress = o->progress, .note = o->note, .user = o->user};
        status = quantize(job, error);
        if (status == INK_OK && result != NULL) *result = *own;
        release(job);
    }
    inki_release(&mem, job, 1, sizeof *job);
    inki_release(&mem, own, 1, sizeof *own);
    return status;
}
