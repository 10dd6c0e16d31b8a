// SPDX-License-Identifier: MIT
#include "tiny_adapter.h"

#include "random_blocks.h"

#include "gguf/gguf.h"
#include "kernels/kernels.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

tiny_adapter tiny_adapter_defaults(void) {
    return (tiny_adapter){.rank = {4, 3, 5, 2},
                          .type_a = INKI_F32,
                          .type_b = INKI_F32,
                          .alpha = 8,
                          .spread = 0.2f,
                          .seed = 1};
}

static void add_text(inki_gguf_writer *w, const char *key, const char *given, const char *right) {
    const char *text = given != NULL ? given : right;
    if (text[0] != 0) inki_gguf_add_str(w, key, (inki_str){text, strlen(text)});
}

static size_t plan_adapter(tiny_tensor_of_adapter *plan, const tiny_model *m,
                           const tiny_adapter *a) {
    static const char *const names[] = {"attn_qkv", "attn_output", "ffn_up", "ffn_down"};
    const uint32_t cols[] = {m->n_embd, m->n_embd, m->n_embd, m->n_ff};
    const uint32_t rows[] = {3 * m->n_embd, m->n_embd, m->n_ff, m->n_embd};
    size_t n = 0;
    for (uint32_t i = 0; i < m->n_layer; i++)
        for (uint32_t k = 0; k < 8; k++) {
            const uint32_t of = k / 2, rank = a->rank[of];
            if (rank == 0) continue;
            tiny_tensor_of_adapter t = {.dims = {cols[of], rank}, .type = a->type_a};
            if (k % 2 == 1)
                t = (tiny_tensor_of_adapter){.dims = {rank, rows[of]}, .type = a->type_b};
            snprintf(t.name, sizeof t.name, "blk.%u.%s.weight.lora_%c", (unsigned)i, names[of],
                     k % 2 == 0 ? 'a' : 'b');
            if (a->change != NULL) a->change(&t);
            if (!t.left_out) plan[n++] = t;
        }
    return n;
}

static ink_status write_values(inki_gguf_writer *w, const tiny_tensor_of_adapter *t, float spread,
                               uint64_t *state) {
    float *values = malloc((size_t)t->dims[0] * sizeof *values);
    void *row = malloc((size_t)t->dims[0] * sizeof *values);
    uint64_t row_bytes = 0;
    ink_status status =
        values != NULL && row != NULL && inki_type_row_bytes(t->type, t->dims[0], &row_bytes)
            ? INK_OK
            : INK_E_ARG;
    for (uint64_t r = 0; r < t->dims[1] && status == INK_OK; r++) {
        for (uint64_t c = 0; c < t->dims[0]; c++) {
            *state = *state * 6364136223846793005u + 1442695040888963407u;
            values[c] = spread * ((float)(int32_t)(*state >> 40) / (float)(1 << 23) - 1.0f);
        }
        if (t->poisoned && r + 1 == t->dims[1]) values[t->dims[0] - 1] = NAN;
        if (!inki_quantize_row(t->type, row, values, (size_t)t->dims[0]))
            random_row(t->type, row, (size_t)row_bytes, *state);
        status = inki_gguf_writer_data(w, row, (size_t)row_bytes, NULL);
    }
    free(values);
    free(row);
    return status;
}

static ink_status write_adapter(const char *path, const tiny_model *m, const tiny_adapter *a) {
    tiny_tensor_of_adapter *plan = calloc(8 * (size_t)m->n_layer, sizeof *plan);
    const inki_mem mem = inki_mem_from(NULL);
    inki_gguf_writer *w = NULL;
    ink_status status = plan != NULL ? inki_gguf_writer_new(&w, path, &mem, NULL) : INK_E_NOMEM;
    if (status == INK_OK) {
        const size_t n = plan_adapter(plan, m, a);
        add_text(w, "general.type", a->general_type, "adapter");
        add_text(w, "general.architecture", a->architecture, "gpt2");
        add_text(w, "adapter.type", a->adapter_type, "lora");
        if (a->more_key != NULL) inki_gguf_add_u32(w, a->more_key, 1);
        inki_gguf_add_f32(w, "adapter.lora.alpha", a->alpha);
        for (size_t i = 0; i < n; i++)
            inki_gguf_add_tensor(w, plan[i].name, plan[i].type, plan[i].dims, 2);
        status = inki_gguf_writer_begin(w, NULL);
        uint64_t state = a->seed * 0x9e3779b97f4a7c15u + 99;
        for (size_t i = 0; i < n && status == INK_OK; i++)
            status = write_values(w, &plan[i], a->spread, &state);
        if (status == INK_OK)
            status = inki_gguf_writer_finish(w, NULL);
        else
            inki_gguf_writer_discard(w);
    }
    free(plan);
    return status;
}

uint8_t *tiny_adapter_bytes(const tiny_model *model, const tiny_adapter *adapter, size_t *bytes) {
    const char *folder = getenv("TMPDIR");
    char path[512];
    snprintf(path, sizeof path, "%s/inkling-lora-XXXXXX", folder != NULL ? folder : "/tmp");
    const int fd = mkstemp(path);
    if (fd < 0) return NULL;
    close(fd);
    uint8_t *data = NULL;
    inki_file file = {0};
    const inki_mem mem = inki_mem_from(NULL);
    if (write_adapter(path, model, adapter) == INK_OK &&
        inki_os_open_path(&file, path, true, &mem, NULL) == INK_OK &&
        (data = malloc(file.bytes)) != NULL) {
        memcpy(data, file.data, file.bytes);
        *bytes = file.bytes;
    }
    inki_os_close(&file);
    unlink(path);
    return data;
}
