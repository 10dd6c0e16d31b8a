// SPDX-License-Identifier: MIT
#include "cli/type_editor.h"

// Rows that stay free below the caret, so that a ghost of several rows does not scroll the screen.
enum { ROWS_BELOW = 2 };

void type_editor_free(type_editor *editor) {
    type_text_free(&editor->text);
    type_history_free(&editor->history);
    *editor = (type_editor){0};
}

bool type_editor_load(type_editor *editor, const char *text, size_t n) {
    if (n > TYPE_MAX_BYTES || !type_text_replace(&editor->text, 0, editor->text.n, text, n))
        return false;
    type_history_free(&editor->history);
    editor->caret = editor->top = 0;
    editor->keeps_goal = false;
    editor->version++;
    return true;
}

bool type_editor_put(type_editor *editor, type_step_kind kind, size_t at, size_t n_old,
                     const char *text, size_t n) {
    if (n > TYPE_MAX_BYTES || editor->text.n - n_old > TYPE_MAX_BYTES - n) return false;
    if (n == 0 && n_old == 0) return true;
    if (!type_history_edit(&editor->history, &editor->text, kind, at, n_old, text, n)) return false;
    editor->caret = at + n;
    editor->keeps_goal = false;
    editor->version++;
    return true;
}

bool type_editor_insert(type_editor *editor, type_key key, const char *text, size_t n) {
    // A long paste comes in parts, which are undone together; the first one is empty.
    if (n == 0) type_history_seal(&editor->history);
    const type_step_kind kind = key == TYPE_KEY_PASTE ? TYPE_STEP_PASTED : TYPE_STEP_TYPED;
    return type_editor_put(editor, kind, editor->caret, 0, text, n);
}

static void go(type_editor *editor, size_t at) {
    if (at != editor->caret) type_history_seal(&editor->history);
    editor->caret = at;
    editor->keeps_goal = false;
}

static bool erase(type_editor *editor, size_t from, size_t to) {
    return type_editor_put(editor, TYPE_STEP_ERASED, from, to - from, "", 0);
}

static size_t row_of(const type_editor *editor, size_t at) {
    return type_row_start(&editor->text, editor->width, at);
}

// Up and down by rows, in the column where the first of such moves began.
static void go_rows(type_editor *editor, bool down, size_t n) {
    const type_text *text = &editor->text;
    const size_t first = row_of(editor, editor->caret);
    size_t row = first;
    if (!editor->keeps_goal)
        editor->goal = type_row_column(text, editor->width, row, editor->caret);
    for (; n > 0; n--) {
        const size_t next = down ? type_row_next(text, editor->width, row)
                                 : type_row_prev(text, editor->width, row);
        if (next == row) break;
        row = next;
    }
    if (row == first) {
        go(editor, down ? text->n : 0);
        return;
    }
    go(editor, type_row_place(text, editor->width, row, editor->goal));
    editor->keeps_goal = true;
}

static void take_back(type_editor *editor, bool again) {
    size_t caret;
    if (!(again ? type_history_redo : type_history_undo)(&editor->history, &editor->text, &caret))
        return;
    editor->caret = caret;
    editor->keeps_goal = false;
    editor->version++;
}

bool type_editor_key(type_editor *editor, type_key key) {
    const type_text *text = &editor->text;
    const size_t caret = editor->caret;
    const size_t page = editor->rows > ROWS_BELOW + 1 ? editor->rows - ROWS_BELOW : 1;
    switch (key) {
    case TYPE_KEY_LEFT: go(editor, type_text_prev(text, caret)); break;
    case TYPE_KEY_RIGHT: go(editor, type_text_next(text, caret)); break;
    case TYPE_KEY_WORD_LEFT: go(editor, type_text_prev_word(text, caret)); break;
    case TYPE_KEY_WORD_RIGHT: go(editor, type_text_next_word(text, caret)); break;
    case TYPE_KEY_UP: go_rows(editor, false, 1); break;
    case TYPE_KEY_DOWN: go_rows(editor, true, 1); break;
    case TYPE_KEY_PAGE_UP: go_rows(editor, false, page); break;
    case TYPE_KEY_PAGE_DOWN: go_rows(editor, true, page); break;
    case TYPE_KEY_HOME: go(editor, row_of(editor, caret)); break;
    case TYPE_KEY_END: go(editor, type_row_last(text, editor->width, row_of(editor, caret))); break;
    case TYPE_KEY_FIRST: go(editor, 0); break;
    case TYPE_KEY_LAST: go(editor, text->n); break;
    case TYPE_KEY_BACKSPACE: return erase(editor, type_text_prev(text, caret), caret);
    case TYPE_KEY_DELETE:
    case TYPE_KEY_DELETE_OR_QUIT: return erase(editor, caret, type_text_next(text, caret));
    case TYPE_KEY_DELETE_WORD: return erase(editor, type_text_prev_word(text, caret), caret);
    case TYPE_KEY_UNDO: take_back(editor, false); break;
    case TYPE_KEY_REDO: take_back(editor, true); break;
    default: break;
    }
    return true;
}

void type_editor_scroll(type_editor *editor) {
    const type_text *text = &editor->text;
    const size_t caret_row = row_of(editor, editor->caret);
    const size_t below = editor->rows > 3 * ROWS_BELOW ? ROWS_BELOW : 0;
    if (editor->top > text->n) editor->top = text->n;
    editor->top = row_of(editor, type_text_floor(text, editor->top));
    if (caret_row <= editor->top) {
        editor->top = caret_row;
        return;
    }
    size_t row = editor->top;
    for (size_t i = 0; i + below < editor->rows; i++) {
        if (row == caret_row) return;
        row = type_row_next(text, editor->width, row);
    }
    row = caret_row;
    for (size_t i = 1; i + below < editor->rows; i++) row = type_row_prev(text, editor->width, row);
    editor->top = row;
}
