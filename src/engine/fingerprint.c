// SPDX-License-Identifier: MIT
// What tells models apart, and adapters: a checksum of what their files say and of some of their
// numbers, so that it is the same wherever the file lies and however it was opened. Weights are
// only sampled: reading all of them would take longer than what is saved by it.
#include "engine/engine.h"

#include "base/checksum.h"

enum { SAMPLE_HALF = 2048 }; // from a tensor's beginning, and as much from its end

static void add_numbers(inki_checksum *sum, const uint64_t *numbers, size_t n) {
    inki_checksum_add(sum, numbers, n * sizeof *numbers);
}

static void add_container(inki_checksum *sum, const inki_gguf *g) {
    add_numbers(sum, (const uint64_t[]){g->n_kv, g->n_tensors}, 2);
    for (size_t i = 0; i < g->n_kv; i++) {
        const inki_gguf_kv *kv = &g->kv[i];
        add_numbers(sum, (const uint64_t[]){kv->key.bytes, kv->type, kv->item_type, kv->bytes}, 4);
        inki_checksum_add(sum, kv->key.data, kv->key.bytes);
        inki_checksum_add(sum, kv->data, kv->bytes);
    }
    for (size_t i = 0; i < g->n_tensors; i++) {
        const inki_gguf_tensor *t = &g->tensors[i];
        const size_t most = (size_t)t->bytes, n = most < SAMPLE_HALF ? most : SAMPLE_HALF;
        add_numbers(sum, (const uint64_t[]){strlen(t->name), t->type}, 2);
        inki_checksum_add(sum, t->name, strlen(t->name));
        add_numbers(sum, t->dims, INKI_GGUF_MAX_DIMS);
        inki_checksum_add(sum, t->data, n);
        inki_checksum_add(sum, (const uint8_t *)t->data + most - n, n);
    }
}

static uint64_t end_nonzero(const inki_checksum *sum) {
    const uint64_t result = inki_checksum_end(sum);
    return result != 0 ? result : 1;
}

uint64_t inki_model_fingerprint(const ink_model *model) {
    // A cache, though the model is immutable: whoever computes it at the same time gets the same.
    atomic_uint_fast64_t *known = (atomic_uint_fast64_t *)&model->fingerprint;
    uint64_t result = atomic_load_explicit(known, memory_order_relaxed);
    if (result != 0) return result;
    inki_checksum sum;
    inki_checksum_init(&sum);
    add_container(&sum, &model->gguf);
    result = end_nonzero(&sum);
    atomic_store_explicit(known, result, memory_order_relaxed);
    return result;
}

uint64_t inki_adapters_fingerprint(const inki_lora_list *loras, const ink_adapter_use *list,
                                   size_t n) {
    if (loras->n == 0) return 0;
    inki_checksum sum;
    inki_checksum_init(&sum);
    for (size_t i = 0; i < n; i++) {
        if (list[i].scale == 0) continue; // as if it were not there
        add_container(&sum, &list[i].adapter->gguf);
        inki_checksum_add(&sum, &list[i].scale, sizeof list[i].scale);
    }
    return end_nonzero(&sum);
}
