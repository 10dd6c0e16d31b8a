// SPDX-License-Identifier: MIT
//
// libinkling-train: a model learns from its user's own text, on the device.
//
//     ink_adapt *a;
//     ink_adapt_open(&a, model, "notes.adapt", NULL, NULL);    // goes on where it was left
//     ink_adapt_add_text(a, text, bytes, NULL);
//     ink_adapt_run(a, 200, &report, NULL);                    // learns for 200 ms; again and
//     again ink_adapt_save(a, NULL);                                 // nothing is lost from here
//     ink_adapt_export(a, "notes.gguf", NULL);                 // for ink_adapter_open
//
// The model stays as it is, quantised and shared; a small LoRA adapter beside it learns. The rules
// at the top of inkling.h hold here too.
#ifndef INKLING_TRAIN_H
#define INKLING_TRAIN_H

#include "inkling/inkling.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ink_adapt ink_adapt;

typedef struct ink_adapt_options {
    uint32_t size;
    uint32_t rank;    // of the adapter's matrices: 8; at most 256
    float alpha;      // the adapter counts alpha / rank: 16
    float rate;       // peak of the learning rate: 1e-3
    float dropout;    // 0
    uint32_t n_ctx;   // tokens of a sequence: 256, or the model's context where that is less
    uint32_t n_batch; // sequences a step: 4; at most 256
    uint32_t n_steps; // over which the rate falls: 1000; it stays at a tenth after that
    uint64_t seed;    // 1
} ink_adapt_options;
INK_API void ink_adapt_options_init(ink_adapt_options *options, size_t size);

typedef struct ink_adapt_report {
    uint32_t size;
    uint32_t n_steps;      // done in all
    uint64_t n_tokens;     // of text that it has
    uint64_t n_learnt;     // tokens learnt from in all, again and again
    double loss;           // nats a token, of the last sequences
    double held_loss;      // of the part that is held out; NAN: not measured yet
    double best_held_loss; // what ink_adapt_export writes has it; NAN likewise
} ink_adapt_report;

// state: path of the file that keeps text's tokens, adapter and optimiser between runs of the
// process; what it holds is gone on with, and its options count. It need not exist. NULL: nothing
// is kept. The model is held by a reference. Errors: INK_E_ARG, INK_E_LIMIT, INK_E_NOMEM, INK_E_IO,
// INK_E_FORMAT (a state that is damaged), INK_E_UNSUPPORTED (a state of another model). Threads: a
// session's rule.
INK_API ink_status ink_adapt_open(ink_adapt **out, ink_model *model, const char *state,
                                  const ink_adapt_options *options, ink_error *error);
INK_API ink_status ink_adapt_free(ink_adapt *adapt); // NULL is allowed. Nothing is saved

// text [bytes] is learnt from, from the next run on. Kept as tokens. Errors: INK_E_UTF8,
// INK_E_LIMIT (2^28 tokens in all), INK_E_NOMEM, INK_E_BUSY.
INK_API ink_status ink_adapt_add_text(ink_adapt *adapt, const char *text, size_t bytes,
                                      ink_error *error);
// Learns for about budget_ms (looked at between layers of the pass; the step that is under way goes
// on in the next run). report may be NULL. Errors: INK_E_ARG (less text than 32 tokens),
// INK_E_NUMERIC (a NaN or infinity: the adapter is back at the last good weights), INK_E_CANCELLED,
// INK_E_BUSY.
INK_API ink_status ink_adapt_run(ink_adapt *adapt, uint32_t budget_ms, ink_adapt_report *report,
                                 ink_error *error);
// Makes the run return soon. Any thread, signal-safe.
INK_API void ink_adapt_cancel(ink_adapt *adapt);
// Writes the state beside its file and renames it. Errors: INK_E_IO, INK_E_NOMEM, INK_E_BUSY,
// INK_E_ARG (opened without a path).
INK_API ink_status ink_adapt_save(ink_adapt *adapt, ink_error *error);
// Writes the adapter as a GGUF file (the best weights by the held-out part where that was
// measured).
INK_API ink_status ink_adapt_export(ink_adapt *adapt, const char *path, ink_error *error);

#ifdef __cplusplus
}
#endif
#endif // INKLING_TRAIN_H
