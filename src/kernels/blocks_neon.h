// SPDX-License-Identifier: MIT
// What the AArch64 levels share for products of block weights: blocks to bytes and scales, and the
// loops around a level's own integer products. Lanes are weight rows, in fours; rows that are not
// there repeat the last one and their results are dropped. Private to blocks_*.c of AArch64.
#ifndef INKI_KERNELS_BLOCKS_NEON_H
#define INKI_KERNELS_BLOCKS_NEON_H

#include "kernels/kernels.h"
#include "kernels/neon_inline.h"

#include "base/half.h"

#if defined(INKI_HAVE_NEON)

// One call of a matmul slot.
typedef struct inki_neon_call {
    float *out;
    size_t out_stride;
    const uint8_t *weights;
    size_t row_bytes;
    const uint8_t *acts;
    size_t act_stride;
    const float *bias;
    size_t n_rows, n_cols, n_batch;
} inki_neon_call;

static inline size_t inki_neon_least(size_t a, size_t b) { return a < b ? a : b; }

// --- formats -------------------------------------------------------------------------------------
// A unit is a block. Its columns come in subs of 32, of which n_parts (1, or 2 where sixteen
// columns share a scale) have a scale each. n_subs subs lie in the same bytes and make a step.

typedef struct inki_neon_format {
    size_t bytes, n_steps, n_subs, n_parts;
    int32_t zero;  // what is stored is above the value by this
    bool has_mins; // a value is d * q - m
} inki_neon_format;

INKI_TEMPLATE inki_neon_format inki_neon_format_of(uint32_t type) {
    switch (type) {
    case INKI_Q4_0: return (inki_neon_format){18, 1, 1, 1, 8, false};
    case INKI_Q5_0: return (inki_neon_format){22, 1, 1, 1, 0, false};
    case INKI_Q4_K: return (inki_neon_format){144, 4, 2, 1, 0, true};
    case INKI_Q5_K: return (inki_neon_format){176, 4, 2, 1, 0, true};
    case INKI_Q6_K: return (inki_neon_format){210, 2, 4, 2, 32, false};
    default: return (inki_neon_format){34, 1, 1, 1, 0, false}; // Q8_0
    }
}

static inline int8x16_t inki_neon_signed(uint8x16_t v) { return vreinterpretq_s8_u8(v); }

// The fifth bits of Q5_0 as a whole word, inverted: where a bit was clear, the upper half of a byte
// becomes ones, and nibble + 16 - 16 or nibble - 16 is there without an arithmetic step.
INKI_TEMPLATE void inki_neon_unpack_q5_0(const uint8_t *block, int8x16_t q[2]) {
    static const uint8_t spread[32] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1,
                                       2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3};
    const uint8x16_t bit = vreinterpretq_u8_u64(vdupq_n_u64(0x8040201008040201u));
    const uint8x16_t v = vld1q_u8(block + 6);
    uint32_t word;
    memcpy(&word, block + 2, sizeof word);
    const uint8x16_t clear = vreinterpretq_u8_u32(vdupq_n_u32(~word));
    const uint8x16_t low = vtstq_u8(vqtbl1q_u8(clear, vld1q_u8(spread)), bit);
    const uint8x16_t high = vtstq_u8(vqtbl1q_u8(clear, vld1q_u8(spread + 16)), bit);
    q[0] = inki_neon_signed(vsliq_n_u8(vandq_u8(v, vdupq_n_u8(15)), low, 4));
    q[1] = inki_neon_signed(vsliq_n_u8(vshrq_n_u8(v, 4), high, 4));
}

// Nibbles of sub t, whose pairs of subs share bytes.
INKI_TEMPLATE uint8x16_t inki_neon_nibbles(size_t high, const uint8_t *p) {
    const uint8x16_t v = vld1q_u8(p);
    return high != 0 ? vshrq_n_u8(v, 4) : vandq_u8(v, vdupq_n_u8(15));
}
// Bits 4 and 5 of sub t, two of them a byte.
INKI_TEMPLATE uint8x16_t inki_neon_upper_q6_k(size_t t, uint8x16_t v) {
    v = t == 0 ? vshlq_n_u8(v, 4) : t == 1 ? vshlq_n_u8(v, 2) : t == 3 ? vshrq_n_u8(v, 2) : v;
    return vandq_u8(v, vdupq_n_u8(0x30));
}

// q: the 32 columns of sub t in a step.
INKI_TEMPLATE void inki_neon_unpack(uint32_t type, size_t t, const uint8_t *block, size_t step,
                                    int8x16_t q[2]) {
    if (type == INKI_Q5_0) {
        inki_neon_unpack_q5_0(block, q);
        return;
    }
    const int8x16_t shift = vdupq_n_s8((int8_t)(4 - (int)(2 * step + t)));
    for (size_t i = 0; i < 2; i++) switch (type) {
        case INKI_Q4_0: q[i] = inki_neon_signed(inki_neon_nibbles(i, block + 2)); break;
        case INKI_Q4_K:
            q[i] = inki_neon_signed(inki_neon_nibbles(t, block + 16 + 32 * step + 16 * i));
            break;
        case INKI_Q5_K: {
            const uint8x16_t fifth =
                vandq_u8(vshlq_u8(vld1q_u8(block + 16 + 16 * i), shift), vdupq_n_u8(16));
            const uint8x16_t v = inki_neon_nibbles(t, block + 48 + 32 * step + 16 * i);
            q[i] = inki_neon_signed(vorrq_u8(v, fifth));
            break;
        }
        case INKI_Q6_K: {
            const uint8_t *low = block + 64 * step + 32 * (t & 1) + 16 * i;
            const uint8x16_t upper =
                inki_neon_upper_q6_k(t, vld1q_u8(block + 128 + 32 * step + 16 * i));
            q[i] = inki_neon_signed(vorrq_u8(inki_neon_nibbles(t >> 1, low), upper));
            break;
        }
        default: q[i] = vld1q_s8((const int8_t *)block + 2 + 16 * i); break; // Q8_0
        }
}

// The half floats of four rows. Put together outside of the vector unit, which is the busy one.
INKI_TEMPLATE float32x4_t inki_neon_halves(const uint8_t *const w[4], size_t at) {
    uint16_t h[4];
    for (int i = 0; i < 4; i++) memcpy(&h[i], w[i] + at, sizeof *h);
    const uint64_t all =
        (uint64_t)h[0] | (uint64_t)h[1] << 16 | (uint64_t)h[2] << 32 | (uint64_t)h[3] << 48;
    return vcvt_f32_f16(vreinterpret_f16_u64(vcreate_u64(all)));
}

// A word of each of four rows, likewise.
INKI_TEMPLATE uint32x4_t inki_neon_words(const uint8_t *const w[4], size_t at) {
    uint32_t v[4];
    for (int i = 0; i < 4; i++) memcpy(&v[i], w[i] + at, sizeof *v);
    return vcombine_u32(vcreate_u32((uint64_t)v[0] | (uint64_t)v[1] << 32),
                        vcreate_u32((uint64_t)v[2] | (uint64_t)v[3] << 32));
}

// Four bytes of each of four rows, in a word a row, as d times the first bytes, the second ones,
// ...
INKI_TEMPLATE void inki_neon_spread(float32x4_t out[4], uint32x4_t rows, float32x4_t d) {
    for (int i = 0; i < 4; i++) {
        out[i] = vmulq_f32(vcvtq_f32_u32(vandq_u32(rows, vdupq_n_u32(255))), d);
        rows = vshrq_n_u32(rows, 8);
    }
}

// Six bits each of 8 scales and 8 minima in 12 bytes: 0-3 stand in the low six bits, 4-7 have four
// bits in the last word and two above those of 0-3.
INKI_TEMPLATE void inki_neon_scales_k(const uint8_t *const w[4], float32x4_t *d, float32x4_t *m) {
    const float32x4_t big = inki_neon_halves(w, 0), low = inki_neon_halves(w, 2);
    const uint32x4_t a = inki_neon_words(w, 4), b = inki_neon_words(w, 8);
    const uint32x4_t c = inki_neon_words(w, 12);
    const uint32x4_t six = vdupq_n_u32(0x3f3f3f3f), four = vdupq_n_u32(0x0f0f0f0f);
    const uint32x4_t two = vdupq_n_u32(0x30303030);
    inki_neon_spread(d, vandq_u32(a, six), big);
    inki_neon_spread(d + 4, vorrq_u32(vandq_u32(c, four), vandq_u32(vshrq_n_u32(a, 2), two)), big);
    inki_neon_spread(m, vandq_u32(b, six), low);
    inki_neon_spread(
        m + 4, vorrq_u32(vandq_u32(vshrq_n_u32(c, 4), four), vandq_u32(vshrq_n_u32(b, 2), two)),
        low);
}

// d times the signed byte of each of 16 scales.
INKI_TEMPLATE void inki_neon_scales_q6_k(const uint8_t *const w[4], float32x4_t *d) {
    const float32x4_t big = inki_neon_halves(w, 208);
    for (size_t j = 0; j < 4; j++) {
        const int32x4_t rows = vreinterpretq_s32_u32(inki_neon_words(w, 192 + 4 * j));
        d[4 * j] = vmulq_f32(vcvtq_f32_s32(vshrq_n_s32(vshlq_n_s32(rows, 24), 24)), big);
        d[4 * j + 1] = vmulq_f32(vcvtq_f32_s32(vshrq_n_s32(vshlq_n_s32(rows, 16), 24)), big);
        d[4 * j + 2] = vmulq_f32(vcvtq_f32_s32(vshrq_n_s32(vshlq_n_s32(rows, 8), 24)), big);
        d[4 * j + 3] = vmulq_f32(vcvtq_f32_s32(vshrq_n_s32(rows, 24)), big);
    }
}

// d: the scales of a unit, a part each; m: the minima of its subs. Lanes are rows.
INKI_TEMPLATE void inki_neon_scales(uint32_t type, const uint8_t *const w[4], float32x4_t d[16],
                                    float32x4_t m[8]) {
    if (type == INKI_Q4_K || type == INKI_Q5_K)
        inki_neon_scales_k(w, d, m);
    else if (type == INKI_Q6_K)
        inki_neon_scales_q6_k(w, d);
    else
        d[0] = inki_neon_halves(w, 0);
}

INKI_TEMPLATE void inki_neon_row_pointers(const inki_neon_call *c, size_t r, const uint8_t *w[4]) {
    for (size_t i = 0; i < 4; i++)
        w[i] = c->weights + inki_neon_least(r + i, c->n_rows - 1) * c->row_bytes;
}

// --- few activation rows -------------------------------------------------------------------------

// start + exact products of four rows with one activation row, a lane a row. q[2 r], q[2 r + 1]:
// row r's 32 columns. part: 0 or 1, that half of the columns only; 2: both.
typedef int32x4_t (*inki_neon_dot_fn)(uint32_t type, int part, const int8x16_t q[8],
                                      const int8x16_t x[2], int32_t start);

typedef struct inki_neon_act {
    const int8_t *q;
    const float *d;
    const int16_t *sum;
} inki_neon_act;

INKI_TEMPLATE inki_neon_act inki_neon_act_of(const inki_neon_call *c, size_t b) {
    const uint8_t *row = c->acts + inki_neon_least(b, c->n_batch - 1) * c->act_stride;
    return (inki_neon_act){(const int8_t *)row, inki_act_scales(row, c->n_cols),
                           inki_act_sums(row, c->n_cols)};
}

// sum + idot * (d * dx), and less m * (dx * sum of q): the one order of all vector levels.
INKI_TEMPLATE float32x4_t inki_neon_add(float32x4_t sum, int32x4_t dot, float32x4_t d, float dx) {
    return vfmaq_f32(sum, vcvtq_f32_s32(dot), vmulq_n_f32(d, dx));
}
INKI_TEMPLATE float inki_neon_min_factor(const inki_neon_act *act, size_t k) {
    return act->d[k] * (float)(act->sum[2 * k] + act->sum[2 * k + 1]);
}

// Sub k of four rows (32 columns each) against one activation row. What is above its value by a
// zero point has that taken off the product: cheaper than off each weight.
INKI_TEMPLATE float32x4_t inki_neon_sub(uint32_t type, inki_neon_dot_fn dot, float32x4_t sum,
                                        const int8x16_t q[8], const float32x4_t *d,
                                        const inki_neon_act *act, size_t k) {
    const inki_neon_format f = inki_neon_format_of(type);
    const int8x16_t x[2] = {vld1q_s8(act->q + 32 * k), vld1q_s8(act->q + 32 * k + 16)};
    const float dx = act->d[k];
    const int32_t first = f.zero * act->sum[2 * k], second = f.zero * act->sum[2 * k + 1];
    if (f.n_parts == 1) return inki_neon_add(sum, dot(type, 2, q, x, -(first + second)), d[0], dx);
    sum = inki_neon_add(sum, dot(type, 0, q, x, -first), d[0], dx);
    return inki_neon_add(sum, dot(type, 1, q, x, -second), d[1], dx);
}

INKI_TEMPLATE void inki_neon_few_sub(uint32_t type, size_t t, size_t n_x, inki_neon_dot_fn dot,
                                     float32x4_t *sums, const uint8_t *const w[4], size_t step,
                                     const float32x4_t *d, const float32x4_t *m,
                                     const inki_neon_act *act, size_t k) {
    const inki_neon_format f = inki_neon_format_of(type);
    const size_t sub = step * f.n_subs + t;
    if (t >= f.n_subs) return;
    if (f.n_subs > 2) inki_neon_afresh(); // what four subs share does not fit into registers
    int8x16_t q[8];
#pragma GCC unroll 4
    for (int r = 0; r < 4; r++) inki_neon_unpack(type, t, w[r], step, q + 2 * r);
#pragma GCC unroll 4
    for (size_t b = 0; b < n_x; b++) {
        sums[b] = inki_neon_sub(type, dot, sums[b], q, d + sub * f.n_parts, &act[b], k + sub);
        if (f.has_mins)
            sums[b] = vfmsq_n_f32(sums[b], m[sub], inki_neon_min_factor(&act[b], k + sub));
    }
}

// Four weight rows against n_x activation rows: the weights go from memory to registers and are
// used there.
INKI_TEMPLATE void inki_neon_few(uint32_t type, size_t n_x, inki_neon_dot_fn dot, float32x4_t *sums,
                                 const uint8_t *w[4], const inki_neon_act *act, size_t n_cols) {
    const inki_neon_format f = inki_neon_format_of(type);
    const size_t subs = f.n_steps * f.n_subs;
    for (size_t k = 0; k < n_cols / 32; k += subs) {
        float32x4_t d[16], m[8];
        inki_neon_scales(type, w, d, m);
        for (size_t step = 0; step < f.n_steps; step++) {
            inki_neon_few_sub(type, 0, n_x, dot, sums, w, step, d, m, act, k);
            inki_neon_few_sub(type, 1, n_x, dot, sums, w, step, d, m, act, k);
            inki_neon_few_sub(type, 2, n_x, dot, sums, w, step, d, m, act, k);
            inki_neon_few_sub(type, 3, n_x, dot, sums, w, step, d, m, act, k);
        }
        for (int r = 0; r < 4; r++) w[r] += f.bytes;
    }
}

INKI_TEMPLATE void inki_neon_put(const inki_neon_call *c, size_t r, size_t b, float32x4_t sum) {
    const size_t n = c->n_rows - r;
    if (b < c->n_batch) inki_neon_store_n(c->out + b * c->out_stride + r, sum, n);
}
INKI_TEMPLATE float32x4_t inki_neon_with_bias(const inki_neon_call *c, size_t r, float32x4_t sum) {
    return c->bias == NULL ? sum : vaddq_f32(sum, inki_neon_load_n(c->bias + r, c->n_rows - r));
}

INKI_TEMPLATE void inki_neon_matmul_few(uint32_t type, size_t n_x, inki_neon_dot_fn dot,
                                        const inki_neon_call *c) {
    inki_neon_act act[4];
    for (size_t b = 0; b < n_x; b++) act[b] = inki_neon_act_of(c, b);
    for (size_t r = 0; r < c->n_rows; r += 4) {
        const uint8_t *w[4];
        float32x4_t sums[4];
        inki_neon_row_pointers(c, r, w);
        for (size_t b = 0; b < n_x; b++) sums[b] = vdupq_n_f32(0);
        inki_neon_few(type, n_x, dot, sums, w, act, c->n_cols);
        for (size_t b = 0; b < n_x; b++) inki_neon_put(c, r, b, inki_neon_with_bias(c, r, sums[b]));
    }
}

// --- many activation rows ------------------------------------------------------------------------
// Sixteen rows of a chunk of columns are unpacked once, in the order in which a level's products
// want them, and meet the activation rows in fours. Sums wait in `out` between chunks.

enum { INKI_NEON_FEW = 4, INKI_NEON_GROUPS = 4, INKI_NEON_CHUNK = 16 };

// Four rows of a chunk of up to 16 subs. d[k][j]: the scale of part j, m[k]: the minimum. Either a
// lane a row in the first of two registers, or, paired, each row's twice in both.
typedef struct inki_neon_panel {
    int8x16_t q[INKI_NEON_CHUNK][8];
    float32x4_t d[INKI_NEON_CHUNK][2][2], m[INKI_NEON_CHUNK][2];
} inki_neon_panel;

// From q[2 r], q[2 r + 1] of row r to a level's order.
typedef void (*inki_neon_arrange_fn)(int8x16_t q[8]);

INKI_TEMPLATE void inki_neon_pack_sub(uint32_t type, size_t t, inki_neon_arrange_fn arrange,
                                      inki_neon_panel *p, const uint8_t *const w[4], size_t step,
                                      size_t k) {
    const inki_neon_format f = inki_neon_format_of(type);
    if (t >= f.n_subs) return;
    if (f.n_subs > 2) inki_neon_afresh(); // what four subs share does not fit into registers
    int8x16_t q[8];
#pragma GCC unroll 4
    for (int r = 0; r < 4; r++) inki_neon_unpack(type, t, w[r], step, q + 2 * r);
    arrange(q);
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++)
        p->q[k + step * f.n_subs + t][i] =
            f.zero != 0 ? vsubq_s8(q[i], vdupq_n_s8((int8_t)f.zero)) : q[i];
}

INKI_TEMPLATE void inki_neon_pack_scale(bool paired, float32x4_t to[2], float32x4_t d) {
    to[0] = paired ? vzip1q_f32(d, d) : d;
    if (paired) to[1] = vzip2q_f32(d, d);
}

// n subs from row r on and sub `first` on, whole units.
INKI_TEMPLATE void inki_neon_pack(uint32_t type, bool paired, inki_neon_arrange_fn arrange,
                                  inki_neon_panel *p, const inki_neon_call *c, size_t r,
                                  size_t first, size_t n) {
    const inki_neon_format f = inki_neon_format_of(type);
    const size_t subs = f.n_steps * f.n_subs;
    const uint8_t *w[4];
    inki_neon_row_pointers(c, r, w);
    for (int i = 0; i < 4; i++) w[i] += first / subs * f.bytes;
    for (size_t k = 0; k < n; k += subs) {
        float32x4_t d[16], m[8];
        inki_neon_scales(type, w, d, m);
        for (size_t i = 0; i < subs; i++) {
            for (size_t j = 0; j < f.n_parts; j++)
                inki_neon_pack_scale(paired, p->d[k + i][j], d[i * f.n_parts + j]);
            if (f.has_mins) inki_neon_pack_scale(paired, p->m[k + i], m[i]);
        }
        for (size_t step = 0; step < f.n_steps; step++) {
            inki_neon_pack_sub(type, 0, arrange, p, w, step, k);
            inki_neon_pack_sub(type, 1, arrange, p, w, step, k);
            inki_neon_pack_sub(type, 2, arrange, p, w, step, k);
            inki_neon_pack_sub(type, 3, arrange, p, w, step, k);
        }
        for (int i = 0; i < 4; i++) w[i] += f.bytes;
    }
}

// The sums of four rows from r on and four activation rows from b on: 0 before sub `first` = 0.
INKI_TEMPLATE void inki_neon_sums_get(const inki_neon_call *c, size_t r, size_t b, size_t first,
                                      float32x4_t sums[4]) {
    for (size_t i = 0; i < 4; i++) {
        const float *out = c->out + inki_neon_least(b + i, c->n_batch - 1) * c->out_stride + r;
        sums[i] = first == 0 ? vdupq_n_f32(0) : inki_neon_load_n(out, c->n_rows - r);
    }
}
INKI_TEMPLATE void inki_neon_sums_put(const inki_neon_call *c, size_t r, size_t b, size_t end,
                                      const float32x4_t sums[4]) {
    for (size_t i = 0; i < 4; i++)
        inki_neon_put(c, r, b + i,
                      end < c->n_cols / 32 ? sums[i] : inki_neon_with_bias(c, r, sums[i]));
}

// Where a tile stands: rows from r on, activation rows from b on, n subs from `first` on.
typedef struct inki_neon_place {
    size_t r, b, first, n;
} inki_neon_place;

// Panels (one for each four rows) against four activation rows.
typedef void (*inki_neon_tile_fn)(uint32_t type, const inki_neon_call *c,
                                  const inki_neon_panel *panels, inki_neon_place at);

// A tile from exact products of packed registers, a lane a row.
INKI_TEMPLATE void inki_neon_tile(uint32_t type, inki_neon_dot_fn dot, const inki_neon_call *c,
                                  const inki_neon_panel *panels, inki_neon_place at) {
    const inki_neon_format f = inki_neon_format_of(type);
    inki_neon_act act[4];
    float mins[INKI_NEON_CHUNK][4];
    for (size_t b = 0; b < 4; b++) {
        act[b] = inki_neon_act_of(c, at.b + b);
        for (size_t k = 0; f.has_mins && k < at.n; k++)
            mins[k][b] = inki_neon_min_factor(&act[b], at.first + k);
    }
    const size_t end = inki_neon_least(at.r + 4 * INKI_NEON_GROUPS, c->n_rows);
    for (size_t r = at.r; r < end; r += 4, panels++) {
        float32x4_t sums[4];
        inki_neon_sums_get(c, r, at.b, at.first, sums);
        for (size_t k = 0; k < at.n; k++) {
            const inki_neon_panel *p = panels;
#pragma GCC unroll 4
            for (size_t b = 0; b < 4; b++) {
                const size_t column = 32 * (at.first + k);
                const int8x16_t x[2] = {vld1q_s8(act[b].q + column),
                                        vld1q_s8(act[b].q + column + 16)};
                const float dx = act[b].d[at.first + k];
                if (f.n_parts == 2) {
                    sums[b] =
                        inki_neon_add(sums[b], dot(type, 0, p->q[k], x, 0), p->d[k][0][0], dx);
                    sums[b] =
                        inki_neon_add(sums[b], dot(type, 1, p->q[k], x, 0), p->d[k][1][0], dx);
                } else {
                    sums[b] =
                        inki_neon_add(sums[b], dot(type, 2, p->q[k], x, 0), p->d[k][0][0], dx);
                }
                if (f.has_mins) sums[b] = vfmsq_n_f32(sums[b], p->m[k][0], mins[k][b]);
            }
        }
        inki_neon_sums_put(c, r, at.b, at.first + at.n, sums);
    }
}

INKI_TEMPLATE void inki_neon_matmul_many(uint32_t type, bool paired, inki_neon_arrange_fn arrange,
                                         inki_neon_tile_fn tile, const inki_neon_call *c) {
    const size_t n_subs = c->n_cols / 32;
    for (size_t r = 0; r < c->n_rows; r += 4 * INKI_NEON_GROUPS)
        for (size_t first = 0; first < n_subs; first += INKI_NEON_CHUNK) {
            inki_neon_panel panels[INKI_NEON_GROUPS];
            const size_t n = inki_neon_least(INKI_NEON_CHUNK, n_subs - first);
            for (size_t g = 0; g < INKI_NEON_GROUPS && r + 4 * g < c->n_rows; g++)
                inki_neon_pack(type, paired, arrange, &panels[g], c, r + 4 * g, first, n);
            for (size_t b = 0; b < c->n_batch; b += 4)
                tile(type, c, panels, (inki_neon_place){r, b, first, n});
        }
}

// --- slots ---------------------------------------------------------------------------------------

// X(name, type): the types with kernels here.
#define INKI_NEON_BLOCK_TYPES(X)                                                                   \
    X(q8_0, INKI_Q8_0)                                                                             \
    X(q4_0, INKI_Q4_0)                                                                             \
    X(q5_0, INKI_Q5_0)                                                                             \
    X(q4_k, INKI_Q4_K)                                                                             \
    X(q5_k, INKI_Q5_K)                                                                             \
    X(q6_k, INKI_Q6_K)

// A function per number of activation rows keeps each one's registers to itself.
#define INKI_NEON_FEW_SLOT(name, type, dot)                                                        \
    static void name##_1(const inki_neon_call *c) { inki_neon_matmul_few(type, 1, dot, c); }       \
    static void name##_2(const inki_neon_call *c) { inki_neon_matmul_few(type, 2, dot, c); }       \
    static void name##_4(const inki_neon_call *c) { inki_neon_matmul_few(type, 4, dot, c); }       \
    static void name(const inki_neon_call *c) {                                                    \
        if (c->n_batch == 1)                                                                       \
            name##_1(c);                                                                           \
        else if (c->n_batch == 2)                                                                  \
            name##_2(c);                                                                           \
        else                                                                                       \
            name##_4(c);                                                                           \
    }
#define INKI_NEON_SLOT(name, few, many)                                                            \
    static void name(float *out, size_t out_stride, const void *weights, size_t row_bytes,         \
                     const void *acts, size_t act_stride, const float *bias, size_t n_rows,        \
                     size_t n_cols, size_t n_batch) {                                              \
        const inki_neon_call c = {out,                                                             \
                                  out_stride,                                                      \
                                  (const uint8_t *)weights,                                        \
                                  row_bytes,                                                       \
                                  (const uint8_t *)acts,                                           \
                                  act_stride,                                                      \
                                  bias,                                                            \
                                  n_rows,                                                          \
                                  n_cols,                                                          \
                                  n_batch};                                                        \
        if (n_batch <= INKI_NEON_FEW)                                                              \
            few(&c);                                                                               \
        else                                                                                       \
            many(&c);                                                                              \
    }

#if defined(INKI_HAVE_DOTPROD)
// At most INKI_NEON_FEW activation rows, by sdot; false: not a type with kernels here.
bool inki_blocks_few_dotprod(uint32_t type, const inki_neon_call *c);
#endif
#endif

#endif
