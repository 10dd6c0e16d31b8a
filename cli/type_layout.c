// SPDX-License-Identifier: MIT
#include "cli/type_layout.h"

#include <stdlib.h>
#include <string.h>

#include "cli/text.h"

#define NONE SIZE_MAX

// The text, with the ghost before `caret` where n_ghost is not 0.
typedef struct flow {
    const type_text *text;
    size_t width, caret;
    const char *ghost;
    size_t n_ghost;
} flow;

typedef struct place {
    size_t at, ghost; // ghost: bytes of it that lie before, counts only at the caret
} place;

typedef struct glyph {
    place next;
    uint32_t c;
    size_t columns;
    char escape[CLI_TEXT_STEP];
    size_t n_escape; // 0: shown as it is
    bool newline, mark, ghost;
} glyph;

static bool in_ghost(const flow *f, place p) { return p.at == f->caret && p.ghost < f->n_ghost; }
static bool same(place a, place b) { return a.at == b.at && a.ghost == b.ghost; }
static bool at_end(const flow *f, place p) { return p.at == f->text->n && !in_ghost(f, p); }

// What has no form of its own gets one.
static void visible(glyph *g, const flow *f, const char *s, size_t bytes) {
    const int width = type_width(g->c);
    if (cli_text_is_control(g->c)) {
        cli_text_step(s, bytes, "", g->escape, &g->n_escape);
        if (g->n_escape > f->width) g->n_escape = f->width;
        g->columns = g->n_escape;
        return;
    }
    g->columns = width > 0 ? (size_t)width : 1;
    g->mark = width == 0;
    if (width < 0 || g->columns > f->width) {
        g->c = 0xfffd;
        g->columns = 1;
    }
}

// The character at p, which is not the end, for a row that has `column` columns already. based: a
// mark has something there to combine with.
static glyph read_glyph(const flow *f, place p, size_t column, bool based) {
    glyph g = {.next = p, .ghost = in_ghost(f, p)};
    char s[4];
    const size_t left = g.ghost ? f->n_ghost - p.ghost : f->text->n - p.at;
    size_t bytes = left < sizeof s ? left : sizeof s;
    if (g.ghost)
        memcpy(s, f->ghost + p.ghost, bytes);
    else
        type_text_copy(f->text, p.at, bytes, s);
    const size_t length = cli_text_decode(s, bytes, &g.c);
    if (length == 0) g.c = 0xfffd;
    bytes = length == 0 ? 1 : length;
    if (g.ghost)
        g.next.ghost += bytes;
    else
        g.next.at += bytes;
    if (g.c == '\n') {
        g.newline = true;
    } else if (g.c == '\t') {
        const size_t stop = TYPE_TAB - column % TYPE_TAB;
        g.columns = column < f->width && column + stop > f->width ? f->width - column : stop;
        if (column == 0 && g.columns > f->width) g.columns = f->width;
    } else {
        visible(&g, f, s, bytes);
        if (g.mark && based) g.columns = 0;
    }
    return g;
}

static bool is_base(const glyph *g) { return g->n_escape == 0 && g->c != '\t'; }

// Whether a row must begin at `at`, the first place at or behind a multiple of TYPE_BLOCK.
static bool forced(const type_text *text, size_t before, size_t at) {
    const size_t block = at / TYPE_BLOCK * TYPE_BLOCK;
    if (block == 0 || before >= block) return false;
    return type_text_line_back(text, block - TYPE_BLOCK, block, NONE) == NONE;
}

typedef struct row_end {
    place end;
    bool last; // the text ends in it
} row_end;

// Where a word that does not fit is moved to the next row; not when that would move what stands
// before a ghost that comes and goes.
static place break_at(const flow *f, place start, place opportunity, place overflow) {
    const bool ghost_begins =
        f->n_ghost > 0 && start.at <= f->caret && start.ghost == 0 && overflow.at >= f->caret;
    if (opportunity.at == NONE || (ghost_begins && opportunity.at < f->caret)) return overflow;
    return opportunity;
}

static row_end find_end(const flow *f, place start) {
    place p = start, opportunity = {NONE, 0};
    size_t column = 0;
    bool based = false, breakable = false;
    for (;;) {
        if (at_end(f, p)) return (row_end){p, true};
        const glyph g = read_glyph(f, p, column, based);
        if (g.newline) return (row_end){g.next, false};
        const bool wide = g.n_escape == 0 && g.columns == 2 && g.c != '\t';
        if (!same(p, start) && g.columns > 0 && (breakable || wide)) opportunity = p;
        if (column + g.columns > f->width && !same(p, start)) {
            // One blank behind a full row stands in the free column, not before the next word.
            if (g.c == ' ' && column == f->width) return (row_end){g.next, false};
            const bool blank = g.c == ' ' || g.c == '\t';
            return (row_end){blank ? p : break_at(f, start, opportunity, p), false};
        }
        column += g.columns;
        if (g.columns > 0) {
            based = is_base(&g);
            breakable = g.c == ' ' || g.c == '\t' || wide;
        }
        if (!g.ghost && forced(f->text, p.at, g.next.at))
            return (row_end){g.next, at_end(f, g.next)};
        p = g.next;
    }
}

// A row start at or before `at`, found without looking further back than two blocks.
static size_t anchor(const type_text *text, size_t at) {
    const size_t block = at / TYPE_BLOCK * TYPE_BLOCK;
    const size_t line = type_text_line_back(text, block, at, NONE);
    if (line != NONE || block == 0) return line != NONE ? line : 0;
    const size_t before = type_text_line_back(text, block - TYPE_BLOCK, block, NONE);
    if (before != NONE) return before;
    size_t begin = block;
    while (begin < at && type_text_floor(text, begin) != begin) begin++;
    return begin;
}

static flow plain(const type_text *text, size_t width) {
    return (flow){.text = text, .width = width, .caret = NONE};
}

size_t type_row_start(const type_text *text, size_t width, size_t at) {
    const flow f = plain(text, width);
    place p = {anchor(text, at), 0};
    for (;;) {
        const row_end r = find_end(&f, p);
        if (r.last || at < r.end.at) return p.at;
        p = r.end;
    }
}

size_t type_row_next(const type_text *text, size_t width, size_t start) {
    const flow f = plain(text, width);
    const row_end r = find_end(&f, (place){start, 0});
    return r.last ? start : r.end.at;
}

size_t type_row_prev(const type_text *text, size_t width, size_t start) {
    return start == 0 ? 0 : type_row_start(text, width, type_text_floor(text, start - 1));
}

size_t type_row_last(const type_text *text, size_t width, size_t start) {
    const flow f = plain(text, width);
    const row_end r = find_end(&f, (place){start, 0});
    if (r.last) return r.end.at;
    const size_t before = type_text_prev(text, r.end.at);
    return before > start ? before : start;
}

// Walks from `start` on, until `at` or as long as the columns allow.
static size_t walk(const flow *f, size_t start, size_t at, size_t *column) {
    place p = {start, 0};
    size_t most = *column, last = start;
    bool based = false;
    *column = 0;
    while (p.at < at) {
        const glyph g = read_glyph(f, p, *column, based);
        if (g.newline || *column + g.columns > most) break;
        *column += g.columns;
        if (g.columns > 0) based = is_base(&g);
        p = g.next;
        // Not between a character and its marks.
        if (p.at >= at || type_text_prev(f->text, type_text_next(f->text, p.at)) == p.at)
            last = p.at;
    }
    return last;
}

size_t type_row_column(const type_text *text, size_t width, size_t start, size_t at) {
    const flow f = plain(text, width);
    size_t column = NONE / 2;
    walk(&f, start, at, &column);
    return column;
}

size_t type_row_place(const type_text *text, size_t width, size_t start, size_t column) {
    const flow f = plain(text, width);
    return walk(&f, start, type_row_last(text, width, start), &column);
}

bool type_grid_resize(type_grid *grid, size_t rows, size_t cols) {
    type_cell *cells = calloc(rows * cols + 1, sizeof *cells);
    if (cells == NULL) return false;
    free(grid->cells);
    *grid = (type_grid){.cells = cells, .rows = rows, .cols = cols};
    return true;
}

void type_grid_free(type_grid *grid) {
    free(grid->cells);
    *grid = (type_grid){0};
}

// Puts one character at `column`; what has no room is left out.
static void put(type_grid *grid, type_cell *cells, size_t column, const glyph *g) {
    const uint8_t ghost = g->ghost ? TYPE_STYLE_GHOST : 0;
    if (g->mark && g->columns == 0) {
        size_t base = column;
        while (base > 0 && cells[base - 1].columns == 0) base--;
        if (base == 0) return;
        type_cell *cell = &cells[base - 1];
        if (cell->n > 0 && cell->n < TYPE_CELL_CHARS) cell->c[cell->n++] = g->c;
        return;
    }
    if (column + g->columns > grid->cols) return;
    if (g->c == '\t') {
        for (size_t i = 0; i < g->columns; i++) cells[column + i].style = ghost;
        return;
    }
    if (g->n_escape > 0) {
        for (size_t i = 0; i < g->n_escape; i++)
            cells[column + i] = (type_cell){.c = {(unsigned char)g->escape[i]},
                                            .n = 1,
                                            .columns = 1,
                                            .style = ghost | TYPE_STYLE_ESCAPE};
        return;
    }
    type_cell *cell = &cells[column];
    *cell = (type_cell){.c = {g->c}, .n = 1, .columns = (uint8_t)g->columns, .style = ghost};
    if (g->mark) { // nothing to combine with: it stands on a blank
        cell->c[0] = ' ';
        cell->c[cell->n++] = g->c;
    }
    if (g->columns == 2) cells[column + 1] = (type_cell){.style = ghost};
}

static void draw_row(type_grid *grid, const flow *f, type_cell *cells, place p, place end) {
    size_t column = 0;
    bool based = false;
    while (!same(p, end)) {
        const glyph g = read_glyph(f, p, column, based);
        if (g.newline) break;
        put(grid, cells, column, &g);
        column += g.columns;
        if (g.columns > 0) based = is_base(&g);
        p = g.next;
    }
}

void type_layout(type_grid *grid, const type_view *view) {
    for (size_t i = 0; i < grid->rows * grid->cols; i++) grid->cells[i] = (type_cell){.columns = 1};
    grid->caret_row = grid->caret_col = 0;
    if (grid->rows == 0 || grid->cols < TYPE_LEAST_COLS) return;
    flow f = plain(view->text, grid->cols - 1);
    const size_t with_caret = type_row_start(view->text, f.width, view->caret);
    place p = {view->top, 0};
    for (size_t i = 0; i < grid->rows; i++) {
        if (p.at == with_caret && f.caret == NONE) {
            grid->caret_row = i;
            grid->caret_col = type_row_column(view->text, f.width, p.at, view->caret);
            f.caret = view->caret;
            f.ghost = view->ghost;
            f.n_ghost = view->n_ghost;
        }
        const row_end r = find_end(&f, p);
        draw_row(grid, &f, grid->cells + i * grid->cols, p, r.end);
        if (r.last) break;
        p = r.end;
    }
}

#undef NONE
