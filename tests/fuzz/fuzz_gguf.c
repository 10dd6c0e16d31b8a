// SPDX-License-Identifier: MIT
// Any bytes: the container and the weights open, or fail with a filled error; what they hand out
// can be read to its last byte and is found by its name.
#include "fuzz.h"

#include "model/model.h"

#include <string.h>

static volatile unsigned sink;

static void read_ends(const void *data, size_t n) {
    const uint8_t *p = data;
    if (n > 0) sink += (unsigned)p[0] + p[n - 1];
}

static void walk_container(const inki_gguf *g) {
    for (size_t i = 0; i < g->n_kv; i++) {
        const inki_gguf_kv *kv = &g->kv[i];
        char key[256], text[32];
        const size_t needed = inki_gguf_value_text(kv, text, sizeof text);
        FUZZ_CHECK(strnlen(text, sizeof text) < sizeof text);
        FUZZ_CHECK(needed > 0 || kv->type == INKI_GGUF_STR);
        read_ends(kv->data, kv->bytes);
        if (kv->key.bytes >= sizeof key) continue;
        memcpy(key, kv->key.data, kv->key.bytes);
        key[kv->key.bytes] = 0;
        FUZZ_CHECK(inki_gguf_find(g, key) == kv);
        inki_str_run run = {0};
        if (inki_gguf_get_str_run(g, key, true, &run, NULL) != INK_OK) continue;
        inki_cursor c = inki_cursor_over(run.data, run.bytes);
        for (uint64_t k = 0; k < run.n; k++) {
            const inki_str s = inki_cursor_str(&c);
            read_ends(s.data, s.bytes);
        }
        FUZZ_CHECK(!c.failed && inki_cursor_left(&c) == 0);
    }
    for (size_t i = 0; i < g->n_tensors; i++) {
        const inki_gguf_tensor *t = &g->tensors[i];
        FUZZ_CHECK(inki_gguf_find_tensor(g, t->name) == t);
        FUZZ_CHECK((const uint8_t *)t->data >= g->data && t->offset % g->alignment == 0);
        FUZZ_CHECK(t->bytes > 0 && t->offset <= g->bytes && t->bytes <= g->bytes - t->offset);
        read_ends(t->data, (size_t)t->bytes);
    }
}

static void read_matrix(const inki_tensor *t) { read_ends(t->data, t->n_rows * t->row_bytes); }

static void walk_weights(const inki_weights *w) {
    FUZZ_CHECK(w->head_dim * w->n_head == w->n_embd);
    read_matrix(&w->token_embd);
    read_matrix(&w->pos_embd);
    read_matrix(&w->head);
    for (uint32_t i = 0; i < w->n_layer; i++) {
        const inki_layer *l = &w->layers[i];
        read_matrix(&l->qkv);
        read_matrix(&l->attn_out);
        read_matrix(&l->ffn_up);
        read_matrix(&l->ffn_down);
        read_ends(l->qkv_bias, 3 * w->n_embd * sizeof(float));
        read_ends(l->ffn_up_bias, w->n_ff * sizeof(float));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    static inki_kernels kernels;
    const inki_mem mem = inki_mem_from(NULL);
    ink_error error = {0};
    inki_gguf g = {0};
    inki_weights w = {0};
    if (kernels.name == NULL) inki_kernels_init(&kernels, 0);
    ink_status status = inki_gguf_open(&g, data, bytes, &mem, &error);
    if (status == INK_OK) {
        walk_container(&g);
        status = inki_weights_open(&w, &g, &kernels, &mem, &error);
        inki_weights_find_nonfinite(&g, &kernels, NULL);
    }
    if (status == INK_OK) walk_weights(&w);
    FUZZ_CHECK(error.status == status);
    FUZZ_CHECK((status == INK_OK) == (error.message[0] == 0));
    FUZZ_CHECK(strnlen(error.message, sizeof error.message) < sizeof error.message);
    inki_weights_close(&w);
    inki_gguf_close(&g);
    return 0;
}
