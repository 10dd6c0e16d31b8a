// SPDX-License-Identifier: MIT
#include "train/export_types.h"

#include "base/half.h"

enum { QUANTIZATION_VERSION = 2 };

bool inki_export_writes(uint32_t type) {
    return type == INKI_F32 || type == INKI_F16 || type == INKI_BF16 || type == INKI_Q8_0 ||
           type == INKI_Q4_0;
}

// The scale of a block is a half; types without blocks hold the numbers themselves.
static bool reaches(uint32_t type, float largest) {
    const uint16_t half_infinity = 0x7c00, bf16_infinity = 0x7f80;
    switch (type) {
    case INKI_F16: return inki_f32_to_f16(largest) != half_infinity;
    case INKI_BF16: return inki_f32_to_bf16(largest) != bf16_infinity;
    case INKI_Q8_0: return inki_f32_to_f16(largest / 127.0f) != half_infinity;
    case INKI_Q4_0: return inki_f32_to_f16(largest / 8.0f) != half_infinity;
    default: return true;
    }
}

uint32_t inki_export_choose(uint32_t wanted, uint64_t n_cols, float largest, bool is_head) {
    uint32_t type = is_head && wanted == INKI_Q4_0 ? INKI_Q8_0 : wanted;
    if (n_cols % inki_type_of(type).block_elems != 0) type = INKI_F16;
    return reaches(type, largest) ? type : INKI_F32;
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
