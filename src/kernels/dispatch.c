// SPDX-License-Identifier: MIT
#include "kernels/portable.h"

#include "inkling/inkling.h"

#include <string.h>

inki_act_form inki_act_form_of(uint32_t type) {
    return inki_type_of(type).block_elems > 1 ? INKI_ACT_Q8 : INKI_ACT_F32;
}

size_t inki_act_row_bytes(inki_act_form form, size_t n) {
    const size_t bytes = form == INKI_ACT_F32 ? n * sizeof(float)
                                              : (n + 3) / 4 * 4 + n / INKI_Q8_BLOCK * sizeof(float);
    return (bytes + 63) / 64 * 64;
}

size_t inki_kv_row_bytes(uint32_t kv_type, size_t head_dim) {
    switch (kv_type) {
    case INK_KV_F32: return head_dim * 4;
    case INK_KV_F16: return head_dim * 2;
    default: return (head_dim + INKI_Q8_BLOCK - 1) / INKI_Q8_BLOCK * 34;
    }
}

void inki_kernels_init(inki_kernels *table, uint32_t mask) {
    memset(table, 0, sizeof *table);
    table->name = "portable";
    inki_kernels_matmul_portable(table);
    inki_kernels_quant_portable(table);
    inki_kernels_rows_portable(table);
    inki_kernels_attend_portable(table);
    // Instruction sets follow here in rising order, each behind its bit of the mask and a look at
    // the processor: it overwrites the slots that it has, and the name.
    (void)mask;
}
