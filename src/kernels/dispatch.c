// SPDX-License-Identifier: MIT
#include "kernels/levels.h"
#include "kernels/target.h"

#include "inkling/inkling.h"

#include <string.h>

inki_act_form inki_act_form_of(uint32_t type) {
    return inki_type_of(type).block_elems > 1 ? INKI_ACT_Q8 : INKI_ACT_F32;
}

size_t inki_act_row_bytes(inki_act_form form, size_t n) {
    const size_t bytes = form == INKI_ACT_F32 ? n * sizeof(float) : n + n / 8 + n / 8;
    return (bytes + 63) / 64 * 64;
}

size_t inki_kv_row_bytes(uint32_t kv_type, size_t head_dim) {
    switch (kv_type) {
    case INK_KV_F32: return head_dim * 4;
    case INK_KV_F16: return head_dim * 2;
    default: return (head_dim + INKI_Q8_BLOCK - 1) / INKI_Q8_BLOCK * 34;
    }
}

static void copy_columns(uint8_t *to, const uint8_t *from, size_t bytes, size_t stride, size_t n) {
    for (size_t i = 0; i < n; i++) memcpy(to + i * stride, from + i * stride, bytes);
}

void inki_kv_copy_keys(uint32_t kv_type, void *to, const void *from, size_t n, size_t head_dim) {
    uint8_t *t = (uint8_t *)to;
    const uint8_t *f = (const uint8_t *)from;
    const size_t n_columns = (n + 15) / 16 * 16;
    if (kv_type != INK_KV_Q8_0) {
        const size_t bytes = kv_type == INK_KV_F32 ? 4 : 2;
        copy_columns(t, f, n_columns * bytes, INKI_TILE * bytes, head_dim);
        return;
    }
    for (size_t d = 0; d < head_dim; d += INKI_Q8_BLOCK) {
        copy_columns(t, f, n_columns * 2, 0, 1);
        copy_columns(t + 2 * INKI_TILE, f + 2 * INKI_TILE, n_columns, INKI_TILE, INKI_Q8_BLOCK);
        t += 34 * INKI_TILE;
        f += 34 * INKI_TILE;
    }
}

const char *inki_level_name(uint32_t level) {
    static const char *const names[INKI_LEVELS] = {
#define LEVEL_NAME(name, text) [INKI_LEVEL_##name] = text,
        INKI_LEVEL_MAP(LEVEL_NAME)
#undef LEVEL_NAME
    };
    return level < INKI_LEVELS ? names[level] : NULL;
}

int32_t inki_level_by_name(const char *name) {
    for (int32_t i = 0; i < INKI_LEVELS; i++)
        if (strcmp(name, inki_level_name((uint32_t)i)) == 0) return i;
    return -1;
}

uint32_t inki_level_mask(uint32_t level) {
    const uint32_t first = level >= INKI_LEVEL_NEON ? INKI_LEVEL_NEON : INKI_LEVEL_AVX2;
    if (level == INKI_LEVEL_PORTABLE) return 1u << INKI_LEVEL_PORTABLE;
    return 1u << INKI_LEVEL_PORTABLE | ((2u << level) - (1u << first));
}

static void level_fill(inki_kernels *table, uint32_t level) {
    switch (level) {
#if defined(INKI_HAVE_X86)
    case INKI_LEVEL_AVX2:
        inki_blocks_avx2(table);
        inki_floats_avx2(table);
        inki_rows_avx2(table);
        inki_attend_avx2(table);
        break;
    case INKI_LEVEL_AVX512:
        inki_floats_avx512(table);
        inki_rows_avx512(table);
        inki_attend_avx512(table);
        break;
    case INKI_LEVEL_AVX512VNNI: inki_blocks_avx512vnni(table); break;
#endif
#if defined(INKI_HAVE_NEON)
    case INKI_LEVEL_NEON:
        inki_blocks_neon(table);
        inki_floats_neon(table);
        inki_rows_neon(table);
        inki_attend_neon(table);
        break;
#endif
#if defined(INKI_HAVE_DOTPROD)
    case INKI_LEVEL_DOTPROD: inki_blocks_dotprod(table); break;
#endif
#if defined(INKI_HAVE_I8MM)
    case INKI_LEVEL_I8MM: inki_blocks_i8mm(table); break;
#endif
    default: break;
    }
}

void inki_kernels_init(inki_kernels *table, uint32_t mask) {
    memset(table, 0, sizeof *table);
    inki_kernels_matmul_portable(table);
    inki_kernels_blocks_portable(table);
    inki_kernels_kblocks_portable(table);
    inki_kernels_quant_portable(table);
    inki_kernels_rows_portable(table);
    inki_kernels_attend_portable(table);
    const uint32_t levels = inki_cpu_levels() & (mask | 1u << INKI_LEVEL_PORTABLE);
    uint32_t best = INKI_LEVEL_PORTABLE;
    for (uint32_t i = INKI_LEVEL_AVX2; i < INKI_LEVELS; i++) { // each overwrites what it has
        if ((levels & inki_level_mask(i)) != inki_level_mask(i)) continue;
        best = i;
        level_fill(table, i);
    }
    table->name = inki_level_name(best);
    table->part_work = best == INKI_LEVEL_PORTABLE ? 1u << 16 : 1u << 17;
}
