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
    int32_t *ids; // [n_batch, n_ctx + 1]
    char *path;   // NULL: nothing is kept
    size_t path_bytes;
    double loss, held_loss;
    inki_adapt_doing doing;
    bool judging;    // a sequence is under way
    size_t n_judged; // sequences done
    inki_net_loss judged;
    atomic_int cancel, busy;
};

ink_status inki_adapt_set_path(ink_adapt *adapt, const char *path, ink_error *error);
// What the state's file says of options and texts, if there is one (*found).
ink_status inki_adapt_read_config(ink_adapt *adapt, bool *found, ink_error *error);
ink_status inki_adapt_write_state(const ink_adapt *adapt, ink_error *error);
ink_status inki_adapt_keep_text(ink_adapt *adapt, const char *text, size_t bytes, ink_error *error);
void inki_adapt_row_free(const ink_adapt *adapt, inki_adapt_row *row);
void inki_adapt_report_fill(const ink_adapt *adapt, ink_adapt_report *out);

#endif
