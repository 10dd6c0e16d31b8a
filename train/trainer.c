// SPDX-License-Identifier: MIT
#include "train/trainer_state.h"

#include "base/mix.h"
#include "base/number.h"

#include <float.h>
#include <math.h>
#include <string.h>

// Numbers of a piece that one thread updates or squares at a time: the sum of squares is that of
// the pieces' sums in their order, whoever made them.
enum { PIECE = 1 << 14 };

// --- settings ------------------------------------------------------------------------------------

static ink_status refuse(ink_error *error, const char *name, double value, const char *expected) {
    char text[32];
    inki_format_float((float)value, text, sizeof text);
    return inki_fail(error, INK_E_ARG, name, 0, "%s; expected %s", text, expected);
}

static ink_status check_settings(const inki_train_settings *s, ink_error *error) {
    if (s->batch == 0 || s->batch > 1u << 20)
        return refuse(error, "batch", s->batch, "1 to 2^20 sequences");
    if (s->n_steps == 0) return refuse(error, "n_steps", 0, "1 or more");
    if (!(s->rate > 0 && s->rate <= 1))
        return refuse(error, "rate", (double)s->rate, "over 0 to 1");
    if (!(s->rate_end >= 0 && s->rate_end <= s->rate))
        return refuse(error, "rate_end", (double)s->rate_end, "0 to the peak");
    if (!(s->beta1 >= 0 && s->beta1 < 1))
        return refuse(error, "beta1", (double)s->beta1, "0 to below 1");
    if (!(s->beta2 >= 0 && s->beta2 < 1))
        return refuse(error, "beta2", (double)s->beta2, "0 to below 1");
    if (!(s->eps > 0 && s->eps <= 1)) return refuse(error, "eps", (double)s->eps, "over 0 to 1");
    if (!(s->decay >= 0 && s->decay <= 10))
        return refuse(error, "decay", (double)s->decay, "0 to 10");
    if (!(s->clip >= 0 && s->clip <= FLT_MAX))
        return refuse(error, "clip", (double)s->clip, "0 or more");
    return INK_OK;
}

// Rises over the warm-up, then falls as half a cosine.
// Source: Loshchilov and Hutter 2017, arXiv 1608.03983.
static double rate_at(const inki_train_settings *s, uint64_t step) {
    if (step < s->n_warmup) return (double)s->rate * (double)(step + 1) / (double)s->n_warmup;
    if (step >= s->n_steps) return (double)s->rate_end;
    const double n = (double)(s->n_steps > s->n_warmup ? s->n_steps - s->n_warmup : 1);
    const double t = (double)(step - s->n_warmup) / n;
    return (double)s->rate_end +
           0.5 * ((double)s->rate - (double)s->rate_end) * (1 + cos(3.141592653589793 * t));
}

// --- making --------------------------------------------------------------------------------------

ink_status inki_trainer_new(inki_trainer **out, inki_net *net, inki_data *data, inki_net *teacher,
                            const inki_train_settings *settings, const inki_mem *mem,
                            ink_error *error) {
    const ink_status status = check_settings(settings, error);
    if (status != INK_OK) return status;
    inki_trainer *t = inki_alloc_zero(mem, 1, sizeof *t);
    if (t == NULL) return inki_fail_nomem(error, sizeof *t);
    const size_t n = inki_net_n_values(net);
    t->mem = *mem;
    t->net = net;
    t->data = data;
    t->teacher = teacher;
    t->settings = *settings;
    t->n_values = n;
    t->n_pieces = (n + PIECE - 1) / PIECE;
    t->average = inki_alloc_zero(mem, n, sizeof *t->average);
    t->square = inki_alloc_zero(mem, n, sizeof *t->square);
    t->best = inki_alloc(mem, n, sizeof *t->best);
    t->squares = inki_alloc(mem, t->n_pieces, sizeof *t->squares);
    t->n_ids = (size_t)settings->batch * (inki_net_get_options(net)->n_seq + 1);
    t->ids = inki_alloc(mem, t->n_ids, sizeof *t->ids);
    if (t->average == NULL || t->square == NULL || t->best == NULL || t->squares == NULL ||
        t->ids == NULL) {
        inki_trainer_free(t);
        return inki_fail_nomem(error, 3 * n * sizeof(float));
    }
    memcpy(t->best, inki_net_weights(net), n * sizeof *t->best);
    t->counts.best_loss = INFINITY;
    inki_train_ops_init(&t->ops, inki_net_get_compute(net)->level);
    *out = t;
    return INK_OK;
}

void inki_trainer_free(inki_trainer *t) {
    if (t == NULL) return;
    const inki_mem mem = t->mem;
    inki_release(&mem, t->average, t->n_values, sizeof *t->average);
    inki_release(&mem, t->square, t->n_values, sizeof *t->square);
    inki_release(&mem, t->best, t->n_values, sizeof *t->best);
    inki_release(&mem, t->squares, t->n_pieces, sizeof *t->squares);
    inki_release(&mem, t->ids, t->n_ids, sizeof *t->ids);
    inki_release(&mem, t, 1, sizeof *t);
}

const float *inki_trainer_best(const inki_trainer *trainer) {
    return isfinite(trainer->counts.best_loss) ? trainer->best : inki_net_weights(trainer->net);
}
uint64_t inki_trainer_n_done(const inki_trainer *trainer) { return trainer->counts.n_done; }
double inki_trainer_best_loss(const inki_trainer *trainer) { return trainer->counts.best_loss; }
double inki_trainer_last_loss(const inki_trainer *trainer) {
    return trainer->counts.n_done > 0 ? trainer->counts.last_loss : NAN;
}

bool inki_trainer_is_sound(const inki_trainer *t) {
    const float *weights = inki_net_weights(t->net);
    const uint64_t most = (uint64_t)1 << 48; // steps; of their numbers none overflows then
    if (t->counts.n_done > most || t->counts.best_step > t->counts.n_done ||
        isnan(t->counts.best_loss) || !isfinite(t->counts.last_loss))
        return false;
    for (size_t i = 0; i < t->n_values; i++) {
        const float m = t->average[i], v = t->square[i];
        if (!isfinite(weights[i]) || !isfinite(t->best[i])) return false;
        // Of gradients that there were, m is not much more than the root of v: else the next step
        // would be one out of all numbers.
        if (!(v >= 0 && v <= FLT_MAX) || !(fabsf(m) <= 1e6f * (sqrtf(v) + t->settings.eps)))
            return false;
    }
    return true;
}

void inki_trainer_go_back(inki_trainer *t) {
    memcpy(inki_net_weights(t->net), t->best, t->n_values * sizeof *t->best);
    memset(t->average, 0, t->n_values * sizeof *t->average);
    memset(t->square, 0, t->n_values * sizeof *t->square);
}

void inki_trainer_forget_best(inki_trainer *trainer) {
    trainer->counts.best_loss = INFINITY;
    trainer->counts.n_worse = 0;
}

// --- the optimiser -------------------------------------------------------------------------------

typedef struct update_work {
    inki_trainer *trainer;
    const inki_param *params;
    size_t n_params;
    inki_adamw how; // its decay is that of parameters that decay
} update_work;

static void square_part(void *arg, uint32_t part, uint32_t n_parts) {
    inki_trainer *t = ((update_work *)arg)->trainer;
    const float *grads = inki_net_grads(t->net);
    size_t begin, end;
    inki_pool_share(t->n_pieces, 1, part, n_parts, &begin, &end);
    for (size_t i = begin; i < end; i++) {
        const size_t at = i * PIECE, n = t->n_values - at < PIECE ? t->n_values - at : PIECE;
        t->squares[i] = t->ops.sum_squares(grads + at, n);
    }
}

// A thread's share of the numbers, cut where parameters end.
static void update_part(void *arg, uint32_t part, uint32_t n_parts) {
    const update_work *w = (const update_work *)arg;
    inki_trainer *t = w->trainer;
    float *weights = inki_net_weights(t->net);
    const float *grads = inki_net_grads(t->net);
    size_t begin, end;
    inki_pool_share(t->n_values, INKI_ALIGN, part, n_parts, &begin, &end);
    for (size_t i = 0; i < w->n_params; i++) {
        const inki_param *p = &w->params[i];
        const size_t last = p->at + (size_t)p->n_rows * p->n_cols;
        const size_t from = p->at > begin ? p->at : begin, to = last < end ? last : end;
        if (from >= to) continue;
        inki_adamw how = w->how;
        if (!p->decays) how.decay = 0;
        t->ops.adamw(weights + from, grads + from, t->average + from, t->square + from, to - from,
                     &how);
    }
}

static double grad_norm(inki_trainer *t, update_work *w) {
    const inki_compute *c = inki_net_get_compute(t->net);
    double sum = 0;
    inki_pool_run(c->pool, c->pool != NULL ? inki_pool_n_threads(c->pool) : 1, square_part, w);
    for (size_t i = 0; i < t->n_pieces; i++) sum += t->squares[i];
    return sqrt(sum);
}

static void update(inki_trainer *t, update_work *w, double norm, double rate) {
    const inki_compute *c = inki_net_get_compute(t->net);
    const inki_train_settings *s = &t->settings;
    const double step = (double)(t->counts.n_done + 1);
    w->how = (inki_adamw){.rate = (float)rate,
                          .beta1 = s->beta1,
                          .beta2 = s->beta2,
                          .eps = s->eps,
                          .decay = s->decay,
                          .correction1 = (float)(1 - pow((double)s->beta1, step)),
                          .correction2 = (float)(1 - pow((double)s->beta2, step)),
                          .grad_scale = 1};
    // As PyTorch's clip_grad_norm_ has it.
    if (s->clip > 0 && norm > (double)s->clip)
        w->how.grad_scale = (float)((double)s->clip / (norm + 1e-6));
    inki_pool_run(c->pool, c->pool != NULL ? inki_pool_n_threads(c->pool) : 1, update_part, w);
}

// --- steps ---------------------------------------------------------------------------------------

static double held_loss(inki_trainer *t) {
    double sum = 0;
    uint64_t n = 0;
    uint32_t n_targets = 0;
    for (uint64_t i = 0; t->settings.max_held == 0 || i < t->settings.max_held; i++) {
        if (!inki_data_held_sequence(t->data, i, t->ids, &n_targets)) break;
        sum += inki_net_evaluate(t->net, t->ids, n_targets);
        n += n_targets;
    }
    return n > 0 ? sum / (double)n : NAN;
}

static bool is_over(const inki_trainer *t) {
    return t->counts.n_done >= t->settings.n_steps ||
           (t->settings.patience > 0 && t->counts.n_worse >= t->settings.patience);
}

static uint64_t mask_key(const inki_trainer *t) {
    return inki_mix64(t->settings.seed + (t->counts.n_done + 1) * INKI_GOLDEN64);
}

void inki_trainer_begin(inki_trainer *t, const int32_t *ids) {
    inki_net_clear_grads(t->net);
    t->loss = (inki_net_loss){0, 0};
    t->step_ids = ids;
    t->n_begun = 0;
    t->in_pass = false;
}

bool inki_trainer_advance(inki_trainer *t) {
    const inki_net_options *o = inki_net_get_options(t->net);
    const size_t batch = t->settings.batch, most = o->n_tokens_a_pass / o->n_seq;
    if (!t->in_pass) {
        if (t->n_begun == batch) return false;
        const size_t n = batch - t->n_begun < most ? batch - t->n_begun : most;
        const inki_net_batch pass = {.ids = t->step_ids + t->n_begun * (o->n_seq + 1),
                                     .n_sequences = n,
                                     .n_scaled = (uint64_t)batch * o->n_seq,
                                     .dropout_key = mask_key(t),
                                     .first_sequence = t->n_begun,
                                     .teacher = t->teacher};
        inki_net_begin(t->net, &pass);
        t->n_begun += n;
        t->in_pass = true;
    }
    t->in_pass = inki_net_advance(t->net, &t->loss);
    return t->in_pass || t->n_begun < batch;
}

ink_status inki_trainer_end(inki_trainer *t, inki_train_report *report, ink_error *error) {
    const uint64_t batch = t->settings.batch, step = t->counts.n_done;
    const uint64_t n_targets = batch * inki_net_get_options(t->net)->n_seq;
    update_work w = {.trainer = t};
    w.n_params = inki_net_n_params(t->net, &w.params);
    const double norm = grad_norm(t, &w), rate = rate_at(&t->settings, step);
    *report = (inki_train_report){.step = step, .n_steps = t->settings.n_steps};
    if (!isfinite(t->loss.sum) || !isfinite(norm))
        return inki_fail(
            error, INK_E_NUMERIC, NULL, 0,
            "the %s is not finite at step %llu: the weights are those of the step before",
            isfinite(t->loss.sum) ? "gradient" : "loss", (unsigned long long)(step + 1));
    // A finite loss and gradient are what shows that weights are good: so it is these, and not
    // those that the update makes of them.
    const uint64_t keep = t->settings.keep_every;
    if (keep > 0 && step % keep == 0 && isinf(t->counts.best_loss))
        memcpy(t->best, inki_net_weights(t->net), t->n_values * sizeof *t->best);
    update(t, &w, norm, rate);

    t->counts.n_done++;
    t->counts.n_tokens += n_targets;
    t->counts.last_loss = t->loss.sum / (double)n_targets;
    report->step = t->counts.n_done;
    report->n_tokens = t->counts.n_tokens;
    report->loss = t->counts.last_loss;
    report->loss_hard = t->loss.hard / (double)n_targets;
    report->rate = rate;
    report->grad_norm = norm;
    return INK_OK;
}

ink_status inki_trainer_learn(inki_trainer *t, const int32_t *ids, inki_train_report *report,
                              ink_error *error) {
    inki_trainer_begin(t, ids);
    while (inki_trainer_advance(t)) {}
    return inki_trainer_end(t, report, error);
}

void inki_trainer_judge(inki_trainer *t, double loss, inki_train_report *report) {
    report->validated = true;
    report->held_loss = loss;
    report->best = loss < t->counts.best_loss;
    if (report->best) {
        memcpy(t->best, inki_net_weights(t->net), t->n_values * sizeof *t->best);
        t->counts.best_loss = loss;
        t->counts.best_step = t->counts.n_done;
        t->counts.n_worse = 0;
    } else {
        t->counts.n_worse++;
    }
    report->best_loss = t->counts.best_loss;
    report->best_step = t->counts.best_step;
}

ink_status inki_trainer_step(inki_trainer *t, inki_train_report *report, bool *more,
                             ink_error *error) {
    const uint32_t n_seq = inki_net_get_options(t->net)->n_seq;
    const uint64_t batch = t->settings.batch, step = t->counts.n_done;
    if (is_over(t)) {
        *report = (inki_train_report){.step = step, .n_steps = t->settings.n_steps};
        *more = false;
        return INK_OK;
    }
    for (uint64_t i = 0; i < batch; i++)
        inki_data_sequence(t->data, step * batch + i, t->ids + i * (n_seq + 1));
    const ink_status status = inki_trainer_learn(t, t->ids, report, error);
    if (status != INK_OK) return status;

    report->epoch = (double)(t->counts.n_done * batch) / (double)inki_data_epoch_sequences(t->data);
    const uint64_t every = t->settings.validate_every, done = t->counts.n_done;
    if ((every > 0 && done % every == 0) || done == t->settings.n_steps)
        inki_trainer_judge(t, held_loss(t), report);
    report->best_loss = t->counts.best_loss;
    report->best_step = t->counts.best_step;
    *more = !is_over(t);
    return INK_OK;
}
