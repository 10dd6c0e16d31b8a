// SPDX-License-Identifier: MIT
// What a run may not choose, and the way back when it has. Private to the engine's runs.
#ifndef INKI_TAKE_BACK_H
#define INKI_TAKE_BACK_H

#include "engine/generate_run.h"

// How many of the last tokens of the continuation hold its last `bytes` bytes.
uint32_t inki_run_tokens_behind(const inki_run *run, size_t bytes);
// What may not be chosen next: borrowed from the run until it goes on.
inki_constraint inki_run_constraint(inki_run *run);

#endif
