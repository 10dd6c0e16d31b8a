// SPDX-License-Identifier: MIT
#include "train/engine_view.h"

#include "engine/engine.h"

inki_engine_view inki_train_view(const ink_model *model) {
    return (inki_engine_view){&model->gguf, &model->weights, model->tokenizer};
}

inki_compute inki_train_compute(const ink_runtime *runtime, inki_precision precision) {
    return (inki_compute){.mem = runtime->mem,
                          .kernels = &runtime->kernels,
                          .pool = runtime->pool,
                          .level = (uint32_t)inki_level_by_name(runtime->kernels.name),
                          .precision = precision};
}
