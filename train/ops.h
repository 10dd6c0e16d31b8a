// SPDX-License-Identifier: MIT
// Everything of a training step that is no product of matrices and no attention: rows, their
// derivatives, the loss, the optimiser. One table, filled for a level (as kernels/kernels.h is).
// No function knows threads; those that work on rows give the same numbers however rows are cut,
// those that sum over rows take a range of columns so that a column is summed by one thread.
#ifndef INKI_TRAIN_OPS_H
#define INKI_TRAIN_OPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct inki_norm_stats {
    float mean, rstd; // 1 / sqrt(variance + eps)
} inki_norm_stats;

// Decoupled weight decay: w -= rate * (m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps) + decay
// * w). Source: Loshchilov and Hutter 2019, arXiv 1711.05101.
typedef struct inki_adamw {
    float rate, beta1, beta2, eps, decay;
    float correction1, correction2; // 1 - beta^t
    float grad_scale;               // gradients are multiplied by it first (clipping)
} inki_adamw;

// One teacher for distillation: loss = (1 - weight) * cross entropy + weight * T^2 * KL(teacher ||
// student), both distributions softened by T. Source: Hinton et al. 2015, arXiv 1503.02531.
typedef struct inki_distil {
    float weight, temperature;
} inki_distil;

typedef struct inki_train_ops {
    const char *name; // of the level whose functions these are
    // y = (x - mean) * rstd * gain + bias over n values; stats receives the two.
    void (*norm)(float *y, inki_norm_stats *stats, const float *x, const float *gain,
                 const float *bias, size_t n, float eps);
    // dx += what dy says, through the norm of x.
    void (*norm_back)(float *dx, const float *dy, const float *x, const inki_norm_stats *stats,
                      const float *gain, size_t n);
    // For columns [begin, end) of n_rows rows of n: dgain += sum dy * (x - mean) * rstd, dbias +=
    // sum dy.
    void (*norm_back_gain)(float *dgain, float *dbias, const float *dy, const float *x,
                           const inki_norm_stats *stats, size_t n_rows, size_t n, size_t begin,
                           size_t end);
    // out += the sums of columns [begin, end) over n_rows rows of n.
    void (*column_sums)(float *out, const float *x, size_t n_rows, size_t n, size_t begin,
                        size_t end);
    void (*gelu)(float *y, const float *x, size_t n); // the tanh form; may be in place
    // dx = dy * gelu'(x); dx may be dy.
    void (*gelu_back)(float *dx, const float *dy, const float *x, size_t n);
    void (*add)(float *x, const float *y, size_t n); // x += y
    // x = 0 with probability p, else x / (1 - p): which of them is a pure function of key and
    // first + index (see inki_train_hash), so that the backward pass makes the same mask on its
    // gradients. p in (0, 1); keys are well mixed numbers, since those of two keys whose low halves
    // differ by little can be one mask shifted. What is dropped is 0, be it NaN.
    void (*dropout)(float *x, size_t n, float p, uint64_t key, uint64_t first);
    // y += x with dropout as above on x: the residual. p 0: plain.
    void (*add_dropped)(float *y, const float *x, size_t n, float p, uint64_t key, uint64_t first);
    // Returns -log softmax(logits)[target]; logits become scale * (softmax - onehot), with scale 0
    // they stay what they are or become anything. target < n. A NaN or +infinity among the logits
    // makes the loss NaN; -infinity is a probability of 0.
    double (*cross_entropy)(float *logits, size_t n, int32_t target, float scale);
    // The same for a mixed loss (inki_distil); *hard (may be NULL): its cross entropy part alone.
    // teacher [n] logits, are spoilt.
    double (*distil)(float *logits, float *teacher, size_t n, int32_t target, float scale,
                     const inki_distil *how, double *hard);
    void (*adamw)(float *w, const float *g, float *m, float *v, size_t n, const inki_adamw *how);
    double (*sum_squares)(const float *x, size_t n); // in doubles; NaN and infinity reach it
} inki_train_ops;

// level: an inki_level of kernels/kernels.h that the machine has.
void inki_train_ops_init(inki_train_ops *ops, uint32_t level);

// 32 random bits for (key, index), the same on every machine and level: an element is dropped when
// they are below p * 2^32.
static inline uint32_t inki_train_hash(uint64_t key, uint64_t index) {
    uint32_t x =
        (uint32_t)index * 0x9e3779b1u + (uint32_t)key + (uint32_t)(index >> 32) * 0x85ebca77u;
    x ^= (uint32_t)(key >> 32);
    x = (x ^ (x >> 16)) * 0x21f0aaadu;
    x = (x ^ (x >> 15)) * 0x735a2d97u;
    return x ^ (x >> 15);
}

#endif
