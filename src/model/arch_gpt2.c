// SPDX-License-Identifier: MIT
// Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (keys, tensor names)
#include "model/arch.h"

const inki_arch inki_arch_gpt2 = {
    .name = "gpt2",
    .n_ctx = "gpt2.context_length",
    .n_embd = "gpt2.embedding_length",
    .n_ff = "gpt2.feed_forward_length",
    .n_layer = "gpt2.block_count",
    .n_head = "gpt2.attention.head_count",
    .n_head_kv = "gpt2.attention.head_count_kv",
    .norm_eps = "gpt2.attention.layer_norm_epsilon",
    .token_embd = "token_embd.weight",
    .pos_embd = "position_embd.weight",
    .out_norm_gain = "output_norm.weight",
    .out_norm_bias = "output_norm.bias",
    .head = "output.weight",
    .attn_norm_gain = "attn_norm.weight",
    .attn_norm_bias = "attn_norm.bias",
    .qkv = "attn_qkv.weight",
    .qkv_bias = "attn_qkv.bias",
    .attn_out = "attn_output.weight",
    .attn_out_bias = "attn_output.bias",
    .ffn_norm_gain = "ffn_norm.weight",
    .ffn_norm_bias = "ffn_norm.bias",
    .ffn_up = "ffn_up.weight",
    .ffn_up_bias = "ffn_up.bias",
    .ffn_down = "ffn_down.weight",
    .ffn_down_bias = "ffn_down.bias",
};
