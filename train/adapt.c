// SPDX-License-Identifier: MIT
// Learning on the device, in slices of time. A step is a machine of stages (trainer.h), so a slice
// may end anywhere inside of it and the next one goes on there.
#include "train/adapt_parts.h"

#include <math.h>
#include <string.h>
#include <time.h>

enum { MIN_TOKENS = 32, MAX_RANK = 256, MAX_SEQ = 4096 };
// After how many steps the held-out part is asked, and how much of it.
enum { JUDGE_EVERY = 20, JUDGE_SEQUENCES = 8, WARMUP_STEPS = 10 };

void ink_adapt_options_init(ink_adapt_options *options, size_t size) {
    const ink_adapt_options defaults = {
        .rank = 8, .alpha = 16, .rate = 1e-3f, .n_batch = 4, .n_steps = 1000, .seed = 1};
    inki_options_fill(options, size, &defaults, sizeof defaults);
}

static ink_status complete_options(ink_adapt_options *o, const ink_model *model, ink_error *error) {
    const uint32_t n_ctx = model->weights.n_ctx;
    if (o->n_ctx == 0) o->n_ctx = n_ctx < 256 ? n_ctx : 256;
    if (o->n_ctx > n_ctx || o->n_ctx > MAX_SEQ)
        return inki_fail(error, INK_E_LIMIT, "n_ctx", 0, "%u; at most %u", (unsigned)o->n_ctx,
                         (unsigned)(n_ctx < MAX_SEQ ? n_ctx : MAX_SEQ));
    if (o->rank == 0 || o->rank > MAX_RANK)
        return inki_fail(error, INK_E_ARG, "rank", 0, "%u; expected 1 to %d", (unsigned)o->rank,
                         MAX_RANK);
    if (!(o->alpha > 0 && o->alpha <= 1e6f))
        return inki_fail(error, INK_E_ARG, "alpha", 0, "%g; expected over 0 to 1e6",
                         (double)o->alpha);
    if (o->n_batch == 0 || o->n_batch > 256)
        return inki_fail(error, INK_E_ARG, "n_batch", 0, "%u; expected 1 to 256",
                         (unsigned)o->n_batch);
    return INK_OK; // the rest is looked at where it is used
}

static ink_status make_net(ink_adapt *a, ink_error *error) {
    const inki_weights *w = &a->model->weights;
    const ink_adapt_options *o = &a->options;
    ink_runtime *runtime = a->model->runtime;
    const int32_t level = inki_level_by_name(runtime->kernels.name);
    const inki_compute compute = {.mem = a->mem,
                                  .kernels = &runtime->kernels,
                                  .pool = runtime->pool,
                                  .level = level > 0 ? (uint32_t)level : 0,
                                  .precision = INKI_PRECISION_BF16};
    const inki_net_options net = {
        .shape = {w->n_vocab, w->n_ctx, w->n_embd, w->n_layer, w->n_head, w->n_ff, w->norm_eps},
        .n_seq = o->n_ctx,
        .n_tokens_a_pass = o->n_ctx,
        .recompute = true,
        .dropout = o->dropout,
        .base = w,
        .lora_rank = o->rank,
        .lora_alpha = o->alpha};
    const inki_train_settings settings = {.batch = o->n_batch,
                                          .n_steps = o->n_steps,
                                          .endless = true,
                                          .n_warmup = WARMUP_STEPS,
                                          .rate = o->rate,
                                          .rate_end = o->rate / 10,
                                          .beta1 = 0.9f,
                                          .beta2 = 0.98f,
                                          .eps = 1e-8f,
                                          .clip = 1,
                                          .seed = o->seed};
    ink_status status = inki_net_new(&a->net, &compute, &net, error);
    if (status != INK_OK) return status;
    inki_net_init_random(a->net, o->seed);
    status = inki_trainer_new(&a->trainer, a->net, NULL, NULL, &settings, &a->mem, error);
    if (status != INK_OK) return status;
    a->ids = inki_alloc(&a->mem, (size_t)o->n_batch * (o->n_ctx + 1), sizeof *a->ids);
    return a->ids != NULL ? INK_OK : inki_fail_nomem(error, o->n_batch * (o->n_ctx + 1u) * 4u);
}

static ink_status open_all(ink_adapt *a, const char *state, const ink_adapt_options *options,
                           ink_error *error) {
    bool found = false;
    ink_adapt_options_init(&a->options, sizeof a->options);
    ink_status status =
        inki_options_read(&a->options, sizeof a->options, options, "ink_adapt_options", error);
    if (status == INK_OK && state != NULL) status = inki_adapt_set_path(a, state, error);
    if (status == INK_OK && state != NULL) status = inki_adapt_read_config(a, &found, error);
    if (status == INK_OK) status = complete_options(&a->options, a->model, error);
    if (status == INK_OK) status = make_net(a, error);
    if (status == INK_OK && found) status = inki_checkpoint_load(a->trainer, a->path, error);
    return status;
}

ink_status ink_adapt_open(ink_adapt **out, ink_model *model, const char *state,
                          const ink_adapt_options *options, ink_error *error) {
    if (out == NULL || model == NULL)
        return inki_fail(error, INK_E_ARG, NULL, 0, "ink_adapt_open needs out and a model");
    if (model->tokenizer == NULL)
        return inki_fail(error, INK_E_UNSUPPORTED, NULL, 0,
                         "the model was opened with INK_MODEL_INSPECT");
    if (model->info.end_token < 0)
        return inki_fail(error, INK_E_UNSUPPORTED, NULL, 0, "the model has no end token");
    ink_adapt *a = inki_alloc_zero(&model->mem, 1, sizeof *a);
    if (a == NULL) return inki_fail_nomem(error, sizeof *a);
    a->mem = model->mem;
    a->model = ink_model_ref(model);
    a->held_loss = NAN;
    const ink_status status = open_all(a, state, options, error);
    if (status != INK_OK) {
        ink_adapt_free(a);
        return status;
    }
    *out = a;
    return INK_OK;
}

ink_status ink_adapt_free(ink_adapt *a) {
    if (a == NULL) return INK_OK;
    if (atomic_load(&a->busy)) return INK_E_BUSY;
    const inki_mem mem = a->mem;
    inki_trainer_free(a->trainer);
    inki_net_free(a->net);
    inki_release(&mem, a->ids, (size_t)a->options.n_batch * (a->options.n_ctx + 1), sizeof *a->ids);
    inki_adapt_row_free(a, &a->learn);
    inki_adapt_row_free(a, &a->held);
    inki_release(&mem, a->path, a->path_bytes, 1);
    ink_model_unref(a->model);
    inki_release(&mem, a, 1, sizeof *a);
    return INK_OK;
}

static ink_status enter(ink_adapt *a, ink_error *error) {
    if (a == NULL) return inki_fail(error, INK_E_ARG, NULL, 0, "the ink_adapt is NULL");
    if (atomic_exchange(&a->busy, 1) != 0)
        return inki_fail(error, INK_E_BUSY, NULL, 0, "another thread is at work on it");
    return INK_OK;
}

static void leave(ink_adapt *a) { atomic_store(&a->busy, 0); }

void ink_adapt_cancel(ink_adapt *a) {
    if (a != NULL) atomic_store(&a->cancel, 1);
}

ink_status ink_adapt_add_text(ink_adapt *a, const char *text, size_t bytes, ink_error *error) {
    ink_status status = enter(a, error);
    if (status != INK_OK) return status;
    if (text == NULL && bytes > 0)
        status = inki_fail(error, INK_E_ARG, NULL, 0, "the text is NULL");
    if (status == INK_OK && bytes > 0) status = inki_adapt_keep_text(a, text, bytes, error);
    leave(a);
    return status;
}

// --- learning ------------------------------------------------------------------------------------

static uint64_t scramble(uint64_t z) {
    z += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

// out [n_ctx + 1] from `at` on; a row that is shorter is read again from its beginning.
static void take_sequence(const ink_adapt *a, const inki_adapt_row *row, size_t at, int32_t *out) {
    for (size_t i = 0; i <= a->options.n_ctx; i++) out[i] = row->ids[(at + i) % row->n];
}

static void begin_step(ink_adapt *a) {
    const size_t width = (size_t)a->options.n_ctx + 1, n = a->learn.n;
    const uint64_t step = inki_trainer_n_done(a->trainer);
    for (uint32_t i = 0; i < a->options.n_batch; i++) {
        const uint64_t place = scramble(a->options.seed + step * a->options.n_batch + i);
        take_sequence(a, &a->learn, (size_t)(place % (n > width ? n - width + 1 : n)),
                      a->ids + i * width);
    }
    inki_trainer_begin(a->trainer, a->ids);
    a->doing = INKI_ADAPT_STEP;
}

static void begin_judging(ink_adapt *a) {
    a->doing = INKI_ADAPT_JUDGE;
    a->n_judged = 0;
    a->judged = (inki_net_loss){0, 0};
    a->judging = false;
}

static bool judge_next(ink_adapt *a) {
    const uint32_t n_ctx = a->options.n_ctx;
    if (!a->judging) {
        const size_t at = a->n_judged * n_ctx;
        if (a->n_judged == JUDGE_SEQUENCES || at + n_ctx + 1 > a->held.n) return false;
        take_sequence(a, &a->held, at, a->ids);
        const inki_net_batch batch = {
            .ids = a->ids, .n_sequences = 1, .n_scaled = 1, .judged = true};
        inki_net_begin(a->net, &batch);
        a->judging = true;
    }
    if (!inki_net_advance(a->net, &a->judged)) {
        a->judging = false;
        a->n_judged++;
    }
    return true;
}

static ink_status end_step(ink_adapt *a, ink_error *error) {
    inki_train_report report;
    a->doing = INKI_ADAPT_NOTHING;
    const ink_status status = inki_trainer_end(a->trainer, &report, error);
    if (status != INK_OK) return status;
    a->loss = report.loss;
    if (report.step % JUDGE_EVERY == 0 && a->held.n > a->options.n_ctx) begin_judging(a);
    return INK_OK;
}

// One stage of whatever is being done.
static ink_status advance(ink_adapt *a, ink_error *error) {
    inki_train_report report = {0};
    switch (a->doing) {
    case INKI_ADAPT_NOTHING: begin_step(a); return INK_OK;
    case INKI_ADAPT_STEP: return inki_trainer_advance(a->trainer) ? INK_OK : end_step(a, error);
    case INKI_ADAPT_JUDGE:
        if (judge_next(a)) return INK_OK;
        a->held_loss = a->judged.sum / ((double)a->n_judged * a->options.n_ctx);
        inki_trainer_judge(a->trainer, a->held_loss, &report);
        a->doing = INKI_ADAPT_NOTHING;
        return INK_OK;
    }
    return INK_OK;
}

// The app's own evaluations go first: while one has the pool, learning waits.
static bool take_pool(ink_adapt *a, double until_ms) {
    inki_pool *pool = a->model->runtime->pool;
    while (!inki_pool_enter(pool)) {
        const struct timespec pause = {0, 200000};
        if (inki_os_now_ms() >= until_ms || atomic_load(&a->cancel)) return false;
        nanosleep(&pause, NULL);
    }
    return true;
}

static ink_status run(ink_adapt *a, uint32_t budget_ms, ink_error *error) {
    const double until = inki_os_now_ms() + budget_ms;
    ink_status status = INK_OK;
    if (a->learn.n < MIN_TOKENS)
        return inki_fail(error, INK_E_ARG, NULL, 0, "%zu tokens of text; at least %d are needed",
                         a->learn.n, MIN_TOKENS);
    atomic_store(&a->cancel, 0);
    do {
        if (!take_pool(a, until)) break;
        inki_fp fp;
        inki_fp_ours(&fp);
        status = advance(a, error);
        inki_fp_hosts(&fp);
        inki_pool_leave(a->model->runtime->pool);
        if (atomic_load(&a->cancel)) return inki_fail(error, INK_E_CANCELLED, NULL, 0, "cancelled");
    } while (status == INK_OK && inki_os_now_ms() < until);
    return status;
}

ink_status ink_adapt_run(ink_adapt *a, uint32_t budget_ms, ink_adapt_report *out,
                         ink_error *error) {
    ink_status status = enter(a, error);
    if (status != INK_OK) return status;
    status = run(a, budget_ms, error);
    if (status == INK_OK && out != NULL) {
        ink_adapt_report report;
        inki_adapt_report_fill(a, &report);
        inki_report_write(out, &report, sizeof report);
    }
    leave(a);
    return status;
}

ink_status ink_adapt_save(ink_adapt *a, ink_error *error) {
    ink_status status = enter(a, error);
    if (status != INK_OK) return status;
    status = inki_adapt_write_state(a, error);
    leave(a);
    return status;
}

ink_status ink_adapt_export(ink_adapt *a, const char *path, ink_error *error) {
    ink_status status = enter(a, error);
    if (status != INK_OK) return status;
    if (path == NULL) {
        status = inki_fail(error, INK_E_ARG, NULL, 0, "the path is NULL");
    } else {
        const inki_export how = {
            .path = path, .type = INKI_F32, .like = &a->model->gguf, .mem = &a->mem};
        const bool judged = isfinite(inki_trainer_best_loss(a->trainer));
        const float *weights = judged ? inki_trainer_best(a->trainer) : inki_net_weights(a->net);
        status = inki_export_adapter(&how, a->net, weights, error);
    }
    leave(a);
    return status;
}
