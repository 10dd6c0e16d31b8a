// SPDX-License-Identifier: MIT
// Passes over the values of planned tensors, a strip at a time.
#ifndef INKI_CONVERT_GPT2_STRIPS_H
#define INKI_CONVERT_GPT2_STRIPS_H

#include "convert/gpt2_weights.h"

// *largest: the largest magnitude in the tensor. Errors: those of inki_checkpoint_read,
// INK_E_CANCELLED.
ink_status inki_gpt2_largest(inki_weights_job *job, const inki_planned_tensor *t, float *largest,
                             ink_error *error);
// *same: whether two tensors of one shape hold equal numbers. Errors: as above.
ink_status inki_gpt2_same_values(inki_weights_job *job, const inki_planned_tensor *a,
                                 const inki_planned_tensor *b, bool *same, ink_error *error);

#endif
