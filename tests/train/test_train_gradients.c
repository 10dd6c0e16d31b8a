// SPDX-License-Identifier: MIT
// The net against PyTorch in double precision: the loss, the gradient of every tensor, and 50 steps
// of AdamW from the same weights over the same sequences. Label: threads
#include "train/trainer.h"
#include "train_oracle.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static oracle fixture;

typedef struct bench {
    inki_mem mem;
    inki_kernels kernels;
    inki_pool *pool;
    inki_compute compute;
} bench;

// The highest level of the mask, and how many threads.
static void bench_open(bench *b, uint32_t level, uint32_t n_threads, inki_precision precision) {
    memset(b, 0, sizeof *b);
    b->mem = inki_mem_from(NULL);
    inki_kernels_init(&b->kernels, inki_level_mask(level));
    if (n_threads > 1) {
        assert_int_equal(inki_pool_new(&b->pool, &b->mem, n_threads, NULL), INK_OK);
        assert_true(inki_pool_enter(b->pool));
    }
    b->compute = (inki_compute){b->mem, &b->kernels, b->pool, level, precision};
}

static void bench_close(bench *b) {
    if (b->pool != NULL) inki_pool_leave(b->pool);
    inki_pool_free(b->pool);
}

static inki_net_options oracle_options(void) {
    const int32_t *s = fixture.sizes;
    return (inki_net_options){.shape = {.n_vocab = (uint32_t)s[0],
                                        .n_ctx = (uint32_t)s[1],
                                        .n_embd = (uint32_t)s[2],
                                        .n_layer = (uint32_t)s[3],
                                        .n_head = (uint32_t)s[4],
                                        .n_ff = (uint32_t)s[5],
                                        .norm_eps = 1e-5f}};
}

static bool has_level(uint32_t level) {
    const uint32_t mask = inki_level_mask(level);
    return (inki_cpu_levels() & mask) == mask;
}

// Each tensor's largest difference, over its largest gradient.
static void check_grads(const inki_net *net, const float *grads, const float *expected,
                        double limit) {
    const inki_param *params;
    const size_t n = inki_net_n_params(net, &params);
    for (size_t i = 0; i < n; i++) {
        double worst = 0, largest = 0;
        for (size_t k = 0; k < (size_t)params[i].n_rows * params[i].n_cols; k++) {
            const double e = (double)expected[params[i].at + k];
            const double d = fabs((double)grads[params[i].at + k] - e);
            if (!(d <= worst)) worst = d;
            if (fabs(e) > largest) largest = fabs(e);
        }
        assert_true(largest > 0);
        if (!(worst <= limit * largest))
            fail_msg("%s: gradients differ by %.3g of %.3g", params[i].name, worst, largest);
    }
}

static void learn(inki_net *net, inki_net_loss *loss) {
    const inki_net_options *o = inki_net_get_options(net);
    const size_t most = o->n_tokens_a_pass / o->n_seq;
    for (size_t s = 0; s < 2; s += most) {
        const inki_net_batch batch = {.ids = fixture.ids + s * (o->n_seq + 1),
                                      .n_sequences = most < 2 ? 1 : 2,
                                      .n_scaled = 2 * (uint64_t)o->n_seq,
                                      .first_sequence = s};
        inki_net_begin(net, &batch);
        while (inki_net_advance(net, loss)) {}
    }
}

// The loss is the mean over all targets; both sequences at once, or one after the other.
static void check_net(const bench *b, uint32_t n_tokens_a_pass, bool recompute, double limit) {
    inki_net_options options = oracle_options();
    inki_net *net = NULL;
    inki_net_loss loss = {0, 0};
    options.n_tokens_a_pass = n_tokens_a_pass;
    options.recompute = recompute;
    assert_int_equal(inki_net_new(&net, &b->compute, &options, NULL), INK_OK);
    assert_int_equal(inki_net_n_values(net), fixture.n_weights);
    memcpy(inki_net_weights(net), fixture.weights, fixture.n_weights * sizeof(float));
    learn(net, &loss);
    const double mean = loss.sum / (2.0 * fixture.sizes[1]);
    assert_true(fabs(mean - *fixture.loss) <= limit * *fixture.loss);
    check_grads(net, inki_net_grads(net), fixture.grads, limit);
    // The same loss without learning.
    double evaluated = 0;
    for (uint32_t s = 0; s < 2; s++)
        evaluated += inki_net_evaluate(net, fixture.ids + s * (options.shape.n_ctx + 1),
                                       options.shape.n_ctx);
    assert_true(fabs(evaluated - loss.sum) <= 1e-6 * loss.sum);
    inki_net_free(net);
}

static void every_gradient_is_pytorchs(void **state) {
    (void)state;
    for (uint32_t level = 0; level < INKI_LEVELS; level++) {
        if (!has_level(level)) continue;
        for (uint32_t n_threads = 1; n_threads <= 3; n_threads++) {
            bench b;
            const uint32_t n_ctx = (uint32_t)fixture.sizes[1];
            bench_open(&b, level, n_threads, INKI_PRECISION_F32);
            check_net(&b, n_ctx, false, 1e-4);
            check_net(&b, 2 * n_ctx, false, 1e-4);
            check_net(&b, 2 * n_ctx, true, 1e-4);
            bench_close(&b);
        }
    }
}

// Products of rounded numbers: as near as 2^-8 lets them be.
static void bf16_gradients_are_near(void **state) {
    (void)state;
    bench b;
    uint32_t level = 0;
    for (uint32_t i = 0; i < INKI_LEVELS; i++)
        if (has_level(i)) level = i;
    bench_open(&b, level, 1, INKI_PRECISION_BF16);
    check_net(&b, 2 * (uint32_t)fixture.sizes[1], false, 4e-2);
    bench_close(&b);
}

// 50 steps: losses as PyTorch's, at each step.
static void check_curve(inki_precision precision, double limit) {
    bench b;
    uint32_t level = 0;
    for (uint32_t i = 0; i < INKI_LEVELS; i++)
        if (has_level(i)) level = i;
    bench_open(&b, level, 2, precision);
    const double *r = fixture.rates;
    const uint32_t n_steps = (uint32_t)fixture.sizes[7], batch = (uint32_t)fixture.sizes[8];
    inki_net_options options = oracle_options();
    options.n_tokens_a_pass = batch * options.shape.n_ctx;
    const inki_train_settings settings = {.batch = batch,
                                          .n_steps = n_steps,
                                          .n_warmup = (uint64_t)fixture.sizes[9],
                                          .rate = (float)r[1],
                                          .rate_end = (float)r[2],
                                          .beta1 = (float)r[3],
                                          .beta2 = (float)r[4],
                                          .eps = (float)r[5],
                                          .decay = (float)r[6],
                                          .clip = (float)r[7]};
    inki_net *net = NULL;
    inki_trainer *trainer = NULL;
    assert_int_equal(inki_net_new(&net, &b.compute, &options, NULL), INK_OK);
    memcpy(inki_net_weights(net), fixture.weights, fixture.n_weights * sizeof(float));
    assert_int_equal(inki_trainer_new(&trainer, net, NULL, NULL, &settings, &b.mem, NULL), INK_OK);
    for (uint32_t i = 0; i < n_steps; i++) {
        inki_train_report report;
        const int32_t *ids = fixture.steps + (size_t)i * batch * (options.shape.n_ctx + 1);
        assert_int_equal(inki_trainer_learn(trainer, ids, &report, NULL), INK_OK);
        if (!(fabs(report.loss - fixture.losses[i]) <= limit))
            fail_msg("step %u: loss %.6f, PyTorch has %.6f", i + 1, report.loss, fixture.losses[i]);
    }
    assert_true(fixture.losses[n_steps - 1] < fixture.losses[0] - 0.5);
    inki_trainer_free(trainer);
    inki_net_free(net);
    bench_close(&b);
}

static void fifty_steps_are_pytorchs(void **state) {
    (void)state;
    check_curve(INKI_PRECISION_F32, 1e-3);
}

static void fifty_steps_in_bf16_are_near(void **state) {
    (void)state;
    check_curve(INKI_PRECISION_BF16, 0.05);
}

// A model file's tensors, here in memory: the frozen base of adapters.
typedef struct base_model {
    inki_weights weights;
    inki_layer layers[8];
} base_model;

static inki_tensor view(const float **at, uint32_t n_rows, uint32_t n_cols) {
    const inki_tensor t = {.data = *at,
                           .name = "",
                           .type = INKI_F32,
                           .n_rows = n_rows,
                           .n_cols = n_cols,
                           .row_bytes = n_cols * sizeof(float)};
    *at += (size_t)n_rows * n_cols;
    return t;
}

static const float *vector(const float **at, uint32_t n) {
    const float *v = *at;
    *at += n;
    return v;
}

static void base_open(base_model *m) {
    const inki_net_shape s = oracle_options().shape;
    const float *at = fixture.weights;
    inki_weights *w = &m->weights;
    *w = (inki_weights){.n_ctx = s.n_ctx,
                        .n_vocab = s.n_vocab,
                        .n_embd = s.n_embd,
                        .n_layer = s.n_layer,
                        .n_head = s.n_head,
                        .head_dim = s.n_embd / s.n_head,
                        .n_ff = s.n_ff,
                        .norm_eps = s.norm_eps,
                        .layers = m->layers};
    w->token_embd = w->head = view(&at, s.n_vocab, s.n_embd);
    w->pos_embd = view(&at, s.n_ctx, s.n_embd);
    for (uint32_t i = 0; i < s.n_layer; i++) {
        inki_layer *l = &m->layers[i];
        l->attn_norm_gain = vector(&at, s.n_embd);
        l->attn_norm_bias = vector(&at, s.n_embd);
        l->qkv = view(&at, 3 * s.n_embd, s.n_embd);
        l->qkv_bias = vector(&at, 3 * s.n_embd);
        l->attn_out = view(&at, s.n_embd, s.n_embd);
        l->attn_out_bias = vector(&at, s.n_embd);
        l->ffn_norm_gain = vector(&at, s.n_embd);
        l->ffn_norm_bias = vector(&at, s.n_embd);
        l->ffn_up = view(&at, s.n_ff, s.n_embd);
        l->ffn_up_bias = vector(&at, s.n_ff);
        l->ffn_down = view(&at, s.n_embd, s.n_ff);
        l->ffn_down_bias = vector(&at, s.n_embd);
    }
    w->out_norm_gain = vector(&at, s.n_embd);
    w->out_norm_bias = vector(&at, s.n_embd);
}

static void every_adapters_gradient_is_pytorchs(void **state) {
    (void)state;
    bench b;
    base_model m;
    inki_net *net = NULL;
    base_open(&m);
    bench_open(&b, 0, 2, INKI_PRECISION_F32);
    for (int recompute = 0; recompute < 2; recompute++) {
        inki_net_options options = oracle_options();
        inki_net_loss loss = {0, 0};
        options.base = &m.weights;
        options.lora_rank = (uint32_t)fixture.sizes[6];
        options.lora_alpha = (float)fixture.rates[0];
        options.recompute = recompute != 0;
        assert_int_equal(inki_net_new(&net, &b.compute, &options, NULL), INK_OK);
        assert_int_equal(inki_net_n_values(net), fixture.n_lora);
        memcpy(inki_net_weights(net), fixture.lora, fixture.n_lora * sizeof(float));
        learn(net, &loss);
        const double mean = loss.sum / (2.0 * fixture.sizes[1]);
        assert_true(fabs(mean - *fixture.lora_loss) <= 1e-5 * mean);
        assert_true(fabs(*fixture.lora_loss - *fixture.loss) > 1e-3);
        check_grads(net, inki_net_grads(net), fixture.lora_grads, 1e-4);
        inki_net_free(net);
    }
    bench_close(&b);
}

static int open_fixture(void **state) {
    (void)state;
    return oracle_open(&fixture) ? 0 : -1;
}

static int close_fixture(void **state) {
    (void)state;
    oracle_close(&fixture);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_gradient_is_pytorchs),
        cmocka_unit_test(bf16_gradients_are_near),
        cmocka_unit_test(fifty_steps_are_pytorchs),
        cmocka_unit_test(fifty_steps_in_bf16_are_near),
        cmocka_unit_test(every_adapters_gradient_is_pytorchs),
    };
    return cmocka_run_group_tests(tests, open_fixture, close_fixture);
}
