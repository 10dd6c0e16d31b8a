// SPDX-License-Identifier: MIT
// The inside of an engine's objects, for programs that train: an open model gives its vocabulary
// and its weights, a runtime its threads and kernels.
#ifndef INKI_TRAIN_ENGINE_VIEW_H
#define INKI_TRAIN_ENGINE_VIEW_H

#include "train/net.h"

#include "tokenizer/tokenizer.h"

// Borrowed from the model as long as it is open.
typedef struct inki_engine_view {
    const inki_gguf *gguf;
    const inki_weights *weights;
    const inki_tokenizer *tokenizer;
} inki_engine_view;
inki_engine_view inki_train_view(const ink_model *model); // one that was opened for text

// Kernels, level and threads of a runtime, which must live on; inki_pool_enter is the caller's.
inki_compute inki_train_compute(const ink_runtime *runtime, inki_precision precision);

#endif
