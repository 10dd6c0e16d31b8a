// SPDX-License-Identifier: MIT
// Accepted suggestions that can be undone, as places in the field's text. That is all of it, behind
// the caret too, so that a caret that only moves changes nothing here.
#ifndef INKI_TYPING_HISTORY_H
#define INKI_TYPING_HISTORY_H

#include "base/error.h"
#include "base/mem.h"

typedef struct inki_accepted {
    size_t at, bytes;   // where it stands
    uint64_t signature; // of its bytes: it is only undone while they are the same
} inki_accepted;

// A ring: the oldest is forgotten when there is no room. All memory is the owner's.
typedef struct inki_history {
    inki_accepted *list; // [cap]
    uint32_t cap, n, first;
} inki_history;

// text [at, at + bytes) was accepted and is there now. What stood behind `at` has moved along; what
// it was put into is forgotten.
void inki_history_add(inki_history *history, const char *text, size_t at, size_t bytes);
// The text was old [n_old] and is now text [n], with the caret before byte `caret`. What lies in
// the part that is the same at the beginning stays, what lies in the part that is the same at the
// end moves along, the rest is forgotten. Exact for what is typed or deleted where the caret then
// is, also where other places of the text read alike.
void inki_history_changed(inki_history *history, const char *old, size_t n_old, const char *text,
                          size_t n, size_t caret);
// Takes the newest that stands in text [n] off the list, those that do not stand any more on the
// way too. The caller removes it from the text; what stands behind it has moved. False: there is
// none.
bool inki_history_pop(inki_history *history, const char *text, size_t n, inki_accepted *out);

#endif
