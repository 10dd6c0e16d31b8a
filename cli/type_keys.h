// SPDX-License-Identifier: MIT
// Keys as the editor knows them, from curses.
#ifndef CLI_TYPE_KEYS_H
#define CLI_TYPE_KEYS_H

#include "cli/type_editor.h"
#include "cli/type_input.h"

// Whether terminfo knows the terminal, and how to move its cursor. Before newterm, which loses
// memory where it does not.
bool type_keys_terminal_known(void);
// After newterm: the sequences that curses does not know by itself.
void type_keys_define(void);

typedef struct type_keys {
    type_input input;
    void *window; // curses' own, with keypad and nodelay
} type_keys;

// The next key, without waiting; TYPE_KEY_NONE: nothing more is there. text [*n]: of
// TYPE_KEY_TEXT and TYPE_KEY_PASTE, until the next call.
type_key type_keys_read(type_keys *keys, const char **text, size_t *n);
// A paste whose end does not come is over.
void type_keys_end_paste(type_keys *keys);

#endif
