// SPDX-License-Identifier: MIT
#include "train/export_types.h"

#include "kernels/kernels.h"

enum { QUANTIZATION_VERSION = 2 };

bool inki_export_writes(uint32_t type) {
    return type == INKI_F32 || type == INKI_F16 || type == INKI_BF16 || type == INKI_Q8_0 ||
           type == INKI_Q4_0;
}

uint32_t inki_export_choose(uint32_t wanted, uint64_t n_cols, float largest, bool is_head) {
    uint32_t type = is_head && wanted == INKI_Q4_0 ? INKI_Q8_0 : wanted;
    if (n_cols % inki_type_of(type).block_elems != 0) type = INKI_F16;
    return inki_quantize_holds(type, largest) ? type : INKI_F32;
}

// The numbers are llama.cpp's names for a file as a whole (llama.h, enum llama_ftype).
void inki_export_add_kind(inki_gguf_writer *writer, uint32_t type) {
    uint32_t kind = 0;
    switch (type) {
    case INKI_F16: kind = 1; break;
    case INKI_Q4_0: kind = 2; break;
    case INKI_Q8_0: kind = 7; break;
    case INKI_BF16: kind = 32; break;
    default: break;
    }
    inki_gguf_add_u32(writer, "general.file_type", kind);
    if (inki_type_of(type).block_elems > 1)
        inki_gguf_add_u32(writer, "general.quantization_version", QUANTIZATION_VERSION);
}
