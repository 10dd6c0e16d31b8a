// SPDX-License-Identifier: MIT
// A very small run: net, data and trainer, and a folder for its checkpoints.
#ifndef INKLING_TESTS_CHECKPOINT_FIXTURE_H
#define INKLING_TESTS_CHECKPOINT_FIXTURE_H

#include "tests/train/data_fixture.h"
#include "train/trainer_state.h"

// Where things lie in a file, written down a second time so that a change of it is seen.
enum {
    CK_VERSION_AT = 8,
    CK_HEAD_BYTES_AT = 12,
    CK_FIELDS_AT = 16,
    CK_N_FIELDS = 25,
    CK_HEAD_SUM_AT = CK_FIELDS_AT + 8 * CK_N_FIELDS,
    CK_CONFIG_AT = CK_HEAD_SUM_AT + 8,
    CK_FILE_BYTES = 0, // fields
    CK_CONFIG_BYTES = 1,
    CK_CONFIG_SUM = 2,
    CK_N_VALUES = 3,
    CK_N_DONE = 18,
};

typedef struct run_options {
    inki_net_shape shape;
    inki_data_options data;
    inki_train_settings settings;
    uint32_t lora_rank;
    float lora_alpha;
    const inki_weights *base;
    const char *more_text; // behind the usual one
    float dropout;
    inki_mem mem; // of the trainer
} run_options;

typedef struct run {
    inki_kernels kernels;
    inki_compute compute;
    inki_data *data;
    inki_net *net;
    inki_trainer *trainer;
} run;

static inline run_options run_defaults(void) {
    return (run_options){.shape = {.n_vocab = 256 + N_PAIRS + 1,
                                   .n_ctx = 8,
                                   .n_embd = 4,
                                   .n_layer = 1,
                                   .n_head = 2,
                                   .n_ff = 8,
                                   .norm_eps = 1e-5f},
                         .data = {.n_ctx = 8, .seed = 5, .held_out = 0.1, .blank_lines = 0.3},
                         .settings = {.batch = 3,
                                      .n_steps = 12,
                                      .n_warmup = 2,
                                      .rate = 0.01f,
                                      .rate_end = 0.001f,
                                      .beta1 = 0.9f,
                                      .beta2 = 0.99f,
                                      .eps = 1e-8f,
                                      .decay = 0.1f,
                                      .clip = 1,
                                      .seed = 3,
                                      .validate_every = 4},
                         .lora_alpha = 8,
                         .dropout = 0.1f,
                         .mem = inki_mem_from(NULL)};
}

static inline void run_open(run *r, const data_fixture *f, const run_options *o) {
    const inki_mem mem = inki_mem_from(NULL);
    text t = {0};
    memset(r, 0, sizeof *r);
    for (int k = 0; k < 300; k++) {
        text_pair(&t, k);
        if (k % 7 == 3) text_put(&t, "\n");
        if (k % 13 == 12) text_put(&t, "<|endoftext|>");
    }
    if (o->more_text != NULL) text_put(&t, o->more_text);
    inki_kernels_init(&r->kernels, inki_level_mask(INKI_LEVEL_PORTABLE));
    r->compute = (inki_compute){.mem = mem, .kernels = &r->kernels, .level = INKI_LEVEL_PORTABLE};
    inki_net_options options = {.shape = o->shape,
                                .n_tokens_a_pass = 8,
                                .base = o->base,
                                .dropout = o->dropout,
                                .lora_rank = o->lora_rank,
                                .lora_alpha = o->lora_rank > 0 ? o->lora_alpha : 0};
    if (o->data.n_ctx != o->shape.n_ctx) {
        options.n_seq = o->data.n_ctx;
        options.n_tokens_a_pass = o->data.n_ctx;
    }
    ink_error error = {0};
    if (data_from(&r->data, f, &t, &o->data, NULL, &error) != INK_OK ||
        inki_net_new(&r->net, &r->compute, &options, &error) != INK_OK) {
        fprintf(stderr, "%s\n", error.message);
        exit(3);
    }
    inki_net_init_random(r->net, o->settings.seed);
    if (inki_trainer_new(&r->trainer, r->net, r->data, NULL, &o->settings, &o->mem, &error) !=
        INK_OK) {
        fprintf(stderr, "%s\n", error.message);
        exit(3);
    }
    text_free(&t);
}

static inline void run_close(run *r) {
    inki_trainer_free(r->trainer);
    inki_net_free(r->net);
    inki_data_free(r->data);
}

// All that a checkpoint keeps, as numbers, so that two states can be compared to the last bit.
static inline size_t run_state_bytes(const run *r) {
    return r->trainer->n_values * 16 + sizeof r->trainer->counts;
}
static inline uint8_t *run_state(const run *r) {
    const inki_trainer *t = r->trainer;
    const float *arrays[4] = {inki_net_weights(t->net), t->average, t->square, t->best};
    uint8_t *out = malloc(run_state_bytes(r)), *at = out;
    if (out == NULL) exit(3);
    for (int i = 0; i < 4; i++, at += 4 * t->n_values) memcpy(at, arrays[i], 4 * t->n_values);
    memcpy(at, &t->counts, sizeof t->counts);
    return out;
}

// Any bits, also those that are no numbers: what is kept is not looked at.
static inline void run_scramble(run *r, uint32_t seed) {
    inki_trainer *t = r->trainer;
    float *arrays[4] = {inki_net_weights(t->net), t->average, t->square, t->best};
    for (int i = 0; i < 4; i++)
        for (size_t k = 0; k < t->n_values; k++) {
            const uint32_t bits = next_random(&seed);
            memcpy(arrays[i] + k, &bits, sizeof bits);
        }
    t->counts = (struct inki_trainer_counts){.n_done = 7,
                                             .n_tokens = next_random(&seed),
                                             .best_step = next_random(&seed),
                                             .n_worse = next_random(&seed),
                                             .best_loss = 1.0 / next_random(&seed),
                                             .last_loss = 1.0 / next_random(&seed)};
}

static inline void ck_put(uint8_t *file, size_t at, uint64_t value, size_t bytes) {
    for (size_t i = 0; i < bytes; i++) file[at + i] = (uint8_t)(value >> (8 * i));
}
static inline uint64_t ck_get(const uint8_t *file, size_t at) {
    uint64_t value = 0;
    for (size_t i = 8; i-- > 0;) value = value << 8 | file[at + i];
    return value;
}

#endif
