// SPDX-License-Identifier: MIT
// The functions of the table in ops.h, over vectors that the including file defines: one body for
// every level. Included once a level, inside of its target region, behind
//
//     OPS(name)           the name with the level's suffix
//     OPS_LEVEL           the level's name
//     OPS_W, OPS_WIDE     numbers in a vector of floats, of doubles
//     lanes, lane_bits, wide_lanes
//     splat, splat_bits, lane_numbers (0, 1, ...), load_all, load_some (n < OPS_W numbers, the
//     others from `rest`), store_all, store_some, muladd (fused or not), max_of and min_of (b
//     where one is a NaN), root, times_power (p * 2^n, where shifted has n in its low bits),
//     zero_below (0 where random < limit), fold_sum, fold_max, wide_zero, wide_load, wide_muladd,
//     wide_fold
//
// An elementwise function makes each number by the same operations wherever it stands in the row.
// Sums go over four vectors, folded at the end: an order that depends on the row's length alone.
#include <math.h>

// With a constant n, as in all loops but their last step, nothing of the choice is left.
INKI_TEMPLATE lanes load(const float *p, size_t n, lanes rest) {
    return n == OPS_W ? load_all(p) : load_some(p, n, rest);
}
INKI_TEMPLATE lanes load_or_zero(const float *p, size_t n) { return load(p, n, splat(0.0f)); }
INKI_TEMPLATE void store(float *p, lanes v, size_t n) {
    if (n == OPS_W) {
        store_all(p, v);
    } else {
        store_some(p, v, n);
    }
}

// step(k, m): elements k to k + m - 1 of n.
#define OPS_FOR_EACH(n, step)                                                                      \
    do {                                                                                           \
        size_t k_ = 0;                                                                             \
        for (; k_ + OPS_W <= (n); k_ += OPS_W) step(k_, OPS_W);                                    \
        if (k_ < (n)) step(k_, (n)-k_);                                                            \
    } while (0)

// exp as in base/exp_inline.h, where the constants are explained.
INKI_TEMPLATE lanes exp_of(lanes x) {
    const lanes magic = splat(12582912.0f);
    x = min_of(splat(89.0f), max_of(splat(-104.0f), x)); // NaN passes both
    const lanes shifted = muladd(x, splat(1.44269504f), magic);
    const lanes n = shifted - magic;
    const lanes r = muladd(n, splat(2.12194440e-4f), muladd(n, splat(-0.693359375f), x));
    lanes p = muladd(splat(1.39262134e-3f), r, splat(8.36320297e-3f));
    p = muladd(p, r, splat(4.16665544e-2f));
    p = muladd(p, r, splat(0.166665768f));
    p = muladd(p, r, splat(0.5f));
    p = muladd(r * r, p, r) + splat(1.0f);
    return times_power(p, shifted, n);
}

// ---- norm ----

typedef struct four_sums {
    lanes a, b, c, d;
} four_sums;
INKI_TEMPLATE four_sums no_sums(void) {
    const lanes zero = splat(0.0f);
    return (four_sums){zero, zero, zero, zero};
}
INKI_TEMPLATE float fold_four(four_sums s) { return fold_sum((s.a + s.c) + (s.b + s.d)); }

INKI_TEMPLATE float sum_row(const float *x, size_t n) {
    four_sums s = no_sums();
    size_t k = 0;
    for (; k + 4 * OPS_W <= n; k += 4 * OPS_W) {
        s.a += load_all(x + k);
        s.b += load_all(x + k + OPS_W);
        s.c += load_all(x + k + 2 * OPS_W);
        s.d += load_all(x + k + 3 * OPS_W);
    }
    for (; k + OPS_W <= n; k += OPS_W) s.a += load_all(x + k);
    if (k < n) s.b += load_or_zero(x + k, n - k);
    return fold_four(s);
}

INKI_TEMPLATE lanes add_square(lanes sum, lanes x, lanes mean) {
    return muladd(x - mean, x - mean, sum);
}
INKI_TEMPLATE float sum_deviations(const float *x, float mean_of_row, size_t n) {
    const lanes mean = splat(mean_of_row);
    four_sums s = no_sums();
    size_t k = 0;
    for (; k + 4 * OPS_W <= n; k += 4 * OPS_W) {
        s.a = add_square(s.a, load_all(x + k), mean);
        s.b = add_square(s.b, load_all(x + k + OPS_W), mean);
        s.c = add_square(s.c, load_all(x + k + 2 * OPS_W), mean);
        s.d = add_square(s.d, load_all(x + k + 3 * OPS_W), mean);
    }
    for (; k + OPS_W <= n; k += OPS_W) s.a = add_square(s.a, load_all(x + k), mean);
    if (k < n) s.b = add_square(s.b, load(x + k, n - k, mean), mean);
    return fold_four(s);
}

// Two passes, since E[x^2] - mean^2 loses everything to cancellation when the mean is large.
static void OPS(norm)(float *y, inki_norm_stats *stats, const float *x, const float *gain,
                      const float *bias, size_t n, float eps) {
    stats->mean = sum_row(x, n) / (float)n;
    stats->rstd = 1.0f / sqrtf(sum_deviations(x, stats->mean, n) / (float)n + eps);
    const lanes mean = splat(stats->mean), rstd = splat(stats->rstd);
#define STEP(k, m)                                                                                 \
    store(y + (k),                                                                                 \
          muladd((load_or_zero(x + (k), m) - mean) * rstd, load_or_zero(gain + (k), m),            \
                 load_or_zero(bias + (k), m)),                                                     \
          m)
    OPS_FOR_EACH(n, STEP);
#undef STEP
}

// With d = dy * gain and z the normed x: dx = rstd * (d - mean(d) - z * mean(d * z)).
static void OPS(norm_back)(float *dx, const float *dy, const float *x, const inki_norm_stats *stats,
                           const float *gain, size_t n) {
    const lanes mean = splat(stats->mean), rstd = splat(stats->rstd);
    lanes sum_a = splat(0.0f), sum_b = sum_a, along_a = sum_a, along_b = sum_a;
    size_t k = 0;
    for (; k + 2 * OPS_W <= n; k += 2 * OPS_W) {
        const lanes d = load_all(dy + k) * load_all(gain + k);
        const lanes e = load_all(dy + k + OPS_W) * load_all(gain + k + OPS_W);
        sum_a += d;
        sum_b += e;
        along_a = muladd(d, load_all(x + k) - mean, along_a);
        along_b = muladd(e, load_all(x + k + OPS_W) - mean, along_b);
    }
    for (size_t m; k < n; k += m) {
        m = n - k < OPS_W ? n - k : OPS_W;
        const lanes d = load_or_zero(dy + k, m) * load_or_zero(gain + k, m);
        sum_a += d;
        along_a = muladd(d, load(x + k, m, mean) - mean, along_a);
    }
    const float count = (float)n;
    const lanes shift = splat(fold_sum(sum_a + sum_b) / count);
    const lanes slope =
        splat(fold_sum(along_a + along_b) * stats->rstd * stats->rstd / count); // of x - mean
#define STEP(k, m)                                                                                 \
    do {                                                                                           \
        const lanes d = load_or_zero(dy + (k), m) * load_or_zero(gain + (k), m) - shift;           \
        const lanes e = d - (load_or_zero(x + (k), m) - mean) * slope;                             \
        store(dx + (k), muladd(e, rstd, load_or_zero(dx + (k), m)), m);                            \
    } while (0)
    OPS_FOR_EACH(n, STEP);
#undef STEP
}

// ---- sums over rows ----

// Four rows at a time: enough to save most of the way to the sums and back, few enough streams for
// the processor to read ahead. Which rows are taken together depends on their number alone.
enum { OPS_ROWS = 4 };

INKI_TEMPLATE void add_gains(float *dgain, float *dbias, const float *dy, const float *x,
                             const inki_norm_stats *stats, size_t n_rows, size_t n, size_t m) {
    lanes gain = splat(0.0f), bias = gain;
    for (size_t r = 0; r < n_rows; r++) {
        const lanes d = load_or_zero(dy + r * n, m);
        const lanes z = (load_or_zero(x + r * n, m) - splat(stats[r].mean)) * splat(stats[r].rstd);
        gain = muladd(d, z, gain);
        bias += d;
    }
    store(dgain, load_or_zero(dgain, m) + gain, m);
    store(dbias, load_or_zero(dbias, m) + bias, m);
}

static void OPS(norm_back_gain)(float *dgain, float *dbias, const float *dy, const float *x,
                                const inki_norm_stats *stats, size_t n_rows, size_t n, size_t begin,
                                size_t end) {
    size_t r = 0;
#define STEP(k, m)                                                                                 \
    add_gains(dgain + begin + (k), dbias + begin + (k), dy + r * n + begin + (k),                  \
              x + r * n + begin + (k), stats + r, OPS_ROWS, n, m)
    for (; r + OPS_ROWS <= n_rows; r += OPS_ROWS) OPS_FOR_EACH(end - begin, STEP);
#undef STEP
#define STEP(k, m)                                                                                 \
    add_gains(dgain + begin + (k), dbias + begin + (k), dy + r * n + begin + (k),                  \
              x + r * n + begin + (k), stats + r, n_rows - r, n, m)
    if (r < n_rows) OPS_FOR_EACH(end - begin, STEP);
#undef STEP
}

INKI_TEMPLATE void add_columns(float *out, const float *x, size_t n_rows, size_t n, size_t m) {
    lanes sum = load_or_zero(x, m);
    for (size_t r = 1; r < n_rows; r++) sum += load_or_zero(x + r * n, m);
    store(out, load_or_zero(out, m) + sum, m);
}

static void OPS(column_sums)(float *out, const float *x, size_t n_rows, size_t n, size_t begin,
                             size_t end) {
    size_t r = 0;
#define STEP(k, m) add_columns(out + begin + (k), x + r * n + begin + (k), OPS_ROWS, n, m)
    for (; r + OPS_ROWS <= n_rows; r += OPS_ROWS) OPS_FOR_EACH(end - begin, STEP);
#undef STEP
#define STEP(k, m) add_columns(out + begin + (k), x + r * n + begin + (k), n_rows - r, n, m)
    if (r < n_rows) OPS_FOR_EACH(end - begin, STEP);
#undef STEP
}

// ---- elements ----

// As in kernels/rows_portable.c: with u the argument of tanh, gelu(x) = x / (1 + exp(-2 u)).
INKI_TEMPLATE lanes gelu_of(lanes x) {
    const lanes minus_2u = x * muladd(x * x, splat(-0.0713548163f), splat(-1.59576912f));
    return x / (splat(1.0f) + exp_of(minus_2u));
}
static void OPS(gelu)(float *y, const float *x, size_t n) {
#define STEP(k, m) store(y + (k), gelu_of(load_or_zero(x + (k), m)), m)
    OPS_FOR_EACH(n, STEP);
#undef STEP
}

// With s = 1 / (1 + e), e = exp(-2 u): gelu' = s + x s (1 - s) (2 u)', where 1 - s = e s. At 10 all
// of it is 0 or 1 to the last bit, and e is still finite.
INKI_TEMPLATE lanes gelu_slope_of(lanes x) {
    x = min_of(splat(10.0f), max_of(splat(-10.0f), x)); // NaN passes both
    const lanes square = x * x;
    const lanes e = exp_of(x * muladd(square, splat(-0.0713548163f), splat(-1.59576912f)));
    const lanes s = splat(1.0f) / (splat(1.0f) + e);
    return muladd(x * (e * s), muladd(square, splat(0.214064449f), splat(1.59576912f)),
                  splat(1.0f)) *
           s;
}
static void OPS(gelu_back)(float *dx, const float *dy, const float *x, size_t n) {
#define STEP(k, m)                                                                                 \
    store(dx + (k), load_or_zero(dy + (k), m) * gelu_slope_of(load_or_zero(x + (k), m)), m)
    OPS_FOR_EACH(n, STEP);
#undef STEP
}

static void OPS(add)(float *x, const float *y, size_t n) {
#define STEP(k, m) store(x + (k), load_or_zero(x + (k), m) + load_or_zero(y + (k), m), m)
    OPS_FOR_EACH(n, STEP);
#undef STEP
}

// ---- dropout ----

typedef struct drop_mask {
    uint32_t low, base, key; // inki_train_hash of low + i, for as long as that has the same carry
    uint32_t limit;
    lanes scale;
} drop_mask;

INKI_TEMPLATE drop_mask drop_mask_at(float p, uint64_t key, uint64_t index) {
    // Rounded up, so that "below" is exact where p * 2^32 is no integer.
    const double limit = (double)p * 0x1p32;
    const uint64_t whole = (uint64_t)limit;
    return (drop_mask){.low = (uint32_t)index,
                       .base = (uint32_t)key + (uint32_t)(index >> 32) * 0x85ebca77u,
                       .key = (uint32_t)(key >> 32),
                       .limit = (uint32_t)(whole + ((double)whole < limit)),
                       .scale = splat(1.0f / (1.0f - p))};
}
// x [OPS_W] are numbers k, k + 1, ... of the mask.
INKI_TEMPLATE lanes dropped(lanes x, const drop_mask *mask, size_t k) {
    const lane_bits steps = lane_numbers() * splat_bits(0x9e3779b1u);
    lane_bits h = splat_bits((mask->low + (uint32_t)k) * 0x9e3779b1u + mask->base) + steps;
    h ^= splat_bits(mask->key);
    h = (h ^ (h >> 16)) * splat_bits(0x21f0aaadu);
    h = (h ^ (h >> 15)) * splat_bits(0x735a2d97u);
    return zero_below(x * mask->scale, h ^ (h >> 15), mask->limit);
}
// How many of n numbers from `index` on have its high half.
INKI_TEMPLATE size_t until_carry(uint64_t index, size_t n) {
    const uint64_t room = 0x100000000u - (index & 0xffffffffu);
    return n < room ? n : (size_t)room;
}

static void OPS(dropout)(float *x, size_t n, float p, uint64_t key, uint64_t first) {
    while (n > 0) {
        const size_t n_now = until_carry(first, n);
        const drop_mask mask = drop_mask_at(p, key, first);
#define STEP(k, m) store(x + (k), dropped(load_or_zero(x + (k), m), &mask, k), m)
        OPS_FOR_EACH(n_now, STEP);
#undef STEP
        x += n_now;
        first += n_now;
        n -= n_now;
    }
}

static void OPS(add_dropped)(float *y, const float *x, size_t n, float p, uint64_t key,
                             uint64_t first) {
    if (!(p > 0.0f)) {
        OPS(add)(y, x, n);
        return;
    }
    while (n > 0) {
        const size_t n_now = until_carry(first, n);
        const drop_mask mask = drop_mask_at(p, key, first);
#define STEP(k, m)                                                                                 \
    store(y + (k), load_or_zero(y + (k), m) + dropped(load_or_zero(x + (k), m), &mask, k), m)
        OPS_FOR_EACH(n_now, STEP);
#undef STEP
        x += n_now;
        y += n_now;
        first += n_now;
        n -= n_now;
    }
}

// ---- loss ----

// A NaN is passed over: the sum of exponentials has it.
INKI_TEMPLATE float max_of_row(const float *x, size_t n) {
    const lanes lowest = splat(-INFINITY);
    lanes a = lowest, b = lowest, c = lowest, d = lowest;
    size_t k = 0;
    for (; k + 4 * OPS_W <= n; k += 4 * OPS_W) {
        a = max_of(load_all(x + k), a);
        b = max_of(load_all(x + k + OPS_W), b);
        c = max_of(load_all(x + k + 2 * OPS_W), c);
        d = max_of(load_all(x + k + 3 * OPS_W), d);
    }
    for (; k + OPS_W <= n; k += OPS_W) a = max_of(load_all(x + k), a);
    if (k < n) b = max_of(load(x + k, n - k, lowest), b);
    return fold_max(max_of(max_of(a, c), max_of(b, d)));
}

// Sums of a long row are joined in doubles every so many elements.
enum { OPS_STRETCH = 2048 };

// x = exp(x - max); returns the sum.
INKI_TEMPLATE double exp_row(float *x, size_t n, float max_of_all) {
    const lanes max = splat(max_of_all);
    double sum = 0;
    for (size_t at = 0; at < n; at += OPS_STRETCH) {
        const size_t m = n - at < OPS_STRETCH ? n - at : OPS_STRETCH;
        float *const p = x + at;
        lanes a = splat(0.0f), b = a;
        size_t k = 0;
        for (; k + 2 * OPS_W <= m; k += 2 * OPS_W) {
            const lanes e = exp_of(load_all(p + k) - max);
            const lanes f = exp_of(load_all(p + k + OPS_W) - max);
            store_all(p + k, e);
            store_all(p + k + OPS_W, f);
            a += e;
            b += f;
        }
        for (size_t here; k < m; k += here) {
            here = m - k < OPS_W ? m - k : OPS_W;
            const lanes e = exp_of(load(p + k, here, splat(-INFINITY)) - max);
            store(p + k, e, here);
            a += e;
        }
        sum += (double)fold_sum(a + b);
    }
    return sum;
}

static double OPS(cross_entropy)(float *logits, size_t n, int32_t target, float scale) {
    const float max = max_of_row(logits, n);
    const double behind = (double)max - (double)logits[target];
    const double sum = exp_row(logits, n, max);
    if (scale != 0.0f) {
        const lanes factor = splat((float)((double)scale / sum));
#define STEP(k, m) store(logits + (k), load_or_zero(logits + (k), m) * factor, m)
        OPS_FOR_EACH(n, STEP);
#undef STEP
        logits[target] -= scale;
    }
    return log(sum) + behind;
}

typedef struct soft_sums {
    double hard, student, teacher; // of exponentials; the latter two at the temperature
    double apart;                  // sum of teacher's ones times (teacher - student) / T
} soft_sums;

// Far below what counts; an infinity there would be one times 0.
INKI_TEMPLATE lanes no_infinity(lanes x) { return max_of(splat(-1e30f), x); }

// teacher = exp((teacher - its max) / T); the logits stay.
INKI_TEMPLATE void soften(soft_sums *sums, const float *logits, float *teacher, size_t n,
                          float max_of_logits, float max_of_teacher, float cold_factor) {
    const lanes max = splat(max_of_logits), teacher_max = splat(max_of_teacher);
    const lanes cold = splat(cold_factor), lowest = splat(-INFINITY), zero = splat(0.0f);
    for (size_t at = 0; at < n; at += OPS_STRETCH) {
        const size_t m = n - at < OPS_STRETCH ? n - at : OPS_STRETCH;
        lanes hard = zero, student = zero, soft = zero, apart = zero;
#define STEP(k, m)                                                                                 \
    do {                                                                                           \
        const lanes z = load(logits + at + (k), m, lowest) - max, s = z * cold;                    \
        const lanes t = (load(teacher + at + (k), m, lowest) - teacher_max) * cold;                \
        const lanes q = exp_of(t);                                                                 \
        store(teacher + at + (k), q, m);                                                           \
        hard += exp_of(z);                                                                         \
        student += exp_of(s);                                                                      \
        soft += q;                                                                                 \
        apart = muladd(q, no_infinity(t) - no_infinity(s), apart);                                 \
    } while (0)
        OPS_FOR_EACH(m, STEP);
#undef STEP
        sums->hard += (double)fold_sum(hard);
        sums->student += (double)fold_sum(student);
        sums->teacher += (double)fold_sum(soft);
        sums->apart += (double)fold_sum(apart);
    }
}

// The gradient is scale * ((1 - w) (p - onehot) + w T (p_T - q_T)): T^2 of the loss, and 1 / T from
// the logits that were divided by it. The student's exponentials are made twice, since there is no
// room for both of them.
static double OPS(distil)(float *logits, float *teacher, size_t n, int32_t target, float scale,
                          const inki_distil *how, double *hard) {
    const double weight = (double)how->weight, temperature = (double)how->temperature;
    const float cold_factor = 1.0f / how->temperature;
    const float max = max_of_row(logits, n), teacher_max = max_of_row(teacher, n);
    const double behind = (double)max - (double)logits[target];
    soft_sums sums = {0, 0, 0, 0};
    soften(&sums, logits, teacher, n, max, teacher_max, cold_factor);
    const double loss = log(sums.hard) + behind;
    const double apart = sums.apart / sums.teacher + log(sums.student) - log(sums.teacher);
    if (hard) *hard = loss;
    if (scale != 0.0f) {
        const double per_hard = (double)scale * (1 - weight);
        const double per_soft = (double)scale * weight * temperature;
        const lanes cold = splat(cold_factor), top = splat(max);
        const lanes hard_factor = splat((float)(per_hard / sums.hard));
        const lanes soft_factor = splat((float)(per_soft / sums.student));
        const lanes teacher_factor = splat((float)(-per_soft / sums.teacher));
#define STEP(k, m)                                                                                 \
    do {                                                                                           \
        const lanes z = load_or_zero(logits + (k), m) - top;                                       \
        const lanes soft = muladd(exp_of(z * cold), soft_factor,                                   \
                                  load_or_zero(teacher + (k), m) * teacher_factor);                \
        store(logits + (k), muladd(exp_of(z), hard_factor, soft), m);                              \
    } while (0)
        OPS_FOR_EACH(n, STEP);
#undef STEP
        logits[target] -= (float)per_hard;
    }
    return (1 - weight) * loss + weight * temperature * temperature * apart;
}

// ---- optimiser ----

static void OPS(adamw)(float *w, const float *g, float *m, float *v, size_t n,
                       const inki_adamw *how) {
    const lanes grad_scale = splat(how->grad_scale), rate = splat(-how->rate);
    const lanes beta1 = splat(how->beta1), rest1 = splat(1.0f - how->beta1);
    const lanes beta2 = splat(how->beta2), rest2 = splat(1.0f - how->beta2);
    const lanes unbias1 = splat(1.0f / how->correction1), unbias2 = splat(1.0f / how->correction2);
    const lanes eps = splat(how->eps), decay = splat(how->decay);
#define STEP(k, count)                                                                             \
    do {                                                                                           \
        const lanes d = load_or_zero(g + (k), count) * grad_scale;                                 \
        const lanes mean = muladd(load_or_zero(m + (k), count), beta1, d * rest1);                 \
        const lanes square = muladd(load_or_zero(v + (k), count), beta2, d * d * rest2);           \
        const lanes old = load_or_zero(w + (k), count);                                            \
        const lanes step = mean * unbias1 / (root(square * unbias2) + eps);                        \
        store(m + (k), mean, count);                                                               \
        store(v + (k), square, count);                                                             \
        store(w + (k), muladd(muladd(old, decay, step), rate, old), count);                        \
    } while (0)
    OPS_FOR_EACH(n, STEP);
#undef STEP
}

static double OPS(sum_squares)(const float *x, size_t n) {
    wide_lanes a = wide_zero(), b = a, c = a, d = a;
    size_t k = 0;
    for (; k + 4 * OPS_WIDE <= n; k += 4 * OPS_WIDE) {
        const wide_lanes e = wide_load(x + k), f = wide_load(x + k + OPS_WIDE);
        const wide_lanes g = wide_load(x + k + 2 * OPS_WIDE), h = wide_load(x + k + 3 * OPS_WIDE);
        a = wide_muladd(e, e, a);
        b = wide_muladd(f, f, b);
        c = wide_muladd(g, g, c);
        d = wide_muladd(h, h, d);
    }
    double sum = wide_fold((a + c) + (b + d));
    for (; k < n; k++) sum += (double)x[k] * (double)x[k];
    return sum;
}

void OPS(inki_train_ops)(inki_train_ops *ops) {
    *ops = (inki_train_ops){
        .name = OPS_LEVEL,
        .norm = OPS(norm),
        .norm_back = OPS(norm_back),
        .norm_back_gain = OPS(norm_back_gain),
        .column_sums = OPS(column_sums),
        .gelu = OPS(gelu),
        .gelu_back = OPS(gelu_back),
        .add = OPS(add),
        .dropout = OPS(dropout),
        .add_dropped = OPS(add_dropped),
        .cross_entropy = OPS(cross_entropy),
        .distil = OPS(distil),
        .adamw = OPS(adamw),
        .sum_squares = OPS(sum_squares),
    };
}

#undef OPS_FOR_EACH
