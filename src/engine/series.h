// SPDX-License-Identifier: MIT
// INK_GENERATE_CONTINUE: one continuation, given out in several calls.
#ifndef INKI_ENGINE_SERIES_H
#define INKI_ENGINE_SERIES_H

#include "engine/generate_run.h"

// This call, with a prompt of `bytes`, goes on where the session's last one was cut.
bool inki_series_is_cut(const inki_run *run, size_t bytes);
// The timeline holds the past and what is pending: the grammar and the required words see what the
// continuation is so far. Errors: INK_E_NOMEM.
ink_status inki_series_read(inki_run *run);
// The text that was held back goes through the stream again.
void inki_series_resume(inki_run *run);
// At the end of a run: what is not given out stays with the session. False: there is nothing to go
// on with, or the call did not ask for it.
bool inki_series_keep(inki_run *run);

#endif
