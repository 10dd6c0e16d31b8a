// SPDX-License-Identifier: MIT
// What fills the table of ops.h, level by level. Private to train.
#ifndef INKI_TRAIN_OPS_LEVELS_H
#define INKI_TRAIN_OPS_LEVELS_H

#include "train/ops.h"

void inki_train_ops_portable(inki_train_ops *ops);
void inki_train_ops_avx2(inki_train_ops *ops);
void inki_train_ops_avx512(inki_train_ops *ops);

#endif
