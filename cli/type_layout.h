// SPDX-License-Identifier: MIT
// Where the characters of a text stand on a screen: lines are wrapped at words into rows. The ghost
// text is laid out as if it stood in the text before the caret's position, but no row up to the
// caret changes with it.
#ifndef CLI_TYPE_LAYOUT_H
#define CLI_TYPE_LAYOUT_H

#include "cli/type_text.h"

enum { TYPE_STYLE_GHOST = 1, TYPE_STYLE_ESCAPE = 2 };
enum { TYPE_CELL_CHARS = 5, TYPE_TAB = 8 };
// In a line longer than two of these blocks a row begins at each multiple of it, so that nothing
// has to look at all of a long line.
enum { TYPE_BLOCK = 1 << 14 };

typedef struct type_cell {
    uint32_t c[TYPE_CELL_CHARS]; // a character and the marks that combine with it
    uint8_t n;                   // 0: blank
    uint8_t columns;             // 1 or 2; 0: the right half of the cell before
    uint8_t style;               // TYPE_STYLE_*
} type_cell;

typedef struct type_grid {
    type_cell *cells; // [rows, cols]
    size_t rows, cols;
    size_t caret_row, caret_col;
} type_grid; // zeroed: no cells

// False without memory: as before.
bool type_grid_resize(type_grid *grid, size_t rows, size_t cols);
void type_grid_free(type_grid *grid);

typedef struct type_view {
    const type_text *text;
    size_t caret, top; // top: a row's start, not behind the caret's row
    const char *ghost; // [n_ghost] UTF-8
    size_t n_ghost;
} type_view;
// Fills the grid. The last column stays free for a caret behind a full row.
void type_layout(type_grid *grid, const type_view *view);

// Rows of the text without a ghost; width: columns for text, one less than the grid's.
enum { TYPE_LEAST_COLS = 2 };
size_t type_row_start(const type_text *text, size_t width, size_t at);
// The start of the row behind or before the one that starts at `start`; `start` itself: none.
size_t type_row_next(const type_text *text, size_t width, size_t start);
size_t type_row_prev(const type_text *text, size_t width, size_t start);
// The last place in the row where a caret stands without being in the next one.
size_t type_row_last(const type_text *text, size_t width, size_t start);
size_t type_row_column(const type_text *text, size_t width, size_t start, size_t at);
// The place nearest to `column`, not right of it.
size_t type_row_place(const type_text *text, size_t width, size_t start, size_t column);

#endif
