// SPDX-License-Identifier: MIT
// A typing session for those who run it: the calls of the public header, or a service's worker.
//
// It has two sides. The field (text and caret, revision, what is shown, what was accepted)
// is behind a lock that is held for copies only; any thread may come. The suggester (session,
// cache, runs) belongs to the thread that runs it; it takes a copy of the field's text when a
// revision begins, and publishes what it has found into the field.
#ifndef INKI_TYPING_H
#define INKI_TYPING_H

#include "engine/engine.h"

// What a service wants to know. Called without a lock of the session's held.
typedef struct inki_typing_hooks {
    void *arg;
    // There may be work; on any thread.
    void (*posted)(void *arg, ink_typing *typing);
    // ink_typing_free was called: ends the stepping, and returns INK_OK when no thread is inside
    // any more, or INK_E_REENTRANT.
    ink_status (*released)(void *arg, ink_typing *typing);
} inki_typing_hooks;

// A session that somebody else steps. model NULL: it has no suggester until inki_typing_load.
// hooks NULL: its own thread calls ink_typing_run. Errors: those of ink_typing_new.
ink_status inki_typing_make(ink_typing **out, const inki_mem *mem, ink_model *model,
                            const ink_typing_options *options, const inki_typing_hooks *hooks,
                            ink_error *error);
void inki_typing_destroy(ink_typing *typing); // nobody is inside

// The suggester's memory, where it has none: after make without a model, after a trim. Errors:
// INK_E_LIMIT, INK_E_NOMEM, INK_E_UNSUPPORTED.
ink_status inki_typing_load(ink_typing *typing, ink_model *model, ink_error *error);
// Whether the last update still wants evaluations. Any thread.
bool inki_typing_has_work(ink_typing *typing);
// One evaluation at most, on the thread that steps; loaded. *more: whether work is left. n_threads:
// 0 for all that the runtime has. Errors: INK_E_NOMEM, INK_E_NUMERIC.
ink_status inki_typing_step(ink_typing *typing, uint32_t n_threads, bool *more, ink_error *error);
// The host's callback with the best suggestion as it is now, if it has not been told yet. True if
// it was called.
bool inki_typing_tell(ink_typing *typing);
// Gives back memory of the suggester, INK_TRIM_*; by who steps, or while nobody does. Returns the
// bytes. What is shown stays; a later step loads again and comes to the same bytes.
uint64_t inki_typing_trim(ink_typing *typing, uint32_t level);
// The work for the last update failed: it has none any more. Where nothing was ever loaded the next
// update says why.
void inki_typing_fail(ink_typing *typing, const ink_error *error);
// Later calls but free are INK_E_CLOSED. Any thread.
void inki_typing_close(ink_typing *typing);

#endif
