// SPDX-License-Identifier: MIT
// What the files of the net share. Private to train.
//
// N: rows (tokens) of a pass, E: n_embd, F: n_ff, V: n_vocab, T: n_seq, H: n_head.
#ifndef INKI_TRAIN_NET_PARTS_H
#define INKI_TRAIN_NET_PARTS_H

#include "train/net.h"

typedef struct inki_net_linear {
    inki_operand w; // [n_out, n_in], stored rows
    uint32_t n_out, n_in;
    const float *bias;
    float *dw, *dbias;            // NULL: frozen
    const float *lora_a, *lora_b; // [rank, n_in], [n_out, rank]; NULL: none
    float *d_lora_a, *d_lora_b;
} inki_net_linear;

typedef struct inki_net_norm {
    const float *gain, *bias;
    float *dgain, *dbias; // NULL: frozen
} inki_net_norm;

typedef struct inki_net_layer {
    inki_net_norm attn_norm, ffn_norm;
    inki_net_linear qkv, attn_out, ffn_up, ffn_down;
} inki_net_layer;

// What the way back needs of the way forward.
typedef struct inki_net_acts {
    float *x;                                // [N, E] the layer's input
    inki_norm_stats *attn_stats, *ffn_stats; // [N]
    float *qkv;                              // [N, 3 E]
    float *attn;                             // [N, E] the heads' output
    float *log_sum;                          // [N / T, H, T]
    float *mid; // [N, E] the residual between attention and feed-forward
    float *up;  // [N, F] before the GELU
} inki_net_acts;

typedef enum inki_net_stage {
    INKI_NET_IDLE,
    INKI_NET_EMBED,
    INKI_NET_FORWARD,
    INKI_NET_HEAD,
    INKI_NET_BACKWARD,
    INKI_NET_EMBED_BACK
} inki_net_stage;

struct inki_net {
    inki_compute compute;
    inki_net_options options;
    inki_train_ops ops;
    inki_attention_fns attention;
    inki_gemm *gemm;
    inki_param *params; // [n_params]
    size_t n_params, n_values;
    float *weights, *grads; // [n_values]
    void *block;            // all arrays here but gemm's
    size_t block_bytes;

    inki_net_layer *layers;       // [n_layer]
    inki_operand embed;           // [V, E], the head too
    inki_operand positions;       // [n_ctx, E]
    float *d_embed, *d_positions; // NULL: frozen
    inki_net_norm out_norm;
    inki_operand head;

    inki_net_acts *acts; // [n_layer]; with `recompute` all but x are the same memory
    float *x_out;        // [N, E] behind the last layer
    inki_norm_stats *out_stats;
    float *norm;                 // [N, E] a norm's output
    float *wide;                 // [N, max(3 E, F)] GELU's output, gradients of q k v
    float *dx;                   // [N, E] gradient of the residual
    float *dnorm;                // [N, E]
    float *part;                 // [N, E] what is added to the residual, and its gradient
    float *dwide;                // [N, F]
    float *lora_t, *lora_dt;     // [N, rank]
    float *logits;               // [n_chunk, V]
    double *row_loss, *row_hard; // [n_chunk]
    void **attention_work;       // [n_threads]
    size_t n_chunk;              // rows that meet the head together
    uint32_t n_threads;

    // The pass under way.
    inki_net_batch batch;
    inki_net_stage stage;
    uint32_t layer;  // the next one
    size_t head_row; // the next one
    uint32_t phase;  // of the layer, or of the head's piece: the next one
    size_t n_rows;   // batch.n_sequences * T
    float dropout;   // 0 while evaluating
    bool learns;     // false while evaluating
    inki_net_loss loss;
};

// Runs fn(arg, part, n_parts) on all threads.
void inki_net_parts(const inki_net *net, inki_part_fn fn, void *arg);

// Halves of a layer. Forward: acts of layer `index` from its x; the residual behind it goes to
// `out` (NULL: not wanted, the way back needs acts alone).
void inki_net_attention_forward(inki_net *net, uint32_t index);
void inki_net_ffn_forward(inki_net *net, uint32_t index, float *out);
// In this order: net->dx goes from the gradient behind the layer to that before it. Weights'
// gradients are added.
void inki_net_ffn_back(inki_net *net, uint32_t index);
void inki_net_attention_back(inki_net *net, uint32_t index);
void inki_net_apply_norm(inki_net *net, float *out, inki_norm_stats *stats, const float *x,
                         const inki_net_norm *norm, size_t n_rows);
// dx += the gradient through the norm; its own gradients are added.
void inki_net_norm_back(inki_net *net, float *dx, const float *dy, const float *x,
                        const inki_norm_stats *stats, const inki_net_norm *norm, size_t n_rows);
// A key for the masks of one place in the net.
uint64_t inki_net_site(const inki_net *net, uint32_t layer, uint32_t site);

// --- products ---
static inline inki_operand inki_net_floats(const float *x, size_t n, bool transposed) {
    return (inki_operand){x, INKI_F32, n * sizeof(float), transposed};
}
static inline inki_operand inki_net_turned(inki_operand w) {
    w.transposed = !w.transposed;
    return w;
}
// c [m, n] = or += a [m, k] b [k, n], + bias [n] if there is one.
void inki_net_multiply(inki_net *net, float *c, inki_operand a, inki_operand b, size_t m, size_t n,
                       size_t k, const float *bias, bool add);

#endif
