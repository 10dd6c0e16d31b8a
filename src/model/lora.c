// SPDX-License-Identifier: MIT
#include "model/lora.h"

#include "model/parse.h"

#include <stdio.h>
#include <string.h>

static ink_status find_pair(inki_parse *p, const inki_tensor *w, inki_lora *out) {
    char a[INKI_PARSE_NAME], b[INKI_PARSE_NAME];
    snprintf(a, sizeof a, "%s.lora_a", w->name);
    snprintf(b, sizeof b, "%s.lora_b", w->name);
    if (inki_gguf_find_tensor(p->gguf, a) == NULL && inki_gguf_find_tensor(p->gguf, b) == NULL)
        return INK_OK;
    inki_lora_pair *pair = &out->pairs[w->adapted - 1];
    ink_status status = inki_parse_matrix(p, a, w->n_cols, 0, INKI_USE_MATMUL, &pair->a);
    if (status != INK_OK) return status;
    const uint32_t rank = pair->a.n_rows;
    if (rank > INKI_LORA_MAX_RANK || out->n_values > SIZE_MAX / 8)
        return inki_fail(p->error, INK_E_LIMIT, a, 0, "has the rank %u, at most %d is supported",
                         (unsigned)rank, (int)INKI_LORA_MAX_RANK);
    status = inki_parse_matrix(p, b, rank, w->n_rows, INKI_USE_ROWS, &pair->b);
    const size_t low_bytes = inki_act_row_bytes(INKI_ACT_F32, rank);
    if (low_bytes > out->low_bytes) out->low_bytes = low_bytes;
    out->n_values += (size_t)rank * w->n_rows;
    return status;
}

// A row of B has a number for each of the few values of A x: sums over it would be mostly folding.
static ink_status turn_pairs(const inki_parse *p, inki_lora *lora) {
    float *to = lora->values = inki_alloc(&lora->mem, lora->n_values, sizeof *to);
    if (to == NULL) return inki_fail_nomem(p->error, lora->n_values * sizeof *to);
    for (size_t i = 0; i < lora->n_pairs; i++) {
        const inki_tensor *b = &lora->pairs[i].b;
        float row[INKI_LORA_MAX_RANK];
        lora->pairs[i].turned = to;
        for (size_t r = 0; r < b->n_rows; r++) {
            p->kernels->dequantize[b->type](row, (const uint8_t *)b->data + r * b->row_bytes,
                                            b->n_cols);
            for (size_t k = 0; k < b->n_cols; k++) to[k * b->n_rows + r] = row[k];
        }
        to += (size_t)b->n_cols * b->n_rows;
    }
    return INK_OK;
}

// Every tensor belongs to a pair: one passed over would be a part of what was learnt.
static ink_status check_all_used(const inki_lora *lora, const inki_gguf *adapter,
                                 const inki_gguf *model, ink_error *error) {
    for (size_t i = 0; i < adapter->n_tensors; i++) {
        const char *name = adapter->tensors[i].name;
        size_t k = 0;
        while (k < lora->n_pairs && lora->pairs[k].a.name != name && lora->pairs[k].b.name != name)
            k++;
        if (k < lora->n_pairs) continue;
        char base[INKI_GGUF_MAX_NAME + 1];
        memcpy(base, name, sizeof base);
        const size_t n = strlen(base);
        const bool of_lora = n > 7 && memcmp(base + n - 7, ".lora_", 6) == 0;
        if (of_lora) base[n - 7] = 0;
        const bool known = !of_lora || inki_gguf_find_tensor(model, base) != NULL;
        return inki_fail(
            error, known ? INK_E_UNSUPPORTED : INK_E_FORMAT, name, adapter->tensors[i].offset,
            known ? "only .lora_a and .lora_b of attn_qkv, attn_output, ffn_up and ffn_down "
                    "weights are supported"
                  : "the model has no such tensor");
    }
    return INK_OK;
}

ink_status inki_lora_open(inki_lora *out, const inki_gguf *adapter, const inki_gguf *model,
                          const inki_weights *w, const inki_kernels *kernels, const inki_mem *mem,
                          ink_error *error) {
    inki_parse p = {.gguf = adapter, .kernels = kernels, .error = error};
    inki_lora lora = {.n_pairs = (size_t)w->n_layer * INKI_LORA_A_LAYER, .mem = *mem};
    lora.pairs = inki_alloc_zero(mem, lora.n_pairs, sizeof *lora.pairs);
    if (lora.pairs == NULL) return inki_fail_nomem(error, lora.n_pairs * sizeof *lora.pairs);
    ink_status status = INK_OK;
    for (uint32_t i = 0; i < w->n_layer && status == INK_OK; i++) {
        const inki_layer *l = &w->layers[i];
        status = find_pair(&p, &l->qkv, &lora);
        if (status == INK_OK) status = find_pair(&p, &l->attn_out, &lora);
        if (status == INK_OK) status = find_pair(&p, &l->ffn_up, &lora);
        if (status == INK_OK) status = find_pair(&p, &l->ffn_down, &lora);
    }
    if (status == INK_OK) status = check_all_used(&lora, adapter, model, error);
    if (status == INK_OK && lora.low_bytes == 0)
        status = inki_fail(error, INK_E_FORMAT, NULL, 0, "the adapter has no tensors");
    if (status == INK_OK) status = turn_pairs(&p, &lora);
    if (status == INK_OK)
        *out = lora;
    else
        inki_lora_close(&lora);
    return status;
}

void inki_lora_close(inki_lora *lora) {
    inki_release(&lora->mem, lora->values, lora->n_values, sizeof *lora->values);
    inki_release(&lora->mem, lora->pairs, lora->n_pairs, sizeof *lora->pairs);
    *lora = (inki_lora){0};
}
