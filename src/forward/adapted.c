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
        const inki_tensor *a = &lora->pairs[s->w->adapted - 1].a, *b = a + 1;
        float values[INKI_LORA_MAX_RANK];
        const bool bytes_in = inki_act_form_of(a->type) == INKI_ACT_Q8;
        const bool bytes_out = inki_act_form_of(b->type) == INKI_ACT_Q8;
        float *y = bytes_out ? values : (float *)(void *)low;
        const float scale = loras->list[i].scale;
        if (a->data != NULL) {
            if (bytes_in && !have_act) kernels->quantize_act(act, x, a->n_cols);
            have_act |= bytes_in;
            kernels->matmul[a->type](y, 0, a->data, a->row_bytes, bytes_in ? (const void *)act : x,
                                     0, NULL, a->n_rows, a->n_cols, 1);
            kernels->scale(y, lora->alpha != 0 ? scale * lora->alpha / (float)a->n_rows : scale,
                           a->n_rows);
            if (bytes_out) kernels->quantize_act(low, y, a->n_rows);
        }
        low += lora->low_bytes;
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

// Through a tile on the stack, since kernels write their outputs and do not add to them.
enum { TILE_ROWS = 32, TILE_COLUMNS = 128 };

static void add_tile(const inki_forward *f, float *out, const inki_tensor *w, const inki_tensor *b,
                     const uint8_t *low, size_t begin, size_t n, size_t n_rows) {
    float tile[TILE_ROWS * TILE_COLUMNS];
    f->kernels->matmul[b->type](tile, n, (const uint8_t *)b->data + begin * b->row_bytes,
                                b->row_bytes, low, f->scratch->low_stride, NULL, n, b->n_cols,
                                n_rows);
    for (size_t r = 0; r < n_rows; r++)
        f->kernels->add(out + r * w->n_rows + begin, tile + r * n, n);
}

// Rows with the same adapters, at most TILE_ROWS of them.
static void add_rows(const inki_forward *f, float *out, const inki_tensor *w, size_t begin,
                     size_t end, size_t row, size_t n_rows) {
    const inki_lora_list *loras = f->adapted[row].loras;
    const uint8_t *low = f->scratch->low + row * f->scratch->low_stride;
    for (uint32_t i = 0; i < loras->n; i++) {
        const inki_tensor *b = &loras->list[i].lora->pairs[w->adapted - 1].b;
        for (size_t at = begin; b->data != NULL && at < end; at += TILE_COLUMNS)
            add_tile(f, out + row * w->n_rows, w, b, low, at,
                     end - at < TILE_COLUMNS ? end - at : TILE_COLUMNS, n_rows);
        low += loras->list[i].lora->low_bytes;
    }
}

void inki_forward_add_low(const inki_forward *f, float *out, const inki_tensor *w, size_t begin,
                          size_t end, size_t n_rows) {
    for (size_t row = 0, next; row < n_rows; row = next) {
        const inki_lora_list *loras = f->adapted[row].loras;
        next = row + 1;
        while (next < n_rows && next - row < TILE_ROWS && f->adapted[next].loras == loras) next++;
        if (loras != NULL) add_rows(f, out, w, begin, end, row, next - row);
    }
}
