// SPDX-License-Identifier: MIT
#include "convert/checkpoint.h"

#include "base/half.h"
#include "convert/json_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char single_file[] = "model.safetensors";
static const char index_file[] = "model.safetensors.index.json";

enum { RAW_BYTES = 1 << 18, INDEX_MAX_BYTES = 64 << 20 };

static int by_name(const void *a, const void *b) {
    return strcmp(((const inki_source_tensor *)a)->name, ((const inki_source_tensor *)b)->name);
}

// Models saved from GPT2LMHeadModel have the prefix, those from GPT2Model have not.
static const char *plain_name(const char *name) {
    static const char prefix[] = "transformer.";
    return strncmp(name, prefix, sizeof prefix - 1) == 0 ? name + sizeof prefix - 1 : name;
}

const inki_source_tensor *inki_checkpoint_find(const inki_checkpoint *c, const char *name) {
    const inki_source_tensor key = {.name = name};
    return c->n == 0 ? NULL : bsearch(&key, c->tensors, c->n, sizeof key, by_name);
}

// The index comes with the model, so a name in it must not reach another directory.
static ink_status check_shard_name(const char *name, const char *tensor, ink_error *error) {
    const size_t n = strlen(name), suffix = strlen(".safetensors");
    const bool fine = n > suffix && n <= INKI_IN_NAME_MAX && name[0] != '.' &&
                      strstr(name, "..") == NULL && strpbrk(name, "/\\:") == NULL &&
                      strcmp(name + n - suffix, ".safetensors") == 0;
    if (fine) return INK_OK;
    return inki_fail(
        error, INK_E_FORMAT, index_file, 0,
        "weight_map of %.60s names the file \"%.60s\", a plain *.safetensors name was expected",
        tensor, name);
}

static const inki_safetensors *find_shard(const inki_checkpoint *c, const char *name) {
    for (size_t i = 0; i < c->n_shards; i++)
        if (strcmp(c->shards[i].file.name, name) == 0) return &c->shards[i];
    return NULL;
}

static ink_status open_shard(inki_checkpoint *c, const char *dir, const char *name,
                             ink_error *error) {
    if (c->n_shards == INKI_CHECKPOINT_MAX_SHARDS)
        return inki_fail(error, INK_E_LIMIT, index_file, 0, "names more than %d files",
                         INKI_CHECKPOINT_MAX_SHARDS);
    const ink_status status =
        inki_safetensors_open(&c->shards[c->n_shards], dir, name, &c->mem, error);
    if (status == INK_OK) c->n_shards++;
    return status;
}

static ink_status open_shards(inki_checkpoint *c, const char *dir, const json_t *map,
                              ink_error *error) {
    const char *tensor;
    json_t *file;
    json_object_foreach((json_t *)map, tensor, file) {
        if (!json_is_string(file))
            return inki_fail(error, INK_E_FORMAT, index_file, 0,
                             "weight_map of %.80s is %s, a file name was expected", tensor,
                             inki_json_kind(file));
        const char *name = json_string_value(file);
        ink_status status = check_shard_name(name, tensor, error);
        if (status == INK_OK && find_shard(c, name) == NULL)
            status = open_shard(c, dir, name, error);
        if (status != INK_OK) return status;
    }
    return INK_OK;
}

static ink_status collect(inki_checkpoint *c, ink_error *error) {
    size_t n = 0;
    for (size_t i = 0; i < c->n_shards; i++) n += c->shards[i].n;
    if (n == 0) return inki_fail(error, INK_E_FORMAT, single_file, 0, "holds no tensors");
    c->tensors = inki_alloc(&c->mem, n, sizeof *c->tensors);
    if (c->tensors == NULL) return inki_fail_nomem(error, n * sizeof *c->tensors);
    c->n = n;
    inki_source_tensor *next = c->tensors;
    for (size_t i = 0; i < c->n_shards; i++) {
        for (size_t k = 0; k < c->shards[i].n; k++) {
            const inki_safetensor *t = &c->shards[i].tensors[k];
            *next++ = (inki_source_tensor){plain_name(t->name), t, &c->shards[i].file};
        }
    }
    qsort(c->tensors, n, sizeof *c->tensors, by_name);
    for (size_t i = 1; i < n; i++) {
        if (strcmp(c->tensors[i - 1].name, c->tensors[i].name) == 0)
            return inki_fail(
                error, INK_E_FORMAT, c->tensors[i].file->name, 0,
                "tensor %.80s is there twice (with and without \"transformer.\", or in two files)",
                c->tensors[i].name);
    }
    return INK_OK;
}

// Each tensor must be in the file that the index gives for it: a shard of another download would
// otherwise go unnoticed.
static ink_status check_index(const inki_checkpoint *c, const json_t *map, ink_error *error) {
    const char *tensor;
    json_t *file;
    json_object_foreach((json_t *)map, tensor, file) {
        const inki_source_tensor *t = inki_checkpoint_find(c, plain_name(tensor));
        if (t == NULL || strcmp(t->tensor->name, tensor) != 0 ||
            strcmp(t->file->name, json_string_value(file)) != 0)
            return inki_fail(error, INK_E_FORMAT, json_string_value(file), 0,
                             "tensor %.80s is missing, %s places it here", tensor, index_file);
    }
    return INK_OK;
}

static ink_status open_indexed(inki_checkpoint *c, const char *dir, ink_error *error) {
    json_t *index = NULL;
    ink_status status = inki_json_load(&index, dir, index_file, INDEX_MAX_BYTES, &c->mem, error);
    if (status != INK_OK) return status;
    const json_t *map = json_object_get(index, "weight_map");
    if (!json_is_object(map) || json_object_size(map) == 0)
        status = inki_fail(error, INK_E_FORMAT, index_file, 0,
                           "weight_map is %s, an object of tensor and file names was expected",
                           json_is_object(map) ? "empty" : inki_json_kind(map));
    if (status == INK_OK) status = open_shards(c, dir, map, error);
    if (status == INK_OK) status = collect(c, error);
    if (status == INK_OK) status = check_index(c, map, error);
    json_decref(index);
    return status;
}

ink_status inki_checkpoint_open(inki_checkpoint *out, const char *dir, const inki_mem *mem,
                                ink_error *error) {
    const bool single = inki_in_exists(dir, single_file);
    if (!single && !inki_in_exists(dir, index_file))
        return inki_fail(error, INK_E_NOT_FOUND, single_file, 0,
                         "is not in the directory, nor is %s%s", index_file,
                         inki_in_exists(dir, "pytorch_model.bin")
                             ? " (pytorch_model.bin is not read: loading it would run code; save "
                               "it as safetensors)"
                             : "");
    inki_checkpoint made = {.mem = *mem};
    made.shards = inki_alloc_zero(mem, INKI_CHECKPOINT_MAX_SHARDS, sizeof *made.shards);
    made.raw = inki_alloc(mem, RAW_BYTES, 1);
    ink_status status = INK_OK;
    if (made.shards == NULL || made.raw == NULL)
        status = inki_fail_nomem(error, RAW_BYTES);
    else if (!single)
        status = open_indexed(&made, dir, error);
    else
        status = open_shard(&made, dir, single_file, error);
    if (status == INK_OK && single) status = collect(&made, error);
    if (status != INK_OK) {
        inki_checkpoint_close(&made);
        return status;
    }
    *out = made;
    return INK_OK;
}

void inki_checkpoint_close(inki_checkpoint *c) {
    for (size_t i = 0; i < c->n_shards; i++) inki_safetensors_close(&c->shards[i]);
    inki_release(&c->mem, c->shards, INKI_CHECKPOINT_MAX_SHARDS, sizeof *c->shards);
    inki_release(&c->mem, c->tensors, c->n, sizeof *c->tensors);
    inki_release(&c->mem, c->raw, RAW_BYTES, 1);
    *c = (inki_checkpoint){0};
}

// raw [n] → out [n], little-endian on every machine.
static void widen(float *out, const uint8_t *raw, size_t n, inki_safetensors_type type) {
    if (type == INKI_SAFETENSORS_F32) {
        for (size_t i = 0; i < n; i++, raw += 4)
            out[i] = inki_f32_from_bits(raw[0] | (uint32_t)raw[1] << 8 | (uint32_t)raw[2] << 16 |
                                        (uint32_t)raw[3] << 24);
        return;
    }
    for (size_t i = 0; i < n; i++, raw += 2) {
        const uint16_t half = (uint16_t)(raw[0] | raw[1] << 8);
        out[i] = type == INKI_SAFETENSORS_F16 ? inki_f16_to_f32(half) : inki_bf16_to_f32(half);
    }
}

static bool finite_float(float x) { return (inki_f32_bits(x) & 0x7f800000u) != 0x7f800000u; }

ink_status inki_checkpoint_read(const inki_checkpoint *c, const inki_source_tensor *source,
                                uint64_t first, size_t n, float *out, ink_error *error) {
    const inki_safetensor *t = source->tensor;
    for (size_t done = 0; done < n;) {
        const size_t most = RAW_BYTES / t->elem_bytes, step = n - done < most ? n - done : most;
        const uint64_t at = t->offset + (first + done) * t->elem_bytes;
        const ink_status status =
            inki_in_read(source->file, at, c->raw, step * t->elem_bytes, error);
        if (status != INK_OK) return status;
        widen(out + done, c->raw, step, t->type);
        for (size_t i = done; i < done + step; i++) {
            if (finite_float(out[i])) continue;
            const bool nan = (inki_f32_bits(out[i]) & 0x7fffffu) != 0;
            return inki_fail(error, INK_E_NUMERIC, source->file->name,
                             t->offset + (first + i) * t->elem_bytes,
                             "tensor %.80s: element %llu is %s, a finite number was expected",
                             t->name, (unsigned long long)(first + i), nan ? "NaN" : "infinite");
        }
        done += step;
    }
    return INK_OK;
}
