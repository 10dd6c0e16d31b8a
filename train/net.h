// SPDX-License-Identifier: MIT
// A GPT-2 that learns: parameters, the pass forward, the loss, the pass backward.
//
// Weights are either all trained (F32), or frozen in whatever type a model file has them, and a
// LoRA adapter beside each matrix of the layers is trained: y = W x + (alpha / rank) B A x. Source:
// Radford et al. 2019; Hu et al. 2021, arXiv 2106.09685.
#ifndef INKI_TRAIN_NET_H
#define INKI_TRAIN_NET_H

#include "model/model.h"
#include "train/gemm.h"
#include "train/ops.h"
#include "train/self_attention.h"

typedef struct inki_net_shape {
    uint32_t n_vocab, n_ctx, n_embd, n_layer, n_head, n_ff;
    float norm_eps;
} inki_net_shape;

// A trained tensor: [n_rows, n_cols], a vector has one row. Named as in a model file
// ("blk.0.attn_qkv.weight", "blk.0.attn_qkv.weight.lora_a").
typedef struct inki_param {
    char name[64];
    uint32_t n_rows, n_cols;
    size_t at;   // first value in the flat arrays below
    bool decays; // matrices; no norms and biases
} inki_param;

typedef struct inki_net_options {
    inki_net_shape shape;
    uint32_t n_seq;           // tokens of a sequence, at most n_ctx; 0: n_ctx
    uint32_t n_tokens_a_pass; // rows that go through the layers together, a multiple of n_seq
    bool recompute;           // keep only each layer's input; compute the rest again going back
    float dropout;            // of embeddings, attention weights and residuals
    // The frozen model, borrowed: its weights stay as they are. NULL: all weights are trained.
    const inki_weights *base;
    uint32_t lora_rank; // with base: of the adapters that are trained; 0: none (a teacher)
    float lora_alpha;
    inki_distil distil; // weight 0: none
} inki_net_options;

typedef struct inki_net inki_net;

typedef struct inki_compute { // what the arithmetic runs on; borrowed
    inki_mem mem;
    const inki_kernels *kernels;
    inki_pool *pool; // NULL: one thread. Entered by the caller
    uint32_t level;  // inki_level
    inki_precision precision;
} inki_compute;

// All memory is allocated here. Parameters are 0 until inki_net_init_random or _load.
// Errors: INK_E_ARG (a shape that is none), INK_E_LIMIT, INK_E_NOMEM.
ink_status inki_net_new(inki_net **out, const inki_compute *compute,
                        const inki_net_options *options, ink_error *error);
void inki_net_free(inki_net *net); // NULL is allowed
// Bytes that inki_net_new would allocate.
ink_status inki_net_measure(const inki_compute *compute, const inki_net_options *options,
                            size_t *bytes, ink_error *error);

const inki_net_options *inki_net_get_options(const inki_net *net);
const inki_compute *inki_net_get_compute(const inki_net *net);
inki_precision inki_net_precision(const inki_net *net);
// The pool that it was made with, or NULL: between two stages, for whoever cannot have it.
void inki_net_use_pool(inki_net *net, inki_pool *pool);
size_t inki_net_n_params(const inki_net *net, const inki_param **params); // how many tensors
size_t inki_net_n_values(const inki_net *net);                            // how many numbers
float *inki_net_weights(inki_net *net);                                   // [n_values]
float *inki_net_grads(inki_net *net);                                     // [n_values]

// GPT-2's: normal with 0.02, residual projections with 0.02 / sqrt(2 n_layer), biases 0, gains 1.
// LoRA: A normal with 1 / sqrt(n_cols), B 0.
void inki_net_init_random(inki_net *net, uint64_t seed);
// All weights of an open model of the same shape, widened to F32 (no LoRA).
// Errors: INK_E_UNSUPPORTED (the model has a head of its own; message says so).
ink_status inki_net_load(inki_net *net, const inki_weights *weights, ink_error *error);

// --- a pass: one group of sequences forward and backward, stage by stage -------------------------

typedef struct inki_net_batch {
    const int32_t *ids; // [n_sequences, n_seq + 1], borrowed until the pass is over
    size_t n_sequences; // at most n_tokens_a_pass / n_seq
    uint64_t n_scaled;  // gradients are those of the summed loss divided by it
    uint64_t dropout_key, first_sequence; // masks are a function of both
    inki_net *teacher;                    // NULL: none. Of the same n_seq and n_tokens_a_pass
    // Only the loss is wanted, without dropout and gradients, of the first n_targets rows (0: all).
    bool judged;
    size_t n_targets;
} inki_net_batch;
typedef struct inki_net_loss {
    double sum;  // nats, over all targets
    double hard; // with a teacher: the text's part alone; else the same
} inki_net_loss;
void inki_net_begin(inki_net *net, const inki_net_batch *batch);
// One stage: half a layer forward or backward, or half a piece of the head. False: that was the
// last one: the gradients, and *loss, are added to.
bool inki_net_advance(inki_net *net, inki_net_loss *loss);

// Sum of -log p over the first n_targets targets of one sequence, without dropout.
double inki_net_evaluate(inki_net *net, const int32_t *ids, uint32_t n_targets);
void inki_net_clear_grads(inki_net *net);

#endif
