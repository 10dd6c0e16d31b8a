// SPDX-License-Identifier: MIT
// The editor without a screen: text, caret, what can be undone, and what each key does to them.
#ifndef CLI_TYPE_EDITOR_H
#define CLI_TYPE_EDITOR_H

#include "cli/type_history.h"
#include "cli/type_layout.h"

enum { TYPE_MAX_BYTES = 64 * 1000 * 1000 };

typedef enum type_key {
    TYPE_KEY_NONE, // nothing more to read
    TYPE_KEY_IGNORED,
    TYPE_KEY_TEXT,  // typed
    TYPE_KEY_PASTE, // a part of what was pasted, the first one empty
    TYPE_KEY_LEFT,
    TYPE_KEY_RIGHT,
    TYPE_KEY_UP,
    TYPE_KEY_DOWN,
    TYPE_KEY_WORD_LEFT,
    TYPE_KEY_WORD_RIGHT, // takes a word of the ghost where there is one
    TYPE_KEY_HOME,
    TYPE_KEY_END,
    TYPE_KEY_PAGE_UP,
    TYPE_KEY_PAGE_DOWN,
    TYPE_KEY_FIRST,
    TYPE_KEY_LAST,
    TYPE_KEY_BACKSPACE,
    TYPE_KEY_DELETE,
    TYPE_KEY_DELETE_OR_QUIT, // quits where the text is empty
    TYPE_KEY_DELETE_WORD,    // the one before the caret
    TYPE_KEY_UNDO,
    TYPE_KEY_REDO,
    TYPE_KEY_TAB,
    TYPE_KEY_RETRY,
    TYPE_KEY_REJECT,
    TYPE_KEY_SAVE,
    TYPE_KEY_QUIT,
    TYPE_KEY_REDRAW,
    TYPE_KEY_HELP,
} type_key;

typedef struct type_editor {
    type_text text;
    type_history history;
    size_t caret;
    size_t top;  // of the screen: a row's start
    size_t goal; // the column that up and down keep to
    bool keeps_goal;
    size_t rows, width; // of the screen, in which the caret moves; both over 0
    uint64_t version;   // of the text: one more with each change
} type_editor;          // zeroed, then rows and width

void type_editor_free(type_editor *editor);
// The text as it is at first: nothing can be undone. False without memory.
bool type_editor_load(type_editor *editor, const char *text, size_t n);

// text [n] is UTF-8, put in the place of n_old bytes at `at`; the caret is then behind it. False:
// the text would be too long, or no memory; it is as before.
bool type_editor_put(type_editor *editor, type_step_kind kind, size_t at, size_t n_old,
                     const char *text, size_t n);
// Typed or pasted at the caret.
bool type_editor_insert(type_editor *editor, type_key key, const char *text, size_t n);
// All keys that need no text and no ghost; others do nothing. False: as type_editor_put.
bool type_editor_key(type_editor *editor, type_key key);
// Moves `top` so that the caret is on the screen, with room for a ghost below.
void type_editor_scroll(type_editor *editor);

#endif
