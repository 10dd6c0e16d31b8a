// SPDX-License-Identifier: MIT
// Products of block weights with byte activations by smmla: two weight rows by two activation rows,
// eight columns each. Few activation rows would leave half of that unused and go to sdot.
#include "kernels/blocks_neon.h"
#include "kernels/levels.h"

#if defined(INKI_HAVE_I8MM)
INKI_TARGET_BEGIN_I8MM

// Activation rows as the products want them: [p][j] holds columns 8 j to 8 j + 7 of rows 2 p and
// 2 p + 1; scales and factors of minima are repeated in the order of the sums.
typedef struct acts_i8mm {
    int8x16_t q[INKI_NEON_CHUNK][2][4];
    float32x4_t d[INKI_NEON_CHUNK][2], min[INKI_NEON_CHUNK][2];
} acts_i8mm;

INKI_TEMPLATE int8x16_t zip_low_i8mm(int8x16_t a, int8x16_t b) {
    return vreinterpretq_s8_s64(vzip1q_s64(vreinterpretq_s64_s8(a), vreinterpretq_s64_s8(b)));
}
INKI_TEMPLATE int8x16_t zip_high_i8mm(int8x16_t a, int8x16_t b) {
    return vreinterpretq_s8_s64(vzip2q_s64(vreinterpretq_s64_s8(a), vreinterpretq_s64_s8(b)));
}
INKI_TEMPLATE float32x4_t twice_i8mm(float a, float b) {
    const float32x2_t pair = {a, b};
    return vcombine_f32(pair, pair);
}

INKI_TEMPLATE void pack_acts_i8mm(bool has_mins, acts_i8mm *to, const inki_neon_call *c,
                                  inki_neon_place at) {
    for (size_t p = 0; p < 2; p++) {
        const inki_neon_act x = inki_neon_act_of(c, at.b + 2 * p);
        const inki_neon_act y = inki_neon_act_of(c, at.b + 2 * p + 1);
        for (size_t k = 0; k < at.n; k++) {
            const size_t sub = at.first + k;
            for (size_t i = 0; i < 2; i++) {
                const int8x16_t a = vld1q_s8(x.q + 32 * sub + 16 * i);
                const int8x16_t b = vld1q_s8(y.q + 32 * sub + 16 * i);
                to->q[k][p][2 * i] = zip_low_i8mm(a, b);
                to->q[k][p][2 * i + 1] = zip_high_i8mm(a, b);
            }
            to->d[k][p] = twice_i8mm(x.d[sub], y.d[sub]);
            if (has_mins)
                to->min[k][p] =
                    twice_i8mm(inki_neon_min_factor(&x, sub), inki_neon_min_factor(&y, sub));
        }
    }
}

// q[4 p + j]: columns 8 j to 8 j + 7 of rows 2 p and 2 p + 1.
INKI_TEMPLATE void arrange_i8mm(int8x16_t q[8]) {
    int8x16_t to[8];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        const int at = i / 2 * 4 + i % 2; // pair of rows i / 2, sixteen columns i % 2
        to[2 * i] = zip_low_i8mm(q[at], q[at + 2]);
        to[2 * i + 1] = zip_high_i8mm(q[at], q[at + 2]);
    }
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) q[i] = to[i];
}

// Columns 16 j to 16 j + 15, as [row 0 with x 0, 0 with 1, 1 with 0, 1 with 1].
INKI_TEMPLATE int32x4_t dot_i8mm(int32x4_t sum, const int8x16_t q[4], const int8x16_t x[4], int j) {
    sum = vmmlaq_s32(sum, q[2 * j], x[2 * j]);
    return vmmlaq_s32(sum, q[2 * j + 1], x[2 * j + 1]);
}

// Sub k of a pair of rows and a pair of activation rows.
INKI_TEMPLATE float32x4_t pairs_i8mm(uint32_t type, float32x4_t sum, const inki_neon_panel *w,
                                     const acts_i8mm *acts, size_t k, int row, int act) {
    const inki_neon_format f = inki_neon_format_of(type);
    const int8x16_t *q = &w->q[k][4 * row], *x = acts->q[k][act];
    const float32x4_t dx = acts->d[k][act];
    const int32x4_t first = dot_i8mm(vdupq_n_s32(0), q, x, 0);
    if (f.n_parts == 2) {
        const int32x4_t second = dot_i8mm(vdupq_n_s32(0), q, x, 1);
        sum = vfmaq_f32(sum, vcvtq_f32_s32(first), vmulq_f32(w->d[k][0][row], dx));
        return vfmaq_f32(sum, vcvtq_f32_s32(second), vmulq_f32(w->d[k][1][row], dx));
    }
    const int32x4_t both = dot_i8mm(first, q, x, 1);
    sum = vfmaq_f32(sum, vcvtq_f32_s32(both), vmulq_f32(w->d[k][0][row], dx));
    return f.has_mins ? vfmsq_f32(sum, w->m[k][row], acts->min[k][act]) : sum;
}

INKI_TEMPLATE void tile_i8mm(uint32_t type, const inki_neon_call *c, const inki_neon_panel *panels,
                             inki_neon_place at) {
    acts_i8mm acts;
    pack_acts_i8mm(inki_neon_format_of(type).has_mins, &acts, c, at);
    const size_t end = inki_neon_least(at.r + 4 * INKI_NEON_GROUPS, c->n_rows);
    for (size_t r = at.r; r < end; r += 4, panels++) {
        float32x4_t rows[4], s[4]; // s[2 row pair + activation pair]
        inki_neon_sums_get(c, r, at.b, at.first, rows);
        for (int i = 0; i < 2; i++) {
            s[i] = vzip1q_f32(rows[2 * i], rows[2 * i + 1]);
            s[2 + i] = vzip2q_f32(rows[2 * i], rows[2 * i + 1]);
        }
        for (size_t k = 0; k < at.n; k++)
#pragma GCC unroll 4
            for (int i = 0; i < 4; i++)
                s[i] = pairs_i8mm(type, s[i], panels, &acts, k, i / 2, i % 2);
        for (int i = 0; i < 2; i++) {
            rows[2 * i] = vuzp1q_f32(s[i], s[2 + i]);
            rows[2 * i + 1] = vuzp2q_f32(s[i], s[2 + i]);
        }
        inki_neon_sums_put(c, r, at.b, at.first + at.n, rows);
    }
}

#define SLOT(name, type)                                                                           \
    static void few_##name##_i8mm(const inki_neon_call *c) { inki_blocks_few_dotprod(type, c); }   \
    static void many_##name##_i8mm(const inki_neon_call *c) {                                      \
        inki_neon_matmul_many(type, true, arrange_i8mm, tile_i8mm, c);                             \
    }                                                                                              \
    INKI_NEON_SLOT(matmul_##name##_i8mm, few_##name##_i8mm, many_##name##_i8mm)
INKI_NEON_BLOCK_TYPES(SLOT)
#undef SLOT
INKI_TARGET_END

void inki_blocks_i8mm(inki_kernels *table) {
#define FILL(name, type) table->matmul[type] = matmul_##name##_i8mm;
    INKI_NEON_BLOCK_TYPES(FILL)
#undef FILL
}
#endif
