// SPDX-License-Identifier: MIT
// What an architecture calls its metadata and its tensors. Names only, inside this room.
#ifndef INKI_MODEL_ARCH_H
#define INKI_MODEL_ARCH_H

typedef struct inki_arch {
    const char *name; // general.architecture
    // Metadata keys, in full.
    const char *n_ctx, *n_embd, *n_ff, *n_layer, *n_head, *n_head_kv, *norm_eps;
    // Tensors of the whole model.
    const char *token_embd, *pos_embd, *out_norm_gain, *out_norm_bias, *head;
    // Tensors of a layer, after "blk.N.".
    const char *attn_norm_gain, *attn_norm_bias, *qkv, *qkv_bias, *attn_out, *attn_out_bias;
    const char *ffn_norm_gain, *ffn_norm_bias, *ffn_up, *ffn_up_bias, *ffn_down, *ffn_down_bias;
} inki_arch;

extern const inki_arch inki_arch_gpt2;

#endif
