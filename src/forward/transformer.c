// SPDX-License-Identifier: MIT
// The forward pass of a GPT-2 transformer: a row of n_embd floats for each token walks through the
// layers. Stages (stages.h) follow one another; inside a stage the pool's threads share the work,
// and no number depends on how they share it.
#include "forward/attention.h"
#include "forward/stages.h"

#include <string.h>

void inki_scratch_carve(inki_scratch *scratch, inki_arena *arena, const inki_weights *weights,
                        uint32_t n_rows) {
    const size_t n_embd = weights->n_embd, n_ff = weights->n_ff;
    const size_t n_wide = 3 * n_embd > n_ff ? 3 * n_embd : n_ff;
    scratch->n_rows = n_rows;
    scratch->n_wide = n_wide;
    scratch->x = (float *)inki_arena_take(arena, n_rows, n_embd * sizeof(float));
    scratch->norm = (float *)inki_arena_take(arena, n_rows, n_embd * sizeof(float));
    scratch->wide = (float *)inki_arena_take(arena, n_rows, n_wide * sizeof(float));
    scratch->act_stride = inki_act_row_bytes(INKI_ACT_Q8, n_embd > n_ff ? n_embd : n_ff);
    scratch->act = inki_arena_take(arena, n_rows, scratch->act_stride);
    scratch->wanted = (const inki_row **)inki_arena_take(arena, n_rows, sizeof(inki_row *));
}

static void tensor_row(const inki_forward *f, float *out, const inki_tensor *t, size_t row) {
    f->kernels->dequantize[t->type](out, (const uint8_t *)t->data + row * t->row_bytes, t->n_cols);
}

static void embed_rows(const inki_forward *f, const inki_row *rows, uint32_t n_rows) {
    const size_t n_embd = f->weights->n_embd;
    float *position = f->scratch->norm; // [n_embd], free until the first layer
    for (uint32_t r = 0; r < n_rows; r++) {
        float *x = f->scratch->x + r * n_embd;
        tensor_row(f, x, &f->weights->token_embd, (size_t)rows[r].token);
        tensor_row(f, position, &f->weights->pos_embd, rows[r].pos);
        f->kernels->add(x, position, 1, n_embd);
    }
}

static void transformer_layer(const inki_forward *f, const inki_row *rows, uint32_t n,
                              uint32_t index) {
    const inki_layer *l = &f->weights->layers[index];
    float *x = f->scratch->x;       // [n, n_embd]
    float *norm = f->scratch->norm; // [n, n_embd]
    float *wide = f->scratch->wide; // [n, 3 n_embd] or [n, n_ff]
    const bool last = index + 1 == f->weights->n_layer;
    const inki_tensor *next = last ? &f->weights->head : &l[1].qkv;

    inki_forward_norm(f, norm, x, l->attn_norm_gain, l->attn_norm_bias, n);
    // q k v [n, 3 n_embd]
    inki_forward_linear(f, wide, norm, &l->qkv, l->qkv_bias, n, INKI_LINEAR_PLAIN, NULL,
                        &l->attn_out);
    inki_forward_attention(f, rows, n, index, wide, norm);
    // [n, n_embd], added to x
    inki_forward_linear(f, wide, norm, &l->attn_out, l->attn_out_bias, n, INKI_LINEAR_ADD, x,
                        &l->ffn_up);

    inki_forward_norm(f, norm, x, l->ffn_norm_gain, l->ffn_norm_bias, n);
    // [n, n_ff]
    inki_forward_linear(f, wide, norm, &l->ffn_up, l->ffn_up_bias, n, INKI_LINEAR_GELU, NULL,
                        &l->ffn_down);
    // [n, n_embd], added to x
    inki_forward_linear(f, norm, wide, &l->ffn_down, l->ffn_down_bias, n, INKI_LINEAR_ADD, x, next);
}

// Only the rows whose logits are wanted meet the final norm and the head, the largest matrix.
static size_t transformer_head(const inki_forward *f, const inki_row *rows, uint32_t n_rows) {
    const inki_weights *w = f->weights;
    float *x = f->scratch->x;
    size_t n = 0;
    for (uint32_t r = 0; r < n_rows; r++) {
        if (rows[r].logits == NULL) continue;
        if (n != r) memcpy(x + n * w->n_embd, x + r * (size_t)w->n_embd, w->n_embd * sizeof *x);
        f->scratch->wanted[n++] = &rows[r];
    }
    if (n == 0) return 0;
    inki_forward_norm(f, f->scratch->norm, x, w->out_norm_gain, w->out_norm_bias, n);
    inki_forward_head(f, f->scratch->norm, n);
    return n;
}

static void transformer_hidden(const inki_forward *f, const inki_row *rows, uint32_t n_rows) {
    const inki_weights *w = f->weights;
    for (uint32_t r = 0; r < n_rows; r++)
        if (rows[r].hidden != NULL)
            f->kernels->layer_norm(rows[r].hidden, f->scratch->x + r * (size_t)w->n_embd,
                                   w->out_norm_gain, w->out_norm_bias, w->n_embd, w->norm_eps);
}

static bool transformer_cancelled(const inki_forward *f) {
    return f->cancelled != NULL && f->cancelled(f->cancelled_arg);
}

// A pass of less than this many parts' work stays on the caller's thread: what the others would
// save of its few microseconds, they cost in hand-shakes and in the spinning between tokens.
enum { MIN_PASS_PARTS = 32 };

static bool worth_threads(const inki_forward *f, const inki_row *rows, uint32_t n_rows) {
    const inki_weights *w = f->weights;
    const size_t n_embd = w->n_embd;
    const size_t row_work = w->n_layer * (4 * n_embd * n_embd + 2 * n_embd * w->n_ff);
    size_t work = row_work * n_rows;
    for (uint32_t r = 0; r < n_rows; r++) {
        work += 2 * n_embd * w->n_layer * rows[r].pos;
        if (rows[r].logits != NULL) work += n_embd * w->n_vocab;
    }
    return work / MIN_PASS_PARTS >= f->kernels->part_work;
}

static ink_status run_pass(const inki_forward *forward, const inki_row *rows, uint32_t n_rows,
                           ink_error *error) {
    embed_rows(forward, rows, n_rows);
    for (uint32_t i = 0; i < forward->weights->n_layer; i++) {
        transformer_layer(forward, rows, n_rows, i);
        if (transformer_cancelled(forward))
            return inki_fail(error, INK_E_CANCELLED, NULL, 0, "cancelled");
    }
    transformer_hidden(forward, rows, n_rows);
    const size_t n = transformer_head(forward, rows, n_rows);
    for (size_t i = 0; i < n; i++) {
        const inki_row *row = forward->scratch->wanted[i];
        if (!forward->kernels->all_finite(row->logits, forward->weights->n_vocab))
            return inki_fail(error, INK_E_NUMERIC, NULL, 0,
                             "the logits at position %u are not all finite", (unsigned)row->pos);
    }
    return INK_OK;
}

ink_status inki_forward_run(const inki_forward *forward, const inki_row *rows, uint32_t n_rows,
                            ink_error *error) {
    inki_forward pass = *forward;
    if (!worth_threads(forward, rows, n_rows)) pass.pool = NULL;
    pass.adapted = NULL;
    for (uint32_t r = 0; r < n_rows; r++)
        if (rows[r].loras != NULL) pass.adapted = rows;
    return run_pass(&pass, rows, n_rows, error);
}
