// SPDX-License-Identifier: MIT
// Any bytes: an adapter for a small model opens, or fails with a filled error; what opens can be
// evaluated with, to logits or to a number that is not finite.
#include "fuzz.h"

#include "tiny_model.h"

#include <math.h>
#include <stdlib.h>

const size_t fuzz_quick_runs = 4000;

static ink_model *model;

static void open_model(void) {
    tiny_model tiny = tiny_model_defaults();
    tiny.n_layer = 1;
    tiny.n_ctx = 16;
    tiny.n_vocab = 257;
    tiny.n_ff = 32;
    size_t n = 0;
    const uint8_t *bytes = tiny_model_bytes(&tiny, &n);
    FUZZ_CHECK(bytes != NULL);
    const ink_source source = {
        .size = sizeof source, .kind = INK_SOURCE_MEMORY, .data = bytes, .bytes = n};
    ink_runtime_options options;
    ink_runtime *runtime = NULL;
    ink_runtime_options_init(&options, sizeof options);
    options.n_threads = 1;
    FUZZ_CHECK(ink_runtime_new(&runtime, &options, NULL) == INK_OK);
    FUZZ_CHECK(ink_model_open(&model, runtime, &source, NULL, NULL) == INK_OK);
    ink_runtime_unref(runtime);
}

static void evaluate(ink_adapter *adapter) {
    const ink_adapter_use uses[] = {{adapter, 1}, {adapter, -0.5f}};
    const ink_token ids[] = {1, 2, 3};
    ink_session_options options;
    ink_session *session = NULL;
    ink_error error = {0};
    ink_session_options_init(&options, sizeof options);
    options.adapters = uses;
    options.n_adapters = 2;
    FUZZ_CHECK(ink_session_new(&session, model, &options, &error) == INK_OK);
    const ink_span span = {session, ids, 3, 0, NULL};
    const ink_status status = ink_eval(&span, 1, &error);
    size_t n = 0;
    const float *logits = ink_session_logits(session, 0, &n);
    FUZZ_CHECK((logits != NULL) == (status == INK_OK));
    for (size_t i = 0; i < n && logits != NULL; i++) FUZZ_CHECK(isfinite(logits[i]));
    FUZZ_CHECK(status == INK_OK || (status == INK_E_NUMERIC && error.message[0] != 0));
    FUZZ_CHECK(ink_session_free(session) == INK_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    if (model == NULL) open_model();
    const ink_source source = {.size = sizeof source,
                               .kind = INK_SOURCE_MEMORY,
                               .data = data,
                               .bytes = bytes,
                               .name = "fuzzed"};
    ink_adapter *adapter = NULL;
    ink_error error = {0};
    const ink_status status = ink_adapter_open(&adapter, model, &source, &error);
    FUZZ_CHECK((status == INK_OK) == (adapter != NULL));
    FUZZ_CHECK(error.status == status && (status == INK_OK) == (error.message[0] == 0));
    if (adapter != NULL) evaluate(adapter);
    ink_adapter_unref(adapter);
    return 0;
}
