// SPDX-License-Identifier: MIT
#include "convert/gpt2_names.h"
#include "convert/gpt2_strips.h"
#include "convert/gpt2_weights.h"
#include "convert/notes.h"
#include "kernels/kernels.h"

#include <stdio.h>
#include <string.h>

static void shape_text(char *out, size_t cap, const uint64_t *dims, uint32_t n_dims) {
    size_t used = (size_t)snprintf(out, cap, "[");
    for (uint32_t i = 0; i < n_dims && used < cap; i++)
        used += (size_t)snprintf(out + used, cap - used, i > 0 ? ", %llu" : "%llu",
                                 (unsigned long long)dims[i]);
    if (used < cap) snprintf(out + used, cap - used, "]");
}

static ink_status check_source(const inki_planned_tensor *t, ink_error *error) {
    const inki_safetensor *s = t->source->tensor;
    const uint64_t rows = t->transposed ? t->cols : t->rows,
                   cols = t->transposed ? t->rows : t->cols;
    const uint64_t expected[2] = {t->vector ? cols : rows, cols};
    const uint32_t n_dims = t->vector ? 1 : 2;
    if (s->type == INKI_SAFETENSORS_OTHER)
        return inki_fail(error, INK_E_UNSUPPORTED, t->source->file->name, s->offset,
                         "tensor %.80s: dtype is %s, F32, F16 or BF16 was expected", s->name,
                         s->dtype);
    bool same = s->n_dims == n_dims;
    for (uint32_t i = 0; same && i < n_dims; i++) same = s->dims[i] == expected[i];
    if (same) return INK_OK;
    char got[80], want[48];
    shape_text(got, sizeof got, s->dims, s->n_dims);
    shape_text(want, sizeof want, expected, n_dims);
    return inki_fail(error, INK_E_FORMAT, t->source->file->name, s->offset,
                     "tensor %.60s: shape is %s, config.json makes it %s", s->name, got, want);
}

static ink_status plan_one(inki_weights_job *job, const inki_gpt2_name *n, ink_error *error) {
    inki_planned_tensor *t = &job->tensors[job->n];
    *t = (inki_planned_tensor){.rows = n->rows,
                               .cols = n->cols,
                               .vector = n->vector,
                               .transposed = n->transposed,
                               .wide = n->wide,
                               .head = n->head};
    memcpy(t->name, n->name, sizeof t->name);
    t->source = inki_checkpoint_find(job->checkpoint, n->source);
    if (t->source == NULL)
        return inki_fail(error, INK_E_FORMAT,
                         job->checkpoint->n_shards > 1 ? "the shards" : "model.safetensors", 0,
                         "tensor %s is missing (with or without \"transformer.\")", n->source);
    job->n++;
    return check_source(t, error);
}

static ink_status plan_all(inki_weights_job *job, ink_error *error) {
    const size_t n = inki_gpt2_n_names(job->config);
    const inki_gpt2_name head = inki_gpt2_name_of(job->config, n);
    ink_status status = INK_OK;
    for (size_t i = 0; i < n && status == INK_OK; i++) {
        const inki_gpt2_name name = inki_gpt2_name_of(job->config, i);
        status = plan_one(job, &name, error);
    }
    const bool has_head = inki_checkpoint_find(job->checkpoint, head.source) != NULL;
    // A head is expected where the configuration says that it is not the embedding.
    if (status == INK_OK && (has_head || !job->config->tied)) status = plan_one(job, &head, error);
    return status;
}

// Buffers of older releases: the causal mask of a layer and what masked scores were set to.
static bool is_mask_buffer(const char *name) {
    const size_t n = strlen(name);
    static const char *const ends[] = {".attn.bias", ".attn.masked_bias"};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        const size_t m = strlen(ends[i]);
        if (strncmp(name, "h.", 2) == 0 && n > m && strcmp(name + n - m, ends[i]) == 0) return true;
    }
    return false;
}

// A tensor that nobody reads means that the model does more than GPT-2, or has more layers than
// config.json says: what came out would not be the model.
static ink_status check_unused(const inki_weights_job *job, ink_error *error) {
    size_t used = 0, masks = 0;
    for (size_t i = 0; i < job->checkpoint->n; i++)
        masks += is_mask_buffer(job->checkpoint->tensors[i].name);
    used = job->n + masks;
    if (used == job->checkpoint->n) return INK_OK;
    for (size_t i = 0; i < job->checkpoint->n; i++) {
        const inki_source_tensor *s = &job->checkpoint->tensors[i];
        bool found = is_mask_buffer(s->name);
        for (size_t k = 0; k < job->n && !found; k++) found = job->tensors[k].source == s;
        if (!found)
            return inki_fail(
                error, INK_E_UNSUPPORTED, s->file->name, s->tensor->offset,
                "tensor %.80s is none of a GPT-2 of %u layers (n_layer of config.json)",
                s->tensor->name, (unsigned)job->config->n_layer);
    }
    return INK_OK;
}

static void choose_type(const inki_weights_job *job, inki_planned_tensor *t, float largest) {
    t->type = t->wide ? INKI_F32 : job->options->type;
    const inki_type_info info = inki_type_of(t->type);
    if (t->cols % info.block_elems != 0) {
        t->type = INKI_F16;
        inki_note(job->options, "tensor %s: rows of %u do not fit %s (blocks of %u), kept as F16",
                  t->name, (unsigned)t->cols, info.name, (unsigned)info.block_elems);
    } else if (t->type == INKI_Q4_0 && t->head) {
        t->type = INKI_Q8_0;
        inki_note(job->options, "tensor %s: kept as Q8_0, since the logits come from it", t->name);
    }
    if (!inki_quantize_holds(t->type, largest)) {
        inki_note(job->options, "tensor %s: holds values too large for %s, kept as F32", t->name,
                  inki_type_of(t->type).name);
        t->type = INKI_F32;
    }
}

// Drops a head that is the embedding over again; else says so where the configuration says
// otherwise.
static ink_status settle_head(inki_weights_job *job, ink_error *error) {
    inki_planned_tensor *head = &job->tensors[job->n - 1], *embedding = &job->tensors[0];
    if (!head->head) {
        embedding->head = true;
        return INK_OK;
    }
    bool same = false;
    const ink_status status = inki_gpt2_same_values(job, head, embedding, &same, error);
    if (status != INK_OK) return status;
    if (same) {
        job->n--;
        embedding->head = true;
    } else if (job->config->tied && job->config->tied_said) {
        inki_note(
            job->options,
            "lm_head.weight differs from wte.weight though config.json says tie_word_embeddings "
            "true: both are written");
    }
    return INK_OK;
}

ink_status inki_gpt2_plan(inki_weights_job *job, ink_error *error) {
    job->room = inki_gpt2_n_names(job->config) + 1;
    job->tensors = inki_alloc_zero(&job->mem, job->room, sizeof *job->tensors);
    job->strip = inki_alloc(&job->mem, INKI_STRIP_ELEMS, sizeof *job->strip);
    if (job->tensors == NULL || job->strip == NULL)
        return inki_fail_nomem(error, INKI_STRIP_ELEMS * sizeof *job->strip);
    ink_status status = plan_all(job, error);
    if (status == INK_OK) status = check_unused(job, error);
    if (status == INK_OK) status = settle_head(job, error);
    for (size_t i = 0; i < job->n; i++)
        job->elems_total += 2 * (uint64_t)job->tensors[i].rows * job->tensors[i].cols;
    for (size_t i = 0; i < job->n && status == INK_OK; i++) {
        float largest = 0;
        status = inki_gpt2_largest(job, &job->tensors[i], &largest, error);
        if (status == INK_OK) choose_type(job, &job->tensors[i], largest);
    }
    return status;
}

void inki_gpt2_free(inki_weights_job *job) {
    inki_release(&job->mem, job->tensors, job->room, sizeof *job->tensors);
    inki_release(&job->mem, job->strip, INKI_STRIP_ELEMS, sizeof *job->strip);
    inki_release(&job->mem, job->row, job->row_bytes, 1);
    job->tensors = NULL;
    job->strip = NULL;
    job->row = NULL;
}
