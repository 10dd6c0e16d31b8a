// SPDX-License-Identifier: MIT
#include "train/ops.h"

#include "kernels/exp_inline.h"
#include "kernels/kernels.h"

#include <math.h>

static void norm_plain(float *y, inki_norm_stats *stats, const float *x, const float *gain,
                       const float *bias, size_t n, float eps) {
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++) sum += (double)x[i];
    const double mean = sum / (double)n;
    for (size_t i = 0; i < n; i++) squares += ((double)x[i] - mean) * ((double)x[i] - mean);
    stats->mean = (float)mean;
    stats->rstd = (float)(1 / sqrt(squares / (double)n + (double)eps));
    for (size_t i = 0; i < n; i++) y[i] = (x[i] - stats->mean) * stats->rstd * gain[i] + bias[i];
}

static void norm_back_plain(float *dx, const float *dy, const float *x,
                            const inki_norm_stats *stats, const float *gain, size_t n) {
    float a = 0, b = 0;
    for (size_t i = 0; i < n; i++) {
        const float d = dy[i] * gain[i];
        a += d;
        b += d * ((x[i] - stats->mean) * stats->rstd);
    }
    a /= (float)n;
    b /= (float)n;
    for (size_t i = 0; i < n; i++) {
        const float z = (x[i] - stats->mean) * stats->rstd;
        dx[i] += stats->rstd * (dy[i] * gain[i] - a - z * b);
    }
}

static void norm_back_gain_plain(float *dgain, float *dbias, const float *dy, const float *x,
                                 const inki_norm_stats *stats, size_t n_rows, size_t n,
                                 size_t begin, size_t end) {
    for (size_t r = 0; r < n_rows; r++) {
        for (size_t i = begin; i < end; i++) {
            const float d = dy[r * n + i];
            dgain[i] += d * ((x[r * n + i] - stats[r].mean) * stats[r].rstd);
            dbias[i] += d;
        }
    }
}

static void column_sums_plain(float *out, const float *x, size_t n_rows, size_t n, size_t begin,
                              size_t end) {
    for (size_t r = 0; r < n_rows; r++)
        for (size_t i = begin; i < end; i++) out[i] += x[r * n + i];
}

static float gelu_share(float x) { // sigmoid(2 u), see kernels/rows_portable.c
    return 1.0f / (1.0f + inki_exp(x * (-1.59576912f - 0.0713548163f * (x * x))));
}

static void gelu_plain(float *y, const float *x, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] = x[i] * gelu_share(x[i]);
}

static void gelu_back_plain(float *dx, const float *dy, const float *x, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const float v = fminf(fmaxf(x[i], -10.0f), 10.0f), s = gelu_share(v);
        const float slope = 1.59576912f + 0.214064449f * (v * v);
        dx[i] = dy[i] * (s + v * slope * s * (1.0f - s));
    }
}

static void add_plain(float *x, const float *y, size_t n) {
    for (size_t i = 0; i < n; i++) x[i] += y[i];
}

static float dropped(float x, float p, uint64_t key, uint64_t index) {
    return inki_train_hash(key, index) < (double)p * 0x1p32 ? 0.0f : x * (1.0f / (1.0f - p));
}

static void dropout_plain(float *x, size_t n, float p, uint64_t key, uint64_t first) {
    for (size_t i = 0; i < n; i++) x[i] = dropped(x[i], p, key, first + i);
}

static void add_dropped_plain(float *y, const float *x, size_t n, float p, uint64_t key,
                              uint64_t first) {
    for (size_t i = 0; i < n; i++) y[i] += p > 0 ? dropped(x[i], p, key, first + i) : x[i];
}

static double cross_entropy_plain(float *logits, size_t n, int32_t target, float scale) {
    float max = -INFINITY;
    for (size_t i = 0; i < n; i++) max = logits[i] > max ? logits[i] : max;
    const double behind = (double)max - (double)logits[target];
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        logits[i] = inki_exp(logits[i] - max);
        sum += (double)logits[i];
    }
    for (size_t i = 0; i < n; i++) logits[i] = logits[i] * (float)((double)scale / sum);
    logits[target] -= scale;
    return log(sum) + behind;
}

static double distil_plain(float *logits, float *teacher, size_t n, int32_t target, float scale,
                           const inki_distil *how, double *hard) {
    const double soft = (double)how->weight, cold = 1 / (double)how->temperature;
    double max = -INFINITY, teacher_max = -INFINITY, sum = 0, soft_sum = 0, teacher_sum = 0;
    for (size_t i = 0; i < n; i++) {
        max = (double)logits[i] > max ? (double)logits[i] : max;
        teacher_max = (double)teacher[i] > teacher_max ? (double)teacher[i] : teacher_max;
    }
    for (size_t i = 0; i < n; i++) {
        sum += exp((double)logits[i] - max);
        soft_sum += exp(((double)logits[i] - max) * cold);
        teacher_sum += exp(((double)teacher[i] - teacher_max) * cold);
    }
    const double loss = log(sum) + max - (double)logits[target];
    double kl = log(soft_sum) - log(teacher_sum);
    for (size_t i = 0; i < n; i++) {
        const double s = ((double)logits[i] - max) * cold;
        const double t = ((double)teacher[i] - teacher_max) * cold;
        const double q = exp(t) / teacher_sum;
        if (q > 0) kl += q * (t - s);
        const double g = (1 - soft) * (exp((double)logits[i] - max) / sum - (i == (size_t)target)) +
                         soft / cold * (exp(s) / soft_sum - q);
        logits[i] = (float)((double)scale * g);
    }
    if (hard) *hard = loss;
    return (1 - soft) * loss + soft / cold / cold * kl;
}

static void adamw_plain(float *w, const float *g, float *m, float *v, size_t n,
                        const inki_adamw *how) {
    for (size_t i = 0; i < n; i++) {
        const float d = g[i] * how->grad_scale;
        m[i] = how->beta1 * m[i] + (1.0f - how->beta1) * d;
        v[i] = how->beta2 * v[i] + (1.0f - how->beta2) * (d * d);
        const float step = m[i] / how->correction1 / (sqrtf(v[i] / how->correction2) + how->eps);
        w[i] -= how->rate * (step + how->decay * w[i]);
    }
}

static double sum_squares_plain(const float *x, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)x[i] * (double)x[i];
    return sum;
}

void inki_train_ops_init(inki_train_ops *ops, uint32_t level) {
    (void)level;
    *ops = (inki_train_ops){
        .name = inki_level_name(INKI_LEVEL_PORTABLE),
        .norm = norm_plain,
        .norm_back = norm_back_plain,
        .norm_back_gain = norm_back_gain_plain,
        .column_sums = column_sums_plain,
        .gelu = gelu_plain,
        .gelu_back = gelu_back_plain,
        .add = add_plain,
        .dropout = dropout_plain,
        .add_dropped = add_dropped_plain,
        .cross_entropy = cross_entropy_plain,
        .distil = distil_plain,
        .adamw = adamw_plain,
        .sum_squares = sum_squares_plain,
    };
}
