// SPDX-License-Identifier: MIT
// What adapt.c and adapt_state.c share. Private to train.
#ifndef INKI_TRAIN_ADAPT_PARTS_H
#define INKI_TRAIN_ADAPT_PARTS_H

#include "engine/engine.h"
#include "inkling/train.h"
#include "train/export.h"
#include "train/trainer.h"

// Tokens of texts one behind the other, the end token after each.
typedef struct inki_adapt_row {
    int32_t *ids; // [n_room]
    size_t n, n_room;
} inki_adapt_row;

typedef enum inki_adapt_doing {
    INKI_ADAPT_NOTHING,
    INKI_ADAPT_STEP,
    INKI_ADAPT_JUDGE
} inki_adapt_doing;

struct ink_adapt {
    inki_mem mem;
    ink_model *model; // a reference
    ink_adapt_options options;
    inki_net *net;
    inki_trainer *trainer;
    inki_adapt_row learn, held;
    uint64_t n_texts;
    uint64_t judged_at; // steps done when the held-out part was asked last, 0: never
    double held_loss;   // what it said; NAN: of the text as it is now nothing is known
    int32_t *ids;       // [n_batch, n_ctx + 1]
    size_t n_ids;
    char *path; // NULL: nothing is kept
    size_t path_bytes;

    inki_adapt_doing doing;
    // Judging: windows of the held-out row as it was when that began.
    bool in_window;
    size_t n_held, n_windows, n_asked, window, n_targets;
    inki_net_loss judged;
    atomic_int cancel, busy;
};

// Replaces zeros by what they stand for and checks all. Errors: INK_E_ARG, INK_E_LIMIT.
ink_status inki_adapt_complete_options(ink_adapt_options *options, const ink_model *model,
                                       ink_error *error);
ink_status inki_adapt_set_path(ink_adapt *adapt, const char *path, ink_error *error);
// What the state's file says of options and texts, if there is one (*found). Errors: those of
// ink_adapt_open.
ink_status inki_adapt_read_config(ink_adapt *adapt, bool *found, ink_error *error);
// The rest of it, into net and trainer. Errors: likewise.
ink_status inki_adapt_read_weights(ink_adapt *adapt, ink_error *error);
ink_status inki_adapt_write_state(const ink_adapt *adapt, ink_error *error);
ink_status inki_adapt_keep_text(ink_adapt *adapt, const char *text, size_t bytes, ink_error *error);
void inki_adapt_row_free(const ink_adapt *adapt, inki_adapt_row *row);
void inki_adapt_report_fill(const ink_adapt *adapt, ink_adapt_report *out);

#endif
