// SPDX-License-Identifier: MIT
// Where characters stand on the screen, against an oracle that looks at the whole text for each
// row.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/text.c"
#include "cli/type_layout.c"
#include "cli/type_text.c"

#include <langinfo.h>
#include <locale.h>

enum { MAX_TEXT = 1 << 16 };

static uint64_t random_state = 1;
static uint32_t below(uint32_t n) {
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((random_state >> 33) % n);
}

static const char *const samples[] = {"a",
                                      "b",
                                      "word",
                                      "longerword",
                                      " ",
                                      " ",
                                      " ",
                                      "\n",
                                      "\t",
                                      "\xc3\xa9",
                                      "e\xcc\x81",
                                      "\xe4\xbd\xa0",
                                      "\xe5\xa5\xbd",
                                      "\033",
                                      "\xe2\x80\xae",
                                      "\xf0\x9f\x98\x80",
                                      "\xcc\x81",
                                      ".",
                                      "supercalifragilisticexpialidocious"};
enum { N_SAMPLES = sizeof samples / sizeof *samples };

static size_t random_text(char *out, size_t pieces) {
    size_t n = 0;
    for (size_t i = 0; i < pieces; i++) {
        const char *s = samples[below(N_SAMPLES)];
        memcpy(out + n, s, strlen(s));
        n += strlen(s);
    }
    out[n] = 0;
    return n;
}

static type_text text_of(const char *s) {
    type_text text = {0};
    assert_true(type_text_replace(&text, 0, 0, s, strlen(s)));
    return text;
}

// A character of the text or the ghost, and where it was placed.
typedef struct mark_of {
    uint32_t c;
    size_t at, columns; // at: its offset in the text; of a ghost the caret's
    bool ghost;
} mark_of;

static size_t decode_all(const char *s, size_t n, size_t at, bool ghost, mark_of *out) {
    size_t k = 0;
    for (size_t i = 0, length; i < n; i += length) {
        length = cli_text_decode(s + i, n - i, &out[k].c);
        assert_true(length > 0);
        out[k].at = ghost ? at : at + i;
        out[k++].ghost = ghost;
    }
    return k;
}

static size_t shown_columns(uint32_t c, size_t column, size_t width, bool based) {
    if (c == '\t') {
        const size_t stop = 8 - column % 8;
        if (column < width && column + stop > width) return width - column;
        return column == 0 && stop > width ? width : stop;
    }
    if (cli_text_is_control(c)) {
        const size_t n = c < 0x80 ? 4 : 6;
        return n < width ? n : width;
    }
    const int columns = type_width(c);
    if (columns == 0) return based ? 0 : 1;
    return columns < 0 || (size_t)columns > width ? 1 : (size_t)columns;
}

// The row that begins at mark i of all [n] ends before the mark returned. keep: a break is not to
// be before that mark, NONE for no such rule.
static size_t naive_row(mark_of *all, size_t n, size_t i, size_t width, size_t keep) {
    size_t column = 0, good = 0;
    bool based = false;
    for (size_t k = i; k < n; k++) {
        if (all[k].c == '\n') return k + 1;
        const size_t columns = shown_columns(all[k].c, column, width, based);
        const bool control = cli_text_is_control(all[k].c);
        const bool wide = !control && columns == 2;
        if (k > i && columns > 0) {
            // What was placed last, marks apart, decides whether a row may end here.
            size_t last = k - 1;
            while (last > i && all[last].columns == 0) last--;
            const bool after = all[last].c == ' ' || all[last].c == '\t' ||
                               (!cli_text_is_control(all[last].c) && all[last].columns == 2);
            if (after || wide) good = k;
        }
        if (column + columns > width && k > i) {
            if (all[k].c == ' ' && column == width) return k + 1;
            if (all[k].c == ' ' || all[k].c == '\t' || good == 0) return k;
            if (keep != SIZE_MAX && i <= keep && keep <= k && good < keep) return k;
            return good;
        }
        all[k].columns = columns;
        column += columns;
        if (columns > 0) based = !control;
    }
    return n;
}

static bool ends_all(const mark_of *all, size_t n, size_t end) {
    return end == n && (n == 0 || all[n - 1].c != '\n');
}

static void rows_are_those_of_a_whole_line(void **state) {
    (void)state;
    char *s = malloc(MAX_TEXT);
    mark_of *all = calloc(MAX_TEXT, sizeof *all);
    for (int round = 0; round < 150; round++) {
        const size_t width = 1 + below(40), bytes = random_text(s, below(120));
        type_text text = text_of(s);
        const size_t n = decode_all(s, bytes, 0, false, all);
        size_t i = 0, start = 0;
        for (;;) {
            const size_t end = naive_row(all, n, i, width, SIZE_MAX);
            const size_t end_at = end < n ? all[end].at : bytes;
            for (size_t k = i; k < end; k++)
                assert_int_equal(type_row_start(&text, width, all[k].at), start);
            // A blank behind a full row is followed by a row, if an empty one.
            const size_t next = type_row_next(&text, width, start);
            if (next == start) {
                assert_int_equal(end, n);
                assert_int_equal(type_row_start(&text, width, bytes), start);
                break;
            }
            assert_int_equal(next, end_at);
            assert_int_equal(type_row_prev(&text, width, next), start);
            i = end;
            start = end_at;
            if (i == n && ends_all(all, n, end) && type_row_next(&text, width, start) == start)
                break;
        }
        type_text_free(&text);
    }
    free(s);
    free(all);
}

// What the grid shows in a row, as characters: blanks at its end left out.
static size_t row_text(const type_grid *grid, size_t row, uint32_t *out, uint8_t *styles) {
    size_t n = 0, last = 0;
    for (size_t col = 0; col < grid->cols; col++) {
        const type_cell *cell = &grid->cells[row * grid->cols + col];
        if (cell->n == 0 && cell->columns == 0) continue; // the right half of the one before
        if (cell->n == 0) {
            styles[n] = cell->style;
            out[n++] = ' ';
        }
        for (size_t i = 0; i < cell->n; i++) {
            styles[n] = cell->style;
            out[n++] = cell->c[i];
        }
        if (cell->n > 0 && cell->c[0] != ' ') last = n;
        if (cell->columns == 2) {
            assert_true(col + 1 < grid->cols);
            assert_int_equal(cell[1].columns, 0);
            assert_int_equal(cell[1].n, 0);
        }
    }
    return last;
}

// The same from the marks.
static size_t marks_text(const mark_of *all, size_t i, size_t end, size_t width, uint32_t *out) {
    size_t n = 0, last = 0, column = 0, on_base = 0;
    bool based = false;
    for (; i < end && all[i].c != '\n'; i++) {
        const uint32_t c = all[i].c;
        const size_t columns = shown_columns(c, column, width, based);
        if (cli_text_is_control(c) && c != '\t') {
            char escape[8];
            snprintf(escape, sizeof escape, c < 0x80 ? "\\x%02x" : "\\u%04x", (unsigned)c);
            for (size_t k = 0; k < columns; k++) out[n++] = (uint32_t)escape[k];
            last = n;
        } else if (c == '\t' || c == ' ') {
            for (size_t k = 0; k < columns && column + k < width + 1; k++) out[n++] = ' ';
        } else if (columns == 0) {
            if (++on_base < TYPE_CELL_CHARS && out[n - 1] != 0) {
                out[n++] = c;
                // A mark on a blank does not count as something to see.
                if (last == n - 1) last = n;
            }
        } else {
            if (type_width(c) == 0) out[n++] = ' ';
            out[n++] = type_width(c) < 0 || (size_t)type_width(c) > width ? 0xfffd : c;
            if (type_width(c) != 0) last = n;
        }
        if (columns > 0) on_base = 0;
        column += columns;
        if (columns > 0) based = !cli_text_is_control(c);
    }
    return last;
}

static void expect_row(const type_grid *grid, size_t row, const mark_of *all, size_t i,
                       size_t end) {
    uint32_t got[512], want[512];
    uint8_t styles[512];
    const size_t n_got = row_text(grid, row, got, styles);
    const size_t n_want = marks_text(all, i, end, grid->cols - 1, want);
    if (n_got != n_want || memcmp(got, want, n_got * sizeof *got) != 0) {
        print_error("row %zu, columns %zu\n", row, grid->cols);
        for (size_t k = 0; k < n_got; k++) print_error(" %x", (unsigned)got[k]);
        print_error("\n");
        for (size_t k = 0; k < n_want; k++) print_error(" %x", (unsigned)want[k]);
        print_error("\n");
    }
    assert_int_equal(n_got, n_want);
    assert_memory_equal(got, want, n_got * sizeof *got);
}

// The grid of a text with a ghost in it: what stands before the caret is as without the ghost, and
// the rest is the text with the ghost in it.
static void a_ghost_is_text_that_moves_nothing_before_it(void **state) {
    (void)state;
    char *s = malloc(MAX_TEXT), ghost[2048];
    mark_of *all = calloc(MAX_TEXT, sizeof *all), *plain_marks = calloc(MAX_TEXT, sizeof *all);
    type_grid with = {0}, without = {0};
    for (int round = 0; round < 250; round++) {
        const size_t cols = 2 + below(40), rows = 60;
        const size_t bytes = random_text(s, below(60)), n_ghost = random_text(ghost, below(12));
        type_text text = text_of(s);
        size_t caret = 0;
        for (uint32_t steps = below(60); steps > 0; steps--) caret = type_text_next(&text, caret);
        assert_true(type_grid_resize(&with, rows, cols));
        assert_true(type_grid_resize(&without, rows, cols));
        type_view view = {.text = &text, .caret = caret, .ghost = ghost, .n_ghost = n_ghost};
        type_layout(&with, &view);
        view.n_ghost = 0;
        type_layout(&without, &view);
        assert_int_equal(with.caret_row, without.caret_row);
        assert_int_equal(with.caret_col, without.caret_col);
        assert_true(with.caret_col < cols);

        size_t n = decode_all(s, caret, 0, false, all);
        const size_t keep = n;
        n += decode_all(ghost, n_ghost, caret, true, all + n);
        n += decode_all(s + caret, bytes - caret, caret, false, all + n);
        const size_t n_plain = decode_all(s, bytes, 0, false, plain_marks);
        // Up to the caret's row as without a ghost, from its start on with it.
        size_t i = 0, row = 0;
        for (; row < without.caret_row; row++) {
            const size_t end = naive_row(plain_marks, n_plain, i, cols - 1, SIZE_MAX);
            if (row < rows) expect_row(&with, row, plain_marks, i, end);
            i = end;
        }
        for (; row < rows; row++) {
            const size_t end = naive_row(all, n, i, cols - 1, n_ghost > 0 ? keep : SIZE_MAX);
            expect_row(&with, row, all, i, end);
            i = end;
            if (end == n) break;
        }
        for (size_t k = 0; k < rows * cols; k++)
            assert_false((without.cells[k].style & TYPE_STYLE_GHOST) != 0);
        type_text_free(&text);
    }
    type_grid_free(&with);
    type_grid_free(&without);
    free(s);
    free(all);
    free(plain_marks);
}

static void expect_line(const type_grid *grid, size_t row, const char *want, const char *style) {
    for (size_t i = 0; want[i] != 0; i++) {
        const type_cell *cell = &grid->cells[row * grid->cols + i];
        assert_int_equal(cell->n > 0 ? (int)cell->c[0] : ' ', want[i]);
        assert_int_equal((cell->style & TYPE_STYLE_GHOST) != 0, style[i] == 'g');
    }
}

// By hand, so that not all rests on an oracle of the same mind.
static void a_layout_by_hand(void **state) {
    (void)state;
    type_grid grid = {0};
    type_text text = text_of("one two threes\nx");
    assert_true(type_grid_resize(&grid, 6, 11)); // ten columns of text
    type_view view = {.text = &text, .caret = 14, .ghost = " and four", .n_ghost = 9};
    type_layout(&grid, &view);
    expect_line(&grid, 0, "one two    ", "...........");
    expect_line(&grid, 1, "threes and ", "......ggggg");
    expect_line(&grid, 2, "four       ", "gggg.......");
    expect_line(&grid, 3, "x          ", "...........");
    assert_int_equal(grid.caret_row, 1);
    assert_int_equal(grid.caret_col, 6);
    view.ghost = "ome more"; // the word with the caret stays where it is
    view.n_ghost = 8;
    type_layout(&grid, &view);
    expect_line(&grid, 1, "threesome  ", "......gggg.");
    expect_line(&grid, 2, "more       ", "gggg.......");
    view.ghost = "omeness"; // too long to stay whole
    view.n_ghost = 7;
    type_layout(&grid, &view);
    expect_line(&grid, 1, "threesomen ", "......gggg.");
    expect_line(&grid, 2, "ess        ", "ggg........");
    type_text_free(&text);
    type_grid_free(&grid);
}

// Rows of lines that are longer than the blocks they are cut into.
static void long_lines_are_cut_into_rows_all_the_same(void **state) {
    (void)state;
    type_text text = {0};
    for (int i = 0; i < 3000; i++) {
        const char *s = i % 701 == 700 ? "\n" : i % 7 == 0 ? "\xe4\xbd\xa0" : "lorem ipsum dolor ";
        assert_true(type_text_replace(&text, text.n, 0, s, strlen(s)));
    }
    char *line = malloc(3 * TYPE_BLOCK);
    memset(line, 'x', 3 * TYPE_BLOCK);
    assert_true(type_text_replace(&text, 0, 0, line, 3 * TYPE_BLOCK));
    free(line);
    size_t n_rows = 0, back[20000];
    for (size_t start = 0, next;; start = next) {
        back[n_rows++] = start;
        next = type_row_next(&text, 79, start);
        assert_int_equal(type_row_start(&text, 79, start), start);
        if (next == start) break;
        const size_t middle = type_text_floor(&text, start + (next - start) / 2);
        assert_int_equal(type_row_start(&text, 79, middle), start);
        assert_true(type_row_column(&text, 79, start, type_row_last(&text, 79, start)) <= 79);
    }
    assert_true(n_rows > text.n / 80);
    for (size_t i = n_rows; i-- > 1;)
        assert_int_equal(type_row_prev(&text, 79, back[i]), back[i - 1]);
    type_text_free(&text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_those_of_a_whole_line),
        cmocka_unit_test(a_ghost_is_text_that_moves_nothing_before_it),
        cmocka_unit_test(a_layout_by_hand),
        cmocka_unit_test(long_lines_are_cut_into_rows_all_the_same),
    };
    if (setlocale(LC_CTYPE, "C.UTF-8") == NULL || strcmp(nl_langinfo(CODESET), "UTF-8") != 0) {
        puts("left out: there is no locale C.UTF-8, whose widths the rows are made of");
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
