// SPDX-License-Identifier: MIT
// Usage: train_speed STEPS f32|bf16|both [THREADS [EMBD LAYERS HEADS CONTEXT VOCAB BATCH PASS]]
// Tokens a second of training steps over random tokens; one line: precision, tokens/s, last loss.
// With `both`, and 500 steps over text that can be learnt, the two losses can be compared.
#include "train/trainer.h"

#include "os/os.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct job {
    uint32_t n_steps, n_threads, n_embd, n_layer, n_head, n_ctx, n_vocab, batch, pass;
} job;

// Half of the tokens follow from the one before, so that there is something to learn.
static void make_sequence(const job *j, uint64_t seed, int32_t *ids) {
    uint64_t x = seed * 0x9e3779b97f4a7c15u + 1;
    int32_t last = 0;
    for (uint32_t i = 0; i <= j->n_ctx; i++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        last = x >> 63 != 0 ? (int32_t)((uint32_t)last * 7 % j->n_vocab)
                            : (int32_t)((x >> 20) % j->n_vocab);
        ids[i] = last;
    }
}

static int fail(const char *what, const ink_error *error) {
    fprintf(stderr, "train_speed: %s: %s\n", what, error->message);
    return 1;
}

static int run(const job *j, inki_precision precision) {
    ink_error error = {0};
    const inki_mem mem = inki_mem_from(NULL);
    inki_kernels kernels;
    inki_pool *pool = NULL;
    inki_net *net = NULL;
    inki_trainer *trainer = NULL;
    inki_kernels_init(&kernels, ~0u);
    if (inki_pool_new(&pool, &mem, j->n_threads, &error) != INK_OK) return fail("threads", &error);
    inki_pool_enter(pool);
    const inki_compute compute = {mem, &kernels, pool, (uint32_t)inki_level_by_name(kernels.name),
                                  precision};
    const inki_net_options options = {
        .shape = {j->n_vocab, j->n_ctx, j->n_embd, j->n_layer, j->n_head, 4 * j->n_embd, 1e-5f},
        .n_tokens_a_pass = j->pass * j->n_ctx};
    const inki_train_settings settings = {.batch = j->batch,
                                          .n_steps = j->n_steps,
                                          .n_warmup = 20,
                                          .rate = 2e-3f,
                                          .rate_end = 2e-4f,
                                          .beta1 = 0.9f,
                                          .beta2 = 0.98f,
                                          .eps = 1e-8f,
                                          .decay = 0.1f,
                                          .clip = 1};
    if (inki_net_new(&net, &compute, &options, &error) != INK_OK) return fail("net", &error);
    inki_net_init_random(net, 1);
    if (inki_trainer_new(&trainer, net, NULL, NULL, &settings, &mem, &error) != INK_OK)
        return fail("trainer", &error);
    int32_t *ids = malloc((size_t)j->batch * (j->n_ctx + 1) * sizeof *ids);
    if (ids == NULL) return 1;
    double begin = 0, loss = 0;
    for (uint32_t i = 0; i < j->n_steps; i++) {
        inki_train_report report;
        for (uint32_t b = 0; b < j->batch; b++)
            make_sequence(j, (uint64_t)i * j->batch + b + 1, ids + (size_t)b * (j->n_ctx + 1));
        if (i == 1) begin = inki_os_now_ms(); // the first one touches the memory
        if (inki_trainer_learn(trainer, ids, &report, &error) != INK_OK)
            return fail("step", &error);
        loss = report.loss;
    }
    const double n = (double)(j->n_steps - 1) * j->batch * j->n_ctx;
    printf("%s %.0f %.5f\n", inki_net_precision(net) == INKI_PRECISION_BF16 ? "bf16" : "f32",
           n / (inki_os_now_ms() - begin) * 1000, loss);
    free(ids);
    inki_trainer_free(trainer);
    inki_net_free(net);
    inki_pool_leave(pool);
    inki_pool_free(pool);
    return 0;
}

int main(int argc, char **argv) {
    job j = {0, 2, 128, 4, 4, 192, 2048, 24, 24};
    uint32_t *fields[] = {&j.n_threads, &j.n_embd,  &j.n_layer, &j.n_head,
                          &j.n_ctx,     &j.n_vocab, &j.batch,   &j.pass};
    if (argc < 3 || (j.n_steps = (uint32_t)atoi(argv[1])) < 2) {
        fputs("usage: train_speed STEPS f32|bf16|both [THREADS [EMBD LAYERS HEADS CONTEXT VOCAB "
              "BATCH PASS]]\n",
              stderr);
        return 2;
    }
    for (int i = 3; i < argc && i < 11; i++) *fields[i - 3] = (uint32_t)atoi(argv[i]);
    int code = 0;
    if (strcmp(argv[2], "bf16") != 0) code |= run(&j, INKI_PRECISION_F32);
    if (strcmp(argv[2], "f32") != 0) code |= run(&j, INKI_PRECISION_BF16);
    return code;
}
