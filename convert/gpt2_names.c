// SPDX-License-Identifier: MIT
#include "convert/gpt2_names.h"

#include <stdio.h>
#include <string.h>

// Sizes in the table below.
typedef enum tensor_size {
    SIZE_NONE,
    SIZE_VOCAB,
    SIZE_CTX,
    SIZE_EMBD,
    SIZE_EMBD_3,
    SIZE_FF
} tensor_size;

enum { IS_TRANSPOSED = 1, IS_WIDE = 2, IS_HEAD = 4 };

typedef struct tensor_rule {
    const char *source, *name; // with %u for the layer's number
    tensor_size rows, cols;    // as written
    unsigned flags;
} tensor_rule;

static const tensor_rule first_rules[] = {
    {"wte.weight", "token_embd.weight", SIZE_VOCAB, SIZE_EMBD, 0},
    {"wpe.weight", "position_embd.weight", SIZE_CTX, SIZE_EMBD,
     IS_WIDE}, // F32 as llama.cpp expects it
};
static const tensor_rule layer_rules[] = {
    {"h.%u.ln_1.weight", "blk.%u.attn_norm.weight", SIZE_NONE, SIZE_EMBD, IS_WIDE},
    {"h.%u.ln_1.bias", "blk.%u.attn_norm.bias", SIZE_NONE, SIZE_EMBD, IS_WIDE},
    {"h.%u.attn.c_attn.weight", "blk.%u.attn_qkv.weight", SIZE_EMBD_3, SIZE_EMBD, IS_TRANSPOSED},
    {"h.%u.attn.c_attn.bias", "blk.%u.attn_qkv.bias", SIZE_NONE, SIZE_EMBD_3, IS_WIDE},
    {"h.%u.attn.c_proj.weight", "blk.%u.attn_output.weight", SIZE_EMBD, SIZE_EMBD, IS_TRANSPOSED},
    {"h.%u.attn.c_proj.bias", "blk.%u.attn_output.bias", SIZE_NONE, SIZE_EMBD, IS_WIDE},
    {"h.%u.ln_2.weight", "blk.%u.ffn_norm.weight", SIZE_NONE, SIZE_EMBD, IS_WIDE},
    {"h.%u.ln_2.bias", "blk.%u.ffn_norm.bias", SIZE_NONE, SIZE_EMBD, IS_WIDE},
    {"h.%u.mlp.c_fc.weight", "blk.%u.ffn_up.weight", SIZE_FF, SIZE_EMBD, IS_TRANSPOSED},
    {"h.%u.mlp.c_fc.bias", "blk.%u.ffn_up.bias", SIZE_NONE, SIZE_FF, IS_WIDE},
    {"h.%u.mlp.c_proj.weight", "blk.%u.ffn_down.weight", SIZE_EMBD, SIZE_FF, IS_TRANSPOSED},
    {"h.%u.mlp.c_proj.bias", "blk.%u.ffn_down.bias", SIZE_NONE, SIZE_EMBD, IS_WIDE},
};
static const tensor_rule last_rules[] = {
    {"ln_f.weight", "output_norm.weight", SIZE_NONE, SIZE_EMBD, IS_WIDE},
    {"ln_f.bias", "output_norm.bias", SIZE_NONE, SIZE_EMBD, IS_WIDE},
};
static const tensor_rule head_rule = {"lm_head.weight", "output.weight", SIZE_VOCAB, SIZE_EMBD,
                                      IS_HEAD};

#define COUNT(a) (sizeof(a) / sizeof(a)[0])

static uint32_t size_of(tensor_size size, const inki_hf_config *c) {
    switch (size) {
    case SIZE_VOCAB: return c->n_vocab;
    case SIZE_CTX: return c->n_ctx;
    case SIZE_EMBD: return c->n_embd;
    case SIZE_EMBD_3: return 3 * c->n_embd;
    case SIZE_FF: return c->n_ff;
    case SIZE_NONE: break;
    }
    return 1;
}

// The rules' texts are ours; they hold one %u or none.
static void fill_name(char *out, size_t cap, const char *rule, uint32_t layer) {
    const char *hole = strstr(rule, "%u");
    if (hole == NULL)
        snprintf(out, cap, "%s", rule);
    else
        snprintf(out, cap, "%.*s%u%s", (int)(hole - rule), rule, (unsigned)layer, hole + 2);
}

size_t inki_gpt2_n_names(const inki_hf_config *config) {
    return COUNT(first_rules) + (size_t)config->n_layer * COUNT(layer_rules) + COUNT(last_rules);
}

inki_gpt2_name inki_gpt2_name_of(const inki_hf_config *config, size_t index) {
    const size_t n_first = COUNT(first_rules), n_layer = COUNT(layer_rules),
                 layers_end = n_first + config->n_layer * n_layer;
    const tensor_rule *rule = &head_rule;
    uint32_t layer = 0;
    if (index < n_first) {
        rule = &first_rules[index];
    } else if (index < layers_end) {
        rule = &layer_rules[(index - n_first) % n_layer];
        layer = (uint32_t)((index - n_first) / n_layer);
    } else if (index < layers_end + COUNT(last_rules)) {
        rule = &last_rules[index - layers_end];
    }
    inki_gpt2_name out = {.rows = size_of(rule->rows, config),
                          .cols = size_of(rule->cols, config),
                          .vector = rule->rows == SIZE_NONE,
                          .transposed = (rule->flags & IS_TRANSPOSED) != 0,
                          .wide = (rule->flags & IS_WIDE) != 0,
                          .head = (rule->flags & IS_HEAD) != 0};
    fill_name(out.source, sizeof out.source, rule->source, layer);
    fill_name(out.name, sizeof out.name, rule->name, layer);
    return out;
}
