// SPDX-License-Identifier: MIT
// What the container says, for people: metadata and tensors.
#define INK_EXPERIMENTAL
#include "engine/engine.h"

#include <string.h>

size_t ink_model_n_metadata(const ink_model *model) { return model != NULL ? model->gguf.n_kv : 0; }

ink_status ink_model_metadata(const ink_model *model, size_t index, const char **key,
                              const char **type, char *out, size_t cap, size_t *bytes) {
    if (model == NULL || index >= model->gguf.n_kv || (out == NULL && cap != 0)) return INK_E_ARG;
    const inki_gguf_kv *kv = &model->gguf.kv[index];
    const size_t needed = inki_gguf_value_text(kv, out, cap);
    if (key != NULL) *key = model->keys + model->key_at[index];
    if (type != NULL) *type = inki_gguf_type_name(kv->type);
    if (bytes != NULL) *bytes = needed;
    return INK_OK;
}

size_t ink_model_n_tensors(const ink_model *model) {
    return model != NULL ? model->gguf.n_tensors : 0;
}

ink_status ink_model_tensor(const ink_model *model, size_t index, ink_tensor_info *info) {
    if (model == NULL || info == NULL || index >= model->gguf.n_tensors) return INK_E_ARG;
    const inki_gguf_tensor *t = &model->gguf.tensors[index];
    ink_tensor_info full = {.n_dims = t->n_dims,
                            .offset = t->offset,
                            .bytes = t->bytes,
                            .name = t->name,
                            .type = inki_type_of(t->type).name};
    memcpy(full.dims, t->dims, sizeof full.dims);
    inki_report_write(info, &full, sizeof full);
    return INK_OK;
}
