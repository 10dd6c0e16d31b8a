// SPDX-License-Identifier: MIT
#include "train/self_attention.h"

#include <math.h>

#include "kernels/exp_inline.h"
#include "train/ops.h"

size_t inki_attention_work_bytes(size_t n, size_t head_dim) {
    (void)head_dim;
    return (2 * n * sizeof(float) + 63) / 64 * 64;
}

static float dot(const float *a, const float *b, size_t n) {
    float sum = 0.0f;
    for (size_t i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

// What the weight of (i, j) is multiplied by.
static float kept(const inki_attention_head *head, size_t i, size_t j) {
    if (head->dropout <= 0.0f) return 1.0f;
    const uint32_t bits = inki_train_hash(head->key, head->first + i * head->n + j);
    return (double)bits < (double)head->dropout * 4294967296.0 ? 0.0f
                                                               : 1.0f / (1.0f - head->dropout);
}

static void forward_row(const inki_attention_head *head, size_t i, float *p) {
    const size_t d = head->head_dim, stride = head->stride;
    float max = -INFINITY, sum = 0.0f, *out = head->out + i * head->out_stride;
    for (size_t j = 0; j <= i; j++) {
        p[j] = dot(head->q + i * stride, head->k + j * stride, d) * head->scale;
        max = p[j] > max ? p[j] : max;
    }
    for (size_t c = 0; c < d; c++) out[c] = 0.0f;
    for (size_t j = 0; j <= i; j++) {
        p[j] = inki_exp(p[j] - max);
        sum += p[j];
    }
    for (size_t j = 0; j <= i; j++) {
        const float weight = p[j] / sum * kept(head, i, j);
        for (size_t c = 0; c < d; c++) out[c] += weight * head->v[j * stride + c];
    }
    head->log_sum[i] = max + (float)log((double)sum);
}

static void forward_plain(const inki_attention_head *head, void *work) {
    for (size_t i = 0; i < head->n; i++) forward_row(head, i, work);
}

static void backward_row(const inki_attention_head *head, size_t i) {
    const size_t d = head->head_dim, stride = head->stride;
    const float *q = head->q + i * stride, *dout = head->dout + i * head->out_stride;
    const float mean = dot(dout, head->out + i * head->out_stride, d);
    for (size_t j = 0; j <= i; j++) {
        const float *k = head->k + j * stride;
        const float p = inki_exp(dot(q, k, d) * head->scale - head->log_sum[i]);
        const float factor = kept(head, i, j);
        const float dp = dot(dout, head->v + j * stride, d) * factor;
        const float ds = p * (dp - mean) * head->scale;
        for (size_t c = 0; c < d; c++) {
            head->dq[i * stride + c] += ds * k[c];
            head->dk[j * stride + c] += ds * q[c];
            head->dv[j * stride + c] += p * factor * dout[c];
        }
    }
}

static void backward_plain(const inki_attention_head *head, void *work) {
    (void)work;
    for (size_t i = 0; i < head->n; i++)
        for (size_t c = 0; c < head->head_dim; c++)
            head->dq[i * head->stride + c] = head->dk[i * head->stride + c] =
                head->dv[i * head->stride + c] = 0.0f;
    for (size_t i = 0; i < head->n; i++) backward_row(head, i);
}

void inki_attention_init(inki_attention_fns *fns, uint32_t level) {
    (void)level;
    *fns = (inki_attention_fns){"portable", forward_plain, backward_plain};
}
