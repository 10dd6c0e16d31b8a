// SPDX-License-Identifier: MIT
// Which tensors are never quantised, how wide the head stays and what rows of other lengths fall
// back to is as in llama.cpp. Where a preset keeps more tensors wide, the choice is by measurement:
// on trained models errors of the head and of the first layers harm most by far
// (docs/PERFORMANCE.md). Source: llama.cpp, llama-quant.cpp.
#include "convert/quantize_plan.h"

#include "convert/quantize_rows.h"

#include <stdio.h>
#include <string.h>

uint32_t inki_quantize_file_type(inki_quantize_preset preset) {
    static const uint32_t numbers[INKI_QUANTIZE_PRESETS] = {
        [INKI_QUANTIZE_Q8_0] = 7,  [INKI_QUANTIZE_Q4_0] = 2,
        [INKI_QUANTIZE_Q4_K] = 14,                             // "Q4_K, small"
        [INKI_QUANTIZE_Q6_K] = 18, [INKI_QUANTIZE_MIXED] = 15, // "Q4_K, medium"
    };
    return numbers[preset];
}

// "blk.12.ffn_up.weight": layer 12, role "ffn_up.weight".
static void split_name(inki_quantize_item *item) {
    const char *name = item->from->name;
    item->layer = UINT32_MAX;
    item->role = name;
    if (strncmp(name, "blk.", 4) != 0) return;
    uint32_t layer = 0;
    const char *p = name + 4;
    for (; *p >= '0' && *p <= '9' && layer < 100000; p++) layer = layer * 10 + (uint32_t)(*p - '0');
    if (p == name + 4 || *p != '.' || p[1] == 0) return;
    item->layer = layer;
    item->role = p + 1;
}

static bool is_matrix(const inki_quantize_item *item) {
    const inki_gguf_tensor *t = item->from;
    const bool vector = t->dims[1] == 1 && t->dims[2] == 1 && t->dims[3] == 1;
    return !vector && inki_ends_with(t->name, "weight") &&
           strstr(t->name, "_norm.weight") == NULL && strcmp(t->name, "position_embd.weight") != 0;
}

static uint32_t mixed_type(const inki_quantize_item *item, bool is_head, uint32_t n_layers) {
    const uint32_t n_first = n_layers / 8 > 0 ? n_layers / 8 : 1;
    if (is_head) return INKI_Q8_0;
    // The embedding, where it is not the head, comes before the first layer.
    return item->layer == UINT32_MAX || item->layer < n_first ? INKI_Q6_K : INKI_Q4_K;
}

static uint32_t wanted_type(const inki_quantize_item *item, inki_quantize_preset preset,
                            bool is_head, uint32_t n_layers) {
    switch (preset) {
    case INKI_QUANTIZE_Q8_0: return INKI_Q8_0;
    case INKI_QUANTIZE_Q6_K: return INKI_Q6_K;
    case INKI_QUANTIZE_Q4_0: return is_head ? INKI_Q6_K : INKI_Q4_0;
    case INKI_QUANTIZE_Q4_K: return is_head ? INKI_Q6_K : INKI_Q4_K;
    default: return mixed_type(item, is_head, n_layers);
    }
}

uint32_t inki_quantize_type_that_fits(uint32_t wanted, uint64_t cols) {
    if (cols % inki_type_of(wanted).block_elems == 0) return wanted;
    const uint32_t narrow = wanted == INKI_Q4_K   ? INKI_Q5_0
                            : wanted == INKI_Q5_K ? INKI_Q5_1
                            : wanted == INKI_Q6_K ? INKI_Q8_0
                                                  : wanted;
    return cols % inki_type_of(narrow).block_elems == 0 ? narrow : INKI_F16;
}

static uint64_t bytes_as(const inki_gguf_tensor *t, uint32_t type) {
    uint64_t bytes = 0;
    inki_type_row_bytes(type, t->dims[0], &bytes);
    return bytes * t->dims[1] * t->dims[2] * t->dims[3];
}

// What Q5_K takes more than Q4_K, or the types that stand in for them.
static uint64_t cost_of_q5(const inki_gguf_tensor *t) {
    const uint32_t wide = inki_quantize_type_that_fits(INKI_Q5_K, t->dims[0]);
    return bytes_as(t, wide) - bytes_as(t, inki_quantize_type_that_fits(INKI_Q4_K, t->dims[0]));
}

// What is done with a tensor while bytes are spent: 0 counts what there is to spend, 1 widens
// blocks of 256, 2 those of 32, which gain less.
static void spend_on(inki_quantize_item *item, int pass, bool counted, uint64_t *spare) {
    const inki_gguf_tensor *t = item->from;
    const uint64_t cost = item->wanted == INKI_Q4_K ? cost_of_q5(t) : 0;
    if (pass == 0) {
        if (counted) *spare += cost;
    } else if (cost > 0 && cost <= *spare && (pass == 2 || item->type == INKI_Q4_K)) {
        *spare -= cost;
        item->wanted = INKI_Q5_K;
        item->type = inki_quantize_type_that_fits(INKI_Q5_K, t->dims[0]);
    }
}

// llama.cpp's Q4_K has attn_qkv of four layers and ffn_down of the first eighth in Q5_K. The same
// number of bytes does far more good when it is spent on the first layers.
static void spend_on_first_layers(inki_quantize_item *items, const inki_gguf *gguf,
                                  uint32_t n_layers) {
    static const char *const roles[] = {"attn_qkv", "ffn_up", "ffn_down", "attn_output"};
    uint64_t spare = 0;
    for (int pass = 0; pass < 3; pass++)
        for (uint32_t layer = 0; layer < n_layers && (pass == 0 || spare > 0); layer++)
            for (size_t k = 0; k < sizeof roles / sizeof *roles; k++) {
                char name[64];
                snprintf(name, sizeof name, "blk.%u.%s.weight", (unsigned)layer, roles[k]);
                const inki_gguf_tensor *t = inki_gguf_find_tensor(gguf, name);
                const bool counted = (k == 0 && layer < 4) || (k == 2 && layer < n_layers / 8);
                if (t != NULL) spend_on(&items[t - gguf->tensors], pass, counted, &spare);
            }
}

void inki_quantize_plan(inki_quantize_item *items, const inki_gguf *gguf,
                        inki_quantize_preset preset, uint32_t n_layers) {
    const char *head = inki_gguf_find_tensor(gguf, "output.weight") != NULL ? "output.weight"
                                                                            : "token_embd.weight";
    for (size_t i = 0; i < gguf->n_tensors; i++) {
        inki_quantize_item *item = &items[i];
        *item = (inki_quantize_item){.from = &gguf->tensors[i]};
        split_name(item);
        item->wanted = item->type = item->from->type;
        if (!is_matrix(item)) continue;
        item->wanted = wanted_type(item, preset, strcmp(item->from->name, head) == 0, n_layers);
        item->type = inki_quantize_type_that_fits(item->wanted, item->from->dims[0]);
    }
    if (preset == INKI_QUANTIZE_Q4_K) spend_on_first_layers(items, gguf, n_layers);
}

void inki_quantize_check_reach(inki_quantize_item *item, float largest) {
    if (item->type == item->from->type) return;
    const float reach = item->type == INKI_F16 ? 65504.0f : inki_quantize_reach(item->type);
    if (largest <= reach) return;
    item->too_large = true;
    item->type = item->from->type;
}

static bool belongs(const inki_quantize_group *g, const inki_quantize_item *item) {
    return g->type == item->type && g->wanted == item->wanted && g->type_in == item->from->type &&
           strcmp(g->role, item->role) == 0;
}

void inki_quantize_make_groups(inki_quantize_item *items, size_t n, inki_quantize_result *result) {
    for (size_t i = 0; i < n; i++) {
        inki_quantize_item *item = &items[i];
        size_t k = 0;
        while (k < result->n_groups && !belongs(&result->groups[k], item)) k++;
        if (k == INKI_QUANTIZE_MAX_GROUPS) k--;
        inki_quantize_group *g = &result->groups[k];
        if (k == result->n_groups) {
            result->n_groups++;
            g->type_in = item->from->type;
            g->wanted = item->wanted;
            g->type = item->type;
            snprintf(g->role, sizeof g->role, "%s", item->role);
        }
        item->group = k;
        uint64_t elems = 1;
        for (int d = 0; d < INKI_GGUF_MAX_DIMS; d++) elems *= item->from->dims[d];
        g->n_tensors++;
        g->n_elems += elems;
        g->bytes_in += item->from->bytes;
        g->bytes_out += bytes_as(item->from, item->type);
        result->n_elems += elems;
    }
}
