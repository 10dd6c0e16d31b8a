// SPDX-License-Identifier: MIT
// Reads tests/fixtures/train/oracle.bin, which tests/oracle/train_fixture.py makes: arrays one
// behind the other, each after its length as int64.
#ifndef TRAIN_ORACLE_H
#define TRAIN_ORACLE_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct oracle {
    char *data, *at;
    int32_t *sizes; // V C E L H FF RANK STEPS BATCH WARMUP
    double *rates;  // ALPHA RATE RATE_END BETA1 BETA2 EPS DECAY CLIP
    float *weights; // all parameters
    int32_t *ids;   // [2, C + 1]
    double *loss;
    float *grads;
    float *lora; // all adapters
    double *lora_loss;
    float *lora_grads;
    int32_t *steps; // [STEPS, BATCH, C + 1]
    double *losses; // [STEPS]
    size_t n_weights, n_lora;
} oracle;

// Arrays of 4-byte numbers make the next one lie anywhere, so each is copied to where it may lie.
static void *oracle_array(oracle *o, size_t elem_bytes, size_t *n) {
    int64_t count;
    memcpy(&count, o->at, sizeof count);
    o->at += sizeof count;
    const size_t bytes = (size_t)count * elem_bytes;
    void *out = malloc(bytes);
    memcpy(out, o->at, bytes);
    o->at += bytes;
    if (n != NULL) *n = (size_t)count;
    return out;
}

static int oracle_open(oracle *o) {
    char path[4096];
    const char *source = getenv("INKLING_SOURCE_DIR");
    snprintf(path, sizeof path, "%s/tests/fixtures/train/oracle.bin",
             source != NULL ? source : ".");
    FILE *file = fopen(path, "rb");
    if (file == NULL) return 0;
    fseek(file, 0, SEEK_END);
    const size_t bytes = (size_t)ftell(file);
    rewind(file);
    o->data = o->at = malloc(bytes);
    const size_t got = fread(o->data, 1, bytes, file);
    fclose(file);
    if (got != bytes) return 0;
    o->sizes = oracle_array(o, 4, NULL);
    o->rates = oracle_array(o, 8, NULL);
    o->weights = oracle_array(o, 4, &o->n_weights);
    o->ids = oracle_array(o, 4, NULL);
    o->loss = oracle_array(o, 8, NULL);
    o->grads = oracle_array(o, 4, NULL);
    o->lora = oracle_array(o, 4, &o->n_lora);
    o->lora_loss = oracle_array(o, 8, NULL);
    o->lora_grads = oracle_array(o, 4, NULL);
    o->steps = oracle_array(o, 4, NULL);
    o->losses = oracle_array(o, 8, NULL);
    return 1;
}

static void oracle_close(oracle *o) {
    void *all[] = {o->data,  o->sizes, o->rates,     o->weights,    o->ids,   o->loss,
                   o->grads, o->lora,  o->lora_loss, o->lora_grads, o->steps, o->losses};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

#endif
