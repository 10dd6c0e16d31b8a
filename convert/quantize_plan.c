// SPDX-License-Identifier: MIT
// The choices are llama.cpp's, so that files compare byte for byte in size: which tensors are never
// quantised, which are kept wider, what rows of other lengths fall back to.
// Source: llama.cpp, llama-quant.cpp.
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

static bool ends_with(const char *name, const char *end) {
    const size_t n = strlen(name), m = strlen(end);
    return n >= m && strcmp(name + n - m, end) == 0;
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
    return !vector && ends_with(t->name, "weight") && strstr(t->name, "_norm.weight") == NULL &&
           strcmp(t->name, "position_embd.weight") != 0;
}

// Layers whose errors all later ones inherit, the last ones, and every third between.
static bool is_sensitive_layer(uint32_t layer, uint32_t n_layers) {
    return layer < n_layers / 8 || layer >= 7 * n_layers / 8 || (layer - n_layers / 8) % 3 == 2;
}

static uint32_t wanted_type(const inki_quantize_item *item, inki_quantize_preset preset,
                            bool is_head, uint32_t n_layers) {
    const bool qkv = strcmp(item->role, "attn_qkv.weight") == 0;
    const bool down = strcmp(item->role, "ffn_down.weight") == 0;
    if (is_head) return preset == INKI_QUANTIZE_Q8_0 ? INKI_Q8_0 : INKI_Q6_K;
    switch (preset) {
    case INKI_QUANTIZE_Q8_0: return INKI_Q8_0;
    case INKI_QUANTIZE_Q4_0: return INKI_Q4_0;
    case INKI_QUANTIZE_Q6_K: return INKI_Q6_K;
    case INKI_QUANTIZE_Q4_K:
        if (qkv && item->layer < 4) return INKI_Q5_K;
        if (down && item->layer < n_layers / 8) return INKI_Q5_K;
        return INKI_Q4_K;
    default:
        return (qkv || down) && is_sensitive_layer(item->layer, n_layers) ? INKI_Q6_K : INKI_Q4_K;
    }
}

static uint32_t type_that_fits(uint32_t wanted, uint64_t cols) {
    if (cols % inki_type_of(wanted).block_elems == 0) return wanted;
    const uint32_t narrow = wanted == INKI_Q4_K   ? INKI_Q5_0
                            : wanted == INKI_Q5_K ? INKI_Q5_1
                            : wanted == INKI_Q6_K ? INKI_Q8_0
                                                  : wanted;
    return cols % inki_type_of(narrow).block_elems == 0 ? narrow : INKI_F16;
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
        item->type = type_that_fits(item->wanted, item->from->dims[0]);
    }
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
        uint64_t elems = item->from->dims[0], bytes = 0;
        inki_type_row_bytes(item->type, elems, &bytes);
        for (int d = 1; d < INKI_GGUF_MAX_DIMS; d++) {
            elems *= item->from->dims[d];
            bytes *= item->from->dims[d];
        }
        g->n_tensors++;
        g->n_elems += elems;
        g->bytes_in += item->from->bytes;
        g->bytes_out += bytes;
        result->n_elems += elems;
    }
}
