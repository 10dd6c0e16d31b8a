// SPDX-License-Identifier: MIT
// A safetensors header (the input, behind 4 bytes that say how much data follows it) is either
// refused with a message, or its tensors cover the data exactly, one after the other.
#include "convert/safetensors.h"

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 4) return 0;
    const inki_mem mem = inki_mem_from(NULL);
    const uint64_t data_bytes =
        data[0] | (uint32_t)data[1] << 8 | (uint32_t)data[2] << 16 | (uint32_t)data[3] << 24;
    inki_safetensors file = {0};
    ink_error error = {0};
    const ink_status status = inki_safetensors_parse(&file, (const char *)data + 4, size - 4,
                                                     data_bytes, "header", &mem, &error);
    if (status != INK_OK) {
        FUZZ_CHECK(error.status == (int32_t)status && error.message[0] != 0 &&
                   file.tensors == NULL);
        return 0;
    }
    uint64_t at = 0;
    for (size_t i = 0; i < file.n; i++) {
        const inki_safetensor *t = &file.tensors[i];
        uint64_t n = 1;
        for (uint32_t k = 0; k < t->n_dims; k++) n *= t->dims[k];
        FUZZ_CHECK(t->offset == at && t->n == n && t->n_dims <= INKI_SAFETENSORS_MAX_DIMS &&
                   t->dtype != NULL);
        at += n * t->elem_bytes;
    }
    FUZZ_CHECK(at == data_bytes);
    inki_safetensors_close(&file);
    return 0;
}
