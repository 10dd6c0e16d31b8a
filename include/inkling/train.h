// SPDX-License-Identifier: MIT
//
// libinkling-train: a model learns from its user's own text, on the device.
//
//     ink_adapt *a;
//     ink_adapt_open(&a, model, "notes.adapt", NULL, NULL); // goes on where it was left
//     ink_adapt_add_text(a, text, bytes, NULL);
//     ink_adapt_run(a, 200, NULL, NULL); // learns for 200 ms; again and again
//     ink_adapt_save(a, NULL);           // nothing is lost from here on
//     ink_adapt_export(a, "notes.gguf", NULL); // for ink_adapter_open
//     ink_adapt_free(a);
//
// The model stays as it is, quantised and shared; a small LoRA adapter beside it learns. The rules
// at the top of inkling.h hold here too: status and outputs, options, reports, ownership, fork(2).
//
//   Threads     An ink_adapt belongs to one thread at a time: while a call runs, a second thread
//               gets INK_E_BUSY. ink_adapt_cancel may be called from anywhere, at any time.
//               Sessions of the same model may evaluate meanwhile, and their numbers are the same
//               as ever: learning uses the runtime's threads stage by stage, never while an
//               evaluation has them. An evaluation that begins within a stage runs on its own
//               thread alone, as it does beside another session's.
//   Slices      A step of learning is cut into stages: half a layer there or back, for one
//               sequence, or some of its tokens and the vocabulary. A run ends after the stage in
//               which its time is over; the next one goes on there. Slices of any length make the
//               same weights as one long run, bit for bit, on one machine and build.
//   Held out    Every tenth text that was added, and the last tenth of one that is longer than 20
//               sequences, is not learnt from. After every 20 steps the loss on it is measured, if
//               that is more than 32 tokens.
#ifndef INKLING_TRAIN_H
#define INKLING_TRAIN_H

#include "inkling/inkling.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ink_adapt ink_adapt;

typedef struct ink_adapt_options {
    uint32_t size;
    uint32_t rank;    // of the adapter's matrices: 8; 1 to 256
    float alpha;      // what the adapter adds counts alpha / rank: 16; over 0 to 1e6
    float rate;       // peak of the learning rate: 1e-3; over 0 to 1
    float dropout;    // 0; below 1
    uint32_t n_ctx;   // tokens of a sequence; 0: 256, or the model's context where that is less;
                      // at most the model's context and 4096
    uint32_t n_batch; // sequences a step: 4; 1 to 256
    uint32_t n_steps; // over which the rate falls: 1000, at least 1; it stays at a tenth after that
    uint64_t seed;    // of the first weights and the order of the text: 1
} ink_adapt_options;
INK_API void ink_adapt_options_init(ink_adapt_options *options, size_t size);

// What a run tells. Losses are in nats a token; NAN: not measured yet, or not since the last text
// was added.
typedef struct ink_adapt_report {
    uint32_t size;
    uint32_t n_steps;      // done in all
    uint64_t n_tokens;     // of text that it has, the held-out part and an end after each included
    uint64_t n_learnt;     // tokens learnt from in all, again and again
    double loss;           // of the last step
    double held_loss;      // of the part that is held out, when it was measured last
    double best_held_loss; // the least: ink_adapt_export writes the weights that had it
} ink_adapt_report;

// state: path of the file that keeps text's tokens, adapter and optimiser between runs of the
// process, 0-terminated UTF-8. What it holds is gone on with, and its options count instead of
// `options`. It need not exist. NULL: nothing is kept. The model is held by a reference; memory is
// that of the model's allocator. *out is freed with ink_adapt_free. Errors: INK_E_ARG and
// INK_E_LIMIT (an option out of its range), INK_E_NOMEM, INK_E_IO (the file cannot be read),
// INK_E_FORMAT (no state, or a damaged one), INK_E_UNSUPPORTED (the state of another model; a model
// opened with INK_MODEL_INSPECT or without an end token). The file is only read. Threads: any.
INK_API ink_status ink_adapt_open(ink_adapt **out, ink_model *model, const char *state,
                                  const ink_adapt_options *options, ink_error *error);
// NULL is allowed. Nothing is saved. Errors: INK_E_BUSY (nothing is freed).
INK_API ink_status ink_adapt_free(ink_adapt *adapt);

// text [bytes], UTF-8, is learnt from, from the next step on; special tokens in it are plain text.
// Kept as tokens, nothing of `text` is. bytes 0: nothing happens. On failure all is as before.
// Errors: INK_E_ARG, INK_E_UTF8, INK_E_LIMIT (2^28 tokens in all, 2^30 bytes at once), INK_E_NOMEM,
// INK_E_BUSY.
INK_API ink_status ink_adapt_add_text(ink_adapt *adapt, const char *text, size_t bytes,
                                      ink_error *error);
// Learns for about budget_ms, at least a stage (0: one). While evaluations of this runtime go on it
// waits, and may end with nothing done. report: NULL, or filled on success. Errors: INK_E_ARG (less
// than 32 tokens to learn from), INK_E_NUMERIC (a loss is NaN or infinite, message says at which
// step: the weights are those of the best held-out loss again, or at most 20 steps old ones; what
// comes next is tried with them), INK_E_CANCELLED (the next run goes on where this one stopped),
// INK_E_BUSY.
INK_API ink_status ink_adapt_run(ink_adapt *adapt, uint32_t budget_ms, ink_adapt_report *report,
                                 ink_error *error);
// The run that is under way returns INK_E_CANCELLED after the stage it is in. No effect when none
// is, or on NULL. Any thread, signal-safe.
INK_API void ink_adapt_cancel(ink_adapt *adapt);
// Writes the state beside its file and renames it: a failure leaves the previous one. A step or a
// measurement that is under way is begun anew by whoever opens it, and makes the same numbers then.
// Errors: INK_E_ARG (opened without a path), INK_E_IO, INK_E_NOMEM, INK_E_BUSY.
INK_API ink_status ink_adapt_save(ink_adapt *adapt, ink_error *error);
// Writes the adapter as a GGUF file (F32), beside `path` and renamed: the weights of the best
// held-out loss, or those of the last step where none was measured since the last text was added.
// Before the first step it changes nothing. Errors: INK_E_ARG, INK_E_IO, INK_E_NOMEM, INK_E_BUSY.
INK_API ink_status ink_adapt_export(ink_adapt *adapt, const char *path, ink_error *error);

#ifdef __cplusplus
}
#endif
#endif // INKLING_TRAIN_H
