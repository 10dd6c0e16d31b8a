// SPDX-License-Identifier: MIT
// The terminal, through curses: what the layout says is put on it.
#ifndef CLI_TYPE_SCREEN_H
#define CLI_TYPE_SCREEN_H

#include "cli/type_layout.h"

// Characters of LC_CTYPE are UTF-8 from here on, and standard input and output a terminal that is
// ready for the editor; else an exit code, told, and everything as before.
int type_screen_open(void);
// The terminal as it was.
void type_screen_close(void);
// For type_keys; NULL: there was no memory for it.
void *type_screen_input(void);

void type_screen_size(size_t *rows, size_t *cols);
// After SIGWINCH.
void type_screen_resize(void);
// grid: all rows but the last, in which `left` stands, and the first of right [n_right] that it
// leaves room for.
void type_screen_draw(const type_grid *grid, const char *left, const char *const *right,
                      size_t n_right);
// The next drawing writes every cell again.
void type_screen_redraw(void);

#endif
