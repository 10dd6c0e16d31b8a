// SPDX-License-Identifier: MIT
// Learning on the device, in slices of time. A step is a machine of stages (trainer.h), so a slice
// may end anywhere inside of it and the next one goes on there.
//
// What is done next follows from the state alone (texts, steps done, the step judged last), never
// from time: slices of any length make the same bytes as one long run, and so does a state that was
// saved and opened again.
#include "train/adapt_parts.h"

#include "base/mix.h"
#include "train/engine_view.h"

#include <math.h>
#include <string.h>
#include <time.h>

enum { MIN_TOKENS = 32, MAX_RANK = 256, MAX_SEQ = 4096, MAX_BATCH = 256 };
// After how many steps the held-out part is asked, and how much of it at most.
enum { JUDGE_EVERY = 20, JUDGE_WINDOWS = 8, WARMUP_STEPS = 10 };

// --- opening -------------------------------------------------------------------------------------

void ink_adapt_options_init(ink_adapt_options *options, size_t size) {
    const ink_adapt_options defaults = {
        .rank = 8, .alpha = 16, .rate = 1e-3f, .n_batch = 4, .n_steps = 1000, .seed = 1};
    inki_options_fill(options, size, &defaults, sizeof defaults);
}

static ink_status check_count(const char *name, uint32_t value, uint32_t most, ink_error *error) {
    if (value >= 1 && value <= most) return INK_OK;
    return inki_fail(error, value == 0 ? INK_E_ARG : INK_E_LIMIT, name, 0, "%u; expected 1 to %u",
                     (unsigned)value, (unsigned)most);
}

static ink_status check_range(const char *name, bool holds, const char *range, ink_error *error) {
    return holds ? INK_OK : inki_fail(error, INK_E_ARG, name, 0, "expected %s", range);
}

ink_status inki_adapt_complete_options(ink_adapt_options *o, const ink_model *model,
                                       ink_error *error) {
    const uint32_t n_ctx = model->weights.n_ctx;
    if (o->n_ctx == 0) o->n_ctx = n_ctx < 256 ? n_ctx : 256;
    ink_status status = check_count("n_ctx", o->n_ctx, n_ctx < MAX_SEQ ? n_ctx : MAX_SEQ, error);
    if (status == INK_OK) status = check_count("rank", o->rank, MAX_RANK, error);
    if (status == INK_OK) status = check_count("n_batch", o->n_batch, MAX_BATCH, error);
    if (status == INK_OK) status = check_count("n_steps", o->n_steps, UINT32_MAX, error);
    if (status == INK_OK)
        status = check_range("alpha", o->alpha > 0 && o->alpha <= 1e6f, "over 0 to 1e6", error);
    if (status == INK_OK)
        status = check_range("rate", o->rate > 0 && o->rate <= 1, "over 0 to 1", error);
    if (status == INK_OK)
        status = check_range("dropout", o->dropout >= 0 && o->dropout < 1, "0 to below 1", error);
    return status;
}

static ink_status make_net(ink_adapt *a, ink_error *error) {
    const inki_weights *w = &a->model->weights;
    const ink_adapt_options *o = &a->options;
    inki_compute compute = inki_train_compute(a->model->runtime, INKI_PRECISION_BF16);
    compute.mem = a->mem;
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
                                          .seed = o->seed,
                                          .keep_every = JUDGE_EVERY};
    ink_status status = inki_net_new(&a->net, &compute, &net, error);
    if (status != INK_OK) return status;
    inki_net_init_random(a->net, o->seed);
    status = inki_trainer_new(&a->trainer, a->net, NULL, NULL, &settings, &a->mem, error);
    if (status != INK_OK) return status;
    a->n_ids = (size_t)o->n_batch * (o->n_ctx + 1);
    a->ids = inki_alloc(&a->mem, a->n_ids, sizeof *a->ids);
    return a->ids != NULL ? INK_OK : inki_fail_nomem(error, a->n_ids * sizeof *a->ids);
}

static ink_status open_all(ink_adapt *a, const char *state, const ink_adapt_options *options,
                           ink_error *error) {
    bool found = false;
    ink_adapt_options_init(&a->options, sizeof a->options);
    ink_status status =
        inki_options_read(&a->options, sizeof a->options, options, "ink_adapt_options", error);
    if (status == INK_OK) status = inki_adapt_complete_options(&a->options, a->model, error);
    if (status == INK_OK && state != NULL) status = inki_adapt_set_path(a, state, error);
    if (status == INK_OK && state != NULL) status = inki_adapt_read_config(a, &found, error);
    if (status == INK_OK) status = make_net(a, error);
    if (status == INK_OK && found) status = inki_adapt_read_weights(a, error);
    return status;
}

ink_status ink_adapt_open(ink_adapt **out, ink_model *model, const char *state,
                          const ink_adapt_options *options, ink_error *error) {
    if (out == NULL || model == NULL)
        return inki_fail(error, INK_E_ARG, NULL, 0, "ink_adapt_open needs out and a model");
    ink_status status = inki_model_need_all(model, error);
    if (status != INK_OK) return status;
    if (model->info.end_token < 0)
        return inki_fail(error, INK_E_UNSUPPORTED, model->source_name, 0,
                         "the model has no end token, which stands between texts");
    ink_adapt *a = inki_alloc_zero(&model->mem, 1, sizeof *a);
    if (a == NULL) return inki_fail_nomem(error, sizeof *a);
    a->mem = model->mem;
    a->model = ink_model_ref(model);
    a->held_loss = NAN;
    inki_fp fp; // the first weights are drawn, and those of a file are looked at
    inki_fp_ours(&fp);
    status = open_all(a, state, options, error);
    inki_fp_hosts(&fp);
    if (status != INK_OK) {
        ink_adapt_free(a);
        return status;
    }
    *out = a;
    return INK_OK;
}

ink_status ink_adapt_free(ink_adapt *a) {
    if (a == NULL) return INK_OK;
    if (atomic_exchange(&a->busy, 1) != 0) return INK_E_BUSY;
    const inki_mem mem = a->mem;
    inki_trainer_free(a->trainer);
    inki_net_free(a->net);
    inki_release(&mem, a->ids, a->n_ids, sizeof *a->ids);
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
        return inki_fail(error, INK_E_BUSY, NULL, 0, "the ink_adapt is in use by another thread");
    atomic_store(&a->cancel, 0);
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

// out [n_ctx + 1] from `at` on; a row that is shorter is read again from its beginning.
static void take_sequence(const ink_adapt *a, const inki_adapt_row *row, size_t at, int32_t *out) {
    for (size_t i = 0; i <= a->options.n_ctx; i++) out[i] = row->ids[(at + i) % row->n];
}

static void begin_step(ink_adapt *a) {
    const size_t width = (size_t)a->options.n_ctx + 1, n = a->learn.n;
    const uint64_t step = inki_trainer_n_done(a->trainer);
    for (uint32_t i = 0; i < a->options.n_batch; i++) {
        const uint64_t place =
            inki_mix64(a->options.seed + step * a->options.n_batch + i + INKI_GOLDEN64);
        take_sequence(a, &a->learn, (size_t)(place % (n > width ? n - width + 1 : n)),
                      a->ids + i * width);
    }
    inki_trainer_begin(a->trainer, a->ids);
    a->doing = INKI_ADAPT_STEP;
}

static bool judge_is_due(const ink_adapt *a) {
    const uint64_t done = inki_trainer_n_done(a->trainer);
    return done > 0 && done % JUDGE_EVERY == 0 && done != a->judged_at && a->held.n > MIN_TOKENS;
}

static void begin_judging(ink_adapt *a) {
    const size_t n_all = (a->held.n - 2) / a->options.n_ctx + 1; // of n tokens n - 1 are targets
    a->doing = INKI_ADAPT_JUDGE;
    a->n_held = a->held.n;
    a->n_windows = n_all < JUDGE_WINDOWS ? n_all : JUDGE_WINDOWS;
    a->window = a->n_targets = 0;
    a->judged = (inki_net_loss){0, 0};
    a->in_window = false;
}

// Windows lie evenly over the whole row, so that late texts count as early ones do.
static void begin_window(ink_adapt *a) {
    const size_t n_ctx = a->options.n_ctx, n_all = (a->n_held - 2) / n_ctx + 1;
    const size_t at = a->window * n_all / a->n_windows * n_ctx, left = a->n_held - 1 - at;
    a->n_asked = left < n_ctx ? left : n_ctx;
    take_sequence(a, &a->held, at, a->ids);
    const inki_net_batch batch = {
        .ids = a->ids, .n_sequences = 1, .n_scaled = 1, .judged = true, .n_targets = a->n_asked};
    inki_net_begin(a->net, &batch);
    a->in_window = true;
}

static ink_status give_up(ink_adapt *a) {
    inki_trainer_go_back(a->trainer);
    a->doing = INKI_ADAPT_NOTHING;
    return INK_E_NUMERIC;
}

static ink_status end_judging(ink_adapt *a, ink_error *error) {
    inki_train_report report = {0};
    const double loss = a->judged.sum / (double)a->n_targets;
    a->judged_at = inki_trainer_n_done(a->trainer);
    a->doing = INKI_ADAPT_NOTHING;
    if (!isfinite(loss)) {
        inki_fail(error, INK_E_NUMERIC, NULL, 0,
                  "the held-out loss is not finite at step %llu: back at weights that were good",
                  (unsigned long long)a->judged_at);
        return give_up(a);
    }
    a->held_loss = loss;
    inki_trainer_judge(a->trainer, loss, &report);
    return INK_OK;
}

static ink_status judge(ink_adapt *a, ink_error *error) {
    if (!a->in_window) begin_window(a);
    a->in_window = inki_net_advance(a->net, &a->judged);
    if (a->in_window) return INK_OK;
    a->n_targets += a->n_asked;
    return ++a->window < a->n_windows ? INK_OK : end_judging(a, error);
}

static ink_status end_step(ink_adapt *a, ink_error *error) {
    inki_train_report report;
    a->doing = INKI_ADAPT_NOTHING;
    const ink_status status = inki_trainer_end(a->trainer, &report, error);
    if (status != INK_E_NUMERIC) return status;
    inki_fail(error, INK_E_NUMERIC, NULL, 0,
              "the loss or its gradient is not finite at step %llu: back at weights that were good",
              (unsigned long long)report.step + 1);
    return give_up(a);
}

// One stage of whatever is being done.
static ink_status advance(ink_adapt *a, ink_error *error) {
    switch (a->doing) {
    case INKI_ADAPT_NOTHING:
        if (judge_is_due(a))
            begin_judging(a);
        else
            begin_step(a);
        return INK_OK;
    case INKI_ADAPT_STEP: return inki_trainer_advance(a->trainer) ? INK_OK : end_step(a, error);
    case INKI_ADAPT_JUDGE: return judge(a, error);
    }
    return INK_OK;
}

// The app's own evaluations go first: while one has the pool, learning waits. In a forked child
// there is no pool to wait for.
static bool take_pool(ink_adapt *a, inki_pool *pool, double until_ms) {
    while (pool != NULL && !inki_pool_enter(pool)) {
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
    inki_pool *pool = a->model->runtime->pool;
    if (!inki_pool_is_alive(pool)) pool = NULL;
    inki_net_use_pool(a->net, pool);
    do {
        if (!take_pool(a, pool, until)) break;
        inki_fp fp;
        inki_fp_ours(&fp);
        status = advance(a, error);
        inki_fp_hosts(&fp);
        inki_pool_leave(pool);
    } while (status == INK_OK && !atomic_load(&a->cancel) && inki_os_now_ms() < until);
    if (status == INK_OK && atomic_load(&a->cancel))
        return inki_fail(error, INK_E_CANCELLED, NULL, 0, "cancelled");
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

// --- keeping -------------------------------------------------------------------------------------

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
        inki_fp fp;
        inki_fp_ours(&fp);
        status = inki_export_adapter(&how, a->net, weights, error);
        inki_fp_hosts(&fp);
    }
    leave(a);
    return status;
}
