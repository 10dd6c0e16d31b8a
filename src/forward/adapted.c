// SPDX-License-Identifier: MIT
// Two steps: A x of all rows first, a few numbers each; then each part of the large product adds
// B times them to the outputs that it has just made. So adapters cost one hand-shake of the threads
// more, and no memory as wide as the outputs.
#include "forward/adapted.h"

#include "forward/stages.h"

typedef struct low_stage {
    const inki_forward *forward;
    const inki_tensor *w;
    const float *x; // [n_rows, w.n_cols]
    size_t n_rows;
} low_stage;

static void low_row(const low_stage *s, size_t r) {
    const inki_kernels *kernels = s->forward->kernels;
    const inki_scratch *scratch = s->forward->scratch;
    const inki_lora_list *loras = s->forward->adapted[r].loras;
    const float *x = s->x + r * s->w->n_cols;
    uint8_t *low = scratch->low + r * scratch->low_stride;
    uint8_t *act = (uint8_t *)scratch->act + r * scratch->act_stride;
    bool have_act = inki_act_form_of(s->w->type) == INKI_ACT_Q8;
    for (uint32_t i = 0; loras != NULL && i < loras->n; i++) {
        const inki_lora *lora = loras->list[i].lora;
        const inki_tensor *a = &lora->pairs[s->w->adapted - 1].a;
        float *y = (float *)(void *)low, scale = loras->list[i].scale;
        low += lora->low_bytes;
        if (a->data == NULL) continue;
        const bool bytes = inki_act_form_of(a->type) == INKI_ACT_Q8;
        if (bytes && !have_act) kernels->quantize_act(act, x, a->n_cols);
        have_act |= bytes;
        kernels->matmul[a->type](y, 0, a->data, a->row_bytes, bytes ? (const void *)act : x, 0,
                                 NULL, a->n_rows, a->n_cols, 1);
        if (lora->alpha != 0) scale = scale * lora->alpha / (float)a->n_rows;
        kernels->scale(y, scale, a->n_rows);
    }
}

static void low_part(void *arg, uint32_t part, uint32_t n_parts) {
    const low_stage *s = (const low_stage *)arg;
    size_t begin, end;
    inki_pool_share(s->n_rows, 1, part, n_parts, &begin, &end);
    for (size_t r = begin; r < end; r++) low_row(s, r);
}

void inki_forward_low(const inki_forward *f, const float *x, const inki_tensor *w, size_t n_rows) {
    low_stage s = {f, w, x, n_rows};
    const size_t work = n_rows * w->n_cols * (f->scratch->low_stride / sizeof(float));
    inki_pool_run(f->pool, inki_forward_n_parts(f, work), low_part, &s);
}

void inki_forward_add_low(const inki_forward *f, float *out, const inki_tensor *w, size_t begin,
                          size_t end, size_t n_rows) {
    for (size_t r = 0; r < n_rows; r++, out += w->n_rows) {
        const inki_lora_list *loras = f->adapted[r].loras;
        const uint8_t *low = f->scratch->low + r * f->scratch->low_stride;
        for (uint32_t i = 0; loras != NULL && i < loras->n; i++) {
            const inki_lora_pair *pair = &loras->list[i].lora->pairs[w->adapted - 1];
            const float *y = (const float *)(const void *)low;
            for (size_t k = 0; k < pair->a.n_rows; k++)
                f->kernels->add(out + begin, pair->turned + k * w->n_rows + begin, y[k],
                                end - begin);
            low += loras->list[i].lora->low_bytes;
        }
    }
}
