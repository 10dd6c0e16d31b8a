// SPDX-License-Identifier: MIT
// What trainer.c and train_checkpoint.c share. Private to train.
#ifndef INKI_TRAIN_TRAINER_STATE_H
#define INKI_TRAIN_TRAINER_STATE_H

#include "train/trainer.h"

struct inki_trainer {
    inki_mem mem;
    inki_net *net;
    inki_data *data;
    inki_net *teacher;
    inki_train_settings settings;
    inki_train_ops ops;
    size_t n_values;
    float *average, *square; // [n_values] AdamW's m and v
    float *best;             // [n_values]
    // Saved with the arrays above:
    struct inki_trainer_counts {
        uint64_t n_done, n_tokens, best_step;
        uint64_t n_worse; // validations since the best
        double best_loss, last_loss;
    } counts;
    int32_t *ids; // [batch, n_seq + 1]
    size_t n_ids;
    // The step under way.
    const int32_t *step_ids;
    size_t n_begun; // sequences whose pass has begun
    bool in_pass;
    inki_net_loss loss;
    double *squares; // [n_pieces] sums of squares of the gradient's pieces
    size_t n_pieces;
};

#endif
