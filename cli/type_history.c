// SPDX-License-Identifier: MIT
#include "cli/type_history.h"

#include <stdlib.h>
#include <string.h>

static void drop_first(type_stack *stack, size_t n) {
    for (size_t i = 0; i < n; i++) {
        stack->bytes -= stack->steps[i].n_old;
        free(stack->steps[i].old);
    }
    stack->n -= n;
    if (n > 0) memmove(stack->steps, stack->steps + n, stack->n * sizeof *stack->steps);
}

void type_history_free(type_history *history) {
    type_stack *const both[] = {&history->undo, &history->redo};
    for (size_t i = 0; i < 2; i++) {
        drop_first(both[i], both[i]->n);
        free(both[i]->steps);
    }
    *history = (type_history){0};
}

// Makes room for one step more, so that pushing it cannot fail.
static bool make_room(type_stack *stack) {
    // A quarter at a time: moving the others for every step would cost more than the step.
    if (stack->n >= TYPE_HISTORY_STEPS) drop_first(stack, TYPE_HISTORY_STEPS / 4);
    if (stack->n < stack->cap) return true;
    const size_t cap = stack->cap == 0 ? 64 : stack->cap * 2;
    type_step *grown = realloc(stack->steps, cap * sizeof *grown);
    if (grown == NULL) return false;
    stack->steps = grown;
    stack->cap = cap;
    return true;
}

static void push_step(type_stack *stack, const type_step *step) {
    stack->steps[stack->n++] = *step;
    stack->bytes += step->n_old;
    size_t n = 0, bytes = stack->bytes;
    while (bytes > TYPE_HISTORY_BYTES && n < stack->n) bytes -= stack->steps[n++].n_old;
    drop_first(stack, n);
}

// Replaces text and leaves in *step what takes that back.
static bool change(type_text *text, type_step *step, size_t at, size_t n_old, const char *put,
                   size_t n_put) {
    char *old = malloc(n_old + 1);
    if (old == NULL) return false;
    type_text_copy(text, at, n_old, old);
    if (!type_text_replace(text, at, n_old, put, n_put)) {
        free(old);
        return false;
    }
    *step = (type_step){.at = at, .n_now = n_put, .n_old = n_old, .old = old, .kind = step->kind};
    return true;
}

// Typing goes on in the same word, or erasing goes on to the left or in place.
static bool join(type_stack *stack, const type_step *next, bool word_begins) {
    type_step *last = &stack->steps[stack->n - 1];
    if (last->kind != next->kind) return false;
    if (next->kind == TYPE_STEP_TYPED || next->kind == TYPE_STEP_PASTED) {
        if (next->kind == TYPE_STEP_TYPED && word_begins) return false;
        if (next->n_old > 0 || next->at != last->at + last->n_now) return false;
        last->n_now += next->n_now;
        return true;
    }
    if (next->kind != TYPE_STEP_ERASED || next->n_now > 0 || last->n_now > 0) return false;
    const bool left = next->at + next->n_old == last->at;
    if (!left && next->at != last->at) return false;
    char *grown = realloc(last->old, last->n_old + next->n_old + 1);
    if (grown == NULL) return false;
    if (left) memmove(grown + next->n_old, grown, last->n_old);
    memcpy(grown + (left ? 0 : last->n_old), next->old, next->n_old);
    last->old = grown;
    last->n_old += next->n_old;
    last->at = next->at;
    stack->bytes += next->n_old;
    return true;
}

bool type_history_edit(type_history *history, type_text *text, type_step_kind kind, size_t at,
                       size_t n_old, const char *put, size_t n_put) {
    type_step step = {.kind = kind};
    if (n_old == 0 && n_put == 0) return true;
    if (!make_room(&history->undo)) return false;
    size_t bytes;
    const bool word_begins =
        n_put > 0 && !type_is_blank((unsigned char)put[0]) && at > 0 &&
        type_is_blank(type_text_char(text, type_text_floor(text, at - 1), &bytes));
    if (!change(text, &step, at, n_old, put, n_put)) return false;
    drop_first(&history->redo, history->redo.n);
    if (!history->sealed && history->undo.n > 0 && join(&history->undo, &step, word_begins))
        free(step.old);
    else
        push_step(&history->undo, &step);
    history->sealed = false;
    return true;
}

void type_history_seal(type_history *history) { history->sealed = true; }

const type_step *type_history_newest(const type_history *history) {
    return history->undo.n > 0 ? &history->undo.steps[history->undo.n - 1] : NULL;
}

static bool move_step(type_stack *from, type_stack *to, type_text *text, size_t *caret) {
    if (from->n == 0 || !make_room(to)) return false;
    const type_step *last = &from->steps[from->n - 1];
    type_step step = {.kind = last->kind};
    if (!change(text, &step, last->at, last->n_now, last->old, last->n_old)) return false;
    *caret = last->at + last->n_old;
    from->bytes -= last->n_old;
    free(last->old);
    from->n--;
    push_step(to, &step);
    return true;
}

bool type_history_undo(type_history *history, type_text *text, size_t *caret) {
    history->sealed = true;
    return move_step(&history->undo, &history->redo, text, caret);
}

bool type_history_redo(type_history *history, type_text *text, size_t *caret) {
    history->sealed = true;
    return move_step(&history->redo, &history->undo, text, caret);
}
