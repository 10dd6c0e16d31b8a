// SPDX-License-Identifier: MIT
// What can be undone and done again. A step is a place, how many bytes stand there now, and what
// stood there before.
#ifndef CLI_TYPE_HISTORY_H
#define CLI_TYPE_HISTORY_H

#include "cli/type_text.h"

typedef enum type_step_kind {
    TYPE_STEP_OTHER,    // stands for itself
    TYPE_STEP_TYPED,    // joined with those typed right before it in the same word
    TYPE_STEP_PASTED,   // joined with those pasted right before it
    TYPE_STEP_ERASED,   // joined with those erased right before it
    TYPE_STEP_ACCEPTED, // a suggestion
} type_step_kind;

typedef struct type_step {
    size_t at, n_now, n_old;
    char *old; // [n_old]
    type_step_kind kind;
} type_step;

enum { TYPE_HISTORY_STEPS = 4096, TYPE_HISTORY_BYTES = 16 << 20 };
typedef struct type_stack {
    type_step *steps;
    size_t n, cap, bytes;
} type_stack;
typedef struct type_history {
    type_stack undo, redo;
    bool sealed; // the next change begins a step of its own
} type_history;  // zeroed: empty

void type_history_free(type_history *history);
// Changes the text and remembers it; what was undone cannot be done again after this. The oldest
// steps are forgotten where the two limits say so. False without memory: the text is as before.
bool type_history_edit(type_history *history, type_text *text, type_step_kind kind, size_t at,
                       size_t n_old, const char *put, size_t n_put);
// The next change is not joined to the last step.
void type_history_seal(type_history *history);
// The newest step, or NULL.
const type_step *type_history_newest(const type_history *history);
// Takes the newest step back, or does it again; *caret: behind what was put. False: there is none,
// or no memory.
bool type_history_undo(type_history *history, type_text *text, size_t *caret);
bool type_history_redo(type_history *history, type_text *text, size_t *caret);

#endif
